//! The operator's machine: kubectl, an informer, nightshift, and logins to all machines.

use std::cell::Cell;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use kit::etcd::Release;
use kit::lab::cmd::{Running, poll};
pub use kit::lab::operator::OPERATOR;
use kit::lab::{Host, HostFile, Lab, operator, package};
use serde_json::Value;

use crate::cluster::program;
use crate::namespace::{DEFINITION, SHOP};
use crate::site::Site;

/// A night, a step of a restore, or its whole.
pub const LONG: Duration = Duration::from_secs(600);
pub const SOON: Duration = Duration::from_secs(120);
const KINDS: &str = "namespaces,secrets,configmaps,serviceaccounts,roles,rolebindings,services,resourcequotas,\
                     persistentvolumeclaims,widgets,deployments,replicasets,pods";
/// Pods that a kubelet makes of its manifests, and makes again while it starts.
const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";

pub struct Operator<'l> {
    host: &'l Host,
    lab: &'l Lab,
    /// Lines of the informer that were read.
    read: Cell<usize>,
}

impl<'l> Operator<'l> {
    /// With nightshift, and programs of etcd that can raise a revision. `files` are those of the kubeconfig, which is `config`.
    pub fn new(lab: &'l Lab, tools: &Release, files: &[(&str, Vec<u8>)]) -> Self {
        let host = lab.host(OPERATOR);
        operator::prepare(lab, &package().unwrap(), tools).unwrap();
        for name in ["kubectl", "informer"] {
            host.push(&program(name), &format!("/root/kube/{name}")).unwrap();
        }
        host.run("chmod 0755 /root/kube/*").unwrap();
        for (name, content) in files {
            host.write_file(&HostFile::new(format!("/root/kube/{name}"), 0o600, content.as_slice())).unwrap();
        }
        Self { host, lab, read: Cell::new(0) }
    }

    /// After machines were installed again.
    pub fn is_authorized(&self) {
        operator::authorize(self.lab, self.host).unwrap();
    }

    fn kubectl(&self, words: &str) -> Result<String, String> {
        let line = format!("/root/kube/kubectl --kubeconfig /root/kube/config {words}");
        self.host.run_for(&line, SOON).map(|output| output.text()).map_err(|error| error.to_string())
    }

    /// kubectl, which succeeds soon.
    pub fn must(&self, words: &str) -> String {
        poll(words, SOON, || self.kubectl(words)).unwrap()
    }

    fn apply(&self, manifest: &str) {
        self.host.write_file(&HostFile::new("/root/kube/manifest", 0o600, manifest)).unwrap();
        self.must("apply --filename /root/kube/manifest");
    }

    /// Objects of many kinds, when the controllers have made theirs.
    pub fn make_objects(&self) {
        self.apply(DEFINITION);
        self.apply(SHOP);
        poll("the deployment's pods", SOON, || {
            let pods = self.kubectl("get pods --namespace shop --no-headers")?;
            if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
        })
        .unwrap();
    }

    /// Every object of these kinds, without what the controllers change when they start.
    pub fn objects(&self) -> Vec<Value> {
        let mut list: Value =
            serde_json::from_str(&self.must(&format!("get {KINDS} --all-namespaces --output=json"))).unwrap();
        let mut objects: Vec<Value> = serde_json::from_value(list["items"].take()).unwrap();
        objects.retain(|object| object.pointer(MIRROR).is_none());
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("status");
            let meta = object["metadata"].as_object_mut().unwrap();
            meta.remove("resourceVersion");
            meta.remove("managedFields");
        }
        objects
    }

    /// The objects are as they were, secrets are readable, and the informer has listed them again and sees a new one.
    pub fn is_served_again(&self, before: &[Value]) {
        let after = self.objects();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(before.len(), after.len());
        self.secret_is_readable();
        self.seen("list");
        self.seen("delete default/late");
        self.must("create configmap new --namespace default");
        self.seen("add default/new");
    }

    pub fn secret_is_readable(&self) {
        let password = self.must("get secret db --namespace shop --output=jsonpath={.data.password}");
        assert_eq!(password, "aHVudGVyMg==");
    }

    pub fn informer(&self) -> Running {
        let line = "exec /root/kube/informer /root/kube/config > /root/informer 2>/root/informer.err";
        self.host.spawn(line, Stdio::null()).unwrap()
    }

    /// Waits until the informer prints a line, after those that were seen before.
    pub fn seen(&self, line: &str) {
        let at = poll(line, SOON, || {
            let log = self.host.read_file("/root/informer").map_err(|error| error.to_string())?;
            let log = String::from_utf8_lossy(&log).into_owned();
            let at = log.lines().skip(self.read.get()).position(|seen| seen == line);
            at.ok_or(log)
        });
        self.read.set(self.read.get() + at.unwrap() + 1);
    }

    /// The archive of a night on this machine, as words that name it.
    pub fn take_archive(&self, site: &Site, night: &str) -> String {
        let (backup, master) = (site.host("backup1"), site.host("master1"));
        let name = format!("{}_{}.tgz.age", master.name, night.replace('-', "."));
        for ending in ["", ".sig", ".sha256"] {
            let content = backup.read_file(&format!("/home/cloud-user/{name}{ending}")).unwrap();
            self.host.write_file(&HostFile::new(format!("/root/{name}{ending}"), 0o600, content)).unwrap();
        }
        let key = fs::read(&site.key.path).unwrap();
        self.host.write_file(&HostFile::new("/root/age.txt", 0o600, key)).unwrap();
        let fingerprint = master.run("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").unwrap().text();
        let signer = fingerprint.split_whitespace().nth(1).unwrap();
        format!("--from {name} --identity age.txt --signer {signer}")
    }

    /// `nightshift restore`.
    pub fn restore(&self, words: &str) {
        let line = format!("cd /root && nightshift restore {words}");
        let ran = self.host.try_run_for(&line, LONG).unwrap();
        println!("# nightshift restore {words}\n{}\n{}", ran.text(), ran.stderr);
        assert_eq!(ran.status, 0);
    }

    pub fn rebuild(&self, origin: &str) {
        self.restore(&format!("plan {origin}"));
        self.restore("check restore-* --etcd-tools /root/etcd");
        self.restore("apply restore-*");
    }
}
