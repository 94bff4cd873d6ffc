//! Archives on servers that are not OpenSSH's, or not set up as one expects.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::daemon::built;
use kit::lab::Role::{BackupServer, Master};
use kit::proxy::Proxy;
use kit::site::{Plan, Site};
use kit::sshd::Sshd;
use serde_json::Value;

use crate::support::{archive_in, names, noise};

/// More than one connection's share, so that an upload is spread over several where the round trip is long.
const SIZE: usize = 20 << 20;

/// A site of one master, and servers to which it ships besides its own.
struct Servers {
    site: Site,
    servers: Vec<(&'static str, PathBuf)>,
    /// They run as long as the site.
    running: Vec<(Sshd, Proxy)>,
    remotes: String,
}

impl Servers {
    fn new() -> Self {
        let site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
        site.lay("m1", "/etc/ansible/hosts", &noise(SIZE)).unwrap();
        site.drop_in("m1", "50-retries.toml", "[stage.ship-archive]\nretries = 0\n").unwrap();
        Self { site, servers: Vec::new(), running: Vec::new(), remotes: String::new() }
    }

    /// A server whose logins all run this command; the archives are in its own directory.
    fn forcing(&mut self, name: &'static str, command: &str) -> &mut Self {
        self.with(name, &format!("ForceCommand {command}\n"), None)
    }

    /// A server with one habit of the kit's.
    fn habit(&mut self, name: &'static str, habit: &str) -> &mut Self {
        let program = built("nightshift-kit-sftp-server").unwrap();
        self.forcing(name, &format!("{} {habit}", program.display()))
    }

    fn with(&mut self, name: &'static str, sshd: &str, path: Option<&str>) -> &mut Self {
        let directory = self.site.host("m1").config().parent().unwrap().join(format!("server-{name}"));
        let server = Sshd::start(&directory, sshd).unwrap();
        let inbox = directory.join("in");
        let identity = directory.parent().unwrap().parent().unwrap().join("id_backup_server");
        server.authorize(&[fs::read_to_string(identity.with_extension("pub")).unwrap()]).unwrap();
        // Far enough away for an upload over several connections.
        let proxy = Proxy::delayed(server.port, Duration::from_millis(5)).unwrap();
        let path = path.map_or_else(|| inbox.display().to_string(), ToOwned::to_owned);
        self.remotes += &format!(
            "[[remote]]\nname = \"{name}\"\nurl = \"sftp://{}@127.0.0.1:{}{path}\"\nidentity = \"{}\"\nconnections = 4\n",
            self.site.user(),
            proxy.port,
            identity.display(),
        );
        let mut pins = fs::OpenOptions::new().append(true).open(self.site.known_hosts()).unwrap();
        writeln!(pins, "[127.0.0.1]:{} {}", proxy.port, server.public_key().unwrap()).unwrap();
        self.servers.push((name, inbox));
        self.running.push((server, proxy));
        self
    }

    /// Runs a night and returns what the record says of each remote's shipment, and why the stage failed.
    fn ship(&mut self) -> (Vec<Value>, String) {
        self.site.drop_in("m1", "60-remotes.toml", &self.remotes).unwrap();
        self.site.night().unwrap();
        let (_, status) = self.site.status("m1").unwrap();
        let record = &status["night"]["record"];
        let shipped = record["shipped"].as_array().cloned().unwrap_or_default();
        let reason = record["stages"]["ship-archive"]["reason"].as_str().unwrap_or_default().to_owned();
        (shipped, reason)
    }

    fn inbox(&self, name: &str) -> &Path {
        &self.servers.iter().find(|(other, _)| *other == name).unwrap().1
    }
}

fn verified<'a>(shipped: &'a [Value], remote: &str) -> &'a str {
    let shipment = shipped.iter().rev().find(|shipment| shipment["remote"] == remote);
    shipment.and_then(|shipment| shipment["verified"].as_str()).unwrap_or("not verified")
}

#[test]
fn an_archive_arrives_on_servers_that_announce_what_they_cannot_do_or_restrict_the_login() {
    let mut servers = Servers::new();
    servers
        .habit("no-fsync", "refuses fsync@openssh.com")
        .habit("denied-fsync", "refuses fsync@openssh.com 3")
        .habit("denied-posix-rename", "refuses posix-rename@openssh.com 3")
        .habit("no-limits", "refuses limits@openssh.com")
        .habit("no-statvfs", "refuses statvfs@openssh.com")
        .habit("no-posix-rename", "refuses posix-rename@openssh.com")
        .habit("sequential", "sequential")
        .habit("add-only", "add-only")
        .habit("no-stat", "no-stat")
        .habit("no-attributes", "no-attributes")
        .habit("zero-space", "zero-space")
        .habit("zero-fragment", "zero-fragment");
    let (shipped, reason) = servers.ship();
    assert_eq!(reason, "");
    for (name, inbox) in &servers.servers {
        assert!(verified(&shipped, name).starts_with("SHA-256 verified (read back)"), "{name}: {shipped:#?}");
        archive_in(inbox);
        let left = names(inbox).into_iter().filter(|name| name.ends_with(".part")).count();
        assert_eq!(left, 0, "{name}: {:?}", names(inbox));
    }
    assert!(verified(&shipped, "no-fsync").contains("cannot sync"), "{shipped:#?}");
}

