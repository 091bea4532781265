//! From events to where the message is for each recipient. Events come in the order of time; the last word counts, and a
//! final one is not taken back by an earlier state that the queue or a mixed-up log tells.

use super::{Fate, Passage, Queued, QueuedState, QueuedTarget, State};
use crate::EventId;
use crate::layout::parse_time;
use crate::record::Record;
use waypost_base::Timestamp;

/// Recipients of one message that a story follows one by one.
const FATES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Fates {
    passage: Passage,
    /// Places in `passage.recipients` by lower-case address, other names included.
    places: std::collections::BTreeMap<String, usize>,
    /// Recipients of all RECEIVE events.
    received: usize,
    /// It goes to junk folders.
    junk: bool,
}

impl Fates {
    pub fn event(&mut self, record: &Record) {
        self.describe(record);
        match record.event() {
            Some(EventId::Receive | EventId::Submit) => self.receive(record),
            Some(EventId::Expand) => self.opened(record, State::Expanded),
            Some(EventId::Redirect) => self.opened(record, State::Forwarded),
            Some(EventId::Resolve) => self.resolve(record),
            Some(EventId::Deliver) => self.settle(record, State::Delivered),
            Some(EventId::Send) => self.settle(record, State::Sent),
            Some(EventId::Fail | EventId::DeliverFail) => self.settle(record, State::Failed),
            Some(EventId::Drop) => self.settle(record, State::Dropped),
            Some(EventId::PoisonMessage) => self.settle(record, State::Poison),
            Some(EventId::Defer) => self.defer(record),
            _ => {}
        }
        self.decide(record);
    }

    fn describe(&mut self, record: &Record) {
        let p = &mut self.passage;
        let fill = |slot: &mut String, value: &str| {
            if slot.is_empty() {
                value.clone_into(slot);
            }
        };
        fill(&mut p.subject, &record.message_subject);
        fill(&mut p.sender, &record.sender);
        if record.return_path != "<>" {
            fill(&mut p.return_path, &record.return_path);
        }
        p.size = p.size.max(record.total_bytes);
    }

    fn receive(&mut self, record: &Record) {
        let p = &mut self.passage;
        if p.came.is_none() {
            p.came = Some(record.time);
            p.originating = record.directionality.eq_ignore_ascii_case("Originating");
            p.arrival = arrival(record);
        }
        self.received += record.recipients.len();
        for recipient in record.each_recipient() {
            if let Some(fate) = self.fate(recipient.address) {
                fate.since = fate.since.or(Some(record.time));
            }
        }
    }

    /// A group or a forwarding: the recipients are new, the related address is who they come from.
    fn opened(&mut self, record: &Record, state: State) {
        let from = &record.related_recipient_address;
        for address in &record.recipients {
            let new = !self.places.contains_key(&address.to_lowercase());
            if let Some(fate) = self.fate(address)
                && new
            {
                fate.via = Some(from.clone());
                fate.since = Some(record.time);
            }
        }
        if let Some(fate) = self.fate(from)
            && fate.state == State::Accepted
        {
            fate.state = state;
            fate.since = Some(record.time);
            let count = usize::try_from(record.recipient_count).unwrap_or(usize::MAX);
            fate.said = match state {
                State::Forwarded => record.recipients.join(", "),
                _ => count.max(record.recipients.len()).to_string(),
            };
        }
    }

    /// Another name of the same recipient.
    fn resolve(&mut self, record: &Record) {
        let Some(name) = record.recipients.first() else { return };
        let from = record.related_recipient_address.to_lowercase();
        if self.fate(&record.related_recipient_address).is_none() {
            return;
        }
        let Some(place) = self.places.get(&from).copied() else { return };
        self.places.entry(name.to_lowercase()).or_insert(place);
        if let Some(fate) = self.passage.recipients.get_mut(place)
            && !fate.address.eq_ignore_ascii_case(name)
        {
            fate.known_as = Some(name.clone());
        }
    }

