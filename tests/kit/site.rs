//! A site: hosts on loopback, each with its own sshd, keys, files and config, that carry a real night.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{self, Daemon, Start};
use crate::etcd::Etcd;
use crate::lab::cmd::{Cmd, poll};
use crate::lab::{Error, Result, Role};
use crate::proxy::Proxy;
use crate::site_config::{self, Facts, Known, Zone};
pub use crate::site_plan::Plan;
use crate::sshd::{Sshd, make_key};

const DOMAIN: &str = "site.test";
/// A night of a few small hosts on a busy machine.
pub const NIGHT: Duration = Duration::from_secs(60);

/// What is collected: the runbook's files, and what an etcd host has.
const FILES: [(&str, &str); 7] = [
    ("/etc/sysconfig/atomic-openshift-master-api", "OPTIONS=--loglevel=2\n"),
    ("/etc/sysconfig/atomic-openshift-master-controllers", "OPTIONS=--loglevel=2 --listen=:8444\n"),
    ("/etc/origin/master/master-config.yaml", "kind: MasterConfig\n"),
    ("/etc/origin/node/node-config.yaml", "kind: NodeConfig\n"),
    ("/etc/ansible/hosts", "[OSEv3:children]\nmasters\n"),
    ("/var/spool/cron/root", "0 4 * * * /usr/bin/true\n"),
    ("/etc/etcd/ca.crt", "-----BEGIN CERTIFICATE-----\n"),
];

pub struct Site {
    // Fields are dropped in this order: daemons first, for sessions end with their clients.
    hosts: Vec<Host>,
    pub etcd: Vec<Etcd>,
    zone: Zone,
    recipients: Vec<String>,
    user: String,
    folder: PathBuf,
    /// Sources and sockets: a path below a home folder may be refused, a long one too long for a socket.
    scratch: TempDir,
}

pub struct Host {
    pub name: String,
    pub daemon: Option<Daemon>,
    pub proxy: Option<Proxy>,
    pub sshd: Sshd,
    roles: Vec<Role>,
    folder: PathBuf,
}

/// How a command of ours went.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Plan {
    /// Starts every sshd and etcd member and writes every config; no daemon runs yet.
    pub fn build(self) -> Result<Site> {
        Site::build(self)
    }
}

impl Site {
    fn build(plan: Plan) -> Result<Self> {
        let scratch = TempDir::with_prefix("ns-").map_err(Error::io("making a scratch folder"))?;
        let folder = plan.folder.clone().unwrap_or_else(|| scratch.path().join("hosts"));
        let user = Cmd::new("id").arg("-un").run()?.text();
        let mut hosts = Vec::new();
        for (name, roles) in &plan.hosts {
            hosts.push(Host::build(name, roles, &folder, &plan)?);
        }
        let members: Vec<&str> =
            hosts.iter().filter(|host| host.is(Role::Etcd)).map(|host| host.name.as_str()).collect();
        let etcd = Etcd::start_cluster(&members)?;
        let site = Self { hosts, etcd, zone: plan.zone, recipients: plan.recipients, user, folder, scratch };
        for host in &site.hosts {
            for (path, content) in FILES {
                site.lay(&host.name, path, format!("# {}\n{content}", host.name).as_bytes())?;
            }
            let member = site.etcd.iter().find(|member| member.name == host.name);
            let conf = member.map_or_else(|| "ETCD_NAME=member\n".to_owned(), Etcd::conf);
            site.lay(&host.name, "/etc/etcd/etcd.conf", conf.as_bytes())?;
        }
        site.introduce()?;
        site.configure()?;
        Ok(site)
    }

    /// Lets the masters in at every other host, and pins every host key under each name and port in use.
    fn introduce(&self) -> Result<()> {
        let mut pins = String::new();
        for host in &self.hosts {
            let key = host.sshd.public_key()?;
            for port in
                [Some(host.sshd.port), host.proxy.as_ref().map(|proxy| proxy.port)].into_iter().flatten()
            {
                pins.push_str(&format!("[{}]:{port},[127.0.0.1]:{port} {key}\n", host.name));
            }
            let identity =
                if host.is(Role::BackupServer) { "id_backup_server.pub" } else { "id_ed25519.pub" };
            let mut lines = Vec::new();
            for master in self.hosts.iter().filter(|other| other.is(Role::Master)) {
                lines.push(read(&master.folder.join(identity))?.trim_end().to_owned());
            }
            host.sshd.authorize(&lines)?;
        }
        write(&self.known_hosts(), pins.as_bytes())
    }

