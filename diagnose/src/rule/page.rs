//! A cause as a page of documentation, for people who have the fault and may never have heard of us.

use super::{Rule, all};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lines of an example that are shown.
const EXAMPLE_LINES: usize = 18;

/// Areas in the order of the index, with their headings.
const AREAS: &[(&str, &str)] = &[
    ("certificates", "Certificates"),
    ("kerberos", "Kerberos and rights"),
    ("directory", "DNS and directory"),
    ("network", "Network, firewall, load balancer"),
    ("services", "Component states and services"),
    ("resources", "Resources and back pressure"),
    ("queues", "Queues, agents, routing"),
    ("connectors", "Connectors and recipients"),
    ("limits", "Limits and policy"),
    ("store", "Databases, availability groups, search"),
    ("monitoring", "Monitoring that lies"),
    ("tls", "TLS versions and updates"),
    ("noise", "What looks bad and is not"),
    ("waypost", "Waypost's own"),
];

impl Rule {
    /// The page in Markdown.
    pub fn page(&self) -> String {
        let mut page = format!("# {}\n\n`{}`", self.title, self.code);
        if !self.leg.is_empty() {
            let _ = write!(page, " · leg: {}", self.leg);
        }
        let _ = write!(page, "\n\n{}\n", self.meaning);
        section(&mut page, "What people see", self.symptoms.iter().map(String::as_str));
        let signs = self.signs.iter().filter(|s| !s.fact.is_empty());
        let told = signs.map(|s| sign(&s.fact, &s.end, &s.kinds, s.contrary)).collect::<Vec<_>>();
        section(&mut page, "How it is recognised", told.iter().map(String::as_str));
        if !self.remedy.is_empty() {
            page.push_str("\n## What to do\n\n");
            for (n, step) in self.remedy.iter().enumerate() {
                let _ = writeln!(page, "{}. {}", n + 1, code(step));
            }
        }
        if !self.confused_with.is_empty() {
            page.push_str("\n## What it is confused with\n\n");
            for rival in &self.confused_with {
                let title = super::find(&rival.code).map_or("", |r| r.title.as_str());
                let _ = writeln!(page, "- [{}]({}.md) (`{}`). {}", title, rival.code, rival.code, rival.test);
            }
        }
        let needs = self.needs.iter().map(|need| {
            let from = if need.server.is_empty() { String::new() } else { format!(", from {}", need.server) };
            format!("{}{from}: `{}`", need.what, need.how)
        });
        let needs = needs.collect::<Vec<_>>();
        section(&mut page, "What settles it", needs.iter().map(String::as_str));
        self.example(&mut page);
        if !self.reference.is_empty() {
            let _ = write!(page, "\n## More\n\n{}\n", self.reference);
        }
        page
    }

    fn example(&self, page: &mut String) {
        let Some(example) = self.examples.iter().find(|e| e.fires) else { return };
        let _ = write!(
            page,
            "\n## An example\n\nThe evidence is composed; it shows the cause as `waypost diagnose` finds it.\n"
        );
        for (name, text) in example.files.iter().take(2) {
            let lines: Vec<&str> = text.trim_matches('\n').lines().collect();
            let cut = if lines.len() > EXAMPLE_LINES { "\n…" } else { "" };
            let shown = lines.iter().take(EXAMPLE_LINES).copied().collect::<Vec<_>>().join("\n");
            let _ = write!(page, "\n`{name}`\n\n````text\n{shown}{cut}\n````\n");
        }
    }
}

/// The index of all pages.
pub fn index() -> String {
    let mut by_area: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for rule in all() {
        by_area.entry(rule.area.as_str()).or_default().push(rule);
    }
    let mut page = String::from(
        "# Causes\n\nOne page for each cause that `waypost diagnose` knows, with the evidence that shows it, what it is confused \
         with, and the cure. The pages are made from the rules (`diagnose/rules`); for a cause on the command line: `waypost \
         diagnose explain CODE`. Nothing of Waypost has to be installed where mail is broken: collect the artefacts and look at \
         them elsewhere.\n",
    );
    for (area, heading) in AREAS {
        let Some(rules) = by_area.get_mut(area) else { continue };
        rules.sort_by_key(|rule| order(rule));
        let _ = write!(page, "\n## {heading}\n\n");
        for rule in rules.iter() {
            let _ = writeln!(page, "- [{}]({}.md) `{}`", rule.title, rule.code, rule.code);
        }
    }
    page.push_str("\n## Seen from outside, at any mail server\n\n");
    for cause in crate::outside::causes::ALL {
        let _ = writeln!(page, "- [{}]({}.md) `{}`", cause.title, cause.code, cause.code);
    }
    page
}

/// By the catalogue, where `A2` comes before `A10`.
fn order(rule: &Rule) -> (String, u32, String) {
    let letter: String = rule.catalogue.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
    let number = rule.catalogue.get(letter.len()..).and_then(|n| n.parse().ok()).unwrap_or(0);
    (letter, number, rule.code.clone())
}

fn section<'a>(page: &mut String, head: &str, items: impl Iterator<Item = &'a str>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    let _ = write!(page, "\n## {head}\n\n");
    for item in items {
        let _ = writeln!(page, "- {item}");
    }
}

/// A sign in words: the blanks of its text are shown as such.
fn sign(fact: &str, end: &str, kinds: &[String], contrary: bool) -> String {
    let mut told = String::new();
    let mut rest = fact;
    while let Some((before, after)) = rest.split_once('{') {
        told.push_str(before);
        match after.split_once('}') {
            Some((name, tail)) => {
                let _ = write!(told, "*{name}*");
                rest = tail;
            }
            None => rest = after,
        }
    }
    told.push_str(rest);
    let end = if end.is_empty() { String::new() } else { format!("At the {end}: ") };
    let against = if contrary { " (speaks against it)" } else { "" };
    let kinds = kinds.iter().filter(|k| *k != "text").map(String::as_str).collect::<Vec<_>>().join(", ");
    let kinds = if kinds.is_empty() { String::new() } else { format!(" — {kinds}") };
    format!("{end}{told}{against}{kinds}")
}

/// A step that is a command is set as one.
fn code(step: &str) -> String {
    let first = step.split_whitespace().next().unwrap_or_default();
    let cmdlet =
        first.contains('-') && first.chars().next().is_some_and(char::is_uppercase) && !first.ends_with('.');
    let tool =
        ["klist", "setspn", "w32tm", "netsh", "reg", "waypost", "wevtutil", "nltest", "repadmin", "iisreset"];
    if !step.contains('`') && (cmdlet || tool.contains(&first)) && !step.contains(". ") {
        return format!("`{step}`");
    }
    step.to_owned()
}
