//! Events as text: what the Event Viewer copies (old and new), what wevtutil prints, in English, German, French, Spanish and
//! Italian.

use super::Raw;
use crate::read::Doc;
use crate::read::scan;
use crate::read::when;
use crate::sink::Sink;
use crate::words;

/// Lines between the first label of an event and its number.
const HEAD_MAX: usize = 16;
/// Lines of a description.
const DESCRIPTION_MAX: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Log,
    Source,
    Date,
    Time,
    Id,
    Task,
    Level,
    Keywords,
    User,
    Computer,
    Description,
    Other,
}

/// Labels in several languages; apostrophes are compared as the plain one.
const LABELS: &[(&str, Label)] = &[
    ("log name", Label::Log),
    ("protokollname", Label::Log),
    ("nom du journal", Label::Log),
    ("nombre de registro", Label::Log),
    ("nome registro", Label::Log),
    ("source", Label::Source),
    ("event source", Label::Source),
    ("provider", Label::Source),
    ("quelle", Label::Source),
    ("ereignisquelle", Label::Source),
    ("source de l'événement", Label::Source),
    ("origen", Label::Source),
    ("origine", Label::Source),
    ("date", Label::Date),
    ("datum", Label::Date),
    ("fecha", Label::Date),
    ("data", Label::Date),
    ("time", Label::Time),
    ("zeit", Label::Time),
    ("heure", Label::Time),
    ("event id", Label::Id),
    ("eventid", Label::Id),
    ("ereignis-id", Label::Id),
    ("ereigniskennung", Label::Id),
    ("id de l'événement", Label::Id),
    ("id d'événement", Label::Id),
    ("id. del evento", Label::Id),
    ("id del evento", Label::Id),
    ("id evento", Label::Id),
    ("task category", Label::Task),
    ("task", Label::Task),
    ("event category", Label::Task),
    ("aufgabenkategorie", Label::Task),
    ("ereigniskategorie", Label::Task),
    ("catégorie de la tâche", Label::Task),
    ("categoría de la tarea", Label::Task),
    ("categoria attività", Label::Task),
    ("level", Label::Level),
    ("event type", Label::Level),
    ("ebene", Label::Level),
    ("ereignistyp", Label::Level),
    ("niveau", Label::Level),
    ("nivel", Label::Level),
    ("livello", Label::Level),
    ("keywords", Label::Keywords),
    ("keyword", Label::Keywords),
    ("schlüsselwörter", Label::Keywords),
    ("mots clés", Label::Keywords),
    ("mots-clés", Label::Keywords),
    ("palabras clave", Label::Keywords),
    ("parole chiave", Label::Keywords),
    ("user", Label::User),
    ("user name", Label::User),
    ("benutzer", Label::User),
    ("utilisateur", Label::User),
    ("usuario", Label::User),
    ("utente", Label::User),
    ("computer", Label::Computer),
    ("ordinateur", Label::Computer),
    ("equipo", Label::Computer),
    ("description", Label::Description),
    ("beschreibung", Label::Description),
    ("descripción", Label::Description),
    ("descrizione", Label::Description),
    ("message", Label::Description),
    ("opcode", Label::Other),
    ("vorgangscode", Label::Other),
    ("event xml", Label::Other),
];

fn label(line: &str) -> Option<(Label, &str)> {
    let (name, value) = line.trim_start().split_once(':')?;
    if name.len() > 40 {
        return None;
    }
    let name = name.trim().to_lowercase().replace('’', "'");
    LABELS.iter().find(|(n, _)| *n == name).map(|(_, label)| (*label, value.trim()))
}

/// Reads the events of a document.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut at = 0;
    let mut found = 0;
    while at < doc.lines.len() {
        match event(doc, at, sink).or_else(|| bare_audit(doc, at, sink)) {
            Some(end) => {
                doc.claim(at..end);
                found += 1;
                at = end.max(at + 1);
            }
            None => at += 1,
        }
    }
    sink.understood("events as text", found);
}

/// The first sentences of audits, by which their text is known without its head.
const AUDITS: [(&str, u32); 10] = [
    ("An account failed to log on.", 4625),
    ("Fehler beim Anmelden eines Kontos.", 4625),
    ("Échec d’ouverture de session d’un compte.", 4625),
    ("Échec d'ouverture de session d'un compte.", 4625),
    ("A Kerberos service ticket was requested.", 4769),
    ("Ein Kerberos-Dienstticket wurde angefordert.", 4769),
    ("A Kerberos authentication ticket (TGT) was requested.", 4768),
    ("Ein Kerberos-Authentifizierungsticket (TGT) wurde angefordert.", 4768),
    ("Kerberos pre-authentication failed.", 4771),
    ("Fehler bei der Kerberos-Vorauthentifizierung.", 4771),
];

