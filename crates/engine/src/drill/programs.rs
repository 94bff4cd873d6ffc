//! Which of etcd's programs a worker runs: those that are installed, else those of the member's container.
//!
//! The latter belong to the daemon's user, and came out of a container. They are run in the drill's unit alone, as its user and
//! without a network, from copies of the worker's own with the hashes that the job names.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nightshift_core::digest::{HashedWriter, Written};
use nightshift_etcd::kept_tools::{KeptProgram, KeptTools};
use nightshift_etcd::trial::child::Launch;
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::scratch::Scratch;
use nightshift_etcd::trial::tools::{Tools, Version, trusted};
use nightshift_store::offload;

use super::job::Job;

/// How much of a container's id is shown.
const SHOWN_ID: usize = 12;

/// Finds the programs of the copy's version. `given` are the files of the programs that the job names.
pub async fn find(job: &Job, scratch: &Scratch, given: Option<[File; 2]>) -> Result<Tools, Fault> {
    let installed = installed(job).await;
    match (installed, &job.container, given) {
        (Err(Fault::Here(reason)), Some(kept), Some(given)) if job.tools.is_none() => {
            let tools = of_container(job, kept, given, scratch).await;
            tools.map_err(|fault| Fault::Here(format!("{}; installed ones: {reason}", fault.reason())))
        }
        (installed, ..) => installed,
    }
}

async fn installed(job: &Job) -> Result<Tools, Fault> {
    let directory = job.tools.as_deref().map(trusted).transpose()?;
    let tools = Tools::find(directory.as_deref(), Launch::Tied).await?;
    tools.require_version(version(job))?;
    Ok(tools)
}

fn version(job: &Job) -> Option<&str> {
    job.facts.as_ref().map(|facts| facts.version.as_str())
}

async fn of_container(
    job: &Job,
    kept: &KeptTools,
    given: [File; 2],
    scratch: &Scratch,
) -> Result<Tools, Fault> {
    let directory = scratch.path("tools");
    let (programs, to) = ([kept.etcd.clone(), kept.restorer.clone()], directory.clone());
    offload::run(move || {
        let created = DirBuilder::new().mode(0o700).create(&to);
        created.here(|| format!("cannot create {}", to.display()))?;
        programs.iter().zip(given).try_for_each(|(program, file)| unpack(program, file, &to))
    })
    .await?;
    let container: String = kept.container.chars().take(SHOWN_ID).collect();
    let mut tools = Tools::find(Some(&directory), Launch::Tied).await?;
    tools.origin = Some(format!("the member's container {container}"));
    if Some(tools.etcd.version) != Version::find(&kept.version) {
        return Err(Fault::Here(format!(
            "the etcd of the member's container has version {}, but the member had {}",
            tools.etcd.version, kept.version
        )));
    }
    tools.require_version(version(job))?;
    Ok(tools)
}

/// Copies a program, which must have the size and the hash that the job names.
fn unpack(program: &KeptProgram, file: File, directory: &Path) -> Result<(), Fault> {
    let target = directory.join(program.name.as_str());
    let doing = || format!("cannot write {}", target.display());
    let created = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&target).here(doing)?;
    let mut hashed = HashedWriter::new(created);
    // One byte more shows that it is longer.
    io::copy(&mut file.take(program.size.saturating_add(1)), &mut hashed).here(doing)?;
    let (_, Written { size, sha256 }) = hashed.finish();
    if (size, sha256) == (program.size, program.sha256) {
        return Ok(());
    }
    let name = program.name.as_str();
    Err(Fault::Here(format!("the {name} of the member's container is not the file that was copied from it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::digest::Digest;
    use nightshift_etcd::trial::tools::ProgramName;
    use std::io::{Seek as _, Write as _};

    #[test]
    fn a_program_with_another_hash_or_size_than_the_job_names_is_refused() {
        let program =
            KeptProgram { name: ProgramName::Etcd, path: "/p".into(), sha256: Digest::of(b"etcd"), size: 4 };
        for (content, fits) in
            [(&b"etcd"[..], true), (b"etce", false), (b"etcd, and more", false), (b"", false)]
        {
            let directory = tempfile::tempdir().unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            file.rewind().unwrap();
            assert_eq!(unpack(&program, file, directory.path()).is_ok(), fits, "{content:?}");
        }
    }
}
