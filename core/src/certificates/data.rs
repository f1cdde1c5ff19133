//! Pairs of certificate and key as Secrets and kubeconfigs hold them.

use crate::pki::PemPair;
use k8s_openapi::{ByteString, api::core::v1::Secret};

/// The pair as the files `<prefix>.crt` and `<prefix>.key`.
pub fn files(prefix: &str, pair: &PemPair) -> impl Iterator<Item = (String, ByteString)> {
    [
        (format!("{prefix}.crt"), bytes(&pair.certificate)),
        (format!("{prefix}.key"), bytes(&pair.key)),
    ]
    .into_iter()
}

pub fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

/// The pair under `<prefix>.crt` and `<prefix>.key`; a missing key is an empty one.
pub fn pair(secret: &Secret, prefix: &str) -> Option<PemPair> {
    let text = |suffix: &str| {
        let value = secret.data.as_ref()?.get(&format!("{prefix}.{suffix}"))?;
        String::from_utf8(value.0.clone()).ok()
    };
    Some(PemPair {
        certificate: text("crt")?,
        key: text("key").unwrap_or_default(),
    })
}

/// The pair inside a kubeconfig. Nothing that it names is run or opened.
pub fn embedded(secret: &Secret) -> Option<PemPair> {
    let value = std::str::from_utf8(&secret.data.as_ref()?.get("value")?.0).ok()?;
    let config: serde_json::Value = serde_saphyr::from_str(value).ok()?;
    let text = |field: &str| {
        let encoded = config.pointer("/users/0/user")?.get(field)?.clone();
        String::from_utf8(serde_json::from_value::<ByteString>(encoded).ok()?.0).ok()
    };
    Some(PemPair {
        certificate: text("client-certificate-data")?,
        key: text("client-key-data")?,
    })
}
