//! The audit trail: every event has a name and a stable journal message id, explained by the catalog.

use std::fmt;

use crate::digest::Digest;
use crate::name::HostName;
use crate::night::Night;
use crate::role::Role;
use crate::stage::Stage;

/// What happened. Names and ids change only with a version and a changelog line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    DaemonStarted,
    DaemonStopping,
    NightOpened,
    NightClosed,
    StageStarted,
    StageCaughtUp,
    StageFinished,
    StageMissed,
    SetPublished,
    SetPulled,
    SetLate,
    SetMissing,
    SetRefused,
    ArchivePacked,
    ArchiveShipped,
    ArchiveNotShipped,
    Pruned,
    ConfigReloaded,
    ConfigRefused,
    HostKeyMismatch,
    LoginRefused,
    ClockDoubtful,
    PeerOdd,
    EtcdUnwell,
    VerifyFailed,
    MembersDisagree,
    SetSuspicious,
    SetAccepted,
    DrillPassed,
    DrillFailed,
    NotProved,
    MemberStopped,
    MemberStarted,
}

/// One row of the catalog, in the order of the kinds.
struct Row {
    name: &'static str,
    message_id: &'static str,
    subject: &'static str,
    advice: &'static str,
}

const ROWS: [Row; 33] = [
    Row {
        name: "daemon-started",
        message_id: "62e1c6a125c44908bebc2bcc38f86f6f",
        subject: "The daemon started",
        advice: "It holds the schedule from now on. What a night still lacks is caught up while the night is open.",
    },
    Row {
        name: "daemon-stopping",
        message_id: "00e97eaf4fb040a0a8010b7803957cd5",
        subject: "The daemon is stopping",
        advice: "Stages that run are given time to end; what they leave unfinished is resumed at the next start.",
    },
    Row {
        name: "night-opened",
        message_id: "58d3a22b4f70462ca8a2eb3825d6d58d",
        subject: "A night opened",
        advice: "The record of this night lies in /var/lib/nightshift/records.",
    },
    Row {
        name: "night-closed",
        message_id: "49315fd0651346eab9185cb09a24e154",
        subject: "A night closed",
        advice: "NIGHTSHIFT_OUTCOME says what it was worth: complete, degraded (restorable, but something named is missing) or failed. NIGHTSHIFT_REASON names what is wrong.",
    },
    Row {
        name: "stage-started",
        message_id: "7e49258d8f74446190ec9d14540528d4",
        subject: "A stage started",
        advice: "`nightshift status` shows how the night goes on.",
    },
    Row {
        name: "stage-caught-up",
        message_id: "3baeec6cbc34462887315c7c6e99e4a6",
        subject: "A stage is caught up",
        advice: "Its time had passed while the host or the daemon was down; the night is still open, so it runs now.",
    },
    Row {
        name: "stage-finished",
        message_id: "6fae9e986c584f57a2db79b6a7a14d08",
        subject: "A stage ended",
        advice: "NIGHTSHIFT_OUTCOME says how, NIGHTSHIFT_REASON why. A failed stage is tried again while its time lasts.",
    },
    Row {
        name: "stage-missed",
        message_id: "7d2ce1861350491d8428fcf4fa48d343",
        subject: "A stage was missed",
        advice: "The night closed before it could run. The next night runs it again; `nightshift run STAGE` runs it by hand.",
    },
    Row {
        name: "set-published",
        message_id: "70cd03eace61483ab657b8640d399184",
        subject: "A set was published",
        advice: "This host's part of the night is complete on disk and visible to the masters.",
    },
    Row {
        name: "set-pulled",
        message_id: "a8daad238f114ecca8d52dfaf62008cc",
        subject: "A set was pulled",
        advice: "Every byte of it was hashed and agrees with its maker's manifest.",
    },
    Row {
        name: "set-late",
        message_id: "32d68a2096ba467fb6635af60425dc07",
        subject: "A set came late",
        advice: "It was pulled after the stage's waiting was over, and will be part of a further archive of the night.",
    },
    Row {
        name: "set-missing",
        message_id: "5b506ec1e3b249fab0b859eae64c5097",
        subject: "A set is missing",
        advice: "The host did not hand in tonight's set in time. It is looked for again until shortly before the night closes. See NIGHTSHIFT_REASON, and the journal of that host.",
    },
    Row {
        name: "set-refused",
        message_id: "b9e2bc85e4c3401c87e68368376aa08a",
        subject: "A set was refused",
        advice: "What came was not what its manifest says, or not this host's. Nothing of it was kept as a copy.",
    },
    Row {
        name: "archive-packed",
        message_id: "90e40322374c4eea80ebe892f3a25408",
        subject: "An archive was packed",
        advice: "It waits in the outbox until every remote has verified it.",
    },
    Row {
        name: "archive-shipped",
        message_id: "77471b1fd1a543839b7c710012eead59",
        subject: "An archive was shipped",
        advice: "Its size and SHA-256 were verified at the remote.",
    },
    Row {
        name: "archive-not-shipped",
        message_id: "e45f7b858e5b44d28c8268ee23e5bdca",
        subject: "An archive was not shipped",
        advice: "It stays in the outbox and goes the next night as well. See NIGHTSHIFT_REASON.",
    },
    Row {
        name: "pruned",
        message_id: "9548edea653340488c693831c45b3313",
        subject: "Something was removed by policy",
        advice: "NIGHTSHIFT_REASON says why it could go. The last good copy of a host is never removed.",
    },
    Row {
        name: "config-reloaded",
        message_id: "f450b3e44a304684a2ce37035f868344",
        subject: "The config was reloaded",
        advice: "Times of stages not yet begun change tonight, everything else from the next night on.",
    },
    Row {
        name: "config-refused",
        message_id: "09e3555b2f854634a52b7c661e00aa50",
        subject: "An edited config was refused",
        advice: "The old settings stay in force. Mend the file and run `systemctl reload nightshift` again; `nightshift check` shows the mistakes.",
    },
    Row {
        name: "host-key-mismatch",
        message_id: "04dd1545e41844babc841278f4bf8ce0",
        subject: "A host key is not the pinned one",
        advice: "Somebody may be listening, or the host was reinstalled. Nothing was sent or fetched. If the new key is right, pin it with `nightshift trust HOST`.",
    },
    Row {
        name: "login-refused",
        message_id: "53848ee530274cb69a4824d7f1ee9a42",
        subject: "A login was refused",
        advice: "The peer does not take this host's key. Authorise it there with the line that `nightshift keys authorize` prints here.",
    },
    Row {
        name: "clock-doubtful",
        message_id: "09b40b9c7d4749799ee270a104cf4782",
        subject: "The clock is doubtful",
        advice: "No night opens and nothing is pruned until the clock is synchronised, or for fifteen minutes at most.",
    },
    Row {
        name: "peer-odd",
        message_id: "b40cda182f604d00ae29d3e834e0e9f7",
        subject: "A peer looks odd",
        advice: "Its clock, its nights or its inventory differ from ours, or its daemon is silent. See NIGHTSHIFT_REASON.",
    },
    Row {
        name: "etcd-unwell",
        message_id: "c075a59eeeb14a7f8eb323b64c530b3f",
        subject: "An etcd member is not well",
        advice: "It is a learner, has an alarm, has no leader or reports errors. See NIGHTSHIFT_REASON.",
    },
    Row {
        name: "verify-failed",
        message_id: "3df44d298e39445da86f5fa5321ea4ac",
        subject: "A stored copy failed its check",
        advice: "What is on disk no longer has the hash it was stored with. The set no longer counts as a copy.",
    },
    Row {
        name: "members-disagree",
        message_id: "92035b329d114e42888fa55b0b5375b5",
        subject: "An etcd member holds something else than the others",
        advice: "NIGHTSHIFT_REASON names it. Its set is marked diverged and does not count as a copy. Compare the members by `etcdctl endpoint hashkv`, and replace the one that is wrong.",
    },
    Row {
        name: "set-suspicious",
        message_id: "b92f1703252744f4b0e48f735a8792f3",
        subject: "A set is suspicious",
        advice: "It passed its checks, but holds much less or something older than the last good night, or is of another cluster. Nothing of this host is pruned until `nightshift sets accept` says that it is right.",
    },
    Row {
        name: "set-accepted",
        message_id: "e7211d717cdb450baa83d3807c02a198",
        subject: "A set was accepted",
        advice: "A person says that a suspicious or diverged set is right. It counts as a good copy from now on.",
    },
    Row {
        name: "drill-passed",
        message_id: "7479723359f54f068ac1e470ef3c8f6b",
        subject: "A stored copy was proved to restore",
        advice: "It was restored into a scratch etcd that held what it should and took a write.",
    },
    Row {
        name: "drill-failed",
        message_id: "2216ad13440d472385c835a3ec05165b",
        subject: "A stored copy does not restore",
        advice: "See NIGHTSHIFT_REASON. The copy is kept as evidence; `nightshift drill` tries another one.",
    },
    Row {
        name: "not-proved",
        message_id: "1e6c68dcc6fd4c3bb146b1847bcb04ee",
        subject: "No stored copy was proved tonight",
        advice: "The drill could not be run, which says nothing about the copy. See NIGHTSHIFT_REASON.",
    },
    Row {
        name: "member-stopped",
        message_id: "c0f0e748a5524a7a9446a9509ad3a0b8",
        subject: "An etcd member was stopped for a cold copy",
        advice: "It is started again as soon as its data is copied, however that ends.",
    },
    Row {
        name: "member-started",
        message_id: "0a1b970fb22f4a6f9ed91449d50b456f",
        subject: "An etcd member was started again",
        advice: "The cold copy has ended, or was cut short, and the member was seen healthy or is on its way.",
    },
];

