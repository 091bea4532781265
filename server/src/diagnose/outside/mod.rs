//! A mail server looked at from outside: names, doors, promises. What is seen is handed to `waypost_diagnose::outside`, which
//! judges it. All of it takes half a minute at most; what was not reached by then is said.

mod anchors;
mod discover;
mod door;
mod fetch;
mod prove;
mod resolve;
mod tls;

use door::Wish;
use hickory_resolver::proto::rr::RecordType;
use resolve::Resolve;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tls::Looker;
use tokio::task::JoinSet;
use waypost_base::Clock;
use waypost_diagnose::outside::is_link_local;
use waypost_diagnose::outside::names::{greeted_as, mx_host};
use waypost_diagnose::outside::seen::{Door, Host, Kind, NamedBy, Seen, Speaks, WayKind};
use waypost_diagnose::outside::spf;

/// For everything. Whoever asks waits at a terminal.
const WITHIN: Duration = Duration::from_secs(28);
/// Doors of one diagnosis, and addresses of one host.
const DOORS_MAX: usize = 24;
const ADDRESSES_MAX: usize = 4;
const MX_MAX: usize = 6;
/// Selectors that large providers and common programs use.
const SELECTORS: &[&str] =
    &["default", "dkim", "mail", "selector1", "selector2", "google", "k1", "s1", "s2", "waypost"];

/// Records that name servers for people (RFC 6186, RFC 8314 §5.1).
const SERVICES: [(&str, Speaks); 6] = [
    ("_imaps", Speaks::Imap),
    ("_imap", Speaks::Imap),
    ("_pop3s", Speaks::Pop),
    ("_pop3", Speaks::Pop),
    ("_submissions", Speaks::Submission),
    ("_submission", Speaks::Submission),
];

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub kind: Kind,
    pub host: String,
    pub port: Option<u16>,
    /// TLS first, or begun by a command; found out where it is not said.
    pub implicit: Option<bool>,
    /// Connect here, whatever the DNS says.
    pub address: Option<IpAddr>,
    /// Name and password for a sign-in.
    pub user: Option<(String, String)>,
    pub dns: Vec<SocketAddr>,
    pub ca: Option<PathBuf>,
    /// Trust anchors of signed zones that the root does not know.
    pub anchor: Option<PathBuf>,
    pub selectors: Vec<String>,
    /// Port of web servers that hold policies; 443 but in a laboratory.
    pub https_port: u16,
    /// Of web servers that are asked in the clear; 80 but in a laboratory.
    pub http_port: u16,
}

/// Where to look.
#[derive(Clone, Debug)]
struct Target {
    speaks: Speaks,
    host: String,
    port: u16,
    implicit: Option<bool>,
    promised: bool,
}

struct Looking {
    question: Question,
    resolve: Resolve,
    looker: Arc<Looker>,
    seen: Seen,
}

/// Looks, and says what was seen.
///
/// # Errors
/// When the file of authorities or of trust anchors cannot be read.
pub async fn look(question: Question, clock: &Clock) -> io::Result<Seen> {
    let now = clock.now();
    let looker = Arc::new(Looker::new(question.ca.as_deref(), now)?);
    let anchors = question.anchor.as_deref().map(anchors::of_file).transpose()?.unwrap_or_default();
    let resolve = Resolve::new(question.dns.clone(), anchors, now);
    let seen = Seen {
        kind: question.kind,
        asked: question.host.clone(),
        now,
        selectors: question.selectors.clone(),
        ..Seen::default()
    };
    let mut looking = Looking { question, resolve, looker, seen };
    if tokio::time::timeout(WITHIN, looking.all()).await.is_err() {
        let text = format!("What is missing here was not reached within {} s.", WITHIN.as_secs());
        looking.seen.left_out.push(text);
    }
    let Looking { mut seen, resolve, .. } = looking;
    seen.lookups = resolve.lookups();
    Ok(seen)
}

