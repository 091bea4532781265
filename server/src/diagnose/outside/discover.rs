//! The ways by which clients find the settings of a domain: Outlook's four, Exchange's JSON, Thunderbird's file. Each is
//! gone as a client goes it, without a name or password, and redirects are followed and noted.
//!
//! Where a redirect or a record leads is somebody else's choice. So an address of one's own network is only asked where the
//! question itself led into that network, and link-local ones (where clouds keep their metadata) never.

use super::fetch;
use super::resolve::Resolve;
use super::tls::Looker;
use hickory_resolver::proto::rr::RecordType;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use waypost_diagnose::outside::seen::{Hop, Looks, Miss, Reply, Tls, Way, WayKind};
use waypost_diagnose::outside::{is_inside, is_link_local};

/// For one address.
const WITHIN: Duration = Duration::from_secs(6);
/// Outlook follows ten.
const REDIRECTS_MAX: usize = 10;
const URL_MAX: usize = 2048;
/// Records of a service that are followed.
const RECORDS_MAX: usize = 3;
/// Kinds of sign-in that are kept.
const CHALLENGES_MAX: usize = 8;
const XML: &str = "/autodiscover/autodiscover.xml";

/// What all ways have in common.
pub struct Ways<'a> {
    pub resolve: &'a Resolve,
    pub looker: &'a Looker,
    pub https: u16,
    pub http: u16,
    /// Connect here, whatever the DNS says: for the names of the domain itself.
    pub address: Option<IpAddr>,
}

/// An address of the web in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    secure: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Url {
    fn https(host: &str, path: &str) -> Url {
        Url { secure: true, host: host.into(), port: None, path: path.into() }
    }

    /// `None`: nothing that a client would follow.
    fn read(text: &str) -> Option<Url> {
        let clean = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '`');
        if text.len() > URL_MAX || !text.chars().all(clean) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().ok()?),
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.parse::<IpAddr>().is_err() && !host.chars().all(named) || host.is_empty() || host.len() > 253
        {
            return None;
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Url { secure, host: host.to_ascii_lowercase(), port, path })
    }

    /// Where a redirect leads from here.
    fn to(&self, location: &str) -> Option<Url> {
        match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => {
                let clean = location.len() <= URL_MAX && location.chars().all(|c| c.is_ascii_graphic());
                clean.then(|| Url { path: location.to_owned(), ..self.clone() })
            }
            // The same scheme, another host.
            Some(rest) => {
                let scheme = if self.secure { "https" } else { "http" };
                Url::read(&format!("{scheme}://{}", rest.trim_start_matches('/')))
            }
            None => Url::read(location),
        }
    }

    fn text(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.map(|p| format!(":{p}")).unwrap_or_default();
        format!("{}://{host}{port}{}", if self.secure { "https" } else { "http" }, self.path)
    }
}

