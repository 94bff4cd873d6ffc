//! A static pod's manifest: the options of the etcd in it, the paths that it names, and how they map to the host's.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Options, yaml};

#[derive(Debug, Deserialize)]
pub struct Pod {
    #[serde(default)]
    metadata: Option<Metadata>,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    #[serde(default)]
    volume_mounts: Vec<Mount>,
    #[serde(default)]
    liveness_probe: Option<Probe>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    http_get: Option<HttpGet>,
}

#[derive(Debug, Deserialize)]
struct HttpGet {
    /// A number, or the name of a port of the container.
    #[serde(default)]
    port: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    /// Absent if the value comes from elsewhere, which is not followed.
    #[serde(default)]
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    name: String,
    mount_path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    #[serde(default)]
    host_path: Option<HostPath>,
}

#[derive(Debug, Deserialize)]
struct HostPath {
    path: PathBuf,
}

impl Pod {
    pub fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        yaml::parse(text)
    }

    /// Its name and its namespace.
    pub fn name(&self) -> Option<(&str, &str)> {
        let metadata = self.metadata.as_ref()?;
        Some((metadata.name.as_deref()?, metadata.namespace.as_deref().unwrap_or("default")))
    }

    /// The container that runs etcd.
    pub fn etcd(&self) -> Option<PodContainer<'_>> {
        self.container("etcd")
    }

    /// The container of this name, or else the one that runs the program of this name.
    pub fn container(&self, name: &str) -> Option<PodContainer<'_>> {
        let named = self.spec.containers.iter().find(|container| container.name == name);
        let container = named.or_else(|| {
            let runs_it = |word: &String| Path::new(word).file_name().is_some_and(|program| program == name);
            self.spec.containers.iter().find(|container| container.command.first().is_some_and(runs_it))
        })?;
        Some(PodContainer { container, volumes: &self.spec.volumes })
    }

    /// The paths on the host in the flags of its containers, and those of its volumes.
    pub fn host_paths(&self) -> Vec<PathBuf> {
        let Spec { containers, volumes } = &self.spec;
        let containers = containers.iter().map(|container| PodContainer { container, volumes });
        let mut paths: Vec<PathBuf> = containers
            .flat_map(|container| {
                let values = container.flags().into_iter().map(|(_, value)| Path::new(value));
                let paths = values.filter(|value| value.is_absolute());
                paths.map(|inside| container.on_host(inside)).collect::<Vec<_>>()
            })
            .collect();
        paths.extend(volumes.iter().filter_map(|volume| Some(volume.host_path.as_ref()?.path.clone())));
        paths
    }
}

pub struct PodContainer<'a> {
    container: &'a Container,
    volumes: &'a [Volume],
}

impl PodContainer<'_> {
    pub fn name(&self) -> &str {
        &self.container.name
    }

    /// Adds the pod's variables, then its flags, which take precedence as they do in etcd.
    pub fn read_options(&self, options: &mut Options) {
        for variable in &self.container.env {
            options.set(&variable.name, variable.value.as_deref().unwrap_or_default());
        }
        self.flags().into_iter().for_each(|(flag, value)| options.set_flag(flag, value));
    }

    /// The last value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags().into_iter().rfind(|(flag, _)| *flag == name).map(|(_, value)| value)
    }

    /// Where the kubelet tests whether it is alive.
    pub fn probed_port(&self) -> Option<u64> {
        self.container.liveness_probe.as_ref()?.http_get.as_ref()?.port.as_u64()
    }

    /// Its flags that have a value, `--flag=value` or `--flag value`.
    fn flags(&self) -> Vec<(&str, &str)> {
        let mut flags = Vec::new();
        let mut words = self.words().peekable();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            match flag.split_once('=') {
                Some(pair) => flags.push(pair),
                None => flags.extend(words.next_if(|next| !next.starts_with('-')).map(|value| (flag, value))),
            }
        }
        flags
    }

    /// The environment file that the pod's shell sources: OpenShift 3.10 and 3.11 start etcd this way.
    pub fn sourced(&self) -> Option<&Path> {
        let mut words = self.words();
        words.find(|word| matches!(*word, "source" | "."))?;
        words.next().map(Path::new)
    }

    /// The host's path of a path in the container. A path that is not in a mount is assumed to be the same on both.
    pub fn on_host(&self, inside: &Path) -> PathBuf {
        let mounts = self.container.volume_mounts.iter();
        mounts
            .filter_map(|mount| {
                let below = inside.strip_prefix(&mount.mount_path).ok()?;
                let volume = self.volumes.iter().find(|volume| volume.name == mount.name)?;
                let host = &volume.host_path.as_ref()?.path;
                let path = if below.as_os_str().is_empty() { host.clone() } else { host.join(below) };
                Some((mount.mount_path.components().count(), path))
            })
            .max_by_key(|(depth, _)| *depth)
            .map_or_else(|| inside.to_owned(), |(_, path)| path)
    }

    /// The arguments, each split into words: one of them may be a shell script.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.container.command.iter().chain(&self.container.args).flat_map(|word| word.split_whitespace())
    }
}