    /// Writes every host's config anew: the night is one around now.
    pub fn configure(&self) -> Result<()> {
        let states: Vec<PathBuf> = self.hosts.iter().map(|host| host.folder.join("state")).collect();
        let known: Vec<Known<'_>> = (self.hosts.iter().zip(&states))
            .filter(|(host, _)| !host.is(Role::BackupServer))
            .map(|(host, state)| Known { name: &host.name, roles: &host.roles, port: host.port(), state })
            .collect();
        let backup = self.hosts.iter().find(|host| host.is(Role::BackupServer));
        let inbox = backup.map(|host| host.folder.join("in"));
        for host in self.hosts.iter().filter(|host| host.has_daemon()) {
            let member = self.etcd.iter().find(|member| member.name == host.name);
            let text = site_config::text(&Facts {
                this: &host.name,
                user: &self.user,
                zone: self.zone,
                known: &known,
                folder: &host.folder,
                run: &self.run_folder(&host.name),
                known_hosts: &self.known_hosts(),
                sources: &self.sources(&host.name),
                etcd: member.map(|member| member.url.as_str()),
                recipients: &self.recipients,
                remote: match (backup, inbox.as_deref()) {
                    (Some(backup), Some(inbox)) if host.is(Role::Master) => Some((inbox, backup.port())),
                    _ => None,
                },
            })?;
            write(&host.config(), text.as_bytes())?;
        }
        Ok(())
    }

    /// Moves every host to another clock, for the daemons to be started after this.
    pub fn move_to(&mut self, zone: Zone) -> Result<()> {
        self.zone = zone;
        self.configure()
    }

    pub const fn zone(&self) -> Zone {
        self.zone
    }

    /// A host by its short name.
    ///
    /// # Panics
    /// If the site has none of that name.
    pub fn host(&self, name: &str) -> &Host {
        let host = self.hosts.iter().find(|host| host.is_called(name));
        host.unwrap_or_else(|| panic!("no host {name} here"))
    }

    /// # Panics
    /// If the site has none of that name.
    pub fn host_mut(&mut self, name: &str) -> &mut Host {
        let host = self.hosts.iter_mut().find(|host| host.is_called(name));
        host.unwrap_or_else(|| panic!("no host {name} here"))
    }

    /// Puts a file where a host's set takes it from: the path that a real host has it at.
    pub fn lay(&self, host: &str, path: &str, content: &[u8]) -> Result<()> {
        write(&self.source(host, path), content)
    }

    pub fn source(&self, host: &str, path: &str) -> PathBuf {
        self.sources(host).join(path.trim_start_matches('/'))
    }

    /// Adds a drop-in to a host's config.
    pub fn drop_in(&self, host: &str, name: &str, text: &str) -> Result<()> {
        write(&self.host(host).folder.join("etc/conf.d").join(name), text.as_bytes())
    }

    /// Moves all stages of a host to other days of the week: no night is open now.
    pub fn between_nights(&self, host: &str) -> Result<()> {
        let at = self.zone.crontab_in_three_days();
        let stages = site_config::STAGES.map(|stage| format!("[stage.{stage}]\nat = \"{at}\"\n"));
        self.drop_in(host, "40-other-days.toml", &stages.concat())
    }

    /// Where what a real backup server has been sent lies.
    pub fn inbox(&self) -> PathBuf {
        let backup = self.hosts.iter().find(|host| host.is(Role::BackupServer));
        backup.map_or_else(PathBuf::new, |host| host.folder.join("in"))
    }

    /// The login at every host.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// Starts the daemon of one host and waits until it is ready.
    pub fn start(&mut self, host: &str) -> Result<()> {
        self.start_with(host, &Start::default())
    }

    pub fn start_with(&mut self, host: &str, how: &Start<'_>) -> Result<()> {
        let run = self.run_folder(&self.host(host).name);
        let host = self.host_mut(host);
        let daemon = Daemon::start(&host.config(), &run, how)?;
        daemon.wait_ready(Duration::from_secs(20)).map_err(|error| {
            Error::Refused(format!("{} is not ready: {error}; it logged: {}", host.name, daemon.log()))
        })?;
        host.daemon = Some(daemon);
        Ok(())
    }

    /// Starts every daemon: those without masters first, so that nobody has to ask twice.
    pub fn start_all(&mut self) -> Result<()> {
        let mut names: Vec<(bool, String)> = (self.hosts.iter())
            .filter(|host| host.has_daemon())
            .map(|host| (host.is(Role::Master), host.name.clone()))
            .collect();
        names.sort();
        let masters = names.iter().filter(|(master, _)| *master).map(|(_, name)| name.clone());
        let masters: Vec<String> = masters.collect();
        for (_, name) in names.iter().filter(|(master, _)| !master) {
            self.start(name)?;
        }
        for (_, name) in names.iter().filter(|(master, _)| !master) {
            self.settle(name)?;
        }
        for name in &masters {
            self.start(name)?;
        }
        Ok(())
    }

