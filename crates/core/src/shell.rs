//! Text for a POSIX shell.

/// Quotes one argument for a POSIX shell.
pub fn quote(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_argument_is_not_changed_by_the_shell() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("$(reboot); it's"), r"'$(reboot); it'\''s'");
    }
}
