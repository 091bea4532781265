//! What a fuzzer drives: any bytes as a segment file and as a holder's row. Whatever they are, the store opens, says what is
//! damaged, and takes and gives back new bytes beside them.

use crate::batch::{Batch, Partition};
use crate::blob::{BLOB_PREFIX, BlobId, Holders};
use crate::disk::{Disk, Memory};
use crate::error::ReadError;
use crate::store::{Options, Store};
use crate::{Blob, Model};
use std::sync::Arc;
use waypost_base::{Clock, Timestamp};

const HOLDER: Partition = Partition::tag(0x10);

struct Nobody;

#[async_trait::async_trait]
impl Holders for Nobody {
    async fn holds(&self, _: BlobId, _: &[u8]) -> Result<bool, ReadError> {
        Ok(false)
    }
}

/// See the module. The first byte divides the rest into row and segment; panics if an invariant does not hold.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let (row, segment) = data.split_at(usize::from(cut).min(data.len()));
    let disk = Arc::new(Memory::default());
    let file = disk.create("00000001.seg").expect("an empty folder in memory takes any file");
    // Without a sound header little of the rest would be looked at.
    let header = crate::blob::segment_header(1);
    file.write_at(0, if cut % 2 == 0 { &header } else { segment }).expect("memory does not fail");
    if cut % 2 == 0 {
        file.write_at(header.len() as u64, segment).expect("memory does not fail");
    }
    let clock = Clock::fixed(Timestamp(1 << 41));
    let engine = Arc::new(Model::new(clock.clone()));
    let store = Store::assemble(engine, disk, Options::new([1; 32], clock)).expect("any segment opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without threads or IO").block_on(look(&store, row));
}

async fn look(store: &Store, row: &[u8]) {
    let blobs = store.blobs();
    let id = BlobId([7; 32]);
    let part = Partition::tag(BLOB_PREFIX);
    let mut batch = Batch::new(part);
    batch.put(part.key(&[&id.0[..], HOLDER.as_bytes()].concat()), row.to_vec());
    store.commit(batch).await.expect("a row within the limits");
    if let Ok(blob) = blobs.stored(id, HOLDER).await {
        let _ = blobs.read(&blob, 0..u64::MAX).await;
    }
    let bytes: Vec<u8> = (0..70_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let written: Blob = blobs.write(&bytes).await.expect("there is room in memory");
    blobs.hold(&written, &[HOLDER]).await.expect("a holder's row within the limits");
    let _ = store.verify(&[]).await;
    let _ = blobs.compact(&Nobody).await;
    let again = blobs.read(&written, 0..u64::MAX).await.expect("what is pinned stays readable");
    assert_eq!(again, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_one(&data);
        }

        /// A sound segment and row, damaged in one place.
        #[test]
        fn sound_bytes_with_a_flaw_are_survived(at in 0usize..300, with in any::<u8>()) {
            let mut data = vec![12, 1];
            data.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 5, 1]);
            data.push(1);
            data.extend_from_slice(&crate::blob::segment_record(1, 32, b"stored", 5));
            data.extend_from_slice(&crate::blob::segment_record(1, 70, b"stored too", 9));
            if let Some(byte) = data.get_mut(at) {
                *byte ^= with;
            }
            fuzz_one(&data);
        }
    }
}
