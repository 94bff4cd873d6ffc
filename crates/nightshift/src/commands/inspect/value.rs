//! `inspect … get`: the value of one key.

use std::io::{IsTerminal as _, Write};

use nightshift_snapshot::{Envelope, Stored, get};
use serde::Serialize;
use serde_json::Value;

use super::list::{pretty, shown};
use super::opened::Opened;
use crate::args::Output;
use crate::commands::CommandError;
use crate::out::{self, is_harmless};

pub fn value(
    opened: &mut Opened,
    key: &[u8],
    revision: Option<u64>,
    output: Option<Output>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let found = get(&opened.database, key, revision)
        .map_err(|source| CommandError::Snapshot { what: opened.what.clone(), source })?;
    opened.lacks_parts(found.findings);
    if let Some(later) = revision.filter(|revision| *revision > found.last) {
        let (what, but) = (&opened.what, opened.but_partly());
        let ends = format!("{what} ends at revision {}, before {later}{but}", found.last);
        return Err(CommandError::Absent(ends));
    }
    let Some(newest) = found.revision else { return Err(opened.lacks(key, revision)) };
    if newest.tombstone {
        return Err(CommandError::Absent(format!(
            "in {} `{}` was deleted in revision {}{}: `history` lists its revisions, `get --rev` gives an earlier one",
            opened.what,
            shown(key),
            newest.revision.main,
            opened.but_partly()
        )));
    }
    let value = found.value.as_slice();
    let text = match output {
        Some(Output::Raw) => None,
        None if std::io::stdout().is_terminal() && !is_text(value) => {
            out::complain(
                "the value is not text: this is which object it is; --output raw writes it as it is",
            );
            Some(yaml(&readable(value, key)?)?)
        }
        None => None,
        Some(Output::Json) => Some(pretty(&readable(value, key)?)?),
        Some(Output::Yaml) => Some(yaml(&readable(value, key)?)?),
    };
    out.write_all(text.as_ref().map_or(value, String::as_bytes)).map_err(CommandError::Output)
}

fn is_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.chars().all(|c| is_harmless(c) || "\n\r\t".contains(c)))
}

/// What can be told of a value as JSON or YAML.
#[derive(Serialize)]
#[serde(untagged)]
enum Readable {
    Json(Value),
    Envelope(Envelope),
    Encrypted { encrypted: String, key: Option<String>, size: usize },
    Bytes { size: usize },
}

fn readable(value: &[u8], key: &[u8]) -> Result<Readable, CommandError> {
    if let Ok(json) = serde_json::from_slice(value) {
        return Ok(Readable::Json(json));
    }
    match Stored::of(value) {
        Stored::Object(envelope) => Ok(Readable::Envelope(envelope)),
        Stored::Encrypted { provider, key } => {
            Ok(Readable::Encrypted { encrypted: provider, key, size: value.len() })
        }
        Stored::Other if std::io::stdout().is_terminal() => Ok(Readable::Bytes { size: value.len() }),
        Stored::Other => Err(CommandError::Absent(format!(
            "the value of `{}` is neither JSON nor an object of Kubernetes: --output raw writes it as it is",
            shown(key)
        ))),
    }
}

fn yaml(value: &Readable) -> Result<String, CommandError> {
    let mut text = serde_saphyr::to_string(value)?;
    // JSON is YAML too, and may write any character by its number.
    if !is_text(text.as_bytes()) {
        return Ok(pretty(value)?);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_moves_turns_and_hides_nothing() {
        let told = yaml(&Readable::Json(serde_json::json!({ "name": "a\u{1b}[2J\u{202e}b\u{9b}" }))).unwrap();
        assert!(told.chars().all(|c| c == '\n' || is_harmless(c)), "{told:?}");
        assert_eq!(yaml(&Readable::Json(serde_json::json!({ "name": "web" }))).unwrap(), "name: web\n");
    }
}
