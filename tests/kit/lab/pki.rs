//! Certificate authorities as OpenShift's installer makes them: with openssl, RSA 2048, five years.

use std::fs;
use std::path::{Path, PathBuf};

use super::cluster::Lab;
use super::cmd::Cmd;
use super::error::{Error, Result};

const DAYS: &str = "1825";

pub struct Authority {
    folder: PathBuf,
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
        if !folder.exists() {
            fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
            request(&folder, "ca", &format!("/CN={name}@1700000000")).run()?;
        }
        Ok(Self { folder })
    }

    pub fn pair(&self) -> Result<Pair> {
        Pair::read(&self.folder, "ca")
    }

    /// A certificate for both ends of a connection. `names` are subject alternative names: `DNS:host`, `IP:1.2.3.4`.
    pub fn issue(&self, file_name: &str, subject: &str, names: &[String]) -> Result<Pair> {
        let ca = |ext| self.folder.join(format!("ca.{ext}"));
        let mut cmd = request(&self.folder, file_name, subject)
            .arg("-CA")
            .arg(ca("crt"))
            .arg("-CAkey")
            .arg(ca("key"))
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"]);
        if !names.is_empty() {
            cmd = cmd.args(["-addext", &format!("subjectAltName={}", names.join(","))]);
        }
        cmd.run()?;
        Pair::read(&self.folder, file_name)
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

fn request(folder: &Path, name: &str, subject: &str) -> Cmd {
    Cmd::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", DAYS, "-subj", subject, "-keyout"])
        .arg(folder.join(format!("{name}.key")))
        .arg("-out")
        .arg(folder.join(format!("{name}.crt")))
}
