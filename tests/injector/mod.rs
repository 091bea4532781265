//! The fault injector: breaks one leg of a running organisation after another, and holds that each fault gives exactly one
//! alert, which names the leg and the cause, within one probe interval; and that the alert ends when the fault does.
//!
//! One test for each site: an organisation with what its faults need around it. Faults of a site are tried one after the
//! other on the same running servers, as an administrator's bad year would bring them.

mod certificates;
mod directories;
mod disks;
mod kerberos;
mod mail;
mod servers;
mod services;
mod site;

use site::Site;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Probes run so often here.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long after the fault the alert may come: an interval, the time that probes take themselves (a peer that says nothing
/// has to be waited for), and room for a machine that has other tests to run.
const ALERT: Duration = Duration::from_secs(25);
/// Until all is quiet again after the fault is mended: two good rounds, the slowest recovery included.
const QUIET: Duration = Duration::from_secs(60);

/// One way to break something.
pub struct Fault {
    pub name: &'static str,
    /// One of these is the cause that the alert names.
    pub causes: &'static [&'static str],
    /// Words of the leg or of what is at fault, all of them.
    pub leg: &'static [&'static str],
    pub breaks: fn(&mut Site),
    pub mends: fn(&mut Site),
}

/// Tries them all; what did not go as it should is told together.
pub fn inject(site: &mut Site, faults: &[Fault]) {
    let mut problems = String::new();
    let only = std::env::var("FAULT").ok();
    for fault in faults.iter().filter(|f| only.as_ref().is_none_or(|o| f.name.contains(o.as_str()))) {
        site.quiet(QUIET).unwrap_or_else(|e| panic!("before {:?}: {e}", fault.name));
        let told = try_one(site, fault);
        if let Err(e) = told {
            let _ = writeln!(problems, "{}: {e}", fault.name);
        }
        (fault.mends)(site);
        if let Err(e) = site.quiet(QUIET) {
            let _ = writeln!(problems, "{}: it does not end: {e}", fault.name);
            break;
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

fn try_one(site: &mut Site, fault: &Fault) -> Result<(), String> {
    let before = site.raised();
    (fault.breaks)(site);
    let begun = Instant::now();
    let alert = loop {
        let new = site.since(&before);
        if let Some(alert) = new.into_iter().next() {
            break alert;
        }
        if begun.elapsed() > ALERT {
            return Err(format!("no alert in {} s", ALERT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let took = begun.elapsed();
    // One more round: whatever else fails by it has to be folded into the same alert.
    std::thread::sleep(INTERVAL + Duration::from_secs(1));
    let all = site.since(&before);
    if all.len() != 1 {
        return Err(format!(
            "{} alerts: {}",
            all.len(),
            all.iter().map(|a| a.line()).collect::<Vec<_>>().join(" | ")
        ));
    }
    let alert = all.into_iter().next().unwrap_or(alert);
    if !fault.causes.contains(&alert.cause.as_str()) {
        return Err(format!("the cause should be one of {:?}: {}", fault.causes, alert.line()));
    }
    let leg = format!("{} {}", alert.leg, alert.subject).to_lowercase();
    if let Some(missing) = fault.leg.iter().find(|word| !leg.contains(&word.to_lowercase())) {
        return Err(format!("the leg does not name {missing:?}: {}", alert.line()));
    }
    println!("{:<48} {:>5.1} s  {}", fault.name, took.as_secs_f64(), alert.line());
    Ok(())
}
