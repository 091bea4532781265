//! Services: `sc query`, `sc qc`, `tasklist /svc`.

use super::{at, has_any, text_of};
use crate::read::objects::Object;
use crate::read::objects::emit;
use crate::read::{Doc, scan};
use crate::sink::Sink;

/// What sc prints of a service.
pub fn sc(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let name =
            doc.free(line).and_then(|text| scan::after(text, "SERVICE_NAME:")).map(|n| n.trim().to_owned());
        let Some(name) = name else {
            line += 1;
            continue;
        };
        let mut object = Object::new(at(doc, line));
        object.dotnet = Some("System.ServiceProcess.ServiceController".to_owned());
        object.put("Name", name);
        let mut end = line + 1;
        while let Some((label, value)) = doc.free(end).filter(|_| end < line + 24).and_then(scan::pair) {
            let word = value.split_whitespace().nth(1).unwrap_or(value);
            match label {
                "SERVICE_NAME" => break,
                "DISPLAY_NAME" => object.put("DisplayName", value),
                "STATE" => object.put("Status", state(word)),
                "START_TYPE" => object.put("StartType", start(word)),
                "SERVICE_START_NAME" => object.put("Account", value),
                "WIN32_EXIT_CODE" => {
                    object.put("ExitCode", value.split_whitespace().next().unwrap_or_default())
                }
                "PID" => object.put("ProcessId", value),
                "DEPENDENCIES" => object.put("Dependencies", value),
                "BINARY_PATH_NAME" => object.put("PathName", value),
                _ => {}
            }
            end += 1;
            while doc
                .free(end)
                .is_some_and(|l| l.trim_start().starts_with('(') || l.trim_start().starts_with(": "))
            {
                end += 1;
            }
        }
        object.text = text_of(doc, line..end);
        emit::emit(&object, None, sink);
        doc.claim(line..end);
        found += 1;
        line = end;
    }
    sink.understood("services (sc)", found);
}

fn state(word: &str) -> &str {
    match word {
        "RUNNING" => "Running",
        "STOPPED" => "Stopped",
        "START_PENDING" => "StartPending",
        "STOP_PENDING" => "StopPending",
        "PAUSED" => "Paused",
        other => other,
    }
}

fn start(word: &str) -> &str {
    match word {
        "AUTO_START" => "Automatic",
        "DEMAND_START" => "Manual",
        "DISABLED" => "Disabled",
        other => other,
    }
}

/// `tasklist /svc`: images, their process and the services in it.
pub fn tasklist(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let heads = doc
            .free(line)
            .is_some_and(|t| has_any(t, &["Image Name", "Abbildname", "Nom de l"]) && has_any(t, &["PID"]));
        let ruled = doc.free(line + 1).is_some_and(|t| t.trim_start().starts_with("====="));
        if !heads || !ruled {
            continue;
        }
        let mut row = line + 2;
        while let Some(text) = doc.free(row).filter(|t| !t.trim().is_empty()) {
            let parts: Vec<&str> = text.split_whitespace().collect();
            if let Some(pid) =
                parts.iter().position(|p| p.chars().all(|c| c.is_ascii_digit())).filter(|p| *p > 0)
            {
                let mut object = Object::new(at(doc, row));
                object.put("Image", parts.get(..pid).unwrap_or_default().join(" "));
                object.put("ProcessId", parts.get(pid).copied().unwrap_or_default());
                object.put("Services", parts.get(pid + 1..).unwrap_or_default().join(" "));
                object.text = text.trim().to_owned();
                emit::emit(&object, None, sink);
                found += 1;
            }
            row += 1;
        }
        doc.claim(line..row);
    }
    sink.understood("processes (tasklist)", found);
}
