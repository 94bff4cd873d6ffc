//! A lost cluster restored: by nightshift's plan, beside the commands of RESTORE.txt typed by a script.

use std::time::Duration;

use kit::by_hand::commands;
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, AgeIdentity};
use kit::lab::operator::{self, ETCD_TOOLS, OPERATOR};
use kit::lab::{Contents, HostFile, Lab, Role, Schedule, Topology, cmd, openshift};

use super::directory::fresh;
use super::measure::{Sample, in_turns};
use super::row::{Row, Target, Unit};
use crate::error::{Error, Result};
use crate::{newer_etcd, setup, workspace};

pub const ABOUT: &str = "\
Three masters, three members of etcd 3.4 over TLS with a db of 480 MB, and two nodes, as hosts of the lab, with the files \
of OpenShift 3.9 and stand-ins for its units; after a night all of them are replaced by new machines, on which an empty \
cluster runs. The operator's machine is one more host, and has the encrypted archive of one master. Ours is \
`nightshift restore plan`, `check` and `apply`, up to the start of the last controllers: every page and byte checked, the \
data tried in a scratch etcd, every machine checked, every member compared with the others and written through. \
*By hand* is RESTORE.txt of the same archive: the documented commands of etcd and OpenShift with this cluster's names, \
typed by a script that needs no time to read, to think or to correct. It ends when the nodes are restarted. All hosts \
share the two cores and the disk of this machine.";

const IF_MISSED: &str = "\
A third of ours passes before the first machine is stopped: every byte, page, key and value is read, the data is tried in a scratch \
etcd, and every machine is looked at. The rest is the copying of the data and the end of etcd, as in the script, which checks nothing, and \
has the commands of all hosts in the right order. An operator who reads RESTORE.txt and types them was not measured.";

const FILLED: u64 = 480 << 20;
const NIGHT: Duration = Duration::from_secs(900);
const RESTORE: Duration = Duration::from_secs(1200);
/// Where the operator types by hand.
const BY_HAND: &str = "/root/by-hand";

/// What is left of the lost cluster.
struct Left {
    archive: String,
    signer: String,
    /// Of the archive and the age key, by their names.
    files: Vec<(String, Vec<u8>)>,
}

pub fn rows() -> Result<Vec<Row>> {
    setup::for_lab()?;
    newer_etcd::ensure()?;
    let packages = fresh("restore-package")?;
    let deb = Contents::of(&workspace::release().join("nightshift"), &packages)?.pack("deb")?;
    let topology = operator::topology();
    println!("  a night");
    let left = night(&topology, &deb)?;
    println!("  new machines");
    let lab = operator::new_machines("benchnew", &topology, openshift::services, &deb)?;
    for (name, content) in &left.files {
        lab.host(OPERATOR).write_file(&HostFile::new(format!("/root/{name}"), 0o600, content.clone()))?;
    }
    let typed = typed(&lab, &left)?;
    let mut all = Vec::new();
    let [ours, by_hand] = in_turns([&mut || ours(&lab, &left, &mut all), &mut || by_hand(&lab, &typed)])?;
    Ok(vec![
        Row::new("until the control plane is started", Unit::Seconds, ours)
            .beside("by hand", by_hand)
            .target(Target::RatioAtMost(0.5), IF_MISSED),
        Row::new("and until an extra night is proved", Unit::Seconds, Sample::new(all)),
    ])
}

/// A cluster that is filled, and has one night. Then it is lost.
fn night(topology: &Topology, deb: &std::path::Path) -> Result<Left> {
    let lab = Lab::up("bench", topology)?;
    openshift::lay(&lab)?;
    let etcd = EtcdCluster::found(&lab)?;
    openshift::services(&lab)?;
    etcd.fill(etcd.members()[0], FILLED)?;
    let key = AgeIdentity::create(&lab)?;
    let schedule = Schedule::due_in(30).ending(90, 180);
    let config = nightshift::config_text(&lab, &schedule, std::slice::from_ref(&key.recipient));
    nightshift::set_up(&lab, deb, &config)?;
    nightshift::enable(&lab)?;
    cmd::side_by_side(&nightshift::managed(&lab), |host| host.run_for("nightshift run night --wait", NIGHT))?;
    let (master, backup) = (lab.host("master1"), lab.host("backup1"));
    let names = backup.run("cd /home/cloud-user && ls master1*.tgz.age*")?.text();
    let fingerprint = master.run("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")?.text();
    let signer = fingerprint.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut files =
        vec![("key.txt".to_owned(), std::fs::read(&key.path).map_err(Error::io("read", &key.path))?)];
    for name in names.lines() {
        files.push((name.to_owned(), backup.read_file(&format!("/home/cloud-user/{name}"))?));
    }
    let archive = names.lines().find(|name| name.ends_with(".age")).unwrap_or_default().to_owned();
    Ok(Left { archive, signer, files })
}

