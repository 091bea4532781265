//! What agents changed of sender and recipients, between the message's end and its categorizing.

use super::driver::{Conn, Message, Recipient};
use crate::categorize::{self, Meaning};
use crate::draft::EnvelopeChanges;
use waypost_directory::Address;
use waypost_queue::Accepted;
use waypost_smtp::RcptParams;

impl Conn {
    /// Answers whether anybody is left to get the message. Over LMTP each recipient was promised an answer of its own, so
    /// there nobody comes or goes.
    pub(super) fn change_envelope(&self, message: &mut Message, changes: &EnvelopeChanges) -> bool {
        if let Some(from) = &changes.from {
            message.address = from.as_ref().and_then(|from| Address::parse(&from.to_string()).ok());
            message.from.clone_from(from);
        }
        if self.service.kind.answers_each() {
            return true;
        }
        message.recipients.retain(|recipient| !changes.removed.contains(&recipient.accepted.to));
        let directory = self.service.hub.directory.snapshot();
        for to in &changes.added {
            match categorize::meaning(&directory, to, self.sender(&directory, message)) {
                Meaning::Not(why) => {
                    tracing::warn!(session = %self.correlation, id = message.id, to = %to, ?why,
                        "a recipient added by a mail filter takes no mail");
                }
                meaning => {
                    let accepted = Accepted { to: to.clone(), params: RcptParams::default() };
                    message.recipients.push(Recipient { accepted, meaning, place: None });
                }
            }
        }
        !message.recipients.is_empty()
    }
}
