//! What an object says besides, in the words of other kinds of facts.

use super::emit::Object;
use crate::fact::{Fact, server_name};
use crate::read::when;
use crate::sink::Sink;
use crate::words;
use std::sync::Arc;

type Server = Option<Arc<str>>;

/// Further facts of an object.
pub fn emit(object: &Object, kind: &str, server: &Server, sink: &mut Sink<'_>) {
    match kind {
        "ExchangeCertificate" | "Certificate" => certificate(object, server, sink),
        "ServerComponentState" => requesters(object, server, sink),
        "LogicalDisk" | "Volume" | "PSDrive" => disk(object, server, sink),
        "DnsRecord" => dns(object, server, sink),
        "NetConnection" => port(object, server, sink),
        "MessageTrackingLog" => tracking(object, server, sink),
        "ItemProperty" => registry(object, server, sink),
        _ => {
            if object.has("defaultencryptiontype") || object.has("supportedencryptiontypes") {
                registry(object, server, sink);
            }
        }
    }
}

fn fact(kind: &'static str, object: &Object, server: &Server) -> Fact {
    let mut fact = Fact::new(kind, object.at).text(&object.text);
    fact.server.clone_from(server);
    fact
}

/// The letters of Get-ExchangeCertificate's table: `IP.WS..`.
fn services(letters: &str) -> String {
    let compact = !letters.is_empty() && letters.chars().all(|c| "IPWSUF.".contains(c));
    if !compact {
        return letters.trim_matches(['{', '}']).to_owned();
    }
    let names: Vec<&str> = letters
        .chars()
        .filter_map(|c| match c {
            'I' => Some("IMAP"),
            'P' => Some("POP"),
            'W' => Some("IIS"),
            'S' => Some("SMTP"),
            'U' => Some("UM"),
            'F' => Some("Federation"),
            _ => None,
        })
        .collect();
    if names.is_empty() { "None".to_owned() } else { names.join(", ") }
}

/// A date as ISO 8601, where it can be read.
pub fn date(value: &str) -> String {
    when::parse(value).map_or_else(|| value.to_owned(), |time| time.to_string())
}

fn certificate(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    if object.first_of(&["thumbprint", "subject"]).is_none() {
        return;
    }
    let mut fact = fact("certificate", object, server);
    for (from, to) in [
        ("subject", "subject"),
        ("issuer", "issuer"),
        ("thumbprint", "thumbprint"),
        ("status", "status"),
        ("isselfsigned", "selfsigned"),
        ("selfsigned", "selfsigned"),
        ("hasprivatekey", "hasprivatekey"),
        ("accessrules", "accessrules"),
        ("rootcatype", "rootcatype"),
        ("friendlyname", "friendlyname"),
        ("publickeysize", "publickeysize"),
        ("serialnumber", "serialnumber"),
    ] {
        if let Some(value) = object.get(from)
            && fact.get(to).is_none()
        {
            fact.put(to, value);
        }
    }
    if let Some(value) = object.first_of(&["services", "servicesstringform"]) {
        fact.put("services", services(value));
    }
    for name in ["notafter", "notbefore"] {
        if let Some(value) = object.get(name) {
            fact.put(name, date(value));
        }
    }
    let names = object.first_of(&["certificatedomains", "dnsnamelist", "subjectalternativenames"]);
    let names = names.map(|list| words::items(list).collect::<Vec<_>>().join(", "));
    let names = names
        .filter(|n| !n.is_empty())
        .or_else(|| object.get("subject").and_then(common_name).map(str::to_owned));
    if let Some(names) = names {
        fact.put("names", names);
    }
    if fact.get("selfsigned").is_none()
        && let (Some(subject), Some(issuer)) = (object.get("subject"), object.get("issuer"))
    {
        fact.put("selfsigned", if subject.eq_ignore_ascii_case(issuer) { "True" } else { "False" });
    }
    if let Some(server) = server {
        fact.put("server", server);
    }
    sink.fact(fact);
}

/// The CN of a distinguished name.
pub fn common_name(subject: &str) -> Option<&str> {
    let at = subject.split([',', '/']).map(str::trim).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("cn").then_some(value.trim())
    })?;
    (!at.is_empty()).then_some(at)
}

