//! Web sites, tokens and trust: the Auth certificate, bindings, roots and revocation.

use super::super::Hit;
use super::{Cert, certs, port_of};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;

pub fn auth_absent_or_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for fact in case.objects("AuthConfig") {
        let Some(thumb) = fact.get("currentcertificatethumbprint").filter(|t| t.len() >= 20) else {
            let listed =
                fact.get("servicename").is_some() || fact.get("previouscertificatethumbprint").is_some();
            if listed {
                hits.push(Hit::of("Get-AuthConfig names no current certificate", &[fact]));
            }
            continue;
        };
        let is = |cert: &&Cert<'_>| cert.get("thumbprint").is_some_and(|t| t.eq_ignore_ascii_case(thumb));
        match all.iter().find(is) {
            Some(cert) if cert.expired(case) => {
                let end = cert.get("notafter").unwrap_or("its last day");
                hits.push(Hit::of(
                    format!("The Auth certificate {thumb} is past {end}"),
                    &[fact, cert.first()],
                ));
            }
            None if all.iter().filter(|cert| cert.get("thumbprint").is_some()).count() >= 2 => {
                hits.push(Hit::of(
                    format!("The Auth certificate {thumb} is not among the installed ones"),
                    &[fact],
                ));
            }
            _ => {}
        }
    }
    hits
}

pub fn auth_listed_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let valid = all.iter().any(|cert| cert.is_auth() && !cert.expired(case));
    let over = all.iter().filter(|cert| cert.is_auth() && cert.expired(case) && !valid);
    over.map(|cert| Hit::of(format!("{} has expired", cert.shown()), &[cert.first()])).collect()
}

pub fn federation_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let valid = all.iter().any(|cert| cert.is_federation() && !cert.expired(case));
    let over = all.iter().filter(|cert| cert.is_federation() && cert.expired(case) && !valid);
    let mut hits: Vec<Hit> =
        over.map(|cert| Hit::of(format!("{} has expired", cert.shown()), &[cert.first()])).collect();
    let thumbs: Vec<&str> = all.iter().filter_map(|cert| cert.get("thumbprint")).collect();
    for fact in case.objects("FederationTrust") {
        let named = fact.get("orgcertificatethumbprint").or_else(|| fact.get("orgprivcertificate"));
        let Some(thumb) = named.filter(|t| t.len() >= 20 && t.chars().all(|c| c.is_ascii_hexdigit())) else {
            continue;
        };
        if thumbs.len() >= 2 && !thumbs.iter().any(|t| t.eq_ignore_ascii_case(thumb)) {
            hits.push(Hit::of(
                format!("The federation trust names {thumb}, which is not installed"),
                &[fact],
            ));
        }
    }
    hits
}

/// Bindings of certificates to ports, as netsh and IIS list them: address with port, hash.
fn bindings(case: &Case) -> Vec<(&Fact, String, String)> {
    let mut found = Vec::new();
    let objects =
        case.objects("WebBinding").chain(case.objects("SslBinding")).chain(case.objects("ChildItem"));
    let lists = case.of("object").filter(|fact| fact.get("store").is_some() && fact.get("port").is_some());
    for fact in lists {
        found.push((fact, format!("0.0.0.0:{}", fact.get("port").unwrap_or_default()), String::new()));
    }
    for fact in case.of("netsh").chain(objects).chain(case.of("sslcert")) {
        let end = ["ipport", "bindinginformation", "hostnameport", "ip:port"]
            .iter()
            .find_map(|field| fact.get(field));
        let Some(end) = end else { continue };
        let hash = ["certificatehash", "certhash", "thumbprint"].iter().find_map(|field| fact.get(field));
        let secure = fact.get("protocol").is_none_or(|p| p.eq_ignore_ascii_case("https"));
        if secure {
            found.push((fact, end.to_owned(), hash.unwrap_or_default().to_ascii_uppercase()));
        }
    }
    found
}

