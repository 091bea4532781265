//! Kerberos: what tickets and keytabs say, and the GSS-API of the system's library where there is one.
//!
//! Two halves. The facts ([`token`], [`keytab`], [`ccache`], [`inside`]) are plain Rust and always there: they read what is
//! in clear, try keys, and let [`judge`] name what is wrong by a [`cause`]. The exchange itself ([`gss`]) is that of MIT's
//! library, loaded at run time; a server without it runs, and says `KRB-NO-LIBRARY` when Kerberos is asked for.
//!
//! Everything that a stranger sends is bounded by [`limits`]. Keys are never shown, logged or kept longer than a look.

mod aes;
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
mod rc4;
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

#[cfg(test)]
mod tests {
    /// What the KDC and the library of MIT wrote, with each octet changed in turn, and cut at each place.
    #[test]
    fn nothing_that_is_damaged_hurts() {
        type Try<'a> = (&'a [u8], fn(&[u8]));
        let tries: [Try<'_>; 4] = [
            (include_bytes!("../../../fuzz/corpus/kerberos_token/seed-0"), super::fuzz_token),
            (include_bytes!("../../../fuzz/corpus/kerberos_token/seed-1"), super::fuzz_token),
            (include_bytes!("../../../fuzz/corpus/keytab/seed-0"), super::fuzz_keytab),
            (include_bytes!("../../../fuzz/corpus/ccache/seed-0"), super::fuzz_ccache),
        ];
        for (seed, read) in tries {
            read(seed);
            for at in 0..seed.len() {
                read(&seed[..at]);
                for change in [0x01, 0x7f, 0x80, 0xff] {
                    let mut damaged = seed.to_vec();
                    damaged[at] ^= change;
                    read(&damaged);
                }
            }
        }
    }

    /// Tickets of five services, each with keys of one type, and their keys.
    #[test]
    fn what_mit_wrote_is_read_and_opened() {
        let keytab = super::keytab::parse(include_bytes!("../../../fuzz/corpus/keytab/seed-0")).unwrap();
        let tokens: [&[u8]; 6] = [
            include_bytes!("../../../fuzz/corpus/kerberos_token/seed-0"),
            include_bytes!("../../../fuzz/corpus/kerberos_token/seed-1"),
            include_bytes!("../../../fuzz/corpus/kerberos_token/seed-2"),
            include_bytes!("../../../fuzz/corpus/kerberos_token/seed-3"),
            include_bytes!("../../../fuzz/corpus/kerberos_token/seed-4"),
            include_bytes!("../../../fuzz/corpus/kerberos_token/seed-5"),
        ];
        let mut seen = Vec::new();
        for token in tokens {
            let Ok(super::token::Token::Request(request)) = super::token::read(token) else { panic!() };
            let key = keytab.of(&request.ticket.server).next().unwrap();
            let name = format!("smtp/{}@SEED.TEST", request.ticket.sealed.enctype);
            assert_eq!(request.ticket.server.to_string(), name);
            assert_eq!(super::inside::try_key(key, &request), super::KeyTest::Opens, "{name}");
            let inside = super::inside::look(key, &request).unwrap();
            assert_eq!(inside.client.to_string(), "a@SEED.TEST");
            let made = inside.made.expect("the session key opens the authenticator");
            assert!(made >= inside.start && made < inside.end);
            let other = keytab.entries.iter().find(|e| e.principal != key.principal).unwrap();
            assert_eq!(super::inside::try_key(other, &request), super::KeyTest::Mismatch);
            seen.push(name);
        }
        seen.dedup();
        assert_eq!(seen.len(), 5);
        let cache = super::ccache::parse(include_bytes!("../../../fuzz/corpus/ccache/seed-0")).unwrap();
        assert_eq!(cache.credentials.iter().filter(|c| c.kvno == Some(1)).count(), 6, "{cache:?}");
    }
}
