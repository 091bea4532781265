use super::seen::*;
use super::*;
use waypost_base::Timestamp;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const DAY: i64 = 86_400_000;

fn certificate(names: &[&str]) -> Certificate {
    Certificate {
        subject: format!("CN={}", names.first().unwrap_or(&"none")),
        issuer: "CN=Example CA 1".into(),
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        not_before: NOW.plus_millis(-30 * DAY),
        not_after: NOW.plus_millis(60 * DAY),
        key: "ECDSA 256".into(),
        signature: "sha256ECDSA".into(),
        self_signed: false,
        sha256: "aa".into(),
        sha512: "bb".into(),
        key_sha256: "cc".into(),
        key_sha512: "dd".into(),
        der: vec![0xEE],
        key_der: vec![0xFF],
        vouches: false,
    }
}

fn chain() -> Tls {
    let issuer = Certificate {
        subject: "CN=Example CA 1".into(),
        issuer: "CN=Example Root".into(),
        sha256: "a1".into(),
        key_sha256: "c1".into(),
        vouches: true,
        ..certificate(&[])
    };
    Tls {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        chain: vec![certificate(&["mail.example.org"]), issuer],
        distrust: None,
    }
}

fn lines(text: &str) -> Vec<String> {
    text.split('|').map(str::to_owned).collect()
}

/// A door without a fault.
fn door(speaks: Speaks) -> Door {
    let (port, implicit, greeting, plain, secure) = match speaks {
        Speaks::Imap => (993, true, "* OK ready", "", "IMAP4rev1 AUTH=PLAIN"),
        Speaks::Pop => (995, true, "+OK ready", "", "USER|SASL PLAIN"),
        Speaks::Smtp => (25, false, "220 mail.example.org ESMTP", "STARTTLS|SIZE 1", "SIZE 1"),
        Speaks::Submission => (587, false, "220 mail.example.org ESMTP", "STARTTLS", "AUTH PLAIN LOGIN"),
        Speaks::Web => (443, true, "", "", ""),
    };
    Door {
        speaks,
        host: "mail.example.org".into(),
        address: Some("192.0.2.7".parse().unwrap()),
        port,
        implicit,
        greeting: lines(greeting),
        plain: if plain.is_empty() { Vec::new() } else { lines(plain) },
        secure: if secure.is_empty() { Vec::new() } else { lines(secure) },
        upgrade: if implicit { Upgrade::NotTried } else { Upgrade::Done },
        tls: Some(chain()),
        ..Door::default()
    }
}

fn dns(name: &str, kind: &str, records: &[&str]) -> Lookup {
    let answer = match records {
        [] => Answer::NoRecord,
        some => Answer::Records(some.iter().map(|r| (*r).to_owned()).collect()),
    };
    Lookup { name: name.into(), kind: kind.into(), answer, vouched: false, dnssec: None, micros: 1000 }
}

fn proved(proof: Proof, lookup: Lookup) -> Lookup {
    let dnssec = Some(Dnssec { proof, zone: "example.org.".into(), why: "as a test has it".into() });
    Lookup { dnssec, ..lookup }
}

fn policy(text: &str) -> Fetch {
    let page = Page { status: 200, kind: "text/plain".into(), body: text.into() };
    Fetch { url: "https://mta-sts.example.org/.well-known/mta-sts.txt".into(), outcome: Ok(page), micros: 1 }
}

/// A domain that has everything and keeps it.
fn domain() -> Seen {
    let host = "mail.example.org";
    Seen {
        kind: Kind::Mail,
        asked: "example.org".into(),
        domain: "example.org".into(),
        now: NOW,
        hosts: vec![Host { name: host.into(), by: NamedBy::Mx }],
        lookups: vec![
            dns("example.org", "MX", &["10 mail.example.org"]),
            dns(host, "A", &["192.0.2.7"]),
            dns(host, "AAAA", &[]),
            dns("192.0.2.7", "PTR", &["mail.example.org"]),
            dns("example.org", "TXT", &["v=spf1 mx -all", "something=else"]),
            dns("_dmarc.example.org", "TXT", &["v=DMARC1; p=reject; rua=mailto:d@example.org"]),
            dns("_mta-sts.example.org", "TXT", &["v=STSv1; id=20260101;"]),
            dns("_smtp._tls.example.org", "TXT", &["v=TLSRPTv1; rua=mailto:t@example.org"]),
            proved(Proof::Secure, dns("_25._tcp.mail.example.org", "TLSA", &["3 1 1 CC"])),
            dns("a._domainkey.example.org", "TXT", &["v=DKIM1; k=ed25519; p=MCowBQYDK2VwAyEA"]),
        ],
        doors: [Speaks::Smtp, Speaks::Submission, Speaks::Imap, Speaks::Pop, Speaks::Web].map(door).to_vec(),
        fetches: vec![policy("version: STSv1\r\nmode: enforce\r\nmx: *.example.org\r\nmax_age: 86400\r\n")],
        ..Seen::default()
    }
}

