//! What is to be read: files with the archives among them opened, long logs cut into ranges, small files first.

use super::Limits;
use super::archive::{Zip, gunzipped};
use super::at::At;
use super::magic::{Magic, magic};
use super::walk::{self, Found};
use super::{office, tar};
use crate::case::Case;
use crate::fact::FileId;
use flate2::bufread::MultiGzDecoder;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Bytes by which an archive is known.
const HEAD: u64 = 512;
/// Bytes of a packed file that are unpacked for it.
const PEEK: u64 = 16 << 10;
/// A log on disk that is longer than two of these is read in ranges of this many bytes.
const RANGE: u64 = 24 << 20;
/// How far a line's end is looked for where a range shall end.
const BOUNDARY: u64 = 1 << 20;
/// What is smaller is read before everything else.
const SMALL: u64 = 1 << 20;

const EMPTY: &str = "it is empty";
const DEEP: &str = "archives three deep: unpack it first";

/// Where a file's bytes are.
pub enum Origin {
    Disk(PathBuf),
    /// In memory, or as they are in an archive.
    Window(At),
    Zip {
        zip: Arc<Zip>,
        index: usize,
    },
    Office {
        zip: Arc<Zip>,
        kind: office::Kind,
    },
}

/// A file to read.
pub struct Item {
    pub name: String,
    pub origin: Origin,
    /// Bytes, as its folder or archive says.
    pub size: u64,
    /// Bytes it takes where it is packed.
    pub packed: u64,
    /// What is in it, if it is a packed tar file, which is read from its beginning to its end.
    pub entries: Vec<Entry>,
}

/// A file in a packed tar file.
pub struct Entry {
    /// Its number there.
    pub index: usize,
    pub name: String,
    pub size: u64,
}

/// A file or a range of one.
pub struct Unit {
    pub item: Arc<Item>,
    pub file: FileId,
    /// Of a long log on disk.
    pub range: Option<(u64, u64)>,
    /// Of each of the item's entries.
    pub entries: Vec<FileId>,
}

impl Unit {
    /// Bytes of it.
    pub fn size(&self) -> u64 {
        self.range.map_or(self.item.size, |(start, end)| end.saturating_sub(start))
    }
}

/// Gathers what is to be read.
pub struct Plan<'a> {
    limits: &'a Limits,
    items: Vec<Item>,
    /// Files, those in packed tar files counted too.
    count: usize,
    passed: Vec<(String, String)>,
    nested_left: u64,
}

