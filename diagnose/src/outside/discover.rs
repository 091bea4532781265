//! How clients find their settings by themselves, judged: where each way leads, what a client makes of it, and which answers
//! lead people astray although another way would be right.

use super::seen::{Answer, Hop, Kind, Looks, Miss, Reply, Seen, Tls, Way, WayKind};
use super::words::covers;
use super::{Found, causes};
use crate::report;

/// Where a way leads in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leads {
    /// To settings, or to a server that gives them to whoever signs in.
    Settings(String),
    /// Nowhere: clients go on to the next way.
    Nowhere(String),
    /// To something that clients warn of, wait for, or take for an answer.
    Astray(String),
}

pub fn judge(seen: &Seen, out: &mut Vec<Found>) {
    if seen.ways.is_empty() {
        return;
    }
    let before = out.len();
    for way in &seen.ways {
        certificates(seen, way, out);
        if way.kind.outlook() {
            redirects(seen, way, out);
            in_the_clear(way, out);
            errors(way, out);
        }
        if way.kind == WayKind::Srv {
            service(seen, way, out);
        }
        if matches!(way.kind, WayKind::Root | WayKind::Host) {
            website(seen, way, out);
        }
    }
    if out.len() == before {
        nothing(seen, out);
    }
}

/// Each address that was asked, as a line of what was read.
pub fn told(seen: &Seen) -> Vec<report::Read> {
    let mut all = Vec::new();
    for way in &seen.ways {
        for (n, hop) in way.hops.iter().enumerate() {
            let address = hop.address.map(|a| format!(" ({a})")).unwrap_or_default();
            let mut kind = format!("{}: {}{address}: {}", way.kind.name(), hop.url, answered(&hop.outcome));
            if n + 1 == way.hops.len() {
                let end = match leads(seen, way) {
                    Leads::Settings(why) => format!("; clients find settings here: {why}"),
                    Leads::Nowhere(_) => "; clients go on".into(),
                    Leads::Astray(why) => format!("; clients are led astray: {why}"),
                };
                kind.push_str(&end);
            }
            let count = u64::from(hop.outcome.is_ok());
            all.push(report::Read { file: hop.url.clone(), kind, count, server: Some(hop.host.clone()) });
        }
    }
    all
}

fn answered(outcome: &Result<Reply, Miss>) -> String {
    match outcome {
        Err(Miss::NoAddress) => "the name has no address".into(),
        Err(Miss::NoConnection(why)) => format!("no connection: {why}"),
        Err(Miss::NoTls(why)) => format!("TLS fails: {why}"),
        Err(Miss::NoHttp(why)) => format!("no answer of a web server: {why}"),
        Ok(reply) => {
            let mut text = format!("status {}", reply.status);
            if let Some(to) = &reply.location {
                text.push_str(&format!(" to {to}"));
            }
            if !reply.challenges.is_empty() {
                text.push_str(&format!(", sign-in by {}", reply.challenges.join(", ")));
            }
            match &reply.looks {
                Looks::Page => text.push_str(", a page for people"),
                Looks::Json(url) => text.push_str(&format!(", which names {url}")),
                _ => {}
            }
            text
        }
    }
}

fn leads(seen: &Seen, way: &Way) -> Leads {
    if let Some(why) = &way.stopped {
        return Leads::Astray(why.clone());
    }
    let Some(hop) = way.hops.last() else { return Leads::Nowhere("nothing was asked".into()) };
    let moved = way.hops.len() > 1;
    let reply = match &hop.outcome {
        Ok(reply) => reply,
        Err(Miss::NoAddress) if moved => {
            return Leads::Astray(format!("a redirect leads to {}, which has no address", hop.host));
        }
        Err(miss @ (Miss::NoAddress | Miss::NoConnection(_))) if !moved => {
            return Leads::Nowhere(answered(&Err(miss.clone())));
        }
        Err(miss) => return Leads::Astray(answered(&Err(miss.clone()))),
    };
    if let Some(fault) = hop.tls.as_ref().and_then(|tls| fault(seen, hop, tls)) {
        return Leads::Astray(fault);
    }
    let secure = hop.url.starts_with("https:");
    let xml = way.kind.outlook();
    match (reply.status, &reply.looks) {
        (200, Looks::Autodiscover) if xml => Leads::Settings("it answers with settings".into()),
        (200, Looks::Json(url)) if way.kind == WayKind::Json => Leads::Settings(format!("it names {url}")),
        (200, Looks::ClientConfig) if !xml => Leads::Settings("it has the file".into()),
        (401, _) if xml && secure && !reply.challenges.is_empty() => {
            Leads::Settings(format!("it asks for a sign-in ({})", reply.challenges.join(", ")))
        }
        (401, _) if xml => Leads::Astray("it asks for a sign-in, and no client signs in so".into()),
        (200, Looks::Page) => Leads::Astray("it answers with a page for people".into()),
        (500..=599, _) => Leads::Astray(format!("status {}", reply.status)),
        (status, _) => Leads::Nowhere(format!("status {status}")),
    }
}

