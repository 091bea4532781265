//! From what was seen to what is wrong.
//!
//! The acceptor's own data decide first: the ticket's clear part against the keytab, then the keys tried on the ticket. Only
//! when the key is right is the library asked, since its codes and texts do not tell the cases apart, and mislead in two of
//! them (a keytab that may not be read, an encryption type that is forbidden).

use super::cause;
use super::crypto::KeyTest;
use super::gss::Status;
use super::inside::{Inside, look, try_key};
use super::keytab::{Entry, Keytab, KeytabError};
use super::name::{KeyName, Principal};
use super::token::{Request, Token, TokenError};
use crate::leg::fault::Fault;
use std::path::Path;
use waypost_base::Timestamp;
use waypost_base::explain::Evidence;

/// What an acceptor knows when a token was refused.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Whose keytab it is: `server-2/transport`.
    pub holder: &'a str,
    pub path: &'a Path,
    /// As read by the process that refused, after the refusal.
    pub keytab: &'a Result<Keytab, KeytabError>,
    pub token: &'a Result<Token, TokenError>,
    /// What the library said.
    pub status: Option<&'a Status>,
    pub now: Timestamp,
}

/// Kerberos' limit unless krb5.conf says otherwise (`clockskew`).
const SKEW_MILLIS: i64 = 300_000;
/// Keys of one principal that are tried: each costs some microseconds, and strangers choose the ticket.
const TRIES_MAX: usize = 32;
/// Keys that are named in a text; the rest is in the evidence.
const NAMED_MAX: usize = 6;

/// Why a request was refused.
pub fn accept(seen: &Seen<'_>) -> Fault {
    let mut fault = match (seen.keytab, seen.token) {
        (Err(error), _) => no_keytab(seen, error),
        (Ok(keytab), _) if keytab.entries.is_empty() => {
            let text = format!("the keytab {} of {} holds no key", seen.path.display(), seen.holder);
            Fault::new(cause::KEYTAB_MISSING, text)
        }
        (Ok(keytab), Ok(Token::Request(request))) => {
            key_fault(seen, keytab, request).unwrap_or_else(|(entry, tried)| {
                let inside = entry.and_then(|e| look(e, request));
                let mut fault = by_library(seen, request, inside.as_ref(), tried);
                fault.evidence.extend(inside.map(|i| inside_evidence(seen, &i)));
                fault
            })
        }
        (Ok(_), Ok(Token::Ntlm)) => {
            Fault::new(cause::TOKEN, "the client sent NTLM where Kerberos was expected")
        }
        (Ok(_), Ok(_)) => without_request(seen),
        (Ok(_), Err(error)) => Fault::new(cause::TOKEN, error.to_string()),
    };
    let facts = facts(seen);
    fault.evidence.splice(0..0, facts);
    fault
}

fn no_keytab(seen: &Seen<'_>, error: &KeytabError) -> Fault {
    let (path, holder) = (seen.path.display(), seen.holder);
    if error.is_missing() {
        let text = format!("{holder} has no keytab: {path} does not exist");
        return Fault::new(cause::KEYTAB_MISSING, text);
    }
    let mut fault = Fault::new(cause::KEYTAB_UNREADABLE, format!("{holder} cannot read its keytab: {error}"));
    if error.is_denied() {
        fault.remedy = vec![
            format!("ls -l {path}"),
            format!("chown waypost {path} && chmod 0400 {path}"),
            "Test-ServicePermission".into(),
        ];
    }
    fault
}

type NotTheKey<'a> = (Option<&'a Entry>, KeyTest);

/// A fault of the keys, or the entry that fits and what came of trying it.
fn key_fault<'a>(seen: &Seen<'_>, keytab: &'a Keytab, request: &Request) -> Result<Fault, NotTheKey<'a>> {
    let (server, sealed) = (&request.ticket.server, &request.ticket.sealed);
    let own: Vec<&Entry> = keytab.of(server).collect();
    if own.is_empty() {
        return Ok(no_principal(seen, keytab, server));
    }
    let (of_type, of_others): (Vec<&Entry>, Vec<&Entry>) =
        own.iter().copied().partition(|e| e.enctype == sealed.enctype);
    let of_version = |e: &&Entry| sealed.kvno.is_none_or(|kvno| same_version(kvno, e.kvno));
    let mut fitting = of_type.iter().copied().filter(of_version).take(TRIES_MAX).peekable();
    if fitting.peek().is_some() {
        return match fitting.map(|e| (e, try_key(e, request))).find(|(_, test)| *test != KeyTest::Mismatch) {
            Some((entry, test)) => Err((Some(entry), test)),
            None => Ok(mismatch(seen, request)),
        };
    }
    let missing = of_type.is_empty() || of_others.iter().any(|e| of_version(e) && sealed.kvno.is_some());
    Ok(if missing { enctype_missing(seen, request, &own) } else { other_version(seen, request, &of_type) })
}

