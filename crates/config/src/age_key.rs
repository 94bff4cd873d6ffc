//! Checks an age public key: bech32 (BIP 173) with the prefix `age`.

use crate::refusal::Refusal;

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// `age1`, 52 characters of key, 6 of checksum.
const LENGTH: usize = 62;

pub(crate) fn recipient(text: &str) -> Result<String, Refusal> {
    const HELP: &str =
        "write the public key that `age-keygen` prints: `age1` and 58 further letters and digits";
    if text.trim_start().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err(Refusal::new("this is a private key; any user who can read this file could decrypt every archive")
            .label("write only the public key here")
            .help("remove it from this host, create a new key pair with `age-keygen`, and write the public key, which starts with `age1`"));
    }
    if text.starts_with("ssh-") {
        return Err(Refusal::new("an SSH key cannot be a recipient").help(HELP));
    }
    if text.contains(char::is_whitespace) {
        return Err(Refusal::new(format!("`{text}` contains a space or a line break"))
            .help("write each public key as a string of its own, without comments and spaces around it"));
    }
    let Some(data) = text.strip_prefix("age1") else {
        return Err(Refusal::new(format!("`{text}` is not an age public key")).help(HELP));
    };
    // The recipients of plugins are `age1NAME1…`; `1` never occurs in the data of bech32.
    if let Some((plugin, _)) = data.split_once('1') {
        return Err(Refusal::new(format!(
            "`age1{plugin}1…` needs a plugin of age or a post-quantum key, and nightshift supports only X25519 keys"
        ))
        .help("use a key pair of `age-keygen`; encrypt its private key with the plugin, if you need that"));
    }
    if let Some(invalid) = data.chars().find(|c| !c.is_ascii() || !CHARSET.contains(&(*c as u8))) {
        return Err(Refusal::new(format!("an age public key cannot contain `{invalid}`")).help(HELP));
    }
    if text.len() != LENGTH {
        let length = text.len();
        return Err(Refusal::new(format!(
            "an age public key has {LENGTH} characters, but this one has {length}"
        ))
        .help(HELP));
    }
    if checksum(data) != 1 {
        return Err(Refusal::new("this age public key is misspelt: its checksum is wrong")
            .help("copy the key again from the output of `age-keygen`"));
    }
    Ok(text.to_owned())
}

fn checksum(data: &str) -> u32 {
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let prefix = b"age".iter();
    let high = prefix.clone().map(|byte| byte >> 5);
    let low = prefix.map(|byte| byte & 31);
    let data = data.bytes().filter_map(|byte| CHARSET.iter().position(|c| *c == byte)).map(|at| at as u8);
    high.chain([0]).chain(low).chain(data).fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        GENERATORS
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(sum, |sum, (_, generator)| sum ^ generator)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn a_public_key_is_accepted_and_a_misspelt_one_is_refused() {
        assert_eq!(recipient(KEY), Ok(KEY.to_owned()));
        assert!(recipient(&KEY.replace('w', "x")).is_err());
        assert!(recipient(&KEY[..61]).is_err());
        assert!(recipient(&KEY.to_uppercase()).is_err());
        assert!(recipient("age1…").is_err());
        assert!(recipient("").is_err());
    }

    #[test]
    fn recipients_of_plugins_and_texts_around_a_key_are_refused_with_the_reason() {
        for plugin in [
            "age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt",
            "age1pq1qqqq",
            "age1tag1qqqq",
        ] {
            let refusal = recipient(plugin).unwrap_err();
            assert!(refusal.message.contains("plugin"), "{}", refusal.message);
        }
        for text in
            [format!(" {KEY}"), format!("{KEY}\r"), format!("# public key: {KEY}"), format!("{KEY} {KEY}")]
        {
            let refusal = recipient(&text).unwrap_err();
            assert!(refusal.message.contains("contains a space or a line break"), "{}", refusal.message);
        }
        let private = recipient(&format!(" {}", "age-secret-key-1qqpqz")).unwrap_err();
        assert!(private.message.contains("private key"), "{}", private.message);
    }
}
