//! Checks for causes of the area `certificates`: settings, connectors and sites against the certificates that are there.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::{Fact, server_name};
use crate::read::when;
use crate::words;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const ALL: &[(&str, Check)] = &[
    ("imap_pop_name_is_not_the_server", name_is_not_the_server),
    ("imap_pop_name_is_the_server", name_is_the_server),
    ("imap_pop_name_rewritten", name_rewritten),
    ("imap_pop_name_selects_no_certificate", name_selects_no_certificate),
    ("imap_pop_name_fits_several_certificates", name_fits_several_certificates),
    ("imap_pop_external_settings_empty", external_settings_empty),
    ("imap_pop_every_sign_in_fails_at_proxy", every_sign_in_fails_at_proxy),
    ("imap_pop_proxy_works_again", proxy_works_again),
    ("imap_pop_back_end_opens_and_closes", back_end_opens_and_closes),
    ("imap_pop_inner_certificate_wrong_name", inner_certificate_wrong_name),
    ("imap_pop_back_end_handshake_fails", back_end_handshake_fails),
    ("imap_pop_fail_differently", fail_differently),
    ("imap_pop_key_unreadable", key_unreadable),
    ("imap_pop_key_readable", key_readable),
    ("certificate_for_imap_not_for_smtp", for_imap_not_for_smtp),
    ("connector_certificate_absent", connector_certificate_absent),
    ("connector_certificate_present", connector_certificate_present),
    ("connector_name_not_covered", connector_name_not_covered),
    ("event_12014_names_a_pair", event_12014_names_a_pair),
    ("event_12014_names_a_host", event_12014_names_a_host),
    ("ehlo_without_starttls", ehlo_without_starttls),
    ("smtp_certificate_expired", smtp_certificate_expired),
    ("tls_peer_shows_expired_smtp_certificate", peer_shows_expired),
    ("internal_transport_certificate_absent", internal_absent),
    ("internal_transport_certificate_expired", internal_expired),
    ("sending_certificate_not_for_smtp", sending_not_for_smtp),
    ("sending_certificate_without_key", sending_without_key),
    ("two_smtp_certificates_for_one_name", two_for_one_name),
    ("two_certificates_of_one_issuer_and_subject", two_of_one_issuer_and_subject),
    ("auth_certificate_absent_or_expired", auth_absent_or_expired),
    ("auth_certificate_listed_expired", auth_listed_expired),
    ("federation_certificate_absent_or_expired", federation_expired),
    ("back_end_binding_absent", back_end_binding_absent),
    ("back_end_binding_of_absent_certificate", back_end_binding_of_absent_certificate),
    ("winhttp_without_proxy_while_browser_has_one", winhttp_without_proxy),
    ("root_updates_off", root_updates_off),
    ("tls_https_chain_incomplete", https_chain_incomplete),
];

/// One certificate on one server: it may be told of several times, in several forms.
struct Cert<'a> {
    facts: Vec<&'a Fact>,
}

impl<'a> Cert<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.facts.iter().find_map(|fact| fact.get(name))
    }

    fn first(&self) -> &'a Fact {
        // A certificate is made of at least one fact.
        self.facts.first().copied().unwrap_or(&NOTHING)
    }

    fn server(&self) -> Option<&Arc<str>> {
        self.facts.iter().find_map(|fact| fact.server.as_ref())
    }

    /// Names it carries, in lower case: the alternative ones and the common name.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for field in ["certificatedomains", "names", "dnsnamelist"] {
            let items = self.get(field).into_iter().flat_map(words::items).flat_map(str::split_whitespace);
            names.extend(items.map(str::to_lowercase));
        }
        names.extend(self.get("subject").and_then(common_name));
        names
    }

    /// Whether all its names are known, not only the subject.
    fn knows_names(&self) -> bool {
        ["certificatedomains", "names", "dnsnamelist"].iter().any(|field| self.get(field).is_some())
    }

    fn covers(&self, host: &str) -> bool {
        self.names().iter().any(|name| covers(name, host))
    }

    fn serves(&self, service: &str) -> bool {
        self.get("services").is_some_and(|services| serves(services, service))
    }

    fn self_signed(&self) -> bool {
        match self.get("isselfsigned").or_else(|| self.get("selfsigned")) {
            Some(value) => value.eq_ignore_ascii_case("true"),
            None => {
                let same = |a: &str, b: &str| plain_name(a) == plain_name(b);
                self.get("subject").zip(self.get("issuer")).is_some_and(|(s, i)| same(s, i))
            }
        }
    }

    /// Past its last day. What the listing itself calls valid was so when it was made; and without any time in the evidence
    /// today says nothing about the day of the listing.
    fn expired(&self, case: &Case) -> bool {
        match self.get("status").map(str::to_ascii_lowercase).as_deref() {
            Some("dateinvalid") => return true,
            Some("valid") if !dated(case) => return false,
            _ => {}
        }
        let over = self.get("notafter").and_then(when::parse).is_some_and(|end| end < case.now());
        over && dated(case)
    }

    fn is_auth(&self) -> bool {
        self.get("subject")
            .or_else(|| self.get("friendlyname"))
            .is_some_and(|s| words::contains(s, "Exchange Server Auth Certificate"))
    }

    fn is_federation(&self) -> bool {
        self.get("subject").is_some_and(|s| words::contains(s, "CN=Federation"))
    }

    fn is_pending(&self) -> bool {
        self.get("status").is_some_and(|s| words::contains(s, "Pending"))
    }

    fn shown(&self) -> String {
        let subject = self.get("subject").unwrap_or("a certificate");
        match self.get("thumbprint").and_then(|t| t.get(..8)) {
            Some(thumb) => format!("{subject} ({thumb}…)"),
            None => subject.to_owned(),
        }
    }
}

