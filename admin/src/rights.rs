//! Who may run which command: role groups under Exchange's names.
//!
//! Each noun belongs to an [`Area`]; each group has areas that it may change and areas that it may see. A command whose
//! noun has no area here is for Organization Management alone, so that a new command is closed until somebody opens it.

use crate::catalogue::{Command, Invocation, Kind, Value};
use crate::failure::{Category, Failure, Outcome};
use std::collections::BTreeSet;
use std::fmt;
use waypost_directory::Snapshot;

/// A group of administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleGroup {
    /// Everything.
    OrganizationManagement,
    /// Servers, connectors, queues, certificates, settings.
    ServerManagement,
    /// Mailboxes, groups, permissions, passwords; looks at everything that is about mail of theirs.
    RecipientManagement,
    /// Makes and takes back app passwords; looks at recipients and at the ways of messages.
    HelpDesk,
    /// Looks, and changes nothing.
    ViewOnlyOrganizationManagement,
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    /// People, groups, what they may do and what they hold.
    Recipients,
    /// Passwords of people.
    Passwords,
    /// Where a message is and what became of it, without its content.
    Tracking,
    /// Servers, services, settings, certificates, queues, the store.
    Servers,
    /// Help about commands.
    Help,
    /// The content of mail, and who may administer: Organization Management alone.
    Closed,
}

impl Area {
    const ALL: [Area; 6] =
        [Area::Recipients, Area::Passwords, Area::Tracking, Area::Servers, Area::Help, Area::Closed];
}

impl RoleGroup {
    pub const ALL: [RoleGroup; 5] = [
        RoleGroup::OrganizationManagement,
        RoleGroup::ServerManagement,
        RoleGroup::RecipientManagement,
        RoleGroup::HelpDesk,
        RoleGroup::ViewOnlyOrganizationManagement,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            RoleGroup::OrganizationManagement => "Organization Management",
            RoleGroup::ServerManagement => "Server Management",
            RoleGroup::RecipientManagement => "Recipient Management",
            RoleGroup::HelpDesk => "Help Desk",
            RoleGroup::ViewOnlyOrganizationManagement => "View-Only Organization Management",
        }
    }

    pub const fn about(self) -> &'static str {
        match self {
            RoleGroup::OrganizationManagement => "Every command.",
            RoleGroup::ServerManagement => {
                "Servers, connectors, queues, certificates and settings; sees recipients."
            }
            RoleGroup::RecipientManagement => {
                "Mailboxes, groups, permissions and passwords; sees where messages are."
            }
            RoleGroup::HelpDesk => {
                "Makes and takes back app passwords; sees recipients and where messages are."
            }
            RoleGroup::ViewOnlyOrganizationManagement => "Sees everything but mail, and changes nothing.",
        }
    }

    /// By name; spaces, hyphens and case do not matter.
    pub fn parse(text: &str) -> Option<RoleGroup> {
        let plain = |t: &str| t.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        RoleGroup::ALL.into_iter().find(|g| plain(g.name()) == plain(text))
    }

    fn allows(self, area: Area, changes: bool) -> bool {
        use Area::{Closed, Help, Passwords, Recipients, Servers, Tracking};
        match (self, area) {
            (RoleGroup::OrganizationManagement, _) | (_, Help) => true,
            (_, Closed) => false,
            (RoleGroup::ServerManagement, Servers | Tracking) => true,
            (RoleGroup::ServerManagement, Recipients) => !changes,
            (RoleGroup::RecipientManagement, Recipients | Passwords) => true,
            (RoleGroup::RecipientManagement, Tracking) => !changes,
            (RoleGroup::HelpDesk, Passwords) => true,
            (RoleGroup::HelpDesk, Recipients | Tracking) => !changes,
            (RoleGroup::ViewOnlyOrganizationManagement, _) => !changes,
            _ => false,
        }
    }
}

