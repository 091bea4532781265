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
