//! Who signed what a restore reads.

use std::path::Path;

use nightshift_core::archive::{ArchiveName, NAMESPACE};
use nightshift_core::manifest::{Manifest, SIGNATURE_FILE};
use nightshift_core::signed::Signed;
use nightshift_peers::Signers;
use nightshift_ssh::signature::signer_of;
use nightshift_store::verify::MAX_SIGNATURE_LEN;
use nightshift_store::{Vault, beside, read_if_exists};

use super::archive::hash;
use crate::commands::CommandError;

/// The fingerprint of the key that signed an archive; an error if it has no valid signature.
pub fn of_archive(path: &Path, name: &ArchiveName) -> Result<String, CommandError> {
    let (_, sha512) = hash(path)?;
    let signature = beside(path, "sig");
    let Some(bytes) = read_if_exists(&signature, MAX_SIGNATURE_LEN)? else {
        let signature = signature.display();
        return Err(CommandError::Absent(format!("{name}.sig, its signature, does not exist ({signature})")));
    };
    signer_of(NAMESPACE, &sha512, &String::from_utf8_lossy(&bytes))
        .map_err(CommandError::failed(format!("{} is not valid", signature.display())))
}

/// Who signed a set in a vault.
pub fn of_set(vault: &Vault, manifest: &Manifest, signers: &Signers<'_>) -> Result<Signed, CommandError> {
    let id = manifest.id();
    let bytes = vault.manifest_bytes(&id)?;
    let signature = read_if_exists(&vault.directory(&id).join(SIGNATURE_FILE), MAX_SIGNATURE_LEN)?;
    let signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(signers.of_set(manifest, &bytes, signature.as_deref()))
}
