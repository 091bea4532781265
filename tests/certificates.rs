//! Certificates for clients: brought in, bound, shown by name, refused with the reason, got by ACME. With Debian's openssl
//! and pebble at the other end.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use waypost_tests::line::Line;
use waypost_tests::pki::{Issued, Pki, run, s_client, shown, text};
use waypost_tests::server::{Scratch, Server, binary};

/// Looks until it is so; servers take their time, tests must not depend on how much.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{what} did not happen in 60 s");
}

fn path(at: &Path) -> &str {
    at.to_str().unwrap()
}

/// Imports a certificate; gives its thumbprint.
fn import(server: &Server, issued: &Issued) -> String {
    let words = ["Import-ExchangeCertificate", path(&issued.chain), "-KeyFileName", path(&issued.key)];
    let record = server.command(&words).unwrap();
    record["Thumbprint"].as_str().unwrap().to_owned()
}

/// Binds it. A machine that has a hundred other things to do may be too slow for a rehearsal: then once more.
fn enable(server: &Server, thumbprint: &str, services: &str) {
    let mut said = String::new();
    for _ in 0..5 {
        match server.command(&["Enable-ExchangeCertificate", thumbprint, "-Services", services]) {
            Ok(_) => return,
            Err(e) => said = e,
        }
        assert!(said.contains("REHEARSAL-TIMEOUT"), "{said}");
    }
    panic!("{said}");
}

fn records(server: &Server, words: &[&str]) -> Vec<Value> {
    let out =
        Command::new(binary()).arg("--data").arg(server.data()).args(words).arg("--json").output().unwrap();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn by_name_at_once_and_without_dropping_anybody() {
    let scratch = Scratch::new("pki-sni");
    let pki = Pki::new(scratch.path());
    let server = Server::start("sni");
    let imaps = server.address("imaps");
    let (a, b) = (pki.issue("a", &["mail.a.test"]), pki.issue("b", &["mail.b.test", "*.b.test"]));
    let (a, b) = (import(&server, &a), import(&server, &b));
    let before = shown(imaps, &["-servername", "mail.a.test"]);
    assert!(!before.contains("mail.a.test"), "importing binds nothing: {before}");

    // A session that stands while everything changes around it.
    let mut session = Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
    let mut tls = OverTls::open(imaps);
    enable(&server, &a, "IMAP,POP");
    server.command(&["Enable-Certificate", &b, "-Services", "imap"]).unwrap();
    assert!(shown(imaps, &["-servername", "mail.a.test"]).contains("mail.a.test"));
    assert!(shown(imaps, &["-servername", "mail.b.test"]).contains("mail.b.test"));
    assert!(shown(imaps, &["-servername", "imap.b.test"]).contains("mail.b.test"));
    assert!(
        shown(server.address("imap"), &["-starttls", "imap", "-servername", "mail.b.test"])
            .contains("mail.b.test")
    );
    assert!(shown(server.address("pop3s"), &["-servername", "mail.b.test"]).contains("mail.a.test"));
    assert_eq!(shown(server.address("submissions"), &["-servername", "mail.a.test"]), before);
    assert!(session.imap("n", "NOOP").unwrap().last().unwrap().starts_with("n OK"));
    assert!(tls.noop().contains("OK"));

    // Without a name, or with one that none has: the first, or what X509CertificateName chooses.
    assert!(shown(imaps, &["-noservername"]).contains("mail.b.test"));
    server.command(&["Set-ImapSettings", "-X509CertificateName", "mail.a.test", "-Force"]).unwrap();
    assert!(shown(imaps, &["-noservername"]).contains("mail.a.test"));

    let all = records(&server, &["Get-ExchangeCertificate"]);
    let services = |thumbprint: &str| -> String {
        let found = all.iter().find(|r| r["Thumbprint"] == thumbprint).unwrap();
        found["Services"].as_str().unwrap().to_owned()
    };
    assert_eq!((services(&a).as_str(), services(&b).as_str()), ("IP", "I"));
    let first = &records(&server, &["Get-ExchangeCertificate", "-DomainName", "x.b.test"])[0];
    assert_eq!(first["Thumbprint"], b.as_str());
    assert_eq!(first["Status"], "Untrusted");

    // Bound ones stay; unbound ones go.
    let refused = server.command(&["Remove-ExchangeCertificate", &a, "-Confirm:$false"]).unwrap_err();
    assert!(refused.contains("imap, pop show this certificate"), "{refused}");
    server.command(&["Disable-ExchangeCertificate", &a]).unwrap();
    assert!(shown(server.address("pop3s"), &[]) == before, "the default is back");
    server.command(&["Remove-ExchangeCertificate", &a, "-Confirm:$false"]).unwrap();
    assert!(tls.noop().contains("OK"));
}

/// An IMAP session over TLS that stays open, by openssl.
struct OverTls {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    count: u32,
}

impl OverTls {
    fn open(address: SocketAddr) -> OverTls {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        lines.read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("* OK"), "{greeting}");
        OverTls { child, lines, count: 0 }
    }

    fn noop(&mut self) -> String {
        self.count += 1;
        let tag = format!("t{} ", self.count);
        self.child.stdin.as_mut().unwrap().write_all(format!("{tag}NOOP\r\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the session has ended");
            if line.starts_with(&tag) {
                return line;
            }
        }
    }
}

