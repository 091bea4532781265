//! A delivery report as bytes (RFC 3464, RFC 6522, RFC 6533): what a person reads, what a program reads, and what came back
//! of the message.
//!
//! Pure: everything that is said is in [`Paper`]. Nothing that a peer or a sender said can leave its line or its part.

use super::advice::advice;
use super::words::{self, Block, counted, one_line, part, span, text, when};
use crate::limits::REPORT_PEOPLE;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use waypost_base::Timestamp;
use waypost_mime::rfc2047;
use waypost_smtp::{Mailbox, OriginalRecipient, Status};

/// All that a report says.
#[derive(Clone, Debug)]
pub(crate) struct Paper {
    /// Our name: the reporting server.
    pub(crate) host: String,
    /// The address that the report is from, for a reader who answers.
    pub(crate) from: String,
    /// Who wrote the message.
    pub(crate) to: Mailbox,
    /// Makes the report's Message-ID and boundaries; a name without spaces.
    pub(crate) id: String,
    pub(crate) now: Timestamp,
    /// When we took the message.
    pub(crate) accepted: Timestamp,
    pub(crate) subject: String,
    /// Without angle brackets; empty where the message has none.
    pub(crate) message_id: String,
    /// Message-IDs of the thread, for References.
    pub(crate) envid: Option<String>,
    pub(crate) people: Vec<Person>,
    pub(crate) original: Original,
}

/// One recipient.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The address that was tried last.
    pub(crate) to: Mailbox,
    /// The address as the sender gave it to us.
    pub(crate) given: Mailbox,
    pub(crate) orcpt: Option<OriginalRecipient>,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Delivered,
    /// The peer has it, and will not report further.
    Relayed {
        server: String,
    },
    /// It is a group, whose members have it or will hear of themselves.
    Expanded,
    Failed(Trouble),
    /// Still tried until then.
    Delayed {
        trouble: Trouble,
        next: Option<Timestamp>,
        until: Timestamp,
    },
}

/// Why it did not go on.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) status: Status,
    /// The SMTP reply's code, where a server answered.
    pub(crate) code: Option<u16>,
    /// `mail.example.net (192.0.2.7)`
    pub(crate) server: Option<String>,
    pub(crate) text: String,
    /// It would have been tried again, but the time is over.
    pub(crate) expired: bool,
    pub(crate) attempts: Option<u32>,
}

/// What is returned of the message itself.
#[derive(Clone, Debug)]
pub(crate) enum Original {
    Message(Vec<u8>),
    Header(Vec<u8>),
}

impl What {
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        match self {
            What::Failed(trouble) | What::Delayed { trouble, .. } => Some(trouble),
            _ => None,
        }
    }
}

impl Trouble {
    /// The status of the report: a failure is permanent now, and what expired says so (RFC 3463 §3.5).
    pub(crate) fn status(&self, failed: bool) -> Status {
        let Status(_, subject, detail) = self.status;
        match failed {
            true if self.expired => Status(5, 4, 7),
            true => Status(5, subject, detail),
            false => Status(4, subject, detail),
        }
    }

    fn answer(&self) -> String {
        answer(self.code, self.status, &self.text)
    }

    /// The blocks that say why: in a sentence, in the server's words, and what to do.
    pub(crate) fn blocks(&self, accepted: Timestamp, now: Timestamp) -> Vec<Block> {
        let advice = advice(self.status, &self.text);
        let mut blocks = Vec::new();
        if self.expired {
            let tries = self.attempts.map_or_else(String::new, |n| match n {
                0 => String::new(),
                1 => " once".to_owned(),
                n => format!(" {}", counted(i64::from(n), "time")),
            });
            blocks.push(text(format!(
                "It was tried{tries} since {}, for {}, and could not be delivered. It is not tried any more.",
                when(accepted),
                span(now.since(accepted))
            )));
            blocks.push(text(format!("At the last attempt: {}", lower(advice.what))));
        } else {
            blocks.push(text(advice.what));
        }
        match &self.server {
            Some(server) if self.code.is_some() => {
                blocks.push(Block::Says { who: one_line(server), words: self.answer() });
            }
            Some(server) => {
                blocks.push(text(format!("{}: {}", one_line(server), one_line(words::cut(&self.text)))))
            }
            None if self.text.trim().is_empty() => {}
            None => blocks.push(text(format!("The reason given: {}", one_line(words::cut(&self.text))))),
        }
        blocks
    }
}

