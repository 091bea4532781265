//! Two servers that prove themselves by Kerberos, and everything that can be wrong with their keys.

use super::site::Site;
use super::{Fault, inject};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use waypost_tests::kdc::Kdc;
use waypost_tests::organisation::Organisation;
use waypost_tests::server::binary;

const REALM: &str = "CONTOSO.TEST";
const ONE: &str = "waypost/server-1.contoso.test";
const TWO: &str = "waypost/server-2.contoso.test";
const RC4: i32 = 23;

fn kdc(site: &mut Site) -> &mut Kdc {
    site.kdc.as_mut().expect("this site has a KDC")
}

fn keytab(o: &Organisation, server: &str) -> PathBuf {
    o.data(server).join("secret/waypost.keytab")
}

/// Puts another keytab where server-2's is.
fn give(site: &mut Site, make: impl FnOnce(&Kdc, &std::path::Path)) {
    let at = keytab(&site.o, "server-2");
    let _ = fs::remove_file(&at);
    make(kdc(site), &at);
    if at.exists() {
        fs::set_permissions(&at, fs::Permissions::from_mode(0o400)).expect("its mode");
    }
}

fn right(site: &mut Site) {
    give(site, |kdc, at| kdc.export(TWO, at).expect("a keytab"));
    for server in ["server-1", "server-2"] {
        site.run(server, &["Clear-KerberosTicket", "-Confirm:$false"]);
    }
}

static FAULTS: &[Fault] = &[
    Fault {
        name: "the keytab has RC4 only",
        causes: &["KRB-ENCTYPE-MISSING"],
        leg: &["server-2"],
        breaks: |s| give(s, |kdc, at| kdc.export_only(TWO, RC4, at).expect("a keytab")),
        mends: right,
    },
    Fault {
        name: "the keytab is gone",
        causes: &["KRB-KEYTAB-MISSING"],
        leg: &["server-2"],
        breaks: |s| give(s, |_, _| {}),
        mends: right,
    },
    Fault {
        name: "the keytab is another principal's",
        causes: &["KRB-NO-PRINCIPAL"],
        leg: &["server-2"],
        breaks: |s| give(s, |kdc, at| kdc.export(ONE, at).expect("a keytab")),
        mends: right,
    },
    Fault {
        name: "the keytab is rubbish",
        causes: &["KRB-KEYTAB-UNREADABLE", "KRB-KEYTAB-MISSING"],
        leg: &["server-2"],
        breaks: |s| give(s, |_, at| fs::write(at, "rubbish").expect("a file")),
        mends: right,
    },
    Fault {
        name: "the KDC has a newer key than the keytab",
        causes: &["KRB-KEYTAB-STALE"],
        leg: &["server-2"],
        breaks: |s| {
            kdc(s).change(TWO, "aes256-cts:normal,arcfour-hmac:normal").expect("a new key");
            s.run("server-1", &["Clear-KerberosTicket", "-Confirm:$false"]);
        },
        mends: right,
    },
    Fault {
        name: "the KDC is down",
        causes: &["KRB-KDC-UNREACHABLE"],
        leg: &["kerberos"],
        breaks: |s| {
            kdc(s).stop();
            for server in ["server-1", "server-2"] {
                s.run(server, &["Clear-KerberosTicket", "-Confirm:$false"]);
            }
        },
        mends: |s| kdc(s).go_on().expect("the KDC"),
    },
];

fn begin(o: &mut Organisation, kdc: &Kdc, server: &str) {
    let mut command = Command::new(binary());
    command.envs(kdc.environment());
    o.begin_by(server, command);
}

#[test]
fn faults_of_kerberos() {
    let mut o = Organisation::start("inject-kerberos", "all");
    let mut site_folder = waypost_tests::server::Scratch::new("inject-kerberos-kdc");
    let kdc = Kdc::start(&site_folder.path().join("kdc"), REALM).expect("a KDC");
    for principal in [ONE, TWO] {
        kdc.add(principal, "").expect("a principal");
        kdc.change(principal, "aes256-cts:normal,arcfour-hmac:normal").expect("its keys");
    }
    o.join("server-2", "all").expect("server-2 joins");
    for (server, principal) in [("server-1", ONE), ("server-2", TWO)] {
        let at = keytab(&o, server);
        kdc.export(principal, &at).expect("a keytab");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o400)).expect("its mode");
        let full = format!("{principal}@{REALM}");
        o.command("server-1", &["Set-ExchangeServer", server, "-ServicePrincipals", &full])
            .expect("its principal");
    }
    let both = r#"["kerberos", "mtls"]"#;
    for leg in ["imap", "hub", "delivery"] {
        o.command(
            "server-1",
            &["Set-WaypostSetting", &format!("legs.{leg}"), both, "-Force", "-Confirm:$false"],
        )
        .expect("a policy");
    }
    o.stop("server-1");
    begin(&mut o, &kdc, "server-1");
    begin(&mut o, &kdc, "server-2");
    let mut site = Site::of(o, "inject-kerberos");
    std::mem::swap(&mut site.scratch, &mut site_folder);
    site.kdc = Some(kdc);
    site.begin_probing();
    inject(&mut site, FAULTS);
}
