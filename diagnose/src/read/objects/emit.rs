//! From an object to facts: the object itself, and what it says in the words of other kinds (a certificate, a disk, an event).

use super::command::Command;
use super::kind;
use crate::fact::{Fact, Place, plain, server_name};
use crate::read::when;
use crate::sink::Sink;
use crate::words;
use std::borrow::Cow;
use std::sync::Arc;

/// Properties of one object that are kept; an Exchange mailbox has about 250, of which the first ones matter.
pub const PROPERTIES_MAX: usize = 400;

/// An object as it was printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    pub at: Place,
    /// Names as they are printed, with their values.
    pub properties: Vec<(String, String)>,
    /// .NET's name of the type, where the form keeps it.
    pub dotnet: Option<String>,
    pub text: String,
}

impl Object {
    pub fn new(at: Place) -> Object {
        Object { at, ..Object::default() }
    }

    pub fn put(&mut self, name: &str, value: impl Into<String>) {
        if self.properties.len() < PROPERTIES_MAX {
            self.properties.push((name.trim().to_owned(), value.into()));
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.properties.iter().any(|(n, _)| is(n, name))
    }

    /// The first value, if it is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(n, v)| is(n, name) && !v.trim().is_empty()).map(|(_, v)| v.trim())
    }

    pub fn first_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }
}

/// Whether a printed name is this one, in its plain form.
fn is(printed: &str, wanted: &str) -> bool {
    let mut letters = printed.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    wanted.chars().all(|c| letters.next() == Some(c)) && letters.next().is_none()
}

/// What the object is, from all that is known.
pub fn kind_of(object: &Object, command: Option<&Command>, file: &str) -> Option<String> {
    if let Some(kind) = object.dotnet.as_deref().and_then(kind::of_dotnet) {
        return Some(kind);
    }
    let commanded = command.and_then(|c| c.kind.clone());
    let allowed = kind::of_properties(|name| object.has(name));
    // Who holds a component is an answer to the same command as its state.
    if allowed.first() == Some(&"ComponentRequester") {
        return allowed.first().map(|kind| (*kind).to_owned());
    }
    let named = kind::of_file(file);
    for hint in [&commanded, &named].into_iter().flatten() {
        if allowed.iter().any(|kind| kind.eq_ignore_ascii_case(hint)) {
            return Some(hint.clone());
        }
    }
    // The noun of a virtual directory's cmdlet is kept beside; the same properties stand in other objects.
    let told = told_apart(&allowed, object);
    told.map(str::to_owned).or(commanded).or(named)
}

/// IMAP or POP, by what the values say.
fn told_apart(allowed: &[&'static str], object: &Object) -> Option<&'static str> {
    let first = *allowed.first()?;
    let (imap, pop) = match first {
        "ImapSettings" | "PopSettings" => ("ImapSettings", "PopSettings"),
        "TestImapConnectivity" | "TestPopConnectivity" => ("TestImapConnectivity", "TestPopConnectivity"),
        _ => return Some(first),
    };
    if allowed.contains(&imap) != allowed.contains(&pop) {
        return Some(first);
    }
    let says = |phrase: &str| object.properties.iter().any(|(_, v)| words::contains(v, phrase));
    let ports = |list: [&str; 3]| list.iter().any(|port| says(port));
    let is_pop =
        says("pop3") || says("pop ") || ports([":110", ":995", "1995"]) || object.get("port") == Some("995");
    let is_imap = says("imap") || ports([":143", ":993", "1993"]);
    Some(if is_pop && !is_imap { pop } else { imap })
}

/// The facts of an object.
pub fn emit(object: &Object, command: Option<&Command>, sink: &mut Sink<'_>) {
    if object.properties.iter().all(|(_, value)| value.trim().is_empty()) {
        return;
    }
    let file = sink.name();
    let kind = kind_of(object, command, &file);
    let server = server_of(object, kind.as_deref(), command).or_else(|| sink.server());
    let kind = kind.unwrap_or_default();
    if kind == "EventLogEntry" && crate::read::events::from_object(object, server.clone(), sink) {
        return;
    }
    let mut fact = Fact::new("object", object.at).text(&object.text).time(time_of(object, &kind));
    fact.server.clone_from(&server);
    fact.put("type", if kind.is_empty() { "Object" } else { &kind });
    if let Some(command) = command {
        if command.kind.as_ref().is_none_or(|k| *k == kind) {
            fact.put("cmdlet", &command.cmdlet);
        }
        if kind.eq_ignore_ascii_case("ADPrincipalGroupMembership") {
            fact.put("of", &command.argument);
        }
        if kind == "ComponentRequester" {
            let place = if command.argument.starts_with("Remote") { "remote" } else { "local" };
            fact.put("where", place);
        }
    }
    for (name, value) in &object.properties {
        let name = alias(&kind, plain(Cow::Owned(name.clone())));
        let name = if name == "type" { Cow::Borrowed("objecttype") } else { name };
        if fact.get(&name).is_none() {
            let value = clean(value);
            let value = if kind == "Service" { service_word(&name, value) } else { value };
            fact.put(name, value);
        }
    }
    let asked = command.filter(|_| kind == "ItemProperty" && !object.has("pspath"));
    match asked {
        Some(command) => {
            let mut keyed = object.clone();
            keyed.put("PSPath", command.argument.clone());
            super::also::emit(&keyed, &kind, &server, sink);
        }
        None => super::also::emit(object, &kind, &server, sink),
    }
    complete(&mut fact, &kind);
    sink.fact(fact);
}

/// A value as rules compare it: booleans of other languages in English.
fn clean(value: &str) -> &str {
    match value.trim() {
        "Wahr" | "Vrai" | "Verdadero" | "Vero" | "WAHR" | "VRAI" => "True",
        "Falsch" | "Faux" | "Falso" | "FALSCH" | "FAUX" => "False",
        other => other,
    }
}

/// The words for a service's state and start type: JSON and CSV of .NET objects have their numbers.
fn service_word<'v>(name: &str, value: &'v str) -> &'v str {
    match (name, value) {
        ("status", "1") => "Stopped",
        ("status", "2") => "StartPending",
        ("status", "3") => "StopPending",
        ("status", "4") => "Running",
        ("status", "7") => "Paused",
        ("starttype", "2") => "Automatic",
        ("starttype", "3") => "Manual",
        ("starttype", "4") => "Disabled",
        ("starttype", auto) if auto.eq_ignore_ascii_case("auto") => "Automatic",
        _ => value,
    }
}

