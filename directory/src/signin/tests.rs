use super::*;
use crate::change::{NewAccount, NewDomain};
use crate::model::{AccountKind, Permission};
use waypost_base::Timestamp;
use waypost_store::Store;

const PASSWORD: &str = "correct horse";

struct World {
    directory: Arc<Directory>,
    signin: SignIn,
}

fn asking(protocol: Protocol) -> Asking {
    Asking { protocol, peer: "192.0.2.7".parse().unwrap() }
}

async fn world() -> World {
    let clock = Clock::fixed(Timestamp(1_000_000));
    let directory = Directory::open(Store::memory().engine().clone(), clock.clone()).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    directory.add_domain(NewDomain::new("fabrikam.test")).await.unwrap();
    let mut adele = NewAccount::new("Adele");
    adele.password = Some(PASSWORD.into());
    adele.others = vec!["vance@fabrikam.test".parse().unwrap()];
    directory.add_account(adele).await.unwrap();
    let signin = SignIn::new(directory.clone(), clock, Rules::default());
    World { directory, signin }
}

#[tokio::test]
async fn every_name_of_the_account_works() {
    let w = world().await;
    for name in ["adele@contoso.test", "ADELE@Contoso.test", "vance@fabrikam.test", "adele", "Vance"] {
        let answer = w.signin.check(name, PASSWORD, &asking(Protocol::Imap)).await;
        let Answer::Accepted(identity) = answer else { panic!("{name}: {answer:?}") };
        assert_eq!(identity.address, "adele@contoso.test");
    }
    // A second account with such a name makes the bare one ambiguous.
    let mut other = NewAccount::new("Adele 2");
    other.primary = Some("adele@fabrikam.test".parse().unwrap());
    other.password = Some("another password".into());
    w.directory.add_account(other).await.unwrap();
    assert_eq!(w.signin.check("adele", PASSWORD, &asking(Protocol::Imap)).await, Answer::Wrong);
    let id = w.directory.snapshot().find_account("adele@contoso.test").unwrap().id;
    assert_eq!(w.directory.last_sign_in(id), Some((Timestamp(1_000_000), "imap".into())));
    assert_eq!(w.directory.flush_sign_ins().await.unwrap(), 1);
    assert_eq!(w.directory.flush_sign_ins().await.unwrap(), 0);
}

#[tokio::test]
async fn wrong_and_not_allowed_are_told_apart() {
    let w = world().await;
    let id = w.directory.snapshot().find_account("adele").unwrap().id;
    w.directory.update_account(id, |a| a.protocols.pop = false).await.unwrap();
    let ask = async |name, password, protocol| w.signin.check(name, password, &asking(protocol)).await;
    assert_eq!(ask("adele", PASSWORD, Protocol::Pop).await, Answer::NotAllowed(Why::Protocol));
    assert_eq!(ask("adele", "guess number 1", Protocol::Pop).await, Answer::Wrong);
    assert_eq!(ask("nobody", PASSWORD, Protocol::Imap).await, Answer::Wrong);
    w.directory.update_account(id, |a| a.enabled = false).await.unwrap();
    assert_eq!(ask("adele", PASSWORD, Protocol::Imap).await, Answer::NotAllowed(Why::Disabled));
}

#[tokio::test]
async fn a_changed_password_is_forgotten_at_once() {
    let w = world().await;
    let ask = async |password| w.signin.check("adele", password, &asking(Protocol::Imap)).await;
    assert!(matches!(ask(PASSWORD).await, Answer::Accepted(_)));
    assert!(matches!(ask(PASSWORD).await, Answer::Accepted(_)));
    assert_eq!(w.signin.counts.remembered.value(), 1);
    let id = w.directory.snapshot().find_account("adele").unwrap().id;
    w.directory.set_password(id, "battery staple").await.unwrap();
    assert_eq!(ask(PASSWORD).await, Answer::Wrong);
    assert!(matches!(ask("battery staple").await, Answer::Accepted(_)));
}

