use std::collections::BTreeSet;
use std::time::Duration;

use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{AgeIdentity, CONFIG, config_text, managed};
use kit::lab::operator::{self, OPERATOR};
use kit::lab::{Host, HostFile, Lab, Role, Schedule, Topology, available, openshift, package};

use crate::ansible::{Recap, install, play};
use crate::site::{Status, story, wait_settled, wait_stage};

const NIGHT: Duration = Duration::from_secs(300);
const DROP_IN: &str = "/root/site/lab.toml";
/// The package, and the settings that no inventory has.
const WORDS: &str = "-e nightshift_package_file=/root/nightshift.deb -e '{\"nightshift_drop_ins\": [\"/root/site/lab.toml\"]}'";

#[test]
fn one_play_takes_fresh_hosts_to_a_complete_night_and_a_second_one_changes_nothing() {
    if !kit::require(available()) {
        return;
    }
    let lab = fresh_hosts();
    let operator = lab.host(OPERATOR);
    let hosts = managed(&lab).len() + 1;

    let before = files(&lab);
    let check = good(play(operator, &format!("{WORDS} --check")), hosts);
    assert!(check.count("changed") > 0, "{}", check.printed);
    for ((host, before), (_, after)) in before.iter().zip(files(&lab)) {
        let changed: Vec<_> = after.symmetric_difference(before).collect();
        assert!(changed.is_empty(), "a check changed files on {host}: {changed:#?}");
    }
    operator.run("test ! -e /root/site/nightshift.toml").unwrap();

    good(play(operator, WORDS), hosts);
    the_first_config_has_the_hosts_of_the_inventory(operator);
    for host in managed(&lab) {
        host.systemctl("is-enabled nightshift.service").unwrap();
        assert_eq!(wait_stage(host, "prune", NIGHT), "done", "{}", story(host));
    }
    for host in managed(&lab) {
        let status = wait_settled(host, NIGHT);
        let found = (status.verdict().to_owned(), Status::of(host).exit);
        assert_eq!(found, ("complete".to_owned(), 0), "{}: {}\n{}", host.name, status.reasons(), story(host));
    }
    let shipped = lab.host("backup1").run("ls /home/cloud-user").unwrap().text();
    assert_eq!(shipped.lines().filter(|name| name.ends_with(".tgz.age")).count(), 2, "{shipped}");

    for words in [WORDS, &format!("{WORDS} --check")] {
        let again = good(play(operator, words), hosts);
        assert_eq!(again.count("changed"), 0, "{}", again.printed);
    }
    a_mistake_in_the_config_replaces_nothing(&lab);
    an_edited_config_is_reloaded(&lab, hosts);
}

/// A cluster without nightshift, and the operator's machine with Ansible, the package and a login to each host.
fn fresh_hosts() -> Lab {
    let topology = Topology::new()
        .with(2, Role::Master)
        .with(1, Role::Etcd)
        .with(2, Role::Node)
        .with(1, Role::Agentless)
        .with(1, Role::BackupServer)
        .host(OPERATOR, &[]);
    let deb = package().unwrap();
    let lab = Lab::up("operators", &topology).unwrap();
    openshift::lay(&lab).unwrap();
    EtcdCluster::found(&lab).unwrap();
    let operator = lab.host(OPERATOR);
    operator.push(&deb, "/root/nightshift.deb").unwrap();
    operator.run_for("dpkg --install /root/nightshift.deb", Duration::from_secs(120)).unwrap();
    operator::login(&lab, operator).unwrap();
    install(operator, &inventory(&lab));
    let key = AgeIdentity::create(&lab).unwrap();
    let config = config_text(&lab, &Schedule::due_in(1), std::slice::from_ref(&key.recipient));
    // The hosts come from the inventory.
    let own = &config[config.find("[night]").unwrap()..];
    operator.write_file(&HostFile::new(DROP_IN, 0o600, own)).unwrap();
    lab
}

fn inventory(lab: &Lab) -> String {
    let group = |title: &str, role, variables: &str| {
        let names = lab.with(role).into_iter().map(|host| format!("{}{variables}\n", host.name));
        format!("[{title}]\n{}", names.collect::<String>())
    };
    [
        "[all:vars]\nansible_user=root\nansible_python_interpreter=/usr/bin/python3\n",
        &group("masters", Role::Master, ""),
        &group("etcd", Role::Etcd, ""),
        &group("nodes", Role::Node, ""),
        group("", Role::Agentless, " nightshift_agentless=true").trim_start_matches("[]\n"),
        &group("backup", Role::BackupServer, " ansible_user=cloud-user ansible_become=false"),
    ]
    .concat()
}

fn good(recap: Recap, hosts: usize) -> Recap {
    let found = (recap.status, recap.count("failed"), recap.count("unreachable"), recap.hosts());
    assert_eq!(found, (0, 0, 0, hosts), "{}", recap.printed);
    recap
}

/// The files of each host of the cluster with their owners, modes, sizes and times, without those that a login and Ansible leave.
fn files(lab: &Lab) -> Vec<(&str, BTreeSet<String>)> {
    const LINE: &str = "find / -xdev \\( -path /tmp -o -path /run -o -path /var/log -o -path /root/.ansible -o \
                        -path /home/cloud-user/.ansible -o -path /var/lib/etcd -o -name __pycache__ \\) -prune -o \
                        ! -type d -printf '%p %u:%g %m %s %T@\\n'";
    let list = |host: &Host| -> BTreeSet<String> {
        host.run_for(LINE, NIGHT).unwrap().text().lines().map(str::to_owned).collect()
    };
    let hosts = lab.hosts().iter().filter(|host| host.short_name() != OPERATOR);
    hosts.map(|host| (host.name.as_str(), list(host))).collect()
}

fn the_first_config_has_the_hosts_of_the_inventory(operator: &Host) {
    let config = operator.run("cat /root/site/nightshift.toml").unwrap().text();
    for list in ["master[1:2].lab.test", "etcd1.lab.test", "node[1:2].lab.test"] {
        assert!(config.contains(list), "{list} is not in {config}");
    }
}

/// The play stops, and what the daemon would read at its next start is as before.
fn a_mistake_in_the_config_replaces_nothing(lab: &Lab) {
    let operator = lab.host(OPERATOR);
    let master = lab.host("master1");
    let in_use = master.run(&format!("cat {CONFIG} /etc/nightshift/conf.d/*")).unwrap().text();
    operator.run(&format!("cp {DROP_IN} {DROP_IN}.good && sed -i 's/^opens/opnes/' {DROP_IN}")).unwrap();
    let refused = play(operator, WORDS);
    assert_eq!(refused.status, 2, "{}", refused.printed);
    assert!(refused.printed.contains("opnes"), "{}", refused.printed);
    assert_eq!(master.run(&format!("cat {CONFIG} /etc/nightshift/conf.d/*")).unwrap().text(), in_use);
    operator.run(&format!("mv {DROP_IN}.good {DROP_IN}")).unwrap();
}

fn an_edited_config_is_reloaded(lab: &Lab, hosts: usize) {
    let operator = lab.host(OPERATOR);
    operator.run(&format!("sed -i 's/16MiB/17MiB/' {DROP_IN}")).unwrap();
    let edited = good(play(operator, WORDS), hosts);
    // The copy that is checked, the configuration, and the reload.
    assert_eq!(edited.count("changed"), 3 * managed(lab).len(), "{}", edited.printed);
    for host in managed(lab) {
        let reloaded = host.journal(&["NIGHTSHIFT_EVENT=config-reloaded"]).unwrap();
        assert_eq!(reloaded.len(), 1, "{}", story(host));
    }
}
