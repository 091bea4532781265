//! A `waypost quickstart` process in a folder of its own.
//!
//! Stopping it checks its log: an error or a panic that the test did not announce fails the test.

use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A folder that goes with its owner, unless the test failed: then it stays, and its name is printed.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        Scratch::within(&std::env::temp_dir(), name)
    }

    /// In a folder of one's choice, such as one on a disk of its own.
    pub fn within(folder: &Path, name: &str) -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("waypost-test-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a scratch folder");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A running server and what it said about itself when it was ready.
pub struct Server {
    child: Option<Child>,
    log: PathBuf,
    /// Bytes of the log that earlier servers wrote.
    log_start: usize,
    data: PathBuf,
    ready: Value,
    expected: Vec<String>,
    _scratch: Option<Scratch>,
}

/// The release binary that was built beside this test binary.
pub fn binary() -> PathBuf {
    if let Ok(path) = std::env::var("WAYPOST_BINARY") {
        return path.into();
    }
    let here = std::env::current_exe().expect("the test's own path");
    let target = here.parent().and_then(Path::parent).expect("target/PROFILE/deps/NAME");
    let binary = target.join("waypost");
    assert!(
        binary.exists(),
        "build it first: cargo build --release -p waypost-server ({})",
        binary.display()
    );
    binary
}

/// Waits for something to come about, and gives it.
pub fn until<T>(patience: Duration, what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = so() {
            return found;
        }
        assert!(start.elapsed() < patience, "{what} did not come about in {} s", patience.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What a command that has to succeed answers on a data folder, record by record.
pub fn records(data: &Path, words: &[&str]) -> Vec<Value> {
    let out = Command::new(binary()).arg("--data").arg(data).args(words).arg("--json").output();
    let out = out.unwrap_or_else(|e| panic!("{words:?}: {e}"));
    let (text, errors) = (crate::pki::text(&out.stdout), crate::pki::text(&out.stderr));
    assert!(out.status.success(), "{words:?}: {text}{errors}");
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

impl Server {
    /// A fresh organisation.
    pub fn start(name: &str) -> Server {
        let scratch = Scratch::new(name);
        let data = scratch.path().join("data");
        let mut server = Server::start_in(&data);
        server._scratch = Some(scratch);
        server
    }

    /// On a folder that outlives the server, perhaps with data in it.
    pub fn start_in(data: &Path) -> Server {
        Server::start_by(data, Command::new(binary()))
    }

    /// By a command that ends up in the binary, such as `prlimit … waypost`.
    pub fn start_by(data: &Path, mut command: Command) -> Server {
        // Beside the data folder, or above it where that is a mounted disk that may die.
        let above = data.ancestors().nth(2).unwrap_or(data);
        let log =
            if above.join("image").exists() { above.join("server.log") } else { data.with_extension("log") };
        let log_start = fs::metadata(&log).map_or(0, |m| m.len() as usize);
        let errors = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut child = command
            .args(["quickstart", "--json", "--ports", "auto", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("its standard output is ours");
        BufReader::new(out).read_line(&mut line).expect("a line of JSON");
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| {
            panic!("not ready ({e}): {line:?}\n{}", fs::read_to_string(&log).unwrap_or_default())
        });
        Server {
            child: Some(child),
            log,
            log_start,
            data: data.to_owned(),
            ready,
            expected: Vec::new(),
            _scratch: None,
        }
    }

    /// Errors whose line contains `text` are part of the test.
    pub fn expect_error(&mut self, text: &str) {
        self.expected.push(text.to_owned());
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        let text =
            self.ready["listeners"][listener].as_str().unwrap_or_else(|| panic!("no listener {listener}"));
        text.parse().expect("an address")
    }

    pub fn port(&self, listener: &str) -> u16 {
        self.address(listener).port()
    }

    /// Address and password of the account with this number, 0 to 3.
    pub fn account(&self, number: usize) -> (String, String) {
        let account = &self.ready["accounts"][number];
        let text = |key: &str| account[key].as_str().unwrap_or_else(|| panic!("account {number}")).to_owned();
        (text("address"), text("password"))
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Runs an administrative command against this server and returns its JSON (`--json`).
    pub fn command(&self, words: &[&str]) -> Result<Value, String> {
        let out = Command::new(binary()).arg("--data").arg(&self.data).args(words).arg("--json").output();
        let out = out.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if !out.status.success() {
            return Err(format!("{text}{}", String::from_utf8_lossy(&out.stderr)));
        }
        // Commands that only change something say nothing.
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
    }

    /// As a power cut for the process: no goodbye, no flush.
    pub fn kill(mut self) {
        self.kill_child();
        self.check_log();
    }

    fn kill_child(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    /// Asks it to stop, as Ctrl-C does, and checks that it did so by itself and without errors.
    pub fn stop(mut self) {
        self.stop_child();
        self.check_log();
    }

    fn stop_child(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let asked = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(asked.is_ok_and(|s| s.success()), "kill -INT");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                assert!(status.success(), "the server ended with {status}\n{}", self.log_text());
                return;
            }
            if start.elapsed() > Duration::from_secs(45) {
                child.kill().expect("kill");
                panic!("the server did not stop in 45 s\n{}", self.log_text());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log_text(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(all.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    fn check_log(&self) {
        for line in self.log_text().lines() {
            let bad =
                line.contains(" ERROR ") || line.contains("\"level\":\"ERROR\"") || line.contains("panic");
            let announced = self.expected.iter().any(|e| line.contains(e.as_str()));
            assert!(!bad || announced, "the server logged an error that nobody expected: {line}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        if std::thread::panicking() {
            self.kill_child();
            eprintln!("server log:\n{}", self.log_text());
        } else {
            self.stop_child();
            self.check_log();
        }
    }
}
