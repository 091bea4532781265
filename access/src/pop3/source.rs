//! Where drops come from: the mailboxes of this server. The seam lets tests break things, and a front end hand on to
//! another server later.

use bytes::Bytes;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use waypost_base::{AccountId, FolderId, MessageId};
use waypost_mailbox::{Account, AccountError, Fault, FaultKind, Mailboxes, MessageBody, UidSet};

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens drops.
pub trait Drops: Send + Sync + 'static {
    fn open(&self, account: AccountId) -> Pending<'_, Result<Opened, Trouble>>;
}

/// A drop as it was when it was opened.
pub struct Opened {
    /// UIDVALIDITY.
    pub validity: u32,
    /// Oldest first.
    pub items: Vec<Item>,
    pub drop: Box<dyn Drop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub uid: u32,
    pub message: MessageId,
    pub octets: u64,
}

/// Why a drop could not be opened or changed: always ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it will pass by itself.
    pub retry: bool,
    pub text: String,
}

/// What is done with an open drop.
pub trait Drop: Send + Sync {
    /// Bodies in the order of `ids`; small ones are read together. At most [`waypost_mailbox::limits::BODY_PAGE`].
    fn bodies<'a>(&'a self, ids: &'a [MessageId]) -> Pending<'a, Vec<Result<MessageBody, Fault>>>;
    fn read<'a>(&'a self, body: &'a MessageBody, range: Range<u64>) -> Pending<'a, Result<Bytes, Fault>>;
    /// Removes for good; durable when it returns. Those that are gone already do not matter.
    fn remove(&self, uids: UidSet) -> Pending<'_, Result<(), Trouble>>;
}

impl From<AccountError> for Trouble {
    fn from(error: AccountError) -> Trouble {
        Trouble { retry: error.retry(), text: error.to_string() }
    }
}

impl Drops for Mailboxes {
    fn open(&self, account: AccountId) -> Pending<'_, Result<Opened, Trouble>> {
        Box::pin(async move {
            let account = match self.account(account).await {
                Ok(account) => account,
                // Whoever signs in exists; the mailbox is made when the first message comes.
                Err(AccountError::NoAccount(_)) => {
                    return Ok(Opened { validity: 1, items: Vec::new(), drop: Box::new(Nothing) });
                }
                Err(error) => return Err(error.into()),
            };
            let inbox = account.inbox();
            let session = account.select(inbox).await?;
            let item = |row: waypost_mailbox::Row| Item {
                uid: row.uid,
                message: row.message,
                octets: u64::from(row.size),
            };
            let items = session.rows(1, u32::MAX).map(|(_, row)| item(row)).collect();
            Ok(Opened { validity: session.uid_validity(), items, drop: Box::new(Inbox { account, inbox }) })
        })
    }
}

struct Inbox {
    account: Account,
    inbox: FolderId,
}

impl Drop for Inbox {
    fn bodies<'a>(&'a self, ids: &'a [MessageId]) -> Pending<'a, Vec<Result<MessageBody, Fault>>> {
        Box::pin(self.account.bodies(ids))
    }

    fn read<'a>(&'a self, body: &'a MessageBody, range: Range<u64>) -> Pending<'a, Result<Bytes, Fault>> {
        Box::pin(self.account.read(body, range))
    }

    fn remove(&self, uids: UidSet) -> Pending<'_, Result<(), Trouble>> {
        Box::pin(async move {
            self.account.remove(self.inbox, &uids).await?.changes.announce();
            Ok(())
        })
    }
}

/// A mailbox that is not there yet.
struct Nothing;

impl Drop for Nothing {
    fn bodies<'a>(&'a self, ids: &'a [MessageId]) -> Pending<'a, Vec<Result<MessageBody, Fault>>> {
        let gone = |id: &MessageId| Err(Fault { message: *id, kind: FaultKind::Gone });
        Box::pin(std::future::ready(ids.iter().map(gone).collect()))
    }

    fn read<'a>(&'a self, _: &'a MessageBody, _: Range<u64>) -> Pending<'a, Result<Bytes, Fault>> {
        Box::pin(std::future::ready(Ok(Bytes::new())))
    }

    fn remove(&self, _: UidSet) -> Pending<'_, Result<(), Trouble>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
