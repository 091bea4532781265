//! CLIXML, as Export-Clixml writes it: `Obj` with a type by `TN` or `TNRef`, properties in `Props` and `MS`, lists in `LST`,
//! references by `RefId`. Nested objects become text, one level after the other.

use super::command::Command;
use super::emit::{self, Object};
use super::{kind, rehydrate};
use crate::fact::Place;
use crate::read::scan;
use crate::read::tree::{self, LineCount, Node};
use crate::sink::Sink;
use std::collections::BTreeMap;

/// Types that are remembered by their number.
const TYPES_MAX: usize = 10_000;
/// How deep nested values are told.
const DEPTH_MAX: usize = 5;

/// Reads a whole file; false: it is not CLIXML.
pub fn read(text: &str, sink: &mut Sink<'_>) -> bool {
    let (found, broken) = read_at(text, 1, None, sink);
    if found > 0 && broken.is_some() {
        sink.trouble("the CLIXML in it ends in the middle or is damaged");
    }
    found > 0
}

/// CLIXML anywhere in a text, the first line of which has this number. How many objects, and where it is broken.
pub fn read_at(
    text: &str,
    first: u32,
    command: Option<&Command>,
    sink: &mut Sink<'_>,
) -> (u64, Option<usize>) {
    let head = crate::fact::cut(text, 4096);
    if !head.contains("<Objs") && !head.contains("<Obj ") {
        return (0, None);
    }
    let mut lines = LineCount::new(text, first);
    let mut types = Types::default();
    let mut found = 0;
    let walked = tree::walk(
        text,
        |name| name == "Obj",
        |node, at| {
            let at = Place { file: sink.file, line: lines.of(at) };
            types.learn(&node, 0);
            for object in objects(&node, at, &types) {
                found += 1;
                emit::emit(&object, command, sink);
            }
        },
    );
    sink.understood("CLIXML objects", found);
    (found, walked.broken)
}

/// Names of types, by the number that later objects refer to.
#[derive(Default)]
struct Types(BTreeMap<String, String>);

impl Types {
    fn learn(&mut self, node: &Node, depth: usize) {
        for names in node.children.iter().filter(|c| c.name == "TN") {
            let number = names.attribute("RefId").unwrap_or_default();
            let first = names.children.iter().find(|c| c.name == "T");
            if let Some(first) = first
                && self.0.len() < TYPES_MAX
            {
                self.0.entry(number.to_owned()).or_insert_with(|| first.text.trim().to_owned());
            }
        }
        if depth < 48 {
            for child in &node.children {
                self.learn(child, depth + 1);
            }
        }
    }

    fn of(&self, node: &Node) -> Option<String> {
        if let Some(names) = node.child("TN") {
            return names.child("T").map(|t| t.text.trim().to_owned());
        }
        self.0.get(node.child("TNRef")?.attribute("RefId")?).cloned()
    }
}

/// The objects of a node: itself, or the members of the list that it is.
fn objects(node: &Node, at: Place, types: &Types) -> Vec<Object> {
    let list = node.children.iter().find(|c| matches!(c.name.as_str(), "LST" | "IE" | "QUE" | "STK"));
    let properties: Vec<&Node> = properties(node).collect();
    if let Some(list) = list
        && properties.iter().all(|p| {
            matches!(
                p.attribute("N"),
                Some("Count" | "Length" | "Capacity" | "PSComputerName" | "RunspaceId")
            )
        })
    {
        return list
            .children
            .iter()
            .filter(|c| c.name == "Obj")
            .take(20_000)
            .flat_map(|member| objects(member, at, types))
            .collect();
    }
    let mut object = Object::new(at);
    object.dotnet = types.of(node);
    for property in properties {
        if let Some(name) = property.attribute("N") {
            let name = unescape(name);
            // What a remote session adds does not replace the object's own.
            if !object.has(&name.to_lowercase()) {
                object.put(&name, value(property, 0));
            }
        }
    }
    if let Some(dictionary) = node.child("DCT") {
        for entry in dictionary.children.iter().filter(|c| c.name == "En") {
            let part = |name: &str| entry.children.iter().find(|c| c.attribute("N") == Some(name));
            if let (Some(key), Some(held)) = (part("Key"), part("Value")) {
                object.put(&value(key, 0), value(held, 0));
            }
        }
    }
    if object.dotnet.as_deref().and_then(kind::of_dotnet).is_some_and(|k| k.ends_with("Certificate")) {
        rehydrate::certificate(node, &mut object);
    }
    if object.properties.is_empty() {
        return Vec::new();
    }
    let text: Vec<String> = object.properties.iter().map(|(n, v)| format!("{n} : {v}")).collect();
    object.text = scan::join(text.iter().map(String::as_str));
    let mut all = vec![object];
    inner(node, at, types, &mut all, 0);
    all
}

