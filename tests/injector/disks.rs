//! Disks that fill up or take nothing any more, and folders that are gone.

use super::site::Site;
use super::{Fault, inject};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use waypost_tests::mount::Mount;

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

static FAULTS: &[Fault] = &[
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
];

#[test]
fn faults_of_disks() {
    let scratch = waypost_tests::server::Scratch::new("inject-disk");
    let image = scratch.path().join("image");
    let point = scratch.path().join("disk");
    let made = Command::new("sh")
        .args(["-c", &format!("truncate -s 400M {0} && mkfs.ext4 -q -N 3000 {0}", image.display())])
        .status();
    assert!(made.is_ok_and(|s| s.success()), "mkfs.ext4");
    let Some(mount) = Mount::image(&image, &point, 400) else {
        println!("SKIPPED: no right to mount a file system");
        return;
    };
    let organisation = waypost_tests::organisation::Organisation::start_at(mount.point(), "all");
    let mut site = Site::of(organisation, "inject-disk");
    site.mount = Some(mount);
    site.begin_probing();
    inject(&mut site, FAULTS);
}
