//! The screen of `status`: its blocks in the order of an operator's questions, in as much detail as the terminal has space for.

use jiff::tz::TimeZone;
use nightshift_engine::status::Report;

use super::night::{running, stages};
use super::{blocks, sets};
use crate::out::{Size, WIDTH, wrapped};

/// The columns between two columns of blocks.
const GAP: usize = 4;
/// What a short screen shows at least of what is missing.
const MIN_MISSING: usize = 3;
/// What a short screen shows at most of what waits for an operator.
const MAX_WAITS: usize = 6;

/// Am I safe, what is missing, what runs now, where are copies, is there space, what must I do. Every block of `left` and `right`
/// is in [`WIDTH`] columns; a wide terminal shows them beside each other.
struct Screen {
    left: Vec<Vec<String>>,
    right: Vec<Vec<String>>,
}

/// Without a size, everything: in a pipe.
pub fn lines(report: &Report, zone: &TimeZone, size: Option<Size>) -> Vec<String> {
    let full = Screen {
        left: vec![
            blocks::safe(report, zone),
            blocks::missing(report),
            running(report),
            all_stages(report, zone),
        ],
        right: vec![all_copies(report), blocks::space(report), blocks::waits(report)],
    };
    let Some(size) = size else { return full.narrow() };
    if let Some(lines) = full.fitted(size) {
        return lines;
    }
    let fewer =
        Screen { right: vec![sets::counted(report), blocks::space(report), blocks::waits(report)], ..full };
    fewer.fitted(size).unwrap_or_else(|| short(report, zone, size))
}

/// For a small terminal: what is missing is cut before what an operator has to do.
fn short(report: &Report, zone: &TimeZone, size: Size) -> Vec<String> {
    let top = blocks::safe(report, zone);
    let bottom = [
        running(report),
        sets::counted(report),
        blocks::space(report),
        trimmed(blocks::waits(report), MAX_WAITS),
    ]
    .concat();
    let left = size.rows.saturating_sub(top.len() + bottom.len() + 2).max(MIN_MISSING);
    [top, vec![String::new()], trimmed(blocks::missing(report), left), bottom].concat()
}

fn all_stages(report: &Report, zone: &TimeZone) -> Vec<String> {
    report.night.as_ref().map(|night| stages(night, zone)).unwrap_or_default()
}

/// Each table begins with an empty line, and the screen adds that of the first.
fn all_copies(report: &Report) -> Vec<String> {
    let lines = report.night.as_ref().map(sets::lines).unwrap_or_default();
    lines.into_iter().skip(1).collect()
}

impl Screen {
    fn narrow(&self) -> Vec<String> {
        joined(self.left.iter().chain(&self.right))
    }

    /// The screen in one column, else in two; `None` if that does not fit either. The last row is that of the prompt.
    fn fitted(&self, size: Size) -> Option<Vec<String>> {
        let narrow = self.narrow();
        if narrow.len() < size.rows {
            return Some(narrow);
        }
        let (left, right) = (joined(&self.left), joined(&self.right));
        let fits = size.columns >= 2 * WIDTH + GAP && left.len().max(right.len()) < size.rows;
        fits.then(|| beside(&left, &right))
    }
}

/// The blocks that are not empty, each after an empty line.
fn joined<'a>(blocks: impl IntoIterator<Item = &'a Vec<String>>) -> Vec<String> {
    let mut lines = Vec::new();
    for block in blocks.into_iter().filter(|block| !block.is_empty()) {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(block.iter().cloned());
    }
    lines
}

fn beside(left: &[String], right: &[String]) -> Vec<String> {
    let row = |at: usize| {
        let of = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        let (left, right) = (of(left), of(right));
        format!("{left:<width$}{right}", width = WIDTH + GAP).trim_end().to_owned()
    };
    (0..left.len().max(right.len())).map(row).collect()
}

/// At most `max` lines, of which the last then counts those that are not shown.
fn trimmed(mut lines: Vec<String>, max: usize) -> Vec<String> {
    if lines.len() > max {
        let more = lines.len() - (max - 1);
        lines.truncate(max - 1);
        lines.extend(wrapped("  ", &format!("… {more} more lines: nightshift status | less")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_columns_are_beside_each_other_and_a_cut_block_counts_its_other_lines() {
        let lines = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<String>>();
        let rows = beside(&lines(&["a", "", "b"]), &lines(&["c"]));
        assert_eq!(rows, [format!("a{}c", " ".repeat(WIDTH + GAP - 1)), String::new(), "b".to_owned()]);
        assert_eq!(trimmed(lines(&["a", "b", "c"]), 3), ["a", "b", "c"]);
        let cut = trimmed(lines(&["a", "b", "c", "d"]), 3);
        assert_eq!(cut, ["a", "b", "  … 2 more lines: nightshift status | less"]);
    }
}
