//! THREAD and its algorithms (RFC 5256 §3) over plain records. No recursion: threads may be as deep as a folder is long.

use crate::limits;
use std::collections::BTreeMap;
use waypost_base::Timestamp;

/// What threading needs of a message. `id` is whatever the caller wants back: a UID or a sequence number.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    pub id: u32,
    /// Sent date, or the internal date when there is none. Equal ones keep the order of the records.
    pub sent: Timestamp,
    pub message_id: &'a str,
    /// References, or the first of In-Reply-To when there are none: `SummaryRef::thread_references`.
    pub references: Vec<&'a str>,
    pub base_subject: &'a str,
    /// The subject was that of a reply or forward.
    pub reply: bool,
}

/// Threads as a forest in arrays. Built by [`references`] and [`ordered_subject`], printed by [`write`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forest {
    nodes: Vec<Node>,
    /// Threads in order.
    pub roots: Vec<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// None: a message that is referred to and not there.
    record: Option<usize>,
    id: Option<u32>,
    parent: Option<usize>,
    children: Vec<usize>,
}

impl Forest {
    /// The message at a node; None for one that is not there.
    pub fn id(&self, node: usize) -> Option<u32> {
        self.nodes.get(node).and_then(|n| n.id)
    }

    pub fn children(&self, node: usize) -> &[usize] {
        self.nodes.get(node).map(|n| n.children.as_slice()).unwrap_or_default()
    }

