//! Postfix, Exim and OpenSMTPD from Debian, each in a folder of its own: one domain that they deliver, and everything
//! else handed to us.
//!
//! They need root, as on the machines that they were made for. `./test` puts Exim and OpenSMTPD where they are looked for here.

use crate::server::Scratch;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running peer.
pub struct Peer {
    pub name: &'static str,
    /// Whatever is sent to an address of this domain is delivered.
    pub domain: &'static str,
    pub port: u16,
    folder: Scratch,
    child: Option<Child>,
}

fn free_port() -> u16 {
    crate::ports::free()
}

/// What `./test` unpacked.
fn unpacked(path: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the test's own path");
    let target = exe.ancestors().nth(3).expect("target/PROFILE/deps/NAME");
    target.join("peers").join(path)
}

fn run(command: &mut Command) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {}\n{text}", out.status);
}

fn owned_by(user: &str, path: &Path) {
    run(Command::new("chown").arg("-R").arg(user).arg(path));
}

impl Peer {
    pub fn postfix(relay: SocketAddr) -> Peer {
        let folder = Scratch::new("postfix");
        let at = folder.path();
        run(Command::new("chmod").arg("755").arg(at));
        let port = free_port();
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir(at.join(name)).expect("a folder");
        }
        owned_by("postfix", &at.join("data"));
        owned_by("nobody", &at.join("mail"));
        let at_text = at.display();
        let (host, relay_port) = (relay.ip(), relay.port());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at_text}/queue\ndata_directory = {at_text}/data\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = mx.postfix.test\nmydestination =\n\
             alias_maps =\nalias_database =\nmynetworks = 127.0.0.0/8\n\
             virtual_mailbox_domains = postfix.test\nvirtual_mailbox_maps = static:all/\n\
             virtual_mailbox_base = {at_text}/mail\nvirtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
             virtual_minimum_uid = 1\nrelayhost = [{host}]:{relay_port}\nsmtpd_peername_lookup = no\n\
             smtp_host_lookup = native\nsmtpd_tls_security_level = none\nsmtp_tls_security_level = may\n\
             message_size_limit = 0\nmailbox_size_limit = 0\nvirtual_mailbox_limit = 0\nminimal_backoff_time = 1s\n\
             maximal_backoff_time = 2s\nqueue_run_delay = 1s\nsmtputf8_enable = yes\n\
             maillog_file = {at_text}/log\nmaillog_file_prefixes = {at_text}\n"
        );
        fs::write(at.join("conf/main.cf"), main).expect("main.cf");
        let dist = fs::read_to_string("/usr/share/postfix/master.cf.dist").expect("Postfix is installed");
        let line = |line: &str| {
            let line = line.replacen("smtp      inet", &format!("127.0.0.1:{port} inet"), 1);
            if line.starts_with(['#', ' ']) {
                return line;
            }
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if let Some(chroot) = words.get_mut(4) {
                *chroot = "n";
            }
            words.join(" ")
        };
        let master: Vec<String> = dist.lines().map(line).collect();
        fs::write(at.join("conf/master.cf"), master.join("\n") + "\n").expect("master.cf");
        run(Command::new("postfix").arg("-c").arg(at.join("conf")).arg("start"));
        Peer { name: "Postfix", domain: "postfix.test", port, folder, child: None }.ready()
    }

    pub fn exim(relay: SocketAddr) -> Peer {
        let folder = Scratch::new("exim");
        let at = folder.path();
        run(Command::new("chmod").arg("755").arg(at));
        let port = free_port();
        for name in ["spool", "log", "mail"] {
            fs::create_dir(at.join(name)).expect("a folder");
        }
        owned_by("Debian-exim", at);
        let exim = unpacked("usr/lib/exim4/exim4");
        let (program, at_text) = (exim.display(), at.display());
        let (host, relay_port) = (relay.ip(), relay.port());
        let conf = format!(
            "primary_hostname = mx.exim.test\nexim_path = {program}\nspool_directory = {at_text}/spool\n\
             log_file_path = {at_text}/log/%slog\npid_file_path = {at_text}/pid\nlocal_interfaces = 127.0.0.1\n\
             daemon_smtp_ports = {port}\ndomainlist local_domains = exim.test\nacl_smtp_rcpt = all\nacl_smtp_data = all\n\
             exim_user = Debian-exim\nexim_group = Debian-exim\nnever_users =\nkeep_environment =\ntls_advertise_hosts =\n\
             host_lookup =\nrfc1413_query_timeout = 0s\nmessage_size_limit = 0\n\
             chunking_advertise_hosts = *\nsmtputf8_advertise_hosts = *\ndsn_advertise_hosts = *\n\
             begin acl\nall:\n  accept\n\
             begin routers\nhere:\n  driver = accept\n  domains = +local_domains\n  transport = files\n\
             out:\n  driver = manualroute\n  route_list = * {host}::{relay_port}\n  transport = smtp\n  self = send\n\
             begin transports\nfiles:\n  driver = appendfile\n  maildir_format\n  directory = {at_text}/mail\n  \
             user = Debian-exim\n  create_directory\nsmtp:\n  driver = smtp\n  tls_verify_certificates = \n\
             begin retry\n* * F,1h,1s\n"
        );
        fs::write(at.join("conf"), conf).expect("the configuration");
        run(Command::new("chown").arg("root").arg(at.join("conf")));
        let child = Command::new(&exim)
            .arg("-C")
            .arg(at.join("conf"))
            .args(["-bdf", "-q1s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Exim starts");
        Peer { name: "Exim", domain: "exim.test", port, folder, child: Some(child) }.ready()
    }

    pub fn opensmtpd(relay: SocketAddr) -> Peer {
        let folder = Scratch::new("opensmtpd");
        let at = folder.path();
        run(Command::new("chmod").arg("755").arg(at));
        let port = free_port();
        fs::create_dir(at.join("mail")).expect("a folder");
        owned_by("nobody", &at.join("mail"));
        let at_text = at.display();
        let conf = format!(
            "listen on 127.0.0.1 port {port} hostname mx.opensmtpd.test\ntable anybody {{ \"@\" = \"nobody\" }}\n\
             action \"here\" maildir \"{at_text}/mail\" virtual <anybody>\n\
             action \"out\" relay host smtp+notls://{relay} helo mx.opensmtpd.test\n\
             match from any for domain \"opensmtpd.test\" action \"here\"\nmatch from any for any action \"out\"\n"
        );
        fs::write(at.join("conf"), conf).expect("the configuration");
        let smtpd = unpacked("usr/sbin/smtpd");
        // Its socket and spool stand where the program says. In a view of the files of its own, another one that runs, or
        // is still ending, does not matter.
        let apart =
            Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|o| o.status.success());
        let start = || {
            let mut command = if apart {
                let mut command = Command::new("unshare");
                let mount = "mount -t tmpfs -o mode=755 none /run && \
                             mount -t tmpfs -o mode=711 none /var/spool/smtpd && exec \"$@\"";
                command.args(["--mount", "sh", "-c", mount, "sh"]).arg(&smtpd);
                command
            } else {
                Command::new(&smtpd)
            };
            let log = fs::File::options().create(true).append(true).open(at.join("log")).expect("a log");
            command.arg("-d").arg("-f").arg(at.join("conf"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("OpenSMTPD starts")
        };
        let mut child = start();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() && begin.elapsed() < Duration::from_secs(30) {
            if child.try_wait().is_ok_and(|status| status.is_some()) {
                // One of before may still hold its socket.
                child = start();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Peer { name: "OpenSMTPD", domain: "opensmtpd.test", port, folder, child: Some(child) }.ready()
    }

    fn ready(self) -> Peer {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "{} does not listen", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What it has delivered so far.
    pub fn delivered(&self) -> Vec<Vec<u8>> {
        let mail = self.folder.path().join("mail");
        // A maildir, or (Postfix) one file.
        let mut found = files(&mail.join("new"));
        if let Ok(mbox) = fs::read(mail.join("all")) {
            let text = String::from_utf8_lossy(&mbox).into_owned();
            found.extend(text.split("\nFrom ").map(|m| m.as_bytes().to_vec()));
        }
        found.extend(files(&mail.join("all/new")));
        found
    }

    /// Waits for a message that holds this text.
    pub fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            for message in self.delivered() {
                let message = String::from_utf8_lossy(&message).into_owned();
                if message.contains(text) {
                    return message;
                }
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{} did not deliver {text:?}", self.name);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|e| fs::read(e.path()).ok()).collect()
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["log", "log/mainlog", "log/paniclog"] {
                if let Ok(text) = fs::read_to_string(self.folder.path().join(name)) {
                    eprintln!("{} {name}:\n{text}", self.name);
                }
            }
        }
        match self.child.take() {
            Some(mut child) => {
                // Its children go with it: they notice that their parent is gone.
                let _ = Command::new("kill").arg(child.id().to_string()).status();
                let _ = child.wait();
            }
            None => {
                let conf = self.folder.path().join("conf");
                let _ = Command::new("postfix").arg("-c").arg(conf).arg("stop").output();
            }
        }
    }
}
