//! What the logs say of messages, asked as an administrator would, with the files of a data folder.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use waypost_admin::settings::SettingsStore;
use waypost_admin::{Catalogue, Context, Event, Exit, Failure, Record, Source, World, output::Cell};
use waypost_base::explain::{Leg, Outcome, Party};
use waypost_base::{Clock, Timestamp};
use waypost_directory::Directory;
use waypost_mailbox::{Limits, Mailboxes};
use waypost_store::Store;
use waypost_tracking::{Event as Told, EventId, Message, Recipient, Source as From, layout, legs};

const NOW: Timestamp = Timestamp(1_772_525_720_114);

struct Office {
    catalogue: Catalogue,
    context: Context,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.context.data);
    }
}

/// An organisation whose logs know of a message from Amy to Bob and Zoe, and of one that somebody else got.
async fn office(name: &str) -> Office {
    let data = std::env::temp_dir().join(format!("waypost-tracked-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&data);
    write_logs(&data);
    let clock = Clock::fixed(NOW);
    let store = Store::memory();
    let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
    let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
    let settings = Arc::new(SettingsStore::open(&data).unwrap());
    let world = World::new(store, directory, mailboxes, settings);
    let context = Context {
        data,
        clock,
        caller: "root".into(),
        from: "console".into(),
        rights: Default::default(),
        running: true,
        world: Some(world),
    };
    let office = Office { catalogue: Catalogue::new(), context };
    office.run("New-AcceptedDomain contoso.test").await.unwrap();
    for name in ["amy", "bob", "eve"] {
        office.run(&format!("New-Mailbox {name} -PrimarySmtpAddress {name}@contoso.test")).await.unwrap();
    }
    office
}

fn write_logs(data: &Path) {
    let tracking = data.join("logs/message-tracking");
    let leg_folder = data.join("logs/legs");
    fs::create_dir_all(&tracking).unwrap();
    fs::create_dir_all(&leg_folder).unwrap();
    let amy = Message {
        item: 7,
        message_id: "q3@contoso.test",
        subject: "Figures",
        sender: "amy@contoso.test",
        return_path: "amy@contoso.test",
        size: 2113,
        originating: true,
        client_ip: "192.0.2.20".parse().ok(),
    };
    let other = Message { item: 8, message_id: "other@x.test", sender: "joe@x.test", ..Message::default() };
    let (bob, zoe) = (Recipient::new("bob@contoso.test", ""), Recipient::new("zoe@example.net", ""));
    let both = [bob, zoe];
    let refused = [Recipient::new("zoe@example.net", "550 5.1.1 no such user")];
    let at = |seconds: i64| NOW.plus_millis(seconds * 1000 - 60_000);
    let server = ("192.0.2.7".parse().ok(), "mx.example.net");
    let events = [
        Told::receive(at(0), &amy, "000000000000001A", &both).connector("submission"),
        Told::deliver(at(1), &amy, &both[..1]),
        Told::receive(at(2), &other, "", &both[..1]),
        Told::fail(at(3), &amy, From::Smtp, &refused).server(server.0, server.1),
        Told::of(at(4), &other, From::StoreDriver, EventId::Deliver).to(&both[..1]),
    ];
    let mut out = format!("#Fields: {}\r\n", layout::FIELDS).into_bytes();
    let mut lines = layout::Lines::new(true, 0);
    events.iter().for_each(|event| lines.append(event, &mut out));
    fs::write(tracking.join("MSGTRK2026030308-1.LOG"), out).unwrap();
    let mut leg = Leg::start("smtp.send", Party::new("hub", "mail"), Party::new("server", "mx"), at(2));
    leg.step("rcpt", 1000, Some("550 5.1.1 no such user".into()));
    leg.outcome = Outcome::Ok;
    let mut out = Vec::new();
    legs::append(at(3), "q3@contoso.test", Some(7), &leg, &mut out);
    fs::write(leg_folder.join("LEGS2026030308-1.LOG"), out).unwrap();
}

impl Office {
    async fn run(&self, line: &str) -> Result<Vec<Record>, (Exit, Failure)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let parsed = self.catalogue.parse(&words, Source { folder: &self.context.data }).unwrap();
        let (mut records, mut failed) = (Vec::new(), None);
        let exit = self
            .catalogue
            .run_here(&self.context, &parsed.invocation, |event| match event {
                Event::Record(record) => records.push(record),
                Event::Error(failure) => failed = Some(failure),
                _ => {}
            })
            .await;
        match failed {
            Some(failure) => Err((exit, failure)),
            None => Ok(records),
        }
    }

    async fn column(&self, line: &str, name: &str) -> Vec<String> {
        self.run(line).await.unwrap().iter().map(|r| r.cell(name).unwrap().shown()).collect()
    }
}

#[tokio::test]
async fn tracking_log() {
    let o = office("log").await;
    let all = o.column("Get-MessageTrackingLog", "EventId").await;
    assert_eq!(all, ["RECEIVE", "DELIVER", "RECEIVE", "FAIL", "DELIVER"]);
    let line = "Get-MessageTrackingLog -MessageId <q3@contoso.test> -EventId fail -Sender AMY@contoso.test -Start 2m";
    let failed = o.run(line).await.unwrap();
    assert_eq!(failed.len(), 1);
    let shown = |name: &str| failed[0].cell(name).unwrap().shown();
    assert_eq!(shown("Recipients"), "{zoe@example.net}");
    assert_eq!(shown("RecipientStatus"), "{550 5.1.1 no such user}");
    assert_eq!(shown("ServerIp"), "192.0.2.7");
    assert_eq!(shown("Timestamp"), "2026-03-03T08:14:23.114Z");
    assert_eq!(shown("InternalMessageId"), "7");
    assert_eq!(o.column("Get-MessageTrackingLog -ResultSize 1", "EventId").await, ["DELIVER"]);
    assert!(o.column("Get-MessageTrackingLog -End 2026-03-02", "EventId").await.is_empty());
    let (exit, failure) = o.run("Get-MessageTrackingLog -EventId SENT").await.unwrap_err();
    assert_eq!(exit, Exit::FAILED);
    assert!(failure.message.contains("SEND"), "{failure}");
    o.run("Get-MessageTrackingLog -Start yesterday").await.unwrap_err();
}

#[tokio::test]
async fn traces() {
    let o = office("trace").await;
    let states = o.column("Get-MessageTrace -SenderAddress amy@contoso.test", "Status").await;
    assert_eq!(states, ["Delivered", "Failed"]);
    let line = "Get-MessageTrace -RecipientAddress bob@contoso.test -Status Delivered";
    assert_eq!(o.column(line, "InternalMessageId").await, ["8", "7"]);
    let events = o.column("Get-MessageTraceDetail q3@contoso.test", "Event").await;
    assert_eq!(events, ["RECEIVE", "DELIVER", "Leg", "FAIL"]);
    let line = "Get-MessageTraceDetail q3@contoso.test -RecipientAddress zoe@example.net";
    assert_eq!(o.column(line, "Event").await, ["RECEIVE", "Leg", "FAIL"]);
    assert_eq!(o.run("Get-MessageTraceDetail nothing@x").await.unwrap_err().0, Exit::NOT_FOUND);
}

#[tokio::test]
async fn stories() {
    let o = office("why").await;
    let story = o.run("why <q3@contoso.test>").await.unwrap();
    let text = story[0].cell("Text").unwrap().shown();
    assert!(
        text.contains("bob@contoso.test: delivered to the mailbox at 2026-03-03 08:14:21 UTC."),
        "{text}"
    );
    assert!(text.contains("refused for good by mx.example.net [192.0.2.7]"), "{text}");
    assert!(text.contains("Legs\n"), "{text}");
    let Some(Cell::Tree(passages)) = story[0].cell("Passages") else { panic!("no structure") };
    assert_eq!(passages[0]["recipients"][1]["state"], "failed");
    let bob = o.column("why q3@contoso.test -As bob", "Text").await.concat();
    assert!(bob.contains("bob@contoso.test: delivered") && !bob.contains("zoe@"), "{bob}");
    let (exit, failure) = o.run("why q3@contoso.test -As eve").await.unwrap_err();
    assert_eq!(exit, Exit::NOT_FOUND);
    assert!(failure.message.contains("reaches back to 2026-03-03T08:00:00.000Z"), "{failure}");
    assert_eq!(o.run("Get-MessageStory nothing@x").await.unwrap_err().0, Exit::NOT_FOUND);
}
