//! Which log it is: by its header, by its file's name, by the columns, or by the shape of its lines.

use super::row::Columns;
use super::shape;

/// The logs that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    Imap,
    Pop,
    SmtpReceive,
    SmtpSend,
    Tracking,
    Connectivity,
    HttpProxy,
    MapiHttp,
    Iis,
    Setup,
    Waypost,
    /// Another log with a header of fields: its kind.
    Other(String),
}

pub const IMAP: &str =
    "dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid";
pub const SMTP: &str =
    "date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context";
pub const TRACKING: &str = "date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,network-message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data,transport-traffic-type,log-id,schema-version";
/// 2007 and 2010 have no network id and fewer columns after the return path.
pub const TRACKING_2010: &str = "date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data";
pub const CONNECTIVITY: &str = "date-time,session,source,Destination,direction,description";
pub const HTTPPROXY: &str = "DateTime,RequestId,MajorVersion,MinorVersion,BuildVersion,RevisionVersion,ClientRequestId,Protocol,UrlHost,UrlStem,ProtocolAction,AuthenticationType,IsAuthenticated,AuthenticatedUser,Organization,AnchorMailbox,UserAgent,ClientIpAddress,ServerHostName,HttpStatus,BackEndStatus,ErrorCode,Method,ProxyAction,TargetServer,TargetServerVersion,RoutingType,RoutingHint,BackEndCookie,ServerLocatorHost,ServerLocatorLatency,RequestBytes,ResponseBytes,TargetOutstandingRequests,AuthModulePerfContext,HttpPipelineLatency,CalculateTargetBackEndLatency,GlsLatencyBreakup,TotalGlsLatency,AccountForestLatencyBreakup,TotalAccountForestLatency,ResourceForestLatencyBreakup,TotalResourceForestLatency,ADLatency,SharedCacheLatencyBreakup,TotalSharedCacheLatency,ActivityContextLifeTime,ModuleToHandlerSwitchingLatency,ClientReqStreamLatency,BackendReqInitLatency,BackendReqStreamLatency,BackendProcessingLatency,BackendRespInitLatency,BackendRespStreamLatency,ClientRespStreamLatency,KerberosAuthHeaderLatency,HandlerCompletionLatency,RequestHandlerLatency,HandlerToModuleSwitchingLatency,ProxyTime,CoreLatency,RoutingLatency,HttpProxyOverhead,TotalRequestTime,RouteRefresherLatency,UrlQuery,BackEndGenericInfo,GenericInfo,GenericErrors,EdgeTraceId,DatabaseGuid,UserADObjectGuid,PartitionEndpointLookupLatency,RoutingStatus";

impl Format {
    /// The kind of its facts.
    pub fn kind(&self) -> &str {
        match self {
            Format::Imap => "imap",
            Format::Pop => "pop",
            Format::SmtpReceive => "smtp-receive",
            Format::SmtpSend => "smtp-send",
            Format::Tracking => "tracking",
            Format::Connectivity => "connectivity",
            Format::HttpProxy => "httpproxy",
            Format::MapiHttp => "mapihttp",
            Format::Iis => "iis",
            Format::Setup => "setup",
            Format::Waypost => "waypost",
            Format::Other(kind) => kind,
        }
    }

    /// What the report calls it.
    pub fn title(&self) -> &'static str {
        match self {
            Format::Imap => "IMAP4 protocol log",
            Format::Pop => "POP3 protocol log",
            Format::SmtpReceive => "SMTP receive protocol log",
            Format::SmtpSend => "SMTP send protocol log",
            Format::Tracking => "Message tracking log",
            Format::Connectivity => "Connectivity log",
            Format::HttpProxy => "HttpProxy log",
            Format::MapiHttp => "MAPI over HTTP log",
            Format::Iis => "IIS log",
            Format::Setup => "Exchange setup log",
            Format::Waypost => "Waypost log",
            Format::Other(_) => "Log with a header of fields",
        }
    }

    /// The columns of a log that has lost its header.
    pub fn usual(&self) -> Columns {
        Columns::of(match self {
            Format::Imap | Format::Pop => IMAP,
            Format::SmtpReceive | Format::SmtpSend => SMTP,
            Format::Tracking => TRACKING,
            Format::Connectivity => CONNECTIVITY,
            Format::HttpProxy => HTTPPROXY,
            _ => "",
        })
    }
}

/// What a file's path says about the log in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub format: Option<Format>,
    /// `fe` or `be`, of IMAP and POP.
    pub end: Option<&'static str>,
    /// `frontend`, `hub`, `mailbox`, `edge`, of transport's logs.
    pub role: Option<&'static str>,
}

