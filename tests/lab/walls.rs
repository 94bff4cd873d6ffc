//! What a hostile local user, the daemon's user, and a program in the drill's unit cannot do on a real host.

use std::time::Duration;

use kit::lab::cmd::poll;
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{CONFIG, enable};
use kit::lab::{Host, HostFile, Role, Schedule, Topology, available};

use crate::site::{Site, story, wait_settled};

const NIGHT: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(60);
const SOCKETS: [&str; 3] = [
    "/run/nightshift/control.sock",
    "/run/nightshift-drill/drill.sock",
    "/run/nightshift-cold-copy/cold-copy.sock",
];

#[test]
fn neither_the_daemons_user_nor_the_drills_becomes_root_or_more_than_it_is() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new().host("master1", &[Role::Master, Role::Etcd]);
    let site = Site::up("walls", &topology, &Schedule::due_in(-1));
    let host = site.host("master1");
    host.systemctl("enable --now --quiet nightshift-cold-copy.socket").unwrap();
    enable(&site.lab).unwrap();
    let status = wait_settled(host, NIGHT);
    assert_eq!(status.verdict(), "complete", "{}\n{}", status.reasons(), story(host));

    no_unit_allows_more_than_before(host);
    a_race_for_the_sockets_changes_no_owner(host);
    a_program_in_the_drills_unit_sees_its_scratch_directory_and_nothing_else(host);
    a_program_of_a_hook_sees_neither_keys_nor_the_vault_nor_a_socket(host);
    a_local_user_reaches_no_socket_and_no_secret(host);
    the_cold_copys_helper_serves_the_daemon_alone(host);
    a_data_directory_of_root_is_drilled_in_the_unit(host, &EtcdCluster::of(&site.lab));
    what_the_unit_hides_is_reported_and_not_collected_as_empty(&site, host);
    an_upgrade_brings_the_user_the_directory_and_the_socket(host);
}

fn no_unit_allows_more_than_before(host: &Host) {
    for (unit, before) in [
        ("nightshift", 1.5),
        ("nightshift-drill@lab", 0.8),
        ("nightshift-metrics@lab", 0.8),
        ("nightshift-notify@lab", 1.5),
        ("nightshift-hook@lab", 1.5),
        ("nightshift-cold-copy@lab", 2.0),
        ("nightshift-cold-copy-recover", 2.0),
    ] {
        let report = host.run(&format!("systemd-analyze security --no-pager {unit}.service")).unwrap().text();
        let overall = report.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
        println!("{overall}");
        let exposure = overall.split_whitespace().find_map(|word| word.parse::<f32>().ok()).unwrap();
        assert!(exposure <= before, "{report}");
    }
}

/// Replaces a socket by a link as soon as root has made it.
const RACE: &str = r#"#!/usr/bin/perl
my ($socket, $victim) = @ARGV;
while (1) {
    my @stat = lstat $socket or next;
    next if -l _ or $stat[4] != 0;
    unlink $socket and symlink $victim, $socket;
}
"#;

fn a_race_for_the_sockets_changes_no_owner(host: &Host) {
    host.write_file(&HostFile::new("/usr/local/bin/race", 0o755, RACE)).unwrap();
    // The same socket where the daemon's user can write: there the race is won, so it is one.
    let socket = "[Socket]\nListenStream=/run/nightshift/race.sock\nSocketUser=nightshift\nAccept=yes\nRemoveOnStop=yes\n";
    host.write_file(&HostFile::new("/run/systemd/system/race.socket", 0o644, socket)).unwrap();
    let service = "[Service]\nExecStart=/usr/bin/true\n";
    host.write_file(&HostFile::new("/run/systemd/system/race@.service", 0o644, service)).unwrap();
    host.systemctl("daemon-reload").unwrap();
    for (unit, socket, given_away) in [
        ("race.socket", "/run/nightshift/race.sock", true),
        ("nightshift-drill.socket", SOCKETS[1], false),
        ("nightshift-cold-copy.socket", SOCKETS[2], false),
    ] {
        host.run("rm -f /root/victim && touch /root/victim && chmod 0711 /root").unwrap();
        let line = format!(
            "systemd-run --quiet --unit=racing --uid=nightshift /usr/local/bin/race {socket} /root/victim"
        );
        host.run(&line).unwrap();
        let tries = if given_away { 200 } else { 20 };
        let restarts = format!(
            "for n in $(seq {tries}); do systemctl reset-failed {unit}; systemctl restart {unit} || true; \
             [ $(stat -c %U /root/victim) = root ] || break; done; stat -c %U /root/victim"
        );
        let owner = host.try_run_for(&restarts, NIGHT).unwrap().text();
        host.systemctl("stop racing.service").unwrap();
        assert_eq!(owner.ends_with("nightshift"), given_away, "{unit}: {owner}");
    }
    host.run("systemctl stop race.socket; rm -f /run/systemd/system/race* /run/nightshift/race.sock; systemctl daemon-reload")
        .unwrap();
    host.run("chmod 0700 /root; systemctl reset-failed; systemctl restart nightshift-drill.socket nightshift-cold-copy.socket")
        .unwrap();
}

