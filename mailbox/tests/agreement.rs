//! Several sessions on one folder always agree: random work compared with a plain list, and with everybody at once.
#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

mod common;

use common::{Client, World, content, flags, list, mail, noise};
use proptest::prelude::*;
use std::sync::Arc;
use waypost_base::{AccountId, Clock, FolderId, Timestamp};
use waypost_mailbox::{
    AccountError, AccountOptions, DeliverError, Delivery, FlagOp, Flags, Limits, Mailboxes, NewMessage, Role,
    Session, UidSet,
};
use waypost_store::{Options, Store};

#[derive(Clone, Debug)]
enum Work {
    Deliver(u8),
    Flags { from: u32, n: u32, op: FlagOp, flags: u8, since: bool },
    Remove { from: u32, n: u32 },
    Expunge,
    CopyHere { from: u32, n: u32 },
    MoveAway { from: u32, n: u32 },
    MoveHere { from: u32, n: u32 },
    Poll { session: usize, expunge: bool },
    Reselect { session: usize },
    Reopen,
}

fn work() -> impl Strategy<Value = Work> {
    let some = (1u32..40, 1u32..12);
    let op = prop_oneof![Just(FlagOp::Add), Just(FlagOp::Remove), Just(FlagOp::Replace)];
    prop_oneof![
        4 => (1u8..5).prop_map(Work::Deliver),
        4 => (some.clone(), op, 0u8..32, any::<bool>())
            .prop_map(|((from, n), op, flags, since)| Work::Flags { from, n, op, flags, since }),
        2 => some.clone().prop_map(|(from, n)| Work::Remove { from, n }),
        2 => Just(Work::Expunge),
        1 => some.clone().prop_map(|(from, n)| Work::CopyHere { from, n }),
        1 => some.clone().prop_map(|(from, n)| Work::MoveAway { from, n }),
        1 => some.prop_map(|(from, n)| Work::MoveHere { from, n }),
        6 => (0usize..3, any::<bool>()).prop_map(|(session, expunge)| Work::Poll { session, expunge }),
        1 => (0usize..3).prop_map(|session| Work::Reselect { session }),
        1 => Just(Work::Reopen),
    ]
}

fn range(from: u32, n: u32) -> UidSet {
    UidSet::from_ranges([(from, from + n)])
}

/// The folder as a plain list.
#[derive(Default)]
struct Model {
    list: Vec<(u32, Flags)>,
    next: u32,
}

impl Model {
    fn add(&mut self, flags: Flags) {
        self.next += 1;
        self.list.push((self.next, flags));
    }

    fn within(&self, from: u32, n: u32) -> Vec<(u32, Flags)> {
        self.list.iter().copied().filter(|(u, _)| (from..=from + n).contains(u)).collect()
    }

    fn remove(&mut self, from: u32, n: u32) {
        self.list.retain(|(u, _)| !(from..=from + n).contains(u));
    }
}

struct Play {
    world: Option<World>,
    model: Model,
    archive: FolderId,
    /// What the archive holds: flags by UID.
    away: Model,
    sessions: Vec<(Session, Client)>,
}

impl Play {
    async fn start() -> Play {
        let world = World::new().await;
        let archive = world.account.folders().with_role(Role::Archive).unwrap().id;
        let mut play = Play {
            world: Some(world),
            model: Model::default(),
            archive,
            away: Model::default(),
            sessions: Vec::new(),
        };
        play.select_all().await;
        play
    }

    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    async fn select_all(&mut self) {
        self.sessions.clear();
        for _ in 0..3 {
            let session = self.world().account.select(self.world().inbox).await.unwrap();
            let client = Client::at(&session);
            self.sessions.push((session, client));
        }
    }

