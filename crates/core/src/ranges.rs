//! Host ranges in the syntax of an Ansible inventory: `node[01:40].example.com`, `db[a:f]`, `web[1:9:2]`.

mod fold;

pub use fold::fold;

/// The maximum number of hosts of one pattern: a typo must not fill the memory.
const MAX_HOSTS: usize = 10_000;

/// Why a host pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("`{0}` has a `[` without a `]`")]
    Unclosed(String),
    #[error("`{0}` has a `]` without a `[`")]
    Unopened(String),
    #[error("invalid range `[{0}]`; write `[1:3]`, `[01:40]`, `[a:f]` or `[1:9:2]`")]
    Malformed(String),
    #[error("the range `[{0}]` is backwards; write the lower end first")]
    Backwards(String),
    #[error("`{0}` expands to more than {MAX_HOSTS} hosts")]
    TooMany(String),
}

/// All names of a pattern, in order. A pattern without a range is one name.
pub fn expand(pattern: &str) -> Result<Vec<String>, RangeError> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find(['[', ']']) {
        if rest[open..].starts_with(']') {
            return Err(RangeError::Unopened(pattern.to_owned()));
        }
        let close = rest[open..]
            .find(']')
            .map(|at| open + at)
            .ok_or_else(|| RangeError::Unclosed(pattern.to_owned()))?;
        let values = values(&rest[open + 1..close])?;
        if names.len().saturating_mul(values.len()) > MAX_HOSTS {
            return Err(RangeError::TooMany(pattern.to_owned()));
        }
        names = names
            .iter()
            .flat_map(|name| values.iter().map(move |value| format!("{name}{}{value}", &rest[..open])))
            .collect();
        rest = &rest[close + 1..];
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

fn values(range: &str) -> Result<Vec<String>, RangeError> {
    let malformed = || RangeError::Malformed(range.to_owned());
    let parts: Vec<&str> = range.split(':').collect();
    let (first, last, step) = match parts[..] {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step.parse().map_err(|_| malformed())?),
        _ => return Err(malformed()),
    };
    if step == 0 {
        return Err(malformed());
    }
    // As in Ansible: `[:3]` starts at 0.
    let first = if first.is_empty() { "0" } else { first };
    if let ([from], [to]) = (first.as_bytes(), last.as_bytes())
        && from.is_ascii_alphabetic()
        && to.is_ascii_alphabetic()
    {
        if from > to {
            return Err(RangeError::Backwards(range.to_owned()));
        }
        return Ok((*from..=*to).step_by(step).map(|c| char::from(c).to_string()).collect());
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<usize>().ok()).flatten().ok_or_else(malformed)
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(RangeError::Backwards(range.to_owned()));
    }
    if (to - from) / step >= MAX_HOSTS {
        return Err(RangeError::TooMany(range.to_owned()));
    }
    // As in Ansible: if the first value begins with a zero, all values are padded to its width.
    let width = if first.starts_with('0') { first.len() } else { 0 };
    Ok((from..=to).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_expand_as_in_ansible() {
        assert_eq!(expand("a.b").unwrap(), ["a.b"]);
        assert_eq!(expand("m[1:3].x").unwrap(), ["m1.x", "m2.x", "m3.x"]);
        assert_eq!(expand("n[08:10]").unwrap(), ["n08", "n09", "n10"]);
        assert_eq!(expand("z[:2]").unwrap(), ["z0", "z1", "z2"]);
        assert_eq!(expand("d[a:c]").unwrap(), ["da", "db", "dc"]);
        assert_eq!(expand("w[1:5:2]").unwrap(), ["w1", "w3", "w5"]);
        assert_eq!(expand("r[1:2]n[1:2]").unwrap(), ["r1n1", "r1n2", "r2n1", "r2n2"]);
    }

    #[test]
    fn an_invalid_range_is_refused() {
        assert!(matches!(expand("m[1:3"), Err(RangeError::Unclosed(_))));
        assert!(matches!(expand("m1:3]"), Err(RangeError::Unopened(_))));
        assert!(matches!(expand("m[3:1]"), Err(RangeError::Backwards(_))));
        for bad in ["m[]", "m[1]", "m[1:]", "m[1:2:0]", "m[a:3]", "m[1:2:3:4]", "m[-1:2]"] {
            assert!(matches!(expand(bad), Err(RangeError::Malformed(_))), "{bad}");
        }
        assert!(matches!(expand("m[1:999999999]"), Err(RangeError::TooMany(_))));
        assert!(matches!(expand("m[1:999][1:999]"), Err(RangeError::TooMany(_))));
    }
}
