//! The outbox over a queue that is driven by hand, in virtual time.

use super::keep;
use crate::connector::{AddressSpace, SendConnector};
use crate::hub::{Hub, Parts, Settings};
use crate::world::NOW;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock};
use waypost_directory::signin::{Rules, SignIn};
use waypost_directory::{Directory, NewAccount, NewDomain};
use waypost_mailbox::{Account, FlagOp, Flags, Limits, Mailboxes, Mark, Role, UidSet};
use waypost_queue::{Accepted, Envelope, Fate, Hop, NewItem, Reason, Rest, Route, Target, Work};
use waypost_smtp::{Mailbox, RcptParams, Status};
use waypost_store::disk::Memory;
use waypost_store::{Model, Options, Store};

struct Room {
    clock: Clock,
    model: Arc<Model>,
    disk: Arc<Memory>,
    hub: Arc<Hub>,
    ann: AccountId,
    keeper: JoinHandle<()>,
}

impl Room {
    async fn new() -> Room {
        let begun = Instant::now();
        let passed = move || i64::try_from(begun.elapsed().as_millis()).unwrap();
        let clock = Clock::new(move || NOW.plus_millis(passed()));
        let model = Arc::new(Model::new(clock.clone()));
        let mut settings = Settings::new("mx.contoso.test");
        settings.retry.jitter_percent = 0;
        settings.send = vec![SendConnector::new("out", vec![AddressSpace::new("*", 1)])];
        let (hub, _) = Room::hub(&clock, model.clone(), Arc::default(), settings.clone()).await;
        hub.directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
        let ann = hub.directory.add_account(NewAccount::new("ann")).await.unwrap().id;
        let keeper = tokio::spawn(keep(hub.clone()));
        Room { clock, model, disk: Arc::default(), hub, ann, keeper }
    }

    async fn hub(
        clock: &Clock,
        model: Arc<Model>,
        disk: Arc<Memory>,
        settings: Settings,
    ) -> (Arc<Hub>, Store) {
        let store = Store::assemble(model, disk, Options::new([7; 32], clock.clone())).unwrap();
        let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
        let sign_in = Arc::new(SignIn::new(directory.clone(), clock.clone(), Rules::default()));
        let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
        let hub = Hub::new(Parts::new(directory, sign_in, mailboxes, clock.clone(), settings));
        hub.queue.recover().await.unwrap();
        (hub, store)
    }

    /// The keeper is gone, as after a crash; the rest stays.
    async fn stop_keeping(&mut self) {
        self.keeper.abort();
        let _ = (&mut self.keeper).await;
        self.hub.stop();
        self.restart().await;
    }

    /// Another process over the same rows, without a keeper yet.
    async fn restart(&mut self) {
        let model = Arc::new(self.model.copy());
        let settings = (*self.hub.settings()).clone();
        self.hub = Room::hub(&self.clock, model.clone(), self.disk.clone(), settings).await.0;
        self.model = model;
    }

    fn keep(&mut self) {
        self.keeper = tokio::spawn(keep(self.hub.clone()));
    }

    async fn submit(&self, subject: &str) -> u64 {
        let message =
            format!("From: ann@contoso.test\r\nTo: bob@example.net\r\nSubject: {subject}\r\n\r\nHello\r\n");
        let mut writer = self.hub.mailboxes.store().blobs().writer();
        writer.write(message.as_bytes()).await.unwrap();
        let blob = writer.finish().await.unwrap();
        let mut envelope =
            Envelope::new(Mailbox::parse("ann@contoso.test"), self.clock.now(), Correlation(1));
        envelope.owner = Some(self.ann);
        envelope.subject = subject.into();
        let to = Mailbox::new("bob", "example.net");
        let target = Target { to: to.clone(), of: 0, local: None };
        let hop = Hop { number: 0, route: Route::Domain("example.net".into()), targets: vec![target] };
        let item = NewItem {
            id: self.hub.queue.next_id(),
            envelope,
            blob,
            recipients: vec![Accepted { to, params: RcptParams::default() }],
            hops: vec![hop],
        };
        self.hub.queue.submit(item, false).await.unwrap().id
    }

