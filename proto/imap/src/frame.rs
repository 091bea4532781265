//! Bytes → commands, before any grammar.
//!
//! The framer finds the ends of lines, follows literals, and keeps every limit of [`crate::limits`]. It copies nothing
//! when a command arrives whole and without literals: the event borrows from the input. Between commands it holds no
//! memory, so an idle connection costs the size of this struct. Messages of APPEND and REPLACE are never collected:
//! their announcement is an event, and their bytes pass through as slices of the input.
//!
//! Use: read bytes from the peer, call [`Framer::next`] until it gives `None`, read again. `None` means that all of the
//! input was taken, or that the framer waits for [`Framer::accept`] or [`Framer::refuse`].

use crate::limits;
use crate::value::Tag;
use memchr::{memchr, memrchr};

/// What the input amounts to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole command with its literals in it (`{n}` CRLF bytes), without the last CRLF. For [`crate::command::parse`].
    Command(&'a [u8]),
    /// A synchronising literal is to be collected: send a continuation request and go on.
    Continue,
    /// A message of APPEND or REPLACE begins. Decide with [`Framer::accept`] or [`Framer::refuse`].
    Message(MessageHead<'a>),
    /// Bytes of the accepted message. An empty message gives one empty event.
    Data { bytes: &'a [u8], last: bool },
    /// What follows the last message, without CRLF: empty, or the `)` of `UTF8 (…)`. The command is complete.
    MessageTail(&'a [u8]),
    /// The line asked for by [`Framer::expect_line`], without CRLF.
    Line(&'a [u8]),
    /// Something was over a limit. The framer skips what belongs to it by itself.
    Refused(Refusal),
}

/// The announcement of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct MessageHead<'a> {
    /// The command from its tag to `{n}`, or for further messages from the end of the message before.
    pub text: &'a [u8],
    /// Whether `text` begins with the tag: read it with [`crate::command::parse_append`], else with
    /// [`crate::command::parse_append_next`].
    pub first: bool,
    pub size: u64,
    /// The client waits for a continuation request before it sends the message.
    pub synchronising: bool,
}

/// Why input was refused and what to answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// To be answered `tag BAD`; without one, `* BAD`.
    pub tag: Option<Tag>,
    pub reason: Reason,
    /// The rest cannot be skipped within reason: say `* BYE` and close. [`Framer::next`] gives nothing more.
    pub close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    LineTooLong,
    LiteralTooLarge,
    TooManyLiterals,
}

impl Reason {
    /// A line for the client.
    pub fn text(self) -> &'static str {
        match self {
            Reason::LineTooLong => "Command line too long",
            Reason::LiteralTooLarge => "Literal too large",
            Reason::TooManyLiterals => "Too many literals in one command",
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Framer {
    /// What came of the command so far; empty between commands. While skipping a line, its last few bytes.
    buf: Vec<u8>,
    state: State,
    /// Where in `buf` the text after the last literal begins.
    text_from: usize,
    /// Bytes of the current command outside of literals; while skipping, bytes skipped.
    counted: u64,
    /// Literals of the current command.
    literals: usize,
    /// A message of this command was accepted: what comes is the text between or after messages.
    streaming: bool,
    /// `buf` was handed out and is of no more use.
    spent: bool,
    signed_in: bool,
    /// Of command lines after sign-in, where an administrator has set it.
    own_line_max: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// A bare line is expected, not a command.
    Line,
    /// Collecting a literal: bytes missing.
    Literal(u64),
    Decide(Announced),
    /// Passing a message on: bytes missing.
    Message(u64),
    /// Dropping a literal of a refused command, then the rest of its line.
    SkipLiteral(u64),
    SkipText,
    Closed,
}

/// `{n}`, `{n+}`, `~{n}` or `~{n+}` at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    size: u64,
    synchronising: bool,
}

/// Text that is complete: still in the input, or in the buffer.
enum Text<'a> {
    Direct(&'a [u8]),
    Buffered,
}

enum Step<'a> {
    Command(Text<'a>),
    Message(Text<'a>, bool, Announced),
    Tail(Text<'a>),
    Line(Text<'a>),
    Plain(Event<'a>),
}

/// How much of a skipped line's end is kept, to see whether a literal is announced there.
const ANNOUNCEMENT: usize = 32;

impl Framer {
    pub fn new() -> Framer {
        Framer::default()
    }

    /// From now on the limits for signed-in clients hold.
    pub fn signed_in(&mut self) {
        self.signed_in = true;
    }

    /// Command lines of signed-in clients may have so many bytes; never more than [`limits::LINE_MAX`].
    pub fn set_line_max(&mut self, bytes: usize) {
        self.own_line_max = Some(bytes.min(limits::LINE_MAX));
    }

    /// The next line is not a command: a SASL response, or the DONE of IDLE.
    pub fn expect_line(&mut self) {
        if self.state == State::Text {
            self.state = State::Line;
        }
    }

    /// Takes the announced message: its bytes follow as [`Event::Data`]. If it is synchronising, send a continuation
    /// request. Without a message to decide on, nothing happens.
    pub fn accept(&mut self) {
        if let State::Decide(announced) = self.state {
            self.release();
            self.streaming = true;
            self.counted = 0;
            self.text_from = 0;
            self.state = State::Message(announced.size);
        }
    }

    /// Refuses the announced message, or gives up the one being received, and with it the whole command: its tagged
    /// answer may be sent at once. Returns false if so much is on its way that the connection is better closed.
    #[must_use]
    pub fn refuse(&mut self) -> bool {
        match self.state {
            // RFC 9051 §4.3: the client has not sent anything yet and, seeing a tagged answer, will not.
            State::Decide(Announced { synchronising: true, .. }) => self.begin(),
            State::Decide(Announced { size: left, .. }) | State::Message(left) => {
                self.begin();
                if left > self.skip_max() {
                    self.state = State::Closed;
                    return false;
                }
                self.state = State::SkipLiteral(left);
            }
            _ => {}
        }
        true
    }

    /// Bytes held for this connection beyond the struct itself.
    pub fn held(&self) -> usize {
        self.buf.capacity()
    }

    /// Takes bytes off the front of `input` until something can be said.
    pub fn next<'f, 'i: 'f>(&'f mut self, input: &mut &'i [u8]) -> Option<Event<'f>> {
        if self.spent {
            self.release();
        }
        let step = self.step(input)?;
        let direct = match &step {
            Step::Command(t) | Step::Message(t, ..) | Step::Tail(t) | Step::Line(t) => match t {
                Text::Direct(text) => Some(*text),
                Text::Buffered => None,
            },
            Step::Plain(_) => Some(&[][..]),
        };
        self.spent = direct.is_none();
        let text = direct.unwrap_or(&self.buf);
        Some(match step {
            Step::Command(_) => Event::Command(text),
            Step::Message(_, first, a) => {
                Event::Message(MessageHead { text, first, size: a.size, synchronising: a.synchronising })
            }
            Step::Tail(_) => Event::MessageTail(text),
            Step::Line(_) => Event::Line(text),
            Step::Plain(event) => event,
        })
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Option<Step<'a>> {
        loop {
            match self.state {
                State::Closed => {
                    *input = &[];
                    return None;
                }
                State::Decide(_) => return None,
                State::Message(left) => {
                    let bytes = take(input, left);
                    if bytes.is_empty() && left > 0 {
                        return None;
                    }
                    let left = left - bytes.len() as u64;
                    self.state = if left == 0 { State::Text } else { State::Message(left) };
                    return Some(Step::Plain(Event::Data { bytes, last: left == 0 }));
                }
                State::Literal(left) => {
                    let bytes = take(input, left);
                    self.buf.extend_from_slice(bytes);
                    let left = left - bytes.len() as u64;
                    self.text_from = self.buf.len();
                    self.state = if left == 0 { State::Text } else { State::Literal(left) };
                }
                State::SkipLiteral(left) => {
                    let left = left - take(input, left).len() as u64;
                    self.state = if left == 0 { State::SkipText } else { State::SkipLiteral(left) };
                }
                State::SkipText => {
                    if let Some(refusal) = self.skip_text(input) {
                        return Some(Step::Plain(Event::Refused(refusal)));
                    }
                }
                State::Text | State::Line => match self.text(input) {
                    Some(step) => return Some(step),
                    None if input.is_empty() => return None,
                    None => {}
                },
            }
            if input.is_empty() && !matches!(self.state, State::Message(0)) {
                return None;
            }
        }
    }

    /// Takes a line, or the part of it that is there.
    fn text<'a>(&mut self, input: &mut &'a [u8]) -> Option<Step<'a>> {
        let all: &'a [u8] = input;
        let end = memchr(b'\n', all);
        let (part, rest) = all.split_at(end.map_or(all.len(), |at| at + 1));
        *input = rest;
        self.counted += part.len() as u64;
        let short = self.own_line_max.unwrap_or(limits::LINE_MAX).min(limits::LINE_BEFORE_LOGIN_MAX);
        if self.counted > short as u64 && self.counted > self.line_max(part) {
            return Some(Step::Plain(Event::Refused(self.over(Reason::LineTooLong, part, end.is_some()))));
        }
        if end.is_none() {
            self.buf.extend_from_slice(part);
            return None;
        }
        if self.buf.is_empty() {
            let line = without_newline(part);
            return self.line_ended(Text::Direct(line), line, line, part);
        }
        self.buf.extend_from_slice(part);
        let whole = std::mem::take(&mut self.buf);
        let after_literal = without_newline(whole.get(self.text_from..).unwrap_or_default());
        let line = whole.get(..self.text_from + after_literal.len()).unwrap_or_default();
        let step = self.line_ended(Text::Buffered, line, after_literal, &[]);
        let length = line.len();
        self.buf = whole;
        match &step {
            None | Some(Step::Plain(Event::Continue)) => self.text_from = self.buf.len(),
            Some(Step::Plain(_)) => self.release(),
            Some(_) => self.buf.truncate(length),
        }
        step
    }

    /// `line` is the text so far without the newline, `tail` what of it follows the last literal, and `raw` all of it
    /// with the newline if it is not in the buffer yet.
    fn line_ended<'a>(&mut self, text: Text<'a>, line: &[u8], tail: &[u8], raw: &[u8]) -> Option<Step<'a>> {
        if self.state == State::Line {
            self.begin_keeping();
            return Some(Step::Line(text));
        }
        let Some(announced) = announced(tail) else {
            let streaming = self.streaming;
            self.begin_keeping();
            return Some(if streaming { Step::Tail(text) } else { Step::Command(text) });
        };
        if self.streaming || announces_message(line, self.literals) {
            let first = !self.streaming;
            self.state = State::Decide(announced);
            return Some(Step::Message(text, first, announced));
        }
        self.literals += 1;
        let size_max = if self.signed_in { limits::LITERAL_MAX } else { limits::LITERAL_BEFORE_LOGIN_MAX };
        let held = line.len() as u64 + announced.size.min(u64::from(u32::MAX));
        let reason = if announced.size > size_max || held > limits::COMMAND_MAX as u64 {
            Reason::LiteralTooLarge
        } else if self.literals > limits::LITERALS_PER_COMMAND {
            Reason::TooManyLiterals
        } else {
            self.buf.extend_from_slice(raw);
            self.text_from = self.buf.len();
            self.state = if announced.size == 0 { State::Text } else { State::Literal(announced.size) };
            return announced.synchronising.then_some(Step::Plain(Event::Continue));
        };
        let tag = tag_of(line);
        self.begin_keeping();
        let mut close = false;
        if !announced.synchronising {
            close = announced.size > self.skip_max();
            self.state = if close { State::Closed } else { State::SkipLiteral(announced.size) };
        }
        Some(Step::Plain(Event::Refused(Refusal { tag, reason, close })))
    }

    /// Drops text until the line ends and announces no further literal.
    fn skip_text(&mut self, input: &mut &[u8]) -> Option<Refusal> {
        let end = memchr(b'\n', input);
        let (part, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        *input = rest;
        self.counted += part.len() as u64;
        self.buf.extend_from_slice(part.get(part.len().saturating_sub(ANNOUNCEMENT)..).unwrap_or_default());
        let excess = self.buf.len().saturating_sub(ANNOUNCEMENT);
        self.buf.drain(..excess);
        let announced = if end.is_some() { announced(without_newline(&self.buf)) } else { None };
        let too_much = match announced {
            Some(Announced { size, synchronising: false }) => size > self.skip_max(),
            _ => self.counted > limits::SKIP_MAX,
        };
        if too_much {
            self.begin();
            self.state = State::Closed;
            return Some(Refusal { tag: None, reason: Reason::LineTooLong, close: true });
        }
        match announced {
            Some(Announced { size, synchronising: false }) => {
                self.release();
                self.state = State::SkipLiteral(size);
            }
            _ if end.is_some() => self.begin(),
            _ => {}
        }
        None
    }

    fn over(&mut self, reason: Reason, part: &[u8], ended: bool) -> Refusal {
        let tag = if self.state == State::Line || self.streaming {
            None
        } else if self.buf.is_empty() {
            tag_of(part)
        } else {
            tag_of(&self.buf)
        };
        self.begin();
        if !ended {
            self.state = State::SkipText;
            self.buf
                .extend_from_slice(part.get(part.len().saturating_sub(ANNOUNCEMENT)..).unwrap_or_default());
        } else if let Some(Announced { size, synchronising: false }) = announced(without_newline(part)) {
            let close = size > self.skip_max();
            self.state = if close { State::Closed } else { State::SkipLiteral(size) };
            return Refusal { tag, reason, close };
        }
        Refusal { tag, reason, close: false }
    }

    fn line_max(&self, part: &[u8]) -> u64 {
        let text = if self.buf.is_empty() { part } else { &self.buf };
        // A Kerberos ticket may come as the initial response.
        let sasl = || word(text, 1).is_some_and(|w| w.eq_ignore_ascii_case(b"AUTHENTICATE"));
        let max = match self.signed_in {
            _ if self.state == State::Line || sasl() => limits::SASL_LINE_MAX,
            true => self.own_line_max.unwrap_or(limits::LINE_MAX),
            false => limits::LINE_BEFORE_LOGIN_MAX,
        };
        max as u64
    }

    fn skip_max(&self) -> u64 {
        if self.signed_in { limits::SKIP_SIGNED_IN_MAX } else { limits::SKIP_MAX }
    }

    /// Ready for the next command, nothing held.
    fn begin(&mut self) {
        self.release();
        self.begin_keeping();
    }

    fn begin_keeping(&mut self) {
        self.state = State::Text;
        self.counted = 0;
        self.literals = 0;
        self.text_from = 0;
        self.streaming = false;
    }

    fn release(&mut self) {
        self.buf = Vec::new();
        self.spent = false;
    }
}

fn take<'a>(input: &mut &'a [u8], at_most: u64) -> &'a [u8] {
    let n = usize::try_from(at_most).unwrap_or(usize::MAX).min(input.len());
    let (taken, rest) = input.split_at(n);
    *input = rest;
    taken
}

/// A bare LF ends a line too: some tools send it, and nothing in IMAP depends on the difference.
fn without_newline(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The literal announced at the end of a line. A number too large for 64 bits is the largest there is: it fails every limit.
///
/// ```abnf
/// literal  = "{" number64 ["+"] "}" CRLF *CHAR8
/// literal8 = "~{" number64 ["+"] "}" CRLF *OCTET
/// ```
fn announced(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let open = memrchr(b'{', inner)?;
    let inner = inner.get(open + 1..)?;
    let (digits, synchronising) = match inner.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inner, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    Some(Announced { size, synchronising })
}

/// Whether the literal at the end of a command's text is a message, not a folder's name.
///
/// ```abnf
/// append  = "APPEND" SP mailbox 1*append-message
/// replace = ["UID" SP] "REPLACE" SP seq-number SP mailbox append-message
/// ```
fn announces_message(line: &[u8], literals: usize) -> bool {
    let is = |at, name: &str| word(line, at).is_some_and(|w| w.eq_ignore_ascii_case(name.as_bytes()));
    let mailbox_at = if is(1, "APPEND") {
        2
    } else if is(1, "REPLACE") {
        3
    } else if is(1, "UID") && is(2, "REPLACE") {
        4
    } else {
        return false;
    };
    // The folder's name may itself have come as a literal; then this one comes after it.
    literals > 0 || !word(line, mailbox_at).is_some_and(|w| w.starts_with(b"{") || w.starts_with(b"~{"))
}

fn word(line: &[u8], at: usize) -> Option<&[u8]> {
    line.split(|&b| b == b' ').nth(at)
}

fn tag_of(line: &[u8]) -> Option<Tag> {
    Tag::new(word(line, 0)?)
}
