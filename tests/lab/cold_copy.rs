use std::process::Stdio;
use std::thread;
use std::time::Duration;

use kit::lab::cmd::poll;
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::enable;
use kit::lab::operator::login;
use kit::lab::{DiskSpec, FileSystem, Host, HostFile, Role, Schedule, Topology, available, openshift};

use crate::restore::lost::APPLY;
use crate::site::{Site, Status, story};

/// A member has to be back within it, whatever was killed.
const BACK: Duration = Duration::from_secs(60);
const COPY: Duration = Duration::from_secs(240);
/// A lock outlives its dead holder by a minute.
const LOCK: Duration = Duration::from_secs(90);
const MEMBER_DATA: u64 = 80 << 20;

/// Asks the helper as the daemon does, and prints what it says.
const CLIENT: &str = r#"use Socket;
socket(S, PF_UNIX, SOCK_STREAM, 0) or die $!;
connect(S, sockaddr_un("/run/nightshift-cold-copy/cold-copy.sock")) or die $!;
syswrite S, qq({"night":"$ARGV[0]","cluster_id":"$ARGV[1]"}\n);
while (read(S, $head, 5) == 5) {
    my ($kind, $length) = unpack("aN", $head);
    my $bytes = "";
    while (length($bytes) < $length) { read(S, $bytes, $length - length($bytes), length($bytes)) or die "cut short"; }
    print "$bytes\n" if $kind eq "w";
}
"#;

#[test]
fn a_cold_copy_under_load_leaves_no_member_stopped_whatever_is_killed() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .with(1, Role::Master)
        .with(3, Role::Etcd)
        .state_disk(DiskSpec { file_system: FileSystem::Ext4, mib: 4096 });
    let site = Site::up("coldcopy", &topology, &Schedule::due_in(120));
    openshift::services(&site.lab).unwrap();
    let etcd = EtcdCluster::of(&site.lab);
    let other_than =
        |host: &Host| etcd.members().iter().find(|other| other.name != host.name).copied().unwrap();
    etcd.etcdctl2(etcd.members()[0], "set /openshift.io/old from-v2").unwrap();
    etcd.fill(etcd.members()[0], MEMBER_DATA).unwrap();
    enable(&site.lab).unwrap();
    let member = site.host(&whose_turn(etcd.members()[0]));
    println!("tonight's member is {}", member.name);

    without_consent_it_says_what_is_missing(member);
    consent(&site);
    let witness = other_than(member);
    let load = etcd.write_load(witness).unwrap();

    let run = begin_copy(member);
    kill_helper(member);
    wait_back(&etcd, member);
    drop(run);

    wait_unlocked(&etcd, witness);
    let run = begin_copy(member);
    member.systemctl("kill --signal=KILL nightshift.service").unwrap();
    wait_back(&etcd, member);
    drop(run);

    wait_unlocked(&etcd, witness);
    wait_daemon(member);
    let run = begin_copy(member);
    member.power_cut().unwrap();
    drop(run);
    member.start().unwrap();
    wait_back(&etcd, member);
    assert!(
        journal(member, "nightshift-cold-copy-recover.service").contains("was left stopped"),
        "{}",
        told(member)
    );

    wait_unlocked(&etcd, witness);
    a_night_goes_well(&etcd, member);
    the_copy_restores(&etcd, member);
    the_copy_is_proved(member);
    the_others_say_whose_turn_it_was(witness, member);
    drop(load);
    the_master_pulls_all_sets(&site, &[member, witness]);
    the_copy_is_restored_with_its_v2_keys(&site);
}

