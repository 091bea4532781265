//! Damage that nobody has met yet: a walk through everything in small pieces, so that a probe can do some of it each time.

use crate::batch::Key;
use crate::error::ReadError;
use crate::store::Store;
use std::ops::Range;

/// Most rows of one look.
const LOOK_ROWS: u32 = 1_024;
/// Most bytes of values among them.
const LOOK_BYTES: u32 = 256 * 1024;
/// Chunks after which a look ends, so that it reads little more than 4 MiB.
const LOOK_CHUNKS: usize = 64;

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    pub rows: u64,
    pub chunks: u64,
    /// Keys of rows that are damaged themselves, or that name damaged chunks.
    pub damaged: Vec<Key>,
    /// Where the next look begins; `None`: this one came to the end.
    pub next: Option<Range<Key>>,
}

impl Store {
    /// Looks at the first rows of `range`, and at the chunks that those of holders among them name: of long messages at
    /// 64, others with each `turn`. Damaged rows are logged and counted once, as if a reader had met them; damaged chunks are
    /// only given back.
    pub async fn look(&self, range: Range<Key>, turn: usize) -> Result<Looked, ReadError> {
        let mut page = self.scan_page(range.clone(), false, LOOK_ROWS, LOOK_BYTES).await?;
        let mut looked = Looked {
            damaged: std::mem::take(&mut page.corrupt),
            next: page.next.take(),
            ..Looked::default()
        };
        let mut read = 0;
        for (key, value) in page.rows() {
            looked.rows += 1;
            let seen = self.blobs().look(key, value, turn, LOOK_CHUNKS).await?;
            if !seen.sound {
                looked.damaged.push(key.to_vec());
            }
            read += seen.chunks;
            if read >= LOOK_CHUNKS {
                looked.next = Some(after(key)..range.end);
                break;
            }
        }
        looked.chunks = read as u64;
        Ok(looked)
    }
}

/// The first key that can follow this one.
fn after(key: &[u8]) -> Key {
    [key, &[0]].concat()
}
