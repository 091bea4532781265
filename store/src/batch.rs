//! A batch: everything that one commit does, as plain data. Preconditions first, then allocation of numbers,
//! then the operations in order. All of it happens, or nothing does.
//!
//! A batch can be grouped with others, sent in one round trip, retried, reordered or simulated, because it holds
//! no transaction open and asks no questions on the way.

use crate::error::CommitError;
use crate::limits::{BATCH_BYTES, BATCH_OPS, KEY_BYTES, PARTITION_BYTES, VALUE_BYTES};
use std::ops::Range;

/// At most [`KEY_BYTES`] long, never empty; the first bytes are its partition. Keys are ordered as bytes.
pub type Key = Vec<u8>;

/// First byte of the rows that belong to the engine itself; callers cannot write there.
pub const ENGINE_PREFIX: u8 = 0x7F;

/// The common first bytes of all keys of a batch: an account, a shard of the queue, the directory.
///
/// A batch stays in one partition, which is what lets the keyspace be spread over files or servers later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    bytes: [u8; PARTITION_BYTES],
    len: u8,
}

impl Partition {
    /// The partition with these first bytes; at most [`PARTITION_BYTES`], the rest is dropped.
    pub const fn new(prefix: &[u8]) -> Partition {
        let mut bytes = [0; PARTITION_BYTES];
        let mut len = 0;
        while len < prefix.len() && len < PARTITION_BYTES {
            bytes[len] = prefix[len];
            len += 1;
        }
        Partition { bytes, len: len as u8 }
    }

    /// `[tag]`
    pub const fn tag(tag: u8) -> Partition {
        Partition::new(&[tag])
    }

    /// `[tag][number, big-endian]`, as accounts have it.
    pub const fn numbered(tag: u8, number: u32) -> Partition {
        let n = number.to_be_bytes();
        Partition::new(&[tag, n[0], n[1], n[2], n[3]])
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// A key of this partition.
    pub fn key(&self, rest: &[u8]) -> Key {
        let mut key = Vec::with_capacity(usize::from(self.len) + rest.len());
        key.extend_from_slice(self.as_bytes());
        key.extend_from_slice(rest);
        key
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partition({})", Hex(self.as_bytes()))
    }
}

/// Bytes with places for numbers that only the commit will know. Numbers are written big-endian.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    pub bytes: Vec<u8>,
    /// Empty (and then without an allocation) for plain bytes.
    pub slots: Vec<Slot>,
}

/// `bytes[at..at + width]` becomes the first number given by `alloc[alloc]`, plus `plus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub at: u32,
    /// Index into [`Batch::alloc`].
    pub alloc: u16,
    pub plus: u32,
    pub width: Width,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Four bytes. A number that does not fit fails the batch as [`CommitError::Exhausted`].
    W4,
    /// Eight bytes.
    W8,
}

impl Width {
    pub const fn bytes(self) -> usize {
        match self {
            Width::W4 => 4,
            Width::W8 => 8,
        }
    }
}

impl Template {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Template {
        Template { bytes: bytes.into(), slots: Vec::new() }
    }

