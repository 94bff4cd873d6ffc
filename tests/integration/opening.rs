//! Which nights open, by the schedule and by hand, what is shown of one that does not, and how a daemon ends.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use kit::daemon::Start;
use kit::journal::Journal;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::lab::cmd::poll;
use kit::proxy::Way;
use kit::site::{Plan, Site};
use rustix::process::Signal;

use crate::support::{SOON, ends_with, good, names, night_of, outcome, reason, set_folder};

/// A daemon that only waits ends within this time.
const STOPS: Duration = Duration::from_secs(2);

/// Hosts on which no night of the schedule is open, with running daemons.
fn between_nights(plan: Plan, hosts: &[&str]) -> Site {
    let mut site = plan.build().unwrap();
    for host in hosts {
        site.between_nights(host).unwrap();
        site.start(host).unwrap();
    }
    site
}

/// Stops a daemon; returns how long that took.
fn stop(site: &mut Site, host: &str) -> Duration {
    let mut daemon = site.host_mut(host).daemon.take().unwrap();
    let begun = Instant::now();
    assert_eq!(daemon.terminate().unwrap(), 0, "{}", daemon.log());
    begun.elapsed()
}

fn records(site: &Site, host: &str) -> Vec<String> {
    names(&site.host(host).state().join("records"))
}

#[test]
fn a_request_names_an_extra_night_of_today_or_is_refused_and_leaves_nothing() {
    let site = between_nights(Plan::new(&[("n1", &[Node])]), &["n1"]);
    for words in [
        ["run", "collect-node", "--night", "2099-01-01"],
        ["run", "collect-node", "--night", "2099-01-01.1"],
        ["run", "night", "--night", "2099-01-01.1"],
        ["run", "prune", "--night", "2020-01-01.1"],
    ] {
        let refused = ends_with(site.run("n1", &words).unwrap(), 2);
        assert!(refused.stderr.contains("is not of today"), "{refused:?}");
    }
    assert_eq!(records(&site, "n1"), [""; 0]);

    good(site.run("n1", &["run", "night", "--wait"]).unwrap());
    let first = night_of(&site, "n1");
    let fourth = first.replace(".1", ".4");
    good(site.run("n1", &["run", "night", "--night", &fourth, "--wait"]).unwrap());
    assert_eq!(night_of(&site, "n1"), fourth);
    let before = fs::read(site.host("n1").state().join(format!("records/{first}.json"))).unwrap();
    let refused = ends_with(site.run("n1", &["run", "collect-node", "--night", &first]).unwrap(), 2);
    assert!(refused.stderr.contains("never replaced"), "{refused:?}");
    let after = fs::read(site.host("n1").state().join(format!("records/{first}.json"))).unwrap();
    assert!(before == after, "the record of a closed night has changed");
}

#[test]
fn a_pull_in_an_extra_night_ends_once_every_peer_with_that_night_was_pulled_and_names_the_others() {
    let plan = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node])]);
    let site = between_nights(plan, &["m1", "n1", "n2"]);
    good(site.run("n1", &["run", "night", "--wait"]).unwrap());
    let night = night_of(&site, "n1");
    let pulled = good(site.run("m1", &["run", "pull-nodes", "--night", &night, "--wait"]).unwrap());
    assert!(pulled.stdout.contains(&format!("no set of night {night} on n2.site.test")), "{pulled:?}");
    assert!(set_folder(&site, "m1", "n1", "node").join("manifest.json").exists());
    let status = site.run("m1", &["status"]).unwrap().stdout;
    assert!(status.contains("n1.site.test  node  good"), "{status}");

    let unknown = night.replace(".1", ".7");
    let none = ends_with(site.run("m1", &["run", "pull-nodes", "--night", &unknown, "--wait"]).unwrap(), 1);
    assert!(["n1", "n2"].iter().all(|host| none.stderr.contains(&format!("{host}.site.test"))), "{none:?}");
}

