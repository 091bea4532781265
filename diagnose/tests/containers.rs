//! What collections come in: tar files, documents, saved messages. What is in them is read as if it stood beside.

use std::io::{Cursor, Write as _};
use waypost_base::Timestamp;
use waypost_diagnose::phrases::Phrases;
use waypost_diagnose::source::{Collected, collect_files};
use zip::write::SimpleFileOptions;

const LOG: &str = "#Software: Microsoft Exchange Server\r\n#Log-type: IMAP4 Protocol Log\r\n#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context\r\n2026-03-03T09:02:46.994Z,0000000000000003,2,10.0.0.1:993,10.0.0.9:32258,anna,1196,78,97,login,anna *****,\"R=\"\"z NO LOGIN failed.\"\"\"\r\n";

fn read(files: &[(&str, &[u8])]) -> Collected {
    let phrases = Phrases::new(["LOGIN failed", "Unable to relay"]);
    collect_files(files, &phrases, Timestamp(1_772_530_000_000))
}

fn reason((_, _, unread): &Collected, file: &str) -> String {
    let found: Vec<&str> = unread.iter().filter(|u| u.file == file).map(|u| u.reason.as_str()).collect();
    assert!(!found.is_empty(), "{file} is not among {unread:?}");
    found.join("; ")
}

fn logs(read: &Collected) -> Vec<(String, Option<String>)> {
    let of =
        |fact: &waypost_diagnose::Fact| (read.0.show(fact.at), fact.server.as_deref().map(str::to_owned));
    read.0.of("imap").map(of).collect()
}

fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).expect("can be written");
        zip.write_all(bytes).expect("can be written");
    }
    zip.finish().expect("can be written").into_inner()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).expect("can be written");
    packed.finish().expect("can be written")
}

