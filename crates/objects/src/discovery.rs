//! The URL of each kind, from the API server itself: it does not always follow from the key in etcd.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::api::{Api, ApiError};
use crate::object::Object;

/// In a path. Names are from the snapshot, and must not lead elsewhere.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b':').remove(b'.');

/// The resources that the API server has, by API version, as far as they were requested.
#[derive(Debug, Default)]
pub struct Discovery {
    known: BTreeMap<String, Vec<Group>>,
}

/// The resources below one path.
#[derive(Debug)]
struct Group {
    path: String,
    resources: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct ResourceList {
    resources: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    /// The plural; with a `/` it is a subresource.
    name: String,
    namespaced: bool,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Where the objects of a kind are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub namespaced: bool,
    base: String,
    plural: String,
}

impl Resource {
    /// The path to which an object is posted.
    pub fn collection(&self, namespace: &str) -> String {
        if self.namespaced {
            return format!("{}/namespaces/{}/{}", self.base, segment(namespace), self.plural);
        }
        format!("{}/{}", self.base, self.plural)
    }

    pub fn item(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), segment(name))
    }

    /// The path of an object of this kind.
    pub fn of(&self, object: &Object) -> String {
        self.item(&object.meta.namespace, &object.meta.name)
    }
}

fn segment(name: &str) -> String {
    // A name of dots alone would be resolved as a path.
    if name.chars().all(|c| c == '.') {
        return "%2E".repeat(name.len());
    }
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// The paths of an API version. OpenShift 3 had its own kinds of the version `v1` below `/oapi`.
fn paths(api_version: &str) -> Vec<String> {
    match api_version.split_once('/') {
        Some((group, version)) => vec![format!("/apis/{}/{}", segment(group), segment(version))],
        None => vec![format!("/api/{}", segment(api_version)), format!("/oapi/{}", segment(api_version))],
    }
}

impl Discovery {
    /// Where the objects of a kind are; `None` if the API server does not serve it.
    pub async fn resource(
        &mut self,
        api: &Api,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, ApiError> {
        if !self.known.contains_key(api_version) {
            let mut groups = Vec::new();
            for path in paths(api_version) {
                let found = api.get(&path).await?.if_found()?;
                groups.extend(found.map(|ResourceList { resources }| Group { path, resources }));
            }
            self.known.insert(api_version.to_owned(), groups);
        }
        Ok(self.known.get(api_version).and_then(|groups| find(groups, kind)))
    }
}

fn find(groups: &[Group], kind: &str) -> Option<Resource> {
    groups.iter().find_map(|group| {
        let listed = group.resources.iter().find(|listed| {
            listed.kind == kind
                && !listed.name.contains('/')
                && listed.verbs.iter().any(|verb| verb == "create")
        })?;
        Some(Resource {
            namespaced: listed.namespaced,
            base: group.path.clone(),
            plural: segment(&listed.name),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_resource_and_not_by_a_subresource() {
        let list = r#"{"resources":[
            {"name":"pods/binding","namespaced":true,"kind":"Binding","verbs":["create"]},
            {"name":"replicationcontrollers/scale","namespaced":true,"kind":"Scale","verbs":["get"]},
            {"name":"componentstatuses","namespaced":false,"kind":"ComponentStatus","verbs":["get"]},
            {"name":"endpoints","namespaced":true,"kind":"Endpoints","verbs":["create","get"]},
            {"name":"namespaces","namespaced":false,"kind":"Namespace","verbs":["create"]}]}"#;
        let ResourceList { resources } = serde_json::from_str(list).unwrap();
        let groups = [Group { path: "/api/v1".to_owned(), resources }];
        let endpoints = find(&groups, "Endpoints").unwrap();
        assert_eq!(endpoints.collection("shop"), "/api/v1/namespaces/shop/endpoints");
        assert_eq!(endpoints.item("shop", "system:web"), "/api/v1/namespaces/shop/endpoints/system:web");
        assert_eq!(find(&groups, "Namespace").unwrap().item("", "shop"), "/api/v1/namespaces/shop");
        for kind in ["Binding", "ComponentStatus", "Pod"] {
            assert_eq!(find(&groups, kind), None, "{kind}");
        }
    }

    #[test]
    fn a_name_of_a_hostile_snapshot_stays_one_segment_of_the_path() {
        for (name, wanted) in
            [("..", "%2E%2E"), ("a/../b", "a%2F..%2Fb"), ("a?b#c", "a%3Fb%23c"), ("web.v1-x", "web.v1-x")]
        {
            assert_eq!(segment(name), wanted);
        }
        assert_eq!(paths("apps/v1"), ["/apis/apps/v1"]);
        assert_eq!(paths("v1"), ["/api/v1", "/oapi/v1"]);
    }
}
