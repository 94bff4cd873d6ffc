//! `nightshift drill-worker`: runs one drill, whose job is on standard input. It is hidden, because only the daemon and the
//! drill's unit start it.

use nightshift_engine::drill::worker::work;
use nightshift_etcd::trial::child::{follow_parent, leave_terminal};

use super::CommandError;
use crate::exit::Exit;

pub fn run(parent: Option<u32>) -> Result<Exit, CommandError> {
    // Not killed with the parent, unlike etcd: it is notified of the parent's end, removes its scratch directory, and exits.
    if let Some(parent) = parent {
        follow_parent(parent)?;
        leave_terminal()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::failed("cannot start the async runtime"))?;
    let worked = runtime.block_on(work());
    // Otherwise the thread that reads standard input would keep the process running.
    runtime.shutdown_background();
    worked
        .map(|()| Exit::Good)
        .map_err(CommandError::failed("the drill's process cannot read its job or write its report"))
}
