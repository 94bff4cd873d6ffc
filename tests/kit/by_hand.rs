//! The commands of RESTORE.txt.

/// Those of a text, in their order, by the names of their blocks.
///
/// # Panics
/// If a block does not end, or has no name.
pub fn commands(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut is_within = false;
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some("end") => is_within = false,
            Some(begin) => {
                is_within = true;
                let name = begin.strip_prefix("commands: ");
                let name = name.unwrap_or_else(|| panic!("a block has no name: {line}"));
                blocks.push((name.to_owned(), String::new()));
            }
            None if is_within => {
                if let Some((_, block)) = blocks.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            None => {}
        }
    }
    assert!(!is_within, "a block does not end");
    blocks
}
