//! The variables of a host or group that a config needs. All others are skipped unread: they contain passwords.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The variables that are read.
const NAMES: [&str; 14] = [
    "access_ip",
    "ansible_become",
    "ansible_connection",
    PRIORITY,
    "ansible_host",
    "ansible_port",
    "ansible_ssh_host",
    "ansible_ssh_port",
    "ansible_ssh_user",
    "ansible_user",
    "cluster_name",
    "ip",
    "openshift_clusterid",
    "openshift_ip",
];

/// Of two groups of one depth, the variables of the one with the higher priority win.
const PRIORITY: &str = "ansible_group_priority";

/// The maximum length of a value in bytes.
const MAX_VALUE_LEN: usize = 253;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// A template such as `{{ … }}`, an encrypted or a structured value: only Ansible knows what it is.
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vars(BTreeMap<&'static str, Value>);

impl Vars {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// That of a group with these variables.
    pub(super) fn priority(&self) -> i64 {
        self.get(PRIORITY).and_then(Value::text).and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    pub(super) const fn none() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a variable if it is one of those that are read.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        if let Some(name) = known(name) {
            self.0.insert(name, value);
        }
    }

    /// These variables win over those that are set already.
    pub(super) fn overlay(&mut self, with: &Self) {
        self.0.extend(with.0.iter().map(|(name, value)| (*name, value.clone())));
    }
}

fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}

impl Value {
    pub(super) fn of(text: &str) -> Self {
        let is_plain = text.len() <= MAX_VALUE_LEN
            && !text.contains("{{")
            && !text.contains("{%")
            && !text.starts_with("$ANSIBLE_VAULT")
            && !text.contains(char::is_control);
        if is_plain { Self::Text(text.to_owned()) } else { Self::Unknown }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unknown => None,
        }
    }
}

impl<'de> Deserialize<'de> for Vars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Vars;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("variables")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vars, A::Error> {
                let mut vars = Vars::default();
                while let Some(name) = map.next_key::<Key>()? {
                    match name.0.as_deref().and_then(known) {
                        Some(name) => _ = vars.0.insert(name, map.next_value()?),
                        None => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(vars)
            }
            fn visit_unit<E>(self) -> Result<Vars, E> {
                Ok(Vars::default())
            }
        }
        deserializer.deserialize_any(Table)
    }
}

/// The name of a variable; a number as a key is not one.
struct Key(Option<String>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(value.text().map(str::to_owned)))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl<'de> Visitor<'de> for Scalar {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::of(text))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Text(flag.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Text(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Text(number.to_string()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Unknown)
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Unknown)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Unknown)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Unknown)
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
