//! Outputs of tools, composed as they are printed.

use super::*;
use crate::case::Case;
use crate::phrases::Phrases;
use proptest::prelude::*;
use waypost_base::Timestamp;

fn case_of(text: &str) -> Case {
    let phrases = Phrases::new([]);
    let mut case = Case::new(Timestamp(1_900_000_000_000));
    let file = case.file_named("a.txt");
    let mut sink = Sink::new(file, &phrases, &mut case);
    let mut doc = Doc::new(file, text.lines().collect(), 1);
    read(&mut doc, &mut sink);
    crate::read::objects::read(&mut doc, &mut sink);
    case
}

fn first(case: &Case, kind: &str) -> Fact {
    case.of(kind).next().cloned().unwrap_or_else(|| panic!("no {kind}: {:?}", case.all().collect::<Vec<_>>()))
}

#[test]
fn tickets_of_windows() {
    let case = case_of(
        "C:\\>klist tickets –li 0x3e7\n\nCurrent LogonId is 0:0x8a3f1\nTargeted LogonId is 0:0x3e7\n\nCached Tickets: (2)\n\n#0>\tClient: MBX01$ @ CORP.EXAMPLE\n\tServer: krbtgt/CORP.EXAMPLE @ CORP.EXAMPLE\n\tKerbTicket Encryption Type: RSADSI RC4-HMAC(NT)\n\tTicket Flags 0x40e10000 -> forwardable renewable\n\tStart Time: 3/3/2026 9:04:11 (local)\n\tEnd Time:   3/3/2026 19:04:11 (local)\n\n#1>\tClient: MBX01$ @ CORP.EXAMPLE\n\tServer: SMTPSVC/hub1.corp.example @ CORP.EXAMPLE\n\tKerbTicket Encryption Type: AES-256-CTS-HMAC-SHA1-96\n\tTicket Flags 0x40a10000 -> forwardable\n\tStart Time: 3/3/2026 9:04:11 (local)\n\tEnd Time:   3/3/2026 19:04:11 (local)\n\tRenew Time: 3/10/2026 9:04:11 (local)\n\tSession Key Type: AES-256-CTS-HMAC-SHA1-96\n",
    );
    let found: Vec<_> = case.of("ticket").collect();
    assert_eq!(found.len(), 2);
    assert!(
        found[1].is("server", "SMTPSVC/hub1.corp.example")
            && found[1].is("etype", "AES-256-CTS-HMAC-SHA1-96")
    );
    assert!(
        found[1].is("luid", "0x3e7")
            && found[1].is("realm", "CORP.EXAMPLE")
            && found[1].is("client", "MBX01$")
    );
    assert_eq!(found[1].get("end"), Some("2026-03-03T19:04:11.000Z"));
}

#[test]
fn tickets_in_german_and_of_mit() {
    let case = case_of(
        "Aktuelle Anmelde-ID ist 0:0x3e4\n\nZwischengespeicherte Tickets: (1)\n\n#0>     Client: HUB1$ @ CORP.EXAMPLE\n        Server: cifs/dc1 @ CORP.EXAMPLE\n        KerbTicket (Verschlüsselungstyp): AES-128-CTS-HMAC-SHA1-96\n        Ticketkennzeichen 0x40a50000\n        Startzeit: 3.3.2026 9:04:11 (lokal)\n",
    );
    let ticket = first(&case, "ticket");
    assert!(ticket.is("etype", "AES-128-CTS-HMAC-SHA1-96") && ticket.is("luid", "0x3e4"), "{ticket:?}");
    let case = case_of(
        "Ticket cache: FILE:/tmp/krb5cc_0\nDefault principal: mail/hub1@CORP.EXAMPLE\n\nValid starting     Expires            Service principal\n03/03/26 09:04:11  03/03/26 19:04:11  smtp/mbx1.corp.example@CORP.EXAMPLE\n\trenew until 03/10/26 09:04:11, Etype (skey, tkt): aes256-cts-hmac-sha1-96, arcfour-hmac\n",
    );
    assert!(first(&case, "ticket").is("etype", "arcfour-hmac"));
}

