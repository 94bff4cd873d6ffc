//! Ansible inventories: hosts, groups, and of all variables only addresses, ports, users and names.
//!
//! The rules are those of ansible-core (`lib/ansible/plugins/inventory/{ini,yaml}.py`, `lib/ansible/inventory/`). An inventory contains
//! passwords, so errors name lines, hosts and groups, and never a value.

mod groups;
mod ini;
mod json;
mod pattern;
mod vars;
mod words;
mod yaml;

pub use groups::{Inventory, InventoryError, is_built_in};
pub use vars::{Value, Vars};

/// Of one inventory, in bytes: `ansible-inventory --list` prints every variable of every host.
pub const MAX_LEN: u64 = 64 << 20;

/// Reads an inventory in whichever of its three formats it is.
pub fn parse(text: &str) -> Result<Inventory, InventoryError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines().map(str::trim_end));
    let first = lines.find(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with(['#', ';']));
    // The first line of a program, which would else count as a comment.
    if text.starts_with("#!") {
        return Err(InventoryError::whole(
            "it is a program; run `ansible-inventory -i FILE --list`, and read its output with `--from-ansible -`",
        ));
    }
    let Some((number, line)) = first else {
        return Err(InventoryError::whole("it lists no hosts"));
    };
    if line.starts_with("$ANSIBLE_VAULT") {
        return Err(InventoryError::at(
            number,
            "the file is encrypted; run `ansible-vault view FILE`, and read its output with `--from-ansible -`",
        ));
    }
    if line.trim_start().starts_with('{') {
        json::read(text)
    } else if is_yaml(line) {
        yaml::read(text)
    } else {
        ini::read(text)
    }
}

/// Whether a line begins YAML. A host with a port, `host:2222`, has no space after its colon.
fn is_yaml(line: &str) -> bool {
    let key = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_.'\"".contains(c));
    let after = key.strip_prefix(':');
    line.starts_with("---")
        || line.starts_with("%YAML")
        || after.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests;
