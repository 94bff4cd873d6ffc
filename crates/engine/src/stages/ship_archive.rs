//! `ship-archive`: the archives of the outbox to every remote, and verified there before they count as shipped.

mod kit;
mod lost;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nightshift_core::archive::ArchiveName;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::record::Step;
use nightshift_core::settings::Remote;
use nightshift_peers::{Deliver, Delivered, location};
use nightshift_store::StoreError;
use nightshift_store::outbox::Outbox;

use crate::context::{StageContext, StageEnd};
use crate::stages::error::StageError;

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StageError> {
    // The daemon may have been stopped after the last delivery and before the move.
    ctx.offload(move_delivered).await?;
    let archives = drop_oldest(ctx).await?;
    ctx.board.begin(ctx.stage, archives.len() * ctx.settings.remotes.len());
    // All remotes at the same time: one that is down does not delay the others.
    let shipping: Vec<_> =
        ctx.settings.remotes.iter().map(|remote| ship_to(ctx, remote, &archives).boxed()).collect();
    let shipped = join_all(shipping).await.into_iter().collect::<Result<Vec<Shipped>, _>>()?;
    ctx.board.end(ctx.stage);
    ctx.offload(move_delivered).await?;
    // After the archives, and only where those arrived: a remote that is down costs no second wait.
    let reached =
        ctx.settings.remotes.iter().zip(&shipped).filter(|(_, shipped)| shipped.undelivered.is_empty());
    let reached: Vec<&Remote> = reached.map(|(remote, _)| remote).collect();
    kit::ship(ctx, &reached).await?;
    let is_delivered = shipped.iter().all(|shipped| shipped.undelivered.is_empty());
    let reasons: Vec<String> =
        shipped.into_iter().flat_map(|shipped| shipped.undelivered.into_iter().chain(shipped.lost)).collect();
    Ok(match (is_delivered, reasons.is_empty()) {
        (true, true) => StageEnd::done(),
        (true, false) => StageEnd::degraded(reasons.join("; ")),
        (false, _) => StageEnd::failed(reasons.join("; ")),
    })
}

/// What a remote does not have, with the reasons.
struct Shipped {
    undelivered: Vec<String>,
    /// It had these before.
    lost: Vec<String>,
}

/// Moves the archives that every remote has to `sent/`; without remotes, all of them.
fn move_delivered(ctx: &StageContext) -> Result<(), StoreError> {
    let (outbox, sent) = (outbox(ctx), Outbox::new(ctx.settings.paths.sent()));
    for archive in outbox.archives()? {
        let everywhere = ctx.settings.remotes.iter().all(|remote| {
            outbox.delivery(&archive, &remote.name).is_some_and(|delivery| delivery.verified.is_some())
        });
        if everywhere {
            outbox.move_to(&sent, &archive)?;
        }
    }
    Ok(())
}

fn outbox(ctx: &StageContext) -> Outbox {
    Outbox::new(ctx.settings.paths.outbox())
}

/// Removes the oldest archives over the outbox's limit, with an alarm, but never the newest. Returns the others.
async fn drop_oldest(ctx: &StageContext) -> Result<Vec<ArchiveName>, StoreError> {
    let mut archives = ctx.offload(|ctx| outbox(ctx).archives()).await?;
    let keep = ctx.settings.archive.keep_outbox;
    let over = archives.len().saturating_sub(keep.max(1));
    for archive in archives.drain(..over) {
        let what = archive.to_string();
        ctx.offload(move |ctx| outbox(ctx).remove(&archive)).await?;
        let reason = format!("the outbox contains more than {keep} unshipped archives");
        let event = Event::failed(Kind::Pruned, format!("{what} was never shipped and is removed"), &*reason);
        let event = Event { path: Some(what.clone()), ..event };
        ctx.report_as(Step::Pruned { what, reason }, [event]).await?;
    }
    Ok(archives)
}

/// Ships every archive to one remote, oldest first.
async fn ship_to(
    ctx: &StageContext,
    remote: &Remote,
    archives: &[ArchiveName],
) -> Result<Shipped, StoreError> {
    let (settings, outbox) = (&ctx.settings, outbox(ctx));
    let lost = lost::find(ctx, remote, archives).await?;
    let mut undelivered = Vec::new();
    for name in archives {
        let archive = name.to_string();
        let (to, names) = (remote.name.clone(), name.names_on_remote());
        let deliver = Deliver { settings, remote, outbox: &outbox, file: archive.clone(), names };
        match deliver.run().await {
            Ok(Delivered::Already) => {}
            Ok(Delivered::Now { bytes, sha256, verified, stored_as }) => {
                let there = stored_as.clone().unwrap_or_else(|| archive.clone());
                let shipped = Step::Shipped {
                    archive: archive.clone(),
                    remote: to,
                    bytes,
                    sha256,
                    verified,
                    stored_as,
                };
                ctx.report(shipped).await?;
                note_copy(ctx, remote, archive, there, sha256, bytes).await;
            }
            Err(error) => {
                let reason = chain(&error);
                undelivered.push(format!("{archive} to {to}: {reason}"));
                ctx.report(Step::NotShipped { archive, remote: to, reason }).await?;
            }
        }
        ctx.board.advance(ctx.stage);
    }
    Ok(Shipped { undelivered, lost })
}

/// Remembers what the remote has, for later checks. The archive is there also if that fails.
async fn note_copy(
    ctx: &StageContext,
    remote: &Remote,
    file: String,
    there: String,
    sha256: Digest,
    bytes: u64,
) {
    let (name, at, archive) = (remote.name.clone(), location(remote), file.clone());
    let noted = ctx.offload(move |ctx| {
        let outbox = outbox(ctx);
        outbox.keep_copy(&name, &at, there, sha256)?;
        outbox.keep_last_delivery(&name, &file, bytes)
    });
    if let Err(error) = noted.await {
        let what = format!("{archive} is on {}, but will not be verified there again", remote.name);
        let reason = format!("{}; if that file is damaged, remove it", chain(&error));
        ctx.log(Event::degraded(Kind::OperationFailed, what, reason));
    }
}
