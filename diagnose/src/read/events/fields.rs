//! What the messages of well-known events say, field by field; and which events tell something although they are no errors.

use super::raw::Raw;
use crate::fact::Fact;
use crate::sink::Sink;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

/// Events of ordinary level that explain what happened or what was changed.
pub fn is_telling(source: &str, id: u32) -> bool {
    if words::contains(source, "MSExchange") {
        return matches!(id, 2080 | 15001..=15007 | 1035 | 2017 | 2016 | 12013..=12024 | 1009 | 1010 | 7009 | 500 | 1001..=1003 | 4999
            | 1012 | 1014 | 1020 | 1050 | 4010 | 5015 | 5016 | 6010 | 9518 | 9519 | 10001 | 10003 | 16023);
    }
    if words::contains(source, "FIPFS") {
        return true;
    }
    if words::contains(source, "Service Control Manager") {
        return matches!(id, 7000..=7045);
    }
    if words::contains(source, "Kerberos") || words::contains(source, "KDC") {
        return true;
    }
    let name = source.to_ascii_lowercase();
    matches!(
        (name.as_str(), id),
        ("eventlog", 6005..=6009)
            | ("user32", 1074)
            | ("microsoft-windows-kernel-general", 1 | 12 | 13)
            | ("microsoft-windows-time-service" | "w32time", _)
            | ("microsoft-windows-windowsupdateclient", 19 | 20)
            | ("netlogon", _)
            | ("schannel", _)
    )
}

/// Parts of messages, by the names that rules use; the names of groups are those of the fields.
static MESSAGES: LazyLock<Vec<(u32, Regex)>> = LazyLock::new(|| {
    let all: [(u32, &str); 22] = [
        (
            1035,
            r"(?is)authentication failed with error (?P<error>\S+) for Receive connector (?P<connector>.+?)\.? The authentication mechanism is (?P<mechanism>\w+)(?:.*?\[(?P<sourceip>[^\]]+)\])?",
        ),
        (
            2017,
            r"(?is)authentication failed with error (?P<error>\S+) for Send connector (?P<connector>.+?)\.? The authentication mechanism is (?P<mechanism>\w+)(?:.*?The target is (?P<target>\S+?)\.?(?:\s|$))?",
        ),
        (
            12014,
            r"(?is)domain name (?P<name><I>.*?<S>[^\r\n]*?|\S+?) in the personal store(?:.*?connector (?P<connector>.+?) with a FQDN parameter of (?P<fqdn>.+?)\.(?:\s|$))?",
        ),
        (12016, r"(?is)certificate for the FQDN of (?P<fqdn>[^\s,]+?)\.?[\s,]"),
        (12018, r"(?is)subject:? (?P<subject>.+?),? hours remaining:? (?P<hours>[\d.,A-F]+)"),
        (12019, r"(?is)subject:? (?P<subject>[^\r\n]+?)\.?(?:\s*$|[\r\n])"),
        (2004, r#"(?is)(?P<response>\b[45]\d\d[ -]\d\.\d{1,3}\.\d{1,3}[^\r\n]*)"#),
        (1018, r"(?is)binding:? '?(?P<binding>[\[\]0-9a-f.:]+)"),
        (1019, r"(?is)binding:? '?(?P<binding>[\[\]0-9a-f.:]+)"),
        (1050, r"(?is)agent '?(?P<agent>.+?)'? (?:took|did)"),
        (15004, r"(?is)from (?P<before>Normal|Low|Medium|High) to (?P<after>Normal|Low|Medium|High)"),
        (15005, r"(?is)from (?P<before>Normal|Low|Medium|High) to (?P<after>Normal|Low|Medium|High)"),
        (36887, r"(?is)alert.*?(?P<alertdesc>\d{1,3})\b"),
        (36888, r"(?is)alert.*?(?P<alertdesc>\d{1,3})\b.*?state\D*(?P<errorstate>\d+)"),
        (36874, r"(?is)(?P<protocol>(?:TLS|SSL) ?\d\.\d)"),
        (36870, r"(?is)error code.*?(?P<errorcode>0x[0-9a-f]+)"),
        (
            7031,
            r"(?is)^(?:The |Der Dienst |Le service )?(?P<service>.+?) (?:service terminated|service has|wurde)",
        ),
        (
            7034,
            r"(?is)^(?:The |Der Dienst |Le service )?(?P<service>.+?) (?:service terminated|service has|wurde)",
        ),
        (
            7036,
            r"(?is)^(?:The |Der Dienst )?(?P<service>.+?) (?:service entered the|befindet sich jetzt im Status)\D*?(?P<state>\w+)",
        ),
        (7000, r"(?is)^(?:The |Der Dienst )?(?P<service>.+?) (?:service failed to start|wurde)"),
        (
            7040,
            r"(?is)start type of the (?P<service>.+?) service was changed from (?P<before>.+?) to (?P<after>[^.]+)",
        ),
        (1003, r"(?is)(?P<exception>System\.\w*Exception)"),
    ];
    all.into_iter().filter_map(|(id, form)| Some((id, Regex::new(form).ok()?))).collect()
});

/// What the unnamed data of an event are, in order.
fn names_of(source: &str, id: u32) -> &'static [&'static str] {
    let transport = words::contains(source, "MSExchangeTransport")
        || words::contains(source, "MSExchangeFrontEndTransport");
    match id {
        1035 if transport => &["error", "connector", "mechanism", "sourceip"],
        2017 if transport => &["error", "connector", "mechanism", "target"],
        12014 if transport => &["name", "connector", "fqdn"],
        12016 if transport => &["fqdn"],
        12018 if transport => &["subject", "hours"],
        12019 if transport => &["subject"],
        _ => &[],
    }
}

