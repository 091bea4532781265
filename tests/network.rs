//! Servers on machines with cables between them: cables are cut, one way or both; clocks go wrong; hubs die. Nothing is
//! lost, nothing comes twice, and what is in the way is named.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use waypost_tests::net::Net;
use waypost_tests::server::{Scratch, binary};

const PASSWORD: &str = "Correct-horse-7-battery";
/// Long enough for connections that time out and for the first retries.
const PATIENCE: Duration = Duration::from_secs(120);

/// Subjects in a folder of somebody, by Python's imaplib on the machine itself.
const SUBJECTS: &str = "
import imaplib, sys
m = imaplib.IMAP4('127.0.0.1', 2143)
m.login(sys.argv[1], sys.argv[2])
ok, _ = m.select('\"' + sys.argv[3] + '\"')
if ok == 'OK':
    ok, found = m.fetch('1:*', '(BODY.PEEK[HEADER.FIELDS (SUBJECT)])')
    for part in found:
        if isinstance(part, tuple):
            print(part[1].decode().strip())
";

/// A submission, by Python's smtplib on the machine itself.
const SUBMIT: &str = "
import smtplib, ssl, sys
s = smtplib.SMTP('127.0.0.1', 2587, timeout=60)
s.starttls(context=ssl._create_unverified_context())
s.login(sys.argv[1], sys.argv[2])
for subject in sys.argv[4:]:
    text = 'From: %s\\r\\nTo: %s\\r\\nSubject: %s\\r\\n\\r\\nHello.\\r\\n' % (sys.argv[1], sys.argv[3], subject)
    s.sendmail(sys.argv[1], [sys.argv[3]], text)
s.quit()
";

/// Of Debian's faketime.
fn fake_time() -> PathBuf {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library}: apt-get install faketime");
    library.into()
}

struct Site {
    /// Before the network: its processes are inside.
    nodes: Vec<Node>,
    net: Net,
    scratch: Scratch,
}

