//! Reading the whole directory from the store, once at start and after a conflict with another server.

use crate::credential::Credential;
use crate::error::OpenError;
use crate::model::{Account, Domain, Group, GroupId};
use crate::rows;
use crate::server::Server;
use crate::snapshot::{Policy, Snapshot};
use std::collections::BTreeMap;
use waypost_base::{AccountId, Timestamp};
use waypost_store::{Engine, Hex, prefix_range};

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
    let number = || rest.first_chunk::<4>().map(|n| u32::from_be_bytes(*n)).ok_or("key is too short");
    let snapshot = &mut loaded.snapshot;
    match kind {
        rows::DISGUISE => loaded.disguise = Some(value.try_into().map_err(|_| "not 32 bytes")?),
        rows::DOMAIN => {
            let (version, domain): (_, Domain) = rows::read_versioned(value)?;
            let name = std::str::from_utf8(rest).map_err(|e| e.to_string())?.to_owned();
            snapshot.put_domain(Domain { version, name, ..domain });
        }
        rows::ACCOUNT => {
            let (version, account): (_, Account) = rows::read_versioned(value)?;
            snapshot.put_account(Account { version, id: AccountId(number()?), ..account });
        }
        rows::GROUP => {
            let (version, group): (_, Group) = rows::read_versioned(value)?;
            snapshot.put_group(Group { version, id: GroupId(number()?), ..group });
        }
        rows::CREDENTIAL => {
            let (version, credential): (_, Credential) = rows::read_versioned(value)?;
            let id = rest.get(4..).and_then(|r| r.first_chunk::<4>()).ok_or("key is too short")?;
            let credential = Credential { version, id: u32::from_be_bytes(*id), ..credential };
            snapshot.put_credential(AccountId(number()?), credential);
        }
        rows::LAST => {
            let (time, protocol) = value.split_first_chunk::<8>().ok_or("too short")?;
            let protocol = String::from_utf8_lossy(protocol).into_owned();
            loaded.last.insert(AccountId(number()?), (Timestamp(i64::from_be_bytes(*time)), protocol));
        }
        rows::SERVER => {
            let (version, server): (_, Server) = rows::read_versioned(value)?;
            let id = std::str::from_utf8(rest).map_err(|e| e.to_string())?.to_owned();
            snapshot.put_server(Server { version, id, ..server });
        }
        rows::MEMBER => {
            let (group, member) = rows::read_member(rest).ok_or("not a member")?;
            snapshot.put_member(group, member);
        }
        _ => {}
    }
    Ok(())
}