    fn add(&mut self, record: Option<usize>, records: &[Record<'_>]) -> usize {
        let id = record.and_then(|r| records.get(r)).map(|r| r.id);
        self.nodes.push(Node { record, id, ..Node::default() });
        self.nodes.len() - 1
    }

    fn link(&mut self, parent: usize, child: usize) {
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    fn unlink(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children.retain(|c| *c != child);
        }
    }

    /// Whether `node` is `ancestor` or somewhere below it; also when it is so deep that linking must stop.
    fn is_within(&self, node: usize, ancestor: usize) -> bool {
        let mut at = Some(node);
        for _ in 0..limits::THREAD_DEPTH {
            match at {
                None => return false,
                Some(n) if n == ancestor => return true,
                Some(n) => at = self.nodes[n].parent,
            }
        }
        true
    }

    /// The record that stands for a node when threads are compared: its own, or its first child's.
    fn face(&self, node: usize) -> Option<usize> {
        self.nodes[node]
            .record
            .or_else(|| self.nodes[node].children.first().and_then(|c| self.nodes[*c].record))
    }
}

/// THREAD=REFERENCES.
pub fn references(records: &[Record<'_>]) -> Forest {
    let mut forest = Forest::default();
    link_all(&mut forest, records);
    let roots: Vec<usize> = (0..forest.nodes.len()).filter(|n| forest.nodes[*n].parent.is_none()).collect();
    forest.roots = prune(&mut forest, roots);
    // (4) before (5), since a missing root goes by its first child.
    sort_children(&mut forest, records);
    let mut roots = std::mem::take(&mut forest.roots);
    sort(&forest, records, &mut roots);
    forest.roots = by_subject(&mut forest, records, roots);
    sort_children(&mut forest, records);
    let mut roots = std::mem::take(&mut forest.roots);
    sort(&forest, records, &mut roots);
    forest.roots = roots;
    forest
}

/// Step (1): parents by References, missing messages standing in for themselves.
fn link_all(forest: &mut Forest, records: &[Record<'_>]) {
    let mut by_id: BTreeMap<&str, usize> = BTreeMap::new();
    for (r, record) in records.iter().enumerate() {
        // A message without an id, or with one that is taken, is still a message, though nobody's parent.
        let own = match by_id.get(record.message_id) {
            _ if record.message_id.is_empty() => forest.add(Some(r), records),
            Some(&n) if forest.nodes[n].record.is_some() => forest.add(Some(r), records),
            Some(&n) => {
                forest.nodes[n].record = Some(r);
                forest.nodes[n].id = Some(record.id);
                n
            }
            None => {
                let n = forest.add(Some(r), records);
                by_id.insert(record.message_id, n);
                n
            }
        };
        let mut before = None;
        for id in record.references.iter().copied().filter(|id| !id.is_empty()) {
            let n = *by_id.entry(id).or_insert_with(|| forest.add(None, records));
            if let Some(parent) = before
                && forest.nodes[n].parent.is_none()
                && !forest.is_within(parent, n)
            {
                forest.link(parent, n);
            }
            before = Some(n);
        }
        // (1B) the last reference is the parent, whatever was believed before.
        if let Some(parent) = before
            && !forest.is_within(parent, own)
            && forest.nodes[own].parent != Some(parent)
        {
            forest.unlink(own);
            forest.link(parent, own);
        }
    }
}

/// Step (3): missing messages without children go; those with children give them to their parent, except that at the root
/// one stays if it has more than one child.
fn prune(forest: &mut Forest, roots: Vec<usize>) -> Vec<usize> {
    let order = top_down(forest, &roots);
    for &n in order.iter().rev() {
        let children = std::mem::take(&mut forest.nodes[n].children);
        let mut kept = Vec::with_capacity(children.len());
        for c in children {
            if forest.nodes[c].record.is_some() {
                kept.push(c);
                continue;
            }
            for grandchild in std::mem::take(&mut forest.nodes[c].children) {
                forest.nodes[grandchild].parent = Some(n);
                kept.push(grandchild);
            }
        }
        forest.nodes[n].children = kept;
    }
    let mut out = Vec::with_capacity(roots.len());
    for n in roots {
        match (forest.nodes[n].record, forest.nodes[n].children.as_slice()) {
            (None, []) => {}
            (None, [only]) => {
                let only = *only;
                forest.nodes[only].parent = None;
                out.push(only);
            }
            _ => out.push(n),
        }
    }
    out
}

/// All nodes under `roots`, parents before children.
fn top_down(forest: &Forest, roots: &[usize]) -> Vec<usize> {
    let mut order = roots.to_vec();
    let mut at = 0;
    while let Some(&n) = order.get(at) {
        order.extend_from_slice(&forest.nodes[n].children);
        at += 1;
    }
    order
}

/// Siblings by sent date; children first, since a missing message goes by its first child.
fn sort_children(forest: &mut Forest, records: &[Record<'_>]) {
    let order = top_down(forest, &forest.roots);
    for &n in order.iter().rev() {
        let mut children = std::mem::take(&mut forest.nodes[n].children);
        sort(forest, records, &mut children);
        forest.nodes[n].children = children;
    }
}

fn sort(forest: &Forest, records: &[Record<'_>], nodes: &mut [usize]) {
    nodes.sort_by_key(|n| {
        let record = forest.face(*n);
        (record.and_then(|r| records.get(r)).map(|r| r.sent), record)
    });
}

/// Step (5): roots with the same base subject belong together.
fn by_subject(forest: &mut Forest, records: &[Record<'_>], roots: Vec<usize>) -> Vec<usize> {
    let subject = |forest: &Forest, n: usize| {
        let record = forest.face(n).and_then(|r| records.get(r));
        record.map(|r| (crate::collate::key(r.base_subject), r.reply)).unwrap_or_default()
    };
    let mut table: BTreeMap<String, usize> = BTreeMap::new();
    for &n in &roots {
        let (text, reply) = subject(forest, n);
        if text.is_empty() {
            continue;
        }
        match table.get(&text) {
            None => _ = table.insert(text, n),
            Some(&other) => {
                let missing = forest.nodes[n].record.is_none();
                let other_missing = forest.nodes[other].record.is_none();
                let other_reply = subject(forest, other).1;
                if (missing && !other_missing) || (!other_missing && other_reply && !reply) {
                    table.insert(text, n);
                }
            }
        }
    }
    let mut gone = vec![false; forest.nodes.len()];
    // New parents are made for siblings; they take the place of the table's entry.
    let mut made: Vec<usize> = Vec::new();
    for &n in &roots {
        let (text, reply) = subject(forest, n);
        let Some(&other) = table.get(&text).filter(|t| **t != n) else { continue };
        let missing = forest.nodes[n].record.is_none();
        let other_missing = forest.nodes[other].record.is_none();
        if missing && other_missing {
            for c in std::mem::take(&mut forest.nodes[n].children) {
                forest.nodes[c].parent = None;
                forest.link(other, c);
            }
        } else if other_missing || (reply && !subject(forest, other).1) {
            forest.link(other, n);
        } else {
            let parent = forest.add(None, records);
            gone.push(false);
            forest.link(parent, other);
            forest.link(parent, n);
            if let Some(flag) = gone.get_mut(other) {
                *flag = true;
            }
            table.insert(text, parent);
            made.push(parent);
        }
        if let Some(flag) = gone.get_mut(n) {
            *flag = true;
        }
    }
    roots.into_iter().chain(made).filter(|n| gone.get(*n) == Some(&false)).collect()
}

/// THREAD=ORDEREDSUBJECT: messages of one base subject, the first the parent of all others; threads by first sent date.
pub fn ordered_subject(records: &[Record<'_>]) -> Forest {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|r| (records.get(*r).map(|r| r.sent), *r));
    let mut forest = Forest::default();
    let mut table: BTreeMap<String, usize> = BTreeMap::new();
    for r in order {
        let node = forest.add(Some(r), records);
        let key = records.get(r).map(|r| crate::collate::key(r.base_subject)).unwrap_or_default();
        match table.get(&key) {
            Some(&root) => forest.link(root, node),
            None => {
                table.insert(key, node);
                forest.roots.push(node);
            }
        }
    }
    forest
}

/// Appends the threads as the THREAD response has them: `(2)(3 6 (4 23)(44 7 96))`.
pub fn write(forest: &Forest, out: &mut Vec<u8>) {
    enum Step {
        Open(usize),
        Close,
    }
    let mut stack: Vec<Step> = forest.roots.iter().rev().map(|r| Step::Open(*r)).collect();
    while let Some(step) = stack.pop() {
        let Step::Open(root) = step else {
            out.push(b')');
            continue;
        };
        out.push(b'(');
        let mut node = root;
        let mut first = true;
        // A line of only children is written in one list.
        loop {
            if let Some(id) = forest.id(node) {
                if !first {
                    out.push(b' ');
                }
                out.extend_from_slice(id.to_string().as_bytes());
                first = false;
            }
            match forest.children(node) {
                [] => {
                    out.push(b')');
                    break;
                }
                [only] => node = *only,
                many => {
                    if !first {
                        out.push(b' ');
                    }
                    stack.push(Step::Close);
                    stack.extend(many.iter().rev().map(|c| Step::Open(*c)));
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject;
    use proptest::prelude::*;

    /// Records of `id date message-id subject references…`.
    fn records(text: &'static str) -> Vec<Record<'static>> {
        text.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(|line| {
                let mut words = line.split('|').map(str::trim);
                let mut next = || words.next().unwrap_or_default();
                let id: u32 = next().parse().unwrap();
                let sent = Timestamp(next().parse().unwrap());
                let message_id = next();
                let base = subject::base(next());
                let references = next().split_whitespace().collect();
                Record { id, sent, message_id, references, base_subject: base.text.leak(), reply: base.reply }
            })
            .collect()
    }

    fn show(forest: &Forest) -> String {
        let mut out = Vec::new();
        write(forest, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn by_references() {
        let r = records(
            "1|10|a|one|
             2|20|b|Re: one|a
             3|30|c|Re: one|a b
             4|25|d|Re: one|a
             5|5|e|other|",
        );
        assert_eq!(show(&references(&r)), "(5)(1 (2 3)(4))");
    }

    #[test]
    fn missing_parents() {
        // Two replies to a message that is not there; one reply to another.
        let r = records(
            "1|10|a|Re: x|gone
             2|20|b|Re: x|gone
             3|30|c|Re: y|lost",
        );
        assert_eq!(show(&references(&r)), "((1)(2))(3)");
        // A missing message in the middle gives its children to its parent.
        let r = records(
            "1|10|a|x|
             2|20|c|Re: x|a gone
             3|15|d|Re: x|a gone",
        );
        assert_eq!(show(&references(&r)), "(1 (3)(2))");
    }

    #[test]
    fn subjects_join_threads() {
        let r = records(
            "1|10|a|x|
             2|20|b|Re: x|
             3|30|c|x|",
        );
        // A reply goes below the original; another original becomes a sibling of it below a missing one.
        assert_eq!(show(&references(&r)), "((1 2)(3))");
        let r = records(
            "1|10|a|Re: x|
             2|20|b|x|",
        );
        assert_eq!(show(&references(&r)), "(2 1)");
        let r = records(
            "1|10|a||
             2|20|b||",
        );
        assert_eq!(show(&references(&r)), "(1)(2)");
    }

    #[test]
    fn loops_and_doubles() {
        let r = records(
            "1|10|a|x|b
             2|20|b|y|a
             3|30|a|z|
             4|40|d|w|d
             5|50||v|a",
        );
        let shown = show(&references(&r));
        for id in 1..=5 {
            assert_eq!(shown.matches(&id.to_string()).count(), 1, "{shown}");
        }
    }

    #[test]
    fn by_subject_in_order() {
        let r = records(
            "1|30|a|One|
             2|10|b|two|
             3|20|c|Re: one|
             4|40|d|RE: TWO|
             5|50|e|one (fwd)|",
        );
        assert_eq!(show(&ordered_subject(&r)), "(2 4)(3 (1)(5))");
    }

    #[test]
    fn rfc_5256_shape() {
        // The example of RFC 5256 §4: 3 -> 6 -> {4 -> 23, 44 -> 7 -> 96}.
        let r = records(
            "2|1|m2|p|
             3|2|m3|q|
             6|3|m6|q|m3
             4|4|m4|q|m6
             23|5|m23|q|m4
             44|6|m44|q|m6
             7|7|m7|q|m44
             96|8|m96|q|m7",
        );
        assert_eq!(show(&references(&r)), "(2)(3 6 (4 23)(44 7 96))");
    }

    #[test]
    fn a_long_chain_does_not_overflow() {
        let ids: Vec<String> = (0..5000).map(|i| format!("m{i}")).collect();
        let records: Vec<Record<'_>> = (0..5000)
            .map(|i| Record {
                id: i as u32 + 1,
                sent: Timestamp(i as i64),
                message_id: &ids[i],
                references: if i == 0 { vec![] } else { vec![&ids[i - 1]] },
                ..Record::default()
            })
            .collect();
        let shown = show(&references(&records));
        assert!(shown.starts_with("(1 2 3 "), "{}", &shown[..40]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_message_once(spec in proptest::collection::vec((0u8..12, proptest::collection::vec(0u8..12, 0..4), 0u8..3, any::<bool>(), 0i64..20), 0..14)) {
            let names: Vec<String> = (0..12).map(|i| if i == 0 { String::new() } else { format!("m{i}") }).collect();
            let subjects = ["", "x", "y"];
            let records: Vec<Record<'_>> = spec.iter().enumerate().map(|(i, (id, refs, s, reply, sent))| Record {
                id: i as u32 + 100,
                sent: Timestamp(*sent),
                message_id: &names[usize::from(*id)],
                references: refs.iter().map(|r| names[usize::from(*r)].as_str()).collect(),
                base_subject: subjects[usize::from(*s)],
                reply: *reply,
            }).collect();
            for forest in [references(&records), ordered_subject(&records)] {
                let shown = show(&forest);
                let mut found: Vec<u32> = shown.split(|c: char| !c.is_ascii_digit()).filter_map(|w| w.parse().ok()).collect();
                found.sort_unstable();
                prop_assert_eq!(found, (100..100 + records.len() as u32).collect::<Vec<_>>(), "{}", shown);
            }
        }
    }
}
