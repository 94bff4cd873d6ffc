//! A machine for tests: a directory as its root, and systemd of tests' own.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::access::Access;
use nightshift_core::backup::Backup;
use nightshift_core::digest::Digest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::owner::Owner;
use nightshift_core::restore::act::{Act, FORMAT, FileKind, FileSpec, Outcome, Reply, Request};
use nightshift_core::stage::Stage;
use nightshift_store::process::ProcessError;
use tempfile::TempDir;

use super::{Accounts, ActiveState, Host, Nightshift, Systemd, TargetError, UnitState, run};

pub const PLAN: &str = "2026-11-28-1f3a9c2b";

/// Units by name, and what was requested of them.
#[derive(Default)]
pub struct FakeSystemd {
    pub units: RefCell<BTreeMap<String, ActiveState>>,
    pub requests: RefCell<Vec<String>>,
    /// Beside those whose names say so.
    pub disabled: RefCell<BTreeSet<String>>,
    /// A unit that is started stays in this state.
    pub starts_as: Cell<Option<ActiveState>>,
}

impl FakeSystemd {
    pub fn with(units: &[(&str, ActiveState)]) -> Self {
        let units = units.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect();
        Self { units: RefCell::new(units), ..Self::default() }
    }

    pub fn state(&self, name: &str) -> ActiveState {
        self.units.borrow()[name]
    }

    pub fn take_requests(&self) -> Vec<String> {
        self.requests.take()
    }
}

impl Systemd for FakeSystemd {
    fn unit(&self, name: &str) -> Result<UnitState, ProcessError> {
        let state = self.units.borrow().get(name).copied();
        Ok(UnitState {
            exists: state.is_some(),
            active: state.unwrap_or(ActiveState::Stopped),
            enabled: !name.starts_with("disabled") && !self.disabled.borrow().contains(name),
            oneshot: name.contains("recover"),
        })
    }

    fn stop(&self, name: &str) -> Result<(), ProcessError> {
        self.requests.borrow_mut().push(format!("stop {name}"));
        self.units.borrow_mut().insert(name.to_owned(), ActiveState::Stopped);
        Ok(())
    }

    fn start_no_block(&self, names: &[&str]) -> Result<(), ProcessError> {
        self.requests.borrow_mut().push(format!("start {}", names.join(" ")));
        for name in names {
            let state = self.starts_as.get().unwrap_or(ActiveState::Active);
            self.units.borrow_mut().insert((*name).to_owned(), state);
        }
        Ok(())
    }

    fn enable(&self, name: &str) -> Result<(), ProcessError> {
        self.requests.borrow_mut().push(format!("enable {name}"));
        self.disabled.borrow_mut().remove(name);
        Ok(())
    }

    fn daemon_reload(&self) -> Result<(), ProcessError> {
        self.requests.borrow_mut().push("daemon-reload".to_owned());
        Ok(())
    }

    fn last_line(&self, name: &str) -> Option<String> {
        Some(format!("{name}: bind: address already in use"))
    }
}

#[derive(Default)]
pub struct FakeNightshift {
    pub pins: RefCell<Vec<String>>,
    pub nights: Cell<usize>,
}

impl Nightshift for FakeNightshift {
    fn pin(&self, lines: &[String]) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        if lines.is_empty() {
            return Err("no lines".into());
        }
        Ok(self.pins.replace(lines.to_vec()) != lines)
    }

    fn identities(
        &self,
        remotes: &[String],
    ) -> Result<(bool, Vec<String>), Box<dyn std::error::Error + Send + Sync>> {
        Ok((true, remotes.to_vec()))
    }

    fn authorize(&self, _: &[String]) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        Ok(true)
    }

    fn this(&self) -> Result<HostName, Box<dyn std::error::Error + Send + Sync>> {
        Ok("master1.example.com".parse()?)
    }

    fn free_night(&self) -> Result<Night, Box<dyn std::error::Error + Send + Sync>> {
        Ok("2026-11-29.1".parse()?)
    }

    fn night(
        &self,
        _plan: &str,
        _stages: &[Stage],
        _night: Option<Night>,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        self.nights.set(self.nights.get() + 1);
        Ok("night 2026-11-29.1: complete".to_owned())
    }

    fn backup(
        &self,
        night: Night,
        backup: Backup,
        wait: bool,
        alive: &mut dyn FnMut(),
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        self.nights.set(self.nights.get() + 1);
        if wait {
            alive();
        }
        Ok(format!("night {night}: {}", backup.label.unwrap_or_default()))
    }
}