/// Adds what the message and the data say in fields of their own.
pub fn split(raw: &Raw, fact: &mut Fact) {
    for (name, value) in names_of(&raw.source, raw.id).iter().zip(&raw.unnamed) {
        put_new(fact, name, value);
    }
    let message = crate::fact::cut(&raw.message, 4096);
    for (_, form) in MESSAGES.iter().filter(|(id, _)| *id == raw.id) {
        let Some(found) = form.captures(message) else { continue };
        for name in form.capture_names().flatten() {
            if let Some(value) = found.name(name) {
                put_new(fact, name, value.as_str());
            }
        }
    }
    if let Some(error) = fact.get("error").map(|e| e.trim_end_matches('.').to_owned())
        && fact.get("error") != Some(&error)
    {
        fact.fields.retain(|(n, _)| n != "error");
        fact.put("error", error);
    }
    if raw.id == 12014
        && let Some(name) = fact.get("name").map(str::to_owned)
    {
        let pair = words::contains(&name, "<I>") && words::contains(&name, "<S>");
        fact.put("nameis", if pair { "issuer and subject" } else { "host name" });
    }
    if words::contains(&raw.source, "Service Control Manager") {
        for (from, to) in [("param1", "service"), ("p1", "service"), ("param2", "state")] {
            if let Some(value) = fact.get(from).map(str::to_owned) {
                put_new(fact, to, &value);
            }
        }
    }
    if raw.id == 4999 {
        watson(raw, fact);
    }
    if matches!(raw.id, 4624 | 4625 | 4768 | 4769 | 4771 | 4776 | 675 | 676 | 673) {
        audit(raw, fact);
    }
}

fn put_new(fact: &mut Fact, name: &'_ str, value: &str) {
    if fact.get(name).is_none() {
        fact.put(name.to_owned(), value);
    }
}

