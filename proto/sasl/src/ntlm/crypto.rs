//! What NTLM is made of: MD4 (RFC 1320), MD5 (RFC 1321), HMAC-MD5 (RFC 2104), RC4. All of them are broken or old; they are
//! here for the one protocol that cannot do without, and nothing else may use them.

use zeroize::Zeroizing;

/// The rotations of a round, four of each.
const MD4_TURNS: [[u32; 4]; 3] = [[3, 7, 11, 19], [3, 5, 9, 13], [3, 9, 11, 15]];
const MD5_TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

pub(super) fn md4(data: &[u8]) -> [u8; 16] {
    digest(data, md4_block)
}

pub(super) fn md5(data: &[u8]) -> [u8; 16] {
    digest(data, md5_block)
}

/// Padding and blocks, which are the same for both.
fn digest(data: &[u8], block: impl Fn([u32; 4], &[u32; 16]) -> [u32; 4]) -> [u8; 16] {
    let mut padded = Zeroizing::new(data.to_vec());
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(data.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = START;
    for chunk in padded.chunks_exact(64) {
        let mut words = [0u32; 16];
        for (word, bytes) in words.iter_mut().zip(chunk.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let new = block(state, &words);
        for (old, new) in state.iter_mut().zip(new) {
            *old = old.wrapping_add(new);
        }
    }
    let mut out = [0; 16];
    for (place, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *place = word.to_le_bytes();
    }
    out
}

#[allow(clippy::indexing_slicing, reason = "every index is taken modulo the length of the array")]
fn md4_block([mut a, mut b, mut c, mut d]: [u32; 4], x: &[u32; 16]) -> [u32; 4] {
    // RFC 1320 §3.4: the orders in which the rounds take the words.
    const SECOND: [usize; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
    const THIRD: [usize; 16] = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];
    for step in 0..48 {
        let i = step % 16;
        let (mix, word, plus) = match step / 16 {
            0 => ((b & c) | (!b & d), x[i], 0),
            1 => ((b & c) | (b & d) | (c & d), x[SECOND[i]], 0x5a82_7999),
            _ => (b ^ c ^ d, x[THIRD[i]], 0x6ed9_eba1),
        };
        let turned = a
            .wrapping_add(mix)
            .wrapping_add(word)
            .wrapping_add(plus)
            .rotate_left(MD4_TURNS[step / 16 % 3][i % 4]);
        (a, d, c, b) = (d, c, b, turned);
    }
    [a, b, c, d]
}

#[allow(clippy::indexing_slicing, reason = "every index is taken modulo the length of the array")]
fn md5_block([mut a, mut b, mut c, mut d]: [u32; 4], x: &[u32; 16]) -> [u32; 4] {
    for step in 0..64 {
        let (mix, place) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        // RFC 1321 §3.4: the whole part of 2^32 times abs(sin(step + 1)).
        let sine = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
        let sum = a.wrapping_add(mix).wrapping_add(x[place % 16]).wrapping_add(sine);
        let turned = b.wrapping_add(sum.rotate_left(MD5_TURNS[step / 16 % 4][step % 4]));
        (a, d, c, b) = (d, c, b, turned);
    }
    [a, b, c, d]
}

pub(super) fn hmac_md5(key: &[u8], data: &[u8]) -> [u8; 16] {
    let mut block = Zeroizing::new([0u8; 64]);
    let short = md5(key);
    let key = if key.len() > 64 { short.as_slice() } else { key };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let keyed = |mask: u8, data: &[u8]| {
        let mut text: Zeroizing<Vec<u8>> = Zeroizing::new(block.iter().map(|b| b ^ mask).collect());
        text.extend_from_slice(data);
        md5(&text)
    };
    keyed(0x5c, &keyed(0x36, data))
}

/// Encrypts, or decrypts, which is the same.
#[allow(clippy::indexing_slicing, reason = "every index is taken modulo the length of the array")]
pub(super) fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut s = Zeroizing::new([0u8; 256]);
    for (i, place) in s.iter_mut().enumerate() {
        *place = i as u8;
    }
    let mut j = 0usize;
    for (i, k) in key.iter().cycle().take(256).enumerate() {
        j = (j + usize::from(s[i]) + usize::from(*k)) % 256;
        s.swap(i, j);
    }
    let (mut i, mut j) = (0usize, 0usize);
    data.iter()
        .map(|byte| {
            i = (i + 1) % 256;
            j = (j + usize::from(s[i])) % 256;
            s.swap(i, j);
            byte ^ s[(usize::from(s[i]) + usize::from(s[j])) % 256]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The examples of RFC 1320 A.5, RFC 1321 A.5 and RFC 2202 §2.
    #[test]
    fn examples_of_the_standards() {
        assert_eq!(hex(&md4(b"")), "31d6cfe0d16ae931b73c59d7e0c089c0");
        assert_eq!(hex(&md4(b"message digest")), "d9130a8164549fe818874806e1c7014b");
        let digits = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(hex(&md4(digits)), "e33b4ddc9c38f2199c3e7b164fcc0536");
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(&md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(hex(&md5(digits)), "57edf4a22be3c955ac49da2e2107b67a");
        assert_eq!(hex(&hmac_md5(&[0x0b; 16], b"Hi There")), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(
            hex(&hmac_md5(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"
        );
        // RFC 6229 §2, the key of 40 bits.
        assert_eq!(hex(&rc4(&[1, 2, 3, 4, 5], &[0; 16])), "b2396305f03dc027ccc3524a0a1118a8");
    }
}
