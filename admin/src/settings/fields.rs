//! Every setting: its place in the document, what it is for, its default and its bounds. The example file and what
//! Get-WaypostSetting shows are made from this.
#![allow(clippy::ptr_arg, reason = "checks are called with a reference to the field's own type")]

use super::value::{Bytes, Kind, Span, Unlimited, choice};
use std::net::SocketAddr;
use std::path::PathBuf;
use toml_edit::Value;

/// A field as documents and help show it.
#[derive(Clone, Debug)]
pub struct Field {
    pub section: &'static str,
    pub name: &'static str,
    /// Lines of explanation.
    pub about: &'static [&'static str],
    pub default: Value,
}

impl Field {
    /// `imap.banner`
    pub fn key(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// What reads the values of one section, noting what is wrong with them.
pub(super) trait Reader {
    fn read<T: Kind>(&mut self, section: &str, name: &str, default: T, check: Check<T>) -> T;
}

type Check<T> = fn(&T) -> Result<(), String>;

macro_rules! sections {
    ($(
        $(#[doc = $about:literal])*
        $name:ident, $place:ident {
            $($(#[doc = $doc:literal])* $field:ident: $ty:ty = $default:expr $(, $check:expr)?;)*
        }
    )*) => {
        $(
            $(#[doc = $about])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* }

            impl Default for $name {
                fn default() -> $name { $name { $($field: $default,)* } }
            }
        )*

        /// The settings as meant: checked, defaults filled in.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Settings { $($(#[doc = $about])* pub $place: $name,)* }

        impl Settings {
            /// Every section with its explanation, in the order of the example file.
            pub fn sections() -> Vec<(&'static str, &'static [&'static str])> {
                vec![$((stringify!($place), &[$($about),*] as &'static [&'static str])),*]
            }

            /// Every field, in the order of the example file.
            pub fn fields() -> Vec<Field> {
                let mut out = Vec::new();
                $({
                    let default = $name::default();
                    $(out.push(Field {
                        section: stringify!($place),
                        name: stringify!($field),
                        about: &[$($doc),*],
                        default: default.$field.write(),
                    });)*
                })*
                out
            }

            /// The value of every field, in the same order.
            pub fn values(&self) -> Vec<Value> {
                vec![$($(self.$place.$field.write(),)*)*]
            }

            pub(super) fn read(reader: &mut impl Reader) -> Settings {
                Settings { $($place: $name {
                    $($field: reader.read(
                        stringify!($place),
                        stringify!($field),
                        $default,
                        sections!(@check $ty $(, $check)?),
                    ),)*
                },)* }
            }
        }
    };
    (@check $ty:ty) => { |_: &$ty| Ok(()) };
    (@check $ty:ty, $check:expr) => { $check };
}

choice! {
    /// When a protocol may take a password.
    LoginType {
        /// Over any connection.
        PlainTextLogin = 1,
        /// Over TLS only, but the connection need not begin with it. Waypost treats it as SecureLogin.
        PlainTextAuthentication = 2,
        /// Only when TLS stands.
        SecureLogin = 3,
    }
}

choice! {
    /// When a protocol log begins a new file.
    RollOver { Hourly = 1, Daily = 2, Weekly = 3, Monthly = 4 }
}

choice! {
    /// Kept for Exchange's sake.
    ExtendedProtection { None = 0, Allow = 1, Require = 2 }
}

choice! {
    /// Kept for Exchange's sake: Waypost gives messages as they were sent.
    MimeFormat {
        TextOnly = 0,
        HtmlOnly = 1,
        HtmlAndTextAlternative = 2,
        TextEnrichedOnly = 3,
        TextEnrichedAndTextAlternative = 4,
        BestBodyFormat = 5,
        Tnef = 6,
    }
}

choice! {
    /// Kept for Exchange's sake: Waypost gives calendar items as they were sent.
    CalendarOption { ICalendar = 0, IntranetUrl = 1, InternetUrl = 2, Custom = 3 }
}

choice! {
    /// The order in which POP3 numbers messages.
    SortOrder { Ascending = 0, Descending = 1 }
}

sections! {
    /// This server and its organisation.
    Server, server {
        /// Name of this server among the organisation's servers: letters, digits and hyphens. Never changed once other
        /// servers know it.
        id: String = "server-1".into(), label;
        /// The host name that it gives itself in greetings, Received fields and delivery reports. Set it to the name
        /// that other servers find in DNS.
        name: String = "localhost".into(), host;
    }

    /// Where each service listens. An empty list switches the service off. Changes need a restart.
    Listeners, listeners {
        /// SMTP from other servers.
        smtp: Vec<SocketAddr> = addresses(25);
        /// SMTP from mail programs of our users, with STARTTLS.
        submission: Vec<SocketAddr> = addresses(587);
        /// The same with TLS from the first byte.
        submissions: Vec<SocketAddr> = addresses(465);
        /// LMTP, for other mail systems on this machine. Never open it to strangers: it has no sign-in.
        lmtp: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 24))];
        /// IMAP, with STARTTLS. Exchange: UnencryptedOrTLSBindings of Set-ImapSettings.
        imap: Vec<SocketAddr> = addresses(143);
        /// IMAP with TLS from the first byte. Exchange: SSLBindings of Set-ImapSettings.
        imaps: Vec<SocketAddr> = addresses(993);
        /// POP3, with STLS.
        pop3: Vec<SocketAddr> = addresses(110);
        /// POP3 with TLS from the first byte.
        pop3s: Vec<SocketAddr> = addresses(995);
        /// Figures for Prometheus, at `/metrics`. No sign-in: keep it on loopback or behind something that has one.
        metrics: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 9464))];
    }

