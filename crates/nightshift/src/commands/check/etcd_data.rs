//! What the local member holds besides what a snapshot has, and what a cold copy of it would do.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::night::Night;
use nightshift_core::settings::{EtcdData, EtcdMembers, Settings};
use nightshift_engine::cold_copy::{self, Enabled};
use nightshift_etcd as etcd;

use crate::{out, report};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints its lines; false where keys of the member would not be in a set. A member that cannot be asked was complained of
/// already.
pub async fn tell(settings: &Settings) -> bool {
    let Ok(local) = etcd::discover(&settings.etcd, Path::new("/")) else { return true };
    let Ok(client) = etcd::Client::connect(&local, PATIENCE).await else { return true };
    let (v3, v2) = match settings.etcd.data {
        EtcdData::V3 => (true, false),
        EtcdData::V2 => (false, true),
        EtcdData::Mixed => (true, true),
        EtcdData::Auto => {
            let found = etcd::look(&client, &local, PATIENCE).await;
            match found.v2 {
                // What could not be asked of v3 is in the snapshot anyway.
                Ok(v2) => (found.v3.unwrap_or(true), v2),
                Err(error) => {
                    out::complain(&format!(
                        "etcd data: whether it holds v2 keys is not known: {}; set `data` in [etcd]",
                        report::in_full(&error)
                    ));
                    return false;
                }
            }
        }
    };
    match (v3, v2) {
        (_, false) => {
            out::say("etcd data: v3 keys only, which a snapshot has whole");
            true
        }
        (false, true) => {
            out::say("etcd data: v2 keys only, taken by `etcdctl backup` and replayed in a scratch etcd");
            true
        }
        (true, true) => mixed(settings, &client, &local).await,
    }
}

async fn mixed(settings: &Settings, client: &etcd::Client, local: &etcd::LocalMember) -> bool {
    out::say("etcd data: v2 keys beside v3 keys: a snapshot has only the v3 ones, a cold copy both");
    let socket = cold_copy::socket(settings);
    let window = &settings.window;
    let now = Timestamp::now();
    let night = Night::of(window.open_at(now).unwrap_or_else(|| window.next_after(now)));
    for line in cold_copy::explain(local, night, &socket).await {
        out::say(format!("cold copy: {line}"));
    }
    let asked = each_is_asked(settings, client, local).await;
    asked && cold_copy::enabled(&socket) == Enabled::Yes
}

/// Whether the host whose turn it is asks for its cold copy: it does so only with a set of its own.
async fn each_is_asked(settings: &Settings, client: &etcd::Client, local: &etcd::LocalMember) -> bool {
    let alone = || async {
        etcd::Cluster::ask(client, local).await.is_ok_and(|cluster| cluster.voters().count() == 1)
    };
    if settings.etcd.members == EtcdMembers::All || alone().await {
        return true;
    }
    out::complain(
        "cold copy: [etcd] members is \"one\", so the host whose turn it is may hand in nothing that night, and the v2 keys \
         are in no set: set `members = \"all\"` on every etcd host",
    );
    false
}
