//! Opening what AES sealed, by both of Kerberos' profiles: with SHA-1 (RFC 3961, 3962) and with SHA-2 (RFC 8009).

use super::name::Enctype;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use ring::hmac;
use zeroize::Zeroizing;

const BLOCK: usize = 16;
type Block = [u8; BLOCK];

/// Suffixes of a usage number: the key that enciphers, the key that protects.
const ENCIPHERS: u8 = 0xaa;
const PROTECTS: u8 = 0x55;

enum Aes {
    Of128(Box<aes::Aes128>),
    Of256(Box<aes::Aes256>),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Aes> {
        match key.len() {
            16 => aes::Aes128::new_from_slice(key).ok().map(|aes| Aes::Of128(Box::new(aes))),
            32 => aes::Aes256::new_from_slice(key).ok().map(|aes| Aes::Of256(Box::new(aes))),
            _ => None,
        }
    }

    fn encipher(&self, block: &Block) -> Block {
        let mut block = GenericArray::from(*block);
        match self {
            Aes::Of128(aes) => aes.encrypt_block(&mut block),
            Aes::Of256(aes) => aes.encrypt_block(&mut block),
        }
        block.into()
    }

    fn decipher(&self, block: &Block) -> Block {
        let mut block = GenericArray::from(*block);
        match self {
            Aes::Of128(aes) => aes.decrypt_block(&mut block),
            Aes::Of256(aes) => aes.decrypt_block(&mut block),
        }
        block.into()
    }

    /// CBC with ciphertext stealing and a zero vector (RFC 3962 §5): the last two blocks are swapped, the last one may be
    /// short. `None` for less than a block.
    fn decipher_all(&self, cipher: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(cipher.len()));
        if cipher.len() == BLOCK {
            plain.extend_from_slice(&self.decipher(cipher.try_into().ok()?));
            return Some(plain);
        }
        let blocks = cipher.len().div_ceil(BLOCK);
        let (body, end) = cipher.split_at_checked(blocks.checked_sub(2)? * BLOCK)?;
        let mut before = [0; BLOCK];
        for block in body.chunks_exact(BLOCK) {
            let block: Block = block.try_into().ok()?;
            plain.extend_from_slice(&xor(self.decipher(&block), &before));
            before = block;
        }
        let (whole, short) = end.split_at_checked(BLOCK)?;
        let mut stolen = self.decipher(whole.try_into().ok()?);
        let last = xor(stolen, short);
        stolen.get_mut(..short.len())?.copy_from_slice(short);
        plain.extend_from_slice(&xor(self.decipher(&stolen), &before));
        plain.extend_from_slice(last.get(..short.len())?);
        Some(plain)
    }
}

/// With zeros where `b` has ended.
fn xor(mut a: Block, b: &[u8]) -> Block {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    a
}

fn constant(usage: i32, suffix: u8) -> [u8; 5] {
    let [a, b, c, d] = usage.to_be_bytes();
    [a, b, c, d, suffix]
}

/// Checksum after the cipher text, over confounder and plain text.
pub(super) fn open_sha1(key: &[u8], usage: i32, sealed: &[u8], of: Enctype) -> Option<Zeroizing<Vec<u8>>> {
    if key.len() != key_size(of) {
        return None;
    }
    let (cipher, checksum) = sealed.split_at_checked(sealed.len().checked_sub(12)?)?;
    let enciphers = derived(key, &constant(usage, ENCIPHERS))?;
    let plain = Aes::new(&enciphers)?.decipher_all(cipher)?;
    let protects = derived(key, &constant(usage, PROTECTS))?;
    let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &protects), &plain);
    (own.as_ref().get(..12) == Some(checksum)).then_some(())?;
    plain.get(BLOCK..).map(|p| Zeroizing::new(p.to_vec()))
}

/// Checksum after the cipher text, over the vector and the cipher text.
pub(super) fn open_sha2(key: &[u8], usage: i32, sealed: &[u8], of: Enctype) -> Option<Zeroizing<Vec<u8>>> {
    let (hash, length) = match of {
        Enctype::AES128_SHA2 => (hmac::HMAC_SHA256, 16),
        _ => (hmac::HMAC_SHA384, 24),
    };
    if key.len() != key_size(of) {
        return None;
    }
    let (cipher, checksum) = sealed.split_at_checked(sealed.len().checked_sub(length)?)?;
    let protects = derived_sha2(hash, key, &constant(usage, PROTECTS), length)?;
    let mut protected = vec![0; BLOCK];
    protected.extend_from_slice(cipher);
    let own = hmac::sign(&hmac::Key::new(hash, &protects), &protected);
    (own.as_ref().get(..length) == Some(checksum)).then_some(())?;
    let enciphers = derived_sha2(hash, key, &constant(usage, ENCIPHERS), key.len())?;
    let plain = Aes::new(&enciphers)?.decipher_all(cipher)?;
    plain.get(BLOCK..).map(|p| Zeroizing::new(p.to_vec()))
}

