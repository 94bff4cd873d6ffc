//! An object as an operator sees it: without what the API server fills in, and without a secret's values.

use serde_json::{Map, Value};

/// Filled in by the API server. A copy of the object must not have them.
const OF_THE_SERVER: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
/// kubectl's copy of the whole object, with its values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MASK: &str = "***";

/// The object as a file for `kubectl create`.
pub fn portable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in OF_THE_SERVER {
            meta.remove(field);
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// The object for a terminal: a secret's values are masked.
pub fn masked(object: &Value) -> Value {
    let mut object = portable(object);
    if object.get("kind").and_then(Value::as_str) != Some("Secret") {
        return object;
    }
    for field in ["data", "stringData"] {
        if let Some(values) = object.get_mut(field).and_then(Value::as_object_mut) {
            values.values_mut().for_each(|value| *value = MASK.into());
        }
    }
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(copy) =
        annotations.and_then(|annotations: &mut Map<String, Value>| annotations.get_mut(LAST_APPLIED))
    {
        *copy = MASK.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_values_of_a_secret_are_not_shown_and_those_of_other_kinds_are() {
        let object = |kind: &str| {
            json!({
                "kind": kind, "data": { "password": "aHVudGVy" }, "stringData": { "a": "hunter" }, "status": {},
                "metadata": { "name": "db", "uid": "u", "annotations": { LAST_APPLIED: "aHVudGVy", "a": "b" } },
            })
        };
        let shown = masked(&object("Secret"));
        assert!(!shown.to_string().contains("hunter") && !shown.to_string().contains("aHVu"), "{shown}");
        assert_eq!(shown.pointer("/metadata/annotations/a"), Some(&json!("b")));
        assert_eq!(masked(&object("ConfigMap"))["data"]["password"], "aHVudGVy");
        let portable = portable(&object("Secret"));
        assert_eq!(portable["data"]["password"], "aHVudGVy");
        assert_eq!(portable["metadata"].get("uid").or(portable.get("status")), None);
    }
}
