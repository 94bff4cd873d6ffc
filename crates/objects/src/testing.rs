//! Objects as the API server stores them, for tests.

#![allow(clippy::unwrap_used)]

use nightshift_snapshot::Revision;
use prost::Message as _;
use serde_json::{Value, json as value};

use crate::metadata::{Format, Metadata};
use crate::object::Object;
use crate::wire::push;

/// With a spec of one field, and in the metadata labels, which are not read.
pub fn protobuf(meta: &Metadata) -> Vec<u8> {
    let mut fields = Vec::new();
    push(&mut fields, 1, meta.name.as_bytes());
    push(&mut fields, 2, b"");
    // Go's encoder writes empty strings too.
    push(&mut fields, 3, meta.namespace.as_bytes());
    push(&mut fields, 5, meta.uid.as_bytes());
    if meta.is_being_deleted {
        push(&mut fields, 9, b"\x08\x01");
    }
    push(&mut fields, 11, b"\x0a\x01l\x12\x01m");
    for (name, text) in &meta.annotations {
        let mut entry = Vec::new();
        push(&mut entry, 1, name.as_bytes());
        push(&mut entry, 2, text.as_bytes());
        push(&mut fields, 12, &entry);
    }
    for owner in &meta.owners {
        push(&mut fields, 13, &owner.encode_to_vec());
    }
    let mut raw = Vec::new();
    push(&mut raw, 1, &fields);
    let spec = if meta.selects_pods { b"\x12\x06\x0a\x01a\x12\x01b".as_slice() } else { b"\x0a\x02xx" };
    push(&mut raw, 2, spec);
    let mut kind = Vec::new();
    push(&mut kind, 1, meta.api_version.as_bytes());
    push(&mut kind, 2, meta.kind.as_bytes());
    let mut body = b"k8s\0".to_vec();
    push(&mut body, 1, &kind);
    push(&mut body, 2, &raw);
    body.extend_from_slice(b"\x1a\x00\x22\x00");
    body
}

pub fn json(meta: &Metadata) -> Vec<u8> {
    let owners: Vec<Value> = meta
        .owners
        .iter()
        .map(|owner| {
            value!({ "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid,
                     "controller": owner.controller, "blockOwnerDeletion": true })
        })
        .collect();
    let mut object = value!({
        "apiVersion": meta.api_version,
        "kind": meta.kind,
        "metadata": {
            "name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
            "annotations": meta.annotations, "ownerReferences": owners,
        },
        "spec": { "selector": if meta.selects_pods { value!({ "a": "b" }) } else { value!({}) } },
    });
    if meta.is_being_deleted {
        object["metadata"]["deletionTimestamp"] = "2026-11-28T22:00:00Z".into();
    }
    serde_json::to_vec(&object).unwrap()
}

/// An object of a namespace; its uid is made from its kind and name.
pub fn object(kind: &str, namespace: &str, name: &str) -> Object {
    let meta = Metadata {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: format!("{kind}-{name}"),
        ..Metadata::default()
    };
    let key = format!("/registry/{}s/{namespace}/{name}", kind.to_lowercase()).into_bytes();
    Object { key, revision: Revision::default(), format: Format::Protobuf, meta }
}
