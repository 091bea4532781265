//! What New-, Get-, Set- and Remove- have in common for sections with names: connectors and mail filters.

use super::property::{apply, cell, changes, current, snake};
use crate::catalogue::Param;
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Edit, Place, Settings, document::sound_name};

/// A collection of the settings as commands know it.
#[derive(Clone, Copy)]
pub(super) struct Collection {
    /// `send_connectors`
    pub section: &'static str,
    /// `Send connector`, for messages.
    pub what: &'static str,
    /// Parameters that are no settings of the same name.
    pub others: &'static [&'static str],
}

impl Collection {
    /// The names that stand in the settings.
    pub(super) fn names(&self, settings: &Settings) -> Vec<String> {
        match self.section {
            "send_connectors" => settings.send_connectors.keys().cloned().collect(),
            "directory_sources" => settings.directory_sources.keys().cloned().collect(),
            "receive_connectors" => settings.receive_connectors.keys().cloned().collect(),
            _ => settings.mail_filters.keys().cloned().collect(),
        }
    }

    fn key(&self, name: &str, property: &str) -> Option<String> {
        let other = self.others.contains(&property) || property == "Name" || property == "Identity";
        (!other).then(|| Place::named(self.section, name).key(&snake(property)))
    }

    /// A name for something new.
    pub(super) fn fresh(&self, call: &Call<'_>, settings: &Settings) -> Outcome<String> {
        let name = call.required("Name")?;
        sound_name(name)
            .map_err(|text| Failure::invalid("Name", format!("{name:?}: a {} {text}.", self.what)))?;
        match self.names(settings).iter().find(|n| n.to_lowercase() == name.to_lowercase()) {
            Some(old) => {
                let text = format!("The {} {old:?} exists already.", self.what);
                Err(Failure::new(Category::ResourceExists, old, text))
            }
            None => Ok(name.to_owned()),
        }
    }

    /// What -Identity means, with the server's name before it or without.
    pub(super) fn found(&self, call: &Call<'_>, settings: &Settings, among: &[String]) -> Outcome<String> {
        let identity = call.required("Identity")?;
        let bare = bare(identity, settings);
        let same = |n: &&String| n.to_lowercase() == bare.to_lowercase();
        among.iter().find(same).cloned().ok_or_else(|| Failure::not_found(self.what, identity))
    }

    /// What -Identity chooses; all where it is not given.
    pub(super) fn chosen(
        &self,
        call: &Call<'_>,
        settings: &Settings,
        among: Vec<String>,
    ) -> Outcome<Vec<String>> {
        let Some(identity) = call.text("Identity") else { return Ok(among) };
        if !identity.contains('*') {
            return Ok(vec![self.found(call, settings, &among)?]);
        }
        let pattern = bare(identity, settings);
        Ok(among.into_iter().filter(|n| crate::output::wildcard(pattern, n)).collect())
    }

    /// The given parameters as changes of the section `name`.
    pub(super) fn edits(&self, call: &Call<'_>, settings: &Settings, name: &str) -> Outcome<Vec<Edit>> {
        changes(call, settings, |property| self.key(name, property))
    }

    /// The properties that are settings, by the parameters of Set-.
    pub(super) fn record(
        &self,
        mut record: Record,
        settings: &Settings,
        name: &str,
        params: &[Param],
    ) -> Record {
        for param in params {
            let key = self.key(name, param.name);
            if let Some(value) = key.and_then(|key| current(settings, &key)) {
                record = record.with(param.name, cell(param.kind, &value));
            }
        }
        record
    }

    /// Takes the section out.
    pub(super) async fn remove(&self, call: &Call<'_>, name: &str) -> Outcome {
        let key = Place::named(self.section, name).to_string();
        apply(call, vec![Edit { key, value: None }]).await
    }
}

/// Without the server's name: `server-1\sink` is `sink`.
fn bare<'a>(identity: &'a str, settings: &Settings) -> &'a str {
    match identity.split_once('\\') {
        Some((server, name)) if super::property::is_us(settings, server) => name,
        _ => identity,
    }
}

/// What every configuration object of Exchange's ends with.
pub(super) fn ending(record: Record, identity: &str) -> Record {
    record.with("Identity", identity).with("IsValid", true).with("ObjectState", "Unchanged")
}
