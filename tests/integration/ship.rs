//! Archives on their way off site.

use std::fs;

use kit::lab::Role::{BackupServer, Master, Node};
use kit::lab::cmd::poll;
use kit::proxy::Way;
use kit::site::{Plan, Site};
use serde_json::Value;

use crate::support::{
    SOON, archive_in, ends_with, good, names, night_of, noise, outcome, reason, set_folder, shell, verdict,
};

const MIB: u64 = 1 << 20;

fn master_and_backup() -> Plan {
    Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])])
}

fn never_again(site: &Site) {
    site.drop_in("m1", "50-retries.toml", "[stage.ship-archive]\nretries = 0\n").unwrap();
}

fn outbox(site: &Site) -> Vec<String> {
    let names = names(&site.host("m1").state().join("outbox"));
    names.into_iter().filter(|name| name.ends_with(".tgz")).collect()
}

fn shipment(status: &Value) -> &Value {
    &status["night"]["record"]["shipped"][0]
}

#[test]
fn an_archive_waits_in_the_outbox_for_a_remote_that_is_down_and_goes_on_the_next_try() {
    let mut site = master_and_backup().build().unwrap();
    never_again(&site);
    site.host_mut("backup").sshd.down();
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "degraded"));
    assert_eq!(outcome(&status, "ship-archive"), "failed");
    assert!(reason(&status, "ship-archive").contains("backup-server"));
    assert_eq!(outbox(&site).len(), 1);
    assert!(names(&site.host("m1").state().join("sent")).is_empty());

    site.host_mut("backup").sshd.up().unwrap();
    good(site.run("m1", &["run", "ship-archive", "--wait"]).unwrap());
    assert!(outbox(&site).is_empty());
    archive_in(&site.inbox());
    archive_in(&site.host("m1").state().join("sent"));
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
}

#[test]
fn a_set_that_was_changed_after_it_was_stored_is_named_and_not_packed() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let set = set_folder(&site, "m1", "n1", "node");
    let manifest = set.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen('{', "{ ", 1)).unwrap();
    ends_with(site.run("m1", &["run", "pack-archive", "--wait"]).unwrap(), 3);
    let (_, status) = site.status("m1").unwrap();
    assert!(reason(&status, "pack-archive").contains("n1.site.test/"), "{}", reason(&status, "pack-archive"));
    assert_eq!(verdict(&status), "degraded");
    let packed = status["night"]["record"]["archives"].as_array().unwrap();
    assert_eq!(packed.last().unwrap()["sets"], 1, "{packed:?}");
}

#[test]
fn an_upload_that_was_cut_resumes_where_the_remote_had_it_on_disk() {
    let mut site = master_and_backup().proxied("backup").build().unwrap();
    // With one connection there is none to take over; so much lies between two checkpoints.
    site.lay("m1", "/etc/ansible/hosts", &noise(80 << 20)).unwrap();
    let config = fs::read_to_string(site.host("m1").config()).unwrap();
    let config = config.replace("name = \"backup-server\"", "name = \"backup-server\"\nconnections = 1");
    fs::write(site.host("m1").config(), config).unwrap();
    let proxy = site.host("backup").proxy.as_ref().unwrap();
    proxy.cut_after(Way::Up, 72 * MIB);
    site.start("m1").unwrap();
    let status = poll("the archive to be shipped", kit::site::NIGHT, || {
        let (_, status) = site.status("m1").unwrap();
        let shipped = shipment(&status)["verified"].is_string();
        if shipped { Ok(status) } else { Err(site.log("m1")) }
    });
    let status = status.unwrap();
    assert_eq!(status["night"]["record"]["stages"]["ship-archive"]["attempts"], 2);
    let sent = site.host("backup").proxy.as_ref().unwrap().count(Way::Up);
    assert!(sent < 100 * MIB, "of 80 MiB, cut at 72, {sent} bytes were sent in all");
    let archive = archive_in(&site.inbox());
    shell("cd \"$(dirname \"$1\")\" && sha256sum -c \"$1.sha256\"", &[&archive]);
    // The kit follows the archives.
    let ended = poll("the end of all uploads", SOON, || {
        let parts: Vec<String> =
            names(&site.inbox()).into_iter().filter(|name| name.ends_with(".part")).collect();
        if parts.is_empty() { Ok(()) } else { Err(format!("{parts:?}")) }
    });
    ended.unwrap();
}

