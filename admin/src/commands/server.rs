//! The servers of the organisation: who they are, what they do, inviting and leaving, and the inner CA that they know each
//! other by.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::elsewhere::find_server;
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_directory::invitation::Token;
use waypost_directory::{Account, AccountKind, Roles, Server};
use waypost_trust::authority::Bundle;
use waypost_trust::{Facts, InnerCa, KeyedCertificate, files};

const COLUMNS: &[&str] = &["Name", "ServerRole", "Fqdn", "InnerAddress", "Status"];

/// A token is good for so long unless -ExpiresIn says otherwise.
const TOKEN_MILLIS: u64 = 60 * 60 * 1000;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ExchangeServer",
        about: "Shows the servers of the organisation.",
        detail: "Also called Get-Server.",
        params: &[Param::new("Identity", Kind::Text, "Id or host name.").at(0)],
        columns: COLUMNS,
        examples: &[Example { line: "Get-Server", about: "All of them." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Set",
        noun: "ExchangeServer",
        about: "Changes what the organisation knows of a server.",
        detail: "The roles take effect at the server itself when it is started again; others go by them at once.",
        params: &[
            Param::identity("Id or host name."),
            Param::new("Roles", Kind::List, "What it does: frontend, transport, mailbox."),
            Param::new("InnerAddress", Kind::Text, "HOST:PORT where other servers reach it."),
            Param::new("Fqdn", Kind::Text, "Its host name, for people."),
            Param::new(
                "ServicePrincipals",
                Kind::Edit,
                "Kerberos names of its inner door, the first for tickets to it.",
            ),
        ],
        columns: &[],
        examples: &[Example {
            line: "Set-ExchangeServer server-2 -InnerAddress mbx2.example.org:444",
            about: "The server has moved.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "ExchangeServer",
        about: "Takes a server out of the organisation.",
        detail: "It must hold no mailbox any more. From then on it is a stranger to the others.",
        params: &[Param::identity("Id or host name.")],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
    Command {
        verb: "Revoke",
        noun: "Server",
        about: "Forbids a server everything at once, or only the inner certificates that it has.",
        detail: "Every other server refuses its legs from the moment it hears of it. With -CertificatesOnly the server stays one \
                 of ours, but every inner certificate made for it up to now is void, as when its files were stolen: it joins \
                 again with a token of New-ServerToken -Server, and keeps its mail. On the primary itself a new certificate is \
                 made at once.",
        params: &[
            Param::identity("Id or host name."),
            Param::new("CertificatesOnly", Kind::Switch, "The server stays; its certificates are void."),
            Param::new("Undo", Kind::Switch, "It may do again what it may."),
        ],
        columns: &[],
        examples: &[
            Example { line: "Revoke-Server server-2", about: "Nothing of server-2 is believed any more." },
            Example {
                line: "Revoke-Server server-2 -CertificatesOnly",
                about: "A backup of its disk was stolen.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(revoke(call)),
    },
    Command {
        verb: "New",
        noun: "ServerToken",
        about: "Makes a token by which one machine can join the organisation.",
        detail: "It is shown once and kept nowhere. On the new machine, with an empty data folder: waypost join TOKEN.",
        params: &[
            Param::new(
                "Roles",
                Kind::List,
                "What the server may do at most: frontend, transport, mailbox. All if not given.",
            ),
            Param::new("Server", Kind::Text, "A server that is to join again under its id."),
            Param::new("ExpiresIn", Kind::Span, "How long it is good for. An hour if not given."),
        ],
        columns: &["Token", "Expires", "Roles"],
        examples: &[Example {
            line: "New-ServerToken -Roles mailbox -ExpiresIn 15m",
            about: "For a mailbox server that joins now.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(invite(call)),
    },
    Command {
        verb: "Get",
        noun: "ServerToken",
        about: "Shows the tokens that were given out, without their secrets.",
        detail: "",
        params: &[],
        columns: &["Identity", "Roles", "Expires", "Status"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(tokens(call)),
    },
    Command {
        verb: "Get",
        noun: "InnerAuthority",
        about: "Shows the inner CA, and how far a change of it has come.",
        detail: "",
        params: &[],
        columns: &["Thumbprint", "NotAfter", "Issues", "Step", "WaitingFor"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(authority(call)),
    },
    Command {
        verb: "Update",
        noun: "InnerAuthority",
        about: "Changes the inner CA, without an outage.",
        detail: "The next CA is made now. As soon as every server believes it, it issues, and all inner certificates are renewed; \
                 as soon as nothing of the old CA is left, that is believed no more. The steps are taken by the running primary. \
                 A server that is switched off holds the change up: Get-InnerAuthority names it; Remove-ExchangeServer or \
                 Revoke-Server lets it go on without it.",
        params: &[],
        columns: &["Thumbprint", "NotAfter", "Issues", "Step", "WaitingFor"],
        examples: &[Example { line: "Update-InnerAuthority", about: "Begins a change." }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(update(call)),
    },
];

fn named(call: &Call<'_>) -> Outcome<Arc<Server>> {
    let name = call.required("Identity")?;
    let now = call.directory()?.snapshot();
    let found = find_server(&now, name).and_then(|id| now.server(&id).cloned());
    found.ok_or_else(|| Failure::not_found("server", name))
}

async fn get(call: &Call<'_>) -> Outcome {
    let now = call.directory()?.snapshot();
    let chosen: Vec<Arc<Server>> = match call.text("Identity") {
        Some(_) => vec![named(call)?],
        None => now.servers().cloned().collect(),
    };
    for server in chosen {
        let accounts = now
            .accounts()
            .filter(|a| now.home_of(a) == server.id && a.kind != AccountKind::Monitoring)
            .count();
        let status = match (server.revoked, server.components.values().all(|state| state == "Active")) {
            (Some(since), _) => format!("Revoked since {since}"),
            (None, true) => "Active".to_owned(),
            (None, false) => {
                let parts = server.components.iter().filter(|(_, state)| *state != "Active");
                parts.map(|(name, state)| format!("{name} {state}")).collect::<Vec<_>>().join(", ")
            }
        };
        let record = Record::new()
            .with("Name", server.id.as_str())
            .with("Fqdn", server.host.as_str())
            .with("ServerRole", server.roles.to_string())
            .with("InnerAddress", server.inner.as_str())
            .with("IsPrimary", server.primary)
            .with("IsThisServer", now.here() == Some(server.id.as_str()))
            .with("Status", status)
            .with("Mailboxes", accounts as i64)
            .with("ServicePrincipals", server.principals.clone())
            .with("CertificatesSince", server.certificates_since.map(|at| at.to_string()));
        let here = now.here() == Some(server.id.as_str());
        let way = call.world()?.elsewhere.as_ref().filter(|_| here);
        let record = record.with("DirectoryCopy", way.and_then(|way| way.standing()));
        call.record(super::ending(record, &server.id, server.joined, server.changed)).await;
    }
    Ok(())
}

fn roles(call: &Call<'_>) -> Outcome<Option<Roles>> {
    let Some(names) = call.list("Roles") else { return Ok(None) };
    let parsed = Roles::parse(&names.join(","));
    let bad = |name: String| {
        Failure::invalid("Roles", format!("{name:?} is not one of frontend, transport, mailbox."))
    };
    parsed.map(Some).map_err(bad)
}

async fn set(call: &Call<'_>) -> Outcome {
    let server = named(call)?;
    let roles = roles(call)?;
    if let (Some(roles), true) = (roles, server.primary)
        && !roles.mailbox
        && call.directory()?.snapshot().accounts().any(|a| a.home.is_none())
    {
        let text = "Mailboxes without a home of their own are at the primary: move them first.";
        return Err(Failure::new(Category::InvalidOperation, &server.id, text));
    }
    if roles.is_some_and(|roles| roles.mailbox) && !server.roles.mailbox && !server.primary {
        let text = format!(
            "{0} has not got the organisation's key, which servers get when they join with the role mailbox: \
             Remove-ExchangeServer {0}, then let it join anew with an empty folder.",
            server.id
        );
        return Err(Failure::new(Category::InvalidOperation, &server.id, text));
    }
    let inner = call.text("InnerAddress").map(str::to_owned);
    if let Some(inner) = &inner
        && inner
            .rsplit_once(':')
            .and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()))
            .is_none()
    {
        return Err(Failure::invalid("InnerAddress", format!("{inner:?} is not HOST:PORT.")));
    }
    let host = call.text("Fqdn").map(str::to_owned);
    let principals = call.value("ServicePrincipals").map(|value| value.apply(&server.principals));
    if call.only_said(|| format!("Changing server {}.", server.id)).await {
        return Ok(());
    }
    let change = |s: &mut Server| {
        s.roles = roles.unwrap_or(s.roles);
        s.inner = inner.unwrap_or_else(|| s.inner.clone());
        s.host = host.unwrap_or_else(|| s.host.clone());
        s.principals = principals.unwrap_or_else(|| s.principals.clone());
    };
    call.directory()?.update_server(&server.id, change).await?;
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let server = named(call)?;
    if call.only_said(|| format!("Removing server {}.", server.id)).await {
        return Ok(());
    }
    let directory = call.directory()?;
    directory.remove_server(&server.id).await?;
    // What it tried itself out with goes with it.
    let now = directory.snapshot();
    let own = |a: &&Arc<Account>| {
        a.kind == AccountKind::Monitoring && a.home.as_deref() == Some(server.id.as_str())
    };
    for account in now.accounts().filter(own) {
        directory.remove_account(account.id).await?;
    }
    Ok(())
}

async fn revoke(call: &Call<'_>) -> Outcome {
    let server = named(call)?;
    let (only, undo) = (call.switch("CertificatesOnly"), call.switch("Undo"));
    if server.primary && !only {
        let text = "The primary keeps the directory and cannot be revoked; -CertificatesOnly makes its certificates void.";
        return Err(Failure::new(Category::InvalidOperation, &server.id, text));
    }
    let what = match (only, undo) {
        (_, true) => "Letting server back in:",
        (true, false) => "Making void the certificates of server",
        (false, false) => "Revoking server",
    };
    if call.only_said(|| format!("{what} {}.", server.id)).await {
        return Ok(());
    }
    let now = call.context.clock.now();
    let change = |s: &mut Server| match (only, undo) {
        // Void certificates stay void: what was stolen stays stolen.
        (_, true) => s.revoked = None,
        (true, false) => s.certificates_since = Some(now),
        (false, false) => s.revoked = Some(now),
    };
    call.directory()?.update_server(&server.id, change).await?;
    if only && !undo && !server.primary {
        let id = &server.id;
        call.warn(format!(
            "{id} cannot reach the others until it has joined again: New-ServerToken -Server {id}, then waypost join there."
        ))
        .await;
    }
    Ok(())
}

/// The CA with its key, where this is the server that keeps it.
fn inner_ca(call: &Call<'_>) -> Outcome<InnerCa> {
    let folder = call.context.data.join("trust");
    let unreadable = |e: &dyn std::fmt::Display| {
        let text = format!("The inner CA cannot be read: {e}. It is on the server that keeps the directory.");
        Failure::new(Category::ReadError, folder.display(), text)
    };
    let both = files::load(&folder, "inner-ca").map_err(|e| unreadable(&e))?;
    InnerCa::load(&both.chain_pem, &both.key_pem).map_err(|e| unreadable(&e))
}

async fn invite(call: &Call<'_>) -> Outcome {
    let directory = call.directory()?;
    let fingerprint = inner_ca(call)?.fingerprint().map_err(|e| Failure::invalid("inner CA", e))?;
    let roles = roles(call)?.unwrap_or(Roles::ALL);
    let millis = match call.value("ExpiresIn") {
        Some(crate::catalogue::Value::Span(millis)) => *millis,
        _ => TOKEN_MILLIS,
    };
    let now = directory.snapshot();
    let primary = now.primary().ok_or_else(|| {
        let text = "This server is not in the directory yet: start it once.";
        Failure::new(Category::InvalidOperation, "server", text)
    })?;
    if call.only_said(|| format!("Making a token for the roles {roles}.")).await {
        return Ok(());
    }
    let expires = call.context.clock.now().plus_millis(i64::try_from(millis).unwrap_or(i64::MAX / 4));
    let server = call.text("Server").map(str::to_owned);
    let (made, secret) = directory.invite(roles, server, &call.context.caller, expires).await?;
    let token = Token { address: primary.inner.clone(), fingerprint, id: made.id.clone(), secret };
    let record = Record::new()
        .with("Token", token.write())
        .with("Expires", expires.to_string())
        .with("Roles", roles.to_string())
        .with("Server", made.server.clone())
        .with("Identity", made.id.as_str());
    call.record(record).await;
    Ok(())
}

async fn tokens(call: &Call<'_>) -> Outcome {
    let now = call.context.clock.now();
    for made in call.directory()?.invitations().await? {
        let status = match &made.used {
            Some((when, server)) => format!("Used at {when} by {server}"),
            None if made.expires < now => "Expired".to_owned(),
            None => "Open".to_owned(),
        };
        let record = Record::new()
            .with("Identity", made.id.as_str())
            .with("Roles", made.roles.to_string())
            .with("Server", made.server.clone())
            .with("MadeBy", made.by.as_str())
            .with("Created", made.created.to_string())
            .with("Expires", made.expires.to_string())
            .with("Status", status);
        call.record(record).await;
    }
    Ok(())
}

/// What the running server has written about the change that is under way.
fn progress(call: &Call<'_>) -> (String, Vec<String>) {
    let text = std::fs::read_to_string(call.context.data.join("trust/rotation.json")).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let waiting = value["waiting"].as_array().into_iter().flatten();
    let waiting = waiting.filter_map(|v| v.as_str()).map(str::to_owned).collect();
    (value["step"].as_str().unwrap_or("none").to_owned(), waiting)
}

async fn authority(call: &Call<'_>) -> Outcome {
    let current = inner_ca(call)?.fingerprint().map_err(|e| Failure::invalid("inner CA", e))?;
    let folder = call.context.data.join("trust");
    let pem = files::read(&folder.join("trusted.crt")).or_else(|_| files::read(&folder.join("inner-ca.crt")));
    let pem = pem.map_err(|e| Failure::new(Category::ReadError, folder.display(), e))?;
    let bundle = Bundle::parse(&pem).map_err(|e| Failure::new(Category::ReadError, folder.display(), e))?;
    let begun = folder.join("inner-next.crt").exists();
    let (step, waiting) = progress(call);
    let step = if begun && step == "finished" { "begun".to_owned() } else { step };
    for facts in bundle.facts() {
        call.record(shown(&facts, facts.fingerprint == current, &step, &waiting)).await;
    }
    Ok(())
}

fn shown(facts: &Facts, issues: bool, step: &str, waiting: &[String]) -> Record {
    Record::new()
        .with("Thumbprint", facts.fingerprint.as_str())
        .with("NotBefore", facts.not_before.to_string())
        .with("NotAfter", facts.not_after.to_string())
        .with("Issues", issues)
        .with("Step", step)
        .with("WaitingFor", waiting.to_vec())
}

async fn update(call: &Call<'_>) -> Outcome {
    inner_ca(call)?;
    let folder = call.context.data.join("trust");
    let now: Timestamp = call.context.clock.now();
    let wrong =
        |e: &dyn std::fmt::Display| Failure::new(Category::WriteError, folder.display(), e.to_string());
    let bundle = files::read(&folder.join("trusted.crt")).ok().and_then(|pem| Bundle::parse(&pem).ok());
    if folder.join("inner-next.crt").exists() || bundle.is_some_and(|b| b.facts().len() > 1) {
        call.warn("A change is under way already; Get-InnerAuthority shows how far it has come.").await;
        return authority(call).await;
    }
    if call.only_said(|| "Beginning a change of the inner CA.".to_owned()).await {
        return Ok(());
    }
    let next = InnerCa::create("Waypost organisation", now).map_err(|e| wrong(&e))?;
    let both = KeyedCertificate { chain_pem: next.certificate_pem().to_owned(), key_pem: next.key_pem() };
    files::save(&folder, "inner-next", &both).map_err(|e| wrong(&e))?;
    if !call.context.running {
        call.warn("The steps are taken by the running server: start it.").await;
    }
    authority(call).await
}
