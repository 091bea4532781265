//! The identity of each role: user, capabilities, certificates, keytab, tickets. What is shown is what the system and the files
//! say at this moment.

use super::access::described;
use super::process::{Process, group_name, user_name};
use super::{KerberosIdentity, ServiceFacts};
use crate::output::Record;
use crate::settings::Settings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;
use waypost_trust::kerberos::{ccache, keytab};
use waypost_trust::{Facts, files};

/// The roles by the names that the directory has for them, with what people call them.
pub const ROLES: [(&str, &str); 3] =
    [("frontend", "front end"), ("transport", "hub"), ("mailbox", "mailbox")];

/// Where the roles of a server run and keep their things.
#[derive(Clone, Debug)]
pub struct Host {
    /// The data folder.
    pub data: PathBuf,
    pub server: String,
    /// Names of [`ROLES`] that this server has.
    pub roles: Vec<String>,
    pub process: Process,
    /// The server is running, and this is its process.
    pub running: bool,
    pub kerberos: Vec<KerberosIdentity>,
}

impl Host {
    /// `facts` of a running server, whose process this is; without, the owner of the data folder is looked at.
    pub fn look(
        data: &Path,
        settings: &Settings,
        roles: Vec<String>,
        facts: Option<&dyn ServiceFacts>,
    ) -> Host {
        use std::os::unix::fs::MetadataExt;
        let owner = || {
            std::fs::metadata(data)
                .map_or_else(|_| Process::default(), |m| Process::of_user(m.uid(), m.gid()))
        };
        let running = facts.is_some();
        let process = if running { Process::current().unwrap_or_default() } else { owner() };
        let kerberos = kerberos(data, settings, &roles);
        Host { data: data.to_owned(), server: settings.server.id.clone(), roles, process, running, kerberos }
    }

    /// The keytab and ticket cache of a role.
    pub fn kerberos_of(&self, role: &str) -> Option<&KerberosIdentity> {
        self.kerberos.iter().find(|k| k.role == role).or_else(|| self.kerberos.first())
    }

    /// The chain and the key that clients are shown, by the settings.
    pub fn public(&self, settings: &Settings) -> (PathBuf, PathBuf) {
        (self.data.join(&settings.tls.certificate), self.data.join(&settings.tls.key))
    }

    /// One record for each role.
    pub fn records(&self, settings: &Settings, now: Timestamp) -> Vec<Record> {
        self.roles.iter().map(|role| self.record(role, settings, now)).collect()
    }

    fn record(&self, role: &str, settings: &Settings, now: Timestamp) -> Record {
        let process = &self.process;
        let groups: Vec<String> = process.groups.iter().map(|g| group_name(*g)).collect();
        let title = ROLES.iter().find(|(name, _)| *name == role).map_or(role, |(_, title)| title);
        let record = Record::new()
            .with("Identity", format!("{}/{role}", self.server))
            .with("Server", self.server.as_str())
            .with("Role", role)
            .with("RoleName", title)
            .with("User", user_name(process.uid))
            .with("UserId", process.uid)
            .with("Group", group_name(process.gid))
            .with("Groups", groups)
            .with("Rights", rights(process))
            .with("Capabilities", process.effective.names())
            .with("PermittedCapabilities", process.permitted.names())
            .with("AmbientCapabilities", process.ambient.names())
            .with("NoNewPrivileges", self.running.then_some(process.no_new_privs))
            .with("ProcessId", self.running.then_some(process.pid))
            .with("SystemdUnit", process.unit.clone())
            .with("ControlGroup", (!process.control_group.is_empty()).then(|| process.control_group.clone()));
        let record = self.with_inner_certificate(record, now);
        let record = self.with_kerberos(record, role, now);
        let public = if role == "mailbox" { Vec::new() } else { self.public_certificates(settings) };
        record
            .with("PublicCertificates", public)
            .with("State", if self.running { "Running" } else { "Stopped" })
    }

