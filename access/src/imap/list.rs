//! LIST, LSUB and STATUS (RFC 9051 §6.3.9, §6.3.11; RFC 3501 §6.3.9; RFC 5258, RFC 5819, RFC 6154, RFC 8438, RFC 8474).

use super::outcome::{Done, Fail, Outcome};
use super::session::Session;
use std::collections::BTreeSet;
use waypost_imap::command::{List, SpecialUse, StatusItem};
use waypost_imap::response::{Code, ListAttribute, ListEntry, StatusValue};
use waypost_imap::value::FolderName;
use waypost_mailbox::{Account, Flags, Folder, FolderTree, Role};

const DELIMITER: char = '/';

/// One name to be listed.
struct Listed {
    name: FolderName,
    attributes: Vec<ListAttribute>,
    child_subscribed: bool,
    /// To give the STATUS of, when that was asked for.
    folder: Option<std::sync::Arc<Folder>>,
}

impl Session {
    pub(crate) async fn list(&mut self, list: List) -> Outcome {
        let account = self.account()?;
        if !list.extended && list.patterns.iter().all(|p| p.as_str().is_empty()) {
            // RFC 9051 §6.3.9: an empty name asks for the delimiter.
            self.reply().list(&ListEntry {
                attributes: &[ListAttribute::NoSelect],
                delimiter: Some(DELIMITER),
                name: &FolderName::new(""),
                old_name: None,
                child_subscribed: false,
            });
            return Ok(Done::text("Delimiter listed"));
        }
        if list.selection.recursive_match && !list.selection.subscribed && !list.selection.special_use {
            return Err(Fail::bad("RECURSIVEMATCH needs something to match"));
        }
        let patterns: Vec<Pattern> =
            list.patterns.iter().map(|p| Pattern::new(list.reference.as_str(), p.as_str())).collect();
        if list.returns.status.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        let listed = select(&account.folders(), &list, &patterns);
        for entry in listed {
            self.reply().list(&ListEntry {
                attributes: &entry.attributes,
                delimiter: Some(DELIMITER),
                name: &entry.name,
                old_name: None,
                child_subscribed: entry.child_subscribed,
            });
            if let Some(folder) = entry.folder.filter(|f| f.selectable && !list.returns.status.is_empty()) {
                self.tell_status(&account, &folder, &entry.name, &list.returns.status).await?;
            }
            self.wire.flush_if_full().await?;
        }
        Ok(Done::text("Folders listed"))
    }

    /// LSUB of rev1: subscribed names, and with `%` the levels above them.
    pub(crate) fn lsub(&mut self, reference: &FolderName, pattern: &FolderName) -> Outcome {
        let account = self.account()?;
        let tree = account.folders();
        let pattern = Pattern::new(reference.as_str(), pattern.as_str());
        let mut names: BTreeSet<(String, bool)> = BTreeSet::new();
        let subscribed = subscribed(&tree);
        for name in &subscribed {
            if pattern.matches(name) {
                names.insert((name.clone(), true));
                continue;
            }
            // RFC 3501 §6.3.9: `%` matching a level above a subscribed name lists that level with \Noselect.
            let above = name.match_indices(DELIMITER).filter_map(|(at, _)| name.get(..at));
            for level in above.filter(|level| pattern.matches(level)) {
                names.insert((level.to_owned(), subscribed.contains(level)));
            }
        }
        let mut to = self.reply();
        for (name, itself) in names {
            let attributes: &[ListAttribute] = if itself { &[] } else { &[ListAttribute::NoSelect] };
            to.lsub(&ListEntry {
                attributes,
                delimiter: Some(DELIMITER),
                name: &FolderName::new(&name),
                old_name: None,
                child_subscribed: false,
            });
        }
        Ok(Done::text("Subscriptions listed"))
    }

    pub(crate) async fn status(&mut self, name: FolderName, items: Vec<StatusItem>) -> Outcome {
        let account = self.account()?;
        let tree = account.folders();
        let Some(folder) = tree.find(name.as_str()).filter(|f| f.selectable) else {
            return Err(Fail::no(Code::NonExistent, "No such folder"));
        };
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        self.tell_status(&account, folder, &name, &items).await?;
        Ok(Done::text("Status told"))
    }

    async fn tell_status(
        &mut self,
        account: &Account,
        folder: &Folder,
        name: &FolderName,
        items: &[StatusItem],
    ) -> Result<(), Fail> {
        let status = account.status(folder.id).await?;
        let object_id = folder.object_id();
        let deleted_bytes = match items.contains(&StatusItem::DeletedStorage) && status.deleted > 0 {
            true => deleted_bytes(account, folder).await?,
            false => 0,
        };
        let append_max = self.settings().append_max;
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => StatusValue::Messages(status.messages),
            StatusItem::Recent => StatusValue::Recent(0),
            StatusItem::UidNext => StatusValue::UidNext(status.uid_next),
            StatusItem::UidValidity => StatusValue::UidValidity(status.uid_validity),
            StatusItem::Unseen => StatusValue::Unseen(status.unseen),
            StatusItem::Deleted => StatusValue::Deleted(status.deleted),
            StatusItem::Size => StatusValue::Size(status.size),
            StatusItem::HighestModSeq => StatusValue::HighestModSeq(status.highest_modseq.max(1)),
            StatusItem::MailboxId => StatusValue::MailboxId(&object_id),
            StatusItem::AppendLimit => StatusValue::AppendLimit(Some(append_max)),
            StatusItem::DeletedStorage => StatusValue::DeletedStorage(deleted_bytes),
        };
        let values: Vec<StatusValue<'_>> = items.iter().map(value).collect();
        self.reply().status(name, &values);
        Ok(())
    }
}