/// Keytabs written by old tools hold the last eight bits only.
fn same_version(ticket: u32, keytab: u32) -> bool {
    ticket == keytab || (keytab < 256 && ticket & 0xff == keytab && ticket < 0x1_0000)
}

fn no_principal(seen: &Seen<'_>, keytab: &Keytab, server: &Principal) -> Fault {
    let holder = seen.holder;
    let others = keytab.principals();
    let mut fault = match others.iter().find(|p| p.same_but_for_case(server)) {
        Some(near) => Fault::new(
            cause::NO_PRINCIPAL,
            format!(
                "the ticket is for {server}; the keytab of {holder} holds {near}, which differs by the case of letters"
            ),
        ),
        None => Fault::new(
            cause::NO_PRINCIPAL,
            format!("the ticket is for {server}; the keytab of {holder} holds only {}", some(&others)),
        ),
    };
    fault.remedy = vec![format!("klist -e -k -t {}", seen.path.display()), export(server, seen.path)];
    fault
}

fn enctype_missing(seen: &Seen<'_>, request: &Request, own: &[&Entry]) -> Fault {
    let text = format!("{}; the keytab of {} holds only {}", encrypted_with(request), seen.holder, keys(own));
    let mut fault = Fault::new(cause::ENCTYPE_MISSING, text);
    let (server, path) = (&request.ticket.server, seen.path);
    fault.remedy = vec![
        format!("klist -e -k -t {}", path.display()),
        export(server, path),
        format!("Clear-KerberosTicket -Service {server}"),
        format!(
            "in Active Directory: look at msDS-SupportedEncryptionTypes of the account that has {server}, and set its \
             password anew if it is older than the domain's support of {}",
            request.ticket.sealed.enctype
        ),
    ];
    fault
}

fn other_version(seen: &Seen<'_>, request: &Request, of_type: &[&Entry]) -> Fault {
    let (server, path) = (&request.ticket.server, seen.path);
    let newest = of_type.iter().map(|e| e.kvno).max().unwrap_or_default();
    let ticket = request.ticket.sealed.kvno.unwrap_or_default();
    if ticket > newest {
        let text = format!(
            "{}; the keytab of {} is older and holds {}",
            encrypted_with(request),
            seen.holder,
            keys(of_type)
        );
        let mut fault = Fault::new(cause::KEYTAB_STALE, text);
        fault.remedy = vec![
            format!("klist -e -k -t {}", path.display()),
            format!("kvno {server}"),
            export(server, path),
        ];
        return fault;
    }
    let text = format!(
        "{}; the keytab of {} is newer and holds {}",
        encrypted_with(request),
        seen.holder,
        keys(of_type)
    );
    let mut fault = Fault::new(cause::TICKET_OLD, text);
    fault.remedy = vec![format!("Clear-KerberosTicket -Service {server}"), format!("kvno {server}")];
    fault
}

fn mismatch(seen: &Seen<'_>, request: &Request) -> Fault {
    let (server, path) = (&request.ticket.server, seen.path);
    let text = format!(
        "{}; the keytab of {} holds a key of that type and version, and it does not open the ticket",
        encrypted_with(request),
        seen.holder
    );
    let mut fault = Fault::new(cause::KEY_MISMATCH, text);
    fault.remedy = vec![
        format!("look for a second account with the name {server} (setspn -Q {})", server.parts.join("/")),
        export(server, path),
        format!("Clear-KerberosTicket -Service {server}"),
    ];
    fault
}

fn export(server: &Principal, path: &Path) -> String {
    format!(
        "export the keytab again: kadmin -q 'ktadd -k {path} {server}' (MIT, makes a new key), samba-tool domain exportkeytab \
         {path} --principal={server}, or ktpass with -crypto All",
        path = path.display()
    )
}

