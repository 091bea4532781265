//! What a message proves, with the evidence.
//!
//! SPF, iprev, DKIM and ARC are asked at the same time, DMARC after them; all of it within [`Input::limit`]. What the
//! name servers did not answer is [`Word::TempError`]: nobody's fault, and never a reason to refuse a message.

use crate::body::BodyHashes;
use crate::limits;
use crate::names::Names;
use crate::sign;
use base64::Engine;
use mail_auth::common::crypto::{Algorithm, CryptoError, HashAlgorithm};
use mail_auth::dkim::DkimError;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, DnsError as Asked, Error,
    IprevResult, MessageAuthenticator, SpfOutput, SpfResult,
};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use waypost_trust::dns::{Dns, DnsError};

/// The results of RFC 8601 §2.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    #[default]
    None,
    Pass,
    Fail,
    SoftFail,
    Neutral,
    /// Sound, but not good enough for us: an algorithm that nobody may use any more.
    Policy,
    TempError,
    PermError,
}

impl Word {
    pub const fn as_str(self) -> &'static str {
        match self {
            Word::None => "none",
            Word::Pass => "pass",
            Word::Fail => "fail",
            Word::SoftFail => "softfail",
            Word::Neutral => "neutral",
            Word::Policy => "policy",
            Word::TempError => "temperror",
            Word::PermError => "permerror",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    pub peer: IpAddr,
    /// As the peer called itself.
    pub helo: &'a str,
    /// Without angle brackets; empty for the null sender.
    pub mail_from: &'a str,
    /// Our name.
    pub host: &'a str,
    /// Whole, with its line ends, without the blank line.
    pub header: &'a [u8],
    pub body: BodyHashes,
    /// How long it may take; [`limits::CHECK`] is a good one.
    pub limit: Duration,
}

/// A record that a conclusion rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iprev {
    pub word: Word,
    /// The first name of the address, proved or not.
    pub name: Option<String>,
    pub why: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spf {
    pub word: Word,
    pub domain: String,
    pub record: Option<Record>,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    pub word: Word,
    /// Empty where the signature could not be read.
    pub domain: String,
    pub selector: String,
    pub algorithm: &'static str,
    /// The beginning of the signature, which tells two of one domain apart (RFC 6008).
    pub begin: String,
    pub record: Option<Record>,
    pub why: String,
}

/// The ARC chain (RFC 8617).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seals {
    pub word: Word,
    /// Who sealed, first to last.
    pub sealers: Vec<String>,
    pub why: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dmarc {
    pub word: Word,
    /// The domain of the From field; empty where there is no single one.
    pub domain: String,
    /// What the owner asks for when it fails, with `sp`, `np` and `t` reckoned in: none, quarantine, reject.
    pub policy: &'static str,
    pub record: Option<Record>,
    pub spf_aligned: bool,
    pub dkim_aligned: bool,
    pub why: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub iprev: Iprev,
    pub helo: Spf,
    pub mail_from: Spf,
    pub dkim: Vec<Dkim>,
    /// Signatures beyond [`limits::SIGNATURES`], which were not looked at.
    pub dkim_more: usize,
    pub arc: Seals,
    pub dmarc: Dmarc,
    /// From fields in the header; a message has one (RFC 5322 §3.6).
    pub from_fields: usize,
}

/// Checks messages. Clones share the cache of answers.
#[derive(Clone)]
pub struct Authenticator {
    names: Names,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

const LATE: &str = "the name servers did not answer in time";

impl Authenticator {
    pub fn new(names: Names) -> Authenticator {
        Authenticator { names }
    }

