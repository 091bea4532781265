//! Which probes this server runs, by its roles, its doors, its settings and the other servers; and running one.

use super::ground::{Ground, Tried};
use super::machine::Clocks;
use super::{around, client, flow, integrity, legs, machine, mailbox, out, queue, trust};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use waypost_health::{ProbeId, ProbeResult, sets};

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// What a listener answers.
    Door(&'static str),
    /// The same, at a further address.
    Further(&'static str, SocketAddr),
    /// Every way to sign in at a listener, to the mailbox of this server.
    Deep(&'static str, String),
    /// The whole use of a mailbox by a listener.
    Touch(&'static str, String),
    /// The sign-in of a client of another server's mailbox.
    Submission(String),
    Stranger(&'static str),
    Http(&'static str),
    /// The inner service of a protocol at this server itself.
    Home(waypost_trust::leg::Service),
    Mail(String),
    Inbound,
    Outbound,
    Delivery,
    MailboxSubmission,
    /// With whether TLS is wanted there.
    SmartHost(String, u16, bool),
    Filter(String),
    Hub,
    BackPressure,
    Poison,
    Unreachable,
    Queues,
    Deliveries,
    /// What waits for other servers of ours.
    Internal,
    Store,
    Integrity,
    DiskSpace,
    DiskWrite,
    Memory,
    Clock,
    Certificate(&'static str),
    Acme,
    InnerCertificate,
    Keytab,
    Ticket,
    Dns,
    Copy,
    Source(String),
    Issuer,
    Mailboxes,
    Legs(String),
    /// Whether the probes themselves come to their turn.
    Heartbeat,
}

/// A probe with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub id: ProbeId,
    pub task: Task,
}

struct Plan(Vec<Planned>);

impl Plan {
    /// The set is that of the table of probes.
    fn add(&mut self, name: &str, target: impl Into<String>, task: Task) {
        let set = sets::probe(name).map_or("Monitoring", |spec| spec.set);
        self.0.push(Planned { id: ProbeId::new(set, name, target), task });
    }
}

/// Every probe of this server now.
pub fn plan(ground: &Ground) -> Vec<Planned> {
    let mut plan = Plan(Vec::new());
    let (here, now) = (ground.here(), ground.snapshot());
    let roles = ground.services.roles;
    let doors = ground.wanted_doors();
    let homes: Vec<String> = ground.mailboxes().into_iter().map(|(home, _)| home).collect();
    readers(&mut plan, ground, &doors, &homes, &here);
    senders(&mut plan, ground, &doors, &homes, &here);
    if roles.transport {
        hub(&mut plan, ground, &doors);
    }
    for door in doors.iter().filter(|d| matches!(**d, "api" | "metrics")) {
        plan.add("AdministrationListenerProbe", *door, Task::Http(door));
    }
    plan.add("ActiveDatabaseAvailabilityProbe", "", Task::Store);
    plan.add("DatabaseIntegrityProbe", "", Task::Integrity);
    plan.add("StorageLogicalDriveSpaceProbe", "", Task::DiskSpace);
    plan.add("StorageWriteProbe", "", Task::DiskWrite);
    plan.add("ProcessMemoryProbe", "", Task::Memory);
    plan.add("ClockProbe", "", Task::Clock);
    plan.add("HealthMailboxProbe", "", Task::Mailboxes);
    plan.add("HealthManagerHeartbeatProbe", "", Task::Heartbeat);
    plan.add("InnerCertificateProbe", "", Task::InnerCertificate);
    around_us(&mut plan, ground);
    if now.servers().count() > 1 {
        for server in legs::servers(ground).into_iter().filter(|id| !legs::services(ground, id).is_empty()) {
            plan.add("InnerLegProbe", server.clone(), Task::Legs(server));
        }
    }
    plan.0
}

/// IMAP and POP3.
fn readers(plan: &mut Plan, ground: &Ground, doors: &[&'static str], homes: &[String], here: &String) {
    use waypost_trust::leg::Service;
    let roles = ground.services.roles;
    for (short, names, service) in
        [("Imap", ["imap", "imaps"], Service::Imap), ("Pop", ["pop3", "pop3s"], Service::Pop3)]
    {
        let open: Vec<&'static str> = doors.iter().copied().filter(|d| names.contains(d)).collect();
        for door in &open {
            plan.add(&format!("{short}ProxyTestProbe"), *door, Task::Door(door));
            further(plan, ground, &format!("{short}ProxyTestProbe"), door);
            if homes.contains(here) {
                plan.add(&format!("{short}DeepTestProbe"), *door, Task::Deep(door, here.clone()));
            } else if let Some(home) = homes.first() {
                plan.add(&format!("{short}CTPProbe"), *door, Task::Deep(door, home.clone()));
            }
        }
        let has_row = ground.snapshot().server(here).is_some_and(|s| s.roles.mailbox);
        if roles.mailbox && has_row && doors.contains(&"inner") {
            plan.add(&format!("{short}SelfTestProbe"), "inner", Task::Home(service));
        }
        // TLS from the first byte is what most people use.
        if let Some(door) = open.last() {
            for home in homes {
                plan.add(&format!("{short}CTPProbe"), home.clone(), Task::Touch(door, home.clone()));
            }
        }
        if let Some(door) = open.last() {
            plan.add("ServerCertificateProbe", *door, Task::Certificate(door));
        }
    }
}

/// A door's other addresses.
fn further(plan: &mut Plan, ground: &Ground, probe: &str, door: &'static str) {
    for listener in ground.further(door) {
        plan.add(probe, format!("{door} {listener}"), Task::Further(door, listener));
    }
}

fn senders(plan: &mut Plan, ground: &Ground, doors: &[&'static str], homes: &[String], here: &String) {
    let submits: Vec<&'static str> = doors.iter().copied().filter(|d| d.starts_with("submission")).collect();
    let home = if homes.contains(here) { Some(here) } else { homes.first() };
    for door in &submits {
        if let Some(home) = home {
            plan.add("OnPremisesSmtpClientSubmissionProbe", *door, Task::Deep(door, home.clone()));
        }
        further(plan, ground, "OnPremisesSmtpClientSubmissionProbe", door);
    }
    if let Some(door) = submits.last() {
        plan.add("ServerCertificateProbe", *door, Task::Certificate(door));
    }
    let reads = doors.iter().any(|d| d.starts_with("imap"));
    if !submits.is_empty() {
        for home in homes {
            if home != here {
                plan.add("SmtpCTPProbe", home.clone(), Task::Submission(home.clone()));
            }
            if reads {
                let name = if home == here { "MailflowLocalProbe" } else { "MailflowIntraOrgProbe" };
                plan.add(name, home.clone(), Task::Mail(home.clone()));
            }
        }
    }
    if doors.contains(&"smtp") {
        plan.add("OnPremisesInboundProxyProbe", "smtp", Task::Stranger("smtp"));
        further(plan, ground, "OnPremisesInboundProxyProbe", "smtp");
        if reads && !homes.is_empty() {
            plan.add("MailflowInboundProbe", "", Task::Inbound);
        }
    }
    if ground.services.roles.transport {
        plan.add("MailflowOutboundProbe", "", Task::Outbound);
        if homes.contains(here) {
            plan.add("MailboxDeliveryAvailabilityProbe", "", Task::Delivery);
            plan.add("Mapi.Submit.Probe", "", Task::MailboxSubmission);
        }
    }
}

fn hub(plan: &mut Plan, ground: &Ground, doors: &[&'static str]) {
    plan.add("HubAvailabilityProbe", "", Task::Hub);
    if doors.contains(&"lmtp") {
        plan.add("HubAvailabilityProbe", "lmtp", Task::Stranger("lmtp"));
    }
    plan.add("TransportBackpressureProbe", "", Task::BackPressure);
    plan.add("TransportPoisonMessageProbe", "", Task::Poison);
    plan.add("UnreachableQueueProbe", "", Task::Unreachable);
    plan.add("SubmissionQueueProbe", "", Task::Queues);
    plan.add("QueueMailboxRetryProbe", "", Task::Deliveries);
    plan.add("QueueInternalHubRetryProbe", "", Task::Internal);
    let settings = ground.services.settings.current();
    for (name, connector) in settings.send_connectors.iter().filter(|(_, c)| c.enabled) {
        for host in &connector.smart_hosts {
            let port = host.port.unwrap_or_else(|| u16::try_from(connector.port).unwrap_or(25));
            plan.add(
                "SmartHostProbe",
                format!("{name} {}:{port}", host.host),
                Task::SmartHost(host.host.clone(), port, connector.require_tls),
            );
        }
    }
    for (name, _) in settings.mail_filters.iter().filter(|(_, f)| f.enabled) {
        plan.add("MailFilterProbe", name.clone(), Task::Filter(name.clone()));
    }
}

fn around_us(plan: &mut Plan, ground: &Ground) {
    let settings = ground.services.settings.current();
    if settings.acme.enabled {
        plan.add("AcmeProbe", "", Task::Acme);
    }
    if trust::has_kerberos(ground) {
        plan.add("KerberosKeytabProbe", "", Task::Keytab);
        if ground.snapshot().server(&ground.here()).is_some_and(|s| !s.principals.is_empty()) {
            plan.add("KerberosTicketProbe", "", Task::Ticket);
        }
    }
    if around::has_dns(ground) {
        plan.add("DnsHostRecordProbe", "", Task::Dns);
    }
    if ground.services.organisation.directory.is_copy() {
        plan.add("DirectoryCopyProbe", "", Task::Copy);
    }
    for name in settings.directory_sources.keys() {
        plan.add("ActiveDirectoryConnectivityProbe", name.clone(), Task::Source(name.clone()));
    }
    if !settings.oauth.issuer.is_empty() {
        plan.add("ActiveDirectoryConnectivityProbe", "oauth", Task::Issuer);
    }
}

/// What the probes of this server share besides the ground.
#[derive(Debug, Default)]
pub struct Shared {
    pub clocks: Clocks,
    pub walk: tokio::sync::Mutex<integrity::Walk>,
    /// How late the probes are.
    pub lag: std::sync::atomic::AtomicU64,
}

/// Runs a probe once. Its time is bounded by `limit`, that of messages by twice as much for the way and the arrival.
pub async fn run(ground: &Ground, shared: &Shared, planned: &Planned, limit: Duration) -> ProbeResult {
    let (started, begun) = (ground.now(), Instant::now());
    let bound = limit * 8;
    let tried = match tokio::time::timeout(bound, perform(ground, shared, &planned.task, limit)).await {
        Ok(tried) => tried,
        Err(_) => stuck(ground, bound),
    };
    let mut result = ProbeResult::new(planned.id.clone(), &ground.here(), started);
    // What a person would wait for: the longest of its conversations, not all of them together.
    let longest = tried.legs.iter().map(|leg| leg.micros() / 1000).max();
    let millis = match planned.task {
        Task::Mail(_) | Task::Inbound | Task::Delivery | Task::MailboxSubmission => None,
        _ => longest,
    };
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    result.millis = u32::try_from(millis.unwrap_or(elapsed)).unwrap_or(u32::MAX);
    result.took = u32::try_from(elapsed).unwrap_or(u32::MAX);
    result.legs = tried.legs;
    result.finding = tried.fault;
    result.degraded = tried.degraded && result.finding.is_some();
    result.subject = tried.subject;
    result.culprit = tried.culprit.filter(|_| result.finding.is_some());
    result
}

fn stuck(ground: &Ground, bound: Duration) -> Tried {
    let text = format!("the probe was broken off after {:.0} s", bound.as_secs_f64());
    let fault = crate::probe::Fault::new(super::cause::PROBE_STUCK, text);
    let to = waypost_base::explain::Party::new("server", ground.here());
    let subject = vec![waypost_health::Subject::Server(ground.here())];
    Tried::of(subject).with(ground.looked("probe", to, Instant::now(), Err(fault)))
}

async fn perform(ground: &Ground, shared: &Shared, task: &Task, limit: Duration) -> Tried {
    match task {
        Task::Door(door) => client::self_test(ground, door, limit).await,
        Task::Further(door, listener) => client::further(ground, door, *listener, limit).await,
        Task::Deep(door, home) => match ground.mailbox_of(home) {
            Some(account) => client::deep_test(ground, door, (home, &account), limit).await,
            None => client::without_mailbox(ground, door),
        },
        Task::Touch(door, home) => match ground.mailbox_of(home) {
            Some(account) => client::ctp(ground, door, (home, &account), limit).await,
            None => client::without_mailbox(ground, door),
        },
        Task::Submission(home) => match ground.mailbox_of(home) {
            Some(account) => flow::submission(ground, (home, &account), limit).await,
            None => client::without_mailbox(ground, "submission"),
        },
        Task::Mail(home) => match ground.mailbox_of(home) {
            Some(account) => flow::mail(ground, (home, &account), limit).await,
            None => client::without_mailbox(ground, "submission"),
        },
        Task::Stranger(door) => client::stranger(ground, door, limit).await,
        Task::Http(door) => client::http(ground, door, limit).await,
        Task::Home(service) => legs::own(ground, *service, limit).await,
        Task::Inbound => flow::inbound(ground, limit).await,
        Task::Outbound => out::outbound(ground, limit).await,
        Task::Delivery | Task::MailboxSubmission => {
            let Some(account) = ground.mailbox_of(&ground.here()) else {
                return client::without_mailbox(ground, "mailbox");
            };
            match task {
                Task::Delivery => mailbox::delivery(ground, &account, limit).await,
                _ => mailbox::submission(ground, &account, limit).await,
            }
        }
        Task::SmartHost(host, port, tls) => flow::smart_host(ground, (host, *port, *tls), limit).await,
        Task::Filter(name) => flow::filter(ground, name, limit).await,
        Task::Hub => queue::hub(ground),
        Task::BackPressure => queue::back_pressure(ground),
        Task::Poison => queue::poison(ground).await,
        Task::Unreachable => queue::unreachable(ground),
        Task::Queues => queue::submission(ground),
        Task::Deliveries => queue::mailbox(ground),
        Task::Internal => queue::internal(ground),
        Task::Store => machine::store(ground, limit).await,
        Task::Integrity => integrity::store(ground, &shared.walk, limit).await,
        Task::DiskSpace => machine::disk_space(ground),
        Task::DiskWrite => machine::disk_write(ground).await,
        Task::Memory => machine::memory(ground),
        Task::Clock => machine::clock(ground, &shared.clocks),
        Task::Certificate(door) => trust::certificate(ground, door, limit).await,
        Task::Acme => trust::acme(ground),
        Task::InnerCertificate => trust::inner_certificate(ground),
        Task::Keytab => trust::keytab(ground),
        Task::Ticket => trust::ticket(ground, limit).await,
        Task::Dns => around::dns(ground, limit).await,
        Task::Copy => around::copy(ground),
        Task::Source(name) => around::source(ground, name, limit).await,
        Task::Issuer => around::issuer(ground, limit).await,
        Task::Mailboxes => around::mailboxes(ground),
        Task::Legs(server) => legs::within(ground, server, limit).await,
        Task::Heartbeat => machine::heartbeat(ground, shared.lag.load(std::sync::atomic::Ordering::Relaxed)),
    }
}
