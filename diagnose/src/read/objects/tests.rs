//! Objects as administrators paste them.

use super::*;
use crate::case::Case;
use crate::phrases::Phrases;
use proptest::prelude::*;
use waypost_base::Timestamp;

fn case_in(name: &str, text: &str) -> Case {
    let phrases = Phrases::new([]);
    let mut case = Case::new(Timestamp(1_900_000_000_000));
    let file = case.file_named(name);
    let mut sink = Sink::new(file, &phrases, &mut case);
    let mut doc = Doc::new(file, text.lines().collect(), 1);
    checker::read(&mut doc, &mut sink);
    errors::read(&mut doc, &mut sink);
    read(&mut doc, &mut sink);
    case
}

fn case_of(text: &str) -> Case {
    case_in("a.txt", text)
}

#[test]
fn settings_after_their_command() {
    let case = case_of(
        "Hi all,\n\n[PS] C:\\>Get-ImapSettings -Server mbx01 | fl\n\n\nProtocolName                      : IMAP4\nX509CertificateName               : mail.example.net\nLoginType                         : PlainTextLogin\nInternalConnectionSettings        : {mbx01.corp.example:993:SSL, \n                                    mbx01.corp.example:143:TLS}\nEnforceCertificateErrors          : Falsch\n\n\n[PS] C:\\>Get-PopSettings | fl X509CertificateName\n\nX509CertificateName : mail.example.net\n",
    );
    let imap = case.objects("ImapSettings").next().unwrap();
    assert!(
        imap.is("x509certificatename", "mail.example.net") && imap.is("enforcecertificateerrors", "false")
    );
    assert_eq!(
        imap.get("internalconnectionsettings"),
        Some("{mbx01.corp.example:993:SSL, mbx01.corp.example:143:TLS}")
    );
    assert_eq!(imap.server.as_deref(), Some("MBX01"));
    assert_eq!(case.objects("PopSettings").count(), 1);
}

#[test]
fn certificates_in_both_forms() {
    let case = case_in(
        "MBX01_Get-ExchangeCertificate.txt",
        "Thumbprint                                Services   Subject\n----------                                --------   -------\n5A1B2C3D4E5F60718293A4B5C6D7E8F901234567  IP.WS..    CN=mail.example.net\n\nAccessRules        : {System.Security.AccessControl.CryptoKeyAccessRule}\nCertificateDomains : {MBX01, mbx01.corp.example}\nHasPrivateKey      : True\nIsSelfSigned       : True\nIssuer             : CN=MBX01\nNotAfter           : 3/3/2031 9:04:11 AM\nServices           : IMAP, POP\nStatus             : Valid\nSubject            : CN=MBX01\nThumbprint         : AA1B2C3D4E5F60718293A4B5C6D7E8F901234567\n",
    );
    let found: Vec<_> = case.of("certificate").collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].get("services"), Some("IMAP, POP, IIS, SMTP"));
    assert_eq!(found[0].get("names"), Some("mail.example.net"));
    assert_eq!(found[1].get("names"), Some("MBX01, mbx01.corp.example"));
    assert_eq!(found[1].get("notafter"), Some("2031-03-03T09:04:11.000Z"));
    assert!(case.objects("ExchangeCertificate").count() == 2);
}

#[test]
fn tables_of_health_and_states() {
    let case = case_of(
        "Server                    Component            State   \n------                    ---------            -----   \nmbx01.corp.example        ServerWideOffline    Active  \nmbx01.corp.example        ImapProxy            Inactive\n\nRole                    : Mailbox Server Role\nRequiredServicesRunning : False\nServicesRunning         : {IISAdmin, MSExchangeADTopology}\nServicesNotRunning      : {MSExchangeTransport}\n",
    );
    let states: Vec<_> = case.objects("ServerComponentState").collect();
    assert_eq!((states.len(), states[1].get("state")), (2, Some("Inactive")));
    assert_eq!(states[1].server.as_deref(), Some("MBX01"));
    assert!(
        case.objects("TestServiceHealth").next().unwrap().is("servicesnotrunning", "{MSExchangeTransport}")
    );
}

