//! The tracking log's layout: `#` header lines, then one record a line, comma-separated, quotes doubled (RFC 4180).
//!
//! Fields are found by the names of the `#Fields` line, never by place, so that logs of other builds can be read too; a
//! file that has lost its header is read by our own order. What we write keeps to one line a record: control characters
//! become spaces.

use crate::event::{Event, NetworkId};
use crate::record::Record;
use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use waypost_base::Timestamp;

pub const LOG_TYPE: &str = "Message Tracking Log";
/// First part of the files' names.
pub const PREFIX: &str = "MSGTRK";
pub const FIELDS: &str = "date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,network-message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data,transport-traffic-type,log-id,schema-version";

const SCHEMA_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Fields that a line may have; more are not looked at. Exchange has thirty.
const FIELDS_MAX: usize = 64;

/// Formats events as lines. One for each log, since it numbers them.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Whether subjects are written (MessageTrackingLogSubjectLoggingEnabled).
    pub subjects: bool,
    number: u64,
}

impl Lines {
    /// `seed` tells the log ids of several runs apart; the time of the start will do.
    pub fn new(subjects: bool, seed: u64) -> Lines {
        Lines { subjects, number: seed << 20 }
    }

    /// Appends the event's line with its CRLF.
    pub fn append(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.number = self.number.wrapping_add(1);
        let mut line = Line { out, first: true };
        line.shown(event.time);
        line.ip(event.client_ip);
        line.text(event.client_hostname);
        line.ip(event.server_ip);
        line.text(event.server_hostname);
        line.text(event.source_context);
        line.text(event.connector_id);
        line.plain(event.source.name());
        line.plain(event.event_id.name());
        line.number(event.internal_message_id);
        line.message_id(event.message_id);
        match event.network_message_id {
            Some(id) => line.shown(id),
            None => line.plain(""),
        }
        line.list(event.recipients.iter().map(|r| r.address));
        // One status for all is written once for each, as there is one for each address.
        line.list(event.recipients.iter().map(|r| r.status));
        line.shown(event.total_bytes);
        line.shown(event.recipient_count);
        line.text(event.related_recipient_address);
        line.text(event.reference);
        line.text(if self.subjects { event.message_subject } else { "" });
        line.text(event.sender_address);
        line.text(if event.return_path.is_empty() { "<>" } else { event.return_path });
        line.text(event.message_info);
        line.plain(event.directionality.name());
        line.text(event.tenant_id);
        line.ip(event.original_client_ip);
        line.ip(event.original_server_ip);
        line.text(event.custom_data);
        line.text(event.transport_traffic_type);
        line.shown(NetworkId::of(self.number));
        line.plain(SCHEMA_VERSION);
        line.out.extend_from_slice(b"\r\n");
    }
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    fn comma(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
    }

    /// Text that needs no quotes.
    fn plain(&mut self, text: &str) {
        self.comma();
        self.out.extend_from_slice(text.as_bytes());
    }

    fn shown(&mut self, value: impl std::fmt::Display) {
        self.comma();
        // Writing to memory does not fail.
        let _ = write!(self.out, "{value}");
    }

    fn number(&mut self, value: u64) {
        if value == 0 { self.plain("") } else { self.shown(value) }
    }

    fn ip(&mut self, ip: Option<IpAddr>) {
        match ip {
            Some(ip) => self.shown(ip.to_canonical()),
            None => self.plain(""),
        }
    }

    fn text(&mut self, text: &str) {
        self.comma();
        quote(text, self.out);
    }

    fn message_id(&mut self, id: &str) {
        if id.is_empty() || (id.starts_with('<') && id.ends_with('>')) {
            return self.text(id);
        }
        self.comma();
        if needs_quotes(id) {
            quote(&format!("<{id}>"), self.out);
        } else {
            self.out.push(b'<');
            self.out.extend_from_slice(id.as_bytes());
            self.out.push(b'>');
        }
    }

    /// Items with `;` between them; a `;` inside one becomes a comma, so that places still match.
    fn list<'a>(&mut self, items: impl Iterator<Item = &'a str> + Clone) {
        self.comma();
        if items.clone().all(str::is_empty) {
            return;
        }
        let quoted = items.clone().any(needs_quotes);
        if quoted {
            self.out.push(b'"');
        }
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.out.push(b';');
            }
            if quoted || item.contains(';') {
                for c in item.chars() {
                    inner(if c == ';' { ',' } else { c }, self.out);
                }
            } else {
                self.out.extend_from_slice(item.as_bytes());
            }
        }
        if quoted {
            self.out.push(b'"');
        }
    }
}

/// `;` counts, since it may become a comma.
fn needs_quotes(text: &str) -> bool {
    text.starts_with('#') || text.chars().any(|c| matches!(c, ',' | '"' | ';') || c.is_control())
}

fn inner(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(b"\"\""),
        c if c.is_control() => out.push(b' '),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends one field, in quotes where it needs them. Control characters become spaces: the file stays text, and no peer can
/// paint on the terminal of whoever reads it.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    if !needs_quotes(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for c in text.chars() {
        inner(c, out);
    }
    out.push(b'"');
}