impl fmt::Display for RoleGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn area(command: &Command) -> Area {
    match command.noun {
        "Mailbox"
        | "CASMailbox"
        | "MailboxPermission"
        | "RecipientPermission"
        | "MailboxStatistics"
        | "MailboxFolderStatistics"
        | "MailboxFolder"
        | "DistributionGroup"
        | "DistributionGroupMember"
        | "Recipient"
        | "AcceptedDomain"
        | "MoveRequest"
        | "MoveRequestStatistics" => Area::Recipients,
        "AppPassword" | "MailboxPassword" | "MailboxCertificate" => Area::Passwords,
        "MessageTrace"
        | "MessageTraceDetail"
        | "MessageTrackingLog"
        | "MessageTrackingReport"
        | "MessageStory" => Area::Tracking,
        // The bytes of messages, who may do what, who becomes a server of ours, and who decides about passwords.
        "ApiToken" | "RoleGroup" | "RoleGroupMember" | "Mail" | "ServerToken" | "DirectorySource" => {
            Area::Closed
        }
        "Command" | "Help" | "ManualPage" | "ShellCompletion" => Area::Help,
        // What shows or moves content has no place among the things that a server's administrator needs.
        "Message" if command.verb == "Export" => Area::Closed,
        "AdminAuditLog" => Area::Servers,
        noun if SERVER_NOUNS.contains(&noun) => Area::Servers,
        _ => Area::Closed,
    }
}

/// Everything about the machinery.
const SERVER_NOUNS: &[&str] = &[
    "ImapSettings",
    "PopSettings",
    "WaypostSetting",
    "WaypostSettingHistory",
    "WaypostSettingReason",
    "SendConnector",
    "ReceiveConnector",
    "MailFilter",
    "DirectorySync",
    "Queue",
    "QueueDigest",
    "Message",
    "TransportConfig",
    "TransportService",
    "TransportServer",
    "TransportAgent",
    "ServerComponentState",
    "DkimSigningConfig",
    "MailDomain",
    "StoreBackup",
    "Store",
    "StoreHealth",
    "TransportPressure",
    "ExchangeCertificate",
    "ExchangeServer",
    "Server",
    "InnerAuthority",
    "Service",
    "ServiceIdentity",
    "ServicePermission",
    "ServiceLeg",
    "KerberosTicket",
    "KerberosKeytab",
    "ServerHealth",
    "HealthReport",
    "ServerMonitor",
    "MonitoringProbe",
    "MonitoringItemIdentity",
    "MonitoringItemHelp",
    "ServerMonitoringOverride",
    "ImapConnectivity",
    "PopConnectivity",
    "SmtpConnectivity",
    "Mailflow",
    "ServiceHealth",
    "ServiceAuthentication",
    "HealthEvent",
    "HealthAlert",
    "Diagnosis",
];

/// What somebody may do. The console of the server itself may do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(Option<BTreeSet<RoleGroup>>);

impl Rights {
    /// Whoever owns the server's files.
    pub const CONSOLE: Rights = Rights(None);

    pub fn of(groups: impl IntoIterator<Item = RoleGroup>) -> Rights {
        Rights(Some(groups.into_iter().collect()))
    }

    /// Groups by name; names that are not known give no rights.
    pub fn named<'a>(groups: impl IntoIterator<Item = &'a str>) -> Rights {
        Rights::of(groups.into_iter().filter_map(RoleGroup::parse))
    }

    /// The groups that they come from; `None` for the console.
    pub fn groups(&self) -> Option<Vec<RoleGroup>> {
        self.0.as_ref().map(|groups| groups.iter().copied().collect())
    }

    pub fn may(&self, command: &Command) -> bool {
        let changes = command.changes || !is_look(command.verb);
        self.0.as_ref().is_none_or(|groups| groups.iter().any(|g| g.allows(area(command), changes)))
    }

    /// Whether they see the machinery: servers, settings, who changed what, everybody's sessions.
    pub fn sees_servers(&self) -> bool {
        self.0.as_ref().is_none_or(|groups| groups.iter().any(|g| g.allows(Area::Servers, false)))
    }

    /// Says which groups could, where this one may not.
    pub fn check(&self, command: &Command) -> Outcome {
        if self.may(command) {
            return Ok(());
        }
        let changes = command.changes || !is_look(command.verb);
        let could = RoleGroup::ALL.into_iter().filter(|g| g.allows(area(command), changes));
        let could: Vec<&str> = could.map(RoleGroup::name).collect();
        let text = format!("{} is for members of {}.", command.name(), could.join(" or "));
        Err(Failure::new(Category::PermissionDenied, command.name(), text))
    }
}

