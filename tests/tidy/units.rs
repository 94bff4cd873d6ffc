//! What the daemon's unit allows it: to read root's files, and nothing else that its user may not do.

use std::fs;

const REQUIRED: &[&str] = &[
    "User=nightshift",
    "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
    "AmbientCapabilities=CAP_DAC_READ_SEARCH",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "RestrictSUIDSGID=yes",
];

/// The lines that are missing, and those that allow more.
fn faults(unit: &str) -> Vec<String> {
    let missing = REQUIRED.iter().filter(|required| !unit.lines().any(|line| line == **required));
    let missing = missing.map(|required| format!("missing: {required}"));
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.to_owned());
    let more = unit.lines().filter(|line| {
        !REQUIRED.contains(line)
            && REQUIRED.iter().any(|required| key(line).is_some() && key(required) == key(line))
    });
    missing.chain(more.map(|line| format!("allows more: {line}"))).collect()
}

#[test]
fn the_daemon_may_read_and_nothing_more() {
    let unit =
        fs::read_to_string(source::root().join("systemd/nightshift.service")).expect("the daemon's unit");
    assert_eq!(faults(&unit), [""; 0]);
    assert_eq!(faults(&unit.replace("NoNewPrivileges=yes\n", "")).len(), 1);
    assert_eq!(faults(&(unit + "AmbientCapabilities=CAP_KILL\n")).len(), 1);
}
