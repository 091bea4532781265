//! Sentences of what did not happen here: what somebody has read of, is afraid of or asks after, or had years ago; what a
//! text tells that says itself that all is well or that the matter is closed; commands that only look. They are full of names
//! of errors and say nothing of this incident, so they are taken away before sentences are read.

use super::{Doc, asked};
use crate::sink::Sink;
use regex::Regex;
use std::sync::LazyLock;

/// Bytes of a line that are looked at; a longer one is no sentence.
const LINE_MAX: usize = 8192;

static SUPPOSED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"\b(i|we)('ve|’ve| have)?( also| often| only)? (read|heard) (about|of|that|in blogs|on the (web|internet|net))\b",
        r"\b(want|wants|wish|like|trying|try|hope) to (avoid|prevent)\b",
        r"\b(am|are|is) (afraid of|worried about|scared of)\b|\bhorror stor(y|ies)\b|\bhorrorgeschichten?\b",
        r"\b(i|we) know that (by default )?(one|you|we) (get|gets|will get)\b",
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

/// A text that says that nothing is wrong, or that what was wrong is over.
static WELL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"^\W*(ticket |incident |case |current )?(state|status|zustand|statut|état|estado|stato)\W*\s*[:=|\t]\s*\W*(\d+ ?[-–] ?)?(closed|resolved|solved|completed|geschlossen|gelöst|erledigt|behoben|abgeschlossen|clos|clôturé|fermé|résolu|cerrado|resuelto|chiuso|risolto)\b",
        r"\[(resolved|solved|closed|fixed|gelöst|erledigt|behoben|résolu|resuelto|risolto)\]",
        r"\b(issue|incident|problem|outage|fault|störung|problème|incidente?|problema) (has been|was|is|is now|ist|wurde|est|a été|está|è stato) (now |meanwhile |inzwischen |maintenant )?(resolved|fixed|solved|closed|over|behoben|gelöst|erledigt|résolu|réglé|resuelto|risolto)\b",
        r"\b(everything|all|it|owa|ecp|imap|outlook|mail( flow)?)( of it)?( is| are)?( works?| working| running| runs| flows?| flowing| green| fine| normal| healthy| well)+ again\b",
        r"\b(alles|mailfluss|mails?|owa|imap|es) (ist |sind |läuft |laufen |funktioniert |geht |gehen )?(wieder (normal|grün|gut|in ordnung|ok|wie gewohnt)|läuft wieder|laufen wieder|funktioniert wieder|geht wieder)\b|\b(läuft|funktioniert|geht) (alles )?wieder\b",
        r"\btout (fonctionne|marche) (à|de) nouveau\b|\btout est rentré dans l.ordre\b|\btodo (funciona|está) (de nuevo|bien otra vez)\b|\btutto funziona di nuovo\b",
        r"\b(seit|since) .{1,40}\b(keine|no)( weiteren| neuen| further| more| new)? (meldungen|alarme|warnungen|fehler|alerts?|alarms|errors|warnings)\b|\bno (further|more|new) (alerts|alarms|errors|warnings) since\b",
        r"\bnothing is (broken|wrong|failing)\b|\bno (complaints|problems|issues) (at the moment|so far|right now|currently|yet|at present)\b",
        r"\b(at the moment|currently|right now|so far|today),? (all|everything) (is|works|runs) (fine|well|ok|okay|as it should)\b|\b(all|everything) (is|works|runs) (fine|well|ok|okay|as it should)( at the moment| right now| currently| so far| today| here)\b",
        r"\b(aktuell|derzeit|momentan|zurzeit|im moment|bisher) (läuft|funktioniert|ist) alles\b|\bes (ist|läuft|funktioniert) (aktuell|derzeit|momentan|zurzeit|bisher)? ?alles (gut|in ordnung|bestens|einwandfrei)\b|\bnichts (ist )?(kaputt|defekt|gestört)\b",
        r"\btout (fonctionne|marche|va) (bien )?(actuellement|pour l.instant|en ce moment)\b|\brien n.est (cassé|en panne)\b|\b(por ahora|de momento) todo funciona\b",
    ];
    Regex::new(&format!("(?i){}", told.join("|"))).ok()
});
/// What makes that untrue again: an exception, a condition, an end, or something that goes on.
static NOT_WELL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"\b(except|apart from|until|unless|only|but|however|not|when|while|as soon as|once|if|for (a|some|one|two|\d+|half an?) ?(hours?|minutes?|days?|while|time)|temporar\w+|after (a|the|each|every) (restart|reboot))\b",
        r"\b(local ?system|außer|aber|bis|nur|nicht|wenn|sobald|solange|kurz|vorübergehend|sauf|mais|jusqu|quand|si|pas|pero|hasta|cuando|salvo|ma|fino|quando)\b",
    ];
    Regex::new(&format!("(?i){}", told.join("|"))).ok()
});
static GOES_ON: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(still|but now|now (we|the|users|it|there)|since then|came back|comes back|re-?opened|another (problem|issue)|what is wrong|any (ideas?|help)|please help|urgent|not resolved|unresolved|workaround|immer noch|weiterhin|nach wie vor|seitdem|aber jetzt|jetzt aber|erneut|wieder da|dringend|wiedereröffnet|toujours|depuis lors|mais maintenant|todavía|sigue|ancora)\b").ok()
});
/// A command that only looks, after its prompt.
static LOOKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)^\s*(\[ps\] ?|ps ?)?[a-z]:\\[^>]*>+ ?(reg(\.exe)? query|get-|klist|setspn|w32tm|nltest|findstr|select-string|sls )").ok()
});

