//! An account goes from one store to another while it is in use: nothing is lost, doubled or renumbered.
#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

mod common;

use common::{World, content, deliver, flags, mail, noise};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use waypost_base::{AccountId, FolderId};
use waypost_mailbox::moving::{self, End, MoveError, Stand, Stop};
use waypost_mailbox::{
    AccountError, DeliverError, Delivery, FlagOp, Flags, Limits, Mailboxes, NewMessage, UidSet,
};
use waypost_store::{Options, Store};

const ANN: AccountId = AccountId(1);

fn elsewhere(world: &World) -> Mailboxes {
    let clock = world.mailboxes.clock().clone();
    let store = Store::memory_with(Options::new([7; 32], clock.clone()));
    Mailboxes::open(store, clock, Limits::default())
}

async fn go(from: &Mailboxes, to: &Mailboxes, stop: &Stop) -> Result<Stand, MoveError> {
    let (mut source, mut target) = (from.end_of_move(ANN), to.end_of_move(ANN));
    moving::run((&mut source, "server-1"), (&mut target, "server-2"), stop, || async { Ok(()) }).await
}

/// UID, modseq, flags and subject of everything in a folder.
async fn seen(mailboxes: &Mailboxes, folder: FolderId) -> Vec<(u32, u64, Flags, String)> {
    let account = mailboxes.account(ANN).await.unwrap();
    let session = account.select(folder).await.unwrap();
    let mut all = Vec::new();
    for (_, row) in session.rows(1, session.len()).collect::<Vec<_>>() {
        let body = account.body(row.message).await.unwrap();
        let bytes = account.read(&body, 0..body.size()).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        all.push((row.uid, row.modseq, row.flags, text));
    }
    all
}

async fn fill(world: &World) {
    for n in 0..40 {
        world.deliver(&mail(&format!("small {n}"), "x")).await;
    }
    // Bytes in segments, some of them shared by two messages.
    for n in 0..3 {
        world.deliver(&mail("large", &noise(120_000 + n * 1000))).await;
    }
    world.deliver(&mail("large", &noise(120_000))).await;
    let lists = world.account.create_folder("Lists/Rust", None).await.unwrap().id;
    world.deliver_to(lists, &mail("list", "y")).await;
    let some = UidSet::from_ranges([(2, 5)]);
    drop(world.account.store_flags(world.inbox, &some, FlagOp::Add, flags(Flags::SEEN), None).await.unwrap());
    drop(world.account.remove(world.inbox, &UidSet::from_ranges([(7, 9)])).await.unwrap());
}

#[tokio::test]
async fn everything_arrives_as_it_was() {
    let world = World::new().await;
    fill(&world).await;
    let (inbox, target) = (world.inbox, elsewhere(&world));
    let before = seen(&world.mailboxes, inbox).await;
    let usage = world.account.usage();
    let stand = go(&world.mailboxes, &target, &Stop::default()).await.unwrap();
    assert!(stand.frozen && stand.rows == stand.rows_done && stand.bytes_copied > 300_000, "{stand:?}");
    assert_eq!(seen(&target, inbox).await, before);
    let there = target.account(ANN).await.unwrap();
    assert_eq!(there.usage(), usage);
    assert_eq!(there.recoverable_items(10).await.unwrap().len(), 3);
    assert!(there.folders().iter().any(|f| f.path == "Lists/Rust"));
    // Numbers go on where they were.
    let uid = deliver(&target, &there, inbox, &mail("next", "z")).await;
    assert_eq!(uid, 45);
    let report = target.verify().await;
    assert!(report.is_clean(), "{report}");

    // What was left behind is nobody's account, makes none, and goes after a day.
    let left = world.mailboxes.account(ANN).await;
    assert!(matches!(left, Err(AccountError::Elsewhere(ANN))), "{left:?}");
    let made = world.mailboxes.create_account(ANN, Default::default()).await;
    assert!(matches!(made, Err(AccountError::Elsewhere(ANN))), "{made:?}");
    assert!(world.account.has_left());
    let late = world.account.deliver(Delivery {
        folder: inbox,
        message: NewMessage::new(content(&world.mailboxes, &mail("late", "x")).await),
        token: None,
        ignore_quota: true,
    });
    assert_eq!(late.await.unwrap_err(), DeliverError::Account(AccountError::Elsewhere(ANN)));
    assert!(world.store.scan(vec![0x10]..vec![0x11], false).await.unwrap().len() > 100);
    world.pass(25 * 3_600_000);
    assert_eq!(world.mailboxes.sweep(world.now()).await.unwrap().accounts, 1);
    assert_eq!(world.store.scan(vec![0x10]..vec![0x11], false).await.unwrap().len(), 0);
}

