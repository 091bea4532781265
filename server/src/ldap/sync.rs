//! From a directory's people and groups to ours: what would have to change, and changing it.
//!
//! Nothing is ever removed: who is gone there is disabled here, so that a mistake in a filter costs nobody their mail.

use super::entry::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::{
    Account, Address, ChangeError, Directory, Group, GroupId, Member, NewAccount, NewGroup, Origin, Snapshot,
};

/// Accounts disabled at once, in per cent, above which a synchronisation is refused: a filter that finds nobody, or an
/// empty base, is likelier than half of a company leaving.
const GONE_MAX_PERCENT: usize = 50;
/// Below so many accounts anything may happen.
const FEW: usize = 10;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Change {
    Make(Box<NewAccount>),
    Update {
        id: AccountId,
        entry: Box<Entry>,
        origin: Origin,
        what: String,
    },
    Disable {
        id: AccountId,
        address: Address,
    },
    MakeGroup(Box<NewGroup>),
    Members {
        id: GroupId,
        address: Address,
        add: Vec<Member>,
        remove: Vec<Member>,
    },
    /// Cannot be done; why.
    Skip {
        name: String,
        why: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Make(new) => {
                let address = new.primary.as_ref().map(Address::to_string).unwrap_or_default();
                write!(f, "new mailbox {:?} <{address}>", new.name)
            }
            Change::Update { what, .. } => write!(f, "changed {what}"),
            Change::Disable { address, .. } => {
                write!(f, "disabled <{address}>: not in the directory any more")
            }
            Change::MakeGroup(new) => write!(f, "new group {:?}, {} members", new.name, new.members.len()),
            Change::Members { address, add, remove, .. } => {
                write!(f, "group <{address}>: {} members added, {} taken out", add.len(), remove.len())
            }
            Change::Skip { name, why } => write!(f, "left alone {name:?}: {why}"),
        }
    }
}

/// What would have to change about people.
pub fn people(now: &Snapshot, source: &str, entries: &[Entry]) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    let ours: BTreeMap<&str, &Arc<Account>> = now
        .accounts()
        .filter_map(|a| a.origin.as_ref().filter(|o| o.source == source).map(|o| (o.id.as_str(), a)))
        .collect();
    for entry in entries {
        let Some(primary) = &entry.primary else { continue };
        let origin = Origin { source: source.to_owned(), id: entry.id.clone() };
        if now.domain(primary.domain()).is_none() {
            changes.push(skip(entry, format!("{} is no accepted domain", primary.domain())));
            continue;
        }
        let owner = now.find_account(primary.as_str());
        let known = ours.get(entry.id.as_str()).copied().or(owner);
        match known {
            Some(account) if account.origin.as_ref().is_some_and(|o| *o != origin) => {
                changes.push(skip(entry, format!("<{primary}> came from elsewhere")));
            }
            Some(account) => {
                seen.insert(account.id);
                if let Some(what) = difference(account, entry, &origin) {
                    let entry = Box::new(entry.clone());
                    changes.push(Change::Update { id: account.id, entry, origin, what });
                }
            }
            None if now.find_group(primary.as_str()).is_some() => {
                changes.push(skip(entry, format!("<{primary}> is a group's")));
            }
            None => changes.push(Change::Make(Box::new(account_of(now, entry, origin)))),
        }
    }
    let gone: Vec<&Arc<Account>> =
        ours.values().copied().filter(|a| a.enabled && !seen.contains(&a.id)).collect();
    if ours.len() > FEW && gone.len() * 100 > ours.len() * GONE_MAX_PERCENT {
        return Err(format!(
            "{} of {} people are not in the directory any more: nothing was changed, since a wrong filter or base is \
             likelier than that",
            gone.len(),
            ours.len()
        ));
    }
    changes.extend(gone.iter().map(|a| Change::Disable { id: a.id, address: a.primary.clone() }));
    Ok(changes)
}