/// `550 5.1.1 No such user`: the answer as the server gave it, cut to what a person can be asked to read.
pub(crate) fn answer(code: Option<u16>, status: Status, text: &str) -> String {
    let text = words::cut(text);
    let Some(code) = code else { return text.to_owned() };
    let begins = |what: &str| text.trim_start().starts_with(what);
    if begins(&code.to_string()) {
        text.to_owned()
    } else if begins(&format!("{}.", status.0)) || status.1 + status.2 == 0 {
        format!("{code} {text}")
    } else {
        format!("{code} {status} {text}")
    }
}

fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Which of the three kinds of report it is, by the worst that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Delayed,
    Good,
}

impl Paper {
    fn kind(&self) -> Kind {
        let any = |fits: fn(&What) -> bool| self.people.iter().any(|person| fits(&person.what));
        if any(|what| matches!(what, What::Failed(_))) {
            Kind::Failed
        } else if any(|what| matches!(what, What::Delayed { .. })) {
            Kind::Delayed
        } else {
            Kind::Good
        }
    }

    /// The report has to be in the form of RFC 6533.
    pub(crate) fn global(&self) -> bool {
        self.to.is_international()
            || self.people.iter().any(|p| p.to.is_international() || p.given.is_international())
    }

    pub(crate) fn subject(&self) -> String {
        let word = match self.kind() {
            Kind::Failed => "Undeliverable",
            Kind::Delayed => "Delayed",
            Kind::Good => "Delivered",
        };
        let subject = one_line(&self.subject);
        let subject = subject.trim();
        if subject.is_empty() { format!("{word}: your message") } else { format!("{word}: {subject}") }
    }

    pub(crate) fn message_id(&self) -> String {
        format!("{}.report@{}", self.id, self.host)
    }

    /// The whole report, with CRLF; nothing is above its first field.
    pub(crate) fn compose(&self, references: &[String]) -> Vec<u8> {
        let subject = self.subject();
        let (outer, inner) = (format!("=_{}_r", self.id), format!("=_{}_a", self.id));
        let blocks = self.blocks();
        let mut out = Vec::with_capacity(8192);
        let global = self.global();
        let eight = match &self.original {
            Original::Message(bytes) => !bytes.is_ascii(),
            Original::Header(_) => false,
        } || global;
        self.header(&mut out, &subject, references);
        let encoding = if eight { "8bit" } else { "7bit" };
        push(
            &mut out,
            &format!(
                "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{outer}\"\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n\
             --{outer}\r\nContent-Type: multipart/alternative; boundary=\"{inner}\"\r\n\r\n--{inner}\r\n"
            ),
        );
        part(&mut out, "text/plain; charset=utf-8", words::plain(&blocks).as_bytes());
        push(&mut out, &format!("\r\n--{inner}\r\n"));
        part(&mut out, "text/html; charset=utf-8", words::html(&subject, &blocks).as_bytes());
        let kind = if global { "message/global-delivery-status" } else { "message/delivery-status" };
        push(&mut out, &format!("\r\n--{inner}--\r\n\r\n--{outer}\r\nContent-Type: {kind}\r\n"));
        if global {
            push(&mut out, "Content-Transfer-Encoding: 8bit\r\n");
        }
        push(&mut out, "\r\n");
        push(&mut out, &self.status(global));
        push(&mut out, &format!("\r\n--{outer}\r\n"));
        match &self.original {
            Original::Message(bytes) => {
                let kind = if global { "message/global" } else { "message/rfc822" };
                let encoding = if bytes.is_ascii() { "7bit" } else { "8bit" };
                push(
                    &mut out,
                    &format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"),
                );
                out.extend_from_slice(bytes);
            }
            Original::Header(bytes) => {
                let kind =
                    if global { "message/global-headers" } else { "text/rfc822-headers; charset=utf-8" };
                part(&mut out, kind, bytes);
            }
        }
        push(&mut out, &format!("\r\n--{outer}--\r\n"));
        out
    }

