//! New-, Get-, Set-, Rotate- and Remove-DkimSigningConfig; Test-MailDomain.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use waypost_directory::address;
use waypost_mailauth::records::{self, Line, Ours};
use waypost_mailauth::{
    Authenticator, DomainKeys, KeyError, KeyFolder, KeyInfo, KeyState, Names, NamesOptions,
};

const KEY_SIZE: Param =
    Param::new("KeySize", Kind::Int, "Bits of the RSA key: 2048 to 4096. 2048 if not said.");
const SELECTOR: Param =
    Param::new("Selector", Kind::Text, "What the names of both keys begin with; the date if not said.");
const FORCE: Param =
    Param::new("Force", Kind::Switch, "Sign at once, without waiting for the records in the DNS.");
const COLUMNS: &[&str] = &["Domain", "Selector", "Algorithm", "KeySize", "Status", "Enabled"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "New",
        noun: "DkimSigningConfig",
        about: "Makes keys with which the mail of a domain is signed.",
        detail: "An RSA and an Ed25519 key are made. Publish the records that are shown; each key signs as soon as its \
                 record is seen in the DNS.",
        params: &[
            Param::new("DomainName", Kind::Text, "An accepted domain.").mandatory().at(0),
            KEY_SIZE,
            SELECTOR,
            Param::new("Enabled", Kind::Bool, "Whether the domain's mail is signed; $true if not said."),
            FORCE,
        ],
        columns: &["RecordName", "RecordType", "Record"],
        examples: &[Example {
            line: "New-DkimSigningConfig contoso.test",
            about: "Shows two records to publish; signing begins when they are there.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Get",
        noun: "DkimSigningConfig",
        about: "Shows the signing keys.",
        detail: "Pending keys wait for their record in the DNS. Active keys sign. Retiring keys were followed by others, \
                 and their records stay until mail under way has arrived. The records of Retired keys may be removed.",
        params: &[Param::new("Identity", Kind::Text, "A domain.").alias(&["DomainName"]).at(0)],
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Set",
        noun: "DkimSigningConfig",
        about: "Switches signing for a domain on and off.",
        detail: "",
        params: &[
            Param::identity("The domain."),
            Param::new("Enabled", Kind::Bool, "Whether its mail is signed.").mandatory(),
        ],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Rotate",
        noun: "DkimSigningConfig",
        about: "Makes new keys that take over from those that sign now.",
        detail: "Publish the records that are shown. The keys that sign now go on until the new ones are seen in the DNS; \
                 then they retire, and a week later their records may be removed.",
        params: &[Param::identity("The domain."), KEY_SIZE, SELECTOR, FORCE],
        columns: &["RecordName", "RecordType", "Record"],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(rotate(call)),
    },
    Command {
        verb: "Remove",
        noun: "DkimSigningConfig",
        about: "Removes all keys of a domain, or one of them. Its mail is no longer signed with them.",
        detail: "",
        params: &[
            Param::identity("The domain."),
            Param::new("Selector", Kind::Text, "Only this key, by its whole selector."),
        ],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
    Command {
        verb: "Test",
        noun: "MailDomain",
        about: "Compares what the DNS shows for a domain with what it should show: MX, SPF, DKIM, DMARC.",
        detail: "ZoneFile is the record as a line of a zone file. Every answer is asked for anew, but the name servers \
                 that are asked may keep old ones for a while.",
        params: &[
            Param::new("Identity", Kind::Text, "A domain; all accepted domains if not said.")
                .alias(&["DomainName"])
                .at(0),
            Param::new(
                "Address",
                Kind::List,
                "Addresses that mail leaves from; those of this server's name if not said.",
            ),
        ],
        columns: &["Purpose", "RecordName", "State", "Wanted", "Found", "Advice"],
        examples: &[Example {
            line: "Test-MailDomain contoso.test -Property State,ZoneFile,Advice",
            about: "What to publish, ready for a zone file.",
        }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(test(call)),
    },
];

/// How the settings want names to be asked for.
pub fn names_options(dns: &settings::Dns) -> NamesOptions {
    let server = |text: &String| {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        address.or_else(|_| text.parse::<SocketAddr>()).ok()
    };
    NamesOptions {
        servers: dns.servers.iter().filter_map(server).collect(),
        timeout: Duration::from_millis(dns.timeout.0),
        attempts: dns.attempts,
        cache: u64::from(dns.cache_size),
    }
}

impl From<KeyError> for Failure {
    fn from(e: KeyError) -> Failure {
        let (category, target) = match &e {
            KeyError::NoDomain(domain) | KeyError::NoKey(domain, _) => {
                (Category::ObjectNotFound, domain.clone())
            }
            KeyError::Taken(domain, _) => (Category::ResourceExists, domain.clone()),
            KeyError::TooMany(domain) => (Category::LimitsExceeded, domain.clone()),
            KeyError::Domain(_) | KeyError::Selector(_) | KeyError::Bits => {
                (Category::InvalidArgument, "dkim".to_owned())
            }
            KeyError::Content { .. } => (Category::ReadError, "dkim".to_owned()),
            _ => (Category::WriteError, "dkim".to_owned()),
        };
        Failure::new(category, target, e)
    }
}

fn folder(call: &Call<'_>) -> KeyFolder {
    KeyFolder::new(&call.context.data)
}

/// The accepted domain that is meant.
fn accepted(call: &Call<'_>, name: &str) -> Outcome<String> {
    let now = call.directory()?.snapshot();
    let domain = now.domain(name).ok_or_else(|| Failure::not_found("accepted domain", name))?;
    Ok(domain.name.to_string())
}

/// The domain as keys are filed under it, whether or not its mail is still accepted.
fn filed(name: &str) -> Outcome<String> {
    let canonical = address::canonical_domain(name).map_err(|e| Failure::invalid("Identity", e))?;
    Ok(canonical.into_owned())
}

fn record(domain: &DomainKeys, key: &KeyInfo) -> Record {
    let line = Line {
        purpose: "DKIM",
        name: key.name(&domain.domain),
        kind: "TXT",
        wanted: key.record(),
        found: Vec::new(),
        state: records::RecordState::Ok,
        advice: String::new(),
    };
    Record::new()
        .with("Domain", domain.domain.as_str())
        .with("Selector", key.selector.as_str())
        .with("Algorithm", key.algorithm.as_str())
        .with("KeySize", i64::from(key.bits))
        .with("Status", key.state.as_str())
        .with("Enabled", domain.enabled)
        .with("KeyCreationTime", key.created)
        .with("StatusChangedTime", key.since)
        .with("RecordName", line.name.as_str())
        .with("RecordType", line.kind)
        .with("Record", line.wanted.as_str())
        .with("ZoneFile", line.zone())
        .with("Identity", domain.domain.as_str())
}

async fn new(call: &Call<'_>) -> Outcome {
    let domain = accepted(call, call.required("DomainName")?)?;
    if folder(call).domain(&domain)?.is_some() {
        let text = format!("{domain} has signing keys. Rotate-DkimSigningConfig {domain} makes new ones.");
        return Err(Failure::new(Category::ResourceExists, &domain, text));
    }
    if call.only_said(|| format!("Making signing keys for {domain}.")).await {
        return Ok(());
    }
    make(call, &domain).await?;
    if call.flag("Enabled") == Some(false) {
        folder(call).enable(&domain, false)?;
    }
    show(call, &domain, |_| true).await
}

async fn rotate(call: &Call<'_>) -> Outcome {
    let domain = filed(call.required("Identity")?)?;
    let Some(known) = folder(call).domain(&domain)? else {
        return Err(KeyError::NoDomain(domain).into());
    };
    if let Some(waiting) = known.keys.iter().find(|k| k.state == KeyState::Pending) {
        let text = format!(
            "{} waits for its record in the DNS. Publish it, or remove it with Remove-DkimSigningConfig {domain} -Selector {}.",
            waiting.selector, waiting.selector
        );
        return Err(Failure::new(Category::InvalidOperation, &domain, text));
    }
    if call.only_said(|| format!("Making new signing keys for {domain}.")).await {
        return Ok(());
    }
    let made = make(call, &domain).await?;
    show(call, &domain, |key| made.contains(&key.selector)).await
}

/// Makes keys; gives their selectors.
async fn make(call: &Call<'_>, domain: &str) -> Outcome<Vec<String>> {
    let bits = match call.int("KeySize") {
        None => 2048,
        Some(bits) => u32::try_from(bits).map_err(|_| KeyError::Bits)?,
    };
    let (keys, now) = (folder(call), call.context.clock.now());
    let (name, selector) = (domain.to_owned(), call.text("Selector").map(str::to_owned));
    // Finding two large primes takes up to seconds.
    let made = tokio::task::spawn_blocking(move || keys.make(&name, bits, selector.as_deref(), now)).await;
    let made = made.map_err(|e| Failure::new(Category::OperationIncomplete, domain, e))??;
    if call.switch("Force") {
        for key in &made {
            folder(call).activate(domain, &key.selector, now)?;
        }
    }
    Ok(made.into_iter().map(|key| key.selector).collect())
}

async fn show(call: &Call<'_>, domain: &str, wanted: impl Fn(&KeyInfo) -> bool) -> Outcome {
    if let Some(domain) = folder(call).domain(domain)? {
        for key in domain.keys.iter().filter(|key| wanted(key)) {
            call.record(record(&domain, key)).await;
        }
    }
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let domains = match call.text("Identity") {
        None => folder(call).domains()?,
        Some(name) => {
            let name = filed(name)?;
            vec![folder(call).domain(&name)?.ok_or(KeyError::NoDomain(name))?]
        }
    };
    for domain in &domains {
        for key in &domain.keys {
            call.record(record(domain, key)).await;
        }
    }
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let domain = filed(call.required("Identity")?)?;
    let on = call.flag("Enabled").ok_or_else(|| Failure::usage("Enabled", "-Enabled is missing."))?;
    let does = if on { "Signing" } else { "No longer signing" };
    if folder(call).domain(&domain)?.is_none() {
        return Err(KeyError::NoDomain(domain).into());
    }
    if call.only_said(|| format!("{does} the mail of {domain}.")).await {
        return Ok(());
    }
    Ok(folder(call).enable(&domain, on)?)
}

async fn remove(call: &Call<'_>) -> Outcome {
    let domain = filed(call.required("Identity")?)?;
    let Some(known) = folder(call).domain(&domain)? else {
        return Err(KeyError::NoDomain(domain).into());
    };
    let Some(selector) = call.text("Selector") else {
        if call.only_said(|| format!("Removing the signing keys of {domain}.")).await {
            return Ok(());
        }
        return Ok(folder(call).remove(&domain)?);
    };
    if !known.keys.iter().any(|key| key.selector == selector) {
        return Err(KeyError::NoKey(domain, selector.to_owned()).into());
    }
    if call.only_said(|| format!("Removing the signing key {selector} of {domain}.")).await {
        return Ok(());
    }
    Ok(folder(call).forget(&domain, selector)?)
}

async fn test(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let now = call.directory()?.snapshot();
    let domains = match call.text("Identity") {
        Some(name) => vec![accepted(call, name)?],
        None => now.domains().map(|d| d.name.to_string()).collect(),
    };
    let addresses = call.list("Address").unwrap_or_default();
    let sound = |text: &String| {
        text.parse::<IpAddr>()
            .map_err(|_| Failure::invalid("Address", format!("{text:?} is not an IP address.")))
    };
    let addresses = addresses.iter().map(sound).collect::<Outcome<Vec<IpAddr>>>()?;
    let unavailable =
        |e| Failure::new(Category::ResourceUnavailable, "DNS", format!("No name can be asked for: {e}"));
    let names = Names::open(&names_options(&settings.dns)).map_err(unavailable)?;
    let authenticator = Authenticator::new(names);
    for domain in domains {
        let keys = folder(call).domain(&domain)?;
        let ours =
            Ours { domain: &domain, host: &settings.server.name, addresses: &addresses, keys: keys.as_ref() };
        for line in records::state(&authenticator, ours).await {
            call.record(compared(&domain, &line)).await;
        }
    }
    Ok(())
}

fn compared(domain: &str, line: &Line) -> Record {
    Record::new()
        .with("Domain", domain)
        .with("Purpose", line.purpose)
        .with("RecordName", line.name.as_str())
        .with("RecordType", line.kind)
        .with("State", line.state.as_str())
        .with("Wanted", line.wanted.as_str())
        .with("Found", line.found.join("; "))
        .with("Advice", line.advice.as_str())
        .with("ZoneFile", if line.wanted.is_empty() { String::new() } else { line.zone() })
        .with("Identity", domain)
}
