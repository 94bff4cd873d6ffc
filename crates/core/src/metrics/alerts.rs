//! Alert rules for Prometheus, on the metrics of the table.

use std::fmt::Write as _;

use super::table::*;

const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;

/// One alert.
#[derive(Debug)]
pub struct Alert {
    pub name: &'static str,
    pub severity: Severity,
    /// What it means and what to do. It may contain Prometheus' templates, such as `{{ $labels.host }}`.
    pub text: &'static str,
    expr: String,
    /// How long the expression must be true.
    lasts: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Critical,
    Warning,
}

use Severity::{Critical, Warning};

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// The rules as a file for Prometheus' `rule_files`.
pub fn rules() -> String {
    let mut text = String::from(
        "# Made from nightshift's table of metrics. To change an alert, copy this file: an upgrade replaces it.\n\
         groups:\n- name: nightshift\n  rules:\n",
    );
    for Alert { name, severity, text: meaning, expr, lasts } in all() {
        let (severity, expr) = (severity.as_str(), expr.replace('\'', "''"));
        let meaning = meaning.replace('\'', "''");
        // Writing into a string cannot fail.
        let _written = write!(
            text,
            "  - alert: {name}\n    expr: '{expr}'\n    for: {lasts}\n    labels:\n      severity: {severity}\n    \
             annotations:\n      summary: '{meaning}'\n"
        );
    }
    text
}

/// All alerts.
pub fn all() -> Vec<Alert> {
    of_hosts().into_iter().chain(of_sets()).chain(of_etcd()).chain(of_places()).collect()
}

fn alert(
    name: &'static str,
    severity: Severity,
    expr: String,
    lasts: &'static str,
    text: &'static str,
) -> Alert {
    Alert { name, severity, text, expr, lasts }
}

fn of_hosts() -> Vec<Alert> {
    let is = |metric: &Metric, value: &str| format!("{} == {value}", metric.name);
    let verdict = |verdict: &str| format!("{}{{verdict=\"{verdict}\"}} == 1", NIGHT_LAST_VERDICT.name);
    vec![
        alert(
            "NightshiftAbsent",
            Critical,
            format!("absent({})", BUILD_INFO.name),
            "30m",
            "No host reports metrics of nightshift. Check that Prometheus scrapes them.",
        ),
        alert(
            "NightshiftDaemonDown",
            Critical,
            is(&DAEMON_UP, "0"),
            "15m",
            "The daemon does not run on {{ $labels.instance }}, so no night opens there. Run: systemctl status nightshift",
        ),
        alert(
            "NightshiftStale",
            Critical,
            is(&STALE, "1"),
            "0m",
            "{{ $labels.instance }}: a night has closed since the last restorable one. Run: nightshift status",
        ),
        alert(
            "NightshiftNightFailed",
            Critical,
            verdict("failed"),
            "0m",
            "{{ $labels.instance }}: the last night failed. Run: nightshift nights",
        ),
        alert(
            "NightshiftNightDegraded",
            Warning,
            verdict("degraded"),
            "0m",
            "{{ $labels.instance }}: something is missing, bad or not shipped in the last night. Run: nightshift nights",
        ),
        alert(
            "NightshiftAttention",
            Warning,
            is(&ATTENTION, "1"),
            "1h",
            "{{ $labels.instance }}: an operator should look. Run: nightshift status",
        ),
        alert(
            "NightshiftConfigRefused",
            Warning,
            is(&CONFIG_RELOAD_OK, "0"),
            "15m",
            "{{ $labels.instance }}: the edited configuration is invalid, and the old one is in force. Run: nightshift check",
        ),
    ]
}

fn of_sets() -> Vec<Alert> {
    vec![
        alert(
            "NightshiftSetOld",
            Critical,
            format!("time() - {} > {}", SET_LAST_GOOD.newest(), 2 * DAY + 2 * HOUR),
            "0m",
            "The newest good {{ $labels.role }} set of {{ $labels.host }} on any host is older than two nights. Check that its daemon runs and that the masters reach it.",
        ),
        alert(
            "NightshiftSetsMissing",
            Warning,
            format!("{} > 0", SETS_MISSING.name),
            "0m",
            "{{ $labels.instance }} lacks {{ $value }} {{ $labels.role }} sets of the last night. Run: nightshift status",
        ),
        alert(
            "NightshiftSetAwaitsAcceptance",
            Warning,
            format!("{} > 0", SETS_AWAITING.name),
            "0m",
            "{{ $labels.instance }} has suspicious or diverged {{ $labels.role }} sets of {{ $value }} hosts. Review them; if they are right: nightshift sets accept SET",
        ),
    ]
}

fn of_etcd() -> Vec<Alert> {
    vec![
        alert(
            "NightshiftEtcdSnapshotOld",
            Critical,
            format!("time() - max without (instance, host) ({}) > {}", SNAPSHOT_TIME.name, DAY + 12 * HOUR),
            "0m",
            "The newest good etcd snapshot of any member is older than 36 hours. Run: nightshift status",
        ),
        alert(
            "NightshiftEtcdDiverged",
            Critical,
            format!("{}{{state=\"diverged\"}} == 1", ETCD_AGREEMENT.name),
            "0m",
            "The members of etcd have different contents at the same revision. Run on a master: nightshift nights NIGHT",
        ),
        alert(
            "NightshiftEtcdFewCopies",
            Critical,
            format!("max without (instance, host) ({}) < 2", ETCD_COPIES.name),
            "12h",
            "No etcd snapshot is on more than one master or remote. Check that the masters pull and ship.",
        ),
        alert(
            "NightshiftDrillFailed",
            Critical,
            format!("{}{{verdict=\"not-restorable\"}} == 1", DRILL_LAST_VERDICT.name),
            "0m",
            "A stored etcd set of {{ $labels.host }} did not restore in a drill. Run: nightshift nights NIGHT",
        ),
        alert(
            "NightshiftDrillOld",
            Warning,
            format!(
                "time() - max without (instance, host) ({}) > {}",
                DRILL_LAST_PROVED.name,
                7 * DAY + 12 * HOUR
            ),
            "0m",
            "No drill has proved for a week that a stored etcd set restores. Run: nightshift status",
        ),
    ]
}

fn of_places() -> Vec<Alert> {
    vec![
        alert(
            "NightshiftNotShipped",
            Critical,
            format!("time() - {} > {}", LAST_SHIPPED.name, 2 * DAY + 2 * HOUR),
            "0m",
            "The newest archive of {{ $labels.instance }} on remote {{ $labels.remote }} is older than two nights. Run: nightshift check --connect",
        ),
        alert(
            "NightshiftArchivesWait",
            Warning,
            format!("{} > 1", ARCHIVES_WAITING.name),
            "6h",
            "{{ $value }} archives of {{ $labels.instance }} are not on remote {{ $labels.remote }}; when there are more than `archive.keep-outbox`, the oldest is removed. Run: nightshift check --connect",
        ),
        alert(
            "NightshiftVaultFull",
            Warning,
            format!("{} / {} < 0.1", VAULT_FREE.name, VAULT_SIZE.name),
            "30m",
            "Less than a tenth of the file system of the vault on {{ $labels.instance }} is free. Enlarge it, or keep fewer nights.",
        ),
        alert(
            "NightshiftCertificateExpires",
            Warning,
            format!("{} - time() < {}", CERTIFICATE_NOT_AFTER.first(), 30 * DAY),
            "0m",
            "{{ $labels.certificate }} of {{ $labels.host }} expires in less than 30 days. Renew it.",
        ),
    ]
}
