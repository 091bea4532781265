//! Evidence that wants to do harm: it gets a clear message, and the files beside it are read.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;
use waypost_diagnose::phrases::Phrases;
use waypost_diagnose::source::{Collected, Limits, collect, collect_files};
use zip::write::SimpleFileOptions;

const CLOCK: Timestamp = Timestamp(1_772_530_000_000);

/// A log that is to be read whatever stands beside it.
const GOOD: &str = "#Software: Microsoft Exchange Server\r\n#Log-type: IMAP4 Protocol Log\r\n#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context\r\n2026-03-03T09:02:46.994Z,0000000000000003,2,10.0.0.1:993,10.0.0.9:32258,anna,1196,78,97,login,anna *****,\"R=\"\"z NO LOGIN failed.\"\"\"\r\n";

fn phrases() -> Phrases {
    Phrases::new(["LOGIN failed", "Unable to relay"])
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("diagnose-hostile-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("can be written and read");
        Folder(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("can be written and read");
        fs::write(path, bytes).expect("can be written and read");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path, limits: &Limits) -> Collected {
    collect(path, limits, &phrases(), CLOCK).expect("can be written and read")
}

fn reason((_, _, unread): &Collected, file: &str) -> String {
    let found: Vec<&str> = unread.iter().filter(|u| u.file == file).map(|u| u.reason.as_str()).collect();
    assert!(!found.is_empty(), "{file} is not among {unread:?}");
    found.join("; ")
}

fn good_was_read((case, read, _): &Collected) {
    assert_eq!(case.of("imap").count(), 1, "{read:?}");
    assert!(read.iter().any(|r| r.kind == "IMAP4 protocol log"), "{read:?}");
}

fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).expect("can be written and read");
        zip.write_all(bytes).expect("can be written and read");
    }
    zip.finish().expect("can be written and read").into_inner()
}

/// Changes a name in a zip's headers for one of the same length, as no honest tool writes it.
fn renamed(zip: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = zip.to_vec();
    let mut at = 0;
    while let Some(found) = out[at..].windows(from.len()).position(|w| w == from.as_bytes()) {
        out[at + found..at + found + from.len()].copy_from_slice(to.as_bytes());
        at += found + from.len();
    }
    out
}

#[test]
fn a_bomb_is_cut_off_and_its_neighbour_read() {
    let zeros = vec![b'0'; 40 << 20];
    let zip = zipped(&[("bomb.txt", &zeros), ("IMAP42026030308-1.LOG", GOOD.as_bytes())]);
    let read = collect_files(&[("evidence.zip", &zip)], &phrases(), CLOCK);
    good_was_read(&read);
    assert!(reason(&read, "evidence.zip!/bomb.txt").contains("trap"), "{:?}", read.2);
}

#[test]
fn names_that_lead_out_are_refused() {
    let zip = zipped(&[
        ("aa/aa/aa/passwd.txt", b"Unable to relay"),
        ("good/IMAP42026030308-1.LOG", GOOD.as_bytes()),
    ]);
    for to in ["../../../passwd.txt", "/etc/init/passwd.tx", "C:\\windows\\passwd.t", "..\\..\\aa/passwd.txt"]
    {
        let bad = renamed(&zip, "aa/aa/aa/passwd.txt", to);
        let read = collect_files(&[("evidence.zip", &bad)], &phrases(), CLOCK);
        good_was_read(&read);
        let name = format!("evidence.zip!/{}", to.replace('\\', "/"));
        assert!(reason(&read, &name).contains("leads out"), "{to}");
        assert_eq!(read.0.of("text").count(), 0, "{to}");
    }
}

#[test]
fn archives_in_archives_end_somewhere() {
    let one = zipped(&[("IMAP42026030308-1.LOG", GOOD.as_bytes())]);
    let two = zipped(&[("one.zip", &one)]);
    let three = zipped(&[("two.zip", &two)]);
    good_was_read(&collect_files(&[("two.zip", &two)], &phrases(), CLOCK));
    let read = collect_files(&[("three.zip", &three)], &phrases(), CLOCK);
    assert!(reason(&read, "three.zip!/two.zip!/one.zip").contains("deep"));
    // Under another name it is no archive that is opened on the way.
    let hidden = zipped(&[("notes.txt", &one)]);
    let read = collect_files(&[("hidden.zip", &hidden)], &phrases(), CLOCK);
    assert!(reason(&read, "hidden.zip!/notes.txt").contains("archive"));
}