/// Seconds until the control plane is started; `all` has those until the command ends.
fn ours(lab: &Lab, left: &Left, all: &mut Vec<f64>) -> Result<f64> {
    let operator = lab.host(OPERATOR);
    let Left { archive, signer, .. } = left;
    let line = format!(
        "set -e; cd /root; began=$(date +%s.%N); \
         nightshift restore plan --from {archive} --identity key.txt --signer {signer} > planned; \
         plan=$(sed -n 's/.*nightshift restore check //p' planned); \
         nightshift restore check $plan --etcd-tools {ETCD_TOOLS} > checked; \
         {{ nightshift restore apply $plan && echo applied; }} | while IFS= read -r line; do \
             echo \"$(date +%s.%N) $line\"; done > lines; \
         grep -q ' applied$' lines || {{ cat lines >&2; exit 1; }}; \
         echo $began; sed -n 's/ .*wait until controllers is active.*//p' lines | tail -n 1; date +%s.%N; \
         nightshift restore clean $plan > /dev/null"
    );
    let printed = operator.run_for(&line, RESTORE).inspect_err(|_| explain(lab))?;
    let [began, started, ended] = times(&printed.text())?;
    keys_are_back(lab)?;
    all.push(ended - began);
    println!("  ours: {:.0} s, {:.0} s with the extra night", started - began, ended - began);
    Ok(started - began)
}

/// Shows how far it came: its machines are gone when the command ends.
fn explain(lab: &Lab) {
    let look = [(OPERATOR, "tail -n 20 /root/lines"), ("master1", "nightshift status; nightshift nights")];
    for (host, line) in look {
        if let Ok(printed) = lab.host(host).run(line) {
            eprintln!("{host}: {line}\n{}", printed.text());
        }
    }
}

/// The commands of RESTORE.txt, in its order for new machines.
fn typed(lab: &Lab, left: &Left) -> Result<String> {
    let operator = lab.host(OPERATOR);
    let archive = &left.archive;
    let extract = |name: &str| {
        operator.run_for(
            &format!("cd /root && age -d -i key.txt {archive} | tar -xzO --wildcards '*/{name}'"),
            NIGHT,
        )
    };
    operator.run(&format!("mkdir -p -m 0700 {BY_HAND}"))?;
    let signers = extract("allowed_signers")?.stdout;
    operator.write_file(&HostFile::new(format!("{BY_HAND}/allowed_signers"), 0o600, signers))?;
    let blocks = commands(&extract("RESTORE.txt")?.text());
    let block = |name: &str| -> Result<&str> {
        let found = blocks.iter().find(|(own, _)| own == name);
        found
            .map(|(_, text)| text.as_str())
            .ok_or_else(|| Error::Missing(format!("RESTORE.txt has no block `{name}`")))
    };
    // "On a new machine, restore the files of the etcd set now (5.), and only then start etcd."
    let files = block("files")?;
    let one_host: Vec<&str> = files
        .lines()
        .filter(|line| line.contains("master1.lab.test"))
        .filter(|line| line.contains("set-master"))
        .collect();
    let etcd_files = lab.with(Role::Etcd).into_iter().fold(String::new(), |text, host| {
        let lines = one_host.join("\n").replace("master1.lab.test/master", &format!("{}/etcd", host.name));
        text + &lines.replace("master1.lab.test", &host.name).replace("set-master", "set-etcd") + "\n"
    });
    // "Then on every node: systemctl restart atomic-openshift-node".
    let nodes = [Role::Master, Role::Node]
        .into_iter()
        .flat_map(|role| lab.with(role))
        .fold(String::new(), |text, host| {
            format!("{text}ssh root@{} systemctl restart atomic-openshift-node\n", host.name)
        });
    let [unpack, snapshot, stop, data, put, program, start_etcd, write, start] =
        ["unpack", "snapshot", "stop", "data", "put", "program", "start-etcd", "write", "start"].map(block);
    Ok([
        unpack?,
        snapshot?,
        stop?,
        data?,
        put?,
        program?,
        &etcd_files,
        start_etcd?,
        write?,
        files,
        start?,
        &nodes,
    ]
    .concat())
}

fn by_hand(lab: &Lab, typed: &str) -> Result<f64> {
    let operator = lab.host(OPERATOR);
    operator.write_file(&HostFile::new(format!("{BY_HAND}/typed.sh"), 0o600, typed))?;
    let line = format!(
        "set -e; cd {BY_HAND}; ln -f /root/key.txt /root/*.tgz.age* .; export PATH={ETCD_TOOLS}:$PATH; \
         date +%s.%N; sh -e typed.sh > out 2>&1 || {{ tail -n 20 out >&2; exit 1; }}; date +%s.%N; rm -rf {BY_HAND}/*/"
    );
    let printed = operator.run_for(&line, RESTORE)?;
    let [began, ended] = times(&printed.text())?;
    keys_are_back(lab)?;
    println!("  by hand: {:.0} s", ended - began);
    Ok(ended - began)
}

/// The times that a script has printed.
fn times<const N: usize>(printed: &str) -> Result<[f64; N]> {
    let times: Vec<f64> = printed.lines().filter_map(|line| line.parse().ok()).collect();
    times.try_into().map_err(|_| Error::Missing(format!("{N} times in `{printed}`")))
}

/// The contents are back on every member. What was there before is removed, so that each contestant meets the same disk.
fn keys_are_back(lab: &Lab) -> Result<()> {
    let etcd = EtcdCluster::of(lab);
    etcd.wait_healthy()?;
    for member in etcd.members() {
        let count = etcd.etcdctl(
            member,
            "get /kubernetes.io/secrets/fill/ --prefix --limit=1 --keys-only --write-out=fields",
        )?;
        if !count.contains(&format!("\"Count\" : {}", FILLED >> 20)) {
            return Err(Error::Missing(format!("the keys on {}: {count}", member.name)));
        }
        member.run(
            "rm -rf /var/lib/etcd/.nightshift-restore-* /var/lib/etcd/member.before-restore.* && sync",
        )?;
    }
    Ok(())
}
