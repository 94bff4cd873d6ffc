//! A client certificate for the restored etcd, which contains every secret of the cluster while other users may connect to
//! this host's loopback. If authentication is enabled in the copy, this host does not have its users' passwords; but etcd takes the common
//! name of a client certificate as the user (docs/facts/etcd.md#the-snapshot-stream), so the one client is `root`. The
//! authority exists only during the trial.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::fault::{Fault, Here as _};
use super::scratch::Scratch;
use crate::discover::TlsFiles;

/// The user with all rights. Authentication cannot be enabled without it.
const USER: &str = "root";

/// Certificates for the restored etcd and for its one client, in its scratch directory.
#[derive(Debug)]
pub struct RootAccess {
    ca: PathBuf,
    server: [PathBuf; 2],
    client: [PathBuf; 2],
}

impl RootAccess {
    pub fn create(scratch: &Scratch) -> Result<Self, Fault> {
        let failed = |error: rcgen::Error| Fault::Here(format!("cannot create a certificate: {error}"));
        let ca_key = KeyPair::generate().map_err(failed)?;
        let mut params = named("nightshift drill")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca = put(scratch, "ca.crt", &params.self_signed(&ca_key).map_err(failed)?.pem())?;
        let issuer = Issuer::new(params, ca_key);
        let issue = |name: &str, file: &str| -> Result<[PathBuf; 2], Fault> {
            let key = KeyPair::generate().map_err(failed)?;
            let mut params = named(name)?;
            // etcd's own gateway is a client of it, with the server's certificate.
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
            Ok([
                put(scratch, &format!("{file}.crt"), &certificate.pem())?,
                put(scratch, &format!("{file}.key"), &key.serialize_pem())?,
            ])
        };
        Ok(Self { server: issue("127.0.0.1", "server")?, client: issue(USER, "root")?, ca })
    }

    /// etcd's flags, for clients and for peers, although it has no peers.
    pub fn flags(&self) -> Vec<OsString> {
        let [cert, key] = &self.server;
        let mut flags: Vec<OsString> =
            ["--client-cert-auth", "--peer-client-cert-auth"].map(OsString::from).into();
        for of in ["--", "--peer-"] {
            for (flag, path) in [("trusted-ca-file", &self.ca), ("cert-file", cert), ("key-file", key)] {
                flags.extend([format!("{of}{flag}").into(), path.into()]);
            }
        }
        flags
    }

    pub fn client(&self) -> TlsFiles {
        let [cert, key] = self.client.clone();
        TlsFiles { ca: Some(self.ca.clone()), cert: Some(cert), key: Some(key) }
    }
}

fn named(name: &str) -> Result<CertificateParams, Fault> {
    let names = vec!["127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).map_err(|error| Fault::Here(error.to_string()))?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn put(scratch: &Scratch, name: &str, text: &str) -> Result<PathBuf, Fault> {
    let path = scratch.path(name);
    let doing = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).here(doing)?;
    file.write_all(text.as_bytes()).here(doing)?;
    Ok(path)
}
