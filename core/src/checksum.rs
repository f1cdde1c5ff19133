//! Checksums that are stored: in names, labels and annotations of what runs.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;

/// SHA-256 of these parts, each after its length, as its first 16 hexadecimal digits. It never
/// changes: another value would replace the pods of every control plane.
pub fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let digest = digest(&SHA256, &bytes);
    digest.as_ref().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn it_is_the_same_for_ever_and_tells_parts_apart() {
        assert_eq!(checksum([b"a".as_slice(), b"bc"]), "3fafa1cf2f19a7c1");
        assert_ne!(checksum([b"a".as_slice(), b"bc"]), checksum([b"ab".as_slice(), b"c"]));
    }
}
