//! Checks for causes of the area `services`: component states and who holds them, services and their start types.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::{Fact, server_name};
use crate::words;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub const ALL: &[(&str, Check)] = &[
    ("imap_pop_inactive", imap_pop_inactive),
    ("imap_pop_inactive_contested", imap_pop_inactive_contested),
    ("hub_inactive", hub_inactive),
    ("hub_inactive_contested", hub_inactive_contested),
    ("server_in_maintenance", server_in_maintenance),
    ("component_contested", component_contested),
    ("set_active_stays_inactive", set_active_stays_inactive),
    ("maintenance_announced", maintenance_announced),
    ("services_disabled", services_disabled),
    ("imap_pop_stopped", imap_pop_stopped),
    ("imap_pop_stopped_be_only", imap_pop_stopped_be_only),
];

/// What is known of one component of one server.
#[derive(Default)]
struct Component<'a> {
    /// The effective state, as last seen.
    state: Option<(bool, &'a Fact)>,
    /// By requester and place (local, remote): whether it says active.
    entries: BTreeMap<(String, String), (bool, &'a Fact)>,
}

impl Component<'_> {
    fn inactive(&self) -> bool {
        match self.state {
            Some((active, _)) => !active,
            None => self.entries.values().any(|(active, _)| !active),
        }
    }

    /// Held inactive by one, while another (or the other place) says active.
    fn contested(&self) -> bool {
        let says = |wanted: bool| self.entries.values().any(|(active, _)| *active == wanted);
        self.inactive() && says(true) && says(false)
    }

    /// Requesters that hold it, for people.
    fn holders(&self) -> String {
        let mut names: Vec<&str> = self
            .entries
            .iter()
            .filter(|(_, (active, _))| !active)
            .map(|((who, _), _)| who.as_str())
            .collect();
        names.dedup();
        names.join(", ")
    }

    fn facts(&self) -> Vec<&Fact> {
        let state = self.state.iter().map(|(_, f)| *f);
        state.chain(self.entries.values().map(|(_, f)| *f)).collect()
    }
}

static ENTRY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b([a-z][a-z0-9_]{2,40})["']?\s*(?:[:=/,;>|(-]|\bis\b|\s)+\s*(?:state["']?\W+)?(inactive|active|draining)\b"#).ok()
});

/// Words before a state that are no requesters.
const NOT_REQUESTERS: [&str; 9] =
    ["state", "component", "is", "and", "requester", "localstates", "remotestates", "server", "the"];

fn active(state: &str) -> Option<bool> {
    match state.trim().to_ascii_lowercase().as_str() {
        "active" | "aktiv" => Some(true),
        "inactive" | "draining" | "inaktiv" => Some(false),
        _ => None,
    }
}

/// Components by server and name.
fn components(case: &Case) -> BTreeMap<(String, String), Component<'_>> {
    let mut found: BTreeMap<(String, String), Component<'_>> = BTreeMap::new();
    for fact in case.of("object") {
        let Some(name) = fact.get("component") else { continue };
        let server =
            ["serverfqdn", "server", "identity"].iter().find_map(|n| fact.get(n)).and_then(server_name);
        let server = server.or_else(|| fact.server.clone()).map(|s| s.to_string()).unwrap_or_default();
        let component = found.entry((server, name.to_ascii_lowercase())).or_default();
        let requester = fact.get("requester").map(str::to_owned);
        match (requester, fact.get("state").and_then(active)) {
            (Some(who), Some(is)) => {
                let place = format!("{}{}", fact.at.file, fact.get("place").unwrap_or_default());
                component.entries.insert((who, place), (is, fact));
            }
            (None, Some(is)) => component.state = Some((is, fact)),
            _ => {}
        }
        for place in ["localstates", "remotestates"] {
            for (who, is) in fact.get(place).map(entries).unwrap_or_default() {
                component.entries.insert((who, place.to_owned()), (is, fact));
            }
        }
    }
    for fact in case.of("registry") {
        if let Some((component, is)) = registry_state(fact) {
            let server = fact.server.as_deref().unwrap_or_default().to_owned();
            let who = fact.get("name").unwrap_or_default().to_owned();
            let entry = found.entry((server, component)).or_default();
            entry.entries.insert((who, "registry".to_owned()), (is, fact));
        }
    }
    found
}

fn entries(list: &str) -> Vec<(String, bool)> {
    let Some(regex) = ENTRY.as_ref() else { return Vec::new() };
    let found = regex
        .captures_iter(list)
        .filter_map(|c| Some((c.get(1)?.as_str().to_owned(), active(c.get(2)?.as_str())?)));
    found.filter(|(who, _)| !NOT_REQUESTERS.contains(&who.to_ascii_lowercase().as_str())).collect()
}

