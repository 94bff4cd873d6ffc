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
    let names = shipped.iter().map(|shipped| shipped.there.clone()).collect();
    let lost = match nightshift_peers::lost(&ctx.settings, remote, names).await {
        Ok(lost) => lost,
        Err(error) => {
            // If there is something to ship, that reports the error.
            tracing::debug!("{}: shipped archives are not checked: {}", remote.name, chain(&error));
            return Ok(Vec::new());
        }
    };
    let mut reasons = Vec::new();
    for Shipped { archive, there } in shipped.into_iter().filter(|shipped| lost.contains(&shipped.there)) {
        let is_here = outbox.contains(&archive);
        let remedy = if is_here { "it is shipped again" } else { "check what removes files there" };
        let what = format!("{there} is gone from remote {}", remote.name);
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

/// An archive that was verified on a remote.
struct Shipped {
    archive: ArchiveName,
    /// Its name on the remote.
    there: String,
}

/// The archives of the outbox that a remote has, and the newest one that the records list.
fn shipped(ctx: &StageContext, remote: &Remote, outbox: &[ArchiveName]) -> Result<Vec<Shipped>, StoreError> {
    let in_outbox = Outbox::new(ctx.settings.paths.outbox());
    let has = |archive: &ArchiveName| {
        let delivery = in_outbox.delivery(archive, &remote.name)?;
        delivery.verified?;
        let there = delivery.stored_as.unwrap_or_else(|| archive.to_string());
        Some(Shipped { archive: archive.clone(), there })
    };
    let mut shipped: Vec<Shipped> = outbox.iter().filter_map(has).collect();
    let newest = newest_shipped(ctx, remote)?;
    shipped.extend(newest.filter(|newest| !outbox.contains(&newest.archive)));
    Ok(shipped)
}

fn newest_shipped(ctx: &StageContext, remote: &Remote) -> Result<Option<Shipped>, StoreError> {
    let newest = |record: &Record| {
        let shipped = record.verified_on(&remote.name).filter_map(|shipment| {
            let archive = shipment.archive.parse().ok()?;
            Some(Shipped { archive, there: shipment.name_there().to_owned() })
        });
        shipped.max_by_key(|Shipped { archive, .. }| (archive.date, archive.extra, archive.edition))
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
    outbox.keep_delivery(archive, &remote.name, &Delivery::of(outbox.sha256(archive)?))
}
