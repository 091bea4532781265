//! The founding incidents, built and mended by `waypost lab`: every check of theirs holds, and the findings are what they are
//! to be.

use serde_json::Value;
use std::process::Command;
use waypost_tests::server::binary;

/// The report; fails with every check that did not hold.
fn played(situation: &str) -> Value {
    let out = Command::new(binary()).args(["lab", situation, "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&out.stderr)));
    let failed: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|c| c["held"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(out.status.success());
    report
}

#[test]
fn a_ticket_that_nobody_can_decrypt() {
    let report = played("incident-a");
    assert_eq!((&report["mail_flows"], &report["internet_mail_flows"]), (&true.into(), &true.into()));
    assert!(report["symptom"].as_str().is_some_and(|s| !s.is_empty()));
    let finding = &report["findings"][0];
    assert_eq!(finding["cause"], "KRB-ENCTYPE-MISSING");
    assert_eq!(
        finding["text"],
        "the ticket for waypost/server-2.lab.test@LAB.TEST is encrypted with aes256-cts kvno 2; the keytab of \
         server-2/transport holds only arcfour-hmac kvno 2"
    );
    for list in ["evidence", "remedy"] {
        assert!(finding[list].as_array().is_some_and(|l| l.len() > 1), "{finding:#}");
    }
}

#[test]
fn a_renewed_certificate() {
    let report = played("incident-b");
    assert_eq!(report["mail_flows"], true);
    assert!(!report["findings"].as_array().unwrap().is_empty());
}
