//! A job and its files, sent to a worker: the copy, and etcd's programs of the member's container, if they are used. They go as
//! open files: the worker is another user, and may open no file of the daemon's.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use zeroize::Zeroizing;

use super::job::Job;

/// The copy and two programs.
const MAX_FILES: usize = 3;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum length of a job in bytes: it contains a manifest's facts about etcd, and the masters' keys.
const MAX_JOB_LEN: usize = 256 << 10;
/// How much of it is received at once, in bytes.
const PIECE: usize = 16 << 10;

/// What is sent with a job.
#[derive(Debug)]
pub struct JobFiles {
    pub copy: File,
    /// The etcd of the member's container, and its etcdutl or etcdctl.
    pub programs: Option<[File; 2]>,
}

/// Sends a job and its files. Blocks.
pub fn send(stream: &UnixStream, job: &Job, files: &JobFiles) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(job)?);
    line.push(b'\n');
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let files = std::iter::once(&files.copy).chain(files.programs.iter().flatten());
    let descriptors: Vec<BorrowedFd<'_>> = files.map(File::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    let mut stream = stream;
    stream.write_all(line.get(sent..).unwrap_or_default())
}

/// Receives a job and its files. Blocks.
pub fn receive(stream: &UnixStream) -> io::Result<(Job, JobFiles)> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    // It contains keys. A buffer that never grows leaves no copy of them behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_JOB_LEN + PIECE));
    let mut descriptors = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut buffer = Zeroizing::new([0; PIECE]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut *buffer)];
        let received = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        line.extend_from_slice(buffer.get(..received).unwrap_or_default());
        if received == 0 || line.len() > MAX_JOB_LEN {
            return Err(invalid("the job is not one line"));
        }
    }
    // From now on the stream is read to notice its end, which may come at any time.
    stream.set_read_timeout(None)?;
    let job: Job = serde_json::from_slice(&line)?;
    let files = descriptors.into_iter().map(regular_file).collect::<io::Result<Vec<File>>>()?;
    let mut files = files.into_iter();
    let copy = files.next().ok_or_else(|| invalid("the job came without a copy"))?;
    let programs = match (&job.container, files.next(), files.next()) {
        (Some(_), Some(etcd), Some(restorer)) => Some([etcd, restorer]),
        (Some(_), ..) => return Err(invalid("the job came without the programs that it names")),
        (None, ..) => None,
    };
    Ok((job, JobFiles { copy, programs }))
}

/// A pipe or a device could keep the worker waiting for ever.
fn regular_file(descriptor: OwnedFd) -> io::Result<File> {
    let file = File::from(descriptor);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(invalid("a file of the job is not a regular file"))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::set_copy::Stored;
    use nightshift_core::digest::Digest;
    use nightshift_etcd::kept_tools::{KeptProgram, KeptTools};
    use nightshift_etcd::trial::secrets::MasterKeys;
    use nightshift_etcd::trial::tools::ProgramName;
    use nightshift_store::packing::Packing;

    fn job(copy: &str) -> Job {
        Job {
            copy: copy.to_owned(),
            stored: Stored::Snapshot { packing: Packing::Gzip },
            facts: None,
            compared_elsewhere: false,
            tools: None,
            container: None,
            keys: MasterKeys::default(),
            scratch: "/scratch".into(),
            leave: 1,
            rate: 2,
            deadline_ms: 3,
        }
    }

    fn file(content: &str) -> File {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(content.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_programs_of_a_container_arrive_in_their_order_or_the_job_is_refused() {
        let program = |name| KeptProgram { name, path: "/p".into(), sha256: Digest::of(b""), size: 1 };
        let container = KeptTools {
            version: "3.5.16".into(),
            container: "c".into(),
            etcd: program(ProgramName::Etcd),
            restorer: program(ProgramName::Etcdutl),
        };
        let job = Job { container: Some(container), ..job("a") };
        let (sending, receiving) = UnixStream::pair().unwrap();
        let programs = Some([file("et"), file("utl")]);
        send(&sending, &job, &JobFiles { copy: file("copy"), programs }).unwrap();
        let (received, files) = receive(&receiving).unwrap();
        assert_eq!(received, job);
        let lengths = files.programs.unwrap().map(|file| file.metadata().unwrap().len());
        assert_eq!((files.copy.metadata().unwrap().len(), lengths), (4, [2, 3]));
        send(&sending, &job, &JobFiles { copy: file("copy"), programs: None }).unwrap();
        assert!(receive(&receiving).unwrap_err().to_string().contains("without the programs"));
    }

    #[test]
    fn a_job_of_any_length_arrives_with_its_copy() {
        for length in [1, 200_000] {
            let (sending, receiving) = UnixStream::pair().unwrap();
            let sent = job(&"x".repeat(length));
            let files = JobFiles { copy: file("the copy"), programs: None };
            let (received, files) = std::thread::scope(|scope| {
                scope.spawn(|| send(&sending, &sent, &files).unwrap());
                receive(&receiving).unwrap()
            });
            assert_eq!(received, sent);
            assert_eq!(files.copy.metadata().unwrap().len(), 8);
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
        send(&sending, &job("a"), &JobFiles { copy: device, programs: None }).unwrap();
        assert!(receive(&receiving).unwrap_err().to_string().contains("not a regular file"));
        let (sending, receiving) = UnixStream::pair().unwrap();
        drop(sending);
        assert!(receive(&receiving).is_err());
    }
}
