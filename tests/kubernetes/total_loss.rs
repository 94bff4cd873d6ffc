//! A cluster of Kubernetes that was lost is rebuilt on three members, and a client's informer lists it again. Real hosts: needs root.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use kit::etcd::Release;
use kit::lab::cmd::{Running, poll};
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, enable, managed};
use kit::lab::{Host, HostFile, Lab, Role, Schedule, Topology, available, openshift, package};
use kit::pki::Authority;
use serde_json::Value;

use crate::cluster::{CONTROLLERS, program};
use crate::namespace::{DEFINITION, ENCRYPTION, SHOP};
use crate::site::{Site, Status, story, wait_settled};

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(120);
const OPERATOR: &str = "operator";
const MASTER: &str = "/etc/origin/master";
const KINDS: &str = "namespaces,secrets,configmaps,serviceaccounts,roles,rolebindings,services,resourcequotas,\
                     persistentvolumeclaims,widgets,deployments,replicasets,pods";

/// kubectl on the operator's machine.
struct Kube<'l> {
    operator: &'l Host,
}

impl Kube<'_> {
    fn ctl(&self, words: &str) -> Result<String, String> {
        let line = format!("/root/kube/kubectl --kubeconfig /root/kube/config {words}");
        self.operator.run_for(&line, SOON).map(|output| output.text()).map_err(|error| error.to_string())
    }

    fn must(&self, words: &str) -> String {
        poll(words, SOON, || self.ctl(words)).unwrap()
    }

    fn apply(&self, manifest: &str) {
        self.operator.write_file(&HostFile::new("/root/kube/manifest", 0o600, manifest)).unwrap();
        self.must("apply --filename /root/kube/manifest");
    }

    /// Every object of these kinds, without what the controllers change when they start.
    fn objects(&self) -> Vec<Value> {
        let mut list: Value =
            serde_json::from_str(&self.must(&format!("get {KINDS} --all-namespaces --output=json"))).unwrap();
        let mut objects: Vec<Value> = serde_json::from_value(list["items"].take()).unwrap();
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("status");
            let meta = object["metadata"].as_object_mut().unwrap();
            meta.remove("resourceVersion");
            meta.remove("managedFields");
        }
        objects
    }
}

#[test]
fn a_lost_cluster_on_the_installed_etcd_serves_its_objects_again_and_an_informer_lists_them() {
    if kit::require(available()) {
        is_rebuilt(&Release::default(), &Release::named("3.5").unwrap());
    }
}

#[test]
fn a_lost_cluster_on_etcd_3_5_serves_its_objects_again_and_an_informer_lists_them() {
    if kit::require(available()) {
        let release = Release::named("3.5").unwrap();
        is_rebuilt(&release, &release);
    }
}

#[test]
fn a_lost_cluster_on_etcd_3_6_serves_its_objects_again_and_an_informer_lists_them() {
    if kit::require(available()) {
        let release = Release::named("3.6").unwrap();
        is_rebuilt(&release, &release);
    }
}

/// The members are of one release. The operator's tools are of another where that one's cannot raise the revision.
fn is_rebuilt(release: &Release, tools: &Release) {
    let topology = Topology::new()
        .with(1, Role::Master)
        .with(3, Role::Etcd)
        .with(1, Role::BackupServer)
        .host(OPERATOR, &[]);
    let site = Site::on_etcd(release, "kube", &topology, &Schedule::due_in(-1));
    openshift::services(&site.lab).unwrap();
    serve(&site.lab);
    prepare_operator(&site.lab, tools);
    let (master, operator) = (site.host("master1"), site.host(OPERATOR));
    let kube = Kube { operator };
    kube.apply(DEFINITION);
    kube.apply(SHOP);
    poll("the deployment's pods", SOON, || {
        let pods = kube.ctl("get pods --namespace shop --no-headers")?;
        if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
    })
    .unwrap();
    let _informer = informer(operator);
    seen(operator, "add shop/settings");
    let before = kube.objects();

    enable(&site.lab).unwrap();
    let night = wait_settled(master, LONG).night().to_owned();
    assert_eq!(Status::of(master).verdict(), "complete", "{}", story(master));
    kube.must("create configmap late --namespace default");
    seen(operator, "add default/late");
    let archive = format!("{}_{}.tgz.age", master.name, night.replace('-', "."));
    let (archive, signer) = take_archive(&site, &archive);

    let (cluster, member) = (EtcdCluster::of(&site.lab), site.host("etcd1"));
    let lost = cluster.revision(member).unwrap();

    lose(&site.lab, release);
    let origin = format!("--from {archive} --identity age.txt --signer {signer}");
    rebuild(operator, &origin);
    // Revisions that the snapshot does not have are not given to other writes.
    let refused = cluster.etcdctl(member, &format!("watch --rev={lost} /registry")).unwrap_err();
    assert!(refused.to_string().contains("required revision has been compacted"), "{refused}");
    let after = kube.objects();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    assert_eq!(
        kube.must("get secret db --namespace shop --output=jsonpath={.data.password}"),
        "aHVudGVyMg=="
    );
    seen(operator, "delete default/late");
    kube.must("create configmap new --namespace default");
    seen(operator, "add default/new");
    let log = String::from_utf8(operator.read_file("/root/informer").unwrap()).unwrap();
    assert!(log.matches("list\n").count() >= 2, "{log}");

    kube.must("delete namespace shop");
    let line = format!(
        "cd /root && nightshift restore object --namespace shop {origin} --kubectl /root/kube/kubectl --kubeconfig /root/kube/config --yes"
    );
    println!("{}", operator.run_for(&line, LONG).unwrap().text());
    seen(operator, "delete shop/settings");
    poll("the namespace's objects", SOON, || match kube.objects().len() {
        count if count == before.len() + 1 => Ok(()),
        count => Err(format!("{count} of {}", before.len() + 1)),
    })
    .unwrap();
    assert_eq!(
        kube.must("get secret db --namespace shop --output=jsonpath={.data.password}"),
        "aHVudGVyMg=="
    );
}

