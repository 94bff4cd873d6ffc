//! Text for a POSIX shell.

/// Quotes one argument for a POSIX shell.
pub fn quote(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// One argument, quoted unless it is plain: for commands that people read.
pub fn word(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,=@+".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) { argument.to_owned() } else { quote(argument) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_argument_is_not_changed_by_the_shell() {
        assert_eq!((quote("a b"), word("a b"), word("")), ("'a b'".into(), "'a b'".into(), "''".into()));
        assert_eq!(word("/etc/etcd.conf"), "/etc/etcd.conf");
        assert_eq!(quote("$(reboot); it's"), r"'$(reboot); it'\''s'");
    }
}
