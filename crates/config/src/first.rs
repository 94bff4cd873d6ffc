//! The first config of a cluster: the one that the package installs, with its empty values filled in.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use nightshift_core::draft::{Cluster, Draft, Guess, Hosts, Table};
use nightshift_core::name::HostName;
use nightshift_core::ranges::fold;

/// What the package installs.
const INSTALLED: &str = include_str!("../../../config/nightshift.toml");
/// The maximum length of a line with a list.
const MAX_LINE_LEN: usize = 100;

/// The text of a config. `made_by` says in one line how it was made.
pub fn first_config(draft: &Draft, zone: &Guess<String>, made_by: &str) -> String {
    let mut text = String::new();
    let mut section = "";
    for line in INSTALLED.lines() {
        if line.starts_with('[') {
            if line == "[night]" {
                tables(&mut text, draft);
            }
            section = line;
        }
        let filled = match (section, line) {
            ("", "version = 1") => {
                format!("# {made_by}\n# Check each guess below, then run `nightshift check`.\n\n{line}")
            }
            ("[cluster]", "name = \"\"") => {
                value("name", &quoted(&draft.cluster.value), &draft.cluster.comments)
            }
            ("[night]", "time-zone = \"\"") => value("time-zone", &quoted(&zone.value), &zone.comments),
            _ => match &draft.hosts {
                Hosts::Cluster(hosts) => of_cluster(section, line, hosts),
                Hosts::This(roles) if (section, line) == ("[this-host]", "#   roles = [\"etcd\"]") => {
                    let words: Vec<_> = roles.value.iter().map(|role| quoted(role.as_str())).collect();
                    value("roles", &format!("[{}]", words.join(", ")), &roles.comments)
                }
                // Without [hosts], a config is for a single host.
                Hosts::This(_) if section == "[hosts]" && !line.is_empty() && !line.starts_with('#') => {
                    format!("#   {line}")
                }
                Hosts::This(_) => line.to_owned(),
            },
        };
        text.push_str(&filled);
        text.push('\n');
    }
    text
}

fn of_cluster(section: &str, line: &str, hosts: &Cluster) -> String {
    match (section, line) {
        ("[hosts]", "masters = []") => list("masters", &hosts.masters),
        ("[hosts]", "etcd = []") => list("etcd", &hosts.etcd),
        ("[hosts]", "nodes = []") => {
            format!("{}\n{}", list("nodes", &hosts.nodes), comments(&hosts.notes)).trim_end().to_owned()
        }
        ("[ssh]", "#user = \"nightshift-peer\"") if !hosts.logins.is_empty() => {
            comments(&hosts.logins) + line
        }
        ("[ssh]", "#port = 22") => match &hosts.port {
            Some(port) => value("port", &port.value.to_string(), &port.comments),
            None => line.to_owned(),
        },
        _ => line.to_owned(),
    }
}

/// The tables of single hosts, before the next section.
fn tables(text: &mut String, draft: &Draft) {
    let Hosts::Cluster(hosts) = &draft.hosts else { return };
    for Table { name, address, port } in &hosts.tables {
        _ = writeln!(text, "[host.{}]", quoted(name.as_str()));
        if let Some((address, origin)) = address {
            _ = writeln!(text, "address = {} # {origin}", quoted(address));
        }
        if let Some((port, origin)) = port {
            _ = writeln!(text, "port = {port} # {origin}");
        }
        text.push('\n');
    }
}

fn value(key: &str, value: &str, lines: &[String]) -> String {
    format!("{}{key} = {value}", comments(lines))
}

fn list(key: &str, hosts: &Guess<BTreeSet<HostName>>) -> String {
    let patterns: Vec<String> =
        fold(hosts.value.iter().map(HostName::as_str)).iter().map(|name| quoted(name)).collect();
    let line = format!("[{}]", patterns.join(", "));
    let list =
        if line.len() <= MAX_LINE_LEN { line } else { format!("[\n    {},\n]", patterns.join(",\n    ")) };
    value(key, &list, &hosts.comments)
}

/// A comment for each line.
fn comments(lines: &[String]) -> String {
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

/// Names and addresses contain no quotes and no backslashes.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
