//! Several servers: joining, the directory everywhere, commands that go where they belong, certificates that are void, a CA
//! that is changed.

use std::fs;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;

/// Whether somebody can sign in by IMAP at a server.
fn signs_in(o: &Organisation, id: &str, account: &(String, String)) -> bool {
    Line::imap_login(o.address(id, "imap"), account).is_ok()
}

/// Allows signing in without TLS from this machine.
fn in_clear(o: &Organisation) {
    o.command("server-1", &["Set-ImapSettings", "-LoginType", "PlainTextLogin"]).unwrap();
}

#[test]
fn the_directory_is_everywhere() {
    let mut o = Organisation::start("everywhere", "all");
    o.add("server-2", "mailbox");
    o.add("server-3", "frontend");
    let names = |o: &Organisation, id: &str| -> Vec<String> {
        let all = o.records(id, &["Get-Server"]).unwrap();
        all.iter()
            .map(|s| format!("{} {}", s["Name"].as_str().unwrap(), s["ServerRole"].as_str().unwrap()))
            .collect()
    };
    let all = ["server-1 frontend,transport,mailbox", "server-2 mailbox", "server-3 frontend"];
    for id in ["server-1", "server-2", "server-3"] {
        o.wait_for(&format!("{id} knows all servers"), |o| names(o, id) == all);
    }
    let (address, _) = o.mailbox("amy", "server-2");
    for id in ["server-2", "server-3"] {
        o.wait_for_mailbox(id, &address);
    }
    // Given at a server that has a copy, done where the directory is kept, seen everywhere.
    o.command("server-2", &["Set-Mailbox", "amy", "-DisplayName", "Amy Alder"]).unwrap();
    o.wait_for("the new name", |o| {
        o.command("server-3", &["Get-Mailbox", "amy"]).is_ok_and(|m| m["DisplayName"] == "Amy Alder")
    });
    // What concerns her mail is done where it is.
    let at_home = o.command("server-1", &["Get-MailboxStatistics", "amy"]).unwrap();
    assert_eq!(at_home["ItemCount"], 0, "{at_home}");
    o.command("server-1", &["Remove-Mailbox", "amy", "-Confirm:$false"]).unwrap();
    for id in ["server-2", "server-3"] {
        o.wait_for("no more amy", |o| o.command(id, &["Get-Mailbox", &address]).is_err());
    }
}

#[test]
fn a_front_end_has_no_proofs() {
    let mut o = Organisation::start("no-proofs", "transport,mailbox");
    o.mailbox("amy", "");
    o.add("server-2", "frontend");
    o.add("server-3", "mailbox");
    o.stop("server-2");
    o.stop("server-3");
    let mut found = Vec::new();
    for id in ["server-2", "server-3"] {
        let store = o.data(id).join("store");
        let files = fs::read_dir(&store).unwrap().flatten().map(|f| fs::read(f.path()).unwrap_or_default());
        let all: Vec<u8> = files.flatten().collect();
        found.push(all.windows(8).any(|w| w == b"argon2id"));
    }
    assert_eq!(found, [false, true]);
    let key = |id: &str| fs::read(o.data(id).join("secret/organisation.key")).unwrap();
    assert_ne!(key("server-1"), key("server-2"), "a front end has a key of its own");
    assert_eq!(key("server-1"), key("server-3"));
}

#[test]
fn settings_are_the_organisations_and_ports_are_the_machines() {
    let mut o = Organisation::start("settings", "all");
    o.add("server-2", "all");
    o.command("server-2", &["Set-ImapSettings", "-Banner", "Good morning"]).unwrap();
    for id in ["server-1", "server-2"] {
        o.wait_for("the banner", |o| {
            let mut imap = Line::connect(o.address(id, "imap")).unwrap();
            imap.line().unwrap().ends_with("Good morning")
        });
    }
    let mut smtp = Line::connect(o.address("server-2", "smtp")).unwrap();
    assert!(smtp.line().unwrap().contains("server-2.contoso.test"));
}

