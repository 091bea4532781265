//! An organisation of several servers, each a process on loopback with a folder and ports of its own.
//!
//! Stopping one checks its log, as with [`Server`](crate::server::Server): an error or a panic that the test did not
//! announce fails the test.

use crate::line::Line;
use crate::server::{Scratch, binary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Every door that a server may have.
const DOORS: [&str; 11] = [
    "smtp",
    "submission",
    "submissions",
    "lmtp",
    "imap",
    "imaps",
    "pop3",
    "pop3s",
    "inner",
    "metrics",
    "api",
];

/// Things that take a moment (a change that goes to another server) get so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first domain of every organisation here.
pub const DOMAIN: &str = "contoso.test";

/// Several servers. The first one, `server-1`, keeps the directory.
pub struct Organisation {
    scratch: Scratch,
    members: BTreeMap<String, Member>,
}

/// One server, running or not.
pub struct Member {
    pub id: String,
    pub roles: String,
    data: PathBuf,
    log: PathBuf,
    ports: BTreeMap<&'static str, u16>,
    child: Option<Child>,
    expected: Vec<String>,
}

/// A port that nobody has at this moment, below those that outgoing connections get: a server that is started again finds
/// its own ports free.
fn free_port() -> u16 {
    crate::ports::free()
}

/// The server's process, which may be the child of a wrapper such as faketime.
fn own_pid(child: &Child) -> String {
    let pid = child.id().to_string();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().next().map_or(pid, str::to_owned)
}

impl Organisation {
    /// With one server, which runs with the roles given.
    pub fn start(name: &str, roles: &str) -> Organisation {
        Organisation::start_in(Scratch::new(name), roles)
    }

    /// With its folders in one of our choice.
    pub fn start_at(folder: &Path, roles: &str) -> Organisation {
        Organisation::start_in(Scratch::within(folder, "organisation"), roles)
    }

    fn start_in(scratch: Scratch, roles: &str) -> Organisation {
        let mut organisation = Organisation { scratch, members: BTreeMap::new() };
        let member = organisation.member("server-1", roles);
        fs::create_dir_all(&member.data).expect("a folder");
        member.write_settings();
        let out = member.run(&["init", "--domain", DOMAIN, "--host", "server-1.contoso.test"]);
        assert!(out.status.success(), "init: {}", String::from_utf8_lossy(&out.stderr));
        organisation.members.insert(member.id.clone(), member);
        organisation.begin("server-1");
        organisation
    }

    /// One more server, which joins with a token for its roles and runs.
    pub fn add(&mut self, id: &str, roles: &str) {
        self.join(id, roles).unwrap_or_else(|e| panic!("{id} does not join: {e}"));
        self.begin(id);
    }

    /// Joins, and does not start it.
    pub fn join(&mut self, id: &str, roles: &str) -> Result<(), String> {
        let token = self.token(&["-Roles", roles]);
        self.join_by(id, roles, &token)
    }

    /// The same with a token at hand.
    pub fn join_by(&mut self, id: &str, roles: &str, token: &str) -> Result<(), String> {
        let member = self.member(id, roles);
        fs::create_dir_all(&member.data).expect("a folder");
        member.write_settings();
        let inner = format!("127.0.0.1:{}", member.ports["inner"]);
        let host = format!("{id}.contoso.test");
        let words = ["join", token, "--id", id, "--host", &host, "--inner", &inner, "--roles", roles];
        let out = member.run(&words);
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        self.members.insert(id.to_owned(), member);
        Ok(())
    }

    /// Joins again, with the data that is there.
    pub fn rejoin(&self, id: &str, token: &str) {
        let member = self.server(id);
        let inner = format!("127.0.0.1:{}", member.ports["inner"]);
        let host = format!("{id}.contoso.test");
        let words = ["join", token, "--id", id, "--host", &host, "--inner", &inner, "--roles", &member.roles];
        let out = member.run(&words);
        assert!(out.status.success(), "{id} does not join again: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// What New-ServerToken gives, with these parameters.
    pub fn token(&self, words: &[&str]) -> String {
        let made = self.command("server-1", &[&["New-ServerToken"], words].concat()).expect("a token");
        made["Token"].as_str().expect("a token").to_owned()
    }

    fn member(&self, id: &str, roles: &str) -> Member {
        let data = self.scratch.path().join(id);
        Member {
            id: id.to_owned(),
            roles: roles.to_owned(),
            log: data.with_extension("log"),
            data,
            ports: DOORS.into_iter().map(|door| (door, free_port())).collect(),
            child: None,
            expected: Vec::new(),
        }
    }

    pub fn server(&self, id: &str) -> &Member {
        self.members.get(id).unwrap_or_else(|| panic!("no server {id}"))
    }

    pub fn server_mut(&mut self, id: &str) -> &mut Member {
        self.members.get_mut(id).unwrap_or_else(|| panic!("no server {id}"))
    }

    /// Starts a server that does not run, and waits until it answers.
    pub fn begin(&mut self, id: &str) {
        self.server_mut(id).begin(Command::new(binary()));
    }

    /// The same by a command that ends up in the binary, such as `faketime -f +10m waypost`.
    pub fn begin_by(&mut self, id: &str, command: Command) {
        self.server_mut(id).begin(command);
    }

    /// As a power cut for one server.
    pub fn kill(&mut self, id: &str) {
        self.server_mut(id).kill();
    }

    /// Stops one server as Ctrl-C does.
    pub fn stop(&mut self, id: &str) {
        self.server_mut(id).stop();
    }

    /// Where a door of a server is.
    pub fn address(&self, id: &str, door: &str) -> SocketAddr {
        let port = self.server(id).ports.get(door).unwrap_or_else(|| panic!("no door {door}"));
        SocketAddr::from(([127, 0, 0, 1], *port))
    }

    pub fn data(&self, id: &str) -> &Path {
        &self.server(id).data
    }

    /// Runs a command of the catalogue at a server; its first record, or null.
    pub fn command(&self, id: &str, words: &[&str]) -> Result<Value, String> {
        Ok(self.records(id, words)?.into_iter().next().unwrap_or(Value::Null))
    }

    /// All records of a command.
    pub fn records(&self, id: &str, words: &[&str]) -> Result<Vec<Value>, String> {
        let out = self.server(id).run(&[words, &["--json"]].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if !out.status.success() {
            return Err(format!("{text}{}", String::from_utf8_lossy(&out.stderr)));
        }
        text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))).collect()
    }

    /// A mailbox at a server; gives address and password.
    pub fn mailbox(&self, name: &str, home: &str) -> (String, String) {
        let (address, password) = (format!("{name}@{DOMAIN}"), "Correct-horse-7-battery".to_owned());
        let words =
            ["New-Mailbox", name, "-PrimarySmtpAddress", &address, "-Password", &password, "-Server", home];
        let words = if home.is_empty() { &words[..6] } else { &words[..] };
        self.command("server-1", words).expect("a new mailbox");
        (address, password)
    }

    /// Asks again until the answer is yes, for what takes a moment.
    pub fn wait_for(&self, what: &str, mut holds: impl FnMut(&Organisation) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "{what} did not come about in {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Until a server knows a mailbox.
    pub fn wait_for_mailbox(&self, id: &str, address: &str) {
        self.wait_for(&format!("{address} at {id}"), |o| o.command(id, &["Get-Mailbox", address]).is_ok());
    }
}

impl Member {
    /// Errors whose line contains `text` are part of the test.
    pub fn expect_error(&mut self, text: &str) {
        self.expected.push(text.to_owned());
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What holds for this machine alone: its doors.
    fn write_settings(&self) {
        let mut text = String::from("[listeners]\n");
        for (door, port) in &self.ports {
            text.push_str(&format!("{door} = [\"127.0.0.1:{port}\"]\n"));
        }
        fs::write(self.data.join("server.toml"), text).expect("its settings");
    }

    fn run(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new(binary());
        command.arg("--data").arg(&self.data).args(words).stdin(Stdio::null());
        command.output().expect("the binary runs")
    }

    fn begin(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "{} runs", self.id);
        let errors = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let child = command
            .args(["serve", "--roles", &self.roles, "--data"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        let start = Instant::now();
        let port = self.ports["metrics"];
        while Line::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() || !self.answers() {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().expect("wait"));
            assert!(ended.is_none(), "{} has ended: {}", self.id, self.log_text());
            assert!(start.elapsed() < PATIENCE, "{} does not answer: {}", self.id, self.log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it says when it does not start.
    pub fn refuses(&self) -> String {
        let out = self.run(&["serve", "--roles", &self.roles]);
        assert!(!out.status.success(), "{} starts", self.id);
        String::from_utf8_lossy(&out.stderr).into_owned()
    }

    /// The server itself: a command on a stopped one would open its store.
    fn answers(&self) -> bool {
        UnixStream::connect(self.data.join("run/control.sock")).is_ok()
            && self.run(&["Get-Server", "--json"]).status.success()
    }

    fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The wait below tells whether it worked.
        let _ = Command::new("kill").args(["-KILL", &own_pid(&child)]).status();
        child.wait().expect("wait");
        self.check_log();
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let asked = Command::new("kill").args(["-INT", &own_pid(&child)]).status();
        assert!(asked.is_ok_and(|s| s.success()), "kill -INT");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                assert!(status.success(), "{} ended with {status}\n{}", self.id, self.log_text());
                break;
            }
            if start.elapsed() > Duration::from_secs(45) {
                child.kill().expect("kill");
                panic!("{} did not stop in 45 s\n{}", self.id, self.log_text());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.check_log();
    }

    fn check_log(&self) {
        for line in self.log_text().lines() {
            let bad = line.contains(" ERROR ") || line.contains("panic");
            let announced = self.expected.iter().any(|e| line.contains(e.as_str()));
            assert!(!bad || announced, "{} logged an error that nobody expected: {line}", self.id);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut child) = self.child.take() {
                let _ = Command::new("kill").args(["-KILL", &own_pid(&child)]).status();
                let _ = child.wait();
                eprintln!("log of {}:\n{}", self.id, self.log_text());
            }
        } else {
            self.stop();
        }
    }
}
