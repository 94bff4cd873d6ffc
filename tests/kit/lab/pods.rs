//! A control plane of static pods in the layout of OpenShift 3.11, on hosts that are masters and members. What cannot be had is a stand-in:
//! the kubelet is a script that runs a directory's manifests, the API server a program that listens at its port, and `master-restart`
//! does nothing and succeeds, as it does on some hosts.

use super::cluster::Lab;
use super::cmd::side_by_side;
use super::error::Result;
use super::host::Host;
use super::inside::HostFile;
use super::topology::Role;

const PODS: &str = "/etc/origin/node/pods";
const KUBELET: &str = "/usr/local/bin/kubelet-of-lab";
pub const UNIT: &str = "atomic-openshift-node.service";

const API: &str = "/usr/local/bin/api-of-lab";
/// Listens where the API server does.
const LISTENER: &str = "#!/usr/bin/perl -w\nuse IO::Socket::INET;\n\
    my $port = IO::Socket::INET->new(Listen => 9, LocalPort => 8443, ReuseAddr => 1) or die;\n1 while $port->accept;\n";

/// Runs what a manifest's `command` says, each as a unit of its own: pods continue when the kubelet stops, and end when their manifest is
/// removed.
const SCRIPT: &str = r#"#!/bin/bash
mkdir -p /run/lab-pods
while :; do
    for manifest in "$1"/*; do
        [ -f "$manifest" ] || continue
        name=$(sed -n 's/^  name: //p' "$manifest" | head -n 1)
        sum=$(sha256sum < "$manifest")
        if [ "$(cat "/run/lab-pods/$name" 2>/dev/null)" != "$sum" ] || ! systemctl --quiet is-active "pod-$name"; then
            systemctl stop "pod-$name" 2>/dev/null
            mapfile -t words < <(sed -n '/^    command:/,/^    [^ -]/s/^    - //p' "$manifest")
            systemd-run --quiet --collect --unit="pod-$name" --property=Restart=always --property=RestartSec=1 -- "${words[@]}" &&
                echo "$sum" > "/run/lab-pods/$name"
        fi
    done
    for state in /run/lab-pods/*; do
        name=${state##*/}
        if [ -f "$state" ] && ! grep -qsx "  name: $name" "$1"/*; then
            systemctl stop "pod-$name"
            rm -f "$state"
        fi
    done
    sleep 0.3
done
"#;

/// Turns the services of a founded cluster into static pods, on hosts that are masters and members. Nodes get a kubelet alone.
pub fn instead_of_services(lab: &Lab) -> Result<()> {
    side_by_side(&lab.hosts().iter().collect::<Vec<_>>(), |host| {
        if host.has(Role::Master) {
            host.run("systemctl disable --now --quiet etcd.service && chown -R root:root /var/lib/etcd")?;
            host.write_file(&HostFile::new(API, 0o755, LISTENER))?;
            host.write_files(&manifests())?;
            host.write_file(&HostFile::new("/usr/local/bin/master-restart", 0o755, "#!/bin/sh\nexit 0\n"))?;
        }
        if host.has(Role::Master) || host.has(Role::Node) {
            kubelet(host)?;
        }
        Ok(())
    })
    .map(drop)
}

fn kubelet(host: &Host) -> Result<()> {
    let unit = format!(
        "[Service]\nExecStart={KUBELET} {PODS}\nKillMode=process\n[Install]\nWantedBy=multi-user.target\n"
    );
    host.write_files(&[
        HostFile::new(KUBELET, 0o755, SCRIPT),
        HostFile::new(format!("/etc/systemd/system/{UNIT}"), 0o644, unit),
    ])?;
    host.run(&format!("mkdir -p {PODS} && systemctl enable --now --quiet {UNIT}")).map(drop)
}

fn manifests() -> Vec<HostFile> {
    let etcd = "/bin/sh\n    - -c\n    - set -a; . /etc/etcd/etcd.conf; exec etcd";
    [
        ("etcd", "master-etcd", "etcd", etcd),
        ("apiserver", "master-api", "api", API),
        ("controller", "master-controllers", "controllers", "sleep\n    - infinity"),
    ]
    .map(|(file, pod, container, command)| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {pod}\n  namespace: kube-system\nspec:\n  hostNetwork: true\n  \
             containers:\n  - name: {container}\n    image: registry.example.com/{container}:v3.11\n    command:\n    - {command}\n    \
             workingDir: /\n"
        );
        HostFile::new(format!("{PODS}/{file}.yaml"), 0o600, text)
    })
    .into()
}
