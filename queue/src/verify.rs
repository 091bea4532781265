//! Every invariant of the queue's rows that we can name, looked at row by row.

use crate::codec::Input;
use crate::rows::{
    self, ATTEMPT, BYTES, Head, HopState, ITEM, Item, PAGES, QUEUE, QueueState, RUN, STATE, TAKEN,
};
use crate::{OUTBOX_ROWS, QUEUE_PREFIX, lease};
use std::collections::BTreeSet;
use waypost_store::{BlobId, Check, Key, ReadError, Report, Store, prefix_range};

const NAME: &str = "queue";

/// Looks at the queue's rows; hand it to [`Store::verify`]. An item that goes while it is looked at is no problem.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueCheck;

#[async_trait::async_trait]
impl Check for QueueCheck {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn check(&self, store: &Store, report: &mut Report) {
        if let Err(e) = look(store, report).await {
            report.problem(NAME, "rows", e.to_string());
        }
    }
}

async fn look(store: &Store, report: &mut Report) -> Result<(), ReadError> {
    let mut rest = Some(prefix_range(&[QUEUE_PREFIX]));
    let mut last: Option<(u64, bool)> = None;
    while let Some(range) = rest {
        let page = store.scan(range, false).await?;
        for (key, row) in page.rows() {
            let problem = match key.get(1).copied() {
                Some(ITEM) => item(store, key, row).await?,
                Some(BYTES | PAGES | STATE | ATTEMPT) => {
                    let Some(id) = rows::id_of(key) else {
                        report.row_problem(NAME, key, "not a key of the queue");
                        continue;
                    };
                    if last.is_none_or(|(known, _)| known != id) {
                        last = Some((id, there(store, id).await?));
                    }
                    let orphan = last.is_some_and(|(_, there)| !there);
                    let unreadable = key.get(1) == Some(&STATE) && HopState::decode(row).is_none();
                    match (orphan, unreadable) {
                        // It may have been read before its item went.
                        (true, _) if store.get_one(key).await?.is_some() && !there(store, id).await? => {
                            Some("its item is not there")
                        }
                        (false, true) => Some("a state that cannot be read"),
                        _ => None,
                    }
                }
                Some(QUEUE) if rows::queue_of(key).is_none() || QueueState::decode(row).is_none() => {
                    Some("the state of a queue that cannot be read")
                }
                Some(TAKEN) if key.len() != 18 || row.len() != 8 => Some("a delivery that cannot be read"),
                Some(QUEUE | RUN | TAKEN | OUTBOX_ROWS) => None,
                _ => Some("not a key of the queue"),
            };
            if let Some(problem) = problem {
                report.row_problem(NAME, key, problem);
            }
        }
        rest = page.next;
    }
    Ok(())
}

async fn there(store: &Store, id: u64) -> Result<bool, ReadError> {
    match store.get_one(rows::key(ITEM, id)).await {
        // The engine names it itself.
        Err(ReadError::Corrupt(_)) => Ok(true),
        answer => Ok(answer?.is_some()),
    }
}

async fn item(store: &Store, key: &[u8], row: &[u8]) -> Result<Option<&'static str>, ReadError> {
    let Some(id) = rows::id_of(key) else { return Ok(Some("not a key of the queue")) };
    let Some(head) = Head::read(&mut Input(row)) else { return Ok(Some("an item that cannot be read")) };
    let pages = lease::read_pages(store, id, row).await.unwrap_or_default();
    let problem = match Item::decode(row, &pages) {
        None => Some("an item that cannot be read"),
        Some(item) if hop_numbers(&item) != item.hops.len() => Some("an item with two hops of one number"),
        Some(_) if !has_bytes(store, id, &head).await? => Some("an item without its bytes"),
        Some(_) => None,
    };
    // It may have gone since its row was read.
    Ok(if problem.is_some() && !there(store, id).await? { None } else { problem })
}

fn hop_numbers(item: &Item) -> usize {
    item.hops.iter().map(|hop| hop.number).collect::<BTreeSet<u32>>().len()
}

async fn has_bytes(store: &Store, id: u64, head: &Head) -> Result<bool, ReadError> {
    let key: Key = if head.stored { holder_key(head.blob, id) } else { rows::key(BYTES, id) };
    Ok(store.get_one(key).await?.is_some())
}

/// `[50][blob id][holder]`, as docs/store.md has it.
fn holder_key(blob: BlobId, id: u64) -> Key {
    let mut key = vec![waypost_store::blob::BLOB_PREFIX];
    key.extend_from_slice(&blob.0);
    key.extend_from_slice(rows::holder(id).as_bytes());
    key
}
