//! Help: the usage line in both forms, parameters, examples.

use super::{Catalogue, Command, Kind, Needs, OUTPUT, Param};
use std::fmt::Write;

/// Width to which text is wrapped.
const WIDTH: usize = 100;

impl Command {
    /// `Set-Mailbox [-Identity] TEXT [-DisplayName TEXT] …`
    pub fn usage(&self) -> String {
        let mut out = self.name();
        for param in self.all_params() {
            let name = match param.position {
                Some(_) => format!("[-{}]", param.name),
                None => format!("-{}", param.name),
            };
            let value = param.kind.placeholder();
            let text = if value.is_empty() { name } else { format!("{name} {value}") };
            let _ = if param.mandatory { write!(out, " {text}") } else { write!(out, " [{text}]") };
        }
        out
    }

    /// The whole page of Get-Help.
    pub fn help(&self) -> String {
        let mut out = format!("{}\n\n", self.name());
        wrapped(&mut out, "    ", self.about);
        if !self.detail.is_empty() {
            out.push('\n');
            self.detail.split("\n\n").for_each(|paragraph| wrapped(&mut out, "    ", paragraph));
        }
        out.push_str("\nSYNTAX\n");
        wrapped(&mut out, "    ", &self.usage());
        let _ = writeln!(out, "    {} …   with the same parameters as --gnu-style-options", self.gnu());
        out.push_str("\nPARAMETERS\n");
        for param in self.all_params() {
            describe(&mut out, param);
        }
        out.push_str("\nOUTPUT\n");
        for param in OUTPUT {
            describe(&mut out, param);
        }
        if !self.examples.is_empty() {
            out.push_str("\nEXAMPLES\n");
        }
        for example in self.examples {
            let _ = writeln!(out, "    {}", example.line);
            wrapped(&mut out, "        ", example.about);
        }
        let _ = writeln!(out, "\n{}", needs(self.needs));
        out
    }
}

fn describe(out: &mut String, param: &Param) {
    let mut head = format!("    -{}, --{}", param.name, param.gnu());
    for alias in param.aliases {
        let _ = write!(head, ", -{alias}");
    }
    if !param.kind.is_flag() || param.kind == Kind::Bool {
        let _ = write!(head, "  {}", param.kind.placeholder());
    }
    let _ = writeln!(out, "{head}");
    wrapped(out, "        ", param.about);
    if let Kind::Choice(words) = param.kind {
        wrapped(out, "        ", &format!("One of {}.", words.join(", ")));
    }
    if let Some(why) = param.without_effect {
        wrapped(out, "        ", &format!("Without effect: {why}."));
    }
    if param.mandatory {
        out.push_str("        Must be given.\n");
    }
}

const fn needs(needs: Needs) -> &'static str {
    match needs {
        Needs::Store => "Works on a running server, and on a stopped one.",
        Needs::Files => "Works on a running server, and on the files of a stopped one.",
        Needs::Server => "Needs a running server.",
        Needs::Stopped => "Works only while the server is stopped.",
        Needs::Any => {
            "Works on a running server, on a stopped one, and on files alone where the store cannot be opened."
        }
        Needs::Nothing => "Needs no server.",
    }
}

pub(super) fn wrapped(out: &mut String, indent: &str, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{indent}{line}");
    }
}

impl Catalogue {
    /// Every command with its sentence: what `waypost help` shows.
    pub fn overview(&self) -> String {
        let width = self.commands().iter().map(|c| c.name().len()).max().unwrap_or(0);
        let mut out = String::new();
        for command in self.commands() {
            let _ = writeln!(out, "  {:width$}  {}", command.name(), command.about);
        }
        out
    }
}
