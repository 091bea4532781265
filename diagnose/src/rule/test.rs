//! Conditions on a field of a fact.

use crate::fact::Fact;
use crate::words;
use regex::Regex;

/// A field and what its value may be.
#[derive(Clone, Debug)]
pub struct Condition {
    pub field: String,
    /// One of these holds.
    pub tests: Vec<Test>,
}

/// What a value may be; letters in any case.
#[derive(Clone, Debug)]
pub enum Test {
    Absent,
    Present,
    Equal(String),
    Glob(String),
    Not(Box<Test>),
    Less(f64),
    LessOrEqual(f64),
    More(f64),
    MoreOrEqual(f64),
    Matches(Regex),
}

impl Test {
    /// # Errors
    /// What is wrong with the pattern.
    pub fn parse(text: &str) -> Result<Test, String> {
        let number = |text: &str| words::number(text).ok_or_else(|| format!("{text:?} is not a number"));
        Ok(match text {
            "absent" => Test::Absent,
            "present" => Test::Present,
            _ if text.starts_with('!') => {
                Test::Not(Box::new(Test::parse(text.get(1..).unwrap_or_default())?))
            }
            _ if text.starts_with("<=") => Test::LessOrEqual(number(text.get(2..).unwrap_or_default())?),
            _ if text.starts_with(">=") => Test::MoreOrEqual(number(text.get(2..).unwrap_or_default())?),
            _ if text.starts_with('<') && words::number(text.get(1..).unwrap_or_default()).is_some() => {
                Test::Less(number(text.get(1..).unwrap_or_default())?)
            }
            _ if text.starts_with('>') && words::number(text.get(1..).unwrap_or_default()).is_some() => {
                Test::More(number(text.get(1..).unwrap_or_default())?)
            }
            _ if text.len() > 2 && text.starts_with('/') && text.ends_with('/') => {
                let inner = text.get(1..text.len() - 1).unwrap_or_default();
                Test::Matches(Regex::new(&format!("(?i){inner}")).map_err(|e| e.to_string())?)
            }
            _ if text.contains('*') && text.len() > 1 => Test::Glob(text.to_owned()),
            _ => Test::Equal(text.to_owned()),
        })
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(words::number);
        match self {
            Test::Absent => value.is_none(),
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.is_some_and(|v| v.to_lowercase() == wanted.to_lowercase()),
            Test::Glob(pattern) => value.is_some_and(|v| words::glob(pattern, v)),
            Test::Not(test) => !test.holds(value),
            Test::Less(limit) => number().is_some_and(|n| n < *limit),
            Test::LessOrEqual(limit) => number().is_some_and(|n| n <= *limit),
            Test::More(limit) => number().is_some_and(|n| n > *limit),
            Test::MoreOrEqual(limit) => number().is_some_and(|n| n >= *limit),
            Test::Matches(regex) => value.is_some_and(|v| regex.is_match(v)),
        }
    }
}

impl Condition {
    pub fn holds(&self, fact: &Fact) -> bool {
        let value = match self.field.as_str() {
            "server" => fact.get("server").or(fact.server.as_deref()),
            "text" => Some(&*fact.text),
            name => fact.get(name),
        };
        self.tests.iter().any(|test| test.holds(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;

    #[test]
    fn values_are_judged() {
        let fact = Fact::new("object", Place::default()).with("State", "Inactive").with("Free", "3 %");
        let holds = |field: &str, test: &str| {
            Condition { field: field.into(), tests: vec![Test::parse(test).unwrap()] }.holds(&fact)
        };
        for (field, test) in [
            ("state", "inactive"),
            ("state", "in*"),
            ("state", "!Active"),
            ("state", "/^in/"),
            ("free", "<5"),
            ("free", ">=3"),
            ("other", "absent"),
            ("other", "!x"),
        ] {
            assert!(holds(field, test), "{field} {test}");
        }
        for (field, test) in
            [("state", "Active"), ("free", ">5"), ("other", "present"), ("other", "x"), ("state", "!in*")]
        {
            assert!(!holds(field, test), "{field} {test}");
        }
    }
}
