//! Upkeep of message bytes: removing holders that do not hold, moving living chunks out of segments that are more
//! than half dead, and looking whether every chunk is what its rows say.

use super::place::{self, Place};
use super::segments::{Facts, Pin};
use super::{BLOB_PREFIX, BlobId, Blobs, Chunk, Inner};
use crate::batch::{Batch, Expect, Key, prefix_range};
use crate::engine::Page;
use crate::error::{BlobError, CommitError, ReadError};
use crate::limits::{HOLDER_GRACE_MILLIS, PAGE_BYTES, PAGE_ROWS};
use crate::verify::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Asked by [`Blobs::compact`] about holders that are older than an hour.
#[async_trait::async_trait]
pub trait Holders: Send + Sync {
    /// Whether `holder` has rows that refer to these bytes. When in doubt, `true`.
    async fn holds(&self, id: BlobId, holder: &[u8]) -> Result<bool, ReadError>;
}

/// What [`Blobs::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub holders_removed: u64,
    pub segments_removed: u64,
    pub chunks_moved: u64,
    pub bytes_freed: u64,
}

/// A holder's row as it was read.
struct Row {
    key: Key,
    value: Vec<u8>,
    id: BlobId,
    place: Place,
}

impl Blobs {
    /// Removes holders that do not hold, then rewrites segments that are more than half dead. Safe at any time;
    /// works in small batches. Meant for quiet hours.
    pub async fn compact(&self, holders: &dyn Holders) -> Result<Compacted, BlobError> {
        let _quiet = self.inner.quiet.lock().await;
        let holders_removed = self.remove_holders(holders).await?;
        let mut done = Compacted { holders_removed, ..Compacted::default() };
        let candidates = self.candidates().await?;
        if candidates.is_empty() {
            return Ok(done);
        }
        done.chunks_moved = self.move_out(&candidates).await?;
        // Whatever is still referred to stays, because a row changed under us; the next time will find it.
        let alive = self.live().await?;
        for facts in candidates.values() {
            if !alive.contains_key(&facts.number) && self.inner.segments.core().remove(facts.number)? {
                done.segments_removed += 1;
                done.bytes_freed += facts.size;
            }
        }
        Ok(done)
    }

    async fn rows(&self, range: Range<Key>) -> Result<(Vec<Row>, Page), BlobError> {
        let page = self.inner.engine.scan(range, false, PAGE_ROWS, PAGE_BYTES).await?;
        let row = |(key, value): (&[u8], &[u8])| {
            let (id, _) = place::parse_key(key)?;
            Some(Row { id, place: Place::decode(value)?, key: key.to_vec(), value: value.to_vec() })
        };
        let rows: Vec<Row> = page.rows().filter_map(row).collect();
        // A row that cannot be read may refer to any segment: removing one could lose what can still be saved.
        if rows.len() < page.len() || !page.corrupt.is_empty() {
            let key = page.corrupt.first().cloned().or_else(|| page.row(0).map(|(k, _)| k.to_vec()));
            return Err(ReadError::Corrupt(key.unwrap_or_default()).into());
        }
        Ok((rows, page))
    }

