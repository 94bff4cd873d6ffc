//! The local member's client URL and TLS files: from the settings, else its configuration file, else its static pod.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nightshift_core::etcd_config::pod::Pod;
use nightshift_core::etcd_config::{CONF_FILES, Options, POD_MANIFESTS};
use nightshift_core::settings::EtcdSettings;

use crate::small_file::read_small;

/// Where etcd listens for clients if its configuration does not say so.
const DEFAULT_CLIENT_URL: &str = "http://localhost:2379";

/// The maximum number of files in a directory of static pods that are searched for etcd.
const MAX_MANIFESTS: usize = 64;

/// How to connect to this host's member, and its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalMember {
    /// A URL, `https://10.0.3.1:2379`.
    pub endpoint: String,
    pub tls: TlsFiles,
    /// Where it serves HTTP, if that is another port than that of gRPC (`--listen-client-http-urls`).
    pub http_url: Option<String>,
    /// Where the endpoint is from, for errors; empty if it is set in `[etcd]`.
    pub origin: String,
    /// Its name in its configuration; `None` if only the settings describe it.
    pub name: Option<String>,
    /// Its data directory.
    pub data_dir: Option<PathBuf>,
    /// The directory of its write-ahead log, if that is not below its data directory.
    pub wal_dir: Option<PathBuf>,
    /// etcd.conf or the pod's manifest, and the certificates and keys that they name.
    pub files: Vec<PathBuf>,
}

/// The files of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error(
        "found no etcd member on this host: none of {} exists; set `endpoint`, `ca`, `cert` and `key` in [etcd]",
        listed(.searched)
    )]
    NothingFound { searched: Vec<PathBuf> },
    #[error("cannot read {}, the configuration of the etcd member", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not the manifest of a pod", .path.display())]
    NotAManifest { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("{} has no container that runs etcd", .path.display())]
    NoContainer { path: PathBuf },
    #[error("{} is not a configuration of etcd in YAML", .path.display())]
    NotYaml { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error(
        "{} has a client URL that is neither http nor https ({url}); set `endpoint` in [etcd]",
        .path.display()
    )]
    NoClientUrl { path: PathBuf, url: String },
    #[error(
        "{endpoint} uses TLS, but its CA is unknown: [etcd] has no `ca`, and {}",
        match .path {
            Some(path) => format!("{} has no ETCD_TRUSTED_CA_FILE (--trusted-ca-file)", path.display()),
            None => "no etcd.conf or static pod was found".to_owned(),
        }
    )]
    NoCa { endpoint: String, path: Option<PathBuf> },
    #[error("[etcd] has only one of `cert` and `key`; set both")]
    HalfIdentity,
}

fn listed(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// Finds the local member. Paths are relative to `root`, which is `/` except in tests.
pub fn discover(settings: &EtcdSettings, root: &Path) -> Result<LocalMember, DiscoverError> {
    if settings.cert.is_some() != settings.key.is_some() {
        return Err(DiscoverError::HalfIdentity);
    }
    let (described, others) = find_description(settings, root)?;
    let endpoint = match (&settings.endpoint, &described) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(described)) => described.client_url()?,
        (None, None) => return Err(DiscoverError::NothingFound { searched: places(settings, root) }),
    };
    // The other members may use TLS even if this one's own endpoint, on loopback, does not.
    let tls = tls_files(settings, described.as_ref(), root);
    if endpoint.starts_with("https:") && tls.ca.is_none() {
        return Err(DiscoverError::NoCa { endpoint, path: described.map(|described| described.path) });
    }
    let option = |name| Some(described.as_ref()?.options.first(&[name])?.to_owned());
    Ok(LocalMember {
        http_url: option("ETCD_LISTEN_CLIENT_HTTP_URLS").as_deref().and_then(first_url),
        origin: match &described {
            Some(described) if settings.endpoint.is_none() => origin(&described.path, &others),
            _ => String::new(),
        },
        endpoint,
        tls,
        name: option("ETCD_NAME"),
        data_dir: described.as_ref().and_then(|described| described.file(&["ETCD_DATA_DIR"])),
        wal_dir: described.as_ref().and_then(|described| described.file(&["ETCD_WAL_DIR"])),
        files: described.map_or_else(Vec::new, |described| described.files()),
    })
}

