//! An event of the message tracking log: Exchange's fields, event ids and sources under their own names.
//!
//! The usual way to tell one: describe the message once as a [`Message`], then for each event
//! `Event::of(now, &message, Source::Smtp, EventId::Send).to(&recipients)` and set what else is known, all by reference.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use waypost_base::Timestamp;

/// Takes events as they happen. Must not wait: a sink that cannot keep up says so in a metric.
pub trait TrackSink: Send + Sync {
    fn track(&self, event: &Event<'_>);
}

/// An enum whose variants have one name each, the same in logs, filters and JSON.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// As Exchange writes it.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        /// Reads a name in any case; the error is a list of all names.
        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                let found = $name::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(text));
                found.ok_or_else(|| $name::ALL.iter().map(|known| known.name()).collect::<Vec<_>>().join(", "))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.name())
            }
        }
    };
}

named! {
    /// What happened to a message.
    EventId {
        /// An agent (mail authentication, a milter, a rule) had something to say: source-context has its name.
        AgentInfo = "AGENTINFO",
        BadMail = "BADMAIL",
        ClientSubmission = "CLIENTSUBMISSION",
        /// Put off: recipient-status has the reason, message-info the next attempt where it is known.
        Defer = "DEFER",
        /// Given to a mailbox.
        Deliver = "DELIVER",
        DeliverFail = "DELIVERFAIL",
        /// Dropped without a report, on purpose.
        Drop = "DROP",
        /// A report was made: reference has the Message-ID of what it is about.
        Dsn = "DSN",
        DuplicateDeliver = "DUPLICATEDELIVER",
        DuplicateExpand = "DUPLICATEEXPAND",
        DuplicateRedirect = "DUPLICATEREDIRECT",
        /// A group became its members: related-recipient-address is the group.
        Expand = "EXPAND",
        /// Failed for good: recipient-status has the reason.
        Fail = "FAIL",
        HaDiscard = "HADISCARD",
        HaReceive = "HARECEIVE",
        HaRedirect = "HAREDIRECT",
        HaRedirectFail = "HAREDIRECTFAIL",
        InitMessageCreated = "INITMESSAGECREATED",
        Load = "LOAD",
        ModerationExpire = "MODERATIONEXPIRE",
        ModeratorApprove = "MODERATORAPPROVE",
        ModeratorReject = "MODERATORREJECT",
        ModeratorsAllNdr = "MODERATORSALLNDR",
        NotifyMapi = "NOTIFYMAPI",
        NotifyShadow = "NOTIFYSHADOW",
        PoisonMessage = "POISONMESSAGE",
        Process = "PROCESS",
        ProcessMeetingMessage = "PROCESSMEETINGMESSAGE",
        /// Taken into responsibility: the peer has its 250.
        Receive = "RECEIVE",
        /// Goes to somebody else instead or as well: related-recipient-address is who was meant first.
        Redirect = "REDIRECT",
        /// Found under another address of the same recipient.
        Resolve = "RESOLVE",
        Resubmit = "RESUBMIT",
        ResubmitDefer = "RESUBMITDEFER",
        ResubmitFail = "RESUBMITFAIL",
        /// Given to another server, which answered 250.
        Send = "SEND",
        Submit = "SUBMIT",
        SubmitDefer = "SUBMITDEFER",
        SubmitFail = "SUBMITFAIL",
        Suppressed = "SUPPRESSED",
        Throttle = "THROTTLE",
        Transfer = "TRANSFER",
    }
}

named! {
    /// Which part of the transport tells.
    Source {
        Admin = "ADMIN",
        Agent = "AGENT",
        Approval = "APPROVAL",
        BootLoader = "BOOTLOADER",
        Dns = "DNS",
        Dsn = "DSN",
        Gateway = "GATEWAY",
        MailboxRule = "MAILBOXRULE",
        MeetingMessageProcessor = "MEETINGMESSAGEPROCESSOR",
        Orar = "ORAR",
        Pickup = "PICKUP",
        PoisonMessage = "POISONMESSAGE",
        PublicFolder = "PUBLICFOLDER",
        Queue = "QUEUE",
        Redundancy = "REDUNDANCY",
        Resolver = "RESOLVER",
        Routing = "ROUTING",
        SafetyNet = "SAFETYNET",
        Smtp = "SMTP",
        StoreDriver = "STOREDRIVER",
    }
}

named! {
    /// Which way a message goes, seen from the organisation.
    Direction {
        Undefined = "Undefined",
        /// Somebody of ours sent it.
        Originating = "Originating",
        /// It came from outside.
        Incoming = "Incoming",
    }
}

/// Names one message as long as it exists, also where it is split for several ways. Printed as a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u128);

