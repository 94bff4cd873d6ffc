//! The image all hosts of the lab share: a small Debian, of this machine's own release from its own apt sources, or of another
//! release from the same mirror. It is made once and kept under `target/lab/` by a hash of its recipe.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cmd::Cmd;
use super::error::{Error, Result};
use super::folder;

const PACKAGES: &[&str] = &[
    "age",
    "ca-certificates",
    "cron",
    "dbus",
    "etcd-client",
    "etcd-server",
    "gzip",
    "iproute2",
    "libfaketime",
    "openssh-client",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "python3-apt",
    "systemd",
    "systemd-sysv",
    "tar",
    "tzdata",
    "zstd",
];

/// What runs containers.
const CONTAINERS: &[&str] = &["containerd", "runc"];

/// What a host in a namespace doesn't need, or what would wake up in the middle of a test.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "container-getty@.service",
    "cron.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-udevd.service",
];

/// Runs on this machine with the image's root as `$1`. etcd reads OpenShift's file; identities are each host's own.
const CUSTOMIZE: &str = r#"set -eu
systemctl --root="$1" --quiet disable etcd.service
systemctl --root="$1" --quiet set-default multi-user.target
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/lib/dbus/machine-id
: > "$1"/etc/machine-id
mkdir -p "$1"/var/log/journal "$1"/etc/systemd/system/etcd.service.d "$1"/etc/systemd/journald.conf.d \
    "$1"/etc/systemd/system.conf.d "$1"/var/lib/nightshift
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitBurst=0\nForwardToWall=no\n' \
    > "$1"/etc/systemd/journald.conf.d/lab.conf
printf '[Manager]\nDefaultTimeoutStopSec=15s\n' > "$1"/etc/systemd/system.conf.d/lab.conf
printf '[Service]\nEnvironmentFile=/etc/etcd/etcd.conf\n' > "$1"/etc/systemd/system/etcd.service.d/openshift.conf
printf 'UseDNS no\n' > "$1"/etc/ssh/sshd_config.d/lab.conf
"#;

/// Changes every day, so its image is made again after a day.
const ROLLING: &str = "sid";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a lab's hosts are made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Image {
    /// With what runs containers.
    pub containers: bool,
    /// Debian's code name, if not this machine's release.
    pub release: Option<String>,
    /// Further packages.
    pub packages: Vec<String>,
}

impl Image {
    /// Its root folder; made first if it isn't there.
    pub fn ensure(&self) -> Result<PathBuf> {
        let further = self.packages.iter().map(String::as_str);
        let containers = if self.containers { CONTAINERS } else { &[] };
        let packages: Vec<&str> = PACKAGES.iter().chain(containers).copied().chain(further).collect();
        let recipe = Recipe::of(self.release.as_deref(), &packages.join(","))?;
        let root = folder().join(format!("image-{}", recipe.hash()));
        if root.exists() && !recipe.is_old(&root) {
            return Ok(root);
        }
        let lock_path = root.with_extension("lock");
        let lock = File::create(&lock_path).map_err(Error::io(format!("making {}", lock_path.display())))?;
        lock.lock().map_err(Error::io(format!("locking {}", lock_path.display())))?;
        // Another lab may have made it while this one waited.
        if recipe.is_old(&root) {
            remove(&root)?;
        }
        if !root.exists() {
            recipe.cook(&root)?;
        }
        Ok(root)
    }
}

fn remove(root: &Path) -> Result<()> {
    fs::remove_dir_all(root).map_err(Error::io(format!("removing {}", root.display())))
}

struct Recipe {
    release: String,
    /// Separated by commas.
    packages: String,
    /// Files, or lines as in them.
    sources: Vec<String>,
    apt_options: Vec<String>,
    customize: String,
}

impl Recipe {
    fn of(release: Option<&str>, packages: &str) -> Result<Self> {
        let own = own_release()?;
        let files = sources(&own)?;
        let release = release.unwrap_or(&own).to_owned();
        let sources = if release == own {
            files.iter().map(|file| file.display().to_string()).collect()
        } else {
            vec![format!("deb {} {release} main", mirror(&files)?)]
        };
        Ok(Self {
            packages: packages.to_owned(),
            sources,
            apt_options: apt_options()?,
            customize: format!("{CUSTOMIZE}systemctl --root=\"$1\" --quiet mask {}\n", MASKED.join(" ")),
            release,
        })
    }

    fn hash(&self) -> String {
        let text = [&self.release, &self.packages, &self.customize].map(String::as_str).join("\n");
        Sha256::digest(text).iter().take(6).fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        })
    }

    fn is_old(&self, root: &Path) -> bool {
        let made = fs::metadata(root).and_then(|root| root.modified()).ok();
        let age = made.and_then(|made| made.elapsed().ok());
        self.release == ROLLING && age.is_some_and(|age| age > DAY)
    }

    /// Made aside, then renamed: what has the final name is whole.
    fn cook(&self, root: &Path) -> Result<()> {
        let partial = root.with_extension("partial");
        if partial.exists() {
            remove(&partial)?;
        }
        Cmd::new("mmdebstrap")
            .args(["--variant=minbase", "--mode=root", "--quiet"])
            .arg(format!("--include={}", self.packages))
            .args(self.apt_options.iter().map(|option| format!("--aptopt={option}")))
            .arg(format!("--customize-hook={}", self.customize))
            .arg(&self.release)
            .arg(&partial)
            .args(&self.sources)
            .timeout(Duration::from_secs(900))
            .run()?;
        fs::rename(&partial, root).map_err(Error::io(format!("renaming {}", partial.display())))
    }
}

/// The code name of this machine's release.
fn own_release() -> Result<String> {
    let os = fs::read_to_string("/etc/os-release").map_err(Error::io("reading /etc/os-release"))?;
    (os.lines())
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .ok_or_else(|| {
            Error::Refused("/etc/os-release names no VERSION_CODENAME: the lab needs Debian or a kin".into())
        })
}

/// The machine's apt sources that speak of its release; those of other vendors are left out.
fn sources(release: &str) -> Result<Vec<PathBuf>> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "list" || ext == "sources"))
        .chain([PathBuf::from("/etc/apt/sources.list")])
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines = text.lines().filter(|line| line.starts_with("Suites:") || line.starts_with("deb "));
            lines.flat_map(str::split_whitespace).any(|word| word.starts_with(release))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::Refused(format!("no apt source of {release} under /etc/apt")));
    }
    Ok(files)
}

/// The first address in these sources, which has all releases.
fn mirror(files: &[PathBuf]) -> Result<String> {
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    let lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let lines = lines.iter().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    let mut words = lines.flat_map(|line| line.split_whitespace());
    (words.find(|word| word.starts_with("http")))
        .map(str::to_owned)
        .ok_or_else(|| Error::Refused(format!("no address in {files:?}: it needs a mirror of Debian")))
}

/// How this machine reaches its sources: proxies, and what it says of their dates.
fn apt_options() -> Result<Vec<String>> {
    let dump = Cmd::new("apt-config").arg("dump").run()?.text();
    let kept = ["Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries"];
    Ok((dump.lines())
        .filter(|line| kept.iter().any(|prefix| line.starts_with(prefix)))
        .map(str::to_owned)
        .collect())
}