/// Names the file that gave an endpoint, and others that describe a member of this host too.
fn origin(path: &Path, others: &[PathBuf]) -> String {
    let path = path.display();
    if others.is_empty() {
        return format!(" (from {path})");
    }
    format!(
        " (from {path}; etcd is also configured in {}: set `conf` or `endpoint` in [etcd])",
        listed(others)
    )
}

/// Each setting takes precedence over the configuration.
fn tls_files(settings: &EtcdSettings, described: Option<&Described>, root: &Path) -> TlsFiles {
    let set = |path: &Option<PathBuf>| path.as_ref().map(|path| below(root, path));
    let pair = set(&settings.cert).zip(set(&settings.key)).or_else(|| {
        let described = described?;
        described
            .options
            .client_pairs()
            .iter()
            .find_map(|[cert, key]| described.file(&[cert]).zip(described.file(&[key])))
    });
    let (cert, key) = pair.unzip();
    TlsFiles { ca: set(&settings.ca).or_else(|| described?.file(&Options::CA)), cert, key }
}

/// The configuration of this host's member.
struct Described {
    path: PathBuf,
    options: Options,
    /// The pod that it runs in; its paths are those in the container.
    pod: Option<Pod>,
    /// An environment file that the pod sources.
    sourced: Option<PathBuf>,
    root: PathBuf,
}

fn conf_files(settings: &EtcdSettings) -> impl Iterator<Item = &Path> {
    let further = CONF_FILES.map(Path::new).into_iter().filter(|path| *path != settings.conf);
    std::iter::once(settings.conf.as_path()).chain(further)
}

fn places(settings: &EtcdSettings, root: &Path) -> Vec<PathBuf> {
    conf_files(settings).chain(POD_MANIFESTS.map(Path::new)).map(|path| below(root, path)).collect()
}

/// The first configuration of a member, and the paths of further ones. Only the first is used, so a later one that cannot be read
/// is skipped. A file without any option comes last: a package installs one of comments only, whatever etcd runs on the host.
fn find_description(
    settings: &EtcdSettings,
    root: &Path,
) -> Result<(Option<Described>, Vec<PathBuf>), DiscoverError> {
    let mut found = Vec::new();
    let confs = conf_files(settings).map(|path| from_conf(below(root, path), root));
    let manifests = POD_MANIFESTS.map(|manifest| below(root, Path::new(manifest)));
    let pods = manifests.iter().flat_map(|manifest| {
        let named = read_text(manifest)
            .and_then(|text| text.map(|text| from_manifest(manifest.clone(), &text, root)).transpose());
        let others = other_manifests(manifest, root).into_iter().map(|other| Ok(Some(other)));
        std::iter::once(named).chain(others)
    });
    for described in confs.chain(pods) {
        match described {
            Ok(described) => found.extend(described),
            Err(error) if found.iter().all(Described::is_empty) => return Err(error),
            Err(_) => {}
        }
    }
    found.sort_by_key(Described::is_empty);
    let mut found = found.into_iter();
    let first = found.next();
    Ok((first, found.map(|described| described.path).collect()))
}

fn from_conf(path: PathBuf, root: &Path) -> Result<Option<Described>, DiscoverError> {
    let Some(text) = read_text(&path)? else { return Ok(None) };
    let options = Options::read(&text)
        .map_err(|source| DiscoverError::NotYaml { path: path.clone(), source: Box::new(source) })?;
    Ok(Some(Described { path, options, pod: None, sourced: None, root: root.to_owned() }))
}