/// What a program in the unit tries; it prints `OPEN` for what it must not be able to do.
const PROBE: &str = r##"
open(OUT, ">", "/var/lib/nightshift-drill/probe") or die $!;
use Socket;
sub can { print OUT ($_[1] ? "OPEN" : "closed"), " $_[0]\n" }
for my $path (qw(SOCKETS /run/dbus/system_bus_socket /run/systemd/private /run/systemd/journal/stdout)) {
    socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die $!;
    can("connect $path", connect($s, sockaddr_un($path)));
}
can("see $_", -e $_) for qw(/var/lib/nightshift /var/lib/nightshift-peer /etc/nightshift /etc/etcd /var/lib/etcd /etc/shadow /run/nightshift);
can("read $_", open(my $f, "<", $_)) for qw(/etc/shadow /etc/ssh/ssh_host_ed25519_key /root/.bashrc VAULT);
can("write $_", open(my $f, ">", $_)) for qw(/run/planted /etc/planted /var/planted /usr/planted /var/lib/planted);
can("signal DAEMON", kill(0, DAEMON));
# It succeeds even where no process may be sent a signal (kill(2)); the daemon is looked at afterwards.
kill("KILL", -1);
my @others = grep { /^\d+$/ && $_ != $$ } map { s{/proc/}{}r } glob("/proc/*");
can("see the processes @others", @others);
open(my $status, "<", "/proc/self/status"); my $text = join "", <$status>;
can("use a capability", $text !~ /^CapPrm:\s*0+$/m || $text !~ /^CapBnd:\s*0+$/m);
can("be of a group of the daemon's", $text =~ /^Groups:\s*\d+ \d+/m);
open(my $dev, "<", "/proc/self/net/dev"); my @interfaces = grep { /:/ && !/^\s*lo:/ } <$dev>;
can("use the network", @interfaces);
can("be the daemon's user", $> == UID);
print OUT "works: ", (open(my $own, ">", "/var/lib/nightshift-drill/own") ? "scratch" : "nothing"), "\n";
unlink "/var/lib/nightshift-drill/own";
"##;

fn a_program_in_the_drills_unit_sees_its_scratch_directory_and_nothing_else(host: &Host) {
    let pid = shown(host, "nightshift.service", "MainPID");
    let uid = host.run("id -u nightshift").unwrap().text();
    let vault = host.run("find /var/lib/nightshift/vault -name manifest.json | head -1").unwrap().text();
    let probe = PROBE
        .replace("SOCKETS", &SOCKETS.join(" "))
        .replace("VAULT", &vault)
        .replace("DAEMON", &pid)
        .replace("UID", &uid);
    host.write_file(&HostFile::new("/usr/local/bin/probe", 0o755, format!("#!/usr/bin/perl\n{probe}")))
        .unwrap();
    let drop_in = "/run/systemd/system/nightshift-drill@.service.d/probe.conf";
    host.run("mkdir -p /run/systemd/system/nightshift-drill@.service.d").unwrap();
    host.write_file(&HostFile::new(
        drop_in,
        0o644,
        "[Service]\nExecStart=\nExecStart=/usr/local/bin/probe\n",
    ))
    .unwrap();
    host.systemctl("daemon-reload").unwrap();
    let connect = format!(
        "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un(\"{}\")) or die $!; <S>'",
        SOCKETS[1]
    );
    host.run_for(&connect, SOON).unwrap();
    let printed = poll("the end of the probe", SOON, || {
        let printed =
            host.try_run("cat /var/lib/nightshift-drill/probe").map_err(|error| error.to_string())?.text();
        if printed.contains("works: ") { Ok(printed) } else { Err(format!("{printed}\n{}", story(host))) }
    })
    .unwrap();
    host.run(&format!("rm {drop_in} /var/lib/nightshift-drill/probe && systemctl daemon-reload")).unwrap();
    println!("{printed}");
    assert!(!printed.contains("OPEN") && printed.contains("works: scratch"), "{printed}");
    assert_eq!(shown(host, "nightshift.service", "MainPID"), pid, "the daemon was killed:\n{}", story(host));
    // Where the same program runs as the daemon's user, it finds what there is to find.
    let outside =
        format!("systemd-run --quiet --wait --pipe --uid=nightshift perl -e '{}'", connects(&SOCKETS));
    assert_eq!(host.run_for(&outside, SOON).unwrap().text(), SOCKETS.map(|_| "OPEN").join(""));
}

