//! Real clients from Debian, PyPI and npm against a running server.

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Ports and accounts for the scripts.
fn at(server: &Server) -> String {
    let mut at = json!({ "users": (0..4).map(|n| server.account(n)).collect::<Vec<_>>() });
    for name in ["smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s"] {
        at[name] = server.port(name).into();
    }
    at.to_string()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a program that must end well within two minutes.
fn run(command: &mut Command) -> String {
    let mut timed = Command::new("timeout");
    timed.arg("120").arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            timed.env(key, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let output = timed.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    text(&output)
}

fn send(server: &Server, to: &str, message: &[u8]) {
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    let reply = smtp.deliver("sender@example.net", to, message).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn mail(number: usize) -> Vec<u8> {
    format!("From: s@example.net\r\nTo: r@contoso.test\r\nSubject: mail {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\nbody {number}\r\n")
        .into_bytes()
}

/// Packages outside Debian are put below the target folder by `./test`.
fn extra(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap().join(name)
}

#[test]
fn python_standard_library() {
    let server = Server::start("python");
    let out = run(Command::new("python3").arg(scripts().join("python_std.py")).arg(at(&server)));
    assert!(out.contains("python: all held"), "{out}");
}

#[test]
fn imapclient() {
    let server = Server::start("imapclient");
    let script = scripts().join("imapclient_run.py");
    let out = run(Command::new("python3").env("PYTHONPATH", extra("python")).arg(script).arg(at(&server)));
    assert!(out.contains("imapclient: all held"), "{out}");
}

#[test]
fn imapflow() {
    let server = Server::start("imapflow");
    // Node looks for packages beside the script.
    let folder = extra("npm");
    let script = folder.join("imapflow_run.mjs");
    fs::copy(scripts().join("imapflow_run.mjs"), &script).unwrap();
    let out = run(Command::new("node").arg(script).arg(at(&server)));
    assert!(out.contains("imapflow: all held"), "{out}");
}

#[test]
fn swaks_by_every_door() {
    let server = Server::start("swaks");
    let (amy, password) = server.account(0);
    let ben = server.account(1).0;
    let base = |door: &str| {
        let mut swaks = Command::new("swaks");
        swaks.args(["--server", "127.0.0.1", "--port", &server.port(door).to_string(), "--to", &ben]);
        swaks
    };
    run(base("smtp").args(["--from", "x@example.net", "--pipeline"]));
    run(base("smtp").args(["--from", "x@example.net", "--tls"]));
    let login = ["--from", &amy, "--auth-user", &amy, "--auth-password", &password];
    run(base("submission").args(["--tls", "--auth", "PLAIN"]).args(login));
    run(base("submission").args(["--tls", "--auth", "LOGIN"]).args(login));
    run(base("submissions").args(["--tls-on-connect", "--auth", "PLAIN"]).args(login));
    run(base("lmtp").args(["--protocol", "LMTP", "--from", "x@example.net"]));
    let wrong = base("submission")
        .args(["--tls", "--auth", "PLAIN", "--auth-user", &amy, "--auth-password", "wrong", "--from", &amy])
        .output()
        .unwrap();
    assert!(!wrong.status.success() && text(&wrong).contains("535"), "{}", text(&wrong));
    let mut imap = Line::imap_login(server.address("imap"), &server.account(1)).unwrap();
    let status = imap.imap("s", "STATUS INBOX (MESSAGES)").unwrap();
    let count: u32 = status[0].split(['(', ')', ' ']).find_map(|w| w.parse().ok()).unwrap();
    assert!(count >= 6, "{status:?}");
}

#[test]
fn curl_smtp_imap_pop3() {
    let server = Server::start("curl");
    let scratch = Scratch::new("curl-mail");
    let (amy, password) = server.account(0);
    let login = format!("{amy}:{password}");
    let file = scratch.path().join("mail");
    let mail = format!("From: {amy}\r\nSubject: by curl\r\nX-Curl: 1\r\n\r\nhello curl\r\n");
    fs::write(&file, mail).unwrap();
    let url =
        |scheme: &str, door: &str, rest: &str| format!("{scheme}://127.0.0.1:{}/{rest}", server.port(door));
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-k", "--user", &login]);
        curl
    };
    for (scheme, door, tls) in [("smtp", "submission", "--ssl-reqd"), ("smtps", "submissions", "-k")] {
        let to = url(scheme, door, "");
        run(curl().args([tls, "--url", &to, "--mail-from", &amy, "--mail-rcpt", &amy, "-T"]).arg(&file));
    }
    for (scheme, door, tls) in [("imap", "imap", "--ssl-reqd"), ("imaps", "imaps", "-k")] {
        let found = run(curl().args([tls, &url(scheme, door, "INBOX"), "-X", "SEARCH HEADER X-Curl 1"]));
        assert_eq!(found.trim().split(' ').count(), 4, "{found}");
        let number = found.trim().rsplit(' ').next().unwrap();
        let one = run(curl().args([tls, &url(scheme, door, &format!("INBOX;MAILINDEX={number}"))]));
        assert!(one.ends_with("hello curl\r\n"), "{one}");
    }
    for (scheme, door, tls) in [("pop3", "pop3", "--ssl-reqd"), ("pop3s", "pop3s", "-k")] {
        let list = run(curl().args([tls, &url(scheme, door, "")]));
        let number = list.lines().last().unwrap().split(' ').next().unwrap().to_owned();
        let one = run(curl().args([tls, &url(scheme, door, &number)]));
        assert!(one.contains("hello curl"), "{one}");
    }
}

/// Message bodies by file content, flags by file name: equal trees mean equal mail.
fn tree(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in walk(folder) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let parent =
            entry.parent().unwrap().parent().unwrap().strip_prefix(folder).unwrap().display().to_string();
        let flags = name.split_once(":2,").map_or("", |f| f.1).to_owned();
        // mbsync marks what it has paired with a header of its own.
        let body: String = fs::read_to_string(&entry)
            .unwrap()
            .lines()
            .filter(|l| !l.starts_with("X-TUID"))
            .collect::<Vec<_>>()
            .join("\n");
        all.push((format!("{parent} {flags}"), body));
    }
    all.sort();
    all
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.parent().is_some_and(|p| p.ends_with("cur") || p.ends_with("new")) {
            files.push(path);
        }
    }
    files
}

