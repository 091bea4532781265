//! The commands as an administrator types them, on a running server and on a stopped one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server, binary};

/// Runs `waypost WORDS` on a data folder, the folder named last; exit code, standard output, standard error.
fn waypost(data: &Path, words: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(binary())
        .args(words)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

/// The records of a command that has to succeed: one JSON object a line.
fn records(data: &Path, words: &[&str]) -> Vec<Value> {
    let (code, out, err) = waypost(data, &[words, &["--json"]].concat(), "");
    assert_eq!(code, 0, "{words:?}: {out}{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fails(data: &Path, words: &[&str], wanted: i32, telling: &str) {
    let (code, out, err) = waypost(data, words, "");
    assert_eq!(code, wanted, "{words:?}: {out}{err}");
    assert!(err.contains(telling), "{words:?}: {err}");
}

fn submit_as(server: &Server, account: &(String, String)) -> String {
    let mut smtp = Line::smtp_hello(server.address("submission")).unwrap();
    let plain = STANDARD.encode(format!("\0{}\0{}", account.0, account.1));
    smtp.smtp(&format!("AUTH PLAIN {plain}")).unwrap()
}

fn pop3_as(server: &Server, account: &(String, String)) -> String {
    let mut pop = Line::connect(server.address("pop3")).unwrap();
    pop.line().unwrap();
    pop.send(format!("USER {}\r\nPASS {}\r\n", account.0, account.1).as_bytes()).unwrap();
    pop.line().unwrap();
    pop.line().unwrap()
}

#[test]
fn a_new_mailbox_signs_in_at_once_and_as_far_as_it_may() {
    let server = Server::start("new-mailbox");
    let data = server.data();
    let eve = ("eve@contoso.test".to_owned(), "correct-horse-7".to_owned());
    let new = ["new-mailbox", "--name", "Eve", "--primary-smtp-address", &eve.0, "--password", "-"];
    let (code, _, err) = waypost(data, &new, &format!("{}\n", eve.1));
    assert_eq!(code, 0, "{err}");
    assert!(Line::imap_login(server.address("imap"), &eve).is_ok());
    assert!(submit_as(&server, &eve).starts_with("235"));
    assert!(pop3_as(&server, &eve).starts_with("+OK"));

    records(data, &["Set-CASMailbox", &eve.0, "-ImapEnabled", "$false"]);
    assert!(Line::imap_login(server.address("imap"), &eve).is_err());
    assert!(pop3_as(&server, &eve).starts_with("+OK"));

    let made = records(data, &["New-AppPassword", &eve.0, "-Name", "phone"]);
    let app = (eve.0.clone(), made[0]["Password"].as_str().unwrap().to_owned());
    assert!(submit_as(&server, &app).starts_with("235"));
    records(data, &["Remove-AppPassword", &eve.0, "-Name", "phone", "-Confirm:$false"]);
    assert!(submit_as(&server, &app).starts_with("535"));

    let (code, _, err) = waypost(data, &["Set-Mailbox", &eve.0, "-Password", "-"], "another-horse-8\n");
    assert_eq!(code, 0, "{err}");
    assert!(submit_as(&server, &eve).starts_with("535"), "the old password is good no more");
    assert!(submit_as(&server, &(eve.0.clone(), "another-horse-8".into())).starts_with("235"));

    records(data, &["Set-ImapSettings", "-Banner", "Good morning"]);
    let mut imap = Line::connect(server.address("imap")).unwrap();
    assert!(imap.line().unwrap().ends_with("Good morning"));
    records(data, &["Set-WaypostSetting", "smtp.max_message_size", "100KB"]);
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    assert!(smtp.smtp("MAIL FROM:<a@example.net> SIZE=200000").unwrap().starts_with("552"));

    records(data, &["Remove-Mailbox", &eve.0, "-Confirm:$false"]);
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    smtp.smtp("MAIL FROM:<a@example.net>").unwrap();
    assert!(smtp.smtp(&format!("RCPT TO:<{}>", eve.0)).unwrap().starts_with("550 5.1.1"));
}

#[test]
fn mistakes_are_named_and_have_their_exit_codes() {
    let server = Server::start("mistakes");
    let data = server.data();
    fails(data, &["Nope-Thing"], 2, "not recognized");
    fails(data, &["Get-Mailbox", "-Nope", "x"], 2, "no parameter");
    fails(data, &["Get-Mailbox", "nobody@contoso.test"], 3, "couldn't be found");
    fails(data, &["Remove-Mailbox", "amy@contoso.test"], 2, "confirmed");
    fails(data, &["Restore-Store", "/nonexistent"], 4, "running");
    fails(data, &["Import-Mail", "amy@contoso.test", "/nonexistent"], 3, "/nonexistent");
    for bad in ["a b@contoso.test", ".a@contoso.test", "a@nowhere.test", "a"] {
        let (code, _, err) = waypost(
            data,
            &["New-Mailbox", "-Name", "Bad", "-PrimarySmtpAddress", bad, "-Password", "x-y-z-1-2-3"],
            "",
        );
        assert!(code == 1 || code == 2, "{bad}: {code} {err}");
    }
    fails(Path::new("/nonexistent"), &["Get-Mailbox"], 4, "no organisation");
    assert_eq!(
        records(data, &["New-AcceptedDomain", "-Name", "Sub", "-DomainName", "sub.contoso.test"]).len(),
        1
    );
    assert_eq!(records(data, &["Get-AcceptedDomain"]).len(), 3, "one JSON object a line");
}

#[test]
fn a_stopped_server_takes_commands_too() {
    let scratch = Scratch::new("stopped");
    let data = scratch.path().join("data");
    Server::start_in(&data).stop();
    let eve = ("eve@contoso.test".to_owned(), "correct-horse-7".to_owned());
    records(&data, &["New-Mailbox", "-Name", "Eve", "-PrimarySmtpAddress", &eve.0, "-Password", &eve.1]);
    records(
        &data,
        &["New-DistributionGroup", "-Name", "team", "-Members", "eve@contoso.test,amy@contoso.test"],
    );
    records(&data, &["Set-DistributionGroup", "team", "-RequireSenderAuthenticationEnabled", "$false"]);
    assert_eq!(records(&data, &["Get-Mailbox"]).len(), 5);
    assert_eq!(records(&data, &["Test-Store"])[0]["Problem"], "none");
    let server = Server::start_in(&data);
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    assert!(
        smtp.deliver("a@example.net", "team@contoso.test", b"Subject: t\r\n\r\nx\r\n")
            .unwrap()
            .starts_with("250")
    );
    let count = |account: &(String, String)| {
        let mut imap = Line::imap_login(server.address("imap"), account).unwrap();
        imap.imap("s", "STATUS INBOX (MESSAGES)").unwrap()[0].contains("MESSAGES 1")
    };
    // Several accounts get it from the queue, at once but after the reply.
    for account in [eve, server.account(0)] {
        for _ in 0..200 {
            if count(&account) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(count(&account), "{}", account.0);
    }
}

/// The UIDVALIDITY of an INBOX and the numbers in the subjects of its messages.
fn inbox(server: &Server, account: &(String, String)) -> (String, BTreeSet<u32>) {
    let mut imap = Line::imap_login(server.address("imap"), account).unwrap();
    let selected = imap.imap("s", "SELECT INBOX").unwrap();
    let validity = selected.iter().find(|l| l.contains("UIDVALIDITY")).unwrap().clone();
    let lines = imap.imap("f", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]").unwrap();
    let numbers: Vec<u32> = lines.iter().filter_map(|l| l.strip_prefix("Subject: n")?.parse().ok()).collect();
    let set: BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(set.len(), numbers.len(), "a message is there twice");
    (validity, set)
}

#[test]
fn a_backup_under_load_comes_back_whole() {
    let scratch = Scratch::new("backup");
    let data = scratch.path().join("data");
    let backup = scratch.path().join("backup");
    let server = Server::start_in(&data);
    let amy = server.account(0);
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..3u32)
        .map(|worker| {
            let (to, address, stop) = (server.address("smtp"), amy.0.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut smtp = Line::smtp_hello(to).unwrap();
                let mut number = worker * 1_000_000;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let filling =
                        "0123456789 abcdef\r\n".repeat(if number.is_multiple_of(8) { 8000 } else { 30 });
                    let text = format!("Subject: n{number}\r\n\r\n{filling}");
                    assert!(
                        smtp.deliver("a@example.net", &address, text.as_bytes()).unwrap().starts_with("250")
                    );
                }
            })
        })
        .collect();
    let mut before = BTreeSet::new();
    while before.len() < 60 {
        before = inbox(&server, &amy).1;
    }
    records(&data, &["New-StoreBackup", "-Path", backup.to_str().unwrap()]);
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    let (old_validity, all) = inbox(&server, &amy);
    server.stop();

    records(&data, &["Restore-Store", backup.to_str().unwrap(), "-Confirm:$false"]);
    assert_eq!(records(&data, &["Test-Store"])[0]["Problem"], "none");
    let server = Server::start_in(&data);
    let (validity, restored) = inbox(&server, &amy);
    assert!(restored.is_superset(&before), "missing: {:?}", before.difference(&restored));
    assert!(restored.is_subset(&all));
    assert_ne!(validity, old_validity, "clients must not take new messages for old ones");
    assert!(!data.join("restored").exists(), "renewed once, not at every start");
}

