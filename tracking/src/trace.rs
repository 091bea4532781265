//! Message traces: one row for each message and recipient with the state that the log tells last, as Exchange Online's
//! Get-MessageTrace shows them.
//!
//! Files are read newest first, each into rows of its own that then join those of newer files, so that the newest rows are
//! found in bounded memory.

use crate::event::{EventId, NetworkId};
use crate::files;
use crate::layout::PREFIX;
use crate::record::Record;
use crate::search::{Filter, in_file, matches};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use waypost_base::Timestamp;

/// Where a message is for a recipient, in Exchange's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Taken over; the log says nothing further.
    GettingStatus,
    Pending,
    Delivered,
    /// A group, or mail that goes to somebody else.
    Expanded,
    Failed,
    Quarantined,
    /// In the junk folder, or dropped by policy.
    FilteredAsSpam,
}

impl Status {
    pub const ALL: &[&str] =
        &["GettingStatus", "Pending", "Delivered", "Expanded", "Failed", "Quarantined", "FilteredAsSpam"];

    pub const fn name(self) -> &'static str {
        match self {
            Status::GettingStatus => "GettingStatus",
            Status::Pending => "Pending",
            Status::Delivered => "Delivered",
            Status::Expanded => "Expanded",
            Status::Failed => "Failed",
            Status::Quarantined => "Quarantined",
            Status::FilteredAsSpam => "FilteredAsSpam",
        }
    }
}

/// A message for one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub item: u64,
    pub message_id: String,
    pub trace_id: String,
    pub received: Timestamp,
    pub sender: String,
    pub recipient: String,
    pub subject: String,
    pub status: Status,
    /// Where it came from.
    pub from_ip: Option<IpAddr>,
    /// The server that took it, where one did.
    pub to_ip: Option<IpAddr>,
    pub size: u64,
}

/// Which rows.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Time, sender, Message-ID and subject; its recipients are those of the rows.
    pub filter: Filter,
    pub status: Option<String>,
    pub from_ip: Option<IpAddr>,
    pub to_ip: Option<IpAddr>,
}

type Rows = BTreeMap<(u64, String), Row>;
/// Items that an agent sent to junk folders.
type Junk = BTreeSet<u64>;

/// The newest `max` rows, newest first, and whether there are more.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn rows(folder: &Path, wanted: &Wanted, max: usize) -> io::Result<(Vec<Row>, bool)> {
    let filter = &wanted.filter;
    let mut all = Rows::new();
    let mut junk = Junk::new();
    let mut more = false;
    for file in files::newest_first(folder, PREFIX, filter.start, filter.end)? {
        let mut here = Rows::new();
        in_file(&file.path, filter, |record| {
            if record.is(EventId::AgentInfo) && crate::story::junks(&record) && junk.len() < ROWS_MAX {
                junk.insert(record.internal_message_id);
            }
            enter(&mut here, &record, filter);
        })?;
        for (key, older) in here {
            match all.get_mut(&key) {
                Some(row) => row.join(older),
                None => {
                    all.insert(key, older);
                }
            }
        }
        // Rows that are chosen by what older files may still tell cannot be counted before.
        let settled = wanted.status.is_none() && wanted.from_ip.is_none() && wanted.to_ip.is_none();
        let bound = if settled { max.saturating_mul(2) } else { ROWS_MAX };
        if all.len() > bound {
            more = true;
            break;
        }
    }
    for row in all.values_mut().filter(|row| row.status == Status::Delivered && row.to_ip.is_none()) {
        if junk.contains(&row.item) {
            row.status = Status::FilteredAsSpam;
        }
    }
    let fits = |row: &Row| {
        wanted.status.as_deref().is_none_or(|s| s.eq_ignore_ascii_case(row.status.name()))
            && wanted.from_ip.is_none_or(|ip| row.from_ip == Some(ip))
            && wanted.to_ip.is_none_or(|ip| row.to_ip == Some(ip))
    };
    let mut rows: Vec<Row> = all.into_values().filter(fits).collect();
    rows.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| a.recipient.cmp(&b.recipient)));
    more |= rows.len() > max;
    rows.truncate(max);
    Ok((rows, more))
}

/// Rows in memory at most, a few hundred bytes each.
const ROWS_MAX: usize = 200_000;

impl Row {
    /// Takes what an older file knows.
    fn join(&mut self, older: Row) {
        self.received = self.received.min(older.received);
        if self.status == Status::GettingStatus {
            self.status = older.status;
        }
        self.from_ip = self.from_ip.or(older.from_ip);
        self.to_ip = self.to_ip.or(older.to_ip);
    }
}

fn enter(rows: &mut Rows, record: &Record, filter: &Filter) {
    let Some(event) = record.event() else { return };
    let Some(status) = status(event, record) else { return };
    if event == EventId::Dsn && record.recipients.is_empty() {
        return;
    }
    for address in &record.recipients {
        put(rows, record, address, status, filter);
    }
    if matches!(event, EventId::Expand | EventId::Redirect) {
        put(rows, record, &record.related_recipient_address, Status::Expanded, filter);
    }
}

