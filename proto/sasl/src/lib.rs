//! Who is there? The mechanisms of SASL (RFC 4422), both sides, without IO.
//!
//! A protocol session makes an [`Exchange`], feeds it what the client sent, and does what each [`Step`] says: send a
//! challenge, or take a [`Question`] to the directory and bring back the [`Answer`]. Three kinds of failure are kept
//! apart from the first byte to the last: the credentials are wrong, the sign-in is not allowed, and we could not tell
//! ([`Failure`]).
//!
//! PLAIN (RFC 4616), LOGIN, SCRAM over SHA-256 and SHA-1, each also as -PLUS (RFC 5802, RFC 7677) with the channel bindings
//! `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929 §4), EXTERNAL (RFC 4422), OAUTHBEARER (RFC 7628),
//! XOAUTH2, GSSAPI (RFC 4752), GSS-SPNEGO and NTLM (version 2). What needs a library, a provider or a secret of the user's is a
//! question too ([`GssAsk`], [`NtlmAsk`], [`Question::Token`]); all questions and answers are plain values.
//!
//! Absent on purpose: CRAM-MD5 and DIGEST-MD5 (they need the password itself, or MD5, on the server), `tls-unique`
//! (not defined for TLS 1.3), and the extensions of SCRAM, of which there are none registered.

mod bearer;
mod binding;
mod client;
mod exchange;
mod external;
mod fuzz;
mod gss;
pub mod limits;
mod login;
mod mechanism;
pub mod ntlm;
mod plain;
pub mod prep;
mod scram;
mod secret;
pub mod wire;

pub use binding::{BindingType, Bindings};
pub use client::{ClientError, ClientExchange, Credentials};
pub use exchange::{
    Answer, ContextId, Exchange, Failure, GssAsk, GssDone, GssReply, Identity, NotOffered, NtlmAsk, OpenId,
    Protection, Question, ServerMechanism, Setup, Step, Why,
};
pub use fuzz::fuzz_one;
pub use mechanism::{Abilities, Facts, Mechanism, Needs};
pub use scram::{Hash, KeysError, Salted, ScramKeys};
pub use secret::Secret;
