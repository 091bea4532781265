//! How fast a large collection is read: writes realistic logs below a folder, reads them with all rules, prints the rate and
//! the peak of memory.
//!
//!     cargo run --release -p waypost-diagnose --example speed -- FOLDER GIB [--keep]
//!
//! The folder must be empty or new; what was written is removed at the end unless `--keep` is given.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;
use waypost_base::Timestamp;
use waypost_diagnose::{Options, path};

/// Bytes of one log: protocol logs are rolled at the hour or at ten megabytes, tracking and web logs grow longer.
const FILE: u64 = 160 << 20;

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: speed FOLDER GIB [--keep]");
    let folder = words.next().ok_or_else(usage)?;
    let size: f64 = words.next().and_then(|w| w.parse().ok()).ok_or_else(usage)?;
    let keep = words.next().is_some_and(|w| w == "--keep");
    let root = Path::new(&folder);
    fs::create_dir_all(root)?;
    let made = fs::read_dir(root)?.next().is_none();
    if made {
        let begun = Instant::now();
        let bytes = write_all(root, (size * (1u64 << 30) as f64) as u64)?;
        println!("wrote {} MB in {:.1} s", bytes >> 20, begun.elapsed().as_secs_f64());
    }
    let bytes = total(root)?;
    let begun = Instant::now();
    let report = path(root, &Options::new(Timestamp::from_seconds(1_772_600_000)))?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "read {} MB in {seconds:.1} s: {:.0} MB/s, peak memory {} MB, {} kinds of artefacts, {} unread, {} findings",
        bytes / 1_000_000,
        bytes as f64 / 1e6 / seconds,
        peak().unwrap_or(0),
        report.read.len(),
        report.unread.len(),
        report.findings.len()
    );
    for unread in report.unread.iter().take(5) {
        println!("unread: {}: {}", unread.file, unread.reason);
    }
    for finding in report.findings.iter().take(5) {
        println!("finding: {} {:.2}", finding.cause, finding.confidence);
    }
    if made && !keep {
        fs::remove_dir_all(root)?;
    }
    Ok(())
}

