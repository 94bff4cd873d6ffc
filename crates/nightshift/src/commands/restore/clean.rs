//! `nightshift restore clean`: removes the directory of a plan, which contains every secret of the cluster.

use std::path::Path;

use nightshift_restore::directory::Directory;
use nightshift_restore::target::GIVE_UP;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

pub fn run(path: &Path, abandon: bool) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let lock = directory.lock()?;
    let (began, open) = directory.open_steps(&plan)?;
    if began && open > 0 && !abandon {
        return Err(CommandError::Absent(format!(
            "plan {} is not finished: {open} steps are open; continue with `nightshift restore apply {}`, or give it up: {GIVE_UP}; then use \
             --abandon",
            plan.id,
            path.display()
        )));
    }
    directory.remove()?;
    drop(lock);
    out::print(format!("{} is removed", directory.path().display()));
    Ok(Exit::Good)
}
