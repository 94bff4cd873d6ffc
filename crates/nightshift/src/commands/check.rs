//! `nightshift check`: the config, and with --connect everything that it names.

mod connect;
mod etcd;
mod etcd_data;
mod line;
mod machine;

use std::path::Path;

use nightshift_engine::control::{Answer, Request, ask};

use super::CommandError;
use crate::args::Check;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

pub async fn run(config: &Path, args: &Check) -> Result<Exit, CommandError> {
    let loaded = config_file::load(config)?;
    for warning in &loaded.warnings {
        out::complain(&warning.to_string());
    }
    if args.show {
        out::say(loaded.show());
        return Ok(Exit::Good);
    }
    let settings = &loaded.settings;
    let roles = settings.roles();
    if roles.is_empty() {
        out::complain(&format!(
            "{} has no role in the cluster: the daemon would refuse to start",
            settings.this
        ));
        return Ok(Exit::Config);
    }
    out::say(format!(
        "the config is good: {} ({roles}) of cluster {}, {} hosts, {} remotes",
        settings.this,
        settings.cluster,
        settings.inventory.len(),
        settings.remotes.len()
    ));
    for warning in machine::warnings(settings)? {
        out::complain(&format!("warning: {warning}"));
    }
    // What root's shell can read proves nothing: the daemon in its sandbox is asked, if it runs.
    let mut good = match ask(&settings.paths.socket(), &Request::Readable).await {
        Ok(Answer::Readable { faults, notes }) => {
            notes.iter().for_each(|note| out::say(format!("note: {note}")));
            faults.iter().for_each(|fault| out::complain(&format!("the daemon cannot read {fault}")));
            faults.is_empty()
        }
        Ok(other) => super::run::tell(other) == Exit::Good,
        Err(error) => {
            out::say(format!("what the daemon can read was not asked: {error}"));
            true
        }
    };
    if args.connect {
        good &= connect::run(settings).await;
    }
    Ok(if good { Exit::Good } else { Exit::Failed })
}
