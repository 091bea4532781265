//! The queue's rows, all in partition `[0x20]`; docs/store.md has them to the byte.
//!
//! ```text
//! [20] 01 [id]              the item: envelope, hops, recipients
//! [20] 02 [id]              the message's bytes (zstd), where they are small
//! [20] 03 [id] [page u32]   hops and recipients, where the item has many
//! [20] 04 [id] [hop u32]    state of a hop; written when it is put off or ends before its item
//! [20] 05 [next hop]        state of a queue: suspended, or waiting after a failure to connect
//! [20] 06                   how often the server has ended without saying so
//! [20] 07 [id] [hop u32]    the hop's handling has begun; written after such ends alone
//! [20] 08 [delivery 16]     number of the item that another server's delivery became, so that it becomes one only
//! [20] F0 [account] [id]    the item is shown in the account's outbox; transport writes these
//! ```
//!
//! An item whose hops have all ended is removed whole. Larger bytes are kept alive by the holder `[20][id]`.

use crate::QUEUE_PREFIX;
use crate::codec::{
    Input, cut, priority_code, priority_of, put_local, put_mailbox, put_reason, put_recipient, put_route,
    put_text, put_varint,
};
use crate::limits::{BATCH, PACKED, PAGE};
use crate::model::{
    Accepted, Client, DeliveryId, Done, Envelope, Hop, Kind, NewItem, NextHop, Params, Priority, Reason,
    Route, Target,
};
use std::net::IpAddr;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Timestamp};
use waypost_smtp::{BodyKind, Mailbox, Return};
use waypost_store::{Batch, BlobId, Body, Expect, Holder, Key, Partition, prefix_range};

pub(crate) const PARTITION: Partition = Partition::tag(QUEUE_PREFIX);
pub(crate) const VERSION: u8 = 2;

pub(crate) const ITEM: u8 = 1;
pub(crate) const BYTES: u8 = 2;
pub(crate) const PAGES: u8 = 3;
pub(crate) const STATE: u8 = 4;
pub(crate) const QUEUE: u8 = 5;
pub(crate) const RUN: u8 = 6;
pub(crate) const ATTEMPT: u8 = 7;
pub(crate) const TAKEN: u8 = 8;
/// What such a row says.
pub(crate) const BEGUN: u8 = 1;
pub(crate) const SUSPECT: u8 = 2;

pub(crate) fn key(kind: u8, id: u64) -> Key {
    let mut key = Vec::with_capacity(14);
    key.extend_from_slice(&[QUEUE_PREFIX, kind]);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

pub(crate) fn key2(kind: u8, id: u64, number: u32) -> Key {
    let mut key = key(kind, id);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number of the item that a row of an item belongs to.
pub(crate) fn id_of(row: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(row.get(2..10)?.try_into().ok()?))
}

/// The second number of a row's key: a hop or page.
pub(crate) fn number_of(row: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(row.get(10..14)?.try_into().ok()?))
}

pub(crate) fn taken_key(delivery: DeliveryId) -> Key {
    let mut key = vec![QUEUE_PREFIX, TAKEN];
    key.extend_from_slice(&delivery.0);
    key
}

/// Where rows about deliveries that began in this hour or later begin.
pub(crate) fn taken_before(hour: u32) -> Key {
    let mut key = vec![QUEUE_PREFIX, TAKEN];
    key.extend_from_slice(&hour.to_be_bytes());
    key
}

/// Keeps the item's bytes in segments alive.
pub(crate) fn holder(id: u64) -> Holder {
    let mut bytes = [QUEUE_PREFIX, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[1..].copy_from_slice(&id.to_be_bytes());
    Partition::new(&bytes)
}

/// What an item's row begins with: all that the schedule needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) stored: bool,
    pub(crate) paged: bool,
    pub(crate) priority: Priority,
    pub(crate) null_sender: bool,
    pub(crate) accepted: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) session: Correlation,
    pub(crate) blob: BlobId,
    pub(crate) size: u64,
    pub(crate) owner: Option<AccountId>,
    utf8: bool,
    has_ip: bool,
    has_envid: bool,
    has_delivery: bool,
    ret: Option<Return>,
    body: BodyKind,
    kind: Kind,
    hops: u32,
    recipients: u32,
    pub(crate) pages: u32,
}