/// What would have to change about groups. `dns` leads from an entry's DN to its primary address.
pub fn groups(
    now: &Snapshot,
    source: &str,
    entries: &[Entry],
    dns: &BTreeMap<String, Address>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in entries {
        let Some(primary) = &entry.primary else { continue };
        if now.domain(primary.domain()).is_none() {
            changes.push(skip(entry, format!("{} is no accepted domain", primary.domain())));
            continue;
        }
        let wanted = members(now, entry, dns);
        match now.find_group(primary.as_str()) {
            Some(group) if is_from(group, source) => {
                let have: BTreeSet<Member> = now.members(group.id).cloned().collect();
                let add: Vec<Member> = wanted.difference(&have).cloned().collect();
                let remove: Vec<Member> = have.difference(&wanted).cloned().collect();
                if !add.is_empty() || !remove.is_empty() {
                    let (id, address) = (group.id, group.primary.clone());
                    changes.push(Change::Members { id, address, add, remove });
                }
            }
            Some(_) => changes.push(skip(entry, format!("<{primary}> is a group that was made here"))),
            None if now.find_account(primary.as_str()).is_some() => {
                changes.push(skip(entry, format!("<{primary}> is somebody's")));
            }
            None => {
                let mut new = NewGroup::new(free_name(now, entry));
                new.display_name = Some(entry.display_name.clone());
                new.primary = Some(primary.clone());
                new.others = entry.others.clone();
                new.members = wanted.into_iter().collect();
                new.origin = Some(Origin { source: source.to_owned(), id: entry.id.clone() });
                changes.push(Change::MakeGroup(Box::new(new)));
            }
        }
    }
    changes
}

/// Does it. What cannot be done is said, and the rest goes on.
pub async fn apply(directory: &Directory, changes: Vec<Change>) -> Vec<String> {
    let mut said = Vec::new();
    for change in changes {
        let line = change.to_string();
        match one(directory, change).await {
            Ok(()) => said.push(line),
            Err(e) => said.push(format!("failed: {line}: {e}")),
        }
    }
    said
}

async fn one(directory: &Directory, change: Change) -> Result<(), ChangeError> {
    match change {
        Change::Make(new) => directory.add_account(*new).await.map(drop),
        Change::Update { id, entry, origin, .. } => {
            let change = |account: &mut Account| take(account, &entry, origin);
            directory.update_account(id, change).await.map(drop)
        }
        Change::Disable { id, .. } => directory.update_account(id, |a| a.enabled = false).await.map(drop),
        Change::MakeGroup(new) => directory.add_group(*new).await.map(drop),
        Change::Members { id, add, remove, .. } => {
            for member in add {
                directory.add_member(id, member).await?;
            }
            for member in &remove {
                directory.remove_member(id, member).await?;
            }
            Ok(())
        }
        Change::Skip { .. } => Ok(()),
    }
}

fn is_from(group: &Group, source: &str) -> bool {
    group.origin.as_ref().is_some_and(|o| o.source == source)
}

fn skip(entry: &Entry, why: String) -> Change {
    Change::Skip { name: entry.name.clone(), why }
}

fn take(account: &mut Account, entry: &Entry, origin: Origin) {
    account.display_name.clone_from(&entry.display_name);
    if let Some(primary) = &entry.primary {
        // What it was called before goes on receiving.
        let old = std::mem::replace(&mut account.primary, primary.clone());
        if old != account.primary && !account.others.contains(&old) {
            account.others.push(old);
        }
    }
    for other in &entry.others {
        if *other != account.primary && !account.others.contains(other) {
            account.others.push(other.clone());
        }
    }
    account.enabled = entry.enabled;
    account.origin = Some(origin);
}

/// In words; `None` where nothing differs.
fn difference(account: &Account, entry: &Entry, origin: &Origin) -> Option<String> {
    let mut after = account.clone();
    take(&mut after, entry, origin.clone());
    let mut what = Vec::new();
    if after.display_name != account.display_name {
        what.push("display name");
    }
    if after.primary != account.primary || after.others != account.others {
        what.push("addresses");
    }
    if after.enabled != account.enabled {
        what.push(if after.enabled { "enabled" } else { "disabled" });
    }
    if after.origin != account.origin {
        what.push("taken over");
    }
    (!what.is_empty()).then(|| format!("<{}>: {}", account.primary, what.join(", ")))
}

fn account_of(now: &Snapshot, entry: &Entry, origin: Origin) -> NewAccount {
    let mut new = NewAccount::new(free_name(now, entry));
    new.display_name = Some(entry.display_name.clone());
    new.primary.clone_from(&entry.primary);
    new.others = entry.others.iter().filter(|a| now.domain(a.domain()).is_some()).cloned().collect();
    new.enabled = Some(entry.enabled);
    new.origin = Some(origin);
    new
}

