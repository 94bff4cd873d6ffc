//! Lists of any length, written row by row: as lines for operators and `awk`, or as one JSON array.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nightshift_snapshot::KeyRevision;
use serde::Serialize;

use crate::commands::CommandError;
use crate::out::{harmless_json, is_harmless};

/// Writes a list. Nothing is written before the first row, so that an error before it leaves the output empty.
pub struct List<'o> {
    out: &'o mut dyn Write,
    json: bool,
    header: &'static str,
    pub count: u64,
}

impl<'o> List<'o> {
    /// The header is not part of the JSON.
    pub fn new(out: &'o mut dyn Write, json: bool, header: &'static str) -> Self {
        Self { out, json, header, count: 0 }
    }

    pub fn row(&mut self, row: &impl Serialize, line: impl FnOnce() -> String) -> Result<(), CommandError> {
        self.count += 1;
        let before = match (self.json, self.count) {
            (true, 1) => "[\n  ",
            (true, _) => ",\n  ",
            (false, 1) => self.header,
            (false, _) => "",
        };
        let line =
            if self.json { harmless_json(serde_json::to_string(row)?) } else { format!("{}\n", line()) };
        write!(self.out, "{before}{line}").map_err(CommandError::Output)
    }

    pub fn end(self) -> Result<(), CommandError> {
        let end = match (self.json, self.count) {
            (true, 0) => "[]\n",
            (true, _) => "\n]\n",
            (false, 0) => self.header,
            (false, _) => "",
        };
        write!(self.out, "{end}").map_err(CommandError::Output)
    }
}

/// A key, or other untrusted text, with control characters escaped so that it is safe on a terminal.
pub fn shown(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if text.chars().all(is_harmless) => Cow::Borrowed(text),
        _ => Cow::Owned(key.escape_ascii().to_string()),
    }
}

/// A key in JSON, which has no type for bytes.
#[derive(Serialize)]
pub struct JsonKey<'k> {
    key: Cow<'k, str>,
    /// Only if the key is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

impl<'k> JsonKey<'k> {
    pub fn of(key: &'k [u8]) -> Self {
        let key_base64 = std::str::from_utf8(key).is_err().then(|| STANDARD.encode(key));
        Self { key: String::from_utf8_lossy(key), key_base64 }
    }
}

/// A revision of a key.
#[derive(Serialize)]
pub struct JsonRevision {
    revision: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    create_revision: i64,
    version: i64,
    value_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
}

impl JsonRevision {
    pub fn of(revision: &KeyRevision) -> Self {
        Self {
            revision: revision.revision.main,
            deleted: revision.tombstone,
            create_revision: revision.create_revision,
            version: revision.version,
            value_size: revision.value_size,
            // In hexadecimal, as etcdctl prints it.
            lease: (revision.lease != 0).then(|| format!("{:x}", revision.lease)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_is_escaped_so_that_a_terminal_shows_it_as_it_is() {
        assert_eq!(shown("/registry/pods/größe".as_bytes()), "/registry/pods/größe");
        for hostile in ['\x1b', '\x07', '\u{7f}', '\u{9b}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}'] {
            let key = format!("a{hostile}b");
            assert!(shown(key.as_bytes()).chars().all(is_harmless), "{hostile:?}");
            let json = crate::out::pretty(&JsonKey::of(key.as_bytes())).unwrap();
            assert!(json.chars().all(|c| c == '\n' || is_harmless(c)), "{json:?}");
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["key"], key, "the JSON still has the same key");
        }
    }
}
