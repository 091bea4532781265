//! One page of a FETCH: read as a whole, then written message by message.
//!
//! Law: everything that can fail is fetched before a message's line is begun, since a line that has begun must be
//! finished. Only the later pieces of a large body are read while it is written; if that fails, the connection ends.

use super::section::{self, Decoded};
use super::{Plan, Tally, mark_seen};
use crate::imap::marks::MarkCache;
use crate::imap::outcome::{End, Fail};
use crate::imap::session::Session;
use bytes::Bytes;
use std::ops::Range;
use waypost_base::{FolderId, MessageId};
use waypost_imap::command::{FetchItem, Partial, Section, SectionText};
use waypost_imap::response::{FetchLine, Responder};
use waypost_mailbox::{Account, Fault, FaultKind, MessageBody, Row, Stored, UidSet};
use waypost_mime::{Limits, Scanner, Summary, SummaryRef};

/// Bytes of a large body in one piece.
const PIECE: u64 = 256 * 1024;

/// Messages with all that was read of them.
pub(crate) struct Page {
    rows: Vec<(u32, Row)>,
    /// Empty when no summary is needed.
    stored: Vec<Result<Stored, Fault>>,
    /// Empty when no body is needed.
    bodies: Vec<Result<MessageBody, Fault>>,
    /// Messages that were marked as read with this page, as they are now, by UID.
    pub seen: Vec<Row>,
}

/// Reads a page. What fails for one message is kept beside the others.
pub(crate) async fn load(
    account: &Account,
    folder: FolderId,
    rows: Vec<(u32, Row)>,
    unseen: UidSet,
    plan: &Plan,
) -> Result<Page, Fail> {
    let ids: Vec<MessageId> = rows.iter().map(|(_, row)| row.message).collect();
    let (stored, bodies, seen) = tokio::join!(
        async { if plan.summaries { account.summaries(&ids).await } else { Vec::new() } },
        async { if plan.bodies { account.bodies(&ids).await } else { Vec::new() } },
        mark_seen(account, folder, &unseen),
    );
    Ok(Page { rows, stored, bodies, seen })
}

/// One message of a page.
struct Message<'p> {
    seq: u32,
    row: Row,
    /// Marked as read just now: the line says so.
    seen_now: bool,
    stored: Option<&'p Stored>,
    summary: Option<SummaryRef<'p>>,
    body: Option<&'p MessageBody>,
    /// A fresh scan, for the rare message whose stored summary had to leave something out.
    full: Option<Box<Summary>>,
}

/// An item that needed work before the line could begin.
enum Ready {
    /// Nothing: the row or the summary has it.
    Plain,
    Ranges {
        ranges: Vec<Range<u64>>,
        first: Option<Bytes>,
    },
    Nil,
    Bytes(Bytes),
    Size(u64),
}

impl Session {
    pub(super) async fn write_page(
        &mut self,
        account: &Account,
        page: Page,
        plan: &Plan,
        marks: &mut MarkCache,
        tally: &mut Tally,
    ) -> Result<(), Fail> {
        for (at, (seq, row)) in page.rows.iter().enumerate() {
            let stored = match page.stored.get(at) {
                Some(Err(fault)) => {
                    tally.fault(fault.clone());
                    continue;
                }
                Some(Ok(stored)) => Some(stored),
                None => None,
            };
            let body = match page.bodies.get(at) {
                Some(Err(fault)) => {
                    tally.fault(fault.clone());
                    continue;
                }
                Some(Ok(body)) => Some(body),
                None => None,
            };
            let summary = match stored.map(Stored::summary).transpose() {
                Ok(summary) => summary,
                Err(error) => {
                    tally.fault(Fault { message: row.message, kind: FaultKind::Damaged(error.to_string()) });
                    continue;
                }
            };
            let seen =
                page.seen.binary_search_by_key(&row.uid, |r| r.uid).ok().and_then(|i| page.seen.get(i));
            let message = Message {
                seq: *seq,
                row: *seen.unwrap_or(row),
                seen_now: seen.is_some(),
                stored,
                summary,
                body,
                full: None,
            };
            self.write_message(account, message, plan, marks, tally).await?;
            self.wire.flush_if_full().await?;
        }
        Ok(())
    }