fn codes(seen: &Seen) -> Vec<&'static str> {
    judge(seen).into_iter().map(|f| f.cause.code).collect()
}

/// The causes after one thing was changed in what is sound.
fn after(change: impl FnOnce(&mut Seen)) -> Vec<&'static str> {
    let mut seen = domain();
    change(&mut seen);
    codes(&seen)
}

fn first(seen: &mut Seen, speaks: Speaks) -> &mut Door {
    seen.doors.iter_mut().find(|d| d.speaks == speaks).unwrap()
}

fn put(seen: &mut Seen, lookup: Lookup) {
    seen.lookups.retain(|l| l.name != lookup.name || l.kind != lookup.kind);
    seen.lookups.push(lookup);
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(codes(&domain()), Vec::<&str>::new());
    let report = report(&domain());
    assert!(report.findings.is_empty() && report.read.len() > 10);
}

#[test]
fn certificates() {
    let of = |change: fn(&mut Tls)| after(|seen| change(first(seen, Speaks::Imap).tls.as_mut().unwrap()));
    assert_eq!(of(|t| t.chain[0].not_after = NOW.plus_millis(-DAY)), ["OUTSIDE-CERT-EXPIRED"]);
    assert_eq!(of(|t| t.chain[1].not_after = NOW.plus_millis(-DAY)), ["OUTSIDE-CERT-EXPIRED"]);
    assert_eq!(of(|t| t.chain[0].not_after = NOW.plus_millis(2 * DAY)), ["OUTSIDE-CERT-EXPIRES-SOON"]);
    assert_eq!(of(|t| t.chain[0].not_before = NOW.plus_millis(DAY)), ["OUTSIDE-CERT-NOT-YET"]);
    assert_eq!(of(|t| t.chain[0].names = vec!["www.example.org".into()]), ["OUTSIDE-CERT-NAME"]);
    assert_eq!(of(|t| t.chain[0].self_signed = true), ["OUTSIDE-CERT-SELF-SIGNED"]);
    assert_eq!(of(|t| t.chain[0].key = "RSA 1024".into()), ["OUTSIDE-CERT-WEAK"]);
    assert_eq!(of(|t| t.distrust = Some("unknown issuer".into())), ["OUTSIDE-CERT-UNTRUSTED"]);
    let short = of(|t| {
        t.chain.truncate(1);
        t.distrust = Some("unknown issuer".into());
    });
    assert_eq!(short, ["OUTSIDE-CERT-CHAIN"]);
    // A certificate of six days is not told of on its fourth.
    let brief = of(|t| {
        t.chain[0].not_before = NOW.plus_millis(-3 * DAY);
        t.chain[0].not_after = NOW.plus_millis(3 * DAY);
    });
    assert!(brief.is_empty(), "{brief:?}");
}

#[test]
fn a_certificate_that_dane_names_needs_nothing_else() {
    let found = after(|seen| {
        let tls = first(seen, Speaks::Smtp).tls.as_mut().unwrap();
        tls.chain[0].self_signed = true;
        tls.distrust = Some("unknown issuer".into());
        seen.fetches.clear();
    });
    assert!(found.is_empty(), "{found:?}");
    let found = after(|seen| {
        put(seen, proved(Proof::Secure, dns("_25._tcp.mail.example.org", "TLSA", &["3 1 1 00"])));
    });
    assert_eq!(found, ["OUTSIDE-DANE-MISMATCH"]);
    assert_eq!(
        after(|seen| put(
            seen,
            proved(Proof::Insecure, dns("_25._tcp.mail.example.org", "TLSA", &["3 1 1 cc"]))
        )),
        ["OUTSIDE-DANE-INSECURE"]
    );
    // What could not be checked is no fault; what does not fit is one either way.
    assert!(after(|seen| put(seen, dns("_25._tcp.mail.example.org", "TLSA", &["3 1 1 cc"]))).is_empty());
    let unknown = after(|seen| put(seen, dns("_25._tcp.mail.example.org", "TLSA", &["3 1 1 00"])));
    assert_eq!(unknown, ["OUTSIDE-DANE-MISMATCH"]);
}

