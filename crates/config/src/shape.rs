//! From the merged tree to the raw tables. It reports all unknown keys and wrong types at once.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};
use toml::value::Datetime;

use crate::nearest::nearest;
use crate::raw;
use crate::refusal::Refusal;
use crate::sources::Span;
use crate::tree::{self, Hit, Step};

/// After this many errors it stops: each one costs another read of the whole tree.
const MAX_REFUSALS: usize = 50;

/// A part that has another shape than a config.
pub(crate) struct Refused {
    pub(crate) span: Option<Span>,
    /// Empty if the place is unknown.
    pub(crate) path: Vec<Step>,
    pub(crate) refusal: Refusal,
}

/// Reads the raw tables. serde stops at the first error, so each refused value is removed and the rest is read again.
pub(crate) fn read(mut table: DeTable<'_>) -> (raw::Config, Vec<Refused>) {
    let mut refusals = Vec::new();
    while refusals.len() < MAX_REFUSALS {
        let document = Deserializer::from(Spanned::new(0..0, table.clone()));
        let error = match raw::Config::deserialize(document) {
            Ok(config) => return (config, refusals),
            Err(error) => error,
        };
        let span = error.span();
        let found = span.as_ref().and_then(|span| tree::find(&table, span));
        let Some((path, hit)) = found else {
            refusals.push(Refused { span, path: Vec::new(), refusal: Refusal::new(error.message()) });
            break;
        };
        let refusal = match tree::unquoted_time(&table, &path) {
            Some(time) if hit == Hit::Value => without_quotes(&path, time),
            _ => translate(error.message(), &path, hit),
        };
        tree::remove(&mut table, &path);
        refusals.push(Refused { span, path, refusal });
    }
    (raw::Config::default(), refusals)
}

/// No key of a config has TOML's own type of dates and times, which serde reads as a table.
fn without_quotes(path: &[Step], time: Datetime) -> Refusal {
    let refusal = Refusal::new(format!("{} is a date or time without quotes", name(path)));
    match (time.date, time.time, path.last()) {
        (None, Some(time), Some(Step::Key(key))) => refusal.help(format!(
            "if it is a time of day, write it in quotes: {} = \"{:02}:{:02}\"",
            crate::show::key(key),
            time.hour,
            time.minute
        )),
        _ => refusal.help("write it in quotes if it is a text"),
    }
}

/// Translates serde's message, which uses Rust's terms, into the terms of a config.
fn translate(message: &str, path: &[Step], hit: Hit) -> Refusal {
    if hit == Hit::Key
        && let Some(Step::Key(key)) = path.last()
        && let Some(expected) = message.strip_prefix(&format!("unknown field `{key}`, expected "))
    {
        let known = quoted(expected);
        let meant = nearest(key, known.iter().copied());
        return Refusal::new(format!("unknown key `{key}`")).meant(meant).help(format!(
            "{} {}",
            keys_of(&path[..path.len() - 1]),
            known.join(", ")
        ));
    }
    let name = name(path);
    if let Some((word, expected)) =
        message.strip_prefix("unknown variant `").and_then(|rest| rest.rsplit_once("`, expected "))
    {
        let known = quoted(expected);
        return Refusal::new(format!("invalid value `{word}` for {name}"))
            .meant(nearest(word, known.iter().copied()))
            .help(format!("write one of: {}", known.join(", ")));
    }
    let mismatch = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    match mismatch {
        Some((got, wanted)) => {
            let refusal =
                Refusal::new(format!("{name} must be {}, not {}", wanted_words(wanted), got_words(got)));
            match (got, wanted, path) {
                ("map", "a sequence", [Step::Key(key)]) => {
                    refusal.help(format!("write the header as [[{key}]]"))
                }
                ("sequence", "a table", [Step::Key(key)]) => {
                    refusal.help(format!("write the header as [{key}]"))
                }
                _ => refusal,
            }
        }
        None => Refusal::new(format!("{name}: {message}")),
    }
}

/// The words between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn keys_of(table: &[Step]) -> String {
    match table {
        [] => "known keys and tables:".to_owned(),
        [Step::Key(list), Step::Index(_), rest @ ..] => {
            format!("known keys of [[{list}{}]]:", dotted(rest, true))
        }
        [Step::Key(list), Step::Key(name), Step::Index(_), ..] => {
            format!("known keys of an entry of `{name}` in [{list}]:")
        }
        path => format!("known keys of [{}]:", dotted(path, false)),
    }
}

fn dotted(path: &[Step], lead: bool) -> String {
    let mut text = String::new();
    for step in path {
        if let Step::Key(key) = step {
            if lead || !text.is_empty() {
                text.push('.');
            }
            text.push_str(&crate::show::key(key));
        }
    }
    text
}

fn name(path: &[Step]) -> String {
    match path {
        [.., Step::Key(key)] => format!("`{key}`"),
        [.., Step::Key(key), Step::Index(_)] => format!("an element of `{key}`"),
        _ => "this".to_owned(),
    }
}

fn wanted_words(wanted: &str) -> String {
    match wanted {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "i64" => "a whole number of 0 or more",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "string or table" => "a string",
        other => other,
    }
    .to_owned()
}

fn got_words(got: &str) -> String {
    match got {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => format!("the {other}"),
    }
}