/// Contents of all message files of a Maildir, sorted.
fn maildir(folder: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for sub in ["cur", "new"] {
        for entry in fs::read_dir(folder.join(sub)).unwrap() {
            all.push(fs::read(entry.unwrap().path()).unwrap());
        }
    }
    all.sort();
    all
}

#[test]
fn mail_goes_out_and_in_again_byte_for_byte() {
    let server = Server::start("round-trip");
    let data = server.data();
    let scratch = Scratch::new("round-trip-files");
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (amy, ben, carla) = (server.account(0).0, server.account(1).0, server.account(2).0);
    fs::create_dir_all(at("eml")).unwrap();
    let mut sources = [
        b"Subject: plain\r\n\r\nhello\r\n".to_vec(),
        b"Subject: from lines\r\n\r\nFrom here\r\n>From there\r\n>>From far\r\n\r\nFrom end\r\n".to_vec(),
        b"Subject: \xe4\xf6\r\n\r\n8 bit \xff\xfe and \x00 too\r\n".to_vec(),
        b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n".to_vec(),
        b"From: only@header.example\r\n\r\n".to_vec(),
        [b"Subject: long\r\n\r\n".as_slice(), &b"x".repeat(100_000), b"\r\n"].concat(),
    ];
    for (number, text) in sources.iter().enumerate() {
        fs::write(Path::new(&at("eml")).join(format!("{number}.eml")), text).unwrap();
        records(data, &["Import-Mail", "-Mailbox", &amy, "-Path", &at(&format!("eml/{number}.eml"))]);
    }
    sources.sort();
    records(data, &["Export-Mail", "-Mailbox", &amy, "-Path", &at("maildir")]);
    let first = maildir(Path::new(&at("maildir")));
    let unix = |text: &Vec<u8>| {
        let mut out = text.clone();
        out.retain(|b| *b != b'\r');
        out
    };
    let mut wanted: Vec<_> = sources.iter().map(unix).collect();
    wanted.sort();
    let mut found: Vec<_> = first.iter().map(unix).collect();
    found.sort();
    assert!(found == wanted, "an exported message differs from its source");

    records(data, &["Import-Mail", &ben, "-Path", &at("maildir")]);
    let again = records(data, &["Import-Mail", &ben, "-Path", &at("maildir")]);
    assert_eq!(again[0]["Imported"], 0, "{again:?}");
    assert_eq!(again[0]["AlreadyThere"], 6, "{again:?}");
    records(data, &["Export-Mail", &ben, "-Path", &at("maildir2")]);
    assert!(maildir(Path::new(&at("maildir2"))) == first);
    records(data, &["Export-Mail", &ben, "-Path", &at("mbox"), "-Format", "Mbox"]);
    records(data, &["Import-Mail", &carla, "-Path", &at("mbox/INBOX.mbox")]);
    records(data, &["Export-Mail", &carla, "-Path", &at("maildir3")]);
    assert!(maildir(Path::new(&at("maildir3"))) == first);
}
