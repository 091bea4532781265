//! The domain: nltest, dcdiag, repadmin. Of the latter two only what failed.

use super::{fact, has_any, text_of};
use crate::read::{Doc, scan};
use crate::sink::Sink;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

static STATUS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)status\s*=\s*(\d+)\s+(0x[0-9a-f]+)\s+(\w+)").ok());

/// What nltest found, or why not.
pub fn nltest(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        let located = scan::pair(text).is_some_and(|(name, value)| name == "DC" && value.starts_with("\\\\"))
            && doc.free(line + 1).is_some_and(|l| scan::starts(l, "Address"));
        let secured = text.trim_start().starts_with("Trusted DC Name");
        let failed = has_any(
            text,
            &["I_NetLogonControl failed", "Getting DC name failed", "DsGetDcName failed", "nltest failed"],
        );
        if !(located || secured || failed) {
            line += 1;
            continue;
        }
        let mut domain = fact("nltest", doc, line);
        let begin = line;
        while let Some(text) = doc.free(line).filter(|t| !t.trim().is_empty() && line < begin + 16) {
            if let Some(parts) = STATUS.as_ref().and_then(|s| s.captures(text)) {
                domain.put("status", parts.get(1).map_or("", |m| m.as_str()));
                domain.put("error", parts.get(3).map_or("", |m| m.as_str()));
            }
            if let Some(name) = text.trim().strip_prefix("Trusted DC Name") {
                domain.put("dc", name.trim().trim_start_matches('\\'));
            } else if let Some((name, value)) = scan::pair(text) {
                domain.put(name.to_owned(), value.trim_start_matches('\\'));
            } else if !(failed || secured) {
                break;
            }
            line += 1;
            if words::contains(text, "command completed") || failed {
                break;
            }
        }
        sink.fact(domain.text(&text_of(doc, begin..line)));
        doc.claim(begin..line);
        found += 1;
    }
    sink.understood("nltest", found);
}

/// Tests of dcdiag that failed, with the lines above that say why.
pub fn dcdiag(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut test_begin = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line) else { continue };
        if has_any(text, &["Starting test:", "Starten des Tests:", "Démarrage du test"]) {
            test_begin = line;
        }
        let rest = text.trim_start().trim_start_matches('.');
        if text.trim_start().starts_with(".....")
            && has_any(rest, &[" failed test ", " test nicht bestanden", "hat den Test", "a échoué"])
        {
            let parts: Vec<&str> = rest.split_whitespace().collect();
            if words::contains(rest, "passed")
                || words::contains(rest, "bestanden.") && !words::contains(rest, "nicht")
            {
                continue;
            }
            let begin = if line - test_begin < 60 { test_begin.max(line.saturating_sub(60)) } else { line };
            let mut test = fact("dcdiag", doc, line)
                .with("dc", parts.first().copied().unwrap_or_default())
                .with("result", "failed");
            test.put("test", parts.last().copied().unwrap_or_default());
            test.put("details", text_of(doc, begin..line));
            sink.fact(test.text(&text_of(doc, begin..line + 1)));
            doc.claim(begin..line + 1);
            found += 1;
        }
    }
    sink.understood("tests of dcdiag that failed", found);
}

static RESULT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)failed, result (-?\d+)|fehlgeschlagen, Ergebnis (-?\d+)|\((-?\d{4,10})\)\s+\S|^\s*\S+\s+\S+\s+[1-9]\d*\s*/\s*\d+\s+\d+\s+\((\d+)\)").ok()
});

/// Replication that failed, as repadmin tells it.
pub fn repadmin(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let is = doc.lines.iter().any(|l| {
        has_any(
            l,
            &[
                "repadmin",
                "Replication Summary",
                "Last attempt @",
                "DSA object GUID",
                "largest delta",
                "Letzter Versuch",
            ],
        )
    });
    if !is {
        return;
    }
    let Some(form) = RESULT.as_ref() else { return };
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line) else { continue };
        let Some(parts) = form.captures(text) else { continue };
        let result = (1..5).find_map(|n| parts.get(n)).map_or("", |m| m.as_str());
        let below = doc.free(line + 1).filter(|l| scan::indent(l) > 4).unwrap_or_default();
        let failure = fact("repadmin", doc, line).with("result", result).with("error", below);
        sink.fact(failure.text(&format!("replication failed: {}\n{}", text.trim(), below.trim())));
        doc.claim(line..line + 1);
        found += 1;
    }
    sink.understood("replication that failed (repadmin)", found);
}
