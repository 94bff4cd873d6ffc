//! Masks secrets in text that is shown: an operator may have put a key or a password where a path, a URL or a public key belongs.

/// Prefixes of age's private keys and of identities of its plugins, in lower case.
const AGE_PREFIXES: [&str; 2] = ["age-secret-key-", "age-plugin-"];
/// A setting with one of these words in its name, in lower case, has a secret value.
const SECRET_NAMES: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "api_key"];
const PEM_START: &str = "-----begin ";
const PEM_END: &str = "-----end ";
const PEM_PRIVATE: &str = "private key-----";

/// The text with each character of a secret replaced by `*`. Line breaks stay, so lines and columns are those of the text.
pub fn masked(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    // Compared in lower case, one character for one, because a mistyped key is a secret in any case.
    let lower: Vec<char> = chars.iter().map(char::to_ascii_lowercase).collect();
    let mut at = 0;
    while at < chars.len() {
        let secret = private_pem(&lower, at)
            .or_else(|| age_key(&lower, at))
            .or_else(|| url_password(&lower, at))
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
    let private = (label..text.len().min(label + 40)).find(|at| starts_with(text, *at, PEM_PRIVATE))?;
    let body = private + PEM_PRIVATE.len();
    Some(body..find(text, body, PEM_END).unwrap_or(text.len()))
}

fn age_key(text: &[char], at: usize) -> Option<Range> {
    let prefix = AGE_PREFIXES.iter().find(|prefix| starts_with(text, at, prefix))?;
    let key = at + prefix.len();
    Some(key..until(text, key, |c| !c.is_ascii_alphanumeric() && c != '-'))
}

/// The password of a URL whose `://` is at `at`. It may contain `/` and `@`, which should have been escaped.
fn url_password(text: &[char], at: usize) -> Option<Range> {
    if !starts_with(text, at, "://") {
        return None;
    }
    let authority = at + 3;
    let ends = until(text, authority, |c| c.is_whitespace() || "\"'`".contains(c));
    let slash = until(text, authority, |c| c == '/').min(ends);
    let last_at =
        |range: Range| text[range.clone()].iter().rposition(|c| *c == '@').map(|at| range.start + at);
    let user_ends = last_at(authority..slash).or_else(|| last_at(authority..ends))?;
    let colon = (authority..user_ends.min(slash)).find(|at| text[*at] == ':')?;
    Some(colon + 1..user_ends)
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
    text.get(sign).filter(|c| "=:".contains(**c))?;
    let value = skip_blanks(sign + 1);
    match text.get(value) {
        Some(quote @ ('"' | '\'')) => Some(value + 1..until(text, value + 1, |c| c == *quote)),
        _ => Some(value..until(text, value, |c| c.is_whitespace() || ",\"'`]}".contains(c))),
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
        for harmless in ["sftp://me@host:2222/x", "sftp://me@[fd00::1]:22/a@b", "https://h:2379/v3"] {
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
        hides("--password=hunter2 --x", "hunter2");
        assert_eq!(masked("a password of etcd"), "a password of etcd");
    }
}
