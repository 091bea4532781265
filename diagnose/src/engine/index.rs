//! Which facts have which phrases: each fact is looked through once, for all rules together.

use crate::case::Case;
use crate::fact::{Fact, Place};
use crate::rule::{Rule, Sign};
use crate::words;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Facts of one sign that are looked at closely; more are counted by what they stand for.
const MATCHED_MAX: usize = 2000;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Phrase → facts that have it, in order.
    by_phrase: BTreeMap<String, Vec<u32>>,
}

/// A fact that a sign fits.
pub(super) struct Matched<'a> {
    pub fact: &'a Fact,
    pub index: u32,
    pub at: Place,
}

/// The phrases of rules and the automaton that finds them. That of all rules is made once: it takes longer than a small case.
struct Finder {
    phrases: Vec<String>,
    /// Always there: phrases of rules are few and short.
    automaton: Option<AhoCorasick>,
}

static FINDER: OnceLock<Finder> = OnceLock::new();

impl Finder {
    fn new(rules: &[Rule]) -> Finder {
        let phrases: BTreeSet<String> =
            crate::rule::phrases(rules).map(str::to_ascii_lowercase).filter(|p| !p.is_empty()).collect();
        let phrases: Vec<String> = phrases.into_iter().collect();
        let built = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&phrases);
        Finder { phrases, automaton: built.ok() }
    }
}

impl Index {
    pub fn new(case: &Case, rules: &[Rule]) -> Index {
        let made;
        let finder = match std::ptr::eq(rules, crate::rule::all()) {
            true => FINDER.get_or_init(|| Finder::new(rules)),
            false => {
                made = Finder::new(rules);
                &made
            }
        };
        let (list, Some(automaton)) = (&finder.phrases, &finder.automaton) else { return Index::default() };
        let mut found: Vec<Vec<u32>> = vec![Vec::new(); list.len()];
        for (at, fact) in case.all().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let texts = std::iter::once(&*fact.text).chain(fact.fields.iter().map(|(_, value)| &**value));
            for text in texts {
                for hit in automaton.find_overlapping_iter(text) {
                    if let Some(facts) = found.get_mut(hit.pattern().as_usize())
                        && facts.last() != Some(&at)
                    {
                        facts.push(at);
                    }
                }
            }
        }
        Index { by_phrase: list.iter().cloned().zip(found).collect() }
    }

    fn having(&self, phrase: &str) -> &[u32] {
        self.by_phrase.get(&phrase.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Facts that the sign fits, in order.
    pub fn matches<'a>(&self, case: &'a Case, sign: &Sign, benign: &BTreeSet<u32>) -> Vec<Matched<'a>> {
        let mut candidates: BTreeSet<u32> = BTreeSet::new();
        if let Some(first) = sign.all.first() {
            candidates.extend(self.having(first));
        } else if !sign.any.is_empty() {
            candidates.extend(sign.any.iter().flat_map(|phrase| self.having(phrase)));
        } else if sign.kinds.is_empty() {
            candidates.extend(0..u32::try_from(case.len()).unwrap_or(u32::MAX));
        } else {
            candidates.extend(sign.kinds.iter().flat_map(|kind| case.indices(kind)));
        }
        let fits = |fact: &Fact| {
            (sign.kinds.is_empty() || sign.kinds.iter().any(|kind| *kind == fact.kind))
                && sign.conditions.iter().all(|condition| condition.holds(fact))
                && (sign.any.is_empty() || sign.any.iter().any(|p| fact.mentions(p)))
                && sign.all.iter().all(|phrase| fact.mentions(phrase))
                && !sign.none.iter().any(|phrase| fact.mentions(phrase))
                && sign.regex.as_ref().is_none_or(|regex| {
                    regex.is_match(&fact.text) || fact.fields.iter().any(|(_, value)| regex.is_match(value))
                })
        };
        candidates
            .into_iter()
            .filter(|at| sign.even_noise || !benign.contains(at))
            .filter_map(|index| case.at(index).map(|fact| (index, fact)))
            .filter(|(_, fact)| fits(fact))
            .take(MATCHED_MAX)
            .map(|(index, fact)| Matched { fact, index, at: fact.at })
            .collect()
    }
}

/// Fills `{field}`, `{server}`, `{time}`, `{text}`, `{count}` and the groups of the sign's expression.
pub(super) fn fill(template: &str, sign: &Sign, fact: &Fact, count: u64) -> String {
    let groups = sign.regex.as_ref().and_then(|regex| {
        let in_fields = || fact.fields.iter().find_map(|(_, value)| regex.captures(value));
        regex.captures(&fact.text).or_else(in_fields)
    });
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        let group = groups.as_ref().and_then(|g| g.name(name)).map(|m| m.as_str().to_owned());
        let value = group.unwrap_or_else(|| match name {
            "server" => fact.server.as_deref().or(fact.get("server")).unwrap_or("the server").to_owned(),
            "time" => fact.time.map_or_else(|| "an unknown time".into(), |t| t.to_string()),
            "text" => crate::fact::cut(&fact.text, 240).to_owned(),
            "count" => count.to_string(),
            name => {
                let name = crate::fact::plain(name.to_owned().into());
                fact.get(&name).map_or_else(|| "?".into(), |v| crate::fact::cut(v, 240).to_owned())
            }
        });
        filled.push_str(&words::one_line(&value));
        rest = tail;
    }
    filled.push_str(rest);
    filled
}
