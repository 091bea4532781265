//! The story of a message: from the logs, the legs, the queue as it is now, and what other servers know.

use super::super::tracking::{folders, reading};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::service::LegState;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waypost_base::Timestamp;
use waypost_base::explain::Outcome as Ended;
use waypost_queue::{Filter, ItemState, Queue, State};
use waypost_tracking::legs::{self, PastLeg};
use waypost_tracking::search::bare;
use waypost_tracking::story::{self, Facts, Queued, QueuedState, QueuedTarget, Story, Viewer};

/// Items that are looked for by their Message-ID in the queue itself, where the log does not name them. Reading more would
/// cost more than the answer is worth.
const SEARCHED_MAX: usize = 20_000;
/// Hosts whose connections are looked for, and how far back.
const HOSTS_MAX: usize = 3;
const CONNECTIONS_MILLIS: i64 = 6 * 3_600_000;
/// A message that has just come is looked at again after the time that the logs need.
const FRESH_MILLIS: i64 = 500;
const SETTLED: Duration = Duration::from_millis(100);
/// Items of one message that are looked at in the queue.
const ITEMS_MAX: usize = 100;

/// The story of the message with this id.
///
/// # Errors
/// When nothing is known of it, or nothing can be read.
pub(super) async fn story(call: &Call<'_>, id: &str) -> Outcome {
    let id = bare(id).to_owned();
    let (tracking, legs) = folders(call)?;
    let now = call.context.clock.now();
    // A queue that cannot be looked at takes nothing of the rest away.
    let queue = match call.queue().await {
        Ok(queue) => Some(queue),
        Err(e) => {
            tracing::warn!(error = %e.message, "the queue could not be looked at");
            None
        }
    };
    let mut facts = gather(queue.as_deref(), tracking, legs, id.clone(), now).await?;
    if let Some(world) = &call.context.world {
        let settings = world.settings.current();
        for target in facts.queue.iter_mut().flatten().flat_map(|queued| &mut queued.targets) {
            // As the commands of the remedy take it.
            target.queue = super::super::queue::identity(&settings, &target.queue);
        }
    }
    let addresses = match call.text("As") {
        None => None,
        Some(who) => Some(call.account(who)?.addresses().map(ToString::to_string).collect::<Vec<_>>()),
    };
    let viewer = addresses.as_deref().map_or(Viewer::Administrator, Viewer::User);
    let others = match viewer {
        Viewer::Administrator => super::others::ask(call).await,
        Viewer::User(_) => super::others::Others::default(),
    };
    let Some(mut story) = story::tell(&facts, viewer) else {
        if others.tales.is_empty() {
            return Err(nothing(&facts, &id, &others.silent));
        }
        call.record(elsewhere(&id, &others)).await;
        return Ok(());
    };
    if let (Viewer::Administrator, Some(live)) =
        (viewer, call.context.world.as_ref().and_then(|w| w.facts.as_ref()))
    {
        inner_legs(&mut story, &facts, &live.legs());
    }
    call.record(record(&story, &others)).await;
    Ok(())
}

/// Only other servers know the message.
fn elsewhere(id: &str, others: &super::others::Others) -> Record {
    let mut text = format!("Message <{id}>\n  This server knows nothing of it.\n");
    append(&mut text, others);
    let servers: serde_json::Map<String, serde_json::Value> = others.tales.iter().cloned().collect();
    Record::new()
        .with("MessageId", format!("<{id}>"))
        .with("NotKnown", others.silent.clone())
        .with("Servers", Cell::Tree(servers.into()))
        .with("Text", text)
}

/// What the other servers told, below what this one did.
pub(super) fn append(text: &mut String, others: &super::others::Others) {
    for (server, theirs) in &others.tales {
        let body = theirs.get("Text").and_then(|t| t.as_str()).unwrap_or_default();
        text.push_str(&format!("\nOn {server}\n"));
        text.extend(body.lines().map(|line| format!("  {line}\n")));
    }
    if !others.silent.is_empty() {
        text.push_str("\nServers that could not be asked\n");
        text.extend(others.silent.iter().map(|line| format!("  {line}\n")));
    }
}

