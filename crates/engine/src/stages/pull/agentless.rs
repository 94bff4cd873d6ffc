//! A node without a daemon: this master reads its files over SFTP, and makes and signs the set.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::inventory::Host;
use nightshift_core::manifest::{Item, ItemKind, Manifest, Owner};
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::role::Role;
use nightshift_core::settings::{FileRule, Generation};
use nightshift_peers::{Credentials, HashedSink, ReachError, endpoint};
use nightshift_ssh::{FileKind, Sftp, SftpError, Stat};
use nightshift_store::{Partial, StoreError, offload};

use super::outcome::PullOutcome;
use super::remote_files::{self, Found};
use crate::collect;
use crate::context::StageContext;
use crate::stages::own_set::{self, Begun, Draft, OwnSetError};
use crate::stages::peer_error::log_refusal;
use crate::stages::queue::Polled;

/// Files that are transferred at the same time, on one connection.
const MAX_PARALLEL: usize = 16;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Set(#[from] OwnSetError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write {path}")]
    Write { path: String, source: std::io::Error },
}

pub async fn collect(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Polled<PullOutcome> {
    match try_collect(ctx, host, role, credentials).await {
        Ok(outcome) => Polled::Ready(outcome),
        Err(Error::Reach(error)) if error.is_permanent() => {
            log_refusal(ctx, host, &error);
            Polled::GiveUp(chain(&error))
        }
        Err(error) => Polled::Retry(chain(&error)),
    }
}

async fn try_collect(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Result<PullOutcome, Error> {
    let Some(Begun { partial, previous }) = own_set::begin(ctx, &host.name, role).await? else {
        return Ok(PullOutcome::Stored { grade: Grade::Good, fresh: false });
    };
    let (session, sftp) = credentials.open_sftp(&endpoint(host)).await?;
    let drafted = draft(ctx, role, &sftp, &partial, previous.as_ref()).await;
    session.close().await;
    let end = own_set::publish(ctx, partial, drafted?).await?;
    let grade = if end.outcome == Outcome::Done { Grade::Good } else { Grade::Degraded };
    Ok(PullOutcome::Stored { grade, fresh: true })
}

async fn draft(
    ctx: &StageContext,
    role: Role,
    sftp: &Sftp,
    partial: &Partial,
    previous: Option<&Manifest>,
) -> Result<Draft, Error> {
    let generation = match sftp.stat(collect::STATIC_PODS).await {
        Ok(stat) if stat.kind == FileKind::Directory => Generation::StaticPods,
        _ => Generation::Services,
    };
    let mut draft = Draft::default();
    let mut wanted: Vec<(String, Found)> = Vec::new();
    for rule in ctx.settings.file_rules(role, generation) {
        match rule {
            FileRule::Path { path, alias, optional } => {
                let expanded = remote_files::expand(sftp, path).await?;
                draft.notes.extend(expanded.notes);
                if expanded.found.is_empty() && !optional {
                    draft.faults.push(format!(
                        "{path}: {}",
                        expanded.missing.as_deref().unwrap_or("nothing matches")
                    ));
                }
                for found in expanded.found {
                    let place =
                        alias.clone().unwrap_or_else(|| found.path.trim_start_matches('/').to_owned());
                    if !wanted.iter().any(|(known, _)| *known == place) {
                        wanted.push((place, found));
                    }
                }
            }
            FileRule::Command { alias, .. } => {
                draft
                    .notes
                    .push(format!("{alias}: skipped, because commands do not run on an agentless host"));
            }
        }
    }
    let fetches: Vec<_> =
        wanted.iter().map(|(place, found)| fetch(sftp, partial, previous, place, found).boxed()).collect();
    let fetched: Vec<Result<Item, String>> =
        stream::iter(fetches).buffered(MAX_PARALLEL).try_collect().await?;
    for result in fetched {
        match result {
            Ok(item) => draft.items.push(item),
            Err(fault) => draft.faults.push(fault),
        }
    }
    draft.vanished = collect::vanished(previous, &draft.items);
    Ok(draft)
}

/// Fetches one file of the host into the set; the inner error is the reason why it cannot be read.
async fn fetch(
    sftp: &Sftp,
    partial: &Partial,
    previous: Option<&Manifest>,
    place: &str,
    found: &Found,
) -> Result<Result<Item, String>, Error> {
    let (kind, changed) = match found.stat.kind {
        FileKind::Directory => (ItemKind::Directory, false),
        FileKind::Symlink => match sftp.read_link(&found.path).await {
            Ok(target) => (ItemKind::Symlink { target }, false),
            Err(error) => return unreadable(found, error),
        },
        FileKind::File => {
            let written = match download(sftp, partial, place, found).await {
                Ok(written) => written,
                Err(Error::Sftp(error)) => return unreadable(found, error),
                Err(error) => return Err(error),
            };
            let after = sftp.lstat(&found.path).await.map_err(Error::Sftp)?;
            link(partial, previous, place, written).await?;
            (ItemKind::File { size: written.size, sha256: written.sha256 }, after != found.stat)
        }
        FileKind::Other => {
            return Ok(Err(format!("{}: neither a file, a directory nor a symlink", found.path)));
        }
    };
    Ok(Ok(item(place, found, kind, changed)))
}

/// An error of the connection fails the set; any other error only this file.
fn unreadable(found: &Found, error: SftpError) -> Result<Result<Item, String>, Error> {
    if error.is_connection() {
        Err(error.into())
    } else {
        Ok(Err(format!("{}: {}", found.path, chain(&error))))
    }
}

async fn download(sftp: &Sftp, partial: &Partial, place: &str, found: &Found) -> Result<Written, Error> {
    let (own, path) = (partial.clone(), place.to_owned());
    let target = offload::run(move || own.discard(&path).and_then(|()| own.create(&path))).await?;
    let mut sink = HashedSink::to_file(partial.guard(), HashedWriter::new(target));
    let came = sftp.download(&found.path, 0..found.stat.size, &mut sink).await;
    let written = sink.finish().await.map_err(|source| Error::Write { path: place.to_owned(), source })?;
    came?;
    Ok(written)
}

async fn link(
    partial: &Partial,
    previous: Option<&Manifest>,
    place: &str,
    written: Written,
) -> Result<(), StoreError> {
    let kind = ItemKind::File { size: written.size, sha256: written.sha256 };
    if let Some(previous) =
        previous.filter(|previous| previous.item(place).is_some_and(|item| item.kind == kind))
    {
        let (own, previous, path) = (partial.clone(), previous.id(), place.to_owned());
        offload::run(move || own.link(&previous, &path, &path, written)).await?;
    }
    Ok(())
}

fn item(place: &str, found: &Found, kind: ItemKind, changed: bool) -> Item {
    let Stat { uid, gid, mode, mtime, .. } = found.stat;
    Item {
        path: place.to_owned(),
        source: found.path.clone(),
        kind,
        // SFTP has ids only, and their names here may not be the names on that host.
        owner: Owner { uid, gid, user: None, group: None },
        mode,
        modified: i64::try_from(mtime)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        selinux: None,
        changed,
    }
}
