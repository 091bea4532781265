//! The example file: every setting with its explanation and default, made from the fields themselves.

use super::fields::Settings;
use super::value::shown;
use std::fmt::Write;

/// The text of `docs/settings.example.toml`. Every line that sets something is commented out: the defaults hold.
pub fn example() -> String {
    let mut out = String::from(
        "# Settings of Waypost, all of them, with their defaults. Copy what you want to change into settings.toml in\n\
         # the data folder, or use the commands (Set-ImapSettings, Set-PopSettings, Set-WaypostSetting).\n\
         # This file is made from the program; a test fails when it is out of date.\n",
    );
    let fields = Settings::fields();
    for (section, about) in Settings::sections() {
        out.push('\n');
        about.iter().for_each(|line| comment(&mut out, line));
        let _ = writeln!(out, "[{section}]");
        for field in fields.iter().filter(|f| f.section == section) {
            let _ = writeln!(out);
            field.about.iter().for_each(|line| comment(&mut out, line));
            let _ = writeln!(out, "#{} = {}", field.name, shown(&field.default));
        }
    }
    let fields = Settings::named_fields();
    for (collection, about) in Settings::collections() {
        out.push('\n');
        about.iter().for_each(|line| comment(&mut out, line));
        let _ = writeln!(out, "#[{collection}.NAME]");
        for field in fields.iter().filter(|f| f.section == collection) {
            let _ = writeln!(out);
            field.about.iter().for_each(|line| comment(&mut out, line));
            let _ = writeln!(out, "#{} = {}", field.name, shown(&field.default));
        }
    }
    out
}

fn comment(out: &mut String, line: &str) {
    let _ = writeln!(out, "# {}", line.trim());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Document, Edit};

    #[test]
    fn example_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/settings.example.toml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, example()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == example(), "run the admin tests with UPDATE_GOLDEN=1 to renew settings.example.toml");
    }

    #[test]
    fn example_means_the_defaults_also_when_set() {
        assert_eq!(Document::parse(&example()).unwrap().meant().unwrap(), Settings::default());
        let set: String = example()
            .lines()
            .map(|l| match l.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{l}\n"),
            })
            .collect();
        assert!(set.contains("\nlogin_type = \"SecureLogin\""));
        let mut document = Document::parse(&set).unwrap();
        // Nobody's directory can be guessed: this section does not stand without what an administrator writes.
        document.edit(&[Edit { key: "directory_sources.NAME".into(), value: None }]).unwrap();
        let mut meant = document.meant().unwrap();
        assert_eq!(meant.send_connectors.remove("NAME"), Some(crate::settings::SendConnector::default()));
        assert_eq!(
            meant.receive_connectors.remove("NAME"),
            Some(crate::settings::ReceiveConnector::default())
        );
        assert_eq!(meant.mail_filters.remove("NAME"), Some(crate::settings::MailFilter::default()));
        assert_eq!(meant, Settings::default());
    }
}
