//! A message that Outlook has saved (`.msg`): subject, sender, headers, text, and its attachments as files of their own.

use super::cfb::{Compound, Folder};
use encoding_rs::{Encoding, UTF_16LE, WINDOWS_1252};

/// Messages in one another.
const DEPTH_MAX: usize = 5;
const ATTACHMENTS_MAX: usize = 256;

/// Properties, by their numbers.
const SUBJECT: &str = "0037";
const HEADERS: &str = "007D";
const SENDER: &str = "0C1F";
const RECIPIENTS: &str = "0E04";
const BODY: &str = "1000";
const RTF: &str = "10090102";
const HTML: &str = "10130102";
const LONG_NAME: &str = "3707";
const SHORT_NAME: &str = "3704";
const SHOWN_NAME: &str = "3001";
const DATA: &str = "37010102";
const INNER: &str = "3701000D";

/// A part of the message.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Its head and its text, as one would paste them.
    Text(String),
    /// Its text, if it has no other one.
    Html(String),
    Attachment {
        name: String,
        bytes: Vec<u8>,
    },
    /// What could not be taken, and why.
    Left(&'static str),
}

/// The parts of a message; nothing, if this is none.
pub fn parts(bytes: &[u8]) -> Option<Vec<Part>> {
    let file = Compound::open(bytes)?;
    file.stream(file.root(), "__properties_version1.0")?;
    let root = file.root();
    // What is in it cannot be longer than it, unless parts share their sectors as only a trap's do.
    let mut walk = Walk { file, room: bytes.len(), out: Vec::new() };
    walk.message(root, 0);
    Some(walk.out)
}

struct Walk<'a> {
    file: Compound<'a>,
    /// Bytes that may still be taken.
    room: usize,
    out: Vec<Part>,
}

