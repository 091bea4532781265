//! Import-Mail: mbox, Maildir and .eml files into a mailbox.
//!
//! Resumable: every message has a token made from where it lies in its source. Tokens of what is in the mailbox are noted
//! in `imports/` in the data folder after each group, and passed over in a later run. Between commit and note the store's
//! own tokens guard: the same group again does nothing.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::mail::{Layout, Piece, Source, Start};
use crate::output::Record;
use crate::run::Call;
use crate::settings::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use waypost_base::FolderId;
use waypost_mailbox::{Account, DeliverError, FolderError, NewMessage, Role, Writer};
use waypost_store::BlobError;

/// Messages of one commit.
const GROUP_MESSAGES: usize = 200;

/// Bytes of messages of one commit; small ones are in memory until then.
const GROUP_BYTES: u64 = 4 * 1024 * 1024;

/// Pieces that may wait between the reading of files and the store: 4 MiB.
const PIECES: usize = 64;

const LAYOUTS: &[&str] = &["Auto", "Mbox", "Maildir", "Eml"];

pub(super) static COMMANDS: &[Command] = &[Command {
    verb: "Import",
    noun: "Mail",
    about: "Puts mail from files into a mailbox: mbox, Maildir, or .eml.",
    detail: "Folders of a Maildir keep their names; Sent, Drafts, Trash, Junk and Archive go where the mailbox has them. Flags \
             come along, dates as well. The server reads the files, so it must be allowed to.\n\n\
             When it was interrupted, the same command goes on where it stopped. What is passed over is named with its reason, \
             and the exit code is then 5.",
    params: &[
        Param::identity("The mailbox.").alias(&["Mailbox"]),
        Param::new("Path", Kind::Path, "A file or folder.").mandatory().at(1).alias(&["FilePath"]),
        Param::new("Format", Kind::Choice(LAYOUTS), "What lies there; Auto looks."),
        Param::new(
            "TargetRootFolder",
            Kind::Text,
            "Put everything into or below this folder; INBOX and the folders' own names if not given.",
        )
        .alias(&["TargetFolder", "Folder"]),
        Param::new("Restart", Kind::Switch, "Forget what was imported before, and import everything."),
    ],
    columns: &["Mailbox", "Imported", "AlreadyThere", "Skipped", "Size"],
    examples: &[
        Example { line: "Import-Mail adele /home/adele/Maildir", about: "All its folders." },
        Example {
            line: "Import-Mail adele old.mbox -TargetRootFolder Archive/2019",
            about: "Into one folder.",
        },
    ],
    needs: Needs::Store,
    changes: true,
    confirm: false,
    run: |call| Box::pin(run(call)),
}];

type Token = [u8; 16];

/// An import under way.
struct Import<'a> {
    call: &'a Call<'a>,
    mailbox: Account,
    target: Option<&'a str>,
    folders: BTreeMap<String, FolderId>,
    done: Done,
    group: Group,
    tally: Tally,
}

#[derive(Default)]
struct Group {
    folder: Option<FolderId>,
    messages: Vec<NewMessage>,
    tokens: Vec<Token>,
    bytes: u64,
}

#[derive(Default)]
struct Tally {
    imported: u64,
    already: u64,
    skipped: u64,
    bytes: u64,
}

/// A message that is being read.
struct Current {
    writer: Writer,
    start: Start,
    token: Token,
}

async fn run(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let path = PathBuf::from(call.required("Path")?);
    let layout = match call.text("Format") {
        Some("Mbox") => Some(Layout::Mbox),
        Some("Maildir") => Some(Layout::Maildir),
        Some("Eml") => Some(Layout::Eml),
        _ => None,
    };
    let unreadable = |e: &dyn std::fmt::Display| {
        let category = if path.exists() { Category::ReadError } else { Category::ObjectNotFound };
        let text = format!("{} cannot be read by the server: {e}.", path.display());
        Failure::new(category, path.display(), text)
    };
    let place = path.clone();
    let opened = tokio::task::spawn_blocking(move || Source::open(&place, layout)).await;
    let source = opened.map_err(|e| unreadable(&e))?.map_err(|e| unreadable(&e))?;
    let (kind, total) = (source.layout, source.bytes);
    if call
        .only_said(|| {
            format!("Importing {} ({kind:?}, {}) into {:?}.", path.display(), Bytes(total), account.name)
        })
        .await
    {
        return Ok(());
    }
    let target = call.text("TargetRootFolder");
    let done = Done::open(call, account.id.0, &path, target.unwrap_or_default())?;
    let mut import = Import {
        call,
        mailbox: call.mailbox(&account).await?,
        target,
        folders: BTreeMap::new(),
        done,
        group: Group::default(),
        tally: Tally::default(),
    };
    let (send, pieces) = mpsc::channel(PIECES);
    let reading =
        tokio::task::spawn_blocking(move || source.read(&mut |piece| send.blocking_send(piece).is_ok()));
    let outcome = import.take_all(pieces, total).await;
    let tally = import.tally;
    let record = Record::new()
        .with("Mailbox", account.name.as_str())
        .with("Imported", tally.imported)
        .with("AlreadyThere", tally.already)
        .with("Skipped", tally.skipped)
        .with("Size", Bytes(tally.bytes))
        .with("Format", format!("{kind:?}"));
    call.record(record).await;
    outcome?;
    reading.await.map_err(|e| unreadable(&e))?.map_err(|e| unreadable(&e))
}