const fn key_size(of: Enctype) -> usize {
    if matches!(of, Enctype::AES128 | Enctype::AES128_SHA2) { 16 } else { 32 }
}

/// DK of RFC 3961 §5.1: the folded constant, enciphered again and again.
fn derived(key: &[u8], constant: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let aes = Aes::new(key)?;
    let mut block: Block = folded(constant, BLOCK).try_into().ok()?;
    let mut out = Zeroizing::new(Vec::with_capacity(key.len()));
    while out.len() < key.len() {
        block = aes.encipher(&block);
        out.extend_from_slice(&block);
    }
    Some(out)
}

/// KDF-HMAC-SHA2 of RFC 8009 §3.
fn derived_sha2(
    hash: hmac::Algorithm,
    key: &[u8],
    label: &[u8],
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let bits = u32::try_from(length * 8).ok()?.to_be_bytes();
    let message = [&[0, 0, 0, 1], label, &[0], &bits].concat();
    let made = hmac::sign(&hmac::Key::new(hash, key), &message);
    made.as_ref().get(..length).map(|k| Zeroizing::new(k.to_vec()))
}

/// n-fold of RFC 3961 §5.1: copies of the input, each turned right by 13 bits more, added up with end-around carry.
fn folded(input: &[u8], length: usize) -> Vec<u8> {
    let bits = input.len() * 8;
    let bit = |at: usize| input.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let byte = |copy: usize, at: usize| {
        (0..8).fold(0u8, |byte, b| byte << 1 | bit((at * 8 + b + bits - 13 * copy % bits) % bits))
    };
    let mut sum = vec![0u32; length];
    // Lengths have a common multiple at the latest after `length` copies; more of them would add the same again.
    let copies = (1..=length).find(|n| (n * input.len()).is_multiple_of(length)).unwrap_or(length);
    for at in 0..copies * input.len() {
        if let Some(place) = sum.get_mut(at % length) {
            *place += u32::from(byte(at / input.len(), at % input.len()));
        }
    }
    while sum.iter().any(|place| *place > 0xff) {
        let carries: Vec<u32> = sum.iter().map(|place| place >> 8).collect();
        for (at, place) in sum.iter_mut().enumerate() {
            *place = (*place & 0xff) + carries.get((at + 1) % length).copied().unwrap_or_default();
        }
    }
    sum.iter().map(|place| *place as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
        hex.chunks(2).map(|c| u8::from_str_radix(&c.iter().collect::<String>(), 16).unwrap()).collect()
    }

    /// RFC 3961 appendix A.1
    #[test]
    fn folding() {
        assert_eq!(folded(b"012345", 8), bytes("be072631276b1955"));
        assert_eq!(folded(b"password", 7), bytes("78a07b6caf85fa"));
        assert_eq!(folded(b"kerberos", 16), bytes("6b65726265726f73 7b9b5b2b93132b93"));
    }

    /// RFC 3962 appendix B
    #[test]
    fn stealing() {
        let aes = Aes::new(b"chicken teriyaki").unwrap();
        let plain = b"I would like the General Gau's Chicken, please, and wonton soup.";
        for (length, cipher) in [
            (17, "c6353568f2bf8cb4 d8a580362da7ff7f 97"),
            (31, "fc00783e0efdb2c1 d445d4c8eff7ed22 97687268d6ecccc0 c07b25e25ecfe5"),
            (32, "39312523a78662d5 be7fcbcc98ebf5a8 97687268d6ecccc0 c07b25e25ecfe584"),
        ] {
            assert_eq!(aes.decipher_all(&bytes(cipher)).unwrap().as_slice(), &plain[..length]);
        }
        assert!(aes.decipher_all(&[0; 15]).is_none());
    }

    /// RFC 8009 appendix A
    #[test]
    fn sha2() {
        let key = bytes("3705D96080C17728A0E800EAB6E0D23C");
        let empty = bytes("EF85FB890BB8472F4DAB20394DCA781D AD877EDA39D50C870C0D5A0A8E48C718");
        assert_eq!(open_sha2(&key, 2, &empty, Enctype::AES128_SHA2).unwrap().as_slice(), b"");
        let six = bytes("84D7F30754ED987BAB0BF3506BEB09CFB55402CEF7E6 877CE99E247E52D16ED4421DFDF8976C");
        assert_eq!(open_sha2(&key, 2, &six, Enctype::AES128_SHA2).unwrap().as_slice(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(open_sha2(&key, 3, &six, Enctype::AES128_SHA2), None);
    }

    #[test]
    fn what_is_cut_does_not_open() {
        for of in [Enctype::AES128, Enctype::AES256, Enctype::AES128_SHA2, Enctype::AES256_SHA2] {
            for length in 0..80 {
                let (key, sealed) = (vec![7; key_size(of)], vec![9; length]);
                assert_eq!(open_sha1(&key, 2, &sealed, of), None);
                assert_eq!(open_sha2(&key, 2, &sealed, of), None);
                assert_eq!(open_sha2(&[1; 5], 2, &sealed, of), None);
            }
        }
    }
}
