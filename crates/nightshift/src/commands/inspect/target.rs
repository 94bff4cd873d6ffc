//! What is to be looked into: a word of the command line, found.

use std::path::{Path, PathBuf};

use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::{self, Manifest};
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_store::{Judged, Vault, best, read_bounded};

use crate::args::Choice;
use crate::commands::{CommandError, archive_file};
use crate::config_file;
use crate::out;

pub enum Target {
    Snapshot(PathBuf),
    Archive { path: PathBuf, name: ArchiveName },
    Set { folder: PathBuf, manifest: Box<Manifest> },
}

/// Finds what a word names: a file or a set's folder where it is one, else a set or a night of the vault.
pub fn find(config: &Path, word: &str, choice: &Choice) -> Result<Target, CommandError> {
    let path = Path::new(word);
    if path.is_file() {
        let path = path.to_owned();
        return Ok(match archive_file::name_of(&path) {
            Some(name) => Target::Archive { path, name },
            None => Target::Snapshot(path),
        });
    }
    if path.join(manifest::FILE).is_file() {
        return in_folder(path);
    }
    if let Ok(set) = word.parse::<SetId>() {
        let vault = vault(config)?;
        if !vault.holds(&set) {
            return Err(CommandError::Absent(format!(
                "{} holds no set {set}: `nightshift sets` lists those that there are",
                vault.root().display()
            )));
        }
        return Ok(Target::Set { folder: vault.folder(&set), manifest: Box::new(vault.manifest(&set)?) });
    }
    match word.parse::<Night>() {
        Ok(night) => of_night(&vault(config)?, night, choice),
        Err(_) => Err(CommandError::Usage(format!(
            "`{word}` is no file, no folder of a set, no set such as master1/2026-11-22/etcd and no night"
        ))),
    }
}

/// Finds both sides of a comparison. Two nights are compared by one host's sets, so that what differs is
/// what happened in between and not who was asked.
pub fn find_both(config: &Path, words: [&str; 2], choice: &Choice) -> Result<[Target; 2], CommandError> {
    let nights = words.map(|word| word.parse::<Night>().ok().filter(|_| !Path::new(word).exists()));
    let ([Some(first), Some(second)], None) = (nights, &choice.host) else {
        return Ok([find(config, words[0], choice)?, find(config, words[1], choice)?]);
    };
    let vault = vault(config)?;
    let mut best: Option<[Judged; 2]> = None;
    for before in vault.best_of_hosts(first, Role::Etcd)? {
        let Some(after) = vault.best(&before.manifest.host, second, Role::Etcd)? else { continue };
        let worse = |pair: &[Judged; 2]| pair[0].grade.min(pair[1].grade);
        let pair = [before, after];
        if best.as_ref().is_none_or(|best| worse(best) < worse(&pair)) {
            best = Some(pair);
        }
    }
    let Some(pair) = best.map(|pair| pair.map(|judged| judged.manifest)) else {
        return Err(CommandError::Absent(format!(
            "{} holds no host's etcd set of both {first} and {second}: name two sets",
            vault.root().display()
        )));
    };
    out::complain(&format!("comparing {} and {}", pair[0].id(), pair[1].id()));
    Ok(pair
        .map(|manifest| Target::Set { folder: vault.folder(&manifest.id()), manifest: Box::new(manifest) }))
}

fn in_folder(folder: &Path) -> Result<Target, CommandError> {
    let path = folder.join(manifest::FILE);
    let bytes = read_bounded(&path, manifest::MAX_BYTES)?;
    let manifest = Manifest::decode(&bytes)
        .map_err(|source| CommandError::Manifest { folder: folder.to_owned(), source })?;
    Ok(Target::Set { folder: folder.to_owned(), manifest: Box::new(manifest) })
}

fn of_night(vault: &Vault, night: Night, choice: &Choice) -> Result<Target, CommandError> {
    let mut candidates = vault.best_of_hosts(night, Role::Etcd)?;
    candidates.retain(|set| choice.host.as_ref().is_none_or(|host| *host == set.manifest.host));
    let best = best(candidates, |set| (set.manifest.id(), set.grade));
    let Some(Judged { manifest, .. }) = best else {
        let of = choice.host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
        return Err(CommandError::Absent(format!(
            "{} holds no etcd set of night {night}{of}: `nightshift sets` lists those that there are",
            vault.root().display()
        )));
    };
    out::complain(&format!("looking into {}", manifest.id()));
    Ok(Target::Set { folder: vault.folder(&manifest.id()), manifest: Box::new(manifest) })
}

fn vault(config: &Path) -> Result<Vault, CommandError> {
    Ok(Vault::new(&config_file::settings(config)?.vault.path))
}