    /// Asks whom the names ask now.
    fn inner(&self) -> MessageAuthenticator {
        MessageAuthenticator(self.names.resolver())
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Looks at a message. Never fails: what could not be found out says so itself.
    pub async fn check(&self, input: &Input<'_>) -> Verdict {
        let begun = Instant::now();
        // The rest is for DMARC, which builds on the others.
        let facts = begun + input.limit * 2 / 3;
        let peer = input.peer.to_canonical();
        let header = whole(input.header);
        let from_fields = sign::fields(&header).filter(|f| f.is("from")).count();
        let (message, refused, dkim_more) = read(&header, &input.body);
        let message = message.as_ref();

        let (iprev, helo, mail_from, (outputs, mut dkim), arc) = tokio::join!(
            self.iprev(peer, facts),
            self.spf(peer, input, Scope::Helo, facts),
            self.spf(peer, input, Scope::MailFrom, facts),
            self.dkim(message, facts),
            self.arc(message, facts),
        );
        dkim.extend(refused);
        let (helo, _) = helo;
        let (mail_from, spf_output) = mail_from;
        let mut dmarc = self.dmarc(message, &outputs, &spf_output, begun + input.limit).await;
        if from_fields > 1 && dmarc.word != Word::Fail {
            // Whichever of them was looked at, a reader may be shown another.
            dmarc.word = Word::PermError;
            dmarc.why = format!("the message has {from_fields} From fields");
        }
        Verdict { iprev, helo, mail_from, dkim, dkim_more, arc, dmarc, from_fields }
    }

    /// What the SPF record of a domain says of an address; for checks of one's own records.
    pub async fn spf_of(&self, peer: IpAddr, domain: &str, host: &str) -> Spf {
        let address = format!("postmaster@{domain}");
        let input = Input {
            peer,
            helo: domain,
            mail_from: &address,
            host,
            header: b"",
            body: BodyHashes::default(),
            limit: limits::CHECK,
        };
        self.spf(peer.to_canonical(), &input, Scope::MailFrom, Instant::now() + input.limit).await.0
    }

    async fn iprev(&self, peer: IpAddr, until: Instant) -> Iprev {
        let asked = timeout_at(until, self.inner().verify_iprev(peer)).await;
        let Ok(output) = asked else {
            return Iprev { word: Word::TempError, name: None, why: LATE.into() };
        };
        let name = output.ptr.as_ref().and_then(|names| names.first()).map(|n| shown_name(n));
        let (word, why) = match &output.result {
            IprevResult::Pass => (Word::Pass, String::new()),
            IprevResult::None => (Word::None, String::new()),
            IprevResult::TempError(e) => (Word::TempError, text(e)),
            IprevResult::Fail(Error::NotAligned) => {
                (Word::Fail, "the address is not among those of its name".into())
            }
            IprevResult::Fail(e) | IprevResult::PermError(e) => match (e, &name) {
                (Error::Dns(Asked::RecordNotFound(_)), None) => {
                    (Word::Fail, "the address has no name".into())
                }
                (Error::Dns(Asked::RecordNotFound(_)), Some(_)) => {
                    (Word::Fail, "the name of the address has no addresses".into())
                }
                _ => (Word::PermError, text(e)),
            },
        };
        Iprev { word, name, why }
    }

    async fn spf(&self, peer: IpAddr, input: &Input<'_>, scope: Scope, until: Instant) -> (Spf, SpfOutput) {
        let null = input.mail_from.is_empty();
        let domain = match scope {
            Scope::MailFrom if !null => input.mail_from.rsplit_once('@').map_or("", |(_, domain)| domain),
            _ => input.helo,
        };
        let domain = crate::names::ascii(domain.trim_end_matches('.'));
        let none = |why: &str| {
            let spf = Spf { domain: domain.clone(), why: why.into(), ..Spf::default() };
            (spf, SpfOutput::default())
        };
        if domain.is_empty() || domain.starts_with('[') || !domain.contains('.') {
            return none("not a domain name");
        }
        // One record, or none, is what a domain may have (RFC 7208 §4.5).
        let record = match timeout_at(until, self.names.txt(&domain)).await {
            Err(_) => Err(temp_spf(&domain, LATE.into())),
            Ok(Err(e)) if e.retry() => Err(temp_spf(&domain, e.to_string())),
            Ok(Err(_)) => return none("no SPF record"),
            Ok(Ok(texts)) => {
                let mut records = texts.into_iter().filter(|t| is_spf(t));
                match (records.next(), records.next()) {
                    (None, _) => return none("no SPF record"),
                    (Some(text), None) => Ok(Record { name: domain.clone(), text: clean(&text) }),
                    (Some(_), Some(_)) => {
                        let why = "the domain has several SPF records".to_owned();
                        let spf = Spf { word: Word::PermError, domain: domain.clone(), record: None, why };
                        Err((spf, SpfOutput::default().with_result(SpfResult::PermError)))
                    }
                }
            }
        };
        let record = match record {
            Ok(record) => Some(record),
            Err(answer) => return answer,
        };
        let sender = if null { format!("postmaster@{domain}") } else { input.mail_from.to_owned() };
        let parameters = match scope {
            Scope::Helo => SpfParameters::verify_ehlo(peer, &domain, input.host),
            Scope::MailFrom => SpfParameters::verify_mail_from(peer, input.helo, input.host, &sender),
        };
        let Ok(output) = timeout_at(until, self.inner().verify_spf(parameters)).await else {
            let (spf, output) = temp_spf(&domain, LATE.into());
            return (Spf { record, ..spf }, output);
        };
        let (word, why) = match output.result() {
            SpfResult::Pass => (Word::Pass, String::new()),
            SpfResult::Fail => {
                let said = output.explanation().map(|e| format!(": {}", clean(e))).unwrap_or_default();
                (Word::Fail, format!("{domain} does not designate {peer} as permitted sender{said}"))
            }
            SpfResult::SoftFail => (Word::SoftFail, format!("{domain} discourages use of {peer}")),
            SpfResult::Neutral => (Word::Neutral, format!("{domain} says nothing about {peer}")),
            SpfResult::TempError => {
                (Word::TempError, "a name that the record refers to could not be asked".into())
            }
            SpfResult::PermError => (Word::PermError, "the record, or one it refers to, is in error".into()),
            SpfResult::None => (Word::None, String::new()),
        };
        (Spf { word, domain, record, why }, output)
    }

    async fn dkim<'x>(
        &self,
        message: Option<&'x AuthenticatedMessage<'x>>,
        until: Instant,
    ) -> (Vec<DkimOutput<'x>>, Vec<Dkim>) {
        let Some(message) = message else { return Default::default() };
        let late = || {
            let error = || Error::Dns(Asked::Resolver(LATE.into()));
            message
                .dkim_headers
                .iter()
                .map(|s| DkimOutput::temp_err(error()).with_signature(&s.header))
                .collect()
        };
        let outputs = timeout_at(until, self.inner().verify_dkim(message)).await.unwrap_or_else(|_| late());
        let mut results = Vec::new();
        for output in &outputs {
            results.push(self.dkim_result(output, until).await);
        }
        (outputs, results)
    }