fn has_port(end: &str, port: &str) -> bool {
    end.split([':', ' ', '!']).any(|part| part == port)
}

pub fn back_end_binding_absent(case: &Case) -> Vec<Hit> {
    let all = bindings(case);
    let front = all.iter().find(|(fact, end, _)| !fact.is("type", "WebBinding") && has_port(end, "443"));
    let back = all.iter().any(|(_, end, _)| has_port(end, "444"));
    match front {
        // One binding alone is the answer to a question about it, not a list of all.
        Some((fact, ..)) if !back && all.len() > 1 => {
            vec![Hit::of("A certificate is bound to port 443 and none to 444", &[fact])]
        }
        _ => Vec::new(),
    }
}

pub fn back_end_binding_of_absent_certificate(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let thumbs: Vec<String> =
        all.iter().filter_map(|cert| cert.get("thumbprint")).map(str::to_ascii_uppercase).collect();
    let mut hits = Vec::new();
    for (fact, end, hash) in bindings(case).iter().filter(|(_, end, _)| has_port(end, "444")) {
        // IIS lists a binding without a certificate with an empty column where others of the list have a hash.
        let column =
            bindings(case).iter().any(|(other, _, hash)| other.at.file == fact.at.file && hash.len() >= 20);
        let asked = fact.text.to_ascii_lowercase().contains("certificatehash");
        let nothing = hash.chars().all(|c| c == '0') && (column || asked || !hash.is_empty());
        if nothing || thumbs.len() >= 2 && hash.len() >= 20 && !thumbs.contains(hash) {
            let text = format!("Port 444 ({end}) is bound to the certificate {hash}, which is not installed");
            hits.push(Hit::of(text, &[fact]));
        }
    }
    hits
}

pub fn winhttp_without_proxy(case: &Case) -> Vec<Hit> {
    let direct = case.all().find(|fact| fact.mentions("Direct access (no proxy server)"));
    let browser = case.of("registry").find(|fact| {
        fact.is("name", "ProxyServer")
            || fact.is("name", "AutoConfigURL")
            || fact.is("name", "ProxyEnable") && fact.number("number") == Some(1.0)
    });
    let text = "The browser has a proxy, WinHTTP has none";
    direct.zip(browser).map(|(a, b)| Hit::of(text, &[a, b])).into_iter().collect()
}

pub fn root_updates_off(case: &Case) -> Vec<Hit> {
    let off = case.of("registry").filter(|fact| fact.is("name", "DisableRootAutoUpdate"));
    let off = off.filter(|fact| fact.number("number").or_else(|| fact.number("data")) == Some(1.0));
    off.map(|fact| Hit::of("Updates of root certificates are switched off", &[fact])).collect()
}

pub fn https_chain_incomplete(case: &Case) -> Vec<Hit> {
    let on = |fact: &&Fact| port_of(fact).is_none_or(|port| port == "443");
    let phrases =
        ["unable to get local issuer", "unable to verify the first certificate", "in certificate chain"];
    let seen = case.of("tls").filter(on).filter(|fact| phrases.iter().any(|p| fact.mentions(p)));
    seen.take(1).map(|fact| Hit::of("The chain that the web server sends does not verify", &[fact])).collect()
}

/// A list of trusted roots without the one that the cloud uses.
pub fn roots_lack_the_clouds(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let roots: Vec<&Cert<'_>> = all
        .iter()
        .filter(|c| c.self_signed() && c.get("subject").is_some_and(|s| words::contains(s, "Root")))
        .collect();
    let has =
        roots.iter().any(|c| c.get("subject").is_some_and(|s| words::contains(s, "DigiCert Global Root G2")));
    match roots.first() {
        Some(first) if roots.len() >= 4 && !has => {
            vec![Hit::of(
                "DigiCert Global Root G2 is not among the trusted roots that are listed",
                &[first.first()],
            )]
        }
        _ => Vec::new(),
    }
}