/// An entry as tar writes it.
fn entry(name: &str, kind: u8, size: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    header[100..107].copy_from_slice(b"0000644");
    header[124..124 + size.len()].copy_from_slice(size.as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    out.extend(bytes);
    out.resize(out.len().div_ceil(512) * 512, 0);
    out
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    entry(name, b'0', &format!("{:011o}", bytes.len()), bytes)
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries.concat();
    out.extend([0; 1024]);
    out
}

#[test]
fn tar_files_packed_and_not() {
    let long = format!("{}/IMAP4BE2026030308-1.LOG", "d".repeat(150));
    let gnu = [
        entry("././@LongLink", b'L', &format!("{:011o}", long.len() + 1), format!("{long}\0").as_bytes()),
        file("cut", LOG.as_bytes()),
    ]
    .concat();
    let record = |text: &str| {
        let mut len = text.len() + 3;
        while format!("{len} {text}\n").len() != len {
            len += 1;
        }
        format!("{len} {text}\n")
    };
    let pax = record("path=MBX03/Imap4/IMAP42026030308-1.LOG");
    let pax = [
        entry("PaxHeaders/x", b'x', &format!("{:011o}", pax.len()), pax.as_bytes()),
        file("x", LOG.as_bytes()),
    ]
    .concat();
    let all = tar(&[
        entry("./MBX01/", b'5', "0", b""),
        file("./MBX01/Imap4/IMAP42026030308-1.LOG", LOG.as_bytes()),
        file("notes.txt", b"it says Unable to relay"),
        gnu,
        pax,
        file("inner.zip", &zipped(&[("MBX02/IMAP42026030308-1.LOG", LOG.as_bytes())])),
        file("inner.tar.gz", &gzipped(&tar(&[file("MBX04/IMAP42026030308-1.LOG", LOG.as_bytes())]))),
    ]);
    for (name, bytes) in [("all.tar", all.clone()), ("all.tgz", gzipped(&all)), ("all.bin", gzipped(&all))] {
        let read = read(&[(name, &bytes)]);
        let mut found = logs(&read);
        found.sort();
        let wanted = [
            (format!("{name}!/MBX01/Imap4/IMAP42026030308-1.LOG:4"), Some("MBX01".to_owned())),
            (format!("{name}!/MBX03/Imap4/IMAP42026030308-1.LOG:4"), Some("MBX03".to_owned())),
            (format!("{name}!/{long}:4"), None),
            (format!("{name}!/inner.tar.gz!/MBX04/IMAP42026030308-1.LOG:4"), Some("MBX04".to_owned())),
            (format!("{name}!/inner.zip!/MBX02/IMAP42026030308-1.LOG:4"), Some("MBX02".to_owned())),
        ];
        let shown: Vec<_> = found.iter().map(|(at, server)| (at.clone(), server.clone())).collect();
        assert_eq!(shown.len(), 5, "{shown:?} {:?}", read.2);
        for (at, server) in &wanted[..] {
            let met = shown.iter().find(|(found, _)| found == at);
            assert!(met.is_some_and(|(_, found)| server.is_none() || found == server), "{at} {shown:?}");
        }
        assert_eq!(read.0.of("text").count(), 1);
        assert!(read.2.is_empty(), "{:?}", read.2);
    }
}

#[test]
fn tar_files_that_want_to_do_harm() {
    let mut all = tar(&[
        file("../../etc/passwd.txt", b"Unable to relay"),
        file("/etc/notes.txt", b"Unable to relay"),
        entry("link.txt", b'2', "0", b""),
        entry("hard.txt", b'1', "00000000777", b""),
        entry("device", b'3', "0", b""),
        entry("holes.txt", b'S', "00000000005", b"Unabl"),
        file("MBX01/IMAP42026030308-1.LOG", LOG.as_bytes()),
        entry("endless.txt", b'0', "77777777777", b"Unable to relay"),
    ]);
    // It breaks off in the last one.
    all.truncate(all.len() - 1024 - 512 + 15);
    for bytes in [all.clone(), gzipped(&all)] {
        let read = read(&[("a.tar", &bytes)]);
        assert_eq!(logs(&read).len(), 1, "{:?}", read.2);
        for (name, word) in [
            ("../../etc/passwd.txt", "leads out"),
            ("/etc/notes.txt", "leads out"),
            ("link.txt", "link"),
            ("hard.txt", "link"),
            ("device", "regular"),
            ("holes.txt", "holes"),
        ] {
            assert!(reason(&read, &format!("a.tar!/{name}")).contains(word), "{name}");
        }
        assert!(reason(&read, "a.tar").contains("cut off"));
        // As far as it goes.
        assert_eq!(read.0.of("text").count(), 1);
    }
    // Every cut and every wrong byte.
    let good = tar(&[file("MBX01/IMAP42026030308-1.LOG", LOG.as_bytes()), file("n.txt", b"Unable to relay")]);
    for at in (0..good.len()).step_by(61) {
        let mut bad = good.clone();
        bad[at] ^= 0x91;
        read(&[("bad.tar", &bad)]);
        read(&[("cut.tar", &good[..at])]);
        read(&[("cut.tgz", &gzipped(&good[..at]))]);
    }
    // Bombs: long headers, and zeros that unpack without end.
    let names = entry("././@LongLink", b'L', "77777777777", b"x");
    assert!(reason(&read(&[("a.tar", &tar(&[names]))]), "a.tar").contains("trap"));
    let zeros = tar(&[file("zeros.txt", &vec![b'0'; 40 << 20])]);
    let bomb = read(&[("a.tgz", &gzipped(&zeros))]);
    assert!(reason(&bomb, "a.tgz").contains("trap"), "{:?}", bomb.2);
    // Nesting ends.
    let three = tar(&[file("two.tar", &tar(&[file("one.tar", &tar(&[file("x.log", LOG.as_bytes())]))]))]);
    assert!(reason(&read(&[("three.tar", &three)]), "three.tar!/two.tar!/one.tar").contains("deep"));
}

const WORD: &str = r#"<?xml version="1.0"?><w:document xmlns:w="x"><w:body><w:p><w:r><w:t>Outlook says NO LOGIN failed.</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>LoginType</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>SecureLogin</w:t></w:r></w:p></w:tc></w:tr><w:tr><w:tc><w:p><w:r><w:t>X509CertificateName</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>mail.corp.example</w:t></w:r></w:p></w:tc></w:tr><w:tr><w:tc><w:p><w:r><w:t>ProxyTargetPort</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>9933</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>"#;

#[test]
fn documents() {
    let word = zipped(&[
        ("[Content_Types].xml", b"<x/>"),
        ("word/document.xml", WORD.as_bytes()),
        ("word/media/image1.png", b"x"),
    ]);
    let sheet = br#"<worksheet><sheetData><row><c t="inlineStr"><is><t>Identity</t></is></c><c t="inlineStr"><is><t>Status</t></is></c><c t="inlineStr"><is><t>MessageCount</t></is></c><c t="inlineStr"><is><t>LastError</t></is></c></row><row><c t="inlineStr"><is><t>MBX01\3</t></is></c><c t="inlineStr"><is><t>Retry</t></is></c><c><v>7</v></c><c t="inlineStr"><is><t>451 4.4.0 Unable to relay</t></is></c></row></sheetData></worksheet>"#;
    let book = zipped(&[
        ("[Content_Types].xml", b"<x/>"),
        ("xl/workbook.xml", b"<x/>"),
        ("xl/worksheets/sheet1.xml", sheet),
    ]);
    let open = zipped(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", b"<d><text:p>it says</text:p><text:p>Unable<text:s/>to relay</text:p></d>"),
    ]);
    let slides = zipped(&[("ppt/presentation.xml", b"<x/>")]);
    let collection =
        zipped(&[("ticket.docx", &word), ("queue.xlsx", &book), ("mail.odt", &open), ("a.pptx", &slides)]);
    for (files, outer) in [
        (
            vec![
                ("ticket.docx", word.as_slice()),
                ("queue.xlsx", &book),
                ("mail.odt", &open),
                ("a.pptx", &slides),
            ],
            "",
        ),
        (vec![("all.zip", collection.as_slice())], "all.zip!/"),
    ] {
        let read = read(&files);
        let settings = read.0.objects("ImapSettings").next().expect("a table of names and values");
        assert_eq!(settings.get("logintype"), Some("SecureLogin"));
        assert_eq!(read.0.file(settings.at.file), format!("{outer}ticket.docx"));
        let queue =
            read.0.of("object").find(|f| f.get("identity") == Some("MBX01\\3")).expect("a row of a sheet");
        assert_eq!((queue.get("status"), queue.get("messagecount")), (Some("Retry"), Some("7")));
        let said: Vec<&str> = read.0.of("text").map(|f| &*f.text).collect();
        assert!(
            said.contains(&"Outlook says NO LOGIN failed.") && said.contains(&"Unable to relay"),
            "{said:?}"
        );
        assert!(reason(&read, &format!("{outer}ticket.docx")).contains("pictures"));
        if outer.is_empty() {
            assert!(reason(&read, "a.pptx").contains("slides"));
        } else {
            // Only by its name it would be an archive that is opened on the way.
            assert!(reason(&read, "all.zip!/a.pptx").contains("archive"));
        }
    }
    for at in (0..word.len()).step_by(37) {
        let mut bad = word.clone();
        bad[at] ^= 0x55;
        read(&[("bad.docx", &bad)]);
    }
}

