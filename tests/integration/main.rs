//! The real binary with a real sshd and a real etcd on loopback; no root needed.

mod commands;
mod crash;
mod drill;
mod drill_worker;
mod etcd;
mod hostile;
mod inspect;
mod journal;
mod links;
mod night;
mod opening;
mod peers;
mod reload;
mod restore;
mod restore_act;
mod root;
mod runbook;
mod secrets;
mod servers;
mod ship;
mod space;
mod start;
mod support;
mod systemd;
mod trust;
mod verify;
