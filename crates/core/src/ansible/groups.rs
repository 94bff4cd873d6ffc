//! The hosts and groups of an inventory, with limits, and the variables that apply to a host.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::Pattern;
use super::vars::{Value, Vars};
use crate::inventory::MAX_HOSTS;

const MAX_GROUPS: usize = 2_000;
/// Of hosts in groups, and of groups in groups: twenty for each host.
const MAX_MEMBERS: usize = 400_000;
/// Of hosts in groups with variables, those of groups in groups included.
const MAX_APPLIED: usize = 4_000_000;
/// Every host is in it, also without being listed there.
const ALL: &str = "all";
const UNGROUPED: &str = "ungrouped";

/// Why an inventory cannot be read. It never contains a value of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct InventoryError {
    line: Option<usize>,
    problem: String,
}

impl InventoryError {
    pub(super) fn at(line: usize, problem: impl Into<String>) -> Self {
        Self { line: Some(line), problem: problem.into() }
    }

    pub(super) fn whole(problem: impl Into<String>) -> Self {
        Self { line: None, problem: problem.into() }
    }

    pub(super) fn on(self, line: Option<usize>) -> Self {
        Self { line: self.line.or(line), ..self }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    hosts: BTreeSet<String>,
    children: BTreeSet<String>,
    vars: Vars,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    hosts: BTreeMap<String, Vars>,
    groups: BTreeMap<String, Group>,
    members: usize,
}

impl Inventory {
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// The variables that apply to a host.
    pub fn vars(&self, host: &str) -> &Vars {
        static NONE: Vars = Vars::none();
        self.hosts.get(host).unwrap_or(&NONE)
    }

    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The hosts that a group lists itself.
    pub fn listed_in(&self, group: &str) -> BTreeSet<&str> {
        self.groups.get(group).into_iter().flat_map(|group| &group.hosts).map(String::as_str).collect()
    }

    /// The hosts of a group and of the groups in it.
    pub fn hosts_of(&self, group: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![group];
        let mut hosts = BTreeSet::new();
        while let Some(name) = open.pop() {
            if let Some(group) = self.groups.get(name).filter(|_| seen.insert(name)) {
                hosts.extend(group.hosts.iter().map(String::as_str));
                open.extend(group.children.iter().map(String::as_str));
            }
        }
        hosts
    }

    pub(super) fn add_group(&mut self, name: &str) -> Result<(), InventoryError> {
        self.group(name).map(drop)
    }

    fn group(&mut self, name: &str) -> Result<&mut Group, InventoryError> {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(name) {
            return Err(InventoryError::whole(format!("it has more than {MAX_GROUPS} groups")));
        }
        Ok(self.groups.entry(name.to_owned()).or_default())
    }

    pub(super) fn add_child(&mut self, parent: &str, child: &str) -> Result<(), InventoryError> {
        self.count(1)?;
        self.add_group(child)?;
        self.group(parent)?.children.insert(child.to_owned());
        Ok(())
    }

    pub(super) fn add_group_vars(&mut self, group: &str, vars: &Vars) -> Result<(), InventoryError> {
        self.group(group)?.vars.overlay(vars);
        Ok(())
    }

    /// Adds the hosts of a pattern to a group. Variables of a host that is listed again are added to its earlier ones.
    pub(super) fn add_pattern(
        &mut self,
        group: &str,
        pattern: &str,
        vars: &Vars,
    ) -> Result<(), InventoryError> {
        let Pattern { names, port } = Pattern::parse(pattern).map_err(InventoryError::whole)?;
        for name in &names {
            // As in Ansible, the port counts where the host is listed first.
            let port = port.filter(|_| !self.hosts.contains_key(name));
            self.add_host(group, name)?;
            if let Some(port) = port {
                let mut own = Vars::default();
                own.set("ansible_port", Value::Text(port.to_string()));
                self.add_host_vars(name, &own)?;
            }
            self.add_host_vars(name, vars)?;
        }
        Ok(())
    }

    pub(super) fn add_host(&mut self, group: &str, name: &str) -> Result<(), InventoryError> {
        self.count(1)?;
        self.add_host_vars(name, &Vars::default())?;
        self.group(group)?.hosts.insert(name.to_owned());
        Ok(())
    }