/// What an event says of its recipients; `None` for those that say nothing.
fn status(event: EventId, record: &Record) -> Option<Status> {
    let says = |word: &str| {
        let texts = [&record.source_context, &record.custom_data, &record.message_info];
        let said = record.recipient_status.iter().chain(texts);
        said.map(|text| text.to_lowercase()).any(|text| text.contains(word))
    };
    Some(match event {
        EventId::Receive | EventId::Submit | EventId::Expand | EventId::Redirect => Status::GettingStatus,
        EventId::Defer => Status::Pending,
        EventId::Deliver if says("junk") => Status::FilteredAsSpam,
        EventId::Deliver | EventId::Send => Status::Delivered,
        EventId::Fail | EventId::DeliverFail => Status::Failed,
        EventId::PoisonMessage => Status::Quarantined,
        EventId::Drop if says("quarantine") => Status::Quarantined,
        EventId::Drop => Status::FilteredAsSpam,
        _ => return None,
    })
}

fn put(rows: &mut Rows, record: &Record, address: &str, status: Status, filter: &Filter) {
    if address.is_empty() || rows.len() > ROWS_MAX {
        return;
    }
    if !filter.recipients.is_empty() && !filter.recipients.iter().any(|wanted| matches(wanted, address)) {
        return;
    }
    let key = (record.internal_message_id, address.to_lowercase());
    let row = rows.entry(key).or_insert_with(|| Row {
        item: record.internal_message_id,
        message_id: record.message_id.clone(),
        trace_id: trace_id(record),
        received: record.time,
        sender: record.sender.clone(),
        recipient: address.to_owned(),
        subject: record.message_subject.clone(),
        status: Status::GettingStatus,
        from_ip: record.original_client_ip.or(record.client_ip),
        to_ip: None,
        size: record.total_bytes,
    });
    if status != Status::GettingStatus {
        row.status = status;
    }
    if record.is(EventId::Send) {
        row.to_ip = record.server_ip;
    }
}

fn trace_id(record: &Record) -> String {
    match record.network_message_id.as_str() {
        "" => NetworkId::of(record.internal_message_id).to_string(),
        id => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Message, Recipient, Source};
    use crate::layout::{FIELDS, Lines};

    #[test]
    fn a_row_for_each_recipient_over_several_files() {
        let folder = std::env::temp_dir().join(format!("waypost-trace-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let message = Message {
            item: 9,
            message_id: "m@x",
            subject: "Plan",
            sender: "amy@contoso.test",
            size: 10,
            client_ip: "192.0.2.1".parse().ok(),
            ..Message::default()
        };
        let start = 1_772_524_800_000;
        let file = |hour: i64, events: &[Event<'_>]| {
            let mut out = format!("#Fields: {FIELDS}\r\n").into_bytes();
            let mut lines = Lines::new(true, 0);
            events.iter().for_each(|event| lines.append(event, &mut out));
            std::fs::write(folder.join(format!("MSGTRK20260303{hour:02}-1.LOG")), out).unwrap();
        };
        let accepted = [Recipient::new("Team@contoso.test", ""), Recipient::new("zoe@example.net", "")];
        let zoe = [Recipient::new("zoe@example.net", "451 later")];
        let members = [Recipient::new("bob@contoso.test", ""), Recipient::new("cid@contoso.test", "")];
        let bob = [Recipient::new("bob@contoso.test", "")];
        let cid = [Recipient::new("cid@contoso.test", "Junk")];
        file(
            8,
            &[
                Event::receive(Timestamp(start), &message, "", &accepted),
                Event::of(Timestamp(start + 1), &message, Source::Resolver, EventId::Expand)
                    .to(&members)
                    .related("team@contoso.test"),
                Event::deliver(Timestamp(start + 2), &message, &bob),
                Event::deliver(Timestamp(start + 2), &message, &cid),
                Event::defer(Timestamp(start + 3), &message, Source::Smtp, "", &zoe),
            ],
        );
        let show = |rows: &[Row]| {
            rows.iter().map(|r| format!("{} {}", r.recipient, r.status.name())).collect::<Vec<_>>()
        };
        let pending = rows(&folder, &Wanted::default(), 10).unwrap().0;
        let expected = [
            "bob@contoso.test Delivered",
            "cid@contoso.test FilteredAsSpam",
            "Team@contoso.test Expanded",
            "zoe@example.net Pending",
        ];
        let mut shown = show(&pending);
        shown.sort_by_key(|s| s.to_lowercase());
        assert_eq!(shown, expected);
        let server = ("192.0.2.7".parse().ok(), "mx.example.net");
        file(9, &[Event::send(Timestamp(start + 3_600_000), &message, "out", server, &zoe)]);
        let filter = Filter { recipients: vec!["zoe@*".into()], ..Filter::default() };
        let (found, more) = rows(&folder, &Wanted { filter, ..Wanted::default() }, 10).unwrap();
        assert_eq!((show(&found), more), (vec!["zoe@example.net Delivered".to_owned()], false));
        assert_eq!(found[0].received, Timestamp(start));
        assert_eq!(found[0].to_ip, "192.0.2.7".parse().ok());
        assert_eq!(found[0].from_ip, "192.0.2.1".parse().ok());
        let failed = Wanted { status: Some("failed".into()), ..Wanted::default() };
        assert!(rows(&folder, &failed, 10).unwrap().0.is_empty());
        assert!(rows(&folder, &Wanted::default(), 2).unwrap().1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
