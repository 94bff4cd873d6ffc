//! `nightshift restore`: the plan, the check of the machines, and the rebuild; and single objects.

mod act;
mod apply;
mod check;
mod clean;
mod diff;
mod file;
mod object;
mod object_copy;
mod origin;
mod plan;
mod remote;
mod status;
mod to_etcd;
mod undo;

use std::path::Path;

use super::{CommandError, here};
use crate::args::{Login, Restore};
use crate::exit::Exit;

pub fn run(config: &Path, command: Restore) -> Result<Exit, CommandError> {
    match command {
        Restore::Act => act::run(config),
        Restore::Plan(args) => plan::run(config, args),
        Restore::Check { plan, etcd_tools, login } => {
            here(check::run(&plan, etcd_tools.as_deref(), &login.into()))
        }
        Restore::Apply { plan, login } => here(apply::run(&plan, &login.into())),
        Restore::Undo { plan, discard_writes, login } => {
            here(undo::run(&plan, discard_writes, &login.into()))
        }
        Restore::File(args) => file::run(config, args),
        Restore::Status { plan } => status::run(&plan),
        Restore::Object(args) => object::run(config, &args),
        Restore::Diff { plan, host, login } => here(diff::run(&plan, host.as_ref(), &login.into())),
        Restore::Clean { plan, abandon } => clean::run(&plan, abandon),
    }
}

impl From<Login> for nightshift_restore::login::Login {
    fn from(login: Login) -> Self {
        Self { user: login.user, config: login.ssh_config }
    }
}
