//! What is around this server: name servers, its copy of the directory, directories that passwords are asked of, the provider
//! of tokens, its health mailboxes.

use super::cause;
use super::ground::{Ground, Tried, nobody};
use crate::inner::renew::Contact;
use crate::ldap;
use crate::probe::{Done, Fault};
use std::time::{Duration, Instant};
use waypost_base::explain::{Outcome, Party};
use waypost_health::Subject;
use waypost_trust::dns::{Dns, DnsError};

/// A copy of the directory that has not heard of its primary for so long is told of: it is told that all is quiet each 15 s.
const QUIET_MILLIS: i64 = 60_000;

fn result(ground: &Ground, what: &str, to: Party, subject: Subject, begun: Instant, done: Done) -> Tried {
    let looked = ground.looked(what, to, begun, done);
    Tried { culprit: Some(subject.clone()), ..Tried::of(vec![subject]) }.with(looked)
}

/// Names that are in nobody's DNS (RFC 6761, RFC 6762): a demonstration's, a machine's own.
pub fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    !name.contains('.')
        || matches!(
            last,
            "test" | "invalid" | "example" | "localhost" | "local" | "internal" | "lan" | "home"
        )
        || name.parse::<std::net::IpAddr>().is_ok()
}

/// Whether this organisation has anything to do with DNS.
pub fn has_dns(ground: &Ground) -> bool {
    let settings = ground.services.settings.current();
    let now = ground.snapshot();
    !settings.dns.servers.is_empty()
        || now.domains().any(|d| !is_local(&d.name))
        || !is_local(&settings.server.name)
}

/// Name servers answer, know this host, and lead mail for our domains somewhere.
pub async fn dns(ground: &Ground, limit: Duration) -> Tried {
    let begun = Instant::now();
    let names = &ground.services.works.mail_auth.names;
    let settings = ground.services.settings.current();
    let now = ground.snapshot();
    let domain = now.default_domain().map_or_else(|| "waypost.test".to_owned(), |d| d.name.clone());
    let work = async {
        // A name that was never asked for: what is remembered proves nothing.
        let fresh = format!("health-{:08x}.{domain}", u32::from_be_bytes(crate::machine::random()));
        if let Err(e @ (DnsError::Timeout(_) | DnsError::Failed(..))) = names.txt(&fresh).await {
            return Err(Fault::new(cause::DNS_SILENT, e.to_string()));
        }
        let host = settings.server.name.clone();
        if !is_local(&host)
            && let Err(e) = names.addresses(&host).await
        {
            return Err(Fault::new(cause::DNS_WRONG, format!("the name of this server, {host}: {e}")));
        }
        for domain in now.domains().filter(|d| !is_local(&d.name)) {
            if let Err(e @ (DnsError::NoName(_) | DnsError::NoRecord(_))) = names.mx(&domain.name).await
                && names.addresses(&domain.name).await.is_err()
            {
                return Err(Fault::new(
                    cause::DNS_WRONG,
                    format!("nothing leads mail for {} anywhere: {e}", domain.name),
                ));
            }
        }
        Ok(())
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Fault::new(cause::DNS_SILENT, format!("no answer in {:.1} s", limit.as_secs_f64()))),
    };
    let degraded = done.as_ref().is_err_and(|f| f.cause == cause::DNS_WRONG);
    let servers: Vec<String> = settings.dns.servers.iter().map(ToString::to_string).collect();
    let to = Party::new(
        "name servers",
        if servers.is_empty() { "of this machine".into() } else { servers.join(", ") },
    );
    Tried { degraded, ..result(ground, "dns", to, Subject::Dns(ground.here()), begun, done) }
}

/// How this server's copy of the directory stands.
pub fn copy(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let here = ground.here();
    let now = ground.now();
    let primary = ground.snapshot().primary().map(|p| p.id.clone()).unwrap_or_default();
    let Contact { heard, lost } = ground.services.following.contact();
    let done = match (lost, heard) {
        (Some((since, why)), _) => {
            Err(Fault::new(cause::DIRECTORY_STALE, format!("without {primary} since {since}: {why}")))
        }
        (None, Some(at)) if now.since(at) > QUIET_MILLIS => {
            Err(Fault::new(cause::DIRECTORY_STALE, format!("{primary} was heard last at {at}")))
        }
        _ => Ok(()),
    };
    let failed = done.is_err();
    let to = Party::new("server", primary.clone());
    // That nothing is amiss yet is no proof of the way to the primary: one that hangs is missed only after a while.
    let mut tried = Tried::of(vec![Subject::Directory(here.clone())]);
    tried.subject.extend(failed.then(|| Subject::leg(&here, &primary)));
    // What the leg itself says is better than that there is none.
    let rows = ground.services.inside.board.rows();
    let row = rows.into_iter().find(|(key, state)| {
        let failed = matches!(state.leg.outcome, Outcome::Failed { .. });
        key.from == here && key.to == primary && key.service == "directory" && failed
    });
    let (leg, finding) = ground.looked("directory.copy", to, begun, done);
    tried.legs.push(leg);
    match row.filter(|_| failed) {
        Some((_, state)) => {
            tried.legs.push(state.leg);
            let finding = state.finding.or(finding);
            // That the primary cannot be reached does not say why: other servers may know more.
            let definite = finding.as_ref().is_some_and(|f| waypost_health::cause::rank(f.cause.code) >= 2);
            tried.because(finding, definite.then(|| Subject::leg(&here, &primary)))
        }
        None => tried.because(finding, None),
    }
}