/// What the program of a hook tries; it prints `OPEN` for what it must not be able to do.
const HOOK_PROBE: &str = r##"#!/usr/bin/perl
use Socket;
sub can { print STDERR ($_[1] ? "OPEN" : "closed"), " $_[0]\n" }
for my $path (qw(SOCKETS /run/nightshift-hook/hook.sock /run/nightshift-notify/notify.sock /run/dbus/system_bus_socket)) {
    socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die $!;
    can("connect $path", connect($s, sockaddr_un($path)));
}
can("see $_", -e $_) for qw(/var/lib/nightshift /var/lib/nightshift-peer /run/nightshift);
can("read $_", open(my $f, "<", $_)) for qw(/etc/shadow /etc/ssh/ssh_host_ed25519_key /etc/nightshift/ssh/id_ed25519 VAULT);
can("write $_", open(my $f, ">", $_)) for qw(/run/planted /etc/planted /var/planted /usr/planted);
can("be another user", getpwuid($>) ne "nightshift-hook");
open(my $status, "<", "/proc/self/status"); my $text = join "", <$status>;
can("use a capability", $text !~ /^CapPrm:\s*0+$/m || $text !~ /^CapBnd:\s*0+$/m);
print STDERR "probed $ENV{NIGHTSHIFT_HOOK} $ENV{NIGHTSHIFT_STAGE}\n" if open(my $own, ">", "/tmp/own");
"##;

fn a_program_of_a_hook_sees_neither_keys_nor_the_vault_nor_a_socket(host: &Host) {
    let vault = host.run("find /var/lib/nightshift/vault -name manifest.json | head -1").unwrap().text();
    let probe = HOOK_PROBE.replace("SOCKETS", &SOCKETS.join(" ")).replace("VAULT", &vault);
    host.write_file(&HostFile::new("/usr/local/bin/hook-probe", 0o755, probe)).unwrap();
    let config = "[[hook]]\nname = \"probe\"\nbefore = \"night\"\nargv = [\"/usr/local/bin/hook-probe\"]\n";
    let drop_in = "/etc/nightshift/conf.d/90-probe.toml";
    host.write_file(&HostFile::new(drop_in, 0o644, config)).unwrap();
    let tested = host.run_for("nightshift hook --test probe 2>&1", SOON).unwrap().text();
    assert!(tested.contains("probe: succeeded"), "{tested}\n{}", story(host));
    let printed = poll("what the probe printed", SOON, || {
        let journal = host.try_run("journalctl --no-pager --output=cat --unit='nightshift-hook@*'");
        let journal = journal.map_err(|error| error.to_string())?.text();
        if journal.contains("probed probe night") { Ok(journal) } else { Err(journal) }
    })
    .unwrap();
    println!("{printed}");
    assert!(!printed.contains("OPEN"), "{printed}");
    host.run(&format!("rm {drop_in}")).unwrap();
}

/// Prints OPEN for each socket that it can connect to, and nothing else.
fn connects(sockets: &[&str]) -> String {
    format!(
        "use Socket; for (qw({})) {{ socket(S, PF_UNIX, SOCK_STREAM, 0); print \"OPEN\" if connect(S, sockaddr_un($_)); }}",
        sockets.join(" ")
    )
}

fn a_local_user_reaches_no_socket_and_no_secret(host: &Host) {
    host.run("useradd --no-create-home mallory").unwrap();
    let reached =
        host.run(&format!("runuser -u mallory -- perl -e '{}'", connects(&SOCKETS))).unwrap().text();
    assert_eq!(reached, "");
    let secrets = host
        .run(
            "find /var/lib/nightshift /var/lib/nightshift-drill /var/lib/nightshift-cold-copy /etc/nightshift -type f | head -500",
        )
        .unwrap()
        .text();
    assert!(secrets.lines().count() > 10, "{secrets}");
    host.write_file(&HostFile::new("/tmp/secrets", 0o644, secrets)).unwrap();
    let read = "while read -r file; do cat \"$file\" > /dev/null 2>&1 && echo \"$file\"; done < /tmp/secrets";
    let read = host.run_for(&format!("runuser -u mallory -- sh -c '{read}; true'"), SOON).unwrap().text();
    assert_eq!(read, "");
    for planted in [
        "/run/nightshift-drill/x",
        "/run/nightshift/x",
        "/var/lib/nightshift/x",
        "/var/lib/nightshift-drill/x",
    ] {
        assert_ne!(
            host.try_run(&format!("runuser -u mallory -- touch {planted}")).unwrap().status,
            0,
            "{planted}"
        );
    }
}