    async fn act(&mut self, work: &Work) {
        let account = self.world().account.clone();
        let inbox = self.world().inbox;
        match *work {
            Work::Deliver(n) => {
                let content = self.world().content(&mail("Mail", "x")).await;
                let messages = (0..n).map(|_| NewMessage::new(content.clone())).collect();
                account.append(inbox, messages, None).await.unwrap().announce();
                (0..n).for_each(|_| self.model.add(Flags::NONE));
            }
            Work::Flags { from, n, op, flags: bits, since } => {
                let bits = Flags(bits);
                // Nothing has changed since the highest modseq, so the condition always holds; below 1 it never does.
                let highest = account.status(inbox).await.unwrap().highest_modseq;
                let limit = if since { 0 } else { highest };
                let outcome =
                    account.store_flags(inbox, &range(from, n), op, flags(bits), Some(limit)).await.unwrap();
                let there = self.model.within(from, n);
                if since {
                    assert_eq!(outcome.failed.len() as usize, there.len());
                    return;
                }
                let mut changed = Vec::new();
                for (uid, old) in &mut self.model.list {
                    if (from..=from + n).contains(uid) {
                        let new = match op {
                            FlagOp::Add => old.with(bits),
                            FlagOp::Remove => old.without(bits),
                            FlagOp::Replace => bits,
                        };
                        if new != *old {
                            changed.push((*uid, new));
                            *old = new;
                        }
                    }
                }
                let modified: Vec<_> = outcome.modified.iter().map(|r| (r.uid, r.flags)).collect();
                assert_eq!(modified, changed);
            }
            Work::Remove { from, n } => {
                let gone = account.remove(inbox, &range(from, n)).await.unwrap();
                assert_eq!(gone.uids.len() as usize, self.model.within(from, n).len());
                self.model.remove(from, n);
            }
            Work::Expunge => {
                drop(account.expunge(inbox, &UidSet::all()).await.unwrap());
                self.model.list.retain(|(_, f)| !f.has(Flags::DELETED));
            }
            Work::CopyHere { from, n } => {
                let copied = account.copy(inbox, &range(from, n), inbox).await.unwrap();
                let these = self.model.within(from, n);
                assert_eq!(copied.uids.len(), these.len());
                these.iter().for_each(|(_, f)| self.model.add(*f));
            }
            Work::MoveAway { from, n } => {
                drop(account.move_to(inbox, &range(from, n), self.archive).await.unwrap());
                self.model.within(from, n).iter().for_each(|(_, f)| self.away.add(*f));
                self.model.remove(from, n);
            }
            Work::MoveHere { from, n } => {
                drop(account.move_to(self.archive, &range(from, n), inbox).await.unwrap());
                self.away.within(from, n).iter().for_each(|(_, f)| self.model.add(*f));
                self.away.remove(from, n);
            }
            Work::Poll { session, expunge } => {
                let (session, client) = &mut self.sessions[session];
                let deltas = session.poll_changes(expunge);
                client.hear(&deltas, session);
                assert_eq!(*client, Client::at(session));
                for (seq, row) in session.rows(1, u32::MAX) {
                    assert_eq!(session.row(seq), Some(row));
                    assert_eq!(session.by_uid(row.uid), Some((seq, row)));
                }
                if expunge {
                    assert_eq!(list(session), self.model.list);
                }
            }
            Work::Reselect { session } => {
                let new = account.select(inbox).await.unwrap();
                let client = Client::at(&new);
                self.sessions[session] = (new, client);
            }
            Work::Reopen => {
                self.sessions.clear();
                let world = self.world.take().unwrap();
                self.world = Some(world.reopen().await);
                self.select_all().await;
            }
        }
    }

    async fn end(mut self) {
        for (session, client) in &mut self.sessions {
            let deltas = session.poll_changes(true);
            client.hear(&deltas, session);
            assert_eq!(*client, Client::at(session));
            assert_eq!(list(session), self.model.list);
        }
        let there = self.world().account.select(self.archive).await.unwrap();
        assert_eq!(list(&there), self.away.list);
        drop(there);
        self.sessions.clear();
        self.world.take().unwrap().close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_sessions_are_told_leads_to_the_truth(works in prop::collection::vec(work(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::start().await;
            for work in &works {
                play.act(work).await;
            }
            play.end().await;
        });
    }
}

/// A small generator, so that a failure is not the fault of a crate's version.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % sides
    }
}

