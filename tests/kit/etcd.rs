//! Real etcd members on loopback, one cluster in plain HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::cmd::{Cmd, Output, poll};
use crate::lab::{Error, Result};
use crate::port;

const STARTS: Duration = Duration::from_secs(30);

pub struct Etcd {
    members: Vec<Member>,
}

struct Member {
    name: String,
    client: u16,
    peer: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Etcd {
    /// Starts one member for each name, with its data below the folder, and waits until all are well.
    pub fn start(folder: &Path, names: &[&str]) -> Result<Self> {
        let members = names
            .iter()
            .map(|name| Member {
                name: (*name).to_owned(),
                client: port::free(),
                peer: port::free(),
                folder: folder.join(name),
                child: None,
            })
            .collect();
        let mut etcd = Self { members };
        let cluster: Vec<String> = (etcd.members.iter())
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer))
            .collect();
        for member in &mut etcd.members {
            member.start(&cluster.join(","))?;
        }
        etcd.wait_until_well()?;
        Ok(etcd)
    }

    /// Where a member is asked; members go by the names they were started with.
    pub fn endpoint(&self, name: &str) -> Result<String> {
        let member = self.members.iter().find(|member| member.name == name);
        member
            .map(|member| format!("http://127.0.0.1:{}", member.client))
            .ok_or_else(|| Error::Refused(format!("there is no etcd member {name}")))
    }

    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.etcdctl_with(value, &["put", key]).map(drop)
    }

    /// Starts one member on a data dir that was copied, as the only one of its cluster.
    pub fn start_forced(data: &Path) -> Result<Self> {
        let (client, peer) = (port::free(), port::free());
        let folder = data.with_extension("etcd");
        let name = "forced".to_owned();
        let mut member = Member { name, client, peer, folder, child: None };
        member.start_on(data, &format!("forced=http://127.0.0.1:{peer}"), &["--force-new-cluster"])?;
        let etcd = Self { members: vec![member] };
        etcd.wait_until_well()?;
        Ok(etcd)
    }

    /// A member's data dir.
    pub fn data(&self, name: &str) -> Result<PathBuf> {
        let member = self.members.iter().find(|member| member.name == name);
        member
            .map(|member| member.folder.join("data"))
            .ok_or_else(|| Error::Refused(format!("there is no etcd member {name}")))
    }

    /// Lets nobody in any more without a password.
    pub fn secure(&self) -> Result<()> {
        self.etcdctl(&["user", "add", "root:secret"])?;
        self.etcdctl(&["user", "grant-role", "root", "root"])?;
        self.etcdctl(&["auth", "enable"]).map(drop)
    }

    /// What `etcdctl endpoint health` says.
    pub fn health(&self) -> Result<String> {
        self.etcdctl(&["endpoint", "health"]).map(|output| output.text() + &output.stderr)
    }

    /// Has what was written so far in the database file: etcd commits to it each 100 ms, or when it is asked for a
    /// snapshot.
    pub fn settle(&self) -> Result<()> {
        for member in &self.members {
            let to = member.folder.join("settled.db");
            let path = to.display().to_string();
            self.etcdctl(&["--endpoints", &member.url(), "snapshot", "save", &path])?;
        }
        Ok(())
    }

    /// Ends every member, as a power cut would.
    pub fn stop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.child.take()) {
            end(child);
        }
    }

    fn wait_until_well(&self) -> Result<()> {
        poll("etcd to be well", STARTS, || {
            self.etcdctl(&["endpoint", "health"]).map(drop).map_err(|error| error.to_string())
        })
    }

    fn etcdctl(&self, words: &[&str]) -> Result<Output> {
        self.etcdctl_with("", words)
    }

    /// A long value goes in as input.
    fn etcdctl_with(&self, input: &str, words: &[&str]) -> Result<Output> {
        let endpoints: Vec<String> = self.members.iter().map(Member::url).collect();
        let command = Cmd::new("env").arg("ETCDCTL_API=3").arg("etcdctl");
        let command = if words.contains(&"--endpoints") {
            command
        } else {
            command.args(["--endpoints", &endpoints.join(",")])
        };
        command.args(words).stdin(input).run()
    }
}

impl Member {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    fn start(&mut self, cluster: &str) -> Result<()> {
        self.start_on(&self.folder.join("data"), cluster, &[])
    }

    fn start_on(&mut self, data: &Path, cluster: &str, flags: &[&str]) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(Error::io(format!("making {}", self.folder.display())))?;
        let log = self.folder.join("log");
        let stderr = fs::File::create(&log).map_err(Error::io(format!("creating {}", log.display())))?;
        let (client, peer) =
            (format!("http://127.0.0.1:{}", self.client), format!("http://127.0.0.1:{}", self.peer));
        let child = Command::new("etcd")
            .args(["--name", &self.name, "--initial-cluster", cluster, "--data-dir"])
            .arg(data)
            .args(flags)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(Error::io("starting etcd"))?;
        self.child = Some(child);
        Ok(())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