impl Ways<'_> {
    /// All ways of a domain, side by side.
    pub async fn all(&self, domain: &str) -> Vec<Way> {
        let own = format!("autodiscover.{domain}");
        let config = format!("autoconfig.{domain}");
        // Whoever asks without having signed in is told nothing about people: any name of the domain will do.
        let json =
            format!("/autodiscover/autodiscover.json?Email=postmaster@{domain}&Protocol=AutodiscoverV1");
        let file = "/mail/config-v1.1.xml";
        let known = format!("/.well-known/autoconfig{file}");
        let inside = self.inside(&[domain, &own]).await;
        let plain = Url { secure: false, ..Url::https(&own, XML) };
        let (root, host, redirect, srv, json, config, known) = tokio::join!(
            self.go(WayKind::Root, Url::https(domain, XML), inside),
            self.go(WayKind::Host, Url::https(&own, XML), inside),
            self.go(WayKind::Redirect, plain, inside),
            self.services(domain, inside),
            self.go(WayKind::Json, Url::https(&own, &json), inside),
            self.go(WayKind::Autoconfig, Url::https(&config, file), inside),
            self.go(WayKind::WellKnown, Url::https(domain, &known), inside),
        );
        let mut all = vec![root, host, redirect];
        all.extend(srv);
        all.extend([json, config, known]);
        all
    }

    /// Whether the question led into one's own network.
    async fn inside(&self, names: &[&str]) -> bool {
        if self.address.is_some_and(is_inside) {
            return true;
        }
        for name in names {
            if self.resolve.addresses(name).await.iter().any(|a| is_inside(*a)) {
                return true;
            }
        }
        false
    }

    async fn services(&self, domain: &str, inside: bool) -> Vec<Way> {
        let found = self.resolve.ask(&format!("_autodiscover._tcp.{domain}"), RecordType::SRV).await;
        let mut all = Vec::new();
        for record in found.records().iter().take(RECORDS_MAX) {
            let words: Vec<&str> = record.split(' ').collect();
            let [_, _, port, host] = words.as_slice() else { continue };
            // A dot says that there is no such service.
            if let (Ok(port), false) = (port.parse(), matches!(*host, "." | "")) {
                let url = Url { port: Some(port), ..Url::https(host, XML) };
                all.push(self.go(WayKind::Srv, url, inside).await);
            }
        }
        all
    }

    /// From the first address to wherever it leads.
    async fn go(&self, kind: WayKind, first: Url, inside: bool) -> Way {
        let mut way = Way { kind, hops: Vec::new(), stopped: None };
        let mut known = BTreeSet::new();
        // The SRV record is of the domain, but it may name any host.
        let mut chosen = kind != WayKind::Srv;
        let mut url = first;
        loop {
            if !known.insert(url.text()) {
                way.stopped = Some(format!("{} was there before: the redirects go round", url.text()));
                return way;
            }
            if way.hops.len() > REDIRECTS_MAX {
                way.stopped = Some(format!("there are more than {REDIRECTS_MAX} redirects"));
                return way;
            }
            let hop = self.hop(&url, chosen, inside).await;
            let next = hop.outcome.as_ref().ok().filter(|r| (300..400).contains(&r.status));
            let next = next.and_then(|r| r.location.clone());
            way.hops.push(hop);
            let Some(location) = next else { return way };
            match url.to(&location) {
                Some(to) => url = to,
                None => {
                    way.stopped = Some("it leads to something that is no address of the web".into());
                    return way;
                }
            }
            chosen = false;
        }
    }

    async fn hop(&self, url: &Url, chosen: bool, inside: bool) -> Hop {
        let begun = Instant::now();
        let mut hop = Hop {
            url: url.text(),
            host: url.host.clone(),
            address: None,
            tls: None,
            outcome: Err(Miss::NoAddress),
            micros: 0,
        };
        let found = match self.address.filter(|_| chosen) {
            Some(address) => vec![address],
            None => self.resolve.addresses(&url.host).await,
        };
        let Some(address) = found.first().copied() else { return hop };
        hop.address = Some(address);
        if is_inside(address) && !chosen && (!inside || is_link_local(address)) {
            let why = "it was not asked: others lead into this network, which nobody outside could reach";
            hop.outcome = Err(Miss::NoConnection(why.into()));
            return hop;
        }
        let usual = if url.secure { self.https } else { self.http };
        let at = SocketAddr::new(address, url.port.unwrap_or(usual));
        hop.outcome = match tokio::time::timeout(WITHIN, self.ask(url, at, &mut hop.tls)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Miss::NoConnection(format!("no answer within {} s", WITHIN.as_secs()))),
        };
        hop.micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        hop
    }

    async fn ask(&self, url: &Url, at: SocketAddr, tls: &mut Option<Tls>) -> Result<Reply, Miss> {
        let plain = TcpStream::connect(at).await.map_err(|e| Miss::NoConnection(e.to_string()))?;
        let no_http = |e: io::Error| Miss::NoHttp(e.to_string());
        let answer = if url.secure {
            let secured = self.looker.connect(Box::new(plain), &url.host).await;
            let secured = secured.map_err(|e| Miss::NoTls(e.to_string()))?;
            *tls = Some(secured.tls);
            fetch::ask(secured.stream, &url.host, &url.path).await.map_err(no_http)?
        } else {
            fetch::ask(Box::new(plain), &url.host, &url.path).await.map_err(no_http)?
        };
        reply(&answer).ok_or_else(|| Miss::NoHttp("what it answers is no HTTP".into()))
    }
}