impl Looking {
    async fn all(&mut self) {
        let targets = self.targets().await;
        let domain = self.seen.domain.clone();
        if !domain.is_empty() {
            self.promises(&domain).await;
        }
        self.doors(targets).await;
        self.afterwards().await;
        self.proofs().await;
    }

    /// The doors that the question is about.
    async fn targets(&mut self) -> Vec<Target> {
        let host = self.question.host.clone();
        let by_address = host.parse::<IpAddr>().is_ok();
        let kind = self.question.kind;
        let mut targets = match kind {
            Kind::Mail if !by_address => self.of_domain(&host).await,
            Kind::Autodiscover if !by_address => self.of_settings(&host).await,
            Kind::Smtp if !by_address && self.question.address.is_none() => self.of_mx(&host).await,
            _ => Vec::new(),
        };
        if targets.is_empty() && !matches!(kind, Kind::Mail | Kind::Autodiscover) {
            targets = self.of_host(kind, &host).await;
        }
        if let Some(port) = self.question.port {
            // One of each host is enough: they only differ by their port.
            let mut known = BTreeSet::new();
            targets.retain(|t| known.insert((t.speaks, t.host.clone())));
            for target in &mut targets {
                target.implicit = self.question.implicit.or_else(|| usual(port));
                target.port = port;
                target.promised = true;
            }
        } else if let Some(implicit) = self.question.implicit {
            targets.iter_mut().for_each(|t| t.implicit = Some(implicit));
        }
        targets
    }

    async fn of_host(&mut self, kind: Kind, host: &str) -> Vec<Target> {
        let (speaks, ports): (Speaks, &[(u16, bool)]) = match kind {
            Kind::Imap => (Speaks::Imap, &[(993, true), (143, false)]),
            Kind::Pop => (Speaks::Pop, &[(995, true), (110, false)]),
            Kind::Submission => (Speaks::Submission, &[(587, false), (465, true)]),
            Kind::Web => (Speaks::Web, &[(443, true)]),
            Kind::Smtp | Kind::Mail | Kind::Autodiscover => (Speaks::Smtp, &[(25, false)]),
        };
        if self.question.address.is_none() && self.resolve.addresses(host).await.is_empty() {
            // People ask about their domain, whose records know the host.
            let services: &[(&str, Speaks)] = match kind {
                Kind::Imap => &[("_imaps", speaks), ("_imap", speaks)],
                Kind::Pop => &[("_pop3s", speaks), ("_pop3", speaks)],
                Kind::Submission => &[("_submissions", speaks), ("_submission", speaks)],
                _ => &[],
            };
            let found = self.of_services(host, services).await;
            if !found.is_empty() {
                return found;
            }
        }
        self.host(host, NamedBy::Asked);
        let target = |&(port, implicit): &(u16, bool)| Target {
            speaks,
            host: host.to_owned(),
            port,
            implicit: Some(implicit),
            promised: false,
        };
        ports.iter().map(target).collect()
    }

    fn host(&mut self, name: &str, by: NamedBy) {
        if !self.seen.hosts.iter().any(|h| h.name == name) {
            self.seen.hosts.push(Host { name: name.to_owned(), by });
        }
    }

    /// The servers that the MX records name; the domain is one whose promises are looked at then.
    async fn of_mx(&mut self, domain: &str) -> Vec<Target> {
        let records = self.resolve.ask(domain, RecordType::MX).await;
        let mut hosts: Vec<&str> = records.records().iter().filter_map(|r| mx_host(r)).collect();
        hosts.retain(|host| !host.is_empty() && *host != ".");
        hosts.truncate(MX_MAX);
        if !records.records().is_empty() {
            self.seen.domain = domain.to_owned();
        }
        let mut targets = Vec::new();
        for host in hosts {
            self.host(host, NamedBy::Mx);
            targets.push(Target {
                speaks: Speaks::Smtp,
                host: host.to_owned(),
                port: 25,
                implicit: Some(false),
                promised: true,
            });
        }
        targets
    }

