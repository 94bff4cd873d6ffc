//! A job and its copy, sent to a worker. The copy goes as an open file: the worker is another user, and may open no file of the
//! daemon's.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use zeroize::Zeroizing;

use super::job::Job;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum length of a job in bytes: it contains a manifest's facts about etcd, and the masters' keys.
const MAX_JOB_LEN: usize = 256 << 10;
/// How much of it is received at once, in bytes.
const PIECE: usize = 16 << 10;

/// Sends a job and the file of its copy. Blocks.
pub fn send(stream: &UnixStream, job: &Job, copy: &File) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(job)?);
    line.push(b'\n');
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let copy = [copy.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&copy));
    let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    let mut stream = stream;
    stream.write_all(line.get(sent..).unwrap_or_default())
}

/// Receives a job and the file of its copy. Blocks.
pub fn receive(stream: &UnixStream) -> io::Result<(Job, File)> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    // It contains keys. A buffer that never grows leaves no copy of them behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_JOB_LEN + PIECE));
    let mut copy = None;
    while line.last() != Some(&b'\n') {
        let mut buffer = Zeroizing::new([0; PIECE]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut *buffer)];
        let received = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                copy = copy.or(descriptors.last());
            }
        }
        line.extend_from_slice(buffer.get(..received).unwrap_or_default());
        if received == 0 || line.len() > MAX_JOB_LEN {
            return Err(invalid("the job is not one line"));
        }
    }
    // From now on the stream is read to notice its end, which may come at any time.
    stream.set_read_timeout(None)?;
    Ok((serde_json::from_slice(&line)?, regular_file(copy)?))
}

/// A pipe or a device could keep the worker waiting for ever.
fn regular_file(copy: Option<OwnedFd>) -> io::Result<File> {
    let file = File::from(copy.ok_or_else(|| invalid("the job came without a copy"))?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(invalid("the copy is not a regular file")) }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::set_copy::Stored;
    use nightshift_etcd::trial::secrets::MasterKeys;
    use nightshift_store::packing::Packing;

    fn job(copy: &str) -> Job {
        Job {
            copy: copy.to_owned(),
            stored: Stored::Snapshot { packing: Packing::Gzip },
            facts: None,
            compared_elsewhere: false,
            tools: None,
            keys: MasterKeys::default(),
            scratch: "/scratch".into(),
            leave: 1,
            rate: 2,
            deadline_ms: 3,
        }
    }

    #[test]
    fn a_job_of_any_length_arrives_with_its_copy() {
        for length in [1, 200_000] {
            let (sending, receiving) = UnixStream::pair().unwrap();
            let sent = job(&"x".repeat(length));
            let file = tempfile::tempfile().unwrap();
            (&file).write_all(b"the copy").unwrap();
            let (received, copy) = std::thread::scope(|scope| {
                scope.spawn(|| send(&sending, &sent, &file).unwrap());
                receive(&receiving).unwrap()
            });
            assert_eq!(received, sent);
            assert_eq!(copy.metadata().unwrap().len(), 8);
        }
    }

    #[test]
    fn a_job_without_a_copy_or_with_something_else_is_refused() {
        let (sending, receiving) = UnixStream::pair().unwrap();
        (&sending).write_all(b"{}\n").unwrap();
        assert!(receive(&receiving).is_err());
        let line = serde_json::to_string(&job("a")).unwrap() + "\n";
        (&sending).write_all(line.as_bytes()).unwrap();
        assert!(receive(&receiving).unwrap_err().to_string().contains("without a copy"));
        let device = File::open("/dev/zero").unwrap();
        send(&sending, &job("a"), &device).unwrap();
        assert!(receive(&receiving).unwrap_err().to_string().contains("not a regular file"));
        let (sending, receiving) = UnixStream::pair().unwrap();
        drop(sending);
        assert!(receive(&receiving).is_err());
    }
}
