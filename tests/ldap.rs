//! Directories for tests: OpenLDAP's slapd and Samba's Active Directory domain controller, each in a folder of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a program to its end; its output where it failed.
pub fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}\n{text}");
    text
}

/// A certificate for an address, and the CA that has signed it: `ca.pem`, `server.pem`, `server.key` in the folder.
pub fn certificate(folder: &Path, address: &str) {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test-ca -keyout ca.key \
         -out ca.pem -addext basicConstraints=critical,CA:TRUE && \
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=directory -keyout server.key -out server.csr && \
         printf 'subjectAltName=IP:{address}\\nextendedKeyUsage=serverAuth\\n' > ext && \
         openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out server.pem && \
         chmod 600 server.key"
    );
    run(Command::new("sh").args(["-c", &script]).current_dir(folder));
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    crate::ports::free()
}

fn wait_for(address: SocketAddr, child: &mut Child, what: &str, log: &Path) {
    let begun = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        let ended = child.try_wait().expect("wait");
        let told = || fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "{what} ended: {ended:?}\n{}", told());
        assert!(begun.elapsed() < Duration::from_secs(90), "{what} does not listen\n{}", told());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A daemon that ends with its owner.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.0.id();
        // Samba has children, which end with their parent when it is asked to.
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// OpenLDAP with the base `dc=contoso,dc=test`.
pub struct Slapd {
    daemon: Option<Daemon>,
    folder: PathBuf,
    pub port: u16,
    pub tls_port: u16,
}

pub const BASE: &str = "dc=contoso,dc=test";
pub const ROOT: &str = "cn=root,dc=contoso,dc=test";
pub const ROOT_PASSWORD: &str = "root secret";

impl Slapd {
    pub fn start(folder: &Path, people: &str) -> Slapd {
        let folder = folder.join("slapd");
        fs::create_dir_all(folder.join("db")).expect("a folder");
        certificate(&folder, "127.0.0.1");
        let at = folder.display();
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             pidfile {at}/pid\nargsfile {at}/args\nTLSCACertificateFile {at}/ca.pem\n\
             TLSCertificateFile {at}/server.pem\nTLSCertificateKeyFile {at}/server.key\n\
             database mdb\nsuffix \"{BASE}\"\nrootdn \"{ROOT}\"\nrootpw \"{ROOT_PASSWORD}\"\ndirectory {at}/db\n\
             access to attrs=userPassword by anonymous auth by self write by * none\naccess to * by users read by anonymous auth\n"
        );
        fs::write(folder.join("slapd.conf"), config).expect("a file");
        let mut slapd = Slapd { daemon: None, port: free_port(), tls_port: free_port(), folder };
        slapd.resume();
        let ldif = format!(
            "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Contoso\ndc: contoso\n\n{people}"
        );
        slapd.change("ldapadd", &ldif);
        slapd
    }

    /// Starts it again after [`stop`](Slapd::stop).
    pub fn resume(&mut self) {
        let log = self.folder.join("log");
        let urls = format!("ldap://127.0.0.1:{} ldaps://127.0.0.1:{}", self.port, self.tls_port);
        let mut child = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &urls, "-f"])
            .arg(self.folder.join("slapd.conf"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("slapd starts");
        let address = SocketAddr::from(([127, 0, 0, 1], self.tls_port));
        wait_for(address, &mut child, "slapd", &log);
        self.daemon = Some(Daemon(child));
    }

    /// 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, |daemon| daemon.0.id())
    }

    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// `ldapadd`, `ldapmodify` with LDIF.
    pub fn change(&self, program: &str, ldif: &str) {
        let file = self.folder.join("change.ldif");
        fs::write(&file, ldif).expect("a file");
        let url = format!("ldap://127.0.0.1:{}", self.port);
        run(Command::new(program).args(["-x", "-H", &url, "-D", ROOT, "-w", ROOT_PASSWORD, "-f"]).arg(&file));
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}

/// A person of OpenLDAP.
pub fn person(uid: &str, mail: &str, password: &str) -> String {
    format!(
        "dn: uid={uid},{BASE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid} Person\nsn: Person\nmail: {mail}\n\
         userPassword: {password}\n\n"
    )
}

/// Samba as an Active Directory domain controller of `AD.TEST`, on 127.0.0.53.
pub struct Samba {
    _daemon: Daemon,
    folder: PathBuf,
}

impl Samba {
    pub const ADDRESS: &str = "127.0.0.53";
    pub const BASE: &str = "DC=ad,DC=test";
    pub const PASSWORD: &str = "Passw0rd,Passw0rd";

    pub fn start(folder: &Path) -> Samba {
        let folder = folder.join("samba");
        fs::create_dir_all(&folder).expect("a folder");
        let empty = folder.join("empty.conf");
        fs::write(&empty, "").expect("a file");
        let target = folder.join("dc");
        run(Command::new("samba-tool")
            .args(["domain", "provision", "-s"])
            .arg(&empty)
            .args([
                "--realm=AD.TEST",
                "--domain=AD",
                "--server-role=dc",
                "--dns-backend=NONE",
                "--host-name=dc1",
            ])
            .args([
                "--host-ip=127.0.0.53",
                "--option=interfaces=127.0.0.53/8",
                "--option=bind interfaces only=yes",
            ])
            .arg(format!("--adminpass={}", Samba::PASSWORD))
            .arg(format!("--targetdir={}", target.display())));
        certificate(&folder, Samba::ADDRESS);
        let config = target.join("etc/smb.conf");
        let text = fs::read_to_string(&config).expect("its configuration");
        let at = folder.display();
        let more = format!(
            "[global]\n\tserver services = rpc, ldap, cldap, kdc, winbindd\n\tdisable netbios = yes\n\tlog file = {at}/log\n\
             \tpid directory = {at}\n\tncalrpc dir = {at}/ncalrpc\n\twinbindd socket directory = {at}/winbindd\n\
             \ttls enabled = yes\n\ttls cafile = {at}/ca.pem\n\ttls certfile = {at}/server.pem\n\ttls keyfile = {at}/server.key\n"
        );
        fs::write(&config, text.replacen("[global]\n", &more, 1)).expect("its configuration");
        let log = folder.join("out");
        let mut child = Command::new("/usr/sbin/samba")
            .args(["-F", "--no-process-group", "-M", "single", "-s"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("samba starts");
        wait_for(SocketAddr::from(([127, 0, 0, 53], 636)), &mut child, "samba", &log);
        Samba { _daemon: Daemon(child), folder }
    }

    /// `samba-tool` with its database.
    pub fn tool(&self, words: &[&str]) {
        run(Command::new("samba-tool").args(words).arg("-s").arg(self.folder.join("dc/etc/smb.conf")));
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}
