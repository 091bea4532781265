//! Get- and Set-ImapSettings and -PopSettings: Exchange's properties over the sections `imap` and `pop` of the settings.
//!
//! A property and its setting have the same name in two spellings (`MaxConnectionsPerUser`,
//! `max_connections_per_user`); only the bindings live elsewhere, in the section `listeners`.

use super::property::{apply, cell, changes, current, right_server, snake};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::Outcome;
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::settings::{
    CalendarOption, ExtendedProtection, LoginType, MimeFormat, RollOver, Settings, SortOrder,
};

const AS_SENT: &str = "messages are given as they were sent";

/// In the order in which Exchange shows them.
macro_rules! properties {
    ($size:expr, [$($first:expr,)*], [$($sort:expr,)*]) => {
        &[
            $size,
            $($first,)*
            Param::new("UnencryptedOrTLSBindings", Kind::Edit, "Addresses with port where TLS is started by command."),
            Param::new("SSLBindings", Kind::Edit, "Addresses with port where TLS comes first."),
            Param::new("InternalConnectionSettings", Kind::Edit, "HOST:PORT:SSL or HOST:PORT:TLS, shown to users; the listeners if none is given."),
            Param::new("ExternalConnectionSettings", Kind::Edit, "The same for clients outside."),
            Param::new("X509CertificateName", Kind::Text, "Of several certificates, the one with this name is shown to clients. No server trusts another by it."),
            Param::new("Banner", Kind::Text, "What the greeting says."),
            Param::new("LoginType", Kind::Choice(LoginType::NAMES), "When passwords are taken: over any connection, or over TLS only."),
            Param::new("AuthenticatedConnectionTimeout", Kind::Span, "A silent session ends after this."),
            Param::new("PreAuthenticatedConnectionTimeout", Kind::Span, "The same before sign-in."),
            Param::new("MaxConnections", Kind::Int, "Connections at a time."),
            Param::new("MaxConnectionFromSingleIP", Kind::Int, "Connections at a time from one address."),
            Param::new("MaxConnectionsPerUser", Kind::Int, "Connections at a time of one account."),
            Param::new("MessageRetrievalMimeFormat", Kind::Choice(MimeFormat::NAMES), "Kept for scripts.").without_effect(AS_SENT),
            $($sort,)*
            Param::new("ProxyTargetPort", Kind::Int, "Kept for scripts.").without_effect("servers reach each other by one inner door for all services (listeners.inner)"),
            Param::new("CalendarItemRetrievalOption", Kind::Choice(CalendarOption::NAMES), "Kept for scripts.").without_effect(AS_SENT),
            Param::new("OwaServerUrl", Kind::Text, "Kept for scripts.").without_effect(AS_SENT),
            Param::new("EnableExactRFC822Size", Kind::Bool, "Kept for scripts.").without_effect("sizes are always exact"),
            Param::new("SuppressReadReceipt", Kind::Bool, "Kept for scripts.").without_effect("read receipts are the mail program's business"),
            Param::new("ProtocolLogEnabled", Kind::Bool, "Write a protocol log."),
            Param::new("EnforceCertificateErrors", Kind::Bool, "Kept for scripts.").without_effect("servers trust each other by inner certificates only, and a wrong one of those is refused always"),
            Param::new("LogFileLocation", Kind::Text, "Folder of the protocol log; relative to the data folder."),
            Param::new("LogFileRollOverSettings", Kind::Choice(RollOver::NAMES), "When a new log file is begun. Weekly and Monthly logs are files of a day each."),
            Param::new("LogPerFileSizeQuota", Kind::Size, "A larger log file is continued in the next; 0 is by time only."),
            Param::new("ExtendedProtectionPolicy", Kind::Choice(ExtendedProtection::NAMES), "Whether Kerberos and NTLM have to be bound to the TLS channel."),
            Param::new("EnableGSSAPIAndNTLMAuth", Kind::Bool, "Offer Kerberos and NTLM, where they are set up."),
            Param::new("Server", Kind::Text, "Of this server alone, where there are several."),
        ]
    };
}

const IMAP: &[Param] = properties![
    Param::new("MaxCommandSize", Kind::Int, "Bytes of one command line, literals not counted."),
    [Param::new("ShowHiddenFoldersEnabled", Kind::Bool, "Kept for scripts.")
        .without_effect("there are no hidden folders"),],
    []
];
const POP: &[Param] = properties![
    Param::new("MaxCommandSize", Kind::Int, "Bytes of one command line."),
    [],
    [Param::new(
        "MessageRetrievalSortOrder",
        Kind::Choice(SortOrder::NAMES),
        "The order of message numbers."
    ),]
];
const GET: &[Param] = &[Param::new("Server", Kind::Text, "Which server; this one if none is given.")
    .alias(&["Identity"])
    .at(0)];
