//! klist of Windows and of MIT, logonsessions, setspn.

use super::{fact, has_any, text_of};
use crate::fact::Fact;
use crate::read::{Doc, scan, when};
use crate::sink::Sink;
use regex::Regex;
use std::sync::LazyLock;

/// Lines of one ticket.
const TICKET_LINES: usize = 16;

static LUID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:logon ?id|anmelde-?id|session)\b[^0-9\r\n]{0,24}(?:0:|0x0:|00000000:)(?:0x)?([0-9a-f]{1,8})\b|klist\b[^\r\n]*[-–—/]li\s+(?:0:)?(?:0x)?([0-9a-f]{1,8})\b").ok()
});

/// The logon session that a line names, as `0x3e7`.
fn luid(line: &str) -> Option<String> {
    let found = LUID.as_ref()?.captures(line)?;
    let hex = found.get(1).or_else(|| found.get(2))?.as_str();
    u32::from_str_radix(hex, 16).ok().map(|id| format!("{id:#x}"))
}

/// Fields of a ticket by the beginning of their label, in several languages.
const LABELS: &[(&str, &str)] = &[
    ("client", "client"),
    ("klient", "client"),
    ("server", "server"),
    ("serveur", "server"),
    ("kerbticket", "etype"),
    ("type de chiffrement kerbticket", "etype"),
    ("kerberos ticket", "etype"),
    ("ticket flags", "flags"),
    ("ticketkennzeichen", "flags"),
    ("start", "start"),
    ("heure de d", "start"),
    ("end", "end"),
    ("heure de fin", "end"),
    ("renew", "renew"),
    ("erneuer", "renew"),
    ("session key", "sessionetype"),
    ("sitzungsschl", "sessionetype"),
    ("type de cl", "sessionetype"),
    ("cache flags", "cacheflags"),
    ("cachekennzeichen", "cacheflags"),
    ("kdc called", "kdc"),
    ("kdc aufgerufen", "kdc"),
];

fn label(line: &str) -> Option<(&'static str, &str)> {
    let (name, value) = match line.trim_start().strip_prefix("Ticket Flags") {
        Some(value) => ("ticket flags".to_owned(), value),
        None => {
            let (name, value) = line.trim_start().split_once(':')?;
            (name.trim().to_lowercase(), value)
        }
    };
    if name.len() > 48 {
        return None;
    }
    LABELS.iter().find(|(l, _)| name.starts_with(l)).map(|(_, field)| (*field, value.trim()))
}

/// Tickets, as klist of Windows lists them.
pub fn klist(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut session = None;
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if let Some(id) = luid(text).filter(|_| has_any(text, &["logon", "anmelde", "klist", "session"])) {
            session = Some(id);
        }
        let numbered = text.trim_start().strip_prefix('#').and_then(|rest| rest.split_once('>'));
        let begins = numbered.is_some_and(|(n, _)| n.chars().all(|c| c.is_ascii_digit()) && !n.is_empty())
            || matches!(label(text), Some(("client", v)) if v.contains('@'));
        if !begins {
            line += 1;
            continue;
        }
        let end = ticket(doc, line, session.as_deref(), sink);
        found += u64::from(end > line);
        line = end.max(line + 1);
    }
    sink.understood("Kerberos tickets (klist)", found);
}

/// The ticket that begins at this line; the line after it, or this line if there is none.
fn ticket(doc: &mut Doc<'_>, from: usize, session: Option<&str>, sink: &mut Sink<'_>) -> usize {
    let mut ticket = fact("ticket", doc, from);
    let mut end = from;
    for line in from..from + TICKET_LINES {
        let Some(mut text) = doc.free(line) else { break };
        if let Some((number, rest)) =
            text.trim_start().strip_prefix('#').and_then(|rest| rest.split_once('>'))
            && number.chars().all(|c| c.is_ascii_digit())
        {
            if line > from {
                break;
            }
            text = rest;
        }
        let Some((field, value)) = label(text) else {
            if text.trim().is_empty() || line == from {
                break;
            }
            // A name that is long was wrapped.
            if scan::indent(text) > 0 && text.trim().len() < 80 {
                end = line + 1;
                continue;
            }
            break;
        };
        if ticket.get(field).is_some() && field == "client" {
            break;
        }
        put(&mut ticket, field, value);
        end = line + 1;
    }
    if ticket.get("server").is_none() || ticket.fields.len() < 2 {
        return from;
    }
    if let Some(session) = session {
        ticket.put("luid", session);
    }
    sink.fact(ticket.text(&text_of(doc, from..end)));
    doc.claim(from..end);
    end
}

