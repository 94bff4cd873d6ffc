//! Input that ends when nothing arrives for a while. Without keepalive messages a server keeps the session of a client that is gone for
//! hours, and an act that waits for its bytes would lock the machine as long.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// ssh of the operator's machine gives up after one minute.
pub const LIMIT: Duration = Duration::from_secs(120);

pub struct UntilIdle {
    input: File,
    limit: Duration,
}

impl UntilIdle {
    pub const fn new(input: File, limit: Duration) -> Self {
        Self { input, limit }
    }
}

impl Read for UntilIdle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = Timespec::try_from(self.limit).map_err(io::Error::other)?;
        loop {
            match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&limit)) {
                Ok(0) => {
                    let seconds = self.limit.as_secs();
                    let reason = format!(
                        "no byte arrived for {seconds} s, so the connection is lost; repeat the step"
                    );
                    return Err(io::Error::new(ErrorKind::TimedOut, reason));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return self.input.read(buffer),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_has_arrived_is_read_and_a_connection_without_bytes_is_lost() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut input =
            UntilIdle::new(File::from(std::os::fd::OwnedFd::from(reader)), Duration::from_millis(50));
        writer.write_all(b"ab").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(input.read(&mut buffer).unwrap(), 2);
        let error = input.read(&mut buffer).unwrap_err();
        assert!(error.to_string().contains("the connection is lost"), "{error}");
        drop(writer);
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
    }
}
