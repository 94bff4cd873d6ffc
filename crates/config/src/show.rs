//! The effective settings as TOML, each with its origin.

use std::path::{Path, PathBuf};

use nightshift_core::name::{ClusterName, HookName, HostName, RemoteName, TargetName};
use nightshift_core::notify::{Topic, WebhookFormat};
use nightshift_core::role::Role;
use nightshift_core::schedule::Schedule;
use nightshift_core::settings::{Compression, EtcdData, EtcdMembers, EtcdTools};
use toml::Value;

/// The comments of a section are aligned, except after lines that are wider than this.
const MAX_ALIGNED_WIDTH: usize = 64;

/// A setting's value as it is written in a config.
pub(crate) trait Shown {
    fn shown(&self) -> String;
}

impl<T: Shown> Shown for &T {
    fn shown(&self) -> String {
        (**self).shown()
    }
}

macro_rules! shown_as_text {
    ($($type:ty),*) => { $(impl Shown for $type {
        fn shown(&self) -> String {
            Value::String(self.to_string()).to_string()
        }
    })* };
}
shown_as_text!(
    String,
    Schedule,
    ClusterName,
    HostName,
    RemoteName,
    TargetName,
    HookName,
    Topic,
    WebhookFormat,
    Role,
    Compression,
    EtcdData,
    EtcdMembers,
    EtcdTools
);

macro_rules! shown_as_it_is {
    ($($type:ty),*) => { $(impl Shown for $type {
        fn shown(&self) -> String {
            self.to_string()
        }
    })* };
}
shown_as_it_is!(bool, u16, u32, usize);

impl Shown for PathBuf {
    fn shown(&self) -> String {
        self.display().to_string().shown()
    }
}

/// The elements of a list, on one line, or with one element per line if it is too wide.
pub(crate) fn list<T: Shown>(elements: impl IntoIterator<Item = T>) -> String {
    raw_list(&elements.into_iter().map(|element| element.shown()).collect::<Vec<_>>())
}

/// The same, for elements that are TOML already.
pub(crate) fn raw_list(elements: &[String]) -> String {
    let line = format!("[{}]", elements.join(", "));
    if line.len() <= MAX_ALIGNED_WIDTH { line } else { format!("[\n    {},\n]", elements.join(",\n    ")) }
}

/// A key, quoted if necessary.
pub(crate) fn key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { key.to_owned() } else { Value::String(key.to_owned()).to_string() }
}

/// The origin of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// A property of this machine: its hostname or its time zone.
    Machine,
    /// The lists in `[hosts]`.
    Inventory,
    File {
        name: String,
        line: usize,
    },
}

impl Origin {
    fn comment(&self, config_dir: &Path) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Machine => "this machine".to_owned(),
            Self::Inventory => "from [hosts]".to_owned(),
            Self::File { name, line } => {
                let short = Path::new(name).strip_prefix(config_dir).unwrap_or(Path::new(name));
                // A file name may have control characters, which a comment in TOML must not.
                format!("{}:{line}", short.display().to_string().escape_debug())
            }
        }
    }
}

/// One effective setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The header of its table, such as `[stage.prune]`.
    pub(crate) header: String,
    /// The dotted key in the table.
    pub(crate) key: String,
    /// The value as TOML; for an unset one, `Err` with what is used instead.
    pub(crate) value: Result<String, String>,
    pub(crate) origin: Origin,
}

/// The origin of each setting, in the order of the config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    pub(crate) entries: Vec<Entry>,
}

/// The order in which the sections are shown.
const SECTIONS: [&str; 17] = [
    "cluster",
    "this-host",
    "hosts",
    "host",
    "night",
    "stage",
    "files",
    "etcd",
    "drill",
    "vault",
    "archive",
    "remote",
    "ssh",
    "metrics",
    "notify",
    "hook",
    "paths",
];

impl Origins {
    /// Sorts the sections as in the shipped config: they are resolved in another order.
    pub(crate) fn sort(&mut self) {
        self.entries.sort_by_key(|entry| {
            let dotted = entry.dotted();
            SECTIONS.iter().position(|section| dotted.split('.').next() == Some(*section))
        });
    }

    /// The origin of a dotted key such as `stage.pull-nodes.at`; for `[[remote]]`, that of the first remote.
    pub fn get(&self, key: &str) -> Option<&Origin> {
        self.entries.iter().find(|entry| entry.dotted() == key).map(|entry| &entry.origin)
    }

    pub(crate) fn show(&self, config_dir: &Path) -> String {
        let mut text = String::from("version = 1\n");
        for section in self.entries.chunk_by(|a, b| a.header == b.header) {
            let Some(first) = section.first() else { continue };
            text.push_str(&format!("\n{}\n", first.header));
            let lines: Vec<String> = section.iter().map(Entry::line).collect();
            let width =
                lines.iter().map(String::len).filter(|width| *width <= MAX_ALIGNED_WIDTH).max().unwrap_or(0);
            for (entry, line) in section.iter().zip(&lines) {
                // A value of several lines has its comment on the first line.
                let (first, rest) = line.split_once('\n').unwrap_or((line, ""));
                let width = if rest.is_empty() { width } else { 0 };
                text.push_str(&format!("{first:width$}  # {}\n", entry.origin.comment(config_dir)));
                if !rest.is_empty() {
                    text.push_str(rest);
                    text.push('\n');
                }
            }
        }
        text
    }
}

impl Entry {
    fn dotted(&self) -> String {
        let header = self.header.split(' ').next().unwrap_or_default();
        format!("{}.{}", header.trim_matches(['[', ']']), self.key)
    }

    fn line(&self) -> String {
        match &self.value {
            Ok(value) => format!("{} = {value}", self.key),
            Err(unset) => format!("# {}: {}", self.key, unset.replace('\n', "\n# ")),
        }
    }
}
