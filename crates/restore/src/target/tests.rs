//! The front door, and acts that depend on one another.

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::thread;

use nightshift_core::restore::act::{Act, Wanted};
use nightshift_core::restore::difference::Now;
use nightshift_core::stage::Stage;

use super::ActiveState::{Active, Stopped};
use super::crash;
use super::testing::{Machine, PLAN, directory, file, request};

const ETCD: &str = "etcd.service";

fn units(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn hold(names: &[&str]) -> Act {
    Act::Hold { units: units(names) }
}

fn stop(names: &[&str], manifests: &[&str]) -> Act {
    Act::Stop { units: units(names), manifests: units(manifests), ports: Vec::new(), data: Vec::new() }
}

fn start(names: &[&str], manifests: &[&str]) -> Act {
    Act::Start { units: units(names), manifests: units(manifests) }
}

fn wait_for(names: &[&str], ports: &[&str]) -> Act {
    Act::Await { units: units(names), ports: units(ports), seconds: 0 }
}

#[test]
fn what_is_not_a_request_of_this_format_is_refused() {
    let machine = Machine::new();
    let newer = r#"{"format":2,"plan":"2026-11-28-1f3a9c2b","step":"3.1","act":{"levitate":{}}}"#;
    let unknown = newer.replace("\"format\":2", "\"format\":1");
    let other = serde_json::to_string(&request(PLAN, "3.1", Act::Finish)).unwrap().replace(PLAN, "../../etc");
    for (input, reason) in [
        (newer, "install the same version of nightshift on both"),
        (unknown.as_str(), "not a line of JSON with an act"),
        (other.as_str(), "not a line of JSON with an act"),
        ("", "not a line of JSON"),
        ("[]\n", "not a line of JSON"),
    ] {
        let error = machine.exchange(input.as_bytes()).unwrap_err();
        assert!(error.contains(reason), "{input}: {error}");
    }
    assert!(!machine.path("/var/lib/nightshift-restore").exists(), "nothing was done");
}

#[test]
fn without_roots_rights_only_the_facts_are_shown() {
    let machine = Machine { is_root: false, ..Machine::new() };
    let facts = machine.call("2", Act::Facts(Wanted::default())).unwrap().facts.unwrap();
    assert!(!facts.is_root);
    for act in [Act::Finish, Act::HostKeys, hold(&[ETCD]), Act::Night { stages: Vec::new(), night: None }] {
        let error = machine.call("3.1", act).unwrap_err();
        assert!(error.contains("needs root's rights"), "{error}");
    }
    assert!(!machine.path("/var/lib/nightshift-restore").exists());
}

/// As a pipe whose reader is gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_act_continues_to_its_end_when_its_client_is_gone() {
    let machine = Machine::new();
    let mut input =
        serde_json::to_vec(&request(PLAN, "5.1", Act::PutFiles { files: vec![file("/etc/a", "a")] }))
            .unwrap();
    input.extend_from_slice(b"\na");
    machine.run(&input, Closed).unwrap();
    assert_eq!(machine.read("/etc/a"), "a");
}

#[test]
fn a_second_plan_is_refused_by_name_until_the_first_is_finished() {
    let machine = Machine::with(&[(ETCD, Stopped)]);
    machine.call("3.1", hold(&[ETCD])).unwrap();
    let other = request("2026-11-27-00000001", "3.1", hold(&[ETCD]));
    let error = machine.send(&other, b"").unwrap_err();
    assert!(error.contains(PLAN), "{error}");
    let facts = machine.call("2", Act::Facts(Wanted::default())).unwrap().facts.unwrap();
    assert_eq!(facts.plan.unwrap().to_string(), PLAN);

    let error = machine.call("7.9", Act::Finish).unwrap_err();
    assert!(error.contains(ETCD), "{error}");
    machine.call("7.1", start(&[ETCD], &[])).unwrap();
    assert!(machine.call("7.9", Act::Finish).unwrap().changed);
    assert!(!machine.call("7.9", Act::Finish).unwrap().changed, "a repetition");
    machine.send(&other, b"").unwrap();
}

