//! Whether the local member has v2 keys, which a snapshot does not contain, and what a cold copy of it would do.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::night::Night;
use nightshift_core::settings::{EtcdMembers, Settings};
use nightshift_engine::cold_copy;
use nightshift_engine::cold_copy::explain::{explain, is_enabled};
use nightshift_etcd::client::Client;
use nightshift_etcd::cluster::Cluster;
use nightshift_etcd::discover::{LocalMember, discover};
use nightshift_etcd::v2::stores::Stores;

use super::line::print_result;
use crate::{out, report};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Prints the results; false if some keys of the member would be in no set. If the member does not answer, nothing is printed,
/// because [`super::etcd::check`] has reported that.
pub async fn check(settings: &Settings) -> bool {
    let Ok(local) = discover(&settings.etcd, Path::new("/")) else { return true };
    let Ok(client) = Client::connect(&local, REQUEST_TIMEOUT).await else { return true };
    let stores = Stores::of(settings.etcd.data, &client, &local).await;
    match (stores.has_v3(), stores.v2) {
        (_, Err(error)) => {
            let error = report::in_full(&error);
            let fault = format!("cannot find out whether it has v2 keys: {error}; set `data` in [etcd]");
            print_result("etcd data", Err(fault))
        }
        (false, Ok(false)) => {
            print_result("etcd data", Ok("no keys; is this the member of this cluster?".to_owned()))
        }
        (true, Ok(false)) => {
            print_result("etcd data", Ok("only v3 keys; a snapshot contains all of them".to_owned()))
        }
        (false, Ok(true)) => {
            let how = "only v2 keys; `etcdctl backup` copies them, and a scratch etcd replays the copy";
            print_result("etcd data", Ok(how.to_owned()))
        }
        (true, Ok(true)) => mixed(settings, &client, &local).await,
    }
}

async fn mixed(settings: &Settings, client: &Client, local: &LocalMember) -> bool {
    let how = "v2 and v3 keys; a snapshot contains only the v3 keys, a cold copy contains both";
    print_result("etcd data", Ok(how.to_owned()));
    let socket = cold_copy::socket(settings);
    let window = &settings.window;
    let now = Timestamp::now();
    let night = Night::of(window.open_at(now).unwrap_or_else(|| window.next_after(now)));
    for line in explain(local, night, &socket).await {
        out::print(format!("note: cold copy: {line}"));
    }
    let enabled = if is_enabled(&socket) {
        Ok("enabled".to_owned())
    } else {
        Err("not enabled, so the v2 keys are in no set; see the note above".to_owned())
    };
    let enabled = print_result("cold copy", enabled);
    every_member_has_a_set(settings, client, local).await && enabled
}

/// The host whose turn it is makes its cold copy only with a set of its own.
async fn every_member_has_a_set(settings: &Settings, client: &Client, local: &LocalMember) -> bool {
    let alone =
        || async { Cluster::query(client, local).await.is_ok_and(|cluster| cluster.voters().count() == 1) };
    if settings.etcd.members == EtcdMembers::All || alone().await {
        return true;
    }
    let fault = "[etcd] members is \"one\", so the host whose turn it is may publish no set that night, and the v2 keys \
                 are in no set; set `members = \"all\"` on every etcd host";
    print_result("cold copy", Err(fault.to_owned()))
}
