//! A line of the tracking log as it was read: every field as text that owns itself, numbers and times understood.

use crate::event::{Event, EventId, Message, NetworkId, Recipient, Source};
use crate::layout::Lines;
use std::net::IpAddr;
use waypost_base::Timestamp;

/// One event, read. Source and event id stay text: other builds have others.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub time: Timestamp,
    pub client_ip: Option<IpAddr>,
    pub client_hostname: String,
    pub server_ip: Option<IpAddr>,
    pub server_hostname: String,
    pub source_context: String,
    pub connector_id: String,
    pub source: String,
    pub event_id: String,
    /// 0 where the line has none.
    pub internal_message_id: u64,
    /// With its angle brackets.
    pub message_id: String,
    pub network_message_id: String,
    pub recipients: Vec<String>,
    /// As many as `recipients`, or none.
    pub recipient_status: Vec<String>,
    pub total_bytes: u64,
    pub recipient_count: u32,
    pub related_recipient_address: String,
    pub reference: String,
    pub message_subject: String,
    pub sender: String,
    pub return_path: String,
    pub message_info: String,
    pub directionality: String,
    pub tenant_id: String,
    pub original_client_ip: Option<IpAddr>,
    pub original_server_ip: Option<IpAddr>,
    pub custom_data: String,
    pub transport_traffic_type: String,
    pub log_id: String,
    pub schema_version: String,
}

impl Record {
    /// The event id, if it is one of ours.
    pub fn event(&self) -> Option<EventId> {
        self.event_id.parse().ok()
    }

    pub fn is(&self, event: EventId) -> bool {
        self.event_id.eq_ignore_ascii_case(event.name())
    }

    /// The recipient at this place and what was said about them. One status for several recipients is everybody's.
    pub fn recipient(&self, place: usize) -> Option<Recipient<'_>> {
        let address = self.recipients.get(place)?;
        let status = match self.recipient_status.as_slice() {
            [all] => Some(all),
            each => each.get(place),
        };
        Some(Recipient::new(address, status.map_or("", String::as_str)))
    }

    pub fn each_recipient(&self) -> impl Iterator<Item = Recipient<'_>> {
        (0..self.recipients.len()).filter_map(|place| self.recipient(place))
    }

    /// The record of an event that was never written: for tests, and for stories told of what has just happened.
    pub fn from_event(event: &Event<'_>) -> Option<Record> {
        let mut out = Vec::new();
        Lines::new(true, 0).append(event, &mut out);
        let line = String::from_utf8(out).ok()?;
        crate::layout::Columns::default().read(line.trim_end_matches(['\r', '\n']))
    }

    /// Written again in our layout, without its line end. `None` for an event or source that is not one of ours.
    pub(crate) fn line(&self) -> Option<String> {
        let message = Message {
            item: self.internal_message_id,
            message_id: &self.message_id,
            subject: &self.message_subject,
            sender: &self.sender,
            return_path: &self.return_path,
            size: self.total_bytes,
            originating: false,
            client_ip: self.original_client_ip,
        };
        let source: Source = self.source.parse().ok()?;
        let recipients: Vec<Recipient<'_>> = self.each_recipient().collect();
        let event = Event {
            client_ip: self.client_ip,
            client_hostname: &self.client_hostname,
            server_ip: self.server_ip,
            server_hostname: &self.server_hostname,
            source_context: &self.source_context,
            connector_id: &self.connector_id,
            network_message_id: (self.internal_message_id != 0)
                .then(|| NetworkId::of(self.internal_message_id)),
            recipients: &recipients,
            recipient_count: self.recipient_count,
            related_recipient_address: &self.related_recipient_address,
            reference: &self.reference,
            message_info: &self.message_info,
            directionality: self.directionality.parse().unwrap_or(crate::Direction::Undefined),
            tenant_id: &self.tenant_id,
            original_server_ip: self.original_server_ip,
            custom_data: &self.custom_data,
            transport_traffic_type: &self.transport_traffic_type,
            ..Event::of(self.time, &message, source, self.event()?)
        };
        let mut out = Vec::new();
        Lines::new(true, 0).append(&event, &mut out);
        out.truncate(out.len() - 2);
        String::from_utf8(out).ok()
    }
}
