//! The session: what the filter wants to know, what it was asked, what it may still say.

use crate::answer;
use crate::flags::{action, protocol};
use crate::limits;
use crate::packet::{self, Fields, Packets};
use crate::types::{Change, Config, Error, Event, Origin, Sent, Stage, VERSION, Verdict};
use std::collections::BTreeMap;

/// One connection to a filter.
#[derive(Debug)]
pub struct Session {
    config: Config,
    packets: Packets,
    waiting: Option<Stage>,
    version: u32,
    actions: u32,
    protocol: u32,
    /// Macros that the filter named for a stage; for other stages it gets all.
    wanted: BTreeMap<u32, Vec<String>>,
    /// The filter wants to hear no more of this message, or of this connection.
    message_over: bool,
    connection_over: bool,
    body_over: bool,
    changes: u32,
    change_octets: usize,
    body_octets: usize,
}

/// Values that a filter may ask for by name, such as `i` or `{client_addr}`; for `connect`, `helo`, `mail`, `rcpt`, `data`
/// and the end of header and message.
pub type Macros<'a> = &'a [(&'a str, &'a str)];

impl Session {
    pub fn new(config: Config) -> Session {
        Session {
            config,
            packets: Packets::default(),
            waiting: None,
            version: 0,
            actions: 0,
            protocol: 0,
            wanted: BTreeMap::new(),
            message_over: false,
            connection_over: false,
            body_over: false,
            changes: 0,
            change_octets: 0,
            body_octets: 0,
        }
    }

    /// The first thing that is said. [`Event::Ready`] follows.
    pub fn negotiate(&mut self, out: &mut Vec<u8>) -> Sent {
        packet::write(out, b'O', |out| {
            for number in [VERSION, self.config.actions & action::ALL, protocol::OFFER] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        });
        self.wait(Stage::Negotiation)
    }

    /// What the filter may do, as settled: bits of [`action`].
    pub fn actions(&self) -> u32 {
        self.actions
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// The step at which the filter's word is waited for.
    pub fn waiting(&self) -> Option<Stage> {
        self.waiting
    }

    /// The filter wants to see neither header nor body of this message any more; `end_of_message` is not needed either.
    pub fn is_over(&self) -> bool {
        self.message_over || self.connection_over
    }

    /// The filter is not interested in pieces of the body (any more).
    pub fn wants_body(&self) -> bool {
        self.protocol & protocol::NO_BODY == 0 && !self.body_over && !self.is_over()
    }

    /// Who connected. `host`: the name that the address has, or the address in brackets.
    pub fn connect(&mut self, host: &str, origin: Origin<'_>, macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        if self.skips(protocol::NO_CONNECT, false) {
            return Sent::Skipped;
        }
        self.macros(b'C', 0, macros, out);
        packet::write(out, b'C', |out| {
            packet::string(out, host.as_bytes());
            match origin {
                Origin::Socket(address) => {
                    let ip = address.ip().to_canonical();
                    out.push(if ip.is_ipv4() { b'4' } else { b'6' });
                    out.extend_from_slice(&address.port().to_be_bytes());
                    packet::string(out, ip.to_string().as_bytes());
                }
                Origin::Local(path) => {
                    out.extend_from_slice(b"L\0\0");
                    packet::string(out, path.as_bytes());
                }
                Origin::Unknown => out.push(b'U'),
            }
        });
        self.answered(protocol::SILENT_CONNECT, Stage::Connect)
    }

    pub fn helo(&mut self, name: &str, macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        if self.skips(protocol::NO_HELO, false) {
            return Sent::Skipped;
        }
        self.macros(b'H', 1, macros, out);
        packet::write(out, b'H', |out| packet::string(out, name.as_bytes()));
        self.answered(protocol::SILENT_HELO, Stage::Helo)
    }

    /// A message begins. `path` with its brackets, `parameters` as `SIZE=5`.
    pub fn mail(&mut self, path: &str, parameters: &[&str], macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        self.message_over = false;
        self.body_over = false;
        (self.changes, self.change_octets, self.body_octets) = (0, 0, 0);
        if self.skips(protocol::NO_MAIL, true) {
            return Sent::Skipped;
        }
        self.macros(b'M', 2, macros, out);
        packet::write(out, b'M', |out| strings(out, path, parameters));
        self.answered(protocol::SILENT_MAIL, Stage::Mail)
    }

    pub fn rcpt(&mut self, path: &str, parameters: &[&str], macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        if self.skips(protocol::NO_RCPT, true) {
            return Sent::Skipped;
        }
        self.macros(b'R', 3, macros, out);
        packet::write(out, b'R', |out| strings(out, path, parameters));
        self.answered(protocol::SILENT_RCPT, Stage::Rcpt)
    }

