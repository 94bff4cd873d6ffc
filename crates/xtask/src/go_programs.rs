//! Programs that Debian 12 and 13 do not package, built from their published modules, pinned by `tests/go/*/go.sum`: etcd 3.6 and 3.7,
//! and Kubernetes.

use std::fs;

use crate::error::{Error, Result};
use crate::run::{command, output, step};
use crate::workspace::{self, emptied};

const ETCD: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
    ("etcdutl", "go.etcd.io/etcd/etcdutl/v3"),
];
const KUBERNETES: [(&str, &str); 6] = [
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ("informer", "./informer"),
    ("pause", "./pause"),
];

/// Makes `target/tools/etcd-RELEASE/usr/bin`, or prints why it cannot; tests that need it fail or skip by themselves.
pub fn etcd(release: &str) -> Result<()> {
    let name = format!("etcd-{release}");
    match ensure(&name, &ETCD) {
        Err(Error::Missing(reason)) => {
            println!("skipping {name}: {reason}");
            Ok(())
        }
        made => made,
    }
}

/// Makes `target/tools/kubernetes/usr/bin`: 11 minutes of processor time, 350 MB.
pub fn kubernetes() -> Result<()> {
    ensure("kubernetes", &KUBERNETES)
}

fn ensure(name: &str, programs: &[(&str, &str)]) -> Result<()> {
    let directory = workspace::tools().join(name).join("usr/bin");
    let missing: Vec<_> = programs.iter().filter(|(program, _)| !directory.join(program).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let installed = output(&["go", "version"]);
    if !installed.as_deref().is_some_and(is_new_enough) {
        let found = installed.as_deref().unwrap_or("Go is not installed");
        return Err(Error::Missing(format!("{name} is built by Go 1.26 or newer: {found}")));
    }
    let partial = workspace::tools().join(format!("{name}.partial"));
    emptied(&partial)?;
    fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
    let module = workspace::root().join("tests/go").join(name);
    for (program, package) in missing {
        println!("building {program} of {name}");
        let made = partial.join(program);
        let mut build = command(&["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o"]);
        build.arg(&made).arg(package);
        // Static programs, by the installed Go: the module files name no other toolchain.
        step(build.current_dir(&module).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local"))?;
        fs::rename(&made, directory.join(program)).map_err(Error::io("rename", made))?;
    }
    Ok(())
}

/// Whether `go version` names 1.26 or a newer one: `go version go1.26.8 linux/amd64`.
fn is_new_enough(version: &str) -> bool {
    let number = version.split_whitespace().find_map(|word| word.strip_prefix("go1."));
    let minor = number.and_then(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 26)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_go_1_26_and_newer_build_it() {
        for (version, wanted) in [
            ("go version go1.26.8 linux/amd64", true),
            ("go version go1.27rc1 linux/arm64", true),
            ("go version go1.19.8 linux/amd64", false),
            ("go version devel +abc linux/amd64", false),
        ] {
            assert_eq!(is_new_enough(version), wanted, "{version}");
        }
    }
}
