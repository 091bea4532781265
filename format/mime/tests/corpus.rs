//! Real and nasty messages: Python's own e-mail test data, when Debian's libpython3-testsuite is there.

use mail_parser::MessageParser;
use std::path::{Path, PathBuf};
use waypost_mime::{Limits, fuzz_one, scan};

fn corpus() -> Vec<PathBuf> {
    let found = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = found
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")))
        .flat_map(|p| {
            p.join("test/test_email/data").read_dir().into_iter().flatten().flatten().map(|e| e.path())
        })
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    if files.is_empty() {
        println!("skipped: no test data; install libpython3.11-testsuite");
    }
    files
}

#[test]
fn python_test_data() {
    for path in corpus() {
        let bytes = std::fs::read(&path).unwrap();
        fuzz_one(&bytes);
        let crlf: Vec<u8> =
            bytes.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
        fuzz_one(&crlf);
        let summary = scan(&crlf, Limits::stored());
        assert!(!summary.reparse(), "{}", path.display());
        // The subject as another parser reads it, where there is one.
        if let Some(subject) = MessageParser::default().parse(&crlf).as_ref().and_then(|m| m.subject()) {
            let words = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(&summary.subject), words(subject), "{}", path.display());
        }
    }
}

/// The same messages damaged: bytes flipped, pieces left out, doubled or taken from another message.
/// `MUTATIONS` sets how many of each.
#[test]
fn damaged_test_data() {
    let files: Vec<Vec<u8>> = corpus().iter().filter_map(|p| std::fs::read(p).ok()).collect();
    let rounds = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for _ in 0..rounds {
        for file in files.iter().filter(|f| f.len() < 20_000) {
            let mut bytes = file.clone();
            for _ in 0..=random(6) {
                let at = random(bytes.len());
                let end = (at + random(200)).min(bytes.len());
                match random(4) {
                    0 => bytes.get_mut(at).into_iter().for_each(|b| *b ^= 1 << random(8)),
                    1 => drop(bytes.drain(at..end)),
                    2 => bytes = [&bytes[..end], &bytes[at..]].concat(),
                    _ => {
                        let other = &files[random(files.len())];
                        let from = random(other.len());
                        let piece = &other[from..(from + random(300)).min(other.len())];
                        bytes = [&bytes[..at], piece, &bytes[at..]].concat();
                    }
                }
            }
            fuzz_one(&bytes);
        }
    }
}
