//! The kit of this host on every remote: shipped as an archive is, again when its content changes. It has no part in the night's
//! result.

mod content;

use std::io::{self, Read, Seek as _, Take, Write};
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nightshift_archive::StoredSet;
use nightshift_core::archive::NAMESPACE;
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::record::{Shipment, Step};
use nightshift_core::role::Role;
use nightshift_core::settings::Remote;
use nightshift_core::{chain, kit};
use nightshift_etcd::restorer;
use nightshift_peers::{Credentials, Deliver, Delivered, remote_endpoint};
use nightshift_store::outbox::{Delivery, Outbox};
use nightshift_store::{IoContext as _, Judge, StoreError, read_if_exists, replace_file, space};

use self::content::{Content, File};
use crate::context::StageContext;
use crate::stages::error::StageError;
use crate::stages::pack_archive;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes of the list of a remote's kits.
const MAX_LIST_LEN: u64 = 64 << 10;

/// Ships it to these remotes, and records what became of it.
pub async fn ship(ctx: &StageContext, remotes: &[&Remote]) -> Result<(), StoreError> {
    if remotes.is_empty() {
        return Ok(());
    }
    let etcdutl = restorer::find(&ctx.settings).await;
    let made = ctx.offload(move |ctx| make(ctx, etcdutl.map(|etcdutl| etcdutl.path))).await;
    let made = made.map_err(|error| chain(&error));
    let shipping: Vec<_> = remotes.iter().map(|remote| ship_to(ctx, remote, &made).boxed()).collect();
    for shipment in join_all(shipping).await {
        ctx.report(Step::Kit(shipment)).await?;
    }
    Ok(())
}

/// What the kit lacks, or why there is none.
type Made = Result<Vec<String>, String>;

async fn ship_to(ctx: &StageContext, remote: &Remote, made: &Made) -> Shipment {
    let name = kit_name(ctx);
    let failed = |reason| Shipment {
        archive: kit_name(ctx),
        remote: remote.name.clone(),
        sha256: None,
        verified: None,
        reason: Some(reason),
        stored_as: None,
    };
    let lacks = match made {
        Ok(lacks) => lacks,
        Err(reason) => return failed(reason.clone()),
    };
    let outbox = outbox(ctx);
    let names = kit::names_on_remote(VERSION, &ctx.settings.this);
    let deliver = Deliver { settings: &ctx.settings, remote, outbox: &outbox, file: name.clone(), names };
    let reason = (!lacks.is_empty()).then(|| format!("not in the kit: {}", lacks.join("; ")));
    let delivered = match deliver.run().await {
        Ok(delivered) => delivered,
        Err(error) => return failed(chain(&error)),
    };
    let to = remote.name.clone();
    let Some(known) = ctx.offload(move |_| outbox.delivery(&name, &to)).await else {
        return failed("its delivery cannot be read".to_owned());
    };
    let Delivery { sha256, verified, stored_as, .. } = known;
    let pruned = match delivered {
        Delivered::Already => Ok(()),
        Delivered::Now { .. } => prune(ctx, remote, stored_as.clone().unwrap_or_else(|| kit_name(ctx))).await,
    };
    let reason = pruned.err().map(|error| chain(&error)).or(reason);
    Shipment { sha256: Some(sha256), verified, stored_as, reason, ..failed(String::new()) }
}

fn kit_name(ctx: &StageContext) -> String {
    kit::name(VERSION, &ctx.settings.this)
}

fn outbox(ctx: &StageContext) -> Outbox {
    Outbox::new(ctx.settings.paths.kit())
}