static NOTHING: std::sync::LazyLock<Fact> = std::sync::LazyLock::new(Fact::default);

/// Whether anything in the evidence tells a time.
fn dated(case: &Case) -> bool {
    case.all().any(|fact| fact.time.is_some())
}

fn common_name(subject: &str) -> Option<String> {
    let at = subject.to_ascii_lowercase().find("cn")?;
    let rest = subject.get(at + 2..)?.trim_start().strip_prefix('=')?;
    let name = rest.split([',', '+', '/']).next()?.trim();
    (!name.is_empty()).then(|| name.to_lowercase())
}

fn covers(name: &str, host: &str) -> bool {
    let (name, host) = (name.trim().to_lowercase(), host.trim().to_lowercase());
    if name == host {
        return true;
    }
    let Some(domain) = name.strip_prefix("*.") else { return false };
    host.split_once('.').is_some_and(|(_, rest)| rest == domain)
}

/// Whether a list of services has this one: words, or the letters of the table (`IP.WS..`).
fn serves(services: &str, service: &str) -> bool {
    let known = ["IMAP", "POP", "IIS", "SMTP", "UM", "UMCALLROUTER", "FEDERATION", "NONE"];
    let tokens: Vec<String> = words::items(services)
        .flat_map(str::split_whitespace)
        .map(|token| token.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_uppercase())
        .collect();
    if tokens.iter().any(|token| known.contains(&token.as_str())) {
        return tokens.iter().any(|token| token == service);
    }
    let letters = services.trim().to_ascii_uppercase();
    let table = letters.chars().all(|c| matches!(c, 'I' | 'P' | 'U' | 'W' | 'S' | 'F' | '.'));
    let letter = match service {
        "IMAP" => 'I',
        "POP" => 'P',
        "IIS" => 'W',
        "SMTP" => 'S',
        _ => return false,
    };
    table && letters.contains(letter)
}

/// A distinguished name without the spaces that programs set as they like.
fn plain_name(name: &str) -> String {
    name.split(',').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>().join(",")
}

/// Certificates of the computer, joined by server and thumbprint.
fn certs(case: &Case) -> Vec<Cert<'_>> {
    let mut known: BTreeMap<(Option<Arc<str>>, String), Cert<'_>> = BTreeMap::new();
    let all =
        case.of("certificate").chain(case.objects("ExchangeCertificate")).chain(case.objects("Certificate"));
    for fact in all {
        let thumb = match fact.get("thumbprint") {
            Some(thumb) => thumb.to_ascii_uppercase(),
            None => format!("{}:{}", fact.at.file, fact.at.line),
        };
        known
            .entry((fact.server.clone(), thumb))
            .or_insert_with(|| Cert { facts: Vec::new() })
            .facts
            .push(fact);
    }
    known
        .into_values()
        .filter(|cert| cert.get("services").is_some() || cert.get("subject").is_some())
        .collect()
}

/// Certificates that a computer of this name may have: its own, and those of which the server is not known.
fn certs_of<'c, 'a>(all: &'c [Cert<'a>], server: Option<&str>) -> Vec<&'c Cert<'a>> {
    let fits = |cert: &&Cert<'_>| match (cert.server(), server) {
        (Some(of), Some(server)) => of.eq_ignore_ascii_case(server),
        _ => true,
    };
    all.iter().filter(fits).collect()
}

/// Settings of IMAP and POP, with the server's short name.
fn settings(case: &Case) -> impl Iterator<Item = (&Fact, Option<Arc<str>>)> {
    case.objects("ImapSettings").chain(case.objects("PopSettings")).map(|fact| {
        let named = fact.get("server").or_else(|| fact.get("identity").filter(|id| id.contains('\\')));
        (fact, named.and_then(server_name).or_else(|| fact.server.clone()))
    })
}

fn protocol(settings: &Fact) -> &'static str {
    let pop = settings.is("type", "PopSettings")
        || settings.get("protocolname").is_some_and(|p| p.starts_with("POP"));
    if pop { "POP" } else { "IMAP" }
}

/// Full names under which a front end dials its back end.
fn dialled(case: &Case) -> Vec<String> {
    let mut hosts = Vec::new();
    for fact in case.of("imap").chain(case.of("pop")).chain(case.of("text")) {
        let texts =
            [fact.get("proxy").unwrap_or_default(), fact.get("context").unwrap_or_default(), &fact.text];
        for text in texts {
            for after in text.split("Proxy").skip(1) {
                let host = after.trim_start_matches([':', '=', ' ']);
                let host: String = host
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
                    .collect();
                if host.contains('.') && !hosts.contains(&host.to_lowercase()) {
                    hosts.push(host.to_lowercase());
                }
            }
        }
    }
    hosts
}

/// Host names of `{mbx01.corp.example:993:SSL, …}`.
fn connection_hosts(list: Option<&str>) -> Vec<String> {
    let items = list.into_iter().flat_map(words::items);
    items.filter_map(|item| item.split(':').next()).filter(|h| !h.is_empty()).map(str::to_lowercase).collect()
}

