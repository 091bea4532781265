//! Small readings that several judges need: addresses of one's own network, names in certificates, tags of records.

use std::net::IpAddr;

/// Not reachable from elsewhere: loopback, private, link-local.
pub fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            let first = v6.segments().first().copied().unwrap_or(0);
            v6.is_loopback() || v6.is_unspecified() || first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFE80
        }
    }
}

/// Of the wire alone: nothing that a name may lead to. Clouds keep what their machines know about themselves there
/// (169.254.169.254, fd00:ec2::254).
pub fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            let first = segments.first().copied().unwrap_or(0);
            first & 0xFFC0 == 0xFE80
                || v6.is_unspecified()
                || v6.is_multicast()
                || segments.starts_with(&[0xFD00, 0xEC2])
        }
    }
}

/// Whether a name of a certificate (perhaps `*.example.org`) is for this host or address.
pub fn covers(pattern: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if let (Ok(a), Ok(b)) = (pattern.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return a.to_canonical() == b.to_canonical();
    }
    match pattern.strip_prefix("*.") {
        // One label, and never an address.
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(label, tail)| !label.is_empty() && tail.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// `v=STSv1; id=20260101` as pairs, names in lower case, in their order. Empty parts are left out.
pub fn tags(record: &str) -> Vec<(String, String)> {
    let part = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    record.split(';').filter_map(part).collect()
}

pub fn tag<'a>(tags: &'a [(String, String)], name: &str) -> Option<&'a str> {
    tags.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// A host name with at least two labels, none of them empty.
pub fn is_full_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let label =
        |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    name.contains('.') && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}

/// At most this much of what the other side said.
pub fn said(lines: &[String]) -> String {
    let mut text = lines.join(" / ");
    if text.chars().count() > 300 {
        text = text.chars().take(300).collect::<String>() + "…";
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_certificates() {
        for (pattern, host, fits) in [
            ("mail.example.org", "MAIL.example.org.", true),
            ("*.example.org", "mail.example.org", true),
            ("*.example.org", "a.mail.example.org", false),
            ("*.example.org", "example.org", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("example.org", "mail.example.org", false),
        ] {
            assert_eq!(covers(pattern, host), fits, "{pattern} {host}");
        }
        assert!(is_inside("10.0.0.1".parse().unwrap()) && is_inside("fd00::1".parse().unwrap()));
        assert!(!is_inside("192.0.2.1".parse().unwrap()) && !is_inside("2001:db8::1".parse().unwrap()));
        let local = |text: &str| is_link_local(text.parse().unwrap());
        assert!(
            local("169.254.169.254")
                && local("fd00:ec2::254")
                && local("fe80::1")
                && local("::ffff:169.254.1.1")
        );
        assert!(!local("10.0.0.1") && !local("127.0.0.1") && !local("2001:db8::1"));
        assert!(is_full_name("mx.example.org") && !is_full_name("localhost") && !is_full_name("10.0.0.1"));
    }
}
