//! New-, Get-, Set- and Remove-ReceiveConnector: who may do what at our doors.

use super::named::{Collection, ending};
use super::property::apply;
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Edit, Listener, Place, ProtocolLogging, ReceiveConnector, STANDING, Settings};
use std::net::SocketAddr;

const KIND: Collection = Collection {
    section: "receive_connectors",
    what: "Receive connector",
    others: &[
        "Bindings",
        "AllowAnonymousRelay",
        "Listener",
        "Usage",
        "Internet",
        "Internal",
        "Client",
        "Partner",
        "Custom",
        "TransportRole",
        "Server",
    ],
};

const LISTENERS: &[&str] = &["Smtp", "Submission", "Submissions"];

macro_rules! properties {
    ($($first:expr),* $(,)?) => {
        &[
            $($first,)*
            Param::new("Bindings", Kind::List, "The addresses of the listener that it stands at, such as 0.0.0.0:25. The listeners themselves are settings: Get-WaypostSetting 'listeners.*'."),
            Param::new("Listener", Kind::Choice(LISTENERS), "The listener itself, in place of -Bindings."),
            Param::new("RemoteIPRanges", Kind::Edit, "Whose connector it is: 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9."),
            Param::new("PermissionGroups", Kind::Edit, "AnonymousUsers, ExchangeUsers, ExchangeServers."),
            Param::new("AllowAnonymousRelay", Kind::Bool, "Strangers in its ranges may send to anybody, for printers and applications. Exchange: Add-ADPermission -User 'NT AUTHORITY\\ANONYMOUS LOGON' -ExtendedRights Ms-Exch-SMTP-Accept-Any-Recipient."),
            Param::new("AuthMechanism", Kind::Edit, "Tls, BasicAuth, BasicAuthRequireTLS, ExternalAuthoritative."),
            Param::new("RequireTLS", Kind::Bool, "MAIL is refused without TLS."),
            Param::new("MaxMessageSize", Kind::Quota, "Larger messages are refused."),
            Param::new("MaxRecipientsPerMessage", Kind::Int, "Recipients of one message; 0 leaves it to the settings of SMTP."),
            Param::new("MaxHopCount", Kind::Int, "Received fields beyond which a message goes round in circles."),
            Param::new("TarpitInterval", Kind::Span, "How long a refused command waits for its answer."),
            Param::new("MessageRateLimit", Kind::Int, "Messages a minute from one address; $null or 0 is no limit."),
            Param::new("ProtocolLoggingLevel", Kind::Choice(ProtocolLogging::NAMES), "Verbose writes the SMTP receive protocol log."),
            Param::new("Enabled", Kind::Bool, "$false: its peers are another connector's."),
            Param::new("Comment", Kind::Text, "For people."),
            Param::new("TransportRole", Kind::Choice(&["FrontendTransport", "HubTransport"]), "Kept for scripts.").without_effect("one process has both roles"),
            Param::new("Server", Kind::Text, "This server; others cannot be reached from here."),
        ]
    };
}

