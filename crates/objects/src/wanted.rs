//! Which objects an operator asks for: by kind and name, by key, or all of a namespace.

use nightshift_core::text::one_line;

use crate::found::Found;
use crate::metadata::Metadata;
use crate::object::Object;

/// Objects in one message.
const MAX_SHOWN: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A namespace with all its objects.
    Namespace(String),
    Objects {
        names: Vec<Name>,
        /// Of objects that are named by kind and name; `None` for any.
        namespace: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The whole key in etcd.
    Key(Vec<u8>),
    /// Such as `deployment/web`, `deployments.apps/web`, or `Deployment/web`.
    Kind { kind: String, name: String },
}

impl Wanted {
    /// Reads the words of a command line. The error is why they are invalid.
    pub fn parse(words: &[String], namespace: Option<&str>) -> Result<Self, String> {
        match (words, namespace) {
            ([], None) => Err("name an object such as deployment/web, a key, or --namespace".to_owned()),
            ([], Some(namespace)) => Ok(Self::Namespace(namespace.to_owned())),
            (words, namespace) => {
                let names = words.iter().map(|word| Name::parse(word)).collect::<Result<_, _>>()?;
                Ok(Self::Objects { names, namespace: namespace.map(str::to_owned) })
            }
        }
    }

    /// Whether the object of a key may be wanted: its value is then read.
    pub fn may_be(&self, key: &[u8]) -> bool {
        let mut segments = key.rsplit(|byte| *byte == b'/');
        let (last, before) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        match self {
            Self::Namespace(namespace) => {
                before == namespace.as_bytes() || last == namespace.as_bytes() && before == b"namespaces"
            }
            Self::Objects { names, namespace } => names.iter().any(|name| match name {
                Name::Key(wanted) => wanted == key,
                Name::Kind { name, .. } => {
                    last == name.as_bytes()
                        && namespace.as_ref().is_none_or(|namespace| before == namespace.as_bytes())
                }
            }),
        }
    }

    /// Whether the object of such a key is wanted.
    pub fn is(&self, key: &[u8], meta: &Metadata) -> bool {
        match self {
            Self::Namespace(wanted) => {
                meta.namespace == *wanted || (meta.kind == "Namespace" && meta.name == *wanted)
            }
            Self::Objects { names, namespace } => {
                names.iter().any(|name| name.is(key, meta, namespace.as_deref()))
            }
        }
    }

    /// Why what was found is not what is wanted: something is missing, or a name is not clear.
    pub fn unmet(&self, found: &Found) -> Option<String> {
        match self {
            Self::Namespace(namespace) if found.objects.is_empty() => {
                let key = format!("/namespaces/{namespace}").into_bytes();
                Some(missing(&format!("namespace {namespace}"), found, |deleted| deleted.ends_with(&key)))
            }
            Self::Namespace(_) => None,
            Self::Objects { names, namespace } => {
                names.iter().find_map(|name| name.unmet(found, self, namespace.as_deref()))
            }
        }
    }
}

impl Name {
    fn parse(word: &str) -> Result<Self, String> {
        if word.starts_with('/') {
            return Ok(Self::Key(word.as_bytes().to_vec()));
        }
        match word.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::Kind { kind: kind.to_lowercase(), name: name.to_owned() })
            }
            _ => Err(format!(
                "`{word}` is neither an object such as deployment/web nor a key such as /registry/deployments/shop/web"
            )),
        }
    }

    fn is(&self, key: &[u8], meta: &Metadata, namespace: Option<&str>) -> bool {
        match self {
            Self::Key(wanted) => wanted == key,
            Self::Kind { kind, name } => {
                namespace.is_none_or(|namespace| meta.namespace == namespace)
                    && meta.name == *name
                    && is_kind(kind, key, meta)
            }
        }
    }

    fn unmet(&self, found: &Found, wanted: &Wanted, namespace: Option<&str>) -> Option<String> {
        let is_wanted = |object: &&Object| self.is(&object.key, &object.meta, namespace);
        let matches: Vec<&Object> = found.objects.iter().filter(is_wanted).collect();
        match (matches.as_slice(), self) {
            ([_], _) => None,
            ([], Self::Key(key)) if found.unusable.iter().any(|(unusable, _)| unusable == key) => None,
            ([], Self::Key(key)) => {
                let what = format!("key {}", String::from_utf8_lossy(key));
                Some(missing(&what, found, |deleted| deleted == key))
            }
            // It may be one of those that cannot be read.
            ([], Self::Kind { .. }) if !found.unusable.is_empty() => None,
            ([], Self::Kind { kind, name }) => {
                Some(missing(&format!("{kind}/{name}"), found, |deleted| wanted.may_be(deleted)))
            }
            (several, _) => {
                let several =
                    several.iter().take(MAX_SHOWN).map(|object| String::from_utf8_lossy(&object.key));
                Some(one_line(&format!(
                    "several objects match; name one by its key, or by its namespace with --namespace: {}",
                    several.collect::<Vec<_>>().join(", ")
                )))
            }
        }
    }
}

