//! An organisation under test, its alerts, and what stands around it.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};
use waypost_tests::kdc::Kdc;
use waypost_tests::knot::Knot;
use waypost_tests::ldap::Slapd;
use waypost_tests::line::Line;
use waypost_tests::mount::Mount;
use waypost_tests::openid::Provider;
use waypost_tests::organisation::Organisation;
use waypost_tests::pki::Pki;
use waypost_tests::server::Scratch;
use waypost_tests::sink::Sink;

/// What faults may take hold of. Each site has what its own faults need.
pub struct Site {
    pub o: Organisation,
    pub scratch: Scratch,
    pub knot: Option<Knot>,
    pub slapd: Option<Slapd>,
    pub provider: Option<Provider>,
    pub kdc: Option<Kdc>,
    pub pki: Option<Pki>,
    pub mount: Option<Mount>,
    pub sink: Option<Sink>,
    /// Connections that are held open, programs that play a part, files kept aside.
    pub lines: Vec<Line>,
    pub programs: Vec<Child>,
    pub kept: Vec<PathBuf>,
    /// Notes from breaking for mending.
    pub note: String,
    /// The server that is asked for alerts.
    pub keeper: &'static str,
}

/// An alert as Get-HealthAlert tells it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which, and for which time.
    pub id: String,
    pub cause: String,
    pub leg: String,
    pub subject: String,
    pub text: String,
}

impl Told {
    pub fn line(&self) -> String {
        format!("[{}] {} ({}): {}", self.cause, self.leg, self.subject, self.text)
    }
}

impl Site {
    /// `servers`: id and roles of each; the first one keeps the directory.
    pub fn new(name: &str, servers: &[(&'static str, &str)]) -> Site {
        let mut site = Site::of(Organisation::start(name, servers.first().map_or("all", |s| s.1)), name);
        for (id, roles) in servers.iter().skip(1) {
            site.o.add(id, roles);
        }
        site.begin_probing();
        site
    }

    pub fn of(o: Organisation, name: &str) -> Site {
        Site {
            o,
            scratch: Scratch::new(&format!("{name}-around")),
            knot: None,
            slapd: None,
            provider: None,
            kdc: None,
            pki: None,
            mount: None,
            sink: None,
            lines: Vec::new(),
            programs: Vec::new(),
            kept: Vec::new(),
            note: String::new(),
            keeper: "server-1",
        }
    }

    /// Probes begin to run often.
    pub fn begin_probing(&self) {
        let interval = format!("{} s", super::interval());
        self.run("server-1", &["Set-WaypostSetting", "health.probe_interval", &interval, "-Confirm:$false"]);
    }

    /// Runs a command that has to succeed.
    pub fn run(&self, at: &str, words: &[&str]) -> Value {
        self.o.command(at, words).unwrap_or_else(|e| panic!("{words:?} at {at}: {e}"))
    }

    /// Alerts that are open now.
    pub fn open(&self) -> Vec<Told> {
        let records = self.o.records(self.keeper, &["Get-HealthAlert"]).unwrap_or_default();
        records.iter().map(told).collect()
    }

    /// All that were ever raised, each time that they were.
    pub fn raised(&self) -> BTreeSet<String> {
        self.every().into_iter().map(|a| a.id).collect()
    }

    /// Those that were raised since.
    pub fn since(&self, before: &BTreeSet<String>) -> Vec<Told> {
        self.every().into_iter().filter(|a| !before.contains(&a.id)).collect()
    }

    fn every(&self) -> Vec<Told> {
        let records = self.o.records(self.keeper, &["Get-HealthAlert", "-All"]).unwrap_or_default();
        records.iter().map(told).collect()
    }

    /// Health sets that are not well. What is only slow, or lost a try, alerts nobody.
    pub fn unwell(&self) -> Vec<String> {
        let report = self.o.records(self.keeper, &["Get-HealthReport"]).unwrap_or_default();
        if report.is_empty() {
            return vec!["nothing is reported".to_owned()];
        }
        let bad =
            report.iter().filter(|set| set["AlertValue"] != "Healthy" && set["AlertValue"] != "Degraded");
        bad.map(|set| format!("{} {} {}", set["Server"], set["HealthSet"], set["AlertValue"])).collect()
    }

    /// Waits until no alert is open and every health set has been looked at and is well.
    pub fn quiet(&self, patience: Duration) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let (open, bad) = (self.open(), self.unwell());
            if open.is_empty() && bad.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > patience {
                let open: Vec<String> = open.iter().map(Told::line).collect();
                return Err(format!("open {open:?}, not well {bad:?}"));
            }
            std::thread::sleep(Duration::from_millis(150));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn told(record: &Value) -> Told {
    let text = |name: &str| match &record[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Told {
        // One that comes back is the same alert once more.
        id: format!("{} {}", text("Identity"), text("Relapses")),
        cause: text("Cause"),
        leg: text("Leg"),
        subject: text("Subject"),
        text: text("Meaning"),
    }
}