    async fn of_services(&mut self, domain: &str, services: &[(&str, Speaks)]) -> Vec<Target> {
        let mut targets = Vec::new();
        for (service, speaks) in services {
            let name = format!("{service}._tcp.{domain}");
            let lookup = self.resolve.ask(&name, RecordType::SRV).await;
            for record in lookup.records().iter().take(ADDRESSES_MAX) {
                let words: Vec<&str> = record.split(' ').collect();
                let [_, _, port, host] = words.as_slice() else { continue };
                let Ok(port) = port.parse() else { continue };
                // A dot says that there is no such service.
                if *host == "." || host.is_empty() {
                    continue;
                }
                self.host(host, NamedBy::Srv(name.clone()));
                let implicit = service.ends_with('s');
                targets.push(Target {
                    speaks: *speaks,
                    host: (*host).to_owned(),
                    port,
                    implicit: Some(implicit),
                    promised: true,
                });
            }
        }
        targets
    }

    /// Everything that a domain names.
    async fn of_domain(&mut self, domain: &str) -> Vec<Target> {
        let mut targets = self.of_mx(domain).await;
        self.seen.domain = domain.to_owned();
        if targets.is_empty() && self.resolve.ask(domain, RecordType::MX).await.records().is_empty() {
            // RFC 5321 §5.1: without MX records the domain itself is the host.
            self.host(domain, NamedBy::Asked);
            targets.push(Target {
                speaks: Speaks::Smtp,
                host: domain.to_owned(),
                port: 25,
                implicit: Some(false),
                promised: true,
            });
        }
        let named = self.of_services(domain, &SERVICES).await;
        if !named.iter().any(|t| t.speaks == Speaks::Imap) {
            self.seen.left_out.push(format!(
                "No SRV record says where people of {domain} read their mail, so no such server was looked at. Ask about it by name: waypost diagnose imap HOST"
            ));
        }
        self.autoconfig(domain).await;
        self.ways(domain).await;
        targets.extend(named);
        targets
    }

    /// How clients find the settings of a domain, and the servers that its records name.
    async fn of_settings(&mut self, asked: &str) -> Vec<Target> {
        // People ask about the host that they see in a warning.
        let domain = ["autodiscover.", "autoconfig."].iter().find_map(|begin| asked.strip_prefix(begin));
        let domain = domain.filter(|d| d.contains('.')).unwrap_or(asked).to_owned();
        let targets = self.of_services(&domain, &SERVICES).await;
        self.autoconfig(&domain).await;
        self.ways(&domain).await;
        targets
    }

    async fn ways(&mut self, domain: &str) {
        let ways = discover::Ways {
            resolve: &self.resolve,
            looker: &self.looker,
            https: self.question.https_port,
            http: self.question.http_port,
            // Of a whole domain the address is that of its mail servers.
            address: self.question.address.filter(|_| self.question.kind == Kind::Autodiscover),
        };
        self.seen.ways = ways.all(domain).await;
        for way in self.seen.ways.iter().filter(|w| w.kind == WayKind::Srv) {
            let Some(first) = way.hops.first() else { continue };
            let (name, by) = (first.host.clone(), NamedBy::Srv(format!("_autodiscover._tcp.{domain}")));
            if !self.seen.hosts.iter().any(|h| h.name == name) {
                self.seen.hosts.push(Host { name, by });
            }
        }
    }

    /// An address of a host that a name of the domain leads to; none of the wire itself.
    async fn anywhere(&self, host: &str) -> Option<IpAddr> {
        self.resolve.addresses(host).await.into_iter().find(|a| !is_link_local(*a))
    }