fn missing(what: &str, found: &Found, is_it: impl Fn(&[u8]) -> bool) -> String {
    match found.deleted.iter().find(|(key, _)| is_it(key)) {
        Some((key, revision)) => one_line(&format!(
            "the snapshot has no {what}: {} was deleted in revision {revision}; use an earlier night",
            String::from_utf8_lossy(key)
        )),
        None => one_line(&format!("the snapshot has no {what}; `nightshift inspect` lists its keys")),
    }
}

/// The plural of a kind is a part of the key. A group may follow the kind, as for kubectl.
fn is_kind(wanted: &str, key: &[u8], meta: &Metadata) -> bool {
    let (kind, group) = wanted.split_once('.').map_or((wanted, None), |(kind, group)| (kind, Some(group)));
    let own_group = meta.api_version.split_once('/').map_or("", |(group, _)| group);
    let mut parents = key.rsplit(|byte| *byte == b'/').skip(if meta.namespace.is_empty() { 1 } else { 2 });
    group.is_none_or(|group| group == own_group)
        && (meta.kind.to_lowercase() == kind || parents.any(|parent| parent == kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str], namespace: Option<&str>) -> Wanted {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Wanted::parse(&words, namespace).unwrap()
    }

    fn meta(api_version: &str, kind: &str, namespace: &str, name: &str) -> Metadata {
        let text = str::to_owned;
        Metadata {
            api_version: text(api_version),
            kind: text(kind),
            namespace: text(namespace),
            name: text(name),
            ..Metadata::default()
        }
    }

    fn takes(wanted: &Wanted, key: &str, meta: &Metadata) -> bool {
        wanted.may_be(key.as_bytes()) && wanted.is(key.as_bytes(), meta)
    }

    #[test]
    fn an_object_is_found_by_its_kind_its_plural_and_its_group() {
        let key = "/registry/deployments/shop/web";
        let web = meta("apps/v1", "Deployment", "shop", "web");
        for word in ["deployment/web", "Deployment/web", "deployments/web", "deployments.apps/web", key] {
            assert!(takes(&wanted(&[word], None), key, &web), "{word}");
            assert!(takes(&wanted(&[word], Some("shop")), key, &web), "{word}");
        }
        for word in
            ["deployment/other", "replicaset/web", "deployment.other/web", "/registry/deployments/shop/we"]
        {
            assert!(!takes(&wanted(&[word], None), key, &web), "{word}");
        }
        assert!(!takes(&wanted(&["deployment/web"], Some("other")), key, &web));
        // A namespace that is named as the kind.
        let other = meta("v1", "Pod", "deployment", "web");
        assert!(!takes(&wanted(&["deployment/web"], None), "/registry/pods/deployment/web", &other));
        // OpenShift 3, and a service, whose key has one more part.
        let route = meta("route.openshift.io/v1", "Route", "shop", "web");
        assert!(takes(&wanted(&["routes/web"], None), "/openshift.io/routes/shop/web", &route));
        let service = meta("v1", "Service", "shop", "web");
        assert!(takes(
            &wanted(&["services/web"], Some("shop")),
            "/kubernetes.io/services/specs/shop/web",
            &service
        ));
        let role = meta("rbac.authorization.k8s.io/v1", "ClusterRole", "", "admin");
        assert!(takes(&wanted(&["clusterrole/admin"], None), "/registry/clusterroles/admin", &role));
    }

    #[test]
    fn a_namespace_is_wanted_with_its_objects_and_no_others() {
        let shop = wanted(&[], Some("shop"));
        let namespace = meta("v1", "Namespace", "", "shop");
        assert!(takes(&shop, "/registry/namespaces/shop", &namespace));
        assert!(takes(&shop, "/registry/pods/shop/web", &meta("v1", "Pod", "shop", "web")));
        assert!(takes(
            &shop,
            "/registry/example.com/widgets/shop/w",
            &meta("example.com/v1", "Widget", "shop", "w")
        ));
        assert!(!takes(&shop, "/registry/pods/other/shop", &meta("v1", "Pod", "other", "shop")));
        // A cluster-wide object whose resource is named as the namespace.
        assert!(!takes(&shop, "/registry/example.com/shop/w", &meta("example.com/v1", "Shop", "", "w")));
    }

    #[test]
    fn other_words_are_refused() {
        let parse = |words: &[&str]| {
            Wanted::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), None)
        };
        for words in [&[][..], &["web"], &["deployment/"], &["/"][..0], &["a/b/c"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
