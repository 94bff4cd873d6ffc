//! A cluster of kubeadm's layout: a night whose snapshot the programs of etcd's container prove, and the rebuild on new machines. Real
//! hosts with a real kubelet: needs root.

use kit::etcd::Release;
use kit::lab::cmd::side_by_side;
use kit::lab::nightshift::{self, AgeIdentity, enable, managed};
use kit::lab::{Host, Lab, Role, Schedule, Topology, available, package};
use serde_json::{Deserializer, Value, json};

use crate::kubeadm::Kubeadm;
use crate::kubelet::{self, Images, sha256};
use crate::operator::{LONG, OPERATOR, Operator};
use crate::site::{Site, Status, story, wait_settled};

#[test]
fn a_lost_cluster_of_static_pods_whose_container_proved_its_night_serves_its_objects_again() {
    if !kit::require(available()) {
        return;
    }
    let release = Release::named("3.6").unwrap();
    let images = Images::new(&release);
    let master = [Role::Master, Role::Etcd];
    let topology = Topology::new()
        .host("master1", &master)
        .host("master2", &master)
        .host("master3", &master)
        .with(1, Role::BackupServer)
        .host(OPERATOR, &[])
        .with_containers();
    let lab = Lab::up("pods", &topology).unwrap();
    let key = AgeIdentity::create(&lab).unwrap();
    let site = Site { lab, key };
    let lab = &site.lab;
    let cluster = Kubeadm::new(lab, "");
    install(lab, &images);
    cluster.found();
    nightshift::set_up(lab, &package().unwrap(), &site.config(&Schedule::due_in(-1))).unwrap();
    let master = site.host("master1");
    let operator = Operator::new(lab, &release, &[("config", cluster.admin(master).into_bytes())]);
    operator.make_objects();
    let _informer = operator.informer();
    operator.seen("add shop/settings");
    let before = operator.objects();

    enable(lab).unwrap();
    let night = wait_settled(master, LONG).night().to_owned();
    assert_eq!(Status::of(master).verdict(), "complete", "{}", story(master));
    is_proved_by_the_container(lab, &night, &release);
    operator.must("create configmap late --namespace default");
    operator.seen("add default/late");
    let origin = operator.take_archive(&site, &night);

    for host in managed(lab) {
        lab.reinstall(host).unwrap();
    }
    install(lab, &images);
    Kubeadm::new(lab, "2").found();
    lose_api_server(site.host("master3"));
    nightshift::install(lab, &package().unwrap()).unwrap();
    operator.is_authorized();
    operator.rebuild(&origin);
    operator.is_served_again(&before);
}

fn install(lab: &Lab, images: &Images) {
    side_by_side(&managed(lab), |host| {
        kubelet::install(host, images);
        Ok(())
    })
    .unwrap();
}

/// A kubelet that was started while its API server did not run: it ends no pod.
fn lose_api_server(host: &Host) {
    host.run("sed -i 's/:6443/:1/' /etc/kubernetes/kubelet.conf && systemctl restart kubelet.service")
        .unwrap();
}

/// The night is proved, its secret decrypts, and the programs that proved it are those in etcd's container.
fn is_proved_by_the_container(lab: &Lab, night: &str, release: &Release) {
    let proofs: Vec<Value> = lab.with(Role::Etcd).into_iter().flat_map(|host| proofs(host, night)).collect();
    let drill = proofs.first().and_then(|proof| proof.pointer("/statement/drill")).unwrap();
    assert_eq!((&drill["verdict"], &drill["secrets"]["decrypted"]), (&json!("proved"), &json!(1)), "{drill}");
    for (program, name) in drill["programs"].as_array().unwrap().iter().zip(["etcd", "etcdutl"]) {
        println!("proved with {program}");
        assert!(program["origin"].as_str().unwrap().starts_with("the member's container "), "{program}");
        assert_eq!(program["sha256"], sha256(&release.program(name)), "{name}");
    }
}

/// The proofs of a host's own snapshot of a night.
fn proofs(host: &Host, night: &str) -> Vec<Value> {
    let line = format!("cat /var/lib/nightshift/vault/{}/{night}/etcd.proofs/*.json 2>/dev/null", host.name);
    let text = host.try_run(&line).unwrap().text();
    Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect()
}