/// `…\ServerComponentStates\HubTransport`, `HealthAPI`, `1:0:6358…`: the second number is the state, 1 for active.
fn registry_state(fact: &Fact) -> Option<(String, bool)> {
    let key = fact.get("key")?.to_ascii_lowercase();
    let component = key.split("servercomponentstates\\").nth(1)?.split('\\').next()?.trim().to_owned();
    let state = fact.get("data")?.split(':').nth(1)?.trim().to_owned();
    match state.as_str() {
        "1" => Some((component, true)),
        "0" | "2" => Some((component, false)),
        other => active(other).map(|is| (component, is)),
    }
}

fn inactive_hits(case: &Case, names: &[&str], contested: bool) -> Vec<Hit> {
    let mut hits = Vec::new();
    for ((server, name), component) in components(case) {
        if !names.contains(&name.as_str()) || !component.inactive() || component.contested() != contested {
            continue;
        }
        let holders = component.holders();
        let by = if holders.is_empty() { String::new() } else { format!(", held by {holders}") };
        hits.push(Hit::of(format!("{name} is Inactive on {server}{by}"), &component.facts()));
    }
    hits
}

fn imap_pop_inactive(case: &Case) -> Vec<Hit> {
    inactive_hits(case, &["imapproxy", "popproxy"], false)
}

fn imap_pop_inactive_contested(case: &Case) -> Vec<Hit> {
    inactive_hits(case, &["imapproxy", "popproxy"], true)
}

fn hub_inactive(case: &Case) -> Vec<Hit> {
    inactive_hits(case, &["hubtransport", "frontendtransport"], false)
}

fn hub_inactive_contested(case: &Case) -> Vec<Hit> {
    inactive_hits(case, &["hubtransport", "frontendtransport"], true)
}

/// The whole server is out of service, as somebody wished.
fn server_in_maintenance(case: &Case) -> Vec<Hit> {
    // Where users wait for their mail meanwhile, nobody wishes it any more.
    const COMPLAINTS: [&str; 12] = [
        "Drafts",
        "Outbox",
        "Entwürfe",
        "Postausgang",
        "Brouillons",
        "Boîte d'envoi",
        "Borradores",
        "Bandeja de salida",
        "forgot",
        "vergessen",
        "oublié",
        "weeks ago",
    ];
    if case.of("text").any(|fact| COMPLAINTS.iter().any(|phrase| words::contains(&fact.text, phrase))) {
        return Vec::new();
    }
    let mut hits = inactive_hits(case, &["serverwideoffline"], false);
    hits.extend(inactive_hits(case, &["serverwideoffline"], true));
    hits
}

fn component_contested(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for ((server, name), component) in components(case) {
        if component.contested() {
            let says = format!(
                "{name} on {server}: {} holds it Inactive, another entry says Active",
                component.holders()
            );
            hits.push(Hit::of(says, &component.facts()));
        }
    }
    hits
}

static SET_ACTIVE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)Set-ServerComponentState\b[^\n]*?-State\s+\W?Active\b").ok());
static SET_COMPONENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)-Component\s+\W?([A-Za-z0-9]+)").ok());

/// Somebody set a component active, and it is inactive afterwards.
fn set_active_stays_inactive(case: &Case) -> Vec<Hit> {
    let (Some(set), Some(which)) = (SET_ACTIVE.as_ref(), SET_COMPONENT.as_ref()) else { return Vec::new() };
    let components = components(case);
    let mut hits = Vec::new();
    for fact in case.all().filter(|f| f.mentions("Set-ServerComponentState")) {
        let commands = std::iter::once(&*fact.text).chain(fact.fields.iter().map(|(_, v)| &**v));
        let Some(command) = commands.into_iter().find(|t| set.is_match(t)) else { continue };
        let Some(name) =
            which.captures(command).and_then(|c| c.get(1)).map(|m| m.as_str().to_ascii_lowercase())
        else {
            continue;
        };
        for ((server, component_name), component) in &components {
            let Some((is, seen)) = component.state else { continue };
            // A state shown above the command in the same file is from before it.
            let before = seen.at.file == fact.at.file && seen.at.line < fact.at.line;
            if *component_name == name && !is && !before {
                hits.push(Hit::of(
                    format!("{name} was set Active on {server} and is Inactive"),
                    &[fact, seen],
                ));
            }
        }
    }
    hits
}