#[test]
fn records_of_dane_are_matched_in_every_form() {
    let of = |records: &[&str]| {
        after(|seen| put(seen, proved(Proof::Secure, dns("_25._tcp.mail.example.org", "TLSA", records))))
    };
    for fits in
        ["3 1 1 cc", "3 0 1 AA", "3 0 2 bb", "3 1 2 dd", "3 0 0 ee", "3 1 0 ff", "2 0 1 a1", "2 1 1 c1"]
    {
        assert!(of(&[fits]).is_empty(), "{fits}");
        assert!(of(&["3 1 1 00", fits]).is_empty(), "{fits} beside one of before");
    }
    for (wrong, cause) in [
        ("3 1 1 aa", "OUTSIDE-DANE-MISMATCH"),
        // The issuer is no end entity, and the server's own certificate no authority.
        ("3 1 1 c1", "OUTSIDE-DANE-MISMATCH"),
        ("2 1 1 cc", "OUTSIDE-DANE-MISMATCH"),
        ("1 1 1 cc", "OUTSIDE-DANE-UNUSABLE"),
        ("3 2 1 cc", "OUTSIDE-DANE-UNUSABLE"),
        ("3 1 9 cc", "OUTSIDE-DANE-UNUSABLE"),
    ] {
        assert_eq!(of(&[wrong]), [cause], "{wrong}");
    }
    // By its issuer a certificate counts for its names and time only; by itself whatever it says.
    let other = |record: &'static str| {
        after(|seen| {
            put(seen, proved(Proof::Secure, dns("_25._tcp.mail.example.org", "TLSA", &[record])));
            first(seen, Speaks::Smtp).tls.as_mut().unwrap().chain[0].names = vec!["mx.example.net".into()];
            seen.fetches.clear();
        })
    };
    assert!(other("3 1 1 cc").is_empty());
    assert!(other("2 1 1 c1").contains(&"OUTSIDE-DANE-MISMATCH"));
}

#[test]
fn dnssec_that_is_broken_is_one_cause() {
    let failed = |name, kind| Lookup { answer: Answer::Failed("SERVFAIL".into()), ..dns(name, kind, &[]) };
    let found = after(|seen| {
        put(seen, proved(Proof::Bogus, failed("example.org", "MX")));
        put(seen, failed("_dmarc.example.org", "TXT"));
        put(seen, proved(Proof::Bogus, dns("mail.example.org", "A", &["192.0.2.7"])));
    });
    assert_eq!(found.iter().filter(|c| **c == "OUTSIDE-DNSSEC-BOGUS").count(), 1, "{found:?}");
    assert!(!found.contains(&"OUTSIDE-DNS-FAILS"), "{found:?}");
}

#[test]
fn tls_and_passwords() {
    let submission = |change: fn(&mut Door)| after(|seen| change(first(seen, Speaks::Submission)));
    let none = submission(|d| {
        d.plain = lines("SIZE 1");
        d.secure.clear();
        d.upgrade = Upgrade::NotOffered;
        d.tls = None;
    });
    assert_eq!(none[0], "OUTSIDE-NO-STARTTLS");
    assert_eq!(submission(|d| d.plain = lines("STARTTLS|AUTH PLAIN LOGIN")), ["OUTSIDE-PASSWORD-CLEAR"]);
    assert_eq!(submission(|d| d.secure = lines("SIZE 1")), ["OUTSIDE-NO-SIGN-IN"]);
    assert_eq!(submission(|d| d.old_tls = vec!["TLSv1.0".into()]), ["OUTSIDE-TLS-OLD"]);
    let broken = submission(|d| {
        d.tls = None;
        d.secure.clear();
        d.tls_fault = Some("peer closed the connection".into());
    });
    assert_eq!(broken, ["OUTSIDE-TLS-FAILS"]);
    let refused = submission(|d| {
        d.sign_in = Some(SignIn {
            user: "amy".into(),
            mechanism: "PLAIN".into(),
            said: "535 5.7.8 no".into(),
            worked: false,
        });
    });
    assert_eq!(refused, ["OUTSIDE-SIGN-IN"]);
    for (able, clear) in [
        ("IMAP4rev1 STARTTLS LOGINDISABLED", false),
        ("IMAP4rev1 STARTTLS", true),
        ("IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN", true),
        ("IMAP4rev1 STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256", false),
    ] {
        assert_eq!(!doors::clear_sign_ins(Speaks::Imap, &lines(able)).is_empty(), clear, "{able}");
    }
    assert!(doors::clear_sign_ins(Speaks::Pop, &lines("STLS|SASL GSSAPI")).is_empty());
    assert!(!doors::clear_sign_ins(Speaks::Pop, &lines("STLS|USER")).is_empty());
}

