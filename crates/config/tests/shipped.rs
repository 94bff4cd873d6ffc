//! The config that is installed, and the examples beside it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;

use nightshift_config::{Loaded, Origin};
use nightshift_core::retention::Keep;
use nightshift_core::role::Role;
use nightshift_core::settings::FileRule;
use nightshift_core::stage::Stage;
use support::{files_in, load_sample, load_sources, read, repository, sources};

fn shipped() -> String {
    read(&repository("config/nightshift.toml"))
}

/// The shipped config with the values that an operator must set after the installation.
fn filled(text: &str) -> String {
    text.replace("\nname = \"\"", "\nname = \"prod\"")
        .replace("\nmasters = []", "\nmasters = [\"master1.example.com\"]")
        .replace("\nnodes = []", "\nnodes = [\"node07.example.com\"]")
        .replace("\ntime-zone = \"\"", "\ntime-zone = \"Europe/Berlin\"")
}

/// Removes the comment sign: `#key = value` shows a default, `#   key = value` an example without a default.
fn uncommented(text: &str, prefix: &str) -> String {
    let is_toml = |line: &str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    text.split_inclusive('\n')
        .map(|line| line.strip_prefix(prefix).filter(|rest| is_toml(rest)).unwrap_or(line))
        .collect()
}

fn loaded(text: &str) -> Loaded {
    load_sample(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The dotted keys in the output of `nightshift check --show`, including unset ones.
fn keys(text: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_start_matches('[').split(']').next().unwrap().to_owned();
        } else if let Some((key, _)) = line.strip_prefix("# ").unwrap_or(line).split_once([' ', ':'])
            && key.starts_with(|c: char| c.is_ascii_lowercase())
        {
            // `keep.nights` is the `nights` of `keep = { … }`.
            keys.insert(format!("{section}.{}", key.split('.').next().unwrap()));
        }
    }
    keys
}

