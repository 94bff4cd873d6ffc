//! One table of a list, such as a `[[notify]]`, read without the rest of the config: the units that use it go on while an operator edits
//! something else, or has made a mistake there.

use std::ops::Range;

use nightshift_core::hook::Hook;
use nightshift_core::name::{HookName, TargetName};
use nightshift_core::notify::Target;
use toml::de::DeTable;

use crate::diagnostic::Diagnostics;
use crate::ledger::Ledger;
use crate::raw;
use crate::resolve;
use crate::sources::{Source, Sources};

/// A target of notifications; `None` if no table has its name. A list that is written in one line (`notify = [{…}]`) is not searched.
pub fn target(sources: &[Source], name: &TargetName) -> Result<Option<Target>, Diagnostics> {
    read(sources, "notify", name.as_str(), resolve::targets)
}

/// A hook, likewise.
pub fn hook(sources: &[Source], name: &HookName) -> Result<Option<Hook>, Diagnostics> {
    read(sources, "hook", name.as_str(), resolve::hooks)
}

fn read<T>(
    sources: &[Source],
    list: &str,
    name: &str,
    resolve: impl Fn(&raw::Config, &mut Ledger<'_>) -> Vec<T>,
) -> Result<Option<T>, Diagnostics> {
    let Some(alone) = find(sources, list, name) else { return Ok(None) };
    let sources = [alone];
    let sources = Sources::new(&sources);
    let mut ledger = Ledger::new(&sources);
    let tables = crate::parse(&sources, &mut ledger);
    let raw = tables.map(|tables| crate::shape(tables, &mut ledger));
    let found = raw.and_then(|raw| resolve(&raw, &mut ledger).into_iter().next());
    let (errors, ..) = ledger.close();
    if errors.is_empty() { Ok(found) } else { Err(Diagnostics(errors)) }
}

/// The last table with this name, in a source with nothing else, on the same lines as before: a drop-in replaces an earlier table.
fn find(sources: &[Source], list: &str, name: &str) -> Option<Source> {
    sources.iter().rev().find_map(|source| {
        let tables = tables(&source.text, list).into_iter().rev();
        let mut alone = tables.map(|table| only(&source.text, table));
        let text = alone.find(|text| has_name(text, list, name))?;
        Some(Source { name: source.name.clone(), text })
    })
}

/// Where the tables of a list are in a text, from their header to the next one.
fn tables(text: &str, list: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let (mut at, mut is_in) = (0, false);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            is_in = is_header(line, list);
            if is_in {
                found.push(at..at);
            }
        }
        at += line.len();
        if let Some(table) = found.last_mut().filter(|_| is_in) {
            table.end = at;
        }
    }
    found
}

fn is_header(line: &str, list: &str) -> bool {
    let inner = line.trim_start().strip_prefix("[[").and_then(|rest| rest.split_once("]]"));
    inner.is_some_and(|(name, _)| name.trim().trim_matches(['"', '\'']) == list)
}

fn only(text: &str, table: Range<usize>) -> String {
    let before = text[..table.start].matches('\n').count();
    format!("{}{}", "\n".repeat(before), &text[table])
}

/// Also of a table with a mistake, as far as it can be read.
fn has_name(text: &str, list: &str, name: &str) -> bool {
    let (document, _) = DeTable::parse_recoverable(text);
    let table = document.get_ref().get(list).and_then(|list| list.get_ref().as_array()?.first().cloned());
    let found =
        table.and_then(|table| Some(table.get_ref().as_table()?.get("name")?.get_ref().as_str()? == name));
    found == Some(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sources(texts: &[&str]) -> Vec<Source> {
        let source = |(at, text): (usize, &&str)| Source { name: format!("{at}.toml"), text: (*text).into() };
        texts.iter().enumerate().map(source).collect()
    }

    fn argv(texts: &[&str], name: &str) -> Result<Option<Vec<String>>, String> {
        let found = hook(&sources(texts), &name.parse().unwrap());
        found.map(|hook| hook.map(|hook| hook.argv)).map_err(|errors| errors.brief())
    }

    const GOOD: &str = "[[hook]]\nname = \"a\"\nafter = \"night\"\nargv = [\"/bin/a\"]\n";

    #[test]
    fn a_table_is_read_whatever_is_wrong_elsewhere() {
        for other in [
            "[stage.prunee]\n",
            "version = 7\n",
            "not toml at all\n",
            "[night\n",
            "[[hook]]\nname = \"b\"\nbefore = \"nihgt\"\n",
            "[[hook]]\nname = \"b\"\nbefore = \"night\n",
            "[[notify]]\nname = 7\n",
        ] {
            let (before, after) = (format!("{other}{GOOD}"), format!("{GOOD}{other}"));
            let expected = Ok(Some(vec!["/bin/a".to_owned()]));
            assert_eq!(argv(&[&before], "a"), expected, "{other}");
            if other.starts_with('[') {
                assert_eq!(argv(&[&after], "a"), expected, "{other}");
            }
            assert_eq!(argv(&[other, GOOD], "a"), expected, "{other}");
        }
        assert_eq!(argv(&[GOOD], "b"), Ok(None));
    }

    #[test]
    fn a_drop_in_replaces_a_table_and_the_mistakes_of_the_table_itself_are_short_and_on_their_lines() {
        let replaced = GOOD.replace("/bin/a", "/bin/b");
        assert_eq!(argv(&[GOOD, &replaced], "a"), Ok(Some(vec!["/bin/b".to_owned()])));
        let wrong = argv(&[&format!("x = 1\n\n{}", GOOD.replace("after", "aftr"))], "a").unwrap_err();
        assert_eq!(wrong, "0.toml:5: unknown key `aftr`; run `nightshift check`");
        let torn = argv(&[&GOOD.replace("\"]", "")], "a").unwrap_err();
        assert!(torn.starts_with("0.toml:4: not valid TOML: "), "{torn}");
        let secret = "[[notify]]\nname = \"t\"\nkind = \"ping\"\nurl = \"https//hooks.test/SECRET\"\n";
        let error = target(&sources(&[secret]), &"t".parse().unwrap()).unwrap_err().brief();
        assert!(error.starts_with("0.toml:4: `url` does not begin with https://"), "{error}");
        assert!(!error.contains("SECRET") && !error.contains('\n'), "{error}");
    }
}
