//! Checks for causes of the area `certificates`: settings, connectors and sites against the certificates that are there.

mod imap;
mod sites;
mod smtp;

use super::Check;
use crate::case::Case;
use crate::fact::Fact;
use crate::read::when;
use crate::words;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use smtp::warned_names_are_covered;

pub const ALL: &[(&str, Check)] = &[
    ("imap_pop_name_is_not_the_server", imap::name_is_not_the_server),
    ("imap_pop_name_is_not_the_server_and_plain_text", imap::name_is_not_the_server_and_plain_text),
    ("imap_pop_name_is_the_server", imap::name_is_the_server),
    ("imap_pop_name_rewritten", imap::name_rewritten),
    ("imap_pop_name_selects_no_certificate", imap::name_selects_no_certificate),
    ("imap_pop_name_fits_several_certificates", imap::name_fits_several_certificates),
    ("imap_pop_external_settings_empty", imap::external_settings_empty),
    ("imap_pop_every_sign_in_fails_at_proxy", imap::every_sign_in_fails_at_proxy),
    ("imap_pop_proxy_works_again", imap::proxy_works_again),
    ("imap_pop_back_end_opens_and_closes", imap::back_end_opens_and_closes),
    ("imap_pop_inner_certificate_wrong_name", imap::inner_certificate_wrong_name),
    ("imap_pop_back_end_handshake_fails", imap::back_end_handshake_fails),
    ("imap_pop_fail_differently", imap::fail_differently),
    ("imap_pop_key_unreadable", imap::key_unreadable),
    ("imap_pop_key_readable", imap::key_readable),
    ("key_rules_lack_network_service", imap::key_rules_lack_network_service),
    ("roots_lack_the_cloud_s", sites::roots_lack_the_clouds),
    ("certificate_for_imap_not_for_smtp", imap::for_imap_not_for_smtp),
    ("connector_certificate_absent", smtp::connector_certificate_absent),
    ("connector_certificate_present", smtp::connector_certificate_present),
    ("connector_name_not_covered", smtp::connector_name_not_covered),
    ("event_12014_names_a_pair", smtp::event_12014_names_a_pair),
    ("event_12014_names_a_host", smtp::event_12014_names_a_host),
    ("ehlo_without_starttls", smtp::ehlo_without_starttls),
    ("smtp_certificate_expired", smtp::smtp_certificate_expired),
    ("tls_peer_shows_expired_smtp_certificate", smtp::peer_shows_expired),
    ("internal_transport_certificate_absent", smtp::internal_absent),
    ("internal_transport_certificate_expired", smtp::internal_expired),
    ("sending_certificate_not_for_smtp", smtp::sending_not_for_smtp),
    ("sending_certificate_without_key", smtp::sending_without_key),
    ("two_smtp_certificates_for_one_name", smtp::two_for_one_name),
    ("two_certificates_of_one_issuer_and_subject", smtp::two_of_one_issuer_and_subject),
    ("auth_certificate_absent_or_expired", sites::auth_absent_or_expired),
    ("auth_certificate_listed_expired", sites::auth_listed_expired),
    ("federation_certificate_absent_or_expired", sites::federation_expired),
    ("back_end_binding_absent", sites::back_end_binding_absent),
    ("back_end_binding_of_absent_certificate", sites::back_end_binding_of_absent_certificate),
    ("winhttp_without_proxy_while_browser_has_one", sites::winhttp_without_proxy),
    ("root_updates_off", sites::root_updates_off),
    ("tls_https_chain_incomplete", sites::https_chain_incomplete),
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
        let listed = ["certificatedomains", "dnsnamelist"].iter().any(|field| self.get(field).is_some());
        listed || self.get("names").is_some_and(|names| names.contains(','))
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
    // What a server showed over the network has no thumbprint and no services here; it is not known to be installed.
    let installed = |cert: &Cert<'_>| cert.get("services").is_some() || cert.get("thumbprint").is_some();
    known.into_values().filter(installed).collect()
}

/// Certificates that a computer of this name may have: its own, and those of which the server is not known.
fn certs_of<'c, 'a>(all: &'c [Cert<'a>], server: Option<&str>) -> Vec<&'c Cert<'a>> {
    let fits = |cert: &&Cert<'_>| match (cert.server(), server) {
        (Some(of), Some(server)) => of.eq_ignore_ascii_case(server),
        _ => true,
    };
    all.iter().filter(fits).collect()
}

/// The port that a fact tells of.
fn port_of(fact: &Fact) -> Option<&str> {
    fact.get("port").or_else(|| fact.get("host").and_then(|h| h.rsplit_once(':')).map(|(_, port)| port))
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
    fn names() {
        assert!(covers("*.example.org", "mail.example.org") && !covers("*.example.org", "a.b.example.org"));
        assert_eq!(common_name("O=X, CN=mail.example.org, C=XX").as_deref(), Some("mail.example.org"));
    }
}
