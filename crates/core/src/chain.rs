//! An error with its causes on one line, as a record, a set or the journal states it.

use crate::text::one_line;

/// An error and everything below it, as [`one_line`]: causes quote other hosts, files and commands.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        let below_text = below.to_string();
        // Some libraries repeat what they wrap.
        if !line.ends_with(&below_text) {
            line.push_str(": ");
            line.push_str(&below_text);
        }
        source = below.source();
    }
    one_line(&line)
}
