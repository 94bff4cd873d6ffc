//! `nightshift drill-worker`: one drill, told on standard input; hidden, for the daemon and the drill's unit start it.

use nightshift_engine::drill::work;
use nightshift_etcd::trial::follow_parent;

use super::CommandError;
use crate::exit::Exit;

pub fn run(parent: Option<u32>) -> Result<Exit, CommandError> {
    // Its own end is an orderly one: it hears of this, removes what it made, and goes.
    if let Some(parent) = parent {
        follow_parent(parent)?;
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let worked = runtime.block_on(work());
    // The thread that waits for more input would keep it here.
    runtime.shutdown_background();
    worked.map(|()| Exit::Good).map_err(CommandError::Worker)
}
