//! Loading any text ends in settings or in diagnostics; it never panics.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod support;

use proptest::prelude::*;
use support::{files_in, load_sample, load_sources, read, repository, sources};

fn samples() -> Vec<String> {
    let directories = ["tests/data/config/good", "tests/data/config/bad", "config/examples"];
    let files = directories.into_iter().flat_map(|directory| files_in(&repository(directory)));
    files.filter(|file| file.extension().is_some_and(|e| e == "toml")).map(|file| read(&file)).collect()
}

/// Loads a text. If it is refused there must be an error; if it is valid, the shown config must load to the same settings.
fn check(text: &str) {
    match load_sample(text) {
        Ok(loaded) => {
            let shown = loaded.show();
            let again = load_sources(&sources(&shown), support::hostname(text));
            assert_eq!(again.unwrap_or_else(|error| panic!("{error}\n{shown}")).settings, loaded.settings);
        }
        Err(diagnostics) => assert!(diagnostics.to_string().starts_with("error: ")),
    }
}

/// Tokens with a meaning in a config, so that mutations reach more code than random text does.
const WORDS: [&str; 24] = [
    "=",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "\n",
    "#",
    "'",
    "\"\"\"",
    "-1",
    "0",
    "99999999999",
    "true",
    "at",
    "\"@daily\"",
    "\"60 24 * * *\"",
    "\"m[1:9999]\"",
    "\"ä\u{0}\"",
    "\"\\u0000\"",
    "[[remote]]",
    "[host.\"x\"]",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn loading_any_text_does_not_panic(text in "\\PC{0,200}") {
        check(&text);
    }

    #[test]
    fn loading_any_mutation_of_a_sample_does_not_panic(
        sample in prop::sample::select(samples()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..30, prop::sample::select(&WORDS[..])), 1..4),
    ) {
        let mut chars: Vec<char> = sample.chars().collect();
        for (at, drop, word) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + drop).min(chars.len());
            chars.splice(at..end, word.chars());
        }
        check(&chars.into_iter().collect::<String>());
    }
}

#[test]
fn deep_nesting_and_long_lists_end_in_diagnostics() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let dotted = vec!["a"; 50_000].join(".");
    let unknown: String = (0..2_000).map(|n| format!("key{n} = 1\n")).collect();
    for text in [
        format!("version = 1\na = {deep}"),
        format!("version = 1\n{dotted} = 1\n"),
        format!("version = 1\n[{dotted}]\n"),
        format!("version = 1\n{unknown}"),
        format!("version = 1\n[hosts]\nnodes = [{}]\n", "\"n[1:9999]\", ".repeat(2_000)),
    ] {
        check(&text);
    }
}
