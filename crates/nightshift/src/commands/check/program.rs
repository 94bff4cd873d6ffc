//! A program that the config names, and that a unit runs as a user of its own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The bits of a file's mode with which it can be executed, and with which others than its owner can change it.
const EXECUTABLE: u32 = 0o111;
const WRITABLE: u32 = 0o022;

/// Why the program of a command is not what it should be.
pub fn fault(argv: &[String]) -> Option<String> {
    let program = Path::new(argv.first()?);
    let shown = program.display();
    match fs::metadata(program) {
        // Not every user who checks may enter the directory.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("{shown} does not exist; install the program"))
        }
        Err(error) => Some(format!("{shown}: {error}")),
        Ok(found) if !found.is_file() || found.mode() & EXECUTABLE == 0 => {
            Some(format!("{shown} is not executable; run `chmod 0755 {shown}`"))
        }
        Ok(found) if found.mode() & WRITABLE != 0 => {
            Some(format!("{shown} can be changed by other users than its owner; run `chmod 0755 {shown}`"))
        }
        Ok(found) if found.uid() != 0 => Some(format!(
            "{shown} can be changed by the user with the id {}; run `chown root {shown}`",
            found.uid()
        )),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_that_is_absent_not_executable_or_writable_by_others_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        let fault = || fault(&[program.display().to_string()]).unwrap_or_default();
        assert!(fault().contains("does not exist"));
        fs::write(&program, "#!/bin/sh\n").unwrap();
        for (mode, expected) in
            [(0o644, "not executable"), (0o777, "by other users"), (0o775, "by other users")]
        {
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            assert!(fault().contains(expected), "{mode:o}: {}", fault());
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let is_roots = fs::metadata(&program).unwrap().uid() == 0;
        assert_eq!(fault().is_empty(), is_roots, "{}", fault());
    }
}