/// One of many who work on the same two folders. Some give up in the middle of what they do.
async fn worker(mailboxes: Mailboxes, seed: u64, folders: [FolderId; 2]) {
    let account = mailboxes.account(AccountId(1)).await.unwrap();
    let mut dice = Dice(seed);
    // Half of them share one large message, whose bytes come and go as a whole.
    let text =
        if seed.is_multiple_of(2) { mail("Large", &noise(50_000)) } else { mail(&format!("By {seed}"), "x") };
    let content = content(&mailboxes, &text).await;
    for i in 0..30 {
        let here = folders[dice.roll(2) as usize];
        let there = folders[dice.roll(2) as usize];
        let from = dice.roll(60) + 1;
        let some = range(from, dice.roll(10));
        let kind = dice.roll(11);
        let work = async {
            match kind {
                0..=3 => {
                    // Of an hour that is not past.
                    let mut token = [0xFF; 16];
                    token[4..12].copy_from_slice(&seed.to_be_bytes());
                    token[12] = i;
                    let delivery = Delivery {
                        folder: here,
                        message: NewMessage::new(content.clone()),
                        token: Some(token),
                        ignore_quota: false,
                    };
                    account.deliver(delivery.clone()).await.unwrap().announce();
                    // Told twice, done once.
                    assert!(account.deliver(delivery).await.unwrap().replayed());
                }
                4..=6 => {
                    let mark = flags(Flags(dice.roll(32) as u8));
                    drop(account.store_flags(here, &some, FlagOp::Replace, mark, None).await.unwrap());
                }
                7 => drop(account.remove(here, &some).await.unwrap()),
                8 => drop(account.copy(here, &some, there).await.unwrap()),
                9 => drop(account.move_to(here, &some, there).await.unwrap()),
                _ => {
                    let items = account.recoverable_items(3).await.unwrap();
                    let Some(item) = items.last() else { return };
                    match account.restore_item(item, here).await {
                        Ok(changes) => changes.announce(),
                        Err(e) => assert_eq!(e, DeliverError::Account(AccountError::ItemGone)),
                    }
                }
            }
        };
        if i % 7 == 3 {
            // Impatient: goes away after a few steps.
            let patience = async {
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! { biased; () = work => {}, () = patience => {} }
        } else {
            work.await;
        }
    }
}

/// Follows a folder until told to stop, and believes only what it is told.
async fn listener(mailboxes: Mailboxes, folder: FolderId, stop: Arc<tokio::sync::Notify>, seed: u64) {
    let account = mailboxes.account(AccountId(1)).await.unwrap();
    let mut session = account.select(folder).await.unwrap();
    let mut client = Client::at(&session);
    let mut dice = Dice(seed);
    let stopped = stop.notified();
    tokio::pin!(stopped);
    stopped.as_mut().enable();
    loop {
        let over = tokio::select! {
            () = session.wait_changes() => false,
            () = &mut stopped => true,
        };
        let deltas = session.poll_changes(over || dice.roll(3) > 0);
        client.hear(&deltas, &session);
        assert_eq!(client, Client::at(&session));
        if over {
            let fresh = account.select(folder).await.unwrap();
            assert_eq!(list(&session), list(&fresh));
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_at_once() {
    let world = everybody_on(World::new().await).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_while_expunged_messages_are_swept_at_once() {
    let limits = Limits { recoverable_millis: 0, view_bytes: 4096, ..Limits::default() };
    let world = World::with(limits, AccountOptions::default()).await;
    let mailboxes = world.mailboxes.clone();
    let sweeper = tokio::spawn(async move {
        loop {
            mailboxes.sweep(mailboxes.clock().now().plus_millis(1)).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let world = everybody_on(world).await;
    sweeper.abort();
    assert!(sweeper.await.unwrap_err().is_cancelled());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_at_once_on_disk_and_after_opening_again() {
    let dir = std::env::temp_dir().join(format!("waypost-agreement-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let world = everybody_on(World::on_disk(&dir).await).await;
    let (inbox, store) = (world.inbox, world.store.clone());
    let session = world.account.select(inbox).await.unwrap();
    let before = list(&session);
    drop(session);
    world.close().await;
    store.close().await;
    drop(store);
    let store = Store::open(&dir, Options::new([7; 32], Clock::fixed(Timestamp(common::START)))).unwrap();
    let again = Mailboxes::open(store.clone(), Clock::fixed(Timestamp(common::START)), Limits::default());
    let account = again.account(AccountId(1)).await.unwrap();
    let session = account.select(inbox).await.unwrap();
    assert_eq!(list(&session), before);
    drop(session);
    let report = again.verify().await;
    assert!(report.is_clean(), "{report}");
    store.close().await;
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn everybody_on(world: World) -> World {
    let archive = world.account.folders().with_role(Role::Archive).unwrap().id;
    let folders = [world.inbox, archive];
    let stop = Arc::new(tokio::sync::Notify::new());
    let listeners: Vec<_> = (0..8)
        .map(|i| tokio::spawn(listener(world.mailboxes.clone(), folders[i as usize % 2], stop.clone(), i)))
        .collect();
    tokio::task::yield_now().await;
    let workers: Vec<_> =
        (0..16).map(|seed| tokio::spawn(worker(world.mailboxes.clone(), seed * 77 + 5, folders))).collect();
    for worker in workers {
        worker.await.unwrap();
    }
    // What was left behind by those who went away settles: a delivery after it is in line behind all of it.
    for folder in folders {
        world.deliver_to(folder, &mail("Last", "x")).await;
        world
            .account
            .store_flags(folder, &UidSet::all(), FlagOp::Add, flags(Flags::SEEN), None)
            .await
            .unwrap()
            .changes
            .announce();
    }
    stop.notify_waiters();
    for listener in listeners {
        listener.await.unwrap();
    }
    world
}
