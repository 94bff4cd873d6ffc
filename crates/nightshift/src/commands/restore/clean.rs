//! `nightshift restore clean`: removes the directory of a plan, which contains every secret of the cluster.

use std::path::Path;

use nightshift_restore::directory::Directory;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

pub fn run(path: &Path, abandon: bool) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let lock = directory.lock()?;
    let (began, open) = directory.open_steps(&plan)?;
    if began && open > 0 && !abandon {
        let shown = path.display();
        return Err(CommandError::Absent(format!(
            "plan {} is not finished: {open} steps are open; continue it with `nightshift restore apply {shown}`, or end it with \
             `nightshift restore undo {shown}` and then use --abandon",
            plan.id
        )));
    }
    directory.remove()?;
    drop(lock);
    out::print(format!("{} is removed", directory.path().display()));
    Ok(Exit::Good)
}
