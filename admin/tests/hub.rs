//! The commands of the transport role, run as somebody would type them: connectors, mail filters, queues, messages.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use waypost_admin::settings::SettingsStore;
use waypost_admin::{Catalogue, Category, Context, Event, Exit, Failure, Record, Source, World, run};
use waypost_base::id::Correlation;
use waypost_base::{Clock, Timestamp};
use waypost_directory::Directory;
use waypost_mailbox::{Limits, Mailboxes};
use waypost_queue::pressure::{Meter, Pressure, Resource};
use waypost_queue::{
    Accepted, Envelope, Hop, NewItem, NextHop, Queue, RetryPlan, Route, Router, Target, Work,
};
use waypost_smtp::{Mailbox, RcptParams, Status};
use waypost_store::Store;

const NOW: Timestamp = Timestamp(1_772_525_720_114);

struct Office {
    catalogue: Catalogue,
    context: Context,
    queue: Arc<Queue>,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.context.data);
    }
}

#[derive(Debug, Default)]
struct Answer {
    records: Vec<Record>,
    warnings: Vec<String>,
    what_if: Vec<String>,
    errors: Vec<Failure>,
    exit: Exit,
}

impl Answer {
    fn shown(&self, name: &str) -> String {
        self.records.first().unwrap_or_else(|| panic!("no record: {self:?}")).cell(name).unwrap().shown()
    }

    fn column(&self, name: &str) -> Vec<String> {
        self.records.iter().map(|r| r.cell(name).unwrap().shown()).collect()
    }
}

/// Everything by one smart host, but what is for nowhere.test.
struct Routes;

impl Router for Routes {
    fn next_hop(&self, route: &Route) -> NextHop {
        match route {
            Route::Domain(domain) if domain == "nowhere.test" => NextHop::Unreachable,
            Route::Domain(_) => NextHop::Connector { connector: "sink".into(), domain: None },
            Route::Server { host, port } => NextHop::Server { host: host.clone(), port: *port },
            Route::Mailbox => NextHop::Mailbox,
            Route::Home(server) => NextHop::Home(server.clone()),
            Route::Hub => NextHop::Hub,
        }
    }
}

/// A hub that only notes what it is asked.
struct Notes(Arc<Queue>);

impl run::Hub for Notes {
    fn give_up(&self, item: u64, _by: &str) -> run::Answer<'_, u64> {
        Box::pin(async move { Ok(self.0.remove(item).await?) })
    }

    fn pressure(&self) -> Vec<Meter> {
        let mut pressure = Pressure::default();
        pressure.update(&[(Resource::UsedDiskSpace, 95)]);
        pressure.meters().to_vec()
    }
}

