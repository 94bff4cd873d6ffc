//! Each night one older etcd snapshot per host is verified again, so that a disk that loses data is noticed.

use std::collections::BTreeMap;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::manifest::Manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::signed::Signed;
use nightshift_peers::Signers;
use nightshift_store::verify::{Hashed, verify_set};
use nightshift_store::{StoreError, Vault};

use crate::context::StageContext;

/// Verifies the snapshots of tonight's turn; returns what is wrong with them.
pub async fn scrub(ctx: &StageContext) -> Result<Vec<String>, StoreError> {
    ctx.offload(|ctx| {
        let mut faults = Vec::new();
        let signers = Signers::load(&ctx.settings);
        for set in tonights_turn(&ctx.vault, ctx.night)? {
            let cluster = &ctx.settings.cluster;
            let check = |manifest: &Manifest, bytes: &[u8], signature: Option<&str>| {
                signers.of_set(manifest, bytes, signature)
            };
            let verified = verify_set(cluster, &ctx.vault, &set, &check, &mut Hashed::new())?;
            if let Signed::Unchecked(reason) = &verified.signed {
                tracing::info!("{set} was verified, but not its signature: {reason}");
            }
            if !verified.findings.is_empty() {
                let what = format!("{set} is not as it was published");
                let event = Event::failed(Kind::VerifyFailed, what, verified.findings.join("; "));
                faults.push(event.message.clone());
                ctx.log(Event { path: Some(set.to_string()), ..event });
            }
        }
        Ok(faults)
    })
    .await
}

/// One older etcd set of each host, another one each night.
fn tonights_turn(vault: &Vault, tonight: Night) -> Result<Vec<SetId>, StoreError> {
    let mut older: BTreeMap<HostName, Vec<SetId>> = BTreeMap::new();
    for set in vault.sets()?.into_iter().filter(|set| set.role == Role::Etcd && set.night < tonight) {
        older.entry(set.host.clone()).or_default().push(set);
    }
    Ok(older.into_values().filter_map(|sets| tonight.turn(&sets).cloned()).collect())
}