#[tokio::test]
async fn app_passwords_are_for_their_protocols() {
    let w = world().await;
    let id = w.directory.snapshot().find_account("adele").unwrap().id;
    let (app, secret) = w.directory.add_app_password(id, "phone", &[Protocol::Imap]).await.unwrap();
    let secret = secret.expose_str().unwrap();
    let ask = async |protocol| w.signin.check("adele", secret, &asking(protocol)).await;
    let Answer::Accepted(identity) = ask(Protocol::Imap).await else { panic!() };
    assert_eq!(identity.by.as_deref(), Some("phone"));
    assert_eq!(ask(Protocol::Submission).await, Answer::NotAllowed(Why::Protocol));
    w.directory.remove_app_password(id, app.id).await.unwrap();
    assert_eq!(ask(Protocol::Imap).await, Answer::Wrong);
}

#[tokio::test]
async fn shared_mailboxes_are_reached_by_permission() {
    let w = world().await;
    let mut shared = NewAccount::new("Reception");
    shared.kind = Some(AccountKind::Shared);
    shared.password = Some(PASSWORD.into());
    let shared = w.directory.add_account(shared).await.unwrap();
    let adele = w.directory.snapshot().find_account("adele").unwrap().id;
    let as_shared = || Question::CheckPassword {
        authzid: Some("reception@contoso.test".into()),
        authcid: "adele".into(),
        password: PASSWORD.into(),
    };
    let own = w.signin.check("reception", PASSWORD, &asking(Protocol::Imap)).await;
    assert!(matches!(own, Answer::NotAllowed(Why::Other(_))), "{own:?}");
    let refused = w.signin.answer(as_shared(), &asking(Protocol::Imap)).await;
    assert_eq!(refused, Answer::NotAllowed(Why::Impersonation));
    let right = Permission { who: adele, right: Right::FullAccess };
    w.directory.update_account(shared.id, |a| a.permissions.push(right)).await.unwrap();
    let Answer::Accepted(identity) = w.signin.answer(as_shared(), &asking(Protocol::Imap)).await else {
        panic!()
    };
    assert_eq!((identity.account, identity.by.as_deref()), (shared.id, Some("adele@contoso.test")));
}

#[tokio::test(start_paused = true)]
async fn guessers_are_slowed_down_and_the_owner_is_not() {
    let w = world().await;
    let guesser = asking(Protocol::Imap);
    for n in 0..20 {
        assert_eq!(w.signin.check("adele", &format!("guess {n:04}"), &guesser).await, Answer::Wrong);
    }
    // Even the right password is not looked at now from there, and is not called wrong; from elsewhere it is good.
    assert_eq!(w.signin.check("vance", PASSWORD, &guesser).await, Answer::NotAllowed(Why::Locked));
    let owner = Asking { peer: "198.51.100.1".parse().unwrap(), ..guesser };
    assert!(matches!(w.signin.check("adele", PASSWORD, &owner).await, Answer::Accepted(_)));
}

#[tokio::test]
async fn a_whole_scram_exchange() {
    use waypost_sasl::{ClientExchange, Credentials, Exchange, Mechanism, Step};
    let w = world().await;
    for (password, good) in [(PASSWORD, true), ("wrong password", false)] {
        let setup = w.signin.setup(Bindings::default()).unwrap();
        let mut server = Exchange::start(Mechanism::ScramSha256, setup).unwrap();
        let credentials = Credentials::new("adele@contoso.test", password);
        let mut client =
            ClientExchange::start(Mechanism::ScramSha256, credentials, &Bindings::default(), &[7; 18])
                .unwrap();
        let first = client.initial().unwrap();
        let mut step = server.begin(Some(first.expose()));
        let end = loop {
            step = match step {
                Step::Ask(question) => {
                    let answer = w.signin.answer(question, &asking(Protocol::Imap)).await;
                    server.answer(answer)
                }
                Step::Challenge(bytes) => match client.step(&bytes) {
                    Ok(response) => server.step(response.expose()),
                    Err(_) => break Step::Failed(waypost_sasl::Failure::Wrong),
                },
                end => break end,
            };
        };
        assert_eq!(matches!(end, Step::Done(_)), good, "{end:?}");
    }
}
