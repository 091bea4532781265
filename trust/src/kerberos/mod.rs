//! Kerberos: what tickets and keytabs say, and the GSS-API of the system's library where there is one.
//!
//! Two halves. The facts ([`token`], [`keytab`], [`ccache`], [`inside`]) are plain Rust and always there: they read what is
//! in clear, try keys, and let [`judge`] name what is wrong by a [`cause`]. The exchange itself ([`gss`]) is that of MIT's
//! library, loaded at run time; a server without it runs, and says `KRB-NO-LIBRARY` when Kerberos is asked for.
//!
//! Everything that a stranger sends is bounded by [`limits`]. Keys are never shown, logged or kept longer than a look.

mod bytes;
pub mod cause;
pub mod ccache;
mod crypto;
mod der;
pub mod gss;
pub mod inside;
pub mod judge;
pub mod keytab;
mod leg;
pub mod limits;
mod name;
pub mod token;

pub use crypto::KeyTest;
pub use name::{Enctype, Principal};

/// For the fuzzer: whatever comes, no panic.
pub fn fuzz_token(data: &[u8]) {
    if let Ok(token::Token::Request(request)) = token::read(data) {
        let _ = request.ticket.server.to_string();
    }
    let _ = token::ticket(data);
}

/// For the fuzzer: whatever comes, no panic.
pub fn fuzz_keytab(data: &[u8]) {
    if let Ok(keytab) = keytab::parse(data) {
        let _ = format!("{keytab:?}");
    }
}

/// For the fuzzer: whatever comes, no panic.
pub fn fuzz_ccache(data: &[u8]) {
    if let Ok(cache) = ccache::parse(data) {
        let _ = format!("{cache:?}");
    }
}