/// Maintenance is going on, as the evidence says.
fn maintenance_announced(case: &Case) -> Vec<Hit> {
    let over = case.of("text").any(|f| {
        [
            "maintenance was finished",
            "after maintenance",
            "after the maintenance",
            "maintenance is over",
            "maintenance ended",
            "since the maintenance",
            "since maintenance",
            "last maintenance",
            "nach der Wartung",
            "seit der Wartung",
            "Wartung beendet",
            "après la maintenance",
            "depuis la maintenance",
            "weeks ago",
            "was patched",
            "were patched",
            "back in service",
            "finished",
        ]
        .iter()
        .any(|p| f.mentions(p))
    });
    if over {
        return Vec::new();
    }
    server_in_maintenance(case)
}

/// A service as any listing shows it.
struct Service<'a> {
    name: String,
    server: String,
    running: Option<bool>,
    disabled: bool,
    manual: bool,
    fact: &'a Fact,
}

fn services(case: &Case) -> Vec<Service<'_>> {
    let mut found: BTreeMap<(String, String), Service<'_>> = BTreeMap::new();
    for fact in case.all().filter(|f| matches!(&*f.kind, "object" | "service" | "sc" | "registry")) {
        if let Some(service) = service(fact) {
            let key = (service.server.clone(), service.name.clone());
            match found.get_mut(&key) {
                Some(known) => {
                    known.running = service.running.or(known.running);
                    known.disabled |= service.disabled;
                    known.manual |= service.manual;
                }
                None => {
                    found.insert(key, service);
                }
            }
        }
    }
    found.into_values().collect()
}

fn service(fact: &Fact) -> Option<Service<'_>> {
    let server = fact.server.as_deref().unwrap_or_default().to_owned();
    if fact.kind == "registry" {
        let key = fact.get("key")?.to_ascii_lowercase();
        let name = key.split("\\services\\").nth(1)?.split('\\').next()?.to_owned();
        let start =
            fact.is("name", "Start").then(|| fact.number("number").or_else(|| fact.number("data")))??;
        return Some(Service {
            name,
            server,
            running: None,
            disabled: start == 4.0,
            manual: start == 3.0,
            fact,
        });
    }
    let name = ["servicename", "name", "service"].iter().find_map(|n| fact.get(n))?.to_ascii_lowercase();
    let start = ["starttype", "startmode", "startuptype", "start"]
        .iter()
        .find_map(|n| fact.get(n))
        .unwrap_or_default();
    let state = ["status", "state"].iter().find_map(|n| fact.get(n)).unwrap_or_default().to_ascii_lowercase();
    let has = |words: &[&str], text: &str| words.iter().any(|w| words::contains(text, w));
    let running = if has(&["running", "wird ausgeführt", "en cours"], &state) || state == "4" {
        Some(true)
    } else if has(&["stopped", "beendet", "arrêt"], &state) || state == "1" {
        Some(false)
    } else {
        None
    };
    if running.is_none() && start.is_empty() {
        return None;
    }
    let disabled = has(&["disabled", "deaktiviert", "désactivé"], start);
    let manual = has(&["manual", "manuell", "manuel", "demand"], start);
    Some(Service { name, server, running, disabled, manual, fact })
}

/// Services that nothing needs, and which are disabled on sound servers too.
const MAY_BE_DISABLED: [&str; 10] = [
    "msexchangenotificationsbroker",
    "msexchangeimap4",
    "msexchangeimap4be",
    "msexchangepop3",
    "msexchangepop3be",
    "msexchangeum",
    "msexchangeumcr",
    "msexchangemonitoring",
    "msexchangemonitoringcorrelation",
    "msexchangeserverextensionforwindowsserverbackup",
];
/// What Exchange needs besides its own services.
const NEEDED: [&str; 7] =
    ["w3svc", "iisadmin", "winrm", "winmgmt", "fms", "hostcontrollerservice", "apphostsvc"];

fn services_disabled(case: &Case) -> Vec<Hit> {
    let counts = |s: &Service<'_>| {
        let ours = s.name.starts_with("msexchange") && !MAY_BE_DISABLED.contains(&s.name.as_str());
        s.disabled && (ours || NEEDED.contains(&s.name.as_str()))
    };
    let disabled: Vec<Service<'_>> = services(case).into_iter().filter(counts).collect();
    let names: Vec<&str> = disabled.iter().map(|s| s.name.as_str()).collect();
    match disabled.first() {
        Some(_) => {
            let facts: Vec<&Fact> = disabled.iter().map(|s| s.fact).collect();
            vec![Hit::of(format!("Disabled: {}", names.join(", ")), &facts)]
        }
        None => Vec::new(),
    }
}

