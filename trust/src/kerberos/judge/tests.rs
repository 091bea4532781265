//! The table of what can go wrong, with the library's words as it said them.

use super::*;
use crate::kerberos::crypto::{USAGE_AUTHENTICATOR, USAGE_TICKET};
use crate::kerberos::keytab::{self, tests::write};
use crate::kerberos::rc4::tests::seal as seal_rc4;
use crate::kerberos::token::tests::{ap_req, der, integer, name_of, sealed_as, sequence};
use crate::kerberos::token::{self};
use std::io;

const KEY: [u8; 16] = [7; 16];
const SESSION: [u8; 16] = [8; 16];
/// 2026-03-03T18:45:00Z
const MADE: Timestamp = Timestamp::from_seconds(1_772_563_500);

/// A request that really opens with [`KEY`], RC4 throughout.
fn request(kvno: Option<i32>) -> Vec<u8> {
    let time = |text: &str| der(0x18, text.as_bytes());
    let ticket = der(
        0x63,
        &sequence(&[
            (0, der(3, &[0, 0, 0, 0, 0])),
            (1, sequence(&[(0, integer(23)), (1, der(4, &SESSION))])),
            (2, der(0x1b, b"R")),
            (3, name_of(&["alice"])),
            (4, sequence(&[])),
            (5, time("20260303184000Z")),
            (7, time("20260304044000Z")),
        ]),
    );
    let made = der(
        0x62,
        &sequence(&[
            (0, integer(5)),
            (1, der(0x1b, b"R")),
            (2, name_of(&["alice"])),
            (4, integer(5000)),
            (5, time("20260303184500Z")),
        ]),
    );
    ap_req(
        sealed_as(23, kvno, &seal_rc4(&KEY, USAGE_TICKET, &ticket)),
        sealed_as(23, None, &seal_rc4(&SESSION, USAGE_AUTHENTICATOR, &made)),
    )
}

fn status(major: u32, minor: i32, text: &str) -> Status {
    Status { major, minor, text: text.into(), general: "Unspecified GSS failure".into() }
}

fn judged(token: &[u8], keytab: Result<Vec<u8>, io::ErrorKind>, status: Option<Status>, after: i64) -> Fault {
    let path = Path::new("/etc/waypost/hub.keytab");
    let keytab = match keytab {
        Ok(bytes) => keytab::parse(&bytes).map_err(|text| KeytabError::Content { path: path.into(), text }),
        Err(kind) => Err(KeytabError::Io { path: path.into(), source: kind.into() }),
    };
    accept(&Seen {
        holder: "server-2/transport",
        path,
        keytab: &keytab,
        token: &token::read(token),
        status: status.as_ref(),
        now: MADE.plus_millis(after),
    })
}

#[track_caller]
fn is(fault: &Fault, code: &str, text: &str) {
    assert_eq!(fault.cause.code, code, "{fault:#?}");
    assert!(fault.text.contains(text), "{fault:#?}");
}

#[test]
fn the_line_of_the_incident() {
    let aes = ap_req(sealed_as(18, Some(4), &[0; 60]), sealed_as(18, None, &[0; 60]));
    let fault = judged(&aes, Ok(write(&[("smtp/hub@R", 23, 4, &KEY)])), None, 0);
    assert_eq!(
        fault.text,
        "the ticket for smtp/hub@R is encrypted with aes256-cts kvno 4; the keytab of server-2/transport holds only \
         arcfour-hmac kvno 4"
    );
    assert_eq!(fault.cause.code, "KRB-ENCTYPE-MISSING");
    let evidence: Vec<&str> = fault.evidence.iter().map(|e| e.fact.as_str()).collect();
    assert_eq!(
        evidence,
        [
            "for smtp/hub@R, encrypted with aes256-cts kvno 4; the request in it with the session key, aes256-cts",
            "/etc/waypost/hub.keytab: smtp/hub@R: arcfour-hmac kvno 4"
        ]
    );
    // The keytab has the type, but of an older version: with both wrong, the missing type is what one export mends.
    let both = write(&[("smtp/hub@R", 23, 4, &KEY), ("smtp/hub@R", 18, 3, &[1; 32])]);
    is(
        &judged(&aes, Ok(both), None, 0),
        "KRB-ENCTYPE-MISSING",
        "only arcfour-hmac kvno 4, aes256-cts kvno 3",
    );
}

