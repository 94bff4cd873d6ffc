//! The version of a config. It is checked first, because the keys of another version may have another meaning.

use toml::de::{DeTable, DeValue};

use crate::ledger::Ledger;
use crate::refusal::Refusal;

/// The version of config that this release reads.
const VERSION: &str = "1";
const KEY: &str = "version";

/// Succeeds if the main file has this version, and no drop-in has another.
pub(crate) fn check(tables: &[DeTable<'_>], ledger: &mut Ledger<'_>) -> Option<()> {
    if tables.first().is_none_or(|main| !main.contains_key(KEY)) {
        let refusal = Refusal::new("`version` is missing").help("start the file with `version = 1`");
        ledger.refuse(None, refusal);
    }
    for value in tables.iter().filter_map(|table| table.get(KEY)) {
        let span = Some(value.span());
        match value.get_ref() {
            DeValue::Integer(number) if number.to_string() == VERSION => {}
            DeValue::Integer(number) => {
                let refusal = Refusal::new(format!("config version {number} is unsupported")).help(format!(
                    "this nightshift reads version {VERSION}; for a newer config, upgrade nightshift"
                ));
                ledger.refuse(span.as_ref(), refusal);
            }
            _ => {
                let refusal = Refusal::new("`version` must be a whole number").help("write `version = 1`");
                ledger.refuse(span.as_ref(), refusal);
            }
        }
    }
    ledger.is_clean().then_some(())
}
