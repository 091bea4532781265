//! The commands of health, on a server whose health is made up.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use waypost_admin::health::{
    Authenticated, Bound, Connected, ConnectionType, Connectivity, Flown, Health, Item, Mailflow,
};
use waypost_admin::run::Answer;
use waypost_admin::settings::SettingsStore;
use waypost_admin::{Catalogue, Context, Event, Exit, Record, Source, World};
use waypost_base::explain::{Confidence, Evidence, Finding, Leg, Outcome, Party};
use waypost_base::{Clock, Timestamp};
use waypost_directory::Directory;
use waypost_health::{
    Alert, AlertValue, EventQuery, Member, Moment, MonitorState, ProbeId, ProbeResult, Severity, Subject,
    Timing, Watch, cause,
};
use waypost_mailbox::{Limits, Mailboxes};
use waypost_store::Store;

const NOW: Timestamp = Timestamp(1_772_525_720_114);

/// IMAP over TLS fails, everything else works.
struct Made(Watch);

fn finding() -> Finding {
    Finding {
        cause: cause::MUTE,
        confidence: Confidence::Certain,
        evidence: vec![Evidence { source: "probe".into(), time: None, fact: "no greeting in 5 s".into() }],
        remedy: vec!["Restart-Service imap".into()],
        untested: Vec::new(),
    }
}

fn result(set: &str, name: &str, target: &str) -> ProbeResult {
    let mut result = ProbeResult::new(ProbeId::new(set, name, target), "server-1", NOW);
    result.millis = 12;
    result.subject = vec![Subject::listener("server-1", target)];
    let mut leg =
        Leg::start("imap", Party::new("probe", "server-1"), Party::new("front end", "127.0.0.1:993"), NOW);
    leg.step("connect", 900, Some("127.0.0.1:993".into()));
    leg.outcome = Outcome::Ok;
    if target == "imaps" {
        leg.outcome = Outcome::Failed { cause: cause::MUTE, text: "no greeting".into(), retry: true };
        result.finding = Some(finding());
    }
    result.legs = vec![leg];
    result
}

impl Made {
    fn new() -> Made {
        let mut watch = Watch::new("server-1", Timing::default());
        for (set, name, target) in [
            ("IMAP", "ImapCTPProbe", "imaps"),
            ("IMAP.Proxy", "ImapProxyTestProbe", "imap"),
            ("POP", "PopCTPProbe", "pop3s"),
        ] {
            for n in 0..3 {
                watch.take(result(set, name, target), Moment::new(n * 1_000, NOW));
            }
        }
        Made(watch)
    }
}

impl Health for Made {
    fn items(&self) -> Vec<Item> {
        let item = |m: MonitorState| Item {
            probe: m.probe,
            recurrence: 30_000,
            timeout: 5_000,
            budget: 2_000,
            enabled: true,
        };
        self.monitors().into_iter().map(item).collect()
    }

    fn monitors(&self) -> Vec<MonitorState> {
        self.0.state(Moment::new(3_000, NOW))
    }

    fn run<'a>(&'a self, asked: &'a ProbeId) -> Answer<'a, Vec<ProbeResult>> {
        let found =
            self.monitors().into_iter().filter(|m| m.probe.is(asked)).filter_map(|m| m.last).collect();
        Box::pin(async move { Ok(found) })
    }

