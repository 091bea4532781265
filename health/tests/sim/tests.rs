//! What must hold in any organisation.

use super::world::{Dice, Fault, Probe, SERVERS, World, probes};
use proptest::prelude::*;
use waypost_health::respond::{Kind, Responders, service};
use waypost_health::{AlertValue, Decision, Moment, ProbeId, SettingsChange, Subject};

pub const MINUTE: u64 = 60_000;
pub const START: u64 = 3 * MINUTE;

fn s(name: &str) -> String {
    name.to_owned()
}

/// One of each kind of fault, with the code that the alert must have.
fn catalogue() -> Vec<(Fault, &'static str)> {
    let direct =
        |part: Subject, code: &'static str, symptom: &'static str| (Fault::new(part, code, symptom), code);
    vec![
        direct(Subject::Disk(s("mbx-1")), "HEALTH-DISK-FULL", "SIGNIN-UNAVAILABLE"),
        direct(Subject::Disk(s("mbx-2")), "HEALTH-DISK-READONLY", "STORE-UNAVAILABLE"),
        direct(Subject::Store(s("mbx-1")), "HEALTH-STORE", "HOME-UNAVAILABLE"),
        direct(Subject::Dns(s("mbx-1")), "HEALTH-DNS-SILENT", "SEND-DNS"),
        direct(Subject::Clock(s("mbx-2")), "HEALTH-CLOCK-OFF", "KRB-SKEW"),
        direct(Subject::Kerberos(s("mbx-1")), "KRB-KEYTAB-MISSING", "KRB-KEYTAB-MISSING"),
        direct(Subject::Directory(s("fe-2")), "HEALTH-DIRECTORY-STALE", "SIGNIN-UNAVAILABLE"),
        direct(Subject::Queue(s("mbx-2")), "HEALTH-POISON", "HEALTH-MAIL-LATE"),
        (Fault::new(Subject::Certificate(s("cert-fe-1")), "CERT-EXPIRED", ""), "CERT-EXPIRED"),
        (
            Fault::new(Subject::listener("fe-1", "imaps"), "HEALTH-LISTENER-CLOSED", ""),
            "HEALTH-LISTENER-CLOSED",
        ),
        (
            Fault::new(Subject::listener("fe-2", "submission"), "HEALTH-LISTENER-MUTE", ""),
            "HEALTH-LISTENER-MUTE",
        ),
        (Fault::new(Subject::listener("mbx-1", "imap"), "REHEARSAL-TIMEOUT", ""), "REHEARSAL-TIMEOUT"),
        (Fault::new(Subject::leg("fe-1", "mbx-1"), "INNER-UNREACHABLE", ""), "INNER-UNREACHABLE"),
        (Fault::new(Subject::leg("fe-2", "mbx-1"), "INNER-UNREACHABLE", ""), "INNER-UNREACHABLE"),
        (Fault::new(Subject::Inner(s("mbx-2")), "INNER-EXPIRED", ""), "INNER-EXPIRED"),
        (Fault::new(Subject::Peer(s("relay.example.net")), "SEND-TLS", ""), "SEND-TLS"),
        (Fault::new(Subject::Server(s("mbx-1")), "DOWN", "INNER-UNREACHABLE"), "INNER-UNREACHABLE"),
        (Fault::new(Subject::Server(s("fe-2")), "DOWN", "INNER-UNREACHABLE"), "INNER-UNREACHABLE"),
    ]
}

