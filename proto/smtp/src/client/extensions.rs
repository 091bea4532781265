//! What a server says it can do: the keywords of an EHLO or LHLO reply (RFC 5321 §4.1.1.1).

use super::limits;

/// Known keywords; others are skipped, for they change nothing until they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// First word of the reply: how the server calls itself. At most 255 octets.
    pub name: String,
    /// The answer was to EHLO or LHLO.
    pub extended: bool,
    /// RFC 1870. `Some(0)`: offered, without a limit that is told.
    pub size: Option<u64>,
    pub eight_bit: bool,
    pub pipelining: bool,
    pub chunking: bool,
    pub binary: bool,
    pub utf8: bool,
    pub dsn: bool,
    pub starttls: bool,
    pub enhanced_status: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// A server of ours, which knows us for one too.
    pub inner: bool,
    /// Upper-case mechanism names.
    pub auth: Vec<String>,
    /// RFC 9422: messages of a connection, recipients of a message, domains among them.
    pub mail_max: Option<u32>,
    pub rcpt_max: Option<u32>,
    pub rcpt_domain_max: Option<u32>,
}

impl Extensions {
    /// Reads the lines of a 250 reply, without the code.
    pub(crate) fn parse(text: &str, extended: bool) -> Extensions {
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        let name = first.split_ascii_whitespace().next().unwrap_or_default();
        let mut found =
            Extensions { name: name.chars().take(255).collect(), extended, ..Extensions::default() };
        if extended {
            lines.for_each(|line| found.keyword(line));
        }
        found
    }

    fn keyword(&mut self, line: &str) {
        // `AUTH=PLAIN` is how servers spoke to clients of the last century; some still do, beside `AUTH PLAIN`.
        let mut words = line.split([' ', '\t', '=']).filter(|w| !w.is_empty());
        let Some(key) = words.next() else { return };
        match key.to_ascii_uppercase().as_str() {
            "SIZE" => self.size = Some(words.next().and_then(|w| w.parse().ok()).unwrap_or(0)),
            "8BITMIME" => self.eight_bit = true,
            "PIPELINING" => self.pipelining = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binary = true,
            "SMTPUTF8" => self.utf8 = true,
            "DSN" => self.dsn = true,
            "STARTTLS" => self.starttls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status = true,
            "REQUIRETLS" => self.require_tls = true,
            "XWAYPOST" => self.inner = true,
            "AUTH" => {
                for word in words.map(str::to_ascii_uppercase) {
                    if self.auth.len() < limits::MECHANISMS && !self.auth.contains(&word) {
                        self.auth.push(word);
                    }
                }
            }
            "LIMITS" => self.limits(line),
            _ => {}
        }
    }

    fn limits(&mut self, line: &str) {
        for word in line.split_ascii_whitespace().skip(1) {
            let Some((key, value)) = word.split_once('=') else { continue };
            // 0 would mean that nothing can be sent at all, and is not in the grammar (RFC 9422 §4).
            let value = value.parse().ok().filter(|n| *n > 0);
            match key.to_ascii_uppercase().as_str() {
                "MAILMAX" => self.mail_max = value,
                "RCPTMAX" => self.rcpt_max = value,
                "RCPTDOMAINMAX" => self.rcpt_domain_max = value,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords() {
        let found = Extensions::parse(
            "mx.example.net at your service\nsize 1000\n8bitmime\nPIPELINING\nAUTH LOGIN plain\nAUTH=PLAIN\nX-ODD 1 2\n\n\
             LIMITS MAILMAX=10 RCPTMAX=0 rcptdomainmax=1 X=2\nSIZEX",
            true,
        );
        assert_eq!(
            found,
            Extensions {
                name: "mx.example.net".into(),
                extended: true,
                size: Some(1000),
                eight_bit: true,
                pipelining: true,
                auth: vec!["LOGIN".into(), "PLAIN".into()],
                mail_max: Some(10),
                rcpt_domain_max: Some(1),
                ..Extensions::default()
            }
        );
        assert_eq!(Extensions::parse("x\nSIZE", true).size, Some(0));
        assert_eq!(Extensions::parse("x\nSIZE 99999999999999999999999", true).size, Some(0));
        let plain = Extensions::parse("old.example.net\nSIZE 5", false);
        assert_eq!((plain.name.as_str(), plain.size), ("old.example.net", None));
        assert_eq!(Extensions::parse("", true).name, "");
    }
}
