//! Signing in: every mechanism, over every protocol, in every state of TLS, for every LoginType; and every way to fail.
//!
//! [`ROWS`] is the table. A cell says what must happen; a client that speaks the wire itself (`clients/signin.py`) plays all of
//! them, and real clients the cells that they know.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use waypost_tests::kdc::Kdc;
use waypost_tests::openid::Provider;
use waypost_tests::pki;
use waypost_tests::server::{Scratch, Server, binary};

const REALM: &str = "CONTOSO.TEST";

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// Offered, and it works.
    In,
    /// Not offered; refused with the word that TLS would help.
    Tls,
    /// Not offered; refused as unknown here.
    Never,
}
use Cell::{In, Never, Tls};

/// Mechanism; in clear by LoginType (PlainTextLogin, PlainTextAuthentication, SecureLogin); under TLS, whatever LoginType.
type Row = (&'static str, [Cell; 3], Cell);

const ROWS: [Row; 13] = [
    // The protocol's own command: LOGIN of IMAP, USER and PASS of POP3. SMTP has none.
    ("VERB", [In, Tls, Tls], In),
    ("PLAIN", [In, Tls, Tls], In),
    ("LOGIN", [In, Tls, Tls], In),
    ("SCRAM-SHA-1", [In, In, Tls], In),
    ("SCRAM-SHA-256", [In, In, Tls], In),
    ("SCRAM-SHA-1-PLUS", [Tls, Tls, Tls], In),
    ("SCRAM-SHA-256-PLUS", [Tls, Tls, Tls], In),
    ("GSSAPI", [In, In, Tls], In),
    ("GSS-SPNEGO", [Tls, Tls, Tls], In),
    ("NTLM", [In, In, Tls], In),
    ("EXTERNAL", [Tls, Tls, Tls], In),
    ("OAUTHBEARER", [Tls, Tls, Tls], In),
    ("XOAUTH2", [Tls, Tls, Tls], In),
];

const LOGIN_TYPES: [&str; 3] = ["PlainTextLogin", "PlainTextAuthentication", "SecureLogin"];
const PROTOCOLS: [&str; 3] = ["imap", "pop3", "smtp"];
const STATES: [&str; 3] = ["clear", "starttls", "implicit"];

/// How a server says what became of it, in each protocol's terms.
fn words(protocol: &str, cell: Cell) -> &'static str {
    match (protocol, cell) {
        ("imap", In) => "OK",
        ("imap", Tls) => "NO [PRIVACYREQUIRED]",
        ("imap", Never) => "NO [CANNOT]",
        ("pop3", In) => "+OK",
        ("pop3", Tls) => "-ERR",
        ("pop3", Never) => "-ERR Mechanism is not offered",
        (_, In) => "235",
        (_, Tls) => "538 5.7.11",
        (_, Never) => "504 5.5.4",
    }
}

/// A server with everything that can help to sign in.
struct World {
    scratch: Scratch,
    kdc: Kdc,
    provider: Provider,
    server: Server,
    user: String,
    password: String,
}

