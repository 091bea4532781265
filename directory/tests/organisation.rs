//! An organisation is built, changed and looked up, and read again from the store as it was.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use waypost_base::{Clock, Timestamp};
use waypost_directory::{
    Account, Address, ChangeError, Directory, DomainKind, Group, How, Limit, Member, NewAccount, NewDomain,
    NewGroup, Permission, Policy, Recipient, Refused, Right, Sender, Skipped,
};
use waypost_store::Store;

fn clock() -> Clock {
    Clock::fixed(Timestamp(1_772_525_720_114))
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

async fn open(store: &Store) -> Arc<Directory> {
    Directory::open(store.engine().clone(), clock()).await.unwrap()
}

async fn account(directory: &Directory, name: &str) -> Arc<Account> {
    directory.add_account(NewAccount::new(name)).await.unwrap()
}

async fn contoso(store: &Store) -> Arc<Directory> {
    let directory = open(store).await;
    directory.add_domain(NewDomain::new("Contoso.test")).await.unwrap();
    let relay = NewDomain { kind: DomainKind::InternalRelay, ..NewDomain::new("bücher.example") };
    directory.add_domain(relay).await.unwrap();
    directory
}

/// What a lookup says, in a word or two.
fn say(directory: &Directory, text: &str) -> String {
    match directory.resolve(text) {
        Recipient::Account { account, how, tag } => match tag {
            Some(tag) => format!("{} {how:?} {tag}", account.name),
            None => format!("{} {how:?}", account.name),
        },
        Recipient::Group(group) => format!("group {}", group.name),
        Recipient::Relay(domain) => format!("relay {}", domain.name),
        Recipient::Disabled(account) => format!("disabled {}", account.name),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn finds_recipients() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    let mut adele = NewAccount::new("Adele Vance");
    adele.others =
        vec![address("adele@contoso.test"), address("a+b@contoso.test"), address("x@bücher.example")];
    let adele = directory.add_account(adele).await.unwrap();
    let off = account(&directory, "Off").await;
    directory.update_account(off.id, |a| a.enabled = false).await.unwrap();
    directory.add_group(NewGroup::new("Staff")).await.unwrap();
    let table = [
        ("AdeleVance@CONTOSO.test", "Adele Vance Primary"),
        ("adele@contoso.test.", "Adele Vance Alias"),
        ("\"adele\"@contoso.test", "Adele Vance Alias"),
        ("adele+News@contoso.test", "Adele Vance SubAddress news"),
        ("a+b@contoso.test", "Adele Vance Alias"),
        ("a+b+c@contoso.test", "Adele Vance SubAddress c"),
        ("+adele@contoso.test", "Unknown"),
        ("off@contoso.test", "disabled Off"),
        ("off+x@contoso.test", "disabled Off"),
        ("staff@contoso.test", "group Staff"),
        ("staff+x@contoso.test", "Unknown"),
        ("nobody@contoso.test", "Unknown"),
        ("x@XN--BCHER-KVA.example", "Adele Vance Alias"),
        ("other@bücher.example", "relay xn--bcher-kva.example"),
        ("adele@elsewhere.test", "NotOurs"),
        ("adele@[192.0.2.1]", "NotOurs"),
        ("postmaster", "Unknown"),
        ("adele", "Malformed(NoAt)"),
    ];
    for (text, wanted) in table {
        assert_eq!(say(&directory, text), wanted, "{text}");
    }
    directory.set_policy(Policy { separator: Some('-') });
    assert_eq!(say(&directory, "adele-news@contoso.test"), "Adele Vance SubAddress news");
    assert_eq!(say(&directory, "adele+news@contoso.test"), "Unknown");
    directory.set_policy(Policy::default());
    directory.update_domain("contoso.test", |d| d.sub_addressing = false).await.unwrap();
    assert_eq!(say(&directory, "adele+news@contoso.test"), "Unknown");
    directory.update_domain("contoso.test", |d| d.catch_all = Some(adele.primary.clone())).await.unwrap();
    assert_eq!(say(&directory, "nobody@contoso.test"), "Adele Vance CatchAll");
    let postmaster = |a: &mut Account| a.others.push(address("postmaster@contoso.test"));
    directory.update_account(adele.id, postmaster).await.unwrap();
    assert_eq!(say(&directory, "Postmaster"), "Adele Vance Postmaster");
    assert_eq!(say(&directory, "postmaster@bücher.example"), "Adele Vance Postmaster");
    assert!(matches!(
        directory.resolve("postmaster@contoso.test"),
        Recipient::Account { how: How::Alias, .. }
    ));
}

#[tokio::test]
async fn expands_groups_with_loops_and_restrictions() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    let adele = account(&directory, "adele").await;
    let lee = account(&directory, "lee").await;
    let off = account(&directory, "off").await;
    directory.update_account(off.id, |a| a.enabled = false).await.unwrap();
    let group = async |name: &str, members: Vec<Member>| -> Arc<Group> {
        let mut new = NewGroup::new(name);
        new.members = members;
        new.require_sender_authentication = Some(false);
        directory.add_group(new).await.unwrap()
    };
    let outside = Member::External(address("friend@elsewhere.test"));
    let inner = group("inner", vec![Member::Account(adele.id), Member::Account(off.id), outside]).await;
    let outer = group("outer", vec![Member::Account(adele.id), Member::Group(inner.id)]).await;
    directory.add_member(inner.id, Member::Group(outer.id)).await.unwrap();
    // An address of our own, added as if it were somebody's outside, is still that account.
    directory.add_member(inner.id, Member::External(lee.primary.clone())).await.unwrap();
    let now = directory.snapshot();
    let out = now.expand(&outer, Sender::default());
    let names: Vec<&str> = out.accounts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["adele", "lee"]);
    assert_eq!(out.external, [address("friend@elsewhere.test")]);
    assert!(matches!(out.skipped.as_slice(), [Skipped::Disabled(a)] if a.id == off.id));
    assert!(now.holds(outer.id, adele.id) && !now.holds(outer.id, lee.id));
    let restrict = |g: &mut Group| {
        g.require_sender_authentication = true;
        g.accept_from = vec![Member::Group(outer.id)];
    };
    let inner = directory.update_group(inner.id, restrict).await.unwrap();
    let now = directory.snapshot();
    assert_eq!(now.may_send(&inner, Sender::default()), Err(Refused::NeedsAuthentication));
    let by = |account| Sender { account: Some(account), address: None };
    assert_eq!(now.may_send(&inner, by(lee.id)), Err(Refused::NotOnList));
    assert_eq!(now.may_send(&inner, by(adele.id)), Ok(()));
    let out = now.expand(&outer, Sender::default());
    assert!(
        matches!(out.skipped.as_slice(), [Skipped::Refused(g, Refused::NeedsAuthentication)] if g.id == inner.id)
    );
}

