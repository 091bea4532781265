//! Probes as users would act: over the network where there is one, by the real way out, and with nothing left behind.

use serde_json::Value;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use waypost_tests::knot::Knot;
use waypost_tests::line::Line;
use waypost_tests::ports;
use waypost_tests::server::{self, Server, records};

/// An unoptimised binary on a busy machine gets so long for what takes an interval.
const PATIENCE: Duration = Duration::from_secs(90);
/// More than the probes need at a time from one address.
const PLACES: usize = 12;

fn until<T>(what: &str, so: impl FnMut() -> Option<T>) -> T {
    server::until(PATIENCE, what, so)
}

fn unwell(server: &Server) -> Vec<String> {
    let all = records(server.data(), &["Get-ServerHealth"]);
    if all.is_empty() {
        return vec!["nothing was looked at yet".to_owned()];
    }
    let bad = |m: &&Value| m["AlertValue"] != "Healthy";
    all.iter().filter(bad).map(|m| format!("{} {}: {}", m["Name"], m["TargetResource"], m["Error"])).collect()
}

fn well(server: &Server) {
    until("all is well", || unwell(server).is_empty().then_some(()));
}

fn quick(server: &Server) {
    server.command(&["Set-WaypostSetting", "health.probe_interval", "00:00:05"]).unwrap();
    well(server);
}

/// What a probe says when it is run now, one for each target.
fn tried(server: &Server, probe: &str) -> Vec<Value> {
    let all = records(server.data(), &["Invoke-MonitoringProbe", probe]);
    for one in &all {
        assert_eq!(one["ResultType"], "Succeeded", "{one:#}");
    }
    all
}

fn one_alert(server: &Server, cause: &str) -> Value {
    let alerts = || records(server.data(), &["Get-HealthAlert"]);
    let is = |a: &Value| a["Cause"].as_str().is_some_and(|code| code.split(' ').next() == Some(cause));
    let found = until(&format!("an alert {cause}"), || alerts().into_iter().find(is));
    std::thread::sleep(Duration::from_secs(6));
    let all = alerts();
    assert_eq!(all.len(), 1, "one cause, one alert: {all:#?}");
    found
}

fn mended(server: &Server) {
    until("mended", || records(server.data(), &["Get-HealthAlert"]).is_empty().then_some(()));
    well(server);
}

/// This machine's address for others; loopback where there is none.
fn outside() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let found = socket.connect("203.0.113.1:9").and_then(|()| socket.local_addr());
    found.map_or(IpAddr::from([127, 0, 0, 1]), |at| at.ip())
}

#[test]
fn doors_for_others_are_used_as_others_do() {
    let server = Server::start("probes-network");
    let (amy, own) = (server.account(0), outside());
    quick(&server);
    let doors = ["imap", "imaps", "pop3", "pop3s", "submission", "smtp"];
    let before =
        tried(&server, "IMAP.Protocol\\ImapDeepTestProbe").iter().map(Value::to_string).collect::<String>();
    assert!(before.contains("sign-in in clear"), "loopback may: {before}");
    for door in doors {
        let everywhere = format!("0.0.0.0:{}", server.port(door));
        server.command(&["Set-WaypostSetting", &format!("listeners.{door}"), &everywhere]).unwrap();
    }
    // One more, for this machine alone.
    let near = format!("127.0.0.3:{}", ports::free());
    let further = format!("[\"0.0.0.0:{}\",\"{near}\"]", server.port("imaps"));
    server.command(&["Set-WaypostSetting", "listeners.imaps", &further]).unwrap();
    well(&server);
    for (probe, door) in [
        ("IMAP.Proxy\\ImapProxyTestProbe", "imap"),
        ("IMAP\\ImapCTPProbe", "imaps"),
        ("POP\\PopCTPProbe", "pop3s"),
        ("FrontendTransport\\OnPremisesSmtpClientSubmissionProbe", "submission"),
        ("FrontendTransport\\OnPremisesInboundProxyProbe", "smtp"),
        ("MailFlow\\MailflowInboundProbe", "smtp"),
    ] {
        let legs = tried(&server, probe).iter().map(|r| r["Legs"].to_string()).collect::<String>();
        let way = format!("{door} {own}:{}", server.port(door));
        assert!(legs.contains(&way), "{probe} does not go to {way}: {legs}");
    }
    if own.is_loopback() {
        return;
    }
    let far =
        tried(&server, "IMAP.Protocol\\ImapDeepTestProbe").iter().map(Value::to_string).collect::<String>();
    assert!(!far.contains("sign-in in clear"), "others may not: {far}");
    let told = format!("imaps {near}");
    // It is planned for the next round.
    until("the further listener has a monitor", || {
        let monitors = records(server.data(), &["Get-ServerHealth", "-HealthSet", "IMAP.Proxy"]);
        monitors.iter().any(|m| m["TargetResource"] == told.as_str()).then_some(())
    });

    // A limit that only clients from elsewhere meet is seen; people at other addresses are served all the same.
    let limit = PLACES.to_string();
    server.command(&["Set-WaypostSetting", "imap.max_connection_from_single_ip", &limit]).unwrap();
    well(&server);
    let at = SocketAddr::new(own, server.port("imap"));
    let held: Vec<TcpStream> = (0..PLACES).map(|_| TcpStream::connect(at).unwrap()).collect();
    one_alert(&server, "HEALTH-CONNECTIONS-USED-UP");
    Line::imap_login(server.address("imap"), &amy).unwrap();
    drop(held);
    mended(&server);
    assert!(Line::imap_login(at, &amy).is_err(), "a sign-in in clear from elsewhere");
}

#[test]
fn what_goes_out_is_really_sent_and_leaves_nothing() {
    let server = Server::start("probes-out");
    quick(&server);
    let out = tried(&server, "MailFlow\\MailflowOutboundProbe").remove(0)["Legs"].to_string();
    for step in ["queue", "send", "settle", "TLS"] {
        assert!(out.contains(step), "no step {step}: {out}");
    }
    for probe in ["MailboxTransport\\MailboxDeliveryAvailabilityProbe", "MailboxTransport\\Mapi.Submit.Probe"]
    {
        let legs = tried(&server, probe).remove(0)["Legs"].to_string();
        assert!(legs.contains("arrival"), "{probe}: {legs}");
    }
    let report = records(server.data(), &["Get-HealthReport"]);
    let set = report.iter().find(|r| r["HealthSet"] == "MailboxTransport").expect("a set");
    assert_eq!((&set["AlertValue"], &set["MonitorCount"]), (&"Healthy".into(), &2.into()), "{set:#}");
    // Nothing of it is seen by people, while probes go on.
    for _ in 0..20 {
        for words in [&["Get-Queue"][..], &["Get-MessageTrackingLog"], &["Get-SendConnector"]] {
            let all = format!("{:?}", records(server.data(), words));
            assert!(!all.contains("health-probe"), "{words:?}: {all}");
        }
    }
}

#[test]
fn other_name_servers_hold_at_once() {
    let knot = Knot::start("contoso.test. MX 10 mx.contoso.test.\nmx.contoso.test. A 127.0.0.1\n");
    let server = Server::start("probes-names");
    quick(&server);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = format!("[\"{}\"]", nobody.local_addr().unwrap());
    server.command(&["Set-WaypostSetting", "dns.timeout", "00:00:01"]).unwrap();
    server.command(&["Set-WaypostSetting", "dns.servers", &dead]).unwrap();
    one_alert(&server, "HEALTH-DNS-SILENT");
    server.command(&["Set-WaypostSetting", "dns.servers", &knot.setting()]).unwrap();
    mended(&server);
}
