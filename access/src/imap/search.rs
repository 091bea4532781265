//! SEARCH, SORT and THREAD (RFC 9051 §6.4.4, RFC 5256, RFC 5267 §3, RFC 5957, RFC 7162 §3.1.5).
//!
//! A long search ends when the client goes away: the connection is watched while it runs.

use super::ids;
use super::outcome::{Done, End, Fail, Outcome};
use super::session::{Session, watch};
use waypost_imap::command::{
    Search, SearchKey, SearchReturn, Sort, SortKey as Criterion, Thread, ThreadAlgorithm,
};
use waypost_imap::response::{EsearchReply, ranges};
use waypost_imap::value::{Flag, SequenceSet, Tag};
use waypost_mailbox::{Cancel, Flags, Query, SortKey, SortOrder, ThreadKind, UidSet};

/// Runs work of the mailbox while the connection is watched.
macro_rules! watched {
    ($session:ident, $cancel:ident, $account:ident, $folder:ident => $work:expr) => {{
        let $account = $session.account()?;
        let Session { wire, inbox, selected, .. } = &mut *$session;
        let Some(selected) = selected.as_deref() else { return Err(Fail::bad("No folder is selected")) };
        let $folder = &selected.folder;
        let $cancel = Cancel::new();
        tokio::select! {
            biased;
            found = $work => found?,
            () = watch(wire, inbox) => {
                $cancel.cancel();
                return Err(End::Gone(std::io::ErrorKind::ConnectionAborted).into());
            }
        }
    }};
}

impl Session {
    pub(crate) async fn search(&mut self, tag: &Tag, search: Search) -> Outcome {
        if search.names_charset && self.enabled.utf8_accept {
            return Err(Fail::bad("After ENABLE UTF8=ACCEPT everything is UTF-8; name no charset"));
        }
        if search.returns.is_some_and(|r| r.save) {
            // Whatever comes of it: a failed search leaves nothing saved (RFC 9051 §6.4.4.1).
            self.forget_saved_unless_used(&search.key)?;
        }
        let mod_seqs = self.note_mod_seq(&search.key);
        let query = self.query(&search.key)?;
        let found = watched!(self, cancel, account, folder => account.search(folder, &query, &cancel));
        let saved = search.returns.filter(|r| r.save);
        if let Some(returns) = saved {
            let uids = found.iter().map(|(_, uid)| *uid);
            self.selected()?.saved = keep(returns, uids.collect());
        }
        let by_uid = search.uid;
        let numbers: Vec<u32> = found.iter().map(|&(seq, uid)| if by_uid { uid } else { seq }).collect();
        match search.returns {
            None if !self.enabled.rev2 => {
                let highest = if mod_seqs { self.highest(found.iter().map(|f| f.0))? } else { None };
                self.reply().search(numbers, highest);
            }
            returns => {
                let returns = returns.unwrap_or_default();
                let all = ranges(numbers.iter().copied());
                self.esearch(tag, by_uid, returns, &numbers, &all, mod_seqs, &found)?;
            }
        }
        self.wire.flush_if_full().await?;
        Ok(Done::text("Search completed"))
    }

    pub(crate) async fn sort(&mut self, tag: &Tag, sort: Sort) -> Outcome {
        if sort.returns.is_some_and(|r| r.save) {
            self.forget_saved_unless_used(&sort.key)?;
        }
        let mod_seqs = self.note_mod_seq(&sort.key);
        let query = self.query(&sort.key)?;
        let order: Vec<SortOrder> =
            sort.criteria.iter().map(|c| SortOrder { key: sort_key(c.key), reverse: c.reverse }).collect();
        let found = watched!(self, cancel, account, folder => account.sort(folder, &query, &order, &cancel));
        if let Some(returns) = sort.returns.filter(|r| r.save) {
            let uids: Vec<u32> = found.iter().map(|(_, uid)| *uid).collect();
            self.selected()?.saved = keep(returns, uids);
        }
        let by_uid = sort.uid;
        let numbers: Vec<u32> = found.iter().map(|&(seq, uid)| if by_uid { uid } else { seq }).collect();
        match sort.returns {
            None => {
                let highest = if mod_seqs { self.highest(found.iter().map(|f| f.0))? } else { None };
                self.reply().sort(numbers, highest);
            }
            Some(returns) => {
                // In the order of the sort (RFC 5267 §3.1), so neighbours are joined only where they ascend.
                let all = ranges(numbers.iter().copied());
                self.esearch(tag, by_uid, returns, &numbers, &all, mod_seqs, &found)?;
            }
        }
        self.wire.flush_if_full().await?;
        Ok(Done::text("Sort completed"))
    }

