//! An organisation of two front ends and two homes, whose parts can be broken, and the probes that run in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use waypost_base::Timestamp;
use waypost_base::explain::{Cause, Confidence, Evidence, Finding, Leg, Outcome, Party};
use waypost_health::respond::Responders;
use waypost_health::{
    Alert, AlertValue, Decision, Keeper, Moment, ProbeId, ProbeResult, SettingsChange, Subject, Timing,
    Watch, Wish,
};

pub const SERVERS: [&str; 4] = ["fe-1", "fe-2", "mbx-1", "mbx-2"];
const FRONT: [&str; 2] = ["fe-1", "fe-2"];
const HOMES: [&str; 2] = ["mbx-1", "mbx-2"];

pub const fn cause(code: &'static str) -> Cause {
    Cause { code, meaning: "it is broken", remedy: "mend it", reference: "" }
}

/// A small generator, so that runs can be repeated by their seed.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}

/// Something that is broken.
#[derive(Clone, Debug)]
pub struct Fault {
    pub part: Subject,
    /// What probes say that look at this part alone, or see it fail themselves.
    pub code: &'static str,
    /// What the others say, on whose way it is.
    pub symptom: &'static str,
    pub from: u64,
    pub until: u64,
    /// Bad for so many milliseconds and good for as many, in turn; 0: bad all the time.
    pub flaps: u64,
    /// Tries hang until their time is over.
    pub hangs: bool,
    pub degraded: bool,
    /// For inner doors: only whoever looks for it from outside is concerned, and it itself.
    pub only_to: bool,
}

impl Fault {
    pub fn new(part: Subject, code: &'static str, symptom: &'static str) -> Fault {
        Fault {
            part,
            code,
            symptom,
            from: 0,
            until: u64::MAX,
            flaps: 0,
            hangs: false,
            degraded: false,
            only_to: false,
        }
    }

    pub fn at(self, from: u64, until: u64) -> Fault {
        Fault { from, until, ..self }
    }

    fn holds(&self, now: u64) -> bool {
        let inside = (self.from..self.until).contains(&now);
        inside && (self.flaps == 0 || ((now - self.from) / self.flaps).is_multiple_of(2))
    }
}

#[derive(Clone, Debug)]
pub struct Probe {
    pub id: ProbeId,
    pub server: String,
    pub path: Vec<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// A round of a probe, or a repetition.
    Run {
        server: String,
        probe: ProbeId,
        round: bool,
    },
    Result {
        server: String,
        probe: ProbeId,
        started: u64,
    },
    Gather,
}

