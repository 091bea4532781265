//! Thousands of seeded lives of a server. In each, some messages are sent to people here and elsewhere while name servers,
//! mail servers, TLS, the disk and the clock do what they should not, and the server dies at a chosen commit and is
//! started again. In the end every message was delivered once to each recipient, or returned with one report; a
//! duplicate is only there where a server took a message and could not say so any more, or where we died in between.
//!
//! `WAYPOST_SIM_SEEDS=from..to` runs others, `WAYPOST_SIM_TRACE=1` tells what happened.

use crate::crash::Mortal;
use crate::internet::random;
use crate::outside::{Ledger, Net, Outside, Taken};
use crate::site::{BEGIN, Hands, Seen, Site, populate, settings};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::sleep;
use waypost_queue::{Filter, RetryPlan};
use waypost_store::Model;
use waypost_store::disk::Memory;
use waypost_transport::connector::{AddressSpace, SendConnector, SmartHost, TlsLevel};
use waypost_transport::send::Network;
use waypost_transport::{Hub, Settings};

/// Some 25 milliseconds of a core each, without optimisation.
const SEEDS: u64 = 2000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Faults happen until then, and messages are sent until then.
const FAULTS_END: i64 = 3 * HOUR;
const SENDING_END: i64 = 2 * HOUR;
/// By then everything has to be settled.
const END: i64 = 16 * HOUR;
/// Longer than anything between a server's taking a message and our writing that down.
const WINDOW: i64 = 15 * MINUTE;

/// Messages of one life at most.
const NUMBERS: u32 = 8;

/// The message's text as its sender sends it.
pub fn text(number: u32) -> &'static str {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| (0..NUMBERS).map(write).collect());
    texts.get(usize::try_from(number).unwrap()).map_or("", String::as_str)
}

fn write(number: u32) -> String {
    let mut text = format!(
        "Message-ID: <m{number}@client.example>\r\nFrom: a@b.example\r\nSubject: number {number}\r\n\r\n"
    );
    let roll = random(u64::from(number) + 77);
    // One is too large to stay in the rows, and does not compress.
    let lines = if number == 3 { 800 } else { 5 };
    for line in 0..lines {
        let dots = ".".repeat(usize::try_from(roll() % 3).unwrap());
        let _ = write!(text, "{dots}line {line} {:016x}{:016x}{:016x}\r\n", roll(), roll(), roll());
    }
    text
}

pub fn number_of(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Message-ID: <m")?;
    rest.split_once('@')?.0.parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NotYet,
    /// Begun, and nobody heard how it ended.
    Unknown,
    Refused,
    Accepted,
}

#[derive(Clone, Debug)]
struct Sending {
    number: u32,
    at: i64,
    from: String,
    to: Vec<&'static str>,
    /// Leaves before the last answer.
    leaves: bool,
    answer: Answer,
    /// Who is to get it in the end.
    ends: BTreeSet<String>,
}

/// Who gets what is sent to these.
fn ends(to: &str) -> Vec<&str> {
    match to {
        "fay@contoso.test" => vec!["f@far.example"],
        "kim@contoso.test" => vec!["kim@contoso.test", "k@far.example"],
        "team@contoso.test" => vec!["ann@contoso.test", "ben@contoso.test", "x@far.example"],
        other => vec![other],
    }
}

const RECIPIENTS: &[&str] = &[
    "ann@contoso.test",
    "ben@contoso.test",
    "fay@contoso.test",
    "kim@contoso.test",
    "team@contoso.test",
    "p1@far.example",
    "p2@far.example",
    "p3@far.example",
    "q1@near.example",
    "q2@near.example",
    "g@gone.example",
    "n@null.example",
    "l@loop.example",
];

const SENDERS: &[&str] = &["ann@contoso.test", "ben@contoso.test", "r@near.example", ""];

/// One seed's world, which outlives its servers.
struct Case {
    seed: u64,
    outside: Arc<Outside>,
    hands: Hands,
    seen: Arc<Seen>,
    sendings: Mutex<Vec<Sending>>,
    /// Of deliveries that the server died over.
    excused: Mutex<BTreeMap<(u32, String), usize>>,
    /// The last life ended in good order: there is nothing to excuse.
    orderly: AtomicBool,
}

