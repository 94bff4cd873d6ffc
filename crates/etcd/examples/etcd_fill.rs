//! Fills a member with objects like a cluster's: `etcd_fill ENDPOINT MEGABYTES`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]
#![allow(dead_code)] // the tests use the rest of it

#[path = "../tests/it/support/writer.rs"]
mod support;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, megabytes] = &arguments[..] else {
        panic!("usage: etcd_fill ENDPOINT MEGABYTES");
    };
    let bytes = megabytes.parse::<usize>().unwrap() << 20;
    support::Writer::connect(endpoint).await.fill(bytes).await;
}