/// The user `etcd` is the one who runs the tests.
struct FakeAccounts;

impl Accounts for FakeAccounts {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "etcd").then(|| rustix::process::geteuid().as_raw())
    }

    fn group(&self, name: &str) -> Option<u32> {
        (name == "etcd").then(|| rustix::process::getegid().as_raw())
    }
}

pub struct Machine {
    pub root: TempDir,
    pub systemd: FakeSystemd,
    pub nightshift: FakeNightshift,
    pub is_root: bool,
}

impl Machine {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(units: &[(&str, ActiveState)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc/systemd/system", "var/lib"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let (systemd, nightshift) = (FakeSystemd::with(units), FakeNightshift::default());
        Self { root, systemd, nightshift, is_root: true }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Where this plan moves something of the machine.
    pub fn aside(&self, kind: &str, path: &str) -> String {
        format!("/var/lib/nightshift-restore/{PLAN}/{kind}{path}")
    }

    pub fn call(&self, step: &str, act: Act) -> Result<Outcome, String> {
        self.call_with(step, act, b"")
    }

    pub fn call_with(&self, step: &str, act: Act, bytes: &[u8]) -> Result<Outcome, String> {
        self.send(&request(PLAN, step, act), bytes)
    }

    pub fn send(&self, request: &Request, bytes: &[u8]) -> Result<Outcome, String> {
        let mut input = serde_json::to_vec(request).unwrap();
        input.push(b'\n');
        input.extend_from_slice(bytes);
        self.exchange(&input)
    }

    /// The last reply to this input.
    pub fn exchange(&self, input: &[u8]) -> Result<Outcome, String> {
        let mut output = Vec::new();
        let ran = self.run(input, &mut output);
        let last = output.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
        match serde_json::from_slice(last).unwrap() {
            Reply::Done(outcome) => {
                ran.unwrap();
                Ok(*outcome)
            }
            Reply::Failed { reason } => {
                ran.unwrap_err();
                Err(reason.to_string())
            }
            Reply::Progress { .. } => panic!("no result"),
        }
    }

    pub fn run(&self, input: &[u8], output: impl Write) -> Result<(), TargetError> {
        let host = Host {
            root: self.root.path().to_owned(),
            is_root: self.is_root,
            systemd: &self.systemd,
            accounts: &FakeAccounts,
            nightshift: &self.nightshift,
            pod_timeout: Duration::from_millis(300),
        };
        run(input, output, &host)
    }
}

pub fn request(plan: &str, step: &str, act: Act) -> Request {
    Request { format: FORMAT, plan: plan.parse().unwrap(), step: step.to_owned(), host: None, act }
}

pub fn owner() -> Owner {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Owner { uid, gid, user: None, group: None }
}

pub fn modified() -> Timestamp {
    "2026-11-28T21:00:00.123456789Z".parse().unwrap()
}

pub fn spec(path: &str, kind: FileKind, mode: u32) -> FileSpec {
    FileSpec {
        path: path.to_owned(),
        kind,
        owner: owner(),
        mode,
        modified: modified(),
        selinux: None,
        access: Access::default(),
    }
}

pub fn file(path: &str, content: &str) -> FileSpec {
    let kind = FileKind::File { size: content.len() as u64, sha256: Digest::of(content.as_bytes()) };
    spec(path, kind, 0o640)
}

pub fn directory(path: &str) -> FileSpec {
    spec(path, FileKind::Directory, 0o750)
}

pub fn link(path: &str, target: &str) -> FileSpec {
    spec(path, FileKind::Symlink { target: target.to_owned() }, 0o777)
}

/// All regular files below a directory with this content.
pub fn files_with(content: &str, below: &Path) -> usize {
    let entries = fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .map(|path| {
            if path.is_dir() && !path.is_symlink() {
                files_with(content, &path)
            } else {
                usize::from(fs::read_to_string(&path).is_ok_and(|found| found == content))
            }
        })
        .sum()
}