/// Splits a line (without its end) into fields. A field that opens a quote and does not close it reaches to the end.
pub fn split(line: &str) -> Vec<Cow<'_, str>> {
    let mut fields = Vec::with_capacity(32);
    let mut rest = line;
    while fields.len() < FIELDS_MAX {
        let (field, after) = field(rest);
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    fields
}

/// The first field, and what follows its comma.
fn field(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let Some(mut rest) = text.strip_prefix('"') else {
        return match text.split_once(',') {
            Some((field, after)) => (Cow::Borrowed(field), Some(after)),
            None => (Cow::Borrowed(text), None),
        };
    };
    let mut value = Cow::Borrowed("");
    loop {
        let (part, after) = rest.split_once('"').unwrap_or((rest, ""));
        if value.is_empty() {
            value = Cow::Borrowed(part);
        } else {
            value.to_mut().push_str(part);
        }
        if let Some(again) = after.strip_prefix('"') {
            value.to_mut().push('"');
            rest = again;
            continue;
        }
        // Whatever stands between the closing quote and the comma belongs to nothing.
        return (value, after.split_once(',').map(|(_, after)| after));
    }
}

/// Where each of our fields stands in a file's lines.
#[derive(Clone, Debug)]
pub struct Columns {
    /// For each place the number of the field of [`FIELDS`].
    known: Vec<Option<usize>>,
}

impl Default for Columns {
    fn default() -> Columns {
        Columns::of(FIELDS)
    }
}

impl Columns {
    /// By the names of a `#Fields:` line. Names that we do not know are passed over.
    pub fn of(names: &str) -> Columns {
        let place = |name: &str| FIELDS.split(',').position(|known| known.eq_ignore_ascii_case(name.trim()));
        Columns { known: names.split(',').take(FIELDS_MAX).map(place).collect() }
    }

