//! Mail in files: mbox, Maildir, folders of .eml. Reading gives pieces of bounded size, so that a mailbox of many
//! gigabytes is imported with little memory; nothing here knows of accounts.

mod eml;
mod lines;
mod maildir;
mod mbox;
mod utf7;

pub use lines::{to_crlf, to_lf};
pub use maildir::{MaildirWriter, file_name};
pub use mbox::MboxWriter;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;
use waypost_mailbox::Flags;

/// Bytes of a piece.
pub const PIECE_BYTES: usize = 64 * 1024;

/// How mail lies in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Mbox,
    Maildir,
    /// One message a file.
    Eml,
}

/// What a message has besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Names the message within its source: the same in every run over the same files.
    pub key: String,
    /// The folder within the source, levels separated by `/`; empty for its root.
    pub folder: String,
    pub internal: Option<Timestamp>,
    pub flags: Flags,
    pub keywords: Vec<String>,
}

/// What reading gives, in order: `Start`, any number of `Bytes`, `End`; `Skip` between messages or instead of `End`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Start(Start),
    /// With CRLF line ends.
    Bytes(Vec<u8>),
    End,
    /// Something that is not imported, and why. A message that had begun is to be dropped.
    Skip {
        what: String,
        why: String,
    },
    /// Bytes of the files that were read since the last one, for progress.
    Progress(u64),
}

/// Takes pieces; false stops the reading.
pub type Emit<'a> = &'a mut dyn FnMut(Piece) -> bool;

/// Files to be read, counted.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    pub layout: Layout,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Source {
    /// Looks what lies at a path, or takes the caller's word for it.
    pub fn open(path: &Path, layout: Option<Layout>) -> io::Result<Source> {
        let layout = match layout {
            Some(layout) => layout,
            None => guess(path)?,
        };
        Ok(Source { path: path.to_owned(), layout, bytes: weigh(path, 0)? })
    }

    /// Reads everything, in an order that is the same each time. Blocks.
    pub fn read(&self, emit: Emit<'_>) -> io::Result<()> {
        match self.layout {
            Layout::Mbox => mbox::read(&self.path, emit),
            Layout::Maildir => maildir::read(&self.path, emit),
            Layout::Eml => eml::read(&self.path, emit),
        }
    }
}

fn guess(path: &Path) -> io::Result<Layout> {
    if fs::metadata(path)?.is_dir() {
        let is_maildir = |p: &Path| p.join("cur").is_dir();
        let inside = fs::read_dir(path)?.flatten().any(|e| is_maildir(&e.path()));
        return Ok(if is_maildir(path) || inside { Layout::Maildir } else { Layout::Eml });
    }
    let mut head = [0; 5];
    let n = File::open(path)?.read(&mut head)?;
    Ok(if head.get(..n) == Some(b"From ") { Layout::Mbox } else { Layout::Eml })
}

/// Folders within folders that are followed.
const DEPTH_MAX: u32 = 32;

fn weigh(path: &Path, depth: u32) -> io::Result<u64> {
    let meta = fs::metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)?.flatten() {
        let kind = entry.file_type()?;
        // Links could lead in circles; they are not followed anywhere in here.
        if kind.is_dir() && depth < DEPTH_MAX {
            sum += weigh(&entry.path(), depth + 1)?;
        } else if kind.is_file() {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

/// The entries of a folder by name, links left out.
fn entries(path: &Path) -> io::Result<Vec<(String, PathBuf, fs::FileType)>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        out.push((name, entry.path(), entry.file_type()?));
    }
    out.retain(|(_, _, kind)| !kind.is_symlink());
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Reads a file that is one message.
fn whole_file(path: &Path, mut start: Start, emit: Emit<'_>) -> io::Result<bool> {
    let what = path.display().to_string();
    let opened = File::open(path).and_then(|f| Ok((f.metadata()?, f)));
    let (meta, mut file) = match opened {
        Ok(opened) => opened,
        Err(e) => return Ok(emit(Piece::Skip { what, why: format!("cannot be read: {e}") })),
    };
    if meta.len() == 0 {
        return Ok(emit(Piece::Skip { what, why: "is empty".into() }));
    }
    if start.internal.is_none() {
        start.internal = meta.modified().ok().and_then(|t| {
            let since = t.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(Timestamp(i64::try_from(since.as_millis()).ok()?))
        });
    }
    if !emit(Piece::Start(start)) {
        return Ok(false);
    }
    let mut last = 0;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(emit(Piece::End)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Ok(emit(Piece::Skip { what, why: format!("cannot be read: {e}") })),
        };
        let bytes = to_crlf(buffer.get(..n).unwrap_or_default(), &mut last);
        if !emit(Piece::Bytes(bytes)) || !emit(Piece::Progress(n as u64)) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests;
