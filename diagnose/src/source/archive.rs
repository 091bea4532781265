//! Archives: zip files and what stands in them, with bounds on what they unpack to.

use super::Limits;
use super::at::At;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes of a zip's list of contents. The list is held in memory, several times its size.
const LIST_MAX: u64 = 24 << 20;
/// How far from its end a zip's end record may begin.
const END_MAX: u64 = 66_000;

/// A part of a zip, as its list says.
#[derive(Clone, Debug)]
pub struct Part {
    pub index: usize,
    /// With `/`, and nothing that leads out.
    pub name: String,
    pub size: u64,
    pub packed: u64,
}

/// An open zip; copies read independently.
#[derive(Clone)]
pub struct Zip {
    archive: ZipArchive<At>,
    /// Bytes that were unpacked from it so far, by all copies and nested archives.
    unpacked: Arc<AtomicU64>,
    /// Bytes that may be.
    most: u64,
}

/// A zip that unpacks to no more than this is no trap, however well it is packed.
const HARMLESS: u64 = 1 << 30;

impl Zip {
    /// # Errors
    /// What is wrong with it, for the list of unread files.
    pub fn open(at: At, limits: &Limits, unpacked: Arc<AtomicU64>) -> Result<Zip, String> {
        check_list(at.clone(), limits)?;
        let most = limits.unpacked.min(at.len().saturating_mul(limits.ratio).max(HARMLESS));
        let archive = ZipArchive::new(at).map_err(|e| why(&e))?;
        Ok(Zip { archive, unpacked, most })
    }

    pub fn total(&self) -> Arc<AtomicU64> {
        self.unpacked.clone()
    }

    /// The parts that can be read, and those that cannot, with the reason.
    pub fn parts(&self) -> (Vec<Part>, Vec<(String, String)>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let mut archive = self.archive.clone();
        for index in 0..archive.len() {
            let part = match archive.by_index_raw(index) {
                Ok(part) => part,
                Err(e) => {
                    bad.push((format!("part {index}"), why(&e)));
                    continue;
                }
            };
            let name = super::walk::shown(&String::from_utf8_lossy(part.name_raw()).replace('\\', "/"));
            if part.is_dir() || name.ends_with('/') {
                continue;
            }
            let reason = if leads_out(&name) {
                "its name leads out of the archive"
            } else if part.is_symlink() {
                "a link"
            } else if part.encrypted() {
                "it is locked with a password: unpack it first"
            } else {
                good.push(Part { index, name, size: part.size(), packed: part.compressed_size() });
                continue;
            };
            bad.push((name, reason.to_owned()));
        }
        (good, bad)
    }

    /// Reads a part from its beginning.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<T>(
        &self,
        index: usize,
        limits: &Limits,
        with: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<T, String> {
        let mut archive = self.archive.clone();
        let part = archive.by_index(index).map_err(|e| why(&e))?;
        let packed = part.compressed_size();
        let mut guard = Guard::new(part, packed, limits, self.most, self.unpacked.clone());
        Ok(with(&mut guard))
    }

    /// Where a part stands that is not packed, such as an archive within this one.
    pub fn stored(&self, index: usize) -> Option<At> {
        let mut archive = self.archive.clone();
        let (start, size) = {
            let part = archive.by_index(index).ok()?;
            if part.compression() != zip::CompressionMethod::Stored {
                return None;
            }
            (part.data_start()?, part.compressed_size())
        };
        Some(archive.into_inner().window(start, start.checked_add(size)?))
    }
}

/// Refuses a list of contents that is too long, before it is read into memory.
fn check_list(mut at: At, limits: &Limits) -> Result<(), String> {
    let len = at.len();
    let start = len.saturating_sub(END_MAX);
    let mut tail = Vec::new();
    let read = at.seek(SeekFrom::Start(start)).and_then(|_| at.take(END_MAX).read_to_end(&mut tail));
    read.map_err(|e| e.to_string())?;
    let end = memchr::memmem::rfind(&tail, b"PK\x05\x06").and_then(|at| tail.get(at..)).ok_or(CUT)?;
    let (mut count, mut size) = (number(end, 10, 2), number(end, 12, 4));
    if (count == 0xFFFF || size == 0xFFFF_FFFF)
        && let Some(long) = memchr::memmem::rfind(&tail, b"PK\x06\x06").and_then(|at| tail.get(at..))
    {
        (count, size) = (number(long, 32, 8), number(long, 40, 8));
    }
    if count > limits.files as u64 || size > LIST_MAX {
        return Err(format!("it has too many parts ({count}): unpack it, and take what is of use"));
    }
    Ok(())
}

const CUT: &str = "its end is missing: a zip that was cut off";

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let part = bytes.get(at..at + len).unwrap_or_default();
    part.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b))
}

/// Names that point above the archive, to a drive or to the root.
pub fn leads_out(name: &str) -> bool {
    name.starts_with('/') || name.get(1..2) == Some(":") || name.split('/').any(|part| part == "..")
}

fn why(error: &ZipError) -> String {
    match error {
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            "packed in a way that is not known here: unpack it first".to_owned()
        }
        other => format!("not a good zip: {other}"),
    }
}

/// What is packed with gzip, within bounds. `total` counts what comes out of it.
pub fn gunzipped<'a>(
    input: impl Read + 'a,
    packed: u64,
    limits: &Limits,
    total: Arc<AtomicU64>,
) -> Guard<Box<dyn Read + 'a>> {
    let most = limits.unpacked.min(packed.saturating_mul(limits.ratio).max(HARMLESS));
    let unpacked: Box<dyn Read + 'a> = Box::new(MultiGzDecoder::new(BufReader::new(input)));
    Guard::new(unpacked, packed, limits, most, total)
}

/// Bounds what comes out of a packed stream.
pub struct Guard<R> {
    inner: R,
    packed: u64,
    seen: u64,
    ratio: u64,
    ratio_from: u64,
    most: u64,
    total: Arc<AtomicU64>,
}

impl<R: Read> Guard<R> {
    pub fn new(inner: R, packed: u64, limits: &Limits, most: u64, total: Arc<AtomicU64>) -> Guard<R> {
        let Limits { ratio, ratio_from, .. } = *limits;
        Guard { inner, packed, seen: 0, ratio, ratio_from, most, total }
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.seen = self.seen.saturating_add(count as u64);
        let total = self.total.fetch_add(count as u64, Ordering::Relaxed);
        if self.seen > self.ratio_from && self.seen > self.packed.saturating_mul(self.ratio) {
            let text = format!("it unpacks to more than {} times its size, as only a trap does", self.ratio);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if total > self.most {
            let text = format!("the archive unpacks to more than {} GiB in all", self.most >> 30);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}