impl Case {
    fn new(seed: u64, hands: Hands) -> Case {
        let outside = Arc::new(Outside {
            random: random(seed),
            hands: hands.clone(),
            ledger: Mutex::new(Ledger::default()),
            faults: true.into(),
        });
        let mut sendings = Vec::new();
        for number in 0..u32::try_from(2 + outside.below(u64::from(NUMBERS) - 2)).unwrap() {
            let at = i64::try_from(outside.below(SENDING_END.unsigned_abs())).unwrap();
            let sender = SENDERS[usize::try_from(outside.below(4)).unwrap()];
            let mut to = BTreeSet::new();
            for _ in 0..=outside.below(4) {
                to.insert(RECIPIENTS[usize::try_from(outside.below(RECIPIENTS.len() as u64)).unwrap()]);
            }
            sendings.push(Sending {
                number,
                at,
                from: sender.to_owned(),
                to: to.into_iter().collect(),
                leaves: outside.chance(5),
                answer: Answer::NotYet,
                ends: BTreeSet::new(),
            });
        }
        sendings.sort_by_key(|s| s.at);
        Case {
            seed,
            outside,
            hands,
            seen: Arc::new(Seen { subjects: true, ..Seen::default() }),
            sendings: Mutex::new(sendings),
            excused: Mutex::default(),
            orderly: AtomicBool::new(true),
        }
    }

    fn now(&self) -> i64 {
        self.hands.straight().since(BEGIN)
    }

