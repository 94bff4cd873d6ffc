//! The kit: what a restore needs beside an archive, as one tar on every remote.

use crate::name::HostName;

/// The number of names that are tried for a kit on a remote: one is free after each change of its content.
const MAX_NAMES: u16 = 99;
/// How many kits of a host stay on a remote.
pub const KEPT: usize = 2;

/// The top directory of a kit: its name without the suffix.
pub fn top_directory(version: &str, host: &HostName) -> String {
    format!("kit_{version}_{host}")
}

pub fn name(version: &str, host: &HostName) -> String {
    format!("{}.tar", top_directory(version, host))
}

/// The names that it may have on a remote: its own, or a later one where that has other content.
pub fn names_on_remote(version: &str, host: &HostName) -> Vec<String> {
    let top = top_directory(version, host);
    let further = (2..=MAX_NAMES).map(|number| format!("{top}.{number}.tar"));
    std::iter::once(format!("{top}.tar")).chain(further).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kit_is_never_taken_for_an_archive() {
        let names = names_on_remote("0.1.0", &"m1.example.com".parse().unwrap());
        assert_eq!(names[..2], ["kit_0.1.0_m1.example.com.tar", "kit_0.1.0_m1.example.com.2.tar"]);
        assert!(names.iter().all(|name| name.parse::<crate::archive::ArchiveName>().is_err()));
    }
}
