//! What a site is to be, said before anything of it is started.

use std::path::{Path, PathBuf};

use crate::lab::Role;
use crate::site_config::Zone;

/// What a site is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) hosts: Vec<(String, Vec<Role>)>,
    pub(crate) proxied: Vec<String>,
    pub(crate) recipients: Vec<String>,
    pub(crate) zone: Zone,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) backup_sshd: String,
    pub(crate) hostile: Vec<(String, String)>,
}

impl Plan {
    /// Hosts by their short names. One with `Role::BackupServer` is the remote; one without a daemon is `Agentless`.
    pub fn new(hosts: &[(&str, &[Role])]) -> Self {
        Self {
            hosts: hosts.iter().map(|(name, roles)| ((*name).to_owned(), roles.to_vec())).collect(),
            proxied: Vec::new(),
            recipients: Vec::new(),
            zone: Zone::Utc,
            folder: None,
            backup_sshd: String::new(),
            hostile: Vec::new(),
        }
    }

    /// Puts a proxy before this host's sshd, as all the others see it.
    pub fn proxied(mut self, host: &str) -> Self {
        self.proxied.push(host.to_owned());
        self
    }

    /// Encrypts the archives to these age keys.
    pub fn recipients(mut self, keys: &[&str]) -> Self {
        self.recipients = keys.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    pub fn zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// Keeps what the hosts make in a folder that stays.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Lets a host serve its vault with a bad habit: one of `nightshift-kit-sftp-server`.
    pub fn hostile(mut self, host: &str, habit: &str) -> Self {
        self.hostile.push((host.to_owned(), habit.to_owned()));
        self
    }

    /// Adds to the config of the backup server's sshd.
    pub fn backup_sshd(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.backup_sshd);
        self
    }
}
