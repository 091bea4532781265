//! SORT and THREAD (RFC 5256, RFC 5957): from summaries, with the order and the trees of the mime room.

use super::{Cancel, Numbered, Query, SearchError, SortKey, SortOrder, ThreadKind};
use crate::account::Account;
use crate::limits::SUMMARY_PAGE;
use crate::message::Stored;
use crate::session::Session;
use crate::view::Row;
use std::cmp::Ordering;
use waypost_base::MessageId;
use waypost_mime::collate;
use waypost_mime::thread::{Forest, Record, ordered_subject, references};

impl Account {
    /// Like [`Account::search`], in the order asked for; what is equal stays in the order of sequence numbers.
    pub async fn sort(
        &self,
        session: &Session,
        query: &Query,
        order: &[SortOrder],
        cancel: &Cancel,
    ) -> Result<Vec<(u32, u32)>, SearchError> {
        let found = self.find(session, query, cancel).await?;
        let needs_summary = order.iter().any(|o| !matches!(o.key, SortKey::Arrival | SortKey::Size));
        let mut keyed: Vec<(Vec<Value>, Numbered)> = Vec::with_capacity(found.len());
        for page in found.chunks(SUMMARY_PAGE) {
            cancel.check()?;
            let ids: Vec<MessageId> = page.iter().map(|(_, row)| row.message).collect();
            let summaries = if needs_summary { self.summaries(&ids).await } else { Vec::new() };
            for (i, numbered) in page.iter().enumerate() {
                let stored = summaries.get(i).and_then(|s| s.as_ref().ok());
                keyed.push((order.iter().map(|o| value(o.key, &numbered.1, stored)).collect(), *numbered));
            }
            tokio::task::yield_now().await;
        }
        keyed.sort_by(|a, b| compare(order, &a.0, &b.0).then(a.1.0.cmp(&b.1.0)));
        Ok(keyed.into_iter().map(|(_, (seq, row))| (seq, row.uid)).collect())
    }

    /// Like [`Account::search`], as threads of sequence numbers, or of UIDs.
    pub async fn thread(
        &self,
        session: &Session,
        query: &Query,
        kind: ThreadKind,
        by_uid: bool,
        cancel: &Cancel,
    ) -> Result<Forest, SearchError> {
        let found = self.find(session, query, cancel).await?;
        let mut messages: Vec<(Numbered, Option<Stored>)> = Vec::with_capacity(found.len());
        for page in found.chunks(SUMMARY_PAGE) {
            cancel.check()?;
            let ids: Vec<MessageId> = page.iter().map(|(_, row)| row.message).collect();
            let summaries = self.summaries(&ids).await;
            messages.extend(page.iter().copied().zip(summaries.into_iter().map(Result::ok)));
            tokio::task::yield_now().await;
        }
        let build = move || {
            let records: Vec<Record<'_>> =
                messages.iter().map(|(n, stored)| record(n, stored.as_ref(), by_uid)).collect();
            match kind {
                ThreadKind::References => references(&records),
                ThreadKind::OrderedSubject => ordered_subject(&records),
            }
        };
        Ok(tokio::task::spawn_blocking(build).await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a threading worker failed");
            Forest::default()
        }))
    }
}

/// A message that cannot be read is a thread of its own.
fn record<'a>((seq, row): &Numbered, stored: Option<&'a Stored>, by_uid: bool) -> Record<'a> {
    let id = if by_uid { row.uid } else { *seq };
    let Some(summary) = stored.and_then(|s| s.summary().ok()) else {
        return Record { id, sent: row.internal, ..Record::default() };
    };
    Record {
        id,
        sent: summary.date.map_or(row.internal, |d| d.at),
        message_id: summary.message_id,
        references: summary.thread_references(),
        base_subject: summary.base_subject,
        reply: summary.facts.reply(),
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(String),
}

fn value(key: SortKey, row: &Row, stored: Option<&Stored>) -> Value {
    let summary = stored.and_then(|s| s.summary().ok());
    // A message that cannot be read sorts as if it had no header.
    let text = |get: fn(&waypost_mime::SummaryRef<'_>) -> String| {
        Value::Text(summary.as_ref().map(get).unwrap_or_default())
    };
    match key {
        SortKey::Arrival => Value::Number(row.internal.0),
        SortKey::Size => Value::Number(i64::from(row.size)),
        SortKey::Date => Value::Number(summary.and_then(|s| s.date).map_or(row.internal.0, |d| d.at.0)),
        SortKey::Subject => text(|s| collate::key(s.base_subject)),
        SortKey::From => text(|s| collate::key(s.from.mailbox)),
        SortKey::To => text(|s| collate::key(s.to.mailbox)),
        SortKey::Cc => text(|s| collate::key(s.cc.mailbox)),
        SortKey::DisplayFrom => text(|s| collate::key(s.from.display)),
        SortKey::DisplayTo => text(|s| collate::key(s.to.display)),
    }
}

fn compare(order: &[SortOrder], a: &[Value], b: &[Value]) -> Ordering {
    for ((o, a), b) in order.iter().zip(a).zip(b) {
        let ordering = if o.reverse { b.cmp(a) } else { a.cmp(b) };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}
