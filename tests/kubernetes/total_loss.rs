//! A cluster of Kubernetes that was lost is rebuilt on three members, and a client's informer lists it again. Real hosts: needs root.

use kit::etcd::Release;
use kit::lab::cmd::poll;
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, enable, managed};
use kit::lab::{Host, HostFile, Lab, Role, Schedule, Topology, available, openshift, package};
use kit::pki::Authority;

use crate::cluster::{CONTROLLERS, program};
use crate::namespace::ENCRYPTION;
use crate::operator::{LONG, OPERATOR, Operator, SOON};
use crate::site::{Site, Status, story, wait_settled};

const MASTER: &str = "/etc/origin/master";

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
    let master = site.host("master1");
    let operator = Operator::new(&site.lab, tools, &kubeconfig_files(master));
    operator.make_objects();
    let _informer = operator.informer();
    operator.seen("add shop/settings");
    let before = operator.objects();

    enable(&site.lab).unwrap();
    let night = wait_settled(master, LONG).night().to_owned();
    assert_eq!(Status::of(master).verdict(), "complete", "{}", story(master));
    operator.must("create configmap late --namespace default");
    operator.seen("add default/late");
    let origin = operator.take_archive(&site, &night);
    let (cluster, member) = (EtcdCluster::of(&site.lab), site.host("etcd1"));
    let lost = cluster.revision(member).unwrap();

    lose(&site.lab, release);
    operator.rebuild(&origin);
    // Revisions that the snapshot does not have are not given to other writes.
    let refused = cluster.etcdctl(member, &format!("watch --rev={lost} /registry")).unwrap_err();
    assert!(refused.to_string().contains("required revision has been compacted"), "{refused}");
    operator.is_served_again(&before);

    operator.must("delete namespace shop");
    operator.restore(&format!(
        "object --namespace shop {origin} --kubectl /root/kube/kubectl --kubeconfig /root/kube/config --yes"
    ));
    operator.seen("delete shop/settings");
    poll("the namespace's objects", SOON, || match operator.objects().len() {
        count if count == before.len() + 1 => Ok(()),
        count => Err(format!("{count} of {}", before.len() + 1)),
    })
    .unwrap();
    operator.secret_is_readable();
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

/// With its files in a directory.
fn kubeconfig(master: &Host, directory: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         clusters: [{{ name: it, cluster: {{ server: \"https://{}:8443\", certificate-authority: {directory}/ca.crt }} }}]\n\
         users: [{{ name: it, user: {{ client-certificate: {directory}/kube-admin.crt, client-key: {directory}/kube-admin.key }} }}]\n\
         contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\n",
        master.name
    )
}

/// The kubeconfig of the operator.
fn kubeconfig_files(master: &Host) -> Vec<(&'static str, Vec<u8>)> {
    let file = |name| (name, master.read_file(&format!("{MASTER}/{name}")).unwrap());
    let config = ("config", kubeconfig(master, "/root/kube").into_bytes());
    vec![file("ca.crt"), file("kube-admin.crt"), file("kube-admin.key"), config]
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