/// Objects that a report holds inside of its own ones, such as the certificates of a server: they stand for themselves too.
fn inner(node: &Node, at: Place, types: &Types, all: &mut Vec<Object>, depth: usize) {
    let own = all.first().and_then(|o| o.dotnet.clone());
    for child in &node.children {
        if depth > 40 || all.len() > 5_000 {
            return;
        }
        let kind = types.of(child).filter(|kind| child.name == "Obj" && Some(kind) != own.as_ref());
        let told = kind.as_deref().and_then(kind::of_dotnet);
        if told.is_some_and(|k| INNER.contains(&k.as_str())) && properties(child).next().is_some() {
            all.extend(objects(child, at, types));
        } else {
            inner(child, at, types, all, depth + 1);
        }
    }
}

/// Types that are worth it.
const INNER: [&str; 12] = [
    "ExchangeCertificate",
    "ServerComponentState",
    "ReceiveConnector",
    "SendConnector",
    "ExchangeServer",
    "TransportService",
    "FrontendTransportService",
    "ImapSettings",
    "PopSettings",
    "AcceptedDomain",
    "AuthConfig",
    "TestServiceHealth",
];

fn properties(node: &Node) -> impl Iterator<Item = &Node> {
    node.children.iter().filter(|c| matches!(c.name.as_str(), "Props" | "MS")).flat_map(|c| c.children.iter())
}

/// A value as the list form prints it.
fn value(node: &Node, depth: usize) -> String {
    match node.name.as_str() {
        "Nil" => String::new(),
        "B" => match node.text.trim() {
            "true" => "True".to_owned(),
            "false" => "False".to_owned(),
            other => other.to_owned(),
        },
        "TS" => span(node.text.trim()),
        "S" | "C" | "URI" | "XD" | "SBK" => unescape(&node.text),
        "BA" => "{bytes}".to_owned(),
        "Ref" => String::new(),
        "Obj" => nested(node, depth),
        _ => node.text.trim().to_owned(),
    }
}

fn nested(node: &Node, depth: usize) -> String {
    if depth >= DEPTH_MAX {
        return node.text_of("ToString").map(unescape).unwrap_or_else(|| "...".to_owned());
    }
    let list = node.children.iter().find(|c| matches!(c.name.as_str(), "LST" | "IE" | "QUE" | "STK"));
    if let Some(list) = list {
        let typed = |c: &Node| c.text_of("ToString").is_none_or(looks_like_a_type);
        let nested = list.children.iter().any(|c| c.name == "Obj" && typed(c));
        let items: Vec<String> = list.children.iter().take(256).map(|item| value(item, depth + 1)).collect();
        return format!("{{{}}}", items.join(if nested { " | " } else { ", " }));
    }
    let parts: Vec<String> = properties(node)
        .take(64)
        .filter_map(|p| Some(format!("{}={}", unescape(p.attribute("N")?), value(p, depth + 1))))
        .collect();
    // An enumeration, a size or a name has its text; an entry of a list of states is its properties.
    match node.text_of("ToString").map(unescape) {
        Some(text) if parts.is_empty() || !looks_like_a_type(&text) => text,
        Some(text) if parts.is_empty() => text,
        _ if parts.is_empty() => {
            let number = node.children.iter().find(|c| matches!(c.name.as_str(), "I32" | "I64" | "By"));
            number.map(|n| n.text.trim().to_owned()).unwrap_or_default()
        }
        _ => parts.join("; "),
    }
}

/// `Microsoft.Exchange.Data.Directory.ServerComponentStates+ItemEntry`: the text of what has none.
fn looks_like_a_type(text: &str) -> bool {
    text.starts_with("Microsoft.") || text.starts_with("System.") || text.starts_with("Deserialized.")
}

