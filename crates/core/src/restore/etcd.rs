//! The etcd part of a plan: the one copy of its keys, and the members that all get its data.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::etcd_config::pod::Pod;
use crate::etcd_config::{CONF_FILES, Options, POD_MANIFESTS};
use crate::etcd_facts::{DataDirectory, EtcdFacts, RunsAs};
use crate::name::HostName;
use crate::owner::Owner;
use crate::restore::copy::EtcdCopy;
use crate::restore::evidence::{Evidence, FoundSet};
use crate::restore::finding::Finding;
use crate::restore::{choice, units};
use crate::role::Role;
use crate::set_path::SetId;
use crate::text::Lines;

/// The revision is raised by so much, so that no client that watches from a revision of before misses an event without an error: enough
/// for a week at 1,500 writes a second (docs/facts/etcd.md#restore).
pub const BUMP: i64 = 1_000_000_000;

/// What an operator can do instead.
pub const BY_HAND: &str = "restore by hand: docs/operations.md, Restoring today";
/// The directories of k3s and RKE2.
const RANCHER: &str = "/var/lib/rancher/";

/// etcd as it will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdPlan {
    /// From it the data of every member is made, or that of the first one.
    #[serde(rename = "snapshot")]
    pub copy: EtcdCopy,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub host: HostName,
    /// Its configuration and certificates.
    pub set: SetId,
    pub name: String,
    /// Separated by commas, as etcd has them.
    pub peer_urls: String,
    pub client_url: String,
    pub runs: RunsAs,
    pub data: DataDirectory,
    /// The client's files for it, as paths in the member's set: CA, certificate, key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<[String; 3]>,
}

impl Member {
    /// Host and port of its client URL.
    pub fn client_address(&self) -> Option<String> {
        address(&self.client_url)
    }

    /// Its part of `--initial-cluster`.
    pub fn pairs(&self) -> impl Iterator<Item = String> {
        self.peer_urls.split(',').map(|url| format!("{}={url}", self.name))
    }

    /// What refuses connections while it is stopped.
    pub fn addresses(&self) -> Vec<String> {
        std::iter::once(self.client_url.as_str())
            .chain(self.peer_urls.split(','))
            .filter_map(address)
            .collect()
    }
}

fn address(url: &str) -> Option<String> {
    url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_owned())
}

impl EtcdPlan {
    /// The same text for all members: `--initial-cluster`.
    pub fn initial_cluster(&self) -> String {
        self.members.iter().flat_map(Member::pairs).collect::<Vec<_>>().join(",")
    }
}

/// The plan for etcd. `None` without a copy, or if a member cannot be restored; the findings have the reasons.
pub fn plan(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) -> Option<EtcdPlan> {
    let copy = choice::choose(evidence, findings);
    let hosts = evidence.settings.inventory.with_role(Role::Etcd);
    let members: Vec<Option<Member>> = hosts
        .map(|host| match member(evidence, &host.name) {
            Ok(member) => Some(member),
            Err(reason) => {
                findings.push(Finding::refused(format!("{}: {reason}", host.name)));
                None
            }
        })
        .collect();
    let mut members: Vec<Member> = members.into_iter().collect::<Option<_>>()?;
    for (index, member) in members.iter().enumerate() {
        if let Some(other) = members[..index].iter().find(|other| other.name == member.name) {
            findings.push(Finding::refused(format!(
                "{} and {} both have the member name `{}`; etcd needs a name of its own for each",
                other.host, member.host, member.name
            )));
        }
    }
    let copy = copy?;
    if copy.v2 {
        // The first one gets the data, which is of this member.
        members.sort_by_key(|member| member.host != copy.set.host);
    }
    Some(EtcdPlan { copy, members })
}

/// A member, from its set's manifest and its configuration in that set.
pub fn member(evidence: &Evidence<'_>, host: &HostName) -> Result<Member, String> {
    let set = evidence
        .best(host, Role::Etcd)
        .ok_or("no etcd set of this host, so its configuration and its certificates are missing")?;
    let facts = set.manifest.etcd.as_ref();
    let config = configured(evidence, set);
    let option = |names: &[&str]| config.options.first(names).map(str::to_owned);
    let name = option(&["ETCD_NAME"])
        .or_else(|| facts.map(|facts| facts.member_name.to_string()).filter(|name| !name.is_empty()))
        .ok_or("its member name is neither in its configuration nor in its manifest")?;
    let listed = facts.and_then(|facts| facts.members.iter().find(|member| *member.id == *facts.member_id));
    let joined = |urls: &Lines| urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let peer_urls = listed
        .map(|member| joined(&member.peer_urls))
        .filter(|urls| !urls.is_empty())
        .or_else(|| option(&["ETCD_INITIAL_ADVERTISE_PEER_URLS"]))
        .ok_or("its peer URLs are neither in its manifest nor in its configuration")?;
    let client_url = option(&["ETCD_ADVERTISE_CLIENT_URLS", "ETCD_LISTEN_CLIENT_URLS"])
        .or_else(|| listed.map(|member| joined(&member.client_urls)))
        .and_then(|urls| urls.split(',').next().map(str::to_owned))
        .filter(|url| !url.is_empty())
        .ok_or("its client URL is neither in its configuration nor in its manifest")?;
    let service = facts.and_then(|facts| facts.service.as_ref());
    let runs = service.and_then(|service| service.runs.clone()).unwrap_or_else(|| config.runs.clone());
    if service.is_some_and(|service| service.wal.is_some()) || option(&["ETCD_WAL_DIR"]).is_some() {
        return Err(
            "its write-ahead log has a directory of its own, which a restore does not support yet".to_owned()
        );
    }
    let in_set = |path: String| path.trim_start_matches('/').to_owned();
    let tls = config.tls().map(|paths| paths.map(in_set));
    let is_in_set = |path: &String| set.manifest.files().any(|(item, ..)| item.path == *path);
    if let Some(absent) = tls.iter().flatten().find(|path| !is_in_set(path)) {
        return Err(format!("its configuration names /{absent}, which is not in its set; use another night"));
    }
    let data = service
        .and_then(|service| service.data.clone())
        .or_else(|| Some(default_directory(&config.on_host(&option(&["ETCD_DATA_DIR"])?), &runs)))
        .ok_or("its data directory is neither in its manifest nor in its configuration")?;
    if data.path.starts_with(RANCHER) {
        return Err(format!(
            "it is a member of k3s or RKE2, which restore their clusters themselves (`--cluster-reset`); {BY_HAND}"
        ));
    }
    Ok(Member { host: host.clone(), set: set.manifest.id(), name, peer_urls, client_url, runs, data, tls })
}

