//! The lines of keys that machines return: what is not one of these gets into no file of another machine.

/// A type and a key, as in a `.pub` file.
pub fn is_key(line: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_@.+/=".contains(c))
    };
    let mut words = line.split(' ');
    words.next().is_some_and(is_word) && words.next().is_some_and(is_word)
}

/// A line of authorized_keys whose options forbid a shell. What is in quotes is the value of an option.
pub fn is_restricted(line: &str) -> bool {
    let mut is_quoted = false;
    let mut options = String::new();
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => break,
            c if !is_quoted => options.push(c),
            _ => {}
        }
    }
    !line.contains(char::is_control) && options.split(',').any(|option| option == "restrict")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_allows_no_shell_is_authorized_elsewhere() {
        for good in [
            "restrict ssh-ed25519 A",
            "from=\"10.0.0.1\",restrict,command=\"internal-sftp -R\" ssh-ed25519 A",
        ] {
            assert!(is_restricted(good), "{good}");
        }
        for bad in [
            "ssh-ed25519 A restrict",
            "from=\"restrict\" ssh-ed25519 A",
            "command=\"x,restrict,y\" ssh-ed25519 A",
            "restrict ssh-ed25519 A\nssh-ed25519 B",
            "norestrict ssh-ed25519 A",
        ] {
            assert!(!is_restricted(bad), "{bad}");
        }
    }

    #[test]
    fn a_host_key_is_a_type_and_a_key() {
        assert!(is_key("ssh-ed25519 AAAA+/= root@etcd1"));
        for bad in ["", "ssh-ed25519", "ssh-ed25519 ", "*,x ssh-ed25519\tAAAA", "ssh-ed25519 AA\nAA"] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }
}
