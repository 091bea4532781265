//! Small things about words: how far two are apart, how a name is split.

/// Levenshtein's distance, ignoring ASCII case.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_ascii_lowercase().chars().collect(), b.to_ascii_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = i;
        let mut last = i + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = before + usize::from(x != y);
            before = *cell;
            last = cost.min(before + 1).min(last + 1);
            *cell = last;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// `MaxConnectionsPerUser` → `max-connections-per-user`, `X509CertificateName` → `x509-certificate-name`,
/// `SSLBindings` → `ssl-bindings`, `OwaServerUrl` → `owa-server-url`.
pub fn kebab(pascal: &str) -> String {
    let chars: Vec<char> = pascal.chars().collect();
    let mut out = String::with_capacity(pascal.len() + 8);
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|p| chars.get(p));
        let after = chars.get(i + 1);
        let starts = c.is_ascii_uppercase()
            && before
                .is_some_and(|b| !b.is_ascii_uppercase() || after.is_some_and(|a| a.is_ascii_lowercase()));
        if starts && before != Some(&'-') {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Nouns that are also called otherwise: short form, full form, both in lower case without hyphens.
const NOUNS: &[(&str, &str)] =
    &[("certificate", "exchangecertificate"), ("server", "exchangeserver"), ("leg", "serviceleg")];

/// A command's name (lower case, no hyphens) with the full form of its noun; `None` where it has no short one.
pub fn full_noun(name: &str) -> Option<String> {
    NOUNS.iter().find_map(|(short, full)| Some(format!("{}{full}", name.strip_suffix(short)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, n) in
            [("", "", 0), ("banner", "BANER", 1), ("kitten", "sitting", 3), ("a", "", 1), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }

    #[test]
    fn kebabs() {
        for (pascal, kebab_) in [
            ("MaxConnectionsPerUser", "max-connections-per-user"),
            ("X509CertificateName", "x509-certificate-name"),
            ("SSLBindings", "ssl-bindings"),
            ("UnencryptedOrTLSBindings", "unencrypted-or-tls-bindings"),
            ("EnableGSSAPIAndNTLMAuth", "enable-gssapi-and-ntlm-auth"),
            ("WhatIf", "what-if"),
            ("Set-ImapSettings", "set-imap-settings"),
            ("Get-CASMailbox", "get-cas-mailbox"),
        ] {
            assert_eq!(kebab(pascal), kebab_);
        }
    }
}
