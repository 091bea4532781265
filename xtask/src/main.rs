//! Chores of the workspace. `cargo run -p xtask -- tidy` checks the house rules; `cargo test -p xtask` runs the same;
//! `causes` writes the rule files of Waypost's own causes.

mod causes;
mod licence;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => report(tidy::check(&tidy::root())),
        Some("causes") => match causes::write(&tidy::root(), &tidy::sources(&tidy::root())) {
            Ok(count) => {
                println!("{count} causes of Waypost's own in diagnose/rules/waypost");
                ExitCode::SUCCESS
            }
            Err(e) => report(vec![e.to_string()]),
        },
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy | causes");
            ExitCode::from(2)
        }
    }
}

fn report(problems: Vec<String>) -> ExitCode {
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
