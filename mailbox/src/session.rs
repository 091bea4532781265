//! One client's look at one folder: sequence numbers that change only when the client has been told.
//!
//! A session holds the snapshot that its client knows. While nothing changes that is the view's own, shared by all. What is
//! new is the difference of the two. Messages that somebody has expunged and the client may not be told of yet are ghosts:
//! they are kept beside the snapshot and keep their sequence numbers (RFC 9051 §7.5.1).

use crate::account::{Account, AccountState};
use crate::error::AccountError;
use crate::snapshot::Snapshot;
use crate::uidset::UidSet;
use crate::view::{Presence, Row, Status};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use waypost_base::FolderId;

/// Something the client has to be told, in order. Sequence numbers are those after the deltas before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delta {
    /// `* n EXPUNGE` (or VANISHED by UID)
    Expunged { seq: u32, uid: u32 },
    /// `* n EXISTS`
    Exists(u32),
    /// `* n FETCH (FLAGS …)`: of changed messages, never of new ones.
    Flags { seq: u32, row: Row },
}

/// A selected folder. Costs some words while nothing changes; all sessions on a folder share its rows.
///
/// A message that another session expunges stays under its sequence number, with its last known row, until a
/// [`Session::poll_changes`] that may tell of it (RFC 9051 §7.5.1).
pub struct Session {
    account: Arc<AccountState>,
    folder: Presence,
    seen: Arc<Snapshot>,
    /// By ascending UID; none of them is in `seen`.
    ghosts: Vec<Row>,
}

impl Account {
    /// Opens a session on a folder. Warm, it costs a few reference counts.
    pub async fn select(&self, folder: FolderId) -> Result<Session, AccountError> {
        let folder = self.state.folder_state(folder)?;
        let (folder, seen) = folder.enter().await?;
        Ok(Session { account: self.state.clone(), folder, seen, ghosts: Vec::new() })
    }
}

impl Session {
    pub fn folder(&self) -> FolderId {
        self.folder.0.id
    }

    /// The account that the folder is in.
    pub fn account(&self) -> Account {
        Account { state: self.account.clone() }
    }

    pub fn uid_validity(&self) -> u32 {
        self.folder.0.uid_validity
    }

    /// Counts, UIDNEXT and HIGHESTMODSEQ of what this session has been told (messages still includes untold expunges).
    pub fn status(&self) -> Status {
        Status { messages: self.len(), ..self.seen.status(self.folder.0.uid_validity) }
    }