/// `PT30M` as `00:30:00`.
fn span(text: &str) -> String {
    let negative = text.starts_with('-');
    let Some(body) = text.trim_start_matches('-').strip_prefix('P') else { return text.to_owned() };
    let (mut days, mut hours, mut minutes, mut seconds) = (0_u64, 0_u64, 0_u64, 0.0_f64);
    let mut digits = String::new();
    for c in body.chars() {
        match c {
            '0'..='9' | '.' => digits.push(c),
            'T' => {}
            unit => {
                let whole = digits.parse::<f64>().unwrap_or_default();
                match unit {
                    'D' => days = whole as u64,
                    'H' => hours = whole as u64,
                    'M' => minutes = whole as u64,
                    'S' => seconds = whole,
                    _ => return text.to_owned(),
                }
                digits.clear();
            }
        }
    }
    let sign = if negative { "-" } else { "" };
    let day = if days > 0 { format!("{days}.") } else { String::new() };
    let part = seconds.fract();
    let tail =
        if part > 0.0 { format!("{:.7}", part).trim_start_matches('0').to_owned() } else { String::new() };
    format!("{sign}{day}{hours:02}:{minutes:02}:{:02}{tail}", seconds.trunc() as u64)
}

/// `_x000A_` stands for a character that XML does not carry.
fn unescape(text: &str) -> String {
    if !text.contains("_x") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let code = from.get(2..6).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        match code {
            Some(c) if from.get(6..7) == Some("_") => {
                out.push(c);
                rest = from.get(7..).unwrap_or_default();
            }
            _ => {
                out.push_str("_x");
                rest = from.get(2..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::phrases::Phrases;
    use proptest::prelude::*;
    use waypost_base::Timestamp;

    fn case_of(text: &str) -> Case {
        let phrases = Phrases::new([]);
        let mut case = Case::new(Timestamp(1_900_000_000_000));
        let file = case.file_named("a.xml");
        read(text, &mut Sink::new(file, &phrases, &mut case));
        case
    }

    const STATE: &str = r#"<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">
  <Obj RefId="0">
    <TN RefId="0"><T>Deserialized.Microsoft.Exchange.Data.Directory.ServerComponentStatePresentationObject</T><T>System.Object</T></TN>
    <ToString>MBX01</ToString>
    <Props>
      <S N="ServerFqdn">mbx01.corp.example</S>
      <S N="Component">ImapProxy</S>
      <Obj N="State" RefId="1"><TN RefId="1"><T>X</T></TN><ToString>Inactive</ToString><I32>0</I32></Obj>
      <Obj N="LocalStates" RefId="2"><TN RefId="2"><T>List</T></TN><LST>
        <Obj RefId="3"><Props><S N="Requester">HealthAPI</S><S N="State">Inactive</S><DT N="Timestamp">2026-03-03T09:04:11Z</DT><S N="Component">ImapProxy</S></Props></Obj>
        <Obj RefId="4"><Props><S N="Requester">Maintenance</S><S N="State">Active</S></Props></Obj>
      </LST></Obj>
      <TS N="Age">PT30M5.5S</TS>
      <B N="Offline">false</B>
    </Props>
  </Obj>
  <Obj RefId="5"><TNRef RefId="0" /><Props><S N="Component">PopProxy</S><S N="State">Active</S></Props></Obj>
</Objs>"#;

    #[test]
    fn objects_with_nested_ones() {
        let case = case_of(STATE);
        let states: Vec<_> = case.objects("ServerComponentState").collect();
        assert_eq!(states.len(), 2);
        assert!(states[0].is("state", "Inactive") && states[0].is("offline", "False"));
        assert_eq!(states[0].get("age"), Some("00:30:05.5000000"));
        assert_eq!(states[0].server.as_deref(), Some("MBX01"));
        assert_eq!(states[1].at.line, 17);
        let held: Vec<_> = case.objects("ComponentRequester").collect();
        assert_eq!(held.len(), 2);
        assert!(
            held[0].is("requester", "HealthAPI") && held[0].is("where", "local") && held[0].time.is_some()
        );
    }

    #[test]
    fn characters_and_spans() {
        assert_eq!(unescape("a_x000A_b_xyz"), "a\nb_xyz");
        assert_eq!(span("P1DT2H3M4S"), "1.02:03:04");
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0..1400_usize, more in "[<>/a-zA-Z \"=_x0-9]{0,30}") {
            let text = format!("{}{more}", crate::fact::cut(STATE, cut));
            let _ = case_of(&text);
        }
    }
}