    fn alerts(&self, _: bool) -> Answer<'_, Vec<Alert>> {
        let alert = Alert {
            id: "a-1".into(),
            severity: Severity::Error,
            subject: Subject::listener("server-1", "imaps"),
            leg: "client → front end server-1 (imap)".into(),
            finding: finding(),
            since: NOW,
            raised: NOW,
            until: None,
            servers: vec!["server-1".into()],
            sets: vec!["IMAP".into()],
            folded: vec![Member {
                server: "server-1".into(),
                probe: ProbeId::new("IMAP", "ImapCTPProbe", "imaps"),
            }],
            actions: Vec::new(),
            relapses: 0,
            change: None,
        };
        Box::pin(async move { Ok(vec![alert]) })
    }

    fn events(&self, query: &EventQuery) -> Vec<waypost_health::Event> {
        self.0.events(query)
    }

    fn repairing(&self, _: &str, _: bool) {}

    fn connectivity<'a>(&'a self, asked: &'a Connectivity) -> Answer<'a, Vec<Connected>> {
        let all = [("imaps", ConnectionType::Ssl, 993), ("imap", ConnectionType::Tls, 143)];
        let wanted = all.into_iter().filter(|(_, kind, _)| asked.connection.is_none_or(|c| c == *kind));
        let one = |(door, connection, port)| Connected {
            server: "server-1".into(),
            mailbox_server: "server-1".into(),
            connection,
            port,
            user: "HealthMailbox@server-1".into(),
            skipped: None,
            result: result("IMAP", "ImapCTPProbe", door),
        };
        let found = wanted.map(one).collect();
        Box::pin(async move { Ok(found) })
    }

    fn smtp(&self) -> Answer<'_, Vec<Bound>> {
        let bound = Bound {
            server: "server-1".into(),
            connector: "Default Frontend".into(),
            binding: "0.0.0.0:25".into(),
            endpoint: "127.0.0.1:25".into(),
            result: result("FrontendTransport", "OnPremisesInboundProxyProbe", "smtp"),
            code: None,
        };
        Box::pin(async move { Ok(vec![bound]) })
    }

    fn mailflow<'a>(&'a self, asked: &'a Mailflow) -> Answer<'a, Vec<Flown>> {
        let flown = Flown {
            target: asked.address.clone().unwrap_or_else(|| "server-1".into()),
            remote: asked.server.is_some(),
            latency: Some(250),
            message_id: "<1@health>".into(),
            result: result("MailFlow", "MailflowLocalProbe", ""),
        };
        Box::pin(async move { Ok(vec![flown]) })
    }

    fn authenticate<'a>(&'a self, to: &'a str, _: Option<&'a str>) -> Answer<'a, Vec<Authenticated>> {
        let one = Authenticated {
            from: "server-1".into(),
            to: to.into(),
            service: "imap".into(),
            result: result("Network", "InnerLegProbe", to),
        };
        Box::pin(async move { Ok(vec![one]) })
    }
}

struct Office {
    catalogue: Catalogue,
    context: Context,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.context.data);
    }
}

