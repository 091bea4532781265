//! Who is told what, over an organisation in memory.

use super::{conclude, delayed, expanded};
use crate::world::{NOW, World};
use waypost_base::id::Correlation;
use waypost_queue::{
    Accepted, Envelope, Fate, Hop, Kind, Loaded, Local, NewItem, Params, Place, Reason, Route, Target,
};
use waypost_smtp::{Mailbox, Notify, OriginalRecipient, RcptParams, Return, Status};

const MESSAGE: &[u8] =
    b"From: ann@contoso.test\r\nTo: bob@example.net\r\nSubject: Lunch\r\nMessage-ID: <m1@contoso.test>\r\n\
    References: <root@contoso.test>\r\n\r\nAt noon?\r\n";

const NEVER: Option<Notify> = Some(Notify { success: false, failure: false, delay: false });
const SUCCESS: Option<Notify> = Some(Notify { success: true, failure: false, delay: false });

/// A message of `from` to these, each with its NOTIFY.
async fn loaded(world: &World, from: &str, to: &[(&str, Option<Notify>)]) -> Loaded {
    let mut writer = world.hub.mailboxes.store().blobs().writer();
    writer.write(MESSAGE).await.unwrap();
    let mut envelope = Envelope::new(Mailbox::parse(from), NOW, Correlation(7));
    envelope.subject = "Lunch".into();
    envelope.message_id = "m1@contoso.test".into();
    let mailbox = |to: &str| Mailbox::parse(to).unwrap();
    let recipients = to
        .iter()
        .map(|(to, notify)| Accepted {
            to: mailbox(to),
            params: RcptParams {
                notify: *notify,
                orcpt: Some(OriginalRecipient { kind: "rfc822".into(), address: format!("x-{to}") }),
                inner: None,
            },
        })
        .collect();
    let target =
        |(of, (to, _)): (u32, &(&str, Option<Notify>))| (of, Target { to: mailbox(to), of, local: None });
    Loaded {
        envelope,
        blob: writer.finish().await.unwrap(),
        recipients,
        targets: (0u32..).zip(to).map(target).collect(),
        attempts: 3,
        last_error: None,
    }
}

fn unknown() -> Fate {
    Fate::Failed(Reason {
        code: Some(550),
        server: Some("mail.example.net (192.0.2.7)".into()),
        ..Reason::permanent(Status(5, 1, 1), "5.1.1 no such user")
    })
}

