//! A command as a list of words.

use crate::ledger::Ledger;
use crate::raw;
use crate::refusal::Refusal;

/// A program by its absolute path, and its arguments; empty if it was refused.
pub(super) fn argv(key: &str, list: &raw::List, example: &str, ledger: &mut Ledger<'_>) -> Vec<String> {
    let words = ledger.take_list(key, list, Vec::new, |word| {
        if word.contains('\0') {
            return Err(Refusal::new("a word of a command must not contain a NUL character"));
        }
        Ok(word.to_owned())
    });
    if let (Some(list), false) = (list, words.first().is_some_and(|program| program.starts_with('/'))) {
        let refusal = Refusal::new(format!("`{key}` does not begin with the absolute path of a program"))
            .help(format!("write each word as an element, such as `{example}`; no shell is used"));
        ledger.refuse(Some(&list.span()), refusal);
        return Vec::new();
    }
    words
}
