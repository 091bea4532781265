//! Disks that fill up or take nothing any more, and folders that are gone.

use super::site::Site;
use super::{Fault, inject};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use waypost_tests::line::Line;
use waypost_tests::mount::Mount;
use waypost_tests::rows;

fn sh(script: &str) {
    let ran = Command::new("sh").args(["-c", script]).status();
    assert!(ran.is_ok_and(|s| s.success()), "{script}");
}

fn disk(site: &Site) -> PathBuf {
    site.mount.as_ref().expect("this site has a disk").point().to_owned()
}

/// Leaves so many KiB.
fn fill(site: &mut Site, keep: u32) {
    let (point, filler) = (disk(site), disk(site).join("filler"));
    let at = point.display();
    sh(&format!("fallocate -l $(( $(stat -f -c '%a*%S' {at}) - {keep} * 1024 )) {}", filler.display()));
}

fn empty(site: &mut Site) {
    fs::remove_file(disk(site).join("filler")).expect("the filler");
}

/// What a stranger hears who has a message for us.
fn stranger(site: &Site, text: &[u8]) -> String {
    let mut line = Line::smtp_hello(site.o.address("server-1", "smtp")).expect("a conversation");
    line.deliver("a@elsewhere.example", "reader@contoso.test", text).expect("a reply")
}

/// The server learns within seconds that it is to take less mail.
fn until_mail_is_refused(site: &Site) {
    let text = b"Subject: refused\r\n\r\nHello.\r\n";
    site.o.wait_for("back pressure", |_| stranger(site, text).starts_with("452"));
}

/// Per cent of the disk at which mail is refused and taken again.
fn marks(site: &Site, marks: [(&str, &str); 2]) {
    for (mark, percent) in marks {
        let key = format!("back_pressure.used_disk_space_{mark}");
        site.run("server-1", &["Set-WaypostSetting", &key, percent, "-Force", "-Confirm:$false"]);
    }
}

