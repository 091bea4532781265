//! Groups and their members.

use super::account::{address_from, alias_from};
use super::{Directory, check_addresses, check_name, check_unique_name, move_rows};
use crate::address::Address;
use crate::error::ChangeError;
use crate::limits::LIST_MAX;
use crate::model::{Group, GroupId, Member};
use crate::rows;
use crate::snapshot::{Owner, Snapshot};
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_store::{Batch, Expect, Template, prefix_range};

/// A group to be made. What is not given is made up as for accounts.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    pub name: String,
    pub display_name: Option<String>,
    pub alias: Option<String>,
    pub primary: Option<Address>,
    pub others: Vec<Address>,
    /// On unless said otherwise.
    pub require_sender_authentication: Option<bool>,
    pub managed_by: Vec<AccountId>,
    /// The directory that it comes from.
    pub origin: Option<crate::Origin>,
    /// Up to [`LIST_MAX`]; more by [`Directory::add_member`].
    pub members: Vec<Member>,
}

impl NewGroup {
    pub fn new(name: impl Into<String>) -> NewGroup {
        NewGroup { name: name.into(), ..NewGroup::default() }
    }
}

impl Directory {
    pub async fn add_group(&self, new: NewGroup) -> Result<Arc<Group>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let alias = match (&new.alias, &new.primary) {
            (Some(alias), _) => alias.clone(),
            (None, Some(primary)) => primary.local().to_owned(),
            (None, None) => alias_from(&new.name),
        };
        let primary = match &new.primary {
            Some(primary) => primary.clone(),
            None => address_from(&now, &alias)?,
        };
        let at = self.clock.now();
        let group = Group {
            id: GroupId(0),
            version: 1,
            name: new.name.trim().to_owned(),
            display_name: new.display_name.clone().unwrap_or_else(|| new.name.trim().to_owned()),
            alias,
            others: new.others.iter().filter(|a| **a != primary).cloned().collect(),
            primary,
            require_sender_authentication: new.require_sender_authentication.unwrap_or(true),
            accept_from: Vec::new(),
            reject_from: Vec::new(),
            managed_by: new.managed_by.clone(),
            origin: new.origin.clone(),
            hidden: false,
            created: at,
            changed: at,
        };
        check(&now, &group, None)?;
        if new.members.len() > LIST_MAX {
            return Err(ChangeError::invalid("members", format!("at most {LIST_MAX} at once")));
        }
        let mut batch = Batch::new(rows::PARTITION);
        let number = batch.alloc(rows::single(rows::GROUPS), 1);
        batch.put(Template::new(rows::single(rows::GROUP)).slot4(number, 0), rows::versioned(1, &group));
        for address in group.addresses() {
            let key = rows::text(rows::ADDRESS, address.as_str());
            batch.expect(key.clone(), Expect::Absent).put(key, rows::new_owner(2, number));
        }
        let key = rows::text(rows::NAME, &group.name.to_lowercase());
        batch.expect(key.clone(), Expect::Absent).put(key, rows::new_owner(2, number));
        for member in &new.members {
            check_member(&now, member)?;
            // The key of a member with its group's number left open: everything after the number is the same.
            let whole = rows::member(GroupId(0), member);
            let tail = whole.get(6..).unwrap_or_default();
            let key = Template::new(rows::single(rows::MEMBER)).slot4(number, 0).push(tail);
            batch.put(key, Vec::new());
        }
        let given = self.commit(batch).await?.allocated;
        let id = GroupId(given.first().map(|n| *n as u32).unwrap_or_default());
        Ok(self.edit(|s| {
            new.members.into_iter().for_each(|m| s.put_member(id, m));
            s.put_group(Group { id, ..group })
        }))
    }

    /// Changes a group by a function on its values.
    pub async fn update_group(
        &self,
        id: GroupId,
        change: impl FnOnce(&mut Group),
    ) -> Result<Arc<Group>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.group(id).ok_or_else(|| ChangeError::missing("group", id.0))?;
        let mut group = Group::clone(old);
        change(&mut group);
        group.id = id;
        group.version = old.version + 1;
        group.created = old.created;
        group.changed = self.clock.now();
        group.others.retain(|a| *a != group.primary);
        group.others.sort();
        group.others.dedup();
        let owner = Owner::Group(id);
        check(&now, &group, Some(owner))?;
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::number(rows::GROUP, id.0);
        batch.expect(key.clone(), Expect::Version(old.version));
        batch.put(key, rows::versioned(group.version, &group));
        let before = (old.name.as_str(), old.addresses().collect());
        let after = (group.name.as_str(), group.addresses().collect());
        move_rows(&mut batch, owner, before, after);
        self.commit(batch).await?;
        Ok(self.edit(|s| s.put_group(group)))
    }

    pub async fn remove_group(&self, id: GroupId) -> Result<Arc<Group>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.group(id).ok_or_else(|| ChangeError::missing("group", id.0))?.clone();
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::number(rows::GROUP, id.0);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        for address in old.addresses() {
            batch.del(rows::text(rows::ADDRESS, address.as_str()));
        }
        batch.del(rows::text(rows::NAME, &old.name.to_lowercase()));
        batch.del_range(prefix_range(&rows::number(rows::MEMBER, id.0)));
        let member = Member::Group(id);
        for group in now.groups_of(&member) {
            batch.del(rows::member(group.id, &member));
        }
        self.commit(batch).await?;
        self.edit(|s| s.drop_group(id));
        Ok(old)
    }

    /// `Exists` where it is a member already.
    pub async fn add_member(&self, id: GroupId, member: Member) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let group = now.group(id).ok_or_else(|| ChangeError::missing("group", id.0))?;
        check_member(&now, &member)?;
        if now.members(id).any(|m| *m == member) {
            return Err(ChangeError::Exists {
                what: "the member",
                name: call(&now, &member),
                owner: now.call(Owner::Group(id)),
            });
        }
        let mut batch = Batch::new(rows::PARTITION);
        batch.expect(rows::number(rows::GROUP, id.0), Expect::Version(group.version));
        batch.put(rows::member(id, &member), Vec::new());
        self.commit(batch).await?;
        self.edit(|s| s.put_member(id, member));
        Ok(())
    }

    pub async fn remove_member(&self, id: GroupId, member: &Member) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        if !now.members(id).any(|m| m == member) {
            return Err(ChangeError::missing("member", call(&now, member)));
        }
        let mut batch = Batch::new(rows::PARTITION);
        batch.del(rows::member(id, member));
        self.commit(batch).await?;
        self.edit(|s| s.drop_member(id, member));
        Ok(())
    }
}

fn check(now: &Snapshot, group: &Group, own: Option<Owner>) -> Result<(), ChangeError> {
    check_name("name", &group.name)?;
    check_name("display name", &group.display_name)?;
    check_name("alias", &group.alias)?;
    let lists = [group.accept_from.len(), group.reject_from.len(), group.managed_by.len()];
    if lists.into_iter().any(|length| length > LIST_MAX) {
        return Err(ChangeError::invalid("list", format!("at most {LIST_MAX}")));
    }
    check_unique_name(now, &group.name, own)?;
    check_addresses(now, &group.addresses().collect::<Vec<_>>(), own)
}

fn check_member(now: &Snapshot, member: &Member) -> Result<(), ChangeError> {
    let known = match member {
        Member::Account(id) => now.accounts.contains_key(id),
        Member::Group(id) => now.groups.contains_key(id),
        Member::External(_) => true,
    };
    if known { Ok(()) } else { Err(ChangeError::missing("recipient", call(now, member))) }
}

fn call(now: &Snapshot, member: &Member) -> String {
    match member {
        Member::Account(id) => now.call(Owner::Account(*id)),
        Member::Group(id) => now.call(Owner::Group(*id)),
        Member::External(address) => address.to_string(),
    }
}
