//! What was seen of a mail server from outside: facts alone, as whoever holds the sockets noted them. Nothing here judges.

use serde::Serialize;
use std::net::IpAddr;
use waypost_base::Timestamp;

/// What the administrator asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Imap,
    Pop,
    /// Where other servers bring mail: port 25.
    Smtp,
    /// Where people send mail: 587 and 465.
    Submission,
    Web,
    /// How clients find the settings of a domain by themselves.
    Autodiscover,
    /// A whole domain: its mail servers, its clients' servers and its promises in the DNS.
    #[default]
    Mail,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Imap, Kind::Pop, Kind::Smtp, Kind::Submission, Kind::Web, Kind::Autodiscover, Kind::Mail];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Imap => "imap",
            Kind::Pop => "pop",
            Kind::Smtp => "smtp",
            Kind::Submission => "submission",
            Kind::Web => "web",
            Kind::Autodiscover => "autodiscover",
            Kind::Mail => "mail",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        match text.to_ascii_lowercase().as_str() {
            "imap" | "imap4" | "imaps" => Some(Kind::Imap),
            "pop" | "pop3" | "pop3s" | "pops" => Some(Kind::Pop),
            "smtp" | "mx" => Some(Kind::Smtp),
            "submission" | "submissions" => Some(Kind::Submission),
            "web" | "https" => Some(Kind::Web),
            "autodiscover" | "autoconfig" => Some(Kind::Autodiscover),
            "mail" => Some(Kind::Mail),
            _ => None,
        }
    }
}

/// What is spoken at a door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaks {
    #[default]
    Imap,
    Pop,
    Smtp,
    Submission,
    Web,
}

impl Speaks {
    pub const fn name(self) -> &'static str {
        match self {
            Speaks::Imap => "IMAP",
            Speaks::Pop => "POP3",
            Speaks::Smtp => "SMTP",
            Speaks::Submission => "submission",
            Speaks::Web => "HTTPS",
        }
    }

    /// The word that begins TLS, where there is one.
    pub const fn upgrade(self) -> &'static str {
        match self {
            Speaks::Pop => "STLS",
            Speaks::Web => "",
            _ => "STARTTLS",
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    pub kind: Kind,
    /// As it was asked about: a host or a domain.
    pub asked: String,
    /// The domain whose promises were looked at; empty where there is none (an address, `localhost`).
    pub domain: String,
    pub now: Timestamp,
    /// Every host that was looked for, and what named it.
    pub hosts: Vec<Host>,
    pub lookups: Vec<Lookup>,
    pub doors: Vec<Door>,
    pub fetches: Vec<Fetch>,
    /// How clients would look for settings, and where that leads.
    pub ways: Vec<Way>,
    /// DKIM selectors that were given; others are only those that many use.
    pub selectors: Vec<String>,
    /// What was not looked at, and why.
    pub left_out: Vec<String>,
}

/// A host and what named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    pub name: String,
    pub by: NamedBy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NamedBy {
    /// The question.
    Asked,
    /// An MX record.
    Mx,
    /// This SRV record.
    Srv(String),
    /// The file for automatic configuration, by its address.
    Autoconfig(String),
    /// What an SMTP server called itself.
    Greeting,
    /// A PTR record of this address.
    Reverse(String),
}

/// How a question to name servers ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The records' data as a zone file has it, TXT without quotes and joined.
    Records(Vec<String>),
    /// NXDOMAIN.
    NoName,
    NoRecord,
    Timeout,
    /// SERVFAIL and the like, or no way to the name server.
    Failed(String),
}

/// A question to name servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lookup {
    pub name: String,
    /// `A`, `MX`, `TLSA`…
    pub kind: String,
    pub answer: Answer,
    /// The name server says that DNSSEC proved it (AD). Its word only.
    pub vouched: bool,
    /// What DNSSEC says, checked here from a trust anchor down; only for what senders and clients rely on.
    pub dnssec: Option<Dnssec>,
    pub micros: u64,
}

/// The states of RFC 4035 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// A chain of signatures leads from a trust anchor to the answer, or to the proof that there is none.
    Secure,
    /// It is proved that a zone on the way is not signed.
    Insecure,
    /// There ought to be a chain, and it is broken.
    Bogus,
    /// The name servers that were asked do not give what a check takes.
    Indeterminate,
}