/// A message that does not compress, so that its bytes are in a segment.
fn large_message(site: &Site) {
    let lines = (0..1_500_u64).map(|n| {
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!("{:016x}{:016x}\r\n", mixed, mixed.rotate_left(29).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    });
    let text = format!("Subject: large\r\n\r\n{}", lines.collect::<String>());
    let reply = stranger(site, text.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
}

/// The server's clock is what this file says, from a second later on.
fn set_clock(site: &Site, to: &str) {
    fs::write(clock_file(site), to).expect("the clock's file");
}

fn clock_file(site: &Site) -> PathBuf {
    site.scratch.path().join("clock")
}

/// By a clock that can be set.
fn begin(site: &mut Site) {
    set_clock(site, "+0");
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let mut command = Command::new(waypost_tests::server::binary());
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock_file(site));
    command
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    site.o.begin_by("server-1", command);
}

/// Looked at, mounted and in use again.
fn another_try(site: &mut Site) {
    // It cannot write that it has ended.
    site.o.kill("server-1");
    let point = disk(site);
    site.mount.take().expect("this site has a disk").unmount();
    let image = image(site);
    // What it mended it tells by its exit code.
    let looked = Command::new("fsck.ext4").arg("-p").arg(&image).output().expect("fsck.ext4");
    assert!(matches!(looked.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&looked.stdout));
    site.mount = Mount::image(&image, &point, IMAGE_MEGABYTES);
    begin(site);
}

fn image(site: &Site) -> PathBuf {
    site.kept.first().expect("this site has an image").clone()
}

const IMAGE_MEGABYTES: u32 = 1000;
const DAMAGED: &[&str] = &["HEALTH-STORE-DAMAGED"];

static FAULTS: &[Fault] = &[
    Fault {
        name: "the clock is set by ten minutes",
        causes: &["HEALTH-CLOCK-JUMPED"],
        leg: &["clock"],
        breaks: |s| set_clock(s, "+600"),
        mends: |s| set_clock(s, "+0"),
    },
    Fault {
        name: "so full that mail from outside is refused",
        causes: &["HEALTH-DISK-FULL"],
        leg: &["disk"],
        breaks: |s| {
            fill(s, 90 * 1024);
            until_mail_is_refused(s);
        },
        mends: empty,
    },
    Fault {
        name: "a row of a mailbox is damaged",
        causes: DAMAGED,
        leg: &["store"],
        breaks: |s| {
            let (key, old) = rows::damage(s.o.data("server-1"), "10");
            s.note = format!("{key} {old}");
        },
        mends: |s| {
            let note = std::mem::take(&mut s.note);
            rows::restore(s.o.data("server-1"), note.split_once(' ').expect("a key and a value"));
        },
    },
    Fault {
        name: "the disk is nearly full",
        causes: &["HEALTH-DISK-FULL", "HEALTH-BACK-PRESSURE"],
        leg: &["disk"],
        breaks: |s| fill(s, 12 * 1024),
        mends: empty,
    },
    Fault {
        name: "the disk is full",
        causes: &["HEALTH-DISK-FULL", "HEALTH-STORE-FULL", "HEALTH-BACK-PRESSURE"],
        leg: &["disk"],
        breaks: |s| fill(s, 64),
        mends: empty,
    },
    Fault {
        name: "the disk has no inodes left",
        causes: &["HEALTH-DISK-INODES"],
        leg: &["disk"],
        breaks: |s| {
            let folder = disk(s).join("many");
            fs::create_dir(&folder).expect("a folder");
            let mut number = 0_u32;
            while fs::write(folder.join(number.to_string()), "").is_ok() {
                number += 1;
            }
        },
        mends: |s| fs::remove_dir_all(disk(s).join("many")).expect("the files"),
    },
    Fault {
        name: "mail is refused at a mark that is too low",
        causes: &["HEALTH-BACK-PRESSURE"],
        leg: &["queue"],
        breaks: |s| {
            marks(s, [("normal", "1"), ("medium", "1")]);
            until_mail_is_refused(s);
        },
        mends: |s| marks(s, [("medium", "89"), ("normal", "80")]),
    },
    Fault {
        name: "bytes of a message are damaged",
        causes: DAMAGED,
        leg: &["store"],
        breaks: |s| rows::flip_in_segment(s.o.data("server-1")),
        mends: |s| rows::flip_in_segment(s.o.data("server-1")),
    },
    Fault {
        name: "a folder of logs is a file",
        causes: &["HEALTH-LOGS"],
        leg: &["disk"],
        breaks: |s| {
            let folder = s.o.data("server-1").join("logs/pop3");
            fs::remove_dir_all(&folder).expect("a folder");
            fs::write(folder, "").expect("a file");
        },
        mends: |s| {
            let folder = s.o.data("server-1").join("logs/pop3");
            fs::remove_file(&folder).expect("the file");
            fs::create_dir(folder).expect("a folder");
        },
    },
    Fault {
        name: "the disk fails and is read-only",
        causes: &["HEALTH-DISK-READONLY", "HEALTH-STORE-READ-ONLY"],
        leg: &["disk"],
        breaks: |s| {
            let disk = s.mount.as_ref().expect("this site has a disk");
            assert!(disk.go_read_only(), "remount,abort");
        },
        mends: another_try,
    },
];

#[test]
fn faults_of_disks() {
    let scratch = waypost_tests::server::Scratch::new("inject-disk");
    let image = scratch.path().join("image");
    let point = scratch.path().join("disk");
    let made = Command::new("sh")
        .args([
            "-c",
            &format!("truncate -s {IMAGE_MEGABYTES}M {0} && mkfs.ext4 -q -N 3000 {0}", image.display()),
        ])
        .status();
    assert!(made.is_ok_and(|s| s.success()), "mkfs.ext4");
    let Some(mount) = Mount::image(&image, &point, IMAGE_MEGABYTES) else {
        println!("SKIPPED: no right to mount a file system");
        return;
    };
    let organisation = waypost_tests::organisation::Organisation::start_at(mount.point(), "all");
    let mut site = Site::of(organisation, "inject-disk");
    site.mount = Some(mount);
    site.kept.push(image);
    for text in ["damaged", "read-only", "Read-only", "INNER-"] {
        site.o.server_mut("server-1").expect_error(text);
    }
    site.o.mailbox("reader", "");
    large_message(&site);
    site.o.stop("server-1");
    begin(&mut site);
    site.begin_probing();
    inject(&mut site, FAULTS);
}
