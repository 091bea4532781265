//! What an entry of a directory means: a person or a group, in our words.

use ldap3::SearchEntry;
use std::collections::HashMap;
use waypost_admin::settings::SourceKind;
use waypost_directory::Address;

/// `ACCOUNTDISABLE` of userAccountControl (MS-ADTS §2.2.16).
const ACCOUNT_DISABLED: u32 = 0x2;

/// Attributes that we ask for. What a directory does not have it leaves out.
pub const ATTRIBUTES: &[&str] = &[
    "entryUUID",
    "objectGUID",
    "cn",
    "displayName",
    "mail",
    "mailAlternateAddress",
    "proxyAddresses",
    "uid",
    "sAMAccountName",
    "userPrincipalName",
    "userAccountControl",
    "member",
    "uniqueMember",
];

/// A person or group as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    /// Stays the same when the entry is renamed or moved.
    pub id: String,
    pub name: String,
    pub display_name: String,
    pub primary: Option<Address>,
    pub others: Vec<Address>,
    pub enabled: bool,
    /// DNs, of groups.
    pub members: Vec<String>,
}

pub fn read(entry: ldap3::ResultEntry, kind: SourceKind) -> Entry {
    let SearchEntry { dn, attrs, bin_attrs } = SearchEntry::construct(entry);
    // Directories disagree about the case of attribute names.
    let attrs: HashMap<String, Vec<String>> =
        attrs.into_iter().map(|(name, values)| (name.to_ascii_lowercase(), values)).collect();
    let all = |name: &str| attrs.get(name).cloned().unwrap_or_default();
    let first = |name: &str| all(name).into_iter().next().filter(|v| !v.trim().is_empty());
    let guid = bin_attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case("objectGUID"));
    let guid = guid.and_then(|(_, values)| values.first()).map(|bytes| hex(bytes));
    let id = first("entryuuid").or(guid).or_else(|| first("objectguid")).unwrap_or_else(|| dn.to_lowercase());
    let name = first("samaccountname").or_else(|| first("uid")).or_else(|| first("cn")).unwrap_or_default();
    let (primary, others) = addresses(first("mail"), all("proxyaddresses"), all("mailalternateaddress"));
    let control = first("useraccountcontrol").and_then(|v| v.parse::<u32>().ok()).unwrap_or_default();
    let mut members = all("member");
    members.extend(all("uniquemember"));
    Entry {
        id,
        display_name: first("displayname").or_else(|| first("cn")).unwrap_or_else(|| name.clone()),
        name,
        primary,
        others,
        enabled: kind != SourceKind::ActiveDirectory || control & ACCOUNT_DISABLED == 0,
        members,
        dn,
    }
}

/// The primary address is proxyAddresses' `SMTP:` one, else mail; the rest receive as well.
fn addresses(
    mail: Option<String>,
    proxies: Vec<String>,
    alternates: Vec<String>,
) -> (Option<Address>, Vec<Address>) {
    let parse = |text: &str| Address::parse(text.trim()).ok();
    let main = proxies.iter().find_map(|p| p.strip_prefix("SMTP:")).and_then(parse);
    let primary = main.or_else(|| mail.as_deref().and_then(parse));
    let mut others: Vec<Address> = Vec::new();
    let proxies = proxies.iter().filter_map(|p| p.strip_prefix("smtp:").or_else(|| p.strip_prefix("SMTP:")));
    for text in proxies.chain(mail.as_deref()).chain(alternates.iter().map(String::as_str)) {
        if let Some(address) = parse(text)
            && Some(&address) != primary.as_ref()
            && !others.contains(&address)
        {
            others.push(address);
        }
    }
    (primary, others)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_address_is_the_primary_one() {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let (primary, others) = addresses(
            Some("amy@old.example".into()),
            texts(&["smtp:a@contoso.test", "SMTP:amy@contoso.test", "X400:c=us"]),
            Vec::new(),
        );
        assert_eq!(primary.unwrap().as_str(), "amy@contoso.test");
        let others: Vec<&str> = others.iter().map(Address::as_str).collect();
        assert_eq!(others, ["a@contoso.test", "amy@old.example"]);
        let (primary, others) = addresses(Some("amy@contoso.test".into()), Vec::new(), texts(&["not one"]));
        assert_eq!((primary.unwrap().as_str(), others.len()), ("amy@contoso.test", 0));
        assert_eq!(addresses(None, Vec::new(), Vec::new()), (None, Vec::new()));
    }
}