/// An audit's text without its head; the line after it.
fn bare_audit(doc: &Doc<'_>, from: usize, sink: &mut Sink<'_>) -> Option<usize> {
    let line = doc.free(from)?.trim();
    let (_, id) = AUDITS.iter().find(|(begin, _)| line == *begin)?;
    let mut raw = Raw {
        at: doc.place(from),
        id: *id,
        log: "Security".to_owned(),
        source: "Microsoft-Windows-Security-Auditing".to_owned(),
        message: line.to_owned(),
        ..Raw::default()
    };
    let end = more(doc, from + 1, false, true, &mut raw.message);
    // One sentence alone is prose.
    if end < from + 4 {
        return None;
    }
    raw.give(sink);
    Some(end)
}

/// The event that begins at this line; the line after it.
fn event(doc: &Doc<'_>, from: usize, sink: &mut Sink<'_>) -> Option<usize> {
    let line = doc.free(from)?;
    let starts =
        matches!(label(line)?, (Label::Log | Label::Source | Label::Level | Label::Id | Label::Date, _));
    if !starts {
        return None;
    }
    let mut raw = Raw { at: doc.place(from), ..Raw::default() };
    let mut seen: Vec<Label> = Vec::new();
    let (mut date, mut time) = (String::new(), String::new());
    let mut at = from;
    let mut has_id = false;
    let mut description = None;
    while at < from + HEAD_MAX {
        let Some(line) = doc.free(at) else { break };
        if line.trim().is_empty() && has_id {
            // Some viewers leave a line empty before the description.
            match doc.free(at + 1).and_then(label) {
                Some(_) => {
                    at += 1;
                    continue;
                }
                None => break,
            }
        }
        let Some((label, value)) = label(line) else { break };
        if seen.contains(&label) && !matches!(label, Label::User | Label::Other | Label::Date) {
            break;
        }
        seen.push(label);
        match label {
            Label::Log => raw.log = value.to_owned(),
            Label::Source => raw.source = value.to_owned(),
            Label::Date => value.clone_into(&mut date),
            Label::Time => value.clone_into(&mut time),
            Label::Task => raw.task = value.to_owned(),
            Label::Level => raw.level = value.to_owned(),
            Label::Computer => raw.computer = value.to_owned(),
            Label::Keywords if words::contains(value, "audit") || words::contains(value, "überwachung") => {
                raw.level = value.to_owned()
            }
            Label::Id => {
                raw.id = words::number(value).filter(|n| (0.0..4_294_967_296.0).contains(n))? as u32 & 0xffff;
                has_id = true;
            }
            Label::Description => {
                description = Some(value.to_owned());
                at += 1;
                break;
            }
            Label::Keywords | Label::User | Label::Other => {}
        }
        at += 1;
    }
    if !has_id
        || seen.len() < 2
        || !(seen.contains(&Label::Source)
            || seen.contains(&Label::Log)
            || seen.contains(&Label::Description))
    {
        return None;
    }
    raw.time = when::parse(&format!("{date} {time}"));
    let has_description = description.is_some();
    raw.message = description.unwrap_or_default();
    if has_description || raw.message.is_empty() {
        let audit = words::contains(&raw.source, "Security") || words::contains(&raw.log, "Security");
        at = more(doc, at, has_description, audit, &mut raw.message);
    }
    raw.give(sink);
    Some(at)
}

/// The lines of a description from this one on.
fn more(doc: &Doc<'_>, from: usize, told: bool, audit: bool, message: &mut String) -> usize {
    let mut at = from;
    while at < from + DESCRIPTION_MAX {
        let Some(line) = doc.free(at) else { break };
        let audit_begins = !message.is_empty() && AUDITS.iter().any(|(begin, _)| line.trim() == *begin);
        if audit_begins || begins_another(line) || super::super::objects::command::is_prompt(line) {
            break;
        }
        if line.trim().is_empty() {
            let next = (at..at + 3).find_map(|n| doc.free(n).filter(|l| !l.trim().is_empty()));
            let first = message.is_empty() && told;
            match next {
                Some(next) if !begins_another(next) && (first || goes_on(next, audit, message)) => {}
                _ => break,
            }
        }
        if scan::starts(line, "Event Xml:") || line.trim_start().starts_with("<Event") {
            break;
        }
        scan::add(message, line.trim_end(), "\n");
        at += 1;
    }
    at
}

