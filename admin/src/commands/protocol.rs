//! Get- and Set-ImapSettings and -PopSettings: Exchange's properties over the sections `imap` and `pop` of the settings.
//!
//! A property and its setting have the same name in two spellings (`MaxConnectionsPerUser`,
//! `max_connections_per_user`); only the bindings live elsewhere, in the section `listeners`.

use crate::catalogue::{Command, Example, Kind, Needs, Param, Value};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::settings::{
    Bytes, CalendarOption, Edit, ExtendedProtection, LoginType, MimeFormat, RollOver, Settings,
    SettingsError, SortOrder, Span,
};
use crate::words::kebab;

const AS_SENT: &str = "messages are given as they were sent";

macro_rules! common {
    ($($more:expr,)*) => {
        &[
            Param::new("Banner", Kind::Text, "What the greeting says."),
            Param::new("LoginType", Kind::Choice(LoginType::NAMES), "When passwords are taken: over any connection, or over TLS only."),
            Param::new("X509CertificateName", Kind::Text, "The name in the certificate to be shown.").without_effect("the certificate named in the section tls of the settings is shown"),
            Param::new("SSLBindings", Kind::Edit, "Addresses with port where TLS comes first."),
            Param::new("UnencryptedOrTLSBindings", Kind::Edit, "Addresses with port where TLS is started by command."),
            Param::new("InternalConnectionSettings", Kind::Edit, "HOST:PORT:SSL or HOST:PORT:TLS, shown to users."),
            Param::new("ExternalConnectionSettings", Kind::Edit, "The same for clients outside."),
            Param::new("AuthenticatedConnectionTimeout", Kind::Span, "A silent session ends after this."),
            Param::new("PreAuthenticatedConnectionTimeout", Kind::Span, "The same before sign-in."),
            Param::new("MaxConnections", Kind::Int, "Connections at a time."),
            Param::new("MaxConnectionFromSingleIP", Kind::Int, "Connections at a time from one address."),
            Param::new("MaxConnectionsPerUser", Kind::Int, "Connections at a time of one account."),
            Param::new("ProtocolLogEnabled", Kind::Bool, "Write a protocol log."),
            Param::new("LogFileLocation", Kind::Text, "Folder of the protocol log; relative to the data folder."),
            Param::new("LogFileRollOverSettings", Kind::Choice(RollOver::NAMES), "When a new log file is begun."),
            Param::new("LogPerFileSizeQuota", Kind::Size, "A larger log file is continued in the next; 0 is by time only."),
            Param::new("EnableExactRFC822Size", Kind::Bool, "Kept for scripts.").without_effect("sizes are always exact"),
            Param::new("EnableGSSAPIAndNTLMAuth", Kind::Bool, "Kept for scripts.").without_effect("Kerberos is not set up"),
            Param::new("EnforceCertificateErrors", Kind::Bool, "Kept for scripts.").without_effect("inner legs never go by public certificates"),
            Param::new("ExtendedProtectionPolicy", Kind::Choice(ExtendedProtection::NAMES), "Kept for scripts.").without_effect("channel binding of SCRAM does this"),
            Param::new("MessageRetrievalMimeFormat", Kind::Choice(MimeFormat::NAMES), "Kept for scripts.").without_effect(AS_SENT),
            Param::new("CalendarItemRetrievalOption", Kind::Choice(CalendarOption::NAMES), "Kept for scripts.").without_effect(AS_SENT),
            Param::new("OwaServerUrl", Kind::Text, "Kept for scripts.").without_effect(AS_SENT),
            Param::new("ProxyTargetPort", Kind::Int, "Kept for scripts.").without_effect("all roles are on one server"),
            Param::new("SuppressReadReceipt", Kind::Bool, "Kept for scripts.").without_effect("read receipts are the mail program's business"),
            Param::new("Server", Kind::Text, "This server; others cannot be reached from here."),
            $($more,)*
        ]
    };
}

const IMAP: &[Param] = common![
    Param::new("MaxCommandSize", Kind::Int, "Kept for scripts.")
        .without_effect("lines are bounded at 64 KiB"),
    Param::new("ShowHiddenFoldersEnabled", Kind::Bool, "Kept for scripts.")
        .without_effect("there are no hidden folders"),
];
const POP: &[Param] = common![
    Param::new("MaxCommandSize", Kind::Int, "Bytes of one command line."),
    Param::new("MessageRetrievalSortOrder", Kind::Choice(SortOrder::NAMES), "The order of message numbers."),
];
const GET: &[Param] =
    &[Param::new("Server", Kind::Text, "This server; others cannot be reached from here.").at(0)];
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
        detail: "The change is written into settings.toml with its comments kept, and the version is kept in settings.d. \
                 Sessions that stand go on. Bindings take effect when the server starts again.",
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
        _ => format!("{section}.{}", kebab(property).replace('-', "_")),
    }
}

/// The value that holds for a key now.
fn current(settings: &Settings, key: &str) -> Option<toml_edit::Value> {
    let at = Settings::fields().iter().position(|f| f.key() == key)?;
    settings.values().into_iter().nth(at)
}

