//! People whom an LDAP directory or Active Directory knows: signing in, coming and going.

use serde_json::Value;
use std::process::Command;
use waypost_tests::ldap::{BASE, ROOT, ROOT_PASSWORD, Samba, Slapd, person};
use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server, binary};

/// Runs a command that gives any number of records.
fn records(server: &Server, words: &[&str]) -> Vec<Value> {
    let out =
        Command::new(binary()).arg("--data").arg(server.data()).args(words).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What LOGIN answers, on a connection of its own.
fn login(server: &Server, user: &str, password: &str) -> String {
    let mut imap = Line::connect(server.address("imap")).unwrap();
    imap.line().unwrap();
    imap.send(format!("a LOGIN \"{user}\" \"{password}\"\r\n").as_bytes()).unwrap();
    loop {
        let line = imap.line().unwrap();
        if line.starts_with("a ") {
            return line;
        }
    }
}

#[test]
fn openldap_says_who_and_whether() {
    let scratch = Scratch::new("slapd");
    let people = person("zoe", "zoe@ldap.test", "zoe secret")
        + &person("yan", "yan@ldap.test", "yan secret")
        + &format!(
            "dn: cn=crew,{BASE}\nobjectClass: groupOfNames\nobjectClass: extensibleObject\ncn: crew\nmail: crew@ldap.test\n\
             member: uid=zoe,{BASE}\nmember: uid=yan,{BASE}\n"
        );
    let mut slapd = Slapd::start(scratch.path(), &people);
    let server = Server::start("ldap");
    server.command(&["New-AcceptedDomain", "ldap.test"]).unwrap();
    let url = format!("ldaps://127.0.0.1:{}", slapd.tls_port);
    let ca = slapd.ca_file();
    let new = [
        "New-DirectorySource",
        "ldap",
        &url,
        BASE,
        "-BindDn",
        ROOT,
        "-BindPassword",
        ROOT_PASSWORD,
        "-CaFile",
        ca.to_str().unwrap(),
        "-Domains",
        "ldap.test",
    ];
    server.command(&new).unwrap();

    let found = server.command(&[
        "Test-DirectorySource",
        "ldap",
        "-User",
        "zoe@ldap.test",
        "-Password",
        "zoe secret",
    ]);
    let found = found.unwrap();
    assert_eq!((&found["Result"], &found["Password"]), (&"Success".into(), &"right".into()), "{found}");

    let said = records(&server, &["Start-DirectorySync", "ldap"]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        records(&server, &["Start-DirectorySync", "ldap"]),
        Vec::<Value>::new(),
        "nothing is left to do"
    );
    let crew = records(&server, &["Get-DistributionGroupMember", "crew@ldap.test"]);
    assert_eq!(crew.len(), 2, "{crew:?}");

    assert!(login(&server, "zoe@ldap.test", "zoe secret").starts_with("a OK"));
    let wrong = login(&server, "zoe@ldap.test", "zoe's secret");
    assert!(wrong.starts_with("a NO [AUTHENTICATIONFAILED]"), "{wrong}");
    let empty = login(&server, "zoe@ldap.test", "");
    assert!(
        empty.starts_with("a NO [AUTHENTICATIONFAILED]"),
        "an empty password would be an anonymous bind: {empty}"
    );
    let injected = login(&server, "*@ldap.test", "zoe secret");
    assert!(injected.starts_with("a NO [AUTHENTICATIONFAILED]"), "{injected}");

    // Whoever is not asked about has a password here.
    let local = server.account(0);
    assert!(login(&server, &local.0, &local.1).starts_with("a OK"));

    slapd.stop();
    let down = login(&server, "yan@ldap.test", "yan secret");
    assert!(down.starts_with("a NO [UNAVAILABLE]"), "{down}");
    let down = login(&server, "yan@ldap.test", "wrong");
    assert!(down.starts_with("a NO [UNAVAILABLE]"), "nobody can know that it is wrong: {down}");
    assert!(login(&server, &local.0, &local.1).starts_with("a OK"));
    slapd.resume();
    assert!(login(&server, "yan@ldap.test", "yan secret").starts_with("a OK"));

    slapd.change("ldapmodify", &format!("dn: uid=yan,{BASE}\nchangetype: delete\n"));
    let said = records(&server, &["Start-DirectorySync", "ldap"]);
    assert!(
        said.iter().any(|l| l["Change"].as_str().unwrap().starts_with("disabled <yan@ldap.test>")),
        "{said:?}"
    );
}

#[test]
fn active_directory_says_who_and_whether() {
    let scratch = Scratch::new("samba");
    let samba = Samba::start(scratch.path());
    samba.tool(&[
        "user",
        "create",
        "mia",
        "Mia's Passw0rd",
        "--mail-address=mia@ad.test",
        "--given-name=Mia",
    ]);
    samba.tool(&["user", "create", "leo", "Leo's Passw0rd", "--mail-address=leo@ad.test"]);
    let server = Server::start("samba");
    server.command(&["New-AcceptedDomain", "ad.test"]).unwrap();
    let url = format!("ldaps://{}:636", Samba::ADDRESS);
    let ca = samba.ca_file();
    let new = [
        "New-DirectorySource",
        "ad",
        &url,
        Samba::BASE,
        "-Kind",
        "ActiveDirectory",
        "-BindDn",
        "Administrator@ad.test",
        "-BindPassword",
        Samba::PASSWORD,
        "-CaFile",
        ca.to_str().unwrap(),
        "-Domains",
        "ad.test",
    ];
    server.command(&new).unwrap();
    let said = records(&server, &["Start-DirectorySync", "ad"]);
    let made = |who: &str| said.iter().any(|l| l["Change"].as_str().unwrap().contains(who));
    assert!(made("<mia@ad.test>") && made("<leo@ad.test>"), "{said:?}");

    assert!(login(&server, "mia@ad.test", "Mia's Passw0rd").starts_with("a OK"));
    let wrong = login(&server, "mia@ad.test", "Mia's Passw0re");
    assert!(wrong.starts_with("a NO [AUTHENTICATIONFAILED]"), "{wrong}");

    samba.tool(&["user", "disable", "leo"]);
    let refused = login(&server, "leo@ad.test", "Leo's Passw0rd");
    assert!(!refused.starts_with("a OK"), "{refused}");
    assert!(!refused.contains("UNAVAILABLE"), "{refused}");
    let said = records(&server, &["Start-DirectorySync", "ad"]);
    assert!(said.iter().any(|l| l["Change"] == "changed <leo@ad.test>: disabled"), "{said:?}");
}