    async fn remove_holders(&self, holders: &dyn Holders) -> Result<u64, BlobError> {
        let before = self.inner.clock.now().plus_millis(-HOLDER_GRACE_MILLIS);
        let mut removed = 0;
        let mut rest = Some(prefix_range(&[BLOB_PREFIX]));
        while let Some(range) = rest {
            let (rows, page) = self.rows(range).await?;
            for row in rows {
                let Some((id, holder)) = place::parse_key(&row.key) else { continue };
                if row.place.written > before || holders.holds(id, holder).await? {
                    continue;
                }
                let mut batch = Batch::new(place::PARTITION);
                batch.expect(row.key.clone(), Expect::Value(row.value));
                batch.del(row.key);
                match self.commit(batch).await {
                    Ok(_) => removed += 1,
                    // Held again meanwhile.
                    Err(CommitError::Conflict(_)) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            rest = page.next;
        }
        Ok(removed)
    }

    /// Bytes of each segment that rows refer to, each chunk counted once.
    async fn live(&self) -> Result<BTreeMap<u32, u64>, BlobError> {
        let mut live: BTreeMap<u32, u64> = BTreeMap::new();
        let mut current = None;
        let mut seen: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut rest = Some(prefix_range(&[BLOB_PREFIX]));
        while let Some(range) = rest {
            let (rows, page) = self.rows(range).await?;
            for row in rows {
                if current != Some(row.id) {
                    current = Some(row.id);
                    seen.clear();
                }
                for chunk in row.place.chunks {
                    if seen.insert((chunk.segment, chunk.offset)) {
                        *live.entry(chunk.segment).or_default() += u64::from(chunk.stored_len) + 32;
                    }
                }
            }
            rest = page.next;
        }
        Ok(live)
    }

    /// Closed segments, more than half dead, that nobody is about to refer to.
    async fn candidates(&self) -> Result<BTreeMap<u32, Facts>, BlobError> {
        let before = self.inner.clock.now().plus_millis(-HOLDER_GRACE_MILLIS);
        // In this order: what is appended after the facts were taken is not in a candidate.
        let facts = self.off(|inner| Ok(inner.segments.core().facts())).await?;
        let live = self.live().await?;
        let dead = |f: &Facts| 2 * live.get(&f.number).copied().unwrap_or(0) < f.size;
        let still = |f: &Facts| !f.active && f.pins == 0 && f.last_append.is_none_or(|at| at < before);
        Ok(facts.into_iter().filter(|f| still(f) && dead(f)).map(|f| (f.number, f)).collect())
    }

    /// Copies the living chunks of these segments to the growing one and changes their holders' rows.
    async fn move_out(&self, candidates: &BTreeMap<u32, Facts>) -> Result<u64, BlobError> {
        let mut count = 0;
        // Where a chunk went: all holders of a blob follow each other and share the copy.
        let mut moved: BTreeMap<(u32, u64), Chunk> = BTreeMap::new();
        let mut current = None;
        let mut rest = Some(prefix_range(&[BLOB_PREFIX]));
        while let Some(range) = rest {
            let (rows, page) = self.rows(range).await?;
            for mut row in rows {
                if !row.place.chunks.iter().any(|c| candidates.contains_key(&c.segment)) {
                    continue;
                }
                if current != Some(row.id) {
                    current = Some(row.id);
                    moved.clear();
                }
                // The copies' segment must not become a candidate before the row refers to it.
                let mut pin = Pin::none(self.inner.segments.core());
                for chunk in row.place.chunks.iter_mut().filter(|c| candidates.contains_key(&c.segment)) {
                    let place = (chunk.segment, chunk.offset);
                    if let Some(copy) = moved.get(&place) {
                        *chunk = *copy;
                        continue;
                    }
                    let from = *chunk;
                    let copy = move |inner: &Inner| {
                        let body = inner.segments.core().read(&from)?;
                        let to = inner.segments.core().append(&body, from.raw_len, &mut pin)?;
                        Ok((to, pin))
                    };
                    (*chunk, pin) = self.off(copy).await?;
                    moved.insert(place, *chunk);
                    count += 1;
                }
                self.inner.segments.sync().await?;
                let mut batch = Batch::new(place::PARTITION);
                batch.expect(row.key.clone(), Expect::Value(row.value));
                batch.put(row.key, row.place.encode());
                match self.commit(batch).await {
                    Ok(_) | Err(CommitError::Conflict(_)) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            rest = page.next;
        }
        Ok(count)
    }

    /// Looks at every holder's row, every chunk that it names and the whole of the message, and walks every segment.
    pub(crate) async fn verify(&self, report: &mut Report) {
        if let Err(error) = self.verify_rows(report).await {
            report.problem("place", "holder rows", error.to_string());
        }
        let core = self.inner.segments.core().clone();
        let Ok(facts) = self.off(|inner| Ok(inner.segments.core().facts())).await else { return };
        for facts in facts {
            let core = core.clone();
            let walked = self.off(move |_| core.walk(facts.number).map_err(|e| BlobError::Io(e.to_string())));
            report.segments += 1;
            match walked.await {
                Ok((records, _)) => {
                    report.chunks += records.len() as u64;
                    report.chunk_bytes += records.iter().map(|c| u64::from(c.stored_len)).sum::<u64>();
                }
                Err(e) => report.problem("segment", super::segments::file_name(facts.number), e.to_string()),
            }
        }
    }

    async fn verify_rows(&self, report: &mut Report) -> Result<(), BlobError> {
        let mut rest = Some(prefix_range(&[BLOB_PREFIX]));
        let mut last: Option<(BlobId, Vec<Chunk>)> = None;
        while let Some(range) = rest {
            let page = self.inner.engine.scan(range, false, PAGE_ROWS, PAGE_BYTES).await?;
            for key in &page.corrupt {
                report.row_problem("place", key, "the holder's row is damaged");
            }
            for (key, value) in page.rows() {
                let Some((id, _)) = place::parse_key(key) else {
                    report.row_problem("place", key, "not a holder's key");
                    continue;
                };
                let Some(place) = Place::decode(value) else {
                    report.row_problem("place", key, "not a holder's value");
                    continue;
                };
                // Holders of one blob follow each other, and mostly share its chunks.
                if last.as_ref().is_some_and(|(i, chunks)| *i == id && *chunks == place.chunks) {
                    continue;
                }
                last = Some((id, place.chunks.clone()));
                if let Err(e) = self.off(move |inner| inner.verify_blob(id, &place)).await {
                    report.row_problem("place", key, e.to_string());
                }
            }
            rest = page.next;
        }
        Ok(())
    }
}

impl Inner {
    fn verify_blob(&self, id: BlobId, place: &Place) -> Result<(), BlobError> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for chunk in &place.chunks {
            hasher.update(&self.chunk(chunk)?);
        }
        if hasher.finalize().as_bytes() == &id.0 {
            return Ok(());
        }
        let (segment, offset) = place.chunks.first().map_or((0, 0), |c| (c.segment, c.offset));
        Err(BlobError::Corrupt { segment, offset, what: "the whole does not hash to its id" })
    }
}
