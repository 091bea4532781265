//! Certificates that clients would not take, and files that changed behind the server's back.

use super::site::Site;
use super::{Fault, inject};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use waypost_tests::pki::{Issued, Pki};

const NAME: &str = "server-1.contoso.test";

fn import(site: &Site, issued: &Issued) -> String {
    let (chain, key) = (issued.chain.display().to_string(), issued.key.display().to_string());
    let record = site.run("server-1", &["Import-ExchangeCertificate", &chain, "-KeyFileName", &key]);
    record["Thumbprint"].as_str().expect("a thumbprint").to_owned()
}

/// Binds a certificate in spite of what is wrong with it; mending undoes it.
fn bind(site: &mut Site, issued: &Issued, services: &str) {
    let thumbprint = import(site, issued);
    site.run("server-1", &["Enable-ExchangeCertificate", &thumbprint, "-Services", services, "-Force"]);
    site.note = thumbprint;
}

fn unbind(site: &mut Site) {
    let thumbprint = std::mem::take(&mut site.note);
    site.run("server-1", &["Disable-ExchangeCertificate", &thumbprint, "-Force"]);
    // One whose file is gone or rubbish is not there to be removed.
    let _ = site.o.command("server-1", &["Remove-ExchangeCertificate", &thumbprint, "-Confirm:$false"]);
}

fn pki(site: &Site) -> &Pki {
    site.pki.as_ref().expect("this site has a CA")
}

/// A sound one is bound, then its file is changed and the server told to read its files again.
fn sound_then(site: &mut Site, services: &str, change: impl FnOnce(&Site, PathBuf, PathBuf)) {
    let issued = pki(site).issue("sound", &[NAME]);
    bind(site, &issued, services);
    let folder = site.o.data("server-1").join("public/certificates");
    let (crt, key) = (folder.join(format!("{}.crt", site.note)), folder.join(format!("{}.key", site.note)));
    let crt = if crt.exists() { crt } else { folder.join(format!("{}.pem", site.note)) };
    change(site, crt, key);
    reread(site);
}

fn reread(site: &Site) {
    let pid = site.o.server("server-1").pid().to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill -HUP");
}

macro_rules! bound {
    ($name:literal, $cause:literal, $leg:literal, $services:literal, $make:expr) => {
        Fault {
            name: $name,
            causes: &[$cause],
            leg: &[$leg],
            breaks: |s| {
                let make: fn(&Pki) -> Issued = $make;
                let issued = make(pki(s));
                bind(s, &issued, $services);
            },
            mends: unbind,
        }
    };
}

// One protocol after the other: a monitor that fails again soon takes longer to be believed.
static FAULTS: &[Fault] = &[
    bound!("an expired certificate is bound to IMAP", "CERT-EXPIRED", "imap", "IMAP", |p| p
        .expired("e1", &[NAME])),
    bound!("an expired certificate is bound to POP", "CERT-EXPIRED", "pop", "POP", |p| p
        .expired("e2", &[NAME])),
    bound!("an expired certificate is bound to SMTP", "CERT-EXPIRED", "submission", "SMTP", |p| p
        .expired("e3", &[NAME])),
    bound!("a certificate of the future is bound to IMAP", "CERT-NOT-YET", "imap", "IMAP", |p| p
        .not_yet("n1", &[NAME])),
    bound!("a certificate of the future is bound to POP", "CERT-NOT-YET", "pop", "POP", |p| p
        .not_yet("n2", &[NAME])),
    bound!("SMTP's certificate ends within days", "CERT-EXPIRES-SOON", "submission", "SMTP", |p| p
        .issue_with("soon", &[NAME], "", &["-days", "2"])),
    Fault {
        name: "the key of IMAP's certificate is another's",
        causes: &["CERT-KEY-MISMATCH"],
        leg: &["imap"],
        breaks: |s| {
            sound_then(s, "IMAP", |s, _, key| {
                let other = pki(s).issue("another", &[NAME]);
                fs::copy(other.key, key).expect("another key");
            });
        },
        mends: unbind,
    },
    Fault {
        name: "the key of POP's certificate is gone",
        causes: &["CERT-KEY-MISSING"],
        leg: &["pop"],
        breaks: |s| sound_then(s, "POP", |_, _, key| fs::remove_file(key).expect("a key")),
        mends: unbind,
    },
    Fault {
        name: "the key of SMTP's certificate is rubbish",
        causes: &["CERT-KEY-UNREADABLE", "CERT-KEY-MISMATCH"],
        leg: &["submission"],
        breaks: |s| sound_then(s, "SMTP", |_, _, key| fs::write(key, "rubbish").expect("a key")),
        mends: unbind,
    },
    Fault {
        name: "the file of IMAP's certificate is rubbish",
        causes: &["CERT-UNREADABLE", "CERT-MISSING"],
        leg: &["imap"],
        breaks: |s| sound_then(s, "IMAP", |_, crt, _| fs::write(crt, "rubbish").expect("a certificate")),
        mends: unbind,
    },
    Fault {
        name: "the files of POP's certificate are gone",
        causes: &["CERT-UNREADABLE", "CERT-MISSING"],
        leg: &["pop"],
        breaks: |s| {
            sound_then(s, "POP", |_, crt, key| {
                fs::remove_file(crt).expect("a certificate");
                fs::remove_file(key).expect("a key");
            });
        },
        mends: unbind,
    },
    Fault {
        name: "the setting names a certificate that was never here",
        causes: &["CERT-MISSING"],
        leg: &["submission"],
        breaks: |s| {
            let list = format!("[{:?}]", "0".repeat(40));
            let key = "certificates.smtp";
            s.run("server-1", &["Set-WaypostSetting", key, &list, "-Force", "-Confirm:$false"]);
        },
        mends: |s| drop(s.run("server-1", &["Undo-WaypostSetting", "-Force", "-Confirm:$false"])),
    },
];

#[test]
fn faults_of_certificates() {
    let mut site = Site::new("inject-certificates", &[("server-1", "all")]);
    let pki = Pki::new(site.scratch.path());
    let root = pki.root();
    let good = pki.issue("good", &[NAME, "localhost"]);
    site.pki = Some(pki);
    site.kept.push(root);
    bind(&mut site, &good, "IMAP,POP,SMTP");
    site.note.clear();
    site.o.server_mut("server-1").expect_error("CERT-");
    inject(&mut site, FAULTS);
}
