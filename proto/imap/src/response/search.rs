//! SEARCH, ESEARCH, SORT and THREAD.

use super::{CRLF, Responder, text};
use crate::value::Tag;

/// An ESEARCH response (RFC 9051 §7.3.4). What is `None` was not asked for, or there was no match.
#[derive(Clone, Debug)]
pub struct EsearchReply<'a> {
    pub tag: &'a Tag,
    pub uid: bool,
    pub min: Option<u32>,
    pub max: Option<u32>,
    pub count: Option<u32>,
    /// Ascending for SEARCH; in sorted order for SORT. An empty slice writes nothing, since ALL must not be empty.
    pub all: Option<&'a [(u32, u32)]>,
    /// RFC 7162 §3.1.10
    pub mod_seq: Option<u64>,
}

/// A thread's message and the answers to it, for THREAD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadNode {
    /// Message number or UID; `None` for a parent that is missing, or stands for several roots.
    pub number: Option<u32>,
    pub children: Vec<ThreadNode>,
}

impl Responder<'_> {
    /// `* SEARCH 2 84 882 (MODSEQ 5)` of rev1.
    pub fn search(&mut self, numbers: impl IntoIterator<Item = u32>, mod_seq: Option<u64>) {
        self.raw(b"* SEARCH");
        self.numbers(numbers);
        if let Some(n) = mod_seq {
            self.raw(b" (MODSEQ ");
            self.number(n);
            self.raw(b")");
        }
        self.raw(CRLF);
    }

    /// `* SORT 2 84 882` (RFC 5256 §4)
    pub fn sort(&mut self, numbers: impl IntoIterator<Item = u32>, mod_seq: Option<u64>) {
        self.raw(b"* SORT");
        self.numbers(numbers);
        if let Some(n) = mod_seq {
            self.raw(b" (MODSEQ ");
            self.number(n);
            self.raw(b")");
        }
        self.raw(CRLF);
    }

    /// `* ESEARCH (TAG "A282") UID MIN 2 COUNT 3`
    pub fn esearch(&mut self, reply: &EsearchReply<'_>) {
        self.raw(b"* ESEARCH (TAG ");
        self.string(reply.tag.as_str().as_bytes());
        self.raw(if reply.uid { b") UID" } else { b")" });
        let numbers: [(&[u8], Option<u64>); 3] = [
            (b" MIN ", reply.min.map(u64::from)),
            (b" MAX ", reply.max.map(u64::from)),
            (b" COUNT ", reply.count.map(u64::from)),
        ];
        for (name, value) in numbers {
            if let Some(n) = value {
                self.raw(name);
                self.number(n);
            }
        }
        if let Some(all) = reply.all.filter(|all| !all.is_empty()) {
            self.raw(b" ALL ");
            text::number_set(self.out, all);
        }
        if let Some(n) = reply.mod_seq {
            self.raw(b" MODSEQ ");
            self.number(n);
        }
        self.raw(CRLF);
    }

    /// `* THREAD (2)(3 6 (4 23)(44 7 96))` (RFC 5256 §4)
    pub fn thread(&mut self, threads: &[ThreadNode]) {
        self.raw(b"* THREAD");
        if !threads.is_empty() {
            self.raw(b" ");
        }
        for thread in threads {
            self.raw(b"(");
            self.thread_members(thread);
            self.raw(b")");
        }
        self.raw(CRLF);
    }

    /// ```abnf
    /// thread-members = nz-number *(SP nz-number) [SP thread-nested]
    /// thread-nested  = 2*thread-list
    /// thread-list    = "(" (thread-members / thread-nested) ")"
    /// ```
    /// Without recursion, since a conversation can be thousands of answers deep.
    fn thread_members(&mut self, root: &ThreadNode) {
        enum Todo<'n> {
            Node(&'n ThreadNode),
            Open(&'n ThreadNode),
            Close,
        }
        let mut todo = vec![Todo::Node(root)];
        // Whether the list just opened has nothing in it yet.
        let mut fresh = true;
        while let Some(next) = todo.pop() {
            let node = match next {
                Todo::Close => {
                    self.raw(b")");
                    fresh = false;
                    continue;
                }
                Todo::Open(node) => {
                    self.raw(b"(");
                    fresh = true;
                    node
                }
                Todo::Node(node) => node,
            };
            if let Some(n) = node.number {
                self.raw(if fresh { b"" } else { b" " });
                self.number(u64::from(n));
                fresh = false;
            }
            match node.children.as_slice() {
                [] => {}
                [only] => todo.push(Todo::Node(only)),
                several => {
                    self.raw(if fresh { b"" } else { b" " });
                    for child in several.iter().rev() {
                        todo.push(Todo::Close);
                        todo.push(Todo::Open(child));
                    }
                }
            }
        }
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            self.raw(b" ");
            self.number(u64::from(n));
        }
    }
}
