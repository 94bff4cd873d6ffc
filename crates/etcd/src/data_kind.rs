//! Which of etcd's two stores holds keys: the member itself is asked.

use std::time::Duration;

use crate::client::Client;
use crate::discover::LocalMember;
use crate::trouble::ClientError;
use crate::v2::{V2, V2Error};

/// What was found in each store; the error is why it could not be asked.
#[derive(Debug)]
pub struct Found {
    pub v3: Result<bool, ClientError>,
    pub v2: Result<bool, V2Error>,
}

/// Asks the member for one key of each store.
pub async fn look(client: &Client, member: &LocalMember, patience: Duration) -> Found {
    let v2 = async { V2::of_member(member, patience)?.has_keys().await };
    let (v3, v2) = tokio::join!(client.has_v3_keys(), v2);
    Found { v3, v2 }
}