#[test]
fn each_fault_is_one_alert_within_an_interval_and_is_mended_once() {
    for (number, (fault, code)) in catalogue().into_iter().enumerate() {
        for hangs in [false, true] {
            for seed in 0..1 + u64::from(!hangs) {
                let mut world = World::new(seed * 31 + number as u64);
                world.faults.push(Fault { hangs, ..fault.clone().at(START, START + 4 * MINUTE) });
                world.run_until(START + 10 * MINUTE);
                let (raised, mended) = (world.raised(), world.mended());
                let told = format!("{fault:?} hangs {hangs} seed {seed}\n{}", world.story());
                assert_eq!(raised.len(), 1, "{told}");
                assert_eq!(mended.len(), 1, "{told}");
                let (at, alert) = &raised[0];
                assert!(*at - START <= MINUTE, "{told}");
                let last = mended[0].1.finding.cause.code;
                assert_eq!(last, code, "{told}");
                assert!(mended[0].0 > START + 4 * MINUTE, "{told}");
                assert_eq!(alert.id, mended[0].1.id);
                assert!(world.keeper.alerts(false).is_empty());
            }
        }
    }
}

#[test]
fn two_faults_that_share_nothing_are_two_alerts() {
    let pairs = [
        (
            Fault::new(Subject::Certificate(s("cert-fe-1")), "CERT-EXPIRED", ""),
            Fault::new(Subject::Store(s("mbx-2")), "HEALTH-STORE", "HOME-UNAVAILABLE"),
        ),
        (
            Fault::new(Subject::listener("fe-1", "imaps"), "HEALTH-LISTENER-CLOSED", ""),
            Fault::new(Subject::listener("fe-2", "pop3"), "HEALTH-LISTENER-CLOSED", ""),
        ),
        (
            Fault::new(Subject::Disk(s("mbx-1")), "HEALTH-DISK-FULL", "SIGNIN-UNAVAILABLE"),
            Fault::new(Subject::Disk(s("mbx-2")), "HEALTH-DISK-FULL", "SIGNIN-UNAVAILABLE"),
        ),
        (
            Fault::new(Subject::Dns(s("mbx-1")), "HEALTH-DNS-SILENT", "SEND-DNS"),
            Fault::new(Subject::Inner(s("fe-2")), "INNER-EXPIRED", ""),
        ),
        (
            Fault::new(Subject::Server(s("mbx-2")), "DOWN", "INNER-UNREACHABLE"),
            Fault::new(Subject::Certificate(s("cert-fe-2")), "CERT-EXPIRED", ""),
        ),
        (
            Fault::new(Subject::listener("fe-1", "submission"), "REHEARSAL-TIMEOUT", ""),
            Fault::new(Subject::listener("fe-1", "pop3s"), "REHEARSAL-TIMEOUT", ""),
        ),
    ];
    for (number, (first, second)) in pairs.into_iter().enumerate() {
        for seed in 0..2 {
            let mut world = World::new(seed * 97 + number as u64);
            let later = Dice::new(seed + 5).below(2) * 4 * MINUTE;
            world.faults.push(first.clone().at(START, START + 10 * MINUTE));
            world.faults.push(second.clone().at(START + later, START + 12 * MINUTE));
            world.run_until(START + 9 * MINUTE);
            assert_eq!(world.keeper.alerts(false).len(), 2, "pair {number} seed {seed}\n{}", world.story());
            world.run_until(START + 40 * MINUTE);
            let told = format!("pair {number} seed {seed}\n{}", world.story());
            assert_eq!((world.raised().len(), world.mended().len()), (2, 2), "{told}");
        }
    }
}

/// A second fault that hides behind the first one is told of when the first is mended.
#[test]
fn what_was_hidden_is_told_of() {
    let mut world = World::new(7);
    world.faults.push(
        Fault::new(Subject::Server(s("mbx-1")), "DOWN", "INNER-UNREACHABLE").at(START, START + 5 * MINUTE),
    );
    world.faults.push(
        Fault::new(Subject::Store(s("mbx-1")), "HEALTH-STORE", "HOME-UNAVAILABLE")
            .at(START, START + 30 * MINUTE),
    );
    world.run_until(START + 20 * MINUTE);
    assert_eq!(world.codes(), ["HEALTH-STORE"], "{}", world.story());
    world.run_until(START + 60 * MINUTE);
    assert_eq!((world.raised().len(), world.mended().len()), (2, 2), "{}", world.story());
}

