//! Every setting: its place in the document, what it is for, its default and its bounds. The example file and what
//! Get-WaypostSetting shows are made from this.

use super::checks::*;
use super::health::Health;
use super::hub::{BackPressure, Dns, MailAuthentication, Transport};
use super::kerberos::Kerberos;
use super::legs::Legs;
use super::named::{MailFilter, ReceiveConnector, SendConnector};
use super::oauth::OAuth;
use super::source::DirectorySource;
use super::value::{Bytes, Kind, Span, Unlimited, choice};
use std::collections::BTreeMap;
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

/// Where a field is: in a section, or in a named section of a collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub section: String,
    pub name: Option<String>,
}

impl Place {
    pub fn section(section: &str) -> Place {
        Place { section: section.to_owned(), name: None }
    }

    pub fn named(section: &str, name: &str) -> Place {
        Place { section: section.to_owned(), name: Some(name.to_owned()) }
    }

    /// `imap.banner`, `send_connectors.sink.port`; the last dot is before the field, since names may have some.
    pub fn key(&self, field: &str) -> String {
        format!("{self}.{field}")
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}.{name}", self.section),
            None => f.write_str(&self.section),
        }
    }
}

/// What reads the values of one section, noting what is wrong with them.
pub(super) trait Reader {
    fn read<T: Kind>(&mut self, place: &Place, name: &str, default: T, check: Check<T>) -> T;
    /// The names in a collection.
    fn names(&mut self, collection: &str) -> Vec<String>;
    /// Each value would do, but not all of them together.
    fn wrong(&mut self, place: &Place, text: String);
}

type Check<T> = fn(&T) -> Result<(), String>;

