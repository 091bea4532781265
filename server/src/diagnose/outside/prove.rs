//! DNSSEC checked here, from a trust anchor down, whatever the name server that was asked says of it (it is asked not to
//! check: CD).
//!
//! The verdict (secure, insecure, bogus) is the library's, which knows every form of proof that something is not there. A walk
//! of our own along the zones then says where and why: which zone has no DS record, which key does not fit, which signature
//! has expired. Where the name servers do not give what a check takes, nothing is claimed: indeterminate.

use super::anchors::Anchor;
use super::resolve::exchange;
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, DnsResponseStream, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_resolver::proto::dnssec::{Proof as Verdict, TrustAnchors, Verifier};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use waypost_base::Timestamp;
use waypost_diagnose::outside::seen::{Dnssec, Proof};

/// For one try of one name server.
const TRY: Duration = Duration::from_millis(2500);
/// For one verdict with all that it asks.
const WITHIN: Duration = Duration::from_secs(8);
/// Questions for keys, digests and signatures in one diagnosis. A domain with three mail servers elsewhere takes about fifty.
const QUESTIONS_MAX: usize = 240;
/// Zones in zones. The library has a limit of its own for its part.
const LABELS_MAX: usize = 20;
const ALIASES_MAX: usize = 4;
/// Signatures and keys of one set that are tried: made keys with the same tag would cost us time (CVE-2023-50387).
const TRIED_MAX: usize = 16;

/// By name and type.
type Answers = BTreeMap<(Name, u16), Result<Message, String>>;

/// Answers with signatures, kept for one diagnosis.
#[derive(Clone)]
pub struct Wire {
    servers: Arc<[SocketAddr]>,
    /// Failures too: each costs seconds.
    known: Arc<Mutex<Answers>>,
    asked: Arc<AtomicUsize>,
}

impl Wire {
    /// NOERROR or NXDOMAIN, whatever it holds.
    async fn answer(&self, name: &Name, kind: RecordType) -> Result<Message, String> {
        let key = (name.to_lowercase(), u16::from(kind));
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known().get(&key) {
            return answer.clone();
        }
        let answer = self.exchange(name, kind).await;
        known().insert(key, answer.clone());
        answer
    }

    async fn exchange(&self, name: &Name, kind: RecordType) -> Result<Message, String> {
        let mut last = "there is no name server to ask".to_owned();
        for server in self.servers.iter().chain(self.servers.iter()) {
            if self.asked.fetch_add(1, Ordering::Relaxed) >= QUESTIONS_MAX {
                return Err("there were too many questions".into());
            }
            match tokio::time::timeout(TRY, exchange(*server, name, kind, true)).await {
                Err(_) => last = format!("{server} gave no answer for {name} {kind}"),
                Ok(Err(e)) => last = format!("{server}: {e}"),
                Ok(Ok(message)) => match message.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => return Ok(message),
                    code => last = format!("{server} answered {code} for {name} {kind}"),
                },
            }
        }
        Err(last)
    }
}

impl DnsHandle for Wire {
    type Response = DnsResponseStream;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> DnsResponseStream {
        let wire = self.clone();
        DnsResponseStream::from(Box::pin(async move {
            let query = request.queries.first().ok_or(NetError::Message("no question"))?;
            let message = wire.answer(query.name(), query.query_type()).await.map_err(NetError::Msg)?;
            Ok(DnsResponse::from_message(message)?)
        }))
    }
}

/// Checks answers. Made once for a diagnosis.
pub struct Prover {
    wire: Wire,
    anchors: Vec<Anchor>,
    now: Timestamp,
}

/// How far a walk came.
enum End {
    /// Signed to the end.
    Sound {
        zone: Name,
        why: String,
    },
    Unsigned {
        zone: Name,
        why: String,
    },
    Fault {
        zone: Name,
        why: String,
    },
    /// A question was not answered.
    Unknown(String),
}

/// A zone whose keys are proved.
#[derive(Clone)]
struct Zone {
    name: Name,
    keys: Vec<DNSKEY>,
}

impl Prover {
    pub fn new(servers: &[SocketAddr], mut anchors: Vec<Anchor>, now: Timestamp) -> Prover {
        anchors.push(Anchor::root());
        let wire = Wire { servers: servers.into(), known: Arc::default(), asked: Arc::default() };
        Prover { wire, anchors, now }
    }