    async fn write_message(
        &mut self,
        account: &Account,
        mut message: Message<'_>,
        plan: &Plan,
        marks: &mut MarkCache,
        tally: &mut Tally,
    ) -> Result<(), Fail> {
        let mut ready = Vec::new();
        let prepared: Result<(), Unable> = async {
            message.rescan_if_needed(account, plan).await?;
            for item in &plan.items {
                ready.push(message.prepare(account, item).await?);
            }
            Ok(())
        }
        .await;
        match prepared {
            Ok(()) => {}
            Err(Unable::Fault(fault)) => {
                tally.fault(fault);
                return Ok(());
            }
            Err(Unable::UnknownCte) => {
                let code = waypost_imap::response::Code::UnknownCte;
                tally.fail(Fail::no(code, "A part has an encoding that this server does not know"));
                return Ok(());
            }
        }
        let mut begun = false;
        for (item, ready) in plan.items.iter().zip(ready) {
            let mut to = Responder::new(&mut self.wire.out, plan.utf8);
            let mut line = if begun { to.fetch_resume() } else { to.fetch(message.seq) };
            begun = true;
            match ready {
                Ready::Plain => message.write_plain(&mut line, item, marks, plan.utf8),
                Ready::Nil => write_nil(&mut line, item),
                Ready::Size(bytes) => {
                    if let FetchItem::BinarySize { part } = item {
                        line.binary_size(part, bytes);
                    }
                }
                Ready::Bytes(bytes) => {
                    if let FetchItem::Binary { part, partial, .. } = item {
                        let (origin, nul) = (partial.map(|p| p.offset), bytes.contains(&0));
                        line.binary_head(part, origin, bytes.len() as u64, nul);
                        self.wire.flush_with(&bytes).await?;
                    }
                }
                Ready::Ranges { ranges, first } => {
                    let length = ranges.iter().map(|r| r.end - r.start).sum();
                    write_head(&mut line, item, length);
                    match message.body {
                        Some(MessageBody::Small(bytes)) => {
                            for range in &ranges {
                                line.raw(slice(bytes, range));
                            }
                        }
                        Some(body) => self.stream(account, body, &ranges, first).await?,
                        None => {}
                    }
                }
            }
        }
        let mut to = Responder::new(&mut self.wire.out, plan.utf8);
        let mut line = to.fetch_resume();
        if message.seen_now && !plan.flags {
            line.flags(marks.list(message.row.mark()));
        }
        if message.seen_now && plan.adds_mod_seq {
            line.mod_seq(message.row.modseq);
        }
        line.finish();
        Ok(())
    }

    /// A large body, piece by piece: the next is read while one is written.
    async fn stream(
        &mut self,
        account: &Account,
        body: &MessageBody,
        ranges: &[Range<u64>],
        first: Option<Bytes>,
    ) -> Result<(), Fail> {
        let mut pieces = pieces(ranges);
        let Some(range) = pieces.next() else { return Ok(()) };
        let mut piece = match first {
            Some(bytes) => bytes,
            None => account.read(body, range.clone()).await.map_err(broken)?,
        };
        let mut wanted = range.end - range.start;
        loop {
            if piece.len() as u64 != wanted {
                return Err(Fail::End(End::Gone(std::io::ErrorKind::InvalidData)));
            }
            let Some(range) = pieces.next() else { break };
            wanted = range.end - range.start;
            let (written, next) = tokio::join!(self.wire.flush_with(&piece), account.read(body, range));
            written?;
            piece = next.map_err(broken)?;
        }
        Ok(self.wire.flush_with(&piece).await?)
    }
}