/// Whether the name that the settings hold is the server's own; `None` when nothing tells.
fn is_own_name(case: &Case, fact: &Fact, server: Option<&str>) -> Option<bool> {
    let name = fact.get("x509certificatename")?.to_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    if server.is_some_and(|server| server.eq_ignore_ascii_case(first)) {
        return Some(true);
    }
    let dialled = dialled(case);
    if dialled.contains(&name) {
        return Some(true);
    }
    let internal = connection_hosts(fact.get("internalconnectionsettings"));
    if server.is_none() && dialled.is_empty() {
        return (!internal.is_empty()).then(|| internal.contains(&name));
    }
    Some(false)
}

/// The certificate that the settings' name selects also carries the server's own name.
fn selected_covers_server(case: &Case, name: &str, server: Option<&str>, internal: &[String]) -> bool {
    let own = dialled(case).into_iter().chain(internal.iter().cloned());
    let own: Vec<String> = own
        .filter(|host| {
            server.is_none_or(|s| host.split('.').next().is_some_and(|f| f.eq_ignore_ascii_case(s)))
        })
        .collect();
    let all = certs(case);
    certs_of(&all, server)
        .into_iter()
        .filter(|cert| cert.covers(name) && cert.knows_names())
        .any(|cert| own.iter().any(|host| cert.covers(host)))
}

fn name_is_not_the_server(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (fact, server) in settings(case) {
        let Some(name) = fact.get("x509certificatename") else { continue };
        let internal = connection_hosts(fact.get("internalconnectionsettings"));
        if is_own_name(case, fact, server.as_deref()) != Some(false)
            || selected_covers_server(case, name, server.as_deref(), &internal)
        {
            continue;
        }
        let of = server.as_deref().unwrap_or("the server");
        let login = fact.get("logintype").map_or(String::new(), |l| format!("; LoginType is {l}"));
        let text = format!(
            "{} of {of} has X509CertificateName {name}, which is not {of}'s own name{login}",
            protocol(fact)
        );
        hits.push(Hit { server, ..Hit::of(text, &[fact]) });
    }
    hits
}

fn name_is_the_server(case: &Case) -> Vec<Hit> {
    let all: Vec<_> = settings(case).filter(|(fact, _)| fact.get("x509certificatename").is_some()).collect();
    let own =
        |(fact, server): &(&Fact, Option<Arc<str>>)| is_own_name(case, fact, server.as_deref()) == Some(true);
    if all.is_empty() || !all.iter().all(own) {
        return Vec::new();
    }
    all.iter()
        .map(|(fact, _)| {
            Hit::of(format!("X509CertificateName of {} is the server's own name", protocol(fact)), &[fact])
        })
        .collect()
}

/// A certificate was bound to IMAP or POP, and the settings' name is no longer the server's.
fn name_rewritten(case: &Case) -> Vec<Hit> {
    if name_is_not_the_server(case).is_empty() && !failing(case) {
        return Vec::new();
    }
    let told = case.all().filter(|fact| matches!(&*fact.kind, "object" | "text" | "event" | "error"));
    let bound = told.filter(|fact| fact.mentions("Enable-ExchangeCertificate")).filter(|fact| {
        let audit = fact.is("type", "AdminAuditLog");
        audit && !fact.mentions("Federation") || fact.mentions("IMAP") || fact.mentions("POP")
    });
    bound
        .take(3)
        .map(|fact| Hit::of("A certificate was bound, which rewrites X509CertificateName", &[fact]))
        .collect()
}

fn failing(case: &Case) -> bool {
    case.all().any(|fact| fact.mentions("ProxyNotAuthenticated"))
}

fn name_selects_no_certificate(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, server) in settings(case) {
        let Some(name) = fact.get("x509certificatename") else { continue };
        let here = certs_of(&all, server.as_deref());
        if here.len() < 2 || !here.iter().all(|cert| cert.knows_names()) {
            continue;
        }
        let good = here.iter().any(|cert| cert.covers(name) && !cert.expired(case) && !cert.is_pending());
        if !good {
            let text = format!(
                "{} asks for a certificate named {name}; no valid one with that name is installed",
                protocol(fact)
            );
            hits.push(Hit { server, ..Hit::of(text, &[fact]) });
        }
    }
    hits
}

fn name_fits_several_certificates(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, server) in settings(case) {
        let Some(name) = fact.get("x509certificatename") else { continue };
        let fit: Vec<_> =
            certs_of(&all, server.as_deref()).into_iter().filter(|cert| cert.covers(name)).collect();
        if let [one, other, ..] = fit.as_slice() {
            let text = format!(
                "{} asks for a certificate named {name}; {} carry it, {} and {} among them",
                protocol(fact),
                fit.len(),
                one.shown(),
                other.shown()
            );
            hits.push(Hit { server, ..Hit::of(text, &[fact, one.first(), other.first()]) });
        }
    }
    hits
}

fn external_settings_empty(case: &Case) -> Vec<Hit> {
    settings(case)
        .filter(|(fact, _)| fact.get("internalconnectionsettings").is_some())
        .filter(|(fact, _)| connection_hosts(fact.get("externalconnectionsettings")).is_empty())
        .map(|(fact, _)| {
            Hit::of(format!("ExternalConnectionSettings of {} is empty", protocol(fact)), &[fact])
        })
        .collect()
}

fn every_sign_in_fails_at_proxy(case: &Case) -> Vec<Hit> {
    let failed = case.all().filter(|fact| fact.mentions("ProxyNotAuthenticated"));
    failed
        .take(1)
        .map(|fact| Hit::of("Sign-ins fail at the proxy leg, not in the handshake", &[fact]))
        .collect()
}