    /// Starts every daemon and waits until the night of every host has nothing left to do.
    pub fn night(&mut self) -> Result<()> {
        self.start_all()?;
        let names: Vec<String> =
            self.hosts.iter().filter(|host| host.has_daemon()).map(|host| host.name.clone()).collect();
        names.iter().try_for_each(|name| self.settle(name).map(drop))
    }

    /// Ends every daemon in good order.
    pub fn stop_all(&mut self) -> Result<()> {
        for host in &mut self.hosts {
            if let Some(mut daemon) = host.daemon.take() {
                daemon.terminate()?;
            }
        }
        Ok(())
    }

    /// Waits until a host's night has nothing running and nothing left to do; gives its status.
    pub fn settle(&self, host: &str) -> Result<Value> {
        self.settle_within(host, NIGHT)
    }

    pub fn settle_within(&self, host: &str, time: Duration) -> Result<Value> {
        let name = &self.host(host).name;
        poll(&format!("the night of {name} to settle"), time, || {
            let (_, status) = self.status(name).map_err(|error| error.to_string())?;
            if status["night"]["settled"] == true {
                return Ok(status);
            }
            Err(format!("{:#}\n{}", status["night"]["record"]["stages"], self.log(name)))
        })
    }

    /// What a host's daemon logged.
    pub fn log(&self, host: &str) -> String {
        self.host(host).daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// Runs one of our commands on a host.
    pub fn run(&self, host: &str, words: &[&str]) -> Result<Ran> {
        let output = Cmd::new(daemon::program()?)
            .arg("--config")
            .arg(self.host(host).config())
            .args(words)
            .timeout(NIGHT)
            .output()?;
        Ok(Ran { code: output.status, stdout: output.text(), stderr: output.stderr })
    }

    /// `nightshift status --json`, with its exit code.
    pub fn status(&self, host: &str) -> Result<(i32, Value)> {
        let ran = self.run(host, &["status", "--json"])?;
        let unreadable = |error| Error::Refused(format!("status is no JSON: {error}: {ran:?}"));
        serde_json::from_str(&ran.stdout).map(|status| (ran.code, status)).map_err(unreadable)
    }

    fn sources(&self, host: &str) -> PathBuf {
        self.scratch.path().join("root").join(&self.host(host).name)
    }

    /// Where a host's sockets lie.
    pub fn run_folder(&self, host: &str) -> PathBuf {
        self.scratch.path().join("run").join(&self.host(host).name)
    }
}

impl Host {
    fn build(name: &str, roles: &[Role], folder: &Path, plan: &Plan) -> Result<Self> {
        let full = format!("{name}.{DOMAIN}");
        let folder = folder.join(&full);
        let mut extra =
            if roles.contains(&Role::BackupServer) { plan.backup_sshd.clone() } else { String::new() };
        if let Some((_, habit)) = plan.hostile.iter().find(|(hostile, _)| hostile == name) {
            extra.push_str(&format!(
                "ForceCommand {} {habit}\n",
                daemon::built("nightshift-kit-sftp-server")?.display()
            ));
        }
        let sshd = Sshd::start(&folder.join("sshd"), &extra)?;
        let proxied = plan.proxied.iter().any(|proxied| proxied == name);
        let proxy = if proxied { Some(Proxy::to(sshd.port)?) } else { None };
        if roles.contains(&Role::Master) {
            for identity in ["id_ed25519", "id_backup_server"] {
                make_key(&folder.join(identity), &["-C", &format!("{identity} of {full}")])?;
            }
        }
        Ok(Self { name: full, daemon: None, proxy, sshd, roles: roles.to_vec(), folder })
    }

    pub fn vault(&self) -> PathBuf {
        self.folder.join("state/vault")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("etc/nightshift.toml")
    }

    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.strip_suffix(DOMAIN).is_some_and(|short| short == format!("{name}."))
    }

    fn has_daemon(&self) -> bool {
        self.roles.iter().any(|role| matches!(role, Role::Master | Role::Etcd | Role::Node))
    }

    /// The key with which it logs in to the remote.
    pub fn remote_identity(&self) -> PathBuf {
        self.folder.join("id_backup_server")
    }

    pub fn port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.sshd.port, |proxy| proxy.port)
    }

    /// The daemon, which runs.
    ///
    /// # Panics
    /// If it does not.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap_or_else(|| panic!("no daemon runs on {}", self.name))
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))
}

/// Writes a file that holds secrets, with the folders above it.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let failed = || Error::io(format!("writing {}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed())?;
    }
    fs::write(path, content).map_err(failed())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed())
}