/// A body that fails in the middle cannot be made whole, and the client counts bytes: the connection has to end.
fn broken(fault: Fault) -> Fail {
    tracing::error!(%fault, "a body could not be read to its end");
    Fail::End(End::Gone(std::io::ErrorKind::InvalidData))
}

fn pieces(ranges: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> + '_ {
    ranges.iter().flat_map(|range| {
        let count = (range.end - range.start).div_ceil(PIECE);
        (0..count).map(move |i| {
            let start = range.start + i * PIECE;
            start..(start + PIECE).min(range.end)
        })
    })
}

fn slice<'b>(bytes: &'b Bytes, range: &Range<u64>) -> &'b [u8] {
    bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// Why one message cannot be served.
enum Unable {
    Fault(Fault),
    UnknownCte,
}

impl From<Fault> for Unable {
    fn from(fault: Fault) -> Unable {
        Unable::Fault(fault)
    }
}

impl Message<'_> {
    /// Scans the message anew when its summary says that it left out what is asked for.
    async fn rescan_if_needed(&mut self, account: &Account, plan: &Plan) -> Result<(), Unable> {
        let Some(summary) = &self.summary else { return Ok(()) };
        let (envelope, structure) = (summary.facts.envelope_partial(), summary.facts.structure_partial());
        let needs = |item: &FetchItem| match item {
            FetchItem::Envelope => envelope,
            FetchItem::Body | FetchItem::BodyStructure => structure,
            _ => false,
        };
        if !plan.items.iter().any(needs) {
            return Ok(());
        }
        let body = account.body(self.row.message).await?;
        let mut scanner = Scanner::new(Limits::full());
        for piece in pieces(std::slice::from_ref(&(0..body.size()))) {
            scanner.feed(&account.read(&body, piece).await?);
        }
        self.full = Some(Box::new(scanner.finish()));
        Ok(())
    }

    async fn prepare(&self, account: &Account, item: &FetchItem) -> Result<Ready, Unable> {
        let header = Section { part: Vec::new(), text: SectionText::Header };
        let text = Section { part: Vec::new(), text: SectionText::Text };
        let whole = Section { part: Vec::new(), text: SectionText::Whole };
        match item {
            FetchItem::Section { section, partial, .. } => self.ranges(account, section, *partial).await,
            FetchItem::Rfc822 => self.ranges(account, &whole, None).await,
            FetchItem::Rfc822Header => self.ranges(account, &header, None).await,
            FetchItem::Rfc822Text => self.ranges(account, &text, None).await,
            FetchItem::Binary { part, partial, .. } => {
                let (Some(stored), Some(body)) = (self.stored, self.body) else { return Ok(Ready::Nil) };
                let partial = partial.map(|p| (p.offset, p.length));
                Ok(match section::binary(account, stored, body, part, partial).await? {
                    Decoded::Bytes(bytes) => Ready::Bytes(bytes),
                    Decoded::NoPart => Ready::Nil,
                    Decoded::UnknownCte => return Err(Unable::UnknownCte),
                })
            }
            FetchItem::BinarySize { part } => {
                let (Some(stored), Some(body)) = (self.stored, self.body) else { return Ok(Ready::Nil) };
                match section::binary_size(account, stored, body, part).await? {
                    Ok(bytes) => Ok(Ready::Size(bytes)),
                    Err(Decoded::UnknownCte) => Err(Unable::UnknownCte),
                    Err(_) => Ok(Ready::Size(0)),
                }
            }
            _ => Ok(Ready::Plain),
        }
    }

    async fn ranges(
        &self,
        account: &Account,
        section: &Section,
        partial: Option<Partial>,
    ) -> Result<Ready, Unable> {
        let Some(body) = self.body else { return Ok(Ready::Nil) };
        let found = section::ranges(account, self.summary.as_ref(), body, section).await?;
        let Some(mut ranges) = found else { return Ok(Ready::Nil) };
        if let Some(partial) = partial {
            ranges = waypost_mime::section::partial(&ranges, partial.offset, partial.length);
        }
        ranges.retain(|r| r.start < r.end);
        let first = match (body, pieces(&ranges).next()) {
            (MessageBody::Large(_), Some(range)) => Some(account.read(body, range).await?),
            _ => None,
        };
        Ok(Ready::Ranges { ranges, first })
    }

    /// Items that the row or the summary has.
    fn write_plain(&self, line: &mut FetchLine<'_>, item: &FetchItem, marks: &mut MarkCache, utf8: bool) {
        let Some(summary) = &self.summary else { return row_item(line, item, &self.row, marks) };
        match item {
            FetchItem::Envelope => match &self.full {
                Some(full) => {
                    let wide = full.envelope_utf8.as_ref().filter(|_| utf8);
                    line.envelope(wide.unwrap_or(&full.envelope))
                }
                None => line.envelope(summary.envelope(utf8)),
            },
            FetchItem::BodyStructure => match &self.full {
                Some(full) => line.body_structure(&structure(full, utf8).bytes),
                None => line.body_structure(summary.body_structure(utf8)),
            },
            FetchItem::Body => match &self.full {
                Some(full) => line.body(&without_extensions(structure(full, utf8))),
                None => {
                    line.item(b"BODY ");
                    summary.write_body(utf8, line.buffer());
                    line
                }
            },
            FetchItem::ThreadId => {
                let thread = self.stored.map(|s| super::super::ids::thread(s.thread));
                line.thread_id(thread.as_deref())
            }
            FetchItem::Preview { .. } => line.preview(Some(summary.preview)),
            _ => {
                row_item(line, item, &self.row, marks);
                line
            }
        };
    }
}