#[test]
fn logon_sessions_and_names() {
    let case = case_of(
        "[1] Logon session 00000000:000003e4:\n    User name:    CORP\\HUB1$\n    Auth package: Negotiate\n    Logon type:   Service\n    Session:      0\n    Sid:          S-1-5-20\n    Logon time:   3/3/2026 9:04:11 AM\n     1234: EdgeTransport.exe\n\nRegistered ServicePrincipalNames for CN=HUB1,OU=Servers,DC=corp,DC=example:\n\tSMTPSVC/HUB1\n\tHOST/hub1.corp.example\n\nChecking domain DC=corp,DC=example\nProcessing entry 0\nhttp/mail.corp.example is registered on these accounts:\n\tCN=ASA,CN=Computers,DC=corp,DC=example\n\tCN=TEST,CN=Computers,DC=corp,DC=example\n\nfound 1 group of duplicate SPNs.\n",
    );
    let session = first(&case, "logonsession");
    assert!(
        session.is("luid", "0x3e4")
            && session.is("sid", "S-1-5-20")
            && session.is("process", "EdgeTransport.exe")
    );
    assert_eq!(case.of("spn").count(), 4);
    assert!(first(&case, "spn").is("spn", "SMTPSVC/HUB1"));
    assert!(first(&case, "spn-duplicate").is("spn", "http/mail.corp.example"));
}

#[test]
fn clocks() {
    let case = case_of(
        "Leap Indicator: 0(no warning)\nStratum: 3 (secondary reference - syncd by (S)NTP)\nPrecision: -6 (15.625ms per tick)\nLast Successful Sync Time: 3/3/2026 9:04:11 AM\nSource: dc1.corp.example\nPoll Interval: 10 (1024s)\n\nTracking dc1.corp.example [10.0.0.1:123].\nThe current time is 3/3/2026 9:04:11 AM.\n09:04:11, +412.0123456s\n09:04:13 d:+00.0009s o:-00.0150s  [     *     ]\n",
    );
    let found: Vec<_> = case.of("clock").collect();
    assert_eq!(found.len(), 3);
    assert!(found[0].is("source", "dc1.corp.example") && found[0].is("stratum", "3"));
    assert_eq!(
        (found[1].number("offset"), found[1].get("peer")),
        (Some(412.012_345_6), Some("dc1.corp.example"))
    );
    assert_eq!(found[2].number("offset"), Some(-0.015));
}

#[test]
fn the_registry_in_three_forms() {
    let case = case_of(
        "C:\\>reg query HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa\\Kerberos\\Parameters\n\nHKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Lsa\\Kerberos\\Parameters\n    DefaultEncryptionType    REG_DWORD    0x17\n    Database Size Limit in GB REG_DWORD 0x400\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\X]\n\"Other\"=dword:00000017\n\"Name\"=\"C:\\\\Temp\"\n\nDefaultEncryptionType : 23\nPSPath : Microsoft.PowerShell.Core\\Registry::HKEY_LOCAL_MACHINE\\SYSTEM\\X\n",
    );
    let found: Vec<_> = case.of("registry").collect();
    assert_eq!(found.len(), 5);
    assert!(
        found[0].is("name", "DefaultEncryptionType")
            && found[0].is("number", "23")
            && found[0].mentions("Kerberos\\Parameters")
    );
    assert!(found[1].is("name", "Database Size Limit in GB") && found[1].is("number", "1024"));
    assert!(found[2].is("number", "23") && found[3].is("data", "C:\\Temp") && found[4].is("number", "23"));
}

