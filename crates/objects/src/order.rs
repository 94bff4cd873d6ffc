//! The order in which objects are created.

use std::collections::HashMap;

use crate::object::Object;

/// Kinds in their order: first what others name or need. Kinds that are not listed, such as those of custom resources, are created
/// before the workloads.
const FIRST: [&str; 19] = [
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "PersistentVolume",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "LimitRange",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "ImageStream",
    "Service",
    "Endpoints",
    "EndpointSlice",
];
const LAST: [&str; 14] = [
    "BuildConfig",
    "ReplicationController",
    "ReplicaSet",
    "DaemonSet",
    "StatefulSet",
    "Deployment",
    "DeploymentConfig",
    "Pod",
    "Job",
    "CronJob",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Route",
    "PodDisruptionBudget",
];
/// After all objects that it counts: its admission refuses them until the quota's own status is known.
const QUOTA: &str = "ResourceQuota";

fn rank(kind: &str) -> usize {
    let at = |kinds: &[&str]| kinds.iter().position(|listed| *listed == kind);
    match (at(&FIRST), at(&LAST)) {
        (Some(first), _) => first,
        (None, Some(last)) => FIRST.len() + 1 + last,
        (None, None) if kind == QUOTA => FIRST.len() + 1 + LAST.len(),
        (None, None) => FIRST.len(),
    }
}

/// Sorts by kind and key, but each owner before what it owns, because that needs the owner's new uid.
pub fn sorted(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort_by(|a, b| rank(&a.meta.kind).cmp(&rank(&b.meta.kind)).then_with(|| a.key.cmp(&b.key)));
    let by_uid: HashMap<&str, usize> = objects
        .iter()
        .enumerate()
        .filter(|(_, object)| !object.meta.uid.is_empty())
        .map(|(index, object)| (object.meta.uid.as_str(), index))
        .collect();
    let mut order = Vec::with_capacity(objects.len());
    let mut seen = vec![false; objects.len()];
    for index in 0..objects.len() {
        // An explicit stack, because a hostile snapshot may have a long chain of owners, or a circle.
        let mut open = vec![(index, false)];
        while let Some((at, owners_done)) = open.pop() {
            if owners_done {
                order.push(at);
            } else if !std::mem::replace(&mut seen[at], true) {
                open.push((at, true));
                let owners = objects[at].meta.owners.iter().rev();
                open.extend(owners.filter_map(|owner| Some((*by_uid.get(owner.uid.as_str())?, false))));
            }
        }
    }
    let mut taken: Vec<Option<Object>> = objects.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| taken[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Owner;
    use crate::testing::object;

    fn names(objects: Vec<Object>) -> Vec<String> {
        sorted(objects)
            .into_iter()
            .map(|object| format!("{}/{}", object.meta.kind, object.meta.name))
            .collect()
    }

    fn owned_by(mut object: Object, uid: &str) -> Object {
        object.meta.owners.push(Owner { uid: uid.to_owned(), ..Owner::default() });
        object
    }

    #[test]
    fn a_namespace_comes_first_and_workloads_after_what_they_need() {
        let kinds = [
            "ResourceQuota",
            "Pod",
            "Deployment",
            "Widget",
            "Service",
            "Secret",
            "ServiceAccount",
            "Namespace",
        ];
        let objects = kinds.map(|kind| object(kind, "shop", "a")).to_vec();
        let wanted = [
            "Namespace",
            "ServiceAccount",
            "Secret",
            "Service",
            "Widget",
            "Deployment",
            "Pod",
            "ResourceQuota",
        ];
        assert_eq!(names(objects), wanted.map(|kind| format!("{kind}/a")));
    }

    #[test]
    fn an_owner_comes_before_what_it_owns_whatever_their_kinds_are() {
        let objects = vec![
            owned_by(object("Secret", "shop", "password"), "Widget-w"),
            owned_by(object("Widget", "shop", "w"), "Deployment-d"),
            object("Deployment", "shop", "d"),
            owned_by(object("ConfigMap", "shop", "c"), "elsewhere"),
        ];
        assert_eq!(names(objects), ["Deployment/d", "Widget/w", "Secret/password", "ConfigMap/c"]);
        let circle = vec![
            owned_by(object("Secret", "shop", "a"), "Secret-b"),
            owned_by(object("Secret", "shop", "b"), "Secret-a"),
        ];
        assert_eq!(names(circle).len(), 2, "a circle of owners ends");
    }
}
