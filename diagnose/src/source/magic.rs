//! What a file is by its first bytes.

/// How a file is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// A Windows event log.
    Evtx,
    Zip,
    Gzip,
    Tar,
    /// A message of Outlook, or a document of old Office.
    Compound,
    /// Anything that may be text.
    Other,
    /// Known and not read; what to do instead.
    Foreign(&'static str),
}

const FOREIGN: &[(&[u8], &str)] = &[
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"MSCF", "a cabinet file: unpack it first (expand -F:* FILE FOLDER)"),
    (b"BZh", "packed with bzip2: unpack it first"),
    (b"\xFD7zXZ\0", "packed with xz: unpack it first"),
    (b"\x28\xB5\x2F\xFD", "packed with zstd: unpack it first"),
    (b"%PDF", "a PDF: save its text as a file"),
    (b"\x89PNG", "a picture: text in pictures is not read, copy it as text"),
    (b"\xFF\xD8\xFF", "a picture: text in pictures is not read, copy it as text"),
    (b"GIF8", "a picture: text in pictures is not read, copy it as text"),
    (b"!BDN", "a store of Outlook (PST): save the messages in it as files"),
    (b"{\\rtf", "formatted text (RTF): save it as plain text"),
    (b"MZ", "a program"),
    (b"\x7FELF", "a program"),
    (b"MDMP", "a memory dump"),
    (b"PAGEDU64", "a memory dump"),
    (b"SQLite format 3", "a database"),
    (b"\x30\x82", "binary ASN.1, perhaps a certificate: certutil -dump FILE prints it as text"),
    (b"regf", "a registry hive: reg query prints what is asked for as text"),
    (b"\x0A\x0D\x0D\x0A", "a network capture: not read"),
    (b"\xD4\xC3\xB2\xA1", "a network capture: not read"),
    (b"LfLe", "an event log of before 2008: open it in the Event Viewer and save it as evtx"),
    (b"\x30\0\0\0LfLe", "an event log of before 2008: open it in the Event Viewer and save it as evtx"),
    (b"PA\x01\x00", "a performance log: relog FILE -f CSV turns it into text"),
];

pub fn magic(head: &[u8]) -> Magic {
    // The head of the file may be lost; the first chunk stands behind it.
    if head.starts_with(b"ElfFile\0") || head.get(4096..4104) == Some(b"ElfChnk\0") {
        return Magic::Evtx;
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Magic::Zip;
    }
    if head.starts_with(&[0x1F, 0x8B]) {
        return Magic::Gzip;
    }
    if head.get(257..262) == Some(b"ustar") || super::tar::is_header(head) {
        return Magic::Tar;
    }
    if head.starts_with(super::cfb::MAGIC) {
        return Magic::Compound;
    }
    let known = FOREIGN.iter().find(|(mark, _)| head.starts_with(mark));
    known.map_or(Magic::Other, |(_, what)| Magic::Foreign(what))
}
