//! Accounts: making, changing, removing.

use super::{Directory, check_addresses, check_name, check_unique_name, move_rows};
use crate::address::Address;
use crate::credential::{Credential, CredentialKind, check_strength};
use crate::error::ChangeError;
use crate::limits::{FORWARDS_MAX, LIST_MAX};
use crate::model::{Account, AccountKind, Member, Origin, Protocols, Quotas, SizeLimits};
use crate::resolve::Recipient;
use crate::rows;
use crate::snapshot::{Owner, Snapshot};
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_store::{Batch, Expect, Template, prefix_range};

/// An account to be made. What is not given is made up as Exchange does: the alias from the address or name, the
/// address from the alias and the default domain, the display name from the name.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    pub name: String,
    pub display_name: Option<String>,
    pub alias: Option<String>,
    pub primary: Option<Address>,
    pub others: Vec<Address>,
    pub kind: Option<AccountKind>,
    /// Off makes a disabled account.
    pub enabled: Option<bool>,
    pub protocols: Protocols,
    pub quotas: Quotas,
    pub limits: SizeLimits,
    /// The main password, unprepared. Accounts without one can be given app passwords, or a password later.
    pub password: Option<String>,
    /// The directory that it comes from.
    pub origin: Option<Origin>,
    /// Id of the server that is to hold its mail; `None` is the server that keeps the directory, or the emptiest one where
    /// that holds no mail.
    pub home: Option<String>,
}

impl NewAccount {
    pub fn new(name: impl Into<String>) -> NewAccount {
        NewAccount { name: name.into(), ..NewAccount::default() }
    }
}

impl Directory {
    /// Makes an account; with its password in the same batch. Its mailbox is made by the mailbox room at first use.
    pub async fn add_account(&self, new: NewAccount) -> Result<Arc<Account>, ChangeError> {
        let main = match &new.password {
            Some(password) => {
                check_strength(password)?;
                Some(self.hasher.main(waypost_sasl::prep::password(password), self.keeps_nt_hashes()).await?)
            }
            None => None,
        };
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let account = self.compose(&now, &new)?;
        check(&now, &account, None)?;
        let mut batch = Batch::new(rows::PARTITION);
        let number = batch.alloc(rows::single(rows::ACCOUNTS), 1);
        let account_key = |kind| Template::new(rows::single(kind)).slot4(number, 0);
        batch.put(account_key(rows::ACCOUNT), rows::versioned(1, &account));
        for address in account.addresses() {
            let key = rows::text(rows::ADDRESS, address.as_str());
            batch.expect(key.clone(), Expect::Absent).put(key, rows::new_owner(1, number));
        }
        let key = rows::text(rows::NAME, &account.name.to_lowercase());
        batch.expect(key.clone(), Expect::Absent).put(key, rows::new_owner(1, number));
        let credential = main.map(|kind| Credential { id: 0, version: 1, kind, created: account.created });
        if let Some(credential) = &credential {
            let id = batch.alloc(rows::single(rows::CREDENTIALS), 1);
            batch.put(account_key(rows::CREDENTIAL).slot4(id, 0), rows::versioned(1, credential));
        }
        let given = self.commit(batch).await?.allocated;
        let given = |i: usize| given.get(i).map(|n| *n as u32).unwrap_or_default();
        let account = Account { id: AccountId(given(0)), ..account };
        Ok(self.edit(|s| {
            if let Some(credential) = credential {
                s.put_credential(account.id, Credential { id: given(1), ..credential });
            }
            s.put_account(account)
        }))
    }

    /// The account that [`add_account`](Directory::add_account) would make now; nothing is changed.
    pub fn plan_account(&self, new: &NewAccount) -> Result<Account, ChangeError> {
        let now = self.snapshot();
        let account = self.compose(&now, new)?;
        check(&now, &account, None)?;
        Ok(account)
    }

    /// Fills in what was not said.
    fn compose(&self, now: &Snapshot, new: &NewAccount) -> Result<Account, ChangeError> {
        let alias = match (&new.alias, &new.primary) {
            (Some(alias), _) => alias.clone(),
            (None, Some(primary)) => primary.local().to_owned(),
            (None, None) => alias_from(&new.name),
        };
        let primary = match &new.primary {
            Some(primary) => primary.clone(),
            None => address_from(now, &alias)?,
        };
        let at = self.clock.now();
        let others = new.others.iter().filter(|a| **a != primary).cloned().collect();
        Ok(Account {
            id: AccountId(0),
            version: 1,
            name: new.name.trim().to_owned(),
            display_name: new.display_name.clone().unwrap_or_else(|| new.name.trim().to_owned()),
            alias,
            primary,
            others,
            kind: new.kind.unwrap_or(AccountKind::User),
            enabled: new.enabled.unwrap_or(true),
            protocols: new.protocols,
            quotas: new.quotas,
            limits: new.limits,
            permissions: Vec::new(),
            hidden: new.kind == Some(AccountKind::Monitoring),
            copy_smtp_sent: false,
            forward_to: None,
            deliver_and_forward: false,
            origin: new.origin.clone(),
            role_groups: Vec::new(),
            home: new.home.clone().or_else(|| now.home_for_new()),
            created: at,
            changed: at,
        })
    }

