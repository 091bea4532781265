//! Sentences of what did not happen here: what somebody has read of, is afraid of or asks after, or had years ago. They are
//! full of names of errors and say nothing of this incident, so they are taken away before sentences are read.

use super::Doc;
use crate::sink::Sink;
use regex::Regex;
use std::sync::LazyLock;

/// Bytes of a line that are looked at; a longer one is no sentence.
const LINE_MAX: usize = 8192;

static SUPPOSED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"\b(i|we)('ve|’ve| have)?( also| often| only)? (read|heard) (about|of|that|in blogs|on the (web|internet|net))\b",
        r"\b(want|wants|wish|like|trying|try|hope) to (avoid|prevent)\b",
        r"\b(am|are|is) (afraid of|worried about|scared of)\b",
        r"\bwhat (happens|would happen|will happen|do we do|should we do) (if|when)\b",
        r"\b(will|would|could|can|might|should) (i|we|this|that|it|they|users) (then )?(get|see|expect|lead to|cause|run into)\b.*\?",
        r"\b(do|does) (i|we) have to (expect|fear)\b",
        r"\b(last year|years ago|a year ago|in the past|back then|before the migration)\b.*\b(had|saw|got|were|was)\b",
        r"\b(had|saw|got)\b.*\b(last year|years ago|a year ago|in the past|back then)\b",
        r"\b(no|nor|neither|without)( any| more| such)? (errors?|events?|warnings?|entries|ndrs?|bounces) (like|such as|of the kind)\b",
        r"\bwhat (does|do) .{1,60} (mean|stand for)\b",
        r"\b(gelesen|gehört), (dass|daß)\b|\bhabe (von|über) .{1,80} (gelesen|gehört)\b|\b(vermeiden|verhindern) (möchte|wollen|will)\b",
        r"\b(möchte|möchten|wollen|will) .{1,100} (vermeiden|verhindern)\b|\bwas passiert,? (wenn|falls)\b|\bbefürchte\b",
        r"\b(j['’]ai|nous avons) (lu|entendu)\b|\b(voulons|veux|voudrais|souhaite|souhaitons) éviter\b|\bque se passe-t-il si\b",
        r"\bhe leído\b|\b(quiero|queremos|quisiera) evitar\b|\bqué (pasa|ocurre) si\b|\bho letto\b|\b(voglio|vogliamo|vorrei) evitare\b",
    ];
    Regex::new(&format!("(?i){}", told.join("|"))).ok()
});

/// Takes such sentences out of the lines that nobody has claimed. A sentence may go on in the next line.
pub fn reader(doc: &mut Doc<'_>, _: &mut Sink<'_>) {
    let Some(supposed) = SUPPOSED.as_ref() else { return };
    let mut goes_on = false;
    for index in 0..doc.lines.len() {
        let Some(line) = doc.free(index).filter(|line| line.len() <= LINE_MAX && line.contains(' ')) else {
            goes_on = false;
            continue;
        };
        if !goes_on && !supposed.is_match(line) {
            continue;
        }
        let (mut kept, mut from) = ("", 0);
        let mut whole = true;
        while from < line.len() {
            let end = sentence_end(line, from);
            let sentence = line.get(from..end).unwrap_or_default();
            let drop = goes_on || supposed.is_match(sentence);
            goes_on = drop && end == line.len() && !line.trim_end().ends_with(['.', '?', '!', ':']);
            whole &= !drop;
            if !drop && sentence.len() > kept.len() {
                // What is kept is one piece of the line: the longest sentence, or as many as follow each other.
                kept = sentence;
            }
            from = end;
        }
        if whole {
            continue;
        }
        if kept.trim().is_empty() {
            doc.claim(index..index + 1);
        } else if let Some(place) = doc.lines.get_mut(index) {
            *place = kept;
        }
    }
}

/// Where the sentence that begins at `from` ends: after `.`, `?` or `!` with a blank and a capital after it.
fn sentence_end(line: &str, from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        if c == ' ' && matches!(before, '.' | '?' | '!') {
            let next = rest.get(at..).unwrap_or_default().trim_start().chars().next();
            if next.is_some_and(char::is_uppercase) {
                return from + at + 1;
            }
        }
        before = c;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::phrases::Phrases;
    use waypost_base::Timestamp;

    fn left(text: &str) -> Vec<String> {
        let phrases = Phrases::new(["never"]);
        let mut case = Case::new(Timestamp(0));
        let file = case.file_named("mail.txt");
        let mut sink = Sink::new(file, &phrases, &mut case);
        let mut doc = Doc::of_text(file, text, 1);
        reader(&mut doc, &mut sink);
        (0..doc.lines.len()).filter_map(|at| doc.free(at)).map(|l| l.trim().to_owned()).collect()
    }

    #[test]
    fn what_is_only_feared_is_taken_away() {
        assert_eq!(
            left("We move the queue. I have read about event 15006 and 452 4.3.1. All is well."),
            ["We move the queue."]
        );
        assert_eq!(left("We want to avoid event 12014\nand 451 5.7.3. It works."), ["It works."]);
        assert!(left("Ich habe über 452 4.3.1 und Ereignis 15006 gelesen.").is_empty());
        assert_eq!(left("Was passiert, wenn 452 4.3.1 kommt?\nGruß, Jan"), ["Gruß, Jan"]);
        assert!(left("Two years ago we had 4.3.2 Service not active here.").is_empty());
    }

    #[test]
    fn what_is_told_of_stays() {
        let told = [
            "Since the update we get 452 4.3.1 Insufficient system resources.",
            "IMAP no longer works: NO LOGIN failed. There is no STARTTLS in the answer.",
            "There is no valid SMTP Transport Layer Security (TLS) certificate for the FQDN of mail.corp.example.",
            "Can anybody help? We see event 15006.",
        ];
        for line in told {
            assert_eq!(left(line), [line]);
        }
    }
}
