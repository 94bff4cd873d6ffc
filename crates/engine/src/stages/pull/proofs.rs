//! Proofs from another host's vault: only those that it states itself, and only of what is held here.

use nightshift_core::proof::{MOST_BYTES, Proof, ProofError};
use nightshift_core::record::ProofReport;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_ssh::SftpError;

use super::fetch::Source;
use crate::context::{StageContext, chain};
use crate::offload;
use crate::peer::ReachError;
use crate::stages::drill;
use crate::store::StoreError;

/// The most entries that a folder of proofs is believed to have, and of those the newest are read.
const MOST_ENTRIES: usize = 200;
const MOST_READ: usize = 20;
/// For so many nights a proof that came late is still looked for.
const NIGHTS: usize = 7;

/// Copies what the source states of a set and is not here yet; what it has copied itself is not asked of it.
pub async fn copy_proofs(ctx: &StageContext, source: Source<'_>, set: &SetId) -> Result<(), ReachError> {
    let folder = format!("{}/{}", source.vault, set.proofs().display());
    let listing = match source.sftp.list(&folder, MOST_ENTRIES).await {
        Ok(listing) => listing,
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let own = format!("{}-", source.host);
    let here = ctx.vault.root().join(set.proofs());
    let mut names: Vec<String> = listing.entries.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.starts_with(&own) && name.ends_with(".json") && !here.join(name).exists());
    names.sort();
    for name in names.iter().rev().take(MOST_READ) {
        let bytes = match source.sftp.read_small(&format!("{folder}/{name}"), MOST_BYTES as usize).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_connection() => return Err(error.into()),
            Err(error) => {
                refused(source, set, name, &error);
                continue;
            }
        };
        if let Err(error) = take(ctx, source, set, &bytes).await {
            refused(source, set, name, &error);
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn take(ctx: &StageContext, source: Source<'_>, set: &SetId, bytes: &[u8]) -> Result<(), TakeError> {
    let proof = Proof::decode(bytes)?;
    if proof.by != *source.host {
        return Err(ProofError::OtherProver(proof.by).into());
    }
    let (vault, set) = (ctx.vault.clone(), set.clone());
    offload::run(move || {
        proof.expect(&set, vault.manifest_digest(&set)?)?;
        Ok(vault.put_proof(&proof)?)
    })
    .await
}

fn refused(source: Source<'_>, set: &SetId, name: &str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!("{}: its proof {name} of {set} is refused: {}", source.host, chain(error));
}

/// Looks for proofs of earlier nights that came after the waiting for them was over.
pub async fn copy_late(ctx: &StageContext, source: Source<'_>) -> Result<(), SftpOrStore> {
    for set in unproved(ctx, source).await? {
        copy_proofs(ctx, source, &set).await?;
        let (vault, of) = (ctx.vault.clone(), set.clone());
        let proofs = offload::run(move || vault.proofs(&of)).await?;
        for report in proofs.iter().filter(|proof| proof.by == *source.host).filter_map(ProofReport::of) {
            // Its night is closed: the journal alone can tell.
            ctx.tell(drill::event(ctx, &report));
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum SftpOrStore {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The etcd sets held here of the last nights in which it was the source's turn, and of which it has stated nothing.
async fn unproved(ctx: &StageContext, source: Source<'_>) -> Result<Vec<SetId>, StoreError> {
    let (settings, vault, tonight) = (ctx.settings.clone(), ctx.vault.clone(), ctx.night);
    let prover = source.host.clone();
    offload::run(move || {
        let mut unproved = Vec::new();
        for host in settings.inventory.with_role(Role::Etcd) {
            let earlier = vault.nights_of(&host.name)?.into_iter().rev().filter(|night| *night < tonight);
            for night in earlier.take(NIGHTS).filter(|night| settings.drill.prover(*night) == Some(&prover)) {
                for set in vault.sets_of(&host.name, night)?.into_iter().filter(|set| set.role == Role::Etcd)
                {
                    if vault.proofs(&set)?.iter().all(|proof| proof.by != prover) {
                        unproved.push(set);
                    }
                }
            }
        }
        Ok(unproved)
    })
    .await
}
