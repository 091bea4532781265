//! The examples of the RFCs, whole conversations with our own client, and everything a server must refuse.

use super::keys::{Hash, ScramKeys};
use super::server::ScramServer;
use crate::binding::Bindings;
use crate::client::{ClientError, ClientExchange, Credentials};
use crate::exchange::{Answer, Exchange, Failure, Identity, Question, Setup, Step, Why};
use crate::mechanism::Mechanism;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use waypost_base::AccountId;

const ROUNDS: u32 = 4096;

fn identity() -> Identity {
    Identity { account: AccountId(7), address: "user@contoso.test".into(), by: None }
}

fn tls() -> Bindings {
    Bindings { exporter: Some([9; 32]), end_point: Some(vec![8; 32]) }
}

fn setup(bindings: Bindings) -> Setup {
    Setup::new(bindings, [1; 18], [2; 32])
}

fn keys() -> ScramKeys {
    ScramKeys::derive("pencil", b"0123456789abcdef", ROUNDS)
}

fn text(step: Step) -> String {
    match step {
        Step::Challenge(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("no challenge: {other:?}"),
    }
}

/// The arithmetic of an exchange whose four messages are known.
fn vector(
    hash: Hash,
    salt: &str,
    first_bare: &str,
    server_first: &str,
    without_proof: &str,
) -> (String, String) {
    let salt = STANDARD.decode(salt).unwrap();
    let password = Secret::from("pencil");
    let keys = ScramKeys::derive_with(hash, &password, &salt, ROUNDS);
    let auth = format!("{first_bare},{server_first},{without_proof}");
    let salted = hash.salted(&password, &salt, std::num::NonZeroU32::new(ROUNDS).unwrap());
    let client_key = hash.client_key(&salted);
    let proof = hash.proof(&client_key, keys.stored_key.expose(), auth.as_bytes());
    assert!(keys.proved(&proof, auth.as_bytes()));
    (STANDARD.encode(proof), STANDARD.encode(keys.signature(auth.as_bytes())))
}

/// RFC 5802 §5.
#[test]
fn rfc_5802_example() {
    let (proof, signature) = vector(
        Hash::Sha1,
        "QSXCR+Q6sek8bf92",
        "n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
    );
    assert_eq!(proof, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(signature, "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
}

/// RFC 7677 §3.
#[test]
fn rfc_7677_example() {
    let (proof, signature) = vector(
        Hash::Sha256,
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    );
    assert_eq!(proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/// Both sides against each other, up to the answer to `Authorize`.
fn converse(mechanism: Mechanism, credentials: Credentials, keys: Answer, authority: Answer) -> Step {
    let mut server = Exchange::start(mechanism, setup(tls())).unwrap();
    let mut client = ClientExchange::start(mechanism, credentials, &tls(), &[3; 18]).unwrap();
    let initial = client.initial();
    let mut step = server.begin(initial.as_ref().map(Secret::expose));
    let (mut keys, mut authority) = (Some(keys), Some(authority));
    loop {
        step = match step {
            Step::Challenge(challenge) => server.step(client.step(&challenge).unwrap().expose()),
            Step::Ask(Question::ScramKeys { .. }) => server.answer(keys.take().unwrap()),
            Step::Ask(_) => server.answer(authority.take().unwrap()),
            Step::Done(_) => {
                assert!(client.finished());
                return step;
            }
            Step::Failed(_) => return step,
        };
    }
}

#[test]
fn every_mechanism_signs_in() {
    use Mechanism::*;
    for mechanism in
        [ScramSha256Plus, ScramSha256, ScramSha1Plus, ScramSha1, Plain, Login, OAuthBearer, XOAuth2]
    {
        let hash = mechanism.scram().unwrap_or(Hash::Sha256);
        let keys = ScramKeys::derive_with(hash, &Secret::from("pencil"), b"0123456789abcdef", ROUNDS);
        let step = converse(
            mechanism,
            Credentials::new("user", "pencil"),
            Answer::Keys(keys),
            Answer::Accepted(identity()),
        );
        assert_eq!(step, Step::Done(identity()), "{mechanism}");
    }
}

/// The rounds are worked once.
#[test]
fn a_kept_key_signs_in_as_well() {
    let mut kept = None;
    for _ in 0..2 {
        let mut server = Exchange::start(Mechanism::ScramSha256, setup(tls())).unwrap();
        let user = Credentials::new("user", if kept.is_none() { "pencil" } else { "forgotten" });
        let client = ClientExchange::start(Mechanism::ScramSha256, user, &tls(), &[3; 18]).unwrap();
        let mut client = client.recalling(kept.clone());
        server.begin(Some(client.initial().unwrap().expose()));
        let challenge = text(server.answer(Answer::Keys(keys())));
        let response = client.step(challenge.as_bytes()).unwrap();
        kept = client.salted();
        assert!(matches!(server.step(response.expose()), Step::Ask(Question::Authorize { .. })));
    }
}

#[test]
fn failures_keep_their_kind() {
    let user = || Credentials::new("user", "pencil");
    let scram = Mechanism::ScramSha256;
    let ok = || Answer::Accepted(identity());
    let wrong = converse(scram, Credentials::new("user", "pen"), Answer::Keys(keys()), ok());
    assert_eq!(wrong, Step::Failed(Failure::Wrong));
    let unknown = converse(scram, user(), Answer::Wrong, ok());
    assert_eq!(unknown, Step::Failed(Failure::Wrong));
    let refused = converse(scram, user(), Answer::Keys(keys()), Answer::NotAllowed(Why::Disabled));
    assert_eq!(refused, Step::Failed(Failure::NotAllowed(Why::Disabled)));
    let down = converse(scram, user(), Answer::Unavailable("no store".into()), ok());
    assert_eq!(down, Step::Failed(Failure::Unavailable("no store".into())));
    let later = converse(scram, user(), Answer::Keys(keys()), Answer::Unavailable("no store".into()));
    assert_eq!(later, Step::Failed(Failure::Unavailable("no store".into())));
}

#[test]
fn names_come_out_prepared() {
    let credentials = Credentials::new("u\u{ad}s=e,r", "pencil").acting_as("b,oss");
    let mut server = Exchange::start(Mechanism::ScramSha256, setup(tls())).unwrap();
    let mut client = ClientExchange::start(Mechanism::ScramSha256, credentials, &tls(), &[3; 18]).unwrap();
    let ask = server.begin(Some(client.initial().unwrap().expose()));
    let authcid = "us=e,r".to_owned();
    assert_eq!(ask, Step::Ask(Question::ScramKeys { authcid: authcid.clone(), hash: Hash::Sha256 }));
    let challenge = text(server.answer(Answer::Keys(keys())));
    let ask = server.step(client.step(challenge.as_bytes()).unwrap().expose());
    assert_eq!(ask, Step::Ask(Question::Authorize { authzid: Some("b,oss".into()), authcid }));
}

/// What an unknown user sees has the same shape as for a known one, and is the same each time.
#[test]
fn unknown_users_look_like_known_ones() {
    let shown = |answer: Answer| {
        let mut server = Exchange::start(Mechanism::ScramSha256, setup(tls())).unwrap();
        server.begin(Some(b"n,,n=nobody,r=abc"));
        text(server.answer(answer))
    };
    let mut real = keys();
    real.rounds = crate::limits::SCRAM_ROUNDS;
    let (known, unknown) = (shown(Answer::Keys(real)), shown(Answer::Wrong));
    assert_eq!(known.len(), unknown.len());
    assert_eq!(unknown, shown(Answer::Wrong));
    assert_eq!(known.split(',').next(), unknown.split(',').next());
}

#[test]
fn downgrades_and_foreign_channels_are_refused() {
    let first = |mechanism, bindings: Bindings, message: &[u8]| {
        Exchange::start(mechanism, setup(bindings)).unwrap().begin(Some(message))
    };
    let plain = Mechanism::ScramSha256;
    let plus = Mechanism::ScramSha256Plus;
    assert!(Exchange::start(plus, setup(Bindings::default())).is_err());
    // A client that could bind, but was shown no -PLUS, although we offered it.
    assert!(matches!(first(plain, tls(), b"y,,n=u,r=x"), Step::Failed(Failure::Binding(_))));
    assert!(matches!(first(plain, Bindings::default(), b"y,,n=u,r=x"), Step::Ask(_)));
    assert!(matches!(first(plain, tls(), b"n,,n=u,r=x"), Step::Ask(_)));
    // The flag has to fit the mechanism.
    assert!(matches!(first(plain, tls(), b"p=tls-exporter,,n=u,r=x"), Step::Failed(Failure::Malformed(_))));
    assert!(matches!(first(plus, tls(), b"n,,n=u,r=x"), Step::Failed(Failure::Malformed(_))));
    assert!(matches!(first(plus, tls(), b"y,,n=u,r=x"), Step::Failed(Failure::Malformed(_))));
    assert!(matches!(first(plus, tls(), b"p=tls-unique,,n=u,r=x"), Step::Failed(Failure::Binding(_))));
    let half = Bindings { exporter: None, end_point: Some(vec![1]) };
    assert!(matches!(first(plus, half, b"p=tls-exporter,,n=u,r=x"), Step::Failed(Failure::Binding(_))));
}

/// The client sits at the end of another TLS channel, as with someone in between.
#[test]
fn another_channel_is_noticed() {
    let elsewhere = Bindings { exporter: Some([1; 32]), end_point: None };
    let mechanism = Mechanism::ScramSha256Plus;
    let mut server = Exchange::start(mechanism, setup(tls())).unwrap();
    let mut client =
        ClientExchange::start(mechanism, Credentials::new("user", "pencil"), &elsewhere, &[3; 18]).unwrap();
    server.begin(Some(client.initial().unwrap().expose()));
    let challenge = text(server.answer(Answer::Keys(keys())));
    let step = server.step(client.step(challenge.as_bytes()).unwrap().expose());
    assert!(matches!(step, Step::Failed(Failure::Binding(_))));
}

#[test]
fn the_end_point_binds_too() {
    let bindings = Bindings { exporter: None, end_point: Some(vec![8; 32]) };
    let mechanism = Mechanism::ScramSha256Plus;
    let mut server = Exchange::start(mechanism, setup(tls())).unwrap();
    let mut client =
        ClientExchange::start(mechanism, Credentials::new("user", "pencil"), &bindings, &[3; 18]).unwrap();
    server.begin(Some(client.initial().unwrap().expose()));
    let challenge = text(server.answer(Answer::Keys(keys())));
    let step = server.step(client.step(challenge.as_bytes()).unwrap().expose());
    assert!(matches!(step, Step::Ask(Question::Authorize { .. })));
}

#[test]
fn the_client_checks_the_server() {
    let start = || {
        let user = Credentials::new("user", "pencil");
        let mut client =
            ClientExchange::start(Mechanism::ScramSha256, user, &Bindings::default(), &[3; 18]).unwrap();
        client.initial();
        client
    };
    let nonce = STANDARD.encode([3; 18]);
    let first = |nonce: &str, rounds: &str| format!("r={nonce},s=c2FsdA==,i={rounds}");
    for bad in [
        first("stolen", "4096"),
        first(&nonce, "4096"),
        first(&format!("{nonce}x"), "4095"),
        first(&format!("{nonce}x"), "4000000000"),
        first(&format!("{nonce}x"), "-1"),
        "e=other-error".into(),
        String::new(),
    ] {
        assert!(matches!(start().step(bad.as_bytes()), Err(ClientError::Malformed(_))), "{bad}");
    }
    let good = first(&format!("{nonce}x"), "4096");
    for (last, error) in [
        ("v=AAAA", ClientError::ServerNotProved),
        ("e=invalid-proof", ClientError::Refused("invalid-proof".into())),
        ("x", ClientError::Malformed("no verifier")),
    ] {
        let mut client = start();
        client.step(good.as_bytes()).unwrap();
        assert!(!client.finished());
        assert_eq!(client.step(last.as_bytes()), Err(error));
        assert!(!client.finished());
        assert_eq!(client.step(b""), Err(ClientError::OutOfTurn));
    }
}

#[test]
fn calls_out_of_turn_end_the_exchange() {
    let mut server = Exchange::start(Mechanism::ScramSha256, setup(tls())).unwrap();
    assert!(matches!(server.step(b"x"), Step::Failed(Failure::Malformed(_))));
    assert!(matches!(server.begin(None), Step::Failed(Failure::Malformed(_))));
    let mut server = Exchange::start(Mechanism::Plain, setup(tls())).unwrap();
    server.begin(Some(b"\0a\0b"));
    assert!(matches!(server.step(b"x"), Step::Failed(Failure::Malformed(_))));
    assert!(matches!(server.answer(Answer::Accepted(identity())), Step::Failed(_)));
    let mut server = Exchange::start(Mechanism::Plain, setup(tls())).unwrap();
    server.begin(None);
    assert!(matches!(server.step(&vec![b'a'; 1 << 20]), Step::Failed(Failure::Malformed(_))));
}

/// An older hash keeps working for keys that were made with it, once a mechanism offers it.
#[test]
fn keys_of_another_hash_are_not_mixed_up() {
    use crate::exchange::ServerMechanism;
    let mut server = ScramServer::new(Hash::Sha1, false, setup(Bindings::default()));
    server.begin(Some(b"n,,n=user,r=abc"));
    assert!(matches!(server.answer(Answer::Keys(keys())), Step::Failed(Failure::Unavailable(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz_one(&data);
    }

    #[test]
    fn nearly_scram_never_panics(
        choice in any::<u8>(),
        lines in proptest::collection::vec("(n,,|y,,|p=tls-exporter,,|c=biws,)?(n=[a=,]{0,3},)?r=[a-z]{0,3}(,p=[A=]{0,4})?", 0..4),
    ) {
        let mut data = vec![choice];
        data.extend_from_slice(lines.join("\n").as_bytes());
        crate::fuzz_one(&data);
    }

}

proptest! {
    // PBKDF2 is slow in a debug build.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_credentials_sign_in(user in "\\PC{1,20}", password in "\\PC{1,20}") {
        let prepared = crate::prep::password(&password);
        prop_assume!(!prepared.is_empty() && !crate::prep::name(&user).is_empty());
        let keys = ScramKeys::derive(&password, b"salt", ROUNDS);
        let step = converse(
            Mechanism::ScramSha256Plus,
            Credentials::new(&user, &password),
            Answer::Keys(keys),
            Answer::Accepted(identity()),
        );
        prop_assert_eq!(step, Step::Done(identity()));
    }
}