    fn with_inner_certificate(&self, record: Record, now: Timestamp) -> Record {
        let path = self.data.join("trust/server.crt");
        let facts = files::read(&path)
            .map_err(|e| e.to_string())
            .and_then(|pem| Facts::of_pem(&pem).map_err(|e| format!("{}: {e}", path.display())));
        match facts {
            Ok(facts) => record
                .with("InnerCertificate", facts.serial)
                .with("InnerCertificateSubject", facts.subject)
                .with("InnerCertificateIssuer", facts.issuer)
                .with("InnerCertificateNotBefore", facts.not_before)
                .with("InnerCertificateNotAfter", facts.not_after)
                .with("InnerCertificateDaysLeft", facts.not_after.since(now).div_euclid(86_400_000))
                .with("InnerCertificateThumbprint", facts.thumbprint)
                .with("InnerCertificateFault", None::<String>),
            Err(e) => record.with("InnerCertificate", None::<String>).with("InnerCertificateFault", e),
        }
    }

    fn with_kerberos(&self, record: Record, role: &str, now: Timestamp) -> Record {
        let Some(identity) = self.kerberos_of(role) else {
            return record
                .with("Keytab", None::<String>)
                .with("KeytabEntries", Vec::<String>::new())
                .with("Tickets", Vec::<String>::new());
        };
        let (entries, fault) = match keytab::load(&identity.keytab) {
            Ok(keytab) => {
                let entry = |e: &keytab::Entry| format!("{} kvno {} {}", e.principal, e.kvno, e.enctype);
                (keytab.entries.iter().map(entry).collect::<Vec<_>>(), None)
            }
            Err(e) => (Vec::new(), Some(e.to_string())),
        };
        let tickets = identity.cache.as_deref().map(|path| tickets(path, now)).unwrap_or_default();
        record
            .with("Keytab", &identity.keytab)
            .with("KeytabPermissions", described(&identity.keytab))
            .with("KeytabEntries", entries)
            .with("KeytabFault", fault)
            .with("Tickets", tickets)
    }

    /// What clients are shown, a line for each certificate with the services that show it.
    fn public_certificates(&self, settings: &Settings) -> Vec<String> {
        let bound = &settings.certificates;
        let services =
            [("imap", &bound.imap), ("pop", &bound.pop), ("smtp", &bound.smtp), ("web", &bound.web)];
        let mut shown: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
        for (service, thumbprints) in services {
            let file =
                |thumbprint: &String| self.data.join("public/certificates").join(format!("{thumbprint}.crt"));
            let files: Vec<PathBuf> = match thumbprints.as_slice() {
                [] => vec![self.public(settings).0],
                some => some.iter().map(file).collect(),
            };
            for file in files {
                shown.entry(file).or_default().push(service);
            }
        }
        let line = |(path, services): (&PathBuf, &Vec<&str>)| {
            let services = services.join(",");
            match files::read(path)
                .map_err(|e| e.to_string())
                .and_then(|pem| Facts::of_pem(&pem).map_err(|e| e.to_string()))
            {
                Ok(f) => {
                    format!("{} {} until {} for {services}", f.thumbprint, f.names.join(" "), f.not_after)
                }
                Err(e) => format!("{} for {services}: {e}", path.display()),
            }
        };
        shown.iter().map(line).collect()
    }
}

/// The effective capabilities in a word or two, for tables.
fn rights(process: &Process) -> String {
    match process.effective.names().as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        many => format!("{} capabilities", many.len()),
    }
}

/// As whom the roles take part in Kerberos: nobody where there is no keytab and no leg wants one.
fn kerberos(data: &Path, settings: &Settings, roles: &[String]) -> Vec<KerberosIdentity> {
    let wanted = waypost_trust::leg::Service::ALL
        .into_iter()
        .any(|service| settings.legs.of(service.name()).iter().any(|m| m == "kerberos"));
    if !wanted && !settings.kerberos.keytab_file(data).exists() {
        return Vec::new();
    }
    let identity = |role: &String| {
        let identity = settings.kerberos.identity(data, &settings.server.id, role);
        let cache = Some(identity.ccache());
        KerberosIdentity { role: role.clone(), keytab: identity.keytab, cache }
    };
    roles.iter().map(identity).collect()
}

/// The tickets in a cache, a line each.
fn tickets(path: &Path, now: Timestamp) -> Vec<String> {
    let Ok(cache) = ccache::load(path) else { return Vec::new() };
    let line = |c: &ccache::Credential| {
        let enctype = c.enctype.map(|e| e.to_string()).unwrap_or_default();
        let kvno = c.kvno.map(|k| format!(" kvno {k}")).unwrap_or_default();
        let state = if c.end < now { "expired" } else { "until" };
        format!("{} for {}: {enctype}{kvno} {state} {}", c.client, c.server, c.end)
    };
    cache.credentials.iter().map(line).collect()
}
