//! What only real hosts can show. Needs root; see `kit::lab::available`.

mod absent;
mod cold_copy;
mod crash;
mod diverged;
mod drill;
mod login;
mod night;
mod restore;
mod site;
mod unit;
mod walls;
