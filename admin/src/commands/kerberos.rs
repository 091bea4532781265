//! Get- and Clear-KerberosTicket, Test-KerberosKeytab: the tickets and keys of this server's identities.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::settings::kerberos_tickets;
use std::path::PathBuf;
use waypost_base::Timestamp;
use waypost_trust::kerberos::ccache::{self, Credential};
use waypost_trust::kerberos::gss::{Acceptor, Bound, Framing, Gss, Identity, Initiator};
use waypost_trust::kerberos::keytab;
use waypost_trust::leg::fault::Fault;

const ROLES: &[&str] = &["frontend", "transport", "mailbox"];
const ROLE: Param = Param::new("Role", Kind::Choice(ROLES), "Only this role's tickets.");
const SERVER: Param =
    Param::new("Server", Kind::Text, "The server whose tickets are meant; this one by default.");
const SERVICE: Param = Param::new(
    "Service",
    Kind::Text,
    "Only tickets for this service principal; without @REALM in any realm, and krbtgt for those that tickets are got with.",
)
.alias(&["Spn"]);
const COLUMNS: &[&str] =
    &["Role", "Client", "Server", "Enctype", "Kvno", "SessionEnctype", "StartTime", "EndTime"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "KerberosTicket",
        about: "Shows the Kerberos tickets that the roles of a server hold.",
        detail: "Enctype and Kvno are those of the ticket itself, which the KDC has chosen from the service's keys; SessionEnctype \
                 is that of the session key, and says nothing of the ticket's. No key is shown.",
        params: &[ROLE, SERVICE, SERVER],
        columns: COLUMNS,
        examples: &[Example {
            line: "Get-KerberosTicket -Role mailbox",
            about: "What the mailbox role has.",
        }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Clear",
        noun: "KerberosTicket",
        about: "Purges Kerberos tickets, so that new ones are got from the KDC when they are needed.",
        detail: "Nothing breaks by it: with a keytab that works, tickets come by themselves. Needed after a service got new keys, \
                 as long as the initiator has a ticket by the old ones.",
        params: &[ROLE, SERVICE, SERVER],
        columns: COLUMNS,
        examples: &[Example {
            line: "Clear-KerberosTicket -Service smtp/hub.example.org",
            about: "The tickets for the hub, of all roles.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(clear(call)),
    },
    Command {
        verb: "Test",
        noun: "KerberosKeytab",
        about: "Looks whether the keys in a server's keytab are those that its KDC has.",
        detail: "It gets a ticket for each principal of the keytab, with the keytab's own key, and accepts it: what would fail \
                 between two servers fails here, before mail is held up by it. Exit code 5 when something is wrong.",
        params: &[SERVICE, SERVER],
        columns: &["Principal", "Result", "Ticket", "Keytab", "Cause", "Text"],
        examples: &[Example { line: "Test-KerberosKeytab", about: "Every principal of the keytab." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(test(call)),
    },
];

/// The caches of all roles, or of the one that is asked for.
fn caches(call: &Call<'_>) -> Vec<(&'static str, PathBuf)> {
    let folder = kerberos_tickets(&call.context.data);
    let role = call.text("Role");
    let wanted = ROLES.iter().copied().filter(|r| role.is_none_or(|role| role.eq_ignore_ascii_case(r)));
    wanted.map(|role| (role, folder.join(format!("{role}.ccache")))).collect()
}

/// `smtp/hub` means it in any realm, `krbtgt` any service of that kind.
fn matches(credential: &Credential, service: Option<&str>) -> bool {
    let Some(service) = service else { return true };
    let name = credential.server.to_string();
    let without_realm = credential.server.parts.join("/");
    let kind = credential.server.parts.first().map_or("", String::as_str);
    [name.as_str(), &without_realm, kind].iter().any(|n| n.eq_ignore_ascii_case(service))
}

fn record(role: &str, cache: &std::path::Path, ticket: &Credential, server: &str, now: Timestamp) -> Record {
    Record::new()
        .with("Role", role)
        .with("Client", ticket.client.to_string())
        .with("Server", ticket.server.to_string())
        .with("Enctype", ticket.enctype.map(|e| e.to_string()))
        .with("Kvno", ticket.kvno.map(|k| Cell::from(i64::from(k))).unwrap_or(Cell::Null))
        .with("SessionEnctype", ticket.session_enctype.to_string())
        .with("StartTime", ticket.start)
        .with("EndTime", ticket.end)
        .with("RenewUntil", ticket.renew_until.map_or(Cell::Null, Cell::from))
        .with("Expired", ticket.end < now)
        .with("Flags", format!("{:#010x}", ticket.flags))
        .with("Cache", cache.display().to_string())
        .with("Identity", format!("{server}/{role}"))
}

fn unreadable(path: &std::path::Path, e: &std::io::Error) -> Failure {
    Failure::new(
        Category::ReadError,
        path.display(),
        format!("The tickets in {} cannot be read: {e}.", path.display()),
    )
}

async fn get(call: &Call<'_>) -> Outcome {
    let (server, now) = (own_id(call)?, call.context.clock.now());
    for (role, path) in caches(call) {
        let cache = match ccache::load(&path) {
            Ok(cache) => cache,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => {
                call.error(unreadable(&path, &e)).await;
                continue;
            }
        };
        for ticket in cache.credentials.iter().filter(|t| matches(t, call.text("Service"))) {
            call.record(record(role, &path, ticket, &server, now)).await;
        }
    }
    Ok(())
}

async fn clear(call: &Call<'_>) -> Outcome {
    let (server, service) = (own_id(call)?, call.text("Service"));
    let what = || match (call.text("Role"), service) {
        (role, Some(service)) => {
            format!("Purging the tickets for {service} of {}.", role.unwrap_or("all roles"))
        }
        (role, None) => format!("Purging all tickets of {}.", role.unwrap_or("all roles")),
    };
    if call.only_said(what).await {
        return Ok(());
    }
    let now = call.context.clock.now();
    for (role, path) in caches(call) {
        let gone = match (service, ccache::purge(&path, |t| matches(t, service))) {
            (_, Ok(gone)) => gone,
            // What cannot be read is of no use to the library either.
            (None, Err(e)) if e.kind() == std::io::ErrorKind::InvalidData => {
                std::fs::remove_file(&path).map_err(|e| unreadable(&path, &e))?;
                Vec::new()
            }
            (_, Err(e)) => return Err(unreadable(&path, &e)),
        };
        for ticket in &gone {
            call.record(record(role, &path, ticket, &server, now)).await;
        }
    }
    Ok(())
}

fn own_id(call: &Call<'_>) -> Outcome<String> {
    let world = call.world()?;
    let here = world.directory.snapshot().here().map(str::to_owned);
    Ok(here.unwrap_or_else(|| world.settings.current().server.id.clone()))
}

async fn test(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let set = &settings.kerberos;
    let mut identity = set.identity(&call.context.data, &own_id(call)?, "test");
    // Tickets of its own: those that the roles hold may be of older keys.
    identity.run = identity.run.join(format!("test-{}", std::process::id()));
    let gss = Gss::load_from(&set.library, set.limit(), call.context.clock.clone())
        .map_err(|no| failure(&no.library, &no.fault()))?;
    let principals = match call.text("Service") {
        Some(service) => vec![service.to_owned()],
        None => {
            let keys = keytab::load(&identity.keytab)
                .map_err(|e| Failure::new(Category::ReadError, identity.keytab.display(), format!("{e}.")))?;
            keys.principals().iter().map(ToString::to_string).collect()
        }
    };
    let mut wrong = 0;
    for principal in &principals {
        let (record, good) = test_one(&gss, &identity, principal).await;
        wrong += usize::from(!good);
        call.record(record).await;
    }
    let _ = std::fs::remove_dir_all(&identity.run);
    let text = match (principals.len(), wrong) {
        (_, 0) if !principals.is_empty() => return Ok(()),
        (0, _) => format!("The keytab {} holds no key.", identity.keytab.display()),
        (all, wrong) => format!("{wrong} of {all} principals do not work."),
    };
    Err(Failure::new(Category::OperationIncomplete, identity.keytab.display(), text))
}

/// A ticket for ourselves, got and accepted with the same keytab.
async fn test_one(gss: &Gss, identity: &Identity, principal: &str) -> (Record, bool) {
    let initiator = Initiator::new(gss.clone(), identity.clone());
    let mut context = initiator.begin(principal, Framing::Krb5, None);
    let got = context.step(Vec::new()).await;
    let ticket = context.asked().ticket.as_ref().map(ToString::to_string);
    let result = match got {
        Ok(step) => {
            let acceptor = Acceptor::new(gss.clone(), identity.clone());
            acceptor.begin().step(step.token, &Bound::default()).await
        }
        refused => refused,
    };
    let record = Record::new()
        .with("Principal", principal)
        .with("Result", if result.is_ok() { "Success" } else { "Failure" })
        .with("Ticket", ticket)
        .with("Keytab", identity.keytab.display().to_string());
    match result {
        Ok(_) => (record.with("Cause", Cell::Null).with("Text", Cell::Null), true),
        Err(refused) => (with_fault(record, &refused.fault), false),
    }
}

fn with_fault(record: Record, fault: &Fault) -> Record {
    let evidence: Vec<String> = fault.evidence.iter().map(|e| format!("{}: {}", e.source, e.fact)).collect();
    record
        .with("Cause", fault.cause.code)
        .with("Text", fault.text.as_str())
        .with("Evidence", evidence)
        .with("Remedy", fault.finding().remedy)
}

fn failure(target: &str, fault: &Fault) -> Failure {
    let text = format!("{}. {}", fault.text, fault.finding().remedy.join("; "));
    Failure::new(Category::ResourceUnavailable, target, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_trust::kerberos::{Enctype, Principal};

    #[test]
    fn services_are_meant_with_and_without_realm() {
        let name = |n: &str| Principal::parse(n).unwrap();
        let ticket = Credential::new(name("a@R"), name("smtp/hub.test@R"), Enctype::AES256);
        for service in ["smtp/hub.test@R", "SMTP/hub.test", "smtp"] {
            assert!(matches(&ticket, Some(service)), "{service}");
        }
        assert!(matches(&ticket, None) && !matches(&ticket, Some("imap/hub.test")));
    }
}
