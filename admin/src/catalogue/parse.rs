//! Command lines, in Exchange's form and in GNU's. Each word is read by its own look, so that the two may be mixed:
//! `-Name value`, `-Name:value`, `--name value`, `--name=value`, and values without a name by position.
//!
//! What a Unix shell does to Exchange's form is taken into account: `$false` outside quotes is gone before we see it.

use super::{CHANGING, Catalogue, Command, Invocation, Kind, OUTPUT, Param, Value};
use crate::failure::Failure;
use crate::output::{Format, Layout};
use std::path::Path;

/// Where a command line comes from: what relative paths start at.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub folder: &'a Path,
}

/// A command line, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub invocation: Invocation,
    pub layout: Layout,
}

impl Catalogue {
    /// Reads a command line: the command's name first. The words are as the shell gave them.
    pub fn parse(&self, words: &[String], source: Source<'_>) -> Result<Parsed, Failure> {
        let (name, rest) =
            words.split_first().ok_or_else(|| Failure::usage("", "Which command? Get-Command lists all."))?;
        let (name, rest) = match crate::commands::short(name, rest)? {
            Some(long) => long,
            None => (name.as_str(), rest),
        };
        let command = self.find(name).ok_or_else(|| self.unknown(name))?;
        let mut reading = Reading::new(command, source);
        let mut rest = rest.iter().map(String::as_str).peekable();
        let mut only_values = false;
        while let Some(word) = rest.next() {
            let gnu = word.strip_prefix("--");
            let exchange =
                word.strip_prefix('-').filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic()));
            match (gnu, exchange) {
                _ if only_values => reading.positional(word)?,
                (Some(""), _) => only_values = true,
                (Some(option), _) => reading.gnu(option, &mut rest)?,
                (None, Some(option)) => reading.exchange(option, &mut rest)?,
                (None, None) => reading.positional(word)?,
            }
        }
        reading.finish(name)
    }
}

type Words<'a, I> = std::iter::Peekable<I>;

struct Reading<'a> {
    command: &'static Command,
    source: Source<'a>,
    invocation: Invocation,
    layout: Layout,
    confirm: Option<bool>,
    positions: u8,
}

