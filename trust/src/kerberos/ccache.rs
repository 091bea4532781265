//! Credential caches on disk (FILE, version 4): which tickets an identity holds. Session keys are passed over, not kept.

use super::bytes::Bytes;
use super::limits::{CCACHE_BYTES_MAX, CCACHE_ENTRIES_MAX};
use super::name::{Enctype, Principal};
use super::token;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use waypost_base::Timestamp;
use zeroize::Zeroizing;

/// A ticket that an initiator holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub client: Principal,
    pub server: Principal,
    /// Of the ticket: chosen by the KDC from the keys of the service.
    pub enctype: Option<Enctype>,
    pub kvno: Option<u32>,
    /// Of the session key: chosen by what client and service can both do. It says nothing of the ticket's.
    pub session_enctype: Enctype,
    pub start: Timestamp,
    pub end: Timestamp,
    pub renew_until: Option<Timestamp>,
    /// TicketFlags of RFC 4120 §5.3, the first of them being bit 31.
    pub flags: u32,
    /// Where it is in the file.
    place: Range<usize>,
}

impl Credential {
    /// One that is nowhere in a file: no times, no flags.
    pub fn new(client: Principal, server: Principal, session_enctype: Enctype) -> Credential {
        let (start, end) = (Timestamp(0), Timestamp(0));
        let place = 0..0;
        Credential {
            client,
            server,
            enctype: None,
            kvno: None,
            session_enctype,
            start,
            end,
            renew_until: None,
            flags: 0,
            place,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ccache {
    pub principal: Principal,
    pub credentials: Vec<Credential>,
}

/// Reads a file; what is not a cache is `InvalidData`.
pub fn load(path: &Path) -> io::Result<Ccache> {
    parse(&read(path)?).map_err(|text| io::Error::new(io::ErrorKind::InvalidData, text))
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    waypost_base::denials::report_in(path, "read", File::open(path))?
        .take(CCACHE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the bytes of a cache. Configuration that the library keeps in tickets' clothes is left out.
pub fn parse(bytes: &[u8]) -> Result<Ccache, &'static str> {
    if bytes.len() as u64 > CCACHE_BYTES_MAX {
        return Err("too large for a credential cache");
    }
    let mut rest = Bytes(bytes);
    match rest.u16() {
        Some(0x0504) => {}
        Some(0x0501..=0x0503) => return Err("a credential cache of an old version, which is not read"),
        _ => return Err("not a credential cache"),
    }
    rest.short().ok_or("broken off inside the head")?;
    let principal = counted_name(&mut rest).ok_or("broken off inside the principal")?;
    let mut credentials = Vec::new();
    while !rest.0.is_empty() {
        let start = bytes.len() - rest.0.len();
        let mut credential = credential(&mut rest).ok_or("broken off inside a ticket")?;
        credential.place = start..bytes.len() - rest.0.len();
        if credential.server.realm != "X-CACHECONF:" {
            credentials.push(credential);
        }
        if credentials.len() > CCACHE_ENTRIES_MAX {
            return Err("too many tickets");
        }
    }
    Ok(Ccache { principal, credentials })
}

fn counted_name(rest: &mut Bytes<'_>) -> Option<Principal> {
    let _name_type = rest.u32()?;
    let count = usize::try_from(rest.u32()?).ok()?;
    rest.name(count, Bytes::long)
}

fn credential(rest: &mut Bytes<'_>) -> Option<Credential> {
    let client = counted_name(rest)?;
    let server = counted_name(rest)?;
    let session_enctype = Enctype(i32::from(rest.u16()?));
    let _session_key = rest.long()?;
    let mut time = || rest.u32().map(|t| Timestamp::from_seconds(i64::from(t)));
    let (authenticated, start, end, renew) = (time()?, time()?, time()?, time()?);
    let _is_session_key = rest.u8()?;
    let flags = rest.u32()?;
    // Addresses, then authorization data: a kind and bytes each.
    for _ in 0..2 {
        for _ in 0..rest.u32()? {
            rest.u16()?;
            rest.long()?;
        }
    }
    let ticket = token::ticket(rest.long()?);
    let _second_ticket = rest.long()?;
    Some(Credential {
        client,
        server,
        enctype: ticket.as_ref().map(|t| t.sealed.enctype),
        kvno: ticket.and_then(|t| t.sealed.kvno),
        session_enctype,
        start: if start.0 == 0 { authenticated } else { start },
        end,
        renew_until: (renew.0 != 0).then_some(renew),
        flags,
        place: 0..0,
    })
}

/// Takes tickets out of a cache and returns them; the cache is replaced by one without them, or is gone when none is left.
/// A cache that is not there holds none.
pub fn purge(path: &Path, mut which: impl FnMut(&Credential) -> bool) -> io::Result<Vec<Credential>> {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let cache = parse(&bytes).map_err(|text| io::Error::new(io::ErrorKind::InvalidData, text))?;
    let (gone, kept): (Vec<_>, Vec<_>) = cache.credentials.into_iter().partition(|c| which(c));
    if kept.is_empty() {
        fs::remove_file(path)?;
    } else if !gone.is_empty() {
        let mut left = Zeroizing::new(Vec::with_capacity(bytes.len()));
        let mut from = 0;
        for credential in &gone {
            left.extend_from_slice(bytes.get(from..credential.place.start).unwrap_or_default());
            from = credential.place.end;
        }
        left.extend_from_slice(bytes.get(from..).unwrap_or_default());
        crate::files::replace_bytes(path, &left, 0o600)?;
    }
    Ok(gone)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn name(file: &mut Vec<u8>, text: &str) {
        let name = Principal::parse(text).unwrap();
        file.extend(1u32.to_be_bytes());
        file.extend((name.parts.len() as u32).to_be_bytes());
        for part in std::iter::once(&name.realm).chain(&name.parts) {
            file.extend((part.len() as u32).to_be_bytes());
            file.extend(part.as_bytes());
        }
    }

    /// A cache with tickets for these servers, the tickets themselves as given.
    pub(in crate::kerberos) fn write(servers: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = vec![5, 4, 0, 12, 0, 1, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        name(&mut file, "alice@R");
        for (server, ticket) in servers {
            name(&mut file, "alice@R");
            name(&mut file, server);
            file.extend([0, 18, 0, 0, 0, 2, 7, 7]);
            for time in [1000u32, 0, 2000, 0] {
                file.extend(time.to_be_bytes());
            }
            file.push(0);
            file.extend(0x4000_0000u32.to_be_bytes());
            file.extend([0; 8]);
            file.extend((ticket.len() as u32).to_be_bytes());
            file.extend(*ticket);
            file.extend([0; 4]);
        }
        file
    }

    #[test]
    fn tickets_are_listed_and_purged() {
        let file = write(&[
            ("krbtgt/R@R", b""),
            ("krb5_ccache_conf_data/x@X-CACHECONF:", b"y"),
            ("smtp/hub@R", b""),
        ]);
        let cache = parse(&file).unwrap();
        assert_eq!(cache.principal.to_string(), "alice@R");
        let servers: Vec<_> = cache.credentials.iter().map(|c| c.server.to_string()).collect();
        assert_eq!(servers, ["krbtgt/R@R", "smtp/hub@R"]);
        assert_eq!(cache.credentials[0].start, Timestamp::from_seconds(1000));
        for cut in 0..file.len() {
            // A cut between two tickets leaves a shorter cache.
            let _ = parse(&file[..cut]);
        }

        let path = std::env::temp_dir().join(format!("waypost-ccache-{}", std::process::id()));
        fs::write(&path, &file).unwrap();
        let gone = purge(&path, |c| c.server.parts[0] == "smtp").unwrap();
        assert_eq!(gone.len(), 1);
        assert_eq!(load(&path).unwrap().credentials.len(), 1);
        assert_eq!(purge(&path, |_| true).unwrap().len(), 1);
        assert!(!path.exists());
        assert!(purge(&path, |_| true).unwrap().is_empty());
    }
}