fn encrypted_with(request: &Request) -> String {
    let sealed = &request.ticket.sealed;
    format!(
        "the ticket for {} is encrypted with {}",
        request.ticket.server,
        KeyName(sealed.enctype, sealed.kvno)
    )
}

fn keys(entries: &[&Entry]) -> String {
    let mut names: Vec<(u32, i32, String)> =
        entries.iter().map(|e| (e.kvno, e.enctype.0, KeyName(e.enctype, Some(e.kvno)).to_string())).collect();
    // The newest first: an administrator looks for these.
    names.sort_by_key(|(kvno, enctype, _)| (std::cmp::Reverse(*kvno), *enctype));
    names.dedup();
    let names: Vec<&str> = names.iter().map(|(_, _, name)| name.as_str()).collect();
    some(&names)
}

fn some(names: &[impl std::fmt::Display]) -> String {
    let mut text: Vec<String> = names.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if names.len() > NAMED_MAX {
        text.push(format!("{} more", names.len() - NAMED_MAX));
    }
    text.join(", ")
}

/// The keys are right, or cannot be looked at: what the library says, read with what is inside.
fn by_library(seen: &Seen<'_>, request: &Request, inside: Option<&Inside>, tried: KeyTest) -> Fault {
    let server = &request.ticket.server;
    let Some(status) = seen.status else {
        return Fault::new(
            cause::OTHER,
            format!("the ticket for {server} is good, and was refused all the same"),
        );
    };
    match status.kind() {
        Said::Bindings => Fault::new(
            cause::BINDING,
            format!("the ticket for {server} is bound to another TLS channel than the one that it came by"),
        ),
        Said::Skew => skew(seen, inside),
        Said::Replay => {
            Fault::new(cause::REPLAY, format!("the request with the ticket for {server} came before"))
        }
        Said::Expired => {
            let when = inside
                .map_or(String::new(), |i| format!(" at {}, {} ago", i.end, span(seen.now.since(i.end))));
            Fault::new(cause::EXPIRED, format!("the ticket for {server} ran out{when}"))
        }
        Said::Integrity | Said::Enctype if tried == KeyTest::Opens || status.kind() == Said::Enctype => {
            forbidden(seen, request)
        }
        Said::Integrity | Said::Version if tried == KeyTest::Untested => {
            Fault::new(cause::KEY_MISMATCH, format!("{}; {}", encrypted_with(request), status.line()))
        }
        _ => Fault::new(cause::OTHER, format!("the ticket for {server} was refused: {}", status.line())),
    }
}

fn forbidden(seen: &Seen<'_>, request: &Request) -> Fault {
    let sealed = &request.ticket.sealed;
    let text = format!(
        "{}, which the keytab of {} has the right key for; the configuration of Kerberos there forbids {}",
        encrypted_with(request),
        seen.holder,
        sealed.enctype
    );
    let mut fault = Fault::new(cause::ENCTYPE_FORBIDDEN, text);
    fault.remedy = vec![
        format!("add {} to permitted_enctypes in krb5.conf of {}", sealed.enctype, seen.holder),
        "grep -E 'enctypes|allow_' /etc/krb5.conf /etc/krb5.conf.d/*".into(),
    ];
    fault
}

fn skew(seen: &Seen<'_>, inside: Option<&Inside>) -> Fault {
    let text = match inside.and_then(|i| i.made) {
        Some(made) => {
            let off = made.since(seen.now);
            let how = if off < 0 { "behind" } else { "ahead of" };
            format!(
                "the initiator's clock is {} {how} that of {}; Kerberos bears {}",
                span(off.abs()),
                seen.holder,
                span(SKEW_MILLIS)
            )
        }
        None => format!(
            "the clocks of the initiator and of {} differ by more than {}",
            seen.holder,
            span(SKEW_MILLIS)
        ),
    };
    Fault::new(cause::SKEW, text)
}

fn without_request(seen: &Seen<'_>) -> Fault {
    match seen.status {
        Some(status) if status.kind() == Said::Bindings => Fault::new(
            cause::BINDING,
            "the exchange is bound to another TLS channel than the one that it came by",
        ),
        Some(status) if status.routine() == Status::DEFECTIVE_TOKEN => {
            Fault::new(cause::TOKEN, format!("no ticket came: {}", status.line()))
        }
        Some(status) => Fault::new(cause::OTHER, status.line()),
        None => Fault::new(cause::TOKEN, "no ticket came"),
    }
}

