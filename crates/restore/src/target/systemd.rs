//! What an act needs of systemd.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use nightshift_core::text::line_of;
use nightshift_store::process::{self, Limits, ProcessError};

use super::error::TargetError;

/// systemd kills a unit after its own timeout, a minute and a half by default, and then waits as long again.
const STOP_LIMITS: Limits = Limits { time: Duration::from_secs(200), output: 64 << 10 };
const LIMITS: Limits = Limits { time: Duration::from_secs(30), output: 64 << 10 };

/// `ActiveState` of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActiveState {
    Active,
    /// Neither it nor a process of it runs.
    Stopped,
    Failed,
    /// It starts, stops or reloads.
    Changing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitState {
    /// systemd has the unit, and it is not masked.
    pub exists: bool,
    pub active: ActiveState,
    /// False if an operator or the package has disabled it: then it does not start at boot.
    pub enabled: bool,
    /// It does its work and ends, so it is never active for long.
    pub oneshot: bool,
}

pub trait Systemd {
    fn unit(&self, name: &str) -> Result<UnitState, ProcessError>;
    /// Waits until the unit is stopped.
    fn stop(&self, name: &str) -> Result<(), ProcessError>;
    /// Requests the start of all of them, and does not wait.
    fn start_no_block(&self, names: &[&str]) -> Result<(), ProcessError>;
    /// Starts it at every boot from now on.
    fn enable(&self, name: &str) -> Result<(), ProcessError>;
    fn daemon_reload(&self) -> Result<(), ProcessError>;
    /// The last line that the unit logged.
    fn last_line(&self, name: &str) -> Option<String>;
}

/// systemd of this machine.
#[derive(Debug)]
pub struct Systemctl;

impl Systemd for Systemctl {
    fn unit(&self, name: &str) -> Result<UnitState, ProcessError> {
        let properties = ["-p", "LoadState", "-p", "ActiveState", "-p", "UnitFileState", "-p", "Type"];
        let shown = systemctl(&[&["show"], &properties[..], &["--", name]].concat(), LIMITS)?;
        Ok(UnitState::parse(&String::from_utf8_lossy(&shown)))
    }

    fn stop(&self, name: &str) -> Result<(), ProcessError> {
        systemctl(&["stop", "--", name], STOP_LIMITS).map(drop)
    }

    fn start_no_block(&self, names: &[&str]) -> Result<(), ProcessError> {
        systemctl(&[&["start", "--no-block", "--"], names].concat(), LIMITS).map(drop)
    }

    fn enable(&self, name: &str) -> Result<(), ProcessError> {
        systemctl(&["enable", "--quiet", "--", name], LIMITS).map(drop)
    }

    fn daemon_reload(&self) -> Result<(), ProcessError> {
        systemctl(&["daemon-reload"], LIMITS).map(drop)
    }

    fn last_line(&self, name: &str) -> Option<String> {
        const MAX_SHOWN: usize = 200;
        let mut command = Command::new("journalctl");
        command.args(["--unit", name, "--lines", "1", "--output", "cat", "--no-pager", "--quiet"]);
        let printed = process::output(&mut command, LIMITS).ok()?;
        let printed = String::from_utf8_lossy(&printed);
        printed.lines().last().map(|line| line_of(line, MAX_SHOWN))
    }
}

fn systemctl(words: &[&str], limits: Limits) -> Result<Vec<u8>, ProcessError> {
    process::output(Command::new("systemctl").args(words), limits)
}

impl UnitState {
    /// Reads what `systemctl show` prints: `Name=value`, one a line.
    fn parse(shown: &str) -> Self {
        let value = |name: &str| {
            let mut values = shown.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            values.next().unwrap_or_default()
        };
        Self {
            exists: !["", "not-found", "masked"].contains(&value("LoadState")),
            active: match value("ActiveState") {
                "active" => ActiveState::Active,
                "inactive" => ActiveState::Stopped,
                "failed" => ActiveState::Failed,
                _ => ActiveState::Changing,
            },
            enabled: !["disabled", ""].contains(&value("UnitFileState")),
            oneshot: value("Type") == "oneshot",
        }
    }
}

impl fmt::Display for ActiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Stopped => "inactive",
            Self::Failed => "failed",
            Self::Changing => "still starting or stopping",
        })
    }
}

/// A unit's name becomes an argument and part of a path.
pub fn require_units(names: &[String]) -> Result<(), TargetError> {
    let is_name = |name: &&String| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.@\\-".contains(c);
        !name.starts_with(['-', '.']) && name.contains('.') && name.len() < 200 && name.chars().all(allowed)
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(bad) => Err(TargetError::refused(format!("`{}` is not the name of a unit", bad.escape_debug()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_unit_is_read_from_its_properties() {
        let unit = UnitState::parse("LoadState=loaded\nActiveState=activating\nUnitFileState=disabled\n");
        let expected =
            UnitState { exists: true, active: ActiveState::Changing, enabled: false, oneshot: false };
        assert_eq!(unit, expected);
        let unit = UnitState::parse("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n");
        assert_eq!((unit.exists, unit.active), (false, ActiveState::Stopped));
        assert!(!UnitState::parse("LoadState=masked\nType=oneshot\n").exists);
        assert!(!UnitState::parse("").exists);
    }

    #[test]
    fn what_is_not_the_name_of_a_unit_is_refused() {
        let check = |name: &str| require_units(&[name.to_owned()]);
        for good in ["etcd.service", "atomic-openshift-master-api.service", "nightshift-drill@1.service"] {
            check(good).unwrap();
        }
        for bad in ["etcd", "../etcd.service", "-H.x", ".hidden.service", "a/b.service", "a b.service", ""] {
            assert!(matches!(check(bad), Err(TargetError::Refused(_))), "{bad}");
        }
    }
}
