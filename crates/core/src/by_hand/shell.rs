//! Titles, and words and blocks of sh. The names, URLs and paths in them come from other hosts.

use std::fmt;

const RULER: &str = "------------------------------------------------------------------------------\n";

pub fn title(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\n{RULER}{text}\n{RULER}\n")
}

/// Writes commands between markers, which a script can follow.
pub fn block(f: &mut fmt::Formatter<'_>, name: &str, lines: &[String]) -> fmt::Result {
    writeln!(f, "== commands: {name}")?;
    lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
    f.write_str("== end\n")
}

/// Whether the text is one word of sh that means itself, also within quotes. Everything else is left out of commands.
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '~'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/.:_,=@+%[]-".contains(c))
}

/// A command as root on a host. It must not contain single quotes.
pub fn on(host: impl fmt::Display, command: &str) -> String {
    format!("ssh root@{host} '{command}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sh_would_read_as_more_than_a_word_is_not_one() {
        for good in ["https://10.0.3.1:2380", "/var/lib/etcd", "e1=http://[::1]:2380,e2=http://x:1"] {
            assert!(is_word(good), "{good}");
        }
        for bad in ["", "a b", "$(x)", "`x`", "a;b", "a'b", "a\nb", "-x", "~root", "a\"b", "a*", "a\\b"] {
            assert!(!is_word(bad), "{bad}");
        }
    }
}
