//! Creates objects: first all of them as a dry run, then for real. What exists is left alone.

use std::collections::BTreeMap;

use nightshift_core::text::one_line;
use nightshift_snapshot::ReadAt;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, ApiError, Body, Response};
use crate::discovery::{Discovery, Resource};
use crate::item::{Item, State};
use crate::metadata::with_owners;
use crate::object::Object;
use crate::owners::{Owners, References, uid_at};
use crate::source::{Source, SourceError};

/// Dry runs are on by default from this minor version of Kubernetes 1 on. Before 1.11, a server ignores the parameter, and creates
/// the object (Kubernetes, `pkg/features/kube_features.go`, DryRun).
const FIRST_DRY_RUN: u32 = 13;

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Absent,
    Active,
    Terminating,
}

/// A restore into one cluster.
pub struct Restore<'s, S> {
    api: Api,
    source: &'s Source<S>,
    /// The version of Kubernetes, as text.
    pub version: String,
    /// Whether the server can check a request without a change.
    pub has_dry_run: bool,
    /// Objects whose owners are gone are created without the references.
    without_owners: bool,
    discovery: Discovery,
    owners: Owners,
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Deserialize)]
struct Version {
    major: String,
    minor: String,
}

/// How a request to create an object ended.
enum Posted {
    Accepted(Box<Value>),
    Exists,
    Unchecked(String),
    Refused(String),
}

impl<'s, S: ReadAt> Restore<'s, S> {
    /// Requests the server's version.
    pub async fn begin(api: Api, source: &'s Source<S>, without_owners: bool) -> Result<Self, ApiError> {
        let Version { major, minor } = api.get("/version").await?.require()?;
        Ok(Self {
            api,
            source,
            version: one_line(&format!("{major}.{minor}")),
            has_dry_run: has_dry_run(&major, &minor),
            without_owners,
            discovery: Discovery::default(),
            owners: Owners::default(),
            namespaces: BTreeMap::new(),
        })
    }

    /// Checks each unchecked object without a change.
    pub async fn preview(&mut self, items: &mut [Item]) -> Result<(), ObjectError> {
        let restored = items.iter().filter(|item| item.state.is_open());
        self.owners.restored = restored.map(|item| item.object.meta.uid.clone()).collect();
        for index in 0..items.len() {
            if matches!(items[index].state, State::Unchecked(_)) {
                let checked = self.checked(index, items).await;
                items[index].state = or_refused(checked)?;
            }
        }
        Ok(())
    }

    async fn checked(&mut self, index: usize, items: &mut [Item]) -> Result<State, ObjectError> {
        let object = items[index].object.clone();
        let (resource, references) = match self.resolved(&object, true).await? {
            Ok(resolved) => resolved,
            Err(reason) => return Ok(State::Refused(reason)),
        };
        if let Some(state) = self.without_namespace(&object, &resource, items).await? {
            return Ok(state);
        }
        let exists = uid_at(&self.api, &resource.of(&object)).await?;
        if let Some(uid) = exists {
            if object.meta.kind == "Namespace"
                && self.namespace(&object.meta.name).await? == Namespace::Terminating
            {
                return Ok(State::Refused("it is being deleted; wait until it is gone".to_owned()));
            }
            self.owners.now.insert(object.meta.uid.clone(), uid);
            return Ok(State::Exists);
        }
        let notes = notes(&references);
        if !self.has_dry_run {
            items[index].notes = notes;
            return Ok(State::Unchecked(format!(
                "Kubernetes {} cannot check without a change",
                self.version
            )));
        }
        let posted = self.post(&object, &resource, &references, "?dryRun=All").await?;
        items[index].notes = notes;
        Ok(match posted {
            Posted::Accepted(answer) => {
                items[index].notes.extend(volume_note(&answer));
                State::New(answer)
            }
            Posted::Exists => State::Exists,
            Posted::Unchecked(reason) => State::Unchecked(reason),
            Posted::Refused(reason) => State::Refused(reason),
        })
    }

