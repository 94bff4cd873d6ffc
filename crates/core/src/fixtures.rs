#![allow(clippy::unwrap_used)]
//! Values that tests start from: a host, settings with a night that is open at `now`, a manifest, a proof.

#[cfg(test)]
pub mod pki;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::access::Access;
use crate::digest::Digest;
use crate::etcd_facts::{EtcdFacts, SnapshotFacts};
use crate::inventory::{Host, Inventory};
use crate::manifest::{self, Item, ItemKind, Machine, Manifest, Owner, SNAPSHOTS};
use crate::night::NightWindow;
use crate::outcome::Grade;
use crate::proof::{self, DrillReport, DrillVerdict, Proof, Statement};
use crate::record::Packed;
use crate::retention::Keep;
use crate::role::{Role, Roles};
use crate::set_path::SetId;
use crate::settings::{
    ArchiveSettings, Compression, DrillSettings, EtcdData, EtcdMembers, EtcdSettings, EtcdTools,
    MetricsSettings, Paths, Remote, Settings, SshSettings, StageSettings, VaultSettings,
};
use crate::stage::PerStage;
use crate::status::{self, Report};
use crate::text::{Lines, Text};
use crate::tolerance::Tolerance;

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
fn minute(now: Timestamp, from_now: i64) -> Time {
    let at = now + SignedDuration::from_mins(from_now);
    let time = at.to_zoned(TimeZone::UTC).time();
    Time::constant(time.hour(), time.minute(), 0, 0)
}

pub fn settings(dir: &Path, hosts: Vec<Host>, now: Timestamp) -> Settings {
    let due = minute(now, -30);
    let at = format!("{} {} * * *", due.minute(), due.hour());
    let keep = Keep { nights: 2, weeks: 0, months: 0 };
    Settings {
        cluster: "prod".parse().unwrap(),
        this: "m1".parse().unwrap(),
        inventory: Inventory::new(hosts),
        window: NightWindow { opens: minute(now, -60), closes: minute(now, 120), zone: TimeZone::UTC },
        trust_clock: true,
        tolerate: Tolerance { nodes: 0, nights: 3 },
        stages: PerStage::from_fn(|_| StageSettings {
            at: at.parse().unwrap(),
            until: None,
            parallel: 2,
            retries: 0,
            backoff: Duration::from_millis(1),
            jitter: Duration::ZERO,
        }),
        files: BTreeMap::new(),
        etcd: etcd_settings(dir.join("etcd.conf")),
        drill: DrillSettings {
            hosts: Vec::new(),
            etcd_tools: EtcdTools::Auto,
            scratch: None,
            rate: 1 << 30,
            deadline: Duration::from_secs(60),
        },
        vault: VaultSettings {
            path: dir.join("vault"),
            keep,
            keep_etcd: keep,
            min_free: 0,
            most_per_node: u64::MAX,
            most_per_master: u64::MAX,
        },
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
            pull_rate: None,
        },
        metrics: MetricsSettings::default(),
        notify: Vec::new(),
        hooks: Vec::new(),
        paths: Paths { config: dir.join("etc"), state: dir.join("state"), run: dir.join("run") },
    }
}

/// A remote without any archive.
pub fn remote(name: &str, address: &str, port: u16, path: &str) -> Remote {
    Remote {
        name: name.parse().unwrap(),
        user: "vault".into(),
        address: address.into(),
        port,
        path: path.into(),
        identity: "/secret/identity".into(),
        keep: Keep { nights: 3, weeks: 0, months: 0 },
        prune: false,
        connections: 1,
        rate: None,
    }
}

/// An archive with these etcd sets.
pub fn packed(archive: &str, etcd: Vec<SetId>) -> Packed {
    Packed {
        archive: archive.to_owned(),
        bytes: 1,
        sha256: Digest::of(b""),
        sets: 1,
        etcd,
        missing: Vec::new(),
        encrypted: false,
    }
}

/// Nothing named, so that all is read from `conf` or a static pod.
pub fn etcd_settings(conf: std::path::PathBuf) -> EtcdSettings {
    EtcdSettings {
        endpoint: None,
        ca: None,
        cert: None,
        key: None,
        compression: Compression::Gzip,
        stall: Duration::from_secs(5),
        deadline: Duration::from_secs(5),
        conf,
        data: EtcdData::Auto,
        members: EtcdMembers::All,
        slot: Duration::ZERO,
        suspicious_below: 50,
        restore_tools: None,
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
        system: None,
        grade,
        notes: Lines::default(),
        vanished: Lines::default(),
        etcd: None,
        items,
    }
}

/// A file of root's with this content, as a manifest lists it.
pub fn file(path: &str, source: &str, content: &[u8]) -> Item {
    Item {
        path: path.into(),
        source: source.into(),
        kind: ItemKind::File { size: content.len() as u64, sha256: Digest::of(content) },
        owner: Owner { uid: 0, gid: 0, user: None, group: None },
        mode: 0o600,
        modified: Timestamp::UNIX_EPOCH,
        selinux: None,
        access: Access::default(),
        changed: false,
    }
}

/// The content of the snapshot in [`etcd_manifest`], of 9 entries at revision 50.
pub const SNAPSHOT: &[u8] = b"snapshot";

/// Of the member `a` of the cluster `c1`.
pub fn etcd_facts() -> EtcdFacts {
    EtcdFacts {
        cluster_id: "c1".into(),
        member_id: "a".into(),
        member_name: "a".into(),
        revision: 50,
        raft_term: 2,
        version: "3.4.23".into(),
        learner: false,
        leader: false,
        alarms: Lines::default(),
        raw_size: 4128,
        raw_sha256: Digest::of(b""),
        checked: Text::default(),
        snapshot: Some(SnapshotFacts { revision: 50, compacted: None, entries: 9, revisions: 9, size: 4096 }),
        agreement: None,
        data: None,
        service: None,
        members: Vec::new(),
    }
}

/// A manifest of an etcd set with a snapshot.
pub fn etcd_manifest(set: &SetId, grade: Grade, facts: EtcdFacts) -> Manifest {
    let item = file(SNAPSHOTS[0], "https://e1:2379", SNAPSHOT);
    Manifest { etcd: Some(facts), ..manifest(set, grade, vec![item]) }
}

/// What a drill on `e2` said of a set.
pub fn proof(set: &SetId, manifest: Digest, verdict: DrillVerdict) -> Proof {
    let report = DrillReport {
        verdict,
        reason: None,
        copy: "the vault of e2".into(),
        tools: Text::default(),
        programs: Vec::new(),
        compared: Vec::new(),
        secrets: None,
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

/// The status of a host without a night, with a daemon that runs.
pub fn report(at: Timestamp) -> Report {
    Report {
        format: status::FORMAT,
        cluster: "prod".parse().unwrap(),
        host: "m1".parse().unwrap(),
        roles: "master".into(),
        daemon: Some("1.0.0".into()),
        at,
        night: None,
        before: None,
        before_night: None,
        last_complete: None,
        last_restorable: None,
        restorable: None,
        stale: None,
        held: None,
        warnings: Vec::new(),
        awaiting: Vec::new(),
        notes: Vec::new(),
        opens: at,
        vault: None,
        remotes: Vec::new(),
        facts: None,
    }
}