/// The parameters of a crash report: process, assembly, method and exception stand in it by their look.
fn watson(raw: &Raw, fact: &mut Fact) {
    let list = match crate::read::scan::after(&raw.message, "parameters:") {
        Some(list) => list.split(',').map(|p| p.trim().to_owned()).collect::<Vec<_>>(),
        None => raw.unnamed.clone(),
    };
    for (index, part) in list.iter().enumerate().take(24) {
        let part = part.trim_end_matches('.');
        put_new(fact, &format!("w{}", index + 1), part);
        if part.ends_with("Exception") {
            put_new(fact, "exception", part);
        } else if part.starts_with("M.E.") || part.starts_with("Microsoft.") {
            put_new(fact, if part.matches('.').count() > 3 { "method" } else { "assembly" }, part);
        } else if words::contains(part, "w3wp#")
            || words::contains(part, "MSExchange")
            || words::contains(part, "EdgeTransport")
        {
            put_new(fact, "process", part);
        }
    }
}

/// Audits: the labels of the text and the names of the data, so that both are always there.
fn audit(raw: &Raw, fact: &mut Fact) {
    const LABELS: [(&[&str], &str); 22] = [
        (&["Security ID", "Sicherheits-ID", "ID de sécurité"], "securityid"),
        (&["Account Name", "Kontoname", "Nom du compte", "User Name"], "accountname"),
        (&["Account Domain", "Kontodomäne", "Domaine du compte"], "accountdomain"),
        (
            &["Logon Type", "Anmeldetyp", "Type d’ouverture de session", "Type d'ouverture de session"],
            "logontype",
        ),
        (&["Logon Process", "Anmeldeprozess", "Processus d’ouverture de session"], "logonprocess"),
        (
            &[
                "Authentication Package",
                "Authentifizierungspaket",
                "Package d’authentification",
                "Package d'authentification",
            ],
            "authenticationpackage",
        ),
        (
            &["Failure Reason", "Fehlerursache", "Raison de l’échec", "Raison de l'échec", "Reason"],
            "failurereason",
        ),
        (&["Sub Status", "Unterstatus", "Sous-état"], "substatus"),
        (&["Status", "État"], "status"),
        (
            &["Source Network Address", "Quellnetzwerkadresse", "Adresse du réseau source"],
            "sourcenetworkaddress",
        ),
        (&["Workstation Name", "Arbeitsstationsname", "Nom de la station de travail"], "workstationname"),
        (&["Caller Process Name", "Process Name", "Aufrufprozessname"], "processname"),
        (
            &["Ticket Encryption Type", "Ticketverschlüsselungstyp", "Type de chiffrement du ticket"],
            "ticketencryptiontype",
        ),
        (&["Ticket Options", "Ticketoptionen", "Options du ticket"], "ticketoptions"),
        (&["Service Name", "Dienstname", "Nom du service"], "servicename"),
        (&["Service ID", "Dienst-ID", "ID du service"], "serviceid"),
        (&["Client Address", "Clientadresse", "Adresse du client"], "clientaddress"),
        (&["Failure Code", "Fehlercode", "Code d’échec", "Code d'échec"], "failurecode"),
        (&["Result Code", "Ergebniscode"], "resultcode"),
        (&["Pre-Authentication Type", "Präauthentifizierungstyp", "Preauthentication Type"], "preauthtype"),
        (&["Session Encryption Type"], "sessionencryptiontype"),
        (&["Key Length", "Schlüssellänge"], "keylength"),
    ];
    for line in raw.message.lines() {
        let Some((label, value)) = line.split_once(':') else { continue };
        let (label, value) = (label.trim(), value.trim());
        if value.is_empty() || value == "-" {
            continue;
        }
        if let Some((_, name)) =
            LABELS.iter().find(|(labels, _)| labels.iter().any(|l| l.eq_ignore_ascii_case(label)))
        {
            // "Account For Which Logon Failed" stands below "Subject": the last one is whom it is about.
            if matches!(*name, "securityid" | "accountname" | "accountdomain") {
                fact.fields.retain(|(n, _)| n != name);
            }
            put_new(fact, name, value);
        }
    }
    // Pasted on one line.
    if fact.get("authenticationpackage").is_none()
        && words::contains(&raw.message, "Authentication Package: Kerberos")
    {
        fact.put("authenticationpackage", "Kerberos");
    }
    const TWINS: [(&str, &str); 9] = [
        ("authenticationpackagename", "authenticationpackage"),
        ("logonprocessname", "logonprocess"),
        ("ipaddress", "sourcenetworkaddress"),
        ("targetusername", "accountname"),
        ("targetdomainname", "accountdomain"),
        ("serviceid", "servicesid"),
        ("status", "failurecode"),
        ("ticketencryptiontype", "etype"),
        ("processname", "callerprocessname"),
    ];
    for (one, other) in TWINS {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(value) = fact.get(from).map(str::to_owned) {
                put_new(fact, to, &value);
            }
        }
    }
    let nobody = |fact: &Fact| {
        let sid =
            |name: &str| fact.get(name).is_some_and(|v| v == "S-1-0-0" || v.eq_ignore_ascii_case("NULL SID"));
        sid("targetusersid")
            || sid("securityid")
            || (sid("subjectusersid") && fact.get("targetusersid").is_none())
    };
    if nobody(fact) || words::contains(&raw.message, "NULL SID") {
        fact.put("sid", "NULL SID");
        put_new(fact, "securityid", "NULL SID");
    }
}