/// What a client would warn of.
fn fault(seen: &Seen, hop: &Hop, tls: &Tls) -> Option<String> {
    let own = tls.chain.first()?;
    if own.not_after < seen.now {
        Some(format!("the certificate was valid until {}", own.not_after))
    } else if own.not_before > seen.now {
        Some(format!("the certificate is valid from {} only", own.not_before))
    } else if !own.names.iter().any(|n| covers(n, &hop.host)) {
        Some(format!("the certificate is for {}, not for {}", own.names.join(", "), hop.host))
    } else {
        tls.distrust.as_ref().map(|why| format!("the certificate is not trusted: {why}"))
    }
}

fn domain(seen: &Seen) -> &str {
    if seen.domain.is_empty() { &seen.asked } else { &seen.domain }
}

fn leg(hop: &Hop) -> String {
    format!("client → {}", hop.host)
}

/// Somebody set it up: the host or the record is there.
fn announced(seen: &Seen) -> bool {
    let host = seen
        .way(WayKind::Host)
        .and_then(|w| w.hops.first())
        .is_some_and(|h| h.outcome != Err(Miss::NoAddress));
    host || seen.way(WayKind::Srv).is_some()
}

fn works(seen: &Seen) -> bool {
    seen.ways.iter().any(|w| w.kind.outlook() && matches!(leads(seen, w), Leads::Settings(_)))
}

/// The web server of the domain itself is often none that knows of mail, and its certificate is looked at by few.
fn certificates(seen: &Seen, way: &Way, out: &mut Vec<Found>) {
    if !matches!(way.kind, WayKind::Host | WayKind::Srv | WayKind::Redirect) {
        return;
    }
    for hop in &way.hops {
        let Some(why) = hop.tls.as_ref().and_then(|tls| fault(seen, hop, tls)) else { continue };
        // A host with nothing for clients is asked by them all the same, and they warn before they see that.
        let so = format!(
            "Outlook asks {} for the settings of {} and warns of its certificate: {why}.",
            hop.host,
            domain(seen)
        );
        let found = Found::new(&causes::AUTODISCOVER_CERT, 0.93, leg(hop), &hop.host)
            .seen(hop.url.clone(), why)
            .so(so);
        out.push(found);
    }
}

fn redirects(seen: &Seen, way: &Way, out: &mut Vec<Found>) {
    // What the web site of a domain does with strange addresses is of no account where nobody uses these ways.
    if way.kind == WayKind::Root && !announced(seen) {
        return;
    }
    let down = way.hops.windows(2).find_map(|pair| match pair {
        [a, b] if a.url.starts_with("https:") && b.url.starts_with("http:") => Some(b),
        _ => None,
    });
    let last = way.hops.last();
    let lost = last
        .filter(|h| way.hops.len() > 1 && matches!(h.outcome, Err(Miss::NoAddress | Miss::NoConnection(_))));
    let (why, confidence) = match (&way.stopped, lost, down) {
        (Some(why), _, _) => (why.clone(), 0.92),
        (None, Some(hop), _) => (format!("it leads to {}: {}", hop.url, answered(&hop.outcome)), 0.9),
        (None, None, Some(hop)) => {
            (format!("it leads from HTTPS to {}, in the clear, which clients refuse", hop.url), 0.8)
        }
        (None, None, None) => return,
    };
    let Some(first) = way.hops.first() else { return };
    let confidence = if way.kind == WayKind::Root && works(seen) { 0.6 } else { confidence };
    let mut found = Found::new(&causes::AUTODISCOVER_REDIRECT, confidence, leg(first), &first.host)
        .so(format!("{} does not lead to settings: {why}.", first.url));
    for hop in &way.hops {
        found = found.seen(hop.url.clone(), answered(&hop.outcome));
    }
    out.push(found);
}