impl Kind {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// 128 bits in hex, as journald's `MESSAGE_ID` wants them.
    pub fn message_id(self) -> &'static str {
        self.row().message_id
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The message catalog in the form that `journalctl --update-catalog` reads.
pub fn catalog() -> String {
    ROWS.iter()
        .map(|row| {
            format!(
                "-- {}\nSubject: {}\nDefined-By: nightshift\nSupport: man:nightshift(1)\n\n{}\n\n",
                row.message_id, row.subject, row.advice
            )
        })
        .collect()
}

/// How grave an event is to whoever reads the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// An event of the audit trail, on its way to the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: Kind,
    pub severity: Severity,
    pub message: String,
    pub night: Option<Night>,
    pub stage: Option<Stage>,
    pub role: Option<Role>,
    pub peer: Option<HostName>,
    pub path: Option<String>,
    pub bytes: Option<u64>,
    pub sha256: Option<Digest>,
    pub duration_ms: Option<u64>,
    pub outcome: Option<&'static str>,
    pub reason: Option<String>,
}

impl Event {
    pub fn new(kind: Kind, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            kind,
            severity,
            message: message.into(),
            night: None,
            stage: None,
            role: None,
            peer: None,
            path: None,
            bytes: None,
            sha256: None,
            duration_ms: None,
            outcome: None,
            reason: None,
        }
    }

    pub fn info(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(kind, Severity::Info, message)
    }

    pub fn warning(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(kind, Severity::Warning, message)
    }

    pub fn error(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(kind, Severity::Error, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_kind_has_its_own_row_name_and_id() {
        let mut ids = HashSet::new();
        let mut names = HashSet::new();
        for row in &ROWS {
            assert_eq!(row.message_id.len(), 32);
            assert!(ids.insert(row.message_id) && names.insert(row.name));
        }
        // The rows stand in the order of the kinds.
        assert_eq!(Kind::DaemonStarted.name(), "daemon-started");
        assert_eq!(Kind::SetMissing.name(), "set-missing");
        assert_eq!(Kind::MemberStarted as usize, ROWS.len() - 1);
        assert_eq!(Kind::MemberStarted.name(), "member-started");
        assert_eq!(catalog().matches("Defined-By: nightshift").count(), ROWS.len());
    }
}
