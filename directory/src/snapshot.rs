//! The directory as it is in memory. A snapshot never changes under its holder.
//!
//! The maps agree with each other at all times: whatever is put in or taken out goes through the few functions at the
//! end of this file, which keep `addresses`, `names` and `bare` in step with the records.

use crate::credential::{Credential, CredentialKind};
use crate::model::{Account, Domain, Group, GroupId, Member};
use crate::server::Server;
use crate::token::ApiToken;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use waypost_base::{AccountId, Timestamp};

/// Whose an address or name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Account(AccountId),
    Group(GroupId),
}

/// What the settings say about lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What stands between user and tag in `user+tag`; `None` switches sub-addressing off everywhere.
    pub separator: Option<char>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { separator: Some('+') }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) policy: Policy,
    pub(crate) domains: BTreeMap<String, Arc<Domain>>,
    pub(crate) accounts: BTreeMap<AccountId, Arc<Account>>,
    pub(crate) groups: BTreeMap<GroupId, Arc<Group>>,
    pub(crate) members: BTreeMap<GroupId, Arc<BTreeSet<Member>>>,
    pub(crate) credentials: BTreeMap<AccountId, Arc<Vec<Credential>>>,
    /// Accounts whose password has no keys of SCRAM-SHA-1.
    pub(crate) without_scram1: BTreeSet<AccountId>,
    /// Fingerprint of a client's certificate to the account that it belongs to.
    pub(crate) certificates: HashMap<Box<str>, AccountId>,
    /// Canonical address to owner.
    pub(crate) addresses: HashMap<Box<str>, Owner>,
    /// Lower-case name to owner.
    pub(crate) names: HashMap<Box<str>, Owner>,
    /// Local part, alias or name in lower case to the accounts that have it, for signing in without a domain.
    pub(crate) bare: HashMap<Box<str>, Vec<AccountId>>,
    /// By name.
    pub(crate) api_tokens: BTreeMap<String, Arc<ApiToken>>,
    /// By id.
    pub(crate) servers: BTreeMap<String, Arc<Server>>,
    /// Id of the server that this process is; `None` where nobody has said so: then every account is here.
    pub(crate) here: Option<Arc<str>>,
}

impl Snapshot {
    pub fn domains(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.domains.values()
    }

    /// By its name in ASCII or Unicode.
    pub fn domain(&self, name: &str) -> Option<&Arc<Domain>> {
        self.domains.get(crate::address::canonical_domain(name).ok()?.as_ref())
    }

    pub fn default_domain(&self) -> Option<&Arc<Domain>> {
        self.domains.values().find(|d| d.default)
    }

    /// In the order of their numbers.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    pub fn account(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.accounts.get(&id)
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    pub fn group(&self, id: GroupId) -> Option<&Arc<Group>> {
        self.groups.get(&id)
    }

    /// Direct members, in order: accounts, groups, external addresses.
    pub fn members(&self, id: GroupId) -> impl Iterator<Item = &Member> {
        self.members.get(&id).into_iter().flat_map(|m| m.iter())
    }

    /// The credentials of an account: the main one and app passwords.
    pub fn credentials(&self, id: AccountId) -> &[Credential] {
        self.credentials.get(&id).map(|c| c.as_slice()).unwrap_or_default()
    }

    /// Whether SCRAM-SHA-1 works for everybody who has a password.
    pub fn all_have_scram1(&self) -> bool {
        self.without_scram1.is_empty()
    }

    /// Whose certificate it is, by its fingerprint (SHA-256 in lower-case hexadecimal).
    pub fn certificate_owner(&self, fingerprint: &str) -> Option<(&Arc<Account>, &Credential)> {
        let id = self.certificates.get(fingerprint)?;
        let fits = |c: &&Credential| matches!(&c.kind, CredentialKind::Certificate { fingerprint: f, .. } if f == fingerprint);
        Some((self.accounts.get(id)?, self.credentials(*id).iter().find(fits)?))
    }

    /// Whose exactly this address is, without sub-addressing or catch-all.
    pub fn owner(&self, address: &str) -> Option<Owner> {
        self.addresses.get(crate::address::canonical(address).ok()?.as_ref()).copied()
    }

    /// The account that an administrator means: by address, unique name, or number.
    pub fn find_account(&self, identity: &str) -> Option<&Arc<Account>> {
        match self.find(identity)? {
            Owner::Account(id) => self.accounts.get(&id),
            Owner::Group(_) => None,
        }
    }

    /// The group that an administrator means: by address or unique name.
    pub fn find_group(&self, identity: &str) -> Option<&Arc<Group>> {
        match self.find(identity)? {
            Owner::Group(id) => self.groups.get(&id),
            Owner::Account(_) => None,
        }
    }

