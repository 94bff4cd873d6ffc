use std::process::Stdio;
use std::time::Duration;

use kit::etcd::Release;
use kit::lab::cmd::{Running, poll};
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{CONFIG, configure, enable};
use kit::lab::{Host, HostFile, Role, Schedule, Topology, available};

use crate::site::{Site, Status, story, wait_settled};

const NIGHT: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(60);
const SCRATCH: &str = "/var/lib/nightshift-drill";
const UNIT: &str = "nightshift-drill@";
/// So slow that a test meets it at work.
const SLOWLY: &str = "\n[drill]\nrate = \"4MB\"\n";

#[test]
fn a_drill_says_the_right_word_whatever_hinders_it_and_nothing_else_feels_it() {
    if !kit::require(available()) {
        return;
    }
    let site = site("drill");
    let ground = Ground::of(&site);
    the_unit_is_hardened(ground.host);

    let proved = ground.drilled("");
    assert_eq!(proved.exit, 0, "{}", proved.text);
    assert!(proved.text.contains("proved"), "{}", proved.text);

    without_any_etcd(&ground);
    with_another_version(&ground);
    where_there_is_no_room(&ground);
    where_the_disk_fills_up(&ground);
    under_memory_pressure(&ground);
    and_again_without_hindrance(&ground);
}

#[test]
fn a_killed_drill_leaves_nothing_whoever_takes_part_in_it_is_killed() {
    if !kit::require(available()) {
        return;
    }
    let evening = Schedule::due_in(-1);
    let site = found("drillkill", &evening);
    let master = site.host("master1");
    configure(&site.lab, &format!("{}{SLOWLY}", site.config(&evening))).unwrap();
    enable(&site.lab).unwrap();
    // The daemon, while it waits for the night's own drill: back again, it has another one made.
    is_at_work(master);
    master.systemctl("kill --signal=KILL nightshift.service").unwrap();
    is_proved(master);
    let ground = Ground::of(&site);
    ground.nothing_is_left();

    // The unit, while somebody waits for it.
    let drill = ground.begun();
    ground.host.run(&format!("systemctl kill --signal=KILL '{UNIT}*'")).unwrap();
    let ended = ground.ended(drill);
    assert_eq!(ended.exit, 3, "{}", ended.text);
    ground.is_untouched();

    // And the one who waits: whoever works for nobody stops.
    let drill = ground.begun();
    ground.host.run("pkill --signal KILL --exact --full 'nightshift drill'").unwrap();
    drop(drill);
    ground.nothing_is_left();
    ground.is_untouched();
}

/// A master that is etcd too, with a database of some size.
fn found(name: &str, evening: &Schedule) -> Site {
    let topology = Topology::new().host("master1", &[Role::Master, Role::Etcd]);
    let site = Site::up(name, &topology, evening);
    let etcd = EtcdCluster::of(&site.lab);
    etcd.fill(etcd.members()[0], 24 << 20).unwrap();
    site
}

/// One whose night is complete.
fn site(name: &str) -> Site {
    let site = found(name, &Schedule::due_in(-1));
    enable(&site.lab).unwrap();
    is_proved(site.host("master1"));
    site
}

/// Its night ends well, which it does not without a proof.
fn is_proved(master: &Host) {
    let status = wait_settled(master, NIGHT);
    assert_eq!((status.verdict(), status.exit), ("complete", 0), "{}\n{}", status.reasons(), story(master));
    let proofs = status.report.pointer("/night/record/proofs").and_then(serde_json::Value::as_array).unwrap();
    assert!(proofs.iter().any(|proof| proof["verdict"] == "proved"), "{proofs:?}");
}

