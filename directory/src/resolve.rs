//! Where the mail for an address goes: the lookup of RCPT, and the expansion of groups.
//!
//! Lookups are by hash in memory; the common one (a known address in canonical form) allocates nothing.

use crate::address::{self, Address, AddressError};
use crate::limits::EXPANSION_MAX;
use crate::model::{Account, Domain, DomainKind, Group, GroupId, Member};
use crate::snapshot::{Owner, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;
use waypost_base::AccountId;

/// What an address means to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    Account {
        account: Arc<Account>,
        how: How,
        /// The tag of `user+tag`, in lower case.
        tag: Option<Box<str>>,
    },
    /// Ask [`Snapshot::may_send`] whether the sender may, and [`Snapshot::expand`] for the members.
    Group(Arc<Group>),
    /// A domain that we take mail for but whose mailboxes are elsewhere.
    Relay(Arc<Domain>),
    /// The account exists and is switched off (5.2.1).
    Disabled(Arc<Account>),
    /// The domain is ours, the mailbox does not exist (5.1.1).
    Unknown,
    /// Not a domain of ours: whether it may be relayed depends on who asks.
    NotOurs,
    /// Not an address at all (5.1.3).
    Malformed(AddressError),
}

/// By which way an address led to its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Primary,
    Alias,
    SubAddress,
    CatchAll,
    /// `postmaster` of a domain that has none of its own goes to the default domain's (RFC 5321 §4.5.1).
    Postmaster,
}

/// Who sends to a group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender<'a> {
    /// The account that signed in.
    pub account: Option<AccountId>,
    /// The address in MAIL FROM.
    pub address: Option<&'a Address>,
}

/// Why somebody may not send to a group (5.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NeedsAuthentication,
    NotOnList,
    /// On the list of those who may not.
    OnRejectList,
}

/// The members of a group, each once, nested groups opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    pub accounts: Vec<Arc<Account>>,
    pub external: Vec<Address>,
    /// Members that get nothing, and why.
    pub skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The account is switched off.
    Disabled(Arc<Account>),
    /// A nested group that the sender may not send to.
    Refused(Arc<Group>, Refused),
    /// The group reaches more than [`EXPANSION_MAX`] recipients; the rest was left out.
    TooMany,
}

impl Snapshot {
    /// Looks up a recipient as it stands in RCPT TO, without the angle brackets. Case, IDNA form and quotes do not matter.
    pub fn resolve(&self, recipient: &str) -> Recipient {
        let text = match address::canonical(recipient) {
            Ok(text) => text,
            // RFC 5321 §4.1.1.3: "postmaster" without a domain is always accepted.
            Err(AddressError::NoAt) if recipient.eq_ignore_ascii_case("postmaster") => {
                return self.postmaster().unwrap_or(Recipient::Unknown);
            }
            // An address literal, or a name that cannot exist: nothing of ours.
            Err(AddressError::BadDomain) => return Recipient::NotOurs,
            Err(e) => return Recipient::Malformed(e),
        };
        let (local, domain) = text.rsplit_once('@').unwrap_or_default();
        let Some(domain) = self.domains.get(domain) else { return Recipient::NotOurs };
        if let Some(owner) = self.addresses.get(text.as_ref()) {
            return self.owned(*owner, |a| match a.primary.as_str() == text.as_ref() {
                true => How::Primary,
                false => How::Alias,
            });
        }
        if let Some(found) = self.sub_address(local, domain) {
            return found;
        }
        if local == "postmaster"
            && let Some(found) = self.postmaster()
        {
            return found;
        }
        match domain.kind {
            DomainKind::InternalRelay | DomainKind::ExternalRelay => Recipient::Relay(domain.clone()),
            DomainKind::Authoritative => match &domain.catch_all {
                Some(address) => match self.addresses.get(address.as_str()) {
                    Some(owner) => self.owned(*owner, |_| How::CatchAll),
                    None => Recipient::Unknown,
                },
                None => Recipient::Unknown,
            },
        }
    }

    fn owned(&self, owner: Owner, how: impl Fn(&Account) -> How) -> Recipient {
        match owner {
            Owner::Account(id) => match self.accounts.get(&id) {
                Some(account) if account.enabled => {
                    Recipient::Account { account: account.clone(), how: how(account), tag: None }
                }
                Some(account) => Recipient::Disabled(account.clone()),
                None => Recipient::Unknown,
            },
            Owner::Group(id) => {
                self.groups.get(&id).map_or(Recipient::Unknown, |group| Recipient::Group(group.clone()))
            }
        }
    }

