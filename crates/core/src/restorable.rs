//! Whether a night can be restored.

use serde::{Deserialize, Serialize};

use crate::text::{Lines, Text};

/// Whether a night can be restored from this host's vault, by the plan that the host made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restorable {
    /// Why not.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub reasons: Lines,
    /// What the restored cluster would lack.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub lacks: Lines,
    /// Who verified the snapshot. The plan itself reads no snapshot and hashes nothing again.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub verified: Text,
}

impl Restorable {
    /// The plan could not be made.
    pub fn unknown(reason: impl Into<Text>) -> Self {
        Self { reasons: std::iter::once(reason.into()).collect(), ..Self::default() }
    }

    pub fn is_restorable(&self) -> bool {
        self.reasons.is_empty()
    }

    /// `yes`, or what is missing.
    pub fn summary(&self) -> String {
        let with =
            |text: String, lines: &Lines| if lines.is_empty() { text } else { text + &lines.summary() };
        if self.is_restorable() {
            with(format!("yes{}", if self.lacks.is_empty() { "" } else { ", but: " }), &self.lacks)
        } else {
            with("no: ".to_owned(), &self.reasons)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_summary_is_yes_or_what_is_missing_and_reads_back() {
        let yes = Restorable { verified: "e1/2026-11-28/etcd".into(), ..Restorable::default() };
        let no = Restorable::unknown("no set contains nightshift.toml");
        assert_eq!(no.summary(), "no: no set contains nightshift.toml");
        assert_eq!((yes.summary().as_str(), yes.is_restorable(), no.is_restorable()), ("yes", true, false));
        for restorable in [yes, no] {
            let json = serde_json::to_string(&restorable).unwrap();
            assert_eq!(serde_json::from_str::<Restorable>(&json).unwrap(), restorable, "{json}");
        }
    }
}