#[test]
fn an_extra_night_is_closed_by_hand_with_the_reason_in_its_record() {
    let plan = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).proxied("n1");
    let site = between_nights(plan, &["m1"]);
    let none = ends_with(site.run("m1", &["nights", "close"]).unwrap(), 75);
    assert!(none.stderr.contains("no extra night is open"), "{none:?}");
    site.host("n1").proxy.as_ref().unwrap().hold_after(Way::Down, 0);
    good(site.run("m1", &["run", "night", "--wait"]).unwrap());
    let night = night_of(&site, "m1").replace(".1", ".2");
    good(site.run("m1", &["run", "pull-nodes", "--night", &night]).unwrap());
    let closing = good(site.run("m1", &["nights", "close"]).unwrap());
    assert!(closing.stdout.contains(&format!("night {night} clos")), "{closing:?}");
    poll("the night to close", SOON, || {
        let record = fs::read_to_string(site.host("m1").state().join(format!("records/{night}.json")));
        match record {
            Ok(record) if record.contains("closed before its time: an operator closed it") => Ok(()),
            other => Err(format!("{other:?}: {}", site.log("m1"))),
        }
    })
    .unwrap();
}

#[test]
fn what_is_left_in_the_outbox_is_shipped_between_two_nights() {
    let plan = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]);
    let site = between_nights(plan, &["m1"]);
    good(site.run("m1", &["run", "night", "--wait"]).unwrap());
    let second = night_of(&site, "m1").replace(".1", ".2");
    let pack = ["run", "collect-master", "--night", &second, "--wait"];
    good(site.run("m1", &pack).unwrap());
    let third = second.replace(".2", ".3");
    good(site.run("m1", &["run", "collect-master", "pack-archive", "--night", &third]).unwrap());
    poll("an archive in the outbox", SOON, || {
        let outbox = names(&site.host("m1").state().join("outbox"));
        if outbox.iter().any(|name| name.ends_with(".tgz")) { Ok(()) } else { Err(format!("{outbox:?}")) }
    })
    .unwrap();
    poll("the extra night to close", SOON, || {
        let shipped = site.run("m1", &["run", "ship-archive", "--wait"]).unwrap();
        if shipped.code == 0 { Ok(()) } else { Err(format!("{shipped:?}")) }
    })
    .unwrap();
    assert!(names(&site.inbox()).iter().any(|name| name.ends_with(".tgz")), "{:?}", names(&site.inbox()));
}

#[test]
fn a_stage_whose_set_exists_says_so_and_makes_another_one_on_request() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let again = good(site.run("n1", &["run", "collect-node", "--wait"]).unwrap());
    assert!(again.stdout.contains("nothing made: n1.site.test/"), "{again:?}");
    assert!(again.stdout.contains("`--again` makes another one"), "{again:?}");
    let nothing = good(site.run("n1", &["run", "night"]).unwrap());
    assert!(nothing.stdout.contains("nothing started"), "{nothing:?}");
    let made = good(site.run("n1", &["run", "collect-node", "--again", "--wait"]).unwrap());
    assert!(!made.stdout.contains("nothing made"), "{made:?}");
    let vault = set_folder(&site, "n1", "n1", "node");
    assert!(vault.with_file_name("node.2").join("manifest.json").exists());
    good(site.run("n1", &["run", "night", "--again", "--wait"]).unwrap());
    assert!(vault.with_file_name("node.3").join("manifest.json").exists());
    let refused = ends_with(site.run("n1", &["run", "prune", "--again"]).unwrap(), 2);
    assert!(refused.stderr.contains("prune makes no set"), "{refused:?}");
}