impl Hints {
    pub fn of(path: &str) -> Hints {
        let path = path.to_ascii_lowercase();
        let file = path.rsplit('/').next().unwrap_or_default();
        let folder = path.get(..path.len() - file.len()).unwrap_or_default();
        let has = |words: &[&str]| words.iter().any(|word| folder.contains(word));
        let (format, end) = if file.contains("imap4be") {
            (Some(Format::Imap), Some("be"))
        } else if file.contains("pop3be") {
            (Some(Format::Pop), Some("be"))
        } else if file.contains("imap4") {
            (Some(Format::Imap), Some("fe"))
        } else if file.contains("pop3") {
            (Some(Format::Pop), Some("fe"))
        } else if file.contains("msgtrk") {
            (Some(Format::Tracking), None)
        } else if file.contains("connectlog") {
            (Some(Format::Connectivity), None)
        } else if file.starts_with("recv")
            || file.contains("smtpreceive")
            || has(&["smtpreceive", "receive_protocol"])
        {
            (Some(Format::SmtpReceive), None)
        } else if file.starts_with("send") || file.contains("smtpsend") || has(&["smtpsend", "send_protocol"])
        {
            (Some(Format::SmtpSend), None)
        } else {
            (None, None)
        };
        let role = if has(&["frontend/", "fe_", "frontend_"]) {
            Some("frontend")
        } else if has(&["hub/", "hub_"]) {
            Some("hub")
        } else if has(&["mailbox/", "mailbox_"]) {
            Some("mailbox")
        } else if has(&["edge/", "edge_"]) {
            Some("edge")
        } else {
            None
        };
        Hints { format, end, role }
    }
}

/// How a log is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub format: Format,
    pub columns: Columns,
    pub hints: Hints,
}

/// Lines at the beginning that are looked at.
const LOOKED_AT: usize = 40;

/// The log whose beginning this is, if it is one throughout.
pub fn detect(head: &str, hints: &Hints) -> Option<Setup> {
    let mut lines =
        head.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).take(LOOKED_AT).peekable();
    let first = *lines.peek()?;
    if let Some(rest) = first.strip_prefix('#') {
        // Markdown begins with `# ` too.
        let header = Header::of(std::iter::once(first).chain(lines.skip(1)));
        let _ = rest;
        return header.setup(hints);
    }
    if let Some(columns) = header_row(first) {
        let format = by_columns(&columns, "", hints)?;
        return Some(Setup { format, columns, hints: hints.clone() });
    }
    let lines: Vec<&str> = lines.collect();
    let formats: Vec<Option<Format>> =
        lines.iter().map(|line| shape::of(line).map(|found| found.format)).collect();
    let format = formats.iter().flatten().next()?.clone();
    let fit = formats.iter().flatten().count();
    // The first and the last line may be cut off.
    if fit * 10 < (formats.len() * 7).saturating_sub(10) {
        return None;
    }
    // A line whose date was cut off stands one column further left; only the shape knows, line by line.
    let columns = format.usual();
    let format = match (&format, &hints.format) {
        (Format::SmtpReceive | Format::SmtpSend, Some(told @ (Format::SmtpReceive | Format::SmtpSend))) => {
            told.clone()
        }
        (Format::Imap | Format::Pop, Some(told @ (Format::Imap | Format::Pop))) => told.clone(),
        _ => format,
    };
    Some(Setup { format, columns, hints: hints.clone() })
}

/// `#` lines gathered.
#[derive(Clone, Debug, Default)]
pub struct Header {
    pub kind: String,
    pub software: String,
    pub fields: Option<Columns>,
    pub host: Option<String>,
}

impl Header {
    pub fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Header {
        let mut header = Header::default();
        for line in lines {
            header.line(line);
        }
        header
    }

