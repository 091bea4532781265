//! Get-, Start-, Stop- and Restart-Service: the services of a running server, each by itself, under Exchange's names too.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::{Call, Service, Services};
use std::sync::Arc;

const NAME: Param = Param::new(
    "Name",
    Kind::Text,
    "imap, pop, transport, api, or frontend for all that clients use; Exchange's names, too.",
);
const COLUMNS: &[&str] = &["Status", "Name", "DisplayName", "Sessions"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "Service",
        about: "Shows the services of this server: whether they run, where they listen, how many sessions they have.",
        detail: "",
        params: &[NAME.at(0), Param::new("ComputerName", Kind::Text, "This server.").alias(&["Server"])],
        columns: COLUMNS,
        examples: &[Example { line: "Get-Service MSExchangeIMAP4", about: "One of them." }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Start",
        noun: "Service",
        about: "Opens the listeners of a service that was stopped.",
        detail: "",
        params: &[NAME.mandatory().at(0)],
        columns: COLUMNS,
        examples: &[Example { line: "Start-Service pop", about: "POP3 again." }],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(act(call, Act::Start)),
    },
    Command {
        verb: "Stop",
        noun: "Service",
        about: "Closes the listeners of a service and ends its sessions in order; other services go on.",
        detail: "It lasts until Start-Service or until the server starts again. A service that shall stay closed has an empty \
                 list of listeners in the settings.",
        params: &[NAME.mandatory().at(0)],
        columns: COLUMNS,
        examples: &[Example { line: "Stop-Service MSExchangePOP3", about: "No POP3 for now." }],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(act(call, Act::Stop)),
    },
    Command {
        verb: "Restart",
        noun: "Service",
        about: "Ends the sessions of one service in order; whoever comes after that is served afresh. Other services go on.",
        detail: "No setting needs it: changes are taken over at once. Sessions are told to come back (BYE, 421), after the \
                 command or message at hand.",
        params: &[NAME.mandatory().at(0)],
        columns: COLUMNS,
        examples: &[
            Example { line: "Restart-Service MSExchangeIMAP4", about: "IMAP only." },
            Example { line: "restart-service frontend", about: "All that clients use." },
        ],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(act(call, Act::Restart)),
    },
];

#[derive(Clone, Copy)]
enum Act {
    Start,
    Stop,
    Restart,
}

/// The services that a name means: by our short names, and by Exchange's, whose back ends and front ends are one here.
fn meant(name: &str) -> &'static [&'static str] {
    match name.to_ascii_lowercase().as_str() {
        "imap" | "imap4" | "msexchangeimap4" | "msexchangeimap4be" => &["imap"],
        "pop" | "pop3" | "msexchangepop3" | "msexchangepop3be" => &["pop"],
        "transport"
        | "smtp"
        | "msexchangetransport"
        | "msexchangefrontendtransport"
        | "msexchangesubmission"
        | "msexchangedelivery" => &["transport"],
        "api" | "waypostapi" => &["api"],
        "frontend" => &["imap", "pop", "transport"],
        _ => &[],
    }
}

fn services<'a>(call: &Call<'a>) -> Outcome<&'a Arc<dyn Services>> {
    let services = call.world()?.services.as_ref();
    services
        .ok_or_else(|| Failure::new(Category::ResourceUnavailable, "services", "The server is not running."))
}

fn record(service: &Service) -> Record {
    Record::new()
        .with("Status", if service.running { "Running" } else { "Stopped" })
        .with("Name", service.name)
        .with("DisplayName", service.display_name)
        .with("Sessions", service.sessions)
        .with("Listeners", service.listeners.clone())
        .with("ServiceName", service.name)
        .with("Alias", service.short)
}

async fn get(call: &Call<'_>) -> Outcome {
    let all = services(call)?.all();
    let Some(name) = call.text("Name") else {
        for service in &all {
            call.record(record(service)).await;
        }
        return Ok(());
    };
    let mut any = false;
    for service in &all {
        if meant(name).contains(&service.short) || crate::output::wildcard(name, service.name) {
            any = true;
            call.record(record(service)).await;
        }
    }
    if any { Ok(()) } else { Err(Failure::not_found("service", name)) }
}

async fn act(call: &Call<'_>, act: Act) -> Outcome {
    let services = services(call)?;
    let name = call.required("Name")?;
    let (short, does) = (meant(name), call.command.verb);
    let there: Vec<Service> = services.all().into_iter().filter(|s| short.contains(&s.short)).collect();
    if there.is_empty() {
        return Err(Failure::not_found("service", name));
    }
    for service in there {
        if call.only_said(|| format!("{does} of {} ({} sessions).", service.name, service.sessions)).await {
            continue;
        }
        match act {
            Act::Start => services.start(service.short).await?,
            Act::Stop => services.stop(service.short).await?,
            Act::Restart => services.restart(service.short).await?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn names() {
        assert_eq!(meant("MSExchangeIMAP4"), ["imap"]);
        assert_eq!(meant("MSExchangePop3"), ["pop"]);
        assert_eq!(meant("MSExchangeTransport"), ["transport"]);
        assert_eq!(meant("frontend"), ["imap", "pop", "transport"]);
        assert!(meant("MSExchangeIS").is_empty());
    }
}
