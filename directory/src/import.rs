//! Making and changing accounts from a CSV file (RFC 4180, UTF-8, first line names the columns).
//!
//! | column (case, spaces, `-` and `_` do not matter) | meaning |
//! | --- | --- |
//! | `Name` | required unless an address is given; unique. An existing account of this name or address is changed |
//! | `DisplayName` | what people see; the name if empty |
//! | `Alias` | local part for made-up addresses |
//! | `PrimarySmtpAddress` (`Address`, `Email`) | made up from the alias and the default domain if empty |
//! | `EmailAddresses` (`OtherAddresses`, `Aliases`) | further addresses, separated by `;` or spaces |
//! | `Type` | `User` (default), `Shared`, `Room`, `Equipment` |
//! | `Enabled`, `ImapEnabled`, `PopEnabled`, `SmtpEnabled`, `WebEnabled` | `true`/`false`, `yes`/`no`, `1`/`0`; empty leaves it |
//! | `ProhibitSendReceiveQuota` (`Quota`) | `2GB`, `500 MB`, bytes, `unlimited`; empty is the settings' default |
//! | `Password` | the main password; 8 characters at least |
//! | `PasswordHash` | instead: `$argon2id$…` from another server |
//! | `Groups` (`MemberOf`) | names or addresses of existing groups, separated by `;` |
//!
//! Empty fields of an existing account leave what it has. Every line is a change of its own: a bad one is reported
//! and the others go on. Running the same file again changes nothing.

mod csv;

use crate::address::Address;
use crate::change::{Directory, NewAccount};
use crate::credential::check_strength;
use crate::error::ChangeError;
use crate::limits::CSV_BYTES_MAX;
use crate::model::{Account, AccountKind, Limit, Member, Protocols, Quotas};
use crate::snapshot::{Owner, Snapshot};
use csv::Table;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Number of the line in the file, the header being 1.
    pub line: u64,
    /// Name or address, as far as the line says who is meant.
    pub who: String,
    pub action: Action,
    /// What was done, or why not.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    Created,
    Changed,
    /// Everything was as the line says already.
    Unchanged,
    Failed,
}

/// The file as a whole cannot be used; nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    #[error("the file is larger than {} MB", CSV_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("the file is not UTF-8 (at byte {0}); save it as \"CSV UTF-8\"")]
    NotUtf8(usize),
    #[error("the file is empty")]
    Empty,
    #[error("the column {0:?} is not known")]
    UnknownColumn(String),
    #[error("the column {0:?} appears twice")]
    TwiceColumn(String),
    #[error("there is neither a Name nor an address column")]
    NoName,
}

/// The columns, by their first name.
const COLUMNS: &[(&str, &[&str])] = &[
    ("name", &["name"]),
    ("display", &["displayname"]),
    ("alias", &["alias"]),
    ("primary", &["primarysmtpaddress", "address", "email", "primaryaddress", "emailaddress"]),
    ("others", &["emailaddresses", "otheraddresses", "aliases"]),
    ("type", &["type", "kind"]),
    ("enabled", &["enabled"]),
    ("imap", &["imapenabled", "imap"]),
    ("pop", &["popenabled", "pop"]),
    ("smtp", &["smtpenabled", "smtp", "submissionenabled"]),
    ("web", &["webenabled", "web", "owaenabled"]),
    ("quota", &["prohibitsendreceivequota", "quota"]),
    ("password", &["password"]),
    ("hash", &["passwordhash"]),
    ("groups", &["groups", "memberof"]),
];

/// Reads the file and makes the accounts; with `dry_run`, only says what would be done. `tell` is called for every line
/// as soon as it is known what became of it.
pub async fn import(
    directory: &Directory,
    bytes: &[u8],
    dry_run: bool,
    mut tell: impl FnMut(Line) + Send,
) -> Result<(), ImportError> {
    if bytes.len() > CSV_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| ImportError::NotUtf8(e.valid_up_to()))?;
    let mut table = Table::new(text);
    let (_, header) = table.next().ok_or(ImportError::Empty)?;
    let columns = columns(&header)?;
    // A dry run makes nothing, so two lines that make the same account have to be seen by ourselves.
    let mut made = BTreeSet::new();
    for (line, fields) in table {
        if fields.iter().all(|f| f.trim().is_empty()) {
            continue;
        }
        let row = Row { columns: &columns, fields: &fields };
        let who =
            [row.get("name"), row.get("primary")].into_iter().flatten().next().unwrap_or_default().to_owned();
        let (action, detail) = if fields.len() > columns.len() {
            let detail = format!("{} fields, the first line has {}", fields.len(), columns.len());
            (Action::Failed, detail)
        } else {
            one(directory, &row, dry_run, &mut made).await.unwrap_or_else(|e| (Action::Failed, e.to_string()))
        };
        tell(Line { line, who, action, detail });
    }
    Ok(())
}

