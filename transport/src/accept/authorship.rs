//! Whom a submitted message says that it is from, and whether it may.
//!
//! Law: a user writes as an address of their own account, as one that they were given SendAs for, or on behalf of one
//! that they were given SendOnBehalf for, and then the Sender field names them (RFC 5322 §3.6.2).

use crate::draft::{Field, fields};
use crate::limits::AUTHORS;
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::{How, Recipient, Right, Snapshot};
use waypost_mime::addr::{Item, parse};
use waypost_smtp::{Reply, Status};

pub(super) const NOT_YOURS: Reply = Reply::new(550, Status(5, 7, 60), "You may not send as this address");
const NO_SENDER: Reply =
    Reply::new(550, Status(5, 7, 60), "Only receipts and automatic answers may be sent without a sender");
const NOBODY: Reply = Reply::new(550, Status(5, 7, 60), "There is no address in From");
/// What one reader takes for the author may not be what another does.
const AMBIGUOUS: Reply =
    Reply::new(550, Status(5, 7, 60), "The addresses in From or Sender cannot be told apart");
const BARE_CR: Reply = Reply::new(550, Status(5, 6, 0), "The header has a CR that ends no line");
const TOO_MANY: Reply = Reply::new(550, Status(5, 7, 60), "Too many addresses in From");

/// Who submits.
pub(super) struct Author {
    pub(super) directory: Arc<Snapshot>,
    pub(super) me: AccountId,
    /// Whatever From says is taken.
    pub(super) any_from: bool,
    /// MAIL FROM was the null sender.
    pub(super) null_sender: bool,
}

/// How far an account may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Own,
    /// With SendAs.
    As,
    /// With SendOnBehalf alone.
    OnBehalf,
    Not,
}

pub(super) fn may_use(directory: &Snapshot, me: AccountId, address: &str) -> Use {
    match directory.resolve(address) {
        Recipient::Account { account, how, .. } if how != How::CatchAll => {
            if account.id == me {
                Use::Own
            } else if account.permits(me, Right::SendAs) {
                Use::As
            } else if account.permits(me, Right::SendOnBehalf) {
                Use::OnBehalf
            } else {
                Use::Not
            }
        }
        _ => Use::Not,
    }
}

impl Author {
    /// Looks through a header. `Ok(Some)`: a Sender field with this address has to be added.
    pub(super) fn check(&self, header: &[u8]) -> Result<Option<String>, Reply> {
        if self.null_sender && !fields(header).any(|field| is_automatic(&field)) {
            return Err(NO_SENDER);
        }
        if self.any_from {
            return Ok(None);
        }
        // Only binary submissions can still have one. Some readers begin a line, and so a field, behind it.
        if memchr::memchr_iter(b'\r', header).any(|at| header.get(at + 1).is_some_and(|next| *next != b'\n'))
        {
            return Err(BARE_CR);
        }
        let mut behalf = false;
        for field in fields(header).filter(|field| field.is("from")) {
            let addresses = addresses(&field)?;
            // Readers would be shown the name alone, whoever's that is.
            if addresses.is_empty() {
                return Err(NOBODY);
            }
            for address in addresses {
                match may_use(&self.directory, self.me, &address) {
                    Use::Own | Use::As => {}
                    Use::OnBehalf => behalf = true,
                    Use::Not => return Err(NOT_YOURS),
                }
            }
        }
        let mut named = false;
        for field in fields(header).filter(|field| field.is("sender")) {
            for address in addresses(&field)? {
                match may_use(&self.directory, self.me, &address) {
                    Use::Own => named = true,
                    Use::As => {}
                    Use::OnBehalf | Use::Not => return Err(NOT_YOURS),
                }
            }
        }
        let me = self.directory.account(self.me).filter(|_| behalf && !named);
        Ok(me.map(|account| account.primary.to_string()))
    }
}

fn addresses(field: &Field<'_>) -> Result<Vec<String>, Reply> {
    let (items, cut) = parse(field.value, AUTHORS);
    if cut {
        return Err(TOO_MANY);
    }
    let mailbox = |item: Item| match item {
        Item::Mailbox(mailbox) => Some(mailbox.address()),
        _ => None,
    };
    let addresses: Vec<String> = items.into_iter().filter_map(mailbox).collect();
    if angles(field.value) > addresses.len() {
        return Err(AMBIGUOUS);
    }
    Ok(addresses)
}

