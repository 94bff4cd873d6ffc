//! The encryption keys in the masters' sets, and which of a copy's encrypted values they decrypt.

use std::fs::File;

use nightshift_core::secrets::SecretsReport;
use nightshift_core::text::summary;
use nightshift_core::units::count;
use nightshift_snapshot::{EncryptedValues, Ending, KeyUse, Keyring, Tally, walk_hashed};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Here as _};

/// What is known of the keys with which the API servers encrypted a copy's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MasterKeys {
    /// Those in the masters' sets of the copy's night.
    Known(Keyring),
    /// Why these sets were not read.
    Unknown(String),
}

impl Default for MasterKeys {
    fn default() -> Self {
        Self::Unknown("the keys of the masters were not given".to_owned())
    }
}

impl MasterKeys {
    pub const fn keyring(&self) -> Option<&Keyring> {
        match self {
            Self::Known(keyring) => Some(keyring),
            Self::Unknown(_) => None,
        }
    }

    /// Judges what a walk with these keys found.
    pub fn judge(&self, found: &EncryptedValues) -> SecretsReport {
        let sum = |of: fn(&KeyUse) -> u64| found.keys.iter().map(of).fold(0, u64::saturating_add);
        let not_checkable = sum(|key| if key.cipher().is_none() { key.values } else { 0 });
        let mut report = SecretsReport {
            values: sum(|key| key.values),
            decrypted: sum(|key| key.decrypted),
            not_checkable,
            ..SecretsReport::default()
        };
        match self {
            Self::Unknown(reason) if report.values > not_checkable => {
                report.unchecked = Some(reason.into());
            }
            Self::Unknown(_) => {}
            Self::Known(keyring) => {
                report.problems = problems(keyring, found).into_iter().collect();
            }
        }
        report
    }
}

fn problems(keyring: &Keyring, found: &EncryptedValues) -> Vec<String> {
    let mut problems: Vec<String> = found.keys.iter().filter_map(|key| problem(keyring, key)).collect();
    if found.is_incomplete {
        problems.push("there are more encrypted values, or names of keys, than are counted".to_owned());
    }
    problems
}

/// `None` if all values of a key decrypt, or if the key is in no file by design.
fn problem(keyring: &Keyring, key: &KeyUse) -> Option<String> {
    let cipher = key.cipher()?;
    let failed = key.values - key.decrypted;
    let values = |number: u64| count(usize::try_from(number).unwrap_or(usize::MAX), "value");
    let provider = cipher.as_str();
    match &key.by.key {
        _ if failed == 0 => None,
        None => Some(format!("{} of {provider} without the name of a key", values(failed))),
        Some(name) if keyring.names(cipher, name) => Some(format!(
            "key {name:?} of the masters' sets does not decrypt {failed} of {} ({provider}): another key of that name, or damaged",
            values(key.values)
        )),
        Some(name) => Some(format!("key {name:?} is in no master set ({provider}, {})", values(failed))),
    }
}

/// Checks the encrypted values of an unpacked snapshot. Blocks.
pub fn check(snapshot: &File, ending: Ending, keys: &MasterKeys) -> Result<SecretsReport, Fault> {
    let mut tally = Tally::new(keys.keyring());
    let walked = walk_hashed(snapshot, ending, &mut tally).here(|| "cannot read the snapshot".to_owned())?;
    if !walked.is_sound() {
        let reasons: Vec<String> = walked.findings.iter().map(ToString::to_string).collect();
        return Err(Fault::Copy(format!("the stored copy is damaged: {}", summary(&reasons))));
    }
    Ok(keys.judge(&tally.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_snapshot::{Cipher, Encrypted, EncryptionKey};

    fn used(provider: &str, key: Option<&str>, values: u64, decrypted: u64) -> KeyUse {
        let by = Encrypted { provider: provider.into(), key: key.map(str::to_owned) };
        KeyUse { by, values, decrypted }
    }

    #[test]
    fn a_key_that_is_missing_and_one_that_does_not_fit_are_named() {
        let mut keyring = Keyring::default();
        keyring.extend(EncryptionKey::new(Cipher::AesCbc, "key1", &[1; 32]));
        let known = MasterKeys::Known(keyring);
        let report = |keys: &MasterKeys, found: Vec<KeyUse>| {
            keys.judge(&EncryptedValues { keys: found, is_incomplete: false })
        };
        let all = report(&known, vec![used("aescbc", Some("key1"), 212, 212)]);
        assert_eq!((all.summary().as_deref(), all.problem()), (Some("212 of 212 decrypt"), None));
        let some = report(
            &known,
            vec![
                used("aescbc", Some("key1"), 5, 4),
                used("aescbc", Some("key2"), 3, 0),
                used("secretbox", Some("key1"), 1, 0),
                used("aesgcm", None, 2, 0),
                used("kms", Some("vault"), 7, 0),
            ],
        );
        assert_eq!(
            some.problem().unwrap(),
            "encrypted values: key \"key1\" of the masters' sets does not decrypt 1 of 5 values (aescbc): another key of that name, or \
             damaged; key \"key2\" is in no master set (aescbc, 3 values); key \"key1\" is in no master set (secretbox, 1 value); \
             2 values of aesgcm without the name of a key"
        );
        assert_eq!((some.values, some.decrypted, some.not_checkable), (18, 4, 7));

        let unknown = MasterKeys::Unknown("no master set here".to_owned());
        let unchecked = report(&unknown, vec![used("aescbc", Some("key1"), 5, 0)]);
        assert_eq!(unchecked.summary().as_deref(), Some("unchecked: no master set here"));
        assert!(unchecked.is_unchecked() && unchecked.problem().is_none());
        assert!(
            !report(&unknown, vec![used("kms", Some("vault"), 5, 0)]).is_unchecked(),
            "no key would help"
        );
        assert_eq!(report(&unknown, vec![]), SecretsReport::default());
    }
}
