//! Flags and keywords between the wire and the mailbox.

use super::outcome::Fail;
use std::sync::Arc;
use waypost_imap::response::FlagList;
use waypost_imap::value::Flag;
use waypost_mailbox::{Account, Flags, Keywords, Mark};

/// `FLAGS (…)` lists by mark: a folder of a hundred thousand messages has a handful of different ones.
pub(crate) struct MarkCache {
    keywords: Arc<Keywords>,
    lists: Vec<(Mark, FlagList)>,
    last: usize,
}

/// Different lists kept at once. More than this is rendered anew, which costs a microsecond.
const LISTS: usize = 64;

impl MarkCache {
    pub fn new(keywords: Arc<Keywords>) -> MarkCache {
        MarkCache { keywords, lists: Vec::new(), last: 0 }
    }

    pub fn list(&mut self, mark: Mark) -> &FlagList {
        if self.lists.get(self.last).is_none_or(|(m, _)| *m != mark) {
            self.last = match self.lists.iter().position(|(m, _)| *m == mark) {
                Some(at) => at,
                None => {
                    if self.lists.len() >= LISTS {
                        self.lists.clear();
                    }
                    self.lists.push((mark, FlagList::new(&flags_of(mark, &self.keywords))));
                    self.lists.len() - 1
                }
            };
        }
        let (_, list) = self.lists.get(self.last).expect("the place was found or filled just above");
        list
    }
}

fn system(flags: Flags) -> impl Iterator<Item = Flag> {
    const ORDER: [(Flags, Flag); 5] = [
        (Flags::ANSWERED, Flag::Answered),
        (Flags::FLAGGED, Flag::Flagged),
        (Flags::DELETED, Flag::Deleted),
        (Flags::SEEN, Flag::Seen),
        (Flags::DRAFT, Flag::Draft),
    ];
    ORDER.into_iter().filter(move |(bit, _)| flags.has(*bit)).map(|(_, flag)| flag)
}

pub(crate) fn flags_of(mark: Mark, keywords: &Keywords) -> Vec<Flag> {
    system(mark.flags).chain(keywords.of(mark.keywords).filter_map(Flag::keyword)).collect()
}

/// What `* FLAGS` lists: the system flags and every keyword of the account.
pub(crate) fn all_flags(keywords: &Keywords) -> Vec<Flag> {
    let all = Flags(Flags::NAMES.iter().fold(0, |bits, (flag, _)| bits | flag.0));
    system(all).chain(keywords.names().iter().filter_map(|n| Flag::keyword(n))).collect()
}

/// The system flags among `flags`, and the names of the keywords. `\Recent` and flags of no standard are ignored.
pub(crate) fn split(flags: &[Flag]) -> (Flags, Vec<&str>) {
    let mut system = Flags::NONE;
    let mut keywords = Vec::new();
    for flag in flags {
        system = system.with(match flag {
            Flag::Answered => Flags::ANSWERED,
            Flag::Deleted => Flags::DELETED,
            Flag::Draft => Flags::DRAFT,
            Flag::Flagged => Flags::FLAGGED,
            Flag::Seen => Flags::SEEN,
            Flag::Keyword(name) => {
                keywords.push(name.as_str());
                Flags::NONE
            }
            Flag::Recent | Flag::Extension(_) => Flags::NONE,
        });
    }
    (system, keywords)
}

/// The mark to add or set; keywords that are new to the account are made.
pub(crate) async fn mark(account: &Account, flags: &[Flag]) -> Result<Mark, Fail> {
    let (system, keywords) = split(flags);
    if keywords.is_empty() {
        return Ok(Mark { flags: system, keywords: 0 });
    }
    Ok(account.mark(system, &keywords).await?)
}

/// The mark to take away; a keyword that the account does not know is on no message.
pub(crate) fn mark_to_remove(account: &Account, flags: &[Flag]) -> Mark {
    let (system, names) = split(flags);
    let known = account.keywords();
    let bits = names.iter().filter_map(|n| known.bit(n)).fold(0, |bits, n| bits | 1 << n);
    Mark { flags: system, keywords: bits }
}
