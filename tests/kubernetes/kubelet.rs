//! A real kubelet with Debian's containerd on a host of the lab, as the packages of Kubernetes install it. Nothing can be pulled there: the
//! images of the pods are imported.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::etcd::Release;
use kit::lab::cmd::{Cmd, poll};
use kit::lab::{Host, HostFile};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::cluster::program;

const IMPORT: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(60);

/// Runs before containerd: a container's control groups are read-only where its host's are, and a kubelet reads the kernel's log.
const CGROUPS: &str = "[Unit]\nBefore=containerd.service\n[Service]\nType=oneshot\nExecStart=/bin/sh -c '\
    mount -o remount,rw /sys/fs/cgroup; \
    for group in /sys/fs/cgroup/*/; do mount -o remount,bind,rw $$group || true; done; \
    ln -sf /dev/null /dev/kmsg'\n[Install]\nWantedBy=multi-user.target\n";
/// runc may not lower the score of a container here.
const CONTAINERD: &str = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n\
    sandbox_image = \"registry.k8s.io/pause:3.10\"\nrestrict_oom_score_adj = true\n";
const UNIT: &str = "[Unit]\nDescription=kubelet: The Kubernetes Node Agent\nAfter=network-online.target\n\
    [Service]\nExecStart=/usr/bin/kubelet\nRestart=always\nStartLimitInterval=0\nRestartSec=10\n\
    [Install]\nWantedBy=multi-user.target\n";
/// As kubeadm's package has it.
const DROP_IN: &str = "[Service]\n\
    Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf\"\n\
    Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
    EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\n\
    ExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n";

/// The images of a control plane, each a docker archive.
pub struct Images {
    directory: TempDir,
    archives: Vec<PathBuf>,
}

/// An image's name, and the programs in it.
type Image<'i> = (&'i str, Vec<PathBuf>);

impl Images {
    pub fn new(etcd: &Release) -> Self {
        let images: [Image<'_>; 4] = [
            ("registry.k8s.io/etcd:1", ["etcd", "etcdctl", "etcdutl"].map(|name| etcd.program(name)).into()),
            ("registry.k8s.io/kube-apiserver:1", vec![program("kube-apiserver")]),
            ("registry.k8s.io/kube-controller-manager:1", vec![program("kube-controller-manager")]),
            ("registry.k8s.io/pause:3.10", vec![program("pause")]),
        ];
        let mut all = Self { directory: TempDir::new().unwrap(), archives: Vec::new() };
        all.archives = images.iter().map(|image| all.archive(image)).collect();
        all
    }

    /// `docker save` of an image of one layer (github.com/moby/docker-image-spec).
    fn archive(&self, (name, programs): &Image<'_>) -> PathBuf {
        let directory = self.directory.path().join(name.replace(['/', ':'], "-"));
        let bin = directory.join("root/usr/local/bin");
        fs::create_dir_all(&bin).unwrap();
        for program in programs {
            fs::copy(program, bin.join(program.file_name().unwrap())).unwrap();
        }
        let tar = |to: &str, from: &Path, names: &[&str]| {
            let cmd = Cmd::new("tar").args(["--owner=0", "--group=0", "--create", "--file"]);
            cmd.arg(directory.join(to)).arg("--directory").arg(from).args(names).timeout(SOON).run().unwrap();
        };
        tar("layer.tar", &directory.join("root"), &["usr"]);
        let layer = sha256(&directory.join("layer.tar"));
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/usr/local/bin"],"Entrypoint":["/usr/local/bin/{}"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#,
            programs[0].file_name().unwrap().display(),
        );
        let manifest =
            format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":["layer.tar"]}}]"#);
        fs::write(directory.join("config.json"), config).unwrap();
        fs::write(directory.join("manifest.json"), manifest).unwrap();
        tar("image.tar", &directory, &["manifest.json", "config.json", "layer.tar"]);
        fs::remove_dir_all(directory.join("root")).unwrap();
        fs::remove_file(directory.join("layer.tar")).unwrap();
        directory.join("image.tar")
    }
}

/// In hexadecimal.
pub fn sha256(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Packages and images, without a configuration: the kubelet does not run yet. etcd runs in a container alone.
pub fn install(host: &Host, images: &Images) {
    host.run_for("dpkg --purge etcd-server etcd-client", SOON).unwrap();
    host.push(&program("kubelet"), "/usr/bin/kubelet").unwrap();
    host.write_files(&[
        HostFile::new("/etc/systemd/system/lab-cgroups.service", 0o644, CGROUPS),
        HostFile::new("/etc/containerd/config.toml", 0o644, CONTAINERD),
        HostFile::new("/lib/systemd/system/kubelet.service", 0o644, UNIT),
        HostFile::new("/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", 0o644, DROP_IN),
    ])
    .unwrap();
    host.run("chmod 0755 /usr/bin/kubelet && systemctl daemon-reload").unwrap();
    host.systemctl("enable --now --quiet lab-cgroups.service").unwrap();
    host.systemctl("restart containerd.service").unwrap();
    host.systemctl("enable --quiet kubelet.service").unwrap();
    for archive in &images.archives {
        host.push(archive, "/root/image.tar").unwrap();
        host.run_for("ctr --namespace k8s.io images import /root/image.tar && rm /root/image.tar", IMPORT)
            .unwrap();
    }
}

/// Waits until a port of the host accepts connections.
pub fn wait_for_port(host: &Host, port: u16) {
    let line = format!("ss -Hltn 'sport = :{port}' | grep -q .");
    poll(&format!("port {port} of {}", host.name), Duration::from_secs(120), || {
        host.run(&line).map(drop).map_err(|_| logged(host))
    })
    .unwrap();
}

/// What the kubelet and the last container of each kind have logged.
pub fn logged(host: &Host) -> String {
    let line =
        "journalctl --unit=kubelet --no-pager --output=cat --lines=40; tail -n 15 /var/log/containers/*.log";
    host.try_run(line).map(|output| output.text()).unwrap_or_default()
}
