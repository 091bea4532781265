//! Flags and keywords, and changing them (RFC 9051 §6.4.6, RFC 7162 §3.1.3).

use crate::account::Account;
use crate::changes::{Changes, Effect, Plan};
use crate::error::AccountError;
use crate::keys;
use crate::limits::{FLAG_CHUNK, KEYWORD_BYTES, KEYWORDS, RETRIES};
use crate::rows::{LogRow, damaged, decode_names, encode_names, new_row};
use crate::snapshot::{Record, Snapshot};
use crate::uidset::UidSet;
use crate::view::{FolderState, Row};
use crate::writing::{WINDOW, after_failure, expect_folder, expect_writer, pipeline};
use std::sync::Arc;
use waypost_base::FolderId;
use waypost_store::{Batch, CommitError, Expect};

/// The system flags of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(pub u8);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const SEEN: Flags = Flags(1);
    pub const ANSWERED: Flags = Flags(2);
    pub const FLAGGED: Flags = Flags(4);
    pub const DELETED: Flags = Flags(8);
    pub const DRAFT: Flags = Flags(16);
    /// All five, with their IMAP names, in the order that we print them.
    pub const NAMES: [(Flags, &'static str); 5] = [
        (Flags::ANSWERED, "\\Answered"),
        (Flags::FLAGGED, "\\Flagged"),
        (Flags::DELETED, "\\Deleted"),
        (Flags::SEEN, "\\Seen"),
        (Flags::DRAFT, "\\Draft"),
    ];

    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

/// Flags and keywords together, keywords as bits of the account's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub flags: Flags,
    /// Bit n is keyword n of [`Keywords`].
    pub keywords: u64,
}

/// The account's table of keywords: names as first seen, compared without ASCII case. Only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    names: Vec<String>,
}

impl Keywords {
    pub(crate) fn new(names: Vec<String>) -> Keywords {
        Keywords { names }
    }