#[test]
fn an_error_record() {
    let case = case_of(
        "[PS] C:\\>Enable-ExchangeCertificate -Thumbprint AB -Services IMAP\nThe certificate with thumbprint AB was not\nfound.\n    + CategoryInfo          : InvalidOperation: (:) [Enable-ExchangeCertificate], CertNotFoundException\n    + FullyQualifiedErrorId : [Server=MBX01,RequestId=1-2,TimeStamp=3/3/2026 9:00:00 AM] [FailureCategory=Cmdlet-Cer\n   tNotFoundException] 8F,Microsoft.Exchange.Management.EnableExchangeCertificate\n    + PSComputerName        : mbx01.corp.example\n",
    );
    let error = case.of("error").next().unwrap();
    assert_eq!(error.get("message"), Some("The certificate with thumbprint AB was not found."));
    assert!(
        error.is("cmdlet", "Enable-ExchangeCertificate") && error.is("exception", "CertNotFoundException")
    );
    assert_eq!(error.get("failurecategory"), Some("Cmdlet-CertNotFoundException"));
    assert_eq!(error.server.as_deref(), Some("MBX01"));
}

#[test]
fn resource_meters_and_html() {
    let case = case_of(
        "<Diagnostics><Components><ResourceThrottling><ResourceTracker><ResourceMeter Resource=\"UsedDiskSpace[D:\\Queue]\" CurrentResourceUse=\"High\" PreviousResourceUse=\"Medium\" Pressure=\"99\" /></ResourceTracker></ResourceThrottling></Components></Diagnostics>\nand prose\n",
    );
    let meter = case.objects("ResourceMeter").next().unwrap();
    assert!(
        meter.is("meter", "UsedDiskSpace")
            && meter.is("place", "D:\\Queue")
            && meter.is("currentresourceuse", "High")
    );
    let case = case_of(
        "<!DOCTYPE html>\n<html><body><table><colgroup><col/></colgroup><tr><th>Name</th><th>Status</th><th>StartType</th></tr><tr><td>MSExchangeIMAP4</td><td>Stopped</td><td>Disabled</td></tr></table></body></html>\n",
    );
    assert!(case.objects("Service").next().unwrap().is("status", "Stopped"));
}

#[test]
fn json_in_prose_and_disks() {
    let case = case_of(
        "see below\n{\n  \"DeviceID\":  \"C:\",\n  \"FreeSpace\":  1073741824,\n  \"Size\":  107374182400\n}\nthanks: bye\n",
    );
    let disk = case.of("disk").next().unwrap();
    assert_eq!((disk.get("percentfree"), disk.at.line), (Some("1.0"), 2));
}

#[test]
fn the_checkers_report() {
    let case = case_of(
        "Exchange Health Checker version 24.01.01.0000\n\nExchange Information\n--------------------\n\tName: MBX01\n\tVersion: Exchange 2019 CU14\n\nSecurity Settings\n-----------------\n\tValid Internal Transport Certificate Found On Server: False\n",
    );
    let line = case.objects("HealthChecker").find(|f| f.is("value", "False")).unwrap();
    assert_eq!((line.server.as_deref(), line.get("section")), (Some("MBX01"), Some("Security Settings")));
}

#[test]
fn who_holds_a_component() {
    let case = case_of(
        "[PS] C:\\>(Get-ServerComponentState MBX01 -Component ImapProxy).RemoteStates\n\nRequester   State    Timestamp            Component\n---------   -----    ---------            ---------\nHealthAPI   Inactive 3/3/2026 9:04:11 AM  ImapProxy\n",
    );
    let held = case.objects("ComponentRequester").next().unwrap();
    assert!(held.is("requester", "HealthAPI") && held.is("where", "remote") && held.is("state", "Inactive"));
    assert_eq!(held.server.as_deref(), Some("MBX01"));
}

#[test]
fn tables_without_their_dashes() {
    let case = case_of(
        "Component    State\nImapProxy    Inactive\n\nThumbprint  Services Subject\nAA1B2C3D4E5F60718293A4B5C6D7E8F901234567 ....S.. CN=MBX01, O=X\n",
    );
    assert!(case.objects("ServerComponentState").next().unwrap().is("state", "Inactive"));
    assert!(case.of("certificate").next().unwrap().is("subject", "CN=MBX01, O=X"));
}

#[test]
fn letters_are_no_objects() {
    let case = case_of(
        "From: Anna\nSubject: mail is stuck\n\nDear Bob,\nwe have this: nothing works.\nTime : late\n\nAnna\n",
    );
    assert_eq!(case.all().map(|f| f.text.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
}

proptest! {
    #[test]
    fn never_panics(text in "([A-Za-z:,;{}<>\"|\\[\\] -]{0,40}\n){0,12}") {
        let _ = case_of(&text);
    }
}
