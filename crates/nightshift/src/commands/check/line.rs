//! The result of one check, as a line that ends in OK or FAIL.

use crate::out;

/// Prints the result; true if it is OK.
pub fn print_result(subject: &str, result: Result<String, String>) -> bool {
    match &result {
        Ok(detail) => out::print(format!("{subject}: {detail}: OK")),
        Err(fault) => out::print_error(&format!("{subject}: {fault}: FAIL")),
    }
    result.is_ok()
}
