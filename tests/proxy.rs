//! Clients at a front end: it keeps nothing, and hands them over to the server that holds their account.

use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::server::Scratch;

type Account = (String, String);

/// A server that does everything but meet clients, and a front end.
fn front_and_back(name: &str) -> (Organisation, Vec<Account>) {
    let mut o = Organisation::start(name, "transport,mailbox");
    // Without TLS from this machine, for conversations by hand.
    o.command("server-1", &["Set-ImapSettings", "-LoginType", "PlainTextLogin"]).unwrap();
    o.command("server-1", &["Set-PopSettings", "-LoginType", "PlainTextLogin"]).unwrap();
    o.add("server-2", "frontend");
    let accounts = people(&o, &[("amy", ""), ("ben", ""), ("cleo", ""), ("dan", "")], "server-2");
    (o, accounts)
}

/// Mailboxes with their homes, known at a server.
fn people(o: &Organisation, names: &[(&str, &str)], known_at: &str) -> Vec<Account> {
    let accounts: Vec<Account> = names.iter().map(|(name, home)| o.mailbox(name, home)).collect();
    for (address, _) in &accounts {
        o.wait_for_mailbox(known_at, address);
    }
    accounts
}

fn run(program: &str, words: &[&str], input: &str) -> String {
    let mut child = Command::new("timeout")
        .args(["120", program])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn login(o: &Organisation, id: &str, account: &Account) -> String {
    let mut imap = Line::connect(o.address(id, "imap")).unwrap();
    imap.line().unwrap();
    imap.imap("a", &format!("LOGIN {} {}", account.0, account.1)).unwrap().pop().unwrap()
}

fn pass(o: &Organisation, id: &str, account: &Account) -> String {
    let mut pop = Line::connect(o.address(id, "pop3")).unwrap();
    pop.line().unwrap();
    pop.send(format!("USER {}\r\n", account.0).as_bytes()).unwrap();
    pop.line().unwrap();
    pop.send(format!("PASS {}\r\n", account.1).as_bytes()).unwrap();
    pop.line().unwrap()
}

fn auth(o: &Organisation, id: &str, account: &Account) -> String {
    let script = "import smtplib,ssl,sys\n\
        s=smtplib.SMTP_SSL('127.0.0.1',int(sys.argv[1]),context=ssl._create_unverified_context())\n\
        s.ehlo()\n\
        s.user,s.password=sys.argv[2],sys.argv[3]\n\
        code,text=s.docmd('AUTH','PLAIN '+__import__('base64').b64encode(('\\0'+s.user+'\\0'+s.password).encode()).decode())\n\
        print(code,text.decode())\n";
    let port = o.address(id, "submissions").port().to_string();
    run("python3", &["-c", script, &port, &account.0, &account.1], "").trim().to_owned()
}

#[test]
fn python_through_a_front_end() {
    let (o, accounts) = front_and_back("proxy-python");
    let mut at = json!({ "users": accounts });
    for door in ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"] {
        at[door] = o.address("server-2", door).port().into();
    }
    // Local delivery is the hub's affair.
    at["lmtp"] = o.address("server-1", "lmtp").port().into();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python_std.py");
    let out = run("python3", &[script.to_str().unwrap(), &at.to_string()], "");
    assert!(out.contains("python: all held"), "{out}");
}

