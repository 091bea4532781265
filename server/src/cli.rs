//! The command line: what the binary itself does, and everything else as commands of the catalogue.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use waypost_admin::catalogue::{Program, ProgramOption};
use waypost_directory::Roles;

const ABOUT: &str = "Waypost: a mail server for organisations that explains itself";

const EXAMPLES: &str = "Examples:
  waypost quickstart                         every role on loopback, with four accounts and real messages
  waypost --data /var/lib/waypost init --domain example.org
  waypost serve                              all roles on the ports of the settings
  waypost join TOKEN                         make this machine a server of an organisation (New-ServerToken gives the token)
  waypost Get-Mailbox                        commands as Exchange administrators know them
  waypost Set-ImapSettings -LoginType SecureLogin
  waypost why MESSAGE-ID                     what became of a message, in plain words; also of an address, session, server, time
  waypost diagnose                           the causes of what is wrong here; of Exchange by its artefacts; of any mail server
  waypost Get-Help New-Mailbox               parameters and examples of a command
  waypost Get-Command                        all commands

The data folder is --data, else $WAYPOST_DATA, else ./data if it holds settings, else /var/lib/waypost.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not reachable, 5 partly done.";

pub fn command() -> Command {
    let data =
        Arg::new("data").long("data").value_name("DIR").value_parser(value_parser!(PathBuf)).global(true);
    let log = Arg::new("log").long("log").value_parser(["human", "json"]).default_value("human").global(true);
    Command::new("waypost")
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXAMPLES)
        .arg(data.help("Data folder of the organisation"))
        .arg(log.help("Form of log lines on standard error"))
        .subcommand(quickstart())
        .subcommand(serve())
        .subcommand(init())
        .subcommand(join())
        .subcommand(lab())
        .subcommand(crate::diagnose::command())
        .allow_external_subcommands(true)
        .arg_required_else_help(true)
}

/// What the binary does itself, for completions and manual pages.
pub fn programs() -> Vec<Program> {
    let text =
        |styled: Option<&clap::builder::StyledStr>| styled.map(ToString::to_string).unwrap_or_default();
    let choices = |arg: &Arg| {
        let all = arg.get_possible_values();
        // A switch has the values true and false in clap's eyes.
        let names = all.iter().map(|v| v.get_name().to_owned()).collect::<Vec<_>>();
        if arg.get_action().takes_values() { names } else { Vec::new() }
    };
    let option = |arg: &Arg| {
        let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let takes = arg.get_action().takes_values();
        Some(ProgramOption {
            long: arg.get_long()?.to_owned(),
            about: text(arg.get_help()),
            value: if takes { value.unwrap_or_else(|| "VALUE".into()) } else { String::new() },
            choices: choices(arg),
        })
    };
    let mut whole = command();
    whole.build();
    let program = |one: &Command| {
        let mut words: Vec<String> = one.get_positionals().flat_map(choices).collect();
        if one.get_name() == "diagnose" {
            words.extend(crate::diagnose::WORDS.map(str::to_owned));
        }
        Program {
            name: one.get_name().to_owned(),
            about: text(one.get_about()),
            usage: one.clone().render_usage().to_string().trim_start_matches("Usage: ").trim().to_owned(),
            detail: text(one.get_after_help()),
            words,
            options: one.get_arguments().filter(|a| !a.is_hide_set()).filter_map(option).collect(),
        }
    };
    whole.get_subcommands().filter(|one| one.get_name() != "help").map(program).collect()
}

fn quickstart() -> Command {
    let ports = Arg::new("ports").long("ports").value_parser(["fixed", "auto"]).default_value("fixed");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    Command::new("quickstart")
        .about("Set up a demonstration organisation, send real messages, and keep serving until Ctrl-C")
        .arg(ports.help("fixed: 2025, 2143… on 127.0.0.1; auto: whatever is free"))
        .arg(json.help("One line of JSON on standard output when everything answers"))
}

fn init() -> Command {
    let domain = Arg::new("domain").long("domain").required(true).help("First accepted domain");
    let host =
        Arg::new("host").long("host").help("Name in greetings and in the certificate [default: mail.DOMAIN]");
    Command::new("init").about("Set up an organisation in the data folder").arg(domain).arg(host)
}

fn serve() -> Command {
    let roles = Arg::new("roles").long("roles").value_name("ROLES").value_parser(roles_of);
    Command::new("serve").about("Run the roles on the ports of the settings until stopped").arg(
        roles.help("frontend,transport,mailbox [default: what the directory has for this server, else all]"),
    )
}

fn roles_of(text: &str) -> Result<Roles, String> {
    Roles::parse(text).map_err(|name| format!("{name:?} is not one of frontend, transport, mailbox, all"))
}