fn put(ticket: &mut Fact, field: &'static str, value: &str) {
    match field {
        "client" | "server" => {
            let (name, realm) = value.split_once('@').unwrap_or((value, ""));
            ticket.put(field, name);
            ticket.put(if field == "client" { "clientrealm" } else { "realm" }, realm);
        }
        "start" | "end" | "renew" => {
            ticket.put(field, when::parse(value).map_or_else(|| value.to_owned(), |t| t.to_string()));
        }
        "etype" => ticket.put(field, value.rsplit(':').next().unwrap_or(value)),
        _ => ticket.put(field, value.trim_start_matches("->")),
    }
}

static ETYPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)etype\s*(?:\(skey, ?tkt\))?:\s*([a-z0-9-]+)(?:,\s*([a-z0-9-]+))?").ok()
});

/// Tickets and keytabs, as klist of MIT and Heimdal list them.
pub fn klist_unix(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut client = String::new();
    let mut keytab = false;
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line) else { continue };
        if let Some(name) =
            scan::after(text, "Default principal:").or_else(|| scan::after(text, "Principal:"))
        {
            name.trim().clone_into(&mut client);
            keytab = false;
        } else if scan::starts(text, "Keytab name:") {
            (keytab, client) = (true, String::new());
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        if keytab
            && let [number, principal, rest @ ..] = parts.as_slice()
            && let (Ok(kvno), true) = (number.parse::<u32>(), text.contains('@'))
        {
            let principal = if principal.contains('@') {
                principal
            } else {
                rest.iter().find(|p| p.contains('@')).unwrap_or(principal)
            };
            let etype = text.rsplit_once('(').map(|(_, e)| e.trim_end_matches(')')).unwrap_or_default();
            let entry = fact("keytab", doc, line)
                .with("kvno", kvno.to_string())
                .with("principal", *principal)
                .with("etype", etype);
            sink.fact(entry.text(text));
            doc.claim(line..line + 1);
            found += 1;
        } else if !client.is_empty()
            && text.contains('/')
            && let Some(principal) = parts.last().filter(|p| p.contains('@') && p.contains('/'))
            && parts.first().is_some_and(|p| p.starts_with(|c: char| c.is_ascii_digit()))
            && parts.len() >= 5
        {
            let mut ticket = fact("ticket", doc, line).with("client", &client).with("server", *principal);
            ticket.put("start", parts.get(..2).unwrap_or_default().join(" "));
            ticket.put("end", parts.get(2..4).unwrap_or_default().join(" "));
            let mut end = line + 1;
            while let Some(more) = doc.free(end).filter(|l| l.starts_with([' ', '\t']) && end < line + 3) {
                if let Some(types) = ETYPES.as_ref().and_then(|r| r.captures(more)) {
                    ticket.put("sessionetype", types.get(1).map_or("", |m| m.as_str()));
                    ticket.put("etype", types.get(2).or_else(|| types.get(1)).map_or("", |m| m.as_str()));
                }
                end += 1;
            }
            sink.fact(ticket.text(&text_of(doc, line..end)));
            doc.claim(line..end);
            found += 1;
        }
    }
    sink.understood("Kerberos tickets (klist)", found);
}

/// Logon sessions, as the tool of Sysinternals lists them.
pub fn logonsessions(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    const NAMES: [(&str, &str); 9] = [
        ("user name", "user"),
        ("auth package", "package"),
        ("logon type", "logontype"),
        ("session", "session"),
        ("sid", "sid"),
        ("logon time", "logontime"),
        ("logon server", "logonserver"),
        ("dns domain", "dnsdomain"),
        ("upn", "upn"),
    ];
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let session = doc.free(line).filter(|t| has_any(t, &["logon session"])).and_then(luid);
        let Some(session) = session else {
            line += 1;
            continue;
        };
        let mut entry = fact("logonsession", doc, line).with("luid", session);
        let mut processes = String::new();
        let mut end = line + 1;
        while let Some(text) =
            doc.free(end).filter(|t| !t.trim().is_empty() && !has_any(t, &["logon session"]))
        {
            let Some((name, value)) = text.split_once(':') else { break };
            let (name, value) = (name.trim(), value.trim());
            match NAMES.iter().find(|(n, _)| name.eq_ignore_ascii_case(n)) {
                Some((_, field)) => entry.put(*field, value),
                None if name.chars().all(|c| c.is_ascii_digit()) && !name.is_empty() => {
                    scan::add(&mut processes, value, ", ")
                }
                None => break,
            }
            end += 1;
        }
        entry.put("process", processes);
        if entry.fields.len() > 2 {
            sink.fact(entry.text(&text_of(doc, line..end)));
            doc.claim(line..end);
            found += 1;
        }
        line = end;
    }
    sink.understood("logon sessions", found);
}

