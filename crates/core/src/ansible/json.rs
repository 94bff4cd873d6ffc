//! The output of `ansible-inventory --list`, and of inventory programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::groups::{Inventory, InventoryError};
use super::vars::Vars;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Meta {
    hostvars: BTreeMap<String, Vars>,
}

/// A group as a table, or as the list of its hosts alone.
#[derive(Default)]
struct Group {
    hosts: Vec<String>,
    children: Vec<String>,
    vars: Vars,
}

struct Listing {
    meta: Meta,
    groups: Vec<(String, Group)>,
}

pub(super) fn read(text: &str) -> Result<Inventory, InventoryError> {
    // The parser's own message may quote a value.
    let listing: Listing = serde_json::from_str(text).map_err(|error| {
        let problem = if error.is_data() {
            "this is not the output of `ansible-inventory --list`; for `kubectl get nodes -o json` use --from-nodes"
        } else if error.is_eof() {
            "the JSON ends too early: the output of `ansible-inventory --list` is incomplete"
        } else {
            "invalid JSON; expected the output of `ansible-inventory --list`"
        };
        InventoryError::at(error.line(), problem)
    })?;
    let mut inventory = Inventory::default();
    for (name, group) in &listing.groups {
        inventory.add_group(name)?;
        inventory.add_group_vars(name, &group.vars)?;
        for host in &group.hosts {
            inventory.add_host(name, host)?;
        }
        for child in &group.children {
            inventory.add_child(name, child)?;
        }
    }
    for (host, vars) in &listing.meta.hostvars {
        inventory.add_host_vars(host, vars)?;
    }
    inventory.complete()
}

impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Listing;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("groups")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listing, A::Error> {
                let mut listing = Listing { meta: Meta::default(), groups: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "_meta" {
                        listing.meta = map.next_value()?;
                    } else {
                        listing.groups.push((name, map.next_value()?));
                    }
                }
                Ok(listing)
            }
        }
        deserializer.deserialize_map(Table)
    }
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
                let mut group = Group::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "hosts" => group.hosts = map.next_value()?,
                        "children" => group.children = map.next_value()?,
                        "vars" => group.vars = map.next_value()?,
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(group)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Group, A::Error> {
                let mut group = Group::default();
                while let Some(host) = list.next_element()? {
                    group.hosts.push(host);
                }
                Ok(group)
            }
        }
        deserializer.deserialize_any(Table)
    }
}
