//! nightshift with the programs that operators have. `cargo xtask lab operators` runs these.

mod alerts;
mod ansible;
mod distributions;
mod el7;
mod notices;
mod prometheus;
mod role;
#[path = "../lab/site.rs"]
#[allow(dead_code)]
mod site;