#[test]
fn mbsync_two_ways() {
    let server = Server::start("mbsync");
    let scratch = Scratch::new("mbsync-mail");
    let (amy, password) = server.account(0);
    for n in 0..20 {
        send(&server, &amy, &mail(n));
    }
    let port = server.port("imap");
    let mut config = String::new();
    for side in ["one", "two"] {
        let folder = scratch.path().join(side);
        fs::create_dir_all(&folder).unwrap();
        let f = folder.display();
        config += &format!(
            "IMAPAccount {side}\nHost 127.0.0.1\nPort {port}\nUser {amy}\nPass {password}\nSSLType None\nAuthMechs LOGIN\n\n\
             IMAPStore {side}-far\nAccount {side}\n\nMaildirStore {side}-near\nPath {f}/\nInbox {f}/INBOX\nSubFolders Verbatim\n\n\
             Channel {side}\nFar :{side}-far:\nNear :{side}-near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSyncState *\n\n"
        );
    }
    let rc = scratch.path().join("mbsyncrc");
    fs::write(&rc, config).unwrap();
    let sync = |which: &str| run(Command::new("mbsync").arg("-c").arg(&rc).arg(which));
    sync("one");
    let one = scratch.path().join("one");
    assert!(tree(&one).len() >= 20);
    // A change on this side: a flag, a removal, a folder with a new message.
    let files = walk(&one.join("INBOX"));
    let base = |p: &Path| p.file_name().unwrap().to_string_lossy().split(":2,").next().unwrap().to_owned();
    let inbox = one.join("INBOX/cur");
    fs::rename(&files[0], inbox.join(format!("{}:2,FS", base(&files[0])))).unwrap();
    fs::rename(&files[1], inbox.join(format!("{}:2,T", base(&files[1])))).unwrap();
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(one.join("Projects").join(part)).unwrap();
    }
    fs::write(one.join("Projects/cur/new.1.here:2,S"), mail(100)).unwrap();
    sync("one");
    sync("two");
    let two = scratch.path().join("two");
    for round in 0..3 {
        send(&server, &amy, &mail(200 + round));
        sync("two");
        sync("one");
        sync("two");
        assert_eq!(tree(&one), tree(&two), "round {round}");
    }
    assert!(tree(&two).iter().any(|m| m.0.starts_with("Projects")));
}

