//! The real daemon as a child, and everything it tells systemd.

use std::env;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::journal::Journal;
use crate::lab::cmd::poll;
use crate::lab::{Error, Result};

/// It drains for a minute at most.
const ENDS: Duration = Duration::from_secs(90);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Daemon {
    child: Child,
    notices: Arc<Mutex<Vec<String>>>,
    log: PathBuf,
}

/// How a daemon is started.
#[derive(Default)]
pub struct Start<'a> {
    /// The journal that it finds; it logs to stderr where there is none.
    pub journal: Option<&'a Journal>,
    /// The words of a command that runs it: its program and its words follow.
    pub wrapper: &'a [String],
    /// What systemd's watchdog would allow it.
    pub watchdog: Option<Duration>,
}

/// The program under test: that which `NIGHTSHIFT_BINARY` names, or the one built beside the tests.
pub fn program() -> Result<PathBuf> {
    env::var_os("NIGHTSHIFT_BINARY").map_or_else(|| built("nightshift"), |path| Ok(path.into()))
}

/// A program of the workspace, built beside the test or the tool that runs.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().map_err(Error::io("asking for this program's path"))?;
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    found
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Refused(format!("there is no {name} to test: `cargo build --workspace`")))
}

impl Daemon {
    /// Starts it; what it has to say and where it is heard goes into the folder.
    pub fn start(config: &Path, folder: &Path, how: &Start<'_>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let (socket, notices) = listen(folder)?;
        let log = folder.join("daemon.log");
        let stderr = fs::OpenOptions::new().create(true).append(true).open(&log);
        let stderr = stderr.map_err(Error::io(format!("opening {}", log.display())))?;
        let program = program()?;
        let mut command = match (how.journal, how.wrapper.split_first()) {
            (Some(journal), _) => {
                let mut command = journal.command();
                command.arg(&program);
                command
            }
            (None, Some((wrapper, words))) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&program);
                command
            }
            (None, None) => Command::new(&program),
        };
        command
            .arg("--config")
            .arg(config)
            .arg("daemon")
            .env_clear()
            .env("PATH", PATH)
            .env("NOTIFY_SOCKET", socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        if let Some(allowed) = how.watchdog {
            command.env("WATCHDOG_USEC", allowed.as_micros().to_string());
        }
        let child = command.spawn().map_err(Error::io(format!("starting {}", program.display())))?;
        Ok(Self { child, notices, log })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it told systemd so far, one assignment each.
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The line that `systemctl status` would show now.
    pub fn status_line(&self) -> Option<String> {
        let notices = self.notices();
        notices.iter().rev().find_map(|notice| notice.strip_prefix("STATUS=")).map(str::to_owned)
    }

    /// Waits until it has told systemd something that is wanted, and gives it.
    pub fn wait_notice(&self, within: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        poll("a word to systemd", within, || {
            let notices = self.notices();
            notices.iter().find(|notice| wanted(notice)).cloned().ok_or_else(|| format!("{notices:?}"))
        })
    }

    pub fn wait_ready(&self, within: Duration) -> Result<()> {
        self.wait_notice(within, |notice| notice == "READY=1").map(drop)
    }

    /// What it logged to stderr, this life and those before.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_log(&self, text: &str, within: Duration) -> Result<()> {
        poll(&format!("`{text}` in the log"), within, || {
            let log = self.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
    }

    /// Ends at once, wherever it is.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().map_err(Error::io("killing the daemon"))?;
        self.child.wait().map(drop).map_err(Error::io("waiting for the daemon"))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| Error::Refused(format!("signalling the daemon: {error}")))
    }

    /// Asks it to stop, as systemd does, and gives its exit code.
    pub fn terminate(&mut self) -> Result<i32> {
        self.signal(Signal::TERM)?;
        self.wait_end(ENDS)
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub fn wait_end(&mut self, within: Duration) -> Result<i32> {
        let child = &mut self.child;
        let status = poll("the daemon to end", within, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err("it runs".to_owned()),
        })?;
        Ok(status.code().unwrap_or(-1))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Listens as systemd does.
fn listen(folder: &Path) -> Result<(PathBuf, Arc<Mutex<Vec<String>>>)> {
    let path = folder.join("notify");
    // An earlier daemon's listener lay there.
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).map_err(Error::io(format!("binding {}", path.display())))?;
    let notices = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&notices);
    thread::spawn(move || {
        let mut datagram = vec![0; 64 << 10];
        while let Ok(length) = socket.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            heard.lock().unwrap_or_else(PoisonError::into_inner).extend(text.lines().map(str::to_owned));
        }
    });
    Ok((path, notices))
}
