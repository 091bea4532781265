//! What sending tells the tracking log.

use super::mx::Stop;
use super::outcome::Sorted;
use crate::hub::Hub;
use crate::limits::EVENT_RECIPIENTS;
use crate::pipeline::{self, Stage};
use crate::track::Facts;
use waypost_queue::{Fate, Loaded, Reason};
use waypost_tracking::{Event, Recipient as Told, Source};

/// SEND, FAIL and DEFER of one message over one connection.
pub(super) fn sent(
    hub: &Hub,
    item: u64,
    loaded: &Loaded,
    sorted: &Sorted,
    connector: &str,
    stop: Option<&Stop>,
) {
    let went = |index: &u32| {
        matches!(sorted.fates.iter().find(|(n, _)| n == index), Some((_, Fate::Relayed { .. })))
    };
    let mut gone =
        loaded.targets.iter().filter(|(index, _)| went(index)).map(|(_, target)| &target.to).peekable();
    if hub.tracing.is_some() && gone.peek().is_some() {
        pipeline::copied(hub, Stage::Sent, item, &loaded.envelope, &loaded.blob, gone);
    }
    let Some(sink) = &hub.tracking else { return };
    let facts = Facts::of(item, loaded.blob.size, &loaded.envelope);
    let (message, now) = (facts.message(), hub.clock.now());
    let settings = hub.settings();
    let server = (stop.map(|stop| stop.address.ip()), stop.map_or("", |stop| stop.host.as_str()));
    let accepted = loaded.envelope.accepted.to_string();
    let (mut relayed, mut failed) = (Vec::new(), Vec::new());
    for (index, fate) in &sorted.fates {
        match fate {
            Fate::Relayed { text, .. } => relayed.push((address(loaded, *index), text.clone())),
            Fate::Failed(reason) => failed.push((address(loaded, *index), reason.to_string())),
            _ => {}
        }
    }
    for to in told(&relayed) {
        let event = Event::send(now, &message, connector, server, &to);
        sink.track(&event.client(None, &settings.host).info(&accepted));
    }
    for to in told(&failed) {
        let event = Event::fail(now, &message, Source::Smtp, &to).connector(connector);
        sink.track(&event.server(server.0, server.1));
    }
    let late: Vec<(String, String)> =
        sorted.put_off.iter().map(|(index, reason)| (address(loaded, *index), reason.to_string())).collect();
    for to in told(&late) {
        let event = Event::defer(now, &message, Source::Smtp, "", &to).connector(connector);
        let doubt = if sorted.in_doubt { "InDoubt: sent, the answer got lost; may arrive twice" } else { "" };
        sink.track(&event.server(server.0, server.1).context(doubt));
    }
}

/// FAIL of all outstanding recipients.
pub(super) fn failed(
    hub: &Hub,
    item: u64,
    loaded: &Loaded,
    reason: &Reason,
    connector: &str,
    source: Source,
) {
    let Some(sink) = &hub.tracking else { return };
    let facts = Facts::of(item, loaded.blob.size, &loaded.envelope);
    let status = reason.to_string();
    let all: Vec<(String, String)> =
        loaded.targets.iter().map(|(_, target)| (target.to.to_string(), status.clone())).collect();
    for to in told(&all) {
        sink.track(&Event::fail(hub.clock.now(), &facts.message(), source, &to).connector(connector));
    }
}

/// As many recipients to an event as a line can bear.
fn told(all: &[(String, String)]) -> impl Iterator<Item = Vec<Told<'_>>> {
    all.chunks(EVENT_RECIPIENTS).map(|some| some.iter().map(|(to, status)| Told::new(to, status)).collect())
}

fn address(loaded: &Loaded, index: u32) -> String {
    let found = loaded.targets.iter().find(|(number, _)| *number == index);
    found.map(|(_, target)| target.to.to_string()).unwrap_or_default()
}