#[test]
fn damaged_archives_are_told() {
    let good = zipped(&[("IMAP42026030308-1.LOG", GOOD.repeat(50).as_bytes())]);
    let read = collect_files(&[("cut.zip", &good[..good.len() / 2])], &phrases(), CLOCK);
    assert!(reason(&read, "cut.zip").contains("cut off"));
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let _ = collect_files(&[("bad.zip", &bad)], &phrases(), CLOCK);
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(GOOD.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    good_was_read(&collect_files(&[("IMAP4.LOG.gz", &packed)], &phrases(), CLOCK));
    let read = collect_files(&[("cut.log.gz", &packed[..packed.len() / 2])], &phrases(), CLOCK);
    assert!(!read.2.is_empty());
}

#[test]
fn links_pipes_and_endless_folders() {
    let folder = Folder::new("links");
    folder.put("MBX01/IMAP42026030308-1.LOG", GOOD.as_bytes());
    folder.put("expect.toml", b"cause = \"Unable to relay\"");
    std::os::unix::fs::symlink("/etc/passwd", folder.0.join("passwd.txt")).unwrap();
    std::os::unix::fs::symlink(&folder.0, folder.0.join("again")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(folder.0.join("pipe.log")).status();
    let deep: String = (0..50).map(|_| "d/").collect();
    folder.put(&format!("{deep}notes.txt"), b"Unable to relay");
    let read = read(&folder.0, &Limits::default());
    good_was_read(&read);
    assert_eq!(read.0.of("imap").next().unwrap().server.as_deref(), Some("MBX01"));
    assert!(reason(&read, "passwd.txt").contains("link"));
    assert!(reason(&read, "again").contains("link"));
    if pipe.is_ok_and(|status| status.success()) {
        assert!(reason(&read, "pipe.log").contains("regular"));
    }
    assert!(read.2.iter().any(|u| u.reason.contains("deep")));
    assert_eq!(read.0.of("text").count(), 0);
}

#[test]
fn the_number_of_files_is_bounded() {
    let folder = Folder::new("many");
    for n in 0..60 {
        folder.put(&format!("{n:03}.txt"), b"Unable to relay");
    }
    let limits = Limits { files: 20, ..Limits::default() };
    let read = read(&folder.0, &limits);
    assert!(read.1.len() <= 20);
    assert!(read.2.iter().any(|u| u.reason.contains("more than 20 files")), "{:?}", read.2);
    let parts: Vec<(String, &[u8])> = (0..60).map(|n| (format!("{n}.txt"), b"x".as_slice())).collect();
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(n, b)| (n.as_str(), *b)).collect();
    let path = folder.0.join("all.zip");
    fs::write(&path, zipped(&parts)).unwrap();
    let read = collect(&path, &limits, &phrases(), CLOCK).unwrap();
    assert!(reason(&read, "all.zip").contains("too many parts"));
}

#[test]
fn lines_without_end_and_junk() {
    let mut long = b"#Software: Microsoft Exchange Server\r\n#Log-type: IMAP4 Protocol Log\r\n#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context\r\n".to_vec();
    long.resize(long.len() + (48 << 20), b'x');
    long.extend(b"\r\n");
    long.extend(GOOD.lines().last().unwrap().as_bytes());
    let mut prose = vec![b'y'; 20 << 20];
    prose.extend(b"\nit says Unable to relay\n");
    let junk: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let read = collect_files(
        &[("IMAP4a.LOG", &long), ("prose.txt", &prose), ("junk.dat", &junk), ("empty.txt", b"")],
        &phrases(),
        CLOCK,
    );
    assert!(reason(&read, "IMAP4a.LOG").contains("longer than"));
    assert!(reason(&read, "prose.txt").contains("longer than"));
    assert!(reason(&read, "junk.dat").contains("binary"));
    assert!(reason(&read, "empty.txt").contains("empty"));
    assert!(read.0.of("imap").any(|f| f.at.line == 5), "{:?}", read.0.of("imap").collect::<Vec<_>>());
    assert!(read.0.of("text").any(|f| f.at.line == 2));
}

#[test]
fn every_encoding_of_windows_is_read() {
    let wide = |big: bool, mark: bool| -> Vec<u8> {
        let text = if mark { format!("\u{feff}{GOOD}") } else { GOOD.to_owned() };
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    };
    let mut marked = vec![0xEF, 0xBB, 0xBF];
    marked.extend(GOOD.as_bytes());
    let western =
        [GOOD.replace("anna", "J\u{fc}rgen").chars().map(|c| c as u32 as u8).collect::<Vec<u8>>()].concat();
    let all = [marked, western, wide(false, true), wide(false, false), wide(true, true), wide(true, false)];
    for (n, bytes) in all.iter().enumerate() {
        let read = collect_files(&[("IMAP4.LOG", bytes)], &phrases(), CLOCK);
        good_was_read(&read);
        let fact = read.0.of("imap").next().unwrap();
        assert_eq!((fact.get("result"), fact.at.line), (Some("no"), 4), "{n}");
        if n == 1 {
            assert_eq!(fact.get("user"), Some("J\u{fc}rgen"));
        }
    }
}

#[test]
fn other_kinds_say_what_to_do() {
    for (bytes, word) in [
        (b"7z\xBC\xAF\x27\x1C....".as_slice(), "7z"),
        (b"%PDF-1.7", "PDF"),
        (b"\x89PNG\r\n", "picture"),
        (b"MZ\x90\0", "program"),
        (b"regf\0\0", "reg query"),
        (b"ElfFile\0\0\0\0\0", "empty"),
    ] {
        let read = collect_files(&[("x.bin", bytes)], &phrases(), CLOCK);
        assert!(reason(&read, "x.bin").contains(word), "{:?}", read.2);
    }
    let read = collect_files(&[("hello.txt", b"Hello there, how are you?")], &phrases(), CLOCK);
    assert!(reason(&read, "hello.txt").contains("nothing"));
}
