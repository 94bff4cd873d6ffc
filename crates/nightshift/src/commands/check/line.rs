//! One line of `check --connect`.

use crate::out;

/// Prints a result. Returns whether it is good.
pub(super) fn tell(who: &str, result: Result<String, String>) -> bool {
    match &result {
        Ok(how) => out::say(format!("{who}: {how}")),
        Err(why) => out::complain(&format!("{who}: {why}")),
    }
    result.is_ok()
}