/// Makes the kit, unless its content is that of the last one. Returns what it lacks.
fn make(ctx: &StageContext, etcdutl: Result<std::path::PathBuf, String>) -> Result<Vec<String>, StageError> {
    let (outbox, name) = (outbox(ctx), kit_name(ctx));
    let known = outbox.sha256(&name).ok().filter(|_| outbox.path(&name).exists());
    let mut sets = Vec::new();
    let mut judge = Judge::new(&ctx.vault);
    // Of nodes there may be thousands, and none of them is in the text.
    for id in ctx.vault.sets_of_night(ctx.night)?.into_iter().filter(|id| id.role != Role::Node) {
        if let Ok(judged) = judge.judge(&id) {
            let directory = ctx.vault.directory(&id);
            sets.push(StoredSet { id, directory, manifest: judged.manifest, grade: judged.grade });
        }
    }
    // Without tonight's member list the text would have less than that of the last kit.
    let has_etcd = ctx.settings.inventory.with_role(Role::Etcd).next().is_some();
    let is_listed =
        sets.iter().any(|set| set.manifest.etcd.as_ref().is_some_and(|etcd| !etcd.members.is_empty()));
    let Content { mut files, lacks } = content::of(ctx, &sets, etcdutl);
    if known.is_some() && has_etcd && !is_listed {
        return Ok(lacks);
    }
    let top = kit::top_directory(VERSION, &ctx.settings.this);
    let unreadable = ctx.settings.paths.kit().join(&name);
    let same = write(&top, &mut files, io::sink()).on("make", &unreadable)?;
    if known == Some(same) {
        return Ok(lacks);
    }
    for file in &mut files {
        file.source.rewind().on("read", Path::new(&file.path))?;
    }
    let need = files.iter().map(|file| file.size).sum();
    nightshift_store::create_directories(&ctx.settings.paths.kit())?;
    space::require(&ctx.settings.paths.kit(), need, 8, ctx.settings.vault.min_free)
        .map_err(|source| StageError::Space { what: "the kit", source })?;
    let part = outbox.begin(&name)?;
    let sha256 = write(&top, &mut files, &part.file).on("write", &part.path)?;
    let signature = pack_archive::signature(ctx, NAMESPACE, &part.path)?;
    outbox.publish(&part, &name, sha256, Some(&signature))?;
    Ok(lacks)
}

/// Fails where a file has become shorter: its entry in the tar would not fit its header.
struct Exact<R>(Take<R>);

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.0.limit() > 0 && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// The same files give the same bytes.
fn write(top: &str, files: &mut [File], out: impl Write) -> io::Result<Digest> {
    let mut tar = tar::Builder::new(HashedWriter::new(out));
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.size);
        header.set_mode(file.mode);
        header.set_mtime(0);
        tar.append_data(
            &mut header,
            format!("{top}/{}", file.path),
            Exact((&mut file.source).take(file.size)),
        )?;
    }
    let (mut out, Written { sha256, .. }) = tar.into_inner()?.finish();
    out.flush()?;
    Ok(sha256)
}

/// Removes the older kits that this host shipped to a remote, after the new one was verified there.
async fn prune(ctx: &StageContext, remote: &Remote, newest: String) -> Result<(), StageError> {
    let list = ctx.settings.paths.kit().join(format!(".{}.kits", remote.name));
    let read = list.clone();
    let bytes = ctx.offload(move |_| read_if_exists(&read, MAX_LIST_LEN)).await?;
    let mut kits: Vec<String> =
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    kits.retain(|kit| *kit != newest);
    kits.push(newest);
    // Written first: a kit that is not removed now stays for ever, but none is removed twice.
    let older = kits.len().saturating_sub(kit::KEPT);
    let older: Vec<String> = if remote.prune { kits.drain(..older).collect() } else { Vec::new() };
    let bytes = serde_json::to_vec(&kits)?;
    ctx.offload(move |_| replace_file(&list, &bytes)).await?;
    if older.is_empty() {
        return Ok(());
    }
    let credentials = Credentials::of_remote(&ctx.settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    for kit in older {
        for extension in ["", ".sha256", ".sig"] {
            match sftp.remove(&remote.file(&format!("{kit}{extension}"))).await {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
    }
    session.close().await;
    Ok(())
}
