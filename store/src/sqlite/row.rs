//! A row as it lies in the table: the value, then CRC-32C of key and value, big-endian. The key is part of the sum,
//! so that a value under the wrong key is found as well.

/// Bytes that the sum adds to a value.
pub(super) const SUM_BYTES: usize = 4;

fn sum(key: &[u8], value: &[u8]) -> [u8; SUM_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_be_bytes()
}

/// Appends the sum.
pub(super) fn seal(key: &[u8], value: &mut Vec<u8>) {
    let sum = sum(key, value);
    value.extend_from_slice(&sum);
}

/// The value without its sum; `None` if the sum does not fit.
pub(super) fn unseal<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (value, stored_sum) = stored.split_at_checked(stored.len().checked_sub(SUM_BYTES)?)?;
    (stored_sum == sum(key, value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_found() {
        let mut stored = b"value".to_vec();
        seal(b"key", &mut stored);
        assert_eq!(unseal(b"key", &stored), Some(&b"value"[..]));
        assert_eq!(unseal(b"kez", &stored), None);
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(b"key", &bad), None);
        }
        assert_eq!(unseal(b"key", b"abc"), None);
    }
}
