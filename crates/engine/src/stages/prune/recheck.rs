//! Each night one archive on each remote is verified again: the one whose check is oldest, of those that the policy keeps there.

use jiff::{SignedDuration, Timestamp};
use nightshift_core::archive::ArchiveName;
use nightshift_core::chain;
use nightshift_core::record::{Recheck, Rechecked, Step};
use nightshift_core::settings::Remote;
use nightshift_peers::{DeliverError, location, recheck};
use nightshift_store::outbox::{Outbox, RemoteCopies, RemoteCopy};
use nightshift_store::{StoreError, kept};
use tokio::time::{Instant, timeout_at};

use crate::context::StageContext;
use crate::retention;

/// What was verified tonight, when it was shipped, is not verified again.
const MIN_AGE: SignedDuration = SignedDuration::from_hours(12);

/// Verifies an archive on a remote; returns what is wrong with it.
pub async fn one(ctx: &StageContext, remote: &Remote, end: Instant) -> Result<Option<String>, StoreError> {
    let to = remote.clone();
    let Some((known, copy)) = ctx.offload(move |ctx| choose(ctx, &to, Timestamp::now())).await? else {
        return Ok(None);
    };
    let checked = timeout_at(end, recheck(&ctx.settings, remote, &copy.archive, copy.sha256)).await;
    let now = Timestamp::now();
    let is_gone = matches!(checked, Ok(Ok(None)));
    let result = match checked {
        Ok(Ok(Some(how))) => Rechecked::Verified(how),
        Ok(Ok(None)) => Rechecked::Wrong("it is gone; check what removes files there".to_owned()),
        Ok(Err(error @ DeliverError::Content { .. })) => Rechecked::Wrong(chain(&error)),
        Ok(Err(error)) => Rechecked::Unchecked(chain(&error)),
        Err(_) => Rechecked::Unchecked("the remote is too slow".to_owned()),
    };
    let fault = match &result {
        Rechecked::Wrong(reason) => Some(format!("{} on remote {}: {reason}", copy.archive, remote.name)),
        Rechecked::Verified(_) | Rechecked::Unchecked(_) => None,
    };
    let verified = matches!(result, Rechecked::Verified(_));
    let archive = copy.archive.clone();
    ctx.report(Step::Rechecked(Recheck { archive, remote: remote.name.clone(), result })).await?;
    let name = remote.name.clone();
    ctx.offload(move |ctx| {
        let mut known = known;
        // One that is gone is reported once.
        known.copies.retain(|it| !(is_gone && it.archive == copy.archive));
        for it in known.copies.iter_mut().filter(|it| it.archive == copy.archive) {
            it.tried = now;
            it.verified = if verified { now } else { it.verified };
        }
        outbox(ctx).keep_copies(&name, &known)
    })
    .await?;
    Ok(fault)
}

fn outbox(ctx: &StageContext) -> Outbox {
    Outbox::new(ctx.settings.paths.outbox())
}

/// The copies that the policy keeps there, and the one among them that is checked now. What the policy drops may be gone, and is
/// forgotten. Blocks.
fn choose(
    ctx: &StageContext,
    remote: &Remote,
    now: Timestamp,
) -> Result<Option<(RemoteCopies, RemoteCopy)>, StoreError> {
    let mut known = outbox(ctx).copies(&remote.name, &location(remote))?;
    let names: Vec<ArchiveName> = known.copies.iter().filter_map(|copy| copy.archive.parse().ok()).collect();
    let kept = kept::read(&ctx.settings.paths.kept())?;
    let today = ctx.settings.window.as_of(ctx.night, now);
    let recorded = retention::Recorded::read(&ctx.settings, &remote.name)?;
    let decided = retention::archives(remote, names, &recorded, &kept, today);
    let kept: Vec<String> =
        decided.iter().filter(|(_, decision)| decision.keep).map(|(name, _)| name.to_string()).collect();
    known.copies.retain(|copy| kept.contains(&copy.archive));
    let old = known.copies.iter().filter(|copy| now.duration_since(copy.tried) > MIN_AGE);
    let chosen = old.min_by_key(|copy| copy.tried).cloned();
    Ok(chosen.map(|copy| (known, copy)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::digest::Digest;
    use nightshift_core::fixtures;
    use nightshift_core::role::Role;
    use nightshift_core::stage::Stage;

    use super::*;
    use crate::testing;

    #[test]
    fn the_archive_whose_check_is_oldest_is_chosen_and_what_the_policy_drops_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        settings.remotes = vec![fixtures::remote("far", "far", 22, "/in")];
        let remote = settings.remotes[0].clone();
        let ctx = testing::context(settings, "2026-11-22", Stage::Prune);
        let now: Timestamp = "2026-11-22T23:30:00Z".parse().unwrap();
        let copy = |date: &str, hours: i64| {
            let tried = now - SignedDuration::from_hours(hours);
            let archive = format!("m1_{date}.tgz");
            RemoteCopy { archive, sha256: Digest::of(b"x"), verified: tried, tried }
        };
        assert_eq!(choose(&ctx, &remote, now).unwrap(), None, "nothing was shipped");
        let copies = vec![
            copy("2024.01.01", 900),
            copy("2026.11.20", 30),
            copy("2026.11.21", 40),
            copy("2026.11.22", 1),
        ];
        std::fs::create_dir_all(ctx.settings.paths.outbox()).unwrap();
        let known = RemoteCopies { location: location(&remote), copies };
        outbox(&ctx).keep_copies(&remote.name, &known).unwrap();
        let (left, chosen) = choose(&ctx, &remote, now).unwrap().unwrap();
        assert_eq!(chosen.archive, "m1_2026.11.21.tgz");
        assert_eq!(left.copies.len(), 3, "that of 2024 is forgotten");
        let moved = Remote { path: "/elsewhere".into(), ..remote };
        assert_eq!(choose(&ctx, &moved, now).unwrap(), None, "the remote has moved");
    }
}
