//! Examples in doc comments. The test runner runs none, so one with a mistake in it would stay.

use crate::rule::{Rule, enforce};

const NO_EXAMPLES: Rule = |file| {
    let lines = file.text.comments.iter().filter(|(_, line)| line.contains("```"));
    lines.map(|(number, line)| format!("{}:{number}: {}", file.name, line.trim())).collect()
};

#[test]
fn no_doc_comment_has_an_example_that_is_never_run() {
    let example = "/// Adds.\n///\n/// ```\n/// assert_eq!(add(1, 1), 2);\n/// ```\nfn add(a: u8, b: u8) -> u8 { a + b }";
    enforce(
        NO_EXAMPLES,
        &[("a.rs", example), ("b.rs", "//! ```no_run\n//! a();\n//! ```\nfn a() {}")],
        &[("c.rs", "/// Prints `a` between ` and `.\nfn a() { let _ = \"```\"; }")],
    );
}
