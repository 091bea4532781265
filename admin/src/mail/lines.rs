//! Line ends.

/// Puts a CR before every LF that has none. `last` is the byte before these, 0 at the beginning of a message.
pub fn to_crlf(bytes: &[u8], last: &mut u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match line.split_last() {
            Some((b'\n', before)) => {
                out.extend_from_slice(before);
                let has_cr = before.last().map_or(*last == b'\r', |b| *b == b'\r');
                out.extend_from_slice(if has_cr { b"\n" } else { b"\r\n" });
            }
            _ => out.extend_from_slice(line),
        }
        *last = line.last().copied().unwrap_or(*last);
    }
    out
}

/// Takes the CR away before every LF. A CR at the end waits in `held` for the next byte; the caller writes it at the end.
pub fn to_lf(bytes: &[u8], held: &mut bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1);
    for b in bytes {
        if std::mem::take(held) && *b != b'\n' {
            out.push(b'\r');
        }
        match b {
            b'\r' => *held = true,
            b => out.push(*b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_in_pieces_of_any_size() {
        let unix = b"a\n\nb\rc\nd";
        let net = b"a\r\n\r\nb\rc\r\nd";
        for size in 1..=net.len() {
            let mut last = 0;
            let crlf: Vec<u8> = unix.chunks(size).flat_map(|c| to_crlf(c, &mut last)).collect();
            assert_eq!(crlf, net);
            let mut last = 0;
            let same: Vec<u8> = net.chunks(size).flat_map(|c| to_crlf(c, &mut last)).collect();
            assert_eq!(same, net);
            let mut held = false;
            let lf: Vec<u8> = net.chunks(size).flat_map(|c| to_lf(c, &mut held)).collect();
            assert_eq!(lf, unix);
            assert!(!held);
        }
    }
}
