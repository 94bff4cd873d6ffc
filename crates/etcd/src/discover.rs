//! The local member's client URL and TLS files: from the settings, else etcd.conf, else its static pod.

use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::settings::EtcdSettings;

use crate::options::{Options, read_small};
use crate::pod::Pod;

/// The manifests of etcd's static pod: OpenShift 3.10 and 3.11, and kubeadm.
pub const POD_MANIFESTS: [&str; 2] =
    ["/etc/origin/node/pods/etcd.yaml", "/etc/kubernetes/manifests/etcd.yaml"];

/// How to connect to this host's member, and its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalMember {
    /// A URL, `https://10.0.3.1:2379`.
    pub endpoint: String,
    pub tls: TlsFiles,
    /// Its name in its configuration; `None` if only the settings describe it.
    pub name: Option<String>,
    /// Its data directory.
    pub data_dir: Option<PathBuf>,
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
    #[error(
        "{} contains no client URL: neither ETCD_ADVERTISE_CLIENT_URLS nor ETCD_LISTEN_CLIENT_URLS \
         (--advertise-client-urls, --listen-client-urls) has an http or https URL; set `endpoint` in [etcd]",
        .path.display()
    )]
    NoClientUrl { path: PathBuf },
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
    let described = find_description(settings, root)?;
    let endpoint = match (&settings.endpoint, &described) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(described)) => described.client_url()?,
        (None, None) => return Err(DiscoverError::NothingFound { searched: places(settings, root) }),
    };
    let mut tls = TlsFiles::default();
    if endpoint.starts_with("https:") {
        tls = tls_files(settings, described.as_ref(), root);
        if tls.ca.is_none() {
            return Err(DiscoverError::NoCa { endpoint, path: described.map(|described| described.path) });
        }
    }
    Ok(LocalMember {
        endpoint,
        tls,
        name: described
            .as_ref()
            .and_then(|described| Some(described.options.first(&["ETCD_NAME"])?.to_owned())),
        data_dir: described.as_ref().and_then(|described| described.file(&["ETCD_DATA_DIR"])),
        files: described.map_or_else(Vec::new, |described| described.files()),
    })
}

/// Each setting takes precedence over the configuration; a client uses the peer's certificate, else the server's.
fn tls_files(settings: &EtcdSettings, described: Option<&Described>, root: &Path) -> TlsFiles {
    const CA: [&str; 4] =
        ["ETCD_TRUSTED_CA_FILE", "ETCD_CA_FILE", "ETCD_PEER_TRUSTED_CA_FILE", "ETCD_PEER_CA_FILE"];
    const PAIRS: [[&str; 2]; 2] =
        [["ETCD_PEER_CERT_FILE", "ETCD_PEER_KEY_FILE"], ["ETCD_CERT_FILE", "ETCD_KEY_FILE"]];
    let set = |path: &Option<PathBuf>| path.as_ref().map(|path| below(root, path));
    let pair = set(&settings.cert).zip(set(&settings.key)).or_else(|| {
        let described = described?;
        PAIRS.iter().find_map(|[cert, key]| described.file(&[cert]).zip(described.file(&[key])))
    });
    let (cert, key) = pair.unzip();
    TlsFiles { ca: set(&settings.ca).or_else(|| described?.file(&CA)), cert, key }
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

fn places(settings: &EtcdSettings, root: &Path) -> Vec<PathBuf> {
    let conf = settings.conf.as_path();
    std::iter::once(conf).chain(POD_MANIFESTS.map(Path::new)).map(|path| below(root, path)).collect()
}

fn find_description(settings: &EtcdSettings, root: &Path) -> Result<Option<Described>, DiscoverError> {
    let conf = below(root, &settings.conf);
    if let Some(text) = read_text(&conf)? {
        let mut options = Options::default();
        options.read_environment(&text);
        return Ok(Some(Described { path: conf, options, pod: None, sourced: None, root: root.to_owned() }));
    }
    for manifest in POD_MANIFESTS {
        let path = below(root, Path::new(manifest));
        if let Some(text) = read_text(&path)? {
            return from_manifest(path, &text, root).map(Some);
        }
    }
    Ok(None)
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
    /// The first URL that a client on this host can use: an advertised one, else one that etcd listens on.
    fn client_url(&self) -> Result<String, DiscoverError> {
        ["ETCD_ADVERTISE_CLIENT_URLS", "ETCD_LISTEN_CLIENT_URLS"]
            .iter()
            .filter_map(|name| self.options.first(&[name]))
            .flat_map(|urls| urls.split(','))
            .map(|url| url.trim().trim_end_matches('/'))
            .find(|url| url.starts_with("https://") || url.starts_with("http://"))
            // 0.0.0.0 and [::] are all addresses of this host, and not addresses to connect to.
            .map(|url| url.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:"))
            .ok_or_else(|| DiscoverError::NoClientUrl { path: self.path.clone() })
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

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The text of a configuration file; `None` if it does not exist.
fn read_text(path: &Path) -> Result<Option<String>, DiscoverError> {
    let unreadable = |source| DiscoverError::Unreadable { path: path.to_owned(), source };
    match read_small(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| unreadable(io::Error::other(error)))?;
            Ok(Some(text))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(error)),
    }
}

#[cfg(test)]
mod tests;
