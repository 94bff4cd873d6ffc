//! Whether the certificates fit that etcd's, the API server's and the kubelets' configurations name: one that has expired, or is for
//! other names, would be noticed only when the restored cluster does not start.

mod files;
mod kubeconfig;
mod named;

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;

use self::files::{MachineFiles, Place};
use self::named::{Named, Needed, Part};
use crate::certificate::{Certificate, WARNING_PERIOD, first_expiry};
use crate::inventory::Host;
use crate::restore::etcd::BY_HAND;
use crate::restore::evidence::Evidence;
use crate::restore::finding::Finding;
use crate::role::Role;
use crate::system::ControlPlane;
use crate::text::summary;

/// More than a chain of authorities has.
const MAX_CHAIN: usize = 8;
/// Of one machine in one finding; it has about fifteen certificates.
const MAX_SHOWN: usize = 30;

/// Checks the certificates of all machines.
pub fn check(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) {
    let (mut kubelets, mut soon, mut unchecked) = (Vec::new(), Vec::new(), Vec::new());
    for host in evidence.settings.inventory.hosts() {
        let found = of_host(evidence, host);
        let at_host = |text: String| format!("{}: {text}", host.name);
        soon.extend(found.soon.into_iter().map(at_host));
        unchecked.extend(found.unchecked.into_iter().map(at_host));
        kubelets.extend(found.kubelet.into_iter().map(at_host));
        if !found.refused.is_empty() {
            let shown: Vec<String> = found.refused.into_iter().take(MAX_SHOWN).collect();
            findings.push(Finding::refused(format!(
                "{}: certificates that do not fit: {}; use a night in which they fit, or {BY_HAND}. A restore under new names or addresses \
                 is not supported",
                host.name,
                shown.join("; ")
            )));
        }
    }
    if !kubelets.is_empty() {
        findings.push(Finding::lost(format!(
            "kubelets that will not work until they have new certificates: {}",
            summary(&kubelets)
        )));
    }
    if !soon.is_empty() {
        findings.push(Finding::missing(format!(
            "certificates that expire within 30 days, renew them after the restore: {}",
            summary(&soon)
        )));
    }
    if !unchecked.is_empty() {
        findings
            .push(Finding::missing(format!("certificates that were not checked: {}", summary(&unchecked))));
    }
}

/// What is wrong with the certificates of a machine.
#[derive(Debug, Default)]
struct Found {
    refused: BTreeSet<String>,
    kubelet: BTreeSet<String>,
    soon: BTreeSet<String>,
    unchecked: BTreeSet<String>,
}

fn of_host(evidence: &Evidence<'_>, host: &Host) -> Found {
    let files = MachineFiles(evidence.best_of(&host.name));
    let machines = files.0.iter().map(|set| &set.manifest.machine);
    let known = machines.flat_map(|machine| machine.addresses.iter().chain([&machine.hostname]));
    let mut own = vec![host.name.to_string(), host.name.short().to_owned(), host.address.clone()];
    own.extend(known.filter(|name| !name.is_empty()).map(ToString::to_string));
    own.dedup();
    let (all, authorities) = named::of_machine(evidence, &files, &own);
    let mut check = Check { files: &files, now: evidence.now, found: Found::default() };
    for named in &all {
        let before = std::mem::take(&mut check.found.refused);
        check.certificate(named);
        let found = std::mem::replace(&mut check.found.refused, before);
        if is_needed(&files, host, named.part) {
            check.found.refused.extend(found);
        } else {
            check.found.kubelet.extend(found);
        }
    }
    authorities.iter().for_each(|place| check.authority(place));
    if !(host.roles.has(Role::Master) || host.roles.has(Role::Etcd)) {
        let refused = std::mem::take(&mut check.found.refused);
        check.found.kubelet.extend(refused);
    }
    check.found
}

/// Kubelets up to 1.12, those of OpenShift's static pods, start no pod with an expired certificate.
fn is_needed(files: &MachineFiles<'_>, host: &Host, part: Part) -> bool {
    let of_pods = |set: &&crate::restore::evidence::FoundSet| {
        set.manifest.system.as_ref().and_then(|system| system.control_plane) == Some(ControlPlane::StaticPods)
    };
    part == Part::ControlPlane || host.roles.has(Role::Master) && files.0.iter().any(of_pods)
}

struct Check<'c, 'e> {
    files: &'c MachineFiles<'e>,
    now: Timestamp,
    found: Found,
}

