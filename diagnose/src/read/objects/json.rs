//! JSON, as ConvertTo-Json writes it: an object, an array of them, or one on each line. Nested objects become text.

use super::command::Command;
use super::emit::{self, Object, PROPERTIES_MAX};
use crate::fact::Place;
use crate::read::scan;
use crate::read::tree::LineCount;
use crate::sink::Sink;
use serde_json::{Map, Value};

/// Objects of one text that are taken.
const OBJECTS_MAX: u64 = 200_000;
/// How deep nested values are told.
const DEPTH_MAX: usize = 4;

/// Reads a whole file; false: it is not JSON of objects.
pub fn read(text: &str, sink: &mut Sink<'_>) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    let (found, rest) = read_at(text, 1, None, sink);
    if found > 0 && rest.is_some_and(|at| text.get(at..).is_some_and(|r| !r.trim().is_empty())) {
        sink.trouble("the JSON in it ends in the middle or is damaged");
    }
    found > 0
}

/// Values from the beginning of a text, the first line of which has this number. How many objects there were, and the byte
/// after the last whole value.
pub fn read_at(
    text: &str,
    first: u32,
    command: Option<&Command>,
    sink: &mut Sink<'_>,
) -> (u64, Option<usize>) {
    let mut lines = LineCount::new(text, first);
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut found = 0;
    let mut end = None;
    loop {
        let begin = stream.byte_offset();
        let Some(Ok(value)) = stream.next() else { break };
        if !matches!(value, Value::Object(_) | Value::Array(_)) {
            break;
        }
        let blanks = text.get(begin..).map_or(0, |rest| rest.len() - rest.trim_start().len());
        let at = Place { file: sink.file, line: lines.of(begin + blanks) };
        let before = found;
        give(&value, at, command, &mut found, sink);
        if found == before && end.is_none() && !matches!(&value, Value::Array(items) if items.is_empty()) {
            break;
        }
        end = Some(stream.byte_offset());
        if found >= OBJECTS_MAX {
            break;
        }
    }
    sink.understood("JSON objects", found);
    (found, end)
}

fn give(value: &Value, at: Place, command: Option<&Command>, found: &mut u64, sink: &mut Sink<'_>) {
    match value {
        Value::Array(items) => {
            for item in items {
                if *found >= OBJECTS_MAX {
                    return;
                }
                if matches!(item, Value::Object(_)) {
                    give(item, at, command, found, sink);
                }
            }
        }
        Value::Object(map) => {
            // `{"value": […], "Count": 2}` stands around arrays of some versions.
            if let (Some(Value::Array(items)), true) = (map.get("value"), map.len() <= 2)
                && items.iter().all(|i| i.is_object())
                && !items.is_empty()
            {
                return give(map.get("value").unwrap_or(&Value::Null), at, command, found, sink);
            }
            *found += 1;
            let mut object = Object::new(at);
            for (name, value) in map.iter().take(PROPERTIES_MAX) {
                object.put(name, shown(value, 0));
            }
            object.text = scan::join(
                object
                    .properties
                    .iter()
                    .map(|(n, v)| format!("{n} : {v}"))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            );
            emit::emit(&object, command, sink);
        }
        _ => {}
    }
}

/// A value as the list form prints it.
pub fn shown(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => match crate::read::when::parse(text) {
            Some(time) if text.starts_with("/Date(") => time.to_string(),
            _ => text.clone(),
        },
        _ if depth >= DEPTH_MAX => "...".to_owned(),
        Value::Array(items) => {
            let nested = items.iter().any(Value::is_object);
            let items: Vec<String> = items.iter().take(256).map(|item| shown(item, depth + 1)).collect();
            format!("{{{}}}", items.join(if nested { " | " } else { ", " }))
        }
        Value::Object(map) => nested(map, depth),
    }
}

/// A nested object: its own text where it has one, else its properties.
fn nested(map: &Map<String, Value>, depth: usize) -> String {
    // A date, or an enumeration with its number: `{"value": "/Date(…)/", "DateTime": "…"}`, `{"value": 3, "Value": "Retry"}`.
    let (low, high) = (map.get("value"), map.get("Value"));
    if let Some(inner) = high.filter(|v| v.is_string()).or(low).or(high)
        && map.len() <= 3
    {
        return shown(inner, depth + 1);
    }
    let parts: Vec<String> =
        map.iter().take(64).map(|(n, v)| format!("{n}={}", shown(v, depth + 1))).collect();
    parts.join("; ")
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
        let file = case.file_named("a.json");
        read(text, &mut Sink::new(file, &phrases, &mut case));
        case
    }

    #[test]
    fn arrays_objects_and_lines() {
        let case = case_of(
            r#"[{"Server":"mbx01.corp.example","Component":"ImapProxy","State":"Inactive","LocalStates":[{"Requester":"HealthAPI","State":"Inactive","Timestamp":"\/Date(1772525051000)\/"}]},
            {"Server":"MBX01","Component":"PopProxy","State":"Active"}]"#,
        );
        assert_eq!(case.objects("ServerComponentState").count(), 2);
        let held = case.objects("ComponentRequester").next().unwrap();
        assert!(
            held.is("requester", "HealthAPI")
                && held.is("state", "inactive")
                && held.is("component", "ImapProxy")
        );
        assert_eq!(held.server.as_deref(), Some("MBX01"));
        let case = case_of(
            "{\"Thumbprint\":\"AB\",\"Services\":\"IMAP\"}\n{\"Thumbprint\":\"CD\",\"Services\":2}\n",
        );
        assert_eq!(case.of("certificate").map(|f| f.at.line).collect::<Vec<_>>(), [1, 2]);
        assert!(case_of("[1, 2]").is_empty() && case_of("{").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\",:a-c0-9 \n]{0,80}") {
            let _ = case_of(&text);
        }
    }
}