impl Walk<'_> {
    /// A stream, within what is left.
    fn stream(&mut self, folder: Folder, name: &str) -> Option<Vec<u8>> {
        let bytes = self.file.stream(folder, name)?;
        match self.room.checked_sub(bytes.len()) {
            Some(room) => {
                self.room = room;
                Some(bytes)
            }
            None => {
                self.room = 0;
                None
            }
        }
    }

    fn message(&mut self, folder: Folder, depth: usize) {
        let mut head = String::new();
        match self.text(folder, HEADERS).filter(|headers| !headers.trim().is_empty()) {
            // They have the subject and the rest.
            Some(headers) => head.push_str(headers.trim_end()),
            None => {
                for (name, property) in [("From", SENDER), ("To", RECIPIENTS), ("Subject", SUBJECT)] {
                    if let Some(value) = self.text(folder, property).filter(|value| !value.is_empty()) {
                        head.push_str(name);
                        head.push_str(": ");
                        head.push_str(&value);
                        head.push('\n');
                    }
                }
            }
        }
        let head = head.trim_end();
        let body = self.text(folder, BODY).filter(|body| !body.trim().is_empty());
        if let Some(body) = body {
            self.out.push(Part::Text(format!("{head}\n\n{body}")));
        } else {
            self.out.push(Part::Text(head.to_owned()));
            if let Some(html) = self.stream(folder, &format!("__substg1.0_{HTML}")) {
                self.out.push(Part::Html(super::decode::whole(&html).unwrap_or_default().into_owned()));
            } else if self.file.has(folder, &format!("__substg1.0_{RTF}")) {
                let why = "its text is only there as formatted text (RTF): save it as text";
                self.out.push(Part::Left(why));
            }
        }
        for attachment in self.file.folders(folder, "__attach_version1.0_").into_iter().take(ATTACHMENTS_MAX)
        {
            self.attached(attachment, depth);
        }
    }

    fn attached(&mut self, folder: Folder, depth: usize) {
        if self.out.len() >= ATTACHMENTS_MAX {
            return;
        }
        if let Some(inner) = self.file.folders(folder, &format!("__substg1.0_{INNER}")).first() {
            match depth < DEPTH_MAX {
                true => self.message(*inner, depth + 1),
                false => self.out.push(Part::Left("messages in one another, more than five deep")),
            }
            return;
        }
        let name = [LONG_NAME, SHORT_NAME, SHOWN_NAME].iter().find_map(|p| self.text(folder, p));
        let part = match self.stream(folder, &format!("__substg1.0_{DATA}")) {
            Some(bytes) => {
                let name = name.filter(|n| !n.trim().is_empty()).unwrap_or_else(|| "attachment".to_owned());
                Part::Attachment { name, bytes }
            }
            None => Part::Left("an attachment without content, perhaps a link to one"),
        };
        self.out.push(part);
    }

    /// A text of a property, which is kept in Unicode or in a code page.
    fn text(&mut self, folder: Folder, property: &str) -> Option<String> {
        let decode = |encoding: &'static Encoding, bytes: &[u8]| {
            let text = encoding.decode_without_bom_handling(bytes).0;
            text.trim_end_matches('\0').to_owned()
        };
        if let Some(bytes) = self.stream(folder, &format!("__substg1.0_{property}001F")) {
            return Some(decode(UTF_16LE, &bytes));
        }
        let bytes = self.stream(folder, &format!("__substg1.0_{property}001E"))?;
        Some(match std::str::from_utf8(&bytes) {
            Ok(text) => text.trim_end_matches('\0').to_owned(),
            Err(_) => decode(WINDOWS_1252, &bytes),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A compound file with small and large streams, made sector by sector. Paths have their folders before a `/`.
    pub fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
        struct Made {
            name: String,
            kind: u8,
            parent: usize,
            bytes: Vec<u8>,
        }
        let mut all = vec![Made { name: "Root Entry".into(), kind: 5, parent: 0, bytes: Vec::new() }];
        for (path, bytes) in streams {
            let mut parent = 0;
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                let last = names.peek().is_none();
                let known = all.iter().position(|m| m.parent == parent && m.name == name && m.kind == 1);
                parent = match known {
                    Some(index) => index,
                    None => {
                        let bytes = if last { bytes.to_vec() } else { Vec::new() };
                        all.push(Made { name: name.into(), kind: if last { 2 } else { 1 }, parent, bytes });
                        all.len() - 1
                    }
                };
            }
        }
        // Sectors: 0 the table, then the directory, the table of small ones, the small ones, long streams.
        let mut sectors: Vec<[u8; 512]> = vec![[0; 512]];
        let mut next: Vec<u32> = vec![0xFFFF_FFFD];
        let mut put = |bytes: &[u8]| -> u32 {
            let start = u32::try_from(sectors.len()).unwrap();
            let count = bytes.len().div_ceil(512).max(1);
            for index in 0..count {
                let mut sector = [0; 512];
                let part = &bytes[(index * 512).min(bytes.len())..((index + 1) * 512).min(bytes.len())];
                sector[..part.len()].copy_from_slice(part);
                sectors.push(sector);
                let last = index + 1 == count;
                next.push(if last { 0xFFFF_FFFE } else { start + u32::try_from(index).unwrap() + 1 });
            }
            start
        };
        let (mut smalls, mut next_small, mut starts) = (Vec::new(), Vec::<u32>::new(), Vec::new());
        for made in &all {
            if made.kind == 2 && made.bytes.len() >= 4096 {
                starts.push(put(&made.bytes));
                continue;
            }
            starts.push(u32::try_from(next_small.len()).unwrap());
            for (index, part) in made.bytes.chunks(64).enumerate() {
                smalls.extend_from_slice(part);
                smalls.resize(next_small.len() * 64 + 64, 0);
                let last = (index + 1) * 64 >= made.bytes.len();
                let here = u32::try_from(next_small.len()).unwrap();
                next_small.push(if last { 0xFFFF_FFFE } else { here + 1 });
            }
        }
        starts[0] = put(&smalls);
        let table: Vec<u8> = next_small.iter().flat_map(|n| n.to_le_bytes()).collect();
        let table = put(&table);
        let mut directory = Vec::new();
        for (index, made) in all.iter().enumerate() {
            let mut entry = [0_u8; 128];
            let name: Vec<u8> = made.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            entry[..name.len()].copy_from_slice(&name);
            entry[64..66].copy_from_slice(&u16::try_from(name.len() + 2).unwrap().to_le_bytes());
            entry[66] = made.kind;
            // Each folder's entries hang on one another to the right.
            let after = |from: usize, parent: usize| {
                let found = all.iter().skip(from + 1).position(|m| m.parent == parent);
                found.map_or(0xFFFF_FFFF, |at| u32::try_from(from + 1 + at).unwrap())
            };
            let right = if index == 0 { 0xFFFF_FFFF } else { after(index, made.parent) };
            entry[68..72].copy_from_slice(&0xFFFF_FFFF_u32.to_le_bytes());
            entry[72..76].copy_from_slice(&right.to_le_bytes());
            entry[76..80].copy_from_slice(&after(index, index).to_le_bytes());
            entry[116..120].copy_from_slice(&starts[index].to_le_bytes());
            let size = if index == 0 { smalls.len() } else { made.bytes.len() };
            entry[120..124].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
            directory.extend(entry);
        }
        let directory = put(&directory);
        let table_bytes: Vec<u8> = next.iter().flat_map(|n| n.to_le_bytes()).collect();
        assert!(table_bytes.len() <= 512, "one sector of table is enough for a test");
        sectors[0] = [0xFF; 512];
        sectors[0][..table_bytes.len()].copy_from_slice(&table_bytes);
        let mut out = vec![0; 512];
        out[..8].copy_from_slice(super::super::cfb::MAGIC);
        out[26..28].copy_from_slice(&3_u16.to_le_bytes());
        out[30..32].copy_from_slice(&9_u16.to_le_bytes());
        out[32..34].copy_from_slice(&6_u16.to_le_bytes());
        out[48..52].copy_from_slice(&directory.to_le_bytes());
        out[56..60].copy_from_slice(&4096_u32.to_le_bytes());
        out[60..64].copy_from_slice(&table.to_le_bytes());
        out[68..72].copy_from_slice(&0xFFFF_FFFE_u32.to_le_bytes());
        out[76..512].fill(0xFF);
        out[76..80].copy_from_slice(&0_u32.to_le_bytes());
        for sector in sectors {
            out.extend(sector);
        }
        out
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// A message with a text, a log and another message attached.
    pub fn saved(log: &[u8]) -> Vec<u8> {
        compound(&[
            ("__properties_version1.0", &[0; 32]),
            ("__substg1.0_0037001F", &wide("Mail stops")),
            ("__substg1.0_0C1F001E", b"anna@corp.example"),
            ("__substg1.0_1000001F", &wide("Outlook says NO LOGIN failed.\r\nRegards\r\n")),
            ("__attach_version1.0_#00000000/__substg1.0_3707001F", &wide("IMAP4.LOG")),
            ("__attach_version1.0_#00000000/__substg1.0_37010102", log),
            (
                "__attach_version1.0_#00000001/__substg1.0_3701000D/__substg1.0_1000001F",
                &wide("an inner one"),
            ),
            ("__attach_version1.0_#00000002/__substg1.0_3704001F", &wide("gone.txt")),
        ])
    }

    #[test]
    fn text_and_attachments() {
        let log = vec![b'x'; 5000];
        let parts = parts(&saved(&log)).unwrap();
        let Part::Text(text) = &parts[0] else { panic!("{parts:?}") };
        assert_eq!(
            text,
            "From: anna@corp.example\nSubject: Mail stops\n\nOutlook says NO LOGIN failed.\r\nRegards\r\n"
        );
        assert_eq!(parts[1], Part::Attachment { name: "IMAP4.LOG".into(), bytes: log });
        assert_eq!(parts[2], Part::Text("\n\nan inner one".into()));
        assert!(matches!(parts[3], Part::Left(_)));
        assert!(super::parts(&compound(&[("WordDocument", b"x")])).is_none());
    }

    #[test]
    fn whatever_its_tables_say() {
        let good = saved(b"a log");
        for at in (0..good.len()).step_by(3) {
            for value in [0, 1, 0xFF] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = super::parts(&bad);
            }
        }
        for len in (0..good.len()).step_by(97) {
            let _ = super::parts(&good[..len]);
        }
    }
}