impl Drop for OverTls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_reason() {
    let scratch = Scratch::new("pki-refused");
    let pki = Pki::new(scratch.path());
    let server = Server::start("refused");
    let imaps = server.address("imaps");
    let before = shown(imaps, &[]);
    let bind = |thumbprint: &str| {
        server.command(&["Enable-ExchangeCertificate", thumbprint, "-Services", "IMAP,POP,IIS"])
    };

    let expired = import(&server, &pki.expired("expired", &["mail.a.test"]));
    let said = bind(&expired).unwrap_err();
    assert!(said.contains("[CERT-EXPIRED] CN=mail.a.test expired at 2020-01-31"), "{said}");
    let early = import(&server, &pki.not_yet("early", &["mail.a.test"]));
    assert!(bind(&early).unwrap_err().contains("[CERT-NOT-YET]"));
    let wrong = pki.wrong_key("wrong", &["mail.a.test"]);
    let words = ["Import-ExchangeCertificate", path(&wrong.chain), "-KeyFileName", path(&wrong.key)];
    assert!(server.command(&words).unwrap_err().contains("The private key belongs to another certificate"));

    // What happens to files behind our back is found out when it is to be bound.
    let sound = import(&server, &pki.issue("sound", &["mail.a.test"]));
    let key = server.data().join("public/certificates").join(format!("{sound}.key"));
    let good = fs::read(&key).unwrap();
    fs::copy(&wrong.key, &key).unwrap();
    assert!(bind(&sound).unwrap_err().contains("[CERT-KEY-MISMATCH]"));
    fs::remove_file(&key).unwrap();
    assert!(bind(&sound).unwrap_err().contains("[CERT-KEY-MISSING]"));
    assert!(bind(&"0".repeat(40)).unwrap_err().contains("couldn't be found"));
    assert_eq!(shown(imaps, &[]), before, "nothing of this was put in place");

    // Forced, it is put in place and noted; undone with one command.
    fs::write(&key, good).unwrap();
    server.command(&["Enable-ExchangeCertificate", &expired, "-Services", "IMAP", "-Force"]).unwrap();
    assert!(shown(imaps, &[]).contains("mail.a.test"));
    let status = records(&server, &["Get-ExchangeCertificate", &expired]);
    assert_eq!(status[0]["Status"], "DateInvalid");
    let tested = records(&server, &["Test-ExchangeCertificate", "-Services", "IMAP"]);
    assert!(tested.iter().any(|r| r["Code"] == "CERT-EXPIRED" && r["Result"] == "Failure"), "{tested:?}");
    let history = fs::read_dir(server.data().join("settings.d")).unwrap();
    let forced =
        history.flatten().any(|v| fs::read_to_string(v.path()).unwrap().contains("# forced: [CERT-EXPIRED]"));
    assert!(forced, "the history says that it was forced");
    server.command(&["Undo-WaypostSetting", "-Confirm:$false"]).unwrap();
    assert_eq!(shown(imaps, &[]), before);
    // What was refused by its file is bound when the file is right again.
    bind(&sound).unwrap();
    assert!(shown(imaps, &[]).contains("mail.a.test"));
}