fn reply(answer: &[u8]) -> Option<Reply> {
    let (head, page) = fetch::parts(answer)?;
    let text = |name: &str| fetch::field(&head, name).map(|v| clean(v, URL_MAX));
    Some(Reply {
        status: page.status,
        location: text("location").filter(|l| !l.is_empty()),
        challenges: challenges(&head),
        looks: looks(&page.kind, &page.body),
        kind: clean(&page.kind, 100),
    })
}

fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// The first word of each kind of sign-in: `Basic realm="x"` is `Basic`.
fn challenges(head: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let fields = head.lines().skip(1).filter_map(|l| l.split_once(':'));
    for (_, value) in fields.filter(|(name, _)| name.trim().eq_ignore_ascii_case("www-authenticate")) {
        for part in value.split(',') {
            let word = clean(part.split_whitespace().next().unwrap_or_default(), 30);
            let token = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !word.is_empty() && token && !all.contains(&word) && all.len() < CHALLENGES_MAX {
                all.push(word);
            }
        }
    }
    all
}

fn looks(kind: &str, body: &str) -> Looks {
    let body = body.trim_start_matches(['\u{feff}', ' ', '\r', '\n', '\t']);
    if body.is_empty() {
        return Looks::Empty;
    }
    let small: String = body.chars().take(4096).collect::<String>().to_ascii_lowercase();
    if small.contains("<clientconfig") {
        return Looks::ClientConfig;
    }
    if small.contains("<!doctype html") || small.contains("<html") {
        return Looks::Page;
    }
    if small.contains("<autodiscover") {
        return Looks::Autodiscover;
    }
    if small.starts_with('{') {
        let read: Option<serde_json::Value> = serde_json::from_str(body).ok();
        let url = read.as_ref().and_then(|v| v.get("Url")?.as_str().map(|u| clean(u, URL_MAX)));
        return url.map_or(Looks::Other, Looks::Json);
    }
    if kind.to_ascii_lowercase().starts_with("text/html") { Looks::Page } else { Looks::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_web() {
        let url = Url::read("https://Mail.Example.org:444/x?y#z").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("mail.example.org", Some(444), "/x?y"));
        assert_eq!(Url::read("http://[2001:db8::1]/").unwrap().text(), "http://[2001:db8::1]/");
        assert_eq!(Url::read("https://example.org").unwrap().text(), "https://example.org/");
        for bad in [
            "ftp://x/",
            "https://",
            "https://a b/",
            "https://amy:secret@example.org/",
            "https://x:99999/",
            "//x/",
        ] {
            assert_eq!(Url::read(bad), None, "{bad}");
        }
        let to = |location: &str| url.to(location).map(|u| u.text());
        assert_eq!(to("/owa").as_deref(), Some("https://mail.example.org:444/owa"));
        assert_eq!(to("//other.example/a").as_deref(), Some("https://other.example/a"));
        assert_eq!(to("http://other.example").as_deref(), Some("http://other.example/"));
        assert_eq!(to("javascript:alert(1)"), None);
    }

    #[test]
    fn answers_are_taken_for_what_they_are() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM, Basic realm=\"a, b\"\r\n\
            Content-Length: 0\r\n\r\n";
        let read = reply(answer).unwrap();
        assert_eq!((read.status, read.looks), (401, Looks::Empty));
        assert_eq!(read.challenges[..3], ["Negotiate", "NTLM", "Basic"]);
        assert_eq!(looks("text/xml", "\u{feff}<?xml?><Autodiscover xmlns='…'>"), Looks::Autodiscover);
        assert_eq!(
            looks("application/json", "{\"Protocol\":\"x\",\"Url\":\"https://a/\"}"),
            Looks::Json("https://a/".into())
        );
        assert_eq!(looks("", "<HTML>"), Looks::Page);
        assert_eq!(looks("text/html; charset=utf-8", "hello"), Looks::Page);
        assert_eq!(looks("text/xml", "<clientConfig version='1.1'>"), Looks::ClientConfig);
        assert!(reply(b"220 mail ESMTP\r\n\r\n").is_none());
    }
}
