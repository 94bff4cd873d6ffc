//! The version of a config, read before anything else: what another version means is not guessed at.

use toml::de::{DeTable, DeValue};

use crate::ledger::Ledger;
use crate::refusal::Refusal;

/// The version of config that this release reads.
const VERSION: &str = "1";
const KEY: &str = "version";

/// Goes on only where every file that names a version names this one, and the first file does.
pub(crate) fn check(tables: &[DeTable<'_>], ledger: &mut Ledger<'_>) -> Option<()> {
    if tables.first().is_none_or(|main| !main.contains_key(KEY)) {
        let refusal = Refusal::new("`version` is missing").help("begin the file with `version = 1`");
        ledger.refuse(None, refusal);
    }
    for value in tables.iter().filter_map(|table| table.get(KEY)) {
        let span = Some(value.span());
        match value.get_ref() {
            DeValue::Integer(number) if number.to_string() == VERSION => {}
            DeValue::Integer(number) => {
                let refusal =
                    Refusal::new(format!("version {number} of the config is not known to this release"))
                        .help(format!("it reads version {VERSION}; a newer config needs a newer nightshift"));
                ledger.refuse(span.as_ref(), refusal);
            }
            _ => {
                let refusal = Refusal::new("`version` takes a whole number").help("write `version = 1`");
                ledger.refuse(span.as_ref(), refusal);
            }
        }
    }
    ledger.is_clean().then_some(())
}
