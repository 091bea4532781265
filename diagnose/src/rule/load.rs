//! A rule's file, read and judged.

use super::test::{Condition, Test};
use super::{CheckUse, Example, Need, Rival, Rule, Sign};
use crate::checks;
use regex::RegexBuilder;
use std::fmt;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// What is wrong with a rule's file.
#[derive(Clone, Debug)]
pub struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

type Read<T> = Result<T, Trouble>;

fn bad<T>(text: impl Into<String>) -> Read<T> {
    Err(Trouble(text.into()))
}

/// Size of a regular expression that a rule may have.
const REGEX_MAX: usize = 1 << 20;

/// # Errors
/// What cannot be understood, with the key.
pub fn parse(name: &str, text: &str) -> Read<Rule> {
    let document: DocumentMut = text.parse().map_err(|e| Trouble(format!("{e}")))?;
    let table = document.as_table();
    known(
        table,
        &[
            "code",
            "catalogue",
            "title",
            "leg",
            "meaning",
            "symptoms",
            "remedy",
            "reference",
            "yields_to",
            "threshold",
            "requires",
            "confused_with",
            "sign",
            "check",
            "need",
            "example",
            "noise",
            "product",
            "area",
        ],
    )?;
    let mut rule = Rule {
        code: string(table, "code")?,
        area: name.split('/').next().unwrap_or_default().to_owned(),
        catalogue: string(table, "catalogue")?,
        title: string(table, "title")?,
        leg: string(table, "leg")?,
        meaning: string(table, "meaning")?.trim().replace('\n', " "),
        symptoms: strings(table, "symptoms")?,
        remedy: strings(table, "remedy")?,
        reference: string(table, "reference")?,
        yields_to: strings(table, "yields_to")?,
        threshold: float(table, "threshold")?.unwrap_or(0.5),
        noise: flag(table, "noise")?,
        ..Rule::default()
    };
    if let Some(groups) = table.get("requires") {
        let Some(groups) = groups.as_array() else { return bad("requires is not a list of lists") };
        for group in groups {
            let Some(group) = group.as_array() else { return bad("requires is not a list of lists") };
            rule.requires.push(group.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
    }
    for rival in tables(table, "confused_with")? {
        known(rival, &["code", "test"])?;
        rule.confused_with.push(Rival { code: string(rival, "code")?, test: string(rival, "test")? });
    }
    for sign in tables(table, "sign")? {
        rule.signs.push(read_sign(sign)?);
    }
    for check in tables(table, "check")? {
        known(check, &["name", "weight", "contrary", "end"])?;
        rule.checks.push(CheckUse {
            name: string(check, "name")?,
            weight: float(check, "weight")?.unwrap_or(0.5),
            contrary: flag(check, "contrary")?,
            end: string(check, "end")?,
        });
    }
    for need in tables(table, "need")? {
        known(need, &["what", "kinds", "where", "server", "how"])?;
        rule.needs.push(Need {
            what: string(need, "what")?,
            kinds: strings(need, "kinds")?,
            conditions: conditions(need)?,
            server: string(need, "server")?,
            how: string(need, "how")?,
        });
    }
    for example in tables(table, "example")? {
        known(example, &["name", "fires", "files"])?;
        let mut files = Vec::new();
        if let Some(list) = example.get("files").and_then(Item::as_table_like) {
            for (file, content) in list.iter() {
                files.push((file.to_owned(), content.as_str().unwrap_or_default().to_owned()));
            }
        }
        rule.examples.push(Example { name: string(example, "name")?, fires: flag(example, "fires")?, files });
    }
    Ok(rule)
}

fn read_sign(table: &dyn TableLike) -> Read<Sign> {
    known(
        table,
        &[
            "id",
            "end",
            "weight",
            "kinds",
            "where",
            "any",
            "all",
            "none",
            "regex",
            "min",
            "fact",
            "contrary",
            "even_noise",
        ],
    )?;
    let pattern = string(table, "regex")?;
    let regex = match pattern.as_str() {
        "" => None,
        pattern => {
            let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(REGEX_MAX).build();
            Some(built.map_err(|e| Trouble(e.to_string()))?)
        }
    };
    Ok(Sign {
        id: string(table, "id")?,
        end: string(table, "end")?,
        weight: float(table, "weight")?.unwrap_or(0.3),
        kinds: strings(table, "kinds")?,
        conditions: conditions(table)?,
        any: strings(table, "any")?,
        all: strings(table, "all")?,
        none: strings(table, "none")?,
        regex,
        min: table.get("min").and_then(Item::as_integer).and_then(|n| u64::try_from(n).ok()).unwrap_or(1),
        fact: string(table, "fact")?,
        contrary: flag(table, "contrary")?,
        even_noise: flag(table, "even_noise")?,
    })
}

fn conditions(table: &dyn TableLike) -> Read<Vec<Condition>> {
    let Some(item) = table.get("where") else { return Ok(Vec::new()) };
    let Some(fields) = item.as_table_like() else { return bad("where is not a table") };
    let mut conditions = Vec::new();
    for (field, value) in fields.iter() {
        let field = crate::fact::plain(field.to_owned().into()).into_owned();
        let Some(value) = value.as_value() else { return bad(format!("where.{field} is not a value")) };
        let values: Vec<String> = match value {
            Value::Array(list) => list.iter().filter_map(shown).collect(),
            one => shown(one).into_iter().collect(),
        };
        let tests = values.iter().map(|v| Test::parse(v)).collect::<Result<Vec<_>, _>>();
        conditions
            .push(Condition { tests: tests.map_err(|e| Trouble(format!("where.{field}: {e}")))?, field });
    }
    Ok(conditions)
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(yes) => Some(yes.value().to_string()),
        _ => None,
    }
}

fn known(table: &dyn TableLike, names: &[&str]) -> Read<()> {
    match table.iter().find(|(name, _)| !names.contains(name)) {
        Some((name, _)) => bad(format!("there is no key {name:?} here")),
        None => Ok(()),
    }
}

fn string(table: &dyn TableLike, name: &str) -> Read<String> {
    match table.get(name) {
        None => Ok(String::new()),
        Some(item) => item.as_str().map_or_else(|| bad(format!("{name} is not text")), |t| Ok(t.to_owned())),
    }
}

fn strings(table: &dyn TableLike, name: &str) -> Read<Vec<String>> {
    match table.get(name) {
        None => Ok(Vec::new()),
        Some(item) => match (item.as_str(), item.as_array()) {
            (Some(one), _) => Ok(vec![one.to_owned()]),
            (_, Some(list)) => {
                let read: Option<Vec<String>> = list.iter().map(|v| v.as_str().map(str::to_owned)).collect();
                read.map_or_else(|| bad(format!("{name} is not a list of texts")), Ok)
            }
            _ => bad(format!("{name} is not a list of texts")),
        },
    }
}

fn float(table: &dyn TableLike, name: &str) -> Read<Option<f64>> {
    match table.get(name) {
        None => Ok(None),
        Some(item) => {
            let number = item.as_float().or_else(|| item.as_integer().map(|n| n as f64));
            match number {
                Some(n) if (0.0..=1.0).contains(&n) => Ok(Some(n)),
                _ => bad(format!("{name} is not a number from 0 to 1")),
            }
        }
    }
}

fn flag(table: &dyn TableLike, name: &str) -> Read<bool> {
    match table.get(name) {
        None => Ok(false),
        Some(item) => item.as_bool().map_or_else(|| bad(format!("{name} is not true or false")), Ok),
    }
}

fn tables<'a>(table: &'a Table, name: &str) -> Read<Vec<&'a dyn TableLike>> {
    match table.get(name) {
        None => Ok(Vec::new()),
        Some(Item::ArrayOfTables(list)) => Ok(list.iter().map(|t| t as &dyn TableLike).collect()),
        Some(Item::Value(Value::Array(list))) => {
            let read: Option<Vec<&dyn TableLike>> =
                list.iter().map(|v| v.as_inline_table().map(|t| t as &dyn TableLike)).collect();
            read.map_or_else(|| bad(format!("{name} is not a list of tables")), Ok)
        }
        Some(_) => bad(format!("{name} is not a list of tables")),
    }
}

