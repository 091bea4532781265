//! APPEND and MULTIAPPEND (RFC 9051 §6.3.12, RFC 3502, RFC 3516 §4.4, RFC 6855 §4, RFC 7889).
//!
//! Messages stream to the store while they arrive; nothing holds a whole one. All of them are appended or none.

use super::marks;
use super::outcome::{Done, DoneCode, Fail, Outcome};
use super::session::Session;
use waypost_base::FolderId;
use waypost_imap::command::{self, Append, AppendMessage};
use waypost_imap::frame::Event;
use waypost_imap::response::{Code, ranges};
use waypost_mailbox::{Account, Content, Flags, Mark, NewMessage};

/// Messages in one MULTIAPPEND; what is remembered of each stays in memory until the last has come.
const MESSAGES_MAX: usize = 5_000;

/// What follows a message.
enum Then {
    Another(AppendMessage),
    End,
}

impl Session {
    pub(crate) async fn append(&mut self, append: Append) -> Outcome {
        self.noted = append.folder.to_string();
        let mut between = false;
        let utf8 = append.message.utf8;
        match self.take_messages(append, &mut between).await {
            Ok(done) => Ok(done),
            Err(Fail::End(end)) => Err(Fail::End(end)),
            Err(fail) => {
                if between {
                    // The message is here, but not what follows it: nothing, or another one.
                    if let Err(Fail::End(end)) = self.after_message(utf8).await {
                        return Err(Fail::End(end));
                    }
                }
                // Whatever of the messages is still on its way is skipped; too much of it, and the connection is closed.
                if !self.inbox.framer().refuse() {
                    self.close_after = Some("Too much is on its way to be skipped");
                }
                Err(fail)
            }
        }
    }

    /// `between` is true when it fails after a message's last byte and before what follows it.
    async fn take_messages(&mut self, append: Append, between: &mut bool) -> Outcome {
        if let Err(misplaced) = self.state().permits_append(append.replace.is_some()) {
            return Err(Fail::bad(misplaced.text()));
        }
        if append.replace.is_some() {
            return Err(Fail::bad("REPLACE is not offered"));
        }
        let account = self.account()?;
        let folder = match account.folders().find(append.folder.as_str()) {
            Some(found) if found.selectable => found.id,
            _ => return Err(Fail::no(Code::TryCreate, "No such folder")),
        };
        let mut messages = Vec::new();
        let mut bytes = 0u64;
        let mut head = append.message;
        loop {
            bytes = bytes.saturating_add(head.size);
            self.may_append(&account, &head, messages.len() + 1, bytes)?;
            let mark = match head.flags.as_slice() {
                [] => Mark { flags: Flags::NONE, keywords: 0 },
                flags => marks::mark(&account, flags).await?,
            };
            self.inbox.framer().accept();
            if head.synchronising {
                self.reply().continuation("Ready for the message");
            }
            let content = self.take_bytes(between).await?;
            *between = false;
            messages.push(NewMessage { content, internal: head.date.map(|d| d.at), mark });
            match self.after_message(head.utf8).await? {
                Then::Another(next) => head = next,
                Then::End => break,
            }
        }
        self.put(&account, folder, messages).await
    }

    /// Everything that can be said before the client sends the message.
    fn may_append(
        &self,
        account: &Account,
        head: &AppendMessage,
        messages: usize,
        bytes: u64,
    ) -> Result<(), Fail> {
        if head.size > self.settings().append_max {
            return Err(Fail::no(Code::TooBig, "The message is larger than the limit"));
        }
        if head.size == 0 {
            // RFC 3502 §6.3.11: a client takes its command back by an empty message.
            return Err(Fail::no(Code::Cannot, "An empty message is none"));
        }
        if messages > MESSAGES_MAX {
            return Err(Fail::no(Code::Limit, "Too many messages in one command"));
        }
        if account.usage().would_exceed(messages as u64, bytes) {
            return Err(Fail::no(Code::OverQuota, "The account is over its quota"));
        }
        Ok(())
    }

    async fn take_bytes(&mut self, between: &mut bool) -> Result<Content, Fail> {
        let mut writer = self.svc.mailboxes.writer();
        loop {
            match self.inbox.next() {
                Some(Event::Data { bytes, last }) => {
                    *between = last;
                    writer.write(bytes).await?;
                    if last {
                        return Ok(writer.finish().await?);
                    }
                }
                // Nothing else can come before the message has ended.
                Some(_) => {}
                None => {
                    let limit = self.patience();
                    self.await_bytes(limit, false).await?;
                }
            }
        }
    }

    async fn after_message(&mut self, utf8: bool) -> Result<Then, Fail> {
        let dialect = self.enabled.dialect();
        loop {
            match self.inbox.next() {
                Some(Event::Message(head)) => {
                    let next = command::parse_append_next(head.text, utf8, dialect);
                    return next.map(Then::Another).map_err(|e| Fail::bad(e.to_string()));
                }
                Some(Event::MessageTail(text)) => {
                    let end = command::parse_append_end(text, utf8);
                    return end.map(|()| Then::End).map_err(|e| Fail::bad(e.to_string()));
                }
                Some(Event::Refused(refusal)) => {
                    let text = refusal.reason.text();
                    if refusal.close {
                        self.close_after = Some(text);
                    }
                    return Err(Fail::bad(text));
                }
                Some(_) => {}
                None => {
                    let limit = self.patience();
                    self.await_bytes(limit, false).await?;
                }
            }
        }
    }

    async fn put(&mut self, account: &Account, folder: FolderId, messages: Vec<NewMessage>) -> Outcome {
        let changes = account.append(folder, messages, None).await?;
        let uids = ranges(changes.appended().iter().map(|a| a.uid));
        let validity = changes.appended().first().map(|a| a.uid_validity);
        changes.announce();
        Ok(match validity {
            Some(validity) => Done::with(DoneCode::AppendUid(validity, uids), "Appended"),
            None => Done::text("Appended"),
        })
    }
}
