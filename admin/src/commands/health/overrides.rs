//! Add-, Get- and Remove-ServerMonitoringOverride: monitors that are switched off. They are a setting, so that they have a
//! history and are taken over at once.

use super::SERVER;
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::commands::property::{apply, right_server};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Edit, parse_override};
use waypost_health::ProbeId;

const COLUMNS: &[&str] = &["Identity", "PropertyName", "PropertyValue", "ExpirationTime"];
const ITEM_TYPES: &[&str] = &["Probe", "Monitor", "Responder", "Maintenance"];
const ITEM_TYPE: Param = Param::new("ItemType", Kind::Choice(ITEM_TYPES), "What it is about.")
    .without_effect("a probe, its monitor and its responder are switched off together");
const PROPERTY: Param = Param::new("PropertyName", Kind::Choice(&["Enabled"]), "Enabled.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Add",
        noun: "ServerMonitoringOverride",
        about: "Switches monitors off, for a time or until they are switched on again.",
        detail: "They show as Disabled and alert nobody. Without -Server it holds for all servers.",
        params: &[
            Param::identity("SET\\PROBE or SET\\PROBE\\TARGET."),
            SERVER,
            ITEM_TYPE,
            PROPERTY,
            Param::new("PropertyValue", Kind::Text, "0 switches it off."),
            Param::new("Duration", Kind::Span, "For how long; without it until it is removed."),
            Param::new("ApplyVersion", Kind::Text, "For this version only.")
                .without_effect("it holds for every version"),
        ],
        columns: COLUMNS,
        examples: &[Example {
            line: "Add-ServerMonitoringOverride 'POP\\PopCTPProbe' -PropertyName Enabled -PropertyValue 0 -Duration 8h",
            about: "While POP3 is being rebuilt.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(add(call)),
    },
    Command {
        verb: "Get",
        noun: "ServerMonitoringOverride",
        about: "Shows which monitors are switched off.",
        detail: "",
        params: &[SERVER],
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Remove",
        noun: "ServerMonitoringOverride",
        about: "Switches monitors on again.",
        detail: "",
        params: &[Param::identity("As Get-ServerMonitoringOverride shows it."), SERVER, ITEM_TYPE, PROPERTY],
        columns: COLUMNS,
        examples: &[Example {
            line: "Remove-ServerMonitoringOverride 'POP\\PopCTPProbe'",
            about: "It is watched again.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(remove(call)),
    },
];

fn asked(call: &Call<'_>) -> Outcome<ProbeId> {
    let text = call.required("Identity")?;
    ProbeId::parse(text).ok_or_else(|| {
        Failure::invalid("Identity", format!("{text:?} is not SET\\PROBE or SET\\PROBE\\TARGET."))
    })
}

async fn add(call: &Call<'_>) -> Outcome {
    let probe = asked(call)?;
    if let Some(value) = call
        .text("PropertyValue")
        .filter(|v| !matches!(v.to_ascii_lowercase().as_str(), "0" | "false" | "$false"))
    {
        return Err(Failure::invalid(
            "PropertyValue",
            format!("{value:?}: only Enabled = 0 is an override here."),
        ));
    }
    let settings = call.world()?.settings.current();
    right_server(call, &settings)?;
    let mut all = without(&settings.health.overrides, &probe);
    let now = call.context.clock.now();
    // Those that are over have served.
    all.retain(|text| parse_override(text).is_some_and(|(_, until)| until.is_none_or(|at| at > now)));
    let until =
        call.span("Duration").map(|millis| now.plus_millis(i64::try_from(millis).unwrap_or(i64::MAX)));
    all.push(until.map_or_else(|| probe.to_string(), |at| format!("{probe} until {at}")));
    apply(call, vec![Edit::set("health.overrides", &all)]).await
}

fn without(all: &[String], probe: &ProbeId) -> Vec<String> {
    let same = |text: &String| {
        parse_override(text)
            .is_some_and(|(known, _)| known.to_string().eq_ignore_ascii_case(&probe.to_string()))
    };
    all.iter().filter(|text| !same(text)).cloned().collect()
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    for (probe, until) in settings.health.overrides.iter().filter_map(|text| parse_override(text)) {
        let record = Record::new()
            .with("Identity", probe.to_string())
            .with("ItemType", "Monitor")
            .with("PropertyName", "Enabled")
            .with("PropertyValue", "0")
            .with("HealthSetName", probe.set.as_str())
            .with("MonitoringItemName", probe.monitor())
            .with("TargetResource", probe.target.as_str())
            .with("ExpirationTime", until)
            .with("Expired", until.is_some_and(|at| at <= call.context.clock.now()));
        call.record(record).await;
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let probe = asked(call)?;
    let settings = call.world()?.settings.current();
    right_server(call, &settings)?;
    let left = without(&settings.health.overrides, &probe);
    if left.len() == settings.health.overrides.len() {
        return Err(Failure::not_found("override", &probe));
    }
    apply(call, vec![Edit::set("health.overrides", &left)]).await
}