/// Whether the sentences of a text tell of nothing that is wrong now.
fn is_well(doc: &Doc<'_>) -> bool {
    let (Some(well), Some(not), Some(on)) = (WELL.as_ref(), NOT_WELL.as_ref(), GOES_ON.as_ref()) else {
        return false;
    };
    let mut said = false;
    for line in (0..doc.lines.len()).filter_map(|at| doc.free(at)).filter(|line| line.len() <= LINE_MAX) {
        if on.is_match(line) {
            return false;
        }
        let mut from = 0;
        while !said && from < line.len() {
            let end = sentence_end(line, from);
            let sentence = line.get(from..end).unwrap_or_default();
            said = well.is_match(sentence) && !not.is_match(sentence);
            from = end;
        }
    }
    said
}

/// Whether a sentence of the line may be one of these.
fn may_suppose(line: &str) -> bool {
    SUPPOSED.as_ref().is_some_and(|r| r.is_match(line)) || asked::may_be(line)
}

/// Whether a sentence tells of something that is not so here.
fn supposes(text: &str) -> bool {
    SUPPOSED.as_ref().is_some_and(|r| r.is_match(text)) || asked::is(text)
}

/// Takes such sentences out of the lines that nobody has claimed. A sentence may go on in the next line.
pub fn reader(doc: &mut Doc<'_>, _: &mut Sink<'_>) {
    if is_well(doc) {
        doc.claim(0..doc.lines.len());
        return;
    }
    for index in 0..doc.lines.len() {
        if doc
            .free(index)
            .is_some_and(|line| line.contains('>') && LOOKS.as_ref().is_some_and(|r| r.is_match(line)))
        {
            doc.claim(index..index + 1);
        }
    }
    let mut goes_on = false;
    for index in 0..doc.lines.len() {
        let Some(line) = doc.free(index).filter(|line| line.len() <= LINE_MAX && line.contains(' ')) else {
            goes_on = false;
            continue;
        };
        if !goes_on && !may_suppose(line) {
            continue;
        }
        let (mut kept, mut from) = ("", 0);
        let mut whole = true;
        while from < line.len() {
            let end = sentence_end(line, from);
            let sentence = line.get(from..end).unwrap_or_default();
            let drop = goes_on || supposes(sentence);
            goes_on = drop
                && end == line.len()
                && !line.trim_end().ends_with(['.', '?', '!', ':', '。', '？', '！']);
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

/// Where the sentence that begins at `from` ends: after `.`, `?` or `!` with a blank and a capital after it, or after the full
/// stops of Chinese and Japanese.
fn sentence_end(line: &str, from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        if matches!(before, '。' | '？' | '！') {
            return from + at;
        }
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
    fn a_text_that_is_well_says_nothing() {
        let well = [
            "State: Closed\nEvent 12014 was logged on EX01.\nThe certificate was replaced.",
            "Root cause: the certificate had expired.\nEverything works again for all.",
            "Das Problem ist inzwischen behoben. Ursache war Ereignis 12014.",
            "At the moment all is fine. Do I have to set TlsCertificateName again?",
            "EX21: components Inactive, event 7031.\nNo further alerts since 00:15.",
            "I know about 550 5.7.54. Nothing is broken, it shall be done right.",
        ];
        for text in well {
            assert!(left(text).is_empty(), "{text}");
        }
        let not_well = [
            "Everything works again as soon as transport runs as Local System. Event 4625.",
            "The issue was resolved. Event 12014 came back this morning.",
            "After a restart everything works again for two hours. Event 17018.",
            "All is fine today except IMAP.",
            "Ich habe das Problem gelöst geglaubt, es ist immer noch da.",
        ];
        for text in not_well {
            assert!(!left(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn commands_that_only_look_say_nothing() {
        assert!(left("C:\\>reg query HKLM\\SYSTEM /v DefaultEncryptionType").is_empty());
        assert!(left("[PS] C:\\Windows\\system32>Get-ExchangeCertificate | ft Thumbprint").is_empty());
        assert_eq!(left("[PS] C:\\>Enable-ExchangeCertificate -Services IMAP").len(), 1);
    }

    #[test]
    fn full_stops_of_chinese_end_a_sentence() {
        assert_eq!(left("我们更换证书，如何避免出现 12014 错误？目前一切正常。"), ["目前一切正常。"]);
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