fn columns(header: &[String]) -> Result<Vec<&'static str>, ImportError> {
    let mut columns: Vec<&'static str> = Vec::new();
    for name in header {
        let plain: String =
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let known = COLUMNS.iter().find(|(_, names)| names.contains(&plain.as_str()));
        let (key, _) = known.ok_or_else(|| ImportError::UnknownColumn(name.clone()))?;
        if columns.contains(key) {
            return Err(ImportError::TwiceColumn(name.clone()));
        }
        columns.push(key);
    }
    if columns.contains(&"name") || columns.contains(&"primary") {
        Ok(columns)
    } else {
        Err(ImportError::NoName)
    }
}

/// One line, by column.
struct Row<'a> {
    columns: &'a [&'static str],
    fields: &'a [String],
}

impl Row<'_> {
    /// `None` where the field is missing or empty.
    fn get(&self, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|c| *c == column)?;
        self.fields.get(at).map(|f| f.trim()).filter(|f| !f.is_empty())
    }

    fn flag(&self, column: &'static str) -> Result<Option<bool>, ChangeError> {
        let Some(text) = self.get(column) else { return Ok(None) };
        match text.trim_start_matches('$').to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" => Ok(Some(true)),
            "false" | "no" | "0" | "off" => Ok(Some(false)),
            _ => Err(ChangeError::invalid(column, format!("{text:?} is neither true nor false"))),
        }
    }

    fn address(&self, column: &'static str) -> Result<Option<Address>, ChangeError> {
        self.get(column).map(|text| parse_address(column, text)).transpose()
    }

    fn list(&self, column: &str) -> Vec<&str> {
        let text = self.get(column).unwrap_or_default();
        text.split([';', '\n']).map(str::trim).filter(|s| !s.is_empty()).collect()
    }
}

fn parse_address(column: &'static str, text: &str) -> Result<Address, ChangeError> {
    let text = text.strip_prefix("smtp:").or_else(|| text.strip_prefix("SMTP:")).unwrap_or(text);
    Address::parse(text).map_err(|e| ChangeError::invalid(column, format!("{text:?}: {e}")))
}

/// A line as meant.
struct Wanted {
    name: Option<String>,
    display: Option<String>,
    alias: Option<String>,
    primary: Option<Address>,
    others: Option<Vec<Address>>,
    kind: Option<AccountKind>,
    enabled: Option<bool>,
    flags: [Option<bool>; 4],
    quota: Option<Limit>,
    password: Option<String>,
    hash: Option<String>,
    groups: Vec<crate::GroupId>,
}

fn read(now: &Snapshot, row: &Row<'_>) -> Result<Wanted, ChangeError> {
    let others: Result<Vec<_>, _> = row
        .list("others")
        .into_iter()
        .flat_map(str::split_whitespace)
        .map(|text| parse_address("others", text))
        .collect();
    let others = others?;
    let kind = row.get("type").map(parse_kind).transpose()?;
    let quota = row.get("quota").map(parse_limit).transpose()?;
    let group =
        |name: &str| now.find_group(name).map(|g| g.id).ok_or_else(|| ChangeError::missing("group", name));
    let groups: Result<Vec<_>, _> = row.list("groups").into_iter().map(group).collect();
    let password = row.get("password").map(str::to_owned);
    if let Some(password) = &password {
        check_strength(password)?;
    }
    Ok(Wanted {
        name: row.get("name").map(str::to_owned),
        display: row.get("display").map(str::to_owned),
        alias: row.get("alias").map(str::to_owned),
        primary: row.address("primary")?,
        others: (!others.is_empty()).then_some(others),
        kind,
        enabled: row.flag("enabled")?,
        flags: [row.flag("imap")?, row.flag("pop")?, row.flag("smtp")?, row.flag("web")?],
        quota,
        password,
        hash: row.get("hash").map(str::to_owned),
        groups: groups?,
    })
}

