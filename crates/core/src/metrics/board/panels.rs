//! What the board shows.

use crate::metrics::table::*;

#[derive(Debug)]
pub(super) struct Panel {
    pub title: &'static str,
    /// In Grafana's words.
    pub unit: &'static str,
    pub shown: Shown,
    pub query: Query,
    /// The text of each series.
    pub legend: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// The current value, red from this one on.
    RedFrom(f64),
    /// The current value, red below this one.
    RedBelow(f64),
    Table,
    Graph,
}

#[derive(Debug)]
pub(super) enum Query {
    Value(&'static Metric),
    /// The current one of several states.
    State(&'static Metric),
    /// The seconds since a point in time, and until one.
    Since(&'static Metric),
    Until(&'static Metric),
    /// The highest value that any host reports, such as the newest time.
    Newest(&'static Metric),
    SinceNewest(&'static Metric),
    /// The same for the 20 oldest.
    Oldest(&'static Metric),
    /// The 20 points in time that come first.
    First(&'static Metric),
    /// The sum for all hosts that a host reports about.
    Sum(&'static Metric),
    Share(&'static Metric, &'static Metric),
}

impl Query {
    pub fn text(&self) -> String {
        match self {
            Self::Value(metric) => metric.name.to_owned(),
            Self::State(metric) => format!("{} == 1", metric.name),
            Self::Since(metric) => format!("time() - {}", metric.name),
            Self::Until(metric) => format!("{} - time()", metric.name),
            Self::Newest(metric) => metric.newest(),
            Self::SinceNewest(metric) => format!("time() - {}", metric.newest()),
            Self::Oldest(metric) => format!("topk(20, time() - {})", metric.newest()),
            Self::First(metric) => format!("bottomk(20, {} - time())", metric.first()),
            Self::Sum(metric) => format!("sum without (host) ({})", metric.name),
            Self::Share(part, whole) => format!("{} / {}", part.name, whole.name),
        }
    }
}

macro_rules! panels {
    ($($title:literal $unit:literal $shown:ident $(($limit:literal))?, $query:ident($($metric:ident),*), $legend:literal;)*) => {
        pub(super) static PANELS: &[Panel] = &[$(Panel {
            title: $title,
            unit: $unit,
            shown: Shown::$shown $(($limit))?,
            query: Query::$query($(&$metric),*),
            legend: $legend,
        }),*];
    };
}

panels! {
    "Daemons" "none" RedBelow(1.0), Value(DAEMON_UP), "{{instance}}";
    "An operator should look" "none" RedFrom(1.0), Value(ATTENTION), "{{instance}}";
    "Stale" "none" RedFrom(1.0), Value(STALE), "{{instance}}";
    "Configuration in force" "none" RedBelow(1.0), Value(CONFIG_RELOAD_OK), "{{instance}}";
    "Last verdict" "none" Table, State(NIGHT_LAST_VERDICT), "";
    "Age of the last restorable night" "s" RedFrom(190_800.0), Since(NIGHT_LAST_RESTORABLE), "{{instance}}";
    "Since the last night closed" "s" RedFrom(90_000.0), Since(NIGHT_LAST_CLOSED), "{{instance}}";
    "Until the next night opens" "s" RedBelow(0.0), Until(NIGHT_NEXT_OPEN), "{{instance}}";
    "Stages" "none" Table, State(STAGE_LAST_OUTCOME), "";
    "Stage durations" "s" Graph, Value(STAGE_LAST_DURATION), "{{instance}} {{stage}}";
    "Since the stages started" "s" Table, Since(STAGE_LAST_START), "";
    "Missing sets" "none" RedFrom(1.0), Value(SETS_MISSING), "{{instance}} {{role}}";
    "Oldest sets" "s" Table, Oldest(SET_LAST_GOOD), "";
    "Size of the sets" "bytes" Graph, Sum(SET_SIZE), "{{instance}} {{role}}";
    "Sets to review" "none" RedFrom(1.0), Value(SETS_AWAITING), "{{instance}} {{role}}";
    "Age of the etcd snapshots" "s" RedFrom(129_600.0), SinceNewest(SNAPSHOT_TIME), "{{host}}";
    "etcd revision" "none" Graph, Newest(SNAPSHOT_REVISION), "{{host}}";
    "etcd keys" "none" Graph, Newest(SNAPSHOT_KEYS), "{{host}}";
    "etcd snapshot size" "bytes" Graph, Newest(SNAPSHOT_SIZE), "{{host}}";
    "Copies of the etcd snapshots" "none" RedBelow(2.0), Newest(ETCD_COPIES), "{{host}}";
    "etcd agreement" "none" Table, State(ETCD_AGREEMENT), "";
    "Age of the last proof" "s" RedFrom(648_000.0), SinceNewest(DRILL_LAST_PROVED), "{{host}}";
    "Last drills" "none" Table, State(DRILL_LAST_VERDICT), "";
    "Drill durations" "s" Graph, Newest(DRILL_LAST_DURATION), "{{host}}";
    "Age of the last shipped archive" "s" RedFrom(180_000.0), Since(LAST_SHIPPED), "{{instance}} {{remote}}";
    "Size of the archives" "bytes" Graph, Value(LAST_SHIPPED_SIZE), "{{instance}} {{remote}}";
    "Waiting archives" "none" RedFrom(2.0), Value(ARCHIVES_WAITING), "{{instance}} {{remote}}";
    "Free space of the vault" "percentunit" RedBelow(0.1), Share(VAULT_FREE, VAULT_SIZE), "{{instance}}";
    "Certificates" "s" Table, First(CERTIFICATE_NOT_AFTER), "";
    "Age of the last notification" "s" Graph, Since(NOTIFY_LAST_SUCCESS), "{{instance}} {{target}}";
    "Versions" "none" Table, Value(BUILD_INFO), "";
}
