//! Checks the local etcd member, whether the other members answer and can be compared with it, and when the certificates
//! expire.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::settings::Settings;
use nightshift_core::units::bytes;
use nightshift_etcd as etcd;
use nightshift_etcd::{Client, Cluster, LocalMember, Member};

use super::line::print_result;
use crate::report;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Prints a line for the member, one for the others, and one for each fault; true if all are OK.
pub async fn check(settings: &Settings) -> bool {
    let (local, client, member) = match reach(settings).await {
        Ok(reached) => reached,
        Err(fault) => return print_result("etcd", Err(fault)),
    };
    let own = member.complaints.first().map_or_else(
        || {
            let (version, size) = (&member.version, bytes(member.db_size));
            Ok(format!(
                "member {} of etcd {version} answers at {}, database {size}",
                member.name,
                client.endpoint()
            ))
        },
        |complaint| Err(format!("member {} {complaint}", member.label())),
    );
    let mut good = print_result("etcd", own);
    let cluster = Cluster::ask(&client, &local).await;
    good &= print_result("etcd", others(cluster, &client, &member).await);
    let expiries = etcd::expiries(&local);
    for complaint in etcd::expiry_complaints(&expiries, Timestamp::now()) {
        good &= print_result("etcd", Err(format!("member {} {complaint}", member.label())));
    }
    good
}

async fn reach(settings: &Settings) -> Result<(LocalMember, Client, Member), String> {
    let local = etcd::discover(&settings.etcd, Path::new("/")).map_err(|error| report::in_full(&error))?;
    let client = Client::connect(&local, REQUEST_TIMEOUT).await.map_err(|error| report::in_full(&error))?;
    let member = etcd::examine(&client, &local).await.map_err(|error| report::in_full(&error))?;
    Ok((local, client, member))
}

/// How many members answer, and whether they can be compared.
async fn others(
    cluster: Result<Cluster, etcd::ClientError>,
    client: &Client,
    member: &Member,
) -> Result<String, String> {
    let cluster =
        cluster.map_err(|error| format!("cannot query the other members: {}", report::in_full(&error)))?;
    let id = u64::from_str_radix(&member.member_id, 16).unwrap_or_default();
    let concerns: Vec<String> = cluster.concerns(id).iter().map(ToString::to_string).collect();
    if !concerns.is_empty() {
        return Err(format!("member {}", concerns.join("; member ")));
    }
    let count = cluster.members.len();
    if count < 2 {
        return Ok("single member, nothing to compare it with".to_owned());
    }
    match client.hash_kv(0, etcd::HASHING).await {
        Ok(_) => Ok(format!("all {count} members answer and can be compared")),
        // This does not fail a night either: its sets are stored as unchecked.
        Err(error) => {
            Ok(format!("all {count} members answer, but cannot be compared ({})", report::in_full(&error)))
        }
    }
}
