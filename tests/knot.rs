//! The name server Knot from Debian, on a port of its own, with all the names that a test needs in one zone.

use crate::server::Scratch;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Answers for the root and everything below it. `broken.test` answers SERVFAIL. Nothing is kept by others for longer
/// than a second.
pub struct Knot {
    child: Child,
    address: SocketAddr,
    serial: u32,
    folder: Scratch,
}

impl Knot {
    /// `records` are lines of a zone file; names are relative to the root: `a.test. TXT "x"`.
    pub fn start(records: &str) -> Knot {
        let folder = Scratch::new("knot");
        let port = free_port();
        let at = folder.path().display().to_string();
        let conf = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {at}\n\
             log:\n  - target: {at}/log\n    any: info\n\
             database:\n    storage: {at}/db\n\
             zone:\n  - domain: .\n    file: {at}/root.zone\n    journal-content: none\n    zonefile-load: whole\n    \
             zonefile-sync: -1\n  - domain: broken.test.\n    file: {at}/none.zone\n"
        );
        fs::create_dir(folder.path().join("db")).expect("a folder");
        fs::write(folder.path().join("knot.conf"), conf).expect("knot.conf");
        fs::write(folder.path().join("root.zone"), zone(1, records)).expect("a zone");
        let child = Command::new("/usr/sbin/knotd")
            .arg("-c")
            .arg(folder.path().join("knot.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("knotd, which ./test installs");
        let knot = Knot { child, address: SocketAddr::from(([127, 0, 0, 1], port)), serial: 1, folder };
        knot.wait();
        knot
    }

    /// As `dns.servers` takes it.
    pub fn setting(&self) -> String {
        format!("[\"{}\"]", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Other records in place of all that were there.
    pub fn replace(&mut self, records: &str) {
        self.serial += 1;
        fs::write(self.folder.path().join("root.zone"), zone(self.serial, records)).expect("a zone");
        let asked = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(asked.is_ok_and(|s| s.success()), "kill -HUP");
        self.wait();
    }

    /// Until the zone is answered for, with the latest serial.
    fn wait(&self) {
        let start = Instant::now();
        while self.answers() != Some(self.serial) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(30), "knot does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The serial in its SOA.
    fn answers(&self) -> Option<u32> {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        // One question: the root's SOA.
        let question = [7, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
        socket.send_to(&question, self.address).ok()?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).ok()?;
        let answer = answer.get(..length)?;
        if answer.get(7) == Some(&0) {
            return None;
        }
        // The fields behind the two names of an SOA are five numbers, the serial first; nothing follows but our NS.
        let mail = answer.windows(6).position(|w| w == b"\x04mail\0").map(|at| at + 6);
        let serial = mail.and_then(|at| answer.get(at..at + 4))?;
        Some(u32::from_be_bytes(serial.try_into().ok()?))
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn zone(serial: u32, records: &str) -> String {
    format!(
        "$ORIGIN .\n$TTL 1\n@ SOA ns.test. mail. {serial} 3600 600 86400 1\n@ NS ns.test.\nns.test. A 127.0.0.1\n{records}\n"
    )
}

/// Free for UDP and TCP.
fn free_port() -> u16 {
    crate::ports::free()
}
