//! `nightshift sets`: lists the sets in this host's vault, accepts one of them, and forgets a host that left.

use std::path::Path;

use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::name::HostName;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::units::bytes;
use nightshift_engine::control::{ControlRequest, send};
use nightshift_store::{Judge, Judged, Listed, StoreError, Vault};
use serde::Serialize;

use super::CommandError;
use crate::exit::Exit;
use crate::{config_file, out, report};

#[derive(Serialize)]
struct Row {
    set: String,
    /// `None` if the manifest cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest_sha256: Option<String>,
    #[serde(flatten)]
    content: Content,
}

/// The content of a set, or why it is unusable: an unusable set must not hide the others.
#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Known {
        grade: Grade,
        /// Why it is not good, including what was found out about it later.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        accepted: bool,
        files: usize,
        bytes: u64,
        made_by: String,
        etcd_revision: Option<i64>,
    },
    Unusable {
        unusable: String,
    },
}

pub fn run(config: &Path, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let vault = Vault::of(&settings);
    let Listed { sets, unlisted } = vault.list()?;
    for error in &unlisted {
        out::print_error(&format!("some sets are not listed: {}", report::in_full(error)));
    }
    let mut exit = if unlisted.is_empty() { Exit::Good } else { Exit::Degraded };
    let mut judge = Judge::new(&vault);
    let mut rows = Vec::new();
    for set in sets {
        let manifest_sha256 = vault.manifest_digest(&set).ok().map(|digest| digest.to_string());
        let content = match judge.judge(&set) {
            Ok(judged) => known(&judged),
            Err(StoreError::Manifest { source, .. }) => Content::Unusable { unusable: source.to_string() },
            Err(error) => {
                exit = Exit::Degraded;
                Content::Unusable { unusable: report::in_full(&error) }
            }
        };
        rows.push(Row { set: set.to_string(), manifest_sha256, content });
    }
    if json {
        out::print_json(&rows)?;
    } else {
        let header = ["SET", "GRADE", "FILES", "SIZE", "ORIGIN", "ETCD"];
        out::print_table(&header, rows.into_iter().map(shown));
    }
    Ok(exit)
}

fn known(judged: &Judged) -> Content {
    let manifest = &judged.manifest;
    Content::Known {
        grade: judged.grade,
        reason: judged.reason(),
        accepted: judged.accepted,
        files: manifest.files().count(),
        bytes: manifest.total_bytes(),
        made_by: manifest.made_by.to_string(),
        etcd_revision: manifest.etcd.as_ref().map(EtcdFacts::last_revision),
    }
}

/// Shows why a set is not good, asks for confirmation, and sends the acceptance to the daemon.
pub async fn accept(config: &Path, set: SetId, yes: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let judged = Vault::of(&settings).judge(&set)?;
    out::print(format!("{set} is {}", judged.grade));
    for note in &judged.notes {
        out::print(format!("  {note}"));
    }
    if !judged.grade.awaits_acceptance() {
        out::print_error("nothing was accepted; only a suspicious or diverged set needs an acceptance");
        return Ok(Exit::Failed);
    }
    if !(yes || out::confirm("Accept this set as good?")) {
        out::print_error("nothing was accepted; answer y, or use --yes");
        return Ok(Exit::Failed);
    }
    Ok(super::run::print_response(send(&settings.paths.socket(), &ControlRequest::Accept { set }).await?))
}

/// Lists what is stored of a host, asks for confirmation, and has the daemon remove it.
pub async fn forget(config: &Path, host: HostName, yes: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let stored = Vault::of(&settings).list()?.sets.into_iter().filter(|set| set.host == host);
    for set in stored {
        out::print(&set);
    }
    if !(yes || out::confirm(&format!("Remove all sets of {host} from this host's vault?"))) {
        out::print_error("nothing was removed; answer y, or use --yes");
        return Ok(Exit::Failed);
    }
    Ok(super::run::print_response(send(&settings.paths.socket(), &ControlRequest::Forget { host }).await?))
}

fn shown(row: Row) -> Vec<String> {
    match row.content {
        Content::Known { grade, accepted, files, bytes: size, made_by, etcd_revision, .. } => {
            let revision = etcd_revision.map(|revision| format!("revision {revision}")).unwrap_or_default();
            let grade = if accepted { format!("{grade}, accepted") } else { grade.to_string() };
            vec![row.set, grade, files.to_string(), bytes(size), made_by, revision]
        }
        Content::Unusable { unusable } => {
            vec![row.set, "unusable".to_owned(), String::new(), String::new(), String::new(), unusable]
        }
    }
}
