//! From what a client sees to what is the matter: this server knows more of itself than it tells strangers.
//!
//! A probe that fails at a door is compared with the state of the component, the service, the certificates, the store, and
//! with the leg to the server that holds the mailbox. The first that explains it gives its finding; what the client saw
//! goes with it as evidence.

use super::cause;
use super::ground::{Ground, Tried};
use crate::inner::board::State;
use crate::probe::{Fault, Target};
use std::time::Instant;
use waypost_base::explain::{Evidence, Finding, Leg, Party};
use waypost_health::Subject;
use waypost_trust::public::PublicService;

/// A leg that failed more than this long ago explains nothing of what fails now.
const RECENT_MILLIS: i64 = 30_000;

/// A finding that says more than the probe's own.
pub struct Better {
    pub finding: Finding,
    pub culprit: Option<Subject>,
    /// The hop behind, where it is the one that failed.
    pub leg: Option<Leg>,
    /// What it went through besides, where it is not known which part is at fault.
    pub through: Option<Subject>,
}

/// The door, or what it means that it is not open.
pub fn target(ground: &Ground, door: &'static str) -> Result<Target, Box<Tried>> {
    if let Some(target) = ground.target(door) {
        return Ok(target);
    }
    let here = ground.here();
    let fault = match ground.doors.is_waiting(door) {
        true => Fault::new(
            cause::STOPPED,
            format!("the service of {door} has been stopped; its listener is closed"),
        ),
        false => Fault::new(cause::LISTENER, format!("{door} is in the settings and no socket listens")),
    };
    let mut way = vec![Subject::listener(&here, door)];
    let mut culprit = Subject::listener(&here, door);
    if fault.cause == cause::STOPPED {
        // All doors of a service are stopped together.
        culprit = Subject::listener(&here, service_of(door));
        way.push(culprit.clone());
    }
    let (leg, finding) =
        ground.looked(&format!("{door}.open"), Party::new("listener", door), Instant::now(), Err(fault));
    let tried = Tried { culprit: Some(culprit), ..Tried::of(way) };
    Err(Box::new(tried.with((leg, finding))))
}

/// What stands behind a failure at a door; `None`: nothing that is known.
pub fn refine(ground: &Ground, door: &str, home: Option<&str>, leg: &Leg, fault: &Fault) -> Option<Better> {
    let seen = fault.text.as_str();
    let found = component(ground, door, seen)
        .or_else(|| refused(ground, door, home, fault))
        .or_else(|| overfull(ground, home, seen))
        .or_else(|| no_way(ground, door, fault))
        .or_else(|| home_hub(ground, door, home, seen))
        .or_else(|| certificate(ground, door, fault))
        .or_else(|| connections(ground, door, leg, fault))
        .or_else(|| behind(ground, home))
        .or_else(|| store(ground, home))
        .or_else(|| pressure(ground, door, fault))
        .or_else(|| mute(ground, door, leg, fault));
    let mut better = found?;
    let source = format!("{}: probe {}", ground.here(), leg.operation);
    better.finding.evidence.push(Evidence { source, time: Some(ground.now()), fact: seen.to_owned() });
    Some(better)
}

fn because(ground: &Ground, leg: &str, fault: Fault, culprit: Subject) -> Better {
    let leg = ground.leg(leg.to_owned(), Party::new("", ""));
    Better { finding: ground.finding(&leg, &fault), culprit: Some(culprit), leg: None, through: None }
}

/// The service that a door belongs to, by its short name.
pub fn service_of(door: &str) -> &str {
    match door {
        "imap" | "imaps" => "imap",
        "pop3" | "pop3s" => "pop",
        "smtp" | "submission" | "submissions" | "lmtp" => "transport",
        other => other,
    }
}

/// The component that a door belongs to.
pub fn component_of(door: &str) -> Option<&'static str> {
    match door {
        "smtp" | "submission" | "submissions" => Some("FrontendTransport"),
        "imap" | "imaps" => Some("ImapProxy"),
        "pop3" | "pop3s" => Some("PopProxy"),
        "lmtp" => Some("HubTransport"),
        _ => None,
    }
}

/// Taken out of service: the component of the door, or the hub that it stands on.
fn component(ground: &Ground, door: &str, seen: &str) -> Option<Better> {
    let (now, here) = (ground.snapshot(), ground.here());
    let own = now.server(&here)?;
    let smtp = matches!(door, "smtp" | "submission" | "submissions" | "lmtp");
    let names = component_of(door).into_iter().chain(smtp.then_some("HubTransport"));
    // What a responder has drained lets probes in.
    let settings = ground.services.settings.current();
    let takes = |name: &str| crate::run::drained_for_health(own, name, &settings);
    let (name, state) = names
        .filter_map(|n| own.components.get_key_value(n))
        .find(|(name, state)| *state != "Active" && !takes(name))?;
    let text = format!("{name} of {here} is {state} in the directory, changed {}", own.changed);
    let fault = Fault::new(cause::COMPONENT, text).seen(format!("a client at {door} sees: {seen}"));
    Some(because(ground, "component", fault, Subject::listener(&here, name)))
}