fn facts(seen: &Seen<'_>) -> Vec<Evidence> {
    let fact = |source: &str, fact: String| Evidence {
        source: format!("{}: {source}", seen.holder),
        time: Some(seen.now),
        fact,
    };
    let mut facts = Vec::new();
    if let Ok(Token::Request(request)) = seen.token {
        let (ticket, made) = (&request.ticket, &request.authenticator);
        facts.push(fact(
            "ticket",
            format!(
                "for {}, encrypted with {}; the request in it with the session key, {}{}",
                ticket.server,
                KeyName(ticket.sealed.enctype, ticket.sealed.kvno),
                made.enctype,
                if request.spnego { "; by SPNEGO" } else { "" }
            ),
        ));
    }
    match seen.keytab {
        Ok(keytab) => {
            let mut lines: Vec<String> = keytab
                .principals()
                .iter()
                .take(NAMED_MAX)
                .map(|p| format!("{p}: {}", keys(&keytab.of(p).collect::<Vec<_>>())))
                .collect();
            if lines.is_empty() {
                lines.push("no key".into());
            }
            facts.push(fact("keytab", format!("{}: {}", seen.path.display(), lines.join("; "))));
        }
        Err(error) => facts.push(fact("keytab", error.to_string())),
    }
    if let Some(status) = seen.status {
        facts.push(fact("library", status.to_string()));
    }
    facts
}

fn inside_evidence(seen: &Seen<'_>, inside: &Inside) -> Evidence {
    let made = inside.made.map_or(String::new(), |m| format!("; made at {m} by the initiator's clock"));
    Evidence {
        source: format!("{}: ticket opened", seen.holder),
        time: Some(seen.now),
        fact: format!("of {}, valid from {} to {}{made}", inside.client, inside.start, inside.end),
    }
}

/// `10 min 2 s`
fn span(millis: i64) -> String {
    let seconds = millis / 1000;
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// What the library means. By its text too: under SPNEGO its codes are numbers without meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Bindings,
    Skew,
    Replay,
    Expired,
    /// A key does not open something.
    Integrity,
    /// A key of that version is not there.
    Version,
    Enctype,
    NoServer,
    NoClient,
    NoKdc,
    NoCredentials,
    Else,
}

impl Said {
    pub(super) fn of(status: &Status) -> Said {
        if status.routine() == Status::BAD_BINDINGS {
            return Said::Bindings;
        }
        // KRB5KDC_ERR_* and KRB5KRB_AP_ERR_* are this base and the number of RFC 4120 §7.5.9.
        let by_code = match status.minor.wrapping_sub(-1_765_328_384) {
            6 => Some(Said::NoClient),
            7 => Some(Said::NoServer),
            14 | 150 => Some(Said::Enctype),
            // The key that was shown to the KDC is not the one that it has.
            24 => Some(Said::NoCredentials),
            31 => Some(Said::Integrity),
            32 => Some(Said::Expired),
            33 | 37 => Some(Said::Skew),
            34 => Some(Said::Replay),
            44 => Some(Said::Version),
            141 | 181 | 195 => Some(Said::NoCredentials),
            154 | 156 | 220 => Some(Said::NoKdc),
            _ => None,
        };
        by_code.unwrap_or_else(|| Said::by_text(&status.text))
    }

    fn by_text(text: &str) -> Said {
        let texts: &[(&str, Said)] = &[
            ("Clock skew too great", Said::Skew),
            ("not yet valid", Said::Skew),
            ("Request is a replay", Said::Replay),
            ("Ticket expired", Said::Expired),
            ("has expired", Said::Expired),
            ("cannot decrypt ticket", Said::Integrity),
            ("integrity check failed", Said::Integrity),
            ("Preauthentication failed", Said::NoCredentials),
            ("not found in keytab", Said::Version),
            ("but not with enctype", Said::Version),
            ("no support for encryption type", Said::Enctype),
            ("not permitted", Said::Enctype),
            ("Server not found", Said::NoServer),
            ("not found in Kerberos database", Said::NoServer),
            ("Cannot contact any KDC", Said::NoKdc),
            ("Cannot find KDC", Said::NoKdc),
            ("Cannot resolve", Said::NoKdc),
            ("No Kerberos credentials", Said::NoCredentials),
        ];
        texts.iter().find(|(part, _)| text.contains(part)).map_or(Said::Else, |(_, said)| *said)
    }
}