/// What is wrong with legs between servers of ours that the message took or waits for, with the evidence of both ends.
fn inner_legs(story: &mut Story, facts: &Facts, states: &[LegState]) {
    let on_the_way = |state: &LegState| {
        let by_leg = facts.legs.iter().any(|past| {
            let (initiator, acceptor) = (&past.leg.initiator.name, &past.leg.acceptor.name);
            *initiator == state.to || *acceptor == state.to
        });
        let waits_for = |t: &QueuedTarget| {
            let named =
                |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '-').any(|w| w == state.to);
            let to_hubs = state.service == "hub" && named_hubs(&t.queue);
            let server = match &t.state {
                QueuedState::Deferred { server: Some(server), .. } => named(server),
                _ => false,
            };
            server || to_hubs || named(&t.queue)
        };
        by_leg || facts.queue.iter().flatten().flat_map(|q| &q.targets).any(waits_for)
    };
    const OF_MAIL: [&str; 4] = ["hub", "delivery", "smtp", "submission"];
    for state in states.iter().filter(|s| OF_MAIL.contains(&s.service.as_str()) && on_the_way(s)) {
        let Some(finding) = &state.finding else { continue };
        let (how, text) = match &state.leg.outcome {
            Ended::Degraded { text, .. } => ("is degraded", text),
            Ended::Failed { text, .. } => ("fails", text),
            _ => continue,
        };
        let LegState { from, to, service, since, .. } = state;
        let code = finding.cause.code;
        let text = format!("The {service} leg from {from} to {to} {how} since {since}: [{code}] {text}");
        story.follows.push(story::Conclusion { confidence: finding.confidence, text });
        story.seen.extend(finding.evidence.iter().cloned());
        for remedy in &finding.remedy {
            if !story.remedy.contains(remedy) {
                story.remedy.push(remedy.clone());
            }
        }
    }
}

/// The queue of mail for any of our hubs.
fn named_hubs(queue: &str) -> bool {
    queue.rsplit(['\\', '/']).next().is_some_and(|name| name.eq_ignore_ascii_case("hubs"))
}

fn nothing(facts: &Facts, id: &str, silent: &[String]) -> Failure {
    let since = match facts.since {
        Some(since) => format!("the tracking log reaches back to {since}"),
        None => "there is no tracking log (is log.message_tracking_log_enabled on?)".to_owned(),
    };
    let queue = match facts.queue {
        Some(_) => "the queue does not hold it",
        None => "the queue could not be looked at",
    };
    let silent = match silent {
        [] => String::new(),
        some => format!(" Not asked: {}.", some.join("; ")),
    };
    let text = format!(
        "Nothing is known of a message with the Message-ID <{id}>: {since}, and {queue}.{silent} \
         Get-MessageTrackingLog -Sender or -Recipients finds messages by address."
    );
    Failure::new(Category::ObjectNotFound, id, text)
}

/// The story as one record: what people read as `Text`, and every part for programs.
fn record(story: &Story, others: &super::others::Others) -> Record {
    let mut text = story.text();
    append(&mut text, others);
    let servers: serde_json::Map<String, serde_json::Value> = others.tales.iter().cloned().collect();
    let tree = |value: serde_json::Result<serde_json::Value>| Cell::Tree(value.unwrap_or_default());
    let follows = story.follows.iter().map(|c| format!("{:?}: {}", c.confidence, c.text)).collect::<Vec<_>>();
    let whole = serde_json::to_value(story).unwrap_or_default();
    let part = |name: &str| tree(Ok(whole.get(name).cloned().unwrap_or_default()));
    Record::new()
        .with("MessageId", format!("<{}>", story.message_id))
        .with("Passages", part("passages"))
        .with("Follows", follows)
        .with("NotKnown", story.not_known.clone())
        .with("Remedy", story.remedy.clone())
        .with("Seen", part("seen"))
        .with("Legs", part("legs"))
        .with("Servers", Cell::Tree(servers.into()))
        .with("Text", text)
}

