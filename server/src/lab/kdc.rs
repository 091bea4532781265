//! A KDC of MIT's for a laboratory or a test: a realm of its own in a folder of its own, on loopback, gone with its owner.
//!
//! It needs Debian's `krb5-kdc` and `krb5-admin-server`, and no rights. Programs that are to use the realm get
//! [`Kdc::environment`].

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use waypost_trust::kerberos::keytab;

/// From the first byte of its database to the first answer; half a second on an idle machine.
const START_MAX: Duration = Duration::from_secs(30);

const PACKAGES: &str = "apt-get install krb5-kdc krb5-admin-server krb5-user";

/// A running KDC. Dropping it ends it; its folder stays with whoever gave it.
pub struct Kdc {
    folder: PathBuf,
    realm: String,
    port: u16,
    child: Option<Child>,
}

impl Kdc {
    /// A new realm with keys of AES and RC4.
    pub fn start(folder: &Path, realm: &str) -> Result<Kdc, String> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|e| said(folder, &e))?;
        let port = free_port().map_err(|e| format!("no free port for a KDC: {e}"))?;
        let mut kdc = Kdc { folder: folder.to_owned(), realm: realm.to_owned(), port, child: None };
        kdc.write("krb5.conf", &kdc.krb5_conf(""))?;
        kdc.write("kdc.conf", &kdc.kdc_conf())?;
        kdc.run("kdb5_util", &["create", "-s", "-W", "-r", realm, "-P", "a laboratory's master key"])?;
        kdc.go_on()?;
        Ok(kdc)
    }

    fn krb5_conf(&self, more: &str) -> String {
        let (realm, port) = (&self.realm, self.port);
        format!(
            "[libdefaults]\n default_realm = {realm}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n{more}\
             [realms]\n {realm} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
        )
    }

    fn kdc_conf(&self) -> String {
        let (realm, port, folder) = (&self.realm, self.port, self.folder.display());
        format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {realm} = {{\n  \
             database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n  acl_file = {folder}/kadm5.acl\n  \
             max_life = 10h\n  max_renewable_life = 7d\n  \
             supported_enctypes = aes256-cts:normal aes128-cts:normal arcfour-hmac:normal\n }}\n\
             [logging]\n kdc = FILE:{folder}/kdc.log\n admin_server = FILE:{folder}/kadmin.log\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|e| said(&path, &e))
    }

    /// A krb5.conf for some of the programs, with lines for `[libdefaults]` such as ` permitted_enctypes = aes256-cts\n`.
    pub fn other_config(&self, name: &str, lines: &str) -> Result<PathBuf, String> {
        self.write(name, &self.krb5_conf(lines))?;
        Ok(self.folder.join(name))
    }

    /// Starts it again after [`Kdc::stop`].
    pub fn go_on(&mut self) -> Result<(), String> {
        let mut command = self.command("krb5kdc");
        command.args(["-n", "-r", &self.realm, "-P"]).arg(self.folder.join("kdc.pid"));
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| missing("krb5kdc", &e))?;
        self.child = Some(child);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
            if ended.is_some() || started.elapsed() > START_MAX {
                let log = fs::read_to_string(self.folder.join("kdc.log")).unwrap_or_default();
                return Err(format!("the KDC did not start: {log}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it; its database stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// What programs of this realm need in their environment.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("KRB5_CONFIG", self.folder.join("krb5.conf")), ("KRB5_KDC_PROFILE", self.folder.join("kdc.conf"))]
    }

    fn command(&self, program: &str) -> Command {
        // Not in the path of users on Debian.
        let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].iter().map(|d| Path::new(d).join(program));
        let program = found.into_iter().find(|p| p.exists()).unwrap_or_else(|| program.into());
        let mut command = Command::new(program);
        command.envs(self.environment()).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let out = self.command(program).args(words).output().map_err(|e| missing(program, &e))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if out.status.success() {
            Ok(text(&out.stdout))
        } else {
            Err(format!("{program} {}: {}", words.join(" "), text(&out.stderr)))
        }
    }

    /// A query of kadmin's, such as `getprinc smtp/hub.example.org`.
    pub fn query(&self, query: &str) -> Result<String, String> {
        self.run("kadmin.local", &["-r", &self.realm, "-q", query])
    }

    /// A principal with random keys of these types (`aes256-cts:normal,arcfour-hmac:normal`); empty: all of the realm's.
    pub fn add(&self, principal: &str, enctypes: &str) -> Result<(), String> {
        let types = if enctypes.is_empty() { String::new() } else { format!("-e {enctypes} ") };
        self.query(&format!("addprinc -randkey {types}{principal}"))?;
        self.query(&format!("getprinc {principal}")).map(drop)
    }

    /// New keys with the next version; the old ones are gone.
    pub fn change(&self, principal: &str, enctypes: &str) -> Result<(), String> {
        let types = if enctypes.is_empty() { String::new() } else { format!("-e {enctypes} ") };
        self.query(&format!("cpw -randkey {types}{principal}")).map(drop)
    }

    /// Adds the present keys of a principal to a keytab, without changing them.
    pub fn export(&self, principal: &str, to: &Path) -> Result<(), String> {
        self.query(&format!("ktadd -k {} -norandkey {principal}", to.display()))?;
        if to.exists() { Ok(()) } else { Err(format!("{principal} was not exported to {}", to.display())) }
    }

    /// As [`Kdc::export`] into a new file, with the keys of one encryption type only: what a broken export leaves.
    pub fn export_only(&self, principal: &str, enctype: i32, to: &Path) -> Result<(), String> {
        let _ = fs::remove_file(to);
        self.export(principal, to)?;
        let whole = fs::read(to).map_err(|e| said(to, &e))?;
        let part = keytab::only(&whole, |entry| entry.enctype.0 == enctype)?;
        fs::write(to, &*part).map_err(|e| said(to, &e))
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        self.stop();
    }
}

fn said(path: &Path, e: &io::Error) -> String {
    format!("{}: {e}", path.display())
}

fn missing(program: &str, e: &io::Error) -> String {
    if e.kind() == io::ErrorKind::NotFound {
        format!("{program} is not installed: {PACKAGES}")
    } else {
        format!("{program}: {e}")
    }
}

/// A port that is free for TCP and UDP at this moment.
fn free_port() -> io::Result<u16> {
    loop {
        let tcp = TcpListener::bind(("127.0.0.1", 0))?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}
