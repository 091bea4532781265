//! Every log that is known, as a file and pasted into prose, and anything at all without a panic.

use proptest::prelude::*;
use waypost_base::Timestamp;
use waypost_diagnose::phrases::Phrases;
use waypost_diagnose::source::{Collected, collect_files, collect_text};
use waypost_diagnose::{Case, Fact};

const CLOCK: Timestamp = Timestamp(1_772_530_000_000);

const IMAP: &str = r#"#Software: Microsoft Exchange Server
#Version: 15.0.0.0
#Log-type: IMAP4 Protocol Log
#Date: 2026-03-03T08:00:00.000Z
#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid
2026-03-03T08:15:20.240Z,0000000000000133,0,10.20.0.11:1993,10.20.0.11:26747,,61,0,53,OpenSession,,,
2026-03-03T08:15:20.255Z,0000000000000133,1,10.20.0.11:1993,10.20.0.11:26747,,18,12,195,capability,,R=OK,
2026-03-03T08:15:20.380Z,0000000000000133,2,10.20.0.11:1993,10.20.0.11:26747,invoices,120,31,33,authenticate,PLAIN,R=OK,
2026-03-03T09:02:46.100Z,0000000000000201,0,10.20.0.11:1993,10.20.0.11:27001,,15,0,53,OpenSession,,,
2026-03-03T09:02:46.300Z,0000000000000201,1,10.20.0.11:1993,10.20.0.11:27001,,1,0,0,CloseSession,,,
2026-03-03T09:02:47.000Z,0000000000000202,2,10.20.0.11:1993,10.20.0.11:27002,,9,31,28,authenticate,PLAIN,"R=""1 NO AUTHENTICATE failed.""",
"#;

const TRACKING: &str = r#"#Software: Microsoft Exchange Server
#Log-type: Message Tracking Log
#Fields: date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,network-message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data,transport-traffic-type,log-id,schema-version
2026-03-03T10:39:57.480Z,,MBX02,,MBX01,"MDB:6f1c2a3b-0000-4000-8000-9444555666aa, Mailbox:9a8b7c6d-0000-4000-8000-1112223334bb, Event:88121, MessageClass:IPM.Note, ClientType:OWA",,STOREDRIVER,SUBMITDEFER,,<c0ffee01@MBX02.corp.example>,8a5e6f5a-0000-4000-8000-0b8d8f3a1c11,,,,1,,,Budget,anna@example.net,anna@example.net,,Originating,,,,S:DiagnosticInfo=Stage:SendToTransport,Email,1b0f,15.02.1544.011
"#;

/// A line as somebody found it on a front end whose date had been cut off, in a post with typographic quotes.
const POST: &str = "Hi all,\n\nsince we renewed the certificate nobody can use IMAP. In the log I see:\n\n> 22T07:30:46.994Z,0000000000000003,2,127.0.0.1:993,127.0.0.1:32258,HealthMailbox1f3a,1196,78,97,login,HealthMailbox1f3a@corp.example\n> *****,“R=””z NO [Error=ProxyNotAuthenticated Proxy=MBX01.CORP.EXAMPLE:1993:SSL] LOGIN failed.””;Msg=Proxy:MBX01.CORP.EXAMPLE:1993:SSL;ErrMsg=ProxyNotAuthenticated”\n\nAny ideas?\n";

fn phrases() -> Phrases {
    Phrases::new([
        "ProxyNotAuthenticated",
        "LOGIN failed",
        "Unable to relay",
        "Service not active",
        "STARTTLS is required",
    ])
}

fn read(name: &str, text: &str) -> Collected {
    collect_files(&[(name, text.as_bytes())], &phrases(), CLOCK)
}

fn one<'a>(case: &'a Case, kind: &str, with: &[(&str, &str)]) -> &'a Fact {
    let found = case.of(kind).find(|fact| with.iter().all(|(name, value)| fact.is(name, value)));
    found.unwrap_or_else(|| panic!("no {kind} with {with:?} among {:?}", case.all().collect::<Vec<_>>()))
}

#[test]
fn the_back_end_tells_the_three_ways_in_which_a_login_fails() {
    let (case, read, unread) = read("MBX01/Imap4/IMAP4BE2026030308-1.LOG", IMAP);
    assert!(unread.is_empty(), "{unread:?}");
    assert_eq!(
        (read[0].kind.as_str(), read[0].count, read[0].server.as_deref()),
        ("IMAP4 protocol log", 6, Some("MBX01"))
    );
    let good = one(&case, "imap", &[("end", "be"), ("command", "authenticate"), ("result", "ok")]);
    assert_eq!((good.at.line, good.server.as_deref()), (8, Some("MBX01")));
    one(&case, "imap", &[("command", "session"), ("commands", "0"), ("session", "0000000000000201")]);
    one(&case, "imap", &[("result", "no"), ("r", "1 NO AUTHENTICATE failed.")]);
    assert_eq!(case.now(), waypost_diagnose::read::logs::time("2026-03-03T09:02:47.000Z").unwrap());
}