/// Server and machine of the same number.
struct Node {
    data: PathBuf,
    child: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(binary())
            .arg("--data")
            .arg(&self.data)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Site {
    /// `None` without the right to make networks.
    fn new(name: &str, roles: &[&str]) -> Option<Site> {
        let net = Net::new(u8::try_from(roles.len()).unwrap())?;
        let mut site = Site { nodes: Vec::new(), net, scratch: Scratch::new(name) };
        for (number, roles) in (1..).zip(roles) {
            let data = site.scratch.path().join(format!("server-{number}"));
            fs::create_dir_all(&data).unwrap();
            let node = Node { data, child: None };
            let doors = format!(
                "[listeners]\ninner = [\"{}:4444\"]\nsmtp = [\"127.0.0.1:2525\"]\nsubmission = [\"127.0.0.1:2587\"]\n\
                 imap = [\"127.0.0.1:2143\"]\nsubmissions = []\nlmtp = []\nimaps = []\npop3 = []\npop3s = []\nmetrics = []\napi = []\n",
                Net::address(number)
            );
            fs::write(node.data.join("server.toml"), doors).unwrap();
            let inner = format!("{}:4444", Net::address(number));
            let host = format!("server-{number}.contoso.test");
            site.nodes.push(node);
            if number == 1 {
                site.must(1, &["init", "--domain", "contoso.test", "--host", &host]);
            } else {
                let made = site.records(1, &["New-ServerToken", "-Roles", roles]);
                let token = made[0]["Token"].as_str().unwrap().to_owned();
                let id = format!("server-{number}");
                let words =
                    ["join", &token, "--roles", roles, "--id", &id, "--host", &host, "--inner", &inner];
                let data = site.node(number).data.display().to_string();
                let all = [&["--data", &data], &words[..]].concat();
                let out = site.on(number, binary().as_os_str()).args(all).output().unwrap();
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            }
            site.start(number, roles, None);
        }
        Some(site)
    }

    fn node(&self, number: u8) -> &Node {
        &self.nodes[usize::from(number) - 1]
    }

    fn on(&self, number: u8, program: &OsStr) -> Command {
        let mut command = self.net.on(number, program);
        command.stdin(Stdio::null());
        command
    }

    /// `clock` as faketime writes it: `+40d`.
    fn start(&mut self, number: u8, roles: &str, clock: Option<&str>) {
        let opened = |site: &Site| {
            fs::read_to_string(site.log(number)).unwrap_or_default().matches("inner is open").count()
        };
        let before = opened(self);
        let log = File::options().create(true).append(true).open(self.log(number)).unwrap();
        let mut command = self.on(number, binary().as_os_str());
        if let Some(clock) = clock {
            // By the library itself: the program `faketime` would stay between us and the server. Timers go on as they are.
            command
                .env("LD_PRELOAD", fake_time())
                .env("FAKETIME", clock)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.args(["serve", "--roles", roles, "--data"]).arg(&self.node(number).data);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.nodes[usize::from(number) - 1].child = Some(child);
        // Not asked by a command, which would open the store by itself and be in the way.
        self.until("the server is open", |site| opened(site) > before);
    }

    fn log(&self, number: u8) -> PathBuf {
        self.scratch.path().join(format!("server-{number}.log"))
    }

    fn must(&self, number: u8, words: &[&str]) -> String {
        let out = self.node(number).run(words);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    fn records(&self, number: u8, words: &[&str]) -> Vec<Value> {
        let text = self.must(number, &[words, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Site) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn python(&self, number: u8, script: &str, words: &[&str]) -> String {
        let out = self.on(number, OsStr::new("python3")).args(["-c", script]).args(words).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    fn submit(&self, subjects: &[&str]) {
        let words = [&["amy@contoso.test", PASSWORD, "ben@contoso.test"], subjects].concat();
        self.python(1, SUBMIT, &words);
    }

    /// Sorted.
    fn subjects(&self, who: &str, folder: &str) -> Vec<String> {
        let text = self.python(1, SUBJECTS, &[&format!("{who}@contoso.test"), PASSWORD, folder]);
        let mut found: Vec<String> =
            text.lines().filter_map(|l| l.trim().strip_prefix("Subject: ")).map(str::to_owned).collect();
        found.sort();
        found
    }

    fn mailboxes(&self) {
        for name in ["amy", "ben"] {
            self.must(1, &["New-Mailbox", name, "-Password", PASSWORD]);
        }
    }

    fn last_errors(&self, number: u8) -> String {
        let queues = self.records(number, &["Get-Queue"]);
        queues.iter().map(|q| q["LastError"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }
}

/// Mail finds the hub that can be reached; where none can, it waits in the open, and arrives once.
#[test]
fn cut_cables() {
    let Some(site) = Site::new("cables", &["frontend,mailbox", "transport", "transport"]) else {
        println!("SKIPPED: no right to make networks");
        return;
    };
    site.mailboxes();
    site.submit(&["before"]);
    site.until("mail flows", |s| s.subjects("ben", "INBOX") == ["before"]);

    // One hub cannot be reached, the other one is deaf for us: what we send to it is lost, what it sends arrives.
    site.net.cut(1, 2);
    site.submit(&["by the other hub"]);
    site.until("the other hub", |s| s.subjects("ben", "INBOX").len() == 2);
    site.net.deafen(1, 3);
    site.submit(&["waits 1", "waits 2"]);
    site.until("waiting in the open", |s| s.last_errors(1).contains("INNER-"));
    assert_eq!(site.subjects("ben", "INBOX").len(), 2);
    site.until("the sender sees both", |s| s.subjects("amy", "Outbox").len() == 2);
    site.net.heal();
    // Rather than waiting for the next attempt.
    site.must(1, &["Retry-Queue", "-Filter", "MessageCount -gt 0", "-Confirm:$false"]);
    let all = ["before", "by the other hub", "waits 1", "waits 2"];
    site.until("everything arrives", |s| s.subjects("ben", "INBOX").len() >= all.len());
    assert_eq!(site.subjects("ben", "INBOX"), all);

    // The other way round: the hub hears us, and we do not hear it.
    site.net.deafen(2, 1);
    site.net.deafen(3, 1);
    site.submit(&["heard and not answered"]);
    site.until("waiting again", |s| s.last_errors(1).contains("INNER-"));
    site.net.heal();
    site.must(1, &["Retry-Queue", "-Filter", "MessageCount -gt 0", "-Confirm:$false"]);
    site.until("it arrives", |s| s.subjects("ben", "INBOX").len() > all.len());
    site.until("nothing is left", |s| s.subjects("amy", "Outbox").is_empty());
    assert_eq!(site.subjects("ben", "INBOX").len(), all.len() + 1, "and once");
}

/// Ten minutes are nothing to inner certificates; forty days are too much, and are called by their name.
#[test]
fn wrong_clocks() {
    let Some(mut site) = Site::new("clocks", &["frontend,mailbox", "transport"]) else {
        println!("SKIPPED: no right to make networks");
        return;
    };
    site.mailboxes();
    site.nodes[1].kill();
    site.start(2, "transport", Some("+10m"));
    site.submit(&["ten minutes"]);
    site.until("mail flows", |s| s.subjects("ben", "INBOX") == ["ten minutes"]);

    site.nodes[1].kill();
    site.start(2, "transport", Some("+40d"));
    site.submit(&["forty days"]);
    site.until("the certificates are named", |s| {
        let said = s.last_errors(1);
        said.contains("INNER-EXPIRED") || said.contains("INNER-CLOCK")
    });
    site.until("the sender sees it", |s| s.subjects("amy", "Outbox").len() == 1);
    site.nodes[1].kill();
    site.start(2, "transport", None);
    site.must(1, &["Retry-Queue", "-Filter", "MessageCount -gt 0", "-Confirm:$false"]);
    site.until("mail flows again", |s| s.subjects("ben", "INBOX") == ["forty days", "ten minutes"]);
}

/// Who is not one of ours says nothing that is believed: neither at the public doors nor at the inner one.
#[test]
fn strangers() {
    let Some(site) = Site::new("strangers", &["all", "frontend"]) else {
        println!("SKIPPED: no right to make networks");
        return;
    };
    let script = "
import socket, ssl, sys
def talk(port, lines):
    s = socket.create_connection(('127.0.0.1', port), timeout=20)
    f = s.makefile('rb')
    out = [f.readline()]
    for line in lines:
        s.sendall(line.encode() + b'\\r\\n')
        while True:
            got = f.readline()
            out.append(got)
            if len(got) < 4 or got[3:4] != b'-':
                break
    return b''.join(out).decode(errors='replace')
print('SMTP', talk(2525, ['EHLO x', 'XCLIENT ADDR=127.0.0.1 LOGIN=amy', 'MAIL FROM:<a@b.example> XWAYPOST=server-1/1', 'QUIT']))
print('IMAP', talk(2143, ['PROXY TCP4 10.0.0.1 10.0.0.2 1 2']))
";
    for number in [1, 2] {
        let said = site.python(number, script, &[]);
        let smtp = said.split("IMAP").next().unwrap();
        let begins = |with: &'static str| smtp.lines().filter(move |l| l.starts_with(with));
        let ours = ["XCLIENT", "XFORWARD", "XWAYPOST"];
        let offered = begins("250").filter(|l| ours.iter().any(|o| l.contains(o))).count();
        assert_eq!(offered, 0, "nothing of the kind is offered: {said}");
        let refused = begins("50").chain(begins("55")).count();
        assert_eq!(refused, 2, "both are refused by server-{number}: {said}");
        assert!(said.contains(" BAD "), "{said}");
    }
    // TLS without a certificate of ours, and then a hello as a front end would say it.
    let script = "
import json, socket, ssl, struct, sys
c = ssl._create_unverified_context()
c.minimum_version = ssl.TLSVersion.TLSv1_3
s = c.wrap_socket(socket.create_connection((sys.argv[1], 4444), timeout=20), server_hostname='server-1.waypost.internal')
hello = {'waypost': 1, 'from': 'server-2', 'by': 'mtls', 'hello': {'service': 'imap', 'session': '00000000000000AA', 'client': None, 'detail': {'account': 1}}}
data = json.dumps(hello).encode()
try:
    s.sendall(struct.pack('>I', len(data)) + data)
    n = struct.unpack('>I', s.recv(4))[0]
    print(s.recv(n).decode())
except Exception as e:
    print('closed', e)
";
    let said = site.python(2, script, &[&Net::address(1)]);
    assert!(!said.contains("trusted\":") || said.contains("distrusted"), "{said}");
    assert!(said.contains("distrusted") || said.contains("closed"), "{said}");
}
