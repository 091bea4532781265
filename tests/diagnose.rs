//! `waypost diagnose` from outside and live: Dovecot, Postfix, web servers and our own server, sound and with one fault at a
//! time, names answered by Knot, signed and not. Each fault is named, and nothing is named where nothing is wrong.

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use waypost_tests::knot::{Knot, Signed};
use waypost_tests::pki::{Issued, Pki};
use waypost_tests::ports;
use waypost_tests::server::{Scratch, Server, binary};

/// Not where the client's own address is: Dovecot trusts connections from its own.
const AT: &str = "127.0.0.2";
const HOST: &str = "mail.contoso.test";

fn run(words: &[&str]) -> Output {
    Command::new(binary()).arg("diagnose").args(words).stdin(Stdio::null()).output().unwrap()
}

fn json(out: &Output) -> Value {
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{}\n{text}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The causes that are named, in their order.
fn causes(words: &[&str]) -> Vec<String> {
    let report = json(&run(&[words, &["--json"]].concat()));
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|f| f["cause"].as_str().unwrap().to_owned()).collect()
}

/// A program that is stopped with its owner.
struct Running {
    child: Child,
    _folder: Scratch,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        // Its children go with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn until_open(address: &str, port: u16) {
    let begin = Instant::now();
    while TcpStream::connect((address, port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30), "nobody listens at {address}:{port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Clone, Copy)]
struct Ports {
    imap: u16,
    imaps: u16,
    pop: u16,
}

/// Dovecot with this certificate; `more` are further lines of its settings.
fn dovecot(issued: &Issued, ports: Ports, more: &str) -> Running {
    let folder = Scratch::new("dovecot");
    let at = folder.path();
    Command::new("chmod").arg("755").arg(at).status().unwrap();
    let Ports { imap, imaps, pop } = ports;
    let at_text = at.display();
    let conf = format!(
        "base_dir = {at_text}/run\nlog_path = {at_text}/log\nprotocols = imap pop3\nlisten = {AT}\nauth_mechanisms = plain login\n\
         mail_location = maildir:{at_text}/mail\nssl_cert = <{}\nssl_key = <{}\nssl = yes\ndisable_plaintext_auth = yes\n\
         passdb {{\n  driver = static\n  args = password=secret\n}}\nuserdb {{\n  driver = static\n  args = uid=65534 gid=65534 home={at_text}\n}}\n\
         service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = {imaps}\n    ssl = yes\n  }}\n}}\n\
         service pop3-login {{\n  chroot =\n  inet_listener pop3 {{\n    port = {pop}\n  }}\n  inet_listener pop3s {{\n    port = 0\n  }}\n}}\n{more}\n",
        issued.chain.display(),
        issued.key.display()
    );
    fs::write(at.join("conf"), conf).unwrap();
    let log = at.join("log");
    let child = Command::new("/usr/sbin/dovecot").arg("-F").arg("-c").arg(at.join("conf")).spawn();
    let running = Running { child: child.expect("Dovecot, which ./test installs"), _folder: folder, log };
    until_open(AT, imap);
    running
}

fn all_ports() -> Ports {
    Ports { imap: ports::free(), imaps: ports::free(), pop: ports::free() }
}

/// What is found at Dovecot's STARTTLS port for IMAP.
fn at_imap(pki: &Pki, ports: Ports) -> Vec<String> {
    let (port, ca) = (ports.imap.to_string(), pki.root().display().to_string());
    causes(&["imap", HOST, "--address", AT, "--port", &port, "--ca", &ca])
}

#[test]
fn dovecot_sound_and_with_each_fault() {
    let scratch = Scratch::new("diagnose-dovecot");
    let pki = Pki::new(scratch.path());
    let good = pki.issue("good", &[HOST]);
    let ports = all_ports();
    let (ca, imaps, pop) = (pki.root().display().to_string(), ports.imaps.to_string(), ports.pop.to_string());
    {
        let _dovecot = dovecot(&good, ports, "");
        assert_eq!(at_imap(&pki, ports), Vec::<String>::new());
        assert!(causes(&["imap", HOST, "--address", AT, "--port", &imaps, "--ca", &ca]).is_empty());
        assert!(causes(&["pop", HOST, "--address", AT, "--port", &pop, "--ca", &ca]).is_empty());
        // Nobody trusts an authority that is not named.
        let unknown = causes(&["imap", HOST, "--address", AT, "--port", &imaps, "--tls", "implicit"]);
        assert_eq!(unknown, ["OUTSIDE-CERT-UNTRUSTED"]);
        let signed_in = |password: &str| {
            let words = ["diagnose", "imap", HOST, "--address", AT, "--port", &imaps, "--ca", &ca];
            let mut child = Command::new(binary())
                .args(words)
                .args(["--user", "amy", "--json"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
            json(&child.wait_with_output().unwrap())
        };
        assert_eq!(signed_in("secret")["seen"]["doors"][0]["sign_in"]["worked"], Value::Bool(true));
        assert_eq!(signed_in("wrong")["findings"][0]["cause"], Value::from("OUTSIDE-SIGN-IN"));
    }
    let with = |issued: &Issued, more: &str| {
        let _dovecot = dovecot(issued, ports, more);
        at_imap(&pki, ports)
    };
    assert_eq!(with(&pki.expired("expired", &[HOST]), ""), ["OUTSIDE-CERT-EXPIRED"]);
    assert_eq!(with(&pki.issue("other", &["www.contoso.test"]), ""), ["OUTSIDE-CERT-NAME"]);
    assert_eq!(with(&own_issuer(&pki), ""), ["OUTSIDE-CERT-SELF-SIGNED"]);
    let alone = Issued { chain: pki.file("good.crt"), key: good.key.clone() };
    assert_eq!(with(&alone, ""), ["OUTSIDE-CERT-CHAIN"]);
    assert_eq!(with(&good, "ssl = no"), ["OUTSIDE-NO-STARTTLS"]);
    assert_eq!(with(&good, "disable_plaintext_auth = no"), ["OUTSIDE-PASSWORD-CLEAR"]);
    assert_eq!(at_imap(&pki, ports), ["OUTSIDE-UNREACHABLE"]);
}

/// Signed by itself.
fn own_issuer(pki: &Pki) -> Issued {
    let (chain, key) = (pki.file("own.pem"), pki.file("own.key"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "90",
    ]);
    command.args(["-subj", &format!("/CN={HOST}"), "-addext", &format!("subjectAltName=DNS:{HOST}")]);
    waypost_tests::pki::run(command.arg("-keyout").arg(&key).arg("-out").arg(&chain));
    Issued { chain, key }
}

/// Postfix with a certificate; it ends with its owner.
struct Postfix {
    folder: Scratch,
    port: u16,
}

impl Postfix {
    fn start(issued: &Issued, more: &str) -> Postfix {
        let folder = Scratch::new("diagnose-postfix");
        let at = folder.path();
        let port = ports::free();
        Command::new("chmod").arg("755").arg(at).status().unwrap();
        for name in ["conf", "queue", "data"] {
            fs::create_dir(at.join(name)).unwrap();
        }
        Command::new("chown").arg("postfix").arg(at.join("data")).status().unwrap();
        let at_text = at.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at_text}/queue\ndata_directory = {at_text}/data\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmyhostname = {HOST}\nmydestination = contoso.test\nlocal_recipient_maps =\nalias_maps =\n\
             alias_database =\nmynetworks = 192.0.2.0/24\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
             smtpd_peername_lookup = no\nsmtp_host_lookup = native\nsmtpd_tls_security_level = may\n\
             smtpd_tls_chain_files = {at_text}/chain.pem\nmaillog_file = {at_text}/log\nmaillog_file_prefixes = {at_text}\n{more}\n"
        );
        let both = [fs::read(&issued.key).unwrap(), fs::read(&issued.chain).unwrap()].concat();
        fs::write(at.join("chain.pem"), both).unwrap();
        fs::write(at.join("conf/main.cf"), main).unwrap();
        let dist = fs::read_to_string("/usr/share/postfix/master.cf.dist").expect("Postfix is installed");
        let line = |line: &str| {
            let line = line.replacen("smtp      inet", &format!("{AT}:{port} inet"), 1);
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
        fs::write(at.join("conf/master.cf"), master.join("\n") + "\n").unwrap();
        waypost_tests::pki::run(Command::new("postfix").arg("-c").arg(at.join("conf")).arg("start"));
        until_open(AT, port);
        Postfix { folder, port }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let conf = self.folder.path().join("conf");
        let _ = Command::new("postfix").arg("-c").arg(conf).arg("stop").output();
    }
}

/// `openssl` as a web server of the files in a folder.
fn web(issued: &Issued, folder: &Path, port: u16) -> Running {
    let log = folder.join("web.log");
    let child = Command::new("openssl")
        .args(["s_server", "-WWW", "-quiet", "-accept", &format!("{AT}:{port}"), "-key"])
        .arg(&issued.key)
        .arg("-cert")
        .arg(&issued.chain)
        .arg("-cert_chain")
        .arg(&issued.chain)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let running = Running { child, _folder: Scratch::new("diagnose-web"), log };
    until_open(AT, port);
    running
}

const ZONE: &str = "contoso.test. MX 10 mail.contoso.test.\ncontoso.test. TXT \"v=spf1 mx -all\"\nmail.contoso.test. A 127.0.0.2\n\
    mta-sts.contoso.test. A 127.0.0.2\n_mta-sts.contoso.test. TXT \"v=STSv1; id=1\"\n\
    _smtp._tls.contoso.test. TXT \"v=TLSRPTv1; rua=mailto:tls@contoso.test\"\n\
    _dmarc.contoso.test. TXT \"v=DMARC1; p=reject\"\n";

#[test]
fn postfix_and_what_its_domain_promises() {
    let scratch = Scratch::new("diagnose-postfix");
    let pki = Pki::new(scratch.path());
    let good = pki.issue("good", &[HOST]);
    let policy = pki.issue("policy", &["mta-sts.contoso.test"]);
    let mut knot = Knot::start(ZONE);
    let pages = scratch.path().join("www");
    fs::create_dir_all(pages.join(".well-known")).unwrap();
    let promise = |mx: &str| {
        let text = format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 86400\n");
        fs::write(pages.join(".well-known/mta-sts.txt"), text).unwrap();
    };
    let web_port = ports::free();
    let (ca, dns, https) =
        (pki.root().display().to_string(), format!("127.0.0.1:{}", knot.port()), web_port.to_string());
    let web_server = web(&policy, &pages, web_port);
    let ask = |kind: &str, postfix: &Postfix| {
        let port = postfix.port.to_string();
        causes(&[kind, "contoso.test", "--port", &port, "--dns", &dns, "--ca", &ca, "--https-port", &https])
    };
    promise("*.contoso.test");
    {
        let postfix = Postfix::start(&good, "");
        assert_eq!(ask("smtp", &postfix), Vec::<String>::new());
        assert_eq!(ask("mail", &postfix), Vec::<String>::new());
        promise("mx.fabrikam.test");
        assert_eq!(ask("smtp", &postfix), ["OUTSIDE-MTA-STS-MISMATCH"]);
        promise("*.contoso.test");
        // These name servers have no DNSSEC at all, so it is not known what senders make of the record.
        knot.replace(&format!(
            "{ZONE}_{}._tcp.mail.contoso.test. TLSA 3 1 1 {}\n",
            postfix.port,
            "ab".repeat(32)
        ));
        assert_eq!(ask("smtp", &postfix), ["OUTSIDE-DANE-MISMATCH"]);
        let without = ZONE.replace("v=spf1 mx -all", "v=spf1 mx +all").replace("p=reject", "p=refuse");
        knot.replace(&without);
        assert_eq!(ask("mail", &postfix), ["OUTSIDE-SPF-OPEN", "OUTSIDE-DMARC-INVALID"]);
        knot.replace(&ZONE.replace("mail.contoso.test. A", "elsewhere.contoso.test. A"));
        assert_eq!(ask("smtp", &postfix)[0], "OUTSIDE-MX-BROKEN");
        knot.replace(ZONE);
    }
    {
        let postfix = Postfix::start(&pki.expired("expired", &[HOST]), "mynetworks = 127.0.0.0/8\n");
        let found = ask("smtp", &postfix);
        assert_eq!(found[0], "OUTSIDE-CERT-EXPIRED", "{found:?}");
        assert!(
            ["OUTSIDE-MTA-STS-BROKEN", "OUTSIDE-OPEN-RELAY"].iter().all(|c| found.iter().any(|f| f == c)),
            "{found:?}"
        );
        assert_eq!(found.len(), 3);
    }
    let postfix = Postfix::start(&good, "smtpd_tls_security_level = none\n");
    let found = ask("smtp", &postfix);
    assert_eq!(found, ["OUTSIDE-NO-STARTTLS", "OUTSIDE-MTA-STS-BROKEN"]);
    drop(web_server);
    assert!(ask("smtp", &postfix).iter().any(|c| c == "OUTSIDE-MTA-STS-FETCH"));
}

/// SHA-256 of the public key of a certificate, in hexadecimal, as OpenSSL has it.
fn key_digest(issued: &Issued) -> String {
    let out = Command::new("sh")
        .arg("-c")
        .arg("openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r")
        .arg(&issued.chain)
        .output()
        .expect("openssl");
    String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap().to_owned()
}

#[test]
fn dnssec_and_dane() {
    let scratch = Scratch::new("diagnose-dane");
    let pki = Pki::new(scratch.path());
    let good = pki.issue("good", &[HOST, "mail.plain.test"]);
    let postfix = Postfix::start(&good, "");
    let port = postfix.port.to_string();
    let records = |zone: &str, tlsa: &str| {
        let tlsa =
            if tlsa.is_empty() { String::new() } else { format!("_{port}._tcp.mail.{zone} TLSA {tlsa}\n") };
        format!("{zone} MX 10 mail.{zone}\nmail.{zone} A {AT}\n{tlsa}")
    };
    let fits = format!("3 1 1 {}", key_digest(&good));
    let mut knot = Signed::start(&records("contoso.test.", &fits), &records("plain.test.", &fits));
    let (dns, anchor, ca) =
        (knot.address(), knot.anchor().display().to_string(), pki.root().display().to_string());
    let seen = |domain: &str, more: &[&str]| {
        let words = ["smtp", domain, "--port", &port, "--dns", &dns, "--ca", &ca, "--json"];
        json(&run(&[words.as_slice(), more].concat()))
    };
    let found = |report: &Value| -> Vec<String> {
        let all = report["findings"].as_array().unwrap();
        all.iter().map(|f| f["cause"].as_str().unwrap().to_owned()).collect()
    };
    let proof = |report: &Value, kind: &str| -> String {
        let lookups = report["seen"]["lookups"].as_array().unwrap();
        let one = lookups.iter().find(|l| l["kind"] == kind && l["dnssec"].is_object());
        one.map(|l| l["dnssec"]["proof"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    let with = ["--anchor", anchor.as_str()];
    let sound = seen("contoso.test", &with);
    assert_eq!(found(&sound), Vec::<String>::new(), "{sound}");
    for kind in ["MX", "A", "AAAA", "TLSA"] {
        assert_eq!(proof(&sound, kind), "secure", "{kind}: {sound}");
    }
    // With the root's usual keys this DNS cannot be checked, and nothing is claimed.
    let unknown = seen("contoso.test", &[]);
    assert_eq!((found(&unknown), proof(&unknown, "MX").as_str()), (Vec::new(), "indeterminate"), "{unknown}");
    assert!(unknown["unread"].to_string().contains("DNSSEC was not checked"), "{unknown}");
    // An authority that nobody trusts is good where DANE names the key.
    let alone =
        json(&run(&["smtp", "contoso.test", "--port", &port, "--dns", &dns, "--anchor", &anchor, "--json"]));
    assert_eq!(found(&alone), Vec::<String>::new(), "{alone}");
    let plain = seen("plain.test", &with);
    assert_eq!(
        (found(&plain), proof(&plain, "TLSA").as_str()),
        (vec!["OUTSIDE-DANE-INSECURE".to_owned()], "insecure"),
        "{plain}"
    );
    assert!(
        plain["findings"][0]["conclusion"].as_str().unwrap().contains("plain.test. is not signed"),
        "{plain}"
    );
    let digest = knot.digest();
    for (tlsa, cause) in [
        (format!("3 1 1 {}", "ab".repeat(32)), "OUTSIDE-DANE-MISMATCH"),
        (format!("2 1 1 {}", key_digest(&good)), "OUTSIDE-DANE-MISMATCH"),
        (format!("1 1 1 {}", key_digest(&good)), "OUTSIDE-DANE-UNUSABLE"),
    ] {
        knot.replace(&digest, &records("contoso.test.", &tlsa), "");
        assert_eq!(found(&seen("contoso.test", &with)), [cause], "{tlsa}");
    }
    // No record at all is proved, too.
    knot.replace(&digest, &records("contoso.test.", ""), "");
    let none = seen("contoso.test", &with);
    assert_eq!((found(&none), proof(&none, "TLSA").as_str()), (Vec::new(), "secure"), "{none}");
    // A DS record of a key that is not in use.
    let tag = digest.split(' ').nth(2).unwrap().to_owned();
    let wrong = format!("contoso.test. DS {tag} 13 2 {}", "cd".repeat(32));
    knot.replace(&wrong, &records("contoso.test.", &fits), "");
    let broken = seen("contoso.test", &with);
    assert_eq!(found(&broken)[0], "OUTSIDE-DNSSEC-BOGUS", "{broken}");
    let evidence = broken["findings"][0]["evidence"].to_string();
    assert!(evidence.contains("DS record of contoso.test.") && evidence.contains(&tag), "{evidence}");
}

/// `openssl` as a web server that answers with the files of a folder as they are, status and all.
fn site(issued: &Issued, folder: &Path, at: &str, port: u16) -> Running {
    let child = Command::new("openssl")
        .args(["s_server", "-HTTP", "-quiet", "-accept", &format!("{at}:{port}"), "-key"])
        .arg(&issued.key)
        .arg("-cert")
        .arg(&issued.chain)
        .arg("-cert_chain")
        .arg(&issued.chain)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let running = Running { child, _folder: Scratch::new("diagnose-site"), log: folder.join("none") };
    until_open(at, port);
    running
}

/// Answers every question in the clear with the text as it is at that time.
fn in_the_clear(at: &str, answer: &Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind((at, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::clone(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = [0; 2048];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(answer.lock().unwrap().as_bytes());
        }
    });
    port
}

const ROOT_AT: &str = "127.0.0.2";
const HOST_AT: &str = "127.0.0.3";
const MAIL_AT: &str = "127.0.0.4";
const SETTINGS: &str =
    "contoso.test. A 127.0.0.2\nautodiscover.contoso.test. A 127.0.0.3\nmail.contoso.test. A 127.0.0.4\n";
const NONE: &str = "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const EXCHANGE: &str = "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n\
    WWW-Authenticate: Basic realm=\"autodiscover.contoso.test\"\r\nContent-Length: 0\r\n\r\n";

#[test]
fn settings_for_clients_by_every_way() {
    let scratch = Scratch::new("diagnose-settings");
    let pki = Pki::new(scratch.path());
    let names = ["contoso.test", "autodiscover.contoso.test", "mail.contoso.test"];
    let (good, other) = (pki.issue("good", &names), pki.issue("other", &["www.contoso.test"]));
    let mut knot = Knot::start(SETTINGS);
    let folder = |name: &str, answer: &str| {
        let at = scratch.path().join(name);
        fs::create_dir_all(at.join("autodiscover")).unwrap();
        fs::write(at.join("autodiscover/autodiscover.xml"), answer).unwrap();
        at
    };
    let (root, host, mail) = (folder("root", NONE), folder("host", EXCHANGE), folder("mail", EXCHANGE));
    let clear = Arc::new(Mutex::new(NONE.to_owned()));
    let (port, http) = (ports::free(), in_the_clear(HOST_AT, &clear).to_string());
    let (dns, ca, https) =
        (format!("127.0.0.1:{}", knot.port()), pki.root().display().to_string(), port.to_string());
    let words = ["--dns", &dns, "--ca", &ca, "--https-port", &https, "--http-port", &http];
    let ask = |domain: &str| causes(&[&["autodiscover", domain], words.as_slice()].concat());
    let nobody = Vec::<String>::new();
    let _root = site(&good, &root, ROOT_AT, port);
    {
        let _host = site(&good, &host, HOST_AT, port);
        assert_eq!(ask("contoso.test"), nobody);
        assert_eq!(ask("autodiscover.contoso.test"), nobody, "as people ask who see the name in a warning");
        let out = run(&[&["autodiscover", "contoso.test"], words.as_slice()].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.contains("sign-in by Negotiate, NTLM, Basic"), "{text}");
        let page = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html><html>Welcome</html>";
        folder("root", page);
        assert_eq!(ask("contoso.test"), ["OUTSIDE-AUTODISCOVER-WEBSITE"]);
        folder("root", NONE);
        EXCHANGE.clone_into(&mut clear.lock().unwrap());
        assert_eq!(ask("contoso.test"), ["OUTSIDE-PASSWORD-CLEAR"]);
        NONE.clone_into(&mut clear.lock().unwrap());
        folder("host", "HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask("contoso.test"), ["OUTSIDE-HTTP-ERROR"]);
        folder("host", NONE);
        assert_eq!(ask("contoso.test"), ["OUTSIDE-AUTODISCOVER-NONE"]);
    }
    {
        let _host = site(&other, &host, HOST_AT, port);
        assert_eq!(ask("contoso.test"), ["OUTSIDE-AUTODISCOVER-CERT"]);
    }
    // The host has no TLS, its port 80 leads on.
    let lead = |to: &str| {
        *clear.lock().unwrap() = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    };
    let _mail = site(&good, &mail, MAIL_AT, port);
    lead("https://mail.contoso.test/autodiscover/autodiscover.xml");
    assert_eq!(ask("contoso.test"), nobody);
    for astray in [
        "/autodiscover/autodiscover.xml",
        "https://gone.contoso.test/autodiscover/autodiscover.xml",
        "http://169.254.169.254/latest/meta-data/",
    ] {
        lead(astray);
        assert_eq!(ask("contoso.test"), ["OUTSIDE-AUTODISCOVER-REDIRECT"], "{astray}");
    }
    NONE.clone_into(&mut clear.lock().unwrap());
    let record = |port: u16, host: &str| {
        format!(
            "contoso.test. A {ROOT_AT}\n{host} A {MAIL_AT}\n_autodiscover._tcp.contoso.test. SRV 0 0 {port} {host}\n"
        )
    };
    knot.replace(&record(port, "mail.contoso.test."));
    assert_eq!(ask("contoso.test"), nobody);
    knot.replace(&record(ports::free(), "mail.contoso.test."));
    assert_eq!(ask("contoso.test"), ["OUTSIDE-SRV-BROKEN"]);
    knot.replace(&format!("contoso.test. A {ROOT_AT}\n"));
    assert_eq!(ask("contoso.test"), ["OUTSIDE-AUTODISCOVER-NONE"]);
}

#[test]
fn our_own_server_from_outside_and_live() {
    let server = Server::start("diagnose");
    let port = |listener: &str| server.port(listener).to_string();
    for (kind, listener) in
        [("imap", "imaps"), ("pop", "pop3s"), ("submission", "submissions"), ("smtp", "smtp")]
    {
        let found = causes(&[kind, "localhost", "--address", "127.0.0.1", "--port", &port(listener)]);
        assert_eq!(found, ["OUTSIDE-CERT-SELF-SIGNED"], "{listener}");
    }
    let data = server.data().display().to_string();
    let live = || -> Vec<String> {
        let report = json(&run(&["--data", &data, "--json"]));
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["title"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = live();
    assert!(!before.iter().any(|t| t.contains("IMAP")), "{before:?}");
    server.command(&["Stop-Service", "imap"]).unwrap();
    let stopped = live();
    assert!(stopped.len() > before.len(), "{stopped:?}");
    server.command(&["Start-Service", "imap"]).unwrap();
    let page = server.data().join("page.html");
    let out = run(&["--data", &data, "--html", &page.display().to_string()]);
    assert!(out.status.success());
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    server.stop();
}

#[test]
fn words_and_exit_codes() {
    let mut child = Command::new(binary())
        .args(["diagnose", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Hello, nothing is wrong here.\n").unwrap();
    let report = json(&child.wait_with_output().unwrap());
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(0));
    let page = run(&["explain", "outside-cert-expired"]);
    assert!(String::from_utf8_lossy(&page.stdout).starts_with("# The certificate's time is over"));
    assert_eq!(run(&["explain", "NOTHING-LIKE-IT"]).status.code(), Some(3));
    assert_eq!(run(&["imap"]).status.code(), Some(2));
    assert_eq!(run(&["/nonexistent/bundle.zip"]).status.code(), Some(1));
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    assert!(help.contains("waypost diagnose mail example.org"), "{help}");
}
