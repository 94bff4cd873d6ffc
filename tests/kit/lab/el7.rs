//! The package for Enterprise Linux 7, made from what the other packages contain: its systemd is 219, which ignores what it does not
//! know, or takes it for something else.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::root;

/// What systemd 219 has under the same name and with the same meaning.
const SAME: &[&str] = &[
    "Accept",
    "After",
    "Also",
    "CPUQuota",
    "CapabilityBoundingSet",
    "ConditionPathExists",
    "Description",
    "DirectoryMode",
    "Documentation",
    "Environment",
    "ExecReload",
    "ExecStart",
    "ExecStopPost",
    "Group",
    "IOSchedulingClass",
    "IOSchedulingPriority",
    "KillMode",
    "LimitCORE",
    "LimitNOFILE",
    "ListenStream",
    "MaxConnections",
    "Nice",
    "NoNewPrivileges",
    "OOMScoreAdjust",
    "OnFailure",
    "PartOf",
    "PrivateDevices",
    "PrivateNetwork",
    "PrivateTmp",
    "RemoveOnStop",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "SocketGroup",
    "SocketMode",
    "SocketUser",
    "StandardError",
    "StandardInput",
    "StandardOutput",
    "SupplementaryGroups",
    "SystemCallArchitectures",
    "TimeoutStopSec",
    "UMask",
    "User",
    "WantedBy",
    "Wants",
    "WatchdogSec",
];

/// What it has under another name.
const RENAMED: &[(&str, &str)] = &[
    ("MemoryMax", "MemoryLimit"),
    ("ReadOnlyPaths", "ReadOnlyDirectories"),
    ("ReadWritePaths", "ReadWriteDirectories"),
];

/// What it does not have. Where the program needs the effect, it has a limit of its own, or the user's rights suffice.
const NEWER: &[&str] = &[
    "BindPaths",
    "BindReadOnlyPaths",
    "CollectMode",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "OOMPolicy",
    "PrivateIPC",
    "PrivateMounts",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "RemoveIPC",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RuntimeMaxSec",
    "StartLimitIntervalSec",
    "StateDirectoryMode",
    "SystemCallErrorNumber",
    // Its filters have no groups of system calls.
    "SystemCallFilter",
    "TasksMax",
];

/// Needs DynamicUser= and BindReadOnlyPaths=. `[metrics] textfile` and `nightshift metrics` remain.
const LEFT_OUT: &str = "nightshift-metrics";

/// Elsewhere `StateDirectory=` creates it. That of drills is in the file already.
const STATE_DIRECTORY: &str =
    "\n# What a cold copy has stopped.\nd /var/lib/nightshift-cold-copy 0700 root root\n";

/// Writes the package's description, its units and its scripts to a directory; gives the description.
pub fn stage(directory: &Path) -> Result<PathBuf> {
    let units = directory.join("systemd");
    let scripts = directory.join("rpm");
    for folder in [&units, &scripts] {
        fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
    }
    for (name, text) in files(&root().join("systemd"))? {
        let is_unit = name.ends_with(".service") || name.ends_with(".socket");
        let text = match name.as_str() {
            _ if is_unit => unit(&text).map_err(|why| refused(&name, &why))?,
            "nightshift.tmpfiles" => text + STATE_DIRECTORY,
            _ => text,
        };
        write(&units.join(&name), &text)?;
    }
    for (name, text) in files(&root().join("packaging/rpm"))? {
        write(&scripts.join(&name), &text.replace(" nightshift-metrics.socket", ""))?;
    }
    let described = root().join("packaging/nfpm.yaml");
    let text = read(&described)?;
    let description = directory.join("nfpm.yaml");
    write(&description, &package(&text, directory).map_err(|why| refused("nfpm.yaml", &why))?)?;
    Ok(description)
}

