//! SEARCH: its keys, charsets and results.

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Body, Problem, Search, SearchKey, SearchReturn};
use crate::limits;
use crate::value::{Flag, Keyword};

/// Charsets that a search may come in.
pub const CHARSETS: [&str; 2] = ["US-ASCII", "UTF-8"];

/// ```abnf
/// search         = "SEARCH" [search-return-opts] SP search-program
/// search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
/// ```
pub(crate) fn search(p: &mut Parser<'_>, uid: bool) -> Result<Body> {
    p.space()?;
    let returns = return_options(p)?;
    let names_charset = p.eat_text("CHARSET ");
    if names_charset {
        charset(p, returns)?;
        p.space()?;
    }
    Ok(Body::Search(Search { uid, returns, names_charset, key: program(p)? }))
}

/// ```abnf
/// search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"
/// ```
/// Begins after the first space and ends after the one that follows.
pub(crate) fn return_options(p: &mut Parser<'_>) -> Result<Option<SearchReturn>> {
    if !p.eat_text("RETURN ") {
        return Ok(None);
    }
    let mut returns = SearchReturn::default();
    p.list_or_nothing(|p| {
        match p.word("a result option")?.as_bytes() {
            b"MIN" => returns.min = true,
            b"MAX" => returns.max = true,
            b"ALL" => returns.all = true,
            b"COUNT" => returns.count = true,
            b"SAVE" => returns.save = true,
            _ => return p.expected("a result option"),
        }
        Ok(())
    })?;
    p.space()?;
    Ok(Some(returns))
}

/// `charset = atom / quoted`. All charsets that are ASCII or UTF-8 read the same.
pub(crate) fn charset(p: &mut Parser<'_>, returns: Option<SearchReturn>) -> Result<()> {
    let name = p.astring()?;
    let known = CHARSETS.iter().chain(&["ASCII", "UTF8"]).any(|c| c.as_bytes().eq_ignore_ascii_case(&name));
    let saving = returns.is_some_and(|r| r.save);
    if known { Ok(()) } else { Err(Problem::BadCharset { saving }) }
}

/// All keys to the end of the command, of which all must hold.
pub(crate) fn program(p: &mut Parser<'_>) -> Result<SearchKey> {
    let first = key(p, 0)?;
    if p.rest().is_empty() {
        return Ok(first);
    }
    let mut keys = vec![first];
    while !p.rest().is_empty() {
        p.space()?;
        keys.push(key(p, 0)?);
    }
    Ok(SearchKey::And(keys))
}

/// ```abnf
/// search-key = "ALL" / … / "OR" SP search-key SP search-key / sequence-set / "(" search-key *(SP search-key) ")"
/// ```
fn key(p: &mut Parser<'_>, depth: usize) -> Result<SearchKey> {
    if depth == limits::SEARCH_DEPTH {
        return p.too_large("Nesting of search keys");
    }
    match p.peek() {
        Some(b'(') => {
            let mut keys = Vec::new();
            p.list(|p| {
                keys.push(key(p, depth + 1)?);
                Ok(())
            })?;
            return Ok(SearchKey::And(keys));
        }
        Some(b'0'..=b'9' | b'*' | b'$') => return Ok(SearchKey::Sequence(p.sequence_set()?)),
        _ => {}
    }
    let word = p.word("a search key")?;
    if let Some(simple) = simple(word.as_bytes()) {
        return Ok(simple);
    }
    p.space()?;
    match word.as_bytes() {
        b"NOT" => Ok(SearchKey::Not(Box::new(key(p, depth + 1)?))),
        b"OR" => {
            let left = key(p, depth + 1)?;
            p.space()?;
            Ok(SearchKey::Or(Box::new(left), Box::new(key(p, depth + 1)?)))
        }
        word => with_argument(p, word),
    }
}

