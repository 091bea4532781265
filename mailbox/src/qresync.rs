//! What a client missed while it was away (RFC 7162 §3.1.4, §3.2.5).

use crate::account::Account;
use crate::error::AccountError;
use crate::keys;
use crate::rows::{LogRow, counter};
use crate::session::Session;
use crate::uidset::UidSet;
use crate::view::Row;

/// The changes since a modseq.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Messages with a higher modseq, with their sequence numbers, ascending.
    pub changed: Vec<(u32, Row)>,
    /// UIDs that were expunged. When the log does not reach back far enough, all UIDs below UIDNEXT that do not exist, which
    /// RFC 7162 §3.2.5.2 allows.
    pub vanished: UidSet,
    /// Whether `vanished` comes from the log, and is exact.
    pub exact: bool,
}

impl Account {
    /// What changed in the session's folder since `modseq`, among the `known` UIDs, as of what the session has been told.
    pub async fn changes_since(
        &self,
        session: &Session,
        modseq: u64,
        known: Option<&UidSet>,
    ) -> Result<Since, AccountError> {
        let mut since = Since { exact: true, ..Since::default() };
        let wanted = |uid: u32| known.is_none_or(|k| k.contains(uid));
        since.changed =
            session.rows(1, u32::MAX).filter(|(_, r)| r.modseq > modseq && wanted(r.uid)).collect();
        let status = session.status();
        if modseq >= status.highest_modseq {
            return Ok(since);
        }
        let gone = match self.vanished_since(session, modseq, status.highest_modseq).await? {
            Some(gone) => gone,
            None => {
                since.exact = false;
                missing(session, status.uid_next)
            }
        };
        since.vanished = match known {
            Some(known) => gone.intersection(known),
            None => gone,
        };
        Ok(since)
    }

    /// From the log; None if it does not reach back to `modseq`.
    async fn vanished_since(
        &self,
        session: &Session,
        modseq: u64,
        highest: u64,
    ) -> Result<Option<UidSet>, AccountError> {
        let state = &self.state;
        let folder = session.folder();
        let floor = state.core.store.get_one(state.keys.of_folder(keys::LOG_FLOOR, folder)).await?;
        if modseq < counter(floor.as_deref()) {
            return Ok(None);
        }
        let range = state.keys.log(folder, modseq.saturating_add(1))
            ..state.keys.log(folder, highest.saturating_add(1));
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut bad = false;
        let corrupt = state
            .core
            .store
            .each(range, |_, value| {
                match LogRow::decode(value) {
                    Some(row) => ranges.extend_from_slice(row.vanished.ranges()),
                    None => bad = true,
                }
                true
            })
            .await?;
        // A damaged row of the log is as if it did not reach back.
        Ok((!bad && corrupt.is_empty()).then(|| UidSet::from_ranges(ranges)))
    }
}

/// All UIDs below UIDNEXT that no message has.
fn missing(session: &Session, uid_next: u32) -> UidSet {
    let mut gone = UidSet::new();
    let mut next = 1;
    for (_, row) in session.rows(1, u32::MAX) {
        if row.uid > next {
            gone.push_range(next, row.uid - 1);
        }
        next = row.uid.saturating_add(1);
    }
    if uid_next > next {
        gone.push_range(next, uid_next - 1);
    }
    gone
}