#[test]
fn doors_that_are_shut() {
    assert_eq!(
        after(|seen| first(seen, Speaks::Imap).refused = Some("connection refused".into())),
        ["OUTSIDE-UNREACHABLE"]
    );
    // The other usual port of the service answers.
    let other = after(|seen| {
        let shut = Door {
            port: 143,
            implicit: false,
            refused: Some("connection refused".into()),
            ..door(Speaks::Imap)
        };
        seen.doors.push(shut);
    });
    assert!(other.is_empty(), "{other:?}");
    let six = |why: &'static str| {
        after(move |seen| {
            let address = Some("2001:db8::7".parse().unwrap());
            seen.doors.push(Door { address, refused: Some(why.into()), ..door(Speaks::Imap) });
        })
    };
    assert_eq!(six("no answer in time"), ["OUTSIDE-ONE-ADDRESS-DEAD"]);
    assert!(six("Network is unreachable (os error 101)").is_empty());
    assert_eq!(after(|seen| first(seen, Speaks::Imap).greeting = lines("* BYE busy")), ["OUTSIDE-GREETING"]);
    assert_eq!(after(|seen| first(seen, Speaks::Web).http_status = Some(503)), ["OUTSIDE-HTTP-ERROR"]);
}

#[test]
fn names_and_relaying() {
    let lost =
        after(|seen| put(seen, Lookup { answer: Answer::NoName, ..dns("mail.example.org", "A", &[]) }));
    assert_eq!(lost[0], "OUTSIDE-MX-BROKEN");
    assert_eq!(after(|seen| put(seen, dns("192.0.2.7", "PTR", &[]))), ["OUTSIDE-REVERSE"]);
    assert_eq!(
        after(|seen| first(seen, Speaks::Smtp).greeting = lines("220 localhost")),
        ["OUTSIDE-GREETING-NAME"]
    );
    assert_eq!(
        after(|seen| first(seen, Speaks::Smtp).relay = Some("250 2.1.5 Ok".into())),
        ["OUTSIDE-OPEN-RELAY"]
    );
    assert!(after(|seen| first(seen, Speaks::Smtp).relay = Some("554 5.7.1 no".into())).is_empty());
    let silent =
        after(|seen| put(seen, Lookup { answer: Answer::Timeout, ..dns("x.example.org", "SRV", &[]) }));
    assert_eq!(silent, ["OUTSIDE-DNS-FAILS"]);
    assert_eq!(after(|seen| put(seen, dns("example.org", "MX", &["0 ."]))), ["OUTSIDE-NULL-MX"]);
}

#[test]
fn promises() {
    let txt = |name: &'static str, records: &'static [&'static str]| {
        after(move |s| put(s, dns(name, "TXT", records)))
    };
    assert_eq!(txt("example.org", &["x"]), ["OUTSIDE-SPF-MISSING"]);
    assert_eq!(txt("example.org", &["v=spf1 +all"]), ["OUTSIDE-SPF-OPEN"]);
    assert_eq!(txt("example.org", &["v=spf1 -all", "v=spf1 mx"]), ["OUTSIDE-SPF-INVALID"]);
    assert_eq!(txt("_dmarc.example.org", &[]), ["OUTSIDE-DMARC-MISSING"]);
    assert_eq!(txt("_dmarc.example.org", &["v=DMARC1; p=refuse"]), ["OUTSIDE-DMARC-INVALID"]);
    assert_eq!(txt("_smtp._tls.example.org", &["v=TLSRPTv1"]), ["OUTSIDE-TLSRPT-INVALID"]);
    assert_eq!(txt("_mta-sts.example.org", &["v=STSv1"]), ["OUTSIDE-MTA-STS-SYNTAX"]);
    assert_eq!(txt("a._domainkey.example.org", &["v=DKIM1; p=AAAA"]), ["OUTSIDE-DKIM-KEY"]);
    let policy_of = |text: &'static str| after(move |s| s.fetches = vec![policy(text)]);
    let other = "version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 86400";
    assert_eq!(policy_of(other), ["OUTSIDE-MTA-STS-MISMATCH"]);
    assert_eq!(policy_of("mode: enforce"), ["OUTSIDE-MTA-STS-SYNTAX"]);
    let gone = after(|s| s.fetches[0].outcome = Err("connection refused".into()));
    assert_eq!(gone, ["OUTSIDE-MTA-STS-FETCH"]);
    let broken = after(|s| {
        s.lookups.retain(|l| l.kind != "TLSA");
        first(s, Speaks::Smtp).tls.as_mut().unwrap().chain[0].not_after = NOW.plus_millis(-DAY);
    });
    assert_eq!(broken, ["OUTSIDE-CERT-EXPIRED", "OUTSIDE-MTA-STS-BROKEN"]);
}
