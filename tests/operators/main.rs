//! nightshift with the programs that operators have. `cargo xtask lab operators` runs these.

mod ansible;
mod distributions;
mod el7;
mod role;
#[path = "../lab/site.rs"]
#[allow(dead_code)]
mod site;
