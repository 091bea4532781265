//! The machine: systeminfo, icacls, appcmd, wmic.

use super::{at, text_of};
use crate::fact::server_name;
use crate::read::objects::{Object, emit};
use crate::read::{Doc, scan};
use crate::sink::Sink;
use regex::Regex;
use std::sync::LazyLock;

/// `systeminfo`: the name of the machine and what it is.
pub fn systeminfo(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let head = |line: usize, names: &[&str]| {
        doc.free(line).is_some_and(|l| names.iter().any(|n| scan::starts(l, n)))
    };
    let begin = (0..doc.lines.len()).find(|line| {
        head(*line, &["Host Name:", "Hostname:", "Nom de l"])
            && head(line + 1, &["OS Name:", "Betriebssystemname:", "Nom du syst"])
    });
    let Some(begin) = begin else { return };
    let mut object = Object::new(at(doc, begin));
    let mut end = begin;
    while let Some(text) = doc.free(end).filter(|t| !t.trim().is_empty() && end < begin + 200) {
        if let Some((name, value)) = scan::pair(text).filter(|_| scan::indent(text) == 0) {
            if end == begin {
                sink.set_server(server_name(value));
            }
            object.put(name, value);
        }
        end += 1;
    }
    object.dotnet = None;
    object.text = text_of(doc, begin..end);
    let mut fact = crate::fact::Fact::new("object", object.at).with("type", "SystemInfo").text(&object.text);
    for (name, value) in &object.properties {
        fact.put(name.clone(), value);
    }
    sink.fact(fact);
    sink.understood("systeminfo", 1);
    doc.claim(begin..end);
}

static RIGHT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"([^\s:][^:\r\n]*?):((?:\([A-Za-z,]+\))+)\s*$").ok());

/// `icacls`: who may read a file; of the keys of the machine above all.
pub fn icacls(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let Some(form) = RIGHT.as_ref() else { return };
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line).filter(|t| t.trim_end().ends_with(')') && t.contains(":(")) else {
            line += 1;
            continue;
        };
        // A path with blanks in it ends where its last backslash's name does.
        let (path, _) = split_path(text);
        if path.is_empty() {
            line += 1;
            continue;
        }
        let begin = line;
        let mut rights = String::new();
        while let Some(text) = doc.free(line).filter(|t| line == begin || scan::indent(t) > 0) {
            let entry = if line == begin { split_path(text).1 } else { text.trim() };
            let Some(parts) = form.captures(entry) else { break };
            let part = |n: usize| parts.get(n).map_or("", |m| m.as_str());
            scan::add(&mut rights, &format!("{}:{}", part(1), part(2)), ", ");
            line += 1;
        }
        if rights.is_empty() {
            line = begin + 1;
            continue;
        }
        let fact = crate::fact::Fact::new("object", at(doc, begin))
            .with("type", "Acl")
            .with("path", path)
            .with("accesstostring", &rights);
        let fact = fact.with("accessrules", format!("{{{rights}}}"));
        sink.fact(fact.text(&text_of(doc, begin..line)));
        doc.claim(begin..line);
        found += 1;
    }
    sink.understood("access rights (icacls)", found);
}

fn split_path(line: &str) -> (&str, &str) {
    let marks = [
        "NT AUTHORITY",
        "NT-AUTORITÄT",
        "BUILTIN",
        "VORDEFINIERT",
        "Everyone",
        "Jeder",
        "S-1-",
        "AUTORITE NT",
        "NT SERVICE",
    ];
    let cut = marks.iter().filter_map(|mark| line.find(mark)).min();
    let drive =
        matches!(line.trim_start().as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic());
    match cut {
        Some(cut) if drive => {
            (line.get(..cut).unwrap_or_default().trim(), line.get(cut..).unwrap_or_default().trim())
        }
        _ if drive => line.trim().split_once(' ').map_or(("", ""), |(path, rest)| (path, rest.trim())),
        _ => ("", ""),
    }
}

static LISTED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^\s*(SITE|APPPOOL|APP|VDIR) "([^"]+)" \((.*)\)\s*$"#).ok());

