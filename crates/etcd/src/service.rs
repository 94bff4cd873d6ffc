//! How this host's member is run, and so stopped and started again: a unit of systemd's, or a static pod.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use crate::discover::POD_MANIFESTS;
use nightshift_store::offload;
use nightshift_store::sync_folder;

/// What OpenShift's installer calls it: on the host, and in a container of its own.
const UNITS: [&str; 2] = ["etcd.service", "etcd_container.service"];
/// A unit is killed after its own timeout, a minute and a half by default.
const STOP: Duration = Duration::from_secs(100);
const ASK: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(
        "neither {} runs, nor is there a static pod {}: how this host runs etcd is not known",
        UNITS.join(" nor "), POD_MANIFESTS.join(" or ")
    )]
    Unknown,
    #[error("`{line}` cannot be run")]
    NotRun { line: String, source: io::Error },
    #[error("`{line}` took longer than {} s", .after.as_secs())]
    TooLong { line: String, after: Duration },
    #[error("`{line}` ended with {how}: {words}")]
    Failed { line: String, how: String, words: String },
    #[error("cannot move {} to {}", .from.display(), .to.display())]
    Move { from: PathBuf, to: PathBuf, source: io::Error },
    #[error("{} is no regular file: a manifest that is a link, or kept elsewhere, is not moved", .path.display())]
    Odd { path: PathBuf },
    #[error("{} cannot be looked at", .path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "neither {} nor {}, where a cold copy puts it, is there: lay the manifest of etcd's pod back by hand",
        .manifest.display(), .aside.display()
    )]
    Vanished { manifest: PathBuf, aside: PathBuf },
}

/// Something that runs the member. It is written to the marker, so that whoever finds that can start it again.
pub trait Runs: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// In words, for the journal: what it is stopped by.
    fn how(&self) -> String;

    fn stop(&self) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Asks for its start, and does not wait for it. Does nothing to one that runs.
    fn start(&self) -> impl Future<Output = Result<(), ServiceError>> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    Unit {
        name: String,
    },
    /// The kubelet ends a pod whose manifest is gone, and starts it when that is back.
    StaticPod {
        manifest: PathBuf,
        /// Where it lies meanwhile: beside the folder that the kubelet watches.
        aside: PathBuf,
    },
}

/// How etcd is run here: the unit that is active, else the static pod.
pub async fn find() -> Result<Service, ServiceError> {
    for name in UNITS {
        if systemctl(&["is-active", "--quiet", name], ASK).await.is_ok() {
            return Ok(Service::Unit { name: name.to_owned() });
        }
    }
    for manifest in POD_MANIFESTS.map(PathBuf::from) {
        if let Some(service) = Service::pod(manifest)? {
            return Ok(service);
        }
    }
    Err(ServiceError::Unknown)
}

impl Service {
    /// The pod of this manifest, if that is there.
    fn pod(manifest: PathBuf) -> Result<Option<Self>, ServiceError> {
        if !is_there(&manifest)? {
            return Ok(None);
        }
        demand_regular(&manifest)?;
        let aside = manifest.parent().map(|folder| folder.with_file_name("nightshift-cold-copy-etcd.yaml"));
        Ok(aside.map(|aside| Self::StaticPod { manifest, aside }))
    }
}

impl Runs for Service {
    fn how(&self) -> String {
        match self {
            Self::Unit { name } => format!("systemctl stop {name}"),
            Self::StaticPod { manifest, aside } => {
                format!("{} moved to {}", manifest.display(), aside.display())
            }
        }
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        match self {
            Self::Unit { name } => systemctl(&["stop", name], STOP).await,
            Self::StaticPod { manifest, aside } => {
                let (manifest, aside) = (manifest.clone(), aside.clone());
                offload::run(move || move_away(&manifest, &aside)).await
            }
        }
    }

    async fn start(&self) -> Result<(), ServiceError> {
        match self {
            Self::Unit { name } => systemctl(&["start", "--no-block", name], ASK).await,
            Self::StaticPod { manifest, aside } => {
                let (manifest, aside) = (manifest.clone(), aside.clone());
                offload::run(move || lay_back(&aside, &manifest)).await
            }
        }
    }
}

