//! APPEND and MULTIAPPEND (RFC 9051 §6.3.12, RFC 3502, RFC 3516 §4.4, RFC 6855 §4, RFC 7889).
//!
//! Large messages stream to the store while they arrive; nothing holds a whole one. Small ones of an import are read and
//! compressed beside the session. All of them are appended or none.

use super::marks;
use super::outcome::{Done, DoneCode, Fail, Outcome};
use super::session::Session;
use std::collections::VecDeque;
use tokio::task::JoinHandle;
use waypost_base::{FolderId, Timestamp};
use waypost_imap::command::{self, Append, AppendMessage};
use waypost_imap::frame::Event;
use waypost_imap::response::{Code, ranges};
use waypost_mailbox::{Account, Content, Flags, Mailboxes, Mark, NewMessage};
use waypost_store::BlobError;

/// Messages in one MULTIAPPEND; what is remembered of each stays in memory until the last has come.
const MESSAGES_MAX: usize = 5_000;

/// Small messages that a client sends without waiting are read and compressed beside the session while the next ones
/// arrive, this many bytes at a time.
const GATHER_BYTES: usize = 64 * 1024;

/// Largest message that is handled so; a larger one streams to the store.
const GATHER_EACH: u64 = 32 * 1024;

/// Pieces of work beside the session at the same time: with the bytes above, what an import may hold in memory.
const GATHER_WORKS: usize = 8;

/// The messages of one command, in order.
#[derive(Default)]
struct Messages {
    heads: Vec<(Option<Timestamp>, Mark)>,
    done: Vec<Content>,
    works: VecDeque<Work>,
    raw: Vec<Vec<u8>>,
    bytes: usize,
}

enum Work {
    Done(Content),
    /// If the command fails, it is finished for nothing.
    Beside(JoinHandle<Result<Vec<Content>, BlobError>>),
}

impl Messages {
    async fn gather(&mut self, mailboxes: &Mailboxes, raw: Vec<u8>) -> Result<(), Fail> {
        self.bytes += raw.len();
        self.raw.push(raw);
        if self.bytes >= GATHER_BYTES { self.launch(mailboxes).await } else { Ok(()) }
    }

    /// Hands what was gathered to a task of its own.
    async fn launch(&mut self, mailboxes: &Mailboxes) -> Result<(), Fail> {
        if self.raw.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let raw = std::mem::take(&mut self.raw);
        self.works.push_back(Work::Beside(tokio::spawn(digest(mailboxes.clone(), raw))));
        while self.works.len() > GATHER_WORKS {
            self.take_first().await?;
        }
        Ok(())
    }

    async fn take_first(&mut self) -> Result<(), Fail> {
        match self.works.pop_front() {
            Some(Work::Done(content)) => self.done.push(content),
            Some(Work::Beside(task)) => match task.await {
                Ok(contents) => self.done.extend(contents?),
                Err(e) => return Err(BlobError::Io(e.to_string()).into()),
            },
            None => {}
        }
        Ok(())
    }

    async fn finish(mut self, mailboxes: &Mailboxes) -> Result<Vec<NewMessage>, Fail> {
        let last = digest(mailboxes.clone(), std::mem::take(&mut self.raw)).await?;
        while !self.works.is_empty() {
            self.take_first().await?;
        }
        self.done.extend(last);
        let messages = self.done.into_iter().zip(self.heads);
        Ok(messages.map(|(content, (internal, mark))| NewMessage { content, internal, mark }).collect())
    }
}

async fn digest(mailboxes: Mailboxes, raw: Vec<Vec<u8>>) -> Result<Vec<Content>, BlobError> {
    let mut contents = Vec::with_capacity(raw.len());
    for bytes in raw {
        let mut writer = mailboxes.writer();
        writer.write(&bytes).await?;
        contents.push(writer.finish().await?);
    }
    Ok(contents)
}

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
        let mut messages = Messages::default();
        let mut bytes = 0u64;
        let mut head = append.message;
        loop {
            bytes = bytes.saturating_add(head.size);
            self.may_append(&account, &head, messages.heads.len() + 1, bytes)?;
            let mark = match head.flags.as_slice() {
                [] => Mark { flags: Flags::NONE, keywords: 0 },
                flags => marks::mark(&account, flags).await?,
            };
            self.inbox.framer().accept();
            if head.synchronising {
                self.reply().continuation("Ready for the message");
            }
            messages.heads.push((head.date.map(|d| d.at), mark));
            if head.size <= GATHER_EACH && !head.synchronising {
                let raw = self.take_raw(head.size as usize, between).await?;
                messages.gather(&self.svc.mailboxes, raw).await?;
            } else {
                messages.launch(&self.svc.mailboxes).await?;
                let content = self.take_bytes(between).await?;
                messages.works.push_back(Work::Done(content));
            }
            *between = false;
            match self.after_message(head.utf8).await? {
                Then::Another(next) => head = next,
                Then::End => break,
            }
        }
        let messages = messages.finish(&self.svc.mailboxes).await?;
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

    /// A message that is small enough to be taken in one piece.
    async fn take_raw(&mut self, size: usize, between: &mut bool) -> Result<Vec<u8>, Fail> {
        let mut raw = Vec::with_capacity(size);
        loop {
            match self.inbox.next() {
                Some(Event::Data { bytes, last }) => {
                    *between = last;
                    raw.extend_from_slice(bytes);
                    if last {
                        return Ok(raw);
                    }
                }
                Some(_) => {}
                None => {
                    let limit = self.patience();
                    self.await_bytes(limit, false).await?;
                }
            }
        }
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
