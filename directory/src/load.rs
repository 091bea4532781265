//! Reading the whole directory from the store, once at start and after a conflict with another server.

use crate::credential::Credential;
use crate::error::OpenError;
use crate::model::{Account, Domain, Group, GroupId};
use crate::replica::Delta;
use crate::rows;
use crate::server::Server;
use crate::snapshot::{Policy, Snapshot};
use crate::token::ApiToken;
use std::collections::BTreeMap;
use waypost_base::{AccountId, Timestamp};
use waypost_store::{Engine, Hex, Key, prefix_range};

/// Everything that the scan found.
pub(crate) struct Loaded {
    pub snapshot: Snapshot,
    pub disguise: Option<[u8; 32]>,
    pub last: BTreeMap<AccountId, (Timestamp, String)>,
}

pub(crate) async fn load(engine: &dyn Engine, policy: Policy) -> Result<Loaded, OpenError> {
    let mut loaded = Loaded {
        snapshot: Snapshot { policy, ..Snapshot::default() },
        disguise: None,
        last: BTreeMap::new(),
    };
    let mut range = Some(prefix_range(rows::PARTITION.as_bytes()));
    while let Some(part) = range {
        let page = engine.scan(part, false, u32::MAX, u32::MAX).await?;
        if let Some(key) = page.corrupt.first() {
            return Err(OpenError::Damaged {
                key: Hex(key).to_string(),
                why: "its checksum does not fit".into(),
            });
        }
        for (key, value) in page.rows() {
            let read = take(&mut loaded, key, value);
            read.map_err(|why| OpenError::Damaged { key: Hex(key).to_string(), why })?;
        }
        range = page.next;
    }
    Ok(loaded)
}

/// Puts one row into its place. Kinds of rows that are not known here are left alone: a newer version's.
fn take(loaded: &mut Loaded, key: &[u8], value: &[u8]) -> Result<(), String> {
    let Some((&kind, rest)) = key.get(1..).and_then(<[u8]>::split_first) else { return Ok(()) };
    match kind {
        rows::DISGUISE => loaded.disguise = Some(value.try_into().map_err(|_| "not 32 bytes")?),
        rows::LAST => {
            let (time, protocol) = value.split_first_chunk::<8>().ok_or("too short")?;
            let protocol = String::from_utf8_lossy(protocol).into_owned();
            let time = Timestamp(i64::from_be_bytes(*time));
            loaded.last.insert(AccountId(number(rest)?), (time, protocol));
        }
        _ => put(&mut loaded.snapshot, kind, rest, value)?,
    }
    Ok(())
}

fn number(rest: &[u8]) -> Result<u32, &'static str> {
    rest.first_chunk::<4>().map(|n| u32::from_be_bytes(*n)).ok_or("key is too short")
}

fn second_number(rest: &[u8]) -> Result<u32, &'static str> {
    rest.get(4..).ok_or("key is too short").and_then(number)
}

fn text(rest: &[u8]) -> Result<String, String> {
    std::str::from_utf8(rest).map(str::to_owned).map_err(|e| e.to_string())
}

/// Takes over what another server's change has done to the rows. Names what cannot be read.
pub(crate) fn turn(snapshot: &mut Snapshot, delta: &Delta) -> Result<(), (Key, String)> {
    let parts =
        |key: &'_ [u8]| key.get(1..).and_then(<[u8]>::split_first).map(|(k, rest)| (*k, rest.to_vec()));
    // Ranges go with the account or group that they belong to.
    for key in &delta.dels {
        let Some((kind, rest)) = parts(key) else { continue };
        drop_row(snapshot, kind, &rest).map_err(|why| (key.clone(), why))?;
    }
    for (key, value) in &delta.puts {
        let Some((kind, rest)) = parts(key) else { continue };
        put(snapshot, kind, &rest, value).map_err(|why| (key.clone(), why))?;
    }
    Ok(())
}

/// Takes out what a row stood for, if it is there.
fn drop_row(snapshot: &mut Snapshot, kind: u8, rest: &[u8]) -> Result<(), String> {
    match kind {
        rows::DOMAIN => drop(snapshot.domains.remove(&text(rest)?)),
        rows::ACCOUNT => snapshot.drop_account(AccountId(number(rest)?)),
        rows::GROUP => snapshot.drop_group(GroupId(number(rest)?)),
        rows::CREDENTIAL => snapshot.drop_credential(AccountId(number(rest)?), second_number(rest)?),
        rows::SERVER => snapshot.drop_server(&text(rest)?),
        rows::API_TOKEN => snapshot.drop_api_token(&text(rest)?),
        rows::MEMBER => {
            let (group, member) = rows::read_member(rest).ok_or("not a member")?;
            snapshot.drop_member(group, &member);
        }
        _ => {}
    }
    Ok(())
}

/// Puts what a row stands for into its place.
fn put(snapshot: &mut Snapshot, kind: u8, rest: &[u8], value: &[u8]) -> Result<(), String> {
    match kind {
        rows::DOMAIN => {
            let (version, domain): (_, Domain) = rows::read_versioned(value)?;
            let name = text(rest)?;
            snapshot.put_domain(Domain { version, name, ..domain });
        }
        rows::ACCOUNT => {
            let (version, account): (_, Account) = rows::read_versioned(value)?;
            snapshot.put_account(Account { version, id: AccountId(number(rest)?), ..account });
        }
        rows::GROUP => {
            let (version, group): (_, Group) = rows::read_versioned(value)?;
            snapshot.put_group(Group { version, id: GroupId(number(rest)?), ..group });
        }
        rows::CREDENTIAL => {
            let (version, credential): (_, Credential) = rows::read_versioned(value)?;
            let credential = Credential { version, id: second_number(rest)?, ..credential };
            snapshot.put_credential(AccountId(number(rest)?), credential);
        }
        rows::SERVER => {
            let (version, server): (_, Server) = rows::read_versioned(value)?;
            let id = text(rest)?;
            snapshot.put_server(Server { version, id, ..server });
        }
        rows::API_TOKEN => {
            let (version, token): (_, ApiToken) = rows::read_versioned(value)?;
            let name = text(rest)?;
            snapshot.put_api_token(ApiToken { version, name, ..token });
        }
        rows::MEMBER => {
            let (group, member) = rows::read_member(rest).ok_or("not a member")?;
            snapshot.put_member(group, member);
        }
        _ => {}
    }
    Ok(())
}