    /// Messages, that is the highest sequence number.
    pub fn len(&self) -> u32 {
        self.seen.len() + self.ghosts.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The UID of the last message (`*`); 0 if there is none.
    pub fn last_uid(&self) -> u32 {
        self.seen.last_uid().max(self.ghosts.last().map_or(0, |r| r.uid))
    }

    /// Sequence number of the first message without \Seen.
    pub fn first_unseen(&self) -> Option<u32> {
        let row = self.seen.row(self.seen.first_unseen()?)?;
        Some(self.rank(row.uid) + 1)
    }

    /// The message with this sequence number.
    pub fn row(&self, seq: u32) -> Option<Row> {
        let index = seq.checked_sub(1)?;
        if self.ghosts.is_empty() {
            return self.seen.row(index).copied();
        }
        // Ghosts before it: the first whose own place is not before.
        let before = self.ghosts_before(index);
        match self.ghosts.get(before) {
            Some(ghost) if self.ghost_place(before) == index => Some(*ghost),
            _ => self.seen.row(index - before as u32).copied(),
        }
    }

    /// How many messages come before the ghost.
    fn ghost_place(&self, ghost: usize) -> u32 {
        self.ghosts.get(ghost).map_or(u32::MAX, |g| self.seen.rank(g.uid) + ghost as u32)
    }

    fn ghosts_before(&self, index: u32) -> usize {
        let (mut low, mut high) = (0, self.ghosts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.ghost_place(middle) < index { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Number of messages with a lower UID.
    fn rank(&self, uid: u32) -> u32 {
        self.seen.rank(uid) + self.ghosts.partition_point(|g| g.uid < uid) as u32
    }

    /// Sequence number and row of this UID.
    pub fn by_uid(&self, uid: u32) -> Option<(u32, Row)> {
        let row = match self.ghosts.binary_search_by_key(&uid, |g| g.uid) {
            Ok(i) => *self.ghosts.get(i)?,
            Err(_) => *self.seen.by_uid(uid)?,
        };
        Some((self.rank(uid) + 1, row))
    }

    /// Messages of these sequence numbers (both ends included, cut to what is there), ascending.
    pub fn rows(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, Row)> + '_ {
        let index = from.max(1) - 1;
        let before = self.ghosts_before(index);
        Merged {
            rows: self.seen.from(index.saturating_sub(before as u32)).peekable(),
            ghosts: self.ghosts.get(before..).unwrap_or_default().iter().peekable(),
            seq: index,
        }
        .take_while(move |(seq, _)| *seq <= to)
    }

    /// The messages of these UIDs, ascending.
    pub fn rows_of<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = (u32, Row)> + 'a {
        uids.ranges().iter().flat_map(|&(from, to)| {
            self.rows(self.rank(from) + 1, u32::MAX).take_while(move |(_, r)| r.uid <= to)
        })
    }

    /// The UIDs of these sequence numbers; numbers that do not exist are left out.
    pub fn uids_of(&self, seqs: &UidSet) -> UidSet {
        seqs.ranges().iter().flat_map(|&(from, to)| self.rows(from, to)).map(|(_, row)| row.uid).collect()
    }

    /// Whether the message was expunged by somebody, and this session has not been told yet.
    pub fn is_expunged(&self, uid: u32) -> bool {
        if self.ghosts.binary_search_by_key(&uid, |g| g.uid).is_ok() {
            return true;
        }
        self.seen.by_uid(uid).is_some()
            && self.folder.0.current().is_some_and(|now| now.by_uid(uid).is_none())
    }

    /// Whether [`Session::poll_changes`] could have something to tell. Costs a pointer comparison.
    pub fn has_changes(&self) -> bool {
        self.folder.0.is_newer(&self.seen)
    }

    /// Whether there are expunges that only a [`Session::poll_changes`] with `allow_expunge` will tell.
    pub fn has_untold_expunges(&self) -> bool {
        !self.ghosts.is_empty()
    }

    /// Takes over what has happened since, and says what the client is to be told, in this order: expunges, EXISTS, flags.
    /// Without `allow_expunge` expunges wait for a later call. New flags of own changes are among them.
    pub fn poll_changes(&mut self, allow_expunge: bool) -> Vec<Delta> {
        let Some(now) = self.folder.0.current() else { return Vec::new() };
        let newer = !Arc::ptr_eq(&now, &self.seen);
        if !newer && (self.ghosts.is_empty() || !allow_expunge) {
            return Vec::new();
        }
        let difference = self.seen.difference(&now);
        let mut deltas = Vec::new();
        if allow_expunge {
            let gone = merge(&self.ghosts, &difference.expunged);
            deltas.extend(gone.iter().zip(0..).map(|(row, told)| {
                // Those before it have gone already when the client hears of it.
                Delta::Expunged { seq: self.rank(row.uid) + 1 - told, uid: row.uid }
            }));
            self.ghosts = Vec::new();
        } else if !difference.expunged.is_empty() {
            self.ghosts = merge(&self.ghosts, &difference.expunged);
        }
        self.seen = now;
        if difference.appended > 0 {
            deltas.push(Delta::Exists(self.len()));
        }
        deltas.extend(
            difference.changed.iter().map(|row| Delta::Flags { seq: self.rank(row.uid) + 1, row: *row }),
        );
        deltas
    }

    /// Returns when there is something to tell; at once when there is already. Also returns when the folder was deleted
    /// ([`Session::is_deleted`]).
    pub async fn wait_changes(&self) {
        loop {
            let changed = self.folder.0.changed.notified();
            tokio::pin!(changed);
            // From here on an announcement is not missed, even before the first poll.
            changed.as_mut().enable();
            if self.has_changes() || self.is_deleted() {
                return;
            }
            changed.await;
        }
    }

    /// The folder was deleted: send BYE or unselect.
    pub fn is_deleted(&self) -> bool {
        self.folder.0.deleted.load(Relaxed)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Session(folder {}, {} messages, modseq {})",
            self.folder.0.id,
            self.len(),
            self.seen.modseq
        )
    }
}

/// Snapshot and ghosts as one list.
struct Merged<'a, I: Iterator<Item = &'a Row>> {
    rows: std::iter::Peekable<I>,
    ghosts: std::iter::Peekable<std::slice::Iter<'a, Row>>,
    seq: u32,
}

impl<'a, I: Iterator<Item = &'a Row>> Iterator for Merged<'a, I> {
    type Item = (u32, Row);

    fn next(&mut self) -> Option<(u32, Row)> {
        let ghost = match (self.ghosts.peek(), self.rows.peek()) {
            (Some(ghost), Some(row)) => ghost.uid < row.uid,
            (ghost, _) => ghost.is_some(),
        };
        let row = if ghost { self.ghosts.next() } else { self.rows.next() }?;
        self.seq += 1;
        Some((self.seq, *row))
    }
}

/// Two lists by ascending UID as one.
fn merge(a: &[Row], b: &[Row]) -> Vec<Row> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let first = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => x.uid <= y.uid,
            (x, _) => x.is_some(),
        };
        match if first { a.next() } else { b.next() } {
            Some(row) => all.push(*row),
            None => return all,
        }
    }
}