/// Where a command names the account that it is about.
const WHOM: [&str; 2] = ["Identity", "Mailbox"];

impl Rights {
    /// Whether whoever has these rights may do everything that whoever has `theirs` may.
    fn covers(&self, theirs: &Rights) -> bool {
        let allows = |rights: &Rights, area: Area, changes: bool| {
            rights.0.as_ref().is_none_or(|groups| groups.iter().any(|g| g.allows(area, changes)))
        };
        let all = Area::ALL.into_iter().flat_map(|area| [(area, false), (area, true)]);
        all.into_iter().all(|(area, changes)| !allows(theirs, area, changes) || allows(self, area, changes))
    }

    /// Nobody becomes more than they are by way of somebody else's account: whoever can give an administrator's account a
    /// password, a certificate or another name can sign in as that administrator, and so must have their rights already.
    pub fn check_reach(&self, command: &Command, invocation: &Invocation, now: &Snapshot) -> Outcome {
        self.check_files(command, invocation)?;
        let changes = command.changes || !is_look(command.verb);
        if !changes || !matches!(area(command), Area::Recipients | Area::Passwords) {
            return Ok(());
        }
        for name in WHOM {
            let Some(Value::Text(whom)) = invocation.args.get(name) else { continue };
            let Some(account) = now.find_account(whom) else { continue };
            let theirs = Rights::named(account.role_groups.iter().map(String::as_str));
            if !self.covers(&theirs) {
                let groups = account.role_groups.join(", ");
                let text = format!(
                    "{} is an administrator ({groups}): who changes such an account needs the same rights.",
                    account.primary
                );
                return Err(Failure::new(Category::PermissionDenied, command.name(), text));
            }
        }
        Ok(())
    }
}

impl Rights {
    /// A path is a file of the server's machine, read or written with the server's own rights, and what is wrong with a
    /// file is told with lines of it: none of that is for those who only look at things or help people.
    fn check_files(&self, command: &Command, invocation: &Invocation) -> Outcome {
        let may =
            |g: &RoleGroup| matches!(g, RoleGroup::OrganizationManagement | RoleGroup::ServerManagement);
        if self.0.as_ref().is_none_or(|groups| groups.iter().any(may)) {
            return Ok(());
        }
        let given = |name: &str| invocation.args.contains_key(name);
        let Some(path) = command.params.iter().find(|p| p.kind == Kind::Path && given(p.name)) else {
            return Ok(());
        };
        let text = format!(
            "-{} names a file on the server, which is for members of Organization Management or Server Management.",
            path.name
        );
        Err(Failure::new(Category::PermissionDenied, command.name(), text))
    }
}

