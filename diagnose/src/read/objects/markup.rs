//! Objects in other XML and in HTML: resource meters as Get-ExchangeDiagnosticInfo gives them, what ConvertTo-Xml and
//! ConvertTo-Html write.

use super::command::Command;
use super::emit::{self, Object};
use crate::fact::{Fact, Place};
use crate::read::scan;
use crate::read::tree::{self, LineCount, Node};
use crate::sink::Sink;

/// Reads what is known from a text, the first line of which has this number; how much was found and where it ended.
pub fn read_at(
    text: &str,
    first: u32,
    command: Option<&Command>,
    sink: &mut Sink<'_>,
) -> (u64, Option<usize>) {
    let mut lines = LineCount::new(text, first);
    let mut found = 0;
    let wanted = |name: &str| matches!(name, "ResourceMeter" | "Object" | "table" | "TABLE");
    let walked = tree::walk(text, wanted, |node, at| {
        let at = Place { file: sink.file, line: lines.of(at) };
        found += match node.name.as_str() {
            "ResourceMeter" => meter(&node, at, sink),
            "Object" => u64::from(object(&node, at, command, sink)),
            _ => html(&node, at, command, sink),
        };
    });
    sink.understood("XML and HTML objects", found);
    (found, walked.broken)
}

fn meter(node: &Node, at: Place, sink: &mut Sink<'_>) -> u64 {
    let mut fact = Fact::new("object", at).with("type", "ResourceMeter");
    let attributes = node.attributes.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let children = node.children.iter().map(|c| (c.name.as_str(), c.text.as_str()));
    for (name, value) in attributes.chain(children) {
        if !name.eq_ignore_ascii_case("type") {
            fact.put(name.to_owned(), value);
        }
    }
    let Some(resource) = fact.get("resource").map(str::to_owned) else { return 0 };
    // `UsedDiskSpace[C:\Queue]`: the meter and what it measures.
    if let Some((kind, place)) = resource.split_once('[') {
        fact.put("meter", kind);
        fact.put("place", place.trim_end_matches(']'));
    } else {
        fact.put("meter", &resource);
    }
    let text = format!(
        "ResourceMeter {resource} CurrentResourceUse={} Pressure={}",
        fact.get("currentresourceuse").unwrap_or("?"),
        fact.get("pressure").unwrap_or("?")
    );
    sink.fact(fact.text(&text));
    1
}

/// `<Object Type="…"><Property Name="…">…</Property></Object>`.
fn object(node: &Node, at: Place, command: Option<&Command>, sink: &mut Sink<'_>) -> bool {
    let mut object = Object::new(at);
    object.dotnet = node.attribute("Type").map(str::to_owned);
    for property in node.children.iter().filter(|c| c.name == "Property") {
        let Some(name) = property.attribute("Name") else { continue };
        let items: Vec<&str> = property.children.iter().map(|c| c.text.trim()).collect();
        match items.is_empty() {
            true => object.put(name, property.text.trim()),
            false => object.put(name, format!("{{{}}}", items.join(", "))),
        }
    }
    finish(object, command, sink)
}

/// The rows of an HTML table with a header, or its pairs where it is a list.
fn html(node: &Node, at: Place, command: Option<&Command>, sink: &mut Sink<'_>) -> u64 {
    let mut rows: Vec<Vec<(bool, String)>> = Vec::new();
    collect(node, &mut rows, 0);
    let headings: Vec<String> = match rows.first() {
        Some(row) if row.iter().all(|(heading, _)| *heading) => {
            row.iter().map(|(_, text)| text.clone()).collect()
        }
        _ => Vec::new(),
    };
    if headings.len() >= 2 {
        let mut found = 0;
        for row in rows.iter().skip(1) {
            let mut object = Object::new(at);
            for (name, (_, value)) in headings.iter().zip(row) {
                object.put(name, value.clone());
            }
            found += u64::from(finish(object, command, sink));
        }
        return found;
    }
    let mut object = Object::new(at);
    for row in &rows {
        if let [(_, name), (_, value)] = row.as_slice()
            && scan::is_name(name.trim_end_matches(':'))
        {
            object.put(name.trim_end_matches(':'), value.clone());
        }
    }
    u64::from(object.properties.len() >= 2 && finish(object, command, sink))
}

fn collect(node: &Node, rows: &mut Vec<Vec<(bool, String)>>, depth: usize) {
    if depth > 48 || rows.len() > 20_000 {
        return;
    }
    for child in &node.children {
        match child.name.to_ascii_lowercase().as_str() {
            "tr" => {
                rows.push(Vec::new());
                collect(child, rows, depth + 1);
            }
            "td" | "th" => {
                let cell = (child.name.eq_ignore_ascii_case("th"), text_of(child, 0).trim().to_owned());
                if let Some(row) = rows.last_mut() {
                    row.push(cell);
                }
                // Ends that were left out put the next cell inside this one.
                collect(child, rows, depth + 1);
            }
            _ => collect(child, rows, depth + 1),
        }
    }
}

fn text_of(node: &Node, depth: usize) -> String {
    let mut text = node.text.clone();
    for child in
        node.children.iter().filter(|c| !matches!(c.name.to_ascii_lowercase().as_str(), "td" | "th" | "tr"))
    {
        if depth < 16 {
            scan::add(&mut text, &text_of(child, depth + 1), " ");
        }
    }
    text
}

fn finish(mut object: Object, command: Option<&Command>, sink: &mut Sink<'_>) -> bool {
    if object.properties.is_empty() {
        return false;
    }
    let text: Vec<String> = object.properties.iter().map(|(n, v)| format!("{n} : {v}")).collect();
    object.text = scan::join(text.iter().map(String::as_str));
    emit::emit(&object, command, sink);
    true
}
