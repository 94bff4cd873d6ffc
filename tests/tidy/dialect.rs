//! Phrases that make a reader stop and read again: `docs/style.md` has the plainer words.

use crate::leftovers::texts;
use crate::rule::{Source, product};

/// A phrase, what to write instead, and the longer phrases in which it is plain English. Whole words, in upper or lower case.
const PHRASES: &[(&str, &str, &[&str])] = &[
    ("nobody", "name the actor", &[]),
    ("somebody", "name the actor", &[]),
    ("whoever", "name the actor", &[]),
    ("person", "operator, user", &[]),
    ("maker", "origin host", &[]),
    ("told", "report, log, send", &[]),
    ("tell", "report, log, send", &["cannot tell"]),
    ("tells", "report, log, send", &[]),
    ("telling", "report, log, send", &[]),
    ("is no", "is not a, invalid, unsupported", &["there is no", "is no longer"]),
    ("are no", "are not, invalid, unsupported", &["there are no", "are no longer"]),
    ("stands", "is", &[]),
    ("stood", "was", &[]),
    ("lie", "be, be stored", &["can lie about"]),
    ("lies", "is, is stored", &[]),
    ("holds", "contains, has", &["holds the lock", "holds a lock", "holds the lease"]),
    ("passed", "verified, given", &["has passed"]),
    ("passes over", "skips", &[]),
    ("broke down", "crashed, failed", &[]),
    ("breaks down", "crashes, fails", &[]),
    ("cut short", "interrupted", &[]),
    ("folder", "directory", &["\"folder\""]),
    ("folders", "directories", &[]),
    ("room", "space", &[]),
    ("patience", "timeout", &[]),
    ("glance", "poll", &[]),
    ("nap", "poll interval", &[]),
    ("ask again", "retry", &[]),
    ("asked again", "retried", &[]),
    ("look at again", "retry", &[]),
    ("looked at again", "retried", &[]),
    ("heard of", "known", &[]),
    ("hears of", "learns", &[]),
    ("speaks", "uses, supports", &[]),
    ("spoken", "supported", &[]),
    ("hand in", "publish", &[]),
    ("hands in", "publishes", &[]),
    ("handed in", "published", &[]),
    ("by its word", "because of it", &[]),
    ("'s word", "report, acceptance", &[]),
    ("bear", "have", &[]),
    ("bears", "has", &[]),
    ("all the same", "still, anyway", &[]),
    ("not taken", "refused", &[]),
];

/// Names of fields and kinds in files, which cannot change.
const SERIALISED: [&str; 2] = ["folder", "passed"];

/// The lines with a phrase in them. Names in backticks and in braces are those of the code.
fn offences<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<String> {
    let found = lines.filter_map(|(number, line)| {
        let plain = without(&without(line, '`', '`'), '{', '}').to_lowercase();
        let (phrase, instead, _) =
            PHRASES.iter().find(|(phrase, _, plain_english)| occurs(&plain, phrase, plain_english))?;
        Some(format!("{number}: \"{phrase}\" (write: {instead}) in: {}", line.trim()))
    });
    found.collect()
}

fn without(line: &str, open: char, close: char) -> String {
    let mut left = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(open) {
        left += before;
        let Some((_, after)) = after.split_once(close) else { return left + after };
        left.push('_');
        rest = after;
    }
    left + rest
}

fn occurs(line: &str, phrase: &str, plain_english: &[&str]) -> bool {
    if !line.contains(phrase) {
        return false;
    }
    let line = plain_english.iter().fold(line.to_owned(), |line, plain| line.replace(plain, "_"));
    line.match_indices(phrase).any(|(at, _)| {
        let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let before = phrase.starts_with(char::is_alphanumeric) && line[..at].ends_with(part_of_a_word);
        let after = line[at + phrase.len()..].starts_with(part_of_a_word);
        !before && !after
    })
}

fn offences_of_code(file: &Source) -> Vec<String> {
    let strings = file.text.strings.iter().filter(|(_, text)| !SERIALISED.contains(&text.as_str()));
    let lines = strings.chain(&file.text.comments);
    let lines = lines.flat_map(|(first, text)| (*first..).zip(text.lines()));
    offences(lines)
}

#[test]
fn phrases_of_the_private_dialect_are_found_where_a_reader_meets_them() {
    for bad in [
        "fn f() { say(\"Nobody answers\"); }",
        "// What the host was told.",
        "/// A set's grade is its maker's word.\nfn f() {}",
        "fn f() { say(\"first\\\n    the folder\"); }",
        "fn f() { say(\"{path} is no archive\"); }",
    ] {
        assert_eq!(offences_of_code(&Source::sample("a.rs", bad)).len(), 1, "{bad}");
    }
    for good in [
        "fn tell(folder: &str) { say(\"cannot read {folder}; there is no etcd\"); }",
        "// `folder` is a name; the bedroom is a word; cannot tell.",
        "#[cfg(test)]\n/// nobody\nfn f() { say(\"nobody\"); }",
    ] {
        assert_eq!(offences_of_code(&Source::sample("a.rs", good)), [""; 0], "{good}");
    }
    assert_eq!(
        offences([(7, "# a person's word")].into_iter()),
        ["7: \"person\" (write: operator, user) in: # a person's word"]
    );
}

#[test]
fn what_a_user_or_a_colleague_reads_is_in_plain_words() {
    let (product, texts) = (product(), texts());
    let code = product.iter().map(|file| (file.name.as_str(), offences_of_code(file)));
    let prose = texts.iter().filter(|(name, _)| is_prose(name));
    let prose = prose.map(|(name, text)| (name.as_str(), offences((1..).zip(text.lines()))));
    let faults: Vec<String> = code
        .chain(prose)
        .flat_map(|(name, offences)| offences.into_iter().map(move |offence| format!("{name}:{offence}")))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What is read beside the code, but for the history, the tests' data and the guide that lists the phrases.
fn is_prose(name: &str) -> bool {
    let written =
        [".md", ".toml", ".service", ".socket", ".conf", ".sh"].iter().any(|end| name.ends_with(end));
    written && !name.starts_with("tests/") && !["CHANGELOG.md", "docs/style.md"].contains(&name)
}
