//! From the settings document to what each room wants to know. Nothing is decided here: names meet names.

use super::Doors;
use super::organisation::Organisation;
use super::services::Services;
use crate::legs::LegBook;
use crate::logs::all::Logs;
use crate::logs::sinks::Switched;
use std::sync::Arc;
use std::time::Duration;
use waypost_access::imap::{ImapService, ImapSettings};
use waypost_access::pop3::{self, Service as Pop3Service};
use waypost_access::signin::{Entrance, LoginType, Policy};
use waypost_admin::settings::{self as written, Settings, SortOrder, Span};
use waypost_directory::Protocol;
use waypost_directory::signin::{Authority, Terms};
use waypost_sasl::{Mechanism, Protection};

fn duration(span: Span) -> Duration {
    Duration::from_millis(span.0)
}

fn login_type(meant: written::LoginType) -> LoginType {
    match meant {
        written::LoginType::PlainTextLogin => LoginType::PlainTextLogin,
        written::LoginType::PlainTextAuthentication => LoginType::PlainTextAuthentication,
        written::LoginType::SecureLogin => LoginType::SecureLogin,
    }
}

pub fn mailbox_limits(settings: &Settings) -> waypost_mailbox::Limits {
    let kept = settings.mailboxes.retain_deleted_items_for.0;
    waypost_mailbox::Limits {
        recoverable_millis: i64::try_from(kept).unwrap_or(i64::MAX),
        ..waypost_mailbox::Limits::default()
    }
}

fn directory_policy(settings: &Settings) -> waypost_directory::Policy {
    waypost_directory::Policy { separator: settings.mailboxes.sub_address_separator.chars().next() }
}

/// Every door of the settings, metrics included.
pub fn doors(settings: &Settings) -> Doors {
    let l = &settings.listeners;
    let all = [
        ("smtp", &l.smtp),
        ("submission", &l.submission),
        ("submissions", &l.submissions),
        ("lmtp", &l.lmtp),
        ("imap", &l.imap),
        ("imaps", &l.imaps),
        ("pop3", &l.pop3),
        ("pop3s", &l.pop3s),
        ("inner", &l.inner),
        ("api", &l.api),
        ("metrics", &l.metrics),
    ];
    all.into_iter().map(|(name, addresses)| (name, addresses.clone())).collect()
}

/// Connections at a time on a door: all of them, and from one address.
pub fn connections(settings: &Settings, door: &str) -> (usize, usize) {
    let (all, one) = match door {
        "imap" | "imaps" => (settings.imap.max_connections, settings.imap.max_connection_from_single_ip),
        "pop3" | "pop3s" => (settings.pop.max_connections, settings.pop.max_connection_from_single_ip),
        _ => (settings.smtp.max_connections, settings.smtp.max_connections_per_source),
    };
    (all as usize, one as usize)
}

/// What may be used, with or without the mechanisms that EnableGSSAPIAndNTLMAuth switches.
fn mechanisms(settings: &Settings, windows: bool) -> Vec<Mechanism> {
    let named = settings.sign_in.mechanisms.iter().filter_map(|name| Mechanism::parse(name.as_bytes()));
    named.filter(|m| windows || !m.may_bind_channel()).collect()
}

fn protection(meant: written::ExtendedProtection) -> Protection {
    match meant {
        written::ExtendedProtection::None => Protection::None,
        written::ExtendedProtection::Allow => Protection::Allow,
        written::ExtendedProtection::Require => Protection::Require,
    }
}

/// On what terms people sign in to submit mail.
pub fn smtp_terms(settings: &Settings) -> Terms {
    Terms {
        login_type: login_type(settings.smtp.login_type),
        loopback_is_secure: settings.sign_in.loopback_is_secure,
        mechanisms: mechanisms(settings, settings.smtp.enable_gssapi_and_ntlm_auth),
        protection: protection(settings.smtp.extended_protection_policy),
    }
}

fn imap_policy(settings: &Settings) -> Policy {
    Policy {
        login_type: login_type(settings.imap.login_type),
        loopback_is_secure: settings.sign_in.loopback_is_secure,
        mechanisms: mechanisms(settings, settings.imap.enable_gssapi_and_ntlm_auth),
        protection: protection(settings.imap.extended_protection_policy),
        sessions_per_user_max: settings.imap.max_connections_per_user,
        ..Policy::default()
    }
}

fn imap_settings(settings: &Settings) -> ImapSettings {
    let s = &settings.imap;
    ImapSettings {
        banner: s.banner.clone(),
        authenticated_timeout: duration(s.authenticated_connection_timeout),
        pre_authenticated_timeout: duration(s.pre_authenticated_connection_timeout),
        append_max: settings.smtp.max_message_size.0,
        command_bytes_max: s.max_command_size as usize,
        ..ImapSettings::default()
    }
}

fn pop3_policy(settings: &Settings) -> Policy {
    Policy {
        login_type: login_type(settings.pop.login_type),
        loopback_is_secure: settings.sign_in.loopback_is_secure,
        mechanisms: mechanisms(settings, settings.pop.enable_gssapi_and_ntlm_auth),
        protection: protection(settings.pop.extended_protection_policy),
        sessions_per_user_max: settings.pop.max_connections_per_user,
        ..Policy::default()
    }
}

fn pop3_settings(settings: &Settings) -> pop3::Settings {
    let s = &settings.pop;
    pop3::Settings {
        banner: s.banner.clone(),
        command_bytes_max: s.max_command_size as usize,
        pre_authenticated_timeout: duration(s.pre_authenticated_connection_timeout),
        authenticated_timeout: duration(s.authenticated_connection_timeout),
        newest_first: s.message_retrieval_sort_order == SortOrder::Descending,
        ..pop3::Settings::default()
    }
}

/// The way in by IMAP, which the service does not hand out again.
pub fn imap_entrance(settings: &Settings, sign_in: &Arc<dyn Authority>) -> Arc<Entrance> {
    Entrance::new(Protocol::Imap, Arc::clone(sign_in), imap_policy(settings))
}

pub fn imap_service(
    settings: &Settings,
    organisation: &Organisation,
    entrance: &Arc<Entrance>,
    legs: &LegBook,
    log: Arc<Switched>,
) -> Arc<ImapService> {
    let legs = Arc::new(legs.clone());
    ImapService::new(organisation.mailboxes.clone(), Arc::clone(entrance), log, legs, imap_settings(settings))
}

pub fn pop3_service(
    settings: &Settings,
    organisation: &Organisation,
    sign_in: &Arc<dyn Authority>,
    legs: &LegBook,
    log: Arc<Switched>,
) -> Arc<Pop3Service> {
    let entrance = Entrance::new(Protocol::Pop, Arc::clone(sign_in), pop3_policy(settings));
    let drops = Arc::new(organisation.mailboxes.clone());
    let service = Pop3Service::new(pop3_settings(settings), entrance, drops, organisation.clock.clone());
    Arc::new(service.with_log(log).with_legs(Arc::new(legs.clone())))
}

/// What running services take over without a restart.
pub fn apply(settings: &Settings, services: &Services, logs: &Logs) {
    let Services { works, imap, imap_entrance, pop3, organisation, .. } = services;
    works.apply(settings, organisation.place.root());
    super::components::apply(services, settings);
    organisation.directory.set_policy(directory_policy(settings));
    imap.set_settings(imap_settings(settings));
    imap_entrance.set_policy(imap_policy(settings));
    pop3.set_settings(pop3_settings(settings));
    pop3.entrance().set_policy(pop3_policy(settings));
    services.seams.provide(settings, &services.sign_in);
    logs.apply(settings);
}