#[test]
fn held_units_start_only_in_their_step_and_are_neither_held_nor_stopped_after_it() {
    let machine = Machine::with(&[(ETCD, Active), ("kubelet.service", Active)]);
    let all = [ETCD, "kubelet.service", "origin-node.service"];
    let drop_in =
        |unit: &str| machine.path(&format!("/etc/systemd/system/{unit}.d/50-nightshift-restore.conf"));
    assert!(machine.call("3.1", hold(&all)).unwrap().changed);
    assert!(all.iter().all(|unit| drop_in(unit).exists()), "a unit that systemd does not have is held too");
    assert!(
        fs::read_to_string(drop_in(ETCD))
            .unwrap()
            .contains("AssertPathExists=!/var/lib/nightshift-restore/hold\n")
    );
    assert!(machine.path("/var/lib/nightshift-restore/hold").exists());
    assert!(!machine.call("3.1", hold(&all)).unwrap().changed);
    // As after a kill between two changes.
    fs::remove_file(drop_in(ETCD)).unwrap();
    assert!(machine.call("3.1", hold(&all)).unwrap().changed);

    machine.systemd.take_requests();
    assert!(
        machine.call("3.2", stop(&["kubelet.service", ETCD, "origin-node.service"], &[])).unwrap().changed
    );
    assert_eq!(machine.systemd.take_requests(), ["stop kubelet.service", "stop etcd.service"]);
    assert!(!machine.call("3.2", stop(&all, &[])).unwrap().changed);

    assert!(machine.call("4.1", start(&[ETCD], &[])).unwrap().changed);
    assert_eq!(machine.systemd.take_requests(), ["daemon-reload", "start etcd.service"]);
    assert!(!drop_in(ETCD).exists() && !drop_in(ETCD).parent().unwrap().exists());
    assert!(drop_in("kubelet.service").exists());
    assert!(!machine.call("4.1", start(&[ETCD], &[])).unwrap().changed);

    // The same plan from its beginning: what was started keeps running.
    let outcome = machine.call("3.1", hold(&all)).unwrap();
    assert!(!outcome.changed && outcome.notes.summary().contains(ETCD), "{:?}", outcome.notes);
    assert!(!machine.call("3.2", stop(&all, &[])).unwrap().changed);
    assert!(!drop_in(ETCD).exists());
    assert_eq!(machine.systemd.state(ETCD), Active);
}