async fn one(
    directory: &Directory,
    row: &Row<'_>,
    dry_run: bool,
    made: &mut BTreeSet<String>,
) -> Result<(Action, String), ChangeError> {
    let now = directory.snapshot();
    let wanted = read(&now, row)?;
    let by_name = wanted.name.as_deref().and_then(|n| now.find_account(n));
    let by_address = wanted.primary.as_ref().and_then(|a| now.find_account(a.as_str()));
    if let (Some(a), Some(b)) = (by_name, by_address)
        && a.id != b.id
    {
        let owner = now.call(Owner::Account(b.id));
        return Err(ChangeError::Exists { what: "the address", name: b.primary.to_string(), owner });
    }
    match by_name.or(by_address).cloned() {
        Some(account) => change(directory, &now, &account, &wanted, dry_run).await,
        None => create(directory, &now, &wanted, dry_run, made).await,
    }
}

async fn create(
    directory: &Directory,
    now: &Snapshot,
    wanted: &Wanted,
    dry_run: bool,
    made: &mut BTreeSet<String>,
) -> Result<(Action, String), ChangeError> {
    let local = wanted.primary.as_ref().map(|a| a.local().to_owned());
    let name = wanted.name.clone().or(local).ok_or_else(|| ChangeError::invalid("name", "is empty"))?;
    let mut protocols = Protocols::default();
    set_flags(&mut protocols, wanted.flags);
    let new = NewAccount {
        name: name.clone(),
        display_name: wanted.display.clone(),
        alias: wanted.alias.clone(),
        primary: wanted.primary.clone(),
        others: wanted.others.clone().unwrap_or_default(),
        kind: wanted.kind,
        enabled: wanted.enabled,
        protocols,
        quotas: Quotas { prohibit_send_receive: wanted.quota.unwrap_or_default(), ..Quotas::default() },
        password: wanted.password.clone(),
        ..NewAccount::default()
    };
    if dry_run {
        let account = directory.plan_account(&new)?;
        let mut keys = vec![format!("name {}", account.name.to_lowercase())];
        keys.extend(account.addresses().map(|a| format!("address {a}")));
        if let Some(key) = keys.into_iter().find(|key| !made.insert(key.clone())) {
            return Err(ChangeError::invalid("line", format!("{key} is used by an earlier line")));
        }
        return Ok((Action::Created, describe(now, &account, wanted)));
    }
    let account = directory.add_account(new).await?;
    let detail = describe(now, &account, wanted);
    finish(directory, &account, wanted).await?;
    Ok((Action::Created, detail))
}

async fn change(
    directory: &Directory,
    now: &Snapshot,
    account: &Arc<Account>,
    wanted: &Wanted,
    dry_run: bool,
) -> Result<(Action, String), ChangeError> {
    let mut next = Account::clone(account);
    apply(&mut next, wanted);
    let missing = |g: &&crate::GroupId| !now.members(**g).any(|m| *m == Member::Account(account.id));
    let mut what: Vec<String> = differences(account, &next);
    what.extend(
        wanted.groups.iter().filter(missing).map(|g| format!("member of {}", now.call(Owner::Group(*g)))),
    );
    // Passwords of existing accounts are left alone: else running a file again would undo what people set since.
    let sets_password =
        (wanted.password.is_some() || wanted.hash.is_some()) && !directory.has_password(account.id);
    if sets_password {
        what.push("password".into());
    }
    if what.is_empty() {
        return Ok((Action::Unchanged, "everything is so already".into()));
    }
    if !dry_run {
        if next != **account {
            directory.update_account(account.id, |a| apply(a, wanted)).await?;
        }
        if sets_password && let Some(password) = &wanted.password {
            directory.set_password(account.id, password).await?;
        }
        finish(directory, account, wanted).await?;
    }
    Ok((Action::Changed, what.join(", ")))
}

