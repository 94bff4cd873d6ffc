//! A member of etcd, as the manifests of a night and its configuration describe it.

use std::fmt;

use super::shell::is_word;
use crate::etcd_facts::{self, DataDirectory, RunsAs};
use crate::inventory::Host;
use crate::manifest::Manifest;
use crate::restore::etcd::Configured;
use crate::role::Role;
use crate::settings::{EtcdSettings, Settings};

const DATA_DIRECTORY: &str = "/var/lib/etcd";
const UNIT: &str = "etcd.service";

/// Every text of it is a word of sh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The inventory name of its host, else the host in its peer URL.
    pub host: String,
    pub name: String,
    /// Separated by commas, as etcd has them.
    pub peer_urls: String,
    pub client_url: String,
    pub runs: RunsAs,
    pub data: String,
    /// The directory of its write-ahead log, if it is another one.
    pub wal: Option<String>,
    /// `etcd:etcd`
    pub owner: String,
    /// A client's CA, certificate and key, as paths in the archive's top directory.
    pub tls: Option<[String; 3]>,
}

/// An etcd set of a night.
pub struct EtcdSet<'a> {
    pub manifest: &'a Manifest,
    /// Its directory in the archive.
    pub directory: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, name, peer_urls, client_url, data, owner, .. } = self;
        let runs = match &self.runs {
            RunsAs::Unit(unit) => unit,
            RunsAs::StaticPod(manifest) => manifest,
        };
        writeln!(f, "etcd member {name} on {host}")?;
        writeln!(f, "  runs by      {runs}")?;
        writeln!(f, "  peer URLs    {peer_urls}")?;
        writeln!(f, "  client URL   {client_url}")?;
        write!(f, "  data         {data} ({owner})")?;
        self.wal.iter().try_for_each(|wal| write!(f, "\n  WAL          {wal}"))
    }
}

impl Member {
    /// The members that the newest list has, each with what the set of its own host says about it. `read` reads a file of a set by its
    /// absolute path on the host. Empty without a list, or if one of its texts cannot be in a command.
    pub fn all(
        settings: &Settings,
        sets: &[EtcdSet<'_>],
        read: impl Fn(&EtcdSet<'_>, &str) -> Option<String>,
    ) -> Vec<Self> {
        let lists = sets.iter().filter_map(|set| set.manifest.etcd.as_ref());
        let newest =
            lists.filter(|facts| !facts.members.is_empty()).max_by_key(|facts| facts.last_revision());
        let listed = newest.iter().flat_map(|facts| &facts.members).filter(|member| !member.learner);
        let member = |listed| Self::of(settings, sets, listed, &read);
        listed.map(member).collect::<Option<_>>().unwrap_or_default()
    }

    fn of(
        settings: &Settings,
        sets: &[EtcdSet<'_>],
        listed: &etcd_facts::Member,
        read: impl Fn(&EtcdSet<'_>, &str) -> Option<String>,
    ) -> Option<Self> {
        let is_of = |set: &&EtcdSet<'_>| {
            set.manifest.etcd.as_ref().is_some_and(|facts| *facts.member_id == *listed.id)
        };
        let set = sets.iter().find(is_of);
        let host = match set {
            Some(set) => set.manifest.host.to_string(),
            None => host_of(settings, listed)?,
        };
        let service = set.and_then(|set| set.manifest.etcd.as_ref()?.service.as_ref());
        let runs = service.and_then(|service| service.runs.clone());
        let data = service.and_then(|service| service.data.as_ref());
        let path = |directory: &DataDirectory| directory.path.trim_end_matches('/').to_owned();
        let member = Self {
            host,
            name: listed.name.to_string(),
            peer_urls: joined(&listed.peer_urls),
            client_url: reachable(&listed.client_urls)?,
            data: data.map_or_else(|| DATA_DIRECTORY.to_owned(), path),
            wal: service.and_then(|service| service.wal.as_ref()).map(path),
            owner: data.map_or_else(|| default_owner(runs.as_ref()), |data| data.owner.to_string()),
            runs: runs.unwrap_or_else(|| RunsAs::Unit(UNIT.into())),
            tls: set.and_then(|set| client_files(&settings.etcd, set, |path| read(set, path))),
        };
        if member.words().all(is_word) { Some(member) } else { None }
    }

    /// Every text of it that is in a command.
    fn words(&self) -> impl Iterator<Item = &str> {
        let runs = match &self.runs {
            RunsAs::Unit(name) | RunsAs::StaticPod(name) => name.as_str(),
        };
        let own = [&self.host, &self.name, &self.peer_urls, &self.client_url, &self.data, &self.owner];
        let further = self.wal.iter().chain(self.tls.iter().flatten());
        own.into_iter().chain(further).map(String::as_str).chain([runs])
    }

    /// The ports that are closed while it is stopped: of its client and peer URLs.
    pub fn ports(&self) -> Vec<&str> {
        let urls = std::iter::once(self.client_url.as_str()).chain(self.peer_urls.split(','));
        let ports = urls.filter_map(|url| url.trim_end_matches('/').rsplit_once(':')).map(|(_, port)| port);
        ports.filter(|port| port.chars().all(|c| c.is_ascii_digit())).collect()
    }

    /// The options of etcdctl that connect to it.
    pub fn client_options(&self) -> String {
        let tls =
            self.tls.as_ref().map(|[ca, cert, key]| format!(" --cacert {ca} --cert {cert} --key {key}"));
        format!("--endpoints {}{}", self.client_url, tls.unwrap_or_default())
    }
}

fn joined(urls: &[impl ToString]) -> String {
    urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The first client URL that another host can use.
fn reachable(urls: &[impl ToString]) -> Option<String> {
    let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let is_local = |url: &&String| url.contains("://127.") || url.contains("://localhost");
    urls.iter().find(|url| !is_local(url)).or_else(|| urls.first()).cloned()
}

/// Without a set of its own: the etcd host of its name or of its peer URL.
fn host_of(settings: &Settings, listed: &etcd_facts::Member) -> Option<String> {
    let url = listed.peer_urls.first()?.to_string();
    let (_, address) = url.split_once("://")?;
    let address = address.rsplit_once(':').map_or(address, |(address, _)| address).trim_matches(['[', ']']);
    let is_it = |host: &&Host| {
        let name = host.name.as_str();
        [name, host.name.short()].contains(&&*listed.name) || name == address || host.address == address
    };
    let known = settings.inventory.with_role(Role::Etcd).find(is_it);
    Some(known.map_or_else(|| address.to_owned(), |host| host.name.to_string()))
}

/// As packages create it; a static pod runs as root.
fn default_owner(runs: Option<&RunsAs>) -> String {
    if matches!(runs, Some(RunsAs::StaticPod(_))) { "root:root" } else { "etcd:etcd" }.to_owned()
}

/// The files of a client of this member that are in its set.
fn client_files(
    settings: &EtcdSettings,
    set: &EtcdSet<'_>,
    read: impl Fn(&str) -> Option<String>,
) -> Option<[String; 3]> {
    let set_by_hand = || {
        let path = |path: &Option<std::path::PathBuf>| Some(path.as_ref()?.display().to_string());
        Some([path(&settings.ca)?, path(&settings.cert)?, path(&settings.key)?])
    };
    let paths = set_by_hand().or_else(|| Configured::of(&settings.conf, read).tls())?;
    let in_set = |path: String| {
        let mut items = set.manifest.items.iter();
        let item = items.find(|item| item.source == path)?;
        Some(format!("{}/{}", set.directory, item.path))
    };
    let [ca, cert, key] = paths.map(in_set);
    Some([ca?, cert?, key?])
}