/// A sign-in that is asked for without TLS.
fn in_the_clear(way: &Way, out: &mut Vec<Found>) {
    for hop in way.hops.iter().filter(|h| h.url.starts_with("http:")) {
        let Ok(reply) = &hop.outcome else { continue };
        if reply.status == 401 && reply.challenges.iter().any(|c| c.eq_ignore_ascii_case("basic")) {
            let found = Found::new(&causes::PASSWORD_CLEAR, 0.85, leg(hop), &hop.host)
                .seen(hop.url.clone(), answered(&hop.outcome))
                .so(format!("{} asks for a password without TLS.", hop.url))
                .remedy("Let port 80 answer with a redirect to HTTPS only");
            out.push(found);
        }
    }
}

fn errors(way: &Way, out: &mut Vec<Found>) {
    let Some(hop) = way.hops.last().filter(|_| way.kind != WayKind::Root) else { return };
    let Some(status) = hop.outcome.as_ref().ok().map(|r| r.status).filter(|s| *s >= 500) else { return };
    let found = Found::new(&causes::HTTP_ERROR, 0.85, leg(hop), &hop.host)
        .seen(hop.url.clone(), answered(&hop.outcome))
        .so(format!("{} answers with an error: {status}. Clients get no settings from it.", hop.url));
    out.push(found);
}

/// A record that names a server which knows nothing of it. One without an address is told with the names.
fn service(seen: &Seen, way: &Way, out: &mut Vec<Found>) {
    let Some(hop) = way.hops.last() else { return };
    let why = match leads(seen, way) {
        Leads::Settings(_) => return,
        Leads::Nowhere(why) | Leads::Astray(why) => why,
    };
    let certificate = way.hops.iter().any(|h| h.tls.as_ref().is_some_and(|t| fault(seen, h, t).is_some()));
    let errs = hop.outcome.as_ref().is_ok_and(|r| r.status >= 500);
    if hop.outcome == Err(Miss::NoAddress) || certificate || errs || way.stopped.is_some() {
        return;
    }
    let name = format!("_autodiscover._tcp.{}", domain(seen));
    let records = seen.records(&name, "SRV").join(" | ");
    let found = Found::new(&causes::SRV_BROKEN, 0.9, leg(hop), &hop.host)
        .seen(format!("DNS {name} SRV"), records)
        .seen(hop.url.clone(), answered(&hop.outcome))
        .so(format!("{name} names {}, where there are no settings: {why}.", hop.host));
    out.push(found);
}

fn website(seen: &Seen, way: &Way, out: &mut Vec<Found>) {
    let Some((first, last)) = way.hops.first().zip(way.hops.last()) else { return };
    let page = last.outcome.as_ref().is_ok_and(|r| r.status == 200 && r.looks == Looks::Page);
    if !page || way.kind == WayKind::Root && !announced(seen) && seen.kind != Kind::Autodiscover {
        return;
    }
    // Before a server that answers rightly it only costs time, and a prompt at times.
    let confidence = match way.kind {
        WayKind::Host => 0.88,
        _ if works(seen) => 0.6,
        _ => 0.8,
    };
    let mut found = Found::new(&causes::AUTODISCOVER_WEBSITE, confidence, leg(first), &first.host)
        .so(format!("{} is answered by a web site for people, with status 200 and HTML.", first.url));
    for hop in &way.hops {
        found = found.seen(hop.url.clone(), answered(&hop.outcome));
    }
    out.push(found);
}

