use super::*;
use waypost_sasl::Setup;
use waypost_sasl::{ClientExchange, Credentials, Hash, ScramKeys};

/// Knows one user, `user` with `pencil`; says what it is told to for others.
struct One(Answer);

fn identity() -> Identity {
    Identity { account: AccountId(7), address: "user@contoso.test".into(), by: None }
}

impl Authority for One {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        match &self.0 {
            Answer::Unavailable(text) if text == "dice" => Err("no random bytes".into()),
            _ => Ok(Setup::new(bindings, [1; 18], [2; 32])),
        }
    }

    fn answer<'a>(&'a self, question: Question, _: &'a Asking) -> Answering<'a> {
        let known = |name: &str| name == "user";
        let answer = match question {
            Question::CheckPassword { authcid, password, .. } if known(&authcid) => {
                if password.expose() == b"pencil" { Answer::Accepted(identity()) } else { Answer::Wrong }
            }
            Question::ScramKeys { authcid, hash: Hash::Sha256 } if known(&authcid) => {
                Answer::Keys(ScramKeys::derive("pencil", b"salt", 4096))
            }
            Question::Authorize { .. } => Answer::Accepted(identity()),
            _ => self.0.clone(),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn channel(tls: bool, peer: &str) -> Channel {
    let (stream, _) = tokio::io::duplex(16);
    let facts = TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        server_name: None,
        exporter: Some([4; 32]),
        end_point: None,
        client: None,
    };
    Channel {
        stream: Box::new(stream),
        local: "127.0.0.1:143".parse().unwrap(),
        peer: peer.parse().unwrap(),
        tls: tls.then_some(facts),
        upgrade: None,
    }
}

fn entrance(policy: Policy) -> Arc<Entrance> {
    Entrance::new(Protocol::Imap, Arc::new(One(Answer::Wrong)), policy)
}

/// What an authority can answer for that knows passwords only.
const BY_PASSWORD: [Mechanism; 4] =
    [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

const FAR: &str = "192.0.2.7:40000";
const NEAR: &str = "127.0.0.1:40000";

#[test]
fn login_types_decide_what_is_offered() {
    use LoginType::*;
    let scram = vec![Mechanism::ScramSha256];
    let clear = vec![Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];
    let all = BY_PASSWORD.to_vec();
    let none = vec![];
    for (login_type, loopback_is_secure, tls, peer, passwords, offered) in [
        (SecureLogin, false, false, FAR, false, &none),
        (SecureLogin, false, false, NEAR, false, &none),
        (SecureLogin, true, false, FAR, false, &none),
        (SecureLogin, true, false, NEAR, true, &clear),
        (SecureLogin, false, true, FAR, true, &all),
        (PlainTextAuthentication, false, false, FAR, false, &scram),
        (PlainTextAuthentication, false, true, FAR, true, &all),
        (PlainTextLogin, false, false, FAR, true, &clear),
    ] {
        let entrance = entrance(Policy { login_type, loopback_is_secure, ..Policy::default() });
        let caller = entrance.caller(&channel(tls, peer));
        assert_eq!(caller.passwords_allowed(), passwords, "{login_type:?} {peer}");
        assert_eq!(&caller.offered(), offered, "{login_type:?} {peer}");
    }
}

#[tokio::test(start_paused = true)]
async fn passwords() {
    let entrance = entrance(Policy::default());
    let mut caller = entrance.caller(&channel(true, FAR));
    let signed_in = caller.password("user", "pencil").await.unwrap();
    assert_eq!((signed_in.account, signed_in.mechanism), (AccountId(7), "LOGIN"));
    assert_eq!(entrance.sessions_of(AccountId(7)), 1);
    drop(signed_in);
    assert_eq!(entrance.sessions_of(AccountId(7)), 0);
    let mut clear = entrance.caller(&channel(false, FAR));
    let refused = clear.password("user", "pencil").await.unwrap_err();
    assert_eq!(refused.failure, Failure::NotAllowed(Why::NeedsTls));
}

#[tokio::test(start_paused = true)]
async fn failures_cost_time_and_in_the_end_the_connection() {
    let entrance = entrance(Policy::default());
    let mut caller = entrance.caller(&channel(true, FAR));
    let start = tokio::time::Instant::now();
    for n in 1..=5 {
        let refused = caller.password("user", "guess").await.unwrap_err();
        assert_eq!(refused, Refused { failure: Failure::Wrong, close: n == 5 });
    }
    assert_eq!(start.elapsed(), Duration::from_millis(500 * (1 + 2 + 3 + 4 + 4)));
    assert_eq!(entrance.counts.wrong.value(), 5);
}

#[tokio::test(start_paused = true)]
async fn cancelling_is_no_failure() {
    let entrance = entrance(Policy::default());
    let mut caller = entrance.caller(&channel(true, FAR));
    for _ in 0..9 {
        let mut conversation = caller.begin(b"PLAIN").unwrap();
        assert!(matches!(conversation.begin(None).await, Turn::Challenge(_)));
        assert!(!conversation.cancelled().close);
    }
    assert!(caller.password("user", "pencil").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn our_failures_are_not_the_callers() {
    let down = Arc::new(One(Answer::Unavailable("store".into())));
    let entrance = Entrance::new(Protocol::Pop, down, Policy::default());
    let mut caller = entrance.caller(&channel(true, FAR));
    let start = tokio::time::Instant::now();
    for _ in 0..9 {
        let refused = caller.password("other", "x").await.unwrap_err();
        assert_eq!(refused, Refused { failure: Failure::Unavailable("store".into()), close: false });
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let dice = Arc::new(One(Answer::Unavailable("dice".into())));
    let entrance = Entrance::new(Protocol::Pop, dice, Policy::default());
    let mut caller = entrance.caller(&channel(true, FAR));
    let turn = caller.begin(b"PLAIN").unwrap().begin(None).await;
    assert!(matches!(turn, Turn::Over(Err(Refused { failure: Failure::Unavailable(_), .. }))), "{turn:?}");
}

#[tokio::test(start_paused = true)]
async fn too_many_sessions_of_one_user() {
    let entrance = entrance(Policy { sessions_per_user_max: 2, ..Policy::default() });
    let mut caller = entrance.caller(&channel(true, FAR));
    let one = caller.password("user", "pencil").await.unwrap();
    let _two = caller.password("user", "pencil").await.unwrap();
    let refused = caller.password("user", "pencil").await.unwrap_err();
    assert_eq!(refused.failure, Failure::NotAllowed(Why::TooManySessions));
    drop(one);
    caller.password("user", "pencil").await.unwrap();
}

async fn exchange(caller: &mut Caller, mechanism: Mechanism, user: &str) -> Result<SignedIn, Refused> {
    let bindings = caller.line.bindings.clone();
    let credentials = Credentials::new(user, "pencil");
    let mut client = ClientExchange::start(mechanism, credentials, &bindings, &[3; 18]).unwrap();
    let mut talk = caller.begin(mechanism.name().as_bytes()).unwrap();
    let initial = client.initial();
    let mut turn = talk.begin(initial.as_ref().map(|i| i.expose())).await;
    loop {
        turn = match turn {
            Turn::Challenge(challenge) => talk.respond(client.step(&challenge).unwrap().expose()).await,
            Turn::Over(result) => return result,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_mechanism() {
    let entrance = entrance(Policy::default());
    for mechanism in BY_PASSWORD {
        let mut caller = entrance.caller(&channel(true, FAR));
        let signed_in = exchange(&mut caller, mechanism, "user").await.unwrap();
        assert_eq!(signed_in.mechanism, mechanism.name());
        let refused = exchange(&mut caller, mechanism, "nobody").await.unwrap_err();
        assert_eq!(refused.failure, Failure::Wrong, "{mechanism}");
    }
}

#[tokio::test(start_paused = true)]
async fn mechanisms_that_cannot_begin() {
    let policy = Policy {
        mechanisms: vec![Mechanism::ScramSha256, Mechanism::ScramSha256Plus, Mechanism::Plain],
        login_type: LoginType::PlainTextAuthentication,
        ..Policy::default()
    };
    let entrance = entrance(policy);
    let mut caller = entrance.caller(&channel(false, FAR));
    let mut why = |name: &[u8]| caller.begin(name).err();
    assert_eq!(why(b"GSSAPI"), Some(NoMechanism::Unknown));
    assert_eq!(why(b"LOGIN"), Some(NoMechanism::Unknown));
    assert_eq!(why(b"PLAIN"), Some(NoMechanism::NeedsTls));
    assert_eq!(why(b"SCRAM-SHA-256-PLUS"), Some(NoMechanism::NeedsTls));
    assert_eq!(why(b"scram-sha-256"), None);
}
