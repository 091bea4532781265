//! The heads of APPEND and REPLACE. Their messages are streamed: see [`crate::frame::Event::Message`].

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Append, AppendMessage, Dialect, ParseError, Problem, Replace};
use crate::value::SequenceSet;

/// Reads a command from its tag to the announcement of its first message.
///
/// ```abnf
/// append  = "APPEND" SP mailbox 1*append-message
/// replace = ["UID" SP] "REPLACE" SP seq-number SP mailbox append-message        ; RFC 8508 §8
/// ```
///
/// # Errors
/// As [`super::parse`]. The message is then to be refused.
pub fn parse_append(text: &[u8], dialect: Dialect) -> std::result::Result<Append, ParseError> {
    let mut p = Parser::new(text, dialect);
    let tag = super::tag(&mut p)?;
    match head(&mut p) {
        Ok((replace, folder, message)) => Ok(Append { tag, folder, replace, message }),
        Err(problem) => Err(ParseError { tag: Some(tag), problem }),
    }
}

fn head(p: &mut Parser<'_>) -> Result<(Option<Replace>, crate::value::FolderName, AppendMessage)> {
    let mut word = p.word("a command")?;
    let uid = word.as_bytes() == b"UID";
    if uid {
        p.space()?;
        word = p.word("REPLACE")?;
    }
    let replace = match (word.as_bytes(), uid) {
        (b"APPEND", false) => None,
        (b"REPLACE", uid) => {
            p.space()?;
            let set = p.sequence_set()?;
            if !is_one(&set) {
                return p.expected("one message number");
            }
            Some(Replace { uid, set })
        }
        _ => return Err(Problem::UnknownCommand),
    };
    p.space()?;
    let folder = p.folder()?;
    Ok((replace, folder, message(p)?))
}

fn is_one(set: &SequenceSet) -> bool {
    matches!(set, SequenceSet::Ranges(ranges) if matches!(&ranges[..], [one] if one.start == one.end))
}

/// Reads what stands between two messages of MULTIAPPEND (RFC 3502). `after_utf8`: the message before was in `UTF8 (…)`.
///
/// # Errors
/// What was expected; the tag is the command's.
pub fn parse_append_next(text: &[u8], after_utf8: bool, dialect: Dialect) -> Result<AppendMessage> {
    let mut p = Parser::new(text, dialect);
    if after_utf8 {
        p.close()?;
    }
    message(&mut p)
}

/// Checks what follows the last message ([`crate::frame::Event::MessageTail`]).
///
/// # Errors
/// What was expected; the tag is the command's, and none of its messages may be kept.
pub fn parse_append_end(text: &[u8], after_utf8: bool) -> Result<()> {
    let mut p = Parser::new(text, Dialect::default());
    if after_utf8 {
        p.close()?;
    }
    p.end()
}

/// ```abnf
/// append-message  = [SP flag-list] [SP date-time] SP append-data
/// append-data     = literal / literal8 / append-data-ext
/// append-data-ext = "UTF8" SP "(" literal8 ")"                                  ; RFC 6855 §4
/// ```
fn message(p: &mut Parser<'_>) -> Result<AppendMessage> {
    p.space()?;
    let mut flags = Vec::new();
    if p.peek() == Some(b'(') {
        flags = p.flag_list()?;
        p.space()?;
    }
    let mut date = None;
    if p.peek() == Some(b'"') {
        date = Some(p.date_time()?);
        p.space()?;
    }
    let utf8 = p.eat_text("UTF8 (");
    let binary = p.eat(b'~');
    if utf8 && !binary {
        return p.expected("a literal8");
    }
    p.need(b'{', "a literal")?;
    let size = p.number64()?;
    let synchronising = !p.eat(b'+');
    p.need(b'}', "the end of a literal's length")?;
    p.end()?;
    Ok(AppendMessage { flags, date, size, binary, utf8, synchronising })
}

impl Append {
    /// Appends the head in wire form, with the newline after `{n}`: the message's bytes follow it, then for the last message
    /// (`)` after `UTF8 (…)` and) CRLF.
    pub fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) {
        let mut p = Printer { out, dialect };
        p.raw(self.tag.as_str()).raw(" ");
        match &self.replace {
            None => p.raw("APPEND "),
            Some(replace) => p
                .raw(if replace.uid { "UID REPLACE " } else { "REPLACE " })
                .sequence_set(&replace.set)
                .raw(" "),
        };
        p.folder(&self.folder);
        self.message.encode(out);
    }
}

impl AppendMessage {
    /// Appends the announcement in wire form, from the space before it to the newline after `{n}`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut p = Printer { out, dialect: Dialect::default() };
        p.raw(" ");
        if !self.flags.is_empty() {
            p.flag_list(&self.flags).raw(" ");
        }
        if let Some(date) = self.date {
            p.date_time(date).raw(" ");
        }
        p.raw(if self.utf8 { "UTF8 (" } else { "" }).raw(if self.binary { "~" } else { "" });
        p.raw("{").number(self.size).raw(if self.synchronising { "}\r\n" } else { "+}\r\n" });
    }
}