fn join() -> Command {
    let token = Arg::new("token")
        .required(true)
        .value_name("TOKEN")
        .help("What New-ServerToken printed on the primary");
    let roles = Arg::new("roles").long("roles").value_name("ROLES").value_parser(roles_of);
    let id = Arg::new("id")
        .long("id")
        .help("Id of this server in the organisation [default: the next free server-N]");
    let host =
        Arg::new("host").long("host").help("Name of this machine in greetings [default: its host name]");
    let inner = Arg::new("inner").long("inner").value_name("HOST:PORT");
    Command::new("join")
        .about(
            "Make this machine a server of an organisation, with an empty data folder and a one-time token",
        )
        .arg(token)
        .arg(roles.help("frontend,transport,mailbox [default: what the token allows]"))
        .arg(id)
        .arg(host)
        .arg(inner.help("Where the other servers reach this one [default: HOST:444]"))
}

fn lab() -> Command {
    let situation = Arg::new("situation").required(true).value_parser(crate::lab::SITUATIONS);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    Command::new("lab")
        .about("Build one of the founding incidents on loopback with real parts, explain it, and mend it")
        .arg(
            situation.help("incident-a: a ticket that nobody can decrypt; incident-b: a renewed certificate"),
        )
        .arg(json.help("One line of JSON on standard output at the end"))
}

/// The words of a command of the catalogue, and the data folder if it is named among them: people write
/// `waypost Get-Mailbox --data DIR` as well as `waypost --data DIR Get-Mailbox`. No words for what the binary does itself.
pub fn command_words(matches: &ArgMatches) -> Result<(Option<PathBuf>, Vec<String>), String> {
    let Some((name, given)) = matches.subcommand() else { return Ok((None, Vec::new())) };
    if matches!(name, "quickstart" | "serve" | "init" | "join" | "lab" | "diagnose") {
        return Ok((None, Vec::new()));
    }
    let rest = given.get_many::<OsString>("").unwrap_or_default();
    let words = rest.map(|w| w.clone().into_string());
    let words = words.collect::<Result<Vec<_>, _>>().map_err(|w| format!("{} is not UTF-8", w.display()))?;
    take_data(std::iter::once(name.to_owned()).chain(words))
}

fn take_data(words: impl Iterator<Item = String>) -> Result<(Option<PathBuf>, Vec<String>), String> {
    let (mut data, mut kept) = (None, Vec::new());
    let mut words = words;
    while let Some(word) = words.next() {
        if word == "--data" {
            data = Some(words.next().ok_or("--data needs a folder")?.into());
        } else if let Some(folder) = word.strip_prefix("--data=") {
            data = Some(folder.into());
        } else {
            kept.push(word);
        }
    }
    Ok((data, kept))
}

/// The data folder by the rule that the help text tells.
pub fn data_folder(matches: &ArgMatches, default_here: bool) -> PathBuf {
    if let Some(given) = matches.get_one::<PathBuf>("data") {
        return given.clone();
    }
    if let Some(given) = std::env::var_os("WAYPOST_DATA") {
        return given.into();
    }
    let here = Path::new("data");
    if default_here || here.join("settings.toml").exists() {
        here.to_owned()
    } else {
        "/var/lib/waypost".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Option<PathBuf>, String), String> {
        let matches = command().try_get_matches_from(line.split(' ')).map_err(|e| e.to_string())?;
        let (data, words) = command_words(&matches)?;
        Ok((data.or_else(|| matches.get_one::<PathBuf>("data").cloned()), words.join(" ")))
    }

    #[test]
    fn what_the_binary_does_itself_is_told_to_shells_and_pages() {
        let all = programs();
        let names: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["quickstart", "serve", "init", "join", "lab", "diagnose"]);
        let diagnose = all.iter().find(|p| p.name == "diagnose").unwrap();
        assert!(diagnose.words.iter().any(|w| w == "autodiscover"), "{:?}", diagnose.words);
        let tls = diagnose.options.iter().find(|o| o.long == "tls").unwrap();
        assert_eq!((tls.value.as_str(), tls.choices.len()), ("KIND", 2));
        assert!(
            diagnose.options.iter().any(|o| o.long == "json" && o.value.is_empty() && o.choices.is_empty())
        );
        assert!(!diagnose.options.iter().any(|o| o.long == "https-port"), "hidden ones stay so");
        assert!(diagnose.usage.starts_with("waypost diagnose") && !diagnose.detail.is_empty());
        let lab = all.iter().find(|p| p.name == "lab").unwrap();
        assert!(lab.words.iter().any(|w| w == "incident-a"), "{:?}", lab.words);
    }

    #[test]
    fn the_data_folder_may_stand_before_and_after_a_command() {
        let wanted = Ok((Some(PathBuf::from("/x")), "Get-Mailbox amy --json".to_owned()));
        for line in [
            "waypost --data /x Get-Mailbox amy --json",
            "waypost Get-Mailbox --data /x amy --json",
            "waypost Get-Mailbox amy --json --data=/x",
        ] {
            assert_eq!(read(line), wanted, "{line}");
        }
        assert_eq!(read("waypost Get-Mailbox"), Ok((None, "Get-Mailbox".to_owned())));
        assert!(read("waypost Get-Mailbox --data").is_err());
        assert_eq!(read("waypost serve --data /x").map(|r| r.0), Ok(Some(PathBuf::from("/x"))));
    }
}
