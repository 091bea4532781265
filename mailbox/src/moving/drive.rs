//! The move itself, whoever is at the two ends.

use super::{Block, MoveError, Rows, Source, Target, block};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waypost_store::{BlobError, BlobId};

/// Passes over an account in use at most; each finds less than the one before, unless it changes faster than we copy.
const PASSES: u32 = 8;
/// Blocks that may differ when it is frozen: what they hold is copied within a moment.
const FEW: usize = 8;
/// Passes over a frozen account: the second must find nothing.
const LAST_PASSES: u32 = 3;

/// Where a move is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// From 1. `frozen`: the last ones.
    pub pass: u32,
    pub frozen: bool,
    /// Rows of the account, and how many of them are known to be the same at the target.
    pub rows: u64,
    pub rows_done: u64,
    /// Octets that were copied in all: rows and bytes of messages.
    pub bytes_copied: u64,
}

/// Says that a move is to end, and is told where it is.
#[derive(Clone)]
pub struct Stop {
    pub stop: Arc<AtomicBool>,
    pub tell: Arc<dyn Fn(&Stand) + Send + Sync>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { stop: Arc::default(), tell: Arc::new(|_| {}) }
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// Both ends of a move, as the driver has them: here, or at the other end of an inner leg. The first seven are the source's.
#[async_trait::async_trait]
pub trait End: Send {
    async fn blocks(&mut self) -> Result<Vec<Block>, MoveError>;
    async fn rows(&mut self, block: &Block) -> Result<Rows, MoveError>;
    async fn piece(&mut self, id: BlobId, at: u64) -> Result<(u64, Bytes), MoveError>;
    async fn account_row(&mut self) -> Result<Vec<u8>, MoveError>;
    async fn freeze(&mut self) -> Result<(), MoveError>;
    async fn thaw(&mut self) -> Result<(), MoveError>;
    async fn seal(&mut self, to: &str) -> Result<(), MoveError>;
    async fn unseal(&mut self) -> Result<(), MoveError>;
    async fn leave(&mut self, to: &str) -> Result<(), MoveError>;

    async fn begin(&mut self, from: &str) -> Result<(), MoveError>;
    async fn differing(&mut self, blocks: &[Block]) -> Result<Vec<u32>, MoveError>;
    async fn missing(&mut self, ids: &[BlobId]) -> Result<Vec<BlobId>, MoveError>;
    async fn put_piece(&mut self, id: BlobId, at: u64, piece: &[u8], size: u64) -> Result<(), MoveError>;
    async fn put(&mut self, block: &Block, rows: &Rows) -> Result<(), MoveError>;
    async fn finish(&mut self, account_row: &[u8]) -> Result<(), MoveError>;
    async fn abandon(&mut self) -> Result<(), MoveError>;
}

/// An end that is on this server.
pub struct Here {
    source: Source,
    target: Target,
}

impl std::fmt::Debug for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Here").field(&self.source).finish()
    }
}

impl crate::Mailboxes {
    /// This server's end of an account's move. Dropped, a frozen account goes on, unless it was sealed.
    pub fn end_of_move(&self, account: waypost_base::AccountId) -> Here {
        Here { source: Source::new(self.clone(), account), target: Target::new(self.clone(), account) }
    }
}

#[async_trait::async_trait]
impl End for Here {
    async fn blocks(&mut self) -> Result<Vec<Block>, MoveError> {
        self.source.blocks().await
    }

    async fn rows(&mut self, block: &Block) -> Result<Rows, MoveError> {
        self.source.rows(block).await
    }

    async fn piece(&mut self, id: BlobId, at: u64) -> Result<(u64, Bytes), MoveError> {
        self.source.piece(id, at).await
    }

    async fn account_row(&mut self) -> Result<Vec<u8>, MoveError> {
        self.source.account_row().await
    }

    async fn freeze(&mut self) -> Result<(), MoveError> {
        self.source.freeze().await
    }

    async fn thaw(&mut self) -> Result<(), MoveError> {
        self.source.thaw();
        Ok(())
    }

    async fn seal(&mut self, to: &str) -> Result<(), MoveError> {
        self.source.seal(to).await
    }

    async fn unseal(&mut self) -> Result<(), MoveError> {
        self.source.unseal().await
    }

    async fn leave(&mut self, to: &str) -> Result<(), MoveError> {
        self.source.leave(to).await
    }

    async fn begin(&mut self, from: &str) -> Result<(), MoveError> {
        self.target.begin(from).await
    }

    async fn differing(&mut self, blocks: &[Block]) -> Result<Vec<u32>, MoveError> {
        self.target.differing(blocks).await
    }

    async fn missing(&mut self, ids: &[BlobId]) -> Result<Vec<BlobId>, MoveError> {
        self.target.missing(ids).await
    }

