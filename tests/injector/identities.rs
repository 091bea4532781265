//! Servers that are looked for at wrong addresses, cannot prove who they are, or were shown out on purpose.

use super::site::Site;
use super::{Fault, in_peace, inject};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use waypost_base::Timestamp;
use waypost_trust::{InnerCa, ServerId, files};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
const OWN: [&str; 2] = ["server.crt", "server.key"];

fn address(site: &mut Site, address: &str) {
    site.run("server-1", &["Set-ExchangeServer", "server-2", "-InnerAddress", address, "-Confirm:$false"]);
}

fn right_address(site: &mut Site) {
    let own = site.o.address("server-2", "inner").to_string();
    address(site, &own);
}

fn trust(site: &Site, server: &str) -> PathBuf {
    site.o.data(server).join("trust")
}

/// Keeps what server-2 proves itself by, for the time after the fault.
fn keep_own(site: &Site) {
    for name in OWN {
        fs::copy(trust(site, "server-2").join(name), site.scratch.path().join(name)).expect("a copy");
    }
}

fn own_again(site: &mut Site) {
    site.o.stop("server-2");
    for name in OWN {
        fs::copy(site.scratch.path().join(name), trust(site, "server-2").join(name)).expect("a copy");
    }
    site.o.begin("server-2");
}

/// Starts server-2 with a certificate that was issued so many days ago.
fn begin_with_old(site: &mut Site, days: i64) {
    site.o.stop("server-2");
    keep_own(site);
    let both = files::load(&trust(site, "server-1"), "inner-ca").expect("the inner CA");
    let ca = InnerCa::load(&both.chain_pem, &both.key_pem).expect("the inner CA");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
    let then = Timestamp(i64::try_from(now).expect("milliseconds")).plus_millis(-days * DAY_MILLIS);
    let issued = ca.issue(&ServerId::parse("server-2").expect("an id"), then).expect("a certificate");
    files::save(&trust(site, "server-2"), "server", &issued).expect("files");
    if days < 30 {
        // Who still could would renew it at once.
        let key = trust(site, "server-1").join("inner-ca.key");
        fs::rename(key, site.scratch.path().join("inner-ca.key")).expect("moved away");
    }
    site.o.begin("server-2");
}

/// The server does not start, and says by which file and what to do.
fn refuses(site: &Site, file: &str) {
    let said = site.o.server("server-2").refuses();
    for word in [file, "trust", "New-ServerToken", "waypost join"] {
        assert!(said.contains(word), "{word:?} is not in what it says: {said}");
    }
}

static FAULTS: &[Fault] = &[
    Fault {
        name: "a server is looked for where nothing listens",
        causes: &["INNER-UNREACHABLE"],
        leg: &["server-2"],
        breaks: |s| address(s, "127.0.0.1:1"),
        mends: right_address,
    },
    Fault {
        name: "the key of a server's inner certificate is gone",
        causes: &["INNER-UNREACHABLE", "HEALTH-SERVER-SILENT"],
        leg: &["server-2"],
        breaks: |s| {
            s.o.stop("server-2");
            keep_own(s);
            let key = trust(s, "server-2").join("server.key");
            // Another one is as good as none.
            fs::copy(trust(s, "server-3").join("server.key"), &key).expect("another key");
            refuses(s, "server.crt");
            fs::write(&key, "rubbish").expect("rubbish");
            refuses(s, "server.key");
            fs::remove_file(&key).expect("a key");
            refuses(s, "server.key");
        },
        mends: own_again,
    },
    Fault {
        name: "a server is looked for at another one's address",
        causes: &["INNER-WRONG-SERVER"],
        leg: &["server-2"],
        breaks: |s| {
            let other = s.o.address("server-3", "inner").to_string();
            address(s, &other);
        },
        mends: right_address,
    },
    Fault {
        name: "a server's inner certificate has expired",
        causes: &["INNER-EXPIRED"],
        leg: &["server-2"],
        breaks: |s| begin_with_old(s, 31),
        mends: own_again,
    },
    Fault {
        name: "an inner certificate ends and is not renewed",
        causes: &["HEALTH-INNER-EXPIRES"],
        leg: &["server-2"],
        breaks: |s| begin_with_old(s, 25),
        mends: |s| {
            let key = s.scratch.path().join("inner-ca.key");
            fs::rename(key, trust(s, "server-1").join("inner-ca.key")).expect("moved back");
            own_again(s);
        },
    },
];

#[test]
fn faults_of_identities() {
    let servers =
        [("server-1", "transport,mailbox"), ("server-2", "transport,mailbox"), ("server-3", "frontend")];
    let mut site = Site::new("inject-identities", &servers);
    for server in ["server-1", "server-2", "server-3"] {
        site.o.server_mut(server).expect_error("INNER-");
    }
    in_peace(&mut site, "a server is revoked", |s| {
        s.run("server-1", &["Revoke-Server", "server-2", "-Confirm:$false"]);
    });
    in_peace(&mut site, "it is let in again", |s| {
        s.run("server-1", &["Revoke-Server", "server-2", "-Undo", "-Confirm:$false"]);
    });
    inject(&mut site, FAULTS);
}
