//! Checks for causes of the area `kerberos`: tickets, keys, names, clocks and groups against each other.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::read::when;
use crate::words;
use std::collections::{BTreeMap, BTreeSet};
use waypost_base::Timestamp;

pub const ALL: &[(&str, Check)] = &[
    ("default_encryption_type_forced", encryption_type_forced),
    ("ticket_aes_while_rc4_forced", ticket_aes_while_rc4_forced),
    ("ticket_aes_refused_by_network_service", ticket_aes_refused),
    ("clock_off", clock_off),
    ("smtpsvc_missing", smtpsvc_missing),
    ("smtpsvc_duplicate", smtpsvc_duplicate),
    ("spn_on_two_accounts", spn_on_two_accounts),
    ("kerberos_port_closed", kerberos_port_closed),
    ("supported_encryption_types_do_not_meet", types_do_not_meet),
    ("asa_differs", asa_differs),
    ("exchange_computer_in_admin_group", computer_in_admin_group),
    ("exchange_computer_not_in_groups", computer_not_in_groups),
];

/// Kerberos allows this much between two clocks, in seconds.
const SKEW_MAX: f64 = 300.0;
/// Alternate credentials rolled by one run of the script differ by less, in milliseconds.
const ROLL_MAX: i64 = 3_600_000;

/// Encryption types without AES: DES, RC4 and its export form.
fn is_old_type(number: f64) -> bool {
    [1.0, 2.0, 3.0, 23.0, 24.0].contains(&number)
}

fn forced(case: &Case) -> impl Iterator<Item = &Fact> {
    let values = case.of("registry").filter(|fact| fact.is("name", "DefaultEncryptionType"));
    values.filter(|fact| fact.number("number").or_else(|| fact.number("data")).is_none_or(is_old_type))
}

fn encryption_type_forced(case: &Case) -> Vec<Hit> {
    forced(case)
        .map(|fact| Hit::of("DefaultEncryptionType forces an encryption type without AES", &[fact]))
        .collect()
}

/// Tickets for services, not for controllers, that are encrypted with AES.
fn aes_tickets(case: &Case) -> impl Iterator<Item = &Fact> {
    case.of("ticket").filter(|fact| {
        let server = fact.get("server").unwrap_or_default().to_ascii_lowercase();
        let aes = fact.get("etype").is_some_and(|etype| words::contains(etype, "AES"));
        aes && !server.starts_with("krbtgt") && !server.starts_with("ldap/")
    })
}

fn ticket_aes_while_rc4_forced(case: &Case) -> Vec<Hit> {
    let (Some(value), Some(ticket)) = (forced(case).next(), aes_tickets(case).next()) else {
        return Vec::new();
    };
    let server = ticket.get("server").unwrap_or("the service");
    let text = format!("The ticket for {server} is AES, while DefaultEncryptionType forces an older type");
    vec![Hit { server: value.server.clone(), ..Hit::of(text, &[ticket, value]) }]
}

fn is_network_service(account: &str) -> bool {
    words::contains(account, "NetworkService") || words::contains(account, "Network Service")
}

/// A Kerberos logon failure without a SID, an AES ticket in order, and a service under Network Service.
fn ticket_aes_refused(case: &Case) -> Vec<Hit> {
    let failed = case.of("event").find(|fact| {
        let id = fact.get("id").is_some_and(|id| matches!(id, "4625" | "4265" | "537"));
        id && fact.mentions("Kerberos") && (fact.mentions("NULL SID") || fact.mentions("S-1-0-0"))
    });
    let (Some(failed), Some(ticket)) = (failed, aes_tickets(case).next()) else { return Vec::new() };
    let transport = case.objects("Service").find(|fact| {
        let name = fact.get("name").unwrap_or_default();
        let account = ["account", "startname", "serviceaccount"].iter().find_map(|field| fact.get(field));
        name.eq_ignore_ascii_case("MSExchangeTransport") && account.is_some_and(is_network_service)
    });
    let text = "The sender's ticket is AES and in order, and the receiver could make nothing of it";
    let mut seen = vec![failed, ticket];
    seen.extend(transport);
    vec![Hit::of(text, &seen)]
}