/// As a user who may not read the key: the reason names user, owner and mode.
#[test]
fn a_key_that_the_role_cannot_read() {
    let scratch = Scratch::new("pki-denied");
    let pki = Pki::new(&scratch.path().join("pki"));
    let issued = pki.issue("a", &["mail.a.test"]);
    let data = scratch.path().join("home/data");
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    run(Command::new("chown").arg("-R").arg("nobody:nogroup").arg(data.parent().unwrap()));
    run(Command::new("chmod").arg("755").arg(scratch.path()));
    let program = scratch.path().join("waypost");
    fs::copy(binary(), &program).unwrap();
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(&program);
    let server = Server::start_by(&data, as_nobody);
    let thumbprint = import(&server, &Issued { chain: readable(&issued.chain), key: readable(&issued.key) });
    let key = data.join("public/certificates").join(format!("{thumbprint}.key"));
    run(Command::new("chown").arg("root:root").arg(&key));
    let said = server.command(&["Enable-ExchangeCertificate", &thumbprint, "-Services", "IMAP"]).unwrap_err();
    assert!(said.contains("[CERT-KEY-DENIED] nobody cannot read"), "{said}");
    assert!(
        said.contains("Permission denied (os error 13)") && said.contains("root:root with mode 0600"),
        "{said}"
    );
    // A certificate that is bound when it becomes unreadable stays in memory, and takes nothing else along.
    run(Command::new("chown").arg("nobody:nogroup").arg(&key));
    enable(&server, &thumbprint, "IMAP");
    run(Command::new("chown").arg("root:root").arg(&key));
    run(Command::new("kill").args(["-HUP", &server.pid().to_string()]));
    until("the warning", || server.log_text().contains("CERT-KEY-DENIED"));
    assert!(shown(server.address("imaps"), &[]).contains("mail.a.test"));
    Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
}

fn readable(file: &Path) -> std::path::PathBuf {
    run(Command::new("chmod").arg("644").arg(file));
    run(Command::new("chmod").arg("755").arg(file.parent().unwrap()));
    file.to_owned()
}

#[test]
fn without_any_certificate_everything_else_goes_on() {
    let scratch = Scratch::new("dark");
    let data = scratch.path().join("data");
    Server::start_in(&data).stop();
    // The key of another: nothing can be shown.
    run(Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
        .arg(data.join("public/public.key")));
    let mut server = Server::start_in(&data);
    server.expect_error("no TLS for clients");
    let mut imap = Line::connect(server.address("imap")).unwrap();
    let greeting = imap.line().unwrap();
    let capabilities = imap.imap("c", "CAPABILITY").unwrap().join(" ");
    assert!(!capabilities.contains("STARTTLS"), "{greeting} {capabilities}");
    assert!(imap.imap("s", "STARTTLS").unwrap().last().unwrap().starts_with("s BAD"));
    assert_eq!(shown(server.address("imaps"), &[]), "");
    // Loopback is as good as TLS, so that people get in.
    Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    assert!(
        smtp.deliver("a@example.net", &server.account(0).0, b"Subject: x\r\n\r\nx\r\n")
            .unwrap()
            .starts_with("250")
    );
    assert!(server.log_text().contains("no TLS for clients"));
    let tested = records(&server, &["Test-ExchangeCertificate", "-Services", "IMAP"]);
    assert!(tested.iter().any(|r| r["Code"] == "CERT-KEY-MISMATCH"), "{tested:?}");
}