/// A submission goes on at the home of its account, whose hub may be out of service.
fn home_hub(ground: &Ground, door: &str, home: Option<&str>, seen: &str) -> Option<Better> {
    let home = home.filter(|_| door.starts_with("submission"))?;
    let now = ground.snapshot();
    let server = now.server(home)?;
    let state = server.components.get("HubTransport").filter(|state| *state != "Active")?;
    let text = format!("HubTransport of {home} is {state} in the directory, changed {}", server.changed);
    let fault = Fault::new(cause::COMPONENT, text).seen(format!("a client at {door} sees: {seen}"));
    Some(because(ground, "component", fault, Subject::listener(home, "HubTransport")))
}

/// The health mailbox may not sign in there: what its account is allowed is told with the account, not with each door.
fn refused(ground: &Ground, door: &str, home: Option<&str>, fault: &Fault) -> Option<Better> {
    if fault.cause != cause::SIGN_IN {
        return None;
    }
    let (home, account) = match home {
        Some(home) => (home.to_owned(), ground.mailbox_of(home)?),
        None => ground.any_mailbox()?,
    };
    let may = &account.protocols;
    let allowed = match service_of(door) {
        "imap" => may.imap,
        "pop" => may.pop,
        _ => may.submission,
    };
    let text = match (account.enabled, allowed) {
        (false, _) => format!("{} is switched off", account.name),
        (true, false) => format!("{} may not use {} (Get-CASMailbox)", account.name, service_of(door)),
        (true, true) => return None,
    };
    let cause = if account.enabled { cause::REFUSED } else { cause::NO_MAILBOX };
    Some(because(ground, "sign-in", Fault::new(cause, text), Subject::Directory(home)))
}

/// No mail goes into the health mailbox any more: that is told with the mailbox, too.
fn overfull(ground: &Ground, home: Option<&str>, seen: &str) -> Option<Better> {
    if !["OVERQUOTA", "OverQuota", " 4.2.2", " 5.2.2"].iter().any(|words| seen.contains(words)) {
        return None;
    }
    let home =
        home.map_or_else(|| ground.any_mailbox().map(|(home, _)| home), |home| Some(home.to_owned()))?;
    let fault =
        Fault::new(cause::NO_MAILBOX, format!("the health mailbox of {home} is full: its quota is used up"));
    Some(because(ground, "quota", fault, Subject::Directory(home)))
}

/// Whoever may sign in by nothing may do so at no door of the service.
fn no_way(ground: &Ground, door: &str, fault: &Fault) -> Option<Better> {
    let mechanisms = &ground.services.settings.current().sign_in.mechanisms;
    if fault.cause != cause::NO_WAY || !mechanisms.is_empty() {
        return None;
    }
    let fault = Fault::new(cause::NO_WAY, "sign_in.mechanisms is empty in the settings");
    Some(because(ground, "sign-in", fault, Subject::listener(&ground.here(), service_of(door))))
}

pub fn public_service(door: &str) -> Option<PublicService> {
    PublicService::of_door(door)
}

/// TLS that fails, or is not there, for what is wrong with the certificate.
fn certificate(ground: &Ground, door: &str, fault: &Fault) -> Option<Better> {
    if fault.cause != cause::NO_TLS && fault.cause != cause::NO_WAY && fault.cause != cause::ANSWER {
        return None;
    }
    let public = &ground.services.public;
    let service = public_service(door)?;
    let problems = public.problems(service);
    if public.is_usable(service) {
        return None;
    }
    let problem = problems.iter().find(|p| p.refuses)?;
    let culprit = super::trust::blamed(ground, service, problem)
        .map_or_else(|| Subject::listener(&ground.here(), door), Subject::Certificate);
    Some(Better { finding: problem.finding(ground.now()), culprit: Some(culprit), leg: None, through: None })
}

/// Closed at once: the limit of connections.
fn connections(ground: &Ground, door: &str, leg: &Leg, fault: &Fault) -> Option<Better> {
    let greeted = leg.steps.iter().any(|s| s.name == "greeting" && s.note.is_none());
    // Where TLS begins at once, what is closed at once looks like a handshake that fails.
    let closed = ["the connection broke", "it takes no connection", "handshake eof", "Connection reset"]
        .iter()
        .any(|words| fault.text.contains(words));
    if greeted || !closed {
        return None;
    }
    let settings = ground.services.settings.current();
    let (most, of_one) = crate::run::settings::connections(&settings, door);
    let now = ground.doors.guests(&[door]);
    let full = now >= most || (of_one > 0 && now >= of_one);
    if !full {
        return None;
    }
    let here = ground.here();
    let text = format!(
        "{now} connections at {door}; the limits are {most}, and {of_one} from one address (0: none)"
    );
    let fault = Fault::new(cause::CONNECTIONS, text);
    // Both doors of a protocol share the limit.
    Some(because(ground, "connections", fault, Subject::listener(&here, service_of(door))))
}