/// A real API server and controllers, by the names of OpenShift's units.
fn serve(lab: &Lab) {
    let master = lab.host("master1");
    let admin = Authority::of_lab(lab, "openshift-signer").unwrap();
    let admin = admin.issue("kube-admin", "/O=system:masters/CN=admin", "").unwrap();
    let config = kubeconfig(master, MASTER);
    for (name, content) in [
        ("kube-admin.crt", admin.certificate.as_slice()),
        ("kube-admin.key", admin.key.as_slice()),
        ("kube.config", config.as_bytes()),
        ("encryption-config.yaml", ENCRYPTION.as_bytes()),
    ] {
        master.write_file(&HostFile::new(format!("{MASTER}/{name}"), 0o600, content)).unwrap();
    }
    let members: Vec<String> =
        lab.with(Role::Etcd).iter().map(|host| format!("https://{}:2379", host.address())).collect();
    let server = format!(
        "/usr/local/bin/kube-apiserver --etcd-servers={members} --etcd-cafile={MASTER}/master.etcd-ca.crt \
         --etcd-certfile={MASTER}/master.etcd-client.crt --etcd-keyfile={MASTER}/master.etcd-client.key \
         --tls-cert-file={MASTER}/master.server.crt --tls-private-key-file={MASTER}/master.server.key \
         --client-ca-file={MASTER}/ca.crt --service-account-issuer=https://kubernetes.default.svc \
         --service-account-key-file={MASTER}/serviceaccounts.private.key \
         --service-account-signing-key-file={MASTER}/serviceaccounts.private.key \
         --encryption-provider-config={MASTER}/encryption-config.yaml --authorization-mode=RBAC \
         --advertise-address={address} --secure-port=8443 --service-cluster-ip-range=10.0.0.0/24 \
         --disable-admission-plugins=ServiceAccount",
        members = members.join(","),
        address = master.address(),
    );
    let controllers = format!(
        "/usr/local/bin/kube-controller-manager --kubeconfig={MASTER}/kube.config --controllers={CONTROLLERS} \
         --leader-elect=false --root-ca-file={MASTER}/ca.crt"
    );
    for (unit, name, line) in [
        ("atomic-openshift-master-api", "kube-apiserver", server),
        ("atomic-openshift-master-controllers", "kube-controller-manager", controllers),
    ] {
        master.push(&program(name), &format!("/usr/local/bin/{name}")).unwrap();
        master.run(&format!("chmod 0755 /usr/local/bin/{name}")).unwrap();
        let text = format!(
            "[Service]\nExecStart={line}\nRestart=always\nRestartSec=1\n[Install]\nWantedBy=multi-user.target\n"
        );
        let path = format!("/etc/systemd/system/{unit}.service");
        master.write_file(&HostFile::new(path, 0o644, text)).unwrap();
    }
    master.systemctl("daemon-reload").unwrap();
    master.systemctl("restart atomic-openshift-master-api atomic-openshift-master-controllers").unwrap();
}

