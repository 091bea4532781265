//! Distribution groups and their members.

use super::mailbox::{address_list, edit_addresses, parse_address, result_size};
use crate::catalogue::{Command, Example, Kind, Needs, Param, Value};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::{ChangeError, Group, Member, NewGroup, Owner, Snapshot};

const MEMBER: Param =
    Param::new("Member", Kind::Text, "A mailbox, a group, or an address outside the organisation.")
        .mandatory()
        .at(1);
const DISPLAY_NAME: Param = Param::new("DisplayName", Kind::Text, "What people see.");
const ALIAS: Param = Param::new("Alias", Kind::Text, "Local part for addresses that are made up.");
const PRIMARY: Param = Param::new("PrimarySmtpAddress", Kind::Text, "Its address.").alias(&["Address"]);
const STRANGERS: Param = Param::new(
    "RequireSenderAuthenticationEnabled",
    Kind::Bool,
    "$true, the default: strangers may not send to it.",
);

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "DistributionGroup",
        about: "Shows groups.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "Name or address; * stands for any text.").at(0),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
        ],
        columns: &["Name", "DisplayName", "GroupType", "PrimarySmtpAddress"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "DistributionGroup",
        about: "Makes a group: one address for several recipients.",
        detail: "",
        params: &[
            Param::new("Name", Kind::Text, "Its name, unique in the organisation.").mandatory().at(0),
            PRIMARY,
            DISPLAY_NAME,
            ALIAS,
            Param::new("Members", Kind::List, "Its first members."),
            Param::new("ManagedBy", Kind::List, "Who may manage it."),
            STRANGERS,
        ],
        columns: &["Name", "DisplayName", "GroupType", "PrimarySmtpAddress"],
        examples: &[Example {
            line: "New-DistributionGroup Staff -Members adele,lee@contoso.test",
            about: "A group of two.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "DistributionGroup",
        about: "Changes a group.",
        detail: "",
        params: &[
            Param::identity("Name or address."),
            Param::new("Name", Kind::Text, "A new name."),
            DISPLAY_NAME,
            ALIAS,
            PRIMARY,
            Param::new(
                "EmailAddresses",
                Kind::Edit,
                "Addresses that it receives at; SMTP: before the primary.",
            ),
            STRANGERS,
            Param::new(
                "AcceptMessagesOnlyFromSendersOrMembers",
                Kind::Edit,
                "Only these, or members of these groups, may send to it; $null lets everybody.",
            )
            .alias(&["AcceptMessagesOnlyFrom", "AcceptMessagesOnlyFromDLMembers"]),
            Param::new(
                "RejectMessagesFromSendersOrMembers",
                Kind::Edit,
                "These, and members of these groups, may not send to it, whatever else is said; $null lets them.",
            )
            .alias(&["RejectMessagesFrom", "RejectMessagesFromDLMembers"]),
            Param::new("ManagedBy", Kind::Edit, "Who may manage it."),
            Param::new("HiddenFromAddressListsEnabled", Kind::Bool, "Left out of address lists."),
        ],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "DistributionGroup",
        about: "Removes a group. Its members stay.",
        detail: "",
        params: &[Param::identity("Name or address.")],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
    Command {
        verb: "Get",
        noun: "DistributionGroupMember",
        about: "Shows the members of a group.",
        detail: "",
        params: &[
            Param::identity("Name or address of the group."),
            Param::new("Recurse", Kind::Switch, "Everybody who gets its mail, nested groups opened."),
        ],
        columns: &["Name", "RecipientType", "PrimarySmtpAddress"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(members(call)),
    },
    Command {
        verb: "Add",
        noun: "DistributionGroupMember",
        about: "Adds a member to a group.",
        detail: "",
        params: &[Param::identity("Name or address of the group."), MEMBER],
        columns: &[],
        examples: &[Example {
            line: "Add-DistributionGroupMember Staff -Member adele",
            about: "Adele gets its mail.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(add(call)),
    },
    Command {
        verb: "Remove",
        noun: "DistributionGroupMember",
        about: "Takes a member out of a group.",
        detail: "",
        params: &[Param::identity("Name or address of the group."), MEMBER],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(drop_member(call)),
    },
];

fn record(group: &Group, now: &Snapshot) -> Record {
    let people = |ids: &[AccountId]| -> Vec<String> {
        ids.iter().filter_map(|id| now.account(*id)).map(|a| a.name.clone()).collect()
    };
    let senders: Vec<String> = group.accept_from.iter().map(|m| call_member(now, m)).collect();
    let refused: Vec<String> = group.reject_from.iter().map(|m| call_member(now, m)).collect();
    let record = Record::new()
        .with("Name", group.name.as_str())
        .with("DisplayName", group.display_name.as_str())
        .with("Alias", group.alias.as_str())
        .with("GroupType", "Universal")
        .with("PrimarySmtpAddress", &group.primary)
        .with("EmailAddresses", address_list(&group.primary, &group.others))
        .with("MemberCount", now.members(group.id).count())
        .with("ManagedBy", people(&group.managed_by))
        .with("RequireSenderAuthenticationEnabled", group.require_sender_authentication)
        .with("AcceptMessagesOnlyFromSendersOrMembers", senders)
        .with("RejectMessagesFromSendersOrMembers", refused)
        .with("HiddenFromAddressListsEnabled", group.hidden);
    super::ending(record, &group.name, group.created, group.changed)
}

fn call_member(now: &Snapshot, member: &Member) -> String {
    match member {
        Member::Account(id) => now.account(*id).map_or(id.to_string(), |a| a.primary.to_string()),
        Member::Group(id) => now.group(*id).map_or(id.0.to_string(), |g| g.primary.to_string()),
        Member::External(address) => address.to_string(),
    }
}

/// A recipient of ours, or an address outside.
fn member(now: &Snapshot, text: &str) -> Outcome<Member> {
    match now.find(text) {
        Some(Owner::Account(id)) => Ok(Member::Account(id)),
        Some(Owner::Group(id)) => Ok(Member::Group(id)),
        None => {
            let address = parse_address(text).map_err(|_| Failure::not_found("recipient", text))?;
            if now
                .domain(address.domain())
                .is_some_and(|d| d.kind == waypost_directory::DomainKind::Authoritative)
            {
                return Err(Failure::not_found("recipient", text));
            }
            Ok(Member::External(address))
        }
    }
}

async fn get(call: &Call<'_>) -> Outcome {
    let now = call.directory()?.snapshot();
    let groups: Vec<Arc<Group>> = match call.text("Identity") {
        Some(identity) if !identity.contains('*') => vec![call.group(identity)?],
        pattern => {
            let pattern = pattern.unwrap_or("*");
            let fits = |t: &str| crate::output::wildcard(pattern, t);
            now.groups()
                .filter(|g| fits(&g.name) || g.addresses().any(|a| fits(a.as_str())))
                .cloned()
                .collect()
        }
    };
    for group in groups.iter().take(result_size(call)?) {
        call.record(record(group, &now)).await;
    }
    Ok(())
}

fn accounts(call: &Call<'_>, names: &[String]) -> Outcome<Vec<AccountId>> {
    names.iter().map(|n| call.account(n).map(|a| a.id)).collect()
}

async fn new(call: &Call<'_>) -> Outcome {
    let directory = call.directory()?;
    let now = directory.snapshot();
    let mut new = NewGroup::new(call.required("Name")?);
    new.display_name = call.text("DisplayName").map(str::to_owned);
    new.alias = call.text("Alias").map(str::to_owned);
    new.primary = call.text("PrimarySmtpAddress").map(parse_address).transpose()?;
    new.require_sender_authentication = call.flag("RequireSenderAuthenticationEnabled");
    new.managed_by = accounts(call, call.list("ManagedBy").unwrap_or_default())?;
    let members = call.list("Members").unwrap_or_default();
    new.members = members.iter().map(|m| member(&now, m)).collect::<Outcome<_>>()?;
    if call.only_said(|| format!("Making group {:?}.", new.name)).await {
        return Ok(());
    }
    let group = directory.add_group(new).await?;
    call.record(record(&group, &directory.snapshot())).await;
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let directory = call.directory()?;
    let now = directory.snapshot();
    let group = call.group(call.required("Identity")?)?;
    let mut next = Group::clone(&group);
    for (name, place) in
        [("Name", &mut next.name), ("DisplayName", &mut next.display_name), ("Alias", &mut next.alias)]
    {
        if let Some(text) = call.text(name) {
            text.clone_into(place);
        }
    }
    if let Some(value) = call.value("EmailAddresses") {
        (next.primary, next.others) = edit_addresses(value, &next.primary, &next.others)?;
    }
    if let Some(text) = call.text("PrimarySmtpAddress") {
        let old = std::mem::replace(&mut next.primary, parse_address(text)?);
        next.others.push(old);
    }
    next.hidden = call.flag("HiddenFromAddressListsEnabled").unwrap_or(next.hidden);
    next.require_sender_authentication =
        call.flag("RequireSenderAuthenticationEnabled").unwrap_or(next.require_sender_authentication);
    if let Some(value) = call.value("ManagedBy") {
        let old: Vec<String> =
            next.managed_by.iter().filter_map(|id| now.account(*id)).map(|a| a.name.clone()).collect();
        next.managed_by = accounts(call, &value.apply(&old))?;
    }
    if let Some(value) = call.value("AcceptMessagesOnlyFromSendersOrMembers") {
        next.accept_from = edit_members(&now, value, &next.accept_from)?;
    }
    if let Some(value) = call.value("RejectMessagesFromSendersOrMembers") {
        next.reject_from = edit_members(&now, value, &next.reject_from)?;
    }
    if call.only_said(|| format!("Changing group {:?}.", group.name)).await {
        return Ok(());
    }
    directory.update_group(group.id, move |g| *g = next).await?;
    Ok(())
}

/// Both sides are compared by what they are, not by how they were written.
fn edit_members(now: &Snapshot, value: &Value, old: &[Member]) -> Outcome<Vec<Member>> {
    let name = |text: &String| member(now, text).map(|m| call_member(now, &m));
    let names = |list: &[String]| list.iter().map(name).collect::<Outcome<Vec<_>>>();
    let value = match value {
        Value::Edit { add, remove } => Value::Edit { add: names(add)?, remove: names(remove)? },
        Value::List(list) => Value::List(names(list)?),
        other => other.clone(),
    };
    let old: Vec<String> = old.iter().map(|m| call_member(now, m)).collect();
    value.apply(&old).iter().map(|text| member(now, text)).collect()
}

async fn remove(call: &Call<'_>) -> Outcome {
    let group = call.group(call.required("Identity")?)?;
    if call.only_said(|| format!("Removing group {:?}.", group.name)).await {
        return Ok(());
    }
    call.directory()?.remove_group(group.id).await?;
    Ok(())
}

async fn members(call: &Call<'_>) -> Outcome {
    let now = call.directory()?.snapshot();
    let group = call.group(call.required("Identity")?)?;
    let row = |name: &str, kind: &str, address: &waypost_directory::Address| {
        Record::new().with("Name", name).with("RecipientType", kind).with("PrimarySmtpAddress", address)
    };
    if call.switch("Recurse") {
        // Restrictions of nested groups are about senders; whoever asks here is an administrator.
        let sender = waypost_directory::Sender { account: group.managed_by.first().copied(), address: None };
        let expanded = now.expand(&group, sender);
        for account in &expanded.accounts {
            call.record(row(&account.name, super::mailbox::details(account.kind), &account.primary)).await;
        }
        for address in &expanded.external {
            call.record(row(address.as_str(), "MailContact", address)).await;
        }
        if !expanded.skipped.is_empty() {
            call.warn(format!(
                "{} members get nothing: they are disabled or restricted.",
                expanded.skipped.len()
            ))
            .await;
        }
        return Ok(());
    }
    for member in now.members(group.id) {
        let record = match member {
            Member::Account(id) => {
                now.account(*id).map(|a| row(&a.name, super::mailbox::details(a.kind), &a.primary))
            }
            Member::Group(id) => {
                now.group(*id).map(|g| row(&g.name, "MailUniversalDistributionGroup", &g.primary))
            }
            Member::External(address) => Some(row(address.as_str(), "MailContact", address)),
        };
        if let Some(record) = record {
            call.record(record).await;
        }
    }
    Ok(())
}

async fn add(call: &Call<'_>) -> Outcome {
    let group = call.group(call.required("Identity")?)?;
    let whom = call.required("Member")?;
    let member = member(&call.directory()?.snapshot(), whom)?;
    if call.only_said(|| format!("Adding {whom:?} to group {:?}.", group.name)).await {
        return Ok(());
    }
    match call.directory()?.add_member(group.id, member).await {
        Err(ChangeError::Exists { .. }) => {
            let text = format!("The recipient {whom:?} is already a member of the group {:?}.", group.name);
            Err(Failure::new(crate::Category::ResourceExists, whom, text))
        }
        other => Ok(other?),
    }
}

async fn drop_member(call: &Call<'_>) -> Outcome {
    let group = call.group(call.required("Identity")?)?;
    let whom = call.required("Member")?;
    let member = member(&call.directory()?.snapshot(), whom)?;
    if call.only_said(|| format!("Taking {whom:?} out of group {:?}.", group.name)).await {
        return Ok(());
    }
    call.directory()?.remove_member(group.id, &member).await?;
    Ok(())
}
