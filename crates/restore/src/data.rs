//! The members' data, made on the operator's machine from the one snapshot, and tested before it leaves it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::name::HostName;
use nightshift_core::restore::Plan;
use nightshift_core::restore::etcd::{BUMP, EtcdPlan, Member, Snapshot};
use nightshift_etcd::restorer::OLDEST;
use nightshift_etcd::trial::canary::{self, AlarmRule};
use nightshift_etcd::trial::child::Launch;
use nightshift_etcd::trial::contents::{self, Source};
use nightshift_etcd::trial::etcd::{Origin, Start};
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::restore::{NewMember, restore};
use nightshift_etcd::trial::scratch::{DRILL, Scratch};
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_etcd::trial::server::Server;
use nightshift_etcd::trial::tools::{Tools, Version};
use nightshift_etcd::trial::unpack::{self, Stated};
use nightshift_snapshot::Ending;
use nightshift_store::packing::Packing;
use nightshift_store::{offload, sync_file};
use serde::{Deserialize, Serialize};

use crate::directory::{Directory, private_directory};
use crate::error::{Doing as _, RestoreError};

/// How many members' data are made at the same time: each takes as much memory as the snapshot has bytes.
const PARALLEL: usize = 3;
/// The file that describes the finished data.
const MADE: &str = "data.json";

/// The tar of each member's data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// With which programs it was made and tested, as text.
    pub tools: String,
    pub members: BTreeMap<HostName, MemberData>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberData {
    pub size: u64,
    pub sha256: Digest,
}

/// The tar of a member.
pub fn file(directory: &Directory, host: &HostName) -> PathBuf {
    directory.data().join(format!("{host}.tar"))
}

/// The data that was made before, or that is made now with the programs in `tools`.
pub async fn ensure(
    directory: &Directory,
    plan: &Plan,
    tools: Option<&Path>,
) -> Result<Option<Data>, RestoreError> {
    let Some(etcd) = &plan.etcd else { return Ok(None) };
    if let Some(made) = directory.read::<Data>(MADE)? {
        return Ok(Some(made));
    }
    let made =
        make(directory, plan, etcd, tools).await.map_err(|fault| RestoreError::Refused(fault.reason()))?;
    directory.write(MADE, &made)?;
    Ok(Some(made))
}

async fn make(
    directory: &Directory,
    plan: &Plan,
    etcd: &EtcdPlan,
    tools: Option<&Path>,
) -> Result<Data, Fault> {
    let here = |error: RestoreError| Fault::Here(nightshift_core::chain(&error));
    let tools = Tools::find(tools, Launch::Tied).await?;
    require(&tools, &etcd.snapshot.version)?;
    let root = directory.data();
    // What a killed run left is made again.
    if root.exists() {
        fs::remove_dir_all(&root).doing("remove", &root).map_err(here)?;
    }
    private_directory(&root).map_err(here)?;
    let scratch = Scratch::create(&root, DRILL).here(|| "cannot create a scratch directory".to_owned())?;
    let db = scratch.path("snapshot.db");
    let packed = directory.set(&etcd.snapshot.set).join(&etcd.snapshot.item);
    let (to, expected) = (db.clone(), etcd.snapshot.clone());
    let ending = offload::run(move || unpack(&packed, &to, &expected)).await?;
    let contents = contents::read(
        db.clone(),
        Source::Snapshot(ending),
        scratch.directory().to_owned(),
        MasterKeys::default(),
    )
    .await?;
    let made = Making { directory, etcd, tools: &tools, db: &db, token: format!("nightshift-{}", plan.id) };
    let members = stream::iter(&etcd.members).map(|member| made.member(member)).buffer_unordered(PARALLEL);
    let tested = test(&tools, &scratch, &db, etcd, &contents);
    let ((), members) = tokio::try_join!(tested, members.try_collect())?;
    Ok(Data { tools: tools.to_string(), members })
}

/// The data of all members, each made beside the others.
struct Making<'m> {
    directory: &'m Directory,
    etcd: &'m EtcdPlan,
    tools: &'m Tools,
    db: &'m Path,
    token: String,
}

