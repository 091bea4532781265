//! What is to be read: files with the archives among them opened, long logs cut into ranges, small files first.

use super::Limits;
use super::archive::Zip;
use super::at::At;
use super::magic::{Magic, magic};
use super::walk::{self, Found};
use crate::case::Case;
use crate::fact::FileId;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A log on disk that is longer than two of these is read in ranges of this many bytes.
const RANGE: u64 = 24 << 20;
/// How far a line's end is looked for where a range shall end.
const BOUNDARY: u64 = 1 << 20;
/// What is smaller is read before everything else.
const SMALL: u64 = 1 << 20;

/// Where a file's bytes are.
pub enum Origin {
    Disk(PathBuf),
    Memory(Arc<[u8]>),
    Zip { zip: Arc<Zip>, index: usize },
}

/// A file to read.
pub struct Item {
    pub name: String,
    pub origin: Origin,
    /// Bytes, as its folder or archive says.
    pub size: u64,
    /// Bytes it takes where it is packed.
    pub packed: u64,
}

/// A file or a range of one.
pub struct Unit {
    pub item: Arc<Item>,
    pub file: FileId,
    /// Of a long log on disk.
    pub range: Option<(u64, u64)>,
}

/// Gathers what is to be read.
pub struct Plan<'a> {
    limits: &'a Limits,
    items: Vec<Item>,
    passed: Vec<(String, String)>,
    nested_left: u64,
}

impl<'a> Plan<'a> {
    pub fn new(limits: &'a Limits) -> Plan<'a> {
        Plan { limits, items: Vec::new(), passed: Vec::new(), nested_left: limits.nested }
    }

    /// # Errors
    /// The path cannot be opened.
    pub fn path(&mut self, path: &Path) -> io::Result<()> {
        let meta = fs::metadata(path)?;
        if meta.is_dir() {
            fs::read_dir(path)?;
            let (found, passed) = walk::walk(path, self.limits);
            self.passed.extend(passed);
            for file in found {
                self.disk(file);
            }
            return Ok(());
        }
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a folder nor a regular file"));
        }
        File::open(path)?;
        let name = path.file_name().map_or_else(String::new, |n| walk::shown(&n.to_string_lossy()));
        self.disk(Found { name, path: path.to_path_buf(), size: meta.len() });
        Ok(())
    }

    fn disk(&mut self, file: Found) {
        let Found { name, path, size } = file;
        if skipped(&name) {
            return;
        }
        let mut head = Vec::new();
        let opened = File::open(&path).and_then(|file| {
            (&file).take(256).read_to_end(&mut head)?;
            Ok(file)
        });
        match opened {
            Err(e) => self.passed.push((name, format!("it cannot be opened: {e}"))),
            Ok(_) if size == 0 => self.passed.push((name, "it is empty".to_owned())),
            Ok(file) if magic(&head) == Magic::Zip => {
                self.zip(&name, At::file(file, size), 0, Arc::new(AtomicU64::new(0)));
            }
            Ok(_) => self.push(Item { name, origin: Origin::Disk(path), size, packed: size }),
        }
    }

    pub fn memory(&mut self, name: &str, bytes: Arc<[u8]>) {
        let name = walk::shown(name);
        if skipped(&name) {
            return;
        }
        let size = bytes.len() as u64;
        if size == 0 {
            self.passed.push((name, "it is empty".to_owned()));
        } else if magic(&bytes) == Magic::Zip {
            self.zip(&name, At::memory(bytes), 0, Arc::new(AtomicU64::new(0)));
        } else {
            self.push(Item { name, origin: Origin::Memory(bytes), size, packed: size });
        }
    }

    fn push(&mut self, item: Item) {
        if self.items.len() < self.limits.files {
            self.items.push(item);
        } else if self.passed.len() < super::UNREAD_MAX {
            self.passed.push((item.name, format!("there are more than {} files", self.limits.files)));
        }
    }

