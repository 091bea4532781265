//! Copies of the directory: by changes, whole, thin; invitations.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use waypost_base::{Clock, Timestamp};
use waypost_directory::invitation::InvitationError;
use waypost_directory::replica::{Delta, Extent};
use waypost_directory::{ChangeError, Directory, Member, NewAccount, NewDomain, NewGroup, Roles, Server};
use waypost_store::{Engine, Store};

const NOW: Timestamp = Timestamp(1_772_525_720_000);

fn engine() -> Arc<dyn Engine> {
    Store::memory().engine().clone()
}

async fn keeper() -> Arc<Directory> {
    let directory = Directory::open(engine(), Clock::fixed(NOW)).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    directory.add_server(server("server-1", Roles::ALL, true)).await.unwrap();
    directory
}

fn server(id: &str, roles: Roles, primary: bool) -> Server {
    Server {
        version: 0,
        id: id.into(),
        inner: format!("{id}.contoso.test:444"),
        host: format!("{id}.contoso.test"),
        roles,
        primary,
        components: Default::default(),
        requesters: Default::default(),
        principals: Vec::new(),
        revoked: None,
        certificates_since: None,
        joined: NOW,
        changed: NOW,
    }
}

async fn copy() -> Arc<Directory> {
    Directory::open_copy(engine(), Clock::fixed(NOW)).await.unwrap()
}

/// As a server that follows does it.
async fn follow(keeper: &Directory, copy: &Directory, extent: Extent) -> &'static str {
    if let Some(deltas) = keeper.deltas_since(copy.mark(), usize::MAX) {
        let deltas: Vec<Delta> = deltas.iter().map(|d| Delta::clone(&d.for_copy(extent))).collect();
        copy.apply(&deltas).await.unwrap();
        return "changes";
    }
    let mark = keeper.mark();
    let mut from = None;
    loop {
        let page = keeper.copy_page(from, extent).await.unwrap();
        from = page.to.clone();
        copy.take_page(&page, extent).await.unwrap();
        if from.is_none() {
            break;
        }
    }
    copy.copied(mark).await.unwrap();
    "whole"
}

fn shown(directory: &Directory) -> String {
    let now = directory.snapshot();
    let accounts: Vec<_> = now.accounts().collect();
    let groups: Vec<_> = now.groups().map(|g| (g, now.members(g.id).collect::<Vec<_>>())).collect();
    let domains: Vec<_> = now.domains().collect();
    let servers: Vec<_> = now.servers().collect();
    format!("{accounts:?} {groups:?} {domains:?} {servers:?}")
}

async fn agree(keeper: &Directory, copy: &Directory) {
    assert_eq!(shown(keeper), shown(copy));
    // What is in memory is what is on disk.
    let before = shown(copy);
    copy.reload().await.unwrap();
    assert_eq!(before, shown(copy));
}

#[tokio::test]
async fn a_copy_follows_every_kind_of_change() {
    let (keeper, copy) = (keeper().await, copy().await);
    assert_eq!(follow(&keeper, &copy, Extent::Full).await, "whole");
    agree(&keeper, &copy).await;
    let mut new = NewAccount::new("Amy");
    new.password = Some("correct-horse-7".into());
    let amy = keeper.add_account(new).await.unwrap();
    let ben = keeper.add_account(NewAccount::new("Ben")).await.unwrap();
    let group = keeper.add_group(NewGroup::new("Team")).await.unwrap();
    keeper.add_member(group.id, Member::Account(amy.id)).await.unwrap();
    assert_eq!(follow(&keeper, &copy, Extent::Full).await, "changes");
    agree(&keeper, &copy).await;
    assert!(copy.has_password(amy.id));
    keeper.update_account(amy.id, |a| a.name = "Amy Alder".into()).await.unwrap();
    keeper.remove_member(group.id, &Member::Account(amy.id)).await.unwrap();
    keeper.add_member(group.id, Member::Account(ben.id)).await.unwrap();
    follow(&keeper, &copy, Extent::Full).await;
    agree(&keeper, &copy).await;
    assert!(copy.snapshot().find_account("Amy Alder").is_some());
    keeper.remove_account(amy.id).await.unwrap();
    keeper.remove_group(group.id).await.unwrap();
    keeper.add_domain(NewDomain::new("fabrikam.test")).await.unwrap();
    keeper.remove_domain("fabrikam.test").await.unwrap();
    keeper.add_server(server("server-2", Roles::ALL, false)).await.unwrap();
    keeper.remove_server("server-2").await.unwrap();
    assert_eq!(follow(&keeper, &copy, Extent::Full).await, "changes");
    agree(&keeper, &copy).await;
    assert!(!copy.has_password(amy.id));
}

