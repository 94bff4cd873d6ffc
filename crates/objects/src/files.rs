//! Objects as files instead. Only an API server can turn protobuf into JSON, so its dry run of a renamed copy does that.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nightshift_snapshot::ReadAt;
use serde_json::Value;

use crate::api::{Api, Body};
use crate::discovery::Discovery;
use crate::metadata::{Format, renamed};
use crate::object::Object;
use crate::restore::ObjectError;
use crate::shown::portable;
use crate::source::{Source, SourceError};

/// A name and a namespace that the copy has, so that the object and its namespace may exist or not.
const NAME: &str = "nightshift-dry-run";
const NAMESPACE: &str = "default";
/// Of a file's name without its ending, in bytes.
const MAX_NAME_LEN: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot create {}", .path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A written file.
#[derive(Debug)]
pub struct Written {
    pub path: PathBuf,
    /// Why it is not JSON.
    pub raw: Option<String>,
}

/// A new directory that only this user can enter.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::Create { path: path.to_owned(), source })
}

/// An API server that turns protobuf into JSON.
pub struct Converter {
    api: Api,
    discovery: Discovery,
    has_dry_run: bool,
}

impl Converter {
    pub fn new(api: Api, has_dry_run: bool) -> Self {
        Self { api, discovery: Discovery::default(), has_dry_run }
    }

    /// The object as JSON, or why the API server does not return it.
    async fn converted(
        &mut self,
        object: &Object,
        stored: &[u8],
    ) -> Result<Result<Value, String>, ObjectError> {
        let meta = &object.meta;
        let Some(resource) = self.discovery.resource(&self.api, &meta.api_version, &meta.kind).await? else {
            return Ok(Err(format!("the API server does not serve {} of {}", meta.kind, meta.api_version)));
        };
        if !self.has_dry_run {
            return Ok(Err("the API server has no dry run".to_owned()));
        }
        let bytes = match renamed(stored, NAME, NAMESPACE) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let path = format!("{}?dryRun=All", resource.collection(NAMESPACE));
        let response =
            self.api.post(&path, Body { content_type: object.format.content_type(), bytes }).await?;
        if !response.status.is_success() {
            return Ok(Err(response.message().to_string()));
        }
        let mut value: Value = response.json()?;
        value["metadata"]["name"] = meta.name.clone().into();
        if !meta.namespace.is_empty() {
            value["metadata"]["namespace"] = meta.namespace.clone().into();
        }
        Ok(Ok(value))
    }
}

/// Writes an object into a directory: as JSON, or as it is stored if it cannot be converted.
pub async fn write<S: ReadAt>(
    source: &Source<S>,
    object: &Object,
    converter: Option<&mut Converter>,
    directory: &Path,
) -> Result<Written, FileError> {
    let stored = source.body(object)?;
    let converted = match (object.format, converter) {
        (Format::Json, _) => Ok(serde_json::from_slice(&stored)?),
        (Format::Protobuf, None) => Err("only an API server turns protobuf into JSON".to_owned()),
        (Format::Protobuf, Some(converter)) => match converter.converted(object, &stored).await {
            Ok(converted) => converted,
            Err(error) => Err(nightshift_core::chain(&error)),
        },
    };
    let (ending, bytes, raw) = match converted {
        Ok(value) => ("json", serde_json::to_vec_pretty(&portable(&value))?, None),
        Err(reason) => ("pb", stored.to_vec(), Some(reason)),
    };
    let path = directory.join(format!("{}.{ending}", file_name(object)));
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = created.map_err(|source| FileError::Create { path: path.clone(), source })?;
    file.write_all(&bytes).map_err(|source| FileError::Write { path: path.clone(), source })?;
    Ok(Written { path, raw })
}

/// Kind, group, namespace and name: harmless in a directory and on a terminal, whatever the snapshot contains.
fn file_name(object: &Object) -> String {
    let meta = &object.meta;
    let dot = if object.group().is_empty() { "" } else { "." };
    let kind = format!("{}{dot}{}", meta.kind.to_lowercase(), object.group());
    let parts = [kind.as_str(), &meta.namespace, &meta.name];
    let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let harmless = |c: char| if c.is_ascii_alphanumeric() || ".-_:".contains(c) { c } else { '_' };
    name.chars().map(harmless).take(MAX_NAME_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;

    #[test]
    fn a_file_has_the_kind_group_namespace_and_name_of_its_object() {
        let mut deployment = object("Deployment", "shop", "web");
        deployment.meta.api_version = "apps/v1".to_owned();
        assert_eq!(file_name(&deployment), "deployment.apps_shop_web");
        assert_eq!(file_name(&object("ClusterRole", "", "system:node")), "clusterrole_system:node");
        assert_eq!(file_name(&object("Pod", "..", "/../x\n")), "pod_..__.._x_");
    }
}
