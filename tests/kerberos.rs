//! Kerberos against MIT's library and KDC: every way in which it fails is told apart, by its cause and not by the library's text.
//!
//! Initiator and acceptor are processes of their own, since the library's configuration is a matter of the process: this
//! test binary runs itself again for a [`part`]. So one end can live under another clock or another user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use waypost_base::{Clock, Timestamp};
use waypost_tests::kdc::Kdc;
use waypost_tests::server::Scratch;
use waypost_trust::kerberos::gss::{
    Acceptor, Binding, Bound, Framing, Gss, Identity, Initiator, Peer, Refused, Step,
};
use waypost_trust::kerberos::{ccache, gss};

const REALM: &str = "EXAMPLE.ORG";
const HUB: &str = "smtp/hub.example.org";
const MAILBOX: &str = "waypost/mbx.example.org";
const AES256: i32 = 18;
const RC4: i32 = 23;

/// A realm with a hub, whose keys are AES256 and RC4 of version 2, and a mailbox server that gets tickets for it.
struct Lab {
    kdc: Kdc,
    scratch: Scratch,
    /// Words before the acceptor's and the initiator's program: `faketime`, `setpriv`.
    before: Vec<String>,
    config: Option<PathBuf>,
}

impl Lab {
    fn new(name: &str) -> Lab {
        let scratch = Scratch::new(name);
        let kdc = Kdc::start(&scratch.path().join("kdc"), REALM).unwrap();
        kdc.add(HUB, "").unwrap();
        kdc.change(HUB, "aes256-cts:normal,arcfour-hmac:normal").unwrap();
        kdc.add(MAILBOX, "").unwrap();
        kdc.export(MAILBOX, &scratch.path().join("mailbox.keytab")).unwrap();
        Lab { kdc, scratch, before: Vec::new(), config: None }
    }

    /// With the hub's keys as they should be.
    fn right(name: &str) -> Lab {
        let lab = Lab::new(name);
        lab.kdc.export(HUB, &lab.hub()).unwrap();
        lab
    }

    fn hub(&self) -> PathBuf {
        self.scratch.path().join("hub.keytab")
    }

    fn under(mut self, words: &[&str]) -> Lab {
        self.before = words.iter().map(|w| (*w).to_owned()).collect();
        self
    }

    fn plain(&self) -> Part<'_> {
        Part { lab: self, before: &[], config: None }
    }

    /// The other end, under what the test sets.
    fn other(&self) -> Part<'_> {
        Part { lab: self, before: &self.before, config: self.config.as_deref() }
    }

    fn token(&self, more: Value) -> String {
        let answer = self.plain().initiate(HUB, more);
        answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// A right initiator, and the acceptor's answer.
    fn accepted(&self) -> Value {
        self.other().accept(&self.token(json!({})), json!({}))
    }
}

struct Part<'a> {
    lab: &'a Lab,
    before: &'a [String],
    config: Option<&'a Path>,
}

impl Part<'_> {
    fn initiate(&self, service: &str, more: Value) -> Value {
        let folder = self.lab.scratch.path();
        let mut part = json!({
            "do": "initiate", "service": format!("{service}@{REALM}"),
            "keytab": folder.join("mailbox.keytab"), "run": folder.join("run-mailbox"),
        });
        merge(&mut part, more);
        self.run(&part)
    }

    fn accept(&self, token: &str, more: Value) -> Value {
        let folder = self.lab.scratch.path();
        let mut part = json!({
            "do": "accept", "token": token, "keytab": self.lab.hub(), "run": folder.join("run-hub"),
        });
        merge(&mut part, more);
        self.run(&part)
    }

    fn run(&self, part: &Value) -> Value {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let out = self.lab.scratch.path().join("answers");
        fs::create_dir_all(&out).unwrap();
        Command::new("chmod").arg("0777").arg(&out).status().unwrap();
        let out = out.join(number.to_string());
        let me = std::env::current_exe().unwrap();
        let mut words: Vec<&str> = self.before.iter().map(String::as_str).collect();
        words.push(me.to_str().unwrap());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--exact", "kerberos::part", "--ignored", "--nocapture"]);
        command
            .envs(self.lab.kdc.environment())
            .env("KERBEROS_PART", part.to_string())
            .env("KERBEROS_OUT", &out);
        if let Some(config) = self.config {
            command.env("KRB5_CONFIG", config);
        }
        let ran = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        let answer = fs::read_to_string(&out).unwrap_or_else(|e| panic!("{e}: {text}"));
        serde_json::from_str(&answer).unwrap()
    }
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("an object") };
    into.as_object_mut().unwrap().extend(more);
}

