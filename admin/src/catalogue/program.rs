//! What the program does itself, beside the commands of the catalogue: `diagnose`, `quickstart`, `lab`… Their words belong to
//! whoever reads them from the command line; here they are only told, to shells and in manual pages.

use super::Catalogue;
use super::man::roff;
use std::fmt::Write;

/// A word of the command line that is no command of the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    pub name: String,
    pub about: String,
    /// How it is called, in one line.
    pub usage: String,
    /// More for its page, as it is to be printed.
    pub detail: String,
    /// What may follow, where that is a choice; files follow as well.
    pub words: Vec<String>,
    pub options: Vec<ProgramOption>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramOption {
    /// Without dashes.
    pub long: String,
    pub about: String,
    /// Placeholder of its value; empty: it has none.
    pub value: String,
    pub choices: Vec<String>,
}

impl Program {
    /// `waypost-diagnose.1`
    pub fn man_file(&self) -> String {
        format!("waypost-{}.1", self.name)
    }

    pub fn man(&self) -> String {
        let mut out =
            format!(".TH \"WAYPOST-{}\" 1 \"\" \"Waypost\" \"Waypost commands\"\n", self.name.to_uppercase());
        let _ = writeln!(out, ".SH NAME\nwaypost\\-{} \\- {}", roff(&self.name), roff(&self.about));
        let _ = writeln!(out, ".SH SYNOPSIS\n.B {}", roff(&self.usage));
        let _ = writeln!(out, ".SH DESCRIPTION\n{}.", roff(self.about.trim_end_matches('.')));
        if !self.detail.is_empty() {
            let lines: Vec<String> = self.detail.lines().map(roff).collect();
            let _ = writeln!(out, ".PP\n.nf\n{}\n.fi", lines.join("\n"));
        }
        if !self.options.is_empty() {
            out.push_str(".SH OPTIONS\n");
        }
        for option in &self.options {
            let (long, value) = (roff(&option.long), roff(&option.value));
            let _ = writeln!(out, ".TP\n\\fB\\-\\-{long}\\fR \\fI{value}\\fR\n{}", roff(&option.about));
            if !option.choices.is_empty() {
                let _ = writeln!(out, "One of {}.", roff(&option.choices.join(", ")));
            }
        }
        out
    }

    fn longs(&self) -> Vec<String> {
        self.options.iter().map(|o| format!("--{}", o.long)).collect()
    }

    pub(super) fn bash(&self) -> String {
        let all = [self.words.clone(), self.longs()].concat();
        format!("    {}) words=\"{}\" ;;\n", self.name, all.join(" "))
    }

    pub(super) fn zsh(&self) -> String {
        let mut out = format!("    {}) _arguments -s \\\n", self.name);
        for option in &self.options {
            let value = match (option.value.as_str(), option.choices.as_slice()) {
                ("", _) => String::new(),
                ("FILE" | "DIR", _) => ":path:_files".into(),
                (_, []) => ":value: ".into(),
                (_, choices) => format!(":value:({})", choices.join(" ")),
            };
            let about = super::completion::zsh_text(&option.about);
            let _ = writeln!(out, "      '--{}[{about}]{value}' \\", option.long);
        }
        match self.words.as_slice() {
            [] => out.push_str("      '*:value:_files' ;;\n"),
            words => {
                let _ = writeln!(out, "      '1:what:({})' '*:value:_files' ;;", words.join(" "));
            }
        }
        out
    }

    pub(super) fn fish(&self) -> String {
        let seen = format!("complete -c waypost -n '__fish_seen_subcommand_from {}'", self.name);
        let mut out = String::new();
        if !self.words.is_empty() {
            let _ = writeln!(out, "{seen} -a '{}'", self.words.join(" "));
        }
        for option in &self.options {
            let value = match (option.value.as_str(), option.choices.as_slice()) {
                ("", _) => String::new(),
                ("FILE" | "DIR", _) => " -r -F".into(),
                (_, []) => " -x".into(),
                (_, choices) => format!(" -x -a '{}'", choices.join(" ")),
            };
            let about = option.about.replace('\'', "\\'");
            let _ = writeln!(out, "{seen} -l {}{value} -d '{about}'", option.long);
        }
        out
    }
}

impl Catalogue {
    /// With what the program does itself, for completions and manual pages.
    #[must_use]
    pub fn with(mut self, programs: Vec<Program>) -> Catalogue {
        self.programs = programs;
        self
    }

    /// What the program does itself.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnose() -> Program {
        let option = |long: &str, value: &str, choices: &[&str]| ProgramOption {
            long: long.into(),
            about: "What it's [for]".into(),
            value: value.into(),
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
        };
        Program {
            name: "diagnose".into(),
            about: "Find the cause".into(),
            usage: "waypost diagnose [WHAT]".into(),
            detail: ".first\n  second".into(),
            words: vec!["imap".into(), "mail".into()],
            options: vec![
                option("json", "", &[]),
                option("ca", "FILE", &[]),
                option("tls", "KIND", &["implicit", "starttls"]),
            ],
        }
    }

    #[test]
    fn shells_and_pages_know_it() {
        let all = Catalogue::new().with(vec![diagnose()]);
        let bash = all.bash();
        assert!(bash.contains("    diagnose) words=\"imap mail --json --ca --tls\" ;;"));
        assert!(bash.contains("--tls) COMPREPLY=($(compgen -W \"implicit starttls\""), "{bash}");
        assert!(bash.contains(" diagnose") && bash.contains(" why"), "{bash}");
        let zsh = all.zsh();
        assert!(zsh.contains("'diagnose:Find the cause'") && zsh.contains("'1:what:(imap mail)'"));
        assert!(zsh.contains("'--ca[What it'\\''s (for)]:path:_files'"), "{zsh}");
        let fish = all.fish();
        assert!(
            fish.contains("-a diagnose -d 'Find the cause'")
                && fish.contains("-l tls -x -a 'implicit starttls'")
        );
        let pages = all.man_pages();
        let page = &pages.iter().find(|(name, _)| name == "waypost-diagnose.1").unwrap().1;
        assert!(
            page.contains("\n\\&.first\n  second\n") && page.contains("One of implicit, starttls."),
            "{page}"
        );
        assert!(pages.iter().any(|(name, _)| name == "waypost-why.1"), "the short name has a page");
        let whole = &pages.iter().find(|(name, _)| name == "waypost.1").unwrap().1;
        assert!(whole.contains("waypost diagnose") && whole.contains("Get\\-Mailbox"), "{whole}");
    }
}
