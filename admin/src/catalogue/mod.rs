//! The catalogue: every operation defined once. From here come the command lines in both forms, help, completions, man
//! pages, and what is sent to a running server.

pub mod completion;
pub mod help;
pub mod man;
pub mod openapi;
mod parse;
pub mod program;
mod value;

pub use parse::{Parsed, Source};
pub use program::{Program, ProgramOption};
pub use value::{Kind, Value};

use crate::failure::{Exit, Failure, Outcome};
use crate::output::Event;
use crate::run::{Call, Context, Sink};
use crate::words::kebab;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// What a command needs to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The open store: by way of the running server, or opened by the command itself while it is stopped.
    Store,
    /// A running server.
    Server,
    /// A stopped server: the command works on its files.
    Stopped,
    /// A running server, or the files of a stopped one; the store is not opened, which might be what does not work.
    Files,
    /// The open store where it can be had, by way of the running server or by the command itself; else the files alone.
    Any,
    /// Nothing: help.
    Nothing,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// As Exchange writes it: `X509CertificateName`.
    pub name: &'static str,
    pub kind: Kind,
    pub mandatory: bool,
    /// May be given without its name, in this place.
    pub position: Option<u8>,
    pub aliases: &'static [&'static str],
    pub about: &'static str,
    /// Taken, kept and shown, but nothing comes of it: why.
    pub without_effect: Option<&'static str>,
}

impl Param {
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Param {
        Param { name, kind, mandatory: false, position: None, aliases: &[], about, without_effect: None }
    }

    pub const fn mandatory(self) -> Param {
        Param { mandatory: true, ..self }
    }

    pub const fn at(self, position: u8) -> Param {
        Param { position: Some(position), ..self }
    }

    pub const fn alias(self, aliases: &'static [&'static str]) -> Param {
        Param { aliases, ..self }
    }

    pub const fn without_effect(self, why: &'static str) -> Param {
        Param { without_effect: Some(why), ..self }
    }

    /// `-Identity`
    pub const fn identity(about: &'static str) -> Param {
        Param::new("Identity", Kind::Text, about).mandatory().at(0)
    }

    /// `x509-certificate-name`
    pub fn gnu(&self) -> String {
        kebab(self.name)
    }
}

/// A command line and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub line: &'static str,
    pub about: &'static str,
}

pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
pub type Runner = for<'a> fn(&'a Call<'a>) -> Running<'a>;

/// An operation.
#[derive(Clone, Copy)]
pub struct Command {
    pub verb: &'static str,
    pub noun: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Further paragraphs; may be empty.
    pub detail: &'static str,
    pub params: &'static [Param],
    /// Columns of the default table.
    pub columns: &'static [&'static str],
    pub examples: &'static [Example],
    pub needs: Needs,
    /// Has -WhatIf and -Confirm.
    pub changes: bool,
    /// Asks before it acts, unless told not to.
    pub confirm: bool,
    pub run: Runner,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Command {
    /// `Set-ImapSettings`
    pub fn name(&self) -> String {
        format!("{}-{}", self.verb, self.noun)
    }

    /// `set-imap-settings`
    pub fn gnu(&self) -> String {
        kebab(&self.name())
    }

    /// Its own parameters and the common ones that it has.
    pub fn all_params(&self) -> impl Iterator<Item = &Param> {
        self.params.iter().chain(if self.changes { CHANGING } else { &[] })
    }

    pub fn param(&self, name: &str) -> Option<&Param> {
        self.all_params().find(|p| p.name.eq_ignore_ascii_case(name))
    }
}

/// What every changing command has.
pub const CHANGING: &[Param] = &[
    Param::new("WhatIf", Kind::Switch, "Say what would be done, and do nothing.").alias(&["wi"]),
    Param::new("Confirm", Kind::Bool, "Ask before acting; -Confirm:$false asks nothing.").alias(&["cf"]),
    Param::new("Why", Kind::Text, "The reason, for the history of the settings and the audit log.")
        .alias(&["Comment", "Reason"]),
    Param::new("Force", Kind::Switch, "Put a change of settings in place although its rehearsal fails."),
];