#[test]
fn a_server_that_dies_and_returns_is_one_fault() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let down = 30_000 + Dice::new(seed + 1).below(20 * MINUTE);
        world.faults.push(
            Fault::new(Subject::Server(s("mbx-1")), "DOWN", "INNER-UNREACHABLE").at(START, START + down),
        );
        world.run_until(START + 40 * MINUTE);
        let told = format!("down {down} seed {seed}\n{}", world.story());
        assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{told}");
        assert_eq!(world.raised()[0].1.subject, Subject::Server(s("mbx-1")), "{told}");
    }
}

#[test]
fn flapping_is_one_alert() {
    for (seed, period) in
        [(1, 3_000), (2, 7_000), (3, 12_000), (4, 20_000), (5, 31_000), (6, 45_000), (7, 58_000)]
    {
        let mut world = World::new(seed);
        let fault = Fault::new(Subject::listener("fe-1", "imaps"), "HEALTH-LISTENER-CLOSED", "");
        world.faults.push(Fault { flaps: period, ..fault.at(START, START + 20 * MINUTE) });
        world.run_until(START + 40 * MINUTE);
        let (raised, mended) = (world.raised().len(), world.mended().len());
        assert_eq!(raised, mended, "period {period}\n{}", world.story());
        assert!(raised <= 1, "period {period}\n{}", world.story());
        assert!(raised == 1 || period < 10_000, "period {period}\n{}", world.story());
    }
}

/// What comes and goes slowly comes back under the same id, and soon is one alert that stays.
#[test]
fn slow_flapping_calms_down() {
    let mut world = World::new(11);
    let fault = Fault::new(Subject::listener("fe-1", "imaps"), "HEALTH-LISTENER-CLOSED", "");
    world.faults.push(Fault { flaps: 3 * MINUTE, ..fault.at(START, START + 60 * MINUTE) });
    world.run_until(START + 100 * MINUTE);
    let raised = world.raised();
    assert!(raised.len() <= 4, "{}", world.story());
    assert!(raised.iter().all(|(_, a)| a.id == raised[0].1.id), "{}", world.story());
}

#[test]
fn lost_packets_alert_nobody() {
    for percent in [1, 2, 5, 10, 15, 20] {
        let mut world = World::new(percent);
        world.packet_loss = percent * 100;
        world.run_until(60 * MINUTE);
        assert!(world.said.is_empty(), "{percent} %\n{}", world.story());
    }
}

#[test]
fn single_lost_tries_alert_nobody() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.loss = 30;
        world.run_until(60 * MINUTE);
        assert!(world.said.is_empty(), "{}", world.story());
    }
}

#[test]
fn a_fault_under_packet_loss_is_still_one_alert() {
    for seed in 0..6 {
        let mut world = World::new(seed);
        world.packet_loss = 500;
        world.faults.push(
            Fault::new(Subject::Certificate(s("cert-fe-1")), "CERT-EXPIRED", "")
                .at(START, START + 10 * MINUTE),
        );
        world.run_until(START + 40 * MINUTE);
        assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{}", world.story());
        assert!(world.raised()[0].0 - START <= MINUTE, "{}", world.story());
    }
}

#[test]
fn the_wall_clock_decides_nothing() {
    let run = |jumps: Vec<(u64, i64)>| {
        let mut world = World::new(3);
        world.jumps = jumps;
        world.faults.push(
            Fault::new(Subject::Disk(s("mbx-1")), "HEALTH-DISK-FULL", "SIGNIN-UNAVAILABLE")
                .at(START, START + 6 * MINUTE),
        );
        world.run_until(START + 20 * MINUTE);
        let said = world.said.iter().map(|(at, d)| (*at, std::mem::discriminant(d))).collect::<Vec<_>>();
        (said, world.watch("mbx-1").events(&waypost_health::EventQuery::default()).len())
    };
    let (calm, events) = run(Vec::new());
    let day = 86_400_000;
    let (jumping, more) =
        run(vec![(START - MINUTE, -day), (START + 20_000, 3 * day), (START + 7 * MINUTE, -2 * day)]);
    assert_eq!(calm, jumping);
    assert_eq!(more, events + 3, "each jump is an event");
}

