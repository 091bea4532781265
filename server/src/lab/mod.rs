//! The laboratory: situations that cost experts days elsewhere, built on loopback with real parts, looked at, and mended.
//!
//! `waypost lab incident-a` and `waypost lab incident-b` start servers as processes of this very program, with clients that
//! know nothing of them. Each check is an assertion; the program ends with 0 only if all of them held.

mod incident_a;
mod incident_b;
mod site;
pub mod talk;

#[allow(dead_code, reason = "tests use the rest of it")]
pub mod kdc;

pub use site::{Member, Site, until};

use serde::Serialize;
use serde_json::Value;
use std::process::ExitCode;

/// Names of the situations, as the command line has them.
pub const SITUATIONS: [&str; 2] = ["incident-a", "incident-b"];

/// A conclusion as the laboratory prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    pub cause: String,
    pub text: String,
    pub evidence: Vec<String>,
    pub remedy: Vec<String>,
}

/// What a situation came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// As the users saw it.
    pub symptom: String,
    pub mail_flows: bool,
    pub internet_mail_flows: bool,
    pub findings: Vec<Found>,
    /// Every check, in order, with whether it held.
    pub checks: Vec<Check>,
    #[serde(skip)]
    quiet: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub what: String,
    pub held: bool,
    /// What was seen, where that says more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seen: String,
}

impl Report {
    /// A heading for whoever reads along.
    pub fn chapter(&self, text: &str) {
        if !self.quiet {
            println!("\n{text}");
        }
    }

    /// A line of the story.
    pub fn tell(&self, text: &str) {
        if !self.quiet {
            println!("    {text}");
        }
    }

    /// Notes whether something is as it should be; the answer is handed back.
    pub fn check(&mut self, what: impl Into<String>, held: bool, seen: impl Into<String>) -> bool {
        let check = Check { what: what.into(), held, seen: seen.into() };
        if !self.quiet {
            println!("    {} {}", if held { "ok  " } else { "FAIL" }, check.what);
            if !held && !check.seen.is_empty() {
                check.seen.lines().for_each(|line| println!("           {line}"));
            }
        }
        self.checks.push(check);
        held
    }

    pub fn found(&mut self, found: Found) {
        if !self.quiet {
            println!("    finding [{}] {}", found.cause, found.text);
            found.evidence.iter().for_each(|line| println!("        seen    {line}"));
            found.remedy.iter().for_each(|line| println!("        remedy  {line}"));
        }
        self.findings.push(found);
    }

    fn all_held(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|c| c.held)
    }
}

impl Found {
    /// From a record with the properties Cause, Text (or Error), Evidence and Remedy, as commands give it.
    pub fn of_record(record: &Value) -> Found {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| match &record[name] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::String(one) if !one.is_empty() => vec![one.clone()],
            _ => Vec::new(),
        };
        Found { cause: text("Cause"), text: text("Text"), evidence: list("Evidence"), remedy: list("Remedy") }
    }
}

/// Plays a situation to its end.
pub fn run(situation: &str, json: bool) -> ExitCode {
    let mut report = Report { quiet: json, ..Report::default() };
    let played = match situation {
        "incident-a" => incident_a::play(&mut report),
        _ => incident_b::play(&mut report),
    };
    if let Err(e) = &played {
        report.check("the situation could be built", false, e.as_str());
    }
    if json {
        match serde_json::to_string(&report) {
            Ok(line) => println!("{line}"),
            Err(e) => eprintln!("waypost: {e}"),
        }
    } else {
        let held = report.checks.iter().filter(|c| c.held).count();
        println!("\n{held} of {} checks held.", report.checks.len());
    }
    if report.all_held() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