/// Sign-ins pass through the proxy leg, and none failed there later.
fn proxy_works_again(case: &Case) -> Vec<Hit> {
    let logs = || case.of("imap").chain(case.of("pop"));
    let last_failed = logs().filter(|f| f.mentions("ProxyNotAuthenticated")).filter_map(|f| f.time).max();
    let passed = logs().filter(|f| f.mentions("ProxySuccess")).max_by_key(|f| f.time);
    let Some(passed) = passed.filter(|fact| fact.time > last_failed) else { return Vec::new() };
    if last_failed.is_none() && failing(case) {
        return Vec::new();
    }
    vec![Hit::of("Sign-ins pass through the proxy leg", &[passed])]
}

/// Back-end sessions that are opened and closed without a sign-in: the front end gave up after the handshake.
fn back_end_opens_and_closes(case: &Case) -> Vec<Hit> {
    let mut sessions: BTreeMap<(u32, &str), (Vec<&Fact>, bool, bool)> = BTreeMap::new();
    for fact in case.of("imap").chain(case.of("pop")).filter(|fact| fact.is("end", "be")) {
        let (Some(session), Some(command)) = (fact.get("session"), fact.get("command")) else { continue };
        let entry = sessions.entry((fact.at.file, session)).or_default();
        entry.0.push(fact);
        entry.1 |= command.eq_ignore_ascii_case("closesession");
        entry.2 |= !command.to_ascii_lowercase().ends_with("session");
    }
    if sessions.values().any(|(_, _, more)| *more) {
        return Vec::new();
    }
    let found = sessions.into_values().filter(|(_, closed, _)| *closed);
    found
        .take(2)
        .map(|(facts, ..)| Hit::of("The back end's session is opened and closed without a sign-in", &facts))
        .collect()
}

fn port_of(fact: &Fact) -> Option<&str> {
    fact.get("port").or_else(|| fact.get("host").and_then(|h| h.rsplit_once(':')).map(|(_, port)| port))
}

fn inner_certificate_wrong_name(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("tls").filter(|f| matches!(port_of(f), Some("1993" | "1995"))) {
        let Some(host) = fact.get("host").map(|h| h.split(':').next().unwrap_or(h)) else { continue };
        let mut names: Vec<String> =
            fact.get("names").into_iter().flat_map(words::items).map(str::to_lowercase).collect();
        names.extend(fact.get("subject").and_then(common_name));
        let short = host.split('.').next().unwrap_or(host);
        let own = |name: &String| covers(name, host) || name.split('.').next() == Some(&short.to_lowercase());
        if !names.is_empty() && !names.iter().any(own) {
            let text = format!("The back end on {host} shows a certificate for {}", names.join(", "));
            hits.push(Hit::of(text, &[fact]));
        }
    }
    hits
}

const HANDSHAKE: &[&str] = &[
    "handshake failure",
    "no peer certificate",
    "handshake failed",
    "ssl handshake has read 0",
    "connection reset",
    "unexpected eof",
    "errno=104",
    "errno=0",
    "write:errno",
    "handshake",
];

fn handshake_failed(fact: &Fact) -> bool {
    let said = HANDSHAKE.iter().any(|phrase| fact.mentions(phrase));
    match &*fact.kind {
        "tls" => {
            fact.get("error").is_some() && fact.get("subject").is_none()
                || said && fact.get("subject").is_none()
        }
        _ => {
            let words = ["fail", "reset", "no peer", "dies", "stirbt", "bricht", "échou", "eof", "abort"];
            said && words.iter().any(|word| fact.mentions(word))
        }
    }
}

fn back_end_handshake_fails(case: &Case) -> Vec<Hit> {
    let on = |fact: &&Fact| match &*fact.kind {
        "tls" => {
            matches!(port_of(fact), Some("1993" | "1995")) || fact.mentions(":1993") || fact.mentions(":1995")
        }
        _ => fact.mentions("1993") || fact.mentions("1995"),
    };
    let seen = case.of("tls").chain(case.of("text")).chain(case.of("port"));
    let failed = seen.filter(on).filter(|fact| handshake_failed(fact));
    failed.take(2).map(|fact| Hit::of("The TLS handshake with the back end fails", &[fact])).collect()
}

fn fail_differently(case: &Case) -> Vec<Hit> {
    let Some(imap) = case.of("imap").find(|fact| fact.mentions("ProxyNotAuthenticated")) else {
        return Vec::new();
    };
    let on = |fact: &&Fact| match &*fact.kind {
        "tls" => matches!(port_of(fact), Some("995")),
        _ => fact.mentions("995") && !fact.mentions("1995"),
    };
    let failed = case.of("tls").chain(case.of("text")).filter(on).find(|fact| handshake_failed(fact));
    let text = "POP dies in the client's handshake while IMAP reaches the sign-in";
    failed.map(|fact| Hit::of(text, &[imap, fact])).into_iter().collect()
}

/// Whether access rules name Network Service; `None` where they only print the type of each rule.
fn network_service_reads(rules: &str) -> Option<bool> {
    let known = [
        "SYSTEM",
        "Administrat",
        "NT AUTHORITY",
        "BUILTIN",
        "S-1-5-",
        "SERVICE",
        "NT-AUTORITÄT",
        "VORDEFINIERT",
    ];
    if !known.iter().any(|word| words::contains(rules, word))
        || words::contains(rules, "System.Security.AccessControl")
    {
        let listed = words::contains(rules, "NETWORK SERVICE");
        return listed.then_some(true);
    }
    let names = [
        "NETWORK SERVICE",
        "NetworkService",
        "S-1-5-20",
        "NETZWERKDIENST",
        "SERVICE RÉSEAU",
        "SERVICE RESEAU",
    ];
    Some(names.iter().any(|name| words::contains(rules, name)))
}

