//! Who owns a file or directory.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// As chown takes it: by name, else by number.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |name: &Option<String>, id: u32| name.clone().unwrap_or_else(|| id.to_string());
        write!(f, "{}:{}", word(&self.user, self.uid), word(&self.group, self.gid))
    }
}