impl Rule {
    /// What a rule lacks, or names that is not there.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut want = |good: bool, text: String| {
            if !good {
                problems.push(text);
            }
        };
        want(!self.code.is_empty() && !self.code.contains(char::is_whitespace), "it has no code".into());
        want(!self.title.is_empty(), "it has no title".into());
        want(!self.meaning.is_empty(), "it has no meaning".into());
        want(self.noise || !self.remedy.is_empty(), "it has no remedy".into());
        want(!self.signs.is_empty() || !self.checks.is_empty(), "it looks for nothing".into());
        let positive = self.examples.iter().any(|e| e.fires);
        let negative = self.examples.iter().any(|e| !e.fires);
        want(
            positive && (negative || self.noise),
            "it needs an example that fires, and one that does not".into(),
        );
        for check in &self.checks {
            want(checks::find(&check.name).is_some(), format!("there is no check {}", check.name));
        }
        let names: Vec<&str> =
            self.signs.iter().map(|s| &*s.id).chain(self.checks.iter().map(|c| &*c.name)).collect();
        for id in self.requires.iter().flatten() {
            want(names.contains(&id.as_str()), format!("requires names {id}, which is no sign of it"));
        }
        for sign in &self.signs {
            want(!sign.id.is_empty(), "a sign has no id".into());
            want(!sign.fact.is_empty() || self.noise, format!("sign {} reports nothing", sign.id));
            let looks = !sign.conditions.is_empty()
                || !sign.any.is_empty()
                || !sign.all.is_empty()
                || sign.regex.is_some();
            want(looks, format!("sign {} matches anything", sign.id));
        }
        problems
    }
}