pub struct World {
    pub timing: Timing,
    pub faults: Vec<Fault>,
    /// Tries in ten thousand that are lost for no reason.
    pub loss: u64,
    /// Milliseconds that packets which are lost add: each of twenty in ten thousand.
    pub packet_loss: u64,
    /// The wall clock is off by so much from these times on.
    pub jumps: Vec<(u64, i64)>,
    pub keeper: Keeper,
    /// Parts that a probe goes through by turns, besides its path. Only a try that fails there tells which it was.
    pub turns: BTreeMap<(String, ProbeId), Vec<Subject>>,
    /// Alerts that a server has kept, for the keeper.
    pub handed: BTreeMap<String, Vec<Alert>>,
    /// The keeper's legs stand since before the faults.
    pub links_stand: bool,
    /// Servers that the probes of others leave out.
    pub unasked: BTreeSet<String>,
    /// The servers that the directory has, where they are not all of them.
    pub listed: Option<Vec<String>>,
    /// Servers that were broken into, and the part that each says is broken, with the cause.
    pub liars: BTreeMap<String, (Subject, &'static str)>,
    /// What the directory says is drained: actions of the keeper are done at once.
    pub drained: BTreeSet<(String, String)>,
    pub version: u32,
    pub said: Vec<(u64, Decision)>,
    now: u64,
    dice: Dice,
    probes: BTreeMap<(String, ProbeId), Probe>,
    watches: BTreeMap<String, Watch>,
    queue: BinaryHeap<Reverse<(u64, u64, Task)>>,
    number: u64,
}

fn id(set: &str, name: &str, target: &str) -> ProbeId {
    ProbeId::new(set, name, target)
}

/// Everything that is probed.
pub fn probes() -> Vec<Probe> {
    let mut all = Vec::new();
    let mut put = |server: &str, id: ProbeId, path: Vec<Subject>| {
        all.push(Probe { id, server: server.to_owned(), path });
    };
    for server in SERVERS {
        let own = server.to_owned();
        put(server, id("DiskSpace", "StorageLogicalDriveSpaceProbe", ""), vec![Subject::Disk(own.clone())]);
        put(server, id("Store", "ActiveDatabaseAvailabilityProbe", ""), vec![Subject::Store(own.clone())]);
        put(server, id("Network", "DnsHostRecordProbe", ""), vec![Subject::Dns(own.clone())]);
        put(server, id("Clock", "ClockProbe", ""), vec![Subject::Clock(own.clone())]);
        put(server, id("Kerberos", "KerberosKeytabProbe", ""), vec![Subject::Kerberos(own.clone())]);
        put(server, id("AD", "DirectoryCopyProbe", ""), vec![Subject::Directory(own.clone())]);
        for other in SERVERS.iter().filter(|other| **other != server) {
            let path = vec![
                Subject::leg(server, other),
                Subject::Kerberos(own.clone()),
                Subject::Kerberos((*other).into()),
            ];
            put(server, id("Network", "InnerLegProbe", other), path);
        }
    }
    for front in FRONT {
        for (set, name, doors) in [("IMAP", "Imap", ["imap", "imaps"]), ("POP", "Pop", ["pop3", "pop3s"])] {
            for door in doors {
                let listener = Subject::listener(front, door);
                let certificate = Subject::Certificate(format!("cert-{front}"));
                let proxy = id(&format!("{set}.Proxy"), &format!("{name}ProxyTestProbe"), door);
                put(front, proxy, vec![listener.clone(), certificate.clone()]);
                for home in HOMES {
                    let path = vec![
                        listener.clone(),
                        certificate.clone(),
                        Subject::Directory(front.into()),
                        Subject::leg(front, home),
                        Subject::Store(home.into()),
                    ];
                    put(front, id(set, &format!("{name}CTPProbe"), &format!("{door}/{home}")), path);
                }
            }
        }
        for home in HOMES {
            let path = vec![
                Subject::listener(front, "submission"),
                Subject::Certificate(format!("cert-{front}")),
                Subject::leg(front, home),
                Subject::Queue(home.into()),
                Subject::Store(home.into()),
            ];
            put(front, id("SMTP", "SmtpCTPProbe", home), path);
        }
    }
    for home in HOMES {
        let own = home.to_owned();
        for (set, name) in [("IMAP.Protocol", "Imap"), ("POP.Protocol", "Pop")] {
            let door = Subject::listener(home, &name.to_lowercase());
            put(home, id(set, &format!("{name}SelfTestProbe"), ""), vec![door.clone()]);
            put(home, id(set, &format!("{name}DeepTestProbe"), ""), vec![door, Subject::Store(own.clone())]);
        }
        put(home, id("HubTransport", "SubmissionQueueProbe", ""), vec![Subject::Queue(own.clone())]);
        let out = vec![
            Subject::Queue(own.clone()),
            Subject::Dns(own.clone()),
            Subject::Peer("relay.example.net".into()),
        ];
        put(home, id("MailFlow", "MailflowOutboundProbe", ""), out);
        for other in HOMES.iter().filter(|other| **other != home) {
            let path = vec![
                Subject::Queue(own.clone()),
                Subject::leg(home, other),
                Subject::Store(own.clone()),
                Subject::Store((*other).into()),
            ];
            put(home, id("MailFlow", "MailflowIntraOrgProbe", other), path);
        }
    }
    all
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with(seed, probes())
    }

