//! What is wrong with a certificate, before clients find out: looked at when it is bound, when it is loaded, and each
//! day. Some problems refuse a binding, others are warnings; each has a stable code, says what was seen and what to do.

use super::key::KeyFile;
use crate::certificate::{Facts, KeyedCertificate, TrustError};
use std::fmt;
use waypost_base::Timestamp;
use waypost_base::explain::{Cause, Confidence, Evidence, Finding};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Days before its end at which a certificate is told of, most first.
pub const WARN_DAYS: [i64; 5] = [30, 14, 7, 3, 1];

macro_rules! causes {
    ($($name:ident $code:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub const $name: Cause =
            Cause { code: $code, meaning: $meaning, remedy: $remedy, reference: "EXCHANGE.md §6.3 A" };)*
        /// Every cause of this module, for catalogues.
        pub const CAUSES: &[Cause] = &[$($name),*];
    };
}
causes! {
    MALFORMED "CERT-UNREADABLE", "The certificate's file cannot be read as a certificate.", "Import it again with Import-ExchangeCertificate.";
    MISSING "CERT-MISSING", "A certificate that is bound is not in the store of this server.", "Import it with Import-ExchangeCertificate, or bind another with Enable-ExchangeCertificate.";
    KEY_MISSING "CERT-KEY-MISSING", "The certificate has no private key here.", "Import it again together with its key, as PEM or PFX.";
    KEY_MISMATCH "CERT-KEY-MISMATCH", "The private key belongs to another certificate.", "Import the certificate together with the key that its request was made with.";
    KEY_UNREADABLE "CERT-KEY-DENIED", "The user that the role runs as may not read the private key.", "Give the file to that user (chown, chmod 600), or import the certificate again.";
    KEY_BROKEN "CERT-KEY-UNREADABLE", "The private key's file holds no key that can be used.", "Import the certificate again together with its key.";
    KEY_EXPOSED "CERT-KEY-EXPOSED", "Everybody on this machine may read the private key.", "chmod 600 the file; whoever could read it until now may have it.";
    EXPIRED "CERT-EXPIRED", "The certificate's time is over.", "Renew it and bind the new one with Enable-ExchangeCertificate.";
    EXPIRES "CERT-EXPIRES-SOON", "The certificate's time is over soon.", "Renew it and bind the new one with Enable-ExchangeCertificate.";
    NOT_YET "CERT-NOT-YET", "The certificate's time has not begun.", "Wait until then, or look at the clock of this server.";
    SELF_SIGNED "CERT-SELF-SIGNED", "The certificate is signed by itself: clients that were not told to trust it warn their users.", "Bind one from a certificate authority, or let ACME get one.";
    UNTRUSTED "CERT-UNTRUSTED", "Clients would not accept the chain.", "Import the certificate with all certificates between it and the root.";
    NAME_MISSED "CERT-NAME-MISSED", "The certificate does not hold a name that clients use.", "Bind one that holds every name, or a further one for the missing names.";
    NO_NAME "CERT-NO-NAME", "The certificate holds no name at all (subjectAltName), which clients need.", "Have it made with its names as subjectAltName.";
    WEAK "CERT-WEAK", "Clients refuse keys or signatures of this kind.", "Have it made with ECDSA P-256 or RSA of 2048 bits or more, signed with SHA-256.";
    IS_CA "CERT-IS-CA", "The certificate is a certificate authority's, not a server's.", "Import the server's own certificate with its key.";
}

/// Where the server's own name stands: missing it is told, and refuses nothing.
pub const OWN_NAME: &str = "setting server.name";

/// A name that clients use, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    pub name: String,
    /// `setting imap.external_connection_settings`, `asked for by clients 17 times, last …`
    pub source: String,
    /// A certificate without it is refused: people were told to use it, or it works today. Others are only told of: the
    /// name of the machine is perhaps nobody's but its own, and scanners ask for anything.
    pub must: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub cause: Cause,
    pub text: String,
    /// The binding is refused, unless forced; else it is only told.
    pub refuses: bool,
    /// File, log or setting that it was seen in.
    pub source: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.cause.code, self.text)
    }
}

