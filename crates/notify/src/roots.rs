//! The authorities that a receiver's certificate may be signed by: those of the system, or those in a file of the config.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::{SendError, file};

/// The maximum length of a file of certificates, in bytes.
const MAX_LEN: u64 = 4 << 20;

pub fn certificates(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, SendError> {
    let found: Vec<_> = match ca {
        Some(path) => {
            let failed = |source| SendError::ReadRoots { path: path.to_owned(), source };
            let bytes = file::read(path, MAX_LEN).map_err(failed)?;
            let all = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>();
            all.map_err(|error| failed(io::Error::other(error)))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    if found.is_empty() { Err(SendError::NoRoots) } else { Ok(found) }
}

pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, SendError> {
    let mut roots = RootCertStore::empty();
    // A system's list has certificates that rustls does not accept.
    roots.add_parsable_certificates(certificates(ca)?);
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(SendError::Tls)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