    /// Takes a line; whether it is one of a log's header.
    pub fn line(&mut self, line: &str) -> bool {
        let Some((name, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once(':')) else {
            return false;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "fields" => self.fields = Some(Columns::of(value)),
            "log-type" | "logtype" => value.trim().clone_into(&mut self.kind),
            "software" => value.trim().clone_into(&mut self.software),
            "hostname" | "computer" | "server" => self.host = Some(value.trim().to_owned()),
            "version" | "date" | "start-date" | "end-date" | "remark" => {}
            _ => return false,
        }
        true
    }

    pub fn setup(&self, hints: &Hints) -> Option<Setup> {
        let columns = match &self.fields {
            Some(columns) => columns.clone(),
            None => by_type(&self.kind)?.usual(),
        };
        let format = match by_type(&self.kind) {
            Some(format) => format,
            None if self.software.contains("Internet Information Services") => Format::Iis,
            None => by_columns(&columns, &self.kind, hints)?,
        };
        Some(Setup { format, columns, hints: hints.clone() })
    }
}

fn by_type(kind: &str) -> Option<Format> {
    let kind = kind.to_ascii_lowercase();
    let has = |word: &str| kind.contains(word);
    Some(match () {
        () if kind.is_empty() => return None,
        () if has("imap4") => Format::Imap,
        () if has("pop3") => Format::Pop,
        () if has("smtp receive") => Format::SmtpReceive,
        () if has("smtp send") => Format::SmtpSend,
        () if has("message tracking") => Format::Tracking,
        () if has("connectivity") => Format::Connectivity,
        () if has("httpproxy") => Format::HttpProxy,
        () if has("mapihttp") || has("mapi http") => Format::MapiHttp,
        () => return None,
    })
}

fn by_columns(columns: &Columns, kind: &str, hints: &Hints) -> Option<Format> {
    let has = |name: &str| columns.has(name);
    if columns.names.len() < 3 {
        return None;
    }
    Some(if has("sip") && has("cip") && has("command") {
        hints.format.clone().unwrap_or(Format::Imap)
    } else if has("localendpoint") && has("remoteendpoint") {
        hints.format.clone().unwrap_or(Format::SmtpReceive)
    } else if has("eventid") && has("messageid") && has("source") {
        Format::Tracking
    } else if has("destination") && has("direction") && has("session") {
        Format::Connectivity
    } else if has("backendstatus") && has("httpstatus") {
        Format::HttpProxy
    } else if has("mapirequestid") {
        Format::MapiHttp
    } else if has("csmethod") && has("scstatus") {
        Format::Iis
    } else {
        let name = crate::fact::plain(std::borrow::Cow::Owned(kind.to_owned()));
        let name = name.trim_end_matches('s').trim_end_matches("log").to_owned();
        let name = if name.contains("topology") { "adtopology".to_owned() } else { name };
        Format::Other(if name.is_empty() { "log".to_owned() } else { name })
    })
}

/// A list of columns as the first row, as HttpProxy logs have it.
pub fn header_row(line: &str) -> Option<Columns> {
    let line = line.trim_start_matches('\u{feff}').trim();
    let first = line.split(',').next()?;
    if !["datetime", "date-time", "date"].iter().any(|name| first.eq_ignore_ascii_case(name)) {
        return None;
    }
    let word = |name: &str| {
        let name = name.trim();
        name.len() < 60
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')'))
    };
    let good = line.split(',').filter(|name| !name.is_empty()).all(word) && line.split(',').count() >= 5;
    good.then(|| Columns::of(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(head: &str, path: &str) -> Option<Format> {
        detect(head, &Hints::of(path)).map(|setup| setup.format)
    }

    #[test]
    fn by_header_by_name_and_by_shape() {
        let header = |kind: &str, fields: &str| {
            format!("#Software: Microsoft Exchange Server\r\n#Log-Type: {kind}\r\n#Fields: {fields}\r\n")
        };
        assert_eq!(found(&header("IMAP4 Protocol Log", IMAP), "x"), Some(Format::Imap));
        assert_eq!(found(&header("POP3 Protocol Log", SMTP), "x"), Some(Format::Pop));
        assert_eq!(found(&header("SMTP Send Protocol Log", SMTP), "x"), Some(Format::SmtpSend));
        assert_eq!(found(&header("", SMTP), "a/SEND2026.log"), Some(Format::SmtpSend));
        assert_eq!(found(&header("", CONNECTIVITY), "x"), Some(Format::Connectivity));
        assert_eq!(found(HTTPPROXY, "x"), Some(Format::HttpProxy));
        assert_eq!(
            found(&header("Agent Log", "Timestamp,SessionId,Agent"), "x"),
            Some(Format::Other("agent".to_owned()))
        );
        let iis = "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Fields: date time s-ip cs-method sc-status\r\n";
        assert_eq!(found(iis, "x"), Some(Format::Iis));
        let line = "2026-03-03T08:15:20.114Z,000000000000001A,0,10.20.0.11:993,10.20.9.40:51877,,2,0,53,OpenSession,,,\n";
        assert_eq!(found(&line.repeat(5), "x"), Some(Format::Imap));
        assert_eq!(found(&line.repeat(5), "POP3BE2026.LOG"), Some(Format::Pop));
        for prose in ["# A heading\n\nSome words: here", "Dear all,\nmail stopped.\n", "", "date,a\n"] {
            assert_eq!(found(prose, "x"), None, "{prose}");
        }
    }

    #[test]
    fn paths_say_end_and_role() {
        let hints = Hints::of("MBX01/Imap4/IMAP4BE2026030308-1.LOG");
        assert_eq!((hints.format, hints.end), (Some(Format::Imap), Some("be")));
        let hints = Hints::of("MBX01/FE_Send_Protocol_Logs/SEND2026030308-1.LOG");
        assert_eq!((hints.format, hints.role), (Some(Format::SmtpSend), Some("frontend")));
        assert_eq!(Hints::of("TransportRoles/Logs/Hub/ProtocolLog/SmtpReceive/RECV1.LOG").role, Some("hub"));
    }
}
