//! File systems of the test's own, for disks that fill up or lose their power. They need root; elsewhere the tests say
//! that they were skipped.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn done(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).output().is_ok_and(|o| o.status.success())
}

/// A mounted file system, unmounted when dropped.
pub struct Mount {
    point: PathBuf,
}

impl Mount {
    /// Memory of `megabytes`; `None` without the right to mount.
    pub fn memory(point: &Path, megabytes: u32) -> Option<Mount> {
        std::fs::create_dir_all(point).ok()?;
        let size = format!("size={megabytes}m");
        done("mount", &["-t", "tmpfs", "-o", &size, "none", point.to_str()?])
            .then(|| Mount { point: point.to_owned() })
    }

    /// An ext4 image in a file, made when it is not there.
    pub fn image(file: &Path, point: &Path, megabytes: u32) -> Option<Mount> {
        std::fs::create_dir_all(point).ok()?;
        if !file.exists() {
            let made = done("truncate", &["-s", &format!("{megabytes}M"), file.to_str()?])
                && done("mkfs.ext4", &["-q", file.to_str()?]);
            if !made {
                return None;
            }
        }
        done("mount", &["-o", "loop", file.to_str()?, point.to_str()?])
            .then(|| Mount { point: point.to_owned() })
    }

    pub fn point(&self) -> &Path {
        &self.point
    }

    /// The power goes: ext4 drops whatever was not synced, and every later access fails (EXT4_IOC_SHUTDOWN without
    /// flushing the log). `before` runs when the cut is a system call away, and its answer is given back.
    ///
    /// What is acknowledged after that moment proves nothing: a program goes on running here, as it would not without
    /// power, and an fsync that is under way at the cut may be told that all is well. (Its journal commit is finished by
    /// the kernel without the commit record; only who waits for that very commit learns of it.)
    pub fn cut_power<T>(&self, before: impl FnOnce() -> T) -> T {
        let script = "import fcntl,os,struct,sys\nd=os.open(sys.argv[1], os.O_RDONLY)\nprint('ready', flush=True)\n\
                      sys.stdin.readline()\nfcntl.ioctl(d, 0x8004587D, struct.pack('I', 2))";
        let mut cut = Command::new("python3")
            .args(["-c", script])
            .arg(&self.point)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let (mut go, said) = cut.stdin.take().zip(cut.stdout.take()).expect("both are piped");
        let mut ready = String::new();
        BufReader::new(said).read_line(&mut ready).expect("python answers");
        let answer = before();
        go.write_all(b"\n").expect("python listens");
        assert!(cut.wait().is_ok_and(|s| s.success()), "the file system could not be shut down");
        answer
    }

    /// What ext4 does when its disk fails: from now on nothing can be written. What was there before stays.
    pub fn go_read_only(&self) -> bool {
        let point = self.point.to_str().expect("a plain path");
        done("sync", &["-f", point]) && done("mount", &["-o", "remount,abort", point])
    }

    /// Unmounts for certain: a file system that is still mounted would prove nothing at the next start.
    pub fn unmount(self) {
        for _ in 0..200 {
            if done("umount", &[self.point.to_str().expect("a plain path")]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} could not be unmounted", self.point.display());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(point) = self.point.to_str() {
            // Already unmounted, or a test that failed: nothing more can be done here.
            done("umount", &["-l", point]);
        }
    }
}