    pub fn data(&mut self, macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        // Filters of versions 2 and 3 do not know it.
        if self.version < 4 || self.skips(protocol::NO_DATA, true) {
            return Sent::Skipped;
        }
        self.macros(b'T', 4, macros, out);
        packet::write(out, b'T', |_| {});
        self.answered(protocol::SILENT_DATA, Stage::Data)
    }

    /// One field of the header: `value` is what stands behind the colon, without the last line end.
    pub fn header(&mut self, name: &str, value: &[u8], out: &mut Vec<u8>) -> Sent {
        if self.skips(protocol::NO_HEADERS, true) {
            return Sent::Skipped;
        }
        let leading = self.protocol & protocol::LEADING_SPACE != 0;
        let value = if leading { value } else { value.strip_prefix(b" ").unwrap_or(value) };
        let value = value.get(..limits::FIELD).unwrap_or(value);
        packet::write(out, b'L', |out| {
            packet::string(out, name.as_bytes());
            // Lines of a value end with LF alone here.
            let plain: Vec<u8> = value.iter().copied().filter(|b| *b != b'\r').collect();
            packet::string(out, &plain);
        });
        self.answered(protocol::SILENT_HEADER, Stage::Header)
    }

    pub fn end_of_headers(&mut self, macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        if self.skips(protocol::NO_END_OF_HEADERS, true) {
            return Sent::Skipped;
        }
        self.macros(b'N', 6, macros, out);
        packet::write(out, b'N', |_| {});
        self.answered(protocol::SILENT_END_OF_HEADERS, Stage::EndOfHeaders)
    }

