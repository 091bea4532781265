//! Directories that passwords are checked against, and providers of tokens.

use super::site::Site;
use super::{Fault, inject};
use std::process::Command;
use waypost_tests::ldap::{BASE, ROOT, ROOT_PASSWORD, Slapd, person};
use waypost_tests::openid::Provider;

const SOURCE: &[&str] = &["HEALTH-DIRECTORY-SOURCE"];
const ISSUER: &[&str] = &["HEALTH-TOKEN-ISSUER"];

fn slapd(site: &mut Site) -> &mut Slapd {
    site.slapd.as_mut().expect("this site has a directory")
}

fn provider(site: &Site) -> &Provider {
    site.provider.as_ref().expect("this site has a provider")
}

fn source(site: &Site, property: &str, value: &str) {
    site.run("server-1", &["Set-DirectorySource", "ldap", property, value]);
}

fn signal(site: &mut Site, name: &str) {
    let pid = slapd(site).pid().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill {name} slapd");
}

static FAULTS: &[Fault] = &[
    Fault {
        name: "the directory is down",
        causes: SOURCE,
        leg: &["ldap"],
        breaks: |s| slapd(s).stop(),
        mends: |s| slapd(s).resume(),
    },
    Fault {
        name: "the directory hangs",
        causes: SOURCE,
        leg: &["ldap"],
        breaks: |s| signal(s, "-STOP"),
        mends: |s| signal(s, "-CONT"),
    },
    Fault {
        name: "the provider of tokens is another's address",
        causes: ISSUER,
        leg: &["localhost"],
        breaks: |s| {
            let port = waypost_tests::ports::free();
            let issuer = format!("http://localhost:{port}");
            s.run("server-1", &["Set-WaypostSetting", "oauth.issuer", &issuer, "-Force", "-Confirm:$false"]);
        },
        mends: |s| drop(s.run("server-1", &["Undo-WaypostSetting", "-Force", "-Confirm:$false"])),
    },
    Fault {
        name: "the directory is at an address where nobody is",
        causes: SOURCE,
        leg: &["ldap"],
        breaks: |s| {
            let port = waypost_tests::ports::free();
            source(s, "-Urls", &format!("ldaps://127.0.0.1:{port}"));
        },
        mends: |s| {
            let port = slapd(s).tls_port;
            source(s, "-Urls", &format!("ldaps://127.0.0.1:{port}"));
        },
    },
    Fault {
        name: "the directory knows another password of ours",
        causes: SOURCE,
        leg: &["ldap"],
        breaks: |s| source(s, "-BindPassword", "another"),
        mends: |s| source(s, "-BindPassword", ROOT_PASSWORD),
    },
    Fault {
        name: "the provider of tokens is away",
        causes: ISSUER,
        leg: &["127.0.0.1"],
        breaks: |s| provider(s).set_away(true),
        mends: |s| provider(s).set_away(false),
    },
];

#[test]
fn faults_of_directories() {
    let mut site = Site::new("inject-directories", &[("server-1", "all")]);
    let slapd = Slapd::start(site.scratch.path(), &person("zoe", "zoe@ldap.test", "zoe secret"));
    let provider = Provider::start(site.scratch.path());
    let (url, ca) = (format!("ldaps://127.0.0.1:{}", slapd.tls_port), slapd.ca_file().display().to_string());
    site.run("server-1", &["New-AcceptedDomain", "ldap.test"]);
    let new = ["New-DirectorySource", "ldap", &url, BASE, "-BindDn", ROOT, "-BindPassword", ROOT_PASSWORD];
    site.run("server-1", &[&new[..], &["-CaFile", &ca, "-Domains", "ldap.test"]].concat());
    for (key, value) in [("oauth.issuer", provider.issuer().as_str()), ("oauth.audiences", "waypost")] {
        site.run("server-1", &["Set-WaypostSetting", key, value]);
    }
    site.slapd = Some(slapd);
    site.provider = Some(provider);
    inject(&mut site, FAULTS);
}
