//! `inspect … get`: the value of one key.

use std::io::{IsTerminal as _, Write};

use nightshift_snapshot::{Encrypted, Envelope, Stored, get};
use serde::Serialize;
use serde_json::Value;

use super::list::shown;
use super::opened::Opened;
use crate::args::Output;
use crate::commands::CommandError;
use crate::commands::yaml::{is_text, yaml};
use crate::out::{self, pretty};

pub fn value(
    opened: &mut Opened,
    key: &[u8],
    revision: Option<u64>,
    output: Option<Output>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let found = get(&opened.database, key, revision)
        .map_err(CommandError::failed(format!("cannot read {}", opened.what)))?;
    opened.add_damage(found.findings);
    if let Some(later) = revision.filter(|revision| *revision > found.last) {
        let (what, hint) = (&opened.what, opened.damage_hint());
        let fault = format!("{what} has no revision {later}; its last revision is {}{hint}", found.last);
        return Err(CommandError::Absent(fault));
    }
    let Some(newest) = found.revision else { return Err(opened.no_such_key(key, revision)) };
    if newest.tombstone {
        return Err(CommandError::Absent(format!(
            "{}: `{}` was deleted in revision {}{}; list its revisions with `history`, and print an earlier value with `get --rev`",
            opened.what,
            shown(key),
            newest.revision.main,
            opened.damage_hint()
        )));
    }
    let value = found.value.as_slice();
    let text = match output {
        Some(Output::Raw) => None,
        None if std::io::stdout().is_terminal() && !is_text(value) => {
            out::print_error(
                "the value is binary, so only its kind, name and size are shown; use --output raw for its bytes",
            );
            Some(yaml(&readable(value, key)?)?)
        }
        None => None,
        Some(Output::Json) => Some(pretty(&readable(value, key)?)?),
        Some(Output::Yaml) => Some(yaml(&readable(value, key)?)?),
    };
    out.write_all(text.as_ref().map_or(value, String::as_bytes)).map_err(CommandError::Output)
}

/// A value, or a description of it, as JSON or YAML.
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
        Stored::Encrypted(Encrypted { provider, key }) => {
            Ok(Readable::Encrypted { encrypted: provider, key, size: value.len() })
        }
        Stored::Other if std::io::stdout().is_terminal() => Ok(Readable::Bytes { size: value.len() }),
        Stored::Other => Err(CommandError::Absent(format!(
            "the value of `{}` is neither JSON nor a Kubernetes object; use --output raw for its bytes",
            shown(key)
        ))),
    }
}