fn begins_another(line: &str) -> bool {
    line.trim_start().starts_with("Event[")
        || matches!(label(line), Some((Label::Log | Label::Id, _)))
        || scan::starts(line, "Event Type:")
        || scan::starts(line, "Ereignistyp:")
        || scan::starts(line, "For more information, see Help and Support")
}

/// Whether a paragraph after an empty line is of the same description: labels of an audit, rows of a list, what is indented.
fn goes_on(line: &str, audit: bool, message: &str) -> bool {
    // Properties of a list stand apart from their colon; labels of an audit do not.
    if line.contains(" : ") || line.trim_end().ends_with(" :") {
        return false;
    }
    let indented = line.starts_with([' ', '\t']);
    let labelled = scan::pair(line).is_some_and(|(name, _)| name.split_whitespace().count() <= 6);
    let audit = audit
        || ["Security ID", "Sicherheits-ID", "logon", "Kerberos", "audit", "ID de sécurité"]
            .iter()
            .any(|w| words::contains(message, w));
    let listing = words::contains(message, "Directory Provider");
    let row = super::fields_row(line);
    let site = words::contains(line, "-site") || words::contains(line, "server name |");
    labelled && (audit || indented) || audit && indented || listing && (row || site || indented) || row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::phrases::Phrases;
    use proptest::prelude::*;
    use waypost_base::Timestamp;

    pub fn case_of(text: &str) -> Case {
        let phrases = Phrases::new([]);
        let mut case = Case::new(Timestamp(1_900_000_000_000));
        let file = case.file_named("a.txt");
        let mut doc = Doc::new(file, text.lines().collect(), 1);
        let mut sink = Sink::new(file, &phrases, &mut case);
        read(&mut doc, &mut sink);
        super::super::prose::read(&mut doc, &mut sink);
        case
    }

    #[test]
    fn copied_from_the_viewer() {
        let case = case_of(
            "Log Name:      Application\nSource:        MSExchangeTransport\nDate:          3/3/2026 9:04:11 AM\nEvent ID:      12014\nTask Category: TransportService\nLevel:         Error\nKeywords:      Classic\nUser:          N/A\nComputer:      MBX01.corp.example\nDescription:\nMicrosoft Exchange could not find a certificate that contains the domain name <I>CN=CA<S>CN=mail.example.net in the personal store on the local computer.\n\nCan anybody help me?\n",
        );
        let event = case.of("event").next().unwrap();
        assert!(
            event.is("id", "12014")
                && event.is("source", "MSExchangeTransport")
                && event.is("level", "Error")
        );
        assert_eq!(event.get("name"), Some("<I>CN=CA<S>CN=mail.example.net"));
        assert_eq!(event.server.as_deref(), Some("MBX01"));
        assert!(!event.mentions("anybody"));
    }

    #[test]
    fn old_german_and_wevtutil() {
        let case = case_of(
            "Event Type:\tWarning\nEvent Source:\tMSExchangeTransport\nEvent Category:\tSmtpReceive \nEvent ID:\t1035\nDate:\t\t3/3/2010\nTime:\t\t9:04:11 AM\nUser:\t\tN/A\nComputer:\tHUB1\nDescription:\nInbound authentication failed with error IllegalMessage for Receive connector Default HUB1. The authentication mechanism is ExchangeAuth. The source IP address of the client who tried to authenticate to Microsoft Exchange is [10.20.0.12].\n\nProtokollname: System\nQuelle:        Schannel\nDatum:         03.03.2026 09:04:11\nEreignis-ID:   36888\nEbene:         Fehler\nComputer:      MBX01\nBeschreibung:\nEs wurde eine schwerwiegende Warnung generiert: alert 10. Der interne Fehlerstate lautet: 1203.\n\nEvent[0]:\n  Log Name: Application\n  Source: MSExchangeTransport\n  Date: 2026-03-03T09:04:11.000\n  Event ID: 2017\n  Level: Error\n  Computer: MBX02\n  Description: \nOutbound authentication failed with error KdcUnknownEncryptionType for Send connector Intra-Organization SMTP Send Connector. The authentication mechanism is Gssapi. The target is SMTPSVC/mbx01.corp.example.\n",
        );
        let found: Vec<_> = case.of("event").collect();
        assert_eq!(found.len(), 3);
        assert!(
            found[0].is("error", "IllegalMessage")
                && found[0].is("connector", "Default HUB1")
                && found[0].is("sourceip", "10.20.0.12")
        );
        assert!(
            found[1].is("level", "Error")
                && found[1].is("alertdesc", "10")
                && found[1].is("errorstate", "1203")
        );
        assert!(
            found[2].is("error", "KdcUnknownEncryptionType")
                && found[2].is("target", "SMTPSVC/mbx01.corp.example")
        );
        assert!(found.iter().all(|f| f.time.is_some()));
    }

    #[test]
    fn audits_with_the_swapped_digits() {
        let case = case_of(
            "Log Name: Security\nSource: Microsoft-Windows-Security-Auditing\nEvent ID: 4265\nLevel: Information\nKeywords: Audit Failure\nComputer: HUB1\nDescription:\nAn account failed to log on.\n\nSubject:\n\tSecurity ID:\t\tNULL SID\n\tAccount Name:\t\t-\n\nLogon Type:\t\t\t3\n\nDetailed Authentication Information:\n\tLogon Process:\t\tKerberos\n\tAuthentication Package:\tKerberos\n",
        );
        let event = case.of("event").next().unwrap();
        assert!(event.is("id", "4625") && event.is("idasseen", "4265") && event.is("sid", "NULL SID"));
        assert!(event.is("authenticationpackage", "Kerberos") && event.is("logontype", "3"));
    }

    #[test]
    fn audits_without_their_head_end_where_others_begin() {
        let audit = "An account failed to log on.\n\nSubject:\n\tSecurity ID:\t\tNULL SID\n\nDetailed Authentication Information:\n\tAuthentication Package:\tKerberos\n\n";
        let ticket = "A Kerberos service ticket was requested.\n\nAdditional Information:\n\tTicket Encryption Type:\t0x17\n\nTimeCreated  : 3/3/2026\nId           : 2080\n";
        let case = case_of(&format!("{audit}{ticket}"));
        let found: Vec<_> = case.of("event").collect();
        assert_eq!(found.len(), 2);
        assert!(
            found[0].is("id", "4625")
                && found[0].is("sid", "NULL SID")
                && found[0].is("authenticationpackage", "Kerberos")
        );
        assert!(
            found[1].is("id", "4769")
                && found[1].is("ticketencryptiontype", "0x17")
                && !found[1].mentions("TimeCreated")
        );
    }

    #[test]
    fn controllers_of_2080() {
        let case = case_of(
            "Source: MSExchange ADAccess\nEvent ID: 2080\nLevel: Information\nDescription:\nProcess MSEXCHANGEADTOPOLOGY (PID=1234). Exchange Active Directory Provider has discovered the following servers with the following characteristics:\n (Server name | Roles | Enabled | Reachability | Synchronized | GC capable | PDC | SACL right | Critical Data | Netlogon | OS Version)\nIn-site:\ndc1.corp.example\tCDG 1 7 7 1 0 0 1 7 1\n Out-of-site:\ndc2.corp.example CD- 1 6 6 0 0 1 1 6 1\n",
        );
        let rows: Vec<_> = case.objects("TopologyRow").collect();
        assert_eq!(rows.len(), 2);
        assert!(
            rows[0].is("sacl", "0")
                && rows[0].is("reachability", "7")
                && rows[0].is("site", "in")
                && rows[1].is("site", "out")
        );
    }

    #[test]
    fn prose() {
        let case = case_of(
            "We get Event ID 1035, MSExchangeTransport: Inbound authentication failed with error IllegalMessage for Receive connector Default MBX01. The authentication mechanism is ExchangeAuth.\nIm Log steht Ereignis 12014.\nThen 2017 (MSExchangeTransport) came.\nThere is no event 2017 anywhere.\nfinally 4265 failure audits with NULL SID in the security log\nStopped MSExchangeIMAP4 Microsoft Exchange IMAP4, MSExchangeTransport: 454 4.7.0 no\n",
        );
        let found: Vec<(&str, &str)> =
            case.of("event").map(|f| (f.get("id").unwrap_or(""), f.get("source").unwrap_or(""))).collect();
        assert_eq!(
            found,
            [
                ("1035", "MSExchangeTransport"),
                ("12014", "MSExchangeTransport"),
                ("2017", "MSExchangeTransport"),
                ("4625", "Microsoft-Windows-Security-Auditing")
            ]
        );
        assert!(case.of("event").next().unwrap().is("error", "IllegalMessage"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "((Event ID|Source|Description|Date|x)?:? ?[a-z0-9<>|. ]{0,12}\n){0,10}") {
            let _ = case_of(&text);
        }
    }
}