/// Column names of tables and of older or other cmdlets, as rules know them.
fn alias(kind: &str, name: Cow<'static, str>) -> Cow<'static, str> {
    let known = match (kind, name.as_ref()) {
        ("Service", "startmode" | "startuptype") => "starttype",
        ("Service", "startname") => "account",
        ("Service", "servicename") => "name",
        ("Service", "state") => "status",
        ("TestImapConnectivity" | "TestPopConnectivity", "casserver" | "clientaccessservershortname") => {
            "casserver"
        }
        ("TestImapConnectivity" | "TestPopConnectivity", "latencyms") => "latency",
        ("HealthReport" | "ServerHealth", "healthset") if kind == "ServerHealth" => "healthsetname",
        ("TestMailflow", "testmailflowresult") => "result",
        ("MessageTrackingLog", "sender") => "senderaddress",
        ("MessageTrackingLog", "recipients") => "recipientaddress",
        _ => return name,
    };
    Cow::Borrowed(known)
}

/// Fields that rules expect whatever the form left out.
fn complete(fact: &mut Fact, kind: &str) {
    let copy = |fact: &mut Fact, from: &str, to: &'static str| {
        if fact.get(to).is_none()
            && let Some(value) = fact.get(from).map(str::to_owned)
        {
            fact.put(to, value);
        }
    };
    match kind {
        "TestMailflow" => copy(fact, "result", "testmailflowresult"),
        "HealthReport" => copy(fact, "healthset", "healthsetname"),
        "TestImapConnectivity" | "TestPopConnectivity" => copy(fact, "casserver", "server"),
        "MailboxDatabaseCopyStatus" => copy(fact, "name", "identity"),
        "MessageTrackingLog" => {
            copy(fact, "senderaddress", "sender");
            copy(fact, "recipientaddress", "recipients");
        }
        "Service" => {
            copy(fact, "displayname", "name");
            copy(fact, "account", "startname");
        }
        "ReceiveConnector" | "SendConnector" => {
            if fact.get("name").is_none()
                && let Some(identity) = fact.get("identity")
            {
                let name = identity.rsplit('\\').next().unwrap_or(identity).to_owned();
                fact.put("name", name);
            }
        }
        _ => {}
    }
}

/// The server that an object belongs to.
fn server_of(object: &Object, kind: Option<&str>, command: Option<&Command>) -> Option<Arc<str>> {
    const NAMES: [&str; 12] = [
        "serverfqdn",
        "server",
        "servername",
        "machinename",
        "casserver",
        "clientaccessservershortname",
        "clientaccessserver",
        "computer",
        "computername",
        "mailboxserver",
        "pscomputername",
        "systemname",
    ];
    let kind = kind.unwrap_or_default();
    let plausible =
        |name: &str| !name.contains([' ', ',', '{', '}', '*', ':']) && name != "localhost" && name != ".";
    for name in NAMES {
        // A remote session's host is not the server asked; a connection's peer is not where it was tried.
        if (name == "pscomputername" && command.is_some_and(|c| c.server.is_some()))
            || (name == "computername" && kind == "NetConnection")
            || (name == "mailboxserver" && kind.starts_with("Test") && object.has("casserver"))
        {
            continue;
        }
        if let Some(value) = object.get(name)
            && plausible(value)
        {
            return server_name(value);
        }
    }
    let by_identity = matches!(
        kind,
        "Queue"
            | "Message"
            | "ReceiveConnector"
            | "ExchangeCertificate"
            | "ImapSettings"
            | "PopSettings"
            | "VirtualDirectory"
    );
    if by_identity
        && let Some((server, _)) = object.get("identity").and_then(|i| i.split_once('\\'))
        && plausible(server)
    {
        return server_name(server);
    }
    if kind == "MailboxDatabaseCopyStatus"
        && let Some((_, server)) = object.first_of(&["name", "identity"]).and_then(|i| i.rsplit_once('\\'))
        && plausible(server)
    {
        return server_name(server);
    }
    let is_server = matches!(
        kind,
        "TransportService" | "ExchangeServer" | "ClientAccessService" | "FrontendTransportService"
    );
    if is_server
        && let Some(name) = object.first_of(&["name", "identity"])
        && plausible(name)
    {
        return server_name(name);
    }
    if kind == "AdminAuditLog"
        && let Some(server) = object.get("originatingserver").and_then(|s| s.split_whitespace().next())
    {
        return server_name(server);
    }
    command.and_then(|c| c.server.clone())
}

/// When what the object tells happened.
fn time_of(object: &Object, kind: &str) -> Option<waypost_base::Timestamp> {
    if matches!(kind, "ExchangeCertificate" | "Certificate") {
        return None;
    }
    const NAMES: [&str; 9] = [
        "timestamp",
        "timecreated",
        "timegenerated",
        "executionendtime",
        "executionstarttime",
        "lasttransitiontime",
        "rundate",
        "lastretrytime",
        "whenchangedutc",
    ];
    object.first_of(&NAMES).and_then(when::parse)
}
