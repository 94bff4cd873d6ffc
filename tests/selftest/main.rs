//! Whether the lab does what its tests rely on: nightshift is not in it. `cargo xtask test kit` runs these.

mod cluster;
mod power;
mod reboot;
