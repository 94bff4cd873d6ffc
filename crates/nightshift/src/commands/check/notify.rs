//! Warnings about targets of notifications: a file with a URL, or a program, that their unit cannot use.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use nightshift_core::notify::{MailPath, Secret, Target, TargetKind};
use nightshift_core::settings::Settings;
use nightshift_notify::SendError;

use super::program::fault;
use crate::report;

/// The bits of a file's mode with which its group, and every user, can read it.
const GROUP_READS: u32 = 0o040;
const ALL_READ: u32 = 0o004;

pub fn warnings(settings: &Settings) -> Vec<String> {
    let of_target = |target: &Target| {
        let name = target.name.clone();
        faults(target).into_iter().map(move |reason| format!("target {name} of notifications: {reason}"))
    };
    settings.notify.iter().flat_map(of_target).collect()
}

fn faults(target: &Target) -> Vec<String> {
    let url = match &target.kind {
        TargetKind::Mail { path: MailPath::Sendmail(argv), .. } | TargetKind::Command { argv } => {
            return fault(argv).into_iter().collect();
        }
        TargetKind::Ping { url, .. }
        | TargetKind::Webhook { url, .. }
        | TargetKind::Mail { path: MailPath::Smtp { url, .. }, .. } => url,
    };
    let file = if let Secret::File(path) = url { Some(path.as_path()) } else { None };
    let unusable = nightshift_notify::check(target).err().and_then(|error| unusable(&error, file));
    file.and_then(exposed).into_iter().chain(unusable).collect()
}

fn unusable(error: &SendError, file: Option<&Path>) -> Option<String> {
    let text = report::in_full(error);
    match (error, file) {
        // Not every user who checks may read it.
        (SendError::ReadUrl { source, .. } | SendError::ReadRoots { source, .. }, _)
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            None
        }
        (SendError::ReadUrl { .. }, _) => Some(format!("{text}; write the URL into this file")),
        (SendError::BadUrl(_), Some(file)) => Some(format!("{}: {text}", file.display())),
        _ => Some(text),
    }
}

/// Whether others than the unit can read a file with a URL, or the unit cannot.
fn exposed(path: &Path) -> Option<String> {
    let shown = path.display();
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let who = match found.mode() {
        mode if mode & ALL_READ != 0 => "every user",
        mode if mode & GROUP_READS == 0 => "its owner only",
        _ => return None,
    };
    let remedy = format!("run `chgrp nightshift-notify {shown} && chmod 0640 {shown}`");
    Some(format!("{shown} can be read by {who}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use nightshift_core::notify::WebhookFormat;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_file_that_the_unit_cannot_use_is_named_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        let of = |format, ca: Option<&str>| {
            let kind =
                TargetKind::Webhook { url: Secret::File(path.clone()), format, ca: ca.map(Into::into) };
            let (name, give_up) = ("x".parse().unwrap(), Duration::from_secs(60));
            faults(&Target { name, kind, events: Vec::new(), every_night: false, give_up }).join("\n")
        };
        let faults = || of(WebhookFormat::Json, None);
        let write = |content: &str, mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(faults().contains("No such file") && faults().ends_with("write the URL into this file"));
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        assert!(
            faults().contains("it is not a regular file"),
            "a pipe is refused, not waited for: {}",
            faults()
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(faults().contains("it is not a regular file"), "{}", faults());
        fs::remove_dir(&path).unwrap();
        for (content, mode, reason) in [
            ("", 0o640, "it is empty; write the URL into this file"),
            ("http://h:99999/SECRET", 0o640, "has no host, or an invalid port"),
            ("ftp://h/SECRET", 0o640, "its scheme is not one of this kind of target"),
            ("https://h/SECRET", 0o644, "can be read by every user"),
            ("https://h/SECRET", 0o600, "can be read by its owner only"),
        ] {
            write(content, mode);
            let faults = faults();
            assert!(faults.contains(reason) && faults.contains("/url"), "{faults}");
            assert!(!faults.contains("SECRET") && !faults.contains('\n'), "{faults}");
        }
        write("https://h/x", 0o640);
        assert_eq!(faults(), "");
        assert!(of(WebhookFormat::Alertmanager, None).contains("`/api/v2/alerts`"));
        assert!(
            of(WebhookFormat::Json, Some("/nonexist")).contains("certificates of authorities in /nonexist: ")
        );
    }
}
