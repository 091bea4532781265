//! Keytabs: which keys a service holds, by principal, encryption type and version. Version 2 of the file, as MIT,
//! Heimdal, Samba and Windows' ktpass write it.
//!
//! Keys stay inside; they are wiped when dropped, and nothing prints them.

use super::bytes::Bytes;
use super::limits::{KEYTAB_BYTES_MAX, KEYTAB_ENTRIES_MAX};
use super::name::{Enctype, KeyName, Principal};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;
use waypost_base::{Timestamp, denials};
use zeroize::Zeroizing;

#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub principal: Principal,
    pub enctype: Enctype,
    pub kvno: u32,
    /// When the key was written into the file.
    pub time: Timestamp,
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} kvno {} of {}", self.principal, self.enctype, self.kvno, self.time)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keytab {
    pub entries: Vec<Entry>,
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeytabError {
    /// With the operating system's own reason: the library says "nonexistent or empty" whatever it was.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {text}", path.display())]
    Content { path: PathBuf, text: &'static str },
}

impl KeytabError {
    pub fn is_missing(&self) -> bool {
        matches!(self, KeytabError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub fn is_denied(&self) -> bool {
        matches!(self, KeytabError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Reads a file as the process that asks: what the process may not read is an error here too.
pub fn load(path: &Path) -> Result<Keytab, KeytabError> {
    let failed = |source| KeytabError::Io { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = denials::report_in(path, "read", File::open(path)).map_err(failed)?;
    file.take(KEYTAB_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).map_err(|text| KeytabError::Content { path: path.to_owned(), text })
}

/// Reads the bytes of a keytab. Deleted entries are passed over.
pub fn parse(bytes: &[u8]) -> Result<Keytab, &'static str> {
    if bytes.len() as u64 > KEYTAB_BYTES_MAX {
        return Err("too large for a keytab");
    }
    let mut rest = Bytes(bytes);
    match rest.u16() {
        Some(0x0502) => {}
        Some(0x0501) => return Err("a keytab of version 1, which is not read"),
        None if bytes.is_empty() => return Err("an empty file"),
        _ => return Err("not a keytab"),
    }
    let mut entries = Vec::new();
    for slot in slots(rest)? {
        entries.push(entry(Bytes(slot)).ok_or("an entry that cannot be read")?);
    }
    Ok(Keytab { entries })
}

/// The slots with entries, as they are in the file.
fn slots(mut rest: Bytes<'_>) -> Result<Vec<&[u8]>, &'static str> {
    let mut slots = Vec::new();
    while !rest.0.is_empty() {
        let size = rest.u32().ok_or("broken off inside an entry's length")?.cast_signed();
        let length = usize::try_from(size.unsigned_abs()).map_err(|_| "an entry's length is impossible")?;
        // Zeros after the last entry are room that was set aside.
        if length == 0 {
            break;
        }
        let slot = rest.take(length).ok_or("broken off inside an entry")?;
        // A negative size marks a slot whose entry was deleted.
        if size > 0 {
            slots.push(slot);
        }
        if slots.len() > KEYTAB_ENTRIES_MAX {
            return Err("too many keys for a keytab");
        }
    }
    Ok(slots)
}

/// A keytab with some of the keys of another.
pub fn only(bytes: &[u8], mut keep: impl FnMut(&Entry) -> bool) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let keytab = parse(bytes)?;
    let mut file = Zeroizing::new(vec![5, 2]);
    let head = 2;
    let slots = slots(Bytes(bytes.get(head..).unwrap_or_default()))?;
    for (_, slot) in keytab.entries.iter().zip(slots).filter(|(entry, _)| keep(entry)) {
        file.extend_from_slice(&u32::try_from(slot.len()).unwrap_or_default().to_be_bytes());
        file.extend_from_slice(slot);
    }
    Ok(file)
}

fn entry(mut slot: Bytes<'_>) -> Option<Entry> {
    let count = usize::from(slot.u16()?);
    let principal = slot.name(count, Bytes::short)?;
    let _name_type = slot.u32()?;
    let time = Timestamp::from_seconds(i64::from(slot.u32()?));
    let low = u32::from(slot.u8()?);
    let enctype = Enctype(i32::from(slot.u16()?));
    let key = Zeroizing::new(slot.short()?.to_vec());
    // Versions above 255 follow in full; zero there means that a writer left the field empty.
    let kvno = slot.u32().filter(|&full| full != 0).unwrap_or(low);
    Some(Entry { principal, enctype, kvno, time, key })
}

impl Keytab {
    /// A line for each principal: `smtp/hub.example.org@EXAMPLE.ORG: aes256-cts kvno 2, arcfour-hmac kvno 2`.
    pub fn lines(&self) -> Vec<String> {
        let keys = |p: &Principal| {
            let keys: Vec<String> =
                self.of(p).map(|e| KeyName(e.enctype, Some(e.kvno)).to_string()).collect();
            keys.join(", ")
        };
        self.principals().iter().map(|p| format!("{p}: {}", keys(p))).collect()
    }

    pub fn of<'a, 'p>(&'a self, principal: &'p Principal) -> impl Iterator<Item = &'a Entry> + use<'a, 'p> {
        self.entries.iter().filter(move |e| e.principal == *principal)
    }

    /// Every principal once, sorted.
    pub fn principals(&self) -> Vec<&Principal> {
        let mut all: Vec<&Principal> = self.entries.iter().map(|e| &e.principal).collect();
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A keytab as MIT writes it: principal, enctype, kvno, key.
    pub(in crate::kerberos) fn write(entries: &[(&str, i32, u32, &[u8])]) -> Vec<u8> {
        let mut file = vec![5, 2];
        for (name, enctype, kvno, key) in entries {
            let name = Principal::parse(name).unwrap();
            let mut slot = Vec::new();
            let string = |slot: &mut Vec<u8>, s: &[u8]| {
                slot.extend((s.len() as u16).to_be_bytes());
                slot.extend(s);
            };
            slot.extend((name.parts.len() as u16).to_be_bytes());
            string(&mut slot, name.realm.as_bytes());
            name.parts.iter().for_each(|p| string(&mut slot, p.as_bytes()));
            slot.extend(1u32.to_be_bytes());
            slot.extend(1_772_000_000u32.to_be_bytes());
            slot.push(*kvno as u8);
            slot.extend((*enctype as u16).to_be_bytes());
            string(&mut slot, key);
            slot.extend(kvno.to_be_bytes());
            file.extend((slot.len() as u32).to_be_bytes());
            file.extend(slot);
        }
        file
    }

    #[test]
    fn entries_with_large_versions_and_holes() {
        let mut file = write(&[("smtp/hub@R", 18, 300, &[1; 32]), ("smtp/hub@R", 23, 2, &[2; 16])]);
        file.extend((-7i32).to_be_bytes());
        file.extend([0xee; 7]);
        file.extend(&write(&[("imap/hub@R", 17, 1, &[3; 16])])[2..]);
        file.extend([0; 16]);
        let keytab = parse(&file).unwrap();
        let seen: Vec<_> =
            keytab.entries.iter().map(|e| (e.principal.to_string(), e.enctype.0, e.kvno)).collect();
        let expected = [("smtp/hub@R", 18, 300), ("smtp/hub@R", 23, 2), ("imap/hub@R", 17, 1)];
        assert_eq!(seen, expected.map(|(p, e, k)| (p.to_owned(), e, k)));
        assert_eq!(keytab.principals().len(), 2);
        let rc4 = parse(&only(&file, |e| e.enctype == Enctype::RC4).unwrap()).unwrap();
        assert_eq!(rc4.entries, keytab.entries[1..2]);
        assert!(!format!("{keytab:?}").contains("[1, 1"), "keys are not shown");
    }

    #[test]
    fn what_is_no_keytab_says_so() {
        assert_eq!(parse(b""), Err("an empty file"));
        assert_eq!(parse(b"hello"), Err("not a keytab"));
        assert_eq!(parse(&[5, 2]).unwrap(), Keytab::default());
        let whole = write(&[("smtp/hub@R", 18, 2, &[1; 32])]);
        for cut in 3..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(load(Path::new("/nowhere/at/all")).unwrap_err().is_missing());
    }
}
