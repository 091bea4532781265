//! Least rights, proved: what the roles need and have, what they can touch and should not, what they were denied.

use super::Denial;
use super::access::{Access, Want, access, described, open_to_others};
use super::identity::Host;
use super::process::{BIND, group_name, user_name};
use crate::output::Record;
use crate::settings::Settings;
use std::fs;
use std::path::{Path, PathBuf};
use waypost_trust::kerberos::keytab;

/// Files that are looked at for being open to others; a data folder has some dozens that are secret.
const SECRETS_MAX: usize = 2000;
const DEPTH_MAX: usize = 4;
/// A line holds so many; Get-ServiceIdentity has them all.
const CAPABILITIES_SHOWN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Result {
    Ok,
    Warning,
    Failed,
}

impl Result {
    pub const fn name(self) -> &'static str {
        match self {
            Result::Ok => "Ok",
            Result::Warning => "Warning",
            Result::Failed => "Failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `Needs`, `Excess`, `Secret`, `Port`, `User`, `Capability`, `Denied`.
    pub check: &'static str,
    pub subject: String,
    pub result: Result,
    pub evidence: String,
    pub remedy: String,
}

impl Check {
    fn new(
        check: &'static str,
        subject: impl Into<String>,
        result: Result,
        evidence: impl Into<String>,
    ) -> Check {
        Check { check, subject: subject.into(), result, evidence: evidence.into(), remedy: String::new() }
    }

    fn mend(self, remedy: impl Into<String>) -> Check {
        Check { remedy: remedy.into(), ..self }
    }

