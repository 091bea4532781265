//! From addresses to places: what a recipient means here and now, and, when the message has come, which accounts get
//! it, each once.
//!
//! Everything is answered from the directory's snapshot in memory. Nested groups are opened here, at acceptance, so that
//! a loop among them can never become a loop of messages.

use std::collections::BTreeSet;
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::{Account, Address, Recipient, Refused, Sender, Skipped, Snapshot};
use waypost_smtp::path::Mailbox;

/// Which folder of an account a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Inbox,
    /// The sender's own copy of what was submitted, already seen.
    Sent,
}

/// An account that gets the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub account: AccountId,
    pub place: Place,
}

impl Target {
    pub const fn inbox(account: AccountId) -> Target {
        Target { account, place: Place::Inbox }
    }
}

/// What a recipient comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// One account here.
    Account(Arc<Account>),
    /// The members of a group, nested ones opened, each once.
    Group {
        accounts: Vec<AccountId>,
    },
    Not(Why),
}

/// Why a recipient is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// 5.1.1
    Unknown,
    /// 5.2.1
    Disabled,
    /// 5.1.3
    Malformed,
    /// A domain that is not ours, or not here: a matter for the outbound queue.
    Elsewhere,
    /// A group that this sender may not send to, 5.7.1.
    Group(Refused),
    /// A group with members in other domains.
    MembersElsewhere,
    /// A group without anybody who could get anything.
    NobodyThere,
}

/// The address as the directory reads it.
pub fn text(mailbox: &Mailbox) -> String {
    if mailbox.domain.is_empty() { mailbox.local.clone() } else { mailbox.to_string() }
}

/// What `to` means, for this sender.
pub fn route(directory: &Snapshot, to: &str, account: Option<AccountId>, from: Option<&Address>) -> Route {
    let sender = Sender { account, address: from };
    match directory.resolve(to) {
        Recipient::Account { account, .. } => Route::Account(account),
        Recipient::Group(group) => match directory.may_send(&group, sender) {
            Err(why) => Route::Not(Why::Group(why)),
            Ok(()) => {
                let expanded = directory.expand(&group, sender);
                for skipped in &expanded.skipped {
                    note_skipped(to, skipped);
                }
                if !expanded.external.is_empty() {
                    return Route::Not(Why::MembersElsewhere);
                }
                let accounts: Vec<AccountId> = expanded.accounts.iter().map(|account| account.id).collect();
                if accounts.is_empty() { Route::Not(Why::NobodyThere) } else { Route::Group { accounts } }
            }
        },
        Recipient::Relay(_) | Recipient::NotOurs => Route::Not(Why::Elsewhere),
        Recipient::Disabled(_) => Route::Not(Why::Disabled),
        Recipient::Unknown => Route::Not(Why::Unknown),
        Recipient::Malformed(_) => Route::Not(Why::Malformed),
    }
}

fn note_skipped(group: &str, skipped: &Skipped) {
    let who = match skipped {
        Skipped::Disabled(account) => format!("{} is disabled", account.primary),
        Skipped::Refused(nested, _) => format!("{} does not take mail from this sender", nested.primary),
        Skipped::TooMany => "it reaches too many recipients".to_owned(),
    };
    tracing::info!(group, "member of group skipped: {who}");
}

/// The accounts behind all accepted recipients, each once, in order.
pub fn targets<'a>(routes: impl Iterator<Item = &'a Route>, sent: Option<AccountId>) -> Vec<Target> {
    let mut seen = BTreeSet::new();
    let mut targets = Vec::new();
    let mut add = |target: Target| {
        if seen.insert(target) {
            targets.push(target);
        }
    };
    for route in routes {
        match route {
            Route::Account(account) => add(Target::inbox(account.id)),
            Route::Group { accounts } => accounts.iter().for_each(|id| add(Target::inbox(*id))),
            Route::Not(_) => {}
        }
    }
    if let Some(account) = sent {
        add(Target { account, place: Place::Sent });
    }
    targets
}