#[test]
fn what_is_known_goes_on_without_the_primary() {
    let mut o = Organisation::start("without-primary", "all");
    in_clear(&o);
    o.add("server-2", "all");
    let amy = o.mailbox("amy", "server-2");
    o.wait_for_mailbox("server-2", &amy.0);
    o.kill("server-1");
    assert!(signs_in(&o, "server-2", &amy));
    let failed = o.command("server-2", &["Set-Mailbox", "amy", "-DisplayName", "A"]).unwrap_err();
    assert!(failed.contains("server-1 has to run this command, and cannot be reached"), "{failed}");
    assert!(failed.contains("INNER-UNREACHABLE"), "{failed}");
    // A restart changes nothing: what it knew is what it knows.
    o.stop("server-2");
    o.begin("server-2");
    assert!(signs_in(&o, "server-2", &amy));
    o.begin("server-1");
    o.wait_for("the primary again", |o| {
        o.command("server-2", &["Set-Mailbox", "amy", "-DisplayName", "Amy again"]).is_ok()
    });
    o.wait_for("the change", |o| {
        o.command("server-2", &["Get-Mailbox", "amy"]).is_ok_and(|m| m["DisplayName"] == "Amy again")
    });
}

#[test]
fn tokens_are_good_once() {
    let mut o = Organisation::start("tokens", "all");
    let token = o.token(&["-Roles", "mailbox"]);
    let wrong = o.join_by("server-9", "frontend", &token).unwrap_err();
    assert!(wrong.contains("the token is for the roles mailbox, not for frontend"), "{wrong}");
    o.join_by("server-2", "mailbox", &token).unwrap();
    let again = o.join_by("server-3", "mailbox", &token).unwrap_err();
    assert!(again.contains("was used at") && again.contains("by server-2"), "{again}");
    let late = o.token(&["-ExpiresIn", "00:00:01"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let expired = o.join_by("server-3", "mailbox", &late).unwrap_err();
    assert!(expired.contains("the token expired at"), "{expired}");
    let nonsense = o.join_by("server-3", "mailbox", "waypost-join.1.abc").unwrap_err();
    assert!(nonsense.contains("no token as New-ServerToken prints them"), "{nonsense}");
    let other = Organisation::start("other", "all");
    let stolen = other.token(&[]);
    drop(other);
    let gone = o.join_by("server-3", "mailbox", &stolen).unwrap_err();
    assert!(gone.contains("did not come"), "{gone}");
    let tokens = o.records("server-1", &["Get-ServerToken"]).unwrap();
    assert!(tokens.iter().any(|t| t["Status"].as_str().unwrap().starts_with("Used at")), "{tokens:?}");
}

#[test]
fn a_revoked_server_is_refused_and_named() {
    let mut o = Organisation::start("revoked", "all");
    o.add("server-2", "mailbox");
    o.command("server-2", &["Set-ImapSettings", "-Banner", "One"]).unwrap();
    o.command("server-1", &["Revoke-Server", "server-2", "-Confirm:$false"]).unwrap();
    o.wait_for("the refusal", |o| {
        let answer = o.command("server-2", &["Set-ImapSettings", "-Banner", "Two"]);
        answer.is_err_and(|e| e.contains("INNER-REVOKED"))
    });
    let shown = o.command("server-1", &["Get-Server", "server-2"]).unwrap();
    assert!(shown["Status"].as_str().unwrap().starts_with("Revoked since"), "{shown}");
    o.command("server-1", &["Revoke-Server", "server-2", "-Undo", "-Confirm:$false"]).unwrap();
    o.wait_for("being let in again", |o| {
        o.command("server-2", &["Set-ImapSettings", "-Banner", "Three"]).is_ok()
    });
}

#[test]
fn stolen_certificates_are_void_and_the_server_joins_again() {
    let mut o = Organisation::start("stolen", "all");
    in_clear(&o);
    o.add("server-2", "all");
    let amy = o.mailbox("amy", "server-2");
    o.wait_for_mailbox("server-2", &amy.0);
    let void = ["Revoke-Server", "server-2", "-CertificatesOnly", "-Confirm:$false"];
    // Certificates have no milliseconds: within the second of its making one is not void.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    o.command("server-1", &void).unwrap();
    o.wait_for("the refusal", |o| {
        let answer = o.command("server-2", &["Set-ImapSettings", "-Banner", "Two"]);
        answer.is_err_and(|e| e.contains("INNER-REVOKED"))
    });
    o.stop("server-2");
    let token = o.token(&["-Server", "server-2"]);
    o.rejoin("server-2", &token);
    o.begin("server-2");
    o.wait_for("the server again", |o| {
        o.command("server-2", &["Set-ImapSettings", "-Banner", "Three"]).is_ok()
    });
    assert!(signs_in(&o, "server-2", &amy));
}

#[test]
fn the_inner_authority_changes_while_everything_works() {
    let mut o = Organisation::start("authority", "all");
    o.add("server-2", "mailbox");
    o.add("server-3", "mailbox");
    let before = o.command("server-1", &["Get-InnerAuthority"]).unwrap()["Thumbprint"].clone();
    o.command("server-1", &["Update-InnerAuthority", "-Confirm:$false"]).unwrap();
    let mut banner = 0;
    o.wait_for("the change of the authority", |o| {
        // At every step legs in every direction stand.
        banner += 1;
        let id = ["server-2", "server-3"][banner % 2];
        o.command(id, &["Set-ImapSettings", "-Banner", &format!("Number {banner}")]).unwrap();
        let all = o.records("server-1", &["Get-InnerAuthority"]).unwrap();
        all.len() == 1 && all[0]["Thumbprint"] != before
    });
    for id in ["server-1", "server-2", "server-3"] {
        let trusted = fs::read_to_string(o.data(id).join("trust/trusted.crt")).unwrap();
        o.wait_for("one CA everywhere", |_| {
            trusted.matches("BEGIN").count() == 1 || {
                let now = fs::read_to_string(o.data(id).join("trust/trusted.crt")).unwrap();
                now.matches("BEGIN").count() == 1
            }
        });
    }
    // A restart finds everything in its place.
    o.stop("server-3");
    o.begin("server-3");
    o.wait_for("server-3 again", |o| o.command("server-3", &["Set-ImapSettings", "-Banner", "End"]).is_ok());
}

#[test]
fn a_lost_inner_authority_is_not_replaced_behind_the_others() {
    let mut o = Organisation::start("lost-authority", "all");
    let files = ["inner-ca.crt", "inner-ca.key"];
    let lose = |o: &mut Organisation| -> Vec<Vec<u8>> {
        o.stop("server-1");
        let trust = o.data("server-1").join("trust");
        files
            .map(|name| {
                let kept = fs::read(trust.join(name)).unwrap();
                fs::remove_file(trust.join(name)).unwrap();
                kept
            })
            .into()
    };
    // Nobody else believes it yet: a new one does no harm.
    lose(&mut o);
    o.begin("server-1");
    o.add("server-2", "mailbox");
    let kept = lose(&mut o);
    let said = o.server("server-1").refuses();
    for word in ["inner-ca.key", "backup", "New-ServerToken", "waypost join"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let trust = o.data("server-1").join("trust");
    assert!(!trust.join("inner-ca.crt").exists());
    for (name, bytes) in files.iter().zip(kept) {
        fs::write(trust.join(name), bytes).unwrap();
    }
    o.begin("server-1");
    let (address, _) = o.mailbox("amy", "server-2");
    o.wait_for_mailbox("server-2", &address);
}

#[test]
fn a_server_that_is_off_holds_the_change_up_and_is_named() {
    let mut o = Organisation::start("held-up", "all");
    o.add("server-2", "mailbox");
    o.stop("server-2");
    o.command("server-1", &["Update-InnerAuthority", "-Confirm:$false"]).unwrap();
    // What it said last may still count until the primary forgets it; a restart does.
    o.stop("server-1");
    o.begin("server-1");
    o.wait_for("the waiting", |o| {
        let now = o.command("server-1", &["Get-InnerAuthority"]).unwrap();
        now["WaitingFor"].to_string().contains("server-2")
    });
    o.begin("server-2");
    o.wait_for("the end", |o| o.records("server-1", &["Get-InnerAuthority"]).unwrap().len() == 1);
}

/// The second incident: whatever is wrong with public certificates, servers know each other.
#[test]
fn broken_public_certificates_never_matter() {
    let mut o = Organisation::start("public", "all");
    o.add("server-2", "mailbox");
    o.stop("server-1");
    o.server_mut("server-1").expect_error("certificate");
    for ending in ["crt", "key"] {
        fs::write(o.data("server-1").join("public/public").with_extension(ending), "nonsense").unwrap();
    }
    o.begin("server-1");
    o.wait_for("the leg", |o| o.command("server-2", &["Set-ImapSettings", "-Banner", "Still here"]).is_ok());
    o.add("server-3", "mailbox");
}

#[test]
fn parts_of_servers_are_taken_out_of_service_from_anywhere() {
    let mut o = Organisation::start("parts", "all");
    o.add("server-2", "transport,mailbox");
    let drain = ["Set-ServerComponentState", "server-2", "-Component", "HubTransport", "-State", "Draining"];
    o.command("server-1", &[&drain[..], &["-Requester", "Maintenance"]].concat()).unwrap();
    for id in ["server-1", "server-2"] {
        o.wait_for("the state", |o| {
            let shown = o.records(id, &["Get-ServerComponentState", "server-2"]).unwrap();
            shown.iter().any(|s| s["Component"] == "HubTransport" && s["State"] == "Draining")
        });
    }
    o.add("server-3", "frontend");
    let greeting =
        |o: &Organisation, door: &str| Line::connect(o.address("server-3", door)).unwrap().line().unwrap();
    for (component, door, usual, while_away) in [
        ("ImapProxy", "imap", "* OK", "* BYE [UNAVAILABLE]"),
        ("PopProxy", "pop3", "+OK", "-ERR [SYS/TEMP]"),
        ("FrontendTransport", "smtp", "220 ", "421 4.3.2"),
    ] {
        let set = |state: &str| {
            let words = ["Set-ServerComponentState", "server-3", "-Component", component, "-State", state];
            o.command("server-1", &words).unwrap();
        };
        assert!(greeting(&o, door).starts_with(usual));
        set("Inactive");
        o.wait_for(component, |o| greeting(o, door).starts_with(while_away));
        set("Active");
        o.wait_for(component, |o| greeting(o, door).starts_with(usual));
    }
    let words = ["Set-ExchangeServer", "server-3", "-Roles", "frontend,mailbox"];
    let refused = o.command("server-1", &words).unwrap_err();
    assert!(refused.contains("has not got the organisation's key"), "{refused}");
}

/// Inner certificates are good for 30 days and renewed by themselves when 20 are left.
#[test]
fn certificates_renew_themselves_and_one_that_has_expired_is_named() {
    let mut o = Organisation::start("renewal", "all");
    o.add("server-2", "mailbox");
    let certificate = |o: &Organisation, id: &str| fs::read(o.data(id).join("trust/server.crt")).unwrap();
    let old: Vec<_> = ["server-1", "server-2"].iter().map(|id| certificate(&o, id)).collect();
    let later = |offset: &str| {
        let mut command = std::process::Command::new("faketime");
        command.args(["-f", offset]).arg(waypost_tests::server::binary());
        command
    };
    for id in ["server-2", "server-1"] {
        o.stop(id);
    }
    o.begin_by("server-1", later("+12d"));
    o.begin_by("server-2", later("+12d"));
    for (id, old) in ["server-1", "server-2"].iter().zip(&old) {
        o.wait_for(&format!("a new certificate of {id}"), |o| certificate(o, id) != *old);
    }
    o.wait_for("legs by the new ones", |o| {
        o.command("server-2", &["Set-ImapSettings", "-Banner", "On"]).is_ok()
    });
    for id in ["server-2", "server-1"] {
        o.stop(id);
    }
    // The primary is its own authority; a copy that was off for so long has to join again.
    o.begin_by("server-1", later("+60d"));
    o.begin_by("server-2", later("+60d"));
    o.wait_for("the expired certificate is named", |o| {
        let answer = o.command("server-2", &["Set-ImapSettings", "-Banner", "Off"]);
        answer.is_err_and(|e| e.contains("INNER-EXPIRED"))
    });
}

#[test]
fn keys_of_settings_go_to_those_who_need_them() {
    let mut o = Organisation::start("keys", "all");
    o.add("server-2", "transport");
    o.add("server-3", "frontend");
    o.command("server-2", &["New-DkimSigningConfig", "contoso.test", "-Confirm:$false"]).unwrap();
    let keys = |o: &Organisation, id: &str| fs::read_dir(o.data(id).join("secret/dkim/contoso.test")).is_ok();
    o.wait_for("the key at the second hub", |o| keys(o, "server-2"));
    assert!(keys(&o, "server-1"));
    assert!(!keys(&o, "server-3"));
}

#[test]
fn a_server_leaves() {
    let mut o = Organisation::start("leaving", "all");
    o.add("server-2", "mailbox");
    o.mailbox("amy", "server-2");
    let remove = ["Remove-ExchangeServer", "server-2", "-Confirm:$false"];
    let held = o.command("server-1", &remove).unwrap_err();
    assert!(held.contains("amy@contoso.test"), "{held}");
    o.command("server-1", &["Remove-Mailbox", "amy", "-Confirm:$false"]).unwrap();
    o.command("server-1", &remove).unwrap();
    o.wait_for("the refusal", |o| {
        let answer = o.command("server-2", &["Set-ImapSettings", "-Banner", "Two"]);
        answer.is_err_and(|e| e.contains("INNER-"))
    });
    // With a mailbox of its own here, a server is no front end.
    o.mailbox("ben", "");
    o.stop("server-1");
    o.server_mut("server-1").roles = "frontend".to_owned();
    let refused = o.server_mut("server-1").refuses();
    assert!(refused.contains("holds 1 mailboxes"), "{refused}");
    o.server_mut("server-1").roles = "all".to_owned();
    o.begin("server-1");
}
