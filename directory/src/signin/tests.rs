use super::*;
use crate::change::{NewAccount, NewDomain};
use crate::limits::CHECKS_PER_NETWORK_MAX;
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

/// Says what it is told to say, perhaps late.
struct Elsewhere {
    says: Checked,
    late: bool,
}

impl Source for Elsewhere {
    fn check<'a>(&'a self, _: &'a str, _: &'a Account, password: &'a Secret) -> Checking<'a> {
        Box::pin(async move {
            if self.late {
                std::future::pending::<()>().await;
            }
            match &self.says {
                Checked::Correct if password.expose() != b"theirs" => Checked::Wrong,
                says => says.clone(),
            }
        })
    }
}

fn with_source(source: Option<Elsewhere>) -> Providers {
    let mut providers = Providers::default();
    if let Some(source) = source {
        providers.sources.named.insert("ldap".into(), Arc::new(source));
    }
    providers.sources.whose.insert("contoso.test".into(), "ldap".into());
    providers
}

#[tokio::test(start_paused = true)]
async fn a_source_says_right_or_wrong_and_its_silence_says_neither() {
    let w = world().await;
    let ask = async |password| w.signin.check("adele", password, &asking(Protocol::Imap)).await;
    w.signin.provide(with_source(Some(Elsewhere { says: Checked::Correct, late: false })));
    assert!(matches!(ask("theirs").await, Answer::Accepted(_)));
    // Our own password of the account counts no more.
    assert_eq!(ask(PASSWORD).await, Answer::Wrong);
    let keys = Question::ScramKeys { authcid: "adele".into(), hash: Hash::Sha256 };
    let keys = w.signin.answer(keys, &asking(Protocol::Imap)).await;
    assert_eq!(keys, Answer::NotAllowed(Why::Mechanism), "the right password would look wrong");
    // What was right a moment ago is right while the source is away.
    w.signin.provide(with_source(Some(Elsewhere { says: Checked::Correct, late: true })));
    assert!(matches!(ask("theirs").await, Answer::Accepted(_)));
    let Answer::Unavailable(text) = ask("something else").await else { panic!() };
    assert!(text.contains("did not answer within 8 seconds"), "{text}");
    for (says, answer) in [
        (Checked::Unavailable("down".into()), Answer::Unavailable("down".into())),
        (Checked::NotAllowed(Why::Expired), Answer::NotAllowed(Why::Expired)),
        (Checked::Wrong, Answer::Wrong),
    ] {
        w.signin.provide(with_source(Some(Elsewhere { says, late: false })));
        assert_eq!(ask("something else").await, answer);
    }
    w.signin.provide(with_source(None));
    assert!(matches!(ask("something else").await, Answer::Unavailable(_)));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_holds_a_bounded_number() {
    let w = world().await;
    w.signin.provide(with_source(Some(Elsewhere { says: Checked::Correct, late: true })));
    let signin = Arc::new(w.signin);
    let tries = (0..CHECKS_PER_NETWORK_MAX + 10).map(|n| {
        let signin = signin.clone();
        tokio::spawn(async move { signin.check("adele", &format!("{n}"), &asking(Protocol::Imap)).await })
    });
    let tries: Vec<_> = tries.collect();
    for answer in tries {
        assert!(matches!(answer.await.unwrap(), Answer::Unavailable(_)));
    }
}

#[tokio::test]
async fn principals_have_the_accounts_of_their_realm() {
    let w = world().await;
    let ask = async |principal: &str| {
        let question = Question::Principal { authzid: None, principal: principal.into() };
        w.signin.answer(question, &asking(Protocol::Imap)).await
    };
    let nobody = Answer::NotAllowed(Why::NoAccount);
    for good in ["adele@CONTOSO.TEST", "Adele@contoso.test", "vance@FABRIKAM.TEST"] {
        assert!(matches!(ask(good).await, Answer::Accepted(_)), "{good}");
    }
    for bad in
        ["adele@ELSEWHERE.TEST", "imap/host@CONTOSO.TEST", "@CONTOSO.TEST", "adele", "lee@CONTOSO.TEST"]
    {
        assert_eq!(ask(bad).await, nobody, "{bad}");
    }
    let realms = [("ad.contoso.test".to_owned(), "contoso.test".to_owned())].into();
    w.signin.provide(Providers { realms, ..Providers::default() });
    assert!(matches!(ask("adele@AD.CONTOSO.TEST").await, Answer::Accepted(_)));
    assert_eq!(ask("adele@CONTOSO.TEST").await, nobody, "where realms are listed, others are foreign");
}

#[tokio::test(start_paused = true)]
async fn the_owner_signs_in_while_others_guess_from_everywhere() {
    let w = world().await;
    let office = Asking { peer: "198.51.100.1".parse().unwrap(), ..asking(Protocol::Imap) };
    assert!(matches!(w.signin.check("adele", PASSWORD, &office).await, Answer::Accepted(_)));
    for n in 0..30 {
        let peer = format!("203.0.{n}.7").parse().unwrap();
        let guesser = Asking { peer, ..office };
        for guess in 0..4 {
            let answer = w.signin.check("adele", &format!("guess {n} {guess}"), &guesser).await;
            assert_eq!(answer, Answer::Wrong);
        }
    }
    // Another program of hers in the office still has the old password.
    for n in 0..40 {
        let answer = w.signin.check("adele", &format!("old password {n}"), &office).await;
        assert_eq!(answer, Answer::Wrong, "{n}");
    }
    let begun = tokio::time::Instant::now();
    assert!(matches!(w.signin.check("adele", PASSWORD, &office).await, Answer::Accepted(_)));
    assert!(begun.elapsed() <= Duration::from_secs(1));
}

#[tokio::test]
async fn old_passwords_get_their_missing_keys_when_they_are_used() {
    let w = world().await;
    let id = w.directory.snapshot().find_account("adele").unwrap().id;
    let old = w.directory.snapshot().credentials(id)[0].clone();
    let CredentialKind::Main { argon2, .. } = old.kind else { panic!() };
    w.directory.set_password_hash(id, &argon2, None).await.unwrap();
    assert!(!w.signin.abilities().scram_sha1);
    w.signin.provide(Providers { ntlm_hashes: true, ..Providers::default() });
    assert!(matches!(w.signin.check("adele", PASSWORD, &asking(Protocol::Imap)).await, Answer::Accepted(_)));
    for _ in 0..1000 {
        if w.signin.abilities().scram_sha1 {
            break;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let new = w.directory.snapshot().credentials(id)[0].clone();
    let CredentialKind::Main { scram: Some(_), scram1: Some(_), nt: Some(_), .. } = new.kind else {
        panic!("{new:?}")
    };
}

#[tokio::test]
async fn certificates_by_their_fingerprint() {
    struct Nameless;
    impl Certificates for Nameless {
        fn names(&self, der: &[u8]) -> Result<Vec<String>, Why> {
            if der == b"old" { Err(Why::Expired) } else { Ok(Vec::new()) }
        }
    }
    let w = world().await;
    let ask = async |der: &[u8]| {
        let question = Question::Certificate { authzid: None, der: der.to_vec() };
        w.signin.answer(question, &asking(Protocol::Imap)).await
    };
    assert!(matches!(ask(b"der").await, Answer::Unavailable(_)));
    w.signin.provide(Providers { certificates: Some(Arc::new(Nameless)), ..Providers::default() });
    assert_eq!(ask(b"der").await, Answer::NotAllowed(Why::NoAccount));
    assert_eq!(ask(b"old").await, Answer::NotAllowed(Why::Expired));
    let id = w.directory.snapshot().find_account("adele").unwrap().id;
    let print = crate::credential::fingerprint(b"der");
    let added = w.directory.add_certificate(id, "laptop", &print).await.unwrap();
    let Answer::Accepted(identity) = ask(b"der").await else { panic!() };
    assert_eq!(identity.by.as_deref(), Some("laptop"));
    assert!(w.directory.add_certificate(id, "again", &print).await.is_err());
    w.directory.remove_certificate(id, added.id).await.unwrap();
    assert_eq!(ask(b"der").await, Answer::NotAllowed(Why::NoAccount));
}
