//! What an object is: by the command that printed it, by its type's name, by the file's name, by the names of its properties.

/// Nouns of cmdlets and the type that their objects are kept under, where these differ.
const NOUNS: &[(&str, &str)] = &[
    ("clientaccessserver", "ClientAccessService"),
    ("transportserver", "TransportService"),
    ("exchangecertificate", "ExchangeCertificate"),
    ("monitoringprobe", "ProbeResult"),
    ("winevent", "EventLogEntry"),
    ("eventlog", "EventLogEntry"),
    ("volume", "Volume"),
    ("psdrive", "PSDrive"),
    ("dnsname", "DnsRecord"),
    ("netconnection", "NetConnection"),
    ("win32service", "Service"),
    ("win32logicaldisk", "LogicalDisk"),
    ("win32volume", "Volume"),
    ("win32operatingsystem", "OperatingSystem"),
    ("itemproperty", "ItemProperty"),
    ("mailboxdatabasecopy", "MailboxDatabaseCopyStatus"),
    ("popsettings", "PopSettings"),
    ("imapsettings", "ImapSettings"),
    ("casmailbox", "CasMailbox"),
    ("messagetrackinglog", "MessageTrackingLog"),
];

/// Types as they are spelt; others are taken as they come.
const TYPES: &[&str] = &[
    "ImapSettings",
    "PopSettings",
    "ExchangeCertificate",
    "ServerComponentState",
    "ServerHealth",
    "HealthReport",
    "QueueDigest",
    "Queue",
    "ReceiveConnector",
    "SendConnector",
    "TestImapConnectivity",
    "TestPopConnectivity",
    "TestSmtpConnectivity",
    "TestMailflow",
    "TestServiceHealth",
    "TestReplicationHealth",
    "TestMapiConnectivity",
    "TestOutlookConnectivity",
    "ProbeResult",
    "AcceptedDomain",
    "FrontendTransportService",
    "MailboxTransportService",
    "TransportService",
    "TransportConfig",
    "AuthConfig",
    "ClientAccessService",
    "MailboxDatabaseCopyStatus",
    "MailboxDatabase",
    "CasMailbox",
    "MailboxStatistics",
    "MoveRequestStatistics",
    "MessageTrackingLog",
    "AdminAuditLog",
    "VirtualDirectory",
    "EventLogEntry",
    "ExchangeServer",
    "ResourceMeter",
    "DnsClientServerAddress",
    "NetIPConfiguration",
    "ADComputer",
    "ADUser",
    "TransportRule",
    "TransportAgent",
    "EdgeSubscription",
    "ItemProperty",
    "LogicalDisk",
    "DnsClient",
    "Service",
    "Mailbox",
    "Message",
];

/// The type that a cmdlet prints.
pub fn of_command(verb: &str, noun: &str, argument: &str) -> Option<String> {
    let (verb, noun) = (verb.to_ascii_lowercase(), noun.to_ascii_lowercase());
    match noun.as_str() {
        "wmiobject" | "ciminstance" => {
            let class: String = argument.chars().filter(char::is_ascii_alphanumeric).collect();
            return (!class.is_empty()).then(|| spelt(&class));
        }
        "childitem" | "item" => {
            return crate::words::contains(argument, "cert:").then(|| "Certificate".to_owned());
        }
        "date" | "content" | "command" | "member" | "exchangediagnosticinfo" | "location" | "help" => {
            return None;
        }
        "expression" | "webrequest" | "restmethod" | "item2" => return None,
        _ => {}
    }
    if verb == "test" {
        return Some(match noun.as_str() {
            "netconnection" => "NetConnection".to_owned(),
            _ => spelt(&format!("test{noun}")),
        });
    }
    Some(spelt(&noun))
}

/// A noun as the type is spelt.
pub fn spelt(noun: &str) -> String {
    let plain = crate::fact::plain(noun.to_owned().into());
    if let Some((_, kind)) = NOUNS.iter().find(|(n, _)| *n == plain) {
        return (*kind).to_owned();
    }
    if let Some(kind) = TYPES.iter().find(|kind| kind.eq_ignore_ascii_case(&plain)) {
        return (*kind).to_owned();
    }
    if plain.ends_with("virtualdirectory") {
        return "VirtualDirectory".to_owned();
    }
    if let Some(rest) = plain.strip_prefix("test") {
        let mut name = "Test".to_owned();
        let mut letters = rest.chars();
        name.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        name.extend(letters);
        return name;
    }
    noun.to_owned()
}