fn is_imap_pop(name: &str) -> bool {
    matches!(
        name,
        "msexchangeimap4"
            | "msexchangeimap4be"
            | "msexchangepop3"
            | "msexchangepop3be"
            | "microsoft exchange imap4"
            | "microsoft exchange imap4 backend"
            | "microsoft exchange pop3"
            | "microsoft exchange pop3 backend"
    )
}

/// IMAP or POP services are stopped, not disabled.
fn imap_pop_stopped(case: &Case) -> Vec<Hit> {
    let stopped = services(case)
        .into_iter()
        .filter(|s| is_imap_pop(&s.name) && s.running == Some(false) && !s.disabled);
    stopped
        .map(|s| {
            let how = if s.manual { ", start type Manual" } else { "" };
            Hit::of(format!("{} is stopped{how}", s.name), &[s.fact])
        })
        .collect()
}

/// One of a pair runs and the other does not: somebody wanted the service.
fn imap_pop_stopped_be_only(case: &Case) -> Vec<Hit> {
    let all = services(case);
    let mut hits = Vec::new();
    for one in all.iter().filter(|s| is_imap_pop(&s.name) && s.running == Some(false)) {
        let other = match one.name.strip_suffix("be") {
            Some(front) => front.to_owned(),
            None => format!("{}be", one.name),
        };
        if all.iter().any(|s| s.name == other && s.server == one.server && s.running == Some(true)) {
            hits.push(Hit::of(format!("{} is stopped while {other} runs", one.name), &[one.fact]));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn case(facts: Vec<Fact>) -> Case {
        let mut case = Case::new(Timestamp(0));
        case.file_named("a");
        for (line, mut fact) in (1..).zip(facts) {
            fact.at.line = line;
            case.add(fact);
        }
        case
    }

    fn state(component: &str, state: &str, local: &str) -> Fact {
        let fact = Fact::new("object", Place::default())
            .with("type", "ServerComponentState")
            .with("ServerFqdn", "ex1.corp.example");
        fact.with("Component", component).with("State", state).with("LocalStates", local)
    }

    fn service(name: &str, status: &str, start: &str) -> Fact {
        Fact::new("object", Place::default())
            .with("type", "Service")
            .with("Name", name)
            .with("Status", status)
            .with("StartType", start)
    }

    #[test]
    fn who_holds_a_component() {
        let sole = case(vec![state("ImapProxy", "Inactive", "{EX1:HealthAPI:Inactive}")]);
        assert_eq!((imap_pop_inactive(&sole).len(), component_contested(&sole).len()), (1, 0));
        let two =
            case(vec![state("HubTransport", "Inactive", "{1:HealthAPI:Inactive, 1:Maintenance:Active}")]);
        assert_eq!(
            (hub_inactive(&two).len(), hub_inactive_contested(&two).len(), component_contested(&two).len()),
            (0, 1, 1)
        );
        let good = case(vec![state("HubTransport", "Active", "{1:Maintenance:Active}")]);
        assert!(hub_inactive(&good).is_empty() && component_contested(&good).is_empty());
        let registry = Fact::new("registry", Place::default())
            .with("key", r"HKLM\SOFTWARE\Microsoft\ExchangeServer\v15\ServerComponentStates\ImapProxy")
            .with("name", "HealthAPI")
            .with("data", "1:0:635886923023921122");
        assert_eq!(imap_pop_inactive(&case(vec![registry])).len(), 1);
    }

    #[test]
    fn set_and_still_inactive() {
        let command =
            "Set-ServerComponentState EX1 -Component ImapProxy -State Active -Requester Maintenance";
        let text = Fact::new("text", Place::default()).text(command);
        let after = case(vec![text.clone(), state("ImapProxy", "Inactive", "")]);
        assert_eq!(set_active_stays_inactive(&after).len(), 1);
        let before = case(vec![state("ImapProxy", "Inactive", ""), text]);
        assert!(set_active_stays_inactive(&before).is_empty());
    }

    #[test]
    fn start_types() {
        let broken = case(vec![
            service("MSExchangeIS", "Stopped", "Disabled"),
            service("MSExchangeIMAP4", "Stopped", "Manual"),
        ]);
        assert_eq!((services_disabled(&broken).len(), imap_pop_stopped(&broken).len()), (1, 1));
        let sound = case(vec![
            service("MSExchangeIS", "Running", "Automatic"),
            service("MSExchangeNotificationsBroker", "Stopped", "Disabled"),
        ]);
        assert!(services_disabled(&sound).is_empty() && imap_pop_stopped(&sound).is_empty());
        let half = case(vec![
            service("MSExchangeIMAP4", "Running", ""),
            service("MSExchangeIMAP4BE", "Stopped", ""),
        ]);
        assert_eq!(imap_pop_stopped_be_only(&half).len(), 1);
    }
}
