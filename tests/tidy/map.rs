//! The map, `crates/README.md`: it names every crate, and each invariant names the tests that fail without it.

use std::collections::BTreeMap;
use std::fs;

use crate::leftovers::texts;

fn map() -> String {
    fs::read_to_string(source::root().join("crates/README.md")).expect("crates/README.md")
}

#[test]
fn the_map_names_every_crate() {
    let map = map();
    for entry in fs::read_dir(source::root().join("crates")).expect("crates/") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().expect("UTF-8");
            assert!(map.contains(&format!("| `{name}` |")), "the map has no row for `{name}`");
        }
    }
}

/// How often each function under a test attribute is there.
pub fn tests() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (name, text) in texts().iter().filter(|(name, _)| name.ends_with(".rs")) {
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if !line.starts_with("#[") || !line.contains("test") || line.contains("cfg") {
                continue;
            }
            let function = lines.find(|line| line.contains("fn ") && !line.starts_with("//"));
            let function = function.and_then(|line| line.split("fn ").nth(1)?.split('(').next());
            let function = function.unwrap_or_else(|| panic!("{name}: a test attribute without a function"));
            *found.entry(function.to_owned()).or_default() += 1;
        }
    }
    found
}

/// What is wrong with the list of invariants. Each item is `N. sentence [test: `name`, `name`]`.
fn faults(map: &str, tests: &BTreeMap<String, usize>) -> Vec<String> {
    let list = map.split("## Invariants").nth(1).unwrap_or_default();
    let items: Vec<String> =
        list.split("\n\n").nth(1).unwrap_or_default().lines().fold(Vec::new(), |mut items, line| {
            match items.last_mut() {
                Some(item) if line.starts_with(' ') => *item += line,
                _ => items.push(line.to_owned()),
            }
            items
        });
    let mut faults = Vec::new();
    for (number, item) in (1..).zip(&items) {
        if !item.starts_with(&format!("{number}. ")) {
            faults.push(format!("expected invariant {number}: {item}"));
        }
        let named = item.split("[test: ").nth(1).unwrap_or_default();
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            faults.push(format!("invariant {number} names no test"));
        }
        for test in named {
            match tests.get(test).copied().unwrap_or_default() {
                1 => {}
                count => faults.push(format!("invariant {number}: {count} tests are called `{test}`")),
            }
        }
    }
    if items.len() < 10 {
        faults.push(format!("{} invariants are found", items.len()));
    }
    faults
}

#[test]
fn each_invariant_names_tests_that_exist() {
    let sample = |list: &str| format!("## Invariants\n\n{list}\n\nend");
    let known = BTreeMap::from([("one".to_owned(), 1), ("twice".to_owned(), 2)]);
    let good: String = (1..=10).map(|number| format!("{number}. So it is.\n   [test: `one`]\n")).collect();
    assert_eq!(faults(&sample(good.trim_end()), &known), [""; 0]);
    for (bad, fault) in [("`one`", "`twice`"), ("[test: `one`]", ""), ("`one`", "`none`"), ("2. ", "3. ")] {
        let bad = good.replacen(bad, fault, 1);
        assert_eq!(faults(&sample(bad.trim_end()), &known).len(), 1, "{bad}");
    }

    let faults = faults(&map(), &tests());
    assert!(faults.is_empty(), "{faults:#?}");
}