#[test]
fn a_remote_that_runs_no_commands_is_verified_by_reading_back() {
    let mut site = master_and_backup().backup_sshd("ForceCommand internal-sftp").build().unwrap();
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(shipment(&status)["verified"], "SHA-256 verified (read back)");
}

#[test]
fn a_name_that_is_taken_at_the_remote_is_never_replaced() {
    let mut site = master_and_backup().build().unwrap();
    never_again(&site);
    // The night's date is not known before it is open.
    site.host_mut("backup").sshd.down();
    site.night().unwrap();
    let first = format!("m1.site.test_{}.tgz", night_of(&site, "m1").replace('-', "."));
    let second = first.replace(".tgz", ".2.tgz");
    let third = first.replace(".tgz", ".3.tgz");
    // From before the host was lost: an archive of as many bytes, and the checksum of one that was removed.
    let size = fs::metadata(site.host("m1").state().join("outbox").join(&first)).unwrap().len();
    let earlier = noise(usize::try_from(size).unwrap());
    let (sum, inbox) = (format!("{second}.sha256"), site.inbox());
    fs::create_dir_all(&inbox).unwrap();
    fs::write(inbox.join(&first), &earlier).unwrap();
    fs::write(inbox.join(&sum), "of an earlier archive").unwrap();
    site.host_mut("backup").sshd.up().unwrap();
    good(site.run("m1", &["run", "ship-archive", "--wait"]).unwrap());
    assert!(fs::read(inbox.join(&first)).unwrap() == earlier, "{first} was changed");
    assert_eq!(fs::read_to_string(inbox.join(&sum)).unwrap(), "of an earlier archive");
    let of_third = ["", ".sha256", ".sig"].map(|end| format!("{third}{end}"));
    let mut expected = [std::slice::from_ref(&first), &[sum], &of_third].concat();
    expected.sort();
    let there: Vec<String> = names(&inbox).into_iter().filter(|name| name.contains(".tgz")).collect();
    assert_eq!(there, expected);
    shell("cd \"$(dirname \"$1\")\" && sha256sum -c \"$1.sha256\"", &[&inbox.join(&third)]);

    // It is read under the name that it has there.
    let shipped = inbox.join(&third).to_str().unwrap().to_owned();
    let verified = good(site.run("m1", &["verify", &shipped]).unwrap());
    assert!(verified.stdout.contains("signed by m1.site.test"), "{verified:?}");
    let night = good(site.run("m1", &["nights", &night_of(&site, "m1")]).unwrap());
    assert!(night.stdout.contains(&format!("as {third}")), "{night:?}");
    let at = site.host("m1").state().to_str().unwrap().to_owned();
    let planned =
        site.run("m1", &["restore", "plan", "--from", &shipped, "--unsigned", "--in", &at]).unwrap();
    assert!(planned.stdout.contains("restore of cluster"), "{planned:?}");

    // It is looked for under that name too.
    fs::remove_file(inbox.join(&third)).unwrap();
    ends_with(site.run("m1", &["run", "ship-archive", "--wait"]).unwrap(), 3);
    let (_, status) = site.status("m1").unwrap();
    let lost = reason(&status, "ship-archive");
    assert!(lost.contains(&format!("{third} is gone from remote")), "{lost}");
}

#[test]
fn an_archive_is_not_shipped_where_all_its_names_are_taken() {
    let mut site = master_and_backup().build().unwrap();
    never_again(&site);
    site.host_mut("backup").sshd.down();
    site.night().unwrap();
    let stem = format!("m1.site.test_{}", night_of(&site, "m1").replace('-', "."));
    fs::create_dir_all(site.inbox()).unwrap();
    for edition in ["", ".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9"] {
        fs::write(site.inbox().join(format!("{stem}{edition}.tgz")), "other content").unwrap();
    }
    site.host_mut("backup").sshd.up().unwrap();
    let failed = ends_with(site.run("m1", &["run", "ship-archive", "--wait"]).unwrap(), 1);
    assert!(failed.stderr.contains(".9.tgz already exist on the remote with other content"), "{failed:?}");
    assert_eq!(fs::read_to_string(site.inbox().join(format!("{stem}.tgz"))).unwrap(), "other content");
    assert_eq!(outbox(&site), [format!("{stem}.tgz")]);
    site.host("m1").daemon().wait_log("not shipped to remote backup-server", SOON).unwrap();
}
