//! Packets: a length of four octets, a command, its data (all integers are big-endian).

use crate::limits;
use crate::types::Error;

/// Collects octets until a packet is whole.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    buffer: Vec<u8>,
}

impl Packets {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole packet: its command and data.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>, Error> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > limits::PACKET {
            return Err(Error::TooLong(length));
        }
        let Some(packet) = rest.get(..length) else { return Ok(None) };
        let (command, data) = packet.split_first().ok_or(Error::Empty)?;
        let found = (*command, data.to_vec());
        self.buffer.drain(..4 + length);
        if self.buffer.is_empty() {
            self.buffer.shrink_to(64 * 1024);
        }
        Ok(Some(found))
    }
}

/// Writes one packet; `fill` appends the data.
pub(crate) fn write(out: &mut Vec<u8>, command: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, command]);
    fill(out);
    let length = u32::try_from(out.len() - begin - 4).unwrap_or(u32::MAX);
    if let Some(head) = out.get_mut(begin..begin + 4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string with its NUL; a NUL inside would end it early, and becomes a space.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|b| if *b == 0 { b' ' } else { *b }));
    out.push(0);
}

/// Reads data of fixed shape.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Fields<'a> {
        Fields { rest: data }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        let (head, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*head))
    }

    /// Up to the next NUL, which must be there.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|b| *b == 0)?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_pieces() {
        let mut wire = Vec::new();
        write(&mut wire, b'c', |_| {});
        write(&mut wire, b'q', |out| string(out, b"why\0not"));
        for size in 1..=wire.len() {
            let (mut packets, mut found) = (Packets::default(), Vec::new());
            for piece in wire.chunks(size) {
                packets.push(piece);
                while let Some(packet) = packets.next().unwrap() {
                    found.push(packet);
                }
            }
            assert_eq!(found, [(b'c', vec![]), (b'q', b"why not\0".to_vec())]);
            assert!(packets.is_empty());
        }
        let mut packets = Packets::default();
        packets.push(&[0, 0, 0, 0, b'c']);
        assert_eq!(packets.next(), Err(Error::Empty));
        let mut packets = Packets::default();
        packets.push(&[0x7F, 0, 0, 0]);
        assert_eq!(packets.next(), Err(Error::TooLong(0x7F00_0000)));
    }
}
