//! What only real hosts can show. Needs root; see `kit::lab::available`.

mod absent;
mod cluster;
mod cold_copy;
mod crash;
mod diverged;
mod drill;
mod login;
mod night;
mod power;
mod reboot;
mod site;
mod unit;
