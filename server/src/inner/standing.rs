//! Who is of the organisation no more is shown out: legs that are open when their server is revoked, or its certificates are
//! made void, end at once. The door judges newcomers only; a leg may stand for days.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use waypost_base::Timestamp;
use waypost_directory::{Directory, Snapshot};

/// What a server's legs stand on: when it was revoked, and since when its certificates count. `None`: there is no such
/// server.
pub type Standing = Option<(Option<Timestamp>, Option<Timestamp>)>;

/// One place for each server that has come: a change of the directory wakes the legs of whom it concerns, not all.
#[derive(Debug, Default)]
pub struct Book(Mutex<BTreeMap<String, watch::Sender<Standing>>>);

fn standing(now: &Snapshot, id: &str) -> Standing {
    now.server(id).map(|server| (server.revoked, server.certificates_since))
}

impl Book {
    /// For a leg that was let in. `None`: meanwhile it would not be.
    pub fn enter(&self, directory: &Directory, id: &str) -> Option<watch::Receiver<Standing>> {
        self.enter_as(id, |id| standing(&directory.snapshot(), id))
    }

    fn enter_as(&self, id: &str, of: impl Fn(&str) -> Standing) -> Option<watch::Receiver<Standing>> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // With the book in hand: whatever changes from now on finds this leg in it.
        let standing = of(id);
        if !matches!(standing, Some((None, _))) {
            return None;
        }
        let sender = servers.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(standing));
        Some(sender.subscribe())
    }

    fn look(&self, of: impl Fn(&str) -> Standing) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|id, sender| {
            let fresh = of(id);
            sender.send_if_modified(|old| std::mem::replace(old, fresh) != fresh);
            sender.receiver_count() > 0
        });
    }
}

/// Waits until the server of a leg is shown out.
pub async fn ended(mut leg: watch::Receiver<Standing>) {
    // Without a sender there is nothing more to hear, and the leg stands.
    if leg.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A change may be announced a moment before the directory shows it, so that the book is looked at this often as well.
const TICK: Duration = Duration::from_secs(1);

/// Follows the directory until the server stops.
pub async fn keep(directory: &Directory, book: &Book) {
    let mut marks = directory.marks();
    loop {
        marks.borrow_and_update();
        let now = directory.snapshot();
        book.look(|id| standing(&now, id));
        if let Ok(Err(_)) = tokio::time::timeout(TICK, marks.changed()).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_end_with_the_standing_of_their_server() {
        let book = Book::default();
        let at = Some(Timestamp(1));
        let well: Standing = Some((None, None));
        assert!(book.enter_as("front", |_| Some((at, None))).is_none(), "revoked");
        assert!(book.enter_as("front", |_| None).is_none(), "removed");
        let front = book.enter_as("front", |_| well).unwrap();
        let hub = book.enter_as("hub", |_| well).unwrap();
        let ends = |leg: &watch::Receiver<Standing>| leg.has_changed().unwrap();
        book.look(|_| well);
        assert!(!ends(&front) && !ends(&hub));
        book.look(|id| if id == "front" { Some((at, None)) } else { well });
        assert!(ends(&front) && !ends(&hub));
        book.look(|_| Some((None, at)));
        assert!(ends(&hub), "its certificates are void");
    }
}
