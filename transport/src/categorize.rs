//! From addresses to ways: what a recipient means here and now, and, when the message has come, which accounts get it and
//! which domains it goes on to, each once.
//!
//! Everything is answered from the directory's snapshot in memory. Groups are opened and forwardings followed here, at
//! acceptance, so that a loop among them can never become a loop of messages. Forwarding keeps the envelope's sender;
//! a loop that leads over other servers is cut by its Received fields.
//!
//! Transport rules, journaling and moderation will stand between [`meaning`] and [`Opening`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::address::canonical_domain;
use waypost_directory::limits::{EXPANSION_MAX, FORWARDS_MAX};
use waypost_directory::{
    Account, Address, Expanded, Group, GroupId, Owner, Recipient, Refused, Sender, Skipped, Snapshot,
};
use waypost_queue::{Hop, Local, Place, Route, Target};
use waypost_smtp::path::Mailbox;

/// What a recipient comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// One account here, and perhaps others that it forwards to.
    Account(Arc<Account>),
    /// The members of a group, nested ones opened, each once.
    Group(Arc<Group>, Box<Expanded>),
    /// A domain of ours whose mailboxes are on another server: taken from everybody.
    Relay(String),
    /// A domain that is not ours, in lower-case ASCII, or an address literal: for those who may relay.
    Elsewhere(String),
    Not(Why),
}

impl Meaning {
    /// Somebody who is not on this server may get it.
    pub fn may_leave(&self) -> bool {
        match self {
            Meaning::Account(account) => account.forward_to.is_some(),
            Meaning::Group(_, expanded) => {
                !expanded.external.is_empty() || expanded.accounts.iter().any(|a| a.forward_to.is_some())
            }
            Meaning::Relay(_) | Meaning::Elsewhere(_) => true,
            Meaning::Not(_) => false,
        }
    }

    /// How many it stands for, for bounds.
    pub fn reach(&self) -> usize {
        match self {
            Meaning::Group(_, expanded) => expanded.accounts.len() + expanded.external.len(),
            _ => 1,
        }
    }
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
    /// A domain that cannot exist, 5.1.2.
    BadDomain,
    /// A group that this sender may not send to, 5.7.1.
    Group(Refused),
    /// A group without anybody who could get anything.
    NobodyThere,
    /// It forwards to nobody but itself, by these addresses, 5.4.6.
    Loop(Vec<String>),
    /// It forwards to an address that takes nothing, 5.1.1.
    ForwardsNowhere,
}

/// The address as the directory reads it.
pub fn text(mailbox: &Mailbox) -> String {
    if mailbox.domain.is_empty() { mailbox.local.clone() } else { mailbox.to_string() }
}

/// What `to` means, for this sender.
pub fn meaning(directory: &Snapshot, to: &Mailbox, sender: Sender<'_>) -> Meaning {
    let text = text(to);
    match directory.resolve(&text) {
        Recipient::Account { account, .. } => match dead_end(directory, &account, sender) {
            None => Meaning::Account(account),
            Some(why) => Meaning::Not(why),
        },
        Recipient::Group(group) => match directory.may_send(&group, sender) {
            Err(why) => Meaning::Not(Why::Group(why)),
            Ok(()) => {
                let expanded = directory.expand(&group, sender);
                for skipped in &expanded.skipped {
                    note_skipped(&text, skipped);
                }
                if expanded.accounts.is_empty() && expanded.external.is_empty() {
                    return Meaning::Not(Why::NobodyThere);
                }
                Meaning::Group(group, Box::new(expanded))
            }
        },
        Recipient::Relay(domain) => Meaning::Relay(domain.name.clone()),
        Recipient::NotOurs => match domain_of(to) {
            Some(domain) => Meaning::Elsewhere(domain),
            None => Meaning::Not(Why::BadDomain),
        },
        Recipient::Disabled(_) => Meaning::Not(Why::Disabled),
        Recipient::Unknown => Meaning::Not(Why::Unknown),
        Recipient::Malformed(_) => Meaning::Not(Why::Malformed),
    }
}