/// What is not part of the account's own row.
async fn finish(directory: &Directory, account: &Account, wanted: &Wanted) -> Result<(), ChangeError> {
    if let Some(hash) = wanted.hash.as_deref().filter(|_| !directory.has_password(account.id)) {
        directory.set_password_hash(account.id, hash, None).await?;
    }
    for group in &wanted.groups {
        match directory.add_member(*group, Member::Account(account.id)).await {
            Ok(()) | Err(ChangeError::Exists { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn apply(account: &mut Account, wanted: &Wanted) {
    if let Some(name) = &wanted.name {
        account.name.clone_from(name);
    }
    if let Some(display) = &wanted.display {
        account.display_name.clone_from(display);
    }
    if let Some(alias) = &wanted.alias {
        account.alias.clone_from(alias);
    }
    if let Some(primary) = &wanted.primary
        && *primary != account.primary
    {
        // The old address goes on receiving.
        let old = std::mem::replace(&mut account.primary, primary.clone());
        account.others.push(old);
    }
    account.others.extend(wanted.others.iter().flatten().cloned());
    account.others.retain(|a| *a != account.primary);
    account.others.sort();
    account.others.dedup();
    account.kind = wanted.kind.unwrap_or(account.kind);
    account.enabled = wanted.enabled.unwrap_or(account.enabled);
    set_flags(&mut account.protocols, wanted.flags);
    account.quotas.prohibit_send_receive = wanted.quota.unwrap_or(account.quotas.prohibit_send_receive);
}

fn set_flags(protocols: &mut Protocols, [imap, pop, smtp, web]: [Option<bool>; 4]) {
    protocols.imap = imap.unwrap_or(protocols.imap);
    protocols.pop = pop.unwrap_or(protocols.pop);
    protocols.submission = smtp.unwrap_or(protocols.submission);
    protocols.web = web.unwrap_or(protocols.web);
}

fn differences(old: &Account, new: &Account) -> Vec<String> {
    let pairs = [
        ("name", old.name != new.name),
        ("display name", old.display_name != new.display_name),
        ("alias", old.alias != new.alias),
        ("primary address", old.primary != new.primary),
        ("addresses", old.others != new.others),
        ("type", old.kind != new.kind),
        ("enabled", old.enabled != new.enabled),
        ("protocols", old.protocols != new.protocols),
        ("quota", old.quotas != new.quotas),
    ];
    pairs.iter().filter(|(_, differs)| *differs).map(|(what, _)| (*what).to_owned()).collect()
}

fn describe(now: &Snapshot, account: &Account, wanted: &Wanted) -> String {
    let mut text = format!("<{}>", account.primary);
    if !account.others.is_empty() {
        text.push_str(&format!(", {} more addresses", account.others.len()));
    }
    for group in &wanted.groups {
        text.push_str(&format!(", member of {}", now.call(Owner::Group(*group))));
    }
    if wanted.password.is_none() && wanted.hash.is_none() {
        text.push_str(", no password");
    }
    text
}

fn parse_kind(text: &str) -> Result<AccountKind, ChangeError> {
    match text.to_ascii_lowercase().trim_end_matches("mailbox") {
        "user" | "regular" => Ok(AccountKind::User),
        "shared" => Ok(AccountKind::Shared),
        "room" => Ok(AccountKind::Room),
        "equipment" => Ok(AccountKind::Equipment),
        _ => Err(ChangeError::invalid("type", format!("{text:?} is not User, Shared, Room or Equipment"))),
    }
}

/// `2GB`, `500 MB`, `1048576`, `unlimited`.
fn parse_limit(text: &str) -> Result<Limit, ChangeError> {
    let lower = text.to_ascii_lowercase();
    if lower == "unlimited" {
        return Ok(Limit::Unlimited);
    }
    let digits_end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits_end);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        _ => return Err(ChangeError::invalid("quota", format!("{text:?} is not a size"))),
    };
    let bad = || ChangeError::invalid("quota", format!("{text:?} is not a size"));
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor).ok_or_else(bad)?,
        Err(_) => {
            let part = number.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(bad)?;
            (part * factor as f64) as u64
        }
    };
    Ok(Limit::At(bytes))
}

#[cfg(test)]
mod tests;
