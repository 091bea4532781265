//! Files as collectors leave them: in odd encodings, cut off, under wrong names, with the marks of a transcript.

use std::io::Write as _;
use waypost_base::Timestamp;
use waypost_diagnose::phrases::Phrases;
use waypost_diagnose::source::{Collected, collect_files};

const LOG: &str = "#Software: Microsoft Exchange Server\r\n#Log-type: IMAP4 Protocol Log\r\n#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context\r\n2026-03-03T09:02:46.994Z,0000000000000003,2,10.0.0.1:993,10.0.0.9:32258,anna,1196,78,97,login,anna *****,\"R=\"\"z NO LOGIN failed.\"\"\"\r\n";

const LIST: &str = "\r\n\r\nProtocolName          : IMAP4\r\nName                  : 1\r\nX509CertificateName   : mail.corp.example\r\nLoginType             : SecureLogin\r\nProxyTargetPort       : 9933\r\nServer                : MBX01\r\n\r\n\r\n";

fn read(name: &str, bytes: &[u8]) -> Collected {
    let phrases = Phrases::new(["LOGIN failed", "Unable to relay"]);
    collect_files(&[(name, bytes)], &phrases, Timestamp(1_772_530_000_000))
}

fn wide(text: &str, big: bool, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    let text = format!("{mark}{text}");
    text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
}

/// The settings, wherever they stand.
fn settings(read: &Collected, what: &str) {
    let found = read.0.objects("ImapSettings").next();
    let found = found.unwrap_or_else(|| panic!("{what}: {:?} {:?}", read.1, read.2));
    assert_eq!(found.get("logintype"), Some("SecureLogin"), "{what}");
    assert_eq!(found.get("proxytargetport"), Some("9933"), "{what}");
    assert_eq!(found.get("x509certificatename"), Some("mail.corp.example"), "{what}");
}

#[test]
fn lists_in_every_encoding() {
    for big in [false, true] {
        for mark in [false, true] {
            settings(&read("a.txt", &wide(LIST, big, mark)), &format!("{big} {mark}"));
        }
    }
    settings(&read("a.txt", &[b"\xEF\xBB\xBF", LIST.as_bytes()].concat()), "mark");
    // A redirection of winrs doubles the carriage returns; an editor has changed some lines.
    settings(&read("a.txt", LIST.replace("\r\n", "\r\r\n").as_bytes()), "doubled");
    settings(&read("a.txt", LIST.replacen("\r\n", "\n", 4).as_bytes()), "mixed");
}

#[test]
fn transcripts() {
    let text = format!(
        "**********************\r\nWindows PowerShell transcript start\r\nStart time: 20260303100201\r\nUsername: CORP\\admin\r\nRunAs User: CORP\\admin\r\nConfiguration Name: \r\nMachine: MBX01 (Microsoft Windows NT 10.0.17763.0)\r\nHost Application: powershell.exe\r\nProcess ID: 4711\r\n**********************\r\nTranscript started, output file is C:\\temp\\t.txt\r\n[PS] C:\\Windows\\system32>Get-ImapSettings -Server MBX01 | Format-List\r\n{LIST}[PS] C:\\Windows\\system32>Stop-Transcript\r\n**********************\r\nWindows PowerShell transcript end\r\nEnd time: 20260303100210\r\n**********************\r\n"
    );
    for bytes in
        [text.clone().into_bytes(), wide(&text, false, true), text.replace("[PS] C:", "PS C:").into_bytes()]
    {
        let read = read("PowerShell_transcript.MBX01.txt", &bytes);
        settings(&read, "transcript");
        let found = read.0.objects("ImapSettings").next().unwrap();
        assert_eq!(found.server.as_deref(), Some("MBX01"));
    }
}

#[test]
fn objects_saved_with_a_mark() {
    let xml = "<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\">\r\n  <Obj RefId=\"0\">\r\n    <TN RefId=\"0\"><T>Microsoft.Exchange.Data.Directory.SystemConfiguration.Imap4AdConfiguration</T></TN>\r\n    <Props>\r\n      <S N=\"ProtocolName\">IMAP4</S>\r\n      <S N=\"X509CertificateName\">mail.corp.example</S>\r\n      <S N=\"LoginType\">SecureLogin</S>\r\n      <I32 N=\"ProxyTargetPort\">9933</I32>\r\n    </Props>\r\n  </Obj>\r\n</Objs>";
    for bytes in [
        wide(xml, false, true),
        wide(xml, false, false),
        wide(xml, true, true),
        [b"\xEF\xBB\xBF", xml.as_bytes()].concat(),
        format!("\r\n{xml}\r\n").into_bytes(),
        // Cut off in the middle of an element behind the object.
        xml.replace("</Objs>", "<Obj RefId=\"1\"><Props><S N=\"Na").into_bytes(),
    ] {
        settings(&read("settings.xml", &bytes), "clixml");
        settings(&read("settings.txt", &bytes), "clixml as text");
    }
}

#[test]
fn names_that_say_the_wrong_thing() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(LOG.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let wide_log = wide(LOG, false, true);
    for (name, bytes) in [
        ("IMAP42026030308-1.LOG", packed.as_slice()),
        ("IMAP42026030308-1.zip", LOG.as_bytes()),
        ("a.evtx", LOG.as_bytes()),
        ("a.xml", LOG.as_bytes()),
        ("a.json", &wide_log),
        ("a.tar.gz", LOG.as_bytes()),
        ("a.docx", LOG.as_bytes()),
        ("no-extension", LOG.as_bytes()),
    ] {
        let read = read(name, bytes);
        assert_eq!(read.0.of("imap").count(), 1, "{name} {:?}", read.2);
    }
    let log = include_bytes!("data/windows/security.evtx");
    assert_eq!(read("security.txt", log).0.of("event").count(), 6);
}

#[test]
fn cut_and_empty() {
    for (name, bytes) in
        [("a.log", b"".as_slice()), ("a.txt", b"\xFF\xFE"), ("b.txt", b"\r\n\r\n"), ("c.txt", b"\0\0\0\0")]
    {
        let read = read(name, bytes);
        assert!(read.0.is_empty(), "{name}");
        assert_eq!(read.2.len(), 1, "{name} {:?}", read.2);
    }
    // In the middle of a line, of a character, of a pair of bytes.
    let wide_log = wide(LOG, false, true);
    for cut in 1..60 {
        read("a.log", &LOG.as_bytes()[..LOG.len() - cut]);
        read("a.log", &wide_log[..wide_log.len() - cut]);
    }
    // Only its header, and from the middle of a line on, as a tail of a log is.
    let header = &LOG[..LOG.find("2026-").unwrap()];
    assert_eq!(read("a.log", header.as_bytes()).0.of("imap").count(), 0);
    let line = LOG.lines().last().unwrap();
    let tail = format!("6,78,97,login,anna *****,\"R=\"\"z NO LOGIN failed.\"\"\"\r\n{header}{line}\r\n");
    let read_tail = read("a.log", tail.as_bytes());
    let mut found = read_tail.0.of("imap");
    assert!(found.any(|f| f.at.line == 5 && f.is("result", "no")), "{:?}", read_tail.1);
    let odd = [wide_log.as_slice(), b"x"].concat();
    assert_eq!(read("a.log", &odd).0.of("imap").count(), 1);
}
