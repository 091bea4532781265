//! New-, Get-, Set- and Remove-MailFilter: programs that look at messages while they come in (milters).

use super::named::{Collection, ending};
use super::property::apply;
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Edit, FilterAddress, FilterFailure, FilterScope, Kind as _, Place, Settings};

const KIND: Collection = Collection { section: "mail_filters", what: "mail filter", others: &["Address"] };

macro_rules! properties {
    ($($first:expr),* $(,)?) => {
        &[
            $($first,)*
            Param::new("Timeout", Kind::Span, "How long it may take for one answer."),
            Param::new("FailureAction", Kind::Choice(FilterFailure::NAMES), "What becomes of mail while it does not answer: Accept, TempFail (put off) or Reject."),
            Param::new("Scope", Kind::Choice(FilterScope::NAMES), "Inbound is what strangers bring, Outbound what our users submit."),
            Param::new("Order", Kind::Int, "Filters are asked one after the other, the lowest first. 50 if not given."),
            Param::new("Enabled", Kind::Bool, "$false: it is not asked."),
            Param::new("Comment", Kind::Text, "For people."),
        ]
    };
}

const ADDRESS: Param =
    Param::new("Address", Kind::Text, "Where it listens: inet:host@port or unix:/path.").at(1);
const NEW: &[Param] =
    properties![Param::new("Name", Kind::Text, "Its name.").mandatory().at(0), ADDRESS.mandatory()];
const SET: &[Param] = properties![Param::identity("Its name."), ADDRESS];
const COLUMNS: &[&str] = &["Name", "Address", "Order", "FailureAction", "Enabled"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "MailFilter",
        about: "Shows the mail filters (milters) that look at incoming messages.",
        detail: "",
        params: &[Param::new("Identity", Kind::Text, "Its name; * stands for any text.").at(0)],
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "MailFilter",
        about: "Lets a mail filter (milter) look at incoming messages: rspamd, clamav-milter, opendkim.",
        detail: "It may refuse a message, put it off, change it, or have it put into Junk. It takes effect at once, for new \
                 connections.",
        params: NEW,
        columns: COLUMNS,
        examples: &[
            Example {
                line: "New-MailFilter rspamd inet:127.0.0.1@11332",
                about: "rspamd's proxy worker in milter mode.",
            },
            Example {
                line: "New-MailFilter clamav unix:/run/clamav/clamav-milter.ctl -Order 10 -FailureAction Accept",
                about: "Asked first; mail goes on while it is down.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "MailFilter",
        about: "Changes a mail filter.",
        detail: "",
        params: SET,
        columns: &[],
        examples: &[Example { line: "Set-MailFilter rspamd -Enabled false", about: "Not asked for now." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "MailFilter",
        about: "Removes a mail filter.",
        detail: "",
        params: &[Param::identity("Its name.")],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn record(settings: &Settings, name: &str) -> Record {
    let Some(filter) = settings.mail_filters.get(name) else { return Record::new() };
    let record = Record::new().with("Name", name).with("Address", filter.address.to_string());
    ending(KIND.record(record, settings, name, SET), name)
}

fn address(call: &Call<'_>, name: &str, edits: &mut Vec<Edit>) -> Outcome {
    if let Some(text) = call.text("Address") {
        let address = FilterAddress::parse(text).ok_or_else(|| {
            Failure::invalid("Address", format!("{text:?} is not {}.", FilterAddress::WHAT))
        })?;
        edits.push(Edit::set(Place::named(KIND.section, name).key("address"), &address));
    }
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let mut names = KIND.chosen(call, &settings, KIND.names(&settings))?;
    names.sort_by_key(|name| settings.mail_filters.get(name).map(|f| f.order));
    for name in names {
        call.record(record(&settings, &name)).await;
    }
    Ok(())
}

async fn new(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let settings = store.current();
    let name = KIND.fresh(call, &settings)?;
    let mut edits = KIND.edits(call, &settings, &name)?;
    address(call, &name, &mut edits)?;
    apply(call, edits).await?;
    if !call.invocation.what_if {
        call.record(record(&store.current(), &name)).await;
    }
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    let mut edits = KIND.edits(call, &settings, &name)?;
    address(call, &name, &mut edits)?;
    apply(call, edits).await
}

async fn remove(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    KIND.remove(call, &name).await
}
