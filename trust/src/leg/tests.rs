//! Both halves of the handshake against each other, and against peers that misbehave, over pipes in virtual time.

use super::accept::{Acceptor, Arrival, NotArrived, accept};
use super::fault::Fault;
use super::initiate::{Initiator, initiate};
use super::kerberos::{
    Admitted, Begun, Doing, KerberosAcceptor, KerberosFault, KerberosInitiator, KerberosRest, Proof,
};
use super::member::Member;
use super::*;
use crate::authority::{Bundle, InnerCa, SERVER_DAYS, ServerId};
use crate::certificate::chain;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use waypost_base::explain::{Cause, Outcome, Party};
use waypost_base::{Clock, Timestamp};

const NOW: Timestamp = Timestamp(1_772_525_720_000);
const DAY: i64 = 86_400_000;
const EXPORTER: [u8; 32] = [7; 32];
const KRB: Cause = Cause { code: "KRB-TEST", meaning: "m", remedy: "r", reference: "" };

/// Kerberos as these tests need it: the ticket is the name of its principal.
struct Ticket(Result<&'static str, KerberosFault>);

struct Rest;

impl KerberosInitiator for Ticket {
    fn begin<'a>(&'a self, target: &'a str, exporter: &'a [u8; 32]) -> Doing<'a, Begun> {
        assert_eq!((target, exporter), ("waypost/mbx@TEST", &EXPORTER));
        let begun = self.0.clone().map(|principal| Begun {
            token: principal.as_bytes().to_vec(),
            evidence: Fault::new(KRB, "").seen("front", NOW, "asked for waypost/mbx@TEST").evidence,
            rest: Box::new(Rest),
        });
        Box::pin(async move { begun })
    }
}

impl KerberosRest for Rest {
    fn finish(self: Box<Self>, reply: Vec<u8>) -> Doing<'static, Proof> {
        Box::pin(async move {
            if reply != b"opened" {
                return Err(Fault::new(KRB, "the acceptor could not open the ticket"));
            }
            Ok(Proof {
                principal: "waypost/mbx@TEST".into(),
                key: "waypost/mbx@TEST kvno 4".into(),
                evidence: vec![],
            })
        })
    }
}

/// Opens tickets, or has a fault of its own.
struct Keytab(Option<&'static str>, &'static [u8]);

impl KerberosAcceptor for Keytab {
    fn accept<'a>(&'a self, token: &'a [u8], exporter: &'a [u8; 32]) -> Doing<'a, Admitted> {
        assert_eq!(exporter, &EXPORTER);
        Box::pin(async move {
            if let Some(fault) = self.0 {
                let fault = Fault::new(super::cause::CLOCK, fault);
                return Err(fault.seen("keytab", NOW, "holds only arcfour-hmac kvno 3"));
            }
            let principal = String::from_utf8(token.to_vec()).unwrap();
            let key = "waypost/mbx@TEST kvno 4".to_owned();
            Ok(Admitted { reply: self.1.to_vec(), proof: Proof { principal, key, evidence: vec![] } })
        })
    }
}

/// What a test sets up, with everything well by default.
struct Setting {
    bundle: Bundle,
    certificate: Option<Vec<u8>>,
    members: Vec<Member>,
    policies: (Policy, Policy),
    clocks: (Clock, Clock),
    ticket: Option<Ticket>,
    keytab: Option<Keytab>,
    service: Service,
    from: &'static str,
}

fn server(id: &str, roles: &str) -> Member {
    Member {
        id: id.into(),
        frontend: roles.contains('f'),
        transport: roles.contains('t'),
        mailbox: roles.contains('m'),
        principals: vec![format!("waypost/{id}@TEST")],
        ..Member::default()
    }
}

fn leaf(ca: &InnerCa, id: &str, at: Timestamp) -> Vec<u8> {
    let issued = ca.issue(&ServerId::parse(id).unwrap(), at).unwrap();
    chain(&issued.chain_pem).unwrap().remove(0)
}

