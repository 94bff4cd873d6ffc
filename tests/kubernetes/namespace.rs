//! A namespace that was deleted comes back from the night before.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::lab::Role::{Etcd, Master};
use kit::lab::cmd::poll;
use kit::site::{Plan, Ran, Site};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Cluster, program};

const SOON: Duration = Duration::from_secs(60);
pub const ENCRYPTION: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc: { keys: [{ name: key1, secret: AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA= }] }
  - identity: {}
";
pub const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, singular: widget, kind: Widget }
  versions:
  - name: v1
    served: true
    storage: true
    schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
";
pub const SHOP: &str = "
{ apiVersion: v1, kind: Namespace, metadata: { name: shop, labels: { team: blue } } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: db, namespace: shop }, stringData: { password: hunter2 } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings, namespace: shop }, data: { a: b } }
---
{ apiVersion: v1, kind: ServiceAccount, metadata: { name: bot, namespace: shop } }
---
{ apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: { name: 'shop:reader', namespace: shop },
  rules: [{ apiGroups: [''], resources: [pods], verbs: [get] }] }
---
{ apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: { name: readers, namespace: shop },
  subjects: [{ kind: ServiceAccount, name: bot }], roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: 'shop:reader' } }
---
{ apiVersion: v1, kind: Service, metadata: { name: web, namespace: shop }, spec: { selector: { app: web }, ports: [{ port: 80 }] } }
---
{ apiVersion: v1, kind: ResourceQuota, metadata: { name: pods, namespace: shop }, spec: { hard: { pods: '5' } } }
---
{ apiVersion: v1, kind: PersistentVolumeClaim, metadata: { name: data, namespace: shop },
  spec: { accessModes: [ReadWriteOnce], volumeName: disk1, resources: { requests: { storage: 1Gi } } } }
---
{ apiVersion: example.com/v1, kind: Widget, metadata: { name: w, namespace: shop }, spec: { size: 3, ratio: 0.5 } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: 'web:1', env: [{ name: A, value: b }] }] }
";
/// Those of which a controller makes no new one with another name. The replica set's name follows from its template.
const KINDS: &str = "secrets,configmaps,serviceaccounts,roles,rolebindings,services,resourcequotas,persistentvolumeclaims,widgets,\
                     deployments,replicasets";

struct Lost {
    cluster: Cluster,
    site: Site,
    before: Vec<Value>,
    _directory: TempDir,
}

/// A night of a cluster with objects in a namespace, which are then deleted.
fn lost() -> Lost {
    let directory = TempDir::new().unwrap();
    let mut site = Plan::new(&[("m1", &[Master, Etcd])]).build().unwrap();
    let files = format!("[files]\nmaster = [{:?}]\n", site.source("m1", "/etc/kubernetes"));
    site.drop_in("m1", "50-files.toml", &files).unwrap();
    site.lay("m1", "/etc/kubernetes/encryption.yaml", ENCRYPTION.as_bytes()).unwrap();
    let encryption = site.source("m1", "/etc/kubernetes/encryption.yaml");
    let cluster = Cluster::start(directory.path(), &site.etcd[0].url, &encryption);
    cluster.apply(DEFINITION);
    cluster.apply(SHOP);
    // As an operator writes it: the custom object owns it.
    let uid = cluster.get("shop", "widget/w").unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.apply(&format!(
        "{{ apiVersion: v1, kind: Secret, metadata: {{ name: generated, namespace: shop, ownerReferences: [\
         {{ apiVersion: example.com/v1, kind: Widget, name: w, uid: {uid}, controller: true }}] }}, stringData: {{ key: '1' }} }}"
    ));
    pods_exist(&cluster);
    let before = cluster.objects("shop", KINDS);
    site.night().unwrap();
    cluster.kubectl(&["delete", "namespace", "shop"]);
    poll("the namespace to be gone", SOON, || match cluster.get("", "namespace/shop") {
        None => Ok(()),
        Some(_) => Err(String::new()),
    })
    .unwrap();
    Lost { cluster, site, before, _directory: directory }
}

fn pods_exist(cluster: &Cluster) {
    poll("the deployment's pods", SOON, || match cluster.objects("shop", "pods").len() {
        3 => Ok(()),
        _ => Err(String::new()),
    })
    .unwrap();
}

