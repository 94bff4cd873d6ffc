//! Archives that were verified on a remote and are gone since.

use nightshift_core::archive::ArchiveName;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::record::Record;
use nightshift_core::settings::Remote;
use nightshift_store::StoreError;
use nightshift_store::outbox::{Delivery, Outbox};
use nightshift_store::records::Records;

use crate::context::StageContext;

/// How many nights back the newest shipped archive is searched.
const MAX_NIGHTS: usize = 30;

/// Checks that a remote still has the newest archive that the records list as shipped, and those of the outbox that it had. Returns
/// what is lost. One of the outbox is shipped again afterwards.
pub async fn find(
    ctx: &StageContext,
    remote: &Remote,
    outbox: &[ArchiveName],
) -> Result<Vec<String>, StoreError> {
    let (to, waiting) = (remote.clone(), outbox.to_vec());
    let shipped = ctx.offload(move |ctx| shipped(ctx, &to, &waiting)).await?;
    let lost = match nightshift_peers::lost(&ctx.settings, remote, shipped).await {
        Ok(lost) => lost,
        Err(error) => {
            // If there is something to ship, that reports the error.
            tracing::debug!("{}: shipped archives are not checked: {}", remote.name, chain(&error));
            return Ok(Vec::new());
        }
    };
    let mut reasons = Vec::new();
    for archive in lost {
        let is_here = outbox.contains(&archive);
        let remedy = if is_here { "it is shipped again" } else { "check what removes files there" };
        let what = format!("{archive} is gone from remote {}", remote.name);
        let reason = format!("{what}, where it was verified; {remedy}");
        let event = Event::failed(Kind::ArchiveNotShipped, what, format!("it was verified there; {remedy}"));
        ctx.log(Event { path: Some(archive.to_string()), ..event });
        if is_here {
            let to = remote.clone();
            ctx.offload(move |ctx| forget(ctx, &to, &archive)).await?;
        }
        reasons.push(reason);
    }
    Ok(reasons)
}

/// The archives of the outbox that a remote has, and the newest one that the records list.
fn shipped(
    ctx: &StageContext,
    remote: &Remote,
    outbox: &[ArchiveName],
) -> Result<Vec<ArchiveName>, StoreError> {
    let in_outbox = Outbox::new(ctx.settings.paths.outbox());
    let has = |archive: &&ArchiveName| {
        in_outbox.delivery(archive, &remote.name).is_some_and(|delivery| delivery.verified.is_some())
    };
    let mut shipped: Vec<ArchiveName> = outbox.iter().filter(has).cloned().collect();
    let newest = newest_shipped(ctx, remote)?;
    shipped.extend(newest.filter(|newest| !outbox.contains(newest)));
    Ok(shipped)
}

fn newest_shipped(ctx: &StageContext, remote: &Remote) -> Result<Option<ArchiveName>, StoreError> {
    let newest = |record: &Record| {
        let names = record.verified_on(&remote.name).filter_map(|it| it.archive.parse().ok());
        names.max_by_key(|name: &ArchiveName| (name.date, name.extra, name.edition))
    };
    if let Some(found) = ctx.record.look(|record| record.and_then(newest)) {
        return Ok(Some(found));
    }
    let records = Records::new(ctx.settings.paths.records());
    let nights = records.nights()?;
    let before = nights.into_iter().rev().filter(|night| *night < ctx.night).take(MAX_NIGHTS);
    // A record that cannot be read is reported elsewhere.
    Ok(before.filter_map(|night| records.read(night).ok().flatten()).find_map(|record| newest(&record)))
}

/// The whole archive is sent again.
fn forget(ctx: &StageContext, remote: &Remote, archive: &ArchiveName) -> Result<(), StoreError> {
    let outbox = Outbox::new(ctx.settings.paths.outbox());
    let delivery = Delivery { sha256: outbox.sha256(archive)?, done: Default::default(), verified: None };
    outbox.keep_delivery(archive, &remote.name, &delivery)
}
