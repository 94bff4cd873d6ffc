//! What the one snapshot contains, read key by key when the plan is made.

use crate::restore::copy::EtcdCopy;
use crate::restore::finding::Finding;
use crate::secrets::SecretsReport;
use crate::text::summary;
use crate::units::count;

/// A snapshot whose trailer, pages, keys and values were verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotContents {
    /// Its encrypted values, and the keys in the masters' sets.
    pub secrets: SecretsReport,
    pub webhooks: Webhooks,
}

/// The configurations of admission webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhooks {
    pub configurations: usize,
    /// Those with `failurePolicy: Fail`, as `kubectl` names them.
    pub fail: Vec<String>,
    /// Those whose policy is unknown, because they are encrypted or too many.
    pub unknown: usize,
}

impl SnapshotContents {
    /// What an operator must know of it before anything is changed.
    pub fn findings(&self, copy: &EtcdCopy) -> Vec<Finding> {
        let set = &copy.set;
        let mut findings = Vec::new();
        let SecretsReport { values, not_checkable, unchecked, .. } = &self.secrets;
        if let Some(problem) = self.secrets.problem() {
            findings.push(Finding::refused(format!(
                "{set}: {problem}; the restored cluster could not read them: use a night whose master sets contain the key"
            )));
        }
        if let Some(reason) = unchecked {
            findings
                .push(Finding::missing(format!("{set}: {values} encrypted values are unchecked: {reason}")));
        }
        if *not_checkable > 0 {
            findings.push(Finding::missing(format!(
                "{set}: {not_checkable} encrypted values are of a KMS, which is not checkable; the restored API servers need the same KMS"
            )));
        }
        findings.extend(self.webhooks.finding());
        findings
    }
}

impl Webhooks {
    fn finding(&self) -> Option<Finding> {
        let Self { configurations, fail, unknown } = self;
        let total = count(*configurations, "configuration");
        let doubt = if *unknown > 0 { format!("; {unknown} could not be read") } else { String::new() };
        if fail.is_empty() {
            let text = format!(
                "{unknown} of {total} of webhooks in the snapshot are unreadable, so they may block; review them after the restore"
            );
            return (*unknown > 0).then(|| Finding::missing(text));
        }
        Some(Finding::missing(format!(
            "webhooks that may block: until their pods run, the API server refuses what they must review. If pods do not start, delete \
             {} (failurePolicy Fail; {total} in the snapshot{doubt}) and create them again afterwards",
            summary(fail)
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::digest::Digest;
    use crate::restore::copy::CopyKind;
    use crate::restore::finding::FindingKind;

    fn texts(contents: &SnapshotContents) -> Vec<(FindingKind, String)> {
        let copy = EtcdCopy {
            set: "e1/2026-11-28/etcd".parse().unwrap(),
            item: "snapshot.db.gz".into(),
            kind: CopyKind::Snapshot,
            v2: false,
            sha256: Digest::of(b""),
            size: 1,
            revision: 7,
            version: "3.4.23".into(),
        };
        contents.findings(&copy).into_iter().map(|finding| (finding.kind, finding.text)).collect()
    }

    #[test]
    fn a_key_that_no_master_has_refuses_and_a_kms_and_webhooks_are_named() {
        let good = SnapshotContents::default();
        assert_eq!(texts(&good), []);
        let missing = SecretsReport {
            values: 3,
            problems: ["key \"k2\" is in no master set (aescbc, 3 values)"].into_iter().collect(),
            ..SecretsReport::default()
        };
        let refused = texts(&SnapshotContents { secrets: missing, ..good });
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].0, FindingKind::Refused);
        assert!(refused[0].1.contains("key \"k2\" is in no master set"), "{refused:?}");
        let named = texts(&SnapshotContents {
            secrets: SecretsReport { values: 5, not_checkable: 5, ..SecretsReport::default() },
            webhooks: Webhooks {
                configurations: 2,
                fail: vec!["validatingwebhookconfiguration/a".into()],
                unknown: 0,
            },
        });
        assert!(named.iter().all(|(kind, _)| *kind == FindingKind::Missing), "{named:?}");
        assert!(named[0].1.contains("5 encrypted values are of a KMS"), "{named:?}");
        assert!(
            named[1].1.contains("delete validatingwebhookconfiguration/a (failurePolicy Fail"),
            "{named:?}"
        );
    }
}
