//! `[paths]` and `[ssh]`: nightshift's own directories, and how it connects to other hosts.

use nightshift_core::settings::{Paths, SshSettings};

use crate::context::Context;
use crate::ledger::Ledger;
use crate::{check, defaults, raw, units};

pub(super) fn paths(raw: &raw::Paths, context: &Context<'_>, ledger: &mut Ledger<'_>) -> Paths {
    ledger.section("[paths]");
    Paths {
        config: ledger.take("config", &raw.config, context.config_dir.clone(), check::path),
        state: ledger.take("state", &raw.state, defaults::STATE.into(), check::path),
        run: ledger.take("run", &raw.run, defaults::RUN.into(), check::path),
    }
}

/// The SSH settings, and the defaults of the hosts' user and port.
#[derive(Debug)]
pub(super) struct Ssh {
    pub(super) settings: SshSettings,
    pub(super) user: String,
    pub(super) port: u16,
}

pub(super) fn ssh(raw: &raw::Ssh, paths: &Paths, ledger: &mut Ledger<'_>) -> Ssh {
    let config = &paths.config;
    ledger.section("[ssh]");
    let user = ledger.take("user", &raw.user, defaults::SSH_USER.to_owned(), check::user);
    let port = ledger.take("port", &raw.port, defaults::SSH_PORT, check::port);
    let settings = SshSettings {
        identity: ledger.take("identity", &raw.identity, defaults::ssh_identity(config), check::path),
        known_hosts: ledger.take("known-hosts", &raw.known_hosts, defaults::known_hosts(config), check::path),
        host_key: ledger.take("host-key", &raw.host_key, defaults::SSH_HOST_KEY.into(), check::path),
        connect_timeout: ledger.take(
            "connect-timeout",
            &raw.connect_timeout,
            defaults::SSH_CONNECT_TIMEOUT,
            |text| units::some_duration(text),
        ),
        idle_timeout: ledger.take("idle-timeout", &raw.idle_timeout, defaults::SSH_IDLE_TIMEOUT, |text| {
            units::some_duration(text)
        }),
        pull_rate: ledger
            .take_optional("pull-rate", &raw.pull_rate, "not limited", units::rate)
            .map(|rate| rate.0),
    };
    Ssh { settings, user, port }
}