    async fn dkim_result(&self, output: &DkimOutput<'_>, until: Instant) -> Dkim {
        let (word, why) = match output.result() {
            DkimResult::Pass => (Word::Pass, String::new()),
            DkimResult::None => (Word::None, String::new()),
            DkimResult::TempError(e) => (Word::TempError, text(e)),
            DkimResult::PermError(e) => (Word::PermError, text(e)),
            DkimResult::Neutral(e) | DkimResult::Fail(e) => signature_fault(e),
        };
        let Some(signature) = output.signature() else {
            return Dkim {
                word,
                domain: String::new(),
                selector: String::new(),
                algorithm: "",
                begin: String::new(),
                record: None,
                why,
            };
        };
        let mut dkim = about_signature(signature, word, why);
        dkim.record = self.key_record(&dkim.selector, &dkim.domain, until).await;
        dkim
    }

    /// The key that a signature names; out of the cache, since verifying has just asked for it.
    async fn key_record(&self, selector: &str, domain: &str, until: Instant) -> Option<Record> {
        let name = format!("{selector}._domainkey.{domain}");
        let texts = within(until, self.names.txt(&name)).await.ok()?;
        Some(Record { name: clean(&name), text: clean(texts.first()?) })
    }

    async fn arc<'x>(&self, message: Option<&'x AuthenticatedMessage<'x>>, until: Instant) -> Seals {
        let Some(message) = message else { return Seals::default() };
        let sealers = message.as_headers.iter().map(|seal| shown_name(&seal.header.d)).collect();
        let old = |a: Algorithm| matches!(a, Algorithm::RsaSha1);
        if message.ams_headers.iter().any(|h| old(h.header.a))
            || message.as_headers.iter().any(|h| old(h.header.a))
        {
            return Seals { word: Word::Fail, sealers, why: "sealed with SHA-1".into() };
        }
        let Ok(output) = timeout_at(until, self.inner().verify_arc(message)).await else {
            return Seals { word: Word::TempError, sealers, why: LATE.into() };
        };
        let (word, why) = match output.result() {
            DkimResult::Pass => (Word::Pass, String::new()),
            DkimResult::None => (Word::None, String::new()),
            DkimResult::TempError(e) => (Word::TempError, text(e)),
            DkimResult::Neutral(e) | DkimResult::Fail(e) | DkimResult::PermError(e) => (Word::Fail, text(e)),
        };
        Seals { word, sealers, why }
    }

