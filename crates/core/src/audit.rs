//! The audit trail: every event has a name and a stable journal message id, explained by the catalog.

use std::fmt;

use crate::digest::Digest;
use crate::name::HostName;
use crate::night::Night;
use crate::role::Role;
use crate::stage::Stage;

/// One row of the catalog.
struct Row {
    name: &'static str,
    message_id: &'static str,
    subject: &'static str,
    advice: &'static str,
}

/// Makes the kinds and their rows of the catalog from one list, so that both are in the same order.
macro_rules! kinds {
    ($($kind:ident = $name:literal, $message_id:literal, $subject:literal: $advice:literal;)*) => {
        /// What happened. Names and ids change only with a version and a changelog line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($kind,)*
        }

        const ROWS: &[Row] = &[
            $(Row { name: $name, message_id: $message_id, subject: $subject, advice: $advice },)*
        ];
    };
}

kinds! {
    DaemonStarted = "daemon-started", "62e1c6a125c44908bebc2bcc38f86f6f", "The daemon started":
        "The daemon now runs the schedule. If a night is open, missed stages are caught up until it closes.";
    DaemonStopping = "daemon-stopping", "00e97eaf4fb040a0a8010b7803957cd5", "The daemon is stopping":
        "Running stages get a grace period to end. Unfinished work is resumed at the next start.";
    NightOpened = "night-opened", "58d3a22b4f70462ca8a2eb3825d6d58d", "A night opened":
        "The record of this night is in /var/lib/nightshift/records. `nightshift status` shows its progress.";
    NightClosed = "night-closed", "49315fd0651346eab9185cb09a24e154", "A night closed":
        "NIGHTSHIFT_OUTCOME is complete, degraded (restorable, but something is missing) or failed. NIGHTSHIFT_REASON lists what is missing or wrong. `nightshift nights NIGHT` shows the details.";
    StageStarted = "stage-started", "7e49258d8f74446190ec9d14540528d4", "A stage started":
        "`nightshift status` shows the progress of the night.";
    StageCaughtUp = "stage-caught-up", "3baeec6cbc34462887315c7c6e99e4a6", "A stage is starting late":
        "The host or the daemon was down at the stage's time. The night is still open, so the stage runs now.";
    StageFinished = "stage-finished", "6fae9e986c584f57a2db79b6a7a14d08", "A stage ended":
        "NIGHTSHIFT_OUTCOME is done, degraded, failed or interrupted; NIGHTSHIFT_REASON has the cause. A stage that failed for a temporary reason is retried until its `until`, `retries` times at most.";
    StageMissed = "stage-missed", "7d2ce1861350491d8428fcf4fa48d343", "A stage was missed":
        "The stage did not run this night; NIGHTSHIFT_REASON has the cause. The next night runs it again. To run it now, use `nightshift run STAGE`, or `nightshift run night` if no night is open.";
    SetPublished = "set-published", "70cd03eace61483ab657b8640d399184", "A set was published":
        "The set is completely on disk, and the masters can pull it.";
    SetPulled = "set-pulled", "a8daad238f114ecca8d52dfaf62008cc", "A set was pulled":
        "Every byte of it was hashed, and the hashes agree with the manifest of its origin host.";
    SetLate = "set-late", "32d68a2096ba467fb6635af60425dc07", "A set arrived late":
        "The set was pulled after the `until` of the stage. If the archive is already packed, a second one with this set is packed and shipped.";
    SetMissing = "set-missing", "5b506ec1e3b249fab0b859eae64c5097", "A set is missing":
        "The host did not publish tonight's set in time, or could not be reached; see NIGHTSHIFT_REASON and the journal of that host. nightshift retries every 15 minutes until 30 minutes before the night closes.";
    SetRefused = "set-refused", "b9e2bc85e4c3401c87e68368376aa08a", "A set was refused":
        "The set does not match its manifest, or is not from the expected host; see NIGHTSHIFT_REASON. It was not stored. Check the journal of the host that it was pulled from.";
    ArchivePacked = "archive-packed", "90e40322374c4eea80ebe892f3a25408", "An archive was packed":
        "It stays in the outbox until it is verified on every remote.";
    ArchiveShipped = "archive-shipped", "77471b1fd1a543839b7c710012eead59", "An archive was shipped":
        "Its size and SHA-256 were verified on the remote.";
    ArchiveNotShipped = "archive-not-shipped", "e45f7b858e5b44d28c8268ee23e5bdca", "An archive was not shipped":
        "See NIGHTSHIFT_REASON. The archive stays in the outbox and is shipped again the next night. To ship it now, use `nightshift run ship-archive`.";
    ArchiveDamaged = "archive-damaged", "8bf2462b9a531a42be1af8c561d765a2", "An archive on a remote is not as it was shipped":
        "Each night one archive on each remote is verified again. This one is gone or has other content; see NIGHTSHIFT_REASON. It does not count as a copy. Check the remote's disk and who may write there. Other remotes and the masters have their own copies.";
    Pruned = "pruned", "9548edea653340488c693831c45b3313", "A set or an archive was removed by retention":
        "NIGHTSHIFT_REASON has the reason. The last good set of a host and role is never removed.";
    ConfigReloaded = "config-reloaded", "f450b3e44a304684a2ce37035f868344", "The config was reloaded":
        "The times of stages that have not begun change tonight; all other settings change from the next night on.";
    ConfigRefused = "config-refused", "09e3555b2f854634a52b7c661e00aa50", "A changed config was refused":
        "The daemon continues with the old settings. `nightshift check` shows the errors; fix them and run `systemctl reload nightshift` again.";
    HostKeyMismatch = "host-key-mismatch", "04dd1545e41844babc841278f4bf8ce0", "A host key is unknown, or differs from the pinned one":
        "The host may have been reinstalled, or another machine answers in its place. Nothing was sent or fetched. Compare the key's fingerprint on the host's console; if it is right, pin it with `nightshift trust HOST`.";
    LoginRefused = "login-refused", "53848ee530274cb69a4824d7f1ee9a42", "A login was refused":
        "The peer does not accept this host's key. Run `nightshift keys authorize` on this host, and add the line that it prints to `authorized_keys` on the peer.";
    ClockDoubtful = "clock-doubtful", "09b40b9c7d4749799ee270a104cf4782", "The clock cannot be trusted":
        "No night opens and nothing is removed while the clock is not synchronised or earlier than the newest record; see NIGHTSHIFT_REASON. After 15 minutes without synchronisation the night opens anyway, but nothing is removed. Check chronyd or systemd-timesyncd.";
    PeerOdd = "peer-odd", "b40cda182f604d00ae29d3e834e0e9f7", "A peer's state or settings are unexpected":
        "Its clock, its `[night]` settings or its inventory differ from this host's, or its daemon does not run. See NIGHTSHIFT_REASON.";
    EtcdUnwell = "etcd-unwell", "c075a59eeeb14a7f8eb323b64c530b3f", "An etcd member is unhealthy":
        "It has an alarm, has no leader, reports errors, or is a learner. See NIGHTSHIFT_REASON, and `etcdctl endpoint status` and `etcdctl alarm list`.";
    VerifyFailed = "verify-failed", "3df44d298e39445da86f5fa5321ea4ac", "A stored set failed verification":
        "A file on disk no longer has the hash in its manifest; NIGHTSHIFT_PATH names it. The set no longer counts as a copy. Check the disk; the other masters and the remotes have their own copies.";
    MembersDisagree = "members-disagree", "92035b329d114e42888fa55b0b5375b5", "An etcd member has DIVERGED from the other members":
        "NIGHTSHIFT_REASON names it. Its set is marked diverged and does not count as a copy. Compare the members with `etcdctl endpoint hashkv`, and replace the one that differs.";
    SetSuspicious = "set-suspicious", "b92f1703252744f4b0e48f735a8792f3", "A set is suspicious":
        "The set is verified, but it is much smaller or older than the last good one, or is of another cluster; see NIGHTSHIFT_REASON. No set of this host is removed until an operator accepts it with `nightshift sets accept`.";
    SetAccepted = "set-accepted", "e7211d717cdb450baa83d3807c02a198", "A set was accepted":
        "An operator reviewed a suspicious or diverged set and marked it as good. It now counts as a good copy.";
    HostForgotten = "host-forgotten", "e3e4241690ed26d4ec7c19ee37d1a0ad", "The sets of a host that left were removed":
        "An operator removed all sets of a host that has left the configuration, also its last good one; NIGHTSHIFT_REASON names them. Archives keep theirs.";
    NightKept = "night-kept", "e1383ac08ab709350c506681f45d5465", "An operator keeps a night, or no longer":
        "The sets and archives of a kept night are not removed on this host, and its archive is not removed from remotes by this host, until the day that the message names. `nightshift nights` shows it.";
    DrillPassed = "drill-passed", "7479723359f54f068ac1e470ef3c8f6b", "A drill proved that a stored copy restores":
        "The copy was restored into a scratch etcd, which contained the expected data and accepted a write.";
    DrillFailed = "drill-failed", "2216ad13440d472385c835a3ec05165b", "A drill found that a stored copy does not restore":
        "See NIGHTSHIFT_REASON. The copy is kept as evidence. Run `nightshift drill` with another set to find a copy that restores.";
    NotProved = "not-proved", "1e6c68dcc6fd4c3bb146b1847bcb04ee", "No stored copy was proved tonight":
        "The drill could not be run; see NIGHTSHIFT_REASON. This does not mean that the copy is bad.";
    SecretsChecked = "secrets-checked", "ac15a45727054bd99cbf2f721c3d414f", "The encrypted values of an etcd copy were checked":
        "NIGHTSHIFT_OUTCOME is verified if each value that is encrypted with a key of the API server's configuration was decrypted with the keys in the masters' sets. If it is failed, NIGHTSHIFT_REASON names the key: etcd restores from this night, but the API server could not read those values. Add the API server's encryption configuration to the files that collect-master collects, or let the API server write the values again with a key that is in it.";
    MemberStopped = "member-stopped", "c0f0e748a5524a7a9446a9509ad3a0b8", "An etcd member was stopped for a cold copy":
        "It is started again as soon as its data is copied, also if the copy fails.";
    MemberStarted = "member-started", "0a1b970fb22f4a6f9ed91449d50b456f", "An etcd member was started again":
        "The cold copy ended or was interrupted, and the member was started. If it does not become healthy, see its own journal.";
    NightHeld = "night-held", "787c5875c6ca448d83b7f78b39a30591", "A night is due and does not open yet":
        "NIGHTSHIFT_REASON has the reason, and `nightshift status` shows it until the night opens. An extra night is closed for the night of the schedule; `nightshift nights close` closes it at once.";
    NightMissed = "night-missed", "583f056129b84cb39acb82b483842b0e", "A night did not open":
        "The night was due, and it did not open until its closing time; see NIGHTSHIFT_REASON. Nothing was backed up on this host in that night. After the cause is removed, `nightshift run night` makes this host's sets.";
    RecordFailed = "record-failed", "c209f2ec0f3041ae90c8e9cdce0d0925", "A record cannot be written":
        "A step of the night is not in its record in /var/lib/nightshift/records; see NIGHTSHIFT_REASON. A stage is not started before its start is recorded. Check the space and the permissions there. The journal has what the record lacks.";
    NoticeGivenUp = "notice-given-up", "076de82a34eb438c9e1464fda1ef47f1", "A notification was given up":
        "The target could not be reached for as long as its `give-up` allows, or more notices wait for it than the queue may have; see NIGHTSHIFT_REASON. `nightshift notify --test NAME` tries the target. `nightshift status` shows this until a notice arrives there.";
    HookEnded = "hook-ended", "3b857ed71f88465aa9b209072c9f6ac9", "A hook ended":
        "NIGHTSHIFT_OUTCOME is done or failed; NIGHTSHIFT_REASON has the exit code and the first line that its program printed to standard error. `journalctl -u 'nightshift-hook@*'` has all that it printed. A failed hook prevents no backup, unless the config says that it is required. `nightshift hook --test NAME` runs it again.";
    OperationFailed = "operation-failed", "0a87bf57e90b46959797046ca3879c9c", "An operation failed":
        "The message names the host, file or task and the reason. NIGHTSHIFT_OUTCOME is failed, or degraded if nightshift continues without the operation or retries it.";
}

