//! Which of etcd's two stores contain keys to back up: as the settings say, else as the member responds.

use std::time::Duration;

use nightshift_core::settings::EtcdData;

use super::client::{V2Client, V2Error};
use crate::client::Client;
use crate::discover::LocalMember;
use crate::error::ClientError;

/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether each store contains keys; an error if the member could not be queried.
#[derive(Debug)]
pub struct Stores {
    pub v3: Result<bool, ClientError>,
    pub v2: Result<bool, V2Error>,
}

impl Stores {
    /// `[etcd] data`, or one key of each store.
    pub async fn of(data: EtcdData, client: &Client, member: &LocalMember) -> Self {
        let known = |v3, v2| Self { v3: Ok(v3), v2: Ok(v2) };
        match data {
            EtcdData::V3 => known(true, false),
            EtcdData::V2 => known(false, true),
            EtcdData::Mixed => known(true, true),
            EtcdData::Auto => {
                let v2 = async {
                    if !has_v2_store(client).await {
                        return Ok(false);
                    }
                    V2Client::of_member(member, REQUEST_TIMEOUT)?.has_keys().await
                };
                let (v3, v2) = tokio::join!(client.has_v3_keys(), v2);
                Self { v3, v2 }
            }
        }
    }

    /// v3 keys count as present if that is unknown: the snapshot contains them in any case.
    pub fn has_v3(&self) -> bool {
        *self.v3.as_ref().unwrap_or(&true)
    }
}

/// etcd 3.6 removed the v2 store (docs/facts/etcd.md). If the version is unknown, there may be one.
async fn has_v2_store(client: &Client) -> bool {
    let Ok(status) = client.status().await else { return true };
    let mut numbers = status.version.split('.').map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < (3, 6),
        _ => true,
    }
}