fn strings(value: &toml_edit::Value) -> Vec<String> {
    let items = value.as_array().into_iter().flat_map(|a| a.iter());
    items.filter_map(|v| v.as_str()).map(str::to_owned).collect()
}

fn right_server(call: &Call<'_>, settings: &Settings) -> Outcome {
    match call.text("Server") {
        Some(name)
            if !name.eq_ignore_ascii_case(&settings.server.id)
                && !name.eq_ignore_ascii_case(&settings.server.name) =>
        {
            Err(Failure::not_found("server", name))
        }
        _ => Ok(()),
    }
}

async fn get(call: &Call<'_>, section: &'static str, protocol: &str) -> Outcome {
    let settings = call.world()?.settings.current();
    right_server(call, &settings)?;
    let params = if section == "imap" { IMAP } else { POP };
    let mut record = Record::new().with("ProtocolName", protocol).with("Name", "1");
    for param in params.iter().filter(|p| p.name != "Server") {
        if let Some(value) = current(&settings, &key(section, param.name)) {
            record = record.with(param.name, cell(param.kind, &value));
        }
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

fn cell(kind: Kind, value: &toml_edit::Value) -> Cell {
    let text = value.as_str().unwrap_or_default();
    match kind {
        Kind::Bool => Cell::Flag(value.as_bool().unwrap_or_default()),
        Kind::Int => Cell::Number(value.as_integer().unwrap_or_default()),
        Kind::Span => Span::parse(text).into(),
        Kind::Size => Bytes::parse(text).into(),
        Kind::List | Kind::Edit => Cell::List(strings(value)),
        _ => Cell::Text(text.to_owned()),
    }
}

async fn set(call: &Call<'_>, section: &'static str) -> Outcome {
    let settings = call.world()?.settings.current();
    right_server(call, &settings)?;
    let mut edits = Vec::new();
    for (name, value) in call.invocation.args.iter().filter(|(name, _)| *name != "Server") {
        let key = key(section, name);
        let value = match value {
            Value::Edit { .. } => {
                let old = current(&settings, &key).map(|v| strings(&v)).unwrap_or_default();
                Some(Value::List(value.apply(&old)))
            }
            Value::Null => None,
            other => Some(other.clone()),
        };
        edits.push(Edit { key, value: value.as_ref().and_then(written) });
    }
    apply(call, edits).await
}

/// As the settings document has it.
fn written(value: &Value) -> Option<toml_edit::Value> {
    use crate::settings::Kind as _;
    Some(match value {
        Value::Text(text) => text.as_str().into(),
        Value::Flag(on) => (*on).into(),
        Value::Int(n) => (*n).into(),
        Value::Size(Some(bytes)) => Bytes(*bytes).write(),
        Value::Size(None) => "unlimited".into(),
        Value::Span(millis) => Span(*millis).write(),
        Value::List(items) => toml_edit::Value::Array(items.iter().map(String::as_str).collect()),
        Value::Edit { .. } | Value::Null => return None,
    })
}

/// Changes the settings, or says what would come of it.
pub(super) async fn apply(call: &Call<'_>, edits: Vec<Edit>) -> Outcome {
    let store = &call.world()?.settings;
    if edits.is_empty() {
        call.warn("Nothing was given to be changed.").await;
        return Ok(());
    }
    store.rehearse(&edits).map_err(refused)?;
    let said = || {
        let one = |e: &Edit| match &e.value {
            Some(value) => format!("{} = {}", e.key, crate::settings::value::shown(value)),
            None => format!("{} to its default", e.key),
        };
        format!("Setting {}.", edits.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    if call.only_said(said).await {
        return Ok(());
    }
    let saved = store.change(&edits, &call.author()).map_err(refused)?;
    if saved.version.is_none() {
        call.warn("The command completed successfully but no settings have been modified.").await;
    } else if edits.iter().any(|e| e.key.starts_with("listeners.")) {
        call.warn("The bindings take effect when the server is started again.").await;
    }
    if edits.iter().any(|e| e.key.starts_with("mailboxes.") && e.key.ends_with("_quota")) {
        spread_quotas(call, &saved.settings).await?;
    }
    Ok(())
}

/// Mailboxes keep the quota that holds for them in their own rows: those without one of their own get the new default.
async fn spread_quotas(call: &Call<'_>, settings: &Settings) -> Outcome {
    let now = call.directory()?.snapshot();
    let total = now.accounts().count() as u64;
    for (done, account) in now.accounts().enumerate() {
        let quota = super::mailbox::quota_of(account, settings);
        let mailbox = call.mailbox(account).await?;
        if mailbox.usage().quota != quota {
            mailbox.set_quota(quota).await?;
        }
        if done % 100 == 99 {
            call.progress("Setting quotas", done as u64, Some(total), "mailboxes").await;
        }
    }
    Ok(())
}

pub(super) fn refused(e: SettingsError) -> Failure {
    match &e {
        SettingsError::Io { path, .. } => Failure::new(Category::WriteError, path.display(), &e),
        SettingsError::Mistakes { mistakes, .. } => {
            let first = mistakes.first().map(|m| m.key.clone()).unwrap_or_default();
            let text = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Failure::invalid(first, format!("The settings would not be valid: {text}."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