    /// TLS for clients. The inner certificates between servers are not touched by any of this.
    Tls, tls {
        /// Certificate chain in PEM, the server's own first; relative to the data folder. With its key beside it, it is
        /// read again when it changes.
        certificate: PathBuf = "public/public.crt".into();
        /// Private key in PEM, readable by the server's user only.
        key: PathBuf = "public/public.key".into();
    }

    /// IMAP. The names are those of Set-ImapSettings; what Exchange has and Waypost does not need is kept, shown, and
    /// without effect.
    Imap, imap {
        /// What follows `* OK` in the greeting.
        banner: String = "The Waypost IMAP4 service is ready.".into(), line;
        /// PlainTextLogin, PlainTextAuthentication or SecureLogin.
        login_type: LoginType = LoginType::SecureLogin;
        /// Without effect: the certificate of [tls] is shown.
        x509_certificate_name: String = String::new(), host_or_empty;
        /// A signed-in session that says nothing for so long is ended. RFC 9051 §5.4 asks for at least 30 minutes.
        authenticated_connection_timeout: Span = Span::minutes(30), |n| span_in(30, 3_600, n);
        /// The same before sign-in.
        pre_authenticated_connection_timeout: Span = Span::minutes(1), |n| span_in(30, 3_600, n);
        /// Connections at a time, all clients together.
        max_connections: u32 = 20_000, at_least_1;
        /// Connections at a time from one address.
        max_connection_from_single_ip: u32 = 20_000, at_least_1;
        /// Connections at a time of one account. Raise it for devices that open one per folder.
        max_connections_per_user: u32 = 64, at_least_1;
        /// Without effect: lines are bounded at 64 KiB.
        max_command_size: u32 = 65_536, |n| number_in(1_024, 1_048_576, n);
        /// Write every command and reply into a log in Exchange's layout.
        protocol_log_enabled: bool = false;
        /// Where; relative to the data folder.
        log_file_location: PathBuf = "logs/imap4".into();
        /// Hourly, Daily, Weekly or Monthly.
        log_file_roll_over_settings: RollOver = RollOver::Hourly;
        /// A log file that is larger is continued in the next; 0 is by time only.
        log_per_file_size_quota: Bytes = Bytes(0);
        /// Shown to users and other servers: `host:port:SSL` or `host:port:TLS`.
        internal_connection_settings: Vec<String> = Vec::new(), connection_settings;
        /// The same for clients outside.
        external_connection_settings: Vec<String> = Vec::new(), connection_settings;
        /// Without effect: sizes are always exact.
        enable_exact_rfc822_size: bool = true;
        /// Without effect until Kerberos is set up.
        enable_gssapi_and_ntlm_auth: bool = true;
        /// Without effect: no leg to another server is made yet.
        enforce_certificate_errors: bool = false;
        /// Without effect; SCRAM's channel binding does this job.
        extended_protection_policy: ExtendedProtection = ExtendedProtection::None;
        /// Without effect: messages are given as they were sent.
        message_retrieval_mime_format: MimeFormat = MimeFormat::BestBodyFormat;
        /// Without effect: calendar items are given as they were sent.
        calendar_item_retrieval_option: CalendarOption = CalendarOption::ICalendar;
        /// Without effect.
        owa_server_url: String = String::new(), line;
        /// Without effect while all roles are on one server.
        proxy_target_port: u32 = 1993, |n| number_in(1, 65_535, n);
        /// Without effect: there are no hidden folders.
        show_hidden_folders_enabled: bool = false;
        /// Without effect: read receipts are the mail program's business.
        suppress_read_receipt: bool = false;
    }