async fn office(name: &str) -> Office {
    let data = std::env::temp_dir().join(format!("waypost-health-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).unwrap();
    let clock = Clock::fixed(NOW);
    let store = Store::memory();
    let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
    let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
    let settings = Arc::new(SettingsStore::open(&data).unwrap());
    let mut world = World::new(store, directory, mailboxes, settings);
    world.health = Some(Arc::new(Made::new()));
    let context = Context {
        data,
        clock,
        caller: "root".into(),
        from: "console".into(),
        rights: Default::default(),
        running: true,
        world: Some(world),
    };
    Office { catalogue: Catalogue::new(), context }
}

impl Office {
    async fn run(&self, line: &[&str]) -> (Vec<Record>, Exit, String) {
        let words: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
        let invocation = match self.catalogue.parse(&words, Source { folder: &self.context.data }) {
            Ok(parsed) => parsed.invocation,
            Err(failure) => return (Vec::new(), failure.exit(), failure.message),
        };
        let (mut records, mut said) = (Vec::new(), String::new());
        let exit = self
            .catalogue
            .run_here(&self.context, &invocation, |event| match event {
                Event::Record(record) => records.push(record),
                Event::Error(failure) => said = failure.message,
                _ => {}
            })
            .await;
        (records, exit, said)
    }

    async fn ok(&self, line: &[&str]) -> Vec<Record> {
        let (records, exit, said) = self.run(line).await;
        assert_eq!(exit, Exit::OK, "{line:?}: {said}");
        records
    }
}

fn shown(record: &Record, name: &str) -> String {
    record.cell(name).unwrap_or_else(|| panic!("no {name} in {record:?}")).shown()
}

fn column(records: &[Record], name: &str) -> Vec<String> {
    records.iter().map(|r| shown(r, name)).collect()
}

#[tokio::test]
async fn monitors_and_sets() {
    let o = office("state").await;
    let all = o.ok(&["Get-ServerHealth"]).await;
    assert_eq!(column(&all, "Name"), ["ImapCTPMonitor", "ImapProxyTestMonitor", "PopCTPMonitor"]);
    assert_eq!(column(&all, "AlertValue"), ["Unhealthy", "Healthy", "Healthy"]);
    assert_eq!(column(&all, "State"), ["NotApplicable", "Online", "NotApplicable"]);
    assert_eq!(column(&all, "Cause"), ["HEALTH-LISTENER-MUTE", "", ""]);
    assert!(shown(&all[0], "Remedy").contains("Restart-Service imap"));
    assert_eq!(o.ok(&["Get-ServerHealth", "-HealthSet", "IMAP*"]).await.len(), 2);
    assert_eq!(o.ok(&["Get-ServerHealth", "-AlertValue", "Unhealthy"]).await.len(), 1);
    let sets = o.ok(&["Get-HealthReport"]).await;
    assert_eq!(column(&sets, "HealthSet"), ["IMAP", "POP", "IMAP.Proxy"]);
    assert_eq!(column(&sets, "AlertValue"), ["Unhealthy", "Healthy", "Healthy"]);
    assert_eq!(shown(&sets[0], "Entries"), "{ImapCTPMonitor imaps Unhealthy}");
    let groups = o.ok(&["Get-HealthReport", "-RollupGroup"]).await;
    assert_eq!(column(&groups, "HealthSet"), ["Customer Touch Points", "Service Components"]);
    assert_eq!(o.run(&["Get-HealthReport", "-HealthSet", "OWA"]).await.1, Exit::NOT_FOUND);
    assert_eq!(
        o.run(&["Get-ServerHealth", "nowhere"]).await.1,
        Exit::OK,
        "one server that the directory does not know"
    );
    o.ok(&["Set-ServerMonitor", "IMAP", "-Repairing", "$true"]).await;
    assert_eq!(o.run(&["Set-ServerMonitor", "X", "-Repairing", "$true"]).await.1, Exit::NOT_FOUND);
}

#[tokio::test]
async fn probes_on_demand() {
    let o = office("items").await;
    let (records, exit, said) = o.run(&["Invoke-MonitoringProbe", r"IMAP\ImapCTPProbe"]).await;
    assert_eq!((exit, said.as_str()), (Exit::PARTLY, "1 of 1 probes failed."));
    assert_eq!(column(&records, "ResultType"), ["Failed"]);
    assert_eq!(shown(&records[0], "Error"), "[HEALTH-LISTENER-MUTE] no greeting");
    assert_eq!(o.ok(&["Invoke-MonitoringProbe", "POP/PopCTPProbe"]).await.len(), 1);
    assert_eq!(o.run(&["Invoke-MonitoringProbe", r"IMAP\X"]).await.1, Exit::NOT_FOUND);
    assert_eq!(o.run(&["Invoke-MonitoringProbe", "IMAP"]).await.1, Exit::FAILED);
    assert_eq!(o.ok(&["Get-MonitoringItemIdentity", "IMAP"]).await.len(), 2);
    let help = o.ok(&["Get-MonitoringItemHelp", r"IMAP\ImapCTPMonitor"]).await;
    assert!(shown(&help[0], "Help").contains("Get-ServiceLeg"));
}

#[tokio::test]
async fn tests_end_with_their_exit_code() {
    let o = office("tests").await;
    let (records, exit, said) = o.run(&["Test-ImapConnectivity"]).await;
    assert_eq!((exit, said.as_str()), (Exit::PARTLY, "1 of 2 connections failed."));
    assert_eq!(column(&records, "Result"), ["Failure", "Success"]);
    assert_eq!(column(&records, "Cause"), ["HEALTH-LISTENER-MUTE", ""]);
    assert_eq!(o.ok(&["Test-ImapConnectivity", "-ConnectionType", "Tls"]).await.len(), 1);
    assert_eq!(o.run(&["Test-PopConnectivity", "-MailboxCredential", "amy"]).await.1, Exit::USAGE);
    assert_eq!(column(&o.ok(&["Test-SmtpConnectivity"]).await, "StatusCode"), ["Success"]);
    let flown = o.ok(&["Test-Mailflow", "-TargetEmailAddress", "amy@contoso.test"]).await;
    assert_eq!(column(&flown, "TestMailflowResult"), ["Success"]);
    assert!(o.ok(&["Test-Mailflow", "-WhatIf"]).await.is_empty());
    assert!(o.ok(&["Test-ServiceAuthentication"]).await.is_empty(), "there is no other server");
    assert_eq!(o.run(&["Test-ServiceAuthentication", "-To", "nowhere"]).await.1, Exit::NOT_FOUND);
}

#[tokio::test]
async fn events_alerts_and_overrides() {
    let o = office("events").await;
    let events = o.ok(&["Get-HealthEvent", "-Level", "Error"]).await;
    assert_eq!(column(&events, "InstanceId"), ["1002"]);
    assert_eq!(column(&events, "Cause"), ["HEALTH-LISTENER-MUTE"]);
    assert_eq!(o.ok(&["Get-HealthEvent", "-Newest", "1"]).await.len(), 1);
    assert!(o.ok(&["Get-HealthEvent", "-After", "2030-01-01"]).await.is_empty());
    assert_eq!(o.run(&["Get-HealthEvent", "-After", "soon"]).await.1, Exit::FAILED);
    let alerts = o.ok(&["Get-HealthAlert"]).await;
    assert_eq!(column(&alerts, "Leg"), ["client → front end server-1 (imap)"]);
    assert_eq!(o.run(&["Get-HealthAlert", "a-2"]).await.1, Exit::NOT_FOUND);
    o.ok(&[
        "Add-ServerMonitoringOverride",
        r"IMAP\ImapCTPProbe",
        "-PropertyName",
        "Enabled",
        "-PropertyValue",
        "0",
    ])
    .await;
    o.ok(&["Add-ServerMonitoringOverride", r"POP\PopCTPProbe", "-Duration", "8h"]).await;
    let all = o.ok(&["Get-ServerMonitoringOverride"]).await;
    assert_eq!(column(&all, "Identity"), [r"IMAP\ImapCTPProbe", r"POP\PopCTPProbe"]);
    o.ok(&["Remove-ServerMonitoringOverride", r"IMAP\ImapCTPProbe"]).await;
    assert_eq!(o.ok(&["Get-ServerMonitoringOverride"]).await.len(), 1);
    assert_eq!(o.run(&["Remove-ServerMonitoringOverride", r"IMAP\ImapCTPProbe"]).await.1, Exit::NOT_FOUND);
    assert_eq!(AlertValue::Healthy.max(AlertValue::Unhealthy), AlertValue::Unhealthy);
}

/// Words such as `Get-Queue`, wherever they stand in a text.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let word = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    word.filter(|w| {
        let mut parts = w.split('-');
        let capital = |p: Option<&str>| {
            p.is_some_and(|p| p.len() > 2 && p.starts_with(|c: char| c.is_ascii_uppercase()))
        };
        capital(parts.next())
            && capital(parts.next())
            && parts.next().is_none()
            && w.chars().any(char::is_lowercase)
    })
}

#[test]
fn what_health_advises_exists() {
    let catalogue = Catalogue::new();
    let causes = cause::ALL.iter().map(|c| c.remedy);
    let probes = waypost_health::sets::PROBES.iter().map(|p| p.help);
    let mut seen = 0;
    for text in causes.chain(probes) {
        for name in commands(text) {
            assert!(catalogue.find(name).is_some(), "{name} in {text:?}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}