#[tokio::test]
async fn and_back_again() {
    let world = World::new().await;
    fill(&world).await;
    let (inbox, target) = (world.inbox, elsewhere(&world));
    go(&world.mailboxes, &target, &Stop::default()).await.unwrap();
    let there = target.account(ANN).await.unwrap();
    deliver(&target, &there, inbox, &mail("over there", "z")).await;
    let before = seen(&target, inbox).await;
    let stand = go(&target, &world.mailboxes, &Stop::default()).await.unwrap();
    assert_eq!(seen(&world.mailboxes, inbox).await, before);
    assert!(stand.bytes_copied < 300_000, "what was left is made use of: {stand:?}");
    let report = world.mailboxes.verify().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mail_comes_and_flags_change_meanwhile() {
    let world = World::new().await;
    fill(&world).await;
    let (inbox, target) = (world.inbox, elsewhere(&world));
    let over = Arc::new(AtomicBool::new(false));
    let under_way = Arc::new(AtomicU32::new(0));
    let mut busy = Vec::new();
    for sender in 0..3u8 {
        let (mailboxes, account) = (world.mailboxes.clone(), world.account.clone());
        let (over, under_way) = (over.clone(), under_way.clone());
        busy.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for n in 0..10_000u32 {
                let subject = format!("by {sender} number {n}");
                let text = if n % 9 == 0 { mail(&subject, &noise(70_000)) } else { mail(&subject, "x") };
                let delivery = Delivery {
                    folder: inbox,
                    message: NewMessage::new(content(&mailboxes, &text).await),
                    token: Some(
                        [[0xFF, 0xFF, 0xFF, 0xFF, sender, 0, 0, 0], (u64::from(n)).to_be_bytes()]
                            .concat()
                            .try_into()
                            .unwrap(),
                    ),
                    ignore_quota: true,
                };
                match account.deliver(delivery).await {
                    Ok(changes) => {
                        taken.push(subject);
                        under_way.fetch_add(1, Relaxed);
                        drop(changes);
                    }
                    Err(e) => {
                        assert!(e.retry(), "{e}");
                        return taken;
                    }
                }
                if n % 3 == 0 {
                    let some = UidSet::from_ranges([(1, 3 + n)]);
                    let op = if n % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
                    if let Err(e) = account.store_flags(inbox, &some, op, flags(Flags::FLAGGED), None).await {
                        assert!(e.retry(), "{e}");
                        return taken;
                    }
                }
                if over.load(Relaxed) {
                    return taken;
                }
            }
            taken
        }));
    }
    while under_way.load(Relaxed) < 30 {
        tokio::task::yield_now().await;
    }
    // Whoever looks at a folder goes on looking while nothing can be written.
    let session = world.account.select(inbox).await.unwrap();
    let stand = go(&world.mailboxes, &target, &Stop::default()).await.unwrap();
    over.store(true, Relaxed);
    assert!(!session.is_empty() && stand.pass >= 2, "{stand:?}");
    let mut taken = Vec::new();
    for task in busy {
        taken.append(&mut task.await.unwrap());
    }
    assert!(taken.len() >= 30, "they were busy: {}", taken.len());
    let all = seen(&target, inbox).await;
    for subject in &taken {
        let wanted = format!("Subject: {subject}\r\n");
        let found = all.iter().filter(|(.., text)| text.contains(&wanted)).count();
        assert_eq!(found, 1, "{subject}");
    }
    let by = all.iter().filter(|(.., text)| text.contains("Subject: by ")).count();
    assert_eq!(by, taken.len(), "nothing that was refused is there");
    let report = target.verify().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn a_delivery_is_known_again_at_the_new_home() {
    let world = World::new().await;
    let (inbox, target) = (world.inbox, elsewhere(&world));
    let delivery = |content| Delivery {
        folder: inbox,
        message: NewMessage::new(content),
        token: Some([0xFF; 16]),
        ignore_quota: false,
    };
    let first = world.account.deliver(delivery(world.content(&mail("once", "x")).await)).await.unwrap();
    let given = first.appended()[0];
    drop(first);
    go(&world.mailboxes, &target, &Stop::default()).await.unwrap();
    let there = target.account(ANN).await.unwrap();
    let again = there.deliver(delivery(content(&target, &mail("once", "x")).await)).await.unwrap();
    assert!(again.replayed());
    assert_eq!(again.appended(), [given]);
    assert_eq!(seen(&target, inbox).await.len(), 1);
}

