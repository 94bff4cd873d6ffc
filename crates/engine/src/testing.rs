#![allow(clippy::unwrap_used)]
//! A host in a scratch directory, with a night that is open now.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
pub use nightshift_core::fixtures::host;
use nightshift_core::fixtures::{self, SNAPSHOT, etcd_facts, etcd_manifest};
use nightshift_core::inventory::Host;
use nightshift_core::manifest;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{Proof, StoredProof};
use nightshift_core::record::{StartReason, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_store::Vault;
use nightshift_store::records::Records;

use crate::audit::Audit;
use crate::board::Board;
use crate::context::StageContext;
use crate::once::Once;
use crate::stop::Stop;

pub fn settings(dir: &Path, hosts: Vec<Host>) -> Settings {
    std::fs::create_dir_all(dir.join("vault")).unwrap();
    fixtures::settings(dir, hosts, Timestamp::now())
}

/// Publishes a set. One of role etcd has a file in place of a snapshot.
pub fn publish(vault: &Vault, set: &SetId, grade: Grade) {
    let partial = vault.begin(set).unwrap();
    let manifest = if set.role == Role::Etcd {
        partial.write(manifest::SNAPSHOTS[0], SNAPSHOT).unwrap();
        etcd_manifest(set, grade, etcd_facts())
    } else {
        fixtures::manifest(set, grade, Vec::new())
    };
    partial.publish(&manifest.encode().unwrap(), None).unwrap();
}

/// A proof without a signature.
pub fn put_proof(vault: &Vault, proof: Proof) {
    vault.put_proof(&StoredProof::new(proof, |_| None).unwrap()).unwrap();
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
            restored: None,
            backup: None,
            tolerate: None,
        })
        .unwrap();
    StageContext {
        night,
        stage,
        attempt: 1,
        why: StartReason::Due,
        at: Timestamp::now(),
        until: Timestamp::now() + SignedDuration::from_mins(10),
        peers: Vec::new(),
        vault: Vault::of(&settings),
        record,
        audit: Audit::new(settings.cluster.clone(), settings.this.clone()),
        board: Board::default(),
        again: false,
        once: Once::default(),
        before_night: Arc::default(),
        stop: Stop::default(),
        pulls: Default::default(),
        is_over: Arc::default(),
        settings: Arc::new(settings),
    }
}
