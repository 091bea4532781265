//! Which stored bytes the queue still needs: compaction asks before it takes a holder away.

use crate::queue::{self, QUEUE_PREFIX};
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
        queue::exists(&self.0, u64::from_be_bytes(id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Item, put, remove};
    use waypost_base::Timestamp;
    use waypost_base::id::Correlation;
    use waypost_smtp::MailParams;

    #[tokio::test]
    async fn an_item_holds_its_bytes_as_long_as_it_waits() {
        let store = Store::memory();
        let mut writer = store.blobs().writer();
        writer.write(b"hello").await.unwrap();
        let blob = writer.finish().await.unwrap();
        let item = Item::new(7, Timestamp(0), Correlation(1), None, &MailParams::default(), &blob);
        put(&store, &item, &blob, &[], &[]).await.unwrap();
        let holders = QueueHolders(store.clone());
        let holder = item.holder();
        assert!(holders.holds(blob.id, holder.as_bytes()).await.unwrap());
        remove(&store, &item).await.unwrap();
        assert!(!holders.holds(blob.id, holder.as_bytes()).await.unwrap());
        assert!(
            holders.holds(blob.id, &[0x10, 0, 0, 0, 1]).await.unwrap(),
            "an account is not ours to judge"
        );
    }
}