fn clock_off(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("clock") {
        let Some(offset) = fact.number("offset").filter(|offset| offset.abs() > SKEW_MAX) else { continue };
        hits.push(Hit::of(format!("The clock is off by {:.0} s", offset.abs()), &[fact]));
    }
    hits
}

/// Accounts by the service names they hold, in lower case.
fn holders(case: &Case) -> BTreeMap<String, BTreeMap<String, &Fact>> {
    let mut all: BTreeMap<String, BTreeMap<String, &Fact>> = BTreeMap::new();
    for fact in case.of("spn") {
        let (Some(spn), Some(account)) = (fact.get("spn"), fact.get("account")) else { continue };
        all.entry(spn.to_lowercase()).or_default().insert(account_name(account), fact);
    }
    all
}

/// `CN=MBX01,OU=…`, `CORP\MBX01$` and `mbx01` as one.
fn account_name(account: &str) -> String {
    let name = account.trim();
    let name = match name.get(..3) {
        Some(cn) if cn.eq_ignore_ascii_case("CN=") => name.get(3..).unwrap_or_default().split(',').next(),
        _ => name.rsplit('\\').next(),
    };
    name.unwrap_or_default().trim_end_matches('$').to_lowercase()
}

fn spn_on_two_accounts(case: &Case) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::new();
    for (spn, accounts) in holders(case) {
        if accounts.len() > 1 {
            let names: Vec<&str> = accounts.keys().map(String::as_str).collect();
            let facts: Vec<&Fact> = accounts.values().copied().collect();
            hits.push(Hit::of(format!("{spn} stands on {}", names.join(" and ")), &facts));
        }
    }
    hits
}

fn smtpsvc_duplicate(case: &Case) -> Vec<Hit> {
    let listed =
        case.of("spn-duplicate").filter(|f| f.get("spn").is_some_and(|s| words::contains(s, "SMTP")));
    let mut hits: Vec<Hit> = listed
        .map(|fact| {
            Hit::of(format!("{} stands on several accounts", fact.get("spn").unwrap_or_default()), &[fact])
        })
        .collect();
    hits.extend(spn_on_two_accounts(case).into_iter().filter(|hit| hit.fact.starts_with("smtp")));
    hits
}

/// An Exchange server whose listed names lack SMTPSVC.
fn smtpsvc_missing(case: &Case) -> Vec<Hit> {
    let mut accounts: BTreeMap<String, Vec<&Fact>> = BTreeMap::new();
    for fact in case.of("spn") {
        let Some(account) = fact.get("account") else { continue };
        accounts.entry(account_name(account)).or_default().push(fact);
    }
    let mut hits = Vec::new();
    for (account, facts) in accounts {
        let has = |prefix: &str| {
            facts.iter().any(|f| f.get("spn").is_some_and(|spn| spn.to_lowercase().starts_with(prefix)))
        };
        let exchange = has("exchange") || has("smtp/") || has("imap/");
        // A list of one or two names is an answer to another question.
        if exchange && facts.len() > 3 && !has("smtpsvc/") {
            hits.push(Hit::of(format!("{account} holds no SMTPSVC name"), &facts));
        }
    }
    hits
}

fn kerberos_port_closed(case: &Case) -> Vec<Hit> {
    let closed = case.of("port").filter(|fact| {
        let state = fact.get("state").or_else(|| fact.get("error")).unwrap_or_default().to_ascii_lowercase();
        let shut = ["closed", "filtered", "refused", "failed", "timeout", "false", "blocked"];
        fact.is("port", "88") && shut.iter().any(|word| state.contains(word))
    });
    let objects = case
        .objects("NetConnection")
        .filter(|fact| fact.is("remoteport", "88") && fact.is("tcptestsucceeded", "False"));
    closed
        .chain(objects)
        .take(2)
        .map(|fact| Hit::of("Port 88 of the controller cannot be reached", &[fact]))
        .collect()
}

