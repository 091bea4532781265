//! Setting up an organisation: the data folder with settings, keys, certificates, and its first domain.

use crate::machine;
use crate::place::Place;
use crate::run::organisation::Organisation;
use std::io;
use std::sync::Arc;
use waypost_admin::settings::{Author, Edit, SettingsStore, example, save_change};
use waypost_directory::NewDomain;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Puts down a settings document with every key in it, explained and commented out, so that whoever opens it sees what
/// there is. A document that is there already stays.
pub fn first_settings(place: &Place) -> io::Result<()> {
    let path = place.root().join("settings.toml");
    if path.exists() {
        return Ok(());
    }
    let head = "# Settings of Waypost. Every key is here with its default: take away the # of what you change, and send SIGHUP, or\n\
                # use the commands (Set-ImapSettings, Set-PopSettings, Set-WaypostSetting), which keep every version.\n";
    let all = example::example();
    // What heads the example is about the example.
    let keys = all.split_once("\n\n").map_or(all.as_str(), |(_, keys)| keys);
    std::fs::write(path, format!("{head}\n{keys}"))
}

pub async fn run(place: &Place, domain: &str, host: Option<&str>) -> Result<(), Failure> {
    if place.is_set_up() {
        return Err(format!("{} holds an organisation already", place.root().display()).into());
    }
    place.create()?;
    first_settings(place)?;
    let host = host.map_or_else(|| format!("mail.{domain}"), str::to_owned);
    let author = Author {
        who: "init".into(),
        when: machine::clock().now(),
        command: "init".into(),
        ..Author::default()
    };
    save_change(place.root(), &[Edit::set("server.name", &host)], &author)?;
    let settings = Arc::new(SettingsStore::open(place.root())?);
    let organisation = Organisation::open(place, &[&host, "localhost"], &settings.current()).await?;
    organisation.directory.add_domain(NewDomain::new(domain)).await?;
    organisation.close().await;
    println!("An organisation with the domain {domain} is in {}.", place.root().display());
    println!(
        "Next: waypost --data {} New-Mailbox -Name … -PrimarySmtpAddress …@{domain} -Password -",
        place.root().display()
    );
    println!("      waypost --data {} serve", place.root().display());
    // RFC 5321 §4.5.1
    println!(
        "Somebody has to read what is sent to postmaster: give one mailbox -EmailAddresses postmaster@{domain}."
    );
    Ok(())
}
