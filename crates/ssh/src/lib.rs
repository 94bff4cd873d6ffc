//! SSH for nightshift: sessions to hosts whose keys are pinned, pipelined SFTP in both directions, and signatures with a
//! host's own key. It is the only crate that uses russh.
//!
//! It spawns no tasks: parallel work runs inside the caller's task, so dropping a future ends its work.

mod bandwidth;
pub mod endpoint;
pub mod identity;
pub mod known_hosts;
pub mod scan;
pub mod session;
pub mod sftp;
pub mod signature;
pub mod upload;

pub use bandwidth::Bandwidth;
pub use endpoint::{Endpoint, Timeouts};
pub use identity::{Identity, IdentityError};
pub use known_hosts::{HostKeyVerdict, KnownHosts, KnownHostsError};
pub use russh::keys::ssh_key::PublicKey;
pub use scan::{OfferedKey, scan};
pub use session::exec::{ExecError, ExecOutput};
pub use session::{ConnectError, Session};
pub use sftp::{ChunkSink, DirEntry, FileKind, Listing, Sftp, SftpError, Space, Stat};
pub use signature::{Signatory, SignatureError, Signer};
pub use upload::{Upload, UploadError, Uploaded};