const COLUMNS: &[&str] = &["UnencryptedOrTLSBindings", "SSLBindings", "LoginType", "X509CertificateName"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ImapSettings",
        about: "Shows the settings of IMAP.",
        detail: "",
        params: GET,
        columns: COLUMNS,
        examples: &[Example { line: "Get-ImapSettings -FormatList", about: "All properties." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call, "imap", "IMAP4")),
    },
    Command {
        verb: "Set",
        noun: "ImapSettings",
        about: "Changes the settings of IMAP.",
        detail: "The change is written into settings.toml with its comments kept, and the version is kept in settings.d. A change of how clients reach us is rehearsed first: the service is brought up beside the running one and spoken \
                 to; what fails is refused. Everything takes effect at once, and sessions that stand go on.",
        params: IMAP,
        columns: &[],
        examples: &[
            Example { line: "Set-ImapSettings -LoginType SecureLogin", about: "Passwords over TLS only." },
            Example { line: "set-imap-settings --protocol-log-enabled true", about: "The other spelling." },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call, "imap")),
    },
    Command {
        verb: "Get",
        noun: "PopSettings",
        about: "Shows the settings of POP3.",
        detail: "",
        params: GET,
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call, "pop", "POP3")),
    },
    Command {
        verb: "Set",
        noun: "PopSettings",
        about: "Changes the settings of POP3.",
        detail: "As Set-ImapSettings.",
        params: POP,
        columns: &[],
        examples: &[Example { line: "Set-PopSettings -MaxConnectionsPerUser 4", about: "A limit." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call, "pop")),
    },
];

/// Where a property lives.
fn key(section: &str, property: &str) -> String {
    match (section, property) {
        ("imap", "SSLBindings") => "listeners.imaps".into(),
        ("imap", "UnencryptedOrTLSBindings") => "listeners.imap".into(),
        ("pop", "SSLBindings") => "listeners.pop3s".into(),
        ("pop", "UnencryptedOrTLSBindings") => "listeners.pop3".into(),
        _ => format!("{section}.{}", snake(property)),
    }
}

async fn get(call: &Call<'_>, section: &'static str, protocol: &str) -> Outcome {
    let settings = call.world()?.settings.current();
    right_server(call, &settings)?;
    let params = if section == "imap" { IMAP } else { POP };
    let mut record = Record::new().with("ProtocolName", protocol).with("Name", "1");
    for param in params.iter().filter(|p| p.name != "Server") {
        let Some(value) = current(&settings, &key(section, param.name)) else { continue };
        let shown = match param.name {
            "InternalConnectionSettings" if value.as_array().is_none_or(toml_edit::Array::is_empty) => {
                Cell::List(own_connections(&settings, section))
            }
            _ => cell(param.kind, &value),
        };
        record = record.with(param.name, shown);
    }
    let identity = format!("{}\\1", settings.server.id);
    let record = record
        .with("Server", settings.server.id.as_str())
        .with("Identity", identity)
        .with("IsValid", true)
        .with("ObjectState", "Unchanged");
    call.record(record).await;
    Ok(())
}

/// What the listeners come to, in the form of the connection settings.
fn own_connections(settings: &Settings, section: &str) -> Vec<String> {
    let (host, l) = (&settings.server.name, &settings.listeners);
    let (first, started) = if section == "imap" { (&l.imaps, &l.imap) } else { (&l.pop3s, &l.pop3) };
    let mut all: Vec<String> = Vec::new();
    for (addresses, how) in [(first, "SSL"), (started, "TLS")] {
        for address in addresses {
            let one = format!("{host}:{}:{how}", address.port());
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

async fn set(call: &Call<'_>, section: &'static str) -> Outcome {
    let settings = call.world()?.settings.current();
    right_server(call, &settings)?;
    let edits = changes(call, &settings, |name| (name != "Server").then(|| key(section, name)))?;
    apply(call, edits).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_the_listeners() {
        let own = own_connections(&Settings::default(), "imap");
        assert_eq!(own, ["localhost:993:SSL", "localhost:143:TLS"]);
    }

    #[test]
    fn every_property_is_a_setting_and_the_other_way_round() {
        let keys: Vec<String> =
            Settings::fields().iter().map(super::super::super::settings::Field::key).collect();
        for (section, params) in [("imap", IMAP), ("pop", POP)] {
            for param in params.iter().filter(|p| p.name != "Server") {
                let key = key(section, param.name);
                assert!(keys.contains(&key), "{key}");
            }
            let count = keys.iter().filter(|k| k.starts_with(&format!("{section}."))).count();
            assert_eq!(params.len() - 3, count, "{section}");
        }
    }
}
