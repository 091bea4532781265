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
    header: Regex,
    secret: Regex,
    parameter: Regex,
    secure: Regex,
    blob: Regex,
    padded: Regex,
    literal: Regex,
    literals: Regex,
    answered: Regex,
    answered_again: Regex,
    piped: Regex,
    token: Regex,
    line: Regex,
    key: Regex,
    login: Regex,
    tagged: Regex,
    pass: Regex,
    url: Regex,
    address: Regex,
    subject: Regex,
}

/// A word, or a text in quotes with what was escaped in it.
const VALUE: &str = r#"(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"';,]+)"#;

/// `first` at the end of a line, and `then` at the beginning of the client's next one.
fn on_next_line(first: &str, then: &str) -> String {
    const GO_ON: &str = r"[ \t]*(?:\[?[CS]:?\]?|[<>])?[ \t]*(?:\+|334)[^\n]*\n";
    const CLIENT: &str = r"[ \t]*(?:C:|>)?[ \t]*";
    let first = first.trim_start_matches("(?im)");
    format!(r"(?im)({first}[ \t]*\r?\n(?:{GO_ON})?{CLIENT})({then})")
}

fn patterns() -> Option<&'static Patterns> {
    static PATTERNS: OnceLock<Option<Patterns>> = OnceLock::new();
    let build = || {
        let regex = |pattern: &str| Regex::new(&pattern.replace("VALUE", VALUE)).ok();
        Some(Patterns {
            // All of the line: a cookie has parts, an Authorization a scheme of any name.
            header: regex(
                r#"(?im)\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s*[:=]\s*)(\S[^\r\n]*)"#,
            )?,
            secret: regex(
                r#"(?i)\b((?:[a-z]*pass(?:word|wd|phrase)?|pwd|passwort|kennwort|(?:client[-_ ]?)?secret|api[-_ ]?key|(?:access|refresh|id)[-_ ]?token|sharedaccesskey|accountkey)["']?\s*[:=]\s*)(?:bearer\s+|basic\s+|negotiate\s+)?(VALUE)"#,
            )?,
            parameter: regex(
                r#"(?i)((?:^|\s)-(?:(?:new|old|plain|as)*(?:text)?(?:password|passphrase|secret|token)|string)[\s:]+|\bnet\s+use\s[^\r\n]*/user:\S+\s+)(VALUE)"#,
            )?,
            secure: regex(r"(?i)(\bconvertto-securestring\s+)(VALUE)")?,
            blob: regex(
                r"(?i)\b(auth(?:enticate)?\s+(?:plain(?:-clienttoken)?|login|x?oauth2?|xoauth2|oauthbearer|ntlm|gssapi|gs2-[a-z0-9]+|negotiate|cram-md5|digest-md5|scram-[a-z0-9-]+|external))\s+([A-Za-z0-9+/]{4,}={0,2})",
            )?,
            // What follows AUTH on a line of its own.
            padded: regex(
                r#"(^|[\s">:])((?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=))(["\s,]|$)"#,
            )?,
            // What is announced by its length stands in the next line, after the server's word to go on.
            literal: regex(&on_next_line(r"\blogin\s+VALUE\s+\{\d{1,6}\+?\}", r"[^\r\n]+"))?,
            literals: regex(&on_next_line(
                &format!(
                    r"{}[ \t]*\{{\d{{1,6}}\+?\}}",
                    on_next_line(r"\blogin\s+\{\d{1,6}\+?\}", r"[^\r\n]*?")
                ),
                r"[^\r\n]+",
            ))?,
            answered: regex(&on_next_line(
                r"\bauth(?:enticate)?\s+[a-z0-9-]+",
                r"[a-z0-9+/]{3,}={0,2}[ \t]*$",
            ))?,
            answered_again: regex(&on_next_line(
                r"\bauth(?:enticate)?\s+login[ \t]*\r?\n[^\n]*\n[^\n]*\[masked\]",
                r"[a-z0-9+/]{3,}={0,2}[ \t]*$",
            ))?,
            piped: regex(r"(?i)(VALUE)(\s*\|\s*convertto-securestring)")?,
            // NTLM, Kerberos, JSON web tokens, what Windows has encrypted, bearer tokens.
            token: regex(
                r"\bTlRMTVNTUAA[A-Za-z0-9+/]*={0,2}|\bYI[IG][A-Za-z0-9+/]{40,}={0,2}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+|\b01000000[dD]08[cC]9[dD][dD][fF][0-9a-fA-F]*|\b(?i:bearer)\s+[A-Za-z0-9._~+/-]{20,}=*",
            )?,
            line: regex(r"(?m)^([^A-Za-z0-9+/\r\n]*)([A-Za-z0-9+/]{60,}={0,2})([ \t\r]*)$")?,
            key: regex(r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\z)")?,
            login: regex(r#"(?i)\b(login\s+"?[^\s"]+"?)\s+(VALUE)"#)?,
            tagged: regex(
                r#"(?m)((?:^|[\s>:"])(?:[A-Za-z]{0,8}\d{1,8}|[A-Za-z.])\s+(?i:login)\s+VALUE)\s+(VALUE)"#,
            )?,
            pass: regex(r#"(?m)((?:^|[>:",]\s?)PASS\s+)(\S[^\r\n"]*)"#)?,
            url: regex(r"(?i)\b([a-z][a-z0-9+.-]{1,15}://)[^\s/@:]+:[^\s/@]+@")?,
            address: regex(r"(?i)\b([a-z0-9][a-z0-9._%+'-]*)@([a-z0-9-]+(?:\.[a-z0-9-]+)*)")?,
            subject: regex(r"(?i)\b(subject\s*[:=]\s*)([^\r\n;]+)")?,
        })
    };
    PATTERNS.get_or_init(build).as_ref()
}

/// Whether a word of base64 is more likely a sign-in than a word: `Issuer==` is none, a hash of digits is none.
fn is_blob(word: &str) -> bool {
    let inner = word.trim_end_matches('=').get(1..).unwrap_or_default();
    let has = |kind: fn(&char) -> bool| inner.chars().any(|c| kind(&c));
    has(char::is_ascii_lowercase) && (has(char::is_ascii_uppercase) || has(char::is_ascii_digit))
}

/// Letters of both cases and digits: no hash, no list of names.
fn is_mixed(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit)
}