/// Requests a cold copy of a night long ago, and prints the reply.
const REQUEST: &str = r#"use Socket;
socket(S, PF_UNIX, SOCK_STREAM, 0) or die $!;
connect(S, sockaddr_un("/run/nightshift-cold-copy/cold-copy.sock")) or die $!;
syswrite S, qq({"night":"2001-01-01","cluster_id":"1"}\n);
read(S, my $head, 5); my ($kind, $length) = unpack("aN", $head); read(S, my $reply, $length); print "$reply\n";
"#;

fn the_cold_copys_helper_serves_the_daemon_alone(host: &Host) {
    host.write_file(&HostFile::new("/tmp/request.pl", 0o644, REQUEST)).unwrap();
    let reply = host.run_for("runuser -u nightshift -- perl /tmp/request.pl", SOON).unwrap().text();
    assert!(reply.contains("refused") && reply.contains("control group"), "{reply}");
    let reply = host.run_for("perl /tmp/request.pl", SOON).unwrap().text();
    assert!(reply.contains("night 2001-01-01 is not tonight"), "root may: {reply}");
}

fn a_data_directory_of_root_is_drilled_in_the_unit(host: &Host, etcd: &EtcdCluster<'_>) {
    host.run("systemctl stop etcd && cp -a /var/lib/etcd /root/data && chown -R root:root /root/data && systemctl start etcd").unwrap();
    etcd.wait_healthy().unwrap();
    let drilled = host.run_for("nightshift drill --data-dir /root/data 2>&1", NIGHT).unwrap().text();
    println!("{drilled}");
    assert!(drilled.contains("proved") && drilled.contains("in its own unit and network"), "{drilled}");
    assert_eq!(host.run("ls -A /var/lib/nightshift-drill").unwrap().text(), "");
}

fn what_the_unit_hides_is_reported_and_not_collected_as_empty(site: &Site, host: &Host) {
    let config =
        site.config(&Schedule::due_in(-1)) + "\n[files]\nmaster = [\"/etc/hostname\", \"/etc/shadow\"]\n";
    host.write_file(&HostFile::new(CONFIG, 0o644, config)).unwrap();
    host.systemctl("restart nightshift.service").unwrap();
    let checked = host.try_run_for("nightshift check 2>&1", SOON).unwrap().text();
    assert!(checked.contains("/etc/shadow") && checked.contains("hidden by InaccessiblePaths="), "{checked}");
}

/// Makes the host what an installation of the version before left, and installs the package over it.
fn an_upgrade_brings_the_user_the_directory_and_the_socket(host: &Host) {
    host.run(
        "systemctl stop nightshift.service nightshift-drill.socket && userdel nightshift-drill && rm -r /var/lib/nightshift-drill \
         /run/nightshift-drill && cd /usr/lib/systemd/system && \
         sed -i 's|/run/nightshift-drill/|/run/nightshift/|; /DirectoryMode/d' nightshift-drill.socket && \
         sed -i '/StateDirectory/d; /^TemporaryFileSystem/d; /^Bind/d; s/=nightshift-drill$/=nightshift/' nightshift-drill@.service && \
         systemctl daemon-reload && systemctl start nightshift.service && test -S /run/nightshift/drill.sock",
    )
    .unwrap();
    host.run_for("dpkg --install /root/nightshift.deb", NIGHT).unwrap();
    host.run("test -S /run/nightshift-drill/drill.sock").unwrap();
    let owners =
        "stat -c '%U:%G %a' /run/nightshift-drill /run/nightshift-drill/drill.sock /var/lib/nightshift-drill";
    assert_eq!(
        host.run(owners).unwrap().text(),
        "root:root 755\nnightshift:nightshift 600\nnightshift-drill:nightshift-drill 700"
    );
    let drilled = host.run_for("nightshift drill 2>&1", NIGHT).unwrap().text();
    assert!(drilled.contains("proved") && drilled.contains("in its own unit and network"), "{drilled}");
}

fn shown(host: &Host, unit: &str, property: &str) -> String {
    host.systemctl(&format!("show --value --property={property} {unit}")).unwrap().text()
}
