//! The one snapshot of a plan, read when the plan is made: a torn or damaged one is refused before there are machines.

use std::io::{self, Read};

use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::contents::{SnapshotContents, Webhooks as FoundWebhooks};
use nightshift_core::restore::etcd::Snapshot;
use nightshift_core::restore::finding::Finding;
use nightshift_core::role::Role;
use nightshift_core::text::summary;
use nightshift_etcd::trial::master_keys;
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_snapshot::{Tally, Webhooks, walk_hashed};
use nightshift_store::open_below;
use nightshift_store::packing::Packing;
use nightshift_store::spool::{SpoolError, spool};

use crate::directory::Directory;
use crate::error::RestoreError;
use crate::source::Sets;

/// Verifies the trailer, every page, every key and value, and decrypts the encrypted values with the keys in the masters' sets. `read`
/// gets the number of bytes of each piece of the stored file.
pub fn check(
    directory: &Directory,
    sets: &Sets,
    snapshot: &Snapshot,
    read: &mut dyn FnMut(u64),
) -> Result<Vec<Finding>, RestoreError> {
    match contents(directory, sets, snapshot, read) {
        Ok(contents) => Ok(contents.findings(snapshot)),
        Err(Fault::Here(error)) => Err(error),
        Err(Fault::Snapshot(reason)) => Ok(vec![Finding::refused(format!(
            "{}: its snapshot is damaged: {reason}; use another night or another source",
            snapshot.set
        ))]),
    }
}

enum Fault {
    Snapshot(String),
    Here(RestoreError),
}

fn contents(
    directory: &Directory,
    sets: &Sets,
    snapshot: &Snapshot,
    read: &mut dyn FnMut(u64),
) -> Result<SnapshotContents, Fault> {
    let here = |error: RestoreError| Fault::Here(error);
    let set = directory.set(&snapshot.set);
    let packed = open_below(&set, &snapshot.item)
        .map_err(|source| here(RestoreError::Io { doing: "open", path: set.join(&snapshot.item), source }))?;
    let packing = Packing::of_snapshot(&snapshot.item).unwrap_or(Packing::Plain);
    let counted = Counted { inner: packed, read };
    let spooled =
        spool(counted, packing, directory.path(), Some(snapshot.size)).map_err(|error| match error {
            SpoolError::Unpack(error) => Fault::Snapshot(chain(&error)),
            error => here(RestoreError::Refused(chain(&error))),
        })?;
    if spooled.ending.length != snapshot.size || snapshot.sha256 != Digest::from(spooled.ending.sha256) {
        return Err(Fault::Snapshot("it does not unpack to what its manifest says".to_owned()));
    }
    let keys = keys(directory, &sets.sets);
    let mut visitors = (Tally::new(keys.keyring()), Webhooks::default());
    let report = walk_hashed(&spooled.file, spooled.ending, &mut visitors).map_err(|error| {
        here(RestoreError::Refused(format!("cannot read the snapshot: {}", chain(&error))))
    })?;
    if !report.is_sound() {
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        return Err(Fault::Snapshot(summary(&findings)));
    }
    let (tally, webhooks) = visitors;
    let webhooks = webhooks.finish();
    Ok(SnapshotContents {
        secrets: keys.judge(&tally.finish()),
        webhooks: FoundWebhooks {
            configurations: webhooks.configurations,
            unknown: webhooks.encrypted + usize::from(webhooks.is_incomplete),
            fail: webhooks.fail,
        },
    })
}

/// The keys in the sets of the masters.
fn keys(directory: &Directory, sets: &[(Manifest, Grade)]) -> MasterKeys {
    let masters =
        sets.iter().filter(|(manifest, grade)| manifest.role == Role::Master && *grade != Grade::Bad);
    let masters = masters.map(|(manifest, _)| (directory.set(&manifest.id()), manifest));
    let unknown = || MasterKeys::Unknown("the night has no master set".to_owned());
    master_keys::of_sets(masters).map_or_else(unknown, MasterKeys::Known)
}

struct Counted<'c, R> {
    inner: R,
    read: &'c mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        (self.read)(length as u64);
        Ok(length)
    }
}