    pub fn record(&self, server: &str, user: &str) -> Record {
        Record::new()
            .with("Check", self.check)
            .with("Subject", self.subject.as_str())
            .with("Result", self.result.name())
            .with("Evidence", self.evidence.as_str())
            .with("Remedy", self.remedy.as_str())
            .with("Server", server)
            .with("User", user)
    }
}

/// Everything, in the order in which it is read. `lowest_port`: the lowest port that anybody may bind.
pub fn checks(host: &Host, settings: &Settings, lowest_port: u16, denials: &[Denial]) -> Vec<Check> {
    let mut checks = user(host);
    checks.extend(capabilities(host));
    checks.extend(needs(host, settings));
    checks.extend(ports(host, settings, lowest_port));
    checks.extend(secrets(host, settings));
    checks.extend(excess(host));
    checks.extend(denials.iter().map(denied));
    checks
}

fn user(host: &Host) -> Vec<Check> {
    let process = &host.process;
    let name = user_name(process.uid);
    let fact = format!("{name} (uid {}), groups {}", process.uid, groups(&process.groups));
    let mut checks = vec![if process.is_root() {
        Check::new("User", &name, Result::Failed, format!("{fact}: root may read and write everything")).mend(
            "Run the server as a user of its own: User= in the systemd unit, and chown the data folder to it",
        )
    } else {
        Check::new("User", &name, Result::Ok, fact)
    }];
    // What these groups give is as good as root, or others' mail and logs.
    const STRONG: [&str; 9] = ["root", "shadow", "disk", "docker", "lxd", "sudo", "wheel", "kmem", "adm"];
    for group in process.groups.iter().map(|g| group_name(*g)).filter(|_| !process.is_root()) {
        if STRONG.contains(&group.as_str()) {
            let fact = format!("{name} is in the group {group}");
            checks.push(
                Check::new("User", &group, Result::Warning, fact).mend(format!("gpasswd -d {name} {group}")),
            );
        }
    }
    if host.running {
        checks.push(if process.no_new_privs {
            Check::new("User", "no_new_privs", Result::Ok, "set: no program that it starts gets more rights")
        } else {
            let fact = "not set: a set-user-ID program could give it more rights";
            Check::new("User", "no_new_privs", Result::Warning, fact)
                .mend("NoNewPrivileges=yes in the systemd unit")
        });
    }
    checks
}

fn groups(groups: &[u32]) -> String {
    let names: Vec<String> = groups.iter().map(|g| group_name(*g)).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn capabilities(host: &Host) -> Option<Check> {
    let process = &host.process;
    if !host.running {
        return None;
    }
    let all = super::process::Capabilities(process.effective.0 | process.permitted.0 | process.ambient.0);
    let names = all.names();
    let more = all.without(BIND).names();
    Some(if more.is_empty() {
        let fact = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        Check::new("Capability", "effective and permitted", Result::Ok, fact)
    } else {
        let shown: Vec<&str> = more.iter().take(CAPABILITIES_SHOWN).map(String::as_str).collect();
        let rest = if more.len() > shown.len() { " …" } else { "" };
        let fact = format!("{} beyond {BIND}: {}{rest}", more.len(), shown.join(" "));
        Check::new("Capability", "effective and permitted", Result::Failed, fact)
            .mend(format!("CapabilityBoundingSet={BIND} and AmbientCapabilities={BIND} in the systemd unit"))
    })
}

/// Files that the roles cannot do without.
fn needs(host: &Host, settings: &Settings) -> Vec<Check> {
    let data = &host.data;
    let has = |role: &str| host.roles.iter().any(|r| r == role);
    let (chain, key) = host.public(settings);
    let mut wanted: Vec<(PathBuf, Want)> = vec![
        (data.clone(), Want::Write),
        (data.join("settings.toml"), Want::Write),
        (data.join("store"), Want::Write),
        (data.join("run"), Want::Write),
        (data.join("logs"), Want::Write),
        (data.join("trust"), Want::Write),
        (data.join("trust/server.crt"), Want::Read),
        (data.join("trust/server.key"), Want::Read),
    ];
    wanted.extend([(data.join("secret"), Want::Write), (data.join("secret/organisation.key"), Want::Read)]);
    for file in ["store/waypost.db", "trust/trusted.crt", "trust/inner-ca.key"] {
        if data.join(file).exists() {
            wanted.push((data.join(file), Want::Read));
        }
    }
    if has("frontend") || has("transport") {
        wanted.extend([(chain, Want::Read), (key, Want::Read)]);
        let bound = &settings.certificates;
        let mut thumbprints: Vec<&String> =
            [&bound.imap, &bound.pop, &bound.smtp, &bound.web].into_iter().flatten().collect();
        thumbprints.sort();
        thumbprints.dedup();
        for thumbprint in thumbprints {
            wanted.push((data.join("public/certificates").join(format!("{thumbprint}.key")), Want::Read));
        }
    }
    let mut checks: Vec<Check> = wanted.into_iter().map(|(path, want)| need(host, &path, want)).collect();
    let mut seen: Vec<&Path> = Vec::new();
    for identity in &host.kerberos {
        if !seen.contains(&identity.keytab.as_path()) {
            seen.push(&identity.keytab);
            checks.push(need(host, &identity.keytab, Want::Read));
        }
    }
    checks
}

fn need(host: &Host, path: &Path, want: Want) -> Check {
    let subject = path.display().to_string();
    let user = user_name(host.process.uid);
    match access(path, &host.process, want, host.running) {
        Access::Yes => {
            Check::new("Needs", subject, Result::Ok, format!("{} ({})", want.name(), described(path)))
        }
        Access::Missing => Check::new("Needs", &subject, Result::Failed, "it is not there").mend(format!(
            "Put it back: waypost init, a backup, or the file that the settings name ({subject})"
        )),
        Access::No(at) => {
            let fact = format!("not {} for {user}: {} has {}", want.name(), at.display(), described(&at));
            let remedy = match want {
                Want::Write if path.is_dir() => format!("chown {user} {subject} && chmod u+rwx {subject}"),
                Want::Search => format!("chmod o+x {}", at.display()),
                _ if at != path => format!("chown {user} {0} or chmod o+x {0}", at.display()),
                _ => format!("chown {user} {subject} && chmod 600 {subject}"),
            };
            Check::new("Needs", subject, Result::Failed, fact).mend(remedy)
        }
    }
}

fn ports(host: &Host, settings: &Settings, lowest_port: u16) -> Vec<Check> {
    let l = &settings.listeners;
    let doors = [
        ("smtp", &l.smtp),
        ("submission", &l.submission),
        ("submissions", &l.submissions),
        ("imap", &l.imap),
        ("imaps", &l.imaps),
        ("pop3", &l.pop3),
        ("pop3s", &l.pop3s),
        ("inner", &l.inner),
    ];
    let mut low: Vec<String> = Vec::new();
    for (name, addresses) in doors {
        let fits = |role: &str| host.roles.iter().any(|r| r == role);
        if name != "inner" && !fits("frontend") {
            continue;
        }
        let ports = addresses.iter().map(|a| a.port()).filter(|p| *p > 0 && *p < lowest_port);
        low.extend(ports.map(|p| format!("{name} {p}")));
    }
    low.dedup();
    let may = host.process.is_root() || host.process.effective.has(BIND);
    if low.is_empty() {
        let fact = format!("no listener below {lowest_port}, where anybody may listen");
        return vec![Check::new("Port", "listeners", Result::Ok, fact)];
    }
    let subject = low.join(", ");
    vec![match (may, host.running) {
        (true, _) => Check::new(
            "Port",
            subject,
            Result::Ok,
            format!("below {lowest_port}, and the process has {BIND}"),
        ),
        (false, true) => Check::new(
            "Port",
            subject,
            Result::Failed,
            format!("below {lowest_port}, and the process lacks {BIND}"),
        )
        .mend(format!("AmbientCapabilities={BIND} in the systemd unit")),
        (false, false) => {
            let fact = format!(
                "below {lowest_port}: the process will need {BIND}; what the unit gives is not known here"
            );
            Check::new("Port", subject, Result::Warning, fact)
                .mend(format!("AmbientCapabilities={BIND} in the systemd unit"))
        }
    }]
}

/// Keys, keytabs and secrets that others could read.
fn secrets(host: &Host, settings: &Settings) -> Vec<Check> {
    let mut files = Vec::new();
    for folder in ["secret", "trust", "public", "run/krb5"] {
        collect(&host.data.join(folder), DEPTH_MAX, &mut files);
    }
    files.push(host.public(settings).1);
    files.extend(host.kerberos.iter().map(|k| k.keytab.clone()));
    files.extend(host.kerberos.iter().filter_map(|k| k.cache.clone()));
    files.sort();
    files.dedup();
    let mut checks = Vec::new();
    let mut closed = 0;
    for path in files.iter().filter(|path| is_secret(path)) {
        match open_to_others(path) {
            Some(0) => closed += 1,
            Some(bits) => {
                let (whom, result) = if bits & 0o007 != 0 {
                    ("everybody", Result::Failed)
                } else {
                    ("its group", Result::Warning)
                };
                let held = holds(path).map(|h| format!("; it holds {h}")).unwrap_or_default();
                let fact = format!("open to {whom}: {}{held}", described(path));
                checks.push(Check::new("Secret", path.display().to_string(), result, fact).mend(format!(
                    "chmod 600 {}, and make new keys if others may have read it",
                    path.display()
                )));
            }
            None => {}
        }
    }
    if let Some(bits) = open_to_others(&host.data).filter(|bits| bits & 0o007 != 0) {
        let fact = format!("others may look into the data folder ({}; {bits:03o})", described(&host.data));
        checks.push(
            Check::new("Secret", host.data.display().to_string(), Result::Warning, fact)
                .mend(format!("chmod 700 {}", host.data.display())),
        );
    }
    checks.insert(
        0,
        Check::new("Secret", "keys and secrets", Result::Ok, format!("{closed} files for the owner alone")),
    );
    checks
}

fn collect(folder: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            collect(&path, depth - 1, out);
        } else if kind.is_file() && out.len() < SECRETS_MAX {
            out.push(path);
        }
    }
}

