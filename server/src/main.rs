//! The binary `waypost`: the one place that opens sockets and files of its own and chooses TLS.

mod cli;
mod legs;
mod listen;
mod logs;
mod machine;
mod metrics;
mod place;
mod quickstart;
mod run;
mod tls;

use clap::ArgMatches;
use place::Place;
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let json = matches.get_one::<String>("log").is_some_and(|form| form == "json");
    // The demonstration tells its story on the terminal; only what is wrong belongs between its lines.
    let story = matches.subcommand_matches("quickstart").is_some_and(|q| !q.get_flag("json"));
    logs::start(if json { logs::Form::Json } else { logs::Form::Human }, if story { "warn" } else { "info" });
    raise_descriptor_limit();
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
    let place = Place::at(&cli::data_folder(matches, matches.subcommand_matches("quickstart").is_some()))?;
    match matches.subcommand() {
        Some(("quickstart", given)) => {
            let auto = given.get_one::<String>("ports").is_some_and(|p| p == "auto");
            runtime.block_on(quickstart::run(place, auto, given.get_flag("json")))?;
        }
        _ => return Err("not yet".into()),
    }
    Ok(ExitCode::SUCCESS)
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
