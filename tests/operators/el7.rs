//! The units of the package for Enterprise Linux 7, on the lab's newer systemd, with the system calls of Linux 3.10 alone.

use std::fs;
use std::time::Duration;

use kit::lab::nightshift::enable;
use kit::lab::{Host, HostFile, Role, Schedule, Topology, available, el7};

use crate::site::{Site, Status, story, wait_settled};

const NIGHT: Duration = Duration::from_secs(300);
const UNITS: &str = "/usr/lib/systemd/system";

/// Newer than Linux 3.10, or than the kernel of Enterprise Linux 7: a program that uses one needs another way.
const NEWER_CALLS: &str = "sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat userfaultfd \
    membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq \
    pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount fspick \
    pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr \
    landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv";

#[test]
fn a_whole_night_runs_in_the_units_of_enterprise_linux_7_with_the_system_calls_of_its_kernel() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .host("master1", &[Role::Master, Role::Etcd])
        .host("node1", &[Role::Node])
        .with(1, Role::BackupServer);
    let site = Site::up("el7", &topology, &Schedule::due_in(-1));
    for name in ["master1", "node1"] {
        install(site.host(name));
    }
    enable(&site.lab).unwrap();
    for name in ["master1", "node1"] {
        let host = site.host(name);
        let status = wait_settled(host, NIGHT);
        let found = (status.verdict().to_owned(), Status::of(host).exit);
        assert_eq!(found, ("complete".to_owned(), 0), "{name}: {}\n{}", status.reasons(), story(host));
        is_its_user_with_one_capability(host);
    }
    let master = site.host("master1");
    master.systemctl("reload nightshift.service").unwrap();
    master.systemctl("stop nightshift.service").unwrap();
    let owners = master.run("find /var/lib/nightshift ! -user nightshift").unwrap().text();
    assert_eq!(owners, "", "root's commands around the daemon leave nothing of root's");
    master.run("nightshift metrics | grep -qx 'nightshift_daemon_up 0'").unwrap();
}

fn install(host: &Host) {
    let staged = tempfile::tempdir().unwrap();
    el7::stage(staged.path()).unwrap();
    let only = format!("[Service]\nSystemCallFilter=~{NEWER_CALLS}\nSystemCallErrorNumber=ENOSYS\n");
    host.run(&format!("rm -f {UNITS}/nightshift*")).unwrap();
    for entry in fs::read_dir(staged.path().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read(&path).unwrap();
        if name.ends_with(".service") || name.ends_with(".socket") {
            host.write_file(&HostFile::new(format!("{UNITS}/{name}"), 0o644, text)).unwrap();
        }
        if name.ends_with(".service") {
            host.run(&format!("mkdir -p /etc/systemd/system/{name}.d")).unwrap();
            let drop_in = format!("/etc/systemd/system/{name}.d/old-kernel.conf");
            host.write_file(&HostFile::new(drop_in, 0o644, only.clone())).unwrap();
        }
    }
    host.systemctl("daemon-reload").unwrap();
}

fn is_its_user_with_one_capability(host: &Host) {
    let status =
        host.run("cat /proc/$(systemctl show --value --property=MainPID nightshift)/status").unwrap().text();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_eq!(value("Uid:"), host.run("id -u nightshift").unwrap().text());
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_eq!(value("Seccomp:"), "2", "the filter is in place");
    for name in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(u64::from_str_radix(&value(name), 16), Ok(4), "{name} {status}");
    }
}
