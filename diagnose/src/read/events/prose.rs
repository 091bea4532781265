//! Events that people mention in sentences: "Event ID 1035, MSExchangeTransport: …", "Ereignis 12014", "4625 with NULL SID".

use super::Raw;
use crate::read::Doc;
use crate::read::when;
use crate::sink::Sink;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

/// Bytes of a line that are looked at.
const LINE_MAX: usize = 4096;

static NUMBERED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = r"event[\s-]*ids?|event(?:s|log)?|ereignis(?:se)?(?:[\s-]*ids?)?|[ée]v[ée]nements?|id de l['’][ée]v[ée]nement|eventid|evento|audit failures?|failure audits?|audits?";
    Regex::new(&format!(r"(?i)\b(?:{words})\s*(?:id|no\.?|number|nr\.?)?\s*[:#=(]?\s*(\d{{1,5}})\b")).ok()
});
static SOURCED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)\b({SOURCES})\b\W{{0,6}}(event|ereignis|id)?\W{{1,4}}(?:id\W{{0,3}})?(\d{{1,5}})\b"
    ))
    .ok()
});
static NUMBER_FIRST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(r"(?i)\b(\d{{4,5}})\s*(?:\(|from|by|of|von|/|,|-)\s*({SOURCES})\b")).ok()
});
static SOURCE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!(r"(?i)\b({SOURCES})\b")).ok());

/// Sources by name; the longer ones stand first.
const SOURCES: &str = r"MSExchangeFrontEndTransport|MSExchangeTransport ?Delivery|MSExchangeTransport ?Submission|MSExchangeTransport|MSExchangeMailSubmission|MSExchange ADAccess|MSExchange Extensibility|MSExchange Messaging Policies|MSExchange Common|MSExchange Assistants|MSExchange ActiveSync|MSExchange Availability|MSExchange Control Panel|MSExchange Front End HTTPS Proxy|MSExchange Store Driver|MSExchangeIMAP4BE|MSExchangeIMAP4|MSExchangePOP3BE|MSExchangePOP3|MSExchangeIS|MSExchangeRepl|MSExchange[A-Za-z]*|Microsoft-Windows-[A-Za-z-]+|Microsoft-Filtering-FIPFS|FIPFS|FIP-FS|Schannel|KDCSVC|Kerberos-Key-Distribution-Center|KDC|Kerberos|NETLOGON|Service Control Manager|ASP\.NET(?: [\d.]+)?|WAS|Tcpip|W32Time|Security-Auditing";

/// What numbers that stand alone are known by.
const KNOWN: &[(u32, &str)] = &[
    (1035, "MSExchangeTransport"),
    (2017, "MSExchangeTransport"),
    (12013, "MSExchangeTransport"),
    (12014, "MSExchangeTransport"),
    (12016, "MSExchangeTransport"),
    (12018, "MSExchangeTransport"),
    (12019, "MSExchangeTransport"),
    (12024, "MSExchangeTransport"),
    (15004, "MSExchangeTransport"),
    (15006, "MSExchangeTransport"),
    (15007, "MSExchangeTransport"),
    (17018, "MSExchangeTransport"),
    (2080, "MSExchange ADAccess"),
    (4625, "Microsoft-Windows-Security-Auditing"),
    (4768, "Microsoft-Windows-Security-Auditing"),
    (4769, "Microsoft-Windows-Security-Auditing"),
    (4771, "Microsoft-Windows-Security-Auditing"),
    (36870, "Schannel"),
    (36871, "Schannel"),
    (36874, "Schannel"),
    (36887, "Schannel"),
    (36888, "Schannel"),
    (7031, "Service Control Manager"),
    (9518, "MSExchangeIS"),
    (9519, "MSExchangeIS"),
];