    pub(crate) async fn thread(&mut self, thread: Thread) -> Outcome {
        self.note_mod_seq(&thread.key);
        let query = self.query(&thread.key)?;
        let kind = match thread.algorithm {
            ThreadAlgorithm::References => ThreadKind::References,
            ThreadAlgorithm::OrderedSubject => ThreadKind::OrderedSubject,
        };
        let uid = thread.uid;
        let found =
            watched!(self, cancel, account, folder => account.thread(folder, &query, kind, uid, &cancel));
        let out = &mut self.wire.out;
        out.extend_from_slice(b"* THREAD ");
        let before = out.len();
        waypost_mime::thread::write(&found, out);
        if out.len() == before {
            // No space before nothing.
            out.pop();
        }
        out.extend_from_slice(b"\r\n");
        Ok(Done::text("Threads listed"))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one response")]
    fn esearch(
        &mut self,
        tag: &Tag,
        uid: bool,
        returns: SearchReturn,
        numbers: &[u32],
        all: &[(u32, u32)],
        mod_seqs: bool,
        found: &[(u32, u32)],
    ) -> Result<(), Fail> {
        let asked = returns.min || returns.max || returns.all || returns.count;
        if returns.save && !asked {
            return Ok(());
        }
        let want_all = returns.all || !asked;
        let first_and_last = [numbers.first(), numbers.last()];
        let mod_seq = match mod_seqs {
            false => None,
            // RFC 7162 §3.1.10: of the messages that are told, where only some are.
            true if !want_all && !returns.count => {
                let ends = [(returns.min, found.first()), (returns.max, found.last())];
                let told = ends.into_iter().filter(|(told, _)| *told).filter_map(|(_, f)| f);
                self.highest(told.map(|f| f.0))?
            }
            true => self.highest(found.iter().map(|f| f.0))?,
        };
        let [first, last] = first_and_last.map(Option::<&u32>::copied);
        self.reply().esearch(&EsearchReply {
            tag,
            uid,
            min: first.filter(|_| returns.min),
            max: last.filter(|_| returns.max),
            count: returns.count.then_some(u32::try_from(numbers.len()).unwrap_or(u32::MAX)),
            all: want_all.then_some(all),
            mod_seq,
        });
        Ok(())
    }

    /// The highest mod-sequence of these messages.
    fn highest(&mut self, seqs: impl Iterator<Item = u32>) -> Result<Option<u64>, Fail> {
        let folder = &self.selected()?.folder;
        Ok(seqs.filter_map(|seq| folder.row(seq)).map(|row| row.modseq).max())
    }

    fn note_mod_seq(&mut self, key: &SearchKey) -> bool {
        let uses = key.uses_mod_seq();
        if uses {
            self.enable_condstore();
        }
        uses
    }

    /// A search may use `$` and save a new one; until it has succeeded, the old one is still needed for the query.
    fn forget_saved_unless_used(&mut self, key: &SearchKey) -> Result<(), Fail> {
        if !uses_saved(key) {
            self.selected()?.saved = UidSet::new();
        }
        Ok(())
    }

    fn query(&mut self, key: &SearchKey) -> Result<Query, Fail> {
        let selected = self.selected()?;
        let (count, last_uid) = (selected.folder.len(), selected.folder.last_uid());
        translate(key, count, last_uid, &selected.saved)
    }
}

/// RFC 9051 §6.4.4.1: with MIN or MAX alone, only those are saved.
fn keep(returns: SearchReturn, uids: Vec<u32>) -> UidSet {
    let only_ends = (returns.min || returns.max) && !returns.all && !returns.count;
    if !only_ends {
        return uids.into_iter().collect();
    }
    let ends = [uids.first().filter(|_| returns.min), uids.last().filter(|_| returns.max)];
    ends.into_iter().flatten().copied().collect()
}

fn uses_saved(key: &SearchKey) -> bool {
    match key {
        SearchKey::Sequence(set) | SearchKey::Uid(set) => set.is_saved(),
        SearchKey::And(keys) => keys.iter().any(uses_saved),
        SearchKey::Or(a, b) => uses_saved(a) || uses_saved(b),
        SearchKey::Not(key) => uses_saved(key),
        _ => false,
    }
}

/// From what the client asks to what the mailbox answers. The parser bounds how deep this goes.
fn translate(key: &SearchKey, count: u32, last_uid: u32, saved: &UidSet) -> Result<Query, Fail> {
    let nested = |key: &SearchKey| translate(key, count, last_uid, saved);
    let nothing = || Query::Not(Box::new(Query::All));
    Ok(match key {
        SearchKey::All | SearchKey::SaveDateSupported => Query::All,
        SearchKey::And(keys) => Query::And(keys.iter().map(nested).collect::<Result<_, _>>()?),
        SearchKey::Or(a, b) => Query::Or(Box::new(nested(a)?), Box::new(nested(b)?)),
        SearchKey::Not(key) => Query::Not(Box::new(nested(key)?)),
        SearchKey::Sequence(SequenceSet::Saved) | SearchKey::Uid(SequenceSet::Saved) => {
            Query::Uids(saved.clone())
        }
        SearchKey::Sequence(set) => Query::Seqs(UidSet::from_ranges(set.resolve(count))),
        SearchKey::Uid(set) => Query::Uids(UidSet::from_ranges(set.resolve(last_uid))),
        SearchKey::Flag(flag) => match system(flag) {
            Ok(flags) => Query::Has(flags),
            Err(Some(keyword)) => Query::Keyword(keyword),
            Err(None) => nothing(),
        },
        SearchKey::NotFlag(flag) => match system(flag) {
            Ok(flags) => Query::Lacks(flags),
            Err(Some(keyword)) => Query::Unkeyword(keyword),
            Err(None) => Query::All,
        },
        // No message is ever \Recent here.
        SearchKey::New => nothing(),
        SearchKey::Bcc(text) => Query::Bcc(text.clone()),
        SearchKey::Cc(text) => Query::Cc(text.clone()),
        SearchKey::From(text) => Query::From(text.clone()),
        SearchKey::To(text) => Query::To(text.clone()),
        SearchKey::Subject(text) => Query::Subject(text.clone()),
        SearchKey::Header(name, text) => Query::Header(name.clone(), text.clone()),
        SearchKey::Body(text) => Query::Body(text.clone()),
        SearchKey::Text(text) => Query::Text(text.clone()),
        SearchKey::Before(date) => Query::Before(date.0),
        SearchKey::On(date) => Query::On(date.0),
        SearchKey::Since(date) => Query::Since(date.0),
        SearchKey::SentBefore(date) => Query::SentBefore(date.0),
        SearchKey::SentOn(date) => Query::SentOn(date.0),
        SearchKey::SentSince(date) => Query::SentSince(date.0),
        SearchKey::SavedBefore(date) => Query::SavedBefore(date.0),
        SearchKey::SavedOn(date) => Query::SavedOn(date.0),
        SearchKey::SavedSince(date) => Query::SavedSince(date.0),
        SearchKey::Larger(bytes) => Query::Larger(*bytes),
        SearchKey::Smaller(bytes) => Query::Smaller(*bytes),
        SearchKey::Older(seconds) => Query::Older(*seconds),
        SearchKey::Younger(seconds) => Query::Younger(*seconds),
        SearchKey::ModSeq(n) => Query::Modseq(*n),
        SearchKey::EmailId(id) => ids::parse_message(id).map_or_else(nothing, Query::EmailId),
        SearchKey::ThreadId(id) => ids::parse_thread(id).map_or_else(nothing, Query::ThreadId),
    })
}

/// A system flag, or the keyword's name, or neither: a flag that no message has.
fn system(flag: &Flag) -> Result<Flags, Option<String>> {
    match flag {
        Flag::Answered => Ok(Flags::ANSWERED),
        Flag::Deleted => Ok(Flags::DELETED),
        Flag::Draft => Ok(Flags::DRAFT),
        Flag::Flagged => Ok(Flags::FLAGGED),
        Flag::Seen => Ok(Flags::SEEN),
        Flag::Keyword(name) => Err(Some(name.as_str().to_owned())),
        Flag::Recent | Flag::Extension(_) => Err(None),
    }
}

fn sort_key(key: Criterion) -> SortKey {
    match key {
        Criterion::Arrival => SortKey::Arrival,
        Criterion::Cc => SortKey::Cc,
        Criterion::Date => SortKey::Date,
        Criterion::From => SortKey::From,
        Criterion::Size => SortKey::Size,
        Criterion::Subject => SortKey::Subject,
        Criterion::To => SortKey::To,
        Criterion::DisplayFrom => SortKey::DisplayFrom,
        Criterion::DisplayTo => SortKey::DisplayTo,
    }
}
