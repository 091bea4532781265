//! The shapes that rows are made of: numbers big-endian, lengths and counts as varints (seven bits a byte, lowest
//! first), texts in UTF-8 behind their length. Reading never panics and never trusts a count.

use crate::model::{Accepted, Local, Place, Priority, Reason, Route};
use waypost_base::AccountId;
use waypost_smtp::{Mailbox, Notify, OriginalRecipient, RcptParams, Status};

pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7F) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_mailbox(out: &mut Vec<u8>, mailbox: &Mailbox) {
    put_text(out, &mailbox.local);
    put_text(out, &mailbox.domain);
}

pub(crate) fn put_recipient(out: &mut Vec<u8>, one: &Accepted) {
    put_mailbox(out, &one.to);
    let notify = one
        .params
        .notify
        .map_or(0, |n| 8 | u8::from(n.success) | u8::from(n.failure) << 1 | u8::from(n.delay) << 2);
    out.push(notify | u8::from(one.params.orcpt.is_some()) << 4);
    if let Some(original) = &one.params.orcpt {
        put_text(out, &original.kind);
        put_text(out, &original.address);
    }
}

pub(crate) fn put_route(out: &mut Vec<u8>, route: &Route) {
    match route {
        Route::Mailbox => out.push(0),
        Route::Domain(domain) => {
            out.push(1);
            put_text(out, domain);
        }
        Route::Server { host, port } => {
            out.push(2);
            put_text(out, host);
            out.extend_from_slice(&port.to_be_bytes());
        }
        Route::Home(server) => {
            out.push(3);
            put_text(out, server);
        }
        Route::Hub => out.push(4),
    }
}

pub(crate) fn put_reason(out: &mut Vec<u8>, reason: &Reason) {
    out.push(
        u8::from(reason.temporary)
            | u8::from(reason.code.is_some()) << 1
            | u8::from(reason.server.is_some()) << 2,
    );
    out.push(reason.status.0);
    put_varint(out, reason.status.1.into());
    put_varint(out, reason.status.2.into());
    if let Some(code) = reason.code {
        out.extend_from_slice(&code.to_be_bytes());
    }
    if let Some(server) = &reason.server {
        put_text(out, cut(server));
    }
    put_text(out, cut(&reason.text));
}

/// The first bytes of a text, up to the bound, at a character's edge.
pub(crate) fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(crate::limits::REASON_BYTES)).unwrap_or_default()
}

pub(crate) fn put_local(out: &mut Vec<u8>, local: Local) {
    out.extend_from_slice(&local.account.0.to_be_bytes());
    out.push(match local.place {
        Place::Inbox => 0,
        Place::Sent => 1,
        Place::Junk => 2,
    });
}

pub(crate) const fn priority_code(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

pub(crate) const fn priority_of(code: u8) -> Option<Priority> {
    match code {
        0 => Some(Priority::High),
        1 => Some(Priority::Normal),
        2 => Some(Priority::Low),
        _ => None,
    }
}

/// What is left of a row.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        Some(self.u64()?.cast_signed())
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return None;
            }
            n |= part << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(crate) fn mailbox(&mut self) -> Option<Mailbox> {
        let local = self.text()?;
        Some(Mailbox::new(local, self.text()?))
    }

    pub(crate) fn local(&mut self) -> Option<Local> {
        let account = AccountId(self.u32()?);
        let place = match self.byte()? {
            0 => Place::Inbox,
            1 => Place::Sent,
            2 => Place::Junk,
            _ => return None,
        };
        Some(Local { account, place })
    }

    pub(crate) fn route(&mut self) -> Option<Route> {
        Some(match self.byte()? {
            0 => Route::Mailbox,
            1 => Route::Domain(self.text()?.to_owned()),
            2 => {
                let host = self.text()?.to_owned();
                Route::Server { host, port: self.u16()? }
            }
            3 => Route::Home(self.text()?.to_owned()),
            4 => Route::Hub,
            _ => return None,
        })
    }

    pub(crate) fn recipient(&mut self) -> Option<Accepted> {
        let to = self.mailbox()?;
        let flags = self.byte()?;
        let mut params = RcptParams::default();
        if flags & 8 != 0 {
            params.notify =
                Some(Notify { success: flags & 1 != 0, failure: flags & 2 != 0, delay: flags & 4 != 0 });
        }
        if flags & 16 != 0 {
            let kind = self.text()?.to_owned();
            params.orcpt = Some(OriginalRecipient { kind, address: self.text()?.to_owned() });
        }
        Some(Accepted { to, params })
    }

    pub(crate) fn reason(&mut self) -> Option<Reason> {
        let flags = self.byte()?;
        let class = self.byte()?;
        let subject = u16::try_from(self.varint()?).ok()?;
        let detail = u16::try_from(self.varint()?).ok()?;
        let code = if flags & 2 != 0 { Some(self.u16()?) } else { None };
        let server = if flags & 4 != 0 { Some(self.text()?.to_owned()) } else { None };
        Some(Reason {
            status: Status(class, subject, detail),
            code,
            server,
            text: self.text()?.to_owned(),
            temporary: flags & 1 != 0,
        })
    }
}
