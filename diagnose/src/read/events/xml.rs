//! Events as XML: `<Event xmlns=…>`, one or many, with or without `<Events>` around them.

use super::Raw;
use crate::fact::Place;
use crate::read::Doc;
use crate::read::tree::{self, LineCount};
use crate::sink::Sink;

/// How often text in a document that looks like an event is tried.
const TRIES_MAX: usize = 20_000;
/// How often in vain.
const FAILURES_MAX: usize = 200;
/// Lines of one event in a document.
const LINES_MAX: usize = 2_000;

/// Reads a whole file; false: there is no event in it.
pub fn read(text: &str, sink: &mut Sink<'_>) -> bool {
    let found = read_at(text, 1, true, sink);
    if let (1.., Some(_)) = found {
        sink.trouble("the XML of events in it ends in the middle or is damaged");
    }
    found.0 > 0
}

fn read_at(text: &str, first: u32, whole: bool, sink: &mut Sink<'_>) -> (u64, Option<usize>) {
    let mut lines = LineCount::new(text, first);
    let mut found = 0;
    let walked = tree::walk(
        text,
        |name| name == "Event",
        |node, at| {
            let at = Place { file: sink.file, line: lines.of(at) };
            if let Some(mut raw) = Raw::of_node(&node, at) {
                raw.whole_log = whole;
                found += 1;
                raw.give(sink);
            }
        },
    );
    sink.understood("events as XML", found);
    (found, walked.broken)
}

/// Reads events that stand as XML in a document.
pub fn read_doc(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut at = 0;
    let (mut tries, mut failures) = (0, 0);
    while at < doc.lines.len() && tries < TRIES_MAX && failures < FAILURES_MAX {
        if !doc.free(at).is_some_and(begins) {
            at += 1;
            continue;
        }
        tries += 1;
        let mut text = String::new();
        let mut end = at;
        while let Some(line) =
            doc.free(end).filter(|line| end - at < LINES_MAX && (end == at || !begins(line)))
        {
            text.push_str(line);
            text.push('\n');
            end += 1;
            if line.contains("</Event>") {
                break;
            }
        }
        let (found, _) = read_at(&text, doc.place(at).line, tries > 200, sink);
        if found > 0 {
            doc.claim(at..end);
            at = end;
        } else {
            failures += 1;
            at += 1;
        }
    }
}

/// Whether an event begins in a line.
fn begins(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("<Event ") || line.starts_with("<Event>") || line.contains("<Event xmlns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::phrases::Phrases;
    use proptest::prelude::*;
    use waypost_base::Timestamp;

    fn case_of(text: &str) -> Case {
        let phrases = Phrases::new([]);
        let mut case = Case::new(Timestamp(1_900_000_000_000));
        let file = case.file_named("a.xml");
        read(text, &mut Sink::new(file, &phrases, &mut case));
        case
    }

    const EVENTS: &str = r#"<Events><Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='MSExchangeTransport'/><EventID Qualifiers='49156'>1035</EventID><Level>3</Level><Task>1</Task><Keywords>0x80000000000000</Keywords><TimeCreated SystemTime='2026-03-03T10:40:02.000000000Z'/><Channel>Application</Channel><Computer>MBX01.corp.example</Computer></System><EventData><Data>IllegalMessage</Data><Data>Default MBX01</Data><Data>ExchangeAuth</Data><Data>10.20.0.12</Data></EventData></Event>
<Event><System><Provider Name='Microsoft-Windows-Security-Auditing'/><EventID>4625</EventID><Level>0</Level><Keywords>0x8010000000000000</Keywords><Channel>Security</Channel><Computer>HUB1</Computer></System><EventData><Data Name='TargetUserSid'>S-1-0-0</Data><Data Name='Status'>0xc000006d</Data><Data Name='AuthenticationPackageName'>Kerberos</Data></EventData></Event></Events>"#;

    #[test]
    fn named_and_unnamed_data() {
        let case = case_of(EVENTS);
        let found: Vec<_> = case.of("event").collect();
        assert_eq!(found.len(), 2);
        assert!(
            found[0].is("id", "1035")
                && found[0].is("error", "IllegalMessage")
                && found[0].is("mechanism", "ExchangeAuth")
        );
        assert_eq!(found[0].server.as_deref(), Some("MBX01"));
        assert!(
            found[1].is("sid", "NULL SID")
                && found[1].is("authenticationpackage", "Kerberos")
                && found[1].is("level", "Audit Failure")
        );
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0..1400_usize) {
            let _ = case_of(crate::fact::cut(EVENTS, cut));
        }
    }
}
