use super::*;
use crate::legs;
use waypost_base::explain::{Cause, Leg, Outcome, Party};

/// 2026-11-22 10:00 UTC
const TEN: Timestamp = Timestamp(1_795_341_600_000);

fn minute(n: i64) -> Timestamp {
    TEN.plus_millis(n * 60_000)
}

fn known(about: About) -> Known {
    Known::new(about, minute(-25), minute(35), minute(60))
}

fn failed(time: Timestamp, operation: &'static str, cause: Cause, text: &str) -> PastLeg {
    let mut leg =
        Leg::start(operation, Party::new("client", "192.0.2.9:50000"), Party::new("front end", "fe-1"), time);
    leg.outcome = Outcome::Failed { cause, text: text.to_owned(), retry: true };
    let mut out = Vec::new();
    legs::append(time, "", None, &leg, &mut out);
    serde_json::from_slice(&out).unwrap()
}

const HOME_AWAY: Cause = Cause {
    code: "LEG-UNREACHABLE",
    meaning: "The server is not reached.",
    remedy: "Test-ServiceAuthentication -From fe-1 -To mbx-1",
    reference: "docs/servers.md",
};

fn change(time: Timestamp) -> Change {
    Change {
        time,
        who: "amy".into(),
        command: "Set-ImapSettings -LoginType SecureLogin".into(),
        why: Some("audit".into()),
        version: Some((7, "organisation".into())),
        keys: vec!["imap.login_type: PlainTextLogin → SecureLogin".into()],
        services: vec!["imap".into()],
        undo: vec!["Undo-WaypostSetting -Version 6".into()],
        ..Change::default()
    }
}

fn follows(tale: &Tale) -> String {
    tale.follows.iter().map(|c| format!("{:?}: {}\n", c.confidence, c.text)).collect()
}

#[test]
fn the_change_before_the_fault_is_suspected_and_can_be_undone() {
    let mut known = known(About::Time(Some(minute(5))));
    for n in 0..3 {
        known.legs.push(failed(
            minute(5).plus_millis(n * 1000),
            "imap.read",
            HOME_AWAY,
            "connection refused",
        ));
    }
    known.changes = vec![change(minute(4)), Change { services: vec!["pop".into()], ..change(minute(-20)) }];
    let tale = tell(&known);
    assert_eq!(
        tale.text(),
        "2026-11-22 10:05:00 (looked at from 2026-11-22 09:35:00 to 10:35:00 UTC)
  0 messages received, 0 deliveries and 3 legs; 2 changes; 3 failures.

What follows
  imap (client 192.0.2.9:50000 → front end fe-1) failed 3 times from 2026-11-22 10:05:00 to 2026-11-22 10:05:02: [LEG-UNREACHABLE] connection refused

What is only suspected
  (likely) 60 s before the fault, version 7 of the organisation's settings was put in place: imap.login_type: PlainTextLogin → SecureLogin, by amy at 2026-11-22 10:04:00 with `Set-ImapSettings -LoginType SecureLogin`, because: audit
      Test: `Undo-WaypostSetting -Version 6` takes it back and can be undone itself: does it go on then?
  (possible) 25 min before the fault, version 7 of the organisation's settings was put in place: imap.login_type: PlainTextLogin → SecureLogin, by amy at 2026-11-22 09:40:00 with `Set-ImapSettings -LoginType SecureLogin`, because: audit
      Test: `Undo-WaypostSetting -Version 6` takes it back and can be undone itself: does it go on then?

What can be done
  Test-ServiceAuthentication -From fe-1 -To mbx-1
  Undo-WaypostSetting -Version 6

What was seen
  2026-11-22 09:40:00  settings history: version 7 of the organisation's settings was put in place: imap.login_type: PlainTextLogin → SecureLogin, by amy at 2026-11-22 09:40:00 with `Set-ImapSettings -LoginType SecureLogin`, because: audit
  2026-11-22 10:04:00  settings history: version 7 of the organisation's settings was put in place: imap.login_type: PlainTextLogin → SecureLogin, by amy at 2026-11-22 10:04:00 with `Set-ImapSettings -LoginType SecureLogin`, because: audit
  2026-11-22 10:05:00  legs: imap.read 192.0.2.9:50000 to front end fe-1: failed [LEG-UNREACHABLE] connection refused
  2026-11-22 10:05:01  legs: imap.read 192.0.2.9:50000 to front end fe-1: failed [LEG-UNREACHABLE] connection refused
  2026-11-22 10:05:02  legs: imap.read 192.0.2.9:50000 to front end fe-1: failed [LEG-UNREACHABLE] connection refused
"
    );
}

