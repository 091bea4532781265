//! SELECT, EXAMINE, CLOSE and UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2; RFC 7162 §3.2.5).

use super::fetch::Targets;
use super::marks::{MarkCache, all_flags};
use super::outcome::{Done, Fail, Outcome};
use super::session::Session;
use waypost_imap::command::{Qresync, Select};
use waypost_imap::response::{Code, ListEntry, Status};
use waypost_imap::value::FolderName;
use waypost_mailbox::{Account, UidSet};

/// A folder that is selected.
pub(crate) struct Selected {
    /// The client's view of it.
    pub folder: waypost_mailbox::Session,
    pub name: FolderName,
    pub read_only: bool,
    /// `$`: what the last SEARCH with RETURN (SAVE) found (RFC 9051 §6.4.4.1).
    pub saved: UidSet,
    /// How many keywords of the account the client has been told of.
    pub keywords_told: usize,
}

impl Session {
    pub(crate) async fn select(&mut self, select: Select) -> Outcome {
        self.noted = select.folder.to_string();
        if select.qresync.is_some() && !self.enabled.qresync {
            return Err(Fail::bad("ENABLE QRESYNC first"));
        }
        let account = self.account()?;
        // Whatever happens next, nothing is selected any more (RFC 9051 §6.3.2).
        if self.selected.take().is_some() {
            self.reply().untagged(Status::Ok, Some(&Code::Closed), "The previous folder is closed");
        }
        let tree = account.folders();
        let Some(found) = tree.find(select.folder.as_str()).filter(|f| f.selectable) else {
            return Err(Fail::no(Code::NonExistent, "No such folder"));
        };
        let found = found.clone();
        drop(tree);
        let started = tokio::time::Instant::now();
        let folder = account.select(found.id).await?;
        super::legs::step(self, "select", started.elapsed());
        if select.condstore || select.qresync.is_some() {
            self.enabled.condstore = true;
        }
        let mut selected = Selected {
            folder,
            name: select.folder,
            read_only: select.read_only,
            saved: UidSet::new(),
            keywords_told: 0,
        };
        self.present(&account, &mut selected, &found.object_id());
        if let Some(known) = &select.qresync {
            self.resynchronise(&account, &selected, known).await?;
        }
        let read_only = selected.read_only;
        self.selected = Some(Box::new(selected));
        Ok(if read_only {
            Done::plain(Code::ReadOnly, "Folder opened for reading")
        } else {
            Done::plain(Code::ReadWrite, "Folder opened")
        })
    }

    /// The facts of the folder, in the order of the examples in RFC 9051 §6.3.2.
    fn present(&mut self, account: &Account, selected: &mut Selected, object_id: &str) {
        let keywords = account.keywords();
        selected.keywords_told = keywords.names().len();
        let flags = all_flags(&keywords);
        let status = selected.folder.status();
        let messages = selected.folder.len();
        let rev2 = self.enabled.rev2;
        let first_unseen = if rev2 { None } else { selected.folder.first_unseen() };
        let mut to = self.reply();
        to.flags(&flags);
        let permanent = if selected.read_only {
            Code::PermanentFlags { flags: &[], any: false }
        } else {
            Code::PermanentFlags { flags: &flags, any: true }
        };
        to.untagged(Status::Ok, Some(&permanent), "Flags that are kept");
        to.exists(messages);
        if !rev2 {
            // No message is ever \Recent here: RFC 9051 gave the notion up, and clients do not miss it.
            to.recent(0);
        }
        if let Some(seq) = first_unseen {
            to.untagged(Status::Ok, Some(&Code::Unseen(seq)), "First unseen message");
        }
        let validity = Code::UidValidity(selected.folder.uid_validity());
        to.untagged(Status::Ok, Some(&validity), "UIDs are valid");
        to.untagged(Status::Ok, Some(&Code::UidNext(status.uid_next)), "Next UID");
        let highest = Code::HighestModSeq(status.highest_modseq.max(1));
        to.untagged(Status::Ok, Some(&highest), "Highest mod-sequence");
        to.untagged(Status::Ok, Some(&Code::MailboxId(object_id)), "Object id");
        if rev2 {
            // RFC 9051 §6.3.2: the name as we know it.
            to.list(&ListEntry {
                attributes: &[],
                delimiter: Some('/'),
                name: &selected.name,
                old_name: None,
                child_subscribed: false,
            });
        }
    }

