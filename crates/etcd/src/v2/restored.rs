//! The v2 store of a restored etcd: whether it contains what it should, and accepts a write.

use std::time::Duration;

use nightshift_core::etcd_facts::DataFound;
use nightshift_core::proof::Comparison;

use super::client::{V2Client, V2Error};
use crate::discover::LocalMember;
use crate::trial::fault::Fault;
use crate::trial::server::Server;

/// The timeout of one request: a list of all keys takes as long as there are many.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Counts the v2 keys, and writes, reads and deletes one. A copy that contains v3 keys only is not checked.
pub async fn check(
    server: &mut Server,
    data: Option<&DataFound>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    match try_check(&server.member, data, compared).await {
        Ok(()) => Ok(()),
        // If etcd has ended, that is why it did not respond.
        Err(fault) => Err(server.etcd.ended().unwrap_or(fault)),
    }
}

async fn try_check(
    member: &LocalMember,
    data: Option<&DataFound>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let v2 = V2Client::of_member(member, REQUEST_TIMEOUT).map_err(V2Error::into_fault)?;
    if !v2.has_keys().await.map_err(V2Error::into_fault)? {
        // A set with one of these copies has it for its v2 keys, whatever else its manifest states.
        let expected =
            data.is_some_and(|data| data.v2 || data.cold_copy.is_some() || data.v2_backup.is_some());
        return if expected { Err(Fault::Copy("the v2 store is empty".to_owned())) } else { Ok(()) };
    }
    let found = v2.count_keys().await.map_err(V2Error::into_fault)?;
    match data.and_then(|data| data.v2_backup.as_ref()?.keys) {
        Some(expected) => compared.push(Comparison::new("v2 keys", expected, found)),
        None => {
            compared.push(Comparison::new("v2 keys exist", true, found > 0));
            compared.push(Comparison::not_compared(
                "number of v2 keys",
                format!("{found} found; the copy has no number to compare with"),
            ));
        }
    }
    if let Some(different) = compared.iter().find_map(Comparison::difference) {
        return Err(Fault::Copy(different));
    }
    v2.try_canary("alive").await.map_err(V2Error::into_fault)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use nightshift_core::digest::Digest;
    use nightshift_core::etcd_facts::{ColdCopy, V2Backup};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// The v2 store of a member that contains no key.
    async fn serve_empty(listener: &TcpListener) {
        let body = r#"{"action":"get","node":{"dir":true}}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        while let Ok((mut stream, _)) = listener.accept().await {
            let _read = stream.read(&mut [0; 4096]).await;
            let _written = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    }

    fn member(listener: &TcpListener) -> LocalMember {
        LocalMember {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            ..LocalMember::default()
        }
    }

    #[tokio::test]
    async fn a_v2_backup_or_a_cold_copy_that_restores_without_v2_keys_is_the_copys_fault() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = member(&listener);
        let check = async |data: &DataFound| {
            let mut compared = Vec::new();
            let checked = tokio::select! {
                checked = try_check(&member, Some(data), &mut compared) => checked,
                () = serve_empty(&listener) => panic!("it stopped serving"),
            };
            assert_eq!(compared, []);
            checked
        };
        let copy = ColdCopy {
            item: "member.tar.gz".into(),
            raw_size: 1,
            raw_sha256: Digest::of(b""),
            stopped_ms: 1,
        };
        let backup = |keys| Some(V2Backup { directory: "v2".into(), keys });
        for data in [
            DataFound { cold_copy: Some(copy), ..DataFound::default() },
            DataFound { v2_backup: backup(None), ..DataFound::default() },
            // Its manifest states no keys, and still that it is the backup of v2 keys.
            DataFound { v2_backup: backup(Some(0)), ..DataFound::default() },
            DataFound { v2: true, ..DataFound::default() },
        ] {
            assert_eq!(check(&data).await, Err(Fault::Copy("the v2 store is empty".to_owned())), "{data:?}");
        }
        assert_eq!(check(&DataFound { v3: true, ..DataFound::default() }).await, Ok(()));
    }
}
