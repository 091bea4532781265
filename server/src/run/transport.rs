//! From the settings document to what the hub wants to know. Nothing is decided here: names meet names.

use std::path::Path;
use std::time::Duration;
use waypost_admin::settings::{
    self as written, AuthMechanism, FilterAddress, FilterFailure, FilterScope, Listener, PermissionGroup,
    ProtocolLogging, Settings, SmartHostAuthMechanism, Span, TlsAuthLevel, secret,
};
use waypost_directory::Address;
use waypost_queue::RetryPlan;
use waypost_queue::pressure::{Marks, Resource};
use waypost_transport as transport;
use waypost_transport::ComponentState;
use waypost_transport::agents::milter::{FailureAction, MilterAddress, MilterScope, MilterSettings};
use waypost_transport::connector::{
    AddressSpace, Credentials, Door, Permissions, ReceiveConnector, SendConnector, SmartHost, TlsLevel,
    TlsPolicy,
};
use waypost_transport::pipeline::Tracing;
use waypost_trust::channel::Verify;

fn millis(span: Span) -> i64 {
    i64::try_from(span.0).unwrap_or(i64::MAX)
}

/// `data` is the data folder, which keeps the passwords of connectors.
pub fn hub(settings: &Settings, data: &Path) -> transport::Settings {
    let (s, m, t) = (&settings.smtp, &settings.mailboxes, &settings.transport);
    let mut meant = transport::Settings::new(settings.server.name.clone());
    meant.limits.message = s.max_message_size.0;
    meant.limits.recipients = s.max_recipients;
    meant.limits.errors = s.max_errors;
    meant.limits.command_millis = millis(s.timeout);
    if s.max_messages_per_session > 0 {
        meant.limits.messages = s.max_messages_per_session;
    }
    meant.quota = waypost_mailbox::Quota {
        prohibit_bytes: m.prohibit_send_receive_quota.bytes(),
        warn_bytes: m.issue_warning_quota.bytes(),
        messages: None,
    };
    meant.prohibit_send = m.prohibit_send_quota.bytes();
    meant.terms = super::settings::smtp_terms(settings);
    meant.max_send = t.max_send_size.bytes();
    meant.max_receive = t.max_receive_size.bytes();
    let recipients = u64::from(t.max_recipient_envelope_limit);
    meant.max_recipients = (recipients > 0).then_some(recipients);
    meant.any_header_from = t.any_header_from;
    meant.refuse_own_senders_from_outside = t.refuse_own_senders_from_outside;
    meant.tag_is_folder = t.tag_is_folder;
    let postmaster = &t.external_postmaster_address;
    meant.postmaster = (!postmaster.is_empty()).then(|| postmaster.clone());
    meant.retry = retry(settings);
    meant.tracing = tracing(t);
    meant.send = settings.send_connectors.iter().map(|(name, c)| send(settings, name, c, data)).collect();
    meant.receive =
        settings.receive_connectors_in_force().iter().map(|(name, c)| receive(settings, name, c)).collect();
    meant
}

fn retry(settings: &Settings) -> RetryPlan {
    let t = &settings.transport;
    let usual = RetryPlan::default();
    RetryPlan {
        glitch_retries: t.queue_glitch_retry_count,
        glitch_millis: millis(t.queue_glitch_retry_interval),
        transient_retries: t.transient_failure_retry_count,
        transient_millis: millis(t.transient_failure_retry_interval),
        connection_failure_millis: millis(t.outbound_connection_failure_retry_interval),
        message_millis: millis(t.message_retry_interval),
        mailbox_millis: millis(t.mailbox_delivery_queue_retry_interval),
        delay_notice_millis: Some(millis(t.delay_notification_timeout)),
        expiration_millis: millis(t.message_expiration_timeout),
        connections: t.max_outbound_connections,
        ..usual
    }
}

fn tracing(t: &written::Transport) -> Option<Tracing> {
    let sender = t.pipeline_tracing_sender_address.as_str();
    if !t.pipeline_tracing_enabled || sender.is_empty() {
        return None;
    }
    let until = written::parse_time(&t.pipeline_tracing_until).unwrap_or(waypost_base::Timestamp(i64::MAX));
    // The null sender is written as `<>`, which is no address.
    Some(Tracing { sender: Address::parse(sender).ok(), until })
}

fn send(settings: &Settings, name: &str, c: &written::SendConnector, data: &Path) -> SendConnector {
    let credentials = (c.smart_host_auth_mechanism != SmartHostAuthMechanism::None)
        .then(|| password(name, c, data))
        .flatten();
    let needs_tls = c.smart_host_auth_mechanism == SmartHostAuthMechanism::BasicAuthRequireTLS;
    let level = if c.ignore_starttls {
        TlsLevel::None
    } else if c.require_tls || needs_tls || c.tls_auth_level != TlsAuthLevel::None {
        TlsLevel::Required
    } else {
        TlsLevel::Opportunistic
    };
    let verify = match c.tls_auth_level {
        TlsAuthLevel::None | TlsAuthLevel::EncryptionOnly => Verify::Any,
        TlsAuthLevel::CertificateValidation => Verify::Chain,
        TlsAuthLevel::DomainValidation => Verify::Name,
    };
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    SendConnector {
        enabled: c.enabled,
        smart_hosts: c.smart_hosts.iter().map(|h| SmartHost { host: h.host.clone(), port: h.port }).collect(),
        port: u16::try_from(c.port).unwrap_or(25),
        tls: TlsPolicy { level, name: some(&c.tls_domain), verify },
        fqdn: some(&c.fqdn),
        credentials,
        source: c.source_ip_address.parse().ok(),
        max_message_size: c.max_message_size.bytes(),
        protocol_log: settings.log.send_protocol_log_enabled
            || c.protocol_logging_level == ProtocolLogging::Verbose,
        inactivity: Duration::from_millis(c.connection_inactivity_time_out.0),
        messages_per_connection: c.smtp_max_messages_per_connection,
        connections_per_domain: settings.transport.max_per_domain_outbound_connections,
        ..SendConnector::new(
            name,
            c.address_spaces.iter().map(|a| AddressSpace::new(a.pattern.clone(), a.cost)).collect(),
        )
    }
}