fn chosen_for_mail(case: &Case, cert: &Cert<'_>) -> bool {
    if cert.is_auth() || cert.is_federation() {
        return false;
    }
    let named =
        settings(case).any(|(fact, _)| fact.get("x509certificatename").is_some_and(|name| cert.covers(name)));
    named
        || ["IMAP", "POP", "SMTP"].iter().any(|service| cert.serves(service))
        || cert.get("services").is_none()
}

fn key_unreadable(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cert in certs(case) {
        let keyless = cert.get("hasprivatekey").is_some_and(|has| has.eq_ignore_ascii_case("false"));
        let Some(rules) = cert.get("accessrules").filter(|_| !keyless) else { continue };
        if network_service_reads(rules) == Some(false) && chosen_for_mail(case, &cert) {
            let text = format!(
                "The key of {} may be read by {rules}: Network Service is not among them",
                cert.shown()
            );
            hits.push(Hit::of(text, &[cert.first()]));
        }
    }
    hits
}

fn key_readable(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cert in certs(case).iter().filter(|cert| chosen_for_mail(case, cert)) {
        match cert.get("accessrules").and_then(network_service_reads) {
            Some(true) => hits.push(Hit::of(
                format!("Network Service may read the key of {}", cert.shown()),
                &[cert.first()],
            )),
            Some(false) => return Vec::new(),
            None => {}
        }
    }
    hits
}

fn for_imap_not_for_smtp(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let fits = |cert: &&Cert<'_>| {
        (cert.serves("IMAP") || cert.serves("POP"))
            && !cert.serves("SMTP")
            && !cert.self_signed()
            && cert.get("accessrules").and_then(network_service_reads).is_none()
    };
    all.iter()
        .filter(fits)
        .map(|cert| {
            let text = format!(
                "{} is bound to IMAP or POP and not to SMTP, so nothing gave Network Service its key",
                cert.shown()
            );
            Hit::of(text, &[cert.first()])
        })
        .collect()
}

/// `<I>issuer<S>subject`, without the spaces that programs set as they like.
fn pair(text: &str) -> Option<(String, String)> {
    let lower = text.replace("&lt;", "<").replace("&gt;", ">");
    let (_, rest) = lower.split_once("<I>").or_else(|| lower.split_once("<i>"))?;
    let (issuer, subject) = rest.split_once("<S>").or_else(|| rest.split_once("<s>"))?;
    Some((plain_name(issuer), plain_name(subject)))
}

fn connectors(case: &Case) -> impl Iterator<Item = (&Fact, Option<Arc<str>>)> {
    // A pasted excerpt may not tell its type; these properties are of connectors only.
    let is = |fact: &&Fact| {
        let typed = fact.is("type", "ReceiveConnector") || fact.is("type", "SendConnector");
        typed
            || fact.get("tlscertificatename").is_some()
            || fact.get("fqdn").is_some() && fact.get("bindings").is_some()
    };
    case.of("object").filter(is).map(|fact| {
        let id = fact.get("identity").and_then(|id| id.split_once('\\')).map(|(server, _)| server);
        (fact, fact.get("server").or(id).and_then(server_name))
    })
}

fn connector_name(fact: &Fact) -> &str {
    fact.get("identity").or_else(|| fact.get("name")).unwrap_or("a connector")
}

/// Connectors that name a certificate, and whether one of the listed ones is it.
fn connector_certificates(case: &Case) -> Vec<(&Fact, Option<Arc<str>>, String, bool)> {
    let all = certs(case);
    let mut found = Vec::new();
    for (fact, server) in connectors(case) {
        let Some((issuer, subject)) = fact.get("tlscertificatename").and_then(pair) else { continue };
        let mut here = certs_of(&all, server.as_deref());
        here.retain(|cert| cert.get("issuer").is_some() && cert.get("subject").is_some());
        if here.is_empty() || (here.len() < 2 && !here.iter().any(|cert| cert.serves("SMTP"))) {
            continue;
        }
        let is = |cert: &&&Cert<'_>| {
            cert.get("issuer").map(plain_name).as_deref() == Some(&issuer)
                && cert.get("subject").map(plain_name).as_deref() == Some(&subject)
        };
        found.push((fact, server, format!("{subject} from {issuer}"), here.iter().any(|cert| is(&cert))));
    }
    found
}

fn connector_certificate_absent(case: &Case) -> Vec<Hit> {
    let absent = connector_certificates(case).into_iter().filter(|(.., there)| !there);
    absent
        .map(|(fact, server, name, _)| {
            let text =
                format!("{} names the certificate {name}, which is not installed", connector_name(fact));
            Hit { server: server.or_else(|| fact.server.clone()), ..Hit::of(text, &[fact]) }
        })
        .collect()
}

fn connector_certificate_present(case: &Case) -> Vec<Hit> {
    let all = connector_certificates(case);
    if all.is_empty() || all.iter().any(|(.., there)| !there) {
        return Vec::new();
    }
    all.iter()
        .map(|(fact, _, name, _)| {
            Hit::of(
                format!("{} names the certificate {name}, which is installed", connector_name(fact)),
                &[fact],
            )
        })
        .collect()
}

