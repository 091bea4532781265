//! Kinds of parameters, and their values.

use crate::settings::{Bytes, Span, Unlimited};
use serde::{Deserialize, Serialize};

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Like text, but not written into any history. `-` reads it from standard input.
    Secret,
    /// A file or folder; made absolute where it is typed.
    Path,
    /// Stands alone: `-WhatIf`. Also `-WhatIf:$false`.
    Switch,
    /// `$true` or `$false`.
    Bool,
    Int,
    /// `10MB`
    Size,
    /// `10MB` or `unlimited`
    Quota,
    /// `00:30:00`, `30m`
    Span,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts with commas between; the whole list.
    List,
    /// A list that can also be edited: `@{Add="a","b"; Remove="c"}`.
    Edit,
}

/// A value, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    Text(String),
    Flag(bool),
    Int(i64),
    /// Bytes; `None` is unlimited.
    Size(Option<u64>),
    /// Milliseconds.
    Span(u64),
    List(Vec<String>),
    Edit {
        add: Vec<String>,
        remove: Vec<String>,
    },
    /// `$null`: nothing, an empty list, the default.
    Null,
}

impl Kind {
    /// What to give, in messages and help.
    pub fn what(&self) -> String {
        match self {
            Kind::Text | Kind::Secret => "a text".into(),
            Kind::Path => "a path".into(),
            Kind::Switch => "no value".into(),
            Kind::Bool => "$true or $false".into(),
            Kind::Int => "a whole number".into(),
            Kind::Size => "a size such as 10MB".into(),
            Kind::Quota => "a size such as 10MB, or unlimited".into(),
            Kind::Span => "a time span such as 00:30:00 or 30m".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::List => "a list, with commas between its items".into(),
            Kind::Edit => "a list, or @{Add=\"a\",\"b\"; Remove=\"c\"}".into(),
        }
    }

    /// The placeholder in usage lines.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Kind::Text => "TEXT",
            Kind::Secret => "PASSWORD",
            Kind::Path => "PATH",
            Kind::Switch => "",
            Kind::Bool => "BOOL",
            Kind::Int => "NUMBER",
            Kind::Size | Kind::Quota => "SIZE",
            Kind::Span => "TIMESPAN",
            Kind::Choice(_) => "CHOICE",
            Kind::List | Kind::Edit => "LIST",
        }
    }

    pub fn is_flag(&self) -> bool {
        matches!(self, Kind::Switch | Kind::Bool)
    }

    /// Reads one word.
    pub fn parse(&self, text: &str) -> Option<Value> {
        if text.eq_ignore_ascii_case("$null") && !matches!(self, Kind::Switch | Kind::Bool) {
            return Some(Value::Null);
        }
        match self {
            Kind::Text | Kind::Secret | Kind::Path => Some(Value::Text(text.to_owned())),
            Kind::Switch | Kind::Bool => parse_flag(text).map(Value::Flag),
            Kind::Int => text.parse().ok().map(Value::Int),
            Kind::Size => Bytes::parse(text).map(|b| Value::Size(Some(b.0))),
            Kind::Quota if text.eq_ignore_ascii_case("unlimited") => Some(Value::Size(None)),
            Kind::Quota => Bytes::parse(text).map(|b| Value::Size(Some(b.0))),
            Kind::Span => Span::parse(text).map(|s| Value::Span(s.0)),
            Kind::Choice(words) => {
                let by_name = words.iter().find(|w| w.eq_ignore_ascii_case(text));
                by_name.map(|w| Value::Text((*w).to_owned()))
            }
            Kind::List => Some(Value::List(split_list(text))),
            Kind::Edit => match parse_hash(text) {
                Some(edit) => edit,
                None => Some(Value::List(split_list(text))),
            },
        }
    }

    /// Whether a value that came over the wire is of this kind.
    pub(super) fn takes(&self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Switch | Kind::Bool, Value::Flag(_)) => true,
            (Kind::Switch | Kind::Bool, _) => false,
            (_, Value::Null) => true,
            (Kind::Text | Kind::Secret | Kind::Path, Value::Text(_)) => true,
            (Kind::Choice(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Kind::Int, Value::Int(_)) | (Kind::Span, Value::Span(_)) => true,
            (Kind::Size, Value::Size(Some(_))) | (Kind::Quota, Value::Size(_)) => true,
            (Kind::List | Kind::Edit, Value::List(_)) | (Kind::Edit, Value::Edit { .. }) => true,
            _ => false,
        }
    }
}

