//! Names: nslookup and dig.

use super::{fact, has_any};
use crate::read::{Doc, scan};
use crate::sink::Sink;

/// Questions and answers of nslookup.
pub fn nslookup(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut server = String::new();
    let mut asked = String::new();
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if let Some(rest) = scan::after(text, "nslookup ") {
            rest.split_whitespace().rfind(|w| !w.starts_with('-')).unwrap_or_default().clone_into(&mut asked);
        }
        let next_is_address = doc.free(line + 1).is_some_and(|l| scan::starts(l, "Address"));
        if (scan::starts(text, "Server:") || scan::starts(text, "Serveur")) && next_is_address {
            scan::pair(text).map_or("", |(_, v)| v).clone_into(&mut server);
            if let Some((_, address)) = doc.free(line + 1).and_then(scan::pair) {
                server = format!("{server} {address}").trim().to_owned();
            }
            doc.claim(line..line + 2);
            line += 2;
            continue;
        }
        let error = text.trim_start().starts_with("***") && text.contains("can't find")
            || text.trim_start().starts_with("***")
                && has_any(text, &["wurde von", "Non-existent", "nicht gefunden", "ne parvient pas"])
            || has_any(text, &["DNS request timed out", "server can't find"]);
        if error {
            let name = scan::after(text, "can't find ")
                .map_or(asked.as_str(), |r| r.split(':').next().unwrap_or(r))
                .to_owned();
            let reason = text.rsplit(':').next().unwrap_or(text).trim().trim_start_matches('*');
            let answer =
                fact("dns", doc, line).with("name", name).with("server", &server).with("error", reason);
            sink.fact(answer.text(text.trim()));
            doc.claim(line..line + 1);
            found += 1;
        } else if let Some(name) = text.trim_start().strip_prefix("Name:").filter(|_| next_is_address) {
            let begin = line;
            let mut addresses = String::new();
            line += 1;
            while let Some(more) = doc.free(line).filter(|l| !l.trim().is_empty() && line < begin + 40) {
                let value = match scan::pair(more).filter(|(label, _)| label.chars().all(char::is_alphabetic))
                {
                    Some(("Aliases", _)) => "",
                    Some(("Name", _)) => break,
                    Some((_, value)) => value,
                    None if scan::indent(more) > 2 => more.trim(),
                    None => break,
                };
                if !value.is_empty() {
                    scan::add(&mut addresses, value, ", ");
                }
                line += 1;
            }
            let kind = if addresses.contains(':') && !addresses.contains('.') { "AAAA" } else { "A" };
            let answer = fact("dns", doc, begin)
                .with("name", name)
                .with("type", kind)
                .with("answer", &addresses)
                .with("server", &server);
            sink.fact(answer.text(&super::text_of(doc, begin..line)));
            doc.claim(begin..line);
            found += 1;
            continue;
        } else if let Some((name, rest)) =
            text.split_once('\t').filter(|(_, r)| r.contains("mail exchanger =") || r.contains("text ="))
        {
            let kind = if rest.contains("mail exchanger") { "MX" } else { "TXT" };
            let answer = rest.rsplit('=').next().unwrap_or_default();
            let answer = fact("dns", doc, line)
                .with("name", name)
                .with("type", kind)
                .with("answer", answer)
                .with("server", &server);
            sink.fact(answer.text(text.trim()));
            doc.claim(line..line + 1);
            found += 1;
        }
        line += 1;
    }
    sink.understood("names that were looked up", found);
}

/// Answers of dig.
pub fn dig(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    const TYPES: [&str; 12] =
        ["A", "AAAA", "MX", "TXT", "CNAME", "NS", "SOA", "PTR", "SRV", "TLSA", "CAA", "DS"];
    let mut question = (String::new(), String::new());
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line) else { continue };
        let parts: Vec<&str> = text.split_whitespace().collect();
        if text.starts_with(';') {
            if let [name, "IN", kind] = parts.as_slice() {
                question = (name.trim_start_matches(';').to_owned(), (*kind).to_owned());
                doc.claim(line..line + 1);
            }
            let status = scan::after(text, "status: ").map(|s| s.split(',').next().unwrap_or_default());
            let failed = status.filter(|s| *s != "NOERROR").or_else(|| {
                has_any(
                    text,
                    &["connection timed out", "no servers could be reached", "communications error"],
                )
                .then_some("timed out")
            });
            if let Some(error) = failed {
                let name = (line..line + 16).find_map(|at| {
                    match doc.free(at)?.split_whitespace().collect::<Vec<_>>().as_slice() {
                        [name, "IN", kind] if name.starts_with(';') => {
                            Some((name.trim_start_matches(';').to_owned(), (*kind).to_owned()))
                        }
                        _ => None,
                    }
                });
                let (name, kind) = name.unwrap_or_else(|| question.clone());
                sink.fact(
                    fact("dns", doc, line)
                        .with("name", name)
                        .with("type", kind)
                        .with("error", error)
                        .text(text),
                );
                found += 1;
            }
            continue;
        }
        if let [name, ttl, "IN", kind, answer @ ..] = parts.as_slice()
            && ttl.parse::<u32>().is_ok()
            && TYPES.contains(kind)
            && !answer.is_empty()
        {
            let answer = fact("dns", doc, line)
                .with("name", *name)
                .with("type", *kind)
                .with("answer", answer.join(" "));
            sink.fact(answer.text(text));
            doc.claim(line..line + 1);
            found += 1;
        }
    }
    sink.understood("names that were looked up", found);
}
