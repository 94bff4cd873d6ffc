//! Certificate authorities as OpenShift's installer makes them: with openssl, RSA 2048.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::cmd::Cmd;
use crate::lab::{Error, Lab, Result};

/// Five years, as the installer has it.
const DAYS: u32 = 1825;

pub struct Authority {
    folder: PathBuf,
    name: String,
    days: u32,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl Authority {
    /// The lab's authority of this name; made at its first use.
    pub fn of_lab(lab: &Lab, name: &str) -> Result<Self> {
        let folder = lab.folder().join(name);
        if folder.exists() {
            return Ok(Self { folder, name: "ca".to_owned(), days: DAYS });
        }
        fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
        Self::create(&folder, "ca", &format!("/CN={name}@1700000000"), DAYS)
    }

    /// Makes one: its files in the folder are named so, and its certificates expire after so many days.
    pub fn create(folder: &Path, name: &str, subject: &str, days: u32) -> Result<Self> {
        let authority = Self { folder: folder.to_owned(), name: name.to_owned(), days };
        authority.request(name, subject).run()?;
        Ok(authority)
    }

    pub fn pair(&self) -> Result<Pair> {
        Pair::read(&self.folder, &self.name)
    }

    /// A certificate for both ends of a connection. `names` are subject alternative names: `DNS:host,IP:1.2.3.4`.
    pub fn issue(&self, file_name: &str, subject: &str, names: &str) -> Result<Pair> {
        let ca = |ext| self.folder.join(format!("{}.{ext}", self.name));
        let mut cmd = self
            .request(file_name, subject)
            .arg("-CA")
            .arg(ca("crt"))
            .arg("-CAkey")
            .arg(ca("key"))
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"]);
        if !names.is_empty() {
            cmd = cmd.args(["-addext", &format!("subjectAltName={names}")]);
        }
        cmd.run()?;
        Pair::read(&self.folder, file_name)
    }

    fn request(&self, name: &str, subject: &str) -> Cmd {
        Cmd::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", subject])
            .args(["-days", &self.days.to_string(), "-keyout"])
            .arg(self.folder.join(format!("{name}.key")))
            .arg("-out")
            .arg(self.folder.join(format!("{name}.crt")))
    }
}

impl Pair {
    fn read(folder: &Path, name: &str) -> Result<Self> {
        let read = |ext| {
            let path = folder.join(format!("{name}.{ext}"));
            fs::read(&path).map_err(Error::io(format!("reading {}", path.display())))
        };
        Ok(Self { certificate: read("crt")?, key: read("key")? })
    }
}