    /// Sleeps until so long after the beginning.
    async fn until(&self, at: i64) {
        let left = at - self.now();
        if left > 0 {
            sleep(Duration::from_millis(left.unsigned_abs())).await;
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = settings();
        settings.retry = RetryPlan {
            glitch_retries: 2,
            transient_retries: 3,
            connection_failure_millis: 20 * MINUTE,
            message_millis: 12 * MINUTE,
            delay_notice_millis: Some(HOUR),
            expiration_millis: 4 * HOUR,
            connections: 20,
            ..RetryPlan::default()
        };
        settings.send[0].connections_per_domain = 1 + u32::try_from(self.seed % 4).unwrap();
        settings.send[0].messages_per_connection = u32::try_from(self.seed % 3).unwrap();
        if self.seed.is_multiple_of(5) {
            let mut smart = SendConnector::new("Smart", vec![AddressSpace::new("far.example", 1)]);
            let host = |host: &str| SmartHost { host: host.to_owned(), port: None };
            smart.smart_hosts = vec![host("mx1.far.example"), host("192.0.2.2")];
            settings.send.push(smart);
        }
        if self.seed.is_multiple_of(7) {
            let mut strict = SendConnector::new("Strict", vec![AddressSpace::new("near.example", 1)]);
            strict.tls.level = TlsLevel::Required;
            settings.send.push(strict);
        }
        settings
    }

    async fn send_all(self: Arc<Self>, site: Arc<Site>) {
        loop {
            let next = self.sendings.lock().unwrap().iter().position(|s| s.answer == Answer::NotYet);
            let Some(next) = next else { return };
            let sending = self.sendings.lock().unwrap()[next].clone();
            self.until(sending.at).await;
            self.sendings.lock().unwrap()[next].answer = Answer::Unknown;
            // Some at the same time as the next.
            let (case, site) = (self.clone(), site.clone());
            let one = async move { case.send(&site, next, sending).await };
            if self.outside.chance(50) {
                tokio::spawn(one);
            } else {
                one.await;
            }
        }
    }

    async fn send(&self, site: &Site, index: usize, sending: Sending) {
        let Sending { number, from, to, .. } = sending;
        self.outside.say(format!("message {number} from <{from}> to {to:?}"));
        {
            // Until we know better, for all.
            let ends: BTreeSet<String> = to.iter().flat_map(|to| ends(to)).map(str::to_owned).collect();
            self.sendings.lock().unwrap()[index].ends = ends;
        }
        let stuffed = text(number).replace("\r\n.", "\r\n..");
        let sent = async { site.connect().send(&from, &to, stuffed.trim_end()).await };
        if sending.leaves {
            let brief = Duration::from_micros(self.outside.below(3000));
            let _ = tokio::time::timeout(brief, sent).await;
            return;
        }
        let (taken, answer) = sent.await;
        self.outside.say(format!("message {number} for {taken:?} is answered {answer}"));
        let mut sendings = self.sendings.lock().unwrap();
        let Some(sending) = sendings.get_mut(index) else { return };
        sending.ends = taken.iter().flat_map(|to| ends(to)).map(str::to_owned).collect();
        sending.answer = match answer.get(..1) {
            Some("2") => Answer::Accepted,
            Some("4" | "5") => Answer::Refused,
            _ => Answer::Unknown,
        };
    }

    /// The disk fills up and is emptied; the clock is set, and set right.
    async fn meddle(self: Arc<Self>, model: Arc<Model>) {
        loop {
            if self.now() >= FAULTS_END {
                break;
            }
            sleep(Duration::from_millis(self.outside.below(90 * 60_000))).await;
            match self.outside.below(6) {
                0 if self.now() < FAULTS_END => {
                    self.outside.say("the disk is full");
                    model.set_full(Some("the disk is full"));
                    sleep(Duration::from_millis(self.outside.below(20 * 60_000))).await;
                    model.set_full(None);
                    self.outside.say("the disk has room");
                }
                1 => {
                    let skew = i64::try_from(self.outside.below(4 * 3600)).unwrap() * 1000 - 2 * HOUR;
                    self.outside.say(format!("the clock is wrong by {} minutes", skew / MINUTE));
                    self.hands.skew.store(skew, Ordering::Relaxed);
                }
                2 => self.hands.skew.store(0, Ordering::Relaxed),
                _ => {}
            }
        }
        model.set_full(None);
        self.hands.skew.store(0, Ordering::Relaxed);
        self.outside.faults.store(false, Ordering::Relaxed);
        self.outside.say("from now on all is well");
    }

    /// One server, until it dies or all is over. Gives the store that is left, and whether it is over.
    async fn live(self: &Arc<Self>, model: Arc<Model>, disk: Arc<Memory>, last: bool) -> (Arc<Model>, bool) {
        let orderly = !last && self.outside.chance(30);
        let stop = orderly.then(|| self.now() + i64::try_from(self.outside.below(90 * 60_000)).unwrap());
        let death = (!last && !orderly).then(|| (1 + self.outside.below(60), self.outside.chance(50)));
        let engine = Arc::new(Mortal::new(model.clone(), death));
        let dead = {
            let engine = engine.clone();
            async move { engine.died.notified().await }
        };
        let over = tokio::select! {
            () = dead => {
                self.outside.say(format!("the server dies at commit {death:?}"));
                self.orderly.store(false, Ordering::Relaxed);
                false
            }
            over = self.serve(engine.clone(), disk, stop) => over,
        };
        (Arc::new(engine.inner.copy()), over)
    }

    /// Answers whether all is over; else it was stopped in good order.
    async fn serve(self: &Arc<Self>, engine: Arc<Mortal>, disk: Arc<Memory>, stop: Option<i64>) -> bool {
        let network = Network::new(
            Arc::new(Net(self.outside.clone())),
            Arc::new(Net(self.outside.clone())),
            Arc::new(Net(self.outside.clone())),
            self.outside.random.clone(),
        );
        let clock = self.hands.clock();
        let model = engine.inner.clone();
        let site = Site::start(engine, disk, clock, network, self.settings(), Some(self.seen.clone())).await;
        self.excuse(&site.hub).await;
        let site = Arc::new(site);
        tokio::spawn(self.clone().meddle(model));
        tokio::spawn(self.clone().send_all(site.clone()));
        if let Some(stop) = stop {
            self.until(stop).await;
            self.outside.say("the server is stopped");
            site.hub.stop();
            let ended = async {
                while !site.running.is_finished() {
                    sleep(Duration::from_secs(1)).await;
                }
            };
            if tokio::time::timeout(Duration::from_secs(120), ended).await.is_err() {
                self.outside.ledger.lock().unwrap().wrong.push("sending did not stop".to_owned());
            }
            self.orderly.store(true, Ordering::Relaxed);
            return false;
        }
        self.until(FAULTS_END + MINUTE).await;
        while self.now() < END && !site.hub.queue().is_empty() {
            sleep(Duration::from_secs(60)).await;
        }
        sleep(Duration::from_secs(60)).await;
        self.judge(&site).await;
        true
    }

    /// What was taken by others and is still here: the server died before it could write that down.
    async fn excuse(&self, hub: &Hub) {
        let left = hub.queue().get_messages(&Filter::default(), |_| true, None, 1000).await.unwrap();
        let mut ledger = self.outside.ledger.lock().unwrap();
        let mut excused = self.excused.lock().unwrap();
        for message in left.messages {
            let Some(envelope) = &message.envelope else { continue };
            let Some(number) = number_of(&format!("Message-ID: <{}>", envelope.message_id)) else { continue };
            for (target, done) in &message.targets {
                let key = (number, target.to.to_string());
                let Some(taken) = ledger.taken.get(&key).filter(|_| done.is_none()) else { continue };
                let allowed = allowed(taken, excused.get(&key).copied());
                if taken.len() < allowed {
                    continue;
                }
                let since = taken.last().map_or(0, |t| t.at) - BEGIN.as_millis();
                if self.orderly.load(Ordering::Relaxed) {
                    ledger
                        .wrong
                        .push(format!("{key:?} was taken and not entered, although the end was orderly"));
                }
                if self.now() - since > WINDOW + 2 * HOUR {
                    ledger.wrong.push(format!("{key:?} was taken at {since} and is still in the queue"));
                }
                *excused.entry(key).or_default() += 1;
            }
        }
    }

    async fn judge(&self, site: &Site) {
        let mut boxes = BTreeMap::new();
        for name in ["ann", "ben", "kim", "fay"] {
            boxes.insert(format!("{name}@contoso.test"), site.inbox(name).await);
        }
        let queued = site.hub.queue().get_messages(&Filter::default(), |_| true, None, 1000).await.unwrap();
        let mut wrong: Vec<String> =
            queued.messages.iter().map(|m| format!("still in the queue: {m:?}")).collect();
        let sendings = self.sendings.lock().unwrap().clone();
        let mut ledger = self.outside.ledger.lock().unwrap();
        let mut count = Tally::default();
        for sending in &sendings {
            self.judge_one(sending, &boxes, &ledger, &mut wrong, &mut count);
        }
        DUPLICATES.fetch_add(count.duplicates, Ordering::Relaxed);
        DELIVERED.fetch_add(count.delivered, Ordering::Relaxed);
        RETURNED.fetch_add(count.returned, Ordering::Relaxed);
        ledger.wrong.append(&mut wrong);
    }

    fn judge_one(
        &self,
        sending: &Sending,
        boxes: &BTreeMap<String, Vec<String>>,
        ledger: &Ledger,
        wrong: &mut Vec<String>,
        count: &mut Tally,
    ) {
        let number = sending.number;
        let fates: Vec<(&String, usize, usize, usize)> =
            sending.ends.iter().map(|end| self.fate(sending, end, boxes, ledger)).collect();
        let untouched = fates.iter().all(|(_, delivered, returned, _)| delivered + returned == 0);
        match sending.answer {
            Answer::NotYet => wrong.push(format!("message {number} was never sent")),
            Answer::Unknown if untouched => {}
            Answer::Refused => {
                if !untouched {
                    wrong.push(format!("message {number} was refused, and yet: {fates:?}"));
                }
            }
            Answer::Accepted | Answer::Unknown => {
                for (end, delivered, returned, allowed) in fates {
                    count.delivered += u64::from(delivered > 0);
                    count.returned += u64::from(returned > 0);
                    count.duplicates += delivered.saturating_sub(1) as u64;
                    let text = format!(
                        "message {number} for {end}: {delivered} delivered (at most {allowed}), {returned} returned"
                    );
                    if delivered + returned == 0 {
                        wrong.push(format!("lost: {text}"));
                    }
                    if delivered > allowed {
                        wrong.push(format!("too often: {text}"));
                    }
                    if returned > 1 || (returned == 1 && delivered > 0 && allowed == 1) {
                        wrong.push(format!("returned too often: {text}"));
                    }
                }
            }
        }
    }

    /// How often it was delivered, how often returned, and how often it may have been delivered.
    fn fate<'a>(
        &self,
        sending: &Sending,
        end: &'a String,
        boxes: &BTreeMap<String, Vec<String>>,
        ledger: &Ledger,
    ) -> (&'a String, usize, usize, usize) {
        let number = sending.number;
        let key = (number, end.clone());
        let id = format!("Message-ID: <m{number}@client.example>");
        let (delivered, allowed) = match boxes.get(end) {
            Some(inbox) => {
                let mine = |m: &&String| m.contains(&id) && !m.contains("report-type=delivery-status");
                (inbox.iter().filter(mine).count(), 1)
            }
            None => {
                let taken = ledger.taken.get(&key).map(Vec::as_slice).unwrap_or_default();
                (taken.len(), allowed(taken, self.excused.lock().unwrap().get(&key).copied()))
            }
        };
        let reply = format!("In-Reply-To: <m{number}@client.example>");
        let about = |report: &str| report.contains(&reply) && failed(report, end);
        let returned = match boxes.get(&sending.from) {
            Some(inbox) => inbox.iter().filter(|m| about(m)).count(),
            None if sending.from.is_empty() => {
                // Nobody to tell: the tracking log has it.
                let (who, item) = (format!(" {end} "), format!("(number {number})"));
                let events = self.seen.events.lock().unwrap();
                let fail = |e: &&String| e.contains(" FAIL ") && e.contains(&who) && e.ends_with(&item);
                usize::from(events.iter().any(|e| fail(&e)))
            }
            None => {
                // A report that nobody took in its time, or that was refused, ends in the tracking log.
                let lost = format!("DSN BADMAIL {} (Undeliverable: number {number})", sending.from);
                let lost = self.seen.events.lock().unwrap().iter().any(|e| **e == lost);
                let told: BTreeSet<&String> = ledger
                    .reports
                    .iter()
                    .filter(|(to, r)| *to == sending.from && about(r))
                    .map(|(_, r)| r)
                    .collect();
                told.len().max(usize::from(lost && delivered == 0))
            }
        };
        (end, delivered, returned, allowed)
    }
}