    /// POP3. The names are those of Set-PopSettings.
    Pop, pop {
        /// What follows `+OK` in the greeting.
        banner: String = "The Waypost POP3 service is ready.".into(), line;
        /// PlainTextLogin, PlainTextAuthentication or SecureLogin.
        login_type: LoginType = LoginType::SecureLogin;
        /// Without effect: the certificate of [tls] is shown.
        x509_certificate_name: String = String::new(), host_or_empty;
        /// A signed-in session that says nothing for so long is ended. RFC 1939 §3 asks for at least 10 minutes.
        authenticated_connection_timeout: Span = Span::minutes(30), |n| span_in(30, 3_600, n);
        /// The same before sign-in.
        pre_authenticated_connection_timeout: Span = Span::minutes(1), |n| span_in(30, 3_600, n);
        /// Connections at a time, all clients together.
        max_connections: u32 = 20_000, at_least_1;
        /// Connections at a time from one address.
        max_connection_from_single_ip: u32 = 20_000, at_least_1;
        /// Connections at a time of one account.
        max_connections_per_user: u32 = 16, at_least_1;
        /// Bytes of one command line.
        max_command_size: u32 = 512, |n| number_in(40, 16_384, n);
        /// The order of message numbers: Ascending is oldest first.
        message_retrieval_sort_order: SortOrder = SortOrder::Ascending;
        /// Write every command and reply into a log in Exchange's layout.
        protocol_log_enabled: bool = false;
        /// Where; relative to the data folder.
        log_file_location: PathBuf = "logs/pop3".into();
        /// Hourly, Daily, Weekly or Monthly.
        log_file_roll_over_settings: RollOver = RollOver::Hourly;
        /// A log file that is larger is continued in the next; 0 is by time only.
        log_per_file_size_quota: Bytes = Bytes(0);
        /// Shown to users and other servers: `host:port:SSL` or `host:port:TLS`.
        internal_connection_settings: Vec<String> = Vec::new(), connection_settings;
        /// The same for clients outside.
        external_connection_settings: Vec<String> = Vec::new(), connection_settings;
        /// Without effect: sizes are always exact.
        enable_exact_rfc822_size: bool = true;
        /// Without effect until Kerberos is set up.
        enable_gssapi_and_ntlm_auth: bool = true;
        /// Without effect: no leg to another server is made yet.
        enforce_certificate_errors: bool = false;
        /// Without effect; SCRAM's channel binding does this job.
        extended_protection_policy: ExtendedProtection = ExtendedProtection::None;
        /// Without effect: messages are given as they were sent.
        message_retrieval_mime_format: MimeFormat = MimeFormat::BestBodyFormat;
        /// Without effect: calendar items are given as they were sent.
        calendar_item_retrieval_option: CalendarOption = CalendarOption::ICalendar;
        /// Without effect.
        owa_server_url: String = String::new(), line;
        /// Without effect while all roles are on one server.
        proxy_target_port: u32 = 1995, |n| number_in(1, 65_535, n);
        /// Without effect: read receipts are the mail program's business.
        suppress_read_receipt: bool = false;
    }

    /// SMTP in: from other servers, from mail programs, and LMTP.
    Smtp, smtp {
        /// Largest message taken, whatever the recipient's own limit.
        max_message_size: Bytes = Bytes::mb(150), at_least_64_kb;
        /// Recipients of one message. RFC 5321 §4.5.3.1.8 asks for at least 100.
        max_recipients: u32 = 1_000, |n| number_in(100, 100_000, n);
        /// Connections at a time, all clients together.
        max_connections: u32 = 5_000, at_least_1;
        /// Connections at a time from one address.
        max_connections_per_source: u32 = 100, at_least_1;
        /// Messages in one session; 0 is no limit.
        max_messages_per_session: u32 = 0;
        /// Refused commands and recipients after which a session is ended.
        max_errors: u32 = 50, at_least_1;
        /// A client that says nothing for so long is sent away. RFC 5321 §4.5.3.2.7 asks for 5 minutes.
        timeout: Span = Span::minutes(5), |n| span_in(10, 3_600, n);
        /// Take passwords over TLS only.
        login_type: LoginType = LoginType::SecureLogin;
        /// Write every line into a log in Exchange's layout.
        protocol_log_enabled: bool = false;
        /// Where; relative to the data folder.
        log_file_location: PathBuf = "logs/smtp-receive".into();
        /// Hourly, Daily, Weekly or Monthly.
        log_file_roll_over_settings: RollOver = RollOver::Hourly;
        /// A log file that is larger is continued in the next; 0 is by time only.
        log_per_file_size_quota: Bytes = Bytes(0);
    }

    /// What holds for every mailbox that has nothing of its own.
    Mailboxes, mailboxes {
        /// Its owner is warned from here on.
        issue_warning_quota: Unlimited = Unlimited(None);
        /// It should not send from here on. Kept and shown; sending is not held up by it yet.
        prohibit_send_quota: Unlimited = Unlimited(None);
        /// It takes no mail from here on. This is the limit that IMAP shows.
        prohibit_send_receive_quota: Unlimited = Unlimited(None);
        /// How long deleted messages can be brought back.
        retain_deleted_items_for: Span = Span::days(14), |n| span_in(0, 24_855 * 86_400, n);
        /// The character between user and tag in `user+tag@domain`; empty switches sub-addressing off.
        sub_address_separator: String = "+".into(), separator;
    }