async fn office(name: &str) -> Office {
    let data = std::env::temp_dir().join(format!("waypost-hub-office-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).unwrap();
    let clock = Clock::fixed(NOW);
    let store = Store::memory();
    let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
    let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
    let settings = Arc::new(SettingsStore::open(&data).unwrap());
    let queue = Queue::new(store.clone(), clock.clone(), RetryPlan::default(), Arc::new(Routes));
    queue.recover().await.unwrap();
    let mut world = World::new(store, directory, mailboxes, settings);
    world.queue = run::QueueAt::Live(queue.clone());
    world.hub = Some(Arc::new(Notes(queue.clone())));
    let context = Context {
        data,
        clock,
        caller: "root".into(),
        from: "console".into(),
        rights: Default::default(),
        running: true,
        world: Some(world),
    };
    Office { catalogue: Catalogue::new(), context, queue }
}

impl Office {
    fn settings(&self) -> Arc<waypost_admin::settings::Settings> {
        self.context.world.as_ref().unwrap().settings.current()
    }

    fn document(&self) -> String {
        std::fs::read_to_string(self.path("settings.toml")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.context.data.join(name)
    }

    async fn run(&self, words: &[&str]) -> Answer {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let parsed = self.catalogue.parse(&words, Source { folder: &self.context.data });
        let mut answer = Answer::default();
        let invocation = match parsed {
            Ok(parsed) => parsed.invocation,
            Err(failure) => return Answer { exit: failure.exit(), errors: vec![failure], ..answer },
        };
        let mut all = Vec::new();
        answer.exit = self.catalogue.run_here(&self.context, &invocation, |event| all.push(event)).await;
        for event in all {
            match event {
                Event::Record(record) => answer.records.push(record),
                Event::Warning(text) => answer.warnings.push(text),
                Event::WhatIf(text) => answer.what_if.push(text),
                Event::Error(failure) => answer.errors.push(failure),
                Event::Progress(_) => {}
            }
        }
        answer
    }

    async fn ok(&self, words: &[&str]) -> Answer {
        let answer = self.run(words).await;
        assert_eq!(answer.exit, Exit::OK, "{words:?}: {:?}", answer.errors);
        answer
    }

    async fn fails(&self, words: &[&str], category: Category) -> Failure {
        let mut answer = self.run(words).await;
        let failure = answer.errors.pop().unwrap_or_else(|| panic!("{words:?} went well"));
        assert_eq!(failure.category, category, "{words:?}: {failure}");
        failure
    }

    /// A message to one recipient elsewhere.
    async fn message(&self, from: &str, to: &str, subject: &str) -> u64 {
        let id = self.queue.next_id();
        let to: Mailbox = Mailbox::parse(to).unwrap();
        let mut envelope = Envelope::new(Some(Mailbox::parse(from).unwrap()), NOW, Correlation(id));
        envelope.subject = subject.to_owned();
        envelope.message_id = format!("{id}@contoso.test");
        let blobs = self.queue.store().blobs();
        let text = format!("Subject: {subject}\r\n\r\nHello.\r\n");
        let mut writer = blobs.writer();
        writer.write(text.as_bytes()).await.unwrap();
        let blob = writer.finish().await.unwrap();
        let domain = to.to_string().rsplit_once('@').unwrap().1.to_owned();
        let target = Target { to: to.clone(), of: 0, local: None };
        let item = NewItem {
            id,
            envelope,
            blob,
            recipients: vec![Accepted { to, params: RcptParams::default() }],
            hops: vec![Hop { number: 0, route: Route::Domain(domain), targets: vec![target] }],
        };
        self.queue.submit(item, false).await.unwrap();
        id
    }
}

#[tokio::test]
async fn send_connectors() {
    let o = office("send").await;
    let made = o
        .ok(&[
            "New-SendConnector",
            "-Name",
            "sink",
            "-AddressSpaces",
            "*",
            "-SmartHosts",
            "127.0.0.1",
            "-Port",
            "2525",
        ])
        .await;
    assert_eq!(made.shown("AddressSpaces"), "{SMTP:*;1}");
    assert_eq!(made.shown("SmartHosts"), "{[127.0.0.1]}");
    assert_eq!(made.shown("DNSRoutingEnabled"), "False");
    assert_eq!(made.shown("Identity"), "sink");
    assert_eq!(
        o.document(),
        "[send_connectors.sink]\naddress_spaces = [\"SMTP:*;1\"]\nport = 2525\nsmart_hosts = [\"[127.0.0.1]\"]\n"
    );
    o.ok(&["set-send-connector", "SINK", "--add-address-spaces", "*.example.net;5", "--port", "2526"]).await;
    o.ok(&["Set-SendConnector", "sink", "-AddressSpaces", "@{Remove=\"*\"}", "-Fqdn", "out.contoso.test"])
        .await;
    let now = o.ok(&["Get-SendConnector", "s*"]).await;
    assert_eq!(now.shown("AddressSpaces"), "{SMTP:*.example.net;5}");
    assert_eq!((now.shown("Port"), now.shown("Fqdn")), ("2526".into(), "out.contoso.test".into()));
    assert_eq!(now.shown("MaxMessageSize"), "Unlimited");
    assert_eq!(now.shown("ConnectionInactivityTimeOut"), "00:10:00");
    let what_if = o.ok(&["New-SendConnector", "x", "-WhatIf", "-AddressSpaces", "*"]).await;
    assert!(what_if.what_if[0].contains("send_connectors.x.address_spaces"), "{what_if:?}");
    o.fails(&["New-SendConnector", "Sink", "-AddressSpaces", "*"], Category::ResourceExists).await;
    o.fails(&["New-SendConnector", "a/b", "-AddressSpaces", "*"], Category::InvalidArgument).await;
    o.fails(&["New-SendConnector", "x", "-AddressSpaces", "X400:*"], Category::InvalidArgument).await;
    o.fails(&["New-SendConnector", "x", "-AddressSpaces", "$null"], Category::InvalidArgument).await;
    let both = ["Set-SendConnector", "sink", "-IgnoreSTARTTLS", "true", "-RequireTLS", "true"];
    assert!(o.fails(&both, Category::InvalidArgument).await.message.contains("only one of the two"));
    o.fails(&["Set-SendConnector", "sink", "-Port", "0"], Category::InvalidArgument).await;
    o.fails(&["Get-SendConnector", "other"], Category::ObjectNotFound).await;
    o.ok(&["Set-SendConnector", "sink", "-DNSRoutingEnabled", "true"]).await;
    assert_eq!(o.ok(&["Get-SendConnector", "sink"]).await.shown("DNSRoutingEnabled"), "True");
    o.ok(&["Undo-WaypostSetting", "--yes"]).await;
    let history = o.ok(&["Get-WaypostSettingHistory"]).await;
    assert_eq!(history.column("Version"), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(history.column("Command")[5], "Undo-WaypostSetting");
    assert_eq!(o.ok(&["Get-SendConnector", "sink"]).await.shown("DNSRoutingEnabled"), "False");
    o.ok(&["Undo-WaypostSetting", "4", "--yes"]).await;
    assert_eq!(o.ok(&["Get-SendConnector", "sink"]).await.shown("DNSRoutingEnabled"), "True");
    o.fails(&["Undo-WaypostSetting", "99", "--yes"], Category::ObjectNotFound).await;
    o.fails(&["Remove-SendConnector", "sink"], Category::SyntaxError).await;
    o.ok(&["Remove-SendConnector", "sink", "-Confirm:$false"]).await;
    assert!(o.ok(&["Get-SendConnector"]).await.records.is_empty());
    assert!(o.settings().send_connectors.is_empty());
    // Every change is kept, and what stood there before the first.
    assert!(std::fs::read_dir(o.path("settings.d")).unwrap().count() >= 5);
}

#[tokio::test]
async fn passwords_of_smart_hosts_stay_out_of_the_settings() {
    let o = office("password").await;
    let new = [
        "New-SendConnector",
        "relay",
        "-AddressSpaces",
        "*",
        "-SmartHosts",
        "relay.example.net:587",
        "-SmartHostAuthMechanism",
        "BasicAuthRequireTLS",
        "-AuthenticationCredential",
        "us",
    ];
    o.fails(&new, Category::SyntaxError).await;
    let with = [&new[..], &["-Password", "hush hush"]].concat();
    let made = o.ok(&with).await;
    assert_eq!(made.shown("AuthenticationCredential"), "us");
    assert!(made.records[0].cell("Password").is_none());
    let kept =
        |name: &str| waypost_admin::settings::secret::connector_password(&o.context.data, name).unwrap();
    assert_eq!(kept("relay").as_deref(), Some("hush hush"));
    let mut everything = o.document();
    for entry in std::fs::read_dir(o.path("settings.d")).unwrap() {
        everything += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    assert!(!everything.contains("hush"), "{everything}");
    let mut watcher = o.context.world.as_ref().unwrap().settings.subscribe();
    watcher.borrow_and_update();
    o.ok(&["Set-SendConnector", "relay", "-Password", "new", "-WhatIf"]).await;
    assert_eq!(kept("relay").as_deref(), Some("hush hush"));
    o.ok(&["Set-SendConnector", "relay", "-Password", "new"]).await;
    assert_eq!(kept("relay").as_deref(), Some("new"));
    assert!(watcher.has_changed().unwrap(), "the running hub has to hear of it");
    o.ok(&["Remove-SendConnector", "relay", "--yes"]).await;
    assert_eq!(kept("relay"), None);
}

#[tokio::test]
async fn receive_connectors() {
    let o = office("receive").await;
    let standing = o.ok(&["Get-ReceiveConnector"]).await;
    assert_eq!(standing.column("Name"), ["Client Frontend", "Client Frontend TLS", "Default Frontend"]);
    assert_eq!(standing.column("Listener"), ["Submission", "Submissions", "Smtp"]);
    let printers = [
        "New-ReceiveConnector",
        "Printers",
        "-Bindings",
        "0.0.0.0:25",
        "-RemoteIPRanges",
        "192.0.2.0/28,2001:db8::/64",
        "-PermissionGroups",
        "AnonymousUsers",
        "-AllowAnonymousRelay",
        "true",
    ];
    let made = o.ok(&printers).await;
    assert_eq!(made.shown("Identity"), "server-1\\Printers");
    assert_eq!(
        made.shown("RemoteIPRanges"),
        "{192.0.2.0-192.0.2.15, 2001:db8::-2001:db8::ffff:ffff:ffff:ffff}"
    );
    assert_eq!(made.shown("Bindings"), "{0.0.0.0:25, [::]:25}");
    o.ok(&[
        "Set-ReceiveConnector",
        "server-1\\printers",
        "-MaxMessageSize",
        "20MB",
        "-TarpitInterval",
        "00:00:00",
    ])
    .await;
    assert_eq!(o.settings().receive_connectors["Printers"].tarpit_interval.0, 0);
    let gateway = o
        .ok(&["New-ReceiveConnector", "Gateway", "-Usage", "Internal", "-RemoteIPRanges", "192.0.2.25"])
        .await;
    assert_eq!(gateway.shown("PermissionGroups"), "{ExchangeServers}");
    let world =
        ["New-ReceiveConnector", "World", "-RemoteIPRanges", "0.0.0.0/0", "-AllowAnonymousRelay", "true"];
    assert!(o.fails(&world, Category::InvalidArgument).await.message.contains("whole world"));
    o.fails(&["New-ReceiveConnector", "x", "-Bindings", "0.0.0.0:2500"], Category::InvalidArgument).await;
    o.fails(&["New-ReceiveConnector", "x"], Category::SyntaxError).await;
    let twin = o
        .fails(&["New-ReceiveConnector", "x", "-RemoteIPRanges", "0.0.0.0/0"], Category::InvalidArgument)
        .await;
    assert!(twin.message.contains("conflict with those of \"Default Frontend\""), "{twin}");
    o.fails(&["New-ReceiveConnector", "default frontend", "-Client"], Category::ResourceExists).await;
    o.ok(&["Set-ReceiveConnector", "Client Frontend", "-RequireTLS", "true"]).await;
    let client = &o.settings().receive_connectors["Client Frontend"];
    assert_eq!(client.listener.name(), "Submission");
    assert!(o.document().contains("[receive_connectors.\"Client Frontend\"]\nrequire_tls = true\n"));
    o.fails(&["Remove-ReceiveConnector", "Default Frontend", "--yes"], Category::InvalidOperation).await;
    o.ok(&["Remove-ReceiveConnector", "Client Frontend", "--yes"]).await;
    assert_eq!(o.ok(&["Get-ReceiveConnector", "Client Frontend"]).await.shown("RequireTLS"), "False");
}

#[tokio::test]
async fn mail_filters() {
    let o = office("filters").await;
    o.ok(&["New-MailFilter", "rspamd", "inet:127.0.0.1@11332"]).await;
    let clamav =
        ["New-MailFilter", "clamav", "unix:/run/clamav.sock", "-Order", "10", "-FailureAction", "Accept"];
    o.ok(&clamav).await;
    let all = o.ok(&["Get-MailFilter"]).await;
    assert_eq!(all.column("Name"), ["clamav", "rspamd"]);
    assert_eq!(all.column("FailureAction"), ["Accept", "TempFail"]);
    o.ok(&["Set-MailFilter", "rspamd", "-Timeout", "10s", "-Scope", "Inbound", "-Enabled", "false"]).await;
    assert_eq!(o.ok(&["Get-MailFilter", "rspamd"]).await.shown("Timeout"), "00:00:10");
    o.fails(&["New-MailFilter", "x", "tcp:1"], Category::InvalidArgument).await;
    o.ok(&["Remove-MailFilter", "clamav", "--yes"]).await;
    assert_eq!(o.ok(&["Get-MailFilter"]).await.column("Name"), ["rspamd"]);
}

#[tokio::test]
async fn transport_settings() {
    let o = office("transport").await;
    o.ok(&["Set-TransportConfig", "-MaxSendSize", "25MB", "-ExternalPostmasterAddress", "pm@contoso.test"])
        .await;
    let config = o.ok(&["Get-TransportConfig"]).await;
    assert_eq!(config.shown("MaxSendSize"), "25 MB (26,214,400 bytes)");
    assert_eq!(config.shown("MaxReceiveSize"), "Unlimited");
    o.ok(&["Set-TransportService", "server-1", "-MessageExpirationTimeout", "5.00:00:00"]).await;
    o.ok(&["Set-TransportServer", "-ExternalDNSServers", "192.0.2.53,192.0.2.54"]).await;
    let service = o.ok(&["Get-TransportService"]).await;
    assert_eq!(service.shown("MessageExpirationTimeout"), "5.00:00:00");
    assert_eq!(service.shown("ExternalDNSServers"), "{192.0.2.53, 192.0.2.54}");
    o.fails(&["Get-TransportService", "elsewhere"], Category::ObjectNotFound).await;
    o.fails(&["Set-TransportService", "-MaxOutboundConnections", "0"], Category::InvalidArgument).await;
    let traced = [
        "Set-TransportService",
        "-PipelineTracingEnabled",
        "true",
        "-PipelineTracingSenderAddress",
        "adele@contoso.test",
    ];
    assert!(o.ok(&traced).await.warnings[0].contains("-PipelineTracingUntil"));
    let draining = [
        "Set-ServerComponentState",
        "-Component",
        "HubTransport",
        "-State",
        "draining",
        "-Requester",
        "Maintenance",
    ];
    o.ok(&draining).await;
    assert_eq!(o.ok(&["Get-ServerComponentState"]).await.shown("State"), "Draining");
    assert!(o.document().contains("hub_transport_state = \"Draining\""));
    let pressure = o.ok(&["Get-TransportPressure"]).await;
    assert_eq!(pressure.shown("Resource"), "UsedDiskSpace[store]");
    assert_eq!(
        (pressure.shown("Pressure"), pressure.shown("CurrentResourceUse")),
        ("Medium".into(), "95".into())
    );
}

#[tokio::test]
async fn queues() {
    let o = office("queues").await;
    o.ok(&["New-SendConnector", "sink", "-AddressSpaces", "*", "-SmartHosts", "127.0.0.1"]).await;
    o.message("adele@contoso.test", "bob@example.net", "one").await;
    o.message("adele@contoso.test", "eve@example.org", "two").await;
    o.message("lee@contoso.test", "bob@nowhere.test", "three").await;
    // The sink is down.
    let Work::Connect(ticket) = o.queue.work().await else { panic!("nothing to do") };
    ticket.failed(waypost_queue::Reason::temporary(Status(4, 4, 1), "connection refused"));
    drop(ticket);
    let sink = o.ok(&["Get-Queue", "sink"]).await;
    assert_eq!(sink.shown("Identity"), "server-1\\sink");
    assert_eq!(sink.shown("Status"), "Retry");
    assert_eq!(sink.shown("DeliveryType"), "SmartHostConnectorDelivery");
    assert_eq!(sink.shown("NextHopDomain"), "[127.0.0.1]");
    assert_eq!(sink.shown("MessageCount"), "2");
    assert_eq!(sink.shown("LastError"), "4.4.1 connection refused");
    assert!(!sink.shown("NextRetryTime").is_empty());
    let retrying = o.ok(&["Get-Queue", "-Filter", "{Status -eq \"Retry\" -and MessageCount -gt 1}"]).await;
    assert_eq!(retrying.column("Identity"), ["server-1\\sink"]);
    assert_eq!(o.ok(&["Get-Queue", "Unreachable"]).await.shown("MessageCount"), "1");
    let sorted = o.ok(&["Get-Queue", "-Exclude", "Empty", "-SortOrder", "-MessageCount"]).await;
    assert_eq!(sorted.column("MessageCount"), ["2", "1"]);
    assert!(
        o.fails(&["Get-Queue", "-Filter", "{Colour -eq 1}"], Category::InvalidArgument)
            .await
            .message
            .contains("Colour")
    );
    o.fails(&["Get-Queue", "nothing"], Category::ObjectNotFound).await;
    o.fails(&["Get-Queue", "elsewhere\\sink"], Category::ObjectNotFound).await;
    let digest = o.ok(&["Get-QueueDigest", "-GroupBy", "DeliveryType"]).await;
    assert_eq!(digest.column("GroupByValue"), ["SmartHostConnectorDelivery", "Unreachable"]);
    assert_eq!(digest.column("MessageCount"), ["2", "1"]);
    assert_eq!(digest.shown("Details"), "{server-1\\sink}");
    o.fails(&["Suspend-Queue", "--yes"], Category::SyntaxError).await;
    let what_if = o.ok(&["Suspend-Queue", "sink", "-WhatIf"]).await.what_if;
    assert_eq!(what_if, ["What if: Performing the operation \"Suspend-Queue\": Suspending queue \"sink\"."]);
    o.ok(&["Suspend-Queue", "server-1\\sink", "--yes"]).await;
    assert_eq!(o.ok(&["Get-Queue", "sink"]).await.shown("Status"), "Suspended");
    assert_eq!(o.run(&["Retry-Queue", "sink"]).await.errors[0].category, Category::InvalidOperation);
    o.ok(&["Resume-Queue", "-Filter", "Status -eq 'Suspended'"]).await;
    o.ok(&["Retry-Queue", "sink"]).await;
    assert_ne!(o.ok(&["Get-Queue", "sink"]).await.shown("Status"), "Retry");
}

#[tokio::test]
async fn messages() {
    let o = office("messages").await;
    let first = o.message("adele@contoso.test", "bob@example.net", "Invoice 7").await;
    let second = o.message("lee@contoso.test", "eve@example.org", "Lunch").await;
    let third = o.message("lee@contoso.test", "bob@nowhere.test", "Lost").await;
    let all = o.ok(&["Get-Message"]).await;
    assert_eq!(
        all.column("Identity"),
        [
            format!("server-1\\sink\\{first}"),
            format!("server-1\\sink\\{second}"),
            format!("server-1\\Unreachable\\{third}")
        ]
    );
    assert_eq!(all.shown("Recipients"), "{}");
    let adele = o
        .ok(&["Get-Message", "-Filter", "{FromAddress -eq 'adele@contoso.test'}", "-IncludeRecipientInfo"])
        .await;
    assert_eq!(adele.column("Subject"), ["Invoice 7"]);
    assert_eq!(adele.shown("Recipients"), "{bob@example.net;Ready}");
    assert_eq!(o.ok(&["Get-Message", "-Queue", "unreachable"]).await.column("Subject"), ["Lost"]);
    let few = o.ok(&["Get-Message", "-ResultSize", "1"]).await;
    assert_eq!((few.records.len(), few.warnings.len()), (1, 1));
    let sorted = o.ok(&["Get-Message", "-SortOrder", "-Subject"]).await;
    assert_eq!(sorted.column("Subject"), ["Lunch", "Lost", "Invoice 7"]);
    o.fails(&["Get-Message", "999"], Category::ObjectNotFound).await;
    o.fails(&["Suspend-Message", "--yes"], Category::SyntaxError).await;

    let number = first.to_string();
    o.ok(&["Suspend-Message", &format!("server-1\\sink\\{first}"), "--yes"]).await;
    assert_eq!(o.ok(&["Get-Message", &number]).await.shown("Status"), "Suspended");
    o.ok(&["Resume-Message", "-Filter", "{Status -eq 'Suspended'}"]).await;
    assert_eq!(o.ok(&["Get-Message", &number]).await.shown("Status"), "Ready");
    o.ok(&["Set-Message", &number, "-Priority", "High"]).await;
    assert_eq!(o.ok(&["Get-Message", &number]).await.shown("Priority"), "High");

    let text = o.ok(&["Export-Message", &number]).await.shown("Text");
    assert_eq!(text, "Subject: Invoice 7\r\n\r\nHello.\r\n");
    o.ok(&["Export-Message", &number, "-Path", "7.eml"]).await;
    assert_eq!(std::fs::read_to_string(o.path("7.eml")).unwrap(), text);
    o.fails(&["Export-Message", &number, "-Path", "7.eml"], Category::WriteError).await;

    o.ok(&["Redirect-Message", &number, "-Target", "hub2.example.net:2525", "--yes"]).await;
    assert_eq!(o.ok(&["Get-Message", &number]).await.shown("Queue"), "server-1\\hub2.example.net:2525");
    let what_if = o.ok(&["Remove-Message", &number, "-WhatIf"]).await.what_if;
    assert!(what_if[0].ends_with(&format!("Removing message {first}.")), "{what_if:?}");
    o.ok(&["Remove-Message", &number, "-WithNDR", "false", "--yes"]).await;
    o.ok(&["Remove-Message", "-Queue", "Unreachable", "--yes"]).await;
    assert_eq!(o.ok(&["Get-Message"]).await.column("Subject"), ["Lunch"]);
}

/// On a stopped server the rows are read as they are.
#[tokio::test]
async fn messages_of_a_stopped_server() {
    let mut o = office("stopped").await;
    let id = o.message("adele@contoso.test", "bob@example.net", "one").await;
    let world = o.context.world.as_mut().unwrap();
    world.queue = run::QueueAt::Rows(Arc::new(Routes));
    world.hub = None;
    assert_eq!(o.ok(&["Get-Queue", "sink"]).await.shown("MessageCount"), "1");
    let number = id.to_string();
    o.ok(&["Suspend-Message", &number, "--yes"]).await;
    assert_eq!(o.ok(&["Get-Message", &number]).await.shown("Status"), "Suspended");
    o.fails(&["Remove-Message", &number, "--yes"], Category::ResourceUnavailable).await;
    o.ok(&["Remove-Message", &number, "-WithNDR", "false", "--yes"]).await;
    assert!(o.ok(&["Get-Message"]).await.records.is_empty());
}
