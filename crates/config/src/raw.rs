//! The config as it is written: nothing is resolved or defaulted, and every leaf has its position.
//!
//! Only plain structs, because with them an error of serde has the position of the unknown key or wrong type.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

/// A table and nothing else. serde would also read a struct from a list of its values.
#[derive(Debug, Default)]
pub(crate) struct Table<T>(T);

impl<T> Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Table<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }
        deserializer.deserialize_any(Map(PhantomData))
    }
}

pub(crate) type Leaf<T> = Option<Spanned<T>>;
pub(crate) type List = Leaf<Vec<Spanned<String>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Checked before everything else (`version.rs`); listed here so that it is a known key.
    #[serde(rename = "version")]
    pub(crate) _version: Leaf<i64>,
    pub(crate) cluster: Leaf<Table<Cluster>>,
    pub(crate) this_host: Option<Table<ThisHost>>,
    pub(crate) hosts: Leaf<Table<Hosts>>,
    #[serde(default)]
    pub(crate) host: BTreeMap<Spanned<String>, Table<Host>>,
    pub(crate) night: Leaf<Table<Night>>,
    pub(crate) stage: Option<Table<Stages>>,
    pub(crate) files: Option<Table<Files>>,
    pub(crate) etcd: Option<Table<Etcd>>,
    pub(crate) drill: Option<Table<Drill>>,
    pub(crate) vault: Option<Table<Vault>>,
    pub(crate) archive: Option<Table<Archive>>,
    #[serde(default)]
    pub(crate) remote: Vec<Spanned<Table<Remote>>>,
    pub(crate) ssh: Option<Table<Ssh>>,
    pub(crate) paths: Option<Table<Paths>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Cluster {
    pub(crate) name: Leaf<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ThisHost {
    pub(crate) name: Leaf<String>,
    pub(crate) roles: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Hosts {
    pub(crate) masters: List,
    pub(crate) etcd: List,
    pub(crate) nodes: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Host {
    pub(crate) address: Leaf<String>,
    pub(crate) port: Leaf<u16>,
    pub(crate) user: Leaf<String>,
    pub(crate) agentless: Leaf<bool>,
    pub(crate) expected: Leaf<bool>,
    pub(crate) vault: Leaf<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Night {
    pub(crate) opens: Leaf<String>,
    pub(crate) closes: Leaf<String>,
    pub(crate) time_zone: Leaf<String>,
    pub(crate) trust_clock: Leaf<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Stages {
    pub(crate) snapshot_etcd: Option<Table<Stage>>,
    pub(crate) collect_node: Option<Table<Stage>>,
    pub(crate) pull_etcd: Option<Table<Stage>>,
    pub(crate) pull_nodes: Option<Table<Stage>>,
    pub(crate) collect_master: Option<Table<Stage>>,
    pub(crate) mirror_masters: Option<Table<Stage>>,
    pub(crate) pack_archive: Option<Table<Stage>>,
    pub(crate) ship_archive: Option<Table<Stage>>,
    pub(crate) drill: Option<Table<Stage>>,
    pub(crate) prune: Option<Table<Stage>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Stage {
    pub(crate) at: Leaf<String>,
    pub(crate) until: Leaf<String>,
    pub(crate) parallel: Leaf<u32>,
    pub(crate) retries: Leaf<u32>,
    pub(crate) backoff: Leaf<String>,
    pub(crate) jitter: Leaf<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Files {
    pub(crate) master: Leaf<Vec<Spanned<FileEntry>>>,
    pub(crate) etcd: Leaf<Vec<Spanned<FileEntry>>>,
    pub(crate) node: Leaf<Vec<Spanned<FileEntry>>>,
}

#[derive(Debug)]
pub(crate) enum FileEntry {
    Path(String),
    Table(FileTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FileTable {
    pub(crate) path: Leaf<String>,
    pub(crate) command: List,
    #[serde(rename = "as")]
    pub(crate) alias: Leaf<String>,
    pub(crate) optional: Leaf<bool>,
}

impl<'de> Deserialize<'de> for FileEntry {
    /// By hand, because an untagged enum would lose the positions of its parts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = FileEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a table such as { path = \"/etc/hosts\", optional = true }")
            }
            fn visit_str<E>(self, path: &str) -> Result<FileEntry, E> {
                Ok(FileEntry::Path(path.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileEntry, A::Error> {
                FileTable::deserialize(MapAccessDeserializer::new(map)).map(FileEntry::Table)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Etcd {
    pub(crate) endpoint: Leaf<String>,
    pub(crate) ca: Leaf<String>,
    pub(crate) cert: Leaf<String>,
    pub(crate) key: Leaf<String>,
    pub(crate) compression: Leaf<Compression>,
    pub(crate) stall: Leaf<String>,
    pub(crate) deadline: Leaf<String>,
    pub(crate) conf: Leaf<String>,
    pub(crate) data: Leaf<EtcdData>,
    pub(crate) members: Leaf<EtcdMembers>,
    pub(crate) slot: Leaf<String>,
    pub(crate) suspicious_below: Leaf<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EtcdData {
    Auto,
    V3,
    V2,
    Mixed,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EtcdMembers {
    All,
    One,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Drill {
    pub(crate) hosts: List,
    pub(crate) etcd_tools: Leaf<String>,
    pub(crate) scratch: Leaf<String>,
    pub(crate) rate: Leaf<String>,
    pub(crate) deadline: Leaf<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Vault {
    pub(crate) path: Leaf<String>,
    pub(crate) keep: Option<Table<Keep>>,
    pub(crate) keep_etcd: Option<Table<Keep>>,
    pub(crate) min_free: Leaf<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Keep {
    pub(crate) nights: Leaf<u16>,
    pub(crate) weeks: Leaf<u16>,
    pub(crate) months: Leaf<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Archive {
    pub(crate) compression: Leaf<Compression>,
    pub(crate) recipients: List,
    pub(crate) plaintext: Leaf<bool>,
    pub(crate) keep_sent: Leaf<u32>,
    pub(crate) keep_outbox: Leaf<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Remote {
    pub(crate) name: Leaf<String>,
    pub(crate) url: Leaf<String>,
    pub(crate) identity: Leaf<String>,
    pub(crate) keep: Option<Table<Keep>>,
    pub(crate) prune: Leaf<bool>,
    pub(crate) connections: Leaf<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Ssh {
    pub(crate) user: Leaf<String>,
    pub(crate) port: Leaf<u16>,
    pub(crate) identity: Leaf<String>,
    pub(crate) known_hosts: Leaf<String>,
    pub(crate) host_key: Leaf<String>,
    pub(crate) connect_timeout: Leaf<String>,
    pub(crate) idle_timeout: Leaf<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Paths {
    pub(crate) state: Leaf<String>,
    pub(crate) run: Leaf<String>,
    pub(crate) config: Leaf<String>,
}
