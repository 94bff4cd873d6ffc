//! `nightshift drill`: restores a stored copy in the foreground and prints each step and the result.

mod from_archive;
mod subject;

use std::path::Path;

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::proof::{DrillReport, DrillVerdict, NAMESPACE, Proof, StoredProof};
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::units::seconds;
use nightshift_engine::drill::message::WorkerMessage;
use nightshift_engine::drill::perform::perform;
use nightshift_peers::Signers;
use nightshift_ssh::{IdentityError, Signer};
use nightshift_store::Vault;
use subject::Chosen;

use super::{CommandError, verify};
use crate::args::Drill;
use crate::exit::Exit;
use crate::{config_file, out, report};

pub fn run(config: &Path, args: &Drill) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let signer = Signer::from_host_key(&settings.ssh.host_key);
    if let Some(archive) = &args.archive {
        let signed = verify::signature_of(archive, args.identity.as_deref(), &Signers::load(&settings))?;
        out::print_error(&format!("{}: {signed}", archive.display()));
    }
    let Chosen { subject, stored } = subject::choose(&settings, args)?;
    let on_message = |message: &WorkerMessage| match message {
        WorkerMessage::Done(step) if !args.json => {
            out::print(format!("{:<8} {}", step.name, seconds(step.took_ms)));
        }
        _ => {}
    };
    let report = match subject {
        Ok(subject) => super::here::here(async { Ok(perform(&settings, subject, on_message).await) })?,
        Err((copy, error)) => DrillReport::not_proved(copy, report::in_full(&error)),
    };
    if args.json {
        out::print_json(&report)?;
    } else {
        show(&report);
    }
    let exit = match report.verdict {
        DrillVerdict::Proved => Exit::Good,
        DrillVerdict::NotRestorable => Exit::Failed,
        DrillVerdict::NotProved => Exit::Degraded,
    };
    if let Some((set, manifest)) = stored
        && report.verdict != DrillVerdict::NotProved
    {
        publish(&settings, signer, set, manifest, report);
    }
    Ok(exit)
}

fn show(report: &DrillReport) {
    if !report.compared.is_empty() {
        out::print("");
        let rows = report.compared.iter().map(|one| {
            vec![one.what.to_string(), one.expected.to_string(), one.found.to_string(), one.result()]
        });
        out::print_table(&["COMPARED", "STORED", "RESTORED", "RESULT"], rows);
        out::print("");
    }
    let DrillReport { verdict, reason, copy, tools, .. } = report;
    match reason {
        Some(reason) => out::print(format!("{copy}: {verdict}: {reason}")),
        None => {
            out::print(format!(
                "{copy}: {verdict}: restored and accepted a write, in {}",
                seconds(report.took_ms())
            ));
        }
    }
    if !tools.is_empty() {
        out::print(format!("with {tools}"));
    }
}

/// Stores the proof beside the set, if this user may write there, signed if this user may read the host's key.
fn publish(
    settings: &Settings,
    signer: Result<Signer, IdentityError>,
    set: SetId,
    manifest: Digest,
    report: DrillReport,
) {
    let (cluster, by) = (settings.cluster.clone(), settings.this.clone());
    let proof = Proof::of_drill(cluster, set, manifest, by, Timestamp::now(), report);
    let sign = |bytes: &[u8]| match signer.map(|signer| signer.sign(NAMESPACE, bytes)) {
        Ok(Ok(signature)) => Some(signature),
        Ok(Err(error)) => unsigned(&error),
        Err(error) => unsigned(&error),
    };
    let stored = StoredProof::new(proof, sign).map_err(CommandError::from);
    if let Err(error) = stored.and_then(|stored| Ok(Vault::of(settings).put_proof(&stored)?)) {
        out::print_error(&format!("warning: the proof was not stored: {}", report::in_full(&error)));
    }
}

fn unsigned(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    out::print_error(&format!("warning: the proof is not signed: {}", report::in_full(error)));
    None
}
