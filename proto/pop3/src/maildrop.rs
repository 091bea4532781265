//! The drop as one session sees it: a fixed list of messages, and marks for the ones to delete.
//!
//! Numbers are given when the drop is opened and never move (RFC 1939 §5). Counts are kept, so STAT costs nothing.

/// One message of the drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// UID within the folder.
    pub uid: u32,
    /// Size as it is sent, without dot-stuffing and the final line (RFC 1939 §11).
    pub octets: u64,
}

#[derive(Clone, Debug)]
pub struct Maildrop {
    validity: u32,
    messages: Vec<Message>,
    deleted: Vec<bool>,
    live: u32,
    octets: u64,
}

/// There is no such message, or it is marked deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuch;

impl Maildrop {
    /// `validity` is the folder's UIDVALIDITY. Messages beyond `u32::MAX` are left out; no folder has them.
    pub fn new(validity: u32, mut messages: Vec<Message>) -> Maildrop {
        messages.truncate(u32::MAX as usize);
        let mut drop =
            Maildrop { validity, deleted: vec![false; messages.len()], messages, live: 0, octets: 0 };
        drop.reset();
        drop
    }

    /// Messages that are not marked, and their size together.
    pub fn stat(&self) -> (u32, u64) {
        (self.live, self.octets)
    }

    /// Looks up a number as the client sent it.
    pub fn message(&self, number: u32) -> Result<Message, NoSuch> {
        let at = index(number)?;
        match (self.messages.get(at), self.deleted.get(at)) {
            (Some(message), Some(false)) => Ok(*message),
            _ => Err(NoSuch),
        }
    }

    /// The live messages with their numbers.
    pub fn live(&self) -> impl Iterator<Item = (u32, Message)> + '_ {
        (1u32..)
            .zip(&self.messages)
            .zip(&self.deleted)
            .filter(|(_, deleted)| !**deleted)
            .map(|((n, m), _)| (n, *m))
    }

    pub fn delete(&mut self, number: u32) -> Result<(), NoSuch> {
        let message = self.message(number)?;
        if let Some(mark) = self.deleted.get_mut(index(number)?) {
            *mark = true;
            self.live -= 1;
            self.octets -= message.octets;
        }
        Ok(())
    }

    /// Takes back all marks.
    pub fn reset(&mut self) {
        self.deleted.fill(false);
        self.live = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.octets = self.messages.iter().fold(0, |sum, m| sum.saturating_add(m.octets));
    }

    /// UIDs of the marked messages, ascending as in the drop.
    pub fn marked(&self) -> Vec<u32> {
        self.messages.iter().zip(&self.deleted).filter(|(_, d)| **d).map(|(m, _)| m.uid).collect()
    }

    /// The unique id of RFC 1939 §7: as stable as UIDVALIDITY and UID are together.
    pub fn unique_id(&self, message: &Message) -> String {
        format!("{}.{}", self.validity, message.uid)
    }

    pub fn validity(&self) -> u32 {
        self.validity
    }
}

fn index(number: u32) -> Result<usize, NoSuch> {
    number.checked_sub(1).map(|n| n as usize).ok_or(NoSuch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_counts() {
        let messages = [(3, 120), (5, 200), (9, 1)].map(|(uid, octets)| Message { uid, octets });
        let mut drop = Maildrop::new(77, messages.to_vec());
        assert_eq!(drop.stat(), (3, 321));
        assert_eq!(drop.delete(2), Ok(()));
        assert_eq!(drop.delete(2), Err(NoSuch));
        assert_eq!(drop.delete(0), Err(NoSuch));
        assert_eq!(drop.delete(4), Err(NoSuch));
        assert_eq!(drop.message(2), Err(NoSuch));
        assert_eq!(drop.stat(), (2, 121));
        assert_eq!(drop.live().map(|(n, _)| n).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(drop.marked(), [5]);
        drop.reset();
        assert_eq!(drop.stat(), (3, 321));
        assert_eq!(drop.marked(), []);
        assert_eq!(drop.unique_id(&messages[2]), "77.9");
    }
}