    /// Account or group by address, name, or (where only one account has it) alias or local part.
    pub fn find(&self, identity: &str) -> Option<Owner> {
        let identity = identity.trim();
        if identity.contains('@') {
            return self.owner(identity);
        }
        let lower = identity.to_lowercase();
        if let Some(owner) = self.names.get(lower.as_str()) {
            return Some(*owner);
        }
        if let Some([only]) = self.bare.get(lower.as_str()).map(Vec::as_slice) {
            return Some(Owner::Account(*only));
        }
        let mut groups = self.groups.values().filter(|g| {
            g.alias.to_lowercase() == lower || g.addresses().any(|a| a.local() == lower.as_str())
        });
        match (groups.next(), groups.next()) {
            (Some(group), None) => Some(Owner::Group(group.id)),
            _ => None,
        }
    }

    /// The account that somebody who signs in means: full address, alias address, or the bare name where it is unique.
    pub fn sign_in_account(&self, name: &str) -> Option<&Arc<Account>> {
        let name = name.trim();
        let id = if name.contains('@') {
            match self.owner(name)? {
                Owner::Account(id) => id,
                Owner::Group(_) => return None,
            }
        } else {
            match self.bare.get(name.to_lowercase().as_str())?.as_slice() {
                [only] => *only,
                _ => return None,
            }
        };
        self.accounts.get(&id)
    }

    /// Groups that hold this member directly.
    pub fn groups_of<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a Arc<Group>> {
        self.members.iter().filter(|(_, m)| m.contains(member)).filter_map(|(id, _)| self.groups.get(id))
    }

    /// How an owner is called in messages to administrators.
    pub fn call(&self, owner: Owner) -> String {
        match owner {
            Owner::Account(id) => match self.accounts.get(&id) {
                Some(a) => format!("mailbox {:?} <{}>", a.name, a.primary),
                None => format!("mailbox number {id}"),
            },
            Owner::Group(id) => match self.groups.get(&id) {
                Some(g) => format!("group {:?} <{}>", g.name, g.primary),
                None => format!("group number {}", id.0),
            },
        }
    }
}

/// Who administers.
impl Snapshot {
    pub fn api_tokens(&self) -> impl Iterator<Item = &Arc<ApiToken>> {
        self.api_tokens.values()
    }

    /// The token that somebody shows, if it is one and may be used now.
    pub fn api_token(&self, shown: &str, now: Timestamp) -> Option<&Arc<ApiToken>> {
        let (name, secret) = crate::token::split(shown)?;
        self.api_tokens.get(name).filter(|token| token.fits(secret, now))
    }
}

/// Servers, and where accounts are.
impl Snapshot {
    /// In the order of their ids.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.values()
    }

    /// By id; case does not matter.
    pub fn server(&self, id: &str) -> Option<&Arc<Server>> {
        self.servers.get(&id.to_ascii_lowercase())
    }

    /// The server that keeps the directory.
    pub fn primary(&self) -> Option<&Arc<Server>> {
        self.servers.values().find(|s| s.primary)
    }

    /// The server that this process is.
    pub fn here(&self) -> Option<&str> {
        self.here.as_deref()
    }

    /// Id of the server that holds an account. Empty where the organisation has one server and needs no name for it.
    pub fn home_of<'a>(&'a self, account: &'a Account) -> &'a str {
        let primary = || self.primary().map(|s| s.id.as_str());
        account.home.as_deref().or_else(primary).or(self.here.as_deref()).unwrap_or_default()
    }

    /// Where a new account goes if nobody says so: `None` is the server that keeps the directory, if it holds mail; else the
    /// server with the fewest accounts.
    pub(crate) fn home_for_new(&self) -> Option<String> {
        if self.primary().is_none_or(|s| s.roles.mailbox) {
            return None;
        }
        let holds = self.servers().filter(|s| s.roles.mailbox && s.revoked.is_none());
        let count = |s: &Server| self.accounts().filter(|a| a.home.as_deref() == Some(s.id.as_str())).count();
        holds.min_by_key(|s| count(s)).map(|s| s.id.clone())
    }

    /// Whether this server holds an account.
    pub fn is_here(&self, account: &Account) -> bool {
        self.here().is_none_or(|here| here == self.home_of(account))
    }
}

/// Everything that may be put in or taken out.
impl Snapshot {
    pub(crate) fn put_api_token(&mut self, token: ApiToken) -> Arc<ApiToken> {
        let token = Arc::new(token);
        self.api_tokens.insert(token.name.clone(), token.clone());
        token
    }

    pub(crate) fn drop_api_token(&mut self, name: &str) {
        self.api_tokens.remove(name);
    }

    pub(crate) fn put_server(&mut self, server: Server) -> Arc<Server> {
        let server = Arc::new(server);
        self.servers.insert(server.id.clone(), server.clone());
        server
    }

