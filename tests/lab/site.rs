//! A lab with nightshift on it, and what a test asks of its hosts.

use std::time::Duration;

use kit::etcd::Release;
use kit::lab::cmd::poll;
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, AgeIdentity};
use kit::lab::{Host, Lab, Role, Schedule, Topology, openshift, package};
use serde_json::Value;

pub struct Site {
    pub lab: Lab,
    pub key: AgeIdentity,
}

impl Site {
    /// Hosts with their files, their etcd, the package, its config, keys and pins; nothing of it started.
    pub fn up(name: &str, topology: &Topology, schedule: &Schedule) -> Self {
        Self::on_etcd(&Release::default(), name, topology, schedule)
    }

    /// The same with an etcd of this release.
    pub fn on_etcd(release: &Release, name: &str, topology: &Topology, schedule: &Schedule) -> Self {
        let deb = package().unwrap();
        let lab = Lab::up(name, topology).unwrap();
        openshift::lay(&lab).unwrap();
        if !lab.with(Role::Etcd).is_empty() {
            EtcdCluster::found_of(&lab, release).unwrap();
        }
        let key = AgeIdentity::create(&lab).unwrap();
        let site = Self { lab, key };
        nightshift::set_up(&site.lab, &deb, &site.config(schedule)).unwrap();
        site
    }

    pub fn config(&self, schedule: &Schedule) -> String {
        nightshift::config_text(&self.lab, schedule, std::slice::from_ref(&self.key.recipient))
    }

    pub fn host(&self, name: &str) -> &Host {
        self.lab.host(name)
    }
}

/// What `nightshift status` says, and its exit code.
pub struct Status {
    pub exit: i32,
    pub report: Value,
}

impl Status {
    pub fn of(host: &Host) -> Self {
        let output = host.try_run("nightshift status --json").unwrap();
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {} {}", host.name, output.text(), output.stderr));
        Self { exit: output.status, report }
    }

    pub fn night(&self) -> &str {
        self.text("/night/record/night")
    }

    pub fn verdict(&self) -> &str {
        self.text("/night/verdict")
    }

    pub fn reasons(&self) -> String {
        self.report.pointer("/night/reasons").map(ToString::to_string).unwrap_or_default()
    }

    fn text(&self, pointer: &str) -> &str {
        self.report.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Waits until a stage has ended for good on a host, and gives its outcome.
pub fn wait_stage(host: &Host, stage: &str, within: Duration) -> String {
    let of_stage = format!("NIGHTSHIFT_STAGE={stage}");
    let matches = ["NIGHTSHIFT_EVENT=stage-finished", "NIGHTSHIFT_EVENT=stage-missed", of_stage.as_str()];
    let entry = host
        .wait_journal(&matches, within, |entry| entry.field("NIGHTSHIFT_OUTCOME") != Some("interrupted"))
        .unwrap_or_else(|error| panic!("{error}\n{}", story(host)));
    entry.field("NIGHTSHIFT_OUTCOME").unwrap_or_default().to_owned()
}

/// Waits until a host says that nothing is left to do tonight.
pub fn wait_settled(host: &Host, within: Duration) -> Status {
    let settled = poll(&format!("the end of the night's work on {}", host.name), within, || {
        std::thread::sleep(Duration::from_millis(500));
        let status = Status::of(host);
        match status.report.pointer("/night/settled") {
            Some(Value::Bool(true)) => Ok(status),
            other => Err(format!("settled: {other:?}")),
        }
    });
    settled.unwrap_or_else(|error| panic!("{error}\n{}", story(host)))
}

/// What a host's daemon and the units that it has started have said, for whoever reads a failed test.
pub fn story(host: &Host) -> String {
    host.run(
        "journalctl --unit=nightshift --unit='nightshift-*' --output=short-precise --no-pager --lines=60",
    )
    .map_or_else(|error| error.to_string(), |output| format!("{}:\n{}", host.name, output.text()))
}

/// The set's files with their hashes, as `sha256sum` prints them, of everything in the vault that makers publish.
pub fn vault_hashes(host: &Host) -> String {
    host.run_for(
        "cd /var/lib/nightshift/vault && find . -type f ! -name now.json ! -name .vault | sort | xargs -d '\\n' sha256sum",
        Duration::from_secs(60),
    )
    .unwrap()
    .text()
}