impl Problem {
    pub fn finding(&self, now: Timestamp) -> Finding {
        Finding {
            cause: self.cause,
            confidence: Confidence::Certain,
            evidence: vec![Evidence {
                source: self.source.clone(),
                time: Some(now),
                fact: self.text.clone(),
            }],
            remedy: vec![self.cause.remedy.to_owned()],
            untested: Vec::new(),
        }
    }
}

/// What a certificate is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    pub now: Timestamp,
    pub names: &'a [Wanted],
    /// What a client's TLS library says of the chain with the certificate authorities of this machine; `None` where it
    /// was not asked.
    pub verdict: Option<&'a Result<(), String>>,
}

/// Everything that is wrong with a certificate and its key; what refuses it comes first.
pub fn check(chain_pem: &str, key: &KeyFile, around: Around<'_>) -> Vec<Problem> {
    let mut out = Findings(Vec::new());
    let facts = match Facts::of_pem(chain_pem) {
        Ok(facts) => facts,
        Err(e) => {
            out.refuse(MALFORMED, key.path(), e.to_string());
            return out.0;
        }
    };
    look_at_key(chain_pem, key, &facts, &mut out);
    look_at_times(&facts, around.now, &mut out);
    look_at_chain(&facts, around.verdict, &mut out);
    look_at_names(&facts, around.names, &mut out);
    out.0.sort_by_key(|p| !p.refuses);
    out.0
}

struct Findings(Vec<Problem>);

impl Findings {
    fn refuse(&mut self, cause: Cause, source: &std::path::Path, text: String) {
        self.0.push(Problem { cause, text, refuses: true, source: source.display().to_string() });
    }

    fn put(&mut self, cause: Cause, refuses: bool, source: &str, text: String) {
        self.0.push(Problem { cause, text, refuses, source: source.to_owned() });
    }
}

fn look_at_key(chain_pem: &str, key: &KeyFile, facts: &Facts, out: &mut Findings) {
    match key {
        KeyFile::Missing(path) => {
            let text = format!("there is no private key for {} at {}", facts.subject, path.display());
            out.refuse(KEY_MISSING, path, text);
        }
        KeyFile::Unreadable { path, error, owner, group, mode, user } => {
            let text = format!(
                "{user} cannot read {}: {error}; the file or a folder above it belongs to {owner}:{group} with mode {mode:04o}",
                path.display()
            );
            out.refuse(KEY_UNREADABLE, path, text);
        }
        KeyFile::Readable { path, pem, exposed } => {
            let both = KeyedCertificate { chain_pem: chain_pem.to_owned(), key_pem: pem.clone() };
            match both.check() {
                Ok(_) => {}
                Err(TrustError::KeyMismatch) => {
                    let text = format!(
                        "the private key in {} is not the one of {} (serial number {})",
                        path.display(),
                        facts.subject,
                        facts.serial
                    );
                    out.refuse(KEY_MISMATCH, path, text);
                }
                Err(e) => out.refuse(KEY_BROKEN, path, format!("{}: {e}", path.display())),
            }
            if let Some(mode) = exposed {
                let text =
                    format!("{} has mode {mode:04o}: everybody on this machine may read it", path.display());
                out.put(KEY_EXPOSED, false, &path.display().to_string(), text);
            }
        }
    }
}

