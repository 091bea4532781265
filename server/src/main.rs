//! The binary `waypost`: the one place that opens sockets and files of its own and chooses TLS.

mod acme;
mod api;
mod cli;
mod command;
mod control;
mod copies;
mod diagnose;
mod dns;
mod doors;
mod health;
mod init;
mod inner;
mod kerberos;
mod lab;
mod ldap;
mod legs;
mod listen;
mod logs;
mod machine;
mod memory;
mod metrics;
mod oauth;
mod ocsp;
mod outbound;
mod place;
mod probe;
mod quickstart;
mod rehearse;
mod resources;
mod run;
mod signin;
mod tls;
mod web_client;
mod why;

use clap::ArgMatches;
use place::Place;
use run::organisation::Organisation;
use std::process::ExitCode;
use std::sync::Arc;
use waypost_admin::settings::SettingsStore;
use waypost_directory::Roles;
use waypost_directory::invitation::Token;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    memory::return_what_is_free();
    let matches = cli::command().get_matches();
    let json = matches.get_one::<String>("log").is_some_and(|form| form == "json");
    // The demonstration tells its story on the terminal; only what is wrong belongs between its lines.
    let story = matches.subcommand_matches("quickstart").is_some_and(|q| !q.get_flag("json"));
    let usual = match matches.subcommand_name() {
        _ if story => "warn",
        // What is wrong with somebody else's DNSSEC is in the report.
        Some("diagnose") => "info,hickory_net=off,hickory_proto=off",
        _ => "info",
    };
    logs::start(if json { logs::Form::Json } else { logs::Form::Human }, usual);
    raise_descriptor_limit();
    inner::identity::watch_denials();
    match act(&matches) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("waypost: {e}");
            ExitCode::FAILURE
        }
    }
}

fn act(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (given, words) = cli::command_words(matches)?;
    let data = given
        .unwrap_or_else(|| cli::data_folder(matches, matches.subcommand_matches("quickstart").is_some()));
    let place = Place::at(&data)?;
    match matches.subcommand() {
        Some(("quickstart", given)) => {
            let auto = given.get_one::<String>("ports").is_some_and(|p| p == "auto");
            runtime.block_on(quickstart::run(place, auto, given.get_flag("json")))?;
        }
        Some(("serve", given)) => {
            runtime.block_on(serve(&place, given.get_one::<Roles>("roles").copied()))?;
        }
        Some(("join", given)) => runtime.block_on(join(&place, given))?,
        Some(("init", given)) => {
            // Required by the definition of the command line.
            let domain = given.get_one::<String>("domain").map(String::as_str).unwrap_or_default();
            runtime.block_on(init::run(
                &place,
                domain,
                given.get_one::<String>("host").map(String::as_str),
            ))?;
        }
        Some(("diagnose", given)) => return diagnose::run(given, &place, &runtime),
        Some(("lab", given)) => {
            // Required by the definition of the command line.
            let situation = given.get_one::<String>("situation").map(String::as_str).unwrap_or_default();
            return Ok(lab::run(situation, given.get_flag("json")));
        }
        Some(_) => return Ok(ExitCode::from(runtime.block_on(command::run(&place, &words)).0)),
        None => return Ok(ExitCode::from(2)),
    }
    Ok(ExitCode::SUCCESS)
}

/// All roles on the doors of the settings, until a signal asks to stop.
async fn serve(place: &Place, roles: Option<Roles>) -> Result<(), Failure> {
    if !place.is_set_up() {
        let folder = place.root().display();
        let text = format!(
            "there is no organisation in {folder}: set one up with `waypost init`, or join one with `waypost join`"
        );
        return Err(text.into());
    }
    let settings = Arc::new(SettingsStore::open(place.root())?);
    let current = settings.current();
    let organisation = Organisation::open(place, &[&current.server.name, "localhost"], &current).await?;
    let doors = run::settings::doors(&current);
    let roles = roles.unwrap_or_else(|| organisation.roles());
    organisation.may_be(roles)?;
    let running = run::Running::start(&organisation, settings, roles, doors).await?;
    for (name, address) in running.addresses() {
        tracing::info!(%address, "{name} is open");
    }
    run::until_stopped(running, organisation).await;
    Ok(())
}

async fn join(place: &Place, given: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| given.get_one::<String>(name).cloned();
    let host = text("host").unwrap_or_else(machine::host_name);
    let wish = inner::join::Wish {
        // Required by the definition of the command line.
        token: Token::read(&text("token").unwrap_or_default())?,
        id: text("id").map(|id| id.to_ascii_lowercase()),
        inner: text("inner").unwrap_or_else(|| format!("{host}:444")),
        host,
        roles: given.get_one::<Roles>("roles").copied(),
    };
    let id = inner::join::join(place, wish).await?;
    println!("This is {id} of the organisation now.");
    println!("Next: waypost --data {} serve", place.root().display());
    Ok(())
}

/// Each connection is a descriptor: takes what the system lets us have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(?limit, "the limit of open files stays as it is");
    }
}
