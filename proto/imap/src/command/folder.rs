//! SELECT, EXAMINE, CREATE and STATUS. The commands with nothing but a name are read in the table of [`super::parse`].

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Body, Problem, Qresync, Select, SpecialUse, StatusItem};

/// ```abnf
/// select        = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]
/// select-param  = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids]
///                 [SP seq-match-data] ")"                                       ; RFC 7162 §7
/// ```
pub(crate) fn select(p: &mut Parser<'_>, read_only: bool) -> Result<Body> {
    p.space()?;
    let mut select = Select { folder: p.folder()?, read_only, condstore: false, qresync: None };
    if p.eat(b' ') {
        p.list(|p| {
            match p.word("a SELECT parameter")?.as_bytes() {
                b"CONDSTORE" => select.condstore = true,
                b"QRESYNC" => select.qresync = Some(qresync(p)?),
                _ => return p.expected("CONDSTORE or QRESYNC"),
            }
            Ok(())
        })?;
    }
    Ok(Body::Select(select))
}

/// ```abnf
/// seq-match-data       = "(" known-sequence-set SP known-uid-set ")"
/// known-uids           = sequence-set        ; "*" is not allowed
/// ```
fn qresync(p: &mut Parser<'_>) -> Result<Qresync> {
    p.space()?;
    p.open()?;
    let uid_validity = p.nz_number()?;
    p.space()?;
    let mod_seq = p.number64()?;
    let mut qresync = Qresync { uid_validity, mod_seq, known_uids: None, sequence_match: None };
    if p.rest().starts_with(b" ") && !p.rest().starts_with(b" (") {
        p.space()?;
        qresync.known_uids = Some(known(p)?);
    }
    if p.eat(b' ') {
        p.open()?;
        let numbers = known(p)?;
        p.space()?;
        let uids = known(p)?;
        p.close()?;
        qresync.sequence_match = Some((numbers, uids));
    }
    p.close()?;
    Ok(qresync)
}

fn known(p: &mut Parser<'_>) -> Result<crate::value::SequenceSet> {
    let set = p.sequence_set()?;
    if let crate::value::SequenceSet::Ranges(ranges) = &set
        && !ranges.iter().any(|r| r.start.is_star() || r.end.is_star())
    {
        return Ok(set);
    }
    p.expected("a set of numbers without * and $")
}

/// ```abnf
/// create       = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"]
/// create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"                     ; RFC 6154 §6
/// ```
pub(crate) fn create(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let folder = p.folder()?;
    let mut special_use = Vec::new();
    if p.eat(b' ') {
        p.list(|p| {
            if !p.eat_text("USE ") {
                return p.expected("USE");
            }
            p.list_or_nothing(|p| {
                special_use.push(use_attribute(p)?);
                Ok(())
            })
        })?;
    }
    Ok(Body::Create { folder, special_use })
}

fn use_attribute(p: &mut Parser<'_>) -> Result<SpecialUse> {
    p.need(b'\\', "a special-use attribute")?;
    Ok(match p.word("a special-use attribute")?.as_bytes() {
        b"ALL" => SpecialUse::All,
        b"ARCHIVE" => SpecialUse::Archive,
        b"DRAFTS" => SpecialUse::Drafts,
        b"FLAGGED" => SpecialUse::Flagged,
        b"IMPORTANT" => SpecialUse::Important,
        b"JUNK" => SpecialUse::Junk,
        b"SENT" => SpecialUse::Sent,
        b"TRASH" => SpecialUse::Trash,
        _ => return Err(Problem::UnknownUse),
    })
}

/// ```abnf
/// status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
/// ```
pub(crate) fn status(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let folder = p.folder()?;
    p.space()?;
    Ok(Body::Status { folder, items: status_items(p)? })
}

/// The items once each, in the order given.
pub(crate) fn status_items(p: &mut Parser<'_>) -> Result<Vec<StatusItem>> {
    let mut items = Vec::new();
    p.list(|p| {
        let item = match p.word("a STATUS item")?.as_bytes() {
            b"MESSAGES" => StatusItem::Messages,
            b"RECENT" => StatusItem::Recent,
            b"UIDNEXT" => StatusItem::UidNext,
            b"UIDVALIDITY" => StatusItem::UidValidity,
            b"UNSEEN" => StatusItem::Unseen,
            b"DELETED" => StatusItem::Deleted,
            b"SIZE" => StatusItem::Size,
            b"HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            b"MAILBOXID" => StatusItem::MailboxId,
            b"APPENDLIMIT" => StatusItem::AppendLimit,
            b"DELETED-STORAGE" => StatusItem::DeletedStorage,
            _ => return p.expected("a STATUS item"),
        };
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    Ok(items)
}

impl StatusItem {
    pub fn as_str(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::MailboxId => "MAILBOXID",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
        }
    }
}

pub(crate) fn print_select(p: &mut Printer<'_>, select: &Select) {
    p.raw(if select.read_only { "EXAMINE " } else { "SELECT " }).folder(&select.folder);
    if !select.condstore && select.qresync.is_none() {
        return;
    }
    p.raw(" (").raw(if select.condstore { "CONDSTORE" } else { "" });
    if let Some(q) = &select.qresync {
        p.raw(if select.condstore { " " } else { "" });
        p.raw("QRESYNC (").number(q.uid_validity).raw(" ").number(q.mod_seq);
        if let Some(known) = &q.known_uids {
            p.raw(" ").sequence_set(known);
        }
        if let Some((numbers, uids)) = &q.sequence_match {
            p.raw(" (").sequence_set(numbers).raw(" ").sequence_set(uids).raw(")");
        }
        p.raw(")");
    }
    p.raw(")");
}

pub(crate) fn print_create(
    p: &mut Printer<'_>,
    folder: &crate::value::FolderName,
    special_use: &[SpecialUse],
) {
    p.raw("CREATE ").folder(folder);
    if !special_use.is_empty() {
        p.raw(" (USE ");
        p.list(special_use, |p, special| {
            p.raw(special.as_str());
        });
        p.raw(")");
    }
}

pub(crate) fn print_status_items(p: &mut Printer<'_>, items: &[StatusItem]) {
    p.list(items, |p, item| {
        p.raw(item.as_str());
    });
}
