//! An API server and its controllers, on an etcd. Nodes and kubelets are not there: pods stay pending.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::lab::cmd::{Cmd, Output, Running, poll};
use kit::lab::tools;
use kit::pki::Authority;
use kit::port;
use serde_json::Value;

const STARTS: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(60);
/// Those that the tests need; others would find no nodes.
pub const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,deployment-controller,\
                           replicaset-controller,resourcequota-controller,root-ca-certificate-publisher-controller,\
                           persistentvolumeclaim-protection-controller";
/// Fields that differ between an object and its restored copy.
const OWN: [&str; 6] =
    ["uid", "creationTimestamp", "resourceVersion", "managedFields", "generation", "selfLink"];

pub struct Cluster {
    _controllers: Running,
    _server: Running,
    directory: PathBuf,
}

pub fn program(name: &str) -> PathBuf {
    tools().join("kubernetes/usr/bin").join(name)
}

impl Cluster {
    /// Starts it on an etcd, with secrets encrypted by this configuration.
    pub fn start(directory: &Path, etcd: &str, encryption: &Path) -> Self {
        let at = |name: &str| directory.join(name).display().to_string();
        let ca = Authority::create(directory, "ca", "/CN=ca", 100).unwrap();
        ca.issue("admin", "/O=system:masters/CN=admin", "").unwrap();
        ca.issue("serving", "/CN=kube-apiserver", "DNS:localhost,IP:127.0.0.1").unwrap();
        ca.issue("accounts", "/CN=service-accounts", "").unwrap();
        let port = port::free();
        let server = Cmd::new(program("kube-apiserver"))
            .arg(format!("--etcd-servers={etcd}"))
            .arg(format!("--encryption-provider-config={}", encryption.display()))
            .arg(format!("--client-ca-file={}", at("ca.crt")))
            .args([
                format!("--tls-cert-file={}", at("serving.crt")),
                format!("--tls-private-key-file={}", at("serving.key")),
            ])
            .args(["--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"])
            .arg(format!("--service-account-key-file={}", at("accounts.key")))
            .arg(format!("--service-account-signing-key-file={}", at("accounts.key")))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .args([&format!("--secure-port={port}"), "--service-cluster-ip-range=10.0.0.0/24"])
            .arg("--disable-admission-plugins=ServiceAccount")
            .spawn(Stdio::null())
            .unwrap();
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             clusters: [{{ name: it, cluster: {{ server: \"https://127.0.0.1:{port}\", certificate-authority: {} }} }}]\n\
             users: [{{ name: it, user: {{ client-certificate: {}, client-key: {} }} }}]\n\
             contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\n",
            at("ca.crt"),
            at("admin.crt"),
            at("admin.key")
        );
        fs::write(directory.join("kubeconfig"), config).unwrap();
        let controllers = Cmd::new(program("kube-controller-manager"))
            .arg(format!("--kubeconfig={}", at("kubeconfig")))
            .args([&format!("--controllers={CONTROLLERS}"), "--leader-elect=false"])
            .arg(format!("--root-ca-file={}", at("ca.crt")))
            .args([&format!("--secure-port={}", port::free()), "--bind-address=127.0.0.1"])
            .arg(format!("--cert-dir={}", at("certificates")));
        let ready = || ready(directory);
        poll("the API server to be ready", STARTS, ready).unwrap();
        let controllers = controllers.spawn(Stdio::null()).unwrap();
        Self { _controllers: controllers, _server: server, directory: directory.to_owned() }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// kubectl, which must succeed.
    pub fn kubectl(&self, words: &[&str]) -> Output {
        self.command().args(words).timeout(ENDS).run().unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn apply(&self, manifest: &str) {
        // A kind that was defined a moment ago may not be served yet.
        poll("the manifest to be applied", STARTS, || {
            let applied = self.command().args(["apply", "--filename", "-"]).stdin(manifest).run();
            applied.map(drop).map_err(|error| error.to_string())
        })
        .unwrap();
    }

    /// An object, if it exists.
    pub fn get(&self, namespace: &str, what: &str) -> Option<Value> {
        let words = ["get", what, "--namespace", namespace, "--ignore-not-found", "--output=json"];
        let found = self.kubectl(&words).stdout;
        (!found.is_empty()).then(|| serde_json::from_slice(&found).unwrap())
    }

    /// All objects of these kinds in a namespace, and itself, without what differs in a restored copy. Owners have names for uids.
    pub fn objects(&self, namespace: &str, kinds: &str) -> Vec<Value> {
        let listed = self.kubectl(&["get", kinds, "--namespace", namespace, "--output=json"]).stdout;
        let mut list: Value = serde_json::from_slice(&listed).unwrap();
        let mut objects: Vec<Value> = serde_json::from_value(list["items"].take()).unwrap();
        objects.push(self.get("", &format!("namespace/{namespace}")).unwrap());
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("status");
            let meta = object["metadata"].as_object_mut().unwrap();
            for field in OWN {
                meta.remove(field);
            }
            for owner in meta.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
                owner.as_object_mut().unwrap().remove("uid");
            }
        }
        objects
    }

    fn command(&self) -> Cmd {
        kubectl(&self.directory)
    }
}

fn kubectl(directory: &Path) -> Cmd {
    Cmd::new(program("kubectl")).arg("--kubeconfig").arg(directory.join("kubeconfig"))
}

fn ready(directory: &Path) -> Result<(), String> {
    let asked = kubectl(directory).args(["get", "--raw", "/readyz"]).run();
    asked.map(drop).map_err(|error| error.to_string())
}