impl<'a> Plan<'a> {
    pub fn new(limits: &'a Limits) -> Plan<'a> {
        Plan { limits, items: Vec::new(), count: 0, passed: Vec::new(), nested_left: limits.nested }
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
        match File::open(&path) {
            Err(e) => self.pass(name, format!("it cannot be opened: {e}")),
            Ok(file) => self.add(name, At::file(file, size), Some(path), 0, Arc::default()),
        }
    }

    pub fn memory(&mut self, name: &str, bytes: Arc<[u8]>) {
        let name = walk::shown(name);
        if !skipped(&name) {
            self.add(name, At::memory(bytes), None, 0, Arc::default());
        }
    }

    /// A file whose bytes can be read anywhere: opened if it is an archive, else to be read. `depth` archives are about it.
    fn add(&mut self, name: String, at: At, path: Option<PathBuf>, depth: usize, total: Arc<AtomicU64>) {
        let size = at.len();
        let mut head = Vec::new();
        if size == 0 {
            return self.pass(name, EMPTY.to_owned());
        }
        if let Err(e) = at.window(0, HEAD).read_to_end(&mut head) {
            return self.pass(name, e.to_string());
        }
        let origin = |at: At| path.map_or_else(|| Origin::Window(at), Origin::Disk);
        match magic(&head) {
            Magic::Zip => self.zip(&name, at, depth, total),
            Magic::Tar if depth > 1 => self.pass(name, DEEP.to_owned()),
            Magic::Tar => self.tar(&name, &at, depth, &total),
            Magic::Gzip if packed_tar(&at) => match depth > 1 {
                true => self.pass(name, DEEP.to_owned()),
                false => self.packed_tar(name, at.clone(), origin(at), depth),
            },
            _ => self.push(Item { name, origin: origin(at), size, packed: size, entries: Vec::new() }),
        }
    }

    fn pass(&mut self, name: String, reason: String) {
        // One more than are shown, so that it is told that there are more.
        if self.passed.len() <= 4 * super::UNREAD_MAX {
            self.passed.push((name, reason));
        }
    }

    fn push(&mut self, item: Item) {
        if self.count < self.limits.files {
            self.count += 1;
            self.items.push(item);
        } else {
            self.pass(item.name, format!("there are more than {} files", self.limits.files));
        }
    }

    fn zip(&mut self, name: &str, at: At, depth: usize, total: Arc<AtomicU64>) {
        let size = at.len();
        let zip = match Zip::open(at, self.limits, total) {
            Ok(zip) => Arc::new(zip),
            Err(reason) => return self.pass(name.to_owned(), reason),
        };
        let (parts, bad) = zip.parts();
        match office::kind(parts.iter().map(|part| part.name.as_str())) {
            Some(office::Kind::Slides) => {
                return self.pass(name.to_owned(), "slides: save their text as a file".to_owned());
            }
            Some(kind) => {
                let origin = Origin::Office { zip, kind };
                let name = name.to_owned();
                return self.push(Item { name, origin, size, packed: size, entries: Vec::new() });
            }
            None if depth > 1 => return self.pass(name.to_owned(), DEEP.to_owned()),
            None => {}
        }
        for (part, reason) in bad {
            self.pass(format!("{name}!/{part}"), reason);
        }
        for part in parts {
            let inner = format!("{name}!/{}", part.name);
            if skipped(&inner) {
                continue;
            }
            if part.size == 0 {
                self.pass(inner, EMPTY.to_owned());
            } else if archive_by_name(&part.name) {
                self.nested(inner, &zip, part.index, part.size, depth);
            } else {
                let origin = Origin::Zip { zip: zip.clone(), index: part.index };
                let (size, packed) = (part.size, part.packed);
                self.push(Item { name: inner, origin, size, packed, entries: Vec::new() });
            }
        }
    }

    /// An archive within a zip: read in place if it is not packed again, else held in memory.
    fn nested(&mut self, name: String, zip: &Zip, index: usize, size: u64, depth: usize) {
        if depth >= 1 && !office::named(&name) {
            return self.pass(name, DEEP.to_owned());
        }
        if let Some(at) = zip.stored(index) {
            return self.add(name, at, None, depth + 1, zip.total());
        }
        let limit = self.nested_left;
        let held = self.hold(size, |bytes| {
            zip.read(index, self.limits, |reader| reader.take(limit + 1).read_to_end(bytes))
                .and_then(|read| read.map_err(|e| e.to_string()))
        });
        self.held(name, held, depth, zip.total());
    }

    /// The bytes of an archive within an archive.
    fn hold(
        &self,
        size: u64,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, String>,
    ) -> Result<Vec<u8>, String> {
        if size > self.nested_left {
            let mib = size >> 20;
            return Err(format!("an archive of {mib} MiB within an archive: unpack the outer one first"));
        }
        let mut bytes = Vec::new();
        read(&mut bytes)?;
        match bytes.len() as u64 <= self.nested_left {
            true => Ok(bytes),
            false => Err("it is longer than it says".to_owned()),
        }
    }

    fn held(&mut self, name: String, held: Result<Vec<u8>, String>, depth: usize, total: Arc<AtomicU64>) {
        match held {
            Ok(bytes) => {
                self.nested_left = self.nested_left.saturating_sub(bytes.len() as u64);
                self.add(name, At::memory(Arc::from(bytes)), None, depth + 1, total);
            }
            Err(reason) => self.pass(name, reason),
        }
    }

    /// A tar file that is not packed: its files are windows of it.
    fn tar(&mut self, name: &str, at: &At, depth: usize, total: &Arc<AtomicU64>) {
        let mut entries = tar::Entries::new(at.clone(), self.limits.files.saturating_mul(2));
        loop {
            let entry = match entries.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return,
                Err(reason) => return self.pass(name.to_owned(), reason),
            };
            let inner = format!("{name}!/{}", entry.name);
            if skipped(&inner) {
                continue;
            }
            match entry.refused {
                Some(reason) => self.pass(inner, reason.to_owned()),
                None => {
                    let window = at.window(entry.at, entry.at.saturating_add(entry.size));
                    self.add(inner, window, None, depth + 1, total.clone());
                }
            }
        }
    }

