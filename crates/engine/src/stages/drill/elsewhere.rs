//! Which of tonight's etcd sets the other masters hold too, manifest for manifest: copies that `status` counts.

use std::collections::BTreeSet;

use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::record::Step;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use crate::context::StageContext;
use crate::stages::held;
use crate::stages::pull::{Source, manifest_at};
use nightshift_peers as peers;
use nightshift_peers::{Credentials, CredentialsError, ReachError};
use nightshift_store::StoreError;
use nightshift_store::offload;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks into each other master's vault, and records which of the sets here lie there. One that can't be reached is
/// named by the stages that need it.
pub async fn look(ctx: &StageContext) -> Result<(), Error> {
    let held = held::etcd_sets(ctx).await?;
    if held.is_empty() {
        return Ok(());
    }
    let credentials = Credentials::of_peers(&ctx.settings).await?;
    for master in ctx.settings.peers(Role::Master) {
        match same(ctx, master, &held, &credentials).await {
            Ok(sets) => note(ctx, master, sets).await?,
            Err(error) => tracing::debug!("{}: what it holds: {}", master.name, chain(&error)),
        }
    }
    Ok(())
}

async fn same(
    ctx: &StageContext,
    master: &Host,
    held: &[SetId],
    credentials: &Credentials,
) -> Result<BTreeSet<SetId>, Error> {
    let (session, sftp) = credentials.open_sftp(&peers::endpoint(master)).await?;
    let vault = master.vault.to_string_lossy().into_owned();
    let source =
        Source { sftp: &sftp, vault: &vault, host: &master.name, known_hosts: &credentials.known_hosts };
    let mut same = BTreeSet::new();
    for set in held {
        let theirs = manifest_at(source, set).await.map_err(ReachError::from)?;
        let (vault, of) = (ctx.vault.clone(), set.clone());
        if theirs == Some(offload::run(move || vault.manifest_digest(&of)).await?) {
            same.insert(set.clone());
        }
    }
    session.close().await;
    Ok(same)
}

/// Records what is new.
async fn note(ctx: &StageContext, master: &Host, sets: BTreeSet<SetId>) -> Result<(), StoreError> {
    let known = ctx.record.look(|record| {
        let seen = record.and_then(|record| record.seen.get(&master.name));
        sets.is_empty() || seen.is_some_and(|seen| sets.is_subset(seen))
    });
    if known {
        return Ok(());
    }
    ctx.note(Step::Seen { master: master.name.clone(), sets }).await
}
