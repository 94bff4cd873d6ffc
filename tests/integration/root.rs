//! Commands that root runs where the daemon's user can write, and programs that the daemon runs: neither may get more than it needs.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::lab::cmd::poll;
use kit::site::{Plan, Site};

use crate::support::{SOON, archive_in, ends_with, good, names, night_of, set_folder, shell};

/// The daemon's user, who has no name here.
const USER: u32 = 4242;

fn as_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    kit::require(if root { Ok(()) } else { Err("only root becomes another user".to_owned()) })
}

/// Lets every user reach this path.
fn open_up(path: &Path) {
    for directory in path.ancestors().take_while(|directory| *directory != Path::new("/tmp")) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Something of root's, and a check that it is as it was.
struct Precious(PathBuf);

impl Precious {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("sub")).unwrap();
        fs::write(path.join("sub/file"), "precious").unwrap();
        Self(path)
    }

    fn is_untouched(&self) {
        for path in [self.0.clone(), self.0.join("sub"), self.0.join("sub/file")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), 0, "{} was given away", path.display());
        }
        assert_eq!(names(&self.0), ["sub"]);
        assert_eq!(fs::read_to_string(self.0.join("sub/file")).unwrap(), "precious");
    }
}

/// Programs of etcd's that note the user who runs them.
fn noting_tools(site: &Site, host: &str) -> PathBuf {
    let noted = site.host(host).state().with_file_name("noted");
    fs::write(&noted, "").unwrap();
    fs::set_permissions(&noted, fs::Permissions::from_mode(0o666)).unwrap();
    let tools = site.host(host).state().with_file_name("tools");
    fs::create_dir(&tools).unwrap();
    for name in ["etcd", "etcdctl"] {
        let script = format!("#!/bin/sh\nid -u >> {}\nexec /usr/bin/{name} \"$@\"\n", noted.display());
        fs::write(tools.join(name), script).unwrap();
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let named = format!("[drill]\netcd-tools = {tools:?}\nhosts = []\n");
    site.drop_in(host, "50-drill.toml", &named).unwrap();
    noted
}

#[test]
fn links_that_the_daemons_user_planted_lead_root_nowhere() {
    if !as_root() {
        return;
    }
    let mut site = Plan::new(&[("m1", &[Master, Etcd]), ("backup", &[BackupServer])]).build().unwrap();
    site.etcd[0].put("/registry/pods/ns/a", "one").unwrap();
    let noted = noting_tools(&site, "m1");
    site.night().unwrap();
    let proofs = set_folder(&site, "m1", "m1", "etcd.proofs");
    let (state, archive) = (site.host("m1").state(), archive_in(&site.inbox()));
    site.stop_all().unwrap();
    let data = site.etcd[0].data();
    site.etcd[0].kill();

    let outside = state.with_file_name("outside");
    let victims = ["drill", "archive", "foreign", "replay", "proofs"];
    let victims = victims.map(|name| Precious::new(outside.join(name)));
    fs::create_dir_all(state.join("scratch")).unwrap();
    for (name, victim) in ["drill", "archive", "foreign", "replay"].iter().zip(&victims) {
        symlink(&victim.0, state.join(format!("scratch/nightshift-{name}"))).unwrap();
    }
    symlink(&victims[4].0, &proofs).unwrap();
    shell(&format!("chown -hR {USER}:{USER} \"$1\""), &[&state]);
    open_up(&state);

    let data_dir = ["drill", "--data-dir", data.to_str().unwrap()];
    let of_archive = ["drill", "--archive", archive.to_str().unwrap()];
    for words in [&data_dir[..], &of_archive, &["drill"]] {
        let ran = ends_with(site.run("m1", words).unwrap(), 3);
        assert!(ran.stdout.contains("not proved: cannot create a scratch directory"), "{ran:?}");
        victims.iter().for_each(Precious::is_untouched);
    }
    fs::remove_file(state.join("scratch/nightshift-drill")).unwrap();
    for words in [&data_dir[..], &of_archive, &["drill"]] {
        let ran = good(site.run("m1", words).unwrap());
        assert!(ran.stdout.contains("accepted a write"), "{ran:?}");
        assert_eq!(ran.stderr.contains("the proof was not stored"), words == ["drill"], "{ran:?}");
        victims.iter().for_each(Precious::is_untouched);
    }
    fs::remove_file(&proofs).unwrap();
    good(site.run("m1", &["drill"]).unwrap());
    let proof = proofs.join(&names(&proofs)[0]);
    for path in [&proofs, &proof] {
        assert_eq!(fs::metadata(path).unwrap().uid(), USER, "the daemon cannot remove {}", path.display());
    }

    let users = fs::read_to_string(noted).unwrap();
    assert!(users.lines().all(|user| user == USER.to_string()) && !users.is_empty(), "{users}");
}

#[test]
fn a_program_that_the_daemon_collects_from_does_not_get_its_capability() {
    if !as_root() {
        return;
    }
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    let collected = "[files]\nnode = [{ command = [\"grep\", \"^Cap\", \"/proc/self/status\"], as = \"capabilities\" }]\n";
    site.drop_in("n1", "50-files.toml", collected).unwrap();
    // As systemd starts it: with one capability in the ambient set, and none that come with the user.
    let how =
        ["--securebits=+noroot", "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"];
    let mut daemon = started(&site, &how, &[]).spawn().unwrap();
    let printed = poll("the collected output", SOON, || {
        let own = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap_or_default();
        let night = std::panic::catch_unwind(|| night_of(&site, "n1")).map_err(|_| "no status".to_owned())?;
        let path = site.host("n1").vault().join("n1.site.test").join(night).join("node/capabilities");
        fs::read_to_string(&path).map(|printed| (own, printed)).map_err(|error| error.to_string())
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let (own, printed) = printed.unwrap();
    assert_eq!(set(&own, "CapEff:"), 4, "the daemon itself reads every file: {own}");
    for name in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(set(&printed, name), 0, "{name} {printed}");
    }
}

/// n1's daemon, as a service manager starts it that uses setpriv.
fn started(site: &Site, how: &[&str], words: &[&str]) -> Command {
    let mut daemon = Command::new("setpriv");
    daemon.args(how).arg(kit::daemon::program().unwrap());
    daemon.arg("--config").arg(site.host("n1").config()).arg("daemon").args(words);
    daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    daemon
}

/// The rest of a line of `/proc/PID/status`.
fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let rest = status.lines().find_map(|line| line.strip_prefix(name));
    rest.unwrap_or_else(|| panic!("{name}: {status}")).trim()
}

/// The capabilities of a line of `/proc/PID/status`.
fn set(status: &str, name: &str) -> u64 {
    u64::from_str_radix(line(status, name), 16).unwrap()
}

/// Of systemd 219, which cannot give a user a capability.
const AS_ROOT: &str = "--bounding-set=-all,+dac_read_search,+setuid,+setgid,+setpcap";

#[test]
fn a_daemon_that_is_started_as_root_becomes_its_user_for_good_and_still_reads_every_file() {
    if !as_root() {
        return;
    }
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    let secret = site.host("n1").state().with_file_name("secret");
    fs::write(&secret, "of root's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let collected = format!("[files]\nnode = [{secret:?}]\n");
    site.drop_in("n1", "50-files.toml", &collected).unwrap();
    for directory in [site.host("n1").state(), site.run_folder("n1.site.test")] {
        shell("mkdir -p \"$1\" && chown nobody \"$1\"", &[&directory]);
        open_up(&directory);
    }

    let mut daemon = started(&site, &[AS_ROOT], &["--user", "nobody"]).spawn().unwrap();
    let own = poll("the set", SOON, || {
        let night = std::panic::catch_unwind(|| night_of(&site, "n1")).map_err(|_| "no status".to_owned())?;
        let set = site.host("n1").vault().join("n1.site.test").join(night).join("node");
        let of_set = set.join(secret.strip_prefix("/").unwrap());
        let stored = fs::read_to_string(&of_set).map_err(|error| format!("{}: {error}", of_set.display()))?;
        assert_eq!(stored, "of root's");
        fs::read_to_string(format!("/proc/{}/status", daemon.id())).map_err(|error| error.to_string())
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let own = own.unwrap();
    let nobody = fs::metadata(site.host("n1").state()).unwrap().uid().to_string();
    assert_eq!(line(&own, "Uid:").split_whitespace().collect::<Vec<_>>(), [nobody.as_str(); 4], "{own}");
    assert!(!line(&own, "Groups:").split_whitespace().any(|group| group == "0"), "{own}");
    assert_eq!(line(&own, "NoNewPrivs:"), "1");
    for name in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(set(&own, name), 4, "{name} {own}");
    }
    assert_eq!(set(&own, "CapAmb:"), 0, "{own}");
}

#[test]
fn a_daemon_that_cannot_leave_root_behind_does_not_start() {
    if !as_root() {
        return;
    }
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    for (how, user, why) in [
        ("--bounding-set=-all,+dac_read_search,+setuid,+setgid", "nobody", "Operation not permitted"),
        ("--bounding-set=-all,+dac_read_search,+setpcap", "nobody", "Operation not permitted"),
        (AS_ROOT, "nightshift-absent", "this host has no user `nightshift-absent`"),
        (AS_ROOT, "root", "the user `root` is root"),
    ] {
        let refused = started(&site, &[how], &["--user", user]).stderr(Stdio::piped()).output().unwrap();
        let printed = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{how}: {printed}");
        assert!(
            printed.contains(&format!("cannot become the user {user}")) && printed.contains(why),
            "{printed}"
        );
    }
    assert!(!site.host("n1").state().exists(), "nothing was begun");
}
