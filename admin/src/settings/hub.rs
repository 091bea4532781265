//! The sections of the transport role. Where Exchange has a parameter, the name is its own in snake case.

use super::checks::*;
use super::connector::{ComponentState, DmarcMode, IpRange, SpfFail};
use super::fields::section_types;
use super::value::{Span, Unlimited};
use std::path::PathBuf;

section_types! {
    /// The section `transport`.
    Transport {
        /// Largest message that one of our users sends; the lowest of all limits holds.
        max_send_size: Unlimited = Unlimited(None);
        /// Largest message that one of our recipients receives.
        max_receive_size: Unlimited = Unlimited(None);
        /// Recipients of one message of our users, a group counting as one; 0 leaves it to [smtp] max_recipients.
        max_recipient_envelope_limit: u32 = 0, |n| number_in(0, 100_000, n);
        /// Users may write any address into From, not only their own and those that they were given rights to.
        any_header_from: bool = false;
        /// Refuse strangers whose MAIL FROM is in an authoritative domain of ours. Otherwise mail authentication judges
        /// them. Lists and forwarders that keep the sender are refused too.
        refuse_own_senders_from_outside: bool = false;
        /// Mail for user+tag goes to the folder named tag where the user has one.
        tag_is_folder: bool = false;
        /// Who delivery reports are from; empty for postmaster of the default domain.
        external_postmaster_address: String = String::new(), address_or_empty;
        /// A message that could not be brought on for so long is returned.
        message_expiration_timeout: Span = Span::days(2), |n| span_in(5, 90 * 86_400, n);
        /// Its sender is told after this that it is late.
        delay_notification_timeout: Span = Span::hours(4), |n| span_in(1, 30 * 86_400, n);
        /// A message that its receiver put off (4yz) is tried again after this. Exchange has 15 minutes; its support
        /// recommends 5.
        message_retry_interval: Span = Span::minutes(5), |n| span_in(1, 86_400, n);
        /// The same for a mailbox of this server.
        mailbox_delivery_queue_retry_interval: Span = Span::minutes(5), |n| span_in(1, 86_400, n);
        /// First tries of a destination that could not be reached.
        queue_glitch_retry_count: u32 = 4, |n| number_in(0, 15, n);
        /// Between these.
        queue_glitch_retry_interval: Span = Span::minutes(1), |n| span_in(1, 30_000, n);
        /// Tries that follow them.
        transient_failure_retry_count: u32 = 6, |n| number_in(0, 15, n);
        /// Between these.
        transient_failure_retry_interval: Span = Span::minutes(5), |n| span_in(1, 43_200, n);
        /// Between all tries after these.
        outbound_connection_failure_retry_interval: Span = Span::minutes(10), |n| span_in(1, 1_728_000, n);
        /// Connections to other servers at a time.
        max_outbound_connections: u32 = 1_000, |n| number_in(1, 20_000, n);
        /// Connections to one destination at a time.
        max_per_domain_outbound_connections: u32 = 20, |n| number_in(1, 20_000, n);
        /// Keep a copy of each message of `pipeline_tracing_sender_address` at each stage.
        pipeline_tracing_enabled: bool = false;
        /// Whose; `<>` is mail without a sender.
        pipeline_tracing_sender_address: String = String::new(), tracing_sender;
        /// Where; relative to the data folder.
        pipeline_tracing_path: PathBuf = "logs/pipelinetracing".into();
        /// When it ends by itself: a time such as "2026-03-03T18:00:00Z"; empty does not end it.
        pipeline_tracing_until: String = String::new(), time_or_empty;
        /// Set-ServerComponentState -Component HubTransport: Active; Draining brings on what is there and takes nothing
        /// new; Inactive does neither.
        hub_transport_state: ComponentState = ComponentState::Active;
    }

    /// The section `back_pressure`.
    BackPressure {
        /// Without it nothing is refused, however full the disk is.
        enabled: bool = true;
        /// Percent of the store's file system in use, above which mail from outside is refused.
        used_disk_space_medium: u32 = 89, |n| number_in(1, 100, n);
        /// The same, above which all mail is.
        used_disk_space_high: u32 = 99, |n| number_in(1, 100, n);
        /// Back to normal below this.
        used_disk_space_normal: u32 = 80, |n| number_in(0, 100, n);
        /// The same three for the percent of the memory that this process may use.
        private_bytes_medium: u32 = 72, |n| number_in(1, 100, n);
        /// See private_bytes_medium.
        private_bytes_high: u32 = 75, |n| number_in(1, 100, n);
        /// See private_bytes_medium.
        private_bytes_normal: u32 = 71, |n| number_in(0, 100, n);
        /// The same three for the messages that are just being taken in.
        submission_queue_medium: u32 = 9_999, at_least_1;
        /// See submission_queue_medium.
        submission_queue_high: u32 = 15_000, at_least_1;
        /// See submission_queue_medium.
        submission_queue_normal: u32 = 2_000;
        /// The same three for what waits in all queues.
        delivery_queues_medium: u32 = 3_000_000, at_least_1;
        /// See delivery_queues_medium.
        delivery_queues_high: u32 = 5_000_000, at_least_1;
        /// See delivery_queues_medium.
        delivery_queues_normal: u32 = 2_500_000;
    }

    /// The section `mail_authentication`.
    MailAuthentication {
        /// Check mail from strangers and write the field Authentication-Results.
        enabled: bool = true;
        /// The name in that field; empty for the server's name.
        authserv_id: String = String::new(), host_or_empty;
        /// Mail from these addresses is not checked: filters and relays in front of this server.
        skip_ip_ranges: Vec<IpRange> = Vec::new(), at_most_1000;
        /// Check mail from loopback and private addresses too, which otherwise counts as coming from inside.
        check_private_addresses: bool = false;
        /// What becomes of mail that fails DMARC: Honour does what the record of the domain asks for, Quarantine puts
        /// into Junk even what it says to reject, Note only writes it down.
        dmarc: DmarcMode = DmarcMode::Honour;
        /// What becomes of mail that fails SPF where DMARC says nothing: Note, Junk or Reject.
        spf_fail: SpfFail = SpfFail::Note;
        /// ARC seals of these domains are believed: a list of theirs may break a signature.
        arc_trusted_sealers: Vec<String> = Vec::new(), hosts;
        /// Sign what our users send with the keys made by New-DkimSigningConfig.
        dkim_signing_enabled: bool = true;
        /// How long all questions to DNS may take for one message.
        timeout: Span = Span::seconds(20), |n| span_in(1, 120, n);
    }

    /// The section `dns`.
    Dns {
        /// Name servers: "192.0.2.1" or "192.0.2.1:5353". Empty: those of the system.
        servers: Vec<String> = Vec::new(), name_servers;
        /// How long one of them may take for an answer.
        timeout: Span = Span::seconds(5), |n| span_in(1, 60, n);
        /// How often a question is asked again.
        attempts: u32 = 2, |n| number_in(1, 10, n);
        /// Answers that are kept until they run out.
        cache_size: u32 = 10_000, |n| number_in(0, 10_000_000, n);
    }
}
