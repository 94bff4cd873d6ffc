//! etcd as it is also run: with HTTP on a port of its own, with TLS of its own making, with keys that cannot be used.

use std::time::Duration;

use kit::etcd::{Etcd, Release};
use kit::lab::cmd::Cmd;
use kit::port;
use nightshift_core::settings::EtcdData;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::error::ClientError;
use nightshift_etcd::v2::stores::Stores;

use crate::certs::Certs;
use crate::support::writer::local;

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn v2_keys_are_looked_for_where_etcd_serves_http() {
    let release = Release::named("3.5");
    if !kit::require(release.as_ref().map(drop).map_err(Clone::clone)) {
        return;
    }
    let http = format!("http://127.0.0.1:{}", port::free());
    let flag = format!("--listen-client-http-urls={http}");
    let etcd = Etcd::start_of(&release.unwrap(), "split", &[&flag]).unwrap();
    etcd.wait_well().unwrap();
    let member = LocalMember { http_url: Some(http), ..local(&etcd.url) };
    let client = Client::connect(&member, TIMEOUT).await.unwrap();
    let stores = Stores::of(EtcdData::Auto, &client, &member).await;
    assert!(!stores.v2.unwrap());
    let unknown = Stores::of(EtcdData::Auto, &client, &local(&etcd.url)).await;
    assert!(unknown.v2.is_err(), "the port of gRPC does not serve HTTP");
}

#[tokio::test]
async fn a_server_key_on_a_curve_that_is_unsupported_is_not_taken_for_a_demand_of_a_certificate() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("auto", &["--auto-tls"]).unwrap();
    let ca = etcd.data().join("fixtures/client/cert.pem");
    let member = LocalMember { tls: TlsFiles { ca: Some(ca), ..TlsFiles::default() }, ..local(&etcd.url) };
    let error = Client::connect(&member, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ClientError::NothingInCommon { .. }), "{error:?}");
    assert!(error.to_string().contains("P-521"), "{error}");
}

#[tokio::test]
async fn whatever_an_endpoint_refuses_the_file_that_named_it_is_in_the_error() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("plain", &[]).unwrap();
    let origin = " (from /etc/etcd/etcd.conf)".to_owned();
    let certs = Certs::make();
    let tls = TlsFiles { ca: Some(certs.path("ca.crt")), ..TlsFiles::default() };
    let https = etcd.url.replace("http:", "https:");
    for (endpoint, wanted) in [(https.as_str(), "TLS"), ("http://127.0.0.1:1", "nothing listens")] {
        let member = LocalMember { origin: origin.clone(), tls: tls.clone(), ..local(endpoint) };
        let error = Client::connect(&member, TIMEOUT).await.unwrap_err().to_string();
        assert!(error.contains(&origin) && error.contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn a_client_key_that_cannot_be_used_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let ec = ["genpkey", "-algorithm", "EC", "-pkeyopt"];
    for (name, curve, cipher) in [
        ("p521", "ec_paramgen_curve:P-521", &[][..]),
        ("locked", "ec_paramgen_curve:P-256", &["-aes256", "-pass", "pass:x"]),
    ] {
        let key = path(&format!("{name}.key"));
        Cmd::new("openssl")
            .args(ec)
            .arg(curve)
            .args(cipher)
            .arg("-out")
            .arg(key.to_str().unwrap())
            .run()
            .unwrap();
    }
    let request =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    let (ca, unused) = (path("ca.crt"), path("ca.key"));
    let files = ["-out", ca.to_str().unwrap(), "-keyout", unused.to_str().unwrap()];
    Cmd::new("openssl").args(request).args(files).run().unwrap();
    for (name, text) in [("p521", "on the curve P-521"), ("locked", "encrypted with a passphrase")] {
        let key = Some(path(&format!("{name}.key")));
        let tls = TlsFiles { ca: Some(ca.clone()), cert: Some(ca.clone()), key };
        let member = LocalMember { tls, ..local("https://127.0.0.1:1") };
        let error = Client::connect(&member, TIMEOUT).await.unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(&format!("{name}.key")), "{error}");
    }
}

#[tokio::test]
async fn without_a_ca_the_error_says_what_to_set() {
    let error = Client::connect(&local("https://127.0.0.1:1"), TIMEOUT).await.unwrap_err().to_string();
    assert!(error.contains("its CA is unknown; set `ca` in [etcd]"), "{error}");
}
