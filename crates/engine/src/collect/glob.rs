//! The globs of rules: matched for one path component at a time, as in a shell.

use globset::GlobBuilder;

/// The components of a rule's path.
pub fn parts(rule: &str) -> Vec<&str> {
    rule.split('/').filter(|part| !part.is_empty()).collect()
}

pub fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '[', '{'])
}

/// Whether a name matches one component. As in a shell, `*` leaves hidden files out.
pub fn matches(part: &str, name: &str) -> bool {
    let hidden = name.starts_with('.') && !part.starts_with('.');
    // The config refuses invalid globs, so an error here can be treated as no match.
    !hidden
        && GlobBuilder::new(part)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(name))
}
