//! `nightshift sets`: what this host's vault holds.

use std::path::Path;

use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_engine::space::bytes;
use nightshift_engine::store::{StoreError, Vault};
use serde::Serialize;

use super::CommandError;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

#[derive(Serialize)]
struct Row {
    set: String,
    manifest_sha256: String,
    #[serde(flatten)]
    content: Content,
}

/// What the manifest says, or why it cannot be used: one set that is of no use hides no other.
#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Known { grade: Grade, files: usize, bytes: u64, made_by: String, etcd_revision: Option<i64> },
    Unusable { unusable: String },
}

pub fn run(config: &Path, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let vault = Vault::new(&settings.vault.path);
    let mut rows = Vec::new();
    for set in vault.sets()? {
        let manifest_sha256 = vault.manifest_digest(&set)?.to_string();
        let content = match vault.manifest(&set) {
            Ok(manifest) => known(&manifest),
            Err(StoreError::Manifest { source, .. }) => Content::Unusable { unusable: source.to_string() },
            Err(error) => return Err(error.into()),
        };
        rows.push(Row { set: set.to_string(), manifest_sha256, content });
    }
    if json {
        out::say(serde_json::to_string_pretty(&rows)?);
        return Ok(Exit::Good);
    }
    out::table(&["SET", "GRADE", "FILES", "SIZE", "MADE BY", "ETCD"], rows.into_iter().map(shown));
    Ok(Exit::Good)
}

fn known(manifest: &Manifest) -> Content {
    Content::Known {
        grade: manifest.grade,
        files: manifest.files().count(),
        bytes: manifest.total_bytes(),
        made_by: manifest.made_by.to_string(),
        etcd_revision: manifest.etcd.as_ref().map(|etcd| etcd.revision),
    }
}

fn shown(row: Row) -> Vec<String> {
    match row.content {
        Content::Known { grade, files, bytes: size, made_by, etcd_revision } => {
            let revision = etcd_revision.map(|revision| format!("revision {revision}")).unwrap_or_default();
            vec![row.set, grade.to_string(), files.to_string(), bytes(size), made_by, revision]
        }
        Content::Unusable { unusable } => {
            vec![row.set, "unusable".to_owned(), String::new(), String::new(), String::new(), unusable]
        }
    }
}