#[test]
fn of_two_members_started_in_the_same_second_one_is_copied() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new().with(1, Role::Master).with(3, Role::Etcd);
    let site = Site::up("coldtwo", &topology, &Schedule::due_in(120));
    let etcd = EtcdCluster::of(&site.lab);
    etcd.etcdctl2(etcd.members()[0], "set /openshift.io/old from-v2").unwrap();
    etcd.fill(etcd.members()[0], MEMBER_DATA / 2).unwrap();
    for host in etcd.members() {
        host.systemctl("enable --now --quiet nightshift-cold-copy.socket").unwrap();
        host.write_file(&HostFile::new("/root/ask.pl", 0o600, CLIENT)).unwrap();
    }
    let status = etcd.etcdctl(etcd.members()[0], "--write-out=json endpoint status").unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let cluster = status.pointer("/0/Status/header/cluster_id").and_then(serde_json::Value::as_u64).unwrap();

    // Two hosts that do not agree which night it is, each in its turn, and a third whose turn it is in neither.
    let _load = etcd.write_load(etcd.members()[2]).unwrap();
    let [tonights, last_nights, neithers] = [0, 1, 2].map(|days_ago| in_turn(&etcd, days_ago));
    let ask = |name: &str, days_ago: u8| {
        let line = format!("perl /root/ask.pl $(date -u -d '{days_ago} days ago' +%F) {cluster:x}");
        site.host(name).run_for(&line, COPY).unwrap().text()
    };
    let answers = thread::scope(|scope| {
        let asking = [(&tonights, 0), (&last_nights, 1), (&neithers, 0)];
        let asking = asking.map(|(name, days_ago)| scope.spawn(move || ask(name, days_ago)));
        asking.map(|asked| asked.join().unwrap())
    });
    let count =
        |word: &str| answers.iter().filter(|answer| answer.contains(&format!("\"said\":\"{word}\""))).count();
    assert_eq!((count("stopped"), count("done"), count("failed")), (1, 1, 0), "{answers:#?}");
    // The other waits for nobody: the lock is held, or the one that is stopped is missing already.
    assert_eq!(count("busy") + count("refused"), 1, "{answers:#?}");
    assert_eq!(count("not-my-turn"), 1, "{answers:#?}");
    etcd.wait_healthy().unwrap();
}

/// Whose turn it is in the night of so many days ago: the members in the order of their ids, one each day.
fn in_turn(etcd: &EtcdCluster<'_>, days_ago: u64) -> String {
    let host = etcd.members()[0];
    let list = etcd.etcdctl(host, "member list").unwrap();
    let mut members: Vec<(u64, String)> = list
        .lines()
        .map(|line| {
            let mut words = line.split(", ");
            let id = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
            (id, words.nth(1).unwrap().to_owned())
        })
        .collect();
    members.sort();
    let seconds: u64 = host.run("date -u +%s").unwrap().text().parse().unwrap();
    let at = usize::try_from((seconds / 86_400 - days_ago) % 3).unwrap();
    members[at].1.clone()
}

/// What `check` says of tonight.
fn whose_turn(host: &Host) -> String {
    let told = host.try_run("nightshift check --connect").unwrap();
    let line =
        told.text().lines().find(|line| line.contains("each night one member is stopped")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("{}\n{}", told.text(), told.stderr));
    println!("{}", told.text());
    line.split(" it is ").nth(1).and_then(|rest| rest.split(',').next()).unwrap().to_owned()
}

fn without_consent_it_says_what_is_missing(member: &Host) {
    let told = member.try_run("nightshift run snapshot-etcd --wait").unwrap();
    let all = format!("{}{}", told.text(), told.stderr);
    for words in ["v2 keys", "systemctl enable --now nightshift-cold-copy.socket"] {
        assert!(all.contains(words), "{all}\n{}", story(member));
    }
}

fn consent(site: &Site) {
    for host in site.lab.with(Role::Etcd) {
        // Its own folder lies on the disk that a power cut takes back, and etcd does not start by itself at boot.
        host.run(
            "install -d -m 0700 /var/lib/nightshift/.cold-copy-state /var/lib/nightshift-cold-copy && \
             echo '/var/lib/nightshift/.cold-copy-state /var/lib/nightshift-cold-copy none bind 0 0' >> /etc/fstab && \
             mount /var/lib/nightshift-cold-copy && systemctl daemon-reload && systemctl --quiet disable etcd.service",
        )
        .unwrap();
        host.systemctl("enable --now --quiet nightshift-cold-copy.socket").unwrap();
    }
}

/// Starts the stage, and waits until the member's data is on its way.
fn begin_copy(member: &Host) -> kit::lab::cmd::Running {
    let run = member.spawn("nightshift run snapshot-etcd --wait", Stdio::null()).unwrap();
    wait_copying(member);
    run
}

