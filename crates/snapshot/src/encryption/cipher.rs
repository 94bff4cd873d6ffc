//! The providers whose keys nightshift can use, and the decryption of one value. Lengths come from an untrusted source.

use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::consts::U12;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use crypto_secretbox::aead::AeadInPlace as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::kubernetes::Stored;

type Aes192Gcm = AesGcm<Aes192, U12>;

/// The first bytes of objects in protobuf and in CBOR.
const OBJECTS: [&[u8]; 2] = [b"k8s\0", b"\xd9\xd9\xf7"];

/// A provider whose keys are in the configuration itself. (KMS has its keys elsewhere.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cipher {
    AesCbc,
    AesGcm,
    SecretBox,
}

impl Cipher {
    pub const ALL: [Self; 3] = [Self::AesCbc, Self::AesGcm, Self::SecretBox];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesCbc => "aescbc",
            Self::AesGcm => "aesgcm",
            Self::SecretBox => "secretbox",
        }
    }

    pub fn of(provider: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.as_str() == provider)
    }

    /// Whether a key has a length in bytes that the cipher accepts.
    pub const fn accepts(self, length: usize) -> bool {
        match self {
            Self::AesCbc | Self::AesGcm => matches!(length, 16 | 24 | 32),
            Self::SecretBox => length == 32,
        }
    }

    /// Decrypts what follows the prefix of a value. `path` is the key in etcd, to which AES-GCM binds its values. `None` if the
    /// key does not fit, or if the value is damaged.
    pub fn decrypt(self, key: &[u8], path: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match (self, key.len()) {
            (Self::AesCbc, 16) => aes_cbc::<Aes128>(key, sealed),
            (Self::AesCbc, 24) => aes_cbc::<Aes192>(key, sealed),
            (Self::AesCbc, _) => aes_cbc::<Aes256>(key, sealed),
            (Self::AesGcm, 16) => aes_gcm::<Aes128Gcm>(key, path, sealed),
            (Self::AesGcm, 24) => aes_gcm::<Aes192Gcm>(key, path, sealed),
            (Self::AesGcm, _) => aes_gcm::<Aes256Gcm>(key, path, sealed),
            (Self::SecretBox, _) => secret_box(key, sealed),
        }
    }
}

/// 16 bytes of IV, then whole blocks, padded by PKCS #7. Nothing authenticates them: of wrong keys one in 256 gives a valid
/// padding, so the result must be an object too.
fn aes_cbc<C: BlockCipherDecrypt + KeyInit>(key: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (iv, blocks) = sealed.split_at_checked(16)?;
    let mut plain = Zeroizing::new(blocks.to_vec());
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let length = cipher.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
    plain.truncate(length);
    let is_object = OBJECTS.iter().any(|prefix| plain.starts_with(prefix))
        || matches!(Stored::of(&plain), Stored::Object(_));
    is_object.then_some(plain)
}

/// 12 bytes of nonce, the content, and 16 bytes of tag.
fn aes_gcm<C: AeadInOut + KeyInit>(key: &[u8], path: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(12)?;
    let (content, tag) = sealed.split_at_checked(sealed.len().checked_sub(16)?)?;
    let (nonce, tag) = (Nonce::<C>::try_from(nonce).ok()?, Tag::<C>::try_from(tag).ok()?);
    let mut plain = Zeroizing::new(content.to_vec());
    let cipher = C::new_from_slice(key).ok()?;
    cipher.decrypt_inout_detached(&nonce, path, plain.as_mut_slice().into(), &tag).ok()?;
    Some(plain)
}

/// 24 bytes of nonce, 16 bytes of tag, and the content.
fn secret_box(key: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(24)?;
    let (tag, content) = sealed.split_at_checked(16)?;
    let mut plain = Zeroizing::new(content.to_vec());
    let cipher = XSalsa20Poly1305::new_from_slice(key).ok()?;
    cipher.decrypt_in_place_detached(nonce.into(), b"", &mut plain, tag.into()).ok()?;
    Some(plain)
}
