//! Manual pages in roff, one for each command and one for all.

use super::{Catalogue, Command, Kind, OUTPUT, Param};
use std::fmt::Write;

impl Command {
    /// `waypost-set-imap-settings.1`
    pub fn man_file(&self) -> String {
        format!("waypost-{}.1", self.gnu())
    }

    /// The page, for `man`.
    pub fn man(&self) -> String {
        let mut out = format!(
            ".TH \"WAYPOST-{}\" 1 \"\" \"Waypost\" \"Waypost commands\"\n",
            self.gnu().to_uppercase()
        );
        let _ = writeln!(out, ".SH NAME\nwaypost\\-{} \\- {}", roff(&self.gnu()), roff(self.about));
        let _ = writeln!(
            out,
            ".SH SYNOPSIS\n.B waypost\n{}\n.br\n.B waypost\n{}",
            roff(&self.usage()),
            roff(&self.gnu())
        );
        let _ = writeln!(out, ".SH DESCRIPTION\n{}", roff(self.about));
        for paragraph in self.detail.split("\n\n").filter(|p| !p.is_empty()) {
            let _ = writeln!(out, ".PP\n{}", roff(paragraph));
        }
        out.push_str(".SH OPTIONS\n");
        for param in self.all_params().chain(OUTPUT) {
            option(&mut out, param);
        }
        if !self.examples.is_empty() {
            out.push_str(".SH EXAMPLES\n");
        }
        for example in self.examples {
            let _ = writeln!(out, ".TP\n.B {}\n{}", roff(example.line), roff(example.about));
        }
        out.push_str(
            ".SH EXIT STATUS\n0 done; 1 failed; 2 wrong usage; 3 not found; 4 unavailable; 5 partly done.\n",
        );
        out
    }
}

fn option(out: &mut String, param: &Param) {
    let value = param.kind.placeholder();
    let _ =
        writeln!(out, ".TP\n\\fB\\-{}\\fR, \\fB\\-\\-{}\\fR \\fI{value}\\fR", param.name, roff(&param.gnu()));
    let _ = writeln!(out, "{}", roff(param.about));
    if let Kind::Choice(words) = param.kind {
        let _ = writeln!(out, "One of {}.", words.join(", "));
    }
    if let Some(why) = param.without_effect {
        let _ = writeln!(out, "Without effect: {}.", roff(why));
    }
}

/// Text that means itself: hyphens and backslashes escaped, no line that begins with a request.
pub(super) fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

impl Catalogue {
    /// File names and texts of all pages.
    pub fn man_pages(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> =
            self.commands().iter().map(|c| (c.man_file(), c.man())).collect();
        // Without its programs a catalogue speaks of its commands alone.
        if self.programs().is_empty() {
            return all;
        }
        all.extend(self.programs().iter().map(|p| (p.man_file(), p.man())));
        if let Some(why) = self.find("why") {
            all.push(("waypost-why.1".into(), format!(".so man1/{}\n", why.man_file())));
        }
        all.push(("waypost.1".into(), self.man()));
        all
    }

    /// The page of all.
    fn man(&self) -> String {
        let mut out = String::from(
            ".TH \"WAYPOST\" 1 \"\" \"Waypost\" \"Waypost commands\"\n.SH NAME\nwaypost \\- a mail server for organisations that explains itself\n\
             .SH SYNOPSIS\n.B waypost\n[\\-\\-data DIR] COMMAND \\&…\n.SH PROGRAM\n",
        );
        for program in self.programs() {
            let _ = writeln!(out, ".TP\n.B {}\n{}", roff(&program.usage), roff(&program.about));
        }
        out.push_str(
            ".SH COMMANDS\nEach has a page of its own, such as waypost\\-set\\-imap\\-settings(1).\n",
        );
        for command in self.commands() {
            let _ = writeln!(out, ".TP\n.B {}\n{}", roff(&command.name()), roff(command.about));
        }
        out.push_str(
            ".SH EXIT STATUS\n0 done; 1 failed; 2 wrong usage; 3 not found; 4 unavailable; 5 partly done.\n",
        );
        out
    }
}
