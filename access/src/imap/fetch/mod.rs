//! FETCH (RFC 9051 §6.4.5, RFC 7162 §3.1.4, RFC 3516, RFC 8474, RFC 8514, RFC 8970).
//!
//! Three speeds. What the folder's rows know (flags, UID, dates, size) is written straight from memory. What summaries
//! hold (envelope, structure) is copied from pages of them. Bodies come in pages of about 1 MiB, or in pieces of 256 KiB
//! when one message is larger; in all cases the next page is read while the present one is written.
//!
//! A message with NUL bytes is given as it is, although RFC 9051 §4.3.2 wants them encoded: what was stored has to come
//! back byte for byte. BINARY, which may hold them, announces them as a literal8.

mod page;
mod section;
mod targets;

pub(crate) use targets::Targets;

use super::legs;
use super::marks::MarkCache;
use super::outcome::{Done, Fail, Outcome};
use super::session::Session;
use super::sync::Skip;
use page::{Page, load};
use waypost_imap::command::{Fetch, FetchItem, SectionText};
use waypost_imap::response::{Code, Responder};
use waypost_mailbox::{Account, FlagOp, Flags, Mark, Row, UidSet};

/// Rows copied out of the folder at once.
const ROWS: usize = 1024;
/// Bytes of bodies in one page.
const PAGE_BYTES: u64 = 1024 * 1024;

/// What one FETCH needs, found once.
pub(crate) struct Plan {
    pub items: Vec<FetchItem>,
    /// Something that only the stored summary knows.
    pub summaries: bool,
    /// Something of the message's bytes.
    pub bodies: bool,
    /// Something that marks messages as read.
    pub sees: bool,
    pub flags: bool,
    /// Changes of flags are told with their mod-sequence, and no item does so anyway.
    pub adds_mod_seq: bool,
    pub utf8: bool,
}

impl Plan {
    fn new(fetch: &Fetch, enabled: super::session::Enabled) -> Plan {
        let mut items: Vec<FetchItem> = Vec::with_capacity(fetch.items.len() + 2);
        let mut add = |item: FetchItem| {
            if !items.contains(&item) {
                items.push(item);
            }
        };
        if fetch.uid || enabled.qresync {
            add(FetchItem::Uid);
        }
        fetch.items.iter().cloned().for_each(&mut add);
        // RFC 7162 §3.1.4.1: CHANGEDSINCE implies MODSEQ.
        if fetch.changed_since.is_some() {
            add(FetchItem::ModSeq);
        }
        let flags = items.contains(&FetchItem::Flags);
        let (mut summaries, mut bodies, mut sees) = (false, false, false);
        for item in &items {
            match item {
                FetchItem::Envelope
                | FetchItem::Body
                | FetchItem::BodyStructure
                | FetchItem::ThreadId
                | FetchItem::Preview { .. } => summaries = true,
                FetchItem::Section { peek, section, .. } => {
                    bodies = true;
                    sees |= !peek;
                    summaries |= !(section.part.is_empty() && section.text == SectionText::Whole);
                }
                FetchItem::Rfc822 => (bodies, sees) = (true, true),
                FetchItem::Rfc822Header => (bodies, summaries) = (true, true),
                FetchItem::Rfc822Text => (bodies, summaries, sees) = (true, true, true),
                FetchItem::Binary { peek, .. } => {
                    (bodies, summaries) = (true, true);
                    sees |= !peek;
                }
                FetchItem::BinarySize { .. } => (bodies, summaries) = (true, true),
                _ => {}
            }
        }
        let adds_mod_seq = enabled.condstore && !items.contains(&FetchItem::ModSeq);
        Plan { items, summaries, bodies, sees, flags, adds_mod_seq, utf8: enabled.utf8() }
    }
}

impl Session {
    pub(crate) async fn fetch(&mut self, fetch: Fetch) -> Outcome {
        let account = self.account()?;
        if fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        if fetch.vanished && !self.enabled.qresync {
            return Err(Fail::bad("ENABLE QRESYNC first"));
        }
        let plan = Plan::new(&fetch, self.enabled);
        let targets = self.targets(fetch.uid, &fetch.set)?;
        if fetch.vanished {
            self.tell_vanished(&account, &fetch).await?;
        }
        let since = fetch.changed_since.unwrap_or(0);
        let started = tokio::time::Instant::now();
        let (step, outcome) = if plan.bodies {
            ("read", self.fetch_pages(&account, targets, &plan, since).await)
        } else if plan.summaries {
            ("overview", self.fetch_pages(&account, targets, &plan, since).await)
        } else {
            ("flags", self.fetch_rows(&account, targets, &plan, since).await)
        };
        legs::step(self, step, started.elapsed());
        outcome
    }

    /// RFC 7162 §3.2.6: what of the set has gone since.
    async fn tell_vanished(&mut self, account: &Account, fetch: &Fetch) -> Result<(), Fail> {
        let selected = self.selected()?;
        // `*` reaches beyond the last message that is left: clients ask for 1:*, and the last may be what has gone.
        let uids = UidSet::from_ranges(fetch.set.resolve(u32::MAX));
        let since = fetch.changed_since.unwrap_or(0);
        let gone = account.changes_since(&selected.folder, since, Some(&uids)).await?.vanished;
        self.reply().vanished(true, gone.ranges());
        Ok(())
    }

