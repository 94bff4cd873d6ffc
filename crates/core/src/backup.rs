//! A backup of the whole cluster that an operator starts: one extra night, which all hosts run at the same time.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::night::Night;
use crate::text::Text;

/// The longest label, in characters.
const MAX_LABEL: usize = 60;
/// No operator opens so many extra nights in a day: a host that proposes more would use up the names of all hosts.
const MAX_EXTRA: u16 = 1000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The operator's name for it, such as `before-upgrade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Text>,
    /// The hosts that do not take part, because the operator did not reach them: their sets are missing, and no master waits for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<HostName>,
}

/// Reads a label from the command line: one word, because it is a cell of a table.
pub fn label(text: &str) -> Result<Text, String> {
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_word && text.len() <= MAX_LABEL {
        Ok(text.into())
    } else {
        Err(format!("use at most {MAX_LABEL} letters, digits, `-`, `_` and `.`, such as before-upgrade"))
    }
}

/// The date of the night, of those that the hosts propose: that of most of them, or else the operator's. A single host with a wrong clock
/// must not choose a night that all others refuse.
pub fn common_date(proposed: &[Night], operators: Date) -> Date {
    let count = |date: Date| proposed.iter().filter(|night| night.date == date).count();
    let dates = proposed.iter().map(|night| night.date);
    dates.max_by_key(|date| (count(*date), *date == operators)).unwrap_or(operators)
}

/// Whether all hosts can run the night that a host proposes.
pub fn is_acceptable(proposed: Night, date: Date) -> bool {
    proposed.date == date && (1..=MAX_EXTRA).contains(&proposed.extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_backup_is_that_of_most_hosts_and_between_equals_the_operators() {
        let nights = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Night>>();
        let today: Date = "2026-11-29".parse().unwrap();
        let wrong = nights(&["2026-11-29.1", "2031-01-01.1", "2026-11-29.7"]);
        assert_eq!(common_date(&wrong, today), today);
        assert_eq!(common_date(&nights(&["2026-11-29.1", "2026-11-30.1"]), today), today);
        assert_eq!(common_date(&nights(&["2026-11-30.1", "2026-11-29.1"]), today), today);
        // The operator's own clock may be the wrong one.
        let tomorrow = nights(&["2026-11-30.1", "2026-11-30.2"]);
        assert_eq!(common_date(&tomorrow, today), "2026-11-30".parse().unwrap());
        assert_eq!(common_date(&[], today), today);
        assert!(is_acceptable(wrong[2], today));
        for bad in nights(&["2031-01-01.1", "2026-11-29", "2026-11-29.65535"]) {
            assert!(!is_acceptable(bad, today), "{bad}");
        }
    }

    #[test]
    fn a_label_is_one_short_word() {
        assert_eq!(label("before-upgrade_4.12"), Ok("before-upgrade_4.12".into()));
        for bad in ["", "before upgrade", "a\nb", "\u{202e}x", "x".repeat(61).as_str()] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }
}
