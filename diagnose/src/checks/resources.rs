//! Checks for causes of the area `resources`: resource meters, free space, queues, tarpits, ports.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub const ALL: &[(&str, Check)] = &[
    ("disk_meter_high", disk_meter_high),
    ("memory_meter_high", memory_meter_high),
    ("memory_nearly_used", memory_nearly_used),
    ("queue_meter_high", queue_meter_high),
    ("disk_pressure_over", disk_pressure_over),
    ("memory_pressure_over", memory_pressure_over),
    ("queue_pressure_over", queue_pressure_over),
    ("disk_under_pressure", disk_under_pressure),
    ("memory_under_pressure", memory_under_pressure),
    ("queue_under_pressure", queue_under_pressure),
    ("submission_queue_long", submission_queue_long),
    ("tarpit_delays", tarpit_delays),
    ("transport_disk_nearly_full", transport_disk_nearly_full),
    ("some_drive_full", some_drive_full),
    ("system_drive_full", system_drive_full),
    ("store_volume_full", store_volume_full),
    ("standard_database_at_limit", standard_database_at_limit),
    ("close_wait_many", close_wait_many),
];

/// Where the level Medium begins for a resource, as the transport service is delivered.
const MEDIUM: [(&str, f64); 8] = [
    ("DatabaseUsedSpace", 97.0),
    ("UsedDiskSpace", 90.0),
    ("PrivateBytes", 73.0),
    ("SystemMemory", 89.0),
    ("QueueLength", 10_000.0),
    ("UsedVersionBuckets", 1_000.0),
    ("VersionBuckets", 1_000.0),
    ("JetSessions", 1_001.0),
];

/// Meters of these resources beyond their threshold.
fn meters(case: &Case, resources: &[&str]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.all() {
        let Some(resource) = fact.get("resource").or(fact.get("resourcename")) else { continue };
        if !resources.iter().any(|r| words::contains(resource, r)) {
            continue;
        }
        let level = ["currentresourceuse", "currentuse", "use"].iter().find_map(|n| fact.get(n));
        let pressure = ["pressure", "currentpressure"].iter().find_map(|n| fact.number(n));
        let begins = MEDIUM.iter().find(|(name, _)| words::contains(resource, name)).map(|(_, at)| *at);
        let beyond = match level {
            Some(level) => matches!(&*level.to_ascii_lowercase(), "medium" | "high"),
            None => pressure.zip(begins).is_some_and(|(is, at)| is >= at),
        };
        if beyond {
            let at = pressure.map_or_else(String::new, |p| format!(" at {p}"));
            hits.push(Hit::of(
                format!("{resource} is {}{at}", level.unwrap_or("beyond its threshold")),
                &[fact],
            ));
        }
    }
    hits
}

fn disk_meter_high(case: &Case) -> Vec<Hit> {
    meters(case, &["UsedDiskSpace", "DatabaseUsedSpace"])
}

fn memory_meter_high(case: &Case) -> Vec<Hit> {
    meters(case, &["SystemMemory", "PrivateBytes"])
}

fn queue_meter_high(case: &Case) -> Vec<Hit> {
    meters(case, &["QueueLength", "VersionBuckets"])
}

/// Event 15004 and its like: what stands under "under pressure", before what is disabled and what is in its normal state.
fn under_pressure(case: &Case, names: &[&str]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("event").chain(case.of("text")) {
        let text = fact
            .get("message")
            .filter(|m| m.len() > fact.text.len())
            .unwrap_or(&fact.text)
            .to_ascii_lowercase();
        if text.contains("pressure decreased") || text.contains("no resources are under pressure") {
            continue;
        }
        let told = text.split("under pressure:").nth(1).unwrap_or_default();
        let ends = ["components are disabled", "normal state", "following components"];
        let told = ends
            .iter()
            .filter_map(|end| told.find(end))
            .min()
            .and_then(|end| told.get(..end))
            .unwrap_or(told);
        if names.iter().any(|name| told.contains(name)) || names.iter().any(|name| beyond_limit(&text, name))
        {
            hits.push(Hit::of(
                format!("Under pressure: {}", words::one_line(crate::fact::cut(told.trim(), 160))),
                &[fact],
            ));
        }
    }
    hits
}