    /// From the folder's rows alone.
    async fn fetch_rows(
        &mut self,
        account: &Account,
        mut targets: Targets,
        plan: &Plan,
        since: u64,
    ) -> Outcome {
        let mut marks = MarkCache::new(account.keywords());
        let mut rows = Vec::with_capacity(ROWS);
        let mut more = !targets.is_empty();
        while more {
            rows.clear();
            more = targets.fill(&self.selected()?.folder, &mut rows, {
                let mut left = ROWS;
                move |_| {
                    left -= 1;
                    left > 0
                }
            });
            for (seq, row) in rows.iter().filter(|(_, row)| row.modseq > since) {
                let mut to = Responder::new(&mut self.wire.out, plan.utf8);
                let mut line = to.fetch(*seq);
                for item in &plan.items {
                    page::row_item(&mut line, item, row, &mut marks);
                }
                line.finish();
                self.wire.flush_if_full().await?;
            }
        }
        Ok(Done::text("Fetched"))
    }

    /// With summaries or bodies: while a page is written, the next one is read.
    async fn fetch_pages(
        &mut self,
        account: &Account,
        mut targets: Targets,
        plan: &Plan,
        since: u64,
    ) -> Outcome {
        let mut marks = MarkCache::new(account.keywords());
        let mut tally = Tally::default();
        let mut rows = Vec::new();
        let mut more = self.next_rows(&mut targets, plan, since, &mut rows)?;
        let mut page = self.load_page(account, std::mem::take(&mut rows), plan).await?;
        loop {
            let following = if more {
                more = self.next_rows(&mut targets, plan, since, &mut rows)?;
                Some(std::mem::take(&mut rows))
            } else {
                None
            };
            self.tell_seen(&page).await?;
            let Some(next_rows) = following else {
                self.write_page(account, page, plan, &mut marks, &mut tally).await?;
                break;
            };
            let folder = self.selected()?.folder.folder();
            let unseen = self.unseen(&next_rows, plan)?;
            let (next, written) = tokio::join!(
                load(account, folder, next_rows, unseen, plan),
                self.write_page(account, page, plan, &mut marks, &mut tally)
            );
            written?;
            page = next?;
        }
        tally.outcome()
    }

    /// The rows of the next page. False when they are the last.
    fn next_rows(
        &mut self,
        targets: &mut Targets,
        plan: &Plan,
        since: u64,
        rows: &mut Vec<(u32, Row)>,
    ) -> Result<bool, Fail> {
        let count_max = if plan.bodies {
            waypost_mailbox::limits::BODY_PAGE
        } else {
            waypost_mailbox::limits::SUMMARY_PAGE
        };
        let (mut count, mut bytes) = (0, 0);
        let folder = &self.selected()?.folder;
        let mut more = true;
        while more && rows.is_empty() {
            more = targets.fill(folder, rows, |row| {
                count += 1;
                // Larger messages are read in pieces when their turn comes, so they do not weigh on the page.
                bytes += u64::from(row.size).min(64 * 1024);
                count < count_max && (!plan.bodies || bytes < PAGE_BYTES)
            });
            rows.retain(|(_, row)| row.modseq > since);
            (count, bytes) = (0, 0);
        }
        Ok(more)
    }

    async fn load_page(
        &mut self,
        account: &Account,
        rows: Vec<(u32, Row)>,
        plan: &Plan,
    ) -> Result<Page, Fail> {
        let unseen = self.unseen(&rows, plan)?;
        let folder = self.selected()?.folder.folder();
        load(account, folder, rows, unseen, plan).await
    }

    /// The messages of a page that this FETCH marks as read.
    fn unseen(&mut self, rows: &[(u32, Row)], plan: &Plan) -> Result<UidSet, Fail> {
        if !plan.sees || self.selected()?.read_only {
            return Ok(UidSet::new());
        }
        Ok(rows.iter().filter(|(_, r)| !r.flags.has(Flags::SEEN)).map(|(_, r)| r.uid).collect())
    }

    /// Takes over that the page's messages are read now; their lines will say so. What others did is told here.
    async fn tell_seen(&mut self, page: &Page) -> Result<(), Fail> {
        if !page.seen.is_empty() {
            let uids: UidSet = page.seen.iter().map(|row| row.uid).collect();
            self.sync_but(false, &Skip::Uids(&uids)).await?;
        }
        Ok(())
    }
}

/// What went wrong with single messages while the others were served.
#[derive(Default)]
pub(crate) struct Tally {
    gone: usize,
    first_failure: Option<Fail>,
}

impl Tally {
    /// A message cannot be served; the rest still is.
    pub fn fault(&mut self, fault: waypost_mailbox::Fault) {
        if matches!(fault.kind, waypost_mailbox::FaultKind::Gone) {
            self.gone += 1;
        } else if self.first_failure.is_none() {
            self.first_failure = Some(fault.into());
        }
    }

    pub fn fail(&mut self, fail: Fail) {
        self.first_failure.get_or_insert(fail);
    }

    fn outcome(self) -> Outcome {
        match self.first_failure {
            Some(fail) => Err(fail),
            // RFC 5530 §3: some of them are gone, which the client learns with the next EXPUNGE.
            None if self.gone > 0 => {
                Ok(Done::plain(Code::ExpungeIssued, "Some messages were expunged meanwhile"))
            }
            None => Ok(Done::text("Fetched")),
        }
    }
}

/// Marks messages as read; that it cannot be done must not keep anybody from reading.
pub(super) async fn mark_seen(account: &Account, folder: waypost_base::FolderId, uids: &UidSet) -> Vec<Row> {
    if uids.is_empty() {
        return Vec::new();
    }
    let seen = Mark { flags: Flags::SEEN, keywords: 0 };
    match account.store_flags(folder, uids, FlagOp::Add, seen, None).await {
        Ok(outcome) => {
            outcome.changes.announce();
            outcome.modified
        }
        Err(error) => {
            tracing::warn!(%error, "messages could not be marked as read");
            Vec::new()
        }
    }
}