const NEW: &[Param] = properties![
    Param::new("Name", Kind::Text, "Its name.").mandatory().at(0),
    Param::new(
        "Usage",
        Kind::Choice(&["Custom", "Client", "Internal", "Internet", "Partner"]),
        "What permissions it begins with: Client is for those who sign in, Internal for servers of ours, Internet and Partner \
         for strangers.",
    ),
    Param::new("Client", Kind::Switch, "The same as -Usage Client."),
    Param::new("Internal", Kind::Switch, "The same as -Usage Internal."),
    Param::new("Internet", Kind::Switch, "The same as -Usage Internet."),
    Param::new("Partner", Kind::Switch, "The same as -Usage Partner."),
    Param::new("Custom", Kind::Switch, "The same as -Usage Custom."),
];
const SET: &[Param] = properties![Param::identity("Its name, with or without the server's before it.")];
const COLUMNS: &[&str] = &["Identity", "Bindings", "RemoteIPRanges", "Enabled"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ReceiveConnector",
        about: "Shows who may do what at the doors of SMTP.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "Its name; * stands for any text.").at(0),
            Param::new("Server", Kind::Text, "This server; others cannot be reached from here."),
        ],
        columns: COLUMNS,
        examples: &[Example {
            line: "Get-ReceiveConnector -FormatList",
            about: "All properties of all of them.",
        }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "ReceiveConnector",
        about: "Gives some peers other rights than the rest of their door has.",
        detail: "Of the connectors at a door, the one with the smallest range that holds the peer's address decides. It takes \
                 effect at once, for new connections.",
        params: NEW,
        columns: COLUMNS,
        examples: &[
            Example {
                line: "New-ReceiveConnector Printers -RemoteIPRanges 192.0.2.0/28 -AllowAnonymousRelay true",
                about: "Printers may send to anybody, without signing in.",
            },
            Example {
                line: "New-ReceiveConnector Gateway -Usage Internal -RemoteIPRanges 192.0.2.25",
                about: "A server of ours is believed.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "ReceiveConnector",
        about: "Changes who may do what at a door.",
        detail: "It takes effect at once, for new connections.",
        params: SET,
        columns: &[],
        examples: &[Example {
            line: "Set-ReceiveConnector 'Default Frontend' -TarpitInterval 0",
            about: "No waiting after a refused command.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "ReceiveConnector",
        about: "Removes a receive connector; the standing ones become what they were at first.",
        detail: "",
        params: &[Param::identity("Its name, with or without the server's before it.")],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

/// What holds: those that are written, and the standing ones.
fn in_force(settings: &Settings) -> Settings {
    let mut all = settings.clone();
    all.receive_connectors = settings.receive_connectors_in_force();
    all
}

fn addresses(settings: &Settings, listener: Listener) -> &[SocketAddr] {
    let l = &settings.listeners;
    match listener {
        Listener::Smtp => &l.smtp,
        Listener::Submission => &l.submission,
        Listener::Submissions => &l.submissions,
    }
}

/// The listener that all of these addresses belong to.
fn listener(call: &Call<'_>, settings: &Settings) -> Outcome<Option<Listener>> {
    if let Some(name) = call.text("Listener") {
        return Ok(Listener::parse(name));
    }
    let Some(bindings) = call.list("Bindings") else { return Ok(None) };
    let mut found = None;
    for text in bindings {
        let wrong = |why: String| Failure::invalid("Bindings", why);
        let at: SocketAddr = text
            .parse()
            .map_err(|_| wrong(format!("{text:?} is not an address with port, such as 0.0.0.0:25.")))?;
        let all = [Listener::Smtp, Listener::Submission, Listener::Submissions];
        // The address itself, or a listener for every address with that port.
        let fits = |own: &SocketAddr| *own == at || (own.port() == at.port() && own.ip().is_unspecified());
        let here = all
            .into_iter()
            .find(|l| addresses(settings, *l).contains(&at))
            .or_else(|| all.into_iter().find(|l| addresses(settings, *l).iter().any(fits)));
        let Some(here) = here else {
            let text = format!(
                "Nothing listens at {at}. Add it to listeners.smtp, submission or submissions with Set-WaypostSetting first."
            );
            return Err(wrong(text));
        };
        if found.is_some_and(|f| f != here) {
            return Err(wrong(
                "These addresses belong to different listeners; make a connector for each.".into(),
            ));
        }
        found = Some(here);
    }
    Ok(found)
}

fn record(settings: &Settings, name: &str) -> Record {
    let Some(connector) = settings.receive_connectors.get(name) else { return Record::new() };
    let bindings: Vec<String> =
        addresses(settings, connector.listener).iter().map(SocketAddr::to_string).collect();
    let record = Record::new().with("Name", name).with("Bindings", bindings);
    let record = KIND.record(record, settings, name, SET);
    let server = settings.server.id.as_str();
    let record = record
        .with("AllowAnonymousRelay", connector.anonymous_relay)
        .with("Listener", connector.listener.name())
        .with("TransportRole", "FrontendTransport")
        .with("Fqdn", settings.server.name.as_str())
        .with("Server", server);
    ending(record, &format!("{server}\\{name}"))
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = in_force(&call.world()?.settings.current());
    super::property::right_server(call, &settings)?;
    for name in KIND.chosen(call, &settings, KIND.names(&settings))? {
        call.record(record(&settings, &name)).await;
    }
    Ok(())
}

fn others(call: &Call<'_>, settings: &Settings, name: &str, edits: &mut Vec<Edit>) -> Outcome {
    let place = Place::named(KIND.section, name);
    if let Some(listener) = listener(call, settings)? {
        edits.push(Edit::set(place.key("listener"), &listener));
    }
    if let Some(on) = call.flag("AllowAnonymousRelay") {
        edits.push(Edit::set(place.key("anonymous_relay"), &on));
    }
    Ok(())
}

/// What -Usage begins with.
fn usage(call: &Call<'_>) -> Outcome<&'static str> {
    let all = ["Client", "Internal", "Internet", "Partner", "Custom"];
    let by_switch = all.into_iter().filter(|name| call.switch(name));
    let by_name = all.into_iter().filter(|name| call.text("Usage") == Some(name));
    let mut given: Vec<&str> = by_switch.chain(by_name).collect();
    given.dedup();
    match given.as_slice() {
        [] => Ok("Custom"),
        [one] => Ok(one),
        _ => Err(Failure::usage("Usage", "Only one usage can be given.")),
    }
}

async fn new(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let settings = store.current();
    super::property::right_server(call, &settings)?;
    let all = in_force(&settings);
    let name = KIND.fresh(call, &all)?;
    let mut edits = KIND.edits(call, &settings, &name)?;
    others(call, &settings, &name, &mut edits)?;
    let usage = usage(call)?;
    let place = Place::named(KIND.section, &name);
    let begin = match usage {
        "Client" => ReceiveConnector::for_users(Listener::Submission),
        _ => ReceiveConnector::default(),
    };
    let groups = match usage {
        "Internal" => vec![crate::settings::PermissionGroup::ExchangeServers],
        _ => begin.permission_groups.clone(),
    };
    let mut first = vec![
        Edit::set(place.key("listener"), &begin.listener),
        Edit::set(place.key("permission_groups"), &groups),
        Edit::set(place.key("auth_mechanism"), &begin.auth_mechanism),
    ];
    first.retain(|f| !edits.iter().any(|e| e.key == f.key));
    first.append(&mut edits);
    if call.value("RemoteIPRanges").is_none() && usage != "Client" {
        let text = "-RemoteIPRanges is missing: whose connector is it? Everybody's is \"Default Frontend\".";
        return Err(Failure::usage("RemoteIPRanges", text));
    }
    no_twin(&store.rehearse(&first).map_err(super::property::refused)?, &name)?;
    apply(call, first).await?;
    if !call.invocation.what_if {
        call.record(record(&store.current(), &name)).await;
    }
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    super::property::right_server(call, &settings)?;
    let all = in_force(&settings);
    let name = KIND.found(call, &all, &KIND.names(&all))?;
    let mut edits = KIND.edits(call, &all, &name)?;
    others(call, &settings, &name, &mut edits)?;
    no_twin(&call.world()?.settings.rehearse(&edits).map_err(super::property::refused)?, &name)?;
    apply(call, edits).await
}

/// Two connectors of one door must not have the same range: it would be chance which of them decides.
fn no_twin(planned: &Settings, name: &str) -> Outcome {
    let all = planned.receive_connectors_in_force();
    let Some(own) = all.get(name).filter(|c| c.enabled) else { return Ok(()) };
    for (other, connector) in
        all.iter().filter(|(n, c)| *n != name && c.enabled && c.listener == own.listener)
    {
        let twin = connector.remote_ip_ranges.iter().find(|range| own.remote_ip_ranges.contains(range));
        if let Some(range) = twin {
            let text = format!(
                "The values for Listener and RemoteIPRanges conflict with those of {other:?}, which has {range}, too."
            );
            return Err(Failure::invalid("RemoteIPRanges", text));
        }
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let all = in_force(&settings);
    let name = KIND.found(call, &all, &KIND.names(&all))?;
    if !settings.receive_connectors.contains_key(&name) {
        let text = format!("{name:?} always is; Set-ReceiveConnector -Enabled $false switches it off.");
        return Err(Failure::new(Category::InvalidOperation, &name, text));
    }
    if STANDING.iter().any(|(n, _)| n.eq_ignore_ascii_case(&name)) {
        call.warn(format!("{name:?} becomes what it was at first.")).await;
    }
    KIND.remove(call, &name).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_a_setting() {
        let settings = in_force(&Settings::default());
        let name = STANDING[0].0;
        let shown = KIND.record(Record::new(), &settings, name, SET);
        for param in SET.iter().filter(|p| !KIND.others.contains(&p.name) && p.name != "Identity") {
            assert!(shown.cell(param.name).is_some(), "{}", param.name);
        }
        let fields = Settings::named_fields().iter().filter(|f| f.section == KIND.section).count();
        // `listener` and `anonymous_relay` have other names.
        assert_eq!(shown.0.len() + 2, fields);
        assert_eq!(Listener::NAMES, LISTENERS);
    }
}
