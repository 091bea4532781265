//! Get-, New-, Set- and Remove-AcceptedDomain.

use super::mailbox::{parse_address, text_or_null};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use waypost_directory::{Domain, DomainKind, NewDomain, address};

const TYPES: &[&str] = &["Authoritative", "InternalRelay", "ExternalRelay"];
const TYPE: Param = Param::new(
    "DomainType",
    Kind::Choice(TYPES),
    "Authoritative: all its recipients are here. InternalRelay: others are on a server of ours. ExternalRelay: none are here.",
);
const DEFAULT: Param =
    Param::new("MakeDefault", Kind::Bool, "New mailboxes get their address in this domain.")
        .alias(&["Default"]);

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "AcceptedDomain",
        about: "Shows the domains whose mail is taken.",
        detail: "",
        params: &[Param::new("Identity", Kind::Text, "The domain.").at(0)],
        columns: &["Name", "DomainName", "DomainType", "Default"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "AcceptedDomain",
        about: "Adds a domain whose mail is taken.",
        detail: "",
        params: &[
            Param::new("DomainName", Kind::Text, "The domain; -Name alone means it, too.").at(0),
            Param::new("Name", Kind::Text, "Taken for scripts' sake: a domain is known by its domain name."),
            TYPE,
            DEFAULT,
        ],
        columns: &["Name", "DomainName", "DomainType", "Default"],
        examples: &[Example {
            line: "New-AcceptedDomain contoso.test",
            about: "All its recipients are here.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "AcceptedDomain",
        about: "Changes a domain.",
        detail: "",
        params: &[
            Param::identity("The domain."),
            TYPE,
            DEFAULT,
            Param::new(
                "CatchAllRecipient",
                Kind::Text,
                "Takes the mail for addresses that nobody has; $null switches it off.",
            ),
            Param::new("SubAddressingEnabled", Kind::Bool, "user+tag reaches user."),
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
        noun: "AcceptedDomain",
        about: "Removes a domain in which nobody has an address any more.",
        detail: "",
        params: &[Param::identity("The domain.")],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn record(domain: &Domain) -> Record {
    let record = Record::new()
        .with("Name", address::shown_domain(&domain.name))
        .with("DomainName", domain.name.as_str())
        .with("DomainType", format!("{:?}", domain.kind))
        .with("Default", domain.default)
        .with("CatchAllRecipient", text_or_null(domain.catch_all.as_ref().map(|a| a.as_str())))
        .with("SubAddressingEnabled", domain.sub_addressing);
    super::ending(record, &domain.name, domain.created, domain.changed)
}

fn kind(call: &Call<'_>) -> Option<DomainKind> {
    call.text("DomainType").map(|text| match text {
        "InternalRelay" => DomainKind::InternalRelay,
        "ExternalRelay" => DomainKind::ExternalRelay,
        _ => DomainKind::Authoritative,
    })
}

async fn get(call: &Call<'_>) -> Outcome {
    let now = call.directory()?.snapshot();
    if let Some(name) = call.text("Identity") {
        let domain = now.domain(name).ok_or_else(|| Failure::not_found("accepted domain", name))?;
        call.record(record(domain)).await;
        return Ok(());
    }
    for domain in now.domains() {
        call.record(record(domain)).await;
    }
    Ok(())
}

async fn new(call: &Call<'_>) -> Outcome {
    let name = match call.text("DomainName").or_else(|| call.text("Name")) {
        Some(name) => name,
        None => return Err(Failure::usage("DomainName", "-DomainName is missing.")),
    };
    let new = NewDomain {
        name: name.to_owned(),
        kind: kind(call).unwrap_or(DomainKind::Authoritative),
        default: call.flag("MakeDefault").unwrap_or(false),
    };
    if call.only_said(|| format!("Accepting mail for {name}.")).await {
        return Ok(());
    }
    let domain = call.directory()?.add_domain(new).await?;
    call.record(record(&domain)).await;
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let name = call.required("Identity")?;
    let now = call.directory()?.snapshot();
    let domain = now.domain(name).ok_or_else(|| Failure::not_found("accepted domain", name))?;
    let catch_all = match call.value("CatchAllRecipient") {
        None => domain.catch_all.clone(),
        Some(crate::catalogue::Value::Text(text)) => Some(parse_address(text)?),
        Some(_) => None,
    };
    if call.flag("MakeDefault") == Some(false) && domain.default {
        return Err(Failure::invalid("MakeDefault", "Make another domain the default instead."));
    }
    if call.only_said(|| format!("Changing the domain {}.", domain.name)).await {
        return Ok(());
    }
    let change = |d: &mut Domain| {
        d.kind = kind(call).unwrap_or(d.kind);
        d.default |= call.flag("MakeDefault").unwrap_or(false);
        d.sub_addressing = call.flag("SubAddressingEnabled").unwrap_or(d.sub_addressing);
        d.catch_all = catch_all;
    };
    call.directory()?.update_domain(&domain.name, change).await?;
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let name = call.required("Identity")?;
    let now = call.directory()?.snapshot();
    let domain = now.domain(name).ok_or_else(|| Failure::not_found("accepted domain", name))?;
    if call.only_said(|| format!("No longer accepting mail for {}.", domain.name)).await {
        return Ok(());
    }
    call.directory()?.remove_domain(&domain.name).await?;
    Ok(())
}