#[test]
fn a_service_that_was_stopped_is_seen_by_its_silence() {
    let mut known = known(About::Time(Some(minute(6))));
    let before: Vec<Timestamp> = (0..30).map(|n| minute(-25).plus_millis(n * 60_000)).collect();
    known.activity = vec![("send".into(), before)];
    known.changes = vec![Change {
        version: None,
        keys: Vec::new(),
        command: "Stop-Service transport".into(),
        services: vec!["send".into()],
        stops: true,
        undo: vec!["Start-Service transport".into()],
        ..change(minute(5))
    }];
    let tale = tell(&known);
    let text = follows(&tale);
    assert!(text.starts_with("Likely: send stood still from 2026-11-22 10:04:00 to the end"), "{text}");
    assert_eq!(tale.suspected.len(), 1);
    assert_eq!(tale.suspected[0].confidence, Confidence::Likely);
    assert_eq!(tale.remedy, ["Start-Service transport"]);
}

#[test]
fn nothing_is_made_up_of_a_quiet_time() {
    let tale = tell(&known(About::Time(Some(minute(5)))));
    assert!(tale.follows.is_empty() && tale.suspected.is_empty());
    assert_eq!(tale.not_known.len(), 1);
}

#[test]
fn a_certificate_that_ended_then() {
    let mut known = known(About::Time(Some(minute(5))));
    known.certificates = vec![
        CertificateFact {
            subject: "CN=mail.contoso.test".into(),
            thumbprint: "ABCDEF0123456789".into(),
            services: vec!["IMAP".into()],
            not_before: minute(-100_000),
            not_after: minute(4),
        },
        CertificateFact { not_after: minute(100_000), ..CertificateFact::default() },
    ];
    known.legs.push(failed(minute(5), "imap.read", HOME_AWAY, "bad certificate"));
    let text = follows(&tell(&known));
    assert!(text.contains("Certain: The certificate CN=mail.contoso.test (ABCDEF01), bound to IMAP, ended at 2026-11-22 10:04:00"), "{text}");
}

#[test]
fn sessions_addresses_and_probes() {
    use crate::protocol::{Line, Log};
    let line = |n: i64, said: &str, answer: &str| Line {
        time: minute(5).plus_millis(n),
        log: Log::Imap,
        session: "000000000000001A".into(),
        peer: "192.0.2.7:50000".into(),
        local: "192.0.2.1:143".into(),
        user: if n > 0 { "amy@contoso.test".into() } else { String::new() },
        said: said.into(),
        answer: answer.into(),
    };
    let mut of = known(About::Session("000000000000001A".into()));
    of.lines = vec![
        line(0, "OpenSession", ""),
        line(1200, "select INBOX", "R=\"NO [UNAVAILABLE] the store is read-only\""),
    ];
    let tale = tell(&of);
    assert_eq!(
        tale.summary,
        [
            "IMAP4 session from 192.0.2.7:50000 at 192.0.2.1:143: signed in as amy@contoso.test, 2 lines over 1 s, until 2026-11-22 10:05:01.",
            "The last thing that was refused: select INBOX (amy@contoso.test) → R=\"NO [UNAVAILABLE] the store is read-only\""
        ]
    );
    assert_eq!(tale.seen.len(), 2);
    assert_eq!(
        follows(&tale),
        "Certain: imap failed at 2026-11-22 10:05:01: NO [UNAVAILABLE] the store is read-only\n"
    );

    let mut of = known(About::Address("amy@contoso.test".into()));
    of.lines = vec![line(1, "login", "R=OK")];
    assert_eq!(
        tell(&of).summary,
        ["0 messages from this address, 0 to it delivered or sent on, 0 failed; one session of its user."]
    );

    let mut of = known(About::Probe("IMAP\\ImapCTPProbe".into()));
    of.health = vec![HealthFact {
        time: minute(6),
        server: "mbx-1".into(),
        source: "IMAP".into(),
        probe: "IMAP\\ImapCTPProbe\\imaps".into(),
        bad: true,
        message: "turned Unhealthy".into(),
        cause: "CERT-EXPIRED".into(),
        confidence: Some(Confidence::Certain),
        remedy: vec!["Renew it".into()],
    }];
    of.changes = vec![change(minute(5))];
    let tale = tell(&of);
    assert!(follows(&tale).contains("[CERT-EXPIRED] turned Unhealthy"), "{}", tale.text());
    assert_eq!(tale.suspected[0].confidence, Confidence::Likely);
    assert_eq!(tale.remedy, ["Renew it", "Undo-WaypostSetting -Version 6"]);
}