/// Of a manifest that does not have it: as packages create it, or as a pod that runs as root.
fn default_directory(path: &str, runs: &RunsAs) -> DataDirectory {
    let user = match runs {
        RunsAs::Unit(_) => "etcd",
        RunsAs::StaticPod(_) => "root",
    };
    let owner = Owner { uid: 0, gid: 0, user: Some(user.to_owned()), group: Some(user.to_owned()) };
    DataDirectory { path: path.into(), owner, mode: 0o700, selinux: None }
}

/// A member's configuration in its set.
pub(super) fn configured(evidence: &Evidence<'_>, set: &FoundSet) -> Configured {
    Configured::of(&evidence.settings.etcd.conf, |path| evidence.text(set, path).map(Cow::into_owned))
}

/// Where etcd's configuration and certificates are on a host: files, and directories of certificates.
pub fn files(evidence: &Evidence<'_>, host: &HostName) -> Vec<String> {
    let Some(set) = evidence.best(host, Role::Etcd) else { return Vec::new() };
    let configured = configured(evidence, set);
    let pod = match &configured.runs {
        RunsAs::StaticPod(manifest) => Some(manifest.to_string()),
        RunsAs::Unit(_) => None,
    };
    let directory = |path: &String| path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
    let certificates = configured.tls().into_iter().flatten().filter_map(|path| directory(&path));
    certificates.chain(configured.path.clone()).chain(pod).chain(POD_MANIFESTS.map(str::to_owned)).collect()
}

/// The file of a member's set with its options: its absolute path, and its text.
pub fn config(evidence: &Evidence<'_>, host: &HostName) -> Option<(String, String)> {
    let set = evidence.best(host, Role::Etcd)?;
    let path = configured(evidence, set).path?;
    let text = evidence.text(set, &path)?.into_owned();
    Some((path, text))
}

/// A member's configuration in its set.
pub(crate) struct Configured {
    /// Where its options are, if a file has them.
    path: Option<String>,
    pub(super) options: Options,
    runs: RunsAs,
    /// The manifest of its static pod.
    pod: Option<Pod>,
}

impl Configured {
    /// `read` reads a file of the host by its absolute path.
    pub(crate) fn of(conf: &Path, read: impl Fn(&str) -> Option<String>) -> Self {
        let conf = conf.display().to_string();
        let confs = std::iter::once(conf.as_str()).chain(CONF_FILES);
        let unit = RunsAs::Unit(format!("{}.service", units::ETCD[0]).into());
        for path in confs {
            let found = read(path).and_then(|text| Options::read(&text).ok());
            if let Some(options) = found.filter(|options| options.iter().next().is_some()) {
                return Self { path: Some(path.to_owned()), options, runs: unit, pod: None };
            }
        }
        for path in POD_MANIFESTS {
            let Some(text) = read(path) else { continue };
            let Ok(pod) = Pod::parse(&text) else { continue };
            let Some(etcd) = pod.etcd() else { continue };
            let mut options = Options::default();
            let mut of_options = path.to_owned();
            if let Some(sourced) = etcd.sourced() {
                let sourced = etcd.on_host(sourced).display().to_string();
                options.read_environment(&read(&sourced).unwrap_or_default());
                of_options = sourced;
            }
            etcd.read_options(&mut options);
            let runs = RunsAs::StaticPod(path.into());
            return Self { path: Some(of_options), options, runs, pod: Some(pod) };
        }
        Self { path: None, options: Options::default(), runs: unit, pod: None }
    }

    /// The host's path of a path in the configuration.
    pub(super) fn on_host(&self, path: &str) -> String {
        let etcd = self.pod.as_ref().and_then(Pod::etcd);
        etcd.map_or_else(|| path.to_owned(), |etcd| etcd.on_host(path.as_ref()).display().to_string())
    }

    /// What a client on the member itself uses, as paths on the host: CA, certificate, key.
    pub(crate) fn tls(&self) -> Option<[String; 3]> {
        let file = |names: &[&str]| Some(self.on_host(self.options.first(names)?));
        let ca = file(&Options::CA)?;
        let pairs = self.options.client_pairs();
        let [cert, key] = pairs.iter().find_map(|[cert, key]| Some([file(&[cert])?, file(&[key])?]))?;
        Some([ca, cert, key])
    }
}

/// Whether the members that a set lists are those of the plan: a restore that leaves one out makes another cluster.
pub fn compare_members(facts: &EtcdFacts, plan: &EtcdPlan) -> Vec<String> {
    let listed = facts.members.iter().filter(|member| !member.learner);
    listed
        .filter(|listed| !listed.name.is_empty())
        .filter(|listed| plan.members.iter().all(|member| *listed.name != *member.name))
        .map(|listed| {
            format!("the cluster had a member `{}` that is not an etcd host of the inventory", listed.name)
        })
        .collect()
}
