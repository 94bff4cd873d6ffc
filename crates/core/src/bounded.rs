//! Reading with a limit.

use std::io::{self, Read};

/// Reads to the end. More than `max` bytes are an error of the kind `FileTooLarge`.
pub fn read_bounded(reader: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_larger_than_the_limit_is_refused_after_one_more_byte() {
        assert_eq!(read_bounded(&b"abc"[..], 3).unwrap(), b"abc");
        let mut endless = io::repeat(0);
        assert_eq!(read_bounded(&mut endless, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