fn connector_name_not_covered(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, server) in
        connectors(case).filter(|(f, _)| f.is("type", "ReceiveConnector") || f.get("bindings").is_some())
    {
        let Some(host) = fact.get("fqdn").filter(|_| fact.get("tlscertificatename").and_then(pair).is_none())
        else {
            continue;
        };
        let here = certs_of(&all, server.as_deref());
        let known =
            here.len() > 1 && here.iter().all(|cert| cert.knows_names() && cert.get("services").is_some());
        if known && !here.iter().any(|cert| cert.serves("SMTP") && cert.covers(host)) {
            let text =
                format!("{} answers as {host}, which no certificate for SMTP carries", connector_name(fact));
            hits.push(Hit { server, ..Hit::of(text, &[fact]) });
        }
    }
    hits
}

/// Facts that tell of event 12014, with the name that it looked for.
fn events_12014(case: &Case) -> impl Iterator<Item = (&Fact, bool)> {
    let told = case.all().filter(|fact| {
        fact.is("id", "12014") && fact.kind == "event"
            || fact.mentions("certificate that contains the domain name")
    });
    told.map(|fact| (fact, fact.mentions("<I>") || fact.mentions("&lt;I&gt;")))
}

fn event_12014_names_a_pair(case: &Case) -> Vec<Hit> {
    let pairs = events_12014(case).filter(|(_, pair)| *pair);
    pairs.take(1).map(|(fact, _)| Hit::of("Event 12014 names an issuer and a subject", &[fact])).collect()
}

fn event_12014_names_a_host(case: &Case) -> Vec<Hit> {
    if events_12014(case).any(|(_, pair)| pair) {
        return Vec::new();
    }
    let hosts = events_12014(case).filter(|(fact, _)| fact.mentions("domain name"));
    hosts
        .take(1)
        .map(|(fact, _)| Hit::of("Event 12014 names a host, not an issuer and a subject", &[fact]))
        .collect()
}

/// An EHLO answer that lists other things than STARTTLS.
fn ehlo_without_starttls(case: &Case) -> Vec<Hit> {
    let mut files: BTreeMap<u32, Vec<&Fact>> = BTreeMap::new();
    for fact in case.of("conversation") {
        files.entry(fact.at.file).or_default().push(fact);
    }
    let mut hits = Vec::new();
    for facts in files.values() {
        let has = |word: &str| facts.iter().any(|fact| fact.mentions(word));
        let listed = ["SIZE", "PIPELINING", "8BITMIME", "CHUNKING"].iter().filter(|word| has(word)).count();
        if has("EHLO") && listed >= 2 && !has("STARTTLS") && !has("****") && !has("XXXX") {
            let ehlo = facts.iter().find(|fact| fact.mentions("EHLO")).copied();
            hits.extend(ehlo.map(|fact| Hit::of("The answer to EHLO does not offer STARTTLS", &[fact])));
        }
    }
    hits
}

fn smtp_certificate_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for cert in
        all.iter().filter(|c| c.serves("SMTP") && !c.self_signed() && !c.is_auth() && !c.is_federation())
    {
        let names = cert.names();
        let replaced = all.iter().any(|other| {
            other.serves("SMTP") && !other.expired(case) && names.iter().any(|name| other.covers(name))
        });
        if cert.expired(case) && !replaced {
            let end = cert.get("notafter").unwrap_or("its last day");
            hits.push(Hit::of(format!("{}, enabled for SMTP, is past {end}", cert.shown()), &[cert.first()]));
        }
    }
    hits
}

fn peer_shows_expired(case: &Case) -> Vec<Hit> {
    let on = |fact: &&Fact| matches!(port_of(fact), Some("25" | "587" | "465" | "2525"));
    let over = |fact: &&Fact| {
        fact.mentions("certificate has expired")
            || dated(case) && fact.get("notafter").and_then(when::parse).is_some_and(|end| end < case.now())
    };
    let seen = case.of("tls").filter(on).filter(over);
    seen.take(2).map(|fact| Hit::of("The certificate shown on the SMTP port has expired", &[fact])).collect()
}

/// The internal transport certificate by the thumbprint that the directory holds.
fn internal_thumbs(case: &Case) -> Vec<(&Fact, String)> {
    let services = case.objects("TransportService").chain(case.objects("TransportServer"));
    let more = case.objects("FrontendTransportService").chain(case.objects("ExchangeServer"));
    let named = services.chain(more);
    named
        .filter_map(|f| Some((f, f.get("internaltransportcertificatethumbprint")?.to_ascii_uppercase())))
        .filter(|(_, thumb)| thumb.len() >= 20)
        .collect()
}

fn internal_absent(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, thumb) in internal_thumbs(case) {
        let server = fact.get("name").and_then(server_name).or_else(|| fact.server.clone());
        let mut here = certs_of(&all, server.as_deref());
        here.retain(|cert| cert.get("thumbprint").is_some());
        let there =
            here.iter().any(|cert| cert.get("thumbprint").is_some_and(|t| t.eq_ignore_ascii_case(&thumb)));
        if here.len() >= 2 && !there {
            let text = format!("The internal transport certificate {thumb} is not among the installed ones");
            hits.push(Hit { server, ..Hit::of(text, &[fact]) });
        }
    }
    hits
}

fn internal_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let thumbs: Vec<String> = internal_thumbs(case).into_iter().map(|(_, thumb)| thumb).collect();
    let mut hits = Vec::new();
    for cert in all.iter().filter(|cert| cert.expired(case) && !cert.is_auth() && !cert.is_federation()) {
        let thumb = cert.get("thumbprint").unwrap_or_default().to_ascii_uppercase();
        let named = thumbs.contains(&thumb);
        let other_valid =
            all.iter().any(|o| o.self_signed() && o.serves("SMTP") && !o.expired(case) && !o.is_auth());
        if named || thumbs.is_empty() && cert.self_signed() && cert.serves("SMTP") && !other_valid {
            let text = format!("{}, which encrypts mail between servers, has expired", cert.shown());
            hits.push(Hit::of(text, &[cert.first()]));
        }
    }
    hits
}

