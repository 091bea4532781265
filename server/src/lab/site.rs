//! An organisation of several servers on loopback, each a process of this program in a folder of its own.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use waypost_admin::settings::{Author, Edit, Scope, save_change_in};

/// From its start to its doors being open; a second where nobody else works.
const START_MAX: Duration = Duration::from_secs(60);
/// From being asked to stop to being gone.
const STOP_MAX: Duration = Duration::from_secs(40);

/// Doors that a server of the laboratory may have.
const DOORS: [&str; 6] = ["smtp", "submission", "imap", "imaps", "pop3", "inner"];

/// The organisation. Its processes and its folder go with it; the folder stays where something did not hold.
pub struct Site {
    folder: PathBuf,
    keep: bool,
    /// For every process.
    environment: Vec<(String, PathBuf)>,
    joined: u32,
}

/// One server.
pub struct Member {
    pub id: String,
    data: PathBuf,
    log: PathBuf,
    ports: BTreeMap<&'static str, u16>,
    environment: Vec<(String, PathBuf)>,
    child: Option<Child>,
}

impl Site {
    pub fn new(name: &str) -> Result<Site, String> {
        let folder = std::env::temp_dir().join(format!("waypost-lab-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Site { folder, keep: false, environment: Vec::new(), joined: 1 })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves the folder for a look.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// For every server that is made from now on.
    pub fn set_environment(&mut self, name: &str, value: &Path) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The first server, stopped: it keeps the directory. Its roles are said when it is started.
    pub fn primary(&mut self, domain: &str) -> Result<Member, String> {
        let mut member = self.member("server-1")?;
        member.program(&["init", "--domain", domain, "--host", "server-1.lab.test"])?;
        member.set_doors(Scope::Organisation)?;
        Ok(member)
    }

    /// Another server, stopped, that has joined the running organisation.
    pub fn join(&mut self, primary: &Member, roles: &str) -> Result<Member, String> {
        self.joined += 1;
        let id = format!("server-{}", self.joined);
        let token = primary.one(&["New-ServerToken", "-Roles", roles])?;
        let token = token["Token"].as_str().ok_or_else(|| format!("no token in {token}"))?.to_owned();
        let mut member = self.member(&id)?;
        let inner = format!("127.0.0.1:{}", member.port("inner"));
        let host = format!("{id}.lab.test");
        let words = ["join", &token, "--roles", roles, "--id", &id, "--host", &host, "--inner", &inner];
        member.program(&words)?;
        member.set_doors(Scope::Server)?;
        Ok(member)
    }

    fn member(&self, id: &str) -> Result<Member, String> {
        let mut ports = BTreeMap::new();
        // Held until all are chosen, so that none is given twice.
        let mut held = Vec::new();
        for door in DOORS {
            let chosen = TcpListener::bind("127.0.0.1:0").and_then(|l| Ok((l.local_addr()?.port(), l)));
            let (port, listener) = chosen.map_err(|e| format!("no free port: {e}"))?;
            ports.insert(door, port);
            held.push(listener);
        }
        Ok(Member {
            id: id.to_owned(),
            data: self.folder.join(id),
            log: self.folder.join(format!("{id}.log")),
            ports,
            environment: self.environment.clone(),
            child: None,
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("kept for a look: {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Member {
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// 0 for a door that there is not.
    pub fn port(&self, door: &str) -> u16 {
        self.ports.get(door).copied().unwrap_or_default()
    }

    pub fn address(&self, door: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port(door)))
    }

    /// Changes settings of the stopped server, for this machine or for the organisation.
    pub fn set(&self, scope: Scope, edits: &[Edit]) -> Result<(), String> {
        let author = Author { who: "laboratory".into(), command: "lab".into(), ..Author::default() };
        save_change_in(&self.data, scope, edits, &author).map(drop).map_err(|e| e.to_string())
    }

    fn set_doors(&mut self, scope: Scope) -> Result<(), String> {
        let nowhere: Vec<SocketAddr> = Vec::new();
        let mut edits: Vec<Edit> = ["submissions", "lmtp", "pop3s", "metrics", "api"]
            .into_iter()
            .map(|door| Edit::set(format!("listeners.{door}"), &nowhere))
            .collect();
        for door in DOORS {
            edits.push(Edit::set(format!("listeners.{door}"), &vec![self.address(door)]));
        }
        self.set(scope, &edits)
    }

    /// Starts it and waits until its inner door is open.
    pub fn start(&mut self, roles: Option<&str>) -> Result<(), String> {
        let log = File::options().create(true).append(true).open(&self.log).map_err(|e| e.to_string())?;
        let mut command = self.command();
        command.arg("serve");
        if let Some(roles) = roles {
            command.args(["--roles", roles]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.map_err(|e| e.to_string())?);
        let begun = Instant::now();
        let door = self.address("inner");
        while TcpStream::connect_timeout(&door, Duration::from_secs(1)).is_err() {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > START_MAX {
                return Err(format!("{} did not start: {}", self.id, self.last_words()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// What it said, for a look.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let text = self.log_text();
        let from = text.lines().count().saturating_sub(8);
        text.lines().skip(from).collect::<Vec<_>>().join("\n")
    }

    fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap_or_else(|_| "waypost".into());
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(k, v)| (k, v))).arg("--data").arg(&self.data);
        command
    }

    fn program(&self, words: &[&str]) -> Result<String, String> {
        let out = self.command().args(words).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() {
            return Ok(said);
        }
        Err(format!("{} {}: {said}{}", self.id, words.join(" "), String::from_utf8_lossy(&out.stderr)))
    }

    /// An administrator's command: its records.
    pub fn run(&self, words: &[&str]) -> Result<Vec<Value>, String> {
        let mut all: Vec<&str> = words.to_vec();
        all.push("--json");
        let text = self.program(&all)?;
        text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))).collect()
    }

    /// One that gives one record.
    pub fn one(&self, words: &[&str]) -> Result<Value, String> {
        self.run(words).map(|all| all.into_iter().next().unwrap_or_default())
    }

    /// As people see it, whether it went well or not.
    pub fn shown(&self, words: &[&str]) -> String {
        match self.program(words) {
            Ok(text) | Err(text) => text,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until something is so, looking again and again; the last look's words where it never was.
pub fn until(within: Duration, mut look: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(()) => return Ok(()),
            Err(e) if begun.elapsed() > within => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