/// The domain that a remote address is routed by: lower-case ASCII, or a literal in its brackets.
pub fn domain_of(to: &Mailbox) -> Option<String> {
    if to.domain.starts_with('[') && to.domain.ends_with(']') {
        return Some(to.domain.to_ascii_lowercase());
    }
    canonical_domain(&to.domain).ok().map(std::borrow::Cow::into_owned)
}

fn note_skipped(group: &str, skipped: &Skipped) {
    let who = match skipped {
        Skipped::Disabled(account) => format!("{} is disabled", account.primary),
        Skipped::Refused(nested, _) => format!("{} does not take mail from this sender", nested.primary),
        Skipped::TooMany => "it reaches too many recipients".to_owned(),
    };
    tracing::info!(group, "member of group skipped: {who}");
}

/// Why mail for an account that forwards would end nowhere, if it would.
fn dead_end(directory: &Snapshot, account: &Arc<Account>, sender: Sender<'_>) -> Option<Why> {
    account.forward_to.as_ref()?;
    let mut chain = vec![account.primary.to_string()];
    let mut seen = BTreeSet::from([account.id]);
    let mut now = account.clone();
    loop {
        if now.forward_to.is_none() || now.deliver_and_forward {
            return None;
        }
        let next = now.forward_to.as_ref()?;
        chain.push(next.to_string());
        match directory.resolve(next.as_str()) {
            Recipient::Account { account, .. } if !seen.insert(account.id) => return Some(Why::Loop(chain)),
            Recipient::Account { .. } if chain.len() > FORWARDS_MAX => return Some(Why::Loop(chain)),
            Recipient::Account { account, .. } => now = account,
            Recipient::Group(group) => {
                let may = directory.may_send(&group, sender).is_ok();
                return (!may).then_some(Why::ForwardsNowhere);
            }
            Recipient::Relay(_) | Recipient::NotOurs => return None,
            _ => return Some(Why::ForwardsNowhere),
        }
    }
}

/// Something that happened on the way from addresses to targets, for the tracking log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A group became its members; `total` counts them all, `members` has the first.
    Expand { group: String, members: Vec<String>, total: usize },
    /// Mail for one goes to another, instead or as well.
    Redirect { from: String, to: String },
    /// An address that is another one's alias, or that has a tag.
    Resolve { from: String, to: String },
    /// Would have been delivered to the same twice.
    Duplicate { to: String },
    /// A forwarding that leads nowhere; the account does not get it by this way.
    Cut { from: String, to: String, why: &'static str },
}

/// Members of a group that an event names. The rest is counted.
const MEMBERS_NAMED: usize = 1000;

/// The ways to these accounts: one for those that are here, one for those of each other server.
pub fn by_home(directory: &Snapshot, targets: Vec<Target>) -> BTreeMap<Route, Vec<Target>> {
    let mut ways: BTreeMap<Route, Vec<Target>> = BTreeMap::new();
    for target in targets {
        let account = target.local.and_then(|local| directory.account(local.account));
        let away = account.filter(|account| !directory.is_here(account));
        let route = away.map_or(Route::Mailbox, |account| Route::Home(directory.home_of(account).to_owned()));
        ways.entry(route).or_default().push(target);
    }
    ways
}

/// The way of a whole message on a server that is no hub: as it was accepted, so that groups, forwardings and everything
/// else are a hub's affair.
pub fn to_hub(recipients: impl IntoIterator<Item = Mailbox>) -> Vec<Hop> {
    let target = |(of, to)| Target { to, of, local: None };
    let targets: Vec<Target> = (0..).zip(recipients).map(target).collect();
    if targets.is_empty() { Vec::new() } else { vec![Hop { number: 0, route: Route::Hub, targets }] }
}

/// Collects targets, each once, in the order in which they were meant.
pub struct Opening<'a> {
    directory: &'a Snapshot,
    sender: Sender<'a>,
    /// Whether anybody wants the notes.
    noting: bool,
    accounts: BTreeSet<AccountId>,
    groups: BTreeSet<GroupId>,
    /// Groups whose members are being added, outermost first.
    opening: Vec<GroupId>,
    addresses: BTreeSet<String>,
    /// Accounts whose forwardings are being followed, outermost first.
    chain: Vec<AccountId>,
    /// A forwarding led nowhere, or back.
    cut: bool,
    pub local: Vec<Target>,
    remote: BTreeMap<String, Vec<Target>>,
    pub notes: Vec<Note>,
}

