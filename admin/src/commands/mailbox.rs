//! Get-, New-, Set- and Remove-Mailbox.

use crate::catalogue::{Command, Example, Kind, Needs, Param, Value};
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::settings::{Bytes, Settings, Unlimited};
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::{
    Account, AccountKind, Address, ChangeError, Limit, NewAccount, Owner, Permission, Right, Snapshot,
    credential,
};

const TYPES: &[&str] = &["Regular", "Shared", "Room", "Equipment"];
const DETAILS: &[&str] = &["UserMailbox", "SharedMailbox", "RoomMailbox", "EquipmentMailbox"];

const DISPLAY_NAME: Param = Param::new("DisplayName", Kind::Text, "What people see. The name, if not given.");
const ALIAS: Param = Param::new("Alias", Kind::Text, "Local part for addresses that are made up.");
const PRIMARY: Param = Param::new("PrimarySmtpAddress", Kind::Text, "The address that its mail is from.")
    .alias(&["UserPrincipalName", "Address"]);
const ADDRESSES: Param = Param::new(
    "EmailAddresses",
    Kind::Edit,
    "Addresses that it receives at. SMTP: before one makes it the primary. A plain list replaces what was there.",
);
const PASSWORD: Param = Param::new(
    "Password",
    Kind::Secret,
    "Its password; - reads it from standard input, which keeps it out of the list of processes.",
);
const DISABLED: Param =
    Param::new("AccountDisabled", Kind::Bool, "Nobody signs in, and mail to it is refused.");
