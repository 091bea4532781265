//! Export-Mail: a mailbox into mbox files or a Maildir.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::mail::{MaildirWriter, MboxWriter, PIECE_BYTES, file_name, to_lf};
use crate::output::Record;
use crate::run::Call;
use crate::settings::Bytes;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waypost_mailbox::{Account, Folder, MessageBody, Role, Row, Session};

pub(super) static COMMANDS: &[Command] = &[Command {
    verb: "Export",
    noun: "Mail",
    about: "Writes the mail of a mailbox into files: mbox or Maildir.",
    detail: "A Maildir keeps flags and dates; mbox files keep dates only. The folder must be new or empty. The server writes \
             the files, so it must be allowed to.",
    params: &[
        Param::identity("The mailbox.").alias(&["Mailbox"]),
        Param::new("Path", Kind::Path, "A new folder.").mandatory().at(1).alias(&["FilePath"]),
        Param::new("Format", Kind::Choice(&["Maildir", "Mbox"]), "Maildir if not given."),
        Param::new("IncludeFolders", Kind::List, "Only these folders; * stands for any text.")
            .alias(&["Folder"]),
    ],
    columns: &["Mailbox", "FolderPath", "Exported", "Failed", "Size"],
    examples: &[Example {
        line: "Export-Mail adele /tmp/adele -Format Mbox",
        about: "One file for each folder.",
    }],
    needs: Needs::Store,
    changes: false,
    confirm: false,
    run: |call| Box::pin(run(call)),
}];

/// Where the messages of a folder go.
enum Target {
    Mbox(MboxWriter<BufWriter<File>>),
    Maildir(MaildirWriter, PathBuf),
}

async fn run(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let to = PathBuf::from(call.required("Path")?);
    let mbox = call.text("Format") == Some("Mbox");
    let wrote = |e: io::Error| {
        let text = format!("{} cannot be written by the server: {e}.", to.display());
        Failure::new(Category::WriteError, to.display(), text)
    };
    if fs::read_dir(&to).is_ok_and(|mut d| d.next().is_some()) {
        let text = format!("The folder {} is not empty.", to.display());
        return Err(Failure::new(Category::ResourceExists, to.display(), text));
    }
    fs::create_dir_all(&to).map_err(wrote)?;
    let mailbox = call.mailbox(&account).await?;
    let tree = mailbox.folders();
    let wanted = |path: &str| {
        let only = call.list("IncludeFolders");
        only.is_none_or(|list| list.iter().any(|p| crate::output::wildcard(p, path)))
    };
    let folders: Vec<Arc<Folder>> =
        tree.iter().filter(|f| f.selectable && wanted(&f.path)).cloned().collect();
    if folders.is_empty() {
        return Err(Failure::not_found("folder", call.list("IncludeFolders").unwrap_or_default().join(",")));
    }
    let total = mailbox.usage().messages;
    let mut done = 0;
    for folder in folders {
        let session = mailbox.select(folder.id).await?;
        let target = open(&to, &folder, mbox).map_err(wrote)?;
        let counts =
            Export { call, mailbox: &mailbox, session: &session, total }.folder(target, &mut done).await?;
        let record = Record::new()
            .with("Mailbox", account.name.as_str())
            .with("FolderPath", format!("/{}", folder.path))
            .with("Exported", counts.0)
            .with("Failed", counts.1)
            .with("Size", Bytes(counts.2));
        call.record(record).await;
    }
    Ok(())
}

fn open(to: &Path, folder: &Folder, mbox: bool) -> io::Result<Target> {
    if mbox {
        let mut path = to.to_owned();
        // Levels become folders; what would leave them does not.
        for level in folder.path.split('/') {
            path.push(level.replace(['\\', '\0'], "_").replace("..", "__"));
        }
        path.as_mut_os_string().push(".mbox");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        return Ok(Target::Mbox(MboxWriter::new(BufWriter::new(File::create_new(path)?))));
    }
    let writer = MaildirWriter::new(to);
    // The root of a Maildir++ is the INBOX.
    writer.folder("")?;
    let path = writer.folder(if folder.role == Some(Role::Inbox) { "" } else { &folder.path })?;
    Ok(Target::Maildir(writer, path))
}

struct Export<'a> {
    call: &'a Call<'a>,
    mailbox: &'a Account,
    session: &'a Session,
    total: u64,
}

impl Export<'_> {
    /// Messages written, messages that could not be read, bytes.
    async fn folder(&self, mut target: Target, done: &mut u64) -> Outcome<(u64, u64, u64)> {
        let (mut exported, mut failed, mut bytes) = (0, 0, 0);
        let rows: Vec<Row> = self.session.rows(1, self.session.len()).map(|(_, row)| row).collect();
        for row in rows {
            if self.call.sink.is_closed() {
                return Ok((exported, failed, bytes));
            }
            match self.mailbox.body(row.message).await {
                Ok(body) => {
                    self.message(&mut target, &row, &body).await?;
                    exported += 1;
                    bytes += u64::from(row.size);
                }
                Err(fault) => {
                    failed += 1;
                    self.call.error(fault.into()).await;
                }
            }
            *done += 1;
            if done.is_multiple_of(100) {
                self.call.progress("Exporting mail", *done, Some(self.total), "messages").await;
            }
        }
        if let Target::Mbox(writer) = target {
            let file = writer.finish().and_then(|w| w.into_inner().map_err(|e| e.into_error()));
            file.and_then(|f| f.sync_all()).map_err(wrote)?;
        }
        Ok((exported, failed, bytes))
    }

    async fn message(&self, target: &mut Target, row: &Row, body: &MessageBody) -> Outcome {
        match target {
            Target::Mbox(writer) => {
                writer.start(row.internal).map_err(wrote)?;
                self.copy(body, |bytes| writer.write(bytes)).await?;
                writer.end().map_err(wrote)
            }
            Target::Maildir(writer, folder) => {
                let keywords = self.mailbox.keywords();
                let forwarded = keywords.of(row.keywords).any(|k| k.eq_ignore_ascii_case("$Forwarded"));
                let name = file_name(
                    row.internal,
                    self.session.uid_validity(),
                    row.uid,
                    u64::from(row.size),
                    row.flags,
                    forwarded,
                );
                let (mut file, from) = writer.start(folder, &name).map_err(wrote)?;
                self.copy(body, |bytes| file.write_all(bytes)).await?;
                writer.done(file, &from, folder, &name, row.internal).map_err(wrote)
            }
        }
    }

    /// In pieces, with LF line ends.
    async fn copy(&self, body: &MessageBody, mut put: impl FnMut(&[u8]) -> io::Result<()>) -> Outcome {
        let size = body.size();
        let mut held = false;
        let mut at = 0;
        while at < size {
            let end = (at + PIECE_BYTES as u64).min(size);
            let bytes = self.mailbox.read(body, at..end).await?;
            put(&to_lf(&bytes, &mut held)).map_err(wrote)?;
            at = end;
        }
        if held {
            put(b"\r").map_err(wrote)?;
        }
        Ok(())
    }
}

fn wrote(e: io::Error) -> Failure {
    Failure::new(Category::WriteError, "file", format!("A file cannot be written: {e}."))
}
