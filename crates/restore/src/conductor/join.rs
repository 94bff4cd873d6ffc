//! The steps of a member that joins others.

use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::restore::act::{Act, FileKind, FileSpec, Outcome};
use nightshift_core::restore::evidence::MAX_TEXT;
use nightshift_core::restore::join::{Join, joining};
use nightshift_core::restore::machine::Machine;
use nightshift_store::{read_bounded, replace_file};

use crate::call::{CallError, Content};
use crate::directory::Directory;
use crate::error::RestoreError;
use crate::member::Members;

/// Removes the old member, and adds it again.
pub async fn replace(members: &Members<'_>, join: &Join) -> Result<Outcome, CallError> {
    // An interrupted run has added it: before etcd 3.4, a single other one waits for it, without a leader.
    if members.is_added(join).await.unwrap_or(false) {
        return Ok(Outcome::default());
    }
    if members.plan.etcd.is_some() {
        // They were started just now.
        members.wait_for(&join.others).await.map_err(CallError::Failed)?;
    }
    let notes = members.replace(join).await.map_err(CallError::Failed)?;
    Ok(Outcome { changed: true, notes: notes.into_iter().collect(), ..Outcome::default() })
}

pub async fn promote(members: &Members<'_>, join: &Join) -> Result<Outcome, CallError> {
    let notes = members.promote(join).await.map_err(CallError::Failed)?;
    Ok(Outcome { notes: notes.into_iter().collect(), ..Outcome::default() })
}

/// Puts the configuration with which a member joins in place.
pub async fn put_config(
    members: &Members<'_>,
    directory: &Directory,
    join: &Join,
    machine: &Machine,
) -> Result<(Act, Content), CallError> {
    let failed = |error: RestoreError| CallError::Failed(chain(&error));
    let missing = || CallError::Failed("the plan has no configuration for a member that joins".to_owned());
    let planned =
        machine.files.iter().find(|planned| planned.file.path == join.config).ok_or_else(missing)?;
    let file = directory.path().join(format!("join-{}.conf", machine.host));
    // The first run's: while the member is added, the list of members changes.
    if !file.exists() {
        let initial_cluster = members.initial_cluster(join).await.map_err(CallError::Failed)?;
        let path = directory.set(&planned.set).join(&planned.item);
        let text = read_bounded(&path, MAX_TEXT).map_err(|error| failed(error.into()))?;
        let text = joining(&String::from_utf8_lossy(&text), &initial_cluster).ok_or_else(missing)?;
        replace_file(&file, text.as_bytes()).map_err(|error| failed(error.into()))?;
    }
    let content = read_bounded(&file, MAX_TEXT).map_err(|error| failed(error.into()))?;
    let kind = FileKind::File { size: content.len() as u64, sha256: Digest::of(&content) };
    let spec = FileSpec { kind, ..planned.file.clone() };
    Ok((Act::PutFiles { files: vec![spec] }, vec![file]))
}