/// What an initiator knows when it got no ticket or no good answer.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Whose credentials: `server-1/mailbox`.
    pub holder: &'a str,
    pub client: Option<&'a str>,
    pub service: &'a str,
    pub path: &'a Path,
    /// Its own keytab, as read after the failure.
    pub keytab: &'a Result<Keytab, KeytabError>,
    pub status: &'a Status,
    pub now: Timestamp,
}

/// Why an initiator got no further.
pub fn initiate(asked: &Asked<'_>) -> Fault {
    let (holder, service, path) = (asked.holder, asked.service, asked.path.display());
    let client = asked.client.unwrap_or("its principal");
    let line = asked.status.line();
    let mut fault = match asked.status.kind() {
        Said::NoServer => {
            let mut fault = Fault::new(
                cause::SPN_UNKNOWN,
                format!("the KDC does not know {service}, which {holder} asked for"),
            );
            fault.remedy = vec![
                format!(
                    "make it: kadmin -q 'addprinc -randkey {service}', or setspn -S on the account of the service"
                ),
                "Get-ExchangeServer and Set-ExchangeServer ID -ServicePrincipals: the names that the servers have".into(),
            ];
            fault
        }
        Said::NoKdc => {
            Fault::new(cause::KDC_UNREACHABLE, format!("{holder} got no ticket for {service}: {line}"))
        }
        Said::Expired => {
            Fault::new(cause::EXPIRED, format!("the ticket of {holder} for {service} ran out: {line}"))
        }
        Said::Skew => Fault::new(
            cause::SKEW,
            format!(
                "the clock of {holder} and that of the KDC or of {service} differ by more than {}",
                span(SKEW_MILLIS)
            ),
        ),
        Said::Enctype => Fault::new(
            cause::ENCTYPE_FORBIDDEN,
            format!(
                "{holder} got no ticket for {service}: {line}; look at permitted_enctypes and allow_rc4 of KDC and krb5.conf"
            ),
        ),
        Said::NoClient => Fault::new(
            cause::NO_CREDENTIALS,
            format!("the KDC does not know {client}, as which {holder} signs in"),
        ),
        Said::NoCredentials | Said::Integrity | Said::Version => no_credentials(asked, client),
        _ if asked.keytab.is_err() => no_credentials(asked, client),
        Said::Bindings => {
            Fault::new(cause::BINDING, format!("the exchange with {service} is bound to another TLS channel"))
        }
        Said::Replay => Fault::new(cause::REPLAY, format!("{service} says that the request came before")),
        Said::Else => Fault::new(cause::OTHER, format!("{holder} got no further with {service}: {line}")),
    };
    let fact = |source: &str, fact: String| Evidence {
        source: format!("{holder}: {source}"),
        time: Some(asked.now),
        fact,
    };
    fault
        .evidence
        .push(fact("asked", format!("{client} asked for a ticket for {service}, with the keytab {path}")));
    if let Err(error) = asked.keytab {
        fault.evidence.push(fact("keytab", error.to_string()));
    }
    fault.evidence.push(fact("library", asked.status.to_string()));
    fault
}

fn no_credentials(asked: &Asked<'_>, client: &str) -> Fault {
    let holder = asked.holder;
    match asked.keytab {
        Err(error) if error.is_missing() => {
            let text = format!("{holder} has no keytab: {} does not exist", asked.path.display());
            Fault::new(cause::KEYTAB_MISSING, text)
        }
        Err(error) => {
            Fault::new(cause::KEYTAB_UNREADABLE, format!("{holder} cannot read its keytab: {error}"))
        }
        Ok(keytab) if keytab.entries.is_empty() => {
            let text = format!("the keytab {} of {holder} holds no key", asked.path.display());
            Fault::new(cause::KEYTAB_MISSING, text)
        }
        Ok(_) => {
            let text = format!("{holder} cannot sign in to the KDC as {client}: {}", asked.status.line());
            Fault::new(cause::NO_CREDENTIALS, text)
        }
    }
}

#[cfg(test)]
mod tests;
