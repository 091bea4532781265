//! GETQUOTA and SETQUOTA (RFC 9208).

use super::Body;
use super::parser::{Parser, Result};
use super::printer::Printer;
use crate::limits;

/// ```abnf
/// getquota = "GETQUOTA" SP quota-root-name
/// ```
pub(crate) fn get(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    Ok(Body::GetQuota(p.text()?))
}

/// ```abnf
/// setquota      = "SETQUOTA" SP quota-root-name SP setquota-list
/// setquota-list = "(" [setquota-resource *(SP setquota-resource)] ")"
/// setquota-resource = resource-name SP resource-limit
/// ```
pub(crate) fn set(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let root = p.text()?;
    p.space()?;
    let mut list = Vec::new();
    p.list_or_nothing(|p| {
        if list.len() == limits::QUOTA_RESOURCES {
            return p.too_large("List of resources");
        }
        let name = p.atom("a resource's name")?.to_ascii_uppercase();
        p.space()?;
        list.push((name, p.number64()?));
        Ok(())
    })?;
    Ok(Body::SetQuota { root, limits: list })
}

pub(crate) fn print_set(p: &mut Printer<'_>, root: &str, list: &[(String, u64)]) {
    p.raw("SETQUOTA ").astring(root.as_bytes()).raw(" ");
    p.list(list, |p, (name, limit)| {
        p.raw(name).raw(" ").number(*limit);
    });
}
