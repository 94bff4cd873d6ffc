//! Finds what an argument of the command line names.

use std::path::{Path, PathBuf};

use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::{self, Manifest};
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_store::{Judged, Vault, best, read_bounded};

use crate::args::Choice;
use crate::commands::CommandError;
use crate::commands::content::{self, Content};
use crate::{config_file, out};

pub enum Target {
    Snapshot(PathBuf),
    Archive { path: PathBuf, name: ArchiveName },
    Set { directory: PathBuf, manifest: Box<Manifest> },
}

/// Finds a target: a file or a set's directory if the path exists, otherwise a set or a night of the vault.
pub fn find(config: &Path, word: &str, choice: &Choice) -> Result<Target, CommandError> {
    let path = Path::new(word);
    if path.is_file() {
        let path = path.to_owned();
        return Ok(match content::of(&path, choice.identity.as_deref())? {
            Content::Archive(name) => Target::Archive { path, name },
            Content::Snapshot => Target::Snapshot(path),
        });
    }
    if path.join(manifest::FILE).is_file() {
        return in_directory(path);
    }
    if let Ok(set) = word.parse::<SetId>() {
        let vault = vault(config)?;
        if !vault.contains(&set) {
            return Err(CommandError::Absent(format!(
                "{} has no set {set}; list its sets with `nightshift sets`",
                vault.root().display()
            )));
        }
        return Ok(Target::Set {
            directory: vault.directory(&set),
            manifest: Box::new(vault.manifest(&set)?),
        });
    }
    match word.parse::<Night>() {
        Ok(night) => of_night(&vault(config)?, night, choice),
        Err(_) => Err(CommandError::Usage(format!(
            "cannot find `{word}`: it is neither a file, nor a set's directory, nor a set such as \
             master1/2026-11-22/etcd, nor a night such as 2026-11-22"
        ))),
    }
}

/// Finds both sides of a comparison. For two nights both sets are of one host, so that the differences come from the time
/// between the nights and not from two members.
pub fn find_both(config: &Path, words: [&str; 2], choice: &Choice) -> Result<[Target; 2], CommandError> {
    let nights = words.map(|word| word.parse::<Night>().ok().filter(|_| !Path::new(word).exists()));
    let ([Some(first), Some(second)], None) = (nights, &choice.host) else {
        return Ok([find(config, words[0], choice)?, find(config, words[1], choice)?]);
    };
    let vault = vault(config)?;
    let mut best: Option<[Judged; 2]> = None;
    for before in vault.best_of_hosts(first, Role::Etcd)? {
        let Some(after) = vault.best(&before.manifest.host, second, Role::Etcd) else { continue };
        let worse = |pair: &[Judged; 2]| pair[0].grade.min(pair[1].grade);
        let pair = [before, after];
        if best.as_ref().is_none_or(|best| worse(best) < worse(&pair)) {
            best = Some(pair);
        }
    }
    let Some(pair) = best.map(|pair| pair.map(|judged| judged.manifest)) else {
        return Err(CommandError::Absent(format!(
            "{}: no host has an etcd set of both {first} and {second}; name two sets instead",
            vault.root().display()
        )));
    };
    out::print_error(&format!("comparing {} and {}", pair[0].id(), pair[1].id()));
    Ok(pair.map(|manifest| Target::Set {
        directory: vault.directory(&manifest.id()),
        manifest: Box::new(manifest),
    }))
}

fn in_directory(directory: &Path) -> Result<Target, CommandError> {
    let path = directory.join(manifest::FILE);
    let bytes = read_bounded(&path, manifest::max_bytes(Role::Master))?;
    let manifest = Manifest::decode(&bytes)
        .map_err(CommandError::failed(format!("invalid manifest in {}", directory.display())))?;
    Ok(Target::Set { directory: directory.to_owned(), manifest: Box::new(manifest) })
}

fn of_night(vault: &Vault, night: Night, choice: &Choice) -> Result<Target, CommandError> {
    let mut candidates = vault.best_of_hosts(night, Role::Etcd)?;
    candidates.retain(|set| choice.host.as_ref().is_none_or(|host| *host == set.manifest.host));
    let best = best(candidates, |set| (set.manifest.id(), set.grade));
    let Some(Judged { manifest, .. }) = best else {
        let of = choice.host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
        return Err(CommandError::Absent(format!(
            "{} has no etcd set of night {night}{of}; list its sets with `nightshift sets`",
            vault.root().display()
        )));
    };
    out::print_error(&format!("showing {}", manifest.id()));
    Ok(Target::Set { directory: vault.directory(&manifest.id()), manifest: Box::new(manifest) })
}

fn vault(config: &Path) -> Result<Vault, CommandError> {
    Ok(Vault::new(&config_file::settings(config)?.vault.path))
}
