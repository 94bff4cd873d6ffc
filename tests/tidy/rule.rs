//! What a rule is: it gets a file of product code and names each line that breaks it. Every rule is tried on samples first:
//! one that refuses nothing guards nothing.

use std::collections::BTreeSet;
use std::path::Path;

use source::{Kind, Product, Text};

/// A file of product code without its test items.
pub struct Source {
    /// Below the root of the workspace.
    pub name: String,
    pub lines: usize,
    pub text: Text,
}

pub type Rule = fn(&Source) -> Vec<String>;

impl Source {
    fn of(name: &str, product: &Product) -> Self {
        let text = Text::of(&product.text).expect("Rust");
        Self { name: name.to_owned(), lines: product.lines().count(), text }
    }

    pub fn sample(name: &str, text: &str) -> Self {
        Self::of(name, &Product::parse(Path::new(name), text).expect("a sample is Rust"))
    }

    /// Whether it is part of this crate of the workspace.
    pub fn in_crate(&self, name: &str) -> bool {
        self.name.starts_with(&format!("crates/{name}/"))
    }

    /// Each line of code that the test holds for, with its place.
    pub fn code(&self, offends: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = (1..).zip(self.text.code.lines());
        let found = lines.filter(|(_, line)| offends(line));
        found.map(|(number, line)| format!("{}:{number}: {}", self.name, line.trim())).collect()
    }
}

/// Every file of product code, those of the project's own commands among them.
pub fn product() -> Vec<Source> {
    let crates = source::root().join("crates");
    let packages = source::packages().expect("the members of the workspace");
    let packages = packages.iter().filter(|package| package.directory().starts_with(&crates));
    let files = packages.flat_map(|package| source::files(package).expect("the files of a crate"));
    let files = files.filter(|file| file.kind == Kind::Product);
    let found: Vec<_> =
        files.map(|file| Source::of(&file.path.display().to_string(), &file.product)).collect();
    assert!(found.len() > 100, "the walk went wrong: {} files", found.len());
    found
}

/// Tries the rule on samples, each a file's name and text, and then holds it against the product.
pub fn enforce(rule: Rule, refused: &[(&str, &str)], accepted: &[(&str, &str)]) {
    try_out(rule, refused, accepted);
    let offenders: Vec<String> = product().iter().flat_map(rule).collect();
    assert!(offenders.is_empty(), "{offenders:#?}");
}

/// The same for what is allowed in some files, each with the reason: one that does not use its permission loses it.
pub fn enforce_but_in(
    places: &[(&str, &str)],
    rule: Rule,
    refused: &[(&str, &str)],
    accepted: &[(&str, &str)],
) {
    try_out(rule, refused, accepted);
    let offenders = outside(places, &product(), rule);
    assert!(offenders.is_empty(), "{offenders:#?}");
}

fn try_out(rule: Rule, refused: &[(&str, &str)], accepted: &[(&str, &str)]) {
    for (name, text) in refused {
        assert!(!rule(&Source::sample(name, text)).is_empty(), "the rule accepts {name}: {text}");
    }
    for (name, text) in accepted {
        assert_eq!(rule(&Source::sample(name, text)), [""; 0], "the rule refuses {name}: {text}");
    }
}

fn outside(places: &[(&str, &str)], files: &[Source], rule: Rule) -> Vec<String> {
    let mut unused: BTreeSet<&str> = places.iter().map(|(place, _)| *place).collect();
    let mut offenders = Vec::new();
    for file in files {
        let found = rule(file);
        match places.iter().find(|(place, _)| file.name == *place) {
            Some((place, _)) if !found.is_empty() => _ = unused.remove(place),
            _ => offenders.extend(found),
        }
    }
    offenders.extend(unused.iter().map(|place| format!("{place} is on the list without need: take it off")));
    offenders
}

#[test]
fn a_permission_that_is_not_used_is_an_offence_itself() {
    let files = [Source::sample("a.rs", "fn f() { bad(); }"), Source::sample("b.rs", "fn f() {}")];
    let rule: Rule = |file| file.code(|line| line.contains("bad()"));
    assert_eq!(outside(&[("a.rs", "")], &files, rule), [""; 0]);
    assert_eq!(outside(&[("a.rs", ""), ("b.rs", "")], &files, rule).len(), 1);
    assert_eq!(outside(&[], &files, rule).len(), 1);
}