fn simple(word: &[u8]) -> Option<SearchKey> {
    Some(match word {
        b"ALL" => SearchKey::All,
        b"ANSWERED" => SearchKey::Flag(Flag::Answered),
        b"DELETED" => SearchKey::Flag(Flag::Deleted),
        b"DRAFT" => SearchKey::Flag(Flag::Draft),
        b"FLAGGED" => SearchKey::Flag(Flag::Flagged),
        b"SEEN" => SearchKey::Flag(Flag::Seen),
        b"RECENT" => SearchKey::Flag(Flag::Recent),
        b"UNANSWERED" => SearchKey::NotFlag(Flag::Answered),
        b"UNDELETED" => SearchKey::NotFlag(Flag::Deleted),
        b"UNDRAFT" => SearchKey::NotFlag(Flag::Draft),
        b"UNFLAGGED" => SearchKey::NotFlag(Flag::Flagged),
        b"UNSEEN" => SearchKey::NotFlag(Flag::Seen),
        b"OLD" => SearchKey::NotFlag(Flag::Recent),
        b"NEW" => SearchKey::New,
        b"SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
        _ => return None,
    })
}

fn with_argument(p: &mut Parser<'_>, word: &[u8]) -> Result<SearchKey> {
    Ok(match word {
        b"BCC" => SearchKey::Bcc(p.text()?),
        b"CC" => SearchKey::Cc(p.text()?),
        b"FROM" => SearchKey::From(p.text()?),
        b"TO" => SearchKey::To(p.text()?),
        b"SUBJECT" => SearchKey::Subject(p.text()?),
        b"BODY" => SearchKey::Body(p.text()?),
        b"TEXT" => SearchKey::Text(p.text()?),
        b"HEADER" => {
            let name = p.text()?;
            p.space()?;
            SearchKey::Header(name, p.text()?)
        }
        b"KEYWORD" => SearchKey::Flag(keyword(p)?),
        b"UNKEYWORD" => SearchKey::NotFlag(keyword(p)?),
        b"BEFORE" => SearchKey::Before(p.date()?),
        b"ON" => SearchKey::On(p.date()?),
        b"SINCE" => SearchKey::Since(p.date()?),
        b"SENTBEFORE" => SearchKey::SentBefore(p.date()?),
        b"SENTON" => SearchKey::SentOn(p.date()?),
        b"SENTSINCE" => SearchKey::SentSince(p.date()?),
        b"SAVEDBEFORE" => SearchKey::SavedBefore(p.date()?),
        b"SAVEDON" => SearchKey::SavedOn(p.date()?),
        b"SAVEDSINCE" => SearchKey::SavedSince(p.date()?),
        b"LARGER" => SearchKey::Larger(p.number64()?),
        b"SMALLER" => SearchKey::Smaller(p.number64()?),
        b"OLDER" => SearchKey::Older(p.nz_number()?),
        b"YOUNGER" => SearchKey::Younger(p.nz_number()?),
        b"UID" => SearchKey::Uid(p.sequence_set()?),
        b"MODSEQ" => mod_seq(p)?,
        b"EMAILID" => SearchKey::EmailId(p.text()?),
        b"THREADID" => SearchKey::ThreadId(p.text()?),
        _ => return p.expected("a search key"),
    })
}

fn keyword(p: &mut Parser<'_>) -> Result<Flag> {
    let name = p.atom("a keyword")?;
    match Keyword::new(name.as_bytes()) {
        Some(keyword) => Ok(Flag::Keyword(keyword)),
        None => p.too_large("Keyword"),
    }
}

/// ```abnf
/// search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer     ; RFC 7162 §7
/// search-modseq-ext  = SP entry-name SP entry-type-req
/// ```
fn mod_seq(p: &mut Parser<'_>) -> Result<SearchKey> {
    if !p.peek().is_some_and(|b| b.is_ascii_digit()) {
        p.string()?;
        p.space()?;
        if !["shared", "priv", "all"].iter().any(|kind| p.eat_text(kind)) {
            return p.expected("shared, priv or all");
        }
        p.space()?;
    }
    Ok(SearchKey::ModSeq(p.number64()?))
}

impl SearchKey {
    /// Whether the key, anywhere in it, asks for a mod-sequence, which turns CONDSTORE on (RFC 7162 §3.1).
    pub fn uses_mod_seq(&self) -> bool {
        match self {
            SearchKey::ModSeq(_) => true,
            SearchKey::Not(key) => key.uses_mod_seq(),
            SearchKey::Or(a, b) => a.uses_mod_seq() || b.uses_mod_seq(),
            SearchKey::And(keys) => keys.iter().any(SearchKey::uses_mod_seq),
            _ => false,
        }
    }
}

