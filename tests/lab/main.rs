//! What only real hosts can show. Needs root; see `kit::lab::available`.

mod cluster;
mod login;
mod power;
mod reboot;
