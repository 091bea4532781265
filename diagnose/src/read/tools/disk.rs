//! Space on disks: fsutil, df, `dir`.

use super::{fact, has_any};
use crate::read::objects::disk_fact;
use crate::read::{Doc, scan};
use crate::sink::Sink;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

static DF: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(\S+)\s+([\d.]+[KMGTP]?i?)\s+([\d.]+[KMGTP]?i?)\s+([\d.]+[KMGTP]?i?)\s+(\d+)%\s+(/\S*)\s*$")
        .ok()
});

/// Reads everything about space.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut drive = String::new();
    let mut free: Option<(usize, f64)> = None;
    let mut df_unit = 1024.0;
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line) else { continue };
        if let Some(rest) = scan::after(text, "fsutil volume diskfree") {
            rest.split_whitespace().next().unwrap_or_default().clone_into(&mut drive);
        } else if let Some(rest) =
            scan::after(text, "Volume in drive ").or_else(|| scan::after(text, "Laufwerk "))
        {
            let letter = rest.split_whitespace().next().unwrap_or_default();
            if letter.trim_end_matches(':').len() == 1 {
                drive = format!("{}:", letter.trim_end_matches(':'));
            }
        } else if words::contains(text, "1K-blocks") || words::contains(text, "Use%") {
            df_unit = if words::contains(text, "1K-blocks") { 1024.0 } else { 1.0 };
        } else if has_any(
            text,
            &[
                "total # of free bytes",
                "total free bytes",
                "Gesamtzahl der freien Bytes",
                "Freie Bytes insgesamt",
            ],
        ) {
            free = scan::pair(text)
                .or_else(|| text.split_once(':'))
                .and_then(|(_, v)| words::number(v))
                .map(|n| (line, n));
        } else if let Some((begin, bytes)) = free
            && has_any(text, &["total # of bytes", "total bytes", "Gesamtzahl der Bytes", "Bytes insgesamt"])
        {
            let size = text.split_once(':').and_then(|(_, v)| words::number(v));
            let space = fact("disk", doc, begin).text(&super::text_of(doc, begin..line + 1));
            sink.fact(disk_fact(space, &drive, bytes, size));
            doc.claim(begin..line + 1);
            free = None;
            found += 1;
        } else if let Some(parts) = DF.as_ref().and_then(|form| form.captures(text)) {
            let part = |n: usize| parts.get(n).map_or("", |m| m.as_str());
            let bytes = |text: &str| {
                let unit = if text.ends_with(|c: char| c.is_ascii_digit()) { df_unit } else { 1.0 };
                words::bytes(&format!("{text}{}", if unit > 1.0 { "" } else { "B" })).map(|n| n * unit)
            };
            let (size, left) = (bytes(part(2)), bytes(part(4)));
            let space = fact("disk", doc, line).text(text.trim());
            if let Some(left) = left {
                sink.fact(disk_fact(space, part(6), left, size));
                doc.claim(line..line + 1);
                found += 1;
            }
        }
    }
    sink.understood("space on disks", found);
}