    fn settle(&mut self, record: &Record, state: State) {
        let server = server(record);
        for recipient in record.each_recipient() {
            let own_copy = state == State::Delivered
                && !self.places.contains_key(&recipient.address.to_lowercase())
                && [&self.passage.sender, &self.passage.return_path]
                    .iter()
                    .any(|from| from.eq_ignore_ascii_case(recipient.address));
            if own_copy {
                self.note("The sender's own copy was put into their mailbox.");
                continue;
            }
            let related = &record.related_recipient_address;
            let place = (!related.is_empty() && !self.places.contains_key(&recipient.address.to_lowercase()))
                .then_some(related.as_str());
            let Some(fate) = self.fate(recipient.address) else { continue };
            if let Some(via) = place {
                fate.via = Some(via.to_owned());
            }
            // A duplicate that was thrown away does not undo the delivery.
            if fate.state == State::Delivered && state != State::Failed {
                continue;
            }
            fate.state = state;
            fate.since = Some(record.time);
            fate.server.clone_from(&server);
            recipient.status.clone_into(&mut fate.said);
            if fate.said.is_empty() && state != State::Delivered {
                fate.said.clone_from(&record.source_context);
            }
            fate.next_attempt = None;
        }
    }

    fn defer(&mut self, record: &Record) {
        let server = server(record);
        let next = parse_time(&record.message_info);
        for recipient in record.each_recipient() {
            let Some(fate) = self.fate(recipient.address) else { continue };
            if fate.state.is_final() {
                continue;
            }
            fate.state = State::Waiting;
            fate.since = Some(record.time);
            fate.server.clone_from(&server);
            recipient.status.clone_into(&mut fate.said);
            if fate.said.is_empty() {
                fate.said.clone_from(&record.source_context);
            }
            fate.next_attempt = next;
            fate.tried = Some(record.time);
            fate.attempts += 1;
        }
    }

    /// What the queue holds at this moment. It knows better than the log's last line, except of what is done.
    pub fn queued(&mut self, queued: &Queued) {
        let p = &mut self.passage;
        if p.came.is_none() {
            p.came = Some(queued.accepted);
            p.originating = queued.originating;
            p.subject.clone_from(&queued.subject);
            p.sender.clone_from(&queued.sender);
            p.size = queued.size;
        }
        for target in &queued.targets {
            self.held(target, queued);
        }
    }

    fn held(&mut self, target: &QueuedTarget, queued: &Queued) {
        if target.state == QueuedState::Settled {
            return;
        }
        let Some(fate) = self.fate(&target.address) else { return };
        if fate.state.is_final() {
            return;
        }
        fate.queue.clone_from(&target.queue);
        fate.gives_up = Some(queued.expires);
        fate.next_attempt = None;
        fate.since = fate.since.or(Some(queued.accepted));
        match &target.state {
            QueuedState::Waiting { active } => {
                fate.state = State::Waiting;
                let said = if *active { "it is being sent at this moment" } else { "" };
                // An earlier refusal is of no more interest once its turn has come again.
                said.clone_into(&mut fate.said);
            }
            QueuedState::Deferred { reason, server, next, attempts } => {
                fate.state = State::Waiting;
                fate.said.clone_from(reason);
                fate.server = server.clone().unwrap_or_default();
                fate.next_attempt = Some(*next);
                fate.attempts = *attempts;
            }
            QueuedState::Suspended => fate.state = State::Suspended,
            QueuedState::Unreachable => {
                fate.state = State::Waiting;
                fate.said = "no send connector leads there".into();
            }
            QueuedState::Poison(evidence) => {
                fate.state = State::Poison;
                fate.said.clone_from(evidence);
            }
            QueuedState::Settled => {}
        }
    }

    /// A report about it came in from elsewhere.
    pub fn came_back(&mut self, record: &Record) {
        let from = match (record.client_hostname.as_str(), record.client_ip) {
            (name, Some(ip)) => format!("{name} [{ip}]"),
            (name, None) => name.to_owned(),
        };
        self.passage.returned.push(format!(
            "{} from {from}, as {} to {}",
            super::words::at(record.time),
            record.message_id,
            list(&record.recipients)
        ));
    }

    pub fn report(&mut self, to: &str, at: Timestamp) {
        self.passage.reports.push(format!("{to}, {}", super::words::at(at)));
    }

    /// Takes over what another one knows.
    pub fn join(&mut self, other: Fates) {
        for fate in other.passage.recipients {
            if let Some(own) = self.fate(&fate.address)
                && own.state == State::Accepted
            {
                *own = fate;
            }
        }
        self.passage.decisions.extend(other.passage.decisions);
    }