/// A hop as the schedule sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HopHead {
    pub(crate) number: u32,
    pub(crate) route: Route,
    pub(crate) targets: u32,
}

/// A whole item, but for its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) head: Head,
    pub(crate) envelope: Envelope,
    pub(crate) recipients: Vec<Accepted>,
    pub(crate) hops: Vec<Hop>,
}

const STORED: u8 = 1;
const FROM: u8 = 2;
const OWNER: u8 = 4;
const PAGED: u8 = 8;
const UTF8: u8 = 16;
const IP: u8 = 32;

/// The rows of a new item: batches of a chain, the last of which has the item's own row and `also`.
pub(crate) fn new_item(item: &NewItem, last: &mut Batch) -> Vec<Batch> {
    let mut many = Vec::new();
    for hop in &item.hops {
        put_hop(&mut many, hop, &item.recipients);
    }
    for recipient in &item.recipients {
        put_recipient(&mut many, recipient);
    }
    let paged = many.len() > PACKED;
    let pages = if paged { many.len().div_ceil(PAGE) } else { 0 };
    let mut row = Vec::with_capacity(256 + if paged { 0 } else { many.len() });
    put_head(&mut row, item, paged, pages);
    if !paged {
        row.extend_from_slice(&many);
    }
    put_texts(&mut row, &item.envelope);
    last.expect(key(ITEM, item.id), Expect::Absent);
    last.put(key(ITEM, item.id), row);
    if let Body::Inline(bytes) = &item.blob.body {
        last.put(key(BYTES, item.id), bytes.to_vec());
    }
    let mut before = Vec::new();
    if paged {
        let mut batch = Batch::new(PARTITION);
        for (number, page) in (0u32..).zip(many.chunks(PAGE)) {
            if batch.size() + page.len() > BATCH {
                before.push(std::mem::replace(&mut batch, Batch::new(PARTITION)));
            }
            batch.put(key2(PAGES, item.id, number), page.to_vec());
        }
        before.push(batch);
    }
    before
}

fn put_head(row: &mut Vec<u8>, item: &NewItem, paged: bool, pages: usize) {
    let e = &item.envelope;
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    row.push(VERSION);
    row.push(
        flag(item.blob.is_stored(), STORED)
            | flag(e.from.is_some(), FROM)
            | flag(e.owner.is_some(), OWNER)
            | flag(paged, PAGED)
            | flag(e.params.utf8, UTF8)
            | flag(e.client.ip.is_some(), IP)
            | priority_code(e.priority) << 6,
    );
    let ret = match e.params.ret {
        None => 0,
        Some(Return::Full) => 1,
        Some(Return::Headers) => 2,
    };
    let body = match e.params.body {
        BodyKind::SevenBit => 0,
        BodyKind::EightBit => 1,
        BodyKind::Binary => 2,
    };
    let kind = match e.kind {
        Kind::Mail => 0,
        Kind::Report => 1,
    };
    row.push(
        ret | body << 2 | flag(e.params.envid.is_some(), 16) | kind << 5 | flag(e.delivery.is_some(), 128),
    );
    row.extend_from_slice(&e.accepted.as_millis().to_be_bytes());
    row.extend_from_slice(&e.expires.as_millis().to_be_bytes());
    row.extend_from_slice(&e.session.0.to_be_bytes());
    row.extend_from_slice(&item.blob.id.0);
    put_varint(row, item.blob.size);
    if let Some(owner) = e.owner {
        row.extend_from_slice(&owner.0.to_be_bytes());
    }
    put_varint(row, item.hops.len() as u64);
    put_varint(row, item.recipients.len() as u64);
    put_varint(row, pages as u64);
}

