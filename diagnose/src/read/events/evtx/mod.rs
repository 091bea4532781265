//! The binary event log (`.evtx`): chunks of 64 KiB, each with records of binary XML that refer to names and templates of the
//! same chunk. Damaged headers, dirty files and files that end in the middle are read as far as they go: every chunk stands by
//! itself, and so does every record.

mod binary;
mod value;

use super::Raw;
use crate::fact::Place;
use crate::sink::Sink;
use binary::Chunk;

const FILE_MAGIC: &[u8] = b"ElfFile\0";
const CHUNK_MAGIC: &[u8] = b"ElfChnk\0";
const FILE_HEADER: usize = 4096;
const CHUNK: usize = 65_536;
/// Where records begin in a chunk.
const RECORDS: usize = 512;
const RECORD_MAGIC: &[u8] = &[0x2a, 0x2a, 0, 0];
/// Magic, size, number and time of a record.
const RECORD_HEADER: usize = 24;

/// Reads a whole file; false: it is not an event log. What is damaged in it is told as trouble.
pub fn read(bytes: &[u8], sink: &mut Sink<'_>) -> bool {
    let headed = bytes.starts_with(FILE_MAGIC);
    if !headed && !bytes.starts_with(CHUNK_MAGIC) {
        return false;
    }
    let (head, body) = if headed { bytes.split_at(bytes.len().min(FILE_HEADER)) } else { bytes.split_at(0) };
    let mut log = Log::new(head);
    log.chunks(body, sink);
    log.finish(sink);
    true
}

/// Reads bytes as the records of one chunk, without its head.
pub(crate) fn read_bare(records: &[u8], sink: &mut Sink<'_>) {
    let mut chunk = vec![0; RECORDS];
    chunk.extend(records.iter().take(CHUNK - RECORDS));
    Log::new(&[]).chunk(&chunk, sink);
}

/// A log that is read some chunks at a time.
#[derive(Debug)]
pub struct Log {
    records: u64,
    damaged: u64,
    /// It was copied while Windows had it open: the heads of its last chunks may be older than their records.
    dirty: bool,
}

impl Log {
    /// `head`: the file's first 4096 bytes, as far as they are there.
    pub fn new(head: &[u8]) -> Log {
        let dirty = number(head, 120).is_some_and(|flags| flags & 1 != 0);
        Log { records: 0, damaged: 0, dirty }
    }

    /// Reads whole chunks; the last one may be cut off.
    pub fn chunks(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        for chunk in bytes.chunks(CHUNK) {
            // Names and templates are found from the chunk's beginning, whatever has become of its head.
            let records = chunk.get(RECORDS..RECORDS + 4) == Some(RECORD_MAGIC);
            if chunk.starts_with(CHUNK_MAGIC) || records {
                self.chunk(chunk, sink);
            } else if chunk.iter().any(|b| *b != 0) {
                self.damaged += 1;
            }
        }
    }

    /// Tells what was read and what was not.
    pub fn finish(self, sink: &mut Sink<'_>) {
        sink.understood("Windows event log records", self.records);
        if self.damaged > 0 {
            let why = match self.dirty {
                true => ": it was copied while it was written; wevtutil epl LOG FILE makes a whole copy",
                false => "",
            };
            sink.trouble(format!(
                "{} parts of this event log are damaged or cut off, the others were read{why}",
                self.damaged
            ));
        }
        if self.records == 0 && self.damaged == 0 {
            sink.trouble("this event log is empty");
        }
    }

    fn chunk(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        let chunk = Chunk::new(bytes);
        let end = number(bytes, 48).filter(|_| bytes.starts_with(CHUNK_MAGIC)).unwrap_or(0);
        let end = if (RECORDS..=CHUNK).contains(&end) { end } else { CHUNK };
        let end = end.min(bytes.len());
        let (mut at, mut last) = (RECORDS, 0);
        while at + RECORD_HEADER < bytes.len() {
            let size = number(bytes, at + 4).unwrap_or(0);
            let good =
                bytes.get(at..at + 4) == Some(RECORD_MAGIC) && (RECORD_HEADER + 4..=CHUNK).contains(&size);
            // Behind the end that the head tells, the next record may stand if the head is old; what was there before the
            // chunk was used again has other numbers.
            if at >= end && !(good && self.follows(bytes, at, size, last)) {
                break;
            }
            if !good {
                // The next record of a damaged chunk can still be found.
                if bytes.get(at..end).is_some_and(|rest| rest.iter().any(|b| *b != 0)) {
                    self.damaged += 1;
                }
                match bytes.get(at + 4..).and_then(|rest| memchr::memmem::find(rest, RECORD_MAGIC)) {
                    Some(next) => at += 4 + next,
                    None => break,
                }
                continue;
            }
            last = number(bytes, at + 8).unwrap_or(0);
            self.record(&chunk, bytes, at..(at + size).min(bytes.len()), sink);
            at += size;
        }
    }

    /// Whether a whole record stands here that is the one after the last.
    fn follows(&self, bytes: &[u8], at: usize, size: usize, last: usize) -> bool {
        last > 0
            && number(bytes, at + 8) == last.checked_add(1)
            && number(bytes, (at + size).saturating_sub(4)) == Some(size)
    }

    fn record(
        &mut self,
        chunk: &Chunk<'_>,
        bytes: &[u8],
        range: std::ops::Range<usize>,
        sink: &mut Sink<'_>,
    ) {
        let at = range.start;
        let Some(node) = chunk.event(at + RECORD_HEADER, range.end) else {
            self.damaged += 1;
            return;
        };
        // Records have no lines. Their number is the one that the Event Viewer shows; it is not the one in the record's head
        // where only some of a log were saved.
        let shown =
            node.child("System").and_then(|s| s.text_of("EventRecordID")).and_then(|n| n.parse().ok());
        let line = shown.or_else(|| number(bytes, at + 8).and_then(|n| u32::try_from(n).ok())).unwrap_or(0);
        match Raw::of_node(&node, Place { file: sink.file, line }) {
            Some(mut raw) => {
                if raw.time.is_none() {
                    raw.time = value::filetime(bytes.get(at + 16..at + 24).unwrap_or_default());
                }
                self.records += 1;
                raw.give(sink);
            }
            None => self.damaged += 1,
        }
    }
}

/// Four bytes as a number.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

#[cfg(test)]
mod tests;