    /// The file that Thunderbird and others fetch. Only its hosts are looked at.
    async fn autoconfig(&mut self, domain: &str) {
        let host = format!("autoconfig.{domain}");
        let Some(address) = self.anywhere(&host).await else { return };
        let url = format!("https://{host}/mail/config-v1.1.xml");
        let fetched = fetch::get(&url, address, self.question.https_port, &self.looker).await;
        let body = fetched.outcome.as_ref().map(|p| p.body.clone()).unwrap_or_default();
        for part in body.split("<hostname>").skip(1).take(8) {
            let name = part.split('<').next().unwrap_or_default().trim().to_ascii_lowercase();
            if !name.is_empty() && !name.contains('%') && name.len() < 254 {
                self.resolve.addresses(&name).await;
                self.host(&name, NamedBy::Autoconfig(url.clone()));
            }
        }
        self.seen.fetches.push(fetched);
    }

    /// What the domain promises in the DNS, and the policy that it may hold.
    async fn promises(&mut self, domain: &str) {
        let resolve = &self.resolve;
        let sts = format!("_mta-sts.{domain}");
        let reports = format!("_smtp._tls.{domain}");
        tokio::join!(resolve.ask(&sts, RecordType::TXT), resolve.ask(&reports, RecordType::TXT));
        if self.question.kind == Kind::Mail {
            let mut name = domain;
            loop {
                let found = resolve.ask(&format!("_dmarc.{name}"), RecordType::TXT).await;
                match name.split_once('.') {
                    Some((_, above)) if found.records().is_empty() && above.contains('.') => name = above,
                    _ => break,
                }
            }
            self.spf(domain).await;
            for selector in
                self.question.selectors.iter().map(String::as_str).chain(SELECTORS.iter().copied())
            {
                self.resolve.ask(&format!("{selector}._domainkey.{domain}"), RecordType::TXT).await;
            }
        }
        let announced = self.resolve.ask(&sts, RecordType::TXT).await;
        if announced.records().iter().any(|r| r.starts_with("v=STSv1")) {
            let host = format!("mta-sts.{domain}");
            let url = format!("https://{host}/.well-known/mta-sts.txt");
            let fetched = match self.anywhere(&host).await {
                Some(address) => fetch::get(&url, address, self.question.https_port, &self.looker).await,
                None => fetch::failed(&url, format!("{host} has no address")),
            };
            self.seen.fetches.push(fetched);
        }
    }

