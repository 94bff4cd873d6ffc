//! Other hosts' vaults: reached over SFTP with pinned host keys, and believed only as far as their signatures go.

mod credentials;
mod signed;

pub use credentials::{Credentials, CredentialsError, ReachError, endpoint, remote_endpoint};
pub use signed::{SignedError, check_signature};
