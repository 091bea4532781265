//! The sections that have names: connectors and mail filters.

use super::checks::*;
use super::connector::{
    AddressSpace, AuthMechanism, FilterAddress, FilterFailure, FilterScope, IpRange, Listener,
    PermissionGroup, ProtocolLogging, SmartHost, SmartHostAuthMechanism, TlsAuthLevel,
};
use super::fields::{Settings, section_types};
use super::value::{Span, Unlimited};
use std::collections::BTreeMap;

section_types! {
    /// A way out for some addresses. The names are those of Set-SendConnector.
    SendConnector {
        /// A connector that is not enabled takes no part in routing.
        enabled: bool = true;
        /// For people.
        comment: String = String::new(), line;
        /// Which domains, and at what cost (1 to 100): "*", "example.net", "SMTP:*.example.net;5".
        address_spaces: Vec<AddressSpace> = Vec::new(), at_most_1000;
        /// Servers that take the mail and bring it on: "relay.example.net", "[192.0.2.1]:2525". Empty: by the MX of
        /// the recipient's domain.
        smart_hosts: Vec<SmartHost> = Vec::new(), at_most_1000;
        /// Port of smart hosts that name none, and of MX hosts.
        port: u32 = 25, |n| number_in(1, 65_535, n);
        /// How we call ourselves in EHLO; empty for the server's name.
        fqdn: String = String::new(), host_or_empty;
        /// Without TLS nothing is sent.
        require_tls: bool = false;
        /// EncryptionOnly, CertificateValidation or DomainValidation, each of which requires TLS; None looks at nothing.
        tls_auth_level: TlsAuthLevel = TlsAuthLevel::None;
        /// The name that the certificate must have with DomainValidation; empty for the name of the host.
        tls_domain: String = String::new(), host_or_empty;
        /// STARTTLS is not used even where it is offered.
        ignore_starttls: bool = false;
        /// None, BasicAuth or BasicAuthRequireTLS.
        smart_host_auth_mechanism: SmartHostAuthMechanism = SmartHostAuthMechanism::None;
        /// Who signs in at the smart host. The password is in the folder `secret`, under the connector's name.
        authentication_user: String = String::new(), line;
        /// Larger messages are returned.
        max_message_size: Unlimited = Unlimited(None);
        /// The address of ours to send from; empty for whatever the system takes.
        source_ip_address: String = String::new(), ip_or_empty;
        /// Verbose writes the SMTP send protocol log.
        protocol_logging_level: ProtocolLogging = ProtocolLogging::None;
        /// A peer that says nothing for so long is given up.
        connection_inactivity_time_out: Span = Span::minutes(10), |n| span_in(1, 86_400, n);
        /// Messages over one connection before it is closed; 0 is no limit.
        smtp_max_messages_per_connection: u32 = 0;
    }

    /// Who may do what at a door. The names are those of Set-ReceiveConnector.
    ReceiveConnector {
        /// A connector that is not enabled takes no part: its peers are another's, or are sent away.
        enabled: bool = true;
        /// For people.
        comment: String = String::new(), line;
        /// The door it stands at: Smtp, Submission or Submissions of the section listeners.
        listener: Listener = Listener::Smtp;
        /// Whose connector it is: "192.0.2.1", "192.0.2.0/24", "192.0.2.1-192.0.2.9".
        remote_ip_ranges: Vec<IpRange> = IpRange::ALL.to_vec(), at_most_1000;
        /// AnonymousUsers, ExchangeUsers, ExchangeServers.
        permission_groups: Vec<PermissionGroup> = vec![PermissionGroup::AnonymousUsers], at_most_1000;
        /// Strangers may send to anybody: for printers and applications. Keep remote_ip_ranges small.
        anonymous_relay: bool = false;
        /// Tls, BasicAuth, BasicAuthRequireTLS; ExternalAuthoritative believes everybody in remote_ip_ranges.
        auth_mechanism: Vec<AuthMechanism> = vec![AuthMechanism::Tls], at_most_1000;
        /// MAIL is refused without TLS.
        require_tls: bool = false;
        /// Larger messages are refused, whatever [smtp] says; unlimited leaves it to that.
        max_message_size: Unlimited = Unlimited(None);
        /// Recipients of one message; 0 leaves it to [smtp].
        max_recipients_per_message: u32 = 0, |n| number_in(0, 100_000, n);
        /// Received fields beyond which a message goes round in circles.
        max_hop_count: u32 = 60, |n| number_in(1, 500, n);
        /// How long a refused command waits for its answer.
        tarpit_interval: Span = Span::seconds(5), |n| span_in(0, 600, n);
        /// Messages a minute from one address; 0 is no limit.
        message_rate_limit: u32 = 0;
        /// Verbose writes the SMTP receive protocol log for its sessions.
        protocol_logging_level: ProtocolLogging = ProtocolLogging::None;
    }

    /// A mail filter: rspamd, clamav-milter, opendkim and others.
    MailFilter {
        /// A filter that is not enabled is not asked.
        enabled: bool = true;
        /// For people.
        comment: String = String::new(), line;
        /// Where it listens: "inet:host@port" or "unix:/path".
        address: FilterAddress = FilterAddress::Inet { host: "127.0.0.1".into(), port: 11_332 };
        /// How long it may take for one answer.
        timeout: Span = Span::seconds(30), |n| span_in(1, 600, n);
        /// What becomes of mail while it does not answer: Accept, TempFail or Reject.
        failure_action: FilterFailure = FilterFailure::TempFail;
        /// All, Inbound (from strangers) or Outbound (from those who signed in).
        scope: FilterScope = FilterScope::All;
        /// Filters are asked one after the other, the lowest first.
        order: u32 = 50, |n| number_in(0, 10_000, n);
    }
}