    fn zip(&mut self, name: &str, at: At, depth: usize, total: Arc<AtomicU64>) {
        let zip = match Zip::open(at, self.limits, total) {
            Ok(zip) => Arc::new(zip),
            Err(reason) => return self.passed.push((name.to_owned(), reason)),
        };
        let (parts, bad) = zip.parts();
        self.passed.extend(bad.into_iter().map(|(part, reason)| (format!("{name}!/{part}"), reason)));
        for part in parts {
            let inner = format!("{name}!/{}", part.name);
            if skipped(&inner) {
                continue;
            }
            if part.size == 0 {
                self.passed.push((inner, "it is empty".to_owned()));
            } else if part.name.to_ascii_lowercase().ends_with(".zip") {
                self.nested(&inner, &zip, part.index, part.size, depth);
            } else {
                let origin = Origin::Zip { zip: zip.clone(), index: part.index };
                self.push(Item { name: inner, origin, size: part.size, packed: part.packed });
            }
        }
    }

    /// An archive within an archive: read in place if it is not packed again, else held in memory.
    fn nested(&mut self, name: &str, zip: &Zip, index: usize, size: u64, depth: usize) {
        if depth >= 1 {
            return self.passed.push((name.to_owned(), "archives three deep: unpack it first".to_owned()));
        }
        if let Some(at) = zip.stored(index) {
            return self.zip(name, at, depth + 1, zip.total());
        }
        let limit = self.nested_left;
        if size > limit {
            let text =
                format!("an archive of {} MiB within an archive: unpack the outer one first", size >> 20);
            return self.passed.push((name.to_owned(), text));
        }
        let mut bytes = Vec::new();
        let read = zip.read(index, self.limits, |reader| reader.take(limit + 1).read_to_end(&mut bytes));
        match read {
            Ok(Ok(_)) if bytes.len() as u64 <= limit => {
                self.nested_left -= bytes.len() as u64;
                self.zip(name, At::memory(Arc::from(bytes)), depth + 1, zip.total());
            }
            Ok(Ok(_)) => self.passed.push((name.to_owned(), "it is longer than it says".to_owned())),
            Ok(Err(e)) => self.passed.push((name.to_owned(), e.to_string())),
            Err(reason) => self.passed.push((name.to_owned(), reason)),
        }
    }

    /// The units in the order in which they are read, and what was passed over.
    pub fn finish(self, case: &mut Case) -> (Vec<Unit>, Vec<(String, String)>) {
        let mut units = Vec::new();
        for item in self.items {
            let file = case.file_named(&item.name);
            let item = Arc::new(item);
            for range in ranges(&item) {
                units.push(Unit { item: item.clone(), file, range });
            }
        }
        // Stable: within each class by name. Logs come last, since they are the longest and the most alike.
        units.sort_by_key(|unit| unit.item.size > SMALL);
        (units, self.passed)
    }
}

/// Notes beside a bundle that say what its cause is; never evidence.
fn skipped(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    matches!(file.as_str(), "expect.toml" | ".ds_store" | "thumbs.db" | "desktop.ini")
        || name.contains("__MACOSX/")
}

/// The ranges of a long log on disk; one that is everything for all else.
fn ranges(item: &Item) -> Vec<Option<(u64, u64)>> {
    let Origin::Disk(path) = &item.origin else { return vec![None] };
    if item.size < 2 * RANGE {
        return vec![None];
    }
    let Ok(file) = File::open(path) else { return vec![None] };
    let at = At::file(file, item.size);
    if !super::one::can_be_cut(&at, &item.name) {
        return vec![None];
    }
    let mut out = Vec::new();
    let mut start = 0;
    while start < item.size {
        let mut end = (start + RANGE).min(item.size);
        while end < item.size {
            let mut window = Vec::new();
            let near = at.window(end, end + BOUNDARY);
            if near.len() == 0 || { near }.read_to_end(&mut window).is_err() {
                break;
            }
            match memchr::memchr(b'\n', &window) {
                Some(found) => {
                    end += found as u64 + 1;
                    break;
                }
                None => end += window.len() as u64,
            }
        }
        out.push(Some((start, end)));
        start = end;
    }
    out
}