/// What checking an answer by DNSSEC showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dnssec {
    pub proof: Proof,
    /// The zone at which the chain ends, as `example.org.`: the one that signed, is not signed, or is at fault.
    pub zone: String,
    /// Why, with records, key tags and times.
    pub why: String,
}

impl Lookup {
    pub fn records(&self) -> &[String] {
        match &self.answer {
            Answer::Records(records) => records,
            _ => &[],
        }
    }

    /// Whether a sender that checks DNSSEC may rely on it. `None`: it could not be found out.
    pub fn secure(&self) -> Option<bool> {
        match self.dnssec.as_ref().map(|d| d.proof) {
            Some(Proof::Secure) => Some(true),
            Some(Proof::Insecure | Proof::Bogus) => Some(false),
            Some(Proof::Indeterminate) | None => None,
        }
    }

    /// The fault that DNSSEC has, where it is broken.
    pub fn broken(&self) -> Option<&Dnssec> {
        self.dnssec.as_ref().filter(|d| d.proof == Proof::Bogus)
    }
}

/// One address and port that was spoken to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Door {
    pub speaks: Speaks,
    /// The name that led here, asked for in TLS and expected in the certificate.
    pub host: String,
    #[serde(serialize_with = "shown")]
    pub address: Option<IpAddr>,
    pub port: u16,
    /// TLS from the first byte.
    pub implicit: bool,
    /// Something says that this very port is open: the question, an MX or an SRV record. Others are only the usual ones.
    pub promised: bool,
    pub steps: Vec<Step>,
    /// Why no connection came about.
    pub refused: Option<String>,
    /// The first line or lines.
    pub greeting: Vec<String>,
    /// What it says it can do, before TLS and with it.
    pub plain: Vec<String>,
    pub secure: Vec<String>,
    pub upgrade: Upgrade,
    pub tls: Option<Tls>,
    /// Why the handshake failed.
    pub tls_fault: Option<String>,
    /// Versions of TLS that are no longer safe and were accepted.
    pub old_tls: Vec<String>,
    /// How it answered a recipient elsewhere, from a sender elsewhere, without a sign-in.
    pub relay: Option<String>,
    pub sign_in: Option<SignIn>,
    /// Of an answer to GET /, where the web was spoken.
    pub http_status: Option<u16>,
    /// The conversation came to no end in time, or broke.
    pub broke: Option<String>,
}

fn shown<S: serde::Serializer>(address: &Option<IpAddr>, s: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => s.collect_str(address),
        None => s.serialize_none(),
    }
}

impl Door {
    /// `mail.example.org:993 (192.0.2.7)`
    pub fn place(&self) -> String {
        match self.address {
            Some(address) if address.to_string() != self.host => {
                format!("{}:{} ({address})", self.host, self.port)
            }
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether anything can be said about how it speaks.
    pub fn spoke(&self) -> bool {
        self.refused.is_none()
            && (!self.greeting.is_empty() || self.tls.is_some() || self.http_status.is_some())
    }

    /// The capabilities that hold in the end.
    pub fn able(&self) -> &[String] {
        if self.tls.is_some() { &self.secure } else { &self.plain }
    }
}

/// Whether TLS can be begun on a connection that begins in the clear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Upgrade {
    /// Implicit TLS, or nobody came that far.
    #[default]
    NotTried,
    NotOffered,
    /// Offered, and refused when it was asked for.
    Refused(String),
    Done,
}

/// One step with its time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    pub name: String,
    pub micros: u64,
    pub note: String,
}

/// What TLS showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    pub version: String,
    pub cipher: String,
    /// The server's own first.
    pub chain: Vec<Certificate>,
    /// Why no certificate authority stands behind the chain, its time and names left aside.
    pub distrust: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    #[serde(serialize_with = "as_text")]
    pub not_before: Timestamp,
    #[serde(serialize_with = "as_text")]
    pub not_after: Timestamp,
    /// `RSA 2048`
    pub key: String,
    pub signature: String,
    pub self_signed: bool,
    /// SHA-256 of the whole, lower-case hexadecimal; so are the next three.
    pub sha256: String,
    pub sha512: String,
    /// Of its public key (SubjectPublicKeyInfo).
    pub key_sha256: String,
    pub key_sha512: String,
    /// The whole and its public key, for records that hold them.
    #[serde(skip)]
    pub der: Vec<u8>,
    #[serde(skip)]
    pub key_der: Vec<u8>,
    /// Whoever trusts this one as an authority has a chain of signatures to the server's own; times and names are left aside.
    pub vouches: bool,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(time)
}

