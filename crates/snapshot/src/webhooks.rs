//! Webhooks without which the API server refuses requests: their configurations, found during a walk. After a restore their pods do
//! not run yet.
//!
//! Source: Kubernetes, `staging/src/k8s.io/api/admissionregistration/v1/generated.proto`: `failurePolicy` is field 4 of both kinds of
//! webhooks, in v1 and v1beta1; the API server stores its default too.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;

use crate::change::{Change, Visitor};
use crate::encrypted::ENCRYPTED;
use crate::entry::Location;

/// The last two names of the key of a configuration, whatever prefix the API server has.
const KINDS: [(&[u8], &str); 2] = [
    (b"validatingwebhookconfigurations", "validatingwebhookconfiguration"),
    (b"mutatingwebhookconfigurations", "mutatingwebhookconfiguration"),
];
/// The field `failurePolicy: Fail` in protobuf.
const FAIL: &[u8] = b"\x22\x04Fail";
/// More configurations than any cluster has.
const MAX: usize = 1_000;
/// In bytes, as Kubernetes has it for names.
const MAX_NAME_LEN: usize = 253;

/// The current configurations of webhooks.
#[derive(Debug, Default)]
pub struct Webhooks {
    current: BTreeMap<String, Policy>,
    is_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Fail,
    Ignore,
    Encrypted,
}

/// What a walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundWebhooks {
    /// The number of configurations.
    pub configurations: usize,
    /// Those with `failurePolicy: Fail`, as `kubectl` names them: `validatingwebhookconfiguration/x`.
    pub fail: Vec<String>,
    /// Those that are encrypted, so that their policy is unknown.
    pub encrypted: usize,
    /// There are more than are counted.
    pub is_incomplete: bool,
}

impl Webhooks {
    pub fn finish(self) -> FoundWebhooks {
        let of = |wanted: Policy| self.current.iter().filter(move |(_, policy)| **policy == wanted);
        FoundWebhooks {
            configurations: self.current.len(),
            fail: of(Policy::Fail).map(|(name, _)| name.clone()).collect(),
            encrypted: of(Policy::Encrypted).count(),
            is_incomplete: self.is_full,
        }
    }
}

impl Visitor for Webhooks {
    fn change(&mut self, change: &Change<'_>, _: Location) -> io::Result<()> {
        let Some(name) = name(change.content.key) else { return Ok(()) };
        if change.tombstone {
            self.current.remove(&name);
        } else if self.current.len() < MAX || self.current.contains_key(&name) {
            self.current.insert(name, policy(change.content.value));
        } else {
            self.is_full = true;
        }
        Ok(())
    }
}

fn name(key: &[u8]) -> Option<String> {
    let mut parts = key.rsplit(|byte| *byte == b'/');
    let (name, kind) = (parts.next()?, parts.next()?);
    let (_, kind) = KINDS.iter().find(|(plural, _)| *plural == kind)?;
    let is_name = name.len() <= MAX_NAME_LEN && !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| format!("{kind}/{}", String::from_utf8_lossy(name)))
}

fn policy(value: &[u8]) -> Policy {
    let fails = if value.starts_with(ENCRYPTED) {
        return Policy::Encrypted;
    } else if value.first() == Some(&b'{') {
        let parsed = serde_json::from_slice::<Configuration>(value).unwrap_or_default();
        parsed.webhooks.iter().any(|webhook| webhook.failure_policy == "Fail")
    } else {
        value.windows(FAIL.len()).any(|window| window == FAIL)
    };
    if fails { Policy::Fail } else { Policy::Ignore }
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    #[serde(default)]
    failure_policy: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key_value::KeyValue;
    use crate::revision::Revision;

    fn visit(webhooks: &mut Webhooks, key: &str, value: Option<&[u8]>) {
        let content =
            KeyValue { key: key.as_bytes(), value: value.unwrap_or_default(), ..KeyValue::default() };
        let revision = Revision { main: 2, sub: 0 };
        let change = Change { revision, tombstone: value.is_none(), content };
        let at = Location { page: 0, element: 0, inner: None };
        webhooks.change(&change, at).unwrap();
    }

    #[test]
    fn webhooks_that_fail_are_found_in_json_and_protobuf_under_any_prefix_as_long_as_they_exist() {
        let mut webhooks = Webhooks::default();
        let fail = br#"{"kind":"ValidatingWebhookConfiguration","webhooks":[{"failurePolicy":"Ignore"},{"failurePolicy":"Fail"}]}"#;
        let ignore = br#"{"webhooks":[{"name":"failurePolicy: Fail","failurePolicy":"Ignore"}]}"#;
        visit(&mut webhooks, "/registry/validatingwebhookconfigurations/json", Some(fail));
        visit(&mut webhooks, "/registry/validatingwebhookconfigurations/ignored", Some(ignore));
        visit(&mut webhooks, "/registry/validatingwebhookconfigurations/gone", Some(fail));
        visit(&mut webhooks, "/registry/validatingwebhookconfigurations/gone", None);
        visit(&mut webhooks, "/registry/validatingwebhookconfigurations/changed", Some(fail));
        visit(&mut webhooks, "/registry/validatingwebhookconfigurations/changed", Some(ignore));
        visit(
            &mut webhooks,
            "/kubernetes.io/mutatingwebhookconfigurations/proto",
            Some(b"k8s\0..\x22\x04Fail.."),
        );
        visit(
            &mut webhooks,
            "/registry/mutatingwebhookconfigurations/secret",
            Some(b"k8s:enc:aescbc:v1:k:x"),
        );
        visit(&mut webhooks, "/registry/configmaps/ns/proto", Some(fail));
        assert_eq!(
            webhooks.finish(),
            FoundWebhooks {
                configurations: 5,
                fail: vec![
                    "mutatingwebhookconfiguration/proto".into(),
                    "validatingwebhookconfiguration/json".into()
                ],
                encrypted: 1,
                is_incomplete: false,
            }
        );
    }

    #[test]
    fn a_hostile_number_of_configurations_is_bounded() {
        let mut webhooks = Webhooks::default();
        for number in 0..=MAX {
            visit(&mut webhooks, &format!("/registry/mutatingwebhookconfigurations/{number}"), Some(b""));
        }
        let found = webhooks.finish();
        assert_eq!((found.configurations, found.is_incomplete), (MAX, true));
    }
}