impl<'e> Check<'_, 'e> {
    fn certificate(&mut self, named: &Named) {
        let place = shown(&named.certificate);
        let chain = match self.chain(&named.certificate) {
            Ok(chain) => chain,
            Err(reason) => return self.unchecked(&place, &reason),
        };
        let [first, ..] = &chain[..] else { return self.unchecked(&place, "it contains no certificate") };
        for one in &chain {
            self.validity(&place, one.not_before(), one.not_after());
        }
        if let Some(key) = &named.key {
            self.key(&place, first, key);
        }
        self.names(&place, first, &named.needed);
        let is_its_own_root = first.is_authority() && first.is_signed_by(first) == Some(true);
        if !named.authorities.is_empty() && !is_its_own_root {
            self.signer(&place, &chain, &named.authorities);
        }
    }

    fn authority(&mut self, place: &Place) {
        let name = shown(place);
        let Some(bytes) = self.read(place) else { return self.unchecked(&name, "it is not in the sets") };
        match first_expiry(bytes, self.now) {
            Some(end) => self.validity(&name, Timestamp::MIN, end),
            None => self.unchecked(&name, "it contains no certificate"),
        }
    }

    fn validity(&mut self, place: &str, not_before: Timestamp, not_after: Timestamp) {
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        if not_after <= self.now {
            self.found.refused.insert(format!("{place} expired on {}", day(not_after)));
        } else if not_before > self.now {
            self.found
                .refused
                .insert(format!("{place} is valid only from {not_before}, check this machine's clock"));
        } else if not_after.duration_since(self.now) < WARNING_PERIOD {
            self.found.soon.insert(format!("{place} on {}", day(not_after)));
        }
    }

    fn key(&mut self, place: &str, certificate: &Certificate, key: &Place) {
        let name = shown(key);
        match self.read(key).map(|pem| certificate.fits(pem)) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => {
                self.found.refused.insert(format!("{place} does not fit its key {name}"));
            }
            Some(Err(error)) => self.unchecked(&name, &error.to_string()),
            None => self.unchecked(&name, "it is not in the sets"),
        }
    }

    fn names(&mut self, place: &str, certificate: &Certificate, needed: &Needed) {
        let names = match certificate.names() {
            Ok(names) => names,
            Err(error) => return self.unchecked(place, &error.to_string()),
        };
        let absent: Vec<&str> = match needed {
            Needed::Nothing => return,
            Needed::All(all) => all.iter().map(String::as_str).filter(|name| !names.cover(name)).collect(),
            Needed::One(any) if any.iter().any(|name| names.cover(name)) => return,
            Needed::One(any) => any.iter().map(String::as_str).collect(),
        };
        if !absent.is_empty() {
            let absent = crate::text::first_of(&absent, ", ");
            self.found.refused.insert(format!("{place} is for {names}, not for {absent}"));
        }
    }

    /// The last certificate of the chain that an authority signed decides: a file may contain intermediate ones.
    fn signer(&mut self, place: &str, chain: &[Certificate], authorities: &[Place]) {
        let read = authorities.iter().filter_map(|place| self.read(place));
        let known: Vec<Certificate> = read
            .flat_map(|pem| Certificate::all_in(pem).filter_map(Result::ok).collect::<Vec<_>>())
            .collect();
        if known.is_empty() {
            return self.unchecked(place, "the authority that its configuration names is not in the sets");
        }
        let mut unknown = false;
        for (index, one) in chain.iter().enumerate().take(MAX_CHAIN) {
            let signed: Vec<Option<bool>> = known.iter().map(|issuer| one.is_signed_by(issuer)).collect();
            if signed.contains(&Some(true)) {
                return;
            }
            unknown |= signed.contains(&None);
            if chain.get(index + 1).is_none_or(|next| one.is_signed_by(next) != Some(true)) {
                break;
            }
        }
        if unknown {
            return self.unchecked(place, "the algorithm of its signature is unsupported");
        }
        let names: Vec<Cow<'_, str>> = authorities.iter().map(shown).collect();
        let names = crate::text::first_of(&names, ", ");
        self.found.refused.insert(format!("{place} is signed by none of the authorities in {names}"));
    }

    fn chain(&self, place: &Place) -> Result<Vec<Certificate>, String> {
        let bytes = self.read(place).ok_or("it is not in the sets")?;
        let all: Result<Vec<_>, _> = Certificate::all_in(bytes).collect();
        all.map_err(|error| error.to_string())
    }

    fn read<'p>(&self, place: &'p Place) -> Option<&'p [u8]>
    where
        'e: 'p,
    {
        match place {
            Place::File(path) => self.files.read(path),
            Place::Inline { pem, .. } => Some(pem),
        }
    }

    fn unchecked(&mut self, place: &str, reason: &str) {
        self.found.unchecked.insert(format!("{place} ({reason})"));
    }
}

fn shown(place: &Place) -> Cow<'_, str> {
    match place {
        Place::File(path) => Cow::Borrowed(path),
        Place::Inline { of, .. } => Cow::Borrowed(of),
    }
}

#[cfg(test)]
mod tests;
