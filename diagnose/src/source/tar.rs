//! Tar files by their headers: the plain form, the long names of GNU, the extended ones of PAX. Nothing is followed, nothing is
//! created: links, devices and files with holes are only named. A list of parts is bounded by the number of files.

use super::archive::leads_out;
use super::at::At;
use std::io::{self, Read, Seek, SeekFrom};

/// The unit of everything in a tar file.
const BLOCK: u64 = 512;
/// Bytes of a long name or of extended headers; names have at most 4 KiB.
const EXTENSION_MAX: u64 = 256 << 10;

/// Where a tar file is read from.
pub trait Source: Read {
    /// Passes over bytes; how many there were.
    fn pass(&mut self, count: u64) -> io::Result<u64>;
}

impl Source for At {
    fn pass(&mut self, count: u64) -> io::Result<u64> {
        let here = self.stream_position()?;
        let there = here.saturating_add(count).min(self.len());
        self.seek(SeekFrom::Start(there))?;
        Ok(there.saturating_sub(here))
    }
}

/// What can only be read from its beginning.
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read> Source for Stream<R> {
    fn pass(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.0).take(count), &mut io::sink())
    }
}

/// A file in a tar file, or why it is none that can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 0 over everything that has a name, the same each time.
    pub index: usize,
    /// With `/`.
    pub name: String,
    pub size: u64,
    /// Where its bytes begin.
    pub at: u64,
    pub refused: Option<&'static str>,
}

/// Reads entries one after the other.
pub struct Entries<R> {
    input: R,
    /// Bytes that were read or passed over.
    at: u64,
    /// What is left of the entry at hand, and what fills its last block up.
    left: u64,
    fill: u64,
    count: usize,
    most: usize,
}

const CUT: &str = "its end is missing: a tar file that was cut off; what stands before was read";
const DAMAGED: &str = "not a good tar file from here on; what stands before was read";

/// What an entry's header says.
struct Header {
    name: String,
    size: u64,
    kind: u8,
}

/// What extended headers say of the entry after them.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    size: Option<u64>,
    holes: bool,
}

impl<R: Source> Entries<R> {
    pub fn new(input: R, most: usize) -> Entries<R> {
        Entries { input, at: 0, left: 0, fill: 0, count: 0, most }
    }

    /// The next entry, folders left out; none at the end.
    ///
    /// # Errors
    /// What is wrong with the file; entries before it were good.
    pub fn next(&mut self) -> Result<Option<Entry>, String> {
        let mut extended = Extended::default();
        loop {
            self.pass_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            if self.count >= self.most {
                return Err(format!("there are more than {} entries: unpack it first", self.most));
            }
            self.count += 1;
            self.left = header.size;
            match header.kind {
                b'L' => extended.name = Some(text_of(&self.extension()?)),
                b'x' => records(&self.extension()?, &mut extended),
                b'K' | b'g' => {}
                b'5' => extended = Extended::default(),
                kind => {
                    let size = extended.size.unwrap_or(header.size);
                    let links = matches!(kind, b'1' | b'2');
                    self.left = if links { 0 } else { size };
                    self.set_fill();
                    let name = extended.name.take().unwrap_or(header.name);
                    if name.ends_with('/') && matches!(kind, 0 | b'0') {
                        extended = Extended::default();
                        continue;
                    }
                    return Ok(Some(self.entry(&name, size, kind, extended.holes)));
                }
            }
            self.set_fill();
        }
    }

    fn entry(&self, name: &str, size: u64, kind: u8, holes: bool) -> Entry {
        let name = name.replace('\\', "/");
        let name = super::walk::shown(name.trim_start_matches("./"));
        let refused = match kind {
            _ if leads_out(&name) => Some("its name leads out of the archive"),
            _ if holes => Some(HOLES),
            0 | b'0' | b'7' => None,
            b'1' | b'2' => Some("a link, which is not followed: pack the file itself (tar -h)"),
            b'S' => Some(HOLES),
            b'3' | b'4' | b'6' => Some("not a regular file"),
            _ => Some("an entry of a kind that is not known here"),
        };
        Entry { index: self.count, name, size, at: self.at, refused }
    }