/// A service principal name: `SMTPSVC/mbx01.corp.example`, `http/mail:443`.
fn is_spn(text: &str) -> bool {
    let Some((class, host)) = text.split_once('/') else { return false };
    !class.is_empty()
        && class.len() <= 48
        && class.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.')
        && class.starts_with(|c: char| c.is_ascii_alphabetic())
        && !host.is_empty()
        && !text.contains([' ', '\\', '<', '>'])
        && !text.contains("://")
}

/// Whether a line of any language says that a name is registered on accounts: the name first, two accounts below.
fn heads_accounts(doc: &Doc<'_>, line: usize) -> bool {
    let Some(text) = doc.free(line).map(str::trim) else { return false };
    let named = text.split_whitespace().next().is_some_and(is_spn);
    let account = |at: usize| {
        doc.free(at).map(str::trim).is_some_and(|next| {
            next.get(..3).is_some_and(|cn| cn.eq_ignore_ascii_case("CN=")) && next.contains("DC=")
        })
    };
    named && text.ends_with([':', '：']) && account(line + 1) && account(line + 2)
}

/// Service principal names, as setspn lists them for an account (-L), finds them (-Q) and counts duplicates (-X).
pub fn setspn(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut account: Option<String> = None;
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        let trimmed = text.trim();
        if has_any(
            text,
            &[
                "is registered on these accounts",
                "ist für diese Konten registriert",
                "ist auf diesen Konten registriert",
                "est inscrit sur ces comptes",
            ],
        ) || heads_accounts(doc, line)
        {
            line = duplicate(doc, line, sink);
            found += 1;
            account = None;
            continue;
        }
        if has_any(
            text,
            &[
                "ServicePrincipalNames for ",
                "ServicePrincipalNames (SPN) für ",
                "ServicePrincipalNames für ",
                "ServicePrincipalNames pour ",
            ],
        ) {
            account = ["for ", "für ", "pour "]
                .iter()
                .find_map(|word| scan::after(text, word))
                .map(|name| name.trim().trim_end_matches(':').to_owned());
            doc.claim(line..line + 1);
        } else if trimmed.get(..3).is_some_and(|cn| cn.eq_ignore_ascii_case("CN="))
            && trimmed.contains("DC=")
            && doc.free(line + 1).is_some_and(|next| is_spn(next.trim()))
        {
            account = Some(trimmed.to_owned());
            doc.claim(line..line + 1);
        } else if has_any(
            text,
            &["No such SPN found", "Dieser SPN wurde nicht gefunden", "SPN nicht gefunden"],
        ) {
            sink.fact(fact("spn", doc, line).with("error", "No such SPN found").text(trimmed));
        } else if let Some(holder) = &account {
            if is_spn(trimmed) {
                sink.fact(
                    fact("spn", doc, line)
                        .with("account", holder)
                        .with("spn", trimmed)
                        .text(&format!("{trimmed} on {holder}")),
                );
                doc.claim(line..line + 1);
                found += 1;
            } else if !trimmed.is_empty() {
                account = None;
                continue;
            }
        }
        line += 1;
    }
    sink.understood("service principal names (setspn)", found);
}

fn duplicate(doc: &mut Doc<'_>, from: usize, sink: &mut Sink<'_>) -> usize {
    let spn = doc.free(from).unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned();
    let mut accounts = String::new();
    let mut end = from + 1;
    while let Some(account) = doc.free(end).map(str::trim).filter(|t| t.contains('=') || t.contains('\\')) {
        scan::add(&mut accounts, account, "; ");
        sink.fact(
            fact("spn", doc, end)
                .with("account", account)
                .with("spn", &spn)
                .text(&format!("{spn} on {account}")),
        );
        end += 1;
    }
    sink.fact(
        fact("spn-duplicate", doc, from)
            .with("spn", spn)
            .with("accounts", accounts)
            .text(&text_of(doc, from..end)),
    );
    doc.claim(from..end);
    end
}