#[test]
fn services() {
    let case = case_of(
        "SERVICE_NAME: MSExchangeTransport\n        TYPE               : 10  WIN32_OWN_PROCESS\n        START_TYPE         : 4   DISABLED\n        ERROR_CONTROL      : 1   NORMAL\n        DEPENDENCIES       : MSExchangeADTopology\n                           : FMS\n        SERVICE_START_NAME : NT AUTHORITY\\NetworkService\n\nName                 StartMode  StartName    State\nMSExchangeIMAP4      Manual     LocalSystem  Stopped\n\nCaption  FreeSpace   Size\nC:       1073741824  107374182400\n",
    );
    let found: Vec<_> = case.objects("Service").collect();
    assert!(
        found[0].is("starttype", "Disabled") && found[0].is("account", "NT AUTHORITY\\NetworkService"),
        "{found:?}"
    );
    assert!(
        found[1].is("status", "Stopped")
            && found[1].is("starttype", "Manual")
            && found[1].is("account", "LocalSystem")
    );
    assert!(first(&case, "disk").is("percentfree", "1.0"));
}

#[test]
fn the_network() {
    let case = case_of(
        "Current WinHTTP proxy settings:\n\n    Direct access (no proxy server).\n\nSSL Certificate bindings:\n-------------------------\n\n    IP:port                      : 0.0.0.0:444\n    Certificate Hash             : aa1b2c3d4e5f60718293a4b5c6d7e8f901234567\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : My\n\n  TCP    0.0.0.0:25             0.0.0.0:0              LISTENING       1234\n [EdgeTransport.exe]\n  TCP    10.0.0.5:50122         203.0.113.5:25         SYN_SENT        1234\nConnecting To mx.example.net...Could not open connection to the host, on port 25: Connect failed\nWARNING: TCP connect to (203.0.113.5 : 25) failed\n",
    );
    let netsh: Vec<_> = case.of("netsh").collect();
    assert!(netsh[0].is("proxy", "direct") && netsh[0].mentions("Direct access (no proxy server)"));
    assert!(netsh[1].is("ipport", "0.0.0.0:444") && netsh[1].get("certificatehash").is_some());
    let ports: Vec<_> = case.of("port").collect();
    assert!(
        ports[0].is("port", "25")
            && ports[0].is("process", "EdgeTransport.exe")
            && ports[0].is("state", "LISTENING")
    );
    assert!(ports[1].is("state", "SYN_SENT") && ports[1].is("host", "203.0.113.5"));
    assert!(
        ports[2].is("host", "mx.example.net") && ports[2].is("port", "25") && ports[2].is("state", "failed")
    );
    assert!(ports[3].is("host", "203.0.113.5"));
}

#[test]
fn names_and_adapters() {
    let case = case_of(
        "Windows IP Configuration\n\n   Host Name . . . . . . . . . . . . : MBX01\n   Primary Dns Suffix  . . . . . . . : corp.example\n\nEthernet adapter LAN:\n\n   DHCP Enabled. . . . . . . . . . . : No\n   IPv4 Address. . . . . . . . . . . : 10.0.0.5(Preferred)\n   DNS Servers . . . . . . . . . . . : 10.0.0.1\n                                       8.8.8.8\n\nServer:  dc1.corp.example\nAddress:  10.0.0.1\n\nName:    mail.example.net\nAddresses:  203.0.113.5\n          203.0.113.6\n\n*** dc1.corp.example can't find nosuch.example: Non-existent domain\n\n;; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 1\n;nosuch.example.\tIN\tMX\nexample.net.\t300\tIN\tMX\t10 mx.example.net.\n",
    );
    let adapter = case.of("ipconfig").last().unwrap();
    assert_eq!(adapter.get("dnsservers"), Some("10.0.0.1, 8.8.8.8"));
    assert_eq!(adapter.server.as_deref(), Some("MBX01"));
    let dns: Vec<_> = case.of("dns").collect();
    assert!(
        dns[0].is("answer", "203.0.113.5, 203.0.113.6") && dns[1].is("name", "nosuch.example"),
        "{dns:?}"
    );
    assert!(dns[1].is("error", "Non-existent domain"));
    assert!(dns.iter().any(|d| d.is("error", "NXDOMAIN") && d.is("type", "MX")));
    assert!(dns.iter().any(|d| d.is("answer", "10 mx.example.net.")));
}

