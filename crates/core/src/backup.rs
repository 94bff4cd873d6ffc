//! A backup of the whole cluster that an operator starts: one extra night, which all hosts run at the same time.

use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::text::Text;

/// The longest label, in characters.
const MAX_LABEL: usize = 60;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The operator's name for it, such as `before-upgrade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Text>,
    /// The hosts that do not take part, because the operator did not reach them: their sets are missing, and no master waits for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<HostName>,
}

/// Reads a label from the command line: one word, because it is a cell of a table.
pub fn label(text: &str) -> Result<Text, String> {
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_word && text.len() <= MAX_LABEL {
        Ok(text.into())
    } else {
        Err(format!("use at most {MAX_LABEL} letters, digits, `-`, `_` and `.`, such as before-upgrade"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_short_word() {
        assert_eq!(label("before-upgrade_4.12"), Ok("before-upgrade_4.12".into()));
        for bad in ["", "before upgrade", "a\nb", "\u{202e}x", "x".repeat(61).as_str()] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }
}
