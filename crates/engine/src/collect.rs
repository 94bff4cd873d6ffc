//! Collecting: a role's files into a set, opened so that no path can be used as a weapon.

mod command;
mod copy;
mod expand;
pub(crate) mod glob;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use nightshift_core::manifest::{Item, MAX_ITEMS, Manifest, is_safe_path};
use nightshift_core::settings::{FileRule, Generation};
use nightshift_store::safe_open::Missing;
use nightshift_store::{Partial, StoreError};

/// What was collected, and what could not be.
#[derive(Debug, Default)]
pub struct Collected {
    pub items: Vec<Item>,
    /// What makes the set degraded: required files that are absent, files that kept changing.
    pub faults: Vec<String>,
    /// What a reader should know and that is no fault.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the rules name more than {MAX_ITEMS} files: leave some out, or split the role's list")]
    TooManyItems,
}

/// Where static pods are described, on a host that has them.
pub(crate) const STATIC_PODS: &str = "/etc/origin/node/pods";

/// How the control plane of this host is run (docs/facts/openshift.md#versions).
pub fn detect_generation() -> Generation {
    if Path::new(STATIC_PODS).is_dir() { Generation::StaticPods } else { Generation::Services }
}

/// Collects everything that the rules name into the partial set. `previous` gives its unchanged files by
/// hard links. Blocks: runs offloaded.
pub fn collect(
    rules: &[FileRule],
    partial: &Partial,
    previous: Option<&Manifest>,
) -> Result<Collected, CollectError> {
    let mut collected = Collected::default();
    let mut taken = BTreeSet::new();
    for rule in rules {
        match rule {
            FileRule::Path { path, alias, optional } => {
                take_path(&mut collected, &mut taken, partial, previous, path, alias.as_deref(), *optional)?;
            }
            FileRule::Command { argv, alias, optional } => match command::output(argv) {
                Ok(output) => {
                    if taken.insert(alias.clone()) {
                        collected.items.push(command::store(partial, argv, alias, &output)?);
                    }
                }
                Err(reason) if *optional => collected.notes.push(format!("{alias}: {reason}")),
                Err(reason) => collected.faults.push(format!("{alias}: {reason}")),
            },
        }
    }
    Ok(collected)
}

fn take_path(
    collected: &mut Collected,
    taken: &mut BTreeSet<String>,
    partial: &Partial,
    previous: Option<&Manifest>,
    rule: &str,
    alias: Option<&str>,
    optional: bool,
) -> Result<(), CollectError> {
    let expanded = expand::expand(rule);
    collected.notes.extend(expanded.notes);
    if expanded.found.is_empty() && !optional {
        let reason =
            expanded.missing.map_or_else(|| "nothing matches".to_owned(), |missing| missing.to_string());
        collected.faults.push(format!("{rule}: {reason}"));
    } else if let Some(missing) = expanded.missing.filter(Missing::is_trouble) {
        // An optional file may be absent; one that is there and cannot be read is worth a word.
        collected.notes.push(format!("{rule}: {missing}"));
    }
    for source in expanded.found {
        let path = alias.map_or_else(|| source.trim_start_matches('/').to_owned(), str::to_owned);
        if !is_safe_path(&path) {
            // One such path in a manifest would cost the whole set.
            collected.notes.push(format!("{source}: too long or too deep, left out"));
            continue;
        }
        if !taken.insert(path.clone()) {
            continue;
        }
        if collected.items.len() >= MAX_ITEMS {
            return Err(CollectError::TooManyItems);
        }
        match copy::copy(&source, &path, partial, previous)? {
            Ok(item) => {
                if item.changed {
                    collected.faults.push(format!("{source}: it changed while it was read, twice"));
                }
                collected.items.push(item);
            }
            Err(missing) if optional => collected.notes.push(format!("{source}: {missing}")),
            Err(missing) => collected.faults.push(format!("{source}: {missing}")),
        }
    }
    Ok(())
}

/// Tries what the rules name without keeping anything: what `check` asks the daemon.
pub fn probe(rules: &[FileRule]) -> Collected {
    let mut collected = Collected::default();
    for rule in rules {
        let FileRule::Path { path, optional, .. } = rule else { continue };
        let expanded = expand::expand(path);
        collected.notes.extend(expanded.notes);
        match expanded.missing {
            Some(missing) if !optional => collected.faults.push(format!("{path}: {missing}")),
            Some(missing) if missing.is_trouble() => collected.notes.push(format!("{path}: {missing}")),
            None if expanded.found.is_empty() && !optional => {
                collected.faults.push(format!("{path}: nothing matches"));
            }
            _ => {}
        }
        for file in &expanded.found {
            if let Err(missing) = copy::can_read(file) {
                collected.faults.push(format!("{file}: {missing}"));
            }
        }
    }
    collected
}

/// What the last set had and this one has not.
pub fn vanished(previous: Option<&Manifest>, items: &[Item]) -> Vec<String> {
    let now: BTreeSet<&str> = items.iter().map(|item| item.path.as_str()).collect();
    previous
        .into_iter()
        .flat_map(Manifest::files)
        .map(|(item, _, _)| item.path.as_str())
        .filter(|path| !now.contains(path))
        .map(str::to_owned)
        .collect()
}