pub(crate) fn print_return(p: &mut Printer<'_>, returns: Option<SearchReturn>) {
    if let Some(r) = returns {
        p.raw("RETURN ");
        p.options(&[(r.min, "MIN"), (r.max, "MAX"), (r.all, "ALL"), (r.count, "COUNT"), (r.save, "SAVE")]);
        p.raw(" ");
    }
}

/// The whole program; a conjunction at the top needs no parentheses, unless it would then read as a single key.
pub(crate) fn print_program(p: &mut Printer<'_>, key: &SearchKey) {
    match key {
        SearchKey::And(keys) if keys.len() > 1 => {
            for (i, key) in keys.iter().enumerate() {
                p.raw(if i > 0 { " " } else { "" });
                print_key(p, key);
            }
        }
        key => print_key(p, key),
    }
}

fn print_key(p: &mut Printer<'_>, key: &SearchKey) {
    match key {
        SearchKey::All => p.raw("ALL"),
        SearchKey::New => p.raw("NEW"),
        SearchKey::SaveDateSupported => p.raw("SAVEDATESUPPORTED"),
        SearchKey::And(keys) => p.list(keys, print_key),
        SearchKey::Or(a, b) => {
            p.raw("OR ");
            print_key(p, a);
            p.raw(" ");
            print_key(p, b);
            p
        }
        SearchKey::Not(key) => {
            p.raw("NOT ");
            print_key(p, key);
            p
        }
        SearchKey::Sequence(set) => p.sequence_set(set),
        SearchKey::Uid(set) => p.raw("UID ").sequence_set(set),
        SearchKey::Flag(Flag::Keyword(k)) => p.raw("KEYWORD ").raw(k.as_str()),
        SearchKey::NotFlag(Flag::Keyword(k)) => p.raw("UNKEYWORD ").raw(k.as_str()),
        SearchKey::NotFlag(Flag::Recent) => p.raw("OLD"),
        SearchKey::Flag(flag) => p.raw(&flag.name().to_ascii_uppercase()),
        SearchKey::NotFlag(flag) => p.raw("UN").raw(&flag.name().to_ascii_uppercase()),
        SearchKey::Header(name, text) => {
            p.raw("HEADER ").astring(name.as_bytes()).raw(" ").astring(text.as_bytes())
        }
        SearchKey::Larger(n) => p.raw("LARGER ").number(*n),
        SearchKey::Smaller(n) => p.raw("SMALLER ").number(*n),
        SearchKey::Older(n) => p.raw("OLDER ").number(*n),
        SearchKey::Younger(n) => p.raw("YOUNGER ").number(*n),
        SearchKey::ModSeq(n) => p.raw("MODSEQ ").number(*n),
        key => print_argument(p, key),
    };
}

fn print_argument<'p, 'o>(p: &'p mut Printer<'o>, key: &SearchKey) -> &'p mut Printer<'o> {
    let (name, text) = match key {
        SearchKey::Bcc(text) => ("BCC ", text),
        SearchKey::Cc(text) => ("CC ", text),
        SearchKey::From(text) => ("FROM ", text),
        SearchKey::To(text) => ("TO ", text),
        SearchKey::Subject(text) => ("SUBJECT ", text),
        SearchKey::Body(text) => ("BODY ", text),
        SearchKey::Text(text) => ("TEXT ", text),
        SearchKey::EmailId(text) => ("EMAILID ", text),
        SearchKey::ThreadId(text) => ("THREADID ", text),
        dated => {
            let (name, date) = match dated {
                SearchKey::Before(date) => ("BEFORE ", date),
                SearchKey::On(date) => ("ON ", date),
                SearchKey::Since(date) => ("SINCE ", date),
                SearchKey::SentBefore(date) => ("SENTBEFORE ", date),
                SearchKey::SentOn(date) => ("SENTON ", date),
                SearchKey::SentSince(date) => ("SENTSINCE ", date),
                SearchKey::SavedBefore(date) => ("SAVEDBEFORE ", date),
                SearchKey::SavedOn(date) => ("SAVEDON ", date),
                SearchKey::SavedSince(date) => ("SAVEDSINCE ", date),
                // All others were written by the caller.
                _ => return p,
            };
            p.raw(name).date(*date);
            return p;
        }
    };
    p.raw(name).astring(text.as_bytes())
}