impl Kind {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The value of journald's `MESSAGE_ID`: 128 bits in hexadecimal.
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

/// The severity of an event; the journal's priority is derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    /// The outcome of an event that names none: no warning and no error is without one.
    pub const fn outcome(self) -> Option<&'static str> {
        match self {
            Self::Info => None,
            Self::Warning => Some("degraded"),
            Self::Error => Some("failed"),
        }
    }
}

/// An event of the audit trail, with its journal fields.
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
            outcome: severity.outcome(),
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

    /// An error: what failed, and why.
    pub fn failed(kind: Kind, what: impl fmt::Display, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason: Some(reason.clone()), ..Self::error(kind, format!("{what}: {reason}")) }
    }

    /// A warning: what failed although the work continues, and why.
    pub fn degraded(kind: Kind, what: impl fmt::Display, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason: Some(reason.clone()), ..Self::warning(kind, format!("{what}: {reason}")) }
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
        for row in ROWS {
            assert_eq!(row.message_id.len(), 32);
            assert!(ids.insert(row.message_id) && names.insert(row.name));
        }
        assert_eq!(Kind::DaemonStarted.name(), "daemon-started");
        assert_eq!(Kind::SetMissing.name(), "set-missing");
        assert_eq!(Kind::OperationFailed as usize, ROWS.len() - 1);
        assert_eq!(Kind::OperationFailed.name(), "operation-failed");
        assert_eq!(catalog().matches("Defined-By: nightshift").count(), ROWS.len());
    }
}
