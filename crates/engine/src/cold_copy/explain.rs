//! What a cold copy would do on this host, for `nightshift check`.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::service::{Service, ServiceControl as _, find};

use super::health::survey;
use super::lock::KEY;
use super::quorum::{permit, turn};
use super::tally::MAX_STOPS;
use super::{OPT_IN, STATE};

/// Whether an operator has enabled cold copies: then the socket exists.
pub fn is_enabled(socket: &Path) -> bool {
    std::fs::symlink_metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Which member is stopped when, how, under which lock, and what would refuse it now: one line each.
pub async fn explain(local: &LocalMember, night: Night, socket: &Path) -> Vec<String> {
    let mut lines = vec![if is_enabled(socket) {
        format!("cold copies are enabled: {} exists", socket.display())
    } else {
        format!("cold copies are not enabled; run `{OPT_IN}` on every etcd host")
    }];
    match survey(local).await {
        Ok(survey) => {
            if let Some(tonight) = turn(&survey.members, night) {
                let whose = if tonight.id == survey.own { "this host's" } else { "another host's" };
                lines.push(format!(
                    "each night one member is stopped, in the order of their ids; in night {night} it is {}, {whose} member",
                    tonight.label
                ));
            }
            lines.push(if survey.members.len() == 1 {
                "it is the only member: the API has no etcd during the copy".to_owned()
            } else {
                format!(
                    "a member is stopped only under a lock in etcd ({KEY}, kept alive through the other members), only while \
                     all others are healthy, and never while it is the leader"
                )
            });
            if let Err(refusal) = permit(&survey.members, survey.own) {
                lines.push(format!("now it would be refused: {refusal}"));
            }
        }
        Err(error) => lines.push(format!("cannot query the members: {}", chain(&error))),
    }
    match find().await {
        Ok(service @ Service::Unit { .. }) => lines.push(format!(
            "the member is stopped by `{}`, its member/ directory is copied, and it is started by `{}`",
            service.how(),
            service.how().replace(" stop ", " start ")
        )),
        Ok(service) => {
            lines.push(format!("the member is stopped by its manifest: {}, and back", service.how()));
        }
        Err(error) => lines.push(chain(&error)),
    }
    lines.push(format!(
        "if the copy is interrupted, the member is started by the helper, by systemd after the helper, and at boot \
         ({STATE}/stopped); it is stopped at most {MAX_STOPS} times a night"
    ));
    lines
}
