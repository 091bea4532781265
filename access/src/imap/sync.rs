//! Telling the client what has happened in its folder (RFC 9051 §7.5): at the end of commands, and in IDLE.

use super::marks::MarkCache;
use super::outcome::End;
use super::session::Session;
use waypost_imap::response::{Code, Status};
use waypost_mailbox::{Delta, Row, UidSet};

/// Changes of flags that a command has answered for already, so that they are not told twice.
#[derive(Default)]
pub(crate) enum Skip<'a> {
    #[default]
    Nothing,
    /// Messages whose flags the command tells itself.
    Uids(&'a UidSet),
    /// Messages with the modseq that the session's own change gave them: STORE .SILENT.
    Own(&'a [Row]),
}

impl Skip<'_> {
    fn skips(&self, row: &Row) -> bool {
        match self {
            Skip::Nothing => false,
            Skip::Uids(uids) => uids.contains(row.uid),
            Skip::Own(rows) => rows
                .binary_search_by_key(&row.uid, |r| r.uid)
                .ok()
                .and_then(|at| rows.get(at))
                .is_some_and(|own| own.modseq == row.modseq),
        }
    }
}

impl Session {
    /// Tells what is new. Without `expunges`, messages that are gone keep their numbers until later.
    pub(crate) async fn sync(&mut self, expunges: bool) -> Result<(), End> {
        self.sync_but(expunges, &Skip::Nothing).await
    }

    pub(crate) async fn sync_but(&mut self, expunges: bool, skip: &Skip<'_>) -> Result<(), End> {
        let Some(selected) = self.selected.as_mut() else { return Ok(()) };
        if selected.folder.is_deleted() {
            return Err(End::Bye("The selected folder was deleted".into()));
        }
        let news = selected.folder.has_changes() || (expunges && selected.folder.has_untold_expunges());
        if !news {
            return Ok(());
        }
        let deltas = selected.folder.poll_changes(expunges);
        self.tell_keywords();
        // In a box: most commands have nothing to tell, and idle sessions should not carry the room for it.
        Ok(Box::pin(self.tell(&deltas, skip)).await?)
    }

    async fn tell(&mut self, deltas: &[Delta], skip: &Skip<'_>) -> std::io::Result<()> {
        let Some(login) = &self.login else { return Ok(()) };
        let mut marks = MarkCache::new(login.account.keywords());
        let enabled = self.enabled;
        let mut vanished = UidSet::new();
        for delta in deltas {
            self.wire.flush_if_full().await?;
            let mut to = self.reply();
            match *delta {
                Delta::Expunged { uid, .. } if enabled.qresync => vanished.push(uid),
                Delta::Expunged { seq, .. } => to.expunge(seq),
                Delta::Exists(count) => {
                    to.vanished(false, std::mem::take(&mut vanished).ranges());
                    to.exists(count);
                }
                Delta::Flags { seq, row } => {
                    if skip.skips(&row) {
                        continue;
                    }
                    to.vanished(false, std::mem::take(&mut vanished).ranges());
                    let mut line = to.fetch(seq);
                    // A client that counts by UID must not have to guess (RFC 7162 §3.2.4; RFC 9051 §7.5.2).
                    if enabled.qresync || enabled.rev2 {
                        line.uid(row.uid);
                    }
                    line.flags(marks.list(row.mark()));
                    if enabled.condstore {
                        line.mod_seq(row.modseq);
                    }
                    line.finish();
                }
            }
        }
        self.reply().vanished(false, vanished.ranges());
        Ok(())
    }

    /// Says which keywords there are, when there are more than the client knows of.
    pub(crate) fn tell_keywords(&mut self) {
        let (Some(login), Some(selected)) = (&self.login, self.selected.as_mut()) else { return };
        let keywords = login.account.keywords();
        let known = keywords.names().len();
        if known <= selected.keywords_told {
            return;
        }
        selected.keywords_told = known;
        let read_only = selected.read_only;
        let flags = super::marks::all_flags(&keywords);
        let mut to = self.reply();
        to.flags(&flags);
        if !read_only {
            let code = Code::PermanentFlags { flags: &flags, any: true };
            to.untagged(Status::Ok, Some(&code), "Flags that are kept");
        }
    }

    /// The client has used CONDSTORE (RFC 7162 §3.1): from now on it is told mod-sequences.
    pub(crate) fn enable_condstore(&mut self) {
        if std::mem::replace(&mut self.enabled.condstore, true) {
            return;
        }
        if let Some(selected) = &self.selected {
            let highest = selected.folder.status().highest_modseq.max(1);
            self.reply().untagged(Status::Ok, Some(&Code::HighestModSeq(highest)), "Highest mod-sequence");
        }
    }
}
