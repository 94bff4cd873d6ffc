//! Identifies stored values: Kubernetes stores objects as JSON, as protobuf, or encrypted.
//!
//! Sources: Kubernetes, `apimachinery/pkg/runtime/serializer/protobuf/doc.go` and `pkg/runtime/types.proto` for the envelope,
//! `apimachinery/pkg/apis/meta/v1/generated.proto` for the metadata, and `apiserver/pkg/server/options/encryptionconfig` for
//! the prefixes of encrypted values.

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::encrypted::Encrypted;

/// The prefix of every object that is stored as protobuf.
pub const PROTOBUF: &[u8] = b"k8s\0";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    Object(Envelope),
    /// It can be decrypted only with the API server's encryption configuration.
    Encrypted(Encrypted),
    /// Not a Kubernetes object, or an unreadable one.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    Json,
    Protobuf,
}

/// The identity of an object. Fields that the object does not have are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    pub encoding: Encoding,
    pub api_version: String,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The size of the whole stored value in bytes.
    pub size: u64,
}

impl Stored {
    /// Reads a value from an untrusted source.
    pub fn of(value: &[u8]) -> Self {
        if let Some(encrypted) = Encrypted::of(value) {
            return Self::Encrypted(encrypted);
        }
        let object = match value.strip_prefix(PROTOBUF) {
            Some(message) => protobuf(message),
            None => json(value),
        };
        match object {
            Some((encoding, ObjectType { api_version, kind }, meta)) => Self::Object(Envelope {
                encoding,
                api_version,
                kind,
                namespace: meta.namespace,
                name: meta.name,
                uid: meta.uid,
                size: value.len() as u64,
            }),
            None => Self::Other,
        }
    }
}

type Object = (Encoding, ObjectType, ObjectMeta);

fn protobuf(message: &[u8]) -> Option<Object> {
    let Unknown { type_meta, raw } = Unknown::decode(message).ok()?;
    // Field 1 of nearly every kind is its metadata. If it is something else, the name is left empty.
    let meta = Raw::decode(raw.as_slice()).ok().and_then(|raw| raw.metadata).unwrap_or_default();
    Some((Encoding::Protobuf, type_meta?, meta))
}

fn json(value: &[u8]) -> Option<Object> {
    if value.first() != Some(&b'{') {
        return None;
    }
    let Json { api_version, kind, metadata } = serde_json::from_slice(value).ok()?;
    Some((Encoding::Json, ObjectType { api_version, kind }, metadata.unwrap_or_default()))
}

/// `runtime.Unknown`
#[derive(Clone, PartialEq, Message)]
pub struct Unknown {
    #[prost(message, optional, tag = "1")]
    pub type_meta: Option<ObjectType>,
    #[prost(bytes = "vec", tag = "2")]
    pub raw: Vec<u8>,
}

/// `runtime.TypeMeta`
#[derive(Clone, PartialEq, Message)]
pub struct ObjectType {
    #[prost(string, tag = "1")]
    pub api_version: String,
    #[prost(string, tag = "2")]
    pub kind: String,
}

/// Any kind whose metadata is its first field.
#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    #[serde(default)]
    name: String,
    #[prost(string, tag = "3")]
    #[serde(default)]
    namespace: String,
    #[prost(string, tag = "5")]
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    api_version: String,
    kind: String,
    metadata: Option<ObjectMeta>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pod() -> Vec<u8> {
        let metadata = ObjectMeta { name: "web-1".into(), namespace: "shop".into(), uid: "u-1".into() };
        // A pod also has a spec, which is ignored.
        let mut raw = Raw { metadata: Some(metadata) }.encode_to_vec();
        raw.extend_from_slice(b"\x12\x04\x0a\x02xx");
        let type_meta = Some(ObjectType { api_version: "v1".into(), kind: "Pod".into() });
        let mut value = PROTOBUF.to_vec();
        value.extend(Unknown { type_meta, raw }.encode_to_vec());
        value.extend_from_slice(b"\x1a\x00\x22\x00");
        value
    }

    fn envelope(encoding: Encoding, size: usize) -> Stored {
        Stored::Object(Envelope {
            encoding,
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            uid: "u-1".into(),
            size: size as u64,
        })
    }

    #[test]
    fn objects_in_protobuf_and_json_are_identified() {
        assert_eq!(Stored::of(&pod()), envelope(Encoding::Protobuf, pod().len()));
        let json = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{"a":"b"},"name":"web-1","namespace":"shop","uid":"u-1"},"spec":{}}"#;
        assert_eq!(Stored::of(json), envelope(Encoding::Json, json.len()));
    }

    #[test]
    fn of_an_encrypted_value_the_provider_and_key_are_shown() {
        for (value, provider, key) in [
            (b"k8s:enc:aescbc:v1:key1:\x01\x02:\xff".as_slice(), "aescbc", Some("key1")),
            (b"k8s:enc:kms:v2:vault:\x00", "kms", Some("vault")),
            (b"k8s:enc:secretbox", "secretbox", None),
        ] {
            let key = key.map(str::to_owned);
            assert_eq!(Stored::of(value), Stored::Encrypted(Encrypted { provider: provider.into(), key }));
        }
    }

    #[test]
    fn other_values_are_not_identified_as_objects() {
        for value in [b"".as_slice(), b"k8s", b"k8s\0", b"k8s:enc:", b"12", b"{}", b"{\"kind\":1}", b"[{}]"] {
            assert_eq!(Stored::of(value), Stored::Other, "{value:?}");
        }
        // Nested much deeper than any object.
        let deep = [b"{\"a\":".repeat(100_000), b"1".to_vec()].concat();
        assert_eq!(Stored::of(&deep), Stored::Other);
    }

    proptest! {
        #[test]
        fn reading_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..80, at in 0usize..80) {
            Stored::of(&bytes);
            Stored::of(&[PROTOBUF, &bytes].concat());
            Stored::of(&[b"k8s:enc:", bytes.as_slice()].concat());
            let mut pod = pod();
            pod.truncate(cut);
            Stored::of(&pod);
            if let (Some(byte), Some(other)) = (pod.get_mut(at), bytes.first()) {
                *byte = *other;
            }
            Stored::of(&pod);
        }
    }
}
