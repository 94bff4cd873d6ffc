//! RESTORE.txt: how this cluster is restored by hand, with its names and URLs filled in. docs/operations.md, "Restoring today", has the
//! same way with names of examples.

mod member;
mod shell;
mod steps;
mod subject;

use std::fmt::{self, Write as _};

pub use member::{EtcdSet, Member};
pub use steps::PUT_FILES;

use crate::manifest::ItemKind;
use crate::restore::etcd::BUMP;
use crate::role::Role;
use crate::settings::{Compression, Settings};
use crate::text::one_line;
use shell::{block, title};
pub use subject::{ByHand, Packed};

/// The maximum number of links that are listed. All of them are in the manifests.
const MAX_LINKS: usize = 2_000;

impl fmt::Display for ByHand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.cluster(f)?;
        self.unpack(f)?;
        self.snapshot(f)?;
        self.stop(f)?;
        self.etcd(f)?;
        self.files(f)?;
        self.links(f)?;
        self.start(f)?;
        self.after(f)
    }
}

impl ByHand<'_> {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { cluster, this, archive, .. } = self.settings;
        writeln!(f, "How to restore cluster {cluster} by hand, from an archive of {this}\n")?;
        f.write_str(
            "With nightshift's package, `nightshift restore plan --from ARCHIVE` makes the plan, and says whether\n\
             it can carry it out. This is the way without it: with ssh, age, tar, sha256sum, ssh-keygen, etcdutl\n\
             and etcdctl. The kit beside the archives (kit_VERSION_HOST.tar) contains this text, the package's files,\n\
             and etcd's programs as far as this host has them.\n\n\
             Lines between \"== commands\" and \"== end\" are commands for sh, in this order, in one shell, as root,\n\
             on a machine that only you use, in an empty directory of mode 0700. Stop at the first error.\n\
             Its ssh must log in to every host as root.\n\nYou need:\n",
        )?;
        f.write_str("- the archive, its .sha256 and its .sig, in the current directory\n")?;
        if !archive.recipients.is_empty() {
            f.write_str("- as key.txt, the private age key of one of:\n")?;
            archive.recipients.iter().try_for_each(|recipient| writeln!(f, "    {recipient}"))?;
        }
        f.write_str(
            "- allowed_signers, in the current directory: it is beside this text. An attacker who changed the archive\n\
             \x20 could also have changed that file: compare its key with the fingerprint that you noted\n\
             \x20 (ssh-keygen -lf). The kit has it too.\n\
             - etcdutl 3.5.10 or later, not older than the members' etcd, and etcdctl\n",
        )
    }

    fn cluster(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "The cluster")?;
        for role in [Role::Master, Role::Etcd, Role::Node] {
            let hosts: Vec<&str> =
                self.settings.inventory.with_role(role).map(|host| host.name.as_str()).collect();
            if !hosts.is_empty() {
                writeln!(f, "{role}: {}", hosts.join(" "))?;
            }
        }
        f.write_char('\n')?;
        self.members.iter().try_for_each(|member| writeln!(f, "{member}"))?;
        if self.members.is_empty() {
            f.write_str(
                "No manifest lists the members of etcd. Use the values in each member's configuration, which is in\n\
                 its set.\n",
            )?;
        }
        f.write_str(
            "\nCreate the machines with the same names and addresses, the same operating system and the same version\n\
             of the cluster, installed in the same way. Make sure that the old machines are off.\n",
        )
    }

    fn unpack(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "1. Verify and unpack the archive")?;
        let this = &self.settings.this;
        let encrypted = !self.settings.archive.recipients.is_empty();
        let zstd = self.settings.archive.compression == Compression::Zstd;
        let ending =
            format!("{}{}", if zstd { ".tar.zst" } else { ".tgz" }, if encrypted { ".age" } else { "" });
        let archive = match &self.archive {
            Some(packed) => packed.name.to_string(),
            // The dates are in the order of their names.
            None => format!("$(ls {this}_*{ending} | tail -n 1)"),
        };
        let unpack = if zstd { "tar --zstd -x" } else { "tar -xz" };
        let unpack = format!("{unpack} --acls --xattrs --xattrs-include='*'");
        let decrypt = if encrypted { "age -d -i key.txt \"$ARCHIVE\"" } else { "cat \"$ARCHIVE\"" };
        let top = match &self.archive {
            Some(packed) => packed.name.top_directory(),
            None => format!("${{ARCHIVE%{ending}}}"),
        };
        let lines = [
            "set -e; umask 077".to_owned(),
            format!("ARCHIVE={archive}"),
            format!(
                "ssh-keygen -Y verify -f allowed_signers -I {this} -n {} -s \"$ARCHIVE.sig\" < \"$ARCHIVE\"",
                crate::archive::NAMESPACE
            ),
            "sha256sum -c \"$ARCHIVE.sha256\"".to_owned(),
            format!("{decrypt} | {unpack}"),
            format!("cd \"{top}\""),
        ];
        block(f, "unpack", &lines)?;
        f.write_str(
            "If the archive's name on the remote has a further number, such as .2 before .tgz, set ARCHIVE to that name.\n\
             archive.json lists the sets, their grades, and under \"missing\" what is not in the archive.\n",
        )
    }

    fn snapshot(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "2. Take one snapshot of etcd, for all members")?;
        let suffix = if self.settings.etcd.compression == Compression::Zstd { "zst" } else { "gz" };
        let (set, item) = match &self.archive {
            Some(Packed { snapshot: Some((set, item)), .. }) => {
                (format!("{}/{}", set.host, set.dir_name()), item.clone())
            }
            Some(_) => return f.write_str("The archive contains no snapshot of etcd. Use another night.\n"),
            None => {
                let host = self.settings.inventory.with_role(Role::Etcd).next();
                let host = host.map_or_else(|| "ETCD-HOST".to_owned(), |host| host.name.to_string());
                (format!("{host}/etcd"), format!("snapshot.db.{suffix}"))
            }
        };
        let unpack = if item.ends_with(".zst") { "zstd -dc" } else { "gzip -dc" };
        let lines = [
            format!("SET={set}"),
            format!("{unpack} \"$SET/{item}\" > snapshot.db"),
            "sed -n 's/^ *\"raw_sha256\": \"\\([0-9a-f]*\\)\".*/\\1  snapshot.db/p' \"$SET/manifest.json\" | sha256sum -c"
                .to_owned(),
        ];
        block(f, "snapshot", &lines)?;
        f.write_str("You can also use any other etcd set whose grade in archive.json is good.\n")?;
        if self.has_v2 {
            f.write_str(
                "\netcd has v2 keys, which a snapshot does not contain. They are in the set with member.tar.gz (the whole\n\
                 member/ directory of a stopped member) or v2/ (what etcdctl backup wrote). Do not restore the snapshot:\n\
                 unpack one of these into an empty data directory on one etcd host, start etcd there once with\n\
                 --force-new-cluster, correct its peer URL with etcdctl member update, and add the other members one by\n\
                 one with empty data directories.\n",
            )?;
        }
        Ok(())
    }

    /// The text is that of an archive of many hosts: their links are many, or few.
    fn links(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(packed) = &self.archive else {
            return f.write_str("\nRESTORE.txt in an archive lists the links that tar does not create.\n");
        };
        if packed.left_out.is_empty() {
            return f.write_str("\ntar has created every link of this archive.\n");
        }
        f.write_str("\ntar does not create these links, which are in the manifests only. The program above creates them:\n\n")?;
        for (host, item) in packed.left_out.iter().take(MAX_LINKS) {
            if let ItemKind::Symlink { target } = &item.kind {
                writeln!(f, "  {host}: {} -> {}", one_line(&item.source), one_line(target))?;
            }
        }
        match packed.left_out.len().saturating_sub(MAX_LINKS) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }

    fn after(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "7. Afterwards")?;
        f.write_str("- The revision of etcd was raised by ")?;
        writeln!(f, "{BUMP}, so that clients that watch from an old revision start over.")?;
        f.write_str(
            "- Restart what watches the API: routers, the network plugin, the registry.\n\
             - packages.txt in each set lists the packages; after trust anchors changed: update-ca-trust.\n\
             - Persistent volumes, images and the registry's storage come from their own backups.\n\
             - nightshift: its configuration is in each set. New machines have new host keys and identities:\n\
             \x20 nightshift keys init, keys authorize, trust, as at the first set-up. The first night's etcd sets are\n\
             \x20 suspicious, because the cluster id changed: nightshift sets accept HOST/NIGHT/etcd.\n\
             - Remove the directory with the unpacked archive: it contains every secret of the cluster.\n",
        )
    }
}

#[cfg(test)]
mod tests;
