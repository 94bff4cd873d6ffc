//! Pruning a remote: only archives of this master that its own records list as shipped, and never the newest two.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nightshift_core::archive::ArchiveName;
use nightshift_core::chain;
use nightshift_core::name::RemoteName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::record::Step;
use nightshift_core::retention::{Candidate, Policy, decide};
use nightshift_core::settings::Remote;
use nightshift_peers::{Credentials, remote_endpoint};
use nightshift_store::StoreError;
use nightshift_store::records::Records;

use crate::context::StageContext;
use crate::stages::error::StageError;

/// The newest archives on a remote stay, even where the policy drops them.
const MIN_KEPT: usize = 2;
const MAX_ENTRIES: usize = 100_000;

pub async fn prune(ctx: &StageContext, remote: &Remote) -> Result<(), StageError> {
    let name = remote.name.clone();
    let shipped = ctx.offload(move |ctx| shipped(ctx, &name)).await?;
    let credentials = Credentials::of_remote(&ctx.settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    let listing = sftp.list(&remote.path, MAX_ENTRIES).await?;
    let mut there: Vec<ArchiveName> = listing
        .entries
        .iter()
        .filter_map(|entry| entry.name.parse().ok())
        .filter(|name: &ArchiveName| name.host == ctx.settings.this && shipped.contains(&name.to_string()))
        .collect();
    there.sort_by_key(|name| (name.date, name.extra, name.edition));
    for name in dropped(ctx, remote, &there) {
        let path = remote.file(&name.to_string());
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
fn shipped(ctx: &StageContext, remote: &RemoteName) -> Result<BTreeSet<String>, StoreError> {
    let records = Records::new(ctx.settings.paths.records());
    let mut shipped = BTreeSet::new();
    for night in records.nights()? {
        // An archive that only an unreadable record lists as shipped is kept.
        let record = records.read(night).unwrap_or_else(|error| {
            tracing::warn!("{}", chain(&error));
            None
        });
        let verified = record.iter().flat_map(|record| record.verified_on(remote));
        shipped.extend(verified.map(|shipment| shipment.name_there().to_owned()));
    }
    Ok(shipped)
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
            awaits: false,
            accepted: false,
        })
        .collect();
    let today = ctx.settings.window.as_of(ctx.night, Timestamp::now());
    let policy = Policy { today, nights: &BTreeMap::new(), retired: &BTreeSet::new() };
    let decisions = decide(&candidates, &policy);
    older.iter().zip(&decisions).filter(|(_, decision)| !decision.keep).map(|(name, _)| name).collect()
}
