//! `ship-archive`: the outbox to every remote, verified there before it counts.

mod deliver;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nightshift_core::archive::ArchiveName;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::record::Step;
use nightshift_core::settings::Remote;
use nightshift_core::units;

use crate::context::{StageContext, StageEnd};
use nightshift_store::StoreError;
use nightshift_store::offload;
use nightshift_store::outbox::Outbox;

use deliver::{Deliver, Delivered};

pub async fn run(ctx: StageContext) -> StageEnd {
    match try_run(&ctx).await {
        Ok(end) => end,
        Err(error) => StageEnd::failed(chain(&error)),
    }
}

async fn try_run(ctx: &StageContext) -> Result<StageEnd, StoreError> {
    let outbox = Outbox::new(ctx.settings.paths.outbox());
    // An earlier life of the daemon may have ended between the delivery and the move.
    move_delivered(ctx, &outbox).await?;
    let archives = drop_oldest(ctx, &outbox).await?;
    ctx.board.begin(ctx.stage, archives.len() * ctx.settings.remotes.len());
    // Remotes are independent: one that is down costs the others nothing.
    let shipping: Vec<_> =
        ctx.settings.remotes.iter().map(|remote| ship_to(ctx, remote, &outbox, &archives).boxed()).collect();
    let undelivered = join_all(shipping).await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    ctx.board.end(ctx.stage);
    move_delivered(ctx, &outbox).await?;
    Ok(if undelivered.is_empty() { StageEnd::done() } else { StageEnd::failed(undelivered.join("; ")) })
}

/// Moves what every remote has to `sent/`; where there is no remote, nothing waits for anybody.
async fn move_delivered(ctx: &StageContext, outbox: &Outbox) -> Result<(), StoreError> {
    let (settings, outbox) = (ctx.settings.clone(), outbox.clone());
    offload::run(move || {
        let sent = Outbox::new(settings.paths.sent());
        for archive in outbox.archives()? {
            let everywhere = settings.remotes.iter().all(|remote| {
                outbox.delivery(&archive, &remote.name).is_some_and(|delivery| delivery.verified.is_some())
            });
            if everywhere {
                outbox.move_to(&sent, &archive)?;
            }
        }
        Ok(())
    })
    .await
}

/// Over its limit the outbox loses its oldest archives, with an alarm, and never its newest.
async fn drop_oldest(ctx: &StageContext, outbox: &Outbox) -> Result<Vec<ArchiveName>, StoreError> {
    let listed = outbox.clone();
    let mut archives = offload::run(move || listed.archives()).await?;
    let over = archives.len().saturating_sub(ctx.settings.archive.keep_outbox.max(1));
    for archive in archives.drain(..over) {
        let reason =
            format!("the outbox holds more than {} unshipped archives", ctx.settings.archive.keep_outbox);
        let (outbox, name) = (outbox.clone(), archive.clone());
        offload::run(move || outbox.remove(&name)).await?;
        ctx.note(Step::Pruned { what: archive.to_string(), reason: reason.clone() }).await?;
        ctx.tell(Event {
            path: Some(archive.to_string()),
            reason: Some(reason.clone()),
            ..Event::error(Kind::Pruned, format!("{archive} was never shipped and is removed: {reason}"))
        });
    }
    Ok(archives)
}

/// Ships every archive to one remote, oldest first; returns what did not get there.
async fn ship_to(
    ctx: &StageContext,
    remote: &Remote,
    outbox: &Outbox,
    archives: &[ArchiveName],
) -> Result<Vec<String>, StoreError> {
    let mut undelivered = Vec::new();
    for archive in archives {
        match (Deliver { ctx, remote, outbox, archive }).run().await {
            Ok(Delivered::Already) => {}
            Ok(Delivered::Now { bytes, sha256, verified }) => {
                ctx.note(Step::Shipped {
                    archive: archive.to_string(),
                    remote: remote.name.clone(),
                    bytes,
                    sha256,
                    verified: verified.clone(),
                })
                .await?;
                ctx.tell(Event {
                    path: Some(archive.to_string()),
                    bytes: Some(bytes),
                    sha256: Some(sha256),
                    outcome: Some("shipped"),
                    ..Event::info(
                        Kind::ArchiveShipped,
                        format!(
                            "{archive} is on remote {}: {}, {verified}",
                            remote.name,
                            units::bytes(bytes)
                        ),
                    )
                });
            }
            Err(error) => {
                let reason = chain(&error);
                ctx.note(Step::NotShipped {
                    archive: archive.to_string(),
                    remote: remote.name.clone(),
                    reason: reason.clone(),
                })
                .await?;
                ctx.tell(Event {
                    path: Some(archive.to_string()),
                    outcome: Some("failed"),
                    reason: Some(reason.clone()),
                    ..Event::error(
                        Kind::ArchiveNotShipped,
                        format!("{archive} is not on remote {}: {reason}", remote.name),
                    )
                });
                undelivered.push(format!("{archive} to {}: {reason}", remote.name));
            }
        }
        ctx.board.advance(ctx.stage);
    }
    Ok(undelivered)
}