#[test]
fn curl_through_a_front_end() {
    let (o, accounts) = front_and_back("proxy-curl");
    let scratch = Scratch::new("proxy-curl-mail");
    let (amy, password) = &accounts[0];
    let user = format!("{amy}:{password}");
    let file = scratch.path().join("mail");
    fs::write(&file, format!("From: {amy}\r\nSubject: by curl\r\nX-Curl: 1\r\n\r\nhello curl\r\n")).unwrap();
    let url = |scheme: &str, door: &str, rest: &str| {
        format!("{scheme}://127.0.0.1:{}/{rest}", o.address("server-2", door).port())
    };
    let common = ["-sS", "-k", "--user", user.as_str()];
    let curl = |words: &[&str]| run("curl", &[&common, words].concat(), "");
    for (scheme, door, tls) in [("smtp", "submission", "--ssl-reqd"), ("smtps", "submissions", "-k")] {
        let to = url(scheme, door, "");
        curl(&[tls, "--url", &to, "--mail-from", amy, "--mail-rcpt", amy, "-T", file.to_str().unwrap()]);
    }
    for (scheme, door, tls) in [("imap", "imap", "--ssl-reqd"), ("imaps", "imaps", "-k")] {
        let found = curl(&[tls, &url(scheme, door, "INBOX"), "-X", "SEARCH HEADER X-Curl 1"]);
        assert_eq!(found.trim(), "* SEARCH 1 2");
        let one = curl(&[tls, &url(scheme, door, "INBOX;MAILINDEX=1")]);
        assert!(one.ends_with("hello curl\r\n"), "{one}");
        // The client's own address stands in the message, and the home's name.
        assert!(one.contains("[127.0.0.1]") && one.contains("ESMTPSA"), "{one}");
    }
    for (scheme, door, tls) in [("pop3", "pop3", "--ssl-reqd"), ("pop3s", "pop3s", "-k")] {
        let list = curl(&[tls, &url(scheme, door, "")]);
        assert_eq!(list.lines().count(), 2, "{list}");
        assert!(curl(&[tls, &url(scheme, door, "1")]).contains("hello curl"));
    }
}

#[test]
fn mbsync_through_a_front_end() {
    let (o, accounts) = front_and_back("proxy-mbsync");
    let scratch = Scratch::new("proxy-mbsync-mail");
    let (amy, password) = &accounts[0];
    let mut imap = Line::imap_login(o.address("server-2", "imap"), &accounts[0]).unwrap();
    for n in 0..20 {
        let mail = format!("From: s@example.net\r\nSubject: mail {n}\r\n\r\n{}\r\n", "body ".repeat(n * 200));
        let answer = imap.imap("p", &format!("APPEND INBOX {{{}+}}\r\n{mail}", mail.len())).unwrap();
        assert!(answer.last().unwrap().starts_with("p OK"), "{answer:?}");
    }
    let mut found = Vec::new();
    for id in ["server-2", "server-2"] {
        let side = format!("side{}", found.len());
        let folder = scratch.path().join(&side);
        fs::create_dir_all(&folder).unwrap();
        let (f, port) = (folder.display(), o.address(id, "imap").port());
        let config = format!(
            "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser {amy}\nPass {password}\nSSLType None\nAuthMechs LOGIN\n\n\
             IMAPStore far\nAccount a\n\nMaildirStore near\nPath {f}/\nInbox {f}/INBOX\nSubFolders Verbatim\n\n\
             Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nSyncState *\n"
        );
        let rc = scratch.path().join(format!("{side}.rc"));
        fs::write(&rc, config).unwrap();
        run("mbsync", &["-c", rc.to_str().unwrap(), "c"], "");
        let mut bodies: Vec<String> = Vec::new();
        for part in ["cur", "new"] {
            for entry in fs::read_dir(folder.join("INBOX").join(part)).unwrap().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap();
                bodies.push(text.lines().filter(|l| !l.starts_with("X-TUID")).collect::<Vec<_>>().join("\n"));
            }
        }
        bodies.sort();
        assert_eq!(bodies.len(), 20);
        found.push(bodies);
    }
    assert_eq!(found[0], found[1]);
}