fn look_at_times(facts: &Facts, now: Timestamp, out: &mut Findings) {
    let subject = &facts.subject;
    if now > facts.not_after {
        let text = format!("{subject} expired at {}; it is {now}", facts.not_after);
        out.put(EXPIRED, true, "the certificate", text);
    } else if now < facts.not_before {
        let text = format!("{subject} is valid from {} on; it is {now}", facts.not_before);
        out.put(NOT_YET, true, "the certificate", text);
    } else if let Some(days) = days_left(facts, now).filter(|days| *days <= WARN_DAYS[0]) {
        // A certificate that lives for days is renewed by whoever made it.
        if facts.not_after.since(facts.not_before) > 2 * WARN_DAYS[0] * DAY_MILLIS || days <= 1 {
            let text = format!("{subject} expires at {}, in {days} days", facts.not_after);
            out.put(EXPIRES, false, "the certificate", text);
        }
    }
}

/// Whole days until the end; `None` when it is over.
pub fn days_left(facts: &Facts, now: Timestamp) -> Option<i64> {
    let left = facts.not_after.since(now);
    (left >= 0).then_some(left / DAY_MILLIS)
}

/// The warning that is due: the smallest of [`WARN_DAYS`] that has been reached.
pub fn warning_due(facts: &Facts, now: Timestamp) -> Option<i64> {
    let left = facts.not_after.since(now);
    WARN_DAYS.into_iter().filter(|days| left <= days * DAY_MILLIS).min()
}

fn look_at_chain(facts: &Facts, verdict: Option<&Result<(), String>>, out: &mut Findings) {
    if facts.is_ca && !facts.self_signed {
        out.put(IS_CA, true, "the certificate", format!("{} is a certificate authority", facts.subject));
    }
    if facts.self_signed {
        let text = format!("{} is signed by itself", facts.subject);
        out.put(SELF_SIGNED, false, "the certificate", text);
    } else if let Some(Err(why)) = verdict {
        let text = format!("clients would not accept {} issued by {}: {why}", facts.subject, facts.issuer);
        out.put(UNTRUSTED, false, "the certificate authorities of this machine", text);
    }
    if facts.key.starts_with("RSA") && facts.key_bits < 2_048 {
        let text = format!("{} has an RSA key of {} bits", facts.subject, facts.key_bits);
        out.put(WEAK, false, "the certificate", text);
    }
    if ["md5", "sha1"].iter().any(|weak| facts.signature.starts_with(weak)) {
        out.put(
            WEAK,
            false,
            "the certificate",
            format!("{} is signed with {}", facts.subject, facts.signature),
        );
    }
}