impl<'a> Reading<'a> {
    fn new(command: &'static Command, source: Source<'a>) -> Reading<'a> {
        let invocation = Invocation { command: command.name(), ..Invocation::default() };
        Reading { command, source, invocation, layout: Layout::default(), confirm: None, positions: 0 }
    }

    fn usage(&self, target: &str, text: impl std::fmt::Display) -> Failure {
        let failure = Failure::usage(target, format!("{text} (Get-Help {} says more)", self.command.name()));
        Failure { command: self.command.name(), ..failure }
    }

    /// `-Name value`, `-Name:value`. A beginning of a name will do where it fits one parameter only.
    fn exchange<'w>(
        &mut self,
        option: &'w str,
        rest: &mut Words<'w, impl Iterator<Item = &'w str>>,
    ) -> Result<(), Failure> {
        let (name, inline) = match option.split_once([':', '=']) {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let param = self.named(name, |p, n| p.name.to_ascii_lowercase().starts_with(n))?;
        self.take(param, &format!("-{}", param.name), inline, rest, true)
    }

    /// `--name value`, `--name=value`, `--no-name`; for lists that can be edited also `--add-name` and `--remove-name`.
    fn gnu<'w>(
        &mut self,
        option: &'w str,
        rest: &mut Words<'w, impl Iterator<Item = &'w str>>,
    ) -> Result<(), Failure> {
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if name.eq_ignore_ascii_case("yes") && self.command.changes {
            self.confirm = Some(false);
            return Ok(());
        }
        let lower = name.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("no-")
            && let Some(param) = self.all().find(|p| p.kind.is_flag() && p.gnu() == rest)
        {
            return self.put(param, Value::Flag(false));
        }
        for (prefix, adds) in [("add-", true), ("remove-", false)] {
            let edited = lower
                .strip_prefix(prefix)
                .and_then(|n| self.all().find(|p| p.kind == Kind::Edit && p.gnu() == n));
            if let Some(param) = edited {
                let word = inline.or_else(|| rest.next());
                let Some(Value::List(items)) = word.and_then(|w| Kind::List.parse(w)) else {
                    return Err(self.usage(param.name, format!("--{name} needs a list.")));
                };
                return self.edit(param, items, adds);
            }
        }
        let param = self.named(name, |p, n| p.gnu().starts_with(n))?;
        self.take(param, &format!("--{}", param.gnu()), inline, rest, false)
    }

    fn all(&self) -> impl Iterator<Item = &'static Param> + use<'a> {
        let changing: &'static [Param] = if self.command.changes { CHANGING } else { &[] };
        let own = self.command.params;
        let common = changing.iter().filter(move |p| !own.iter().any(|o| o.name == p.name));
        own.iter().chain(common).chain(OUTPUT)
    }

    /// By name or alias in either form, else by the beginning of one name.
    fn named(&self, name: &str, begins: impl Fn(&Param, &str) -> bool) -> Result<&'static Param, Failure> {
        let plain =
            |t: &str| t.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect::<String>();
        let wanted = plain(name);
        let exact = |p: &&Param| plain(p.name) == wanted || p.aliases.iter().any(|a| plain(a) == wanted);
        if let Some(param) = self.all().find(exact) {
            return Ok(param);
        }
        let lower = name.to_ascii_lowercase();
        let fits: Vec<&'static Param> = self.all().filter(|p| begins(p, &lower)).collect();
        match fits.as_slice() {
            [param] => Ok(param),
            [] => {
                let spellings = |p: &'static Param| std::iter::once(p.name).chain(p.aliases.iter().copied());
                let distances =
                    self.all().flat_map(spellings).map(|n| (crate::words::distance(n, &wanted), n));
                let near = distances.min();
                let hint = match near {
                    Some((distance, near)) if distance <= 3 => format!(" Did you mean -{near}?"),
                    _ => String::new(),
                };
                Err(self.usage(name, format!("{} has no parameter {name:?}.{hint}", self.command.name())))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|p| p.name).collect();
                Err(self.usage(name, format!("{name:?} could mean -{}.", names.join(" or -"))))
            }
        }
    }

    fn take<'w>(
        &mut self,
        param: &'static Param,
        shown: &str,
        inline: Option<&'w str>,
        rest: &mut Words<'w, impl Iterator<Item = &'w str>>,
        exchange: bool,
    ) -> Result<(), Failure> {
        let word = match (param.kind, inline) {
            // `-Confirm:$false` in a Unix shell arrives as `-Confirm:`, since the shell has no variable `false`.
            (Kind::Bool, Some("")) if param.name == "Confirm" => "false",
            (_, Some(word)) => word,
            (Kind::Switch, None) => "true",
            (Kind::Bool, None) => match rest.next_if(|w| super::value::parse_flag(w).is_some()) {
                Some(word) => word,
                None if !exchange || param.name == "Confirm" => "true",
                None => {
                    let text = format!(
                        "{shown} needs true or false. In a Unix shell write {shown} false, or '$false' in quotes."
                    );
                    return Err(self.usage(param.name, text));
                }
            },
            (_, None) => {
                let missing = || self.usage(param.name, format!("{shown} needs {}.", param.kind.what()));
                rest.next().ok_or_else(missing)?
            }
        };
        let value = param.kind.parse(word).ok_or_else(|| {
            self.usage(param.name, format!("{shown} needs {}, not {word:?}.", param.kind.what()))
        })?;
        self.put(param, value)
    }

    fn positional(&mut self, word: &str) -> Result<(), Failure> {
        let position = self.positions;
        self.positions += 1;
        // A parameter that was given by name leaves its place to the next.
        let free = |p: &&Param| p.position.is_some() && !self.invocation.args.contains_key(p.name);
        let mut params: Vec<&'static Param> = self.command.params.iter().filter(free).collect();
        params.sort_by_key(|p| p.position);
        let Some(param) = params.first() else {
            // A question is asked in words: `waypost why did mail stop at 10:05`.
            if self.command.name() == crate::commands::why::NAME
                && let Some(Value::Text(text)) = self.invocation.args.get_mut("MessageId")
            {
                text.push(' ');
                text.push_str(word);
                return Ok(());
            }
            let text = format!("{word:?} is one value too many (number {}).", position + 1);
            return Err(self.usage(word, text));
        };
        let value = param.kind.parse(word).ok_or_else(|| {
            self.usage(param.name, format!("-{} needs {}, not {word:?}.", param.name, param.kind.what()))
        })?;
        self.put(param, value)
    }

    fn edit(&mut self, param: &'static Param, items: Vec<String>, adds: bool) -> Result<(), Failure> {
        let fresh = || Value::Edit { add: Vec::new(), remove: Vec::new() };
        let entry = self.invocation.args.entry(param.name.to_owned()).or_insert_with(fresh);
        match entry {
            Value::Edit { add, remove } => if adds { add } else { remove }.extend(items),
            _ => {
                return Err(
                    self.usage(param.name, "The whole list and a change of it cannot be given together.")
                );
            }
        }
        Ok(())
    }

    fn put(&mut self, param: &'static Param, value: Value) -> Result<(), Failure> {
        let on = value == Value::Flag(true);
        match (param.name, &value) {
            ("WhatIf", _) => self.invocation.what_if = on,
            ("Confirm", _) => self.confirm = Some(on),
            ("Why", Value::Text(why)) if !self.is_own(param) => self.invocation.why = Some(why.clone()),
            ("Force", _) => {
                self.invocation.force = on;
                if self.is_own(param) {
                    return self.put_own(param, value);
                }
            }
            ("Json", _) if on => self.layout.format = Format::Json,
            ("FormatList", _) if on => self.layout.format = Format::List,
            ("FormatTable", _) if on => self.layout.format = Format::Table,
            ("Json" | "FormatList" | "FormatTable", _) => {}
            ("Property", Value::List(items)) => self.layout.properties.clone_from(items),
            _ => return self.put_own(param, value),
        }
        Ok(())
    }

    /// A parameter of the command's own, though it has the name of a common one.
    fn is_own(&self, param: &'static Param) -> bool {
        self.command.params.iter().any(|own| own.name == param.name)
    }

    fn put_own(&mut self, param: &'static Param, value: Value) -> Result<(), Failure> {
        let value = match (param.kind, value) {
            (Kind::Path, Value::Text(path)) if path != "-" => {
                Value::Text(self.source.folder.join(path).to_string_lossy().into_owned())
            }
            (_, value) => value,
        };
        match (self.invocation.args.get_mut(param.name), value) {
            (None, value) => {
                self.invocation.args.insert(param.name.to_owned(), value);
            }
            // A list may be given in pieces.
            (Some(Value::List(old)), Value::List(more)) => old.extend(more),
            (Some(_), _) => return Err(self.usage(param.name, format!("-{} is given twice.", param.name))),
        }
        Ok(())
    }

    fn finish(mut self, _typed: &str) -> Result<Parsed, Failure> {
        let missing = |p: &&Param| p.mandatory && !self.invocation.args.contains_key(p.name);
        if let Some(param) = self.command.params.iter().find(missing) {
            return Err(self.usage(
                param.name,
                format!("{} needs -{}: {}", self.command.name(), param.name, param.about),
            ));
        }
        self.invocation.confirmed = self.confirm == Some(false);
        self.invocation.asks = self.confirm == Some(true);
        self.invocation.line = self.line();
        Ok(Parsed { invocation: self.invocation, layout: self.layout })
    }

    /// The command line in Exchange's form, as histories show it.
    fn line(&self) -> String {
        let mut line = self.command.name();
        for param in self.command.params {
            let Some(value) = self.invocation.args.get(param.name) else { continue };
            let text = match (param.kind, value) {
                (Kind::Secret, _) => "********".to_owned(),
                (Kind::Switch, Value::Flag(true)) => {
                    line.push_str(&format!(" -{}", param.name));
                    continue;
                }
                (_, value) => value.shown(),
            };
            let plain = !text.is_empty() && !text.contains([' ', '"', '\'']);
            let text = if plain { text } else { format!("'{}'", text.replace('\'', "''")) };
            line.push_str(&format!(" -{} {text}", param.name));
        }
        line
    }
}
