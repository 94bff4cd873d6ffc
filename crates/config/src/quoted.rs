//! The lines of a config that diagnostics quote, without secrets. The URL of a target is one: it is all that is needed to send there.

use nightshift_core::secret::masked;

/// The keys of `[[notify]]` whose values are quoted. Any other may be a misspelt `url`.
const SHOWN: [&str; 13] = [
    "name",
    "kind",
    "url-file",
    "url-credential",
    "ca",
    "format",
    "from",
    "to",
    "sendmail",
    "argv",
    "events",
    "every-night",
    "give-up",
];

/// A line of a file, counted from 0, with each character of a secret replaced by `*`: columns stay.
pub(crate) fn line(text: &str, number: usize) -> String {
    // The whole text is masked, because a private key has many lines.
    let text = masked(text);
    let line = text.split('\n').nth(number).unwrap_or_default().trim_end_matches('\r');
    match table(&text, number) {
        "remote" => of_remote(line),
        table if is_target(table) => of_target(line),
        _ => without_url(line),
    }
}

/// Whether a line belongs to a table whose values may be secret.
pub(crate) fn is_of_target(text: &str, number: usize) -> bool {
    is_target(table(text, number))
}

fn is_target(table: &str) -> bool {
    table.starts_with("notif")
}

/// The name of the table that a line belongs to.
fn table(text: &str, number: usize) -> &str {
    text.split('\n').take(number + 1).filter_map(header).last().unwrap_or_default()
}

/// The name in a header such as `[[remote]]` or `[stage.prune]`: its first part.
fn header(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    Some(inner.split([']', '.']).next()?.trim().trim_matches(['"', '\'']))
}

/// The password of a remote's URL is masked already, unless the URL is mistyped.
fn of_remote(line: &str) -> String {
    if line.contains("://") { line.to_owned() } else { without_url(line) }
}

fn of_target(line: &str) -> String {
    let Some((key, value)) = line.split_once('=') else {
        // An element of a list, or part of a text of several lines.
        return if header(line).is_none() && line.contains('/') { starred(line) } else { line.to_owned() };
    };
    let value = value.trim_start();
    let plain = value.trim_start_matches(['"', '\'']);
    let is_shown = !plain.contains('/') || plain.starts_with(['/', '[']);
    if SHOWN.contains(&key.trim()) && is_shown {
        return urls(line);
    }
    let is_key = key.trim().chars().all(|c| c.is_ascii_alphanumeric() || "-_\"'".contains(c));
    let shown = if is_key { line.len() - value.len() } else { 0 };
    format!("{}{}", &line[..shown], starred(&line[shown..]))
}

/// Masks what follows `url =`, wherever it is in the line: the table may be written in one.
fn without_url(line: &str) -> String {
    let is_url =
        |at: &usize| line[at + "url".len()..].trim_start_matches(['"', '\'']).trim_start().starts_with('=');
    // One byte for each, so that positions stay.
    let lower = line.to_ascii_lowercase();
    let Some(at) = lower.match_indices("url").map(|(at, _)| at).find(is_url) else { return line.to_owned() };
    let value = line[at..].find('=').map_or(line.len(), |sign| at + sign + 1);
    format!("{}{}", &line[..value], starred(&line[value..]))
}

/// Masks URLs in a text, up to the end of each word.
pub(crate) fn urls(text: &str) -> String {
    let (mut in_url, mut before) = (false, ' ');
    let mask = |c: char| {
        in_url = in_url && !c.is_whitespace() && !"\"'`".contains(c);
        // One slash, too: a scheme may be mistyped.
        let is_begun = c == '/' && matches!(before, ':' | '/');
        let shown = if in_url && !is_begun { '*' } else { c };
        in_url = in_url || is_begun;
        before = c;
        shown
    };
    text.chars().map(mask).collect()
}

/// Spaces and quotes stay.
fn starred(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c == '"' || c == '\'' { c } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        (0..text.lines().count()).map(|number| line(text, number)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_url_of_a_target_is_never_quoted_however_it_is_mistyped() {
        for written in [
            "[[notify]]\nurl = \"https//hooks.test/SECRET\"",
            "[[notify]]\nurl = 'hooks.test/SECRET'",
            "[[notify]]\nurl = https://hooks.test/SECRET",
            "[[notify]]\nurl \"https://hooks.test/SECRET\"",
            "[[notify]]\nurl = \"https://hooks.test/SECRET",
            "[[notify]]\nulr = \"hooks.test/SECRET\"",
            "[[notify]]\n\"url\" = \"hooks.test/SECRET\"",
            "[[ notify ]]\nname = \"x\"\nurl = \"\"\"\nhttps://hooks.test/?a=SECRET\"\"\"",
            "[notify]\nurl-file = \"hooks.test/SECRET\"",
            "[[notify]]\nname = \"https://hooks.test/SECRET\"",
            "[[notify]]\nkind = \"https:/hooks.test/SECRET\"",
            "[[notifications]]\nurl = \"https://hooks.test/SECRET\"",
            "[[other]]\nurl=\"https://hooks.test/SECRET\"",
            "notify = [{ name = \"x\", url = \"hooks.test/SECRET\" }]",
            "[[remote]]\nurl = \"sftp//me:SECRET@host/x\"",
            "[[remote]]\nurl = \"sftp://me:SECRET@host/x\"",
        ] {
            let shown = quoted(written);
            assert!(!shown.contains("SECRET"), "{shown}");
            assert_eq!(shown.chars().count(), written.chars().count(), "columns stay");
        }
    }

    #[test]
    fn other_values_are_quoted() {
        for written in [
            "[[notify]]\nname = \"chat\"\nurl-file = \"/etc/nightshift/notify/x\"\nto = [\n  \"a@b.c\",\n]",
            "[[notify]]\nargv = [\"/bin/x\", \"y\"]\nevents = [\"stale\"] # why",
            "[[remote]]\nname = \"r\"\nurl = \"sftp://me@host:22/x\"",
            "[etcd]\nendpoint = \"https://10.0.0.1:2379\"",
        ] {
            assert_eq!(quoted(written), written);
        }
    }
}
