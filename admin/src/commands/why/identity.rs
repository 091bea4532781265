//! Whose an address or a name in a log is: the account with all its names, so that mail to an alias and sessions under a short
//! name belong to the same story, and what the directory and the mailbox say of it that would explain a fault.

use crate::run::Call;
use crate::settings::Bytes;
use std::sync::Arc;
use waypost_base::explain::{Confidence, Evidence};
use waypost_directory::{Account, Protocol, Recipient, Snapshot};
use waypost_tracking::story::tale::{About, Known, Standing};

/// Accounts of one session that are told of.
const USERS_MAX: usize = 3;
/// Names that logs are searched for.
const NAMES_MAX: usize = 40;

/// What an address is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Every address of the account; the one that was asked about, where it has none.
    pub addresses: Vec<String>,
    /// Whatever else logs may call it: what its owner signs in with, Kerberos principals.
    pub others: Vec<String>,
}

impl Names {
    pub fn of(call: &Call<'_>, about: &About) -> Names {
        let About::Address(address) = about else { return Names::default() };
        let alone = || Names { addresses: vec![address.clone()], others: Vec::new() };
        let Some(world) = &call.context.world else { return alone() };
        let now = world.directory.snapshot();
        match now.resolve(address) {
            Recipient::Account { account, .. } | Recipient::Disabled(account) => {
                let realms = world.settings.current().kerberos.realms();
                Names::of_account(&now, &account, realms.into_iter(), address)
            }
            Recipient::Group(group) => {
                Names { addresses: group.addresses().map(ToString::to_string).collect(), others: Vec::new() }
            }
            _ => alone(),
        }
    }

    fn of_account(
        now: &Snapshot,
        account: &Account,
        realms: impl Iterator<Item = (String, String)>,
        asked: &str,
    ) -> Names {
        let mut addresses: Vec<String> = account.addresses().map(ToString::to_string).collect();
        if !addresses.iter().any(|a| a.eq_ignore_ascii_case(asked)) {
            // With a tag, or caught by a domain.
            addresses.push(asked.to_owned());
        }
        // A short name is its own only as long as it signs in with it.
        let own = |name: &str| now.sign_in_account(name).is_some_and(|a| a.id == account.id);
        let mut others = vec![account.name.clone()];
        for address in account.addresses().filter(|a| own(a.local())) {
            others.push(address.local().to_owned());
        }
        for (realm, domain) in realms {
            let theirs = account.addresses().filter(|a| a.domain().eq_ignore_ascii_case(&domain));
            others.extend(theirs.map(|a| format!("{}@{realm}", a.local())));
        }
        others.sort();
        others.dedup();
        Names { addresses, others }
    }

    /// All of them, as logs are searched for them.
    pub fn all(&self) -> Vec<String> {
        self.addresses.iter().chain(&self.others).take(NAMES_MAX).cloned().collect()
    }
}

/// Adds what is known of those whom the story is about.
pub async fn add(call: &Call<'_>, known: &mut Known) {
    let Some(world) = &call.context.world else {
        if matches!(known.about, About::Address(_)) {
            known.not_looked.push(
                "The directory could not be read: other names of the same account were not looked for."
                    .into(),
            );
        }
        return;
    };
    // Another server asks: it has the same directory, but not our mailboxes.
    let asked_by_another = call.context.running && world.elsewhere.is_none();
    let now = world.directory.snapshot();
    let mut accounts: Vec<Arc<Account>> = Vec::new();
    match &known.about {
        About::Address(address) => match now.resolve(address) {
            Recipient::Account { account, .. } | Recipient::Disabled(account) => accounts.push(account),
            Recipient::Group(group) if !asked_by_another => {
                let text = format!(
                    "<{address}> is the group {}, with {} members; mail to it goes to each of them",
                    group.name,
                    now.members(group.id).count()
                );
                known.facts.push(fact(text));
            }
            // Nothing came for it: then it may as well be the Message-ID of a message that nobody knows.
            Recipient::Unknown
                if !asked_by_another && (!known.events.is_empty() || !known.lines.is_empty()) =>
            {
                let text =
                    format!("nobody here has the address <{address}>: mail for it is refused (5.1.1).");
                let add = format!("Set-Mailbox NAME -EmailAddresses '@{{Add=\"{address}\"}}'");
                known.standing.push(standing(text, vec![add]));
            }
            _ => {}
        },
        About::Session(_) => {
            let mut users: Vec<&str> =
                known.lines.iter().map(|l| l.user.as_str()).filter(|u| !u.is_empty()).collect();
            users.sort_unstable();
            users.dedup();
            let found = users.into_iter().take(USERS_MAX).filter_map(|user| now.sign_in_account(user));
            accounts.extend(found.cloned());
        }
        _ => {}
    }
    for account in accounts {
        if !asked_by_another {
            of_directory(known, &now, &account);
        }
        of_mailbox(call, known, &now, &account).await;
    }
}

