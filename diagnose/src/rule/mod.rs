//! Rules: one file for each cause, read from TOML that is part of the program.
//!
//! A rule says what is seen when the cause is there ([`Sign`]), how sure that makes, what the cause is confused with, what
//! would settle it, and what to do. It judges single facts; what joins facts is a check in Rust.

mod load;
mod page;
mod test;

pub use load::{Trouble, parse};
pub use page::index;
pub use test::{Condition, Test};

use regex::Regex;
use std::sync::OnceLock;

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// A cause, and how it is recognised.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub code: String,
    /// The area: the folder that its file is in.
    pub area: String,
    /// Its place in the catalogue of failures, such as `A4`.
    pub catalogue: String,
    pub title: String,
    /// Which hop it breaks.
    pub leg: String,
    pub meaning: String,
    pub symptoms: Vec<String>,
    pub remedy: Vec<String>,
    pub reference: String,
    /// Causes whose consequence this one is, when they are found too.
    pub yields_to: Vec<String>,
    pub threshold: f64,
    /// Of each group one sign or check has to be there.
    pub requires: Vec<Vec<String>>,
    pub confused_with: Vec<Rival>,
    pub signs: Vec<Sign>,
    pub checks: Vec<CheckUse>,
    pub needs: Vec<Need>,
    pub examples: Vec<Example>,
    /// What it matches is benign.
    pub noise: bool,
}

/// What it may be taken for, and the test that tells them apart.
#[derive(Clone, Debug, Default)]
pub struct Rival {
    pub code: String,
    pub test: String,
}

/// Something to look for in single facts.
#[derive(Clone, Debug, Default)]
pub struct Sign {
    pub id: String,
    /// At which end of the leg it is seen.
    pub end: String,
    /// How sure it makes alone, from 0 to 1.
    pub weight: f64,
    /// Kinds of facts; none: any.
    pub kinds: Vec<String>,
    pub conditions: Vec<Condition>,
    pub any: Vec<String>,
    pub all: Vec<String>,
    pub none: Vec<String>,
    pub regex: Option<Regex>,
    /// At least so many facts.
    pub min: u64,
    /// What is reported, with `{fields}`.
    pub fact: String,
    pub contrary: bool,
    /// Counts even where a noise rule matches too.
    pub even_noise: bool,
}

/// A check in Rust, as a rule uses it.
#[derive(Clone, Debug, Default)]
pub struct CheckUse {
    pub name: String,
    pub weight: f64,
    pub contrary: bool,
    pub end: String,
}

/// What would settle it.
#[derive(Clone, Debug, Default)]
pub struct Need {
    pub what: String,
    pub kinds: Vec<String>,
    pub conditions: Vec<Condition>,
    pub server: String,
    pub how: String,
}

/// Evidence on which it is found, or is not named.
#[derive(Clone, Debug, Default)]
pub struct Example {
    pub name: String,
    pub fires: bool,
    pub files: Vec<(String, String)>,
}

/// Every rule of the program.
///
/// Files that are wrong are left out; a test holds that there are none.
pub fn all() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| FILES.iter().filter_map(|(name, text)| parse(name, text).ok()).collect())
}

/// The rule with this code or this place in the catalogue, in any case of letters.
pub fn find(code: &str) -> Option<&'static Rule> {
    let by_code = all().iter().find(|rule| rule.code.eq_ignore_ascii_case(code));
    by_code.or_else(|| all().iter().find(|rule| rule.catalogue.eq_ignore_ascii_case(code)))
}

/// Every literal phrase that some rule looks for.
pub fn phrases(rules: &[Rule]) -> impl Iterator<Item = &str> {
    let signs = rules.iter().flat_map(|rule| &rule.signs);
    signs.flat_map(|sign| sign.any.iter().chain(&sign.all)).map(String::as_str)
}

/// Kinds of facts that no log gives: a phrase for these alone keeps no line of a log.
const NOT_OF_LOGS: [&str; 24] = [
    "text",
    "event",
    "object",
    "error",
    "registry",
    "conversation",
    "port",
    "dns",
    "certificate",
    "ticket",
    "spn",
    "spn-duplicate",
    "logonsession",
    "tls",
    "clock",
    "nltest",
    "netsh",
    "ipconfig",
    "disk",
    "dcdiag",
    "repadmin",
    "service",
    "nontext",
    "setx",
];

/// Every literal phrase that some rule may seek in a log.
pub fn phrases_of_logs(rules: &[Rule]) -> impl Iterator<Item = &str> {
    let of_logs = |sign: &&Sign| {
        sign.kinds.is_empty() || sign.kinds.iter().any(|kind| !NOT_OF_LOGS.contains(&kind.as_str()))
    };
    let signs = rules.iter().flat_map(|rule| &rule.signs).filter(of_logs);
    signs.flat_map(|sign| sign.any.iter().chain(&sign.all)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_is_a_rule() {
        let mut codes = BTreeSet::new();
        let mut problems = Vec::new();
        for (name, text) in FILES {
            match parse(name, text) {
                Ok(rule) => {
                    problems.extend(rule.problems().into_iter().map(|p| format!("{name}: {p}")));
                    if !codes.insert(rule.code.clone()) {
                        problems.push(format!("{name}: {} is there twice", rule.code));
                    }
                }
                Err(e) => problems.push(format!("{name}: {e}")),
            }
        }
        for rule in all() {
            let named = rule.yields_to.iter().chain(rule.confused_with.iter().map(|r| &r.code));
            for code in named.filter(|code| !codes.contains(*code)) {
                problems.push(format!("{}: there is no cause {code}", rule.code));
            }
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