/// Certificates that the send log shows as its own: by thumbprint or subject.
fn sent_with<'a>(case: &'a Case, cert: &Cert<'_>) -> Option<&'a Fact> {
    let thumb = cert.get("thumbprint").unwrap_or("-none-");
    let subject = cert.get("subject").unwrap_or("-none-");
    case.of("smtp-send").find(|fact| {
        let data = fact.get("data").unwrap_or(&fact.text);
        words::contains(data, thumb)
            || fact.mentions("Certificate subject") && plain_name(data) == plain_name(subject)
    })
}

fn sending_not_for_smtp(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cert in certs(case).iter().filter(|cert| cert.get("services").is_some() && !cert.serves("SMTP")) {
        let named = connectors(case)
            .filter_map(|(fact, _)| Some((fact, fact.get("tlscertificatename").and_then(pair)?)))
            .find(|(_, (_, subject))| cert.get("subject").map(plain_name).as_ref() == Some(subject))
            .map(|(fact, _)| fact);
        if let Some(fact) = sent_with(case, cert).or(named) {
            let text = format!("{} is used for sending and not enabled for SMTP", cert.shown());
            hits.push(Hit::of(text, &[cert.first(), fact]));
        }
    }
    hits
}

fn sending_without_key(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let keyless =
        all.iter().filter(|c| c.get("hasprivatekey").is_some_and(|has| has.eq_ignore_ascii_case("false")));
    let mine = keyless.filter(|cert| !cert.is_pending());
    mine.map(|cert| Hit::of(format!("{} has no private key", cert.shown()), &[cert.first()])).collect()
}

fn two_for_one_name(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let good: Vec<_> = all
        .iter()
        .filter(|c| {
            c.serves("SMTP") && !c.expired(case) && !c.is_auth() && !c.is_federation() && !c.self_signed()
        })
        .collect();
    let mut hits = Vec::new();
    for (at, one) in good.iter().enumerate() {
        for other in good.iter().skip(at + 1) {
            let issuers = one.get("issuer").map(plain_name) != other.get("issuer").map(plain_name);
            let names = other.names();
            let shared = one.names().into_iter().find(|name| names.contains(name));
            let one_server = one.server() == other.server();
            if let Some(name) = shared.filter(|_| issuers && one_server) {
                let text = format!(
                    "{} and {} are both enabled for SMTP and carry {name}",
                    one.shown(),
                    other.shown()
                );
                hits.push(Hit::of(text, &[one.first(), other.first()]));
            }
        }
    }
    hits
}

fn two_of_one_issuer_and_subject(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let key = |c: &Cert<'_>| {
            Some((c.server().cloned(), plain_name(c.get("issuer")?), plain_name(c.get("subject")?)))
        };
        let same = all.iter().skip(at + 1).find(|other| {
            key(one).is_some()
                && key(one) == key(other)
                && !one.self_signed()
                && one.get("thumbprint") != other.get("thumbprint")
        });
        if let Some(other) = same {
            let text = format!("{} and {} have the same issuer and subject", one.shown(), other.shown());
            hits.push(Hit::of(text, &[one.first(), other.first()]));
        }
    }
    hits
}

fn auth_absent_or_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for fact in case.objects("AuthConfig") {
        let Some(thumb) = fact.get("currentcertificatethumbprint").filter(|t| t.len() >= 20) else {
            let listed =
                fact.get("servicename").is_some() || fact.get("previouscertificatethumbprint").is_some();
            if listed {
                hits.push(Hit::of("Get-AuthConfig names no current certificate", &[fact]));
            }
            continue;
        };
        let is = |cert: &&Cert<'_>| cert.get("thumbprint").is_some_and(|t| t.eq_ignore_ascii_case(thumb));
        match all.iter().find(is) {
            Some(cert) if cert.expired(case) => {
                let end = cert.get("notafter").unwrap_or("its last day");
                hits.push(Hit::of(
                    format!("The Auth certificate {thumb} is past {end}"),
                    &[fact, cert.first()],
                ));
            }
            None if all.iter().filter(|cert| cert.get("thumbprint").is_some()).count() >= 2 => {
                hits.push(Hit::of(
                    format!("The Auth certificate {thumb} is not among the installed ones"),
                    &[fact],
                ));
            }
            _ => {}
        }
    }
    hits
}

fn auth_listed_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let valid = all.iter().any(|cert| cert.is_auth() && !cert.expired(case));
    let over = all.iter().filter(|cert| cert.is_auth() && cert.expired(case) && !valid);
    over.map(|cert| Hit::of(format!("{} has expired", cert.shown()), &[cert.first()])).collect()
}

fn federation_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let valid = all.iter().any(|cert| cert.is_federation() && !cert.expired(case));
    let over = all.iter().filter(|cert| cert.is_federation() && cert.expired(case) && !valid);
    let mut hits: Vec<Hit> =
        over.map(|cert| Hit::of(format!("{} has expired", cert.shown()), &[cert.first()])).collect();
    let thumbs: Vec<&str> = all.iter().filter_map(|cert| cert.get("thumbprint")).collect();
    for fact in case.objects("FederationTrust") {
        let named = fact.get("orgcertificatethumbprint").or_else(|| fact.get("orgprivcertificate"));
        let Some(thumb) = named.filter(|t| t.len() >= 20 && t.chars().all(|c| c.is_ascii_hexdigit())) else {
            continue;
        };
        if thumbs.len() >= 2 && !thumbs.iter().any(|t| t.eq_ignore_ascii_case(thumb)) {
            hits.push(Hit::of(
                format!("The federation trust names {thumb}, which is not installed"),
                &[fact],
            ));
        }
    }
    hits
}

