//! The metadata in the stored bytes of an object, read and edited without the schema of its kind.
//!
//! Sources: Kubernetes, `apimachinery/pkg/runtime/types.proto` for the envelope, `apimachinery/pkg/apis/meta/v1/generated.proto` for
//! the numbers of the fields.

use std::collections::BTreeMap;

use nightshift_snapshot::{ObjectType, PROTOBUF, Unknown};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;

use crate::wire::{self, Edited, Malformed};

/// Field numbers: `runtime.Unknown.raw`, the metadata of every kind, and the fields of `ObjectMeta` and `OwnerReference`.
const RAW: u64 = 2;
const METADATA: u64 = 1;
const NAME: u64 = 1;
const NAMESPACE: u64 = 3;
const OWNER_REFERENCES: u64 = 13;
const OWNER_UID: u64 = 4;
/// `Service.spec` and `ServiceSpec.selector`.
const SPEC: u64 = 2;
const SELECTOR: u64 = 2;

/// How an object is stored. The API server accepts both as the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Protobuf,
}

impl Format {
    pub fn of(body: &[u8]) -> Option<Self> {
        match body {
            [b'{', ..] => Some(Self::Json),
            body if body.starts_with(PROTOBUF) => Some(Self::Protobuf),
            _ => None,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What an object says about itself. Fields that it does not have are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// It was marked as deleted, and waited for its finalizers.
    pub is_being_deleted: bool,
    pub annotations: BTreeMap<String, String>,
    pub owners: Vec<Owner>,
    /// A service whose endpoints a controller finds.
    pub selects_pods: bool,
}

/// A reference to an object without which this one is deleted.
#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    #[prost(string, tag = "5")]
    #[serde(default)]
    pub api_version: String,
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub kind: String,
    #[prost(string, tag = "3")]
    #[serde(default)]
    pub name: String,
    #[prost(string, tag = "4")]
    #[serde(default)]
    pub uid: String,
    /// The owner makes this object, and makes it again.
    #[prost(bool, tag = "6")]
    #[serde(default)]
    pub controller: bool,
}

/// What becomes of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerChange {
    Keep,
    /// The owner was created again, and has this uid now.
    Uid(String),
    Drop,
}

/// Reads stored bytes from an untrusted source; `None` if they are not an object.
pub fn read(body: &[u8]) -> Option<Metadata> {
    match Format::of(body)? {
        Format::Json => of_json(body),
        Format::Protobuf => of_protobuf(&body[PROTOBUF.len()..]),
    }
}

fn of_protobuf(message: &[u8]) -> Option<Metadata> {
    let Unknown { type_meta, raw } = Unknown::decode(message).ok()?;
    let ObjectType { api_version, kind } = type_meta?;
    let meta = Raw::decode(raw.as_slice()).ok()?.metadata?;
    let spec = wire::content(&raw, SPEC).ok()?.filter(|_| kind == "Service");
    let selector = spec.and_then(|spec| wire::content(spec, SELECTOR).ok()?);
    Some(Metadata {
        api_version,
        kind,
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        is_being_deleted: meta.deletion_timestamp.is_some(),
        annotations: meta.annotations,
        owners: meta.owner_references,
        selects_pods: selector.is_some(),
    })
}

fn of_json(body: &[u8]) -> Option<Metadata> {
    let Json { api_version, kind, metadata: meta, spec } = serde_json::from_slice(body).ok()?;
    let selector =
        spec.as_ref().filter(|_| kind == "Service").and_then(|spec| spec.get("selector")?.as_object());
    Some(Metadata {
        selects_pods: selector.is_some_and(|selector| !selector.is_empty()),
        api_version,
        kind,
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        is_being_deleted: meta.deletion_timestamp.is_some(),
        annotations: meta.annotations.unwrap_or_default(),
        owners: meta.owner_references.unwrap_or_default(),
    })
}

/// A copy of an object with other references to its owners.
pub fn with_owners(body: &[u8], change: &dyn Fn(&Owner) -> OwnerChange) -> Result<Vec<u8>, Malformed> {
    match Format::of(body).ok_or(Malformed)? {
        Format::Json => json_with_owners(body, change),
        Format::Protobuf => in_metadata(body, &mut |meta| {
            wire::edited(meta, OWNER_REFERENCES, &mut |bytes| {
                let owner = Owner::decode(bytes).map_err(|_| Malformed)?;
                match change(&owner) {
                    OwnerChange::Keep => Ok(Some(bytes.to_vec())),
                    OwnerChange::Drop => Ok(None),
                    OwnerChange::Uid(uid) => {
                        wire::edited(bytes, OWNER_UID, &mut |_| Ok(Some(uid.clone().into_bytes()))).map(Some)
                    }
                }
            })
            .map(Some)
        }),
    }
}

fn json_with_owners(body: &[u8], change: &dyn Fn(&Owner) -> OwnerChange) -> Result<Vec<u8>, Malformed> {
    let mut object: Value = serde_json::from_slice(body).map_err(|_| Malformed)?;
    if let Some(owners) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        owners.retain_mut(|reference| {
            let Ok(owner) = Owner::deserialize(&*reference) else { return true };
            match change(&owner) {
                OwnerChange::Keep => true,
                OwnerChange::Drop => false,
                OwnerChange::Uid(uid) => {
                    reference["uid"] = uid.into();
                    true
                }
            }
        });
    }
    serde_json::to_vec(&object).map_err(|_| Malformed)
}

