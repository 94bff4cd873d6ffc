//! A lost cluster is restored, and the restore is interrupted: `apply` is killed after each of its acts, and machines lose their power in
//! each step. `cargo xtask lab restore` runs these. Real hosts: needs root.

mod apply;
mod cuts;
mod kills;
#[path = "../lab/restore/lost.rs"]
#[allow(dead_code)]
mod lost;
#[path = "../lab/site.rs"]
#[allow(dead_code)]
mod site;
mod table;

use kit::lab::{DiskSpec, FileSystem, available};

use apply::Restore;
use lost::{Cluster, hand_over, new_machines, night_before};
use table::Table;

#[test]
fn a_restore_that_is_killed_after_each_act_continues_to_the_same_end() {
    if !kit::require(available()) {
        return;
    }
    let cluster = Cluster::of_services();
    let lost = night_before(&cluster);
    let lab = new_machines(&cluster);
    hand_over(lab.host(lost::OPERATOR), &lost);
    let restore = Restore::new(&lab, &lost);
    let mut table = Table::default();
    kills::after_each_act(&restore, &mut table);
    restore.require_the_end(&mut table);
    table.finish();
}

#[test]
fn a_restore_whose_machines_lose_their_power_continues_to_the_same_end() {
    if !kit::require(available()) {
        return;
    }
    let lost = night_before(&Cluster::of_services());
    let mut cluster = Cluster::of_services();
    cluster.topology = cluster.topology.host_disk(DiskSpec { file_system: FileSystem::Ext4, mib: 4096 });
    let lab = new_machines(&cluster);
    hand_over(lab.host(lost::OPERATOR), &lost);
    let restore = Restore::new(&lab, &lost);
    let mut table = Table::default();
    cuts::in_each_step(&restore, &mut table);
    restore.require_the_end(&mut table);
    table.finish();
}
