//! Causes that come from another server or out of a file, made into the same values that the code has.
//!
//! A [`Cause`] holds texts that live as long as the program. What is read is looked up among those that were read before;
//! a new one is kept for ever, of which there are as many as the other versions of Waypost have, and at most [`CAUSES_MAX`].

use crate::explain::Cause;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

/// All causes of several versions together are fewer than this; what tells of more is not one of ours.
const CAUSES_MAX: usize = 2_000;
/// Bytes of a text: the longest of ours has under 400.
const TEXT_MAX: usize = 2_000;

/// Stands for a cause that could not be kept.
pub const OTHER: Cause = Cause {
    code: "OTHER",
    meaning: "another server told of a cause that is not known here",
    remedy: "Look at that server's own log and at Get-HealthEvent there",
    reference: "docs/health.md",
};

static KNOWN: Mutex<Vec<Cause>> = Mutex::new(Vec::new());

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    meaning: Cow<'a, str>,
    #[serde(borrow, default)]
    remedy: Cow<'a, str>,
    #[serde(borrow, default)]
    reference: Cow<'a, str>,
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Cause, D::Error> {
        let told = Told::deserialize(d)?;
        Ok(keep([&told.code, &told.meaning, &told.remedy, &told.reference]))
    }
}

fn keep(told: [&str; 4]) -> Cause {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |c: &&Cause| [c.code, c.meaning, c.remedy, c.reference] == told;
    if let Some(cause) = known.iter().find(same) {
        return *cause;
    }
    if known.len() >= CAUSES_MAX || told.iter().any(|text| text.len() > TEXT_MAX) || told[0].is_empty() {
        return OTHER;
    }
    let [code, meaning, remedy, reference] = told.map(|text| &*Box::leak(text.to_owned().into_boxed_str()));
    let cause = Cause { code, meaning, remedy, reference };
    known.push(cause);
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_is_kept_once() {
        let told = ["STORE-READONLY", "the store takes no changes", "Make room", "docs/store.md"];
        let (first, again) = (keep(told), keep(told));
        assert_eq!(first.code.as_ptr(), again.code.as_ptr());
        assert_eq!(first.remedy, "Make room");
        assert_eq!(keep(["", "", "", ""]), OTHER);
        assert_eq!(keep(["X", &"x".repeat(TEXT_MAX + 1), "", ""]), OTHER);
    }
}
