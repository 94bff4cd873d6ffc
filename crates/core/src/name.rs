//! Host and cluster names, safe to use as a path component and compared in lower case.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::stored_as_text;

/// The maximum length of a name in bytes (RFC 1035, §2.3.4, without the final dot).
const MAX_NAME_LEN: usize = 253;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name must not be empty")]
    Empty,
    #[error("a name must not be longer than {MAX_NAME_LEN} bytes")]
    TooLong,
    #[error("`{0}` must start and end with a letter or a digit")]
    Edge(String),
    #[error("`{name}` contains `{character}`; only letters, digits, `.`, `-` and `_` are allowed")]
    Character { name: String, character: char },
    #[error("`{0}` contains an empty label (`..`)")]
    EmptyLabel(String),
}

fn check(text: &str) -> Result<String, NameError> {
    let name = text.to_ascii_lowercase();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong);
    }
    if let Some(character) =
        name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
    {
        return Err(NameError::Character { name, character });
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.ends_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Err(NameError::Edge(name));
    }
    if name.contains("..") {
        return Err(NameError::EmptyLabel(name));
    }
    Ok(name)
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text).map(Self)
            }
        }

        stored_as_text!($type);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a host in the inventory.
    HostName
}
name_type! {
    /// The name of the cluster, common to all hosts of one inventory.
    ClusterName
}
name_type! {
    /// The name of an off-site destination (`[[remote]] name`).
    RemoteName
}

name_type! {
    /// The name of a hook (`[[hook]] name`).
    HookName
}

name_type! {
    /// The name of a target of notifications (`[[notify]] name`).
    TargetName
}

impl HostName {
    /// The name up to its first dot.
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_converted_to_lower_case() {
        let name: HostName = "Master1.Example.COM".parse().unwrap();
        assert_eq!(name.as_str(), "master1.example.com");
        assert_eq!(name.short(), "master1");
    }

    #[test]
    fn names_that_are_unsafe_as_a_path_component_are_refused() {
        for bad in ["", "..", "a..b", "../etc", "a/b", ".hidden", "-flag", "a ", "a\0b", "ä"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?} was accepted");
        }
        assert!("a".repeat(254).parse::<HostName>().is_err());
    }
}
