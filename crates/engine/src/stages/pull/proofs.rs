//! Proofs from another host's vault: only those that it states itself, and only of what is held here.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::name::HostName;
use nightshift_core::proof::{MAX_BYTES, Proof, ProofError};
use nightshift_core::record::ProofReport;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_ssh::SftpError;

use super::fetch::Source;
use crate::context::StageContext;
use crate::stages::{drill, held};
use nightshift_peers::ReachError;
use nightshift_store::offload;
use nightshift_store::{Judge, StoreError};

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
        let bytes = match source.sftp.read_small(&format!("{folder}/{name}"), MAX_BYTES as usize).await {
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
    let (vault, set, from, bytes) = (ctx.vault.clone(), set.clone(), source.host.clone(), bytes.to_owned());
    offload::run(move || {
        let proof = accepted(&bytes, &from, &set, vault.manifest_digest(&set)?)?;
        Ok(vault.put_proof(&proof)?)
    })
    .await
}

/// A proof that its prover hands out itself, and that is of what is held here.
fn accepted(bytes: &[u8], from: &HostName, set: &SetId, manifest: Digest) -> Result<Proof, ProofError> {
    let proof = Proof::decode(bytes)?;
    if proof.by != *from {
        return Err(ProofError::OtherProver(proof.by));
    }
    proof.expect(set, manifest).map(|()| proof)
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

/// Looks for a person's word on the etcd sets here that wait for one: it may have been given on the source's host.
pub async fn copy_accepted(ctx: &StageContext, source: Source<'_>) -> Result<(), SftpOrStore> {
    let (settings, vault) = (ctx.settings.clone(), ctx.vault.clone());
    let waiting = offload::run(move || {
        let mut judge = Judge::new(&vault);
        let mut waiting = Vec::new();
        for host in settings.inventory.with_role(Role::Etcd) {
            for night in vault.nights_of(&host.name)? {
                let mut sets = vault.sets_of(&host.name, night)?;
                sets.retain(|set| set.role == Role::Etcd);
                sets.retain(|set| judge.judge(set).is_ok_and(|judged| judged.grade.awaits_acceptance()));
                waiting.extend(sets);
            }
        }
        Ok::<_, StoreError>(waiting)
    });
    for set in waiting.await?.iter().rev().take(MOST_READ) {
        copy_proofs(ctx, source, set).await?;
        let (vault, of) = (ctx.vault.clone(), set.clone());
        let judged = offload::run(move || vault.judge(&of)).await?;
        if judged.accepted {
            ctx.tell(Event {
                peer: Some(source.host.clone()),
                role: Some(set.role),
                path: Some(set.to_string()),
                outcome: Some("accepted"),
                ..Event::info(Kind::SetAccepted, format!("{set} was accepted on {}", source.host))
            });
        }
    }
    held::judge_again(ctx).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use nightshift_core::proof::DrillVerdict;

    #[test]
    fn a_proof_is_taken_from_its_prover_alone_and_for_what_is_held_here() {
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let held = Digest::of(b"manifest");
        let bytes = testing::proof(&set, held, DrillVerdict::Proved).encode().unwrap();
        let from = |host: &str| accepted(&bytes, &host.parse().unwrap(), &set, held);
        assert!(from("e2").unwrap().is_proved());
        assert!(matches!(from("m9"), Err(ProofError::OtherProver(_))), "passed on by somebody else");
        let of_another = accepted(&bytes, &"e2".parse().unwrap(), &set, Digest::of(b"another"));
        assert!(matches!(of_another, Err(ProofError::OtherContent)));
    }
}
