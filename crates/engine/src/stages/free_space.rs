//! Shipped archives over the limit of `keep-sent` are removed when a night opens, and before anything is refused for space.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::record::Step;
use nightshift_store::StoreError;
use nightshift_store::outbox::Outbox;
use nightshift_store::space::SpaceError;

use crate::context::StageContext;
use crate::retention;

/// Runs a check of the free space, and if it fails once more after `remove_or_report`. Blocks.
pub fn ensure(ctx: &StageContext, check: impl Fn() -> Result<(), SpaceError>) -> Result<(), SpaceError> {
    match check() {
        Err(SpaceError::Bytes { .. } | SpaceError::Inodes { .. }) if remove_or_report(ctx) > 0 => check(),
        checked => checked,
    }
}

/// As `remove_shipped`; what cannot be removed is reported. Returns how many were removed. Blocks.
pub fn remove_or_report(ctx: &StageContext) -> usize {
    remove_shipped(ctx).unwrap_or_else(|error| {
        let what = "cannot remove archives that were shipped";
        ctx.log(Event::failed(Kind::OperationFailed, what, chain(&error)));
        0
    })
}

/// Removes shipped archives over the limit, but none of tonight's: the number of the next edition follows from their names. The
/// clock does not matter, because every remote has them and newer ones stay. Blocks.
pub fn remove_shipped(ctx: &StageContext) -> Result<usize, StoreError> {
    let sent = Outbox::new(ctx.settings.paths.sent());
    let keep = ctx.settings.archive.keep_sent;
    let over = retention::over_limit(&ctx.settings, &sent.archives()?, ctx.night);
    for archive in &over {
        let reason = retention::shipped_reason(keep);
        // On a full disk it cannot be recorded; then the journal alone has it.
        if let Err(error) = ctx.report_blocking(Step::Pruned { what: archive.to_string(), reason }) {
            let what = format!("cannot record that {archive} is removed");
            ctx.log(Event::failed(Kind::RecordFailed, what, chain(&error)));
        }
        sent.remove(archive)?;
    }
    Ok(over.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::role::Role;
    use nightshift_core::stage::Stage;
    use nightshift_store::space;

    use super::*;
    use crate::stages::own_set;
    use crate::testing;

    /// A master with four shipped archives, the last one of tonight.
    fn context(dir: &std::path::Path, keep_sent: usize) -> StageContext {
        let mut settings = testing::settings(dir, vec![testing::host("m1", Role::Master)]);
        settings.archive.keep_sent = keep_sent;
        std::fs::create_dir_all(settings.paths.sent()).unwrap();
        for date in ["2026.11.19", "2026.11.20", "2026.11.21", "2026.11.22"] {
            std::fs::write(settings.paths.sent().join(format!("m1_{date}.tgz")), b"archive").unwrap();
        }
        testing::context(settings, "2026-11-22", Stage::CollectMaster)
    }

    fn sent(ctx: &StageContext) -> Vec<String> {
        let archives = Outbox::new(ctx.settings.paths.sent()).archives().unwrap();
        archives.iter().map(|archive| archive.date.to_string()).collect()
    }

    #[test]
    fn before_a_refusal_shipped_archives_over_the_limit_are_removed_and_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), 2);
        ensure(&ctx, || space::require(dir.path(), 1, 1, 0)).unwrap();
        assert_eq!(sent(&ctx).len(), 4, "nothing is removed while there is space");
        let refused = ensure(&ctx, || space::require(dir.path(), 1, 1, u64::MAX)).unwrap_err();
        assert!(refused.to_string().contains("must stay free"), "{refused}");
        assert_eq!(sent(&ctx), ["2026-11-21", "2026-11-22"]);
        let pruned = ctx.record.record().unwrap().pruned;
        assert!(pruned[0].what.ends_with("2026.11.19.tgz") && pruned.len() == 2, "{pruned:?}");
    }

    #[tokio::test]
    async fn a_set_of_this_host_begins_with_the_space_of_archives_that_may_go() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), 0);
        let host = ctx.settings.this.clone();
        own_set::begin(&ctx, &host, Role::Master, 0).await.unwrap();
        assert_eq!(sent(&ctx), ["2026-11-22"], "tonight's is counted when a late set is packed");
    }
}