/// A directory source answers.
pub async fn source(ground: &Ground, name: &str, limit: Duration) -> Tried {
    let begun = Instant::now();
    let settings = ground.services.settings.current();
    let data = ground.services.organisation.place.root();
    let client = settings
        .directory_sources
        .get(name)
        .and_then(|w| ldap::Source::of(name, w, data).ok())
        .map(ldap::Client::new);
    let host = settings.directory_sources.get(name).and_then(|s| s.urls.first().cloned()).unwrap_or_default();
    let work = async {
        let Some(client) = client else {
            return Err(Fault::new(cause::SOURCE, format!("the password of {name} cannot be read")));
        };
        let found = ldap::test(&client, None, None).await;
        let value =
            |key: &str| found.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone()).unwrap_or_default();
        match value("Result").as_str() {
            "Success" => Ok(()),
            _ => Err(Fault::new(
                cause::SOURCE,
                format!("{name} ({}), {}: {}", value("Server"), value("Step"), value("Error")),
            )),
        }
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            Err(Fault::new(cause::SOURCE, format!("{name} does not answer in {:.1} s", limit.as_secs_f64())))
        }
    };
    let to = Party::new("directory source", format!("{name} {host}"));
    result(ground, "directory.source", to, Subject::Peer(name.to_owned()), begun, done)
}

/// The provider of tokens shows where its keys are.
pub async fn issuer(ground: &Ground, limit: Duration) -> Tried {
    let begun = Instant::now();
    let settings = ground.services.settings.current();
    let issuer = settings.oauth.issuer.trim_end_matches('/').to_owned();
    let url = format!("{issuer}/.well-known/openid-configuration");
    let ca = ground.services.organisation.place.root().join(&settings.oauth.ca_file);
    let ca = (!settings.oauth.ca_file.is_empty()).then_some(ca.as_path());
    let failed = |text: String| Err(Fault::new(cause::ISSUER, text));
    let done = match tokio::time::timeout(limit, crate::web_client::get(&url, ca)).await {
        Ok(Ok(fetched)) if fetched.status == 200 => Ok(()),
        Ok(Ok(fetched)) => failed(format!("{url} is answered {}", fetched.status)),
        Ok(Err(e)) => failed(e),
        Err(_) => failed(format!("{url} is not answered in {:.1} s", limit.as_secs_f64())),
    };
    result(
        ground,
        "oauth.issuer",
        Party::new("token issuer", issuer.clone()),
        Subject::Peer(issuer),
        begun,
        done,
    )
}

/// The mailboxes that probes sign in to are there, and may be used.
pub fn mailboxes(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let now = ground.snapshot();
    let all = ground.mailboxes();
    let homes = now.servers().filter(|s| s.roles.mailbox && s.revoked.is_none());
    let missing: Vec<&str> =
        homes.map(|s| s.id.as_str()).filter(|id| !all.iter().any(|(home, _)| home == id)).collect();
    let off = all.iter().find(|(_, account)| !account.enabled);
    let done = match (missing.first(), off) {
        _ if all.is_empty() => Err(nobody()),
        (Some(home), _) => Err(Fault::new(cause::NO_MAILBOX, format!("{home} has no health mailbox"))),
        (None, Some((_, account))) => {
            Err(Fault::new(cause::NO_MAILBOX, format!("{} is switched off", account.name)))
        }
        (None, None) => Ok(()),
    };
    let to = Party::new("directory", ground.here());
    let here = ground.here();
    Tried::of(vec![Subject::Directory(here)]).with(ground.looked("health.mailboxes", to, begun, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_finds() {
        for local in ["localhost", "server-1.contoso.test", "mail.lan", "box", "127.0.0.1", "x.invalid."] {
            assert!(is_local(local), "{local}");
        }
        assert!(!is_local("mail.example.org") && !is_local("contoso.com"));
    }
}
