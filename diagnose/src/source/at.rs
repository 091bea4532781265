//! A window of a file or of memory that can be read from any thread: each copy has a place of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Bytes that are fetched at once where little is asked for.
const AHEAD: usize = 16 << 10;

#[derive(Clone)]
enum Bytes {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

/// See the module.
#[derive(Clone)]
pub struct At {
    bytes: Bytes,
    base: u64,
    len: u64,
    at: u64,
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl At {
    pub fn file(file: File, len: u64) -> At {
        At::new(Bytes::File(Arc::new(file)), len)
    }

    pub fn memory(bytes: Arc<[u8]>) -> At {
        let len = bytes.len() as u64;
        At::new(Bytes::Memory(bytes), len)
    }

    fn new(bytes: Bytes, len: u64) -> At {
        At { bytes, base: 0, len, at: 0, ahead: Vec::new(), ahead_at: 0 }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// A part of it, as a window of its own.
    pub fn window(&self, start: u64, end: u64) -> At {
        let start = start.min(self.len);
        let len = end.min(self.len).saturating_sub(start);
        At { base: self.base + start, ..At::new(self.bytes.clone(), len) }
    }

    fn fetch(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = into.len().min(left);
        let Some(into) = into.get_mut(..want).filter(|into| !into.is_empty()) else { return Ok(0) };
        let from = self.base + at;
        match &self.bytes {
            Bytes::File(file) => file.read_at(into, from),
            Bytes::Memory(bytes) => {
                let start = usize::try_from(from).unwrap_or(usize::MAX);
                let Some(rest) = bytes.get(start..) else { return Ok(0) };
                let count = rest.len().min(into.len());
                if let (Some(into), Some(rest)) = (into.get_mut(..count), rest.get(..count)) {
                    into.copy_from_slice(rest);
                }
                Ok(count)
            }
        }
    }
}

impl Read for At {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.len() >= AHEAD {
            let count = self.fetch(self.at, into)?;
            self.at += count as u64;
            return Ok(count);
        }
        let offset = self.at.checked_sub(self.ahead_at).and_then(|o| usize::try_from(o).ok());
        let held = offset.and_then(|o| self.ahead.get(o..)).unwrap_or_default();
        if held.is_empty() {
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.resize(AHEAD, 0);
            let count = self.fetch(self.at, &mut ahead)?;
            ahead.truncate(count);
            self.ahead = ahead;
            self.ahead_at = self.at;
        }
        let offset = usize::try_from(self.at - self.ahead_at).unwrap_or(usize::MAX);
        let held = self.ahead.get(offset..).unwrap_or_default();
        let count = held.len().min(into.len());
        if let (Some(into), Some(held)) = (into.get_mut(..count), held.get(..count)) {
            into.copy_from_slice(held);
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for At {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_seeks() {
        let all = At::memory(Arc::from(b"0123456789".as_slice()));
        let mut part = all.window(2, 8);
        let mut text = String::new();
        part.read_to_string(&mut text).unwrap();
        assert_eq!(text, "234567");
        part.seek(SeekFrom::End(-2)).unwrap();
        text.clear();
        part.clone().read_to_string(&mut text).unwrap();
        assert_eq!(text, "67");
        assert!(part.seek(SeekFrom::Current(-100)).is_err());
        part.seek(SeekFrom::Start(1)).unwrap();
        let mut one = [0; 1];
        part.read_exact(&mut one).unwrap();
        assert_eq!(&one, b"3");
        assert_eq!(all.window(20, 30).len(), 0);
    }
}
