//! An archive that is still on a remote: the newest one, or that of a night.

use std::path::{Path, PathBuf};

use nightshift_config::SftpUrl;
use nightshift_core::archive::{ArchiveName, NAMESPACE};
use nightshift_core::night::Night;
use nightshift_restore::login::{Login, RemotePlace};
use nightshift_restore::source::remote::{fetch as copy, list};
use nightshift_ssh::signature::claimed_signer;
use nightshift_store::read_bounded;
use nightshift_store::space::room;
use nightshift_store::verify::MAX_SIGNATURE_LEN;

use crate::args::Origin;
use crate::commands::{CommandError, progress};

pub const SCHEME: &str = "sftp://";
/// Masters whose signatures are read.
const MAX_HOSTS: usize = 50;
/// What stays free on this machine, in bytes.
const RESERVE: u64 = 1 << 30;

/// Copies the archive and its signature to the directory `to`. Of several masters' archives, it is that of the signer whom the operator names.
pub async fn fetch(url: &str, origin: &Origin, login: &Login, to: &Path) -> Result<PathBuf, CommandError> {
    if origin.signer.is_none() && !origin.unsigned {
        return Err(CommandError::Usage(
            "with --signer, name the fingerprint of the master that signed the archive; it is on the recovery sheet".to_owned(),
        ));
    }
    let SftpUrl { user, address, port, path, .. } =
        nightshift_config::sftp_url(url).map_err(CommandError::Usage)?;
    let place = RemotePlace { user, address, port, path };
    let names = newest(list(login, &place).await?, origin.night);
    if names.is_empty() {
        let night = origin.night.map(|night| format!(" of {night}")).unwrap_or_default();
        return Err(CommandError::Absent(format!("{url} has no archive{night}")));
    }
    let mut signers = Vec::new();
    for name in names.iter().take(MAX_HOSTS) {
        let signature = format!("{name}.sig");
        let mut signer = None;
        if copy(login, &place, &signature, to, MAX_SIGNATURE_LEN, &mut |_| {}).await? {
            let bytes = read_bounded(&to.join(&signature), MAX_SIGNATURE_LEN)?;
            signer = claimed_signer(NAMESPACE, &String::from_utf8_lossy(&bytes)).ok();
        }
        if origin.signer.is_none() || signer == origin.signer {
            let space = room(to).map_err(CommandError::failed("cannot read the free space"))?;
            let max = space.free.saturating_sub(RESERVE);
            let progress = progress::of_unknown("copying the archive");
            let mut arrived = |bytes| progress.set_position(bytes);
            let is_copied = copy(login, &place, &name.to_string(), to, max, &mut arrived).await?;
            progress.finish_and_clear();
            if is_copied {
                return Ok(to.join(name.to_string()));
            }
            return Err(CommandError::Absent(format!(
                "{url}: {name} was there and is gone; repeat the command"
            )));
        }
        signers.push(format!("{name} by {}", signer.as_deref().unwrap_or("an unknown signer")));
    }
    Err(CommandError::Absent(format!(
        "{url} has no archive of its newest night, or of --night, by {}: it has {}",
        origin.signer.as_deref().unwrap_or_default(),
        signers.join(", ")
    )))
}

/// The newest edition of each host's archive of the newest night, or of this one.
fn newest(mut names: Vec<ArchiveName>, night: Option<Night>) -> Vec<ArchiveName> {
    let night_of = |name: &ArchiveName| (name.date, name.extra);
    let wanted = match night {
        Some(night) => Some((night.date, night.extra)),
        None => names.iter().map(night_of).max(),
    };
    names.retain(|name| Some(night_of(name)) == wanted);
    names.sort_by(|one, other| one.host.cmp(&other.host).then(other.edition.cmp(&one.edition)));
    names.dedup_by(|next, first| next.host == first.host);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_edition_of_each_master_of_the_newest_night_is_chosen() {
        let all = [
            "m1_2026.11.27.tgz",
            "m2_2026.11.28.tgz",
            "m1_2026.11.28.tgz",
            "m1_2026.11.28.3.tgz",
            "m1_2026.11.28.2.tgz",
        ];
        let names = || all.iter().map(|name| name.parse().unwrap()).collect();
        let shown = |night: Option<&str>| -> Vec<String> {
            newest(names(), night.map(|night| night.parse().unwrap()))
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(shown(None), ["m1_2026.11.28.3.tgz", "m2_2026.11.28.tgz"]);
        assert_eq!(shown(Some("2026-11-27")), ["m1_2026.11.27.tgz"]);
        assert!(shown(Some("2026-11-26")).is_empty());
    }
}