/// Passwords, tokens and sign-ins.
fn without_secrets(text: &str, p: &Patterns) -> String {
    let text = p.key.replace_all(text, "$1[masked]$2");
    let text = p.literal.replace_all(&text, "$1[masked]");
    let text = p.literals.replace_all(&text, |c: &Captures<'_>| {
        // The last part that was caught is the password; what stands before it stays.
        let secret = c.iter().flatten().last().map_or(0, |m| m.len());
        let kept = c[0].len().saturating_sub(secret);
        format!("{}[masked]", c[0].get(..kept).unwrap_or_default())
    });
    let text = p.answered.replace_all(&text, "$1[masked]");
    let text = p.answered_again.replace_all(&text, "$1[masked]");
    let text = p.token.replace_all(&text, "[masked]");
    let text = p.line.replace_all(&text, |c: &Captures<'_>| match is_blob(&c[2]) && is_mixed(&c[2]) {
        true => format!("{}[masked]{}", &c[1], &c[3]),
        false => c[0].to_owned(),
    });
    let text = p.piped.replace_all(&text, |c: &Captures<'_>| match c[1].starts_with(['$', '(', '@']) {
        true => c[0].to_owned(),
        false => format!("[masked]{}", &c[2]),
    });
    let text = p.header.replace_all(&text, "$1$2[masked]");
    let text = p.secret.replace_all(&text, "$1[masked]");
    let given = |c: &Captures<'_>| {
        // The next parameter, a variable or a call says nothing itself; what is called is masked by itself.
        let plain = !c[2].starts_with(['-', '$', '(', '@']);
        if plain { format!("{}[masked]", &c[1]) } else { c[0].to_owned() }
    };
    let text = p.secure.replace_all(&text, given);
    let text = p.parameter.replace_all(&text, given);
    let text = p.blob.replace_all(&text, |c: &Captures<'_>| {
        // `AUTH LOGIN failed` is said about it.
        let word = c[2].chars().skip(1).all(|c| c.is_ascii_lowercase());
        // `AUTH NTLM LOGIN` is an offer.
        let offer =
            ["ntlm", "login", "plain", "gssapi", "xoauth2"].iter().any(|m| c[2].eq_ignore_ascii_case(m));
        if word || offer { c[0].to_owned() } else { format!("{} [masked]", &c[1]) }
    });
    let text = p.padded.replace_all(&text, |c: &Captures<'_>| match is_blob(&c[2]) {
        true => format!("{}[masked]{}", &c[1], &c[3]),
        false => c[0].to_owned(),
    });
    let answer = |all: &str| {
        // `LOGIN failed.` is an answer, not a sign-in.
        let all = all.to_lowercase();
        ["failed", "disabled", "completed", "ok", "[masked]"].iter().any(|word| all.contains(word))
    };
    let text = p.login.replace_all(&text, |c: &Captures<'_>| {
        let named = c[1].contains('@') || c[1].contains('\\');
        let hidden = answer(&c[0]) || !named || c[2].starts_with('*');
        if hidden { c[0].to_owned() } else { format!("{} [masked]", &c[1]) }
    });
    let text = p.tagged.replace_all(&text, |c: &Captures<'_>| {
        let hidden = answer(&c[0]) || c[2].starts_with(['*', '{']);
        if hidden { c[0].to_owned() } else { format!("{} [masked]", &c[1]) }
    });
    let text = p.pass.replace_all(&text, "$1[masked]");
    p.url.replace_all(&text, "$1[masked]@").into_owned()
}