/// `Physical memory load = 95% [limit is 94% …]`, in a line of its own.
fn beyond_limit(text: &str, name: &str) -> bool {
    let Some(rest) = text.split(name).nth(1) else { return false };
    let Some((value, limit)) = rest.split_once("[limit is ") else { return false };
    let value = value.trim_start_matches([' ', '=']);
    value.len() < 24 && words::number(value).zip(words::number(limit)).is_some_and(|(is, limit)| is >= limit)
}

/// All of these resources' meters are low now, or the last event of the kind says that the pressure is gone.
fn pressure_over(case: &Case, resources: &[&str]) -> Vec<Hit> {
    let metered = |f: &&Fact| {
        let resource = f.get("resource").or(f.get("resourcename")).unwrap_or_default();
        f.get("currentresourceuse").is_some() && resources.iter().any(|r| words::contains(resource, r))
    };
    let mut meters = case.all().filter(metered).peekable();
    if let Some(first) = meters.peek().copied() {
        let low = meters.all(|f| f.is("currentresourceuse", "Low") || f.is("currentresourceuse", "Normal"));
        return if low {
            vec![Hit::of("The meters of the resource are low now", &[first])]
        } else {
            Vec::new()
        };
    }
    let pressed = |f: &&Fact| {
        f.kind == "event"
            && f.get("id").is_some_and(|id| matches!(id, "15001" | "15002" | "15004" | "15006" | "15007"))
            && !relieved(f)
    };
    let last = case.of("event").filter(pressed).map(|f| (f.time, f.at.file, f.at.line)).max();
    let after = |f: &&Fact| {
        relieved(f)
            && last.is_some_and(|(time, file, line)| match f.time.zip(time) {
                Some((over, began)) => over > began,
                None => f.at.file == file && f.at.line > line,
            })
    };
    // What is refused at present, by somebody's word or a log, is not over.
    let over = case.of("event").find(after);
    over.map(|f| Hit::of("The pressure has gone back to normal since", &[f])).into_iter().collect()
}

/// An event that says that there is no pressure any more.
fn relieved(fact: &Fact) -> bool {
    fact.kind == "event"
        && (fact.mentions("to Normal") || fact.mentions("to Low"))
        && fact.mentions("pressure decreased")
        || fact.mentions("No components disabled due to back pressure")
}

fn disk_pressure_over(case: &Case) -> Vec<Hit> {
    pressure_over(case, &["UsedDiskSpace", "DatabaseUsedSpace"])
}

fn memory_pressure_over(case: &Case) -> Vec<Hit> {
    pressure_over(case, &["SystemMemory", "PrivateBytes"])
}

fn queue_pressure_over(case: &Case) -> Vec<Hit> {
    pressure_over(case, &["QueueLength", "VersionBuckets"])
}

fn disk_under_pressure(case: &Case) -> Vec<Hit> {
    under_pressure(case, &["disk space", "useddiskspace", "databaseusedspace", "logging disk"])
}

fn memory_under_pressure(case: &Case) -> Vec<Hit> {
    under_pressure(case, &["physical memory", "private bytes", "privatebytes", "systemmemory", "memory load"])
}

fn queue_under_pressure(case: &Case) -> Vec<Hit> {
    under_pressure(
        case,
        &["version buckets", "versionbuckets", "submission queue", "submissionqueue", "queuelength"],
    )
}

/// Less than a twelfth of the machine's memory is free.
fn memory_nearly_used(case: &Case) -> Vec<Hit> {
    let used = |f: &&Fact| {
        let free = f.number("freephysicalmemory");
        let all = f.number("totalvisiblememorysize");
        free.zip(all).is_some_and(|(free, all)| all > 0.0 && free / all < 0.08)
    };
    case.of("object")
        .filter(used)
        .map(|f| Hit::of("Nearly all memory of the machine is in use", &[f]))
        .collect()
}