/// Facts of other kinds that an event holds.
pub fn also(raw: &Raw, fact: &Fact, sink: &mut Sink<'_>) {
    if raw.id == 2080 {
        topology(raw, fact, sink);
    }
    if raw.data("ResultType").is_some() && raw.data("ResultName").is_some() {
        let mut probe =
            Fact::new("object", raw.at).with("type", "ProbeResult").text(&fact.text).time(fact.time);
        probe.server.clone_from(&fact.server);
        for (name, value) in &raw.named {
            probe.put(name.clone(), value);
        }
        sink.fact(probe);
    }
}

/// The domain controllers of event 2080, a line each: a name, its roles, and eight or nine numbers.
fn topology(raw: &Raw, event: &Fact, sink: &mut Sink<'_>) {
    let text = if raw.message.is_empty() { raw.unnamed.join("\n") } else { raw.message.clone() };
    let mut site = "";
    for line in text.lines().take(400) {
        if words::contains(line, "out-of-site") || words::contains(line, "out of site") {
            site = "out";
        } else if words::contains(line, "in-site") || words::contains(line, "in site") {
            site = "in";
        }
        if let Some(mut row) = topology_row(line) {
            row.at = raw.at;
            row.time = raw.time;
            row.server.clone_from(&event.server);
            row.put("site", site);
            sink.fact(row.text(line.trim()));
        }
    }
}

/// One row, if it is one.
pub fn topology_row(line: &str) -> Option<Fact> {
    const NAMES: [&str; 9] = [
        "enabled",
        "reachability",
        "synchronized",
        "gc",
        "pdc",
        "sacl",
        "criticaldata",
        "netlogon",
        "osversion",
    ];
    let cells: Vec<&str> = line.split(['\t', ' ', '|']).map(str::trim).filter(|c| !c.is_empty()).collect();
    let (server, rest) = cells.split_first()?;
    let (roles, numbers) = rest.split_first()?;
    let role = roles.len() <= 3 && roles.chars().all(|c| "CDG-".contains(c));
    let good = numbers.len() >= 8
        && numbers.len() <= 10
        && numbers.iter().all(|n| n.chars().all(|c| c.is_ascii_digit()));
    if !role || !good {
        return None;
    }
    let mut fact = Fact::new("object", crate::fact::Place::default())
        .with("type", "TopologyRow")
        .with("dc", *server)
        .with("roles", *roles);
    fact.put("controller", *server);
    for (name, value) in NAMES.iter().zip(numbers) {
        fact.put(*name, *value);
    }
    Some(fact)
}