    /// Appends plain bytes.
    pub fn push(mut self, bytes: &[u8]) -> Template {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a four-byte place for the first number of `alloc`, plus `plus`.
    pub fn slot4(self, alloc: u16, plus: u32) -> Template {
        self.slot(alloc, plus, Width::W4)
    }

    /// Appends an eight-byte place for the first number of `alloc`, plus `plus`.
    pub fn slot8(self, alloc: u16, plus: u32) -> Template {
        self.slot(alloc, plus, Width::W8)
    }

    fn slot(mut self, alloc: u16, plus: u32, width: Width) -> Template {
        let at = self.bytes.len() as u32;
        self.bytes.resize(self.bytes.len() + width.bytes(), 0);
        self.slots.push(Slot { at, alloc, plus, width });
        self
    }

    /// The bytes with every slot filled. Fails only if a number does not fit or a slot points nowhere.
    pub fn fill(mut self, allocated: &[u64]) -> Result<Vec<u8>, CommitError> {
        for slot in &self.slots {
            let first = allocated
                .get(usize::from(slot.alloc))
                .ok_or(CommitError::Invalid("slot without allocation"))?;
            let number = first.checked_add(u64::from(slot.plus)).ok_or(CommitError::Exhausted)?;
            let at = slot.at as usize;
            let place = self
                .bytes
                .get_mut(at..at.saturating_add(slot.width.bytes()))
                .ok_or(CommitError::Invalid("slot outside its template"))?;
            match slot.width {
                Width::W4 => {
                    let number = u32::try_from(number).map_err(|_| CommitError::Exhausted)?;
                    place.copy_from_slice(&number.to_be_bytes());
                }
                Width::W8 => place.copy_from_slice(&number.to_be_bytes()),
            }
        }
        Ok(self.bytes)
    }
}

impl From<Vec<u8>> for Template {
    fn from(bytes: Vec<u8>) -> Template {
        Template { bytes, slots: Vec::new() }
    }
}

impl From<&[u8]> for Template {
    fn from(bytes: &[u8]) -> Template {
        Template { bytes: bytes.to_vec(), slots: Vec::new() }
    }
}

/// What must hold before the batch, or nothing of it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Present,
    /// The first eight bytes of the value, big-endian: the version that mutable rows begin with.
    Version(u64),
    /// The whole value.
    Value(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put(Template, Template),
    /// Deleting what is not there is no error.
    Del(Key),
    /// Deletes the keys from the first (included) to the second (excluded).
    DelRange(Key, Key),
    /// Adds to a counter row: eight bytes, a big-endian `i64`, absent means 0. A row that has come to 0 stays.
    Add(Key, i64),
}

/// One commit. See the module's text for the order in which its parts take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Every key of the batch must begin with it.
    pub part: Partition,
    /// Looked at before anything of this batch is done, after everything of the batches before it.
    pub expect: Vec<(Key, Expect)>,
    /// Counter rows (eight bytes, big-endian `u64`, absent means 0) to raise by so much each, in order.
    pub alloc: Vec<(Key, u32)>,
    pub ops: Vec<Op>,
    /// Given by a caller who may have to ask again: the second commit with the same token does nothing and
    /// gives the first one's answer. Remembered for [`TOKEN_MILLIS`](crate::limits::TOKEN_MILLIS) at least.
    pub token: Option<[u8; 16]>,
}

impl Batch {
    pub fn new(part: Partition) -> Batch {
        Batch { part, expect: Vec::new(), alloc: Vec::new(), ops: Vec::new(), token: None }
    }

    pub fn expect(&mut self, key: impl Into<Key>, what: Expect) -> &mut Batch {
        self.expect.push((key.into(), what));
        self
    }

    /// Raises the counter `key` by `count`; gives the index by which slots and [`Committed::allocated`] refer to it.
    pub fn alloc(&mut self, key: impl Into<Key>, count: u32) -> u16 {
        self.alloc.push((key.into(), count));
        // A longer list is refused by `check`, so a wrapped index never reaches an engine.
        (self.alloc.len() - 1) as u16
    }

    pub fn put(&mut self, key: impl Into<Template>, value: impl Into<Template>) -> &mut Batch {
        self.ops.push(Op::Put(key.into(), value.into()));
        self
    }

    pub fn del(&mut self, key: impl Into<Key>) -> &mut Batch {
        self.ops.push(Op::Del(key.into()));
        self
    }

    pub fn del_range(&mut self, range: Range<Key>) -> &mut Batch {
        self.ops.push(Op::DelRange(range.start, range.end));
        self
    }

    pub fn add(&mut self, key: impl Into<Key>, amount: i64) -> &mut Batch {
        self.ops.push(Op::Add(key.into(), amount));
        self
    }

    pub fn token(&mut self, token: [u8; 16]) -> &mut Batch {
        self.token = Some(token);
        self
    }

