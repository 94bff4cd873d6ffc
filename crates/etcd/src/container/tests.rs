#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::*;

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const LAYER: &str = "3333333333333333333333333333333333333333333333333333333333333333";

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: { name: etcd, namespace: kube-system }\nspec:\n  containers:\n  - name: etcd\n    command: [etcd, --name=e1]\n";

/// A host with the directories of its runtimes.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        host.write("etc/kubernetes/manifests/etcd.yaml", POD.as_bytes());
        host
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The kubelet's link to the log of a container.
    fn logs(&self, name: &str) {
        let directory = self.root().join(LOGS);
        fs::create_dir_all(&directory).unwrap();
        symlink("/var/log/pods/x/0.log", directory.join(name)).unwrap();
    }

    fn program(&self, rootfs: &str, path: &str) {
        self.write(&format!("{rootfs}/{path}"), format!("\x7fELF {rootfs} {path}").as_bytes());
    }

    fn found(&self) -> Result<(String, String, String), ContainerError> {
        let manifest = self.root().join("etc/kubernetes/manifests/etcd.yaml");
        let key = self.root().join("etc/kubernetes/pki/etcd/server.key");
        let Programs { container, etcd, restorer } = programs(self.root(), &[key, manifest])?;
        let text = |Program { name, mut file, .. }: Program| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            (name.as_str(), text)
        };
        let ((_, etcd), (restorer, _)) = (text(etcd), text(restorer));
        Ok((container, etcd, restorer.to_owned()))
    }
}

fn containerd(id: &str) -> String {
    format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/rootfs")
}

#[test]
fn the_static_pods_container_is_found_and_never_another_pods() {
    let host = Host::new();
    assert!(matches!(host.found(), Err(ContainerError::NoContainer)));
    for (pod, id) in [
        ("shop-etcd-e1_kube-system_etcd", OTHER),
        ("etcd-e1_shop_etcd", OTHER),
        ("etcd-e1_kube-system_sidecar", OTHER),
        ("etcd-e1_kube-system_etcd_x", OTHER),
        ("etcd_kube-system_etcd", OTHER),
        ("etcd-e1_kube-system_etcd", "../../../../tmp/planted"),
    ] {
        host.logs(&format!("{pod}-{}.log", id.replace('/', "_")));
    }
    host.program(&containerd(OTHER), "usr/local/bin/etcd");
    host.program(&containerd(OTHER), "usr/local/bin/etcdctl");
    assert!(matches!(host.found(), Err(ContainerError::NoContainer)));

    host.logs(&format!("etcd-e1.site.test_kube-system_etcd-{ID}.log"));
    assert!(matches!(host.found(), Err(ContainerError::NotMounted { container }) if container == ID));
    let rootfs = containerd(ID);
    host.program(&rootfs, "usr/local/bin/etcd");
    let missing = host.found().unwrap_err().to_string();
    assert!(missing.ends_with("has no etcdutl or etcdctl in usr/local/bin, usr/bin, opt/etcd"), "{missing}");
    host.program(&rootfs, "usr/bin/etcdctl");
    let etcd = format!("\x7fELF {rootfs} usr/local/bin/etcd");
    assert_eq!(host.found().unwrap(), (ID.to_owned(), etcd.clone(), "etcdctl".to_owned()));
    host.program(&rootfs, "usr/local/bin/etcdutl");
    assert_eq!(host.found().unwrap(), (ID.to_owned(), etcd, "etcdutl".to_owned()));
}

