//! Clocks: w32tm, net time, chronyc.

use super::{fact, has_any, option, text_of};
use crate::fact::server_name;
use crate::read::{Doc, scan, when};
use crate::sink::Sink;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

/// `o:+00.0012345s`, `, +412.0012345s`, `NTP: +0.0001s offset`.
static OFFSET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)(?:\bo:|^\d\d:\d\d:\d\d, |NTP: )([+-]\d[\d.,]*)s\b").ok());

/// Reads everything about clocks.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut peer = String::new();
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if words::contains(text, "w32tm")
            && let Some(name) = option(text, "/computer")
        {
            name.clone_into(&mut peer);
        }
        if let Some(name) = scan::after(text, "Tracking ").filter(|r| r.contains('[')) {
            name.split(['[', ' ']).next().unwrap_or_default().clone_into(&mut peer);
        } else if text.contains("]:") && has_any(text, &[":123]", "PDC"]) {
            text.split([' ', '[', '*']).next().unwrap_or_default().clone_into(&mut peer);
        }
        if has_any(text, &["Leap Indicator", "Sprungindikator", "Indicateur de", "Leap status"]) {
            line = status(doc, line, sink);
            found += 1;
            continue;
        }
        if let Some(offset) = offset(text) {
            let mut clock = fact("clock", doc, line).with("offset", offset).with("peer", &peer);
            clock.time = None;
            sink.fact(clock.text(&format!("{peer} {}", text.trim())));
            doc.claim(line..line + 1);
            found += 1;
        } else if has_any(
            text,
            &["Current time at ", "Aktuelle Zeit auf ", "Aktuelle Zeit von ", "Heure actuelle"],
        ) {
            let name =
                text.split("\\\\").nth(1).and_then(|r| r.split_whitespace().next()).unwrap_or_default();
            let time = name.len().checked_add(0).and_then(|_| scan::after(text, name)).and_then(when::parse);
            let clock = fact("clock", doc, line)
                .with("peer", name)
                .with("shown", time.map_or(String::new(), |t| t.to_string()));
            sink.fact(clock.text(text.trim()));
            doc.claim(line..line + 1);
            found += 1;
        } else if text.get(8..).is_some_and(|rest| rest.starts_with(", error:")) {
            let error = text.get(9..).unwrap_or_default();
            sink.fact(fact("clock", doc, line).with("peer", &peer).with("error", error).text(text));
            doc.claim(line..line + 1);
            found += 1;
        } else if has_any(
            text,
            &["did not resync", "nicht synchronisiert", "no time data was available", "keine Zeitdaten"],
        ) {
            sink.fact(fact("clock", doc, line).with("error", text.trim()).text(text.trim()));
            doc.claim(line..line + 1);
            found += 1;
        }
        line += 1;
    }
    sink.understood("clock listings", found);
}

fn offset(line: &str) -> Option<String> {
    let text = OFFSET.as_ref()?.captures(line.trim_start())?.get(1)?.as_str().replace(',', ".");
    let seconds: f64 = text.parse().ok()?;
    Some(format!("{seconds}"))
}

/// `w32tm /query /status` and `chronyc tracking`: labels with values.
fn status(doc: &mut Doc<'_>, found: usize, sink: &mut Sink<'_>) -> usize {
    let mut begin = found;
    while begin > 0 && found - begin < 16 && doc.free(begin - 1).is_some_and(|l| scan::pair(l).is_some()) {
        begin -= 1;
    }
    let mut end = found;
    let mut clock = fact("clock", doc, begin);
    let mut line = begin;
    while let Some((name, value)) = doc.free(line).filter(|_| line < begin + 40).and_then(scan::pair) {
        let name = name.to_lowercase();
        let number = || value.trim_end_matches('s').trim().replace(',', ".").parse::<f64>().ok();
        if name.starts_with("source") || name.starts_with("quelle") {
            clock.put("source", value);
            clock.put("peer", value.split(',').next().unwrap_or(value));
        } else if name.starts_with("stratum") {
            clock.put("stratum", value.split_whitespace().next().unwrap_or_default());
        } else if name.starts_with("last success")
            || name.starts_with("letzte erfolg")
            || name.starts_with("heure de la derni")
        {
            clock.put("lastsync", value);
        } else if name.contains("phase offset")
            || name.contains("phasenoffset")
            || name.contains("phasenabweichung")
        {
            clock.put("offset", number().map_or_else(String::new, |n| n.to_string()));
        } else if name.starts_with("system time") {
            let sign = if value.contains("slow") { -1.0 } else { 1.0 };
            clock.put("offset", words::number(value).map_or_else(String::new, |n| (n * sign).to_string()));
        } else if name.starts_with("leap") || name.starts_with("sprung") || name.starts_with("indicateur") {
            clock.put("leap", value);
            if has_any(value, &["not synchron", "nicht synchron", "3("]) {
                clock.put("error", value);
            }
        } else {
            clock.put(name, value);
        }
        line += 1;
        end = line;
    }
    if let Some(server) = clock.get("server").and_then(server_name) {
        clock.server = Some(server);
    }
    let end = end.max(found + 1);
    sink.fact(clock.text(&text_of(doc, begin..end)));
    doc.claim(begin..end);
    end
}