/// The description of the package.
fn package(text: &str, directory: &Path) -> std::result::Result<String, String> {
    let directory = directory.display();
    let mut changed = text.to_owned();
    for (from, to) in [
        ("release: \"1\"", "release: \"1.el7\"".to_owned()),
        ("systemd >= 247", "systemd >= 219".to_owned()),
        ("src: systemd/", format!("src: {directory}/systemd/")),
        (": packaging/rpm/", format!(": {directory}/rpm/")),
    ] {
        if !changed.contains(from) {
            return Err(format!("it has no `{from}`"));
        }
        changed = changed.replace(from, &to);
    }
    let kept = changed.lines().filter(|line| !line.contains(&format!("/system/{LEFT_OUT}")));
    Ok(kept.fold(String::new(), |text, line| text + line + "\n"))
}

/// A unit as systemd 219 needs it. A directive that this file does not know is refused: look up what systemd 219 does with it, and add it here.
pub fn unit(text: &str) -> std::result::Result<String, String> {
    let value_of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    // It can give no capability to a user: the program itself changes from root to the user.
    let becomes = value_of("AmbientCapabilities").and(value_of("User"));
    let mut lines =
        vec!["# For systemd 219. The unit of newer distributions explains its settings.".to_owned()];
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((key, value)) = line.split_once('=') else {
            lines.push(format!("\n{line}"));
            continue;
        };
        lines.extend(match (key, becomes) {
            ("AmbientCapabilities" | "Group", Some(_)) => None,
            // Its other commands stay root, but have no capability to write to the daemon's socket.
            ("User", Some(_)) => Some("SupplementaryGroups=nightshift-ctl".to_owned()),
            ("ExecStart", Some(user)) => Some(format!("{line} --user {user}")),
            ("CapabilityBoundingSet", Some(_)) => Some(format!("{line} CAP_SETUID CAP_SETGID CAP_SETPCAP")),
            _ => directive(key, value)?,
        });
    }
    Ok(lines.join("\n") + "\n")
}

fn directive(key: &str, value: &str) -> std::result::Result<Option<String>, String> {
    let number = || value.parse::<u32>().map_err(|_| format!("{key}={value} is not a number"));
    Ok(match (key, value) {
        ("Type", "exec") => Some("Type=simple".to_owned()),
        ("Type", _) => Some(format!("Type={value}")),
        // `strict` is unknown, and `full` leaves /var writable.
        ("ProtectSystem", "strict") => Some("ReadOnlyDirectories=/\nReadWriteDirectories=-/proc".to_owned()),
        ("ProtectHome", _) => Some("ProtectHome=yes".to_owned()),
        // Of 1024 instead of 100, and of 1000 instead of 100 with a default of 500.
        ("CPUWeight", _) => Some(format!("CPUShares={}", number()? * 1024 / 100)),
        ("IOWeight", _) => Some(format!("BlockIOWeight={}", (number()? * 5).clamp(10, 1000))),
        ("TemporaryFileSystem", _) => {
            Some("InaccessibleDirectories=-/var/lib/nightshift/vault -/run/nightshift".to_owned())
        }
        // tmpfiles creates it.
        ("StateDirectory", _) => Some(format!("ReadWriteDirectories=-/var/lib/{value}")),
        // It hides directories alone; a file would keep the unit from starting.
        ("InaccessiblePaths", _) => {
            let is_directory = |path: &&str| !path.contains("shadow") && !path.ends_with("opasswd");
            let directories: Vec<&str> = value.split_whitespace().filter(is_directory).collect();
            (!directories.is_empty()).then(|| format!("InaccessibleDirectories={}", directories.join(" ")))
        }
        _ if SAME.contains(&key) => Some(format!("{key}={value}")),
        _ if NEWER.contains(&key) => None,
        _ => match RENAMED.iter().find(|(newer, _)| *newer == key) {
            Some((_, older)) => Some(format!("{older}={value}")),
            None => return Err(format!("what systemd 219 does with {key}={value} is not known here")),
        },
    })
}

/// The files of a directory of the source, without those that are left out.
fn files(directory: &Path) -> Result<Vec<(String, String)>> {
    let listed = fs::read_dir(directory).map_err(Error::io(format!("listing {}", directory.display())))?;
    let names = listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let kept = names.filter(|name| !name.starts_with(LEFT_OUT));
    kept.map(|name| Ok((name.clone(), read(&directory.join(name))?))).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))
}

fn refused(name: &str, why: &str) -> Error {
    Error::Refused(format!("{name} cannot be packed for Enterprise Linux 7: {why}"))
}
