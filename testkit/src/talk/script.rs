//! The text of a script → steps.

use super::pattern::Pattern;
use std::collections::BTreeMap;
use std::fmt;

/// How a server's bytes are divided into responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Lines with their literals.
    Imap,
    /// Lines: SMTP, LMTP, POP3.
    Lines,
}

/// A conversation, ready to be played any number of times.
#[derive(Debug)]
pub struct Script {
    pub name: String,
    pub protocol: Protocol,
    /// What the script says of itself: words after `needs`.
    pub needs: Vec<String>,
    pub(super) texts: BTreeMap<String, Vec<u8>>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) struct Step {
    /// Counted from 1.
    pub line: usize,
    pub client: String,
    pub action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    /// `C:`
    Say(Pattern),
    /// `S:`; several are consecutive `S~:` lines, to be met in any order.
    Expect(Vec<Pattern>),
    /// `S...:`
    Until { wanted: Pattern, forbidden: Vec<Pattern> },
    /// `S: ${closed}`
    ExpectEnd,
    /// `C: ${close}`
    HangUp,
}

/// A script that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct ScriptError {
    pub script: String,
    pub line: usize,
    pub problem: String,
}

impl std::error::Error for ScriptError {}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.script, self.line, self.problem)
    }
}

impl Script {
    /// A client whose name begins with a protocol's speaks that; the others speak the script's.
    pub fn protocol_of(&self, client: &str) -> Protocol {
        if client.starts_with("imap") {
            Protocol::Imap
        } else if ["smtp", "lmtp", "pop3", "submission"].iter().any(|name| client.starts_with(name)) {
            Protocol::Lines
        } else {
            self.protocol
        }
    }

    /// # Errors
    /// The line that is not one of the format's.
    pub fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
        let mut script = Script {
            name: name.to_owned(),
            protocol: Protocol::Imap,
            needs: Vec::new(),
            texts: BTreeMap::new(),
            steps: Vec::new(),
        };
        let mut block: Option<String> = None;
        let mut forbidden: Vec<Pattern> = Vec::new();
        // Whether the last step takes further `S~:` lines.
        let mut group = false;
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem: String| ScriptError { script: name.to_owned(), line: at + 1, problem };
            if let Some(content) = line.strip_prefix('|') {
                let Some(text) = block.as_ref().and_then(|b| script.texts.get_mut(b)) else {
                    return Err(wrong("a text line outside of a text".into()));
                };
                text.extend_from_slice(content.strip_prefix(' ').unwrap_or(content).as_bytes());
                text.extend_from_slice(b"\r\n");
                continue;
            }
            block = None;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("= ") {
                script.texts.insert(name.trim().to_owned(), Vec::new());
                block = Some(name.trim().to_owned());
                continue;
            }
            if let Some(needs) = line.strip_prefix("needs ") {
                script.needs.extend(needs.split_whitespace().map(str::to_owned));
                continue;
            }
            match line {
                "talk imap" => script.protocol = Protocol::Imap,
                "talk smtp" | "talk pop3" | "talk lmtp" => script.protocol = Protocol::Lines,
                _ => {
                    let (who, what) = line.split_once(':').ok_or_else(|| wrong("no colon".into()))?;
                    let what = what.strip_prefix(' ').unwrap_or(what);
                    let (kind, client) = head(who).ok_or_else(|| wrong(format!("unknown kind {who:?}")))?;
                    let pattern = || Pattern::parse(what).map_err(wrong);
                    let action = match (kind, what) {
                        ("C", "${close}") => Action::HangUp,
                        ("C", _) => Action::Say(pattern()?),
                        ("S", "${closed}") => Action::ExpectEnd,
                        ("S", _) => Action::Expect(vec![pattern()?]),
                        ("S~", _) => {
                            let pattern = pattern()?;
                            if let Some(Step { action: Action::Expect(all), client: same, .. }) =
                                script.steps.last_mut()
                                && group
                                && same == client
                            {
                                all.push(pattern);
                                continue;
                            }
                            Action::Expect(vec![pattern])
                        }
                        ("S!", _) => {
                            forbidden.push(pattern()?);
                            continue;
                        }
                        ("S...", _) => {
                            Action::Until { wanted: pattern()?, forbidden: std::mem::take(&mut forbidden) }
                        }
                        _ => return Err(wrong(format!("unknown kind {kind:?}"))),
                    };
                    group = kind == "S~";
                    script.steps.push(Step { line: at + 1, client: client.to_owned(), action });
                }
            }
        }
        Ok(script)
    }
}

/// `C`, `S~(bob)`: the kind of line and whose it is.
fn head(who: &str) -> Option<(&str, &str)> {
    match who.split_once('(') {
        None => Some((who, "")),
        Some((kind, client)) => Some((kind, client.strip_suffix(')')?)),
    }
}