impl Lost {
    fn restore(&self, words: &[&str]) -> Ran {
        let (vault, kubectl) = (self.site.host("m1").vault(), program("kubectl"));
        let kubeconfig = self.cluster.kubeconfig();
        let text = |path: &Path| path.display().to_string();
        let (vault, kubectl, kubeconfig) = (text(&vault), text(&kubectl), text(&kubeconfig));
        let all = ["restore", "object", "--from", &vault, "--kubectl", &kubectl, "--kubeconfig", &kubeconfig];
        let ran = self.site.run("m1", &[&all, words].concat()).unwrap();
        println!(
            "# nightshift restore object {}\n{}\n{}(exit code {})\n",
            words.join(" "),
            ran.stdout,
            ran.stderr,
            ran.code
        );
        ran
    }

    /// Waits until the garbage collector has removed an object that was created now with an owner that does not exist.
    fn garbage_is_collected(&self) {
        self.cluster.apply(
            "{ apiVersion: v1, kind: ConfigMap, metadata: { name: garbage, namespace: shop, ownerReferences: [\
             { apiVersion: v1, kind: ConfigMap, name: none, uid: 00000000-0000-0000-0000-000000000000 }] } }",
        );
        poll("the garbage collector", SOON, || match self.cluster.get("shop", "configmap/garbage") {
            None => Ok(()),
            Some(_) => Err(String::new()),
        })
        .unwrap();
    }
}

#[test]
fn a_deleted_namespace_comes_back_through_the_api_server_as_it_was() {
    let lost = lost();
    let cluster = &lost.cluster;
    let preview = lost.restore(&["--namespace", "shop"]);
    assert_eq!(preview.code, 1, "nothing was confirmed");
    assert_eq!(cluster.get("", "namespace/shop"), None);

    let restored = lost.restore(&["--namespace", "shop", "--yes"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert!(
        restored.stdout.contains("ServiceAccount shop/default: "),
        "made by a controller meanwhile, or created"
    );
    assert!(!restored.stdout.contains("hunter2") && !restored.stdout.contains("aHVudGVyMg"));
    pods_exist(cluster);
    lost.garbage_is_collected();
    let after = cluster.objects("shop", KINDS);
    for (before, after) in lost.before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(lost.before.len(), after.len());
    let uid = |what: &str| cluster.get("shop", what).unwrap()["metadata"].clone();
    assert_eq!(
        uid("secret/generated")["ownerReferences"][0]["uid"],
        uid("widget/w")["uid"],
        "its owner's uid of now"
    );
    assert_eq!(lost.restore(&["--namespace", "shop", "--yes"]).code, 0, "all exist");

    one_object(&lost);
    files(&lost);
}

fn one_object(lost: &Lost) {
    let cluster = &lost.cluster;
    cluster.kubectl(&["delete", "secret/generated", "widget/w", "deployment/web", "--namespace", "shop"]);
    let shown = lost.restore(&["deployment/web", "--namespace", "shop", "--show", "--yes"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("image: web:1"));
    let refused = lost.restore(&["secret/generated", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains("its owner is gone"));
    let alone = lost.restore(&["secret/generated", "--yes", "--without-owners", "--show"]);
    assert_eq!(alone.code, 0, "{alone:?}");
    assert!(alone.stdout.contains("key: \"***\""), "{alone:?}");
    lost.garbage_is_collected();
    let secret = cluster.get("shop", "secret/generated").expect("it is not garbage");
    assert_eq!(secret["metadata"].get("ownerReferences"), None);
    assert_eq!(secret["data"]["key"], "MQ==");
}

/// An object that exists, and one whose namespace does not, become JSON.
fn files(lost: &Lost) {
    let to = TempDir::new().unwrap();
    let to = to.path().join("files");
    let written = lost.restore(&["deployment/web", "secret/db", "--to", to.to_str().unwrap()]);
    assert_eq!(written.code, 0, "{written:?}");
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(to.join(name)).unwrap()).unwrap() };
    let deployment = read("deployment.apps_shop_web.json");
    let before = lost.before.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert_eq!(&deployment, before);
    assert_eq!(read("secret_shop_db.json")["data"]["password"], "aHVudGVyMg==");
}