/// RFC 9208 §5.3: bytes that an EXPUNGE would set free.
async fn deleted_bytes(account: &Account, folder: &Folder) -> Result<u64, Fail> {
    let rows = account.select(folder.id).await?;
    let deleted = rows.rows(1, u32::MAX).filter(|(_, row)| row.flags.has(Flags::DELETED));
    Ok(deleted.map(|(_, row)| u64::from(row.size)).sum())
}

fn subscribed(tree: &FolderTree) -> BTreeSet<String> {
    let here = tree.iter().filter(|f| f.subscribed).map(|f| f.path.clone());
    here.chain(tree.subscribed_only().iter().cloned()).collect()
}

/// The names that a LIST asks for, in order.
fn select(tree: &FolderTree, list: &List, patterns: &[Pattern]) -> Vec<Listed> {
    let matches = |name: &str| patterns.iter().any(|p| p.matches(name));
    let wanted = |f: &Folder| {
        (!list.selection.subscribed || f.subscribed) && (!list.selection.special_use || use_of(f).is_some())
    };
    let only_subscribed = list.selection.subscribed && !list.selection.special_use;
    // What the selection takes but no pattern shows: with RECURSIVEMATCH the levels above stand for it.
    let mut hidden: BTreeSet<&str> = BTreeSet::new();
    if list.selection.recursive_match {
        let others = tree.subscribed_only().iter().filter(|_| only_subscribed).map(String::as_str);
        let folders = tree.iter().filter(|f| wanted(f)).map(|f| f.path.as_str());
        hidden.extend(folders.chain(others).filter(|name| !matches(name)));
    }
    let mut out = Vec::new();
    for folder in tree.iter() {
        if !matches(&folder.path) {
            continue;
        }
        let itself = wanted(folder);
        let prefix = format!("{}{DELIMITER}", folder.path);
        let below = hidden.range(prefix.as_str()..).next().is_some_and(|name| name.starts_with(&prefix));
        if itself || below {
            out.push(Listed {
                name: FolderName::new(&folder.path),
                attributes: attributes(folder, list),
                child_subscribed: below && list.selection.subscribed,
                folder: Some(folder.clone()),
            });
        }
    }
    if only_subscribed {
        for name in tree.subscribed_only().iter().filter(|name| matches(name)) {
            out.push(Listed {
                name: FolderName::new(name),
                attributes: vec![ListAttribute::NonExistent, ListAttribute::Subscribed],
                child_subscribed: false,
                folder: None,
            });
        }
    }
    out
}

fn attributes(folder: &Folder, list: &List) -> Vec<ListAttribute> {
    let mut out = Vec::with_capacity(4);
    if !folder.selectable {
        out.push(ListAttribute::NoSelect);
    }
    out.push(if folder.has_children { ListAttribute::HasChildren } else { ListAttribute::HasNoChildren });
    if folder.subscribed && (list.selection.subscribed || list.returns.subscribed) {
        out.push(ListAttribute::Subscribed);
    }
    out.extend(use_of(folder).map(ListAttribute::Use));
    out
}

fn use_of(folder: &Folder) -> Option<SpecialUse> {
    Some(match folder.role? {
        Role::Inbox | Role::Outbox => return None,
        Role::Drafts => SpecialUse::Drafts,
        Role::Sent => SpecialUse::Sent,
        Role::Trash => SpecialUse::Trash,
        Role::Junk => SpecialUse::Junk,
        Role::Archive => SpecialUse::Archive,
        Role::Important => SpecialUse::Important,
    })
}

/// A reference and a name with wildcards, put together: `*` matches anything, `%` anything but the delimiter.
struct Pattern(Vec<char>);

impl Pattern {
    fn new(reference: &str, name: &str) -> Pattern {
        // The same canonical form that names have: INBOX in capitals.
        let whole = FolderName::new(&format!("{reference}{name}"));
        Pattern(whole.as_str().chars().collect())
    }

    /// Keeps the set of places in the pattern that fit so far, so that no pattern takes more than its length times the
    /// name's.
    fn matches(&self, name: &str) -> bool {
        let pattern = &self.0;
        let wild = |at: usize| matches!(pattern.get(at), Some('*' | '%'));
        let mut places = vec![false; pattern.len() + 1];
        let spread = |places: &mut Vec<bool>| {
            for at in 0..pattern.len() {
                if places.get(at) == Some(&true)
                    && wild(at)
                    && let Some(next) = places.get_mut(at + 1)
                {
                    *next = true;
                }
            }
        };
        if let Some(first) = places.first_mut() {
            *first = true;
        }
        spread(&mut places);
        for c in name.chars() {
            let mut next = vec![false; pattern.len() + 1];
            for (at, p) in pattern.iter().enumerate() {
                if places.get(at) != Some(&true) {
                    continue;
                }
                let to = match p {
                    '*' => at,
                    '%' if c != DELIMITER => at,
                    '%' => continue,
                    p if *p == c => at + 1,
                    _ => continue,
                };
                if let Some(place) = next.get_mut(to) {
                    *place = true;
                }
            }
            spread(&mut next);
            places = next;
        }
        places.last() == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn wildcards() {
        let fits = |pattern: &str, name: &str| Pattern::new("", pattern).matches(name);
        assert!(fits("*", "a/b") && fits("%", "a") && !fits("%", "a/b"));
        assert!(fits("a/%", "a/b") && !fits("a/%", "a/b/c") && fits("a*c", "a/b/c"));
        assert!(fits("inbox", "INBOX") && !fits("%x", "y") && fits("%/%", "a/b"));
        assert!(fits("", "") && !fits("", "a"));
        assert!(Pattern::new("a/", "%").matches("a/b"));
        let long = "*a".repeat(200);
        assert!(!fits(&long, &"a".repeat(199)) && fits(&long, &"a".repeat(400)));
    }
}