    /// Creates the open objects, and calls `ended` for each of them. What a missing namespace kept from being checked is checked once
    /// that exists, before anything is created in it.
    pub async fn create(
        &mut self,
        items: &mut [Item],
        ended: &mut dyn FnMut(&Item),
    ) -> Result<(), ObjectError> {
        let namespaces = items.iter().take_while(|item| item.object.meta.kind == "Namespace").count();
        let (namespaces, others) = items.split_at_mut(namespaces);
        self.create_all(namespaces, ended).await?;
        let were_open: Vec<bool> = others.iter().map(|item| item.state.is_open()).collect();
        let previewed = self.preview(others).await;
        for (item, _) in others.iter().zip(were_open).filter(|(item, was)| *was && !item.state.is_open()) {
            ended(item);
        }
        previewed?;
        self.create_all(others, ended).await
    }

    async fn create_all(
        &mut self,
        items: &mut [Item],
        ended: &mut dyn FnMut(&Item),
    ) -> Result<(), ObjectError> {
        for item in items.iter_mut().filter(|item| item.state.is_open()) {
            let created = self.created(item).await;
            item.state = or_refused(created)?;
            ended(item);
        }
        Ok(())
    }

    async fn created(&mut self, item: &mut Item) -> Result<State, ObjectError> {
        let object = &item.object;
        let (resource, references) = match self.resolved(object, false).await? {
            Ok(resolved) => resolved,
            Err(reason) => return Ok(State::Refused(reason)),
        };
        item.notes = notes(&references);
        let uid = &object.meta.uid;
        Ok(match self.post(object, &resource, &references, "").await? {
            Posted::Accepted(answer) => {
                if let Some(now) = answer.pointer("/metadata/uid").and_then(Value::as_str) {
                    self.owners.now.insert(uid.clone(), now.to_owned());
                }
                if object.meta.kind == "Namespace" {
                    self.namespaces.remove(&object.meta.name);
                }
                item.notes.extend(volume_note(&answer));
                State::Created
            }
            Posted::Exists => {
                // Created since the preview, such as by a controller.
                if let Some(now) = uid_at(&self.api, &resource.of(object)).await? {
                    self.owners.now.insert(uid.clone(), now);
                }
                State::Exists
            }
            Posted::Unchecked(reason) | Posted::Refused(reason) => State::Refused(reason),
        })
    }

    /// Where an object is created, and with which references; an error is why it cannot be.
    async fn resolved(
        &mut self,
        object: &Object,
        is_preview: bool,
    ) -> Result<Result<(Resource, References), String>, ApiError> {
        let (api_version, kind) = (&object.meta.api_version, &object.meta.kind);
        let Some(resource) = self.discovery.resource(&self.api, api_version, kind).await? else {
            return Ok(Err(one_line(&format!("the API server does not serve {kind} of {api_version}"))));
        };
        let references = self.owners.of(&self.api, &mut self.discovery, object, is_preview).await?;
        if references.is_owned || references.gone.is_empty() || self.without_owners {
            return Ok(Ok((resource, references)));
        }
        Ok(Err(format!(
            "its owner is gone, so the cluster would delete it at once: {}; restore the owner too, or use --without-owners",
            references.gone.join(", ")
        )))
    }

    /// The state of an object whose namespace does not exist.
    async fn without_namespace(
        &mut self,
        object: &Object,
        resource: &Resource,
        items: &[Item],
    ) -> Result<Option<State>, ApiError> {
        let namespace = object.meta.namespace.as_str();
        if !resource.namespaced {
            return Ok(None);
        }
        let is_restored = |item: &Item| {
            item.object.meta.kind == "Namespace" && item.object.meta.name == namespace && item.state.is_open()
        };
        let shown = one_line(namespace);
        Ok(match self.namespace(namespace).await? {
            Namespace::Active => None,
            Namespace::Terminating => {
                Some(State::Refused(format!("namespace {shown} is being deleted; wait until it is gone")))
            }
            Namespace::Absent if items.iter().any(is_restored) => {
                Some(State::Unchecked(format!("namespace {shown} does not exist yet")))
            }
            Namespace::Absent => Some(State::Refused(format!(
                "namespace {shown} does not exist; create it, or restore it with --namespace {shown} alone"
            ))),
        })
    }