#[test]
fn keys_of_other_versions_and_other_keys() {
    let keytab = |kvno| Ok(write(&[("smtp/hub@R", 23, kvno, &KEY)]));
    is(
        &judged(&request(Some(3)), keytab(2), None, 0),
        "KRB-KEYTAB-STALE",
        "is older and holds arcfour-hmac kvno 2",
    );
    is(
        &judged(&request(Some(3)), keytab(4), None, 0),
        "KRB-TICKET-OLD",
        "is newer and holds arcfour-hmac kvno 4",
    );
    let other = || Ok(write(&[("smtp/hub@R", 23, 3, &[9; 16])]));
    is(&judged(&request(Some(3)), other(), None, 0), "KRB-KEY-MISMATCH", "does not open the ticket");
    // Without a version in the ticket every key of its type is tried.
    is(&judged(&request(None), other(), None, 0), "KRB-KEY-MISMATCH", "with arcfour-hmac;");
    // Eight bits are all that old tools keep.
    let fault = judged(&request(Some(259)), keytab(3), Some(status(0x000d_0000, -1_765_328_350, "")), 0);
    is(&fault, "KRB-REPLAY", "came before");
    let case = Ok(write(&[("SMTP/hub@R", 23, 3, &KEY)]));
    is(&judged(&request(Some(3)), case, None, 0), "KRB-NO-PRINCIPAL", "differs by the case of letters");
}

#[test]
fn with_the_right_key_the_library_is_asked() {
    let keytab = || Ok(write(&[("smtp/hub@R", 23, 3, &KEY)]));
    let by = |minor, text: &str, after| {
        judged(&request(Some(3)), keytab(), Some(status(0x000d_0000, minor, text)), after)
    };
    is(
        &by(-1_765_328_347, "Clock skew too great", 602_000),
        "KRB-SKEW",
        "the initiator's clock is 10 min 1 s behind that of server-2/transport; Kerberos bears 5 min",
    );
    is(&by(-1_765_328_347, "", -3_700_000), "KRB-SKEW", "1 h 1 min ahead of");
    is(
        &by(-1_765_328_352, "Ticket expired", 39_600_000),
        "KRB-EXPIRED",
        "2026-03-04T04:40:00.000Z, 1 h 5 min ago",
    );
    // SPNEGO: the number says nothing.
    is(&by(100_005, "Request is a replay", 0), "KRB-REPLAY", "");
    is(
        &by(-1_765_328_353, "smtp/hub@R kvno 3 found in keytab but cannot decrypt ticket", 0),
        "KRB-ENCTYPE-FORBIDDEN",
        "forbids arcfour-hmac",
    );
    is(&by(1, "Something new", 0), "KRB-OTHER", "Something new");
    let bindings = Some(status(0x0004_0000, 100_001, ""));
    is(&judged(&request(Some(3)), keytab(), bindings, 0), "KRB-BINDING", "another TLS channel");
}

#[test]
fn no_keytab_is_told_from_one_that_cannot_be_read() {
    let library = || Some(status(0x0007_0000, -1_765_328_203, "Keytab FILE:/x is nonexistent or empty"));
    let token = request(Some(1));
    is(&judged(&token, Err(io::ErrorKind::NotFound), library(), 0), "KRB-KEYTAB-MISSING", "does not exist");
    let denied = judged(&token, Err(io::ErrorKind::PermissionDenied), library(), 0);
    is(&denied, "KRB-KEYTAB-UNREADABLE", "permission denied");
    assert!(denied.remedy.iter().any(|r| r.starts_with("chown")), "{denied:?}");
    is(&judged(&token, Ok(vec![5, 2]), library(), 0), "KRB-KEYTAB-MISSING", "holds no key");
    is(&judged(&token, Ok(b"PEM".to_vec()), library(), 0), "KRB-KEYTAB-UNREADABLE", "not a keytab");
}

#[test]
fn the_initiators_rows() {
    let keytab = Ok(Keytab::default());
    let asked = |minor, text: &str| {
        initiate(&Asked {
            holder: "server-1/mailbox",
            client: Some("waypost/mbx@R"),
            service: "smtp/hub@R",
            path: Path::new("/k"),
            keytab: &keytab,
            status: &status(0x000d_0000, minor, text),
            now: MADE,
        })
    };
    is(
        &asked(-1_765_328_377, "Server smtp/hub@R not found in Kerberos database"),
        "KRB-SPN-UNKNOWN",
        "smtp/hub@R",
    );
    is(
        &asked(-1_765_328_228, "Cannot contact any KDC for realm 'R'"),
        "KRB-KDC-UNREACHABLE",
        "Cannot contact",
    );
    is(&asked(-1_765_328_352, "Ticket expired"), "KRB-EXPIRED", "server-1/mailbox");
    is(&asked(-1_765_328_378, ""), "KRB-NO-CREDENTIALS", "does not know waypost/mbx@R");
    is(
        &asked(-1_765_328_370, "KDC has no support for encryption type"),
        "KRB-ENCTYPE-FORBIDDEN",
        "no support",
    );
}