fn put_hop(out: &mut Vec<u8>, hop: &Hop, recipients: &[Accepted]) {
    put_varint(out, hop.number.into());
    put_route(out, &hop.route);
    put_varint(out, hop.targets.len() as u64);
    for target in &hop.targets {
        let same = recipients.get(target.of as usize).is_some_and(|r| r.to == target.to);
        out.push(u8::from(target.local.is_some()) | u8::from(same) << 1);
        put_varint(out, target.of.into());
        if let Some(local) = target.local {
            put_local(out, local);
        }
        if !same {
            put_mailbox(out, &target.to);
        }
    }
}

fn put_texts(row: &mut Vec<u8>, e: &Envelope) {
    if let Some(from) = &e.from {
        put_mailbox(row, from);
    }
    if let Some(envid) = &e.params.envid {
        put_text(row, envid);
    }
    match e.client.ip {
        None => {}
        Some(IpAddr::V4(ip)) => {
            row.push(4);
            row.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            row.push(16);
            row.extend_from_slice(&ip.octets());
        }
    }
    for text in [&e.client.helo, &e.client.connector, &e.subject, &e.message_id, &e.headers_from] {
        put_text(row, text);
    }
    put_varint(row, e.hops_seen.into());
    if let Some(delivery) = e.delivery {
        row.extend_from_slice(&delivery.0);
    }
}

impl Head {
    /// Reads a row's head; what is left of the input are the hops, if they are in the row.
    pub(crate) fn read(input: &mut Input<'_>) -> Option<Head> {
        if input.byte()? != VERSION {
            return None;
        }
        let flags = input.byte()?;
        let more = input.byte()?;
        let accepted = Timestamp(input.i64()?);
        let expires = Timestamp(input.i64()?);
        let session = Correlation(input.u64()?);
        let blob = BlobId(input.take(32)?.try_into().ok()?);
        let size = input.varint()?;
        let owner = if flags & OWNER != 0 { Some(AccountId(input.u32()?)) } else { None };
        Some(Head {
            stored: flags & STORED != 0,
            paged: flags & PAGED != 0,
            priority: priority_of(flags >> 6)?,
            null_sender: flags & FROM == 0,
            accepted,
            expires,
            session,
            blob,
            size,
            owner,
            utf8: flags & UTF8 != 0,
            has_ip: flags & IP != 0,
            has_envid: more & 16 != 0,
            has_delivery: more & 128 != 0,
            ret: match more & 3 {
                0 => None,
                1 => Some(Return::Full),
                2 => Some(Return::Headers),
                _ => return None,
            },
            body: match more >> 2 & 3 {
                0 => BodyKind::SevenBit,
                1 => BodyKind::EightBit,
                2 => BodyKind::Binary,
                _ => return None,
            },
            kind: match more >> 5 & 3 {
                0 => Kind::Mail,
                1 => Kind::Report,
                _ => return None,
            },
            hops: input.number()?,
            recipients: input.number()?,
            pages: input.number()?,
        })
    }

    /// The hops alone, for the schedule. `input` is what followed the head, or the pages put together.
    pub(crate) fn hop_heads(&self, input: &mut Input<'_>) -> Option<Vec<HopHead>> {
        let mut heads = Vec::new();
        for _ in 0..self.hops {
            let number = input.number()?;
            let route = input.route()?;
            let targets = input.number()?;
            for _ in 0..targets {
                skip_target(input)?;
            }
            heads.push(HopHead { number, route, targets });
        }
        Some(heads)
    }