    async fn namespace(&mut self, name: &str) -> Result<Namespace, ApiError> {
        if let Some(known) = self.namespaces.get(name) {
            return Ok(*known);
        }
        let resource = self.discovery.resource(&self.api, "v1", "Namespace").await?;
        let object: Option<Value> = match resource {
            None => None,
            Some(resource) => self.api.get(&resource.item("", name)).await?.if_found()?,
        };
        let state = match object {
            None => Namespace::Absent,
            Some(object) if object.pointer("/metadata/deletionTimestamp").is_some() => Namespace::Terminating,
            Some(_) => Namespace::Active,
        };
        self.namespaces.insert(name.to_owned(), state);
        Ok(state)
    }

    async fn post(
        &self,
        object: &Object,
        resource: &Resource,
        references: &References,
        query: &str,
    ) -> Result<Posted, ObjectError> {
        let stored = self.source.body(object)?;
        let bytes = if references.are_kept() {
            stored.to_vec()
        } else {
            match with_owners(&stored, &|owner| references.change(owner)) {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Posted::Refused(format!("cannot change its owners: {error}"))),
            }
        };
        let path = format!("{}{query}", resource.collection(&object.meta.namespace));
        let body = Body { content_type: object.format.content_type(), bytes };
        Ok(judged(&self.api.post(&path, body).await?)?)
    }
}

fn judged(response: &Response) -> Result<Posted, ApiError> {
    if response.status.is_success() {
        return Ok(Posted::Accepted(Box::new(response.json()?)));
    }
    if response.is_because("AlreadyExists") {
        return Ok(Posted::Exists);
    }
    let message = response.message();
    // A webhook with side effects (Kubernetes, `admission/plugin/webhook/errors`).
    if message.contains("does not support dry run") {
        return Ok(Posted::Unchecked(message.to_string()));
    }
    Ok(Posted::Refused(format!("{}: {message}", response.status)))
}

/// What the operator may not read or do is refused for one object, and the others continue.
fn or_refused(state: Result<State, ObjectError>) -> Result<State, ObjectError> {
    match state {
        Err(ObjectError::Api(error @ ApiError::Refused { status, .. })) if status.is_client_error() => {
            Ok(State::Refused(error.to_string()))
        }
        state => state,
    }
}

fn has_dry_run(major: &str, minor: &str) -> bool {
    // OpenShift's is such as `11+`.
    let digits = minor.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    major == "1" && digits.parse::<u32>().is_ok_and(|minor| minor >= FIRST_DRY_RUN)
}

fn notes(references: &References) -> Vec<String> {
    let gone = &references.gone;
    if gone.is_empty() {
        Vec::new()
    } else {
        vec![format!("without its owner, which is gone: {}", gone.join(", "))]
    }
}

/// A volume keeps the uid of the claim that it was bound to.
fn volume_note(object: &Value) -> Option<String> {
    let is_claim = object.get("kind")? == "PersistentVolumeClaim";
    let volume = object.pointer("/spec/volumeName")?.as_str().filter(|_| is_claim)?;
    Some(one_line(&format!(
        "volume {volume} is for the old claim; if it exists, remove spec.claimRef.uid and resourceVersion from it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_requested_only_of_a_server_that_does_not_create_the_object() {
        for (major, minor, wanted) in [
            ("1", "34", true),
            ("1", "13+", true),
            ("1", "11+", false),
            ("1", "9", false),
            ("", "", false),
            ("2", "x", false),
        ] {
            assert_eq!(has_dry_run(major, minor), wanted, "{major}.{minor}");
        }
    }
}
