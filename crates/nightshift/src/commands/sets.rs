//! `nightshift sets`: what this host's vault holds.

use std::path::Path;

use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_engine::space::bytes;
use nightshift_engine::store::Vault;
use serde::Serialize;

use super::CommandError;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

#[derive(Serialize)]
struct Row {
    set: String,
    grade: Grade,
    files: usize,
    bytes: u64,
    made_by: String,
    manifest_sha256: String,
    etcd_revision: Option<i64>,
}

pub fn run(config: &Path, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let vault = Vault::new(&settings.vault.path);
    let mut rows = Vec::new();
    for set in vault.sets()? {
        let manifest = vault.manifest(&set)?;
        rows.push(row(&manifest, vault.manifest_digest(&set)?.to_string()));
    }
    if json {
        out::say(serde_json::to_string_pretty(&rows)?);
        return Ok(Exit::Good);
    }
    let shown = rows.into_iter().map(|row| {
        let revision = row.etcd_revision.map(|revision| format!("revision {revision}")).unwrap_or_default();
        vec![row.set, row.grade.to_string(), row.files.to_string(), bytes(row.bytes), row.made_by, revision]
    });
    out::table(&["SET", "GRADE", "FILES", "SIZE", "MADE BY", "ETCD"], shown);
    Ok(Exit::Good)
}

fn row(manifest: &Manifest, manifest_sha256: String) -> Row {
    Row {
        set: manifest.id().to_string(),
        grade: manifest.grade,
        files: manifest.files().count(),
        bytes: manifest.total_bytes(),
        made_by: manifest.made_by.to_string(),
        manifest_sha256,
        etcd_revision: manifest.etcd.as_ref().map(|etcd| etcd.revision),
    }
}
