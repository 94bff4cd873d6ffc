//! The members' data, made on the operator's machine from the one copy, and tested before it leaves it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::etcd_facts::DataFound;
use nightshift_core::name::HostName;
use nightshift_core::restore::Plan;
use nightshift_core::restore::copy::EtcdCopy;
use nightshift_core::restore::etcd::{BUMP, EtcdPlan, Member};
use nightshift_etcd::error::ClientError;
use nightshift_etcd::restorer::OLDEST;
use nightshift_etcd::trial::canary::{self, AlarmRule};
use nightshift_etcd::trial::child::Launch;
use nightshift_etcd::trial::contents::{self, Source};
use nightshift_etcd::trial::etcd::{NAME, Origin, Start};
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::restore::{NewMember, restore};
use nightshift_etcd::trial::scratch::{DRILL, Scratch};
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_etcd::trial::tools::{Program, Tools, Version};
use nightshift_etcd::v2::restored;
use nightshift_store::{offload, space, sync_file};
use serde::{Deserialize, Serialize};

use crate::copy;
use crate::directory::{Directory, private_directory};
use crate::error::{Doing as _, RestoreError};

/// How many members' data are made at the same time: each takes as much memory as the snapshot has bytes.
const PARALLEL: usize = 3;
/// The file that describes the finished data.
const MADE: &str = "data.json";

/// The number of files of the data of all members.
const MAX_FILES: u64 = 1000;

/// The tar of each member's data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// With which programs it was made and tested, as text.
    pub tools: String,
    /// With which the members start.
    pub revision: i64,
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

/// The data that was made before.
pub fn made(directory: &Directory) -> Result<Option<Data>, RestoreError> {
    directory.read(MADE)
}

/// The data that was made before, or that is made now with the programs in `tools`.
pub async fn ensure(
    directory: &Directory,
    plan: &Plan,
    tools: Option<&Path>,
) -> Result<Option<Data>, RestoreError> {
    let Some(etcd) = &plan.etcd else { return Ok(None) };
    if let Some(made) = made(directory)? {
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
    let tools = Tools::find(tools, Launch::Tied).await?;
    require(&tools, &etcd.copy)?;
    let root = directory.data();
    // What a killed run left is made again.
    if root.exists() {
        fs::remove_dir_all(&root).doing("remove", &root)?;
    }
    private_directory(&root)?;
    // The copy, its database, that of the test, and the data of each member, packed and unpacked.
    let copies = 4 + 2 * u64::try_from(etcd.members.len()).unwrap_or(u64::MAX);
    space::require(&root, etcd.copy.size.saturating_mul(copies), MAX_FILES, 0)
        .here(|| "not enough space for the members' data".to_owned())?;
    let scratch = Scratch::create(&root, DRILL).here(|| "cannot create a scratch directory".to_owned())?;
    if etcd.copy.v2 {
        first(directory, etcd, &tools, &scratch).await
    } else {
        all(directory, plan, etcd, &tools, &scratch).await
    }
}

/// The data of all members, from one snapshot.
async fn all(
    directory: &Directory,
    plan: &Plan,
    etcd: &EtcdPlan,
    tools: &Tools,
    scratch: &Scratch,
) -> Result<Data, Fault> {
    let db = scratch.path("snapshot.db");
    let ending = copy::snapshot(tools, directory, &etcd.copy, &db).await?;
    let contents = contents::read(
        db.clone(),
        Source::Snapshot(ending),
        scratch.directory().to_owned(),
        MasterKeys::default(),
    )
    .await?;
    let making = Making { directory, etcd, tools, db: &db, token: format!("nightshift-{}", plan.id) };
    let members = stream::iter(&etcd.members).map(|member| making.member(member)).buffer_unordered(PARALLEL);
    let (revision, members) = tokio::try_join!(test(tools, scratch, &db, &contents), members.try_collect())?;
    Ok(Data { tools: tools.to_string(), revision, members })
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
        let made = packed(data, file(self.directory, &member.host)).await?;
        Ok((member.host.clone(), made))
    }
}