fn lay_back(aside: &Path, manifest: &Path) -> Result<(), ServiceError> {
    // Somebody may have laid a new one meanwhile, and that one counts.
    if is_there(manifest)? {
        return Ok(());
    }
    if !is_there(aside)? {
        return Err(ServiceError::Vanished { manifest: manifest.to_owned(), aside: aside.to_owned() });
    }
    move_away(aside, manifest)
}

/// Whether there is anything of this name, be it a link to nowhere.
fn is_there(path: &Path) -> Result<bool, ServiceError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ServiceError::Look { path: path.to_owned(), source }),
    }
}

/// A link that is moved may lead nowhere from its new place, and who owns what it leads to is another question.
fn demand_regular(path: &Path) -> Result<(), ServiceError> {
    let look = |source| ServiceError::Look { path: path.to_owned(), source };
    let regular = fs::symlink_metadata(path).map_err(look)?.is_file();
    if regular { Ok(()) } else { Err(ServiceError::Odd { path: path.to_owned() }) }
}

/// Both on one file system, and on disk when this returns. Never over a file that is there.
fn move_away(from: &Path, to: &Path) -> Result<(), ServiceError> {
    let failed = |source| ServiceError::Move { from: from.to_owned(), to: to.to_owned(), source };
    demand_regular(from)?;
    if is_there(to)? {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    fs::rename(from, to).map_err(failed)?;
    for folder in [to.parent(), from.parent()].into_iter().flatten() {
        sync_folder(folder).map_err(failed)?;
    }
    Ok(())
}

async fn systemctl(words: &[&str], within: Duration) -> Result<(), ServiceError> {
    let line = format!("systemctl {}", words.join(" "));
    let run = Command::new("systemctl")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = match timeout(within, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(ServiceError::NotRun { line, source }),
        Err(_) => return Err(ServiceError::TooLong { line, after: within }),
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(ServiceError::Failed {
        line,
        how: output.status.to_string(),
        words: words.chars().take(400).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(folder: &Path) -> (PathBuf, PathBuf, Service) {
        let manifest = folder.join("pods/etcd.yaml");
        fs::create_dir_all(manifest.parent().unwrap()).unwrap();
        fs::write(&manifest, "kind: Pod").unwrap();
        let service = Service::pod(manifest.clone()).unwrap().unwrap();
        (manifest, folder.join("nightshift-cold-copy-etcd.yaml"), service)
    }

    #[tokio::test]
    async fn a_static_pod_is_stopped_by_taking_its_manifest_out_of_the_watched_folder_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, aside, service) = pod(folder.path());
        // It runs: a start changes nothing.
        service.start().await.unwrap();
        service.stop().await.unwrap();
        assert!(!manifest.exists() && aside.exists());
        service.start().await.unwrap();
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "kind: Pod");
        assert!(!aside.exists());
    }

    #[tokio::test]
    async fn a_manifest_that_was_laid_meanwhile_is_left_alone_and_so_is_one_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, aside, service) = pod(folder.path());
        service.stop().await.unwrap();
        fs::write(&manifest, "kind: Pod # newer").unwrap();
        service.start().await.unwrap();
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "kind: Pod # newer");
        assert!(matches!(service.stop().await, Err(ServiceError::Move { .. })));
        assert_eq!(fs::read_to_string(&aside).unwrap(), "kind: Pod");
    }

    #[tokio::test]
    async fn a_manifest_that_is_a_link_is_refused_and_left_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, aside, service) = pod(folder.path());
        let elsewhere = folder.path().join("elsewhere.yaml");
        fs::rename(&manifest, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &manifest).unwrap();
        assert!(matches!(Service::pod(manifest.clone()), Err(ServiceError::Odd { .. })));
        assert!(matches!(service.stop().await, Err(ServiceError::Odd { .. })));
        assert!(manifest.exists() && !aside.exists());
    }

    #[tokio::test]
    async fn a_pod_without_any_manifest_is_not_taken_for_started() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, _, service) = pod(folder.path());
        fs::remove_file(&manifest).unwrap();
        assert!(matches!(service.start().await, Err(ServiceError::Vanished { .. })));
        assert!(Service::pod(manifest).unwrap().is_none());
    }
}