    pub(crate) fn drop_server(&mut self, id: &str) {
        self.servers.remove(id);
    }

    pub(crate) fn put_domain(&mut self, domain: Domain) -> Arc<Domain> {
        let domain = Arc::new(domain);
        self.domains.insert(domain.name.clone(), domain.clone());
        domain
    }

    pub(crate) fn put_account(&mut self, account: Account) -> Arc<Account> {
        self.unlist_account(account.id);
        let account = Arc::new(account);
        for address in account.addresses() {
            self.addresses.insert(address.as_str().into(), Owner::Account(account.id));
        }
        self.names.insert(account.name.to_lowercase().into(), Owner::Account(account.id));
        for name in bare_names(&account) {
            let ids = self.bare.entry(name.into_boxed_str()).or_default();
            if !ids.contains(&account.id) {
                ids.push(account.id);
            }
        }
        self.accounts.insert(account.id, account.clone());
        account
    }

    pub(crate) fn drop_account(&mut self, id: AccountId) {
        self.unlist_account(id);
        self.accounts.remove(&id);
        self.credentials.remove(&id);
        self.note_credentials(id);
        let member = Member::Account(id);
        for members in self.members.values_mut().filter(|m| m.contains(&member)) {
            Arc::make_mut(members).remove(&member);
        }
    }

    fn unlist_account(&mut self, id: AccountId) {
        let Some(old) = self.accounts.get(&id).cloned() else { return };
        for address in old.addresses() {
            self.addresses.remove(address.as_str());
        }
        self.names.remove(old.name.to_lowercase().as_str());
        for name in bare_names(&old) {
            if let Some(ids) = self.bare.get_mut(name.as_str()) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.bare.remove(name.as_str());
                }
            }
        }
    }

    pub(crate) fn put_group(&mut self, group: Group) -> Arc<Group> {
        self.unlist_group(group.id);
        let group = Arc::new(group);
        for address in group.addresses() {
            self.addresses.insert(address.as_str().into(), Owner::Group(group.id));
        }
        self.names.insert(group.name.to_lowercase().into(), Owner::Group(group.id));
        self.groups.insert(group.id, group.clone());
        group
    }

    pub(crate) fn drop_group(&mut self, id: GroupId) {
        self.unlist_group(id);
        self.groups.remove(&id);
        self.members.remove(&id);
        let member = Member::Group(id);
        for members in self.members.values_mut().filter(|m| m.contains(&member)) {
            Arc::make_mut(members).remove(&member);
        }
    }

    fn unlist_group(&mut self, id: GroupId) {
        let Some(old) = self.groups.get(&id).cloned() else { return };
        for address in old.addresses() {
            self.addresses.remove(address.as_str());
        }
        self.names.remove(old.name.to_lowercase().as_str());
    }

    pub(crate) fn put_member(&mut self, id: GroupId, member: Member) {
        Arc::make_mut(self.members.entry(id).or_default()).insert(member);
    }

    pub(crate) fn drop_member(&mut self, id: GroupId, member: &Member) {
        if let Some(members) = self.members.get_mut(&id) {
            Arc::make_mut(members).remove(member);
        }
    }

    pub(crate) fn put_credential(&mut self, account: AccountId, credential: Credential) {
        let list = Arc::make_mut(self.credentials.entry(account).or_default());
        match list.iter_mut().find(|c| c.id == credential.id) {
            Some(place) => *place = credential,
            None => list.push(credential),
        }
        self.note_credentials(account);
    }

    pub(crate) fn drop_credential(&mut self, account: AccountId, id: u32) {
        if let Some(list) = self.credentials.get_mut(&account) {
            Arc::make_mut(list).retain(|c| c.id != id);
        }
        self.note_credentials(account);
    }

    /// Brings what is derived from an account's credentials up to date.
    fn note_credentials(&mut self, account: AccountId) {
        let theirs = self.credentials.get(&account).map(|c| c.as_slice()).unwrap_or_default();
        let lacks = |c: &Credential| matches!(&c.kind, CredentialKind::Main { scram1: None, .. });
        if theirs.iter().any(lacks) {
            self.without_scram1.insert(account);
        } else {
            self.without_scram1.remove(&account);
        }
        self.certificates.retain(|_, owner| *owner != account);
        for credential in theirs {
            if let CredentialKind::Certificate { fingerprint, .. } = &credential.kind {
                self.certificates.insert(fingerprint.as_str().into(), account);
            }
        }
    }
}

/// What an account may be called without a domain.
fn bare_names(account: &Account) -> BTreeSet<String> {
    let locals = account.addresses().map(|a| a.local().to_owned());
    locals.chain([account.alias.to_lowercase(), account.name.to_lowercase()]).collect()
}