#[test]
fn a_drop_in_of_the_operators_own_stays_when_the_unit_is_started() {
    let machine = Machine::with(&[(ETCD, Stopped)]);
    machine.write("/etc/systemd/system/etcd.service.d/10-own.conf", "[Service]\n");
    machine.call("3.1", hold(&[ETCD])).unwrap();
    machine.call("4.1", start(&[ETCD], &[])).unwrap();
    let names: Vec<_> = fs::read_dir(machine.path("/etc/systemd/system/etcd.service.d")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn a_start_needs_something_that_exists_and_names_what_is_disabled() {
    let machine = Machine::with(&[("disabled.service", Stopped), ("recover.service", Stopped)]);
    machine.call("3.1", hold(&[ETCD])).unwrap();
    let error = machine.call("4.1", start(&[ETCD], &["/etc/origin/node/pods/etcd.yaml"])).unwrap_err();
    assert!(error.contains(ETCD) && error.contains("etcd.yaml"), "{error}");
    assert!(machine.path("/etc/systemd/system/etcd.service.d").exists(), "it is still held");
    let outcome = machine.call("7.1", start(&["disabled.service", "recover.service", ETCD], &[])).unwrap();
    assert!(
        outcome.notes.summary().contains("does not start at boot: disabled.service"),
        "{:?}",
        outcome.notes
    );
    let requests = machine.systemd.take_requests();
    assert_eq!(
        requests.last().unwrap(),
        "start disabled.service",
        "one that only works at boot is not started"
    );
    let bad = machine.call("7.1", start(&["--version"], &[])).unwrap_err();
    assert!(bad.contains("not the name of a unit"), "{bad}");
}

#[test]
fn nightshift_is_not_named_as_disabled_because_the_next_step_enables_it() {
    let own = ["nightshift.service", "nightshift-cold-copy-recover.service"];
    let machine = Machine::with(&own.map(|unit| (unit, Stopped)));
    machine.systemd.disabled.borrow_mut().extend(own.map(str::to_owned));
    machine.call("3.1", hold(&own)).unwrap();
    let outcome = machine.call("7.1", start(&own, &[])).unwrap();
    assert_eq!(outcome.notes.summary(), "");
    assert_eq!(machine.systemd.take_requests().last().unwrap(), "start nightshift.service");
}

#[test]
fn a_disabled_unit_of_another_layout_is_neither_started_nor_waited_for() {
    let machine =
        Machine::with(&[("origin-master-api.service", Stopped), ("disabled-master.service", Stopped)]);
    let both = ["disabled-master.service", "origin-master-api.service"];
    machine.call("7.1", start(&both, &[])).unwrap();
    assert_eq!(machine.systemd.take_requests().last().unwrap(), "start origin-master-api.service");
    machine.call("7.2", wait_for(&both, &[])).unwrap();
}

#[test]
fn manifests_are_moved_away_before_the_kubelet_is_stopped_and_back_in_their_step() {
    const PODS: &str = "/etc/origin/node/pods/etcd.yaml";
    let machine = Machine::with(&[("kubelet.service", Active), ("nightshift.service", Active)]);
    machine.write(PODS, "kind: Pod");
    assert!(machine.call("3.1", stop(&["kubelet.service", "nightshift.service"], &[PODS])).unwrap().changed);
    assert!(!machine.path(PODS).exists());
    assert_eq!(machine.read(&machine.aside("manifests", PODS)), "kind: Pod");
    // A kubelet that is stopped ends no pod.
    assert_eq!(machine.systemd.take_requests(), ["stop nightshift.service", "stop kubelet.service"]);
    assert!(!machine.call("3.1", stop(&["kubelet.service"], &[PODS])).unwrap().changed);
    assert!(machine.call("4.1", start(&["kubelet.service"], &[PODS])).unwrap().changed);
    assert_eq!(machine.read(PODS), "kind: Pod");
    assert!(!machine.call("4.1", start(&["kubelet.service"], &[PODS])).unwrap().changed);
    assert!(!machine.call("3.1", stop(&["kubelet.service"], &[PODS])).unwrap().changed);
    assert_eq!(machine.read(PODS), "kind: Pod");
}

/// A kubelet that has not reached its API server since it started ends no pod.
#[test]
fn the_processes_of_a_pod_that_its_kubelet_does_not_end_are_ended_and_no_others() {
    const POD: &str = "/etc/kubernetes/manifests/etcd.yaml";
    let (of_pod, of_other) = ("5899e29a2350d559", "a176b613d8ab283b");
    let machine = Machine::with(&[("kubelet.service", Active)]);
    let manifest =
        "metadata: { name: etcd, namespace: kube-system }\nspec: { containers: [{ name: etcd }] }\n";
    machine.write(POD, manifest);
    let run = |id: &str, log: &str| {
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        machine.write(&format!("/proc/{}/cgroup", process.id()), &format!("8:pids:/k8s.io/{id}\n0::/\n"));
        machine.write(&format!("/var/log/containers/{log}-{id}.log"), "");
        process
    };
    let mut etcd = run(of_pod, "etcd-m1.example.com_kube-system_etcd");
    let mut other = run(of_other, "etcd-m1.example.com_shop_etcd");
    let ended = machine.path(&format!("/proc/{}", etcd.id()));
    let stopped = thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(etcd.wait().unwrap().signal(), Some(15));
            fs::remove_dir_all(ended).unwrap();
        });
        machine.call("3.1", stop(&[], &[POD])).unwrap()
    });
    assert_eq!(other.try_wait().unwrap(), None, "a pod of another namespace");
    other.kill().unwrap();
    other.wait().unwrap();
    // Otherwise it would start the container again.
    assert_eq!(machine.systemd.state("kubelet.service"), Stopped);
    assert!(stopped.changed && stopped.notes.summary().contains("did not end its pods"), "{stopped:?}");
}