    fn many(&self, input: &mut Input<'_>) -> Option<(Vec<Hop>, Vec<Accepted>)> {
        let mut hops = Vec::new();
        // Addresses that are those of accepted recipients are filled in when these have been read.
        let mut same = Vec::new();
        for at in 0..self.hops {
            let number = input.number()?;
            let route = input.route()?;
            let count = input.number()?;
            let mut targets = Vec::new();
            for index in 0..count {
                let flags = input.byte()?;
                let of = input.number()?;
                let local = if flags & 1 != 0 { Some(input.local()?) } else { None };
                let to = if flags & 2 != 0 {
                    same.push((at, index));
                    Mailbox::new("", "")
                } else {
                    input.mailbox()?
                };
                targets.push(Target { to, of, local });
            }
            hops.push(Hop { number, route, targets });
        }
        let mut recipients = Vec::new();
        for _ in 0..self.recipients {
            recipients.push(input.recipient()?);
        }
        for (hop, index) in same {
            let target = hops.get_mut(hop as usize)?.targets.get_mut(index as usize)?;
            target.to = recipients.get(target.of as usize)?.to.clone();
        }
        Some((hops, recipients))
    }
}

fn skip_target(input: &mut Input<'_>) -> Option<()> {
    let flags = input.byte()?;
    input.varint()?;
    if flags & 1 != 0 {
        input.local()?;
    }
    if flags & 2 == 0 {
        input.text()?;
        input.text()?;
    }
    Some(())
}

impl Item {
    /// Reads an item's row; `pages` are its pages put together, empty if it has none.
    pub(crate) fn decode(row: &[u8], pages: &[u8]) -> Option<Item> {
        let mut input = Input(row);
        let head = Head::read(&mut input)?;
        let (hops, recipients) =
            if head.paged { head.many(&mut Input(pages))? } else { head.many(&mut input)? };
        let envelope = texts(&mut input, &head)?;
        Some(Item { head, envelope, recipients, hops })
    }
}

/// The envelope alone: hops and recipients are passed over.
pub(crate) fn envelope(row: &[u8]) -> Option<(Head, Envelope)> {
    let mut input = Input(row);
    let head = Head::read(&mut input)?;
    if !head.paged {
        head.hop_heads(&mut input)?;
        for _ in 0..head.recipients {
            input.recipient()?;
        }
    }
    let envelope = texts(&mut input, &head)?;
    Some((head, envelope))
}

fn texts(input: &mut Input<'_>, head: &Head) -> Option<Envelope> {
    let from = if head.null_sender { None } else { Some(input.mailbox()?) };
    let envid = if head.has_envid { Some(input.text()?.to_owned()) } else { None };
    let ip = if head.has_ip {
        Some(match input.byte()? {
            4 => IpAddr::from(<[u8; 4]>::try_from(input.take(4)?).ok()?),
            16 => IpAddr::from(<[u8; 16]>::try_from(input.take(16)?).ok()?),
            _ => return None,
        })
    } else {
        None
    };
    let helo = input.text()?.to_owned();
    let connector = input.text()?.to_owned();
    Some(Envelope {
        from,
        params: Params { ret: head.ret, envid, utf8: head.utf8, body: head.body },
        owner: head.owner,
        accepted: head.accepted,
        session: head.session,
        priority: head.priority,
        expires: head.expires,
        subject: input.text()?.to_owned(),
        message_id: input.text()?.to_owned(),
        headers_from: input.text()?.to_owned(),
        client: Client { ip, helo, connector },
        kind: head.kind,
        hops_seen: input.number()?,
        delivery: if head.has_delivery { Some(DeliveryId(input.take(16)?.try_into().ok()?)) } else { None },
    })
}

/// Takes an item's rows away: two operations for one that was never put off.
pub(crate) fn remove_item(batch: &mut Batch, id: u64, stored: bool, paged: bool, states: bool) {
    batch.del(key(ITEM, id));
    if !stored {
        batch.del(key(BYTES, id));
    }
    if paged {
        batch.del_range(prefix_range(&key(PAGES, id)));
    }
    if states {
        batch.del_range(prefix_range(&key(STATE, id)));
        batch.del_range(prefix_range(&key(ATTEMPT, id)));
    }
}

/// Which targets of a hop are settled, as runs in ascending order: (first, length, how).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(Vec<(u32, u32, Done)>);