    fn header(&self, out: &mut Vec<u8>, subject: &str, references: &[String]) {
        push(out, &format!("From: Mail delivery <{}>\r\nTo: <{}>\r\n", one_line(&self.from), self.to));
        field(out, "Subject", &rfc2047::encode(subject));
        push(
            out,
            &format!("Date: {}\r\nMessage-ID: <{}>\r\n", self.now.civil().rfc5322(), self.message_id()),
        );
        if !self.message_id.is_empty() {
            field(out, "In-Reply-To", &format!("<{}>", one_line(&self.message_id)));
            let mut list: Vec<&str> =
                references.iter().map(String::as_str).filter(|id| *id != self.message_id).collect();
            list.push(&self.message_id);
            let list: Vec<String> = list.iter().map(|id| format!("<{}>", one_line(id))).collect();
            field(out, "References", &list.join(" "));
        }
        // Out-of-office programs and lists leave what says this alone (RFC 3834 §5).
        push(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
    }

    /// What a person reads.
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Title(self.title())];
        let mut facts = Vec::new();
        if !self.subject.trim().is_empty() {
            facts.push(("Subject", self.subject.clone()));
        }
        facts.push(("Sent", when(self.accepted)));
        blocks.push(Block::Facts(facts));
        for person in self.people.iter().take(REPORT_PEOPLE) {
            blocks.push(Block::Heading(person.heading()));
            blocks.extend(self.of_person(person));
        }
        let more = self.people.len().saturating_sub(REPORT_PEOPLE);
        if more > 0 {
            blocks.push(Block::Heading(format!("And {more} more")));
            blocks.push(text("The attached delivery status names all of them, each with what happened."));
        }
        if self.kind() == Kind::Failed {
            blocks.push(Block::Heading("For administrators".to_owned()));
            let mut facts = vec![("Reported by", self.host.clone())];
            if !self.message_id.is_empty() {
                facts.push(("Message-ID", self.message_id.clone()));
            }
            blocks.push(Block::Facts(facts));
            blocks.push(text(match self.original {
                Original::Message(_) => "The delivery status and your message are attached.",
                Original::Header(_) => "The delivery status and the header of your message are attached.",
            }));
        }
        blocks
    }

    fn title(&self) -> String {
        let count = self.people.len();
        let failed = self.people.iter().filter(|p| matches!(p.what, What::Failed(_))).count();
        match self.kind() {
            Kind::Failed if failed == count && count == 1 => "Your message could not be delivered.".to_owned(),
            Kind::Failed if failed == count => {
                format!("Your message could not be delivered to {count} recipients.")
            }
            Kind::Failed => format!("Your message could not be delivered to {failed} of {count} recipients named here."),
            Kind::Delayed => {
                "Your message has not been delivered yet. It is still being tried; you need not send it again.".to_owned()
            }
            Kind::Good => "Your message has been delivered.".to_owned(),
        }
    }

    fn of_person(&self, person: &Person) -> Vec<Block> {
        match &person.what {
            What::Delivered => vec![text("The message was put into the mailbox.")],
            What::Relayed { server } => vec![text(format!(
                "The message was handed over to {}. That server does not report what happens further, so this is the last \
                 you hear of it unless it fails.",
                one_line(server)
            ))],
            What::Expanded => vec![text("This is a group; the message is on its way to the members.")],
            What::Failed(trouble) => {
                let mut blocks = trouble.blocks(self.accepted, self.now);
                let todo = advice(trouble.status, &trouble.text).todo;
                blocks.push(text(format!("What you can do: {todo}")));
                blocks
            }
            What::Delayed { trouble, next, until } => {
                let mut blocks = trouble.blocks(self.accepted, self.now);
                if let Some(next) = next {
                    blocks.push(text(format!("The next attempt is on {}.", when(*next))));
                }
                blocks.push(text(format!(
                    "It is tried until {}. If it cannot be delivered by then, you are told.",
                    when(*until)
                )));
                blocks
            }
        }
    }

    /// What a program reads (RFC 3464 §2).
    fn status(&self, global: bool) -> String {
        let mut out = format!("Reporting-MTA: dns; {}\r\n", self.host);
        if let Some(envid) = &self.envid {
            let _ = write!(out, "Original-Envelope-Id: {}\r\n", ascii(&one_line(envid), global));
        }
        let _ = write!(out, "Arrival-Date: {}\r\n", self.accepted.civil().rfc5322());
        for person in &self.people {
            person.fields(&mut out, self.now, global);
        }
        out
    }
}

impl Person {
    fn heading(&self) -> String {
        if self.to == self.given {
            self.to.to_string()
        } else {
            format!("{} (sent on to {})", self.given, self.to)
        }
    }

