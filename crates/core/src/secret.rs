//! Masks secrets in text that is shown: an operator may have put a key or a password where a path, a URL or a public key belongs.

/// Prefixes of age's private keys and of identities of its plugins, in lower case.
const AGE_PREFIXES: [&str; 2] = ["age-secret-key-", "age-plugin-"];
/// A setting with one of these words in its name, in lower case, has a secret value.
const SECRET_NAMES: [&str; 13] = [
    "password",
    "passwd",
    "_pass",
    "-pass",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "bearer",
    "authorization",
];
/// Options whose value has the form `user:password`, as those of curl and etcdctl.
const LOGIN_OPTIONS: [&str; 4] = ["--username", "--user", "--proxy-user", "-u"];
const PEM_START: &str = "-----begin ";
const PEM_END: &str = "-----end ";
/// The end of the label of PEM, and that of PGP (`PRIVATE KEY BLOCK`).
const PEM_PRIVATE: [&str; 2] = ["private key-----", "private key block-----"];
/// The key in a file of PuTTY (`Private-Lines: 8`, then the lines).
const PUTTY_START: &str = "private-lines:";
const PUTTY_END: &str = "private-mac:";
/// `openssh-key-v1` in Base64, in lower case: how the body of such a key begins.
const OPENSSH_BODY: &str = "b3blbnnzac1rzxktdje";

/// The text with each character of a secret replaced by `*`. Line breaks stay, so lines and columns are those of the text.
pub fn masked(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    // Compared in lower case, one character for one, because a mistyped key is a secret in any case.
    let lower: Vec<char> = chars.iter().map(char::to_ascii_lowercase).collect();
    let mut at = 0;
    while at < chars.len() {
        let secret = private_pem(&lower, at)
            .or_else(|| bare_key(&lower, at))
            .or_else(|| age_key(&lower, at))
            .or_else(|| url_password(&lower, at))
            .or_else(|| login(&lower, at))
            .or_else(|| secret_value(&lower, at));
        match secret {
            Some(range) if !range.is_empty() => {
                at = range.end;
                chars[range].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = '*');
            }
            _ => at += 1,
        }
    }
    chars.into_iter().collect()
}

/// The words of a command, with each secret replaced by `*`. Secrets do not belong there, because every user of a host sees its
/// processes, but some programs take them so.
pub fn masked_words<W: AsRef<str>>(words: &[W]) -> Vec<String> {
    let options = std::iter::once("").chain(words.iter().map(AsRef::as_ref));
    let words = options.zip(words.iter().map(AsRef::as_ref));
    words
        .map(|(option, word)| {
            if is_secret_option(option) && !word.starts_with('-') {
                return "*".repeat(word.chars().count());
            }
            // As many characters as before, of which those of the word are the last.
            let both = masked(&format!("{option} {word}"));
            both.chars().skip(option.chars().count() + 1).collect()
        })
        .collect()
}

/// As [`masked_words`], on one line.
pub fn masked_command<W: AsRef<str>>(words: &[W]) -> String {
    masked_words(words).join(" ")
}

