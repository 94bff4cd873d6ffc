//! `[files]`: which files are collected for each role.

use std::collections::BTreeMap;
use std::path::Path;

use nightshift_core::role::Role;
use nightshift_core::secret::masked_words;
use nightshift_core::settings::{FileLists, FileRule, Paths};
use toml::Spanned;

use super::file_rule::{self, Own};
use crate::defaults;
use crate::ledger::Ledger;
use crate::raw::{self, FileEntry};
use crate::refusal::Refusal;
use crate::show::{self, Shown};
use crate::sources::Span;

pub(super) fn files(
    raw: &raw::Files,
    paths: &Paths,
    vault: &Path,
    ledger: &mut Ledger<'_>,
) -> BTreeMap<Role, FileLists> {
    let own = Own { paths, vault };
    ledger.section("[files]");
    let lists = [(Role::Master, &raw.master), (Role::Etcd, &raw.etcd), (Role::Node, &raw.node)];
    lists
        .into_iter()
        .map(|(role, list)| {
            let lists = match list {
                Some(list) => written(role, list, &own, ledger),
                None => {
                    let lists = defaults::files(role, &paths.config);
                    ledger.note_unset(role.as_str(), &describe(&lists));
                    lists
                }
            };
            (role, lists)
        })
        .collect()
}

/// A list from the config: it is used however the control plane runs.
fn written(
    role: Role,
    list: &Spanned<Vec<Spanned<FileEntry>>>,
    own: &Own<'_>,
    ledger: &mut Ledger<'_>,
) -> FileLists {
    let mut rules: Vec<FileRule> = Vec::new();
    let mut shown = Vec::new();
    for entry in list.get_ref() {
        let span = entry.span();
        match file_rule::read(entry, role, own) {
            Ok(rule) => {
                refuse_clash(&rule, &rules, &span, ledger);
                warn_of_secret(&rule, &span, ledger);
                shown.push(show_rule(&rule));
                rules.push(rule);
            }
            Err((part, refusal)) => {
                ledger.refuse(Some(&part.unwrap_or(span)), refusal);
            }
        }
    }
    let origin = ledger.origin(&list.span());
    ledger.note(role.as_str(), show::raw_list(&shown), origin);
    let files = defaults::own(&own.paths.config);
    rules.extend(files.into_iter().filter(|own| !shown.contains(&show_path(own))));
    FileLists { services: rules.clone(), static_pods: rules.clone(), kubeadm: rules }
}

/// Every user of the host can see the words of a running command.
fn warn_of_secret(rule: &FileRule, span: &Span, ledger: &mut Ledger<'_>) {
    let FileRule::Command { argv, .. } = rule else { return };
    if masked_words(argv) != *argv {
        let warning = Refusal::new("a word of this command seems to be a secret, which every user of the host can see")
            .help("use a file that only root can read, such as `curl --config FILE` or a certificate in place of a password");
        ledger.warn(Some(span), warning);
    }
}

/// Two entries of a set cannot have the same path, and no entry can be below a file.
fn refuse_clash(rule: &FileRule, earlier: &[FileRule], span: &Span, ledger: &mut Ledger<'_>) {
    let name = name_in_set(rule);
    let below = |inner: &str, outer: &FileRule| {
        is_one_file(outer) && inner.strip_prefix(name_in_set(outer)).is_some_and(|rest| rest.starts_with('/'))
    };
    let clash = earlier
        .iter()
        .find(|other| name_in_set(other) == name || below(name, other) || below(name_in_set(other), rule));
    if let Some(other) = clash {
        let refusal = Refusal::new(format!("`{name}` and `{}` conflict in the set", name_in_set(other)))
            .help("each entry needs its own path in the set; change one with `as`");
        ledger.refuse(Some(span), refusal);
    }
}

/// The path of a rule's files in the set: their source path, or `as`.
fn name_in_set(rule: &FileRule) -> &str {
    match rule {
        FileRule::Path { alias: Some(alias), .. } | FileRule::Command { alias, .. } => alias,
        FileRule::Path { path, .. } => path.trim_matches('/'),
    }
}

fn is_one_file(rule: &FileRule) -> bool {
    match rule {
        FileRule::Path { path, .. } => !file_rule::is_directory(path) && !file_rule::is_glob(path),
        FileRule::Command { .. } => true,
    }
}

fn show_path(rule: &FileRule) -> String {
    match rule {
        FileRule::Path { path, .. } => path.shown(),
        FileRule::Command { .. } => String::new(),
    }
}

fn show_rule(rule: &FileRule) -> String {
    let (what, alias, optional) = match rule {
        FileRule::Path { path, alias: None, optional: false } => return path.shown(),
        FileRule::Path { path, alias, optional } => {
            (format!("path = {}", path.shown()), alias.as_ref(), *optional)
        }
        FileRule::Command { argv, alias, optional } => {
            let words: Vec<String> = argv.iter().map(Shown::shown).collect();
            (format!("command = [{}]", words.join(", ")), Some(alias), *optional)
        }
    };
    let alias = alias.map_or_else(String::new, |alias| format!(", as = {}", alias.shown()));
    let optional = if optional { ", optional = true" } else { "" };
    format!("{{ {what}{alias}{optional} }}")
}

/// The default lists as text: what differs by how the control plane runs, then what is the same.
fn describe(lists: &FileLists) -> String {
    let FileLists { services, static_pods, kubeadm } = lists;
    let lines = |rules: &[FileRule]| {
        rules.iter().map(|rule| format!("\n    {}", show_rule(rule))).collect::<String>()
    };
    let is_common = |(one, other, third): &(&FileRule, &FileRule, &FileRule)| one == other && other == third;
    let from_the_end = services.iter().rev().zip(static_pods.iter().rev()).zip(kubeadm.iter().rev());
    let common = from_the_end.map(|((one, other), third)| (one, other, third)).take_while(is_common).count();
    let own = |rules: &[FileRule]| lines(&rules[..rules.len() - common]);
    let of_openshift = if services == static_pods {
        format!("\n  on OpenShift:{}", own(services))
    } else {
        format!(
            "\n  on OpenShift with systemd services:{}\n  on OpenShift with static pods:{}",
            own(services),
            own(static_pods)
        )
    };
    format!(
        "the files needed to rebuild one{of_openshift}\n  with kubeadm:{}\n  and on all of them:{}",
        own(kubeadm),
        lines(&services[services.len() - common..])
    )
}