#[tokio::test]
async fn what_is_read_again_is_what_was() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    let adele = account(&directory, "adele").await;
    let lee = account(&directory, "lee").await;
    let gone = account(&directory, "gone").await;
    directory
        .update_account(adele.id, |a| {
            a.display_name = "Адель".into();
            a.quotas.warn = Limit::At(7);
            a.protocols.imap = false;
            a.permissions = vec![Permission { who: lee.id, right: Right::SendAs }];
            a.others = vec![address("second@contoso.test")];
        })
        .await
        .unwrap();
    directory.set_password(adele.id, "correct horse").await.unwrap();
    directory.add_app_password(adele.id, "phone", &[]).await.unwrap();
    let mut staff = NewGroup::new("Staff");
    staff.members = vec![Member::Account(gone.id), Member::External(address("f@elsewhere.test"))];
    let staff = directory.add_group(staff).await.unwrap();
    directory.remove_account(gone.id).await.unwrap();
    let again = open(&store).await;
    let (a, b) = (directory.snapshot(), again.snapshot());
    assert_eq!(a.accounts().collect::<Vec<_>>(), b.accounts().collect::<Vec<_>>());
    assert_eq!(a.groups().collect::<Vec<_>>(), b.groups().collect::<Vec<_>>());
    assert_eq!(a.domains().collect::<Vec<_>>(), b.domains().collect::<Vec<_>>());
    assert_eq!(a.members(staff.id).collect::<Vec<_>>(), b.members(staff.id).collect::<Vec<_>>());
    assert_eq!(b.members(staff.id).count(), 1);
    assert_eq!(a.credentials(adele.id), b.credentials(adele.id));
    assert_eq!(b.credentials(adele.id).len(), 2);
    // Numbers are not given twice, not even after a restart.
    assert!(account(&again, "new").await.id > gone.id);
}

#[tokio::test]
async fn names_and_addresses_have_one_owner() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    account(&directory, "adele").await;
    let lee = account(&directory, "lee").await;
    let taken = |e: ChangeError| matches!(e, ChangeError::Exists { .. });
    assert!(taken(directory.add_account(NewAccount::new("ADELE")).await.unwrap_err()));
    let mut other = NewAccount::new("other");
    other.primary = Some(address("adele@contoso.test"));
    assert!(taken(directory.add_account(other).await.unwrap_err()));
    assert!(taken(directory.add_group(NewGroup::new("lee")).await.unwrap_err()));
    let steal = |a: &mut Account| a.others.push(address("adele@contoso.test"));
    assert!(taken(directory.update_account(lee.id, steal).await.unwrap_err()));
    let foreign = |a: &mut Account| a.others.push(address("lee@elsewhere.test"));
    assert!(matches!(
        directory.update_account(lee.id, foreign).await.unwrap_err(),
        ChangeError::Invalid { field: "address", .. }
    ));
    // An address that was given up is free for others.
    directory.update_account(lee.id, |a| a.primary = address("lee.gu@contoso.test")).await.unwrap();
    let mut heir = NewAccount::new("heir");
    heir.primary = Some(address("lee@contoso.test"));
    directory.add_account(heir).await.unwrap();
}