#[test]
fn a_line_in_a_post_is_read_through_its_quotation() {
    let (case, read, _) = collect_text("post.txt", POST, &phrases(), CLOCK);
    let fact = one(&case, "imap", &[("errmsg", "ProxyNotAuthenticated"), ("end", "fe"), ("result", "no")]);
    assert_eq!(fact.get("proxy"), Some("MBX01.CORP.EXAMPLE:1993"));
    assert_eq!((fact.get("duration"), fact.at.line), (Some("1196"), 5));
    assert!(read.iter().any(|r| r.kind == "IMAP4 protocol log"));
    let pasted: String = IMAP.lines().skip(5).map(|line| format!("    {line}\n")).collect();
    let (case, ..) = collect_text(
        "mail.txt",
        &format!("Hello,\nthe back end says:\n\n{pasted}\nBye\n"),
        &phrases(),
        CLOCK,
    );
    one(&case, "imap", &[("command", "session"), ("session", "0000000000000201"), ("end", "be")]);
}

#[test]
fn each_log_by_its_header() {
    let (case, ..) = read("MSGTRKMS20260303-1.LOG", TRACKING);
    let fact = one(&case, "tracking", &[("eventid", "SUBMITDEFER"), ("source", "STOREDRIVER")]);
    assert!(fact.get("sourcecontext").is_some_and(|c| c.contains("ClientType:OWA")));

    let proxy = "DateTime,RequestId,Protocol,UrlStem,AuthenticatedUser,UserAgent,ServerHostName,HttpStatus,BackEndStatus,ErrorCode,TargetServer,GenericErrors\r\n#Software: Microsoft Exchange\r\n#Log-type: HttpProxy Logs\r\n#Fields: DateTime,RequestId,Protocol,UrlStem,AuthenticatedUser,UserAgent,ServerHostName,HttpStatus,BackEndStatus,ErrorCode,TargetServer,GenericErrors\r\n2026-03-03T08:00:00.000Z,77e0aaaa-0000-4000-8000-000000000001,Ecp,/ecp/,CORP\\admin,Mozilla,MBX01,500,,OrganizationMailboxNotFound,mbx01.corp.example,\r\n";
    let (case, ..) = read("HttpProxy_2026030308-1.LOG", proxy);
    let fact =
        one(&case, "httpproxy", &[("httpstatus", "500"), ("errorcode", "OrganizationMailboxNotFound")]);
    assert_eq!((fact.server.as_deref(), fact.get("protocol")), (Some("MBX01"), Some("Ecp")));

    let iis = "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus sc-win32-status time-taken\r\n2026-03-03 08:00:00 10.0.0.1 GET /owa/ - 443 - 10.0.0.9 Mozilla 503 0 64 12\r\n";
    let (case, ..) = read("u_ex260303.log", iis);
    let fact = one(&case, "iis", &[("scstatus", "503"), ("csuristem", "/owa/"), ("csuseragent", "Mozilla")]);
    assert_eq!(fact.time, waypost_diagnose::read::logs::time("2026-03-03T08:00:00Z"));

    let setup = "[03/03/2026 08:15:20.0114] [0] Starting Microsoft Exchange Server 2019 Setup\r\n[03/03/2026 08:15:21.0114] [1] [ERROR] The certificate is expired.\r\n   at Microsoft.Exchange.Setup()\r\n[03/03/2026 08:15:22.0114] [0] End\r\n";
    let (case, ..) = read("ExchangeSetup.log", setup);
    let fact = one(&case, "setup", &[("level", "ERROR")]);
    assert!(fact.text.contains("at Microsoft.Exchange.Setup"), "{fact:?}");

    let agent = "#Software: Microsoft Exchange Server\r\n#Log-type: Agent Log\r\n#Fields: Timestamp,SessionId,Agent,Action,SmtpResponse,Reason\r\n2026-03-03T08:00:00.000Z,08DE,Content Filter Agent,RejectMessage,550 5.7.1 Message rejected,SclAtOrAboveRejectThreshold\r\n";
    let (case, ..) = read("AGENTLOG20260303-1.LOG", agent);
    one(&case, "agent", &[("action", "RejectMessage")]);
}

