//! The network: netsh, netstat, telnet's failures, ipconfig.

use super::{fact, has_any, text_of};
use crate::fact::server_name;
use crate::read::{Doc, scan};
use crate::sink::Sink;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

/// `netsh winhttp show proxy` and `netsh http show sslcert`.
pub fn netsh(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if has_any(text, &["WinHTTP proxy settings", "WinHTTP-Proxyeinstellungen", "proxy WinHTTP"])
            && !words::contains(text, "netsh")
        {
            line = winhttp(doc, line, sink);
            found += 1;
        } else if dns_servers(text).is_some() {
            line = resolvers(doc, line, sink);
            found += 1;
        } else if binding(text).is_some() {
            line = sslcert(doc, line, sink);
            found += 1;
        } else {
            line += 1;
        }
    }
    sink.understood("netsh settings", found);
}

fn winhttp(doc: &mut Doc<'_>, from: usize, sink: &mut Sink<'_>) -> usize {
    let mut settings = fact("netsh", doc, from);
    let mut end = from + 1;
    while let Some(text) = doc.free(end).filter(|_| end < from + 8) {
        if has_any(text, &["Direct access", "Direktzugriff", "Accès direct"]) {
            settings.put("proxy", "direct");
            end += 1;
            break;
        }
        if let Some((name, value)) = scan::pair(text) {
            let field = if has_any(name, &["bypass", "umgeh", "contourn"]) { "bypass" } else { "proxy" };
            settings.put(field, value);
        } else if !text.trim().is_empty() {
            break;
        }
        end += 1;
    }
    sink.fact(settings.text(&text_of(doc, from..end)));
    doc.claim(from..end);
    end
}

/// What stands behind `Statically Configured DNS Servers:` of `netsh interface ipv4 show dnsservers`, in any language: words
/// with DNS in them, a colon, an address alone.
fn dns_servers(line: &str) -> Option<&str> {
    let (label, value) = line.split_once(':')?;
    let value = value.trim();
    let worded = words::contains(label, "DNS") && words::contains(label, "serv") && label.contains(' ');
    // Dots in the label are those of ipconfig, which has its own reader.
    (worded && !label.contains(" .") && value.parse::<std::net::IpAddr>().is_ok()).then_some(value)
}

/// The resolvers of one card; more of them stand alone in the lines below.
fn resolvers(doc: &mut Doc<'_>, from: usize, sink: &mut Sink<'_>) -> usize {
    let mut addresses: Vec<&str> = doc.free(from).and_then(dns_servers).into_iter().collect();
    let mut end = from + 1;
    while let Some(more) = doc.free(end).map(str::trim).filter(|t| t.parse::<std::net::IpAddr>().is_ok()) {
        if addresses.len() >= 16 {
            break;
        }
        addresses.push(more);
        end += 1;
    }
    let card = from.checked_sub(1).and_then(|above| doc.free(above)).and_then(|t| t.split('"').nth(1));
    let mut settings = fact("netsh", doc, from).with("dnsservers", addresses.join(", "));
    if let Some(card) = card {
        settings.put("interfacealias", card);
    }
    sink.fact(settings.text(&text_of(doc, from..end)));
    doc.claim(from..end);
    end
}

/// `IP:port : 0.0.0.0:443`, `Hostname:port : mail.example.net:443`.
fn binding(line: &str) -> Option<&str> {
    let line = line.trim();
    let begins =
        ["IP:port", "Hostname:port", "Hostname:Port", "IP:Port"].iter().find(|p| scan::starts(line, p))?;
    let value = line.get(begins.len()..)?.trim_start().strip_prefix(':')?.trim();
    value.contains(':').then_some(value)
}

fn sslcert(doc: &mut Doc<'_>, from: usize, sink: &mut Sink<'_>) -> usize {
    let mut bound =
        fact("netsh", doc, from).with("ipport", doc.free(from).and_then(binding).unwrap_or_default());
    let mut end = from + 1;
    while let Some(text) = doc.free(end).filter(|_| end < from + 32) {
        let Some((name, value)) = scan::pair(text).filter(|_| binding(text).is_none()) else { break };
        let field = match name.to_lowercase().as_str() {
            n if n.contains("hash") => "certificatehash".to_owned(),
            n if n.contains("application id") || n.contains("anwendungs-id") || n.contains("id de l") => {
                "applicationid".to_owned()
            }
            n if n.contains("store name") || n.contains("speicher") => "certificatestorename".to_owned(),
            n => n.to_owned(),
        };
        bound.put(field, value);
        end += 1;
    }
    sink.fact(bound.text(&text_of(doc, from..end)));
    doc.claim(from..end);
    end
}

static CONNECTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)^\s*(tcp|udp)[46]?\s+(?:\d+\s+\d+\s+)?(\[?[0-9a-f.:%*]+\]?):(\d+|\*)\s+(\[?[0-9a-f.:%*]+\]?):(\d+|\*)(?:\s+([A-ZÖÜÄ_É]{3,}[A-Z0-9_]*))?(?:\s+(\d+))?").ok()
});