#[tokio::test]
async fn a_copy_is_not_changed_here() {
    let (keeper, copy) = (keeper().await, copy().await);
    follow(&keeper, &copy, Extent::Full).await;
    match copy.add_account(NewAccount::new("Amy")).await {
        Err(ChangeError::Copy(keeper)) => assert_eq!(keeper, "server-1"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_was_away_takes_a_whole_copy_and_stands_where_the_keeper_does() {
    let store = engine();
    let keeper_one = Directory::open(Arc::clone(&store), Clock::fixed(NOW)).await.unwrap();
    keeper_one.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    keeper_one.add_server(server("server-1", Roles::ALL, true)).await.unwrap();
    let copy = copy().await;
    follow(&keeper_one, &copy, Extent::Full).await;
    // A restart of the keeper without changes asks nothing of anybody.
    drop(keeper_one);
    let keeper_two = Directory::open(Arc::clone(&store), Clock::fixed(NOW)).await.unwrap();
    assert_eq!(follow(&keeper_two, &copy, Extent::Full).await, "changes");
    // Changes before a restart are in nobody's memory.
    keeper_two.add_account(NewAccount::new("Amy")).await.unwrap();
    drop(keeper_two);
    let keeper_three = Directory::open(store, Clock::fixed(NOW)).await.unwrap();
    assert_eq!(follow(&keeper_three, &copy, Extent::Full).await, "whole");
    agree(&keeper_three, &copy).await;
    // A restore is another story altogether.
    keeper_three.new_epoch().await.unwrap();
    assert_eq!(follow(&keeper_three, &copy, Extent::Full).await, "whole");
    agree(&keeper_three, &copy).await;
}

#[tokio::test]
async fn thin_copies_never_hold_a_proof() {
    let (keeper, copy) = (keeper().await, copy().await);
    let mut new = NewAccount::new("Amy");
    new.password = Some("correct-horse-7".into());
    let amy = keeper.add_account(new).await.unwrap();
    follow(&keeper, &copy, Extent::Thin).await;
    assert!(copy.snapshot().credentials(amy.id).is_empty());
    keeper.set_password(amy.id, "another-horse-8").await.unwrap();
    assert_eq!(follow(&keeper, &copy, Extent::Thin).await, "changes");
    agree(&keeper, &copy).await;
    assert!(copy.snapshot().credentials(amy.id).is_empty());
    // One that was full, and becomes thin by a whole copy.
    let full = Directory::open_copy(engine(), Clock::fixed(NOW)).await.unwrap();
    follow(&keeper, &full, Extent::Full).await;
    assert!(!full.snapshot().credentials(amy.id).is_empty());
    let page = keeper.copy_page(None, Extent::Thin).await.unwrap();
    full.take_page(&page, Extent::Thin).await.unwrap();
    full.copied(keeper.mark()).await.unwrap();
    assert!(full.snapshot().credentials(amy.id).is_empty());
}

#[tokio::test]
async fn only_a_single_server_gets_another_name() {
    let keeper = keeper().await;
    keeper.rename_only_server("first").await.unwrap();
    assert!(keeper.snapshot().server("server-1").is_none());
    assert!(keeper.snapshot().primary().is_some_and(|s| s.id == "first"));
    keeper.add_server(server("server-2", Roles::ALL, false)).await.unwrap();
    assert!(matches!(keeper.rename_only_server("x").await, Err(ChangeError::InUse { .. })));
    keeper.reload().await.unwrap();
    assert_eq!(keeper.snapshot().servers().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["first", "server-2"]);
}

#[tokio::test]
async fn an_invitation_is_good_once() {
    let keeper = keeper().await;
    let mailbox = Roles { mailbox: true, ..Roles::NONE };
    let (made, secret) = keeper.invite(mailbox, None, "root", NOW.plus_millis(1000)).await.unwrap();
    let with = |roles| server("server-2", roles, false);
    assert_eq!(keeper.admit(&made.id, "x", with(mailbox)).await.unwrap_err(), InvitationError::Unknown);
    assert_eq!(keeper.admit("00", &secret, with(mailbox)).await.unwrap_err(), InvitationError::Unknown);
    let wrong = keeper.admit(&made.id, &secret, with(Roles::ALL)).await.unwrap_err();
    assert!(matches!(wrong, InvitationError::Roles { .. }), "{wrong}");
    keeper.admit(&made.id, &secret, with(mailbox)).await.unwrap();
    let again = keeper.admit(&made.id, &secret, server("server-3", mailbox, false)).await.unwrap_err();
    assert_eq!(again, InvitationError::Used(NOW, "server-2".into()));
    let (late, secret) = keeper.invite(mailbox, None, "root", NOW.plus_millis(-1)).await.unwrap();
    let expired = keeper.admit(&late.id, &secret, server("server-3", mailbox, false)).await.unwrap_err();
    assert_eq!(expired, InvitationError::Expired(NOW.plus_millis(-1)));
    // Joining again needs a token that says so, and makes earlier certificates void.
    let (other, secret) = keeper.invite(mailbox, None, "root", NOW.plus_millis(1000)).await.unwrap();
    let taken = keeper.admit(&other.id, &secret, with(mailbox)).await.unwrap_err();
    assert!(matches!(taken, InvitationError::Change(ChangeError::Exists { .. })), "{taken}");
    let again = keeper.invite(mailbox, Some("server-2".into()), "root", NOW.plus_millis(1000)).await.unwrap();
    let joined = keeper.admit(&again.0.id, &again.1, with(mailbox)).await.unwrap();
    assert_eq!(joined.certificates_since, Some(NOW));
}
