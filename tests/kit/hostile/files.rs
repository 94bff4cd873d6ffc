//! This machine's files, read only.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crate::Habit;
use crate::packet::{INIT, Reply, Request};

const READ_LEN: u32 = 64 << 10;

#[derive(Default)]
pub struct Files {
    open: HashMap<String, Open>,
    opened: usize,
}

enum Open {
    File(File),
    /// The names that are still to be listed.
    Directory(Vec<(String, u64, u32)>),
}

impl Files {
    pub fn reply(&mut self, request: &mut Request, habit: &mut dyn Habit) -> io::Result<Reply> {
        let id = request.id;
        match request.kind {
            INIT => Ok(Reply::version()),
            // OPEN
            3 => {
                let file = File::open(request.text()?)?;
                Ok(Reply::handle(id, &self.put(Open::File(file))))
            }
            // CLOSE
            4 => {
                self.open.remove(&request.text()?);
                Ok(Reply::done(id))
            }
            // READ
            5 => {
                let Some(Open::File(file)) = self.open.get(&request.text()?) else { return Err(unknown()) };
                let (offset, length) = (request.long()?, request.number()?.min(READ_LEN));
                let mut bytes = vec![0; length as usize];
                let read = file.read_at(&mut bytes, offset)?;
                bytes.truncate(read);
                match habit.read(bytes, length) {
                    bytes if bytes.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
                    bytes => Ok(Reply::data(id, &bytes)),
                }
            }
            // LSTAT, STAT
            7 => Ok(attributes(id, &fs::symlink_metadata(request.text()?)?, habit)),
            17 => Ok(attributes(id, &fs::metadata(request.text()?)?, habit)),
            // FSTAT
            8 => {
                let Some(Open::File(file)) = self.open.get(&request.text()?) else { return Err(unknown()) };
                Ok(attributes(id, &file.metadata()?, habit))
            }
            // OPENDIR
            11 => {
                let mut names = Vec::new();
                for entry in fs::read_dir(request.text()?)? {
                    let entry = entry?;
                    let metadata = entry.metadata()?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    names.push((name, metadata.len(), metadata.mode()));
                }
                Ok(Reply::handle(id, &self.put(Open::Directory(names))))
            }
            // READDIR
            12 => {
                let Some(Open::Directory(names)) = self.open.get_mut(&request.text()?) else {
                    return Err(unknown());
                };
                let mut names = std::mem::take(names);
                names.extend(habit.more_names().into_iter().map(|name| (name, 0, 0o40_755)));
                if names.is_empty() {
                    Err(ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(Reply::names(id, &names))
                }
            }
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn put(&mut self, open: Open) -> String {
        self.opened += 1;
        let handle = format!("handle {}", self.opened);
        self.open.insert(handle.clone(), open);
        handle
    }
}

fn attributes(id: u32, metadata: &Metadata, habit: &mut dyn Habit) -> Reply {
    Reply::attributes(id, habit.size(metadata.len()), metadata.mode())
}

fn unknown() -> io::Error {
    io::Error::other("an unknown handle")
}
