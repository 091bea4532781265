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

/// Knot with signed zones: the root and `contoso.test` (NSEC3), with a DS record between them, and `plain.test`, which is not
/// signed.
pub struct Signed {
    child: Child,
    port: u16,
    serial: u32,
    folder: Scratch,
}

impl Signed {
    /// `contoso` and `plain` are lines of zone files with whole names.
    pub fn start(contoso: &str, plain: &str) -> Signed {
        let folder = Scratch::new("knot-signed");
        let port = free_port();
        let at = folder.path().display().to_string();
        fs::create_dir(folder.path().join("db")).expect("a folder");
        let signed = "dnssec-signing: on\n    dnssec-policy: one";
        let conf = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {at}\nlog:\n  - target: {at}/log\n    any: info\n\
             database:\n    storage: {at}/db\n\
             policy:\n  - id: one\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    manual: on\n    nsec3: on\n    \
             cds-cdnskey-publish: none\n\
             template:\n  - id: default\n    storage: {at}\n    zonefile-load: whole\n    zonefile-sync: -1\n    journal-content: none\n\
             zone:\n  - domain: .\n    file: root.zone\n    {signed}\n  - domain: contoso.test.\n    file: contoso.zone\n    {signed}\n  \
             - domain: plain.test.\n    file: plain.zone\n"
        );
        fs::write(folder.path().join("knot.conf"), conf).expect("knot.conf");
        let keys = ["algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes"];
        for zone in [".", "contoso.test."] {
            keymgr(&folder, &[&[zone, "generate"], keys.as_slice()].concat());
        }
        let digests = keymgr(&folder, &["contoso.test.", "ds"]);
        let digest = digests.lines().find(|l| l.contains(" 13 2 ")).expect("a DS record").to_owned();
        fs::write(folder.path().join("anchor"), keymgr(&folder, &[".", "dnskey"])).expect("the anchor");
        fs::write(folder.path().join("ds"), &digest).expect("the DS record");
        let mut knot = Signed { child: Command::new("true").spawn().expect("true"), port, serial: 0, folder };
        let _ = knot.child.wait();
        knot.write(&digest, contoso, plain);
        knot.child = Command::new("/usr/sbin/knotd")
            .arg("-c")
            .arg(knot.folder.path().join("knot.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("knotd, which ./test installs");
        knot.wait();
        knot
    }

    /// The DS record in the root zone that is right.
    pub fn digest(&self) -> String {
        fs::read_to_string(self.folder.path().join("ds")).expect("the DS record")
    }

    /// A file with the root's key.
    pub fn anchor(&self) -> std::path::PathBuf {
        self.folder.path().join("anchor")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Other records everywhere; `digest` is what the root zone says of the keys of `contoso.test`.
    pub fn replace(&mut self, digest: &str, contoso: &str, plain: &str) {
        self.write(digest, contoso, plain);
        let asked = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(asked.is_ok_and(|s| s.success()), "kill -HUP");
        self.wait();
    }

    fn write(&mut self, digest: &str, contoso: &str, plain: &str) {
        self.serial += 1;
        let serial = self.serial;
        let top = |zone: &str| {
            format!(
                "$ORIGIN .\n$TTL 1\n{zone} SOA ns.test. mail. {serial} 3600 600 86400 1\n{zone} NS ns.test.\n"
            )
        };
        let at = self.folder.path();
        let root = format!(
            "{}ns.test. A 127.0.0.1\ncontoso.test. NS ns.test.\nplain.test. NS ns.test.\n{digest}\n",
            top(".")
        );
        fs::write(at.join("root.zone"), root).expect("a zone");
        fs::write(at.join("contoso.zone"), format!("{}{contoso}\n", top("contoso.test."))).expect("a zone");
        fs::write(at.join("plain.zone"), format!("{}{plain}\n", top("plain.test."))).expect("a zone");
    }

    /// Until all zones of this serial are loaded and signed.
    fn wait(&self) {
        let start = Instant::now();
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let loaded = |zone: &str| {
            let end = format!("-> {}, ", self.serial);
            log().lines().any(|l| l.contains(&format!("[{zone}] loaded, serial")) && l.contains(&end))
        };
        while ![".", "contoso.test.", "plain.test."].iter().all(|z| loaded(z)) {
            assert!(start.elapsed() < Duration::from_secs(30), "knot does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Signed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keymgr(folder: &Scratch, words: &[&str]) -> String {
    let out = Command::new("keymgr").arg("-c").arg(folder.path().join("knot.conf")).args(words).output();
    let out = out.expect("keymgr, which comes with Knot");
    assert!(out.status.success(), "keymgr {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
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