    /// Reads a line. `None` for one that has no time or no event: a torn one, or no record at all.
    pub fn read(&self, line: &str) -> Option<Record> {
        let mut values: [Option<Cow<'_, str>>; 30] = Default::default();
        for (value, known) in split(line).into_iter().zip(&self.known) {
            if let Some(slot) = known.and_then(|n| values.get_mut(n)) {
                *slot = Some(value);
            }
        }
        record(values)
    }
}

fn record(values: [Option<Cow<'_, str>>; 30]) -> Option<Record> {
    let mut values = values.into_iter().map(Option::unwrap_or_default);
    let mut next = || values.next().unwrap_or_default();
    let mut record = Record {
        time: parse_time(&next())?,
        client_ip: next().parse().ok(),
        client_hostname: next().into_owned(),
        server_ip: next().parse().ok(),
        server_hostname: next().into_owned(),
        source_context: next().into_owned(),
        connector_id: next().into_owned(),
        source: next().into_owned(),
        event_id: next().into_owned(),
        internal_message_id: next().parse().unwrap_or(0),
        message_id: next().into_owned(),
        network_message_id: next().into_owned(),
        recipients: list(&next()),
        recipient_status: vec![next().into_owned()],
        total_bytes: next().parse().unwrap_or(0),
        recipient_count: next().parse().unwrap_or(0),
        related_recipient_address: next().into_owned(),
        reference: next().into_owned(),
        message_subject: next().into_owned(),
        sender: next().into_owned(),
        return_path: next().into_owned(),
        message_info: next().into_owned(),
        directionality: next().into_owned(),
        tenant_id: next().into_owned(),
        original_client_ip: next().parse().ok(),
        original_server_ip: next().parse().ok(),
        custom_data: next().into_owned(),
        transport_traffic_type: next().into_owned(),
        log_id: next().into_owned(),
        schema_version: next().into_owned(),
    };
    let status = record.recipient_status.concat();
    record.recipient_status = statuses(&status, &record.recipients);
    (!record.event_id.is_empty()).then_some(record)
}

fn list(text: &str) -> Vec<String> {
    let plain = |item: &str| item.replace(char::is_control, " ").trim().to_owned();
    let items: Vec<String> = text.split(';').map(plain).collect();
    if items.iter().all(String::is_empty) { Vec::new() } else { items }
}

/// Exchange writes a `;` into statuses too: with one recipient all of the text is its status.
fn statuses(text: &str, recipients: &[String]) -> Vec<String> {
    let items = list(text);
    match recipients {
        [] => Vec::new(),
        [_] if items.len() > 1 => vec![items.join("; ")],
        _ => items,
    }
}

/// Reads `2026-03-03T08:15:20.114Z`; the part of a second may be missing or have another number of digits.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim_start_matches('\u{FEFF}').trim().strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i32>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit());
    if !sound {
        return None;
    }
    let millis = fraction.bytes().chain(*b"00").take(3).fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let days = waypost_base::time::days_from_civil(year, month as u8, day as u8);
    Some(Timestamp((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + millis))
}

/// What the fuzzers call: no line may make the reader panic, and what we read we can write and read again.
pub fn fuzz_one(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut columns = Columns::default();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("#Fields:") {
            columns = Columns::of(names);
            continue;
        }
        let again = |record: &Record| record.line().and_then(|line| Columns::default().read(&line));
        let Some(ours) = columns.read(line).as_ref().and_then(again) else { continue };
        assert_eq!(again(&ours).as_ref(), Some(&ours), "what we wrote ourselves, we write and read as it is");
    }
    crate::legs::fuzz_one(&text);
    crate::protocol::fuzz_one(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Message, Recipient, Source};
    use proptest::prelude::*;

    #[test]
    fn splits_what_rfc_4180_knows() {
        assert_eq!(split("a,\"b,c\",\"say \"\"hi\"\"\",,"), ["a", "b,c", "say \"hi\"", "", ""]);
        assert_eq!(split("\"\",\"\"\"\""), ["", "\""]);
        assert_eq!(split("\"torn, in the mid"), ["torn, in the mid"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn reads_times() {
        assert_eq!(parse_time("2026-03-03T08:15:20.114Z"), Some(Timestamp(1_772_525_720_114)));
        assert_eq!(parse_time("2026-03-03T08:15:20Z"), Some(Timestamp(1_772_525_720_000)));
        assert_eq!(parse_time("2026-03-03 08:15:20.1"), Some(Timestamp(1_772_525_720_100)));
        for bad in ["", "2026-13-03T08:15:20Z", "2026-03-03T25:15:20Z", "2026-03-03T08:15:20.Z", "x"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_the_lines_of_other_builds() {
        let columns = Columns::of("event-id,date-time,colour,recipient-address,message-id");
        let record = columns.read("SEND,2026-03-03T08:15:20.114Z,blue,a@x.test;b@x.test,<m@x>").unwrap();
        assert_eq!(record.event_id, "SEND");
        assert_eq!(record.recipients, ["a@x.test", "b@x.test"]);
        assert_eq!(record.message_id, "<m@x>");
        assert_eq!(columns.read("SEND,2026-03-0"), None);
    }

    #[test]
    fn reads_exchange() {
        let line = r#"2026-03-03T10:41:12.902Z,10.20.9.40,app01.example.net,10.20.0.11,MBX01,08DE5A1100000021;2026-03-03T10:41:12.700Z;0,MBX01\Default Frontend MBX01,SMTP,FAIL,4402341478401,<m7@app01.example.net>,77e0...,nosuch@example.net,550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found,2048,1,,,Alert,app@example.net,app@example.net,,Incoming,,10.20.9.40,10.20.0.11,,Email,5c9e...,15.02.1544.011"#;
        let record = Columns::default().read(line).unwrap();
        assert_eq!(
            record.recipient_status,
            ["550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found"]
        );
        assert_eq!(record.message_subject, "Alert");
        assert_eq!(record.event(), Some(EventId::Fail));
        assert_eq!(record.schema_version, "15.02.1544.011");
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[ -~]{1,20}", "[a-zé,;\"\r\n\t#]{0,12}"]
    }

    fn cleaned(text: &str) -> String {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            time in 0_i64..4_000_000_000_000,
            item: u64,
            (context, subject, sender, status) in (text(), text(), text(), text()),
            addresses in proptest::collection::vec("[a-z]{1,8}@[a-z]{1,8}", 0..4),
        ) {
            let message = Message {
                item,
                message_id: "a,b@c",
                subject: &subject,
                sender: &sender,
                ..Message::default()
            };
            let to: Vec<_> = addresses.iter().map(|a| Recipient::new(a, &status)).collect();
            let event = Event::of(Timestamp(time), &message, Source::Smtp, EventId::Receive);
            let event = event.to(&to).context(&context);
            let mut out = Vec::new();
            Lines::new(true, 1).append(&event, &mut out);
            let line = String::from_utf8(out).unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(line.matches('\r').count(), 1);
            let record = Columns::default().read(line.trim_end_matches(['\r', '\n'])).unwrap();
            prop_assert_eq!(record.time, event.time);
            prop_assert_eq!(record.internal_message_id, item);
            prop_assert_eq!(record.message_id, "<a,b@c>");
            prop_assert_eq!(record.source_context, cleaned(&context));
            prop_assert_eq!(record.message_subject, cleaned(&subject));
            prop_assert_eq!(record.sender, cleaned(&sender));
            prop_assert_eq!(record.return_path, "<>");
            prop_assert_eq!(&record.recipients, &addresses);
            if !addresses.is_empty() && !cleaned(&status).trim().is_empty() {
                prop_assert_eq!(record.recipient_status.len(), addresses.len());
            }
        }

        #[test]
        fn no_line_makes_the_reader_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_one(&data);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(2026-03-03T08:15:20Z,)?[,\";a-z{}:<>#\n0-9]{0,80}") {
            fuzz_one(text.as_bytes());
        }
    }
}
