//! What is on the machine. Nothing is changed, and it works without root's rights as far as it can be read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::restore::act::{DataFacts, Facts, Outcome, UnitFacts, Wanted};
use nightshift_core::system::os_of;
use nightshift_core::text::{Lines, Text};
use nightshift_store::process::{self, Limits};
use nightshift_store::{IoContext as _, list, read_bounded, read_if_exists};

use super::data::MEMBER;
use super::dir::{Dir, relative};
use super::error::TargetError;
use super::host::Host;
use super::state::current;
use super::systemd::{ActiveState, require_units};
use super::usage::is_in_use;

/// Of os-release, machine-id and public keys, in bytes.
const MAX_SMALL_FILE: u64 = 64 << 10;
const VERSION_LIMITS: Limits = Limits { time: Duration::from_secs(20), output: 64 << 10 };
/// Where etcd is installed.
const ETCD: [&str; 2] = ["/usr/bin/etcd", "/usr/local/bin/etcd"];
/// The marker of a member that a cold copy has stopped.
const COLD_COPY: &str = "/var/lib/nightshift-cold-copy/stopped";

pub fn facts(host: &Host<'_>, wanted: &Wanted) -> Result<Outcome, TargetError> {
    require_units(&wanted.units)?;
    for path in wanted.manifests.iter().chain(&wanted.data) {
        relative(path)?;
    }
    let system = rustix::system::uname();
    let exists = |path: &&String| host.path(path).symlink_metadata().is_ok();
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        hostname: system.nodename().to_string_lossy().into_owned().into(),
        machine_id: text(host, "/etc/machine-id").map(|id| id.trim().into()),
        os: os(host),
        architecture: system.machine().to_string_lossy().into_owned().into(),
        now: Timestamp::now(),
        is_root: host.is_root,
        units: wanted.units.iter().map(|unit| unit_facts(host, unit)).collect::<Result<_, _>>()?,
        manifests: wanted.manifests.iter().filter(exists).cloned().collect(),
        data: wanted.data.iter().map(|data| data_facts(host, data)).collect::<Result<_, _>>()?,
        etcd: ETCD.iter().find_map(|path| etcd_version(&host.path(path))),
        space: wanted.space.iter().map(|path| free(host, path)).collect::<Result<_, _>>()?,
        unknown: unknown(host, wanted),
        // Without root's rights it cannot be read, and no other act is possible.
        plan: if host.is_root { current(&host.root)? } else { None },
    };
    Ok(Outcome { facts: Some(facts), ..Outcome::default() })
}

fn text(host: &Host<'_>, path: &str) -> Option<String> {
    let bytes = read_bounded(&host.path(path), MAX_SMALL_FILE).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn os(host: &Host<'_>) -> Text {
    let release = ["/etc/os-release", "/usr/lib/os-release"].into_iter().find_map(|path| text(host, path));
    release.as_deref().and_then(os_of).unwrap_or_else(|| "unknown".to_owned()).into()
}

fn unit_facts(host: &Host<'_>, name: &str) -> Result<UnitFacts, TargetError> {
    let unit = host.systemd.unit(name)?;
    Ok(UnitFacts {
        name: name.to_owned(),
        exists: unit.exists,
        active: unit.active == ActiveState::Active,
        enabled: unit.exists && unit.enabled,
    })
}

fn data_facts(host: &Host<'_>, path: &str) -> Result<DataFacts, TargetError> {
    let directory = Dir::find(&host.root, relative(path)?)?;
    let member = directory.as_ref().map(|directory| directory.entry(OsStr::new(MEMBER))).transpose()?;
    let marker = Some(COLD_COPY).filter(|path| host.path(path).exists());
    Ok(DataFacts {
        path: path.to_owned(),
        exists: directory.is_some(),
        has_member: member.flatten().is_some(),
        in_use: is_in_use(&host.root, path)?,
        markers: marker.into_iter().collect(),
    })
}

/// The version of an installed etcd. A program that another user can change is not run.
fn etcd_version(path: &Path) -> Option<Text> {
    let program = fs::metadata(path).ok()?;
    let is_own =
        [0, rustix::process::geteuid().as_raw()].contains(&program.uid()) && program.mode() & 0o022 == 0;
    if !program.is_file() || !is_own {
        return None;
    }
    let printed = process::output(Command::new(path).arg("--version"), VERSION_LIMITS).ok()?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    printed.lines().find_map(|line| line.strip_prefix("etcd Version: ")).map(|version| version.trim().into())
}

/// Free bytes where a directory is or will be.
fn free(host: &Host<'_>, path: &str) -> Result<u64, TargetError> {
    relative(path)?;
    let path = host.path(path);
    let existing = path.ancestors().find(|path| path.is_dir()).unwrap_or(&host.root);
    let space = rustix::fs::statvfs(existing).on("query the free space of", existing)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn unknown(host: &Host<'_>, wanted: &Wanted) -> Lines {
    let users = wanted.users.iter().filter(|name| host.accounts.user(name).is_none());
    let groups = wanted.groups.iter().filter(|name| host.accounts.group(name).is_none());
    let users = users.map(|name| format!("user {name}"));
    users.chain(groups.map(|name| format!("group {name}"))).collect()
}

/// The public host keys: type and key, one a line.
pub fn host_keys(host: &Host<'_>) -> Result<Outcome, TargetError> {
    let mut lines = Vec::new();
    for entry in list(&host.path("etc/ssh"))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name.starts_with("ssh_host_") && name.ends_with("_key.pub")) {
            continue;
        }
        let text = read_if_exists(&entry.path(), MAX_SMALL_FILE)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut words = text.split_whitespace();
        if let (Some(kind), Some(key)) = (words.next(), words.next()) {
            lines.push(format!("{kind} {key}"));
        }
    }
    if lines.is_empty() {
        return Err(TargetError::refused(
            "no host key in /etc/ssh; run `ssh-keygen -A`, then repeat the step",
        ));
    }
    Ok(Outcome { lines, ..Outcome::default() })
}