/// Not a test: one end of an exchange, in a process of its own.
#[test]
#[ignore = "a part of the other tests"]
fn part() {
    let Ok(text) = std::env::var("KERBEROS_PART") else { return };
    let part: Value = serde_json::from_str(&text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let limit = Duration::from_millis(part["limit"].as_u64().unwrap_or(20_000));
        let gss = Gss::load_from(gss::LIBRARY, limit, clock()).unwrap();
        match part["do"].as_str().unwrap() {
            "initiate" => initiate(gss, &part).await,
            "accept" => accept(gss, &part).await,
            _ => whole(gss, &part).await,
        }
    });
    fs::write(std::env::var("KERBEROS_OUT").unwrap(), answer.to_string()).unwrap();
}

fn clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp(since.as_millis() as i64)
    })
}

fn identity(part: &Value, server: &str, role: &str) -> Identity {
    Identity {
        server: server.into(),
        role: role.into(),
        keytab: part["keytab"].as_str().unwrap().into(),
        principal: part["principal"].as_str().map(str::to_owned),
        run: part["run"].as_str().unwrap().into(),
    }
}

async fn initiate(gss: Gss, part: &Value) -> Value {
    let initiator = Initiator::new(gss.clone(), identity(part, "server-1", "mailbox"));
    let framing = if part["spnego"] == true { Framing::Spnego } else { Framing::Krb5 };
    let binding = part["binding"].as_str().map(|b| Binding::exporter(b.as_bytes()));
    let mut context = initiator.begin(part["service"].as_str().unwrap(), framing, binding);
    let answer = context.step(Vec::new()).await;
    let mut answer = told(answer);
    answer["evidence_of_leg"] = json!(context.evidence());
    answer["hanging"] = json!(gss.hanging());
    answer
}

async fn accept(gss: Gss, part: &Value) -> Value {
    let acceptor = Acceptor::new(gss, identity(part, "server-2", "transport"));
    let token = STANDARD.decode(part["token"].as_str().unwrap()).unwrap();
    let names = part["bindings"].as_array().cloned().unwrap_or_default();
    let any_of = names.iter().map(|b| Binding::exporter(b.as_str().unwrap().as_bytes())).collect();
    let bound = Bound { any_of, required: part["required"] == true };
    told(acceptor.begin().step(token, &bound).await)
}

/// Both ends in one process, to the end, with a message wrapped and opened.
async fn whole(gss: Gss, part: &Value) -> Value {
    let mut own = part.clone();
    own["keytab"] = part["initiator"].clone();
    let initiator = Initiator::new(gss.clone(), identity(&own, "server-1", "mailbox"));
    let acceptor = Acceptor::new(gss, identity(part, "server-2", "transport"));
    let framing = if part["spnego"] == true { Framing::Spnego } else { Framing::Krb5 };
    let exporter = Binding::exporter(&[7; 32]);
    let mut there = initiator.begin(part["service"].as_str().unwrap(), framing, Some(exporter.clone()));
    let mut here = acceptor.begin();
    let bound = Bound { any_of: vec![Binding::end_point(b"another"), exporter], required: true };
    let (mut token, mut peers): (Vec<u8>, Vec<Peer>) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let step = there.step(token).await.unwrap();
        peers.extend(step.done);
        if step.token.is_empty() {
            break;
        }
        let step = here.step(step.token, &bound).await.unwrap();
        peers.extend(step.done);
        token = step.token;
        if token.is_empty() {
            break;
        }
    }
    let wrapped = here.wrap(&[1, 0, 0, 0]).unwrap();
    let offer = there.unwrap(&wrapped).unwrap();
    let back = there.wrap(b"\x01\0\0\0alice").unwrap();
    let choice = here.unwrap(&back).unwrap();
    let names: Vec<String> = peers.iter().map(|p| p.principal.clone()).collect();
    let bound: Vec<bool> = peers.iter().map(|p| p.bound).collect();
    json!({"peers": names, "bound": bound, "offer": offer, "choice": choice})
}

