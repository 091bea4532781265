//! Secrets and personal data, masked before anything is shown: a report is mailed to colleagues and pasted into forums.
//!
//! Addresses keep their first letter and their domain, so that one can still tell two people apart; passwords, tokens and
//! sign-in blobs go whole. Names of servers, connectors, certificates and health mailboxes stay: they are the evidence.

use super::Report;
use regex::{Captures, Regex};
use std::sync::OnceLock;

/// Whether to mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    #[default]
    On,
    Off,
}

/// Local parts that name no person.
const NOBODY: &[&str] = &[
    "healthmailbox",
    "postmaster",
    "mailer-daemon",
    "microsoftexchange",
    "administrator",
    "noreply",
    "inboundproxy",
    "maildeliveryprobe",
    "hubtransportprobe",
    "systemmailbox",
    "extest_",
];

struct Patterns {
    secret: Regex,
    blob: Regex,
    login: Regex,
    address: Regex,
    subject: Regex,
}

fn patterns() -> Option<&'static Patterns> {
    static PATTERNS: OnceLock<Option<Patterns>> = OnceLock::new();
    let build = || {
        Some(Patterns {
            secret: Regex::new(
                r#"(?i)\b(pass(?:word|wd|phrase)?|pwd|secret|api[-_ ]?key|access[-_ ]?token|authorization|cookie)(["']?\s*[:=]\s*["']?)(?:bearer\s+|basic\s+|negotiate\s+)?([^\s"';,]+)"#,
            )
            .ok()?,
            blob: Regex::new(r"(?i)\b(auth(?:enticate)?\s+(?:plain|login|xoauth2|oauthbearer|ntlm|gssapi|negotiate))\s+([A-Za-z0-9+/]{8,}={0,2})").ok()?,
            login: Regex::new(r#"(?i)\b(login\s+"?[^\s"]+"?)\s+("[^"]*"|[^\s"*,;]+)"#).ok()?,
            address: Regex::new(r"(?i)\b([a-z0-9][a-z0-9._%+'-]*)@([a-z0-9-]+(?:\.[a-z0-9-]+)*)").ok()?,
            subject: Regex::new(r"(?i)\b(subject\s*[:=]\s*)([^\r\n;]+)").ok()?,
        })
    };
    PATTERNS.get_or_init(build).as_ref()
}

/// The text without what is nobody's business.
pub fn masked(text: &str) -> String {
    // The expressions are constants, and a test looks that they compile; without them nothing is shown at all.
    let Some(p) = patterns() else { return "[masked]".into() };
    let text = p.secret.replace_all(text, |c: &Captures<'_>| format!("{}{}[masked]", &c[1], &c[2]));
    let text = p.blob.replace_all(&text, "$1 [masked]");
    let text = p.login.replace_all(&text, |c: &Captures<'_>| {
        // `LOGIN failed.` is an answer, not a sign-in.
        let answer = ["failed", "disabled", "completed", "ok"];
        if answer.iter().any(|word| c[0].to_lowercase().contains(word))
            || !c[1].contains('@') && !c[1].contains('\\')
        {
            return c[0].to_owned();
        }
        format!("{} [masked]", &c[1])
    });
    let text = p.subject.replace_all(&text, |c: &Captures<'_>| {
        // Certificates and security events have subjects that are no one's letter.
        let upper = c[2].trim_start().to_uppercase();
        let other = upper.starts_with("CN=") || upper.contains("O=") || upper.starts_with("SECURITY ID");
        if other { c[0].to_owned() } else { format!("{}[masked]", &c[1]) }
    });
    let text = p.address.replace_all(&text, |c: &Captures<'_>| {
        let local = c[1].to_lowercase();
        // Message-IDs name servers, not people: they stay findable.
        let machine = local.len() > 30 || NOBODY.iter().any(|name| local.starts_with(name));
        match local.chars().next() {
            Some(first) if !machine => format!("{first}***@{}", &c[2]),
            _ => c[0].to_owned(),
        }
    });
    text.into_owned()
}

impl Report {
    /// Masks every text in place.
    pub fn mask(&mut self) {
        let hide = |text: &mut String| *text = masked(text);
        for finding in &mut self.findings {
            finding.evidence.iter_mut().for_each(|e| hide(&mut e.fact));
        }
        self.timeline.iter_mut().for_each(|moment| hide(&mut moment.what));
        self.unread.iter_mut().for_each(|unread| hide(&mut unread.reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_secrets_are_masked_and_evidence_is_not() {
        for (text, wanted) in [
            ("login invoices@example.net hunter2", "login i***@example.net [masked]"),
            (
                "HealthMailbox1f3a@corp.example NO LOGIN failed.",
                "HealthMailbox1f3a@corp.example NO LOGIN failed.",
            ),
            ("Password: hunter2", "Password: [masked]"),
            ("Authorization: Bearer abc.def", "Authorization: [masked]"),
            ("AUTH PLAIN AGFteQBzZWNyZXQ=", "AUTH PLAIN [masked]"),
            ("Subject: Salaries 2026", "Subject: [masked]"),
            (
                "Subject: Security ID: NULL SID Account Name: -",
                "Subject: Security ID: NULL SID Account Name: -",
            ),
            ("Subject: CN=mail.example.net", "Subject: CN=mail.example.net"),
            ("MBX01\\Default MBX01", "MBX01\\Default MBX01"),
            (
                "z NO [Error=ProxyNotAuthenticated] LOGIN failed.",
                "z NO [Error=ProxyNotAuthenticated] LOGIN failed.",
            ),
        ] {
            assert_eq!(masked(text), wanted);
        }
    }
}
