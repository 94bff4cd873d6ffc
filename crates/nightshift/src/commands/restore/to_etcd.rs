//! `nightshift restore object KEY --to-etcd`: a key, written into the etcd member of this host.

use std::path::Path;
use std::time::Duration;

use nightshift_core::units::bytes;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::discover;
use nightshift_objects::wanted::{Name, Wanted};
use nightshift_snapshot::get;

use super::object_copy::Copy;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::{config_file, out};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The keys, which must be named as they are.
pub fn keys(wanted: &Wanted) -> Result<Vec<Vec<u8>>, CommandError> {
    let keys = match wanted {
        Wanted::Namespace(_) => None,
        Wanted::Objects { names, .. } => names
            .iter()
            .map(|name| match name {
                Name::Key(key) => Some(key.clone()),
                Name::Kind { .. } => None,
            })
            .collect(),
    };
    keys.ok_or_else(|| {
        CommandError::Usage(
            "--to-etcd needs keys; name them such as /registry/deployments/shop/web".to_owned(),
        )
    })
}

/// Values are written as they are stored, encrypted ones too.
pub async fn run(config: &Path, keys: &[Vec<u8>], copy: &Copy, yes: bool) -> Result<Exit, CommandError> {
    let unreadable = || CommandError::failed(format!("cannot read {}", copy.what));
    let mut values = Vec::new();
    for key in keys {
        let found = get(&copy.database, key, None).map_err(unreadable())?;
        let shown = String::from_utf8_lossy(key);
        if let Some(finding) = found.findings.kept.first() {
            return Err(CommandError::Absent(format!("{}: {finding}; use another copy or night", copy.what)));
        }
        match found.revision {
            Some(newest) if !newest.tombstone => values.push((key, found.value)),
            Some(newest) => {
                return Err(CommandError::Absent(format!(
                    "{shown} was deleted in revision {}; use an earlier night",
                    newest.revision.main
                )));
            }
            None => return Err(CommandError::Absent(format!("{} has no key {shown}", copy.what))),
        }
    }
    let settings = config_file::settings(config)?;
    let member = discover(&settings.etcd, Path::new("/"))?;
    let cannot_write = |endpoint: &str| CommandError::failed(format!("cannot write to {endpoint}"));
    let client = Client::connect(&member, REQUEST_TIMEOUT).await.map_err(cannot_write(&member.endpoint))?;
    out::print(format!("from {}", copy.what));
    out::print(format!("to   {}", client.endpoint()));
    for (key, value) in &values {
        out::print(format!("{}: {}", String::from_utf8_lossy(key), bytes(value.len() as u64)));
    }
    if !(yes || out::confirm("Write these keys into etcd, where they do not exist?")) {
        out::print_error("nothing was written; answer y, or use --yes");
        return Ok(Exit::Failed);
    }
    for (key, value) in &values {
        let is_written = client.put_if_absent(key, value).await.map_err(cannot_write(client.endpoint()))?;
        let state = if is_written { "created" } else { "exists; left alone" };
        out::print(format!("{}: {state}", String::from_utf8_lossy(key)));
    }
    Ok(Exit::Good)
}