#[derive(Default)]
struct Tally {
    delivered: u64,
    returned: u64,
    duplicates: u64,
}

fn allowed(taken: &[Taken], excused: Option<usize>) -> usize {
    1 + taken.iter().filter(|t| t.unsaid).count() + excused.unwrap_or(0)
}

/// Whether a report says that this recipient did not get it.
fn failed(report: &str, end: &str) -> bool {
    report.split("Final-Recipient: rfc822; ").skip(1).any(|block| {
        let mut lines = block.lines();
        lines.next() == Some(end) && lines.next() == Some("Action: failed")
    })
}

static DELIVERED: AtomicU64 = AtomicU64::new(0);
static RETURNED: AtomicU64 = AtomicU64::new(0);
static DUPLICATES: AtomicU64 = AtomicU64::new(0);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// The store of a server that was just set up.
fn fresh(hands: &Hands) -> Model {
    runtime().block_on(async {
        let model = Arc::new(Model::new(hands.clock()));
        populate(model.clone(), hands.clock()).await;
        model.copy()
    })
}

/// Gives what went wrong, with the trace.
fn run(seed: u64, hands: &Hands, fresh: &Model) -> Option<String> {
    hands.reset(BEGIN);
    let mut model = Arc::new(fresh.copy());
    let disk = Arc::new(Memory::default());
    let case = Arc::new(Case::new(seed, hands.clone()));
    let deaths = case.outside.below(4);
    for life in 0..=deaths {
        // All that lives in a runtime dies with it.
        let (left, over) = runtime().block_on(async {
            // It takes a while until somebody starts it again.
            let pause = if life == 0 { 0 } else { i64::try_from(case.outside.below(20)).unwrap() * MINUTE };
            case.hands.go(case.hands.straight().plus_millis(pause));
            let ended = case.live(model.clone(), disk.clone(), life == deaths).await;
            case.hands.stop();
            ended
        });
        model = left;
        if over {
            break;
        }
    }
    let ledger = case.outside.ledger.lock().unwrap();
    let tell = std::env::var_os("WAYPOST_SIM_TRACE").is_some();
    if ledger.wrong.is_empty() && !tell {
        return None;
    }
    let events = case.seen.events.lock().unwrap().join("\n");
    let told = format!(
        "seed {seed}:\n{}\n\nwhat happened:\n{}\n\nas tracked:\n{events}\n",
        ledger.wrong.join("\n"),
        ledger.trace.join("\n")
    );
    if tell {
        println!("{told}");
    }
    (!ledger.wrong.is_empty()).then_some(told)
}

#[test]
fn every_message_is_delivered_once_or_returned_once() {
    let (from, to) = match std::env::var("WAYPOST_SIM_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("from..to");
            (from.parse().unwrap(), to.parse().unwrap())
        }
        Err(_) => (0, SEEDS),
    };
    let next = AtomicU64::new(from);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let hands = Hands::stopped(BEGIN);
                let fresh = fresh(&hands);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to || failures.lock().unwrap().len() > 2 {
                        break;
                    }
                    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(seed, &hands, &fresh)));
                    let failed = outcome.unwrap_or_else(|_| Some(format!("seed {seed} panicked")));
                    if failed.is_some() {
                        // At once, should the run be cut short.
                        eprintln!("seed {seed} failed");
                    }
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let (delivered, returned, duplicates) = (
        DELIVERED.load(Ordering::Relaxed),
        RETURNED.load(Ordering::Relaxed),
        DUPLICATES.load(Ordering::Relaxed),
    );
    println!(
        "{} seeds: {delivered} delivered, {returned} returned, {duplicates} duplicates, all excused",
        to - from
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