    async fn dmarc<'x>(
        &self,
        message: Option<&'x AuthenticatedMessage<'x>>,
        dkim: &'x [DkimOutput<'x>],
        spf: &'x SpfOutput,
        until: Instant,
    ) -> Dmarc {
        let Some(message) = message.filter(|message| author(message).is_some()) else {
            let why = "there is no address in From".to_owned();
            return Dmarc { word: Word::PermError, policy: "none", why, ..Dmarc::default() };
        };
        let asked = DmarcParameters {
            message,
            dkim_output: dkim,
            dkim2_output: None,
            rfc5321_mail_from_domain: spf.domain(),
            spf_output: spf,
        };
        let Ok(output) = timeout_at(until, self.inner().verify_dmarc(asked)).await else {
            let domain = author(message).unwrap_or_default();
            return Dmarc {
                word: Word::TempError,
                domain,
                policy: "none",
                why: LATE.into(),
                ..Dmarc::default()
            };
        };
        let (word, why) = dmarc_word(&output, spf, dkim);
        let policy = match output.policy() {
            mail_auth::dmarc::Policy::Quarantine => "quarantine",
            mail_auth::dmarc::Policy::Reject => "reject",
            mail_auth::dmarc::Policy::None | mail_auth::dmarc::Policy::Unspecified => "none",
        };
        let record = match output.dmarc_record() {
            Some(_) => self.dmarc_record(output.domain(), until).await,
            None => None,
        };
        Dmarc {
            word,
            domain: shown_name(output.domain()),
            policy,
            record,
            spf_aligned: matches!(output.spf_result(), DmarcResult::Pass),
            dkim_aligned: matches!(output.dkim_result(), DmarcResult::Pass),
            why,
        }
    }

    /// The record that was found, by the same walk (RFC 9989 §4.10), out of the cache.
    async fn dmarc_record(&self, domain: &str, until: Instant) -> Option<Record> {
        let mut rest = domain;
        let mut labels = domain.split('.').count();
        loop {
            let name = format!("_dmarc.{rest}");
            if let Ok(texts) = within(until, self.names.txt(&name)).await
                && let Some(text) = texts.iter().find(|t| t.starts_with("v=DMARC1"))
            {
                return Some(Record { name, text: clean(text) });
            }
            loop {
                rest = rest.split_once('.')?.1;
                labels -= 1;
                if labels <= 7 {
                    break;
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Helo,
    MailFrom,
}

async fn within<T>(until: Instant, asking: impl Future<Output = Result<T, DnsError>>) -> Result<T, DnsError> {
    timeout_at(until, asking).await.unwrap_or_else(|_| Err(DnsError::Timeout(String::new())))
}

fn temp_spf(domain: &str, why: String) -> (Spf, SpfOutput) {
    let spf = Spf { word: Word::TempError, domain: domain.to_owned(), record: None, why };
    (spf, SpfOutput::new(domain.to_owned()).with_result(SpfResult::TempError))
}

fn is_spf(text: &str) -> bool {
    text.get(..6).is_some_and(|v| v.eq_ignore_ascii_case("v=spf1"))
        && text.as_bytes().get(6).is_none_or(|next| *next == b' ')
}

/// The header with the blank line behind it, as a parser wants it.
fn whole(header: &[u8]) -> Vec<u8> {
    let header = header.get(..header.len().min(limits::HEADER)).unwrap_or_default();
    let mut whole = Vec::with_capacity(header.len() + 4);
    whole.extend_from_slice(header);
    if !whole.is_empty() && !whole.ends_with(b"\n") {
        whole.extend_from_slice(b"\r\n");
    }
    whole.extend_from_slice(b"\r\n");
    whole
}

/// The message with the signatures that may count, those that may not, and how many are too many.
fn read<'x>(header: &'x [u8], body: &BodyHashes) -> (Option<AuthenticatedMessage<'x>>, Vec<Dkim>, usize) {
    let Some(mut message) = AuthenticatedMessage::parse(header) else { return Default::default() };
    let more = message.dkim_headers.len().saturating_sub(limits::SIGNATURES);
    message.dkim_headers.truncate(limits::SIGNATURES);
    message.errors.truncate(limits::SIGNATURES);
    put_hashes(&mut message, body);
    let refused = take_forbidden(&mut message);
    (Some(message), refused, more)
}

/// Only the reading, for the fuzzer.
pub(crate) fn read_only(header: &[u8], body: &BodyHashes) {
    let _ = read(&whole(header), body);
}

/// The parser has hashed the empty body; the true hashes come from [`BodyHashes`].
fn put_hashes(message: &mut AuthenticatedMessage<'_>, body: &BodyHashes) {
    for (form, algorithm, _, hash) in &mut message.body_hashes {
        if matches!(algorithm, HashAlgorithm::Sha256)
            && let Some(true_hash) = body.get(*form)
        {
            *hash = true_hash.to_vec();
        }
    }
}

/// Takes out the signatures that must not count (RFC 8301 §3.1), and says so.
fn take_forbidden(message: &mut AuthenticatedMessage<'_>) -> Vec<Dkim> {
    let mut forbidden = Vec::new();
    message.dkim_headers.retain(|field| {
        let signature = &field.header;
        let why = if matches!(signature.a, Algorithm::RsaSha1) {
            "signed with SHA-1, which proves nothing any more"
        } else if signature.h.len() > limits::SIGNED_FIELDS {
            "signs too many fields"
        } else if !signature.h.iter().any(|name| name.eq_ignore_ascii_case("from")) {
            "does not sign the From field"
        } else {
            return true;
        };
        forbidden.push(about_signature(signature, Word::Policy, why.into()));
        false
    });
    forbidden
}

fn about_signature(signature: &mail_auth::dkim::Signature, word: Word, why: String) -> Dkim {
    let begin: String =
        base64::engine::general_purpose::STANDARD.encode(&signature.b).chars().take(8).collect();
    Dkim {
        word,
        domain: shown_name(&signature.d),
        selector: shown_name(&signature.s),
        algorithm: match signature.a {
            Algorithm::RsaSha1 => "rsa-sha1",
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        },
        begin,
        record: None,
        why,
    }
}

fn signature_fault(e: &Error) -> (Word, String) {
    match e {
        Error::Dkim(DkimError::FailedBodyHashMatch) => {
            (Word::Fail, "the body was changed after signing".into())
        }
        Error::Crypto(CryptoError::FailedVerification) => {
            (Word::Fail, "the signed fields were changed, or the key is another one".into())
        }
        Error::Crypto(e) => (Word::Fail, clean(&e.to_string())),
        Error::Dkim(DkimError::SignatureExpired) => (Word::Fail, "the signature has expired".into()),
        Error::Dkim(DkimError::SignatureLength) => {
            (Word::Policy, "signs only a part of the body (l=), which anybody can add to".into())
        }
        Error::Dkim(DkimError::RevokedPublicKey) => (Word::PermError, "the key was revoked".into()),
        e => (Word::Neutral, text(e)),
    }
}

fn dmarc_word(output: &DmarcOutput, spf: &SpfOutput, dkim: &[DkimOutput<'_>]) -> (Word, String) {
    if output.domain().is_empty() {
        // Such a message is exempt from DMARC (RFC 7489 §6.6.1), which must not be a way round it.
        return (Word::PermError, "there are addresses of several domains in From".into());
    }
    match output.result() {
        DmarcResult::Pass => (Word::Pass, String::new()),
        DmarcResult::TempError(e) => (Word::TempError, text(&e)),
        DmarcResult::PermError(e) => (Word::PermError, text(&e)),
        DmarcResult::None => (Word::None, "the domain has no DMARC record".into()),
        DmarcResult::Fail(_) => {
            let spf = match spf.result() {
                SpfResult::Pass => {
                    format!("SPF passed for {}, which is another domain", shown_name(spf.domain()))
                }
                word => format!("SPF {}", spf_word(word)),
            };
            let passed: Vec<String> = dkim
                .iter()
                .filter(|o| matches!(o.result(), DkimResult::Pass))
                .filter_map(|o| o.signature().map(|s| shown_name(&s.d)))
                .collect();
            let dkim = match (dkim.is_empty(), passed.is_empty()) {
                (true, _) => "no DKIM signature".to_owned(),
                (false, true) => "no valid DKIM signature".to_owned(),
                (false, false) => format!("DKIM signed by {}, which is another domain", passed.join(", ")),
            };
            (Word::Fail, format!("{spf}; {dkim}"))
        }
    }
}

fn spf_word(result: SpfResult) -> Word {
    match result {
        SpfResult::Pass => Word::Pass,
        SpfResult::Fail => Word::Fail,
        SpfResult::SoftFail => Word::SoftFail,
        SpfResult::Neutral => Word::Neutral,
        SpfResult::TempError => Word::TempError,
        SpfResult::PermError => Word::PermError,
        SpfResult::None => Word::None,
    }
}

fn author(message: &AuthenticatedMessage<'_>) -> Option<String> {
    let domain =
        message.from.iter().find_map(|address| address.rsplit_once('@').map(|(_, domain)| domain))?;
    Some(shown_name(domain)).filter(|domain| !domain.is_empty())
}

/// The library's words, as a sentence that can stand in a field.
fn text(e: &Error) -> String {
    match e {
        Error::Dns(Asked::RecordNotFound(_)) => "there is no such record".into(),
        Error::Dns(Asked::InvalidRecordType) => "the record cannot be read".into(),
        Error::Dns(Asked::Resolver(why)) if why.is_empty() => "the name servers could not answer".into(),
        Error::Dns(Asked::Resolver(why)) => clean(why),
        e => clean(&e.to_string()),
    }
}

/// A name out of a message or a record: printable, without what would end a token.
fn shown_name(name: &str) -> String {
    let name = name.trim_end_matches('.').to_lowercase();
    name.chars().filter(|c| c.is_alphanumeric() || "-._".contains(*c)).take(limits::SHOWN).collect()
}

/// Text from outside, for fields, logs and replies: printable ASCII on one line, of bounded length.
pub(crate) fn clean(text: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut shown: String = text.chars().take(limits::SHOWN).map(printable).collect();
    if text.chars().nth(limits::SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