#[test]
fn offlineimap() {
    let server = Server::start("offlineimap");
    let scratch = Scratch::new("offlineimap-mail");
    let (amy, password) = server.account(0);
    for n in 0..10 {
        send(&server, &amy, &mail(n));
    }
    let folder = scratch.path().display();
    let port = server.port("imap");
    let rc = scratch.path().join("offlineimaprc");
    fs::write(
        &rc,
        format!(
            "[general]\naccounts = a\nmetadata = {folder}/meta\nui = basic\n[Account a]\nlocalrepository = l\nremoterepository = r\n\
             [Repository l]\ntype = Maildir\nlocalfolders = {folder}/mail\n[Repository r]\ntype = IMAP\nremotehost = 127.0.0.1\n\
             remoteport = {port}\nremoteuser = {amy}\nremotepass = {password}\nssl = no\nstarttls = no\nauth_mechanisms = LOGIN\n"
        ),
    )
    .unwrap();
    for _ in 0..2 {
        run(Command::new("offlineimap").args(["-o", "-c"]).arg(&rc));
    }
    let inbox = scratch.path().join("mail/INBOX");
    assert!(walk(&inbox).len() >= 10, "{:?}", walk(&inbox));
}

#[test]
fn getmail_by_pop3_and_fetchmail_by_imap() {
    let server = Server::start("getmail");
    let scratch = Scratch::new("getmail-mail");
    let (amy, password) = server.account(0);
    for n in 0..5 {
        send(&server, &amy, &mail(n));
    }
    let folder = scratch.path();
    let got = folder.join("got");
    // As root getmail delivers only through a program that is allowed by name.
    let rc = format!(
        "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {}\nusername = {amy}\npassword = {password}\n\
         [destination]\ntype = MDA_external\npath = /bin/sh\narguments = ('-c', 'cat >> {}')\nallow_root_commands = true\n\
         [options]\nread_all = true\ndelete = false\n",
        server.port("pop3"),
        got.display()
    );
    fs::write(folder.join("getmailrc"), rc).unwrap();
    run(Command::new("getmail").arg("--getmaildir").arg(folder).args(["--rcfile", "getmailrc"]));
    let mail = fs::read_to_string(&got).unwrap();
    assert!((0..5).all(|n| mail.contains(&format!("body {n}"))), "{mail}");

    let rc = folder.join("fetchmailrc");
    let sink = folder.join("fetched");
    fs::write(
        &rc,
        format!(
            "poll 127.0.0.1 service {} protocol imap user \"{amy}\" password \"{password}\" sslproto \"\" keep fetchall\n\
             mda \"cat >> {}\"\n",
            server.port("imap"),
            sink.display()
        ),
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o600)).unwrap();
    run(Command::new("fetchmail").env("HOME", folder).env("FETCHMAILHOME", folder).arg("-f").arg(&rc));
    let fetched = fs::read_to_string(&sink).unwrap();
    assert!((0..5).all(|n| fetched.contains(&format!("body {n}"))), "{fetched}");
}

/// mutt on a terminal: opens the folder, reads a message, leaves.
#[test]
fn mutt_in_a_terminal() {
    let server = Server::start("mutt");
    let scratch = Scratch::new("mutt-home");
    let (amy, password) = server.account(0);
    send(&server, &amy, &mail(7));
    let rc = scratch.path().join("muttrc");
    let user = amy.replace('@', "\\@");
    fs::write(
        &rc,
        format!(
            "set imap_user=\"{amy}\"\nset imap_pass=\"{password}\"\nset ssl_starttls=no\nset ssl_force_tls=no\n\
             set folder=\"imap://127.0.0.1:{}/\"\nset spoolfile=\"+INBOX\"\nset tmpdir=\"{}\"\n# {user}\n",
            server.port("imap"),
            scratch.path().display()
        ),
    )
    .unwrap();
    let session = format!("waypost-{}", std::process::id());
    let tmux = |words: &[&str]| Command::new("tmux").args(["-L", &session]).args(words).output().unwrap();
    let shown = |wanted: &str| {
        let start = Instant::now();
        loop {
            let screen = text(&tmux(&["capture-pane", "-p"]));
            if screen.contains(wanted) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{wanted:?} never showed:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let command = format!("TERM=screen HOME={} mutt -F {}", scratch.path().display(), rc.display());
    tmux(&["new-session", "-d", "-x", "120", "-y", "40", &command]);
    shown("mail 7");
    tmux(&["send-keys", "End", "Enter"]);
    shown("body 7");
    tmux(&["send-keys", "q", "x"]);
    tmux(&["kill-server"]);
}