/// Opening angle brackets outside of quotes and comments: `<one> <two>` is one address, but which?
fn angles(value: &[u8]) -> usize {
    let (mut found, mut depth, mut quoted) = (0, 0u32, false);
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' if quoted || depth > 0 => {
                octets.next();
            }
            b'"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'<' if depth == 0 => found += 1,
            _ => {}
        }
    }
    found
}

/// A receipt (RFC 8098), a report, or an answer that a program gave (RFC 3834).
fn is_automatic(field: &Field<'_>) -> bool {
    let text = || field.text().to_ascii_lowercase();
    (field.is("content-type") && text().contains("multipart/report"))
        || (field.is("auto-submitted") && !text().starts_with("no"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use waypost_directory::Permission;

    #[tokio::test]
    async fn whose_name_it_is() {
        let world = World::new().await;
        let me = world.account("ann");
        for (whose, right) in [("ben", Right::SendAs), ("cat", Right::SendOnBehalf)] {
            let grant = Permission { who: me, right };
            world
                .directory
                .update_account(world.account(whose), |a| a.permissions.push(grant))
                .await
                .unwrap();
        }
        let directory = world.directory.snapshot();
        let author = |null_sender| Author { directory: directory.clone(), me, any_from: false, null_sender };
        let check = |header: &str| author(false).check(header.as_bytes());
        assert_eq!(check("From: Ann <Ann+x@Contoso.test>\r\n"), Ok(None));
        assert_eq!(check("Subject: none\r\n"), Ok(None));
        assert_eq!(check("From: ben@contoso.test, ann@contoso.test\r\n"), Ok(None));
        let behalf = Ok(Some("ann@contoso.test".to_owned()));
        assert_eq!(check("From: cat@contoso.test\r\n"), behalf);
        assert_eq!(check("From: cat@contoso.test\r\nSender: ann@contoso.test\r\n"), Ok(None));
        for forged in [
            "From: dan@contoso.test\r\n",
            "From: boss@elsewhere.example\r\n",
            "From: ann@contoso.test, dan@contoso.test\r\n",
            "From: ann@contoso.test\r\nFROM : dan@contoso.test\r\n",
            "From: ann@contoso.test\r\nSender: dan@contoso.test\r\n",
            "From: cat@contoso.test\r\nSender: cat@contoso.test\r\n",
        ] {
            assert_eq!(check(forged), Err(NOT_YOURS), "{forged}");
        }
        assert_eq!(check("Subject: x\rFrom: dan@contoso.test\r\n"), Err(BARE_CR));
        for nobody in ["From:\r\n", "From: (ann@contoso.test)\r\n", "From: \"The boss\":;\r\n"] {
            assert_eq!(check(nobody), Err(NOBODY), "{nobody}");
        }
        for twice in [
            "From: <ann@contoso.test> <boss@contoso.test>\r\n",
            "From: Ann <ann@contoso.test<boss@contoso.test>>\r\n",
        ] {
            assert!(check(twice).is_err(), "{twice}");
        }
        for fine in [
            "From: \"A < B\" <ann@contoso.test> (< me)\r\n",
            "From: Us: Ann <ann@contoso.test>, \"\\\"<\" <ben@contoso.test>;\r\n",
        ] {
            assert_eq!(check(fine), Ok(None), "{fine}");
        }
        for forged in [
            "From: The boss <>\r\n",
            "From: Us: <dan@contoso.test>;\r\n",
            "From: <@ann:dan@contoso.test>\r\n",
        ] {
            assert_eq!(check(forged), Err(NOT_YOURS), "{forged}");
        }
        let automatic = |header: &str| author(true).check(header.as_bytes());
        assert_eq!(automatic("From: ann@contoso.test\r\n"), Err(NO_SENDER));
        let receipt = "Content-Type: multipart/report;\r\n\treport-type=disposition-notification\r\n";
        assert_eq!(automatic(receipt), Ok(None));
        assert_eq!(automatic("Auto-Submitted: auto-replied\r\n"), Ok(None));
    }
}
