//! The room's handle, and accounts.

use crate::error::AccountError;
use crate::limits::Limits;
use crate::quota::Quota;
use std::sync::Arc;
use waypost_base::metrics::Figure;
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_store::{Report, Store};

/// All mailboxes of a store. Cheap to clone.
#[derive(Clone)]
pub struct Mailboxes {
    pub(crate) room: Arc<Room>,
}

pub(crate) struct Room {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
}

/// What an account begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountOptions {
    pub quota: Quota,
}

impl Mailboxes {
    /// Touches nothing: accounts are read when they are asked for.
    pub fn open(store: Store, clock: Clock, limits: Limits) -> Mailboxes {
        Mailboxes { room: Arc::new(Room { store, clock, limits }) }
    }

    pub fn store(&self) -> &Store {
        &self.room.store
    }

    pub fn clock(&self) -> &Clock {
        &self.room.clock
    }

    pub fn limits(&self) -> &Limits {
        &self.room.limits
    }

    /// Makes the account with its special-use folders: INBOX, Drafts, Sent, Trash, Junk, Archive.
    pub async fn create_account(
        &self,
        id: AccountId,
        options: AccountOptions,
    ) -> Result<Account, AccountError> {
        let _ = (id, options);
        todo!()
    }

    /// Marks the account as removed: it is gone at once for everybody, its rows go with [`Mailboxes::sweep`].
    pub async fn remove_account(&self, id: AccountId) -> Result<(), AccountError> {
        let _ = id;
        todo!()
    }

    /// The account; from memory when it was used before.
    pub async fn account(&self, id: AccountId) -> Result<Account, AccountError> {
        let _ = id;
        todo!()
    }

    /// All accounts that are not removed, ascending.
    pub async fn accounts(&self) -> Result<Vec<AccountId>, AccountError> {
        todo!()
    }

    /// Checks this room's invariants (and the store's) and says what it found.
    pub async fn verify(&self) -> Report {
        todo!()
    }

    pub fn figures(&self) -> Vec<Figure> {
        todo!()
    }
}

/// An account. Cheap to clone.
#[derive(Clone)]
pub struct Account {}

impl Account {
    pub fn id(&self) -> AccountId {
        todo!()
    }

    /// Remembers a sign-in, for statistics; written at most once a minute.
    pub async fn signed_in(&self, at: Timestamp) -> Result<(), AccountError> {
        let _ = at;
        todo!()
    }
}
