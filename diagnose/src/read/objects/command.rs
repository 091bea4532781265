//! Commands echoed before their output: `[PS] C:\>Get-ImapSettings -Server MBX01 | fl`. They tell what follows and of which server.

use super::kind;
use crate::fact::server_name;
use regex::Regex;
use std::sync::{Arc, LazyLock};

/// A command that prints objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The type of what it prints, if its name tells.
    pub kind: Option<String>,
    /// The server that it asks, if its arguments tell.
    pub server: Option<Arc<str>>,
    /// As it is written: `Get-ImapSettings`.
    pub cmdlet: String,
    /// Its log, source or process: `Win32_Service`, `EdgeTransport`.
    pub argument: String,
}

static CMDLET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(get|test|invoke|resolve|search|receive)-([a-z][a-z0-9]{2,60})\b([^|;\r\n]{0,400})")
        .ok()
});
static SERVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = r"server|computername|identity|clientaccessserver|mailboxserver|cn|hostname|comp";
    Regex::new(&format!(r#"(?i)\s-({names})[\s:]+["']?([^\s"'|,;)]+)"#)).ok()
});
static PLACE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^\s+["']?([A-Za-z0-9][A-Za-z0-9_.\\$-]*)"#).ok());

/// The command in a line, wherever it stands; the words of a sentence around it do not matter.
pub fn of(line: &str) -> Option<Command> {
    if line.len() > 4000 || !line.contains('-') {
        return None;
    }
    // Of several commands on one line the last one prints.
    let last = line.rsplit(';').take(8).find(|part| part.len() < line.len() && begins(part));
    let found = CMDLET.as_ref()?.captures(last.unwrap_or(line))?;
    let (verb, noun) = (found.get(1)?.as_str(), found.get(2)?.as_str());
    let arguments = found.get(3).map_or("", |m| m.as_str());
    let states = ["LocalStates", "RemoteStates"].into_iter().find(|s| crate::words::contains(line, s));
    let argument = states.map_or_else(|| argument_of(noun, arguments), str::to_owned);
    let command = Command {
        kind: kind::of_command(verb, noun, &argument),
        server: server_of(noun, arguments),
        cmdlet: format!("{verb}-{noun}"),
        argument,
    };
    Some(command)
}

/// Whether a line is nothing but such a command.
pub fn begins(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches(['(', '`', '$']);
    let begins = CMDLET.as_ref().and_then(|form| form.find(line)).is_some_and(|m| m.start() == 0);
    // A sentence that begins with a command goes on in words.
    begins
        && (line.split_whitespace().count() <= 2
            || line.contains(['|', '-', '"']) && !line.ends_with(['.', '?', ':']))
}

/// Whether a line is a prompt, with or without a command after it.
pub fn is_prompt(line: &str) -> bool {
    let line = line.trim_start();
    let line = match line.strip_prefix('[') {
        // `[PS] C:\>`, `[mbx01]: PS C:\>`
        Some(rest) => match rest.split_once(']') {
            Some((_, after)) => after.trim_start_matches(':').trim_start(),
            None => return false,
        },
        None => line,
    };
    let line = line.strip_prefix("PS ").unwrap_or(line);
    let drive = matches!(line.as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic());
    (drive && line.chars().take(120).any(|c| c == '>')) || line.starts_with("PS>")
}

/// The word that says what is asked of a general cmdlet.
fn argument_of(noun: &str, arguments: &str) -> String {
    let general = [
        "wmiobject",
        "ciminstance",
        "exchangediagnosticinfo",
        "childitem",
        "itemproperty",
        "item",
        "adprincipalgroupmembership",
    ];
    if !general.contains(&noun.to_ascii_lowercase().as_str()) {
        return String::new();
    }
    let word = |text: &str| {
        text.split_whitespace()
            .map(|w| w.trim_matches(['"', '\'']))
            .find(|w| !w.starts_with('-'))
            .unwrap_or_default()
            .to_owned()
    };
    for name in ["-classname", "-class", "-component", "-path", "-query"] {
        if let Some(rest) = crate::read::scan::after(arguments, name) {
            return word(rest.get(..rest.len().min(200)).unwrap_or(rest));
        }
    }
    word(arguments)
}

fn server_of(noun: &str, arguments: &str) -> Option<Arc<str>> {
    let noun = noun.to_ascii_lowercase();
    for found in SERVER.as_ref()?.captures_iter(arguments) {
        let (name, value) = (found.get(1)?.as_str().to_ascii_lowercase(), found.get(2)?.as_str());
        // An identity is a server for few cmdlets only, and for these it may have the object's name after it.
        if name == "identity" && !identity_is_server(&noun) && !value.contains('\\') {
            continue;
        }
        if !value.starts_with('$') && !value.starts_with('(') {
            return server_name(value);
        }
    }
    let first = PLACE.as_ref()?.captures(arguments)?.get(1)?.as_str();
    match first.split_once('\\') {
        // `MBX01\Default Frontend MBX01`; a person would be in the domain's name instead.
        Some((server, _))
            if !noun.contains("mailbox") && !noun.contains("user") && !noun.contains("recipient") =>
        {
            server_name(server)
        }
        _ => identity_is_server(&noun).then(|| server_name(first)).flatten(),
    }
}

fn identity_is_server(noun: &str) -> bool {
    const NOUNS: [&str; 11] = [
        "serverhealth",
        "healthreport",
        "servercomponentstate",
        "transportservice",
        "transportserver",
        "exchangeserver",
        "clientaccessservice",
        "clientaccessserver",
        "frontendtransportservice",
        "mailboxtransportservice",
        "mailboxserver",
    ];
    NOUNS.contains(&noun)
        || noun == "servicehealth"
        || noun == "replicationhealth"
        || noun == "smtpconnectivity"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_and_server(line: &str) -> (String, String) {
        let command = of(line).unwrap_or_default();
        (command.kind.unwrap_or_default(), command.server.map(|s| s.to_string()).unwrap_or_default())
    }

    #[test]
    fn commands_and_their_servers() {
        for (line, kind, server) in [
            ("[PS] C:\\>Get-ImapSettings -Server mbx01.corp.example | fl", "ImapSettings", "MBX01"),
            ("Get-ServerComponentState MBX02", "ServerComponentState", "MBX02"),
            ("Get-ServerHealth -Identity MBX01 -HealthSet IMAP", "ServerHealth", "MBX01"),
            ("Get-ExchangeCertificate -Identity MBX01\\AB12 | fl", "ExchangeCertificate", "MBX01"),
            ("I ran get-queue and saw:", "Queue", ""),
            ("PS> Get-WmiObject Win32_Service | ft", "Service", ""),
            ("Get-CimInstance -ClassName Win32_LogicalDisk", "LogicalDisk", ""),
            ("Get-OwaVirtualDirectory -Server MBX01", "VirtualDirectory", "MBX01"),
            ("Get-Mailbox -Identity anna", "Mailbox", ""),
            ("Get-ReceiveConnector \"MBX01\\Default Frontend MBX01\" | fl", "ReceiveConnector", "MBX01"),
            ("Test-ImapConnectivity -ClientAccessServer:MBX01", "TestImapConnectivity", "MBX01"),
            (
                "PS> $t = (Get-AuthConfig).CurrentCertificateThumbprint; dir; Get-ExchangeCertificate $t | ft Subject,@{n='x';e={Get-Date}}",
                "ExchangeCertificate",
                "",
            ),
        ] {
            assert_eq!(kind_and_server(line), (kind.to_owned(), server.to_owned()), "{line}");
        }
        assert_eq!(of("well-known and time-out"), None);
        assert!(
            is_prompt("[PS] C:\\Windows\\system32>Get-Queue")
                && is_prompt("C:\\>klist")
                && is_prompt("PS C:\\> x")
        );
        assert!(!is_prompt("Path : C:\\Windows"));
    }
}
