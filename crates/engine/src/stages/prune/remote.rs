//! Pruning a remote: only archives of this master that its own records list as shipped, and never the newest two.

use std::collections::{BTreeMap, BTreeSet};

use nightshift_core::archive::ArchiveName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::record::Step;
use nightshift_core::retention::{Candidate, Policy, decide};
use nightshift_core::settings::Remote;
use nightshift_peers as peers;
use nightshift_peers::{Credentials, CredentialsError, ReachError};
use nightshift_ssh::SftpError;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, offload};

use crate::context::StageContext;

/// The newest archives on a remote stay, even where the policy drops them.
const MIN_KEPT: usize = 2;
const MAX_ENTRIES: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn prune(ctx: &StageContext, remote: &Remote) -> Result<(), Error> {
    let shipped = shipped(ctx, remote).await?;
    let credentials = Credentials::of_remote(&ctx.settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&peers::remote_endpoint(remote)).await?;
    let listing = sftp.list(&remote.path, MAX_ENTRIES).await?;
    let mut there: Vec<ArchiveName> = listing
        .entries
        .iter()
        .filter_map(|entry| entry.name.parse().ok())
        .filter(|name: &ArchiveName| name.host == ctx.settings.this && shipped.contains(&name.to_string()))
        .collect();
    there.sort_by_key(|name| (name.date, name.extra, name.edition));
    for name in dropped(ctx, remote, &there) {
        let path = format!("{}/{name}", remote.path.trim_end_matches('/'));
        let reason = format!("older than the policy keeps ({})", remote.keep);
        ctx.report(Step::Pruned { what: format!("{}:{path}", remote.name), reason }).await?;
        sftp.remove(&path).await?;
        for extension in ["sha256", "sig"] {
            match sftp.remove(&format!("{path}.{extension}")).await {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
    }
    session.close().await;
    Ok(())
}

/// The archives that were verified on this remote, according to the records.
async fn shipped(ctx: &StageContext, remote: &Remote) -> Result<BTreeSet<String>, StoreError> {
    let (records, remote) = (Records::new(ctx.settings.paths.records()), remote.name.clone());
    offload::run(move || {
        let mut shipped = BTreeSet::new();
        for night in records.nights()? {
            let Some(record) = records.read(night)? else { continue };
            shipped.extend(
                record
                    .shipped
                    .into_iter()
                    .filter(|shipment| shipment.remote == remote && shipment.verified.is_some())
                    .map(|shipment| shipment.archive),
            );
        }
        Ok(shipped)
    })
    .await
}

/// What the policy drops: the same policy as for sets, by the archives' dates.
fn dropped<'a>(ctx: &StageContext, remote: &Remote, there: &'a [ArchiveName]) -> Vec<&'a ArchiveName> {
    let older = &there[..there.len().saturating_sub(MIN_KEPT)];
    let candidates: Vec<Candidate<()>> = there
        .iter()
        .map(|name| Candidate {
            host: name.host.clone(),
            series: (),
            night: Night { date: name.date, extra: name.extra },
            attempt: name.edition,
            keep: remote.keep,
            grade: Grade::Good,
            proved: false,
            accepted: false,
        })
        .collect();
    let policy = Policy { today: ctx.night.date, nights: &BTreeMap::new(), retired: &BTreeSet::new() };
    let decisions = decide(&candidates, &policy);
    older.iter().zip(&decisions).filter(|(_, decision)| !decision.keep).map(|(name, _)| name).collect()
}
