//! A row as it lies in the table, and how large values are kept apart.
//!
//! In `kv` lies the value, a byte of kind 0, and CRC-32C of key, value and kind. A value over [`LOCAL_BYTES`] lies in
//! the table `big` instead, under a number, followed by CRC-32C of key and value; then `kv` has number, length and
//! kind 1 with their sum. The reason: to find its way through a tree of keys SQLite reads whatever it compares with whole,
//! so large values among the keys would be read again and again. The key is part of the sums, so that a value
//! under the wrong key is found as well.

/// Largest value among the keys: SQLite keeps rows of up to about 1 000 bytes in the tree's own pages of 4 KiB.
pub(super) const LOCAL_BYTES: usize = 800;

/// Bytes that kind and sum add to a value in `kv`.
pub(super) const SEAL_BYTES: usize = 5;

/// Bytes of a reference to `big`, sealed.
pub(super) const REF_BYTES: usize = 17;

const VALUE: u8 = 0;
const REF: u8 = 1;

/// What a row of `kv` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Value(&'a [u8]),
    Big { id: i64, len: u32 },
}

fn sum(key: &[u8], rest: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(key), rest).to_be_bytes()
}

/// Appends kind and sum to a value.
pub(super) fn seal(key: &[u8], value: &mut Vec<u8>) {
    value.reserve(SEAL_BYTES);
    value.push(VALUE);
    let sum = sum(key, value);
    value.extend_from_slice(&sum);
}

/// The same for a counter, without an allocation.
pub(super) fn seal_counter(key: &[u8], counter: [u8; 8]) -> [u8; 8 + SEAL_BYTES] {
    let mut out = [0; 8 + SEAL_BYTES];
    out[..8].copy_from_slice(&counter);
    out[8] = VALUE;
    let sum = sum(key, &out[..9]);
    out[9..].copy_from_slice(&sum);
    out
}

/// What `kv` has of a value in `big`.
pub(super) fn seal_ref(key: &[u8], id: i64, len: u32) -> [u8; REF_BYTES] {
    let mut out = [0; REF_BYTES];
    out[..8].copy_from_slice(&id.to_be_bytes());
    out[8..12].copy_from_slice(&len.to_be_bytes());
    out[12] = REF;
    let sum = sum(key, &out[..13]);
    out[13..].copy_from_slice(&sum);
    out
}

/// What a row says; `None` if its sum does not fit.
pub(super) fn unseal<'a>(key: &[u8], stored: &'a [u8]) -> Option<Stored<'a>> {
    let (sealed, stored_sum) = stored.split_at_checked(stored.len().checked_sub(4)?)?;
    if stored_sum != sum(key, sealed) {
        return None;
    }
    match sealed.split_last()? {
        (&VALUE, value) => Some(Stored::Value(value)),
        (&REF, place) => {
            let (id, len) = place.split_first_chunk::<8>()?;
            Some(Stored::Big { id: i64::from_be_bytes(*id), len: u32::from_be_bytes(len.try_into().ok()?) })
        }
        _ => None,
    }
}

/// Appends its sum to a value for `big`.
pub(super) fn seal_big(key: &[u8], value: &mut Vec<u8>) {
    let sum = sum(key, value);
    value.extend_from_slice(&sum);
}

/// A value from `big`; `None` if it is not the one that the reference means, or its sum does not fit.
pub(super) fn unseal_big<'a>(key: &[u8], stored: &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (value, stored_sum) = stored.split_at_checked(len as usize)?;
    (stored_sum == sum(key, value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_flipped_bit(stored: &[u8], good: impl Fn(&[u8]) -> bool) {
        assert!(good(stored));
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!good(&bad));
        }
        for end in 0..stored.len() {
            assert!(!good(&stored[..end]));
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let mut value = b"value".to_vec();
        seal(b"key", &mut value);
        assert_eq!(unseal(b"key", &value), Some(Stored::Value(b"value")));
        assert_eq!(unseal(b"kez", &value), None);
        every_flipped_bit(&value, |stored| unseal(b"key", stored).is_some());
        let counter = seal_counter(b"key", 7u64.to_be_bytes());
        assert_eq!(unseal(b"key", &counter), Some(Stored::Value(&7u64.to_be_bytes())));
        let place = seal_ref(b"key", -3, 5);
        assert_eq!(unseal(b"key", &place), Some(Stored::Big { id: -3, len: 5 }));
        every_flipped_bit(&place, |stored| unseal(b"key", stored).is_some());
        let mut big = b"value".to_vec();
        seal_big(b"key", &mut big);
        assert_eq!(unseal_big(b"key", &big, 5), Some(&b"value"[..]));
        every_flipped_bit(&big, |stored| unseal_big(b"key", stored, 5).is_some());
    }
}
