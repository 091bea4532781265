//! Bounds of values. Each says what would do, after the name of the field: "must be 1 to 100".
#![allow(clippy::ptr_arg, reason = "checks are called with a reference to the field's own type")]

use super::value::{Bytes, Span};

/// Text that goes into one line of a protocol.
/// Names of mechanisms of SASL.
pub(super) fn sasl_names(list: &Vec<String>) -> Result<(), String> {
    match list.iter().find(|name| waypost_sasl::Mechanism::parse(name.as_bytes()).is_none()) {
        Some(bad) => {
            let known: Vec<&str> = waypost_sasl::Mechanism::ALL.iter().map(|m| m.name()).collect();
            Err(format!("has {bad:?}, which is not one of {}", known.join(", ")))
        }
        None => Ok(()),
    }
}

pub(super) fn line(text: &String) -> Result<(), String> {
    if text.len() > 400 || text.chars().any(char::is_control) {
        return Err("must be one line of at most 400 bytes".into());
    }
    Ok(())
}

pub(super) fn label(text: &String) -> Result<(), String> {
    waypost_trust::ServerId::parse(text).map(drop).map_err(|_| "1 to 40 letters, digits and hyphens".into())
}

pub(super) fn host(text: &String) -> Result<(), String> {
    match waypost_directory::address::canonical_domain(text) {
        Ok(_) => Ok(()),
        Err(_) => Err("is not a host name".into()),
    }
}

pub(super) fn host_or_empty(text: &String) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { host(&text.trim_start_matches("*.").to_owned()) }
}

pub(super) fn at_least_1(n: &u32) -> Result<(), String> {
    if *n >= 1 { Ok(()) } else { Err("must be at least 1".into()) }
}

pub(super) fn at_least_64_kb(n: &Bytes) -> Result<(), String> {
    // RFC 5321 §4.5.3.1.7: 64K octets is the least that a server must take.
    if (65_536..=256 << 20).contains(&n.0) { Ok(()) } else { Err("must be 64 KB to 256 MB".into()) }
}

pub(super) fn separator(text: &String) -> Result<(), String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (None, _) => Ok(()),
        (Some(c), None) if "+-_.=#%".contains(c) => Ok(()),
        _ => Err("must be one of + - _ . = # % or empty".into()),
    }
}

pub(super) fn connection_settings(list: &Vec<String>) -> Result<(), String> {
    for text in list {
        let mut parts = text.split(':');
        let sound = parts.next().is_some_and(|h| host(&h.to_owned()).is_ok())
            && parts.next().is_some_and(|p| p.parse::<u16>().is_ok())
            && parts.next().is_none_or(|t| t.eq_ignore_ascii_case("ssl") || t.eq_ignore_ascii_case("tls"))
            && parts.next().is_none();
        if !sound {
            return Err(format!("{text:?} is not HOST:PORT, HOST:PORT:SSL or HOST:PORT:TLS"));
        }
    }
    Ok(())
}

macro_rules! bounds {
    ($($name:ident: $ty:ty, $from:expr, $what:expr;)*) => { $(
        /// Reports a value outside its bounds.
        pub(super) fn $name(low: u64, high: u64, n: &$ty) -> Result<(), String> {
            let value: u64 = ($from)(*n);
            if (low..=high).contains(&value) { Ok(()) } else { Err(format!($what, low = low, high = high)) }
        }
    )* };
}
bounds! {
    number_in: u32, u64::from, "must be {low} to {high}";
    span_in: Span, |s: Span| s.0 / 1000, "must be {low} to {high} seconds";
}

pub(super) fn at_most_1000<T>(list: &Vec<T>) -> Result<(), String> {
    if list.len() <= 1_000 { Ok(()) } else { Err("has more than 1000 items".into()) }
}

pub(super) fn ip_or_empty(text: &String) -> Result<(), String> {
    let sound = text.is_empty() || text.parse::<std::net::IpAddr>().is_ok();
    if sound { Ok(()) } else { Err("is not an IP address".into()) }
}

pub(super) fn address_or_empty(text: &String) -> Result<(), String> {
    let sound = text.is_empty() || waypost_directory::Address::parse(text).is_ok();
    if sound { Ok(()) } else { Err("is not an address".into()) }
}

pub(super) fn tracing_sender(text: &String) -> Result<(), String> {
    if text == "<>" { Ok(()) } else { address_or_empty(text) }
}

pub(super) fn hosts(list: &Vec<String>) -> Result<(), String> {
    at_most_1000(list)?;
    match list.iter().find(|name| host(name).is_err()) {
        Some(bad) => Err(format!("has {bad:?}, which is not a host name")),
        None => Ok(()),
    }
}

pub(super) fn name_servers(list: &Vec<String>) -> Result<(), String> {
    if list.len() > 16 {
        return Err("has more than 16 servers".into());
    }
    let sound = |text: &&String| {
        text.parse::<std::net::IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
    };
    match list.iter().find(|text| !sound(text)) {
        Some(bad) => Err(format!("has {bad:?}, which is neither an IP address nor one with a port")),
        None => Ok(()),
    }
}

pub(super) fn time_or_empty(text: &String) -> Result<(), String> {
    let sound = text.is_empty() || super::time::parse_time(text).is_some();
    if sound { Ok(()) } else { Err("is not a time such as \"2026-03-03T18:00:00Z\"".into()) }
}

pub(super) fn thumbprints(list: &Vec<String>) -> Result<(), String> {
    if list.len() > 100 {
        return Err("has more than 100 certificates".into());
    }
    match list.iter().find(|t| waypost_trust::public::store::thumbprint(t).as_ref() != Some(t)) {
        Some(bad) => Err(format!("has {bad:?}, which is not a thumbprint (40 characters of 0-9 and A-F)")),
        None => Ok(()),
    }
}

pub(super) fn public_services(list: &Vec<String>) -> Result<(), String> {
    match list.iter().find(|s| waypost_trust::public::PublicService::parse(s).is_none()) {
        Some(bad) => Err(format!("has {bad:?}, which is none of imap, pop, smtp, web")),
        None => Ok(()),
    }
}

pub(super) fn acme_directory(text: &String) -> Result<(), String> {
    line(text)?;
    // RFC 8555 §6.1: nothing goes without TLS.
    if text.starts_with("https://") { Ok(()) } else { Err("must begin with https://".into()) }
}
