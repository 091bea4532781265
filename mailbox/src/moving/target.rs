//! The server that an account comes to.

use super::block::{self, Block, Rows};
use super::{MoveError, Passage, Stage};
use crate::account::Mailboxes;
use crate::error::AccountError;
use crate::keys::{self, Keys};
use std::fmt;
use waypost_base::AccountId;
use waypost_store::{Batch, BlobError, BlobId, BlobWriter, Expect, limits};

/// An account that is to come.
pub struct Target {
    mailboxes: Mailboxes,
    id: AccountId,
    /// Nobody is served the account from here.
    begun: bool,
    /// Bytes on their way.
    writing: Option<(BlobId, BlobWriter)>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("account", &self.id).finish_non_exhaustive()
    }
}

impl Target {
    pub fn new(mailboxes: Mailboxes, id: AccountId) -> Target {
        Target { mailboxes, id, begun: false, writing: None }
    }

    /// Nobody gets the account from here until it is whole. What is here of it already, from an earlier attempt or from a
    /// time when it was here, is made use of.
    pub async fn begin(&mut self, from: &str) -> Result<(), MoveError> {
        let keys = Keys::new(self.id);
        let passage =
            Passage { state: Stage::Arriving, at: self.mailboxes.clock().now(), other: from.to_owned() };
        let mut batch = Batch::new(keys.partition());
        batch.del(keys.one(keys::ACCOUNT));
        batch.put(keys.one(keys::MOVING), passage.encode());
        self.mailboxes.store().commit(batch).await?;
        self.mailboxes.forget(self.id);
        self.begun = true;
        Ok(())
    }

    /// Numbers of those blocks that are others here.
    pub async fn differing(&self, blocks: &[Block]) -> Result<Vec<u32>, MoveError> {
        block::differing(self.mailboxes.store(), self.id, blocks).await
    }

    /// Which of these bytes are not here for this account. Those that others hold here are taken for it at once.
    pub async fn missing(&self, ids: &[BlobId]) -> Result<Vec<BlobId>, MoveError> {
        let holder = Keys::new(self.id).partition();
        let mut missing = Vec::new();
        for id in ids {
            match self.mailboxes.store().blobs().stored(*id, holder).await {
                Ok(_) => {}
                Err(BlobError::Missing) => missing.push(*id),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(missing)
    }

    /// A piece of bytes; pieces come in order, the first at 0. Whole, they are looked at, made durable and held for the
    /// account.
    pub async fn put_piece(&mut self, id: BlobId, at: u64, piece: &[u8], size: u64) -> Result<(), MoveError> {
        if at == 0 {
            self.writing = Some((id, self.mailboxes.store().blobs().writer()));
        }
        let Some((now, writer)) = self.writing.as_mut().filter(|(now, w)| *now == id && w.size() == at)
        else {
            return Err(MoveError::Peer("bytes came out of order".into()));
        };
        let now = *now;
        writer.write(piece).await?;
        if writer.size() < size {
            return Ok(());
        }
        let Some((_, writer)) = self.writing.take() else { return Err(MoveError::Damaged(now)) };
        let blob = writer.finish_stored().await?;
        if blob.id != id || blob.size != size {
            return Err(MoveError::Damaged(id));
        }
        self.mailboxes.store().blobs().hold(&blob, &[Keys::new(self.id).partition()]).await?;
        Ok(())
    }

    /// Makes a block what it is at the source. Its bytes have to be here.
    pub async fn put(&self, block: &Block, rows: &Rows) -> Result<(), MoveError> {
        let part = Keys::new(self.id).partition();
        let all = block::everything(self.id);
        if !self.begun {
            return Err(MoveError::Peer("rows before the move has begun".into()));
        }
        let inside = |key: &[u8]| block.start.as_slice() <= key && key < block.end.as_slice();
        if block.start < all.start || block.end > all.end || rows.iter().any(|(key, _)| !inside(key)) {
            return Err(MoveError::Peer("a block with rows that are not its own".into()));
        }
        let mut chain = Vec::new();
        let mut batch = Batch::new(part);
        batch.del_range(block.range());
        for (key, value) in rows {
            let room = batch.size() + key.len() + value.len() < limits::BATCH_BYTES / 2;
            if !room || batch.count() + 1 >= limits::BATCH_OPS {
                chain.push(std::mem::replace(&mut batch, Batch::new(part)));
            }
            batch.put(key.clone(), value.clone());
        }
        chain.push(batch);
        self.mailboxes.store().commit_chain(chain).await?;
        Ok(())
    }

    /// The copy is whole: the account can be had here from now on, by those who are told that it is here.
    pub async fn finish(&mut self, account_row: &[u8]) -> Result<(), MoveError> {
        let keys = Keys::new(self.id);
        crate::rows::AccountRow::decode(account_row)
            .ok_or_else(|| AccountError::Damaged("the account's row".into()))?;
        let mut batch = Batch::new(keys.partition());
        batch.expect(keys.one(keys::MOVING), Expect::Present);
        batch.put(keys.one(keys::ACCOUNT), account_row.to_vec());
        batch.del(keys.one(keys::MOVING));
        self.mailboxes.store().commit(batch).await?;
        self.mailboxes.forget(self.id);
        Ok(())
    }

    /// Takes away what has come; the account stays where it is.
    pub async fn abandon(&mut self) -> Result<(), MoveError> {
        self.writing = None;
        let row = self.mailboxes.store().get_one(Keys::new(self.id).one(keys::MOVING)).await?;
        // Never an account that is served here.
        if row.and_then(|row| Passage::decode(&row)).is_some_and(|p| p.state == Stage::Arriving) {
            self.mailboxes.erase_account(self.id).await?;
        }
        Ok(())
    }
}
