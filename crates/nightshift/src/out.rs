//! What a person or a pipe sees. A reader that went away is no error.

use std::io::{IsTerminal as _, Write as _};

/// A line to standard output.
pub fn say(line: impl std::fmt::Display) {
    let _reader_gone = writeln!(std::io::stdout(), "{line}");
}

/// A line to standard error. What an error quotes of others does nothing to the terminal.
pub fn complain(line: &str) {
    let mut harmless = String::with_capacity(line.len() + 1);
    for c in line.chars() {
        if "\n\t".contains(c) || is_harmless(c) {
            harmless.push(c);
        } else {
            harmless.extend(c.escape_unicode());
        }
    }
    let _reader_gone = writeln!(std::io::stderr(), "{harmless}");
}

/// Whether a terminal may be given it: it does not move the cursor, turn the direction of text, or hide.
pub fn is_harmless(c: char) -> bool {
    let formats =
        ['\u{61c}'..='\u{61c}', '\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{2069}'];
    !c.is_control() && c != '\u{feff}' && !formats.iter().any(|range| range.contains(&c))
}

/// Asks a yes-or-no question on the terminal; no terminal means no.
pub fn confirm(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _asked = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    say(rows_of(header, rows));
}

/// A table without borders that a person can read and `awk` can cut.
pub fn rows_of(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
