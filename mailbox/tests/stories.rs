//! Stories of one account, each ending with every invariant checked.
#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

mod common;

use common::{Client, World, flags, list, mail, noise, uids};
use waypost_base::{AccountId, FolderId, MessageId};
use waypost_mailbox::{
    AccountError, AccountOptions, Cancel, DeliverError, Delivery, Delta, FaultKind, FlagOp, Flags,
    FolderError, Limits, Mailboxes, MessageBody, NewMessage, Query, Quota, Role, SortKey, SortOrder,
    ThreadKind, UidSet,
};
use waypost_store::{Batch, Partition};

#[tokio::test]
async fn a_new_account_has_its_folders_and_exists_once() {
    let w = World::new().await;
    let tree = w.account.folders();
    let paths: Vec<&str> = tree.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    assert_eq!(tree.with_role(Role::Sent).unwrap().path, "Sent");
    assert_eq!(tree.find("inbox").unwrap().id, w.inbox);
    assert!(tree.iter().all(|f| f.subscribed && f.selectable));
    let again = w.mailboxes.create_account(AccountId(1), AccountOptions::default()).await;
    assert_eq!(again.unwrap_err(), AccountError::Exists(AccountId(1)));
    assert_eq!(w.mailboxes.account(AccountId(9)).await.unwrap_err(), AccountError::NoAccount(AccountId(9)));
    w.mailboxes.create_account(AccountId(300), AccountOptions::default()).await.unwrap();
    assert_eq!(w.mailboxes.accounts().await.unwrap(), [AccountId(1), AccountId(300)]);
    w.close().await;
}

#[tokio::test]
async fn a_delivery_is_seen_by_a_session_that_waits() {
    let w = World::new().await;
    let mut session = w.account.select(w.inbox).await.unwrap();
    let deliver = async {
        tokio::task::yield_now().await;
        w.deliver(&mail("Hello", "How are you?")).await
    };
    let ((), uid) = tokio::join!(session.wait_changes(), deliver);
    assert_eq!(uid, 1);
    assert_eq!(session.poll_changes(true), [Delta::Exists(1)]);
    assert!(session.poll_changes(true).is_empty());
    let (_, row) = session.by_uid(1).unwrap();
    let stored = w.account.summaries(&[row.message]).await.pop().unwrap().unwrap();
    assert_eq!(stored.summary().unwrap().subject, "Hello");
    let body = w.account.body(row.message).await.unwrap();
    assert_eq!(
        &w.account.read(&body, 0..u64::MAX).await.unwrap()[..],
        mail("Hello", "How are you?").as_bytes()
    );
    assert_eq!(session.status().unseen, 1);
    assert_eq!(session.status().uid_next, 2);
    drop(session);
    w.close().await;
}

#[tokio::test]
async fn a_large_message_is_read_in_ranges_and_shared_by_its_copies() {
    let w = World::new().await;
    let body = noise(300_000);
    let text = mail("Large", &body);
    w.deliver(&text).await;
    let archive = w.account.folders().find("Archive").unwrap().id;
    let copied = w.account.copy(w.inbox, &UidSet::all(), archive).await.unwrap();
    assert_eq!(copied.uids, [(1, 1)]);
    copied.changes.announce();
    let session = w.account.select(archive).await.unwrap();
    let row = session.row(1).unwrap();
    let body = w.account.body(row.message).await.unwrap();
    assert_eq!(body.size(), text.len() as u64);
    assert!(matches!(body, MessageBody::Large(_)));
    let part = w.account.read(&body, 100_000..100_050).await.unwrap();
    assert_eq!(&part[..], &text.as_bytes()[100_000..100_050]);
    let tail = &text[200_000..200_020];
    let found = w.account.search(&session, &Query::Body(tail.into()), &Cancel::new()).await.unwrap();
    assert_eq!(found, [(1, 1)]);
    // Expunged here and there, and swept, nothing is left.
    for folder in [w.inbox, archive] {
        w.account.remove(folder, &UidSet::all()).await.unwrap().changes.announce();
    }
    w.pass(20 * 86_400_000);
    let swept = w.mailboxes.sweep(w.now()).await.unwrap();
    assert_eq!((swept.expired, swept.messages), (2, 1));
    let gone = w.account.body(row.message).await.unwrap_err();
    assert_eq!(gone.kind, FaultKind::Gone);
    drop(session);
    w.close().await;
}