#[test]
fn a_storm_is_one_alert() {
    let mut all = probes();
    for n in 0..200 {
        let path = vec![
            Subject::listener("fe-1", &format!("door-{n}")),
            Subject::leg("fe-1", "mbx-1"),
            Subject::Store(s("mbx-1")),
        ];
        all.push(Probe {
            id: ProbeId::new("IMAP", "ImapCTPProbe", format!("storm-{n}")),
            server: s("fe-1"),
            path,
        });
    }
    let mut world = World::with(5, all);
    world.faults.push(
        Fault::new(Subject::Disk(s("mbx-1")), "HEALTH-DISK-FULL", "SIGNIN-UNAVAILABLE")
            .at(START, START + 5 * MINUTE),
    );
    world.run_until(START + 20 * MINUTE);
    assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{}", world.story());
    let mended = &world.mended()[0].1;
    assert!(mended.folded.len() >= 150, "{}", mended.folded.len());
    assert_eq!(mended.finding.cause.code, "HEALTH-DISK-FULL");
}

/// Slow answers are shown and alert only where that is wanted.
#[test]
fn slowness_is_shown() {
    let mut world = World::new(9);
    let probe = ProbeId::new("Store", "ActiveDatabaseAvailabilityProbe", "");
    let mut watch = waypost_health::Watch::new("mbx-1", world.timing);
    for n in 0..20u64 {
        let now = Moment::new(n * 30_000, world.moment().wall);
        let mut result = waypost_health::ProbeResult::new(probe.clone(), "mbx-1", now.wall);
        result.millis = 3_000;
        result.subject = vec![Subject::Store(s("mbx-1"))];
        watch.take(result, now);
        world.keeper.hear(watch.report(now), now);
        assert!(world.keeper.judge(now).is_empty());
    }
    let now = Moment::new(20 * 30_000, world.moment().wall);
    assert_eq!(watch.state(now)[0].value, AlertValue::Degraded);
    world.keeper.set_alert_slow(true);
    world.keeper.judge(now);
    let later = Moment::new(now.mono + 10_000, now.wall);
    let said = world.keeper.judge(later);
    assert!(
        matches!(said.as_slice(), [Decision::Alert(a)] if a.finding.cause.code == "HEALTH-SLOW"),
        "{said:?}"
    );
}

#[test]
fn a_new_keeper_goes_on_with_the_alerts_of_the_old_one() {
    let mut world = World::new(2);
    world.faults.push(
        Fault::new(Subject::Store(s("mbx-1")), "HEALTH-STORE", "HOME-UNAVAILABLE")
            .at(START, START + 10 * MINUTE),
    );
    world.run_until(START + 3 * MINUTE);
    let open = world.keeper.alerts(false);
    let now = world.moment();
    world.keeper = waypost_health::Keeper::new("fe-1", world.timing);
    world.keeper.adopt(open, now);
    world.run_until(START + 30 * MINUTE);
    assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{}", world.story());
}

pub fn mends() -> Responders {
    Responders { may: Kind::ALL.to_vec(), pause: 60 * MINUTE, daily: 4 }
}

fn change(version: u32, world: &World) -> SettingsChange {
    let keys = vec!["imap.x509_certificate_name".to_owned()];
    SettingsChange {
        version,
        at: world.moment().wall,
        by: "amy".into(),
        keys,
        forced: true,
        by_responder: false,
    }
}

pub fn done(world: &World) -> Vec<String> {
    let act = |d: &Decision| !matches!(d, Decision::Alert(_) | Decision::Changed(_) | Decision::Mended(_));
    world.said.iter().filter(|(_, d)| act(d)).map(|(_, d)| d.what()).collect()
}

