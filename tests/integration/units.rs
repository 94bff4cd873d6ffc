//! The units behind sockets, as systemd starts them.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use kit::daemon::program;
use kit::site::Site;

/// In place of a socket with `Accept=yes`: a process for each connection.
pub struct Unit {
    folder: PathBuf,
}

impl Unit {
    pub fn listen(site: &Site, host: &str, name: &str, socket: &str, command: &'static str) -> Self {
        let folder = site.run_folder(host).with_file_name(name);
        let config = site.host(host).config();
        fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(socket)).unwrap();
        let journal = fs::File::create(folder.join("journal")).unwrap();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = OwnedFd::from(connection.unwrap());
                let mut child = Command::new(program().unwrap())
                    .arg("--config")
                    .arg(&config)
                    .arg(command)
                    .stdin(Stdio::from(connection.try_clone().unwrap()))
                    .stdout(Stdio::from(connection))
                    .stderr(Stdio::from(journal.try_clone().unwrap()))
                    .spawn()
                    .unwrap();
                thread::spawn(move || child.wait());
            }
        });
        Self { folder }
    }

    /// What its processes wrote to standard error.
    pub fn journal(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("journal")).unwrap()).into_owned()
    }
}
