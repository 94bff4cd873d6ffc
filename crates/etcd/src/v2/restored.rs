//! The older store of a restored etcd: whether it holds what it should, and takes a write.

use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::etcd_facts::DataFound;
use nightshift_core::proof::Comparison;

use super::{V2, V2Error};
use crate::discover::LocalMember;
use crate::trial::{Fault, Server};

/// A listing of all keys takes as long as there are many.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts the v2 keys, and writes, reads and deletes one. A copy of v3 keys alone has nothing to show here.
pub async fn check(
    server: &mut Server,
    data: Option<&DataFound>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let expected = data.is_some_and(|data| data.v2);
    match try_check(&server.member, expected, data, compared).await {
        Ok(()) => Ok(()),
        // The silence of an etcd that has ended is explained by its end.
        Err(error) => Err(server.ended().unwrap_or(error)),
    }
}

async fn try_check(
    member: &LocalMember,
    expected: bool,
    data: Option<&DataFound>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let v2 = V2::of_member(member, PATIENCE).map_err(|error| judged(&error))?;
    if !v2.has_keys().await.map_err(|error| judged(&error))? {
        return if expected { Err(Fault::Copy("it holds no v2 keys".to_owned())) } else { Ok(()) };
    }
    let found = v2.count_keys().await.map_err(|error| judged(&error))?;
    // Only what was replayed when it was made has a number to be held against.
    let counted = data.and_then(|data| data.v2_backup.as_ref()?.keys).unwrap_or(found);
    compared.push(Comparison {
        what: "v2 keys".to_owned(),
        expected: counted.to_string(),
        found: found.to_string(),
    });
    if counted != found {
        return Err(Fault::Copy(format!("v2 keys: {found} were restored where {counted} was expected")));
    }
    v2.try_canary("alive").await.map_err(|error| judged(&error))
}

/// What it answers is of the copy; that it does not answer is of this machine.
fn judged(error: &V2Error) -> Fault {
    let reason = format!("its v2 store: {}", chain(error));
    if error.is_of_the_copy() { Fault::Copy(reason) } else { Fault::Here(reason) }
}