/// Sites and pools, as `appcmd list` prints them.
pub fn appcmd(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let Some(form) = LISTED.as_ref() else { return };
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line).filter(|t| t.contains("\" (")) else { continue };
        let Some(parts) = form.captures(text) else { continue };
        let part = |n: usize| parts.get(n).map_or("", |m| m.as_str());
        let (what, name, inner) = (part(1), part(2), part(3));
        let state = inner.rsplit("state:").next().filter(|_| inner.contains("state:")).unwrap_or_default();
        let kind = match what {
            "SITE" => "WebSite",
            "APPPOOL" => "AppPool",
            _ => "WebApplication",
        };
        let fact = |kind: &'static str| {
            crate::fact::Fact::new("object", at(doc, line))
                .with("type", kind)
                .with("name", name)
                .text(text.trim())
        };
        sink.fact(fact(kind).with("state", state).with("settings", inner));
        let bindings = inner
            .split_once("bindings:")
            .map_or("", |(_, rest)| rest.split(",state:").next().unwrap_or(rest));
        for binding in bindings.split(',').filter(|b| !b.is_empty()) {
            let (protocol, information) = binding.split_once('/').unwrap_or(("", binding));
            sink.fact(
                fact("WebBinding")
                    .with("site", name)
                    .with("protocol", protocol)
                    .with("bindinginformation", information),
            );
        }
        doc.claim(line..line + 1);
        found += 1;
    }
    sink.understood("sites and pools (appcmd)", found);
}

/// Columns by which wmic's tables are known.
const WMIC: [&str; 24] = [
    "Caption",
    "DeviceID",
    "FreeSpace",
    "Size",
    "Name",
    "StartName",
    "StartMode",
    "State",
    "Status",
    "Capacity",
    "DriveLetter",
    "Node",
    "VolumeName",
    "DisplayName",
    "PathName",
    "ProcessId",
    "HotFixID",
    "InstalledOn",
    "Description",
    "Version",
    "FileSystem",
    "Started",
    "InstalledBy",
    "DriveType",
];

/// Tables of wmic, which have no dashes, and its lists of `Name=value`.
pub fn wmic(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if is_head(text) && !doc.free(line + 1).is_some_and(|l| l.contains("--")) {
            line = wmic_table(doc, line, sink);
            found += 1;
        } else if assigned(text).is_some() && doc.free(line + 1).is_some_and(|l| assigned(l).is_some()) {
            line = wmic_list(doc, line, sink);
            found += 1;
        } else {
            line += 1;
        }
    }
    sink.understood("wmic listings", found);
}

/// Whether a line is the names of columns.
fn is_head(line: &str) -> bool {
    let mut words = line.split_whitespace();
    line.contains("  ") && words.clone().count() >= 2 && words.all(|w| WMIC.contains(&w))
}

fn assigned(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().split_once('=')?;
    WMIC.contains(&name).then_some((name, value))
}

fn kind_of(object: &Object) -> Option<String> {
    let kind = if object.has("freespace") {
        "Win32_LogicalDisk"
    } else if object.has("startname") || object.has("startmode") {
        "Win32_Service"
    } else {
        return None;
    };
    Some(format!("System.Management.ManagementObject#root\\cimv2\\{kind}"))
}

fn wmic_list(doc: &mut Doc<'_>, from: usize, sink: &mut Sink<'_>) -> usize {
    let mut object = Object::new(at(doc, from));
    let mut end = from;
    while let Some((name, value)) = doc.free(end).and_then(assigned) {
        if object.has(&name.to_lowercase()) {
            break;
        }
        object.put(name, value);
        end += 1;
    }
    object.text = text_of(doc, from..end);
    object.dotnet = kind_of(&object);
    emit::emit(&object, None, sink);
    doc.claim(from..end);
    end
}

fn wmic_table(doc: &mut Doc<'_>, from: usize, sink: &mut Sink<'_>) -> usize {
    let head = doc.free(from).unwrap_or_default();
    let mut columns: Vec<(usize, &str)> = Vec::new();
    let mut at_byte = 0;
    for word in head.split_whitespace() {
        let begin = head.get(at_byte..).and_then(|r| r.find(word)).map_or(at_byte, |n| n + at_byte);
        columns.push((head.get(..begin).map_or(0, |h| h.chars().count()), word));
        at_byte = begin + word.len();
    }
    let mut end = from + 1;
    while let Some(text) = doc.free(end).filter(|_| end < from + 2000) {
        if text.trim().is_empty() {
            // Its lines end twice.
            if doc.free(end + 1).is_none_or(|l| l.trim().is_empty() || is_head(l)) {
                break;
            }
            end += 1;
            continue;
        }
        let letters: Vec<char> = text.chars().take(4096).collect();
        let aligned = columns
            .iter()
            .all(|(begin, _)| *begin == 0 || letters.get(begin - 1).is_none_or(|c| c.is_whitespace()));
        if !aligned {
            break;
        }
        let mut object = Object::new(at(doc, end));
        for (index, (begin, name)) in columns.iter().enumerate() {
            let stop = columns.get(index + 1).map_or(letters.len(), |(next, _)| *next).min(letters.len());
            let cell: String = letters.get((*begin).min(stop)..stop).unwrap_or_default().iter().collect();
            object.put(name, cell.trim());
        }
        object.text = text.trim_end().to_owned();
        object.dotnet = kind_of(&object);
        emit::emit(&object, None, sink);
        end += 1;
    }
    doc.claim(from..end);
    end
}