#[test]
fn pfx_pem_and_requests_with_openssl() {
    let scratch = Scratch::new("pki-forms");
    let pki = Pki::new(scratch.path());
    let server = Server::start("forms");
    let legacy: [&[&str]; 3] =
        [&[], &["-legacy"], &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]];
    for (number, options) in legacy.iter().enumerate() {
        let issued = pki.issue(&format!("p{number}"), &[&format!("p{number}.test")]);
        let pfx = pki.pfx(&issued, &format!("p{number}.pfx"), "geheim", options);
        let wrong =
            server.command(&["Import-ExchangeCertificate", path(&pfx), "-Password", "other"]).unwrap_err();
        assert!(wrong.contains("password"), "{wrong}");
        let words = [
            "Import-ExchangeCertificate",
            path(&pfx),
            "-Password",
            "geheim",
            "-PrivateKeyExportable",
            "$true",
        ];
        let record = server.command(&words).unwrap();
        assert_eq!(record["HasPrivateKey"], true);
        let out = pki.file(&format!("out{number}.pfx"));
        let thumbprint = record["Thumbprint"].as_str().unwrap();
        let mut words =
            vec!["Export-ExchangeCertificate", thumbprint, "-FileName", path(&out), "-Password", "word"];
        words.extend((number == 1).then_some("-Legacy"));
        server.command(&words).unwrap();
        let mut opened = Command::new("openssl");
        opened.args(["pkcs12", "-nodes", "-passin", "pass:word", "-in"]).arg(&out);
        opened.args((number == 1).then_some("-legacy"));
        let opened = run(&mut opened);
        assert!(opened.contains("PRIVATE KEY") && opened.contains("Contoso CA 1"), "{opened}");
    }
    let kept = import(&server, &pki.issue("kept", &["kept.test"]));
    let refused = server.command(&["Export-ExchangeCertificate", &kept, "-Password", "x"]).unwrap_err();
    assert!(refused.contains("not exportable"), "{refused}");

    // A request, answered as PKCS #7 with the whole chain.
    let csr = pki.file("asked.csr");
    let words = ["New-ExchangeCertificate", "-GenerateRequest", "-DomainName", "asked.test,www.asked.test"];
    let rest = ["-SubjectName", "CN=asked.test, O=Contoso", "-RequestFile", path(&csr), "-KeySize", "2048"];
    let asked = server.command(&[words.as_slice(), rest.as_slice()].concat()).unwrap();
    assert_eq!(asked["Status"], "PendingRequest");
    run(Command::new("openssl").args(["req", "-verify", "-noout", "-in"]).arg(&csr));
    let pending = asked["Thumbprint"].as_str().unwrap();
    assert!(
        server
            .command(&["Enable-Certificate", pending, "-Services", "IMAP"])
            .unwrap_err()
            .contains("is a request")
    );
    let answer = pki.answer("asked", &["asked.test", "www.asked.test"], "", &["-days", "90"]);
    let bundle = pki.file("asked.p7b");
    let mut pack = Command::new("openssl");
    run(pack.args(["crl2pkcs7", "-nocrl", "-certfile"]).arg(&answer.chain).arg("-out").arg(&bundle));
    let done = server.command(&["Import-ExchangeCertificate", path(&bundle)]).unwrap();
    assert_eq!((&done["HasPrivateKey"], &done["PublicKeySize"]), (&Value::from(true), &Value::from(2048)));
    let thumbprint = done["Thumbprint"].as_str().unwrap();
    enable(&server, thumbprint, "SMTP");
    let root = pki.root();
    let options = ["-starttls", "smtp", "-servername", "asked.test", "-CAfile", path(&root)];
    let seen = text(&s_client(server.address("submission"), &options).stdout);
    assert!(seen.contains("Verify return code: 0 (ok)"), "the chain is whole: {seen}");
    assert!(!records(&server, &["Get-ExchangeCertificate"]).iter().any(|r| r["Status"] == "PendingRequest"));
}

/// A program that runs beside a test and goes with it.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    waypost_tests::ports::free()
}

