//! The alarm NOSPACE, which a copy of a full etcd contains: it is of the cluster that the copy was taken from, and the restored
//! etcd refuses writes until it is disarmed. The drill disarms it, and its proof says so.

use nightshift_core::proof::Comparison;

use super::fault::Fault;
use super::server::{Server, refused};
use crate::message::AlarmType;

/// Disarms what a restore would have to disarm, and returns the notes for the proof. An alarm for corrupt data stays: such a
/// copy cannot be trusted.
pub async fn disarm(server: &mut Server) -> Result<Vec<Comparison>, Fault> {
    let client = server.client.clone();
    let alarms = client.alarms().await.map_err(|error| refused(server, &error))?.alarms;
    let mut disarmed = Vec::new();
    for alarm in alarms.into_iter().filter(|alarm| alarm.alarm() == AlarmType::NoSpace) {
        client.disarm(alarm).await.map_err(|error| refused(server, &error))?;
        disarmed.push(Comparison::note(
            format!("alarm NOSPACE of member {:x}", alarm.member_id),
            "disarmed in this drill; after a restore, run `etcdctl alarm disarm`",
        ));
    }
    Ok(disarmed)
}