/// A sign-in that was tried, over TLS only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SignIn {
    pub user: String,
    pub mechanism: String,
    pub worked: bool,
    /// The server's words.
    pub said: String,
}

/// A page that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fetch {
    pub url: String,
    pub outcome: Result<Page, String>,
    pub micros: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    pub status: u16,
    pub kind: String,
    pub body: String,
}

/// One of the ways by which clients look for the settings of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WayKind {
    /// Outlook: the web server of the domain itself.
    Root,
    /// Outlook: the host `autodiscover` of the domain.
    Host,
    /// Outlook: an answer in the clear that leads to HTTPS.
    Redirect,
    /// Outlook: the SRV record `_autodiscover._tcp`.
    Srv,
    /// Exchange's second version, JSON: telephones and Outlook of today.
    Json,
    /// Thunderbird: the host `autoconfig` of the domain.
    Autoconfig,
    /// Thunderbird: the web server of the domain itself.
    WellKnown,
}

impl WayKind {
    pub const fn name(self) -> &'static str {
        match self {
            WayKind::Root => "Autodiscover at the domain itself",
            WayKind::Host => "Autodiscover at its host",
            WayKind::Redirect => "Autodiscover by a redirect",
            WayKind::Srv => "Autodiscover by its SRV record",
            WayKind::Json => "Autodiscover in JSON",
            WayKind::Autoconfig => "autoconfig at its host",
            WayKind::WellKnown => "autoconfig at the domain itself",
        }
    }

    /// Whether Outlook looks here.
    pub const fn outlook(self) -> bool {
        matches!(self, WayKind::Root | WayKind::Host | WayKind::Redirect | WayKind::Srv)
    }
}

/// A way with everything that it led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    pub kind: WayKind,
    /// The first address, and those that redirects led to.
    pub hops: Vec<Hop>,
    /// Why the last redirect was not followed.
    pub stopped: Option<String>,
}

/// One address of the web that was asked, without a name or password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub url: String,
    pub host: String,
    #[serde(serialize_with = "shown")]
    pub address: Option<IpAddr>,
    pub tls: Option<Tls>,
    pub outcome: Result<Reply, Miss>,
    pub micros: u64,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Miss {
    /// The name has no address: clients go on to the next way.
    NoAddress,
    NoConnection(String),
    NoTls(String),
    NoHttp(String),
}

/// What the web server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reply {
    pub status: u16,
    /// The type of the content, as it says.
    pub kind: String,
    pub location: Option<String>,
    /// Kinds of sign-in that it offers (WWW-Authenticate): `Negotiate`, `NTLM`, `Basic`, `Bearer`.
    pub challenges: Vec<String>,
    pub looks: Looks,
}

/// What a client would take the content for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Looks {
    #[default]
    Empty,
    /// Autodiscover's XML.
    Autodiscover,
    /// Autodiscover's JSON, with the address that it names.
    Json(String),
    /// Settings in the form of Thunderbird.
    ClientConfig,
    /// A page for people.
    Page,
    Other,
}

impl Seen {
    pub fn way(&self, kind: WayKind) -> Option<&Way> {
        self.ways.iter().find(|w| w.kind == kind)
    }

    pub fn lookup(&self, name: &str, kind: &str) -> Option<&Lookup> {
        self.lookups.iter().find(|l| l.kind == kind && l.name.eq_ignore_ascii_case(name))
    }

    pub fn records(&self, name: &str, kind: &str) -> &[String] {
        self.lookup(name, kind).map_or(&[], Lookup::records)
    }

    pub fn fetch(&self, url: &str) -> Option<&Fetch> {
        self.fetches.iter().find(|f| f.url == url)
    }
}
