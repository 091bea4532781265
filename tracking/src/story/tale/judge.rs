//! From what is known to the tale: what follows, what is suspected, what can be done.

use super::activity::{Silence, silence};
use super::failures::{Group, groups, service_of};
use super::text::{clock, span, within};
use super::{About, Change, Conclusion, Known, Suspicion, Tale};
use crate::EventId;
use crate::legs::PastLeg;
use crate::protocol::Line;
use crate::story::seen;
use std::collections::BTreeSet;
use waypost_base::Timestamp;
use waypost_base::explain::{Confidence, Evidence};

/// A change this long before a fault is near; up to the second it is still looked at.
const NEAR_MILLIS: i64 = 10 * 60_000;
const LOOKED_BACK_MILLIS: i64 = 2 * 3_600_000;
/// Told at most.
const SUSPECTED_MAX: usize = 5;
const GROUPS_MAX: usize = 12;
const SEEN_MAX: usize = 400;
const REMEDIES_MAX: usize = 10;

/// Tells it.
pub fn tell(known: &Known) -> Tale {
    let mut tale = Tale { title: title(known), ..Tale::default() };
    let groups = groups(known);
    summary(known, &groups, &mut tale);
    let broke = follows(known, &groups, &mut tale);
    certificates(known, &groups, broke, &mut tale);
    suspect(known, &groups, broke, &mut tale);
    see(known, &mut tale);
    tale.not_known.extend(known.not_looked.iter().cloned());
    if let (About::Time(_), true, true) = (&known.about, tale.follows.is_empty(), tale.suspected.is_empty()) {
        tale.not_known.push(
            "Nothing out of the ordinary is in what could be read of this time. What happened between a client and the network's edge \
             leaves no trace here; `waypost diagnose` looks at the server as it is now."
                .into(),
        );
    }
    let mut known_steps = BTreeSet::new();
    tale.remedy.retain(|step| known_steps.insert(step.clone()));
    tale.remedy.truncate(REMEDIES_MAX);
    tale
}

fn title(known: &Known) -> String {
    match &known.about {
        About::Time(at) => {
            let span = span(known.from, known.to);
            at.map_or_else(|| format!("The time {span}"), |at| format!("{} (looked at {span})", clock(at)))
        }
        About::Session(id) => format!("Session {id}"),
        About::Address(address) => format!("{address}, {}", span(known.from, known.to)),
        About::Server(server) => format!("Server {server}, {}", span(known.from, known.to)),
        About::Probe(probe) => format!("Probe {probe}, {}", span(known.from, known.to)),
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("one {what}") } else { format!("{n} {what}s") }
}

fn summary(known: &Known, groups: &[Group], tale: &mut Tale) {
    match &known.about {
        About::Session(_) => tale.summary.extend(session(&known.lines, &known.legs)),
        About::Address(address) => tale.summary.extend(address_summary(known, address)),
        _ => {
            let events = |id: EventId| known.events.iter().filter(|r| r.is(id)).count();
            let bad: usize = groups.iter().map(|g| g.count).sum();
            tale.summary.push(format!(
                "{} received, {} and {}; {}; {}.",
                count(events(EventId::Receive), "message"),
                count(events(EventId::Deliver) + events(EventId::Send), "delivery")
                    .replace("deliverys", "deliveries"),
                count(known.legs.len(), "leg"),
                count(known.changes.len(), "change"),
                if bad == 0 { "nothing that failed".to_owned() } else { count(bad, "failure") }
            ));
        }
    }
}

fn session(lines: &[Line], legs: &[PastLeg]) -> Vec<String> {
    let mut told = Vec::new();
    if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
        let user = lines.iter().rev().map(|l| l.user.as_str()).find(|u| !u.is_empty());
        let user = user.map_or("nobody signed in".to_owned(), |u| format!("signed in as {u}"));
        told.push(format!(
            "{} from {} at {}: {user}, {} over {} s, until {}.",
            first.log.name().replace(" protocol log", " session"),
            first.peer,
            first.local,
            count(lines.len(), "line"),
            last.time.since(first.time) / 1000,
            clock(last.time)
        ));
        if let Some(bad) = lines.iter().rev().find(|l| l.is_bad()) {
            told.push(format!("The last thing that was refused: {}", bad.shown()));
        }
    }
    let messages: BTreeSet<&str> =
        legs.iter().map(|l| l.message_id.as_str()).filter(|m| !m.is_empty()).collect();
    if !messages.is_empty() {
        let shown: Vec<String> = messages.iter().take(5).map(|m| format!("<{m}>")).collect();
        told.push(format!("It carried {}: {}.", count(messages.len(), "message"), shown.join(", ")));
    }
    told
}

