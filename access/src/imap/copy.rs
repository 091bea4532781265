//! COPY, MOVE and EXPUNGE (RFC 9051 §6.4.3, §6.4.7 to §6.4.9).

use super::outcome::{Done, DoneCode, Fail, Outcome};
use super::session::Session;
use waypost_base::FolderId;
use waypost_imap::response::{Code, Status, ranges};
use waypost_imap::value::{FolderName, SequenceSet};
use waypost_mailbox::UidSet;

impl Session {
    pub(crate) async fn copy(&mut self, uid: bool, set: SequenceSet, to: FolderName) -> Outcome {
        let (uids, from, to) = self.route(uid, &set, &to)?;
        if uids.is_empty() {
            return Ok(Done::text("No such messages"));
        }
        let copied = self.account()?.copy(from, &uids, to).await?;
        let (old, new) = pairs(&copied.uids);
        copied.changes.announce();
        if copied.uids.is_empty() {
            return Ok(Done::plain(Code::ExpungeIssued, "The messages were expunged meanwhile"));
        }
        Ok(Done::with(DoneCode::CopyUid(copied.uid_validity, old, new), "Copied"))
    }

    /// MOVE: COPYUID comes first, untagged, then the expunges (RFC 6851 §4.3).
    pub(crate) async fn move_to(&mut self, uid: bool, set: SequenceSet, to: FolderName) -> Outcome {
        if self.selected()?.read_only {
            return Err(Fail::no(Code::ReadOnly, "The folder was opened for reading"));
        }
        let (uids, from, to) = self.route(uid, &set, &to)?;
        if uids.is_empty() {
            return Ok(Done::text("No such messages"));
        }
        if from == to {
            return Err(Fail::no(Code::Cannot, "The messages are in that folder already"));
        }
        let moved = self.account()?.move_to(from, &uids, to).await?;
        let (old, new) = pairs(&moved.uids);
        moved.changes.announce();
        if moved.uids.is_empty() {
            return Ok(Done::plain(Code::ExpungeIssued, "The messages were expunged meanwhile"));
        }
        let code = Code::CopyUid { uid_validity: moved.uid_validity, from: &old, to: &new };
        self.reply().untagged(Status::Ok, Some(&code), "Moved");
        self.sync(true).await?;
        Ok(self.with_mod_seq("Moved"))
    }

    /// EXPUNGE, and UID EXPUNGE with a set.
    pub(crate) async fn expunge(&mut self, set: Option<SequenceSet>) -> Outcome {
        let account = self.account()?;
        let selected = self.selected()?;
        if selected.read_only {
            return Err(Fail::no(Code::ReadOnly, "The folder was opened for reading"));
        }
        let uids = match &set {
            None => UidSet::all(),
            Some(SequenceSet::Saved) => selected.saved.clone(),
            Some(set) => UidSet::from_ranges(set.resolve(selected.folder.last_uid())),
        };
        let expunged = account.expunge(selected.folder.folder(), &uids).await?;
        let nothing = expunged.uids.is_empty();
        expunged.changes.announce();
        self.sync(true).await?;
        Ok(if nothing { Done::text("Nothing to expunge") } else { self.with_mod_seq("Expunged") })
    }

    /// RFC 7162 §3.2.7: how far the client has come with what it was just told.
    fn with_mod_seq(&mut self, text: &'static str) -> Done {
        match &self.selected {
            Some(selected) if self.enabled.condstore => {
                Done::plain(Code::HighestModSeq(selected.folder.status().highest_modseq.max(1)), text)
            }
            _ => Done::text(text),
        }
    }

    /// The messages, and the folders that they go from and to.
    fn route(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        to: &FolderName,
    ) -> Result<(UidSet, FolderId, FolderId), Fail> {
        let targets = self.targets(uid, set)?;
        let to = match self.account()?.folders().find(to.as_str()) {
            Some(found) if found.selectable => found.id,
            _ => return Err(Fail::no(Code::TryCreate, "No such folder")),
        };
        let selected = self.selected()?;
        Ok((targets.uids(&selected.folder), selected.folder.folder(), to))
    }
}

type Ranges = Vec<(u32, u32)>;

fn pairs(uids: &[(u32, u32)]) -> (Ranges, Ranges) {
    (ranges(uids.iter().map(|(old, _)| *old)), ranges(uids.iter().map(|(_, new)| *new)))
}