/// The text without what is nobody's business.
pub fn masked(text: &str) -> String {
    // The expressions are constants, and a test looks that they compile; without them nothing is shown at all.
    let Some(p) = patterns() else { return "[masked]".into() };
    let text = without_secrets(text, p);
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
            finding.untested.iter_mut().for_each(hide);
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
            ("a1 LOGIN amy hunter2", "a1 LOGIN amy [masked]"),
            (r#"C: a1 LOGIN "amy" "hun\"ter 2" more"#, r#"C: a1 LOGIN "amy" [masked] more"#),
            ("z LOGIN CONTOSO\\amy hunter2", "z LOGIN CONTOSO\\amy [masked]"),
            ("a1 LOGIN amy {7}", "a1 LOGIN amy {7}"),
            ("PASS hunter two", "PASS [masked]"),
            ("C: AGFteQBzZWNyZXQ=", "C: [masked]"),
            ("aHVudGVyMg==", "[masked]"),
            ("AUTH LOGIN aHVudGVy", "AUTH LOGIN [masked]"),
            ("AUTH NTLM TlRMTVNTUAAB", "AUTH NTLM [masked]"),
            ("Authorization: Negotiate YIIabc, rest", "Authorization: [masked]"),
            ("Cookie: a=1; b=2", "Cookie: [masked]"),
            (r#"password = "my secret words"; x"#, "password = [masked]; x"),
            ("Server=db;User ID=sa;Pwd=p;Timeout=5", "Server=db;User ID=sa;Pwd=[masked];Timeout=5"),
            ("Set-X -Password 'a b' -Confirm", "Set-X -Password [masked] -Confirm"),
            (
                "New-X -Password (ConvertTo-SecureString \"p w\" -AsPlainText -Force)",
                "New-X -Password (ConvertTo-SecureString [masked] -AsPlainText -Force)",
            ),
            (
                "ConvertTo-SecureString -String 'x' -AsPlainText",
                "ConvertTo-SecureString -String [masked] -AsPlainText",
            ),
            ("smtp://amy:pw@relay.example", "smtp://[masked]@relay.example"),
            ("adminPassword: hunter2", "adminPassword: [masked]"),
            (
                "Thumbprint 3F2504E04F8911D39A0C0305E82C3301A1B2C3D4",
                "Thumbprint 3F2504E04F8911D39A0C0305E82C3301A1B2C3D4",
            ),
            ("535 5.7.3 Authentication unsuccessful", "535 5.7.3 Authentication unsuccessful"),
            ("the user login was refused", "the user login was refused"),
            ("AUTH LOGIN failed", "AUTH LOGIN failed"),
            (
                "z NO [Error=ProxyNotAuthenticated] LOGIN failed.",
                "z NO [Error=ProxyNotAuthenticated] LOGIN failed.",
            ),
        ] {
            assert_eq!(masked(text), wanted);
        }
    }
    #[test]
    fn secrets_of_conversations_and_scripts() {
        for (text, secret, kept) in [
            ("a1 LOGIN amy {8}\r\nhunter2x", "hunter2x", "a1 LOGIN amy {8}"),
            (
                "C: a1 LOGIN amy {8}\nS: + Ready\nC: hunter2x\nS: a1 NO LOGIN failed.",
                "hunter2x",
                "LOGIN failed.",
            ),
            ("a1 LOGIN {3}\n+ go\namy {8}\n+ go\nhunter2x\na1 NO", "hunter2x", "amy {8}"),
            ("a1 LOGIN {3+}\namy {8+}\nhunter2x", "hunter2x", "{3+}"),
            ("C: a1 AUTHENTICATE PLAIN\nS: +\nC: AGFteQBzZWNyZXQx\nS: a1 NO", "AGFteQBzZWNyZXQx", "S: a1 NO"),
            ("a1 AUTHENTICATE XOAUTH2 dXNlcj1hbXlAY29ycC5leGFtcGxl", "dXNlcj1hbXlA", "XOAUTH2"),
            (
                "AUTH LOGIN\n334 VXNlcm5hbWU6\nYW15\n334 UGFzc3dvcmQ6\naHVudGVy\n535 5.7.3",
                "aHVudGVy",
                "535 5.7.3",
            ),
            ("AUTH PLAIN\n334\nAGFteQBzZWNyZXQx", "AGFteQBzZWNyZXQx", "AUTH PLAIN"),
            (">,PASS hunter2x", "hunter2x", "PASS"),
            ("Set-Cookie: X-BackEndCookie=S-1-5-21=u56Lnp2e; path=/", "u56Lnp2e", "Set-Cookie"),
            ("X says NTLM TlRMTVNTUAADAAAAGAAYAHgAAAA= then 401", "TlRMTVNTUAADAAAA", "then 401"),
            ("'hunter2x' | ConvertTo-SecureString -AsPlainText -Force", "hunter2x", "-AsPlainText"),
            ("$p = (ConvertTo-SecureString 'hunter2x' -AsPlainText -Force)", "hunter2x", "$p ="),
            ("01000000d08c9ddf0115d1118c7a00c04fc297eb01000000", "c04fc297eb", ""),
            ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbXkifQ.c2ln was refused", "eyJzdWIi", "was refused"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAbc\n-----END RSA PRIVATE KEY-----\nx",
                "MIIEow",
                "\nx",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow", "BEGIN"),
            ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj", "9w0BAQEFAASCBKcw", ""),
            ("Data Source=sql;User ID=sa;Password=hunter2x;Timeout=5", "hunter2x", "Timeout=5"),
        ] {
            let shown = masked(text);
            assert!(!shown.contains(secret) && shown.contains(kept), "{text:?} is shown as {shown:?}");
        }
        for kept in [
            "a1 LOGIN amy {8}",
            "AUTH LOGIN\n334 VXNlcm5hbWU6",
            "250-AUTH NTLM LOGIN\r\n250 OK",
            "HealthMailbox6f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e",
            "9e107d9d372bb6826bd81d3542a419d6e4d909c290d0fb1ca068ffaddf22cbd0",
            "$secret | ConvertTo-SecureString",
        ] {
            assert_eq!(masked(kept), kept);
        }
    }

    #[test]
    fn no_report_shows_a_secret() {
        let text = "Outlook: a1 LOGIN amy hunter2x\na1 NO [Error=ProxyNotAuthenticated Proxy=MBX01:9933] LOGIN failed. password=hunter2x\nSMTP: 451 4.4.0 Primary target IP address responded with: 451 5.7.3 STARTTLS is required to send mail; AUTH PLAIN aHVudGVyMng=\n";
        let options = crate::Options::new(waypost_base::Timestamp(1_772_530_000_000));
        let report = crate::pasted("ticket.txt", text, &options);
        assert!(!report.findings.is_empty());
        let shown = [
            report.json(),
            crate::report::text(&report, crate::report::Colours::Off),
            crate::report::page(&report, "x", "y"),
        ];
        for text in shown {
            assert!(!text.contains("hunter2x") && !text.contains("aHVudGVyMng"), "{text}");
        }
    }
}
