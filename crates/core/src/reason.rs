//! Why an operator should look: a sentence, and a code for programs. Codes are stable: a new one may be added, none changes its
//! meaning.

use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    ReasonCode {
        // What is wrong in a night.
        NoEtcdSnapshot = "no-etcd-snapshot",
        SetMissing = "set-missing",
        SetDegraded = "set-degraded",
        SetSuspicious = "set-suspicious",
        SetDiverged = "set-diverged",
        SetBad = "set-bad",
        SetUnchecked = "set-unchecked",
        SetLate = "set-late",
        /// It is missing, and `[night] tolerate` allows that.
        SetTolerated = "set-tolerated",
        ArchiveNotShipped = "archive-not-shipped",
        DrillFailed = "drill-failed",
        StageDegraded = "stage-degraded",
        StageFailed = "stage-failed",
        StageMissed = "stage-missed",
        StageInterrupted = "stage-interrupted",
        HookFailed = "hook-failed",
        ClosedEarly = "closed-early",
        // What is wrong beside the nights.
        DaemonDown = "daemon-down",
        DaemonBusy = "daemon-busy",
        DaemonSilent = "daemon-silent",
        UnitDisabled = "unit-disabled",
        RecordUnreadable = "record-unreadable",
        RecordUnwritten = "record-unwritten",
        RecordInFuture = "record-in-future",
        VaultLost = "vault-lost",
        SetUnreadable = "set-unreadable",
        SetGone = "set-gone",
        VaultFull = "vault-full",
        SetInFuture = "set-in-future",
        NightSkipped = "night-skipped",
        ConfigDiffers = "config-differs",
        ConfigRefused = "config-refused",
        NoticeGivenUp = "notice-given-up",
        /// The plan of a restore, made each night from the vault, is refused.
        RestoreRefused = "restore-refused",
        NoticeUnreadable = "notice-unreadable",
        /// Of an earlier version of nightshift, which had no codes.
        Other = "other",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    pub code: ReasonCode,
    pub text: String,
}

impl Reason {
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