    /// What the client missed since it was last here (RFC 7162 §3.2.5.1).
    async fn resynchronise(
        &mut self,
        account: &Account,
        selected: &Selected,
        known: &Qresync,
    ) -> Result<(), Fail> {
        if known.uid_validity != selected.folder.uid_validity() {
            return Ok(());
        }
        let last = selected.folder.last_uid();
        let uids = known.known_uids.as_ref().map(|set| UidSet::from_ranges(set.resolve(last)));
        let since = account.changes_since(&selected.folder, known.mod_seq, uids.as_ref()).await?;
        let mut marks = MarkCache::new(account.keywords());
        self.reply().vanished(true, since.vanished.ranges());
        for (seq, row) in &since.changed {
            let mut to = self.reply();
            let mut line = to.fetch(*seq);
            line.uid(row.uid).flags(marks.list(row.mark())).mod_seq(row.modseq);
            line.finish();
            self.wire.flush_if_full().await?;
        }
        Ok(())
    }

    /// CLOSE: expunges without telling, then unselects.
    pub(crate) async fn close(&mut self) -> Outcome {
        let account = self.account()?;
        let condstore = self.enabled.condstore;
        let Some(selected) = self.selected.take() else { return Err(Fail::bad("No folder is selected")) };
        if selected.read_only || selected.folder.status().deleted == 0 && !selected.folder.has_changes() {
            return Ok(Done::text("Folder closed"));
        }
        let expunged = match account.expunge(selected.folder.folder(), &UidSet::all()).await {
            Ok(expunged) => expunged,
            Err(error) => {
                // A NO leaves the folder selected (RFC 9051 §6.4.1).
                self.selected = Some(selected);
                return Err(error.into());
            }
        };
        let highest = expunged.highest_modseq;
        expunged.changes.announce();
        if condstore && !expunged.uids.is_empty() {
            return Ok(Done::plain(Code::HighestModSeq(highest), "Folder expunged and closed"));
        }
        Ok(Done::text("Folder closed"))
    }

    pub(crate) fn unselect(&mut self) -> Outcome {
        self.selected = None;
        Ok(Done::text("Folder closed, nothing expunged"))
    }

    /// The messages that a set names. With message numbers, one that does not exist makes the command wrong (RFC 9051 §9,
    /// `seq-number`); UIDs that do not exist are left out.
    pub(crate) fn targets(
        &mut self,
        uid: bool,
        set: &waypost_imap::value::SequenceSet,
    ) -> Result<Targets, Fail> {
        let selected = self.selected()?;
        if set.is_saved() {
            return Ok(Targets::of_uids(&selected.folder, &selected.saved));
        }
        if uid {
            let uids = UidSet::from_ranges(set.resolve(selected.folder.last_uid()));
            return Ok(Targets::of_uids(&selected.folder, &uids));
        }
        let count = selected.folder.len();
        let ranges = set.resolve(count);
        match ranges.last() {
            // `1:*` of an empty folder names nothing, and clients send it without looking.
            _ if count == 0 && set_has_star(set) => Ok(Targets::default()),
            Some(&(_, last)) if last > count => Err(Fail::bad("No message with that number")),
            _ => Ok(Targets::of_seqs(ranges)),
        }
    }
}

fn set_has_star(set: &waypost_imap::value::SequenceSet) -> bool {
    match set {
        waypost_imap::value::SequenceSet::Saved => false,
        waypost_imap::value::SequenceSet::Ranges(ranges) => {
            ranges.iter().any(|r| r.start.is_star() || r.end.is_star())
        }
    }
}
