//! What commands give: records with properties in order, progress, warnings; and how each is shown.

mod render;

pub(crate) use render::wildcard;
pub use render::{Format, Layout, Renderer};

use crate::failure::Failure;
use crate::settings::{Bytes, Span, Unlimited};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use waypost_base::Timestamp;

/// One property's value. The kinds are kept apart so that JSON gets numbers where tables get "10 MB".
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    Null,
    Text(String),
    Flag(bool),
    Number(i64),
    /// Bytes; `None` is unlimited.
    Size(Option<u64>),
    /// Milliseconds.
    Span(u64),
    Time(Timestamp),
    List(Vec<String>),
    /// Structure for programs; people see it as JSON in one line.
    Tree(serde_json::Value),
}

impl Cell {
    /// As tables and lists show it.
    pub fn shown(&self) -> String {
        match self {
            Cell::Null => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Flag(true) => "True".into(),
            Cell::Flag(false) => "False".into(),
            Cell::Number(n) => n.to_string(),
            Cell::Size(bytes) => Unlimited(bytes.map(Bytes)).to_string(),
            Cell::Span(millis) => Span(*millis).to_string(),
            Cell::Time(at) => at.to_string(),
            Cell::List(items) => format!("{{{}}}", items.join(", ")),
            Cell::Tree(tree) => tree.to_string(),
        }
    }

    /// Numbers stand to the right in tables.
    pub fn is_number(&self) -> bool {
        matches!(self, Cell::Number(_) | Cell::Tree(serde_json::Value::Number(_)))
    }
}

/// As `--json` has it.
pub struct Plain<'a>(pub &'a Cell);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Cell::Null => s.serialize_none(),
            Cell::Text(text) => s.serialize_str(text),
            Cell::Flag(on) => s.serialize_bool(*on),
            Cell::Number(n) => s.serialize_i64(*n),
            Cell::Size(Some(bytes)) => s.serialize_u64(*bytes),
            Cell::Size(None) => s.serialize_str("unlimited"),
            Cell::Span(_) | Cell::Time(_) => s.serialize_str(&self.0.shown()),
            Cell::Tree(tree) => tree.serialize(s),
            Cell::List(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
        }
    }
}

macro_rules! cells {
    ($($ty:ty => $value:ident $cell:expr;)*) => { $(
        impl From<$ty> for Cell {
            fn from($value: $ty) -> Cell { $cell }
        }
    )* };
}
cells! {
    String => v Cell::Text(v);
    &str => v Cell::Text(v.to_owned());
    bool => v Cell::Flag(v);
    u32 => v Cell::Number(v.into());
    i64 => v Cell::Number(v);
    u64 => v Cell::Number(i64::try_from(v).unwrap_or(i64::MAX));
    usize => v Cell::Number(i64::try_from(v).unwrap_or(i64::MAX));
    Bytes => v Cell::Size(Some(v.0));
    Unlimited => v Cell::Size(v.bytes());
    Span => v Cell::Span(v.0);
    Timestamp => v Cell::Time(v);
    Vec<String> => v Cell::List(v);
    &std::path::PathBuf => v Cell::Text(v.display().to_string());
    &waypost_directory::Address => v Cell::Text(v.to_string());
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

/// An object: properties in order.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Record(pub Vec<(String, Cell)>);

impl Record {
    pub fn new() -> Record {
        Record::default()
    }

    /// Appends a property.
    pub fn with(mut self, name: &str, value: impl Into<Cell>) -> Record {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// By name; case does not matter.
    pub fn cell(&self, name: &str) -> Option<&Cell> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, cell)| cell)
    }
}

/// A record as one JSON object.
pub struct PlainRecord<'a>(pub &'a Record);

impl Serialize for PlainRecord<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.0.len()))?;
        for (name, cell) in &self.0.0 {
            map.serialize_entry(name, &Plain(cell))?;
        }
        map.end()
    }
}

/// How far something is.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    pub activity: String,
    pub done: u64,
    /// Unknown where the work has not been counted.
    pub total: Option<u64>,
    /// `bytes`, `messages`, `lines`
    pub unit: String,
}

/// What comes out of a running command, in order.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    Record(Record),
    Progress(Progress),
    Warning(String),
    /// What a command would do, under -WhatIf.
    WhatIf(String),
    /// One thing went wrong; the command may go on.
    Error(Failure),
}