fn look_at_names(facts: &Facts, wanted: &[Wanted], out: &mut Findings) {
    if facts.names.is_empty() {
        let text = format!("{} has no subjectAltName", facts.subject);
        out.put(NO_NAME, false, "the certificate", text);
    }
    for Wanted { name, source, must } in wanted {
        if !facts.covers(name) {
            let text = format!("clients use {name} ({source}), and it is none of {}", facts.names.join(", "));
            out.put(NAME_MISSED, *must, source, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{InnerCa, ServerId};
    use crate::certificate::self_signed;
    use std::path::PathBuf;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    fn key(pem: &str) -> KeyFile {
        KeyFile::Readable { path: "/data/a.key".into(), pem: pem.to_owned(), exposed: None }
    }

    fn around(names: &[Wanted]) -> Around<'_> {
        Around { now: NOW, names, verdict: None }
    }

    fn codes(problems: &[Problem]) -> Vec<&'static str> {
        problems.iter().map(|p| p.cause.code).collect()
    }

    fn refused(problems: &[Problem]) -> String {
        problems.iter().filter(|p| p.refuses).map(Problem::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_refusal_says_why() {
        let ours = self_signed(&["mail.contoso.test"], 90, NOW).unwrap();
        let other = self_signed(&["mail.contoso.test"], 90, NOW).unwrap();
        assert_eq!(codes(&check(&ours.chain_pem, &key(&ours.key_pem), around(&[]))), ["CERT-SELF-SIGNED"]);

        let mixed = check(&ours.chain_pem, &key(&other.key_pem), around(&[]));
        assert!(
            refused(&mixed)
                .starts_with("[CERT-KEY-MISMATCH] the private key in /data/a.key is not the one of")
        );
        let broken = check(&ours.chain_pem, &key("nothing"), around(&[]));
        assert!(refused(&broken).starts_with("[CERT-KEY-UNREADABLE] /data/a.key: "), "{}", refused(&broken));
        let missing = check(&ours.chain_pem, &KeyFile::Missing("/data/a.key".into()), around(&[]));
        assert!(refused(&missing).starts_with("[CERT-KEY-MISSING]"));
        let denied = KeyFile::Unreadable {
            path: PathBuf::from("/data/a.key"),
            error: "Permission denied (os error 13)".into(),
            owner: "root".into(),
            group: "root".into(),
            mode: 0o600,
            user: "waypost".into(),
        };
        assert_eq!(
            refused(&check(&ours.chain_pem, &denied, around(&[]))),
            "[CERT-KEY-DENIED] waypost cannot read /data/a.key: Permission denied (os error 13); the file or a folder \
             above it belongs to root:root with mode 0600"
        );
        assert_eq!(codes(&check("nothing", &key(&ours.key_pem), around(&[]))), ["CERT-UNREADABLE"]);
    }

    #[test]
    fn times() {
        let at = |days: i64| {
            let made = self_signed(&["a.test"], 90, NOW.plus_millis(days * DAY_MILLIS)).unwrap();
            check(&made.chain_pem, &key(&made.key_pem), around(&[]))
        };
        assert!(refused(&at(-91)).starts_with("[CERT-EXPIRED] CN=a.test expired at "));
        assert!(refused(&at(1)).starts_with("[CERT-NOT-YET] CN=a.test is valid from "));
        assert_eq!(codes(&at(-80)), ["CERT-EXPIRES-SOON", "CERT-SELF-SIGNED"]);
        let facts = Facts::of_pem(&self_signed(&["a.test"], 90, NOW).unwrap().chain_pem).unwrap();
        let due = |days: i64| warning_due(&facts, NOW.plus_millis(days * DAY_MILLIS));
        assert_eq!(
            [due(0), due(60), due(75), due(80), due(84), due(88), due(91)],
            [None, Some(30), Some(30), Some(14), Some(7), Some(3), Some(1)]
        );
    }

    #[test]
    fn names_refuse_and_chains_are_warnings() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let issued = ca.issue(&ServerId::parse("a").unwrap(), NOW).unwrap();
        let wanted = [
            Wanted { name: "a.waypost.internal".into(), source: "setting server.name".into(), must: false },
            Wanted {
                name: "imap.contoso.test".into(),
                source: "asked for by clients 3 times".into(),
                must: true,
            },
        ];
        let verdict = Err("UnknownIssuer".to_owned());
        let around = Around { now: NOW, names: &wanted, verdict: Some(&verdict) };
        let problems = check(&issued.chain_pem, &key(&issued.key_pem), around);
        assert!(refused(&problems).starts_with("[CERT-NAME-MISSED] clients use imap.contoso.test"));
        assert_eq!(codes(&problems), ["CERT-NAME-MISSED", "CERT-UNTRUSTED"]);
        assert!(problems[0].text.starts_with("clients use imap.contoso.test (asked for by clients 3 times)"));
        let own =
            [Wanted { name: "b.waypost.internal".into(), source: "setting server.name".into(), must: false }];
        let told =
            check(&issued.chain_pem, &key(&issued.key_pem), Around { now: NOW, names: &own, verdict: None });
        assert_eq!((refused(&told).as_str(), codes(&told)), ("", vec!["CERT-NAME-MISSED"]));
        let root = check(ca.certificate_pem(), &key(&ca.key_pem()), around_now());
        assert!(codes(&root).contains(&"CERT-NO-NAME"));
        assert_eq!(problems[0].finding(NOW).evidence[0].source, "asked for by clients 3 times");
    }

    fn around_now() -> Around<'static> {
        around(&[])
    }
}
