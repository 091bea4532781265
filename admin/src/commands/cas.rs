//! Get- and Set-CASMailbox: which protocols a mailbox may be reached by.

use super::mailbox::{chosen, result_size};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::Outcome;
use crate::output::Record;
use crate::run::Call;
use waypost_directory::Protocols;

const KEPT: &str = "Waypost gives messages as they were sent";

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "CASMailbox",
        about: "Shows which protocols mailboxes may be reached by.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "Name, alias or address; * stands for any text.").at(0),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
        ],
        columns: &["Name", "ImapEnabled", "PopEnabled", "SmtpClientAuthenticationEnabled", "OWAEnabled"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Set",
        noun: "CASMailbox",
        about: "Switches protocols on and off for a mailbox.",
        detail: "Sessions that stand already go on; the next sign-in is refused, and is told so.",
        params: &[
            Param::identity("Name, alias or address."),
            Param::new("ImapEnabled", Kind::Bool, "IMAP."),
            Param::new("PopEnabled", Kind::Bool, "POP3."),
            Param::new("SmtpClientAuthenticationEnabled", Kind::Bool, "Submission by SMTP.")
                .alias(&["SmtpEnabled"]),
            Param::new("OWAEnabled", Kind::Bool, "The web.").alias(&["WebEnabled"]),
            Param::new("ImapUseProtocolDefaults", Kind::Bool, "Kept for scripts.").without_effect(KEPT),
            Param::new("ImapEnableExactRFC822Size", Kind::Bool, "Kept for scripts.")
                .without_effect("sizes are always exact"),
            Param::new("ImapSuppressReadReceipt", Kind::Bool, "Kept for scripts.").without_effect(KEPT),
            Param::new("PopUseProtocolDefaults", Kind::Bool, "Kept for scripts.").without_effect(KEPT),
            Param::new("PopEnableExactRFC822Size", Kind::Bool, "Kept for scripts.")
                .without_effect("sizes are always exact"),
            Param::new("PopSuppressReadReceipt", Kind::Bool, "Kept for scripts.").without_effect(KEPT),
        ],
        columns: &[],
        examples: &[Example { line: "Set-CASMailbox adele -PopEnabled false", about: "No POP3 for Adele." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
];

async fn get(call: &Call<'_>) -> Outcome {
    let max = result_size(call)?;
    for account in chosen(call)?.into_iter().take(max) {
        let p = account.protocols;
        let record = Record::new()
            .with("Name", account.name.as_str())
            .with("DisplayName", account.display_name.as_str())
            .with("PrimarySmtpAddress", &account.primary)
            .with("ImapEnabled", p.imap)
            .with("PopEnabled", p.pop)
            .with("SmtpClientAuthenticationEnabled", p.submission)
            .with("OWAEnabled", p.web);
        call.record(super::ending(record, &account.name, account.created, account.changed)).await;
    }
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let old = account.protocols;
    let next = Protocols {
        imap: call.flag("ImapEnabled").unwrap_or(old.imap),
        pop: call.flag("PopEnabled").unwrap_or(old.pop),
        submission: call.flag("SmtpClientAuthenticationEnabled").unwrap_or(old.submission),
        web: call.flag("OWAEnabled").unwrap_or(old.web),
    };
    if call.only_said(|| format!("Changing the protocols of mailbox {:?}.", account.name)).await
        || next == old
    {
        return Ok(());
    }
    call.directory()?.update_account(account.id, |a| a.protocols = next).await?;
    Ok(())
}
