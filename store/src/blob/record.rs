//! The bytes of a segment file: a header, then records one after the other. Every record says where it belongs, so
//! that a piece of another file, or of another place, is never taken for it. All numbers are big-endian.

use super::place::Chunk;
use crate::disk::DiskFile;
use crate::limits::CHUNK_BYTES;
use std::io;

/// `magic 8 · format 4 · segment 4 · zero 12 · CRC-32C of these 28`
pub(super) const HEADER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"WAYPSEG\n";
const FORMAT: u32 = 1;

/// `magic 4 · stored length 4 · raw length 4 · CRC-32C of the body 4 · offset 8 · segment 4 · CRC-32C of these 28`
pub(super) const RECORD_BYTES: usize = 32;
const RECORD_MAGIC: &[u8; 4] = b"WPRC";

/// Longest body: zstd adds less than this to 64 KiB that it cannot compress.
const BODY_BYTES: usize = CHUNK_BYTES + 1024;

pub(crate) fn header(segment: u32) -> [u8; HEADER_BYTES] {
    let mut h = [0; HEADER_BYTES];
    h[..8].copy_from_slice(MAGIC);
    h[8..12].copy_from_slice(&FORMAT.to_be_bytes());
    h[12..16].copy_from_slice(&segment.to_be_bytes());
    let sum = crc32c::crc32c(&h[..28]);
    h[28..].copy_from_slice(&sum.to_be_bytes());
    h
}

/// The record's header and body in one piece, ready to be written at `offset`.
pub(crate) fn record(segment: u32, offset: u64, body: &[u8], raw_len: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_BYTES + body.len());
    out.extend_from_slice(RECORD_MAGIC);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&raw_len.to_be_bytes());
    out.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&segment.to_be_bytes());
    let sum = crc32c::crc32c(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Reads a record's header: the chunk, and the sum of its body.
fn parse(header: &[u8], segment: u32, offset: u64) -> Result<(Chunk, u32), &'static str> {
    let header = header.get(..RECORD_BYTES).ok_or("cut off")?;
    if !header.starts_with(RECORD_MAGIC) {
        return Err("no record here");
    }
    if be32(header, 28) != crc32c::crc32c(&header[..28]) {
        return Err("the header's checksum does not fit");
    }
    if header[16..24] != offset.to_be_bytes() || be32(header, 24) != segment {
        return Err("a record of another place");
    }
    let chunk = Chunk { segment, offset, stored_len: be32(header, 4), raw_len: be32(header, 8) };
    if chunk.stored_len as usize > BODY_BYTES || chunk.raw_len as usize > CHUNK_BYTES {
        return Err("a length over the limit");
    }
    Ok((chunk, be32(header, 12)))
}

/// The body of a record read whole, if it is the one that `chunk` means and nothing in it has changed.
pub(super) fn body<'a>(bytes: &'a [u8], chunk: &Chunk) -> Result<&'a [u8], &'static str> {
    let (found, sum) = parse(bytes, chunk.segment, chunk.offset)?;
    if found != *chunk {
        return Err("a record of other lengths");
    }
    let body = bytes.get(RECORD_BYTES..RECORD_BYTES + chunk.stored_len as usize).ok_or("cut off")?;
    if crc32c::crc32c(body) != sum {
        return Err("the body's checksum does not fit");
    }
    Ok(body)
}

/// What a walk through a segment meets.
pub(super) enum Met {
    Record(Chunk),
    /// Bytes that are no record, up to the next one or to the end of the file.
    Bad {
        offset: u64,
        end: u64,
        what: &'static str,
    },
}

/// Goes through a whole segment. A bad file header is the first `Bad`, of the header's length.
pub(super) fn walk(file: &dyn DiskFile, segment: u32, mut meet: impl FnMut(Met)) -> io::Result<()> {
    let size = file.size()?;
    let mut head = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        meet(Met::Bad { offset: 0, end: size, what: "the file's header is cut off" });
        return Ok(());
    }
    file.read_at(0, &mut head)?;
    if head != header(segment) {
        meet(Met::Bad { offset: 0, end: HEADER_BYTES as u64, what: "the file's header is damaged" });
    }
    let mut at = HEADER_BYTES as u64;
    let mut buffer = Vec::new();
    while at < size {
        match read_one(file, segment, at, size, &mut buffer)? {
            Ok(chunk) => {
                at += RECORD_BYTES as u64 + u64::from(chunk.stored_len);
                meet(Met::Record(chunk));
            }
            Err(what) => {
                let end = next_record(file, segment, at + 1, size)?;
                meet(Met::Bad { offset: at, end, what });
                at = end;
            }
        }
    }
    Ok(())
}

fn read_one(
    file: &dyn DiskFile,
    segment: u32,
    at: u64,
    size: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Result<Chunk, &'static str>> {
    let mut head = [0; RECORD_BYTES];
    if size - at < RECORD_BYTES as u64 {
        return Ok(Err("cut off"));
    }
    file.read_at(at, &mut head)?;
    let (chunk, _) = match parse(&head, segment, at) {
        Ok(parsed) => parsed,
        Err(what) => return Ok(Err(what)),
    };
    let whole = RECORD_BYTES + chunk.stored_len as usize;
    if size - at < whole as u64 {
        return Ok(Err("cut off"));
    }
    buffer.resize(whole, 0);
    file.read_at(at, buffer)?;
    Ok(body(buffer, &chunk).map(|_| chunk))
}

/// Where the next whole record begins, or the end of the file.
fn next_record(file: &dyn DiskFile, segment: u32, from: u64, size: u64) -> io::Result<u64> {
    const WINDOW: usize = 256 * 1024;
    let mut at = from;
    let mut window = vec![0; WINDOW];
    let mut buffer = Vec::new();
    while at + RECORD_BYTES as u64 <= size {
        let len = (size - at).min(WINDOW as u64) as usize;
        let part = &mut window[..len];
        file.read_at(at, part)?;
        for i in
            part.windows(RECORD_MAGIC.len()).enumerate().filter(|(_, w)| w == RECORD_MAGIC).map(|(i, _)| i)
        {
            let offset = at + i as u64;
            if read_one(file, segment, offset, size, &mut buffer)?.is_ok() {
                return Ok(offset);
            }
        }
        // The last bytes may be the beginning of a magic.
        at += (len - RECORD_MAGIC.len() + 1) as u64;
    }
    Ok(size)
}