/// Messages in the submission queue from which on the service slows senders down.
const LONG_QUEUE: f64 = 9_999.0;

fn submission_queue_long(case: &Case) -> Vec<Hit> {
    let long = |f: &&Fact| {
        let name = ["identity", "queue", "nexthopdomain", "name", "queueidentity"]
            .iter()
            .any(|n| f.get(n).is_some_and(|v| words::contains(v, "Submission")));
        name && f.number("messagecount").is_some_and(|n| n >= LONG_QUEUE)
    };
    case.of("object")
        .filter(long)
        .map(|f| {
            Hit::of(
                format!("{} messages wait in the submission queue", f.get("messagecount").unwrap_or("many")),
                &[f],
            )
        })
        .collect()
}

static TARPIT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)tarpit for '?(\d+\.)?(\d\d:\d\d:\d\d)").ok());

/// MAIL FROM is answered late: back pressure delays by ten seconds at least, where the usual tarpit is five.
fn tarpit_delays(case: &Case) -> Vec<Hit> {
    let (mut hits, mut waits) = (Vec::new(), Vec::new());
    let mut answered = 0;
    let mut asked: BTreeMap<(u32, String), &Fact> = BTreeMap::new();
    for fact in case.of("smtp-receive").chain(case.of("smtp-send")) {
        let told = TARPIT
            .as_ref()
            .and_then(|r| r.captures(&fact.text))
            .and_then(|c| c.get(2))
            .and_then(|m| words::span(m.as_str()));
        if told.is_some_and(|seconds| seconds >= 10.0) && !fact.mentions("due to '5") {
            hits.push(Hit::of("The service delays its answer by ten seconds or more", &[fact]));
        }
        let Some(session) = fact.get("session") else { continue };
        let key = (fact.at.file, session.to_owned());
        let data = fact.get("data").unwrap_or_default();
        if data.get(..9).is_some_and(|d| d.eq_ignore_ascii_case("MAIL FROM")) {
            asked.insert(key, fact);
            continue;
        }
        let answers = data.starts_with("250 2.1.0")
            || data.starts_with("452")
            || data.starts_with("421")
            || words::contains(data, "Sender OK");
        if let Some(mail) = asked.get(&key).copied().filter(|_| answers) {
            let waited = fact.time.zip(mail.time).map(|(to, from)| to.since(from));
            answered += 1;
            if let Some(millis) = waited.filter(|m| (9_000..120_000).contains(m)) {
                waits.push(Hit::of(
                    format!("MAIL FROM was answered after {} s", millis / 1000),
                    &[mail, fact],
                ));
            }
            asked.remove(&key);
        }
    }
    // One sender that waited among many who did not is no pressure.
    if waits.len() * 3 >= answered {
        hits.extend(waits);
    }
    hits
}

/// A volume and its free space.
struct Disk<'a> {
    name: String,
    label: String,
    free: f64,
    size: f64,
    fact: &'a Fact,
}

impl Disk<'_> {
    /// Less than a hundredth, or less than a gigabyte of something bigger.
    fn full(&self) -> bool {
        self.free <= self.size * 0.01 || (self.free < 1e9 && self.size > 2e10)
    }

    fn shown(&self) -> String {
        format!("{} has {:.2} GB free of {:.0} GB", self.name, self.free / 1e9, self.size / 1e9)
    }

    fn is_system(&self) -> bool {
        self.name.to_ascii_uppercase().starts_with('C') && self.name.trim_end_matches(['\\', ':']).len() == 1
    }
}