/// A drill has something on its disk.
fn is_at_work(host: &Host) {
    poll("a drill at work", NIGHT, || {
        let line = format!("find {SCRATCH} -name snapshot.db -size +2M");
        let found = host.run(&line).map_err(|error| error.to_string())?.text();
        if found.is_empty() { Err("nothing is in the scratch folder".to_owned()) } else { Ok(()) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", story(host)));
}

fn the_unit_is_hardened(host: &Host) {
    let report = host.run(&format!("systemd-analyze security --no-pager {UNIT}lab.service")).unwrap().text();
    let overall = report.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    println!("{overall}");
    let exposure = overall.split_whitespace().find_map(|word| word.parse::<f32>().ok()).unwrap();
    assert!(exposure <= 1.5, "{report}");
}

fn without_any_etcd(ground: &Ground<'_>) {
    // The member goes on with the program that it has open.
    ground.host.run("mv /usr/bin/etcd /usr/bin/etcd.away").unwrap();
    let drill = ground.drilled("");
    ground.host.run("mv /usr/bin/etcd.away /usr/bin/etcd").unwrap();
    drill.could_not_be_tried(&["no etcd in "]);
}

fn with_another_version(ground: &Ground<'_>) {
    let newer = Release::named("3.5");
    if !kit::require(newer.as_ref().map(drop).map_err(Clone::clone)) {
        return;
    }
    let newer = newer.unwrap();
    for program in ["etcd", "etcdctl", "etcdutl"] {
        let path = format!("/opt/etcd-3.5/{program}");
        ground.host.push(&newer.program(program), &path).unwrap();
        ground.host.run(&format!("chmod 0755 {path}")).unwrap();
    }
    let drill = ground.drilled("\n[drill]\netcd-tools = \"/opt/etcd-3.5\"\n");
    drill.could_not_be_tried(&["3.5.16", "3.4."]);
}

fn where_there_is_no_room(ground: &Ground<'_>) {
    ground.with_scratch_of("64m");
    let drill = ground.drilled("");
    ground.without_scratch();
    drill.could_not_be_tried(&["space"]);
}

/// Room there was when it began, and somebody else took it.
fn where_the_disk_fills_up(ground: &Ground<'_>) {
    ground.with_scratch_of("400m");
    let drill = ground.begun();
    // It ends when the disk is full: that it fails is the point.
    let filled = ground.host.try_run_for(&format!("cat /dev/zero > {SCRATCH}/greed"), SOON).unwrap();
    assert_ne!(filled.status, 0);
    let ended = ground.ended(drill);
    ground.without_scratch();
    ended.could_not_be_tried(&["space"]);
}

fn under_memory_pressure(ground: &Ground<'_>) {
    let drop_in = format!("/etc/systemd/system/{UNIT}.service.d/lab.conf");
    let limits = "[Service]\nMemoryMax=16M\nMemorySwapMax=0\n";
    ground.host.write_file(&HostFile::new(&drop_in, 0o644, limits)).unwrap();
    ground.host.systemctl("daemon-reload").unwrap();
    let drill = ground.begun();
    ground.host.limit_memory_of(UNIT, 16 << 20).unwrap();
    let ended = ground.ended(drill);
    ground.host.run(&format!("rm {drop_in} && systemctl daemon-reload")).unwrap();
    ended.could_not_be_tried(&[]);
    // Which process the kernel takes is its own affair: etcd, its restorer, or with OOMPolicy=kill the whole unit.
    assert!(["SIGKILL", "out of memory"].iter().any(|word| ended.text.contains(word)), "{}", ended.text);
}

fn and_again_without_hindrance(ground: &Ground<'_>) {
    let drill = ground.drilled("");
    assert_eq!(drill.exit, 0, "{}", drill.text);
    ground.is_untouched();
    let status = Status::of(ground.host);
    assert_eq!(status.exit, 0, "{}", status.report);
}

fn shown(host: &Host, unit: &str, property: &str) -> String {
    host.systemctl(&format!("show --value --property={property} {unit}")).unwrap().text()
}

/// The host, and the processes on it that no drill may disturb.
struct Ground<'a> {
    host: &'a Host,
    config: String,
    untouched: [String; 2],
}

impl<'a> Ground<'a> {
    fn of(site: &'a Site) -> Self {
        let host = site.host("master1");
        let config = String::from_utf8(host.read_file(CONFIG).unwrap()).unwrap();
        let config = config.replace(SLOWLY, "");
        Self { host, config, untouched: processes(host) }
    }

    fn configure(&self, more: &str) {
        let text = format!("{}{more}", self.config);
        self.host.write_file(&HostFile::new(CONFIG, 0o644, text)).unwrap();
    }

    /// One drill from beginning to end, with this in the config.
    fn drilled(&self, more: &str) -> Drill {
        self.configure(more);
        let output = self.host.try_run_for("nightshift drill 2>&1", NIGHT).unwrap();
        self.configure("");
        println!("{}", output.text());
        self.nothing_is_left();
        self.is_untouched();
        Drill { exit: output.status, text: output.text() }
    }

    /// A slow drill, at work.
    fn begun(&self) -> Running {
        self.configure(SLOWLY);
        let line = "nightshift drill > /tmp/drill.log 2>&1; echo $? > /tmp/drill.exit";
        self.host.run("rm -f /tmp/drill.log /tmp/drill.exit").unwrap();
        let drill = self.host.spawn(line, Stdio::null()).unwrap();
        is_at_work(self.host);
        drill
    }

    fn ended(&self, drill: Running) -> Drill {
        let exit = poll("the end of the drill", NIGHT, || {
            let exit = self.host.run("cat /tmp/drill.exit").map_err(|error| error.to_string())?.text();
            exit.parse().map_err(|_| format!("exit `{exit}`"))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", story(self.host)));
        drop(drill);
        let text = self.host.run("cat /tmp/drill.log").unwrap().text();
        println!("{text}");
        self.configure("");
        self.host.run(&format!("rm -f {SCRATCH}/greed")).unwrap();
        self.nothing_is_left();
        self.is_untouched();
        Drill { exit, text }
    }

    fn with_scratch_of(&self, size: &str) {
        let line = format!(
            "mount -t tmpfs -o size={size},mode=0700 scratch {SCRATCH} && chown nightshift-drill:nightshift-drill {SCRATCH}"
        );
        self.host.run(&line).unwrap();
    }

    fn without_scratch(&self) {
        self.host.run(&format!("umount {SCRATCH}")).unwrap();
    }

    /// No file, no process.
    fn nothing_is_left(&self) {
        poll("the end of all that a drill made", SOON, || {
            let files = self.host.try_run(&format!("ls -A {SCRATCH} 2>/dev/null"));
            let units = self.host.try_run(&format!("systemctl list-units --plain --no-legend '{UNIT}*.service' --state=active,activating,deactivating"));
            let processes = self.host.try_run(&format!("pgrep --full --list-full {SCRATCH}/[n]ightshift"));
            for left in [files, units, processes] {
                let left = left.map_err(|error| error.to_string())?.text();
                if !left.is_empty() {
                    return Err(left);
                }
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", story(self.host)));
    }

    /// The daemon and the real member are the same processes, and the member takes writes.
    fn is_untouched(&self) {
        assert_eq!(processes(self.host), self.untouched, "{}", story(self.host));
        let put = "ETCDCTL_API=3 etcdctl --cacert=/etc/etcd/ca.crt --cert=/etc/etcd/peer.crt --key=/etc/etcd/peer.key \
                   --endpoints=https://$(hostname):2379 put /kubernetes.io/canary alive";
        self.host.run(put).unwrap();
    }
}

fn processes(host: &Host) -> [String; 2] {
    ["nightshift.service", "etcd.service"].map(|unit| shown(host, unit, "MainPID"))
}

/// How a drill by hand ended.
struct Drill {
    exit: i32,
    text: String,
}

impl Drill {
    fn could_not_be_tried(&self, words: &[&str]) {
        assert_eq!(self.exit, 3, "{}", self.text);
        assert!(self.text.contains("not proved"), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no `{word}` in: {}", self.text);
        }
    }
}
