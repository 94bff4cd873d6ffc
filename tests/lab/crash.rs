use std::time::Duration;

use kit::lab::cmd::poll;
use kit::lab::nightshift::enable;
use kit::lab::{DiskSpec, FileSystem, Host, Role, Schedule, Topology, available};

use crate::site::{Site, story, wait_settled};

const NIGHT: Duration = Duration::from_secs(240);
/// Does not compress, and takes a while to pull and to pack.
const BIG_FILE: &str = "head -c 150000000 /dev/urandom > /etc/origin/node/big.img";

#[test]
fn a_night_outlives_kills_and_power_cuts_in_the_middle_of_a_pull_and_of_a_pack() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .host("master1", &[Role::Master, Role::Etcd])
        .with(1, Role::Node)
        .with(1, Role::BackupServer)
        .state_disk(DiskSpec { file_system: FileSystem::Ext4, mib: 2048 });
    let site = Site::up("crash", &topology, &Schedule::due_in(-1));
    let (master, node) = (site.host("master1"), site.host("node1"));
    node.run(BIG_FILE).unwrap();
    node.throttle_link(120).unwrap();
    enable(&site.lab).unwrap();

    let pulled = "/var/lib/nightshift/vault/node1.lab.test/*/.node.partial/etc/origin/node/big.img";
    wait_grown(master, pulled, 10_000_000);
    kill_daemon(master);
    wait_grown(master, pulled, 40_000_000);
    power_cut(master);
    node.unthrottle_link().unwrap();

    let packed = "/var/lib/nightshift/outbox/*.part";
    wait_grown(master, packed, 1_000_000);
    kill_daemon(master);
    wait_begun(master, "pack-archive"); // what the killed one left is swept before
    wait_grown(master, packed, 1_000_000);
    power_cut(master);

    let status = wait_settled(master, NIGHT);
    assert_eq!((status.verdict(), status.exit), ("complete", 0), "{}", story(master));
    let attempts = |stage: &str| {
        let attempts = status.report.pointer(&format!("/night/record/stages/{stage}/attempts")).cloned();
        attempts.and_then(|attempts| attempts.as_u64()).unwrap_or_default()
    };
    assert_eq!((attempts("pull-nodes"), attempts("pack-archive")), (3, 3), "{}", story(master));
    nothing_is_torn(&site, status.night());
}

fn nothing_is_torn(site: &Site, night: &str) {
    let (master, backup) = (site.host("master1"), site.host("backup1"));
    let verified = master.run_for("nightshift verify", NIGHT).unwrap().text();
    assert_eq!(verified.lines().filter(|line| line.contains(": good, ")).count(), 3, "{verified}");
    let left = master
        .run("find /var/lib/nightshift -name '.*.partial' -o -name '*.part' -o -path '*/outbox/*' ! -name '*.shipped' ! -name '*.last' ! -name '*.copies'")
        .unwrap()
        .text();
    assert_eq!(left, "", "something half-written is left");
    backup.run("cd /home/cloud-user && sha256sum --check *.sha256").unwrap();
    let archive = format!("master1.lab.test_{}.tgz.age", night.replace('-', "."));
    let listing = backup.run("ls --ignore='kit_*' /home/cloud-user").unwrap().text();
    assert_eq!(
        listing.lines().collect::<Vec<_>>(),
        [archive.clone(), format!("{archive}.sha256"), format!("{archive}.sig")]
    );
    let copy = site.lab.folder().join(&archive);
    std::fs::write(&copy, backup.read_file(&format!("/home/cloud-user/{archive}")).unwrap()).unwrap();
    let line = format!(
        "age -d -i {} {} | tar -xzO --wildcards '*/big.img' | sha256sum",
        site.key.path.display(),
        copy.display()
    );
    let hash = kit::lab::cmd::Cmd::new("sh").args(["-c", &line]).timeout(NIGHT).run().unwrap().text();
    let source = site.host("node1").run("sha256sum < /etc/origin/node/big.img").unwrap().text();
    assert_eq!(hash, source);
}

/// Waits until a file that is being written has come so far.
fn wait_grown(host: &Host, path: &str, bytes: u64) {
    poll(&format!("{bytes} bytes in {path}"), NIGHT, || {
        let size = host.try_run(&format!("stat -c %s {path}")).map_err(|error| error.to_string())?.text();
        match size.parse::<u64>() {
            Ok(size) if size >= bytes => Ok(()),
            _ => Err(format!("{size:?}")),
        }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", story(host)));
}

/// SIGKILL; systemd starts it again.
fn kill_daemon(host: &Host) {
    let killed = main_pid(host);
    host.systemctl("kill --signal=KILL nightshift.service").unwrap();
    poll(&format!("the daemon's return on {}", host.name), Duration::from_secs(60), || {
        match main_pid(host).as_str() {
            "0" => Err("it is not running".to_owned()),
            pid if pid == killed => Err(format!("{pid} has not ended yet")),
            _ => Ok(()),
        }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", story(host)));
}

/// Waits until the daemon that runs now has begun a stage.
fn wait_begun(host: &Host, stage: &str) {
    let matches = [format!("NIGHTSHIFT_STAGE={stage}"), format!("_PID={}", main_pid(host))];
    host.wait_journal(&[&matches[0], &matches[1]], Duration::from_secs(60), |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(host)));
}

fn main_pid(host: &Host) -> String {
    host.systemctl("show --value --property=MainPID nightshift.service").unwrap().text()
}

fn power_cut(host: &Host) {
    host.power_cut().unwrap();
    host.start().unwrap();
}