fn kubeconfig(master: &Host, directory: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         clusters: [{{ name: it, cluster: {{ server: \"https://{}:8443\", certificate-authority: {directory}/ca.crt }} }}]\n\
         users: [{{ name: it, user: {{ client-certificate: {directory}/kube-admin.crt, client-key: {directory}/kube-admin.key }} }}]\n\
         contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\n",
        master.name
    )
}

/// The operator's machine: nightshift, kubectl, the informer, etcd's programs, and logins.
fn prepare_operator(lab: &Lab, tools: &Release) {
    let (operator, master) = (lab.host(OPERATOR), lab.host("master1"));
    operator.push(&package().unwrap(), "/root/nightshift.deb").unwrap();
    operator.run_for("dpkg --install /root/nightshift.deb", SOON).unwrap();
    for name in ["kubectl", "informer"] {
        operator.push(&program(name), &format!("/root/kube/{name}")).unwrap();
    }
    for name in ["etcd", "etcdutl", "etcdctl"] {
        operator.push(&tools.program(name), &format!("/root/etcd/{name}")).unwrap();
    }
    operator.run("chmod 0755 /root/etcd/* /root/kube/*").unwrap();
    for name in ["ca.crt", "kube-admin.crt", "kube-admin.key"] {
        let content = master.read_file(&format!("{MASTER}/{name}")).unwrap();
        operator.write_file(&HostFile::new(format!("/root/kube/{name}"), 0o600, content)).unwrap();
    }
    let config = kubeconfig(master, "/root/kube");
    operator.write_file(&HostFile::new("/root/kube/config", 0o600, config)).unwrap();
    operator
        .run("mkdir -p -m 0700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        .unwrap();
    let key = operator.read_file("/root/.ssh/id_ed25519.pub").unwrap();
    let mut pins = String::new();
    for host in lab.hosts() {
        let (of, home) =
            if host.has(Role::BackupServer) { ("cloud-user", "/home/cloud-user") } else { ("root", "/root") };
        host.write_file(&HostFile::new("/tmp/key", 0o600, key.clone())).unwrap();
        host.run(&format!(
            "install -d -m 0700 -o {of} -g {of} {home}/.ssh && cat /tmp/key >> {home}/.ssh/authorized_keys && \
             chown {of}:{of} {home}/.ssh/authorized_keys && chmod 0600 {home}/.ssh/authorized_keys"
        ))
        .unwrap();
        let public = host.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").unwrap().text();
        pins += &format!("{},{} {public}\n", host.name, host.address());
    }
    operator.write_file(&HostFile::new("/root/.ssh/known_hosts", 0o600, pins)).unwrap();
}

fn informer(operator: &Host) -> Running {
    operator
        .spawn("exec /root/kube/informer /root/kube/config > /root/informer 2>/dev/null", Stdio::null())
        .unwrap()
}

/// Waits until the informer has printed a line.
fn seen(operator: &Host, line: &str) {
    poll(line, SOON, || {
        let log = operator.read_file("/root/informer").map_err(|error| error.to_string())?;
        let log = String::from_utf8_lossy(&log).into_owned();
        if log.lines().any(|seen| seen == line) { Ok(()) } else { Err(log) }
    })
    .unwrap();
}

/// The archive on the operator's machine, and its signer.
fn take_archive(site: &Site, name: &str) -> (String, String) {
    let (backup, operator) = (site.host("backup1"), site.host(OPERATOR));
    for ending in ["", ".sig", ".sha256"] {
        let content = backup.read_file(&format!("/home/cloud-user/{name}{ending}")).unwrap();
        operator.write_file(&HostFile::new(format!("/root/{name}{ending}"), 0o600, content)).unwrap();
    }
    operator.write_file(&HostFile::new("/root/age.txt", 0o600, fs::read(&site.key.path).unwrap())).unwrap();
    let line = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";
    let fingerprint = site.host("master1").run(line).unwrap().text();
    (name.to_owned(), fingerprint.split_whitespace().nth(1).unwrap().to_owned())
}

/// The machines as after a new installation: other files, an empty etcd, an empty nightshift. The API server is stopped.
fn lose(lab: &Lab, release: &Release) {
    for host in managed(lab) {
        host.run_for(
            "systemctl disable --quiet --now nightshift.service; dpkg --purge nightshift; rm -rf /var/lib/nightshift /etc/nightshift; \
             systemctl stop 'atomic-openshift-master-*' etcd.service; rm -rf /etc/origin /etc/etcd/* /var/lib/etcd/member",
            SOON,
        )
        .unwrap();
    }
    openshift::lay(lab).unwrap();
    EtcdCluster::found_of(lab, release).unwrap();
    nightshift::install(lab, &package().unwrap()).unwrap();
}

fn rebuild(operator: &Host, origin: &str) {
    let run = |line: &str| {
        let ran = operator.try_run_for(&format!("cd /root && nightshift restore {line}"), LONG).unwrap();
        println!("# nightshift restore {line}\n{}\n{}", ran.text(), ran.stderr);
        assert_eq!(ran.status, 0);
    };
    run(&format!("plan {origin}"));
    run("check restore-* --etcd-tools /root/etcd");
    run("apply restore-*");
}
