//! What settings and clients say about certificates: the names that clients use, and who judges a chain.

use crate::settings::Settings;
use std::sync::Arc;
use waypost_trust::public::PublicService;
use waypost_trust::public::check::Wanted;

/// What a client's TLS library says of a chain in PEM, with the certificate authorities of this machine. `server` has
/// one; here is no TLS library.
pub type ChainJudge = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The thumbprints that the settings bind to a service, in order.
pub fn bound(settings: &Settings, service: PublicService) -> &[String] {
    match service {
        PublicService::Imap => &settings.certificates.imap,
        PublicService::Pop => &settings.certificates.pop,
        PublicService::Smtp => &settings.certificates.smtp,
        PublicService::Web => &settings.certificates.web,
    }
}

/// The names that clients of a service use: those that the settings tell them, and `seen`, what they asked for lately.
pub fn wanted_names(settings: &Settings, service: PublicService, seen: Vec<Wanted>) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut told = |name: &str, source: String, must: bool| {
        // `localhost` and one-word names are for trying things out.
        if name.contains('.') && name.parse::<std::net::IpAddr>().is_err() {
            all.push(Wanted { name: name.to_ascii_lowercase(), source, must });
        }
    };
    told(&settings.server.name, "setting server.name".into(), false);
    let (section, chosen, inside, outside) = match service {
        PublicService::Imap => {
            let s = &settings.imap;
            (
                "imap",
                &s.x509_certificate_name,
                &s.internal_connection_settings,
                &s.external_connection_settings,
            )
        }
        PublicService::Pop => {
            let s = &settings.pop;
            (
                "pop",
                &s.x509_certificate_name,
                &s.internal_connection_settings,
                &s.external_connection_settings,
            )
        }
        PublicService::Smtp | PublicService::Web => ("", &String::new(), &Vec::new(), &Vec::new()),
    };
    if !chosen.is_empty() && !chosen.starts_with("*.") {
        // It only chooses among certificates; nothing breaks where it chooses none.
        told(chosen, format!("setting {section}.x509_certificate_name"), false);
    }
    for (list, field) in [(inside, "internal_connection_settings"), (outside, "external_connection_settings")]
    {
        for entry in list {
            told(entry.split(':').next().unwrap_or_default(), format!("setting {section}.{field}"), true);
        }
    }
    all.extend(seen);
    all.sort_by(|a, b| (&a.name, !a.must, &a.source).cmp(&(&b.name, !b.must, &b.source)));
    all.dedup_by(|a, b| a.name == b.name);
    all
}

/// What the authority of a certificate said of it, as the server has noted it in `public/ocsp.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Revocation {
    /// `Good`, `Revoked`, `Unknown`, or `Failed` where no answer could be had.
    pub state: String,
    /// Until when it holds.
    pub next_update: Option<waypost_base::Timestamp>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// Where the server notes it, by thumbprint.
pub fn revocation_file(data: &std::path::Path) -> std::path::PathBuf {
    data.join("public/ocsp.json")
}

pub fn revocation(data: &std::path::Path, thumbprint: &str) -> Option<Revocation> {
    let bytes = std::fs::read(revocation_file(data)).ok()?;
    let mut all: std::collections::BTreeMap<String, Revocation> = serde_json::from_slice(&bytes).ok()?;
    all.remove(thumbprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_settings_and_clients() {
        let mut settings = Settings::default();
        assert_eq!(wanted_names(&settings, PublicService::Imap, Vec::new()), []);
        settings.server.name = "mbx01.contoso.test".into();
        settings.imap.external_connection_settings = vec!["mail.contoso.test:993:SSL".into()];
        let seen = vec![
            Wanted { name: "imap.contoso.test".into(), source: "asked for".into(), must: false },
            Wanted { name: "mail.contoso.test".into(), source: "asked for".into(), must: false },
        ];
        let names = |service| -> Vec<String> {
            wanted_names(&settings, service, seen.clone()).into_iter().map(|w| w.name).collect()
        };
        assert_eq!(
            names(PublicService::Imap),
            ["imap.contoso.test", "mail.contoso.test", "mbx01.contoso.test"]
        );
        assert_eq!(
            names(PublicService::Web),
            ["imap.contoso.test", "mail.contoso.test", "mbx01.contoso.test"]
        );
    }
}
