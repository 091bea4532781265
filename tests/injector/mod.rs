//! The fault injector: breaks one leg of a running organisation after another, and holds that each fault gives exactly one
//! alert, which names the leg and the cause, within one probe interval; and that the alert ends when the fault does.
//!
//! One test for each site: an organisation with what its faults need around it. Faults of a site are tried one after the
//! other on the same running servers, as an administrator's bad year would bring them.

mod accounts;
mod certificates;
mod directories;
mod disks;
mod identities;
mod kerberos;
mod mail;
mod servers;
mod services;
mod site;

use site::{Site, Told};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Seconds from one round of probes to the next. Others can be had by `PROBE_INTERVAL`: a debug build on a busy machine
/// needs more.
fn interval() -> u64 {
    std::env::var("PROBE_INTERVAL").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Seconds of the shortest interval for which an alert is promised within it; shorter ones are for tests like these.
const PROMISED_MIN: u64 = 20;

/// How long after the fault the alert may come: an interval. With short ones, the time that probes take themselves (a peer
/// that says nothing has to be waited for) is the greater part.
fn alert_max() -> Duration {
    Duration::from_secs(interval().max(PROMISED_MIN))
}

/// Until all is quiet again after the fault is mended: two good rounds, the slowest recovery included.
fn quiet_max() -> Duration {
    Duration::from_secs(15 + 20 * interval())
}

/// After the alert, for as long as a round takes: whatever else fails has to be folded into the same alert.
fn rest() -> Duration {
    Duration::from_secs(interval()) + Duration::from_millis(500)
}

/// Faults of a site that are tried once more when the first try went wrong.
const SECOND_TRIES_MAX: u32 = 3;

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

/// What a fault came to.
struct Row {
    name: &'static str,
    delay: Duration,
    told: Result<Told, String>,
}

/// Tries them all; what did not go as it should is told together.
pub fn inject(site: &mut Site, faults: &[Fault]) {
    let only = std::env::var("FAULT").ok();
    let (mut rows, mut second_tries): (Vec<Row>, u32) = (Vec::new(), 0);
    for fault in faults.iter().filter(|f| only.as_ref().is_none_or(|o| f.name.contains(o.as_str()))) {
        if let Err(e) = site.quiet(quiet_max()) {
            rows.push(Row { name: fault.name, delay: quiet_max(), told: Err(format!("before it: {e}")) });
            break;
        }
        let mut row = attempt(site, fault);
        // A machine that other work stops for seconds makes alerts of its own. A fault that is told wrongly is so twice.
        if row.told.is_err() && second_tries < SECOND_TRIES_MAX && site.quiet(quiet_max()).is_ok() {
            second_tries += 1;
            println!("{} (once more)", row.line());
            row = attempt(site, fault);
        }
        println!("{}", row.line());
        rows.push(row);
    }
    table(&rows);
}

/// Breaks, looks, mends, and waits until it is over.
fn attempt(site: &mut Site, fault: &Fault) -> Row {
    let begun = Instant::now();
    let (delay, told) = match catch_unwind(AssertUnwindSafe(|| try_one(site, fault))) {
        Ok(found) => found,
        Err(_) => (begun.elapsed(), Err("it cannot be broken that way".to_owned())),
    };
    let mended = catch_unwind(AssertUnwindSafe(|| (fault.mends)(site)));
    let ended = match mended {
        Ok(()) => site.quiet(quiet_max()).map_err(|e| format!("it does not end: {e}")),
        Err(_) => Err("it cannot be mended that way".to_owned()),
    };
    let told = match (told, ended) {
        (Err(a), Err(b)) => Err(format!("{a}; {b}")),
        (told, ended) => ended.and(told),
    };
    Row { name: fault.name, delay, told }
}

impl Row {
    fn line(&self) -> String {
        let told = match &self.told {
            Ok(told) => told.line(),
            Err(e) => format!("WRONG: {e}"),
        };
        format!("{:<52} {:>5.1} s  {told}", self.name, self.delay.as_secs_f64())
    }
}

fn table(rows: &[Row]) {
    let mut delays: Vec<Duration> = rows.iter().filter(|r| r.told.is_ok()).map(|r| r.delay).collect();
    delays.sort();
    let median = delays.get(delays.len() / 2).copied().unwrap_or_default();
    let longest = delays.last().copied().unwrap_or_default();
    println!(
        "\n{} faults of {} hold; alerts after {:.1} s (median), {:.1} s (longest); probes every {} s",
        delays.len(),
        rows.len(),
        median.as_secs_f64(),
        longest.as_secs_f64(),
        interval()
    );
    rows.iter().for_each(|row| println!("  {}", row.line()));
    let wrong: Vec<String> = rows.iter().filter(|r| r.told.is_err()).map(Row::line).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Breaks it; how long the alert took, and which it was.
fn try_one(site: &mut Site, fault: &Fault) -> (Duration, Result<Told, String>) {
    let before = site.raised();
    (fault.breaks)(site);
    let begun = Instant::now();
    while site.since(&before).is_empty() {
        if begun.elapsed() > alert_max() {
            return (begun.elapsed(), Err(format!("no alert; {}", site.unwell().join(", "))));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let delay = begun.elapsed();
    std::thread::sleep(rest());
    let all = site.since(&before);
    let lines = || all.iter().map(Told::line).collect::<Vec<_>>().join(" | ");
    let [alert] = all.as_slice() else {
        return (delay, Err(format!("{} alerts: {}", all.len(), lines())));
    };
    (delay, fits(fault, alert).map(|()| alert.clone()))
}

/// Does what is meant to be so: nobody is told of anything.
pub fn in_peace(site: &mut Site, what: &str, act: impl FnOnce(&mut Site)) {
    site.quiet(quiet_max()).unwrap_or_else(|e| panic!("before {what}: {e}"));
    let before = site.raised();
    act(site);
    std::thread::sleep(rest() + rest());
    let told: Vec<String> = site.since(&before).iter().map(Told::line).collect();
    assert!(told.is_empty(), "{what}: {}", told.join(" | "));
    println!("{what:<52} nobody is told");
}

fn fits(fault: &Fault, alert: &Told) -> Result<(), String> {
    if !fault.causes.contains(&alert.cause.as_str()) {
        return Err(format!("the cause should be one of {:?}: {}", fault.causes, alert.line()));
    }
    let leg = format!("{} {}", alert.leg, alert.subject).to_lowercase();
    match fault.leg.iter().find(|word| !leg.contains(&word.to_lowercase())) {
        Some(missing) => Err(format!("the leg does not name {missing:?}: {}", alert.line())),
        None => Ok(()),
    }
}