    /// All names; the place is the bit.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn bit(&self, name: &str) -> Option<u32> {
        self.names.iter().position(|n| n.eq_ignore_ascii_case(name)).map(|i| i as u32)
    }

    /// The names of the bits that are set.
    pub fn of(&self, bits: u64) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .take(64)
            .enumerate()
            .filter(move |(i, _)| bits & (1 << i) != 0)
            .map(|(_, n)| n.as_str())
    }

    /// The bits of these names, if all are known.
    fn bits(&self, names: &[&str]) -> Option<u64> {
        names.iter().try_fold(0, |bits, name| self.bit(name).map(|b| bits | 1 << b))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOp {
    Add,
    Remove,
    Replace,
}

impl FlagOp {
    fn on(self, old: Mark, by: Mark) -> Mark {
        match self {
            FlagOp::Add => Mark { flags: old.flags.with(by.flags), keywords: old.keywords | by.keywords },
            FlagOp::Remove => {
                Mark { flags: old.flags.without(by.flags), keywords: old.keywords & !by.keywords }
            }
            FlagOp::Replace => by,
        }
    }
}

/// What a change of flags did.
#[derive(Debug)]
pub struct FlagOutcome {
    pub changes: Changes,
    /// The messages that were changed, as they are now, by ascending UID. Those that were so already are not in it.
    pub modified: Vec<Row>,
    /// Not changed since their modseq is above `unchanged_since`: `[MODIFIED …]`.
    pub failed: UidSet,
}

impl Account {
    /// The keyword table as it is now.
    pub fn keywords(&self) -> Arc<Keywords> {
        self.state.keyword_table().1
    }

    /// The mark for these flags and keywords; new keywords are put into the table first (a commit of its own).
    pub async fn mark(&self, flags: Flags, keywords: &[&str]) -> Result<Mark, AccountError> {
        for _ in 0..RETRIES {
            let (version, table) = self.state.keyword_table();
            if let Some(keywords) = table.bits(keywords) {
                return Ok(Mark { flags, keywords });
            }
            let mut names = table.names.clone();
            for name in keywords {
                check_keyword(name)?;
                if !names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                    names.push((*name).to_owned());
                }
            }
            if names.len() > KEYWORDS {
                return Err(AccountError::KeywordsFull(table.names.len()));
            }
            self.write_keywords(version, names).await?;
        }
        Err(AccountError::Contention)
    }

    /// Writes the table, or reads what another has written meanwhile.
    async fn write_keywords(&self, version: u64, names: Vec<String>) -> Result<(), AccountError> {
        let state = &self.state;
        let key = state.keys.one(keys::KEYWORDS);
        let mut batch = Batch::new(state.keys.partition());
        batch.expect(state.keys.one(keys::ACCOUNT), Expect::Present);
        batch.expect(key.clone(), if version == 0 { Expect::Absent } else { Expect::Version(version) });
        batch.put(key.clone(), encode_names(version + 1, &names));
        match state.commit(batch).await {
            Ok(_) => state.set_keywords(version + 1, names),
            Err(CommitError::Conflict(_)) => {
                let value =
                    state.core.store.get_one(key.clone()).await?.ok_or(AccountError::NoAccount(state.id))?;
                let (version, names) = decode_names(&value).ok_or_else(|| damaged(&key))?;
                state.set_keywords(version, names);
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Changes flags of the messages in `uids` that exist. Chunks of [`crate::limits::FLAG_CHUNK`] are atomic each and
    /// committed in order. What is so already is left alone and keeps its modseq.
    pub async fn store_flags(
        &self,
        folder: FolderId,
        uids: &UidSet,
        op: FlagOp,
        mark: Mark,
        unchanged_since: Option<u64>,
    ) -> Result<FlagOutcome, AccountError> {
        let folder = self.state.folder_state(folder)?;
        let _one = folder.writing.lock().await;
        let mut outcome =
            FlagOutcome { changes: Changes::default(), modified: Vec::new(), failed: UidSet::new() };
        // After a conflict, what an earlier try has changed has a new modseq, which must not count as somebody else's.
        let mut done = UidSet::new();
        for _ in 0..RETRIES {
            let (snapshot, writer) = folder.for_writing().await?;
            let todo = choose(&snapshot, uids, &done, op, mark, unchanged_since);
            outcome.failed = todo.failed;
            if todo.rows.is_empty() {
                break;
            }
            let chunks = todo.rows.chunks(FLAG_CHUNK);
            let batches = chunks.zip(writer..).map(|(rows, at)| self.flag_batch(&folder, rows, at));
            let progress = pipeline(&self.state, WINDOW, batches).await;
            let changed = &todo.rows[..todo.rows.len().min(progress.done * FLAG_CHUNK)];
            let last = progress.changes.modseqs.last().copied();
            outcome.changes.join(progress.changes);
            if let Some(last) = last {
                folder.catch_up(last).await?;
            }
            done = UidSet::from_ranges(
                done.ranges().iter().copied().chain(changed.iter().map(|r| (r.uid, r.uid))),
            );
            match progress.error {
                None => break,
                Some(e) => after_failure(&self.state, &folder, e).await?,
            }
        }
        let now = folder.warm().await?;
        outcome.modified = now.of(&done).copied().collect();
        self.state.core.figures.flags_changed.add(outcome.modified.len() as u64);
        Ok(outcome)
    }

    fn flag_batch(&self, folder: &Arc<FolderState>, rows: &[Row], writer: u64) -> (Batch, Plan) {
        let keys = self.state.keys;
        let mut batch = Batch::new(keys.partition());
        batch.ops.reserve_exact(rows.len() + 1);
        expect_folder(&mut batch, keys, folder.id);
        expect_writer(&mut batch, keys, folder.id, writer);
        let next_writer = batch.alloc(keys.of_folder(keys::WRITER, folder.id), 1);
        let modseq = batch.alloc(keys.of_folder(keys::MODSEQ, folder.id), 1);
        let mut log = LogRow { time: self.state.core.clock.now(), ..LogRow::default() };
        log.flags = rows.iter().map(|row| (row.uid, row.mark())).collect();
        for row in rows {
            batch.put(keys.row(folder.id, row.uid), new_row(row, modseq, None));
        }
        batch.put(keys.new_log(folder.id, modseq), log.encode(None));
        let mut plan = Plan::new(&self.state);
        plan.effects.push(Effect {
            folder: folder.clone(),
            modseq,
            writer: Some(next_writer),
            uid: None,
            message: None,
            record: Record { flags: log.flags, ..Record::default() },
        });
        (batch, plan)
    }
}

struct Todo {
    /// As they shall be.
    rows: Vec<Row>,
    failed: UidSet,
}

fn choose(
    snapshot: &Snapshot,
    uids: &UidSet,
    done: &UidSet,
    op: FlagOp,
    mark: Mark,
    unchanged_since: Option<u64>,
) -> Todo {
    let mut todo = Todo { rows: Vec::new(), failed: UidSet::new() };
    for row in snapshot.of(uids) {
        if !done.is_empty() && done.contains(row.uid) {
            continue;
        }
        if unchanged_since.is_some_and(|limit| row.modseq > limit) {
            todo.failed.push(row.uid);
            continue;
        }
        let new = op.on(row.mark(), mark);
        if new != row.mark() {
            todo.rows.push(Row { flags: new.flags, keywords: new.keywords, ..*row });
        }
    }
    todo
}

/// A keyword is an atom that does not begin with a backslash (RFC 9051 §9, flag-keyword).
fn check_keyword(name: &str) -> Result<(), AccountError> {
    let special = |b: u8| b <= b' ' || b >= 0x7F || b"(){%*\"\\]".contains(&b);
    if name.is_empty() || name.len() > KEYWORD_BYTES || name.bytes().any(special) {
        return Err(AccountError::BadKeyword(name.chars().take(KEYWORD_BYTES).collect()));
    }
    Ok(())
}
