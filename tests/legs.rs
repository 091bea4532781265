//! Legs between servers, as administrators see them, and the rights that a server runs with.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::server::binary;

/// A user that no machine has.
const SOMEBODY: &str = "64501";

fn leg(o: &Organisation, at: &str, service: &str) -> Value {
    o.command(at, &["Get-ServiceLeg", "-Service", service, "-From", "server-2", "-To", "server-1"]).unwrap()
}

#[test]
fn a_leg_is_degraded_until_it_is_mended_and_both_ends_say_why() {
    let mut o = Organisation::start("degraded", "all");
    o.command("server-1", &["Set-ImapSettings", "-LoginType", "PlainTextLogin"]).unwrap();
    o.add("server-2", "frontend");
    let amy = o.mailbox("amy", "server-1");
    o.wait_for_mailbox("server-2", &amy.0);
    let policy = |o: &Organisation, list: &str| {
        o.command("server-1", &["Set-WaypostSetting", "legs.imap", list, "-Confirm:$false"]).unwrap();
        let has = |o: &Organisation| {
            let shown = o.command("server-2", &["Get-WaypostSetting", "legs.imap"]).unwrap_or_default();
            shown["Value"].to_string().replace('\\', "").contains(list.trim_matches(['[', ']']))
        };
        o.wait_for("the policy at the front end", has);
    };
    let signs_in = |o: &Organisation| Line::imap_login(o.address("server-2", "imap"), &amy);

    signs_in(&o).unwrap();
    assert_eq!(leg(&o, "server-2", "imap")["Result"], "Ok");

    // Kerberos is wanted and nobody has it: mail is read all the same, and it can be seen.
    policy(&o, r#"["kerberos", "mtls"]"#);
    signs_in(&o).unwrap();
    for at in ["server-1", "server-2"] {
        let leg = leg(&o, at, "imap");
        assert_eq!((&leg["Result"], &leg["Mechanism"]), (&"Degraded".into(), &"mtls".into()), "{at}: {leg}");
        assert_eq!(leg["Cause"], "INNER-NO-KERBEROS", "{at}: {leg}");
        assert!(!leg["Evidence"].as_array().unwrap().is_empty(), "{at}: {leg}");
        assert!(!leg["Remedy"].as_array().unwrap().is_empty(), "{at}: {leg}");
    }

    // Nothing else will do: unavailable, which is not a wrong password.
    policy(&o, r#"["kerberos"]"#);
    o.server_mut("server-2").expect_error("INNER-NO-KERBEROS");
    let refused = signs_in(&o).map(drop).unwrap_err().to_string();
    assert!(refused.contains("[UNAVAILABLE]"), "{refused}");
    for at in ["server-1", "server-2"] {
        o.wait_for("the failure", |o| leg(o, at, "imap")["Result"] == "Failed");
        assert_eq!(leg(&o, at, "imap")["Cause"], "INNER-NO-KERBEROS");
    }

    policy(&o, r#"["mtls"]"#);
    signs_in(&o).unwrap();
    for at in ["server-1", "server-2"] {
        assert_eq!(leg(&o, at, "imap")["Result"], "Ok", "{at}");
    }
    // What was is still told.
    let faults = o.records("server-2", &["Get-Leg", "-Faults", "-Service", "imap"]).unwrap();
    // Probes may have met it as well.
    assert!(faults.len() >= 2, "{faults:?}");
}

#[test]
fn roles_keep_servers_from_what_is_not_theirs() {
    let mut o = Organisation::start("not-allowed", "all");
    o.add("server-2", "frontend");
    let refused = o.command("server-2", &["Set-ImapSettings", "-Banner", "Mine"]).unwrap_err();
    assert!(refused.contains("INNER-NOT-ALLOWED"), "{refused}");
    let leg = leg(&o, "server-2", "command");
    assert_eq!((&leg["Result"], &leg["Cause"]), (&"Failed".into(), &"INNER-NOT-ALLOWED".into()), "{leg}");
}

/// Of the checks with this name and subject, the results with their evidence.
fn checks(o: &Organisation, check: &str) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = o.records("server-1", &["Test-ServicePermission"]).unwrap();
    let of = all.iter().filter(|c| c["Check"] == check);
    of.map(|c| (text(&c["Subject"]), text(&c["Result"]), text(&c["Evidence"]))).collect()
}

/// Runs the server as a user of its own without any capability, where we may.
fn begin_as_somebody(o: &mut Organisation) -> String {
    let own = Command::new("id").arg("-u").output().unwrap();
    let own = String::from_utf8_lossy(&own.stdout).trim().to_owned();
    if own != "0" {
        o.begin("server-1");
        return own;
    }
    let data = o.data("server-1").to_owned();
    let program = data.with_extension("program");
    fs::copy(binary(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let given = Command::new("chown").args(["-R", &format!("{SOMEBODY}:{SOMEBODY}")]).arg(&data).status();
    assert!(given.unwrap().success());
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={SOMEBODY}"),
        &format!("--regid={SOMEBODY}"),
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    command.arg(&program);
    o.begin_by("server-1", command);
    SOMEBODY.to_owned()
}

fn close(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn a_server_has_the_rights_that_it_needs_and_no_more() {
    let mut o = Organisation::start("rights", "all");
    o.stop("server-1");
    // The folder is the test's own making.
    fs::set_permissions(o.data("server-1"), fs::Permissions::from_mode(0o700)).unwrap();
    let user = begin_as_somebody(&mut o);

    let roles = o.records("server-1", &["Get-ServiceIdentity"]).unwrap();
    let names: Vec<&str> = roles.iter().filter_map(|r| r["Role"].as_str()).collect();
    assert_eq!(names, ["frontend", "transport", "mailbox"]);
    for role in &roles {
        assert_eq!(role["UserId"].to_string(), user, "{role}");
        assert_eq!(role["State"], "Running");
        assert!(role["InnerCertificateDaysLeft"].as_i64().unwrap() >= 28, "{role}");
        assert!(role["InnerCertificateIssuer"].as_str().unwrap().contains("Waypost inner CA"), "{role}");
        assert_eq!(role["KeytabEntries"], Value::Array(Vec::new()), "{role}");
    }
    if user == SOMEBODY {
        for check in ["User", "Capability"] {
            let found = checks(&o, check);
            assert!(found.iter().all(|c| c.1 == "Ok"), "{check}: {found:?}");
        }
        assert_eq!(roles[0]["Rights"], "none");
        assert_eq!(roles[0]["NoNewPrivileges"], true);
    }
    for check in ["Needs", "Secret"] {
        let found = checks(&o, check);
        assert!(!found.is_empty() && found.iter().all(|c| c.1 == "Ok"), "{check}: {found:?}");
    }
    assert_eq!(checks(&o, "Denied"), []);

    // A keytab that others read; a key that the server cannot read any more.
    let data = o.data("server-1").to_owned();
    let keytab = data.join("secret/waypost.keytab");
    fs::write(&keytab, b"\x05\x02").unwrap();
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o644)).unwrap();
    let secret = checks(&o, "Secret");
    assert!(
        secret
            .iter()
            .any(|c| c.0.ends_with("waypost.keytab") && c.1 == "Failed" && c.2.contains("mode 0644")),
        "{secret:?}"
    );
    let key = data.join("trust/server.key");
    close(&key);
    let needs = checks(&o, "Needs");
    let lacks = needs.iter().find(|c| c.0.ends_with("trust/server.key")).unwrap();
    if user == SOMEBODY {
        assert_eq!(lacks.1, "Failed");
        assert!(lacks.2.contains("mode 0000, owner uid 64501"), "{lacks:?}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    // Denied while it runs: told by path and operation.
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o000)).unwrap();
    let _ = o.records("server-1", &["Test-KerberosKeytab"]);
    if user == SOMEBODY {
        let denied = checks(&o, "Denied");
        assert!(
            denied.iter().any(|c| c.0.ends_with("waypost.keytab") && c.2.starts_with("read ")),
            "{denied:?}"
        );
    }

    // The files of a stopped server are judged for their owner; the store need not open.
    o.stop("server-1");
    let stopped = o.records("server-1", &["Get-ServiceIdentity", "mailbox"]).unwrap();
    assert_eq!((&stopped[0]["State"], stopped[0]["UserId"].to_string()), (&"Stopped".into(), user));
    fs::remove_file(data.join("secret/organisation.key")).unwrap();
    let needs = checks(&o, "Needs");
    assert!(needs.iter().any(|c| c.0.ends_with("organisation.key") && c.2 == "it is not there"), "{needs:?}");
}