    /// The next connection cannot be made.
    async fn refuse(&self, text: &str) {
        let Work::Connect(ticket) = self.hub.queue.work().await else { panic!("no connection is wanted") };
        let reason = Reason {
            server: Some("mail.example.net (192.0.2.7)".into()),
            ..Reason::temporary(Status(4, 4, 1), text)
        };
        ticket.failed(reason);
    }

    /// The next connection takes all that there is; answers how many.
    async fn send_all(&self) -> usize {
        let Ok(work) = tokio::time::timeout(Duration::from_secs(7200), self.hub.queue.work()).await else {
            return 0;
        };
        let Work::Connect(ticket) = work else { panic!("no connection is wanted") };
        let mut sent = 0;
        while let Some(mut lease) = ticket.next() {
            let loaded = lease.load().await.unwrap();
            let fate = Fate::Relayed { server: "mail.example.net".into(), text: "250 ok".into(), dsn: true };
            let fates = loaded.targets.iter().map(|(index, _)| (*index, fate.clone())).collect();
            self.hub.queue.settle(lease, fates, Rest::Done, Vec::new()).await.unwrap();
            sent += 1;
        }
        ticket.ok();
        sent
    }

    async fn account(&self) -> Account {
        self.hub.mailbox(self.ann).await.unwrap()
    }

    /// What ann sees: UID and text of each item.
    async fn shown(&self) -> Vec<(u32, String)> {
        let account = self.account().await;
        let tree = account.folders();
        let Some(folder) = tree.with_role(Role::Outbox) else { return Vec::new() };
        let session = account.select(folder.id).await.unwrap();
        let mut found = Vec::new();
        for (_, row) in session.rows(1, session.len()).collect::<Vec<_>>() {
            assert!(row.flags.has(Flags::SEEN), "an item is nothing new to its owner");
            let body = account.body(row.message).await.unwrap();
            let bytes = account.read(&body, 0..body.size()).await.unwrap();
            found.push((row.uid, String::from_utf8_lossy(&bytes).into_owned()));
        }
        found
    }

