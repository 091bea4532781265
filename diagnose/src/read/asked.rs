//! Sentences that ask how to be spared of something or what a thing means, that tell what comes of a mistake in general, or
//! that name what was looked for and not found. [`super::supposed`] takes them away.

use regex::Regex;
use std::sync::LazyLock;

/// Questions how to be spared of something, and what a manual says will come of a mistake. They are told of what happens too,
/// so a sentence that speaks of the present stays.
static ASKED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"\b(to|can|could|do|should) (i |we |you |one )?(best )?(avoid|prevent)\b|\bso (that )?(we|i) (do not|don['’]t|won['’]t) (get|see|run into)\b",
        r"\bwhat is the difference between\b|\bif (you|one|somebody|someone|this is|it is) (forgets?|skips?|omits?|miss(es)?|left out|forgotten|skipped)\b",
        r"\bwie (kann|können|lässt|lassen|vermeide|vermeiden|verhindere|verhindern)\b.*\b(vermeide|verhinder)|\bwie (vermeide|verhinder)|\b(um|damit)\b.*\bzu (vermeiden|verhindern)\b",
        r"\b(wenn|falls) (man|sie|du) .{0,60}(vergisst|vergessen)\b|\bwas ist der unterschied\b",
        r"\b(should|in case)\b.{0,80}\b(appears?|shows? up|occurs?|comes? up)\b|\b(falls|sollten?)\b.{0,80}\b(erscheint|erscheinen|auftritt|auftreten|auftaucht|auftauchen)\b|\b(indien|mocht)\b.{0,80}\b(verschijnt|verschijnen|optreedt|optreden)\b",
        r"\bau cas où\b|\ben (el )?caso de que\b|\bnel caso (in cui)?\b|\bcaso apareça\b|\bw razie\b|\bв случае если\b",
        r"\b(pour|afin de|comment)\b.{0,30}\b(éviter|prévenir)\b|\b(pour|afin de) ne (pas|plus) (avoir|recevoir|voir|rencontrer)\b|\bquelle est la différence\b",
        r"\b(como|cómo|para|poder|podemos|puedo|podem)\b.{0,30}\b(evitar|evitamos|evito|prevenir|prevenimos)\b|\bpara (no|não) (tener|recibir|ter|receber|ver)\b",
        r"\b(come|per|possiamo|posso)\b.{0,30}\b(evitare|evitiamo|evito|prevenire)\b|\bper non (avere|ricevere|vedere)\b",
        r"\bhoe\b.{0,60}\b(voorkom|voorkomen|vermijden|vermijd)\b|\bom\b.{0,60}\bte (voorkomen|vermijden)\b|\b(hur|för att)\b.{0,60}\b(undvika|undviker|förhindra|förhindrar|förebygga)\b",
        r"\b(jak|aby|żeby)\b.{0,30}\b(uniknąć|unikać|zapobiec)|\b(как|чтобы)\b.{0,30}(избежать|избегать|предотвратить)|\bчтобы не получ",
        r"(如何|怎么|怎样|以).{0,10}(避免|防止)|(避ける|防ぐ|回避する)(に|ため|方法)",
    ];
    Regex::new(&format!("(?i){}", told.join("|"))).ok()
});

/// Words of a thing that happens.
static PRESENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"\b(since|again|yesterday|today|keeps?|suddenly|still|currently|every (day|time|hour|morning)|ha[ds]|have to|restart(ed)?)\b|\b(we|i|users?|they)( all)?( are| am)?( now)? (get|see|have|receive)(ting|ing)?\b",
        r"\b(seit|seitdem|wieder|ständig|dauernd|gestern|heute|plötzlich|depuis|encore|hier|aujourd['’]hui|desde|ayer|hoy|otra vez|ontem|hoje)\b",
        r"\b(dal|dalla|da ieri|ieri|oggi|ancora|sinds|gisteren|vandaag|steeds|sedan|igår|idag|fortfarande|od wczoraj|wczoraj|dzisiaj|ciągle|вчера|сегодня|постоянно|снова)\b",
        r"昨天|今天|一直|昨日|今日|から",
    ];
    Regex::new(&format!("(?i){}", told.join("|"))).ok()
});