/// Who holds a component, from `LocalStates` and `RemoteStates` as they are printed or flattened: entries such as
/// `S=Inactive, R=HealthAPI, T=…`, `Requester=HealthAPI; State=Inactive; …`, `Server:Component:HealthAPI:Inactive:…`.
fn requesters(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    for (field, place) in [("localstates", "local"), ("remotestates", "remote")] {
        let Some(list) = object.get(field) else { continue };
        for entry in entries(list).into_iter().take(64) {
            let mut fact =
                fact("object", object, server).with("type", "ComponentRequester").with("where", place);
            if let Some(component) = object.get("component") {
                fact.put("component", component);
            }
            for (name, value) in pairs(&entry) {
                match name.to_ascii_lowercase().as_str() {
                    "requester" | "r" => fact.put("requester", value),
                    "state" | "s" => fact.put("state", value),
                    "timestamp" | "t" | "time" => {
                        fact.put("timestamp", value);
                        fact.time = when::parse(value);
                    }
                    "component" | "c" if fact.get("component").is_none() => fact.put("component", value),
                    _ => {}
                }
            }
            if fact.get("requester").is_some() && fact.get("state").is_some() {
                sink.fact(fact.text(&entry));
            }
        }
    }
}

/// The entries of a list of nested objects, each as text.
fn entries(list: &str) -> Vec<String> {
    let list = list.trim().trim_start_matches(['{', '[', '(']).trim_end_matches(['}', ']', ')']);
    if list.contains('|') {
        return list.split('|').map(|e| e.trim().to_owned()).collect();
    }
    // Each entry names a requester once.
    let lower = list.to_ascii_lowercase();
    let mut starts: Vec<usize> = Vec::new();
    for word in ["requester", "server", "state", "component", "timestamp", "s=", "r="] {
        let found: Vec<usize> = lower.match_indices(word).map(|(at, _)| at).collect();
        if found.first().is_some_and(|at| *at <= 3) {
            starts = found;
            break;
        }
    }
    if starts.len() < 2 {
        return split_states(list);
    }
    let mut entries = Vec::new();
    for (at, begin) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(list.len());
        entries.push(
            list.get(*begin..end).unwrap_or_default().trim_matches([',', ' ', ';', '{', '}', '@']).to_owned(),
        );
    }
    entries
}

/// `HealthAPI:Inactive, Maintenance:Active` and single entries.
fn split_states(list: &str) -> Vec<String> {
    if list.contains('=') {
        return vec![list.to_owned()];
    }
    list.split([',', ';']).map(|e| e.trim().to_owned()).filter(|e| !e.is_empty()).collect()
}

/// Names and values of one entry.
fn pairs(entry: &str) -> Vec<(&str, &str)> {
    if entry.contains('=') {
        return entry
            .split([';', ','])
            .filter_map(|part| part.trim().trim_matches(['@', '{', '}']).split_once('='))
            .map(|(n, v)| (n.trim(), v.trim()))
            .collect();
    }
    let states = ["Active", "Inactive", "Draining", "Unknown"];
    let words: Vec<&str> = entry.split([':', ' ', '\t']).map(str::trim).filter(|w| !w.is_empty()).collect();
    let Some(at) = words.iter().position(|w| states.iter().any(|s| s.eq_ignore_ascii_case(w))) else {
        return Vec::new();
    };
    let mut pairs = vec![("state", words.get(at).copied().unwrap_or_default())];
    let known = ["HealthAPI", "Maintenance", "Sidelined", "Functional", "Deployment"];
    let requester = words.iter().find(|w| known.iter().any(|k| k.eq_ignore_ascii_case(w)));
    if let Some(word) = requester.or_else(|| at.checked_sub(1).and_then(|before| words.get(before))) {
        pairs.push(("requester", word));
    }
    pairs
}

fn disk(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    let drive = object.first_of(&["driveletter", "deviceid", "name", "root", "caption", "friendlyname"]);
    let amount = |names: &[&str], gb: &str| {
        object
            .first_of(names)
            .and_then(words::bytes)
            .or_else(|| object.get(gb).and_then(words::number).map(|n| n * 1024.0 * 1024.0 * 1024.0))
    };
    let free = amount(&["freespace", "sizeremaining", "free"], "freegb");
    let size = amount(&["size", "capacity"], "sizegb").or_else(|| {
        let used = amount(&["used"], "usedgb")?;
        Some(used + free?)
    });
    let (Some(drive), Some(free)) = (drive, free) else { return };
    sink.fact(disk_fact(fact("disk", object, server), drive, free, size));
}

