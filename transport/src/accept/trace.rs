//! What is put before a message: Return-Path and Received (RFC 5321 §4.4), and what a submitted one lacks (RFC 6409
//! §8).

use std::fmt::Write;
use std::net::IpAddr;
use waypost_base::Timestamp;
use waypost_smtp::Mailbox;
use waypost_trust::channel::TlsFacts;

/// Everything that the Received field says.
pub(super) struct Trace<'a> {
    pub(super) helo: &'a str,
    pub(super) extended: bool,
    pub(super) lmtp: bool,
    pub(super) utf8: bool,
    pub(super) signed_in: bool,
    pub(super) peer: IpAddr,
    pub(super) host: &'a str,
    pub(super) tls: Option<&'a TlsFacts>,
    pub(super) id: &'a str,
    /// Only where there is a single recipient, so that nobody learns of the others (RFC 5321 §7.2).
    pub(super) recipient: Option<&'a Mailbox>,
    pub(super) from: Option<&'a Mailbox>,
    pub(super) at: Timestamp,
}

impl Trace<'_> {
    /// The kind of transmission: the registry of RFC 3848 and RFC 6531 §4.3.
    fn with(&self) -> &'static str {
        let kinds = match (self.lmtp, self.utf8, self.extended) {
            (true, false, _) => ["LMTP", "LMTPA", "LMTPS", "LMTPSA"],
            (true, true, _) => ["UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"],
            (false, true, _) => ["UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"],
            (false, false, true) => ["ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"],
            (false, false, false) => return "SMTP",
        };
        let [plain, auth, tls, both] = kinds;
        match (self.signed_in, self.tls.is_some()) {
            (false, false) => plain,
            (true, false) => auth,
            (false, true) => tls,
            (true, true) => both,
        }
    }

    /// Return-Path and Received, folded, with their line ends.
    pub(super) fn render(&self) -> String {
        let mut out = String::with_capacity(320);
        match self.from {
            Some(from) => {
                let _ = write!(out, "Return-Path: <{from}>\r\n");
            }
            None => out.push_str("Return-Path: <>\r\n"),
        }
        out.push_str("Received: from ");
        self.name(&mut out);
        match self.peer.to_canonical() {
            // A server of ours, of which only its name matters.
            peer if peer.is_unspecified() => {}
            IpAddr::V4(v4) => {
                let _ = write!(out, " ([{v4}])");
            }
            IpAddr::V6(v6) => {
                let _ = write!(out, " ([IPv6:{v6}])");
            }
        }
        let _ = write!(out, "\r\n\tby {} with {} id {}", self.host, self.with(), self.id);
        if let Some(to) = self.recipient {
            let _ = write!(out, "\r\n\tfor <{to}>");
        }
        if let Some(tls) = self.tls {
            // The clause of RFC 8314 §4.3.
            let _ = write!(out, "\r\n\ttls {} ({})", tls.cipher, tls.version);
        }
        let _ = write!(out, ";\r\n\t{}\r\n", self.at.civil().rfc5322());
        out
    }

    /// What the peer called itself, so that it cannot break the field's grammar.
    fn name(&self, out: &mut String) {
        for c in self.helo.chars() {
            let fits =
                c.is_ascii_alphanumeric() || ".-_[]:".contains(c) || (self.utf8 && c.is_alphanumeric());
            out.push(if fits { c } else { '?' });
        }
    }
}

/// The fields that a submitted message must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) date: bool,
    pub(super) message_id: bool,
    pub(super) from: bool,
    /// There is a header at all.
    pub(super) header: bool,
}

/// Looks through a header, which ends with a blank line or with the message.
pub(super) fn present(header: &[u8]) -> Present {
    let mut found = Present::default();
    for (number, line) in header.split(|b| *b == b'\n').enumerate() {
        let name =
            memchr::memchr(b':', line).and_then(|at| line.get(..at)).unwrap_or_default().trim_ascii_end();
        let is_field = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        if number == 0 {
            found.header = is_field || line.trim_ascii_end().is_empty();
            if !found.header {
                return found;
            }
        }
        found.date |= name.eq_ignore_ascii_case(b"date");
        found.message_id |= name.eq_ignore_ascii_case(b"message-id");
        found.from |= name.eq_ignore_ascii_case(b"from");
    }
    found
}

