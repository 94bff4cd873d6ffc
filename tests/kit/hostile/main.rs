//! `nightshift-kit-hostile HABIT`: an SFTP server (draft-ietf-secsh-filexfer-02) on stdin and stdout that serves this machine's files with a
//! bad habit. sshd starts it as its `ForceCommand`.

mod files;
mod flood;
mod packet;
mod slow;

use std::io::{self, BufReader};

use files::Files;
use packet::{Reply, Request};

/// What a server does otherwise than it should. The default is to do as it should.
trait Habit {
    /// Replies to a read with the bytes that were requested, or with others.
    fn read(&mut self, bytes: Vec<u8>, _requested: u32) -> Vec<u8> {
        bytes
    }

    /// The size of a file as it is announced.
    fn size(&mut self, size: u64) -> u64 {
        size
    }

    /// More names for a listing that has ended.
    fn more_names(&mut self) -> Vec<String> {
        Vec::new()
    }
}

fn main() -> io::Result<()> {
    let mut habit: Box<dyn Habit> = match std::env::args().nth(1).as_deref() {
        Some("slow") => Box::new(slow::Slow),
        Some("flood") => Box::new(flood::Flood::default()),
        Some("endless") => Box::new(flood::Endless),
        other => return Err(io::Error::other(format!("an unknown habit: {other:?}"))),
    };
    let mut input = BufReader::new(io::stdin());
    let mut files = Files::default();
    while let Some(mut request) = Request::read(&mut input)? {
        let reply = match files.reply(&mut request, habit.as_mut()) {
            Ok(reply) => reply,
            Err(error) => Reply::status(request.id, &error),
        };
        reply.write(&mut io::stdout())?;
    }
    Ok(())
}
