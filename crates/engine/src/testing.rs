#![allow(clippy::unwrap_used)]
//! A host in a scratch folder, with a night that is open now.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nightshift_core::digest::Digest;
use nightshift_core::inventory::{Host, Inventory};
use nightshift_core::manifest::{self, Item, Machine, Manifest};
use nightshift_core::night::{Night, NightWindow};
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{self, DrillReport, DrillVerdict, Proof, Statement};
use nightshift_core::record::{Step, Why};
use nightshift_core::retention::Keep;
use nightshift_core::role::{Role, Roles};
use nightshift_core::set_path::SetId;
use nightshift_core::settings::{
    ArchiveSettings, Compression, DrillSettings, EtcdData, EtcdMembers, EtcdSettings, Paths, Settings,
    SshSettings, StageSettings, VaultSettings,
};
use nightshift_core::stage::{PerStage, Stage};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::board::Board;
use crate::context::StageContext;
use crate::record_file::Records;
use crate::store::Vault;

pub fn host(name: &str, role: Role) -> Host {
    Host {
        name: name.parse().unwrap(),
        roles: Roles::NONE.with(role),
        address: "127.0.0.1".into(),
        port: 1,
        user: "peer".into(),
        agentless: false,
        expected: true,
        vault: "/vault".into(),
    }
}

/// A wall-clock time so many minutes from now, at a full minute.
fn minute(from_now: i64) -> Time {
    let at = Timestamp::now() + SignedDuration::from_mins(from_now);
    let time = at.to_zoned(TimeZone::UTC).time();
    Time::constant(time.hour(), time.minute(), 0, 0)
}

pub fn settings(dir: &Path, hosts: Vec<Host>) -> Settings {
    let due = minute(-30);
    let at = format!("{} {} * * *", due.minute(), due.hour());
    let keep = Keep { nights: 2, weeks: 0, months: 0 };
    std::fs::create_dir_all(dir.join("vault")).unwrap();
    Settings {
        cluster: "prod".parse().unwrap(),
        this: "m1".parse().unwrap(),
        inventory: Inventory::new(hosts),
        window: NightWindow { opens: minute(-60), closes: minute(120), zone: TimeZone::UTC },
        trust_clock: true,
        stages: PerStage::from_fn(|_| StageSettings {
            at: at.parse().unwrap(),
            until: None,
            parallel: 2,
            retries: 0,
            backoff: Duration::from_millis(1),
            jitter: Duration::ZERO,
        }),
        files: BTreeMap::new(),
        etcd: EtcdSettings {
            endpoint: None,
            ca: None,
            cert: None,
            key: None,
            compression: Compression::Gzip,
            stall: Duration::from_secs(5),
            deadline: Duration::from_secs(5),
            conf: dir.join("etcd.conf"),
            data: EtcdData::Auto,
            members: EtcdMembers::All,
            slot: Duration::ZERO,
            suspicious_below: 50,
        },
        drill: DrillSettings {
            hosts: Vec::new(),
            etcd_tools: None,
            scratch: dir.join("scratch"),
            rate: 1 << 30,
            deadline: Duration::from_secs(60),
        },
        vault: VaultSettings { path: dir.join("vault"), keep, keep_etcd: keep, min_free: 0 },
        archive: ArchiveSettings {
            compression: Compression::Gzip,
            recipients: Vec::new(),
            plaintext: true,
            keep_sent: 1,
            keep_outbox: 3,
        },
        remotes: Vec::new(),
        ssh: SshSettings {
            identity: dir.join("id"),
            known_hosts: dir.join("known_hosts"),
            host_key: dir.join("host_key"),
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
        },
        paths: Paths { config: dir.join("etc"), state: dir.join("state"), run: dir.join("run") },
    }
}

/// What a stage of this night is given; its record is open.
pub fn context(settings: Settings, night: &str, stage: Stage) -> StageContext {
    let night: Night = night.parse().unwrap();
    let record = Records::new(settings.paths.records()).open(night).unwrap();
    record
        .note(Step::Opened {
            format: 1,
            night,
            host: settings.this.clone(),
            version: "0".into(),
            closes: Timestamp::now() + SignedDuration::from_hours(2),
            expected: vec![],
            stages: vec![stage],
            remotes: vec![],
        })
        .unwrap();
    StageContext {
        night,
        stage,
        attempt: 1,
        why: Why::Due,
        at: Timestamp::now(),
        until: Timestamp::now() + SignedDuration::from_mins(10),
        peers: Vec::new(),
        vault: Vault::new(&settings.vault.path),
        record,
        audit: Audit::new(settings.cluster.clone(), settings.this.clone()),
        board: Board::default(),
        stop: CancellationToken::new(),
        settings: Arc::new(settings),
    }
}

/// A manifest of a set that its own host made.
pub fn manifest(set: &SetId, grade: Grade, items: Vec<Item>) -> Manifest {
    Manifest {
        format: manifest::FORMAT,
        cluster: "prod".parse().unwrap(),
        host: set.host.clone(),
        role: set.role,
        night: set.night,
        attempt: set.attempt,
        made_by: set.host.clone(),
        made_at: Timestamp::UNIX_EPOCH,
        made_with: "0".into(),
        machine: Machine::default(),
        grade,
        notes: Vec::new(),
        vanished: Vec::new(),
        etcd: None,
        items,
    }
}

/// What a drill on `e2` said of a set.
pub fn proof(set: &SetId, manifest: Digest, verdict: DrillVerdict) -> Proof {
    let report = DrillReport {
        verdict,
        reason: None,
        copy: "the vault of e2".into(),
        tools: String::new(),
        compared: Vec::new(),
        steps: Vec::new(),
    };
    Proof {
        format: proof::FORMAT,
        cluster: "prod".parse().unwrap(),
        set: set.clone(),
        manifest,
        by: "e2".parse().unwrap(),
        at: Timestamp::UNIX_EPOCH,
        with: "0".into(),
        statement: Statement::Drill(report),
    }
}
