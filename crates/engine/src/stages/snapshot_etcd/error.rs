//! Why there is no set of tonight.

use nightshift_etcd::discover::DiscoverError;
use nightshift_etcd::error::ClientError;
use nightshift_etcd::health::Problem;
use nightshift_etcd::snapshot::SnapshotError;
use nightshift_store::StoreError;
use nightshift_store::space::SpaceError;

use crate::collect::CollectError;
use crate::stages::own_set::OwnSetError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Set(#[from] OwnSetError),
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    #[error("cannot query the etcd member")]
    Client(#[from] ClientError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("not enough space for a snapshot")]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the member at the etcd endpoint {0}")]
    NotOwn(Problem),
}
