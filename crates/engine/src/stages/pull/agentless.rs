//! A node without a daemon: this master reads its files over SFTP, and makes and signs the set.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use nightshift_core::access::Access;
use nightshift_core::chain;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::inventory::Host;
use nightshift_core::manifest::{Item, ItemKind, Manifest, Owner};
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::role::Role;
use nightshift_core::settings::FileRule;
use nightshift_core::system::{ControlPlane, KUBEADM_PODS, OPENSHIFT, OPENSHIFT_PODS};
use nightshift_peers::{Credentials, HashedSink, ReachError, endpoint};
use nightshift_ssh::{FileKind, Sftp, SftpError, Stat};
use nightshift_store::safe_open::Missing;
use nightshift_store::space::SpaceError;
use nightshift_store::{Partial, offload};

use super::outcome::PullOutcome;
use crate::collect::expand::Expansion;
use crate::collect::previous::Previous;
use crate::collect::{self, Selected, Selection};
use crate::context::StageContext;
use crate::stages::error::StageError;
use crate::stages::own_set::{self, Begin, Begun, Draft};

/// Files that are transferred at the same time, on one connection.
const MAX_PARALLEL: usize = 16;

/// The maximum number of entries in a directory.
const MAX_ENTRIES: usize = 20_000;

const NO_ACCESS: &str = "ACLs and file capabilities are not in this set, because SFTP does not show them; the group's bits in the \
    mode of a file with an ACL are its mask";

type Remote = Selected<Stat>;

pub async fn collect(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Result<PullOutcome, StageError> {
    let Begun { partial, previous } =
        match own_set::begin(ctx, &host.name, role, ctx.settings.vault.min_free).await? {
            Begin::New(begun) => *begun,
            Begin::Exists(_) => return Ok(PullOutcome::Stored { grade: Grade::Good, fresh: false }),
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
) -> Result<Draft, StageError> {
    let control_plane = control_plane(sftp).await;
    let mut selection = Selection::default();
    let mut wanted = Vec::new();
    for rule in ctx.settings.file_rules(role, control_plane) {
        match rule {
            FileRule::Path { path, alias, optional } => {
                let expanded = expand(sftp, path).await?;
                wanted.extend(selection.of_rule(path, alias.as_deref(), *optional, expanded)?);
            }
            FileRule::Command { alias, .. } => {
                let note = format!("{alias}: skipped, because commands do not run on an agentless host");
                selection.notes.push(note);
            }
        }
    }
    let Selection { faults, mut notes, .. } = selection;
    notes.push(NO_ACCESS.to_owned());
    let mut draft = Draft { faults, notes, ..Draft::default() };
    let earlier = Previous::of(previous);
    let fetches: Vec<_> = wanted.iter().map(|file| fetch(sftp, partial, &earlier, file).boxed()).collect();
    let fetched: Vec<Result<Item, String>> =
        stream::iter(fetches).buffered(MAX_PARALLEL).try_collect().await?;
    for result in fetched {
        match result {
            Ok(item) => {
                if item.changed {
                    draft.faults.push(format!("{}: it changed while it was read", item.source));
                }
                draft.items.push(item);
            }
            Err(fault) => draft.faults.push(fault),
        }
    }
    draft.vanished = collect::vanished(previous, &draft.items);
    Ok(draft)
}

/// How the control plane runs on the host.
async fn control_plane(sftp: &Sftp) -> Option<ControlPlane> {
    let mut found = Vec::new();
    for directory in [OPENSHIFT, OPENSHIFT_PODS, KUBEADM_PODS] {
        if sftp.stat(directory).await.is_ok_and(|stat| stat.kind == FileKind::Directory) {
            found.push(directory);
        }
    }
    ControlPlane::of(|directory| found.contains(&directory))
}

/// Expands a rule to paths of the host. Only a lost connection is an error.
async fn expand<'r>(sftp: &Sftp, rule: &'r str) -> Result<Expansion<'r, Stat>, SftpError> {
    let mut expansion = Expansion::new(rule);
    while let Some(place) = expansion.next_place() {
        let is_entered = place.has_glob() || {
            let stat = or_missing(sftp.lstat(&place.path).await)?;
            add(&mut expansion, &place.path, stat)
        };
        if is_entered {
            let directory = if place.path.is_empty() { "/" } else { &place.path };
            let names = or_missing(sftp.list(directory, MAX_ENTRIES).await)?.map(|listing| {
                if listing.unsafe_names > 0 {
                    let names = listing.unsafe_names;
                    expansion.left_out.push(format!("{directory}: left out {names} unusable names"));
                }
                listing.entries.into_iter().map(|entry| entry.name).collect()
            });
            expansion.enter(&place, names);
        }
    }
    Ok(expansion)
}