    /// A piece of the body, of [`limits::CHUNK`] octets at most: a longer one is cut, so cut before. Lines end with CRLF.
    pub fn body(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Sent {
        if self.body_over || piece.is_empty() || self.skips(protocol::NO_BODY, true) {
            return Sent::Skipped;
        }
        packet::write(out, b'B', |out| out.extend_from_slice(piece.get(..limits::CHUNK).unwrap_or(piece)));
        self.answered(protocol::SILENT_BODY, Stage::Body)
    }

    /// The message is whole. [`Event::Change`]s and the verdict follow; always asked, unless the filter is done with it.
    pub fn end_of_message(&mut self, macros: Macros<'_>, out: &mut Vec<u8>) -> Sent {
        if self.skips(0, true) {
            return Sent::Skipped;
        }
        self.macros(b'E', 5, macros, out);
        packet::write(out, b'E', |_| {});
        self.wait(Stage::EndOfMessage)
    }

    /// The message is off; the connection may be used for another.
    pub fn abort(&mut self, out: &mut Vec<u8>) {
        packet::write(out, b'A', |_| {});
        self.message_over = true;
    }

    /// Good-bye; close the connection after it.
    pub fn quit(&mut self, out: &mut Vec<u8>) {
        packet::write(out, b'Q', |_| {});
        self.connection_over = true;
    }

    /// The SMTP connection is over, and this one is kept for another: `connect` comes next. Only for filters of version 6.
    pub fn quit_keeping(&mut self, out: &mut Vec<u8>) -> bool {
        if self.version < 6 {
            return false;
        }
        packet::write(out, b'K', |_| {});
        self.connection_over = false;
        self.message_over = false;
        true
    }

    /// Octets from the filter. They are all taken; `event` reads them.
    pub fn input(&mut self, data: &[u8]) {
        self.packets.push(data);
    }

    /// The next thing that the filter says. After an error the connection is of no use.
    pub fn event(&mut self) -> Result<Option<Event>, Error> {
        let Some((command, data)) = self.packets.next()? else { return Ok(None) };
        let sign = char::from(command);
        let stage = self.waiting.ok_or(Error::Unasked(sign))?;
        if stage == Stage::Negotiation {
            return if command == b'O' {
                self.settle(&data).map(Some)
            } else {
                Err(Error::Unexpected(sign, stage))
            };
        }
        if command == b'p' {
            return Ok(Some(Event::Progress));
        }
        if let Some(verdict) = answer::verdict(command, &data) {
            let verdict = verdict?;
            self.judged(stage, &verdict)?;
            // What comes behind a verdict was not asked for.
            if !self.packets.is_empty() {
                return Err(Error::Unasked(sign));
            }
            return Ok(Some(Event::Verdict(verdict)));
        }
        let leading = self.protocol & protocol::LEADING_SPACE != 0;
        let change = answer::change(command, &data, leading).ok_or(Error::Unexpected(sign, stage))??;
        if stage != Stage::EndOfMessage {
            return Err(Error::Unexpected(sign, stage));
        }
        self.count(&change, data.len())?;
        Ok(Some(Event::Change(change)))
    }

    /// The answer to the negotiation.
    fn settle(&mut self, data: &[u8]) -> Result<Event, Error> {
        let mut fields = Fields::new(data);
        let mut number = || fields.number().ok_or(Error::Malformed('O'));
        let (version, actions, protocol) = (number()?, number()?, number()?);
        if !(2..=VERSION).contains(&version) {
            return Err(Error::Version(version));
        }
        // What it would like to do beyond the offer is refused when it does it. Unknown ways of speaking cannot wait: they
        // change what packets mean.
        let strange = protocol & !(protocol::OFFER | protocol::REFUSED_RECIPIENTS);
        if strange != 0 {
            return Err(Error::NotOffered(strange));
        }
        while !fields.is_empty() {
            let stage = fields.number().ok_or(Error::Malformed('O'))?;
            let names = fields.string().ok_or(Error::Malformed('O'))?;
            let names = String::from_utf8_lossy(names);
            let words = names.split([' ', ',']).filter(|word| !word.is_empty());
            self.wanted.insert(stage.min(16), words.take(limits::MACROS).map(str::to_owned).collect());
        }
        (self.version, self.actions, self.protocol) = (version, actions & self.config.actions, protocol);
        self.waiting = None;
        Ok(Event::Ready)
    }

    /// What a verdict means for what is asked later.
    fn judged(&mut self, stage: Stage, verdict: &Verdict) -> Result<(), Error> {
        self.waiting = None;
        let early = matches!(stage, Stage::Connect | Stage::Helo);
        match verdict {
            Verdict::Continue => {}
            Verdict::Skip if stage == Stage::Body => self.body_over = true,
            Verdict::Skip => return Err(Error::Unexpected('s', stage)),
            Verdict::Discard if early => return Err(Error::Unexpected('d', stage)),
            Verdict::Shutdown | Verdict::Unable => self.connection_over = true,
            Verdict::Reject | Verdict::TempFail | Verdict::Reply(_) if stage == Stage::Rcpt => {}
            _ if early => self.connection_over = true,
            _ => self.message_over = true,
        }
        Ok(())
    }

    /// Whether a change is allowed, and not one too many.
    fn count(&mut self, change: &Change, octets: usize) -> Result<(), Error> {
        let (bit, sign) = match change {
            Change::AddHeader { .. } => (action::ADD_HEADERS | action::CHANGE_HEADERS, 'h'),
            Change::InsertHeader { .. } => (action::ADD_HEADERS | action::CHANGE_HEADERS, 'i'),
            Change::ChangeHeader { .. } => (action::CHANGE_HEADERS, 'm'),
            Change::AddRecipient { .. } => {
                (action::ADD_RECIPIENTS | action::ADD_RECIPIENTS_WITH_PARAMETERS, '+')
            }
            Change::RemoveRecipient { .. } => (action::DELETE_RECIPIENTS, '-'),
            Change::ChangeFrom { .. } => (action::CHANGE_FROM, 'e'),
            Change::ReplaceBody(_) => (action::CHANGE_BODY, 'b'),
            Change::Quarantine { .. } => (action::QUARANTINE, 'q'),
        };
        if self.actions & bit == 0 {
            return Err(Error::Unexpected(sign, Stage::EndOfMessage));
        }
        if let Change::ReplaceBody(_) = change {
            self.body_octets = self.body_octets.saturating_add(octets);
            return if self.body_octets > self.config.body { Err(Error::TooMuch) } else { Ok(()) };
        }
        self.changes += 1;
        self.change_octets = self.change_octets.saturating_add(octets);
        let much = self.changes > limits::CHANGES || self.change_octets > limits::CHANGE_OCTETS;
        if much { Err(Error::TooMuch) } else { Ok(()) }
    }

    fn skips(&self, bit: u32, of_message: bool) -> bool {
        debug_assert!(self.waiting.is_none(), "the filter's word is waited for");
        self.connection_over || (of_message && self.message_over) || self.protocol & bit != 0
    }

    fn answered(&mut self, silent: u32, stage: Stage) -> Sent {
        if self.protocol & silent != 0 { Sent::Silent } else { self.wait(stage) }
    }

    fn wait(&mut self, stage: Stage) -> Sent {
        self.waiting = Some(stage);
        Sent::Wait
    }

    /// The macros for a command, in a packet before it.
    fn macros(&self, command: u8, stage: u32, macros: Macros<'_>, out: &mut Vec<u8>) {
        let wanted = self.wanted.get(&stage);
        let bare = |name: &str| name.trim_matches(['{', '}']).to_owned();
        let chosen = |name: &str| wanted.is_none_or(|names| names.iter().any(|n| bare(n) == bare(name)));
        let mut left = macros.iter().filter(|(name, value)| !value.is_empty() && chosen(name)).peekable();
        if left.peek().is_none() {
            return;
        }
        packet::write(out, b'D', |out| {
            out.push(command);
            for (name, value) in left {
                packet::string(out, name.as_bytes());
                packet::string(out, value.get(..limits::FIELD).unwrap_or(value).as_bytes());
            }
        });
    }
}

fn strings(out: &mut Vec<u8>, first: &str, more: &[&str]) {
    packet::string(out, first.as_bytes());
    more.iter().for_each(|text| packet::string(out, text.as_bytes()));
}
