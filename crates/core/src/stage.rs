//! The stages of a night: which hosts run them, and which other stages each of them needs.

use std::str::FromStr;

use crate::role::{Role, Roles};
use crate::words::words;

words! {
    /// A named, timed step of the night, in the order in which a night runs them.
    Stage {
        SnapshotEtcd = "snapshot-etcd",
        CollectNode = "collect-node",
        PullEtcd = "pull-etcd",
        PullNodes = "pull-nodes",
        CollectMaster = "collect-master",
        MirrorMasters = "mirror-masters",
        PackArchive = "pack-archive",
        ShipArchive = "ship-archive",
        Drill = "drill",
        Prune = "prune",
    }
}

impl Stage {
    /// Whether a host with these roles runs it. Every host prunes its own vault.
    pub const fn runs_on(self, roles: Roles) -> bool {
        match self {
            Self::SnapshotEtcd => roles.has(Role::Etcd),
            Self::CollectNode => roles.has(Role::Node),
            Self::PullEtcd
            | Self::PullNodes
            | Self::CollectMaster
            | Self::MirrorMasters
            | Self::PackArchive
            | Self::ShipArchive => roles.has(Role::Master),
            Self::Drill => roles.has(Role::Master) || roles.has(Role::Etcd),
            Self::Prune => !roles.is_empty(),
        }
    }

    /// The role whose set this stage creates on its own host.
    pub const fn makes(self) -> Option<Role> {
        match self {
            Self::SnapshotEtcd => Some(Role::Etcd),
            Self::CollectNode => Some(Role::Node),
            Self::CollectMaster => Some(Role::Master),
            _ => None,
        }
    }

    /// The role whose sets this stage pulls from other hosts.
    pub const fn pulls(self) -> Option<Role> {
        match self {
            Self::PullEtcd => Some(Role::Etcd),
            Self::PullNodes => Some(Role::Node),
            Self::MirrorMasters => Some(Role::Master),
            _ => None,
        }
    }

    /// The stages of the same host that must have ended before this one begins.
    pub const fn needs(self) -> &'static [Self] {
        match self {
            Self::SnapshotEtcd
            | Self::CollectNode
            | Self::CollectMaster
            | Self::PullEtcd
            | Self::PullNodes => &[],
            Self::MirrorMasters => &[Self::PullEtcd, Self::PullNodes],
            Self::PackArchive => &[
                Self::SnapshotEtcd,
                Self::CollectNode,
                Self::CollectMaster,
                Self::PullEtcd,
                Self::PullNodes,
                Self::MirrorMasters,
            ],
            Self::ShipArchive => &[Self::PackArchive],
            Self::Drill => &[Self::SnapshotEtcd, Self::ShipArchive],
            Self::Prune => &[Self::SnapshotEtcd, Self::CollectNode, Self::CollectMaster, Self::ShipArchive],
        }
    }
}

/// The text is not the name of a stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown stage `{word}`; expected one of {known}", known = Stage::ALL.map(Stage::as_str).join(", "))]
pub struct UnknownStage {
    word: String,
}

impl FromStr for Stage {
    type Err = UnknownStage;
    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| UnknownStage { word: text.to_owned() })
    }
}

/// One value for each stage.
#[derive(Debug, Clone, PartialEq)]
pub struct PerStage<T>([T; Stage::ALL.len()]);

impl<T> PerStage<T> {
    pub fn from_fn(value: impl FnMut(Stage) -> T) -> Self {
        Self(Stage::ALL.map(value))
    }

    /// One value for each stage; `None` if one of them has none.
    pub fn try_from_fn(value: impl FnMut(Stage) -> Option<T>) -> Option<Self> {
        let values: Option<Vec<T>> = Stage::ALL.into_iter().map(value).collect();
        values?.try_into().ok().map(Self)
    }

    pub const fn get(&self, stage: Stage) -> &T {
        &self.0[stage as usize]
    }

    pub const fn get_mut(&mut self, stage: Stage) -> &mut T {
        &mut self.0[stage as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Stage, &T)> {
        Stage::ALL.into_iter().zip(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_stage_needs_only_stages_before_it_in_the_list() {
        for stage in Stage::ALL {
            assert!(stage.needs().iter().all(|need| *need < stage), "{stage}");
            assert_eq!(stage.as_str().parse::<Stage>().unwrap(), stage);
            assert_eq!(Stage::ALL[stage as usize], stage);
        }
    }

    #[test]
    fn a_host_runs_the_stages_of_its_roles() {
        let node = Roles::NONE.with(Role::Node);
        let stages: Vec<_> = Stage::ALL.into_iter().filter(|stage| stage.runs_on(node)).collect();
        assert_eq!(stages, [Stage::CollectNode, Stage::Prune]);
        assert!(Stage::ALL.into_iter().all(|stage| !stage.runs_on(Roles::NONE)));
    }
}