impl Making<'_> {
    async fn member(&self, member: &Member) -> Result<(HostName, MemberData), Fault> {
        let here = |error: RestoreError| Fault::Here(nightshift_core::chain(&error));
        let scratch = Scratch::create(&self.directory.data(), &format!("new-{}", member.host))
            .here(|| "cannot create a scratch directory".to_owned())?;
        let data = scratch.path("data");
        let of = NewMember {
            name: &member.name,
            initial_cluster: &self.etcd.initial_cluster(),
            peer_urls: &member.peer_urls,
            token: &self.token,
            bump: Some(BUMP),
        };
        restore(self.tools, &scratch, self.db, &data, of).await?;
        let tar = file(self.directory, &member.host);
        let packed = offload::run(move || pack(&data, &tar)).await.map_err(here)?;
        Ok((member.host.clone(), MemberData { size: packed.size, sha256: packed.sha256 }))
    }
}

/// The tool raises the revision, and knows the format of the member's version.
fn require(tools: &Tools, of_member: &str) -> Result<(), Fault> {
    let tool = &tools.restorer;
    let wanted = Version::find(of_member);
    let is_older = wanted.is_some_and(|wanted| tool.version.minor_version() < wanted.minor_version());
    if tool.version >= OLDEST && !is_older {
        return Ok(());
    }
    Err(Fault::Here(format!(
        "{} has version {}, but the snapshot of etcd {of_member} needs etcdutl {OLDEST} or newer, and not older than the \
         member's minor version; name a directory with etcd and etcdutl with --etcd-tools",
        tool.path.display(),
        tool.version
    )))
}

fn unpack(packed: &Path, to: &Path, snapshot: &Snapshot) -> Result<Ending, Fault> {
    let file = File::open(packed).here(|| format!("cannot open {}", packed.display()))?;
    let packing = Packing::of_snapshot(&snapshot.item).unwrap_or(Packing::Plain);
    let stated = Stated { size: snapshot.size, sha256: snapshot.sha256 };
    unpack::unpack(file, packing, to, Some(stated), |_| Ok(()))
}

/// Restores the snapshot as one member alone, with the raised revision, and writes to it.
async fn test(
    tools: &Tools,
    scratch: &Scratch,
    db: &Path,
    etcd: &EtcdPlan,
    contents: &contents::Contents,
) -> Result<(), Fault> {
    let data = scratch.path("data");
    restore(tools, scratch, db, &data, NewMember { bump: Some(BUMP), ..NewMember::alone() }).await?;
    let start = Start { data: &data, db_size: etcd.snapshot.size, origin: Origin::Restored };
    let mut server = Server::start(tools, scratch, start).await?;
    let client = server.client.clone();
    let failed = |error| Fault::Copy(format!("the restored etcd: {}", nightshift_core::chain(&error)));
    let revision = client.status().await.map_err(failed)?.revision();
    if revision < contents.revision + BUMP {
        return Err(Fault::Here(format!("{} did not raise the revision: {revision}", tools.restorer.name())));
    }
    let live = client.count(b"", 0).await.map_err(failed)?;
    // Keys of leases that ran out since are gone.
    if live <= 0 && contents.live > 0 || live > i64::try_from(contents.live).unwrap_or(i64::MAX) {
        return Err(Fault::Copy(format!(
            "the restored etcd has {live} keys, the snapshot has {}",
            contents.live
        )));
    }
    canary::write(&mut server, None, &AlarmRule::UnknownMember, &mut Vec::new()).await?;
    drop(server);
    fs::remove_dir_all(&data).here(|| format!("cannot remove {}", data.display()))
}

/// The tar of the data directory, which is removed.
fn pack(data: &Path, tar: &Path) -> Result<Written, RestoreError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(tar).doing("create", tar)?;
    let mut builder = tar::Builder::new(HashedWriter::new(file));
    builder.follow_symlinks(false);
    // The reader takes plain files only; a preallocated log is sparse.
    builder.sparse(false);
    builder.append_dir_all("member", data.join("member")).doing("pack", data)?;
    let (file, written) = builder.into_inner().doing("write", tar)?.finish();
    sync_file(&file).doing("sync", tar)?;
    fs::remove_dir_all(data).doing("remove", data)?;
    Ok(written)
}