    pub fn with(seed: u64, probes: Vec<Probe>) -> World {
        let timing = Timing::new(60_000);
        let mut world = World {
            timing,
            faults: Vec::new(),
            loss: 0,
            packet_loss: 0,
            jumps: Vec::new(),
            keeper: Keeper::new("fe-1", timing),
            turns: BTreeMap::new(),
            handed: BTreeMap::new(),
            links_stand: false,
            unasked: BTreeSet::new(),
            listed: None,
            liars: BTreeMap::new(),
            drained: BTreeSet::new(),
            version: 1,
            said: Vec::new(),
            now: 0,
            dice: Dice::new(seed),
            probes: probes.into_iter().map(|p| ((p.server.clone(), p.id.clone()), p)).collect(),
            watches: SERVERS.iter().map(|s| ((*s).to_owned(), Watch::new(*s, timing))).collect(),
            queue: BinaryHeap::new(),
            number: 0,
        };
        for (server, probe) in world.probes.keys().cloned().collect::<Vec<_>>() {
            let start = world.dice.below(timing.recurrence());
            world.put(start, Task::Run { server, probe, round: true });
        }
        for (server, watch) in &mut world.watches {
            let own = world.probes.keys().filter(|(s, _)| s == server).map(|(_, p)| p.clone());
            watch.expect(own, Moment::default());
        }
        world.put(timing.gather(), Task::Gather);
        world
    }

    pub fn responders(&mut self, responders: Responders) {
        self.keeper.set_responders(responders);
    }

