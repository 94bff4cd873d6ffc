//! `ship-archive`: the archives of the outbox to every remote, and verified there before they count as shipped.

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nightshift_core::archive::ArchiveName;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::record::Step;
use nightshift_core::settings::Remote;
use nightshift_peers::{Delivered, deliver};
use nightshift_store::outbox::Outbox;
use nightshift_store::{StoreError, offload};

use crate::context::{StageContext, StageEnd};
use crate::report::Report;

pub async fn run(ctx: StageContext) -> StageEnd {
    match try_run(&ctx).await {
        Ok(end) => end,
        Err(error) => StageEnd::failed(chain(&error)),
    }
}

async fn try_run(ctx: &StageContext) -> Result<StageEnd, StoreError> {
    let outbox = Outbox::new(ctx.settings.paths.outbox());
    // The daemon may have been stopped after the last delivery and before the move.
    move_delivered(ctx, &outbox).await?;
    let archives = drop_oldest(ctx, &outbox).await?;
    ctx.board.begin(ctx.stage, archives.len() * ctx.settings.remotes.len());
    // All remotes at the same time: one that is down does not delay the others.
    let shipping: Vec<_> =
        ctx.settings.remotes.iter().map(|remote| ship_to(ctx, remote, &outbox, &archives).boxed()).collect();
    let undelivered = join_all(shipping).await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    ctx.board.end(ctx.stage);
    move_delivered(ctx, &outbox).await?;
    Ok(if undelivered.is_empty() { StageEnd::done() } else { StageEnd::failed(undelivered.join("; ")) })
}

/// Moves the archives that every remote has to `sent/`; without remotes, all of them.
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

/// Removes the oldest archives over the outbox's limit, with an alarm, but never the newest. Returns the others.
async fn drop_oldest(ctx: &StageContext, outbox: &Outbox) -> Result<Vec<ArchiveName>, StoreError> {
    let listed = outbox.clone();
    let mut archives = offload::run(move || listed.archives()).await?;
    let keep = ctx.settings.archive.keep_outbox;
    let over = archives.len().saturating_sub(keep.max(1));
    for archive in archives.drain(..over) {
        let (outbox, name) = (outbox.clone(), archive.clone());
        offload::run(move || outbox.remove(&name)).await?;
        ctx.report(Unshipped { archive, keep }).await?;
    }
    Ok(archives)
}

/// An archive was removed before any remote had it.
struct Unshipped {
    archive: ArchiveName,
    /// How many unshipped archives the outbox keeps.
    keep: usize,
}

impl Unshipped {
    fn reason(&self) -> String {
        format!("the outbox contains more than {} unshipped archives", self.keep)
    }
}

impl Report for Unshipped {
    fn step(&self) -> Step {
        Step::Pruned { what: self.archive.to_string(), reason: self.reason() }
    }

    fn events(&self, _: &StageContext) -> Vec<Event> {
        vec![Event {
            path: Some(self.archive.to_string()),
            ..Event::failed(
                Kind::Pruned,
                format!("{} was never shipped and is removed", self.archive),
                self.reason(),
            )
        }]
    }
}

/// Ships every archive to one remote, oldest first; returns those that failed, with the reasons.
async fn ship_to(
    ctx: &StageContext,
    remote: &Remote,
    outbox: &Outbox,
    archives: &[ArchiveName],
) -> Result<Vec<String>, StoreError> {
    let mut undelivered = Vec::new();
    for name in archives {
        let archive = name.to_string();
        let to = remote.name.clone();
        match deliver(&ctx.settings, remote, outbox, name).await {
            Ok(Delivered::Already) => {}
            Ok(Delivered::Now { bytes, sha256, verified }) => {
                ctx.report(Step::Shipped { archive, remote: to, bytes, sha256, verified }).await?;
            }
            Err(error) => {
                let reason = chain(&error);
                undelivered.push(format!("{archive} to {to}: {reason}"));
                ctx.report(Step::NotShipped { archive, remote: to, reason }).await?;
            }
        }
        ctx.board.advance(ctx.stage);
    }
    Ok(undelivered)
}
