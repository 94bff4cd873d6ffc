//! The v2 store of a restored etcd: whether it contains what it should, and accepts a write.

use std::time::Duration;

use nightshift_core::etcd_facts::DataFound;
use nightshift_core::proof::Comparison;

use super::client::{V2Client, V2Error};
use crate::discover::LocalMember;
use crate::trial::fault::Fault;
use crate::trial::server::Server;

/// The timeout of one request: a list of all keys takes as long as there are many.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Counts the v2 keys, and writes, reads and deletes one. A copy that contains v3 keys only is not checked.
pub async fn check(
    server: &mut Server,
    data: Option<&DataFound>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    match try_check(&server.member, data, compared).await {
        Ok(()) => Ok(()),
        // If etcd has ended, that is why it did not respond.
        Err(fault) => Err(server.etcd.ended().unwrap_or(fault)),
    }
}

async fn try_check(
    member: &LocalMember,
    data: Option<&DataFound>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let v2 = V2Client::of_member(member, REQUEST_TIMEOUT).map_err(V2Error::into_fault)?;
    if !v2.has_keys().await.map_err(V2Error::into_fault)? {
        // A set with one of these copies has it for its v2 keys, whatever else its manifest states.
        let expected =
            data.is_some_and(|data| data.v2 || data.cold_copy.is_some() || data.v2_backup.is_some());
        return if expected { Err(Fault::Copy("the v2 store is empty".to_owned())) } else { Ok(()) };
    }
    let found = v2.count_keys().await.map_err(V2Error::into_fault)?;
    match data.and_then(|data| data.v2_backup.as_ref()?.keys) {
        Some(expected) => compared.push(Comparison::new("v2 keys", expected, found)),
        None => {
            compared.push(Comparison::new("v2 keys exist", true, found > 0));
            compared.push(Comparison::not_compared(
                "number of v2 keys",
                format!("{found} found; the copy has no number to compare with"),
            ));
        }
    }
    if let Some(different) = compared.iter().find_map(Comparison::difference) {
        return Err(Fault::Copy(different));
    }
    v2.try_canary("alive").await.map_err(V2Error::into_fault)
}
