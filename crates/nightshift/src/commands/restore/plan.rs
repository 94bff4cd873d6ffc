//! `nightshift restore plan`: reads the sets, verifies every byte, and prints the plan.

use std::path::Path;

use jiff::Timestamp;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::Plan;
use nightshift_core::restore::evidence::{CONFIGURATION, Evidence, configuration};
use nightshift_core::restore::finding::Finding;
use nightshift_core::restore::make::{make, make_part};
use nightshift_core::restore::page::Page;
use nightshift_core::restore::scope::Scope;
use nightshift_core::settings::Settings;
use nightshift_restore::directory::Directory;
use nightshift_restore::snapshot;
use nightshift_restore::source::{Sets, found};

use super::origin::{self, Verified};
use crate::args::{Origin, RestorePlan};
use crate::commands::{CommandError, progress};
use crate::exit::Exit;
use crate::{config_file, out};

pub fn run(config: &Path, args: &RestorePlan) -> Result<Exit, CommandError> {
    let directory = Directory::create(&args.parent)?;
    let scope = args.only.clone().unwrap_or_default();
    let made = planned(config, &args.origin, scope, &directory)
        .and_then(|plan| Ok((directory.publish(&plan, &args.parent)?, plan)));
    let (directory, plan) = match made {
        Ok(made) => made,
        Err(error) => {
            // It may contain secrets of the cluster, decrypted.
            let _reported_by_the_error = directory.remove();
            return Err(error);
        }
    };
    out::print_text(Page(&plan).to_string().trim_end());
    if plan.is_refused() {
        out::print(format!("{}: refused", directory.path().display()));
        return Ok(Exit::Failed);
    }
    let path = directory.path().display().to_string();
    out::print(format!("the plan is in {path}; next: nightshift restore check {path}"));
    Ok(Exit::Good)
}

/// The plan for a part of the cluster, with its sets in the directory.
pub fn planned(
    config: &Path,
    origin: &Origin,
    scope: Scope,
    directory: &Directory,
) -> Result<Plan, CommandError> {
    let Verified { sets, source, signed, doubts } = origin::read(config, origin, &directory.sets())?;
    let settings = settings(&sets, directory)?;
    let evidence = Evidence {
        settings: &settings,
        night: sets.night,
        source,
        signed,
        sets: found(&sets, &directory.sets())?,
        now: Timestamp::now(),
    };
    let mut plan = match scope {
        Scope::Cluster => make(&evidence),
        part => make_part(&evidence, part),
    };
    if let Some(etcd) = &plan.etcd {
        let packed = directory.set(&etcd.snapshot.set).join(&etcd.snapshot.item);
        let progress = progress::of_file("verifying the snapshot", &packed);
        let findings = snapshot::check(directory, &sets, &etcd.snapshot, &mut |bytes| progress.inc(bytes))?;
        progress.finish_and_clear();
        plan.findings.extend(findings);
    }
    plan.findings.extend(sets.missing.iter().map(Finding::missing));
    plan.findings.extend(doubts);
    Ok(plan)
}

/// The cluster as it was, by the configuration in a set: a master's first.
fn settings(sets: &Sets, directory: &Directory) -> Result<Settings, CommandError> {
    let copies = sets.sets.iter().filter(|(_, grade)| *grade > Grade::Bad);
    let with_config = copies.filter_map(|(manifest, _)| Some((manifest, configuration(manifest)?)));
    let first = with_config.min_by_key(|(manifest, _)| (manifest.role, manifest.host.clone()));
    let Some((manifest, item)) = first else {
        return Err(CommandError::Absent(format!(
            "no set contains {CONFIGURATION}, so the hosts of the cluster are unknown; use another archive"
        )));
    };
    let path = directory.set(&manifest.id()).join(&item.path);
    let config_dir = Path::new(&item.source).parent().unwrap_or(Path::new("/"));
    Ok(config_file::load_as(&path, manifest.host.to_string(), config_dir)?.settings)
}