fn disks(case: &Case) -> Vec<Disk<'_>> {
    let mut found = Vec::new();
    for fact in case.of("disk").chain(case.of("object")) {
        let get = |names: &[&str]| names.iter().find_map(|n| fact.get(n));
        let name = get(&[
            "driveletter",
            "deviceid",
            "caption",
            "name",
            "root",
            "path",
            "drive",
            "volume",
            "mountpoint",
        ])
        .unwrap_or_default();
        let free = get(&["sizeremaining", "freespace", "free", "freebytes"]).and_then(words::bytes);
        let free = free
            .or_else(|| get(&["freegb", "freespacegb", "gbfree"]).and_then(words::number).map(|gb| gb * 1e9));
        let size = get(&["size", "capacity", "totalsize", "total"]).and_then(words::bytes);
        let size = size.or_else(|| {
            get(&["sizegb", "capacitygb", "totalgb", "gb"]).and_then(words::number).map(|gb| gb * 1e9)
        });
        let used = get(&["usedgb"])
            .and_then(words::number)
            .map(|gb| gb * 1e9)
            .or_else(|| get(&["used"]).and_then(words::bytes));
        let size = size.or_else(|| used.zip(free).map(|(u, f)| u + f));
        let (Some(free), Some(size)) = (free, size) else { continue };
        if size <= 0.0 || free > size || name.is_empty() {
            continue;
        }
        let label = get(&["filesystemlabel", "volumename", "label", "friendlyname", "description", "root"])
            .unwrap_or_default();
        found.push(Disk { name: name.to_owned(), label: label.to_owned(), free, size, fact });
    }
    found
}

fn transport_disk_nearly_full(case: &Case) -> Vec<Hit> {
    let near = disks(case).into_iter().filter(|d| d.free <= d.size * 0.11);
    near.map(|d| Hit::of(d.shown(), &[d.fact])).collect()
}

fn some_drive_full(case: &Case) -> Vec<Hit> {
    disks(case)
        .into_iter()
        .filter(|d| d.free <= d.size * 0.05)
        .map(|d| Hit::of(d.shown(), &[d.fact]))
        .collect()
}

fn system_drive_full(case: &Case) -> Vec<Hit> {
    disks(case)
        .into_iter()
        .filter(|d| d.full() && d.is_system())
        .map(|d| Hit::of(d.shown(), &[d.fact]))
        .collect()
}

/// A volume that holds databases or their logs is full.
fn store_volume_full(case: &Case) -> Vec<Hit> {
    let mut paths: Vec<String> = Vec::new();
    for fact in case.of("object") {
        let named =
            ["edbfilepath", "logfolderpath", "databasepath", "logpath"].iter().filter_map(|n| fact.get(n));
        paths.extend(named.map(str::to_ascii_lowercase));
    }
    let holds = |disk: &Disk<'_>| {
        let name = disk.name.to_ascii_lowercase();
        let root = name.trim_end_matches('\\').to_owned();
        let at_path = root.len() > 1 && paths.iter().any(|p| p.starts_with(&root))
            || root.len() == 1 && paths.iter().any(|p| p.starts_with(&format!("{root}:")));
        let label = format!("{} {name}", disk.label.to_ascii_lowercase());
        let words =
            ["log", "db", "database", "mdb", "edb", "exchvol", "exvol", "mailbox", "datenbank", "base"];
        at_path || words.iter().any(|w| label.contains(w))
    };
    disks(case).into_iter().filter(|d| d.full() && holds(d)).map(|d| Hit::of(d.shown(), &[d.fact])).collect()
}

/// The Standard edition's limit, less what rounding takes.
const STANDARD_LIMIT: f64 = 1024.0 * 1024.0 * 1024.0 * 1024.0 * 0.97;

fn standard_database_at_limit(case: &Case) -> Vec<Hit> {
    let standard = |f: &&Fact| {
        f.get("edition").is_some_and(|e| e.to_ascii_lowercase().starts_with("standard"))
            || f.mentions("Standard Edition")
    };
    let Some(edition) = case.all().find(standard) else { return Vec::new() };
    let raised = case.of("registry").any(|f| {
        f.is("name", "Database Size Limit in GB")
            && f.number("number").or_else(|| f.number("data")).is_some_and(|n| n > 1024.0)
    });
    if raised {
        return Vec::new();
    }
    let size = |f: &Fact| {
        let gb = ["databasesizegb", "sizegb", "sizeingb"]
            .iter()
            .find_map(|n| f.number(n))
            .map(|gb| gb * 1_073_741_824.0);
        f.get("databasesize").and_then(words::bytes).or(gb)
    };
    case.of("object")
        .filter(|f| size(f).is_some_and(|bytes| bytes >= STANDARD_LIMIT))
        .map(|f| {
            Hit::of(
                format!(
                    "{} is as large as the Standard edition allows",
                    f.get("name").unwrap_or("A database")
                ),
                &[f, edition],
            )
        })
        .collect()
}

