//! Objects that a controller makes again by itself. In a namespace they are left out; by their own name they can be restored.

use std::collections::BTreeSet;

use crate::metadata::Metadata;
use crate::object::Object;

/// Kinds that are left out if a controller owns them. Of other kinds, such as a secret with a generated password or a volume claim,
/// a new one would not be the same.
const MADE_BY_OWNERS: [&str; 6] =
    ["ControllerRevision", "EndpointSlice", "Job", "Pod", "ReplicaSet", "ReplicationController"];
/// Configuration that each namespace gets.
const IN_EACH_NAMESPACE: [&str; 2] = ["kube-root-ca.crt", "openshift-service-ca.crt"];
/// On the secret with a service account's token, and on OpenShift 3's secret for its registry. The token is for the old account.
const OF_A_TOKEN: [&str; 2] = ["kubernetes.io/service-account.uid", "openshift.io/token-secret.name"];
/// On the pod that shows a static pod of a kubelet.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The services of the objects that are restored, whose endpoints a controller finds.
pub struct Services(BTreeSet<(String, String)>);

impl Services {
    pub fn of<'o>(objects: impl IntoIterator<Item = &'o Object>) -> Self {
        let services = objects.into_iter().filter(|object| object.meta.selects_pods);
        Self(services.map(|service| (service.meta.namespace.clone(), service.meta.name.clone())).collect())
    }

    /// Why an object of a namespace is left out; `None` if it is restored.
    pub fn leave_out(&self, object: &Object) -> Option<String> {
        let Metadata { kind, name, namespace, annotations, owners, is_being_deleted, .. } = &object.meta;
        if *is_being_deleted && kind != "Namespace" {
            return Some("it was being deleted".to_owned());
        }
        if MADE_BY_OWNERS.contains(&kind.as_str())
            && let Some(owner) = owners.iter().find(|owner| owner.controller)
        {
            return Some(format!("made by its controller, {} {}", owner.kind, owner.name));
        }
        let reason = match kind.as_str() {
            "Event" => "events are not restored",
            "Lease" => "its holder renews it",
            "Pod" if annotations.contains_key(MIRROR) => "made by its kubelet",
            "Endpoints" if self.0.contains(&(namespace.clone(), name.clone())) => {
                "made by its controller, of the service"
            }
            "ConfigMap" if IN_EACH_NAMESPACE.contains(&name.as_str()) => "made by its controller",
            "Secret" if OF_A_TOKEN.iter().any(|annotation| annotations.contains_key(*annotation)) => {
                "a token of the old service account, which would be deleted"
            }
            _ => return None,
        };
        Some(reason.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Owner;
    use crate::testing::object;

    fn owned(kind: &str, controller: bool) -> Object {
        let mut object = object(kind, "shop", "web-1");
        let (kind, name) = ("Deployment".to_owned(), "web".to_owned());
        object.meta.owners = vec![Owner { kind, name, controller, ..Owner::default() }];
        object
    }

    fn annotated(kind: &str, name: &str, annotation: &str) -> Object {
        let mut object = object(kind, "shop", name);
        object.meta.annotations.insert(annotation.to_owned(), "x".to_owned());
        object
    }

    #[test]
    fn what_a_controller_makes_again_is_left_out_and_what_it_cannot_make_equal_is_not() {
        let mut service = object("Service", "shop", "web");
        service.meta.selects_pods = true;
        let without_pods = object("Service", "shop", "outside");
        let services = Services::of([&service, &without_pods]);
        let left_out = |object: &Object| services.leave_out(object);
        assert_eq!(left_out(&owned("ReplicaSet", true)).unwrap(), "made by its controller, Deployment web");
        for object in [
            owned("Pod", true),
            object("Event", "shop", "e"),
            object("Lease", "shop", "l"),
            object("Endpoints", "shop", "web"),
            object("ConfigMap", "shop", "kube-root-ca.crt"),
            annotated("Secret", "default-token-1", "kubernetes.io/service-account.uid"),
            annotated("Pod", "etcd-m1", MIRROR),
        ] {
            assert!(left_out(&object).is_some(), "{object}");
        }
        for object in [
            owned("Pod", false),
            owned("Secret", true),
            owned("PersistentVolumeClaim", true),
            owned("Deployment", true),
            object("Pod", "shop", "alone"),
            object("Endpoints", "shop", "outside"),
            object("ConfigMap", "shop", "settings"),
            object("Secret", "shop", "db"),
            service.clone(),
        ] {
            assert_eq!(left_out(&object), None, "{object}");
        }
        let mut namespace = object("Namespace", "", "shop");
        namespace.meta.is_being_deleted = true;
        assert_eq!(left_out(&namespace), None, "the snapshot may be of the moment of its deletion");
    }
}