#[test]
fn a_night_that_waits_for_the_clock_says_so_and_a_reload_of_trust_clock_opens_it() {
    if !kit::require(Journal::available()) {
        return;
    }
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.drop_in("n1", "50-clock.toml", "[night]\ntrust-clock = false\n").unwrap();
    // In its own mount namespace the daemon cannot learn that the clock is synchronised.
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::listen(folder.path()).unwrap();
    site.start_with("n1", &Start { journal: Some(&journal), ..Start::default() }).unwrap();
    let entry = journal.wait_for(&[("NIGHTSHIFT_EVENT", "clock-doubtful")], SOON).unwrap();
    for part in ["the clock is not synchronised", "trust-clock", "opens by itself at"] {
        assert!(entry["NIGHTSHIFT_REASON"].contains(part), "{part} in {entry:?}");
    }
    let status = ends_with(site.run("n1", &["status"]).unwrap(), 3).stdout;
    let status = status.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["HELD: night ", ": held since ", "the clock is not synchronised", "opens by itself at"] {
        assert!(status.contains(part), "{part} in {status}");
    }
    site.drop_in("n1", "50-clock.toml", "").unwrap();
    good(site.run("n1", &["reload"]).unwrap());
    let status = site.settle("n1").unwrap();
    assert_eq!(outcome(&status, "prune"), "done", "{}", reason(&status, "prune"));
    good(site.run("n1", &["status"]).unwrap());
}

#[test]
fn a_second_daemon_on_one_state_directory_is_refused_and_the_first_stays_reachable() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let refused = ends_with(site.run("n1", &["daemon"]).unwrap(), 75);
    assert!(refused.stderr.contains("another nightshift daemon runs on"), "{refused:?}");
    // With a state directory of its own it may not take the first one's socket either.
    let elsewhere = site.host("n1").state().with_file_name("other");
    let paths = format!("[paths]\nstate = \"{}\"\n", elsewhere.display());
    site.drop_in("n1", "60-paths.toml", &paths).unwrap();
    let refused = ends_with(site.run("n1", &["daemon"]).unwrap(), 1);
    assert!(refused.stderr.contains("another process listens on it"), "{refused:?}");
    site.drop_in("n1", "60-paths.toml", "").unwrap();
    let status = good(site.run("n1", &["status"]).unwrap()).stdout;
    assert!(status.contains("daemon 0.1.0"), "{status}");
    good(site.run("n1", &["reload"]).unwrap());
}

#[test]
fn a_daemon_that_does_not_respond_is_reported_by_status() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    let socket = site.run_folder("n1").join("control.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    // As with a daemon that is stopped by SIGSTOP, connections are accepted by the kernel.
    let _listening = UnixListener::bind(&socket).unwrap();
    let ran = ends_with(site.run("n1", &["status"]).unwrap(), 3);
    assert!(ran.stdout.contains("did not respond within 10 s"), "{ran:?}");
}

#[test]
fn a_daemon_with_all_its_slots_in_use_is_called_busy_and_not_down() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let socket = site.run_folder("n1.site.test").join("control.sock");
    let idle: Vec<UnixStream> = (0..40).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    let busy = ends_with(site.run("n1", &["status"]).unwrap(), 3).stdout;
    assert!(busy.contains("daemon busy") && !busy.contains("not running"), "{busy}");
    let busy = ends_with(site.run("n1", &["reload"]).unwrap(), 75);
    assert!(busy.stderr.contains("the daemon is busy"), "{busy:?}");
    drop(idle);
    poll("a free slot", SOON, || {
        let reloaded = site.run("n1", &["reload"]).unwrap();
        if reloaded.code == 0 { Ok(()) } else { Err(format!("{reloaded:?}")) }
    })
    .unwrap();
}

#[test]
fn unreadable_records_and_one_from_the_future_stop_nothing_and_are_shown() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    site.stop_all().unwrap();
    let records = site.host("n1").state().join("records");
    let open = names(&records).into_iter().find(|name| name.ends_with(".jsonl")).unwrap();
    let text = fs::read_to_string(records.join(&open)).unwrap();
    let tonight = open.strip_suffix(".jsonl").unwrap();
    let future = text.replace(tonight, "2099-01-01");
    fs::write(records.join("2099-01-01.jsonl"), future).unwrap();
    let torn = format!("{tonight}.9.json");
    fs::write(records.join(&torn), b"{ torn").unwrap();
    // Larger than any record: tonight's record is begun again.
    fs::OpenOptions::new().write(true).open(records.join(&open)).unwrap().set_len((256 << 20) + 1).unwrap();
    site.start("n1").unwrap();
    let status = site.settle("n1").unwrap();
    assert_eq!(status["night"]["record"]["night"], tonight);
    assert_eq!(outcome(&status, "prune"), "done", "{}", reason(&status, "prune"));
    let shown = ends_with(site.run("n1", &["status"]).unwrap(), 3).stdout;
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("2099-01-01") && shown.contains("more than 36 h in the future"), "{shown}");
    let listed = ends_with(site.run("n1", &["nights"]).unwrap(), 3);
    assert!(listed.stderr.contains(&torn) && listed.stdout.contains(tonight), "{listed:?}");
}