const WARN: Param = Param::new("IssueWarningQuota", Kind::Quota, "Its owner is warned from here on.");
const SEND: Param = Param::new("ProhibitSendQuota", Kind::Quota, "It cannot send from here on.");
const RECEIVE: Param = Param::new(
    "ProhibitSendReceiveQuota",
    Kind::Quota,
    "It takes no mail from here on. IMAP calls it the quota.",
)
.alias(&["Quota"]);

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "Mailbox",
        about: "Shows mailboxes.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "Name, alias or address; * stands for any text.").at(0),
            Param::new("RecipientTypeDetails", Kind::Choice(DETAILS), "Only mailboxes of this type."),
            Param::new("Monitoring", Kind::Switch, "Only those that the server tries itself out with."),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
        ],
        columns: &["Name", "Alias", "PrimarySmtpAddress", "ProhibitSendReceiveQuota"],
        examples: &[Example {
            line: "Get-Mailbox adele -FormatList",
            about: "Everything about one mailbox.",
        }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "Mailbox",
        about: "Makes a mailbox.",
        detail: "Without a password one is made up and shown once. Shared mailboxes, rooms and equipment have no sign-in of \
                 their own: give people permission with Add-MailboxPermission.",
        params: &[
            Param::new("Name", Kind::Text, "Its name, unique in the organisation.").mandatory().at(0),
            PRIMARY,
            PASSWORD,
            DISPLAY_NAME,
            ALIAS,
            ADDRESSES,
            Param::new("Shared", Kind::Switch, "A mailbox that several people share."),
            Param::new("Room", Kind::Switch, "A room that can be booked."),
            Param::new("Equipment", Kind::Switch, "A thing that can be booked."),
            Param::new(
                "Server",
                Kind::Text,
                "The server that is to hold its mail. The primary if not given, or the emptiest one where that holds no mail.",
            )
            .alias(&["Home"]),
            DISABLED,
            WARN,
            SEND,
            RECEIVE,
        ],
        columns: &["Name", "Alias", "PrimarySmtpAddress", "InitialPassword"],
        examples: &[
            Example {
                line: "New-Mailbox 'Adele Vance' -PrimarySmtpAddress adele@contoso.test",
                about: "A mailbox whose password is made up.",
            },
            Example { line: "New-Mailbox Reception -Shared", about: "A shared mailbox." },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "Mailbox",
        about: "Changes a mailbox.",
        detail: "",
        params: &[
            Param::identity("Name, alias or address."),
            Param::new("Name", Kind::Text, "A new name."),
            DISPLAY_NAME,
            ALIAS,
            PRIMARY,
            ADDRESSES,
            PASSWORD,
            Param::new("Type", Kind::Choice(TYPES), "Regular, Shared, Room or Equipment."),
            DISABLED,
            Param::new("HiddenFromAddressListsEnabled", Kind::Bool, "Left out of address lists."),
            WARN,
            SEND,
            RECEIVE,
            Param::new(
                "UseDatabaseQuotaDefaults",
                Kind::Bool,
                "$true: the settings' quotas hold, its own are dropped.",
            ),
            Param::new("MaxSendSize", Kind::Quota, "Largest message that it sends."),
            Param::new("MaxReceiveSize", Kind::Quota, "Largest message that it receives."),
            Param::new(
                "RecipientLimits",
                Kind::Text,
                "Recipients of one message that it sends, or Unlimited.",
            ),
            Param::new(
                "ForwardingAddress",
                Kind::Text,
                "A recipient of ours that gets its mail; $null ends it. Exchange keeps two such settings; here each of the two \
                 replaces the other.",
            ),
            Param::new(
                "ForwardingSmtpAddress",
                Kind::Text,
                "The address that gets its mail, wherever it is; $null ends it.",
            ),
            Param::new("DeliverToMailboxAndForward", Kind::Bool, "$true: what is forwarded stays here, too."),
            Param::new("GrantSendOnBehalfTo", Kind::Edit, "Who may send on its behalf."),
            Param::new(
                "MessageCopyForSMTPClientSubmissionEnabled",
                Kind::Bool,
                "Put a copy of what is submitted by SMTP into Sent.",
            ),
        ],
        columns: &[],
        examples: &[
            Example { line: "Set-Mailbox adele -ProhibitSendReceiveQuota 2GB", about: "A quota." },
            Example {
                line: "Set-Mailbox adele -EmailAddresses '@{Add=\"a.vance@contoso.test\"}'",
                about: "One more address. The quotes keep the shell from reading it.",
            },
            Example {
                line: "set-mailbox adele --add-email-addresses a.vance@contoso.test",
                about: "The same.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "Mailbox",
        about: "Removes a mailbox with everything in it.",
        detail: "Its addresses are free for others at once. Its mail cannot be brought back: Set-Mailbox -AccountDisabled \
                 $true keeps it.",
        params: &[Param::identity("Name, alias or address.")],
        columns: &[],
        examples: &[Example { line: "Remove-Mailbox adele -Confirm:$false", about: "Without being asked." }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

/// Objects that a Get command shows, unless told otherwise.
const RESULTS: usize = 1000;

/// `-ResultSize 1000`, `-ResultSize Unlimited`
pub(super) fn result_size(call: &Call<'_>) -> Outcome<usize> {
    match call.text("ResultSize") {
        None => Ok(RESULTS),
        Some(text) if text.eq_ignore_ascii_case("unlimited") => Ok(usize::MAX),
        Some(text) => {
            text.parse().map_err(|_| Failure::invalid("ResultSize", format!("{text:?} is not a number.")))
        }
    }
}

/// The accounts that `-Identity` means, with wildcards; all where it is not given.
pub(super) fn chosen(call: &Call<'_>) -> Outcome<Vec<Arc<Account>>> {
    let now = call.directory()?.snapshot();
    // Those that the server tries itself out with are nobody's.
    let monitoring = call.command.param("Monitoring").is_some() && call.switch("Monitoring");
    let listed = |a: &&Arc<Account>| (a.kind == AccountKind::Monitoring) == monitoring;
    let Some(identity) = call.text("Identity") else {
        return Ok(now.accounts().filter(listed).cloned().collect());
    };
    if !identity.contains('*') {
        return Ok(vec![call.account(identity)?]);
    }
    let fits = |text: &str| crate::output::wildcard(identity, text);
    let some = now.accounts().filter(listed).filter(|a| {
        fits(&a.name) || fits(&a.alias) || fits(&a.display_name) || a.addresses().any(|x| fits(x.as_str()))
    });
    Ok(some.cloned().collect())
}

async fn get(call: &Call<'_>) -> Outcome {
    let (now, settings) = (call.directory()?.snapshot(), call.world()?.settings.current());
    let max = result_size(call)?;
    let wanted = call.text("RecipientTypeDetails");
    let fits = |a: &Arc<Account>| wanted.is_none_or(|w| details(a.kind) == w);
    let all: Vec<Arc<Account>> = chosen(call)?.into_iter().filter(fits).collect();
    for account in all.iter().take(max) {
        call.record(record(account, &now, &settings)).await;
    }
    if all.len() > max {
        call.warn(format!("There are more than {max} mailboxes. -ResultSize Unlimited shows all of them."))
            .await;
    }
    Ok(())
}

/// What holds for a mailbox without a limit of its own: the organisation's, but never more than SMTP takes.
fn default_size(settings: &Settings, organisation: Unlimited) -> Unlimited {
    let most = settings.smtp.max_message_size;
    Unlimited(Some(organisation.0.map_or(most, |own| own.min(most))))
}

/// A mailbox as it is shown.
fn record(account: &Account, now: &Snapshot, settings: &Settings) -> Record {
    let limit = |own: Limit, default: Unlimited| Unlimited(own.or(default.bytes()).map(Bytes));
    let m = &settings.mailboxes;
    let q = account.quotas;
    let behalf = account.permissions.iter().filter(|p| p.right == Right::SendOnBehalf);
    let names: Vec<String> = behalf.filter_map(|p| now.account(p.who)).map(|a| a.name.clone()).collect();
    let own = |limit: Limit| matches!(limit, Limit::Default);
    let forward = account.forward_to.as_ref();
    let ours = forward.is_some_and(|a| now.find(a.as_str()).is_some());
    let record = Record::new()
        .with("Name", account.name.as_str())
        .with("DisplayName", account.display_name.as_str())
        .with("Alias", account.alias.as_str())
        .with("PrimarySmtpAddress", &account.primary)
        .with("EmailAddresses", address_list(&account.primary, &account.others))
        .with("RecipientTypeDetails", details(account.kind))
        .with("AccountDisabled", !account.enabled)
        .with("HiddenFromAddressListsEnabled", account.hidden)
        .with("UseDatabaseQuotaDefaults", own(q.warn) && own(q.prohibit_send) && own(q.prohibit_send_receive))
        .with("IssueWarningQuota", limit(q.warn, m.issue_warning_quota))
        .with("ProhibitSendQuota", limit(q.prohibit_send, m.prohibit_send_quota))
        .with("ProhibitSendReceiveQuota", limit(q.prohibit_send_receive, m.prohibit_send_receive_quota))
        .with(
            "MaxSendSize",
            limit(account.limits.send_bytes, default_size(settings, settings.transport.max_send_size)),
        )
        .with(
            "MaxReceiveSize",
            limit(account.limits.receive_bytes, default_size(settings, settings.transport.max_receive_size)),
        )
        .with("RecipientLimits", account.limits.recipients.or(Some(settings.smtp.max_recipients.into())))
        .with("ForwardingAddress", forward.filter(|_| ours))
        .with("ForwardingSmtpAddress", forward.filter(|_| !ours).map(|a| format!("smtp:{a}")))
        .with("DeliverToMailboxAndForward", account.deliver_and_forward)
        .with("GrantSendOnBehalfTo", names)
        .with("MessageCopyForSMTPClientSubmissionEnabled", account.copy_smtp_sent)
        .with(
            "ServerName",
            match now.home_of(account) {
                "" => settings.server.id.as_str(),
                home => home,
            },
        )
        .with("Number", account.id.0);
    super::ending(record, &account.name, account.created, account.changed)
}

pub(super) const fn details(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::User => "UserMailbox",
        AccountKind::Shared => "SharedMailbox",
        AccountKind::Room => "RoomMailbox",
        AccountKind::Equipment => "EquipmentMailbox",
        AccountKind::Monitoring => "MonitoringMailbox",
    }
}

/// `SMTP:` before the primary address, `smtp:` before the others.
pub(super) fn address_list(primary: &Address, others: &[Address]) -> Vec<String> {
    let others = others.iter().map(|a| format!("smtp:{a}"));
    std::iter::once(format!("SMTP:{primary}")).chain(others).collect()
}

pub(super) fn parse_address(text: &str) -> Outcome<Address> {
    let bare = text.strip_prefix("SMTP:").or_else(|| text.strip_prefix("smtp:")).unwrap_or(text);
    let bad =
        |why: &dyn std::fmt::Display| Failure::invalid(text, format!("{text:?} is not an address: {why}."));
    // What people type is held to RFC 5321 §4.1.2; the directory's own canonical form has no quotes.
    let local = bare.rsplit_once('@').map_or(bare, |(local, _)| local);
    if !local.starts_with('"') && local.chars().any(|c| " ()<>[]:;,@".contains(c)) {
        return Err(bad(&"the part before the @ holds a character that needs quotes"));
    }
    if !local.starts_with('"') && (local.starts_with('.') || local.ends_with('.') || local.contains("..")) {
        return Err(bad(&"the part before the @ has a dot where none may be"));
    }
    Address::parse(bare).map_err(|e| bad(&e))
}

/// What the addresses become by `-EmailAddresses`.
pub(super) fn edit_addresses(
    value: &Value,
    primary: &Address,
    others: &[Address],
) -> Outcome<(Address, Vec<Address>)> {
    let plain = |text: &String| parse_address(text).map(|a| a.to_string());
    let all = |list: &[String]| list.iter().map(plain).collect::<Outcome<Vec<_>>>();
    let (value, given): (Value, &[String]) = match value {
        Value::Edit { add, remove } => (Value::Edit { add: all(add)?, remove: all(remove)? }, add),
        Value::List(items) => (Value::List(all(items)?), items),
        other => (other.clone(), &[]),
    };
    let old: Vec<String> = std::iter::once(primary).chain(others).map(Address::to_string).collect();
    let list = value.apply(&old).iter().map(|t| parse_address(t)).collect::<Outcome<Vec<_>>>()?;
    let promoted = given.iter().find(|t| t.starts_with("SMTP:")).map(|t| parse_address(t)).transpose()?;
    let primary = match promoted {
        Some(address) => address,
        None if list.contains(primary) => primary.clone(),
        None => {
            let text = "The primary address cannot be taken away; make another one the primary with SMTP: before it.";
            return Err(Failure::invalid("EmailAddresses", text));
        }
    };
    let others = list.into_iter().filter(|a| *a != primary).collect();
    Ok((primary, others))
}

fn own_limit(size: Option<Unlimited>, old: Limit) -> Limit {
    match size {
        None => old,
        Some(Unlimited(None)) => Limit::Unlimited,
        Some(Unlimited(Some(bytes))) => Limit::At(bytes.0),
    }
}

/// What the mailbox room has to keep to.
pub fn quota_of(account: &Account, settings: &Settings) -> waypost_mailbox::Quota {
    let m = &settings.mailboxes;
    waypost_mailbox::Quota {
        prohibit_bytes: account.quotas.prohibit_send_receive.or(m.prohibit_send_receive_quota.bytes()),
        warn_bytes: account.quotas.warn.or(m.issue_warning_quota.bytes()),
        messages: None,
    }
}

/// The server that -Server names, which must hold mail.
fn home(call: &Call<'_>) -> Outcome<Option<String>> {
    let Some(name) = call.text("Server") else { return Ok(None) };
    let now = call.directory()?.snapshot();
    let found = crate::elsewhere::find_server(&now, name).and_then(|id| now.server(&id).cloned());
    let server = found.ok_or_else(|| Failure::not_found("server", name))?;
    if !server.roles.mailbox || server.revoked.is_some() {
        return Err(Failure::invalid("Server", format!("{} holds no mailboxes.", server.id)));
    }
    // The primary's id may be left out, and is: a single server's accounts need no name for it.
    Ok((!server.primary).then(|| server.id.clone()))
}

async fn new(call: &Call<'_>) -> Outcome {
    let directory = call.directory()?;
    let kinds =
        [("Shared", AccountKind::Shared), ("Room", AccountKind::Room), ("Equipment", AccountKind::Equipment)];
    let mut given = kinds.into_iter().filter(|(name, _)| call.switch(name)).map(|(_, kind)| kind);
    let kind = given.next().unwrap_or(AccountKind::User);
    if given.next().is_some() {
        return Err(Failure::usage("Shared", "Only one of -Shared, -Room and -Equipment can be given."));
    }
    let mut new = NewAccount::new(call.required("Name")?);
    new.display_name = call.text("DisplayName").map(str::to_owned);
    new.alias = call.text("Alias").map(str::to_owned);
    new.primary = call.text("PrimarySmtpAddress").map(parse_address).transpose()?;
    new.kind = Some(kind);
    new.home = home(call)?;
    new.enabled = call.flag("AccountDisabled").map(|off| !off);
    new.quotas.warn = own_limit(call.size("IssueWarningQuota"), Limit::Default);
    new.quotas.prohibit_send = own_limit(call.size("ProhibitSendQuota"), Limit::Default);
    new.quotas.prohibit_send_receive = own_limit(call.size("ProhibitSendReceiveQuota"), Limit::Default);
    if let Some(value) = call.value("EmailAddresses") {
        let items = value.apply(&[]);
        new.others = items.iter().map(|t| parse_address(t)).collect::<Outcome<Vec<_>>>()?;
        if let (None, Some(at)) = (&new.primary, items.iter().position(|t| t.starts_with("SMTP:"))) {
            new.primary = Some(new.others.remove(at));
        }
    }
    let planned = directory.plan_account(&new)?;
    if call
        .only_said(|| format!("Making mailbox {:?} with address <{}>.", planned.name, planned.primary))
        .await
    {
        return Ok(());
    }
    let mut made_up = None;
    new.password = match call.text("Password") {
        Some(password) => Some(password.to_owned()),
        None if kind == AccountKind::User => {
            let secret = credential::generate_password()?;
            made_up = secret.expose_str().map(str::to_owned);
            made_up.clone()
        }
        None => None,
    };
    let account = directory.add_account(new).await?;
    if call.is_here(&account)? {
        call.mailbox(&account).await?;
    }
    let shown = record(&account, &directory.snapshot(), &call.world()?.settings.current());
    call.record(shown.with("InitialPassword", made_up)).await;
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let directory = call.directory()?;
    let account = call.account(call.required("Identity")?)?;
    let now = directory.snapshot();
    let mut next = Account::clone(&account);
    apply(call, &now, &mut next)?;
    if call.only_said(|| format!("Changing mailbox {:?}.", account.name)).await {
        return Ok(());
    }
    let password = call.text("Password");
    if next == *account && password.is_none() {
        call.warn(format!(
            "The command completed successfully but no settings of {:?} have been modified.",
            account.name
        ))
        .await;
        return Ok(());
    }
    if let Some(password) = password {
        directory.set_password(account.id, password).await?;
    }
    if next != *account {
        let (seen, quotas) = (account.version, next.quotas);
        let changed = directory.update_account(account.id, move |a| *a = next).await?;
        if changed.version != seen + 1 {
            return Err(ChangeError::Conflict.into());
        }
        // Elsewhere the server that holds it follows the directory.
        if quotas != account.quotas && call.is_here(&changed)? {
            let quota = quota_of(&changed, &call.world()?.settings.current());
            call.mailbox(&changed).await?.set_quota(quota).await?;
        }
    }
    Ok(())
}

/// Puts what was given into the account.
fn apply(call: &Call<'_>, now: &Snapshot, account: &mut Account) -> Outcome {
    for (name, place) in [
        ("Name", &mut account.name),
        ("DisplayName", &mut account.display_name),
        ("Alias", &mut account.alias),
    ] {
        if let Some(text) = call.text(name) {
            text.clone_into(place);
        }
    }
    if let Some(value) = call.value("EmailAddresses") {
        (account.primary, account.others) = edit_addresses(value, &account.primary, &account.others)?;
    }
    if let Some(text) = call.text("PrimarySmtpAddress") {
        let old = std::mem::replace(&mut account.primary, parse_address(text)?);
        if old != account.primary {
            // The old address goes on receiving; -EmailAddresses takes it away.
            account.others.retain(|a| *a != account.primary);
            account.others.push(old);
        }
    }
    if let Some(kind) = call.text("Type") {
        account.kind = match kind {
            "Shared" => AccountKind::Shared,
            "Room" => AccountKind::Room,
            "Equipment" => AccountKind::Equipment,
            _ => AccountKind::User,
        };
    }
    account.enabled = call.flag("AccountDisabled").map_or(account.enabled, |off| !off);
    account.hidden = call.flag("HiddenFromAddressListsEnabled").unwrap_or(account.hidden);
    account.copy_smtp_sent =
        call.flag("MessageCopyForSMTPClientSubmissionEnabled").unwrap_or(account.copy_smtp_sent);
    if call.flag("UseDatabaseQuotaDefaults") == Some(true) {
        account.quotas = waypost_directory::Quotas::default();
    }
    let q = &mut account.quotas;
    q.warn = own_limit(call.size("IssueWarningQuota"), q.warn);
    q.prohibit_send = own_limit(call.size("ProhibitSendQuota"), q.prohibit_send);
    q.prohibit_send_receive = own_limit(call.size("ProhibitSendReceiveQuota"), q.prohibit_send_receive);
    let l = &mut account.limits;
    l.send_bytes = own_limit(call.size("MaxSendSize"), l.send_bytes);
    l.receive_bytes = own_limit(call.size("MaxReceiveSize"), l.receive_bytes);
    if let Some(text) = call.text("RecipientLimits") {
        l.recipients = match text.parse() {
            Ok(n) => Limit::At(n),
            Err(_) if text.eq_ignore_ascii_case("unlimited") => Limit::Unlimited,
            Err(_) => return Err(Failure::invalid("RecipientLimits", "A number, or Unlimited.")),
        };
    }
    if let Some(value) = call.value("GrantSendOnBehalfTo") {
        grant(now, account, value)?;
    }
    forward(call, now, account)
}

fn forward(call: &Call<'_>, now: &Snapshot, account: &mut Account) -> Outcome {
    account.deliver_and_forward =
        call.flag("DeliverToMailboxAndForward").unwrap_or(account.deliver_and_forward);
    let (inside, anywhere) = (call.value("ForwardingAddress"), call.value("ForwardingSmtpAddress"));
    let given = |value: Option<&Value>| matches!(value, Some(Value::Text(_)));
    if given(inside) && given(anywhere) {
        let text = "Either -ForwardingAddress or -ForwardingSmtpAddress can be given.";
        return Err(Failure::usage("ForwardingAddress", text));
    }
    let to = match (call.text("ForwardingAddress"), call.text("ForwardingSmtpAddress")) {
        (Some(name), _) => Some(
            match now.find(name) {
                Some(Owner::Account(id)) => now.account(id).map(|a| a.primary.clone()),
                Some(Owner::Group(id)) => now.group(id).map(|g| g.primary.clone()),
                None => None,
            }
            .ok_or_else(|| Failure::not_found("recipient", name))?,
        ),
        (None, Some(text)) => Some(parse_address(text)?),
        (None, None) if inside.is_some() || anywhere.is_some() => None,
        (None, None) => return Ok(()),
    };
    if to.as_ref().is_some_and(|to| account.addresses().any(|own| own == to)) {
        return Err(Failure::invalid("ForwardingAddress", "A mailbox cannot forward to itself."));
    }
    account.forward_to = to;
    Ok(())
}

fn grant(now: &Snapshot, account: &mut Account, value: &Value) -> Outcome {
    let number = |name: &String| -> Outcome<String> {
        let found = now.find_account(name).ok_or_else(|| Failure::not_found("mailbox", name))?;
        Ok(found.id.0.to_string())
    };
    let numbers = |list: &[String]| list.iter().map(number).collect::<Outcome<Vec<_>>>();
    let value = match value {
        Value::Edit { add, remove } => Value::Edit { add: numbers(add)?, remove: numbers(remove)? },
        Value::List(list) => Value::List(numbers(list)?),
        other => other.clone(),
    };
    let behalf = |p: &&Permission| p.right == Right::SendOnBehalf;
    let old: Vec<String> = account.permissions.iter().filter(behalf).map(|p| p.who.0.to_string()).collect();
    account.permissions.retain(|p| p.right != Right::SendOnBehalf);
    for id in value.apply(&old).iter().filter_map(|n| n.parse().ok()) {
        account.permissions.push(Permission { who: AccountId(id), right: Right::SendOnBehalf });
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    if call.only_said(|| format!("Removing mailbox {:?} <{}>.", account.name, account.primary)).await {
        return Ok(());
    }
    let world = call.world()?;
    world.directory.remove_account(account.id).await?;
    match world.mailboxes.remove_account(account.id).await {
        Ok(()) | Err(waypost_mailbox::AccountError::NoAccount(_)) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// For records that show an optional text.
pub(super) fn text_or_null(text: Option<&str>) -> Cell {
    text.map_or(Cell::Null, |t| Cell::Text(t.to_owned()))
}
