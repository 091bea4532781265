//! Which server a file is from, by its path: the folders of a collection, or a name within the file's name.

use crate::fact::server_name;
use std::sync::Arc;

/// Names that look like a server's and are none: folders, logs, products, words that people number.
const NOT_SERVERS: &[&str] = &[
    "imap",
    "pop",
    "smtp",
    "recv",
    "send",
    "msgtrk",
    "msgtrkms",
    "msgtrkmd",
    "msgtrkma",
    "connectlog",
    "w3svc",
    "log",
    "logs",
    "logging",
    "event",
    "events",
    "part",
    "case",
    "day",
    "week",
    "run",
    "copy",
    "file",
    "files",
    "test",
    "step",
    "new",
    "old",
    "bundle",
    "incident",
    "ticket",
    "exchange",
    "outlook",
    "win",
    "windows",
    "iis",
    "tls",
    "ssl",
    "level",
    "page",
    "image",
    "screenshot",
    "attachment",
    "note",
    "notes",
    "folder",
    "data",
    "temp",
    "tmp",
    "export",
    "output",
    "out",
    "get",
    "set",
    "klist",
    "app",
    "application",
    "system",
    "security",
    "httpproxy",
    "httperr",
    "http",
    "mapi",
    "owa",
    "ecp",
    "ews",
    "eas",
    "oab",
    "rpc",
    "rpchttp",
    "ascii",
    "utf",
    "sp",
    "cu",
    "su",
    "rtm",
    "ver",
    "version",
    "client",
    "user",
    "sample",
    "example",
    "session",
    "conn",
    "connectivity",
    "tracking",
    "queue",
    "kb",
    "sha",
    "md",
    "aes",
    "rc",
    "id",
    "error",
    "err",
    "eventid",
    "port",
    "site",
    "dag",
    "db",
    "mdb",
    "u_ex",
    "u",
    "in",
    "imapbe",
    "popbe",
    "be",
    "fe",
    "transport",
    "mailbox",
    "frontend",
    "backend",
    "perf",
    "etl",
    "tmpl",
    "net",
    "v",
    "rev",
    "build",
    "q",
    "h",
    "x",
    "y",
    "z",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
];

/// Folders that stand directly in a server's folder of a collection.
const COLLECTED: &[&str] = &[
    "protocol_log",
    "_logs",
    "transportroles",
    "logging",
    "windows_event_logs",
    "event_logs",
    "imap4",
    "pop3",
    "message_tracking",
    "connectivity",
    "healthchecker",
    "server_information",
    "exchange_server_data",
    "iis",
    "queue_info",
    "mitigation",
    "exchangesetuplogs",
    "managed_availability",
    "app_pool",
    "daily_performance",
    "exchange_logs",
];

/// The server's name by the path of a file within the evidence.
pub fn server_of(path: &str) -> Option<Arc<str>> {
    let parts: Vec<&str> = path.split(['/', '!']).filter(|part| !part.is_empty()).collect();
    let (file, folders) = parts.split_last()?;
    // A folder that holds what a collection puts into a server's folder.
    for pair in folders.windows(2) {
        let [folder, inner] = pair else { continue };
        let inner = inner.to_ascii_lowercase();
        let telling = folder.contains(|c: char| c.is_ascii_digit() || c == '.')
            || !folder.contains(|c: char| c.is_ascii_lowercase());
        if telling
            && COLLECTED.iter().any(|mark| inner.contains(mark))
            && possible(folder)
            && !generic(folder)
        {
            return server_name(folder);
        }
    }
    let by_folder = folders.iter().rev().find_map(|folder| from_words(folder));
    from_words(stem(file)).or(by_folder)
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// A word in a name that looks like a server's: letters and a short number (`MBX01`, `ex-hub-2`), maybe a full name.
fn from_words(name: &str) -> Option<Arc<str>> {
    let words = name.split(['_', ' ', '(', ')', '[', ']', ',', '=', '+', '.']);
    for word in words {
        if looks_like_server(word) {
            return server_name(word);
        }
        let pieces: Vec<&str> = word.split('-').collect();
        if pieces.len() > 1
            && let Some(piece) = pieces.iter().find(|piece| looks_like_server(piece))
        {
            return server_name(piece);
        }
    }
    None
}

fn possible(name: &str) -> bool {
    let short = name.split('.').next().unwrap_or_default();
    (2..=15).contains(&short.len())
        && short.starts_with(|c: char| c.is_ascii_alphabetic())
        && short.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn generic(name: &str) -> bool {
    let letters =
        name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-').to_ascii_lowercase();
    NOT_SERVERS.contains(&letters.as_str()) || NOT_SERVERS.contains(&name.to_ascii_lowercase().as_str())
}

fn looks_like_server(word: &str) -> bool {
    if !possible(word) || generic(word) {
        return false;
    }
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = word.len() - letters.len();
    let letters = letters.trim_end_matches('-');
    // Parts of a name that are words of their own: `imap-be-2`, `get-queue-1`.
    let known_parts =
        letters.split('-').filter(|part| NOT_SERVERS.contains(&part.to_ascii_lowercase().as_str()));
    (1..=3).contains(&digits)
        && letters.len() >= 2
        && letters.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
        && known_parts.count() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_file_names_tell_the_server() {
        for (path, server) in [
            ("MBX01/Hub_Protocol_Logs/RECV2026030310-1.LOG", Some("MBX01")),
            ("collected/EXCH-WEST/Imap4/IMAP42026030308-1.LOG", Some("EXCH-WEST")),
            ("CONTOSO/Logging/HttpProxy/Ews/HttpProxy_2026030308-1.LOG", Some("CONTOSO")),
            ("mbx2/IMAP4BE2026030308-1.LOG", Some("MBX2")),
            ("hub-1.corp.example/klist.txt", Some("HUB-1")),
            ("mbx01-imap.txt", Some("MBX01")),
            ("get-imapsettings_mbx02.txt", Some("MBX02")),
            ("exports/DC03_system.evtx", Some("DC03")),
            ("servers.zip!/MBX07/Message_Tracking_Logs/MSGTRK2026030310-1.LOG", Some("MBX07")),
            ("IMAP42026030308-1.LOG", None),
            ("IMAP4BE2026030308-1.LOG", None),
            ("incident1/Imap4/IMAP42026030308-1.LOG", None),
            ("RECV20260303-1.log", None),
            ("W3SVC1/u_ex260303.log", None),
            ("notes.txt", None),
            ("evidence/Imap4/x.log", None),
            ("EX1/notes.txt", Some("EX1")),
            ("part2/event4625.txt", None),
            ("", None),
        ] {
            assert_eq!(server_of(path).as_deref(), server, "{path}");
        }
    }
}