#[test]
fn an_ocsp_answer_is_stapled() {
    let scratch = Scratch::new("pki-ocsp");
    let pki = Pki::new(scratch.path());
    let port = free_port();
    let access = format!("authorityInfoAccess=OCSP;URI:http://127.0.0.1:{port}/");
    let issued = pki.issue_with("stapled", &["stapled.test"], &access, &["-days", "90"]);
    let serial =
        run(Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(pki.file("stapled.crt")));
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    fs::write(pki.file("index.txt"), format!("V\t350101000000Z\t\t{serial}\tunknown\t/CN=stapled.test\n"))
        .unwrap();
    let responder = Command::new("openssl")
        .args(["ocsp", "-port", &port.to_string(), "-ndays", "7", "-index"])
        .arg(pki.file("index.txt"))
        .arg("-CA")
        .arg(pki.file("ca.crt"))
        .arg("-rsigner")
        .arg(pki.file("ca.crt"))
        .arg("-rkey")
        .arg(pki.file("ca.key"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _responder = Beside(responder);
    let server = Server::start("ocsp");
    let thumbprint = import(&server, &issued);
    enable(&server, &thumbprint, "IMAP");
    let status =
        || text(&s_client(server.address("imaps"), &["-status", "-servername", "stapled.test"]).stdout);
    until("the stapled answer", || status().contains("OCSP Response Status: successful"));
    assert!(status().contains("Cert Status: good"));
    let known = &records(&server, &["Get-ExchangeCertificate", &thumbprint])[0];
    assert_eq!(known["OcspState"], "Good");
}

/// Pebble with its own DNS, where every name is this machine.
pub(crate) struct Pebble {
    _programs: [Beside; 2],
    pub(crate) directory: String,
    pub(crate) root: std::path::PathBuf,
    pub(crate) http: u16,
    tls: u16,
}

impl Pebble {
    fn start(folder: &Path) -> Pebble {
        Pebble::start_for(folder, 5 * 365 * 24 * 3600)
    }

    /// Its certificates are for so many seconds.
    pub(crate) fn start_for(folder: &Path, seconds: u64) -> Pebble {
        let pki = Pki::new(&folder.join("pebble"));
        let issued = pki.issue_with("pebble", &["localhost"], "", &["-days", "30"]);
        let [listen, manage, dns, dns_manage, http, tls] = [(); 6].map(|()| free_port());
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{manage}"),
            "certificate": issued.chain,
            "privateKey": issued.key,
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        let file = folder.join("pebble.json");
        fs::write(&file, config.to_string()).unwrap();
        let names = Command::new("pebble-challtestsrv")
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-defaultIPv6", "", "-defaultIPv4", "127.0.0.1", "-dns01", &format!("127.0.0.1:{dns}")])
            .args(["-management", &format!("127.0.0.1:{dns_manage}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pebble = Command::new("pebble")
            .args(["-strict", "-dnsserver", &format!("127.0.0.1:{dns}"), "-config"])
            .arg(&file)
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_VA_ALWAYS_VALID", "0")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .stdout(fs::File::create(folder.join("pebble.log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let programs = [Beside(names), Beside(pebble)];
        until("its name server", || std::net::TcpStream::connect(("127.0.0.1", dns)).is_ok());
        until("pebble", || std::net::TcpStream::connect(("127.0.0.1", listen)).is_ok());
        let directory = format!("https://localhost:{listen}/dir");
        Pebble { _programs: programs, directory, root: pki.root(), http, tls }
    }
}

fn set(server: &Server, key: &str, value: &str) {
    server.command(&["Set-WaypostSetting", key, value]).unwrap();
}

#[test]
fn acme_by_http_and_by_tls() {
    let scratch = Scratch::new("acme");
    let pebble = Pebble::start(scratch.path());
    let server = Server::start("acme");
    let imaps = server.address("imaps");
    for (key, value) in [
        ("acme.directory", pebble.directory.as_str()),
        ("acme.ca_file", path(&pebble.root)),
        ("acme.contact", "postmaster@contoso.test"),
        ("acme.names", r#"["mail.contoso.test", "imap.contoso.test"]"#),
        ("acme.services", r#"["imap", "pop", "smtp"]"#),
        ("acme.http_listeners", &format!("127.0.0.1:{}", pebble.http)),
        ("acme.tls_listeners", &format!("127.0.0.1:{}", pebble.tls)),
        ("acme.enabled", "true"),
    ] {
        set(&server, key, value);
    }
    let issuer = |name: &str| text(&s_client(imaps, &["-servername", name, "-showcerts"]).stdout);
    until("a certificate by HTTP", || issuer("imap.contoso.test").contains("Pebble Intermediate"));
    let all = records(&server, &["Get-ExchangeCertificate", "-DomainName", "mail.contoso.test"]);
    assert_eq!(all[0]["Services"], "IPS");
    assert_eq!(all[0]["CertificateDomains"], serde_json::json!(["mail.contoso.test", "imap.contoso.test"]));
    let key = fs::metadata(server.data().join("secret/acme.json")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&key) & 0o777, 0o600);
    // The challenges' door is shut again.
    assert!(Line::connect(SocketAddr::from(([127, 0, 0, 1], pebble.http))).is_err());

    // Other names, the other challenge; the new certificate takes the place of the old one.
    set(&server, "acme.challenge", "TlsAlpn01");
    set(&server, "acme.names", "web.contoso.test");
    until("a certificate by TLS", || {
        let seen = issuer("web.contoso.test");
        seen.contains("Pebble Intermediate")
            && records(&server, &["Get-ExchangeCertificate", "-DomainName", "web.contoso.test"])
                .first()
                .is_some_and(|r| r["Services"] == "IPS")
    });
    let old = records(&server, &["Get-ExchangeCertificate", "-DomainName", "mail.contoso.test"]);
    assert_eq!(old[0]["Services"], ".......");

    // What the authority says when it finds nobody at home.
    set(&server, "acme.tls_listeners", &format!("127.0.0.1:{}", free_port()));
    set(&server, "acme.names", "lost.contoso.test");
    let note = server.data().join("public/acme.json");
    until("the authority's words", || {
        let standing: Value =
            serde_json::from_slice(&fs::read(&note).unwrap_or_default()).unwrap_or_default();
        standing["error"].as_str().is_some_and(|e| e.contains("the authority says: "))
    });
    assert!(issuer("web.contoso.test").contains("Pebble Intermediate"), "what was bound stays");
    assert!(server.log_text().contains("ACME-FAILED"));
}
