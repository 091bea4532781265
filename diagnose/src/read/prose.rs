//! What is left when all other readers are done: sentences, error texts and replies in mails, tickets and notes. A line in
//! which a phrase of a rule occurs becomes a `text` fact; a non-delivery report's reply also an `ndr` fact.

use super::Doc;
use crate::fact::{Fact, TEXT_MAX, cut};
use crate::sink::Sink;
use regex::Regex;
use std::sync::LazyLock;

/// Facts of one document; a mail with more lines that say something is no mail.
const FACTS_MAX: usize = 5000;

static STATUS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b([245]\.\d{1,3}\.\d{1,3})\b(?:[^.\d]|$|\.\D|\.$)").ok());
static REPLY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|[\s#<'\x22(:=,;])([45]\d\d)[ \-#](?:#?\s?[45]\.\d{1,3}\.\d{1,3}|[A-Za-z])").ok()
});
static NDR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)#?\s?[45]\d\d[ \-]#?[45]\.\d{1,3}\.\d{1,3}.*##|remote server returned\s*['‘’\x22<]|#< ?#?[45]\.\d{1,3}\.\d{1,3}|diagnostic-code:|last error:? ?\[?\{?(?:LED=)?|\bLED=[45]\d\d").ok()
});
static HOST: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)generating server:\s*([a-z0-9][a-z0-9.-]*)").ok());

pub fn reader(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut made = 0;
    let mut generating: Option<String> = None;
    let mut index = 0;
    while index < doc.lines.len() && made < FACTS_MAX {
        let Some(line) = doc.free(index) else {
            index += 1;
            continue;
        };
        let line = line.trim();
        if line.len() >= 4 {
            if let Some(host) = HOST.as_ref().and_then(|r| r.captures(line)).and_then(|c| c.get(1)) {
                generating = Some(host.as_str().to_owned());
            }
            let used = sentence(doc, index, line, generating.as_deref(), sink);
            made += used;
            // A line that was joined with the one before it is not told twice.
            index += used.saturating_sub(1);
        }
        index += 1;
    }
    if made > 0 {
        sink.understood("Text", u64::try_from(made).unwrap_or(0));
    }
}

/// Makes facts of a line that says something; how many lines that took, 0 if it is dull.
fn sentence(doc: &Doc<'_>, index: usize, line: &str, host: Option<&str>, sink: &mut Sink<'_>) -> usize {
    if sink.hits(line) {
        // The rest of a phrase that a second sign looks for may stand in the next line.
        emit(doc, index, line, host, sink);
        return 1;
    }
    let next = doc.free(index + 1).map(str::trim).filter(|next| !next.is_empty());
    if let Some(next) = next.filter(|next| line.len() + next.len() < TEXT_MAX && !sink.hits(next)) {
        // Mail programs break lines; a phrase may have been broken with them.
        let both = format!("{line} {next}");
        if sink.hits(&both) {
            emit(doc, index, &both, host, sink);
            return 2;
        }
    }
    if is_ndr(line) {
        emit(doc, index, line, host, sink);
        return 1;
    }
    0
}

fn is_ndr(line: &str) -> bool {
    // Cheap before dear: every one of them has a digit.
    line.bytes().any(|b| b.is_ascii_digit()) && NDR.as_ref().is_some_and(|r| r.is_match(line))
}

fn emit(doc: &Doc<'_>, index: usize, line: &str, host: Option<&str>, sink: &mut Sink<'_>) {
    let ndr = is_ndr(line);
    let mut fact = Fact::new("text", doc.place(index)).text(shown(line, sink));
    let part = cut(line, 8 * TEXT_MAX);
    if part.bytes().any(|b| b.is_ascii_digit()) {
        if let Some(code) = REPLY.as_ref().and_then(|r| r.captures(part)).and_then(|c| c.get(1)) {
            fact.put("code", code.as_str());
        }
        if let Some(status) = STATUS.as_ref().and_then(|r| r.captures(part)).and_then(|c| c.get(1)) {
            fact.put("status", status.as_str());
        }
    }
    if ndr {
        let mut report = fact.clone();
        report.kind = "ndr".into();
        if let Some(host) = host {
            report.put("generatingserver", host);
            report.server = crate::fact::server_name(host);
        }
        sink.fact(report);
    }
    sink.fact(fact);
}

/// A long line by what stands about its first phrase.
fn shown<'a>(line: &'a str, sink: &Sink<'_>) -> &'a str {
    if line.len() <= TEXT_MAX {
        return line;
    }
    let hit = sink.find(line.as_bytes()).map_or(0, |hit| hit.start);
    let mut start = hit.saturating_sub(TEXT_MAX / 4);
    while !line.is_char_boundary(start) {
        start += 1;
    }
    cut(line.get(start..).unwrap_or_default(), TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::phrases::Phrases;
    use waypost_base::Timestamp;

    fn read(text: &str) -> Case {
        let phrases = Phrases::new(["LOGIN failed", "STARTTLS is required"]);
        let mut case = Case::new(Timestamp(0));
        let file = case.file_named("mail.txt");
        let mut sink = Sink::new(file, &phrases, &mut case);
        let mut doc = Doc::of_text(file, text, 1);
        reader(&mut doc, &mut sink);
        case
    }

    #[test]
    fn sentences_with_a_phrase_and_reports() {
        let case = read("Hello,\nOutlook says NO LOGIN failed.\nRegards\n");
        let fact = case.of("text").next().unwrap();
        assert_eq!((&*fact.text, fact.at.line), ("Outlook says NO LOGIN failed.", 2));
        assert_eq!(case.len(), 1);
        let case = read(
            "we get 451 5.7.3 STARTTLS is\nrequired to send mail\n\nGenerating server: mbx01.corp.example\nnosuch@example.net\n#550 5.1.10 RESOLVER.ADR.RecipientNotFound ##\nRemote Server returned '550 5.7.1 Unable to relay'\n",
        );
        let text = case.of("text").next().unwrap();
        assert_eq!((text.get("code"), text.get("status"), text.at.line), (Some("451"), Some("5.7.3"), 1));
        let reports: Vec<_> = case.of("ndr").map(|f| (f.get("status"), f.server.as_deref())).collect();
        assert_eq!(reports, [(Some("5.1.10"), Some("MBX01")), (Some("5.7.1"), Some("MBX01"))]);
        assert!(read("Version 15.2.1544 runs on 10.20.0.11, see page 451.\n").is_empty());
    }
}
