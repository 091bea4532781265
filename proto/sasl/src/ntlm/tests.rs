//! The examples of MS-NLMP §4.2, whole conversations, and what must be refused.

use super::client::{self, Client};
use super::*;
use crate::binding::Bindings;
use crate::exchange::{Exchange, Identity};
use crate::mechanism::Mechanism;
use proptest::prelude::*;
use waypost_base::{AccountId, Timestamp};

fn setup(protection: Protection, end_point: Option<&[u8]>) -> Setup {
    let bindings = Bindings { exporter: None, end_point: end_point.map(<[u8]>::to_vec) };
    let mut setup = Setup::new(bindings, [0x5a; 18], [2; 32]);
    setup.protection = protection;
    setup.host = "mail.contoso.test".into();
    setup.now = Timestamp(1_700_000_000_000);
    setup
}

fn user(password: &str) -> Client<'static> {
    Client {
        user: "Adele",
        domain: "contoso.test",
        password: Secret::from(password),
        end_point: None,
        mic: true,
        nonce: [7; 8],
    }
}

fn identity() -> Identity {
    Identity { account: AccountId(7), address: "adele@contoso.test".into(), by: None }
}

/// A conversation in which the directory keeps the hash of `Password`.
fn converse(setup: Setup, client: &Client<'_>, tamper: impl FnOnce(&mut Vec<u8>)) -> Step {
    let mut server = Exchange::start(Mechanism::Ntlm, setup).unwrap();
    let negotiate = client::negotiate();
    let Step::Challenge(challenge) = server.begin(Some(&negotiate)) else { panic!() };
    let mut message = client::respond(client, &negotiate, &challenge).unwrap();
    tamper(&mut message);
    let mut step = server.step(&message);
    let hash = nt_hash(&Secret::from("Password"));
    loop {
        step = match step {
            Step::Ask(Question::Ntlm(ask)) => {
                assert_eq!(ask.name(), "Adele@contoso.test");
                server.answer(verify(&hash, &ask).map_or(Answer::Wrong, Answer::Ntlm))
            }
            Step::Ask(Question::Authorize { authzid: None, authcid }) => {
                assert_eq!(authcid, "Adele@contoso.test");
                server.answer(Answer::Accepted(identity()))
            }
            end => return end,
        };
    }
}

/// MS-NLMP §4.2.2.1.2 (the hash) and §4.2.4 (the response, with the pairs of §4.2.4).
#[test]
fn examples_of_the_specification() {
    let hash = nt_hash(&Secret::from("Password"));
    assert_eq!(hash.expose(), 0xa4f4_9c40_6510_bdca_b682_4ee7_c30f_d852_u128.to_be_bytes());
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&[0xaa; 8]);
    blob.extend_from_slice(&[0; 4]);
    for (kind, name) in [(2u16, "Domain"), (1, "Server")] {
        let name = message::utf16(name);
        blob.extend_from_slice(&kind.to_le_bytes());
        blob.extend_from_slice(&(name.len() as u16).to_le_bytes());
        blob.extend_from_slice(&name);
    }
    blob.extend_from_slice(&[0; 8]);
    let ask = NtlmAsk {
        user: "User".into(),
        domain: "Domain".into(),
        challenge: 0x0123_4567_89ab_cdef_u64.to_be_bytes(),
        proof: 0x68cd_0ab8_51e5_1c96_aabc_927b_ebef_6a1c_u128.to_be_bytes(),
        blob,
    };
    let key = verify(&hash, &ask).unwrap();
    assert_eq!(key.expose(), 0x8de4_0cca_dbc1_4a82_f15c_b0ad_0de9_5ca3_u128.to_be_bytes());
    assert_eq!(verify(&hash, &NtlmAsk { domain: "Other".into(), ..ask }), None);
}

#[test]
fn signs_in_and_refuses() {
    let open = || setup(Protection::None, None);
    assert_eq!(converse(open(), &user("Password"), |_| ()), Step::Done(identity()));
    assert_eq!(converse(open(), &user("password"), |_| ()), Step::Failed(Failure::Wrong));
    let without = Client { mic: false, ..user("Password") };
    assert_eq!(converse(open(), &without, |_| ()), Step::Done(identity()));
    let altered = converse(open(), &user("Password"), |m| m[72] ^= 1);
    assert!(matches!(altered, Step::Failed(Failure::Binding(_))), "{altered:?}");
}

#[test]
fn channel_bindings_by_policy() {
    let (here, there) = ([7; 32], [8; 32]);
    let bound = |to: &'static [u8]| Client { end_point: Some(to), ..user("Password") };
    let here_client = bound(&[7; 32]);
    let there_client = bound(&[8; 32]);
    for (protection, client, good) in [
        (Protection::None, &there_client, true),
        (Protection::Allow, &here_client, true),
        (Protection::Allow, &there_client, false),
        (Protection::Allow, &user("Password"), true),
        (Protection::Require, &here_client, true),
        (Protection::Require, &there_client, false),
        (Protection::Require, &user("Password"), false),
    ] {
        let step = converse(setup(protection, Some(&here)), client, |_| ());
        match good {
            true => assert_eq!(step, Step::Done(identity())),
            false => assert!(matches!(step, Step::Failed(Failure::Binding(_))), "{protection:?} {step:?}"),
        }
    }
    assert_ne!(channel_hash(&here), channel_hash(&there));
}

#[test]
fn version_1_is_never_taken() {
    let mut server = Ntlm::new(setup(Protection::None, None));
    let negotiate = client::negotiate();
    let Step::Challenge(challenge) = server.begin(Some(&negotiate)) else { panic!() };
    let mut message = client::respond(&user("Password"), &negotiate, &challenge).unwrap();
    // The length of the response: 24 octets are one of version 1.
    message[20] = 24;
    message[21] = 0;
    assert!(matches!(server.step(&message), Step::Failed(Failure::NotAllowed(Why::Other(_)))));
}

#[test]
fn an_empty_beginning_is_answered_by_an_empty_challenge() {
    let mut server = Ntlm::new(setup(Protection::None, None));
    assert_eq!(server.begin(None), Step::Challenge(vec![]));
    assert!(
        matches!(server.step(&client::negotiate()), Step::Challenge(c) if c.starts_with(b"NTLMSSP\0\x02"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn altered_messages_never_panic(at in 0usize..300, byte in any::<u8>(), cut in 0usize..400) {
        let mut server = Ntlm::new(setup(Protection::Allow, Some(&[7; 32])));
        let negotiate = client::negotiate();
        let Step::Challenge(challenge) = server.begin(Some(&negotiate)) else { panic!() };
        let mut message = client::respond(&user("Password"), &negotiate, &challenge).unwrap();
        message.truncate(cut.max(8));
        if let Some(place) = message.get_mut(at) {
            *place = byte;
        }
        if let Step::Ask(_) = server.step(&message) {
            server.answer(Answer::Ntlm(Secret::new(vec![0; 16])));
        }
    }
}
