//! Whether tonight's sets in this master's vault would give the cluster back: the plan of a restore, made without acting. It reads
//! manifests and small files; the night has verified the rest already.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::record::Step;
use nightshift_core::restorable::Restorable;
use nightshift_core::restore::evidence::{Evidence, FoundSet, configuration};
use nightshift_core::restore::make::make;
use nightshift_core::restore::nightly;
use nightshift_core::role::Role;
use nightshift_store::StoreError;
use nightshift_store::restorable::texts;

use crate::context::StageContext;

/// For a vault on a slow disk: two thousand hosts have some ten thousand small files.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Records whether tonight is restorable.
pub async fn check(ctx: &StageContext) -> Result<(), StoreError> {
    let restorable = ctx.offload(|ctx| plan(ctx).unwrap_or_else(Restorable::unknown)).await;
    ctx.report(Step::Restorable(restorable)).await
}

fn plan(ctx: &StageContext) -> Result<Restorable, String> {
    let settings = &ctx.settings;
    let began = Instant::now();
    let hosts: Vec<_> =
        settings.inventory.hosts().map(|host| (host.name.clone(), host.roles.iter().collect())).collect();
    let unread = |error: StoreError| format!("the plan could not be made: {}", chain(&error));
    let found = ctx.vault.sets_to_restore(&hosts, ctx.night).map_err(unread)?;
    let mut sets = Vec::new();
    for set in found.sets {
        if began.elapsed() > TIMEOUT {
            return Err(
                "the plan could not be made within 10 minutes: the vault's disk is too slow".to_owned()
            );
        }
        let texts = texts(&ctx.vault.directory(&set.manifest.id()), &set.manifest).map_err(unread)?;
        sets.push(FoundSet { manifest: set.manifest, grade: set.grade, texts });
    }
    if !sets.iter().any(|set| configuration(&set.manifest).is_some()) {
        return Err("no set contains nightshift.toml, which names the hosts of the cluster".to_owned());
    }
    let plan = make(&Evidence {
        settings,
        night: ctx.night,
        source: format!("the vault of {}", settings.this),
        signed: String::new(),
        sets,
        survivor: None,
        now: Timestamp::now(),
    });
    Ok(ctx.record.look(|record| {
        let secrets = plan.etcd.as_ref().zip(record).and_then(|(etcd, record)| {
            record.secrets_of(&etcd.copy.set, |host| settings.inventory.has(host, Role::Master))
        });
        nightly::judge(&plan, record, secrets)
    }))
}