/// mutt on a terminal: opens the folder, reads a message, leaves.
#[test]
fn mutt_through_a_front_end() {
    let (o, accounts) = front_and_back("proxy-mutt");
    let scratch = Scratch::new("proxy-mutt-home");
    let (amy, password) = &accounts[0];
    let mut imap = Line::imap_login(o.address("server-2", "imap"), &accounts[0]).unwrap();
    let mail = "From: s@example.net\r\nSubject: mail seven\r\n\r\nbody seven\r\n";
    let answer = imap.imap("p", &format!("APPEND INBOX {{{}+}}\r\n{mail}", mail.len())).unwrap();
    assert!(answer.last().unwrap().starts_with("p OK"), "{answer:?}");
    let rc = scratch.path().join("muttrc");
    let (port, folder) = (o.address("server-2", "imap").port(), scratch.path().display());
    let text = format!(
        "set imap_user=\"{amy}\"\nset imap_pass=\"{password}\"\nset ssl_starttls=no\nset ssl_force_tls=no\n\
         set folder=\"imap://127.0.0.1:{port}/\"\nset spoolfile=\"+INBOX\"\nset tmpdir=\"{folder}\"\n"
    );
    fs::write(&rc, text).unwrap();
    let session = format!("waypost-proxy-{}", std::process::id());
    let tmux = |words: &[&str]| Command::new("tmux").args(["-L", &session]).args(words).output().unwrap();
    let shown = |wanted: &str| {
        o.wait_for(wanted, |_| {
            String::from_utf8_lossy(&tmux(&["capture-pane", "-p"]).stdout).contains(wanted)
        });
    };
    let command = format!("TERM=screen HOME={folder} mutt -F {}", rc.display());
    tmux(&["new-session", "-d", "-x", "120", "-y", "40", &command]);
    shown("mail seven");
    tmux(&["send-keys", "End", "Enter"]);
    shown("body seven");
    tmux(&["send-keys", "q", "x"]);
    tmux(&["kill-server"]);
}

/// The two founding incidents end here: whatever is wrong behind, nobody hears of a wrong password who has not given one.
#[test]
fn a_dead_home_is_unavailable_and_never_a_wrong_password() {
    let mut o = Organisation::start("proxy-dead", "transport,mailbox");
    o.add("server-2", "frontend");
    o.add("server-3", "mailbox");
    let amy = people(&o, &[("amy", "server-3")], "server-2").remove(0);
    o.wait_for_mailbox("server-3", &amy.0);
    let wrong = (amy.0.clone(), "guess".to_owned());
    for login_type in ["PlainTextLogin", "PlainTextAuthentication", "SecureLogin"] {
        o.command("server-1", &["Set-ImapSettings", "-LoginType", login_type]).unwrap();
        o.command("server-1", &["Set-PopSettings", "-LoginType", login_type]).unwrap();
        o.wait_for("the login type", |o| {
            o.command("server-2", &["Get-ImapSettings"]).is_ok_and(|s| s["LoginType"] == login_type)
        });
        // Ends of a conversation on this machine are as good as TLS for each of them.
        assert!(login(&o, "server-2", &amy).contains("OK"), "{login_type}");
        assert!(pass(&o, "server-2", &amy).starts_with("+OK"), "{login_type}");
        assert!(auth(&o, "server-2", &amy).starts_with("235"), "{login_type}");
        assert!(login(&o, "server-2", &wrong).starts_with("a NO [AUTHENTICATIONFAILED]"), "{login_type}");
    }
    let mut open = Line::imap_login(o.address("server-2", "imap"), &amy).unwrap();
    o.kill("server-3");
    // The session ends, rather than hang.
    let ended = open.imap("n", "NOOP");
    assert!(ended.is_err() || ended.unwrap().iter().any(|l| l.starts_with("* BYE")));
    // Another server still knows who is who.
    let said = login(&o, "server-2", &wrong);
    assert!(said.starts_with("a NO [AUTHENTICATIONFAILED]"), "{said}");
    let said = login(&o, "server-2", &amy);
    assert!(said.starts_with("a NO [UNAVAILABLE]"), "{said}");
    let said = pass(&o, "server-2", &amy);
    assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
    let said = auth(&o, "server-2", &amy);
    assert!(said.starts_with("454 4.7.0"), "{said}");
    // With nobody left who knows, nobody is told that they are wrong.
    o.kill("server-1");
    for account in [&amy, &wrong] {
        let said = login(&o, "server-2", account);
        assert!(said.starts_with("a NO [UNAVAILABLE]"), "{said}");
        let said = pass(&o, "server-2", account);
        assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
        let said = auth(&o, "server-2", account);
        assert!(said.starts_with("454 4.7.0"), "{said}");
    }
    o.begin("server-1");
    o.begin("server-3");
    o.wait_for("being let in again", |o| login(o, "server-2", &amy).contains("OK"));
    let log = o.data("server-2").join("logs");
    assert!(log.exists());
}

