//! SIGKILL in the middle: what was published stays whole, and the rest goes on where it was.

use std::fs;
use std::time::Duration;

use kit::lab::Role::{BackupServer, Master, Node};
use kit::lab::cmd::poll;
use kit::proxy::Way;
use kit::site::Plan;

use crate::support::{SOON, archive_in, good, names, night_of, noise, outcome, sets, shell, verdict};

const MIB: u64 = 1 << 20;
const NODE_CONFIG: &str = "/etc/origin/node/node-config.yaml";

#[test]
fn a_pull_that_sigkill_cut_short_resumes_and_the_night_completes() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("n1", &[Node])];
    let mut site = Plan::new(plan).proxied("n1").build().unwrap();
    site.lay("n1", NODE_CONFIG, &noise(16 << 20)).unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    site.host("n1").proxy.as_ref().unwrap().hold_after(Way::Down, 12 * MIB);
    site.start("m1").unwrap();
    site.host("n1").proxy.as_ref().unwrap().wait_tripped(SOON).unwrap();
    let partial =
        site.host("m1").vault().join("n1.site.test").join(night_of(&site, "m1")).join(".node.partial");
    poll("half of the file to be on disk", SOON, || {
        let length = fs::metadata(partial.join("node-config.yaml")).map_or(0, |file| file.len());
        if length >= 8 * MIB { Ok(()) } else { Err(format!("{length} bytes")) }
    })
    .unwrap();
    site.host_mut("m1").daemon.take().unwrap().kill().unwrap();
    assert!(sets(&site, "m1").keys().all(|set| !set.starts_with("n1")));

    let proxy = site.host("n1").proxy.as_ref().unwrap();
    proxy.release();
    let before = proxy.count(Way::Down);
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let again = site.host("n1").proxy.as_ref().unwrap().count(Way::Down) - before;
    assert!(again < 9 * MIB, "of 16 MiB, half of them there, {again} bytes came again");
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(status["night"]["record"]["stages"]["pull-nodes"]["attempts"], 2);
    good(site.run("m1", &["verify"]).unwrap());
    assert_eq!(sets(&site, "m1").len(), 2);
}

#[test]
fn a_pack_that_sigkill_cut_short_begins_again_and_no_torn_archive_is_ever_seen() {
    let mut site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
    site.lay("m1", NODE_CONFIG, &noise(96 << 20)).unwrap();
    site.start("m1").unwrap();
    let outbox = site.host("m1").state().join("outbox");
    poll("the archive to grow", Duration::from_secs(40), || {
        let part = names(&outbox).into_iter().find(|name| name.ends_with(".part"));
        let length = part.and_then(|part| fs::metadata(outbox.join(part)).ok()).map_or(0, |part| part.len());
        if length > MIB { Ok(()) } else { Err(format!("{length} bytes; {}", site.log("m1"))) }
    })
    .unwrap();
    site.host_mut("m1").daemon.take().unwrap().kill().unwrap();
    assert!(names(&outbox).iter().all(|name| name.ends_with(".part")), "{:?}", names(&outbox));

    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(outcome(&status, "pack-archive"), "done");
    let archive = archive_in(&site.inbox());
    shell("gzip -t \"$1\" && cd \"$(dirname \"$1\")\" && sha256sum -c \"$1.sha256\"", &[&archive]);
    good(site.run("m1", &["verify", archive.to_str().unwrap()]).unwrap());
    good(site.run("m1", &["verify"]).unwrap());
    assert_eq!(
        names(&outbox),
        [".backup-server.copies", ".backup-server.last", ".backup-server.shipped"],
        "only the notes of what the remote has"
    );
}