impl Value {
    /// As it would be typed.
    pub fn shown(&self) -> String {
        let quoted =
            |items: &[String]| items.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(",");
        match self {
            Value::Text(text) => text.clone(),
            Value::Flag(on) => format!("${on}"),
            Value::Int(n) => n.to_string(),
            Value::Size(None) => "unlimited".into(),
            Value::Size(Some(bytes)) => Bytes(*bytes).short().replace(' ', ""),
            Value::Span(millis) => Span(*millis).to_string(),
            Value::List(items) => items.join(","),
            Value::Edit { add, remove } => {
                let mut parts = Vec::new();
                if !add.is_empty() {
                    parts.push(format!("Add={}", quoted(add)));
                }
                if !remove.is_empty() {
                    parts.push(format!("Remove={}", quoted(remove)));
                }
                format!("@{{{}}}", parts.join(";"))
            }
            Value::Null => "$null".into(),
        }
    }

    pub fn size(&self) -> Option<Unlimited> {
        match self {
            Value::Size(bytes) => Some(Unlimited(bytes.map(Bytes))),
            _ => None,
        }
    }

    /// What a list becomes by this value.
    pub fn apply(&self, old: &[String]) -> Vec<String> {
        match self {
            Value::List(items) => items.clone(),
            Value::Edit { add, remove } => {
                let gone = |item: &&String| !remove.iter().any(|r| r.eq_ignore_ascii_case(item));
                let mut list: Vec<String> = old.iter().filter(gone).cloned().collect();
                for item in add {
                    if !list.iter().any(|i| i.eq_ignore_ascii_case(item)) {
                        list.push(item.clone());
                    }
                }
                list
            }
            Value::Null => Vec::new(),
            _ => old.to_vec(),
        }
    }
}

pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text.trim_start_matches('$').to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Some(true),
        "false" | "no" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// `a,"b, c",'d'`; empty text is an empty list.
fn split_list(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut item = String::new();
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => item.push(c),
            ('"' | '\'', None) => quote = Some(c),
            (',', None) => out.push(std::mem::take(&mut item)),
            (c, None) => item.push(c),
        }
    }
    out.push(item);
    out.into_iter().map(|i| i.trim().to_owned()).filter(|i| !i.is_empty()).collect()
}

/// `@{Add="a","b"; Remove="c"}`. The outer `None` says that it is none of this form, the inner one that it is a bad one.
fn parse_hash(text: &str) -> Option<Option<Value>> {
    let inner = text.trim().strip_prefix("@{")?;
    let Some(inner) = inner.strip_suffix('}') else { return Some(None) };
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    for part in split_outside_quotes(inner) {
        if part.trim().is_empty() {
            continue;
        }
        let Some((name, items)) = part.split_once('=') else { return Some(None) };
        match name.trim().to_ascii_lowercase().as_str() {
            "add" => add.extend(split_list(items)),
            "remove" => remove.extend(split_list(items)),
            _ => return Some(None),
        }
    }
    Some(Some(Value::Edit { add, remove }))
}

fn split_outside_quotes(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (';', None) => {
                out.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = out.last_mut() {
            last.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|i| (*i).to_owned()).collect()
    }

    #[test]
    fn values() {
        assert_eq!(Kind::Bool.parse("$False"), Some(Value::Flag(false)));
        assert_eq!(Kind::Bool.parse("maybe"), None);
        assert_eq!(Kind::Quota.parse("Unlimited"), Some(Value::Size(None)));
        assert_eq!(Kind::Size.parse("unlimited"), None);
        assert_eq!(Kind::Span.parse("00:30:00"), Some(Value::Span(1_800_000)));
        assert_eq!(
            Kind::Choice(&["Ascending", "Descending"]).parse("descending"),
            Some(Value::Text("Descending".into()))
        );
        assert_eq!(Kind::List.parse("a, \"b, c\",'d'"), Some(Value::List(list(&["a", "b, c", "d"]))));
        assert_eq!(Kind::Edit.parse("$null"), Some(Value::Null));
    }

    #[test]
    fn edits() {
        for text in
            ["@{Add=\"a\",\"b\"; Remove=\"c\"}", "@{add=a,b;remove=c}", "@{ Remove='c'; Add='a','b'; }"]
        {
            let wanted = Value::Edit { add: list(&["a", "b"]), remove: list(&["c"]) };
            assert_eq!(Kind::Edit.parse(text), Some(wanted), "{text}");
        }
        assert_eq!(Kind::Edit.parse("@{Add=\"a\""), None);
        assert_eq!(Kind::Edit.parse("@{Put=\"a\"}"), None);
        let edit = Value::Edit { add: list(&["a", "X"]), remove: list(&["B"]) };
        assert_eq!(edit.apply(&list(&["b", "x"])), list(&["x", "a"]));
        assert_eq!(edit.shown(), "@{Add=\"a\",\"X\";Remove=\"B\"}");
    }
}
