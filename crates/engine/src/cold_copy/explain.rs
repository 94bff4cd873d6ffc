//! What a cold copy will do here, for whoever asks before it does.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use nightshift_core::chain;
use nightshift_core::night::Night;

use super::health::survey;
use super::quorum::{permit, turn};
use super::tally::STOPS_A_NIGHT;
use super::{OPT_IN, STATE};
use nightshift_etcd::LocalMember;
use nightshift_etcd::service::{Runs as _, Service, find};

/// Whether the socket is there, which is the operator's consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    Yes,
    No,
}

pub fn enabled(socket: &Path) -> Enabled {
    let there = std::fs::symlink_metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket());
    if there { Enabled::Yes } else { Enabled::No }
}

/// Lines for a person: who is stopped when, by what, under which lock, and what is in the way now.
pub async fn explain(local: &LocalMember, night: Night, socket: &Path) -> Vec<String> {
    let consent = match enabled(socket) {
        Enabled::Yes => format!("the cold copy is enabled: {} is there", socket.display()),
        Enabled::No => format!("the cold copy is not enabled; on every etcd host: {OPT_IN}"),
    };
    let mut lines = vec![consent];
    match survey(local).await {
        Ok(survey) => {
            if let Some(tonight) = turn(&survey.members, night) {
                let whose = if tonight.id == survey.own { "this host's member" } else { "another one" };
                lines.push(format!(
                    "each night one member is stopped, in the order of their ids; in the night {night} it is {}, {whose}",
                    tonight.called()
                ));
            }
            lines.push(if survey.members.len() == 1 {
                "it is the only member: the API has no etcd until the copy is done".to_owned()
            } else {
                "it is stopped only under a lock in etcd (/nightshift/cold-copy-lock, kept alive through the other members), \
                 while all others are healthy, and never as the leader"
                    .to_owned()
            });
            if let Err(refusal) = permit(&survey.members, survey.own) {
                lines.push(format!("now it would be refused: {refusal}"));
            }
        }
        Err(error) => lines.push(format!("the members cannot be asked: {}", chain(&error))),
    }
    match find().await {
        Ok(service @ Service::Unit { .. }) => lines.push(format!(
            "stopped by `{}`, its member/ folder copied whole, started by `{}`",
            service.how(),
            service.how().replace(" stop ", " start ")
        )),
        Ok(service) => lines.push(format!("stopped by its manifest: {}, and back", service.how())),
        Err(error) => lines.push(chain(&error)),
    }
    lines.push(format!(
        "whatever happens, it is started again: by the helper, by systemd when that ends, and at boot ({STATE}/stopped); and it \
         is stopped {STOPS_A_NIGHT} times a night at most"
    ));
    lines
}
