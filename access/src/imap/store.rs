//! STORE (RFC 9051 §6.4.6, RFC 7162 §3.1.3).

use super::marks::{self, MarkCache};
use super::outcome::{Done, DoneCode, Fail, Outcome};
use super::session::Session;
use super::sync::Skip;
use waypost_imap::command::{Store, StoreAction};
use waypost_imap::response::{Code, ranges};
use waypost_mailbox::{Account, FlagOp, Row, UidSet};

impl Session {
    pub(crate) async fn store(&mut self, store: Store) -> Outcome {
        let account = self.account()?;
        if store.unchanged_since.is_some() {
            self.enable_condstore();
        }
        let targets = self.targets(store.uid, &store.set)?;
        let selected = self.selected()?;
        if selected.read_only {
            return Err(Fail::no(Code::ReadOnly, "The folder was opened for reading"));
        }
        let uids = targets.uids(&selected.folder);
        let folder = selected.folder.folder();
        if uids.is_empty() {
            return Ok(Done::text("No such messages"));
        }
        let (op, mark) = match store.action {
            StoreAction::Add => (FlagOp::Add, marks::mark(&account, &store.flags).await?),
            StoreAction::Replace => (FlagOp::Replace, marks::mark(&account, &store.flags).await?),
            StoreAction::Remove => (FlagOp::Remove, marks::mark_to_remove(&account, &store.flags)),
        };
        let outcome = account.store_flags(folder, &uids, op, mark, store.unchanged_since).await?;
        outcome.changes.announce();
        if store.silent {
            self.sync_but(false, &Skip::Own(&outcome.modified)).await?;
            self.tell_mod_seqs(&store, &outcome.modified).await?;
        } else {
            self.sync_but(false, &Skip::Uids(&uids)).await?;
            self.tell_flags(&account, &store, &uids, &outcome.failed).await?;
        }
        self.stored(store.uid, &outcome.failed, &uids)
    }

    /// The flags as they are now, of every message that was named, changed or not.
    async fn tell_flags(
        &mut self,
        account: &Account,
        store: &Store,
        uids: &UidSet,
        failed: &UidSet,
    ) -> Result<(), Fail> {
        let mut marks = MarkCache::new(account.keywords());
        let (uid, condstore) = (store.uid || self.enabled.qresync, self.enabled.condstore);
        let selected = self.selected()?;
        let mut targets = super::fetch::Targets::of_uids(&selected.folder, uids);
        let mut rows: Vec<(u32, Row)> = Vec::new();
        let mut more = true;
        while more {
            rows.clear();
            let mut left = 1024;
            more = targets.fill(&self.selected()?.folder, &mut rows, |_| {
                left -= 1;
                left > 0
            });
            for (seq, row) in rows.iter().filter(|(_, row)| !failed.contains(row.uid)) {
                let mut to = self.reply();
                let mut line = to.fetch(*seq);
                if uid {
                    line.uid(row.uid);
                }
                line.flags(marks.list(row.mark()));
                if condstore {
                    line.mod_seq(row.modseq);
                }
                line.finish();
                self.wire.flush_if_full().await?;
            }
        }
        Ok(())
    }

    /// RFC 7162 §3.1.3: with CONDSTORE on, even a silent change tells its mod-sequence.
    async fn tell_mod_seqs(&mut self, store: &Store, changed: &[Row]) -> Result<(), Fail> {
        if !self.enabled.condstore {
            return Ok(());
        }
        let uid = store.uid || self.enabled.qresync;
        for row in changed {
            let Some((seq, _)) = self.selected()?.folder.by_uid(row.uid) else { continue };
            let mut to = self.reply();
            let mut line = to.fetch(seq);
            if uid {
                line.uid(row.uid);
            }
            line.mod_seq(row.modseq);
            line.finish();
            self.wire.flush_if_full().await?;
        }
        Ok(())
    }

    /// MODIFIED names what was left alone, by number or by UID as the command did.
    fn stored(&mut self, uid: bool, failed: &UidSet, all: &UidSet) -> Outcome {
        let selected = self.selected()?;
        if failed.is_empty() {
            // Expunges that wait to be told are the only changes left, and rare.
            let folder = &selected.folder;
            let gone = folder.has_untold_expunges()
                && folder.rows_of(all).any(|(_, row)| folder.is_expunged(row.uid));
            return Ok(match gone {
                true => Done::plain(Code::ExpungeIssued, "Some messages were expunged meanwhile"),
                false => Done::text("Stored"),
            });
        }
        let set = if uid {
            failed.ranges().to_vec()
        } else {
            ranges(selected.folder.rows_of(failed).map(|(seq, _)| seq))
        };
        Ok(Done::with(DoneCode::Modified(set), "Some messages have changed meanwhile"))
    }
}
