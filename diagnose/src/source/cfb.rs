//! Compound files: the folders and streams in which Outlook and old Office keep a document. A file is held in memory; every
//! chain of sectors ends after as many as the file has, whatever its tables say.

use std::collections::BTreeSet;

pub const MAGIC: &[u8] = &[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// Entries of the directory; a message with a hundred attachments has some thousand.
const ENTRIES_MAX: usize = 65_536;
/// Entries of one folder.
const FOLDER_MAX: usize = 4096;
const ENTRY: usize = 128;
/// Sectors with this number or a higher one are marks: the end, free, and those of the tables.
const MARKS: u32 = 0xFFFF_FFFA;
const FOLDER: u8 = 1;
const STREAM: u8 = 2;
/// How many sectors of the table the header itself names.
const IN_HEADER: usize = 109;

/// An entry of the directory.
#[derive(Debug)]
struct Entry {
    name: String,
    kind: u8,
    left: u32,
    right: u32,
    child: u32,
    start: u32,
    size: usize,
}

/// An opened file.
#[derive(Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
    /// Bytes of a sector, and of a small one.
    sector: usize,
    small: usize,
    /// Streams that are shorter stand in small sectors.
    cutoff: usize,
    next: Vec<u32>,
    next_small: Vec<u32>,
    entries: Vec<Entry>,
    /// The stream of small sectors.
    smalls: Vec<u8>,
}

/// A folder in the file, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Folder(usize);

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn longs(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(u32::from_le_bytes))
}

impl<'a> Compound<'a> {
    /// Nothing: it is not such a file, or its tables are damaged.
    pub fn open(bytes: &'a [u8]) -> Option<Compound<'a>> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let sector = match short(bytes, 30)? {
            9 => 512,
            12 => 4096,
            _ => return None,
        };
        let small = match short(bytes, 32)? {
            6 => 64,
            _ => return None,
        };
        let cutoff = usize::try_from(long(bytes, 56)?).ok()?.min(1 << 20);
        let mut file = Compound {
            bytes,
            sector,
            small,
            cutoff,
            next: Vec::new(),
            next_small: Vec::new(),
            entries: Vec::new(),
            smalls: Vec::new(),
        };
        file.read_table()?;
        file.next_small = longs(&file.chain(long(bytes, 60)?, usize::MAX)).collect();
        let directory = file.chain(long(bytes, 48)?, ENTRIES_MAX * ENTRY);
        file.entries = directory.chunks_exact(ENTRY).filter_map(entry).collect();
        let root = file.entries.first()?;
        file.smalls = file.chain(root.start, root.size);
        Some(file)
    }

    /// The table that says which sector follows which.
    fn read_table(&mut self) -> Option<()> {
        let most = self.bytes.len() / self.sector;
        let mut parts: Vec<u32> = longs(self.bytes.get(76..76 + 4 * IN_HEADER)?).collect();
        let mut more = long(self.bytes, 68)?;
        // Further sectors that name such, the last number of each names the next.
        for _ in 0..most {
            let Some(names) = self.at(more) else { break };
            parts.extend(longs(names));
            match parts.pop() {
                Some(next) => more = next,
                None => break,
            }
        }
        for part in parts.into_iter().filter(|part| *part < MARKS).take(most) {
            let Some(part) = self.at(part) else { break };
            self.next.extend(longs(part));
        }
        self.next.truncate(most);
        (!self.next.is_empty()).then_some(())
    }

    /// A sector; the last one may be cut.
    fn at(&self, number: u32) -> Option<&'a [u8]> {
        if number >= MARKS {
            return None;
        }
        let start = usize::try_from(number).ok()?.checked_add(1)?.checked_mul(self.sector)?;
        let end = start.checked_add(self.sector)?.min(self.bytes.len());
        self.bytes.get(start..end)
    }

    fn chain(&self, start: u32, size: usize) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), start);
        for _ in 0..self.next.len() {
            let Some(sector) = self.at(at).filter(|_| out.len() < size) else { break };
            out.extend_from_slice(sector);
            match usize::try_from(at).ok().and_then(|at| self.next.get(at)) {
                Some(next) => at = *next,
                None => break,
            }
        }
        out.truncate(size);
        out
    }

    fn small_chain(&self, start: u32, size: usize) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), start);
        for _ in 0..self.next_small.len() {
            let Some(index) = usize::try_from(at).ok().filter(|_| out.len() < size) else { break };
            let Some(from) = index.checked_mul(self.small) else { break };
            let end = from.saturating_add(self.small).min(self.smalls.len());
            let Some(sector) = self.smalls.get(from..end) else { break };
            out.extend_from_slice(sector);
            match self.next_small.get(index) {
                Some(next) => at = *next,
                None => break,
            }
        }
        out.truncate(size);
        out
    }

    pub fn root(&self) -> Folder {
        Folder(0)
    }

    /// The entries of a folder, in the order of the file.
    fn children(&self, folder: Folder) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<u32> = self.entries.get(folder.0).map(|e| e.child).into_iter().collect();
        while let Some(number) = waiting.pop() {
            let Ok(index) = usize::try_from(number) else { continue };
            let Some(entry) = self.entries.get(index) else { continue };
            if index != 0 && seen.len() < FOLDER_MAX && seen.insert(index) {
                waiting.extend([entry.left, entry.right]);
            }
        }
        seen
    }

    /// Folders in a folder whose names begin so.
    pub fn folders(&self, folder: Folder, start: &str) -> Vec<Folder> {
        let is = |index: &usize| {
            self.entries.get(*index).is_some_and(|e| e.kind == FOLDER && e.name.starts_with(start))
        };
        self.children(folder).into_iter().filter(is).map(Folder).collect()
    }

    fn find(&self, folder: Folder, name: &str) -> Option<&Entry> {
        let mut found = self.children(folder).into_iter().filter_map(|index| self.entries.get(index));
        found.find(|e| e.kind == STREAM && e.name == name)
    }

    pub fn has(&self, folder: Folder, name: &str) -> bool {
        self.find(folder, name).is_some()
    }

    /// The bytes of a stream in a folder.
    pub fn stream(&self, folder: Folder, name: &str) -> Option<Vec<u8>> {
        let entry = self.find(folder, name)?;
        Some(match entry.size < self.cutoff {
            true => self.small_chain(entry.start, entry.size),
            false => self.chain(entry.start, entry.size),
        })
    }
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let len = usize::from(short(bytes, 64)?).clamp(2, 64) - 2;
    let units =
        bytes.get(..len)?.chunks_exact(2).filter_map(|two| two.try_into().ok().map(u16::from_le_bytes));
    Some(Entry {
        name: char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        kind: *bytes.get(66)?,
        left: long(bytes, 68)?,
        right: long(bytes, 72)?,
        child: long(bytes, 76)?,
        start: long(bytes, 116)?,
        size: usize::try_from(long(bytes, 120)?).ok()?,
    })
}
