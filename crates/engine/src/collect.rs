//! Collects a role's files into a set, in a way that no path can be used to read other files.

mod command;
mod copy;
pub(crate) mod expand;
pub(crate) mod gaps;
mod glob;
pub(crate) mod previous;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use nightshift_core::chain;
use nightshift_core::manifest::{Item, MAX_ITEMS, Manifest};
use nightshift_core::settings::FileRule;
use nightshift_store::safe_open::Missing;
use nightshift_store::space::SpaceError;
use nightshift_store::{Partial, StoreError};

use copy::CopyError;
use expand::Expansion;
use previous::Previous;

/// What was collected, and what could not be collected.
#[derive(Debug, Default)]
pub struct Collected {
    pub items: Vec<Item>,
    /// Why the set is degraded: required files that are absent, files that kept changing.
    pub faults: Vec<String>,
    /// What is worth knowing, but does not degrade the set.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the rules name more than {MAX_ITEMS} files; leave some out, or split the role's list")]
    TooManyItems,
}

/// The paths that the rules name, each only once.
#[derive(Debug, Default)]
pub struct Selection {
    /// The paths in the set.
    taken: BTreeSet<String>,
    pub faults: Vec<String>,
    pub notes: Vec<String>,
}

/// A path that a rule names.
#[derive(Debug)]
pub struct Selected<S> {
    /// Its path in the set.
    pub path: String,
    /// Absolute.
    pub source: String,
    pub known: S,
}

impl Selection {
    /// The paths of one rule that no earlier rule named. What is missing becomes a fault if it is required, or if it exists and is
    /// left out.
    pub fn of_rule<S>(
        &mut self,
        rule: &str,
        alias: Option<&str>,
        optional: bool,
        expanded: Expansion<'_, S>,
    ) -> Result<Vec<Selected<S>>, CollectError> {
        self.notes.extend(expanded.notes);
        self.faults.extend(expanded.left_out);
        match expanded.missing {
            Some(missing) if expanded.found.is_empty() && !optional => {
                self.faults.push(format!("{rule}: {missing}"));
            }
            // Optional means that it may be absent, not that it may be left out.
            Some(missing) if missing.is_trouble() => self.faults.push(format!("{rule}: left out: {missing}")),
            None if expanded.found.is_empty() && !optional => {
                self.faults.push(format!("{rule}: nothing matches"));
            }
            _ => {}
        }
        let mut selected = Vec::new();
        for (source, known) in expanded.found {
            let path = alias.map_or_else(|| source.trim_start_matches('/').to_owned(), str::to_owned);
            if self.taken.insert(path.clone()) {
                selected.push(Selected { path, source, known });
            }
        }
        if self.taken.len() > MAX_ITEMS { Err(CollectError::TooManyItems) } else { Ok(selected) }
    }

    /// Reports a path that was selected and cannot be read.
    fn unreadable(&mut self, source: &str, missing: &Missing, optional: bool) {
        if missing.is_trouble() || !optional {
            self.faults.push(format!("{source}: {missing}"));
        }
    }
}

/// Collects everything that the rules name into the partial set. Files that are unchanged since `previous` become hard links.
/// Blocks: call it offloaded.
pub fn collect(
    rules: &[FileRule],
    partial: &Partial,
    previous: Option<&Manifest>,
) -> Result<Collected, CollectError> {
    let previous = Previous::of(previous);
    let mut selection = Selection::default();
    let mut items = Vec::new();
    for rule in rules {
        match rule {
            FileRule::Path { path, alias, optional } => {
                let expanded = expand::expand(path);
                for it in selection.of_rule(path, alias.as_deref(), *optional, expanded)? {
                    match copy::copy(&it.source, &it.path, partial, &previous) {
                        Ok((item, fault)) => {
                            selection.faults.extend(fault.map(|fault| format!("{}: {fault}", it.source)));
                            if item.changed {
                                let fault = format!("{}: it changed while it was read, twice", it.source);
                                selection.faults.push(fault);
                            }
                            items.push(item);
                        }
                        Err(CopyError::Missing(missing)) => {
                            selection.unreadable(&it.source, &missing, *optional);
                        }
                        Err(error @ CopyError::TooLarge(_)) => {
                            selection.faults.push(format!("{}: {error}", it.source));
                        }
                        Err(CopyError::Store(error)) => return Err(error.into()),
                    }
                }
            }
            FileRule::Command { argv, alias, optional } => match command::output(argv) {
                Ok(output) if selection.taken.insert(alias.clone()) => {
                    match command::store(partial, argv, alias, &output) {
                        Ok(item) => items.push(item),
                        Err(error) if SpaceError::is_cause_of_store(&error) => {
                            partial.discard(alias)?;
                            selection.faults.push(format!("{alias}: left out: {}", chain(&error)));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(_) => {}
                // A host may not have the program; one that has it and fails is another matter.
                Err(failure) if *optional && failure.is_absent() => {
                    selection.notes.push(format!("{alias}: {}", chain(&failure)));
                }
                Err(failure) => selection.faults.push(format!("{alias}: {}", chain(&failure))),
            },
        }
    }
    let Selection { faults, notes, .. } = selection;
    Ok(Collected { items, faults, notes })
}

/// Checks which of the paths that the rules name can be read, for `nightshift check`; collects nothing. It is stricter than
/// collecting: everything that exists and cannot be read is a fault.
pub fn probe(rules: &[FileRule]) -> Result<Selection, CollectError> {
    let mut selection = Selection::default();
    for rule in rules {
        let FileRule::Path { path, alias, optional } = rule else { continue };
        let mut expanded = expand::expand(path);
        if let Some(missing) = expanded.missing.take_if(|_| !optional && !expanded.found.is_empty()) {
            selection.faults.push(format!("{path}: {missing}"));
        }
        for it in selection.of_rule(path, alias.as_deref(), *optional, expanded)? {
            if let Err(missing) = copy::can_read(&it.source) {
                selection.unreadable(&it.source, &missing, false);
            }
        }
    }
    Ok(selection)
}

/// The paths that the last set contained and this one does not.
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
