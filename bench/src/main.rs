//! Load for mail servers over loopback: `waypost-load WORK key=value…` does one piece of work against the given ports and
//! prints one line of JSON. `bench/run.py` starts the servers and compares.

mod message;
mod wire;
mod work;

use std::collections::BTreeMap;
use std::process::ExitCode;

/// The arguments after the name of the work.
pub struct Args(BTreeMap<String, String>);

impl Args {
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("{key}= is needed"))
    }

    pub fn number(&self, key: &str, default: usize) -> usize {
        self.0.get(key).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{key}={v}: not a number")))
    }

    pub fn port(&self, key: &str) -> u16 {
        self.text(key).parse().expect("a port")
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// `users=a:pw,b:pw`
    pub fn users(&self) -> Vec<(String, String)> {
        let pair = |u: &str| u.split_once(':').map(|(a, p)| (a.to_owned(), p.to_owned()));
        self.text("users").split(',').filter_map(pair).collect()
    }
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let work = given.next().unwrap_or_default();
    let pairs = given.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
    let args = Args(pairs.collect());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    match runtime.block_on(work::run(&work, &args)) {
        Ok(figures) => {
            let line: Vec<String> = figures.iter().map(|(k, v)| format!("\"{k}\":{v:.6}")).collect();
            println!("{{{}}}", line.join(","));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{work}: {e}");
            ExitCode::FAILURE
        }
    }
}