impl Import<'_> {
    async fn take_all(&mut self, mut pieces: mpsc::Receiver<Piece>, total: u64) -> Outcome {
        let mut current: Option<Current> = None;
        let (mut read, mut shown) = (0u64, 0u64);
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Start(start) => current = self.start(start),
                Piece::Bytes(bytes) => {
                    if let Some(message) = &mut current
                        && let Err(e) = message.writer.write(&bytes).await
                    {
                        let key = message.start.key.clone();
                        current = None;
                        self.lost(key, e).await?;
                    }
                }
                Piece::End => {
                    if let Some(message) = current.take() {
                        self.end(message).await?;
                    }
                }
                Piece::Skip { what, why } => {
                    current = None;
                    self.skip(what, why).await;
                }
                Piece::Progress(bytes) => {
                    read += bytes;
                    if read - shown >= 256 * 1024 || read == total {
                        shown = read;
                        self.call.progress("Importing mail", read, Some(total), "bytes").await;
                    }
                }
            }
            if self.call.sink.is_closed() {
                return Err(Failure::new(Category::OperationIncomplete, "client", "The client went away."));
            }
        }
        self.flush().await
    }

    fn start(&mut self, start: Start) -> Option<Current> {
        let token = self.done.token(&start.key);
        if self.done.has(&token) {
            self.tally.already += 1;
            return None;
        }
        let writer = self.call.context.world.as_ref()?.mailboxes.writer();
        Some(Current { writer, start, token })
    }

    async fn end(&mut self, message: Current) -> Outcome {
        let key = message.start.key.clone();
        let content = match message.writer.finish().await {
            Ok(content) => content,
            Err(e) => return self.lost(key, e).await,
        };
        let folder = match self.folder(&message.start.folder).await {
            Ok(folder) => folder,
            Err(e) if e.category == Category::ResourceUnavailable => return Err(e),
            Err(e) => {
                self.skip(
                    key,
                    format!("its folder {:?} cannot be made: {}", message.start.folder, e.message),
                )
                .await;
                return Ok(());
            }
        };
        let keywords: Vec<&str> = message.start.keywords.iter().map(String::as_str).collect();
        let mark = match self.mailbox.mark(message.start.flags, &keywords).await {
            Ok(mark) => mark,
            // Keywords that do not fit are left out; the message is worth more.
            Err(_) => self.mailbox.mark(message.start.flags, &[]).await?,
        };
        if self.group.folder.is_some_and(|f| f != folder) {
            self.flush().await?;
        }
        self.group.folder = Some(folder);
        self.group.bytes += content.blob.size;
        self.group.messages.push(NewMessage { content, internal: message.start.internal, mark });
        self.group.tokens.push(message.token);
        if self.group.messages.len() >= GROUP_MESSAGES || self.group.bytes >= GROUP_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// A message that the store would not take. Only its size is its own fault; everything else stops the import.
    async fn lost(&mut self, key: String, e: BlobError) -> Outcome {
        match e {
            BlobError::TooLarge => {
                self.skip(key, "is larger than the store takes".into()).await;
                Ok(())
            }
            e => {
                self.flush().await?;
                Err(DeliverError::from(e).into())
            }
        }
    }

    async fn flush(&mut self) -> Outcome {
        let group = std::mem::take(&mut self.group);
        let Some(folder) = group.folder else { return Ok(()) };
        let count = group.messages.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let mut hasher = blake3::Hasher::new();
        for token in &group.tokens {
            hasher.update(token);
        }
        let token = short(hasher.finalize());
        match self.mailbox.append(folder, group.messages, Some(token)).await {
            Ok(changes) => changes.announce(),
            Err(e) => {
                let failure = Failure::from(e);
                let text = format!("{} The same command goes on from here.", sentence(&failure.message));
                return Err(Failure { message: text, ..failure });
            }
        }
        self.tally.imported += count;
        self.tally.bytes += group.bytes;
        self.done.note(&group.tokens)
    }

    async fn skip(&mut self, what: String, why: String) {
        self.tally.skipped += 1;
        self.call
            .error(Failure::new(
                Category::OperationIncomplete,
                &what,
                format!("{what} {why}; it was skipped."),
            ))
            .await;
    }

    /// The folder in the mailbox for a folder of the source, made where it is missing.
    async fn folder(&mut self, source: &str) -> Outcome<FolderId> {
        if let Some(id) = self.folders.get(source) {
            return Ok(*id);
        }
        let tree = self.mailbox.folders();
        let role = role_of(source).and_then(|r| tree.with_role(r)).filter(|_| self.target.is_none());
        let path = match (self.target, source) {
            (Some(root), "") => root.trim_matches('/').to_owned(),
            (Some(root), sub) => format!("{}/{sub}", root.trim_matches('/')),
            (None, "") => "INBOX".to_owned(),
            (None, sub) => role.map_or(sub.to_owned(), |f| f.path.clone()),
        };
        let id = match tree.find(&path) {
            Some(folder) => folder.id,
            None => match self.mailbox.create_folder(&path, None).await {
                Ok(folder) => folder.id,
                Err(FolderError::Exists) => self
                    .mailbox
                    .folders()
                    .find(&path)
                    .map(|f| f.id)
                    .ok_or_else(|| Failure::not_found("folder", &path))?,
                Err(e) => return Err(e.into()),
            },
        };
        self.folders.insert(source.to_owned(), id);
        Ok(id)
    }
}

