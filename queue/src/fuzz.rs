//! What a fuzzer drives: any bytes as the rows of an item, of a hop and of a queue. Whatever can be read is written again
//! the same; nothing panics.

use crate::codec::Input;
use crate::rows::{Head, HopState, Item, QueueState, envelope, queue_of};

/// See the module. The first byte divides the rest into a row and its pages.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let (pages, row) = data.split_at(usize::from(cut).min(data.len()));
    let item = Item::decode(row, pages);
    let head = Head::read(&mut Input(row));
    assert!(item.is_none() || head.is_some(), "an item has a head");
    if let (Some(item), Some(head)) = (&item, &head) {
        let mut input = Input(row);
        let again = Head::read(&mut input);
        let hops = again
            .and_then(|h| if head.paged { h.hop_heads(&mut Input(pages)) } else { h.hop_heads(&mut input) });
        let counts = hops.map(|hops| hops.iter().map(|h| (h.number, h.targets as usize)).collect::<Vec<_>>());
        let expected = item.hops.iter().map(|h| (h.number, h.targets.len())).collect::<Vec<_>>();
        assert_eq!(counts, Some(expected), "both ways of reading see the same hops");
        assert_eq!(envelope(row).map(|(_, e)| e), Some(item.envelope.clone()));
    }
    if let Some(state) = HopState::decode(row) {
        assert_eq!(HopState::decode(&state.encode()).map(|s| s.encode()), Some(state.encode()));
    }
    if let Some(state) = QueueState::decode(row) {
        assert_eq!(QueueState::decode(&state.encode()).map(|s| s.encode()), Some(state.encode()));
    }
    let _ = queue_of(data);
}