impl Runs {
    pub(crate) fn get(&self, index: u32) -> Option<Done> {
        let after = self.0.partition_point(|(first, ..)| *first <= index);
        let (first, length, done) = *self.0.get(after.checked_sub(1)?)?;
        (index - first < length).then_some(done)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|(_, length, _)| *length).sum()
    }

    /// Enters settled targets; one that is settled already keeps how.
    pub(crate) fn add(&mut self, settled: &[(u32, Done)]) {
        let mut all: Vec<(u32, Done)> =
            settled.iter().filter(|(i, _)| self.get(*i).is_none()).copied().collect();
        all.sort_unstable();
        all.dedup_by_key(|(index, _)| *index);
        let mut runs = std::mem::take(&mut self.0);
        runs.extend(all.into_iter().map(|(index, done)| (index, 1, done)));
        runs.sort_unstable();
        for (first, length, done) in runs {
            match self.0.last_mut() {
                Some(last) if last.2 == done && last.0 + last.1 == first => last.1 += length,
                _ => self.0.push((first, length, done)),
            }
        }
    }
}

/// State of a hop that was put off, held, or has ended before its item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HopState {
    pub(crate) suspended: bool,
    /// The sender was told of the delay.
    pub(crate) warned: bool,
    /// Every target is settled.
    pub(crate) finished: bool,
    /// The evidence.
    pub(crate) poison: Option<String>,
    /// Unsuccessful ends of its handling.
    pub(crate) suspicions: u8,
    /// Instead of the item's.
    pub(crate) priority: Option<Priority>,
    /// Instead of the hop's own.
    pub(crate) route: Option<Route>,
    pub(crate) attempts: u32,
    pub(crate) due: Timestamp,
    pub(crate) last_attempt: Timestamp,
    pub(crate) done: Runs,
    /// Why the last attempt was put off.
    pub(crate) last: Option<Reason>,
    /// Why the first target that failed did.
    pub(crate) failed: Option<Reason>,
}

impl HopState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        out.push(
            u8::from(self.suspended)
                | u8::from(self.warned) << 1
                | u8::from(self.finished) << 2
                | u8::from(self.poison.is_some()) << 3
                | u8::from(self.priority.is_some()) << 4
                | u8::from(self.route.is_some()) << 5
                | u8::from(self.last.is_some()) << 6
                | u8::from(self.failed.is_some()) << 7,
        );
        out.push(self.suspicions);
        put_varint(&mut out, self.attempts.into());
        out.extend_from_slice(&self.due.as_millis().to_be_bytes());
        out.extend_from_slice(&self.last_attempt.as_millis().to_be_bytes());
        put_varint(&mut out, self.done.0.len() as u64);
        let mut end = 0;
        for (first, length, done) in &self.done.0 {
            out.push(match done {
                Done::Delivered => 1,
                Done::Relayed => 2,
                Done::Expanded => 3,
                Done::Failed => 4,
                Done::Dropped => 5,
                Done::Recalled => 6,
            });
            put_varint(&mut out, (first - end).into());
            put_varint(&mut out, (*length).into());
            end = first + length;
        }
        if let Some(evidence) = &self.poison {
            put_text(&mut out, cut(evidence));
        }
        if let Some(priority) = self.priority {
            out.push(priority_code(priority));
        }
        if let Some(route) = &self.route {
            put_route(&mut out, route);
        }
        for reason in [&self.last, &self.failed].into_iter().flatten() {
            put_reason(&mut out, reason);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<HopState> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let flags = input.byte()?;
        let suspicions = input.byte()?;
        let attempts = input.number()?;
        let due = Timestamp(input.i64()?);
        let last_attempt = Timestamp(input.i64()?);
        let mut runs = Vec::new();
        let mut end = 0u32;
        for _ in 0..input.varint()? {
            let done = match input.byte()? {
                1 => Done::Delivered,
                2 => Done::Relayed,
                3 => Done::Expanded,
                4 => Done::Failed,
                5 => Done::Dropped,
                6 => Done::Recalled,
                _ => return None,
            };
            let first = end.checked_add(input.number()?)?;
            let length = input.number()?;
            end = first.checked_add(length)?;
            runs.push((first, length, done));
        }
        let poison = if flags & 8 != 0 { Some(input.text()?.to_owned()) } else { None };
        let priority = if flags & 16 != 0 { Some(priority_of(input.byte()?)?) } else { None };
        let route = if flags & 32 != 0 { Some(input.route()?) } else { None };
        let last = if flags & 64 != 0 { Some(input.reason()?) } else { None };
        let failed = if flags & 128 != 0 { Some(input.reason()?) } else { None };
        Some(HopState {
            suspended: flags & 1 != 0,
            warned: flags & 2 != 0,
            finished: flags & 4 != 0,
            poison,
            suspicions,
            priority,
            route,
            attempts,
            due,
            last_attempt,
            done: Runs(runs),
            last,
            failed,
        })
    }
}