#[test]
fn a_member_that_waits_for_its_slot_stops_at_once() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("e1", &[Etcd]), ("e2", &[Etcd])];
    let mut site = Plan::new(plan).build().unwrap();
    for host in ["e1", "e2"] {
        site.drop_in(host, "50-slot.toml", "[etcd]\nslot = \"1h\"\n").unwrap();
        site.start(host).unwrap();
    }
    let waits = |site: &Site, host: &str| site.log(host).contains("this member's snapshot is number 2");
    poll("a member that waits", SOON, || {
        let waiting = ["e1", "e2"].into_iter().any(|host| waits(&site, host));
        if waiting { Ok(()) } else { Err(format!("{}{}", site.log("e1"), site.log("e2"))) }
    })
    .unwrap();
    let waiting = if waits(&site, "e1") { "e1" } else { "e2" };
    let took = stop(&mut site, waiting);
    assert!(took < STOPS, "{took:?}");
    let (_, status) = site.status(waiting).unwrap();
    assert_eq!(outcome(&status, "snapshot-etcd"), "interrupted");
}

#[test]
fn a_daemon_stops_at_once_while_a_peer_a_remote_or_a_command_does_not_answer() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).proxied("n1").proxied("backup").build().unwrap();
    site.drop_in(
        "n1",
        "50-command.toml",
        "[files]\nnode = [{ command = [\"sleep\", \"600\"], as = \"slow\" }]\n",
    )
    .unwrap();
    site.start("n1").unwrap();
    site.host("n1").daemon().wait_log("collect-node starting", SOON).unwrap();
    let took = stop(&mut site, "n1");
    assert!(took < STOPS, "a command: {took:?}");

    site.host("n1").proxy.as_ref().unwrap().hold_after(Way::Down, 0);
    site.start("m1").unwrap();
    site.host("n1").proxy.as_ref().unwrap().wait_tripped(SOON).unwrap();
    let took = stop(&mut site, "m1");
    assert!(took < STOPS, "a peer: {took:?}");

    site.host("n1").proxy.as_ref().unwrap().release();
    site.host("backup").proxy.as_ref().unwrap().hold_after(Way::Down, 0);
    site.drop_in("n1", "50-command.toml", "").unwrap();
    for host in ["n1", "m1"] {
        site.start(host).unwrap();
    }
    site.host("backup").proxy.as_ref().unwrap().wait_tripped(kit::site::NIGHT).unwrap();
    let took = stop(&mut site, "m1");
    assert!(took < STOPS, "a remote: {took:?}");
    site.host("n1").daemon().signal(Signal::TERM).unwrap();
}

#[test]
fn a_daemon_serves_and_stops_at_once_while_a_file_that_a_client_asked_about_does_not_respond() {
    let mut site = between_nights(Plan::new(&[("n1", &[Node])]), &["n1"]);
    // Like a file on a mount that does not respond.
    let host_key = site.host("n1").state().with_file_name("sshd").join("host_key");
    fs::remove_file(&host_key).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &host_key, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let socket = site.run_folder("n1").join("control.sock");
    let asking: Vec<UnixStream> = (0..6)
        .map(|_| {
            let mut client = UnixStream::connect(&socket).unwrap();
            std::io::Write::write_all(&mut client, b"{\"ask\":\"readable\"}\n").unwrap();
            client
        })
        .collect();
    ends_with(site.run("n1", &["nights", "close"]).unwrap(), 75);
    let took = stop(&mut site, "n1");
    assert!(took < STOPS, "{took:?}");
    drop(asking);
}
