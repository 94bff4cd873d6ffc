//! The acts of a plan as commands to type, for a restore without nightshift on the machines. A script can follow them literally: they
//! are run in the directory of the plan, one after the other, with `ssh` logging in as root.

mod data;

use std::fmt;

use crate::restore::Plan;
use crate::restore::act::{Act, FileKind};
use crate::restore::etcd::Member;
use crate::restore::join::Join;
use crate::restore::machine::{Machine, PlannedFile};
use crate::restore::pods::PodKind;
use crate::restore::steps::{Action, Step, groups};
use crate::shell::word;

/// On each machine: what is moved aside, and what keeps units from starting.
const STATE: &str = "/var/lib/nightshift-restore";
const DROP_IN: &str = "50-nightshift-restore.conf";
/// A key that no program uses.
const CANARY: &str = "/nightshift/restore-by-hand";

pub struct Commands<'p>(pub &'p Plan);

impl fmt::Display for Commands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        f.write_str(
            "# The same by hand: each step as commands. Run them in this directory, one after the other. They need ssh as root to the\n\
             # machines, and etcdutl 3.5.10 or newer here. Stop at the first one that fails.\n",
        )?;
        let mut is_data_made = false;
        for step in groups(plan).into_iter().flat_map(|group| group.steps) {
            let Some(machine) = plan.machine(&step.host) else { continue };
            if let (Action::PutData, Some(etcd), false) = (&step.action, &plan.etcd, is_data_made) {
                is_data_made = true;
                data::write(f, plan, etcd)?;
            }
            writeln!(f, "\n# {} {}: {}", step.number, step.host, step.action.title())?;
            By { plan, machine }.step(f, &step)?;
        }
        Ok(())
    }
}

/// One machine of the plan.
#[derive(Clone, Copy)]
struct By<'p> {
    plan: &'p Plan,
    machine: &'p Machine,
}