#[tokio::test]
async fn a_move_that_is_interrupted_leaves_the_account_where_it_is() {
    let world = World::new().await;
    fill(&world).await;
    let (inbox, target) = (world.inbox, elsewhere(&world));
    let stop = Stop::default();
    let stopping = stop.stop.clone();
    let stop = Stop { tell: Arc::new(move |stand: &Stand| stopping.store(stand.frozen, Relaxed)), ..stop };
    assert_eq!(go(&world.mailboxes, &target, &stop).await, Err(MoveError::Stopped));
    world.deliver(&mail("goes on", "x")).await;
    assert!(matches!(target.account(ANN).await, Err(AccountError::Elsewhere(_))), "a half is nobody's");
    // The next attempt makes use of what is there.
    stop.stop.store(false, Relaxed);
    let stand = go(&world.mailboxes, &target, &Stop::default()).await.unwrap();
    assert!(stand.bytes_copied < 200_000, "{stand:?}");
    assert_eq!(seen(&target, inbox).await.len(), 42);
}

#[tokio::test]
async fn a_directory_that_cannot_be_switched_keeps_it_here() {
    let world = World::new().await;
    fill(&world).await;
    let target = elsewhere(&world);
    let (mut source, mut there) = (world.mailboxes.end_of_move(ANN), target.end_of_move(ANN));
    let go_on = Stop::default();
    let done = moving::run((&mut source, "server-1"), (&mut there, "server-2"), &go_on, || async {
        Err("the disk is full".to_owned())
    });
    assert_eq!(done.await, Err(MoveError::Switch("the disk is full".into())));
    world.deliver(&mail("goes on", "x")).await;
    go(&world.mailboxes, &target, &Stop::default()).await.unwrap();
    assert_eq!(seen(&target, world.inbox).await.len(), 42);
}

#[tokio::test]
async fn a_sealed_account_stays_frozen_over_a_restart_until_it_is_known_how_it_went() {
    for left in [true, false] {
        let world = World::new().await;
        world.deliver(&mail("before", "x")).await;
        let mut source = world.mailboxes.end_of_move(ANN);
        assert_eq!(source.seal("server-2").await, Err(MoveError::NotFrozen));
        source.freeze().await.unwrap();
        source.seal("server-2").await.unwrap();
        drop(source);
        let world = world.reopen().await;
        assert!(world.account.is_frozen());
        let refused = world.account.create_folder("New", None).await;
        assert!(refused.is_err());
        assert_eq!(seen(&world.mailboxes, world.inbox).await.len(), 1);
        // Sweeping leaves it alone.
        world.mailboxes.sweep(world.now()).await.unwrap();
        let mut source = world.mailboxes.end_of_move(ANN);
        if left {
            source.leave("server-2").await.unwrap();
            source.leave("server-2").await.unwrap();
            assert!(matches!(world.mailboxes.account(ANN).await, Err(AccountError::Elsewhere(_))));
        } else {
            source.unseal().await.unwrap();
            source.unseal().await.unwrap();
            world.deliver(&mail("after", "x")).await;
            assert_eq!(seen(&world.mailboxes, world.inbox).await.len(), 2);
        }
    }
}

#[tokio::test]
async fn a_freeze_that_nobody_ends_ends_by_itself() {
    let world = World::new().await;
    let mut source = world.mailboxes.end_of_move(ANN);
    source.freeze().await.unwrap();
    // Only one can hold it.
    assert_eq!(world.mailboxes.end_of_move(ANN).freeze().await, Err(MoveError::NotFrozen));
    assert!(world.account.is_frozen());
    drop(source);
    world.deliver(&mail("goes on", "x")).await;
}