#[test]
fn a_manifest_of_the_backup_takes_precedence_over_the_one_that_was_moved_away() {
    const POD: &str = "/etc/kubernetes/manifests/etcd.yaml";
    let machine = Machine::with(&[("kubelet.service", Stopped)]);
    machine.write(POD, "new machine");
    machine.call("3.1", stop(&[], &[POD])).unwrap();
    let files = vec![file(POD, "restored")];
    machine.call_with("4.1", Act::PutFiles { files }, b"restored").unwrap();
    machine.call("4.2", start(&["kubelet.service"], &[POD])).unwrap();
    assert_eq!(machine.read(POD), "restored");
    assert_eq!(machine.read(&machine.aside("manifests", POD)), "new machine");
}

#[test]
fn a_manifest_that_this_plan_has_put_in_place_is_not_moved_away_by_a_repetition() {
    const API: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let machine = Machine::with(&[("kubelet.service", Active)]);
    machine.write(API, "before");
    assert!(machine.call("3.1", stop(&[], &[API])).unwrap().changed);
    let put = || machine.call_with("7.2", Act::PutFiles { files: vec![file(API, "restored")] }, b"restored");
    assert!(put().unwrap().changed);
    let again = machine.call("3.1", stop(&[], &[API])).unwrap();
    assert!(!again.changed && again.notes.summary().contains("not stopped again"), "{again:?}");
    assert!(!put().unwrap().changed);
    assert_eq!(machine.read(API), "restored");
}

#[test]
fn a_port_counts_once_it_accepts_connections() {
    let machine = Machine::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().to_string();
    machine.call("7.3", wait_for(&[], &[&port])).unwrap();
    drop(listener);
    let error = machine.call("7.3", wait_for(&[], &[&port])).unwrap_err();
    assert!(error.contains(&format!("nothing accepts connections at {port}")), "{error}");
}

#[test]
fn a_unit_that_does_not_become_active_is_named_with_its_last_line() {
    let machine = Machine::with(&[(ETCD, Active), ("api.service", Stopped)]);
    let wait = |names: &[&str]| machine.call("7.2", wait_for(names, &[]));
    wait(&[ETCD, "none.service"]).unwrap();
    let error = wait(&[ETCD, "api.service"]).unwrap_err();
    assert!(
        error.contains("api.service is inactive after 0 s") && error.contains("already in use"),
        "{error}"
    );
    let none = wait(&["none.service"]).unwrap();
    assert!(none.notes.summary().contains("none of these units exists"));
}

