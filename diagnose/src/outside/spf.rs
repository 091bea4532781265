//! SPF records as RFC 7208 reads them: which one counts, whether it is written soundly, how many questions it takes, and
//! how it ends. Whether an address passes is not asked here.

use super::seen::{Answer, Seen};
use std::collections::BTreeSet;

/// Terms that take a question to name servers (RFC 7208 §4.6.4).
pub const QUESTIONS_MAX: usize = 10;

/// What is wrong, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sound {
        ends: Option<String>,
    },
    Missing,
    /// With the reason.
    Invalid(String),
    /// Not every record could be read.
    NotKnown,
}

pub fn is_spf(record: &str) -> bool {
    let lower = record.to_ascii_lowercase();
    lower == "v=spf1" || lower.starts_with("v=spf1 ")
}

/// The records that an SPF record refers to: `include:` and `redirect=`.
pub fn refers_to(record: &str) -> Vec<String> {
    let mut names = Vec::new();
    for term in record.split_whitespace().skip(1) {
        let plain = term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
        let name = plain.strip_prefix("include:").or_else(|| plain.strip_prefix("redirect="));
        // Macros depend on who sends.
        names.extend(
            name.filter(|n| !n.contains('%') && !n.is_empty()).map(|n| n.trim_end_matches('.').to_owned()),
        );
    }
    names
}

pub fn judge(seen: &Seen, domain: &str) -> Verdict {
    let mut walk = Walk { seen, visited: BTreeSet::new(), questions: 0, unknown: false };
    let verdict = walk.record(domain, 0);
    match verdict {
        Verdict::Sound { .. } if walk.questions > QUESTIONS_MAX => {
            Verdict::Invalid(format!("it takes {} questions to name servers, more than ten", walk.questions))
        }
        Verdict::Sound { .. } if walk.unknown => Verdict::NotKnown,
        other => other,
    }
}

struct Walk<'a> {
    seen: &'a Seen,
    visited: BTreeSet<String>,
    questions: usize,
    unknown: bool,
}

impl Walk<'_> {
    fn record(&mut self, name: &str, depth: usize) -> Verdict {
        let Some(lookup) = self.seen.lookup(name, "TXT") else {
            self.unknown = true;
            return Verdict::NotKnown;
        };
        let records: Vec<&String> = lookup.records().iter().filter(|r| is_spf(r)).collect();
        let record = match (records.as_slice(), &lookup.answer) {
            ([], Answer::Timeout | Answer::Failed(_)) => {
                self.unknown = true;
                return Verdict::NotKnown;
            }
            ([], _) => return Verdict::Missing,
            ([one], _) => *one,
            (several, _) => return Verdict::Invalid(format!("{name} has {} SPF records", several.len())),
        };
        let mut ends = None;
        for term in record.split_whitespace().skip(1) {
            if let Err(why) = self.term(name, term, depth, &mut ends) {
                return Verdict::Invalid(why);
            }
        }
        Verdict::Sound { ends }
    }

    fn term(&mut self, at: &str, term: &str, depth: usize, ends: &mut Option<String>) -> Result<(), String> {
        let plain = term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
        let split = plain.find([':', '/', '=']).unwrap_or(plain.len());
        let (word, rest) = plain.split_at(split);
        match word {
            "all" => {
                *ends = Some(term.to_ascii_lowercase());
                return Ok(());
            }
            "include" | "redirect" => {
                self.questions += 1;
                let target = rest.get(1..).unwrap_or_default();
                if target.is_empty() {
                    return Err(format!("{term:?} in the record of {at} names nobody"));
                }
                return self.follow(word, target, depth, ends);
            }
            "a" | "mx" | "ptr" | "exists" => self.questions += 1,
            "ip4" => {
                let address = rest.get(1..).unwrap_or_default().split('/').next().unwrap_or_default();
                if address.parse::<std::net::Ipv4Addr>().is_err() {
                    return Err(format!("{term:?} in the record of {at} has no IPv4 address"));
                }
            }
            "ip6" => {
                let address = rest.get(1..).unwrap_or_default().split('/').next().unwrap_or_default();
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(format!("{term:?} in the record of {at} has no IPv6 address"));
                }
            }
            // A modifier that nobody knows is passed over (RFC 7208 §6).
            _ if rest.starts_with('=') => {}
            _ => return Err(format!("{term:?} in the record of {at} is no term of SPF")),
        }
        Ok(())
    }

    fn follow(
        &mut self,
        word: &str,
        target: &str,
        depth: usize,
        ends: &mut Option<String>,
    ) -> Result<(), String> {
        let target = target.trim_end_matches('.').to_owned();
        if target.contains('%') {
            return Ok(());
        }
        if depth >= QUESTIONS_MAX || !self.visited.insert(target.clone()) {
            // A record that comes to itself again never ends; receivers count and give up.
            return if depth >= QUESTIONS_MAX { Err(format!("{target} refers to itself")) } else { Ok(()) };
        }
        match self.record(&target, depth + 1) {
            Verdict::Missing => Err(format!("{word} names {target}, which has no SPF record")),
            Verdict::Invalid(why) => Err(why),
            Verdict::Sound { ends: theirs } => {
                if word == "redirect" {
                    *ends = theirs;
                }
                Ok(())
            }
            Verdict::NotKnown => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::Lookup;
    use super::*;

    fn seen(records: &[(&str, &str)]) -> Seen {
        let mut seen = Seen::default();
        for (name, text) in records {
            seen.lookups.push(Lookup {
                name: (*name).to_owned(),
                kind: "TXT".into(),
                answer: Answer::Records(text.split('|').map(str::to_owned).collect()),
                vouched: false,
                dnssec: None,
                micros: 1,
            });
        }
        seen
    }

    #[test]
    fn records_are_read() {
        let of = |records: &[(&str, &str)]| judge(&seen(records), "x.test");
        let ends = |e: &str| Verdict::Sound { ends: Some(e.into()) };
        assert_eq!(of(&[("x.test", "v=spf1 mx ip4:192.0.2.0/24 -all")]), ends("-all"));
        assert_eq!(of(&[("x.test", "v=spf1 redirect=y.test"), ("y.test", "v=spf1 a ?all")]), ends("?all"));
        assert_eq!(of(&[("x.test", "v=spf1 include:y.test ~all"), ("y.test", "v=spf1 +all")]), ends("~all"));
        assert_eq!(of(&[("x.test", "hello")]), Verdict::Missing);
        assert_eq!(of(&[("x.test", "v=spf1 include:y.test -all")]), Verdict::NotKnown);
        for bad in [
            "v=spf1 -all|v=spf1 mx -all",
            "v=spf1 ip4:mail.x.test -all",
            "v=spf1 inclde:y.test -all",
            "v=spf1 ip6:1.2.3.4",
        ] {
            assert!(matches!(of(&[("x.test", bad)]), Verdict::Invalid(_)), "{bad}");
        }
        let eleven = format!("v=spf1 {} -all", ["a"; 11].join(" "));
        assert!(matches!(of(&[("x.test", &eleven)]), Verdict::Invalid(why) if why.contains("11")));
        assert_eq!(
            refers_to("v=spf1 include:_spf.Y.test. ?include:%{i}.z redirect=q.test"),
            ["_spf.y.test", "q.test"]
        );
    }
}
