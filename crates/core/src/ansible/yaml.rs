//! The YAML format: groups with `hosts`, `children` and `vars`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::groups::{Inventory, InventoryError};
use super::vars::Vars;

type Groups = BTreeMap<String, Option<Group>>;

/// Further keys are skipped, as Ansible does.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Group {
    hosts: Option<Hosts>,
    children: Option<Children>,
    vars: Option<Vars>,
}

/// Patterns with the variables of their hosts, and the line of each.
struct Hosts(Vec<(Spanned<String>, Vars)>);

struct Children(Groups);

pub(super) fn read(text: &str) -> Result<Inventory, InventoryError> {
    // For 20,000 hosts with ten variables each, and all that is skipped.
    let limits = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_events: 6_000_000,
            max_nodes: 3_000_000,
            max_depth: 64,
            max_anchors: 1_000,
            max_aliases: 1_000,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    // The parser's own message quotes lines of the file.
    let groups: Groups = serde_saphyr::from_str_with_options(text, limits).map_err(|error| {
        let line = error.location().and_then(|at| usize::try_from(at.line()).ok());
        let problem = "this is not an inventory in YAML: expected groups with `hosts`, `children` and `vars`";
        InventoryError::whole(problem).on(line.filter(|line| *line > 0))
    })?;
    let mut inventory = Inventory::default();
    // A stack, because groups are nested.
    let mut open: Vec<(&str, &Option<Group>)> = pairs(&groups).collect();
    while let Some((name, group)) = open.pop() {
        inventory.add_group(name)?;
        let Some(group) = group else { continue };
        for (pattern, vars) in group.hosts.iter().flat_map(|hosts| &hosts.0) {
            let line = usize::try_from(pattern.referenced.line()).ok().filter(|line| *line > 0);
            inventory.add_pattern(name, &pattern.value, vars).map_err(|error| error.on(line))?;
        }
        if let Some(vars) = &group.vars {
            inventory.add_group_vars(name, vars)?;
        }
        for (child, group) in group.children.iter().flat_map(|children| pairs(&children.0)) {
            inventory.add_child(name, child)?;
            open.push((child, group));
        }
    }
    inventory.complete()
}

/// In the order in which a stack gives back the first one first.
fn pairs(groups: &Groups) -> impl Iterator<Item = (&str, &Option<Group>)> {
    groups.iter().rev().map(|(name, group)| (name.as_str(), group))
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

impl<'de> Deserialize<'de> for Children {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Children;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("groups")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Children, A::Error> {
                let mut groups = Groups::new();
                while let Some((name, group)) = map.next_entry()? {
                    groups.insert(name, group);
                }
                Ok(Children(groups))
            }
            /// One group alone.
            fn visit_str<E>(self, name: &str) -> Result<Children, E> {
                Ok(Children(Groups::from([(name.to_owned(), None)])))
            }
        }
        deserializer.deserialize_any(Table)
    }
}
