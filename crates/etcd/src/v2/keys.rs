//! The v2 API's JSON, as far as it is read. A list of all keys is counted while it is parsed, and never stored.

use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

#[derive(Deserialize)]
pub struct Response<T> {
    pub node: T,
}

/// A directory, with the names of what is in it.
#[derive(Deserialize)]
pub struct Directory {
    #[serde(default)]
    pub nodes: Vec<Named>,
}

#[derive(Deserialize)]
pub struct Named {
    pub key: String,
}

#[derive(Deserialize)]
pub struct Leaf {
    pub value: String,
}

/// A node and everything below it, as the number of its keys. Keys that expire are not counted: they do not exist any more when
/// a copy is replayed later.
pub struct KeyCount {
    pub keys: u64,
}

impl<'de> Deserialize<'de> for KeyCount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Node {
            value: Option<IgnoredAny>,
            expiration: Option<IgnoredAny>,
            #[serde(default)]
            nodes: Below,
        }
        let node = Node::deserialize(deserializer)?;
        let keys = u64::from(node.value.is_some()) + node.nodes.0;
        Ok(Self { keys: if node.expiration.is_some() { 0 } else { keys } })
    }
}

#[derive(Default)]
struct Below(u64);

impl<'de> Deserialize<'de> for Below {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = Below;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of nodes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<Below, A::Error> {
                let mut sum = 0;
                while let Some(KeyCount { keys }) = nodes.next_element()? {
                    sum += keys;
                }
                Ok(Below(sum))
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}
