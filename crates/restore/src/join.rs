//! A member joins others: it is removed, added, and gets its data from them.

use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::restore::etcd::Member;
use nightshift_core::restore::join::Join;
use nightshift_core::units::count;
use nightshift_etcd::client::Client;
use nightshift_etcd::message::ListedMember;
use nightshift_etcd::trial::tools::Version;
use tokio::time::{Instant, sleep};

use crate::member::{Members, retried};

/// How long a member may take to get all data: 8 GiB, the largest database that etcd supports, at 10 MiB/s.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long etcd may refuse a new member because others have started just now.
const ADD_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The first version with learners.
const LEARNERS: Version = Version { major: 3, minor: 4, patch: 0 };

impl Members<'_> {
    /// Whether the others stay a majority while this member is replaced, and are those of the plan.
    pub async fn require_quorum(&self, join: &Join) -> Result<(), String> {
        self.quorum(join).await.map(drop)
    }

    /// The other members that run, and all that are listed.
    async fn quorum(&self, join: &Join) -> Result<(Vec<Client>, Vec<ListedMember>), String> {
        let (clients, mut reasons) = self.running(join).await;
        let Some(client) = clients.first() else {
            return Err(no_other(&reasons));
        };
        let listed = list(client).await?;
        let others: Vec<&ListedMember> =
            listed.iter().filter(|listed| !is_own(listed, &join.member)).collect();
        let own = listed.iter().find(|listed| is_own(listed, &join.member));
        if let Some(own) = own.filter(|own| !own.name.is_empty() && own.name != join.member.name) {
            return Err(format!(
                "{} belongs to the member `{}` now, not to `{}`; nothing is removed",
                join.member.peer_urls, own.name, join.member.name
            ));
        }
        if let Some(unknown) =
            others.iter().find(|listed| join.others.iter().all(|other| other.name != listed.name))
        {
            return Err(format!(
                "the cluster has a member `{}` ({}) that the plan does not know; use a newer night, or replace the member by hand",
                unknown.name,
                unknown.peer_urls.join(",")
            ));
        }
        let voters = others.iter().filter(|listed| !listed.is_learner).count();
        // Without a majority that runs, the cluster accepts no write after the removal.
        let members = voters + 1;
        let quorum = members / 2 + 1;
        if clients.len() < quorum.min(voters) {
            reasons.insert(0, format!("only {} of the other {} run", clients.len(), count(voters, "member")));
            return Err(format!(
                "{}; start them, or restore etcd as a whole with `--only etcd`",
                reasons.join("; ")
            ));
        }
        Ok((clients, listed))
    }

    /// Whether the member is in the list and was never started: an interrupted run has added it.
    pub async fn is_added(&self, join: &Join) -> Result<bool, String> {
        let listed = list(&self.any(join).await?).await?;
        Ok(listed.iter().any(|listed| is_own(listed, &join.member) && listed.name.is_empty()))
    }

    /// Removes the old member, and adds it again.
    pub async fn replace(&self, join: &Join) -> Result<Vec<String>, String> {
        let (clients, listed) = self.quorum(join).await?;
        let Some(client) = clients.first() else { return Ok(Vec::new()) };
        let own = listed.iter().find(|listed| is_own(listed, &join.member));
        let mut notes = Vec::new();
        if let Some(own) = own {
            remove(client, own.id).await?;
            notes.push(format!("the old member {:x} is removed", own.id));
        }
        let is_learner = have_learners(&clients).await?;
        add(client, &join.member, is_learner).await?;
        notes.push(if is_learner { "added as a learner" } else { "added as a voting member" }.to_owned());
        Ok(notes)
    }

    /// `--initial-cluster` for the member's first start.
    pub async fn initial_cluster(&self, join: &Join) -> Result<String, String> {
        let client = self.any(join).await?;
        let mut pairs = Vec::new();
        for listed in list(&client).await? {
            let name = if is_own(&listed, &join.member) { &join.member.name } else { &listed.name };
            if name.is_empty() {
                return Err(format!("the member {:x} has never started; remove it, or start it", listed.id));
            }
            pairs.extend(listed.peer_urls.iter().map(|url| format!("{name}={url}")));
        }
        Ok(pairs.join(","))
    }

    /// Waits until the member has the others' data and votes.
    pub async fn promote(&self, join: &Join) -> Result<Vec<String>, String> {
        let mut wanted = None;
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            let reason = match self.advance(join, &mut wanted).await {
                Ok(wanted) => return Ok(vec![format!("it votes, and has revision {wanted} of the others")]),
                Err(reason) => reason,
            };
            if Instant::now() >= until {
                let seconds = CATCH_UP_TIMEOUT.as_secs();
                return Err(format!("not a voting member within {seconds} s: {reason}"));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// `wanted` is the revision that the others had at first.
    async fn advance(&self, join: &Join, wanted: &mut Option<i64>) -> Result<i64, String> {
        let client = self.any(join).await?;
        let wanted = match *wanted {
            Some(wanted) => wanted,
            None => *wanted.insert(revision(&client).await?),
        };
        let listed = list(&client).await?;
        let own = listed.iter().find(|listed| is_own(listed, &join.member));
        let own = own.ok_or("it is not in the list of members")?;
        if own.name.is_empty() {
            return Err("it is not started yet".to_owned());
        }
        if own.is_learner {
            client.promote_member(own.id).await.map_err(|error| chain(&error))?;
        }
        let member = self.client(&join.member).await.map_err(|error| chain(&error))?;
        let reached = revision(&member).await?;
        if reached < wanted { Err(format!("it is at revision {reached} of {wanted}")) } else { Ok(wanted) }
    }

    /// Another member that responds. It may have no leader: before etcd 3.4 a second voter that is added to a single one counts for the quorum
    /// before it starts.
    async fn any(&self, join: &Join) -> Result<Client, String> {
        let (clients, reasons) = self.responding(join).await;
        clients.into_iter().next().map(|(client, _)| client).ok_or_else(|| no_other(&reasons))
    }

    /// The other members that have a leader, and why some do not count.
    async fn running(&self, join: &Join) -> (Vec<Client>, Vec<String>) {
        let (responding, mut reasons) = self.responding(join).await;
        let mut clients = Vec::new();
        for (client, leader) in responding {
            if leader == 0 {
                reasons.push(format!("{}: it has no leader", client.endpoint()));
            } else {
                clients.push(client);
            }
        }
        (clients, reasons)
    }

    /// The other members that respond, with their leaders, and why others do not.
    async fn responding(&self, join: &Join) -> (Vec<(Client, u64)>, Vec<String>) {
        let (mut clients, mut reasons) = (Vec::new(), Vec::new());
        for member in &join.others {
            let tried = async {
                let client = self.client(member).await?;
                let leader = client.status().await?.leader;
                Ok::<_, nightshift_etcd::error::ClientError>((client, leader))
            };
            match tried.await {
                Ok(responding) => clients.push(responding),
                Err(error) => reasons.push(format!("{}: {}", member.host, chain(&error))),
            }
        }
        (clients, reasons)
    }
}

async fn remove(client: &Client, id: u64) -> Result<(), String> {
    let removed = retried(async || match client.remove_member(id).await {
        // By the request before, whose response did not come.
        Err(error) if error.is_not_found() => Ok(()),
        removed => removed,
    });
    removed.await.map_err(|error| chain(&error))
}

/// etcd refuses another member until all that vote have been connected for 5 s.
async fn add(client: &Client, member: &Member, is_learner: bool) -> Result<(), String> {
    let until = Instant::now() + ADD_TIMEOUT;
    loop {
        let urls = member.peer_urls.split(',').map(str::to_owned).collect();
        let Err(error) = client.add_member(urls, is_learner).await else { return Ok(()) };
        let reason = chain(&error);
        let is_early =
            ["unhealthy cluster", "not enough started members"].iter().any(|words| reason.contains(words));
        if !(is_early || error.is_temporary()) || Instant::now() >= until {
            return Err(reason);
        }
        sleep(POLL_INTERVAL).await;
        // A request whose response did not come may have been carried out.
        if list(client).await.is_ok_and(|listed| listed.iter().any(|listed| is_own(listed, member))) {
            return Ok(());
        }
    }
}

async fn list(client: &Client) -> Result<Vec<ListedMember>, String> {
    retried(|| client.members()).await.map(|response| response.members).map_err(|error| chain(&error))
}

async fn revision(client: &Client) -> Result<i64, String> {
    client.status().await.map(|status| status.revision()).map_err(|error| chain(&error))
}

fn no_other(reasons: &[String]) -> String {
    format!("no other member responds: {}; start one of them", reasons.join("; "))
}

/// By its peer URLs: it has no name until it has started.
fn is_own(listed: &ListedMember, member: &Member) -> bool {
    member.peer_urls.split(',').any(|url| listed.peer_urls.iter().any(|other| other == url))
}

async fn have_learners(clients: &[Client]) -> Result<bool, String> {
    for client in clients {
        let status = client.status().await.map_err(|error| chain(&error))?;
        if Version::find(&status.version)
            .is_none_or(|version| version.minor_version() < LEARNERS.minor_version())
        {
            return Ok(false);
        }
    }
    Ok(true)
}
