//! The rows of the directory, to the byte. All keys begin with `0x30`; numbers are big-endian.
//!
//! | key after `0x30` | value |
//! | --- | --- |
//! | `01` | counter of account numbers (u64), never lowered, so that numbers are not reused |
//! | `02` | counter of group numbers (u64) |
//! | `03` | counter of credential numbers (u64) |
//! | `05` | 32 random bytes, made once: what salts for unknown users are derived from |
//! | `06` | random number (u64): the epoch that the next row counts in |
//! | `07` | counter of commits (u64): where copies on other servers stand |
//! | `10` domain (ASCII) | version (u64), then [`Domain`](crate::Domain) as JSON |
//! | `11` account (u32) | version (u64), then [`Account`](crate::Account) as JSON |
//! | `12` group (u32) | version (u64), then [`Group`](crate::Group) as JSON |
//! | `13` account (u32), credential (u32) | version (u64), then [`Credential`](crate::Credential) as JSON |
//! | `14` account (u32) | time (i64 ms), protocol as text: the last sign-in, written lazily |
//! | `15` group (u32), kind (u8), number (u32) or address | empty: a member. Kinds: 1 account, 2 group, 3 external |
//! | `16` server id (ASCII) | version (u64), then [`Server`](crate::Server) as JSON |
//! | `18` id (ASCII) | version (u64), then [`Invitation`](crate::invitation::Invitation) as JSON; not copied to other servers |
//! | `1a` name (ASCII) | version (u64), then [`ApiToken`](crate::ApiToken) as JSON |
//! | `20` address (canonical) | kind (u8: 1 account, 2 group), number (u32): who owns it |
//! | `21` name (lower case) | the same |

use crate::address::Address;
use crate::model::{GroupId, Member};
use crate::snapshot::Owner;
use waypost_base::AccountId;
use waypost_store::{Key, Partition, Template};

pub const PARTITION: Partition = Partition::tag(0x30);

pub(crate) const ACCOUNTS: u8 = 0x01;
pub(crate) const GROUPS: u8 = 0x02;
pub(crate) const CREDENTIALS: u8 = 0x03;
pub(crate) const DISGUISE: u8 = 0x05;
pub(crate) const EPOCH: u8 = 0x06;
pub(crate) const NUMBER: u8 = 0x07;
pub(crate) const DOMAIN: u8 = 0x10;
pub(crate) const ACCOUNT: u8 = 0x11;
pub(crate) const GROUP: u8 = 0x12;
pub(crate) const CREDENTIAL: u8 = 0x13;
pub(crate) const LAST: u8 = 0x14;
pub(crate) const MEMBER: u8 = 0x15;
pub(crate) const SERVER: u8 = 0x16;
pub(crate) const INVITATION: u8 = 0x18;
pub(crate) const API_TOKEN: u8 = 0x1a;
pub(crate) const ADDRESS: u8 = 0x20;
pub(crate) const NAME: u8 = 0x21;

pub(crate) fn single(kind: u8) -> Key {
    PARTITION.key(&[kind])
}

pub(crate) fn text(kind: u8, text: &str) -> Key {
    let mut key = PARTITION.key(&[kind]);
    key.extend_from_slice(text.as_bytes());
    key
}

pub(crate) fn number(kind: u8, number: u32) -> Key {
    let mut key = PARTITION.key(&[kind]);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn credential(account: AccountId, credential: u32) -> Key {
    let mut key = number(CREDENTIAL, account.0);
    key.extend_from_slice(&credential.to_be_bytes());
    key
}

pub(crate) fn member(group: GroupId, member: &Member) -> Key {
    let mut key = number(MEMBER, group.0);
    match member {
        Member::Account(id) => {
            key.push(1);
            key.extend_from_slice(&id.0.to_be_bytes());
        }
        Member::Group(id) => {
            key.push(2);
            key.extend_from_slice(&id.0.to_be_bytes());
        }
        Member::External(address) => {
            key.push(3);
            key.extend_from_slice(address.as_str().as_bytes());
        }
    }
    key
}

/// Reads what [`member`] writes, after the first two bytes.
pub(crate) fn read_member(rest: &[u8]) -> Option<(GroupId, Member)> {
    let (group, rest) = rest.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first()?;
    let number = || <[u8; 4]>::try_from(rest).ok().map(u32::from_be_bytes);
    let member = match kind {
        1 => Member::Account(AccountId(number()?)),
        2 => Member::Group(GroupId(number()?)),
        3 => Member::External(Address::parse(std::str::from_utf8(rest).ok()?).ok()?),
        _ => return None,
    };
    Some((GroupId(u32::from_be_bytes(*group)), member))
}

pub(crate) fn owner(owner: Owner) -> Vec<u8> {
    let (kind, number) = match owner {
        Owner::Account(id) => (1u8, id.0),
        Owner::Group(id) => (2, id.0),
    };
    let mut value = vec![kind];
    value.extend_from_slice(&number.to_be_bytes());
    value
}

/// The value of an address or name row whose owner's number is being allocated by the same batch.
pub(crate) fn new_owner(kind: u8, alloc: u16) -> Template {
    Template::new([kind]).slot4(alloc, 0)
}

/// Version and JSON.
pub(crate) fn versioned(version: u64, record: &impl serde::Serialize) -> Vec<u8> {
    let mut value = version.to_be_bytes().to_vec();
    // Writing to a vector cannot fail, and our records have no maps with keys that are not text.
    let _ = serde_json::to_writer(&mut value, record);
    value
}

pub(crate) fn read_versioned<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<(u64, T), String> {
    let (version, json) = value.split_first_chunk::<8>().ok_or("shorter than its version")?;
    let record = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    Ok((u64::from_be_bytes(*version), record))
}