    /// The fields about one recipient (RFC 3464 §2.3).
    fn fields(&self, out: &mut String, now: Timestamp, global: bool) {
        out.push_str("\r\n");
        match &self.orcpt {
            Some(original) => {
                let kind: String =
                    original.kind.chars().filter(|c| c.is_ascii_graphic() && *c != ';').collect();
                let _ = write!(
                    out,
                    "Original-Recipient: {kind}; {}\r\n",
                    ascii(&one_line(&original.address), global)
                );
            }
            None if self.to != self.given => {
                let _ = write!(out, "Original-Recipient: {}; {}\r\n", address_type(&self.given), self.given);
            }
            None => {}
        }
        let (action, status) = match &self.what {
            What::Delivered => ("delivered", Status(2, 1, 5)),
            What::Relayed { .. } => ("relayed", Status(2, 0, 0)),
            What::Expanded => ("expanded", Status(2, 1, 5)),
            What::Failed(trouble) => ("failed", trouble.status(true)),
            What::Delayed { trouble, .. } => ("delayed", trouble.status(false)),
        };
        let _ = write!(
            out,
            "Final-Recipient: {}; {}\r\nAction: {action}\r\nStatus: {status}\r\n",
            address_type(&self.to),
            self.to
        );
        let server = match &self.what {
            What::Relayed { server } => Some(server),
            what => what.trouble().and_then(|trouble| trouble.server.as_ref()),
        };
        if let Some(name) = server.and_then(|server| server_name(server)) {
            let _ = write!(out, "Remote-MTA: dns; {}\r\n", ascii(&name, global));
        }
        if let Some(trouble) = self.what.trouble() {
            let kind = if trouble.code.is_some() { "smtp" } else { "x-waypost" };
            let answer = ascii(&one_line(&trouble.answer().replace("\r\n", " ")), global);
            if !answer.trim().is_empty() {
                fold(out, "Diagnostic-Code", &format!("{kind}; {answer}"));
            }
        }
        let _ = write!(out, "Last-Attempt-Date: {}\r\n", now.civil().rfc5322());
        if let What::Delayed { until, .. } = &self.what {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", until.civil().rfc5322());
        }
    }
}

fn address_type(mailbox: &Mailbox) -> &'static str {
    if mailbox.is_international() { "utf-8" } else { "rfc822" }
}

/// The host's name, or its address as a literal where it has none, of `name (address)`; without a port.
fn server_name(server: &str) -> Option<String> {
    let name = server.split([' ', '(']).find(|word| !word.is_empty())?;
    let name = one_line(name.trim_end_matches([')', ',', ';']));
    if let Ok(socket) = name.parse::<SocketAddr>() {
        return Some(literal(socket.ip()));
    }
    if let Ok(ip) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(literal(ip));
    }
    let (host, port) = name.rsplit_once(':').unwrap_or((&name, ""));
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    Some(if is_port { host.to_owned() } else { name })
}

/// As RFC 5321 §4.1.3 writes an address in the place of a name.
fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// As the form of the report allows: beyond ASCII in RFC 6533's alone.
fn ascii(text: &str, global: bool) -> String {
    if global { text.to_owned() } else { text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect() }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A field of a header, folded.
pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut text = String::new();
    fold(&mut text, name, value);
    push(out, &text);
}

