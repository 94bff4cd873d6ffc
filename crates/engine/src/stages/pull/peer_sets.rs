//! What a peer has published tonight, and all of it that this vault lacks.

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::hint::{self, Hint};
use nightshift_core::inventory::Host;
use nightshift_core::manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::record::Fate;
use nightshift_core::role::Role;
use nightshift_core::set_path::{MAX_ATTEMPTS, SetDirName, SetId};
use nightshift_core::settings::EtcdMembers;
use nightshift_core::stage::Stage;
use nightshift_ssh::{FileKind, SftpError};

use super::fetch::{Fetch, Source};
use super::proofs;
use super::queue::Answer;
use super::rival;
use super::verdict::PullError;
use crate::context::StageContext;
use crate::hint_file;
use crate::stages::held;
use nightshift_peers as peers;
use nightshift_peers::{Credentials, ReachError};
use nightshift_store::StoreError;
use nightshift_store::offload;

/// Why a set is held and does not count.
const NEWER: &str = "its set has a newer format: upgrade masters first";
/// The most entries that a night's folder is believed to have: three roles, their attempts and proofs.
const MOST_ENTRIES: usize = 200;

/// Pulls a peer's own sets of one role, every attempt that is lacking here.
pub async fn pull(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Result<Answer, PullError> {
    let endpoint = peers::endpoint(host);
    let (session, sftp) = match credentials.open_sftp(&endpoint).await {
        Ok(open) => open,
        Err(error) => {
            tell_refusal(ctx, host, &error);
            return Err(error.into());
        }
    };
    let vault = host.vault.to_string_lossy().into_owned();
    let source =
        Source { sftp: &sftp, vault: &vault, host: &host.name, known_hosts: &credentials.known_hosts };
    let hint = hint_of(source).await;
    tell_oddities(ctx, host, hint.as_ref());
    let answer = pull_published(ctx, source, &host.name, role).await;
    if role != Role::Node
        && let Err(error) = proofs::copy_accepted(ctx, source).await
    {
        tracing::debug!("{}: what was accepted there: {}", host.name, chain(&error));
    }
    if let Err(error) = proofs::copy_late(ctx, source).await {
        tracing::debug!("{}: its earlier proofs: {}", host.name, chain(&error));
    }
    session.close().await;
    Ok(match answer? {
        Some(held) => held,
        None if left_to_another(ctx, hint.as_ref(), role) => Answer::Left,
        None => not_yet(hint.as_ref(), ctx.night, role),
    })
}

/// Pulls what `source` has of a host's sets of one role; `None` where it has none.
async fn pull_published(
    ctx: &StageContext,
    source: Source<'_>,
    host: &HostName,
    role: Role,
) -> Result<Option<Answer>, PullError> {
    let mut fresh = false;
    let mut refused = None;
    let mut diverged = false;
    let mut published = published_at(source, host, ctx.night).await?;
    published.retain(|set| set.role == role);
    let lacking = lacking(ctx, published.clone()).await;
    for set in published.iter().filter(|set| !lacking.contains(set)) {
        diverged |= rival::find(ctx, source, set).await?;
    }
    for set in lacking {
        match (Fetch { ctx, source, set }).run().await {
            Ok(()) => fresh = true,
            // It is recorded; a further attempt may be good.
            Err(error) if error.is_refusal() => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    let (vault, night, host) = (ctx.vault.clone(), ctx.night, host.clone());
    let (best, newer) = offload::run(move || {
        let newer = vault.sets_of(&host, night)?.iter().any(|set| set.role == role && vault.is_newer(set));
        Ok::<_, StoreError>((vault.best(&host, night, role)?, newer))
    })
    .await?;
    match (best, refused) {
        (Some(best), _) => {
            held::make_known(ctx, &best, Fate::Pulled).await?;
            let grade = if diverged { Grade::Diverged } else { best.grade };
            Ok(Some(Answer::Held { grade, fresh }))
        }
        (None, Some(refused)) => Err(refused.into()),
        (None, None) if newer => Ok(Some(Answer::Hopeless(NEWER.to_owned()))),
        (None, None) => Ok(None),
    }
}

/// Those of a peer's sets that are not in this vault.
async fn lacking(ctx: &StageContext, mut sets: Vec<SetId>) -> Vec<SetId> {
    let vault = ctx.vault.clone();
    offload::run(move || {
        sets.retain(|set| !vault.holds(set));
        sets
    })
    .await
}

/// The sets of a host and night that lie in a peer's vault. Whatever else lies there is none of ours.
pub async fn published_at(
    source: Source<'_>,
    host: &HostName,
    night: Night,
) -> Result<Vec<SetId>, SftpError> {
    let folder = format!("{}/{host}/{night}", source.vault);
    let listing = match source.sftp.list(&folder, MOST_ENTRIES).await {
        Ok(listing) => listing,
        Err(error) if error.is_gone() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut sets: Vec<SetId> = listing
        .entries
        .iter()
        .filter(|entry| entry.stat.kind == FileKind::Directory)
        .filter_map(|entry| entry.name.parse::<SetDirName>().ok())
        .map(|SetDirName { role, attempt }| SetId { host: host.clone(), night, role, attempt })
        .collect();
    sets.sort();
    sets.truncate(usize::from(MAX_ATTEMPTS) * Role::ALL.len());
    Ok(sets)
}

/// The SHA-256 of a set's manifest in a peer's vault; `None` where it is not there, or was withdrawn or pruned.
pub async fn manifest_at(source: Source<'_>, set: &SetId) -> Result<Option<Digest>, SftpError> {
    let path = format!("{}/{set}/{}", source.vault, manifest::FILE);
    match source.sftp.read_small(&path, manifest::MAX_BYTES as usize).await {
        Ok(bytes) => Ok(Some(Digest::of(&bytes))),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a peer that has no etcd set says that it is done: where one member's snapshot will do, it left it to another.
fn left_to_another(ctx: &StageContext, hint: Option<&Hint>, role: Role) -> bool {
    let done = |hint: &Hint| {
        hint.night == Some(ctx.night)
            && hint.stages.get(&Stage::SnapshotEtcd).is_some_and(|told| told.outcome == Outcome::Done)
    };
    role == Role::Etcd && ctx.settings.etcd.members == EtcdMembers::One && hint.is_some_and(done)
}

/// Why a peer has no set: it says so itself, or it has just not got there.
fn not_yet(hint: Option<&Hint>, night: Night, role: Role) -> Answer {
    let stage = Stage::ALL.into_iter().find(|stage| stage.makes() == Some(role));
    let told = hint
        .filter(|hint| hint.night == Some(night))
        .and_then(|hint| hint.stages.get(&stage?))
        .filter(|told| matches!(told.outcome, Outcome::Failed | Outcome::Missed));
    match told {
        Some(told) => Answer::Hopeless(format!(
            "it reports: {}{}",
            told.outcome,
            told.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default()
        )),
        None => Answer::NotYet("it has not published tonight's set".to_owned()),
    }
}

/// Reads a host's own hint. Nothing rests on it.
pub async fn hint_of(source: Source<'_>) -> Option<Hint> {
    let path = format!("{}/{}/{}", source.vault, source.host, hint::FILE);
    let bytes = source.sftp.read_small(&path, hint::MAX_BYTES as usize).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Reports what is odd about a peer.
fn tell_oddities(ctx: &StageContext, host: &Host, hint: Option<&Hint>) {
    let Some(hint) = hint.filter(|_| ctx.attempt == 1) else { return };
    let odd = hint.oddities(&hint_file::basics(&ctx.settings), Timestamp::now());
    if !odd.is_empty() {
        ctx.tell(Event {
            peer: Some(host.name.clone()),
            reason: Some(odd.join("; ")),
            ..Event::warning(Kind::PeerOdd, format!("{}: {}", host.name, odd.join("; ")))
        });
    }
}

/// A host key that changed and a refused login stand out in the journal: somebody has to act.
pub fn tell_refusal(ctx: &StageContext, host: &Host, error: &ReachError) {
    let ReachError::Connect(connect) = error else { return };
    if !connect.is_permanent() {
        return;
    }
    let kind = if connect.is_host_key() { Kind::HostKeyMismatch } else { Kind::LoginRefused };
    let reason = chain(error);
    ctx.tell(Event {
        peer: Some(host.name.clone()),
        outcome: Some("failed"),
        reason: Some(reason.clone()),
        ..Event::error(kind, format!("{}: {reason}", host.name))
    });
}
