//! What of the organisation's document goes to other servers, and which keys are a machine's own.
//!
//! The server that keeps the organisation has one document for both, as a single server has had it all along. Its sections
//! `server`, `listeners` and `tls`, and every path, are about that machine; other servers have theirs in `server.toml`.

use toml_edit::{DocumentMut, Item};

/// Sections that are about one machine.
const LOCAL_SECTIONS: &[&str] = &["server", "listeners", "tls"];

/// Keys of other sections that are about one machine: whose keys it holds.
const LOCAL_KEYS: &[&str] = &["kerberos.keytab", "kerberos.principal", "kerberos.library"];

/// Endings of fields that name files and folders of one machine.
const LOCAL_ENDINGS: &[&str] = &["_path", "_location", "_file"];

/// Whether a key (`imap.banner`) holds for one machine only.
pub fn is_local(key: &str) -> bool {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let field = rest.rsplit('.').next().unwrap_or(rest);
    LOCAL_SECTIONS.contains(&section) || LOCAL_KEYS.contains(&key) || is_path(field)
}

fn is_path(field: &str) -> bool {
    LOCAL_ENDINGS.iter().any(|ending| field.ends_with(ending))
}

/// The document as other servers get it: without what is about the machine that keeps it. A text that is no TOML is given
/// as it is; it is refused wherever it is read.
pub fn shared(text: &str) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return text.to_owned() };
    for section in LOCAL_SECTIONS {
        document.remove(section);
    }
    for (section, field) in LOCAL_KEYS.iter().filter_map(|key| key.split_once('.')) {
        if let Some(table) = document.get_mut(section).and_then(Item::as_table_like_mut) {
            table.remove(field);
        }
    }
    let sections: Vec<String> = document.iter().map(|(name, _)| name.to_owned()).collect();
    for section in sections {
        if let Some(item) = document.get_mut(&section) {
            without_paths(item, 0);
        }
    }
    document.to_string()
}

fn without_paths(item: &mut Item, depth: u8) {
    let Some(table) = item.as_table_like_mut() else { return };
    let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        match table.get_mut(&name) {
            // Sections of a collection have names that administrators give; only fields are paths.
            Some(inner) if inner.is_table_like() && depth == 0 => without_paths(inner, depth + 1),
            Some(_) if is_path(&name) => drop(table.remove(&name)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_own_stays_on_it() {
        let text = "# Ours.\n[server]\nid = \"server-1\"\n\n[listeners]\nimap = []\n\n[imap]\nbanner = \"Hi\" # kept\n\
                    log_file_location = \"/x\"\n\n[send_connectors.a_path]\nport = 26\n";
        let shared = shared(text);
        assert!(
            !shared.contains("server-1") && !shared.contains("listeners") && !shared.contains("/x"),
            "{shared}"
        );
        assert!(shared.contains("banner = \"Hi\" # kept") && shared.contains("port = 26"), "{shared}");
        for (key, local) in [
            ("server.name", true),
            ("listeners.imap", true),
            ("tls.key", true),
            ("log.leg_log_path", true),
            ("imap.banner", false),
            ("send_connectors.a_path.port", false),
        ] {
            assert_eq!(is_local(key), local, "{key}");
        }
    }
}
