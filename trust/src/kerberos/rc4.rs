//! RC4 with HMAC-MD5 (RFC 4757), by hand: nobody should build on a crate of it, and old tickets have to be told apart.

use zeroize::Zeroizing;

/// RFC 4757 §4: sixteen octets of checksum, then a confounder of eight and the plain text, enciphered.
pub(super) fn open(key: &[u8], usage: i32, cipher: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (checksum, body) = cipher.split_at_checked(16)?;
    if key.len() != 16 {
        return None;
    }
    let usage_key = hmac_md5(key, &usage.to_le_bytes());
    let mut plain = Zeroizing::new(body.to_vec());
    rc4(&hmac_md5(&usage_key, checksum), &mut plain);
    if hmac_md5(&usage_key, &plain) != checksum {
        return None;
    }
    plain.get(8..).map(|p| Zeroizing::new(p.to_vec()))
}

fn rc4(key: &[u8; 16], data: &mut [u8]) {
    let mut state: [u8; 256] = std::array::from_fn(|i| i as u8);
    let mut j = 0u8;
    for i in 0..=255u8 {
        j = j.wrapping_add(state[usize::from(i)]).wrapping_add(key[usize::from(i % 16)]);
        state.swap(usize::from(i), usize::from(j));
    }
    let (mut i, mut j) = (0u8, 0u8);
    for byte in data {
        i = i.wrapping_add(1);
        j = j.wrapping_add(state[usize::from(i)]);
        state.swap(usize::from(i), usize::from(j));
        let sum = state[usize::from(i)].wrapping_add(state[usize::from(j)]);
        *byte ^= state[usize::from(sum)];
    }
}

fn hmac_md5(key: &[u8], data: &[u8]) -> [u8; 16] {
    let pad =
        |with: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or_default() ^ with).collect() };
    let mut message = Zeroizing::new(pad(0x36));
    message.extend_from_slice(data);
    let mut outer = Zeroizing::new(pad(0x5c));
    outer.extend_from_slice(&md5(&message));
    md5(&outer)
}

/// RFC 1321. Only ever used where RFC 4757 demands it.
fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    // floor(2^32 · |sin(i + 1)|), as the RFC defines it.
    let sines: [u32; 64] = std::array::from_fn(|i| ((i as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32);
    let mut padded = Zeroizing::new(message.to_vec());
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 16];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b));
        }
        let [mut a, mut b, mut c, mut d] = state;
        for (i, &sine) in sines.iter().enumerate() {
            let (mixed, word) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), 5 * i + 1),
                2 => (b ^ c ^ d, 3 * i + 5),
                _ => (c ^ (b | !d), 7 * i),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(words[word % 16]);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4]));
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Seals, for tests of what opens it.
    pub(in crate::kerberos) fn seal(key: &[u8; 16], usage: i32, plain: &[u8]) -> Vec<u8> {
        let usage_key = hmac_md5(key, &usage.to_le_bytes());
        let mut body = [&[9; 8][..], plain].concat();
        let checksum = hmac_md5(&usage_key, &body);
        rc4(&hmac_md5(&usage_key, &checksum), &mut body);
        [&checksum[..], &body].concat()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn md5_and_hmac_as_their_documents_have_them() {
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(&md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        let long = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(hex(&md5(long)), "57edf4a22be3c955ac49da2e2107b67a");
        // RFC 2202 §2
        assert_eq!(hex(&hmac_md5(&[0x0b; 16], b"Hi There")), "9294727a3638bb1c13f48ef8158bfc9d");
    }
}