/// Connections that the other side has closed and the process has not.
fn close_wait_many(case: &Case) -> Vec<Hit> {
    let mut count: u64 = 0;
    let mut first = None;
    for fact in case.all() {
        let waits = fact.mentions("CLOSE_WAIT") || fact.mentions("CloseWait");
        if !waits || !matches!(&*fact.kind, "port" | "object" | "netstat") {
            continue;
        }
        // A grouped listing says how many; others have a line for each.
        let grouped = fact.number("count").filter(|n| *n >= 2.0).map_or(u64::from(fact.count), |n| n as u64);
        count += grouped;
        first.get_or_insert(fact);
    }
    match first {
        Some(fact) if count >= 10 => vec![Hit::of(format!("{count} connections in CLOSE_WAIT"), &[fact])],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn case(facts: Vec<Fact>) -> Case {
        let mut case = Case::new(Timestamp(0));
        case.file_named("a");
        for fact in facts {
            case.add(fact);
        }
        case
    }

    fn object() -> Fact {
        Fact::new("object", Place::default())
    }

    #[test]
    fn meters_beyond_their_thresholds() {
        let high = case(vec![object().with("Resource", "UsedDiskSpace[D:\\Queue]").with("Pressure", "95")]);
        assert_eq!((disk_meter_high(&high).len(), memory_meter_high(&high).len()), (1, 0));
        let low = object()
            .with("Resource", "SystemMemory")
            .with("CurrentResourceUse", "Low")
            .with("Pressure", "91");
        assert!(memory_meter_high(&case(vec![low])).is_empty());
        let queue = case(vec![
            object().with("Resource", "QueueLength[SubmissionQueue]").with("CurrentResourceUse", "Medium"),
        ]);
        assert_eq!(queue_meter_high(&queue).len(), 1);
    }

    #[test]
    fn volumes() {
        let logs = object()
            .with("DriveLetter", "L")
            .with("FileSystemLabel", "DB01 logs")
            .with("SizeRemaining", "20 MB")
            .with("Size", "100 GB");
        assert_eq!(store_volume_full(&case(vec![logs])).len(), 1);
        let drive = object().with("Name", "D").with("Used (GB)", "99").with("Free (GB)", "1");
        let full = case(vec![drive]);
        assert_eq!((transport_disk_nearly_full(&full).len(), store_volume_full(&full).len()), (1, 0));
        let room = case(vec![
            object().with("DeviceID", "C:").with("FreeSpace", "50000000000").with("Size", "100000000000"),
        ]);
        assert!(some_drive_full(&room).is_empty() && system_drive_full(&room).is_empty());
    }

    #[test]
    fn the_limit_of_an_edition() {
        let server = |edition: &str| object().with("Edition", edition);
        let database =
            || object().with("Name", "DB01").with("DatabaseSize", "1.001 TB (1,100,611,583,180 bytes)");
        assert_eq!(standard_database_at_limit(&case(vec![server("Standard"), database()])).len(), 1);
        assert!(standard_database_at_limit(&case(vec![server("Enterprise"), database()])).is_empty());
    }

    #[test]
    fn late_answers() {
        let line = |millis: i64, data: &str| {
            Fact::new("smtp-receive", Place::default())
                .with("session", "A")
                .with("data", data)
                .time(Some(Timestamp(millis)))
                .text(data)
        };
        let late = case(vec![line(0, "MAIL FROM:<a@example.org>"), line(15_000, "250 2.1.0 Sender OK")]);
        assert_eq!(tarpit_delays(&late).len(), 1);
        let quick = case(vec![line(0, "MAIL FROM:<a@example.org>"), line(20, "250 2.1.0 Sender OK")]);
        assert!(tarpit_delays(&quick).is_empty());
    }
}
