//! The conversation scripts over sockets, against the binary; in memory they are played by `testkit/tests/talk.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use waypost_testkit::talk::{BoxStream, Script, Variables, run};
use waypost_tests::server::Server;

fn scripts(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("talk").join(folder);
    let entries = std::fs::read_dir(folder).expect("scripts");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "talk"));
    paths.sort();
    paths
}

/// Two mailboxes that nobody has used, and what a script calls them.
fn fresh_accounts(server: &Server, script: &Script, number: usize) -> Variables {
    let quota = script.needs.iter().any(|need| need == "quota");
    let mut variables = Variables::new();
    for suffix in ["", "2"] {
        let name = format!("talk{number}x{suffix}");
        let (address, password) = (format!("{name}@contoso.test"), "Correct-horse-7-battery");
        let mut words = vec!["New-Mailbox", &name, "-PrimarySmtpAddress", &address, "-Password", password];
        if quota {
            words.extend(["-ProhibitSendReceiveQuota", "1GB"]);
        }
        server.command(&words).expect("a new mailbox");
        let plain = STANDARD.encode(format!("\0{address}\0{password}"));
        for (key, value) in [("user", address.as_str()), ("password", password), ("plain", plain.as_str())] {
            variables.insert(format!("{key}{suffix}"), value.as_bytes().to_vec());
        }
    }
    variables
}

/// Plays all scripts of a folder, whose name is that of the listener they speak to.
fn play(folder: &str) {
    let server = Server::start(&format!("talk-{folder}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut failures = Vec::new();
    let mut played = 0;
    for (number, path) in scripts(folder).iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).expect("a script");
        let script = Script::parse(&format!("{folder}/{name}"), &text).expect("a script in the format");
        // A TLS handshake would be needed in the middle.
        if script.needs.iter().any(|need| need == "starttls") {
            continue;
        }
        played += 1;
        let variables = fresh_accounts(&server, &script, number);
        let connect = async |client: &str| {
            let listener = LISTENERS.iter().find(|name| client.starts_with(**name)).unwrap_or(&folder);
            Ok(Box::new(tokio::net::TcpStream::connect(server.address(listener)).await?) as BoxStream)
        };
        if let Err(failure) = runtime.block_on(run(&script, variables, connect, |_| {})) {
            failures.push(failure.to_string());
        }
    }
    assert!(failures.is_empty(), "{} of {played}:\n{}", failures.len(), failures.join("\n\n"));
}

const LISTENERS: [&str; 5] = ["imap", "smtp", "lmtp", "pop3", "submission"];

#[test]
fn imap_scripts() {
    play("imap");
}

#[test]
fn smtp_scripts() {
    play("smtp");
}

#[test]
fn pop3_scripts() {
    play("pop3");
}
