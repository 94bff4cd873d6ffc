//! The config as it is written: nothing is resolved or defaulted, and every leaf has its position.
//!
//! Only plain structs, because with them an error of serde has the position of the unknown key or wrong type.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use nightshift_core::notify::WebhookFormat;
use nightshift_core::settings::{Compression, EtcdData, EtcdMembers};
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

/// Structs with a field for each known key.
macro_rules! tables {
    ($($table:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* })*) => {
        $(
            #[derive(Debug, Default, Deserialize)]
            #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
            pub(crate) struct $table {
                $($(#[$meta])* pub(crate) $key: $type,)*
            }
        )*
    };
}

tables! {
    Config {
        /// Checked before everything else (`version.rs`); listed here so that it is a known key.
        #[serde(rename = "version")]
        _version: Leaf<i64>,
        cluster: Leaf<Table<Cluster>>,
        this_host: Table<ThisHost>,
        hosts: Leaf<Table<Hosts>>,
        host: BTreeMap<Spanned<String>, Table<Host>>,
        night: Leaf<Table<Night>>,
        stage: Table<Stages>,
        files: Table<Files>,
        etcd: Table<Etcd>,
        drill: Table<Drill>,
        vault: Table<Vault>,
        archive: Table<Archive>,
        remote: Vec<Spanned<Table<Remote>>>,
        ssh: Table<Ssh>,
        metrics: Table<Metrics>,
        notify: Vec<Spanned<Table<Notify>>>,
        hook: Vec<Spanned<Table<Hook>>>,
        paths: Table<Paths>,
    }

    Cluster {
        name: Leaf<String>,
    }

    ThisHost {
        name: Leaf<String>,
        roles: List,
    }

    Hosts {
        masters: List,
        etcd: List,
        nodes: List,
    }

    Host {
        address: Leaf<String>,
        port: Leaf<u16>,
        user: Leaf<String>,
        agentless: Leaf<bool>,
        expected: Leaf<bool>,
        vault: Leaf<String>,
    }

    Night {
        opens: Leaf<String>,
        closes: Leaf<String>,
        time_zone: Leaf<String>,
        trust_clock: Leaf<bool>,
        tolerate: Table<Tolerate>,
    }

    Tolerate {
        nodes: Leaf<String>,
        nights: Leaf<u16>,
    }

    Stages {
        snapshot_etcd: Table<Stage>,
        collect_node: Table<Stage>,
        pull_etcd: Table<Stage>,
        pull_nodes: Table<Stage>,
        collect_master: Table<Stage>,
        mirror_masters: Table<Stage>,
        pack_archive: Table<Stage>,
        ship_archive: Table<Stage>,
        drill: Table<Stage>,
        prune: Table<Stage>,
    }

    Stage {
        at: Leaf<String>,
        until: Leaf<String>,
        parallel: Leaf<u32>,
        retries: Leaf<u32>,
        backoff: Leaf<String>,
        jitter: Leaf<String>,
    }

    Files {
        master: Leaf<Vec<Spanned<FileEntry>>>,
        etcd: Leaf<Vec<Spanned<FileEntry>>>,
        node: Leaf<Vec<Spanned<FileEntry>>>,
    }

    FileTable {
        path: Leaf<String>,
        command: List,
        #[serde(rename = "as")]
        alias: Leaf<String>,
        optional: Leaf<bool>,
    }

    Etcd {
        endpoint: Leaf<String>,
        ca: Leaf<String>,
        cert: Leaf<String>,
        key: Leaf<String>,
        compression: Leaf<Compression>,
        stall: Leaf<String>,
        deadline: Leaf<String>,
        conf: Leaf<String>,
        data: Leaf<EtcdData>,
        members: Leaf<EtcdMembers>,
        slot: Leaf<String>,
        suspicious_below: Leaf<String>,
        restore_tools: Leaf<String>,
    }

    Drill {
        hosts: List,
        etcd_tools: Leaf<String>,
        scratch: Leaf<String>,
        rate: Leaf<String>,
        deadline: Leaf<String>,
    }

    Vault {
        path: Leaf<String>,
        keep: Table<Keep>,
        keep_etcd: Table<Keep>,
        min_free: Leaf<String>,
        most_per_node: Leaf<String>,
        most_per_master: Leaf<String>,
    }

    Keep {
        nights: Leaf<u16>,
        weeks: Leaf<u16>,
        months: Leaf<u16>,
    }

    Archive {
        compression: Leaf<Compression>,
        recipients: List,
        plaintext: Leaf<bool>,
        keep_sent: Leaf<u32>,
        keep_outbox: Leaf<u32>,
    }

    Remote {
        name: Leaf<String>,
        url: Leaf<String>,
        identity: Leaf<String>,
        keep: Table<Keep>,
        prune: Leaf<bool>,
        connections: Leaf<u32>,
        rate: Leaf<String>,
    }

    Ssh {
        user: Leaf<String>,
        port: Leaf<u16>,
        identity: Leaf<String>,
        known_hosts: Leaf<String>,
        host_key: Leaf<String>,
        connect_timeout: Leaf<String>,
        idle_timeout: Leaf<String>,
        pull_rate: Leaf<String>,
    }

    Metrics {
        textfile: Leaf<String>,
    }

    Notify {
        name: Leaf<String>,
        kind: Leaf<String>,
        url: Leaf<String>,
        url_file: Leaf<String>,
        url_credential: Leaf<String>,
        ca: Leaf<String>,
        format: Leaf<WebhookFormat>,
        from: Leaf<String>,
        to: List,
        sendmail: List,
        argv: List,
        events: List,
        every_night: Leaf<bool>,
        give_up: Leaf<String>,
    }

    Hook {
        name: Leaf<String>,
        before: Leaf<String>,
        after: Leaf<String>,
        argv: List,
        timeout: Leaf<String>,
        required: Leaf<bool>,
    }

    Paths {
        state: Leaf<String>,
        run: Leaf<String>,
        config: Leaf<String>,
    }
}

#[derive(Debug)]
pub(crate) enum FileEntry {
    Path(String),
    Table(FileTable),
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