/// Adds a path of this kind. A device or a pipe is added too, because here it is a fault, which `fetch` reports.
fn add(expansion: &mut Expansion<'_, Stat>, path: &str, stat: Result<Stat, Missing>) -> bool {
    match stat {
        Ok(stat) if stat.kind == FileKind::Other => {
            expansion.found.push((path.to_owned(), stat));
            false
        }
        stat => expansion.add(path, stat.map(|stat| (stat.kind, stat))),
    }
}

fn or_missing<T>(result: Result<T, SftpError>) -> Result<Result<T, Missing>, SftpError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_connection() => Err(error),
        Err(error) if error.is_gone() => Ok(Err(Missing::Absent)),
        Err(error) => Ok(Err(Missing::Other(std::io::Error::other(error.to_string())))),
    }
}

/// Fetches one file of the host into the set; the inner error is the reason why it cannot be read.
async fn fetch(
    sftp: &Sftp,
    partial: &Partial,
    previous: &Previous,
    file: &Remote,
) -> Result<Result<Item, String>, StageError> {
    let (kind, changed) = match file.known.kind {
        FileKind::Directory => (ItemKind::Directory, false),
        FileKind::Symlink => match sftp.read_link(&file.source).await {
            Ok(target) => (ItemKind::Symlink { target }, false),
            Err(error) => return unreadable(file, error),
        },
        FileKind::File => {
            let written = match download(sftp, partial, file).await {
                Ok(written) => written,
                Err(StageError::Reach(ReachError::Sftp(error))) => return unreadable(file, error),
                Err(error) if is_over_budget(&error) => return leave_out(partial, file, &error).await,
                Err(error) => return Err(error),
            };
            let after = match sftp.lstat(&file.source).await {
                Ok(after) => after,
                Err(error) => return unreadable(file, error),
            };
            let (own, path, previous) = (partial.clone(), file.path.clone(), previous.clone());
            offload::run(move || previous.link(&own, &path, written)).await?;
            (ItemKind::File { size: written.size, sha256: written.sha256 }, after != file.known)
        }
        FileKind::Other => return Ok(Err(format!("{}: {}", file.source, Missing::Special))),
    };
    Ok(Ok(item(file, kind, changed)))
}

/// An error of the connection fails the set; any other error only this file.
fn unreadable(file: &Remote, error: SftpError) -> Result<Result<Item, String>, StageError> {
    if error.is_connection() {
        Err(error.into())
    } else {
        Ok(Err(format!("{}: {}", file.source, chain(&error))))
    }
}

async fn download(sftp: &Sftp, partial: &Partial, file: &Remote) -> Result<Written, StageError> {
    let (own, path) = (partial.clone(), file.path.clone());
    let target = offload::run(move || own.discard(&path).and_then(|()| own.create(&path))).await?;
    let mut sink = HashedSink::to_file(partial.guard(), HashedWriter::new(target));
    let came = sftp.download(&file.source, 0..file.known.size, &mut sink).await;
    let written =
        sink.finish().await.map_err(|source| StageError::Write { path: file.path.clone(), source })?;
    came?;
    Ok(written)
}

/// A file that is larger than the host stated costs itself and not the set.
fn is_over_budget(error: &StageError) -> bool {
    match error {
        StageError::Write { source, .. } => SpaceError::is_cause_of(source),
        StageError::Store(error) => SpaceError::is_cause_of_store(error),
        _ => false,
    }
}

async fn leave_out(
    partial: &Partial,
    file: &Remote,
    error: &StageError,
) -> Result<Result<Item, String>, StageError> {
    let (own, path) = (partial.clone(), file.path.clone());
    offload::run(move || own.discard(&path)).await?;
    Ok(Err(format!("{}: left out: {}", file.source, chain(error))))
}

fn item(file: &Remote, kind: ItemKind, changed: bool) -> Item {
    let Stat { uid, gid, mode, mtime, .. } = file.known;
    Item {
        path: file.path.clone(),
        source: file.source.clone(),
        kind,
        // SFTP has ids only, and their names here may not be the names on that host.
        owner: Owner { uid, gid, user: None, group: None },
        mode,
        modified: i64::try_from(mtime)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        selinux: None,
        access: Access::default(),
        changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_on_an_agentless_host_is_not_left_to_the_notes() {
        let device = Stat { kind: FileKind::Other, size: 0, uid: 0, gid: 0, mode: 0o644, mtime: 0 };
        let mut expansion = Expansion::new("/etc/");
        assert!(!add(&mut expansion, "/etc/device", Ok(device)));
        assert_eq!((expansion.found.len(), expansion.notes.len()), (1, 0));
    }
}