/// Emits an event for each that a line mentions. The lines stay free: they say more than this.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let (Some(numbered), Some(sourced), Some(source)) =
        (NUMBERED.as_ref(), SOURCED.as_ref(), SOURCE.as_ref())
    else {
        return;
    };
    let mut count = 0;
    for at in 0..doc.lines.len() {
        let Some(line) = doc.free(at) else { continue };
        let line = crate::fact::cut(line, LINE_MAX);
        // Log lines have their own readers; a sentence has blanks, and a number of an event has digits.
        if !line.contains(' ') || !line.bytes().any(|b| b.is_ascii_digit()) {
            continue;
        }
        let mut ids: Vec<(u32, String)> = Vec::new();
        let mut add = |id: &str, source: &str, begin: usize| {
            let Ok(id) = id.parse::<u32>() else { return };
            if id <= 0xffff
                && !is_denied(line, begin)
                && !ids.iter().any(|(seen, _)| *seen == id)
                && ids.len() < 8
            {
                ids.push((id, source.to_owned()));
            }
        };
        for found in sourced.captures_iter(line) {
            if let (Some(name), Some(id)) = (found.get(1), found.get(3))
                && (found.get(2).is_some() || is_bare_id(name.as_str(), line, id.start()..id.end()))
            {
                add(id.as_str(), name.as_str(), name.start());
            }
        }
        for found in NUMBER_FIRST.iter().flat_map(|form| form.captures_iter(line)) {
            if let (Some(id), Some(name)) = (found.get(1), found.get(2)) {
                add(id.as_str(), name.as_str(), id.start());
            }
        }
        let only = source.find(line).map_or("", |m| m.as_str());
        for found in numbered.captures_iter(line) {
            if let Some(id) = found.get(1) {
                add(id.as_str(), only, found.get(0).map_or(0, |m| m.start()));
            }
        }
        // The audit that everybody knows by its number, and by the number with two digits swapped.
        let audit = ["NULL SID", "Kerberos", "security log", "audit", "logon failure"]
            .iter()
            .any(|w| words::contains(line, w));
        for number in ["4625", "4265"] {
            if let Some(begin) = line.find(number).filter(|_| audit) {
                add(number, only, begin);
            }
        }
        for (id, name) in ids {
            give(doc, at, line, id, name, sink);
            count += 1;
        }
    }
    super::topology_rows(doc, sink);
    sink.understood("events in prose", count);
}

fn give(doc: &Doc<'_>, at: usize, line: &str, id: u32, name: String, sink: &mut Sink<'_>) {
    let wanted = if id == 4265 { 4625 } else { id };
    let known = source_of(wanted).unwrap_or_default();
    // A source that is named belongs to another number when this one is known to be of another's.
    let source =
        if name.is_empty() || (!known.is_empty() && !same(&name, known)) { known.to_owned() } else { name };
    let raw = Raw {
        at: doc.place(at),
        id,
        source,
        message: line.trim().to_owned(),
        time: when::parse(line),
        ..Raw::default()
    };
    raw.give(sink);
}

fn same(name: &str, known: &str) -> bool {
    let begin =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).take(8).collect::<String>().to_lowercase();
    begin(name) == begin(known) || words::contains(known, name) || words::contains(name, known)
}

/// Whether a number right after a source, without the word, is an event's: no reply of a server, version or time.
fn is_bare_id(source: &str, line: &str, digits: std::ops::Range<usize>) -> bool {
    let mut after = line.get(digits.end..).unwrap_or_default().chars();
    let goes_on = matches!(after.next(), Some('.' | ':' | ',' | '/'))
        && after.next().is_some_and(|c| c.is_ascii_digit());
    let controller = words::contains(source, "KDC") || words::contains(source, "Kerberos");
    !goes_on && (digits.len() >= 4 || controller && digits.len() >= 2)
}

/// The source that a number is known by.
pub fn source_of(id: u32) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == id).map(|(_, source)| *source)
}

/// Whether the words just before say that there is none.
fn is_denied(line: &str, begin: usize) -> bool {
    let before = line.get(..begin).unwrap_or_default();
    let words: Vec<String> = before.split_whitespace().rev().take(3).map(str::to_lowercase).collect();
    let denials = [
        "no", "not", "without", "never", "kein", "keine", "nicht", "ohne", "aucun", "pas", "sans", "neither",
        "nor",
    ];
    words.iter().any(|w| denials.contains(&w.trim_matches(|c: char| !c.is_alphanumeric())))
}
