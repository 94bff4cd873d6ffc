//! etcd members on loopback that can be stopped and started, like services on hosts of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jiff::civil::Date;
use kit::etcd::peer_url;
use kit::eventually;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::service::{ServiceControl, ServiceError};
use serde::{Deserialize, Serialize};

use super::writer;

/// Controls a member by two scripts. The stop is not waited for, because the cold copy has to prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    directory: PathBuf,
    /// The delay of a stop. The stop happens even if its future is dropped.
    pub stops_after: Duration,
}

impl Scripts {
    fn run(&self, script: &str) {
        let status = Command::new("sh")
            .args(["-c", script])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }
}

impl ServiceControl for Scripts {
    fn how(&self) -> String {
        "a script".to_owned()
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        let this = self.clone();
        let stopping = move || {
            std::thread::sleep(this.stops_after);
            this.run("touch stopped && kill $(cat pid) && touch stop-has-ended");
        };
        tokio::task::spawn_blocking(stopping).await.unwrap();
        Ok(())
    }

    async fn start(&self) -> Result<(), ServiceError> {
        // The old process may still be ending, and has the lock until then.
        self.run("if [ -e stopped ]; then rm stopped; setsid flock running sh ./etcd.sh >> log 2>&1 & fi");
        Ok(())
    }
}

pub struct Member {
    pub name: String,
    pub url: String,
    pub service: Scripts,
    directory: tempfile::TempDir,
}

impl Member {
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn local(&self) -> LocalMember {
        LocalMember {
            name: Some(self.name.clone()),
            data_dir: Some(self.directory().join("data")),
            ..writer::local(&self.url)
        }
    }

    pub fn marker(&self) -> PathBuf {
        self.directory().join("state/stopped")
    }

    pub fn etcdctl(&self, api: &str, words: &[&str]) -> Output {
        Command::new("etcdctl")
            .env("ETCDCTL_API", api)
            .args(["--endpoints", &self.url])
            .args(words)
            .output()
            .unwrap()
    }

    /// Revokes the lease of a lock, through this member.
    pub fn revoke_lock(&self) {
        let leases = self.ctl("3", &["lease", "list"]);
        self.ctl("3", &["lease", "revoke", leases.lines().last().unwrap()]);
    }

    pub fn ctl(&self, api: &str, words: &[&str]) -> String {
        let output = self.etcdctl(api, words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn is_healthy(&self) -> bool {
        self.etcdctl("3", &["--command-timeout=5s", "endpoint", "health"]).status.success()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ctl("3", &["endpoint", "status", "-w", "json"])).unwrap()
    }

    pub fn id(&self) -> u64 {
        self.status().pointer("/0/Status/header/member_id").unwrap().as_u64().unwrap()
    }

    pub fn leads(&self) -> bool {
        let status = self.status();
        status.pointer("/0/Status/leader").unwrap().as_u64() == Some(self.id())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Without its script it cannot start, even if it waits for the lock.
        self.service.run("rm -f stopped etcd.sh; kill -9 $(cat pid) || true");
    }
}

/// A cluster of `size` members, with a v2 key and a v3 key.
pub fn cluster(size: usize) -> Vec<Member> {
    let names: Vec<String> = (1..=size).map(|number| format!("etcd{number}")).collect();
    let peers: Vec<String> = names.iter().map(|_| peer_url()).collect();
    let all: Vec<String> = names.iter().zip(&peers).map(|(name, peer)| format!("{name}={peer}")).collect();
    let members: Vec<Member> = names
        .into_iter()
        .zip(&peers)
        .map(|(name, peer)| {
            let directory = tempfile::tempdir().unwrap();
            let url = peer_url();
            let script = format!(
                "echo $$ > pid; exec etcd --name {name} --data-dir data --enable-v2 --heartbeat-interval 50 --election-timeout 500 \
                 --listen-client-urls {url} --advertise-client-urls {url} --listen-peer-urls {peer} \
                 --initial-advertise-peer-urls {peer} --initial-cluster {}",
                all.join(",")
            );
            std::fs::write(directory.path().join("etcd.sh"), script).unwrap();
            let service = Scripts { directory: directory.path().to_owned(), stops_after: Duration::ZERO };
            service.run("touch stopped");
            service.run("rm stopped; setsid flock running sh ./etcd.sh >> log 2>&1 &");
            Member { name, url, service, directory }
        })
        .collect();
    for member in &members {
        eventually("every member is healthy", || member.is_healthy());
    }
    members[0].ctl("2", &["set", "/openshift.io/old", "from v2"]);
    members[0].ctl("3", &["put", "/kubernetes.io/new", "from v3"]);
    members
}

pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The member whose turn it is in the night of a date: in the order of their ids.
pub fn whose_turn(members: &[Member], date: Date) -> &Member {
    let mut by_id: Vec<&Member> = members.iter().collect();
    by_id.sort_by_key(|member| member.id());
    let days = jiff::civil::date(1970, 1, 1).until(date).unwrap().get_days() as usize;
    by_id[days % members.len()]
}