    pub async fn prove(&self, name: &Name, kind: RecordType) -> Dnssec {
        let told = |proof, zone: &Name, why: String| Dnssec { proof, zone: zone.to_ascii(), why };
        let top = match self.top(name).await {
            Ok(top) => top,
            Err(End::Fault { zone, why }) => return told(Proof::Bogus, &zone, why),
            Err(End::Sound { why, .. } | End::Unsigned { why, .. } | End::Unknown(why)) => {
                return told(Proof::Indeterminate, &Name::root(), why);
            }
        };
        let end = self.walk(top.clone(), name, kind).await;
        let verdict = match tokio::time::timeout(WITHIN, self.verdict(&top, name, kind)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(why)) => return told(Proof::Indeterminate, &top.name, why),
            Err(_) => return told(Proof::Indeterminate, &top.name, "it took too long".into()),
        };
        match (verdict, end) {
            (_, End::Unknown(why)) => told(Proof::Indeterminate, &top.name, why),
            (Verdict::Secure, End::Sound { zone, why }) => told(Proof::Secure, &zone, why),
            (Verdict::Insecure, End::Unsigned { zone, why }) => told(Proof::Insecure, &zone, why),
            (Verdict::Insecure, End::Sound { zone, .. }) => {
                told(Proof::Insecure, &zone, format!("{zone} is signed in a way that cannot be checked here"))
            }
            (Verdict::Bogus, End::Fault { zone, why }) => told(Proof::Bogus, &zone, why),
            (Verdict::Bogus, End::Unsigned { zone, .. }) => {
                let why = format!("{zone} has no DS record, and nothing signed proves that it has none");
                told(Proof::Bogus, &zone, why)
            }
            (Verdict::Bogus, End::Sound { zone, .. }) => {
                let why = format!(
                    "the signed proof (NSEC, NSEC3) that belongs to the answer for {name} {kind} is missing or does not cover it"
                );
                told(Proof::Bogus, &zone, why)
            }
            // Neither is believed where the two do not agree.
            (_, End::Sound { zone, why } | End::Unsigned { zone, why } | End::Fault { zone, why }) => {
                told(Proof::Indeterminate, &zone, format!("the checks do not agree: {why}"))
            }
        }
    }

    /// The lowest zone with a trust anchor above a name, with its keys.
    async fn top(&self, name: &Name) -> Result<Zone, End> {
        let over = self.anchors.iter().filter(|a| a.zone.zone_of(name));
        let Some(zone) = over.max_by_key(|a| a.zone.num_labels()).map(|a| a.zone.clone()) else {
            return Err(End::Unknown("there is no trust anchor".into()));
        };
        let message = self.wire.answer(&zone, RecordType::DNSKEY).await.map_err(End::Unknown)?;
        let set = Set::of(&message, &zone, RecordType::DNSKEY);
        let keys = set.keys();
        if keys.is_empty() || set.signatures.is_empty() {
            let why = format!(
                "the name server that was asked gives no signed keys of {}, so nothing can be checked through it",
                shown(&zone)
            );
            return Err(End::Unknown(why));
        }
        let fits = |key: &DNSKEY| self.anchors.iter().any(|a| a.zone == zone && a.fits(key));
        let trusted: Vec<DNSKEY> = keys.iter().filter(|key| fits(key)).cloned().collect();
        if trusted.is_empty() {
            let why = format!(
                "{} has the keys {}, and none of them is the trust anchor",
                shown(&zone),
                tags(&keys)
            );
            // With other keys at the root this is another DNS than everybody's.
            return Err(if zone.is_root() { End::Unknown(why) } else { End::Fault { zone, why } });
        }
        match set.fault(&zone, &trusted, self.now) {
            Some(why) => Err(End::Fault { zone, why }),
            None => Ok(Zone { name: zone, keys }),
        }
    }

    async fn verdict(&self, top: &Zone, name: &Name, kind: RecordType) -> Result<Verdict, String> {
        let mut anchors = TrustAnchors::empty();
        for key in &top.keys {
            anchors.insert_with_name(key.public_key(), (&top.name).into());
        }
        let checked = DnssecDnsHandle::with_trust_anchor(self.wire.clone(), Arc::new(anchors));
        let query = Query::query(name.clone(), kind);
        match checked.lookup(query, DnsRequestOptions::default()).first_answer().await {
            Ok(message) => {
                let fits =
                    |r: &&Record| matches!(r.record_type(), RecordType::CNAME) || r.record_type() == kind;
                let answers = message.answers.iter().filter(fits).map(|r| r.proof);
                // The least sure counts. Without answers the library has checked the proof of that.
                let unsigned = message.authorities.iter().any(|r| r.proof == Verdict::Insecure);
                let none = if unsigned { Verdict::Insecure } else { Verdict::Secure };
                Ok(answers.min().unwrap_or(none))
            }
            Err(NetError::Dns(DnsError::Nsec { proof, .. })) => Ok(proof),
            Err(e) => Err(e.to_string()),
        }
    }

    /// From the anchor down to the records, over aliases too.
    async fn walk(&self, top: Zone, name: &Name, kind: RecordType) -> End {
        let mut name = name.clone();
        for _ in 0..=ALIASES_MAX {
            match self.walk_to(top.clone(), &name, kind).await {
                Ok((_, Some(alias))) if top.name.zone_of(&alias) => name = alias,
                Ok((_, Some(alias))) => {
                    return End::Unknown(format!("the alias {alias} leads out of {}", top.name));
                }
                Ok((end, None)) | Err(end) => return end,
            }
        }
        End::Unknown(format!("{name} is an alias of aliases"))
    }

    async fn walk_to(&self, top: Zone, name: &Name, kind: RecordType) -> Result<(End, Option<Name>), End> {
        let mut zone = top;
        let labels = usize::from(name.num_labels());
        if labels > LABELS_MAX {
            return Err(End::Unknown(format!("{name} has too many labels")));
        }
        // A DS record belongs to the zone above; others may be at the top of a zone.
        for n in usize::from(zone.name.num_labels()) + 1..=labels {
            let below = name.trim_to(n);
            // No zone is cut at a name of a service.
            if below.iter().next().is_some_and(|label| label.starts_with(b"_")) {
                continue;
            }
            if let Some(next) = self.step(&zone, &below).await? {
                zone = next;
            }
        }
        let message = self.wire.answer(name, kind).await.map_err(End::Unknown)?;
        let set = Set::of(&message, name, kind);
        let alias = Set::of(&message, name, RecordType::CNAME);
        if set.records.is_empty() && !alias.records.is_empty() {
            if let Some(why) = alias.fault(&zone.name, &zone.keys, self.now) {
                return Err(End::Fault { zone: zone.name, why });
            }
            let to = alias.records.iter().find_map(|r| match &r.data {
                RData::CNAME(to) => Some(to.0.clone()),
                _ => None,
            });
            let why = format!("{name} is an alias, signed by {}", zone.name);
            return Ok((End::Sound { zone: zone.name, why }, to));
        }
        if set.records.is_empty() {
            return Ok((self.absent(&message, &zone, name, kind), None));
        }
        if let Some(why) = set.fault(&zone.name, &zone.keys, self.now) {
            return Err(End::Fault { zone: zone.name, why });
        }
        let until = set.signatures.iter().map(|s| seconds(s.input().sig_expiration.get())).max();
        let why = format!(
            "signed by {}, keys {}, until {}",
            shown(&zone.name),
            set.signed_by(),
            until.unwrap_or(self.now)
        );
        Ok((End::Sound { zone: zone.name, why }, None))
    }

    /// The signatures of a proof that there is nothing; whether the proof covers the question is the library's to say.
    fn absent(&self, message: &Message, zone: &Zone, name: &Name, kind: RecordType) -> End {
        let proofs = message
            .authorities
            .iter()
            .filter(|r| matches!(r.record_type(), RecordType::SOA | RecordType::NSEC | RecordType::NSEC3));
        for record in proofs.take(TRIED_MAX) {
            let set = Set::among(&message.authorities, &record.name, record.record_type());
            if let Some(why) = set.fault(&zone.name, &zone.keys, self.now) {
                return End::Fault { zone: zone.name.clone(), why };
            }
        }
        let why = format!("{} says, signed, that there is no {kind} record of {name}", shown(&zone.name));
        End::Sound { zone: zone.name.clone(), why }
    }

    /// One name further down. `None`: no zone begins there.
    async fn step(&self, above: &Zone, below: &Name) -> Result<Option<Zone>, End> {
        let message = self.wire.answer(below, RecordType::DS).await.map_err(End::Unknown)?;
        let set = Set::of(&message, below, RecordType::DS);
        let digests: Vec<DS> = set
            .records
            .iter()
            .filter_map(|r| match &r.data {
                RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds.clone()),
                _ => None,
            })
            .collect();
        if digests.is_empty() {
            return self.without_digest(above, below).await;
        }
        if let Some(why) = set.fault(&above.name, &above.keys, self.now) {
            return Err(End::Fault { zone: above.name.clone(), why });
        }
        if !digests.iter().any(|ds| ds.algorithm().is_supported() && ds.digest_type().is_supported()) {
            let why = format!("the DS records of {below} are of kinds that are not known here");
            return Err(End::Unsigned { zone: below.clone(), why });
        }
        let message = self.wire.answer(below, RecordType::DNSKEY).await.map_err(End::Unknown)?;
        let set = Set::of(&message, below, RecordType::DNSKEY);
        let keys = set.keys();
        let fits =
            |key: &&DNSKEY| digests.iter().take(TRIED_MAX).any(|ds| ds.covers(below, key).unwrap_or(false));
        let trusted: Vec<DNSKEY> = keys.iter().filter(fits).cloned().collect();
        let zone = below.clone();
        if trusted.is_empty() {
            let named: Vec<String> =
                digests.iter().take(TRIED_MAX).map(|ds| ds.key_tag().to_string()).collect();
            let has = if keys.is_empty() {
                "no keys (DNSKEY)".to_owned()
            } else {
                format!("the keys {}", tags(&keys))
            };
            let why = format!(
                "the DS record of {below} in {} names the key {}, and {below} has {has}",
                shown(&above.name),
                named.join(", ")
            );
            return Err(End::Fault { zone, why });
        }
        match set.fault(below, &trusted, self.now) {
            Some(why) => Err(End::Fault { zone, why }),
            None => Ok(Some(Zone { name: zone, keys })),
        }
    }

    /// Without a DS record there is no zone here, or one that is not signed.
    async fn without_digest(&self, above: &Zone, below: &Name) -> Result<Option<Zone>, End> {
        let message = self.wire.answer(below, RecordType::SOA).await.map_err(End::Unknown)?;
        if Set::of(&message, below, RecordType::SOA).records.is_empty() {
            return Ok(None);
        }
        let keys = self.wire.answer(below, RecordType::DNSKEY).await;
        let signed = keys.is_ok_and(|m| !Set::of(&m, below, RecordType::DNSKEY).records.is_empty());
        let why = if signed {
            format!(
                "{below} is signed, but {} has no DS record of it, so nobody can check that",
                shown(&above.name)
            )
        } else {
            format!("{below} is not signed: {} has no DS record of it", shown(&above.name))
        };
        Err(End::Unsigned { zone: below.clone(), why })
    }
}