fn total(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { total(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// Megabytes of memory that were resident at most.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib >> 10)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

type Line = fn(&mut Dice, &str, &str, &mut String);

const IMAP: &str = "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: IMAP4 Protocol Log\r\n#Date: 2026-03-03T00:00:00.000Z\r\n#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid\r\n";
const SMTP: &str = "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: SMTP Receive Protocol Log\r\n#Date: 2026-03-03T00:00:00.000Z\r\n#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\r\n";
const TRACKING: &str = "#Software: Microsoft Exchange Server\r\n#Version: 15.02.1544.011\r\n#Log-type: Message Tracking Log\r\n#Date: 2026-03-03T00:00:00.000Z\r\n#Fields: date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,network-message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data,transport-traffic-type,log-id,schema-version\r\n";
const CONNECT: &str = "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: Transport Connectivity Log\r\n#Date: 2026-03-03T00:00:00.000Z\r\n#Fields: date-time,session,source,Destination,direction,description\r\n";
const IIS: &str = "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: 2026-03-03 00:00:00\r\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\r\n";

/// A kind of log: its folder, the beginning of its files' names, header, lines, and its share in hundredths.
const KINDS: &[(&str, &str, &str, Line, u64)] = &[
    ("Imap_Logs", "IMAP420260303", IMAP, imap, 15),
    ("Hub_Receive_Protocol_Logs", "RECV20260303", SMTP, smtp, 25),
    ("Message_Tracking_Logs", "MSGTRK20260303", TRACKING, tracking, 30),
    ("Hub_Connectivity_Logs", "CONNECTLOG20260303", CONNECT, connect, 10),
    ("IIS_Logs/W3SVC1", "u_ex260303", IIS, iis, 20),
];

fn write_all(root: &Path, size: u64) -> io::Result<u64> {
    let mut dice = Dice(7);
    let mut written = 0;
    for server in ["MBX01", "MBX02"] {
        for (folder, prefix, header, line, share) in KINDS {
            let folder = root.join(server).join(folder);
            fs::create_dir_all(&folder)?;
            let mut left = size * share / 200;
            let mut number = 1;
            while left > 0 {
                let part = left.min(FILE);
                left -= part;
                written += write_one(
                    &folder.join(format!("{prefix}{number:02}-1.LOG")),
                    header,
                    *line,
                    part,
                    server,
                    &mut dice,
                )?;
                number += 1;
            }
        }
    }
    Ok(written)
}

fn write_one(
    path: &Path,
    header: &str,
    line: Line,
    size: u64,
    server: &str,
    dice: &mut Dice,
) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(header.as_bytes())?;
    let mut written = header.len() as u64;
    let mut text = String::new();
    let mut tick: u64 = 0;
    while written < size {
        text.clear();
        tick += dice.below(40);
        let time = Timestamp(1_772_496_000_000 + i64::try_from(tick % 86_400_000).unwrap_or(0)).to_string();
        line(dice, &time, server, &mut text);
        text.push_str("\r\n");
        out.write_all(text.as_bytes())?;
        written += text.len() as u64;
    }
    out.flush()?;
    Ok(written)
}

fn imap(dice: &mut Dice, time: &str, server: &str, out: &mut String) {
    let (session, user) = (dice.below(1 << 40), dice.below(3000));
    let start = format!(
        "{time},{session:016X},{},10.20.0.11:993,10.20.9.{}:{},user{user}",
        dice.below(20),
        dice.below(250),
        30000 + dice.below(30000)
    );
    let rest = match dice.below(100) {
        0..10 => ",2,0,53,OpenSession,,,".to_owned(),
        10..20 => format!(
            ",214,49,24,login,user{user}@example.net *****,\"R=OK;Msg=\"\"Proxy:{server}.corp.example:1993:SSL;ProxySuccess\"\"\","
        ),
        20..21 => format!(
            ",1196,78,97,login,user{user}@example.net *****,\"R=\"\"{} NO LOGIN failed.\"\";Msg=Proxy:{server}.CORP.EXAMPLE:1993:SSL;ErrMsg=ProxyNotAuthenticated\",",
            dice.below(900)
        ),
        21..30 => ",1,0,0,CloseSession,,,".to_owned(),
        30..60 => ",3,14,158,uid,fetch 1:* (flags),R=OK;Rows=48,".to_owned(),
        _ => ",3,14,158,select,INBOX,R=OK,".to_owned(),
    };
    out.push_str(&start);
    out.push_str(&rest);
}

fn smtp(dice: &mut Dice, time: &str, server: &str, out: &mut String) {
    let start = format!(
        "{time},{server}\\Default {server},08DE5A{:010X},{},10.20.0.11:2525,10.20.0.{}:{},",
        dice.below(1 << 40),
        dice.below(30),
        dice.below(250),
        30000 + dice.below(30000)
    );
    let rest = match dice.below(60) {
        0..4 => "+,,".to_owned(),
        4..8 => format!(">,\"220 {server}.corp.example Microsoft ESMTP MAIL Service ready at Tue, 3 Mar 2026 10:40:02 +0000\","),
        8..14 => format!("<,EHLO mx{}.example.net,", dice.below(90)),
        14..20 => format!(">,250  {server}.corp.example Hello [10.20.0.12] SIZE 37748736 PIPELINING DSN ENHANCEDSTATUSCODES STARTTLS X-ANONYMOUSTLS AUTH NTLM X-EXPS GSSAPI NTLM 8BITMIME BINARYMIME CHUNKING XRDST,"),
        20..24 => "*,,TLS protocol SP_PROT_TLS1_2_SERVER negotiation succeeded using bulk encryption algorithm CALG_AES_256 with strength 256 bits".to_owned(),
        24 => "*,,Inbound ExchangeAuth negotiation failed because of IllegalMessage".to_owned(),
        25 => ">,550 5.7.1 Unable to relay,".to_owned(),
        26..34 => format!("<,MAIL FROM:<user{}@example.net> SIZE={},", dice.below(3000), dice.below(900_000)),
        34..42 => format!("<,RCPT TO:<user{}@example.org>,", dice.below(3000)),
        42..50 => ">,250 2.1.5 Recipient OK,".to_owned(),
        _ => "-,,Local".to_owned(),
    };
    out.push_str(&start);
    out.push_str(&rest);
}

fn tracking(dice: &mut Dice, time: &str, server: &str, out: &mut String) {
    let (event, status) = match dice.below(200) {
        0..2 => {
            ("FAIL", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")
        }
        2..4 => ("DEFER", "451 4.7.0 Temporary server error. Please try again later"),
        4..80 => ("RECEIVE", ""),
        80..140 => ("SEND", "250 2.1.5 Recipient OK"),
        _ => ("DELIVER", ""),
    };
    let (from, to, id) = (dice.below(3000), dice.below(3000), dice.below(1 << 40));
    out.push_str(&format!(
        "{time},10.20.9.40,app01.example.net,10.20.0.11,{server},08DE5A{id:010X};2026-03-03T10:41:12.700Z;0,{server}\\Default {server},SMTP,{event},{id},<{id:x}@app01.example.net>,77e0aaaa-0000-4000-8000-{id:012x},user{to}@example.org,{status},{},1,,,Subject number {id},user{from}@example.net,user{from}@example.net,,Incoming,,10.20.9.40,10.20.0.11,S:DeliveryPriority=Normal;S:AccountForest=corp.example,Email,5c9eaaaa-0000-4000-8000-{id:012x},15.02.1544.011",
        dice.below(900_000)
    ));
}

fn connect(dice: &mut Dice, time: &str, server: &str, out: &mut String) {
    let rest = match dice.below(100) {
        0..30 => "+,Undefined 00000000-0000-0000-0000-000000000000;QueueLength=0".to_owned(),
        30..60 => format!(">,{server}.corp.example[10.20.0.11]"),
        60..98 => format!("-,Messages: {} Bytes: {} ()", dice.below(20), dice.below(900_000)),
        _ => "-,Messages: 0 Bytes: 0 (Retry : Service not active)".to_owned(),
    };
    out.push_str(&format!(
        "{time},08DE5A{:010X},SMTP,mailboxtransportsubmissioninternalproxy,{rest}",
        dice.below(1 << 40)
    ));
}

fn iis(dice: &mut Dice, time: &str, _: &str, out: &mut String) {
    let status = match dice.below(100) {
        0 => 503,
        1..20 => 401,
        _ => 200,
    };
    let (date, clock) = (time.get(..10).unwrap_or_default(), time.get(11..19).unwrap_or_default());
    out.push_str(&format!(
        "{date} {clock} 10.20.0.11 POST /mapi/emsmdb/ MailboxId={:x}@corp.example&CorrelationID=<empty>;&cafeReqId=77e0aaaa-0000-4000-8000-{:012x}; 443 CORP\\user{} 10.20.9.{} Microsoft+Office/16.0+(Windows+NT+10.0;+Microsoft+Outlook+16.0.4266;+Pro) - {status} 0 0 {}",
        dice.below(1 << 40), dice.below(1 << 40), dice.below(3000), dice.below(250), dice.below(900)
    ));
}
