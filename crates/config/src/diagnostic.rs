//! Errors and warnings of a config, with file, line, column, the line itself and how to fix it.

use std::error::Error;
use std::fmt;

use nightshift_core::secret::masked;

/// More diagnostics than these are only counted.
const MAX_SHOWN: usize = 50;
/// Of longer lines, only the part around the error is shown. In characters.
const MAX_LINE_WIDTH: usize = 160;
/// A longer quoted value is shortened. In characters.
const MAX_QUOTE_WIDTH: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// The position that a diagnostic refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The whole line, without secrets.
    pub text: String,
    /// The length of the marked text, in characters.
    pub width: usize,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// `None` if something is missing, so that there is no text to point to.
    pub place: Option<Place>,
    /// The file to edit if there is no `place`.
    pub file: String,
    /// Shown after the caret.
    pub label: Option<String>,
    pub help: Vec<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", legible(&self.message))?;
        let margin = match &self.place {
            Some(place) => {
                let margin = place.line.to_string().len();
                write!(f, "\n{:margin$}--> {}:{}:{}", "", place.file, place.line, place.column)?;
                write_excerpt(f, place, margin, self.label.as_deref())?;
                margin
            }
            None => {
                write!(f, "\n --> {}", self.file)?;
                1
            }
        };
        for help in &self.help {
            let indent = format!("\n{:1$}", "", margin + 9);
            write!(f, "\n{:margin$} = help: {}", "", masked(help).replace('\n', &indent))?;
        }
        Ok(())
    }
}

fn write_excerpt(
    f: &mut fmt::Formatter<'_>,
    place: &Place,
    margin: usize,
    label: Option<&str>,
) -> fmt::Result {
    let (text, column) = excerpt(&place.text, place.column, place.width);
    // Tabs are kept, so that the caret is below the error with any tab width.
    let lead: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let rest = text.chars().count().saturating_sub(column - 1).max(1);
    let carets = "^".repeat(place.width.clamp(1, rest));
    write!(f, "\n{:margin$} |\n{} | {text}\n{:margin$} | {lead}{carets}", "", place.line, "")?;
    label.map_or(Ok(()), |label| write!(f, " {}", legible(label)))
}

/// The part of a line that contains the error, and the column of the error in it.
fn excerpt(line: &str, column: usize, width: usize) -> (String, usize) {
    let chars: Vec<char> =
        line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    if chars.len() <= MAX_LINE_WIDTH {
        return (chars.into_iter().collect(), column);
    }
    let start = column.saturating_sub(MAX_LINE_WIDTH / 4).min(chars.len());
    let end = (start + MAX_LINE_WIDTH)
        .min(chars.len())
        .max((column + width.min(MAX_LINE_WIDTH / 2)).min(chars.len()));
    let mut shown: String = chars[start..end].iter().collect();
    let mut column = column - start;
    if start > 0 {
        shown.insert(0, '…');
        column += 1;
    }
    if end < chars.len() {
        shown.push('…');
    }
    (shown, column)
}

/// A message on one line, without secrets; a long value between backticks is shortened.
fn legible(message: &str) -> String {
    let message: String = masked(message).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shorten = |(n, part): (usize, &str)| {
        // Every second part is between backticks.
        if n % 2 == 1 && part.chars().count() > MAX_QUOTE_WIDTH {
            part.chars().take(MAX_QUOTE_WIDTH - 1).chain(['…']).collect()
        } else {
            part.to_owned()
        }
    };
    message.split('`').enumerate().map(shorten).collect::<Vec<_>>().join("`")
}

/// All errors of a config. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub(crate) Vec<Diagnostic>);

impl Diagnostics {
    /// The first error in one line, without the line of the file.
    pub fn brief(&self) -> String {
        let Some(first) = self.0.first() else { return String::new() };
        let line = first.place.as_ref().map(|place| format!(":{}", place.line)).unwrap_or_default();
        let more = match self.0.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!("{}{line}: {}{more}; run `nightshift check`", first.file, legible(&first.message))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.0.iter().take(MAX_SHOWN).enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n\n... and {more} more"),
        }
    }
}

impl Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(text: &str, column: usize, width: usize) -> String {
        let place = Place { file: "f.toml".into(), line: 12, column, text: text.into(), width };
        Diagnostic {
            severity: Severity::Error,
            message: "it is wrong".into(),
            place: Some(place),
            file: "f.toml".into(),
            label: Some("here".into()),
            help: vec!["two\nlines".into()],
        }
        .to_string()
    }

    #[test]
    fn the_caret_is_below_the_error() {
        let expected = "error: it is wrong\n  --> f.toml:12:5\n   |\n12 | a = äö\n   |     ^^ here\n   = help: two\n           lines";
        assert_eq!(diagnostic("a = äö", 5, 2), expected);
    }

    #[test]
    fn of_a_long_line_the_part_around_the_error_is_shown() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = diagnostic(&line, 501, 1);
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[4].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[3].chars().nth(caret), Some('X'));
        assert!(lines.iter().all(|line| line.chars().count() < 200), "{shown}");
    }

    #[test]
    fn a_long_value_is_shortened_and_a_message_is_one_line() {
        let shown = legible(&format!("`a\n{}` is not an age public key; write `age1…`", "b".repeat(500)));
        assert!(
            shown.starts_with("`a bbb") && shown.contains("b…` is not an age public key; write `age1…`"),
            "{shown}"
        );
        assert!(shown.chars().count() < 160, "{shown}");
    }
}