#[test]
fn strangers_reach_a_hub_through_a_front_end() {
    let mut o = Organisation::start("proxy-mx", "transport,mailbox");
    o.add("server-2", "frontend");
    o.add("server-3", "transport");
    let amy = people(&o, &[("amy", "")], "server-2").remove(0);
    let deliver = |o: &Organisation, subject: &str| {
        let mut smtp = Line::smtp_hello(o.address("server-2", "smtp")).unwrap();
        let mail = format!("From: s@example.net\r\nSubject: {subject}\r\n\r\nx\r\n");
        smtp.deliver("s@example.net", &amy.0, mail.as_bytes()).unwrap()
    };
    let said = deliver(&o, "one");
    assert!(said.starts_with("250"), "{said}");
    // One hub is taken out: the other one takes the mail.
    o.command(
        "server-1",
        &[
            "Set-ServerComponentState",
            "server-3",
            "-Component",
            "HubTransport",
            "-State",
            "Draining",
            "-Requester",
            "Maintenance",
        ],
    )
    .unwrap();
    for n in 0..4 {
        let said = deliver(&o, &format!("two {n}"));
        assert!(said.starts_with("250"), "{said}");
    }
    o.command(
        "server-1",
        &[
            "Set-ServerComponentState",
            "server-1",
            "-Component",
            "HubTransport",
            "-State",
            "Draining",
            "-Requester",
            "Maintenance",
        ],
    )
    .unwrap();
    o.wait_for("no hub", |o| deliver(o, "three").starts_with("451 4.3.2"));
    // There is no such thing here as a client that speaks for another.
    let mut smtp = Line::smtp_hello(o.address("server-2", "smtp")).unwrap();
    assert!(smtp.smtp("XCLIENT ADDR=192.0.2.7").unwrap().starts_with("500"));
    assert!(smtp.smtp("PROXY TCP4 192.0.2.7 192.0.2.1 4000 25").unwrap().starts_with("500"));
    o.command(
        "server-1",
        &[
            "Set-ServerComponentState",
            "server-1",
            "-Component",
            "HubTransport",
            "-State",
            "Active",
            "-Requester",
            "Maintenance",
        ],
    )
    .unwrap();
    o.wait_for("five messages", |o| {
        let statistics = o.command("server-1", &["Get-MailboxStatistics", "amy"]).unwrap();
        statistics["ItemCount"].as_u64() >= Some(5)
    });
}

#[test]
fn a_front_end_that_is_taken_out_says_so() {
    let (o, accounts) = front_and_back("proxy-draining");
    assert!(login(&o, "server-2", &accounts[0]).contains("OK"));
    for component in ["ImapProxy", "PopProxy", "FrontendTransport"] {
        let words = [
            "Set-ServerComponentState",
            "server-2",
            "-Component",
            component,
            "-State",
            "Draining",
            "-Requester",
            "Maintenance",
        ];
        o.command("server-1", &words).unwrap();
    }
    let first = |door: &str| Line::connect(o.address("server-2", door)).unwrap().line().unwrap_or_default();
    o.wait_for("the front end to be out", |_| first("imap").starts_with("* BYE [UNAVAILABLE]"));
    o.wait_for("POP3", |_| first("pop3").starts_with("-ERR [SYS/TEMP]"));
    o.wait_for("SMTP", |_| first("smtp").starts_with("421") && first("submission").starts_with("421"));
}
