//! A member that joins others: it is removed, added again, and gets its data from them. No snapshot is involved.

use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::restore::etcd::{self, Member};
use crate::restore::evidence::Evidence;
use crate::restore::finding::Finding;
use crate::role::Role;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub member: Member,
    /// The members that run by then.
    pub others: Vec<Member>,
    /// The absolute path of the configuration with the options for a member's first start.
    pub config: String,
}

impl Join {
    /// The list of members for its first start, as the plan knows them.
    pub fn initial_cluster(&self) -> String {
        let pairs = self.others.iter().chain([&self.member]).flat_map(Member::pairs);
        pairs.collect::<Vec<_>>().join(",")
    }
}

/// How a member joins the others. The findings have the reason if it cannot.
pub fn plan(evidence: &Evidence<'_>, host: &HostName, findings: &mut Vec<Finding>) -> Option<Join> {
    let mut refuse = |reason: String| findings.push(Finding::refused(format!("{host}: {reason}")));
    let member = etcd::member(evidence, host).map_err(&mut refuse).ok()?;
    let hosts = evidence.settings.inventory.with_role(Role::Etcd).filter(|other| other.name != *host);
    let mut others = Vec::new();
    for other in hosts {
        match etcd::member(evidence, &other.name) {
            Ok(member) => others.push(member),
            Err(reason) => refuse(format!("the other member {}: {reason}", other.name)),
        }
    }
    if others.is_empty() {
        refuse("no set describes another member, so it has none to join; restore etcd as a whole with `--only etcd`".to_owned());
        return None;
    }
    of(evidence, member, others, findings)
}

/// How this member joins these.
fn of(
    evidence: &Evidence<'_>,
    member: Member,
    others: Vec<Member>,
    findings: &mut Vec<Finding>,
) -> Option<Join> {
    let mut refuse = |reason: String| findings.push(Finding::refused(format!("{}: {reason}", member.host)));
    let Some((config, text)) = etcd::config(evidence, &member.host) else {
        refuse("its sets have no configuration of etcd; use another night".to_owned());
        return None;
    };
    if joining(&text, "").is_none() {
        refuse(format!("{config} has no `initial-cluster`, so it cannot join; add the member by hand"));
        return None;
    }
    Some(Join { member, others, config })
}

/// The members after the first one join it, one after the other, because only one member can start on a copy with v2 keys.
pub fn grow(evidence: &Evidence<'_>, members: &[Member], findings: &mut Vec<Finding>) -> Vec<Join> {
    let numbered = members.iter().enumerate().skip(1);
    numbered
        .filter_map(|(index, member)| of(evidence, member.clone(), members[..index].to_vec(), findings))
        .collect()
}

/// How an option of etcd is written: in an environment file, as a flag in a manifest, in etcd's own YAML.
const SPELLINGS: [[&str; 2]; 3] = [
    ["ETCD_INITIAL_CLUSTER=", "ETCD_INITIAL_CLUSTER_STATE="],
    ["- --initial-cluster=", "- --initial-cluster-state="],
    ["initial-cluster: ", "initial-cluster-state: "],
];

/// A configuration with the options for the first start of a member that joins: which members there are, and that the cluster exists.
/// `None` if it does not have them. etcd reads them only while it has no data.
pub fn joining(text: &str, initial_cluster: &str) -> Option<String> {
    let has = |name: &str| text.lines().any(|line| line.trim_start().starts_with(name));
    let [cluster, state] = SPELLINGS.iter().find(|[cluster, _]| has(cluster))?;
    let mut joining = String::with_capacity(text.len() + initial_cluster.len());
    for line in text.lines() {
        let rest = line.trim_start();
        let indent = &line[..line.len() - rest.len()];
        if rest.starts_with(cluster) {
            let lines =
                [format!("{indent}{cluster}{initial_cluster}\n"), format!("{indent}{state}existing\n")];
            joining.extend(lines);
        } else if !rest.starts_with(state) {
            joining.push_str(line);
            joining.push('\n');
        }
    }
    Some(joining)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_first_start_are_replaced_in_each_spelling() {
        let joins = |text: &str| joining(text, "a=https://a:2380,b=https://b:2380");
        for (text, expected) in [
            (
                "ETCD_NAME=a\nETCD_INITIAL_CLUSTER=a=https://a:2380\nETCD_INITIAL_CLUSTER_STATE=new\nETCD_DEBUG=1\n",
                "ETCD_NAME=a\nETCD_INITIAL_CLUSTER=a=https://a:2380,b=https://b:2380\nETCD_INITIAL_CLUSTER_STATE=existing\nETCD_DEBUG=1\n",
            ),
            (
                "    - etcd\n    - --initial-cluster=a=https://a:2380\n    - --name=a\n",
                "    - etcd\n    - --initial-cluster=a=https://a:2380,b=https://b:2380\n    - --initial-cluster-state=existing\n    - --name=a\n",
            ),
            (
                "name: a\ninitial-cluster: a=https://a:2380\ninitial-cluster-state: 'new'\n",
                "name: a\ninitial-cluster: a=https://a:2380,b=https://b:2380\ninitial-cluster-state: existing\n",
            ),
        ] {
            assert_eq!(joins(text).as_deref(), Some(expected));
        }
        assert_eq!(joins("ETCD_NAME=a\n#ETCD_INITIAL_CLUSTER=\n"), None);
    }
}
