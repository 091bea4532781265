//! What is remembered of a message besides its place in folders: summary, thread, where the bytes are.

use crate::account::{Account, lock};
use crate::error::{Fault, FaultKind};
use crate::keys::{self, last_u64};
use crate::limits::SUMMARY_PAGE;
use crate::rows::{MESSAGE_HEAD, MessageRow};
use bytes::Bytes;
use std::collections::HashMap;
use waypost_base::{MessageId, ThreadId};
use waypost_mime::{DecodeError, SummaryRef};
use waypost_store::{BlobId, Hex, Key, ReadError};

/// A message's row, as read from the store.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: MessageId,
    pub thread: ThreadId,
    pub blob: BlobId,
    pub size: u64,
    pub(crate) summary: Bytes,
}

impl Stored {
    /// Reads the summary in place. It was checked when the row was read, so this fails on damage in memory alone.
    pub fn summary(&self) -> Result<SummaryRef<'_>, DecodeError> {
        SummaryRef::new(&self.summary)
    }

    fn decode(id: MessageId, value: Bytes) -> Result<Stored, FaultKind> {
        let row = MessageRow::decode(&value).ok_or_else(|| FaultKind::Damaged("message row".into()))?;
        SummaryRef::new(row.summary).map_err(|e| FaultKind::Damaged(e.to_string()))?;
        let (thread, blob, size) = (row.thread, row.blob, row.size);
        Ok(Stored { id, thread, blob, size, summary: value.slice(MESSAGE_HEAD..) })
    }
}

impl Account {
    /// The rows of these messages, in their order. Give up to [`crate::limits::SUMMARY_PAGE`] at a time; more are read in
    /// several pages.
    pub async fn summaries(&self, ids: &[MessageId]) -> Vec<Result<Stored, Fault>> {
        let mut out = Vec::with_capacity(ids.len());
        for page in ids.chunks(SUMMARY_PAGE) {
            let values = self.rows_by_message(keys::MESSAGE, page).await;
            for id in page {
                // A message may be asked for twice: a folder can hold two copies.
                let value = values.get(id).cloned();
                let stored = self.present(keys::MESSAGE, *id, value).and_then(|value| {
                    Stored::decode(*id, value).map_err(|kind| self.quarantine(keys::MESSAGE, *id, kind))
                });
                out.push(stored);
            }
        }
        out
    }

    /// Messages found damaged since the start.
    pub fn quarantined(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = lock(&self.state.quarantine).values().cloned().collect();
        faults.dedup_by_key(|f| f.message);
        faults
    }

    /// Names a damaged message, so that the row is not read again and again. Its other rows still are.
    pub(crate) fn quarantine(&self, row: u8, message: MessageId, kind: FaultKind) -> Fault {
        let fault = Fault { message, kind };
        if matches!(fault.kind, FaultKind::Damaged(_)) {
            let new = lock(&self.state.quarantine).insert((message, row), fault.clone()).is_none();
            if new {
                tracing::error!(account = self.state.id.0, %fault, "damaged message is quarantined");
                self.state.core.figures.damaged.one();
            }
        }
        fault
    }

    /// What a read of a row says about its message.
    pub(crate) fn present(&self, row: u8, id: MessageId, value: Option<Read>) -> Result<Bytes, Fault> {
        match value {
            Some(Read::Value(bytes)) => Ok(bytes),
            Some(Read::Failed(kind)) => Err(self.quarantine(row, id, kind)),
            None => Err(Fault { message: id, kind: FaultKind::Gone }),
        }
    }

    /// The rows of one kind of these messages. Neighbours are read in one scan, others key by key in one call; a damaged row
    /// costs only itself.
    pub(crate) async fn rows_by_message(&self, kind: u8, ids: &[MessageId]) -> HashMap<MessageId, Read> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut wanted: Vec<MessageId> = ids.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        {
            let bad = lock(&self.state.quarantine);
            if !bad.is_empty() {
                wanted.retain(|id| match bad.get(&(*id, kind)) {
                    Some(fault) => found.insert(*id, Read::Failed(fault.kind.clone())).is_some(),
                    None => true,
                });
            }
        }
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return found };
        let read = if last.0 - first.0 < wanted.len() as u64 * 2 {
            self.scan_messages(kind, &wanted, &mut found).await
        } else {
            self.get_messages(kind, &wanted, &mut found).await
        };
        if let Err(e) = read {
            for id in wanted {
                found.entry(id).or_insert_with(|| Read::Failed(FaultKind::Unavailable(e.to_string())));
            }
        }
        found
    }

    async fn scan_messages(
        &self,
        kind: u8,
        wanted: &[MessageId],
        found: &mut HashMap<MessageId, Read>,
    ) -> Result<(), ReadError> {
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(()) };
        let end = MessageId(last.0.saturating_add(1));
        let mut rest = Some(self.state.keys.message(kind, *first)..self.state.keys.message(kind, end));
        while let Some(range) = rest {
            let page = self.state.core.store.scan(range, false).await?;
            for (key, value) in page.rows() {
                let id = MessageId(last_u64(key));
                if wanted.binary_search(&id).is_ok() {
                    found.insert(id, Read::Value(Bytes::copy_from_slice(value)));
                }
            }
            for key in page.corrupt {
                found.insert(MessageId(last_u64(&key)), damaged_row(&key));
            }
            rest = page.next;
        }
        Ok(())
    }

    async fn get_messages(
        &self,
        kind: u8,
        wanted: &[MessageId],
        found: &mut HashMap<MessageId, Read>,
    ) -> Result<(), ReadError> {
        let mut wanted = wanted.to_vec();
        loop {
            let keys: Vec<Key> = wanted.iter().map(|id| self.state.keys.message(kind, *id)).collect();
            match self.state.core.store.get(keys).await {
                Ok(values) => {
                    let values = wanted.into_iter().zip(values);
                    found.extend(values.filter_map(|(id, v)| v.map(|v| (id, Read::Value(v)))));
                    return Ok(());
                }
                // The call names the first damaged row: read the others without it.
                Err(ReadError::Corrupt(key)) => {
                    let id = MessageId(last_u64(&key));
                    let before = wanted.len();
                    wanted.retain(|w| *w != id);
                    if wanted.len() == before {
                        return Err(ReadError::Corrupt(key));
                    }
                    found.insert(id, damaged_row(&key));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

fn damaged_row(key: &[u8]) -> Read {
    Read::Failed(FaultKind::Damaged(format!("row {}", Hex(key))))
}

/// What came of reading a row.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    Value(Bytes),
    Failed(FaultKind),
}