fn address_summary(known: &Known, address: &str) -> Vec<String> {
    let mine = |a: &str| {
        a.eq_ignore_ascii_case(address) || known.addresses.iter().any(|own| own.eq_ignore_ascii_case(a))
    };
    let sent = known.events.iter().filter(|r| r.is(EventId::Receive) && mine(&r.sender)).count();
    let to = |id: EventId| {
        known.events.iter().filter(|r| r.is(id) && r.recipients.iter().any(|a| mine(a))).count()
    };
    let sessions: BTreeSet<&str> =
        known.lines.iter().filter(|l| !l.user.is_empty()).map(|l| l.session.as_str()).collect();
    let whose = if known.addresses.len() > 1 { "the account's addresses" } else { "this address" };
    vec![format!(
        "{} from {whose}, {} to it delivered or sent on, {} failed; {} of its user.",
        count(sent, "message"),
        to(EventId::Deliver) + to(EventId::Send),
        to(EventId::Fail),
        count(sessions.len(), "session")
    )]
}

/// What follows; gives the time at which something broke, where one is seen: the nearest to the moment that was asked about,
/// else the first.
fn follows(known: &Known, groups: &[Group], tale: &mut Tale) -> Option<Timestamp> {
    let mut breaks: Vec<Timestamp> = Vec::new();
    if matches!(known.about, About::Time(_) | About::Server(_)) {
        for (service, times) in &known.activity {
            let Some(found) = silence(times, known.to.min(known.now)) else { continue };
            breaks.push(found.from);
            tale.follows.push(quiet(service, found));
        }
    }
    // What broke first, and of that what has a name and happened most.
    let mut shown: Vec<&Group> = groups.iter().collect();
    shown.sort_by_key(|g| (!g.is_break(), g.code.is_empty(), std::cmp::Reverse(g.count)));
    for group in shown.iter().take(GROUPS_MAX) {
        tale.follows.push(told(group));
        for step in &group.remedy {
            tale.remedy.push(step.clone());
        }
    }
    breaks.extend(groups.iter().filter(|g| g.is_break()).map(|g| g.first));
    for standing in &known.standing {
        let since = standing.since.map(|s| format!(" since {}", clock(s))).unwrap_or_default();
        let code = if standing.code.is_empty() { String::new() } else { format!("[{}] ", standing.code) };
        let text = format!("At this moment{since}: {code}{}", standing.text);
        tale.follows.push(Conclusion { confidence: standing.confidence, text });
        tale.remedy.extend(standing.remedy.iter().cloned());
    }
    match known.about {
        About::Time(Some(at)) => breaks.into_iter().min_by_key(|b| b.since(at).abs()),
        _ => breaks.into_iter().min(),
    }
}

fn quiet(service: &str, found: Silence) -> Conclusion {
    let usual = (found.usual / 1000).max(1);
    let until =
        found.to.map_or("to the end of what was looked at".to_owned(), |to| format!("to {}", clock(to)));
    Conclusion {
        confidence: Confidence::Likely,
        text: format!(
            "{service} stood still from {} {until}: nothing is in its log, while before there was something about every {usual} s.",
            clock(found.from)
        ),
    }
}

fn told(group: &Group) -> Conclusion {
    let code = if group.code.is_empty() { String::new() } else { format!("[{}] ", group.code) };
    let between = if group.between.is_empty() { String::new() } else { format!(" ({})", group.between) };
    let when = if group.count == 1 {
        format!("at {}", clock(group.first))
    } else {
        format!("{} times from {} to {}", group.count, clock(group.first), clock(group.last))
    };
    Conclusion {
        confidence: Confidence::Certain,
        text: format!(
            "{}{between} {} {when}: {code}{}",
            group.service,
            if group.refusal { "refused clients" } else { "failed" },
            group.text
        ),
    }
}