impl Setting {
    fn new() -> Setting {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        Setting {
            bundle: Bundle::of(&ca),
            certificate: Some(leaf(&ca, "front", NOW)),
            members: vec![server("front", "f"), server("mbx", "m")],
            policies: (Policy::default(), Policy::default()),
            clocks: (Clock::fixed(NOW), Clock::fixed(NOW)),
            ticket: None,
            keytab: None,
            service: Service::Imap,
            from: "front",
        }
    }

    fn kerberos(ticket: Result<&'static str, KerberosFault>, keytab: Option<&'static str>) -> Setting {
        let both = Policy(vec![Mechanism::Kerberos, Mechanism::Mtls]);
        Setting {
            policies: (both.clone(), both),
            ticket: Some(Ticket(ticket)),
            keytab: Some(Keytab(keytab, b"opened")),
            ..Setting::new()
        }
    }

    async fn open(&self, stream: DuplexStream) -> Result<Opened, NotOpened> {
        let own = Member { id: self.from.into(), ..self.members[0].clone() };
        let leg = Leg::start("inner.imap", Party::new("f", self.from), Party::new("m", "mbx"), NOW);
        let with = Initiator {
            own: &own,
            other: &self.members[1],
            policy: &self.policies.0,
            exporter: EXPORTER,
            certificate: "inner certificate 01".into(),
            kerberos: self.ticket.as_ref().map(|t| t as &dyn KerberosInitiator),
            clock: &self.clocks.0,
        };
        initiate(Box::new(stream), leg, Hello::new(self.service, Correlation(5)), with).await
    }

    async fn take(&self, stream: DuplexStream) -> Result<Arrival, Box<NotArrived>> {
        let policy = |_| self.policies.1.clone();
        let with = Acceptor {
            own: &self.members[1],
            bundle: &self.bundle,
            members: &self.members,
            policy: &policy,
            exporter: EXPORTER,
            certificate: self.certificate.as_deref(),
            kerberos: self.keytab.as_ref().map(|k| k as &dyn KerberosAcceptor),
            clock: &self.clocks.1,
            peer: "192.0.2.7:50000".into(),
        };
        accept(Box::new(stream), with).await
    }

    /// Both ends; a leg that arrives is welcomed and says `hi` back.
    async fn run(&self) -> (Result<Opened, NotOpened>, Result<Option<Finding>, Box<NotArrived>>, Leg) {
        let (ours, theirs) = duplex(256 * 1024);
        let acceptor = async {
            match self.take(theirs).await {
                Ok(Arrival { arrived, finding }) => {
                    assert_eq!((arrived.from.as_str(), arrived.hello.service), ("front", self.service));
                    let answer = serde_json::json!({"cap": 1});
                    let (mut stream, leg) = arrived.welcome(answer).await.unwrap();
                    stream.write_all(b"hi").await.unwrap();
                    (Ok(finding), leg)
                }
                Err(not) => {
                    let leg = (*not.leg).clone();
                    (Err(not), leg)
                }
            }
        };
        let (opened, (arrived, leg)) = tokio::join!(self.open(ours), acceptor);
        (opened, arrived, leg)
    }

    /// Refused with a cause, which both ends know, with evidence.
    async fn refused(&self, cause: Cause) -> (String, Leg) {
        let (opened, arrived, leg) = self.run().await;
        let (no, not) = (opened.unwrap_err(), arrived.unwrap_err());
        assert_eq!((no.finding.cause.code, not.finding.cause.code), (cause.code, cause.code), "{no}");
        assert!(no.elsewhere && matches!(no.leg.outcome, Outcome::Failed { .. }));
        assert!(!no.finding.evidence.is_empty() && !no.finding.remedy.is_empty());
        assert!(no.text.contains(&not.text), "{} and {}", no.text, not.text);
        assert_eq!(not.service, Some(self.service));
        assert_eq!(not.leg.correlation, Some(Correlation(5)));
        (no.text, leg)
    }

