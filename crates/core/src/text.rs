//! Text that may come from another host: harmless on a terminal and of bounded length, from the moment it is decoded.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::secret::masked;

/// The maximum length of one text, in characters.
pub const MAX_LEN: usize = 300;
/// The maximum length of a reason or a message, in characters: it may quote several texts.
pub const MAX_LINE_LEN: usize = 2_000;
/// The maximum number of lines of one list.
pub const MAX_LINES: usize = 50;

/// Whether a character is safe on a terminal: it does not move the cursor, change the direction of text, or hide.
pub fn is_harmless(c: char) -> bool {
    let formats = [
        '\u{ad}'..='\u{ad}',
        '\u{61c}'..='\u{61c}',
        '\u{180e}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{e0000}'..='\u{e007f}',
    ];
    !c.is_control() && !formats.iter().any(|range| range.contains(&c))
}

/// One line of text without control and format characters, cut at [`MAX_LEN`] characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Text(String);

impl Text {
    pub fn new(text: &str) -> Self {
        Self(harmless_line(text, MAX_LEN))
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A reason or a message, which may quote another host, a file or a command: one line without control and format characters, with
/// its secrets masked, cut at [`MAX_LINE_LEN`] characters.
pub fn one_line(text: &str) -> String {
    line_of(text, MAX_LINE_LEN)
}

/// As [`one_line`], cut at `max` characters.
pub fn line_of(text: &str, max: usize) -> String {
    // Twice the length, so that a secret at the cut is masked like any other.
    let shown: String = text.chars().take(2 * max).collect();
    harmless_line(&masked(&shown), max)
}

fn harmless_line(text: &str, max: usize) -> String {
    let mut line: String = text.chars().take(max).map(harmless).collect();
    if text.chars().nth(max).is_some() {
        line.push('…');
    }
    line
}

/// Why JSON is invalid. serde quotes the value in full, and another host may have written it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(Text);

impl From<serde_json::Error> for InvalidJson {
    fn from(error: serde_json::Error) -> Self {
        Self(Text::new(&error.to_string()))
    }
}

fn harmless(c: char) -> char {
    match c {
        '\n' | '\t' => ' ',
        c if is_harmless(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        *self == other.0
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        *self == other.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::new(text))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// A list of texts, at most [`MAX_LINES`] of them, and then how many more there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lines(Vec<Text>);

impl Lines {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of them on one line.
    pub fn summary(&self) -> String {
        summary(&self.0)
    }
}

/// The first of several reasons on one line, and how many more there are.
pub fn summary(reasons: &[impl fmt::Display]) -> String {
    first_of(reasons, "; ")
}

/// The first of several texts on one line, and how many more there are.
pub fn first_of(reasons: &[impl fmt::Display], separator: &str) -> String {
    const MAX_SHOWN: usize = 5;
    let mut shown: Vec<String> = reasons.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    if reasons.len() > MAX_SHOWN {
        shown.push(format!("and {} more", reasons.len() - MAX_SHOWN));
    }
    shown.join(separator)
}

impl Deref for Lines {
    type Target = [Text];
    fn deref(&self) -> &[Text] {
        &self.0
    }
}

impl<T: Into<Text>> FromIterator<T> for Lines {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut texts = texts.into_iter();
        let lines = texts.by_ref().take(MAX_LINES).map(Into::into).collect();
        cut(lines, texts.count())
    }
}

fn cut(mut lines: Vec<Text>, more: usize) -> Lines {
    if more > 0 {
        lines.push(Text(format!("and {more} more")));
    }
    Lines(lines)
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Lines;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Lines, A::Error> {
                let mut lines = Vec::new();
                // One more than the maximum: the last line of a list that was cut before.
                while lines.len() <= MAX_LINES {
                    let Some(line) = list.next_element()? else { return Ok(Lines(lines)) };
                    lines.push(line);
                }
                let mut more = 1;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    more += 1;
                }
                if more == 1 {
                    return Ok(Lines(lines));
                }
                lines.truncate(MAX_LINES);
                Ok(cut(lines, more))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// Reads a list of at most `MAX` values: a longer one is refused before the rest of it is read.
pub fn at_most<'de, const MAX: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Reader<T, const MAX: usize>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Reader<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} entries")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = list.next_element()? {
                if values.len() == MAX {
                    return Err(A::Error::custom(format!("a list has more than {MAX} entries")));
                }
                values.push(value);
            }
            Ok(values)
        }
    }
    deserializer.deserialize_seq(Reader::<T, MAX>(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_has_no_control_or_format_characters_and_is_one_line() {
        let hostile = "\u{1b}[1A\u{1b}[2K\u{1b}]0;owned\u{7}night: complete\nnext\u{202e}dne\u{e0041}";
        let text = Text::new(hostile);
        assert_eq!(
            text,
            "\u{fffd}[1A\u{fffd}[2K\u{fffd}]0;owned\u{fffd}night: complete next\u{fffd}dne\u{fffd}"
        );
        assert!(text.chars().all(is_harmless));
        let json = serde_json::to_string(hostile).unwrap();
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text, "decoding makes it harmless");
        assert_eq!(Text::new("größe, 日本"), "größe, 日本");
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = Text::new(&"ä".repeat(100_000));
        assert_eq!(text.chars().count(), MAX_LEN + 1);
        assert!(text.ends_with('…'));
        assert_eq!(Text::new(&"ä".repeat(MAX_LEN)).chars().count(), MAX_LEN);
    }

    #[test]
    fn a_reason_is_one_harmless_line_of_bounded_length_without_secrets() {
        let line = one_line(&format!("{}\n\u{1b}[2Jn2/2026-11-22/node: good", "ä".repeat(1_000_000)));
        assert_eq!(line.chars().count(), MAX_LINE_LEN + 1);
        assert_eq!(one_line("a\nb\u{1b}[2J"), "a b\u{fffd}[2J");
        let at_the_cut = format!("{} --password=hunter2", "x".repeat(MAX_LINE_LEN - 15));
        assert!(!one_line(&at_the_cut).contains("hun"), "{}", one_line(&at_the_cut));
        assert_eq!(one_line("m1: größe"), "m1: größe");
    }

    #[test]
    fn a_long_list_ends_with_how_many_more_there_were_and_stays_so() {
        let lines: Lines = (0..1_000).map(|n| n.to_string()).collect();
        assert_eq!((lines.len(), &*lines[MAX_LINES]), (MAX_LINES + 1, "and 950 more"));
        let json = serde_json::to_string(&(0..1_000).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        assert_eq!(serde_json::from_str::<Lines>(&json).unwrap(), lines);
        let again = serde_json::to_string(&lines).unwrap();
        assert_eq!(serde_json::from_str::<Lines>(&again).unwrap(), lines, "a cut list is not cut again");
        assert_eq!(lines.summary(), "0; 1; 2; 3; 4; and 46 more");
    }

    #[test]
    fn a_list_with_too_many_entries_is_refused_while_it_is_read() {
        #[derive(Debug, Deserialize)]
        struct Short {
            #[serde(deserialize_with = "at_most::<3, _, _>")]
            list: Vec<u8>,
        }
        assert_eq!(serde_json::from_str::<Short>(r#"{"list": [1, 2, 3]}"#).unwrap().list, [1, 2, 3]);
        // What follows the fourth entry is not even JSON.
        let error = serde_json::from_str::<Short>(r#"{"list": [1, 2, 3, 4, !!!"#).unwrap_err();
        assert!(error.to_string().contains("more than 3 entries"), "{error}");
    }
}