fn types_do_not_meet(case: &Case) -> Vec<Hit> {
    let mut known: Vec<(&Fact, u32)> = Vec::new();
    for fact in case.of("object").chain(case.of("registry")) {
        let value = match fact.get("msdssupportedencryptiontypes") {
            Some(_) => fact.number("msdssupportedencryptiontypes"),
            None if fact.is("name", "SupportedEncryptionTypes") => {
                fact.number("number").or_else(|| fact.number("data"))
            }
            None => continue,
        };
        // The low five bits are the types; 0 stands for the default.
        let types =
            value.filter(|v| (0.0..=4_294_967_295.0).contains(v)).map_or(0, |v| (v as u64 & 0x1f) as u32);
        if types != 0 {
            known.push((fact, types));
        }
    }
    for (at, (one, types)) in known.iter().enumerate() {
        if let Some((other, others)) = known.iter().skip(at + 1).find(|(_, others)| types & others == 0) {
            let text = format!("Encryption types {types} and {others} have nothing in common");
            return vec![Hit::of(text, &[one, other])];
        }
    }
    Vec::new()
}

/// When the latest alternate credential was set, and for whom.
fn latest_credential(text: &str) -> Option<(Option<Timestamp>, String)> {
    let rest = match text.find("Latest:") {
        Some(at) => text.get(at + 7..)?,
        None => text,
    };
    let rest = rest.split("Previous").next().unwrap_or(rest).trim();
    if words::contains(rest, "Not set") {
        return Some((None, String::new()));
    }
    let (date, account) = rest.rsplit_once(',').unwrap_or((rest, ""));
    Some((when::parse(date.trim()), account.trim().trim_end_matches(['}', ' ']).to_lowercase()))
}

fn asa_differs(case: &Case) -> Vec<Hit> {
    let mut known: Vec<(&Fact, Option<Timestamp>, String)> = Vec::new();
    for fact in case.objects("ClientAccessService").chain(case.objects("ClientAccessServer")) {
        let Some(text) = fact.get("alternateserviceaccountconfiguration") else { continue };
        if let Some((time, account)) = latest_credential(text) {
            known.push((fact, time, account));
        }
    }
    let Some((first, time, account)) = known.first() else { return Vec::new() };
    let differs = known.iter().skip(1).find(|(_, other_time, other_account)| {
        let apart = time.zip(*other_time).is_some_and(|(a, b)| a.since(b).abs() > ROLL_MAX);
        other_account != account || apart || time.is_some() != other_time.is_some()
    });
    let Some((other, ..)) = differs else { return Vec::new() };
    let name = |fact: &Fact| fact.get("name").or_else(|| fact.get("fqdn")).unwrap_or("a server").to_owned();
    let text = format!("The alternate credential of {} is not that of {}", name(other), name(first));
    vec![Hit::of(text, &[first, other])]
}

const ADMIN_GROUPS: &[&str] = &[
    "Domain Admins",
    "Enterprise Admins",
    "Schema Admins",
    "Domänen-Admins",
    "Organisations-Admins",
    "Admins du domaine",
];

fn is_computer(fact: &Fact) -> bool {
    let class = fact.get("objectclass").is_some_and(|c| c.eq_ignore_ascii_case("computer"));
    let account = fact.get("samaccountname").is_some_and(|n| n.ends_with('$'));
    class || account || fact.get("type").is_some_and(|t| t.eq_ignore_ascii_case("ADComputer"))
}

