//! The server that an account leaves.

use super::block::{self, Block, Rows};
use super::{MoveError, Passage, Stage};
use crate::account::{Account, Mailboxes};
use crate::error::AccountError;
use crate::keys::{self, Keys};
use crate::limits::PIECE_BYTES;
use bytes::Bytes;
use std::fmt;
use waypost_base::AccountId;
use waypost_store::{Batch, BlobId, Expect};

/// An account that is to leave. Dropped, it goes on here, unless it was sealed.
pub struct Source {
    mailboxes: Mailboxes,
    id: AccountId,
    /// Held while it is frozen, so that everybody has the same.
    frozen: Option<Account>,
    sealed: bool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("account", &self.id)
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

impl Source {
    pub fn new(mailboxes: Mailboxes, id: AccountId) -> Source {
        Source { mailboxes, id, frozen: None, sealed: false }
    }

    /// All rows in blocks, as they are now.
    pub async fn blocks(&self) -> Result<Vec<Block>, MoveError> {
        block::blocks(self.mailboxes.store(), self.id).await
    }

    pub async fn rows(&self, block: &Block) -> Result<Rows, MoveError> {
        block::rows(self.mailboxes.store(), block).await
    }

    /// Size of stored bytes, and a piece of them. [`BlobError::Missing`](waypost_store::BlobError) where they are gone
    /// meanwhile.
    pub async fn piece(&self, id: BlobId, at: u64) -> Result<(u64, Bytes), MoveError> {
        let blobs = self.mailboxes.store().blobs();
        let blob = blobs.stored(id, Keys::new(self.id).partition()).await?;
        Ok((blob.size, blobs.read(&blob, at..at.saturating_add(PIECE_BYTES)).await?))
    }

    /// The account's own row, which goes last.
    pub async fn account_row(&self) -> Result<Vec<u8>, MoveError> {
        let row = self.mailboxes.store().get_one(Keys::new(self.id).one(keys::ACCOUNT)).await?;
        Ok(row.ok_or(AccountError::NoAccount(self.id))?.to_vec())
    }

    /// From now on nothing is written; whatever was in line before is done when this returns. Whoever reads goes on.
    pub async fn freeze(&mut self) -> Result<(), MoveError> {
        let account = self.mailboxes.account(self.id).await?;
        if account.is_frozen() && self.frozen.is_none() {
            return Err(MoveError::NotFrozen);
        }
        account.state.set_frozen(true);
        self.frozen = Some(account);
        // The committer takes what is in line in order.
        self.mailboxes.store().commit(Batch::new(Keys::new(self.id).partition())).await?;
        Ok(())
    }

    /// Writing goes on, if it was held and not sealed.
    pub fn thaw(&mut self) {
        if let Some(account) = self.frozen.take()
            && !self.sealed
        {
            account.state.set_frozen(false);
        }
    }

    /// The account stays frozen, also over a restart, until [`Source::leave`] or [`Source::unseal`]. Fails where it is not
    /// frozen any more.
    pub async fn seal(&mut self, to: &str) -> Result<(), MoveError> {
        if self.frozen.is_none() {
            return Err(MoveError::NotFrozen);
        }
        let keys = Keys::new(self.id);
        let mut batch = Batch::new(keys.partition());
        batch.expect(keys.one(keys::ACCOUNT), Expect::Present);
        batch.put(keys.one(keys::MOVING), self.passage(Stage::Sealed, to));
        self.mailboxes.store().commit(batch).await?;
        self.sealed = true;
        Ok(())
    }

    /// It stays here after all.
    pub async fn unseal(&mut self) -> Result<(), MoveError> {
        let keys = Keys::new(self.id);
        match self.stage().await? {
            Some(Stage::Left | Stage::Arriving) => return Err(AccountError::Elsewhere(self.id).into()),
            Some(Stage::Sealed) => {
                let mut batch = Batch::new(keys.partition());
                batch.del(keys.one(keys::MOVING));
                self.mailboxes.store().commit(batch).await?;
            }
            None => {}
        }
        self.sealed = false;
        self.frozen = None;
        match self.mailboxes.account(self.id).await {
            Ok(account) => account.state.set_frozen(false),
            Err(AccountError::NoAccount(_)) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// It has left: what is here is not served any more, its sessions end. May be said again.
    pub async fn leave(&mut self, to: &str) -> Result<(), MoveError> {
        if matches!(self.stage().await?, None | Some(Stage::Sealed)) {
            let keys = Keys::new(self.id);
            let mut batch = Batch::new(keys.partition());
            batch.del(keys.one(keys::ACCOUNT));
            batch.put(keys.one(keys::MOVING), self.passage(Stage::Left, to));
            self.mailboxes.store().commit(batch).await?;
        }
        self.sealed = false;
        self.frozen = None;
        self.mailboxes.forget(self.id);
        Ok(())
    }

    fn passage(&self, state: Stage, to: &str) -> Vec<u8> {
        Passage { state, at: self.mailboxes.clock().now(), other: to.to_owned() }.encode()
    }

    async fn stage(&self) -> Result<Option<Stage>, MoveError> {
        let key = Keys::new(self.id).one(keys::MOVING);
        let row = self.mailboxes.store().get_one(key).await?;
        Ok(row.and_then(|row| Passage::decode(&row)).map(|passage| passage.state))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.thaw();
    }
}
