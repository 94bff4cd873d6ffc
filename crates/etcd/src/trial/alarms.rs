//! An alarm for space that a copy brings along: it tells of the cluster that the copy was taken of, and keeps what is
//! restored from taking writes until somebody disarms it. So does the drill, and says so.

use nightshift_core::proof::Comparison;

use super::fault::Fault;
use super::server::{Server, refused};
use crate::message::AlarmType;

/// Disarms what a restore would have to disarm, and returns what a proof says of it. An alarm for corrupt data stays:
/// that is no copy to trust.
pub async fn disarm(server: &mut Server) -> Result<Vec<Comparison>, Fault> {
    let client = server.client.clone();
    let alarms = client.alarms().await.map_err(|error| refused(server, &error))?.alarms;
    let mut disarmed = Vec::new();
    for alarm in alarms.into_iter().filter(|alarm| alarm.alarm() == AlarmType::NoSpace) {
        client.disarm(alarm).await.map_err(|error| refused(server, &error))?;
        let word = "disarmed here, and after a restore by `etcdctl alarm disarm`".to_owned();
        disarmed.push(Comparison {
            what: format!("alarm NOSPACE of member {:x}", alarm.member_id),
            expected: word.clone(),
            found: word,
        });
    }
    Ok(disarmed)
}