/// A copy of a protobuf object with another name and namespace, which the API server can decode beside the one that exists.
pub fn renamed(body: &[u8], name: &str, namespace: &str) -> Result<Vec<u8>, Malformed> {
    in_metadata(body, &mut |meta| {
        let meta = wire::edited(meta, NAME, &mut |_| Ok(Some(name.as_bytes().to_vec())))?;
        wire::edited(&meta, NAMESPACE, &mut |old| {
            Ok(Some(if old.is_empty() { Vec::new() } else { namespace.as_bytes().to_vec() }))
        })
        .map(Some)
    })
}

fn in_metadata(body: &[u8], edit: &mut dyn FnMut(&[u8]) -> Edited) -> Result<Vec<u8>, Malformed> {
    let message = body.strip_prefix(PROTOBUF).ok_or(Malformed)?;
    let edited = wire::edited(message, RAW, &mut |raw| wire::edited(raw, METADATA, edit).map(Some))?;
    Ok([PROTOBUF, &edited].concat())
}

/// Any kind: its metadata is its first field.
#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<Time>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    owner_references: Vec<Owner>,
}

/// `meta.v1.Time`, of which only the presence counts.
#[derive(Clone, Copy, PartialEq, Message)]
struct Time {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    api_version: String,
    kind: String,
    metadata: JsonMeta,
    spec: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMeta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    deletion_timestamp: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{json, protobuf};

    fn owner(name: &str, uid: &str) -> Owner {
        let (api_version, kind) = ("apps/v1".to_owned(), "ReplicaSet".to_owned());
        Owner { api_version, kind, name: name.to_owned(), uid: uid.to_owned(), controller: true }
    }

    fn owned() -> Metadata {
        Metadata {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: "shop".to_owned(),
            name: "web-1".to_owned(),
            uid: "u-1".to_owned(),
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            owners: vec![owner("rs", "u-rs"), owner("other", "u-other")],
            ..Metadata::default()
        }
    }

    #[test]
    fn metadata_is_read_from_both_formats() {
        let wanted = Metadata { is_being_deleted: true, ..owned() };
        for body in [protobuf(&wanted), json(&wanted)] {
            assert_eq!(read(&body), Some(wanted.clone()));
        }
        let service = Metadata { kind: "Service".to_owned(), selects_pods: true, ..owned() };
        for body in [protobuf(&service), json(&service)] {
            assert!(read(&body).unwrap().selects_pods);
        }
        for other in [b"".as_slice(), b"12", b"k8s\0", b"{}", b"k8s:enc:aescbc:v1:k:", b"[1]"] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }

    #[test]
    fn owners_are_left_out_or_get_their_new_uid_and_the_rest_stays_as_it_is() {
        for body in [protobuf(&owned()), json(&owned())] {
            let change = |owner: &Owner| match owner.uid.as_str() {
                "u-rs" => OwnerChange::Uid("a-longer-uid-of-now".to_owned()),
                _ => OwnerChange::Drop,
            };
            let edited = with_owners(&body, &change).unwrap();
            let wanted = Metadata { owners: vec![owner("rs", "a-longer-uid-of-now")], ..owned() };
            assert_eq!(read(&edited), Some(wanted));
            let kept = with_owners(&body, &|_| OwnerChange::Keep).unwrap();
            assert_eq!(read(&kept), read(&body));
            let back = with_owners(&edited, &|_| OwnerChange::Drop).unwrap();
            assert_eq!(read(&back), Some(Metadata { owners: Vec::new(), ..owned() }));
        }
        // Fields of the kind itself, and unknown ones of the metadata, are copied.
        let body = protobuf(&owned());
        assert_eq!(with_owners(&body, &|_| OwnerChange::Keep).unwrap(), body);
        let spec = b"\x12\x04\x0a\x02xx".as_slice();
        let dropped = with_owners(&body, &|_| OwnerChange::Drop).unwrap();
        assert!(dropped.windows(spec.len()).any(|window| window == spec), "{dropped:?}");
    }

    #[test]
    fn another_name_and_namespace_change_nothing_else() {
        let edited = renamed(&protobuf(&owned()), "preview", "default").unwrap();
        let wanted = Metadata { name: "preview".to_owned(), namespace: "default".to_owned(), ..owned() };
        assert_eq!(read(&edited), Some(wanted));
        let cluster = Metadata { namespace: String::new(), ..owned() };
        let edited = renamed(&protobuf(&cluster), "preview", "default").unwrap();
        assert_eq!(read(&edited).unwrap().namespace, "");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_edited_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200, byte: u8) {
            read(&bytes);
            let mut body = protobuf(&owned());
            let at = at % body.len();
            body[at] = byte;
            read(&body);
            let _refused = with_owners(&body, &|_| OwnerChange::Drop);
            let _refused = with_owners(&[PROTOBUF, &bytes].concat(), &|_| OwnerChange::Drop);
        }
    }
}