/// Everything that the logs and the queue have about a message.
///
/// # Errors
/// When the logs or the queue's rows cannot be read.
pub async fn gather(
    queue: Option<&Queue>,
    tracking: PathBuf,
    leg_folder: PathBuf,
    id: String,
    now: Timestamp,
) -> Outcome<Facts> {
    let (wanted, folder) = (id.clone(), leg_folder.clone());
    let read = move || story::gather(&tracking, &folder, &wanted, now);
    let mut facts = reading(read.clone()).await?;
    // Lines are written a few milliseconds after what they tell.
    if facts.events.last().is_some_and(|last| now.since(last.time) < FRESH_MILLIS) {
        tokio::time::sleep(SETTLED).await;
        facts = reading(read).await?;
    }
    let mut items: BTreeSet<u64> =
        facts.events.iter().map(|e| e.internal_message_id).filter(|item| *item != 0).collect();
    let Some(queue) = queue else { return Ok(facts) };
    if items.is_empty() {
        match search(queue, &id).await {
            Ok(found) => items.extend(found),
            Err(e) => {
                tracing::warn!(error = %e.message, "the queue could not be searched");
                return Ok(facts);
            }
        }
    }
    let mut held = Vec::new();
    for item in items.into_iter().take(ITEMS_MAX) {
        match queue.story(item).await {
            Ok(Some(state)) => held.push(queued(&state)),
            Ok(None) => {}
            Err(e) => {
                tracing::warn!(item, error = %e, "an item of the queue could not be read");
                facts.queue = None;
                return Ok(facts);
            }
        }
    }
    let hosts = refused_by(&held);
    if !hosts.is_empty() {
        facts.legs.extend(reading(move || connections(&leg_folder, &hosts, now)).await?);
        facts.legs.sort_by_key(|leg| leg.leg.started);
    }
    facts.queue = Some(held);
    Ok(facts)
}

/// The hosts that what is put off waits for.
fn refused_by(held: &[Queued]) -> BTreeSet<String> {
    let host = |t: &QueuedTarget| match &t.state {
        QueuedState::Deferred { server: Some(server), .. } => Some(host_of(server).to_owned()),
        _ => None,
    };
    let hosts = held.iter().flat_map(|q| q.targets.iter().filter_map(host));
    hosts.filter(|host| !host.is_empty()).take(HOSTS_MAX).collect()
}

/// The host of `mx.example.net [192.0.2.7]:25`, `mx.example.net (192.0.2.7)`, `127.0.0.1:9`.
fn host_of(server: &str) -> &str {
    let host = server.split([' ', '(', '[']).next().unwrap_or_default();
    match host.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host,
    }
}

/// The last connections to these hosts that came to nothing: no message was given over one, so they carry no Message-ID.
fn connections(folder: &Path, hosts: &BTreeSet<String>, now: Timestamp) -> std::io::Result<Vec<PastLeg>> {
    let mut found = Vec::new();
    for host in hosts {
        let wanted = legs::Wanted {
            from: Some(now.plus_millis(-CONNECTIONS_MILLIS)),
            message_ids: vec![String::new()],
            text: Some(host.clone()),
            ..legs::Wanted::default()
        };
        let to_host = |leg: &PastLeg| {
            leg.leg.acceptor.name.starts_with(host.as_str()) && leg.leg.outcome.result == "failed"
        };
        found.extend(legs::find(folder, &wanted, 3)?.into_iter().filter(to_host));
    }
    Ok(found)
}

/// Items with this Message-ID: for messages that the log does not know, because tracking is off or was.
async fn search(queue: &Queue, id: &str) -> Outcome<Vec<u64>> {
    let mut found = BTreeSet::new();
    let (mut after, mut looked) = (None, 0);
    loop {
        let page = queue.get_messages(&Filter::default(), |_| true, after, 1000).await?;
        looked += page.messages.len();
        let fits = |m: &&waypost_queue::MessageInfo| m.envelope.as_ref().is_some_and(|e| e.message_id == id);
        found.extend(page.messages.iter().filter(fits).map(|m| m.id));
        match page.next {
            Some(next) if looked < SEARCHED_MAX && found.len() < ITEMS_MAX => after = Some(next),
            _ => return Ok(found.into_iter().collect()),
        }
    }
}

