//! What the stories share: an organisation with one account, and mail.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use waypost_base::{AccountId, Clock, FolderId, Timestamp};
use waypost_mailbox::{
    Account, AccountOptions, Content, Delivery, Delta, Flags, Limits, Mailboxes, Mark, NewMessage, Session,
    UidSet,
};
use waypost_store::{Options, Store};

pub struct World {
    pub mailboxes: Mailboxes,
    pub store: Store,
    pub account: Account,
    pub inbox: FolderId,
    time: Arc<AtomicI64>,
}

pub const START: i64 = 1_772_525_720_000;

impl World {
    pub async fn new() -> World {
        World::with(Limits::default(), AccountOptions::default()).await
    }

    pub async fn with(limits: Limits, options: AccountOptions) -> World {
        World::on(|clock| Store::memory_with(Options::new([7; 32], clock)), limits, options).await
    }

    /// On the embedded engine, in a folder of its own.
    pub async fn on_disk(dir: &std::path::Path) -> World {
        let open = |clock| Store::open(dir, Options::new([7; 32], clock)).unwrap();
        World::on(open, Limits::default(), AccountOptions::default()).await
    }

    async fn on(open: impl FnOnce(Clock) -> Store, limits: Limits, options: AccountOptions) -> World {
        let time = Arc::new(AtomicI64::new(START));
        let clock = {
            let time = time.clone();
            Clock::new(move || Timestamp(time.load(Relaxed)))
        };
        let store = open(clock.clone());
        let mailboxes = Mailboxes::open(store.clone(), clock, limits);
        let account = mailboxes.create_account(AccountId(1), options).await.unwrap();
        let inbox = account.inbox();
        World { mailboxes, store, account, inbox, time }
    }

    /// The same store after a restart: nothing in memory.
    pub async fn reopen(self) -> World {
        let mailboxes = Mailboxes::open(
            self.store.clone(),
            self.mailboxes.clock().clone(),
            self.mailboxes.limits().clone(),
        );
        let account = mailboxes.account(AccountId(1)).await.unwrap();
        World { mailboxes, account, store: self.store, inbox: self.inbox, time: self.time }
    }

    pub fn pass(&self, millis: i64) {
        self.time.fetch_add(millis, Relaxed);
    }

    pub fn now(&self) -> Timestamp {
        self.mailboxes.clock().now()
    }

    pub async fn content(&self, text: &str) -> Content {
        content(&self.mailboxes, text).await
    }

    /// Delivers to the inbox; gives the UID.
    pub async fn deliver(&self, text: &str) -> u32 {
        self.deliver_to(self.inbox, text).await
    }

    pub async fn deliver_to(&self, folder: FolderId, text: &str) -> u32 {
        deliver(&self.mailboxes, &self.account, folder, text).await
    }

    /// Everything is as it should be.
    pub async fn close(self) {
        let report = self.mailboxes.verify().await;
        assert!(report.is_clean(), "{report}");
    }
}

pub async fn content(mailboxes: &Mailboxes, text: &str) -> Content {
    let mut writer = mailboxes.writer();
    writer.write(text.as_bytes()).await.unwrap();
    writer.finish().await.unwrap()
}

pub async fn deliver(mailboxes: &Mailboxes, account: &Account, folder: FolderId, text: &str) -> u32 {
    let message = NewMessage::new(content(mailboxes, text).await);
    let delivery = Delivery { folder, message, token: None, ignore_quota: false };
    let changes = account.deliver(delivery).await.unwrap();
    let uid = changes.appended()[0].uid;
    changes.announce();
    uid
}

pub fn mail(subject: &str, body: &str) -> String {
    format!(
        "From: Ada <ada@contoso.test>\r\nTo: Ben <ben@fabrikam.test>\r\nSubject: {subject}\r\n\
         Date: Tue, 3 Mar 2026 08:15:20 +0000\r\nMessage-ID: <{}@contoso.test>\r\n\r\n{body}\r\n",
        subject.replace(' ', ".")
    )
}

/// Text that does not compress into a row.
pub fn noise(bytes: usize) -> String {
    let mut noise = 1u64;
    let mut next = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (noise >> 58) as u8)
    };
    (0..bytes).map(|_| next()).collect()
}

pub fn flags(flags: Flags) -> Mark {
    Mark { flags, keywords: 0 }
}

pub fn uids(list: &[u32]) -> UidSet {
    list.iter().copied().collect()
}

/// The session's list of UIDs and flags.
pub fn list(session: &Session) -> Vec<(u32, Flags)> {
    session.rows(1, u32::MAX).map(|(_, row)| (row.uid, row.flags)).collect()
}

/// What a client has in its own list, kept by what the server tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub list: Vec<Option<(u32, Flags)>>,
}

impl Client {
    pub fn at(session: &Session) -> Client {
        Client { list: list(session).into_iter().map(Some).collect() }
    }

    /// Hears deltas, and fetches what is new, as clients do.
    pub fn hear(&mut self, deltas: &[Delta], session: &Session) {
        for delta in deltas {
            match *delta {
                Delta::Expunged { seq, uid } => {
                    let gone = self.list.remove(seq as usize - 1);
                    assert_eq!(gone.map(|(uid, _)| uid), Some(uid), "expunge of another message");
                }
                Delta::Exists(n) => {
                    assert!(n as usize > self.list.len(), "EXISTS must not shrink");
                    self.list.resize(n as usize, None);
                }
                Delta::Flags { seq, row } => {
                    let entry = &mut self.list[seq as usize - 1];
                    assert_eq!(entry.map(|(uid, _)| uid), Some(row.uid), "flags of another message");
                    *entry = Some((row.uid, row.flags));
                }
            }
        }
        for (i, entry) in self.list.iter_mut().enumerate() {
            if entry.is_none() {
                let row = session.row(i as u32 + 1).expect("told to exist");
                *entry = Some((row.uid, row.flags));
            }
        }
    }
}
