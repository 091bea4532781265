//! What the tracking log hears of a message on its way in.

use super::driver::{Conn, Message};
use crate::agent::Verdict;
use crate::categorize::Note;
use crate::draft::Draft;
use crate::limits::EVENT_RECIPIENTS;
use crate::track::{Facts, headers_from};
use waypost_mailbox::Content;
use waypost_queue::Target;
use waypost_smtp::Reply;
use waypost_tracking::{Event, EventId, Recipient as Told, Source};

impl Conn {
    fn facts(&self, message: &Message, item: u64, content: &Content) -> Facts {
        let summary = &content.summary;
        let return_path = message.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let sender = headers_from(summary);
        Facts {
            item,
            message_id: summary.message_id.clone(),
            subject: summary.subject.clone(),
            sender: if sender.is_empty() { return_path.clone() } else { sender },
            return_path,
            size: content.blob.size,
            originating: self.identity.is_some(),
            client_ip: Some(self.peer.ip()),
        }
    }

    /// RECEIVE, and what the categorizer did.
    pub(super) fn track_taken(&self, message: &Message, item: u64, content: &Content, notes: &[Note]) {
        let hub = &self.service.hub;
        let Some(sink) = &hub.tracking else { return };
        let now = hub.clock.now();
        let settings = self.settings.clone();
        let facts = self.facts(message, item, content);
        let about = facts.message();
        let (helo, _) = self.session.helo().unwrap_or_default();
        let reported = crate::report::reported(message.from.is_none(), &content.summary);
        let all: Vec<String> = message.recipients.iter().map(|r| r.accepted.to.to_string()).collect();
        for some in all.chunks(EVENT_RECIPIENTS) {
            let to: Vec<Told<'_>> = some.iter().map(|address| Told::new(address, "")).collect();
            let event = Event::receive(now, &about, &message.id, &to)
                .client(Some(self.peer.ip()), helo)
                .server(Some(self.local.ip()), &settings.host)
                .connector(&self.gate.name)
                .reference(reported.unwrap_or_default());
            sink.track(&event);
        }
        let event = |id: EventId| Event::of(now, &about, Source::Resolver, id);
        for note in notes {
            match note {
                Note::Expand { group, members, total } => {
                    let to: Vec<Told<'_>> = members
                        .iter()
                        .map(|m| Told::new(m, "250 2.1.5 RESOLVER.GRP.Expanded; distribution list expanded"))
                        .collect();
                    let mut event = event(EventId::Expand).to(&to).related(group);
                    event.recipient_count = u32::try_from(*total).unwrap_or(u32::MAX);
                    sink.track(&event);
                }
                Note::Redirect { from, to } => {
                    sink.track(&event(EventId::Redirect).to(&[Told::new(to, "")]).related(from));
                }
                Note::Resolve { from, to } => {
                    sink.track(&event(EventId::Resolve).to(&[Told::new(to, "")]).related(from));
                }
                Note::Duplicate { to } => {
                    sink.track(&event(EventId::DuplicateExpand).to(&[Told::new(to, "")]));
                }
                Note::Cut { from, to, why } => {
                    sink.track(&event(EventId::Fail).to(&[Told::new(to, why)]).related(from));
                }
            }
        }
    }

    /// DELIVER, where the delivery was the commit.
    pub(super) fn track_delivered(&self, message: &Message, item: u64, content: &Content, target: &Target) {
        let hub = &self.service.hub;
        let Some(sink) = &hub.tracking else { return };
        let facts = self.facts(message, item, content);
        let about = facts.message();
        let address = crate::deliver::final_address(&hub.directory.snapshot(), target);
        let accepted = message.accepted.to_string();
        let to = [Told::new(&address, "")];
        let host = &self.settings.host;
        sink.track(&Event::deliver(hub.clock.now(), &about, &to).server(None, host).info(&accepted));
    }

    /// FAIL: the peer was told no after the whole message.
    pub(super) fn track_refused(&self, message: &Message, item: u64, content: &Content, reply: &Reply) {
        let facts = self.facts(message, item, content);
        self.track_end(message, &facts, Source::Smtp, EventId::Fail, &reply.to_string(), "");
    }

    /// DROP: taken and thrown away, as an agent wanted.
    pub(super) fn track_dropped(&self, message: &Message, item: u64, content: &Content) {
        let facts = self.facts(message, item, content);
        self.track_end(message, &facts, Source::Agent, EventId::Drop, "", "");
    }

    fn track_end(
        &self,
        message: &Message,
        facts: &Facts,
        source: Source,
        id: EventId,
        status: &str,
        context: &str,
    ) {
        let Some(sink) = &self.service.hub.tracking else { return };
        let now = self.service.hub.clock.now();
        let all = message.recipients.iter().take(EVENT_RECIPIENTS).map(|r| r.accepted.to.to_string());
        let all: Vec<String> = all.collect();
        let to: Vec<Told<'_>> = all.iter().map(|address| Told::new(address, status)).collect();
        let event = Event::of(now, &facts.message(), source, id).to(&to);
        sink.track(&event.connector(&self.gate.name).context(context));
    }

    /// AGENTINFO: an agent had something to say; FAIL besides where it refused.
    pub(super) fn track_agent(
        &self,
        message: &Message,
        item: u64,
        draft: &Draft,
        agent: &'static str,
        verdict: &Verdict,
        said: &str,
    ) {
        if self.service.hub.tracking.is_none() || said.is_empty() {
            return;
        }
        let return_path = message.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let trim = |id: String| id.trim_matches(['<', '>']).to_owned();
        let facts = Facts {
            item,
            message_id: draft.field("message-id").map(trim).unwrap_or_default(),
            subject: draft
                .field("subject")
                .map(|s| waypost_mime::rfc2047::decode(s.as_bytes()))
                .unwrap_or_default(),
            sender: return_path.clone(),
            return_path,
            size: draft.size(),
            originating: self.identity.is_some(),
            client_ip: Some(self.peer.ip()),
        };
        let context = format!("{agent}: {said}");
        self.track_end(message, &facts, Source::Agent, EventId::AgentInfo, "", &context);
        if let Verdict::Reject(reply) | Verdict::Defer(reply) = verdict {
            self.track_end(message, &facts, Source::Agent, EventId::Fail, &reply.to_string(), &context);
        }
    }
}
