//! Certificates in CLIXML as the Exchange shell writes them: only the bytes of the certificate, a text with its parts, and .NET's
//! own serialisation, in which the services stand as a number.

use super::emit::Object;
use crate::fact::Place;
use crate::read::scan;
use crate::read::tools::certificate_fact;
use crate::read::tree::Node;

/// Bytes of a serialised certificate that are looked at.
const SERIALISED_MAX: usize = 64 * 1024;

/// Adds what the element says beyond its properties.
pub fn certificate(node: &Node, object: &mut Object) {
    let bytes = |name: &str| {
        let held = node.children.iter().filter(|c| matches!(c.name.as_str(), "Props" | "MS"));
        let mut held = held.flat_map(|c| c.children.iter());
        let found = held.find(|c| c.name == "BA" && c.attribute("N") == Some(name))?;
        let text: String = found.text.chars().filter(|c| !c.is_whitespace()).take(SERIALISED_MAX).collect();
        scan::base64(&text)
    };
    let Some(der) = bytes("RawData") else { return };
    let text = node.text_of("ToString").unwrap_or_default().replace("_x000D_", "").replace("_x000A_", "\n");
    for (mark, name) in [
        ("[Subject]", "Subject"),
        ("[Issuer]", "Issuer"),
        ("[Serial Number]", "SerialNumber"),
        ("[Thumbprint]", "Thumbprint"),
    ] {
        if let Some(value) =
            scan::after(&text, mark).and_then(|rest| rest.lines().map(str::trim).find(|l| !l.is_empty()))
        {
            put_new(object, name, value);
        }
    }
    if let Some(fact) = certificate_fact(&der, Place::default()) {
        for (from, to) in [
            ("subject", "Subject"),
            ("issuer", "Issuer"),
            ("notafter", "NotAfter"),
            ("notbefore", "NotBefore"),
            ("serialnumber", "SerialNumber"),
        ] {
            put_new(object, to, fact.get(from).unwrap_or_default());
        }
        if let Some(names) = fact.get("names") {
            put_new(object, "CertificateDomains", &format!("{{{names}}}"));
        }
    }
    let Some(serialised) = bytes("SerializationData") else { return };
    if let Some(number) = enumeration(&serialised, b"AllowedServices") {
        put_new(object, "Services", &services(number));
    }
    if let Some(number) = enumeration(&serialised, b"CertificateStatus") {
        const STATUS: [&str; 8] = [
            "Unknown",
            "Valid",
            "Revoked",
            "DateInvalid",
            "Untrusted",
            "Invalid",
            "RevocationCheckFailure",
            "PendingRequest",
        ];
        let status = usize::try_from(number).ok().and_then(|n| STATUS.get(n)).copied().unwrap_or_default();
        put_new(object, "Status", status);
    }
    let thumbprint = object.get("thumbprint").unwrap_or_default().to_owned();
    if let Some(identity) = identity(&serialised, &thumbprint) {
        put_new(object, "Identity", &identity);
    }
}

fn put_new(object: &mut Object, name: &str, value: &str) {
    if !value.is_empty() && object.get(&name.to_lowercase()).is_none() {
        object.properties.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        object.put(name, value);
    }
}

/// The number of an enumeration: behind the name of its type stand its one member, `value__`, the types and four bytes.
fn enumeration(bytes: &[u8], kind: &[u8]) -> Option<i32> {
    const MEMBER: &[u8] = b"\x01\0\0\0\x07value__\0\x08";
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(bytes.get(from..)?, kind) {
        let end = from + at + kind.len();
        let rest = bytes.get(end..)?;
        if rest.starts_with(MEMBER) {
            // The number of the library comes before the value.
            let value = rest.get(MEMBER.len() + 4..MEMBER.len() + 8)?;
            return Some(i32::from_le_bytes(value.try_into().ok()?));
        }
        from = end;
    }
    None
}

fn services(number: i32) -> String {
    const NAMES: [(i32, &str); 7] = [
        (1, "IMAP"),
        (2, "POP"),
        (4, "UM"),
        (8, "IIS"),
        (16, "SMTP"),
        (32, "Federation"),
        (64, "UMCallRouter"),
    ];
    let names: Vec<&str> = NAMES.iter().filter(|(bit, _)| number & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "None".to_owned() } else { names.join(", ") }
}

/// `mbx01.corp.example\THUMBPRINT`, which tells the server.
fn identity(bytes: &[u8], thumbprint: &str) -> Option<String> {
    if thumbprint.len() < 20 {
        return None;
    }
    let wanted = format!("\\{thumbprint}");
    let at = memchr::memmem::find(bytes, wanted.as_bytes())?;
    let begin =
        bytes.get(..at)?.iter().rposition(|b| !(b.is_ascii_alphanumeric() || b".-_".contains(b)))? + 1;
    let server = std::str::from_utf8(bytes.get(begin..at)?).ok()?;
    // The byte of its length may look like a letter.
    let length = server.len() + wanted.len();
    let server = match bytes.get(begin).copied() {
        Some(first) if usize::from(first) == length - 1 => server.get(1..)?,
        _ => server,
    };
    (!server.is_empty()).then(|| format!("{server}{wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_services() {
        let mut bytes = b"\0X.AllowedServices\x02\0\0\0..X.AllowedServices".to_vec();
        bytes.extend(b"\x01\0\0\0\x07value__\0\x08\x02\0\0\0\x13\0\0\0");
        assert_eq!(enumeration(&bytes, b"AllowedServices").map(services).as_deref(), Some("IMAP, POP, SMTP"));
        let thumb = "A".repeat(40);
        let held = format!("\u{6}\u{8}\0\0\0\u{3a}mbx01.corp.example\\{thumb}");
        assert_eq!(identity(held.as_bytes(), &thumb), Some(format!("mbx01.corp.example\\{thumb}")));
    }
}
