//! Which server of the organisation runs a command.
//!
//! A command can be given at any server. What concerns the directory and the settings of the organisation is run by the
//! server that keeps them; what concerns the mail of an account by the server that holds it; what names a server by that
//! one; everything else where it was given. With one server there is no question.

use crate::catalogue::{Command, Invocation, Value};
use crate::failure::{Category, Exit, Failure, Outcome};
use crate::rights::{Rights, RoleGroup};
use crate::run::{Answer, Context, Sink};
use crate::settings::merge;
use serde::{Deserialize, Serialize};
use waypost_directory::Snapshot;

/// Where a command belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it was given.
    Here,
    /// The server that keeps the directory, the settings and the inner CA.
    Primary,
    /// The server that holds this account.
    Home(String),
    /// Every server that holds accounts, one after another.
    EveryHome,
    /// This one, by id or host name.
    Server(String),
}

/// A command on its way to another server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Errand {
    pub invocation: Invocation,
    /// Who gave it.
    pub caller: String,
    /// The role groups that they are in; `None` for the console of a server.
    pub groups: Option<Vec<String>>,
}

/// The way to the other servers.
pub trait Elsewhere: Send + Sync {
    /// Runs a command at a server, whose output goes to `sink`.
    fn run<'a>(&'a self, server: &'a str, errand: Errand, sink: &'a Sink) -> Answer<'a, Exit>;

    /// How this server's copy of the directory stands, in a line; `None` on the server that keeps it.
    fn standing(&self) -> Option<String>;
}

impl Errand {
    pub(crate) fn of(context: &Context, invocation: &Invocation) -> Errand {
        let groups = context.rights.groups();
        let names = |groups: Vec<RoleGroup>| groups.into_iter().map(|g| g.name().to_owned()).collect();
        Errand { invocation: invocation.clone(), caller: context.caller.clone(), groups: groups.map(names) }
    }

    /// What whoever gave it may do.
    pub fn rights(&self) -> Rights {
        match &self.groups {
            Some(groups) => Rights::named(groups.iter().map(String::as_str)),
            None => Rights::CONSOLE,
        }
    }
}

/// Nouns that are rows of the directory: changes are made where it is kept.
const DIRECTORY: &[&str] = &[
    "AcceptedDomain",
    "ApiToken",
    "AppPassword",
    "CASMailbox",
    "DistributionGroup",
    "DistributionGroupMember",
    "ExchangeServer",
    "Mailbox",
    "MailboxCertificate",
    "MailboxPassword",
    "MailboxPermission",
    "Recipient",
    "RecipientPermission",
    "RoleGroupMember",
    "Server",
    "ServerComponentState",
];

/// Nouns that are settings of the organisation.
const SETTINGS: &[&str] = &[
    "DirectorySource",
    "ImapSettings",
    "MailFilter",
    "PopSettings",
    "ReceiveConnector",
    "SendConnector",
    "ServerMonitoringOverride",
    "TransportConfig",
    "TransportServer",
    "TransportService",
];

/// Nouns that are the keeper's business even to look at.
const KEEPER: &[&str] = &[
    "DirectorySync",
    "DkimSigningConfig",
    "InnerAuthority",
    "MoveRequest",
    "ServerToken",
    "WaypostSettingHistory",
    "WaypostSettingReason",
];

/// Nouns that are about the mail of an account, which `-Identity` or `-Mailbox` names.
const MAIL: &[&str] = &["Mail", "MailboxFolder", "MailboxFolderStatistics", "MailboxStatistics"];

/// Nouns about the health of one server, with the parameter that names it.
const HEALTH: &[(&str, &str)] = &[
    ("HealthReport", "Identity"),
    ("ImapConnectivity", "ClientAccessServer"),
    ("Mailflow", "Identity"),
    ("PopConnectivity", "ClientAccessServer"),
    ("ServerHealth", "Identity"),
    ("ServiceAuthentication", "From"),
    ("SmtpConnectivity", "Identity"),
];

