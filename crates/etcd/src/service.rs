//! How this host's member is stopped and started: as a systemd unit, or as a static pod.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use nightshift_core::etcd_config::POD_MANIFESTS;
use nightshift_store::process::{self, Limits, ProcessError};
use nightshift_store::{offload, sync_directory};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The names that OpenShift's installer uses: on the host, and in a container.
const UNITS: [&str; 2] = ["etcd.service", "etcd_container.service"];
/// systemd kills a unit after its own timeout, a minute and a half by default.
const STOP_TIMEOUT: Duration = Duration::from_secs(100);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(
        "cannot tell how etcd runs on this host: neither {} is active, and neither {} exists",
        UNITS.join(" nor "), POD_MANIFESTS.join(" nor ")
    )]
    Unknown,
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("cannot move {} to {}", .from.display(), .to.display())]
    Move { from: PathBuf, to: PathBuf, source: io::Error },
    #[error("{} is not a regular file, so it is not moved: a manifest must not be a link", .path.display())]
    NotRegular { path: PathBuf },
    #[error("cannot check {}", .path.display())]
    Stat { path: PathBuf, source: io::Error },
    #[error(
        "neither {} nor {}, where a cold copy moves it, exists; restore the manifest of etcd's pod by hand",
        .manifest.display(), .aside.display()
    )]
    Vanished { manifest: PathBuf, aside: PathBuf },
}

/// Stops and starts the member. It is written to the marker of a cold copy, so that a recovery can start the member again.
pub trait ServiceControl: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// How it is stopped, as text for the journal.
    fn how(&self) -> String;

    fn stop(&self) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Requests its start, and does not wait for it. Does nothing if it runs.
    fn start(&self) -> impl Future<Output = Result<(), ServiceError>> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    Unit {
        name: String,
    },
    /// The kubelet stops a pod when its manifest is removed, and starts it when the manifest is back.
    StaticPod {
        manifest: PathBuf,
        /// Its path while the pod is stopped: outside the directory that the kubelet watches.
        aside: PathBuf,
    },
}

/// How etcd runs on this host: as the unit that is active, else as a static pod.
pub async fn find() -> Result<Service, ServiceError> {
    for name in UNITS {
        if systemctl(&["is-active", "--quiet", name], REQUEST_TIMEOUT).await.is_ok() {
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
    /// The pod of this manifest, if it exists.
    fn pod(manifest: PathBuf) -> Result<Option<Self>, ServiceError> {
        if !exists(&manifest)? {
            return Ok(None);
        }
        require_regular(&manifest)?;
        let aside =
            manifest.parent().map(|directory| directory.with_file_name("nightshift-cold-copy-etcd.yaml"));
        Ok(aside.map(|aside| Self::StaticPod { manifest, aside }))
    }
}

impl ServiceControl for Service {
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
            Self::Unit { name } => systemctl(&["stop", name], STOP_TIMEOUT).await,
            Self::StaticPod { manifest, aside } => {
                let (manifest, aside) = (manifest.clone(), aside.clone());
                offload::run(move || move_away(&manifest, &aside)).await
            }
        }
    }

    async fn start(&self) -> Result<(), ServiceError> {
        match self {
            Self::Unit { name } => systemctl(&["start", "--no-block", name], REQUEST_TIMEOUT).await,
            Self::StaticPod { manifest, aside } => {
                let (manifest, aside) = (manifest.clone(), aside.clone());
                offload::run(move || move_back(&aside, &manifest)).await
            }
        }
    }
}

fn move_back(aside: &Path, manifest: &Path) -> Result<(), ServiceError> {
    // An operator may have written a new one meanwhile, which takes precedence.
    if exists(manifest)? {
        return Ok(());
    }
    if !exists(aside)? {
        return Err(ServiceError::Vanished { manifest: manifest.to_owned(), aside: aside.to_owned() });
    }
    move_away(aside, manifest)
}

/// Whether anything of this name exists, even a broken link.
fn exists(path: &Path) -> Result<bool, ServiceError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ServiceError::Stat { path: path.to_owned(), source }),
    }
}

/// A relative link that is moved points to another file, and the target of a link may have another owner.
fn require_regular(path: &Path) -> Result<(), ServiceError> {
    let stat = |source| ServiceError::Stat { path: path.to_owned(), source };
    let regular = fs::symlink_metadata(path).map_err(stat)?.is_file();
    if regular { Ok(()) } else { Err(ServiceError::NotRegular { path: path.to_owned() }) }
}

/// Renames a file on one file system, and syncs it. An existing file is never replaced.
fn move_away(from: &Path, to: &Path) -> Result<(), ServiceError> {
    let failed = |source| ServiceError::Move { from: from.to_owned(), to: to.to_owned(), source };
    require_regular(from)?;
    if exists(to)? {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    fs::rename(from, to).map_err(failed)?;
    for directory in [to.parent(), from.parent()].into_iter().flatten() {
        sync_directory(directory).map_err(failed)?;
    }
    Ok(())
}

async fn systemctl(words: &[&str], time: Duration) -> Result<(), ServiceError> {
    let mut command = Command::new("systemctl");
    command.args(words);
    offload::run(move || process::output(&mut command, Limits { time, output: 64 << 10 })).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(directory: &Path) -> (PathBuf, PathBuf, Service) {
        let manifest = directory.join("pods/etcd.yaml");
        fs::create_dir_all(manifest.parent().unwrap()).unwrap();
        fs::write(&manifest, "kind: Pod").unwrap();
        let service = Service::pod(manifest.clone()).unwrap().unwrap();
        (manifest, directory.join("nightshift-cold-copy-etcd.yaml"), service)
    }

    #[tokio::test]
    async fn a_static_pod_is_stopped_and_started_by_moving_its_manifest() {
        let directory = tempfile::tempdir().unwrap();
        let (manifest, aside, service) = pod(directory.path());
        // It runs, so a start changes nothing.
        service.start().await.unwrap();
        service.stop().await.unwrap();
        assert!(!manifest.exists() && aside.exists());
        service.start().await.unwrap();
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "kind: Pod");
        assert!(!aside.exists());
    }

    #[tokio::test]
    async fn a_manifest_that_was_written_meanwhile_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (manifest, aside, service) = pod(directory.path());
        service.stop().await.unwrap();
        fs::write(&manifest, "kind: Pod # newer").unwrap();
        service.start().await.unwrap();
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "kind: Pod # newer");
        assert!(matches!(service.stop().await, Err(ServiceError::Move { .. })));
        assert_eq!(fs::read_to_string(&aside).unwrap(), "kind: Pod");
    }

    #[tokio::test]
    async fn a_manifest_that_is_a_link_is_refused_and_not_moved() {
        let directory = tempfile::tempdir().unwrap();
        let (manifest, aside, service) = pod(directory.path());
        let elsewhere = directory.path().join("elsewhere.yaml");
        fs::rename(&manifest, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &manifest).unwrap();
        assert!(matches!(Service::pod(manifest.clone()), Err(ServiceError::NotRegular { .. })));
        assert!(matches!(service.stop().await, Err(ServiceError::NotRegular { .. })));
        assert!(manifest.exists() && !aside.exists());
    }

    #[tokio::test]
    async fn a_start_without_any_manifest_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (manifest, _, service) = pod(directory.path());
        fs::remove_file(&manifest).unwrap();
        assert!(matches!(service.start().await, Err(ServiceError::Vanished { .. })));
        assert!(Service::pod(manifest).unwrap().is_none());
    }
}