#[test]
fn the_domain() {
    let case = case_of(
        "           DC: \\\\DC1.corp.example\n      Address: \\\\10.0.0.1\n     Dom Name: corp.example\n Dc Site Name: Main\nThe command completed successfully\n\nGetting DC name failed: Status = 1355 0x54b ERROR_NO_SUCH_DOMAIN\n\n      Starting test: Replications\n         [Replications Check,DC1] A recent replication attempt failed:\n         ......................... DC1 failed test Replications\n\nReplication Summary Start Time: 2026-03-03\n DC2   03d.04h:01m:10s    5 /   5  100  (2148074274) The target principal name is incorrect.\n",
    );
    let nltest: Vec<_> = case.of("nltest").collect();
    assert!(nltest[0].is("dc", "DC1.corp.example") && nltest[1].is("error", "ERROR_NO_SUCH_DOMAIN"));
    assert!(
        first(&case, "dcdiag").is("test", "Replications")
            && first(&case, "dcdiag").mentions("attempt failed")
    );
    assert!(first(&case, "repadmin").is("result", "2148074274"));
}

#[test]
fn tls_from_outside() {
    let case = case_of(
        "$ openssl s_client -connect mbx01.corp.example:1993\nCONNECTED(00000003)\ndepth=0 CN = mail.example.net\nverify error:num=20:unable to get local issuer certificate\n---\nCertificate chain\n 0 s:CN = mail.example.net\n   i:CN = CA\n---\nsubject=CN = mail.example.net\nissuer=CN = CA\n---\nNew, TLSv1.2, Cipher is ECDHE-RSA-AES256-GCM-SHA384\n    Verify return code: 20 (unable to get local issuer certificate)\n",
    );
    let tls = first(&case, "tls");
    assert!(tls.is("host", "mbx01.corp.example") && tls.is("port", "1993") && tls.is("protocol", "TLSv1.2"));
    assert!(
        tls.is("subject", "CN = mail.example.net")
            && tls.get("error").is_some()
            && tls.mentions("verify error:num=20")
    );
}

#[test]
fn rights_sites_and_machines() {
    let case = case_of(
        "C:\\ProgramData\\Microsoft\\Crypto\\RSA\\MachineKeys\\abc NT AUTHORITY\\SYSTEM:(F)\n                                                   BUILTIN\\Administrators:(F)\n\nSITE \"Exchange Back End\" (id:2,bindings:http/*:81:,https/*:444:,state:Started)\nAPPPOOL \"MSExchangePowerShellAppPool\" (MgdVersion:v4.0,MgdMode:Integrated,state:Stopped)\n\nHost Name:                 MBX01\nOS Name:                   Microsoft Windows Server 2019 Standard\n",
    );
    let rights = case.objects("Acl").next().unwrap();
    assert!(
        rights.is("path", "C:\\ProgramData\\Microsoft\\Crypto\\RSA\\MachineKeys\\abc")
            && rights.mentions("BUILTIN\\Administrators:(F)")
    );
    assert_eq!(case.objects("WebBinding").count(), 2);
    assert!(case.objects("AppPool").next().unwrap().is("state", "Stopped"));
    assert!(case.objects("SystemInfo").next().unwrap().is("hostname", "MBX01"));
}

proptest! {
    #[test]
    fn never_panics(text in "(((#0>|Client:|Server:|SERVICE_NAME:|IP:port|TCP|HKEY_X\\\\|Leap Indicator|Name:|CONNECTED\\(|Host Name| \\. \\. :)?[A-Za-z0-9:/@\\\\. =,()\t-]{0,24})\n){0,12}") {
        let _ = case_of(&text);
    }
}