/// The names of the receive connectors that are there without being written, and their doors.
pub const STANDING: [(&str, Listener); 3] = [
    ("Default Frontend", Listener::Smtp),
    ("Client Frontend", Listener::Submission),
    ("Client Frontend TLS", Listener::Submissions),
];

impl SendConnector {
    pub(super) fn named(_: &str) -> SendConnector {
        SendConnector::default()
    }

    /// What its fields must be together.
    pub(super) fn whole(&self) -> Result<(), String> {
        let wants_tls = self.require_tls || self.tls_auth_level != TlsAuthLevel::None;
        if self.ignore_starttls && wants_tls {
            return Err("ignores STARTTLS and requires TLS: only one of the two can be".into());
        }
        let signs_in = self.smart_host_auth_mechanism != SmartHostAuthMechanism::None;
        if signs_in && self.smart_hosts.is_empty() {
            return Err("has a smart_host_auth_mechanism but no smart_hosts".into());
        }
        if signs_in && self.authentication_user.is_empty() {
            return Err("has a smart_host_auth_mechanism but no authentication_user".into());
        }
        if self.ignore_starttls
            && self.smart_host_auth_mechanism == SmartHostAuthMechanism::BasicAuthRequireTLS
        {
            return Err("ignores STARTTLS, which BasicAuthRequireTLS needs".into());
        }
        Ok(())
    }
}

impl ReceiveConnector {
    /// The standing connectors begin with what their doors are for.
    pub fn named(name: &str) -> ReceiveConnector {
        let standing = STANDING.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        match standing {
            Some((_, Listener::Smtp)) | None => ReceiveConnector::default(),
            Some((_, listener)) => ReceiveConnector::for_users(*listener),
        }
    }

    /// For those who sign in.
    pub fn for_users(listener: Listener) -> ReceiveConnector {
        ReceiveConnector {
            listener,
            permission_groups: vec![PermissionGroup::ExchangeUsers],
            auth_mechanism: vec![AuthMechanism::Tls, AuthMechanism::BasicAuthRequireTLS],
            ..ReceiveConnector::default()
        }
    }

    pub(super) fn whole(&self) -> Result<(), String> {
        if self.anonymous_relay && self.remote_ip_ranges.iter().any(|r| IpRange::ALL.contains(r)) {
            return Err(
                "would let the whole world relay: give anonymous_relay narrow remote_ip_ranges".into()
            );
        }
        let trusts = self.permission_groups.contains(&PermissionGroup::ExchangeServers)
            || self.auth_mechanism.contains(&AuthMechanism::ExternalAuthoritative);
        if trusts && self.remote_ip_ranges.iter().any(|r| IpRange::ALL.contains(r)) {
            return Err("would believe the whole world: servers of ours need narrow remote_ip_ranges".into());
        }
        Ok(())
    }
}

impl Settings {
    /// The receive connectors that hold: what is written, and the standing ones that are not written.
    pub fn receive_connectors_in_force(&self) -> BTreeMap<String, ReceiveConnector> {
        let mut all = self.receive_connectors.clone();
        for (name, _) in STANDING {
            if !all.keys().any(|n| n.eq_ignore_ascii_case(name)) {
                all.insert(name.to_owned(), ReceiveConnector::named(name));
            }
        }
        all
    }
}

impl MailFilter {
    pub(super) fn named(_: &str) -> MailFilter {
        MailFilter::default()
    }

    pub(super) fn whole(&self) -> Result<(), String> {
        Ok(())
    }
}
