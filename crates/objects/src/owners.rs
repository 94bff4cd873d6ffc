//! References to owners. The cluster deletes an object at once if none of its owners exists with the uid in the reference.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::api::{Api, ApiError};
use crate::discovery::Discovery;
use crate::metadata::{Owner, OwnerChange};
use crate::object::Object;

/// The owners of the objects of one restore, by the uid that they had in the snapshot.
#[derive(Debug, Default)]
pub struct Owners {
    /// Objects of this restore.
    pub restored: HashSet<String>,
    /// The uid that an object of this restore has now.
    pub now: HashMap<String, String>,
    /// Other objects: whether the cluster has them with this uid.
    living: HashMap<String, bool>,
}

/// What becomes of an object's references.
#[derive(Debug, Default)]
pub struct References {
    changes: HashMap<String, OwnerChange>,
    /// Owners that do not exist.
    pub gone: Vec<String>,
    /// Whether there is an owner that exists.
    pub is_owned: bool,
}

impl References {
    pub fn change(&self, owner: &Owner) -> OwnerChange {
        self.changes.get(&owner.uid).cloned().unwrap_or(OwnerChange::Keep)
    }

    /// Whether the stored bytes are the body as they are.
    pub fn are_kept(&self) -> bool {
        self.changes.values().all(|change| *change == OwnerChange::Keep)
    }
}

impl Owners {
    /// What becomes of an object's references. Before its owners are created, `is_preview`, they count as existing.
    pub async fn of(
        &mut self,
        api: &Api,
        discovery: &mut Discovery,
        object: &Object,
        is_preview: bool,
    ) -> Result<References, ApiError> {
        let mut references = References::default();
        for owner in &object.meta.owners {
            let change = match self.now.get(&owner.uid).cloned() {
                Some(now) if now == owner.uid => OwnerChange::Keep,
                Some(now) => OwnerChange::Uid(now),
                None if is_preview && self.restored.contains(&owner.uid) => OwnerChange::Keep,
                None if self.is_living(api, discovery, owner, &object.meta.namespace).await? => {
                    OwnerChange::Keep
                }
                None => OwnerChange::Drop,
            };
            match change {
                OwnerChange::Drop => references.gone.push(owner.to_string()),
                _ => references.is_owned = true,
            }
            references.changes.insert(owner.uid.clone(), change);
        }
        Ok(references)
    }

    async fn is_living(
        &mut self,
        api: &Api,
        discovery: &mut Discovery,
        owner: &Owner,
        namespace: &str,
    ) -> Result<bool, ApiError> {
        if let Some(known) = self.living.get(&owner.uid) {
            return Ok(*known);
        }
        let resource = discovery.resource(api, &owner.api_version, &owner.kind).await?;
        let uid = match resource {
            Some(resource) => uid_at(api, &resource.item(namespace, &owner.name)).await?,
            None => None,
        };
        let is_living = uid.is_some_and(|uid| uid == owner.uid);
        self.living.insert(owner.uid.clone(), is_living);
        Ok(is_living)
    }
}

/// The uid of the object at a path, if there is one.
pub async fn uid_at(api: &Api, path: &str) -> Result<Option<String>, ApiError> {
    let object: Option<Value> = api.get(path).await?.if_found()?;
    Ok(object.and_then(|object| object.pointer("/metadata/uid")?.as_str().map(str::to_owned)))
}