    /// Works, by another mechanism than was wanted; both ends know why.
    async fn degraded(&self, cause: Cause) -> (Opened, Finding) {
        let (opened, arrived, leg) = self.run().await;
        let (opened, finding) = (opened.unwrap(), arrived.unwrap().unwrap());
        for leg in [&opened.leg, &leg] {
            let Outcome::Degraded { cause: found, .. } = leg.outcome else { panic!("{leg}") };
            assert_eq!((found.code, leg.mechanism.as_ref()), (cause.code, "mtls"), "{leg}");
        }
        assert_eq!(finding.cause.code, cause.code);
        (opened, finding)
    }
}

/// Legs are opened and taken in tasks.
#[test]
fn both_halves_may_go_from_thread_to_thread() {
    fn is_send(_: &impl Send) {}
    let (ours, theirs) = duplex(64);
    let setting = Setting::new();
    let opening = setting.open(ours);
    is_send(&opening);
    let taking = setting.take(theirs);
    is_send(&taking);
}

#[tokio::test]
async fn two_servers_meet_by_their_certificates() {
    let (opened, arrived, leg) = Setting::new().run().await;
    let mut opened = opened.unwrap();
    assert_eq!(arrived.unwrap(), None);
    assert_eq!((&opened.leg.outcome, opened.leg.mechanism.as_ref()), (&Outcome::Ok, "mtls"));
    assert_eq!(opened.leg.key.as_deref(), Some("inner certificate 01"));
    assert_eq!((&leg.outcome, leg.initiator.role.as_ref()), (&Outcome::Ok, "front end"));
    assert!(leg.key.unwrap().starts_with("inner certificate "));
    assert_eq!(opened.answer["cap"], 1);
    let mut said = String::new();
    opened.stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hi");
    let steps: Vec<&str> = opened.leg.steps.iter().map(|s| s.name.as_ref()).collect();
    assert_eq!(steps, ["mtls", "service"]);
}

#[tokio::test]
async fn two_servers_meet_by_kerberos() {
    let (opened, arrived, leg) = Setting::kerberos(Ok("waypost/front@TEST"), None).run().await;
    let opened = opened.unwrap();
    assert_eq!(arrived.unwrap(), None);
    for leg in [&opened.leg, &leg] {
        assert_eq!((&leg.outcome, leg.mechanism.as_ref()), (&Outcome::Ok, "kerberos"), "{leg}");
        assert_eq!(leg.key.as_deref(), Some("waypost/mbx@TEST kvno 4"));
    }
}

#[tokio::test]
async fn a_keytab_that_does_not_fit_degrades_the_leg_with_the_evidence_of_both_ends() {
    let setting = Setting::kerberos(Ok("waypost/front@TEST"), Some("the ticket is encrypted with aes"));
    let (opened, _) = setting.degraded(cause::CLOCK).await;
    let finding = opened.finding.unwrap();
    let facts: Vec<String> = finding.evidence.iter().map(|e| format!("{}: {}", e.source, e.fact)).collect();
    assert_eq!(facts, ["front: asked for waypost/mbx@TEST", "mbx: keytab: holds only arcfour-hmac kvno 3"]);
    let Outcome::Degraded { text, .. } = &opened.leg.outcome else { panic!() };
    assert_eq!(text, "the ticket is encrypted with aes");
    let names: Vec<&str> = opened.leg.steps.iter().map(|s| s.name.as_ref()).collect();
    assert_eq!(names, ["kerberos", "mtls", "service"]);
}

#[tokio::test]
async fn no_ticket_at_all_degrades_too_and_the_acceptor_hears_of_it() {
    let fault = Fault::new(cause::UNREACHABLE, "no KDC answers").seen("kdc", NOW, "192.0.2.88 refused");
    let (_, finding) = Setting::kerberos(Err(fault), None).degraded(cause::UNREACHABLE).await;
    assert_eq!(finding.evidence[0].source, "front: kdc");
    let none = Setting { ticket: None, ..Setting::kerberos(Ok(""), None) };
    none.degraded(cause::NO_KERBEROS).await;
    let mut nameless = Setting::kerberos(Ok("waypost/front@TEST"), None);
    nameless.members[1].principals.clear();
    nameless.degraded(cause::NO_KERBEROS).await;
}