#[test]
fn a_server_that_refuses_an_archive_is_reported_with_its_own_text() {
    let mut servers = Servers::new();
    // "over quota"; "quota policy"; "Platte voll" with an umlaut in Latin-1 would be no UTF-8: "Gerät voll".
    servers
        .habit("code", "fails-with 15 6f7665722071756f7461")
        .habit("text", "fails-with 4 6f7665722071756f7461")
        .habit("policy", "fails-with 3 71756f746120706f6c696379")
        .habit("latin1", "fails-with 4 476572e47420766f6c6c")
        .habit("takes-away", "takes-away")
        .forcing("echo", "/bin/echo This account is closed.");
    let (shipped, reason) = servers.ship();
    for text in [
        "over quota: quota exceeded (status 15)",
        "Ger\u{fffd}t voll",
        "permission denied (quota policy)",
        "does not exist",
        "the server sent \"This account is closed.\" instead of SFTP",
    ] {
        assert!(reason.contains(text), "{text}: {reason}");
    }
    assert!(!reason.contains("connection was lost"), "{reason}");
    for (name, _) in &servers.servers {
        assert_eq!(verified(&shipped, name), "not verified", "{name}: {shipped:#?}");
    }
}

#[test]
fn a_directory_below_a_tilde_is_the_logins_own_and_escapes_in_a_url_are_decoded() {
    let mut servers = Servers::new();
    let home = servers.site.host("m1").config().parent().unwrap().join("home");
    fs::create_dir_all(&home).unwrap();
    let start = format!("ForceCommand internal-sftp -d {}\n", home.display());
    servers.with("tilde", &start, Some("/~/backups"));
    let spaced = format!("{}/My%20Backups", home.parent().unwrap().display());
    servers.with("escaped", "", Some(&spaced));
    let (_, reason) = servers.ship();
    assert_eq!(reason, "");
    archive_in(&home.join("backups"));
    archive_in(&home.parent().unwrap().join("My Backups"));
}

#[test]
fn a_directory_that_the_remote_has_lost_is_reported_and_not_created_again() {
    let mut servers = Servers::new();
    servers.habit("lost", "zero-space");
    assert_eq!(servers.ship().1, "");
    let inbox = servers.inbox("lost").to_owned();
    fs::remove_dir_all(&inbox).unwrap();
    // The archive has to be shipped again.
    let state = servers.site.host("m1").state();
    for name in names(&state.join("sent")) {
        fs::rename(state.join("sent").join(&name), state.join("outbox").join(&name)).unwrap();
    }
    let ran = servers.site.run("m1", &["run", "ship-archive", "--wait"]).unwrap();
    assert!(!inbox.exists(), "{ran:?}");
    let reason = "does not exist on the remote, where archives were verified before";
    assert!(ran.code == 1 && ran.stderr.contains(reason), "{ran:?}");
}

#[test]
fn an_archive_that_a_remote_has_lost_since_it_was_verified_degrades_the_night_or_is_shipped_again() {
    let mut servers = Servers::new();
    servers.habit("forgetful", "zero-space").habit("full", "fails-with 15 6f7665722071756f7461");
    servers.ship();
    let inbox = servers.inbox("forgetful").to_owned();
    // The other remote has not got it, so it is still in the outbox.
    let archive = archive_in(&inbox);
    fs::remove_file(&archive).unwrap();
    let ran = servers.site.run("m1", &["run", "ship-archive", "--wait"]).unwrap();
    let gone = "is gone from remote forgetful, where it was verified";
    assert!(ran.stderr.contains(gone) && archive.exists(), "{ran:?}");

    let state = servers.site.host("m1").state();
    for name in names(&state.join("outbox")) {
        let to = if name.starts_with('.') { "scratch" } else { "sent" };
        fs::create_dir_all(state.join(to)).unwrap();
        fs::rename(state.join("outbox").join(&name), state.join(to).join(&name)).unwrap();
    }
    fs::remove_file(&archive).unwrap();
    let ran = servers.site.run("m1", &["run", "ship-archive", "--wait"]).unwrap();
    assert!(format!("{ran:?}").contains("check what removes files there") && !archive.exists(), "{ran:?}");
    let (code, status) = servers.site.status("m1").unwrap();
    assert_eq!((code, status["night"]["verdict"].as_str()), (3, Some("degraded")));
    assert!(status["night"]["reasons"].to_string().contains(gone), "{}", status["night"]["reasons"]);
}

#[test]
fn a_checksum_that_was_cut_before_its_rename_is_written_again_where_files_may_only_be_added() {
    let mut servers = Servers::new();
    servers.habit("add-only", "add-only");
    assert_eq!(servers.ship().1, "");
    let inbox = servers.inbox("add-only").to_owned();
    let checksum = archive_in(&inbox).with_extension("tgz.sha256");
    let text = fs::read_to_string(&checksum).unwrap();
    // As if the connection had been lost after the part was written.
    fs::rename(&checksum, inbox.join(format!(".{}.sha256.part", &text[..16]))).unwrap();
    let state = servers.site.host("m1").state();
    for name in names(&state.join("sent")) {
        fs::rename(state.join("sent").join(&name), state.join("outbox").join(&name)).unwrap();
    }
    let ran = servers.site.run("m1", &["run", "ship-archive", "--wait"]).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::read_to_string(&checksum).unwrap(), text);
}