impl World {
    fn start(name: &str) -> World {
        let scratch = Scratch::new(name);
        let folder = scratch.path();
        let kdc = Kdc::start(&folder.join("kdc"), REALM).unwrap();
        let provider = Provider::start(folder);
        let data = folder.join("data");
        let mut command = Command::new(binary());
        command.envs(kdc.environment());
        let server = Server::start_by(&data, command);
        let (user, password) = server.account(0);
        for service in ["imap", "pop", "smtp"] {
            kdc.add(&format!("{service}/localhost"), "").unwrap();
        }
        let world = World { scratch, kdc, provider, server, user, password };
        world.export();
        world.kdc.query(&format!("addprinc -pw secret {}", world.principal())).unwrap();
        world.kinit();
        world.certificate();
        let mechanisms: Vec<&str> = ROWS.iter().map(|row| row.0).filter(|name| *name != "VERB").collect();
        let quoted = |text: &str| json!(text).to_string();
        world.set_all(&[
            ("sign_in.mechanisms", json!(mechanisms).to_string()),
            ("sign_in.loopback_is_secure", "false".into()),
            ("sign_in.ntlm_hashes", "true".into()),
            ("sign_in.client_certificates", "true".into()),
            ("sign_in.client_ca", quoted(world.file("client-ca.crt").to_str().unwrap())),
            ("oauth.issuer", quoted(&world.provider.issuer())),
            ("oauth.audiences", quoted("waypost")),
        ]);
        // From now on NT hashes are kept.
        world.server.command(&["Set-Mailbox", &world.user, "-Password", &world.password]).unwrap();
        world
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn keytab(&self) -> PathBuf {
        self.server.data().join("secret/waypost.keytab")
    }

    fn export(&self) {
        let keytab = self.keytab();
        std::fs::create_dir_all(keytab.parent().unwrap()).unwrap();
        for service in ["imap", "pop", "smtp"] {
            self.kdc.export(&format!("{service}/localhost"), &keytab).unwrap();
        }
    }

    fn principal(&self) -> String {
        format!("{}@{REALM}", self.user.split('@').next().unwrap())
    }

    fn tickets(&self) -> PathBuf {
        self.file("tickets")
    }

    fn kinit(&self) {
        let mut child = Command::new("kinit")
            .envs(self.kdc.environment())
            .env("KRB5CCNAME", self.tickets())
            .arg(self.principal())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        assert!(child.wait().unwrap().success(), "kinit");
    }

    /// A certificate of the user's, signed by an authority for clients.
    fn certificate(&self) {
        let folder = self.scratch.path();
        let openssl = |words: &[&str]| pki::run(Command::new("openssl").current_dir(folder).args(words));
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"];
        let ca = [
            "-out",
            "client-ca.crt",
            "-subj",
            "/CN=Client CA",
            "-addext",
            "basicConstraints=critical,CA:true",
        ];
        openssl(&[&["req", "-x509", "-days", "30"][..], &key, &["client-ca.key"], &ca].concat());
        let request = ["client.key", "-out", "client.csr", "-subj", "/CN=client"];
        openssl(&[&["req", "-new"][..], &key, &request].concat());
        let names = format!(
            "subjectAltName=email:{}\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:false\n",
            self.user
        );
        std::fs::write(folder.join("client.ext"), names).unwrap();
        let sign =
            ["-CA", "client-ca.crt", "-CAkey", "client-ca.key", "-CAcreateserial", "-out", "client.crt"];
        let more = ["-days", "7", "-extfile", "client.ext"];
        openssl(&[&["x509", "-req", "-in", "client.csr"][..], &sign, &more].concat());
    }

    /// Changes the document as a whole, so that it is rehearsed once. On a machine that is busy with other tests the
    /// rehearsal may take too long, which is no affair of these tests.
    fn set_all(&self, changes: &[(&str, String)]) {
        let document = std::fs::read_to_string(self.server.data().join("settings.toml")).unwrap();
        let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
        for (key, value) in changes {
            let (section, field) = key.split_once('.').unwrap();
            let at = lines.iter().position(|line| *line == format!("[{section}]")).unwrap() + 1;
            let end =
                lines[at..].iter().position(|line| line.starts_with('[')).map_or(lines.len(), |n| at + n);
            let old = lines[at..end].iter().position(|line| line.starts_with(&format!("{field} =")));
            if let Some(old) = old {
                lines.remove(at + old);
            }
            lines.insert(at, format!("{field} = {value}"));
        }
        let file = self.file("settings.new");
        std::fs::write(&file, lines.join("\n")).unwrap();
        self.server.command(&["Import-WaypostSetting", file.to_str().unwrap(), "-Force"]).unwrap();
    }

    /// The same property of all three protocols.
    fn set_everywhere(&self, field: &str, value: &str) {
        let keys = ["imap", "pop", "smtp"].map(|section| format!("{section}.{field}"));
        let value = json!(value).to_string();
        self.set_all(&keys.each_ref().map(|key| (key.as_str(), value.clone())));
    }

    fn set_login_type(&self, login_type: &str) {
        self.set_everywhere("login_type", login_type);
    }

    /// Plays cells; what came of each, in order.
    fn play(&self, cells: &[Value]) -> Vec<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/signin.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .envs(self.kdc.environment())
            .env("KRB5CCNAME", self.tickets())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let hosts: serde_json::Map<String, Value> =
            ["imap", "imaps", "pop3", "pop3s", "submission", "submissions"]
                .into_iter()
                .map(|door| (door.to_owned(), self.server.port(door).into()))
                .collect();
        let job = json!({
            "hosts": hosts, "user": self.user, "password": self.password, "cells": cells,
            "token": self.provider.token(&self.user, 3600),
            "certificate": [self.file("client.crt"), self.file("client.key")],
        });
        let mut input = child.stdin.take().unwrap();
        input.write_all(job.to_string().as_bytes()).unwrap();
        drop(input);
        let out = BufReader::new(child.stdout.take().unwrap());
        let results: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        child.wait().unwrap();
        assert_eq!(results.len(), cells.len());
        results
    }

