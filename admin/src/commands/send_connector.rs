//! New-, Get-, Set- and Remove-SendConnector: which way mail for other domains leaves.

use super::named::{Collection, ending};
use super::property::apply;
use crate::catalogue::{Command, Example, Kind, Needs, Param, Value};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Edit, Place, ProtocolLogging, Settings, SmartHostAuthMechanism, TlsAuthLevel, secret};

const KIND: Collection = Collection {
    section: "send_connectors",
    what: "Send connector",
    others: &[
        "DNSRoutingEnabled",
        "AuthenticationCredential",
        "Password",
        "Usage",
        "SourceTransportServers",
        "Internet",
        "Internal",
        "Partner",
        "Custom",
        "Force",
    ],
};

const NO_OTHERS: &str = "this server is the only one that sends";
const SPACES: Param = Param::new(
    "AddressSpaces",
    Kind::Edit,
    "Domains that it takes, with their cost: \"*\", \"example.net\", \"SMTP:*.example.net;5\".",
);

macro_rules! properties {
    ($($first:expr),* $(,)?) => {
        &[
            $($first,)*
            Param::new("SmartHosts", Kind::Edit, "Servers that bring the mail on: relay.example.net, [192.0.2.1]:2525. None: by MX."),
            Param::new("DNSRoutingEnabled", Kind::Bool, "$true: by MX, without smart hosts."),
            Param::new("Port", Kind::Int, "Port of hosts that name none. 25 if not given."),
            Param::new("Fqdn", Kind::Text, "How we call ourselves in EHLO."),
            Param::new("RequireTLS", Kind::Bool, "Without TLS nothing is sent."),
            Param::new("TlsAuthLevel", Kind::Choice(TlsAuthLevel::NAMES), "How far the certificate is looked at; all but None require TLS."),
            Param::new("TlsDomain", Kind::Text, "The name that DomainValidation looks for; the host's if not given."),
            Param::new("IgnoreSTARTTLS", Kind::Bool, "Never TLS."),
            Param::new("SmartHostAuthMechanism", Kind::Choice(SmartHostAuthMechanism::NAMES), "How to sign in at the smart hosts."),
            Param::new("AuthenticationCredential", Kind::Text, "The user name for that; the password goes with -Password."),
            Param::new("Password", Kind::Secret, "The password for that; - reads it from standard input. It is kept in the folder secret, for the server alone."),
            Param::new("MaxMessageSize", Kind::Quota, "Larger messages are returned."),
            Param::new("SourceIPAddress", Kind::Text, "The address of ours to send from; $null lets the system choose."),
            Param::new("ProtocolLoggingLevel", Kind::Choice(ProtocolLogging::NAMES), "Verbose writes the SMTP send protocol log."),
            Param::new("ConnectionInactivityTimeOut", Kind::Span, "A peer that says nothing for so long is given up."),
            Param::new("SmtpMaxMessagesPerConnection", Kind::Int, "Messages over one connection; 0 is no limit."),
            Param::new("Enabled", Kind::Bool, "$false takes it out of routing."),
            Param::new("Comment", Kind::Text, "For people."),
            Param::new("SourceTransportServers", Kind::List, "Kept for scripts.").without_effect(NO_OTHERS),
            Param::new("Force", Kind::Switch, "Kept for scripts.").without_effect("nothing is asked"),
        ]
    };
}