/// A section: what the macro below makes of a list of fields.
pub(super) trait Section: Clone + PartialEq + Sized {
    /// Every field, in the order of the example file.
    fn fields(section: &'static str) -> Vec<Field>;
    /// The value of every field, in the same order.
    fn values(&self) -> Vec<Value>;
    /// `place` is `imap`, or `send_connectors.sink`; what is not written there is as in `base`.
    fn read(reader: &mut impl Reader, place: &Place, base: &Self) -> Self;
}

/// Makes a struct with defaults of each list of fields.
macro_rules! section_types {
    ($(
        $(#[doc = $about:literal])*
        $name:ident {
            $($(#[doc = $doc:literal])* $field:ident: $ty:ty = $default:expr $(, $check:expr)?;)*
        }
    )*) => { $(
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* }

        impl Default for $name {
            fn default() -> $name { $name { $($field: $default,)* } }
        }

        impl $crate::settings::fields::Section for $name {
            fn fields(section: &'static str) -> Vec<$crate::settings::fields::Field> {
                use $crate::settings::value::Kind as _;
                let default = $name::default();
                vec![$($crate::settings::fields::Field {
                    section,
                    name: stringify!($field),
                    about: &[$($doc),*],
                    default: default.$field.write(),
                }),*]
            }

            fn values(&self) -> Vec<toml_edit::Value> {
                use $crate::settings::value::Kind as _;
                vec![$(self.$field.write()),*]
            }

            fn read(
                reader: &mut impl $crate::settings::fields::Reader,
                place: &$crate::settings::fields::Place,
                base: &$name,
            ) -> $name {
                $name {
                    $($field: reader.read(
                        place,
                        stringify!($field),
                        base.$field.clone(),
                        $crate::settings::fields::section_types!(@check $ty $(, $check)?),
                    ),)*
                }
            }
        }
    )* };
    (@check $ty:ty) => { |_: &$ty| Ok(()) };
    (@check $ty:ty, $check:expr) => { $check };
}
pub(super) use section_types;

macro_rules! sections {
    (
        plain { $($(#[doc = $about:literal])* $name:ident, $place:ident;)* }
        named { $($(#[doc = $nabout:literal])* $nname:ident, $nplace:ident;)* }
    ) => {
        /// The settings as meant: checked, defaults filled in.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Settings {
            $($(#[doc = $about])* pub $place: $name,)*
            $($(#[doc = $nabout])* pub $nplace: BTreeMap<String, $nname>,)*
        }

        impl Settings {
            /// Every section with its explanation, in the order of the example file.
            pub fn sections() -> Vec<(&'static str, &'static [&'static str])> {
                vec![$((stringify!($place), &[$($about),*] as &'static [&'static str])),*]
            }

            /// Every collection, whose sections have names that the administrator gives: `[send_connectors.sink]`.
            pub fn collections() -> Vec<(&'static str, &'static [&'static str])> {
                vec![$((stringify!($nplace), &[$($nabout),*] as &'static [&'static str])),*]
            }

            /// Every field of the sections, in the order of the example file.
            pub fn fields() -> Vec<Field> {
                let mut out = Vec::new();
                $(out.extend($name::fields(stringify!($place)));)*
                out
            }

            /// Every field that a section of a collection has; `section` is the collection.
            pub fn named_fields() -> Vec<Field> {
                let mut out = Vec::new();
                $(out.extend($nname::fields(stringify!($nplace)));)*
                out
            }

            /// The value of every field of [`fields`](Settings::fields), in the same order.
            pub fn values(&self) -> Vec<Value> {
                let mut out = Vec::new();
                $(out.extend(self.$place.values());)*
                out
            }

            /// Every field with its place and the value that holds: sections, then what stands in the collections.
            pub fn entries(&self) -> Vec<(Place, Field, Value)> {
                let mut out = Vec::new();
                $(
                    let place = Place::section(stringify!($place));
                    let fields = $name::fields(stringify!($place));
                    out.extend(fields.into_iter().zip(self.$place.values()).map(|(f, v)| (place.clone(), f, v)));
                )*
                $(for (name, section) in &self.$nplace {
                    let place = Place::named(stringify!($nplace), name);
                    let fields = $nname::fields(stringify!($nplace));
                    out.extend(fields.into_iter().zip(section.values()).map(|(f, v)| (place.clone(), f, v)));
                })*
                out
            }

            pub(super) fn read(reader: &mut impl Reader) -> Settings {
                Settings {
                    $($place: $name::read(
                        reader,
                        &Place::section(stringify!($place)),
                        &$name::default(),
                    ),)*
                    $($nplace: reader
                        .names(stringify!($nplace))
                        .into_iter()
                        .map(|name| {
                            let place = Place::named(stringify!($nplace), &name);
                            let section = $nname::read(reader, &place, &$nname::named(&name));
                            if let Err(text) = section.whole() {
                                reader.wrong(&place, text);
                            }
                            (name, section)
                        })
                        .collect(),)*
                }
            }
        }
    };
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
    /// How an ACME authority looks whether a name is ours.
    AcmeChallenge {
        /// By HTTP on port 80 (RFC 8555 §8.3).
        Http01 = 1,
        /// By TLS on port 443 (RFC 8737).
        TlsAlpn01 = 2,
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

section_types! {
    /// This server and its organisation.
    Server {
        /// Name of this server among the organisation's servers: letters, digits and hyphens. Never changed once other
        /// servers know it.
        id: String = "server-1".into(), label;
        /// The host name that it gives itself in greetings, Received fields and delivery reports. Set it to the name
        /// that other servers find in DNS.
        name: String = "localhost".into(), host;
    }

    /// Where each service listens. An empty list switches the service off. Changes take effect at once; sessions that stand go on.
    Listeners {
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
        /// The door for the other servers of the organisation, who prove themselves by their inner certificates.
        inner: Vec<SocketAddr> = addresses(444);
        /// Administration over HTTP: `/api/v1`. Plain HTTP on loopback addresses, HTTPS on all others.
        api: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 9465))];
        /// Figures for Prometheus, at `/metrics`. No sign-in: keep it on loopback or behind something that has one.
        metrics: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 9464))];
    }

    /// TLS for clients. The inner certificates between servers are not touched by any of this.
    Tls {
        /// Certificate chain in PEM, the server's own first; relative to the data folder. With its key beside it, it is
        /// read again when it changes.
        certificate: PathBuf = "public/public.crt".into();
        /// Private key in PEM, readable by the server's user only.
        key: PathBuf = "public/public.key".into();
        /// Fetch what certificate authorities say of our certificates (OCSP), and show it to clients with them.
        ocsp_stapling: bool = true;
    }

    /// Which certificates of the store clients are shown, by thumbprint; of several, the one that holds the name that the
    /// client asks for. Empty: the certificate of [tls]. Enable- and Disable-ExchangeCertificate write these. Each server
    /// uses those that it has.
    Certificates {
        /// IMAP.
        imap: Vec<String> = Vec::new(), thumbprints;
        /// POP3.
        pop: Vec<String> = Vec::new(), thumbprints;
        /// SMTP in.
        smtp: Vec<String> = Vec::new(), thumbprints;
        /// Web pages and the HTTP API. Exchange calls it IIS.
        web: Vec<String> = Vec::new(), thumbprints;
    }

    /// Certificates by themselves, from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.
    Acme {
        /// Get a certificate, renew it in time, and bind it.
        enabled: bool = false;
        /// The directory of the authority. With this switched on you agree to its terms of service.
        directory: String = "https://acme-v02.api.letsencrypt.org/directory".into(), acme_directory;
        /// Addresses that the authority may write to.
        contact: Vec<String> = Vec::new(), at_most_1000;
        /// The names of the certificate. Empty: server.name alone.
        names: Vec<String> = Vec::new(), hosts;
        /// How the authority looks whether the names are ours: Http01 asks port 80, TlsAlpn01 asks port 443.
        challenge: AcmeChallenge = AcmeChallenge::Http01;
        /// Where Http01 is answered. Nothing else is: whatever is no challenge is not found.
        http_listeners: Vec<SocketAddr> = addresses(80);
        /// Where TlsAlpn01 is answered.
        tls_listeners: Vec<SocketAddr> = addresses(443);
        /// The services that the certificate is bound to: imap, pop, smtp, web.
        services: Vec<String> = ["imap", "pop", "smtp", "web"].map(str::to_owned).to_vec(), public_services;
        /// Root certificate in PEM of an authority of our own; relative to the data folder. Empty: those that this machine
        /// trusts.
        ca_file: PathBuf = PathBuf::new();
    }

    /// IMAP. The names are those of Set-ImapSettings; what Exchange has and Waypost does not need is kept, shown, and
    /// without effect.
    Imap {
        /// What follows `* OK` in the greeting.
        banner: String = "The Waypost IMAP4 service is ready.".into(), line;
        /// PlainTextLogin, PlainTextAuthentication or SecureLogin.
        login_type: LoginType = LoginType::SecureLogin;
        /// Which certificate clients are shown where several fit: one that holds this name. Nothing else: inner legs do
        /// not look at it.
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
        /// Bytes of one command line of somebody who has signed in, 65536 at most, whatever stands here. RFC 7162 §4 asks
        /// for at least 8192.
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
        /// Offer GSSAPI, GSS-SPNEGO and NTLM, where they are set up and among sign_in.mechanisms.
        enable_gssapi_and_ntlm_auth: bool = true;
        /// Without effect: servers trust each other by inner certificates only, and a wrong one is refused always.
        enforce_certificate_errors: bool = false;
        /// What becomes of channel bindings in GSSAPI, GSS-SPNEGO and NTLM: None does not look at them, Allow refuses wrong
        /// ones, Require also refuses those who send none. SCRAM's -PLUS mechanisms are bound whatever stands here.
        extended_protection_policy: ExtendedProtection = ExtendedProtection::None;
        /// Without effect: messages are given as they were sent.
        message_retrieval_mime_format: MimeFormat = MimeFormat::BestBodyFormat;
        /// Without effect: calendar items are given as they were sent.
        calendar_item_retrieval_option: CalendarOption = CalendarOption::ICalendar;
        /// Without effect.
        owa_server_url: String = String::new(), line;
        /// Without effect: servers reach each other by one inner door for all services.
        proxy_target_port: u32 = 1993, |n| number_in(1, 65_535, n);
        /// Without effect: there are no hidden folders.
        show_hidden_folders_enabled: bool = false;
        /// Without effect: read receipts are the mail program's business.
        suppress_read_receipt: bool = false;
    }

    /// POP3. The names are those of Set-PopSettings.
    Pop {
        /// What follows `+OK` in the greeting.
        banner: String = "The Waypost POP3 service is ready.".into(), line;
        /// PlainTextLogin, PlainTextAuthentication or SecureLogin.
        login_type: LoginType = LoginType::SecureLogin;
        /// Which certificate clients are shown where several fit: one that holds this name. Nothing else: inner legs do
        /// not look at it.
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
        /// Offer GSSAPI, GSS-SPNEGO and NTLM, where they are set up and among sign_in.mechanisms.
        enable_gssapi_and_ntlm_auth: bool = true;
        /// Without effect: servers trust each other by inner certificates only, and a wrong one is refused always.
        enforce_certificate_errors: bool = false;
        /// What becomes of channel bindings in GSSAPI, GSS-SPNEGO and NTLM: None does not look at them, Allow refuses wrong
        /// ones, Require also refuses those who send none. SCRAM's -PLUS mechanisms are bound whatever stands here.
        extended_protection_policy: ExtendedProtection = ExtendedProtection::None;
        /// Without effect: messages are given as they were sent.
        message_retrieval_mime_format: MimeFormat = MimeFormat::BestBodyFormat;
        /// Without effect: calendar items are given as they were sent.
        calendar_item_retrieval_option: CalendarOption = CalendarOption::ICalendar;
        /// Without effect.
        owa_server_url: String = String::new(), line;
        /// Without effect: servers reach each other by one inner door for all services.
        proxy_target_port: u32 = 1995, |n| number_in(1, 65_535, n);
        /// Without effect: read receipts are the mail program's business.
        suppress_read_receipt: bool = false;
    }

    /// SMTP in: from other servers, from mail programs, and LMTP.
    Smtp {
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
        /// PlainTextLogin: sign in with everything, even in clear. PlainTextAuthentication: passwords over TLS only.
        /// SecureLogin: nothing before TLS.
        login_type: LoginType = LoginType::SecureLogin;
        /// Offer GSSAPI, GSS-SPNEGO and NTLM, where they are set up and among sign_in.mechanisms.
        enable_gssapi_and_ntlm_auth: bool = true;
        /// What becomes of channel bindings in GSSAPI, GSS-SPNEGO and NTLM: None does not look at them, Allow refuses wrong
        /// ones, Require also refuses those who send none.
        extended_protection_policy: ExtendedProtection = ExtendedProtection::None;
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
    Mailboxes {
        /// Its owner is warned from here on.
        issue_warning_quota: Unlimited = Unlimited(None);
        /// It cannot send from here on.
        prohibit_send_quota: Unlimited = Unlimited(None);
        /// It takes no mail from here on. This is the limit that IMAP shows.
        prohibit_send_receive_quota: Unlimited = Unlimited(None);
        /// How long deleted messages can be brought back.
        retain_deleted_items_for: Span = Span::days(14), |n| span_in(0, 24_855 * 86_400, n);
        /// The character between user and tag in `user+tag@domain`; empty switches sub-addressing off.
        sub_address_separator: String = "+".into(), separator;
    }

    /// Sign-in.
    SignIn {
        /// Wrong passwords for one name from one network that cost nothing.
        free_failures: u32 = 5, |n| number_in(1, 1_000, n);
        /// From this many on nothing from there is looked at, until nothing was tried for `failure_window`. Networks from which
        /// the account has signed in lately are slowed down at most, so that nobody can lock people out of their office.
        refuse_after: u32 = 20, |n| number_in(2, 10_000, n);
        /// Wrong passwords from one network, all names together, that cost nothing.
        network_free_failures: u32 = 50, |n| number_in(1, 100_000, n);
        /// Wrong passwords for one name from all networks together that are not known for it and cost nothing.
        name_free_failures: u32 = 50, |n| number_in(1, 100_000, n);
        /// Longest wait before an answer.
        delay_max: Span = Span::seconds(5), |n| span_in(0, 60, n);
        /// How long failures count.
        failure_window: Span = Span::minutes(15), |n| span_in(60, 86_400, n);
        /// Ask clients for a certificate, with which the mechanism EXTERNAL signs in. They need not have one.
        client_certificates: bool = false;
        /// Files in PEM of the authorities whose certificates sign in by the mail address or principal name in them; relative
        /// to the data folder. Other certificates have to be entered for their mailbox by Add-MailboxCertificate.
        client_ca: Vec<String> = Vec::new(), at_most_1000;
        /// The mechanisms that may be used, where they can work. NTLM is not among them unless it is written here.
        mechanisms: Vec<String> = sasl_mechanisms(), sasl_names;
        /// Connections of this machine to itself count as if nobody could read them.
        loopback_is_secure: bool = true;
        /// Check NTLM by hashes of our own, which are kept from the next time that a password is set or used. Whoever reads
        /// such a hash can sign in by NTLM with it.
        ntlm_hashes: bool = false;
        /// Check NTLM by Samba's program ntlm_auth instead, on a machine that is joined to a domain.
        ntlm_helper: String = String::new(), line;
    }

    /// Logs. How the server's own is written is a matter of the command line (--log).
    Log {
        /// Most bytes of protocol logs per protocol; the oldest go first.
        directory_size_max: Bytes = Bytes::mb(250);
        /// Write what becomes of each message, for Get-MessageTrackingLog, Get-MessageTrace and `waypost why`.
        message_tracking_log_enabled: bool = true;
        /// Where; relative to the data folder.
        message_tracking_log_path: PathBuf = "logs/message-tracking".into();
        /// Files that are older go.
        message_tracking_log_max_age: Span = Span::days(30), |n| span_in(3_600, 3_650 * 86_400, n);
        /// The oldest files go when all together are larger.
        message_tracking_log_max_directory_size: Bytes = Bytes::mb(1_024);
        /// A file that is larger is continued in the next; 0 is by time only.
        message_tracking_log_max_file_size: Bytes = Bytes::mb(10);
        /// Whether subjects are among what is written.
        message_tracking_log_subject_logging_enabled: bool = true;
        /// Write each hop between two parties with its steps and its result, for `waypost why`.
        leg_log_enabled: bool = true;
        /// Where; relative to the data folder.
        leg_log_path: PathBuf = "logs/legs".into();
        /// Files that are older go.
        leg_log_max_age: Span = Span::days(30), |n| span_in(3_600, 3_650 * 86_400, n);
        /// The oldest files go when all together are larger.
        leg_log_max_directory_size: Bytes = Bytes::mb(1_024);
        /// Write what connections to other servers were made, and what came of them.
        connectivity_log_enabled: bool = true;
        /// Where; relative to the data folder.
        connectivity_log_path: PathBuf = "logs/connectivity".into();
        /// Write every line of the conversations with servers that mail is sent to.
        send_protocol_log_enabled: bool = false;
        /// Where; relative to the data folder.
        send_protocol_log_path: PathBuf = "logs/smtp-send".into();
        /// Files of the connectivity log and of the protocol logs of SMTP that are older go.
        protocol_log_max_age: Span = Span::days(30), |n| span_in(3_600, 3_650 * 86_400, n);
    }
}

sections! {
    plain {
        /// This server and its organisation.
        Server, server;
        /// Where each service listens. An empty list switches the service off. Changes take effect at once; sessions that stand go on.
        Listeners, listeners;
        /// TLS for clients. The inner certificates between servers are not touched by any of this.
        Tls, tls;
        /// Which certificates of the store clients are shown, by thumbprint; of several, the one that holds the name that
        /// the client asks for. Empty: the certificate of [tls].
        Certificates, certificates;
        /// Certificates by themselves, from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.
        Acme, acme;
        /// IMAP. The names are those of Set-ImapSettings; what Exchange has and Waypost does not need is kept, shown, and
        /// without effect.
        Imap, imap;
        /// POP3. The names are those of Set-PopSettings.
        Pop, pop;
        /// SMTP in: from other servers, from mail programs, and LMTP.
        Smtp, smtp;
        /// What holds for every mailbox that has nothing of its own.
        Mailboxes, mailboxes;
        /// Sign-in.
        SignIn, sign_in;
        /// Logs. How the server's own is written is a matter of the command line (--log).
        Log, log;
        /// Transport: what holds for the whole of it. The names are those of Set-TransportConfig and Set-TransportService.
        Transport, transport;
        /// Back pressure: from which levels on the server takes less mail, so that what it has is safe.
        BackPressure, back_pressure;
        /// Mail authentication: SPF, DKIM, DMARC and ARC on mail from outside.
        MailAuthentication, mail_authentication;
        /// DNS, which sending and mail authentication ask.
        Dns, dns;
        /// Legs between the servers of the organisation: by which mechanisms they prove themselves to each other, in the
        /// order of preference. What is not listed is forbidden. Every leg has the inner certificates of both ends besides.
        Legs, legs;
        /// Kerberos: which keys this server has, and as whom it takes part. Where tickets come from is a matter of krb5.conf.
        Kerberos, kerberos;
        /// Tokens of an OpenID provider.
        OAuth, oauth;
        /// Health: probes that try everything out as users would, the alerts that come of them, and what may be done by itself.
        Health, health;
    }

    named {
        /// Send connectors: which way mail for other domains leaves. The most particular address space that fits decides,
        /// then the lowest cost. Without any connector mail for other domains waits as Unreachable. New-SendConnector writes
        /// these; the password for a smart host is not here but in the folder `secret`.
        SendConnector, send_connectors;
        /// Receive connectors: who may do what at our doors. Of those at a door, the one with the smallest range that holds
        /// the peer's address decides. "Default Frontend", "Client Frontend" and "Client Frontend TLS" are there without
        /// being written.
        ReceiveConnector, receive_connectors;
        /// Mail filters: programs that look at every message while it comes in, by the milter protocol, in order.
        MailFilter, mail_filters;
        /// Directories that know our people: LDAP, Active Directory. New-DirectorySource writes these; the password of the
        /// account that looks things up is not here but in the folder `secret`.
        DirectorySource, directory_sources;
    }
}

/// All but NTLM.
fn sasl_mechanisms() -> Vec<String> {
    waypost_directory::signin::Terms::usual().into_iter().map(|m| m.name().to_owned()).collect()
}

fn addresses(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))]
}

impl SignIn {
    /// The rules for [`waypost_directory::signin::SignIn`].
    pub fn rules(&self) -> waypost_directory::signin::Rules {
        waypost_directory::signin::Rules {
            free: self.free_failures,
            refuse_from: self.refuse_after,
            network_free: self.network_free_failures,
            name_free: self.name_free_failures,
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
