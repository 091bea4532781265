//! Which stored bytes the queue still needs: compaction asks before it takes a holder away.

use crate::QUEUE_PREFIX;
use crate::rows::{self, ITEM};
use std::fmt;
use waypost_store::{BlobId, Holders, ReadError, Store};

/// Answers for holders that are queue items. Other holders are others' business.
#[derive(Clone)]
pub struct QueueHolders(pub Store);

impl fmt::Debug for QueueHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueHolders")
    }
}

#[async_trait::async_trait]
impl Holders for QueueHolders {
    async fn holds(&self, _id: BlobId, holder: &[u8]) -> Result<bool, ReadError> {
        let Some((&QUEUE_PREFIX, rest)) = holder.split_first() else { return Ok(true) };
        let Ok(id) = <[u8; 8]>::try_from(rest) else { return Ok(true) };
        match self.0.get_one(rows::key(ITEM, u64::from_be_bytes(id))).await {
            // A damaged item's bytes are evidence.
            Err(ReadError::Corrupt(_)) => Ok(true),
            answer => Ok(answer?.is_some()),
        }
    }
}