#[test]
fn the_diagnostics_of_the_shipped_config_list_what_must_be_set() {
    let error = load_sample(&shipped()).unwrap_err().to_string();
    for missing in ["a name must not be empty", "[hosts] lists no hosts", "unknown time zone"] {
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn the_defaults_in_the_shipped_config_are_the_real_ones() {
    let text = filled(&shipped());
    let plain = loaded(&text);
    let shown = loaded(&uncommented(&text, "#"));
    assert_eq!(shown.settings, plain.settings);
    assert!(shown.warnings.is_empty() && plain.warnings.is_empty());
}

#[test]
fn the_shipped_config_contains_every_key_and_no_other() {
    let text = uncommented(&uncommented(&filled(&shipped()), "#   "), "#").replace(
        "recipients = []",
        "recipients = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
    );
    let text = text.replace("roles = [\"etcd\"]", "roles = [\"master\"]");
    let everything = loaded(&text);
    let missing: Vec<String> =
        keys(&everything.show()).into_iter().filter(|key| !keys(&text).contains(key)).collect();
    assert!(missing.is_empty(), "not in the shipped config: {missing:?}");
}

#[test]
fn every_example_loads_without_a_warning_and_its_shown_config_loads_to_the_same_settings() {
    let mut examples = files_in(&repository("config/examples"));
    examples.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    assert!(examples.len() >= 4);
    for example in examples {
        let text = read(&example);
        let hostname = match example.file_stem().unwrap().to_str().unwrap() {
            "runbook" => "m001",
            "kubeadm" => "cp1",
            _ => "master1",
        };
        let load = |text: &str| {
            load_sources(&sources(text), hostname)
                .unwrap_or_else(|error| panic!("{}:\n{error}", example.display()))
        };
        let loaded = load(&text);
        assert!(loaded.warnings.is_empty(), "{}: {:?}", example.display(), loaded.warnings);
        assert_eq!(load(&loaded.show()).settings, loaded.settings, "{}", example.display());
    }
}

#[test]
fn the_runbook_example_has_the_times_files_names_and_directories_of_the_runbook() {
    let text = read(&repository("config/examples/runbook.toml"));
    let settings = load_sources(&sources(&text), "m001").unwrap().settings;
    let at = |stage: Stage| settings.stages.get(stage).at.to_string();
    for (stage, crontab) in [
        (Stage::SnapshotEtcd, "0 22 * * *"),
        (Stage::PullEtcd, "29 22 * * *"),
        (Stage::PullNodes, "30 22 * * *"),
        (Stage::CollectMaster, "40 22 * * *"),
        (Stage::MirrorMasters, "45 23 * * *"),
        (Stage::PackArchive, "50 23 * * *"),
        (Stage::ShipArchive, "55 23 * * *"),
    ] {
        assert_eq!(at(stage), crontab, "{stage}");
    }
    let names = |role: Role| -> Vec<&str> {
        let rules = settings.file_rules(role, None);
        rules
            .iter()
            .filter_map(|rule| match rule {
                FileRule::Path { alias, .. } => alias.as_deref(),
                FileRule::Command { .. } => None,
            })
            .collect()
    };
    assert_eq!(names(Role::Node), ["node-config.yaml", "root_cron"]);
    assert_eq!(names(Role::Master).len(), 6);
    assert_eq!(settings.vault.path.to_str(), Some("/admin/backup"));
    let remote = &settings.remotes[0];
    assert_eq!((remote.user.as_str(), remote.address.as_str()), ("cloud-user", "128.31.22.168"));
    assert_eq!(remote.path, "/home/cloud-user");
}

#[test]
fn one_key_moves_the_night_with_all_times_that_are_not_set() {
    let loaded = loaded(&read(&repository("tests/data/config/good/night-moved-by-one-key.toml")));
    let settings = loaded.settings;
    assert_eq!(settings.window.closes.to_string(), "09:15:00");
    let times = |stage: Stage| {
        let settings = settings.stages.get(stage);
        (settings.at.to_string(), settings.until.map(|until| until.strftime("%R").to_string()))
    };
    let until = |time: &str| Some(time.to_owned());
    for (stage, at, until) in [
        (Stage::SnapshotEtcd, "15 3 * * *", None),
        (Stage::PullEtcd, "44 3 * * *", until("04:55")),
        (Stage::MirrorMasters, "0 5 * * *", until("05:30")),
        (Stage::ShipArchive, "10 5 * * *", None),
        (Stage::Prune, "45 5 * * *", None),
    ] {
        assert_eq!(times(stage), (at.to_owned(), until), "{stage}");
    }
}

#[test]
fn a_drop_in_wins_key_by_key_and_the_origin_of_each_value_is_known() {
    let text = read(&repository("tests/data/config/good/drop-ins.toml"));
    let loaded = loaded(&text);
    let from = |key: &str| match loaded.origins.get(key) {
        Some(Origin::File { name, line }) => {
            format!("{}:{line}", name.strip_prefix("/etc/nightshift/").unwrap())
        }
        other => format!("{other:?}"),
    };
    assert_eq!(loaded.settings.vault.keep, Keep { nights: 14, weeks: 4, months: 6 });
    assert_eq!(from("vault.keep.nights"), "conf.d/20-hosts.toml:4");
    assert_eq!(from("vault.keep.weeks"), "nightshift.toml:21");
    assert_eq!(from("night.time-zone"), "conf.d/10-zone.toml:2");
    assert_eq!(from("night.opens"), "Some(Default)");
    let nodes = loaded.settings.inventory.with_role(Role::Node).count();
    assert_eq!(nodes, 2, "a list replaces a list");
    let remotes =
        loaded.settings.remotes.iter().map(|remote| (remote.address.as_str(), remote.path.as_str()));
    let expected =
        [("near.example.com", "/in"), ("far.example.com", "/elsewhere"), ("third.example.com", "/in")];
    assert_eq!(remotes.collect::<Vec<_>>(), expected, "a remote is added, or replaces the one of its name");
    let shown = loaded.show();
    assert!(shown.contains("# conf.d/20-hosts.toml:4\n"), "{shown}");
    assert!(shown.contains("# nightshift.toml:21\n"), "{shown}");
}

#[test]
fn what_is_shown_of_a_drop_in_with_a_control_character_in_its_name_loads() {
    let text = filled(&shipped()) + "#--- conf.d/1\u{7}.toml\n[vault]\nmin-free = \"3GiB\"\n";
    let loaded = loaded(&text);
    let shown = load_sources(&sources(&loaded.show()), support::hostname(&text));
    assert_eq!(shown.unwrap_or_else(|error| panic!("{error}")).settings, loaded.settings);
}

#[test]
fn the_effective_settings_are_shown_with_their_origins() {
    let sketch = loaded(&read(&repository("tests/data/config/good/sketch.toml")));
    let expected = repository("crates/config/tests/sketch.shown");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&expected, sketch.show()).unwrap();
    }
    assert_eq!(sketch.show(), read(&expected));
}