/// Further pods of etcd beside a manifest: the kubelet runs every file in that directory, whatever its name, also
/// `etcd.yaml.backup`. Files that are not manifests are skipped.
fn other_manifests(manifest: &Path, root: &Path) -> Vec<Described> {
    let Some(listing) = manifest.parent().and_then(|directory| fs::read_dir(directory).ok()) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = listing.flatten().take(MAX_MANIFESTS).map(|entry| entry.path()).collect();
    paths.sort();
    let is_hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let others = paths.into_iter().filter(|path| path != manifest && !is_hidden(path));
    others.filter_map(|path| from_manifest(path.clone(), &read_text(&path).ok()??, root).ok()).collect()
}

fn from_manifest(path: PathBuf, text: &str, root: &Path) -> Result<Described, DiscoverError> {
    let pod = Pod::parse(text)
        .map_err(|source| DiscoverError::NotAManifest { path: path.clone(), source: Box::new(source) })?;
    let Some(etcd) = pod.etcd() else { return Err(DiscoverError::NoContainer { path }) };
    let mut options = Options::default();
    let sourced = etcd.sourced().map(|inside| below(root, &etcd.on_host(inside)));
    if let Some(sourced) = &sourced {
        options.read_environment(&read_text(sourced)?.unwrap_or_default());
    }
    etcd.read_options(&mut options);
    Ok(Described { path, options, pod: Some(pod), sourced, root: root.to_owned() })
}

impl Described {
    fn is_empty(&self) -> bool {
        self.options.iter().next().is_none()
    }

    /// The first URL that a client on this host can use: an advertised one, else one that etcd listens on, else etcd's default.
    fn client_url(&self) -> Result<String, DiscoverError> {
        let names = ["ETCD_ADVERTISE_CLIENT_URLS", "ETCD_LISTEN_CLIENT_URLS"];
        let mut values = names.iter().filter_map(|name| self.options.first(&[name])).peekable();
        let Some(value) = values.peek().copied() else { return Ok(DEFAULT_CLIENT_URL.to_owned()) };
        values
            .find_map(first_url)
            .ok_or_else(|| DiscoverError::NoClientUrl { path: self.path.clone(), url: value.to_owned() })
    }

    /// The path in the first of these options, as this process opens it.
    fn file(&self, names: &[&str]) -> Option<PathBuf> {
        self.options.first(names).and_then(|value| self.opened(value))
    }

    fn opened(&self, value: &str) -> Option<PathBuf> {
        let inside = Path::new(value);
        let etcd = self.pod.as_ref().and_then(Pod::etcd);
        let on_host = etcd.map_or_else(|| inside.to_owned(), |etcd| etcd.on_host(inside));
        // A relative path is relative to etcd's working directory, which is unknown.
        on_host.is_absolute().then(|| below(&self.root, &on_host))
    }

    fn files(&self) -> Vec<PathBuf> {
        let is_file =
            |name: &str| ["_CERT_FILE", "_KEY_FILE", "_CA_FILE"].iter().any(|end| name.ends_with(end));
        let named = self.options.iter().filter(|(name, _)| is_file(name));
        let mut files: Vec<_> = named.filter_map(|(_, value)| self.opened(value)).collect();
        files.push(self.path.clone());
        files.extend(self.sourced.clone());
        files.sort();
        files.dedup();
        files
    }
}

/// The first http or https URL of a list, as a client on this host uses it.
fn first_url(urls: &str) -> Option<String> {
    let mut urls = urls.split(',').map(|url| url.trim().trim_end_matches('/'));
    let url = urls.find(|url| url.starts_with("https://") || url.starts_with("http://"))?;
    // 0.0.0.0 and [::] are all addresses of this host, and not addresses to connect to.
    Some(url.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:"))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The text of a configuration file; `None` if it does not exist.
fn read_text(path: &Path) -> Result<Option<String>, DiscoverError> {
    let unreadable = |source| DiscoverError::Unreadable { path: path.to_owned(), source };
    match read_small(path) {
        // A comment may be in any encoding.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(error)),
    }
}

#[cfg(test)]
mod tests;