/// Its own name where nobody else has it, else its address.
fn free_name(now: &Snapshot, entry: &Entry) -> String {
    let taken = now.find_account(&entry.name).is_some() || now.find_group(&entry.name).is_some();
    let address = || entry.primary.as_ref().map(Address::to_string).unwrap_or_default();
    if entry.name.is_empty() || taken { address() } else { entry.name.clone() }
}

fn members(now: &Snapshot, entry: &Entry, dns: &BTreeMap<String, Address>) -> BTreeSet<Member> {
    let of = |dn: &String| {
        let address = dns.get(&dn.to_lowercase())?;
        let account = now.find_account(address.as_str()).map(|a| Member::Account(a.id));
        account.or_else(|| now.find_group(address.as_str()).map(|g| Member::Group(g.id)))
    };
    entry.members.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::{Clock, Timestamp};
    use waypost_directory::NewDomain;
    use waypost_store::Model;

    fn entry(name: &str, address: &str) -> Entry {
        Entry {
            dn: format!("uid={name},dc=contoso,dc=test"),
            id: format!("id-{name}"),
            name: name.into(),
            display_name: name.to_uppercase(),
            primary: Address::parse(address).ok(),
            others: Vec::new(),
            enabled: true,
            members: Vec::new(),
        }
    }

    async fn directory() -> Arc<Directory> {
        let clock = Clock::fixed(Timestamp(1_772_525_720_114));
        let directory = Directory::open(Arc::new(Model::new(clock.clone())), clock).await.unwrap();
        directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
        directory
    }

    async fn sync(directory: &Directory, entries: &[Entry]) -> Vec<String> {
        let changes = people(&directory.snapshot(), "ldap", entries).unwrap();
        apply(directory, changes).await
    }

    #[tokio::test]
    async fn people_come_change_and_go() {
        let directory = directory().await;
        directory.add_account(NewAccount::new("ben")).await.unwrap();
        let mut all = vec![
            entry("amy", "amy@contoso.test"),
            entry("ben", "ben@contoso.test"),
            entry("x", "x@other.example"),
        ];
        assert_eq!(
            sync(&directory, &all).await,
            [
                "new mailbox \"amy\" <amy@contoso.test>",
                "changed <ben@contoso.test>: display name, taken over",
                "left alone \"x\": other.example is no accepted domain",
            ]
        );
        all.pop();
        assert_eq!(sync(&directory, &all).await, [""; 0]);
        all[0].primary = Address::parse("amy.lee@contoso.test").ok();
        all[1].enabled = false;
        assert_eq!(
            sync(&directory, &all).await,
            ["changed <amy@contoso.test>: addresses", "changed <ben@contoso.test>: disabled"]
        );
        let amy = directory.snapshot().find_account("amy@contoso.test").unwrap().clone();
        assert_eq!(amy.primary.as_str(), "amy.lee@contoso.test", "and the old address receives");
        assert_eq!(
            sync(&directory, &all[1..]).await,
            ["disabled <amy.lee@contoso.test>: not in the directory any more"]
        );
    }

    #[tokio::test]
    async fn a_filter_that_finds_nobody_disables_nobody() {
        let directory = directory().await;
        let all: Vec<Entry> =
            (0..20).map(|n| entry(&format!("p{n}"), &format!("p{n}@contoso.test"))).collect();
        sync(&directory, &all).await;
        assert!(people(&directory.snapshot(), "ldap", &[]).is_err());
        assert!(people(&directory.snapshot(), "ldap", &all[5..]).is_ok());
    }

    #[tokio::test]
    async fn groups_and_their_members() {
        let directory = directory().await;
        let all = [entry("amy", "amy@contoso.test"), entry("ben", "ben@contoso.test")];
        sync(&directory, &all).await;
        let dns = all.iter().map(|e| (e.dn.to_lowercase(), e.primary.clone().unwrap())).collect();
        let mut staff = entry("staff", "staff@contoso.test");
        staff.members = vec![all[0].dn.to_uppercase(), "cn=unknown".into()];
        let plan = |staff: &Entry| groups(&directory.snapshot(), "ldap", std::slice::from_ref(staff), &dns);
        assert_eq!(apply(&directory, plan(&staff)).await, ["new group \"staff\", 1 members"]);
        assert!(plan(&staff).is_empty());
        staff.members = vec![all[1].dn.clone()];
        assert_eq!(
            apply(&directory, plan(&staff)).await,
            ["group <staff@contoso.test>: 1 members added, 1 taken out"]
        );
    }
}
