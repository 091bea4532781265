//! What follows from a verdict.
//!
//! DMARC is what the owner of the visible domain asks for, so it decides. SPF alone is about the envelope and fails for
//! every forwarder, so by default nothing follows from it. Nothing at all follows from `temperror`.

use crate::check::{Verdict, Word};

/// What to do where DMARC fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DmarcMode {
    /// As the owner of the domain asks: reject, quarantine, nothing.
    #[default]
    Honour,
    /// Whatever would be rejected becomes junk.
    Quarantine,
    /// It is only noted.
    Note,
}

/// What to do where SPF fails (`-all`) and DMARC has not passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpfFail {
    #[default]
    Note,
    Junk,
    Reject,
}

/// What an administrator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    pub enabled: bool,
    /// Our name in Authentication-Results; the server's if not given.
    pub authserv_id: Option<String>,
    pub dmarc: DmarcMode,
    pub spf_fail: SpfFail,
    /// Domains whose ARC seals are believed: lists and forwarders of whom it is known that they look before they seal.
    pub trusted_sealers: Vec<String>,
}

impl Default for AuthSettings {
    fn default() -> AuthSettings {
        AuthSettings {
            enabled: true,
            authserv_id: None,
            dmarc: DmarcMode::default(),
            spf_fail: SpfFail::default(),
            trusted_sealers: Vec::new(),
        }
    }
}

/// What is to be done with a message, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Pass,
    /// To the junk folder.
    Junk(String),
    /// 550, with the last two numbers of the enhanced code (RFC 7372: 5.7.26, 5.7.23).
    Reject {
        detail: u16,
        text: String,
    },
}

/// Decides. See the module.
pub fn decide(settings: &AuthSettings, verdict: &Verdict) -> Action {
    if let Some(action) = by_dmarc(settings, verdict) {
        return action;
    }
    if verdict.from_fields > 1 {
        return Action::Junk("the message has more than one From field".into());
    }
    if verdict.dmarc.word == Word::PermError && verdict.dmarc.domain.is_empty() {
        // DMARC cannot be asked: without this, a second address in From would be a way round it.
        return Action::Junk(verdict.dmarc.why.clone());
    }
    if verdict.mail_from.word == Word::Fail && verdict.dmarc.word != Word::Pass {
        let why = &verdict.mail_from.why;
        match settings.spf_fail {
            SpfFail::Note => {}
            SpfFail::Junk => return Action::Junk(format!("SPF: {why}")),
            SpfFail::Reject => return Action::Reject { detail: 23, text: format!("SPF: {why}") },
        }
    }
    Action::Pass
}

fn by_dmarc(settings: &AuthSettings, verdict: &Verdict) -> Option<Action> {
    let dmarc = &verdict.dmarc;
    if dmarc.word != Word::Fail || settings.dmarc == DmarcMode::Note || overridden(settings, verdict) {
        return None;
    }
    match (dmarc.policy, settings.dmarc) {
        ("reject", DmarcMode::Honour) => {
            let text = format!(
                "The message says it is from {domain}, which does not vouch for it and asks to refuse such mail \
                 (DMARC p=reject): {why}",
                domain = dmarc.domain,
                why = dmarc.why
            );
            Some(Action::Reject { detail: 26, text })
        }
        ("reject" | "quarantine", _) => {
            Some(Action::Junk(format!("DMARC of {}: {}", dmarc.domain, dmarc.why)))
        }
        _ => None,
    }
}

/// A sealer whom we trust saw the message before it was changed. The last seal is the one that was made over the
/// message as it came.
pub fn overridden(settings: &AuthSettings, verdict: &Verdict) -> bool {
    let arc = &verdict.arc;
    arc.word == Word::Pass
        && arc.sealers.last().is_some_and(|last| {
            settings.trusted_sealers.iter().any(|trusted| trusted.eq_ignore_ascii_case(last))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Dmarc, Seals, Spf};

    fn failed(policy: &'static str) -> Verdict {
        let dmarc = Dmarc {
            word: Word::Fail,
            domain: "a.example".into(),
            policy,
            why: "SPF fail; no DKIM signature".into(),
            ..Dmarc::default()
        };
        let mail_from = Spf { word: Word::Fail, why: "b.example does not".into(), ..Spf::default() };
        Verdict { dmarc, mail_from, from_fields: 1, ..Verdict::default() }
    }

    #[test]
    fn the_owner_decides() {
        let usual = AuthSettings::default();
        assert!(matches!(decide(&usual, &failed("reject")), Action::Reject { detail: 26, .. }));
        assert!(matches!(decide(&usual, &failed("quarantine")), Action::Junk(_)));
        assert_eq!(decide(&usual, &failed("none")), Action::Pass);
        let softer = AuthSettings { dmarc: DmarcMode::Quarantine, ..usual.clone() };
        assert!(matches!(decide(&softer, &failed("reject")), Action::Junk(_)));
        let noted = AuthSettings { dmarc: DmarcMode::Note, ..usual.clone() };
        assert_eq!(decide(&noted, &failed("reject")), Action::Pass);
    }

    #[test]
    fn trouble_is_nobodys_fault() {
        for word in [Word::TempError, Word::PermError, Word::None] {
            let mut verdict = failed("reject");
            verdict.dmarc.word = word;
            assert_eq!(decide(&AuthSettings::default(), &verdict), Action::Pass, "{word}");
        }
    }

    #[test]
    fn a_second_domain_in_from_is_no_way_round_dmarc() {
        let mut verdict = failed("none");
        verdict.dmarc = Dmarc { word: Word::PermError, why: "several domains".into(), ..Dmarc::default() };
        assert_eq!(decide(&AuthSettings::default(), &verdict), Action::Junk("several domains".into()));
    }

    #[test]
    fn only_the_last_sealer_counts() {
        let settings =
            AuthSettings { trusted_sealers: vec!["List.example".into()], ..AuthSettings::default() };
        let sealed = |word, sealers: &[&str]| {
            let sealers = sealers.iter().map(|s| (*s).to_owned()).collect();
            Verdict { arc: Seals { word, sealers, why: String::new() }, ..failed("reject") }
        };
        assert_eq!(decide(&settings, &sealed(Word::Pass, &["x.example", "list.example"])), Action::Pass);
        for (word, sealers) in
            [(Word::Pass, &["list.example", "x.example"][..]), (Word::Fail, &["list.example"])]
        {
            assert!(matches!(decide(&settings, &sealed(word, sealers)), Action::Reject { .. }));
        }
    }

    #[test]
    fn spf_alone() {
        let with = |spf_fail| AuthSettings { spf_fail, ..AuthSettings::default() };
        let mut verdict = failed("none");
        assert!(matches!(decide(&with(SpfFail::Junk), &verdict), Action::Junk(_)));
        assert!(matches!(decide(&with(SpfFail::Reject), &verdict), Action::Reject { detail: 23, .. }));
        verdict.dmarc.word = Word::Pass;
        assert_eq!(decide(&with(SpfFail::Reject), &verdict), Action::Pass);
        verdict.from_fields = 2;
        assert!(matches!(decide(&with(SpfFail::Note), &verdict), Action::Junk(_)));
    }
}
