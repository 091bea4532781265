//! The command line: what the binary itself does, and everything else as commands of the catalogue.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::{Path, PathBuf};

const ABOUT: &str = "Waypost: a mail server for organisations that explains itself";

const EXAMPLES: &str = "Examples:
  waypost quickstart                         every role on loopback, with four accounts and real messages
  waypost --data /var/lib/waypost init --domain example.org
  waypost serve                              all roles on the ports of the settings
  waypost Get-Mailbox                        commands as Exchange administrators know them
  waypost Set-ImapSettings -LoginType SecureLogin
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
        .subcommand(Command::new("serve").about("Run the roles on the ports of the settings until stopped"))
        .subcommand(init())
        .allow_external_subcommands(true)
        .arg_required_else_help(true)
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
