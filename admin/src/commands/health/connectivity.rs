//! Test-ImapConnectivity, Test-PopConnectivity, Test-SmtpConnectivity: sessions as clients have them.

use super::{explained, health, named};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::health::{Bound, Connected, ConnectionType, Connectivity, ReadProtocol};
use crate::output::Record;
use crate::run::Call;

const TYPES: &[&str] = &["Plaintext", "Ssl", "Tls"];
const DETAIL: &str = "Each way that clients have is tried at each mailbox server: TLS, sign-in, the hand-over to the home, a look \
                      at the mailbox. Without a credential the health mailboxes sign in, which every server has; no script has to \
                      be run before. Exit code 5 when one fails; FormatList shows every leg and step.";
const PARAMS: &[Param] = &[
    Param::new("ClientAccessServer", Kind::Text, "The server whose doors are tried; this one if not given.")
        .at(0)
        .alias(&["Identity"]),
    Param::new("MailboxServer", Kind::Text, "Only mailboxes of this server; one of each if not given."),
    Param::new(
        "ConnectionType",
        Kind::Choice(TYPES),
        "Only this way: Plaintext, Ssl (TLS from the start), Tls (STARTTLS).",
    ),
    Param::new("PortClientAccessServer", Kind::Int, "Only this port."),
    Param::new("MailboxCredential", Kind::Text, "Sign in as this person, with -Password."),
    Param::new("Password", Kind::Secret, "Their password; - reads it from standard input."),
    Param::new("LightMode", Kind::Bool, "Sign in, and look at nothing."),
    Param::new("TrustAnySSLCertificate", Kind::Switch, "Take any certificate."),
    Param::new("PerConnectionTimeout", Kind::Int, "Seconds for one connection."),
    Param::new("Timeout", Kind::Int, "Seconds for all of it."),
    Param::new("MonitoringContext", Kind::Bool, "Also for a monitoring system.")
        .without_effect("monitors are there by themselves"),
    Param::new("ResetTestAccountCredentials", Kind::Switch, "New passwords for the test accounts.")
        .without_effect("health mailboxes have none that could be wrong"),
];
const COLUMNS: &[&str] = &["CasServer", "LocalSite", "Scenario", "Result", "Latency(MS)", "Error", "Cause"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Test",
        noun: "ImapConnectivity",
        about: "Tries IMAP as clients use it: every way in, to every server with mailboxes.",
        detail: DETAIL,
        params: PARAMS,
        columns: COLUMNS,
        examples: &[Example {
            line: "Test-ImapConnectivity fe-1 -ConnectionType Ssl -FormatList",
            about: "IMAP over TLS at one front end, with every step.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(read(call, ReadProtocol::Imap)),
    },
    Command {
        verb: "Test",
        noun: "PopConnectivity",
        about: "Tries POP3 as clients use it: every way in, to every server with mailboxes.",
        detail: DETAIL,
        params: PARAMS,
        columns: COLUMNS,
        examples: &[Example { line: "Test-PopConnectivity", about: "POP3 at this server." }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(read(call, ReadProtocol::Pop)),
    },
    Command {
        verb: "Test",
        noun: "SmtpConnectivity",
        about: "Connects to every address of every receive connector of a server.",
        detail: "StatusCode is Success, UnableToConnect, TransientError (4xx), PermanentError (5xx) or ExternalError. Exit code 5 \
                 when one fails.",
        params: &[Param::new("Identity", Kind::Text, "Id or host name of a server; this one if not given.")
            .at(0)
            .alias(&["Server"])],
        columns: &["Server", "ReceiveConnector", "Binding", "EndPoint", "StatusCode", "Details", "Cause"],
        examples: &[Example {
            line: "Test-SmtpConnectivity fe-1",
            about: "Every door for mail of a server.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(smtp(call)),
    },
];

fn asked(call: &Call<'_>, protocol: ReadProtocol) -> Outcome<Connectivity> {
    let seconds =
        |name: &str| call.int(name).and_then(|n| u64::try_from(n).ok()).map(|n| n.saturating_mul(1000));
    let port = call.int("PortClientAccessServer").map(|port| {
        u16::try_from(port)
            .map_err(|_| Failure::invalid("PortClientAccessServer", format!("{port} is no port.")))
    });
    let credential = match (call.text("MailboxCredential"), call.text("Password")) {
        (Some(user), Some(password)) => Some((user.to_owned(), password.to_owned())),
        (None, None) => None,
        _ => return Err(Failure::usage("Password", "-MailboxCredential and -Password belong together.")),
    };
    Ok(Connectivity {
        protocol,
        connection: call.text("ConnectionType").and_then(ConnectionType::parse),
        port: port.transpose()?,
        mailbox_server: named(call, "MailboxServer")?,
        credential,
        light: call.switch("LightMode"),
        trust_any: call.switch("TrustAnySSLCertificate"),
        per_connection: seconds("PerConnectionTimeout"),
        timeout: seconds("Timeout"),
    })
}

async fn read(call: &Call<'_>, protocol: ReadProtocol) -> Outcome {
    let (health, asked) = (health(call)?, asked(call, protocol)?);
    let tried = health.connectivity(&asked).await?;
    if tried.is_empty() {
        return Err(Failure::not_found(
            "listener",
            call.text("ConnectionType").unwrap_or("of this protocol"),
        ));
    }
    let settings = call.world()?.settings.current();
    for one in &tried {
        call.record(record(one, protocol, &settings.server.name, asked.light)).await;
    }
    super::failed("connections", tried.len(), tried.iter().map(|c| &c.result).filter(|r| r.failed()))
}

fn record(one: &Connected, protocol: ReadProtocol, fqdn: &str, light: bool) -> Record {
    let (name, upper) = match protocol {
        ReadProtocol::Imap => ("IMAP4", "Imap"),
        ReadProtocol::Pop => ("POP3", "Pop"),
    };
    let result = match (&one.skipped, one.result.failed()) {
        (Some(_), _) => "Skipped",
        (None, true) => "Failure",
        (None, false) => "Success",
    };
    let error = one.skipped.clone().or_else(|| one.result.error());
    let what = if light { "signs in" } else { "signs in and looks at the mailbox" };
    let description =
        format!("{} {what} at {} by {name}; the mailbox is at {}.", one.user, one.server, one.mailbox_server);
    let latency = one.skipped.is_none().then_some(one.result.millis);
    let record = Record::new()
        .with("CasServer", one.server.as_str())
        .with("LocalSite", "Default")
        .with("Scenario", format!("Test {name} Connectivity"))
        .with("Result", result)
        .with("Latency(MS)", latency)
        .with("Error", error)
        .with("SecureAccess", one.connection != ConnectionType::Plaintext)
        .with("Port", u32::from(one.port))
        .with("ConnectionType", one.connection.name())
        .with("ClientAccessServerShortName", one.server.as_str())
        .with("LocalSiteShortName", "Default")
        .with("ClientAccessServer", fqdn)
        .with("MailboxServer", one.mailbox_server.as_str())
        .with("ScenarioDescription", description)
        .with("PerformanceCounterName", format!("{upper}Connectivity-Latency"))
        .with("UserName", one.user.as_str())
        .with("Latency", latency.map(|ms| crate::settings::Span(ms.into())))
        .with("EventType", if result == "Failure" { "Error" } else { "Success" })
        .with("LatencyInMillisecondsString", latency.map(|ms| format!("{ms}.00")));
    let record = explained(record, one.result.finding.as_ref()).with("Legs", super::legs(&one.result));
    crate::commands::named::ending(record, &format!("{}:{}", one.server, one.port))
}

async fn smtp(call: &Call<'_>) -> Outcome {
    let bound = health(call)?.smtp().await?;
    for one in &bound {
        let details = one.result.error().or_else(|| one.result.legs.last().map(ToString::to_string));
        let record = Record::new()
            .with("Server", one.server.as_str())
            .with("ReceiveConnector", one.connector.as_str())
            .with("Binding", one.binding.as_str())
            .with("EndPoint", one.endpoint.as_str())
            .with("StatusCode", status(one))
            .with("Details", details)
            .with("Milliseconds", one.result.millis);
        let record = explained(record, one.result.finding.as_ref()).with("Legs", super::legs(&one.result));
        let identity = format!("{}\\{} {}", one.server, one.connector, one.endpoint);
        call.record(crate::commands::named::ending(record, &identity)).await;
    }
    super::failed("bindings", bound.len(), bound.iter().map(|b| &b.result).filter(|r| r.failed()))
}

fn status(one: &Bound) -> &'static str {
    match one.code {
        _ if !one.result.failed() => "Success",
        Some(400..=499) => "TransientError",
        Some(500..=599) => "PermanentError",
        Some(_) => "ExternalError",
        None => "UnableToConnect",
    }
}