    /// A tar file within gzip: only its list is made here, and archives in it are held in memory.
    fn packed_tar(&mut self, name: String, at: At, origin: Origin, depth: usize) {
        let size = at.len();
        let total = Arc::new(AtomicU64::new(0));
        let unpacked = gunzipped(at, size, self.limits, total.clone());
        let mut entries = tar::Entries::new(tar::Stream(unpacked), self.limits.files.saturating_mul(2));
        let mut files = Vec::new();
        loop {
            let entry = match entries.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(reason) => {
                    self.pass(name.clone(), reason);
                    break;
                }
            };
            let inner = format!("{name}!/{}", entry.name);
            if skipped(&inner) {
                continue;
            }
            if let Some(reason) = entry.refused {
                self.pass(inner, reason.to_owned());
            } else if entry.size == 0 {
                self.pass(inner, EMPTY.to_owned());
            } else if archive_by_name(&inner) && depth >= 1 && !office::named(&inner) {
                self.pass(inner, DEEP.to_owned());
            } else if archive_by_name(&inner) {
                let limit = self.nested_left;
                let held = self.hold(entry.size, |bytes| {
                    entries.data().take(limit + 1).read_to_end(bytes).map_err(|e| e.to_string())
                });
                self.held(inner, held, depth, total.clone());
            } else if self.count < self.limits.files {
                self.count += 1;
                files.push(Entry { index: entry.index, name: inner, size: entry.size });
            } else {
                self.pass(inner, format!("there are more than {} files", self.limits.files));
            }
        }
        if !files.is_empty() {
            self.items.push(Item { name, origin, size, packed: size, entries: files });
        }
    }

    /// The units in the order in which they are read, and what was passed over.
    pub fn finish(self, case: &mut Case) -> (Vec<Unit>, Vec<(String, String)>) {
        let mut units = Vec::new();
        for item in self.items {
            let file = case.file_named(&item.name);
            let item = Arc::new(item);
            let ranges = ranges(&item);
            for range in ranges {
                let entries = item.entries.iter().map(|entry| case.file_named(&entry.name)).collect();
                units.push(Unit { item: item.clone(), file, range, entries });
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
        || file.starts_with("._")
        || name.contains("__MACOSX/")
}

/// Whether a name says that more files are in it.
fn archive_by_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".zip", ".tar", ".tgz", ".tar.gz"].iter().any(|end| lower.ends_with(end)) || office::named(&lower)
}

/// Whether what is packed here is a tar file.
fn packed_tar(at: &At) -> bool {
    let mut block = Vec::new();
    let start = MultiGzDecoder::new(BufReader::new(at.window(0, PEEK)));
    // A block that breaks off is none.
    let _ = start.take(HEAD).read_to_end(&mut block);
    magic(&block) == Magic::Tar
}

/// The ranges of a long log on disk; one that is everything for all else.
fn ranges(item: &Item) -> Vec<Option<(u64, u64)>> {
    if item.size < 2 * RANGE || !item.entries.is_empty() {
        return vec![None];
    }
    let at = match &item.origin {
        Origin::Disk(path) => match File::open(path) {
            Ok(file) => At::file(file, item.size),
            Err(_) => return vec![None],
        },
        Origin::Window(at) => at.clone(),
        Origin::Zip { .. } | Origin::Office { .. } => return vec![None],
    };
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
