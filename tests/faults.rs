//! Disks that are full or lose their power, and peers that misbehave.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::mount::Mount;
use waypost_tests::server::{Scratch, Server};

fn message(number: u32, size: usize) -> Vec<u8> {
    let mut text =
        format!("From: f@example.net\r\nSubject: n{number}\r\nX-Number: {number}\r\n\r\n").into_bytes();
    let mut word = number.wrapping_mul(2_654_435_761) | 1;
    while text.len() < size {
        // Text that does not compress away.
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        text.extend_from_slice(format!("{word:08x}{:08x}\r\n", word.rotate_left(7)).as_bytes());
    }
    text
}

fn numbers(server: &Server, account: usize) -> BTreeSet<u32> {
    let mut imap = Line::imap_login(server.address("imap"), &server.account(account)).unwrap();
    imap.imap("s", "SELECT INBOX").unwrap();
    let lines = imap.imap("f", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (X-Number)]").unwrap();
    let found: Vec<u32> = lines.iter().filter_map(|l| l.strip_prefix("X-Number: ")?.parse().ok()).collect();
    let set: BTreeSet<u32> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "a message is there twice");
    set
}

/// 452 4.3.1 while the disk is full, reading goes on, and later mail flows again.
#[test]
fn a_full_disk_puts_mail_off() {
    let scratch = Scratch::new("full");
    let Some(mount) = Mount::memory(&scratch.path().join("disk"), 160) else {
        println!("SKIPPED: no right to mount a file system");
        return;
    };
    let server = Server::start_in(&mount.point().join("data"));
    let amy = server.account(0);
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    assert!(smtp.deliver("f@example.net", &amy.0, &message(1, 2000)).unwrap().starts_with("250"));

    let filler = mount.point().join("filler");
    let free = |keep: &str| {
        let words = [
            "-c",
            &format!(
                "fallocate -l $(( $(stat -f -c '%a*%S' {}) - {keep} )) {}",
                mount.point().display(),
                filler.display()
            ),
        ];
        assert!(std::process::Command::new("sh").args(words).status().unwrap().success());
    };
    free("65536");
    for size in [2000, 300_000] {
        let reply = smtp.deliver("f@example.net", &amy.0, &message(2, size)).unwrap();
        assert!(reply.starts_with("452 4.3.1"), "{reply}");
        let _ = smtp.smtp("RSET").unwrap();
    }
    let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();
    imap.imap("s", "SELECT INBOX").unwrap();
    let text = message(3, 1000);
    let answer = imap
        .imap("a", &format!("APPEND INBOX {{{}+}}\r\n{}", text.len(), String::from_utf8(text).unwrap()))
        .unwrap();
    assert!(answer.last().unwrap().starts_with("a NO ["), "{answer:?}");
    assert!(imap.imap("f", "FETCH 1 BODY.PEEK[]").unwrap().last().unwrap().starts_with("f OK"));

    fs::remove_file(&filler).unwrap();
    // The server looks again at its own pace; a sender would, too.
    let mut accepted = String::new();
    for _ in 0..100 {
        accepted = smtp.deliver("f@example.net", &amy.0, &message(4, 2000)).unwrap();
        if accepted.starts_with("250") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(accepted.starts_with("250"), "{accepted}");
    assert_eq!(numbers(&server, 0), BTreeSet::from([1, 4]));
    server.stop();
    mount.unmount();
}

/// Delivers until the power goes; returns what had been acknowledged when it went.
fn deliver_until_cut(mount: &Mount, server: &Server, first: u32) -> BTreeSet<u32> {
    let (to, ben) = (server.address("smtp"), server.account(1).0);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (ben, acknowledged) = (ben.clone(), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                let Ok(mut smtp) = Line::smtp_hello(to) else { return };
                for n in 0.. {
                    let number = first + worker * 100_000 + n;
                    let size = if n % 8 == 0 { 80_000 } else { 1500 };
                    match smtp.deliver("p@example.net", &ben, &message(number, size)) {
                        Ok(reply) if reply.starts_with("250") => acknowledged.lock().unwrap().insert(number),
                        _ => return,
                    };
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(700));
    let before = mount.cut_power(|| acknowledged.lock().unwrap().clone());
    for worker in workers {
        worker.join().unwrap();
    }
    before
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let scratch = Scratch::new("power");
    let image = scratch.path().join("image");
    let point = scratch.path().join("disk");
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let Some(mount) = Mount::image(&image, &point, 512) else {
            println!("SKIPPED: no right to mount a file system");
            return;
        };
        // The log lies outside the image, so that what went wrong can be read.
        let data = point.join("data");
        let mut server = Server::start_in(&data);
        if round > 0 {
            let there = numbers(&server, 1);
            let lost: Vec<_> = acknowledged.difference(&there).collect();
            assert!(lost.is_empty(), "lost after a power cut: {lost:?}");
        }
        if round == 3 {
            server.stop();
            mount.unmount();
            break;
        }
        // A dead disk is an error that this test asks for.
        server.expect_error("");
        acknowledged.extend(deliver_until_cut(&mount, &server, round * 1_000_000));
        server.kill();
        mount.unmount();
    }
    assert!(
        acknowledged.len() > 50,
        "only {} were acknowledged: the test proves too little",
        acknowledged.len()
    );
    println!("{} acknowledged messages over 3 power cuts", acknowledged.len());
}

/// The control of the test above: a file that was written and not synced does not survive the same cut.
#[test]
fn the_power_cut_is_a_real_one() {
    let scratch = Scratch::new("control");
    let (image, point) = (scratch.path().join("image"), scratch.path().join("disk"));
    let Some(mount) = Mount::image(&image, &point, 64) else {
        println!("SKIPPED: no right to mount a file system");
        return;
    };
    let synced = File::create(point.join("synced")).unwrap();
    synced.sync_all().unwrap();
    File::open(&point).unwrap().sync_all().unwrap();
    fs::write(point.join("unsynced"), "x").unwrap();
    mount.cut_power(|| ());
    drop(synced);
    mount.unmount();
    let mount = Mount::image(&image, &point, 64).unwrap();
    assert!(point.join("synced").exists());
    assert!(!point.join("unsynced").exists(), "unsynced data survived: the cut proves nothing");
    mount.unmount();
}

/// Lines and literals without end are refused or cut, and the server goes on serving others.
#[test]
fn endless_input_is_bounded() {
    let server = Server::start("endless");
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    smtp.send(&vec![b'x'; 200_000]).unwrap();
    smtp.send(b"\r\n").unwrap();
    let reply = smtp.reply().unwrap();
    assert!(reply.starts_with("500") || reply.starts_with("501") || reply.starts_with("421"), "{reply}");
    let mut imap = Line::connect(server.address("imap")).unwrap();
    imap.line().unwrap();
    let sent = imap.send(&vec![b'y'; 2_000_000]).and_then(|()| imap.send(b"\r\n"));
    if sent.is_ok() {
        let line = imap.line().unwrap_or_else(|_| "* BYE".into());
        assert!(line.contains("BAD") || line.contains("BYE"), "{line}");
    }
    let mut imap = Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
    let answer = imap.imap("a", "LOGIN {4000000000}").unwrap();
    assert!(answer.last().unwrap().contains("BAD") || answer.last().unwrap().contains("NO"), "{answer:?}");
    assert!(imap.imap("b", "NOOP").unwrap().last().unwrap().starts_with("b OK"));
}

/// A thousand sessions that say nothing hold little, and others are served.
#[test]
fn many_idle_sessions() {
    let server = Server::start("idle");
    let amy = server.account(0);
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();
        imap.imap("s", "SELECT INBOX").unwrap();
        imap.send(b"i IDLE\r\n").unwrap();
        assert!(imap.line().unwrap().starts_with('+'));
        idle.push(imap);
    }
    let each = (resident() - before) as f64 / 1000.0;
    println!("{each:.1} KiB each");
    assert!(each < 60.0, "{each:.1} KiB for each idle session");
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    assert!(smtp.deliver("i@example.net", &amy.0, &message(1, 500)).unwrap().starts_with("250"));
    for imap in &mut idle {
        assert!(imap.line().unwrap().ends_with("EXISTS"));
    }
    // All leave by themselves; the server's stop must not have to wait for them.
    drop(idle);
}
