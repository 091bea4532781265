//! The health of a running server: all well at first, one alert for each fault with leg and cause, mended after the repair,
//! and nothing of it in anybody's mailbox.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::pki::Pki;
use waypost_tests::server::{self, Server, records};

/// An unoptimised binary on a busy machine gets so long for what takes an interval; that there is one alert is what counts.
const PATIENCE: Duration = Duration::from_secs(90);

fn until<T>(what: &str, so: impl FnMut() -> Option<T>) -> T {
    server::until(PATIENCE, what, so)
}

fn alerts(data: &Path) -> Vec<Value> {
    records(data, &["Get-HealthAlert"])
}

/// Monitors that are not well, as `name target: value error`.
fn unwell(data: &Path) -> Vec<String> {
    let all = records(data, &["Get-ServerHealth"]);
    if all.is_empty() {
        return vec!["nothing was looked at yet".to_owned()];
    }
    let bad = |m: &&Value| m["AlertValue"] != "Healthy";
    let line =
        |m: &Value| format!("{} {}: {} {}", m["Name"], m["TargetResource"], m["AlertValue"], m["Error"]);
    all.iter().filter(bad).map(line).collect()
}

fn quick(server: &Server) {
    server.command(&["Set-WaypostSetting", "health.probe_interval", "00:00:05"]).unwrap();
    // Nobody's budget is for an unoptimised binary.
    until("all is well", || unwell(server.data()).is_empty().then_some(()));
}

fn code(alert: &Value) -> &str {
    alert["Cause"].as_str().unwrap_or_default().split(' ').next().unwrap_or_default()
}

/// One alert, of this cause, with a leg; and no other for as long as it takes to see one.
fn one_alert(server: &Server, cause: &str) -> Value {
    let found =
        until(&format!("an alert {cause}"), || alerts(server.data()).into_iter().find(|a| code(a) == cause));
    std::thread::sleep(Duration::from_secs(6));
    let all = alerts(server.data());
    assert_eq!(all.len(), 1, "one cause, one alert: {all:#?}");
    assert!(!found["Leg"].as_str().unwrap_or_default().is_empty(), "{found:#}");
    found
}

fn mended(server: &Server) {
    until("mended", || alerts(server.data()).is_empty().then_some(()));
    until("all is well again", || unwell(server.data()).is_empty().then_some(()));
}

#[test]
fn a_demonstration_is_well_and_its_users_see_nothing_of_it() {
    let server = Server::start("health-well");
    let amy = server.account(0);
    let count =
        |server: &Server| server.command(&["Get-MailboxStatistics", &amy.0]).unwrap()["ItemCount"].clone();
    let before = count(&server);
    quick(&server);
    assert_eq!(alerts(server.data()), Vec::<Value>::new());
    let all = records(server.data(), &["Get-ServerHealth"]);
    for set in [
        "IMAP",
        "IMAP.Protocol",
        "IMAP.Proxy",
        "POP",
        "MailFlow",
        "Store",
        "FrontendTransport",
        "HubTransport",
        "MailboxTransport",
    ] {
        assert!(all.iter().any(|m| m["HealthSetName"] == set), "no {set}");
    }
    for field in ["Server", "Name", "TargetResource", "HealthSetName", "AlertValue"] {
        assert!(all[0].get(field).is_some(), "no {field}: {}", all[0]);
    }
    assert_eq!(count(&server), before);
    let tracked = records(server.data(), &["Get-MessageTrackingLog"]);
    let theirs = |r: &&Value| r.to_string().contains("health-probe");
    assert_eq!(tracked.iter().filter(theirs).count(), 0, "{tracked:?}");
    let boxes = records(server.data(), &["Get-Mailbox"]);
    assert!(boxes.iter().all(|m| !m["Name"].as_str().unwrap().starts_with("HealthMailbox")), "{boxes:?}");
    Line::imap_login(server.address("imap"), &amy).unwrap();
    let kept = fs::read_dir(server.data().join("logs/health")).unwrap().count();
    assert!(kept > 0);
}

#[test]
fn one_cause_is_one_alert_and_it_ends() {
    let server = Server::start("health-faults");
    quick(&server);

    let set = |state: &str| {
        let words = ["Set-ServerComponentState", "server-1", "-Component", "ImapProxy", "-State", state];
        server.command(&[&words[..], &["-Requester", "Maintenance"]].concat()).unwrap();
    };
    set("Inactive");
    let alert = one_alert(&server, "HEALTH-COMPONENT-INACTIVE");
    assert!(alert.to_string().contains("ImapProxy"), "{alert:#}");
    set("Active");
    mended(&server);

    server.command(&["Stop-Service", "pop"]).unwrap();
    let alert = one_alert(&server, "HEALTH-SERVICE-STOPPED");
    assert!(alert.to_string().contains("pop3"), "{alert:#}");
    server.command(&["Start-Service", "pop"]).unwrap();
    mended(&server);
}

#[test]
fn a_certificate_that_is_over() {
    let mut server = Server::start("health-certificate");
    server.expect_error("certificate");
    quick(&server);
    let (chain, key) = (server.data().join("public/public.crt"), server.data().join("public/public.key"));
    let (old_chain, old_key) = (fs::read(&chain).unwrap(), fs::read(&key).unwrap());
    let pki = Pki::new(&server.data().join("pki"));
    let issued = pki.expired("over", &["localhost"]);
    fs::copy(&issued.key, &key).unwrap();
    fs::copy(&issued.chain, &chain).unwrap();
    let alert = one_alert(&server, "CERT-EXPIRED");
    assert!(alert.to_string().contains("2020-01-31"), "{alert:#}");
    fs::write(&key, old_key).unwrap();
    fs::write(&chain, old_chain).unwrap();
    mended(&server);
}

#[test]
fn a_server_that_dies_is_one_alert_of_the_organisation() {
    let mut o = Organisation::start("health-organisation", "all");
    o.add("server-2", "mailbox,transport");
    o.command("server-1", &["Set-WaypostSetting", "health.probe_interval", "00:00:05"]).unwrap();
    for id in ["server-1", "server-2"] {
        let data = o.data(id).to_owned();
        until(&format!("{id} is well"), || unwell(&data).is_empty().then_some(()));
    }
    o.kill("server-2");
    let data = o.data("server-1").to_owned();
    until("an alert", || alerts(&data).into_iter().find(|a| a.to_string().contains("server-2")));
    std::thread::sleep(Duration::from_secs(6));
    let all = alerts(&data);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(["INNER-UNREACHABLE", "HEALTH-SERVER-SILENT"].contains(&code(&all[0])), "{all:#?}");
    o.begin("server-2");
    until("mended", || alerts(&data).is_empty().then_some(()));
}