impl NetworkId {
    /// The id of the message that was accepted as queue item `item`: always the same for the same item, laid out as a
    /// UUID of version 8 (RFC 9562 §5.8).
    pub const fn of(item: u64) -> NetworkId {
        let bits = ((mix(item) as u128) << 64) | mix(item ^ 0x9E37_79B9_7F4A_7C15) as u128;
        let version = 0x8_u128 << 76;
        let variant = 0x2_u128 << 62;
        NetworkId((bits & !(0xF_u128 << 76) & !(0x3_u128 << 62)) | version | variant)
    }
}

/// The finaliser of SplitMix64: a permutation, so two items never share a first half before the fixed bits.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (n >> 96) as u32,
            (n >> 80) as u16,
            (n >> 64) as u16,
            (n >> 48) as u16,
            n & 0xFFFF_FFFF_FFFF
        )
    }
}

/// A recipient and what was said about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recipient<'a> {
    pub address: &'a str,
    /// The answer or reason, such as `250 2.1.5 Ok` or `550 5.1.1 no such user`; empty where there is nothing to say.
    pub status: &'a str,
}

impl<'a> Recipient<'a> {
    pub const fn new(address: &'a str, status: &'a str) -> Recipient<'a> {
        Recipient { address, status }
    }
}

/// What all events of one message have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// The queue item; 0 where there is none (yet).
    pub item: u64,
    /// The Message-ID, with or without its angle brackets; empty where there is none.
    pub message_id: &'a str,
    /// Decoded.
    pub subject: &'a str,
    /// Who wrote it: the From field's address, or the envelope's where the field says nothing.
    pub sender: &'a str,
    /// The envelope's sender; empty for the null reverse-path.
    pub return_path: &'a str,
    /// Bytes as accepted.
    pub size: u64,
    /// Somebody of ours sent it (they signed in, or it is a report of ours).
    pub originating: bool,
    /// Where it came in from.
    pub client_ip: Option<IpAddr>,
}

/// One line of the tracking log. All text is borrowed; empty text is an empty field.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub time: Timestamp,
    /// The machine that handed the message over: the client at RECEIVE, we at SEND.
    pub client_ip: Option<IpAddr>,
    pub client_hostname: &'a str,
    /// The machine that took it: we at RECEIVE, the other server at SEND.
    pub server_ip: Option<IpAddr>,
    pub server_hostname: &'a str,
    /// Free text of the source: the session's id, an agent's words, the reason of a decision.
    pub source_context: &'a str,
    /// The connector by which it came or went.
    pub connector_id: &'a str,
    pub source: Source,
    pub event_id: EventId,
    /// The queue item; 0 for none.
    pub internal_message_id: u64,
    /// With or without angle brackets; the log always has them.
    pub message_id: &'a str,
    pub network_message_id: Option<NetworkId>,
    pub recipients: &'a [Recipient<'a>],
    pub total_bytes: u64,
    /// All recipients of the message at this event, also when `recipients` names fewer.
    pub recipient_count: u32,
    /// At EXPAND the group, at REDIRECT and RESOLVE who was addressed first.
    pub related_recipient_address: &'a str,
    /// At DSN the Message-ID that the report is about; at DUPLICATEDELIVER and others, further ids.
    pub reference: &'a str,
    pub message_subject: &'a str,
    pub sender_address: &'a str,
    /// Empty is written as `<>`.
    pub return_path: &'a str,
    /// At DELIVER and SEND when the message was accepted, at DEFER when it is tried again.
    pub message_info: &'a str,
    pub directionality: Direction,
    pub tenant_id: &'a str,
    /// Where the message entered the organisation.
    pub original_client_ip: Option<IpAddr>,
    pub original_server_ip: Option<IpAddr>,
    /// `S:name=value` pairs with `;` between them.
    pub custom_data: &'a str,
    pub transport_traffic_type: &'a str,
}

