//! What access sessions tell about themselves: lines of the IMAP4 and POP3 protocol logs in Exchange's layout, and legs.
//!
//! No password reaches either. Where a log is switched off, nothing is formatted for it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;

/// Takes the lines of a protocol log. `server` writes them to files.
pub trait ProtocolLog: Send + Sync {
    /// Whether anybody wants lines; asked before each is made.
    fn enabled(&self) -> bool {
        true
    }

    fn record(&self, record: &Record<'_>);
}

/// Takes legs when they have ended.
pub trait LegSink: Send + Sync {
    fn leg(&self, leg: Leg);
}

/// Wants nothing: for services without logs, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl ProtocolLog for Nowhere {
    fn enabled(&self) -> bool {
        false
    }

    fn record(&self, _: &Record<'_>) {}
}

impl LegSink for Nowhere {
    fn leg(&self, _: Leg) {}
}

/// One line: a command and how it was answered.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub time: Timestamp,
    pub session: Correlation,
    /// From 0 within the session.
    pub sequence: u32,
    pub server: SocketAddr,
    pub client: SocketAddr,
    /// The name that was signed in with, once it is known.
    pub user: &'a str,
    pub duration_ms: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// In small letters, as the protocol calls it; `OpenSession` and `CloseSession` at the ends.
    pub command: &'a str,
    /// Arguments, passwords as `*****`.
    pub parameters: &'a str,
    /// `R=OK;Rows=3`: see [`Context`].
    pub context: &'a str,
}

impl Record<'_> {
    pub const FIELDS: &'static str =
        "dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid";
    pub const IMAP4_LOG_TYPE: &'static str = "IMAP4 Protocol Log";
    pub const POP3_LOG_TYPE: &'static str = "POP3 Protocol Log";

    /// The fields in the order of [`Record::FIELDS`], not yet quoted. The last, puid, is of Exchange's cloud and always empty.
    pub fn fields(&self) -> [String; 13] {
        [
            self.time.to_string(),
            self.session.to_string(),
            self.sequence.to_string(),
            self.server.to_string(),
            self.client.to_string(),
            self.user.to_owned(),
            self.duration_ms.to_string(),
            self.request_bytes.to_string(),
            self.response_bytes.to_string(),
            self.command.to_owned(),
            self.parameters.to_owned(),
            self.context.to_owned(),
            String::new(),
        ]
    }
}

/// The context of a record: `key=value` pairs with `;` between them. Values with `;` or quotes stand in quotes.
#[derive(Clone, Debug, Default)]
pub struct Context(String);

impl Context {
    /// `R=OK`
    pub fn ok() -> Context {
        Context("R=OK".into())
    }

    /// `R="text of the answer"`
    pub fn answer(text: &str) -> Context {
        let mut context = Context("R=".into());
        context.quoted(text);
        context
    }

    pub fn with(mut self, key: &str, value: &str) -> Context {
        if !self.0.is_empty() {
            self.0.push(';');
        }
        self.0.push_str(key);
        self.0.push('=');
        if value.contains([';', '"', ' ']) {
            self.quoted(value)
        } else {
            self.0.push_str(value)
        }
        self
    }

    pub fn with_count(mut self, key: &str, value: u64) -> Context {
        let separator = if self.0.is_empty() { "" } else { ";" };
        let _ = write!(self.0, "{separator}{key}={value}");
        self
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn quoted(&mut self, text: &str) {
        self.0.push('"');
        self.0.push_str(&text.replace('"', "\"\""));
        self.0.push('"');
    }
}

/// Writes the records of one session: knows its ends and counts.
pub struct Scribe {
    log: Arc<dyn ProtocolLog>,
    session: Correlation,
    server: SocketAddr,
    client: SocketAddr,
    sequence: u32,
    user: String,
}

/// What is new in each record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    pub duration_ms: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub command: &'a str,
    pub parameters: &'a str,
    pub context: &'a str,
}

impl Scribe {
    pub fn new(
        log: Arc<dyn ProtocolLog>,
        session: Correlation,
        server: SocketAddr,
        client: SocketAddr,
    ) -> Scribe {
        Scribe { log, session, server, client, sequence: 0, user: String::new() }
    }

    pub fn enabled(&self) -> bool {
        self.log.enabled()
    }

    /// The name that stands in records from now on.
    pub fn user(&mut self, name: &str) {
        name.clone_into(&mut self.user);
    }

    pub fn record(&mut self, time: Timestamp, entry: Entry<'_>) {
        if !self.log.enabled() {
            return;
        }
        self.log.record(&Record {
            time,
            session: self.session,
            sequence: self.sequence,
            server: self.server,
            client: self.client,
            user: &self.user,
            duration_ms: entry.duration_ms,
            request_bytes: entry.request_bytes,
            response_bytes: entry.response_bytes,
            command: entry.command,
            parameters: entry.parameters,
            context: entry.context,
        });
        self.sequence = self.sequence.wrapping_add(1);
    }
}

impl std::fmt::Debug for Scribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scribe").field("session", &self.session).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl ProtocolLog for Lines {
        fn record(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.fields().join(","));
        }
    }

    #[test]
    fn records_look_like_exchanges() {
        let lines = Arc::new(Lines::default());
        let server = "10.20.0.11:993".parse().unwrap();
        let client = "10.20.9.40:51877".parse().unwrap();
        let mut scribe = Scribe::new(lines.clone(), Correlation(0x1a), server, client);
        let at = Timestamp(1_772_525_720_114);
        scribe.record(
            at,
            Entry { command: "OpenSession", response_bytes: 53, duration_ms: 2, ..Entry::default() },
        );
        scribe.user("invoices");
        let context = Context::ok().with("Msg", "Proxy:MBX01:1993:SSL;ProxySuccess");
        scribe.record(
            at,
            Entry {
                duration_ms: 214,
                request_bytes: 49,
                response_bytes: 24,
                command: "login",
                parameters: "invoices@example.net *****",
                context: context.as_str(),
            },
        );
        let lines = lines.0.lock().unwrap();
        assert_eq!(
            *lines,
            [
                "2026-03-03T08:15:20.114Z,000000000000001A,0,10.20.0.11:993,10.20.9.40:51877,,2,0,53,OpenSession,,,",
                "2026-03-03T08:15:20.114Z,000000000000001A,1,10.20.0.11:993,10.20.9.40:51877,invoices,214,49,24,login,invoices@example.net *****,R=OK;Msg=\"Proxy:MBX01:1993:SSL;ProxySuccess\",",
            ]
        );
        assert_eq!(Record::FIELDS.split(',').count(), 13);
    }

    #[test]
    fn contexts() {
        assert_eq!(
            Context::answer("a NO \"x\"").with_count("Rows", 3).as_str(),
            "R=\"a NO \"\"x\"\"\";Rows=3"
        );
        assert_eq!(Context::default().with("ErrMsg", "Gone").as_str(), "ErrMsg=Gone");
    }
}