fn told(result: Result<Step, Refused>) -> Value {
    match result {
        Ok(step) => json!({
            "token": STANDARD.encode(&step.token),
            "principal": step.done.as_ref().map(|p| p.principal.clone()),
            "ticket": step.done.as_ref().and_then(|p| p.ticket.as_ref().map(ToString::to_string)),
            "bound": step.done.map(|p| p.bound),
        }),
        Err(refused) => json!({
            "code": refused.fault.cause.code,
            "text": refused.fault.text,
            "evidence": refused.fault.evidence,
            "remedy": refused.fault.remedy,
            "library": refused.status.map(|s| s.to_string()),
        }),
    }
}

#[track_caller]
fn is(answer: &Value, code: &str, text: &str) {
    assert_eq!(answer["code"], code, "{answer:#}");
    assert!(answer["text"].as_str().unwrap().contains(text), "{answer:#}");
}

#[test]
fn the_right_keys_both_framings_and_bindings() {
    let lab = Lab::right("krb-right");
    for spnego in [false, true] {
        let folder = lab.scratch.path();
        let part = json!({
            "do": "whole", "spnego": spnego, "service": format!("{HUB}@{REALM}"), "keytab": lab.hub(),
            "initiator": folder.join("mailbox.keytab"), "run": folder.join("run"),
        });
        let answer = lab.plain().run(&part);
        let mut peers: Vec<&str> =
            answer["peers"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
        peers.sort_unstable();
        assert_eq!(peers, [format!("{HUB}@{REALM}"), format!("{MAILBOX}@{REALM}")], "{answer:#}");
        assert_eq!(answer["bound"], json!([true, true]));
        assert_eq!((&answer["offer"], &answer["choice"]), (&json!([1, 0, 0, 0]), &json!(b"\x01\0\0\0alice")));
    }
    // What the initiator asked for and what it got, from its own cache.
    let answer = lab.plain().initiate(HUB, json!({}));
    let evidence = answer["evidence_of_leg"][0]["fact"].as_str().unwrap();
    assert!(
        evidence.contains(
            "got one for smtp/hub.example.org@EXAMPLE.ORG aes256-cts kvno 2, session key aes256-cts"
        ),
        "{evidence}"
    );
    let cache = lab.scratch.path().join("run-mailbox/mailbox.ccache");
    let servers: Vec<String> =
        ccache::load(&cache).unwrap().credentials.iter().map(|c| c.server.to_string()).collect();
    assert_eq!(servers, ["krbtgt/EXAMPLE.ORG@EXAMPLE.ORG", "smtp/hub.example.org@EXAMPLE.ORG"]);
    ccache::purge(&cache, |c| c.server.to_string().starts_with(HUB)).unwrap();
    // The library reads what is left, and asks for the ticket again.
    assert!(lab.plain().initiate(HUB, json!({}))["token"].is_string());
    assert_eq!(ccache::load(&cache).unwrap().credentials.len(), 2);
}

#[test]
fn the_ticket_is_of_a_type_that_the_keytab_lacks() {
    let lab = Lab::new("krb-type");
    lab.kdc.export_only(HUB, RC4, &lab.hub()).unwrap();
    let expected = "the ticket for smtp/hub.example.org@EXAMPLE.ORG is encrypted with aes256-cts kvno 2; \
                    the keytab of server-2/transport holds only arcfour-hmac kvno 2";
    for spnego in [false, true] {
        let token = lab.token(json!({"spnego": spnego}));
        let answer = lab.plain().accept(&token, json!({}));
        assert_eq!(
            (&answer["code"], &answer["text"]),
            (&json!("KRB-ENCTYPE-MISSING"), &json!(expected)),
            "{answer:#}"
        );
        let library = answer["library"].as_str().unwrap();
        assert!(library.contains("kvno 2 found in keytab but not with enctype aes256-cts"), "{library}");
        assert!(answer["remedy"].to_string().contains("Clear-KerberosTicket"), "{answer:#}");
    }
    // The other way round: the KDC has RC4 only, the keytab AES only.
    let name = "smtp/old.example.org";
    lab.kdc.add(name, "aes256-cts:normal").unwrap();
    fs::remove_file(lab.hub()).unwrap();
    lab.kdc.export(name, &lab.hub()).unwrap();
    lab.kdc.query(&format!("delprinc -force {name}")).unwrap();
    lab.kdc.add(name, "arcfour-hmac:normal").unwrap();
    let token = lab.plain().initiate(name, json!({}));
    let answer = lab.plain().accept(token["token"].as_str().unwrap(), json!({}));
    is(
        &answer,
        "KRB-ENCTYPE-MISSING",
        "with arcfour-hmac kvno 1; the keytab of server-2/transport holds only aes256-cts kvno 1",
    );
}

#[test]
fn one_of_both_is_older_or_another() {
    let lab = Lab::right("krb-versions");
    let before = lab.token(json!({}));
    lab.kdc.change(HUB, "aes256-cts:normal").unwrap();
    // The initiator's ticket is of before; a new one is not.
    fs::remove_file(lab.scratch.path().join("run-mailbox/mailbox.ccache")).unwrap();
    let after = lab.token(json!({}));
    is(
        &lab.plain().accept(&after, json!({})),
        "KRB-KEYTAB-STALE",
        "kvno 3; the keytab of server-2/transport is older and holds aes256-cts kvno 2",
    );
    fs::remove_file(lab.hub()).unwrap();
    lab.kdc.export(HUB, &lab.hub()).unwrap();
    is(
        &lab.plain().accept(&before, json!({})),
        "KRB-TICKET-OLD",
        "kvno 2; the keytab of server-2/transport is newer and holds aes256-cts kvno 3",
    );
    // The account is made anew: the same versions again, and other keys.
    lab.kdc.query(&format!("delprinc -force {HUB}")).unwrap();
    lab.kdc.add(HUB, "").unwrap();
    lab.kdc.change(HUB, "").unwrap();
    lab.kdc.change(HUB, "").unwrap();
    fs::remove_file(lab.scratch.path().join("run-mailbox/mailbox.ccache")).unwrap();
    let answer = lab.accepted();
    is(
        &answer,
        "KRB-KEY-MISMATCH",
        "aes256-cts kvno 3; the keytab of server-2/transport holds a key of that type and version",
    );
}

#[test]
fn the_right_key_of_a_type_that_is_forbidden() {
    for (kept, types, name) in [(AES256, "aes128-cts", "aes256-cts"), (RC4, "aes256-cts", "arcfour-hmac")] {
        let mut lab = Lab::new("krb-forbidden");
        let keys = if kept == RC4 { "arcfour-hmac:normal" } else { "aes256-cts:normal" };
        lab.kdc.change(HUB, keys).unwrap();
        lab.kdc.export(HUB, &lab.hub()).unwrap();
        let lines = format!(" permitted_enctypes = {types}\n");
        lab.config = Some(lab.kdc.other_config("acceptor.conf", &lines).unwrap());
        let answer = lab.accepted();
        is(&answer, "KRB-ENCTYPE-FORBIDDEN", &format!("forbids {name}"));
    }
}

#[test]
fn keytabs_that_are_of_no_use() {
    let lab = Lab::right("krb-keytab");
    let other = "smtp/other.example.org";
    lab.kdc.add(other, "").unwrap();
    let token = lab.plain().initiate(other, json!({}));
    let token = token["token"].as_str().unwrap();
    is(
        &lab.plain().accept(token, json!({})),
        "KRB-NO-PRINCIPAL",
        "the ticket is for smtp/other.example.org@EXAMPLE.ORG; the keytab of server-2/transport holds only smtp/hub",
    );
    fs::write(lab.hub(), [5, 2]).unwrap();
    is(&lab.accepted(), "KRB-KEYTAB-MISSING", "holds no key");
    fs::remove_file(lab.hub()).unwrap();
    is(&lab.accepted(), "KRB-KEYTAB-MISSING", "does not exist");
}

#[test]
fn a_keytab_that_its_role_may_not_read() {
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let lab = Lab::right("krb-unreadable").under(&nobody);
    let token = lab.token(json!({}));
    let run = lab.scratch.path().join("run-nobody");
    fs::create_dir(&run).unwrap();
    Command::new("chown").arg("65534").arg(&run).status().unwrap();
    Command::new("chmod").arg("0600").arg(lab.hub()).status().unwrap();
    let answer = lab.other().accept(&token, json!({"run": run}));
    is(&answer, "KRB-KEYTAB-UNREADABLE", "Permission denied");
    // This is what the library makes of it.
    assert!(answer["library"].as_str().unwrap().contains("nonexistent or empty"), "{answer:#}");
}

#[test]
fn clocks_and_times() {
    let lab = Lab::right("krb-skew").under(&["faketime", "-f", "+10m"]);
    let answer = lab.accepted();
    is(&answer, "KRB-SKEW", "the initiator's clock is ");
    let text = answer["text"].as_str().unwrap();
    assert!(
        text.contains("behind that of server-2/transport")
            && (text.contains("10 min") || text.contains("9 min")),
        "{text}"
    );

    let lab = Lab::right("krb-expired").under(&["faketime", "-f", "+11h"]);
    is(&lab.accepted(), "KRB-EXPIRED", "ran out at ");
}

#[test]
fn the_same_request_again_is_a_replay() {
    let lab = Lab::right("krb-replay");
    let token = lab.token(json!({}));
    assert_eq!(lab.plain().accept(&token, json!({}))["principal"], format!("{MAILBOX}@{REALM}"));
    is(&lab.plain().accept(&token, json!({})), "KRB-REPLAY", "came before");
}

#[test]
fn the_initiator_says_why_it_has_no_ticket() {
    let mut lab = Lab::right("krb-initiator");
    is(
        &lab.plain().initiate("smtp/nobody.example.org", json!({})),
        "KRB-SPN-UNKNOWN",
        "does not know smtp/nobody.example.org@",
    );
    let fresh = lab.scratch.path().join("run-fresh");
    let none = json!({"keytab": "/nowhere/at.all", "run": fresh});
    is(&lab.plain().initiate(HUB, none), "KRB-KEYTAB-MISSING", "/nowhere/at.all does not exist");
    let stranger = json!({"keytab": lab.hub(), "principal": format!("nobody@{REALM}"), "run": fresh});
    is(&lab.plain().initiate(HUB, stranger), "KRB-NO-CREDENTIALS", "");
    // Its own key was changed, its keytab was not.
    lab.kdc.change(MAILBOX, "").unwrap();
    is(
        &lab.plain().initiate(HUB, json!({"run": fresh})),
        "KRB-NO-CREDENTIALS",
        "cannot sign in to the KDC as waypost/mbx",
    );
    lab.kdc.stop();
    is(&lab.plain().initiate(HUB, json!({"run": fresh})), "KRB-KDC-UNREACHABLE", "Cannot contact any KDC");
}

#[test]
fn a_kdc_that_hangs_holds_up_nobody() {
    let mut lab = Lab::right("krb-hang");
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let conf = fs::read_to_string(&lab.kdc.environment()[0].1).unwrap();
    let path = lab.scratch.path().join("deaf.conf");
    let line = conf.lines().find(|l| l.trim().starts_with("kdc = ")).unwrap().to_owned();
    let port = deaf.local_addr().unwrap().port();
    fs::write(&path, conf.replace(&line, &format!("  kdc = 127.0.0.1:{port}"))).unwrap();
    lab.config = Some(path);
    let answer = lab.other().initiate(HUB, json!({"limit": 300}));
    is(&answer, "KRB-KDC-UNREACHABLE", "waited more than");
    assert_eq!(answer["hanging"], 1);
}

#[test]
fn bindings_to_the_channel() {
    let lab = Lab::right("krb-bindings");
    for spnego in [false, true] {
        let token = |binding: Value| lab.token(json!({"spnego": spnego, "binding": binding}));
        let bound = json!({"bindings": ["the channel"], "required": true});
        assert_eq!(lab.plain().accept(&token(json!("the channel")), bound.clone())["bound"], true);
        is(
            &lab.plain().accept(&token(json!("another")), bound.clone()),
            "KRB-BINDING",
            "bound to another TLS channel",
        );
        is(&lab.plain().accept(&token(Value::Null), bound), "KRB-BINDING-ABSENT", "sent no channel binding");
        let either = json!({"bindings": ["one", "two", "three"], "required": false});
        assert_eq!(lab.plain().accept(&token(json!("three")), either.clone())["bound"], true);
        assert_eq!(lab.plain().accept(&token(Value::Null), either.clone())["bound"], false);
        is(&lab.plain().accept(&token(json!("four")), either), "KRB-BINDING", "");
    }
}

#[test]
fn what_is_no_ticket() {
    let lab = Lab::right("krb-no-ticket");
    for (token, text) in [
        (&b"NTLMSSP\0\x01\0\0\0"[..], "sent NTLM"),
        (b"hello", "not a token"),
        (b"\x60\x10\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00\x6e", "malformed"),
    ] {
        is(&lab.plain().accept(&STANDARD.encode(token), json!({})), "KRB-TOKEN", text);
    }
    let error = Gss::load_from("libnothing.so.9", Duration::from_secs(1), clock()).unwrap_err();
    assert_eq!(error.fault().cause.code, "KRB-NO-LIBRARY");
}