    /// Sign-in.
    SignIn, sign_in {
        /// Wrong passwords for one name from one network that cost nothing.
        free_failures: u32 = 5, |n| number_in(1, 1_000, n);
        /// From this many on every password from there is wrong, until nothing was tried for `failure_window`.
        refuse_after: u32 = 20, |n| number_in(2, 10_000, n);
        /// Wrong passwords from one network, all names together, that cost nothing.
        network_free_failures: u32 = 50, |n| number_in(1, 100_000, n);
        /// Longest wait before an answer.
        delay_max: Span = Span::seconds(5), |n| span_in(0, 60, n);
        /// How long failures count.
        failure_window: Span = Span::minutes(15), |n| span_in(60, 86_400, n);
    }

    /// Logs. How the server's own is written is a matter of the command line (--log).
    Log, log {
        /// Most bytes of protocol logs per protocol; the oldest go first.
        directory_size_max: Bytes = Bytes::mb(250);
    }
}

fn addresses(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))]
}

/// Text that goes into one line of a protocol.
fn line(text: &String) -> Result<(), String> {
    if text.len() > 400 || text.chars().any(char::is_control) {
        return Err("must be one line of at most 400 bytes".into());
    }
    Ok(())
}

fn label(text: &String) -> Result<(), String> {
    waypost_trust::ServerId::parse(text).map(drop).map_err(|_| "1 to 40 letters, digits and hyphens".into())
}

fn host(text: &String) -> Result<(), String> {
    match waypost_directory::address::canonical_domain(text) {
        Ok(_) => Ok(()),
        Err(_) => Err("is not a host name".into()),
    }
}

fn host_or_empty(text: &String) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { host(&text.trim_start_matches("*.").to_owned()) }
}

fn at_least_1(n: &u32) -> Result<(), String> {
    if *n >= 1 { Ok(()) } else { Err("must be at least 1".into()) }
}

fn at_least_64_kb(n: &Bytes) -> Result<(), String> {
    // RFC 5321 §4.5.3.1.7: 64K octets is the least that a server must take.
    if (65_536..=256 << 20).contains(&n.0) { Ok(()) } else { Err("must be 64 KB to 256 MB".into()) }
}

fn separator(text: &String) -> Result<(), String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (None, _) => Ok(()),
        (Some(c), None) if "+-_.=#%".contains(c) => Ok(()),
        _ => Err("must be one of + - _ . = # % or empty".into()),
    }
}

fn connection_settings(list: &Vec<String>) -> Result<(), String> {
    for text in list {
        let mut parts = text.split(':');
        let sound = parts.next().is_some_and(|h| host(&h.to_owned()).is_ok())
            && parts.next().is_some_and(|p| p.parse::<u16>().is_ok())
            && parts.next().is_none_or(|t| t.eq_ignore_ascii_case("ssl") || t.eq_ignore_ascii_case("tls"))
            && parts.next().is_none();
        if !sound {
            return Err(format!("{text:?} is not HOST:PORT, HOST:PORT:SSL or HOST:PORT:TLS"));
        }
    }
    Ok(())
}

macro_rules! bounds {
    ($($name:ident: $ty:ty, $from:expr, $what:expr;)*) => { $(
        /// Reports a value outside its bounds.
        fn $name(low: u64, high: u64, n: &$ty) -> Result<(), String> {
            let value: u64 = ($from)(*n);
            if (low..=high).contains(&value) { Ok(()) } else { Err(format!($what, low = low, high = high)) }
        }
    )* };
}
bounds! {
    number_in: u32, u64::from, "must be {low} to {high}";
    span_in: Span, |s: Span| s.0 / 1000, "must be {low} to {high} seconds";
}

impl SignIn {
    /// The rules for [`waypost_directory::signin::SignIn`].
    pub fn rules(&self) -> waypost_directory::signin::Rules {
        waypost_directory::signin::Rules {
            free: self.free_failures,
            refuse_from: self.refuse_after,
            network_free: self.network_free_failures,
            wait_millis_max: self.delay_max.0,
            window_millis: i64::try_from(self.failure_window.0).unwrap_or(i64::MAX),
            ..Default::default()
        }
    }
}

impl Mailboxes {
    /// The policy for [`waypost_directory::Directory::set_policy`].
    pub fn policy(&self) -> waypost_directory::Policy {
        waypost_directory::Policy { separator: self.sub_address_separator.chars().next() }
    }
}