/// Records of one name and kind with their signatures.
struct Set<'a> {
    name: Name,
    kind: RecordType,
    records: Vec<&'a Record>,
    signatures: Vec<&'a RRSIG>,
}

impl<'a> Set<'a> {
    fn of(message: &'a Message, name: &Name, kind: RecordType) -> Set<'a> {
        Set::among(&message.answers, name, kind)
    }

    fn among(records: &'a [Record], name: &Name, kind: RecordType) -> Set<'a> {
        let here = || records.iter().filter(|r| r.name == *name);
        let signature = |record: &'a Record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) if signature.input().type_covered == kind => {
                Some(signature)
            }
            _ => None,
        };
        Set {
            name: name.clone(),
            kind,
            records: here().filter(|r| r.record_type() == kind).collect(),
            signatures: here().filter_map(signature).take(TRIED_MAX).collect(),
        }
    }

    fn keys(&self) -> Vec<DNSKEY> {
        let key = |record: &&Record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) if key.zone_key() && !key.revoke() => Some(key.clone()),
            _ => None,
        };
        self.records.iter().filter_map(key).take(TRIED_MAX).collect()
    }

    fn signed_by(&self) -> String {
        let tags: Vec<String> = self.signatures.iter().map(|s| s.input().key_tag.to_string()).collect();
        tags.join(", ")
    }

    /// Why none of these keys of the zone proves the set. `None`: one does.
    fn fault(&self, zone: &Name, keys: &[DNSKEY], now: Timestamp) -> Option<String> {
        let what = format!("{} {}", shown(&self.name), self.kind);
        if self.signatures.is_empty() {
            return Some(format!("{what} has no signature (RRSIG), although {} is signed", shown(zone)));
        }
        let mut worst = None;
        for signature in &self.signatures {
            let input = signature.input();
            let (tag, begin, end) =
                (input.key_tag, seconds(input.sig_inception.get()), seconds(input.sig_expiration.get()));
            if input.signer_name != *zone {
                worst.get_or_insert(format!(
                    "{what} is signed by {}, not by its zone {zone}",
                    input.signer_name
                ));
                continue;
            }
            if now > end {
                worst = Some(format!("the signature of {what} by key {tag} has expired at {end}"));
                continue;
            }
            if now < begin {
                worst = Some(format!(
                    "the signature of {what} by key {tag} begins at {begin} only, and here it is {now}"
                ));
                continue;
            }
            let fitting: Vec<&DNSKEY> = keys
                .iter()
                .filter(|k| k.calculate_key_tag().ok() == Some(tag) && k.algorithm() == input.algorithm)
                .collect();
            if fitting.is_empty() {
                let has = tags(keys);
                worst.get_or_insert(format!(
                    "the signature of {what} is by key {tag}, and {} has the keys {has}",
                    shown(zone)
                ));
                continue;
            }
            let records = || self.records.iter().copied();
            if fitting.iter().any(|k| k.verify_rrsig(&self.name, DNSClass::IN, signature, records()).is_ok())
            {
                return None;
            }
            worst = Some(format!("the signature of {what} by key {tag} does not fit the records"));
        }
        worst
    }
}

