//! Waypost's own logs: lines of JSON, each a leg, a log record, a probe's result or an alert.

use crate::fact::{Fact, Place};
use crate::sink::Sink;
use serde_json::Value;
use waypost_base::Timestamp;

/// Bytes of a line that is parsed.
const LINE_MAX: usize = 64 << 10;
/// Objects within objects.
const DEPTH_MAX: usize = 6;

/// Whether a line is one of ours.
pub fn known(line: &str) -> bool {
    parse(line).is_some_and(|value| ours(&value))
}

fn parse(line: &str) -> Option<Value> {
    (line.len() <= LINE_MAX)
        .then(|| serde_json::from_str::<Value>(line).ok())
        .flatten()
        .filter(Value::is_object)
}

fn ours(value: &Value) -> bool {
    let has = |name: &str| value.get(name).is_some();
    value.get("leg").is_some_and(Value::is_object) && (has("time") || has("messageId"))
        || has("timestamp") && has("level") && (has("message") || has("fields") || has("target"))
        || has("probe") && (has("server") || has("millis") || has("finding"))
        || has("cause") && (has("leg") || has("finding") || has("result") || has("since"))
}

/// The fact of a line; `None` if it is not one of ours.
pub fn fact(line: &str, place: Place) -> Option<Fact> {
    let value = parse(line.trim()).filter(ours)?;
    Some(of(&value, place).text(line.trim()))
}

/// Emits the fact of a value that another reader has parsed, such as one of a list; whether it was one of ours.
pub fn value(value: &Value, place: Place, sink: &mut Sink<'_>) -> bool {
    if !ours(value) {
        return false;
    }
    sink.fact(of(value, place).text(&value.to_string()));
    sink.understood("Waypost log", 1);
    true
}

fn of(value: &Value, place: Place) -> Fact {
    let mut fact = Fact::new("waypost", place);
    let time = ["time", "timestamp", "at", "started", "since"].iter().find_map(|name| value.get(*name));
    fact.time = time.and_then(moment);
    let leg = value.get("leg").filter(|leg| leg.is_object());
    if let Some(leg) = leg {
        the_leg(leg, &mut fact);
    }
    if let Some(server) = value.get("server").and_then(Value::as_str) {
        fact.server = crate::fact::server_name(server);
    }
    flatten(value, "", 0, &mut fact);
    fact
}

/// The words by which rules know a leg.
fn the_leg(leg: &Value, fact: &mut Fact) {
    let text = |path: &str| leg.pointer(path).and_then(Value::as_str).unwrap_or_default();
    fact.put("cause", text("/outcome/cause/code"));
    fact.put("leg", text("/operation"));
    fact.put("from", text("/initiator/name"));
    fact.put("to", text("/acceptor/name"));
    fact.put("service", text("/acceptor/role"));
    fact.put("result", text("/outcome/result"));
    fact.put("text", text("/outcome/text"));
    if fact.time.is_none() {
        fact.time = leg.get("started").and_then(moment);
    }
    let last = leg.get("steps").and_then(Value::as_array).and_then(|steps| steps.last());
    if let Some(step) = last {
        fact.put("laststep", step.get("name").and_then(Value::as_str).unwrap_or_default());
        fact.put("lastnote", step.get("note").and_then(Value::as_str).unwrap_or_default());
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => super::time(text),
        Value::Number(number) => number.as_i64().map(Timestamp),
        _ => None,
    }
}

/// Every value by its name; where names repeat, with those of the objects around it.
fn flatten(value: &Value, path: &str, depth: usize, fact: &mut Fact) {
    let Some(object) = value.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (name, value) in object {
        let full = format!("{path}{name}");
        match value {
            Value::Object(inner) => {
                if name == "cause"
                    && fact.get("cause").is_none()
                    && let Some(code) = inner.get("code").and_then(Value::as_str)
                {
                    fact.put("cause", code);
                }
                flatten(value, &full, depth + 1, fact);
            }
            Value::Array(list) => {
                let words: Vec<String> = list.iter().take(32).map(plain).collect();
                put(fact, name, &full, &words.join(", "));
            }
            other => put(fact, name, &full, &plain(other)),
        }
    }
}

fn put(fact: &mut Fact, name: &str, full: &str, value: &str) {
    let short = crate::fact::plain(name.to_owned().into());
    if fact.get(&short).is_none() {
        fact.put(short, value);
    } else if fact.get(&short) != Some(value.trim()) {
        fact.put(full.to_owned(), value);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_and_a_log_line() {
        let leg = r#"{"time":"2026-03-03T08:15:20.114Z","messageId":"m@x","leg":{"operation":"submit","initiator":{"role":"mailbox","name":"mbx-1"},"acceptor":{"role":"hub","name":"hub-1"},"mechanism":"kerberos","started":1772525720000,"steps":[{"name":"connect","micros":5},{"name":"authenticate","micros":9,"note":"etype 18"}],"outcome":{"result":"failed","cause":{"code":"KRB-NOKEY","meaning":"no key"},"text":"no key of type 18","retry":true}}}"#;
        let fact = fact(leg, Place::default()).unwrap();
        for (name, value) in [
            ("cause", "KRB-NOKEY"),
            ("leg", "submit"),
            ("from", "mbx-1"),
            ("to", "hub-1"),
            ("service", "hub"),
            ("result", "failed"),
            ("text", "no key of type 18"),
            ("laststep", "authenticate"),
            ("mechanism", "kerberos"),
        ] {
            assert_eq!(fact.get(name), Some(value), "{name}");
        }
        assert_eq!(fact.time, Some(Timestamp(1_772_525_720_114)));
        let log = r#"{"timestamp":"2026-03-03T08:15:20.114Z","level":"ERROR","message":"cannot bind","target":"waypost::listen","cause":"LISTEN-BUSY"}"#;
        let fact = super::fact(log, Place::default()).unwrap();
        assert_eq!((fact.get("cause"), fact.get("level")), (Some("LISTEN-BUSY"), Some("ERROR")));
        assert!(super::fact(r#"{"Name":"x","Value":1}"#, Place::default()).is_none());
        assert!(super::fact("{", Place::default()).is_none());
    }
}
