//! The YAML format: groups with `hosts`, `children` and `vars`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{Error, Spanned};

use super::groups::{Inventory, InventoryError};
use super::vars::Vars;

/// In the order of the file: of two values of one variable, the later one counts.
struct Groups(Vec<(String, Option<Group>)>);

struct Group(Vec<Section>);

enum Section {
    Hosts(Hosts),
    Children(Groups),
    Vars(Vars),
}

/// Patterns with their lines and the variables of their hosts.
struct Hosts(Vec<(Spanned<String>, Vars)>);

pub(super) fn read(text: &str) -> Result<Inventory, InventoryError> {
    // For 20,000 hosts with ten variables each, and all that is skipped.
    let limits = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_events: 6_000_000,
            max_nodes: 3_000_000,
            max_depth: 64,
            max_anchors: 40_000,
            max_aliases: 40_000,
            // One anchor may have the variables of all hosts.
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    // The parser's own message quotes lines of the file.
    let groups: Groups = serde_saphyr::from_str_with_options(text, limits).map_err(|error| {
        let line = error.location().and_then(|at| usize::try_from(at.line()).ok());
        let problem = if is_limit(&error) {
            "it is too large or too deep, or its aliases repeat too much; give the output of `ansible-inventory --list`"
        } else {
            "this is not an inventory in YAML: expected groups with `hosts`, `children` and `vars`"
        };
        InventoryError::whole(problem).on(line.filter(|line| *line > 0))
    })?;
    let mut inventory = Inventory::default();
    for (name, group) in &groups.0 {
        add(&mut inventory, name, group.as_ref())?;
    }
    inventory.complete()
}

fn is_limit(error: &Error) -> bool {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => is_limit(error),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => true,
        _ => false,
    }
}

/// Adds a group and those in it, as deep as `max_depth` allows.
fn add(inventory: &mut Inventory, name: &str, group: Option<&Group>) -> Result<(), InventoryError> {
    inventory.add_group(name)?;
    for section in group.into_iter().flat_map(|group| &group.0) {
        match section {
            Section::Vars(vars) => inventory.add_group_vars(name, vars)?,
            Section::Hosts(hosts) => {
                for (pattern, vars) in &hosts.0 {
                    let line = usize::try_from(pattern.referenced.line()).ok().filter(|line| *line > 0);
                    inventory.add_pattern(name, &pattern.value, vars).map_err(|error| error.on(line))?;
                }
            }
            Section::Children(children) => {
                for (child, group) in &children.0 {
                    inventory.add_child(name, child)?;
                    add(inventory, child, group.as_ref())?;
                }
            }
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Group;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a group")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Group, A::Error> {
                let mut sections = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "hosts" => sections.extend(map.next_value::<Option<_>>()?.map(Section::Hosts)),
                        "children" => sections.extend(map.next_value::<Option<_>>()?.map(Section::Children)),
                        "vars" => sections.extend(map.next_value::<Option<_>>()?.map(Section::Vars)),
                        // Ansible skips it too.
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(Group(sections))
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Hosts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hosts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hosts, A::Error> {
                let mut hosts = Vec::new();
                while let Some((pattern, vars)) = map.next_entry::<_, Option<Vars>>()? {
                    hosts.push((pattern, vars.unwrap_or_default()));
                }
                Ok(Hosts(hosts))
            }
            /// One host alone.
            fn visit_str<E>(self, host: &str) -> Result<Hosts, E> {
                let unknown = serde_saphyr::Location::UNKNOWN;
                let pattern = Spanned { value: host.to_owned(), referenced: unknown, defined: unknown };
                Ok(Hosts(vec![(pattern, Vars::default())]))
            }
        }
        deserializer.deserialize_any(Table)
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Groups;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("groups")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Groups, A::Error> {
                let mut groups = Vec::new();
                while let Some(group) = map.next_entry()? {
                    groups.push(group);
                }
                Ok(Groups(groups))
            }
            /// One group alone.
            fn visit_str<E>(self, name: &str) -> Result<Groups, E> {
                Ok(Groups(vec![(name.to_owned(), None)]))
            }
        }
        deserializer.deserialize_any(Table)
    }
}