impl<'a> Opening<'a> {
    pub fn new(directory: &'a Snapshot, sender: Sender<'a>, noting: bool) -> Opening<'a> {
        Opening {
            directory,
            sender,
            noting,
            accounts: BTreeSet::new(),
            groups: BTreeSet::new(),
            opening: Vec::new(),
            addresses: BTreeSet::new(),
            chain: Vec::new(),
            cut: false,
            local: Vec::new(),
            remote: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Adds the `of`-th accepted recipient.
    pub fn add(&mut self, of: u32, to: &Mailbox, meaning: &Meaning) {
        match meaning {
            Meaning::Account(account) => {
                if self.noting {
                    self.note_resolved(to, account);
                }
                self.account(of, account, Some(to), 0);
            }
            Meaning::Group(group, expanded) => self.group(of, group, expanded, 0),
            Meaning::Relay(domain) | Meaning::Elsewhere(domain) => self.away(of, to.clone(), domain.clone()),
            Meaning::Not(_) => {}
        }
    }

    /// The sender's own copy.
    pub fn sent(&mut self, account: &Account) {
        self.local.push(Target {
            to: mailbox(&account.primary),
            of: u32::MAX,
            local: Some(Local { account: account.id, place: Place::Sent }),
        });
    }

    /// Nobody is elsewhere.
    pub fn stays(&self) -> bool {
        self.remote.is_empty()
    }

    /// One hop for all accounts here, one for those of each other server, one for each domain.
    pub fn hops(self) -> (Vec<Hop>, Vec<Note>) {
        let Opening { directory, local, remote, notes, .. } = self;
        let local = by_home(directory, local);
        let remote = remote.into_iter().map(|(domain, targets)| (Route::Domain(domain), targets));
        let hop = |(number, (route, targets))| Hop { number, route, targets };
        ((0..).zip(local.into_iter().chain(remote)).map(hop).collect(), notes)
    }

    /// `to`: as it was addressed, where it was.
    fn account(&mut self, of: u32, account: &Arc<Account>, to: Option<&Mailbox>, depth: usize) {
        if !self.accounts.insert(account.id) {
            self.again(account);
            return;
        }
        let own = to.cloned().unwrap_or_else(|| mailbox(&account.primary));
        let local = Some(Local { account: account.id, place: Place::Inbox });
        let own = Target { to: own, of, local };
        let Some(next) = &account.forward_to else { return self.local.push(own) };
        if account.deliver_and_forward {
            self.local.push(own);
            self.forward(of, account, next, depth + 1);
            return;
        }
        let before = self.local.len() + self.addresses.len();
        let cut = std::mem::take(&mut self.cut);
        self.chain.push(account.id);
        self.forward(of, account, next, depth + 1);
        self.chain.pop();
        // Nobody has it because the forwarding leads nowhere: then it stays where it was meant to be in the first place.
        if self.cut && before == self.local.len() + self.addresses.len() {
            self.local.push(own);
            self.cut = cut;
        } else {
            self.cut |= cut;
        }
    }

    /// An account that was reached before.
    fn again(&mut self, account: &Account) {
        self.cut |= self.chain.contains(&account.id);
        if self.noting {
            self.notes.push(Note::Duplicate { to: account.primary.to_string() });
        }
    }

    fn forward(&mut self, of: u32, account: &Account, next: &Address, depth: usize) {
        let from = account.primary.to_string();
        let to = next.to_string();
        if depth > FORWARDS_MAX {
            self.cut = true;
            self.notes.push(Note::Cut { from, to, why: "550 5.4.6 forwarded too often" });
            return;
        }
        let outcome = match self.directory.resolve(next.as_str()) {
            Recipient::Account { account, .. } => {
                if self.chain.contains(&account.id) {
                    self.cut = true;
                    self.notes.push(Note::Cut { from, to, why: "550 5.4.6 the forwarding leads back" });
                    return;
                }
                self.account(of, &account, None, depth);
                None
            }
            Recipient::Group(group) if self.opening.contains(&group.id) => {
                self.cut = true;
                self.notes.push(Note::Cut { from, to, why: "550 5.4.6 the forwarding leads back" });
                return;
            }
            Recipient::Group(group) if self.groups.contains(&group.id) => None,
            Recipient::Group(group) => match self.directory.may_send(&group, self.sender) {
                Ok(()) => {
                    let expanded = self.directory.expand(&group, self.sender);
                    self.group(of, &group, &expanded, depth);
                    None
                }
                Err(_) => Some("550 5.7.1 the group does not take mail from this sender"),
            },
            Recipient::Relay(_) | Recipient::NotOurs => {
                let there = mailbox(next);
                match domain_of(&there) {
                    Some(domain) => self.away(of, there, domain),
                    None => self.cut = true,
                }
                None
            }
            Recipient::Disabled(_) => Some("550 5.2.1 the mailbox is disabled"),
            Recipient::Unknown | Recipient::Malformed(_) => Some("550 5.1.1 no such recipient"),
        };
        match outcome {
            None if self.noting => self.notes.push(Note::Redirect { from, to }),
            None => {}
            Some(why) => {
                self.cut = true;
                tracing::info!(from, to, "forwarding leads nowhere: {why}");
                self.notes.push(Note::Cut { from, to, why });
            }
        }
    }

    fn group(&mut self, of: u32, group: &Arc<Group>, expanded: &Expanded, depth: usize) {
        if !self.groups.insert(group.id) {
            return;
        }
        if self.noting {
            let total = expanded.accounts.len() + expanded.external.len();
            let accounts = expanded.accounts.iter().map(|a| a.primary.to_string());
            let members = accounts.chain(expanded.external.iter().map(ToString::to_string));
            let members = members.take(MEMBERS_NAMED).collect();
            self.notes.push(Note::Expand { group: group.primary.to_string(), members, total });
        }
        self.opening.push(group.id);
        for account in &expanded.accounts {
            self.account(of, account, None, depth);
        }
        for external in &expanded.external {
            // An address that was external when it was added may have become a group of ours since.
            if let Some(Owner::Group(id)) = self.directory.owner(external.as_str()) {
                self.nested(of, id, depth + 1);
                continue;
            }
            let to = mailbox(external);
            if let Some(domain) = domain_of(&to) {
                self.away(of, to, domain);
            }
        }
        self.opening.pop();
    }

    fn nested(&mut self, of: u32, id: GroupId, depth: usize) {
        let Some(group) = self.directory.group(id).cloned() else { return };
        let open = depth <= FORWARDS_MAX && !self.groups.contains(&id);
        if open && self.directory.may_send(&group, self.sender).is_ok() {
            let expanded = self.directory.expand(&group, self.sender);
            self.group(of, &group, &expanded, depth);
        }
    }

    fn away(&mut self, of: u32, to: Mailbox, domain: String) {
        // A group may reach a hundred thousand; several of them not more.
        if self.addresses.len() >= EXPANSION_MAX {
            return;
        }
        if !self.addresses.insert(format!("{}@{domain}", to.local)) {
            if self.noting {
                self.notes.push(Note::Duplicate { to: to.to_string() });
            }
            return;
        }
        self.remote.entry(domain).or_default().push(Target { to, of, local: None });
    }

    fn note_resolved(&mut self, to: &Mailbox, account: &Account) {
        let from = text(to);
        if !from.eq_ignore_ascii_case(account.primary.as_str()) {
            self.notes.push(Note::Resolve { from, to: account.primary.to_string() });
        }
    }
}

/// An address of the directory as it stands in an envelope.
pub fn mailbox(address: &Address) -> Mailbox {
    Mailbox::new(address.local(), address.domain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use waypost_directory::{Member, NewGroup};

    async fn forward(world: &World, name: &str, to: &str, keep: bool) {
        let to: Address = to.parse().unwrap();
        let change = |a: &mut Account| {
            a.forward_to = Some(to);
            a.deliver_and_forward = keep;
        };
        world.directory.update_account(world.account(name), change).await.unwrap();
    }

    /// The targets that a recipient comes to, and the notes.
    fn opened(world: &World, to: &[&str]) -> (Vec<String>, Vec<Note>) {
        let directory = world.directory.snapshot();
        let sender = Sender { account: Some(world.account("ann")), address: None };
        let mut opening = Opening::new(&directory, sender, true);
        for (of, to) in (0..).zip(to) {
            let to = Mailbox::parse(to).unwrap();
            let meaning = meaning(&directory, &to, sender);
            assert!(!matches!(meaning, Meaning::Not(_)), "{to}: {meaning:?}");
            opening.add(of, &to, &meaning);
        }
        let (hops, notes) = opening.hops();
        let targets = hops.iter().flat_map(|hop| {
            hop.targets.iter().map(move |t| match &hop.route {
                Route::Mailbox => format!("{} of {}", t.to, t.of),
                route => format!("{} of {} by {route:?}", t.to, t.of),
            })
        });
        (targets.collect(), notes)
    }

    #[tokio::test]
    async fn forwarding_here_and_elsewhere() {
        let world = World::new().await;
        forward(&world, "ann", "ben@contoso.test", false).await;
        assert_eq!(opened(&world, &["ann@contoso.test"]).0, ["ben@contoso.test of 0"]);
        forward(&world, "ben", "pat@Elsewhere.example", true).await;
        let (targets, notes) = opened(&world, &["ann+x@contoso.test", "ben@contoso.test"]);
        let away = "pat@elsewhere.example of 0 by Domain(\"elsewhere.example\")";
        assert_eq!(targets, ["ben@contoso.test of 0", away]);
        assert_eq!(notes.len(), 4, "{notes:?}");
    }

    #[tokio::test]
    async fn loops_are_cut_and_named() {
        let world = World::new().await;
        let directory = &world.directory;
        // Made in an order that the directory cannot see through: by a group between.
        let mut loopy = NewGroup::new("loopy");
        loopy.members = vec![Member::Account(world.account("ann"))];
        directory.add_group(loopy).await.unwrap();
        for keep in [true, false] {
            forward(&world, "ann", "loopy@contoso.test", keep).await;
            for to in ["ann@contoso.test", "loopy@contoso.test"] {
                assert_eq!(opened(&world, &[to]).0, ["ann@contoso.test of 0"]);
            }
        }
        // Two that forward to each other, made before it was forbidden.
        forward(&world, "ben", "cat@contoso.test", false).await;
        let now = directory.snapshot();
        let ben = now.account(world.account("ben")).unwrap();
        let cat = Account { forward_to: Some(ben.primary.clone()), ..Account::clone(ben) };
        let why = dead_end(&now, &Arc::new(cat), Sender::default());
        assert!(matches!(&why, Some(Why::Loop(chain)) if chain.len() == 2), "{why:?}");
    }

    #[tokio::test]
    async fn everybody_once_also_those_elsewhere() {
        let world = World::new().await;
        let staff = world.directory.snapshot().find_group("staff").unwrap().id;
        let pat = Member::External("pat@elsewhere.example".parse().unwrap());
        world.directory.add_member(staff, pat).await.unwrap();
        let (targets, notes) =
            opened(&world, &["staff@contoso.test", "pat@ELSEWHERE.example", "ann@contoso.test"]);
        assert_eq!(
            targets,
            [
                "ann@contoso.test of 0",
                "ben@contoso.test of 0",
                "pat@elsewhere.example of 0 by Domain(\"elsewhere.example\")"
            ]
        );
        assert!(notes.iter().any(|n| matches!(n, Note::Expand { total: 3, .. })), "{notes:?}");
        assert_eq!(notes.iter().filter(|n| matches!(n, Note::Duplicate { .. })).count(), 2);
    }

    #[test]
    fn domains() {
        let domain = |d: &str| domain_of(&Mailbox::new("a", d));
        assert_eq!(domain("BÜCHER.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(domain("[192.0.2.1]").as_deref(), Some("[192.0.2.1]"));
        assert_eq!(domain("-x"), None);
    }
}