/// Certificates and lists of CAs are for everybody; whatever else lies there is not.
fn is_secret(path: &Path) -> bool {
    let public = ["crt", "pem", "csr", "ocsp", "json", "cer"];
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let in_secret = path.parent().is_some_and(|p| p.ends_with("secret"));
    in_secret || !public.contains(&extension)
}

/// The keys of a keytab, so that the reader knows what is at stake.
fn holds(path: &Path) -> Option<String> {
    let name = path.extension().and_then(|e| e.to_str());
    if name != Some("keytab") {
        return None;
    }
    let keytab = keytab::load(path).ok()?;
    let first = keytab.entries.first()?;
    Some(format!("{} keys, such as that of {} kvno {}", keytab.entries.len(), first.principal, first.kvno))
}

/// What the process can touch and has no business with.
fn excess(host: &Host) -> Vec<Check> {
    if host.process.is_root() {
        // Said once, with the user.
        return Vec::new();
    }
    const WRITABLE: [&str; 12] = [
        "/",
        "/etc",
        "/etc/systemd/system",
        "/etc/cron.d",
        "/usr",
        "/usr/bin",
        "/usr/local/bin",
        "/usr/lib",
        "/boot",
        "/root",
        "/var/lib",
        "/var/spool/cron",
    ];
    const READABLE: [&str; 4] = ["/etc/shadow", "/etc/krb5.keytab", "/root", "/etc/ssl/private"];
    let user = user_name(host.process.uid);
    let own = |path: &Path| host.kerberos.iter().any(|k| k.keytab == path) || host.data.starts_with(path);
    let mut checks = Vec::new();
    let all = WRITABLE.map(|p| (p, Want::Write)).into_iter().chain(READABLE.map(|p| (p, Want::Read)));
    for (path, want) in all {
        let path = Path::new(path);
        if own(path) || access(path, &host.process, want, host.running) != Access::Yes {
            continue;
        }
        let fact = format!("{} for {user} ({})", want.name(), described(path));
        let result = if want == Want::Read { Result::Failed } else { Result::Warning };
        let remedy = match want {
            Want::Write => {
                format!("chmod o-w {}, or ProtectSystem=strict in the systemd unit", path.display())
            }
            _ => format!("chmod 600 {0}, or InaccessiblePaths={0} in the systemd unit", path.display()),
        };
        checks.push(Check::new("Excess", path.display().to_string(), result, fact).mend(remedy));
    }
    if checks.is_empty() {
        let fact = format!(
            "{} system folders not writable, {} secrets of others not readable",
            WRITABLE.len(),
            READABLE.len()
        );
        checks.push(Check::new("Excess", "the system", Result::Ok, fact));
    }
    checks
}