/// The data of the first member, from a copy with v2 keys. What `--force-new-cluster` has done is in it, so that no machine needs that
/// option; only the member's own peer URLs are missing.
async fn first(
    directory: &Directory,
    etcd: &EtcdPlan,
    tools: &Tools,
    scratch: &Scratch,
) -> Result<Data, Fault> {
    let member = etcd.members.first().ok_or_else(|| Fault::Here("the plan has no members".to_owned()))?;
    let data = scratch.path("data");
    let mut server = copy::start(tools, scratch, directory, &etcd.copy, &member.name, &data).await?;
    canary::write(&mut server, None, &AlarmRule::UnknownMember, &mut Vec::new()).await?;
    let has_v2 = DataFound { v2: true, ..DataFound::default() };
    restored::check(&mut server, Some(&has_v2), &mut Vec::new()).await?;
    let client = server.client.clone();
    let named = async {
        for listed in client.members().await?.members {
            let urls = member.peer_urls.split(',').map(str::to_owned).collect();
            client.update_member(listed.id, urls).await?;
        }
        Ok::<_, ClientError>(client.status().await?.revision())
    };
    let revision = named.await.here(|| "cannot set the member's peer URLs".to_owned())?;
    drop(server);
    let made = packed(data, file(directory, &member.host)).await?;
    Ok(Data { tools: tools.to_string(), revision, members: [(member.host.clone(), made)].into() })
}

async fn packed(data: PathBuf, tar: PathBuf) -> Result<MemberData, Fault> {
    let packed = offload::run(move || pack(&data, &tar)).await?;
    Ok(MemberData { size: packed.size, sha256: packed.sha256 })
}

/// The tool raises the revision, and knows the format of the member's version. An etcd that is started on a member's data changes it, so that
/// an older minor version refuses it afterwards, and etcd 3.6 has no v2 keys.
fn require(tools: &Tools, copy: &EtcdCopy) -> Result<(), Fault> {
    let version = &copy.version;
    let wanted = Version::find(version).map(Version::minor_version);
    let (etcd, restorer) = (&tools.etcd, &tools.restorer);
    if !copy.kind.is_snapshot() && wanted.is_some_and(|wanted| etcd.version.minor_version() != wanted) {
        return Err(unfit(etcd, version, "etcd of the same minor version"));
    }
    let is_older = wanted.is_some_and(|wanted| restorer.version.minor_version() < wanted);
    if !copy.v2 && (restorer.version < OLDEST || is_older) {
        let needs = format!("etcdutl {OLDEST} or newer, and not older than the member's minor version");
        return Err(unfit(restorer, version, &needs));
    }
    Ok(())
}

fn unfit(tool: &Program, of_member: &str, needs: &str) -> Fault {
    Fault::Here(format!(
        "{} has version {}, but the copy of etcd {of_member} needs {needs}; name a directory with etcd and etcdutl with --etcd-tools",
        tool.path.display(),
        tool.version
    ))
}

/// Restores the snapshot as one member alone, with the raised revision, and writes to it. Returns the revision with which it started.
async fn test(
    tools: &Tools,
    scratch: &Scratch,
    db: &Path,
    contents: &contents::Contents,
) -> Result<i64, Fault> {
    let data = scratch.path("data");
    restore(tools, scratch, db, &data, NewMember { bump: Some(BUMP), ..NewMember::alone() }).await?;
    let db_size = fs::metadata(db).here(|| format!("cannot read {}", db.display()))?.len();
    let start = Start { name: NAME, data: &data, db_size, origin: Origin::Restored };
    let mut server = copy::started(tools, scratch, start).await?;
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
    fs::remove_dir_all(&data).here(|| format!("cannot remove {}", data.display()))?;
    Ok(revision)
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