    /// Changes an account by a function on its values. Number and dates stay as they are.
    pub async fn update_account(
        &self,
        id: AccountId,
        change: impl FnOnce(&mut Account),
    ) -> Result<Arc<Account>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.account(id).ok_or_else(|| ChangeError::missing("mailbox", id))?;
        let mut account = Account::clone(old);
        change(&mut account);
        account.id = id;
        account.version = old.version + 1;
        account.created = old.created;
        account.changed = self.clock.now();
        account.others.retain(|a| *a != account.primary);
        account.others.sort();
        account.others.dedup();
        account.permissions.sort();
        account.permissions.dedup();
        let owner = Owner::Account(id);
        check(&now, &account, Some(owner))?;
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::number(rows::ACCOUNT, id.0);
        batch.expect(key.clone(), Expect::Version(old.version));
        batch.put(key, rows::versioned(account.version, &account));
        let before = (old.name.as_str(), old.addresses().collect());
        let after = (account.name.as_str(), account.addresses().collect());
        move_rows(&mut batch, owner, before, after);
        self.commit(batch).await?;
        Ok(self.edit(|s| s.put_account(account)))
    }

    /// Removes the account, its addresses, credentials and memberships. Its mail is the mailbox room's to remove.
    /// The number is never given again.
    pub async fn remove_account(&self, id: AccountId) -> Result<Arc<Account>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.account(id).ok_or_else(|| ChangeError::missing("mailbox", id))?.clone();
        if let Some(domain) = now.domains().find(|d| old.addresses().any(|a| d.catch_all.as_ref() == Some(a)))
        {
            return Err(ChangeError::InUse {
                what: format!("the mailbox {:?}", old.name),
                by: format!("the domain {} as its catch-all", domain.name),
            });
        }
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::number(rows::ACCOUNT, id.0);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        for address in old.addresses() {
            batch.del(rows::text(rows::ADDRESS, address.as_str()));
        }
        batch.del(rows::text(rows::NAME, &old.name.to_lowercase()));
        batch.del_range(prefix_range(&rows::number(rows::CREDENTIAL, id.0)));
        batch.del(rows::number(rows::LAST, id.0));
        let member = Member::Account(id);
        for group in now.groups_of(&member) {
            batch.del(rows::member(group.id, &member));
        }
        self.commit(batch).await?;
        self.edit(|s| s.drop_account(id));
        Ok(old)
    }

    /// The kinds of a credential that an account has, for reports.
    pub fn has_password(&self, id: AccountId) -> bool {
        let is_main = |c: &Credential| matches!(c.kind, CredentialKind::Main { .. });
        self.snapshot().credentials(id).iter().any(is_main)
    }
}

fn check(now: &Snapshot, account: &Account, own: Option<Owner>) -> Result<(), ChangeError> {
    check_name("name", &account.name)?;
    check_name("display name", &account.display_name)?;
    check_name("alias", &account.alias)?;
    if account.name.contains('@')
        && Address::parse(&account.name).is_ok_and(|a| !account.addresses().any(|b| *b == a))
    {
        // Else somebody's name could be taken for somebody else's address.
        return Err(ChangeError::invalid("name", "a name with @ must be one of the mailbox's own addresses"));
    }
    if account.permissions.len() > LIST_MAX {
        return Err(ChangeError::invalid("permissions", format!("at most {LIST_MAX}")));
    }
    check_forwarding(now, account, own)?;
    check_unique_name(now, &account.name, own)?;
    check_addresses(now, &account.addresses().collect::<Vec<_>>(), own)
}

/// Nobody forwards to themselves, straight or through others: nothing would ever arrive anywhere.
fn check_forwarding(now: &Snapshot, account: &Account, own: Option<Owner>) -> Result<(), ChangeError> {
    let Some(first) = &account.forward_to else { return Ok(()) };
    if account.addresses().any(|address| address == first) {
        return Err(ChangeError::invalid("forwarding address", "a mailbox cannot forward to itself"));
    }
    let mut next = first;
    // Chains are short; longer ones are cut when mail comes.
    for _ in 0..FORWARDS_MAX {
        let owner = match now.resolve(next.as_str()) {
            Recipient::Account { account, .. } => account,
            Recipient::Unknown => {
                let why = format!("<{next}> is in a domain of ours, and nobody has it");
                return Err(ChangeError::invalid("forwarding address", why));
            }
            _ => return Ok(()),
        };
        if Some(Owner::Account(owner.id)) == own {
            let why = format!("<{next}> forwards back to this mailbox");
            return Err(ChangeError::invalid("forwarding address", why));
        }
        match now.accounts.get(&owner.id).and_then(|a| a.forward_to.as_ref()) {
            Some(further) => next = further,
            None => return Ok(()),
        }
    }
    Err(ChangeError::invalid("forwarding address", format!("forwards more than {FORWARDS_MAX} times")))
}

/// The local part that a name suggests: what does not fit is left out, as Exchange does, so `Adele Vance` gives
/// `AdeleVance`.
pub(super) fn alias_from(name: &str) -> String {
    let name = name.split('@').next().unwrap_or_default();
    name.chars().filter(|c| c.is_alphanumeric() || "._-+'".contains(*c)).collect()
}

pub(super) fn address_from(now: &Snapshot, alias: &str) -> Result<Address, ChangeError> {
    let domain = now
        .default_domain()
        .ok_or_else(|| ChangeError::invalid("address", "there is no accepted domain yet to make one in"))?;
    Address::parse(&format!("{alias}@{}", domain.name)).map_err(|e| ChangeError::invalid("address", e))
}