/// What every command has, to be dealt with where the output is shown.
pub const OUTPUT: &[Param] = &[
    Param::new("Json", Kind::Switch, "One JSON object a line."),
    Param::new("FormatList", Kind::Switch, "Every property on a line of its own.").alias(&["List", "fl"]),
    Param::new("FormatTable", Kind::Switch, "A table, which is the default.").alias(&["Table", "ft"]),
    Param::new("Property", Kind::List, "Show only these properties; * stands for any text.")
        .alias(&["Select"]),
];

/// A command with its arguments, as it is sent to a running server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation {
    pub command: String,
    #[serde(default)]
    pub args: BTreeMap<String, Value>,
    #[serde(default)]
    pub what_if: bool,
    /// The user was asked and said yes, or said beforehand not to be asked.
    #[serde(default)]
    pub confirmed: bool,
    /// The user wants to be asked (-Confirm) where the command would not.
    #[serde(default)]
    pub asks: bool,
    /// Why, in the user's words.
    #[serde(default)]
    pub why: Option<String>,
    /// A change of settings is put in place although its rehearsal fails.
    #[serde(default)]
    pub force: bool,
    /// The command line as typed, passwords left out, for the history of the settings.
    #[serde(default)]
    pub line: String,
}

/// All commands.
#[derive(Debug)]
pub struct Catalogue {
    commands: Vec<&'static Command>,
    programs: Vec<Program>,
}

impl Default for Catalogue {
    fn default() -> Catalogue {
        Catalogue::new()
    }
}

impl Catalogue {
    pub fn new() -> Catalogue {
        Catalogue { commands: crate::commands::all(), programs: Vec::new() }
    }

    /// By noun, then verb.
    pub fn commands(&self) -> &[&'static Command] {
        &self.commands
    }