#[test]
fn transport_says_what_ehlo_offers_and_what_was_refused() {
    let log = r#"#Software: Microsoft Exchange Server
#Log-type: SMTP Receive Protocol Log
#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context
2026-03-03T10:40:02.118Z,MBX01\Default Frontend MBX01,08DE5A1100000021,0,10.20.0.11:25,203.0.113.5:33190,+,,
2026-03-03T10:40:02.120Z,MBX01\Default Frontend MBX01,08DE5A1100000021,1,10.20.0.11:25,203.0.113.5:33190,>,"220 MBX01.corp.example Microsoft ESMTP MAIL Service ready at Tue, 3 Mar 2026 10:40:02 +0000",
2026-03-03T10:40:02.125Z,MBX01\Default Frontend MBX01,08DE5A1100000021,2,10.20.0.11:25,203.0.113.5:33190,<,EHLO mx.example.org,
2026-03-03T10:40:02.126Z,MBX01\Default Frontend MBX01,08DE5A1100000021,3,10.20.0.11:25,203.0.113.5:33190,>,250-MBX01.corp.example Hello [203.0.113.5],
2026-03-03T10:40:02.126Z,MBX01\Default Frontend MBX01,08DE5A1100000021,4,10.20.0.11:25,203.0.113.5:33190,>,250-SIZE 37748736,
2026-03-03T10:40:02.126Z,MBX01\Default Frontend MBX01,08DE5A1100000021,5,10.20.0.11:25,203.0.113.5:33190,>,250 PIPELINING,
2026-03-03T10:40:02.172Z,MBX01\Default Frontend MBX01,08DE5A1100000021,7,10.20.0.11:25,203.0.113.5:33190,>,550 5.7.1 Unable to relay,
2026-03-03T10:40:02.173Z,MBX01\Default Frontend MBX01,08DE5A1100000021,8,10.20.0.11:25,203.0.113.5:33190,*,,Inbound ExchangeAuth negotiation failed because of IllegalMessage
"#;
    let (case, ..) = read("logs/RECV2026030310-1.LOG", log);
    let ehlo = one(&case, "smtp-receive", &[("command", "ehlo")]);
    assert_eq!((ehlo.get("starttls"), ehlo.get("role")), (Some("no"), Some("frontend")));
    let refused = one(&case, "smtp-receive", &[("data", "550 5.7.1 Unable to relay")]);
    assert_eq!(refused.server.as_deref(), Some("MBX01"), "by its greeting");
    one(
        &case,
        "smtp-receive",
        &[("event", "*"), ("context", "Inbound ExchangeAuth negotiation failed because of IllegalMessage")],
    );
}

#[test]
fn addresses_get_the_names_that_other_files_know() {
    let fact = "2026-03-03T10:40:02.120Z,MBX07\\Default MBX07,08DE5A1100000021,1,10.20.0.77:25,203.0.113.5:33190,>,550 5.7.1 Unable to relay,\n";
    let greeting =
        fact.replace("550 5.7.1 Unable to relay", "220 MBX07.corp.example Microsoft ESMTP MAIL Service");
    let (case, ..) = collect_files(&[("a/RECV1.log", (greeting + fact).as_bytes())], &phrases(), CLOCK);
    assert!(case.of("smtp-receive").all(|f| f.server.as_deref() == Some("MBX07")));
}

#[test]
fn a_long_log_keeps_only_what_says_something() {
    let mut log: String = IMAP.lines().take(5).map(|l| format!("{l}\n")).collect();
    for n in 0..4000 {
        log.push_str(&format!(
            "2026-03-03T08:15:20.255Z,{n:016X},1,10.20.0.11:993,10.20.0.11:26747,,18,12,195,capability,,R=OK,\n"
        ));
    }
    log.push_str("2026-03-03T09:02:47.000Z,0000000000000202,2,10.20.0.11:993,10.20.0.11:27002,,9,31,28,login,x,\"R=\"\"1 NO LOGIN failed.\"\"\",\n");
    let (case, read, _) = read("IMAP42026030308-1.LOG", &log);
    assert_eq!((case.len(), read[0].count), (1, 4001));
    assert_eq!(case.all().next().map(|f| f.at.line), Some(4006));
}

#[test]
fn waypost_reads_its_own_logs() {
    let log = r#"{"time":"2026-03-03T08:15:20.114Z","messageId":"m@x","leg":{"operation":"submit","initiator":{"role":"mailbox","name":"mbx-1"},"acceptor":{"role":"hub","name":"hub-1"},"outcome":{"result":"failed","cause":{"code":"KRB-NOKEY"},"text":"no key"}}}
{"time":"2026-03-03T08:15:21.114Z","messageId":"n@x","leg":{"operation":"submit","initiator":{"role":"mailbox","name":"mbx-1"},"acceptor":{"role":"hub","name":"hub-1"},"outcome":{"result":"ok"}}}
"#;
    let (case, read, _) = read("LEGS2026030308-1.LOG", log);
    one(&case, "waypost", &[("cause", "KRB-NOKEY"), ("to", "hub-1")]);
    assert_eq!(read[0].kind, "Waypost log");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..2000), name in "[a-z0-9./]{0,20}") {
        let _ = collect_files(&[(&name, &bytes)], &phrases(), CLOCK);
    }

    #[test]
    fn damaged_samples(which in 0usize..3, at in 0usize..3000, len in 0usize..40, with in "\\PC{0,12}") {
        let sample = [IMAP, TRACKING, POST][which];
        let mut text: Vec<char> = sample.chars().collect();
        let at = at.min(text.len());
        let end = (at + len).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        let _ = read("MBX01/IMAP4BE.LOG", &text);
        let _ = collect_text("pasted", &format!("Hello\n{text}"), &phrases(), CLOCK);
    }
}
