//! Each night one older etcd snapshot per host is verified again, so that a disk that loses data is noticed.

use std::collections::BTreeMap;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
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

/// Verifies the snapshots of tonight's turn; returns what is wrong with them, and which of them cannot be read.
pub async fn scrub(ctx: &StageContext) -> Result<Vec<String>, StoreError> {
    ctx.offload(|ctx| {
        let signers = Signers::load(&ctx.settings);
        let sets = tonights_turn(&ctx.vault, ctx.night)?;
        // One set that cannot be read does not keep the others from being verified.
        Ok(sets
            .iter()
            .filter_map(|set| scrub_set(ctx, &signers, set).unwrap_or_else(|error| Some(chain(&error))))
            .collect())
    })
    .await
}

/// Verifies a set, and keeps what is wrong with this host's copy beside it, so that it no longer counts as one here. Returns the
/// fault.
fn scrub_set(ctx: &StageContext, signers: &Signers<'_>, set: &SetId) -> Result<Option<String>, StoreError> {
    let check = |manifest: &Manifest, bytes: &[u8], signature: Option<&str>| {
        signers.of_set(manifest, bytes, signature)
    };
    let verified = verify_set(&ctx.settings.cluster, &ctx.vault, set, &check, &mut Hashed::new())?;
    if let Signed::Unchecked(reason) = &verified.signed {
        tracing::info!("{set} was verified, but not its signature: {reason}");
    }
    let fault = (!verified.findings.is_empty()).then(|| {
        let what = format!("{set} is not as it was published");
        let event = Event::failed(Kind::VerifyFailed, what, verified.findings.join("; "));
        let fault = event.message.clone();
        ctx.log(Event { path: Some(set.to_string()), ..event });
        fault
    });
    if verified.damage.is_empty() {
        ctx.vault.clear_damage(set)?;
    } else {
        ctx.vault.mark_damaged(set, &verified.damage)?;
    }
    Ok(fault)
}

/// One older etcd set of each host, another one each night.
fn tonights_turn(vault: &Vault, tonight: Night) -> Result<Vec<SetId>, StoreError> {
    let mut older: BTreeMap<HostName, Vec<SetId>> = BTreeMap::new();
    // The prune before reports what cannot be listed.
    for set in vault.list()?.sets.into_iter().filter(|set| set.role == Role::Etcd && set.night < tonight) {
        older.entry(set.host.clone()).or_default().push(set);
    }
    Ok(older.into_values().filter_map(|sets| tonight.turn(&sets).cloned()).collect())
}