fn structure(full: &Summary, utf8: bool) -> &waypost_mime::summary::Structure {
    full.structure_utf8.as_ref().filter(|_| utf8).unwrap_or(&full.structure)
}

fn without_extensions(structure: &waypost_mime::summary::Structure) -> Vec<u8> {
    let mut out = Vec::with_capacity(structure.bytes.len());
    let mut at = 0;
    for gap in &structure.extensions {
        out.extend_from_slice(structure.bytes.get(at..gap.start as usize).unwrap_or_default());
        at = gap.end as usize;
    }
    out.extend_from_slice(structure.bytes.get(at..).unwrap_or_default());
    out
}

/// Items that the folder's row has.
pub(crate) fn row_item(line: &mut FetchLine<'_>, item: &FetchItem, row: &Row, marks: &mut MarkCache) {
    match item {
        FetchItem::Uid => line.uid(row.uid),
        FetchItem::Flags => line.flags(marks.list(row.mark())),
        FetchItem::InternalDate => line.internal_date(row.internal, 0),
        FetchItem::Size => line.size(u64::from(row.size)),
        FetchItem::ModSeq => line.mod_seq(row.modseq),
        FetchItem::EmailId => line.email_id(&crate::imap::ids::message(row.message)),
        FetchItem::SaveDate => line.save_date(Some((row.saved, 0))),
        _ => line,
    };
}

fn write_head(line: &mut FetchLine<'_>, item: &FetchItem, length: u64) {
    match item {
        FetchItem::Section { section, partial, .. } => {
            line.section_head(section, partial.map(|p| p.offset), length)
        }
        FetchItem::Rfc822 => line.rfc822_head("", length),
        FetchItem::Rfc822Header => line.rfc822_head(".HEADER", length),
        FetchItem::Rfc822Text => line.rfc822_head(".TEXT", length),
        _ => line,
    };
}

/// The message has no such part.
fn write_nil(line: &mut FetchLine<'_>, item: &FetchItem) {
    match item {
        FetchItem::Section { section, partial, .. } => line.section(section, partial.map(|p| p.offset), None),
        FetchItem::Binary { part, partial, .. } => line.binary_nil(part, partial.map(|p| p.offset)),
        FetchItem::Rfc822 | FetchItem::Rfc822Text | FetchItem::Rfc822Header => {
            write_head(line, item, 0);
            line
        }
        _ => line,
    };
}
