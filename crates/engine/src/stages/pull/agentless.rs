//! A node without a daemon: this master reads its files over SFTP, and makes and signs the set itself.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::inventory::Host;
use nightshift_core::manifest::{Item, ItemKind, Manifest, Owner};
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::role::Role;
use nightshift_core::settings::{FileRule, Generation};
use nightshift_ssh::{FileKind, Sftp, SftpError, Stat};

use super::file_sink::FileSink;
use super::peer_sets::tell_refusal;
use super::queue::Answer;
use super::remote_files::{self, Found};
use crate::collect;
use crate::context::StageContext;
use crate::stages::own_set::{self, Begun, Draft, OwnSetError};
use nightshift_peers as peers;
use nightshift_peers::{Credentials, ReachError};
use nightshift_store::offload;
use nightshift_store::{Partial, StoreError};

/// Files under way at a time, on the one connection.
const FILES: usize = 16;

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
    #[error("{path} cannot be written")]
    Write { path: String, source: std::io::Error },
}

pub async fn collect(ctx: &StageContext, host: &Host, role: Role, credentials: &Credentials) -> Answer {
    match try_collect(ctx, host, role, credentials).await {
        Ok(answer) => answer,
        Err(Error::Reach(error)) if error.is_permanent() => {
            tell_refusal(ctx, host, &error);
            Answer::Hopeless(chain(&error))
        }
        Err(error) => Answer::Trouble(chain(&error)),
    }
}

async fn try_collect(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Result<Answer, Error> {
    let Some(Begun { partial, previous }) = own_set::begin(ctx, &host.name, role).await? else {
        return Ok(Answer::Held { grade: Grade::Good, fresh: false });
    };
    let (session, sftp) = credentials.open_sftp(&peers::endpoint(host)).await?;
    let drafted = draft(ctx, role, &sftp, &partial, previous.as_ref()).await;
    session.close().await;
    let end = own_set::publish(ctx, partial, drafted?).await?;
    let grade = if end.outcome == Outcome::Done { Grade::Good } else { Grade::Degraded };
    Ok(Answer::Held { grade, fresh: true })
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
                draft.notes.push(format!("{alias}: no command is run on an agentless host"));
            }
        }
    }
    let fetches: Vec<_> =
        wanted.iter().map(|(place, found)| fetch(sftp, partial, previous, place, found).boxed()).collect();
    let fetched: Vec<Result<Item, String>> = stream::iter(fetches).buffered(FILES).try_collect().await?;
    for result in fetched {
        match result {
            Ok(item) => draft.items.push(item),
            Err(fault) => draft.faults.push(fault),
        }
    }
    draft.vanished = collect::vanished(previous, &draft.items);
    Ok(draft)
}

/// One file of the host into the set; the inner error says why it could not be read.
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
        FileKind::Other => return Ok(Err(format!("{}: neither a file, a folder nor a symlink", found.path))),
    };
    Ok(Ok(item(place, found, kind, changed)))
}

/// An error of the connection ends the set; one of this file is its fault alone.
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
    let mut sink = FileSink::new(partial.guard(), HashedWriter::new(target));
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
        // SFTP tells numbers only, and our names for them may not be that host's.
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
