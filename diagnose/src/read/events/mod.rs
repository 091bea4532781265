//! Windows events in every form: the binary log, exported XML and CSV, what the Event Viewer copies, what people write.

pub mod evtx;
mod fields;
mod prose;
mod raw;
pub mod text;
pub mod xml;

pub use raw::Raw;

use crate::read::Doc;
use crate::read::objects::Object;
use crate::sink::Sink;
use crate::words;
use std::sync::Arc;

pub use prose::read as read_prose;

/// Rows of event 2080 that were pasted without it.
fn topology_rows(doc: &Doc<'_>, sink: &mut Sink<'_>) {
    for line in 0..doc.lines.len() {
        let row = doc
            .free(line)
            .filter(|text| text.len() < 400)
            .and_then(|text| Some((text, fields::topology_row(text)?)));
        if let Some((text, mut row)) = row {
            row.at = doc.place(line);
            sink.fact(row.text(text.trim()));
        }
    }
}

/// Whether a line is a row of event 2080.
fn fields_row(line: &str) -> bool {
    fields::topology_row(line).is_some()
}

/// An event that a cmdlet printed as an object; false: it is none after all.
pub fn from_object(object: &Object, server: Option<Arc<str>>, sink: &mut Sink<'_>) -> bool {
    const IDS: [&str; 8] = [
        "eventid",
        "id",
        "ereignisid",
        "iddelévénement",
        "iddévénement",
        "eventcode",
        "instanceid",
        "idevento",
    ];
    let Some(id) =
        object.first_of(&IDS).and_then(words::number).filter(|n| *n >= 0.0 && *n < 4_294_967_296.0)
    else {
        return false;
    };
    let text = |names: &[&str]| object.first_of(names).unwrap_or_default().to_owned();
    let mut raw = Raw {
        at: object.at,
        id: id as u32 & 0xffff,
        source: text(&["providername", "source", "quelle", "sourcename", "origen", "origine"]),
        level: text(&[
            "leveldisplayname",
            "entrytype",
            "level",
            "ebene",
            "niveau",
            "type",
            "nivel",
            "livello",
        ]),
        log: text(&["logname", "log", "logfile", "protokollname", "containerlog"]),
        task: text(&["taskdisplayname", "taskcategory", "category", "aufgabenkategorie", "task"]),
        computer: text(&["machinename", "computer", "computername"]),
        message: text(&["message", "description", "meldung", "beschreibung"]),
        time: object
            .first_of(&[
                "timecreated",
                "timegenerated",
                "dateandtime",
                "datumunduhrzeit",
                "dateetheure",
                "time",
                "timewritten",
                "date",
            ])
            .and_then(crate::read::when::parse),
        whole_log: true,
        ..Raw::default()
    };
    if raw.source.is_empty() && raw.message.is_empty() && raw.log.is_empty() {
        return false;
    }
    let strings = text(&["replacementstrings", "properties", "insertionstrings"]);
    if !strings.contains("System.") && !strings.contains("...") && !strings.is_empty() {
        raw.unnamed = words::items(&strings).take(32).map(str::to_owned).collect();
    }
    raw.server = server;
    raw.give(sink);
    true
}