#[test]
fn the_change_that_broke_mail_is_undone() {
    for may in [mends(), Responders::default()] {
        let mut world = World::new(4);
        world.responders(may.clone());
        world.run_until(START);
        let change = change(17, &world);
        world.change_settings(change);
        world.faults.push(
            Fault::new(Subject::Certificate(s("cert-fe-1")), "CERT-NAME-MISSED", "")
                .at(START, START + 10 * MINUTE),
        );
        world.run_until(START + 30 * MINUTE);
        let raised = world.raised();
        assert_eq!(raised[0].1.change.as_ref().map(|c| c.version), Some(17));
        let wanted: &[&str] = if may.may.is_empty() { &[] } else { &["undo version 17 of the settings"] };
        assert_eq!(done(&world), wanted, "{}", world.story());
    }
}

#[test]
fn what_failed_before_a_change_is_not_its_fault() {
    let mut world = World::new(4);
    world.responders(mends());
    world.faults.push(
        Fault::new(Subject::Certificate(s("cert-fe-1")), "CERT-NAME-MISSED", "")
            .at(START - 20_000, START + 10 * MINUTE),
    );
    world.run_until(START + 40_000);
    let change = change(17, &world);
    world.change_settings(change);
    world.run_until(START + 30 * MINUTE);
    assert_eq!(done(&world), Vec::<String>::new(), "{}", world.story());
}

#[test]
fn a_mute_service_is_restarted_once_then_its_server_is_drained() {
    let mut world = World::new(8);
    world.responders(mends());
    world.faults.push(
        Fault::new(Subject::listener("fe-1", "imaps"), "HEALTH-LISTENER-MUTE", "")
            .at(START, START + 60 * MINUTE),
    );
    let mut answered = 0;
    for minute in 0..60 {
        world.run_until(START + minute * MINUTE);
        answered = world.carry_out(answered);
    }
    assert_eq!(done(&world), ["restart imap of fe-1", "drain imap of fe-1"], "{}", world.story());
    assert_eq!((service("submission"), service("inner")), (Some("transport"), None));
    let open = world.keeper.alerts(false);
    assert!(open[0].actions.iter().all(|a| a.result.is_some()), "{open:?}");
}

/// More of them with PROPTEST_CASES.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(16)
}

fn any_part() -> impl Strategy<Value = usize> {
    0..catalogue().len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Whatever breaks, and for how long: no more alerts than faults, each that lasts an interval is told of within it, and
    /// when all is mended nothing is open.
    #[test]
    fn any_faults(
        seed in 0u64..1_000_000,
        chosen in proptest::collection::vec((any_part(), 0u64..20, 1u64..20, any::<bool>()), 1..4),
        loss in 0u64..300,
    ) {
        let mut world = World::new(seed);
        world.packet_loss = loss;
        for (part, from, length, hangs) in &chosen {
            let (fault, _) = catalogue()[*part].clone();
            let from = START + from * MINUTE;
            world.faults.push(Fault { hangs: *hangs, ..fault.at(from, from + length * MINUTE) });
        }
        world.run_until(START + 60 * MINUTE);
        let story = format!("{chosen:?}\n{}", world.story());
        prop_assert!(world.keeper.alerts(false).is_empty(), "{}", story);
        let mut ids: Vec<String> = world.raised().iter().map(|(_, a)| a.id.clone()).collect();
        prop_assert_eq!(ids.len(), world.mended().len(), "{}", &story);
        ids.sort();
        ids.dedup();
        prop_assert!(ids.len() <= chosen.len(), "{}", story);
        prop_assert!(!ids.is_empty(), "{}", story);
        let first = world.faults.iter().map(|f| f.from).min().unwrap_or(0);
        let told = world.raised().iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
        prop_assert!(told >= first && told - first <= MINUTE, "{}", story);
    }
}

#[test]
fn every_server_is_watched() {
    let mut world = World::new(1);
    world.run_until(2 * MINUTE);
    for server in SERVERS {
        let state = world.watch(server).state(world.moment());
        assert!(state.iter().all(|m| m.value == AlertValue::Healthy), "{server}");
    }
    assert_eq!(world.now(), 2 * MINUTE);
}