/// In the story's words.
fn queued(item: &ItemState) -> Queued {
    let envelope = &item.envelope;
    let target = |t: &waypost_queue::TargetState| QueuedTarget {
        address: t.target.to.to_string(),
        queue: t.queue.clone(),
        state: match &t.state {
            State::Waiting { active } => QueuedState::Waiting { active: *active },
            State::Deferred { reason, next, attempts } => QueuedState::Deferred {
                reason: said(reason),
                server: reason.server.clone(),
                next: *next,
                attempts: *attempts,
            },
            State::Suspended => QueuedState::Suspended,
            State::Unreachable => QueuedState::Unreachable,
            State::Poison(evidence) => QueuedState::Poison(evidence.clone()),
            State::Settled(..) => QueuedState::Settled,
        },
    };
    let sender = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
    Queued {
        item: item.id,
        expires: envelope.expires,
        subject: envelope.subject.clone(),
        sender: if envelope.headers_from.is_empty() { sender } else { envelope.headers_from.clone() },
        size: item.size,
        accepted: envelope.accepted,
        originating: envelope.owner.is_some(),
        targets: item.targets.iter().map(target).collect(),
    }
}

/// The reason without its server, which is told beside it.
fn said(reason: &waypost_queue::Reason) -> String {
    let code = reason.code.map(|code| format!("{code} ")).unwrap_or_default();
    let status = reason.status.to_string();
    if reason.text.contains(&status) {
        format!("{code}{}", reason.text)
    } else {
        format!("{code}{status} {}", reason.text)
    }
}

/// What a user with these addresses may know of a message, as text; `None` if that is nothing.
///
/// # Errors
/// When the settings, the logs or the queue's rows cannot be read.
pub async fn for_user(
    data: &Path,
    queue: &Queue,
    addresses: &[String],
    message_id: &str,
    now: Timestamp,
) -> Outcome<Option<String>> {
    let (tracking, legs) = super::super::tracking::folders_of(data)?;
    let facts = gather(Some(queue), tracking, legs, bare(message_id).to_owned(), now).await?;
    Ok(story::tell(&facts, Viewer::User(addresses)).map(|story| story.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::explain::{Leg, Party};
    use waypost_tracking::story::Passage;
    use waypost_trust::leg::{cause, fault::Fault};

    fn state(to: &str, service: &str) -> LegState {
        let mut leg = Leg::start("inner", Party::new("mailbox", "mbx"), Party::new("hub", to), Timestamp(0));
        let fault =
            Fault::new(cause::UNREACHABLE, "the ticket does not fit").seen("mbx", Timestamp(0), "kvno 3");
        leg.outcome = Ended::Degraded { cause: fault.cause, text: fault.text.clone() };
        LegState {
            from: "mbx".into(),
            to: to.into(),
            service: service.into(),
            leg,
            finding: Some(fault.finding()),
            since: Timestamp(0),
            legs: 1,
            well: 0,
            unwell: 1,
        }
    }

    #[test]
    fn legs_on_the_way_are_explained_and_others_are_not() {
        let target = QueuedTarget {
            address: "amy@example.org".into(),
            queue: "server-1\\hub-2".into(),
            state: QueuedState::Waiting { active: false },
        };
        let held = Queued {
            item: 1,
            expires: Timestamp(9),
            subject: String::new(),
            sender: String::new(),
            size: 1,
            accepted: Timestamp(1),
            originating: true,
            targets: vec![target],
        };
        let facts = Facts { message_id: "m@x".into(), queue: Some(vec![held]), ..Facts::default() };
        let passages: Vec<Passage> = Vec::new();
        let mut story = Story {
            message_id: "m@x".into(),
            passages,
            seen: Vec::new(),
            follows: Vec::new(),
            not_known: Vec::new(),
            remedy: Vec::new(),
            legs: Vec::new(),
        };
        inner_legs(
            &mut story,
            &facts,
            &[state("hub-2", "hub"), state("hub-3", "hub"), state("hub-2", "imap")],
        );
        let texts: Vec<&str> = story.follows.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "The hub leg from mbx to hub-2 is degraded since 1970-01-01T00:00:00.000Z: [INNER-UNREACHABLE] the ticket does not fit"
            ]
        );
        assert_eq!((story.seen.len(), story.remedy.len()), (1, 1));
        assert!(named_hubs("server-1\\Hubs") && named_hubs("hubs") && !named_hubs("hubs.example.net"));
    }
}