#[tokio::test]
async fn flags_change_once_and_modseq_only_when_they_do() {
    let w = World::new().await;
    for i in 0..5 {
        w.deliver(&mail(&format!("Mail {i}"), "x")).await;
    }
    let mut session = w.account.select(w.inbox).await.unwrap();
    let seen = w
        .account
        .store_flags(w.inbox, &uids(&[2, 3, 99]), FlagOp::Add, flags(Flags::SEEN), None)
        .await
        .unwrap();
    assert_eq!(seen.modified.iter().map(|r| r.uid).collect::<Vec<_>>(), [2, 3]);
    let modseq = seen.modified[0].modseq;
    seen.changes.announce();
    let told = session.poll_changes(false);
    assert!(matches!(told[..], [Delta::Flags { seq: 2, .. }, Delta::Flags { seq: 3, .. }]));
    // Again: nothing happens.
    let again =
        w.account.store_flags(w.inbox, &uids(&[2, 3]), FlagOp::Add, flags(Flags::SEEN), None).await.unwrap();
    assert!(again.modified.is_empty());
    assert_eq!(w.account.status(w.inbox).await.unwrap().highest_modseq, modseq);
    assert!(session.poll_changes(true).is_empty());
    // UNCHANGEDSINCE: 2 and 3 have moved on, 4 has not.
    let mark = w.account.mark(Flags::NONE, &["$Work", "$forwarded"]).await.unwrap();
    let some = w
        .account
        .store_flags(w.inbox, &UidSet::all(), FlagOp::Replace, mark, Some(modseq - 1))
        .await
        .unwrap();
    assert_eq!(some.failed.to_string(), "2:3");
    assert_eq!(some.modified.len(), 3);
    let names: Vec<String> = w.account.keywords().of(some.modified[0].keywords).map(str::to_owned).collect();
    assert_eq!(names, ["$Forwarded", "$Work"]);
    assert_eq!(session.first_unseen(), Some(1));
    drop((again, some, session));
    let bad = w.account.mark(Flags::NONE, &["not an atom"]).await.unwrap_err();
    assert!(matches!(bad, AccountError::BadKeyword(_)));
    let many: Vec<String> = (0..70).map(|i| format!("k{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(w.account.mark(Flags::NONE, &many).await, Err(AccountError::KeywordsFull(8))));
    let w = w.reopen().await;
    assert_eq!(w.account.keywords().bit("$work"), Some(7));
    w.close().await;
}

#[tokio::test]
async fn an_expunged_message_keeps_its_number_until_the_session_is_told() {
    let w = World::new().await;
    for i in 0..6 {
        w.deliver(&mail(&format!("Mail {i}"), "x")).await;
    }
    let mut idle = w.account.select(w.inbox).await.unwrap();
    let mut client = Client::at(&idle);
    w.account.remove(w.inbox, &uids(&[2, 5])).await.unwrap().changes.announce();
    w.deliver(&mail("New", "x")).await;
    // In the middle of FETCH: nothing moves.
    let told = idle.poll_changes(false);
    assert_eq!(told, [Delta::Exists(7)]);
    client.hear(&told, &idle);
    assert_eq!(idle.row(2).unwrap().uid, 2);
    assert_eq!(idle.by_uid(5).unwrap().0, 5);
    assert!(idle.is_expunged(5) && !idle.is_expunged(6));
    assert_eq!(list(&idle).len(), 7);
    assert_eq!(idle.rows(5, 6).map(|(s, r)| (s, r.uid)).collect::<Vec<_>>(), [(5, 5), (6, 6)]);
    // Its summary can still be fetched.
    assert!(w.account.summaries(&[idle.row(2).unwrap().message]).await[0].is_ok());
    w.account.remove(w.inbox, &uids(&[1])).await.unwrap().changes.announce();
    let told = idle.poll_changes(true);
    assert_eq!(
        told,
        [
            Delta::Expunged { seq: 1, uid: 1 },
            Delta::Expunged { seq: 1, uid: 2 },
            Delta::Expunged { seq: 3, uid: 5 }
        ]
    );
    client.hear(&told, &idle);
    assert_eq!(client, Client::at(&idle));
    drop(idle);
    w.close().await;
}

#[tokio::test]
async fn moving_keeps_the_message_and_gives_it_a_new_uid() {
    let w = World::new().await;
    for i in 0..3 {
        w.deliver(&mail(&format!("Mail {i}"), "x")).await;
    }
    let trash = w.account.folders().with_role(Role::Trash).unwrap().id;
    let before = w.account.usage();
    let mut here = w.account.select(w.inbox).await.unwrap();
    let mut there = w.account.select(trash).await.unwrap();
    let message = here.row(2).unwrap().message;
    let moved = w.account.move_to(w.inbox, &uids(&[2, 3]), trash).await.unwrap();
    assert_eq!(moved.uids, [(2, 1), (3, 2)]);
    assert_eq!(moved.uid_validity, w.account.folder(trash).unwrap().uid_validity);
    drop(moved);
    assert_eq!(here.poll_changes(true).len(), 2);
    assert_eq!(there.poll_changes(true), [Delta::Exists(2)]);
    assert_eq!(there.row(1).unwrap().message, message);
    assert_eq!(w.account.usage(), before);
    assert!(w.account.recoverable_items(10).await.unwrap().is_empty());
    // Within a folder: new UIDs for old messages, each once.
    let within = w.account.move_to(trash, &UidSet::all(), trash).await.unwrap();
    assert_eq!(within.uids, [(1, 3), (2, 4)]);
    drop(within);
    assert_eq!(list(&w.account.select(trash).await.unwrap()).len(), 2);
    assert!(matches!(
        w.account.copy(trash, &UidSet::all(), FolderId(77)).await,
        Err(DeliverError::NoFolder(FolderId(77)))
    ));
    drop((here, there));
    w.close().await;
}

#[tokio::test]
async fn what_was_expunged_can_be_restored_for_two_weeks() {
    let w = World::new().await;
    w.deliver(&mail("Kept", "x")).await;
    w.deliver(&mail("Lost", "x")).await;
    let used = w.account.usage().bytes;
    w.account
        .store_flags(w.inbox, &uids(&[2]), FlagOp::Add, flags(Flags::DELETED), None)
        .await
        .unwrap()
        .changes
        .announce();
    let gone = w.account.expunge(w.inbox, &UidSet::all()).await.unwrap();
    assert_eq!(gone.uids.to_string(), "2");
    drop(gone);
    assert!(w.account.usage().bytes < used);
    w.pass(13 * 86_400_000);
    w.mailboxes.sweep(w.now()).await.unwrap();
    let items = w.account.recoverable_items(10).await.unwrap();
    assert_eq!((items.len(), items[0].row.uid), (1, 2));
    let back = w.account.restore_item(&items[0], w.inbox).await.unwrap();
    assert_eq!(back.appended()[0].uid, 3);
    drop(back);
    assert!(w.account.restore_item(&items[0], w.inbox).await.is_err());
    assert_eq!(w.account.usage().bytes, used);
    let session = w.account.select(w.inbox).await.unwrap();
    assert_eq!(list(&session), [(1, Flags::NONE), (3, Flags::NONE)]);
    drop(session);
    w.close().await;
}

#[tokio::test]
async fn a_delivery_with_a_token_happens_once() {
    let w = World::new().await;
    let delivery = Delivery {
        folder: w.inbox,
        message: NewMessage::new(w.content(&mail("Once", "x")).await),
        token: Some([9; 16]),
        ignore_quota: false,
    };
    let first = w.account.deliver(delivery.clone()).await.unwrap();
    let again = w.account.deliver(delivery.clone()).await.unwrap();
    assert!(!first.replayed() && again.replayed());
    assert_eq!(first.appended(), again.appended());
    drop((first, again));
    assert_eq!(w.account.status(w.inbox).await.unwrap().messages, 1);
    let w = w.reopen().await;
    let after = w.account.deliver(delivery).await.unwrap();
    assert!(after.replayed());
    drop(after);
    assert_eq!(w.account.status(w.inbox).await.unwrap().messages, 1);
    w.account.statistics().await.unwrap();
    w.close().await;
}

#[tokio::test]
async fn folders_are_made_renamed_and_deleted() {
    let w = World::new().await;
    let a = &w.account;
    let made = a.create_folder("Work/2026/March/", None).await.unwrap();
    assert_eq!(made.path, "Work/2026/March");
    assert_eq!(a.create_folder("Work/2026/March", None).await.unwrap_err(), FolderError::Exists);
    assert_eq!(a.create_folder("inBox", None).await.unwrap_err(), FolderError::Exists);
    for bad in ["", "/", "a//b", "a\u{7}", &"x".repeat(256), &["y"; 33].join("/")] {
        assert!(matches!(a.create_folder(bad, None).await.unwrap_err(), FolderError::BadName(_)), "{bad}");
    }
    assert_eq!(a.create_folder("Spam", Some(Role::Junk)).await.unwrap_err(), FolderError::RoleTaken);
    w.deliver_to(made.id, &mail("In March", "x")).await;
    a.rename_folder("Work/2026", "Old/Years/2026").await.unwrap();
    let tree = a.folders();
    let renamed = tree.find("Old/Years/2026/March").unwrap();
    assert_eq!((renamed.id, renamed.uid_validity), (made.id, made.uid_validity));
    assert!(tree.find("Work/2026").is_none() && tree.find("Work").is_some());
    assert_eq!(
        a.rename_folder("Old", "Old/Below").await.unwrap_err(),
        FolderError::Forbidden("a folder cannot be moved into itself")
    );
    // With inferiors the name stays, without messages.
    let session = a.select(made.id).await.unwrap();
    a.create_folder("Old/Years/2026/March/Week 9", None).await.unwrap();
    a.subscribe("Old/Years/2026/March", true).await.unwrap();
    a.delete_folder("Old/Years/2026/March").await.unwrap();
    assert!(session.is_deleted());
    session.wait_changes().await;
    let tree = a.folders();
    let place = tree.find("Old/Years/2026/March").unwrap();
    assert!(!place.selectable && place.has_children && place.subscribed);
    assert!(matches!(a.select(place.id).await.unwrap_err(), AccountError::NoFolder(_)));
    assert_eq!(a.delete_folder("Old/Years/2026/March").await.unwrap_err(), FolderError::HasChildren);
    assert_eq!(a.recoverable_items(9).await.unwrap().len(), 1);
    // Made again it is another folder.
    let again = a.create_folder("Old/Years/2026/March", None).await.unwrap();
    assert!(again.id != made.id && again.uid_validity != made.uid_validity && again.has_children);
    assert!(matches!(a.delete_folder("INBOX").await.unwrap_err(), FolderError::Forbidden(_)));
    a.delete_folder("Work").await.unwrap();
    let late = Delivery {
        folder: made.id,
        message: NewMessage::new(w.content("x").await),
        token: None,
        ignore_quota: false,
    };
    assert_eq!(a.deliver(late).await.unwrap_err(), DeliverError::NoFolder(made.id));
    drop(session);
    let w = w.reopen().await;
    assert_eq!(
        w.account.folders().find("Old/Years/2026/March/Week 9").unwrap().path,
        "Old/Years/2026/March/Week 9"
    );
    w.close().await;
}

#[tokio::test]
async fn renaming_the_inbox_moves_its_messages() {
    let w = World::new().await;
    w.deliver(&mail("One", "x")).await;
    w.account.create_folder("INBOX/Below", None).await.unwrap();
    w.account.rename_folder("inbox", "Before").await.unwrap();
    let tree = w.account.folders();
    assert!(tree.find("INBOX/Below").is_some());
    assert_eq!(w.account.status(w.inbox).await.unwrap().messages, 0);
    assert_eq!(w.account.status(tree.find("Before").unwrap().id).await.unwrap().messages, 1);
    w.close().await;
}

#[tokio::test]
async fn subscriptions_outlive_folders() {
    let w = World::new().await;
    let a = &w.account;
    a.subscribe("Someday", true).await.unwrap();
    assert_eq!(a.folders().subscribed_only(), ["Someday"]);
    assert!(a.create_folder("Someday", None).await.unwrap().subscribed);
    assert!(a.folders().subscribed_only().is_empty());
    a.delete_folder("Someday").await.unwrap();
    assert_eq!(a.folders().subscribed_only(), ["Someday"]);
    a.subscribe("Someday", false).await.unwrap();
    assert!(a.folders().subscribed_only().is_empty());
    let w = w.reopen().await;
    assert!(w.account.folders().subscribed_only().is_empty());
    w.close().await;
}

#[tokio::test]
async fn over_quota_nothing_is_taken() {
    let quota = Quota { prohibit_bytes: Some(1000), warn_bytes: Some(300), messages: Some(3) };
    let w = World::with(Limits::default(), AccountOptions { quota }).await;
    w.deliver(&mail("Small", "x")).await;
    assert!(!w.account.usage().warn());
    w.deliver(&mail("Small", "x")).await;
    assert!(w.account.usage().warn());
    let message = NewMessage::new(w.content(&mail("Big", &"x".repeat(900))).await);
    let refused = w.account.append(w.inbox, vec![message.clone()], None).await.unwrap_err();
    assert_eq!(refused, DeliverError::OverQuota);
    assert!(!refused.retry());
    let copied = w.account.copy(w.inbox, &UidSet::all(), w.inbox).await.unwrap_err();
    assert_eq!(copied, DeliverError::OverQuota);
    w.account.set_quota(Quota::default()).await.unwrap();
    w.account.append(w.inbox, vec![message], None).await.unwrap().announce();
    let w = w.reopen().await;
    assert_eq!(w.account.usage().messages, 3);
    assert_eq!(w.account.usage().quota, Quota::default());
    w.close().await;
}

#[tokio::test]
async fn a_client_catches_up_after_a_restart() {
    let w = World::new().await;
    for i in 0..10 {
        w.deliver(&mail(&format!("Mail {i}"), "x")).await;
    }
    let known = w.account.status(w.inbox).await.unwrap().highest_modseq;
    w.account
        .store_flags(w.inbox, &uids(&[3, 4]), FlagOp::Add, flags(Flags::FLAGGED), None)
        .await
        .unwrap()
        .changes
        .announce();
    w.account.remove(w.inbox, &uids(&[4, 7, 8])).await.unwrap().changes.announce();
    w.deliver(&mail("New", "x")).await;
    let w = w.reopen().await;
    let session = w.account.select(w.inbox).await.unwrap();
    let since = w.account.changes_since(&session, known, None).await.unwrap();
    assert!(since.exact);
    assert_eq!(since.vanished.to_string(), "4,7:8");
    assert_eq!(since.changed.iter().map(|(s, r)| (*s, r.uid)).collect::<Vec<_>>(), [(3, 3), (8, 11)]);
    let known_uids = UidSet::from_ranges([(1, 7)]);
    let since = w.account.changes_since(&session, known, Some(&known_uids)).await.unwrap();
    assert_eq!(since.vanished.to_string(), "4,7");
    // Past the horizon the log is gone, and the answer is all that is not there.
    w.pass(40 * 86_400_000);
    assert!(w.mailboxes.sweep(w.now()).await.unwrap().log_rows > 0);
    let since = w.account.changes_since(&session, known, None).await.unwrap();
    assert!(!since.exact);
    assert_eq!(since.vanished.to_string(), "4,7:8");
    let current = session.status().highest_modseq;
    assert_eq!(w.account.changes_since(&session, current, None).await.unwrap().changed, []);
    drop(session);
    w.deliver(&mail("After", "x")).await;
    w.close().await;
}

#[tokio::test]
async fn many_messages_are_appended_flagged_copied_and_expunged_in_chunks() {
    let w = World::new().await;
    let content = w.content(&mail("Import", "x")).await;
    let messages: Vec<NewMessage> = (0..2500).map(|_| NewMessage::new(content.clone())).collect();
    let mut watcher = w.account.select(w.inbox).await.unwrap();
    let changes = w.account.append(w.inbox, messages, Some([1; 16])).await.unwrap();
    assert_eq!(changes.appended().len(), 2500);
    assert!(changes.appended().windows(2).all(|p| p[0].uid < p[1].uid));
    changes.announce();
    assert_eq!(watcher.poll_changes(true), [Delta::Exists(2500)]);
    let seen =
        w.account.store_flags(w.inbox, &UidSet::all(), FlagOp::Add, flags(Flags::SEEN), None).await.unwrap();
    assert_eq!(seen.modified.len(), 2500);
    drop(seen);
    assert_eq!(watcher.poll_changes(true).len(), 2500);
    let archive = w.account.folders().with_role(Role::Archive).unwrap().id;
    let copied = w.account.copy(w.inbox, &UidSet::all(), archive).await.unwrap();
    assert_eq!(copied.uids.len(), 2500);
    drop(copied);
    let gone = w.account.remove(w.inbox, &UidSet::from_ranges([(1, 2000)])).await.unwrap();
    assert_eq!(gone.uids.len(), 2000);
    drop(gone);
    assert_eq!(watcher.poll_changes(true).len(), 2000);
    assert_eq!(watcher.len(), 500);
    assert_eq!(w.account.status(archive).await.unwrap().messages, 2500);
    w.account.delete_folder("Archive").await.unwrap();
    drop(watcher);
    w.pass(20 * 86_400_000);
    let swept = w.mailboxes.sweep(w.now()).await.unwrap();
    assert_eq!((swept.expired, swept.messages), (4500, 2000));
    w.close().await;
}

#[tokio::test]
async fn searching_sorting_and_threading() {
    let w = World::new().await;
    w.deliver(&mail("Zebra", "nothing here")).await;
    w.deliver(&mail("Apple", "the rare wörd")).await;
    w.deliver(
        "From: Cid <cid@contoso.test>\r\nSubject: Re: Zebra\r\nReferences: <Zebra@contoso.test>\r\n\
         Message-ID: <r@contoso.test>\r\nX-Odd: needle\r\n\r\nanswer\r\n",
    )
    .await;
    w.account
        .store_flags(w.inbox, &uids(&[2]), FlagOp::Add, flags(Flags::SEEN), None)
        .await
        .unwrap()
        .changes
        .announce();
    let session = w.account.select(w.inbox).await.unwrap();
    let find = async |q: Query| {
        let found = w.account.search(&session, &q, &Cancel::new()).await.unwrap();
        found.into_iter().map(|(_, uid)| uid).collect::<Vec<_>>()
    };
    assert_eq!(find(Query::All).await, [1, 2, 3]);
    assert_eq!(find(Query::Lacks(Flags::SEEN)).await, [1, 3]);
    assert_eq!(find(Query::Subject("zebra".into())).await, [1, 3]);
    assert_eq!(find(Query::From("CID".into())).await, [3]);
    assert_eq!(find(Query::Body("RARE".into())).await, [2]);
    assert_eq!(find(Query::Text("needle".into())).await, [3]);
    assert_eq!(find(Query::Body("needle".into())).await, [0u32; 0]);
    assert_eq!(find(Query::Header("x-odd".into(), String::new())).await, [3]);
    assert_eq!(find(Query::Header("X-Odd".into(), "eed".into())).await, [3]);
    assert_eq!(find(Query::Not(Box::new(Query::Body("answer".into())))).await, [1, 2]);
    let either = Query::Or(Box::new(Query::Has(Flags::SEEN)), Box::new(Query::Body("answer".into())));
    assert_eq!(find(either).await, [2, 3]);
    assert_eq!(find(Query::And(vec![Query::Uids(uids(&[1, 2])), Query::Text("here".into())])).await, [1]);
    assert_eq!(find(Query::Larger(10_000)).await, [0u32; 0]);
    let day = 1_772_525_720 / 86_400;
    assert_eq!(find(Query::SentOn(day)).await, [1, 2, 3]);
    assert_eq!(find(Query::Since(day + 1)).await, [0u32; 0]);
    assert_eq!(find(Query::Younger(60)).await, [1, 2, 3]);
    assert_eq!(find(Query::Keyword("nobody-knows".into())).await, [0u32; 0]);
    let thread = w.account.summaries(&[session.row(1).unwrap().message]).await[0].clone().unwrap().thread;
    assert_eq!(find(Query::ThreadId(thread)).await, [1, 3]);
    let order = [
        SortOrder { key: SortKey::Subject, reverse: false },
        SortOrder { key: SortKey::Arrival, reverse: true },
    ];
    let sorted = w.account.sort(&session, &Query::All, &order, &Cancel::new()).await.unwrap();
    assert_eq!(sorted.iter().map(|(_, u)| *u).collect::<Vec<_>>(), [2, 1, 3]);
    let forest =
        w.account.thread(&session, &Query::All, ThreadKind::References, true, &Cancel::new()).await.unwrap();
    assert_eq!(forest.roots.len(), 2);
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(w.account.search(&session, &Query::All, &cancel).await.is_err());
    drop(session);
    w.close().await;
}

#[tokio::test]
async fn a_reply_without_references_finds_its_thread() {
    let w = World::new().await;
    let of = async |uid: u32| {
        let session = w.account.select(w.inbox).await.unwrap();
        let message = session.by_uid(uid).unwrap().1.message;
        w.account.summaries(&[message]).await.pop().unwrap().unwrap().thread
    };
    let root = w.deliver("Message-ID: <root@x>\r\n\r\n").await;
    let reply = w.deliver("Message-ID: <reply@x>\r\nReferences: <root@x>\r\n\r\n").await;
    let last = w.deliver("Message-ID: <last@x>\r\nIn-Reply-To: <reply@x>\r\n\r\n").await;
    let other = w.deliver("Subject: none\r\n\r\n").await;
    assert_eq!(of(root).await, of(reply).await);
    assert_eq!(of(root).await, of(last).await);
    assert_ne!(of(root).await, of(other).await);
    w.close().await;
}

#[tokio::test]
async fn two_processes_on_one_store_do_not_lose_updates() {
    let w = World::new().await;
    for i in 0..4 {
        w.deliver(&mail(&format!("Mail {i}"), "x")).await;
    }
    // A second process: its own memory over the same store.
    let other = Mailboxes::open(w.store.clone(), w.mailboxes.clock().clone(), Limits::default());
    let theirs = other.account(AccountId(1)).await.unwrap();
    theirs.status(w.inbox).await.unwrap();
    let mine =
        w.account.store_flags(w.inbox, &UidSet::all(), FlagOp::Add, flags(Flags::SEEN), None).await.unwrap();
    drop(mine);
    let second =
        theirs.store_flags(w.inbox, &UidSet::all(), FlagOp::Add, flags(Flags::FLAGGED), None).await.unwrap();
    assert!(second.modified.iter().all(|r| r.flags == Flags::SEEN.with(Flags::FLAGGED)));
    drop(second);
    let gone = w.account.remove(w.inbox, &uids(&[1])).await.unwrap();
    assert_eq!(gone.uids.to_string(), "1");
    drop(gone);
    let made = theirs.create_folder("Theirs", None).await.unwrap();
    let mine = w.account.create_folder("Mine", None).await.unwrap();
    assert_ne!(made.id, mine.id);
    assert!(w.account.folders().find("Theirs").is_some());
    let session = w.account.select(w.inbox).await.unwrap();
    assert!(list(&session).iter().all(|(_, f)| *f == Flags::SEEN.with(Flags::FLAGGED)));
    drop(session);
    w.close().await;
}

#[tokio::test]
async fn a_removed_account_is_gone_at_once_and_swept_later() {
    let w = World::new().await;
    w.deliver(&mail("Old", "x")).await;
    let session = w.account.select(w.inbox).await.unwrap();
    w.mailboxes.create_account(AccountId(2), AccountOptions::default()).await.unwrap();
    w.mailboxes.remove_account(AccountId(1)).await.unwrap();
    session.wait_changes().await;
    assert!(session.is_deleted());
    assert!(matches!(w.mailboxes.account(AccountId(1)).await, Err(AccountError::NoAccount(_))));
    assert!(matches!(w.account.status(w.inbox).await, Err(AccountError::NoAccount(_))));
    assert_eq!(w.mailboxes.sweep(w.now()).await.unwrap().accounts, 1);
    assert_eq!(w.mailboxes.accounts().await.unwrap(), [AccountId(2)]);
    assert_eq!(w.mailboxes.sweep(w.now()).await.unwrap().accounts, 0);
    drop(session);
    w.close().await;
}

#[tokio::test]
async fn views_are_thrown_out_and_come_back() {
    let w = World::with(Limits { view_bytes: 1, ..Limits::default() }, AccountOptions::default()).await;
    let folders: Vec<FolderId> = w.account.folders().iter().map(|f| f.id).collect();
    for round in 1..4 {
        for folder in &folders {
            w.deliver_to(*folder, &mail("Again", "x")).await;
            assert_eq!(w.account.status(*folder).await.unwrap().messages, round);
        }
    }
    let evicted = w.mailboxes.figures().into_iter().find(|f| f.name == "mailbox_views_evicted").unwrap();
    assert!(evicted.value > 0.0);
    w.close().await;
}

#[tokio::test]
async fn statistics_of_folders_and_accounts() {
    let w = World::new().await;
    w.deliver(&mail("One", "x")).await;
    w.pass(1000);
    w.deliver(&mail("Two", "x")).await;
    w.account.signed_in(w.now()).await.unwrap();
    let folders = w.account.folder_statistics().await.unwrap();
    let inbox = folders.iter().find(|f| f.path == "INBOX").unwrap();
    assert_eq!((inbox.messages, inbox.unseen), (2, 2));
    assert_eq!(inbox.newest.unwrap().since(inbox.oldest.unwrap()), 1000);
    w.account.remove(w.inbox, &uids(&[1])).await.unwrap().changes.announce();
    let w = w.reopen().await;
    let all = w.account.statistics().await.unwrap();
    assert_eq!((all.messages, all.recoverable_messages, all.folders), (1, 1, 6));
    assert_eq!(all.last_sign_in, Some(w.now()));
    w.close().await;
}

#[tokio::test]
async fn a_damaged_message_is_named_and_the_others_are_served() {
    let w = World::new().await;
    for i in 0..3 {
        w.deliver(&mail(&format!("Mail {i}"), "x")).await;
    }
    let session = w.account.select(w.inbox).await.unwrap();
    let ids: Vec<MessageId> = session.rows(1, 9).map(|(_, r)| r.message).collect();
    // The second message's summary, and the third one's bytes.
    let part = Partition::numbered(0x10, 1);
    let mut harm = Batch::new(part);
    for (kind, id) in [(0x20, ids[1]), (0x21, ids[2])] {
        let mut key = vec![kind];
        key.extend_from_slice(&id.0.to_be_bytes());
        harm.put(part.key(&key), vec![1, 2, 3]);
    }
    w.store.commit(harm).await.unwrap();
    let summaries = w.account.summaries(&ids).await;
    assert!(summaries[0].is_ok() && summaries[2].is_ok());
    let fault = summaries[1].as_ref().unwrap_err();
    assert_eq!(fault.message, ids[1]);
    assert!(matches!(fault.kind, FaultKind::Damaged(_)));
    let bodies = w.account.bodies(&ids).await;
    assert!(bodies[0].is_ok() && bodies[2].is_err());
    assert!(w.account.summaries(&ids[2..]).await[0].is_ok());
    let found = w.account.search(&session, &Query::Body("x".into()), &Cancel::new()).await.unwrap();
    assert_eq!(found, [(1, 1)]);
    let named: Vec<MessageId> = w.account.quarantined().into_iter().map(|f| f.message).collect();
    assert_eq!(named, ids[1..]);
    // They can still be flagged, moved and removed.
    w.account
        .store_flags(w.inbox, &UidSet::all(), FlagOp::Add, flags(Flags::SEEN), None)
        .await
        .unwrap()
        .changes
        .announce();
    w.account.remove(w.inbox, &uids(&[2])).await.unwrap().changes.announce();
    drop(session);
    let report = w.mailboxes.verify().await;
    assert!(!report.is_clean());
}

#[tokio::test]
async fn a_session_that_waits_is_small() {
    let w = World::new().await;
    let session = w.account.select(w.inbox).await.unwrap();
    assert!(size_of_val(&session) <= 64, "{}", size_of_val(&session));
    let waiting = session.wait_changes();
    assert!(size_of_val(&waiting) <= 200, "{}", size_of_val(&waiting));
}

#[tokio::test]
async fn a_delivery_whose_caller_goes_away_is_announced_all_the_same() {
    let dir = std::env::temp_dir().join(format!("waypost-stories-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let w = World::on_disk(&dir).await;
    let mut session = w.account.select(w.inbox).await.unwrap();
    let delivery = Delivery {
        folder: w.inbox,
        message: NewMessage::new(w.content(&mail("Orphan", "x")).await),
        token: None,
        ignore_quota: false,
    };
    {
        let delivering = w.account.deliver(delivery);
        tokio::pin!(delivering);
        // One step: the batch is in line. Then the caller is gone.
        tokio::select! { biased; _ = &mut delivering => {}, () = std::future::ready(()) => {} }
    }
    session.wait_changes().await;
    assert_eq!(session.poll_changes(true), [Delta::Exists(1)]);
    drop(session);
    let store = w.store.clone();
    w.close().await;
    store.close().await;
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn after_a_restore_clients_start_afresh() {
    let w = World::new().await;
    w.deliver(&mail("Kept", "x")).await;
    let session = w.account.select(w.inbox).await.unwrap();
    let before = session.uid_validity();
    w.mailboxes.renew_uid_validity().await.unwrap();
    assert!(session.is_deleted());
    let after = w.account.select(w.inbox).await.unwrap();
    assert!(after.uid_validity() > before);
    assert_eq!(after.len(), 1);
    let mut all: Vec<u32> = w.account.folders().iter().map(|f| f.uid_validity).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
    drop((session, after));
    w.close().await;
}

#[tokio::test]
async fn the_outbox_is_found_again_and_leaves_nothing_to_recover() {
    let w = World::new().await;
    let a = &w.account;
    let made = a.outbox().await.unwrap();
    assert_eq!(a.outbox().await.unwrap(), made);
    let folder = a.folder(made).unwrap();
    assert!(folder.path == "Outbox" && folder.subscribed && folder.role == Some(Role::Outbox));
    assert_eq!(Role::Outbox.attribute(), None);
    a.rename_folder("Outbox", "Waiting").await.unwrap();
    assert_eq!(a.outbox().await.unwrap(), made);
    let used = a.usage().bytes;
    w.deliver_to(made, &mail("Item", "x")).await;
    let gone = a.discard(made, &UidSet::all()).await.unwrap();
    assert_eq!(gone.uids.to_string(), "1");
    drop(gone);
    assert_eq!(a.usage().bytes, used);
    assert!(a.recoverable_items(10).await.unwrap().is_empty());
    let swept = w.mailboxes.sweep(w.now()).await.unwrap();
    assert_eq!((swept.expired, swept.messages), (1, 1));
    // Deleted by its owner, it is made anew; a folder of that name becomes it.
    a.delete_folder("Waiting").await.unwrap();
    let mine = a.create_folder("Outbox", None).await.unwrap().id;
    assert_eq!(a.outbox().await.unwrap(), mine);
    w.close().await;
}
