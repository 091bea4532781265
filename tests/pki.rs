//! A certificate authority for tests, made of Debian's `openssl`: certificates of every kind, the broken ones first of all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A certificate authority in a folder.
pub struct Pki {
    folder: PathBuf,
}

/// A certificate with its key, in files.
#[derive(Clone, Debug)]
pub struct Issued {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Runs a program; its standard output if it succeeds.
pub fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}\n{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn openssl() -> Command {
    Command::new("openssl")
}

impl Pki {
    /// A root with an intermediate below it.
    pub fn new(folder: &Path) -> Pki {
        fs::create_dir_all(folder).expect("a folder");
        let pki = Pki { folder: folder.to_owned() };
        pki.new_key("root");
        pki.new_key("ca");
        let subject = ["-subj", "/O=Contoso/CN=Contoso Root"];
        let ca = [
            "-addext",
            "basicConstraints=critical,CA:true",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        let mut root = openssl();
        root.args(["req", "-x509", "-new", "-days", "3650", "-key"]).arg(pki.file("root.key")).args(subject);
        run(root.args(ca).arg("-out").arg(pki.file("root.crt")));
        let mut request = openssl();
        request.args(["req", "-new", "-subj", "/O=Contoso/CN=Contoso CA 1", "-key"]).arg(pki.file("ca.key"));
        run(request.arg("-out").arg(pki.file("ca.csr")));
        let extensions = "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
                          subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
        pki.sign("ca", "root", extensions, &["-days", "1825"]);
        pki
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.file("root.crt")
    }

    fn new_key(&self, name: &str) {
        let mut command = openssl();
        command.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
        run(command.arg(self.file(&format!("{name}.key"))));
    }

    /// Signs `NAME.csr`; gives `NAME.crt`.
    fn sign(&self, name: &str, by: &str, extensions: &str, more: &[&str]) {
        let ext = self.file(&format!("{name}.ext"));
        fs::write(&ext, extensions).expect("a file");
        let mut sign = openssl();
        sign.args(["x509", "-req", "-CAcreateserial", "-in"]).arg(self.file(&format!("{name}.csr")));
        sign.arg("-CA")
            .arg(self.file(&format!("{by}.crt")))
            .arg("-CAkey")
            .arg(self.file(&format!("{by}.key")));
        sign.arg("-extfile").arg(&ext).args(more).arg("-out").arg(self.file(&format!("{name}.crt")));
        run(&mut sign);
    }

    /// A certificate for these names, by the intermediate, good for a year; its chain has the intermediate.
    pub fn issue(&self, name: &str, names: &[&str]) -> Issued {
        self.issue_with(name, names, "", &["-days", "365"])
    }

    /// With further extensions (`authorityInfoAccess=OCSP;URI:…`) and other options of `openssl x509`.
    pub fn issue_with(&self, name: &str, names: &[&str], extensions: &str, more: &[&str]) -> Issued {
        self.new_key(name);
        let mut request = openssl();
        request.args(["req", "-new", "-subj", &format!("/CN={}", names[0]), "-key"]);
        run(request
            .arg(self.file(&format!("{name}.key")))
            .arg("-out")
            .arg(self.file(&format!("{name}.csr"))));
        self.answer(name, names, extensions, more)
    }

    /// Signs a request that is there as `NAME.csr`.
    pub fn answer(&self, name: &str, names: &[&str], extensions: &str, more: &[&str]) -> Issued {
        let alternative: Vec<String> = names.iter().map(|n| format!("DNS:{n}")).collect();
        let all = format!(
            "basicConstraints=CA:false\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName={}\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n{extensions}\n",
            alternative.join(",")
        );
        self.sign(name, "ca", &all, more);
        let chain = self.file(&format!("{name}.pem"));
        let both = [format!("{name}.crt"), "ca.crt".into()]
            .map(|f| fs::read(self.file(&f)).expect("a file"))
            .concat();
        fs::write(&chain, both).expect("a file");
        Issued { chain, key: self.file(&format!("{name}.key")) }
    }

    /// One whose time is over.
    pub fn expired(&self, name: &str, names: &[&str]) -> Issued {
        self.at("2020-01-01 00:00:00", name, names)
    }

    /// One whose time has not begun.
    pub fn not_yet(&self, name: &str, names: &[&str]) -> Issued {
        self.at("2099-01-01 00:00:00", name, names)
    }

    fn at(&self, time: &str, name: &str, names: &[&str]) -> Issued {
        self.issue(name, names);
        let mut sign = Command::new("faketime");
        sign.args([time, "openssl", "x509", "-req", "-days", "30", "-CAcreateserial", "-in"]);
        sign.arg(self.file(&format!("{name}.csr"))).arg("-CA").arg(self.file("ca.crt"));
        sign.arg("-CAkey").arg(self.file("ca.key")).arg("-extfile").arg(self.file(&format!("{name}.ext")));
        run(sign.arg("-out").arg(self.file(&format!("{name}.crt"))));
        let chain = self.file(&format!("{name}.pem"));
        let both = [format!("{name}.crt"), "ca.crt".into()]
            .map(|f| fs::read(self.file(&f)).expect("a file"))
            .concat();
        fs::write(&chain, both).expect("a file");
        Issued { chain, key: self.file(&format!("{name}.key")) }
    }

    /// A certificate with the key of another.
    pub fn wrong_key(&self, name: &str, names: &[&str]) -> Issued {
        let right = self.issue(name, names);
        let other = self.issue(&format!("{name}-other"), names);
        Issued { chain: right.chain, key: other.key }
    }

    /// As a PFX file; `more` are options of `openssl pkcs12`.
    pub fn pfx(&self, issued: &Issued, name: &str, password: &str, more: &[&str]) -> PathBuf {
        let out = self.file(name);
        let mut command = openssl();
        command
            .args(["pkcs12", "-export", "-passout", &format!("pass:{password}"), "-inkey"])
            .arg(&issued.key);
        run(command.arg("-in").arg(&issued.chain).args(more).arg("-out").arg(&out));
        out
    }
}

/// What `openssl s_client` sees at an address, with these options. It says nothing and leaves.
pub fn s_client(address: std::net::SocketAddr, options: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-connect", &address.to_string()]).args(options);
    command.stdin(std::process::Stdio::null()).output().expect("openssl s_client")
}

/// Subject and fingerprint of the certificate that an address shows; empty where there is none.
pub fn shown(address: std::net::SocketAddr, options: &[&str]) -> String {
    let out = s_client(address, &[options, &["-showcerts"]].concat());
    let all = text(&out.stdout);
    all.lines().find_map(|l| l.trim().strip_prefix("0 s:")).unwrap_or_default().trim().to_owned()
}