fn denied(denial: &Denial) -> Check {
    let Denial { path, operation, first, last, times } = denial;
    let fact = match times {
        1 => format!("{operation} was denied at {last}: {}", described(path)),
        _ => format!("{operation} was denied {times} times from {first} to {last}: {}", described(path)),
    };
    Check::new("Denied", path.display().to_string(), Result::Failed, fact)
        .mend("If the server needs it, give it to its user; if not, see who asked for it in the settings")
}

/// Ports from this on are anybody's (ip(7): ip_unprivileged_port_start).
pub fn lowest_port() -> u16 {
    let read = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    read.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::KerberosIdentity;
    use crate::service::process::{Capabilities, Process};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use waypost_base::Timestamp;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A data folder as `init` makes it.
    fn folder(name: &str) -> Folder {
        let root = std::env::temp_dir().join(format!("waypost-permission-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for part in ["store", "secret", "trust", "public", "logs", "run"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        for file in ["settings.toml", "secret/organisation.key", "trust/server.crt", "trust/server.key"] {
            put(&root.join(file), 0o600);
        }
        put(&root.join("public/public.crt"), 0o644);
        put(&root.join("public/public.key"), 0o600);
        for part in ["", "store", "secret", "trust", "public", "logs", "run"] {
            fs::set_permissions(root.join(part), fs::Permissions::from_mode(0o700)).unwrap();
        }
        Folder(root)
    }

    fn put(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The server as its own user would be; a root's files are looked at as root.
    fn host(folder: &Folder) -> Host {
        let found = fs::metadata(&folder.0).unwrap();
        Host {
            data: folder.0.clone(),
            server: "server-1".into(),
            roles: vec!["frontend".into(), "transport".into(), "mailbox".into()],
            process: Process {
                uid: found.uid(),
                gid: found.gid(),
                effective: Capabilities(1 << 10),
                no_new_privs: true,
                ..Process::default()
            },
            running: true,
            kerberos: Vec::new(),
        }
    }

    fn of<'a>(checks: &'a [Check], check: &str) -> Vec<&'a Check> {
        checks.iter().filter(|c| c.check == check && c.result != Result::Ok).collect()
    }

    #[test]
    fn a_folder_as_it_is_made_has_what_is_needed_and_no_more() {
        let folder = folder("well");
        let checks = checks(&host(&folder), &Settings::default(), 1024, &[]);
        assert_eq!(of(&checks, "Needs"), Vec::<&Check>::new());
        assert_eq!(of(&checks, "Secret"), Vec::<&Check>::new());
        assert_eq!(of(&checks, "Capability"), Vec::<&Check>::new());
        assert_eq!(of(&checks, "Port"), Vec::<&Check>::new());
        assert!(checks.iter().any(|c| c.check == "Port" && c.subject.contains("imaps 993")));
    }

    #[test]
    fn what_is_lacking_is_named_with_what_stands_in_the_way() {
        let folder = folder("lacking");
        let mut host = host(&folder);
        host.process.uid = 64_001;
        host.process.gid = 64_001;
        host.process.effective = Capabilities(0);
        host.running = false;
        fs::remove_file(folder.0.join("trust/server.key")).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(folder.0.join("trust"), fs::Permissions::from_mode(0o711)).unwrap();
        let checks = checks(&host, &Settings::default(), 1024, &[]);
        let needs = of(&checks, "Needs");
        let find = |end: &str| needs.iter().find(|c| c.subject.ends_with(end)).unwrap();
        assert_eq!(find("trust/server.key").evidence, "it is not there");
        assert!(find("trust/server.crt").evidence.contains("not readable for uid 64001"));
        assert!(find("trust/server.crt").remedy.starts_with("chown uid 64001"));
        assert!(find("secret/organisation.key").evidence.contains("/secret has mode 0700"));
        assert_eq!(of(&checks, "Port")[0].result, Result::Warning);
        host.running = true;
        assert_eq!(ports(&host, &Settings::default(), 1024)[0].result, Result::Failed);
        assert_eq!(ports(&host, &Settings::default(), 0)[0].result, Result::Ok);
    }

    #[test]
    fn a_keytab_and_keys_that_others_read() {
        let folder = folder("open");
        let keytab = folder.0.join("secret/imap.keytab");
        put(&keytab, 0o644);
        put(&folder.0.join("public/public.key"), 0o640);
        put(&folder.0.join("trust/trusted.crt"), 0o644);
        let mut host = host(&folder);
        host.kerberos =
            vec![KerberosIdentity { role: "mailbox".into(), keytab: keytab.clone(), cache: None }];
        let checks = checks(&host, &Settings::default(), 1024, &[]);
        let found: Vec<(&str, &str)> = of(&checks, "Secret")
            .iter()
            .map(|c| (c.subject.rsplit('/').next().unwrap(), c.result.name()))
            .collect();
        assert_eq!(found, [("public.key", "Warning"), ("imap.keytab", "Failed")]);
        assert!(of(&checks, "Secret")[1].remedy.starts_with("chmod 600 "));
    }

    #[test]
    fn more_rights_than_a_mail_server_needs() {
        let folder = folder("more");
        let mut host = host(&folder);
        host.process = Process { uid: 0, effective: Capabilities(0x4ff), ..Process::default() };
        let checks = checks(&host, &Settings::default(), 1024, &[denial(&folder)]);
        assert_eq!(of(&checks, "User")[0].result, Result::Failed);
        assert_eq!(of(&checks, "User")[1].subject, "no_new_privs");
        let capability = of(&checks, "Capability");
        assert!(capability[0].evidence.starts_with("8 beyond CAP_NET_BIND_SERVICE: CAP_CHOWN"));
        let denied = of(&checks, "Denied");
        assert!(denied[0].evidence.starts_with("read was denied 3 times from 1970-01-01T00:00:00.001Z"));
    }

    fn denial(folder: &Folder) -> Denial {
        let path = folder.0.join("public/public.key");
        Denial { path, operation: "read", first: Timestamp(1), last: Timestamp(2), times: 3 }
    }

    #[test]
    fn somebody_else_s_secrets() {
        let folder = folder("excess");
        let mut host = host(&folder);
        host.running = false;
        host.process = Process { uid: 64_001, gid: 64_001, ..Process::default() };
        let excess = excess(&host);
        // A machine as it should be has none; whatever is found is named.
        assert!(excess.iter().all(|c| c.result == Result::Ok || !c.remedy.is_empty()), "{excess:?}");
    }
}
