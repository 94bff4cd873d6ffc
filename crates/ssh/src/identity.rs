//! The private key of this host's logins. As in OpenSSH, a key that other users can read is refused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey, PublicKeyBase64};
use thiserror::Error;

/// In bytes. Private keys are smaller, so a larger file is another file.
const MAX_KEY_FILE: u64 = 64 * 1024;

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("cannot read the private key {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("other users can access the private key {} (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "the private key {} has a passphrase, which nightshift cannot enter; create one that has none with `nightshift keys init`",
        path.display()
    )]
    Encrypted { path: PathBuf },
    #[error("{} is not a valid private key", path.display())]
    Malformed { path: PathBuf, source: russh::keys::Error },
    #[error("the private key {} has the unsupported type {key_type}; use ed25519, RSA or ECDSA", path.display())]
    UnsupportedType { path: PathBuf, key_type: String },
    #[error("{} already exists and is not overwritten; move it away first", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write the key file {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot create a new key")]
    Generate { source: ssh_key::Error },
}

/// A private key for logging in.
#[derive(Clone)]
pub struct Identity {
    key: Arc<PrivateKey>,
}

impl Identity {
    /// Reads an ed25519, RSA or ECDSA key without a passphrase.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        Ok(Self { key: Arc::new(read_private_key(path, 0o077)?) })
    }

    /// Creates a new ed25519 key at `path` and its public key at `path` + `.pub`. It never overwrites either.
    pub fn generate_ed25519(path: &Path, comment: &str) -> Result<Self, IdentityError> {
        let public_path = public_path(path);
        for file in [path, &public_path] {
            if file.symlink_metadata().is_ok() {
                return Err(IdentityError::Exists { path: file.to_owned() });
            }
        }
        let failed = |source| IdentityError::Generate { source };
        let mut key =
            PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(failed)?;
        key.set_comment(comment);
        let text = key.to_openssh(LineEnding::LF).map_err(failed)?;
        write_new(path, text.as_bytes(), 0o600)?;
        let identity = Self { key: Arc::new(key) };
        write_new(&public_path, format!("{}\n", identity.public_line()).as_bytes(), 0o644)?;
        sync_parent(path)?;
        Ok(identity)
    }

    /// The public key as a line of `authorized_keys`, without a newline.
    pub fn public_line(&self) -> String {
        let public = self.key.public_key();
        let comment = public.comment().to_string();
        let line = public_key_line(public);
        if comment.is_empty() { line } else { format!("{line} {comment}") }
    }

    /// `SHA256:…`, as printed by ssh-keygen.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    pub(crate) fn key(&self) -> Arc<PrivateKey> {
        Arc::clone(&self.key)
    }
}

/// Shows only the fingerprint, never the private key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.fingerprint()).finish()
    }
}

/// Reads a private key. It is refused if its mode has any of the `forbidden` bits.
pub(crate) fn read_private_key(path: &Path, forbidden: u32) -> Result<PrivateKey, IdentityError> {
    let failed = |source| IdentityError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(failed)?;
    let key = russh::keys::decode_secret_key(&text, None).map_err(|source| match source {
        russh::keys::Error::KeyIsEncrypted => IdentityError::Encrypted { path: path.to_owned() },
        source => IdentityError::Malformed { path: path.to_owned(), source },
    })?;
    if key.is_encrypted() {
        return Err(IdentityError::Encrypted { path: path.to_owned() });
    }
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Rsa { .. } | Algorithm::Ecdsa { .. } => Ok(key),
        other => Err(IdentityError::UnsupportedType { path: path.to_owned(), key_type: other.to_string() }),
    }
}

/// `type base64`, without host, comment or newline.
pub fn public_key_line(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.public_key_base64())
}

/// Puts the key at `new` in the place of the one at `current`, which is kept at `aside`, instead of what is there. There is a
/// usable private key at `current` at any time, and after a crash a repetition completes it.
pub fn replace(current: &Path, new: &Path, aside: &Path) -> Result<(), IdentityError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::Write { path, source }
    };
    // The private key last: while it is at `new`, this can be repeated.
    for name in [public_path, Path::to_path_buf] {
        let (current, new, aside) = (name(current), name(new), name(aside));
        if !new.exists() {
            continue;
        }
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&aside)(error)),
            _ => {}
        }
        match fs::hard_link(&current, &aside) {
            // A public key may be absent.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&aside)(error)),
            _ => {}
        }
        fs::rename(&new, &current).map_err(failed(&current))?;
    }
    sync_parent(current)
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), IdentityError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path.to_owned() },
        _ => IdentityError::Write { path: path.to_owned(), source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    // The umask may have removed bits, but the public key must be readable.
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn sync_parent(path: &Path) -> Result<(), IdentityError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| IdentityError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `masked` takes what follows `passphrase:` for a secret.
    #[test]
    fn the_remedy_for_an_encrypted_key_is_shown_in_full() {
        let error = IdentityError::Encrypted { path: "/etc/nightshift/id".into() }.to_string();
        assert_eq!(nightshift_core::secret::masked(&error), error);
        assert!(error.ends_with("`nightshift keys init`"), "{error}");
    }

    #[test]
    fn a_new_key_is_private_and_loads_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id_ed25519");
        let made = Identity::generate_ed25519(&path, "nightshift@master1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let public = fs::read_to_string(dir.path().join("id_ed25519.pub")).unwrap();
        assert_eq!(public.trim_end(), made.public_line());
        assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" nightshift@master1\n"), "{public}");
        let loaded = Identity::load(&path).unwrap();
        assert_eq!(loaded.fingerprint(), made.fingerprint());
        assert_eq!(loaded.public_line(), made.public_line());
    }

    #[test]
    fn a_replaced_key_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let [current, new, aside] = ["id", "id.new", "id.old"].map(|name| dir.path().join(name));
        let old = Identity::generate_ed25519(&current, "nightshift@m1").unwrap();
        for _ in 0..2 {
            let created = Identity::generate_ed25519(&new, "nightshift@m1").unwrap();
            let before = Identity::load(&current).unwrap().fingerprint();
            replace(&current, &new, &aside).unwrap();
            assert_eq!(Identity::load(&current).unwrap().fingerprint(), created.fingerprint());
            assert_eq!(Identity::load(&aside).unwrap().fingerprint(), before);
            let public = fs::read_to_string(dir.path().join("id.pub")).unwrap();
            assert_eq!(public.trim_end(), created.public_line());
        }
        assert_ne!(Identity::load(&aside).unwrap().fingerprint(), old.fingerprint());
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["id", "id.old", "id.old.pub", "id.pub"]);
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        fs::write(dir.path().join("id.pub"), "mine").unwrap();
        assert!(matches!(Identity::generate_ed25519(&path, ""), Err(IdentityError::Exists { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn a_key_that_other_users_can_read_is_refused_with_the_chmod_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        Identity::generate_ed25519(&path, "").unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refusal = Identity::load(&path).unwrap_err().to_string();
            assert!(refusal.contains(&format!("chmod 600 {}", path.display())), "{refusal}");
        }
    }

    #[test]
    fn the_error_for_an_invalid_key_contains_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        fs::write(&path, "hello").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let refusal = Identity::load(&path).unwrap_err();
        assert!(matches!(refusal, IdentityError::Malformed { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains("/id "), "{refusal}");
        let absent = Identity::load(&dir.path().join("none")).unwrap_err();
        assert!(matches!(absent, IdentityError::Read { .. }));
    }
}
