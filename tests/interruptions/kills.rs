//! `apply` is killed with all of its ssh processes after each act in turn, each time by the next run of the same command.

use std::time::Instant;

use nightshift_core::restore::steps::Step;

use crate::apply::Restore;
use crate::table::{Cell, Table};

pub fn after_each_act(restore: &Restore<'_>, table: &mut Table) {
    let mut killed: Option<&Step> = None;
    let mut end = |killed: Option<&Step>, result: Result<(), String>, began: Instant| {
        if let Some(step) = killed {
            table.add(&Cell::of(step, "kill"), result, began.elapsed());
        }
    };
    for step in &restore.steps {
        let began = Instant::now();
        let mut apply = restore.start();
        let reached = apply.wait_done(step).and_then(|()| apply.require_all_nodes());
        apply.kill();
        // This run has continued the one before.
        end(killed.take(), reached.clone(), began);
        match reached {
            Ok(()) => killed = Some(step),
            Err(reason) => end(Some(step), Err(format!("not reached: {reason}")), began),
        }
    }
    let began = Instant::now();
    end(killed, restore.start().wait_complete(), began);
}
