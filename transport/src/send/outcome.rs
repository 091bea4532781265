//! From a server's answers to what becomes of each recipient. Pure: answers in, fates out.

use waypost_queue::{Fate, Reason, Rest, Target};
use waypost_smtp::client::{By, Delivery, Outcome, Stage};
use waypost_smtp::{Reply, Status};

/// How a reason ends that leaves it open whether the server has the message.
const IN_DOUBT: &str = "after the message was sent: whether it arrived is not known";

/// Whether the server that it names may have the message.
pub(crate) fn says_in_doubt(reason: &Reason) -> bool {
    reason.code.is_none() && reason.text.ends_with(IN_DOUBT)
}

/// What a message's answers come to.
#[derive(Debug)]
pub(crate) struct Sorted {
    pub(crate) fates: Vec<(u32, Fate)>,
    pub(crate) rest: Rest,
    /// Recipients that the server has not taken and not refused for good, with the reason for each.
    pub(crate) put_off: Vec<(u32, Reason)>,
    /// The end of the message was sent and no answer came: it may arrive twice.
    pub(crate) in_doubt: bool,
    /// The connection takes no more.
    pub(crate) over: bool,
    /// It is the server's fault rather than this message's: the queue waits.
    pub(crate) queue: Option<Reason>,
}

/// `first`: nothing was taken over this connection before.
pub(crate) fn sort(delivery: &Delivery, targets: &[(u32, Target)], server: &str, first: bool) -> Sorted {
    let accepted = delivery.outcomes.iter().any(Outcome::is_accepted);
    let mut sorted = Sorted {
        fates: Vec::new(),
        rest: Rest::Done,
        put_off: Vec::new(),
        in_doubt: false,
        over: false,
        queue: None,
    };
    let (mut again, mut back, mut later) = (false, false, None);
    for (outcome, (index, _)) in delivery.outcomes.iter().zip(targets) {
        match outcome {
            Outcome::Accepted { reply } => {
                let text = reply.to_string().replace('\n', " ");
                let server = server.to_owned();
                sorted.fates.push((*index, Fate::Relayed { server, text, dsn: delivery.dsn }));
            }
            Outcome::Left => again = true,
            Outcome::Refused { reply, stage: Stage::Rcpt, .. } if accepted && is_too_many(reply) => {
                again = true
            }
            Outcome::Refused { reply, stage, by } => {
                let reason = reason(reply, *stage, *by, server);
                if reply.code == 421 {
                    sorted.over = true;
                    back |= !first;
                    sorted.queue = first.then(|| reason.clone());
                }
                if reason.temporary {
                    sorted.put_off.push((*index, reason.clone()));
                    later.get_or_insert(reason);
                } else {
                    sorted.fates.push((*index, Fate::Failed(reason)));
                }
            }
            Outcome::Broken { stage, fault, in_doubt } => {
                sorted.over = true;
                sorted.in_doubt |= in_doubt;
                // A connection that was kept and is gone when it is wanted says nothing about the message.
                back |= !first && !in_doubt && *stage <= Stage::Mail;
                let reason = Reason {
                    status: Status(4, 4, 2),
                    code: None,
                    server: Some(server.to_owned()),
                    text: if *in_doubt {
                        format!("{fault}, {IN_DOUBT}")
                    } else {
                        format!("{fault} ({stage})")
                    },
                    temporary: true,
                };
                sorted.put_off.push((*index, reason.clone()));
                later.get_or_insert(reason);
            }
        }
    }
    let progress = !sorted.fates.is_empty();
    sorted.rest = match later {
        _ if (again && progress) || back => Rest::Back,
        Some(reason) => Rest::Retry { reason, at: None },
        None if again => Rest::Retry {
            reason: Reason::temporary(Status(4, 5, 3), "the server takes no recipients"),
            at: None,
        },
        None => Rest::Done,
    };
    if matches!(sorted.rest, Rest::Back) {
        sorted.put_off.clear();
    }
    sorted
}

/// Too many recipients for one message (RFC 5321 §4.5.3.1.10), and not something about this one.
fn is_too_many(reply: &Reply) -> bool {
    matches!(reply.code, 452 | 552)
        && reply.status.is_none_or(|Status(_, subject, detail)| (subject, detail) == (5, 3))
}