fn fact(fact: String) -> Evidence {
    Evidence { source: "directory".into(), time: None, fact }
}

fn standing(text: String, remedy: Vec<String>) -> Standing {
    Standing {
        since: None,
        code: String::new(),
        text,
        confidence: Confidence::Certain,
        evidence: Vec::new(),
        remedy,
    }
}

/// Who it is, and what of it the directory has switched off or sends elsewhere.
fn of_directory(known: &mut Known, now: &Snapshot, account: &Account) {
    let others: Vec<String> = account.others.iter().map(|a| format!("<{a}>")).collect();
    let also = if others.is_empty() { String::new() } else { format!(", also {}", others.join(", ")) };
    let home = now.home_of(account);
    let home = if home.is_empty() { String::new() } else { format!("; its mail is on {home}") };
    let from = account.origin.as_ref().map(|o| format!("; it comes from the directory {}", o.source));
    let text = format!(
        "{} is the account <{}>{also}{home}{}; changed last at {}",
        account.name,
        account.primary,
        from.unwrap_or_default(),
        account.changed
    );
    known.facts.push(fact(text));
    if !account.enabled {
        let text = format!(
            "the account <{}> is switched off: nobody signs in to it, and mail for it is refused (5.2.1).",
            account.primary
        );
        known
            .standing
            .push(standing(text, vec![format!("Set-Mailbox {} -AccountDisabled false", account.primary)]));
    }
    let off: Vec<&str> =
        Protocol::ALL.into_iter().filter(|p| !account.protocols.has(*p)).map(Protocol::name).collect();
    if !off.is_empty() && account.enabled {
        known.facts.push(fact(format!("<{}> may not use: {}", account.primary, off.join(", "))));
    }
    if let Some(to) = &account.forward_to {
        let kept = if account.deliver_and_forward { "and is kept" } else { "and is not kept" };
        known.facts.push(fact(format!("what comes for <{}> goes on to <{to}> {kept}", account.primary)));
    }
}

/// What its home knows of it. Nothing is made where there is no mailbox yet.
async fn of_mailbox(call: &Call<'_>, known: &mut Known, now: &Snapshot, account: &Account) {
    let Some(world) = call.context.world.as_ref().filter(|_| now.is_here(account)) else { return };
    if let Some((at, protocol)) = world.directory.last_sign_in(account.id) {
        let text = format!("somebody signed in to <{}> by {protocol}", account.primary);
        known.facts.push(Evidence { source: "directory".into(), time: Some(at), fact: text });
    }
    let usage = match world.mailboxes.account(account.id).await {
        Ok(mailbox) => mailbox.usage(),
        Err(waypost_mailbox::AccountError::NoAccount(_)) => return,
        Err(e) => {
            let text = format!("the mailbox of <{}> cannot be opened: {e}.", account.primary);
            known.standing.push(standing(text, vec!["Test-ServiceHealth".into()]));
            return;
        }
    };
    let bound = usage.quota.prohibit_bytes.map_or("no quota".to_owned(), |max| format!("of {}", Bytes(max)));
    let messages = match usage.messages {
        1 => "one message".to_owned(),
        n => format!("{n} messages"),
    };
    let text = format!("<{}> holds {messages}, {} {bound}", account.primary, Bytes(usage.bytes));
    known.facts.push(Evidence { source: "mailbox".into(), time: None, fact: text });
    if usage.would_exceed(0, 1) {
        let text =
            format!("the mailbox of <{}> is full: nothing more is taken for it (5.2.2).", account.primary);
        let remedy = format!("Set-Mailbox {} -ProhibitSendReceiveQuota SIZE", account.primary);
        known.standing.push(standing(text, vec![remedy]));
    }
}
