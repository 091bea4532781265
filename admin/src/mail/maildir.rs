//! Maildir and Maildir++: a file for each message in `cur` or `new`, flags in its name, folders in `.Name.Sub` beside
//! them or nested.

use super::{DEPTH_MAX, Emit, Piece, Start, entries, utf7, whole_file};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use waypost_base::Timestamp;
use waypost_mailbox::Flags;

/// The letters of the Maildir specification. P (passed) becomes the keyword that IMAP clients use.
const LETTERS: [(char, Flags); 5] = [
    ('D', Flags::DRAFT),
    ('F', Flags::FLAGGED),
    ('R', Flags::ANSWERED),
    ('S', Flags::SEEN),
    ('T', Flags::DELETED),
];

pub(super) fn read(path: &Path, emit: Emit<'_>) -> io::Result<()> {
    folder(path, "", 0, emit).map(drop)
}

fn folder(path: &Path, name: &str, depth: u32, emit: Emit<'_>) -> io::Result<bool> {
    let keywords = dovecot_keywords(path);
    for part in ["cur", "new"] {
        let part_path = path.join(part);
        if part_path.is_dir() && !messages(&part_path, name, &keywords, emit)? {
            return Ok(false);
        }
    }
    for (entry, path, kind) in entries(path)? {
        if !kind.is_dir() || matches!(entry.as_str(), "cur" | "new" | "tmp") {
            continue;
        }
        let inner = match entry.strip_prefix('.') {
            // Levels of Maildir++ are written with dots and stand side by side.
            Some(dotted) => dotted.split('.').map(utf7::decode).collect::<Vec<_>>().join("/"),
            None => utf7::decode(&entry),
        };
        let inner = if name.is_empty() { inner } else { format!("{name}/{inner}") };
        let go_on = if depth >= DEPTH_MAX {
            emit(Piece::Skip { what: path.display().to_string(), why: "is nested too deeply".into() })
        } else {
            folder(&path, &inner, depth + 1, emit)?
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

fn messages(path: &Path, folder: &str, keywords: &[String], emit: Emit<'_>) -> io::Result<bool> {
    for (file, path, kind) in entries(path)? {
        if !kind.is_file() || file.starts_with('.') {
            continue;
        }
        let (unique, info) = file.split_once([':', ';', '!']).unwrap_or((&file, ""));
        let letters = info.strip_prefix("2,").unwrap_or_default();
        let mut start =
            Start { key: format!("{folder}/{unique}"), folder: folder.to_owned(), ..Start::default() };
        for letter in letters.chars() {
            if let Some((_, flag)) = LETTERS.iter().find(|(l, _)| *l == letter) {
                start.flags = start.flags.with(*flag);
            } else if letter == 'P' {
                start.keywords.push("$Forwarded".into());
            } else if letter.is_ascii_lowercase() {
                let place = usize::from(letter as u8 - b'a');
                start.keywords.extend(keywords.get(place).filter(|k| !k.is_empty()).cloned());
            }
        }
        if !whole_file(&path, start, emit)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Dovecot's file of what the small letters stand for: `0 $Forwarded` lines.
fn dovecot_keywords(path: &Path) -> Vec<String> {
    let mut out = vec![String::new(); 26];
    let text = fs::read_to_string(path.join("dovecot-keywords")).unwrap_or_default();
    for line in text.lines() {
        if let Some((number, name)) = line.split_once(' ')
            && let Some(place) = number.parse::<usize>().ok().and_then(|n| out.get_mut(n))
        {
            name.clone_into(place);
        }
    }
    out
}

/// The name of a message's file in `cur`.
pub fn file_name(
    internal: Timestamp,
    uid_validity: u32,
    uid: u32,
    bytes: u64,
    flags: Flags,
    forwarded: bool,
) -> String {
    let mut letters: Vec<char> = LETTERS.iter().filter(|(_, f)| flags.has(*f)).map(|(l, _)| *l).collect();
    if forwarded {
        letters.push('P');
    }
    letters.sort_unstable();
    let letters: String = letters.into_iter().collect();
    format!("{}.V{uid_validity}U{uid}.waypost,S={bytes}:2,{letters}", internal.as_seconds())
}

/// Writes a Maildir++.
#[derive(Debug)]
pub struct MaildirWriter {
    root: PathBuf,
}

impl MaildirWriter {
    pub fn new(root: &Path) -> MaildirWriter {
        MaildirWriter { root: root.to_owned() }
    }

    /// Makes a folder; the empty path is the root.
    pub fn folder(&self, path: &str) -> io::Result<PathBuf> {
        let folder = if path.is_empty() {
            self.root.clone()
        } else {
            let levels: Vec<String> = path.split('/').map(utf7::encode).collect();
            self.root.join(format!(".{}", levels.join(".")))
        };
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part))?;
        }
        if !path.is_empty() {
            // What tells Maildir++ readers that this is a folder.
            File::create(folder.join("maildirfolder"))?;
        }
        Ok(folder)
    }

    /// Writes a message through `tmp`, as the format asks for. Gives the open file; [`MaildirWriter::done`] ends it.
    pub fn start(&self, folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
        let path = folder.join("tmp").join(name);
        Ok((File::create_new(&path)?, path))
    }

    pub fn done(
        &self,
        mut file: File,
        from: &Path,
        folder: &Path,
        name: &str,
        internal: Timestamp,
    ) -> io::Result<()> {
        file.flush()?;
        let seconds = u64::try_from(internal.as_seconds()).unwrap_or_default();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))?;
        fs::rename(from, folder.join("cur").join(name))
    }
}