    fn set_fill(&mut self) {
        self.fill = self.left.wrapping_neg() % BLOCK;
    }

    /// Passes over what is left of the entry at hand.
    fn pass_rest(&mut self) -> Result<(), String> {
        let count = self.left.checked_add(self.fill).ok_or(DAMAGED)?;
        if count > 0 {
            let passed = self.input.pass(count).map_err(|e| e.to_string())?;
            self.at = self.at.saturating_add(passed);
            // The last block may be left unfilled.
            if passed < self.left {
                return Err(CUT.to_owned());
            }
        }
        (self.left, self.fill) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, String> {
        let mut block = Vec::new();
        let read = (&mut self.input).take(BLOCK).read_to_end(&mut block).map_err(|e| e.to_string())?;
        self.at = self.at.saturating_add(read as u64);
        if read == 0 || block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        if read as u64 != BLOCK {
            return Err(CUT.to_owned());
        }
        if !is_header(&block) {
            return Err(DAMAGED.to_owned());
        }
        let part = |from: usize, to: usize| block.get(from..to).unwrap_or_default();
        let mut name = text_of(part(0, 100));
        // The form of POSIX has a zero after its mark; there the name may go on in front.
        if part(257, 263) == b"ustar\0" {
            let before = text_of(part(345, 500));
            if !before.is_empty() {
                name = format!("{before}/{name}");
            }
        }
        let size = size_of(part(124, 136)).ok_or(DAMAGED)?;
        let kind = block.get(156).copied().unwrap_or_default();
        Ok(Some(Header { name, size, kind }))
    }

    /// The whole of an entry that says something of the next one.
    fn extension(&mut self) -> Result<Vec<u8>, String> {
        if self.left > EXTENSION_MAX {
            return Err("its headers are too long, as only a trap's are".to_owned());
        }
        let mut bytes = Vec::new();
        let want = self.left;
        let fill = want.wrapping_neg() % BLOCK;
        self.data().read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 != want {
            return Err(CUT.to_owned());
        }
        let passed = self.input.pass(fill).map_err(|e| e.to_string())?;
        self.at = self.at.saturating_add(passed);
        Ok(bytes)
    }

    /// The bytes of the entry at hand.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { entries: self }
    }
}

const HOLES: &str = "a file that was packed with its holes: pack it without (no --sparse)";

/// See [`Entries::data`].
pub struct Data<'a, R> {
    entries: &'a mut Entries<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = (&mut self.entries.input).take(self.entries.left).read(into)?;
        self.entries.left = self.entries.left.saturating_sub(count as u64);
        self.entries.at = self.entries.at.saturating_add(count as u64);
        Ok(count)
    }
}

/// Whether a block is a header: its sum is right.
pub fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..512) else { return false };
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u64::from(*b) })
        .sum();
    let told = block.get(148..156).and_then(size_of);
    block.first().is_some_and(|b| *b != 0) && told == Some(sum)
}

fn text_of(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// A number in octal digits, or in binary where its first bit is set.
fn size_of(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        return rest
            .iter()
            .try_fold(u64::from(first & 0x3f), |sum, b| sum.checked_mul(256).map(|sum| sum | u64::from(*b)));
    }
    let digits = text_of(field);
    let digits = digits.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// `LENGTH NAME=VALUE\n`, again and again.
fn records(mut bytes: &[u8], extended: &mut Extended) {
    while let Some(space) = memchr::memchr(b' ', bytes) {
        let digits = bytes.get(..space).and_then(|d| std::str::from_utf8(d).ok());
        let Some(len) = digits.and_then(|d| d.parse::<usize>().ok()).filter(|len| *len > space) else {
            return;
        };
        let Some(record) = bytes.get(space + 1..len) else { return };
        let record = String::from_utf8_lossy(record);
        if let Some((name, value)) = record.trim_end_matches('\n').split_once('=') {
            match name {
                "path" => extended.name = Some(value.to_owned()),
                "size" => extended.size = value.parse().ok(),
                "GNU.sparse.name" => {
                    extended.holes = true;
                    extended.name = Some(value.to_owned());
                }
                other => extended.holes |= other.starts_with("GNU.sparse."),
            }
        }
        bytes = bytes.get(len..).unwrap_or_default();
    }
}
