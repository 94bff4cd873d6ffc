//! What a plan would change on a machine, as a unified diff. Nothing is changed.

use std::fmt::Write as _;

use nightshift_core::restore::Plan;
use nightshift_core::restore::act::{Act, FileKind, MAX_LOOK};
use nightshift_core::restore::difference::{Difference, MAX_SHOWN, Now, is_secret};
use nightshift_core::restore::machine::{Machine, PlannedFile};
use nightshift_core::secret::masked;
use nightshift_core::text::is_harmless;
use nightshift_store::read_below;
use similar::TextDiff;

use crate::call::{CallError, call};
use crate::directory::Directory;
use crate::login::Login;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Compares the files of the plan with those that are there.
pub async fn machine(
    login: &Login,
    directory: &Directory,
    plan: &Plan,
    machine: &Machine,
) -> Result<String, CallError> {
    let mut text = String::new();
    for files in machine.files.chunks(MAX_LOOK) {
        let specs = files.iter().map(|planned| planned.file.clone()).collect();
        let looked = call(login, machine, &plan.id, "2", Act::Look { files: specs }, Vec::new()).await?;
        for difference in &looked.differences {
            if let Some(planned) = files.iter().find(|planned| planned.file.path == difference.path) {
                one(&mut text, directory, planned, difference);
            }
        }
    }
    Ok(text)
}

fn one(text: &mut String, directory: &Directory, planned: &PlannedFile, difference: &Difference) {
    let path = &difference.path;
    let line = match (&difference.now, &planned.file.kind) {
        (Now::Text(now), FileKind::File { .. }) => {
            let stored = read_below(&directory.set(&planned.set), &planned.item, MAX_SHOWN);
            match stored
                .ok()
                .filter(|stored| !is_secret(path, stored))
                .and_then(|it| String::from_utf8(it).ok())
            {
                Some(stored) => return text.push_str(&unified(path, now, &stored)),
                None => "differs".to_owned(),
            }
        }
        (Now::Absent, _) => "does not exist yet".to_owned(),
        (Now::OtherKind, _) => "is replaced: something of another kind is there".to_owned(),
        (Now::Link(now), FileKind::Symlink { target }) => {
            format!("is a link to {now}, becomes one to {target}")
        }
        (Now::Secret, _) => "differs; it contains a private key, which is not shown".to_owned(),
        (Now::NotShown | Now::Text(_) | Now::Link(_), _) => "differs".to_owned(),
    };
    // Writing to a string cannot fail.
    let _always_ok = writeln!(text, "{path}: {line}");
}

/// From what is on the machine to what the plan has, with passwords masked and harmless on a terminal.
fn unified(path: &str, now: &str, planned: &str) -> String {
    let diff = TextDiff::from_lines(now, planned);
    let text = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&format!("{path} (on the machine)"), &format!("{path} (of the plan)"))
        .to_string();
    let harmless =
        |c: char| if c == '\n' || c == '\t' || is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER };
    masked(&text).chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_unified_from_the_machine_to_the_plan_without_passwords_and_controls() {
        let text = unified("/etc/x", "a\nb\npassword: old\nsame\n", "a\nc\npassword: new\nsame\u{1b}[2J\n");
        for part in ["--- /etc/x (on the machine)\n+++ /etc/x (of the plan)\n", " a\n-b\n", "\n+c\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("old") && !text.contains("new") && !text.contains('\u{1b}'), "{text}");
    }
}
