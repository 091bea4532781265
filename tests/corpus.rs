//! Real messages come back byte for byte: by APPEND exactly, by SMTP below the trace fields that every server adds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server};

/// Files of mail that Debian packages bring, and patches that git writes.
fn corpus(scratch: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let folders = [
        "/usr/lib/python3.11/test/test_email/data",
        "/usr/share/doc/spamassassin/examples",
        "/usr/share/doc/spamassassin",
    ];
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        files.extend(entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("msg_") || name.starts_with("sample-")
        }));
    }
    assert!(files.len() > 30, "the package libpython3.11-testsuite is missing: {} messages", files.len());
    files.extend(patches(scratch));
    files.sort();
    files.into_iter().filter_map(|path| content(&path).map(|c| (path, c))).collect()
}

fn content(path: &Path) -> Option<Vec<u8>> {
    if path.extension().is_some_and(|e| e == "gz") {
        return Command::new("zcat").arg(path).output().ok().map(|o| o.stdout);
    }
    fs::read(path).ok()
}

/// A repository with awkward content, as `git format-patch` mails it.
fn patches(scratch: &Path) -> Vec<PathBuf> {
    let repository = scratch.join("repository");
    fs::create_dir_all(&repository).unwrap();
    let git = |words: &[&str]| {
        let done = Command::new("git").args(words).current_dir(&repository).output().unwrap();
        assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q"]);
    git(&["config", "user.name", "Zoë Müller"]);
    git(&["config", "user.email", "zoe@example.net"]);
    let contents: [&[u8]; 5] = [
        b"plain\n",
        b"From the start\n.\n..dots\n",
        "späße\n".as_bytes(),
        &[0, 1, 2, 255, 254],
        &[b'x'; 3000],
    ];
    for (n, content) in contents.iter().enumerate() {
        fs::write(repository.join(format!("file{n}")), content).unwrap();
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", &format!("Änderung {n}\n\nFrom here on, it differs.")]);
    }
    git(&["format-patch", "-q", "--root", "--binary", "-o", "out", "--attach"]);
    let entries = fs::read_dir(repository.join("out")).unwrap();
    entries.map(|e| e.unwrap().path()).collect()
}

/// Line ends as SMTP wants them. A NUL may not travel at all.
fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 100);
    for byte in message {
        match byte {
            b'\r' | 0 => {}
            b'\n' => out.extend_from_slice(b"\r\n"),
            b => out.push(*b),
        }
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn dotted(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 100);
    for line in message.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}

/// The newest message of the selected folder.
fn newest(imap: &mut Line) -> Vec<u8> {
    imap.send(b"f FETCH * BODY.PEEK[]\r\n").unwrap();
    loop {
        let line = imap.line().unwrap();
        assert!(!line.starts_with("f "), "no body came: {line}");
        if let Some(size) = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')) {
            let body = imap.exactly(size.1.parse().unwrap()).unwrap();
            let answer = imap.imap_answer("f").unwrap();
            assert!(answer.last().unwrap().starts_with("f OK"), "{answer:?}");
            return body;
        }
    }
}

#[test]
fn real_messages_come_back_byte_for_byte() {
    let scratch = Scratch::new("corpus");
    let server = Server::start("corpus-server");
    let amy = server.account(0);
    let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();
    imap.imap("s", "SELECT INBOX").unwrap();
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    let corpus = corpus(scratch.path());
    for (path, raw) in &corpus {
        // APPEND takes any bytes but NUL.
        let exact: Vec<u8> = raw.iter().copied().filter(|b| *b != 0).collect();
        if exact.is_empty() {
            continue;
        }
        imap.send(format!("a APPEND INBOX {{{}+}}\r\n", exact.len()).as_bytes()).unwrap();
        imap.send(&[&exact[..], b"\r\n"].concat()).unwrap();
        let answer = imap.imap_answer("a").unwrap();
        assert!(answer.last().unwrap().starts_with("a OK"), "{}: {answer:?}", path.display());
        assert!(newest(&mut imap) == exact, "APPEND changed {}", path.display());
        // Its structure is told without complaint.
        let answer = imap.imap("e", "FETCH * (ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE)").unwrap();
        assert!(answer.last().unwrap().starts_with("e OK"), "{}: {answer:?}", path.display());

        let sent = with_crlf(raw);
        let reply = smtp.deliver("c@example.net", &amy.0, &dotted(&sent)).unwrap();
        assert!(reply.starts_with("250"), "{}: {reply}", path.display());
        imap.imap("n", "NOOP").unwrap();
        let back = newest(&mut imap);
        assert!(back.ends_with(&sent), "SMTP changed {}", path.display());
        let trace = String::from_utf8_lossy(&back[..back.len() - sent.len()]).into_owned();
        assert!(
            trace.contains("Received: from ") && trace.starts_with("Return-Path: <c@example.net>"),
            "{trace}"
        );
    }
    println!("{} messages", corpus.len());
}