    /// Bytes of all keys and values together, as the limits count them.
    pub fn size(&self) -> usize {
        let expect: usize = self
            .expect
            .iter()
            .map(|(k, e)| k.len() + if let Expect::Value(v) = e { v.len() } else { 8 })
            .sum();
        let alloc: usize = self.alloc.iter().map(|(k, _)| k.len() + 8).sum();
        let ops: usize = self
            .ops
            .iter()
            .map(|op| match op {
                Op::Put(k, v) => k.bytes.len() + v.bytes.len(),
                Op::Del(k) => k.len(),
                Op::DelRange(a, b) => a.len() + b.len(),
                Op::Add(k, _) => k.len() + 8,
            })
            .sum();
        expect + alloc + ops
    }

    /// Number of preconditions, allocations and operations.
    pub fn count(&self) -> usize {
        self.expect.len() + self.alloc.len() + self.ops.len()
    }

    /// Whether it could make the store larger; a full disk refuses only these.
    pub(crate) fn grows(&self) -> bool {
        !self.alloc.is_empty() || self.ops.iter().any(|op| matches!(op, Op::Put(..)))
    }

    /// Holds the batch against every limit; gives its size. Every engine calls it first.
    pub(crate) fn check(&self) -> Result<usize, CommitError> {
        let size = self.size();
        if size > BATCH_BYTES || self.count() > BATCH_OPS {
            return Err(CommitError::TooLarge);
        }
        if self.part.as_bytes().is_empty() || self.part.as_bytes()[0] == ENGINE_PREFIX {
            return Err(CommitError::Invalid("partition is empty or the engine's own"));
        }
        for (key, _) in &self.expect {
            self.check_key(key)?;
        }
        for (key, _) in &self.alloc {
            self.check_key(key)?;
        }
        for op in &self.ops {
            match op {
                Op::Put(key, value) => {
                    self.check_key(&key.bytes)?;
                    if value.bytes.len() > VALUE_BYTES {
                        return Err(CommitError::TooLarge);
                    }
                    self.check_slots(key, self.part.as_bytes().len())?;
                    self.check_slots(value, 0)?;
                }
                Op::Del(key) | Op::Add(key, _) => self.check_key(key)?,
                Op::DelRange(from, to) => {
                    self.check_key(from)?;
                    self.check_range_end(to)?;
                }
            }
        }
        Ok(size)
    }

    fn check_key(&self, key: &[u8]) -> Result<(), CommitError> {
        if key.is_empty() || !key.starts_with(self.part.as_bytes()) {
            return Err(CommitError::Invalid("key outside its partition"));
        }
        if key.len() > KEY_BYTES {
            return Err(CommitError::TooLarge);
        }
        Ok(())
    }

    /// The end of a range may be the first key after the partition.
    fn check_range_end(&self, to: &[u8]) -> Result<(), CommitError> {
        if to.len() > KEY_BYTES {
            return Err(CommitError::TooLarge);
        }
        let inside = to.starts_with(self.part.as_bytes()) || to == prefix_range(self.part.as_bytes()).end;
        inside.then_some(()).ok_or(CommitError::Invalid("range ends outside its partition"))
    }

    fn check_slots(&self, template: &Template, first: usize) -> Result<(), CommitError> {
        for slot in &template.slots {
            let end = (slot.at as usize).saturating_add(slot.width.bytes());
            if usize::from(slot.alloc) >= self.alloc.len() {
                return Err(CommitError::Invalid("slot without allocation"));
            }
            if (slot.at as usize) < first || end > template.bytes.len() {
                return Err(CommitError::Invalid("slot outside its template"));
            }
        }
        Ok(())
    }
}

/// The answer to a batch: all of it has happened, and is durable.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Committed {
    /// For each entry of [`Batch::alloc`] the first number given: the counter's old value plus one.
    pub allocated: Vec<u64>,
    /// The token had been seen before: nothing was done now, `allocated` is the first answer.
    pub replayed: bool,
}

/// All keys that begin with `prefix`. An empty prefix, or one of only 0xFF bytes, reaches to the end of the keyspace.
pub fn prefix_range(prefix: &[u8]) -> Range<Key> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xFF {
            *last += 1;
            return prefix.to_vec()..end;
        }
        end.pop();
    }
    // No key is that long and that high: keys end at 480 bytes.
    prefix.to_vec()..vec![0xFF; KEY_BYTES + 1]
}

/// Prints bytes as lower-case hexadecimal.
pub struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for b in self.0 {
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}