/// Without its password the connector goes on without signing in, and the other server says what it thinks of that.
fn password(name: &str, c: &written::SendConnector, data: &Path) -> Option<Credentials> {
    match secret::connector_password(data, name) {
        Ok(Some(password)) => Some(Credentials { user: c.authentication_user.clone(), password }),
        Ok(None) => {
            tracing::warn!(connector = name, "no password is kept: set one with Set-SendConnector -Password");
            None
        }
        Err(e) => {
            tracing::warn!(connector = name, error = %e, "its password cannot be read");
            None
        }
    }
}

fn receive(settings: &Settings, name: &str, c: &written::ReceiveConnector) -> ReceiveConnector {
    let may = |group| c.permission_groups.contains(&group);
    let has = |mechanism| c.auth_mechanism.contains(&mechanism);
    ReceiveConnector {
        name: name.to_owned(),
        enabled: c.enabled,
        door: match c.listener {
            Listener::Smtp => Door::Smtp,
            Listener::Submission => Door::Submission,
            Listener::Submissions => Door::Submissions,
        },
        remote: c.remote_ip_ranges.clone(),
        permissions: Permissions {
            anonymous: may(PermissionGroup::AnonymousUsers),
            users: may(PermissionGroup::ExchangeUsers),
            servers: may(PermissionGroup::ExchangeServers) || has(AuthMechanism::ExternalAuthoritative),
            relay: c.anonymous_relay,
        },
        require_tls: c.require_tls,
        auth: has(AuthMechanism::BasicAuth)
            || has(AuthMechanism::BasicAuthRequireTLS)
            || has(AuthMechanism::Integrated),
        max_message_size: c.max_message_size.bytes(),
        max_recipients: (c.max_recipients_per_message > 0).then_some(c.max_recipients_per_message),
        max_hops: c.max_hop_count,
        tarpit: Duration::from_millis(c.tarpit_interval.0),
        message_rate: c.message_rate_limit,
        protocol_log: settings.smtp.protocol_log_enabled
            || c.protocol_logging_level == ProtocolLogging::Verbose,
    }
}

/// In the order in which they are asked.
pub fn milters(settings: &Settings) -> Vec<MilterSettings> {
    let mut filters: Vec<_> = settings.mail_filters.iter().filter(|(_, f)| f.enabled).collect();
    filters.sort_by_key(|(name, f)| (f.order, *name));
    let meant = |(name, f): (&String, &written::MailFilter)| MilterSettings {
        timeout: Duration::from_millis(f.timeout.0),
        failure: match f.failure_action {
            FilterFailure::Accept => FailureAction::Accept,
            FilterFailure::TempFail => FailureAction::TempFail,
            FilterFailure::Reject => FailureAction::Reject,
        },
        scope: match f.scope {
            FilterScope::All => MilterScope::All,
            FilterScope::Inbound => MilterScope::Inbound,
            FilterScope::Outbound => MilterScope::Outbound,
        },
        ..MilterSettings::new(
            name.clone(),
            match &f.address {
                FilterAddress::Inet { host, port } => MilterAddress::Tcp { host: host.clone(), port: *port },
                FilterAddress::Unix(path) => MilterAddress::Unix(path.into()),
            },
        )
    };
    filters.into_iter().map(meant).collect()
}

pub fn state(settings: &Settings) -> ComponentState {
    match settings.transport.hub_transport_state {
        written::ComponentState::Active => ComponentState::Active,
        written::ComponentState::Draining => ComponentState::Draining,
        written::ComponentState::Inactive => ComponentState::Inactive,
    }
}

/// Where back pressure begins and ends.
pub fn marks(settings: &Settings) -> Vec<(Resource, Marks)> {
    let b = &settings.back_pressure;
    let marks = |medium: u32, high: u32, normal: u32| {
        if !b.enabled {
            let never = u64::MAX;
            return Marks {
                normal_to_medium: never,
                medium_to_high: never,
                high_to_medium: never,
                medium_to_normal: never,
            };
        }
        let (medium, high, normal) = (u64::from(medium), u64::from(high), u64::from(normal));
        Marks {
            normal_to_medium: medium,
            medium_to_high: high.max(medium),
            high_to_medium: medium.max(normal),
            medium_to_normal: normal.min(medium),
        }
    };
    vec![
        (
            Resource::UsedDiskSpace,
            marks(b.used_disk_space_medium, b.used_disk_space_high, b.used_disk_space_normal),
        ),
        (Resource::PrivateBytes, marks(b.private_bytes_medium, b.private_bytes_high, b.private_bytes_normal)),
        (
            Resource::SubmissionQueue,
            marks(b.submission_queue_medium, b.submission_queue_high, b.submission_queue_normal),
        ),
        (
            Resource::DeliveryQueues,
            marks(b.delivery_queues_medium, b.delivery_queues_high, b.delivery_queues_normal),
        ),
    ]
}
