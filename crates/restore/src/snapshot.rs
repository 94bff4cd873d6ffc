//! The one copy of etcd's keys of a plan, read when the plan is made: a torn or damaged one is refused before there are machines.

use std::fs::File;
use std::io::{self, Read};

use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::contents::{SnapshotContents, Webhooks as FoundWebhooks};
use nightshift_core::restore::copy::{CopyKind, EtcdCopy};
use nightshift_core::restore::finding::Finding;
use nightshift_core::role::Role;
use nightshift_core::text::summary;
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_etcd::trial::{master_keys, member};
use nightshift_snapshot::{Ending, Tally, Webhooks, walk_hashed, walk_member};
use nightshift_store::member_tar::{MemberEntry, read_member};
use nightshift_store::open_below;
use nightshift_store::packing::Packing;
use nightshift_store::spool::{SpoolError, scratch_file, spool};

use crate::copy::packing;
use crate::directory::Directory;
use crate::error::{Doing as _, RestoreError};
use crate::source::Sets;

/// What was found in the copy.
#[derive(Debug, Default)]
pub struct Checked {
    pub findings: Vec<Finding>,
    /// The last revision in the database, if there is one.
    pub revision: Option<i64>,
}

/// Verifies the trailer, every page, every key and value, and decrypts the encrypted values with the keys in the masters' sets. `read`
/// gets the number of bytes of each piece of the stored file.
pub fn check(
    directory: &Directory,
    sets: &Sets,
    copy: &EtcdCopy,
    read: &mut dyn FnMut(u64),
) -> Result<Checked, RestoreError> {
    match contents(directory, sets, copy, read) {
        Ok(checked) => Ok(checked),
        Err(Fault::Here(reason)) => Err(RestoreError::Refused(reason)),
        Err(Fault::Copy(reason)) => {
            let what = if copy.kind.is_snapshot() { "snapshot" } else { "data" };
            let finding = Finding::refused(format!(
                "{}: its {what} is damaged: {reason}; use another night or another source",
                copy.set
            ));
            Ok(Checked { findings: vec![finding], revision: None })
        }
    }
}

/// A database, unpacked into a file without a name. A snapshot has an ending.
struct Database {
    file: File,
    ending: Option<Ending>,
}

fn contents(
    directory: &Directory,
    sets: &Sets,
    copy: &EtcdCopy,
    read: &mut dyn FnMut(u64),
) -> Result<Checked, Fault> {
    // Of a copy with v2 keys only, the files were compared with their manifest.
    let Some(database) = database(directory, copy, read)? else { return Ok(Checked::default()) };
    let keys = keys(directory, &sets.sets);
    let mut visitors = (Tally::new(keys.keyring()), Webhooks::default());
    let walked = match database.ending {
        Some(ending) => walk_hashed(&database.file, ending, &mut visitors),
        None => walk_member(&database.file, &mut visitors),
    };
    let report = walked.here(|| "cannot read the database".to_owned())?;
    if !report.is_sound() {
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        return Err(Fault::Copy(summary(&findings)));
    }
    let (tally, webhooks) = visitors;
    let webhooks = webhooks.finish();
    let contents = SnapshotContents {
        secrets: keys.judge(&tally.finish()),
        webhooks: FoundWebhooks {
            configurations: webhooks.configurations,
            unknown: webhooks.encrypted + usize::from(webhooks.is_incomplete),
            fail: webhooks.fail,
        },
    };
    let revision = report.facts.revision.and_then(|revision| i64::try_from(revision).ok());
    Ok(Checked { findings: contents.findings(copy), revision })
}

fn database(
    directory: &Directory,
    copy: &EtcdCopy,
    read: &mut dyn FnMut(u64),
) -> Result<Option<Database>, Fault> {
    if copy.kind == CopyKind::V2Backup {
        return Ok(None);
    }
    let set = directory.set(&copy.set);
    let packed = open_below(&set, &copy.item).doing("open", &set.join(&copy.item))?;
    let counted = Counted { inner: packed, read };
    let packing = packing(copy);
    if !copy.kind.is_snapshot() {
        return of_member(counted, packing, directory, copy);
    }
    let spooled =
        spool(counted, packing, directory.path(), Some(copy.size)).map_err(|error| match error {
            SpoolError::Unpack(error) => Fault::Copy(chain(&error)),
            error => Fault::Here(chain(&error)),
        })?;
    if spooled.ending.length != copy.size || copy.sha256 != Digest::from(spooled.ending.sha256) {
        return Err(Fault::Copy("it does not unpack to what its manifest says".to_owned()));
    }
    Ok(Some(Database { file: spooled.file, ending: Some(spooled.ending) }))
}

/// The database in the data of a stopped member. Where there are v2 keys only, it may have none.
fn of_member(
    packed: impl Read,
    packing: Packing,
    directory: &Directory,
    copy: &EtcdCopy,
) -> Result<Option<Database>, Fault> {
    let mut file =
        scratch_file(directory.path(), copy.size).here(|| "cannot unpack the database".to_owned())?;
    let mut has_database = false;
    let plain = packing.unpack(packed, Some(copy.size)).map_err(|error| Fault::Copy(chain(&error)))?;
    let written = read_member(plain, Fault::Copy, |entry| {
        let MemberEntry::File("member/snap/db", content) = entry else { return Ok(()) };
        if std::mem::replace(&mut has_database, true) {
            return Err(Fault::Copy("it contains two databases".to_owned()));
        }
        member::copy(content, &mut file, directory.path())
    })?;
    if (written.size, written.sha256) != (copy.size, copy.sha256) {
        return Err(Fault::Copy("it does not unpack to what was stored".to_owned()));
    }
    Ok(has_database.then_some(Database { file, ending: None }))
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