    /// The domain's record and those that it refers to.
    async fn spf(&self, domain: &str) {
        let mut waiting = vec![domain.to_owned()];
        let mut known = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            // A few more than are allowed, so that it shows that there are too many.
            if !known.insert(name.clone()) || known.len() > spf::QUESTIONS_MAX + 4 {
                continue;
            }
            let found = self.resolve.ask(&name, RecordType::TXT).await;
            waiting.extend(found.records().iter().filter(|r| spf::is_spf(r)).flat_map(|r| spf::refers_to(r)));
        }
    }

    async fn doors(&mut self, targets: Vec<Target>) {
        let mut wishes: Vec<Wish> = Vec::new();
        for target in targets {
            let mut addresses = match self.question.address {
                Some(address) => vec![address],
                None => self.resolve.addresses(&target.host).await,
            };
            // What records of others name is never asked on the wire itself, where clouds keep their metadata.
            if self.question.address.is_none() && target.host != self.question.host {
                let before = addresses.len();
                addresses.retain(|a| !is_link_local(*a));
                if addresses.len() < before {
                    let text = format!(
                        "A link-local address of {} was not asked: nobody reaches a server there.",
                        target.host
                    );
                    self.seen.left_out.push(text);
                }
            }
            addresses.truncate(ADDRESSES_MAX);
            for (n, address) in addresses.into_iter().enumerate() {
                let Target { speaks, host, port, implicit, promised } = target.clone();
                let user =
                    self.question.user.clone().filter(|_| speaks != Speaks::Smtp && speaks != Speaks::Web);
                wishes.push(Wish { speaks, host, address, port, implicit, promised, user, old: n == 0 });
            }
        }
        if wishes.len() > DOORS_MAX {
            let text = format!("Of {} addresses and ports {DOORS_MAX} were looked at.", wishes.len());
            self.seen.left_out.push(text);
            wishes.truncate(DOORS_MAX);
        }
        for wish in wishes.iter().filter(|w| w.speaks == Speaks::Smtp) {
            self.resolve.ask(&format!("_{}._tcp.{}", wish.port, wish.host), RecordType::TLSA).await;
        }
        // The doors are looked at side by side; where time runs out, those that are done are kept.
        let mut looks = JoinSet::new();
        for (n, wish) in wishes.into_iter().enumerate() {
            let looker = Arc::clone(&self.looker);
            looks.spawn(async move { (n, door::look(&wish, &looker).await) });
        }
        let mut done: Vec<(usize, Door)> = Vec::new();
        while let Some(looked) = looks.join_next().await {
            done.extend(looked.ok());
            done.sort_by_key(|(n, _)| *n);
            self.seen.doors = done.iter().map(|(_, door)| door.clone()).collect();
        }
        self.not_signed_in();
    }

    fn not_signed_in(&mut self) {
        if self.question.user.is_none() {
            return;
        }
        for door in
            self.seen.doors.iter().filter(|d| d.speaks != Speaks::Smtp && d.sign_in.is_none() && d.spoke())
        {
            self.seen.left_out.push(format!(
                "No sign-in was tried at {}: it takes a password only as it is, and either TLS does not stand or the certificate does not say that it is this server.",
                door.place()
            ));
        }
    }

    /// What DNSSEC says of the records by which mail finds its server, and of what was asked about.
    async fn proofs(&mut self) {
        let mut wanted: Vec<(String, RecordType)> = Vec::new();
        if !self.seen.domain.is_empty() {
            wanted.push((self.seen.domain.clone(), RecordType::MX));
        }
        for host in self.seen.hosts.iter().filter(|h| matches!(h.by, NamedBy::Mx | NamedBy::Asked)) {
            wanted.extend([(host.name.clone(), RecordType::A), (host.name.clone(), RecordType::AAAA)]);
        }
        for door in self.seen.doors.iter().filter(|d| d.speaks == Speaks::Smtp) {
            wanted.push((format!("_{}._tcp.{}", door.port, door.host), RecordType::TLSA));
        }
        let mut known = BTreeSet::new();
        wanted.retain(|(name, kind)| {
            let text = name.trim_end_matches('.');
            text.contains('.')
                && text.parse::<IpAddr>().is_err()
                && known.insert((name.clone(), u16::from(*kind)))
        });
        for (name, kind) in wanted {
            // With an address that was given, nothing is asked about names.
            if self.resolve.has_asked(&name, kind) {
                self.resolve.proved(&name, kind).await;
            }
        }
    }

    /// What the doors made worth asking: names of addresses, names in greetings.
    async fn afterwards(&mut self) {
        let smtp: Vec<(Option<IpAddr>, Option<String>)> = self
            .seen
            .doors
            .iter()
            .filter(|d| d.speaks == Speaks::Smtp && d.refused.is_none())
            .map(|d| (d.address, greeted_as(&d.greeting).map(str::to_owned)))
            .collect();
        for (address, greeted) in smtp {
            if let Some(address) = address {
                for name in self.resolve.names_of(address).await.into_iter().take(2) {
                    self.resolve.addresses(&name).await;
                    self.host(&name, NamedBy::Reverse(address.to_string()));
                }
            }
            if let Some(name) = greeted.filter(|n| n.contains('.') && n.len() < 254) {
                self.resolve.addresses(&name).await;
                self.host(&name, NamedBy::Greeting);
            }
        }
    }
}

/// Whether TLS comes first at a port that everybody knows.
fn usual(port: u16) -> Option<bool> {
    match port {
        993 | 995 | 465 | 443 => Some(true),
        25 | 143 | 110 | 587 => Some(false),
        _ => None,
    }
}
