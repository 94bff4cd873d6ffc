//! Output to the terminal. If the reader of a pipe has ended, that is not an error.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::Mutex;

use nightshift_core::secret::masked;
pub use nightshift_core::text::is_harmless;
use serde::Serialize;

/// Why standard output could not be written, once that has happened.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// One line to standard output. It may quote a path or a text of another host: control characters are escaped, and a line break
/// becomes a space, because the rest would look like a line of nightshift's own.
pub fn print(line: impl std::fmt::Display) {
    print_text(&line.to_string().replace('\n', " "));
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub rows: usize,
    pub columns: usize,
}

/// The size of the terminal that standard output is, if it is one. A terminal that does not know its size has the usual one.
pub fn terminal() -> Option<Size> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let known = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    Some(known.map_or(Size { rows: 24, columns: WIDTH }, |size| Size {
        rows: size.ws_row.into(),
        columns: size.ws_col.into(),
    }))
}

/// Paints lines over those before, from the top of the terminal. What does not fit is counted in the last line: a terminal that
/// scrolls would flicker.
pub fn repaint(lines: &[String], rows: usize) {
    let mut painted = String::from("\x1b[H");
    let shown = if lines.len() < rows { lines.len() } else { rows.saturating_sub(2) };
    for line in &lines[..shown] {
        painted.push_str(&escaped(line));
        painted.push_str("\x1b[K\n");
    }
    if shown < lines.len() {
        painted.push_str(&format!("… {} more lines: nightshift status | less\x1b[K", lines.len() - shown));
    }
    painted.push_str("\x1b[J");
    let mut out = io::stdout();
    keep_failure(out.write_all(painted.as_bytes()).and_then(|()| out.flush()));
}

/// Several lines to standard output, whose breaks are nightshift's own.
pub fn print_text(text: &str) {
    keep_failure(writeln!(io::stdout(), "{}", escaped(text)));
}

/// Ends the output: an error if any of it could not be written, as on a full disk.
pub fn end() -> io::Result<()> {
    keep_failure(io::stdout().flush());
    failed().take().map_or(Ok(()), Err)
}

/// Remembers that standard output could not be written.
pub fn keep_failure(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        failed().get_or_insert(error);
    }
}

fn failed() -> std::sync::MutexGuard<'static, Option<io::Error>> {
    FAILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One line to standard error, like `print`. Secrets are masked, because it may quote an argument or a setting.
pub fn print_error(line: &str) {
    print_error_text(&line.replace('\n', " "));
}

/// Several lines to standard error, such as the diagnostics of a configuration.
pub fn print_error_text(text: &str) {
    let _nowhere_left_to_report = writeln!(io::stderr(), "{}", escaped(&masked(text)));
}

fn escaped(line: &str) -> String {
    let mut harmless = String::with_capacity(line.len());
    for c in line.chars() {
        if "\n\t".contains(c) || is_harmless(c) {
            harmless.push(c);
        } else {
            harmless.extend(c.escape_unicode());
        }
    }
    harmless
}

/// A value as JSON to standard output.
pub fn print_json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    print_text(pretty(value)?.trim_end());
    Ok(())
}

/// Indented JSON that is safe on a terminal.
pub fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(harmless_json(serde_json::to_string_pretty(value)?) + "\n")
}

/// Makes JSON safe on a terminal without a change of its meaning: characters in strings may be written as `\u…`, and serde_json
/// has done that for those below U+0020.
pub fn harmless_json(json: String) -> String {
    if json.chars().all(|c| c == '\n' || is_harmless(c)) {
        return json;
    }
    let mut harmless = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if c == '\n' || is_harmless(c) {
            harmless.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                harmless.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    harmless
}

/// Whether there is a terminal on which a question can be answered.
pub fn can_confirm() -> bool {
    io::stdin().is_terminal()
}

/// Asks a yes-or-no question on the terminal. Without a terminal it returns false.
pub fn confirm(question: &str) -> bool {
    if !can_confirm() {
        return false;
    }
    let _reader_gone = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

pub fn print_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    print_text(&rows_of(header, rows));
}

/// A table without borders, for operators and for `awk`.
pub fn rows_of(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    for row in rows {
        // A line break in a cell would look like a row of its own.
        table.add_row(row.iter().map(|cell| escaped(cell).replace('\n', " ")));
    }
    table.trim_fmt()
}

/// The columns of a terminal that `status` fits into.
pub const WIDTH: usize = 80;

/// Wraps a text to [`WIDTH`]. The first line starts with `indent`, further ones with as many spaces. Longer words, such as paths,
/// stay in one piece.
pub fn wrapped(indent: &str, text: &str) -> Vec<String> {
    let spaces = " ".repeat(indent.chars().count());
    let mut lines = vec![indent.to_owned()];
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if !is_empty && line + 1 + word.chars().count() > WIDTH {
            lines.push(spaces.clone());
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
        }
        is_empty = false;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_safe_on_a_terminal_and_still_json_whatever_is_in_it() {
        let value = "soft\u{ad} zero\u{200b} delete\u{7f} next\u{85} bidi\u{202e} tag\u{e0041} \u{1b}[2J\n\"";
        let text = pretty(&value).unwrap();
        assert_eq!(escaped(&text), text);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }
}
