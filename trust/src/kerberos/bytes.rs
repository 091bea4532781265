//! Reading the big-endian records of keytabs and credential caches.

use super::limits::{NAME_BYTES_MAX, NAME_PARTS_MAX};
use super::name::Principal;

#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// 16 bits of length, then the bytes.
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// 32 bits of length, then the bytes.
    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// Realm, then parts, each read by `string`.
    pub(super) fn name(
        &mut self,
        count: usize,
        string: fn(&mut Bytes<'a>) -> Option<&'a [u8]>,
    ) -> Option<Principal> {
        if count > NAME_PARTS_MAX {
            return None;
        }
        let mut strings = Vec::with_capacity(count + 1);
        for _ in 0..=count {
            strings.push(string(self).filter(|s| s.len() <= NAME_BYTES_MAX)?);
        }
        let (realm, parts) = strings.split_first()?;
        Some(Principal::from_bytes(parts.iter().copied(), realm))
    }
}