/// No way leads anywhere.
fn nothing(seen: &Seen, out: &mut Vec<Found>) {
    let records = |service: &str| {
        let name = format!("{service}._tcp.{}", domain(seen));
        seen.lookup(&name, "SRV")
            .is_some_and(|l| matches!(&l.answer, Answer::Records(r) if r.iter().any(|r| !r.ends_with(" ."))))
    };
    let others = ["_imaps", "_imap", "_pop3s", "_pop3"].into_iter().any(records);
    let any = seen.ways.iter().any(|w| matches!(leads(seen, w), Leads::Settings(_)));
    let announced = announced(seen);
    // Many domains leave it to people; that is a fault only where somebody asks about it, or tried to.
    if any || !announced && (others || seen.kind != Kind::Autodiscover) {
        return;
    }
    let name = domain(seen);
    let mut found =
        Found::new(&causes::AUTODISCOVER_NONE, if announced { 0.9 } else { 0.7 }, "client → settings", name)
            .so(format!("None of the ways leads a client to the settings of {name}."));
    for way in &seen.ways {
        if let Some(hop) = way.hops.last() {
            found = found.seen(hop.url.clone(), format!("{}: {}", way.kind.name(), answered(&hop.outcome)));
        }
    }
    out.push(found);
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Certificate, Host, Lookup, NamedBy};
    use super::super::{judge as all, report};
    use super::*;
    use waypost_base::Timestamp;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn tls(names: &[&str]) -> Tls {
        let own = Certificate {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            not_before: NOW.plus_millis(-1_000_000),
            not_after: NOW.plus_millis(1_000_000),
            ..Certificate::default()
        };
        Tls { chain: vec![own], ..Tls::default() }
    }

    fn hop(url: &str, outcome: Result<Reply, Miss>) -> Hop {
        let host = url.split('/').nth(2).unwrap().to_owned();
        let secure = url.starts_with("https:") && outcome.is_ok();
        Hop { url: url.into(), tls: secure.then(|| tls(&[&host])), host, address: None, outcome, micros: 1 }
    }

    fn way(kind: WayKind, hops: Vec<Hop>) -> Way {
        Way { kind, hops, stopped: None }
    }

    fn exchange() -> Result<Reply, Miss> {
        let challenges = vec!["Negotiate".into(), "NTLM".into()];
        Ok(Reply { status: 401, challenges, ..Reply::default() })
    }

    fn status(status: u16) -> Result<Reply, Miss> {
        Ok(Reply { status, ..Reply::default() })
    }

    fn page() -> Result<Reply, Miss> {
        Ok(Reply { status: 200, looks: Looks::Page, ..Reply::default() })
    }

    fn to(location: &str) -> Result<Reply, Miss> {
        Ok(Reply { status: 302, location: Some(location.into()), ..Reply::default() })
    }

    const ROOT: &str = "https://example.org/autodiscover/autodiscover.xml";
    const HOST: &str = "https://autodiscover.example.org/autodiscover/autodiscover.xml";
    const CLEAR: &str = "http://autodiscover.example.org/autodiscover/autodiscover.xml";
    const MAIL: &str = "https://mail.example.org/autodiscover/autodiscover.xml";

    /// Exchange at its host, nothing elsewhere.
    fn sound() -> Vec<Way> {
        vec![
            way(WayKind::Root, vec![hop(ROOT, status(404))]),
            way(WayKind::Host, vec![hop(HOST, exchange())]),
            way(WayKind::Redirect, vec![hop(CLEAR, Err(Miss::NoConnection("refused".into())))]),
            way(WayKind::Autoconfig, vec![hop("https://autoconfig.example.org/", Err(Miss::NoAddress))]),
        ]
    }

    fn seen(ways: Vec<Way>) -> Seen {
        Seen { kind: Kind::Autodiscover, asked: "example.org".into(), now: NOW, ways, ..Seen::default() }
    }

    fn after(change: impl FnOnce(&mut Vec<Way>)) -> Vec<&'static str> {
        let mut ways = sound();
        change(&mut ways);
        all(&seen(ways)).into_iter().map(|f| f.cause.code).collect()
    }

    #[test]
    fn ways_that_work_have_no_fault() {
        assert!(after(|_| ()).is_empty());
        let by_redirect = after(|ways| {
            ways[1].hops = vec![hop(HOST, Err(Miss::NoConnection("refused".into())))];
            ways[2].hops = vec![hop(CLEAR, to(MAIL)), hop(MAIL, exchange())];
        });
        assert!(by_redirect.is_empty(), "{by_redirect:?}");
        let by_record = after(|ways| {
            ways[1].hops = vec![hop(HOST, Err(Miss::NoAddress))];
            ways[2].hops = vec![hop(CLEAR, Err(Miss::NoAddress))];
            ways.push(way(WayKind::Srv, vec![hop(MAIL, exchange())]));
        });
        assert!(by_record.is_empty(), "{by_record:?}");
        let lines = report(&seen(sound())).read;
        assert!(lines.iter().any(|l| l.kind.contains("Negotiate, NTLM")), "{lines:?}");
    }

    #[test]
    fn each_fault_is_named() {
        let other = after(|ways| ways[1].hops[0].tls = Some(tls(&["www.provider.example"])));
        assert_eq!(other, ["OUTSIDE-AUTODISCOVER-CERT"]);
        let ended =
            after(|ways| ways[1].hops[0].tls.as_mut().unwrap().chain[0].not_after = NOW.plus_millis(-1));
        assert_eq!(ended, ["OUTSIDE-AUTODISCOVER-CERT"]);
        assert_eq!(after(|ways| ways[0].hops = vec![hop(ROOT, page())]), ["OUTSIDE-AUTODISCOVER-WEBSITE"]);
        let round = after(|ways| {
            ways[1].hops = vec![hop(HOST, to(MAIL)), hop(MAIL, to(HOST))];
            ways[1].stopped = Some("the redirects go round".into());
        });
        assert_eq!(round, ["OUTSIDE-AUTODISCOVER-REDIRECT"]);
        let lost = after(|ways| ways[1].hops = vec![hop(HOST, to(MAIL)), hop(MAIL, Err(Miss::NoAddress))]);
        assert_eq!(lost, ["OUTSIDE-AUTODISCOVER-REDIRECT"]);
        let clear = |kind: &str| Ok(Reply { status: 401, challenges: vec![kind.into()], ..Reply::default() });
        assert_eq!(after(|ways| ways[2].hops = vec![hop(CLEAR, clear("Basic"))]), ["OUTSIDE-PASSWORD-CLEAR"]);
        assert_eq!(after(|ways| ways[1].hops = vec![hop(HOST, status(503))]), ["OUTSIDE-HTTP-ERROR"]);
        for wrong in [status(404), page(), Err(Miss::NoConnection("refused".into()))] {
            let found = after(|ways| ways.push(way(WayKind::Srv, vec![hop(MAIL, wrong.clone())])));
            assert_eq!(found, ["OUTSIDE-SRV-BROKEN"], "{wrong:?}");
        }
        let none = after(|ways| ways[1].hops = vec![hop(HOST, status(404))]);
        assert_eq!(none, ["OUTSIDE-AUTODISCOVER-NONE"]);
    }

    #[test]
    fn who_never_meant_to_have_it_is_not_blamed() {
        let mut plain = seen(vec![
            way(WayKind::Root, vec![hop(ROOT, page())]),
            way(WayKind::Host, vec![hop(HOST, Err(Miss::NoAddress))]),
        ]);
        plain.kind = Kind::Mail;
        plain.domain = "example.org".into();
        plain.hosts = vec![Host { name: "example.org".into(), by: NamedBy::Asked }];
        let codes: Vec<&str> =
            all(&plain).iter().map(|f| f.cause.code).filter(|c| c.contains("AUTODISCOVER")).collect();
        assert!(codes.is_empty(), "{codes:?}");
        // Records for IMAP clients are enough.
        let mut records = seen(vec![way(WayKind::Host, vec![hop(HOST, Err(Miss::NoAddress))])]);
        assert_eq!(all(&records)[0].cause.code, "OUTSIDE-AUTODISCOVER-NONE");
        records.lookups.push(Lookup {
            name: "_imaps._tcp.example.org".into(),
            kind: "SRV".into(),
            answer: Answer::Records(vec!["0 1 993 mail.example.org".into()]),
            vouched: false,
            dnssec: None,
            micros: 1,
        });
        assert!(all(&records).is_empty());
    }
}