/// Folds at spaces before column 78 (RFC 5322 §2.2.3); a word beyond 900 octets is cut, since a line may have 998.
fn fold(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        let word = word.get(..word.floor_char_boundary(900)).unwrap_or_default();
        if column + 1 + word.len() > 78 && column > name.len() + 1 {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.len();
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::NOW;

    fn person(to: &str, what: What) -> Person {
        let to = Mailbox::parse(to).unwrap();
        Person { given: to.clone(), to, orcpt: None, what }
    }

    fn refused(status: Status, code: u16, text: &str) -> Trouble {
        Trouble {
            status,
            code: Some(code),
            server: Some("mail.example.net (192.0.2.7)".into()),
            text: text.into(),
            expired: false,
            attempts: None,
        }
    }

    fn paper(people: Vec<Person>) -> Paper {
        Paper {
            host: "mx.contoso.test".into(),
            from: "postmaster@contoso.test".into(),
            to: Mailbox::new("ann", "contoso.test"),
            id: "19cb2a".into(),
            now: NOW.plus_millis(2 * 86_400_000),
            accepted: NOW,
            subject: "Lunch on Friday".into(),
            message_id: "m1@contoso.test".into(),
            envid: Some("Q=1".into()),
            people,
            original: Original::Header(
                b"From: ann@contoso.test\r\nSubject: Lunch on Friday\r\n\r\n".to_vec(),
            ),
        }
    }

    fn golden(name: &str, paper: &Paper) {
        let bytes = paper.compose(&["root@contoso.test".to_owned()]);
        let path = format!("{}/src/report/golden/{name}.eml", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(kept == bytes, "{name} differs; run with UPDATE_GOLDEN=1 and look at it:\n{text}");
        for line in bytes.split(|b| *b == b'\n') {
            assert!(
                line.len() <= 999 && (line.is_empty() || line.ends_with(b"\r") || bytes.ends_with(line)),
                "{text}"
            );
        }
        let summary = waypost_mime::scan(&bytes, waypost_mime::Limits::stored());
        assert_eq!(summary.message_id, "19cb2a.report@mx.contoso.test");
        assert!(summary.parts.len() >= 6, "{:?}", summary.parts);
    }

    #[test]
    fn servers_are_named_without_what_is_not_their_name() {
        for (server, name) in [
            ("mail.example.net (192.0.2.7)", "mail.example.net"),
            ("mail.example.net [192.0.2.7]:25", "mail.example.net"),
            ("mail.example.net:2525", "mail.example.net"),
            ("127.0.0.1:46999", "[127.0.0.1]"),
            ("[::1]:25", "[IPv6:::1]"),
            ("192.0.2.7", "[192.0.2.7]"),
            ("[192.0.2.7]", "[192.0.2.7]"),
        ] {
            assert_eq!(server_name(server).as_deref(), Some(name), "{server}");
        }
        assert_eq!(server_name(""), None);
    }

    #[test]
    fn an_unknown_user() {
        let trouble = refused(
            Status(5, 1, 1),
            550,
            "5.1.1 <bob@example.net>: Recipient address rejected: User unknown",
        );
        let mut one = person("bob@example.net", What::Failed(trouble));
        one.orcpt = Some(OriginalRecipient { kind: "rfc822".into(), address: "Bob@example.net".into() });
        golden("unknown-user", &paper(vec![one]));
    }

    #[test]
    fn some_of_several() {
        let full = refused(Status(5, 2, 2), 552, "Mailbox <b>full</b>\nsee https://example.net/full?a=1&b=2");
        let mut sent_on = person("far@example.org", What::Failed(full));
        sent_on.given = Mailbox::new("ben", "contoso.test");
        let people = vec![
            sent_on,
            person("carol@example.net", What::Delivered),
            person("dave@example.net", What::Relayed { server: "mail.example.net [192.0.2.7]".into() }),
            person("staff@contoso.test", What::Expanded),
        ];
        let whole = b"From: ann@contoso.test\r\nSubject: Lunch on Friday\r\n\r\nAt noon?\r\n".to_vec();
        golden("some-of-several", &Paper { original: Original::Message(whole), ..paper(people) });
    }

    #[test]
    fn expired() {
        let trouble = Trouble {
            status: Status(4, 4, 1),
            code: None,
            server: Some("mail.example.net (192.0.2.7)".into()),
            text: "connection refused".into(),
            expired: true,
            attempts: Some(196),
        };
        golden("expired", &paper(vec![person("bob@example.net", What::Failed(trouble))]));
    }

    #[test]
    fn delayed() {
        let trouble = Trouble {
            status: Status(4, 4, 3),
            code: None,
            server: None,
            text: "MX example.net: SERVFAIL from 192.0.2.53".into(),
            expired: false,
            attempts: Some(9),
        };
        let next = Some(NOW.plus_millis(4 * 3_600_000 + 600_000));
        let what = What::Delayed { trouble, next, until: NOW.plus_millis(2 * 86_400_000) };
        let now = NOW.plus_millis(4 * 3_600_000);
        golden("delayed", &Paper { now, ..paper(vec![person("bob@example.net", what)]) });
    }

    #[test]
    fn delivered() {
        golden("delivered", &paper(vec![person("ben@contoso.test", What::Delivered)]));
    }

    #[test]
    fn beyond_ascii_and_hostile() {
        let evil = "5.7.1 Blöcked\r\nBcc: x@y\r\n\r\n--=_19cb2a_r\r\n<script>\u{202e}".repeat(40);
        let trouble = refused(Status(5, 7, 1), 554, &evil);
        let people = vec![person("jörg@exämple.example", What::Failed(trouble.clone()))];
        let subject = "Grüße\r\nBcc: evil@example.net".to_owned();
        let paper = Paper { subject, ..paper(people) };
        golden("international", &paper);
        let bytes = paper.compose(&[]);
        let text = String::from_utf8_lossy(&bytes);
        let header = text.split("\r\n\r\n").next().unwrap();
        assert!(!header.contains("\nBcc:"), "{header}");
        let boundary = text.matches("\r\n--=_19cb2a_r\r\n").count();
        assert_eq!(boundary, 3);
        let plain = Paper { people: vec![person("b@example.net", What::Failed(trouble))], ..paper };
        let text = String::from_utf8(plain.compose(&[])).unwrap();
        assert!(text.is_ascii() && text.contains("Bl?cked"), "{text}");
    }
}
