//! Checks for causes of the area `monitoring`: names and accounts that mislead tests and probes.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use std::collections::BTreeSet;

pub const ALL: &[(&str, Check)] = &[
    ("server_name_begins_another", server_name_begins_another),
    ("health_mailbox_address_is_not_its_upn", health_mailbox_address_is_not_its_upn),
    ("connectivity_test_ran_as_administrator", connectivity_test_ran_as_administrator),
];

fn server_name_begins_another(case: &Case) -> Vec<Hit> {
    let mut names: BTreeSet<String> = case.servers().iter().map(|s| s.to_uppercase()).collect();
    let listed: Vec<&Fact> = case
        .of("object")
        .filter(|f| f.get("serverrole").is_some() || f.get("admindisplayversion").is_some())
        .collect();
    names.extend(listed.iter().filter_map(|f| f.get("name")).map(str::to_uppercase));
    let mut hits = Vec::new();
    for short in &names {
        let begins = format!("{short}-");
        if let Some(long) = names.iter().find(|n| n.starts_with(&begins)) {
            hits.push(Hit::of(format!("The name {short} with a hyphen begins the name {long}"), &listed));
        }
    }
    hits
}

fn health_mailbox_address_is_not_its_upn(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("object") {
        let health = ["name", "displayname", "alias", "userprincipalname"]
            .iter()
            .any(|field| fact.get(field).is_some_and(|v| words::glob("HealthMailbox*", v)));
        let (Some(address), Some(upn)) = (fact.get("primarysmtpaddress"), fact.get("userprincipalname"))
        else {
            continue;
        };
        // Tables cut what is too long for their column.
        let cut = |v: &str| v.ends_with("...") || v.ends_with('…') || !v.contains('@');
        if health && !address.eq_ignore_ascii_case(upn) && !cut(address) && !cut(upn) {
            hits.push(Hit::of(format!("A health mailbox has address {address}, but UPN {upn}"), &[fact]));
        }
    }
    hits
}

fn connectivity_test_ran_as_administrator(case: &Case) -> Vec<Hit> {
    let failed = case.of("object").filter(|f| {
        let test = f.is("type", "TestImapConnectivity")
            || f.is("type", "TestPopConnectivity")
            || f.get("scenario").is_some_and(|s| words::contains(s, "IMAP") || words::contains(s, "POP"));
        test && f.get("result").is_some_and(|r| words::contains(r, "fail"))
    });
    failed
        .filter(|f| {
            f.get("username").is_some_and(|user| {
                let name = user.rsplit('\\').next().unwrap_or(user);
                name.split('@').next().unwrap_or(name).eq_ignore_ascii_case("administrator")
            })
        })
        .map(|f| Hit::of("The test signed in as administrator, which is always refused", &[f]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    #[test]
    fn names_and_accounts() {
        let object = || Fact::new("object", Place::default());
        let mut case = Case::new(Timestamp(0));
        case.add(object().with("name", "EXCH-01").with("serverrole", "Mailbox"));
        case.add(object().with("name", "EXCH-02").with("serverrole", "Mailbox"));
        assert!(server_name_begins_another(&case).is_empty());
        case.add(object().with("name", "EXCH").with("serverrole", "Mailbox"));
        assert_eq!(server_name_begins_another(&case).len(), 1);
        let mailbox = |address: &str| {
            object()
                .with("name", "HealthMailbox1f")
                .with("primarysmtpaddress", address)
                .with("userprincipalname", "HealthMailbox1f@corp.example")
        };
        case.add(mailbox("healthmailbox1f@corp.example"));
        assert!(health_mailbox_address_is_not_its_upn(&case).is_empty());
        case.add(mailbox("HealthMailbox1f@example.org"));
        assert_eq!(health_mailbox_address_is_not_its_upn(&case).len(), 1);
        let test = |user: &str| {
            object().with("type", "TestImapConnectivity").with("result", "Failure").with("username", user)
        };
        case.add(test("anna"));
        assert!(connectivity_test_ran_as_administrator(&case).is_empty());
        case.add(test("CORP\\Administrator"));
        assert_eq!(connectivity_test_ran_as_administrator(&case).len(), 1);
    }
}