/// The tags of keys, for people.
fn tags(keys: &[DNSKEY]) -> String {
    let tags: Vec<String> =
        keys.iter().filter_map(|k| k.calculate_key_tag().ok()).map(|t| t.to_string()).collect();
    tags.join(", ")
}

fn shown(zone: &Name) -> String {
    if zone.is_root() { "the root zone".into() } else { zone.to_ascii() }
}

/// Times in signatures are seconds since 1970, in 32 bits that go round in 2106.
fn seconds(number: u32) -> Timestamp {
    Timestamp::default().plus_millis(i64::from(number) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::dnssec::crypto::EcdsaSigningKey;
    use hickory_resolver::proto::dnssec::rdata::sig::SigInput;
    use hickory_resolver::proto::dnssec::{Algorithm, SigningKey, TBS};
    use hickory_resolver::proto::rr::SerialNumber;
    use hickory_resolver::proto::rr::rdata::A;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn key() -> (EcdsaSigningKey, DNSKEY) {
        let made = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).unwrap();
        let key = EcdsaSigningKey::from_pkcs8(&made, Algorithm::ECDSAP256SHA256).unwrap();
        let public = DNSKEY::from_key(&key.to_public_key().unwrap());
        (key, public)
    }

    /// An address and its signature, valid for these seconds around now.
    fn signed(key: &EcdsaSigningKey, public: &DNSKEY, from: i64, to: i64) -> Vec<Record> {
        let at = name("mail.example.org.");
        let address = Record::from_rdata(at.clone(), 60, RData::A(A::new(192, 0, 2, 7)));
        let time = |offset: i64| SerialNumber::new(u32::try_from(NOW.as_seconds() + offset).unwrap());
        let input = SigInput {
            type_covered: RecordType::A,
            algorithm: Algorithm::ECDSAP256SHA256,
            num_labels: 3,
            original_ttl: 60,
            sig_expiration: time(to),
            sig_inception: time(from),
            key_tag: public.calculate_key_tag().unwrap(),
            signer_name: name("example.org."),
        };
        let bytes = TBS::from_input(&at, DNSClass::IN, &input, std::iter::once(&address)).unwrap();
        let signature = RRSIG::from_sig(input, key.sign(&bytes).unwrap());
        let signature = Record::from_rdata(at, 60, RData::DNSSEC(DNSSECRData::RRSIG(signature)));
        vec![address, signature]
    }

    fn fault(records: &[Record], keys: &[DNSKEY]) -> Option<String> {
        let set = Set::among(records, &name("MAIL.example.org."), RecordType::A);
        set.fault(&name("example.org."), keys, NOW)
    }

    #[test]
    fn what_is_wrong_with_a_signature_is_told() {
        let ((key_a, public_a), (_, public_b)) = (key(), key());
        let good = signed(&key_a, &public_a, -60, 60);
        assert_eq!(fault(&good, &[public_b.clone(), public_a.clone()]), None);
        let told = |records: &[Record], keys: &[DNSKEY]| fault(records, keys).unwrap();
        let expired = told(&signed(&key_a, &public_a, -60, -1), std::slice::from_ref(&public_a));
        assert!(expired.contains("has expired at 2026-"), "{expired}");
        let early = told(&signed(&key_a, &public_a, 30, 60), std::slice::from_ref(&public_a));
        assert!(early.contains("begins at"), "{early}");
        let other = told(&good, std::slice::from_ref(&public_b));
        assert!(other.contains("has the keys"), "{other}");
        let mut changed = good.clone();
        changed[0].data = RData::A(A::new(192, 0, 2, 8));
        assert!(told(&changed, std::slice::from_ref(&public_a)).contains("does not fit"));
        assert!(told(&good[..1], &[public_a]).contains("has no signature"));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_claimed() {
        let prover = Prover::new(&[], Vec::new(), NOW);
        let told = prover.prove(&name("example.org."), RecordType::MX).await;
        assert_eq!(told.proof, Proof::Indeterminate);
    }
}
