//! Incident A: mail between mailboxes stalls, mail from the internet flows.
//!
//! A mailbox server hands mail to a hub and proves itself by Kerberos. The hub's keytab was exported with RC4 only, while the
//! KDC encrypts tickets with AES256: the hub holds no key that opens them. Elsewhere the message stayed in Drafts, or lay in
//! Sent as if it had gone, and the log said "invalid key". Here the mail goes by the other mechanism that the policy allows, or
//! waits where its sender sees it, and the finding names ticket and keytab.

use super::kdc::Kdc;
use super::talk;
use super::{Found, Member, Report, Site, until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use waypost_admin::settings::{Edit, Scope};

const DOMAIN: &str = "lab.test";
const REALM: &str = "LAB.TEST";
const MAILBOX: &str = "waypost/server-1.lab.test";
const HUB: &str = "waypost/server-2.lab.test";
const AMY: &str = "amy@lab.test";
const BOB: &str = "bob@lab.test";
const PASSWORD: &str = "correct-horse-7-battery";
/// RC4 with HMAC-MD5, the only type that the old controller of the incident knew.
const RC4: i32 = 23;
/// Delivery takes well under a second where nobody else works.
const SOON: Duration = Duration::from_secs(45);

/// A connection to the hub that is well is kept for two seconds; the next message is to need a new one.
const KEPT: Duration = Duration::from_secs(3);

const EXPECTED: &str = "the ticket for waypost/server-2.lab.test@LAB.TEST is encrypted with aes256-cts kvno 2; the keytab of \
                        server-2/transport holds only arcfour-hmac kvno 2";

pub fn play(report: &mut Report) -> Result<(), String> {
    report.chapter("Building: a KDC with keys of AES and RC4, a mailbox server, a hub.");
    let mut lab = Lab::build()?;
    let played = lab.incident(report);
    if played.is_err() || !report.all_held() {
        lab.site.keep();
    }
    played
}

/// The servers go before the KDC, the folder last.
struct Lab {
    mailbox: Member,
    hub: Member,
    kdc: Kdc,
    site: Site,
}

impl Lab {
    fn build() -> Result<Lab, String> {
        let mut site = Site::new("incident-a")?;
        let kdc = Kdc::start(&site.folder().join("kdc"), REALM)?;
        for (name, value) in kdc.environment() {
            site.set_environment(name, &value);
        }
        kdc.add(MAILBOX, "")?;
        kdc.add(HUB, "")?;
        kdc.change(HUB, "aes256-cts:normal,arcfour-hmac:normal")?;
        let mut mailbox = site.primary(DOMAIN)?;
        let keytab = keytab_of(&mailbox);
        kdc.export(MAILBOX, &keytab)?;
        private(&keytab)?;
        let both = vec!["kerberos".to_owned(), "mtls".to_owned()];
        mailbox
            .set(Scope::Organisation, &[Edit::set("legs.hub", &both), Edit::set("legs.delivery", &both)])?;
        mailbox.start(Some("frontend,mailbox"))?;
        let inner = mailbox.address("inner").to_string();
        mailbox.run(&["Set-ExchangeServer", "server-1", "-InnerAddress", &inner])?;
        let mut hub = site.join(&mailbox, "frontend,transport")?;
        kdc.export(HUB, &keytab_of(&hub))?;
        private(&keytab_of(&hub))?;
        mailbox.run(&[
            "Set-ExchangeServer",
            "server-1",
            "-ServicePrincipals",
            &format!("{MAILBOX}@{REALM}"),
        ])?;
        mailbox.run(&["Set-ExchangeServer", "server-2", "-ServicePrincipals", &format!("{HUB}@{REALM}")])?;
        for (name, address) in [("Amy", AMY), ("Bob", BOB)] {
            mailbox.run(&["New-Mailbox", name, "-PrimarySmtpAddress", address, "-Password", PASSWORD])?;
        }
        hub.start(None)?;
        // The hub's copy of the directory follows within seconds.
        until(SOON, || match hub.shown(&["Get-ExchangeServer", "server-1", "-FormatList"]) {
            text if text.contains(MAILBOX) => Ok(()),
            text => Err(format!("the hub does not know the principal of server-1: {text}")),
        })?;
        Ok(Lab { mailbox, hub, kdc, site })
    }

    fn incident(&mut self, report: &mut Report) -> Result<(), String> {
        self.as_it_should_be(report);
        report.chapter("The incident: the hub's keytab holds RC4 only, the KDC's tickets are of AES256.");
        let keytab = keytab_of(&self.hub);
        self.kdc.export_only(HUB, RC4, &keytab)?;
        private(&keytab)?;
        report.symptom = "Mail from one mailbox to another is not delivered. Programs in cached mode show it in Sent, web mail \
                          keeps it in Drafts; mail from the internet arrives. The log says: invalid key."
            .into();
        report.tell(&report.symptom.clone());
        std::thread::sleep(KEPT);
        self.degraded(report);
        self.waiting(report)?;
        self.cured(report)
    }

    fn as_it_should_be(&self, report: &mut Report) {
        report.chapter("Before: the mailbox server proves itself to the hub by Kerberos.");
        self.send(report, "before");
        let leg = self.leg(SOON, |leg| leg["Result"] == "Ok");
        report.check("the leg from mailbox to hub is well, by Kerberos", leg.is_ok(), shown(&leg));
        let tickets = self.mailbox.run(&["Get-KerberosTicket", "-Role", "mailbox"]).unwrap_or_default();
        let ticket =
            tickets.iter().find(|t| t["Server"] == format!("{HUB}@{REALM}")).cloned().unwrap_or_default();
        let right = ticket["Enctype"] == "aes256-cts" && ticket["Kvno"] == 2;
        report.check("its ticket for the hub is of aes256-cts kvno 2", right, ticket.to_string());
    }

    /// Amy to Bob, and whether it arrives.
    fn send(&self, report: &mut Report, subject: &str) -> bool {
        let sent = talk::submit(self.mailbox.port("submission"), AMY, PASSWORD, BOB, subject);
        report.check(
            format!("Amy's program hands over \"{subject}\""),
            sent.is_ok(),
            sent.err().unwrap_or_default(),
        );
        let there = until(SOON, || self.holds(BOB, "INBOX", subject));
        report.check(
            format!("Bob has \"{subject}\""),
            there.is_ok(),
            there.as_ref().err().cloned().unwrap_or_default(),
        );
        there.is_ok()
    }

    fn holds(&self, whose: &str, folder: &str, subject: &str) -> Result<(), String> {
        let found = talk::subjects(self.mailbox.address("imap"), whose, PASSWORD, folder);
        let found = found.map_err(|e| e.to_string())?;
        if found.iter().any(|s| s.contains(subject)) {
            return Ok(());
        }
        Err(format!("{folder} of {whose} holds {found:?}"))
    }

    fn stranger_writes(&self, report: &mut Report, subject: &str) -> bool {
        let answer = talk::from_internet(self.hub.address("smtp"), BOB, subject);
        let taken = answer.as_ref().is_ok_and(|a| a.starts_with("250"));
        let there = until(SOON, || self.holds(BOB, "INBOX", subject));
        let seen = format!("{answer:?}; {there:?}");
        report.check(format!("mail from the internet arrives: \"{subject}\""), taken && there.is_ok(), seen)
    }

    /// The leg from the mailbox server to the hub, once it is as wanted.
    fn leg(&self, within: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let mut last = Value::Null;
        until(within, || {
            let legs = self.mailbox.run(&["Get-ServiceLeg"])?;
            let is_ours = |l: &&Value| {
                let text = l.to_string();
                l["Service"] == "hub" && text.contains("server-1") && text.contains("server-2")
            };
            last = legs.iter().find(is_ours).cloned().unwrap_or_default();
            if wanted(&last) { Ok(()) } else { Err(last.to_string()) }
        })?;
        Ok(last)
    }

    fn degraded(&self, report: &mut Report) {
        report.chapter("What Waypost does, where the policy allows Kerberos and certificates: mail flows, the leg is degraded.");
        report.mail_flows = self.send(report, "degraded");
        report.internet_mail_flows = self.stranger_writes(report, "from outside while degraded");
        let leg = self.leg(SOON, |leg| leg.to_string().contains("KRB-ENCTYPE-MISSING"));
        report.check("Get-ServiceLeg shows the leg with KRB-ENCTYPE-MISSING", leg.is_ok(), shown(&leg));
        let Ok(leg) = leg else { return };
        let found = Found::of_record(&leg);
        report.check(
            "the finding is the ticket's type and the keytab's",
            found.text == EXPECTED,
            found.text.clone(),
        );
        let both = found.evidence.iter().any(|e| e.contains("server-1"))
            && found.evidence.iter().any(|e| e.contains("server-2"));
        report.check("both ends give evidence", both, found.evidence.join("\n"));
        report.found(found);
        let why = self.mailbox.shown(&["why", &talk::message_id("degraded")]);
        report.check("`why` of the message names it", why.contains(EXPECTED), why);
    }

    fn waiting(&self, report: &mut Report) -> Result<(), String> {
        report.chapter("Where the policy wants Kerberos alone: mail waits where its sender sees it.");
        self.mailbox.run(&["Set-WaypostSetting", "legs.hub", "kerberos"])?;
        let sent = talk::submit(self.mailbox.port("submission"), AMY, PASSWORD, BOB, "waiting");
        report.check("Amy's program hands over \"waiting\"", sent.is_ok(), sent.err().unwrap_or_default());
        let seen = until(SOON, || self.holds(AMY, "Outbox", "waiting"));
        report.check("it is in Amy's Outbox", seen.is_ok(), seen.err().unwrap_or_default());
        let queues = self.mailbox.shown(&["Get-Queue", "-FormatList"]);
        report.check("the queue says why", queues.contains("encrypted with aes256-cts kvno 2"), queues);
        let why = self.mailbox.shown(&["why", &talk::message_id("waiting")]);
        report.check("`why` says why", why.contains(EXPECTED), why);
        let arrived = self.holds(BOB, "INBOX", "waiting").is_ok();
        report.check("Bob has not got it, and nobody is told that he has", !arrived, "");
        report.internet_mail_flows &= self.stranger_writes(report, "from outside while it waits");
        Ok(())
    }

    fn cured(&self, report: &mut Report) -> Result<(), String> {
        report.chapter("The cure: the keytab exported with every key, the tickets purged.");
        let test = self.hub.shown(&["Test-KerberosKeytab"]);
        report.check(
            "Test-KerberosKeytab on the hub finds it by itself",
            test.contains("KRB-ENCTYPE-MISSING"),
            test,
        );
        let keytab = keytab_of(&self.hub);
        fs::remove_file(&keytab).map_err(|e| e.to_string())?;
        self.kdc.export(HUB, &keytab)?;
        private(&keytab)?;
        self.mailbox.run(&["Clear-KerberosTicket", "-Role", "mailbox"])?;
        self.mailbox.run(&["Retry-Queue", "-Identity", "*"])?;
        let there = until(SOON, || self.holds(BOB, "INBOX", "waiting"));
        report.check("what waited arrives", there.is_ok(), there.err().unwrap_or_default());
        let leg = self.leg(SOON, |leg| leg["Result"] == "Ok");
        report.check("the leg is well again", leg.is_ok(), shown(&leg));
        let empty = until(Duration::from_secs(90), || match self.holds(AMY, "Outbox", "waiting") {
            Ok(()) => Err("it is still in the Outbox".into()),
            Err(_) => Ok(()),
        });
        report.check("Amy's Outbox is empty", empty.is_ok(), empty.err().unwrap_or_default());
        let once = talk::subjects(self.mailbox.address("imap"), BOB, PASSWORD, "INBOX").unwrap_or_default();
        let mut sorted = once.clone();
        sorted.sort();
        sorted.dedup();
        report.check("nothing came twice", sorted.len() == once.len(), format!("{once:?}"));
        Ok(())
    }
}

fn keytab_of(member: &Member) -> PathBuf {
    member.data().join("secret/waypost.keytab")
}

/// As the keytab of a role is to be.
fn private(keytab: &std::path::Path) -> Result<(), String> {
    fs::set_permissions(keytab, fs::Permissions::from_mode(0o400))
        .map_err(|e| format!("{}: {e}", keytab.display()))
}

fn shown(leg: &Result<Value, String>) -> String {
    match leg {
        Ok(leg) => leg.to_string(),
        Err(e) => e.clone(),
    }
}