/// Bound certificates whose time ended, or began, around then.
fn certificates(known: &Known, groups: &[Group], broke: Option<Timestamp>, tale: &mut Tale) {
    let touched =
        |services: &[String]| groups.iter().any(|g| services.iter().any(|s| service_of(s) == g.service));
    for certificate in &known.certificates {
        let name =
            format!("{} ({})", certificate.subject, certificate.thumbprint.get(..8).unwrap_or_default());
        let bound = certificate.services.join(", ");
        if certificate.not_after <= known.to {
            let near = broke.is_some_and(|b| within(certificate.not_after, b, NEAR_MILLIS));
            let confidence =
                if near || touched(&certificate.services) { Confidence::Certain } else { Confidence::Likely };
            let text = format!(
                "The certificate {name}, bound to {bound}, ended at {}: clients that check certificates do not connect.",
                clock(certificate.not_after)
            );
            tale.follows.push(Conclusion { confidence, text });
            tale.remedy
                .push("Get-ExchangeCertificate | Format-List Thumbprint,Services,NotAfter,Status".into());
            tale.remedy.push(
                "Import-ExchangeCertificate, then Enable-ExchangeCertificate -Thumbprint … -Services …"
                    .into(),
            );
        } else if certificate.not_before > known.from && certificate.not_before <= known.to {
            tale.suspected.push(Suspicion {
                confidence: Confidence::Possible,
                text: format!(
                    "The certificate {name}, bound to {bound}, is valid from {} only.",
                    clock(certificate.not_before)
                ),
                test: "Compare the clocks of clients and server; Test-ImapConnectivity".into(),
            });
        }
    }
}

/// Changes that came before.
fn suspect(known: &Known, groups: &[Group], broke: Option<Timestamp>, tale: &mut Tale) {
    let moment = match (&known.about, broke) {
        (About::Time(Some(at)), Some(broke)) if within(*at, broke, LOOKED_BACK_MILLIS) => broke,
        (About::Time(Some(at)), _) => *at,
        (_, Some(broke)) => broke,
        (_, None) => known.to,
    };
    // Where nobody asks about a moment and nothing is wrong, a change is no suspect: only what takes something out is told.
    let quiet = broke.is_none()
        && groups.is_empty()
        && tale.follows.is_empty()
        && !matches!(known.about, About::Time(Some(_)));
    let services: BTreeSet<&str> = groups.iter().map(|g| g.service.as_str()).collect();
    let mut near: Vec<(i64, &Change)> = known
        .changes
        .iter()
        // The clocks of logs and histories are the same; a change and its first fault may bear the same second.
        .map(|c| (moment.since(c.time), c))
        .filter(|(before, c)| (-NEAR_MILLIS..=LOOKED_BACK_MILLIS).contains(before) && c.failed.is_none())
        .collect();
    let fits = |c: &Change| c.services.iter().any(|s| services.contains(service_of(s).as_str()));
    // What came after the fault is not its reason; what takes services out may be the next one.
    near.retain(|(before, c)| (*before >= -1_000 && !quiet) || c.stops);
    near.sort_by_key(|(before, c)| (!(fits(c) || c.stops), before.abs()));
    for (before, change) in near.into_iter().take(SUSPECTED_MAX) {
        let likely = broke.is_some() && before.abs() <= NEAR_MILLIS && (fits(change) || change.stops);
        tale.suspected.push(Suspicion {
            confidence: if likely { Confidence::Likely } else { Confidence::Possible },
            text: format!("{}, {}", when(before, broke.is_some()), said(change)),
            test: match taken_back(known, change) {
                Some(later) => format!(
                    "It was taken back at {} with `{}`: did it go on then?",
                    clock(later.time),
                    later.command
                ),
                None => test(change),
            },
        });
        if likely && taken_back(known, change).is_none() {
            tale.remedy.extend(change.undo.iter().cloned());
        }
    }
}