/// The server's words with its name; ours where it was not asked.
pub(crate) fn reason(reply: &Reply, stage: Stage, by: By, server: &str) -> Reason {
    let class = if reply.is_transient() { 4 } else { 5 };
    // A status that contradicts the code is a mistake; the code is what RFC 5321 goes by.
    let status = reply.status.filter(|status| status.0 == class).unwrap_or(Status(class, 0, 0));
    let words = reply.text.replace('\n', " ");
    let (code, text) = match by {
        By::Peer if words.is_empty() => (Some(reply.code), format!("refused at {stage}")),
        By::Peer => (Some(reply.code), words),
        By::Us => (None, words),
    };
    Reason { status, code, server: Some(server.to_owned()), text, temporary: reply.is_transient() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_smtp::Mailbox;
    use waypost_smtp::client::Fault;

    fn refused(stage: Stage, code: u16, status: Option<Status>) -> Outcome {
        Outcome::Refused { stage, reply: Reply { code, status, text: "words".into() }, by: By::Peer }
    }

    fn accepted() -> Outcome {
        Outcome::Accepted { reply: Reply::new(250, Status(2, 0, 0), "queued as X") }
    }

    fn broken(stage: Stage, in_doubt: bool) -> Outcome {
        Outcome::Broken { stage, fault: Fault::Lost("reset".into()), in_doubt }
    }

    fn sorted(outcomes: Vec<Outcome>, first: bool) -> Sorted {
        let target =
            |n: u32| (n, Target { to: Mailbox::new(format!("r{n}"), "a.example"), of: n, local: None });
        let targets: Vec<_> = (0..).take(outcomes.len()).map(target).collect();
        sort(&Delivery { outcomes, dsn: false }, &targets, "mx (192.0.2.1)", first)
    }

    #[test]
    fn each_recipient_has_its_own_fate() {
        let answer = sorted(
            vec![
                accepted(),
                refused(Stage::Rcpt, 550, Some(Status(5, 1, 1))),
                refused(Stage::Rcpt, 450, None),
            ],
            true,
        );
        let done: Vec<u32> = answer.fates.iter().map(|(index, _)| *index).collect();
        assert_eq!(done, [0, 1]);
        assert!(matches!(&answer.fates[0].1, Fate::Relayed { text, .. } if text == "250 2.0.0 queued as X"));
        assert!(matches!(&answer.fates[1].1,
            Fate::Failed(reason) if reason.to_string() == "550 5.1.1 mx (192.0.2.1): words"));
        assert!(matches!(&answer.rest, Rest::Retry { reason, .. } if reason.status == Status(4, 0, 0)));
        assert_eq!((answer.over, answer.in_doubt, answer.queue), (false, false, None));
    }

    #[test]
    fn too_many_recipients_go_at_once_but_not_for_ever() {
        let answer = sorted(vec![accepted(), refused(Stage::Rcpt, 452, Some(Status(4, 5, 3)))], true);
        assert_eq!(answer.rest, Rest::Back);
        let answer = sorted(vec![accepted(), Outcome::Left], true);
        assert_eq!(answer.rest, Rest::Back);
        // A full mailbox is something else, and without anybody accepted nothing has moved.
        let answer = sorted(vec![accepted(), refused(Stage::Rcpt, 452, Some(Status(4, 2, 2)))], true);
        assert!(matches!(answer.rest, Rest::Retry { .. }));
        let answer = sorted(vec![refused(Stage::Rcpt, 452, None)], true);
        assert!(matches!(answer.rest, Rest::Retry { .. }));
        assert!(matches!(sorted(vec![Outcome::Left], true).rest, Rest::Retry { .. }));
    }

    #[test]
    fn a_server_that_hangs_up() {
        let answer = sorted(vec![broken(Stage::Final, true)], false);
        assert!(answer.in_doubt && answer.over);
        assert!(matches!(answer.rest, Rest::Retry { .. }));
        // Gone between two messages: another connection, without counting it against the message.
        assert_eq!(sorted(vec![broken(Stage::Mail, false)], false).rest, Rest::Back);
        assert!(matches!(sorted(vec![broken(Stage::Mail, false)], true).rest, Rest::Retry { .. }));
        let answer = sorted(vec![refused(Stage::Mail, 421, None)], false);
        assert_eq!((answer.rest, answer.over, answer.queue), (Rest::Back, true, None));
        let answer = sorted(vec![refused(Stage::Mail, 421, None)], true);
        assert!(answer.over && answer.queue.is_some());
    }
}
