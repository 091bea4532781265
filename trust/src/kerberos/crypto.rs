//! Whether a key opens what was sealed. Needed after a failure only, to tell a wrong key from every other reason.
//!
//! AES with SHA-1 (RFC 3962) and SHA-2 (RFC 8009), and RC4 (RFC 4757); other encryption types are left untested.

use super::name::Enctype;
use super::token::Sealed;
use super::{aes, rc4};
use zeroize::Zeroizing;

/// Key usage numbers (RFC 4120 §7.5.1).
pub(super) const USAGE_TICKET: i32 = 2;
pub(super) const USAGE_AUTHENTICATOR: i32 = 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTest {
    /// The key opens it: whatever went wrong, it was not the key.
    Opens,
    Mismatch,
    /// An encryption type that this module does not know.
    Untested,
}

/// What is inside, or why it cannot be told.
pub(super) fn open(key: &[u8], usage: i32, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, KeyTest> {
    let cipher = sealed.cipher.as_slice();
    let opened = match sealed.enctype {
        Enctype::AES128 | Enctype::AES256 => aes::open_sha1(key, usage, cipher, sealed.enctype),
        Enctype::AES128_SHA2 | Enctype::AES256_SHA2 => aes::open_sha2(key, usage, cipher, sealed.enctype),
        Enctype::RC4 => rc4::open(key, usage, cipher),
        _ => return Err(KeyTest::Untested),
    };
    opened.ok_or(KeyTest::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc4_opens_with_the_right_key_only() {
        let sealed = |cipher| Sealed { enctype: Enctype::RC4, kvno: None, cipher };
        let cipher = rc4::tests::seal(&[7; 16], USAGE_TICKET, b"inside");
        assert_eq!(*open(&[7; 16], USAGE_TICKET, &sealed(cipher.clone())).unwrap(), b"inside");
        assert_eq!(open(&[8; 16], USAGE_TICKET, &sealed(cipher.clone())), Err(KeyTest::Mismatch));
        assert_eq!(open(&[7; 16], USAGE_AUTHENTICATOR, &sealed(cipher)), Err(KeyTest::Mismatch));
        assert_eq!(open(&[7; 16], USAGE_TICKET, &sealed(vec![1; 15])), Err(KeyTest::Mismatch));
    }
}
