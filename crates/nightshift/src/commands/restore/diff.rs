//! `nightshift restore diff`: what the plan would change on its machines.

use std::path::Path;

use nightshift_core::name::HostName;
use nightshift_restore::diff;
use nightshift_restore::directory::Directory;
use nightshift_restore::login::Login;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;
use crate::report::in_full;

pub async fn run(path: &Path, host: Option<&HostName>, login: &Login) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    if let Some(host) = host
        && plan.machine(host).is_none()
    {
        return Err(CommandError::Usage(format!("{host} is not a machine of this plan")));
    }
    let mut worst = Exit::Good;
    for machine in plan.machines.iter().filter(|machine| host.is_none_or(|host| machine.host == *host)) {
        match diff::machine(login, &directory, &plan, machine).await {
            Ok(text) if text.is_empty() => out::print(format!("{}: nothing differs", machine.host)),
            Ok(text) => {
                out::print(format!("{}:", machine.host));
                out::print_text(text.trim_end());
            }
            Err(error) => {
                out::print_error(&format!("nightshift: {}: not compared: {}", machine.host, in_full(&error)));
                worst = Exit::Degraded;
            }
        }
    }
    Ok(worst)
}
