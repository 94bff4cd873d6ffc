//! `nightshift restore plan`: reads the sets, verifies every byte, and prints the plan.

use std::path::Path;

use jiff::Timestamp;
use nightshift_core::name::HostName;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::Plan;
use nightshift_core::restore::evidence::{CONFIGURATION, Evidence, configuration};
use nightshift_core::restore::finding::Finding;
use nightshift_core::restore::make::{make, make_part};
use nightshift_core::restore::page::Page;
use nightshift_core::restore::scope::Scope;
use nightshift_core::settings::Settings;
use nightshift_restore::directory::Directory;
use nightshift_restore::login::Login;
use nightshift_restore::snapshot;
use nightshift_restore::source::{Sets, found};
use nightshift_restore::survivor::{self, Other};

use super::origin::{self, Verified};
use crate::args::{Origin, RestorePlan};
use crate::commands::{CommandError, here, progress};
use crate::exit::Exit;
use crate::{config_file, out};

pub fn run(config: &Path, args: RestorePlan) -> Result<Exit, CommandError> {
    let scope = args.only.unwrap_or_default();
    if let (Some(survivor), Scope::Host(_)) = (&args.survivor, &scope) {
        return Err(CommandError::Usage(format!(
            "all members get the data of {survivor}; use --survivor with `--only etcd`, or without --only"
        )));
    }
    let directory = Directory::create(&args.parent)?;
    let login = args.login.into();
    let from = PlanInput { origin: &args.origin, survivor: args.survivor.as_ref(), login: &login };
    let made = planned(config, &from, scope, &directory)
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

/// What a plan is made from, and how the machines and remotes are reached.
pub struct PlanInput<'a> {
    pub origin: &'a Origin,
    /// The member whose data is restored instead of a snapshot.
    pub survivor: Option<&'a HostName>,
    pub login: &'a Login,
}

/// The plan for a part of the cluster, with its sets in the directory.
pub fn planned(
    config: &Path,
    from: &PlanInput<'_>,
    scope: Scope,
    directory: &Directory,
) -> Result<Plan, CommandError> {
    let Verified { sets, source, signed, doubts } =
        origin::read(config, from.origin, from.login, &directory.sets())?;
    let settings = settings(&sets, directory)?;
    let mut evidence = Evidence {
        settings: &settings,
        night: sets.night,
        source,
        signed,
        sets: found(&sets, &directory.sets())?,
        survivor: None,
        now: Timestamp::now(),
    };
    let mut others = Vec::new();
    if let Some(host) = from.survivor {
        let progress = progress::of_unknown("reading the survivor's data");
        let mut moved = |bytes| progress.inc(bytes);
        let read = survivor::read(from.login, directory, &evidence, host, &mut moved);
        let found = here(async { Ok(read.await?) })?;
        progress.finish_and_clear();
        evidence.survivor = Some(found.copy);
        others = found.others;
    }
    let mut plan = match scope {
        Scope::Cluster => make(&evidence),
        part => make_part(&evidence, part),
    };
    if let Some(etcd) = &mut plan.etcd {
        let packed = directory.set(&etcd.copy.set).join(&etcd.copy.item);
        let progress = progress::of_file("verifying the copy of etcd", &packed);
        let checked = snapshot::check(directory, &sets, &etcd.copy, &mut |bytes| progress.inc(bytes))?;
        progress.finish_and_clear();
        plan.findings.extend(checked.findings);
        if let Some(revision) = checked.revision {
            etcd.copy.revision = revision;
        }
        let survivor = &etcd.copy;
        plan.findings.extend(others.iter().filter_map(|(host, other)| match other {
            Other::Revision(revision) => (*revision > survivor.revision).then(|| {
                Finding::missing(format!(
                    "{host} also has its data, up to revision {revision}; the database of {} has {}, and its log may have more. If {host} is \
                     clearly newer, use `--survivor {host}`",
                    survivor.set.host, survivor.revision
                ))
            }),
            Other::Unchecked(reason) => Some(Finding::missing(format!(
                "{host}: unchecked whether it has a leader: {reason}. The plan replaces its data, so make sure that it is off"
            ))),
        }));
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
