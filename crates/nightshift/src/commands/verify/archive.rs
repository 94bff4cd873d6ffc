//! An archive: its checksum and signature beside it, and every entry by the manifests in it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use indicatif::ProgressBar;
use nightshift_archive::visit_blocking;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::signed::Signed;
use nightshift_core::units::{bytes, count};
use nightshift_peers::Signers;
use nightshift_store::verify::MAX_SIGNATURE_LEN;
use nightshift_store::{beside, read_if_exists};
use sha2::{Digest as _, Sha512};

use super::archived_sets::ArchivedSets;
use super::state::State;
use crate::commands::{CommandError, archive_file};
use crate::{out, report};

pub fn verify(path: &Path, identity: Option<&Path>, signers: &Signers<'_>) -> Result<State, CommandError> {
    let name = archive_file::require_name(path, identity)?;
    let (signed, mut findings, has_checksum) = beside_archive(path, &name, signers)?;
    let archive = archive_file::open(path, &name, identity, &ProgressBar::hidden())?;
    let mut sets = ArchivedSets::new(signers);
    let listing = visit_blocking(archive, &name, &mut sets);
    sets.finish();
    findings.append(&mut sets.findings);
    match listing {
        Ok(listing) if findings.is_empty() => {
            let sets = count(listing.contents.sets.len(), "set");
            let (entries, size) = (listing.entries, bytes(listing.bytes));
            let checksum = if has_checksum { "checksum matches" } else { "no .sha256 beside it" };
            out::print(format!("{name}: verified, {sets}, {entries} entries, {size}, {checksum}, {signed}"));
            for missing in &listing.contents.missing {
                out::print(format!("{name}: missing from the archive: {missing}"));
            }
            for set in listing.contents.sets.iter().filter(|set| !set.left_out.is_empty()) {
                let links = set.left_out.summary();
                out::print(format!(
                    "{name}: left out of the archive: links of {}, only in its manifest: {links}",
                    set.id
                ));
            }
        }
        Ok(_) => {}
        Err(error) => findings.push(report::in_full(&error)),
    }
    for finding in &findings {
        out::print(format!("{name}: BAD: {finding}"));
    }
    for doubt in &sets.doubts {
        out::print(format!("{name}: {doubt}"));
    }
    Ok(State::of(&findings, &sets.doubts, &signed))
}

/// Who signed an archive, for a command that reads it for another purpose. An error if the signature or the checksum is wrong.
pub fn signature_of(
    path: &Path,
    identity: Option<&Path>,
    signers: &Signers<'_>,
) -> Result<Signed, CommandError> {
    let name = archive_file::require_name(path, identity)?;
    let (signed, findings, _) = beside_archive(path, &name, signers)?;
    if findings.is_empty() {
        return Ok(signed);
    }
    Err(CommandError::Absent(format!("{} is not used: {}", path.display(), findings.join("; "))))
}

/// Who signed it, what is wrong with the files beside it, and whether there is a checksum.
fn beside_archive(
    path: &Path,
    name: &ArchiveName,
    signers: &Signers<'_>,
) -> Result<(Signed, Vec<String>, bool), CommandError> {
    let (sha256, sha512) = hash(path)?;
    let text = |extension| -> Result<Option<String>, CommandError> {
        let bytes = read_if_exists(&beside(path, extension), MAX_SIGNATURE_LEN)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let mut findings = Vec::new();
    let checksum = text("sha256")?;
    if let Some(checksum) = &checksum {
        let stated = checksum.split_whitespace().next().and_then(|word| word.parse::<Digest>().ok());
        if stated != Some(sha256) {
            findings.push(format!("its SHA-256 is {sha256}, which {name}.sha256 does not say"));
        }
    }
    let signed = signers.of_archive(name, &sha512, text("sig")?.as_deref());
    if matches!(signed, Signed::Refused(_)) {
        findings.push(signed.to_string());
    }
    Ok((signed, findings, checksum.is_some()))
}

pub(super) fn hash(path: &Path) -> Result<(Digest, [u8; 64]), CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let (mut sha256, mut sha512) = (Hasher::default(), Sha512::new());
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok((sha256.finish(), sha512.finalize().into())),
            read => {
                sha256.update(&buffer[..read]);
                sha512.update(&buffer[..read]);
            }
        }
    }
}
