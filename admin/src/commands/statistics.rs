//! Get-MailboxStatistics and Get-MailboxFolderStatistics.

use super::mailbox::{chosen, result_size};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::Outcome;
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Bytes, Unlimited};
use waypost_directory::Account;
use waypost_mailbox::Role;

const SCOPES: &[&str] = &["All", "Inbox", "Drafts", "SentItems", "DeletedItems", "JunkEmail", "Archive"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "MailboxStatistics",
        about: "Shows how much is in mailboxes, and when somebody signed in last.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "Name, alias or address; * stands for any text.").at(0),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
        ],
        columns: &["DisplayName", "ItemCount", "StorageLimitStatus", "LastLogonTime"],
        examples: &[Example { line: "Get-MailboxStatistics adele --json", about: "Sizes in bytes." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(mailboxes(call)),
    },
    Command {
        verb: "Get",
        noun: "MailboxFolderStatistics",
        about: "Shows the folders of a mailbox and what is in them.",
        detail: "",
        params: &[
            Param::identity("Name, alias or address."),
            Param::new("FolderScope", Kind::Choice(SCOPES), "Only the folder that is for this."),
            Param::new(
                "IncludeOldestAndNewestItems",
                Kind::Switch,
                "Also when the oldest and the newest came.",
            ),
        ],
        columns: &["Name", "FolderPath", "ItemsInFolder", "FolderSize"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(folders(call)),
    },
];

async fn mailboxes(call: &Call<'_>) -> Outcome {
    let max = result_size(call)?;
    let all = chosen(call)?;
    let total = all.len();
    for (done, account) in all.iter().take(max).enumerate() {
        if call.sink.is_closed() {
            return Ok(());
        }
        match one(call, account).await {
            Ok(record) => call.record(record).await,
            Err(failure) if total == 1 => return Err(failure),
            Err(failure) => call.error(crate::Failure { target: account.name.clone(), ..failure }).await,
        }
        if total > 20 && done % 20 == 0 {
            call.progress("Reading mailboxes", done as u64, Some(total as u64), "mailboxes").await;
        }
    }
    Ok(())
}

async fn one(call: &Call<'_>, account: &Account) -> Outcome<Record> {
    let mailbox = call.mailbox(account).await?;
    let figures = mailbox.statistics().await?;
    let usage = mailbox.usage();
    let status = if usage.would_exceed(0, 1) {
        "MailboxDisabled"
    } else if usage.warn() {
        "IssueWarning"
    } else {
        "BelowLimit"
    };
    let last = call.directory()?.last_sign_in(account.id);
    let record = Record::new()
        .with("DisplayName", account.display_name.as_str())
        .with("PrimarySmtpAddress", &account.primary)
        .with("ItemCount", figures.messages)
        .with("TotalItemSize", Bytes(figures.bytes))
        .with("DeletedItemCount", figures.recoverable_messages)
        .with("TotalDeletedItemSize", Bytes(figures.recoverable_bytes))
        .with("FolderCount", figures.folders)
        .with("ProhibitSendReceiveQuota", Unlimited(usage.quota.prohibit_bytes.map(Bytes)))
        .with("StorageLimitStatus", status)
        .with("LastLogonTime", last.as_ref().map(|(at, _)| *at))
        .with("LastLogonProtocol", last.map(|(_, protocol)| protocol));
    Ok(super::ending(record, &account.name, account.created, account.changed))
}

async fn folders(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let mailbox = call.mailbox(&account).await?;
    let tree = mailbox.folders();
    let wanted = match call.text("FolderScope") {
        Some("Inbox") => Some(Role::Inbox),
        Some("Drafts") => Some(Role::Drafts),
        Some("SentItems") => Some(Role::Sent),
        Some("DeletedItems") => Some(Role::Trash),
        Some("JunkEmail") => Some(Role::Junk),
        Some("Archive") => Some(Role::Archive),
        _ => None,
    };
    for figures in mailbox.folder_statistics().await? {
        let folder = tree.by_id(figures.folder);
        let role = folder.and_then(|f| f.role);
        if wanted.is_some() && role != wanted {
            continue;
        }
        let name = figures.path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut record = Record::new()
            .with("Name", name)
            .with("FolderPath", format!("/{}", figures.path))
            .with("FolderType", role.map_or("User Created".to_owned(), |r| format!("{r:?}")))
            .with("ItemsInFolder", figures.messages)
            .with("UnreadItemsInFolder", figures.unseen)
            .with("DeletedItemsInFolder", figures.deleted)
            .with("FolderSize", Bytes(figures.size));
        if call.switch("IncludeOldestAndNewestItems") {
            record = record
                .with("OldestItemReceivedDate", figures.oldest)
                .with("NewestItemReceivedDate", figures.newest);
        }
        let identity = format!("{}\\{}", account.name, figures.path.replace('/', "\\"));
        call.record(record.with("Identity", identity)).await;
    }
    Ok(())
}