/// Connections and listeners, as netstat lists them.
pub fn netstat(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let Some(form) = CONNECTION.as_ref() else { return };
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line).filter(|t| scan::starts(t, "tcp") || scan::starts(t, "udp")) else {
            continue;
        };
        let Some(parts) = form.captures(text) else { continue };
        let part = |n: usize| parts.get(n).map_or("", |m| m.as_str());
        let state = match part(6) {
            "ABHÖREN" | "LISTEN" => "LISTENING",
            "HERGESTELLT" => "ESTABLISHED",
            other => other,
        };
        let listens = state == "LISTENING";
        let mut port = fact("port", doc, line)
            .with("protocol", part(1))
            .with("host", if listens { part(2) } else { part(4) })
            .with("port", if listens { part(3) } else { part(5) })
            .with("localaddress", part(2))
            .with("localport", part(3))
            .with("remoteaddress", part(4))
            .with("remoteport", part(5))
            .with("state", state)
            .with("pid", part(7));
        let mut end = line + 1;
        // The name of the program stands below, in brackets, and may have that of its service above it.
        for below in line + 1..line + 3 {
            let Some(name) =
                doc.free(below).map(str::trim).and_then(|t| t.strip_prefix('[')?.strip_suffix(']'))
            else {
                continue;
            };
            port.put("process", name);
            end = below + 1;
        }
        sink.fact(port.text(&text_of(doc, line..end)));
        doc.claim(line..end);
        found += 1;
    }
    sink.understood("connections (netstat)", found);
}

static REFUSED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:connecting to|verbindungsaufbau zu|connexion à)\s+([^\s.]+(?:\.[^\s.]+)*?)\s*\.\.\..*?(?:port|anschluss)\s*:?\s*(\d{1,5})").ok()
});
static WARNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)TCP connect to \(?([0-9a-f.:]+?|[\w.-]+?)\s*:\s*(\d{1,5})\)? failed").ok()
});
static REFUSED_UNIX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:connect to(?: address| host)?|telnet:.*?connect to(?: address)?)\s+([\w.:-]+?)(?:\s+port\s+(\d{1,5}))?:\s*(connection refused|connection timed out|no route to host|operation timed out)").ok()
});

/// What telnet, Test-NetConnection and curl say when a port does not answer.
pub fn telnet(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line).filter(|t| has_any(t, &["connect", "verbind", "connexion"])) else {
            continue;
        };
        let parts =
            [&REFUSED, &WARNED, &REFUSED_UNIX].into_iter().find_map(|form| form.as_ref()?.captures(text));
        let Some(parts) = parts else { continue };
        let part = |n: usize| parts.get(n).map_or("", |m| m.as_str());
        let state = if has_any(text, &["timed out", "Zeitüberschreitung"]) { "timeout" } else { "failed" };
        let port = fact("port", doc, line)
            .with("host", part(1))
            .with("port", part(2))
            .with("state", state)
            .with("error", text.trim());
        sink.fact(port.text(text.trim()));
        doc.claim(line..line + 1);
        found += 1;
    }
    sink.understood("ports that did not answer", found);
}

/// Adapters, as `ipconfig /all` lists them.
pub fn ipconfig(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let dotted = |text: &str| text.contains(". . ") || text.contains(" . :");
    let mut adapter = String::new();
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if !text.starts_with(' ') && text.trim_end().ends_with(':') && text.len() < 120 {
            text.trim().trim_end_matches(':').clone_into(&mut adapter);
        }
        if !dotted(text) {
            line += 1;
            continue;
        }
        let begin = line;
        let mut settings = fact("ipconfig", doc, line).with("adapter", &adapter);
        let mut last = String::new();
        let mut value_of_last = String::new();
        while let Some(text) = doc.free(line).filter(|t| !t.trim().is_empty() && line < begin + 60) {
            if dotted(text)
                && let Some((name, value)) = text.split_once(':')
            {
                settings.put(last.clone(), &value_of_last);
                last = field(name.trim_end_matches([' ', '.']));
                value.trim().clone_into(&mut value_of_last);
            } else if scan::indent(text) > 20 {
                scan::add(&mut value_of_last, text.trim(), ", ");
            } else {
                break;
            }
            line += 1;
        }
        settings.put(last, value_of_last);
        if let Some(host) = settings.get("hostname") {
            let server = server_name(host);
            sink.set_server(server);
        }
        sink.fact(settings.text(&text_of(doc, begin..line)));
        doc.claim(begin..line);
        found += 1;
        line = line.max(begin + 1);
    }
    sink.understood("adapters (ipconfig)", found);
}

/// The label's name in English.
fn field(label: &str) -> String {
    let plain: String = label.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    match plain.as_str() {
        "dnsserver" | "dnsservers" | "serveursdns" | "servidoresdns" => "dnsservers".to_owned(),
        "hostname" | "nomdelhôte" => "hostname".to_owned(),
        "ipv4adresse" | "adresseipv4" | "ipaddress" | "ipadresse" => "ipv4address".to_owned(),
        "dhcpaktiviert" | "dhcpactivé" => "dhcpenabled".to_owned(),
        _ => plain,
    }
}