/// What has to be put before the message because it lacks it.
/// `behalf`: who is named as Sender.
pub(super) fn additions(
    present: Present,
    behalf: Option<&str>,
    sender: &str,
    id: &str,
    host: &str,
    at: Timestamp,
) -> String {
    let mut out = String::new();
    if let Some(behalf) = behalf {
        let _ = write!(out, "Sender: <{behalf}>\r\n");
    }
    if !present.from {
        let _ = write!(out, "From: <{sender}>\r\n");
    }
    if !present.date {
        let _ = write!(out, "Date: {}\r\n", at.civil().rfc5322());
    }
    if !present.message_id {
        let _ = write!(out, "Message-ID: <{id}@{host}>\r\n");
    }
    if !present.header {
        // The message began with its text.
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace<'a>() -> Trace<'a> {
        Trace {
            helo: "there.example",
            extended: true,
            lmtp: false,
            utf8: false,
            signed_in: false,
            peer: IpAddr::from([192, 0, 2, 1]),
            host: "mx.test",
            tls: None,
            id: "00000000000000A1-1",
            recipient: None,
            from: None,
            at: Timestamp(1_772_525_720_114),
        }
    }

    #[test]
    fn received() {
        assert_eq!(
            trace().render(),
            "Return-Path: <>\r\n\
             Received: from there.example ([192.0.2.1])\r\n\
             \tby mx.test with ESMTP id 00000000000000A1-1;\r\n\
             \tTue, 3 Mar 2026 08:15:20 +0000\r\n"
        );
        let tls = TlsFacts {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            server_name: None,
            exporter: None,
            end_point: None,
            client: None,
        };
        let (from, to) = (Mailbox::new("a b", "x.example"), Mailbox::new("ann", "mx.test"));
        let full = Trace {
            helo: "(evil); x\"",
            signed_in: true,
            tls: Some(&tls),
            peer: "::ffff:192.0.2.9".parse().unwrap(),
            recipient: Some(&to),
            from: Some(&from),
            ..trace()
        };
        assert_eq!(
            full.render(),
            "Return-Path: <\"a b\"@x.example>\r\n\
             Received: from ?evil???x? ([192.0.2.9])\r\n\
             \tby mx.test with ESMTPSA id 00000000000000A1-1\r\n\
             \tfor <ann@mx.test>\r\n\
             \ttls TLS_AES_256_GCM_SHA384 (TLSv1.3);\r\n\
             \tTue, 3 Mar 2026 08:15:20 +0000\r\n"
        );
        assert_eq!(Trace { lmtp: true, ..trace() }.with(), "LMTP");
        assert_eq!(Trace { lmtp: true, utf8: true, ..trace() }.with(), "UTF8LMTP");
        assert_eq!(Trace { utf8: true, signed_in: true, ..trace() }.with(), "UTF8SMTPA");
        assert_eq!(Trace { extended: false, ..trace() }.with(), "SMTP");
    }

    #[test]
    fn what_is_missing() {
        let all = present(b"From: a@b\r\nDATE: x\r\nMessage-Id: <x>\r\n\r\n");
        assert_eq!(all, Present { date: true, message_id: true, from: true, header: true });
        assert_eq!(additions(all, None, "a@b", "x", "h", Timestamp(0)), "");
        let none = present(b"hello there: friend\r\n");
        assert_eq!(none, Present::default());
        assert_eq!(
            additions(none, None, "a@b", "x", "h", Timestamp(0)),
            "From: <a@b>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <x@h>\r\n\r\n"
        );
        assert!(present(b"\r\n").header);
        assert!(!present(b"Subject: x\r\n Date: folded\r\n").date);
    }
}
