#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::change::{Change, Visitor as _};
use crate::encrypted::Encrypted;
use crate::entry::Location;
use crate::key_value::KeyValue;
use crate::revision::Revision;

const PATH: &[u8] = b"/registry/secrets/shop/db";
const PLAIN: &[u8] = b"k8s\0a secret that no one reads";

/// Made by Go's `crypto/aes`, `crypto/cipher` and `golang.org/x/crypto/nacl/secretbox`, which the API server uses: the key's
/// bytes count from 1 up, and what they encrypt is `PLAIN`, stored at `PATH`.
const VECTORS: [(Cipher, usize, &str); 7] = [
    (
        Cipher::AesCbc,
        16,
        "404142434445464748494a4b4c4d4e4f13ba4ad0dd1ad62e4957457e571e6cea420ed50842ede32e586c37459834e9f9",
    ),
    (
        Cipher::AesCbc,
        24,
        "404142434445464748494a4b4c4d4e4f230ea7577da6814b16fff831d970585ded77386f3852e0e5baf2d9b8be57d581",
    ),
    (
        Cipher::AesCbc,
        32,
        "404142434445464748494a4b4c4d4e4f62620e41037989f652a81baa1586aca8fb59d77aec5744a5b67d594900765fb6",
    ),
    (
        Cipher::AesGcm,
        16,
        "505152535455565758595a5b52e04a4a3bf6fc548fe54ada8e3b82aeb6eca647706ea19971401072c1bb8b90ae5032ff08c1723178a5a21379e6",
    ),
    (
        Cipher::AesGcm,
        24,
        "505152535455565758595a5b341266cb7ec848df5333fe21c2e1fd65dc3da11c82c0a2ce814c750a48f3f47fd456902e52c25070de7bccc832f3",
    ),
    (
        Cipher::AesGcm,
        32,
        "505152535455565758595a5b7c0d1b109f7d8de9f3e8dbcad26eec79495d3feb3b38cff9f3cee3370d5e30fa87ffd4820b4819807a294021c4bf",
    ),
    (
        Cipher::SecretBox,
        32,
        "606162636465666768696a6b6c6d6e6f7071727374757677ec43efe764b11b2736d7f1da6a6b40d2bfc0decf527a29ed6a4c6ed30d757a20d6c8f83210eaf0bca297453504c7",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn key(cipher: Cipher, name: &str, length: u8) -> EncryptionKey {
    EncryptionKey::new(cipher, name, &(1..=length).collect::<Vec<u8>>()).unwrap()
}

fn keyring(keys: impl IntoIterator<Item = EncryptionKey>) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.extend(keys);
    keyring
}

fn value(cipher: Cipher, name: &str, sealed: &[u8]) -> Vec<u8> {
    [format!("k8s:enc:{}:v1:{name}:", cipher.as_str()).as_bytes(), sealed].concat()
}

#[test]
fn values_of_each_provider_and_key_length_are_decrypted() {
    for (cipher, length, sealed) in VECTORS {
        let keyring = keyring([key(cipher, "key1", u8::try_from(length).unwrap())]);
        let value = value(cipher, "key1", &bytes(sealed));
        let plain = keyring.decrypt(PATH, &value);
        assert_eq!(plain.as_ref().map(|plain| plain.as_slice()), Some(PLAIN), "{cipher:?} {length}");
        let moved = keyring.decrypt(b"/registry/secrets/shop/other", &value);
        assert_eq!(moved.is_none(), cipher == Cipher::AesGcm, "AES-GCM alone binds a value to its key");
    }
}

#[test]
fn a_wrong_key_a_flipped_bit_and_every_length_are_refused_without_a_panic() {
    for (cipher, length, sealed) in VECTORS {
        let own = keyring([key(cipher, "key1", u8::try_from(length).unwrap())]);
        let sealed = bytes(sealed);
        for other in 0..=255u8 {
            let wrong: Vec<u8> = (1..=u8::try_from(length).unwrap()).map(|byte| byte ^ other).collect();
            let wrong = keyring([EncryptionKey::new(cipher, "key1", &wrong).unwrap()]);
            let plain = wrong.decrypt(PATH, &value(cipher, "key1", &sealed));
            assert_eq!(plain.is_some(), other == 0, "{cipher:?} {length} {other}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(own.decrypt(PATH, &value(cipher, "key1", &sealed[..cut])), None, "{cipher:?} {cut}");
        }
        let mut flipped = sealed.clone();
        flipped[sealed.len() - 20] ^= 1;
        // Nothing authenticates AES-CBC, as in the API server: a flipped bit is another content.
        let refused = own.decrypt(PATH, &value(cipher, "key1", &flipped)).as_deref() != Some(&PLAIN.to_vec());
        assert!(refused, "{cipher:?}");
    }
}

#[test]
fn a_value_is_decrypted_only_by_a_key_of_its_own_name_and_of_two_with_that_name_each_is_tried() {
    let (cipher, _, sealed) = VECTORS[2];
    let own = key(cipher, "key1", 32);
    let twin = EncryptionKey::new(cipher, "key1", &[9; 32]).unwrap();
    let longer = EncryptionKey::new(cipher, "key1:b", &(1..=32).collect::<Vec<u8>>()).unwrap();
    let stored = value(cipher, "key1", &bytes(sealed));
    assert!(keyring([twin, own.clone()]).decrypt(PATH, &stored).is_some());
    assert!(keyring([key(cipher, "key2", 32), longer.clone()]).decrypt(PATH, &stored).is_none());
    assert!(keyring([own]).decrypt(PATH, &value(Cipher::AesGcm, "key1", &bytes(sealed))).is_none());
    // A name may contain the separator.
    assert!(keyring([longer]).decrypt(PATH, &value(cipher, "key1:b", &bytes(sealed))).is_some());
}

#[test]
fn secrets_are_masked_and_survive_the_way_to_the_drill() {
    let keyring = keyring([key(Cipher::SecretBox, "key1", 32), key(Cipher::SecretBox, "key1", 32)]);
    let shown = format!("{keyring:?}");
    assert!(shown.contains("key1") && shown.contains("***") && !shown.contains("31"), "{shown}");
    let json = serde_json::to_string(&keyring).unwrap();
    assert_eq!(json.matches("secretbox").count(), 1, "each key once: {json}");
    assert_eq!(serde_json::from_str::<Keyring>(&json).unwrap(), keyring);
}

const CONFIGURATION: &str = "\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aescbc:
          keys:
            - name: key2
              secret: AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=
            - name: key1
              secret: AQIDBAUGBwgJCgsMDQ4PEA==
      - kms: { name: vault, endpoint: 'unix:///run/kms.sock', apiVersion: v2 }
      - identity: {}
  - resources: ['*.']
    providers:
      - aesgcm: { keys: [{ name: a, secret: AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY }] }
      - secretbox: { keys: [{ name: b, secret: AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA= }] }
";

#[test]
fn the_keys_of_a_configuration_are_read_by_its_old_and_its_new_name() {
    let wanted = keyring([
        key(Cipher::AesCbc, "key2", 32),
        key(Cipher::AesCbc, "key1", 16),
        key(Cipher::AesGcm, "a", 24),
        key(Cipher::SecretBox, "b", 32),
    ]);
    let old = CONFIGURATION
        .replace("apiserver.config.k8s.io/v1", "v1")
        .replace("EncryptionConfiguration", "EncryptionConfig");
    for text in [CONFIGURATION, &old] {
        assert!(is_configuration(text));
        assert_eq!(Keyring::parse(text), Ok(wanted.clone()));
    }
    assert!(wanted.names(Cipher::AesCbc, "key1") && !wanted.names(Cipher::AesGcm, "key1"));
}

#[test]
fn an_unusable_configuration_is_refused_without_a_word_of_its_keys() {
    let short = CONFIGURATION.replace("AQIDBAUGBwgJCgsMDQ4PEA==", "c2hvcnQ=");
    for (text, reason) in [
        ("kind: Pod\n".to_owned(), "it is not an EncryptionConfiguration"),
        (short, "key \"key1\" of aescbc is not Base64 of a length that the provider accepts"),
        (CONFIGURATION.replace("name: key2", "name: [key2]"), "it is not valid YAML"),
        (CONFIGURATION.replace("secret: AQID", "secret: ]AQID"), "it is not valid YAML"),
        (String::new(), "it is not valid YAML"),
        (format!("kind: EncryptionConfiguration\nresources: {}", "[".repeat(10_000)), "it is not valid YAML"),
    ] {
        let error = Keyring::parse(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.starts_with(reason), "{shown}");
        assert!(!shown.contains("AQID") && !shown.contains("c2hv"), "{shown}");
    }
}

fn tally<'k>(keyring: Option<&'k Keyring>, changes: &[(&str, Option<&[u8]>)]) -> EncryptedValues {
    let mut tally: Tally<'k> = Tally::new(keyring);
    for (at, (path, value)) in changes.iter().enumerate() {
        let revision = Revision { main: at as u64 + 2, sub: 0 };
        let content =
            KeyValue { key: path.as_bytes(), value: value.unwrap_or_default(), ..KeyValue::default() };
        let change = Change { revision, tombstone: value.is_none(), content };
        tally.change(&change, Location { page: 0, element: 0, inner: None }).unwrap();
    }
    tally.finish()
}

fn used(provider: &str, key: Option<&str>, values: u64, decrypted: u64) -> KeyUse {
    KeyUse { by: Encrypted { provider: provider.to_owned(), key: key.map(str::to_owned) }, values, decrypted }
}

#[test]
fn the_current_value_of_each_key_counts_by_the_key_that_encrypted_it() {
    let (cipher, _, sealed) = VECTORS[2];
    let sealed = bytes(sealed);
    let (one, two) = (value(cipher, "key1", &sealed), value(cipher, "key2", &sealed));
    let keyring = keyring([key(cipher, "key1", 32)]);
    let changes: [(&str, Option<&[u8]>); 9] = [
        ("/registry/secrets/a", Some(&two)),
        ("/registry/secrets/b", Some(&one)),
        ("/registry/secrets/c", Some(&one)),
        ("/registry/secrets/d", Some(&one)),
        ("/registry/secrets/e", Some(b"k8s:enc:kms:v2:vault:\0\0")),
        ("/registry/pods/a", Some(b"k8s\0a pod")),
        // Written again with the new key, deleted, and written without encryption.
        ("/registry/secrets/a", Some(&one)),
        ("/registry/secrets/c", None),
        ("/registry/secrets/d", Some(b"k8s\0plain")),
    ];
    let found = tally(Some(&keyring), &changes);
    let expected = vec![used("aescbc", Some("key1"), 2, 2), used("kms", Some("vault"), 1, 0)];
    assert_eq!(found, EncryptedValues { keys: expected, is_incomplete: false });
    let counted = tally(None, &changes[..3]);
    let expected = vec![used("aescbc", Some("key1"), 2, 0), used("aescbc", Some("key2"), 1, 0)];
    assert_eq!(counted.keys, expected, "without keys");
    assert_eq!(tally(Some(&keyring), &changes[5..6]), EncryptedValues::default());
    assert_eq!(tally(None, &[("a", Some(b"k8s:enc:aescbc"))]).keys, [used("aescbc", None, 1, 0)]);
}

#[test]
fn any_number_of_key_names_is_counted_within_limits_and_reported_as_incomplete() {
    let values: Vec<(String, Vec<u8>)> =
        (0..150).map(|at| (format!("/{at}"), format!("k8s:enc:aescbc:v1:key{at}:").into_bytes())).collect();
    let changes: Vec<(&str, Option<&[u8]>)> =
        values.iter().map(|(path, value)| (path.as_str(), Some(value.as_slice()))).collect();
    let found = tally(None, &changes);
    assert_eq!((found.keys.len(), found.is_incomplete), (100, true));
}

proptest! {
    #[test]
    fn any_value_and_any_configuration_end_without_a_panic(
        sealed in proptest::collection::vec(any::<u8>(), 0..100),
        text in ".{0,200}",
    ) {
        for (cipher, length, _) in VECTORS {
            let own = keyring([key(cipher, "key1", u8::try_from(length).unwrap())]);
            prop_assert_eq!(own.decrypt(PATH, &value(cipher, "key1", &sealed)), None);
            own.decrypt(PATH, &sealed);
        }
        prop_assert!(Keyring::parse(&text).is_err());
        // Cut anywhere, it is refused, or a shorter one.
        let cut = CONFIGURATION.char_indices().nth(sealed.len() * 6).map_or(CONFIGURATION.len(), |(at, _)| at);
        let _shorter = Keyring::parse(&CONFIGURATION[..cut]);
    }
}
