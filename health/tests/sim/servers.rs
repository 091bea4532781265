//! Servers that hang, are away, go and come back: one fault, whoever keeps the alerts meanwhile.

use super::world::{Fault, Probe, World, probes};
use waypost_health::{Keeper, ProbeId, Subject};

const MINUTE: u64 = 60_000;
const START: u64 = 3 * MINUTE;

/// With mail from outside, which front ends hand to the hubs by turns.
fn world(seed: u64) -> World {
    let mut all = probes();
    let probe = ProbeId::new("FrontendTransport", "OnPremisesInboundProxyProbe", "smtp");
    for front in ["fe-1", "fe-2"] {
        let path = vec![Subject::listener(front, "smtp")];
        all.push(Probe { id: probe.clone(), server: front.into(), path });
    }
    let mut world = World::with(seed, all);
    for front in ["fe-1", "fe-2"] {
        let legs = ["mbx-1", "mbx-2"].map(|hub| Subject::leg(front, hub));
        world.turns.insert((front.to_owned(), probe.clone()), legs.to_vec());
    }
    world
}

fn hangs(server: &str) -> Fault {
    let part = Subject::Server(server.to_owned());
    let fault = Fault::new(part, "DOWN", "INNER-TIMEOUT").at(START, START + 6 * MINUTE);
    Fault { hangs: true, ..fault }
}

#[test]
fn a_server_that_hangs_is_one_alert() {
    for server in ["mbx-1", "mbx-2", "fe-2"] {
        for seed in 0..12 {
            let mut world = world(seed);
            world.faults.push(hangs(server));
            world.run_until(START + 6 * MINUTE);
            let told = format!("{server} seed {seed}\n{}", world.story());
            assert_eq!(world.raised().len(), 1, "{told}");
            let open = world.keeper.alerts(false);
            assert_eq!(open[0].subject, Subject::Server(server.to_owned()), "{told}");
            assert!(world.raised()[0].0 - START <= MINUTE, "{told}");
            world.run_until(START + 40 * MINUTE);
            assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{}", world.story());
        }
    }
}

/// The keeper hangs, another one takes its place, tells of it, and gives back what it kept.
#[test]
fn a_keeper_that_hangs_is_one_alert_and_hears_of_it() {
    for seed in 0..12 {
        let mut world = world(seed);
        world.faults.push(hangs("fe-1"));
        world.run_until(START + 20_000);
        let timing = world.timing;
        let first = std::mem::replace(&mut world.keeper, Keeper::new("mbx-1", timing));
        world.run_until(START + 6 * MINUTE);
        let told = format!("seed {seed}\n{}", world.story());
        assert_eq!(world.raised().len(), 1, "{told}");
        assert_eq!(world.keeper.alerts(false)[0].subject.server(), Some("fe-1"), "{told}");
        let kept = std::mem::replace(&mut world.keeper, first).hand_over();
        assert_eq!(kept.len(), 1, "{told}");
        world.handed.insert("mbx-1".into(), kept.clone());
        world.run_until(START + 40 * MINUTE);
        let (raised, mended) = (world.raised(), world.mended());
        assert_eq!((raised.len(), mended.len()), (1, 1), "{}", world.story());
        assert_eq!(mended[0].1.id, kept[0].id);
    }
}

/// Others look for a server at a wrong address. It lives and reports, and opens legs of its own.
#[test]
fn a_wrong_address_is_one_alert() {
    for seed in 0..6 {
        let mut all = probes();
        for server in super::world::SERVERS {
            let id = ProbeId::new("Network", "InnerLegProbe", server);
            all.push(Probe { id, server: server.into(), path: vec![Subject::Inner(server.into())] });
        }
        let mut world = World::with(seed, all);
        // The keeper's leg stands since before.
        world.links_stand = true;
        let door = Subject::Inner("mbx-1".into());
        let fault = Fault::new(door.clone(), "INNER-UNREACHABLE", "").at(START, START + 6 * MINUTE);
        world.faults.push(Fault { only_to: true, ..fault });
        world.run_until(START + 6 * MINUTE);
        let told = format!("seed {seed}\n{}", world.story());
        assert_eq!(world.raised().len(), 1, "{told}");
        assert_eq!(world.keeper.alerts(false)[0].subject, door, "{told}");
        world.run_until(START + 40 * MINUTE);
        assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{}", world.story());
    }
}

/// A server that was shown out says so for a moment after it is let in again: that is no news.
#[test]
fn who_comes_back_is_believed_after_a_try() {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let out = Fault::new(Subject::Inner("mbx-1".into()), "INNER-REVOKED", "");
        world.faults.push(out.at(START, START + 6 * MINUTE));
        let rest = || ["fe-1", "fe-2", "mbx-2"].map(str::to_owned).to_vec();
        world.run_until(START);
        world.listed = Some(rest());
        // The others do not ask for it any more.
        world.unasked.insert("mbx-1".into());
        world.run_until(START + 6 * MINUTE);
        world.listed = None;
        world.unasked.clear();
        world.run_until(START + 40 * MINUTE);
        assert!(world.raised().is_empty(), "seed {seed}\n{}", world.story());
    }
}
