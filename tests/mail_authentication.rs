//! Mail authentication end to end: a name server from Debian, dkimpy and npm mailauth as second opinions, rspamd and
//! OpenDKIM as filters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use waypost_tests::knot::Knot;
use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server, binary};
use waypost_tests::sink::Sink;

/// What owners of domains ask for; only the first names this machine.
const RECORDS: &str = r#"
good.test. TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.good.test. TXT "v=DMARC1; p=reject"
reject.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.reject.test. TXT "v=DMARC1; p=reject"
quarantine.test. TXT "v=spf1 ip4:192.0.2.1 ~all"
_dmarc.quarantine.test. TXT "v=DMARC1; p=quarantine"
none.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.none.test. TXT "v=DMARC1; p=none"
"#;

/// A server that asks this name server, and takes nobody for a neighbour.
fn organisation(folder: &Scratch, knot: &Knot, settings: &[(&str, &str)]) -> Server {
    let data = folder.path().join("data");
    let server = Server::start_in(&data);
    let mut all = vec![
        ("dns.servers".to_owned(), knot.setting()),
        ("mail_authentication.check_private_addresses".to_owned(), "true".to_owned()),
        ("mail_authentication.authserv_id".to_owned(), "mx.contoso.test".to_owned()),
    ];
    all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    for (key, value) in all {
        command(&server, &["Set-WaypostSetting", &key, &value]);
    }
    // Name servers are chosen when the server starts.
    server.stop();
    Server::start_in(&data)
}

fn command(server: &Server, words: &[&str]) -> Vec<Value> {
    let out =
        Command::new(binary()).arg("--data").arg(server.data()).args(words).arg("--json").output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout);
    let rows = |line: &str| match serde_json::from_str(line).unwrap() {
        Value::Array(rows) => rows,
        one => vec![one],
    };
    text.lines().filter(|l| !l.trim().is_empty()).flat_map(rows).collect()
}

fn message(from: &str, subject: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <amy@contoso.test>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@{from}>\r\n\
         Date: Tue, 3 Mar 2026 08:15:20 +0000\r\n\r\nHello   there \r\n\r\n"
    )
}

/// As a stranger; the reply.
fn bring(server: &Server, from: &str, message: &str) -> String {
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    smtp.deliver(from, &server.account(0).0, message.as_bytes()).unwrap()
}

fn submit(server: &Server, to: &str, message: &str) {
    let (address, password) = server.account(0);
    let mut line = Line::smtp_hello(server.address("submission")).unwrap();
    let secret = STANDARD.encode(format!("\0{address}\0{password}"));
    assert!(line.smtp(&format!("AUTH PLAIN {secret}")).unwrap().starts_with("235"));
    let reply = line.deliver(&address, to, message.as_bytes()).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// The message of this subject in a folder of the first account, fields unfolded. The 250 came when it was there.
fn kept(server: &Server, folder: &str, subject: &str) -> Option<String> {
    let mut imap = Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
    let answer = imap.imap("s", &format!("SELECT {folder}")).unwrap();
    if !answer.last().unwrap().starts_with("s OK") {
        return None;
    }
    let found = imap.imap("f", &format!("SEARCH SUBJECT {subject}")).unwrap();
    let number = found.iter().find_map(|l| l.strip_prefix("* SEARCH "))?.trim().to_owned();
    let text = imap.imap("m", &format!("FETCH {number} BODY.PEEK[]")).unwrap().join("\r\n");
    Some(text.replace("\r\n\t", " ").replace("\r\n ", " "))
}

/// Asks again until the answer is there; fails after a minute.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still not so after a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("authentication")
}

/// Packages outside Debian are put below the target folder by `./test`.
fn extra(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap().join(name)
}