    pub fn change_settings(&mut self, change: SettingsChange) {
        self.version = change.version;
        let now = self.moment();
        self.keeper.settings_changed(change, now);
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn moment(&self) -> Moment {
        let off: i64 = self.jumps.iter().filter(|(at, _)| *at <= self.now).map(|(_, by)| by).sum();
        Moment::new(self.now, Timestamp(1_772_525_720_114 + self.now as i64 + off))
    }

    fn put(&mut self, at: u64, task: Task) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number, task)));
    }

    /// Whether a server's process runs.
    fn runs(&self, server: &str) -> bool {
        let down =
            |f: &Fault| f.part == Subject::Server(server.to_owned()) && f.code == "DOWN" && f.holds(self.now);
        !self.faults.iter().any(down)
    }

    pub fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, _, _))) = self.queue.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse((at, _, task))) = self.queue.pop() else { break };
            self.now = at;
            self.step(task);
        }
        self.now = end;
    }

    fn step(&mut self, task: Task) {
        match task {
            Task::Run { server, probe, round } => {
                let asks = |s: &Subject| {
                    s.server().is_some_and(|other| other != server && self.unasked.contains(other))
                };
                let left_out = self.probes[&(server.clone(), probe.clone())].path.iter().any(asks);
                if round {
                    let next = self.now + self.timing.recurrence();
                    self.put(next, Task::Run { server: server.clone(), probe: probe.clone(), round });
                }
                if left_out {
                    return;
                }
                let started = self.now;
                let took = self.duration(&server, &probe, started);
                self.put(started + took, Task::Result { server, probe, started });
            }
            Task::Result { server, probe, started } => self.finish(&server, &probe, started),
            Task::Gather => {
                self.put(self.now + self.timing.gather(), Task::Gather);
                for server in SERVERS {
                    self.ask(server);
                }
                self.judge();
            }
        }
    }

    /// The keeper asks a server how it is.
    fn ask(&mut self, server: &str) {
        let now = self.moment();
        let keeper = self.keeper.server().to_owned();
        let listed = self.listed.as_ref().is_none_or(|all| all.iter().any(|id| id == server));
        if !self.runs(&keeper) || !listed {
            return;
        }
        let reached =
            server == keeper || self.links_stand || self.broken(&[Subject::leg(&keeper, server)]).is_empty();
        if self.runs(server) && reached {
            let mut report = self.watches[server].report(now);
            report.handed = self.handed.get(server).cloned().unwrap_or_default();
            if let Some((part, code)) = self.liars.get(server) {
                report.monitors.extend(report.monitors.first().cloned().map(|mut lie| {
                    lie.probe = id("IMAP", "ImapCTPProbe", "lie");
                    lie.value = AlertValue::Unhealthy;
                    lie.failing_ago = Some(30_000);
                    let mut result = ProbeResult::new(lie.probe.clone(), server, now.wall);
                    result.subject = vec![part.clone()];
                    result.culprit = Some(part.clone());
                    result.finding = Some(finding(code));
                    lie.last = Some(result.clone());
                    lie.fault = Some(result);
                    lie
                }));
            }
            self.keeper.hear(report, now);
        } else {
            let probe = id("RemoteMonitoring", "ServerReportProbe", server);
            let mut result = ProbeResult::new(probe, &keeper, now.wall);
            result.subject = vec![Subject::leg(&keeper, server)];
            result.finding = Some(finding("INNER-UNREACHABLE"));
            self.keeper.unheard(server, result, now);
        }
    }

    fn judge(&mut self) {
        let now = self.moment();
        self.keeper.set_drained(self.drained.clone());
        let all = || SERVERS.iter().map(|s| (*s).to_owned()).collect();
        self.keeper.servers(&self.listed.clone().unwrap_or_else(all));
        for decision in self.keeper.judge(now) {
            self.said.push((self.now, decision));
        }
    }

    /// Faults on a way.
    fn broken(&self, path: &[Subject]) -> Vec<Fault> {
        let way: BTreeSet<Subject> = path.iter().flat_map(Subject::closure).collect();
        let concerned = |f: &&Fault| {
            let from = |s: &Subject| matches!(s, Subject::Leg { to, .. } | Subject::Inner(to) if f.part.server() == Some(to));
            !f.only_to || path.iter().any(from)
        };
        let holding = self.faults.iter().filter(|f| f.holds(self.now) && way.contains(&f.part));
        holding.filter(concerned).cloned().collect()
    }

    /// What a try goes through besides its path.
    fn turn(&self, server: &str, probe: &ProbeId, started: u64) -> Option<Subject> {
        let turns = self.turns.get(&(server.to_owned(), probe.clone()))?;
        turns.get((started / 7) as usize % turns.len()).cloned()
    }

    fn duration(&mut self, server: &str, probe: &ProbeId, started: u64) -> u64 {
        let mut path = self.probes[&(server.to_owned(), probe.clone())].path.clone();
        path.extend(self.turn(server, probe, started));
        if self.broken(&path).iter().any(|f| f.hangs) {
            return self.timing.timeout();
        }
        let mut took = 5 + self.dice.below(40);
        for _ in 0..20 {
            // What TCP does: twice as long each time.
            let mut wait = 200;
            while self.dice.below(10_000) < self.packet_loss {
                took += wait;
                wait *= 2;
            }
        }
        took.min(self.timing.timeout())
    }

    fn finish(&mut self, server: &str, probe: &ProbeId, started: u64) {
        if !self.runs(server) {
            return;
        }
        let mut known = self.probes[&(server.to_owned(), probe.clone())].clone();
        if let Some(turn) = self.turn(server, probe, started)
            && !self.broken(std::slice::from_ref(&turn)).is_empty()
        {
            known.path.push(turn);
        }
        let now = self.moment();
        let mut result = ProbeResult::new(probe.clone(), server, now.wall);
        result.millis = (self.now - started) as u32;
        result.version = Some(self.version);
        result.subject.clone_from(&known.path);
        let broken = self.broken(&known.path);
        // The first on the way is what stops it.
        let order = |f: &&Fault| known.path.iter().position(|s| s.closure().contains(&f.part));
        if let Some(fault) = broken.iter().min_by_key(order) {
            let direct = known.path.len() == 1 && known.path[0] == fault.part;
            let sees = direct || fault.symptom.is_empty();
            let code = if sees { fault.code } else { fault.symptom };
            result.finding = Some(finding(code));
            result.degraded = fault.degraded;
            result.legs.push(leg(&known, code, now.wall));
        } else if result.millis >= self.timing.timeout() as u32 || self.dice.below(10_000) < self.loss {
            result.finding = Some(finding("REHEARSAL-TIMEOUT"));
        }
        let wishes = self.watches.get_mut(server).expect("all servers have one").take(result, now);
        let mut tell = false;
        for wish in wishes {
            match wish {
                Wish::Again(probe, after) => {
                    self.put(self.now + after, Task::Run { server: server.to_owned(), probe, round: false });
                }
                Wish::Tell => tell = true,
            }
        }
        if tell {
            self.ask(server);
            self.judge();
        }
    }

    /// Does at once what has been decided since the `from`th decision. Gives the number of the next one.
    pub fn carry_out(&mut self, from: usize) -> usize {
        let now = self.moment();
        for (_, decision) in self.said.clone().iter().skip(from) {
            match decision {
                Decision::Alert(_) | Decision::Changed(_) | Decision::Mended(_) => continue,
                Decision::Drain { server, service, .. } => {
                    self.drained.insert((server.clone(), service.clone()));
                }
                Decision::Restore { server, service, .. } => {
                    self.drained.remove(&(server.clone(), service.clone()));
                }
                _ => {}
            }
            self.keeper.acted(decision, Ok("done".into()), now);
        }
        self.said.len()
    }

    pub fn watch(&self, server: &str) -> &Watch {
        &self.watches[server]
    }

    pub fn raised(&self) -> Vec<(u64, Alert)> {
        let raised = |(at, d): &(u64, Decision)| match d {
            Decision::Alert(alert) => Some((*at, alert.clone())),
            _ => None,
        };
        self.said.iter().filter_map(raised).collect()
    }

    pub fn mended(&self) -> Vec<(u64, Alert)> {
        let mended = |(at, d): &(u64, Decision)| match d {
            Decision::Mended(alert) => Some((*at, alert.clone())),
            _ => None,
        };
        self.said.iter().filter_map(mended).collect()
    }

    pub fn codes(&self) -> Vec<String> {
        self.keeper.alerts(false).iter().map(|a| a.finding.cause.code.to_owned()).collect()
    }

    /// For messages of tests.
    pub fn story(&self) -> String {
        let line = |(at, d): &(u64, Decision)| {
            let kind = match d {
                Decision::Alert(_) => "ALERT  ",
                Decision::Changed(_) => "CHANGED",
                Decision::Mended(_) => "MENDED ",
                _ => "DO     ",
            };
            let more = match d {
                Decision::Alert(a) | Decision::Changed(a) | Decision::Mended(a) => {
                    let folded: Vec<String> =
                        a.folded.iter().map(|m| format!("{}:{}", m.server, m.probe)).collect();
                    format!(" @ {} {} folded {}", a.subject, a.id, folded.join(" "))
                }
                _ => String::new(),
            };
            format!("{:>8.1} s {kind} {}{more}\n", *at as f64 / 1000.0, d.what())
        };
        self.said.iter().map(line).collect()
    }
}

fn finding(code: &'static str) -> Finding {
    let evidence = Evidence { source: "probe".into(), time: None, fact: format!("it said {code}") };
    Finding {
        cause: cause(code),
        confidence: Confidence::Certain,
        evidence: vec![evidence],
        remedy: vec!["mend it".into()],
        untested: Vec::new(),
    }
}

fn leg(probe: &Probe, code: &'static str, now: Timestamp) -> Leg {
    let to =
        probe.path.iter().find_map(|s| if let Subject::Leg { to, .. } = s { Some(to.clone()) } else { None });
    let to = to.unwrap_or_else(|| probe.server.clone());
    let mut leg =
        Leg::start("probe", Party::new("server", probe.server.clone()), Party::new("server", to), now);
    leg.outcome = Outcome::Failed { cause: cause(code), text: "broken".into(), retry: true };
    leg
}