/// The later change that undid it.
fn taken_back<'a>(known: &'a Known, change: &Change) -> Option<&'a Change> {
    known.changes.iter().find(|c| c.time > change.time && change.undo.contains(&c.command))
}

fn when(before: i64, broke: bool) -> String {
    let what = if broke { "the fault" } else { "that" };
    match before.abs() / 1000 {
        s if s < 2 => format!("At the time of {what}"),
        s if s < 120 => format!("{s} s {} {what}", if before >= 0 { "before" } else { "after" }),
        s => format!("{} min {} {what}", s / 60, if before >= 0 { "before" } else { "after" }),
    }
}

fn said(change: &Change) -> String {
    let keys = if change.keys.is_empty() { String::new() } else { format!(": {}", change.keys.join(", ")) };
    let version = match &change.version {
        Some((n, whose)) => format!("version {n} of the {whose}'s settings was put in place{keys}"),
        None => format!("something was changed{keys}"),
    };
    let why = change.why.as_ref().map(|w| format!(", because: {w}")).unwrap_or_default();
    let forced = change
        .forced
        .as_ref()
        .map(|f| format!(". It was forced against its rehearsal: {f}"))
        .unwrap_or_default();
    format!("{version}, by {} at {} with `{}`{why}{forced}", change.who, clock(change.time), change.command)
}

fn test(change: &Change) -> String {
    match (&change.version, change.undo.first()) {
        (Some(_), Some(undo)) => {
            format!("`{undo}` takes it back and can be undone itself: does it go on then?")
        }
        (None, Some(undo)) => format!("`{undo}`: does it go on then?"),
        _ => "Take it back, and see whether it goes on.".into(),
    }
}

fn see(known: &Known, tale: &mut Tale) {
    let mut all: Vec<Evidence> = known.facts.clone();
    all.extend(
        known
            .events
            .iter()
            .filter(|r| known.about_is_narrow() || r.is(EventId::Fail) || r.is(EventId::Defer))
            .map(seen::event),
    );
    all.extend(known.legs.iter().filter(|l| l.leg.outcome.result != "ok").map(seen::leg));
    let told = |l: &&Line| known.about_is_narrow() || l.is_bad();
    all.extend(known.lines.iter().filter(told).map(|line| Evidence {
        source: line.log.name().into(),
        time: Some(line.time),
        fact: format!("{} {}: {}", line.session, line.peer, line.shown()),
    }));
    all.extend(known.changes.iter().map(|change| Evidence {
        source: if change.version.is_some() { "settings history" } else { "audit log" }.into(),
        time: Some(change.time),
        fact: match &change.failed {
            Some(why) => format!("{} by {}, which failed: {why}", change.command, change.who),
            None => said(change),
        },
    }));
    // That monitors are well once a server has started is what everybody expects.
    let first = |h: &&super::HealthFact| !h.bad && h.message.contains("was Uninitialized and is Healthy");
    let narrow = matches!(known.about, About::Probe(_));
    all.extend(known.health.iter().filter(|h| narrow || !first(h)).map(|fact| Evidence {
        source: format!("health {}", fact.source),
        time: Some(fact.time),
        fact: format!("{} {}", fact.probe, fact.message).trim().to_owned(),
    }));
    all.extend(known.standing.iter().flat_map(|s| s.evidence.iter().cloned()));
    all.sort_by_key(|e| e.time.unwrap_or(known.now));
    let skipped = all.len().saturating_sub(SEEN_MAX);
    if skipped > 0 {
        tale.not_known.push(format!("{skipped} earlier facts are not shown: a shorter time shows them."));
    }
    tale.seen = all.split_off(skipped);
    tale.legs = if known.about_is_narrow() { known.legs.clone() } else { Vec::new() };
    for message in known.legs.iter().map(|l| l.message_id.as_str()).filter(|m| !m.is_empty()).take(3) {
        if matches!(known.about, About::Session(_)) {
            tale.remedy.push(format!("waypost why '<{message}>'"));
        }
    }
}

impl Known {
    /// Everything about it is worth telling, not only what went wrong.
    fn about_is_narrow(&self) -> bool {
        matches!(self.about, About::Session(_) | About::Address(_))
    }
}