#[test]
fn facts_are_read_from_the_machine_and_change_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::with(&[(ETCD, Active)]);
    machine.write("/etc/os-release", "NAME=\"CentOS Linux\"\nID=\"centos\"\nVERSION_ID=\"7\"\n");
    machine.write("/etc/machine-id", "0123\n");
    machine.write("/usr/local/bin/etcd", "#!/bin/sh\necho 'etcd Version: 3.2.32'\necho 'Git SHA: 1'\n");
    fs::set_permissions(machine.path("/usr/local/bin/etcd"), fs::Permissions::from_mode(0o755)).unwrap();
    machine.write("/var/lib/etcd/member/snap/db", "");
    machine.write("/var/lib/nightshift-cold-copy/stopped", "{}");
    machine.write("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA root@new\n");
    machine.write("/etc/ssh/ssh_host_ed25519_key", "secret");
    let database = fs::File::open(machine.path("/var/lib/etcd/member/snap/db")).unwrap();
    database.lock().unwrap();
    let wanted = Wanted {
        units: units(&[ETCD, "none.service"]),
        manifests: units(&["/etc/none.yaml", "/etc/machine-id"]),
        data: units(&["/var/lib/etcd", "/var/lib/other"]),
        space: units(&["/var/lib/etcd", "/not/there/yet"]),
        users: units(&["etcd", "ghost"]),
        groups: units(&["etcd"]),
    };
    let facts = machine.call("2", Act::Facts(wanted)).unwrap().facts.unwrap();
    assert_eq!(
        (&*facts.os, facts.etcd.as_deref(), facts.machine_id.as_deref()),
        ("centos 7", Some("3.2.32"), Some("0123"))
    );
    let states: Vec<_> = facts.units.iter().map(|unit| (unit.exists, unit.active, unit.enabled)).collect();
    assert_eq!(states, [(true, true, true), (false, false, false)]);
    assert_eq!(facts.manifests, ["/etc/machine-id"]);
    let data: Vec<_> = facts.data.iter().map(|data| (data.exists, data.has_member, data.in_use)).collect();
    assert_eq!(data, [(true, true, true), (false, false, false)]);
    assert_eq!(facts.data[0].markers.summary(), "/var/lib/nightshift-cold-copy/stopped");
    assert_eq!(facts.unknown.summary(), "user ghost");
    assert!(facts.space.len() == 2 && facts.space.iter().all(|free| *free > 0) && facts.plan.is_none());
    assert_eq!(machine.call("7.1", Act::HostKeys).unwrap().lines, ["ssh-ed25519 AAAA"]);
    assert!(!machine.path("/var/lib/nightshift-restore").exists());

    fs::set_permissions(machine.path("/usr/local/bin/etcd"), fs::Permissions::from_mode(0o777)).unwrap();
    let facts = machine.call("2", Act::Facts(Wanted::default())).unwrap().facts.unwrap();
    assert_eq!(facts.etcd, None, "a program that other users can change is not run");
}

