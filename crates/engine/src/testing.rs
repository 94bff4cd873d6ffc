#![allow(clippy::unwrap_used)]
//! A host in a scratch directory, with a night that is open now.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use nightshift_core::fixtures;
pub use nightshift_core::fixtures::{host, manifest};
use nightshift_core::inventory::Host;
use nightshift_core::night::Night;
use nightshift_core::record::{StartReason, Step};
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_store::Vault;
use nightshift_store::records::Records;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::board::Board;
use crate::context::StageContext;

pub fn settings(dir: &Path, hosts: Vec<Host>) -> Settings {
    std::fs::create_dir_all(dir.join("vault")).unwrap();
    fixtures::settings(dir, hosts, Timestamp::now())
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
        why: StartReason::Due,
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