/// Verbs that leave everything as it is.
fn is_look(verb: &str) -> bool {
    matches!(verb, "Get" | "Test" | "Search" | "Compare" | "Find")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    fn may(group: RoleGroup, name: &str) -> bool {
        let catalogue = Catalogue::new();
        let command = catalogue.find(name).unwrap_or_else(|| panic!("no command {name}"));
        Rights::of([group]).may(command)
    }

    #[test]
    fn who_may_what() {
        use RoleGroup::*;
        // What `waypost why` tells of anything but mail.
        let sees = |group| Rights::of([group]).sees_servers();
        assert!(
            sees(ViewOnlyOrganizationManagement) && sees(ServerManagement) && Rights::CONSOLE.sees_servers()
        );
        assert!(!sees(HelpDesk) && !sees(RecipientManagement) && !Rights::of([]).sees_servers());
        let table = [
            (OrganizationManagement, "New-Mailbox", true),
            (RecipientManagement, "New-Mailbox", true),
            (ServerManagement, "New-Mailbox", false),
            (ServerManagement, "Get-Mailbox", true),
            (HelpDesk, "New-Mailbox", false),
            (HelpDesk, "New-AppPassword", true),
            (HelpDesk, "Set-ImapSettings", false),
            (RecipientManagement, "Set-ImapSettings", false),
            (ServerManagement, "Set-ImapSettings", true),
            (ViewOnlyOrganizationManagement, "Get-ImapSettings", true),
            (ViewOnlyOrganizationManagement, "Set-ImapSettings", false),
            (ViewOnlyOrganizationManagement, "New-AppPassword", false),
            (ServerManagement, "New-ApiToken", false),
            (ServerManagement, "Export-Message", false),
            (ViewOnlyOrganizationManagement, "Get-Help", true),
        ];
        for (group, name, wanted) in table {
            assert_eq!(may(group, name), wanted, "{group}: {name}");
        }
    }

    #[test]
    fn who_covers_whom() {
        use RoleGroup::*;
        let covers = |own: RoleGroup, theirs: RoleGroup| Rights::of([own]).covers(&Rights::of([theirs]));
        for group in RoleGroup::ALL {
            assert!(covers(OrganizationManagement, group) && covers(group, group), "{group}");
            assert!(Rights::CONSOLE.covers(&Rights::of([group])));
            assert!(Rights::of([group]).covers(&Rights::of([])), "people without groups: {group}");
            assert!(!Rights::of([group]).covers(&Rights::CONSOLE) || group == OrganizationManagement);
        }
        assert!(covers(RecipientManagement, HelpDesk));
        for (own, theirs) in [
            (HelpDesk, OrganizationManagement),
            (HelpDesk, RecipientManagement),
            (HelpDesk, ServerManagement),
            (RecipientManagement, OrganizationManagement),
            (RecipientManagement, ServerManagement),
            (RecipientManagement, ViewOnlyOrganizationManagement),
        ] {
            assert!(!covers(own, theirs), "{own} {theirs}");
        }
    }

    #[test]
    fn files_of_the_server_are_not_for_everybody() {
        let catalogue = Catalogue::new();
        let folder = std::path::Path::new("/");
        let mut seen = 0;
        for command in catalogue.commands() {
            let Some(path) = command.params.iter().find(|p| p.kind == Kind::Path) else { continue };
            let mut invocation = Invocation { command: command.name(), ..Invocation::default() };
            invocation.args.insert(path.name.to_owned(), Value::Text(folder.display().to_string()));
            for (group, may) in [
                (RoleGroup::OrganizationManagement, true),
                (RoleGroup::ServerManagement, true),
                (RoleGroup::RecipientManagement, false),
                (RoleGroup::HelpDesk, false),
                (RoleGroup::ViewOnlyOrganizationManagement, false),
            ] {
                let done = Rights::of([group]).check_files(command, &invocation);
                assert_eq!(done.is_ok(), may, "{group}: {}", command.name());
            }
            assert!(Rights::CONSOLE.check_files(command, &invocation).is_ok());
            invocation.args.clear();
            assert!(Rights::of([RoleGroup::HelpDesk]).check_files(command, &invocation).is_ok());
            seen += 1;
        }
        assert!(seen > 5);
    }

    #[test]
    fn a_refusal_says_who_could() {
        let catalogue = Catalogue::new();
        let command = catalogue.find("New-Mailbox").unwrap();
        let refused = Rights::of([RoleGroup::HelpDesk]).check(command).unwrap_err();
        assert_eq!(
            refused.message,
            "New-Mailbox is for members of Organization Management or Recipient Management."
        );
        assert!(Rights::of([]).check(command).is_err());
        assert!(Rights::CONSOLE.check(command).is_ok());
        assert!(Rights::named(["organization-management"]).check(command).is_ok());
        assert!(Rights::named(["nobody"]).check(command).is_err());
    }

    #[test]
    fn nouns_that_are_named_exist() {
        let catalogue = Catalogue::new();
        let closed: Vec<String> =
            catalogue.commands().iter().filter(|c| area(c) == Area::Closed).map(|c| c.name()).collect();
        // Whoever adds a command decides here whose it is.
        for name in &closed {
            assert!(
                ["ApiToken", "RoleGroup", "Export-M", "Import-M", "ServerToken", "DirectorySource"]
                    .iter()
                    .any(|part| name.contains(part)),
                "{name} has no area yet"
            );
        }
    }
}