/// The leg to the server that holds the mailbox, or to the hub, as the board has it.
fn behind(ground: &Ground, home: Option<&str>) -> Option<Better> {
    let here = ground.here();
    let now = ground.now();
    let fresh = |state: &State| now.since(state.leg.started).abs() < RECENT_MILLIS;
    let rows = ground.services.inside.board.rows();
    let failed = rows.into_iter().filter(|(key, state)| {
        let to = match home {
            Some(home) => key.to == home,
            None => matches!(key.service.as_str(), "smtp" | "hub" | "submission"),
        };
        let bad = matches!(state.leg.outcome, waypost_base::explain::Outcome::Failed { .. });
        key.from == here && to && bad && fresh(state)
    });
    let (key, state) = failed.max_by_key(|(_, state)| state.leg.started)?;
    let finding = state.finding.clone()?;
    // That somebody cannot be reached does not say why: other servers may know more.
    let definite = waypost_health::cause::rank(finding.cause.code) >= 2;
    let keys = || finding.cause.code.starts_with("KRB-").then(|| Subject::Kerberos(key.to.clone()));
    let culprit = super::legs::policy(&finding, &key.service)
        .or_else(|| super::legs::address(&finding, &state.leg))
        .or_else(|| super::trust::kdc_at_fault(ground, &finding, &key.to))
        .or_else(keys)
        .or_else(|| definite.then(|| Subject::leg(&key.from, &key.to)));
    let through = culprit.is_none().then(|| Subject::leg(&key.from, &key.to));
    Some(Better { finding, culprit, leg: Some(state.leg), through })
}

fn store(ground: &Ground, home: Option<&str>) -> Option<Better> {
    let here = ground.here();
    if home.is_some_and(|home| home != here) {
        return None;
    }
    let fault = store_fault(&ground.services.organisation.store.health())?;
    Some(because(ground, "store", fault, Subject::Store(here)))
}

/// What the store says of itself.
pub fn store_fault(health: &waypost_store::Health) -> Option<Fault> {
    if let Some(why) = &health.read_only {
        return Some(Fault::new(cause::STORE_READ_ONLY, format!("the store takes no changes: {why}")));
    }
    if let Some(why) = &health.full {
        return Some(Fault::new(cause::STORE_FULL, format!("the store does not write: {why}")));
    }
    None
}

/// Mail that is refused, or taken slowly, for what is used up.
fn pressure(ground: &Ground, door: &str, fault: &Fault) -> Option<Better> {
    use waypost_queue::pressure::Level;
    let refused = fault.text.contains("4.3.1") || fault.text.contains("resources");
    let slow = || {
        let late = fault.cause == cause::TIMEOUT && service_of(door) == "transport";
        late && ground.services.works.hub.pressure().level() != Level::Normal
    };
    if !refused && !slow() {
        return None;
    }
    let fault = pressure_fault(ground)?;
    Some(because(ground, "back pressure", fault, Subject::Queue(ground.here())))
}

/// Which resource is used up.
pub fn pressure_fault(ground: &Ground) -> Option<Fault> {
    use waypost_queue::pressure::{Level, Resource};
    let meters = ground.services.works.hub.pressure();
    let worst = meters.meters().iter().filter(|m| m.level != Level::Normal).max_by_key(|m| m.level)?;
    let mark = match worst.level {
        Level::High => worst.marks.medium_to_high,
        _ => worst.marks.normal_to_medium,
    };
    // Below the usual mark it is the mark that refuses mail, not the disk.
    let usual = waypost_queue::pressure::Marks::of(worst.resource);
    let cause = match worst.resource {
        _ if worst.current < usual.medium_to_normal => cause::BACK_PRESSURE,
        Resource::UsedDiskSpace => cause::DISK_FULL,
        Resource::PrivateBytes | Resource::SystemMemory => cause::MEMORY,
        _ => cause::BACK_PRESSURE,
    };
    let mut text = format!("{} is at {} ({})", worst.resource, worst.current, worst.level);
    if worst.resource.refuses() {
        text.push_str(&format!("; mail is refused above {mark} (section back_pressure of the settings)"));
    }
    Some(Fault::new(cause, text))
}

/// Connected, and then nothing.
fn mute(ground: &Ground, door: &str, leg: &Leg, fault: &Fault) -> Option<Better> {
    let spoken = leg.steps.iter().any(|s| matches!(s.name.as_ref(), "greeting" | "tls") && s.note.is_none());
    if spoken || fault.cause != cause::TIMEOUT || leg.steps.is_empty() {
        return None;
    }
    let fault = Fault::new(cause::MUTE, fault.text.clone());
    Some(because(ground, "mute", fault, Subject::listener(&ground.here(), door)))
}
