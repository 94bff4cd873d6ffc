//! Warnings about targets of notifications: a file with a URL, or a program, that their unit cannot use.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nightshift_core::notify::{MailPath, Secret, Target, TargetKind};
use nightshift_core::settings::Settings;

use super::program::fault;

/// The bits of a file's mode with which its group, and every user, can read it.
const GROUP_READS: u32 = 0o040;
const ALL_READ: u32 = 0o004;

pub fn warnings(settings: &Settings) -> Vec<String> {
    settings.notify.iter().filter_map(warning).collect()
}

fn warning(target: &Target) -> Option<String> {
    let name = &target.name;
    let reason = match &target.kind {
        TargetKind::Ping { url, .. } | TargetKind::Webhook { url, .. } => unreadable(url)?,
        TargetKind::Mail { path: MailPath::Smtp { url, .. }, .. } => unreadable(url)?,
        TargetKind::Mail { path: MailPath::Sendmail(argv), .. } | TargetKind::Command { argv } => {
            fault(argv)?
        }
    };
    Some(format!("target {name} of notifications: {reason}"))
}

fn unreadable(url: &Secret) -> Option<String> {
    let Secret::File(path) = url else { return None };
    let shown = path.display();
    match fs::metadata(path) {
        // Not every user who checks may enter the directory.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(format!("{shown}: {error}; write the URL into this file")),
        Ok(found) => {
            let who = match found.mode() {
                mode if mode & ALL_READ != 0 => "every user",
                mode if mode & GROUP_READS == 0 => "its owner only",
                _ => return None,
            };
            let remedy = format!("run `chgrp nightshift-notify {shown} && chmod 0640 {shown}`");
            Some(format!("{shown} can be read by {who}; {remedy}"))
        }
    }
}