    /// By name in either form; case and hyphens do not matter.
    pub fn find(&self, name: &str) -> Option<&'static Command> {
        let plain =
            |text: &str| text.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect::<String>();
        // `waypost why MESSAGE-ID`
        let wanted = if plain(name) == "why" { plain(crate::commands::why::NAME) } else { plain(name) };
        let named = |name: &str| self.commands.iter().copied().find(|c| plain(&c.name()) == name);
        named(&wanted).or_else(|| named(&crate::words::full_noun(&wanted)?))
    }

    /// The commands whose names are near, for "did you mean".
    pub fn near(&self, name: &str) -> Vec<String> {
        let mut near: Vec<(usize, String)> = self
            .commands
            .iter()
            .map(|c| (crate::words::distance(&c.gnu(), &kebab(name)), c.name()))
            .filter(|(distance, _)| *distance <= 4)
            .collect();
        near.sort();
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }

    /// The question to be asked before an invocation runs; `None` where there is nothing to ask.
    pub fn question(&self, invocation: &Invocation) -> Option<String> {
        let command = self.find(&invocation.command)?;
        let asks = (command.confirm || invocation.asks) && !invocation.confirmed && !invocation.what_if;
        let whom = invocation.args.get("Identity").map(Value::shown).unwrap_or_default();
        asks.then(|| format!("Are you sure you want to perform this action?\n{} {whom}", command.name()))
    }

    /// Puts lines of `read` into the passwords that were given as `-`. It gets the parameter's name for a prompt.
    pub fn read_secrets(
        &self,
        invocation: &mut Invocation,
        mut read: impl FnMut(&str) -> std::io::Result<String>,
    ) -> Outcome {
        let Some(command) = self.find(&invocation.command) else { return Ok(()) };
        for param in command.params.iter().filter(|p| p.kind == Kind::Secret) {
            if let Some(Value::Text(text)) = invocation.args.get_mut(param.name)
                && text == "-"
            {
                let line =
                    read(param.name).map_err(|e| Failure::usage(param.name, format!("No password: {e}.")))?;
                *text = line.trim_end_matches(['\r', '\n']).to_owned();
            }
        }
        Ok(())
    }

    /// Runs an invocation here and hands every event to `tell` as it comes.
    pub async fn run_here(
        &self,
        context: &Context,
        invocation: &Invocation,
        mut tell: impl FnMut(Event),
    ) -> Exit {
        let (sink, mut events) = Sink::new();
        let running = self.run(context, invocation, sink);
        tokio::pin!(running);
        let mut exit = None;
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => tell(event),
                    None => return exit.unwrap_or(Exit::FAILED),
                },
                code = &mut running, if exit.is_none() => exit = Some(code),
            }
        }
    }

    /// Runs an invocation. Records, progress, warnings and errors go to `sink` in order; the answer is the exit code.
    pub async fn run(&self, context: &Context, invocation: &Invocation, sink: Sink) -> Exit {
        let outcome = self.perform(context, invocation, &sink).await;
        match outcome {
            Ok(exit) => exit,
            Err(failure) => {
                let exit = failure.exit();
                let failure = Failure { command: invocation.command.clone(), ..failure };
                sink.send(Event::Error(failure)).await;
                exit
            }
        }
    }

    async fn perform(&self, context: &Context, invocation: &Invocation, sink: &Sink) -> Outcome<Exit> {
        let command = self.find(&invocation.command).ok_or_else(|| self.unknown(&invocation.command))?;
        if let Err(failure) = context.rights.check(command) {
            crate::audit::denied(context, command, invocation, &failure);
            return Err(failure);
        }
        let now = context.world.as_ref().map(|world| world.directory.snapshot());
        let reach = now.map_or(Ok(()), |now| context.rights.check_reach(command, invocation, &now));
        if let Err(failure) = reach {
            crate::audit::denied(context, command, invocation, &failure);
            return Err(failure);
        }
        check(command, invocation)?;
        if self.question(invocation).is_some() {
            return Err(Failure::usage(
                "Confirm",
                "This command has to be confirmed; -Confirm:$false does so.",
            ));
        }
        if let Some(exit) = crate::elsewhere::send(command, context, invocation, sink).await? {
            return Ok(exit);
        }
        for param in command.params.iter().filter(|p| invocation.args.contains_key(p.name)) {
            if let Some(why) = param.without_effect {
                let text = format!("-{} is kept but has no effect in Waypost: {why}.", param.name);
                sink.send(Event::Warning(text)).await;
            }
        }
        let call = Call { command, context, invocation, sink, catalogue: self };
        let watched = crate::audit::Watched::begin(self, context, command, invocation).await;
        let done = (command.run)(&call).await;
        if let Some(watched) = watched {
            let partly = || (sink.exit() != Exit::OK).then(|| "Some of it could not be done.".to_owned());
            let error = done.as_ref().map_or_else(|failure| Some(failure.message.clone()), |()| partly());
            watched.end(self, context, command, invocation, error).await;
        }
        done?;
        Ok(sink.exit())
    }

    fn unknown(&self, name: &str) -> Failure {
        let near = self.near(name);
        let hint = match near.as_slice() {
            [] => "Get-Command lists all commands.".to_owned(),
            near => format!("Did you mean {}?", near.join(" or ")),
        };
        Failure::usage(name, format!("The term {name:?} is not recognized as a command. {hint}"))
    }
}

/// Looks at an invocation that came from elsewhere: only known parameters, of the right kinds, none missing.
fn check(command: &Command, invocation: &Invocation) -> Outcome {
    for (name, value) in &invocation.args {
        let param = command
            .param(name)
            .ok_or_else(|| Failure::usage(name, format!("{} has no parameter -{name}.", command.name())))?;
        if !param.kind.takes(value) {
            return Err(Failure::usage(name, format!("-{name} needs {}.", param.kind.what())));
        }
    }
    for param in command.params.iter().filter(|p| p.mandatory) {
        if !invocation.args.contains_key(param.name) {
            let text = format!("{} needs -{}: {}", command.name(), param.name, param.about);
            return Err(Failure::usage(param.name, text));
        }
    }
    Ok(())
}