/// The type of .NET's name of it: `Microsoft.Exchange.Data.Directory.SystemConfiguration.Imap4AdConfiguration`.
pub fn of_dotnet(name: &str) -> Option<String> {
    let name = name.trim().trim_start_matches("Deserialized.").trim_start_matches("Selected.");
    let name = name.split(['[', ',']).next().unwrap_or_default();
    if let Some(class) = name.split_once("Win32_") {
        return Some(spelt(&format!("win32{}", class.1)));
    }
    let last = name.rsplit(['.', '+', '/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let known = match last.as_str() {
        "imap4adconfiguration" => "ImapSettings",
        "pop3adconfiguration" => "PopSettings",
        "exchangecertificate" => "ExchangeCertificate",
        "x509certificate2" => "Certificate",
        "servercomponentstatepresentationobject" | "servercomponentstate" => "ServerComponentState",
        "monitorhealthentry" => "ServerHealth",
        "consolidatedhealth" => "HealthReport",
        "extensiblequeueinfo" | "queueinfo" => "Queue",
        "extensiblemessageinfo" | "messageinfo" => "Message",
        "receiveconnector" => "ReceiveConnector",
        "smtpsendconnectorconfig" => "SendConnector",
        "servicecontroller" => "Service",
        "acceptedomain" | "accepteddomain" => "AcceptedDomain",
        "transportserver" => "TransportService",
        "frontendtransportserver" => "FrontendTransportService",
        "mailboxtransportserver" => "MailboxTransportService",
        "transportconfigcontainer" => "TransportConfig",
        "authconfig" => "AuthConfig",
        "clientaccessserver" => "ClientAccessService",
        "mailboxdatabase" => "MailboxDatabase",
        "databasecopystatusentry" => "MailboxDatabaseCopyStatus",
        "casmailbox" => "CasMailbox",
        "mailbox" => "Mailbox",
        "moverequeststatistics" => "MoveRequestStatistics",
        "messagetrackingevent" => "MessageTrackingLog",
        "adminauditlogevent" => "AdminAuditLog",
        "exchangeserver" => "ExchangeServer",
        "eventlogrecord" | "eventlogentry" => "EventLogEntry",
        "aduser" => "ADUser",
        "adcomputer" => "ADComputer",
        "servicehealthresult" | "servicestatus" | "exchangeservicesstatus" => "TestServiceHealth",
        "replicationcheckoutcome" | "replicationcheckresult" => "TestReplicationHealth",
        "castransactionoutcome" => return None,
        "smtpconnectivitystatus" => "TestSmtpConnectivity",
        "mapitransactionoutcome" => "TestMapiConnectivity",
        _ if last.ends_with("virtualdirectory") => "VirtualDirectory",
        _ => return None,
    };
    Some(known.to_owned())
}

/// The type that the file's name tells: `MBX01_Get-ExchangeCertificate.txt`, `certs/ExchangeCertificate.xml`.
pub fn of_file(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = crate::fact::plain(name.to_owned().into());
    for (form, kind) in [
        ("get4imap", "ImapSettings"),
        ("componentstate", "ServerComponentState"),
        ("imapconnectivity", "TestImapConnectivity"),
        ("popconnectivity", "TestPopConnectivity"),
        ("smtpconnectivity", "TestSmtpConnectivity"),
        ("servicehealth", "TestServiceHealth"),
        ("replicationhealth", "TestReplicationHealth"),
        ("mailflow", "TestMailflow"),
        ("virtualdirectory", "VirtualDirectory"),
        ("vdir", "VirtualDirectory"),
    ] {
        if plain.contains(form) {
            return Some(kind.to_owned());
        }
    }
    let found = TYPES.iter().find(|kind| kind.len() > 7 && plain.contains(&kind.to_ascii_lowercase()));
    if let Some(kind) = found {
        return Some((*kind).to_owned());
    }
    super::command::of(name.split('.').next().unwrap_or_default().replace('_', " ").as_str())
        .and_then(|c| c.kind)
}

/// Names of properties that tell a type: all of the first list and, unless it is empty, one of the second.
type Sign = (&'static str, &'static [&'static str], &'static [&'static str]);

const SIGNS: &[Sign] = &[
    ("TestMailflow", &["testmailflowresult"], &[]),
    ("TestServiceHealth", &["requiredservicesrunning"], &[]),
    ("TestServiceHealth", &["servicesnotrunning"], &[]),
    ("TestSmtpConnectivity", &["receiveconnector", "statuscode"], &["binding", "endpoint", "server"]),
    (
        "TestImapConnectivity",
        &["scenario", "result"],
        &["casserver", "clientaccessserver", "clientaccessservershortname"],
    ),
    (
        "TestPopConnectivity",
        &["scenario", "result"],
        &["casserver", "clientaccessserver", "clientaccessservershortname"],
    ),
    ("TestReplicationHealth", &["check", "result"], &["server", "checkid", "error"]),
    ("TestMapiConnectivity", &["mailboxserver", "database", "result"], &["latency", "error"]),
    ("ComponentRequester", &["requester", "state"], &["component", "timestamp"]),
    ("ServerComponentState", &["component", "state"], &[]),
    ("ServerHealth", &["healthsetname", "alertvalue"], &[]),
    ("ServerHealth", &["alertvalue", "targetresource"], &[]),
    ("HealthReport", &["healthset", "alertvalue"], &[]),
    (
        "ProbeResult",
        &["resulttype"],
        &["resultname", "stateattribute1", "executionstarttime", "monitoridentity", "probename"],
    ),
    ("ResourceMeter", &["pressure"], &["currentresourceuse", "resource"]),
    ("MailboxDatabaseCopyStatus", &["copyqueuelength"], &[]),
    ("MailboxDatabaseCopyStatus", &["status"], &["contentindexstate", "replayqueuelength"]),
    ("Queue", &["messagecount"], &["deliverytype", "nexthopdomain", "status"]),
    ("Queue", &["nexthopdomain", "deliverytype"], &[]),
    ("Message", &["fromaddress"], &["queue", "messagesourcename", "subject", "status"]),
    (
        "ReceiveConnector",
        &["bindings"],
        &["permissiongroups", "remoteipranges", "authmechanism", "transportrole", "enabled"],
    ),
    ("ReceiveConnector", &["permissiongroups", "authmechanism"], &[]),
    ("ReceiveConnector", &["maxinboundconnection"], &["tlscertificatename", "fqdn", "identity", "name"]),
    ("SendConnector", &["addressspaces"], &[]),
    (
        "SendConnector",
        &["smarthosts"],
        &["dnsroutingenabled", "fqdn", "sourcetransportservers", "tlsauthlevel"],
    ),
    ("MessageTrackingLog", &["eventid", "source"], &["messagesubject", "recipients", "messageid", "sender"]),
    ("AdminAuditLog", &["cmdletname"], &["rundate", "caller", "cmdletparameters", "objectmodified"]),
    ("AuthConfig", &["currentcertificatethumbprint"], &[]),
    ("ClientAccessService", &["autodiscoverserviceinternaluri"], &[]),
    ("ClientAccessService", &["alternateserviceaccountconfiguration"], &[]),
    ("MoveRequestStatistics", &["percentcomplete"], &["statusdetail", "status", "totalmailboxsize"]),
    ("CasMailbox", &["imapenabled"], &["popenabled", "owaenabled", "activesyncenabled", "mapienabled"]),
    ("MailboxStatistics", &["itemcount"], &["totalitemsize", "storagelimitstatus", "displayname"]),
    ("MailboxDatabase", &["edbfilepath"], &[]),
    ("MailboxDatabase", &["mounted"], &["recovery", "replicationtype", "server", "name"]),
    ("MailboxDatabase", &["recovery", "replicationtype"], &[]),
    ("Mailbox", &["prohibitsendquota"], &["alias", "recipienttypedetails", "servername", "name"]),
    ("TransportConfig", &["safetynetholdtime"], &[]),
    ("TransportConfig", &["maxrecipientenvelopelimit"], &[]),
    ("TransportConfig", &["shadowredundancyenabled"], &[]),
    ("TransportService", &["maxperdomainoutboundconnections"], &[]),
    ("TransportService", &["messageretryinterval"], &[]),
    ("TransportService", &["usedowngradedexchangeserverauth"], &[]),
    ("TransportService", &["internaldnsadapterenabled"], &[]),
    ("TransportService", &["externaldnsservers"], &[]),
    ("AcceptedDomain", &["domainname", "domaintype"], &[]),
    ("VirtualDirectory", &["internalurl", "externalurl"], &[]),
    ("VirtualDirectory", &["internalauthenticationmethods"], &[]),
    ("VirtualDirectory", &["extendedprotectiontokenchecking"], &[]),
    ("ExchangeServer", &["admindisplayversion"], &["serverrole", "edition", "site", "name"]),
    ("ExchangeCertificate", &["thumbprint", "services"], &[]),
    ("ExchangeCertificate", &["certificatedomains"], &[]),
    ("ExchangeCertificate", &["thumbprint", "rootcatype"], &[]),
    ("Certificate", &["thumbprint"], &["subject", "notafter", "issuer", "friendlyname", "hasprivatekey"]),
    ("PopSettings", &["messageretrievalsortorder"], &["logintype", "x509certificatename", "proxytargetport"]),
    ("ImapSettings", &["showhiddenfoldersenabled"], &["logintype", "x509certificatename", "proxytargetport"]),
    ("ImapSettings", &["x509certificatename"], &[]),
    ("PopSettings", &["x509certificatename"], &[]),
    (
        "ImapSettings",
        &["logintype"],
        &["sslbindings", "proxytargetport", "unencryptedortlsbindings", "banner", "server"],
    ),
    (
        "PopSettings",
        &["logintype"],
        &["sslbindings", "proxytargetport", "unencryptedortlsbindings", "banner", "server"],
    ),
    ("ImapSettings", &["unencryptedortlsbindings"], &[]),
    ("PopSettings", &["unencryptedortlsbindings"], &[]),
    ("EventLogEntry", &["id", "providername"], &[]),
    (
        "EventLogEntry",
        &["eventid", "source"],
        &["message", "entrytype", "level", "timegenerated", "dateandtime", "computer"],
    ),
    ("EventLogEntry", &["instanceid", "source"], &["message", "entrytype", "timegenerated"]),
    ("EventLogEntry", &["id", "timecreated"], &["message", "leveldisplayname"]),
    ("EventLogEntry", &["eventid", "providername"], &[]),
    ("EventLogEntry", &["ereignisid", "quelle"], &[]),
    ("EventLogEntry", &["iddelévénement", "source"], &[]),
    ("EventLogEntry", &["eventcode"], &["sourcename", "message", "logfile"]),
    ("Service", &["status", "name", "displayname"], &[]),
    ("Service", &["name"], &["startname", "startmode"]),
    ("Service", &["servicename"], &["starttype", "displayname", "status"]),
    ("Service", &["name", "starttype"], &[]),
    ("Service", &["exitcode", "processid"], &["startmode", "name"]),
    ("Service", &["state", "startmode"], &[]),
    ("NetConnection", &["tcptestsucceeded"], &[]),
    ("NetConnection", &["remoteport"], &["computername", "remoteaddress"]),
    ("DnsClientServerAddress", &["serveraddresses"], &[]),
    ("DnsClient", &["registerthisconnectionsaddress"], &[]),
    ("NetIPConfiguration", &["dnsserver"], &["ipv4address", "ipv4defaultgateway", "interfacealias"]),
    ("LogicalDisk", &["deviceid", "freespace"], &[]),
    ("Volume", &["sizeremaining"], &[]),
    ("Volume", &["freespace", "capacity"], &[]),
    ("PSDrive", &["usedgb", "freegb"], &[]),
    ("DnsRecord", &["ttl", "section"], &[]),
    ("ADComputer", &["msdssupportedencryptiontypes", "dnshostname"], &[]),
    ("ADComputer", &["serviceprincipalnames", "dnshostname"], &[]),
    ("ADUser", &["msdssupportedencryptiontypes"], &[]),
    ("ADUser", &["samaccountname", "userprincipalname"], &[]),
    ("ADComputer", &["kerberosencryptiontype", "dnshostname"], &[]),
    ("ADUser", &["kerberosencryptiontype"], &[]),
    ("WebBinding", &["bindinginformation", "protocol"], &[]),
    ("Acl", &["owner", "access"], &["path", "group", "accesstostring"]),
    ("TransportRule", &["mode", "priority", "state"], &[]),
    ("TransportAgent", &["identity", "enabled", "priority"], &[]),
];

/// Types that the names of its properties allow, the likeliest first.
pub fn of_properties(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = Vec::new();
    for (kind, all, any) in SIGNS {
        if !kinds.contains(kind)
            && all.iter().all(|n| has(n))
            && (any.is_empty() || any.iter().any(|n| has(n)))
        {
            kinds.push(kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_every_hint() {
        assert_eq!(
            of_file("bundle/MBX01_Get-ExchangeCertificate.txt").as_deref(),
            Some("ExchangeCertificate")
        );
        assert_eq!(of_file("ExchangeCertificate.xml").as_deref(), Some("ExchangeCertificate"));
        assert_eq!(of_file("readme.txt"), None);
        assert_eq!(
            of_dotnet("Selected.Microsoft.Exchange.Data.Directory.SystemConfiguration.ReceiveConnector")
                .as_deref(),
            Some("ReceiveConnector")
        );
        let has = |names: &'static [&'static str]| move |name: &str| names.contains(&name);
        assert_eq!(
            of_properties(has(&["thumbprint", "services", "subject"])).first(),
            Some(&"ExchangeCertificate")
        );
        assert_eq!(of_properties(has(&["server", "component", "state"])), ["ServerComponentState"]);
        assert!(of_properties(has(&["name", "value"])).is_empty());
    }
}
