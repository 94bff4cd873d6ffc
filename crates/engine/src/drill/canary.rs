//! A key of our own, written, read and deleted: the one thing that health checks do not show.

use jiff::Timestamp;

use super::fault::Fault;
use super::server::Server;
use crate::etcd::ClientError;

/// Writes, reads back and deletes a key that nobody else has.
pub async fn write(server: &mut Server) -> Result<(), Fault> {
    let number = format!("{:x}-{:x}", Timestamp::now().as_nanosecond(), std::process::id());
    let key = format!("/nightshift/canary/{number}").into_bytes();
    let value = number.into_bytes();
    let client = server.client.clone();
    let refused = |server: &mut Server, error: ClientError| {
        server.ended().unwrap_or_else(|| Fault::Copy(format!("it takes no write: {}", crate::chain(&error))))
    };
    if let Err(error) = client.put(&key, &value).await {
        return Err(refused(server, error));
    }
    match client.get(&key).await {
        Ok(Some(read)) if read == value => {}
        Ok(Some(_)) => return Err(Fault::Copy("it gives back another value than was written".to_owned())),
        Ok(None) => return Err(Fault::Copy("it took a write and does not have it".to_owned())),
        Err(error) => return Err(refused(server, error)),
    }
    match client.delete(&key).await {
        Ok(1) => {}
        Ok(count) => return Err(Fault::Copy(format!("it deleted {count} keys where one was written"))),
        Err(error) => return Err(refused(server, error)),
    }
    match client.get(&key).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Fault::Copy("it still has the key that was deleted".to_owned())),
        Err(error) => Err(refused(server, error)),
    }
}