/// Where an invocation of a command belongs.
pub fn place(command: &Command, invocation: &Invocation) -> Place {
    let text = |name: &str| match invocation.args.get(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let looks = matches!(command.verb, "Get" | "Test" | "Compare" | "Export" | "Find" | "Search");
    let noun = command.noun;
    // What holds for one machine alone is in its own document, which has a history of its own. `why` names a listener.
    let own = SETTINGS.contains(&noun) || noun == "WaypostSettingHistory";
    if let (true, Some(server)) = (own && command.param("Server").is_some(), text("Server")) {
        return Place::Server(server);
    }
    if noun == "MessageStory" {
        return Place::Here;
    }
    if let Some((_, whose)) = HEALTH.iter().find(|(known, _)| *known == noun) {
        return text(whose).map_or(Place::Here, Place::Server);
    }
    if KEEPER.contains(&noun) || (!looks && (DIRECTORY.contains(&noun) || SETTINGS.contains(&noun))) {
        return Place::Primary;
    }
    if noun == "WaypostSetting" {
        return setting(command, invocation);
    }
    // For a token the server is the one that is to join.
    if let Some(server) = text("Server")
        && command.param("Server").is_some()
    {
        return Place::Server(server);
    }
    if MAIL.contains(&noun) {
        let whom = text("Mailbox").or_else(|| text("Identity"));
        return whom.map_or(Place::EveryHome, Place::Home);
    }
    Place::Here
}

/// Keys of one machine are its own business; all others are the organisation's.
fn setting(command: &Command, invocation: &Invocation) -> Place {
    if let Some(Value::Text(server)) = invocation.args.get("Server") {
        return Place::Server(server.clone());
    }
    let own = match invocation.args.get("Identity").or_else(|| invocation.args.get("Key")) {
        Some(Value::Text(key)) => merge::is_local(key),
        _ => false,
    };
    match command.verb {
        "Get" => Place::Here,
        _ if own => Place::Here,
        _ => Place::Primary,
    }
}

/// The other servers that are to run it, in order; empty where it is run here.
pub(crate) fn targets(place: &Place, now: &Snapshot) -> Outcome<Vec<String>> {
    let Some(here) = now.here() else { return Ok(Vec::new()) };
    let one = |id: &str| if id == here { Vec::new() } else { vec![id.to_owned()] };
    Ok(match place {
        Place::Here => Vec::new(),
        Place::Primary => now.primary().map(|s| one(&s.id)).unwrap_or_default(),
        Place::Home(identity) => match now.find_account(identity) {
            // An account that is not known is told so here.
            None => Vec::new(),
            Some(account) => one(now.home_of(account)),
        },
        Place::EveryHome => {
            let homes = now.servers().filter(|s| s.roles.mailbox && s.revoked.is_none() && s.id != here);
            homes.map(|s| s.id.clone()).collect()
        }
        Place::Server(name) => match find_server(now, name) {
            Some(id) => one(&id),
            // By a name that the directory does not know: the command itself knows what this server is called.
            None if now.servers().count() <= 1 => Vec::new(),
            None => return Err(Failure::not_found("server", name)),
        },
    })
}

/// The id of the server that an administrator means: by id, host name, or the first label of it.
pub fn find_server(now: &Snapshot, name: &str) -> Option<String> {
    let name = name.trim().to_lowercase();
    let same = |host: &str| host.eq_ignore_ascii_case(&name);
    let first = |host: &str| host.split('.').next().is_some_and(same);
    if let Some(found) = now.server(&name) {
        return Some(found.id.clone());
    }
    let by_host = now.servers().find(|s| same(&s.host));
    let mut by_label = now.servers().filter(|s| first(&s.host));
    let found = by_host.or_else(|| match (by_label.next(), by_label.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    });
    found.map(|s| s.id.clone())
}

/// Runs an invocation at other servers if it belongs there. `None`: it is to be run here (too).
pub(crate) async fn send(
    command: &Command,
    context: &Context,
    invocation: &Invocation,
    sink: &Sink,
) -> Outcome<Option<Exit>> {
    let Some(world) = &context.world else { return Ok(None) };
    let place = place(command, invocation);
    let servers = targets(&place, &world.directory.snapshot())?;
    if servers.is_empty() {
        return Ok(None);
    }
    let Some(elsewhere) = &world.elsewhere else {
        if context.running || place == Place::EveryHome {
            // It was sent here by a server that knew: running it again elsewhere would only go round in circles.
            return Ok(None);
        }
        let text = format!(
            "{} has to run this command; it is reached through the running server, which is stopped here.",
            servers.join(", ")
        );
        return Err(Failure::new(Category::ResourceUnavailable, servers.join(","), text));
    };
    let errand = Errand::of(context, invocation);
    if place == Place::EveryHome {
        for server in &servers {
            match elsewhere.run(server, errand.clone(), sink).await {
                Ok(_) => {}
                Err(failure) => sink.send(crate::output::Event::Error(failure)).await,
            }
        }
        let own = world.directory.snapshot();
        let holds = own.here().and_then(|id| own.server(id)).is_none_or(|s| s.roles.mailbox);
        return Ok((!holds).then(|| sink.exit()));
    }
    let mut exit = Exit::OK;
    for server in &servers {
        exit = elsewhere.run(server, errand.clone(), sink).await?;
    }
    Ok(Some(exit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    fn place_of(line: &[&str]) -> Place {
        let catalogue = Catalogue::new();
        let words: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
        let folder = std::path::Path::new("/");
        let parsed = catalogue.parse(&words, crate::Source { folder }).unwrap();
        place(catalogue.find(&parsed.invocation.command).unwrap(), &parsed.invocation)
    }

    #[test]
    fn where_commands_run() {
        let table: &[(&[&str], Place)] = &[
            (&["Get-Mailbox"], Place::Here),
            (&["Set-Mailbox", "amy", "-DisplayName", "Amy"], Place::Primary),
            (&["New-AcceptedDomain", "-Name", "a", "-DomainName", "a.test"], Place::Primary),
            (&["Set-ImapSettings", "-Banner", "Hi"], Place::Primary),
            (&["Get-ImapSettings"], Place::Here),
            (&["Set-ImapSettings", "-Server", "server-2", "-Banner", "Hi"], Place::Server("server-2".into())),
            (&["Set-WaypostSetting", "imap.banner", "Hi"], Place::Primary),
            (&["Set-WaypostSetting", "server.name", "mbx1.example.org"], Place::Here),
            (&["Get-MailboxStatistics", "amy"], Place::Home("amy".into())),
            (&["Get-MailboxStatistics"], Place::EveryHome),
            (&["Get-Queue"], Place::Here),
            (&["Get-Queue", "-Server", "server-2"], Place::Server("server-2".into())),
            (&["New-ServerToken"], Place::Primary),
            (&["Get-ServerHealth", "mbx-1"], Place::Server("mbx-1".into())),
            (&["Get-HealthReport"], Place::Here),
            (&["Test-ImapConnectivity", "-ClientAccessServer", "fe-1"], Place::Server("fe-1".into())),
            (&["Test-ServiceAuthentication", "-From", "fe-1", "-To", "mbx-1"], Place::Server("fe-1".into())),
            (
                &["Invoke-MonitoringProbe", r"IMAP\ImapCTPProbe", "-Server", "fe-1"],
                Place::Server("fe-1".into()),
            ),
            (&["Add-ServerMonitoringOverride", r"IMAP\ImapCTPProbe"], Place::Primary),
            (&["Get-HealthEvent", "-Server", "fe-1"], Place::Server("fe-1".into())),
            (&["Get-InnerAuthority"], Place::Primary),
        ];
        for (line, wanted) in table {
            assert_eq!(place_of(line), *wanted, "{line:?}");
        }
    }
}