/// Waits until the member is stopped and some of its data has come. A daemon that was killed leaves its file behind, and one
/// that goes on begins it anew: so only both together tell.
fn wait_copying(member: &Host) {
    let line = "systemctl is-active etcd.service; stat -c %s /var/lib/nightshift/vault/*/*/.etcd*.partial/member.tar.gz";
    poll("a copy that has begun", COPY, || {
        let told = member.try_run(line).map_err(|error| error.to_string())?.text();
        match told.split_once('\n').map(|(state, size)| (state, size.parse::<u64>())) {
            Some(("inactive", Ok(size))) if size > 1_000_000 => Ok(()),
            _ => Err(told),
        }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(member)));
}

/// systemd starts a killed daemon again.
fn wait_daemon(member: &Host) {
    poll("the daemon's return", BACK, || {
        let state =
            member.try_run("systemctl is-active nightshift.service").map_err(|error| error.to_string())?;
        if state.text() == "active" { Ok(()) } else { Err(state.text()) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(member)));
}

fn kill_helper(member: &Host) {
    member.systemctl("kill --signal=KILL --kill-who=main 'nightshift-cold-copy@*.service'").unwrap();
}

fn wait_back(etcd: &EtcdCluster<'_>, member: &Host) {
    poll("the member's return", BACK, || {
        etcd.etcdctl(member, "endpoint health").map_err(|error| error.to_string())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(member)));
    poll("the marker's end", BACK, || {
        let marker = member.try_run("cat /var/lib/nightshift-cold-copy/stopped").unwrap();
        if marker.status == 0 { Err(marker.text()) } else { Ok(()) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(member)));
}

fn wait_unlocked(etcd: &EtcdCluster<'_>, witness: &Host) {
    poll("the end of the lock", LOCK, || {
        let lock = etcd.etcdctl(witness, "get --print-value-only /nightshift/cold-copy-lock");
        match lock.map_err(|error| error.to_string())? {
            empty if empty.is_empty() => Ok(()),
            holder => Err(holder),
        }
    })
    .unwrap();
}

fn a_night_goes_well(etcd: &EtcdCluster<'_>, member: &Host) {
    poll("a good set", COPY, || {
        let run = member.run_for("nightshift run snapshot-etcd --wait", COPY);
        match run {
            Ok(_) => Ok(()),
            Err(error) => {
                wait_unlocked(etcd, member);
                Err(error.to_string())
            }
        }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(member)));
    // Not a moment later: the stage ends when the member is back.
    assert!(etcd.etcdctl(member, "endpoint health").is_ok(), "{}", told(member));
    for event in ["member-stopped", "member-started"] {
        assert!(!member.journal(&[&format!("NIGHTSHIFT_EVENT={event}")]).unwrap().is_empty(), "{event}");
    }
    println!(
        "{}",
        member
            .run("systemd-analyze security --no-pager nightshift-cold-copy-recover.service | tail -1")
            .unwrap()
            .text()
    );
}

/// The copy, as a restore would start it: both stores are there, and both take a write.
fn the_copy_restores(etcd: &EtcdCluster<'_>, member: &Host) {
    let restored = member
        .run_for(
            "set -e; set -- /var/lib/nightshift/vault/*/*/etcd*/member.tar.gz; mkdir /root/restored; \
             tar -xzf \"$1\" -C /root/restored; \
             etcd --name restored --data-dir /root/restored --force-new-cluster --enable-v2 \
             --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
             --listen-peer-urls http://127.0.0.1:12380 > /root/restored.log 2>&1 & scratch=$!; \
             export ETCDCTL_API=3; \
             for second in $(seq 60); do \
                 etcdctl --endpoints=http://127.0.0.1:12379 put canary alive && break; sleep 1; done; \
             etcdctl --endpoints=http://127.0.0.1:12379 get --keys-only --limit=1 --prefix /kubernetes.io/; \
             ETCDCTL_API=2 etcdctl --endpoints=http://127.0.0.1:12379 get /openshift.io/old; \
             ETCDCTL_API=2 etcdctl --endpoints=http://127.0.0.1:12379 set /canary v2-alive; kill $scratch; wait || true",
            COPY,
        )
        .unwrap_or_else(|error| panic!("{error}\n{}", told(member)))
        .text();
    for words in ["/kubernetes.io/", "from-v2", "v2-alive"] {
        assert!(restored.contains(words), "{restored}");
    }
    etcd.wait_healthy().unwrap();
}

/// The drill takes what a restore would: the cold copy, not the snapshot beside it.
fn the_copy_is_proved(member: &Host) {
    let drill = member.try_run_for("nightshift drill", COPY).unwrap();
    println!("{}", drill.text());
    assert_eq!(drill.status, 0, "{}\n{}\n{}", drill.text(), drill.stderr, told(member));
    let proof = member.run("cat /var/lib/nightshift/vault/*/*/etcd*proofs/*.json").unwrap().text();
    for words in ["\"proved\"", "v2 keys"] {
        assert!(proof.contains(words), "{proof}");
    }
}

fn the_others_say_whose_turn_it_was(witness: &Host, member: &Host) {
    witness.run_for("nightshift run snapshot-etcd --wait", COPY).unwrap();
    let manifest = witness.run("cat /var/lib/nightshift/vault/*/*/etcd/manifest.json").unwrap().text();
    assert!(manifest.contains(&format!("cold copy of {}", member.name)), "{manifest}");
}

fn journal(host: &Host, unit: &str) -> String {
    host.run(&format!("journalctl --unit={unit} --output=short-precise --no-pager")).unwrap().text()
}

fn told(host: &Host) -> String {
    format!(
        "{}\n{}\n{}",
        story(host),
        journal(host, "'nightshift-cold-copy*'"),
        host.run("systemctl status --no-pager --lines=20 etcd.service || true").unwrap().text()
    )
}

fn the_master_pulls_all_sets(site: &Site, have: &[&Host]) {
    let etcd = EtcdCluster::of(&site.lab);
    for member in etcd.members().iter().filter(|member| have.iter().all(|other| other.name != member.name)) {
        member.run_for("nightshift run snapshot-etcd --wait", COPY).unwrap();
    }
    for stage in ["pull-etcd", "collect-master"] {
        let ran = site.host("master1").run_for(&format!("nightshift run {stage} --wait"), COPY);
        println!("{}", ran.unwrap_or_else(|error| panic!("{error}")).text());
    }
}

/// By one plan from the master's own vault: the member gets its copy back, and the others join it one after the other.
fn the_copy_is_restored_with_its_v2_keys(site: &Site) {
    let master = site.host("master1");
    let etcd = EtcdCluster::of(&site.lab);
    etcd.etcdctl2(etcd.members()[0], "set /openshift.io/later lost").unwrap();
    login(&site.lab, master).unwrap();
    let run = |words: &str| {
        let ran = master.try_run_for(&format!("cd /root && nightshift restore {words}"), APPLY).unwrap();
        println!("{}\n{}", ran.text(), ran.stderr);
        assert_eq!(ran.status, 0, "{words}: {}", story(master));
        ran.text()
    };
    let planned = run("plan --from /var/lib/nightshift/vault --only etcd");
    assert!(
        planned.contains("etcd: the cold copy of") && planned.contains("restart every client"),
        "{planned}"
    );
    let directory = planned.rsplit_once("restore check ").unwrap().1.trim().to_owned();
    run(&format!("check {directory}"));
    run(&format!("apply {directory}"));
    // The night that was open has sets of before: another one proves the restored members.
    let extra = Status::of(master);
    assert!(extra.night().ends_with(".1"), "{}", extra.night());
    assert_eq!(extra.verdict(), "complete", "{}\n{}", extra.reasons(), story(master));
    for member in etcd.members() {
        assert_eq!(
            etcd.etcdctl2(member, "get /openshift.io/old").unwrap().trim(),
            "from-v2",
            "{}",
            member.name
        );
        assert!(etcd.etcdctl2(member, "get /openshift.io/later").is_err(), "{}", member.name);
        let fill =
            etcd.etcdctl(member, "get /kubernetes.io/secrets/fill/ --prefix --keys-only --limit=1").unwrap();
        assert!(fill.contains("fill"), "{}", member.name);
    }
}
