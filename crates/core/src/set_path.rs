//! The path of a set in a vault: `<host>/<night>/<role>`. Further attempts are beside it: `<role>.2`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::name::HostName;
use crate::night::Night;
use crate::role::Role;

/// The maximum number of attempts at one set in one night.
pub const MAX_ATTEMPTS: u16 = 9;

/// What follows the name of a set's directory in the name of the statement about its damage.
pub const DAMAGE_EXTENSION: &str = ".damaged";

/// The identity of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetId {
    pub host: HostName,
    pub night: Night,
    pub role: Role,
    #[serde(deserialize_with = "attempt")]
    pub attempt: u16,
}

/// Refuses a number that no set has: 0 would be another name of the first attempt's directory.
pub(crate) fn attempt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let attempt = u16::deserialize(deserializer)?;
    if (1..=MAX_ATTEMPTS).contains(&attempt) {
        return Ok(attempt);
    }
    Err(de::Error::custom(format!("invalid attempt {attempt}; expected 1 to {MAX_ATTEMPTS}")))
}

impl SetId {
    pub const fn first(host: HostName, night: Night, role: Role) -> Self {
        Self { host, night, role, attempt: 1 }
    }

    /// The name of its directory within the night's directory.
    pub fn dir_name(&self) -> String {
        SetDirName { role: self.role, attempt: self.attempt }.to_string()
    }

    /// Its directory, relative to that of a night: in an archive, and in the directory of a restore.
    pub fn in_night(&self) -> String {
        format!("{}/{}", self.host, self.dir_name())
    }

    /// Its directory, relative to the vault.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.host.as_str()).join(self.night.to_string()).join(self.dir_name())
    }

    /// The directory, relative to the vault, in which it is written before it is published.
    pub fn partial(&self) -> PathBuf {
        PathBuf::from(self.host.as_str())
            .join(self.night.to_string())
            .join(format!(".{}.partial", self.dir_name()))
    }

    /// The directory of its proofs, relative to the vault.
    pub fn proofs(&self) -> PathBuf {
        PathBuf::from(self.host.as_str())
            .join(self.night.to_string())
            .join(format!("{}.proofs", self.dir_name()))
    }

    /// The name of the file beside it in which this host states that its own copy is damaged.
    pub fn damage_name(&self) -> String {
        format!("{}{DAMAGE_EXTENSION}", self.dir_name())
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.night, self.dir_name())
    }
}

/// The text is not the name of a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid set `{0}`; expected `HOST/NIGHT/ROLE`, such as `master1/2026-11-22/etcd`")]
pub struct NotASet(String);

impl FromStr for SetId {
    type Err = NotASet;
    fn from_str(text: &str) -> Result<Self, NotASet> {
        let bad = || NotASet(text.chars().take(300).collect());
        let parts: Vec<&str> = text.trim_end_matches('/').split('/').collect();
        let [host, night, dir_name] = parts[..] else { return Err(bad()) };
        let SetDirName { role, attempt } = dir_name.parse().map_err(|_| bad())?;
        Ok(Self {
            host: host.parse().map_err(|_| bad())?,
            night: night.parse().map_err(|_| bad())?,
            role,
            attempt,
        })
    }
}

/// The name of a published set's directory: `etcd`, `etcd.2`. Other names in a night's directory are not sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetDirName {
    pub role: Role,
    pub attempt: u16,
}

impl fmt::Display for SetDirName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            0 | 1 => f.pad(self.role.as_str()),
            n => write!(f, "{}.{n}", self.role),
        }
    }
}

/// The name is not that of a published set's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a set's directory; expected a role such as `etcd`, or `etcd.2`")]
pub struct NotASetDirName;

impl FromStr for SetDirName {
    type Err = NotASetDirName;
    fn from_str(text: &str) -> Result<Self, NotASetDirName> {
        let (role, attempt) = match text.split_once('.') {
            Some((role, attempt)) => (role, attempt.parse().map_err(|_| NotASetDirName)?),
            None => (text, 1),
        };
        let dir_name = Self { role: role.parse().map_err(|_| NotASetDirName)?, attempt };
        let well_spelt = dir_name.to_string() == text && attempt <= MAX_ATTEMPTS;
        well_spelt.then_some(dir_name).ok_or(NotASetDirName)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_is_found_by_its_path() {
        for good in ["m1.x/2026-11-22/etcd", "m1.x/2026-11-22.1/node.2"] {
            let set: SetId = good.parse().unwrap();
            assert_eq!(set.to_string(), good);
            assert_eq!(set.path(), PathBuf::from(good));
        }
    }

    #[test]
    fn an_attempt_that_no_set_can_have_is_refused_in_every_message() {
        let set = |attempt: u32| {
            format!(r#"{{"host":"m1","night":"2026-11-22","role":"etcd","attempt":{attempt}}}"#)
        };
        for good in [1, 9] {
            assert_eq!(u32::from(serde_json::from_str::<SetId>(&set(good)).unwrap().attempt), good);
        }
        for bad in [0, 10, 65_535, 65_536] {
            assert!(serde_json::from_str::<SetId>(&set(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_names_in_a_nights_directory_are_not_sets() {
        for bad in [".etcd.partial", "etcd.proofs", "etcd.1", "etcd.02", "etcd.99", "now.json", "", "etcd."] {
            assert!(bad.parse::<SetDirName>().is_err(), "{bad}");
        }
    }
}
