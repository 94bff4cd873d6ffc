//! The etcd data of a set, compared with the facts in its manifest. What the origin host states about it proves nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{ColdCopy, EtcdFacts, SnapshotFacts};
use nightshift_core::manifest::{self, Manifest};
use nightshift_snapshot::{Facts, Pass, Report};

use crate::member_tar::{MemberEntry, is_member_data, read_member};
use crate::packing::Packing;
use crate::read::open_below;

/// What a check of a set's etcd data found.
#[derive(Debug, Default)]
pub struct EtcdCheck {
    pub findings: Vec<String>,
    /// What was compared with nothing here, one reason each.
    pub unchecked: Vec<String>,
}

/// Checks the snapshot and the cold copy of a set in `directory`, and compares both with the facts in its manifest. Files that are
/// not `intact` are left out. Blocks; `stop` ends it with a finding.
pub fn verify_etcd_data(
    directory: &Path,
    manifest: &Manifest,
    intact: &dyn Fn(&str) -> bool,
    stop: &dyn Fn() -> bool,
) -> EtcdCheck {
    let mut check = EtcdCheck::default();
    let facts = manifest.etcd.as_ref();
    let names = manifest.files().map(|(item, ..)| item.path.as_str());
    for name in names.filter(|name| is_snapshot(name) && intact(name)) {
        check.findings.extend(verify_snapshot(directory, name, facts, stop));
        if facts.is_none() {
            check.findings.push(format!("{name}: its manifest does not describe the snapshot"));
        }
    }
    let Some(facts) = facts else { return check };
    if !manifest.has_snapshot() {
        let reason = "it contains no snapshot with which the facts in its manifest could be compared";
        check.unchecked.push(reason.to_owned());
    }
    let Some(data) = &facts.data else { return check };
    if let Some(copy) =
        data.cold_copy.as_ref().filter(|copy| manifest.item(&copy.item).is_some() && intact(&copy.item))
        && let Err(finding) = verify_cold_copy(directory, copy, stop)
    {
        check.findings.push(format!("{}: {finding}", copy.item));
    }
    if data.v2_backup.is_some() {
        let reason = "its v2 backup can be checked only by a drill, which replays it";
        check.unchecked.push(reason.to_owned());
    }
    check
}

/// Whether a set's file is the snapshot of a v3 database.
pub(super) fn is_snapshot(name: &str) -> bool {
    manifest::SNAPSHOTS.contains(&name)
}

/// What is wrong with a stored snapshot, how it differs from the facts in its manifest, or why it cannot be read. Without
/// facts, because the manifest has a newer format, nothing is compared.
pub(super) fn verify_snapshot(
    directory: &Path,
    name: &str,
    facts: Option<&EtcdFacts>,
    stop: &dyn Fn() -> bool,
) -> Vec<String> {
    let packing = Packing::of_snapshot(name).unwrap_or(Packing::Gzip);
    let opened = open_below(directory, name);
    let report = opened.and_then(|file| report_of(file, packing, facts.map(|facts| facts.raw_size), stop));
    let findings = match report {
        Err(error) => vec![error.to_string()],
        Ok(report) => match (findings_of(&report), facts) {
            // What was counted in a damaged snapshot means nothing.
            (findings, Some(facts)) if findings.is_empty() => {
                let counted = snapshot_facts(&report.facts);
                facts.differences(report.length, Digest::from(report.sha256), counted.as_ref())
            }
            (findings, _) => findings,
        },
    };
    findings.into_iter().map(|finding| format!("{name}: {finding}")).collect()
}

/// The facts about a snapshot that a manifest states. `None` if not all of them are known, because the snapshot is damaged.
pub fn snapshot_facts(facts: &Facts) -> Option<SnapshotFacts> {
    let compacted = facts.compacted.filter(|compacted| *compacted > 0);
    Some(SnapshotFacts {
        revision: i64::try_from(facts.revision?).ok()?,
        compacted: compacted.and_then(|compacted| i64::try_from(compacted).ok()),
        entries: facts.entries?,
        revisions: facts.revisions?,
        size: facts.size?,
    })
}

/// The first findings, and how many more there are.
pub fn findings_of(report: &Report) -> Vec<String> {
    const SHOWN: usize = 10;
    let mut findings: Vec<String> = report.findings.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = (report.findings.len().saturating_sub(SHOWN) as u64).saturating_add(report.further_findings);
    if more > 0 {
        findings.push(format!("and {more} further findings"));
    }
    findings
}

/// Unpacks a stored snapshot and reads it like one that etcd streams, up to the first defect that nothing can repair.
fn report_of(
    file: File,
    packing: Packing,
    raw_size: Option<u64>,
    stop: &dyn Fn() -> bool,
) -> io::Result<Report> {
    let max = max_unpacked(file.metadata()?.len(), MAX_EMPTY_SNAPSHOT);
    require_possible(raw_size.unwrap_or(0), max)?;
    let mut plain = Stoppable { plain: packing.unpack(file, Some(raw_size.unwrap_or(max)))?, stop };
    let mut pass = Pass::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match plain.read(&mut buffer)? {
            0 => return Ok(pass.finish()),
            read => pass.update(&buffer[..read]),
        }
        if pass.is_refuted() {
            return Ok(pass.finish());
        }
    }
}

/// Unpacks a cold copy without writing it, and compares it with the facts. The error is what is wrong with it.
fn verify_cold_copy(directory: &Path, copy: &ColdCopy, stop: &dyn Fn() -> bool) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let file = open_below(directory, &copy.item).map_err(text)?;
    let max = max_unpacked(file.metadata().map_err(text)?.len(), MAX_EMPTY_LOG);
    require_possible(copy.raw_size, max).map_err(text)?;
    let plain = Packing::of_member(&copy.item).unpack(file, Some(copy.raw_size)).map_err(text)?;
    let mut has_data = false;
    let unpacked = read_member(
        Stoppable { plain, stop },
        |reason| reason,
        |entry| {
            if let MemberEntry::File(name, content) = entry {
                has_data |= is_member_data(name) && content.read(&mut [0]).map_err(text)? > 0;
            }
            Ok(())
        },
    )?;
    if !has_data {
        return Err("it contains no data of an etcd member".to_owned());
    }
    if unpacked.size != copy.raw_size {
        return Err(format!("it unpacks to {} bytes; its manifest says {}", unpacked.size, copy.raw_size));
    }
    if unpacked.sha256 != copy.raw_sha256 {
        let (found, stated) = (unpacked.sha256, copy.raw_sha256);
        return Err(format!("unpacked, its SHA-256 is {found}; its manifest says {stated}"));
    }
    Ok(())
}

/// Bytes that a small file may unpack to: a small database may be mostly empty, and etcd preallocates each segment of its log
/// with 64 MB, of which it keeps a few.
const MAX_EMPTY_SNAPSHOT: u64 = 64 << 20;
const MAX_EMPTY_LOG: u64 = 1 << 30;

/// The maximum unpacked size of a compressed copy in bytes. The pages of a database have numbers, keys and hashes, so they never
/// compress to a thousandth.
fn max_unpacked(packed: u64, max_empty: u64) -> u64 {
    packed.saturating_mul(1000).max(max_empty)
}

fn require_possible(raw_size: u64, max: u64) -> io::Result<()> {
    if raw_size <= max {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "its manifest says that it unpacks to {raw_size} bytes; a file of its size cannot contain more than {max}"
    )))
}

struct Stoppable<'a, R> {
    plain: R,
    stop: &'a dyn Fn() -> bool,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stop)() {
            return Err(io::Error::other("stopped before its end"));
        }
        self.plain.read(buffer)
    }
}