impl By<'_> {
    fn step(self, f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
        match &step.action {
            Action::Act(act) => self.act(f, act),
            Action::PutFiles => {
                self.files(f, |file| !self.plan.is_put_later(self.machine, &file.file.path))
            }
            Action::PutPods(kind) => self.pods(f, *kind),
            Action::PutData => self.member(|member| self.put_data(f, member)),
            Action::Compare => self.member(|member| {
                for words in [
                    "member list",
                    "endpoint status --cluster --write-out table",
                    "endpoint hashkv --cluster",
                    "alarm disarm",
                ] {
                    self.on(f, &self.etcdctl(member, words))?;
                }
                Ok(())
            }),
            Action::Write => self.member(|member| {
                for words in [format!("put {CANARY} x"), format!("get {CANARY}"), format!("del {CANARY}")] {
                    self.on(f, &self.etcdctl(member, &words))?;
                }
                Ok(())
            }),
            Action::Replace => self.replace(f),
            Action::PutJoinConfig => self.joining(|join| {
                let (config, list) = (word(&join.config), join.initial_cluster());
                if join.config.ends_with(".yaml") {
                    return writeln!(f, "# on {}, in {config}: {list} as the initial cluster, `existing` as its state", self.machine.host);
                }
                self.on(f, &format!(
                    "sed -i -e \"s|^ETCD_INITIAL_CLUSTER=.*|ETCD_INITIAL_CLUSTER={list}|\" -e /^ETCD_INITIAL_CLUSTER_STATE=/d {config} && \
                     echo ETCD_INITIAL_CLUSTER_STATE=existing >> {config}"
                ))
            }),
            Action::Promote => self.joining(|join| {
                f.write_str("# a learner has to be promoted: `etcdctl member promote ID`\n")?;
                self.on(f, &self.etcdctl(&join.member, "member list"))
            }),
            Action::PutConfig => self.joining(|join| self.files(f, |file| file.file.path == join.config)),
            Action::Pin => self.on(f, "nightshift trust"),
            Action::Authorize => {
                f.write_str("# append the lines that `nightshift keys authorize` prints on each master:\n")?;
                f.write_str("#   /var/lib/nightshift-peer/.ssh/authorized_keys\n")
            }
            Action::AuthorizeAtRemotes => {
                for remote in &self.plan.remotes {
                    let line = format!("nightshift keys authorize --remote {}", remote.name);
                    writeln!(
                        f,
                        "# append this line to ~{}/.ssh/authorized_keys on {}:",
                        remote.user, remote.address
                    )?;
                    self.on(f, &line)?;
                }
                Ok(())
            }
        }
    }

    fn act(self, f: &mut fmt::Formatter<'_>, act: &Act) -> fmt::Result {
        match act {
            Act::Hold { units } => self.on(
                f,
                &format!(
                    "mkdir -p {STATE} && touch {STATE}/hold && for unit in {}; do mkdir -p /etc/systemd/system/$unit.d && printf \
                     \"[Unit]\\nAssertPathExists=!{STATE}/hold\\n\" > /etc/systemd/system/$unit.d/{DROP_IN}; done && systemctl daemon-reload",
                    units.join(" ")
                ),
            ),
            Act::Stop { units, manifests, ports, data } => self.stop(f, units, manifests, ports, data),
            Act::Settle { paths } => {
                let paths: Vec<String> = paths.iter().map(|path| word(path)).collect();
                self.on(f, &format!("! command -v restorecon || restorecon -R -- {}", paths.join(" ")))?;
                self.on(f, "! command -v update-ca-trust || update-ca-trust; systemctl daemon-reload")
            }
            Act::Start { units, manifests } => self.start(f, units, manifests),
            Act::Await { units, ports, seconds } => {
                let active: Vec<String> =
                    units.iter().map(|unit| format!("systemctl is-active --quiet {unit}")).collect();
                if !active.is_empty() {
                    let test = format!("timeout {seconds} sh -c \"until {}; do sleep 2; done\"", active.join(" || "));
                    self.on(f, &test)?;
                }
                for (_, port) in ports.iter().filter_map(|address| address.rsplit_once(':')) {
                    let test = format!("timeout {seconds} sh -c \"until ss -Hltn | grep -q :{port}; do sleep 2; done\"");
                    self.on(f, &test)?;
                }
                Ok(())
            }
            Act::HostKeys => self.on(f, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
            Act::Identities { .. } => self.on(f, "nightshift keys init"),
            Act::Night { .. } => self.on(f, "systemctl enable nightshift && nightshift run night --wait"),
            Act::SetAside { directory } => {
                let data = word(directory.path.trim_end_matches('/'));
                let before = before(&data);
                self.on(f, &format!("mkdir -p {before} && {{ [ ! -e {data}/member ] || mv {data}/member {before}/; }}"))
            }
            Act::Finish => self.on(f, &format!("rm -f {STATE}/hold")),
            // Not steps by themselves.
            Act::FreeNight
            | Act::Backup { .. }
            | Act::UndoStop { .. }
            | Act::Undo
            | Act::UndoStart { .. }
            | Act::Facts(_) | Act::Look { .. } | Act::PutData { .. } | Act::PutFiles { .. } | Act::Pin { .. } | Act::Authorize { .. } => Ok(()),
        }
    }

    fn stop(
        self,
        f: &mut fmt::Formatter<'_>,
        units: &[String],
        manifests: &[String],
        ports: &[String],
        data: &[String],
    ) -> fmt::Result {
        for manifest in manifests {
            let aside = self.aside("manifests");
            self.on(
                f,
                &format!("mkdir -p {aside} && {{ [ ! -e {0} ] || mv {0} {aside}/; }}", word(manifest)),
            )?;
        }
        // A kubelet needs some seconds to end a pod, and one that is stopped ends none.
        let of_pods = if manifests.is_empty() { &[] } else { ports };
        for (_, port) in of_pods.iter().filter_map(|address| address.rsplit_once(':')) {
            let end = format!("timeout 120 sh -c \"while ss -Hltn | grep -q ':{port} '; do sleep 2; done\"");
            self.on(f, &end)?;
        }
        // A unit that does not exist is none that runs.
        if !units.is_empty() {
            let stop =
                format!("for unit in {}; do systemctl stop $unit 2>/dev/null || true; done", units.join(" "));
            self.on(f, &stop)?;
        }
        for port in ports.iter().filter_map(|address| address.rsplit_once(':')) {
            self.on(f, &format!("! ss -Hltn | grep -q \":{} \"", port.1))?;
        }
        for data in data {
            self.on(
                f,
                &format!("! fuser -s {}", word(&format!("{}/member/snap/db", data.trim_end_matches('/')))),
            )?;
        }
        Ok(())
    }

    fn start(self, f: &mut fmt::Formatter<'_>, units: &[String], manifests: &[String]) -> fmt::Result {
        if !units.is_empty() {
            let all = units.join(" ");
            self.on(
                f,
                &format!("for unit in {all}; do rm -f /etc/systemd/system/$unit.d/{DROP_IN}; done; systemctl daemon-reload"),
            )?;
        }
        for manifest in manifests {
            self.files(f, |file| file.file.path == *manifest)?;
        }
        match units {
            [] => Ok(()),
            [unit] => self.on(f, &format!("systemctl start --no-block {unit}")),
            // Of the names that a unit may have, those that the machine uses.
            units => self.on(
                f,
                &format!(
                    "for unit in {}; do ! systemctl is-enabled --quiet $unit 2>/dev/null || systemctl start --no-block $unit; done",
                    units.join(" ")
                ),
            ),
        }
    }

    /// The files that are put in place now. Manifests of static pods follow in their own step.
    fn files(self, f: &mut fmt::Formatter<'_>, wanted: impl Fn(&PlannedFile) -> bool) -> fmt::Result {
        self.machine.files.iter().filter(|file| wanted(file)).try_for_each(|file| self.file(f, file))
    }

    fn pods(self, f: &mut fmt::Formatter<'_>, kind: PodKind) -> fmt::Result {
        let pods = self.machine.pods.as_ref().map(|pods| pods.of(kind));
        self.files(f, |file| pods.is_some_and(|pods| pods.has(&file.file.path)))
    }

    fn file(self, f: &mut fmt::Formatter<'_>, planned: &PlannedFile) -> fmt::Result {
        let file = &planned.file;
        let (path, owner) = (word(&file.path), word(&file.owner.to_string()));
        let before = self.aside("before");
        match &file.kind {
            FileKind::Directory => self
                .on(f, &format!("mkdir -p {path} && chown {owner} {path} && chmod {:o} {path}", file.mode)),
            FileKind::Symlink { target } => self.on(
                f,
                &format!(
                    "mkdir -p \"$(dirname {path})\" && ln -sfn {} {path} && chown -h {owner} {path}",
                    word(target)
                ),
            ),
            FileKind::File { .. } => {
                let put = format!(
                    "mkdir -p {before}\"$(dirname {path})\" \"$(dirname {path})\" && {{ [ ! -e {path} ] || cp -a {path} {before}{path}; }} && cat > {path}.part && \
                     chown {owner} {path}.part && chmod {:o} {path}.part && touch -d {} {path}.part && mv {path}.part {path}",
                    file.mode, file.modified
                );
                let content =
                    format!("sets/{}/{}/{}", planned.set.host, planned.set.dir_name(), planned.item);
                writeln!(f, "{} {} < {}", self.ssh(""), word(&put), word(&content))
            }
        }
    }

    fn put_data(self, f: &mut fmt::Formatter<'_>, member: &Member) -> fmt::Result {
        let (data, owner) =
            (word(member.data.path.trim_end_matches('/')), word(&member.data.owner.to_string()));
        let before = before(&data);
        let put = format!(
            "mkdir -p {data} && {{ [ ! -e {data}/member ] || {{ mkdir -p {before} && mv {data}/member {before}/; }}; }} && tar -C {data} -xf - && \
             chown {owner} {data} && chown -R {owner} {data}/member && chmod {:o} {data} && {{ ! command -v restorecon || restorecon -R {data}; }}",
            member.data.mode
        );
        writeln!(f, "tar -C by-hand-{} -cf - member | {} {}", member.host, self.ssh(""), word(&put))
    }

    fn joining(self, put: impl FnOnce(&Join) -> fmt::Result) -> fmt::Result {
        self.plan.join_of(&self.machine.host).map_or(Ok(()), put)
    }

    /// By way of another member.
    fn replace(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(join) = self.plan.join_of(&self.machine.host) else { return Ok(()) };
        let Some((other, machine)) =
            join.others.first().and_then(|other| Some((other, self.plan.machine(&other.host)?)))
        else {
            return Ok(());
        };
        let by = By { machine, ..self };
        // Those that were started just now, and 5 s more: etcd refuses another member before.
        let health = by.etcdctl(other, "endpoint health --cluster");
        by.on(f, &format!("timeout 180 sh -c \"until {health}; do sleep 2; done\"; sleep 6"))?;
        let (list, remove) = (by.etcdctl(other, "member list"), by.etcdctl(other, "member remove"));
        let id =
            format!("id=$({list} | grep -F {} | cut -d, -f1)", word(&format!(", {},", join.member.name)));
        by.on(f, &format!("{id}; [ -z \"$id\" ] || {remove} $id"))?;
        let add =
            format!("member add {} --peer-urls={}", word(&join.member.name), word(&join.member.peer_urls));
        by.on(f, &by.etcdctl(other, &add))
    }

    fn member(self, put: impl FnOnce(&Member) -> fmt::Result) -> fmt::Result {
        self.plan.member(&self.machine.host).map_or(Ok(()), put)
    }

    /// With the certificates at their places on the machine.
    fn etcdctl(self, member: &Member, words: &str) -> String {
        let place = |item: &String| {
            let file = self.machine.files.iter().find(|file| file.item == *item && file.set == member.set);
            word(&file.map_or_else(|| format!("/{item}"), |file| file.file.path.clone()))
        };
        let mut line = format!("ETCDCTL_API=3 etcdctl --endpoints {}", word(&member.client_url));
        if let Some([ca, cert, key]) = &member.tls {
            let [ca, cert, key] = [ca, cert, key].map(place);
            line += &format!(" --cacert {ca} --cert {cert} --key {key}");
        }
        line + " " + words
    }

    fn aside(self, kind: &str) -> String {
        format!("{STATE}/{}/{kind}", self.plan.id)
    }

    fn ssh(self, flags: &str) -> String {
        let Machine { address, port, .. } = self.machine;
        let to = word(&format!("root@{address}"));
        if *port == 22 { format!("ssh {flags}{to}") } else { format!("ssh {flags}-p {port} {to}") }
    }

    fn on(self, f: &mut fmt::Formatter<'_>, command: &str) -> fmt::Result {
        // It must not read what the script is read from.
        writeln!(f, "{} {}", self.ssh("-n "), word(command))
    }
}

/// Where a member's data is moved.
fn before(data: &str) -> String {
    format!("{data}/.nightshift-restore-by-hand")
}