/// Fills a `disk` fact: bytes, and the part that is free in percent.
pub fn disk_fact(mut fact: Fact, drive: &str, free: f64, size: Option<f64>) -> Fact {
    fact.put("drive", drive);
    fact.put("free", format!("{free:.0}"));
    if let Some(size) = size.filter(|s| *s > 0.0) {
        fact.put("size", format!("{size:.0}"));
        fact.put("percentfree", format!("{:.1}", free / size * 100.0));
        fact.put("percentused", format!("{:.1}", 100.0 - free / size * 100.0));
    }
    fact
}

fn dns(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    let mut fact = fact("dns", object, server);
    for (names, to) in [
        (&["name"][..], "name"),
        (&["type", "querytype"][..], "type"),
        (
            &[
                "ipaddress",
                "ip4address",
                "ip6address",
                "namehost",
                "nameexchange",
                "strings",
                "primaryserver",
            ][..],
            "answer",
        ),
        (&["server", "nameserver"][..], "server"),
    ] {
        if let Some(value) = object.first_of(names) {
            fact.put(to, value);
        }
    }
    sink.fact(fact);
}

fn port(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    let mut fact = fact("port", object, server);
    if let Some(host) = object.first_of(&["computername", "remoteaddress"]) {
        fact.put("host", host);
    }
    if let Some(port) = object.get("remoteport") {
        fact.put("port", port);
    }
    match object.get("tcptestsucceeded").map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "wahr" | "vrai") => fact.put("state", "open"),
        Some(_) => {
            fact.put("state", "closed");
            fact.put("error", "TCP connect failed");
        }
        None => {}
    }
    sink.fact(fact);
}

/// The same names as the log's columns, so that one rule fits both.
fn tracking(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    let mut fact = fact("tracking", object, server);
    for (name, value) in &object.properties {
        let name = crate::fact::plain(name.clone().into());
        let value = value.trim().trim_start_matches('{').trim_end_matches('}');
        match name.as_ref() {
            "timestamp" => fact.time = when::parse(value),
            "sender" => fact.put("senderaddress", value),
            "recipients" => fact.put("recipientaddress", value),
            _ => fact.put(name, value),
        }
    }
    if let Some(host) = fact.get("serverhostname").and_then(server_name) {
        fact.server = Some(host);
    }
    sink.fact(fact);
}

/// Values of a key as Get-ItemProperty prints them, with the key in `PSPath`.
fn registry(object: &Object, server: &Server, sink: &mut Sink<'_>) {
    let path = object.get("pspath").unwrap_or_default();
    let key = path.rsplit("::").next().unwrap_or_default();
    for (name, value) in &object.properties {
        if name.len() >= 2 && name.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("ps"))
            || value.trim().is_empty()
        {
            continue;
        }
        let mut fact =
            fact("registry", object, server).with("key", key).with("name", name).with("data", value);
        if let Some(number) = words::number(value) {
            fact.put("number", format!("{number}"));
        }
        sink.fact(fact.text(&format!("{key}\\{name} = {value}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_services() {
        assert_eq!(services("IP.WS.."), "IMAP, POP, IIS, SMTP");
        assert_eq!(services("......."), "None");
        assert_eq!(services("IMAP, POP"), "IMAP, POP");
    }

    #[test]
    fn requesters_in_their_forms() {
        for text in [
            "{Requester=HealthAPI; State=Inactive; Timestamp=3/3/2026 9:04:11 AM; Component=ImapProxy, Requester=Maintenance; State=Active; Timestamp=1/1/2026; Component=ImapProxy}",
            "{HealthAPI:Inactive, Maintenance:Active}",
            "Component=ImapProxy; Requester=HealthAPI; State=Inactive|Component=ImapProxy; Requester=Maintenance; State=Active",
        ] {
            let found: Vec<(String, String)> = entries(text)
                .iter()
                .map(|e| {
                    let of = |wanted: &str| {
                        let all = pairs(e);
                        all.iter()
                            .find(|(n, _)| n.eq_ignore_ascii_case(wanted))
                            .map_or(String::new(), |(_, v)| (*v).to_owned())
                    };
                    (of("requester"), of("state"))
                })
                .collect();
            let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
            assert_eq!(found, [pair("HealthAPI", "Inactive"), pair("Maintenance", "Active")], "{text}");
        }
    }

    #[test]
    fn common_names() {
        assert_eq!(common_name("O=x, CN=mail.example.net"), Some("mail.example.net"));
        assert_eq!(common_name("O=x"), None);
    }
}