impl<'a> Event<'a> {
    /// An event of `message`, without recipients and without anything else that only some events have.
    pub fn of(time: Timestamp, message: &Message<'a>, source: Source, event_id: EventId) -> Event<'a> {
        Event {
            time,
            client_ip: None,
            client_hostname: "",
            server_ip: None,
            server_hostname: "",
            source_context: "",
            connector_id: "",
            source,
            event_id,
            internal_message_id: message.item,
            message_id: message.message_id,
            network_message_id: (message.item != 0).then(|| NetworkId::of(message.item)),
            recipients: &[],
            total_bytes: message.size,
            recipient_count: 0,
            related_recipient_address: "",
            reference: "",
            message_subject: message.subject,
            sender_address: message.sender,
            return_path: message.return_path,
            message_info: "",
            directionality: if message.originating { Direction::Originating } else { Direction::Incoming },
            tenant_id: "",
            original_client_ip: message.client_ip,
            original_server_ip: None,
            custom_data: "",
            transport_traffic_type: "Email",
        }
    }

    /// For these recipients; the count follows.
    pub fn to(self, recipients: &'a [Recipient<'a>]) -> Event<'a> {
        let recipient_count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        Event { recipients, recipient_count, ..self }
    }

    /// Who handed it over.
    pub fn client(self, ip: Option<IpAddr>, hostname: &'a str) -> Event<'a> {
        Event { client_ip: ip, client_hostname: hostname, ..self }
    }

    /// Who took it.
    pub fn server(self, ip: Option<IpAddr>, hostname: &'a str) -> Event<'a> {
        Event { server_ip: ip, server_hostname: hostname, ..self }
    }

    /// By which connector it came or went.
    pub fn connector(self, connector_id: &'a str) -> Event<'a> {
        Event { connector_id, ..self }
    }

    /// What the source has to say.
    pub fn context(self, source_context: &'a str) -> Event<'a> {
        Event { source_context, ..self }
    }

    /// The address that this event is about besides its recipients: a group, or who was addressed first.
    pub fn related(self, address: &'a str) -> Event<'a> {
        Event { related_recipient_address: address, ..self }
    }

    /// Other messages' ids.
    pub fn reference(self, reference: &'a str) -> Event<'a> {
        Event { reference, ..self }
    }

    /// When it was accepted (DELIVER, SEND) or is tried again (DEFER), as text.
    pub fn info(self, message_info: &'a str) -> Event<'a> {
        Event { message_info, ..self }
    }

    /// RECEIVE: taken over from a client or server; source-context has the session.
    pub fn receive(
        time: Timestamp,
        message: &Message<'a>,
        session: &'a str,
        recipients: &'a [Recipient<'a>],
    ) -> Event<'a> {
        Event::of(time, message, Source::Smtp, EventId::Receive).to(recipients).context(session)
    }

    /// DELIVER: in these mailboxes.
    pub fn deliver(time: Timestamp, message: &Message<'a>, recipients: &'a [Recipient<'a>]) -> Event<'a> {
        Event::of(time, message, Source::StoreDriver, EventId::Deliver).to(recipients)
    }

    /// SEND: another server answered 250; each recipient's status has its words.
    pub fn send(
        time: Timestamp,
        message: &Message<'a>,
        connector: &'a str,
        server: (Option<IpAddr>, &'a str),
        recipients: &'a [Recipient<'a>],
    ) -> Event<'a> {
        let event = Event::of(time, message, Source::Smtp, EventId::Send).to(recipients);
        event.connector(connector).server(server.0, server.1)
    }

    /// DEFER: put off; each recipient's status has the reason, `next` the next attempt ([`Timestamp`] as text).
    pub fn defer(
        time: Timestamp,
        message: &Message<'a>,
        source: Source,
        next: &'a str,
        recipients: &'a [Recipient<'a>],
    ) -> Event<'a> {
        Event::of(time, message, source, EventId::Defer).to(recipients).info(next)
    }

    /// FAIL: never will be delivered; each recipient's status has the reason.
    pub fn fail(
        time: Timestamp,
        message: &Message<'a>,
        source: Source,
        recipients: &'a [Recipient<'a>],
    ) -> Event<'a> {
        Event::of(time, message, source, EventId::Fail).to(recipients)
    }

    /// DSN: the report `message` was made about `reported` (a Message-ID).
    pub fn dsn(
        time: Timestamp,
        message: &Message<'a>,
        reported: &'a str,
        recipients: &'a [Recipient<'a>],
    ) -> Event<'a> {
        Event::of(time, message, Source::Dsn, EventId::Dsn).to(recipients).reference(reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!("receive".parse(), Ok(EventId::Receive));
        assert_eq!("StoreDriver".parse(), Ok(Source::StoreDriver));
        assert!("x".parse::<EventId>().unwrap_err().contains("RESUBMITDEFER"));
        assert_eq!(EventId::ALL.len(), 41);
        assert_eq!(Source::ALL.len(), 20);
    }

    #[test]
    fn network_ids_are_stable_uuids() {
        let id = NetworkId::of(1_858_000_000_000_000_001).to_string();
        assert_eq!(id, NetworkId::of(1_858_000_000_000_000_001).to_string());
        assert_ne!(id, NetworkId::of(1_858_000_000_000_000_002).to_string());
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'8', "{id}");
        assert!(matches!(id.as_bytes()[19], b'8'..=b'b'), "{id}");
    }

    #[test]
    fn an_event_says_what_its_message_is() {
        let message =
            Message { item: 7, message_id: "a@b", size: 12, originating: true, ..Message::default() };
        let to = [Recipient::new("amy@contoso.test", "250 2.1.5 Ok")];
        let event = Event::deliver(Timestamp(0), &message, &to);
        assert_eq!((event.internal_message_id, event.recipient_count, event.total_bytes), (7, 1, 12));
        assert_eq!(event.directionality, Direction::Originating);
    }
}