const USAGE: &str = "it is for people; the address spaces decide";
const NEW: &[Param] = properties![
    Param::new("Name", Kind::Text, "Its name.").mandatory().at(0),
    SPACES.mandatory(),
    Param::new("Usage", Kind::Choice(&["Custom", "Internal", "Internet", "Partner"]), "Kept for scripts.")
        .without_effect(USAGE),
    Param::new("Internet", Kind::Switch, "Kept for scripts.").without_effect(USAGE),
    Param::new("Internal", Kind::Switch, "Kept for scripts.").without_effect(USAGE),
    Param::new("Partner", Kind::Switch, "Kept for scripts.").without_effect(USAGE),
    Param::new("Custom", Kind::Switch, "Kept for scripts.").without_effect(USAGE),
];
const SET: &[Param] = properties![Param::identity("Its name."), SPACES];
const COLUMNS: &[&str] = &["Identity", "AddressSpaces", "SmartHosts", "Enabled"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "SendConnector",
        about: "Shows the ways out for mail to other domains.",
        detail: "",
        params: &[Param::new("Identity", Kind::Text, "Its name; * stands for any text.").at(0)],
        columns: COLUMNS,
        examples: &[Example {
            line: "Get-SendConnector -FormatList",
            about: "All properties of all of them.",
        }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "SendConnector",
        about: "Makes a way out for mail to other domains.",
        detail: "It takes effect at once: mail that waits as Unreachable and fits goes by it. The most particular address \
                 space that fits decides, then the lowest cost.",
        params: NEW,
        columns: COLUMNS,
        examples: &[
            Example {
                line: "New-SendConnector -Name Internet -AddressSpaces '*'",
                about: "To everybody, by the MX of each domain.",
            },
            Example {
                line: "New-SendConnector -Name sink -AddressSpaces '*' -SmartHosts 127.0.0.1 -Port 2525",
                about: "All mail through one host.",
            },
            Example {
                line: "New-SendConnector relay -AddressSpaces '*' -SmartHosts relay.example.net:587 -TlsAuthLevel DomainValidation",
                about: "Through a provider, over TLS with its certificate checked.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "SendConnector",
        about: "Changes a way out.",
        detail: "It takes effect at once, for new connections.",
        params: SET,
        columns: &[],
        examples: &[
            Example {
                line: "Set-SendConnector sink -Port 2526",
                about: "What waits goes there at its next attempt.",
            },
            Example {
                line: "Set-SendConnector relay -SmartHostAuthMechanism BasicAuthRequireTLS -AuthenticationCredential us -Password -",
                about: "Its smart host wants a sign-in; the password is read from standard input.",
            },
            Example {
                line: "set-send-connector sink --add-address-spaces 'example.net;5'",
                about: "One more address space.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "SendConnector",
        about: "Removes a way out.",
        detail: "Mail that no other connector takes waits as Unreachable.",
        params: &[Param::identity("Its name.")],
        columns: &[],
        examples: &[Example {
            line: "Remove-SendConnector sink -Confirm:$false",
            about: "Without being asked.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn record(settings: &Settings, name: &str) -> Record {
    let Some(connector) = settings.send_connectors.get(name) else { return Record::new() };
    let record = KIND.record(Record::new().with("Name", name), settings, name, SET);
    let hosts: Vec<String> = connector.smart_hosts.iter().map(ToString::to_string).collect();
    let record = record
        .with("SmartHostsString", hosts.join(","))
        .with("DNSRoutingEnabled", connector.smart_hosts.is_empty())
        .with("AuthenticationCredential", super::mailbox::text_or_null(some(&connector.authentication_user)))
        .with("IsSmtpConnector", true)
        .with("SourceTransportServers", vec![settings.server.id.clone()]);
    ending(record, name)
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    for name in KIND.chosen(call, &settings, KIND.names(&settings))? {
        call.record(record(&settings, &name)).await;
    }
    Ok(())
}

/// What the parameters mean that are no settings.
fn others(call: &Call<'_>, name: &str, edits: &mut Vec<Edit>) -> Outcome {
    let place = Place::named(KIND.section, name);
    let hosts = match call.value("SmartHosts") {
        Some(Value::List(hosts)) => !hosts.is_empty(),
        Some(Value::Edit { add, .. }) => !add.is_empty(),
        _ => false,
    };
    match call.flag("DNSRoutingEnabled") {
        Some(true) if hosts => {
            let text =
                "Either by MX (-DNSRoutingEnabled $true) or through -SmartHosts: only one of the two can be.";
            return Err(Failure::invalid("DNSRoutingEnabled", text));
        }
        Some(true) => edits.push(Edit { key: place.key("smart_hosts"), value: None }),
        _ => {}
    }
    match call.value("AuthenticationCredential") {
        Some(Value::Text(user)) => edits.push(Edit::set(place.key("authentication_user"), user)),
        Some(_) => edits.push(Edit { key: place.key("authentication_user"), value: None }),
        None => {}
    }
    Ok(())
}

/// Before the settings, so that nobody signs in with a new name and the old password.
fn keep_password(call: &Call<'_>, name: &str) -> Outcome<bool> {
    let password = match call.value("Password") {
        Some(Value::Text(password)) => Some(password.as_str()),
        Some(_) => None,
        None => return Ok(false),
    };
    let data = &call.context.data;
    secret::set_connector_password(data, name, password).map_err(|e| {
        let text = format!("The password cannot be kept in {}: {e}.", data.join("secret").display());
        Failure::new(Category::WriteError, "Password", text)
    })?;
    Ok(true)
}

async fn new(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let settings = store.current();
    let name = KIND.fresh(call, &settings)?;
    let mut edits = KIND.edits(call, &settings, &name)?;
    others(call, &name, &mut edits)?;
    if call.flag("DNSRoutingEnabled") == Some(false) && call.value("SmartHosts").is_none() {
        return Err(Failure::invalid("SmartHosts", "Without routing by MX it needs -SmartHosts."));
    }
    no_empty_spaces(call)?;
    let planned = store.rehearse(&edits).map_err(super::property::refused)?;
    let signs_in = planned
        .send_connectors
        .get(&name)
        .is_some_and(|c| c.smart_host_auth_mechanism != SmartHostAuthMechanism::None);
    if signs_in && call.value("Password").is_none() {
        return Err(Failure::usage(
            "Password",
            "-SmartHostAuthMechanism needs -Password (- reads it from standard input).",
        ));
    }
    if !call.invocation.what_if {
        keep_password(call, &name)?;
    }
    apply(call, edits).await?;
    if !call.invocation.what_if {
        call.record(record(&store.current(), &name)).await;
    }
    Ok(())
}

fn no_empty_spaces(call: &Call<'_>) -> Outcome {
    match call.value("AddressSpaces") {
        Some(Value::Null) => Err(Failure::invalid(
            "AddressSpaces",
            "It needs an address space; -Enabled $false switches it off.",
        )),
        Some(Value::List(items)) if items.is_empty() => {
            Err(Failure::invalid("AddressSpaces", "It needs an address space; \"*\" is every domain."))
        }
        _ => Ok(()),
    }
}

async fn set(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let settings = store.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    let mut edits = KIND.edits(call, &settings, &name)?;
    others(call, &name, &mut edits)?;
    no_empty_spaces(call)?;
    if edits.is_empty() && call.value("Password").is_some() {
        if !call.only_said(|| format!("Changing the password of {name:?}.")).await {
            keep_password(call, &name)?;
            store.announce();
        }
        return Ok(());
    }
    store.rehearse(&edits).map_err(super::property::refused)?;
    let new_password = !call.invocation.what_if && keep_password(call, &name)?;
    apply(call, edits).await?;
    if new_password {
        // Also where no setting has changed.
        store.announce();
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    KIND.remove(call, &name).await?;
    if !call.invocation.what_if
        && let Err(e) = secret::set_connector_password(&call.context.data, &name, None)
    {
        call.warn(format!("The password of {name:?} is still in the folder secret: {e}.")).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SendConnector;

    /// A parameter that names no setting would be refused only when somebody uses it.
    #[test]
    fn every_property_is_a_setting() {
        let mut settings = Settings::default();
        settings.send_connectors.insert("x".into(), SendConnector::default());
        let shown = KIND.record(Record::new(), &settings, "x", SET);
        for param in SET.iter().filter(|p| !KIND.others.contains(&p.name) && p.name != "Identity") {
            assert!(shown.cell(param.name).is_some(), "{}", param.name);
        }
        assert_eq!(
            shown.cell("MaxMessageSize").map(crate::output::Cell::shown).as_deref(),
            Some("Unlimited")
        );
        let fields = Settings::named_fields().iter().filter(|f| f.section == KIND.section).count();
        // `authentication_user` is -AuthenticationCredential.
        assert_eq!(shown.0.len() + 1, fields);
    }
}
