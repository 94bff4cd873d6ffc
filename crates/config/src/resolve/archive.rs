//! `[archive]` and `[[remote]]`: how archives are packed and encrypted, and where they are shipped.

use nightshift_core::archive::{ArchiveName, delivery_file};
use nightshift_core::name::RemoteName;
use nightshift_core::role::Role;
use nightshift_core::settings::{ArchiveSettings, Remote, Settings, SshSettings};
use toml::Spanned;

use super::names::Names;
use super::vault;
use crate::ledger::Ledger;
use crate::raw::{self, Table};
use crate::refusal::Refusal;
use crate::{age_key, check, defaults, units, url};

const MAX_ARCHIVES: u32 = 1000;
const MAX_CONNECTIONS: u32 = 16;

pub(super) fn archive(raw: &raw::Archive, ledger: &mut Ledger<'_>) -> ArchiveSettings {
    ledger.section("[archive]");
    let archive = ArchiveSettings {
        compression: ledger.take("compression", &raw.compression, defaults::COMPRESSION, check::any),
        recipients: ledger.take_list("recipients", &raw.recipients, Vec::new, age_key::recipient),
        plaintext: ledger.take("plaintext", &raw.plaintext, defaults::PLAINTEXT, check::any),
        keep_sent: ledger.take(
            "keep-sent",
            &raw.keep_sent,
            defaults::KEEP_SENT,
            check::count(0, MAX_ARCHIVES),
        ),
        // At least 1, because the newest unshipped archive is never removed.
        keep_outbox: ledger.take(
            "keep-outbox",
            &raw.keep_outbox,
            defaults::KEEP_OUTBOX,
            check::count(1, MAX_ARCHIVES),
        ),
    };
    if let Some(plaintext) = raw.plaintext.as_ref().filter(|plain| *plain.get_ref())
        && !archive.recipients.is_empty()
    {
        let refusal =
            Refusal::new("`plaintext = true` has no effect: archives are encrypted to `recipients`")
                .help("remove one of the two");
        ledger.warn(Some(&plaintext.span()), refusal);
    }
    archive
}

/// Archives are shipped unencrypted only if the config sets it explicitly.
fn refuse_plain(raw: &raw::Config, archive: &ArchiveSettings, ledger: &mut Ledger<'_>) {
    let encrypted =
        raw.archive.recipients.as_ref().is_some_and(|recipients| !recipients.get_ref().is_empty());
    let Some(first) = raw.remote.first().filter(|_| !encrypted && !archive.plaintext) else { return };
    let refusal = Refusal::new("archives would be shipped unencrypted")
        .help("set `[archive] recipients` to age public keys, or set `[archive] plaintext = true`");
    ledger.missing(Some(&first.span()), refusal);
}

pub(super) fn remotes(
    raw: &raw::Config,
    archive: &ArchiveSettings,
    ssh: &SshSettings,
    ledger: &mut Ledger<'_>,
) -> Vec<Remote> {
    let mut names = Names::new("remote", "records and proofs");
    let mut remotes: Vec<Remote> = Vec::new();
    refuse_plain(raw, archive, ledger);
    for table in &raw.remote {
        let Some(remote) = remote(table, ssh, ledger) else { continue };
        names.add(remote.name.as_str(), table, &table.get_ref().name, ledger);
        let is_copy = |other: &&Remote| other.name != remote.name && is_same_place(other, &remote);
        if let Some(same) = remotes.iter().find(is_copy) {
            let span = table.get_ref().url.as_ref().map_or_else(|| table.span(), Spanned::span);
            let refusal = Refusal::new(format!("this is the directory of remote `{}` too", same.name)).help(
                "one copy would count as two; remove one of the remotes, or give it a directory of its own",
            );
            ledger.refuse(Some(&span), refusal);
        }
        remotes.push(remote);
    }
    remotes
}

fn is_same_place(one: &Remote, other: &Remote) -> bool {
    let place = |remote: &Remote| (remote.address.to_ascii_lowercase(), remote.port);
    // Below the same login, only the path differs.
    let path = |remote: &Remote| remote.path.trim_end_matches('/').to_owned();
    place(one) == place(other) && one.user == other.user && path(one) == path(other)
}

/// A file name has at most 255 bytes (NAME_MAX). The longest of an archive is that of its delivery to a remote, in the outbox.
pub(super) fn check_names(settings: &Settings, raw: &raw::Config, ledger: &mut Ledger<'_>) {
    const MAX: usize = 255;
    if !settings.roles().has(Role::Master) {
        return;
    }
    let encrypted = !settings.archive.recipients.is_empty();
    let archive = ArchiveName::longest(settings.this.clone(), settings.archive.compression, encrypted);
    for table in &raw.remote {
        let name = table.get_ref().name.as_ref().and_then(|name| name.get_ref().parse().ok());
        let Some(name) = name else { continue };
        let longest = delivery_file(&archive, &name);
        if longest.len() > MAX {
            let refusal = Refusal::new(format!(
                "the names of this master and of this remote are too long together: `{longest}` would have {} bytes, and a file name has at most {MAX}",
                longest.len()
            ))
            .help("give the remote a shorter name, or the master in `[hosts]` (with `[host.X] address`)");
            ledger.refuse(Some(&table.span()), refusal);
        }
    }
}

fn remote(table: &Spanned<Table<raw::Remote>>, ssh: &SshSettings, ledger: &mut Ledger<'_>) -> Option<Remote> {
    let raw = table.get_ref();
    for (key, absent) in
        [("name", raw.name.is_none()), ("url", raw.url.is_none()), ("identity", raw.identity.is_none())]
    {
        if absent {
            let refusal = Refusal::new(format!("this remote has no `{key}`"))
                .help("a remote needs `name`, `url` and `identity`");
            ledger.missing(Some(&table.span()), refusal);
        }
    }
    let shown = raw.name.as_ref().map_or("", |name| name.get_ref());
    ledger.section(format!("[[remote]]  # {}", shown.escape_default()));
    let name = ledger.take_optional("name", &raw.name, "", |text| Ok(text.parse::<RemoteName>()?));
    let url = ledger.take_optional("url", &raw.url, "", |text| url::sftp(text));
    let identity = ledger.take_optional("identity", &raw.identity, "", |text| {
        let path = check::path(text)?;
        if path == ssh.identity {
            return Err(Refusal::new("this key is already `[ssh] identity`, which opens the other hosts")
                .help(
                    "create a separate key for this remote, so that neither key opens what the other does",
                ));
        }
        Ok(path)
    });
    let keep = vault::keep("keep", &raw.keep, defaults::KEEP, ledger);
    let prune = ledger.take("prune", &raw.prune, defaults::REMOTE_PRUNE, check::any);
    let connections = ledger.take(
        "connections",
        &raw.connections,
        defaults::REMOTE_CONNECTIONS,
        check::count(1, MAX_CONNECTIONS),
    );
    let rate = ledger.take_optional("rate", &raw.rate, "not limited", units::rate).map(|rate| rate.0);
    let url = url?;
    Some(Remote {
        name: name?,
        user: url.user,
        address: url.address,
        port: url.port.unwrap_or(defaults::SSH_PORT),
        path: url.path,
        identity: identity?,
        keep,
        prune,
        connections,
        rate,
    })
}