#[tokio::test]
async fn two_servers_that_change_the_same_thing_conflict() {
    let store = Store::memory();
    let one = contoso(&store).await;
    let adele = account(&one, "adele").await;
    let two = open(&store).await;
    one.update_account(adele.id, |a| a.display_name = "by one".into()).await.unwrap();
    let late = two.update_account(adele.id, |a| a.display_name = "by two".into()).await;
    assert_eq!(late.unwrap_err(), ChangeError::Conflict);
    // Having read again, it sees the other's change, and may go on.
    assert_eq!(two.snapshot().account(adele.id).unwrap().display_name, "by one");
    two.update_account(adele.id, |a| a.display_name = "by two".into()).await.unwrap();
    // The same address made on both sides at once belongs to the first.
    one.reload().await.unwrap();
    account(&one, "lee").await;
    assert_eq!(two.add_account(NewAccount::new("lee")).await.unwrap_err(), ChangeError::Conflict);
    assert!(matches!(two.add_account(NewAccount::new("lee")).await.unwrap_err(), ChangeError::Exists { .. }));
}

#[tokio::test]
async fn domains_are_guarded() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    account(&directory, "adele").await;
    assert!(matches!(
        directory.add_domain(NewDomain::new("CONTOSO.test")).await,
        Err(ChangeError::Exists { .. })
    ));
    assert!(matches!(
        directory.add_domain(NewDomain::new("no good")).await,
        Err(ChangeError::Invalid { .. })
    ));
    assert!(matches!(directory.remove_domain("contoso.test").await, Err(ChangeError::InUse { .. })));
    directory.update_domain("bücher.example", |d| d.default = true).await.unwrap();
    assert_eq!(directory.snapshot().default_domain().unwrap().name, "xn--bcher-kva.example");
    assert_eq!(directory.snapshot().domains().filter(|d| d.default).count(), 1);
    // Still in use by the account's address.
    assert!(matches!(directory.remove_domain("contoso.test").await, Err(ChangeError::InUse { .. })));
    let id = directory.snapshot().find_account("adele").unwrap().id;
    directory.remove_account(id).await.unwrap();
    directory.remove_domain("contoso.test").await.unwrap();
    assert_eq!(open(&store).await.snapshot().domains().count(), 1);
}

#[tokio::test]
async fn forwarding_goes_somewhere() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    let (a, b, c) =
        (account(&directory, "a").await, account(&directory, "b").await, account(&directory, "c").await);
    let forward = async |id, to: &str| {
        let to = address(to);
        directory.update_account(id, |x| x.forward_to = Some(to)).await.map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(
        forward(a.id, "a@contoso.test").await,
        Err("forwarding address: a mailbox cannot forward to itself".into())
    );
    let unknown = forward(a.id, "nobody@contoso.test").await.unwrap_err();
    assert!(unknown.contains("nobody has it"), "{unknown}");
    forward(a.id, "b@contoso.test").await.unwrap();
    forward(b.id, "c@contoso.test").await.unwrap();
    let back = forward(c.id, "a@contoso.test").await.unwrap_err();
    assert!(back.contains("forwards back"), "{back}");
    forward(c.id, "pat@elsewhere.example").await.unwrap();
    let again = open(&store).await;
    assert_eq!(again.snapshot().account(c.id).unwrap().forward_to, Some(address("pat@elsewhere.example")));
}

#[tokio::test]
async fn some_may_not_send_to_a_group() {
    let store = Store::memory();
    let directory = contoso(&store).await;
    let (a, b) = (account(&directory, "a").await, account(&directory, "b").await);
    let group = directory.add_group(NewGroup::new("Staff")).await.unwrap();
    let group =
        directory.update_group(group.id, |g| g.reject_from = vec![Member::Account(b.id)]).await.unwrap();
    let now = directory.snapshot();
    let by = |id| Sender { account: Some(id), address: None };
    assert_eq!(now.may_send(&group, by(a.id)), Ok(()));
    assert_eq!(now.may_send(&group, by(b.id)), Err(Refused::OnRejectList));
}