#[test]
fn messages_with_archives_attached() {
    use std::fmt::Write as _;
    let log = zipped(&[("MBX01/IMAP42026030308-1.LOG", LOG.as_bytes()), ("notes.txt", b"Unable to relay")]);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for three in log.chunks(3) {
        let bits = three.iter().fold(0_u32, |sum, b| sum << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            let _ = write!(coded, "{}", letters[(bits >> (18 - 6 * at)) as usize & 63] as char);
        }
    }
    let html = "<html><body><p>Outlook =\r\nsays NO LOGIN=20failed.</p></body></html>";
    let mail = format!(
        "From: a@corp.example\r\nTo: b@corp.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{html}\r\n--b\r\nContent-Type: application/zip; name=\"logs.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--b--\r\n"
    );
    let read = read(&[("mail.mhtml", mail.as_bytes())]);
    assert_eq!(logs(&read).len(), 1, "{:?}", read.2);
    let mut said: Vec<&str> = read.0.of("text").map(|f| &*f.text).collect();
    said.sort_unstable();
    assert_eq!(said, ["Outlook says NO LOGIN failed.", "Unable to relay"]);
    assert!(read.2.is_empty(), "{:?}", read.2);
}

#[test]
fn how_far_it_is() {
    use std::sync::{Arc, Mutex};
    use waypost_diagnose::source::{Limits, Watcher, collect_watched};
    let folder = std::env::temp_dir().join(format!("diagnose-progress-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for n in 0..4 {
        std::fs::write(folder.join(format!("IMAP4-{n}.LOG")), LOG.repeat(200)).unwrap();
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let to = told.clone();
    let watcher = Watcher::new(move |p| to.lock().unwrap().push(p.clone()));
    let limits = Limits { threads: 1, ..Limits::default() };
    let phrases = Phrases::new(["LOGIN failed"]);
    collect_watched(&folder, &limits, &phrases, Timestamp(0), Some(watcher)).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let told = told.lock().unwrap();
    let first = told.first().expect("told at least once");
    assert_eq!(first.total, 4 * 200 * LOG.len() as u64);
    assert!(first.read >= 200 * LOG.len() as u64 && first.file.ends_with(".LOG"), "{first:?}");
}