/// Things that were looked for and not found, by their numbers or names: `no 1035 and no 2017 in the log`.
static ABSENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let told = [
        r"\bno (events? |event ids? )\d{1,5}\b|\bno \d{4,5}s?\b|\bnone of (the|these|those)\b.{0,40}\b(events?|errors?|codes?)\b",
        r"\bkeine?n? (ereignisse?n? |ereignis-ids? |events? )\d{1,5}\b|\bkeine?n? \d{4,5}er?\b|\bkeine? der\b.{0,40}\b(ereignisse|fehler|meldungen)\b",
        r"\b(pas|aucun|aucune) (d['’])?(événement|évènement|erreur)s? \d{1,5}\b|\b(ningún|nessun|nenhum) (evento|error|errore|erro) \d{1,5}\b|\b(pas de|aucun|ningún|nessun|nenhum) \d{4,5}\b",
        r"\b(geen|inga|inget|brak) (events?|händelser?|zdarzeń|zdarzenia) \d{1,5}\b|\b(geen|inga|inget|brak) \d{4,5}\b|\bнет (событий |события )\d{1,5}\b",
    ];
    Regex::new(&format!("(?i){}", told.join("|"))).ok()
});

/// What turns such a sentence round: `no 12014, but 12016`.
static BUT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(but|only|except|however|instead|though|although|any ?more|longer|sondern|aber|nur|doch|mehr|mais|sauf|pero|sino|mas|ma|però|maar|men|ale|но)\b").ok()
});

fn matches(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|r| r.is_match(text))
}

/// Ports that may well be missed: `no 2525 binding` is something that is wrong.
const PORTS: &[&str] =
    &["1143", "1110", "1993", "1995", "2525", "3268", "3269", "5985", "9933", "50636", "64327"];

fn is_absent(text: &str) -> bool {
    ABSENT.as_ref().is_some_and(|regex| {
        regex.find_iter(text).any(|found| {
            let digits = found.as_str().trim_end_matches(|c: char| !c.is_ascii_digit());
            !PORTS.iter().any(|port| digits.ends_with(port))
        })
    })
}

/// Whether a sentence of the line may be one of these.
pub fn may_be(line: &str) -> bool {
    matches(&ASKED, line) || is_absent(line)
}

/// Whether the sentence tells of nothing that happens here.
pub fn is(sentence: &str) -> bool {
    matches(&ASKED, sentence) && !matches(&PRESENT, sentence)
        || is_absent(sentence) && !matches(&BUT, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_what_is_absent_are_known_in_each_language() {
        let gone = [
            "How can we avoid event 12014?",
            "Wie vermeiden wir Ereignis 12014?",
            "Comment éviter l'événement 12014 ?",
            "¿Cómo evitamos el error ProxyNotAuthenticated en IMAP?",
            "Come possiamo evitare 12014?",
            "Como evitar KdcUnknownEncryptionType?",
            "Hoe voorkomen we KDCSVC 205?",
            "Hur undviker vi 12014?",
            "Jak uniknąć błędu ProxyNotAuthenticated?",
            "Как избежать ошибки 452 4.3.1?",
            "如何避免出现 12014 错误？",
            "12014 を避けるにはどうすればよいですか。",
            "If you forget this, event 12014 will be logged.",
            "Terug zetten indien ProxyNotAuthenticated in het log verschijnt.",
            "Sollte 12014 auftreten, gehen wir zurück.",
            "No 1035 and no 2017 in the Application log.",
            "None of the KDC events (14, 16) is there.",
        ];
        for line in gone {
            assert!(may_be(line) && is(line), "{line}");
        }
    }

    #[test]
    fn what_happens_stays() {
        let told = [
            "How can we avoid the 452 4.3.1 that users get since Monday?",
            "There is no 12014, but 12016 each hour.",
            "Comment éviter le 12014 que nous avons depuis hier ?",
            "Wie vermeiden wir 12014, das seit gestern kommt?",
            "IMAP fails with ProxyNotAuthenticated.",
            "There is no 250-STARTTLS in the answer.",
            "netstat shows no 2525 at all.",
            "We had to restart it to avoid 452 4.3.1.",
        ];
        for line in told {
            assert!(!is(line), "{line}");
        }
    }
}
