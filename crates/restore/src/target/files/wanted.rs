//! The files of a request, checked before anything is changed.

use std::collections::BTreeSet;
use std::path::Path;

use nightshift_core::restore::act::FileSpec;
use nightshift_core::text::first_of;

use crate::target::accounts::{ids, unknown};
use crate::target::attributes::Attributes;
use crate::target::call::Call;
use crate::target::dir::relative;
use crate::target::error::TargetError;
use crate::target::state::STATE;

/// What is put somewhere.
pub struct Target<'f> {
    pub spec: &'f FileSpec,
    pub relative: &'f str,
    pub attributes: Attributes<'f>,
}

/// Checks every path before anything is changed.
pub fn targets<'f>(call: &mut Call<'_, '_>, files: &'f [FileSpec]) -> Result<Vec<Target<'f>>, TargetError> {
    let mut targets = Vec::with_capacity(files.len());
    let (mut seen, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for spec in files {
        let relative = relative(&spec.path)?;
        if Path::new(relative).starts_with(STATE) {
            return Err(TargetError::refused(format!(
                "{} is where restores keep their own state",
                spec.path
            )));
        }
        if !seen.insert(relative) {
            return Err(TargetError::refused(format!("{} is in the request twice", spec.path)));
        }
        missing.extend(unknown(call.host.accounts, &spec.owner));
        let attributes = Attributes {
            owner: ids(call.host.accounts, &spec.owner),
            mode: spec.mode,
            selinux: spec.selinux.as_deref(),
            access: &spec.access,
        };
        targets.push(Target { spec, relative, attributes });
    }
    if !missing.is_empty() {
        let missing: Vec<String> = missing.into_iter().collect();
        call.note(format!(
            "does not exist here, so files get its number as owner: {}",
            first_of(&missing, ", ")
        ));
    }
    Ok(targets)
}
