//! Whether the values that Kubernetes encrypted in a copy can be decrypted with the keys in the masters' sets of the same night.

use serde::{Deserialize, Serialize};

use crate::text::{Lines, Text};

/// The encrypted values of one copy: the current ones, not those of older revisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsReport {
    /// How many there are.
    pub values: u64,
    /// How many were decrypted.
    #[serde(default)]
    pub decrypted: u64,
    /// How many have a key that no file contains: those of a KMS.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_checkable: u64,
    /// Why none was decrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<Text>,
    /// What is wrong: a key that is missing, or one that does not fit.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub problems: Lines,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl SecretsReport {
    /// What was found, as text after `encrypted values: `; `None` if the copy has no encrypted values.
    pub fn summary(&self) -> Option<String> {
        let Self { values, decrypted, not_checkable, unchecked, problems } = self;
        if *values == 0 {
            return None;
        }
        if let Some(reason) = unchecked {
            return Some(format!("unchecked: {reason}"));
        }
        let checkable = values.saturating_sub(*not_checkable);
        let mut parts = Vec::new();
        if checkable > 0 {
            parts.push(format!("{decrypted} of {checkable} decrypt"));
        }
        if *not_checkable > 0 {
            parts.push(format!("{not_checkable} of a KMS or an unknown provider, not checkable"));
        }
        parts.extend(problems.iter().map(ToString::to_string));
        Some(parts.join("; "))
    }

    // The reports say "encrypted values", not "secrets": what follows that word and a colon is masked as a password would be.
    /// Why a restore of the copy would not give readable secrets; `None` if it would, or if this is unchecked.
    pub fn problem(&self) -> Option<String> {
        (!self.problems.is_empty()).then(|| format!("encrypted values: {}", self.problems.summary()))
    }

    /// Whether another host must check them: there are encrypted values, and none was decrypted.
    pub fn is_unchecked(&self) -> bool {
        self.values > 0 && self.unchecked.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_how_many_decrypt_and_what_is_missing() {
        let report = |values, decrypted| SecretsReport { values, decrypted, ..SecretsReport::default() };
        let missing = "key \"key2\" is in no master set (aescbc, 3 values)".to_owned();
        for (report, summary, problem) in [
            (report(0, 0), None, None),
            (report(212, 212), Some("212 of 212 decrypt"), None),
            (
                SecretsReport { not_checkable: 1, ..report(5, 4) },
                Some("4 of 4 decrypt; 1 of a KMS or an unknown provider, not checkable"),
                None,
            ),
            (
                SecretsReport { not_checkable: 5, ..report(5, 0) },
                Some("5 of a KMS or an unknown provider, not checkable"),
                None,
            ),
            (
                SecretsReport { unchecked: Some("no master set".into()), ..report(5, 0) },
                Some("unchecked: no master set"),
                None,
            ),
            (
                SecretsReport { problems: [missing.clone()].into_iter().collect(), ..report(5, 2) },
                Some("2 of 5 decrypt; key \"key2\" is in no master set (aescbc, 3 values)"),
                Some(format!("encrypted values: {missing}")),
            ),
        ] {
            assert_eq!(report.summary().as_deref(), summary);
            assert_eq!(report.problem(), problem);
            let json = serde_json::to_string(&report).unwrap_or_default();
            assert_eq!(serde_json::from_str::<SecretsReport>(&json).ok(), Some(report), "{json}");
        }
    }
}
