//! `nightshift restore file`: one file or directory of a host, in its place or on this machine.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nightshift_core::restore::Plan;
use nightshift_core::restore::act::FileKind;
use nightshift_core::restore::scope::Scope;
use nightshift_restore::conductor::{Conductor, Ending};
use nightshift_restore::directory::Directory;
use nightshift_restore::login::Login;
use nightshift_store::sync_file;

use super::apply::{Lines, report};
use super::plan::{PlanInput, planned};
use crate::args::RestoreFile;
use crate::commands::{CommandError, here};
use crate::exit::Exit;
use crate::out;

pub fn run(config: &Path, args: RestoreFile) -> Result<Exit, CommandError> {
    if !args.path.starts_with('/') || args.path.trim_end_matches('/').is_empty() {
        return Err(CommandError::Usage(format!(
            "`{}` is not the absolute path of a file or a directory; the whole host is restored by `restore plan --only`",
            args.path
        )));
    }
    let scope = Scope::Files { host: args.host, path: args.path };
    let parent = Path::new(".");
    let directory = Directory::create(parent)?;
    let login = args.login.into();
    let from = PlanInput { origin: &args.origin, survivor: None, login: &login };
    let result = planned(config, &from, scope, &directory).and_then(|plan| {
        if plan.is_refused() {
            for finding in plan.refusals() {
                out::print(format!("refused: {}", finding.text));
            }
            return Ok(Exit::Failed);
        }
        match &args.to {
            Some(to) => write(&plan, &directory, to),
            None => here(put(&plan, &directory, &login)),
        }
    });
    // It contains secrets of the cluster. What was replaced is kept on the host.
    let _reported_by_the_result = directory.remove();
    result
}

async fn put(plan: &Plan, directory: &Directory, login: &Login) -> Result<Exit, CommandError> {
    let conductor = Conductor { login, directory, plan, data: None };
    let ending = conductor.apply(&mut Lines).await?;
    if let Ending::Failed(_) = &ending {
        // A repetition is another plan, which the machine would refuse.
        conductor.release().await;
    }
    Ok(report(ending, "the files are in place", "repeat the command"))
}

/// Writes the files below a directory of this machine, with their modes and without their owners.
fn write(plan: &Plan, directory: &Directory, to: &Path) -> Result<Exit, CommandError> {
    let private = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    let failed = |path: &Path| CommandError::failed(format!("cannot write {}", path.display()));
    for planned in plan.machines.iter().flat_map(|machine| &machine.files) {
        let path = to.join(planned.file.path.trim_start_matches('/'));
        match &planned.file.kind {
            FileKind::Directory => private(&path).map_err(failed(&path))?,
            // It may lead out of the directory.
            FileKind::Symlink { target } => {
                out::print(format!("not written: {} is a link to {target}", path.display()));
            }
            FileKind::File { .. } => {
                path.parent().map_or(Ok(()), private).map_err(failed(&path))?;
                let from = directory.set(&planned.set).join(&planned.item);
                let mut from = fs::File::open(&from).map_err(failed(&from))?;
                let mut options = fs::OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(planned.file.mode & 0o700)
                    .open(&path)
                    .map_err(failed(&path))?;
                std::io::copy(&mut from, &mut file).and_then(|_| sync_file(&file)).map_err(failed(&path))?;
                out::print(format!("{}  of {}", path.display(), planned.set));
            }
        }
    }
    Ok(Exit::Good)
}