    pub fn passage(self, item: u64) -> Passage {
        let mut passage = Passage { item, ..self.passage };
        if self.received > 0 {
            passage.arrival.push_str(&format!(", for {}.", count_of(self.received, "recipient")));
        }
        for fate in passage.recipients.iter_mut().filter(|f| f.state == State::Delivered) {
            fate.junk = self.junk;
        }
        passage
    }

    fn fate(&mut self, address: &str) -> Option<&mut Fate> {
        if address.is_empty() {
            return None;
        }
        let all = &mut self.passage.recipients;
        let key = address.to_lowercase();
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if all.len() >= FATES_MAX => return None,
            None => {
                self.places.insert(key, all.len());
                all.push(Fate {
                    address: address.to_owned(),
                    known_as: None,
                    via: None,
                    state: State::Accepted,
                    since: None,
                    server: String::new(),
                    said: String::new(),
                    next_attempt: None,
                    gives_up: None,
                    queue: String::new(),
                    attempts: 0,
                    tried: None,
                    junk: false,
                    words: String::new(),
                });
                all.len() - 1
            }
        };
        all.get_mut(place)
    }

    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.passage.decisions.contains(&text) {
            self.passage.decisions.push(text);
        }
    }

    fn decide(&mut self, record: &Record) {
        let Some(event) = record.event() else { return };
        let to = list(&record.recipients);
        let related = &record.related_recipient_address;
        let why = &record.source_context;
        match event {
            EventId::Expand => {
                let count = usize::try_from(record.recipient_count).unwrap_or(usize::MAX);
                let count = count.max(record.recipients.len());
                self.note(format!("The group {related} became {}.", count_of(count, "member")));
            }
            EventId::Redirect => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                self.note(format!("What is for {related} goes to {to}{why}."));
            }
            EventId::Resolve => self.note(format!("{related} is an address of {to}.")),
            EventId::DuplicateDeliver | EventId::DuplicateExpand | EventId::DuplicateRedirect => {
                self.note(format!("{to} would have got it twice; it was delivered once."));
            }
            EventId::AgentInfo if !why.is_empty() => {
                self.junk |= junks(record);
                self.note(format!("{}.", why.trim_end_matches('.')));
            }
            EventId::AgentInfo if !record.custom_data.is_empty() => self.note(record.custom_data.clone()),
            EventId::BadMail => self.note(format!("No report could be given to {to}: {why}.")),
            EventId::Defer if why.starts_with("InDoubt") => self.note(format!("{why}.")),
            EventId::PoisonMessage => self.note(format!("Set aside as a danger to the queue: {why}.")),
            EventId::Resubmit => self.note(format!("Sent through the categoriser again: {why}.")),
            EventId::Transfer => self.note(format!("Split in two: {why}.")),
            _ => {}
        }
    }
}

/// Whether an agent wants it in junk folders. Agents' words begin with their name and what they decided.
pub(crate) fn junks(record: &Record) -> bool {
    [": junk:", ": quarantine:"].iter().any(|said| record.source_context.contains(said))
}

/// Some of them by name.
pub(super) fn list(addresses: &[String]) -> String {
    match addresses {
        [] => "nobody".into(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [one, two, three] => format!("{one}, {two} and {three}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} others", rest.len()),
    }
}

pub(super) fn count_of(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The other server by name and address.
fn server(record: &Record) -> String {
    match (record.server_hostname.as_str(), record.server_ip) {
        ("", None) => String::new(),
        ("", Some(ip)) => format!("[{ip}]"),
        (name, None) => name.to_owned(),
        (name, Some(ip)) if name == ip.to_string() => format!("[{ip}]"),
        (name, Some(ip)) => format!("{name} [{ip}]"),
    }
}

fn arrival(record: &Record) -> String {
    let mut text = match (record.client_hostname.as_str(), record.client_ip) {
        ("", None) => String::from("Made here"),
        ("", Some(ip)) => format!("Came from {ip}"),
        (name, None) => format!("Came from {name}"),
        // Many mail programs call themselves by their address.
        (name, Some(ip)) if name.trim_matches(['[', ']']) == ip.to_string() => format!("Came from [{ip}]"),
        (name, Some(ip)) => format!("Came from {name} [{ip}]"),
    };
    if !record.connector_id.is_empty() {
        text.push_str(&format!(" by the door {}", record.connector_id));
    }
    if !record.source_context.is_empty() {
        text.push_str(&format!(" ({})", record.source_context));
    }
    text
}