#[tokio::test]
async fn what_is_required_is_required() {
    let only = |m| Policy(vec![m]);
    // The acceptor wants Kerberos alone: a downgrade is refused and says so.
    let mut setting = Setting::kerberos(Ok("waypost/front@TEST"), None);
    setting.policies = (only(Mechanism::Mtls), only(Mechanism::Kerberos));
    let (text, _) = setting.refused(cause::POLICY).await;
    assert_eq!(text, "mbx allows kerberos on this leg, and front came by mtls");
    // Both want it alone, and it fails: no way round it.
    let mut setting = Setting::kerberos(Ok("waypost/front@TEST"), Some("the keytab is stale"));
    setting.policies = (only(Mechanism::Kerberos), only(Mechanism::Kerberos));
    assert_eq!(setting.refused(cause::CLOCK).await.0, "the keytab is stale");
    // The initiator wants it alone; the acceptor would let it in by mtls.
    let mut setting = Setting::kerberos(Ok("waypost/front@TEST"), Some("the keytab is stale"));
    setting.policies.0 = only(Mechanism::Kerberos);
    setting.refused(cause::CLOCK).await;
    // The initiator knows no Kerberos where both are allowed: works, and is seen.
    let mut setting = Setting::kerberos(Ok("waypost/front@TEST"), None);
    setting.policies.0 = only(Mechanism::Mtls);
    let (opened, arrived, _) = setting.run().await;
    assert!(opened.is_ok());
    assert_eq!(arrived.unwrap().unwrap().cause, cause::POLICY);
    let nothing = Setting { policies: (Policy(vec![]), Policy::default()), ..Setting::new() };
    assert_eq!(nothing.run().await.0.unwrap_err().finding.cause, cause::POLICY);
}

#[tokio::test]
async fn the_acceptor_hears_of_a_leg_that_could_not_be_begun() {
    let fault = Fault::new(cause::UNREACHABLE, "no KDC answers").seen("kdc", NOW, "192.0.2.88 refused");
    let mut setting = Setting::kerberos(Err(fault), None);
    setting.policies.0 = Policy(vec![Mechanism::Kerberos]);
    let (text, leg) = setting.refused(cause::UNREACHABLE).await;
    assert_eq!(text, "no KDC answers");
    assert_eq!(leg.initiator.name, "front");
}

#[tokio::test]
async fn a_ticket_of_somebody_else_is_no_proof() {
    let mut setting = Setting::kerberos(Ok("amy@TEST"), None);
    setting.policies.0 = Policy(vec![Mechanism::Kerberos]);
    let (text, _) = setting.refused(cause::PRINCIPAL).await;
    assert_eq!(text, "the ticket is of amy@TEST, which is no principal of front");
}

#[tokio::test]
async fn an_acceptor_that_cannot_open_the_ticket_is_not_believed() {
    let mut setting = Setting::kerberos(Ok("waypost/front@TEST"), None);
    setting.keytab = Some(Keytab(None, b"guessed"));
    let (opened, ..) = setting.run().await;
    assert_eq!(opened.unwrap_err().text, "the acceptor could not open the ticket");
}

