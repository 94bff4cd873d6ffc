//! A lab by hand: one that stays after the command that started it, until it is taken down.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::{self, Lab};
use super::cmd::{Output, side_by_side};
use super::error::{Error, Result};
use super::folder;
use super::nightshift::{self, AgeIdentity};
use super::schedule::Schedule;
use super::topology::{Role, Topology};

const ID: &str = "hand";
/// The longest that a night by hand may take.
const NIGHT: Duration = Duration::from_secs(600);

/// What `lab up` left running, as it stands in `target/lab/hand/state.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct LabState {
    pub hosts: Vec<HostState>,
    topology: Topology,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct HostState {
    pub name: String,
    pub address: Ipv4Addr,
    pub roles: Vec<Role>,
}

/// Boots a lab that stays. If it cannot boot whole, nothing of it is left.
pub fn up(topology: &Topology) -> Result<LabState> {
    let path = state_path();
    if path.exists() {
        return Err(Error::Refused("the lab is up already; take it down first".to_owned()));
    }
    cluster::end(ID)?; // what an interrupted start left
    let lab = Lab::laid_out(ID, topology)?;
    fs::create_dir_all(lab.folder()).map_err(Error::io(format!("making {}", lab.folder().display())))?;
    let state = LabState {
        hosts: (lab.hosts().iter())
            .map(|host| HostState {
                name: host.name.clone(),
                address: host.address(),
                roles: host.roles.clone(),
            })
            .collect(),
        topology: topology.clone(),
    };
    if let Err(error) = lab.boot().and_then(|()| write(&path, &state)) {
        cluster::end(ID)?;
        return Err(error);
    }
    Ok(state)
}

/// The lab that is up.
pub fn attach() -> Result<Lab> {
    let path = state_path();
    let text = fs::read(&path).map_err(Error::io(format!("reading {} (is a lab up?)", path.display())))?;
    let state: LabState = serde_json::from_slice(&text)
        .map_err(|error| Error::Refused(format!("{} is not a lab's state: {error}", path.display())))?;
    Lab::laid_out(ID, &state.topology)
}

/// Puts the package on the lab that is up, as an operator would, has the whole night run at once, and gives how a master
/// says that it went.
pub fn night(deb: &Path) -> Result<Night> {
    let lab = attach()?;
    let identity = AgeIdentity::create(&lab)?;
    // It would begin by itself in five minutes; it begins at once because it is asked to.
    let schedule = Schedule::due_in(5).ending(8, 180);
    let config = nightshift::config_text(&lab, &schedule, &[identity.recipient]);
    nightshift::set_up(&lab, deb, &config)?;
    nightshift::enable(&lab)?;
    side_by_side(&nightshift::managed(&lab), |host| {
        // How it went on each host is for its status to say.
        host.try_run_for("nightshift run night --wait", NIGHT)
    })?;
    let master = lab.with(Role::Master).first().map_or(Ok(String::new()), |master| {
        master.try_run("nightshift status").map(|output| output.text() + &output.stderr)
    })?;
    Ok(Night { status: master, identity: identity.path })
}

/// How a night by hand went.
pub struct Night {
    pub status: String,
    /// The key that opens its archives.
    pub identity: PathBuf,
}

/// Runs a shell line on a host of the lab that is up; the status is the caller's to pass on.
pub fn exec(host: &str, line: &str) -> Result<Output> {
    let lab = attach()?;
    let Some(host) = lab.find(host) else {
        let names: Vec<&str> = lab.hosts().iter().map(|host| host.name.as_str()).collect();
        return Err(Error::Refused(format!("there is no host {host}; there are {}", names.join(", "))));
    };
    host.try_run(line)
}

/// Takes down whatever there is of the lab by hand, and of labs whose tests crashed.
pub fn down() -> Result<()> {
    cluster::end(ID)?;
    cluster::sweep()
}

fn state_path() -> PathBuf {
    folder().join(ID).join("state.json")
}

fn write(path: &PathBuf, state: &LabState) -> Result<()> {
    let text = serde_json::to_vec_pretty(state)
        .map_err(|error| Error::Refused(format!("the lab's state has no JSON: {error}")))?;
    fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))
}
