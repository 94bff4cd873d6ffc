//! The documents: every file, heading and test that they name exists. Files move more often than documents are read.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::leftovers::texts;
use crate::map::tests;

/// The documents by their names, with what they may refer to.
struct Documents<'a> {
    texts: BTreeMap<&'a str, &'a str>,
    tests: &'a BTreeMap<String, usize>,
    exists: &'a dyn Fn(&str) -> bool,
}

impl Documents<'_> {
    fn faults(&self, name: &str) -> Vec<String> {
        let text = self.texts[name];
        let links = links(text).filter(|link| !self.leads_somewhere(name, link));
        let names = quoted(text).filter(|quoted| !self.is_there(name, quoted));
        links.chain(names).map(|fault| format!("{name}: {fault} does not exist")).collect()
    }

    fn leads_somewhere(&self, from: &str, link: &str) -> bool {
        let (path, heading) =
            link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
        let beside = Path::new(from).parent().unwrap_or(Path::new(""));
        let target = if path.is_empty() { from.to_owned() } else { plain(&beside.join(path)) };
        match (self.texts.get(target.as_str()), heading) {
            (Some(text), Some(heading)) => headings(text).any(|there| there == heading),
            _ => (self.exists)(&target),
        }
    }

    /// A name in backticks that is a path or a test must be one; anything else may be anything.
    fn is_there(&self, document: &str, quoted: &str) -> bool {
        let words = quoted.split('_').count();
        let is_name = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@".contains(c));
        let of_a_crate = quoted.split_once("/src/").map(|(before, _)| before);
        if !is_name {
            true
        } else if document == "docs/how-it-works.md" && of_a_crate.is_some_and(|name| !name.contains('/')) {
            (self.exists)(&format!("crates/{quoted}"))
        } else if ["crates/", "tests/", "systemd/"].iter().any(|top| quoted.starts_with(top)) {
            (self.exists)(quoted)
        } else {
            // No other name in the documents has so many words, except those of metrics, which a test of the core compares.
            words < 6 || quoted.starts_with("nightshift_") || self.tests.contains_key(quoted)
        }
    }
}

/// The targets of the links to files and headings.
fn links(text: &str) -> impl Iterator<Item = String> {
    let after = text.split("](").skip(1);
    after.filter_map(|after| Some(after.split_once(')')?.0.to_owned())).filter(|link| !link.contains("://"))
}

/// What is in backticks, blocks of code left out.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    let prose: String = text.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// The names by which headings are linked to.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    titles.map(|title| {
        let kept = title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || "_- ".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    })
}

/// The path without `..`.
fn plain(path: &Path) -> String {
    let parts = path.components().fold(PathBuf::new(), |mut parts, part| {
        match part {
            Component::ParentDir => _ = parts.pop(),
            other => parts.push(other),
        }
        parts
    });
    parts.display().to_string()
}

#[test]
fn a_file_a_heading_and_a_test_that_are_gone_are_each_found() {
    let tests = BTreeMap::from([("what_is_read_is_what_was_written".to_owned(), 1)]);
    let exists = |path: &str| ["docs/a.md", "crates/core/src/night.rs"].contains(&path);
    let faults = |text: &str| {
        let texts =
            BTreeMap::from([("docs/a.md", text), ("docs/how-it-works.md", "# The way\n\n## A cold copy")]);
        Documents { texts, tests: &tests, exists: &exists }.faults("docs/a.md")
    };
    for good in [
        "[x](https://example.com/a.md) [a](a.md) [b](how-it-works.md#a-cold-copy) [c](#top)\n# Top",
        "`crates/core/src/night.rs`, `what_is_read_is_what_was_written`, `snapshot_count`, `tests/*.rs`",
        "```\n`crates/gone.rs`\n```",
    ] {
        assert_eq!(faults(good), [""; 0], "{good}");
    }
    for bad in ["[a](b.md)", "[a](../docs/b.md)", "[b](how-it-works.md#a-warm-copy)", "[c](#bottom)\n# Top"] {
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
    for bad in ["`crates/core/src/gone.rs`", "`what_is_read_is_no_longer_what_was_written`"] {
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
}

#[test]
fn what_the_documents_refer_to_exists() {
    let (all, tests) = (texts(), tests());
    let texts: BTreeMap<_, _> = all
        .iter()
        .filter(|(name, _)| name.ends_with(".md"))
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let exists = |path: &str| source::root().join(path).exists();
    let documents = Documents { texts, tests: &tests, exists: &exists };
    let faults: Vec<_> = documents.texts.keys().flat_map(|name| documents.faults(name)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
