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
    let body = if headed { bytes.get(FILE_HEADER..).unwrap_or_default() } else { bytes };
    let mut count = Count::default();
    for chunk in body.chunks(CHUNK) {
        if chunk.starts_with(CHUNK_MAGIC) {
            read_chunk(chunk, &mut count, sink);
        } else if chunk.iter().any(|b| *b != 0) {
            count.damaged += 1;
        }
    }
    sink.understood("Windows event log records", count.records);
    if count.damaged > 0 {
        sink.trouble(format!(
            "{} parts of this event log are damaged or cut off; the others were read",
            count.damaged
        ));
    }
    if count.records == 0 && count.damaged == 0 {
        sink.trouble("this event log is empty");
    }
    true
}

/// Reads bytes as the records of one chunk, without its head.
pub(crate) fn read_bare(records: &[u8], sink: &mut Sink<'_>) {
    let mut chunk = vec![0; RECORDS];
    chunk.extend(records.iter().take(CHUNK - RECORDS));
    read_chunk(&chunk, &mut Count::default(), sink);
}

#[derive(Default)]
struct Count {
    records: u64,
    damaged: u64,
}

fn read_chunk(bytes: &[u8], count: &mut Count, sink: &mut Sink<'_>) {
    let chunk = Chunk::new(bytes);
    let end = number(bytes, 48).unwrap_or(0);
    let end = if (RECORDS..=CHUNK).contains(&end) { end } else { CHUNK };
    let mut at = RECORDS;
    while at + RECORD_HEADER < end.min(bytes.len()) {
        let good = bytes.get(at..at + 4) == Some(RECORD_MAGIC);
        let size = number(bytes, at + 4).unwrap_or(0);
        if !good || !(RECORD_HEADER + 4..=CHUNK).contains(&size) {
            // The next record of a damaged chunk can still be found.
            if bytes.get(at..end.min(bytes.len())).is_some_and(|rest| rest.iter().any(|b| *b != 0)) {
                count.damaged += 1;
            }
            match bytes.get(at + 4..).and_then(|rest| memchr::memmem::find(rest, RECORD_MAGIC)) {
                Some(next) => at += 4 + next,
                None => break,
            }
            continue;
        }
        let limit = (at + size).min(bytes.len());
        match chunk.event(at + RECORD_HEADER, limit) {
            Some(node) => {
                // Records have no lines; their number is what the Event Viewer shows as the record's.
                let line = number(bytes, at + 8).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                if let Some(mut raw) = Raw::of_node(&node, Place { file: sink.file, line }) {
                    if raw.time.is_none() {
                        raw.time = value::filetime(bytes.get(at + 16..at + 24).unwrap_or_default());
                    }
                    count.records += 1;
                    raw.give(sink);
                } else {
                    count.damaged += 1;
                }
            }
            None => count.damaged += 1,
        }
        at += size;
    }
}

/// Four bytes as a number.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

#[cfg(test)]
mod tests;