async fn text(world: &World, item: &NewItem) -> String {
    let bytes = world.hub.mailboxes.store().blobs().read(&item.blob, 0..item.blob.size).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_report_tells_of_all_recipients() {
    let world = World::new().await;
    let to = [
        ("bob@example.net", None),
        ("eve@example.net", NEVER),
        ("kim@example.net", SUCCESS),
        ("lee@example.net", None),
    ];
    let loaded = loaded(&world, "ann@contoso.test", &to).await;
    let relayed = |dsn| Fate::Relayed { server: "mail.example.net".into(), text: "250 ok".into(), dsn };
    let fates = [(0, unknown()), (1, unknown()), (2, relayed(false)), (3, relayed(false))];
    let reports = conclude(&world.hub, &loaded, &fates).await;
    let [report] = &reports[..] else { panic!("one report: {reports:?}") };
    assert_eq!((report.envelope.from.as_ref(), report.envelope.kind), (None, Kind::Report));
    assert_eq!(report.recipients[0].params.notify, NEVER);
    let local = Some(Local { account: world.account("ann"), place: Place::Inbox });
    let to = Mailbox::new("ann", "contoso.test");
    let hop = Hop { number: 0, route: Route::Mailbox, targets: vec![Target { to, of: 0, local }] };
    assert_eq!(report.hops, [hop]);
    let text = text(&world, report).await;
    for wanted in [
        "Subject: Undeliverable: Lunch\r\n",
        "In-Reply-To: <m1@contoso.test>\r\nReferences: <root@contoso.test> <m1@contoso.test>\r\n",
        "Original-Recipient: rfc822; x-bob@example.net\r\nFinal-Recipient: rfc822; bob@example.net\r\nAction: failed\r\n\
         Status: 5.1.1\r\nRemote-MTA: dns; mail.example.net\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Final-Recipient: rfc822; kim@example.net\r\nAction: relayed\r\n",
        "Content-Type: text/rfc822-headers",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    assert!(!text.contains("eve@") && !text.contains("lee@") && !text.contains("At noon?"), "{text}");

    // The peer tells of success itself.
    assert!(conclude(&world.hub, &loaded, &[(2, relayed(true))]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_what_has_no_sender_or_is_a_report() {
    let world = World::new().await;
    let mut null = loaded(&world, "ann@contoso.test", &[("bob@example.net", None)]).await;
    null.envelope.kind = Kind::Report;
    assert!(conclude(&world.hub, &null, &[(0, unknown())]).await.is_empty());
    null.envelope.kind = Kind::Mail;
    null.envelope.from = None;
    let reason = Reason::temporary(Status(4, 4, 1), "connection refused");
    assert!(conclude(&world.hub, &null, &[(0, unknown())]).await.is_empty());
    assert!(delayed(&world.hub, &null, &reason, None).await.is_none());
    for fate in [Fate::Dropped, Fate::Recalled, Fate::Delivered { by: "x".into() }] {
        let quiet = loaded(&world, "ann@contoso.test", &[("bob@example.net", None)]).await;
        assert!(conclude(&world.hub, &quiet, &[(0, fate)]).await.is_empty());
    }
    // Nor those who cannot be reached.
    let gone = loaded(&world, "nobody@contoso.test", &[("bob@example.net", None)]).await;
    assert!(conclude(&world.hub, &gone, &[(0, unknown())]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_goes_to_the_postmaster_once() {
    let world = World::with(|settings| settings.postmaster = Some("ben@contoso.test".into())).await;
    let mut report = loaded(&world, "ann@contoso.test", &[("bob@example.net", None)]).await;
    (report.envelope.from, report.envelope.kind) = (None, Kind::Report);
    let copies = conclude(&world.hub, &report, &[(0, unknown())]).await;
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].recipients[0].to, Mailbox::new("ben", "contoso.test"));
    assert_eq!(text(&world, &copies[0]).await.as_bytes(), MESSAGE);
    let mut copy = loaded(&world, "ann@contoso.test", &[("ben@contoso.test", None)]).await;
    (copy.envelope.from, copy.envelope.kind) = (None, Kind::Report);
    assert!(conclude(&world.hub, &copy, &[(0, unknown())]).await.is_empty(), "no copy of a copy");
}

#[tokio::test(start_paused = true)]
async fn senders_elsewhere_get_theirs_over_the_queue_and_the_whole_if_they_asked() {
    let world = World::new().await;
    let mut loaded = loaded(&world, "x@Exämple.ORG", &[("ann@contoso.test", None)]).await;
    loaded.envelope.params =
        Params { ret: Some(Return::Full), envid: Some("Q 1".into()), ..Params::default() };
    let full = Fate::Failed(Reason::permanent(Status(5, 2, 2), "the mailbox is full"));
    let reports = conclude(&world.hub, &loaded, &[(0, full.clone())]).await;
    assert_eq!(reports[0].hops[0].route, Route::Domain("xn--exmple-cua.org".into()));
    let said = text(&world, &reports[0]).await;
    assert!(said.contains("At noon?") && said.contains("Original-Envelope-Id: Q 1\r\n"), "{said}");
    assert!(said.contains("Diagnostic-Code: x-waypost; the mailbox is full"), "{said}");
    loaded.envelope.params.ret = Some(Return::Headers);
    let reports = conclude(&world.hub, &loaded, &[(0, full)]).await;
    assert!(!text(&world, &reports[0]).await.contains("At noon?"));
}

#[tokio::test(start_paused = true)]
async fn what_expired_says_why_at_last() {
    let world = World::new().await;
    let mut loaded = loaded(&world, "ann@contoso.test", &[("bob@example.net", None)]).await;
    loaded.last_error = Some(Reason {
        server: Some("mail.example.net (192.0.2.7)".into()),
        ..Reason::temporary(Status(4, 4, 1), "connection refused")
    });
    let expired = Fate::Failed(Reason::permanent(Status(4, 4, 7), "the time is over"));
    let reports = conclude(&world.hub, &loaded, &[(0, expired)]).await;
    let text = text(&world, &reports[0]).await;
    for wanted in
        ["tried 3 times since", "connection refused", "Status: 5.4.7", "Nothing is wrong with your message"]
    {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_told_to_those_who_did_not_forbid_it() {
    let world = World::new().await;
    let to = [("bob@example.net", None), ("eve@example.net", SUCCESS)];
    let loaded = loaded(&world, "ann@contoso.test", &to).await;
    let reason = Reason::temporary(Status(4, 4, 1), "connection refused");
    let notice = delayed(&world.hub, &loaded, &reason, Some(NOW.plus_millis(600_000))).await.unwrap();
    let text = text(&world, &notice).await;
    assert!(
        text.contains("Subject: Delayed: Lunch") && text.contains("Will-Retry-Until: Thu, 5 Mar 2026"),
        "{text}"
    );
    assert!(text.contains("Action: delayed") && !text.contains("eve@"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_told_of_once_when_it_is_opened() {
    let world = World::new().await;
    let loaded =
        loaded(&world, "ann@contoso.test", &[("staff@contoso.test", SUCCESS), ("ben@contoso.test", SUCCESS)])
            .await;
    let item = NewItem {
        id: 1,
        envelope: loaded.envelope.clone(),
        blob: loaded.blob.clone(),
        recipients: loaded.recipients.clone(),
        hops: Vec::new(),
    };
    let opened = expanded(&world.hub, &item).await.unwrap();
    let said = text(&world, &opened).await;
    assert!(said.contains("Final-Recipient: rfc822; staff@contoso.test\r\nAction: expanded"), "{said}");
    assert!(!said.contains("Final-Recipient: rfc822; ben@contoso.test"), "{said}");
    let delivered = Fate::Delivered { by: "mx".into() };
    let reports = conclude(&world.hub, &loaded, &[(0, delivered.clone()), (1, delivered)]).await;
    let said = text(&world, &reports[0]).await;
    assert!(said.contains("Final-Recipient: rfc822; ben@contoso.test\r\nAction: delivered"), "{said}");
    assert!(!said.contains("staff@"), "{said}");
}
