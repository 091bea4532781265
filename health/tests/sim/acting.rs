//! What responders do and leave alone.

use super::tests::{MINUTE, START, done, mends};
use super::world::{Fault, World};
use waypost_health::event::id;
use waypost_health::{AlertValue, Decision, Keeper, Moment, Subject, Timing, Watch};

fn mute(server: &str) -> Fault {
    Fault::new(Subject::listener(server, "imaps"), "HEALTH-LISTENER-MUTE", "")
}

/// Runs by the minute, and does what is decided.
fn live(world: &mut World, from: usize, until: u64) -> usize {
    let mut from = from;
    while world.now() < until {
        world.run_until((world.now() + MINUTE).min(until));
        from = world.carry_out(from);
    }
    from
}

#[test]
fn what_was_drained_is_returned_when_it_is_well() {
    let mut world = World::new(8);
    world.responders(mends());
    world.faults.push(mute("fe-1").at(START, START + 20 * MINUTE));
    live(&mut world, 0, START + 19 * MINUTE);
    assert_eq!(world.drained.len(), 1, "{}", world.story());
    let said = world.said.len();
    live(&mut world, said, START + 40 * MINUTE);
    let all = ["restart imap of fe-1", "drain imap of fe-1", "return imap of fe-1 to service"];
    assert_eq!(done(&world), all, "{}", world.story());
    assert!(world.drained.is_empty());
    let past = world.keeper.alerts(true);
    assert_eq!(past[0].actions.len(), 3);
    assert!(past[0].actions.iter().all(|a| a.result.as_deref() == Some("done")), "{past:?}");
}

#[test]
fn the_last_one_is_never_drained() {
    let mut world = World::new(8);
    world.responders(mends());
    world.faults.push(mute("fe-1").at(START, START + 60 * MINUTE));
    world.faults.push(mute("fe-2").at(START, START + 60 * MINUTE));
    live(&mut world, 0, START + 60 * MINUTE);
    let mut both = done(&world);
    both.sort();
    assert_eq!(both, ["restart imap of fe-1", "restart imap of fe-2"], "{}", world.story());
    // One that is drained does not count as another that is there.
    let mut world = World::new(8);
    world.responders(mends());
    world.drained.insert(("fe-2".into(), "imap".into()));
    world.faults.push(mute("fe-1").at(START, START + 30 * MINUTE));
    for minute in 0..30 {
        world.run_until(START + minute * MINUTE);
        let said = world.said.len();
        world.carry_out(said);
    }
    assert!(!done(&world).contains(&"drain imap of fe-1".to_owned()), "{}", world.story());
}

#[test]
fn one_member_that_lies_has_nothing_done_to_others() {
    let lie = (Subject::listener("fe-2", "imaps"), "HEALTH-LISTENER-MUTE");
    for (liars, acts) in [(vec!["mbx-2"], false), (vec!["mbx-1", "mbx-2"], true), (vec!["fe-2"], true)] {
        let mut world = World::new(11);
        world.responders(mends());
        world.run_until(START);
        world.liars = liars.iter().map(|server| ((*server).to_owned(), lie.clone())).collect();
        live(&mut world, 0, START + 30 * MINUTE);
        let did = done(&world);
        assert_eq!(
            did.first().map(String::as_str) == Some("restart imap of fe-2"),
            acts,
            "{liars:?} {did:?}"
        );
        assert_eq!(did.is_empty(), !acts, "{}", world.story());
        assert_eq!(world.raised().len(), 1, "it is told of all the same\n{}", world.story());
        let events = world.keeper.take_events();
        let held = events.iter().filter(|e| e.id == id::RESPONDER_HELD_BACK).collect::<Vec<_>>();
        if !acts {
            assert_eq!(held.len(), 1, "{held:?}");
            assert!(held[0].message.contains("only mbx-2 says so"), "{held:?}");
        }
    }
}

#[test]
fn a_keeper_that_is_killed_amid_a_repair_does_not_begin_again() {
    let mut world = World::new(8);
    world.responders(mends());
    world.faults.push(mute("fe-1").at(START, START + 30 * MINUTE));
    while done(&world).is_empty() {
        world.run_until(world.now() + 1_000);
    }
    let before = world.raised()[0].1.id.clone();
    for _ in 0..5 {
        // Each time it dies before it is known what came of it.
        let now = world.moment();
        let kept = world.keeper.remember(now);
        world.keeper = Keeper::new("fe-1", world.timing);
        world.responders(mends());
        world.keeper.recall(kept, now);
        world.run_until(world.now() + 20_000);
    }
    let said = world.said.len();
    live(&mut world, said, START + 90 * MINUTE);
    let restarts = done(&world).iter().filter(|what| what.starts_with("restart")).count();
    assert_eq!(restarts, 1, "{}", world.story());
    assert_eq!((world.raised().len(), world.mended().len()), (1, 1), "{}", world.story());
    let ended = &world.mended()[0].1;
    assert_eq!(ended.id, before);
    assert!(ended.actions[0].result.as_deref().unwrap().contains("not known"), "{ended:?}");
    // What was done counts for what comes later, too: the pause and the number of a day.
    let now = world.moment();
    let kept = world.keeper.remember(now);
    let mut world = World::new(9);
    world.responders(mends());
    let later = Moment { mono: 48 * 60 * MINUTE, ..now };
    world.keeper.recall(kept.clone(), later);
    assert_eq!(world.keeper.alerts(true).len(), kept.len());
    assert!(world.keeper.alerts(false).is_empty());
}

#[test]
fn repairing_stays_when_probes_come_and_go() {
    let timing = Timing::new(60_000);
    let mut world = World::new(3);
    world.faults.push(Fault::new(Subject::Store("mbx-1".into()), "HEALTH-STORE", ""));
    world.run_until(START);
    let states = world.watch("mbx-1").state(world.moment());
    let bad = states.iter().find(|m| m.probe.set == "Store").and_then(|m| m.last.clone()).unwrap();
    let mut watch = Watch::new("mbx-1", timing);
    watch.repairing("store", true);
    assert_eq!(watch.under_repair(), ["store"]);
    for second in 0..4 {
        let mut again = bad.clone();
        again.finding.clone_from(&bad.finding);
        watch.take(again, Moment { mono: second * 1_000, ..world.moment() });
    }
    let state = watch.state(world.moment());
    assert_eq!(state[0].value, AlertValue::Repairing, "{state:?}");
    watch.repairing("Store", false);
    assert!(watch.under_repair().is_empty());
    assert_eq!(watch.state(world.moment())[0].value, AlertValue::Unhealthy);
}

#[test]
fn a_service_that_answers_wrongly_is_not_restarted() {
    let mut world = World::new(5);
    world.responders(mends());
    let fault = Fault::new(Subject::listener("fe-1", "imaps"), "HEALTH-NO-SIGN-IN", "");
    world.faults.push(fault.at(START, START + 20 * MINUTE));
    live(&mut world, 0, START + 20 * MINUTE);
    assert_eq!(done(&world), Vec::<String>::new(), "{}", world.story());
    assert!(!world.said.iter().any(|(_, d)| matches!(d, Decision::Restore { .. })));
}
