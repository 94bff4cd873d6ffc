//! Other hosts' vaults and remotes, over SSH with pinned host keys: sets and proofs are read, authenticated and stored;
//! archives are delivered.

mod credentials;
mod deliver;
mod download;
mod fetch;
mod fetch_error;
mod lost;
mod recheck;
mod signed;
mod sink;
mod vault;

pub use credentials::{Credentials, CredentialsError, ReachError, endpoint, location, remote_endpoint};
pub use deliver::{Deliver, DeliverError, Delivered};
pub use fetch::{Fetched, Space, fetch};
pub use fetch_error::FetchError;
pub use lost::lost;
pub use recheck::recheck;
pub use signed::{SignedError, Signers, Trust};
pub use sink::HashedSink;
pub use vault::{PeerProofError, PeerVault};