    async fn remove(&self, uid: u32) {
        let account = self.account().await;
        let folder = account.outbox().await.unwrap();
        account.remove(folder, &UidSet::from_ranges([(uid, uid)])).await.unwrap().changes.announce();
    }
}

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn what_leaves_at_once_is_never_shown() {
    let room = Room::new().await;
    room.submit("Quick").await;
    assert_eq!(room.send_all().await, 1);
    seconds(120).await;
    assert!(room.account().await.folders().with_role(Role::Outbox).is_none(), "no folder was made");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_shown_with_its_reason_until_it_has_left() {
    let room = Room::new().await;
    room.submit("Lunch").await;
    room.refuse("connection refused").await;
    seconds(11).await;
    let shown = room.shown().await;
    assert_eq!(shown.len(), 1);
    let (first, text) = &shown[0];
    for wanted in [
        "Subject: Waiting: Lunch",
        "connection refused",
        "mail.example.net (192.0.2.7)",
        "Hello",
        "bob@example.net",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    let tree = room.account().await.folders();
    let folder = tree.with_role(Role::Outbox).unwrap();
    assert!(folder.subscribed && folder.path == "Outbox");

    // Another reason: another item, and the old one goes.
    room.refuse("no route to host").await;
    seconds(90).await;
    let shown = room.shown().await;
    assert_eq!(shown.len(), 1);
    assert!(shown[0].0 > *first && shown[0].1.contains("no route to host"), "{}", shown[0].1);

    assert_eq!(room.send_all().await, 1);
    seconds(1).await;
    assert_eq!(room.shown().await, []);
    seconds(1).await;
    let account = room.account().await;
    assert!(account.recoverable_items(10).await.unwrap().is_empty(), "items are nothing to recover");
}

#[tokio::test(start_paused = true)]
async fn what_its_owner_deletes_is_recalled() {
    let room = Room::new().await;
    room.submit("First").await;
    room.submit("Second").await;
    room.refuse("connection refused").await;
    seconds(11).await;
    let shown = room.shown().await;
    assert_eq!(shown.len(), 2);
    room.remove(shown[0].0).await;
    seconds(1).await;
    assert_eq!(room.hub.queue.len(), 1);

    // By the flag alone, as clients do that expunge later.
    let account = room.account().await;
    let folder = account.outbox().await.unwrap();
    let deleted = Mark { flags: Flags::DELETED, keywords: 0 };
    let uids = UidSet::from_ranges([(shown[1].0, shown[1].0)]);
    account.store_flags(folder, &uids, FlagOp::Add, deleted, None).await.unwrap().changes.announce();
    seconds(1).await;
    assert_eq!(room.hub.queue.len(), 0);
    assert_eq!(room.shown().await, []);
    assert_eq!(room.send_all().await, 0, "the peer never gets it");
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_what_is_true() {
    let mut room = Room::new().await;
    for subject in ["Stays", "Leaves", "Deleted"] {
        room.submit(subject).await;
    }
    room.refuse("connection refused").await;
    seconds(11).await;
    let shown = room.shown().await;
    assert_eq!(shown.len(), 3);
    room.stop_keeping().await;
    // While nobody keeps the outbox, its owner deletes one, and one leaves.
    room.remove(shown[2].0).await;
    let Work::Connect(ticket) = room.hub.queue.work().await else { panic!("no connection is wanted") };
    let mut leases = Vec::new();
    while let Some(lease) = ticket.next() {
        leases.push(lease);
    }
    for mut lease in leases {
        let loaded = lease.load().await.unwrap();
        if loaded.envelope.subject == "Leaves" {
            let fate = Fate::Relayed { server: "m".into(), text: "250 ok".into(), dsn: true };
            room.hub.queue.settle(lease, vec![(0, fate)], Rest::Done, Vec::new()).await.unwrap();
        }
    }
    let reason = Reason::temporary(Status(4, 4, 1), "connection refused");
    ticket.failed(reason);
    room.keep();
    seconds(1).await;
    let shown = room.shown().await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].1.contains("Waiting: Stays"));
    assert_eq!(room.hub.queue.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_was_deleted_comes_back_and_nothing_is_recalled() {
    let room = Room::new().await;
    room.submit("Lunch").await;
    room.refuse("connection refused").await;
    seconds(11).await;
    assert_eq!(room.shown().await.len(), 1);
    room.account().await.rename_folder("Outbox", "Postausgang").await.unwrap();
    seconds(70).await;
    assert_eq!(room.shown().await.len(), 1);
    room.account().await.delete_folder("Postausgang").await.unwrap();
    seconds(30).await;
    assert_eq!(room.hub.queue.len(), 1);
    assert_eq!(room.shown().await.len(), 1);
    assert!(room.account().await.folders().find("Outbox").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_shown_in_part_and_counted() {
    let room = Room::new().await;
    for number in 0..(crate::limits::OUTBOX_ITEMS + 3) {
        room.submit(&format!("Number {number}")).await;
    }
    room.refuse("connection refused").await;
    seconds(100).await;
    let shown = room.shown().await;
    assert_eq!(shown.len(), crate::limits::OUTBOX_ITEMS + 1);
    let notes: Vec<_> = shown.iter().filter(|(_, text)| text.contains("Waiting: 3 more messages")).collect();
    assert_eq!(notes.len(), 1);
    while room.send_all().await > 0 {}
    seconds(120).await;
    assert_eq!(room.shown().await, []);
}