#[test]
fn what_follows_new_files_is_done_once_and_what_needs_a_reboot_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::new();
    for program in ["/usr/sbin/restorecon", "/usr/bin/update-ca-trust"] {
        let log = machine.path("/log").display().to_string();
        machine.write(program, &format!("#!/bin/sh\necho $(basename $0) $(basename -a $3 $4) >> {log}\n"));
        fs::set_permissions(machine.path(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let files = vec![directory("/etc/sysctl.d"), file("/etc/sysctl.d/99.conf", "a"), file("/etc/a", "b")];
    machine.call_with("5.1", Act::PutFiles { files: files.clone() }, b"ab").unwrap();
    let settle = Act::Settle { paths: units(&["/etc/sysctl.d", "/etc/a", "/etc/none", "/etc/pki"]) };
    let outcome = machine.call("5.2", settle.clone()).unwrap();
    assert!(outcome.changed);
    assert!(outcome.notes.summary().ends_with(": /etc/sysctl.d/99.conf"), "{:?}", outcome.notes);
    assert_eq!(machine.read("/log"), "restorecon sysctl.d a\nupdate-ca-trust\n");
    assert!(machine.systemd.take_requests().contains(&"daemon-reload".to_owned()));
    assert!(!machine.call("5.2", settle.clone()).unwrap().changed);
    // New files after it.
    fs::remove_file(machine.path("/etc/a")).unwrap();
    machine.call_with("5.1", Act::PutFiles { files }, b"ab").unwrap();
    assert!(machine.call("5.2", settle).unwrap().changed);
}

#[test]
fn the_last_acts_are_those_of_the_program_and_one_extra_night_is_enough() {
    let machine = Machine::new();
    let pin = |lines: &[&str]| machine.call("7.1", Act::Pin { lines: units(lines) });
    assert!(pin(&["a b c"]).unwrap().changed);
    assert!(!pin(&["a b c"]).unwrap().changed);
    assert_eq!(pin(&[]).unwrap_err(), "cannot pin the host keys: no lines");
    let keys = machine.call("7.2", Act::Identities { remotes: units(&["offsite"]) }).unwrap();
    assert_eq!((keys.changed, keys.lines), (true, units(&["offsite"])));
    assert!(machine.call("7.3", Act::Authorize { lines: Vec::new() }).unwrap().changed);
    machine.systemd.disabled.borrow_mut().insert("nightshift.service".to_owned());
    let night = machine.call("7.4", Act::Night { stages: Stage::ALL.to_vec(), night: None }).unwrap();
    assert_eq!(machine.systemd.take_requests(), ["enable nightshift.service", "start nightshift.service"]);
    assert!(night.changed && night.notes.summary().contains("complete"));
    let again = machine.call("7.4", Act::Night { stages: Stage::ALL.to_vec(), night: None }).unwrap();
    // A night that was not complete stays so: another one has another name.
    assert!(!again.changed && again.notes.summary().contains("complete"), "{:?}", again.notes);
    assert_eq!(machine.nightshift.nights.get(), 1);
    let common = || Act::Night { stages: Stage::ALL.to_vec(), night: Some("2026-11-29.2".parse().unwrap()) };
    assert!(machine.call("7.4", common()).unwrap().changed);
    assert!(!machine.call("7.4", common()).unwrap().changed);
    assert_eq!(machine.nightshift.nights.get(), 2);
}

#[test]
fn holds_stops_and_starts_that_are_killed_at_any_change_end_the_same() {
    const POD: &str = "/etc/kubernetes/manifests/etcd.yaml";
    for changes in 0.. {
        let machine = Machine::with(&[(ETCD, Active), ("kubelet.service", Active)]);
        machine.write(POD, "kind: Pod");
        let all = [ETCD, "kubelet.service"];
        let acts = [
            ("3.1", hold(&all)),
            ("3.2", stop(&all, &[POD])),
            ("4.1", start(&[ETCD], &[])),
            ("7.1", start(&all, &[POD])),
        ];
        let mut killed = false;
        for (number, (step, act)) in acts.iter().enumerate() {
            // Each is killed after as many changes, and repeated.
            let (this_killed, _) = crash::after(changes, || machine.call(step, act.clone()));
            if this_killed {
                machine.call(step, act.clone()).unwrap_or_else(|error| panic!("{changes} {step}: {error}"));
                killed = true;
            }
            assert!(!machine.call(step, act.clone()).unwrap().changed, "{changes} {step}");
            assert_eq!(machine.path(POD).exists(), number == 0 || number == 3, "{changes} {step}");
            let kubelet = machine.path("/etc/systemd/system/kubelet.service.d");
            assert_eq!(kubelet.exists(), number < 3, "{changes} {step}");
        }
        assert_eq!(machine.read(POD), "kind: Pod", "{changes}");
        assert!(machine.call("7.9", Act::Finish).unwrap().changed);
        assert!(!machine.path("/var/lib/nightshift-restore/hold").exists());
        if !killed {
            assert!(changes > 4, "too few changes were tried: {changes}");
            break;
        }
    }
}

#[test]
fn a_look_at_files_names_what_differs_shows_small_texts_and_no_private_key_and_changes_nothing() {
    let machine = Machine::new();
    let put = |path: &str, content: &str| {
        let at = machine.path(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, content).unwrap();
    };
    put("/etc/same", "same");
    put("/etc/text", "now");
    put("/etc/large", &"x".repeat(100 << 10));
    put("/etc/binary", "a\0b");
    put("/etc/peer.key", "now");
    put("/etc/kind/x", "a directory");
    let wanted = ["same", "text", "large", "binary", "peer.key", "kind", "absent", "gone/x"];
    let files = wanted.map(|name| file(&format!("/etc/{name}"), name)).into();
    let outcome = machine.call("2", Act::Look { files }).unwrap();
    let found: Vec<(&str, &Now)> =
        outcome.differences.iter().map(|found| (found.path.as_str(), &found.now)).collect();
    assert_eq!(
        found,
        [
            ("/etc/text", &Now::Text("now".into())),
            ("/etc/large", &Now::NotShown),
            ("/etc/binary", &Now::NotShown),
            ("/etc/peer.key", &Now::Secret),
            ("/etc/kind", &Now::OtherKind),
            ("/etc/absent", &Now::Absent),
            ("/etc/gone/x", &Now::Absent),
        ]
    );
    assert!(!outcome.changed && !machine.path("/var/lib/nightshift-restore").exists());
    let many = vec![file("/etc/a", "a"); 501];
    assert!(machine.call("2", Act::Look { files: many }).unwrap_err().contains("more than 500 files"));
}
