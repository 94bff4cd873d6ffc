//! A list of tables such as `[[remote]]`, each of which has a name of its own.

use std::collections::BTreeSet;

use toml::Spanned;

use crate::ledger::Ledger;
use crate::raw::{Leaf, Table};
use crate::refusal::Refusal;

/// The names in one list.
pub(super) struct Names {
    seen: BTreeSet<String>,
    /// What has a name, such as "remote".
    what: &'static str,
    /// What identifies it by its name.
    users: &'static str,
}

impl Names {
    pub(super) const fn new(what: &'static str, users: &'static str) -> Self {
        Self { seen: BTreeSet::new(), what, users }
    }

    /// Refuses the name of a table that an earlier one has.
    pub(super) fn add<T>(
        &mut self,
        name: &str,
        table: &Spanned<Table<T>>,
        leaf: &Leaf<String>,
        ledger: &mut Ledger<'_>,
    ) {
        if self.seen.insert(name.to_owned()) {
            return;
        }
        let Self { what, users, .. } = self;
        let span = leaf.as_ref().map_or_else(|| table.span(), Spanned::span);
        let refusal = Refusal::new(format!("two {what}s have the name `{name}`"))
            .help(format!("give each {what} its own name; {users} identify {what}s by name"));
        ledger.refuse(Some(&span), refusal);
    }

    /// The tables up to a maximum; more are refused.
    pub(super) fn at_most<'r, T>(
        &self,
        max: usize,
        tables: &'r [Spanned<Table<T>>],
        instead: &str,
        ledger: &mut Ledger<'_>,
    ) -> &'r [Spanned<Table<T>>] {
        let Some(surplus) = tables.get(max) else { return tables };
        let refusal = Refusal::new(format!("there are more than {max} {}s", self.what))
            .help(format!("remove some, or {instead}"));
        ledger.refuse(Some(&surplus.span()), refusal);
        &tables[..max]
    }
}