    async fn put_piece(&mut self, id: BlobId, at: u64, piece: &[u8], size: u64) -> Result<(), MoveError> {
        self.target.put_piece(id, at, piece, size).await
    }

    async fn put(&mut self, block: &Block, rows: &Rows) -> Result<(), MoveError> {
        self.target.put(block, rows).await
    }

    async fn finish(&mut self, account_row: &[u8]) -> Result<(), MoveError> {
        self.target.finish(account_row).await
    }

    async fn abandon(&mut self) -> Result<(), MoveError> {
        self.target.abandon().await
    }
}

/// One move under way.
struct Move<'a> {
    source: &'a mut dyn End,
    target: &'a mut dyn End,
    stop: &'a Stop,
    stand: Stand,
}

/// Brings an account from `source` (the server `from`) to `target` (the server `to`); `switch` makes the directory say so,
/// and its answer is final. After an error before the switch the account goes on where it was; what was copied is of use
/// to the next attempt.
pub async fn run<S>(
    (source, from): (&mut dyn End, &str),
    (target, to): (&mut dyn End, &str),
    stop: &Stop,
    switch: impl FnOnce() -> S,
) -> Result<Stand, MoveError>
where
    S: Future<Output = Result<(), String>>,
{
    let mut all = Move { source, target, stop, stand: Stand::default() };
    all.target.begin(from).await?;
    all.while_in_use().await?;
    all.source.freeze().await?;
    if let Err(e) = all.frozen(to).await {
        // It thaws by itself, too, when the end goes away.
        let _ = all.source.thaw().await;
        return Err(e);
    }
    if let Err(why) = switch().await {
        all.source.unseal().await?;
        return Err(MoveError::Switch(why));
    }
    all.source.leave(to).await?;
    Ok(all.stand)
}

impl Move<'_> {
    async fn while_in_use(&mut self) -> Result<(), MoveError> {
        for _ in 0..PASSES {
            let blocks = self.source.blocks().await?;
            if self.pass(&blocks).await? <= FEW {
                break;
            }
        }
        Ok(())
    }

    async fn frozen(&mut self, to: &str) -> Result<(), MoveError> {
        self.stand.frozen = true;
        // Nothing changes there any more.
        let blocks = self.source.blocks().await?;
        let mut left = 0;
        for _ in 0..LAST_PASSES {
            left = self.pass(&blocks).await?;
            if left == 0 {
                break;
            }
        }
        // The last look found every row the same.
        if left > 0 {
            return Err(MoveError::Differs(left));
        }
        self.stopped()?;
        let row = self.source.account_row().await?;
        self.target.finish(&row).await?;
        self.source.seal(to).await
    }

    fn stopped(&self) -> Result<(), MoveError> {
        if self.stop.stop.load(Ordering::Relaxed) { Err(MoveError::Stopped) } else { Ok(()) }
    }

    fn tell(&self) {
        (self.stop.tell)(&self.stand);
    }

    /// Copies what differs; gives how many blocks that were.
    async fn pass(&mut self, blocks: &[Block]) -> Result<usize, MoveError> {
        self.stopped()?;
        self.stand.pass += 1;
        let different = self.target.differing(blocks).await?;
        let rows = |block: &Block| u64::from(block.rows);
        let number = |number: &u32| usize::try_from(*number).ok();
        self.stand.rows = blocks.iter().map(rows).sum();
        let todo: u64 = different.iter().filter_map(|n| blocks.get(number(n)?)).map(rows).sum();
        self.stand.rows_done = self.stand.rows.saturating_sub(todo);
        self.tell();
        for block in different.iter().filter_map(|n| blocks.get(number(n)?)) {
            self.stopped()?;
            let rows = self.source.rows(block).await?;
            for id in self.target.missing(&block::blobs(&rows)).await? {
                self.bytes(id).await?;
            }
            self.target.put(block, &rows).await?;
            self.stand.bytes_copied += rows.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>();
            self.stand.rows_done = (self.stand.rows_done + u64::from(block.rows)).min(self.stand.rows);
            self.tell();
        }
        Ok(different.len())
    }

    /// The bytes of one message.
    async fn bytes(&mut self, id: BlobId) -> Result<(), MoveError> {
        let mut at = 0;
        loop {
            let (size, piece) = match self.source.piece(id, at).await {
                Ok(found) => found,
                // Removed for good since the row was read: the next pass finds the row gone.
                Err(MoveError::Account(crate::AccountError::Blob(BlobError::Missing)))
                    if !self.stand.frozen =>
                {
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            if piece.is_empty() {
                return Err(MoveError::Damaged(id));
            }
            self.target.put_piece(id, at, &piece, size).await?;
            at += piece.len() as u64;
            self.stand.bytes_copied += piece.len() as u64;
            if at >= size {
                return Ok(());
            }
        }
    }
}