    pub(super) fn add_host_vars(&mut self, name: &str, vars: &Vars) -> Result<(), InventoryError> {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(name) {
            return Err(InventoryError::whole(format!("it has more than {MAX_HOSTS} hosts")));
        }
        self.hosts.entry(name.to_owned()).or_default().overlay(vars);
        Ok(())
    }

    fn count(&mut self, members: usize) -> Result<(), InventoryError> {
        self.members += members;
        if self.members > MAX_MEMBERS {
            return Err(InventoryError::whole(format!("its groups list more than {MAX_MEMBERS} members")));
        }
        Ok(())
    }

    /// Gives each host the variables of its groups: those of `all` first, then from the outer groups to the inner ones, those of
    /// one depth by priority and name, then its own.
    pub(super) fn complete(mut self) -> Result<Self, InventoryError> {
        let depths = self.depths()?.into_iter();
        let mut order: Vec<_> =
            depths.map(|(name, depth)| (depth, self.groups[name].vars.priority(), name)).collect();
        order.sort_unstable();
        let mut complete: BTreeMap<String, Vars> = BTreeMap::new();
        let mut applied = 0;
        for (_, _, name) in &order {
            let vars = &self.groups[*name].vars;
            let hosts = match *name {
                _ if vars.is_empty() => continue,
                ALL => self.hosts().collect::<BTreeSet<_>>(),
                name => self.hosts_of(name),
            };
            applied += hosts.len();
            if applied > MAX_APPLIED {
                let problem = format!("its groups with variables have more than {MAX_APPLIED} members");
                return Err(InventoryError::whole(problem));
            }
            for host in hosts {
                complete.entry(host.to_owned()).or_default().overlay(vars);
            }
        }
        for (host, own) in &mut self.hosts {
            if let Some(mut vars) = complete.remove(host) {
                vars.overlay(own);
                *own = vars;
            }
        }
        if self.hosts.is_empty() {
            return Err(InventoryError::whole("it lists no hosts"));
        }
        Ok(self)
    }

    /// The longest way to each group from the outside: `all` is 0.
    fn depths(&self) -> Result<BTreeMap<&str, usize>, InventoryError> {
        let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, group) in &self.groups {
            for child in &group.children {
                parents.entry(child).or_default().push(name);
            }
        }
        let mut waiting: BTreeMap<&str, usize> =
            self.groups().map(|name| (name, parents.get(name).map_or(0, Vec::len))).collect();
        let mut depths: BTreeMap<&str, usize> =
            self.groups().map(|name| (name, usize::from(name != ALL))).collect();
        let mut open: Vec<&str> =
            waiting.iter().filter(|(_, parents)| **parents == 0).map(|(name, _)| *name).collect();
        while let Some(name) = open.pop() {
            waiting.remove(name);
            let below = depths[name] + 1;
            for child in &self.groups[name].children {
                let depth = depths.entry(child).or_default();
                *depth = below.max(*depth);
                if let Some(left) = waiting.get_mut(child.as_str()) {
                    *left -= 1;
                    if *left == 0 {
                        open.push(child);
                    }
                }
            }
        }
        match waiting.keys().next() {
            None => Ok(depths),
            Some(first) => Err(InventoryError::whole(circle(first, &parents, &waiting))),
        }
    }
}

/// Names the groups of a circle, found by going outwards from a group that is in one, or inside one.
fn circle(first: &str, parents: &BTreeMap<&str, Vec<&str>>, waiting: &BTreeMap<&str, usize>) -> String {
    let mut path = vec![first];
    while let Some(parent) =
        parents[path[path.len() - 1]].iter().find(|parent| waiting.contains_key(**parent))
    {
        if let Some(start) = path.iter().position(|name| name == parent) {
            let names: Vec<_> = path[start..].iter().rev().take(8).map(|name| format!("`{name}`")).collect();
            return match &names[..] {
                [one] => format!("the group {one} contains itself; remove it from its own children"),
                names => format!(
                    "the groups {} contain each other; remove one from the children of another",
                    names.join(", ")
                ),
            };
        }
        path.push(parent);
    }
    format!("the group `{first}` contains itself")
}

/// The groups that every inventory has.
pub fn is_built_in(group: &str) -> bool {
    group == ALL || group == UNGROUPED
}