    /// `user+tag`: the longest part before a separator that is an address wins, so that `a+b` may be one of its own.
    fn sub_address(&self, local: &str, domain: &Domain) -> Option<Recipient> {
        let separator = self.policy.separator.filter(|_| domain.sub_addressing)?;
        for (at, _) in local.rmatch_indices(separator) {
            let (user, tag) = (local.get(..at)?, local.get(at + separator.len_utf8()..)?);
            if user.is_empty() {
                continue;
            }
            let owner = self.addresses.get(format!("{user}@{}", domain.name).as_str());
            match owner.map(|owner| self.owned(*owner, |_| How::SubAddress)) {
                Some(Recipient::Account { account, how, .. }) => {
                    return Some(Recipient::Account { account, how, tag: Some(tag.into()) });
                }
                Some(Recipient::Disabled(account)) => return Some(Recipient::Disabled(account)),
                _ => {}
            }
        }
        None
    }

    fn postmaster(&self) -> Option<Recipient> {
        let address = format!("postmaster@{}", self.default_domain()?.name);
        let owner = self.addresses.get(address.as_str())?;
        Some(self.owned(*owner, |_| How::Postmaster))
    }

    /// May this sender send to this group? Nested groups are asked about by [`expand`](Snapshot::expand).
    pub fn may_send(&self, group: &Group, sender: Sender<'_>) -> Result<(), Refused> {
        if group.require_sender_authentication && sender.account.is_none() {
            return Err(Refused::NeedsAuthentication);
        }
        if group.reject_from.iter().any(|m| self.is(m, sender)) {
            return Err(Refused::OnRejectList);
        }
        if group.accept_from.is_empty() || group.accept_from.iter().any(|m| self.is(m, sender)) {
            return Ok(());
        }
        Err(Refused::NotOnList)
    }

    fn is(&self, member: &Member, sender: Sender<'_>) -> bool {
        match member {
            Member::Account(id) => sender.account == Some(*id),
            Member::External(address) => sender.address == Some(address),
            Member::Group(id) => sender.account.is_some_and(|account| self.holds(*id, account)),
        }
    }

    /// Whether a group holds an account, directly or through nested groups.
    pub fn holds(&self, group: GroupId, account: AccountId) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![group];
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            for member in self.members(id) {
                match member {
                    Member::Account(other) if *other == account => return true,
                    Member::Group(nested) => open.push(*nested),
                    _ => {}
                }
            }
        }
        false
    }

    /// Opens a group. Loops end by themselves, since each group is opened once; nobody is listed twice.
    pub fn expand(&self, group: &Group, sender: Sender<'_>) -> Expanded {
        let mut out = Expanded::default();
        let mut groups = BTreeSet::from([group.id]);
        let mut accounts = BTreeSet::new();
        let mut external = BTreeSet::new();
        let mut open = vec![group.id];
        while let Some(id) = open.pop() {
            for member in self.members(id) {
                if accounts.len() + external.len() >= EXPANSION_MAX {
                    out.skipped.push(Skipped::TooMany);
                    return out;
                }
                match member {
                    Member::Account(id) if accounts.insert(*id) => match self.accounts.get(id) {
                        Some(account) if account.enabled => out.accounts.push(account.clone()),
                        Some(account) => out.skipped.push(Skipped::Disabled(account.clone())),
                        None => {}
                    },
                    Member::Group(id) if groups.insert(*id) => {
                        let Some(nested) = self.groups.get(id) else { continue };
                        match self.may_send(nested, sender) {
                            Ok(()) => open.push(*id),
                            Err(why) => out.skipped.push(Skipped::Refused(nested.clone(), why)),
                        }
                    }
                    Member::External(address) if external.insert(address) => {
                        self.expand_address(address, &mut accounts, &mut out);
                    }
                    _ => {}
                }
            }
        }
        out
    }

    /// An address that was external when it was added may have become one of ours since.
    fn expand_address(&self, address: &Address, accounts: &mut BTreeSet<AccountId>, out: &mut Expanded) {
        match self.addresses.get(address.as_str()) {
            Some(Owner::Account(id)) => {
                if let Some(account) = self.accounts.get(id).filter(|a| a.enabled && accounts.insert(a.id)) {
                    out.accounts.push(account.clone());
                }
            }
            _ => out.external.push(address.clone()),
        }
    }
}