/// State of a queue that outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueState {
    pub(crate) suspended: bool,
    pub(crate) retry: Option<Retry>,
}

/// A queue that could not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) count: u32,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) next: Timestamp,
    pub(crate) reason: Reason,
}

impl QueueState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.suspended) | u8::from(self.retry.is_some()) << 1];
        if let Some(retry) = &self.retry {
            put_varint(&mut out, retry.count.into());
            for time in [retry.first, retry.last, retry.next] {
                out.extend_from_slice(&time.as_millis().to_be_bytes());
            }
            put_reason(&mut out, &retry.reason);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<QueueState> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let flags = input.byte()?;
        let mut retry = None;
        if flags & 2 != 0 {
            retry = Some(Retry {
                count: input.number()?,
                first: Timestamp(input.i64()?),
                last: Timestamp(input.i64()?),
                next: Timestamp(input.i64()?),
                reason: input.reason()?,
            });
        }
        Some(QueueState { suspended: flags & 1 != 0, retry })
    }
}

/// The key of a queue's state; `None` when its name is longer than a key may be.
pub(crate) fn queue_key(hop: &NextHop) -> Option<Key> {
    let mut key = vec![QUEUE_PREFIX, QUEUE];
    match hop {
        NextHop::Mailbox => key.push(0),
        NextHop::Connector { connector, domain } => {
            key.push(if domain.is_some() { 2 } else { 1 });
            put_text(&mut key, connector);
            put_text(&mut key, domain.as_deref().unwrap_or_default());
        }
        NextHop::Server { host, port } => {
            key.push(3);
            put_text(&mut key, host);
            key.extend_from_slice(&port.to_be_bytes());
        }
        NextHop::Unreachable => key.push(4),
        NextHop::Poison => key.push(5),
        NextHop::Home(server) => {
            key.push(6);
            put_text(&mut key, server);
        }
        NextHop::Hub => key.push(7),
    }
    (key.len() <= waypost_store::limits::KEY_BYTES).then_some(key)
}

/// The queue that a state's key names.
pub(crate) fn queue_of(key: &[u8]) -> Option<NextHop> {
    let mut input = Input(key.get(2..)?);
    let hop = match input.byte()? {
        0 => NextHop::Mailbox,
        kind @ (1 | 2) => {
            let connector = input.text()?.to_owned();
            let domain = input.text()?.to_owned();
            NextHop::Connector { connector, domain: (kind == 2).then_some(domain) }
        }
        3 => {
            let host = input.text()?.to_owned();
            NextHop::Server { host, port: input.u16()? }
        }
        4 => NextHop::Unreachable,
        5 => NextHop::Poison,
        6 => NextHop::Home(input.text()?.to_owned()),
        7 => NextHop::Hub,
        _ => return None,
    };
    input.0.is_empty().then_some(hop)
}

#[cfg(test)]
mod tests;