/// What mail programs call the special folders.
fn role_of(name: &str) -> Option<Role> {
    match name.to_lowercase().trim_start_matches("inbox/") {
        "sent" | "sent items" | "sent messages" | "sent-mail" => Some(Role::Sent),
        "drafts" => Some(Role::Drafts),
        "trash" | "deleted items" | "deleted messages" => Some(Role::Trash),
        "junk" | "spam" | "junk e-mail" | "junk email" => Some(Role::Junk),
        "archive" | "archives" => Some(Role::Archive),
        "inbox" => Some(Role::Inbox),
        _ => None,
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect::<String>() + ".")
}

fn short(hash: blake3::Hash) -> Token {
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Tokens of what is in the mailbox already: 16 bytes each, one after the other, in a file for each import.
struct Done {
    path: PathBuf,
    seed: [u8; 32],
    tokens: HashSet<Token>,
    file: Option<fs::File>,
}

impl Done {
    fn open(call: &Call<'_>, account: u32, source: &Path, target: &str) -> Outcome<Done> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&account.to_be_bytes());
        hasher.update(target.as_bytes());
        hasher.update(b"\0");
        hasher.update(source.as_os_str().as_encoded_bytes());
        if call.switch("Restart") {
            // Other tokens, else the store would take the second import for the first.
            hasher.update(&call.context.clock.now().0.to_be_bytes());
        }
        let seed = *hasher.finalize().as_bytes();
        let name: String = seed.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let path = call.context.data.join("imports").join(format!("{name}.done"));
        let bytes = fs::read(&path).unwrap_or_default();
        let tokens = bytes.chunks_exact(16).filter_map(|c| c.try_into().ok()).collect();
        Ok(Done { path, seed, tokens, file: None })
    }

    fn token(&self, key: &str) -> Token {
        short(blake3::keyed_hash(&self.seed, key.as_bytes()))
    }

    fn has(&self, token: &Token) -> bool {
        self.tokens.contains(token)
    }

    fn note(&mut self, tokens: &[Token]) -> Outcome {
        let failed = |e: std::io::Error| {
            let text = format!("Progress cannot be noted in {}: {e}.", self.path.display());
            Failure::new(Category::WriteError, self.path.display(), text)
        };
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            let mut options = fs::OpenOptions::new();
            self.file = Some(options.create(true).append(true).open(&self.path).map_err(failed)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&tokens.concat()).map_err(failed)?;
        }
        self.tokens.extend(tokens);
        Ok(())
    }
}