/// Bindings of certificates to ports, as netsh and IIS list them: address with port, hash.
fn bindings(case: &Case) -> Vec<(&Fact, String, String)> {
    let mut found = Vec::new();
    let objects =
        case.objects("WebBinding").chain(case.objects("SslBinding")).chain(case.objects("ChildItem"));
    for fact in case.of("netsh").chain(objects).chain(case.of("sslcert")) {
        let end = ["ipport", "bindinginformation", "hostnameport", "ip:port"]
            .iter()
            .find_map(|field| fact.get(field));
        let Some(end) = end else { continue };
        let hash = ["certificatehash", "certhash", "thumbprint"].iter().find_map(|field| fact.get(field));
        let secure = fact.get("protocol").is_none_or(|p| p.eq_ignore_ascii_case("https"));
        if secure {
            found.push((fact, end.to_owned(), hash.unwrap_or_default().to_ascii_uppercase()));
        }
    }
    found
}

fn has_port(end: &str, port: &str) -> bool {
    end.split([':', ' ', '!']).any(|part| part == port)
}

fn back_end_binding_absent(case: &Case) -> Vec<Hit> {
    let all = bindings(case);
    let front = all.iter().find(|(fact, end, _)| fact.kind == "netsh" && has_port(end, "443"));
    let back = all.iter().any(|(_, end, _)| has_port(end, "444"));
    match front {
        Some((fact, ..)) if !back => {
            vec![Hit::of("A certificate is bound to port 443 and none to 444", &[fact])]
        }
        _ => Vec::new(),
    }
}

fn back_end_binding_of_absent_certificate(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let thumbs: Vec<String> =
        all.iter().filter_map(|cert| cert.get("thumbprint")).map(str::to_ascii_uppercase).collect();
    let mut hits = Vec::new();
    for (fact, end, hash) in bindings(case).iter().filter(|(_, end, _)| has_port(end, "444")) {
        let nothing = hash.chars().all(|c| c == '0') && (fact.kind == "netsh" || !hash.is_empty());
        if nothing || thumbs.len() >= 2 && hash.len() >= 20 && !thumbs.contains(hash) {
            let text = format!("Port 444 ({end}) is bound to the certificate {hash}, which is not installed");
            hits.push(Hit::of(text, &[fact]));
        }
    }
    hits
}

fn winhttp_without_proxy(case: &Case) -> Vec<Hit> {
    let direct = case.all().find(|fact| fact.mentions("Direct access (no proxy server)"));
    let browser = case.of("registry").find(|fact| {
        fact.is("name", "ProxyServer")
            || fact.is("name", "AutoConfigURL")
            || fact.is("name", "ProxyEnable") && fact.number("number") == Some(1.0)
    });
    let text = "The browser has a proxy, WinHTTP has none";
    direct.zip(browser).map(|(a, b)| Hit::of(text, &[a, b])).into_iter().collect()
}

fn root_updates_off(case: &Case) -> Vec<Hit> {
    let off = case.of("registry").filter(|fact| fact.is("name", "DisableRootAutoUpdate"));
    let off = off.filter(|fact| fact.number("number").or_else(|| fact.number("data")) == Some(1.0));
    off.map(|fact| Hit::of("Updates of root certificates are switched off", &[fact])).collect()
}

fn https_chain_incomplete(case: &Case) -> Vec<Hit> {
    let on = |fact: &&Fact| port_of(fact).is_none_or(|port| port == "443");
    let phrases =
        ["unable to get local issuer", "unable to verify the first certificate", "in certificate chain"];
    let seen = case.of("tls").filter(on).filter(|fact| phrases.iter().any(|p| fact.mentions(p)));
    seen.take(1).map(|fact| Hit::of("The chain that the web server sends does not verify", &[fact])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_in_words_and_letters() {
        assert!(serves("IMAP, POP, IIS", "IIS") && !serves("IMAP, POP, IIS", "SMTP"));
        assert!(serves("IP.WS..", "SMTP") && serves("...W...", "IIS") && !serves("IP.W...", "SMTP"));
        assert!(serves("IIS", "IIS") && !serves("IIS", "IMAP") && !serves("None", "IMAP"));
    }

    #[test]
    fn names_and_pairs() {
        assert!(covers("*.example.org", "mail.example.org") && !covers("*.example.org", "a.b.example.org"));
        assert_eq!(common_name("O=X, CN=mail.example.org, C=XX").as_deref(), Some("mail.example.org"));
        assert_eq!(pair("<I>CN=A, O=B<S>CN=c").as_ref().map(|p| p.1.as_str()), Some("cn=c"));
        assert!(pair("mail.example.org").is_none());
    }

    #[test]
    fn access_rules_are_judged_only_where_they_name_somebody() {
        assert_eq!(network_service_reads("{System.Security.AccessControl.CryptoKeyAccessRule}"), None);
        assert_eq!(network_service_reads("{NT AUTHORITY\\SYSTEM, BUILTIN\\Administrators}"), Some(false));
        assert_eq!(network_service_reads("{NT AUTHORITY\\NETWORK SERVICE}"), Some(true));
    }
}
