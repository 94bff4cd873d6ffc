//! The files of a config as one text, so that a single span identifies both the file and the position in it.

use std::ops::Range;

use crate::diagnostic::Place;
use crate::quoted;

/// A config file, or a drop-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, as diagnostics show it.
    pub name: String,
    pub text: String,
}

/// A range in the concatenation of all sources, in bytes.
pub(crate) type Span = Range<usize>;

#[derive(Debug)]
pub(crate) struct Sources<'t> {
    /// Each source with its offset in the concatenation.
    files: Vec<(usize, &'t Source)>,
}

impl<'t> Sources<'t> {
    pub(crate) fn new(sources: &'t [Source]) -> Self {
        let mut base = 0;
        let files = sources
            .iter()
            .map(|source| {
                let begins = base;
                // One more than its length, so that a position at the end of a source is not at the start of the next.
                base += source.text.len() + 1;
                (begins, source)
            })
            .collect();
        Self { files }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &'t Source)> {
        self.files.iter().copied()
    }

    /// The main file, shown for errors without a position.
    pub(crate) fn main(&self) -> &str {
        self.files.first().map_or("", |(_, source)| &source.name)
    }

    fn find(&self, offset: usize) -> Option<(usize, &'t Source)> {
        let after = self.files.partition_point(|(begins, _)| *begins <= offset);
        self.files.get(after.checked_sub(1)?).copied()
    }

    /// The name of a file and the line in it.
    pub(crate) fn line(&self, offset: usize) -> Option<(&'t str, usize)> {
        let (begins, source) = self.find(offset)?;
        let before = source.text.as_bytes().get(..offset - begins)?;
        Some((&source.name, before.iter().filter(|byte| **byte == b'\n').count() + 1))
    }

    /// A message about a span, without the values that no diagnostic shows.
    pub(crate) fn without_secrets(&self, span: &Span, message: String) -> String {
        let line = |(begins, source): (usize, &Source)| {
            let before = source.text.as_bytes().get(..span.start - begins).unwrap_or_default();
            let number = before.iter().filter(|byte| **byte == b'\n').count();
            quoted::is_of_target(&source.text, number)
        };
        if self.find(span.start).is_some_and(line) { quoted::urls(&message) } else { message }
    }

    pub(crate) fn place(&self, span: &Span) -> Option<Place> {
        let (begins, source) = self.find(span.start)?;
        let text = &source.text;
        let start = floor(text, span.start - begins);
        let end = floor(text, span.end.saturating_sub(begins)).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[..start].matches('\n').count() + 1;
        Some(Place {
            file: source.name.clone(),
            line,
            column: text[line_start..start].chars().count() + 1,
            text: quoted::line(text, line - 1),
            width: text[start..end.min(line_end)].chars().count(),
        })
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