/// Runs a program with a message on its standard input.
fn feed(program: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{program:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn dkimpy(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", extra("python")).arg(scripts().join("dkim_tool.py")).args(words);
    feed(&mut python, input)
}

fn dkimpy_lines(words: &[&str], input: &[u8]) -> Vec<String> {
    String::from_utf8(dkimpy(words, input)).unwrap().lines().map(str::to_owned).collect()
}

fn npm_mailauth(port: u16, input: &[u8]) -> Vec<String> {
    // Node looks for packages beside the script.
    let script = extra("npm").join(format!("mailauth_run_{port}.mjs"));
    fs::copy(scripts().join("mailauth_run.mjs"), &script).unwrap();
    let out = feed(Command::new("node").arg(&script).arg(port.to_string()), input);
    let _ = fs::remove_file(script);
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_strangers_bring() {
    let folder = Scratch::new("strangers");
    let knot = Knot::start(RECORDS);
    let server = organisation(&folder, &knot, &[]);

    let forged = "Authentication-Results: mx.contoso.test; dmarc=pass header.from=good.test\r\n\
        Authentication-Results: (x) other.test; spf=pass\r\nX-Waypost-Junk: no\r\n";
    let good = format!("{forged}{}", message("a@good.test", "good"));
    assert!(bring(&server, "a@good.test", &good).starts_with("250"));
    let text = kept(&server, "INBOX", "good").unwrap();
    for part in [
        "Authentication-Results: mx.contoso.test 1; iprev=",
        "policy.iprev=127.0.0.1;",
        "spf=pass  smtp.mailfrom=a@good.test;",
        "dmarc=pass (p=reject)  header.from=good.test",
        "Authentication-Results: (x) other.test",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert_eq!(text.matches("Authentication-Results: mx.contoso.test").count(), 1, "{text}");
    assert!(!text.contains("X-Waypost-Junk"), "{text}");

    let reply = bring(&server, "a@reject.test", &message("a@reject.test", "rejected"));
    assert!(reply.starts_with("550 5.7.26 ") && reply.contains("reject.test"), "{reply}");
    assert_eq!(kept(&server, "INBOX", "rejected"), None);

    let reply = bring(&server, "a@quarantine.test", &message("a@quarantine.test", "quarantined"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(kept(&server, "INBOX", "quarantined"), None);
    let text = until("it is in Junk", || kept(&server, "Junk", "quarantined"));
    assert!(
        text.contains("X-Waypost-Junk: Mail authentication: DMARC of quarantine.test: SPF softfail"),
        "{text}"
    );

    for (number, (from, result)) in [
        ("a@none.test", "dmarc=fail (p=none; SPF fail; no DKIM signature)"),
        ("a@broken.test", "spf=temperror"),
        ("a@broken.test", "dmarc=temperror"),
        ("a@nowhere.test", "dmarc=none"),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = format!("taken{number}");
        let reply = bring(&server, from, &message(from, &subject));
        assert!(reply.starts_with("250"), "{from}: {reply}");
        let text = kept(&server, "INBOX", &subject).unwrap();
        assert!(text.contains(result), "{result:?} is not in\n{text}");
    }
    // A forged author is one whatever the envelope says.
    let reply = bring(&server, "a@good.test", &message("a@reject.test", "aligned"));
    assert!(reply.starts_with("550 5.7.26 "), "{reply}");
    server.stop();
}

#[test]
fn softer_settings() {
    let folder = Scratch::new("softer");
    let knot = Knot::start(RECORDS);
    let settings = [("mail_authentication.dmarc", "Quarantine"), ("mail_authentication.spf_fail", "Reject")];
    let server = organisation(&folder, &knot, &settings);
    let reply = bring(&server, "a@good.test", &message("a@reject.test", "softened"));
    assert!(reply.starts_with("250"), "{reply}");
    until("it is in Junk", || kept(&server, "Junk", "softened"));
    let reply = bring(&server, "a@none.test", &message("a@nowhere.test", "spf"));
    assert!(reply.starts_with("550 5.7.23 "), "{reply}");
    server.stop();
}

/// The records that a command printed, as lines of a zone file.
fn zone_lines(keys: &[Value]) -> String {
    keys.iter().map(|k| format!("{}\n", k["ZoneFile"].as_str().unwrap())).collect()
}

fn selectors(keys: &[Value]) -> Vec<String> {
    let mut all: Vec<String> = keys.iter().map(|k| k["Selector"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

fn with_status<'a>(keys: &'a [Value], status: &str) -> Vec<&'a Value> {
    keys.iter().filter(|k| k["Status"] == status).collect()
}

#[test]
fn our_signatures_before_other_eyes() {
    let folder = Scratch::new("signed");
    let mut knot = Knot::start(RECORDS);
    let sink = Sink::start();
    let server = organisation(&folder, &knot, &[]);
    let port = sink.port().to_string();
    let words = [
        "New-SendConnector",
        "-Name",
        "sink",
        "-AddressSpaces",
        "*",
        "-SmartHosts",
        "127.0.0.1",
        "-Port",
        &port,
    ];
    command(&server, &words);
    let me = server.account(0).0;

    let first = command(&server, &["New-DkimSigningConfig", "contoso.test"]);
    assert_eq!(with_status(&first, "Pending").len(), 2, "{first:?}");
    submit(&server, "x@example.net", &message(&me, "unsigned"));
    assert!(!sink.wait(1)[0].text().contains("DKIM-Signature"), "keys that are not in the DNS do not sign");

    knot.replace(&format!("{RECORDS}{}", zone_lines(&first)));
    // It asks when it starts, and every minute.
    server.stop();
    let server = Server::start_in(&folder.path().join("data"));
    let active = |server: &Server| {
        let keys = command(server, &["Get-DkimSigningConfig", "contoso.test"]);
        (with_status(&keys, "Active").len() == 2 && with_status(&keys, "Pending").is_empty()).then_some(keys)
    };
    until("both keys are active", || active(&server));
    submit(&server, "x@example.net", &message(&me, "signed"));
    let signed = sink.wait(2)[1].clone();
    second_opinions(&knot, &signed.data, &selectors(&first));

    let second = command(&server, &["Rotate-DkimSigningConfig", "contoso.test", "-Selector", "next"]);
    assert_eq!(selectors(&second), ["next-e", "next-r"]);
    knot.replace(&format!("{RECORDS}{}{}", zone_lines(&first), zone_lines(&second)));
    server.stop();
    let server = Server::start_in(&folder.path().join("data"));
    let keys = until("the new keys are active", || active(&server));
    assert_eq!(with_status(&keys, "Retiring").len(), 2, "{keys:?}");
    submit(&server, "x@example.net", &message(&me, "rotated"));
    second_opinions(&knot, &sink.wait(3)[2].data, &selectors(&second));
    // Reports are ours too.
    let mut stranger = Line::smtp_hello(server.address("smtp")).unwrap();
    stranger.smtp("MAIL FROM:<x@example.net>").unwrap();
    let reply = stranger.smtp(&format!("RCPT TO:<{me}> NOTIFY=SUCCESS")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    stranger.smtp("DATA").unwrap();
    stranger.send(message("x@example.net", "tell-me").as_bytes()).unwrap();
    assert!(stranger.smtp(".").unwrap().starts_with("250"));
    let report = sink.wait(4)[3].clone();
    assert_eq!(report.from, "", "{}", report.text());
    second_opinions(&knot, &report.data, &selectors(&second));
    // What was signed before can still be verified.
    second_opinions(&knot, &signed.data, &selectors(&first));

    let lines = command(&server, &["Test-MailDomain", "contoso.test"]);
    let state = |purpose: &str| {
        let found: Vec<&str> =
            lines.iter().filter(|l| l["Purpose"] == purpose).map(|l| l["State"].as_str().unwrap()).collect();
        found.join(" ")
    };
    assert_eq!(
        [state("MX"), state("SPF"), state("DKIM"), state("DMARC")],
        ["Missing", "Missing", "Ok Ok Ok Ok", "Missing"],
        "{lines:?}"
    );
    server.stop();
}

fn second_opinions(knot: &Knot, message: &[u8], selectors: &[String]) {
    let port = knot.port().to_string();
    let mut expected: Vec<String> = selectors.iter().map(|s| format!("True contoso.test {s}")).collect();
    let mut found = dkimpy_lines(&["verify", &port], message);
    found.sort();
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(message));
    let mut found = npm_mailauth(knot.port(), message);
    found.sort();
    expected = selectors
        .iter()
        .map(|s| {
            let algorithm = if s.ends_with('r') { "rsa-sha256" } else { "ed25519-sha256" };
            format!("pass contoso.test {s} {algorithm}")
        })
        .collect();
    expected.insert(0, "arc none".into());
    assert_eq!(found, expected);
}

/// An RSA key in PEM, and its record.
fn openssl_key(folder: &Path, domain: &str, selector: &str) -> (String, String) {
    let path = folder.join(format!("{domain}.pem")).display().to_string();
    let made =
        Command::new("openssl").args(["genrsa", "-traditional", "-out", &path, "2048"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let public =
        Command::new("openssl").args(["rsa", "-in", &path, "-pubout", "-outform", "DER"]).output().unwrap();
    let base64 = STANDARD.encode(public.stdout);
    let (a, b) = base64.split_at(200);
    let record = format!("{selector}._domainkey.{domain}. TXT \"v=DKIM1; k=rsa; p={a}\" \"{b}\"\n");
    (path, record)
}

/// An Ed25519 key as dkimpy reads it (its seed in base64), and its record. RFC 8032 §7.1, the first test key.
fn ed25519_key(folder: &Path, domain: &str, selector: &str) -> (String, String) {
    let path = folder.join(format!("{domain}.ed25519"));
    fs::write(&path, "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    (
        path.display().to_string(),
        format!("{selector}._domainkey.{domain}. TXT \"v=DKIM1; k=ed25519; p={public}\"\n"),
    )
}

#[test]
fn others_signatures_and_seals() {
    let folder = Scratch::new("others");
    let (rsa, rsa_record) = openssl_key(folder.path(), "reject.test", "r");
    let (ed, ed_record) = ed25519_key(folder.path(), "reject.test", "e");
    let (list, list_record) = openssl_key(folder.path(), "list.test", "l");
    let knot = Knot::start(&format!("{RECORDS}{rsa_record}{ed_record}{list_record}"));
    let settings = [("mail_authentication.arc_trusted_sealers", "[\"list.test\"]")];
    let server = organisation(&folder, &knot, &settings);

    // A domain that asks for rejection, from an address that SPF does not name: the signature saves it.
    for (selector, key, algorithm) in [("r", &rsa, "rsa-sha256"), ("e", &ed, "ed25519-sha256")] {
        let subject = format!("signed-{selector}");
        let plain = message("a@reject.test", &subject);
        let signed = dkimpy(&["sign", "reject.test", selector, key, algorithm], plain.as_bytes());
        let signed = String::from_utf8(signed).unwrap();
        let reply = bring(&server, "bounce@nowhere.test", &signed);
        assert!(reply.starts_with("250"), "{algorithm}: {reply}");
        let text = kept(&server, "INBOX", &subject).unwrap();
        let part = format!("dkim=pass  header.d=reject.test  header.s={selector}  header.a={algorithm}");
        assert!(text.contains(&part) && text.contains("dmarc=pass (p=reject)"), "{text}");
        // Changed on the way, it does not.
        let reply = bring(&server, "bounce@nowhere.test", &signed.replace("Hello", "Bye"));
        assert!(reply.starts_with("550 5.7.26 ") && reply.contains("no valid DKIM signature"), "{reply}");
    }

    // A list that sealed what it found, and changed the message before.
    let found = "Authentication-Results: list.test; dkim=pass header.d=reject.test; dmarc=pass header.from=reject.test\r\n";
    let plain = format!("{found}{}", message("a@reject.test", "sealed"));
    let sealed = dkimpy(&["seal", "list.test", "l", &list, "list.test"], plain.as_bytes());
    let opinion = dkimpy_lines(&["arc", &knot.port().to_string()], &sealed);
    assert!(opinion[0].starts_with("pass"), "{opinion:?}");
    let sealed = String::from_utf8(sealed).unwrap();
    let reply = bring(&server, "list@nowhere.test", &sealed);
    assert!(reply.starts_with("250"), "{reply}");
    let text = kept(&server, "INBOX", "sealed").unwrap();
    assert!(text.contains("arc=pass (sealed by list.test)"), "{text}");
    assert!(text.contains("outweighed by a trusted ARC seal"), "{text}");
    let reply = bring(&server, "list@nowhere.test", &sealed.replace("Hello", "Bye"));
    assert!(reply.starts_with("550 5.7.26 "), "{reply}");
    server.stop();
}

/// A program that is ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    waypost_tests::ports::free()
}

fn listening(port: u16) {
    until("the filter listens", || TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).ok());
}

fn filter(server: &Server, name: &str, port: u16) {
    command(server, &["New-MailFilter", name, &format!("inet:127.0.0.1@{port}")]);
}

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

#[test]
fn rspamd_as_a_filter() {
    let folder = Scratch::new("rspamd");
    let at = folder.path().display().to_string();
    let port = free_port();
    // A scanner of its own inside the proxy, which needs neither network nor database.
    let conf = format!(
        "pidfile = false;\nlogging {{ type = \"file\"; filename = \"{at}/log\"; level = \"info\"; }}\n\
         options {{ filters = \"\"; enable_test_patterns = true; tempdir = \"{at}\"; dns {{ timeout = 1s; retransmits = 1; \
         nameserver = [\"127.0.0.1:9\"]; }} control_socket = \"{at}/control mode=0600\"; hs_cache_dir = \"{at}\"; }}\n\
         actions {{ reject = 15; add_header = 6; }}\n\
         worker \"rspamd_proxy\" {{ bind_socket = \"127.0.0.1:{port}\"; milter = yes; timeout = 20s; count = 1; \
         upstream \"local\" {{ default = yes; self_scan = yes; }} }}\n"
    );
    fs::write(folder.path().join("rspamd.conf"), conf).unwrap();
    let mut command = Command::new("rspamd");
    command.args(["-f", "-i", "-c"]).arg(folder.path().join("rspamd.conf"));
    let _rspamd = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    listening(port);

    let server = Server::start("rspamd-server");
    filter(&server, "rspamd", port);
    let reply = bring(&server, "a@good.test", &message("a@good.test", "ham"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(kept(&server, "INBOX", "ham").is_some());
    let spam = message("a@good.test", "spam").replace("Hello", GTUBE);
    let reply = bring(&server, "a@good.test", &spam);
    assert!(reply.starts_with("554 ") || reply.starts_with("550 "), "{reply}");
    assert_eq!(kept(&server, "INBOX", "spam"), None);
    // The pattern for "add header": taken, and marked.
    let doubtful = message("a@good.test", "doubtful").replace("Hello", &GTUBE.replacen('X', "Y", 1));
    let reply = bring(&server, "a@good.test", &doubtful);
    assert!(reply.starts_with("250"), "{reply}");
    let text = until("it is in Junk", || kept(&server, "Junk", "doubtful"));
    assert!(text.contains("X-Spam: Yes"), "{text}");
    assert_eq!(kept(&server, "INBOX", "doubtful"), None);
    server.stop();
}

#[test]
fn opendkim_as_a_filter() {
    let folder = Scratch::new("opendkim");
    let at = folder.path().display().to_string();
    let (key, record) = openssl_key(folder.path(), "contoso.test", "od");
    let mut knot = Knot::start(&format!("{RECORDS}{record}"));
    let port = free_port();
    let conf = format!(
        "Socket inet:{port}@127.0.0.1\nMode s\nDomain contoso.test\nSelector od\nKeyFile {key}\nSyslog no\n\
         Canonicalization relaxed/relaxed\nInternalHosts 127.0.0.1\nBackground no\nUMask 022\nRequireSafeKeys no\n\
         PidFile {at}/pid\n"
    );
    fs::write(folder.path().join("opendkim.conf"), conf).unwrap();
    let mut command = Command::new("opendkim");
    command.args(["-f", "-x"]).arg(folder.path().join("opendkim.conf"));
    let _opendkim = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    listening(port);

    let server = organisation(&folder, &knot, &[]);
    filter(&server, "opendkim", port);
    let sink = Sink::start();
    let to = sink.port().to_string();
    let words = [
        "New-SendConnector",
        "-Name",
        "sink",
        "-AddressSpaces",
        "*",
        "-SmartHosts",
        "127.0.0.1",
        "-Port",
        &to,
    ];
    self::command(&server, &words);
    let me = server.account(0).0;
    submit(&server, "x@example.net", &message(&me, "by-opendkim"));
    let taken = sink.wait(1)[0].clone();
    let found = dkimpy_lines(&["verify", &knot.port().to_string()], &taken.data);
    assert_eq!(found, ["True contoso.test od"], "{}", taken.text());

    // It verifies what we sign, with the records in a file.
    let ours = self::command(&server, &["New-DkimSigningConfig", "contoso.test", "-Force"]);
    knot.replace(&format!("{RECORDS}{record}{}", zone_lines(&ours)));
    self::command(&server, &["Remove-MailFilter", "opendkim", "-Confirm:$false"]);
    let signed = until("it signs by itself", || {
        let before = sink.taken().len();
        submit(&server, "x@example.net", &message(&me, "by-us"));
        sink.wait(before + 1).last().filter(|m| m.text().contains("-r; t=")).cloned()
    });
    let mut check = Command::new("opendkim");
    let name = folder.path().join("signed.eml");
    fs::write(&name, &signed.data).unwrap();
    let servers = folder.path().join("verify.conf");
    let table: String = ours
        .iter()
        .map(|k| format!("{} {}\n", k["RecordName"].as_str().unwrap(), k["Record"].as_str().unwrap()))
        .collect();
    let data = folder.path().join("dns");
    fs::write(&data, table).unwrap();
    fs::write(&servers, format!("Mode v\nSyslog no\nRequireSafeKeys no\nTestDNSData {}\n", data.display()))
        .unwrap();
    let out = check.arg("-x").arg(&servers).args(["-v", "-t"]).arg(&name).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(text.contains(", d=contoso.test, 2048-bit key) succeeded"), "{text}");
    server.stop();
}
