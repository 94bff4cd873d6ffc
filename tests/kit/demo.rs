//! A whole night to look at: three masters, a node, a real etcd and a backup server on loopback.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::daemon;
use crate::lab::Role::{BackupServer, Etcd, Master, Node};
use crate::lab::{Error, Result};
use crate::site::{Plan, Site};

/// Runs the night in a directory, which is emptied first and kept, and prints what it does.
pub fn run(folder: &Path, out: &mut impl Write) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::io(format!("emptying {}", folder.display())))?;
    }
    say(out, "starting etcd, and an sshd for each of three masters, a node and a backup server")?;
    let mut site = Plan::new(&[
        ("master1", &[Master, Etcd]),
        ("master2", &[Master]),
        ("master3", &[Master]),
        ("node1", &[Node]),
        ("backup", &[BackupServer]),
    ])
    .folder(folder)
    .build()?;
    for number in 0..100 {
        put(&site, number)?;
    }
    say(
        out,
        "starting nightshift on the masters and the node: their night is open, and every stage is due\n",
    )?;
    site.night()?;
    for master in ["master1", "master2", "master3"] {
        let status = site.run(master, &["status"])?;
        if status.code != 0 {
            return Err(Error::Refused(format!("{master} has no complete night:\n{}", status.stdout)));
        }
    }
    say(out, &site.run("master1", &["status"])?.stdout)?;
    site.stop_all()?;
    where_the_copies_are(&site, out)
}

fn put(site: &Site, number: u32) -> Result<()> {
    let key = format!("/kubernetes.io/configmaps/demo/{number}");
    site.etcd.iter().try_for_each(|etcd| etcd.put(&key, "something worth keeping"))
}

fn where_the_copies_are(site: &Site, out: &mut impl Write) -> Result<()> {
    let archive = newest_archive(&site.inbox())?;
    let master = site.host("master1");
    say(
        out,
        "\nThe night is complete and everything is stopped. The backup server has the masters' archives:",
    )?;
    say(out, &format!("  {}\n", archive.display()))?;
    say(out, "List its content:")?;
    say(out, &format!("  tar -tzf {}", archive.display()))?;
    say(out, "List the sets in the vault of this master:")?;
    say(out, &format!("  ls -R {}", master.vault().display()))?;
    say(out, &format!("  {} --config {} sets", daemon::program()?.display(), master.config().display()))
}

fn newest_archive(folder: &Path) -> Result<PathBuf> {
    let listing = fs::read_dir(folder).map_err(Error::io(format!("listing {}", folder.display())))?;
    let paths = listing.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let archives = paths.filter(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    archives.min().ok_or_else(|| Error::Refused(format!("no archive reached {}", folder.display())))
}

fn say(out: &mut impl Write, line: &str) -> Result<()> {
    writeln!(out, "{line}").map_err(Error::io("writing to standard output"))
}