#[test]
fn a_link_in_the_root_file_system_and_what_is_no_program_are_refused() {
    let host = Host::new();
    host.logs(&format!("etcd-e1_kube-system_etcd-{ID}.log"));
    let rootfs = containerd(ID);
    host.program("elsewhere", "etcd");
    host.program(&rootfs, "usr/local/bin/etcdctl");
    let etcd = host.root().join(&rootfs).join("usr/local/bin/etcd");
    symlink(host.root().join("elsewhere/etcd"), &etcd).unwrap();
    assert!(host.found().is_err(), "a link to a file of the host");
    fs::remove_file(&etcd).unwrap();
    // As a directory on the way.
    symlink(host.root().join("elsewhere"), host.root().join(&rootfs).join("usr/bin")).unwrap();
    assert!(matches!(host.found(), Err(ContainerError::NoProgram { what: "etcd", .. })));
    for content in [&b"#!/bin/sh\n"[..], b"", b"\x7fE"] {
        fs::write(&etcd, content).unwrap();
        assert!(matches!(host.found(), Err(ContainerError::NotAProgram { .. })), "{content:?}");
    }
    fs::remove_file(&etcd).unwrap();
    File::create(&etcd).unwrap().set_len(MAX_PROGRAM + 1).unwrap();
    assert!(matches!(host.found(), Err(ContainerError::NotAProgram { .. })), "too large");
    fs::remove_file(&etcd).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &etcd, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(host.found(), Err(ContainerError::NotAProgram { .. })), "a pipe");
}

#[test]
fn rke2s_container_is_found_by_its_own_manifest_and_containerd() {
    let host = Host(tempfile::tempdir().unwrap());
    host.write(RKE2_MANIFEST, POD.as_bytes());
    host.logs(&format!("etcd-e1_kube-system_etcd-{ID}.log"));
    let rootfs = format!("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/rootfs");
    host.program(&rootfs, "usr/local/bin/etcd");
    host.program(&rootfs, "usr/local/bin/etcdctl");
    assert_eq!(host.found().unwrap().0, ID);
}

#[test]
fn dockers_and_cri_os_containers_are_found_by_their_state() {
    for (driver, rootfs) in [
        ("overlay2", format!("var/lib/docker/overlay2/{LAYER}/merged")),
        ("devicemapper", format!("var/lib/docker/devicemapper/mnt/{LAYER}/rootfs")),
    ] {
        let host = Host::new();
        host.logs(&format!("etcd-e1_kube-system_etcd-{ID}.log"));
        host.write(&format!("var/lib/docker/image/{driver}/layerdb/mounts/{ID}/mount-id"), LAYER.as_bytes());
        host.program(&rootfs, "usr/bin/etcd");
        host.program(&rootfs, "usr/bin/etcdctl");
        assert_eq!(host.found().unwrap().0, ID, "{driver}");
        let state = "../../../../../elsewhere";
        host.write(&format!("var/lib/docker/image/{driver}/layerdb/mounts/{ID}/mount-id"), state.as_bytes());
        assert!(host.found().is_err(), "a mount is a name");
    }

    let host = Host::new();
    host.logs(&format!("etcd-e1_kube-system_etcd-{ID}.log"));
    let state =
        format!(r#"[{{"id":"{OTHER}","layer":"x"}},{{"id":"{ID}","layer":"{LAYER}","names":["etcd"]}}]"#);
    host.write("var/lib/containers/storage/overlay-containers/containers.json", state.as_bytes());
    let rootfs = format!("var/lib/containers/storage/overlay/{LAYER}/merged");
    host.program(&rootfs, "usr/bin/etcd");
    host.program(&rootfs, "usr/bin/etcdctl");
    assert_eq!(host.found().unwrap().0, ID);

    // A unit that runs docker: OpenShift up to 3.9.
    let host = Host(tempfile::tempdir().unwrap());
    let container = |id: &str, name: &str, running: bool| {
        let state = format!(r#"{{"ID":"{id}","Name":"{name}","State":{{"Running":{running},"Pid":1}}}}"#);
        host.write(&format!("var/lib/docker/containers/{id}/config.v2.json"), state.as_bytes());
        host.write(&format!("var/lib/docker/image/overlay2/layerdb/mounts/{id}/mount-id"), id.as_bytes());
        host.program(&format!("var/lib/docker/overlay2/{id}/merged"), "usr/bin/etcd");
        host.program(&format!("var/lib/docker/overlay2/{id}/merged"), "usr/bin/etcdctl");
    };
    container(OTHER, "/shop_etcd_container", true);
    assert!(matches!(host.found(), Err(ContainerError::NoContainer)));
    container(LAYER, "/etcd_container", false);
    assert!(matches!(host.found(), Err(ContainerError::NoContainer)), "it does not run");
    container(ID, "/etcd_container", true);
    assert_eq!(host.found().unwrap().0, ID);
}
