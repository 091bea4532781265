//! XWHY: a signed-in user asks what became of a message of theirs. Who knows the logs is not this room's business.

use super::driver::Conn;
use waypost_base::AccountId;
use waypost_smtp::{Answer, Reply, Status};

/// Octets of a line of the story; with code and status it stays under the 512 of RFC 5321 §4.5.3.1.5.
const LINE: usize = 440;
/// Lines of a story; an answer of more would be of no use on a terminal.
const LINES: usize = 200;

const UNKNOWN: Reply =
    Reply::new(451, Status(4, 3, 0), "The logs cannot be read now, please try again later");

/// Tells users the stories of their own mail.
#[async_trait::async_trait]
pub trait WhySource: Send + Sync {
    /// `message_id` is without angle brackets. `Ok(None)`: nothing is known that this account may know; who asks cannot
    /// tell the one from the other. An error is about the logs, for our own log.
    async fn why(&self, account: AccountId, message_id: &str) -> Result<Option<String>, String>;
}

impl Conn {
    pub(super) async fn why(&mut self, message_id: &str) -> Answer {
        let hub = self.service.hub.clone();
        let (Some(source), Some(identity)) = (hub.why_source(), &self.identity) else { return Answer::Ok };
        match source.why(identity.account, message_id).await {
            Ok(Some(story)) => Answer::Accept(Reply::with(250, Status(2, 0, 0), folded(&story))),
            Ok(None) => Answer::Ok,
            Err(e) => {
                tracing::warn!(session = %self.correlation, error = %e, "a story could not be told");
                Answer::Refuse(UNKNOWN)
            }
        }
    }
}

/// Long lines go on in the next one, four spaces further in.
fn folded(story: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in story.trim_end().lines() {
        let mut rest = line;
        let mut begin = "";
        while rest.len() + begin.len() > LINE {
            let mut at = LINE - begin.len();
            while !rest.is_char_boundary(at) {
                at -= 1;
            }
            let (part, _) = rest.split_at(at);
            let cut = part.rfind(' ').filter(|space| *space > LINE / 2).unwrap_or(at);
            let (part, after) = rest.split_at(cut);
            lines.push(format!("{begin}{part}"));
            rest = after.trim_start();
            begin = "    ";
        }
        lines.push(format!("{begin}{rest}"));
    }
    if lines.len() > LINES {
        lines.truncate(LINES);
        lines.push("… the rest is left out; your administrator can see it".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded() {
        let long = "é".repeat(300) + " " + &"x".repeat(300);
        let text = folded(&format!("short\n\n  {long}\n"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["short", ""]);
        assert!(lines.iter().all(|l| l.len() <= LINE), "{text}");
        assert!(lines[3].starts_with("    "), "{text}");
        assert!(folded(&"a\n".repeat(500)).lines().count() == LINES + 1);
    }
}
