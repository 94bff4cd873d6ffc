//! `snapshot-etcd`: the local member's snapshot, streamed, checked at birth, and published with /etc/etcd.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::{Item, ItemKind, Owner};
use nightshift_core::role::Role;
use nightshift_core::settings::Compression;

use super::collect_role;
use super::etcd_data;
use super::own_set::{self, Begun, Draft, OwnSetError};
use crate::collect::CollectError;
use crate::context::{StageContext, StageEnd, chain};
use crate::etcd::{self, Client, Complaint, LocalMember, Member, Taken};
use crate::offload;
use crate::space::{self, SpaceError};
use crate::store::{Partial, StoreError};

/// How long one question to the member may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Set(#[from] OwnSetError),
    #[error(transparent)]
    Discover(#[from] etcd::DiscoverError),
    #[error("the etcd member cannot be asked")]
    Client(#[from] etcd::ClientError),
    #[error(transparent)]
    Snapshot(#[from] etcd::SnapshotError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("not enough room for a snapshot")]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    NotOwn(Complaint),
}

pub async fn run(ctx: StageContext) -> StageEnd {
    match try_run(&ctx).await {
        Ok(end) => end,
        Err(error @ (Error::NotOwn(_) | Error::Discover(_))) => StageEnd::broken(chain(&error)),
        Err(error) => StageEnd::failed(chain(&error)),
    }
}

async fn try_run(ctx: &StageContext) -> Result<StageEnd, Error> {
    let Some(Begun { partial, previous }) = own_set::begin(ctx, &ctx.settings.this, Role::Etcd).await? else {
        return Ok(StageEnd::done());
    };
    let settings = ctx.settings.etcd.clone();
    let local = offload::run(move || etcd::discover(&settings, Path::new("/"))).await?;
    let client = Client::connect(&local, PATIENCE).await?;
    let member = etcd::examine(&client, &local).await?;
    report(ctx, &member);
    if let Some(complaint) = member.complaints.iter().find(|c| matches!(c, Complaint::NotOwn { .. })) {
        return Err(Error::NotOwn(complaint.clone()));
    }
    demand_room(ctx, &local, &member)?;

    let (name, taken) = take(ctx, &client, &partial).await?;
    let (partial, mut draft) = collect_role::files(ctx, Role::Etcd, partial, previous).await?;
    complete(&mut draft, name, &client, &member, taken);
    etcd_data::add(ctx, &client, &local, &member, &partial, &mut draft).await;
    Ok(own_set::publish(ctx, partial, draft).await?)
}

/// Room for the snapshot, even if nothing of it could be compressed; etcd's own file system is left more.
fn demand_room(ctx: &StageContext, local: &LocalMember, member: &Member) -> Result<(), Error> {
    let vault = ctx.vault.root();
    let mut leave = ctx.settings.vault.min_free;
    if let Some(data_dir) = local.data_dir.as_deref().filter(|data_dir| same_file_system(data_dir, vault)) {
        let tenth = space::room(data_dir)?.total / 10;
        leave = leave.max(tenth).max(member.db_size.saturating_mul(2));
    }
    Ok(space::demand(vault, member.db_size, 1, leave)?)
}

fn same_file_system(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.dev())
    };
    device(one) == device(other)
}

async fn take(
    ctx: &StageContext,
    client: &Client,
    partial: &Partial,
) -> Result<(&'static str, Taken), Error> {
    let settings = &ctx.settings.etcd;
    let name = match settings.compression {
        Compression::Gzip => "snapshot.db.gz",
        Compression::Zstd => "snapshot.db.zst",
    };
    let file = partial.create(name)?;
    let limits = etcd::Limits { stall: settings.stall, deadline: settings.deadline };
    let taken = etcd::take(client, file, settings.compression, limits, |_, _| {}).await?;
    Ok((name, taken))
}

/// Adds the snapshot to what was collected, with everything that is to be known of it.
fn complete(draft: &mut Draft, name: &str, client: &Client, member: &Member, taken: Taken) {
    for complaint in &member.complaints {
        match complaint {
            Complaint::Learner | Complaint::NoLeader | Complaint::Alarm(_) => {
                draft.faults.push(format!("the member {complaint}"));
            }
            _ => draft.notes.push(format!("the member {complaint}")),
        }
    }
    // The snapshot comes after the files, so among those alone last night's looked gone.
    draft.vanished.retain(|path| path != name);
    draft.bad.extend(taken.birth.findings.iter().map(|finding| format!("{name}: {finding}")));
    draft.items.push(Item {
        path: name.to_owned(),
        source: format!("{}/etcdserverpb.Maintenance/Snapshot", client.endpoint()),
        kind: ItemKind::File { size: taken.stored_size, sha256: taken.stored_sha256 },
        owner: Owner { uid: 0, gid: 0, user: Some("root".to_owned()), group: Some("root".to_owned()) },
        mode: 0o600,
        modified: Timestamp::now(),
        selinux: None,
        changed: false,
    });
    draft.etcd = Some(EtcdFacts {
        cluster_id: taken.header.cluster_id,
        member_id: taken.header.member_id,
        member_name: member.name.clone(),
        revision: taken.header.revision,
        raft_term: taken.header.raft_term,
        version: member.version.clone(),
        learner: member.learner,
        leader: member.leader,
        alarms: member.alarms.iter().map(ToString::to_string).collect(),
        raw_size: taken.birth.length,
        raw_sha256: taken.birth.sha256.into(),
        checked: "trailer, meta pages and length, as it streamed by".to_owned(),
        passed: None,
        agreement: None,
        data: None,
    });
}

fn report(ctx: &StageContext, member: &Member) {
    for complaint in &member.complaints {
        let reason = complaint.to_string();
        ctx.tell(Event {
            role: Some(Role::Etcd),
            reason: Some(reason.clone()),
            ..Event::warning(Kind::EtcdUnwell, format!("etcd member {} {reason}", member.name))
        });
    }
}
