//! What one call does on one machine: `ssh HOST nightshift restore act`. One line of JSON is its input, followed by bytes if the act
//! takes some; lines of JSON are its output.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::backup::Backup;
use crate::digest::Digest;
use crate::etcd_facts::DataDirectory;
use crate::name::HostName;
use crate::night::Night;
use crate::owner::Owner;
use crate::restore::difference::Difference;
use crate::restore::id::PlanId;
use crate::stage::Stage;
use crate::text::{Lines, Text};

/// The format of requests and replies: both sides must have the same one.
pub const FORMAT: u32 = 1;
/// The maximum length in bytes of a request, and of a line of the output. A machine has at most as many files as its sets have items.
pub const MAX_REQUEST: u64 = 256 << 20;
pub const MAX_REPLY: u64 = 4 << 20;
/// The maximum number of files that one `Look` compares.
pub const MAX_LOOK: usize = 500;

/// One act of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub format: u32,
    pub plan: PlanId,
    /// Its number on the page: `4.3`.
    pub step: String,
    /// The host that is meant. Acts on nightshift's nights are refused by another one: an address may be mistyped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// What is on the machine. Changes nothing.
    Facts(Wanted),
    /// Which of these files differ, at most [`MAX_LOOK`]. Changes nothing.
    Look { files: Vec<FileSpec> },
    /// Keeps these units from starting until `Start` names them, also after a reboot.
    Hold { units: Vec<String> },
    /// Stops units, moves the manifests of static pods away, and checks that nothing of it runs.
    Stop {
        units: Vec<String>,
        manifests: Vec<String>,
        /// Addresses that must refuse connections afterwards: `10.0.3.1:2379`.
        ports: Vec<String>,
        /// Data directories whose database no process may have open afterwards.
        data: Vec<String>,
    },
    /// Puts the data of a member in place. Its bytes are a tar of `member/`.
    PutData { directory: DataDirectory, size: u64, sha256: Digest },
    /// Moves the data of a member aside, so that it starts with none.
    SetAside { directory: DataDirectory },
    /// Puts files in place. Its bytes are the contents of all of them, one after the other.
    PutFiles { files: Vec<FileSpec> },
    /// What follows new files: labels, the trust store, systemd's units.
    Settle { paths: Vec<String> },
    /// Lifts the hold of these units and starts them, without waiting for them. Moves manifests back.
    Start { units: Vec<String>, manifests: Vec<String> },
    /// Waits until these units are active, and something accepts connections at these ports.
    Await {
        units: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ports: Vec<String>,
        seconds: u64,
    },
    /// The machine's public host keys, one line each.
    HostKeys,
    /// Pins these lines of known_hosts for nightshift.
    Pin { lines: Vec<String> },
    /// Creates nightshift's own keys on a master, and returns the lines that authorize them.
    Identities { remotes: Vec<String> },
    /// Authorizes these keys for the masters' login.
    Authorize { lines: Vec<String> },
    /// Starts nightshift, and runs an extra night of these stages on this host. The open night of the schedule is closed before it: its sets
    /// may be older than the restore. Without stages: what is left of the open night, or this host's own sets.
    Night {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stages: Vec<Stage>,
        /// Its name, which all hosts share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        night: Option<Night>,
    },
    /// The next extra night whose name is free on this host, and the time there.
    FreeNight,
    /// Runs this extra night with all stages of this host, as a backup of the whole cluster. It belongs to no plan.
    Backup {
        night: Night,
        backup: Backup,
        /// Wait for its end.
        wait: bool,
    },
    /// Stops everything again and keeps it from starting, also what a step of the plan has started.
    UndoStop { units: Vec<String>, manifests: Vec<String>, ports: Vec<String>, data: Vec<String> },
    /// Moves back what the plan has moved aside, and aside what it has put in place.
    Undo,
    /// Lifts the hold of these units, and starts those that ran before the plan.
    UndoStart { units: Vec<String> },
    /// Ends the plan on this machine: nothing of it is held any more.
    Finish,
}

impl Act {
    /// As it is serialised, for the journal.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Facts(_) => "facts",
            Self::Look { .. } => "look",
            Self::Hold { .. } => "hold",
            Self::Stop { .. } => "stop",
            Self::PutData { .. } => "put-data",
            Self::SetAside { .. } => "set-aside",
            Self::PutFiles { .. } => "put-files",
            Self::Settle { .. } => "settle",
            Self::Start { .. } => "start",
            Self::Await { .. } => "await",
            Self::HostKeys => "host-keys",
            Self::Pin { .. } => "pin",
            Self::Identities { .. } => "identities",
            Self::Authorize { .. } => "authorize",
            Self::FreeNight => "free-night",
            Self::Backup { .. } => "backup",
            Self::Night { .. } => "night",
            Self::UndoStop { .. } => "undo-stop",
            Self::Undo => "undo",
            Self::UndoStart { .. } => "undo-start",
            Self::Finish => "finish",
        }
    }
}

/// What `Facts` looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub units: Vec<String>,
    pub manifests: Vec<String>,
    /// Data directories of etcd.
    pub data: Vec<String>,
    /// Directories of which the free space matters.
    pub space: Vec<String>,
    /// Names of users and groups that must exist.
    pub users: Vec<String>,
    pub groups: Vec<String>,
}

/// A file, directory or link as it must be afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute.
    pub path: String,
    #[serde(flatten)]
    pub kind: FileKind,
    pub owner: Owner,
    #[serde(with = "crate::octal")]
    pub mode: u32,
    pub modified: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    #[serde(flatten)]
    pub access: Access,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FileKind {
    File { size: u64, sha256: Digest },
    Directory,
    Symlink { target: String },
}

/// A line of an act's output. The last one is `Done` or `Failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Bytes of the input that were read so far.
    Progress {
        bytes: u64,
    },
    Done(Box<Outcome>),
    Failed {
        reason: Text,
    },
}

/// The result of an act.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// False if it was done before.
    pub changed: bool,
    /// What an operator should know, such as what was moved aside.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub notes: Lines,
    /// Of `HostKeys`, `Identities` and `FreeNight`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Of `Look`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// What is on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The version of nightshift there.
    pub version: Text,
    pub hostname: Text,
    pub machine_id: Option<Text>,
    /// As `System::os`.
    pub os: Text,
    pub architecture: Text,
    pub now: Timestamp,
    pub is_root: bool,
    pub units: Vec<UnitFacts>,
    /// Of the manifests that were asked for, those that exist.
    pub manifests: Vec<String>,
    pub data: Vec<DataFacts>,
    /// The version of the installed etcd.
    pub etcd: Option<Text>,
    /// Free bytes, in the order of the request.
    pub space: Vec<u64>,
    /// Users and groups that do not exist.
    pub unknown: Lines,
    /// Another plan that is not finished on this machine.
    pub plan: Option<PlanId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFacts {
    pub name: String,
    /// systemd has the unit.
    pub exists: bool,
    pub active: bool,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    pub path: String,
    pub exists: bool,
    /// It has a `member` directory.
    pub has_member: bool,
    /// A process has its database open.
    pub in_use: bool,
    /// Files of another tool's or an earlier copy, such as the marker of a cold copy.
    pub markers: Lines,
}
