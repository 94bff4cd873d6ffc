//! A real sshd on loopback that lets the current user in, with a host key of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::cmd::{Cmd, poll};
use crate::lab::{Error, Result};
use crate::port;

const PROGRAM: &str = "/usr/sbin/sshd";
const STARTS: Duration = Duration::from_secs(10);
/// Another server may take the port in the moment before sshd does.
const TRIES: usize = 5;

pub struct Sshd {
    pub port: u16,
    folder: PathBuf,
    extra: String,
    child: Option<Child>,
}

impl Sshd {
    /// Makes a host key in the folder and starts; nobody is authorised yet. `extra` goes into its config.
    pub fn start(folder: &Path, extra: &str) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let mut sshd = Self { port: 0, folder: folder.to_owned(), extra: extra.to_owned(), child: None };
        sshd.write("authorized_keys", "")?;
        make_key(&sshd.host_key(), &["-C", "host"])?;
        let mut tried = 0;
        loop {
            sshd.port = port::free();
            tried += 1;
            match sshd.up() {
                Err(error) if tried == TRIES => return Err(error),
                Err(_) => {}
                Ok(()) => return Ok(sshd),
            }
        }
    }

    pub fn host_key(&self) -> PathBuf {
        self.folder.join("host_key")
    }

    /// Type and key, as a line of `known_hosts` has them.
    pub fn public_key(&self) -> Result<String> {
        public_key(&self.host_key().with_extension("pub"))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default()
    }

    /// Lets exactly these public keys in, from now on.
    pub fn authorize(&self, lines: &[String]) -> Result<()> {
        self.write("authorized_keys", &lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    /// Answers under another key, as a host does that was reinstalled, or one that is not it.
    pub fn change_host_key(&mut self) -> Result<()> {
        self.down();
        for path in [self.host_key(), self.host_key().with_extension("pub")] {
            fs::remove_file(&path).map_err(Error::io(format!("removing {}", path.display())))?;
        }
        make_key(&self.host_key(), &["-C", "changed"])?;
        self.up()
    }

    /// Takes no connections any more; those that are open live on.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts, on the same port as before.
    pub fn up(&mut self) -> Result<()> {
        self.write("sshd_config", &self.config())?;
        separation_folder()?;
        let log = self.folder.join("sshd.log");
        let stderr = fs::File::create(&log).map_err(Error::io(format!("creating {}", log.display())))?;
        let child = Command::new(PROGRAM)
            .args(["-D", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(Error::io(format!("starting {PROGRAM}")))?;
        let child = self.child.insert(child);
        let port = self.port;
        let answers = poll("sshd to listen", STARTS, || match child.try_wait() {
            Ok(None) if TcpStream::connect(("127.0.0.1", port)).is_ok() => Ok(true),
            Ok(None) => Err("it does not listen".to_owned()),
            _ => Ok(false),
        })?;
        // Where it has ended, somebody else may be listening on its port.
        if answers && matches!(child.try_wait(), Ok(None)) {
            return Ok(());
        }
        self.child = None;
        Err(Error::Refused(format!("sshd ended: {}", self.log())))
    }

    fn config(&self) -> String {
        let folder = self.folder.display();
        format!(
            "Port {port}\n\
             ListenAddress 127.0.0.1\n\
             HostKey {folder}/host_key\n\
             AuthorizedKeysFile {folder}/authorized_keys\n\
             PidFile none\n\
             StrictModes no\n\
             UsePAM no\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             Subsystem sftp internal-sftp\n\
             MaxStartups 100:30:200\n\
             {extra}\n",
            port = self.port,
            extra = self.extra,
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.down();
    }
}

/// Whether there is an sshd to start.
pub fn available() -> std::result::Result<(), String> {
    if Path::new(PROGRAM).exists() { Ok(()) } else { Err(format!("no OpenSSH server at {PROGRAM}")) }
}

/// Makes a key pair where none is: ed25519, without a passphrase, unless the options of ssh-keygen are others.
pub fn make_key(path: &Path, options: &[&str]) -> Result<()> {
    Cmd::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .args(options)
        .run()
        .map(drop)
}

/// Type and key of a `.pub` file, without its comment.
pub fn public_key(path: &Path) -> Result<String> {
    let line = fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
    Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// sshd as root insists on this folder, which its service makes where there is one.
fn separation_folder() -> Result<()> {
    let folder = Path::new("/run/sshd");
    if rustix::process::geteuid().is_root() && !folder.exists() {
        fs::create_dir_all(folder).map_err(Error::io("making /run/sshd"))?;
    }
    Ok(())
}