    /// Plays one cell; the server's last line.
    fn try_one(&self, protocol: &str, state: &str, mechanism: &str, more: Value) -> String {
        let mut cell = json!({"protocol": protocol, "state": state, "mechanism": mechanism});
        let Value::Object(more) = more else { panic!("an object") };
        cell.as_object_mut().unwrap().extend(more);
        self.play(&[cell]).remove(0)["result"].as_str().unwrap().to_owned()
    }
}

/// Every cell of the table, with and without initial response.
#[test]
fn every_mechanism_protocol_state_and_login_type() {
    let world = World::start("matrix");
    let mut wrong = Vec::new();
    let mut asserted = 0;
    for (number, login_type) in LOGIN_TYPES.into_iter().enumerate() {
        world.set_login_type(login_type);
        let mut cells = Vec::new();
        let mut expected = Vec::new();
        for (name, clear, tls) in ROWS {
            for protocol in PROTOCOLS {
                for state in STATES {
                    if (name, protocol) == ("VERB", "smtp") {
                        continue;
                    }
                    for initial in [true, false] {
                        cells.push(json!({"protocol": protocol, "state": state, "mechanism": name, "initial": initial}));
                        expected.push(if state == "clear" { clear[number] } else { tls });
                    }
                }
            }
        }
        for ((cell, expected), got) in cells.iter().zip(expected).zip(world.play(&cells)) {
            asserted += 1;
            let (name, protocol) = (cell["mechanism"].as_str().unwrap(), cell["protocol"].as_str().unwrap());
            let result = got["result"].as_str().unwrap();
            let offered: Vec<&str> =
                got["offered"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let shown = match (name, protocol) {
                ("VERB", _) => !got["disabled"].as_bool().unwrap(),
                // It has a command of its own, so that the mechanism is not named.
                ("LOGIN", "imap") => expected == In && !offered.contains(&name),
                _ => offered.contains(&name),
            };
            let said = result.starts_with(words(protocol, expected))
                && (expected != Tls || protocol != "pop3" || result.contains("TLS"));
            if !said || shown != (expected == In) {
                wrong.push(format!("{login_type} {cell} must be {expected:?}: offered {shown}, {result:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asserted}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(asserted, LOGIN_TYPES.len() * (ROWS.len() * 9 - 3) * 2);
}

/// What is switched off or not set up is neither offered nor known.
#[test]
fn only_what_works_is_offered() {
    let server = Server::start("matrix-off");
    let job = |cells: &[Value]| {
        let world = Bare { server: &server };
        world.play(cells)
    };
    let mut cells = Vec::new();
    for (name, ..) in ROWS {
        for protocol in PROTOCOLS {
            if name != "VERB" {
                cells.push(json!({"protocol": protocol, "state": "implicit", "mechanism": name}));
            }
        }
    }
    for (cell, got) in cells.iter().zip(job(&cells)) {
        let (name, protocol) = (cell["mechanism"].as_str().unwrap(), cell["protocol"].as_str().unwrap());
        let works = name.starts_with("SCRAM") || matches!(name, "PLAIN" | "LOGIN");
        let offered = got["offered"].as_array().unwrap().contains(&name.into());
        assert_eq!(offered, works && (name, protocol) != ("LOGIN", "imap"), "{cell} {got}");
        let expected = words(protocol, if works { In } else { Never });
        assert!(got["result"].as_str().unwrap().starts_with(expected), "{cell} {got}");
    }
}

/// A server without Kerberos and tokens.
struct Bare<'a> {
    server: &'a Server,
}

impl Bare<'_> {
    fn play(&self, cells: &[Value]) -> Vec<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/signin.py");
        let (user, password) = self.server.account(0);
        let hosts = json!({
            "imaps": self.server.port("imaps"), "pop3s": self.server.port("pop3s"),
            "submissions": self.server.port("submissions"),
        });
        let job =
            json!({"hosts": hosts, "user": user, "password": password, "token": "x.y.z", "cells": cells});
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

/// Kinds of failure that must never be mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Wrong,
    NotAllowed,
    Unavailable,
    Malformed,
}

/// How each protocol says each kind.
fn says(protocol: &str, kind: Kind) -> &'static [&'static str] {
    match (protocol, kind) {
        ("imap", Kind::Wrong) => &["NO [AUTHENTICATIONFAILED]"],
        ("imap", Kind::NotAllowed) => &["NO [AUTHORIZATIONFAILED]", "NO [CONTACTADMIN]", "NO [EXPIRED]"],
        ("imap", Kind::Unavailable) => &["NO [UNAVAILABLE]"],
        ("imap", Kind::Malformed) => &["BAD"],
        ("pop3", Kind::Wrong) => &["-ERR [AUTH] Wrong"],
        ("pop3", Kind::NotAllowed) => &["-ERR [AUTH] Not allowed"],
        ("pop3", Kind::Unavailable) => &["-ERR [SYS/TEMP]"],
        ("pop3", Kind::Malformed) => &["-ERR Sign-in broke off", "-ERR Not base64"],
        (_, Kind::Wrong) => &["535 5.7.8"],
        (_, Kind::NotAllowed) => &["535 5.7.1 "],
        (_, Kind::Unavailable) => &["454 4.7.0"],
        (_, Kind::Malformed) => &["501 5.5.2"],
    }
}

#[test]
fn kinds_of_failure_are_never_mixed_up() {
    let mut world = World::start("matrix-kinds");
    world.server.expect_error("KRB-");
    let ben = world.server.account(1);
    let (cara, cara_password) = world.server.account(2);
    world
        .server
        .command(&["Set-CASMailbox", &ben.0, "-ImapEnabled", "false", "-PopEnabled", "false"])
        .unwrap();
    // A source that nobody answers at: the right password is nobody's wrong one.
    world.server.command(&["New-AcceptedDomain", "dead.test"]).unwrap();
    let dead =
        ["New-Mailbox", "dora", "-PrimarySmtpAddress", "dora@dead.test", "-Password", "A-password-7-of-hers"];
    world.server.command(&dead).unwrap();
    let source = ["New-DirectorySource", "gone", "ldap://127.0.0.1:1", "dc=dead", "-Domains", "dead.test"];
    world.server.command(&source).unwrap();
    let expired = world.provider.token(&world.user, -600);
    let stranger = world.provider.token("nobody@elsewhere.test", 600);
    let mut cases: Vec<(Kind, &str, Value)> = Vec::new();
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "NTLM", "VERB"]
    {
        cases.push((Kind::Wrong, mechanism, json!({"password": "not the password"})));
        cases.push((Kind::Wrong, mechanism, json!({"user": "nobody@contoso.test"})));
    }
    for mechanism in ["PLAIN", "LOGIN", "VERB"] {
        cases.push((
            Kind::Unavailable,
            mechanism,
            json!({"user": "dora@dead.test", "password": "A-password-7-of-hers"}),
        ));
    }
    cases.push((Kind::NotAllowed, "SCRAM-SHA-256", json!({"user": "dora@dead.test", "password": "x"})));
    let other = json!({"authzid": cara, "password": world.password});
    cases.push((Kind::NotAllowed, "PLAIN", other.clone()));
    cases.push((Kind::NotAllowed, "EXTERNAL", other.clone()));
    cases.push((Kind::NotAllowed, "GSSAPI", other));
    cases.push((Kind::NotAllowed, "OAUTHBEARER", json!({"user": cara, "password": cara_password})));
    for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
        cases.push((Kind::Wrong, mechanism, json!({"token": expired})));
        cases.push((Kind::NotAllowed, mechanism, json!({"token": stranger})));
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "NTLM", "GSSAPI", "GSS-SPNEGO"] {
        cases.push((Kind::Malformed, mechanism, json!({"raw": "bm9uc2Vuc2U="})));
        cases.push((Kind::Malformed, mechanism, json!({"raw": "not base64!"})));
    }
    let mut wrong = Vec::new();
    for (kind, mechanism, more) in &cases {
        for protocol in PROTOCOLS {
            if (*mechanism, protocol) == ("VERB", "smtp") {
                continue;
            }
            let result = world.try_one(protocol, "implicit", mechanism, more.clone());
            if !says(protocol, *kind).iter().any(|words| result.starts_with(words)) {
                wrong.push(format!("{protocol} {mechanism} {more} must be {kind:?}: {result:?}"));
            }
        }
    }
    for protocol in ["imap", "pop3"] {
        let result = world.try_one(protocol, "implicit", "PLAIN", json!({"user": ben.0, "password": ben.1}));
        if !says(protocol, Kind::NotAllowed).iter().any(|words| result.starts_with(words)) {
            wrong.push(format!("{protocol} that is switched off: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The founding incident at a client's door: the service's keys are not those of the ticket.
#[test]
fn stale_keys_of_ours_are_unavailable_and_old_tickets_are_told() {
    let world = World::start("matrix-keys");
    for protocol in PROTOCOLS {
        assert!(world.try_one(protocol, "implicit", "GSSAPI", json!({})).starts_with(words(protocol, In)));
    }
    for service in ["imap", "pop", "smtp"] {
        world.kdc.change(&format!("{service}/localhost"), "").unwrap();
    }
    std::fs::remove_file(world.tickets()).unwrap();
    world.kinit();
    for protocol in PROTOCOLS {
        for mechanism in ["GSSAPI", "GSS-SPNEGO"] {
            let result = world.try_one(protocol, "implicit", mechanism, json!({}));
            assert!(
                says(protocol, Kind::Unavailable).iter().any(|w| result.starts_with(w)),
                "{protocol} {result}"
            );
        }
        let password = world.try_one(protocol, "implicit", "SCRAM-SHA-256", json!({}));
        assert!(password.starts_with(words(protocol, In)), "{password}");
    }
    assert!(world.server.log_text().contains("KRB-KEYTAB-STALE"), "{}", world.server.log_text());
}

/// ExtendedProtectionPolicy: None, Allow, Require, by what the client binds to.
#[test]
fn extended_protection() {
    let world = World::start("matrix-binding");
    let elsewhere = json!({"binding": [1, 2, 3]});
    for (policy, absent, right, other) in
        [("None", true, true, true), ("Allow", true, true, false), ("Require", false, true, false)]
    {
        world.set_everywhere("extended_protection_policy", policy);
        for protocol in PROTOCOLS {
            for mechanism in ["GSSAPI", "GSS-SPNEGO", "NTLM"] {
                for (more, good) in
                    [(json!({}), absent), (json!({"bind": true}), right), (elsewhere.clone(), other)]
                {
                    let result = world.try_one(protocol, "implicit", mechanism, more.clone());
                    let inside = result.starts_with(words(protocol, In));
                    assert_eq!(inside, good, "{policy} {protocol} {mechanism} {more}: {result}");
                    assert!(!result.contains("client failed"), "{result}");
                }
            }
        }
        // SCRAM's own binding is looked at whatever the policy says.
        let result = world.try_one("imap", "implicit", "SCRAM-SHA-256-PLUS", elsewhere.clone());
        assert!(result.starts_with("NO"), "{result}");
    }
}

#[test]
fn ntlm_version_1_is_refused() {
    let world = World::start("matrix-ntlm");
    for protocol in PROTOCOLS {
        let result = world.try_one(protocol, "implicit", "NTLM", json!({"version1": true}));
        assert!(
            says(protocol, Kind::NotAllowed).iter().any(|w| result.starts_with(w)),
            "{protocol} {result}"
        );
    }
    world.set_all(&[("imap.enable_gssapi_and_ntlm_auth", "false".into())]);
    for mechanism in ["NTLM", "GSSAPI", "GSS-SPNEGO"] {
        let result = world.try_one("imap", "implicit", mechanism, json!({}));
        assert!(result.starts_with(words("imap", Never)), "{result}");
    }
}

/// Certificates by name (the authority is trusted) and by fingerprint (any authority).
#[test]
fn certificates_of_clients() {
    let world = World::start("matrix-certificates");
    let openssl =
        |words: &[&str]| pki::run(Command::new("openssl").current_dir(world.scratch.path()).args(words));
    let own =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7"];
    openssl(&[&own[..], &["-keyout", "own.key", "-out", "own.crt", "-subj", "/CN=own"]].concat());
    let own = json!({"certificate": [world.file("own.crt"), world.file("own.key")]});
    let none = json!({"certificate": null});
    for protocol in PROTOCOLS {
        for state in ["starttls", "implicit"] {
            assert!(world.try_one(protocol, state, "EXTERNAL", json!({})).starts_with(words(protocol, In)));
            let result = world.try_one(protocol, state, "EXTERNAL", none.clone());
            assert!(result.starts_with(words(protocol, Never)), "{result}");
            let result = world.try_one(protocol, state, "EXTERNAL", own.clone());
            assert!(says(protocol, Kind::NotAllowed).iter().any(|w| result.starts_with(w)), "{result}");
        }
    }
    let file = world.file("own.crt");
    let add = ["Add-MailboxCertificate", &world.user, "-Name", "own", "-File", file.to_str().unwrap()];
    let added = world.server.command(&add).unwrap();
    for protocol in PROTOCOLS {
        let result = world.try_one(protocol, "implicit", "EXTERNAL", own.clone());
        assert!(result.starts_with(words(protocol, In)), "{result}");
    }
    let fingerprint = added["Fingerprint"].as_str().unwrap().to_owned();
    world
        .server
        .command(&["Remove-MailboxCertificate", &world.user, "-Fingerprint", &fingerprint, "-Confirm:$false"])
        .unwrap();
    assert!(!world.try_one("imap", "implicit", "EXTERNAL", own).starts_with("OK"));
}

/// Real clients, each by the mechanisms that it knows.
mod real {
    use super::*;

    /// Runs a program with the user's tickets; whether it succeeded, and all that it said.
    fn program(world: &World, words: &[&str], input: &str) -> (bool, String) {
        let mut child = Command::new("timeout")
            .arg("60")
            .args(words)
            .envs(world.kdc.environment())
            .env("KRB5CCNAME", world.tickets())
            .env("HOME", world.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.success(), text)
    }

    #[test]
    fn curl() {
        let world = World::start("matrix-curl");
        world.set_login_type("SecureLogin");
        let token = world.provider.token(&world.user, 600);
        let principal = world.principal();
        // This curl was built without SCRAM; GSSAPI it tries for names with a realm only.
        for mechanism in ["PLAIN", "LOGIN", "NTLM", "GSSAPI", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"] {
            for (protocol, state, scheme, door, words) in [
                ("imap", "starttls", "imap", "imap", &["-X", "NOOP"][..]),
                ("imap", "implicit", "imaps", "imaps", &["-X", "NOOP"][..]),
                ("pop3", "starttls", "pop3", "pop3", &[][..]),
                ("pop3", "implicit", "pop3s", "pop3s", &[][..]),
                ("smtp", "starttls", "smtp", "submission", &["-X", "NOOP"][..]),
                ("smtp", "implicit", "smtps", "submissions", &["-X", "NOOP"][..]),
            ] {
                // curl offers LOGIN only where it is named.
                if (mechanism, protocol) == ("LOGIN", "imap") {
                    continue;
                }
                let url = format!("{scheme}://localhost:{}/", world.server.port(door));
                let user = match mechanism {
                    "GSSAPI" => format!("{principal}:"),
                    "EXTERNAL" | "OAUTHBEARER" | "XOAUTH2" => format!("{}:", world.user),
                    _ => format!("{}:{}", world.user, world.password),
                };
                let login = format!("AUTH={mechanism}");
                let (chain, key) = (world.file("client.crt"), world.file("client.key"));
                let mut all =
                    vec!["curl", "-v", "-sS", "-k", "--ssl-reqd", "--max-time", "30", &url, "--user", &user];
                all.extend(["--login-options", &login]);
                all.extend(words);
                match mechanism {
                    "OAUTHBEARER" | "XOAUTH2" => all.extend(["--oauth2-bearer", &token]),
                    "EXTERNAL" => {
                        all.extend(["--cert", chain.to_str().unwrap(), "--key", key.to_str().unwrap()])
                    }
                    _ => {}
                }
                let (ok, text) = program(&world, &all, "");
                assert!(ok, "{mechanism} {protocol} {state}: {text}");
                assert!(text.contains(mechanism), "{mechanism} {protocol} {state} went another way: {text}");
            }
        }
    }

    /// Cyrus SASL's imtest, pop3test and smtptest.
    #[test]
    fn cyrus() {
        let world = World::start("matrix-cyrus");
        world.set_login_type("PlainTextLogin");
        for mechanism in ["GSSAPI", "GSS-SPNEGO", "SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN", "NTLM"] {
            // Its NTLM knows version 1 only, which is told to it.
            let wanted =
                if mechanism == "NTLM" { "NTLM version 1 is not accepted" } else { "Authenticated." };
            for (name, door, logout) in [
                ("imtest", "imap", "l LOGOUT\r\n"),
                ("pop3test", "pop3", "QUIT\r\n"),
                ("smtptest", "submission", "QUIT\r\n"),
            ] {
                for tls in [false, true] {
                    // Without TLS its client would seal what follows.
                    if !tls && mechanism == "GSS-SPNEGO" {
                        continue;
                    }
                    let program_path = format!("/usr/lib/cyrus/bin/{name}");
                    let port = world.server.port(door).to_string();
                    let mut all =
                        vec![program_path.as_str(), "-p", &port, "-m", mechanism, "-w", &world.password];
                    if tls {
                        all.extend(["-t", ""]);
                    }
                    let short = world.user.split('@').next().unwrap();
                    let user = if mechanism == "NTLM" { short } else { world.user.as_str() };
                    if !mechanism.starts_with("GSS") {
                        all.extend(["-a", user, "-u", user]);
                    } else {
                        all.extend(["-u", &world.user]);
                    }
                    all.push("localhost");
                    let (_, text) = program(&world, &all, logout);
                    assert!(text.contains(wanted), "{name} {mechanism} tls={tls}: {text}");
                }
            }
        }
    }

    #[test]
    fn openssl_with_a_certificate() {
        let world = World::start("matrix-openssl");
        let (chain, key) = (world.file("client.crt"), world.file("client.key"));
        let at = format!("localhost:{}", world.server.port("imaps"));
        let words = ["openssl", "s_client", "-quiet", "-crlf", "-ign_eof", "-connect", &at, "-cert"];
        let rest = [chain.to_str().unwrap(), "-key", key.to_str().unwrap()];
        let (_, text) =
            program(&world, &[&words[..], &rest].concat(), "a AUTHENTICATE EXTERNAL =\nb LOGOUT\n");
        assert!(text.contains("a OK"), "{text}");
    }

    #[test]
    fn mutt() {
        let world = World::start("matrix-mutt");
        world.set_login_type("SecureLogin");
        for mechanism in ["plain", "login", "scram-sha-256", "scram-sha-1", "gssapi"] {
            let user = if mechanism == "gssapi" { world.principal() } else { world.user.clone() };
            let url = format!("imaps://localhost:{}/INBOX", world.server.port("imaps"));
            let config = format!(
                "set imap_user=\"{user}\"\nset imap_pass=\"{}\"\nset imap_authenticators=\"{mechanism}\"\n\
                 set ssl_verify_host=no\nset ssl_verify_dates=no\nset certificate_file=\"{}\"\nset ssl_starttls=yes\n\
                 set folder=\"{url}\"\nset spoolfile=\"{url}\"\nset quit=yes\nset ssl_ca_certificates_file=\"{}\"\n",
                world.password,
                world.file("mutt-certificates").display(),
                world.server.data().join("public/public.crt").display(),
            );
            let file = world.file("muttrc");
            std::fs::write(&file, config).unwrap();
            let inner = format!("TERM=xterm mutt -n -F {} -f {url} -e 'push <quit>'", file.display());
            let (ok, text) = program(&world, &["script", "-qefc", &inner, "/dev/null"], "o\nq\n");
            let log = world.server.log_text();
            assert!(ok && !text.contains("failed"), "{mechanism}: {text}\n{log}");
        }
    }
}
