//! What was seen: one fact for each event, failed leg and row of the queue, and nothing beyond it.

use super::fates::{count_of, list};
use super::{Queued, QueuedState};
use crate::legs::PastLeg;
use crate::record::Record;
use waypost_base::explain::Evidence;

pub(super) fn event(record: &Record) -> Evidence {
    let mut fact = format!("{} {}", record.event_id, record.source);
    let mut add = |what: &str, value: &str| {
        if !value.is_empty() {
            fact.push_str(&format!("{what}{value}"));
        }
    };
    let to = if record.recipients.is_empty() { String::new() } else { list(&record.recipients) };
    add(" ", &to);
    add(", for ", &record.related_recipient_address);
    add(", server ", &record.server_hostname);
    add(" ", &record.server_ip.map(|ip| format!("[{ip}]")).unwrap_or_default());
    add(", connector ", &record.connector_id);
    let mut said: Vec<&String> = record.recipient_status.iter().filter(|s| !s.is_empty()).collect();
    said.dedup();
    for text in said.iter().take(3) {
        add(", ", &format!("{text:?}"));
    }
    add(", about ", &record.reference);
    add(", context ", &record.source_context);
    add(", next ", if record.event_id == "DEFER" { &record.message_info } else { "" });
    Evidence { source: "message tracking".into(), time: Some(record.time), fact }
}

pub(super) fn leg(leg: &PastLeg) -> Evidence {
    let last = leg.leg.steps.iter().rev().find_map(|s| Some((s.name.as_str(), s.note.as_deref()?)));
    let step = last.map(|(name, note)| format!(", at {name}: {note}")).unwrap_or_default();
    let fact = format!(
        "{} {} to {} {}: {}{step}",
        leg.leg.operation,
        leg.leg.initiator.name,
        leg.leg.acceptor.role,
        leg.leg.acceptor.name,
        leg.leg.outcome.shown()
    );
    Evidence { source: "legs".into(), time: Some(leg.time()), fact }
}

pub(super) fn queued(queued: &Queued) -> impl Iterator<Item = Evidence> + use<'_> {
    queued.targets.iter().filter(|t| t.state != QueuedState::Settled).map(|target| {
        let state = match &target.state {
            QueuedState::Waiting { active: true } => "is being sent".to_owned(),
            QueuedState::Waiting { active: false } => "waits for its turn".to_owned(),
            QueuedState::Deferred { reason, server, next, attempts } => {
                let server = server.as_deref().unwrap_or("no server");
                format!(
                    "was tried ({}), last at {server}: {reason:?}; next {next}",
                    count_of(*attempts as usize, "time")
                )
            }
            QueuedState::Suspended => "is suspended".to_owned(),
            QueuedState::Unreachable => "has no connector".to_owned(),
            QueuedState::Poison(evidence) => format!("is set aside: {evidence}"),
            QueuedState::Settled => String::new(),
        };
        let fact = format!("item {} for {} in queue {} {state}", queued.item, target.address, target.queue);
        Evidence { source: "queue".into(), time: None, fact }
    })
}