fn computer_in_admin_group(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("object") {
        let in_list = ["memberof", "groups"].iter().filter_map(|field| fact.get(field));
        let groups: String = in_list.collect::<Vec<_>>().join(";");
        let found = ADMIN_GROUPS.iter().find(|group| words::contains(&groups, group));
        if let Some(group) = found.filter(|_| is_computer(fact)) {
            hits.push(Hit::of(format!("A computer account is a member of {group}"), &[fact]));
        }
    }
    for (_, rows) in memberships(case) {
        let exchange = rows.iter().any(|row| is_exchange_group(row.get("name").unwrap_or_default()));
        let admin = rows.iter().find(|row| ADMIN_GROUPS.iter().any(|group| row.is("name", group)));
        if let Some(row) = admin.filter(|_| exchange) {
            let group = row.get("name").unwrap_or_default();
            hits.push(Hit::of(format!("The Exchange server is a member of {group}"), &[row]));
        }
    }
    for fact in case.objects("ADGroupMember").filter(|fact| fact.is("objectclass", "computer")) {
        // The group stands on the command's line only.
        let asked = case.all().find(|other| {
            other.at.file == fact.at.file && ADMIN_GROUPS.iter().any(|group| other.mentions(group))
        });
        if let Some(asked) = asked {
            let name = fact.get("name").unwrap_or("a computer");
            hits.push(Hit::of(
                format!("{name} is among the members of an administrators' group"),
                &[fact, asked],
            ));
        }
    }
    for fact in case.of("text") {
        // `net group "Domain Admins" /domain` lists computers with their `$`.
        let exchange = fact.text.split_whitespace().any(|word| {
            let name = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '$');
            name.len() > 2 && name.ends_with('$')
        });
        if exchange && ADMIN_GROUPS.iter().any(|group| fact.mentions(group)) {
            hits.push(Hit::of("A computer account and an administrators' group", &[fact]));
        }
    }
    hits
}

fn is_exchange_group(name: &str) -> bool {
    let groups = [
        "Exchange Servers",
        "Exchange Trusted Subsystem",
        "Managed Availability Servers",
        "Exchange Install Domain Servers",
    ];
    groups.iter().any(|group| words::contains(name, group))
}

/// Rows of Get-ADPrincipalGroupMembership, by file and by the account that was asked for.
fn memberships(case: &Case) -> BTreeMap<(u32, &str), Vec<&Fact>> {
    let mut files: BTreeMap<(u32, &str), Vec<&Fact>> = BTreeMap::new();
    for fact in case.objects("ADPrincipalGroupMembership") {
        files.entry((fact.at.file, fact.get("of").unwrap_or_default())).or_default().push(fact);
    }
    files
}

/// An Exchange server's account that lacks one of the two groups from which its rights come.
fn computer_not_in_groups(case: &Case) -> Vec<Hit> {
    let needed = ["Exchange Trusted Subsystem", "Exchange Servers"];
    let mut hits = Vec::new();
    let memberships = memberships(case);
    // Beside a server that has them, a computer that is asked for in the same way is one that should have them.
    let compared = memberships.values().any(|rows| {
        needed
            .iter()
            .all(|group| rows.iter().any(|row| row.get("name").is_some_and(|n| words::contains(n, group))))
    });
    let mut judge = |groups: &str, whose: &str, seen: &[&Fact]| {
        let missing: BTreeSet<&str> =
            needed.into_iter().filter(|group| !words::contains(groups, group)).collect();
        let server = is_exchange_group(groups) || compared && whose.ends_with('$');
        if server && !missing.is_empty() {
            let missing: Vec<&str> = missing.into_iter().collect();
            hits.push(Hit::of(format!("{whose} is not a member of {}", missing.join(" and ")), seen));
        }
    };
    for fact in case.of("object").filter(|fact| is_computer(fact)) {
        let Some(groups) = fact.get("memberof") else { continue };
        judge(groups, fact.get("name").unwrap_or("The server"), &[fact]);
    }
    for ((_, whose), rows) in &memberships {
        let groups: Vec<&str> = rows.iter().filter_map(|row| row.get("name")).collect();
        judge(&groups.join(";"), if whose.is_empty() { "The server" } else { whose }, rows);
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_by_every_form() {
        for form in ["CN=MBX01,OU=Servers,DC=corp,DC=example", "CORP\\MBX01$", "mbx01"] {
            assert_eq!(account_name(form), "mbx01", "{form}");
        }
    }

    #[test]
    fn credentials_of_servers() {
        let (time, account) =
            latest_credential("Latest: 3/1/2026 8:00:12 AM, CORP\\EXASA$ Previous: <Not set>").unwrap();
        assert!(time.is_some());
        assert_eq!(account, "corp\\exasa$");
        assert_eq!(latest_credential("Latest: <Not set>, Previous: <Not set>"), Some((None, String::new())));
    }
}