#[tokio::test]
async fn each_certificate_that_is_not_good_is_refused_with_its_cause() {
    let well = Setting::new();
    let ca = InnerCa::create("Contoso", NOW).unwrap();
    let with = |certificate| Setting { bundle: Bundle::of(&ca), certificate, ..Setting::new() };

    let (text, leg) = with(None).refused(cause::NO_CERTIFICATE).await;
    assert_eq!(text, "front at 192.0.2.7:50000 has shown no inner certificate");
    assert_eq!(leg.initiator.name, "front");

    let expired = with(Some(leaf(&ca, "front", NOW.plus_millis(-(SERVER_DAYS + 1) * DAY))));
    let (text, _) = expired.refused(cause::EXPIRED).await;
    assert!(text.starts_with("the inner certificate of front has expired at 2026-"), "{text}");

    let early = with(Some(leaf(&ca, "front", NOW.plus_millis(DAY))));
    early.refused(cause::NOT_YET).await;

    with(well.certificate.clone()).refused(cause::OTHER_CA).await;
    with(Some(b"x".to_vec())).refused(cause::OTHER_CA).await;
    with(Some(ca.certificate_der().to_vec())).refused(cause::WRONG_SERVER).await;

    let (text, _) = with(Some(leaf(&ca, "mbx", NOW))).refused(cause::WRONG_SERVER).await;
    assert_eq!(text, "front came with the inner certificate of mbx");

    let unknown = Setting { from: "new", ..with(Some(leaf(&ca, "new", NOW))) };
    let (opened, arrived, _) = unknown.run().await;
    assert_eq!(opened.unwrap_err().finding.cause, cause::UNKNOWN_SERVER);
    assert_eq!(arrived.unwrap_err().from.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_revoked_server_and_a_stolen_certificate_are_refused() {
    let mut setting = Setting::new();
    setting.members[0].revoked = Some(NOW.plus_millis(-1));
    let (text, _) = setting.refused(cause::REVOKED).await;
    assert_eq!(text, "front has been revoked since 2026-03-03T08:15:19.999Z");

    let mut setting = Setting::new();
    setting.members[0].certificates_since = Some(NOW.plus_millis(60_000));
    setting.clocks = (Clock::fixed(NOW.plus_millis(120_000)), Clock::fixed(NOW.plus_millis(120_000)));
    let (text, _) = setting.refused(cause::REVOKED).await;
    assert!(
        text.ends_with(
            "was made at 2026-03-03T08:15:20.000Z; those made before 2026-03-03T08:16:20.000Z are void"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn roles_say_who_may_use_what() {
    for service in [Service::Command, Service::Move, Service::Delivery, Service::Hub, Service::Directory] {
        let setting = Setting { service, ..Setting::new() };
        let (text, _) = setting.refused(cause::NOT_ALLOWED).await;
        assert!(text.contains(service.name()), "{text}");
    }
}

#[tokio::test]
async fn clocks_that_differ_are_told_of() {
    let ten_minutes = |way: i64| Setting {
        clocks: (Clock::fixed(NOW), Clock::fixed(NOW.plus_millis(way * 600_000))),
        ..Setting::new()
    };
    let (opened, arrived, _) = ten_minutes(1).run().await;
    let Outcome::Degraded { text, .. } = opened.unwrap().leg.outcome else { panic!() };
    assert_eq!(text, "the clock of mbx is 600 s ahead");
    let finding = arrived.unwrap().unwrap();
    assert_eq!(
        (finding.cause, finding.evidence[0].fact.as_str()),
        (cause::CLOCK, "the clock of front is 600 s behind")
    );
    // A certificate that only a wrong clock finds expired: the clock is the cause.
    let far = Setting {
        clocks: (Clock::fixed(NOW), Clock::fixed(NOW.plus_millis((SERVER_DAYS + 1) * DAY))),
        ..Setting::new()
    };
    far.refused(cause::CLOCK).await;
}

#[tokio::test]
async fn the_service_may_say_no() {
    let setting = Setting::new();
    let (ours, theirs) = duplex(64 * 1024);
    let refusal = Refusal {
        code: "STORE-UNAVAILABLE".into(),
        text: "the account is on its way to another server".into(),
        elsewhere: true,
        answer: serde_json::json!({"home": "mbx2"}),
    };
    let acceptor = async { setting.take(theirs).await.unwrap().arrived.refuse(refusal).await.unwrap() };
    let (opened, ()) = tokio::join!(setting.open(ours), acceptor);
    let no = opened.unwrap_err();
    assert_eq!(
        no.to_string(),
        "[INNER-DENIED] STORE-UNAVAILABLE: the account is on its way to another server"
    );
    assert!(no.elsewhere);
    assert_eq!(no.answer["home"], "mbx2");
}

#[tokio::test(start_paused = true)]
async fn peers_that_say_nothing_or_nonsense_do_not_hold_anybody_up() {
    let setting = Setting::new();
    // An acceptor that never answers.
    let (ours, _theirs) = duplex(64 * 1024);
    let no = setting.open(ours).await.unwrap_err();
    assert_eq!((no.finding.cause.code, no.elsewhere), ("INNER-TIMEOUT", true));
    // One that goes away.
    let (ours, theirs) = duplex(64 * 1024);
    drop(theirs);
    assert_eq!(setting.open(ours).await.unwrap_err().finding.cause.code, "INNER-PROTOCOL");
    // A service that never answers: whether it has begun is not known.
    let (ours, theirs) = duplex(64 * 1024);
    let (opened, _arrived) = tokio::join!(setting.open(ours), setting.take(theirs));
    let no = opened.unwrap_err();
    assert_eq!((no.finding.cause.code, no.elsewhere), ("INNER-TIMEOUT", false));
    // An initiator that says nothing; the acceptor names the address.
    let (_ours, theirs) = duplex(64);
    let not = setting.take(theirs).await.unwrap_err();
    assert_eq!(not.text, "192.0.2.7:50000 did not answer within 10 s");
    for (bytes, says) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "sent what is no inner handshake"),
        (&b"\0\0\0\x02{}"[..], "sent what is no inner handshake"),
        (&b"\0\0\0\x0d{\"waypost\":9}"[..], "speaks version 9 of the inner handshake, we speak 1"),
        (&b"\0\0\0\x10{\"waypost\""[..], "closed the connection"),
    ] {
        let (mut ours, theirs) = duplex(64 * 1024);
        ours.write_all(bytes).await.unwrap();
        ours.shutdown().await.unwrap();
        let not = setting.take(theirs).await.unwrap_err();
        assert!(not.text.contains(says), "{} / {}", not.text, String::from_utf8_lossy(bytes));
        assert_eq!((not.finding.cause.code, &not.from), ("INNER-PROTOCOL", &None));
    }
}

#[tokio::test(start_paused = true)]
async fn kerberos_that_hangs_is_given_up() {
    struct Hangs;
    impl KerberosInitiator for Hangs {
        fn begin<'a>(&'a self, _: &'a str, _: &'a [u8; 32]) -> Doing<'a, Begun> {
            Box::pin(std::future::pending())
        }
    }
    let setting = Setting::kerberos(Ok(""), None);
    let (ours, theirs) = duplex(64 * 1024);
    let leg = Leg::start("inner.imap", Party::new("f", "front"), Party::new("m", "mbx"), NOW);
    let with = Initiator {
        own: &setting.members[0],
        other: &setting.members[1],
        policy: &setting.policies.0,
        exporter: EXPORTER,
        certificate: String::new(),
        kerberos: Some(&Hangs),
        clock: &setting.clocks.0,
    };
    let hello = Hello::new(Service::Imap, Correlation(1));
    let acceptor =
        async { setting.take(theirs).await.unwrap().arrived.welcome(serde_json::Value::Null).await };
    let (opened, _welcomed) = tokio::join!(initiate(Box::new(ours), leg, hello, with), acceptor);
    assert_eq!(opened.unwrap().finding.unwrap().cause, cause::TIMEOUT);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    /// Whatever comes, the acceptor neither panics nor lets anybody in.
    #[test]
    fn garbage_is_turned_away(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), framed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let setting = Setting::new();
            let (mut ours, theirs) = duplex(4096);
            if framed {
                ours.write_u32(u32::try_from(bytes.len()).unwrap()).await.unwrap();
            }
            ours.write_all(&bytes).await.unwrap();
            ours.shutdown().await.unwrap();
            assert!(setting.take(theirs).await.is_err());
        });
    }
}