/// An option whose value is the next word, such as `--password`. A file with the secret may be named.
fn is_secret_option(option: &str) -> bool {
    let name = option.to_ascii_lowercase();
    name.starts_with('-') && SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

type Range = std::ops::Range<usize>;

fn starts_with(text: &[char], at: usize, word: &str) -> bool {
    let mut rest = text[at.min(text.len())..].iter();
    word.chars().all(|c| rest.next() == Some(&c))
}

fn find(text: &[char], from: usize, word: &str) -> Option<usize> {
    (from..text.len()).find(|at| starts_with(text, *at, word))
}

/// The first character from `from` on at which `ends`, or the end of the text.
fn until(text: &[char], from: usize, ends: impl Fn(char) -> bool) -> usize {
    (from..text.len()).find(|at| ends(text[*at])).unwrap_or(text.len())
}

/// The body of a private key in PEM, to its last line or to the end of the text.
fn private_pem(text: &[char], at: usize) -> Option<Range> {
    if !starts_with(text, at, PEM_START) {
        return None;
    }
    let label = at + PEM_START.len();
    let is_private = |at: &usize| PEM_PRIVATE.iter().any(|end| starts_with(text, *at, end));
    let private = (label..text.len().min(label + 40)).find(is_private)?;
    let body = find(text, private, "-----")? + "-----".len();
    Some(body..find(text, body, PEM_END).unwrap_or(text.len()))
}

/// The private part of a file of PuTTY, or the body of an OpenSSH key without its frame.
fn bare_key(text: &[char], at: usize) -> Option<Range> {
    if starts_with(text, at, PUTTY_START) {
        let body = at + PUTTY_START.len();
        return Some(body..find(text, body, PUTTY_END).unwrap_or(text.len()));
    }
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || "+/=\n".contains(c);
    starts_with(text, at, OPENSSH_BODY).then(|| at..until(text, at, |c| !is_of_key(c)))
}

fn age_key(text: &[char], at: usize) -> Option<Range> {
    let prefix = AGE_PREFIXES.iter().find(|prefix| starts_with(text, at, prefix))?;
    let key = at + prefix.len();
    Some(key..until(text, key, |c| !c.is_ascii_alphanumeric() && c != '-'))
}

/// The password of a URL whose `://` is at `at`. It may contain `/` and `@`, which should have been escaped.
fn url_password(text: &[char], at: usize) -> Option<Range> {
    // Also with one slash, as it may be mistyped.
    let separator = ["://", ":/"].into_iter().find(|separator| starts_with(text, at, separator))?;
    let authority = at + separator.len();
    let ends = until(text, authority, |c| c.is_whitespace() || "\"'`".contains(c));
    let slash = until(text, authority, |c| c == '/').min(ends);
    let last_at =
        |range: Range| text[range.clone()].iter().rposition(|c| *c == '@').map(|at| range.start + at);
    let user_ends = last_at(authority..slash).or_else(|| last_at(authority..ends))?;
    let colon = (authority..user_ends.min(slash)).find(|at| text[*at] == ':')?;
    Some(colon + 1..user_ends)
}

/// The password of `-u user:password`, `--user=user:password` and the like, also as words of a list.
fn login(text: &[char], at: usize) -> Option<Range> {
    // In a path such as `/srv/old-users:1` a dash does not begin an option.
    let is_inside_word = |before: &char| before.is_alphanumeric() || matches!(before, '-' | '_' | '.' | '/');
    if at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(is_inside_word) {
        return None;
    }
    let option = LOGIN_OPTIONS.iter().find(|option| starts_with(text, at, option))?;
    let name_ends = at + option.len();
    let value = until(text, name_ends, |c| !" \t\"',=".contains(c));
    if value == name_ends && *option != "-u" {
        return None;
    }
    let ends = until(text, value, |c| c.is_whitespace() || "\"'`".contains(c));
    let colon = (value..ends).find(|at| text[*at] == ':')?;
    // `https://…` is a URL, and `1000:1000` a user and a group.
    let is_number = text[value..colon].iter().all(char::is_ascii_digit);
    (!is_number && !starts_with(text, colon, "://")).then(|| colon + 1..ends)
}

/// The value of `password = …`, `--token=…`, `"secret": …` and the like: to the closing quote, else to the end of the word.
fn secret_value(text: &[char], at: usize) -> Option<Range> {
    let name = SECRET_NAMES.iter().find(|name| starts_with(text, at, name))?;
    let is_blank = |at: usize| text.get(at).is_some_and(|c| *c == ' ' || *c == '\t');
    let skip_blanks = |mut at: usize| {
        while is_blank(at) {
            at += 1;
        }
        at
    };
    let after_name = until(text, at + name.len(), |c| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let quote = usize::from(text.get(after_name).is_some_and(|c| "\"'".contains(*c)));
    let sign = skip_blanks(after_name + quote);
    // In a list of words, the value is the next one.
    let signs = if quote == 1 { "=:," } else { "=:" };
    text.get(sign).filter(|c| signs.contains(**c))?;
    let value = skip_blanks(sign + 1);
    match text.get(value) {
        Some(quote @ ('"' | '\'')) => Some(value + 1..until(text, value + 1, |c| c == *quote)),
        _ => {
            let ends = |from| until(text, from, |c| c.is_whitespace() || ",\"'`]}".contains(c));
            let first = ends(value);
            // `Authorization: Bearer …`
            let has_scheme = *name == "authorization" && text.get(first) == Some(&' ');
            Some(value..if has_scheme { ends(first + 1) } else { first })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hides(text: &str, secret: &str) {
        let shown = masked(text);
        assert!(!shown.contains(secret), "{shown}");
        assert_eq!(shown.chars().count(), text.chars().count());
        assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn the_body_of_a_private_key_is_hidden_in_every_kind_of_pem() {
        for label in ["OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            hides(
                &format!("a = '''\n-----BEGIN {label}-----\nSECRET\nSECRET\n-----END {label}-----\n'''"),
                "SECRET",
            );
            hides(&format!("-----BEGIN {label}-----\nSECRET"), "SECRET");
        }
        let public = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
        assert_eq!(masked(public), public);
    }

    #[test]
    fn an_age_private_key_is_hidden_in_upper_and_lower_case() {
        hides("` AGE-SECRET-KEY-1QQPQZ` is not", "QQPQZ");
        hides("recipients = [\"age-secret-key-1qqpqz\"]", "qqpqz");
        hides("AGE-SECRET-KEY-PQ-1QQPQZ", "QQPQZ");
        hides("AGE-PLUGIN-TPM-1QQPQZ", "QQPQZ");
    }

    #[test]
    fn the_password_of_a_url_is_hidden_however_it_is_spelt() {
        assert_eq!(masked("`sftp://me:secr@h:22/x` contains"), "`sftp://me:****@h:22/x` contains");
        hides("url = \"sftp://me:se/cr@et@host/x\"", "cr");
        hides("https://root:hunter2@10.0.0.1:2379", "hunter2");
        hides("url = \"sftp:/me:secr@h/x\"", "secr");
        for harmless in
            ["sftp://me@host:2222/x", "host:/path/a:b@c", "sftp://me@[fd00::1]:22/a@b", "https://h:2379/v3"]
        {
            assert_eq!(masked(harmless), harmless);
        }
    }

    #[test]
    fn the_value_of_a_setting_with_a_secret_name_is_hidden() {
        for text in [
            "password = \"hun ter2\"",
            "PASSWORD='hun ter2'",
            "\"api_token\": \"hun ter2\"",
            "db_password=\"hun ter2\" x",
        ] {
            hides(text, "ter2");
        }
        for text in [
            "--password=hunter2 --x",
            "PGPASSWORD=hunter2",
            "pwd: hunter2",
            "x-api-key: hunter2",
            "ansible_ssh_pass=hunter2",
            "--key-pass=hunter2",
        ] {
            hides(text, "hunter2");
        }
        hides("-H 'Authorization: Bearer hunter2'", "hunter2");
        assert_eq!(masked("a password of etcd"), "a password of etcd");
    }

    #[test]
    fn a_key_is_hidden_in_the_forms_of_pgp_and_putty_and_without_its_frame() {
        hides(
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nSECRET\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----",
            "SECRET",
        );
        hides("Public-Lines: 1\nAAAA\nPrivate-Lines: 1\nSECRET\nPrivate-MAC: 00", "SECRET");
        hides("`b3BlbnNzaC1rZXktdjEAAAAABG5vbmU` is not a path", "AAAAABG5vbmU");
        let public = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----";
        assert_eq!(masked(public), public);
    }

    #[test]
    fn a_secret_in_the_words_of_a_command_is_hidden_however_it_is_given() {
        for words in [
            &["etcdctl", "--user=root:hunter2", "get"][..],
            &["etcdctl", "--user", "root:hunter2"],
            &["etcdctl", "--user", "root", "--password", "hunter2"],
            &["curl", "-u", "root:hunter2", "https://h:2379"],
            &["curl", "-uroot:hunter2"],
            &["curl", "-H", "Authorization: Basic hunter2"],
            &["curl", "https://root:hunter2@h:2379"],
            &["env", "PGPASSWORD=hunter2", "pg_dump"],
            &["x", "--api-key", "hunter2"],
            &["x", "--key-pass", "hunter2"],
        ] {
            hides(&format!("node = [{{ command = {words:?}, as = \"x\" }}]"), "hunter2");
            let shown = masked_command(words);
            assert!(!shown.contains("hunter2") && shown.contains('*'), "{shown}");
            assert!(shown.starts_with(words[0]), "{shown}");
        }
        for words in [
            &["rpm", "-qa"][..],
            &["podman", "run", "--user", "1000:1000", "x"],
            &["etcdctl", "--password-file", "/etc/etcd/password", "--endpoints", "https://h:2379"],
            &["find", "/", "-user", "root"],
            &["cat", "/srv/ns-users/hosts:1:"],
        ] {
            assert_eq!(masked_command(words), words.join(" "));
        }
    }
}
