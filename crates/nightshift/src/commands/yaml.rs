//! YAML that is safe on a terminal.

use serde::Serialize;

use super::CommandError;
use crate::out::{is_harmless, pretty};

pub fn is_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.chars().all(|c| is_harmless(c) || "\n\r\t".contains(c)))
}

pub fn yaml(value: &impl Serialize) -> Result<String, CommandError> {
    let mut text = serde_saphyr::to_string(value)?;
    // JSON is valid YAML, and can escape every character.
    if !is_text(text.as_bytes()) {
        return Ok(pretty(value)?);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_contains_no_control_characters() {
        let text = yaml(&serde_json::json!({ "name": "a\u{1b}[2J\u{202e}b\u{9b}" })).unwrap();
        assert!(text.chars().all(|c| c == '\n' || is_harmless(c)), "{text:?}");
        assert_eq!(yaml(&serde_json::json!({ "name": "web" })).unwrap(), "name: web\n");
    }
}
