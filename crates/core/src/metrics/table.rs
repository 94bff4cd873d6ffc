//! The one table of metrics. The text format, the documentation, and the names in alert rules and in the board come from here.

/// All metrics are gauges: node_exporter and promtool refuse the types `info` and `stateset`.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    /// The query of the highest value that any host reports about the same thing, such as the newest time. Labels such as `cluster` and
    /// `job` stay.
    pub(super) fn newest(&self) -> String {
        format!("max without (instance) ({})", self.name)
    }

    /// The same of the lowest value, such as the first time.
    pub(super) fn first(&self) -> String {
        format!("min without (instance) ({})", self.name)
    }
}

macro_rules! table {
    ($($id:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub static $id: Metric =
            Metric { name: concat!("nightshift_", $name), labels: &[$($label),*], help: $help };)*

        pub static TABLE: &[&Metric] = &[$(&$id),*];
    };
}

table! {
    BUILD_INFO = "build_info" ["version", "host", "roles"]
        "Always 1. The labels describe the program and this host";
    DAEMON_UP = "daemon_up" []
        "1 if the daemon runs on this host, else 0: then no night opens here";
    CONFIG_RELOAD_OK = "config_reload_ok" []
        "0 if the daemon refused the last reload, so that the old configuration is in force";
    ATTENTION = "attention" []
        "1 if an operator should look: whenever `nightshift status` exits with 3, except for the code `unit-disabled` alone";
    STALE = "stale" []
        "1 if a night has closed since the last restorable one";
    NIGHT_LAST_CLOSED = "night_last_closed_timestamp_seconds" []
        "When the last scheduled night closed";
    NIGHT_LAST_RESTORABLE = "night_last_restorable_timestamp_seconds" []
        "When the last restorable night opened: its data is not older";
    NIGHT_NEXT_OPEN = "night_next_open_timestamp_seconds" []
        "When the next night opens";
    NIGHT_LAST_VERDICT = "night_last_verdict" ["verdict"]
        "1 for the result of the last closed scheduled night on this host, 0 for the others";
    STAGE_LAST_OUTCOME = "stage_last_outcome" ["stage", "outcome"]
        "1 for how the stage ended when it last did, 0 for the others";
    STAGE_LAST_START = "stage_last_start_timestamp_seconds" ["stage"]
        "When the stage started, when it last ended";
    STAGE_LAST_DURATION = "stage_last_duration_seconds" ["stage"]
        "How long the stage took, when it last ended";
    SET_LAST_GOOD = "set_last_good_timestamp_seconds" ["host", "role"]
        "When the newest good set of the host that this host stores was made. Masters store those of every expected host";
    SET_SIZE = "set_size_bytes" ["host", "role"]
        "The sum of the sizes of the files in that set";
    SETS_MISSING = "sets_missing" ["role"]
        "How many expected sets this host lacks of the last night whose stages have ended";
    SETS_AWAITING = "sets_awaiting_acceptance" ["role"]
        "Of how many hosts a newer set than the last good one is suspicious or diverged, or an older one keeps retention waiting, so that an operator has to review it";
    SNAPSHOT_TIME = "etcd_snapshot_timestamp_seconds" ["host"]
        "When the etcd snapshot in the newest good set of the host was taken";
    SNAPSHOT_REVISION = "etcd_snapshot_revision" ["host"]
        "The last revision in that snapshot";
    SNAPSHOT_KEYS = "etcd_snapshot_keys" ["host"]
        "The number of keys in that snapshot, as `etcdutl snapshot status` counts them";
    SNAPSHOT_SIZE = "etcd_snapshot_size_bytes" ["host"]
        "The size of that snapshot before compression";
    ETCD_COPIES = "etcd_copies" ["host"]
        "How many masters and remotes have that snapshot, as far as this master knows";
    ETCD_AGREEMENT = "etcd_agreement" ["state"]
        "1 for the result of the comparison of all members in the last night whose stages have ended, 0 for the others. Absent for a single member";
    DRILL_LAST_PROVED = "drill_last_proved_timestamp_seconds" ["host"]
        "When a drill last proved that a stored etcd set of the host restores";
    DRILL_LAST_DURATION = "drill_last_duration_seconds" ["host"]
        "How long the last drill of an etcd set of the host took";
    DRILL_LAST_VERDICT = "drill_last_verdict" ["host", "verdict"]
        "1 for the result of the last drill of an etcd set of the host, 0 for the others";
    LAST_SHIPPED = "archive_last_shipped_timestamp_seconds" ["remote"]
        "When the last archive of this host was verified on the remote";
    LAST_SHIPPED_SIZE = "archive_last_shipped_size_bytes" ["remote"]
        "The size of that archive";
    ARCHIVES_WAITING = "archives_waiting" ["remote"]
        "How many archives in the outbox are not on the remote yet";
    VAULT_SIZE = "vault_size_bytes" []
        "The size of the file system that contains the vault";
    VAULT_FREE = "vault_free_bytes" []
        "The free space of the file system that contains the vault";
    CERTIFICATE_NOT_AFTER = "certificate_not_after_timestamp_seconds" ["host", "certificate"]
        "When the first certificate expires that is needed in this file of the newest good set of the master or etcd host";
    NOTIFY_LAST_SUCCESS = "notify_last_success_timestamp_seconds" ["target"]
        "When the last notification arrived at the target";
}
